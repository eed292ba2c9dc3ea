"""Several papers by Snakemake on two cores, and what a Slurm cluster would be asked for."""
import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from helpers import MANIFEST, ROOT, notebook
from paper_kit.kit import workflow
from paper_kit.kit.stages import load_result

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
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(runs/"Snakefile"), "--directory", str(runs),
               "--configfile", str(runs/"snakemake.json"),
               "--executor", "slurm", "--jobs", "8", "--dry-run", "all"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PAPER_KIT_ROOT": str(three), "PYTHONPATH": str(ROOT)})
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
    assert ({k: together[k] for k in ("tables", "claims", "digest")}
            == {k: alone[k] for k in ("tables", "claims", "digest")})


DEEPSDF = """
import sys, torch
from paper_kit.kit.train import place
from paper_kit.kit.stages import save_result
from paper_kit.shape3d.deepsdf import pack, train_auto_decoder

def balls(generator):
    for radius in (0.3, 0.4, 0.5, 0.6):
        x = 2*torch.rand(1500, 3, generator=generator) - 1
        rows = torch.cat([x, x.norm(dim=1, keepdim=True) - radius], 1)
        yield {"pos": rows[rows[:, 3] > 0], "neg": rows[rows[:, 3] <= 0]}

def run():
    generator = torch.Generator().manual_seed(0)
    return train_auto_decoder(pack(list(balls(generator)), 800, generator), 60, 4, 64, code_length=4, width=32, depth=4, seed=1)

if __name__ == "__main__": save_result(f"{sys.argv[1]}.{place().process}", run(), {})
"""


@pytest.mark.slow
def test_two_processes_train_deepsdf_to_the_loss_of_one(tmp_path):
    """accelerate launch, two CPU processes that share each batch of shapes: the same weights, codes and losses as one
    process."""
    pytest.importorskip("accelerate")
    script = tmp_path/"deepsdf_together.py"
    script.write_text(DEEPSDF)
    scope = {"__name__": "together"}
    exec(compile(DEEPSDF, script, "exec"), scope)
    alone = scope["run"]()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run([sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                           "--num_machines", "1", "--mixed_precision", "no",
                           "--dynamo_backend", "no", "--main_process_port", str(port), str(script),
                           str(tmp_path/"result")],
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
                               "ACCELERATE_USE_CPU": "true"}, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert alone["loss"][-1] < 0.8*alone["loss"][0]
    for process in range(2):
        result, _ = load_result(tmp_path/f"result.{process}")
        assert result["loss"] == pytest.approx(alone["loss"], rel=1e-3)
        torch.testing.assert_close(result["codes"], alone["codes"], atol=1e-4, rtol=1e-3)
        for name, weight in alone["state"].items():
            torch.testing.assert_close(result["state"][name], weight, atol=1e-4, rtol=1e-3)
