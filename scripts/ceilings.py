"""Lower the ceilings of notebooks that have been edited: data/ceilings.json.

    python scripts/ceilings.py

For each notebook that is not clean yet: how many of its lines of code are over 120 columns, and how many of its
exported cells over 30 lines. A ceiling may only shrink. A notebook without one has none of either."""
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT/"data"/"ceilings.json"
COLUMNS, LINES = 120, 30


def count(notebook) -> dict:
    "{'lines': over 120 columns, 'cells': exported ones over 30 lines} of a parsed notebook."
    found = {"lines": 0, "cells": 0}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code": continue
        lines = "".join(cell["source"]).splitlines()
        found["lines"] += sum(len(line) > COLUMNS for line in lines)
        marked = [line for line in lines if line.startswith("#|")]
        code = "\n".join(line for line in lines if line not in marked).strip("\n").splitlines()
        found["cells"] += any("export" in line for line in marked) and len(code) > LINES
    return found


def counts() -> dict:
    "{path of a notebook below nbs: its counts} where there is something to count."
    found = {str(p.relative_to(ROOT/"nbs")): count(json.loads(p.read_text(encoding="utf-8")))
             for p in sorted((ROOT/"nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts}
    return {name: n for name, n in found.items() if any(n.values())}


def lowered(old: dict, now: dict) -> dict:
    "The ceilings of before, none above what there is now."
    least = {name: {k: min(n, now.get(name, {}).get(k, 0)) for k, n in kinds.items()} for name, kinds in old.items()}
    return {name: kinds for name, kinds in least.items() if any(kinds.values())}


if __name__ == "__main__":
    old = json.loads(FILE.read_text(encoding="utf-8"))
    rows = [f"{json.dumps(name)}: {json.dumps(kinds)}" for name, kinds in sorted(lowered(old, counts()).items())]
    FILE.write_text("{" + ",\n ".join(rows) + "}\n", encoding="utf-8")
