import json
import os
import subprocess
import sys

import pytest

from paper_kit.kit import machine
from paper_kit.kit.machine import has_avx2, pinned, pins
from paper_kit.kit.workflow import run

from helpers import ROOT

needs_avx2 = pytest.mark.skipif(not has_avx2(), reason="this processor has no AVX2: nothing is pinned")


def python(code, *before, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in pins and name != "PAPER_KIT_ISA"}
    done = subprocess.run([sys.executable, *before, "-c", code], env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WHICH = "from paper_kit.kit.machine import *; pin(); print(instruction_set())"


def test_nothing_is_pinned_where_it_would_not_run(monkeypatch):
    monkeypatch.setattr(machine, "has_avx2", lambda: False)
    assert pinned({}) == {}


@needs_avx2
def test_what_is_set_already_stays_and_native_pins_nothing():
    assert pinned({}) == pins and pinned({"PAPER_KIT_ISA": "native"}) == {}
    assert pinned({"MKL_CBWR": "COMPATIBLE"}) == {name: value for name, value in pins.items() if name != "MKL_CBWR"}


@needs_avx2
def test_the_instruction_set_that_is_in_force_is_named():
    assert python(WHICH) == "AVX2"
    assert python(WHICH, PAPER_KIT_ISA="native").startswith("native")
    assert python(WHICH, ATEN_CPU_CAPABILITY="default") == "native: DEFAULT"
    assert python("import numpy; " + WHICH).startswith("native"), "NumPy was there before the pin"
    assert python("import torch; " + WHICH).startswith("native"), "and PyTorch brings it along"


@needs_avx2
def test_a_notebook_and_a_stage_process_are_pinned_and_their_records_say_so(demo, monkeypatch):
    for name in pins: monkeypatch.delenv(name, raising=False)
    record = run("demo", root=demo)
    assert record["versions"]["instructions"] == "AVX2" == record["stages"][0]["versions"]["instructions"]
    monkeypatch.setenv("PAPER_KIT_ISA", "native")
    assert run("demo", root=demo)["versions"]["instructions"].startswith("native")
    code = "import json, runpy, sys; sys.argv = ['stages', 'nothing']\ntry: runpy.run_module('paper_kit.kit.stages', run_name='__main__')\n" \
           "except SystemExit: pass\nfrom paper_kit.kit.machine import instruction_set; print(instruction_set())"
    assert python(code).splitlines()[-1] == "AVX2"


@needs_avx2
def test_a_kernel_that_someone_else_started_is_pinned_by_the_first_import():
    assert python("from paper_kit.kit.paper import Paper; from paper_kit.kit.machine import instruction_set; print(instruction_set())") == "AVX2"


@needs_avx2
def test_a_command_is_started_with_the_pin():
    done = subprocess.run([sys.executable, "-m", "paper_kit.kit.machine", sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
                          env={n: v for n, v in os.environ.items() if n not in pins}, cwd=ROOT, capture_output=True, text=True)
    assert pins.items() <= json.loads(done.stdout).items()


WORK = """
import hashlib, numpy as np, torch
torch.set_num_threads(1); torch.manual_seed(0)
found = hashlib.sha256()
net = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, 2, 1), torch.nn.BatchNorm2d(12), torch.nn.ReLU(), torch.nn.ConvTranspose2d(12, 3, 4, 2, 1),
                          torch.nn.Flatten(), torch.nn.Linear(768, 65), torch.nn.Softplus(), torch.nn.Linear(65, 1))
net.to(memory_format=torch.channels_last)
optimizer, x = torch.optim.Adam(net.parameters()), torch.randn(8, 3, 16, 16)
for _ in range(10):
    optimizer.zero_grad(); net(x).square().sum().backward(); optimizer.step()
for p in net.parameters(): found.update(p.detach().numpy().tobytes())
a = np.random.default_rng(0).standard_normal((90, 90))
for v in (a @ a, np.linalg.svd(a)[1], np.exp(a), np.sin(a.astype("f4")), a.astype("f4") @ a.astype("f4"), a.sum(0)): found.update(v.tobytes())
for v in (torch.linalg.svd(torch.from_numpy(a))[1], torch.from_numpy(a).exp(), torch.fft.rfft(torch.from_numpy(a)).real): found.update(v.contiguous().numpy().tobytes())
print(found.hexdigest())
"""


@needs_avx2
@pytest.mark.slow
def test_the_same_bits_with_and_without_wider_instructions():
    "What glibc may use is hidden from it; what the libraries find by themselves is held back by the pin."
    pinned_here = "from paper_kit.kit.machine import pin; pin()" + WORK
    hidden = ",".join(f"-{name}" for name in ("AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD"))
    assert python(pinned_here) == python(pinned_here, GLIBC_TUNABLES=f"glibc.cpu.hwcaps={hidden}")
    if "avx512f" in open("/proc/cpuinfo").read():
        assert python(pinned_here) != python(WORK), "this processor has AVX-512: without the pin the bits are others"
