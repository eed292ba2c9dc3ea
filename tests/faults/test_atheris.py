"""Readers under coverage-guided fuzzing, where atheris installs: an input is read, or refused with our error."""
import io
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import MANIFEST, ROOT
from test_fuzz import RECORD, stored, wav

TARGET = """
import atheris, sys, numpy, scipy.signal, torch, yaml
from pathlib import Path
with atheris.instrument_imports(include=["paper_kit"], enable_loader_override=False):
    from paper_kit.kit.files import PaperKitError
    {load}
file = Path(sys.argv[1])
def one(data):
    file.write_bytes(data)
    try: read(file)
    except PaperKitError: pass
atheris.Setup([sys.argv[0]] + sys.argv[2:], one)
atheris.Fuzz()
"""


def ply():
    return (b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty "
            b"float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n") \
           + struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<B3i", 3, 0, 1, 2)


def weights(folder):
    whole = io.BytesIO()
    torch.save({"weight": torch.arange(4.)}, whole)
    return whole.getvalue()


READERS = {
    "manifest.yaml": ("from paper_kit.kit.paper import load_manifest as read", lambda folder: MANIFEST.encode()),
    "record.json": ("from paper_kit.kit.paper import load_record as read", lambda folder: json.dumps(RECORD).encode()),
    "stage.safetensors": ("from paper_kit.kit.stages import load_result as read",
                          lambda folder: stored({"a": torch.arange(3.), "b": [1, "two", np.ones(2)]}, folder)),
    "weights.pth": ("from paper_kit.kit.nn import read_weights as read", weights),
    "mesh.ply": ("from paper_kit.kit.mesh import read_mesh as read", lambda folder: ply()),
    "mesh.obj": ("from paper_kit.kit.mesh import read_mesh as read",
                 lambda folder: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"),
    "sound.wav": ("from paper_kit.video.worlds import _read_wav; read = lambda f: _read_wav(f, 2, 16000)",
                  lambda folder: wav(count=50)),
    "split.json": ("from paper_kit.shape3d.worlds import read_split as read",
                   lambda folder: b'{"ShapeNetV2": {"02691156": ["a", "b"]}}'),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_or_refuses(tmp_path, name):
    pytest.importorskip("atheris", reason="atheris does not install here")
    load, example = READERS[name]
    corpus, script = tmp_path/"corpus", tmp_path/"target.py"
    corpus.mkdir()
    (corpus/"whole").write_bytes(example(tmp_path))
    script.write_text(TARGET.format(load=load))
    done = subprocess.run([sys.executable, str(script), str(tmp_path/name), "-seed=1",
                           f"-runs={os.environ.get('FUZZ_RUNS', 3000)}",
                           f"-max_total_time={os.environ.get('FUZZ_SECONDS', 6)}", "-timeout=10",
                           "-rss_limit_mb=4096", "-max_len=4096", f"-artifact_prefix={tmp_path}/", str(corpus)],
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, cwd=tmp_path,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert int(done.stderr.split("Done ")[1].split()[0]) > 20, "hardly an input was tried"
