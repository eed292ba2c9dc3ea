"""The queue of a GPU machine: what comes first, stopping in time, results that travel as files."""
import json
import time
from types import SimpleNamespace

import pytest

from helpers import MANIFEST
from paper_kit.kit import queue
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.stages import Runner, load_result


def paper(root, slug, claims):
    text = MANIFEST.replace("slug: demo", f"slug: {slug}").split("claims:")[0] + "claims:\n"
    (root/f"data/papers/{slug}.yaml").write_text(text + "".join(
        f"  - {{id: {i}, text: t, test: t, needs: {needs}, kind: {kind}}}\n" for i, needs, kind in claims))


@pytest.fixture
def three(demo):
    paper(demo, "demo", [("C1", "gpu", "headline"), ("C2", "cpu", "property")])
    paper(demo, "many", [("C1", "gpu", "headline"), ("C2", "gpu", "headline"), ("C3", "real-data", "headline")])
    paper(demo, "none", [("C1", "gpu", "ablation")])
    return demo


def test_headline_claims_a_minute_decide_the_order(three):
    assert [(p.slug, p.waiting) for p in queue.places(root=three)] == [("many", ("C1", "C2")),
                                                                       ("demo", ("C1",)), ("none", ())]
    record = {"profile": "gpu", "stages": [{"wall_s": 3600.0}],
              "claims": {"C1": {"verdict": "undecided"}, "C2": {"verdict": "holds"}}}
    (three/"data/results").mkdir()
    (three/"data/results/many.json").write_text(json.dumps(record))
    assert [(p.slug, p.waiting, p.minutes) for p in queue.places(root=three)] == [("demo", ("C1",), 10.0),
                                                                                  ("many", ("C1",), 60.0),
                                                                                  ("none", (), 10.0)]
    assert [p.slug for p in queue.places(["none"], root=three)] == ["none"]
    with pytest.raises(PaperKitError, match="there is no paper 'nobody'"):
        queue.places(["nobody"], root=three)


def quick(x): return {"x": x}


def slow(x, checkpoint):
    if checkpoint.is_file():
        return {"x": x}
    checkpoint.write_text("half")
    time.sleep(60)


def broken(x): raise ValueError("no such thing")


def modules(monkeypatch, **stages):
    monkeypatch.setattr(queue, "paper_module",
                        lambda slug: SimpleNamespace(stages=lambda run: [run.stage(f, x=1) for f in stages[slug]]))


def test_it_stops_in_time_inside_a_stage_and_goes_on_there(three, monkeypatch):
    modules(monkeypatch, demo=[quick, slow], many=[quick], none=[quick])
    begun = time.monotonic()
    rows = {r["slug"]: r for r in queue.work(minutes=3/60, reserve=0.5, root=three)}
    assert time.monotonic() - begun < 10
    assert {s: r["state"] for s, r in rows.items()} == {"many": "done", "demo": "stopped", "none": "not begun"}
    assert len(list((three/"runs/stages/demo").glob("*.partial"))) == 1
    rows = {r["slug"]: r for r in queue.work(minutes=1, root=three)}
    assert ({s: r["state"] for s, r in rows.items()} == {"many": "done", "demo": "done", "none": "done"}
            and rows["demo"]["stages"] == 2)


def test_a_paper_that_fails_costs_only_itself(three, monkeypatch):
    modules(monkeypatch, demo=[quick], many=[broken], none=[quick])
    rows = queue.work(minutes=1, root=three)
    assert [(r["slug"], r["state"]) for r in rows] == [("many", "failed"), ("demo", "done"), ("none", "done")]
    assert "ValueError: no such thing" in queue.report(rows)


def test_results_travel_in_parts_and_count_at_home(three, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "part_bytes", 30_000)
    Runner("demo", root=three).stage(quick, x=1)
    (three/"runs/stages/demo/fit-00.partial").write_bytes(b"c"*70_000)
    made, left = queue.pack(tmp_path/"out", 0, root=three)
    assert [f.name for f in made] == ["stages.00", "stages.01", "stages.02", "stages.json"] and left == []
    assert max(f.stat().st_size for f in made) <= 30_000
    home = tmp_path/"home"
    assert len(queue.collect(tmp_path/"out", home)) == 2
    file = next((home/"runs/stages/demo").glob("quick-*.safetensors"))
    assert load_result(file)[0] == {"x": 1}
    (tmp_path/"out/stages.01").write_bytes(b"x")
    with pytest.raises(PaperKitError, match="other bytes"):
        queue.collect(tmp_path/"out", home)
    (tmp_path/"out/stages.01").unlink()
    with pytest.raises(PaperKitError, match="missing: stages.01"):
        queue.collect(tmp_path/"out", home)
    made, left = queue.pack(tmp_path/"few", 0, root=three, parts=2)
    assert left == ["demo/fit-00.partial"], "results come before checkpoints"


def test_an_archive_that_climbs_out_writes_nothing(tmp_path):
    import hashlib
    import io
    import tarfile
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo("../../secret.txt")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    (tmp_path/"stages.00").write_bytes(data.getvalue())
    (tmp_path/"stages.json").write_text(json.dumps({"parts": 1, "sha256": hashlib.sha256(data.getvalue()).hexdigest()}))
    with pytest.raises(PaperKitError, match="a member '../../secret.txt'"):
        queue.collect(tmp_path, tmp_path/"root")
    assert not (tmp_path/"secret.txt").exists() and not (tmp_path/"root").exists()


HIDE = """
import re, sys
from importlib.metadata import distribution, packages_distributions
from packaging.requirements import Requirement

def closure(names):
    seen, todo = set(), list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen: continue
        seen.add(name)
        needs = map(Requirement, distribution(name).requires or [])
        todo += [r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    return seen

kept = closure(sys.argv[2:])
owners = {top: {re.sub(r"[-_.]+", "-", d).lower() for d in ds} for top, ds in packages_distributions().items()}

class Hide:
    "A finder that does not see what is hidden."
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in owners and top != "paper_kit" and not owners[top] & kept: return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Hide, sys.meta_path)
from paper_kit.kit import stages
sys.exit(stages.main([sys.argv[1], "--profile", "smoke"]))
"""


@pytest.mark.slow
def test_stages_need_what_requirements_names_and_nothing_else(tmp_path, slug="sdrsac"):
    import os
    import subprocess
    import sys
    from helpers import ROOT
    named = queue.requirements(slug)
    assert set(queue.least) <= set(named) and not {"matplotlib", "jupyterlab", "pandas", "accelerate"} & set(named)
    (tmp_path/"hide.py").write_text(HIDE)
    (tmp_path/"project/nbs").mkdir(parents=True)
    for name in ("settings.ini", "data"):
        (tmp_path/"project"/name).symlink_to(ROOT/name)
    environment = {**os.environ, "PAPER_KIT_ROOT": str(tmp_path/"project"), "PYTHONPATH": str(ROOT),
                   "OMP_NUM_THREADS": "1"}
    call = lambda names: subprocess.run([sys.executable, tmp_path/"hide.py", slug, *names], env=environment,
                                        cwd=tmp_path, capture_output=True, text=True)
    done = call([n for n in named if n != "scipy"])
    assert done.returncode == 1 and "No module named 'scipy'" in done.stderr + done.stdout
    done = call(named)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-1500:]
    assert list((tmp_path/"project/runs/stages"/slug).glob("*.safetensors"))
