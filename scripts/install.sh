#!/usr/bin/env bash
# Make .venv and install the project into it, pinned by constraints.txt. Usage: scripts/install.sh [extra]
set -euo pipefail
cd "$(dirname "$0")/.."
extra="${1:-}"

find_python() {
  for candidate in ${PYTHON:-} python3.11 python3.12 python3; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  echo "paper_kit needs Python 3.11 or 3.12, and found neither. Install one (Debian 12: apt-get install python3 python3-venv), or say PYTHON=/path/to/python3.11" >&2
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

echo "installing paper_kit${extra:+[$extra]} as pinned in constraints.txt (a few minutes the first time, some 2 GB)"
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extra:+[$extra]}" 2> >(grep -v "is ignored: it is neither" >&2); then
  echo "The installation failed; the message above says at which package. With no network, set PIP_FIND_LINKS to a folder of wheels and make again." >&2
  exit 2
fi
