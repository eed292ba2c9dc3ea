#!/usr/bin/env bash
# What the tests need beside the packages: axe-core (from npm), Chromium (installed on Debian and Ubuntu when it is missing), and atheris where it installs.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! .venv/bin/python -c "import atheris" 2>/dev/null; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt atheris >/dev/null 2>&1 \
    || echo "atheris does not install here; its tests are skipped" >&2
fi
AXE=axe-core-4.10.2   # checks of accessibility, for the tests of the site only
if [ ! -f "runs/tools/$AXE/package/axe.min.js" ] && command -v npm >/dev/null 2>&1; then
  mkdir -p "runs/tools/$AXE"
  (cd "runs/tools/$AXE" && npm pack --silent axe-core@4.10.2 >/dev/null 2>&1 && tar xzf "$AXE.tgz" && rm "$AXE.tgz") \
    || { rm -rf "runs/tools/$AXE"; echo "axe-core could not be fetched; its test is skipped" >&2; }
fi
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "installing Chromium for the browser tests"
  if apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; then exit 0; fi
fi
echo "The browser tests need Chromium, which is not here and could not be installed. As root: apt-get install chromium. They fail until then." >&2
