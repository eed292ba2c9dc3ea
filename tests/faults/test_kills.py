"""Runs and publishes that end badly: killed, interrupted, on a full disk. Nothing published is lost, and the next try
completes."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from helpers import ROOT
from paper_kit.kit.files import PaperKitError, sha256
from paper_kit.kit.paper import load_record
from paper_kit.kit.records import status, torn_files
from paper_kit.kit.workflow import publish, run


def edit(root, old, new):
    file = root/"nbs/learning/demo.ipynb"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def begin(root, *arguments):
    "`paper-kit ...` as a process group of its own."
    env = {**os.environ, "PAPER_KIT_ROOT": str(root), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "paper_kit.kit.cli", *arguments], cwd=root, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            # a shell's background job ignores Ctrl-C
                            start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def end(process, sign=signal.SIGKILL):
    if process.poll() is None:
        os.killpg(process.pid, sign)
    return process.communicate(timeout=60)


def row_of(root):
    return next(r for r in status(root) if r["slug"] == "demo")


def kernels(root):
    "Kernels that still work in this project."
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words, where = open(f"/proc/{pid}/cmdline").read(), os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if "ipykernel_launcher" in words and where == str(root):
            found.append(pid)
    return found


def gone(root, seconds=20):
    limit = time.monotonic() + seconds
    while kernels(root) and time.monotonic() < limit:
        time.sleep(0.2)
    return not kernels(root)


def test_a_run_killed_at_ten_random_moments_completes_afterwards(demo):
    begun = time.monotonic()
    first = begin(demo, "run", "demo", "--profile", "cpu", "--quiet")
    assert first.wait(timeout=120) == 0, first.communicate()
    whole = time.monotonic() - begun
    first.communicate()
    publish("demo", "cpu", demo)
    published = (demo/"data/results/demo.json").read_bytes()
    dice, reached = random.Random(0), set()
    for _ in range(10):
        process = begin(demo, "run", "demo", "--profile", "cpu", "--quiet", "--again")
        time.sleep(dice.uniform(0.1, 0.95)*whole)
        end(process)
        record = demo/"runs/cpu/demo/record.json"
        reached.add(record.is_file())
        if record.is_file():
            load_record(record)
        assert ((demo/"data/results/demo.json").read_bytes() == published
                and not torn_files(demo, "demo", json.loads(published)))
    assert gone(demo), "a kernel outlived its run"
    record = run("demo", "cpu", root=demo)
    assert record["claims"]["C1"]["verdict"] == "holds" and not list((demo/"runs/cpu/demo").glob(".*.tmp"))
    assert row_of(demo)["state"] == "published" and False in reached


def test_a_publish_killed_at_ten_random_moments_leaves_the_old_or_the_new_or_says_torn(demo):
    run("demo", "cpu", root=demo)
    publish("demo", "cpu", demo)
    edit(demo, "2.0/(steps", "2.5/(steps")
    run("demo", "cpu", root=demo)
    kept, results = demo/"kept", (demo/"figures", demo/"data/results")
    for folder in results:
        shutil.copytree(folder, kept/folder.name)
    process = begin(demo, "publish", "demo")
    begun = time.monotonic()
    process.communicate(timeout=120)
    whole, dice, states = time.monotonic() - begun, random.Random(1), []
    for _ in range(10):
        for folder in results:
            shutil.rmtree(folder)
            shutil.copytree(kept/folder.name, folder)
        process = begin(demo, "publish", "demo")
        time.sleep(dice.uniform(0.3, 1.0)*whole)
        end(process)
        row = row_of(demo)
        states.append(row["state"])
        record = load_record(demo/"data/results/demo.json")
        assert row["state"] in ("published", "torn")
        if row["state"] == "published":
            assert all(sha256(demo/"figures/demo"/name) == digest for name, digest in record["files"].items())
        else:
            assert "paper-kit publish demo" in row["problem"]
        publish("demo", "cpu", demo)
        assert row_of(demo)["state"] == "published" and row_of(demo)["fresh"]
        assert not [p for p in (demo/"figures").iterdir() if p.name.startswith(".")]
    assert "published" in states


def test_a_publish_stopped_before_each_of_its_renames(demo, monkeypatch):
    "Every moment between two steps that others can see, one after the other."
    run("demo", "cpu", root=demo)
    publish("demo", "cpu", demo)
    edit(demo, "2.0/(steps", "2.5/(steps")
    run("demo", "cpu", root=demo)
    rename, count = os.replace, 0

    class Power(BaseException):
        pass
    for fatal in range(1, 30):
        count = 0

        def failing(*names, **more):
            nonlocal count
            count += 1
            if count == fatal:
                raise Power
            return rename(*names, **more)
        monkeypatch.setattr(os, "replace", failing)
        try:
            publish("demo", "cpu", demo)
        except Power:
            monkeypatch.setattr(os, "replace", rename)
            row = row_of(demo)
            assert row["state"] == "published" or "paper-kit publish demo" in row["problem"], row
            continue
        break
    assert 3 < fatal < 29 and row_of(demo)["fresh"]


def test_ctrl_c_says_what_is_kept_and_leaves_no_kernel(demo):
    edit(demo, "'An error that falls with the steps.'\\n",
         "'An error that falls with the steps.'\\n    import time; time.sleep(4.0)\\n")
    process = begin(demo, "run", "demo", "--quiet")
    stages, limit = demo/"runs/stages/demo", time.monotonic() + 60
    while not list(stages.glob("*.safetensors")) and time.monotonic() < limit:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in said and "Traceback" not in said, said
    kept = {f.name for f in stages.glob("*.safetensors")}
    assert kept and gone(demo)
    assert json.loads((demo/"runs/smoke/demo/progress.json").read_text())["state"] == "stopped"
    record = run("demo", root=demo)
    assert [s["cached"] for s in record["stages"]].count(True) == len(kept)


@contextmanager
def small_disk(folder, size="600k"):
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
                      capture_output=True).returncode:
        pytest.skip("mounting a small disk needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_after_making_room_the_run_goes_on(demo):
    edit(demo, "return {'ours'",
         "import numpy as np\\n    return {'big': np.full(60_000*(seed > 0), float(seed)), 'ours'")
    with small_disk(demo/"runs"):
        process = begin(demo, "run", "demo", "--quiet")
        _, said = process.communicate(timeout=120)
        assert process.returncode == 2 and "the disk is full" in said and "make room" in said and "Traceback" not in said, said
        stages = list((demo/"runs/stages/demo").glob("*.safetensors"))
        assert len(stages) == 2 and not list((demo/"runs").rglob(".*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(demo/"runs")], check=True)
        process = begin(demo, "run", "demo", "--quiet")
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert load_record(demo/"runs/smoke/demo/record.json")["stages"][0]["cached"]


def test_a_full_disk_never_harms_what_is_published(demo):
    run("demo", "cpu", root=demo)
    publish("demo", "cpu", demo)
    before = {p: p.read_bytes() for p in (demo/"figures/demo").iterdir()}
    shutil.copytree(demo/"figures", demo/"kept")
    with small_disk(demo/"figures", "60k"):
        shutil.copytree(demo/"kept/demo", demo/"figures/demo")
        process = begin(demo, "publish", "demo")
        _, said = process.communicate(timeout=120)
        assert process.returncode == 2 and "the disk is full" in said and "Traceback" not in said, said
        assert {p.name: p.read_bytes() for p in (demo/"figures/demo").iterdir()} == {p.name: b for p,
                                                                                     b in before.items()}


@pytest.mark.parametrize("name", ["data/results/demo.json", "data/papers/demo.yaml", "data/catalogue.yaml"])
def test_a_file_cut_short_is_named(demo, name):
    run("demo", "cpu", root=demo)
    publish("demo", "cpu", demo)
    file = demo/name
    whole = file.read_bytes()
    for keep in (0, 0.3, 0.6, 0.9):
        file.write_bytes(whole[:int(len(whole)*keep)])
        try:
            problem = row_of(demo)["problem"]
        except PaperKitError as error:
            problem = str(error)
        assert file.name in problem and "next step" in problem, (keep, problem)
    process = begin(demo, "status")
    out, said = process.communicate(timeout=60)
    assert process.returncode in (1, 2) and file.name in said and "Traceback" not in said + out, (out, said)
    file.write_bytes(whole)
    assert row_of(demo)["state"] == "published"


def test_two_runs_at_once_one_wins_and_the_other_says_why(demo):
    edit(demo, "'An error that falls with the steps.'\\n",
         "'An error that falls with the steps.'\\n    import time; time.sleep(1.0)\\n")
    both = [begin(demo, "run", "demo", "--quiet") for _ in range(2)]
    said = [p.communicate(timeout=120)[1] for p in both]
    assert sorted(p.returncode for p in both) == [0, 2], said
    assert "in use" in said[0] + said[1] and load_record(demo/"runs/smoke/demo/record.json")
