"""A real Slurm of one node without accounting: two papers, one of them killed."""
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from helpers import CELLS, MANIFEST, notebook
from paper_kit.kit import cluster, workflow
from paper_kit.kit.files import PaperKitError

CONF = Path("/etc/slurm/slurm.conf")
SETTINGS = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
SlurmdPort={next}
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path):
    "slurmctld and slurmd of this test alone, stopped by their pids."
    if os.getuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))):
        pytest.skip("no Slurm to start here: Debian's packages slurm-wlm and munge, as root")
    if CONF.exists():
        pytest.skip(f"{CONF} is there: this machine has a Slurm of its own")
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0)), two.bind(("127.0.0.1", 0))
        port, following = one.getsockname()[1], two.getsockname()[1]
    folder = tmp_path/"slurm"
    (folder/"state").mkdir(parents=True), (folder/"spool").mkdir()
    started = []
    begin = lambda *command: started.append(subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL,
                                                             stderr=subprocess.DEVNULL))
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(SETTINGS.format(host=socket.gethostname().split(".")[0], port=port, next=following, folder=folder))
    try:
        if subprocess.run(["munge", "-n"], capture_output=True).returncode != 0:
            Path("/run/munge").mkdir(exist_ok=True)
            shutil.chown("/run/munge", "munge", "munge")
            begin("su", "-s", "/bin/sh", "munge", "-c", "exec munged --foreground")
            time.sleep(1)
        begin("slurmctld", "-D")
        begin("slurmd", "-D")
        end = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
            if time.monotonic() > end:
                pytest.skip("Slurm does not come up here: " + (folder/"slurmctld.log").read_text()[-300:])
            time.sleep(0.5)
        yield
    finally:
        subprocess.run(["scancel", "--me"], capture_output=True)
        for process in reversed(started):
            os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            process.wait(timeout=30)
        CONF.unlink()


@pytest.fixture
def two(demo):
    "`demo`, and `second`, whose stage takes ten minutes."
    slow = [(k, t.replace("    return {'ours'", "    import time; time.sleep(600)\n    return {'ours'"), tags)
            for k, t, tags in CELLS]
    (demo/"nbs/learning/second.ipynb").write_text(notebook(slow).replace('\\"demo\\"', '\\"second\\"'))
    (demo/"data/papers/second.yaml").write_text(MANIFEST.replace("slug: demo", "slug: second"))
    return demo


@pytest.mark.slow
def test_one_job_is_killed_and_the_other_leaves_its_record(slurm, two):
    assert "--slurm-status-command" in cluster.slurm_options(), "sacct is there and says nothing"
    seen, killed = {}, []

    def board(rows):
        for row in rows:
            seen.setdefault(row["slug"], set()).add((row["state"], row.get("job", "")))
            if row["slug"] == "second" and row["state"] == "running" and row.get("stage") and not killed:
                killed.append(time.monotonic())
                number = row["job"].split()[2].rstrip(":")
                assert subprocess.run(["scancel", number]).returncode == 0
    rows = {r["slug"]: r for r in workflow.run_many(["demo", "second"], root=two,
                                                    extra=["--executor", "slurm", "--jobs", "4"], board=board)}
    assert killed and time.monotonic() - killed[0] < 120, "a failed job is told within two minutes"
    assert rows["demo"]["state"] == "done" and (two/"runs/smoke/demo/record.json").is_file()
    assert (rows["second"]["state"] == "failed" and "Slurm job" in rows["second"]["error"]
            and "cancelled" in rows["second"]["error"])
    assert any(job.startswith("Slurm job") for _, job in seen["demo"])
    shutil.copy(two/"nbs/learning/demo.ipynb", two/"nbs/learning/second.ipynb")
    (two/"nbs/learning/second.ipynb").write_text(notebook().replace('\\"demo\\"', '\\"second\\"'))
    again = {r["slug"]: r["state"] for r in workflow.run_many(["demo", "second"], root=two,
                                                              extra=["--executor", "slurm", "--jobs", "4"])}
    assert again == {"demo": "up to date", "second": "done"}


def test_where_there_is_no_slurm_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PaperKitError, match="there is no Slurm here"):
        cluster.slurm_options()


def test_jobs_are_known_by_their_comment_and_the_newest_counts():
    listed = ("4|FAILED|rule_paper_wildcards_smoke_graph_cmr|NonZeroExitCode\n"
              "9|RUNNING|rule_paper_wildcards_smoke_graph_cmr|None\n5|RUNNING|somebody else|None\n|x\n")
    assert cluster.slurm_jobs(listed) == {("smoke", "graph_cmr"): (9, "RUNNING", "None")}
    watch, rows = cluster.Watch(), [{"slug": "graph_cmr", "profile": "smoke", "state": "queued"}]
    watch.jobs = cluster.slurm_jobs(listed)
    watch.asked = time.monotonic()
    watch(rows)
    assert rows == [{"slug": "graph_cmr", "profile": "smoke", "state": "starting", "job": "Slurm job 9: running"}]
