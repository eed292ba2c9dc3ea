"""Several papers by Snakemake on two cores, and what a Slurm cluster would be asked for."""
import json
import os
import subprocess
import sys

import pytest
from helpers import MANIFEST, ROOT, notebook
from paper_kit.kit import workflow

SLUGS = ("demo", "second", "third")


@pytest.fixture
def three(demo):
    for slug in SLUGS[1:]:
        (demo/f"nbs/learning/{slug}.ipynb").write_text(notebook().replace('\\"demo\\"', f'\\"{slug}\\"'))
        (demo/f"data/papers/{slug}.yaml").write_text(MANIFEST.replace("slug: demo", f"slug: {slug}"))
    return demo


def prepared(root, profile):
    "The workflow's files, as `paper-kit run` writes them, with no job started."
    process = workflow._snakemake(root, [(s, profile) for s in SLUGS], 2, 0, ["--dry-run"])
    assert process.wait(timeout=120) == 0, (root/"runs/snakemake.txt").read_text()
    return root/"runs"


@pytest.mark.parametrize("profile,memory,minutes,gpu", [("cpu", 6000, 120, 0), ("gpu", 32000, 180, 1)])
def test_a_dry_run_for_slurm_shows_one_job_a_paper_with_its_resources(three, profile, memory, minutes, gpu):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra 'cluster' is not installed")
    runs = prepared(three, profile)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(runs/"Snakefile"), "--directory", str(runs), "--configfile", str(runs/"snakemake.json"),
               "--executor", "slurm", "--jobs", "8", "--dry-run", "all"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PAPER_KIT_ROOT": str(three), "PYTHONPATH": str(ROOT)})
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    jobs = [block for block in said.split("rule paper:")[1:]]
    assert len(jobs) == 3
    for slug in SLUGS:
        job, = (j for j in jobs if f"output: {profile}/{slug}/record.json" in j)
        resources = next(line for line in job.splitlines() if "resources:" in line)
        assert f"mem_mb={memory}" in resources and f"runtime={minutes}" in resources and f"gpu={gpu}" in resources, resources
    assert not list(runs.glob("*/*/record.json"))


def test_two_cores_run_three_papers_and_the_records_are_those_of_single_runs(three):
    rows = workflow.run_many(SLUGS, "smoke", cores=2, root=three)
    assert [r["state"] for r in rows] == ["done"]*3, rows
    together = json.loads((three/"runs/smoke/second/record.json").read_text())
    alone = workflow.run("second", root=three)
    assert {k: together[k] for k in ("tables", "claims", "digest")} == {k: alone[k] for k in ("tables", "claims", "digest")}
