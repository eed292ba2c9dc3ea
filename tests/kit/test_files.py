import os
import subprocess
import sys

import pytest

from paper_kit.kit import files
from paper_kit.kit.files import (PaperKitError, lock, need, new_folder, patch, project_root, sha256, sweep,
                                 write_atomic, write_if_changed)


def test_an_error_names_its_four_parts_and_leaves_out_what_it_lacks():
    text = str(PaperKitError("cannot read", file="a.json", expected="JSON", found="nothing", next_step="run it"))
    assert text.splitlines() == ["cannot read", "  file: a.json", "  expected: JSON", "  found: nothing",
                                 "  next step: run it"]
    assert str(PaperKitError("short")) == "short"


def test_a_missing_package_names_its_extra():
    with pytest.raises(PaperKitError, match=r"\.\[cluster\]"):
        need("surely_not_a_package", "cluster")
    assert need("json", "x").dumps({}) == "{}"


def test_the_root_is_found_from_below_and_by_name(root, monkeypatch, tmp_path):
    monkeypatch.delenv("PAPER_KIT_ROOT")
    assert project_root(root/"nbs"/"kit") == root
    monkeypatch.setenv("PAPER_KIT_ROOT", str(tmp_path))
    with pytest.raises(PaperKitError, match="PAPER_KIT_ROOT"):
        project_root()


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = write_atomic(tmp_path/"a"/"x.txt", "old")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError):
        write_atomic(target, "new")
    assert target.read_text() == "old" and [p.name for p in target.parent.iterdir()] == ["x.txt"]


def test_write_if_changed_keeps_the_time_stamp(tmp_path):
    assert (write_if_changed(tmp_path/"x", "a") and not write_if_changed(tmp_path/"x", "a")
            and write_if_changed(tmp_path/"x", "b"))


def test_a_folder_is_swapped_whole_or_not_at_all(tmp_path):
    with new_folder(tmp_path/"f") as f:
        (f/"a").write_text("1")
    with pytest.raises(RuntimeError):
        with new_folder(tmp_path/"f") as f:
            (f/"b").write_text("2")
            raise RuntimeError
    assert [p.name for p in (tmp_path/"f").iterdir()] == ["a"] and [p.name for p in tmp_path.iterdir()] == ["f"]
    with new_folder(tmp_path/"f") as f:
        (f/"c").write_text("3")
    assert [p.name for p in (tmp_path/"f").iterdir()] == ["c"]


def test_sweep_puts_back_a_folder_caught_between_two_renames(tmp_path):
    gone = f"{files._mark().split('-')[0]}-999999999"                     # no process has this number
    (tmp_path/f".f.old.{gone}.123").mkdir()
    (tmp_path/f".f.old.{gone}.123"/"a").write_text("1")
    (tmp_path/f".f.new.{gone}.abc").mkdir()
    (tmp_path/f".x.{gone}.abc.tmp").write_text("")
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["f"] and (tmp_path/"f"/"a").read_text() == "1"


def test_a_lock_is_refused_to_another_process_and_freed_by_its_death(tmp_path):
    path = tmp_path/"l"
    code = (f"from paper_kit.kit.files import lock\nimport time\nwith lock({str(path)!r}):\n    print('held', "
            f"flush=True); time.sleep(60)")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(PaperKitError, match=str(child.pid)):
        with lock(path, what="it"):
            pass
    child.kill()
    child.wait()
    with lock(path):
        pass


def test_sha256_of_known_bytes(tmp_path):
    assert (sha256(write_atomic(tmp_path/"x", b"abc"))
            == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_patch_needs_an_annotation_and_keeps_the_global_name():
    class A:
        pass
    scope = {"A": A, "patch": patch, "size": "kept"}
    exec("@patch\ndef size(self: A): return 7", scope)
    assert A().size() == 7 and A.size.__qualname__ == "A.size" and scope["size"] == "kept"
    with pytest.raises(TypeError, match="annotation"):
        patch(lambda self: 0)
