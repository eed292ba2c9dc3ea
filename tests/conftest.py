"""Fixtures of all tests: the project's root, a copy of it that may be broken, and a small project of one paper."""
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from helpers import MANIFEST, ROOT, Clone, chromium, copy_project, notebook

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PAPER_KIT_ROOT"] = str(ROOT)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def refuse_strided_pointwise():
    "No test builds a convolution of kernel 1 with a stride: its backward pass writes out of bounds on some processors."
    from torch.nn.modules.conv import _ConvNd
    build = _ConvNd.__init__

    def checked(self, *arguments, **named):
        build(self, *arguments, **named)
        assert set(self.kernel_size) != {1} or set(self.stride) == {1}, (
            f"{type(self).__name__} of kernel 1 and stride {self.stride}: use kit.nn's Pointwise or PointwiseTranspose")
    _ConvNd.__init__ = checked
    yield
    _ConvNd.__init__ = build


@pytest.fixture(scope="session")
def browser():
    "Headless Chromium, where k3d can draw."
    from playwright.sync_api import sync_playwright
    arguments = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                 "--disable-background-networking",
                 "--disable-component-update"]
    with sync_playwright() as p:
        running = p.chromium.launch(executable_path=chromium(), args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def digests():
    "The file of the working tree's digests, brought up to date; each entry holds the hashes of all it was made of."
    from paper_kit.kit.records import status
    status(ROOT)
    return ROOT/"runs"/"digests.json"


@pytest.fixture
def clone(tmp_path, digests):
    "A copy of the project that may be changed, and `clone.run(...)` for its commands."
    root = copy_project(tmp_path/"clone")
    (root/"runs").mkdir()
    if digests.is_file(): shutil.copy(digests, root/"runs")          # else each copy computes them all again
    return Clone(root)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    "A project of one small paper, `demo`, beside the real package; its root."
    where = tmp_path/"project"
    for name in ("settings.ini", "data/catalogue.yaml"):
        (where/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/name, where/name)
    (where/"nbs/learning").mkdir(parents=True)
    (where/"data/papers").mkdir()
    (where/"nbs/learning/demo.ipynb").write_text(notebook())
    (where/"data/papers/demo.yaml").write_text(MANIFEST)
    monkeypatch.setenv("PAPER_KIT_ROOT", str(where))
    return where
