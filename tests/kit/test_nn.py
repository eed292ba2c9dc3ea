import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.nn import (CoordinateMLP, FourierFeatures, FrozenBatchNorm, Pointwise, PointwiseTranspose, Residual,
                              ResNet, Sine, UNet, from_old_weight_norm, load_strict, nonlinearity, parameter_bytes,
                              parameter_count, seeded, to_old_weight_norm)

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


# torchvision's state dicts as facts: what is in front, and for each block its convolutions as (name, outputs, inputs,
# size).
def norm_facts(name, channels):
    return [(f"{name}.{part}", () if part == "num_batches_tracked" else (channels,)) for part in BATCH_NORM]


def facts(blocks, convolutions, classes=1000, channels=3):
    """Names and shapes in torchvision's order. `convolutions(level, inputs)` lists those of one block; `blocks` counts
    the blocks of each level."""
    rows = [("conv1.weight", (64, channels, 7, 7)), *norm_facts("bn1", 64)]
    inputs = 64
    for level, count in enumerate(blocks, 1):
        for i in range(count):
            kernels = convolutions(level, inputs)
            for k, (outputs, fed, size) in enumerate(kernels, 1):
                rows += [(f"layer{level}.{i}.conv{k}.weight", (outputs, fed, size, size)),
                         *norm_facts(f"layer{level}.{i}.bn{k}", outputs)]
            if i == 0 and (level > 1 or outputs != inputs):
                rows += [(f"layer{level}.0.downsample.0.weight", (outputs, inputs, 1, 1)),
                         *norm_facts(f"layer{level}.0.downsample.1", outputs)]
            inputs = outputs
    return rows + [("fc.weight", (classes, inputs)), ("fc.bias", (classes,))]


def basic(level, inputs):
    width = {1: 64, 2: 128, 3: 256, 4: 512}[level]
    return [(width, inputs, 3), (width, width, 3)]


def bottleneck(level, inputs):
    width, outputs = {1: (64, 256), 2: (128, 512), 3: (256, 1024), 4: (512, 2048)}[level]
    return [(width, inputs, 1), (width, width, 3), (outputs, width, 1)]


@pytest.mark.parametrize("layers, blocks, kind, count, names", [
    (18, (2, 2, 2, 2), basic, 11_689_512, 122), (34, (3, 4, 6, 3), basic, 21_797_672, 218),
                                                                (50, (3, 4, 6, 3), bottleneck, 25_557_032, 320)])
def test_resnets_have_torchvisions_names_shapes_and_counts(layers, blocks, kind, count, names):
    with torch.device("meta"):
        net, frozen = ResNet(layers), ResNet(layers, frozen_norm=True)
    expected = facts(blocks, kind)
    assert len(expected) == names
    for state in (net.state_dict(), frozen.state_dict()):
        assert [(n, tuple(t.shape)) for n, t in state.items()] == expected
    assert parameter_count(net) == parameter_count(frozen) == count and parameter_bytes(net) == 4 * count


def test_some_names_and_shapes_written_out():
    with torch.device("meta"):
        state = {n: tuple(t.shape) for n, t in ResNet(50).state_dict().items()}
    assert (state["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
            and state["layer3.0.conv1.weight"] == (256, 512, 1, 1))
    assert (state["layer3.5.bn3.num_batches_tracked"] == () and state["layer4.2.conv2.weight"] == (512, 512, 3, 3)
            and state["fc.weight"] == (1000, 2048))
    assert "layer1.1.downsample.0.weight" not in state and "layer3.6.conv1.weight" not in state


def by_hand(state, prefix, x, strides, training=False):
    "A residual block from its state dict, with torch.nn.functional."
    def norm(name, y):
        s = {p: state[f"{prefix}{name}.{p}"] for p in BATCH_NORM}
        return F.batch_norm(y, s["running_mean"].clone(), s["running_var"].clone(), s["weight"], s["bias"], training)
    y = x
    for k, stride in enumerate(strides, 1):
        weight = state[f"{prefix}conv{k}.weight"]
        y = norm(f"bn{k}", F.conv2d(y, weight, stride=stride, padding=weight.shape[-1] // 2))
        y = y.clamp_min(0) if k < len(strides) else y
    if f"{prefix}downsample.0.weight" in state:
        x = norm("downsample.1", F.conv2d(x, state[f"{prefix}downsample.0.weight"], stride=max(strides)))
    return (y + x).clamp_min(0)


def random_norms(net):
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(t, 0.5 if t is m.weight else 0.0, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 2.0)
    return net


@pytest.mark.parametrize("wide, stride, inputs", [(False, 1, 16), (False, 2, 8), (True, 1, 64), (True, 2, 24)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_residual_block_against_one_by_hand(wide, stride, inputs, training, dtype):
    with seeded(0):
        block = random_norms(Residual(inputs, 16, stride, wide, nn.BatchNorm2d)).to(dtype).train(training)
        x = torch.randn(2, inputs, 9, 6, dtype=dtype)
    expected = by_hand({n: t.clone() for n, t in block.state_dict().items()}, "", x, (1, stride, 1) if wide
                       else (stride, 1), training)
    assert block(x).dtype == dtype
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("layers", [18, 50])
def test_a_whole_resnet_against_one_by_hand(layers):
    with seeded(1):
        net, x = random_norms(ResNet(layers, classes=7)).eval().double(), torch.randn(2, 3, 70, 45, dtype=torch.float64)
    s = net.state_dict()
    y = F.conv2d(x, s["conv1.weight"], stride=2, padding=3)
    y = F.batch_norm(y, s["bn1.running_mean"], s["bn1.running_var"], s["bn1.weight"], s["bn1.bias"]).relu()
    y = F.max_pool2d(F.pad(y, (1, 1, 1, 1), value=-math.inf), 3, 2)
    levels = []
    for level in range(1, 5):
        i = 0
        while f"layer{level}.{i}.conv1.weight" in s:
            stride = 2 if level > 1 and i == 0 else 1
            y = by_hand(s, f"layer{level}.{i}.", y, (1, stride, 1) if layers == 50 else (stride, 1))
            i += 1
        levels.append(y)
    for ours, theirs, stride in zip(net.pyramid(x), levels, (4, 8, 16, 32)):
        assert ours.shape[2:] == (math.ceil(70 / stride), math.ceil(45 / stride))
        torch.testing.assert_close(ours, theirs)
    assert [f.shape[1] for f in levels] == net.widths
    torch.testing.assert_close(net(x), levels[-1].flatten(2).mean(2) @ s["fc.weight"].T + s["fc.bias"])


def test_a_resnet_without_classifier_with_other_channels():
    net = ResNet(18, channels=5, classes=None)
    assert net.conv1.weight.shape[1] == 5 and not [n for n in net.state_dict() if n.startswith("fc")]
    assert [tuple(f.shape) for f in net(torch.zeros(1, 5, 64, 64))] == [(1, 64, 16, 16), (1, 128, 8, 8),
                                                                        (1, 256, 4, 4), (1, 512, 2, 2)]
    assert ResNet(18, classes=3)(torch.zeros(2, 3, 33, 33)).shape == (2, 3)
    with pytest.raises(PaperKitError, match="101"):
        ResNet(101)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (1, 1), (2, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_strided_pointwise_convolutions_are_pytorchs(size, stride, bias, layout):
    "Function, gradients, names, shapes and initial weights are those of the layers they stand for."
    with seeded(0): there, back = Pointwise(4, 6, stride, bias), PointwiseTranspose(4, 6, stride, bias)
    with seeded(0): plain, transposed = nn.Conv2d(4, 6, 1, bias=bias), nn.ConvTranspose2d(4, 6, 1, bias=bias)
    x = torch.randn(2, 4, *size, dtype=torch.float64).to(memory_format=layout)
    for ours, theirs, expected in (
            (there, plain, lambda x, s: F.conv2d(x, s["weight"], s.get("bias"), stride)),
            (back, transposed, lambda x, s: F.conv_transpose2d(x, s["weight"], s.get("bias"), stride, 0, stride - 1))):
        assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n,
                                                                      t in theirs.state_dict().items()}
        assert all(torch.equal(t, theirs.state_dict()[n]) for n, t in ours.state_dict().items())
        ours, a, b = ours.double(), x.clone().requires_grad_(), x.clone().requires_grad_()
        state = {n: p.detach().clone().requires_grad_() for n, p in ours.named_parameters()}
        one, other = ours(a), expected(b, state)
        torch.testing.assert_close(one, other)
        weight = torch.randn_like(other)
        (one*weight).sum().backward(), (other*weight).sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
        for name, p in ours.named_parameters(): torch.testing.assert_close(p.grad, state[name].grad)


def test_released_weights_load_into_strided_pointwise_convolutions():
    released = {"weight": torch.randn(6, 4, 1, 1), "bias": torch.randn(6)}
    assert torch.equal(load_strict(Pointwise(4, 6, 2), released).weight, released["weight"])
    assert torch.equal(load_strict(PointwiseTranspose(6, 4, 2),
                                   {"weight": released["weight"], "bias": torch.zeros(4)}).weight, released["weight"])


def test_the_layout_stays_through_pointwise_convolutions():
    x = torch.randn(2, 4, 8, 8).to(memory_format=torch.channels_last)
    for layer in (Pointwise(4, 6, 2), PointwiseTranspose(4, 6, 2)):
        assert layer(x).is_contiguous(memory_format=torch.channels_last) and layer(x.contiguous()).is_contiguous()


def test_frozen_norm_does_not_move_and_lets_gradients_through():
    with seeded(0):
        norm, x = (random_norms(nn.Sequential(FrozenBatchNorm(4))).train()[0],
                   torch.randn(3, 4, 5, 5, requires_grad=True))
    before = {n: t.clone() for n, t in norm.state_dict().items()}
    shape = (1, 4, 1, 1)
    expected = ((x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-5).sqrt()
                * norm.weight.view(shape) + norm.bias.view(shape))
    torch.testing.assert_close(norm(x), expected)
    norm(x).square().sum().backward()
    assert norm.weight.grad is None and x.grad.abs().sum() > 0 and all(torch.equal(before[n], t) for n,
                                                                       t in norm.state_dict().items())
    net = ResNet(18, classes=None, frozen_norm=True).train()
    before = {n: t.clone() for n, t in net.state_dict().items() if "bn" in n}
    net(torch.randn(1, 3, 32, 32))[-1].sum().backward()
    assert all(torch.equal(net.state_dict()[n], t) for n, t in before.items()) and net.conv1.weight.grad.abs().sum() > 0


def test_loading_is_strict_and_names_what_does_not_fit():
    net, other = ResNet(18, classes=None), ResNet(18, classes=10)
    state = {f"module.{n}": t for n, t in other.state_dict().items()}
    with pytest.raises(PaperKitError, match="2 left over: fc.bias, fc.weight"):
        load_strict(net, state)
    assert torch.equal(load_strict(net, state, ignore=("fc.",)).layer4[1].conv2.weight, other.layer4[1].conv2.weight)
    with pytest.raises(PaperKitError, match=r"of another shape: conv1.weight \(64, 3, 7, 7\) for \(64, 1, 7, 7\)"):
        load_strict(ResNet(18, channels=1, classes=10), other.state_dict())
    short = dict(list(other.state_dict().items())[:-1])
    with pytest.raises(PaperKitError, match="1 missing: fc.bias"):
        load_strict(ResNet(18, classes=10), short)
    fresh = ResNet(18, classes=4)
    kept = fresh.fc.weight.clone()
    assert torch.equal(load_strict(fresh, other.state_dict(), ignore=("fc.",)).fc.weight, kept)


def test_seeded_leaves_no_trace():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(0):
        torch.rand(100)
    assert torch.equal(torch.rand(3), expected)


def deepsdf(**options):
    return CoordinateMLP(latent=256, width=512, depth=8, skips=(4,), weight_norm=True,
                         **{"dropout": 0.2, "output": "tanh"} | options)


def test_deepsdfs_decoder_has_the_size_and_names_of_the_release():
    net = deepsdf()
    assert (parameter_count(net, folded=True) == 1_839_358 and parameter_count(net) == 1_843_195
            and parameter_bytes(net) == 4 * 1_843_195)
    shapes = {n: tuple(t.shape) for n, t in to_old_weight_norm(net.state_dict()).items()}
    rows = {0: (512, 259), 3: (253, 512)} | {i: (512, 512) for i in (1, 2, 4, 5, 6, 7)}
    expected = {f"lin{i}.weight_v": s for i, s in rows.items()} | {f"lin{i}.weight_g": (s[0], 1) for i,
                                                                   s in rows.items()}
    expected |= {f"lin{i}.bias": (s[0],) for i, s in rows.items()} | {"lin8.weight": (1, 512), "lin8.bias": (1,)}
    assert shapes == expected


def test_the_names_of_weight_norm_go_there_and_back():
    net = deepsdf()
    state = net.state_dict()
    there = to_old_weight_norm(state)
    assert list(from_old_weight_norm(there)) == list(state) and not any("parametrizations" in n for n in there)
    assert from_old_weight_norm({"weight_g": 1, "a.weight_v": 2, "my_weight_g": 3}) == {
        "parametrizations.weight.original0": 1, "a.parametrizations.weight.original1": 2, "my_weight_g": 3}
    released = {f"module.{n}": torch.full_like(t, 0.5) for n, t in there.items()}
    loaded = load_strict(net, from_old_weight_norm(released))
    assert torch.equal(loaded.lin3.parametrizations.weight.original1, torch.full((253, 512), 0.5))


def test_a_checkpoint_of_old_weight_norm_gives_the_same_function(recwarn):
    "The decoder written with the weight norm of before, and by hand w = g v / |v|."
    with seeded(2):
        layers = [nn.utils.weight_norm(nn.Linear(a, b)) for a, b in ((11, 20), (20, 9), (20, 20))] + [nn.Linear(20, 1)]
        for layer in layers[:3]:
            nn.init.uniform_(layer.weight_g, 0.5, 2.0)
        x, code = torch.randn(6, 3), torch.randn(8)
    state = {f"lin{i}.{n}": t for i, layer in enumerate(layers) for n, t in layer.state_dict().items()}
    net = load_strict(CoordinateMLP(latent=8, width=20, depth=3, skips=(2,), weight_norm=True, output="tanh"),
                      from_old_weight_norm(state))
    entry = torch.cat([code.expand(6, -1), x], 1)
    h = layers[1](layers[0](entry).relu()).relu()
    expected = layers[3](layers[2](torch.cat([h, entry], 1)).relu()).tanh()
    torch.testing.assert_close(net(x, code), expected)
    g, v = state["lin0.weight_g"], state["lin0.weight_v"]
    torch.testing.assert_close(net.lin0.weight, g * v / v.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("skip, inputs, rows", [("shrink", [5, 32, 32, 32, 32], [32, 27, 27, 32, 2]),
                                                ("grow", [5, 32, 37, 37, 32], [32, 32, 32, 32, 2])])
def test_both_conventions_of_the_skip_by_hand(skip, inputs, rows):
    with seeded(3):
        net, x = CoordinateMLP(5, 2, width=32, depth=4, skips=(2, 3), skip=skip, activation="softplus",
                               sharpness=100.0), torch.randn(7, 5)
    assert [tuple(getattr(net, f"lin{i}").weight.shape) for i in range(5)] == list(zip(rows, inputs))
    h = x
    for i in range(5):
        layer = getattr(net, f"lin{i}")
        h = (torch.cat([h, x], 1) if i in (2, 3) else h) @ layer.weight.T + layer.bias
        h = torch.log1p(torch.exp(100 * h.double())).float() / 100 if i < 4 else h
    torch.testing.assert_close(net(x), h, atol=1e-5, rtol=1e-4)


def test_codes_by_shape_one_for_all_and_point_by_point():
    net = CoordinateMLP(latent=4, width=16, depth=2)
    x, codes = torch.randn(3, 5, 3), torch.randn(3, 4)
    by_shape = net(x, codes)
    assert by_shape.shape == (3, 5, 1)
    for i in range(3):
        torch.testing.assert_close(by_shape[i], net(x[i], codes[i]))
    torch.testing.assert_close(by_shape, net(x, codes[:, None].expand(3, 5, 4)))
    torch.testing.assert_close(net(x, codes[0])[1], net(x[1], codes[0]))
    for bad in (lambda: net(x), lambda: net(x, torch.zeros(3, 5)), lambda: net(x[..., :2], codes)):
        with pytest.raises(PaperKitError, match="does not fit"):
            bad()


@pytest.mark.parametrize("options", [{"skips": (4,)}, {"skips": (0,)}, {"skips": (1,), "width": 3},
                                     {"skips": (1,), "skip": "both"}, {"activation": "swoosh"}])
def test_networks_that_cannot_be(options):
    with pytest.raises(PaperKitError):
        CoordinateMLP(**{"depth": 3, "width": 16} | options)


@pytest.mark.parametrize("options", [{"activation": "softplus", "sharpness": 10.0},
                                     {"activation": "sine", "sharpness": 3.0}, {"activation": "tanh"},
                                     {"activation": "softplus", "weight_norm": True, "skips": (1,), "width": 12},
                                     {"activation": torch.sigmoid, "output": "sigmoid"}])
def test_gradients_and_second_derivatives(options):
    with seeded(4):
        net = CoordinateMLP(3, 2, **{"width": 6, "depth": 2, "fourier": FourierFeatures(3, 1)} | options).double()
        x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, x) and torch.autograd.gradgradcheck(net, x)
    net(x).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_dropout_is_there_in_training_alone():
    net = CoordinateMLP(width=64, depth=2, dropout=0.5)
    x = torch.randn(10, 3)
    assert not torch.equal(net.train()(x), net(x)) and torch.equal(net.eval()(x), net(x))


def test_initial_weights_of_sine_networks():
    with seeded(0):
        net = CoordinateMLP(2, width=256, depth=3, activation="sine")
    assert isinstance(net.activation, Sine) and net.lin0.weight.abs().max() <= 1 / 2
    assert 0.95 * math.sqrt(6 / 256) / 30 < net.lin2.weight.abs().max() <= math.sqrt(6 / 256) / 30
    hidden = torch.sin(30 * net.lin1(torch.sin(30 * net.lin0(torch.rand(2000, 2) * 2 - 1))))
    assert 0.6 < hidden.std() < 0.8  # arcsine distributed: standard deviation 1/sqrt(2)


def test_fourier_features_against_the_formulas():
    x = torch.tensor([[0.1, -0.7, 0.3]])
    octaves = FourierFeatures(3, 4)
    expected = torch.cat([x] + [torch.sin(2**k * math.pi * x) for k in range(4)]
                         + [torch.cos(2**k * math.pi * x) for k in range(4)], 1)
    assert octaves.outputs == 27
    torch.testing.assert_close(octaves(x), expected, atol=1e-5, rtol=1e-5)
    draw = lambda: FourierFeatures(3, 500, scale=2.0, include=False, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw().matrix, draw().matrix) and draw()(x).shape == (1, 1000)
    assert draw().matrix.std().item() == pytest.approx(4 * math.pi, rel=0.05)


def test_fourier_features_keep_their_phase_under_autocast():
    features, x = FourierFeatures(2, 10), torch.rand(50, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(features(x), features(x)) and (features(x).float() - features(x)).abs().max() == 0
        inside = features(x)
    torch.testing.assert_close(inside, features(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_follows(dtype):
    for net, x in ((CoordinateMLP(3, width=8, depth=2, fourier=FourierFeatures(3, 2)), torch.rand(4, 3)),
                   (UNet(1, 1, width=4, depth=1), torch.rand(2, 1, 4, 4)),
                   (ResNet(18, classes=2), torch.rand(2, 3, 32, 32))):
        assert net.to(dtype)(x.to(dtype)).dtype == dtype


def test_the_device_follows():
    for make, x in ((lambda: deepsdf(fourier=FourierFeatures(3, 2)), (torch.rand(4, 3), torch.rand(256))),
                    (lambda: UNet(1, 1, width=4), (torch.rand(2, 1, 32, 32),)),
                    (lambda: ResNet(50, frozen_norm=True), (torch.rand(2, 3, 32, 32),))):
        assert make().to("meta")(*[t.to("meta") for t in x]).device.type == "meta"


def test_a_u_net_of_one_level_by_hand():
    with seeded(5):
        net, x = UNet(2, 3, width=4, depth=1, norm="none").double(), torch.randn(1, 2, 6, 8, dtype=torch.float64)
    s = net.state_dict()
    conv = lambda y, name: F.conv2d(y, s[f"{name}.weight"], s[f"{name}.bias"], padding=1).relu()
    top = conv(conv(x, "down.0.0"), "down.0.3")
    bottom = conv(conv(F.max_pool2d(top, 2), "down.1.0"), "down.1.3")
    risen = F.conv_transpose2d(bottom, s["rise.0.weight"], s["rise.0.bias"], stride=2)
    joined = conv(conv(torch.cat([top, risen], 1), "up.0.0"), "up.0.3")
    torch.testing.assert_close(net(x), F.conv2d(joined, s["last.weight"], s["last.bias"]))


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("dimensions, size", [(2, (16, 24)), (3, (8, 16, 8))])
def test_u_nets_keep_the_size_and_pass_gradients(norm, dimensions, size):
    net = UNet(3, 2, dimensions=dimensions, width=4, depth=2, norm=norm)
    y = net(torch.randn(2, 3, *size))
    assert y.shape == (2, 2, *size)
    y.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_u_net_counts_and_widths():
    with torch.device("meta"):
        # the usual padded 2D U-Net with transposed convolutions and batch norm
        assert parameter_count(UNet(3, 2, width=64)) == 31_037_698
        assert UNet(1, 1, width=(4, 6, 10), depth=2).widths == [4, 6, 10]


@pytest.mark.parametrize("net, shape, said", [
    (UNet(1, 1, width=2, depth=3), (1, 1, 20, 24), "multiple of 8"),
                                              (UNet(1, 1, width=2, depth=3), (1, 1, 0, 8), "multiple of 8"),
    (UNet(1, 1, width=2, depth=2), (1, 2, 8, 8), r"found: \[1, 2, 8, 8\]"),
                                              (UNet(1, 1, dimensions=3, width=2, depth=1), (1, 1, 8, 8),
                                               "size, size, size"),
    (UNet(1, 1, dimensions=3, width=2, depth=1), (1, 1, 8, 8, 7), "multiple of 2"),
                                              (UNet(1, 1, width=2, depth=2, norm="instance"), (1, 1, 4, 4),
                                               "instance norm")])
def test_sizes_that_do_not_fit_are_named(net, shape, said):
    with pytest.raises(PaperKitError, match=said):
        net(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"dimensions": 1}, {"width": (2, 4), "depth": 2}, {"norm": "layer"},
                                     {"activation": "swoosh"}])
def test_u_nets_that_cannot_be(options):
    with pytest.raises(PaperKitError):
        UNet(1, 1, **options)


def test_counting_shared_frozen_and_parametrised():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert parameter_count(net) == 15
    net[0].bias.requires_grad_(False)
    assert parameter_count(net, trainable=True) == 12 and parameter_bytes(net.double()) == 120
    assert parameter_bytes(nn.BatchNorm1d(2)) == 16 and parameter_bytes(nn.BatchNorm1d(2), buffers=True) == 40
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(5, 2))
    assert (parameter_count(normed), parameter_count(normed, folded=True)) == (14, 12)
    normed.requires_grad_(False)
    assert parameter_count(normed, trainable=True, folded=True) == 0


def test_nonlinearities_against_their_formulas():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for name, expected in {"relu": x.clamp_min(0), "softplus": (1 + x.exp()).log(), "sine": (30 * x).sin(), "none": x,
                           None: x, "tanh": x.tanh(),
                           "sigmoid": 1 / (1 + (-x).exp())}.items():
        torch.testing.assert_close(nonlinearity(name)(x), expected)


def test_numpy_scalars_in_a_checkpoint_are_read_and_code_is_not(tmp_path):
    import numpy as np

    from paper_kit.kit.nn import read_weights
    torch.save({"model": {"w": torch.ones(2)}, "it": np.int64(3), "best": np.float64(0.5)}, tmp_path/"a.pt")
    found = read_weights(tmp_path/"a.pt")
    assert found["best"] == 0.5 and found["it"] == 3 and torch.equal(found["model"]["w"], torch.ones(2))

    class Harm:
        def __reduce__(self): return print, ("run",)
    torch.save({"model": Harm()}, tmp_path/"b.pt")
    with pytest.raises(PaperKitError, match="cannot be read"): read_weights(tmp_path/"b.pt")
