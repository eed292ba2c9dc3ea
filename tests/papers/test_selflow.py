"""What the notebook of selflow cannot hold: hand-computed checks, predicates that must fail, bad inputs."""
import json
import math
import shutil
import subprocess
import zlib

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.nn import parameter_count
from paper_kit.kit.paper import load_manifest
from paper_kit.matching import selflow as s

TINY = s.SIZES["smoke"]["network"]
SMALL = s.SIZES["cpu"]["network"]


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tiny(frames=3, seed=0, **options): return s.network_of(TINY | options, frames, seed)


# ---- the manifest

def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(ROOT/"data"/"papers"/"selflow.yaml")
    assert set(s.predicates) == {claim["id"] for claim in manifest["claims"]} >= set(manifest.expected("claims"))
    assert callable(s.stages)


# ---- warping

def test_warping_by_hand():
    ramp = torch.arange(5.)[None, None, None].expand(1, 1, 3, 5)
    flow = lambda x, y: torch.tensor([x, y])[None, :, None, None].expand(1, 2, 3, 5)
    assert s.warp(ramp, flow(0.25, 0.0))[0, 0, 1].tolist() == pytest.approx([0.25, 1.25, 2.25, 3.25, 3.0])
    assert s.warp(ramp, flow(2.0, 1.0))[0, 0].tolist() == pytest.approx(np.array(
        [[2, 3, 4, 0, 0], [2, 3, 4, 0, 0], [0]*5]), abs=1e-5)
    with_border = s.warp(ramp, flow(0.0, 0.0), released=True)[0, 0]
    assert with_border.tolist() == [[0, 1, 2, 3, 0], [0, 1, 2, 3, 0], [0]*5]
    assert s.warp(ramp, flow(-0.5, 0.0), released=True)[0, 0, 0, :2].tolist() == [-0.5, 0.5]     # it extrapolates there
    inner = random(1, 2, 6, 7)
    shift = 0.8*random(1, 2, 6, 7, seed=1)
    assert torch.allclose(s.warp(inner, shift)[..., :5, :6], s.warp(inner, shift, True)[..., :5, :6], atol=1e-5)


def test_the_gradient_of_the_warp_and_of_the_losses():
    g = lambda *shape, k=0: random(*shape, seed=k, dtype=torch.float64)
    image, flow = g(1, 2, 4, 5), (g(1, 2, 4, 5, k=1)*1.7 - 0.8).requires_grad_()
    for released in (False, True):
        assert torch.autograd.gradcheck(lambda f, r=released: s.warp(image, f, r), (flow,))
    a, b = g(1, 3, 5, 6, k=2), g(1, 3, 5, 6, k=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: s.photometric(a, x, torch.ones_like(x[:, :1]), 1), (b,))
    assert torch.autograd.gradcheck(lambda x: s.psi(x - 0.5), (g(7, k=5).requires_grad_(),))
    assert torch.autograd.gradcheck(lambda f: s.smoothness(f, a), (g(1, 2, 5, 6, k=4).requires_grad_(),))


def test_inside_and_occlusion_by_hand():
    flow = torch.zeros(1, 2, 3, 6)
    flow[:, 0] = 2.0
    assert s.inside(flow)[0, 0].tolist() == [True]*4 + [False]*2
    assert s.occlusion(flow, -flow)[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert s.occlusion(flow, torch.zeros_like(flow)).min() == 1
    off = -flow
    off[:, 0] += 0.5                                     # 0.25 >= 0.01 (4 + 2.25) + 0.05, and below 0.0625 + 0.5
    assert s.occlusion(flow, off, a2=0.05)[0, 0, 0, :4].tolist() == [1]*4
    assert s.occlusion(flow, off, a2=0.5)[0, 0, 0, :4].tolist() == [0]*4
    assert not s.occlusion(flow.requires_grad_(), off).requires_grad
    maps = s.occlusions({(2, 3): flow, (3, 2): -flow})
    assert maps.keys() == {(2, 3), (3, 2)} and maps[3, 2][0, 0, 0].tolist() == [1, 1, 0, 0, 0, 0]


# ---- losses

def test_the_census_transform_by_hand():
    image = torch.zeros(1, 3, 3, 3)
    image[..., 1, 1] = 2/255
    d = 2*(0.2989 + 0.587 + 0.114)
    found = s.census(image, 1)[0, :, 1, 1]
    assert found.tolist() == pytest.approx([-d/math.sqrt(0.81 + d*d)]*4 + [0] + [-d/math.sqrt(0.81 + d*d)]*4, abs=1e-5)
    flat = torch.zeros_like(image)
    t = d*d/(0.81 + d*d)
    assert float(s.census_distance(image, flat, 1)[0, 0, 1, 1]) == pytest.approx(8*t/(0.1 + t), rel=1e-4)


def test_the_census_distance_does_not_see_light_and_sees_structure():
    image = 0.6*random(2, 3, 14, 15, dtype=torch.float64)
    inner = lambda x: x[..., 3:-3, 3:-3]
    assert inner(s.census_distance(image, image + 0.25)).max() < 1e-10
    assert max(s.brighter_copies(0)) < 1e-10
    assert inner(s.census_distance(image, image.roll(1, -1))).mean() > 1
    assert inner(s.census_distance(image, image)).max() == 0
    assert torch.allclose(s.census_distance(image, image*0.5 + 0.1), s.census_distance(image*0.5 + 0.1, image))


def test_a_loss_is_divided_by_what_is_visible_and_not_by_all():
    a, b = random(1, 3, 16, 16), random(1, 3, 16, 16, seed=1)
    half = torch.zeros(1, 1, 16, 16)
    half[..., :8] = 1
    whole = torch.ones_like(half)
    left, right = (float(s.photometric(a, b, m, None)) for m in (half, 1 - half))
    assert float(s.photometric(a, b, whole, None)) == pytest.approx((left + right)/2, rel=1e-4)
    assert float(s.photometric(a, b, 0*whole, 3)) == 0
    constant = s.masked_mean(torch.full((1, 2, 4, 4), 3.0), whole[..., :4, :4])
    assert float(constant) == pytest.approx(6, rel=1e-5)                         # sums over channels, not over pixels
    assert float(s.psi(torch.tensor(0.0))) == pytest.approx(0.01**0.4)
    ones = s.within_border(torch.ones(1, 1, 7, 8), 2)
    assert ones.sum() == 3*4 and ones[0, 0, 2, 2] == 1 and ones[0, 0, 1, 4] == 0


def test_the_photometric_loss_leaves_painted_reference_pixels_out_and_counts_all_pairs():
    frames = random(1, 5, 3, 16, 16)
    flows = {pair: torch.zeros(1, 2, 16, 16) for pair in s.PAIRS}
    painted = torch.zeros(1, 5, 1, 16, 16)
    alone = [float(s.photometric_loss(frames, {p: flows[p]}, None, 1)) for p in s.PAIRS]
    assert float(s.photometric_loss(frames, flows, None, 1)) == pytest.approx(sum(alone), rel=1e-5)
    painted[:, 3, 0, 4:9, 4:9] = 1
    fewer = s.photometric_loss(frames, {(3, 2): flows[3, 2]}, None, 1, painted)
    kept = 1 - painted[:, 3]
    assert float(fewer) == pytest.approx(float(s.photometric(frames[:, 3], frames[:, 2], kept, 1)), rel=1e-5)
    assert float(s.photometric_loss(frames, {(2, 3): flows[2, 3]}, None, 1, painted)) == pytest.approx(alone[0])


def test_smoothness_of_an_affine_flow_is_that_of_none():
    y, x = torch.meshgrid(torch.arange(6.), torch.arange(8.), indexing="ij")
    affine = torch.stack([0.3*x - y + 2, 0.5*y])[None]
    flat = torch.zeros(1, 3, 6, 8)
    assert float(s.smoothness(affine, flat)) == pytest.approx(2*0.01**0.4, rel=1e-3)
    assert float(s.smoothness(affine**2, flat)) > 2*0.01**0.4 + 0.1


def test_the_mask_and_the_self_supervision():
    before, after = torch.tensor([[[[0., 0, 1, 1]]]]), torch.tensor([[[[0., 1, 0, 1]]]])
    m = s.mask(after, before)
    assert m.flatten().tolist() == [0, 1, 0, 0]
    teacher, student = (torch.zeros(1, 2, 1, 4).requires_grad_() for _ in range(2))
    loss = s.self_supervision({(2, 3): teacher + 2}, {(2, 3): student}, {(2, 3): m})
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2*2.01**0.4, rel=1e-5) and teacher.grad is None
    assert student.grad[0, :, 0].count_nonzero(1).tolist() == [1, 1] and (student.grad[0, :, 0, 1] < 0).all()
    nothing = s.self_supervision({(2, 3): teacher}, {(2, 3): student}, {(2, 3): 0*m})
    assert float(nothing) == 0


# ---- the network

def test_the_published_sizes():
    assert parameter_count(s.FlowNetwork()) == 4_790_876
    assert parameter_count(s.FlowNetwork(2)) == 4_273_628


def test_the_cost_volume_against_loops():
    a, b = random(1, 3, 4, 5) - 0.5, random(1, 3, 4, 5, seed=1) - 0.5
    found = s.cost_volume(a, b, 1)
    unit = lambda v: v/v.norm()
    for y in range(4):
        for x in range(5):
            for k in range(9):
                v, u = y + k//3 - 1, x + k % 3 - 1
                inside = 0 <= v < 4 and 0 <= u < 5
                want = float(unit(a[0, :, y, x]) @ unit(b[0, :, v, u])) if inside else 0.0
                assert float(found[0, k, y, x].detach()) == pytest.approx(want, abs=1e-5)


def test_flow_is_rescaled_with_the_grid_and_corners_stay_corners():
    flow = torch.zeros(1, 2, 2, 3)
    flow[0, 0] = torch.tensor([[1., 2, 3], [1, 2, 3]])
    flow[0, 1] = 1
    found = s.resize_flow(flow, (4, 9))
    assert found[0, 0, 0].tolist() == pytest.approx([3, 3.75, 4.5, 5.25, 6, 6.75, 7.5, 8.25, 9])
    assert torch.allclose(found[0, 1], torch.tensor(2.0))
    near = s.resize_flow(flow, (2, 5), "nearest")
    assert near[0, 0, 0].tolist() == pytest.approx([5/3, 10/3, 10/3, 5, 5])


def test_both_directions_share_their_weights():
    network, frames = tiny().eval(), random(1, 3, 3, 16, 24)
    forward, backward = network(frames)
    again = network(frames.flip(1))
    assert torch.allclose(forward, again[1], atol=1e-5) and torch.allclose(backward, again[0], atol=1e-5)
    assert forward.shape == (1, 2, 16, 24) and not torch.allclose(forward, backward)


def test_two_frames_do_not_know_the_third():
    two, three = tiny(2).eval(), tiny(3).eval()
    frames = random(1, 3, 3, 16, 24)
    other = frames.clone()
    other[:, 0] = random(1, 3, 16, 24, seed=5)
    assert torch.allclose(two(frames)[0], two(other)[0]) and not torch.allclose(three(frames)[0], three(other)[0])


@pytest.mark.parametrize("count", (2, 3))
def test_five_frames_are_three_triples(count):
    network, frames = tiny(count).eval(), random(2, 5, 3, 16, 16)
    found = s.five_frame_flows(network, frames)
    assert set(found) == set(s.PAIRS)
    middle, late, early = (network(frames[:, k:k + 3]) for k in (1, 2, 0))
    for pair, want in {(2, 3): middle[0], (2, 1): middle[1], (3, 2): late[1], (1, 2): early[0]}.items():
        assert torch.allclose(found[pair], want, atol=1e-5), pair


def test_estimate_takes_any_size_and_says_what_it_does_not_take():
    network = tiny().eval()
    assert s.estimate(network, random(3, 3, 19, 30)).shape == (2, 2, 19, 30)
    exact = random(3, 3, 16, 24)
    assert torch.allclose(s.estimate(network, exact), torch.stack([f[0] for f in network(exact[None])]), atol=1e-6)
    standard = s.standardised(exact)
    assert standard.mean((-2, -1)).abs().max() < 1e-5 and torch.allclose(standard.square().mean((-2, -1)),
                                                                         torch.ones(3, 3))
    for wrong in (random(2, 3, 16, 24), random(3, 16, 24), torch.full((3, 3, 16, 24), torch.nan)):
        with pytest.raises(PaperKitError, match="three frames"): s.estimate(network, wrong)
    with pytest.raises(PaperKitError, match="do not fit"): network(random(1, 3, 3, 16, 20))
    for wrong in ({"frames": 4}, {"dilations": (1,)}, {"finest": 9}):
        with pytest.raises(PaperKitError, match="no such network"): s.FlowNetwork(**wrong)


def test_one_step_of_the_published_size():
    network = s.FlowNetwork()
    frames = random(1, 5, 3, 64, 64)
    flows = s.flows_of(network, frames)
    loss = s.photometric_loss(frames, flows, s.occlusions(flows, a2=1e9), 3)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert s.SIZES["gpu"]["network"] == {} and all(n % 64 == 0 for n in s.SIZES["gpu"]["shared"]["crop"])


# ---- hiding pixels

def test_superpixels_and_rectangles_hide_the_same_area():
    labels = torch.arange(24).view(1, 4, 6).repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)
    generator = torch.Generator().manual_seed(0)
    where = s.chosen(labels, 0.3, generator)
    per = torch.stack([where[labels == k] for k in range(24)]).float().mean(1)
    assert set(per.tolist()) <= {0.0, 1.0} and 0 < per.mean() < 1
    square = s.rectangles(labels, where, generator)
    assert abs(int(square.sum()) - int(where.sum())) <= 0.25*int(where.sum()) and not torch.equal(square, where)
    frames = random(1, 3, 16, 24, seed=3)
    noisy = s.painted_over(frames, where, generator)
    assert torch.equal(noisy[:, :, ~where[0]], frames[:, :, ~where[0]]) and noisy.min() >= 0 and noisy.max() <= 1
    assert (noisy != frames)[:, :, where[0]].float().mean() > 0.99
    assert s.chosen(labels, 0.0, generator).sum() == 0 and s.chosen(labels, 1.0, generator).all()


def test_slic_labels_begin_at_zero_and_fit_a_byte():
    image = s.texture_bank("test", 1, 64, np.random.default_rng(0))[0, :, :48].permute(1, 2, 0).double().numpy()
    labels = s.superpixels(image, 20)
    assert labels.dtype == np.uint8 and labels.shape == (48, 64) and labels.min() == 0 and 5 < labels.max() < 60


def test_only_the_neighbours_are_painted():
    b = {"frames": random(2, 5, 3, 16, 24), "labels": (random(2, 2, 16, 24)*9).to(torch.uint8)}
    for kind in ("superpixel", "rectangle"):
        frames, painted = s.hallucinated(b, kind, 0.4, torch.Generator().manual_seed(0))
        assert torch.equal(frames[:, [0, 2, 4]], b["frames"][:, [0, 2, 4]]) and painted[:, [0, 2, 4]].sum() == 0
        changed = (frames != b["frames"]).any(2)
        assert torch.equal(changed, painted[:, :, 0] > 0) and painted[:, [1, 3]].sum() > 0


def test_the_toy_masks_are_exact_and_a_wrong_mask_is_found(monkeypatch):
    found = s.toy_mask_check(0, 3)
    assert sum(found["already occluded"]) == sum(found["not the pre-image"]) == 0
    monkeypatch.setattr(s, "mask", lambda after, before: after)
    wrong = s.toy_mask_check(0, 3)
    assert sum(wrong["already occluded"]) > 0 and sum(wrong["not the pre-image"]) > 0


# ---- crops

def test_a_flipped_flow_still_leads_from_frame_to_frame():
    data = {"frames": (255*random(1, 5, 3, 20, 24)).to(torch.uint8), "flow": 4*random(1, 2, 2, 20, 24) - 2,
            "labels": (9*random(1, 2, 20, 24)).to(torch.uint8),
            "hidden": (random(1, 2, 1, 20, 24) > 0.5).to(torch.uint8)}
    crop = s.Crop(2, 3, (12, 16), True, True, [2, 0, 1])
    flow = crop.flow(data["flow"][0, 0])
    assert torch.equal(flow[:, 0, 0], -data["flow"][0, 0][:, 13, 18])
    assert torch.equal(crop.frames(data["frames"][0])[0, :, -1, -1], data["frames"][0, 0, [2, 0, 1], 2, 3].float()/255)
    b = s.crops(data, torch.tensor([0, 0]), (12, 16), torch.Generator().manual_seed(1))
    assert b["frames"].shape == (2, 5, 3, 12, 16) and b["flow"].shape == (2, 2, 2, 12, 16)
    assert b["hidden"].shape == (2, 2, 1, 12, 16) and b["labels"].shape == (2, 2, 12, 16)
    inner = s.inner_window(b, (8, 8), torch.Generator().manual_seed(0))
    assert inner["frames"].shape == (2, 5, 3, 8, 8) and inner["hidden"].shape == (2, 2, 1, 8, 8)


# ---- the world

def own_cover(shape, x, y):
    "Whether one point lies in a shape, from the description and not from the code."
    kind, a, b = shape[:3]
    if kind == 0: return True
    if kind == 2: return abs(x) < a and abs(y) < b
    angle = math.atan2(b*y, x)
    edge = a*(1 + sum(c*math.cos(m*angle + p) for m, c, p in zip((2, 3, 4, 5), shape[3:7], shape[7:])))
    return math.sqrt(x*x + b*b*y*y) < edge


@pytest.mark.parametrize("kind", s.SETS)
def test_true_flow_against_one_point_at_a_time(kind):
    rng = np.random.default_rng(4)
    layers = s.draw_layers(kind, 32, 48, rng, torch.zeros(2, 3, 8, 8))
    truth = s.true_flow(layers, 32, 48, 0, 1)
    def top(t, x, y):
        for k in range(len(layers) - 1, -1, -1):
            p = np.linalg.inv(layers[k].pose(t)) @ [x, y, 1]
            if own_cover(layers[k].shape, *(p[:2]/p[2])): return k, p[:2]/p[2]
    for x, y in rng.integers([0, 0], [48, 32], (150, 2)):
        k, p = top(0, x, y)
        end = layers[k].pose(1) @ [*p, 1]
        end = end[:2]/end[2]
        out = not (0 <= end[0] <= 47 and 0 <= end[1] <= 31)
        assert truth["flow"][:, y, x].tolist() == pytest.approx([end[0] - x, end[1] - y], abs=1e-4)
        assert bool(truth["leaves"][y, x]) == out and bool(truth["hidden"][y, x]) == (out or top(1, *end)[0] > k)


def test_the_oracle_agrees_and_finds_a_wrong_truth(monkeypatch):
    rng = np.random.default_rng(0)
    layers = s.draw_layers("Clean", 32, 48, rng, torch.zeros(2, 3, 8, 8))
    assert s.reprojected(layers, 32, 48, 0, 1)["away from outlines"] == 0
    right = s.true_flow
    def wrong(*a):
        found = right(*a)
        return found | {"hidden": found["leaves"]}                            # forgets what is covered
    monkeypatch.setattr(s, "true_flow", wrong)
    assert s.reprojected(layers, 32, 48, 0, 1)["all"] > 0.01


def test_what_is_visible_looks_the_same_where_the_flow_leads():
    rng = np.random.default_rng(1)
    bank = s.texture_bank("test", 6, 96, rng)
    layers = s.draw_layers("Clean", 64, 96, rng, bank)
    truth = s.true_flow(layers, 64, 96, 0, 1)
    now, later = (s.render(layers, 64, 96, t)[None] for t in (0, 1))
    off = (now - s.warp(later, truth["flow"][None])).abs().mean(1)[0]
    assert float(off[~truth["hidden"]].mean()) < 0.3*float(off[truth["hidden"]].mean())


def test_the_world_repeats_itself_and_its_splits_share_no_photograph():
    one, two = (s.split_of_world("validation", 1, 32, 48, 10, 7) for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one) and one["frames"].shape == (3, 5, 3, 32, 48)
    assert (one["hidden"] >= one["leaves"]).all() and one["labels"].shape == (3, 2, 32, 48)
    groups = list(s.PHOTOGRAPHS.values())
    assert not any(set(a) & set(b) for i, a in enumerate(groups) for b in groups[:i])
    with pytest.raises(PaperKitError, match="no such set"):
        s.sequence("Monkaa", 32, 48, np.random.default_rng(0), torch.zeros(1, 3, 8, 8))


def test_a_layer_that_comes_closer_moves_away_from_the_vanishing_point():
    pose = s.approached(lambda t: s.similarity(30, 20), 10.0, (20, 20))
    assert (pose(1) @ [0, 0, 1])[:2].tolist() == pytest.approx([20 + 10*10/9, 20])
    assert (pose(0) @ [0, 0, 1])[:2].tolist() == pytest.approx([30, 20])


# ---- measuring

def test_error_and_outliers_by_hand():
    truth = torch.tensor([[100., 10, 1], [0, 0, 0]]).view(1, 2, 1, 3)
    flow = truth + torch.tensor([[4.9, 3.1, 2.9], [0, 0, 0]]).view(1, 2, 1, 3)
    assert s.end_point_error(flow, truth).flatten().tolist() == pytest.approx([4.9, 3.1, 2.9], rel=1e-5)
    assert s.outliers(flow, truth).flatten().tolist() == [False, True, False]       # 4.9 is less than 5 percent of 100


def test_regions_and_means_by_hand():
    hidden = torch.tensor([[[[0, 1, 1, 1]], [[0, 0, 1, 0]]]]).bool()
    leaves = torch.tensor([[[[0, 0, 0, 1]], [[0, 0, 0, 0]]]]).bool()
    data = {"flow": torch.zeros(1, 2, 2, 1, 4), "hidden": hidden, "leaves": leaves, "set": torch.tensor([1])}
    flow = torch.zeros(1, 2, 1, 4)
    flow[0, 0, 0] = torch.tensor([1., 2, 4, 8])
    found = s.measured(flow, data)
    want = {"all": 3.75, "visible": 1, "occluded": 14/3, "left": 8, "covered": 3, "seen before": 5, "hidden twice": 4}
    assert {r: s.score(found, data, r) for r in s.REGIONS} == pytest.approx(want)
    assert s.score(found, data, "all", "Final", "outliers") == 50 and s.score(found, data, "all", "Clean") == 0
    data["flow"][0, 0, :, 0, 3] = torch.nan
    assert s.score(s.measured(flow, data), data) == pytest.approx(7/3)
    counts = {"right": torch.tensor([3.]), "false": torch.tensor([1.]), "missed": torch.tensor([2.])}
    assert s.map_f1(counts, data) == pytest.approx(6/9)
    pixels = torch.tensor([[False, True], [False, False]])
    moved = s.lands_in(torch.tensor([[[1., 0], [0, 0]], [[0., 0], [-1, -1]]]), pixels)
    assert moved.tolist() == [[True, True], [False, True]]


def test_a_network_that_knows_the_answer_measures_nothing():
    data = s.split_of_world("test", 1, 32, 48, 12, 0)
    found = s.measured(data["flow"][:, 0], data, (0,))
    assert found["error"].sum() == 0 and found["outliers"].sum() == 0 and found["flow"].shape == (1, 2, 32, 48)
    assert found["pixels"][:, 0].tolist() == [32*48]*3
    with pytest.raises(PaperKitError, match="no such method"): s.classical_flow(np.zeros((8, 8)), np.zeros((8, 8)),
                                                                                "DIS")


def test_classical_flow_is_column_then_row():
    picture = s.texture_bank("test", 1, 96, np.random.default_rng(0))[0].mean(0).double().numpy()
    i, j = picture[20:68, 20:84], picture[20:68, 18:82]                         # what was at x is at x + 2
    for method in ("TV-L1", "ILK"):
        flow = s.classical_flow(i, j, method)[:, 10:-10, 10:-10]
        assert np.median(flow[0]) == pytest.approx(2, abs=0.3) and np.median(flow[1]) == pytest.approx(0, abs=0.3)


# ---- trainings

def test_the_two_stages_run_and_refuse_what_they_do_not_know():
    world = s.world_stage({"train": 1, "labelled": 1, "validation": 1, "test": 1}, 32, 48, 12, 0)
    assert "flow" not in world["train"] and world["labelled"]["flow"].shape == (3, 2, 32, 48)
    few = dict(steps=10, seed=0, size=TINY, batch=1, crop=(24, 32), radius=1)
    noc = s.photometric_stage(world["train"], world["validation"], 3, True, **few, smooth=0.1)
    again = s.photometric_stage(world["train"], world["validation"], 3, True, **few, smooth=0.1)
    assert all(torch.equal(noc["state"][k], again["state"][k]) for k in noc["state"]) and len(noc["validation"]) == 10
    teacher = s.teacher_stage(world["train"], noc["state"], 3, TINY)
    assert teacher["flow"].shape == (3, 2, 2, 32, 48) and teacher["hidden"].shape == (3, 2, 1, 32, 48)
    for kind in s.KINDS:
        found = s.occluded_stage(world["train"], world["validation"], teacher, noc["state"], kind, 3, **few,
                                 window=(16, 24))
        assert math.isfinite(found["loss"][-1]) and len(found["validation"]) == 10
    with pytest.raises(PaperKitError, match="no such way"):
        s.occluded_stage(world["train"], world["validation"], teacher, noc["state"], "blur", 3, **few)


def test_supervised_training_lowers_its_loss():
    world = s.world_stage({"train": 1, "labelled": 1, "validation": 1}, 32, 48, 12, 0)
    found = s.supervised_stage(world["labelled"], world["validation"], 1, 60, 0, TINY, batch=2, crop=(32, 48),
                               rate=5e-3)
    assert found["validation"][-1] < 1.05*found["validation"][0] and len(found["validation"]) == 20
    zero = torch.zeros(1, 2, 4, 4)
    valid = torch.ones(1, 1, 4, 4)
    assert float(s.supervised_loss(zero, zero, valid)) == pytest.approx(2*0.01**0.4, rel=1e-4)
    assert float(s.supervised_loss(zero + 9, zero, 0*valid)) == 0


# ---- the authors' checkpoint

def np_conv(x, kernel, bias, stride=1, rate=1):
    "TensorFlow's SAME convolution on [h, w, c], by its documentation."
    (h, w, _), reach = x.shape, 2*rate + 1
    out = [-(-n//stride) for n in (h, w)]
    pads = [max((o - 1)*stride + reach - n, 0) for o, n in zip(out, (h, w))]
    x = np.pad(x, [(p//2, p - p//2) for p in pads] + [(0, 0)])
    total = np.zeros((*out, kernel.shape[-1])) + bias
    for i in range(3):
        for j in range(3):
            part = x[i*rate:i*rate + (out[0] - 1)*stride + 1:stride, j*rate:j*rate + (out[1] - 1)*stride + 1:stride]
            total += part @ kernel[i, j]
    return total


def np_warp(image, flow):
    "One pixel at a time: whole parts cut off towards zero, four clipped neighbours, weights from the clipped ones."
    h, w, _ = image.shape
    found = np.zeros_like(image)
    for y in range(h):
        for x in range(w):
            u, v = x + flow[y, x, 0], y + flow[y, x, 1]
            x0, y0 = int(u), int(v)
            x1, y1 = (min(max(k + 1, 0), n - 1) for k, n in ((x0, w), (y0, h)))
            x0, y0 = (min(max(k, 0), n - 1) for k, n in ((x0, w), (y0, h)))
            found[y, x] = ((x1 - u)*(y1 - v)*image[y0, x0] + (x1 - u)*(v - y0)*image[y1, x0]
                           + (u - x0)*(y1 - v)*image[y0, x1] + (u - x0)*(v - y0)*image[y1, x1])
    return found


def np_cost(a, b, r):
    norm = lambda x: x/np.sqrt(np.maximum((x*x).sum(-1, keepdims=True), 1e-12))
    a, b = norm(a), np.pad(norm(b), [(r, r), (r, r), (0, 0)])
    h, w, _ = a.shape
    return np.stack([(a*b[i:i + h, j:j + w]).sum(-1) for i in range(2*r + 1) for j in range(2*r + 1)], -1)


def np_resize(flow, h, w):
    a, b, _ = flow.shape
    found = np.zeros((h, w, 2))
    for y in range(h):
        for x in range(w):
            v, u = y*(a - 1)/(h - 1), x*(b - 1)/(w - 1)
            i, j = min(int(v), a - 2), min(int(u), b - 2)
            p, q = v - i, u - j
            found[y, x] = ((1 - p)*((1 - q)*flow[i, j] + q*flow[i, j + 1])
                           + p*((1 - q)*flow[i + 1, j] + q*flow[i + 1, j + 1]))
    return found*[w/b, h/a]


def np_selflow(t, frames, levels=3, finest=2, r=1, layers=3, dilations=(1, 2, 1, 1)):
    "The released network for any variables `t`, in NumPy, [h, w, c]."
    lrelu = lambda x: np.maximum(x, 0.2*x)
    conv = lambda name, x, *o: np_conv(x, t[name + "/weights"], t[name + "/biases"], *o)
    def features(x):
        found = {}
        for k in range(1, levels + 1):
            x = lrelu(conv(f"feature_extractor/conv{k}_1", x, 2))
            x = found[k] = lrelu(conv(f"feature_extractor/conv{k}_2", x))
        return found
    def chain(name, x, count, rates):
        for k in range(1, count): x = lrelu(conv(f"{name}{k}", x, 1, rates[k - 1]))
        return conv(f"{name}{count}", x, 1, rates[count - 1]), x
    f0, f1, f2 = map(features, frames)
    fw = bw = np.zeros((*f1[levels].shape[:2], 2))
    for k in range(levels, finest - 1, -1):
        h, w, _ = f1[k].shape
        if k < levels: fw, bw = np_resize(fw, h, w), np_resize(bw, h, w)
        c, d = np_cost(f1[k], np_warp(f2[k], fw), r), np_cost(f1[k], np_warp(f0[k], bw), r)
        name = f"estimator_level_{k}/conv"
        a = chain(name, np.concatenate([c, d, f1[k], fw, -bw], -1), layers, (1,)*layers)
        b = chain(name, np.concatenate([d, c, f1[k], bw, -fw], -1), layers, (1,)*layers)
        (fw, x), (bw, y) = a, b
    end = lambda x, y, fw, bw: chain("context_network/dilated_conv", np.concatenate([x, y, fw, -bw], -1),
                                     len(dilations),
                                     dilations)[0]
    size = frames[0].shape[:2]
    return [np_resize(f, *size) for f in (end(x, y, fw, bw), end(y, x, bw, fw))]


def released(seed=0):
    "A miniature in the layout of the released checkpoints: names and shapes as in their index files."
    rng, found = np.random.default_rng(seed), {}
    def layer(name, i, o):
        found[name + "/weights"] = (rng.standard_normal((3, 3, i, o))*np.sqrt(1.5/(9*i))).astype(np.float32)
        found[name + "/biases"] = rng.standard_normal(o).astype(np.float32)*0.1
    for k, (i, o) in enumerate(((3, 4), (4, 5), (5, 6)), 1):
        layer(f"feature_extractor/conv{k}_1", i, o)
        layer(f"feature_extractor/conv{k}_2", o, o)
    for k, width in ((3, 6), (2, 5)):
        for j, (i, o) in enumerate(((18 + width + 4, 7), (7, 5), (5, 2)), 1): layer(f"estimator_level_{k}/conv{j}", i,
                                                                                    o)
    for j, (i, o) in enumerate(((14, 6), (6, 5), (5, 4), (4, 2)), 1): layer(f"context_network/dilated_conv{j}", i, o)
    return found


def test_a_released_checkpoint_gives_what_an_independent_network_gives(tmp_path):
    variables = released()
    frames = random(3, 3, 16, 24, seed=3)
    want = np_selflow({k: v.astype(float) for k, v in variables.items()}, frames.permute(0, 2, 3, 1).double().numpy())
    beside = {"Variable": np.int64(500000),
              "feature_extractor/conv1_1/weights/Adam": np.zeros((3, 3, 3, 4), np.float32),
              "feature_extractor/conv1_1/weights/Adam_1": np.zeros((3, 3, 3, 4), np.float32),
              "beta1_power": np.float32(0)}
    np.savez(tmp_path/"selflow.npz", **variables, **beside)
    for source in (variables, variables | beside, tmp_path/"selflow.npz"):
        network = s.load_official(source)
        found = s.estimate(network, frames)
        for k in (0, 1):
            assert np.abs(found[k].permute(1, 2, 0).numpy() - want[k]).max() < 1e-4*max(1, np.abs(want[k]).max())
    assert network.released and np.abs(want[0]).max() > 0.1
    network.released = False
    assert (s.estimate(network, frames)[0].permute(1, 2, 0).numpy() - want[0]).__abs__().max() > 1e-3 


def test_the_published_network_has_the_names_of_the_released_checkpoints():
    names = {n.rsplit(".", 1)[0].replace(".", "/") for n in s.FlowNetwork().state_dict()}
    want = {f"feature_extractor/conv{k}_{j}" for k in range(1, 7) for j in (1, 2)}
    want |= {f"estimator_level_{k}/conv{j}" for k in range(2, 7) for j in range(1, 7)}
    want |= {f"context_network/dilated_conv{k}" for k in range(1, 8)}
    assert names == want


@pytest.mark.parametrize("spoil", (
    lambda t: {}, lambda t: {k: v for k, v in t.items() if "estimator" not in k},
    lambda t: {k: v for k, v in t.items() if k != "estimator_level_2/conv2/biases"},
    lambda t: t | {"context_network/dilated_conv2/weights": np.zeros((3, 3, 9, 5), np.float32)},
    lambda t: t | {"feature_extractor/conv1_1/biases": np.array([np.nan]*4, np.float32)},
    lambda t: t | {"feature_extractor/conv1_1/biases": np.array(["a"]*4)},
    lambda t: t | {"more/weights": np.zeros((3, 3, 1, 1), np.float32)},
    lambda t: t | {"estimator_level_3/conv1/weights": np.zeros((3, 3, 31, 7), np.float32)}))
def test_a_checkpoint_that_does_not_fit_is_named(spoil):
    with pytest.raises(PaperKitError): s.load_official(spoil(released()))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path/"a.npz").write_bytes(b"nonsense")
    for name in ("a.npz", "missing.npz"):
        with pytest.raises(PaperKitError): s.load_official(tmp_path/name)


# ---- files of the real data sets

def filtered_png(values, kinds):
    "A 16-bit PNG written with the given filter for each row, by the specification."
    h, w, _ = values.shape
    raw = values.astype(">u2").tobytes()
    rows = [raw[k*6*w:(k + 1)*6*w] for k in range(h)]
    body = b""
    for y, row in enumerate(rows):
        above, out = rows[y - 1] if y else bytes(6*w), bytearray([kinds[y]])
        for x, value in enumerate(row):
            a, b, c = (row[x - 6] if x >= 6 else 0), above[x], (above[x - 6] if x >= 6 else 0)
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((value - (0, a, b, (a + b)//2, nearest)[kinds[y]]) % 256)
        body += bytes(out)
    chunk = lambda n, d: len(d).to_bytes(4, "big") + n + d + zlib.crc32(n + d).to_bytes(4, "big")
    head = w.to_bytes(4, "big") + h.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    data = zlib.compress(body)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data[:9]) + chunk(b"IDAT", data[9:])
            + chunk(b"IEND", b""))


def test_all_filters_of_png_are_undone(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    (tmp_path/"a.png").write_bytes(filtered_png(values, (0, 1, 2, 3, 4)))
    assert np.array_equal(s.read_png16(tmp_path/"a.png"), values)
    s.write_png16(tmp_path/"b.png", values)
    assert np.array_equal(s.read_png16(tmp_path/"b.png"), values)
    with Image.open(tmp_path/"b.png") as image: assert image.size == (7, 5)            # another reader takes it
    good = (tmp_path/"a.png").read_bytes()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path/"eight.png")
    for k, bad in enumerate((good[:-30], good[:60] + b"\0" + good[61:], b"no", (tmp_path/"eight.png").read_bytes())):
        (tmp_path/f"bad{k}.png").write_bytes(bad)
        with pytest.raises(PaperKitError): s.read_png16(tmp_path/f"bad{k}.png")


def test_kitti_flow_by_hand(tmp_path):
    values = np.zeros((2, 3, 3), np.uint16)
    values[0, 0] = (32768 + 64, 32768 - 160, 1)
    s.write_png16(tmp_path/"a.png", values)
    flow, valid = s.read_kitti_flow(tmp_path/"a.png")
    assert flow[:, 0, 0].tolist() == [1, -2.5] and valid.sum() == 1 and flow[:, 1, 1].tolist() == [0, 0]
    want = (np.random.default_rng(0).integers(-500, 500, (2, 4, 5))/64).astype(np.float32)
    occluded = np.eye(4, 5) > 0
    s.write_kitti_flow(tmp_path/"t.png", want, occluded)
    flow, third = s.read_teacher_flow(tmp_path/"t.png")
    assert np.array_equal(flow, want) and np.array_equal(third, occluded)


def test_flo_files(tmp_path):
    flow = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    s.write_flo(tmp_path/"a.flo", flow)
    data = (tmp_path/"a.flo").read_bytes()
    assert np.array_equal(s.read_flo(tmp_path/"a.flo"), flow) and data[:4] == b"PIEH"
    assert np.frombuffer(data[4:12], "<i4").tolist() == [4, 3] and np.frombuffer(data[12:16], "<f4")[0] == flow[0, 0, 0]
    nan = flow.copy()
    nan[1, 2, 3] = np.nan
    s.write_flo(tmp_path/"nan.flo", nan)
    (tmp_path/"torn.flo").write_bytes(data[:-5])
    (tmp_path/"other.flo").write_bytes(b"RIFF" + data[4:])
    (tmp_path/"empty.flo").write_bytes(b"")
    for name in ("nan", "torn", "other", "empty", "missing"):
        with pytest.raises(PaperKitError): s.read_flo(tmp_path/f"{name}.flo")


def picture(path, value=0, size=(24, 32), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    rng = np.random.default_rng(value)
    Image.fromarray(rng.integers(0, 256, shape, np.uint8) if mode == "RGB"
                    else np.full(shape, value, np.uint8)).save(path)


def small_sintel(root, scenes=("alley_1", "bamboo_2", "cave_3"), frames=3):
    "The layout of MPI Sintel's archive: its README, and the authors' list of clips."
    base = root/"training"
    for scene in scenes:
        for k in range(1, frames + 1):
            name = f"{scene}/frame_{k:04d}"
            for kind in ("clean", "final"): picture(base/kind/f"{name}.png", k)
            if k == frames: continue
            (base/"flow"/scene).mkdir(parents=True, exist_ok=True)
            s.write_flo(base/"flow"/f"{name}.flo", np.full((2, 24, 32), 1.5*k, np.float32))
            picture(base/"occlusions"/f"{name}.png", 255 if k == 2 else 0, mode="L")
            picture(base/"invalid"/f"{name}.png", 0, mode="L")
    return root


def test_sintel_on_a_miniature(tmp_path):
    data = s.Sintel(small_sintel(tmp_path), "final")
    assert len(data) == 6 and data.scenes == ["alley_1", "bamboo_2", "cave_3"]
    one = data[1]
    assert one["frames"].shape == (5, 3, 24,
                                   32) and one["flow"][0, 0, 0] == 3 and one["hidden"].all() and one["valid"].all()
    assert np.array_equal(data[0]["frames"][0], data[0]["frames"][2])                 # before the first frame: repeated
    assert len(s.Sintel(tmp_path, "clean", ["cave_3"])) == 2
    flow = tmp_path/"training/flow/alley_1/frame_0001.flo"
    flow.write_bytes(flow.read_bytes()[:40])
    with pytest.raises(PaperKitError, match="flo"): data[0]
    flow.unlink()
    with pytest.raises(PaperKitError, match="frame is missing"): data[0]
    (tmp_path/"training/final/alley_1/frame_0002.png").write_bytes(b"x")
    with pytest.raises(PaperKitError): data[1]
    s.write_flo(tmp_path/"training/flow/bamboo_2/frame_0001.flo", np.full((2, 24, 32), np.nan, np.float32))
    with pytest.raises(PaperKitError, match="finite"): data[2]
    s.write_flo(tmp_path/"training/flow/bamboo_2/frame_0002.flo", np.zeros((2, 20, 32), np.float32))
    with pytest.raises(PaperKitError, match="do not fit together"): data[3]
    for kind in ("albedo", "clean"):
        with pytest.raises(PaperKitError): s.Sintel(tmp_path/("none" if kind == "clean" else ""), kind)


def small_kitti(root, count=3):
    "The layout of KITTI 2015 with its multi-view extension: its development kit's readme."
    base = root/"training"
    for i in range(count):
        for k in (8, 9, 10, 11, 12): picture(base/"image_2"/f"{i:06d}_{k:02d}.png", k)
        for name, seen in (("flow_occ", 1.0), ("flow_noc", 0.5)):
            (base/name).mkdir(parents=True, exist_ok=True)
            valid = np.zeros((24, 32), bool)
            valid[4:, :int(32*seen)] = True
            s.write_kitti_flow(base/name/f"{i:06d}_10.png", np.full((2, 24, 32), 2.0), valid)
    return root


def test_kitti_on_a_miniature(tmp_path):
    data = s.Kitti(small_kitti(tmp_path))
    one = data[0]
    assert len(data) == 3 and one["frames"].shape == (5, 3, 24, 32) and one["valid"].sum() == 20*32
    assert one["hidden"].sum() == 20*16 and (one["flow"][:, one["valid"]] == 2).all()
    small = s.shrunk(one, 12, 16)
    assert torch.isnan(small["flow"][0, :, 0]).all() and torch.allclose(small["flow"][0, :, 5], torch.ones(2, 16))
    assert small["hidden"][0, 5].tolist() == [False]*8 + [True]*8 and small["leaves"][0, 5].sum() == 1
    (tmp_path/"training/image_2/000001_08.png").unlink()
    with pytest.raises(PaperKitError, match="missing"): data[1]
    flow = tmp_path/"training/flow_occ/000002_10.png"
    flow.write_bytes(flow.read_bytes()[:50])
    with pytest.raises(PaperKitError): data[2]
    with pytest.raises(PaperKitError, match="no flow"): s.Kitti(tmp_path/"nowhere")


def test_a_real_data_set_becomes_splits_like_the_world_s(tmp_path):
    from types import SimpleNamespace
    small_sintel(tmp_path/"s", tuple("abcde"))
    world = s.real_world_stage(SimpleNamespace(name="sintel_flow", path=tmp_path/"s"), 16, 24, 6,
                               {"train": 4, "validation": 2, "test": 2})
    assert world["train"]["frames"].shape == (8, 5, 3, 16, 24) and world["test"]["set"].tolist() == [0, 0, 1, 1]
    assert world["test"]["flow"].shape == (4, 2, 2, 16, 24) and world["train"]["labels"].dtype == torch.uint8
    result = s.measured(torch.zeros(4, 2, 16, 24), world["test"])
    assert s.score(result, world["test"]) > 0 and np.isfinite(s.score(result, world["test"], "occluded"))
    kitti = s.real_world_stage(SimpleNamespace(name="kitti_flow", path=small_kitti(tmp_path/"k", 6)), 16, 24, 6,
                               {"train": 3, "validation": 1, "test": 1})
    assert kitti["train"]["set"].tolist() == [2]*3 and kitti["test"]["set"].tolist() == [2]
    zero = {"zero": s.measured(torch.zeros(1, 2, 16, 24), kitti["test"])}
    zero["ILK"] = zero["TV-L1"] = zero["zero"]
    ladder = dict.fromkeys(("3 mask", "3 crop", "3 superpixel"), [zero["zero"]])
    frame = s.table_1(ladder, zero, {}, kitti["test"])
    assert list(frame.columns) == ["method", "Drive", "Drive Fl"] and len(frame) == 6


def test_lists_of_five_frames(tmp_path):
    (tmp_path/"list.txt").write_text("a_0.png a_1.png a_2.png a_3.png a_4.png 0000 rest\n\nb/0 b/1 b/2 b/3 b/4 0001\n")
    found = s.read_five_frame_list(tmp_path/"list.txt")
    assert found == [([f"a_{k}.png" for k in range(5)], "0000"), ([f"b/{k}" for k in range(5)], "0001")]
    for bad in ("a b c d e\n", "/etc/passwd b c d e 0\n", "../a b c d e 0\n"):
        (tmp_path/"bad.txt").write_text(bad)
        with pytest.raises(PaperKitError, match="a line of the list"): s.read_five_frame_list(tmp_path/"bad.txt")


# ---- the claims

FLAT = [4.0, 2.0, *[1.0]*18]
FALLING = np.linspace(4, 1, 20).tolist()


def around(x, n):
    "So many numbers close to x, with a spread of their own."
    return (x*(1 + 0.01*np.random.default_rng([n, round(1000*x)]).standard_normal(n))).tolist()


def numbers(claim):
    "Numbers with which a claim holds."
    five, three = (lambda x: around(x, 5)), (lambda x: around(x, 3))
    curves = lambda *names, n=5: {f"validation of {k}": [FLAT]*n for k in names}
    if claim == "C1":
        return {f"{k}, {n} frames, {how}": (five if n == 3 else three)(x) for k in s.SETS for n in (2, 3)
                for how, x in (("none", 2.0), ("mask", 1.5))} | curves("2 none", "2 mask", "3 none", "3 mask")
    if claim == "C2":
        return {f"drop on {region}, {how}": three(x) for how in ("none", "mask", "superpixel") for region, x in
                (("occluded", 0.3), ("visible", 0.1), ("seen before", 0.5), ("hidden twice", 0.1))} | curves(
                    "2 none", "2 mask", "2 superpixel", "3 none", "3 mask", "3 superpixel")
    if claim == "C3":
        sizes = {"occluded": {"NOC": 10.0, "OCC": 5.0, "longer": 9.9},
                 "visible": {"NOC": 1.0, "OCC": 0.98, "longer": 1.0}}
        return {f"{k}, {region}, {name}": five(x) for k in s.SETS for region, row in sizes.items()
                for name, x in row.items()} | curves("3 mask", "3 superpixel", "3 longer")
    if claim == "C4": return {"superpixel": five(1.0), "rectangle": five(1.1)} | curves("3 superpixel", "3 rectangle")
    if claim == "C5":
        return {"teacher's error on M": five(1.0), "teacher's error on occlusions": five(9.0),
                "share of M truly visible": five(0.95)} | curves("3 mask", "3 superpixel")
    if claim == "C6":
        return {"already occluded": [0, 0], "not the pre-image": [0, 0], "overlap of M with the oracle's": five(0.7)}
    if claim == "C7":
        return {"census distance of a brighter copy": [1e-12]*5, "Final, census": three(1.0),
                "Final, raw colours": three(1.4)} | curves("3 mask", "raw", n=3)
    if claim == "C8":
        words = {"few": (1.0, 2.0), "some": (0.9, 1.5), "many": (0.8, 1.0)}
        return ({f"with, {w}": three(a) for w, (a, b) in words.items()} | {f"without, {w}": three(b) for w, (a, b) in
                words.items()} | {f"validation {how}, {w}": [FLAT]*3 for how in ("with", "without") for w in words}
                | {"gap": [[1.0, 0.6, 0.2], [1.1, 0.6, 0.21], [0.9, 0.5, 0.2]]})
    if claim == "C9":
        return {f"{k}, {m}": three(x) for k in s.SETS for m, x in (("ours", 1.0), ("DDFlow-like", 1.3),
                ("UnFlow-like", 1.4), ("TV-L1", 2.0))}
    if claim == "C10":
        return {f"{k}, {m}": three(x) for k in ("Final", "Drive") for m, x in (("fine-tuned", 1.0),
                ("trained from nothing", 1.3))}
    if claim == "C11":
        return {"F1 on Clean, OCC-model": three(0.75), "F1 on Clean, row 1": three(0.5)} | curves("3 superpixel",
                                                                                                  "2 none")
    return {"covered, superpixel": five(2.0), "covered, crop": five(3.0), "left, superpixel": five(2.0),
            "left, crop": [2.02, 1.99, 2.03, 2.0, 2.04]} | curves("3 superpixel", "3 crop")


WRONG = [("C1", {"Drive, 2 frames, mask": around(2.3, 3)}), ("C1", {"Clean, 3 frames, mask": around(2.1, 5)}),
         ("C2", {"drop on occluded, none": around(0.05, 3), "drop on occluded, mask": around(0.04, 3)}),
         ("C2", {"drop on seen before, mask": around(0.02, 3)}),
         ("C3", {"Drive, occluded, OCC": around(8.0, 5)}), ("C3", {"Clean, occluded, OCC": around(9.6, 5)}),
         ("C3", {"Final, visible, OCC": around(1.1, 5)}), ("C3", {"Clean, occluded, longer": around(5.0, 5)}),
         ("C4", {"superpixel": around(1.2, 5)}), ("C5", {"teacher's error on M": around(4.0, 5)}),
         ("C5", {"share of M truly visible": around(0.8, 5)}), ("C6", {"already occluded": [0, 3]}),
         ("C6", {"not the pre-image": [1, 0]}), ("C6", {"overlap of M with the oracle's": around(0.3, 5)}),
         ("C7", {"census distance of a brighter copy": [1e-12, 0.1]}), ("C7", {"Final, census": around(1.6, 3)}),
         ("C8", {"with, many": around(1.2, 3)}),
         ("C8", {"gap": [[0.2, 0.3, 0.6], [0.25, 0.3, 0.61], [0.2, 0.3, 0.62]]}),
         ("C9", {"Clean, DDFlow-like": around(0.6, 3)}), ("C9", {"Drive, TV-L1": around(0.5, 3)}),
         ("C10", {"Final, fine-tuned": around(1.5, 3)}), ("C11", {"F1 on Clean, OCC-model": around(0.55, 3)}),
         ("C11", {"F1 on Clean, row 1": around(0.9, 3)}), ("E1", {"covered, superpixel": around(3.5, 5)}),
         ("E1", {"left, superpixel": around(2.5, 5)})]


@pytest.mark.parametrize("claim", sorted(s.predicates))
def test_each_predicate_holds_on_numbers_that_must_hold(claim):
    looks = next(c.get("looks", ()) for c in load_manifest(ROOT/"data/papers/selflow.yaml")["claims"]
                 if c["id"] == claim)
    assert s.predicates[claim].evaluate(numbers(claim), looks).verdict == "holds"


@pytest.mark.parametrize("claim, spoilt", WRONG)
def test_each_predicate_fails_on_numbers_that_must_fail_it(claim, spoilt):
    assert s.predicates[claim].evaluate(numbers(claim) | spoilt, ()).verdict == "fails"


@pytest.mark.parametrize("claim", ("C1", "C2", "C3", "C4", "C5", "C7", "C8", "C11", "E1"))
def test_a_training_that_has_not_converged_decides_nothing(claim):
    values = numbers(claim)
    curve = next(k for k in values if k.startswith("validation"))
    assert s.predicates[claim].evaluate(values | {curve: [FALLING]*3}, ()).verdict == "undecided"


# ---- the exhibits

def stub_results():
    "Results of an untrained small network on one sequence of each set."
    world = {"test": s.split_of_world("test", 1, 64, 96, 20, 0)}
    nets = {name: s.network_of(SMALL, 3, k).state_dict() for k, name in enumerate(("3 mask", "3 superpixel"))}
    flow = {"flow": world["test"]["flow"][:, 0].half(), "map": world["test"]["hidden"][:, 0]}
    ladder = {name: [{"state": nets.get(name, nets["3 mask"])} | flow] for name in s.LADDER}
    return {"world": world, "ladder": ladder, "sizes": {"network": SMALL, "keep": (0, 1, 2)}}


@pytest.fixture(scope="module")
def stub(): return stub_results()


def test_few_bits_are_close(stub):
    case = s.picker_case(stub)
    teacher, change, base, student = s.picker_states(case)
    for state, again, most in ((case["teacher"], base, 127), (case["student"], student, 7)):
        assert again.keys() == state.keys()
        largest = max(float((state[k] - base[k]*(most == 7)).abs().max()) for k in state)
        assert all((again[k] - state[k]).abs().max() <= largest/most for k in state)
    assert change["context_network.dilated_conv1.q"].abs().max() == 7
    assert teacher["context_network.dilated_conv1.q"].abs().max() == 127


DOM = """
const elements = {}, made = () => ({ dataset: {}, style: {}, addEventListener() {}, getContext: () => ({
  createImageData: (w, h) => ({ data: new Uint8ClampedArray(4*w*h) }), putImageData(image) { this.last = image; } }) });
const root = { querySelector: (s) => elements[s] ??= made(), querySelectorAll: () => [] };
globalThis.atob = (t) => Buffer.from(t, "base64").toString("latin1");
"""


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_picker_computes_what_the_module_computes(stub, tmp_path):
    case = s.picker_case(stub)
    data = s.picker_data(stub, case)
    data["frames"] = [s._text(f.numpy()) for f in case["frames"][1:]]        # as they are: node decodes no pictures
    data["picked"] = []                                  # the noise is another there; without any it must agree
    script = (ROOT/"paper_kit/assets/exhibits/selflow_picker.js").read_text().split("\n", 1)[1].rstrip().rstrip(";")
    hook = script.replace("const before = occluded(sure[0], back[1]);",
                          "const before = occluded(sure[0], back[1]); "
                          "globalThis.found = {flow: [...sure[0].v], before: [...before], weights: [...student["
                          "'context_network.dilated_conv1'].w]};")
    (tmp_path/"a.js").write_text(DOM + f"const data = {json.dumps(data)};\n({hook})(root, data).then(() => console.log("
                                 "JSON.stringify({...globalThis.found, said: elements['output'].textContent})));")
    done = subprocess.run(["node", str(tmp_path/"a.js")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    weights = s.picker_states(case)[3]["context_network.dilated_conv1.weight"]
    assert np.abs(np.array(found["weights"]) - weights.flatten().numpy()).max() < 1e-5
    network = s.network_of(SMALL, 3, state=s.picker_states(case)[2]).eval()
    with torch.no_grad(): flows = s.five_frame_flows(network, case["frames"][None].float()/255)
    # at the border a warped feature may be a rounding error, which is then normalised: there the two may differ
    off = np.abs(np.array(found["flow"]) - flows[2, 3].flatten().numpy())
    assert np.median(off) < 1e-3 and off.mean() < 0.02*float(flows[2, 3].abs().mean())
    assert np.mean(np.array(found["before"]) != s.occlusion(flows[2, 3], flows[3, 2], a2=0.5).flatten().numpy()) < 0.01
    assert "teacher - px wrong" in found["said"]


def test_the_exhibits_are_small_and_say_what_they_show(stub):
    picker, ladder = s.picker(stub).html(), s.ladder_view(stub).html()
    assert len(picker) < 450_000 and len(ladder) < 300_000
    assert picker.count("<canvas") == 8 and ladder.count("<canvas") == 4 and 'id="model"' in ladder
    assert s.picker({"sizes": {"network": {}}}) is None
    wheel = s.wheel_colors(np.array([[[2.0, 0.0, np.nan]], [[0.0, 0.0, 0.0]]]), 2)
    assert wheel[0, 0].tolist() == pytest.approx([1, 0, 0])
    assert wheel[0, 1].tolist() == [1, 1, 1] and wheel[0, 2, 0] == 0.5


def test_pretrained_says_what_to_run_when_nothing_was_published(tmp_path):
    with pytest.raises(PaperKitError): s.pretrained(tmp_path/"none.safetensors")
