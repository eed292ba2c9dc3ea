"""The same seed gives the same record, bit for bit, in two processes; another seed gives other numbers."""
import json
import os
import subprocess
import sys

import pytest
from helpers import ROOT
from paper_kit.kit.workflow import begun

MEASURED = ("digest", "tables", "figures", "claims", "files")


def record_of(slug, seed, folder):
    "Run a paper's notebook in a process of its own, its stages computed anew under `folder`; what it measured."
    code = ("import sys, json\nfrom pathlib import Path\nfrom paper_kit.kit import stages, workflow\n"
            f"record = workflow.run({slug!r}, 'smoke', {seed})\nprint(json.dumps(record))")
    env = {**os.environ, "PAPER_KIT_ROOT": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(seed + len(folder.name))}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def project(tmp_path, name):
    "The project's notebooks and data with an empty runs folder."
    where = tmp_path/name
    where.mkdir()
    for part in ("settings.ini", "nbs", "data", "figures"):
        (where/part).symlink_to(ROOT/part)
    return where


@pytest.mark.slow
@pytest.mark.parametrize("slug", [s for s in begun(ROOT) if s == "adaptive_robust_loss"])   # the others also publish times
def test_a_seed_is_a_record(tmp_path, slug):
    first, again = (record_of(slug, 0, project(tmp_path, name)) for name in ("one", "another"))
    assert not any(s["cached"] for s in again["stages"])
    for key in MEASURED:
        assert first[key] == again[key], key
    other = record_of(slug, 5, project(tmp_path, "other seed"))
    assert other["digest"] == first["digest"] and (other["tables"], other["files"]) != (first["tables"], first["files"])
