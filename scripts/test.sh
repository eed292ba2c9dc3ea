#!/usr/bin/env bash
# Every check: the tests, then each notebook of the kit and the worlds executed and compared with its outputs.
set -uo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
failed=0
.venv/bin/python -m pytest tests/site tests/test_project.py tests --ignore tests/test_papers.py -n 2 --dist loadfile --durations 15 || failed=1
# Alone: the papers have a budget of processor time, and run two at a time here.
.venv/bin/python -m pytest tests/test_papers.py --durations 5 || failed=1
.venv/bin/python -m pytest --nbval nbs/kit nbs/*/worlds.ipynb --nbval-sanitize-with tests/nbval.cfg -p no:cacheprovider -n 2 --dist loadfile || failed=1
exit $failed
