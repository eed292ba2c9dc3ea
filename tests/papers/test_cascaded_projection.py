"""What the notebook of cascaded_projection cannot hold: hand-computed checks, predicates that must fail, bad inputs."""
import io
import math
import pickle
import struct

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.nn import parameter_count
from paper_kit.kit.paper import load_manifest
from paper_kit.learning import cascaded_projection as c

CHAIN = {"kind": "vgg", "widths": (4, 4, 6, 6), "pools": (1,)}
SMALL = {"kind": "resnet", "counts": (1, 1), "widths": (4, 6), "skip": "pad"}


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def net_of(spec, seed=0, classes=5):
    with c.seeded(seed): return c.build(spec, classes, norm=False).eval()


def data_of(n=24, size=8): return {"x": random(n, 3, size, size).sigmoid(), "y": torch.arange(n) % 5}


# ---- the manifest and the predicates

def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(ROOT/"data"/"papers"/"cascaded_projection.yaml")
    assert set(c.predicates) == {claim["id"] for claim in manifest["claims"]} >= set(manifest.expected("claims"))
    assert callable(c.stages)


def FIVE(x): return (x + np.random.default_rng(int(100*x)).uniform(-0.05, 0.05, 5)).tolist()


DOWN = [[float(v) for v in np.linspace(5, 1, 8)] + [1.0]*6]
CURVES = {f"validation of {m}": DOWN for m in ("CaP", "CP", "PFEC", "random", "scratch", "PCA")}
GOOD = {
    "C1": {k: FIVE(90.0) for k in ("CaP", "CaP, mild", "CaP, strong")} | {
        k: FIVE(80.0) for k in ("CP", "PFEC", "CP, no steps", "PFEC, no steps", "CP, mild", "CP, strong", "PFEC, mild",
                                "PFEC, strong")} | CURVES,
    "C2": {"projection and relaxation": FIVE(80.0), "projection only": FIVE(70.0), "random and relaxation": FIVE(60.0),
           "from scratch": FIVE(75.0)} | CURVES,
    "C4": {"median drop at half": FIVE(0.3), "error at 70 percent": FIVE(1.2), "error at 99 percent": FIVE(9.0),
           "rank correlation with depth": FIVE(0.5)},
    "C5": {"best mixture": FIVE(80.0), "reconstruction alone": FIVE(70.0), "classification alone": FIVE(70.0)},
    "C6": {"together": FIVE(80.0), "greedy": FIVE(70.0), "two rounds, loss": FIVE(1.0), "one round, loss": FIVE(2.0)},
    "C7": {"largest entry of P'P - I": [1e-6], "gradient off finite differences": [1e-9], "excess over PCA": [1e-6]},
    "C8": {"projected minus pruned": [1e-9], "optimised loss over pruned loss": [0.5]},
    "C9": {"ResNet-56": 0.5017652, "ResNet-110": 0.5008759},
    "C10": {"CaP, loss of top-5": FIVE(1.0), "CP, loss of top-5": FIVE(1.7)},
    "C11": {f"drop of {m}, {ft}": FIVE(1.0 if m == "CaP" else 3.0)
            for m in ("CaP", "PFEC", "CP", "SFP") for ft in "NY"},
    "C12": {f"time, {m}": FIVE(1.0 if m == "CaP" else 2.0)
            for m in ("CaP", "channel pruning", "separable", "Tucker", "asymmetric")},
    "E1": {"CaP": FIVE(80.0), "PCA": FIVE(70.0), "random": FIVE(60.0)} | CURVES,
    "E2": {"time, CaP": FIVE(10.0), "time, channel pruning": FIVE(10.1)}}
BAD = {"C1": ("CP, no steps", FIVE(95.0)), "C2": ("from scratch", FIVE(85.0)), "C4": ("median drop at half", FIVE(4.0)),
       "C5": ("classification alone", FIVE(85.0)), "C6": ("one round, loss", FIVE(0.5)),
       "C7": ("excess over PCA", [0.1]), "C8": ("optimised loss over pruned loss", [1.2]), "C9": ("ResNet-56", 0.5),
       "C10": ("CaP, loss of top-5", FIVE(2.5)), "C11": ("drop of SFP, Y", FIVE(0.2)),
       "C12": ("time, channel pruning", (np.array(FIVE(1.0))*(1.0, 1.002, 0.998, 1.004, 0.999)).tolist()),
       "E1": ("PCA", FIVE(85.0)), "E2": ("time, CaP", FIVE(8.0))}


@pytest.mark.parametrize("claim", sorted(GOOD))
def test_predicates_hold_on_numbers_that_must_hold_and_fail_on_others(claim):
    assert c.predicates[claim].evaluate(GOOD[claim]).verdict == "holds"
    name, numbers = BAD[claim]
    assert c.predicates[claim].evaluate(GOOD[claim] | {name: numbers}).verdict == "fails"


def test_what_counts_as_diverged():
    run = {"projecting": [2.0, 1.0], "start": 1.5}
    assert c.diverged(run) == 0.0
    for curve in ([2.0, math.inf], [2.0, math.nan], [1.0, 1.6]): assert c.diverged(run | {"projecting": curve}) == 1.0


def test_counts_of_memory_and_flops():
    three, nine = c.cost_values()
    assert c.predicates["C3"].evaluate(three).verdict == "holds"
    assert c.predicates["C9"].evaluate(nine).verdict == "holds"
    assert c.predicates["C3"].evaluate(three | {"memory, CaP": 9.0}).verdict == "fails"


# ---- the proxy matrix

def test_the_gradient_of_the_polar_factor_also_at_an_orthonormal_start():
    X = random(6, 3, dtype=torch.float64)
    for Y in (X, c.polar(X)):
        assert torch.autograd.gradcheck(c.polar, (Y.clone().requires_grad_(),))
    P = c.polar(X.float())
    assert (P.mT @ P - torch.eye(3)).abs().max() < 1e-6 and torch.allclose(c.polar(2*X), c.polar(X))
    found = c.gradient_errors(0)
    assert max(found["closed form, orthonormal"] + found["closed form, random"]) < 1e-6
    assert min(found["SVD, orthonormal"]) > 0.01 and max(found["SVD, random"]) < 1e-6
    assert min(found["Eq 13, random"]) > 0.1


def test_the_proxy_reaches_the_closed_form_from_random_starts():
    y = random(200, 8, dtype=torch.float64) @ torch.diag(torch.linspace(3, 0.2, 8).double())
    found = c.linear_stage(y, 3, 800, 0, starts=2)
    assert max(found["excess"]) < 1e-3 and min(found["excess"]) > -1e-9 and max(found["orthonormality"]) < 1e-12
    P = c.pca(y, 3)
    rest = torch.linalg.eigvalsh(y.mT @ y)[:5].sum()
    assert float(c.single_layer_error(y, P)) == pytest.approx(float(rest), rel=1e-9)


# ---- cascaded projection

@pytest.mark.parametrize("spec", [CHAIN, SMALL, SMALL | {"bottleneck": True, "skip": "project"}])
def test_projected_and_cascaded_agree_and_a_permutation_changes_nothing(spec):
    net, x = net_of(spec).double(), random(3, 3, 8, 8, dtype=torch.float64)
    width = lambda k: len(net.blocks[k[0]].layers[k[1]].conv.weight)
    P = {k: c.polar(random(width(k), r, dtype=torch.float64)) for k, r in c.widths_at(spec, 0.5).items()}
    taps = dict.fromkeys(c.places(net, list(P), branches=True))
    assert torch.allclose(net(x, P, taps), c.cascaded(net, P)(x), atol=1e-10)
    full = dict.fromkeys(taps)
    net(x, taps=full)
    assert all(taps[k].shape == full[k].shape for k in taps)
    turn = {k: torch.eye(width(k), dtype=torch.float64)[:, torch.randperm(width(k))] for k in c.compressible(spec)}
    assert torch.allclose(c.cascaded(net, turn)(x), net(x), atol=1e-10)
    spin = {k: c.polar(random(width(k), width(k), dtype=torch.float64)) for k in c.compressible(spec)}
    assert (c.cascaded(net, spin)(x) - net(x)).abs().max() > 1e-3


def test_folding_changes_nothing_and_projection_gives_gradients():
    with c.seeded(1): net = c.build(SMALL, 5)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(), m.running_var.uniform_(0.5, 2)
            m.weight.data.uniform_(0.5, 2), m.bias.data.normal_()
    x = random(2, 3, 8, 8)
    assert torch.allclose(c.folded(net)(x), net.eval()(x), atol=1e-4)
    flat, data = c.folded(net), data_of()
    start = c.start_of(flat, c.widths_at(SMALL, 0.5), "random", data["x"], 0)
    P, told = c.learned_projections(flat, start, data, 4, 0, batch=8)
    assert told["orthonormality"] < 1e-5 and any((P[k] - start[k]).abs().max() > 1e-5 for k in P)
    assert c.rounds_of([(1, 0), (1, 1), (2, 0)], "odd and even") == [[(1, 0), (2, 0)], [(1, 1)]]
    with pytest.raises(PaperKitError, match="order"): c.rounds_of([], "backwards")


# ---- costs and sizes

def test_published_counts():
    vgg = c.spec_costs(c.VGG16, 1000, 224)
    assert vgg["parameters"] == 14_710_464 and vgg["flops"] == 30_940_528_640
    assert vgg["memory"] == pytest.approx(3.38688)
    with torch.device("meta"):
        found = [parameter_count(c.build(*args)) for args in (
            (c.RESNET18, 100), (c.RESNET18, 100, c.widths_at(c.RESNET18, 0.5)), (c.RESNET56, 10), (c.RESNET110, 10))]
        net = c.build(c.RESNET56, 10)
        with FlopCounterMode(display=False) as counter: net(torch.empty(1, 3, 32, 32))
    assert found == [11_220_132, 5_725_476, 853_018, 1_727_962]
    assert counter.get_total_flops() == c.spec_costs(c.RESNET56, 10, 32)["flops"]
    assert c.chain_ratios() == pytest.approx({"cascaded": 0.25, "factorised": 0.5 + 1/18})
    with pytest.raises(PaperKitError, match="never compressed"): c.build(SMALL, 5, {(1, 1): 2})


def test_a_step_of_the_gpu_configuration():
    s = c.SIZES["gpu"]
    net = net_of(c.RESNET56, classes=100)
    start = c.start_of(net, c.widths_at(s["main"], 0.5), "norm", torch.rand(2, 3, 32, 32), 0)
    P, _ = c.learned_projections(net, start, {"x": torch.rand(2, 3, 32, 32), "y": torch.tensor([0, 1])}, 1, 0, batch=2)
    assert len(P) == 27 and all(p.shape[1]*2 == p.shape[0] for p in P.values())


# ---- rivals

def test_selections_by_hand():
    layer = c.Layer(1, 3, norm=False)
    layer.conv.weight.data = torch.tensor([1.0, -3.0, 2.0])[:, None, None, None].expand(3, 1, 3, 3).clone()
    assert sorted(c.by_norm(layer, 2)) == [1, 2]
    G = torch.diag(torch.tensor([4.0, 1.0, 9.0]))
    assert c.by_greed(G, 2) == [0, 2] and c.by_lasso(G, torch.tensor([4.0, 1.0, 9.0]), 2) == [0, 2]
    x, w = random(40, 3, dtype=torch.float64), random(3, 2, seed=1, dtype=torch.float64)
    assert torch.allclose(c.least_squares(x, x @ w, 1e-12), w.float(), atol=1e-5)


@pytest.mark.parametrize("spec", [CHAIN, SMALL])
def test_pruning_at_full_rank_changes_nothing_and_least_squares_helps(spec):
    net, x = net_of(spec), data_of(40)["x"]
    full = {k: len(net.blocks[k[0]].layers[k[1]].conv.weight) for k in c.compressible(spec)}
    for method in ("PFEC", "CP", "ThiNet"):
        assert torch.allclose(c.pruned(net, full, x, method, 0)(x), net(x), atol=2e-2), method
        assert c.pruned(net, c.widths_at(spec, 0.5), x, method, 0)(x).isfinite().all()
    with pytest.raises(PaperKitError, match="pruning"): c.pruned(net, full, x, "magic", 0)
    soft = c.soft_pruned(net, c.widths_at(spec, 0.5), data_of(), 3, 0, every=1, batch=8)
    assert c.costs(soft, 8)["flops"] == c.costs(c.pruned(net, c.widths_at(spec, 0.5), x, "PFEC", 0), 8)["flops"]


def test_factorisations_at_full_rank_give_the_layer_back():
    layer, x = c.Layer(4, 4, norm=False, relu=False), random(2, 4, 6, 6)
    assert torch.allclose(c.separable(layer, 12)(x), layer(x), atol=1e-4)
    assert torch.allclose(c.tucker(layer, 4, 4)(x), layer(x), atol=1e-4)
    y = layer(random(30, 4, 6, 6)).permute(0, 2, 3, 1).flatten(0, 2).detach()
    assert torch.allclose(c.asymmetric(layer, y, y, 4)(x), layer(x), atol=2e-2)
    net = net_of(CHAIN)
    for method in ("separable", "Tucker", "asymmetric"):
        assert c.factorised(net, 0.5, method, random(4, 3, 8, 8))(random(2, 3, 8, 8)).isfinite().all()
        share = c.matched_share(net, method, 1e5, 8)
        assert c.split_costs(net, share, method, 8)["flops"] <= 1e5
    with pytest.raises(PaperKitError, match="factorisation"): c.factorised(net, 0.5, "magic")


# ---- the world and the real data

def test_the_area_of_an_outline_is_that_of_its_formula():
    n, g = 20, torch.Generator().manual_seed(0)
    bank, outline = torch.rand(2, 3, 96, 96), torch.arange(10).repeat(2)
    mask = c.pictures(outline, torch.zeros(n, dtype=torch.long), 40, bank, g, scales=(0.55, 0.5500001),
                      plain=True)["mask"]
    a = torch.tensor([o[1] for o in c.OUTLINES])[outline]
    wanted = math.pi*(1 + a*a/2)*(0.55*40)**2
    assert torch.allclose(mask.sum((1, 2, 3)), wanted, rtol=0.03)
    one, two = (c.split_of_world("train", 20, 8, 4, 4, s) for s in (0, 0))
    assert (one["x"] == two["x"]).all() and one["x"].shape == (20, 3, 8, 8) and int(one["y"].max()) < 16


class Python2(pickle._Pickler):
    "Writes bytes as Python 2 wrote its strings, which is how CIFAR is stored."
    dispatch = pickle._Pickler.dispatch | {bytes: lambda self, x: self.write(b"T" + struct.pack("<i", len(x)) + x)}


def python2(content):
    out = io.BytesIO()
    Python2(out, 2).dump(content)
    return out.getvalue()


def cifar(folder, change=None):
    base = folder/"cifar-10-batches-py"
    base.mkdir(exist_ok=True)
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = np.random.default_rng(k).integers(0, 255, (4, 3072), np.uint8)
        batch = {b"data": rows, b"labels": [0, 1, 9, k], b"batch_label": b"", b"filenames": [b"a"]*4}
        (base/name).write_bytes(python2(change(batch) if change and k == 2 else batch))


def test_cifar_is_read_from_a_miniature_of_its_layout(tmp_path):
    cifar(tmp_path)
    found = c.read_cifar(tmp_path)
    assert found["train"]["x"].shape == (20, 3, 32, 32) and found["test"]["y"].tolist() == [0, 1, 9, 5]
    rows = np.random.default_rng(0).integers(0, 255, (4, 3072), np.uint8)
    assert int(found["train"]["x"][0, 1, 0, 2]) == int(rows[0, 1026])
    for change in (lambda b: b | {b"data": b[b"data"][:, :9]}, lambda b: b | {b"labels": [0, 1, 12, 3]},
                   lambda b: b | {b"data": b[b"data"].astype(np.float32)*np.nan}, lambda b: {}):
        cifar(tmp_path, change)
        with pytest.raises(PaperKitError, match="data_batch_3"): c.read_cifar(tmp_path)
    (tmp_path/"cifar-10-batches-py"/"data_batch_3").unlink()
    with pytest.raises(PaperKitError, match="data_batch_3"): c.read_cifar(tmp_path)


def test_cifar_100_is_read_from_a_miniature_of_its_layout(tmp_path):
    base = tmp_path/"cifar-100-python"
    base.mkdir()
    for k, (name, n) in enumerate((("train", 6), ("test", 4))):
        rows = np.random.default_rng(k).integers(0, 255, (n, 3072), np.uint8)
        batch = {b"data": rows, b"fine_labels": [99 - i for i in range(n)], b"coarse_labels": [0]*n,
                 b"filenames": [b"a"]*n}
        (base/name).write_bytes(python2(batch))
    found = c.read_cifar(tmp_path, hundred=True)
    assert found["train"]["x"].shape == (6, 3, 32, 32) and found["test"]["y"].tolist() == [99, 98, 97, 96]
    with pytest.raises(PaperKitError, match="data_batch_1"): c.read_cifar(tmp_path)


def test_imagenet_pictures_are_cut_as_for_vgg(tmp_path):
    with pytest.raises(PaperKitError, match="ImageNet"): c.ImageNet(tmp_path)
    for name in ("n02", "n01"):
        (tmp_path/"val"/name).mkdir(parents=True)
        Image.fromarray(np.full((60, 90, 3), 255, np.uint8)).save(tmp_path/"val"/name/"a.JPEG")
    found = c.ImageNet(tmp_path)
    x, label = found[1]
    assert len(found) == 2 and label == 1 and x.shape == (3, 224, 224)
    assert float(x[0].mean()) == pytest.approx((1 - 0.485)/0.229, rel=1e-2)


def test_vgg16_is_read_as_torchvision_names_and_runs_it():
    "The state dict of torchvision's vgg16 in its order and shapes, with random numbers, against its Sequential."
    nn, layers, at = torch.nn, [], 3
    for width in (64, 64, "M", 128, 128, "M", *[256]*3, "M", *[512]*3, "M", *[512]*3, "M"):
        if width == "M": layers.append(nn.MaxPool2d(2, 2))
        else: layers, at = [*layers, nn.Conv2d(at, width, 3, padding=1), nn.ReLU()], width
    with c.seeded(0), torch.device("meta"):
        theirs = nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Sequential(
            nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, 1000))})
    theirs = theirs.to_empty(device="cpu").eval()
    with c.seeded(0), torch.no_grad():
        for p in theirs.parameters(): p.uniform_(-1, 1).mul_(2.0/max(1, p[0].numel())**0.5)
    state = theirs.state_dict()
    assert list(state)[:3] == ["features.0.weight", "features.0.bias", "features.2.weight"] and len(state) == 32
    assert sum(v.numel() for v in state.values()) == 138_357_544
    net, x = c.from_torchvision(state), random(1, 3, 224, 224)
    with torch.no_grad():
        wanted = theirs["classifier"](theirs["features"](x).flatten(1))
        assert torch.allclose(net(x), wanted, rtol=1e-3, atol=1e-4*float(wanted.abs().max()))


def test_vgg16_of_torchvision_and_methods_of_no_name():
    wrong = {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    with pytest.raises(PaperKitError): c.from_torchvision(wrong)
    with pytest.raises(PaperKitError, match="method"):
        c.method_stage({}, CHAIN, {}, "magic", 0.5, {}, 0)


def test_rates_are_chosen_where_error_is_cheap():
    errors = np.array([[0.5, 0.9], [0.01, 0.02], [0.5, 0.9]])
    goal = 0.8*c.spec_costs(CHAIN, 5, 8)["flops"]
    kept = c.chosen_rates(CHAIN, 5, 8, errors, (0.5, 0.75), goal)
    assert kept["0_1"] < 1 and kept["0_1"] == min(kept.values())
