"""Runs on real data: found or refused at once, in folders of their own, published beside the world and never over
it."""
import json

import pytest

from helpers import CELLS, notebook
from paper_kit.kit import records, workflow
from paper_kit.kit.datasets import Source, read_by, source
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.paper import Paper, load_record
from paper_kit.kit.stages import Runner, stage_key

TINY = """datasets:
  - name: tiny
    title: Tiny
    home: https://example.org
    licence: CC0
    papers: [demo]
    layout:
      - {pattern: "a/{id}.txt", holds: a number, least: 1}
"""
READS = [
    (kind, text.replace("results = [paper.stage(measure, steps=paper.pick(smoke=4, cpu=8), seed=s) for s in "
                        "paper.seeds()]",
                        'real = paper.dataset("tiny")\nmore = {"data": real} if real else {}\n'
                        "results = [paper.stage(measure, steps=paper.pick(smoke=4, cpu=8), seed=s, **more) for s in "
                        "paper.seeds()]")
     .replace("def measure(steps, seed):\n    'An error that falls with the steps.'\n    return {'ours': 1.0/(steps + "
              "seed), 'theirs': 2.0/(steps + seed)}",
              "def measure(steps, seed, data=None):\n    'An error that falls with the steps.'\n"
              "    gain = float((data.path/'a'/'1.txt').read_text()) if data else 1.0\n"
              "    return {'ours': gain/(steps + seed), 'theirs': 2.0/(steps + seed)}")
     .replace('results[0]["ours"]]}))', 'results[0]["ours"]]}), source=real)'), tags)
    for kind, text, tags in CELLS]


@pytest.fixture
def real(demo, tmp_path):
    "The demonstration, able to read the data set `tiny`; where that lies."
    (demo/"nbs/learning/demo.ipynb").write_text(notebook(READS))
    (demo/"data/datasets.yaml").write_text(TINY)
    (tmp_path/"real/a").mkdir(parents=True)
    (tmp_path/"real/a/1.txt").write_text("0.125")
    return tmp_path/"real"


def snapshot(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_world_and_real_data_are_published_one_after_the_other(demo, real):
    workflow.run("demo", "cpu", root=demo)
    workflow.publish("demo", root=demo)
    world, page = load_record(demo/"data/results/demo.json"), snapshot(demo/"figures/demo")
    workflow.run("demo", "cpu", data_root=str(real), root=demo)
    assert load_record(demo/"runs/cpu/demo/record.json")["data"] == "world", ("the real run wrote over the run on the "
                                                                              "world")
    workflow.publish("demo", root=demo, real=True)
    there = load_record(demo/"data/results/demo.real.json")
    assert there["data"].startswith("real:tiny@") and there["tables"]["Table 1"]["rows"][1] == ["ours", 0.125/8]
    assert there["tables"]["Table 1"]["source"] == there["data"] and "source" not in there["figures"]["Figure 1"]
    assert (records.torn_files(demo, "demo", there) == [] and set(snapshot(demo/"figures/demo.real"))
            == set(there["files"]))
    again = load_record(demo/"data/results/demo.json")
    assert {k: v for k, v in again.items() if k != "files"} == {k: v for k, v in world.items() if k != "files"}
    assert records.torn_files(demo, "demo", again) == []
    now = snapshot(demo/"figures/demo")
    assert {k: v for k, v in now.items() if k != "demo.ipynb"} == {k: v for k, v in page.items() if k != "demo.ipynb"}
    shown = now["demo.ipynb"].decode()
    places = [shown.index(words) for words in ("reported", "measured, our world, profile cpu",
                                               "measured, tiny, profile cpu")]
    assert places == sorted(places), "three groups of columns: reported, world, real"
    row = next(r for r in records.status(demo) if r["slug"] == "demo")
    assert (row["state"] == "published" and row["fresh"] and row["real"]["fresh"]
            and row["real"]["data"] == there["data"] and not row["problem"])
    workflow.publish("demo", root=demo)
    assert (demo/"figures/demo.real").is_dir() and load_record(demo/"data/results/demo.json")["data"] == "world"
    (demo/"figures/demo.real/table-1.csv").write_text("changed")
    assert "paper-kit publish demo --real" in next(r for r in records.status(demo) if r["slug"] == "demo")["problem"]


def test_a_real_run_is_not_published_as_the_world_nor_the_other_way_round(demo, real):
    workflow.run("demo", "cpu", data_root=str(real), root=demo)
    with pytest.raises(PaperKitError, match="nothing to publish"):
        workflow.publish("demo", root=demo)
    workflow.run("demo", "cpu", root=demo)
    workflow.publish("demo", root=demo)
    assert not (demo/"figures/demo.real").exists()


def test_a_root_that_does_not_exist_is_an_error_before_anything_runs(demo, real):
    for open_ in (lambda: Paper("demo", data_root=str(real/"nowhere"), root=demo),
                  lambda: Runner("demo", data_root="/does/not/exist", root=demo)):
        with pytest.raises(PaperKitError, match="the data root is not there"):
            open_()
    with pytest.raises(PaperKitError, match="Tiny is not complete"):
        Runner("demo", data_root=str(demo), root=demo).dataset("tiny")
    assert Runner("demo", root=demo).dataset("tiny") is None


def test_a_paper_that_reads_no_real_data_says_so(demo, real):
    (demo/"nbs/learning/demo.ipynb").write_text(notebook())
    with pytest.raises(PaperKitError, match="demo reads no real data"):
        Paper("demo", data_root=str(real), root=demo)
    assert not list((demo/"runs").glob("**/record.json"))


def test_only_data_sets_that_were_opened_can_be_named(demo, real):
    paper = Paper("demo", data_root=str(real), root=demo)
    import pandas as pd
    with pytest.raises(PaperKitError, match="no data set 'tiny' was opened"):
        paper.table("Table 1", pd.DataFrame({"method": ["ours"], "error": [1.0]}), source="tiny")


def test_the_data_count_in_a_stage_by_content_and_not_by_place(real, tmp_path):
    def stage(data): return 0
    here = Source("tiny", real, "12ab")
    key = stage_key(stage, {"data": here})
    assert key == stage_key(stage, {"data": Source("tiny", tmp_path, "12ab")})
    assert (key != stage_key(stage, {"data": Source("tiny", real, "12ac")})
            and key != stage_key(stage, {"data": str(here)}))


def test_what_a_notebook_reads_stands_in_its_text(demo, real):
    assert read_by(demo/"nbs/learning/demo.ipynb") == ["tiny"]
    assert source("tiny", real, demo).checksum == source("tiny", real, demo).checksum
    assert json.loads((demo/"nbs/learning/demo.ipynb").read_text())["cells"]


def test_doctor_says_what_is_there_and_which_notebook_reads_it(demo, real, tmp_path):
    from typer.testing import CliRunner
    from paper_kit.kit import cli
    said = lambda place: next(line for line in CliRunner().invoke(cli.app, ["doctor", "--data-root", str(place)])
                              .output.splitlines() if "Tiny" in line or "tiny" in line)
    assert said(real).startswith("+") and "demo" in said(real)
    (tmp_path/"empty").mkdir()
    assert not said(tmp_path/"empty").startswith("+")
