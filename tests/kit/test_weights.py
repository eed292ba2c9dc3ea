"""Shipped weights: what is written is what is read, and nothing damaged or too heavy goes through."""
import pytest
import torch

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.weights import most_weight_bytes, shipped_weights, weights_bytes, weights_file


@pytest.fixture
def file(tmp_path):
    state = {"w": torch.linspace(-1, 1, 300).view(3, 100), "steps": torch.tensor(7), "empty": torch.zeros(0, 2)}
    path = tmp_path/"weights.safetensors"
    path.write_bytes(weights_bytes(state, options={"width": 100}, seed=3))
    return path, state


def test_numbers_come_back_in_float32_to_half_precision_and_counts_exactly(file):
    path, state = file
    got, about = shipped_weights("demo", path)
    assert about == {"options": {"width": 100}, "seed": 3}
    assert got["w"].dtype == torch.float32 and torch.equal(got["w"], state["w"].half().float())
    assert got["steps"].dtype == torch.int64 and got["steps"] == 7 and got["empty"].shape == (0, 2)


@pytest.mark.parametrize("place", ["first number", "last number", "head"])
def test_a_flipped_bit_is_an_error_that_names_the_file(file, place):
    path, _ = file
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[{"first number": start, "last number": len(content) - 1, "head": 20}[place]] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(PaperKitError) as error: shipped_weights("demo", path)
    assert str(path) in str(error.value)


def test_numbers_changed_by_another_tool_do_not_pass_as_the_published_ones(file):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    path, _ = file
    with safe_open(path, framework="pt") as opened: notes = opened.metadata()
    save_file({k: t + 1 if k == "w" else t for k, t in load_file(path).items()}, path, notes)
    with pytest.raises(PaperKitError): shipped_weights("demo", path)


def test_too_heavy_and_too_large_numbers_are_refused():
    with pytest.raises(PaperKitError, match="too heavy"): weights_bytes({"w": torch.zeros(most_weight_bytes//2 + 1)})
    with pytest.raises(PaperKitError, match="cannot be shipped"): weights_bytes({"w": torch.tensor([70_000.])})
    with pytest.raises(PaperKitError, match="cannot be shipped"): weights_bytes({"w": torch.tensor([float("nan")])})


def test_a_paper_without_weights_says_how_to_get_them():
    with pytest.raises(PaperKitError, match="paper-kit publish no_such_paper"): weights_file("no_such_paper")
    with pytest.raises(PaperKitError): weights_file("../x")


def test_views_that_share_memory_and_tensors_on_a_graph_can_be_shipped(tmp_path):
    whole = torch.arange(6.).requires_grad_()
    path = tmp_path/"w.safetensors"
    path.write_bytes(weights_bytes({"a": whole[:3], "b": whole[::2], "c": whole}))
    got, _ = shipped_weights("demo", path)
    assert got["b"].tolist() == [0, 2, 4] and got["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("small", [False, True])
def test_weights_just_written_are_read_unless_a_small_run_wrote_them_beside_published_ones(tmp_path, monkeypatch,
                                                                                           published, small):
    from paper_kit.kit import weights
    monkeypatch.setattr(weights, "project_root", lambda: tmp_path)
    (tmp_path/"figures/demo").mkdir(parents=True)
    new, old = tmp_path/"weights.safetensors", tmp_path/"figures/demo/weights.safetensors"
    new.write_bytes(b"")
    if published: old.write_bytes(b"")
    monkeypatch.setitem(weights.written, "demo", (new, small))
    assert weights.weights_file("demo") == (old if published and small else new)


def test_the_same_weights_are_the_same_bytes():
    import subprocess
    import sys
    code = ("import torch, hashlib; from paper_kit.kit.weights import weights_bytes\n"
            "state = {n: torch.full((3,), float(ord(n))) for n in 'zxcvbnm'}\n"
            "print(hashlib.sha256(weights_bytes(state, seed=1, profile='cpu')).hexdigest())")
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(4)}
    assert len(found) == 1 and len(found.pop()) == 65
