"""What the notebook of stylegan cannot hold: parameter counts, hand-computed checks, predicates that must fail, bad
inputs, the full size."""
import math
import pickle
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from paper_kit.generative import stylegan as s
from paper_kit.generative.stylegan import Config, Discriminator, Generator, configuration, predicates, stages
from paper_kit.kit import datasets, weights
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.nn import parameter_count, seeded
from paper_kit.kit.paper import load_manifest
from helpers import varied

SMALL = {"resolution": 16, "latent": 16, "fmap_base": 64, "fmap_max": 16, "multiplier": 0.1}


def generator(seed=0): return torch.Generator().manual_seed(seed)


def made(name="F", seed=0, noisy=False, **changes):
    with seeded(seed): g = Generator(configuration(name, **(SMALL | changes)))
    if noisy:
        for layer in g.layers: layer.noise_scale.data.fill_(0.3)
    return g.requires_grad_(False)


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"stylegan.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"


def test_the_stages_can_be_called_without_a_notebook():
    assert callable(stages)


@pytest.mark.parametrize("name, count", [("F", 26_219_627), ("E", 26_219_627), ("B", 23_079_115), ("A", 23_079_115),
                                         ("D", 26_214_539), ("traditional 8", 25_180_363),
                                         ("style 0", 26_219_627 - 8*512*513), ("style 1", 26_219_627 - 7*512*513),
                                         ("style 2", 26_219_627 - 6*512*513)])
def test_parameter_counts_at_full_size(name, count):
    with torch.device("meta"): g = Generator(configuration(name))
    assert parameter_count(g) == count and len(g.layers) == 18 and g.config.resolutions[-1] == 1024


def test_the_discriminator_has_the_released_size_and_c_is_d_with_a_dense_input():
    with torch.device("meta"):
        assert parameter_count(Discriminator(Config())) == 23_087_249
        assert (parameter_count(Generator(configuration("C"))) - parameter_count(Generator(configuration("D")))
                == 512*8192 - 8192)


def test_widths_follow_the_paper():
    assert [Config().width(r) for r in Config().resolutions] == [512, 512, 512, 512, 256, 128, 64, 32, 16]


def test_one_full_size_picture_on_the_cpu():
    with torch.device("meta"): g = Generator(Config())
    g = g.to_empty(device="cpu").requires_grad_(False)
    for p in g.parameters(): nn.init.normal_(p, generator=generator())
    g.w_mean.zero_()
    start = time.perf_counter()
    with torch.inference_mode():
        picture = g(torch.randn(1, 512, generator=generator(1)), g.draw_noise(1, generator(2)), psi=0.7, below=8)
    assert picture.shape == (1, 3, 1024, 1024) and bool(picture.isfinite().all()) and float(picture.std()) > 0
    assert time.perf_counter() - start < 60


def test_one_step_at_the_gpu_size():
    sizes = s.SIZES["gpu"]["gan"]
    players = s.Players(configuration("F", **sizes["config"]), sizes["rate"], sizes["gamma"], sizes["half_life"], 0)
    players.grow(64)
    losses = players.step(torch.rand(4, 3, 64, 64, generator=generator())*2 - 1, fade=0.5)
    assert all(bool(x.isfinite()) for x in losses)


def test_every_configuration_takes_a_step_and_only_what_it_has_learns():
    for name in s.SWITCHES:
        players = s.Players(configuration(name, **SMALL), 1e-3, 10., 100., 0)
        before = {k: v.clone() for k, v in players.g.state_dict().items()}
        players.grow(8)
        players.step(torch.rand(8, 3, 8, 8, generator=generator())*2 - 1, fade=0.5)
        after, config = players.g.state_dict(), players.config
        changed = {k for k in before if not torch.equal(before[k], after[k])}
        assert ("layers.0.bias" in changed and ("constant" in changed) == config.constant
                and ("dense.weight" in changed) == (not config.constant))
        assert (("layers.1.style.weight" in changed) == config.styles
                and ("layers.1.noise_scale" in changed) == config.noise)
        assert ("mapping.layers.0.weight" in changed) == (config.mapping > 0)
        assert not any(k.startswith(("layers.4", "layers.5", "to_rgb.2")) for k in changed), "16 px is not there yet"
        assert "to_rgb.0.weight" in changed, "the lower resolution takes part in the transition"


def test_equalised_layers_by_hand():
    with seeded(0): layer = s.EqualLinear(8, 3, multiplier=0.01)
    layer.bias.data.fill_(2.)
    x = torch.randn(5, 8, generator=generator())
    assert torch.allclose(layer(x), x @ layer.weight.T*0.01*math.sqrt(2/8) + 0.02, atol=1e-6)
    assert 60 < float(layer.weight.detach().std()) < 140
    with seeded(0): conv = s.EqualConv(2, 3, down=True)
    y = torch.randn(2, 2, 8, 8, generator=generator())
    plain = F.avg_pool2d(F.conv2d(y, conv.weight*math.sqrt(2/18), padding=1), 2)
    assert torch.allclose(conv(y), plain, atol=1e-5)
    with seeded(0): conv = s.EqualConv(2, 3, up=True, bias=False)
    assert torch.allclose(conv(y), F.conv2d(F.interpolate(y, scale_factor=2.), conv.weight*math.sqrt(2/18), padding=1),
                          atol=1e-5)


def test_blur_is_the_binomial_filter_at_both_sizes():
    k = torch.tensor([1., 2, 1])
    for size in (8, 40):
        x = torch.randn(2, 3, size, size, generator=generator())
        assert torch.allclose(s.blur(x), F.conv2d(x.view(6, 1, size, size), (k[:, None]*k/16)[None, None],
                                                  padding=1).view_as(x), atol=1e-6)


def test_adain_sets_the_statistics_and_forgets_the_old_ones():
    x, scale, shift = (torch.randn(2, 4, 6, 6, generator=generator(), dtype=torch.float64),
                       torch.tensor([[1., -2, 0.5, 3]]*2, dtype=torch.float64),
                       torch.tensor([[0., 1, -1, 2]]*2, dtype=torch.float64))
    y = s.adain(x, scale, shift)
    assert torch.allclose(y.mean((2, 3)), shift) and torch.allclose(y.std((2, 3), correction=0), scale.abs(), atol=1e-6)
    assert torch.allclose(s.adain(5*x - 3, scale, shift), y, atol=1e-6)
    assert torch.autograd.gradcheck(lambda a, b, c: s.adain(a, b, c),
                                    (x[:1, :2, :3, :3].clone().requires_grad_(), scale[:1, :2].clone().requires_grad_(),
                                     shift[:1, :2].clone().requires_grad_()))


def test_order_of_operations_in_a_layer():
    "Noise comes before bias and nonlinearity, normalisation after it, the style last."
    config = configuration("F", **SMALL)
    with seeded(1): layer = s.SynthesisLayer(4, 6, config, up=True)
    layer.noise_scale.data.normal_(generator=generator()); layer.bias.data.normal_(generator=generator(1))
    x, w, noise = (torch.randn(2, 4, 4, 4, generator=generator(2)), torch.randn(2, 16, generator=generator(3)),
                   torch.randn(2, 1, 8, 8, generator=generator(4)))
    y = s.blur(F.conv2d(F.interpolate(x, scale_factor=2.), layer.conv.weight*math.sqrt(2/36), padding=1))
    y = F.leaky_relu(y + layer.noise_scale[:, None, None]*noise + layer.bias[:, None, None], 0.2)
    style = w @ layer.style.weight.T/4 + layer.style.bias
    y = F.instance_norm(y, eps=1e-8)*(style[:, :6] + 1)[..., None, None] + style[:, 6:, None, None]
    assert torch.allclose(layer(x, w, noise), y, atol=1e-5)


def test_each_style_reaches_its_layers_only_and_noise_starts_at_nothing():
    g = made(resolution=32)
    z = torch.randn(3, 16, generator=generator())
    assert torch.equal(g(z, g.draw_noise(3, generator(1))), g(z)), "noise strengths are zero at first"
    g = made(noisy=True)
    assert not torch.allclose(g(z, g.draw_noise(3, generator(1))), g(z))
    noise = g.draw_noise(3, generator(1))
    assert torch.equal(g(z, s.only(noise, [])), g(z)) and not torch.equal(g(z, s.only(noise, [5])),
                                                                          g(z, s.only(noise, [4])))
    low = g.styles(g.mapping(z), resolution=8)
    assert low.shape == (3, 4, 16) and g.synthesise(low, noise, resolution=8).shape == (3, 3, 8, 8)


def test_a_traditional_generator_sees_only_the_first_style():
    for name in ("B", "traditional 8"):
        g = made(name)
        ws = g.styles(g.mapping(torch.randn(2, 16, generator=generator())))
        moved = ws.clone()
        moved[:, 1:] += 1
        assert torch.equal(g.synthesise(ws), g.synthesise(moved)) and not torch.equal(g.synthesise(ws),
                                                                                      g.synthesise(moved + 1))


def test_in_d_the_picture_depends_on_z_through_the_styles_alone():
    checks = s.exact_checks(0)
    assert checks["spread"] == 0. and checks["mean"] < 1e-10 and checks["deviation"] < 1e-4
    g = made("C")
    for layer in g.layers: layer.style.weight.zero_()
    pictures = g(torch.randn(4, 16, generator=generator()))
    assert float((pictures - pictures[:1]).abs().max()) > 1e-3, "in C the dense input still sees it"


def test_truncation_and_mixing_by_layer():
    g = made()
    g.w_mean.copy_(torch.randn(16, generator=generator(7)))
    w = torch.randn(4, 16, generator=generator())
    assert torch.allclose(g.styles(w, 0.), g.w_mean.expand(4, 6, 16))
    half = g.styles(w, 0.5, below=2)
    assert (torch.allclose(half[:, 0], (w + g.w_mean)/2, atol=1e-6)
            and torch.allclose(half[:, 2:], w[:, None].expand(4, 4, 16), atol=1e-6))
    a, b, c = (torch.full((1, 6, 2), float(k)) for k in range(3))
    assert s.mixed([a, b, c], [2, 5])[0, :, 0].tolist() == [0, 0, 1, 1, 1, 2]
    assert s.copied(a, b, range(2, 4))[0, :, 0].tolist() == [0, 0, 1, 1, 0, 0]


def test_fading_blends_two_resolutions():
    g, d = made(), Discriminator(configuration("F", **SMALL)).requires_grad_(False)
    z = torch.randn(4, 16, generator=generator())
    low, full = g(z, resolution=8), g(z, resolution=16)
    assert torch.allclose(g(z, resolution=16, fade=0.), s.doubled(low), atol=1e-5)
    assert torch.allclose(g(z, resolution=16, fade=0.25), 0.75*s.doubled(low) + 0.25*full, atol=1e-5)
    assert (torch.allclose(d(full, fade=0.), d(s.halved(full)), atol=1e-4)
            and not torch.allclose(d(full), d(s.halved(full)), atol=1e-4))
    assert torch.equal(s.faded_reals(full, 1.), full) and torch.allclose(s.faded_reals(full, 0.),
                                                                         s.doubled(s.halved(full)))


def test_mixing_regularisation_happens_as_often_as_it_should():
    g = made()
    mixed = []
    for k in range(200):
        ws = s.random_styles(g, 2, 0.5, 16, generator(k))
        mixed.append(not torch.equal(ws[:, 0], ws[:, -1]))
    assert 0.38 < np.mean(mixed) < 0.62
    assert all(not torch.equal(x[:, 0], x[:, -1]) for x in (s.random_styles(g, 2, 1., 16, generator(k))
                                                            for k in range(10)))
    before = g.w_mean.clone()
    s.random_styles(g, 64, 0., 16, generator(0), decay=0.9)
    assert (torch.allclose(g.w_mean, 0.1*g.mapping(torch.randn(64, 16, generator=generator(0))).mean(0), atol=1e-6)
            and not torch.equal(before, g.w_mean))


def test_batch_deviation_and_penalties_by_hand():
    x = torch.zeros(8, 1, 2, 2)
    x[::2] = 4.
    groups = s.batch_deviation(x, 4)[:, 1, 0, 0]
    assert torch.allclose(groups, torch.full((8,), 1e-4), atol=1e-6), "members of a group are n/4 apart: all alike here"
    assert torch.allclose(s.batch_deviation(torch.tensor([0., 0, 2, 2])[:, None, None, None].expand(4, 1, 2, 2))[:, 1],
                          torch.ones(4, 2, 2), atol=1e-5)
    with pytest.raises(PaperKitError, match="groups"): s.batch_deviation(torch.zeros(6, 1, 2, 2))
    reals = torch.randn(6, 2, 1, 1, generator=generator()).requires_grad_()
    linear = lambda x: (x[:, :, 0, 0]*torch.tensor([3., 4.])).sum(1)
    assert abs(s.r1_penalty(linear(reals), reals).item() - 25) < 1e-4
    assert abs(s.wgan_penalty(linear, reals.detach(), reals.detach() + 1, generator()).item() - 16) < 1e-3
    zero = lambda x: x.sum((1, 2, 3))*0
    assert abs(s.discriminator_loss("logistic", zero, reals, reals.detach(), 10., None).item() - 2*math.log(2)) < 1e-6
    assert (abs(s.generator_loss("logistic", torch.tensor([2.])).item() - math.log1p(math.exp(-2))) < 1e-6
            and s.generator_loss("wgan-gp", torch.tensor([2.])).item() == -2)
    with pytest.raises(PaperKitError, match="no such loss"): s.discriminator_loss("hinge", zero, reals, reals, 1., None)


def test_the_moving_average_has_the_half_life_it_says():
    players = s.Players(configuration("F", **SMALL), 0.1, 1., 8., 0)
    players.grow(8)
    start = players.average.constant.clone()
    players.step(torch.rand(8, 3, 8, 8, generator=generator()))
    assert torch.allclose(players.average.constant, (start + players.g.constant)/2, atol=1e-6)


def test_training_is_deterministic_grows_and_is_watched():
    sizes = s.SIZES["smoke"]["gan"] | {"world": 64}
    a, b = (s.train_gan("F", sizes, 3) for _ in range(2))
    assert (all(torch.equal(a["g"][k], b["g"][k]) for k in a["g"]) and torch.equal(a["losses"], b["losses"])
            and a["progress"].shape[-1] == 16 and a["resolutions"] == [8, 16, 16] and a["validation"] == [])
    main = s.SIZES["smoke"]["main"]["gan"] | {"world": 64}
    with seeded(0): net = s.reader(32, {"fmap_base": 64, "fmap_max": 16})
    cnn = {"size": 32, "widths": {"fmap_base": 64, "fmap_max": 16}, "weights": net.state_dict()}
    watched = s.train_gan("F", main, 3, cnn=cnn)
    assert len(watched["validation"]) == 12 and np.isfinite(watched["validation"]).all()
    assert torch.equal(watched["g"]["constant"], s.train_gan("F", main, 3)["g"]["constant"]), "looking changes nothing"
    assert len(watched["progress"]) == len(watched["shown"]) == 6 and watched["shown"] == [0, 32, 64, 96, 128, 288]
    for k, block in ((0, 4), (1, 4), (2, 2), (4, 1)):      # before, then after each phase, at its own resolution
        coarse = watched["progress"][k][..., ::block, ::block]
        assert torch.equal(coarse.repeat_interleave(block, 2).repeat_interleave(block, 3), watched["progress"][k])
    with pytest.raises(PaperKitError, match="no such configuration"): configuration("G")


def test_the_simple_family_holds_what_it_says_and_keeps_the_hole():
    pictures, factors = s.family_set("train", 96, 16, s.SIMPLE)
    assert pictures.shape == (96, 3, 16, 16) and float(pictures.abs().max()) <= 1
    for name, value in s.SIMPLE.items():
        assert name == "chance" or bool((factors[:, s.NUMBER[name]] == value).all())
    calm = s.family_set("train", 96, 16, s.SIMPLE | {"chance": 0.})[0]
    wild = s.family_set("train", 96, 16, s.SIMPLE | {"chance": 1.})[0]
    assert float((pictures - calm).square().mean()) < 0.5*float((wild - calm).square().mean())
    moves = s.varying(s.SIMPLE)
    assert len(moves) == 9 and bool((factors[:, moves].std(0) > 0.15).all())
    assert not bool(s.in_hole(factors[:, s.NUMBER["hair_length"]], factors[:, s.NUMBER["beard"]]).any())
    assert s.varying_groups({})["coarse"] == [s.NUMBER[f] for f in s.GROUPS["coarse"]]
    assert sum(map(len, s.varying_groups(s.SIMPLE).values())) == 9
    other = s.family_set("validation", 96, 16, s.SIMPLE)[1]
    assert not torch.equal(factors, other)
    assert torch.equal(s.family_set("train", 8, 16)[0], s.portrait_set("train", 8, 16)[0])


def test_sharpness_is_gradient_energy_and_blurring_lowers_it():
    ramp = torch.arange(8.).expand(2, 3, 8, 8)
    assert abs(s.sharpness(ramp) - 1) < 1e-6 and s.sharpness(torch.ones(1, 3, 4, 4)) == 0
    pictures = s.family_set("test", 32, 32, s.SIMPLE)[0]
    assert s.sharpness(s.blur(pictures)[..., 2:-2, 2:-2]) < 0.8*s.sharpness(pictures[..., 2:-2, 2:-2])


def test_energy_distance_of_the_toys():
    x = torch.randn(2, 50, 2, generator=generator())
    assert abs(s.energy_distance(x, x)) < 1e-4 and s.energy_distance(x, x + 3) > 2
    found = s.train_toys((0.06, 0.25), 2, True, 8, 60, 32, 3e-3, 1., 0)
    assert len(found["validation"]) == 20 and np.isfinite(found["validation"]).all()


def test_frechet_distance_in_closed_form():
    x = torch.randn(20000, 2, generator=generator(), dtype=torch.float64)
    root = torch.linalg.inv(s.matrix_root(torch.cov(x.T)))
    x = (x - x.mean(0)) @ root
    a, b = x*torch.tensor([1., 2.]), x*torch.tensor([3., 1.]) + torch.tensor([1., -2.])
    assert abs(s.frechet_distance(a, b) - (5 + 4 + 1)) < 1e-6
    assert abs(s.frechet_distance(a, a)) < 1e-9


def test_slerp_and_a_path_length_that_is_known():
    a, b = torch.tensor([[3., 0.]]), torch.tensor([[0., 0.5]])
    assert torch.allclose(s.slerp(a, b, torch.tensor([[1/3]])), torch.tensor([[math.cos(math.pi/6), 0.5]]), atol=1e-6)
    x = torch.randn(3, 8, generator=generator())
    p = [torch.randn(3, 4, 5, 5, generator=generator(k)) for k in (1, 2)]
    assert (torch.allclose(s.perceptual_distance([p[0]], [p[1]]), (p[0] - p[1]).square().sum(1).mean((1, 2)))
            and x.shape == (3, 8))
    g = made(noisy=True)
    with seeded(0): net = s.reader(16, {"fmap_base": 64, "fmap_max": 16}).requires_grad_(False)
    fine, rough = (s.path_length(g, net, "W", 100, 1, epsilon=e) for e in (1e-5, 1e-4))
    assert abs(fine/rough - 1) < 0.02, "the distance is quadratic and the noise is the same on both sides"
    for layer in g.layers: layer.style.weight.zero_()
    assert s.path_length(g, net, "Z", 50, 1) < 1e-12


def test_the_support_vector_machine_is_liblinears():
    svm = pytest.importorskip("sklearn.svm")
    x = torch.randn(300, 5, generator=generator(), dtype=torch.float64)
    y = (x[:, 0] - 0.5*x[:, 1] + 0.4*torch.randn(300, generator=generator(1), dtype=torch.float64) + 0.3).sign()
    v = s.linear_svm(x, y)
    other = svm.LinearSVC(C=1., dual=False, tol=1e-10, max_iter=100000).fit(x.numpy(), y.numpy())
    assert np.allclose(v[:-1], other.coef_[0], atol=1e-5) and abs(float(v[-1]) - other.intercept_[0]) < 1e-5


def test_entropy_by_hand():
    x, y = torch.tensor([0., 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0., 0, 0, 1, 1, 1, 1, 1])
    h = -(0.75*math.log(0.75) + 0.25*math.log(0.25))
    assert abs(s.conditional_entropy(x, y) - h/2) < 1e-12 and s.conditional_entropy(x, x) == 0


def test_layer_groups_are_the_papers_at_its_size():
    assert s.layer_groups(1024) == {"coarse": range(4), "middle": range(4, 8), "fine": range(8, 18)}
    assert s.noise_groups(1024) == {"coarse": range(8), "fine": range(8, 18)}
    assert [list(v) for v in s.layer_groups(16).values()] == [[0, 1], [2, 3], [4, 5]]


def test_random_crossovers_use_every_latent_and_one_latent_is_the_plain_picture():
    g = made()
    z = torch.randn(64, 16, generator=generator(5))
    again = generator(5)
    expected = g(torch.randn(64, 16, generator=again), None)
    assert torch.allclose(s.generate(g, 64, 5), expected, atol=1e-5) and z.shape == (64, 16), "noise strengths are zero"
    assert not torch.allclose(s.generate(g, 64, 5, latents=3), expected, atol=1e-3)
    psi0 = s.generate(g, 8, 5, psi=0.)
    assert torch.allclose(psi0, psi0[:1].expand_as(psi0), atol=1e-6)


def test_noise_study_and_transfer_of_a_known_generator():
    g = made(noisy=True)
    with seeded(0): net = s.reader(16, {"fmap_base": 64, "fmap_max": 16}).requires_grad_(False)
    study = s.noise_study(g, net, 24, 3, 0)
    assert (study["leakage"].shape == (16,) and bool((study["leakage"] > 0).all()) and len(study["strength"]) == 6
            and min(study["strength"]) > 0)
    matrix = s.transfer_matrix(g, net, 24, 0)
    assert matrix.shape == (3, 16)
    wave = torch.cos(2*math.pi*3*torch.arange(16)/16).expand(1, 3, 16, 16)
    assert abs(s.centroid_frequency(wave) - 3) < 1e-9
    cut = s.truncation_study(g, net, 24, 0)
    assert cut["spread"] < 1e-6 and cut["variance"][3] < 1e-9 < cut["variance"][0]


def test_the_factor_cnn_learns_to_read_and_is_judged_on_other_portraits():
    found = s.train_reader(8, {"fmap_base": 64, "fmap_max": 16}, 150, 32, 5e-3, 512, 0)
    assert found["r2"].shape == (16,) and found["accuracy"].shape == (12,)
    assert float(found["r2"][s.NUMBER["background"]]) > 0.3 and float(found["r2"].max()) <= 1


def test_toys_have_their_hole_and_bending_is_curvature():
    x = s.toy_features(2, 4000, torch.tensor([0.25, 0.04]), generator())
    assert (not bool((x[0] > 0).all(-1).any()) and not bool((x[1] > 0.6).all(-1).any())
            and bool((x[1] > 0).all(-1).any()))
    angle = torch.linspace(0, 2, 65, dtype=torch.float64)
    circle = 3*torch.stack([angle.cos(), angle.sin()], -1)[None, None]
    line = torch.linspace(0, 1, 9, dtype=torch.float64)[None, None, :, None].expand(1, 1, 9, 2)
    assert abs(s.bending(circle).item() - 1/3) < 0.01 and s.bending(line).item() < 1e-12


def test_one_toy_of_a_batch_trains_as_it_would_alone():
    nets = s.toy_networks(2, True, 8, 0)
    x = torch.randn(2, 5, 2, generator=generator())
    layers = list(zip(nets["g"].weights, nets["g"].biases))
    y = x[1]
    for i, (w, b) in enumerate(layers):
        y = y @ w[1]*(math.sqrt(2) if i < 2 else 1.)/math.sqrt(w.shape[1]) + b[1]
        if i < 2: y = F.leaky_relu(y, 0.2)
    assert torch.allclose(nets["g"](x)[1], y, atol=1e-5)


def converted(config):
    with seeded(4): g = Generator(config)
    back = {"plain": lambda x: x, "dense": lambda x: x.T, "conv": lambda x: x.permute(2, 3, 1, 0),
            "fused": lambda x: x.flip(2, 3).permute(2, 3, 1, 0)}
    state = g.state_dict()
    return g, {theirs: back[kind](state[ours]).clone() for ours, (theirs, kind) in s.official_names(config).items()}


def test_released_weights_load_by_name():
    names = s.official_names(Config())
    assert (names["layers.0.noise_scale"][0] == "G_synthesis/4x4/Const/Noise/weight"
            and names["layers.1.conv.weight"][0] == "G_synthesis/4x4/Conv/weight"
            and names["to_rgb.8.weight"][0] == "G_synthesis/ToRGB_lod0/weight")
    assert (names["layers.8.conv.weight"] == ("G_synthesis/64x64/Conv0_up/weight", "conv")
            and names["layers.10.conv.weight"] == ("G_synthesis/128x128/Conv0_up/weight", "fused"))
    with torch.device("meta"): assert set(names) == set(Generator(Config()).state_dict())


class Released:
    """A small network in the authors' naming, drawn at random, and its picture after `networks_stylegan.py` of
    NVlabs/stylegan, in NumPy: NCHW pictures, HWIO kernels, coefficients applied at run time."""
    def __init__(self, resolution, latent, mapping, width, rng):
        self.v, self.mapping, self.resolutions = {}, mapping, [2**k for k in range(2, int(math.log2(resolution)) + 1)]
        def put(name, *shape, scale=1.): self.v[name] = (scale*rng.standard_normal(shape)).astype(np.float32)
        put("dlatent_avg", latent)
        for i in range(mapping):
            put(f"G_mapping/Dense{i}/weight", latent, latent, scale=100)
            put(f"G_mapping/Dense{i}/bias", latent, scale=9)
        before = None
        for lod, r in zip(range(len(self.resolutions) - 1, -1, -1), self.resolutions):
            c = width(r)
            for part in ("Const", "Conv") if r == 4 else ("Conv0_up", "Conv1"):
                at = f"G_synthesis/{r}x{r}/{part}"
                if part == "Const": put(f"{at}/const", 1, c, 4, 4)
                else: put(f"{at}/weight", 3, 3, before if part == "Conv0_up" else c, c)
                put(f"{at}/Noise/weight", c); put(f"{at}/bias", c); put(f"{at}/StyleMod/weight", latent, 2*c)
                put(f"{at}/StyleMod/bias", 2*c)
            put(f"G_synthesis/ToRGB_lod{lod}/weight", 1, 1, c, 3); put(f"G_synthesis/ToRGB_lod{lod}/bias", 3)
            before = c
        self.v["lod"] = self.v["G_synthesis/lod"] = np.float32(0)

    def conv(self, x, w):
        h, wide = x.shape[2:]
        pad = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))) if len(w) == 3 else x
        return sum(np.einsum("nihw,io->nohw", pad[:, :, a:a + h, b:b + wide], w[a, b])
                   for a in range(len(w)) for b in range(len(w)))

    def transposed(self, x, w):
        "TensorFlow's conv2d_transpose with stride 2, SAME, kernel 4: tap (a, b) of pixel (i, j) lands at 2 i + a - 1."
        n, _, h, wide = x.shape
        out = np.zeros((n, w.shape[3], 2*h + 2, 2*wide + 2))
        for a in range(4):
            for b in range(4):
                out[:, :, a:a + 2*h:2, b:b + 2*wide:2] += np.einsum("nihw,io->nohw", x, w[a, b])
        return out[:, :, 1:-1, 1:-1]

    def up(self, x, name):
        w = self.v[name].astype(np.float64)
        w = w*math.sqrt(2)/math.sqrt(w[..., 0].size)
        if 2*x.shape[2] < 128: return self.conv(x.repeat(2, 2).repeat(2, 3), w)
        p = np.pad(w, ((1, 1), (1, 1), (0, 0), (0, 0)))
        return self.transposed(x, p[1:, 1:] + p[:-1, 1:] + p[1:, :-1] + p[:-1, :-1])

    def layer(self, x, at, w, noise):
        x = x + noise*self.v[f"{at}/Noise/weight"][:, None, None] + self.v[f"{at}/bias"][:, None, None]
        x = np.maximum(x, 0.2*x)
        x = x - x.mean((2, 3), keepdims=True)
        x = x/np.sqrt((x*x).mean((2, 3), keepdims=True) + 1e-8)
        style = w @ self.v[f"{at}/StyleMod/weight"]/math.sqrt(w.shape[1]) + self.v[f"{at}/StyleMod/bias"]
        scale, shift = style.reshape(len(w), 2, -1, 1, 1).transpose(1, 0, 2, 3, 4)
        return x*(scale + 1) + shift

    def picture(self, z, noises, psi):
        w, noises = z/np.sqrt((z*z).mean(1, keepdims=True) + 1e-8), iter(noises)
        for i in range(self.mapping):
            w = w @ (self.v[f"G_mapping/Dense{i}/weight"]*0.01*math.sqrt(2)/math.sqrt(w.shape[1]))
            w = w + 0.01*self.v[f"G_mapping/Dense{i}/bias"]
            w = np.maximum(w, 0.2*w)
        w = self.v["dlatent_avg"] + psi*(w - self.v["dlatent_avg"])
        for r in self.resolutions:
            at = f"G_synthesis/{r}x{r}"
            if r == 4: x = self.layer(np.repeat(self.v[f"{at}/Const/const"], len(z), 0), f"{at}/Const", w, next(noises))
            else:
                x = np.pad(self.up(x, f"{at}/Conv0_up/weight"), ((0, 0), (0, 0), (1, 1), (1, 1)))
                x = sum(f*g*x[:, :, a:a + r, b:b + r] for a, f in enumerate((.25, .5, .25))
                        for b, g in enumerate((.25, .5, .25)))
                x = self.layer(x, f"{at}/Conv0_up", w, next(noises))
            at = f"{at}/{'Conv' if r == 4 else 'Conv1'}"
            kernel = self.v[f"{at}/weight"]
            x = self.layer(self.conv(x, kernel*math.sqrt(2)/math.sqrt(kernel[..., 0].size)), at, w, next(noises))
        rgb = self.v["G_synthesis/ToRGB_lod0/weight"]
        return self.conv(x, rgb/math.sqrt(rgb.shape[2])) + self.v["G_synthesis/ToRGB_lod0/bias"][:, None, None]


@pytest.mark.parametrize("kind", ["dictionary", "npz", "pkl", "safetensors"])
def test_a_network_in_the_authors_naming_draws_their_picture(kind, tmp_path):
    "Against an independent NumPy forward pass, at 128 pixels, where the first fused upscaling is."
    config = Config(resolution=128 if kind == "dictionary" else 16, latent=12, mapping=3, fmap_base=512, fmap_max=8)
    theirs = Released(config.resolution, 12, 3, config.width, np.random.default_rng(0))
    source = theirs.v
    if kind != "dictionary": source = tmp_path/f"Gs.{kind}"
    if kind == "npz": np.savez(source, **theirs.v)
    elif kind == "pkl": source.write_bytes(pickle.dumps(theirs.v))
    elif kind == "safetensors": save_file({k: torch.tensor(v) for k, v in theirs.v.items()}, source)
    g = s.load_official(source, config).requires_grad_(False)
    z, noises = torch.randn(2, 12, generator=generator()), g.draw_noise(2, generator(1))
    ours = g(z, noises, psi=0.7).numpy()
    reference = theirs.picture(z.numpy().astype(np.float64), [x.numpy() for x in noises], 0.7)
    assert reference.std() > 0.5 and np.abs(ours - reference).max() < 1e-4*np.abs(reference).max()
    assert np.abs(g(z, None, psi=0.7).numpy() - reference).max() > 0.1, "the noise counts"


def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self): return print, ("run",)
    (tmp_path/"Gs.pkl").write_bytes(pickle.dumps({"dlatent_avg": Evil()}))
    with pytest.raises(PaperKitError, match="cannot be read"): s.load_official(tmp_path/"Gs.pkl")
    (tmp_path/"list.pkl").write_bytes(pickle.dumps([1.]))
    with pytest.raises(PaperKitError, match="cannot be read"): s.load_official(tmp_path/"list.pkl")
    with pytest.raises(PaperKitError): s.load_official(tmp_path/"none.npz")


def write_ffhq(root, count=24, side=128):
    rng = np.random.default_rng(0)
    for k in range(count):
        folder = root/f"images1024x1024/{1000*(k//8):05d}"
        folder.mkdir(parents=True, exist_ok=True)
        low = rng.integers(0, 255, (8, 8, 3), np.uint8)
        picture = Image.fromarray(low).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder/f"{1000*(k//8) + k % 8:05d}.png")


def test_table_1_from_a_folder_of_thumbnails(tmp_path):
    write_ffhq(tmp_path)
    source = datasets.source("ffhq", tmp_path)
    pictures = s.pictures_of("train", 10, 16, data=source)
    with Image.open(tmp_path/"images1024x1024/01000/01001.png") as image:
        block = np.asarray(image, dtype=np.float64).reshape(16, 8, 16, 8, 3).mean((1, 3)).transpose(2, 0, 1)/127.5 - 1
    assert pictures.shape == (10, 3, 16, 16) and np.abs(pictures[9].numpy() - block).max() < 1e-5
    sizes = s.SIZES["smoke"] | {"seeds": 2, "fid": 24}
    sizes["gan"] = sizes["gan"] | {"world": 24}
    sizes["reader"] = sizes["reader"] | {"steps": 5, "world": 64}
    asked = []
    class Run:
        seed, pick, seeds = 0, lambda self, **profiles: sizes, lambda self, count: list(range(count))
        def stage(self, fn, **given):
            asked.append((fn.__name__, given.get("data")))
            return fn(**given)
    table = s.table_real(s.real_stages(Run(), source), "FFHQ")
    assert list(table["method"]) == [s.TABLE_1["B"], s.TABLE_1["F"]] and np.isfinite(table["FFHQ"].astype(float)).all()
    assert {d for name, d in asked if name in ("train_gan", "judge_fid")} == {source}
    (tmp_path/"images1024x1024/01000/01001.png").write_bytes(b"no picture")
    s.photographs.cache_clear()
    with pytest.raises(PaperKitError, match="picture"): s.pictures_of("train", 10, 16, data=source)


def test_the_weights_that_travel_are_the_averaged_generator(tmp_path, monkeypatch):
    g = made(noisy=True)
    file = tmp_path/"weights.safetensors"
    file.write_bytes(weights.weights_bytes(g.state_dict(), config=SMALL, profile="cpu"))
    monkeypatch.setattr(weights, "weights_file", lambda slug: file)
    loaded = s.pretrained()
    z = torch.randn(4, 16, generator=generator())
    assert not any(p.requires_grad for p in loaded.parameters())
    assert torch.allclose(loaded(z, loaded.draw_noise(4, generator(1))), g(z, g.draw_noise(4, generator(1))), atol=0.02)
    file.write_bytes(file.read_bytes()[:-7] + b"damaged")
    with pytest.raises(PaperKitError, match="cannot be read"): s.pretrained()


def test_the_published_size_fits_what_may_travel():
    config = s.SIZES["cpu"]["main"]["gan"]["config"]
    with seeded(0): g = Generator(configuration("F", **config))
    assert len(weights.weights_bytes(g.state_dict(), config=config, held=s.SIMPLE)) <= weights.most_weight_bytes


def test_a_damaged_conversion_is_named():
    config = Config(resolution=16, latent=16, fmap_base=64, fmap_max=8)
    _, state = converted(config)
    with pytest.raises(PaperKitError, match="not complete"):
        s.load_official({k: v for k, v in state.items() if k != "dlatent_avg"}, config)
    with pytest.raises(PaperKitError, match="not finite"):
        s.load_official(state | {"dlatent_avg": torch.full((16,), math.nan)}, config)
    for other in (torch.zeros(8), torch.zeros(4, 4)):
        with pytest.raises(PaperKitError, match="another shape"):
            s.load_official(state | {"dlatent_avg": other}, config)
    with pytest.raises(PaperKitError, match="no array"):
        s.load_official(state | {"dlatent_avg": np.array(["a"]*16)}, config)


def test_dtype_follows():
    g = made(noisy=True).double()
    z = torch.randn(2, 16, generator=generator(), dtype=torch.float64)
    noise = g.draw_noise(2, generator(1))
    assert noise[0].dtype == torch.float64 and g(z, noise).dtype == torch.float64
    assert torch.allclose(g(z, noise).float(), g.float()(z.float(), [n.float() for n in noise]), atol=1e-4)


three = lambda *v: list(v)
GOOD = {
    "C1": {"FID of E": three(4., 4.1, 4.2), "FID of B": three(5.2, 5.3, 5.1), "parameters of E": 26.2,
           "parameters of B": 23.1},
    "C2": {"FID of D": three(4.8, 4.9, 4.85), "FID of C": three(4.8, 4.9, 4.9), "spread": 0.},
    "C3": {f"{r}, {k}": three(*(base*(1 + slope*(k - 1)) + e for e in (0., 0.01, 0.02))) for r, base,
           slope in (("0%", 4.4, 1.), ("50%", 4.4, 0.5), ("90%", 4.4, 0.3), ("100%", 4.8, 0.2)) for k in (1, 2, 3, 4)},
    "C4": {"W of E": three(200., 205, 198), "W of E, end": three(160., 162, 158), "Z of B": three(412., 415, 410),
           "Z of B, end": three(415., 412, 414)},
    "C5": {"W, depth 8": three(3.8, 3.7, 3.9), "Z, depth 8": three(20., 22, 21), "depth 0": three(9.9, 9.8, 9.7)},
    "C6": {"Z with mapping": three(896., 900, 880), "W with mapping": three(324., 330, 320),
           "Z without": three(412., 410, 415)},
    "C7": {"bending in Z": three(2., 2.1, 2.2, 2., 2.1), "bending in W": three(1., 1.1, 1., 1.2, 2.5),
           "gap at the largest hole": three(1., 1.1, 1.2, 1., 0.9),
           "gap at the smallest hole": three(0.1, 0.2, 0.1, 0.2, 0.1)},
    "C8": {"coarse factors, coarse styles": three(0.7, 0.72, 0.69),
           "fine factors, coarse styles": three(0.2, 0.22, 0.21), "coarse factors, fine styles": three(0.1, 0.1, 0.12),
           "fine factors, fine styles": three(0.7, 0.71, 0.69)},
    "C9": {"largest leakage": three(0.02, 0.021, 0.019), "centroid of fine noise": three(5., 5.1, 4.9),
           "centroid of coarse noise": three(2., 2.1, 1.9)},
    "C10": {"mean": 1e-9, "deviation": 1e-8, "invariance": 1e-8},
    "C11": {"spread": 0., "smallest step of variance": three(0.1, 0.12, 0.11), "distance at 0.5": three(1., 1.1, 1.2),
            "distance at 1": three(1.5, 1.6, 1.7)}}
BAD = {"C1": {"FID of E": three(5.3, 5.4, 5.2)}, "C2": {"spread": 0.1}, "C3": {"90%, 4": three(15., 15.1, 15.2)},
       "C4": {"W of E, end": three(200., 205, 198)},
       "C5": {"Z, depth 8": three(3., 3.1, 3.)}, "C6": {"Z with mapping": three(420., 430, 425)},
       "C7": {"bending in W": three(3., 3.1, 2.9, 3.2, 3.5)},
       "C8": {"fine factors, fine styles": three(0.2, 0.21, 0.19)}, "C9": {"largest leakage": three(0.06, 0.07, 0.065)},
       "C10": {"deviation": 2e-4}, "C11": {"distance at 0.5": three(1.6, 1.7, 1.8)}}
MORE = [("C1", {"parameters of E": 30.}), ("C2", {"FID of D": three(5.8, 5.9, 5.7)}),
        ("C3", {"100%, 2": three(4.7, 4.7, 4.7)}), ("C4", {"Z of B, end": three(300., 302, 301)}),
        ("C5", {"depth 0": three(3., 3.1, 3.)}),
        ("C6", {"W with mapping": three(500., 510, 505)}),
        ("C7", {"gap at the largest hole": three(0., 0.01, 0.02, 0., 0.)}),
        ("C8", {"fine factors, coarse styles": three(0.7, 0.72, 0.71)}),
        ("C9", {"centroid of fine noise": three(1., 1.1, 0.9)}),
        ("C11", {"smallest step of variance": three(-0.1, -0.12, -0.11)}), ("C11", {"spread": 0.1})]


@pytest.mark.parametrize("name", list(GOOD))
def test_each_predicate_can_hold_and_must_fail(name):
    assert predicates[name].evaluate(varied(GOOD[name])).verdict == "holds"
    assert predicates[name].evaluate(varied(GOOD[name] | BAD[name])).verdict == "fails"


@pytest.mark.parametrize("name, change", MORE)
def test_every_part_of_a_predicate_counts(name, change):
    assert predicates[name].evaluate(varied(GOOD[name] | change)).verdict == "fails"


@pytest.mark.parametrize("name", ["C7", "C8", "C9", "C11"])
def test_a_training_that_still_falls_leaves_its_claim_open(name):
    curve = "validation, toys" if name == "C7" else "validation, F"
    flat, falling = [9., 4., 2.] + [1.]*9, list(range(12, 0, -1))
    found = predicates[name].evaluate(varied(GOOD[name]) | {curve: [flat]*3})
    assert found.verdict == "holds" and found.converged
    open_ = predicates[name].evaluate(varied(GOOD[name]) | {curve: [falling]*3})
    assert open_.verdict == "undecided" and "not converged" in open_.reason
