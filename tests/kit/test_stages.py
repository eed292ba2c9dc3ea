import functools
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.stages import ImportClock, Runner, import_clock, load_result, save_result, stage_key


def work(x, seed=0):
    return {"y": x * 2 + seed}


def test_the_key_depends_on_arguments_by_value():
    k = lambda **a: stage_key(work, a)
    assert k(x=1) == k(x=1) != k(x=2) and k(x=1.0) != k(x=1)
    assert (k(x=np.zeros(3)) == k(x=np.zeros(3)) != k(x=np.zeros(4))
            and k(x=np.zeros(3)) != k(x=torch.zeros(3, dtype=torch.float64)))
    assert k(x={"a": 1, "b": [2]}) == k(x={"b": [2], "a": 1})
    with pytest.raises(PaperKitError, match=r"work\['x'\]"):
        k(x=object())


@pytest.mark.parametrize("value", [
    {"a": torch.arange(6).reshape(2, 3).float(), "b": [1, 2.5, "t", None, True],
     "c": (np.eye(2, dtype=np.float32), {"d": np.int64(3)})},
    torch.ones(2, dtype=torch.bfloat16), [], {"empty": {}}, 3.5, {"t": torch.zeros(0, 3)}])
def test_results_come_back_as_they_went(tmp_path, value):
    save_result(tmp_path/"s", value, {"device": "x"})
    back, info = load_result(tmp_path/"s")

    def same(a, b):
        if isinstance(a, (torch.Tensor, np.ndarray)):
            assert (type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
                    and (torch.as_tensor(a) == torch.as_tensor(b)).all())
        elif isinstance(a, dict):
            assert a.keys() == b.keys() and all(same(a[k], b[k]) is None for k in a)
        elif isinstance(a, (list, tuple)):
            assert type(a) is type(b) and len(a) == len(b) and all(same(x, y) is None for x, y in zip(a, b))
        else:
            assert a == b
    same(value, back)
    assert info == {"device": "x"}


def test_shared_and_strided_tensors_are_stored(tmp_path):
    t = torch.arange(6.)
    save_result(tmp_path/"s", {"a": t, "b": t.reshape(2, 3).T, "c": t[::2]}, {})
    back, _ = load_result(tmp_path/"s")
    assert back["b"].tolist() == [[0, 3], [1, 4], [2, 5]] and back["c"].tolist() == [0, 2, 4]


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(PaperKitError, match=r"result\.a\.1"):
        save_result(tmp_path/"s", {"a": [1, object()]}, {})
    with pytest.raises(PaperKitError, match="string"):
        save_result(tmp_path/"s", {1: 2}, {})


@pytest.mark.parametrize("damage", [lambda b: b[:len(b)//2], lambda b: b"", lambda b: b"\x80\x04pickle",
                                    lambda b: b[:8] + b"}" + b[9:], lambda b: b"\xff"*8 + b[8:]])
def test_a_damaged_stage_file_is_refused(tmp_path, damage):
    save_result(tmp_path/"s", {"a": torch.ones(100)}, {})
    (tmp_path/"s").write_bytes(damage((tmp_path/"s").read_bytes()))
    with pytest.raises(PaperKitError, match="stage file"):
        load_result(tmp_path/"s")


calls = []


def counted(x, seed, progress, checkpoint, device):
    calls.append(x)
    progress(1.0)
    assert device == "cpu" and str(checkpoint).endswith(".partial")
    return {"x": x, "seed": seed}


def test_a_stage_is_computed_once_and_again_when_its_file_is_damaged(tmp_path, capsys):
    calls.clear()
    run = Runner("demo", seed=4, root=tmp_path)
    assert run.stage(counted, x=1) == {"x": 1, "seed": 4} == run.stage(counted, x=1)
    assert calls == [1] and [s["cached"] for s in run.log] == [False, True]
    assert run.stage(counted, x=1, seed=5)["seed"] == 5 and calls == [1, 1]
    file, = [f for f in (tmp_path/"runs/stages/demo").iterdir() if load_result(f)[1]["seed"] == 4]
    file.write_bytes(file.read_bytes()[:40])
    assert run.stage(counted, x=1)["seed"] == 4 and calls == [1, 1, 1]
    assert "cannot be read" in capsys.readouterr().err
    assert {"name", "key", "device", "wall_s", "cpu_s", "peak_mb", "created", "versions"} <= set(run.log[0])


def test_pick_takes_the_next_smaller_profile():
    assert Runner("d", "gpu").pick(smoke=1, cpu=2) == 2 and Runner("d", "smoke").pick(smoke=1, cpu=2) == 1
    with pytest.raises(PaperKitError):
        Runner("d", "smoke").pick(cpu=2)
    with pytest.raises(PaperKitError, match="no profile 'huge'"):
        Runner("d", "huge")


def test_the_stage_runner_needs_only_torch_numpy_yaml_safetensors():
    blocked = ["pandas", "matplotlib", "IPython", "scipy", "PIL", "nbdev", "fastcore", "plotly", "k3d", "papermill",
               "jsonschema", "nbformat", "jaxtyping", "typer"]
    code = (f"import sys\nfor name in {blocked}: sys.modules[name] = None\nfrom paper_kit.kit.stages import main\n"
            f"sys.exit(main(['no_such_paper']))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode == 1 and "there is no paper 'no_such_paper'" in done.stderr
            and "ModuleNotFound" not in done.stderr)


def _costly_module(folder, name, seconds):
    (folder/f"{name}.py").write_text(f"import time\nbegun = time.process_time()\nwhile time.process_time() - begun < "
                                     f"{seconds}: pass\n")


def test_the_import_clock_takes_whole_imports_once_and_nothing_else(tmp_path, monkeypatch):
    import builtins, importlib, sys, time
    monkeypatch.syspath_prepend(str(tmp_path))
    _costly_module(tmp_path, "costly_inner", 0.15)
    (tmp_path/"costly_outer.py").write_text("import costly_inner\nfrom json import no_such_name\n")
    _costly_module(tmp_path, "costly_lazy", 0.1)
    own = builtins.__import__, importlib.import_module
    clock = ImportClock()
    clock.start(); clock.start()
    try:
        begun, cpu = clock.others(), time.process_time()
        # an import that fails, two deep, is one import
        with pytest.raises(ImportError, match="no_such_name"): import costly_outer
        assert 0.15 <= clock.seconds < 0.3 and clock.seconds <= time.process_time() - cpu
        importlib.import_module("costly_lazy")
        assert 0.25 <= clock.seconds < 0.45
        assert clock.others() - begun < 0.1
        before = clock.seconds
        sum(i*i for i in range(500_000))
        assert clock.seconds == before
    finally: clock.stop()
    assert (builtins.__import__, importlib.import_module) == own
    for name in ("costly_inner", "costly_lazy"): sys.modules.pop(name)
    import costly_inner
    assert clock.seconds == before, "a stopped clock stands"


def test_a_stage_is_not_charged_for_its_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    _costly_module(tmp_path, "costly_stage", 0.4)
    import_clock.start()
    try:
        run = Runner("toy", root=tmp_path)
        run.stage(_importing_stage)
    finally: import_clock.stop()
    assert run.log[0]["cpu_s"] < 0.3 < run.log[0]["wall_s"]


def _importing_stage():
    import costly_stage
    return {"loaded": bool(costly_stage)}


def _cut_off(checkpoint, progress):
    import time
    begun = time.process_time()
    while time.process_time() - begun < 0.3: pass
    progress(0.5, "half")
    if checkpoint.is_file(): return {"x": 1}
    checkpoint.write_text("half")
    raise KeyboardInterrupt


def test_a_stage_that_was_cut_off_counts_the_time_of_all_its_starts(tmp_path):
    run = Runner("toy", root=tmp_path)
    with pytest.raises(KeyboardInterrupt): run.stage(_cut_off)
    folder = tmp_path/"runs/stages/toy"
    assert sorted(f.suffix for f in folder.iterdir()) == [".partial", ".partial-spent"]
    run.stage(_cut_off)
    assert 0.6 <= run.log[0]["cpu_s"] < 0.9 and run.log[0]["wall_s"] >= 0.6
    assert [f.suffix for f in folder.iterdir()] == [".safetensors"], "nothing is left beside the result"


def test_time_spent_before_is_left_out_where_its_note_is_damaged_or_its_checkpoint_gone(tmp_path):
    for damage in (lambda folder: next(folder.glob("*-spent")).write_text("[12.0, "),
                   lambda folder: next(folder.glob("*.partial")).unlink()):
        folder = tmp_path/str(id(damage))/"runs/stages/toy"
        run = Runner("toy", root=folder.parents[2])
        with pytest.raises(KeyboardInterrupt): run.stage(_cut_off)
        damage(folder)
        try: run.stage(_cut_off)
        except KeyboardInterrupt: run.stage(_cut_off)
        assert 0.3 <= run.log[0]["cpu_s"] < 0.9


# keys and files without collisions
# ----------------------------------------------------------------------------------------------------------

def adder(n):
    def add(x): return x + n
    return add


class Scale:
    def __init__(self, k): self.k = k
    def go(self, x): return self.k * x


@dataclass(frozen=True)
class Held:
    k: float
    def go(self, x): return self.k * x


pair = (lambda x: x + 1), (lambda x: x + 2)


def test_no_two_calls_share_a_key():
    k = lambda **a: stage_key(work, a)
    different = [0.1, "0.1", 1, 1.0, True, "1", "True", None, "None", [1], (1,), {1}, {"1": 1}, {1: 1}, {1.0: 1}, b"1",
                 1j, np.float32(1), np.int64(1), np.ones(1),
                 torch.ones(1), torch.ones(1, dtype=torch.bfloat16), np.frombuffer(b"\x80\x3f", np.uint8),
                 torch.float32, "torch.float32", Path("a"), "a", range(1), [[1], 2],
                 [1, [2]], ["array", "float64"], float("nan"), -0.0, 0.0, adder(1), adder(2), pair[0], pair[1],
                 Held(1).go, Held(2).go, Held(1), functools.partial(work, 1),
                 functools.partial(work, 2), Held, work]
    keys = [k(x=value) for value in different]
    assert len(set(keys)) == len(keys), [different[i] for i, key in enumerate(keys) if keys.index(key) != i]
    assert (keys[:33] == [k(x=value) for value in different[:33]] and k(x=adder(1)) == k(x=adder(1))
            and k(x={"a": 1, "b": 2}) == k(x={"b": 2, "a": 1}))
    assert stage_key(adder(1), {}) != stage_key(adder(2), {}) and stage_key(pair[0], {}) != stage_key(pair[1], {})
    with pytest.raises(PaperKitError, match="__self__"):
        stage_key(Scale(1).go, {"x": 1})
    with pytest.raises(PaperKitError, match="closure"):
        stage_key(adder(object()), {"x": 1})
    with pytest.raises(PaperKitError, match="ndarray"):
        k(x=np.array([object()]))


def test_names_in_a_result_do_not_run_into_one_another(tmp_path):
    one, two = torch.ones(2), torch.zeros(3)
    save_result(tmp_path/"s", {"a": {"b": one}, "a.b": two, "a.b.0": [two]}, {})
    back, _ = load_result(tmp_path/"s")
    assert back["a"]["b"].tolist() == [1, 1] and back["a.b"].tolist() == [0, 0, 0]


def test_a_result_that_could_not_be_read_again_is_not_written(tmp_path):
    Point = namedtuple("Point", "x y")
    for value in (Point(1, 2), {"p": [Point(1, 2)]}, np.array(["text"]), np.array([object()]), {1, 2}):
        with pytest.raises(PaperKitError, match="cannot be stored"):
            save_result(tmp_path/"s", value, {})
    assert not (tmp_path/"s").exists()


def test_every_flipped_bit_of_a_stage_file_is_noticed(tmp_path):
    save_result(tmp_path/"s", {"a": torch.arange(20.), "b": [1, "two"], "c": np.ones((2, 3))}, {"device": "cpu"})
    whole = (tmp_path/"s").read_bytes()
    rng, read = np.random.default_rng(0), 0
    for at in rng.choice(len(whole) * 8, 400, replace=False):
        data = bytearray(whole)
        data[at // 8] ^= 1 << at % 8
        (tmp_path/"s").write_bytes(data)
        try: back, info = load_result(tmp_path/"s")
        except PaperKitError: continue
        read += 1
        assert (back["a"].tolist() == list(range(20)) and back["b"] == [1, "two"]
                and back["c"].tolist() == [[1] * 3] * 2 and info == {"device": "cpu"})
    assert read < 40, "only what carries no meaning, such as a space, may change"


def test_a_stage_file_of_another_call_is_not_taken(tmp_path, capsys):
    calls.clear()
    run = Runner("demo", root=tmp_path)
    run.stage(counted, x=1)
    first, = (tmp_path/"runs/stages/demo").iterdir()
    run.stage(counted, x=2)
    second, = [f for f in (tmp_path/"runs/stages/demo").iterdir() if f != first]
    second.write_bytes(first.read_bytes())
    assert run.stage(counted, x=2)["x"] == 2 and calls == [1, 2, 2] and "another call" in capsys.readouterr().err


def test_threads_are_recorded_with_each_stage(tmp_path):
    run = Runner("demo", root=tmp_path)
    run.stage(counted, x=1)
    assert run.log[0]["threads"] == torch.get_num_threads()
    code = ("import torch\nfrom paper_kit.kit.stages import main\nmain(['no_such_paper', '--threads', '2'])\n"
            "print(torch.get_num_threads())")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()[-1] == "2"
