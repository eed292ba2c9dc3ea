"""Files made to harm: each is refused with our error, at once, and nothing in them runs."""
import io
import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from paper_kit.kit import mesh, nn
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.paper import load_manifest, load_record, read_yaml
from paper_kit.kit.stages import load_result
from paper_kit.shape3d import worlds


class Trap:
    "Opened by pickle, it leaves a file behind."
    def __init__(self, where):
        self.where = str(where)

    def __reduce__(self):
        return os.system, (f"touch {self.where}",)


def refused(read, *arguments, seconds=3.0):
    begun = time.process_time()
    with pytest.raises(PaperKitError) as caught:
        read(*arguments)
    assert time.process_time() - begun < seconds
    assert "next step" in str(caught.value) and "found" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pt"])
@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_a_pickle_posing_as_a_checkpoint_runs_nothing(tmp_path, suffix, write):
    file, sprung = tmp_path/f"weights{suffix}", tmp_path/"sprung"
    if write == "pickle":
        file.write_bytes(pickle.dumps({"weight": Trap(sprung)}))
    else:
        torch.save({"weight": torch.zeros(2), "trap": Trap(sprung)}, file)
    said = refused(nn.read_weights, file)
    assert not sprung.exists() and file.name in said
    refused(load_result, file)
    assert not sprung.exists()


def test_a_pickle_posing_as_the_checkpoint_of_a_training_runs_nothing(tmp_path):
    from paper_kit.kit.train import train
    file, sprung = tmp_path/"training.partial", tmp_path/"sprung"
    file.write_bytes(pickle.dumps({"weight": Trap(sprung)}))
    model = torch.nn.Linear(2, 1)
    with pytest.raises(PaperKitError, match="checkpoint cannot be read"):
        train(model, lambda batch: model(batch).square().mean(), 2, [torch.ones(4, 2)], checkpoint=file)
    assert not sprung.exists()


def test_good_checkpoints_come_back(tmp_path):
    from safetensors.torch import save_file
    state = torch.nn.Linear(3, 2).state_dict()
    torch.save({"model_state_dict": state, "epoch": 7}, tmp_path/"a.pth")
    save_file(state, tmp_path/"b.safetensors")
    assert nn.read_weights(tmp_path/"a.pth")["epoch"] == 7
    for found in (nn.read_weights(tmp_path/"a.pth")["model_state_dict"], nn.read_weights(tmp_path/"b.safetensors")):
        assert all(torch.equal(found[k], state[k]) for k in state)
    torch.save(torch.zeros(3), tmp_path/"tensor.pth")
    assert "a Tensor" in refused(nn.read_weights, tmp_path/"tensor.pth")
    assert "no such file" in refused(nn.read_weights, tmp_path/"none.pth")
    (tmp_path/"cut.pth").write_bytes((tmp_path/"a.pth").read_bytes()[:300])
    refused(nn.read_weights, tmp_path/"cut.pth")


def test_pickled_arrays_are_not_opened(tmp_path):
    sprung = tmp_path/"sprung"
    folder = tmp_path/"SdfSamples/d/s"
    folder.mkdir(parents=True)
    np.savez(folder/"m.npz", pos=np.array([Trap(sprung)], dtype=object), neg=np.zeros((1, 4)))
    refused(worlds.read_sdf_samples, tmp_path, "d", "s", "m")
    assert not sprung.exists()


def npz_with(header_shape, payload=b""):
    "An npz whose array header promises `header_shape` float32 numbers."
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {header_shape}, }}"
    text += " "*(63 - (10 + len(text)) % 64) + "\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + payload
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("pos.npy", "neg.npy"):
            archive.writestr(name, body)
    return file.getvalue()


@pytest.mark.parametrize("shape", ["(1000000000, 4)", "(9223372036854775807, 4)", "(-5, 4)", "'many'"])
def test_an_archive_whose_header_lies(tmp_path, shape):
    folder = tmp_path/"SdfSamples/d/s"
    folder.mkdir(parents=True)
    (folder/"m.npz").write_bytes(npz_with(shape, b"\0"*64))
    refused(worlds.read_sdf_samples, tmp_path, "d", "s", "m")


def test_an_archive_whose_members_climb_out_writes_nothing(tmp_path):
    folder = tmp_path/"in/SdfSamples/d/s"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder/"m.npz", "w") as archive:
        for name in ("../../../../out.npy", "/tmp/paper-kit-climbed-out.npy"):
            array = io.BytesIO()
            np.save(array, np.ones((2, 4)))
            archive.writestr(name, array.getvalue())
    before = sorted(tmp_path.rglob("*"))
    refused(worlds.read_sdf_samples, tmp_path/"in", "d", "s", "m")
    assert sorted(tmp_path.rglob("*")) == before and not os.path.exists("/tmp/paper-kit-climbed-out.npy")


@pytest.mark.parametrize("names", [("..", "s", "m"), ("d", "../..", "m"), ("d", "s", "../../secret"),
                                   ("/etc", "s", "m")])
def test_a_split_that_climbs_out_is_refused(tmp_path, names):
    refused(worlds.read_sdf_samples, tmp_path, *names)


def test_a_mesh_of_a_billion_declared_faces(tmp_path):
    head = ("ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face "
            "{}\nproperty list uchar int vertex_indices\nend_header\n")
    for kind, body in (("ascii", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"), ("binary_little_endian", b"\0"*49)):
        for count in (10**9, 10**18, 2**63, -1):
            file = tmp_path/f"{kind}{count}.ply"
            file.write_bytes(head.format(kind, count).encode() + body)
            refused(mesh.read_mesh, file)


def test_a_bomb_in_yaml(tmp_path):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}']*9)}]"
                                                                         for i in range(1, 10)]
    for text in ("\n".join(lines), "&a [*a]", "!!python/object/apply:os.system ['true']", "a: " + "["*3000, "? "*3000,
                 "\0", "\ufeff- \u2028", "{"*500 + "}"*500):
        file = tmp_path/"demo.yaml"
        file.write_text(text)
        refused(load_manifest, file)
    with pytest.raises(PaperKitError, match="aliases"):
        file.write_text("\n".join(lines))
        read_yaml(file)


def test_a_record_that_nests_without_end(tmp_path):
    file = tmp_path/"demo.json"
    for text in ("["*100_000, '{"a":'*50_000, "1e999", "NaN", '"' + "x"*1000, '{"slug": ' + "9"*5000 + "}"):
        file.write_text(text)
        refused(load_record, file)
