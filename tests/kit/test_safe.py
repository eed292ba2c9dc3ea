"""What must not happen whatever is asked for: a file outside deleted or written, a link followed, a text that becomes
code."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import MANIFEST, ROOT

from paper_kit.kit import files, workflow
from paper_kit.kit.files import PaperKitError, check_slug, lock, new_folder, reading, sweep, write_atomic
from paper_kit.kit.paper import Paper, header_html, link_to, load_record
from paper_kit.kit.stages import Runner
from paper_kit.kit.workflow import markdown_text, new, publish, remove, run

HOSTILE = ["*", "?", "[a-z]*", "../datasets", "../../../outside/precious", "/etc/passwd", "a/b", "..", ".", "", " demo",
           "demo ", "demo\n", "Demo", "a" * 61,
           "dem\u043e", "demo\0", None, 3, ["demo"], b"demo"]


@pytest.mark.parametrize("slug", HOSTILE)
def test_what_is_no_slug_is_refused_at_once(slug, demo):
    for ask in (check_slug, lambda s: Runner(s, root=demo), lambda s: Paper(s, root=demo),
                lambda s: remove(s, root=demo), lambda s: run(s, root=demo),
                lambda s: publish(s, root=demo), lambda s: new(s, "learning", "A title", root=demo)):
        with pytest.raises(PaperKitError, match="no slug"):
            ask(slug)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_remove_deletes_one_papers_files_and_no_others(demo, tmp_path, monkeypatch):
    outside = tmp_path/"outside/precious"
    outside.mkdir(parents=True)
    (outside/"x").write_text("precious")
    monkeypatch.setattr(workflow, "sync", lambda root: [])
    for name in ("data/results/demo.json", "data/results/demo2.json", "data/results/demo.gpu.json",
                 "data/datasets.yaml", "figures/demo/a.png", "figures/demo2/a.png",
                 "runs/cpu/demo/record.json", "runs/cpu/demo2/record.json", "runs/stages/demo/a", "runs/stages/demo2/a",
                 "runs/real/cpu/demo/record.json", "data/papers/demo2.yaml"):
        (demo/name).parent.mkdir(parents=True, exist_ok=True)
        (demo/name).write_text("x")
    for hostile in ("*", "../datasets", "../../../outside/precious", "nothing_of_that_name", "worlds"):
        before = tree(tmp_path)
        with pytest.raises(PaperKitError):
            remove(hostile, root=demo)
        assert tree(tmp_path) == before
    (demo/"figures/demo/link").symlink_to(outside)
    gone = remove("demo", root=demo)
    left = tree(tmp_path)
    assert left["outside/precious/x"] == b"precious" and "project/data/datasets.yaml" in left
    assert {n for n in left if "demo2" in n} == {f"project/{n}" for n in ("data/results/demo2.json",
                                                                          "figures/demo2/a.png",
                                                                          "runs/cpu/demo2/record.json",
                                                                         "runs/stages/demo2/a",
                                                                          "data/papers/demo2.yaml")}
    assert not [n for n in left if "demo" in n.replace("demo2", "")] and "data/results/demo.gpu.json" in gone


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/passwd", "a/b.png", "..", ".hidden", "a\nb", ""])
def test_a_record_that_names_a_file_elsewhere_is_refused(name, demo):
    record = run("demo", "smoke", root=demo) if not (demo/"runs/smoke/demo/record.json").is_file() else None
    file = demo/"runs/smoke/demo/record.json"
    file.write_text(json.dumps(record | {"files": {name: "0" * 64}}))
    with pytest.raises(PaperKitError, match="file name"):
        load_record(file)


def test_a_lock_follows_no_link_and_cuts_nothing_off(tmp_path):
    keys = tmp_path/"authorized_keys"
    keys.write_text("ssh-ed25519 AAAA somebody")
    (tmp_path/"link.lock").symlink_to(keys)
    os.link(keys, tmp_path/"second.lock")
    os.mkfifo(tmp_path/"fifo.lock")
    for name in ("link.lock", "second.lock", "fifo.lock"):
        with pytest.raises(PaperKitError, match="lock file"):
            with lock(tmp_path/name):
                pass
    assert keys.read_text() == "ssh-ed25519 AAAA somebody"


def test_slots_are_not_in_a_folder_that_others_write_to(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path/"none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path/"cache"))
    assert workflow._slots() == tmp_path/"cache/paper-kit/slots"
    (tmp_path/"run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path/"run"))
    assert workflow._slots() == tmp_path/"run/paper-kit/slots"


def test_sweeping_leaves_what_a_living_process_writes(tmp_path):
    code = (f"from paper_kit.kit.files import new_folder\nimport time\nwith new_folder({str(tmp_path/'f')!r}) as f:\n"
            "    (f/'a').write_text('1')\n    print('there', flush=True); time.sleep(60)")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "there\n"
    sweep(tmp_path)
    assert len(list(tmp_path.glob(".f.new.*"))) == 1
    child.kill()
    child.wait()
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number, said", [("EROFS", "read-only"), ("EACCES", "permission"), ("ENOSPC", "disk is full"),
                                          ("EFBIG", "larger")])
def test_no_room_is_one_clear_error(number, said, tmp_path, monkeypatch):
    import errno
    def fails(*a, **k): raise OSError(getattr(errno, number), "no", str(tmp_path))
    monkeypatch.setattr(files.tempfile, "mkstemp", fails)
    monkeypatch.setattr(files.tempfile, "mkdtemp", fails)
    with pytest.raises(PaperKitError, match=said):
        write_atomic(tmp_path/"x", "y")
    with pytest.raises(PaperKitError, match=said):
        with new_folder(tmp_path/"f"):
            pass


def test_a_file_size_limit_leaves_the_old_file(tmp_path):
    (tmp_path/"x").write_text("old")
    code = ("import resource, signal\nsignal.signal(signal.SIGXFSZ, "
            "signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "from paper_kit.kit.files import PaperKitError, write_atomic\n"
            f"try: write_atomic({str(tmp_path/'x')!r}, 'y' * 5000)\nexcept PaperKitError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "larger than this process may write" in done.stdout, done.stderr
    assert (tmp_path/"x").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_whatever_goes_wrong_while_reading_is_one_error(tmp_path):
    file = tmp_path/"f"
    file.write_bytes(b"x" * 100)
    os.mkfifo(tmp_path/"fifo")
    def read(path, act=lambda: None, **more):
        with reading(path, "a file", **more):
            act()
    read(file)
    for path, said in ((tmp_path/"fifo", "no regular file"), ("/dev/zero", "no regular file"),
                       (tmp_path, "no regular file"), (tmp_path/"none", "no such file"), ("a\0b", "null")):
        with pytest.raises(PaperKitError, match=said):
            read(path)
    with pytest.raises(PaperKitError, match="more than 50"):
        read(file, limit=50)
    for act, said in ((lambda: {}["key"], "KeyError"), (lambda: b"\xff".decode(), "UnicodeDecodeError"),
                      (lambda: [][0], "IndexError"), (lambda: 1/0, "ZeroDivisionError")):
        with pytest.raises(PaperKitError, match=said):
            read(file, act)
    begun = time.monotonic()
    with pytest.raises(PaperKitError, match="longer than 0.2 s"):
        read(file, lambda: time.sleep(5), seconds=0.2)
    assert time.monotonic() - begun < 1 and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with pytest.raises(KeyboardInterrupt):
        read(file, lambda: (_ for _ in ()).throw(KeyboardInterrupt).__next__())


@pytest.mark.parametrize("address", ["javascript:alert(1)", "JaVaScript:alert(1)", " java\nscript:alert(1)",
                                     "data:text/html,x", "vbscript:x", "file:///etc/passwd", "\x01javascript:x"])
def test_no_link_runs_code(address):
    assert link_to(address) == "#"


@pytest.mark.parametrize("address", ["https://arxiv.org/abs/1", "http://x.org", "page.html", "../a/b.html#c",
                                     "#top", "a?b=c:d"])
def test_plain_links_stay(address):
    assert link_to(address) == address


def test_texts_of_a_manifest_are_shown_and_not_obeyed():
    text = header_html({"title": "<script>t</script>", "venue": "<script>v</script>", "authors": "<script>a</script>",
                        "links": {"paper": "javascript:x", "code": "data:x"},
                        "tables": [], "figures": [], "claims": [], "slug": "x"}, None)
    assert "<script>" not in text and "javascript:" not in text and "data:" not in text
    assert markdown_text("<script>a|b</script> [x](y)\n# z") == r"&lt;script&gt;a\|b&lt;/script&gt; \[x\](y) # z"


@pytest.mark.parametrize("seed", [float("nan"), float("inf"), "1e3", [], None, -1, 2**40, 1.5, True])
def test_a_seed_is_a_whole_number(seed, demo):
    with pytest.raises(PaperKitError, match="seed"):
        Runner("demo", seed=seed, root=demo)


def test_two_runs_of_one_notebook_do_not_mix(demo):
    "As two kernels of JupyterLab do it: neither holds a lock, and the cells of both take turns."
    import pandas as pd
    from paper_kit.kit.claims import below, less
    from paper_kit.kit.files import sha256
    from matplotlib import pyplot as plt
    runs = [Paper("demo", seed=seed, root=demo) for seed in (1, 2)]
    for step in ("table", "figure", "claims", "finish"):
        for paper in runs:
            if step == "table":
                paper.table("Table 1", pd.DataFrame({"method": ["theirs", "ours"], "error": [1.0, paper.seed * 1.0]}))
            elif step == "figure": paper.figure("Figure 1", plt.figure(figsize=(1, 1)))
            elif step == "finish": paper.finish()
            else:
                paper.claim("C1", values={"ours": [1, 2, 3], "theirs": [2, 3, 4]}, test=less("ours", "theirs"))
                paper.claim("C2", values={"error": 0.0}, test=below("error", 1e-6, exact=True))
        record = demo/"runs/smoke/demo/record.json"
        if step != "finish":
            assert not record.exists() and not (demo/"runs/smoke/demo/table-1.csv").exists()
    found = load_record(record)
    assert (found["tables"]["Table 1"]["rows"][1][1] == found["seed"] == 2
            and "2.0" in (record.parent/"table-1.csv").read_text())
    assert all(sha256(record.parent/name) == digest for name, digest in found["files"].items())
    del runs, paper
    assert not list(record.parent.parent.glob(".demo.new.*")) and not list(record.parent.parent.glob(".demo.old.*"))


def test_publish_refuses_a_file_that_changes_while_it_is_copied(demo, monkeypatch):
    import shutil
    run("demo", "cpu", root=demo)
    whole = shutil.copyfile
    def other(source, target):
        return target.write_text("another run's") if str(target).endswith(".csv") else whole(source, target)
    monkeypatch.setattr(workflow.shutil, "copyfile", other)
    with pytest.raises(PaperKitError, match="changed while it was copied"):
        publish("demo", root=demo)
    assert not (demo/"figures/demo").exists() and not (demo/"data/results/demo.json").exists()


def left_behind(folder, name, suffix=""):
    "A temporary file as a process that is gone leaves it, or a folder of that name if it has no suffix."
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    path = folder/f".{name}.{'' if suffix else 'new.'}{files._mark().split('-')[0]}-{child.pid}.abc{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half") if suffix else path.mkdir()
    return path


def square(x):
    return {"y": x * x}


def test_a_stage_sweeps_what_a_killed_one_left_in_its_folder(demo):
    left = left_behind(demo/"runs/stages/demo", "square-0.safetensors", ".tmp")
    living = left.with_name(f".square-1.safetensors.{files._mark()}.abc.tmp")
    living.write_text("half")
    assert Runner("demo", root=demo).stage(square, x=3) == {"y": 9}
    assert not left.exists() and living.exists()


def test_pages_sweep_what_killed_site_builds_left(demo):
    from paper_kit.kit.site import pages
    left = [left_behind(demo, "site-src"), left_behind(demo, "_site"), left_behind(demo/"runs/site", "a.html", ".tmp"),
            left_behind(demo/"figures/lib", "plotly.js", ".tmp")]
    (demo/".notes.tmp").write_text("a person's")
    shutil.copy(ROOT/"nbs/index.ipynb", demo/"nbs/index.ipynb")
    pages(demo)
    assert not [p for p in left if p.exists()] and (demo/".notes.tmp").is_file()


def ours(root):
    "The environment of a process that works in the project `root` with the package of this checkout."
    return {**os.environ, "PAPER_KIT_ROOT": str(root), "PYTHONPATH": str(ROOT)}


def longer(root):
    "The demonstration with one more exported cell of 40,000 characters, in the form that `sync` gives a notebook."
    path = root/"nbs/learning/demo.ipynb"
    nb = json.loads(path.read_text())
    cell = json.loads(json.dumps(next(c for c in nb["cells"] if "#| export" in "".join(c["source"]))))
    nb["cells"].insert(-1, {**cell, "id": "longer", "source": ["#| export\n", f"long = '{'x' * 40_000}'"]})
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def test_sync_under_a_limit_of_file_size_leaves_every_module_whole(demo):
    workflow.sync(demo)
    before = tree(demo/"paper_kit")
    longer(demo)
    code = ("import resource, sys\nfrom paper_kit.kit.cli import main\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\nsys.argv = ['paper-kit', 'sync']\nmain()")
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=demo, env=ours(demo), capture_output=True, text=True)
    assert done.returncode == 2 and "larger than this process may write" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert tree(demo/"paper_kit") == before and not list((demo/"runs").glob(".*"))
    workflow.sync(demo)
    assert "x" * 40_000 in (demo/"paper_kit/learning/demo.py").read_text()


def test_sync_killed_in_the_middle_of_an_export_leaves_every_module_whole_and_the_next_one_sweeps(demo):
    workflow.sync(demo)
    before = tree(demo/"paper_kit")
    longer(demo)
    code = ("import pathlib, time\nfrom nbdev import doclinks\nfrom nbdev.config import get_config\nfrom "
            "paper_kit.kit.workflow import sync\n"
            "def half(*a, **k):\n"
            "    pathlib.Path(get_config().lib_path/'learning/demo.py').write_text('long = (')\n"
            "    print('half', flush=True); time.sleep(60)\n"
            "doclinks.nb_export = half\nsync()")
    child = subprocess.Popen([sys.executable, "-P", "-c", code], cwd=demo, env=ours(demo),
                             stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "half\n"
    child.kill()
    child.wait()
    assert tree(demo/"paper_kit") == before and list((demo/"runs").glob(".export.new.*"))
    workflow.sync(demo)
    assert not list((demo/"runs").glob(".*")) and "x" * 40_000 in (demo/"paper_kit/learning/demo.py").read_text()


def test_sync_removes_a_module_whose_notebook_is_gone(demo):
    workflow.sync(demo)
    assert (demo/"paper_kit/learning/demo.py").is_file()
    (demo/"nbs/learning/demo.ipynb").unlink()
    workflow.sync(demo)
    assert not (demo/"paper_kit/learning").exists() and "learning.demo" not in (demo/"paper_kit/_modidx.py").read_text()


SHAPES = ["[]", "3", "null", "{}", "{", '{"state": 3}',
          '{"state": "running", "cell": "x", "cells": 4, "heading": null, "started": "now"}',
          '{"state": "running", "cell": 1, "cells": 4, "heading": "", "started": NaN}', '{"demo": "long"}',
          '{"stage": "fit", "fraction": "half", "text": 3}', "[" * 5000]


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("name", ["progress.json", "stage.json", "../times.json"])
def test_a_progress_file_of_another_shape_leaves_the_board_standing(name, text, demo):
    from paper_kit.kit.cli import Board
    folder = demo/"runs/smoke/demo"
    folder.mkdir(parents=True)
    good = {"state": "running", "cell": 2, "cells": 9, "heading": "Data", "started": time.time() - 5}
    (folder/"progress.json").write_text(json.dumps(good))
    (folder/name).write_text(text)
    row = {"slug": "demo", "profile": "smoke", "state": "starting", "seconds": 0.0}
    workflow.look(demo, row)
    assert row["state"] == ("starting" if name == "progress.json" else "running") and "stage" not in row
    assert workflow.remaining(demo, row | {"seconds": 5.0}) is None
    workflow.remember_times(demo, [row | {"state": "done", "seconds": 2.0}])
    assert json.loads((demo/"runs/smoke/times.json").read_text())["demo"] == 2.0
    board = Board.__new__(Board)
    board.root = demo
    assert board._table([row]).row_count == 1


def fifo(path): os.mkfifo(path)
def endless(path): path.symlink_to("/dev/zero")
def folder(path): path.mkdir()


@pytest.mark.parametrize("make", [fifo, endless, folder])
def test_what_is_no_regular_file_is_refused_at_once(make, demo):
    code = ("import sys\nfrom pathlib import Path\nfrom paper_kit.kit.files import PaperKitError, mapping_in\nfrom "
            "paper_kit.kit.paper import load_manifest, load_record, read_yaml\n"
            "for read in (load_record, load_manifest, read_yaml):\n"
            "    try: read(Path(sys.argv[1]))\n    except PaperKitError as error: print('next step' in str(error))\n"
            "print(mapping_in(sys.argv[1]) == {})")
    make(demo/"demo.json")
    done = subprocess.run([sys.executable, "-P", "-c", code, str(demo/"demo.json")], env=ours(demo),
                          capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["True"] * 4, done.stderr


@pytest.mark.parametrize("old, new", [("title: A demonstration", "title: 2019"),
                                      ("title: A demonstration", "title: [a, b]"), ("title: A demonstration", "title:"),
                                      ("shows: errors", "shows: {a: b}"), ("text: ours is better", "text: 3"),
                                      ("why: a photograph", "why: [1]")])
def test_a_manifest_whose_texts_are_no_texts_is_refused(old, new, tmp_path):
    from paper_kit.kit.paper import load_manifest
    assert old in MANIFEST
    (tmp_path/"demo.yaml").write_text(MANIFEST.replace(old, new))
    with pytest.raises(PaperKitError, match=r"demo.yaml:\d+[\s\S]*not a text"):
        load_manifest(tmp_path/"demo.yaml")


@pytest.mark.parametrize("document", ["- 1", "datasets: 3", "datasets: {a: b}", "text", "datasets: [{name: [a]}]"])
def test_data_sets_that_are_no_list_are_refused(document, demo):
    from paper_kit.kit.datasets import registry
    (demo/"data/datasets.yaml").write_text(document)
    with pytest.raises(PaperKitError, match="data sets cannot be read"):
        registry(demo)


@pytest.mark.parametrize("key, value", [("name", ["a"]), ("name", 3), ("title", None), ("papers", "demo"),
                                        ("papers", [1]), ("layout", {}), ("layout", [3]), ("home", {}),
                                        ("layout", [{"pattern": 3, "holds": "x"}]),
                                        ("layout", [{"pattern": "a", "holds": "x", "least": "many"}]),
                                        ("layout", [{"pattern": "a"}]),
                                        ("layout", [{"pattern": "", "holds": "x"}]),
                                        ("layout", [{"pattern": "/a", "holds": "x"}]),
                                        ("layout", [{"pattern": "../a", "holds": "x"}])])
def test_a_data_set_with_values_of_another_type_is_refused(key, value, demo):
    from paper_kit.kit.datasets import registry
    entry = {"name": "tiny", "title": "Tiny", "home": "https://example.org", "licence": "CC0", "papers": ["demo"],
             "layout": [{"pattern": "a/{id}.npz", "holds": "arrays"}]}
    (demo/"data/datasets.yaml").write_text(json.dumps({"datasets": [entry]}))
    assert list(registry(demo)) == ["tiny"]
    (demo/"data/datasets.yaml").write_text(json.dumps({"datasets": [entry | {key: value}]}))
    with pytest.raises(PaperKitError, match="an entry of the data sets cannot be read"):
        registry(demo)


def large_png():
    "A PNG of a few bytes whose header says 60,000 x 60,000 pixels."
    import struct
    import zlib
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_that_claims_to_be_enormous_is_refused():
    from paper_kit.kit.show import pixels
    from paper_kit.kit.site import size_of
    assert size_of(large_png()) == ""
    for bad in (large_png(), b"no picture", large_png()[:30]):
        with pytest.raises(PaperKitError, match="picture cannot be read"):
            pixels(bad)


def test_a_slug_that_is_nearly_one_is_guessed_and_a_run_that_waits_says_why(demo, tmp_path, monkeypatch):
    with pytest.raises(PaperKitError, match="did you mean 'demo'"):
        run("dema", root=demo)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PAPER_KIT_SLOTS", "1")
    monkeypatch.delenv("PAPER_KIT_HOLDS_SLOT", raising=False)

    class Waited(Exception):
        pass

    def told(why):
        assert f"1 of 1 slots held by processes {os.getpid()}; PAPER_KIT_SLOTS" in why
        raise Waited
    with workflow.slot():
        with pytest.raises(Waited):
            with workflow.slot(told):
                pass


def test_a_dense_picture_is_shown_at_the_width_its_output_asks_for():
    from paper_kit.kit.show import png
    from paper_kit.kit.site import size_of
    picture = png(np.zeros((40, 80, 3), np.uint8))
    assert size_of(picture) == ' width="80" height="40"' and size_of(picture, 2) == ' width="40" height="20"'
    assert size_of(picture, 1, 50) == ' width="50" height="25"'
    for odd in (0, -3, 500, "50", None): assert size_of(picture, 1, odd) == size_of(picture)
