"""Kill the harness at random moments: `python tests/faults/kills.py --kills 200 --twice 80`.

Stages, runs, publishing, exports and site builds of a small project are killed (SIGKILL, the whole process group).
After each kill everything that was published, exported, built or memoised before must still be whole, old or new,
and the same command must succeed at once. Then a paper is published by two processes at the same time. Prints the
counts as JSON."""
import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]
from helpers import CELLS, MANIFEST, ROOT, notebook
from paper_kit.kit.files import sha256
from paper_kit.kit.paper import load_record
from paper_kit.kit.records import status, torn_files
from paper_kit.kit.stages import load_result

WORK = """
import json, os, time, torch
from pathlib import Path
from paper_kit.kit.stages import Runner

def measure(number, seed):
    time.sleep(0.1)
    return {"x": torch.full((1000, 100), float(number) + seed), "name": "a", "seed": seed}

number = json.loads((Path(os.environ["PAPER_KIT_ROOT"])/"number.json").read_text())
run = Runner("demo", "cpu")
for seed in range(8):
    found = run.stage(measure, number=number, seed=seed)
    assert bool((found["x"] == float(number) + seed).all()) and found["seed"] == seed
"""
COMMANDS = {"stages": ["stages"], "run": ["run", "demo", "--profile", "cpu", "--quiet"],
            "publish": ["publish", "demo"], "sync": ["sync"], "site": ["site"]}


def project(where):
    "A project of one paper, with a stage that takes a moment."
    for name in ("settings.ini", "pyproject.toml", "_quarto.yml", "README.md", "nbs/index.ipynb",
                 "data/catalogue.yaml"):
        (where/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/name, where/name)
    for folder in ("nbs/learning", "data/papers", "data/refs", "data/results"): (where/folder).mkdir(parents=True)
    cells = list(CELLS)
    at = next(k for k, cell in enumerate(cells) if "def measure" in cell[1])
    slow = cells[at][1].replace("    return {'ours'", "    import time; time.sleep(0.2)\n    return {'ours'")
    cells[at] = ("code", slow, [])
    text = notebook(cells)
    (where/"nbs/learning/demo.ipynb").write_text(text)
    (where/"data/papers/demo.yaml").write_text(MANIFEST)
    (where.parent/"work.py").write_text(WORK)


def begin(root, words):
    env = {**os.environ, "PAPER_KIT_ROOT": str(root), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
           "PYTHONSAFEPATH": "1", "PAPER_KIT_SLOTS": "4"}     # the kit is this checkout's, not what the demo exports
    called = ["-m", "paper_kit.kit.cli", *words] if words != COMMANDS["stages"] else ["work.py"]
    return subprocess.Popen([sys.executable, *called], cwd=root.parent, env=env,
                            text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def call(root, words):
    begun, process = time.monotonic(), begin(root, words)
    said = process.communicate(timeout=600)[1]
    return time.monotonic() - begun, process.returncode, said


def edit(root, number):
    "Other code, so that a stage, a run, an export and a page have something to do."
    file = root/"nbs/learning/demo.ipynb"
    text = file.read_text()
    old = json.loads((root/"number.json").read_text()) if (root/"number.json").is_file() else "2.0"
    file.write_text(text.replace(f"{old}/(steps", f"{number}/(steps"))
    (root/"number.json").write_text(json.dumps(number))


def faults(root, kept):
    "What is not as it should be after a kill."
    found = []
    record = root/"data/results/demo.json"
    row = next(r for r in status(root) if r["slug"] == "demo")
    if not record.is_file(): found.append("the published record is gone")
    elif torn_files(root, "demo", load_record(record)) and row["state"] != "torn": found.append("torn without a word")
    elif row["state"] == "torn" and kept != "publish": found.append("torn by another command")
    for module in (root/"paper_kit").rglob("*.py"): ast.parse(module.read_text())
    for stage in (root/"runs/stages").rglob("*.safetensors"): load_result(stage)
    if (file := root/"runs/cpu/demo/record.json").is_file(): load_record(file)
    pages = root/"_site"
    listed = json.loads((root/"pages.json").read_text())
    if lost := [p for p in listed if not (pages/p).is_file() or not (pages/p).stat().st_size]:
        found.append(f"pages lost: {lost[:3]}")
    return found


def kills(count, dice, root):
    "Counts by command, and faults."
    for words in ("run", "publish", "sync", "site"):
        _, code, said = call(root, COMMANDS[words])
        if code: raise SystemExit(f"{words} fails undisturbed: {said[-800:]}")
    before = {"publish": "run"}
    pages = sorted(str(p.relative_to(root/"_site")) for p in (root/"_site").rglob("*.html"))
    (root/"pages.json").write_text(json.dumps(pages))
    number, length, done, found, early = 2, {}, Counter(), [], Counter()
    for name in COMMANDS:
        edit(root, f"{(number := number + 1)}.0")
        if name in before: call(root, COMMANDS[before[name]])
        length[name], *_ = call(root, COMMANDS[name])
    while sum(done.values()) < count:
        for name, words in COMMANDS.items():
            edit(root, f"{(number := number + 1)}.0")
            if name in before: call(root, COMMANDS[before[name]])
            process = begin(root, words)
            time.sleep(dice.uniform(0.1, 1.0)*length[name])
            early[name] += process.poll() is None
            try: os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError: pass
            process.communicate(timeout=60)
            done[name] += 1
            found += [f"{name} {done[name]}: {f}" for f in faults(root, name)]
            _, code, said = call(root, words)
            if code: found.append(f"{name} {done[name]} cannot be taken up: {said[-300:]}")
            found += [f"{name} {done[name]}, taken up: {f}" for f in faults(root, "")]
        print(f"{sum(done.values())} kills, {len(found)} faults", file=sys.stderr, flush=True)
    left = [str(p.relative_to(root)) for p in root.rglob(".*") if ".new." in p.name or p.name.endswith(".tmp")]
    return {"kills": dict(done), "before the end": dict(early), "left behind": left, "faults": found}


def twice(count, root):
    "Two processes publish one paper at once: each ends well or says why, and what stands is whole."
    codes, found = Counter(), []
    for k in range(count):
        edit(root, f"{1000 + k}.0")
        call(root, COMMANDS["run"])
        both = [begin(root, COMMANDS["publish"]) for _ in range(2)]
        said = [p.communicate(timeout=600)[1] for p in both]
        for process, words in zip(both, said):
            codes["published" if process.returncode == 0 else "refused"] += 1
            if process.returncode and ("Traceback" in words or "next step" not in words): found.append(words[-300:])
        record = load_record(root/"data/results/demo.json")
        if any(sha256(root/"figures/demo"/n) != d for n, d in record["files"].items()): found.append(f"torn at {k}")
        if not any(p.returncode == 0 for p in both): found.append(f"nobody published at {k}")
        print(f"{k + 1} double publications, {len(found)} faults", file=sys.stderr, flush=True)
    return {"double publications": count, **codes, "faults": found}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--twice", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)/"project"
        project(root)
        print(json.dumps({"killed": kills(asked.kills, random.Random(asked.seed), root)}), flush=True)
        print(json.dumps({"twice": twice(asked.twice, root)}), flush=True)


if __name__ == "__main__": main()
