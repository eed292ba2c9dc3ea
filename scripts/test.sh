#!/usr/bin/env bash
# Every check: the tests, then each notebook of the kit and the worlds executed and compared with its outputs.
# All of it runs with the instruction set that the papers' kernels are pinned to; each part says how long it took.
set -uo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
failed=0
times=""
part() {
  local name="$1" begun=$SECONDS
  shift
  .venv/bin/python -m paper_kit.kit.machine .venv/bin/python -m pytest "$@" || { failed=1; name="$name (failed)"; }
  times+=$(printf '%4d min %02d s  %s' $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)) "$name")$'\n'
}
part "tests and site" tests/site tests/test_project.py tests --ignore tests/test_papers.py -n 2 --dist loadfile --no-loadscope-reorder \
  --durations 15
# Alone: the papers have a budget of processor time, and run two at a time here.
part "papers" tests/test_papers.py --durations 5
part "notebooks of the kit and worlds" --nbval nbs/kit nbs/*/worlds.ipynb --nbval-sanitize-with tests/nbval.cfg \
  -p no:cacheprovider -n 2 --dist loadfile
printf '%s%4d min %02d s  in all\n' "$times" $((SECONDS / 60)) $((SECONDS % 60))
exit $failed
