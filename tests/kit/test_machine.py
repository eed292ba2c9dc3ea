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
    done = subprocess.run([sys.executable, *before, "-c", code], env=clean | environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


MAKER = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("vendor_id")), "unknown")
PINNED = {"GenuineIntel": "AVX2", "AuthenticAMD": "AVX2 on AMD"}.get(MAKER, f"AVX2 on {MAKER}")
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
    assert python(WHICH) == PINNED
    assert python(WHICH, PAPER_KIT_ISA="native").startswith("native")
    assert python(WHICH, ATEN_CPU_CAPABILITY="default") == "native: DEFAULT"
    assert python("import numpy; " + WHICH).startswith("native"), "NumPy was there before the pin"
    assert python("import torch; " + WHICH).startswith("native"), "and PyTorch brings it along"


@pytest.mark.parametrize("vendor, name", [("GenuineIntel", "AVX2"), ("AuthenticAMD", "AVX2 on AMD"),
                                          ("HygonGenuine", "AVX2 on HygonGenuine"), (None, "AVX2 on unknown")])
def test_the_maker_is_named_where_mkl_does_not_take_the_pin(monkeypatch, vendor, name):
    monkeypatch.setattr(machine, "_processor", lambda: {"vendor_id": vendor} if vendor else {})
    assert "AVX2" + machine._maker() == name


@needs_avx2
def test_a_notebook_and_a_stage_process_are_pinned_and_their_records_say_so(demo, monkeypatch):
    for name in pins: monkeypatch.delenv(name, raising=False)
    record = run("demo", root=demo)
    assert record["versions"]["instructions"] == PINNED == record["stages"][0]["versions"]["instructions"]
    monkeypatch.setenv("PAPER_KIT_ISA", "native")
    assert run("demo", root=demo)["versions"]["instructions"].startswith("native")
    code = """import runpy, sys
sys.argv = ["stages", "nothing"]
try: runpy.run_module("paper_kit.kit.stages", run_name="__main__")
except SystemExit: pass
from paper_kit.kit.machine import instruction_set
print(instruction_set())"""
    assert python(code).splitlines()[-1] == PINNED


@needs_avx2
def test_a_kernel_that_someone_else_started_is_pinned_by_the_first_import():
    imports = "from paper_kit.kit.paper import Paper; from paper_kit.kit.machine import instruction_set; "
    assert python(imports + "print(instruction_set())") == PINNED


@needs_avx2
def test_a_command_is_started_with_the_pin():
    tell = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    done = subprocess.run([sys.executable, "-m", "paper_kit.kit.machine", *tell], cwd=ROOT,
                          capture_output=True, text=True,
                          env={n: v for n, v in os.environ.items() if n not in pins})
    assert pins.items() <= json.loads(done.stdout).items()


WORK = """
import hashlib, numpy as np, torch
torch.set_num_threads(1); torch.manual_seed(0)
found = hashlib.sha256()
from torch.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Flatten, Linear, ReLU, Sequential, Softplus
net = Sequential(Conv2d(3, 12, 3, 2, 1), BatchNorm2d(12), ReLU(), ConvTranspose2d(12, 3, 4, 2, 1),
                 Flatten(), Linear(768, 65), Softplus(), Linear(65, 1))
net.to(memory_format=torch.channels_last)
optimizer, x = torch.optim.Adam(net.parameters()), torch.randn(8, 3, 16, 16)
for _ in range(10):
    optimizer.zero_grad(); net(x).square().sum().backward(); optimizer.step()
for p in net.parameters(): found.update(p.detach().numpy().tobytes())
a = np.random.default_rng(0).standard_normal((90, 90))
b, t = a.astype("f4"), torch.from_numpy(a)
for v in (a @ a, b @ b, np.linalg.svd(a)[1], np.exp(a), np.sin(b), a.sum(0)): found.update(v.tobytes())
for v in (torch.linalg.svd(t)[1], t.exp(), torch.fft.rfft(t).real): found.update(v.contiguous().numpy().tobytes())
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
