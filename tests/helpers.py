"""What several test files share: the project's files, a copy of it to break, a small paper, the browser."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def project_files():
    "Files of the working tree that git tracks or would track."
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT/name for name in listed.stdout.splitlines() if (ROOT/name).is_file()]
    skipped = {".venv", "runs", "site-src", "_site", ".git", "__pycache__"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)]


def copy_project(target: Path) -> Path:
    for file in project_files():
        to = target/file.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to)
    return target


class Clone:
    def __init__(self, root):
        self.root = root
        self.env = {**os.environ, "PAPER_KIT_ROOT": str(root), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}

    def run(self, *arguments, check=True, cwd=None):
        "Run `paper-kit` with these arguments on the copy."
        return self.python("-m", "paper_kit.kit.cli", *arguments, check=check, cwd=cwd)

    def python(self, *arguments, check=True, cwd=None):
        done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd or self.root, env=self.env,
                              capture_output=True, text=True, timeout=600)
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} ended with "
                                 f"{done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done


MANIFEST = """slug: demo
title: A demonstration
venue: CVPR 2019
wing: learning
summary: One table, one figure, two claims.
tables:
  - {id: Table 1, shows: errors, regenerate: full, better: lower}
figures:
  - {id: Figure 1, shows: a line, regenerate: full}
  - {id: Figure 2, shows: hardware, regenerate: reported-only, why: a photograph}
reported:
  Table 1:
    columns: [method, error]
    rows: [[theirs, 0.5], [ours, 0.25]]
claims:
  - {id: C1, kind: headline, text: ours is better, where: Table 1, paper_numbers: 0.25 against 0.5,
     test: ours below theirs over 3 seeds, needs: cpu}
  - {id: C2, kind: property, text: it is exact, test: error below 1e-6, needs: smoke}
"""

CELLS = [
    ("markdown", "# A demonstration\n\n> One sentence.", []),
    ("code", "#| default_exp learning.demo", []),
    ("code", 'profile = "smoke"\nseed = 0\ndata_root = ""', ["parameters"]),
    ("code", 'from paper_kit.kit.paper import Paper\nfrom paper_kit.kit.claims import less, below\npaper = '
             'Paper("demo", profile=profile, seed=seed, data_root=data_root)\npaper.header()', []),
    ("code", "#| export\ndef measure(steps, seed):\n    'An error that falls with the steps.'\n    return {'ours': "
             "1.0/(steps + seed), 'theirs': 2.0/(steps + seed)}", []),
    ("code", "results = [paper.stage(measure, steps=paper.pick(smoke=4, cpu=8), seed=s) for s in paper.seeds()]", []),
    ("markdown", "## Experiments", []),
    ("code", 'import pandas as pd\npaper.table("Table 1", pd.DataFrame({"method": ["theirs", "ours"], "error": '
             '[results[0]["theirs"], results[0]["ours"]]}))', []),
    ("code", 'import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(2, 1)); ax.plot([0, '
             '1])\npaper.figure("Figure 1", fig)', []),
    ("code", 'paper.claim("C1", values={k: [r[k] for r in results] for k in ("ours", "theirs")}, test=less("ours", '
             '"theirs"))\n'
             'paper.claim("C2", values={"error": 0.0}, test=below("error", 1e-6, exact=True))', []),
    ("code", "paper.finish()", []),
]


def notebook(cells=CELLS):
    body = [{"cell_type": kind, "id": f"cell{i}", "metadata": {"tags": tags} if tags else {},
             "source": text.splitlines(keepends=True),
             **({"execution_count": None, "outputs": []} if kind == "code" else {})} for i,
            (kind, text, tags) in enumerate(cells)]
    return json.dumps({"cells": body, "metadata": {"kernelspec": {"display_name": "python3", "language": "python",
                                                                  "name": "python3"}},
                       "nbformat": 4, "nbformat_minor": 5})


def chromium() -> str:
    "The browser's path. A test that needs it fails where there is none: nothing is skipped in silence."
    found = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    assert found, "Chromium is not installed. As root: apt-get install chromium"
    return found


def eventually(page, check, seconds: float = 20):
    """Whether `check()` becomes true before the time is over; the page lives on while we wait. For machines that are
    busy."""
    import time
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        page.wait_for_timeout(100)
    return True


def varied(values: dict, seeds: int = 9) -> dict:
    "The same numbers as at least nine trainings that differ by a thousandth: three identical ones are no evidence."
    import zlib
    import numpy as np
    found = {}
    for name, given in values.items():
        array = np.asarray(given, float)
        cases = len(array.ravel()) >= 20 and set(array.ravel()) <= {0.0, 1.0}
        if array.ndim and len(array) >= 3 and not cases:
            array = np.concatenate([array]*-(-seeds//len(array)))
            array = array + np.random.default_rng(zlib.crc32(name.encode())).normal(0, 1e-3, array.shape)*(
                np.abs(array) + 1e-15)
        found[name] = array.tolist()
    return found


YARDSTICK = """import sys, time, numpy, torch
def once():
    begun, g, r = time.process_time(), torch.Generator().manual_seed(0), numpy.random.default_rng(0)
    x, w = (torch.randn(*s, generator=g, requires_grad=True) for s in ((8, 16, 48, 48), (16, 16, 3, 3)))
    for _ in range(30): torch.nn.functional.conv2d(x, w, padding=1).relu().square().mean().backward()
    a, b, total = r.normal(size=(300, 300)), r.normal(size=1_000_000), 0
    for _ in range(30): numpy.linalg.solve(a, a)
    for i in range(3_000_000): total += i*i % 7
    for _ in range(8): numpy.sort(b)
    return time.process_time() - begun
torch.set_num_threads(1)
once()
print(sorted(once() for _ in range(3))[1])
"""
# Of the machine on which every paper last met 45 s: semantic_2d3d2d takes 76.7 s where the yardstick takes 0.65 s.
YARDSTICK_S = 0.38


def pace(environment=None) -> float:
    """How many seconds of processor time this machine takes now for one that a budget means: neighbours and the
    other half of a core make seconds of the same work half as long again, so that seconds alone measure them."""
    done = subprocess.run([sys.executable, "-c", YARDSTICK], env=environment or os.environ, capture_output=True,
                          text=True, check=True)
    return max(1, float(done.stdout)/YARDSTICK_S)
