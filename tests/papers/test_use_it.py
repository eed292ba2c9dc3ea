"""The lines under "Use it" of every page, run as a reader would: pasted into an empty file, with their own files."""
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

PAPERS = {p.stem: p for p in sorted((ROOT/"nbs").glob("*/*.ipynb")) if (ROOT/f"data/papers/{p.stem}.yaml").is_file()}
# papers whose lines still ask for something that only their notebook has; may only become fewer
not_yet = {"ga_net", "ideme_net", "locating_objects", "selflow", "stylegan"}


def block_of(notebook) -> str | None:
    "What stands between the heading and the next one of its kind: the first Python block of the text, or the cells."
    text = ""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        exported = source.startswith("#| export") or "paper." in source
        if cell["cell_type"] == "markdown": text += f"\n{source}\n"
        elif not exported: text += f"\n```cell\n{source}\n```\n"
    part = re.split(r"^## ", text.partition("## Use it\n")[2], flags=re.M)[0]
    found = re.search(r"```python\n(.*?)```", part, re.S)
    return found[1] if found else "\n".join(re.findall(r"```cell\n(.*?)```", part, re.S)) or None


def two_clouds(folder):
    rng = np.random.default_rng(0)
    u, v = rng.random((2, 300))
    x = np.stack([np.cos(6*u)*(1 + 0.3*v), np.sin(6*u)*(1 - 0.5*v), 2*v + 0.2*np.sin(3*u)], 1)
    turn = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1]])
    np.save(folder/"source.npy", 0.2*x)
    np.save(folder/"target.npy", 0.2*x @ turn.T + [0.01, 0, 0.02])


def picture(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)).save(folder/"me.jpg")


FILES = {"filterreg": two_clouds, "sdrsac": two_clouds, "graph_cmr": picture}


@pytest.mark.parametrize("slug", sorted(PAPERS.keys() - not_yet))
def test_the_lines_under_use_it_run_from_nothing(slug, tmp_path):
    block = block_of(PAPERS[slug])
    assert block, "no Python block under Use it"
    FILES.get(slug, lambda folder: None)(tmp_path)
    begun = os.times()
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=900,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "PAPER_KIT_ROOT": str(ROOT), "MPLBACKEND": "Agg"})
    ended = os.times()
    assert done.returncode == 0, done.stderr[-1500:]
    spent = ended.children_user + ended.children_system - begun.children_user - begun.children_system
    assert spent < 60, f"{spent:.0f} s of processor time"


def test_those_that_do_not_run_yet_are_named_and_the_block_is_found_where_it_stands(tmp_path):
    assert not_yet < set(PAPERS)
    cell = lambda kind, text: {"cell_type": kind, "source": text}
    nb = {"cells": [cell("markdown", "## Use it\n\nText.\n"), cell("code", "paper.finish()"),
                    cell("markdown", "```python\nprint(1)\n```\n## Next\n```python\nprint(2)\n```")]}
    (tmp_path/"a.ipynb").write_text(json.dumps(nb))
    assert block_of(tmp_path/"a.ipynb") == "print(1)\n"
    nb["cells"][1:] = [cell("code", "x = 1"), cell("markdown", "More."), cell("code", "x + 1"),
                       cell("code", "paper.finish()")]
    (tmp_path/"a.ipynb").write_text(json.dumps(nb))
    assert block_of(tmp_path/"a.ipynb") == "x = 1\n\nx + 1\n"
