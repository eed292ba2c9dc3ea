import json
import os
import re
import subprocess
import sys

import pytest

from paper_kit.kit import records, workflow
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.paper import load_record
from paper_kit.kit.records import run_folder, status, torn_files
from paper_kit.kit.workflow import (between, clean_notebook, is_done, publish, published_notebook, run, run_many,
                                    slot)

from helpers import CELLS, MANIFEST, notebook


def row(root, slug="demo"):
    return next(r for r in status(root) if r["slug"] == slug)


def edit(root, old, new):
    path = root/"nbs/learning/demo.ipynb"
    text = path.read_text()
    assert json.dumps(old)[1:-1] in text
    path.write_text(text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))


def finished(demo, profile="cpu"):
    return run("demo", profile, root=demo)


def test_the_catalogue_fills_the_board_and_a_new_paper_joins_it(demo):
    rows = status(demo)
    assert len(rows) == 49 and rows[-1]["slug"] == "demo" and rows[-1]["state"] == "begun"
    assert rows[0]["state"] == "not begun" and rows[0]["claims"]["owed"] == rows[0]["claims"]["total"] > 0


def test_run_publish_status_and_what_makes_stale(demo):
    record = finished(demo)
    assert record["profile"] == "cpu" and record["claims"]["C1"]["verdict"] == "holds"
    publish("demo", root=demo)
    assert (row(demo)["state"], row(demo)["fresh"], row(demo)["tables"],
            row(demo)["figures"]) == ("published", True, [1, 1], [1, 1])
    assert row(demo)["claims"]["holds"] == 2
    published = json.loads((demo/"figures/demo/demo.ipynb").read_text())
    assert ("injected-parameters" not in json.dumps(published) and "papermill" not in json.dumps(published)
            and str(demo) not in json.dumps(published))
    first = next(c for c in published["cells"] if c.get("outputs"))
    assert 'profile = "cpu"' in first["outputs"][0]["data"]["text/plain"]
    card = next(o for c in published["cells"] for o in c.get("outputs", [])
                if "card" in o.get("metadata", {}).get("paper_kit", {}))
    # the card is the published record's, though the header cell ran first
    assert card["data"]["text/html"].count("1 holds") == 2
    stored = load_record(demo/"data/results/demo.json")
    assert (set(stored["files"]) == {"demo.ipynb", "figure-1.png", "table-1.csv"}
            and not torn_files(demo, "demo", stored))

    edit(demo, "# A demonstration", "# A demonstration, better told")    # prose
    assert row(demo)["fresh"]
    stamp = (demo/"runs/cpu/demo/demo.ipynb").stat().st_mtime_ns
    publish("demo", root=demo)
    assert ("better told" in (demo/"figures/demo/demo.ipynb").read_text()
            and (demo/"runs/cpu/demo/demo.ipynb").stat().st_mtime_ns == stamp)

    edit(demo, "2.0/(steps + seed)", "3.0/(steps + seed)")               # code
    assert row(demo)["fresh"] is False and row(demo)["state"] == "published"
    with pytest.raises(PaperKitError, match="older code"):
        publish("demo", root=demo)


def test_a_change_of_a_figure_alone_leaves_tables_and_verdicts_fresh(demo):
    finished(demo)
    publish("demo", root=demo)
    assert records.age(row(demo)) == "fresh" and not row(demo)["only_figures"]
    edit(demo, 'paper.figure("Figure 1", fig)', 'paper.figure("Figure 1", fig, caption="A line.")')
    assert records.age(row(demo)) == "figures stale" and row(demo)["fresh"] is False
    assert "figures stale" in workflow.scoreboard(status(demo))
    record = finished(demo)                                         # its stages are warm: seconds
    assert all(stage["cached"] for stage in record["stages"])
    publish("demo", root=demo)
    assert records.age(row(demo)) == "fresh" and "A line." in (demo/"figures/demo/demo.ipynb").read_text()
    edit(demo, '"error": [results', '"error, all": [results')       # a table
    assert records.age(row(demo)) == "stale"
    stored = json.loads((demo/"data/results/demo.json").read_text())
    del stored["evidence"]                                          # a record of before says nothing of it
    (demo/"data/results/demo.json").write_text(json.dumps(stored))
    edit(demo, '"error, all": [results', '"error": [results')
    edit(demo, '"A line."', '"A short line."')
    assert records.age(row(demo)) == "stale"



def test_weights_are_published_with_the_run_that_trained_them_and_change_no_digest(demo, monkeypatch):
    from paper_kit.kit.weights import shipped_weights
    edit(demo, "paper.finish()", "import torch; paper.weights({'w': torch.ones(3)}, width=3)\n"
         "from paper_kit.kit.weights import shipped_weights; assert shipped_weights('demo')[1]['width'] == 3\n"
         "paper.finish()")
    finished(demo)
    publish("demo", root=demo)
    assert "weights.safetensors" in load_record(demo/"data/results/demo.json")["files"] and row(demo)["fresh"]
    monkeypatch.setenv("PAPER_KIT_ROOT", str(demo))
    state, about = shipped_weights("demo")
    assert state["w"].tolist() == [1, 1, 1] and about == {"profile": "cpu", "seed": 0, "width": 3}
    (demo/"figures/demo/weights.safetensors").write_bytes(b"other")
    assert torn_files(demo, "demo", load_record(demo/"data/results/demo.json"))
    with pytest.raises(PaperKitError): shipped_weights("demo")


def test_prose_is_republished_without_any_run(demo):
    import shutil
    finished(demo)
    publish("demo", root=demo)
    shutil.rmtree(demo/"runs")
    edit(demo, "> One sentence.", "> Another sentence.")
    publish("demo", root=demo)
    text = (demo/"figures/demo/demo.ipynb").read_text()
    assert ("Another sentence" in text and "image/png" in text
            and not torn_files(demo, "demo", load_record(demo/"data/results/demo.json")))


def test_a_torn_pair_is_named_and_mended(demo):
    finished(demo)
    publish("demo", root=demo)
    (demo/"figures/demo/figure-1.png").write_bytes(b"")
    assert (row(demo)["state"] == "torn" and "figure-1.png" in row(demo)["problem"]
            and "paper-kit publish demo" in row(demo)["problem"])
    publish("demo", root=demo)
    assert row(demo)["state"] == "published"
    (demo/"data/results/demo.json").unlink()
    assert row(demo)["state"] == "torn"
    publish("demo", root=demo)
    assert row(demo)["state"] == "published"


def test_a_publish_that_dies_before_the_record_is_mended(demo, monkeypatch):
    finished(demo)
    publish("demo", root=demo)
    old = (demo/"data/results/demo.json").read_bytes()
    edit(demo, "> One sentence.", "> Another sentence.")
    real = workflow.write_atomic
    monkeypatch.setattr(workflow, "write_atomic", lambda path, *a: (_ for _ in ()).throw(OSError("no space left"))
                        if str(path).endswith("results/demo.json") else real(path, *a))
    with pytest.raises(OSError):
        publish("demo", root=demo)
    monkeypatch.undo()
    assert (demo/"data/results/demo.json").read_bytes() == old and row(demo)["state"] == "torn"
    publish("demo", root=demo)
    assert row(demo)["state"] == "published"


def test_smoke_and_nothing_are_not_published(demo):
    with pytest.raises(PaperKitError, match="never published"):
        publish("demo", "smoke", root=demo)
    with pytest.raises(PaperKitError, match="no run"):
        publish("demo", root=demo)
    assert not (demo/"figures").exists()


def test_cpu_goes_in_front_of_a_stale_gpu_record_only(demo):
    finished(demo)
    publish("demo", root=demo)
    path = demo/"data/results/demo.json"
    gpu = json.loads(path.read_text()) | {"profile": "gpu"}
    path.write_text(json.dumps(gpu))
    with pytest.raises(PaperKitError, match="published at gpu, and fresh"):
        publish("demo", root=demo)
    path.write_text(json.dumps(gpu | {"digest": "0"*64}))
    publish("demo", root=demo)
    assert load_record(path)["profile"] == "cpu" and load_record(demo/"data/results/demo.gpu.json")["profile"] == "gpu"


def test_too_heavy_is_refused_before_anything_changes(demo, monkeypatch):
    finished(demo)
    monkeypatch.setattr(workflow, "most_bytes", 1000)
    with pytest.raises(PaperKitError, match="too heavy"):
        publish("demo", root=demo)
    assert not (demo/"figures/demo").exists() and not (demo/"data/results/demo.json").exists()


def test_a_cell_that_raises_is_named_and_the_notebook_kept(demo):
    edit(demo, "paper.finish()", "1/0")
    with pytest.raises(PaperKitError) as caught:
        finished(demo, "smoke")
    assert (re.search(r"demo stopped in cell 1\d", str(caught.value)) and "Experiments" in str(caught.value)
            and "ZeroDivisionError" in str(caught.value))
    assert ((run_folder(demo, "demo", "smoke")/"demo.ipynb").is_file()
            and not (run_folder(demo, "demo", "smoke")/"record.json").exists())


def test_an_executed_notebook_is_saved_now_and_then_and_at_its_end(demo, monkeypatch):
    from datetime import datetime, timedelta
    from types import SimpleNamespace
    from papermill import engines
    saved, write = [], engines.write_ipynb
    monkeypatch.setattr(engines, "write_ipynb", lambda nb, path: saved.append(len(nb.cells)) or write(nb, path))
    finished(demo, "smoke")
    executed = json.loads((run_folder(demo, "demo", "smoke")/"demo.ipynb").read_text())["cells"]
    assert all(cell["execution_count"] for cell in executed if cell["cell_type"] == "code")
    assert 2 <= len(saved) < len(executed), "papermill saves twice a cell"
    now, calls = datetime(2020, 1, 1), []
    manager = SimpleNamespace(now=lambda: now, last_save_time=now, autosave_cell_every=30, save=lambda: calls.append(now))
    save = workflow._seldom(manager)
    for seconds, count in ((0, 0), (29, 0), (30, 1)):
        now = datetime(2020, 1, 1) + timedelta(seconds=seconds)
        save()
        assert len(calls) == count


def test_papermill_comes_without_the_grammar_of_web_addresses():
    code = ("import sys\nfrom paper_kit.kit.workflow import _papermill\n_papermill().execute_notebook\n"
            "print(sorted({'lark', 'rfc3987_syntax', 'jsonschema'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "['jsonschema']", done.stdout + done.stderr


def test_a_run_that_ignores_its_parameters_fails(demo):
    edit(demo, "profile=profile, seed=seed", "profile=\"smoke\", seed=seed")
    with pytest.raises(PaperKitError, match="did not run as asked"):
        finished(demo)


def test_a_lost_parameters_tag_is_noticed(demo):
    cells = [(k, t, []) for k, t, _ in CELLS]
    (demo/"nbs/learning/demo.ipynb").write_text(notebook(cells))
    with pytest.raises(PaperKitError, match="'parameters'"):
        finished(demo)


def test_what_is_done_and_what_is_not(demo):
    finished(demo, "smoke")
    digest = workflow.notebook_digest(demo/"nbs/learning/demo.ipynb")
    assert (is_done(demo, "demo", "smoke", digest) and not is_done(demo, "demo", "cpu", digest)
            and not is_done(demo, "demo", "smoke", "0"*64))
    assert not is_done(demo, "demo", "smoke", digest, seed=1)
    (demo/"data/papers/demo.yaml").write_text(MANIFEST.replace("figures:", "figures:\n  - {id: Figure 9, shows: more, "
                                                                           "regenerate: full}"))
    assert not is_done(demo, "demo", "smoke", digest)


def test_a_digest_is_computed_again_when_what_it_was_made_of_changes_and_only_then(demo, monkeypatch):
    (demo/"nbs/learning/other.ipynb").write_text(notebook().replace('\\"demo\\"', '\\"other\\"'))
    computed, compute, stamp = [], records.digest_and_sources, records.module_hash
    monkeypatch.setattr(records, "digest_and_sources", lambda path: computed.append(path.stem) or compute(path))

    def ask(*names):
        computed.clear()
        digests = records.Digests(demo)
        found = [digests(demo/f"nbs/learning/{name}.ipynb") for name in names]
        digests.save()
        return found, computed[:]
    first, done = ask("demo", "other")
    assert done == ["demo", "other"]
    # who asks for one does not make the others forgotten
    assert ask("demo") == (first[:1], []) and ask("demo", "other") == (first, [])
    edit(demo, "2.0/(steps", "2.5/(steps")
    second, done = ask("demo", "other")
    assert done == ["demo"] and second[0] != first[0] and second[1] == first[1]
    for module, again in (("paper_kit.kit.claims", ["demo", "other"]), ("paper_kit.kit.reach", ["demo", "other"]),
                          ("paper_kit.kit.sound", [])):
        monkeypatch.setattr(records, "module_hash", lambda name, changed=module: "0"*64
                            if name == changed else stamp(name))
        assert ask("demo", "other") == (second, again), module
        monkeypatch.setattr(records, "module_hash", stamp)
        ask("demo", "other")
    for broken in ("[1]", "{", '{"learning/demo.ipynb": 1}', '{"learning/demo.ipynb": {"text": 1}}'):
        (demo/"runs/digests.json").write_text(broken)
        assert ask("demo", "other") == (second, ["demo", "other"])
    (demo/"nbs/learning/other.ipynb").unlink()
    edit(demo, "2.5/(steps", "2.0/(steps")
    assert (ask("demo") == (first[:1], ["demo"]) and set(json.loads((demo/"runs/digests.json").read_text()))
            == {"learning/demo.ipynb"})


def test_several_papers_are_scheduled_and_left_alone_when_done(demo):
    (demo/"nbs/learning/other.ipynb").write_text(notebook().replace('\\"demo\\"', '\\"other\\"'))
    (demo/"data/papers/other.yaml").write_text(MANIFEST.replace("slug: demo", "slug: other"))
    (demo/"nbs/learning/broken.ipynb").write_text(notebook().replace('\\"demo\\"', '\\"broken\\"').replace(
        "paper.finish()", "raise RuntimeError('on purpose')"))
    (demo/"data/papers/broken.yaml").write_text(MANIFEST.replace("slug: demo", "slug: broken"))
    seen = []
    rows = {r["slug"]: r for r in run_many(["demo", "other", "broken"], root=demo, cores=2,
                                           board=lambda rows: seen.append([r["state"] for r in rows]))}
    assert rows["demo"]["state"] == rows["other"]["state"] == "done", "\n".join(f"{s}: {r['state']} {r['error']}" for s,
                                                                                r in rows.items())
    assert rows["broken"]["state"] == "failed" and "on purpose" in rows["broken"]["error"]
    assert any("running" in states for states in seen)
    stamp = (demo/"runs/smoke/demo/record.json").stat().st_mtime_ns
    again = {r["slug"]: r["state"] for r in run_many(["demo", "other"], root=demo)}
    assert (again == {"demo": "up to date", "other": "up to date"}
            and (demo/"runs/smoke/demo/record.json").stat().st_mtime_ns == stamp)
    edit(demo, "3.0" if False else "2.0/(steps", "2.5/(steps")
    again = {r["slug"]: r["state"] for r in run_many(["demo", "other"], root=demo)}
    assert again == {"demo": "done", "other": "up to date"}


def test_a_port_taken_before_the_kernel_binds_it_costs_another_start_and_not_the_run(demo, monkeypatch):
    import socket

    from jupyter_client.provisioning.local_provisioner import LocalProvisioner
    prepared, taken, often = LocalProvisioner.pre_launch, [], 1

    async def beaten(self, **more):
        "The ports are chosen here and bound by the kernel, seconds later: another process is quicker."
        ready = await prepared(self, **more)
        if len(taken) < often:
            other = socket.socket()
            other.bind(("127.0.0.1", self.parent.shell_port))
            taken.append(other)
        return ready
    monkeypatch.setattr(LocalProvisioner, "pre_launch", beaten)
    try:
        assert run("demo", root=demo)["profile"] == "smoke" and len(taken) == 1
        often = 99
        with pytest.raises(PaperKitError, match="kernel of demo died"):
            run("demo", root=demo)
        assert len(taken) == 4                                             # three tries, and no more
    finally:
        for other in taken:
            other.close()


DEATHS = {"os.kill(os.getpid(), 9)": ("SIGKILL", "memory"), "os.abort()": ("SIGABRT", "libc_malloc_debug"),
          "__import__('ctypes').string_at(0)": ("SIGSEGV", "out of bounds"),
          "os.kill(os.getpid(), 4)": ("SIGILL", "PAPER_KIT_ISA=native"),
          "os.kill(os.getpid(), 15)": ("SIGTERM", "stopped"), "os._exit(3)": ("exit status 3", "os._exit")}


@pytest.mark.parametrize("death", DEATHS)
def test_a_kernel_that_dies_is_reported_with_signal_cell_stage_and_step(demo, death):
    edit(demo, "def measure(steps, seed):", "def measure(steps, seed, progress):")
    edit(demo, "'An error that falls with the steps.'",
         f"import os, time; progress(0.0); progress(1.0, '7/9, loss 0.2'); {death}; time.sleep(60)")
    with pytest.raises(PaperKitError) as caught:
        finished(demo, "smoke")
    name, advice = DEATHS[death]
    said = str(caught.value)
    assert "the kernel of demo died" in said and name in said and advice in said, said
    assert "in cell 7" in said and "A demonstration" in said and "measure, was at 100%, step 7/9, loss 0.2" in said, said
    executed = json.loads((run_folder(demo, "demo", "smoke")/"demo.ipynb").read_text())
    assert any(cell.get("outputs") for cell in executed["cells"]), "what the cells before it showed is kept"
    assert json.loads((run_folder(demo, "demo", "smoke")/"progress.json").read_text())["state"] == "failed"


def test_a_kernel_that_dies_costs_its_own_paper_only(demo):
    edit(demo, "paper.finish()", "import os; os.kill(os.getpid(), 9)")
    (demo/"nbs/learning/other.ipynb").write_text(notebook().replace('\\"demo\\"', '\\"other\\"'))
    (demo/"data/papers/other.yaml").write_text(MANIFEST.replace("slug: demo", "slug: other"))
    rows = {r["slug"]: r for r in run_many(["demo", "other"], cores=1, root=demo)}
    assert rows["other"]["state"] == "done" and rows["demo"]["state"] == "failed"
    assert "SIGKILL" in rows["demo"]["error"] and "cell 12" in rows["demo"]["error"]


def test_two_runs_of_one_paper_at_once(demo):
    from paper_kit.kit.files import lock
    with lock(demo/"runs/smoke/.demo.lock"):
        code = (f"from paper_kit.kit.workflow import run\nfrom paper_kit.kit.files import PaperKitError\ntry: "
                f"run('demo', root={str(demo)!r})\nexcept PaperKitError as e: print(e)")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert "demo at smoke is in use" in done.stdout, done.stderr


def test_slots_are_as_many_as_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("PAPER_KIT_SLOTS", "1")
    waited = []

    def told(holders):
        assert "PAPER_KIT_SLOTS" in holders
        waited.append(1)
        raise TimeoutError
    with slot():
        with pytest.raises(TimeoutError):
            with slot(told):
                pass
    with slot(told):
        pass
    assert waited == [1]


def test_markers():
    assert between("a <!-- x:start -->old<!-- x:end --> b", "x", "new") == "a <!-- x:start -->\nnew\n<!-- x:end --> b"
    with pytest.raises(PaperKitError, match="markers of y"):
        between("", "y", "")


def test_an_unmatched_cell_is_not_published(demo):
    source = json.loads(notebook())
    with pytest.raises(PaperKitError, match="does not have this cell"):
        published_notebook(source, {"cells": []}, workflow.load_manifest(demo/"data/papers/demo.yaml"),
                           {"profile": "cpu", "seed": 0, "data": "world"}, demo)


def test_cleaning_keeps_ids_and_tags_and_drops_the_rest():
    nb = json.loads(notebook())
    nb["cells"][2]["metadata"]["scrolled"] = True
    nb["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["x"]}]
    nb["metadata"]["widgets"] = {"state": 1}
    clean = clean_notebook(nb, keep_outputs=False)
    assert ([c["id"] for c in clean["cells"]] == [c["id"] for c in nb["cells"]]
            and clean["cells"][2]["metadata"] == {"tags": ["parameters"]})
    assert clean["cells"][3]["outputs"] == [] and "widgets" not in clean["metadata"]
