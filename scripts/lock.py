"""Write locks/: what `make reproduce` and `make test` install on this platform, each file named by its SHA-256.

Usage: python scripts/lock.py [report.json], with a report of
    pip install --dry-run --ignore-installed --report report.json -c constraints.txt '.[EXTRAS of the Makefile]'
(made here when none is given). A hash goes in when PyPI's index lists it for that version; torch's CPU build, which
PyPI does not have, by the file that the report names. Names, versions and hashes only, no addresses."""
import configparser
import json
import platform
import re
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

root = Path(__file__).resolve().parents[1]
name = f"{platform.system().lower()}-{platform.machine()}-py{sys.version_info.major}.{sys.version_info.minor}"
extras = re.search(r'install.sh (\S+) && touch \$\(READY\) \$@', (root/"Makefile").read_text())[1].split(",")


def report(file=None) -> list:
    "What pip would install from nothing, with every extra that the Makefile names."
    if file is None:
        file = Path(tempfile.mkdtemp())/"report.json"
        subprocess.run([sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
                        "--report", file, "-c", root/"constraints.txt", f"{root}[{','.join(extras)}]"], check=True)
    return json.loads(Path(file).read_text())["install"]


def closure(found: dict, wanted: list, extra: str = "") -> set:
    "Canonical names that `wanted` (requirements as text) ask for, directly or not."
    names, queue = set(), [(Requirement(w), "") for w in wanted]
    while queue:
        need, of = queue.pop()
        if need.marker and not any(need.marker.evaluate({"extra": e}) for e in (of if of else ("",))): continue
        key = canonicalize_name(need.name), frozenset(need.extras)
        if key in names: continue
        names.add(key)
        metadata = found[key[0]]["metadata"]
        queue += [(Requirement(r), need.extras or ("",)) for r in metadata.get("requires_dist", [])]
    return {n for n, _ in names}


def hashes(package: str, version: str) -> list:
    "SHA-256 of the files of a version on PyPI that fit this platform; of its source where no wheel does."
    ask = urllib.request.Request(f"https://pypi.org/simple/{package}/",
                                 headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(ask, timeout=60) as answer: files = json.load(answer)["files"]
    tags, wheels, sources = set(sys_tags()), [], []
    for file in files:
        try:
            if file["filename"].endswith(".whl"):
                _, v, _, t = parse_wheel_filename(file["filename"])
                if str(v) == version and tags & t: wheels.append(file["hashes"]["sha256"])
            elif str(parse_sdist_filename(file["filename"])[1]) == version: sources.append(file["hashes"]["sha256"])
        except ValueError: continue
    return wheels or sources


def main(file=None) -> None:
    found = {canonicalize_name(x["metadata"]["name"]): x for x in report(file)}
    settings = configparser.ConfigParser(delimiters=["="], interpolation=None)
    settings.read(root/"settings.ini", encoding="utf-8")
    asked = lambda *keys: [w for k in keys for w in settings["DEFAULT"][k].split()]
    base = closure(found, asked("requirements"))
    whole = base | closure(found, asked(*(f"{e}_requirements" for e in extras)))
    def line(package):
        item = found[package]
        version = item["metadata"]["version"].split("+")[0]
        own = item["download_info"]["archive_info"]["hashes"]["sha256"]
        known = hashes(package, version)
        if "+cpu" in item["metadata"]["version"]: known = [own]        # a machine with a GPU has its torch before this
        if own not in known: print(f"{package} {version}: the file used here is not PyPI's", file=sys.stderr)
        return package, " ".join([f"{package}=={version}", *(f"--hash=sha256:{h}" for h in sorted(known))])
    with ThreadPoolExecutor(8) as pool: lines = dict(pool.map(line, sorted(whole)))
    (root/"locks").mkdir(exist_ok=True)
    for kind, names in (("", base), ("-dev", whole)):
        target = root/"locks"/f"{name}{kind}.txt"
        target.write_text("".join(f"{lines[p]}\n" for p in sorted(names)))
        print(f"{target.relative_to(root)}: {len(names)} packages")


if __name__ == "__main__": main(*sys.argv[1:])
