"""Readers of files from outside: what is well made comes back as it is, what is made to harm is refused at once."""
import pickle
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.readers import (plain_pickle, read_hdf5, read_json, read_lines, read_mat, read_npy, read_npz,
                                   read_picture)


def refused(read, *arguments, seconds=2.0, **more):
    begun = time.process_time()
    with pytest.raises(PaperKitError) as caught:
        read(*arguments, **more)
    assert time.process_time() - begun < seconds and "next step" in str(caught.value)
    return caught.value.found


def test_arrays_come_back_and_heads_that_lie_are_refused(tmp_path):
    for a in (np.arange(6.).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(["a", "bc"]),
              np.zeros((0, 3)), np.float32(2)):
        np.save(tmp_path/"a.npy", a)
        found = read_npy(tmp_path/"a.npy", "numbers")
        assert found.dtype == a.dtype and np.array_equal(found, a)
    np.savez_compressed(tmp_path/"a.npz", x=np.eye(2), y=np.arange(3))
    assert (read_npz(tmp_path/"a.npz", "x", ["x", "z"]).keys() == {"x"}
            and read_npz(tmp_path/"a.npz", "all")["y"].tolist() == [0, 1, 2])
    np.savez_compressed(tmp_path/"a.npz", x=np.zeros(100_000))
    assert ("unpacked" in refused(read_npz, tmp_path/"a.npz", "x", limit=50_000)
            and "more than" in refused(read_npz, tmp_path/"a.npz", "x", limit=100))
    np.save(tmp_path/"a.npy", np.zeros(4, "f4"))
    whole = (tmp_path/"a.npy").read_bytes()
    for shape in (b"(4000000000,)", b"(-4,)", b"(-1, -4)", b"(5,)", b"'many'", b"(2.0, 2)"):
        (tmp_path/"a.npy").write_bytes(whole.replace(b"(4,)" + b", }" + b" "*(len(shape) - 4), shape + b", }"))
        refused(read_npy, tmp_path/"a.npy", "four numbers")
    np.save(tmp_path/"a.npy", np.array([{}], dtype=object))
    assert "pickles" in refused(read_npy, tmp_path/"a.npy", "numbers")


def test_pictures_of_other_formats_and_vast_ones_are_refused(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path/"a.png")
    assert (np.array_equal(read_picture(tmp_path/"a.png"), pixels)
            and read_picture(tmp_path/"a.png", "L", (2, 2)).shape == (2, 2))
    deep = np.array([[1, 65535], [3, 4]], np.uint16)
    Image.fromarray(deep).save(tmp_path/"deep.png")
    assert np.array_equal(read_picture(tmp_path/"deep.png", size=(4, 4), filter="nearest")[::2, ::2], deep)
    Image.fromarray(pixels).save(tmp_path/"b.png", format="TIFF")
    (tmp_path/"c.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(true) system\n")
    for name in ("b.png", "c.png", "none.png"):
        refused(read_picture, tmp_path/name)
    Image.new("1", (9000, 9000)).save(tmp_path/"vast.png")
    assert "more than" in refused(read_picture, tmp_path/"vast.png")
    Image.new("1", (30_000, 30_000)).save(tmp_path/"vast.png")
    assert "Bomb" in refused(read_picture, tmp_path/"vast.png")


def test_text_and_json_are_utf8_of_the_right_kind(tmp_path):
    (tmp_path/"a").write_bytes(b'["x"]\n')
    assert read_lines(tmp_path/"a", "names") == ['["x"]'] and read_json(tmp_path/"a", "names") == ["x"]
    assert "a list" in refused(read_json, tmp_path/"a", "a mapping", dict)
    for bad in (b"\xff", b"[" * 100_000, b"{", b"9" * 5000):
        (tmp_path/"a").write_bytes(bad)
        refused(read_json, tmp_path/"a", "names")


CHAIN = b"N" + b"q\0h\0h\0\x86" * 40                                  # a pair of the same pair, forty deep: 2^40 leaves
DANGEROUS = {
    "runs": b"cos\nsystem\n(S'touch sprung'\ntR.", "nested pairs": CHAIN + b".", "a nested key": b"}" + CHAIN + b"Ns.",
             "nested keys": b"}(" + CHAIN + b"Nu.",
    "a set of it": b"\x8f(" + CHAIN + b"\x90.", "a frozen set": b"(" + CHAIN + b"\x91.",
             "a dictionary of it": b"(" + CHAIN + b"Nd.",
    "a bytearray": b"\x96" + struct.pack("<Q", 1 << 40) + b".",
             "long bytes": b"\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "deep lists": b"]" * 50_000 + b"a" * 49_999 + b".", "an extension": b"\x82\x01.", "a persistent id": b"Pname\n.",
             "a list in itself": b"]q\0h\0a.", "nothing": b"",
    "a number without end": b"\x8b" + struct.pack("<i", 1 << 30) + b"\1.", "steps": b"]" + b"Na" * 1_500_000 + b".",
             "a class": b"cbuiltins\nobject\n)R.",
    "state of a list": b"]}S'a'\nNsb.", "numbers as text": b"I" + b"9" * 100_000 + b"\n."}


@pytest.mark.parametrize("name", DANGEROUS)
def test_pickles_made_to_harm_are_refused_within_seconds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"a.pkl").write_bytes(DANGEROUS[name])
    refused(plain_pickle, tmp_path/"a.pkl", seconds=8.0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pkl"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_data_comes_back_from_a_pickle(protocol, tmp_path):
    a = np.arange(6, dtype=">f4").reshape(2, 3)
    value = {"pose": [a, a.T.copy(order="F"), a], "size": np.float32(2.5), "names": ("x", "ü", b"\xff"),
             3: {"deep": [None, True, 1e300, 2**70]}}
    (tmp_path/"a.pkl").write_bytes(pickle.dumps(value, protocol))
    found = plain_pickle(tmp_path/"a.pkl")
    assert all(np.array_equal(x, y) for x, y in zip(found["pose"], value["pose"])) and found["size"] == 2.5
    assert found["names"] == ["x", "ü", b"\xff"] and found[3] == {"deep": [None, True, 1e300, 2**70]}


def test_matlab_files_come_back_plain(tmp_path):
    savemat(tmp_path/"a.mat",
            {"images": np.array([({"name": "a.jpg", "box": [1., 2.]},), ({"name": "b.jpg", "box": [3., 4.]},)],
                                dtype=[("of", object)]), "x": np.eye(2), "cell": np.array(["a", 1.5], object)},
            do_compression=True)
    found = read_mat(tmp_path/"a.mat", "images", ["images"])
    assert ([r["of"]["name"] for r in found["images"]] == ["a.jpg", "b.jpg"] and np.array_equal(found["x"], np.eye(2))
            and found["cell"][0] == "a")
    assert "no voxel" in refused(read_mat, tmp_path/"a.mat", "voxels", ["voxel"])


def matrix(*parts):
    body = b"".join(parts)
    head = b"MATLAB 5.0 MAT-file".ljust(116) + b"\0" * 8 + b"\0\1IM"
    return head + struct.pack("<II", 14, len(body)) + body


def test_matlab_files_that_bring_a_library_down_are_refused(tmp_path):
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    lies = {"dimensions": matrix(flags, struct.pack("<IIii", 5, 8, 2**30, 2**30), struct.pack("<II", 1, 0),
                                 struct.pack("<II", 9, 8), b"\0" * 8),
            "negative": matrix(flags, struct.pack("<IIii", 5, 8, -4, 4), struct.pack("<II", 1, 0),
                               struct.pack("<II", 9, 8), b"\0" * 8),
            "cut": matrix(flags)[:-3], "no matrix": matrix(b"\xff" * 64),
            "a bomb": b"MATLAB 5.0 MAT-file".ljust(116) + b"\0" * 8 + b"\0\1IM"}
    bomb = zlib.compress(b"\0" * 300_000_000, 9)
    lies["a bomb"] += struct.pack("<II", 15, len(bomb)) + bomb
    for name, data in lies.items():
        (tmp_path/"a.mat").write_bytes(data)
        refused(read_mat, tmp_path/"a.mat", "x", seconds=3.0)
    (tmp_path/"a.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 4000)
    refused(read_mat, tmp_path/"a.mat", "x")
    refused(read_hdf5, tmp_path/"a.mat", "x")


def test_a_library_that_dies_or_hangs_costs_only_its_own_process(tmp_path, monkeypatch):
    from paper_kit.kit import readers
    savemat(tmp_path/"a.mat", {"x": np.eye(2)})
    (tmp_path/"scipy").mkdir()
    (tmp_path/"scipy/__init__.py").write_text("")
    for body, said in (("import os, signal\ndef loadmat(*a): os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
                       ("import time\ndef loadmat(*a): time.sleep(60)", "TimeoutExpired")):
        (tmp_path/"scipy/io.py").write_text(body)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        assert said in refused(lambda: readers.read_mat(tmp_path/"a.mat", "x", seconds=3))


def test_hdf5_comes_back(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path/"a.h5", "w") as f:
        f["audio"], f["n"] = ["a.wav", "b.wav"], np.arange(3)
    found = read_hdf5(tmp_path/"a.h5", "names", ["audio"])
    assert found["audio"] == ["a.wav", "b.wav"] and found["n"].tolist() == [0, 1, 2]
