"""Readers against what nobody thought of: every input is read, or refused with our error, in bounded time and
memory."""
import io
import json
import resource
import struct

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from helpers import MANIFEST
from paper_kit.kit import mesh, nn
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.paper import load_manifest, load_record, record_schema
from paper_kit.kit.stages import load_result, save_result
from paper_kit.shape3d import worlds
from paper_kit.video import worlds as sounds

fuzz = settings(max_examples=150, deadline=5000, suppress_health_check=list(HealthCheck),
                derandomize=True, database=None)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    "Four more GiB of address space than the process has; a reader that wants more fails."
    old = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0])*resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4*2**30, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


def read_or_refused(read, *arguments):
    "What was read, or None with our error; anything else fails the test."
    try:
        return read(*arguments)
    except PaperKitError as error:
        assert error.next_step and error.found is not None
        return None


def damaged(whole: bytes):
    "Copies of `whole` that are cut, overwritten, doubled or interleaved with noise."
    def apply(steps):
        data = bytearray(whole)
        for kind, at, noise in steps:
            at = int(at*len(data))
            if kind == "cut": del data[at:]
            elif kind == "drop": del data[at:at + len(noise)]
            elif kind == "write": data[at:at + len(noise)] = noise
            else: data[at:at] = noise
        return bytes(data)
    step = st.tuples(st.sampled_from(["cut", "drop", "write", "insert"]), st.floats(0, 1),
                     st.binary(min_size=1, max_size=12))
    return st.lists(step, min_size=1, max_size=4).map(apply)


anything = st.recursive(st.none() | st.booleans() | st.integers(-10**20, 10**20) | st.floats() | st.text(max_size=20),
                        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                                    max_size=4), max_leaves=12)


@fuzz
@given(damaged(MANIFEST.encode()))
def test_damaged_manifests(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp()/"demo.yaml"
    file.write_bytes(data)
    read_or_refused(load_manifest, file)


@fuzz
@given(st.sampled_from(["tables", "figures", "claims", "reported", "slug", "links", "title"]), anything)
@example("tables", [{}, {}])
@example("claims", [{"id": [1]}, {"id": {}}])
@example("reported", {"Table 1": {"columns": 3, "rows": 4}})
@example("reported", {"Table 1": {"columns": ["a"], "rows": [None, [1], 3]}})
def test_manifests_of_another_shape(tmp_path_factory, key, value):
    file = tmp_path_factory.getbasetemp()/"demo.yaml"
    try:
        text = yaml.safe_dump(yaml.safe_load(MANIFEST) | {key: value})
    except yaml.YAMLError:
        return
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    read_or_refused(load_manifest, file)


RECORD = {"schema": 1, "slug": "demo", "profile": "cpu", "seed": 0, "data": "world", "digest": "0"*64, "harness": 1,
          "created": "2026", "device": "cpu", "threads": 1,
          "versions": {}, "wall_s": 1.0, "peak_mb": 1.0, "stages": [],
          "tables": {"Table 1": {"columns": ["a"], "rows": [[1]], "note": ""}}, "figures": {},
          "claims": {}, "files": {}}


def test_the_record_that_is_damaged_below_is_a_good_one(tmp_path):
    (tmp_path/"demo.json").write_text(json.dumps(RECORD))
    assert load_record(tmp_path/"demo.json") == RECORD and set(record_schema["required"]) <= set(RECORD)


@fuzz
@given(damaged(json.dumps(RECORD).encode()))
def test_damaged_records(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp()/"demo.json"
    file.write_bytes(data)
    read_or_refused(load_record, file)


@fuzz
@given(st.sampled_from(sorted(RECORD)), anything)
def test_records_of_another_shape(tmp_path_factory, key, value):
    file = tmp_path_factory.getbasetemp()/"demo.json"
    file.write_bytes(json.dumps(RECORD | {key: value}).encode("utf-8", "surrogatepass"))
    read_or_refused(load_record, file)


def stored(result, folder):
    save_result(folder/"whole.safetensors", result, {"name": "f", "key": "0"})
    return (folder/"whole.safetensors").read_bytes()


@pytest.fixture(scope="module")
def stage_bytes(tmp_path_factory):
    return stored({"a": torch.arange(6.).view(2, 3), "b": [1, "two", None, {"c": np.arange(3)}]},
                  tmp_path_factory.mktemp("stage"))


def test_damaged_stage_files(tmp_path, stage_bytes):
    file = tmp_path/"f.safetensors"

    @fuzz
    @given(damaged(stage_bytes))
    def attempt(data):
        file.write_bytes(data)
        read_or_refused(load_result, file)
        read_or_refused(nn.read_weights, file)
    attempt()


@fuzz
@given(st.integers(0, 2**64 - 1), st.binary(max_size=80))
def test_safetensors_with_a_lying_header(tmp_path_factory, length, rest):
    file = tmp_path_factory.getbasetemp()/"lying.safetensors"
    file.write_bytes(struct.pack("<Q", length) + rest)
    assert read_or_refused(load_result, file) is None
    read_or_refused(nn.read_weights, file)


def test_damaged_checkpoints_of_torch(tmp_path):
    state = io.BytesIO()
    torch.save({"weight": torch.arange(12.).view(3, 4), "names": ["a", "b"]}, state)
    file = tmp_path/"w.pth"

    @fuzz
    @given(damaged(state.getvalue()))
    def attempt(data):
        file.write_bytes(data)
        read_or_refused(nn.read_weights, file)
    attempt()


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    ball = worlds.sample_family("table", 1, np.random.default_rng(0))[0].mesh()
    for name in ("m.ply", "m.obj"):
        mesh.write_mesh(folder/name, ball)
    ascii_ply = ("ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
                 "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    return {".ply": (folder/"m.ply").read_bytes(), ".obj": (folder/"m.obj").read_bytes()[:2000],
            "ascii.ply": ascii_ply.encode()}


@pytest.mark.parametrize("kind", [".ply", ".obj", "ascii.ply"])
def test_damaged_meshes(tmp_path, meshes, kind):
    file = tmp_path/f"m{kind}"

    @fuzz
    @given(damaged(meshes[kind]))
    def attempt(data):
        file.write_bytes(data)
        found = read_or_refused(mesh.read_mesh, file)
        if found is not None:
            assert (torch.isfinite(found.vertices).all() and found.faces.min() >= 0
                    and found.faces.max() < len(found.vertices))
    attempt()


@pytest.mark.parametrize("reader", ["read_sdf_samples", "read_normalization"])
def test_damaged_archives_of_arrays(tmp_path, reader):
    inside = {"read_sdf_samples": dict(pos=np.ones((5, 4)), neg=-np.ones((4, 4))),
              "read_normalization": dict(offset=np.zeros(3), scale=np.ones(1))}[reader]
    whole = io.BytesIO()
    np.savez(whole, **inside)
    top = "SdfSamples" if reader == "read_sdf_samples" else "NormalizationParameters"
    folder = tmp_path/top/"d"/"s"
    folder.mkdir(parents=True)

    @fuzz
    @given(damaged(whole.getvalue()))
    def attempt(data):
        (folder/"m.npz").write_bytes(data)
        found = read_or_refused(getattr(worlds, reader), tmp_path, "d", "s", "m")
        if found is not None and reader == "read_sdf_samples":
            assert torch.isfinite(found.pos).all() and (found.neg[:, 3] <= 1e-6).all()
    attempt()


@fuzz
@given(st.binary(max_size=200) | anything.map(lambda v: json.dumps(v).encode("utf-8", "surrogatepass")))
def test_splits(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp()/"split.json"
    file.write_bytes(data)
    found = read_or_refused(worlds.read_split, file)
    assert found is None or all(isinstance(m, str) for *_, m in found)


def wav(rate=16000, channels=2, count=400, declared=None, kind=1, bits=16):
    "A wav file; `declared` is the length its header claims for the samples."
    data = (np.sin(np.arange(count*channels))*3000).astype({16: "<i2", 32: "<f4"}[bits]).tobytes()
    size = len(data) if declared is None else declared
    head = b"fmt " + struct.pack("<IHHIIHH", 16, kind, channels, rate, (rate*channels*bits//8) % 2**32,
                                 channels*bits//8, bits)
    return (b"RIFF" + struct.pack("<I", (20 + len(head) + size) % 2**32) + b"WAVE" + head + b"data"
            + struct.pack("<I", size) + data)


def heard(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("sound")/"a.wav"
    path.write_bytes(data)
    return read_or_refused(sounds._read_wav, path, 2, 16000)


@fuzz
@given(damaged(wav()) | damaged(wav(44100, 4, 300, bits=32, kind=3)))
def test_damaged_sounds(tmp_path_factory, data):
    sound = heard(tmp_path_factory, data)
    assert sound is None or sound.shape[0] == 2 and np.isfinite(sound).all() and sound.size < 10**7


@pytest.mark.parametrize("rate", [0, 1, 999, 384001, 2**31 - 1, 2**32 - 1])
def test_a_sound_whose_header_lies_about_its_rate_is_refused(tmp_path_factory, rate):
    assert heard(tmp_path_factory, wav(rate)) is None


@pytest.mark.parametrize("declared", [0, 1, 2**31 - 1, 2**32 - 1])
def test_a_sound_whose_header_lies_about_its_length_gives_what_is_there_or_is_refused(tmp_path_factory, declared):
    sound = heard(tmp_path_factory, wav(declared=declared))
    assert sound is None or sound.shape[0] == 2 and sound.shape[1] <= 400


def test_the_sound_that_is_damaged_above_is_a_good_one(tmp_path_factory):
    assert (heard(tmp_path_factory, wav()).shape == (2, 400)
            and heard(tmp_path_factory, wav(44100, 4, 441, bits=32, kind=3)).shape == (2, 160))
