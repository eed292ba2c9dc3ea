"""What every network of every paper keeps: no convolution of kernel 1 with a stride, float32 where there is no GPU.

The first covers every profile, because it reads the code: a convolution's kernel stands there as a number, or it is
one of the places in `REVIEWED`, which are built here at the sizes of every profile. Beside it, `conftest.py` refuses
such a convolution in whatever any test builds, released checkpoints at full size included."""
import ast
import importlib

import pytest
import torch
from torch import nn

from paper_kit.kit.nn import Residual, UNet
from paper_kit.kit.stages import profiles

from helpers import ROOT

MODULES = sorted(p for p in (ROOT/"paper_kit").glob("*/*.py") if not p.name.startswith("_"))
LAYERS = {f"{lazy}Conv{kind}{d}d" for lazy in ("", "Lazy") for kind in ("", "Transpose") for d in (1, 2, 3)}
FUNCTIONS = {f"conv{kind}{d}d" for kind in ("", "_transpose") for d in (1, 2, 3)} | {"convolution"}

# (module, expression): why its kernel is above 1 where its stride is. The layers are built below, at every profile.
REVIEWED = {
    ("nn", "nn.Conv2d(channels[i], channels[i + 1], size, step, size // 2, bias=False)"): "size 1 goes with step 1",
    ("inverse_compositional", "nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)"):
        "FLOWNET, SMALL_FLOWNET",
    ("semantic_2d3d2d", "nn.Conv2d(channels, channels, first, first)"): "the stride is the kernel",
    ("ss3d_point_clouds", "nn.Conv2d(a, b, kernel, 2, kernel // 2)"): "3 or 5",
    ("mpi_extrapolation", "F.conv2d(x * known, self.conv.weight, None, self.conv.stride, 1)"): "a layer of kernel 3",
    ("cascaded_projection", "F.conv2d(x[:, :, ::step, ::step], *self.projected(inner, outer), self.conv.stride, "
                            "self.conv.padding)"): "layers of kernel 3; those of kernel 1 are Pointwise, of stride 1",
    ("stylegan", "F.conv_transpose2d(x, four_shifts(w.flip(2, 3)).transpose(0, 1), stride=2, padding=1)"):
        "kernel 4",
    ("stylegan", "F.conv2d(x, four_shifts(w) / 4, stride=2, padding=1)"): "kernel 4",
}
# Where a layer is chosen by a name first. Those of ga_net are called in one place, whose kernels are 3, 4 or 5 at every
# size; its tests build all of them.
NAMED = {(module, f"nn.Conv{kind}{d}d") for module in ("nn", "ga_net") for kind in ("", "Transpose") for d in (2, 3)}


def ones(node):
    "Whether an expression is the number 1, or a tuple of it; None where it is no number."
    if isinstance(node, ast.Constant) and isinstance(node.value, int): return node.value == 1
    if isinstance(node, (ast.Tuple, ast.List)):
        inside = [ones(e) for e in node.elts]
        return False if False in inside else None if None in inside else True
    return None


def suspects(tree):
    "Expressions that may be a convolution of kernel 1 and stride above 1; those that name a layer without calling it."
    called, found, loose = set(), [], []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call): continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        called.add(id(node.func))
        if name == "isinstance": called |= {id(n) for n in ast.walk(node)}
        if name not in LAYERS | FUNCTIONS: continue
        place = 3 - name.startswith("Lazy")
        stride = next((k.value for k in node.keywords if k.arg == "stride"), None)
        stride = stride or (node.args[place] if len(node.args) > place else None)
        if name in LAYERS:
            kernel = next((k.value for k in node.keywords if k.arg == "kernel_size"), None)
            kernel = kernel or (node.args[place - 1] if len(node.args) > place - 1 else None)
            if kernel is not None and ones(kernel) is False: continue
        if stride is not None and ones(stride) is not True or any(k.arg is None for k in node.keywords):
            found.append(ast.unparse(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef): called |= {id(n) for base in node.bases for n in ast.walk(base)}
        if isinstance(node, ast.arg) and node.annotation: called |= {id(n) for n in ast.walk(node.annotation)}
    for node in ast.walk(tree):
        name = getattr(node, "attr", getattr(node, "id", ""))
        if isinstance(node, (ast.Attribute, ast.Name)) and name in LAYERS and id(node) not in called:
            loose.append(ast.unparse(node))
    return found, loose


@pytest.mark.parametrize("code, caught", [
    ("nn.Conv2d(4, 8, 1, 2)", True), ("nn.Conv2d(4, 8, 1, stride=2)", True), ("nn.Conv2d(a, b, k, s)", True),
    ("nn.Conv2d(4, 8, kernel_size=1, stride=s)", True), ("nn.Conv3d(4, 4, (1, 1, 1), (1, 2, 2))", True),
    ("torch.nn.ConvTranspose2d(4, 4, 1, 2, 0, 1)", True), ("nn.LazyConv2d(8, 1, 2)", True),
    ("F.conv2d(x, w, None, 2)", True), ("nn.Conv2d(4, 8, **options)", True), ("nn.Conv2d(4, 8, 1)", False),
    ("nn.Conv2d(4, 8, 3, 2)", False), ("nn.Conv2d(4, 8, k)", False), ("nn.Conv1d(4, 8, (1,), 1)", False),
    ("F.conv2d(x, w)", False), ("nn.ConvTranspose2d(4, 4, 2, 2)", False), ("nn.Conv2d(4, 8, (1, 3), 2)", False)])
def test_the_reading_catches_what_it_should(code, caught):
    assert bool(suspects(ast.parse(code))[0]) == caught


def test_a_layer_that_is_named_and_not_called_is_seen():
    assert suspects(ast.parse("layer = nn.Conv2d\nlayer(4, 8, 1, 2)"))[1] == ["nn.Conv2d"]
    assert suspects(ast.parse("class A(nn.Conv2d): pass\nisinstance(m, (nn.Conv2d, nn.Conv3d))"))[1] == []


def test_no_network_convolves_single_pixels_with_a_stride():
    seen, loose = set(), set()
    for path in MODULES:
        found, named = suspects(ast.parse(path.read_text()))
        seen |= {(path.stem, expression) for expression in found}
        loose |= {(path.stem, name) for name in named}
    assert seen - REVIEWED.keys() == set(), "use kit.nn's Pointwise or PointwiseTranspose, or say in REVIEWED why not"
    assert loose - NAMED == set(), "call the layer where it is named, so that its kernel can be read"
    assert REVIEWED.keys() - seen == set() and NAMED - loose == set(), "no longer there: take it out of the list"


def test_conftest_refuses_it_in_anything_that_is_built():
    nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(4, 8, (1, 3), stride=2)
    for layer in (lambda: nn.Conv2d(4, 8, 1, stride=2), lambda: nn.ConvTranspose2d(4, 4, 1, 2, 0, 1),
                  lambda: nn.Conv3d(4, 4, 1, (1, 1, 2))):
        with pytest.raises(AssertionError, match="kernel 1"):
            layer()


@pytest.mark.parametrize("profile", profiles)
def test_what_cannot_be_read_is_built_at_every_profile(profile):
    "The reviewed layers: `conftest.py` refuses those of kernel 1 and stride 2."
    inverse, semantic, views = (importlib.import_module(f"paper_kit.{name}") for name in (
        "matching.inverse_compositional", "shape3d.semantic_2d3d2d", "shape3d.ss3d_point_clouds"))
    with torch.device("meta"):
        for stride in (1, 2):
            for bottleneck in (False, True): Residual(8, 16, stride, bottleneck, nn.BatchNorm2d)
        for layers in (inverse.FLOWNET, inverse.SMALL_FLOWNET): inverse.PoseCNN(layers)
        assert all(size > 1 for layers in (inverse.FLOWNET, inverse.SMALL_FLOWNET) for _, size, _ in layers)
        for grid in {1, 2, 4, 8, semantic.SIZES[profile]["size"]//32}: semantic.head(16, grid, 3)
        for last in (3, 5): views.ReconstructionNet(last=last), views.PoseNet(last=last)
        for d in (2, 3): UNet(1, 1, dimensions=d, width=4, depth=2)


HALF = {"bf16", "fp16"}


def outside_gpu(tree):
    "Half precision that is asked for anywhere but under the key \"gpu\"."
    allowed, found = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if getattr(key, "value", None) == "gpu": allowed |= {id(n) for n in ast.walk(value)}
        if isinstance(node, ast.Call):
            allowed |= {id(n) for k in node.keywords if k.arg == "gpu" for n in ast.walk(k.value)}
            off = any(k.arg == "enabled" and getattr(k.value, "value", None) is False for k in node.keywords)
            if getattr(node.func, "attr", "") == "autocast" and not off: found.append(ast.unparse(node))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in allowed: continue
        if node.value in HALF: found.append(node.value)
    return found


@pytest.mark.parametrize("code, caught", [
    ('S = {"cpu": {"precision": "bf16"}}', True), ('S = {"gpu": {"precision": "bf16"}}', False),
    ('run.pick(cpu="bf16")', True), ('run.pick(smoke="float32", gpu="bf16")', False),
    ('torch.autocast("cpu")', True), ('torch.autocast("cpu", enabled=False)', False)])
def test_the_search_for_half_precision_finds_it(code, caught):
    assert bool(outside_gpu(ast.parse(code))) == caught


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name != "kit"], ids=lambda p: p.stem)
def test_papers_train_in_half_precision_on_a_gpu_only(path):
    found = outside_gpu(ast.parse(path.read_text()))
    assert found == [], "where a processor has no bf16 arithmetic, it is ten times slower and gives other numbers"
