#!/usr/bin/env bash
# Make .venv and install the project into it, pinned by constraints.txt. Usage: scripts/install.sh [extra]
set -euo pipefail
cd "$(dirname "$0")/.."
extra="${1:-}"

find_python() {
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  echo "paper_kit needs Python 3.11, 3.12 or 3.13, and found none. Install one (Debian 12: apt-get install python3 python3-venv), or say PYTHON=/path/to/python3.11" >&2
  exit 2
}

if [ ! -x .venv/bin/python ]; then
  python=$(find_python)
  echo "making .venv with $($python --version)"
  if ! "$python" -m venv .venv 2>/tmp/paper-kit-venv.$$; then
    rm -rf .venv
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "installing Debian's python$version-venv"
      apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >/dev/null
      "$python" -m venv .venv
    else
      cat /tmp/paper-kit-venv.$$ >&2
      echo "Python cannot make virtual environments here. As root: apt-get install python$version-venv; then make again." >&2
      exit 2
    fi
  fi
  rm -f /tmp/paper-kit-venv.$$
fi

# The torch that PyPI has for Linux brings 2.7 GB of CUDA libraries. Where there is no GPU, its CPU build (0.2 GB) comes from
# PyTorch's own index, or from PAPER_KIT_TORCH_INDEX. Left alone: an installed torch, a machine with package sources of its own,
# PAPER_KIT_TORCH_INDEX=none.
cpu_torch() {
  local index="${PAPER_KIT_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" own
  [ "$(uname -s)" = Linux ] && [ "$index" != none ] || return 0
  .venv/bin/python -c 'import torch' 2>/dev/null && return 0
  nvidia-smi -L >/dev/null 2>&1 && return 0
  own=$(.venv/bin/python -m pip config list 2>/dev/null | grep -E "index-url|find-links|no-index" || true)
  [ -z "$own" ] || [ -n "${PAPER_KIT_TORCH_INDEX:-}" ] || return 0
  echo "no GPU: installing the CPU build of torch"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 20 -c constraints.txt --index-url "$index" torch \
    || echo "It could not be had from $index: taking the one of PyPI (2.7 GB to download)." >&2
}
cpu_torch

# locks/ names every file by its SHA-256, for the platforms that have a list; elsewhere, and with PAPER_KIT_LOCK=none, versions
# alone are pinned (constraints.txt).
pip() { .venv/bin/python -m pip "$@" --quiet --disable-pip-version-check 2> >(grep -v "is ignored: it is neither" >&2); }
has_torch() { .venv/bin/python -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))'; }
lock="locks/$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)-py$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')${extra:+-dev}.txt"
if [ -f "$lock" ] && [ "${PAPER_KIT_LOCK:-}" != none ]; then
  echo "installing paper_kit${extra:+[$extra]} as pinned, file by file, in $lock (a few minutes the first time)"
  # PyPI's torch brings CUDA libraries that only it knows
  sources=$(.venv/bin/python -m pip config list 2>/dev/null | grep -E "index-url|find-links|no-index" || true)
  if ! has_torch && { [ -z "$sources" ] || nvidia-smi -L >/dev/null 2>&1; }; then pip install -c constraints.txt torch; fi
  if ! pip install --no-deps --require-hashes -r "$lock" || ! pip install --no-deps --no-build-isolation -e .; then
    echo "The installation failed; the message above says at which package. Hashes that do not match mean that a file is not the one that was tested: do not use it. PAPER_KIT_LOCK=none installs by version alone. With no network, set PIP_FIND_LINKS to a folder of wheels and make again." >&2
    exit 2
  fi
  exit 0
fi

echo "installing paper_kit${extra:+[$extra]} as pinned in constraints.txt (a few minutes the first time)"
if ! pip install -c constraints.txt -e ".${extra:+[$extra]}"; then
  echo "The installation failed; the message above says at which package. With no network, set PIP_FIND_LINKS to a folder of wheels and make again." >&2
  exit 2
fi
