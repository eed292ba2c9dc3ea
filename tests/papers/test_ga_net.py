"""What the notebook of ga_net cannot hold: hand-computed checks, a naive loop, predicates that must fail, layouts of
files and checkpoints in miniature, bad inputs."""
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from paper_kit.kit.datasets import source
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.geometry import intrinsics, look_at
from paper_kit.kit.nn import parameter_count, seeded
from paper_kit.kit.paper import load_manifest, reaches
from paper_kit.kit.scenes import Part, Thing, assemble, texture_bank
from paper_kit.matching import ga_net as m
from paper_kit.matching.ga_net import predicates, stages

F = torch.nn.functional
SMALL = dict(width=8, most=12, levels=3, lga_size=3, dispnet=8)


def normal(*size, seed=0, kind=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=kind)


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"ga_net.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"

def test_the_stages_can_be_called_without_a_notebook():
    assert callable(stages)


# the layers

def test_two_steps_of_equation_5_by_hand():
    """C = (1, 2, 4) then (8, 0, 0); w = (.2, .3, .1, .15, .25). The first pixel keeps its costs (weights sum to 1). Of
    the second, d = 0: .2*8 + .3*1 + .1*8 (no d - 1) + .15*2 + .25*4 = 4.0; d = 1: 0 + .6 + .1*1 + .15*4 + 1 = 2.3;
    d = 2: 0 + 1.2 + .1*2 + .15*0 (no d + 1: C) + 1 = 2.4."""
    cost = torch.tensor([[1.0, 8], [2, 0], [4, 0]]).double()
    w = torch.tensor([0.2, 0.3, 0.1, 0.15, 0.25]).double()
    expected = torch.tensor([[1, 4.0], [2, 2.3], [4, 2.4]]).double()
    torch.testing.assert_close(m.sga_loop(cost, w[:, None].expand(5, 2)), expected)
    for run in (m.scan, m.sga_scan):
        torch.testing.assert_close(run(cost[None, :, :, None], w[None, :, None, None].expand(1, 5, 2, 1).contiguous())
                                   [0, :, :, 0], expected)

@pytest.mark.parametrize("run", [m.scan, m.sga_scan])
def test_sga_is_the_naive_loop_in_four_directions_and_so_are_its_gradients(run):
    cost, raw = normal(2, 2, 4, 3, 5).requires_grad_(), normal(2, 4, 2, 5, 3, 5, seed=1).requires_grad_()
    w = m.normalised(raw, 3)
    def along(line, weights, back):
        return m.sga_loop(line.flip(1), weights.flip(1)).flip(1) if back else m.sga_loop(line, weights)
    found = []
    for r in range(4):
        out = torch.zeros_like(cost)
        for b, c in np.ndindex(2, 2):
            if r < 2:
                lines = [along(cost[b, c, :, :, x], w[b, r, c, :, :, x], r == 1) for x in range(5)]
                piece = torch.stack(lines, 2)
            else: piece = torch.stack([along(cost[b, c, :, y], w[b, r, c, :, y], r == 3) for y in range(3)], 1)
            mask = torch.zeros_like(out); mask[b, c] = 1
            out = out + mask*piece
        found.append(out)
    naive, fast = torch.stack(found).amax(0), m.sga(cost, w, run)
    torch.testing.assert_close(fast, naive, atol=1e-12, rtol=0)
    up = normal(*cost.shape, seed=2)
    for a, b in zip(torch.autograd.grad(fast, (cost, raw), up, retain_graph=True),
                    torch.autograd.grad(naive, (cost, raw), up)): torch.testing.assert_close(a, b, atol=1e-11, rtol=0)

def test_gradients_in_double_precision():
    assert torch.autograd.gradcheck(m.scan, (normal(1, 3, 4, 2).requires_grad_(), normal(1, 5, 4, 2).requires_grad_()))
    for raw in (False, True):
        assert torch.autograd.gradcheck(lambda c, w, raw=raw: m.lga(c, w, 2, raw),
                                        (normal(1, 3, 4, 5).requires_grad_(), normal(1, 27, 4, 5).requires_grad_()))

def test_the_maximum_hands_its_gradient_to_one_disparity_of_the_pixel_before():
    cost = torch.tensor([[1.0, 0], [3, 0], [2, 0]]).double()[None, :, :, None].requires_grad_()
    w = torch.zeros(1, 5, 2, 1).double()
    w[0, 0, 0], w[0, 4, 1] = 1, 1
    m.scan(cost, w)[0, :, 1].sum().backward()
    assert cost.grad[0, :, 0, 0].tolist() == [0, 3, 0]

def test_weights_do_not_mix_channels_rows_or_pairs():
    cost, raw = normal(2, 2, 3, 4, 5), normal(2, 4, 2, 5, 4, 5, seed=1)
    before = m.sga(cost, m.normalised(raw, 3))
    cost[1, 1] += 1
    assert torch.equal(m.sga(cost, m.normalised(raw, 3))[0], before[0])
    assert torch.equal(m.sga(cost, m.normalised(raw, 3))[1, 0], before[1, 0])

def test_turning_the_picture_over_swaps_the_directions():
    cost, w = normal(1, 1, 3, 4, 5), m.normalised(normal(1, 4, 1, 5, 4, 5, seed=1), 3)
    upside = w[:, [1, 0, 2, 3]].flip(-2)
    torch.testing.assert_close(m.sga(cost.flip(-2), upside).flip(-2), m.sga(cost, w))
    turned = w[:, [2, 3, 0, 1]].transpose(-1, -2)
    torch.testing.assert_close(m.sga(cost.transpose(-1, -2), turned).transpose(-1, -2), m.sga(cost, w))

def test_semi_global_matching_is_a_limit_at_both_ends():
    cost = torch.rand(7, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    row = cost.T[None]
    def path(values, w):
        k = torch.tensor(w).double()[None, :, None, None].repeat(1, 1, 30, 1)
        k[:, :, 0] = torch.tensor([1.0, 0, 0, 0, 0]).double()[:, None]
        return m.scan(values[None, :, :, None], k)[0, :, :, 0]
    torch.testing.assert_close(path(cost, (1.0, 1, 0, 0, 0)), m.sgm(row, 1e9, 1e9, [(0, 1)])[0].T)
    torch.testing.assert_close(-path(-cost, (1.0, 0, 0, 0, 1)), m.sgm(row, 0, 0, [(0, 1)])[0].T)

def test_lga_moves_a_profile_and_keeps_its_own_where_there_is_no_neighbour():
    cost = normal(1, 4, 3, 5)
    left = torch.zeros(1, 27, 3, 5).double()
    left[:, 9 + 3] = 1                                              # the filter of d: row y, column x - 1
    out = m.lga(cost, left, 1)
    assert torch.equal(out[..., 1:], cost[..., :-1]) and torch.equal(out[..., 0], cost[..., 0])
    lower = torch.zeros(1, 27, 3, 5).double(); lower[:, 4] = 1      # d - 1, same pixel
    out = m.lga(cost, lower, 1)
    assert torch.equal(out[:, 1:], cost[:, :-1]) and torch.equal(out[:, 0], cost[:, 0])

@pytest.mark.parametrize("size", [3, 5])
def test_the_filter_kernel_is_the_sum_over_shifts(size):
    cost, raw = normal(2, 5, 6, 7).requires_grad_(), normal(2, 3*size**2, 6, 7, seed=3).requires_grad_()
    fast = m.lga(cost, raw, 2, raw=True)
    plain = m.lga_shifts(m.lga_shifts(cost, m.normalised(raw, 1)), m.normalised(raw, 1))
    torch.testing.assert_close(fast, plain, atol=1e-12, rtol=0)
    up = normal(2, 5, 6, 7, seed=4)
    for a, b in zip(torch.autograd.grad(fast, (cost, raw), up), torch.autograd.grad(plain, (cost, raw), up)):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)

def test_constant_costs_stay_constant_under_weights_that_sum_to_one():
    ones = torch.full((1, 2, 4, 5, 6), 3.0).double()
    w = m.normalised(normal(1, 4, 2, 5, 5, 6), 3, "softmax")
    torch.testing.assert_close(m.sga(ones, w), ones)
    torch.testing.assert_close(m.lga(ones[:, 0], m.normalised(normal(1, 27, 5, 6), 1, "softmax")), ones[:, 0])

def test_bad_shapes_are_refused():
    with pytest.raises(PaperKitError, match="do not fit"): m.sga(normal(1, 2, 3, 4, 5), normal(1, 4, 2, 4, 4, 5))
    with pytest.raises(PaperKitError, match="do not fit"): m.scan(normal(1, 3, 4, 2), normal(1, 4, 4, 2))
    with pytest.raises(PaperKitError, match="do not fit"): m.lga(normal(1, 3, 4, 5), normal(1, 26, 4, 5))
    with pytest.raises(PaperKitError, match="no such way"): m.normalised(normal(3), 0, "l2")


# the network

def test_the_released_networks_have_their_numbers_of_parameters():
    with torch.device("meta"):
        assert parameter_count(m.GANet(**m.RELEASED["11"])) == 4_483_728
        assert parameter_count(m.GANet(**m.RELEASED["22"])) + 6_560 == 6_580_112      # and deconv0b, never called
        assert parameter_count(m.Feature()) == 2_366_848

def test_a_plan_has_as_many_convolutions_as_its_name_says():
    for name in m.PLANS:
        assert sum(s.convolutions for s in m.steps_of(name)) == int(name)
        with torch.device("meta"): aggregation = m.GANet(name, slots=(), lga_size=0).cost_agg
        count = sum(isinstance(x, (torch.nn.Conv3d, torch.nn.ConvTranspose3d)) for x in aggregation.modules())
        assert count - sum(isinstance(x, m.Disp) for x in aggregation.modules()) == int(name)
    for make, heads in ((m.GCAggregation, 0), (m.PSMAggregation, 3)):
        with torch.device("meta"): aggregation = make(32, 192, 3)
        count = sum(isinstance(x, (torch.nn.Conv3d, torch.nn.ConvTranspose3d)) for x in aggregation.modules())
        assert count - heads == make.convolutions

def test_the_starred_twin_has_the_same_3d_convolutions():
    shapes = lambda net: [tuple(x.weight.shape) for x in net.cost_agg.modules() if isinstance(x, torch.nn.Conv3d)]
    for n in m.SWEEP: assert shapes(m.built(f"GA-Net-{n}", SMALL)) == shapes(m.built(f"GA-Net*-{n}", SMALL))

def test_the_cost_volume_has_the_right_picture_shifted_by_d():
    left, right = normal(1, 2, 3, 6), normal(1, 2, 3, 6, seed=1)
    volume = m.cost_volume(left, right, 4)
    assert volume.shape == (1, 4, 5, 3, 6) and not volume[:, :, 3, :, :3].any()
    assert torch.equal(volume[:, :2, 3, :, 3:], left[..., 3:]) and torch.equal(volume[:, 2:, 3, :, 3:], right[..., :3])
    assert not m.cost_volume(left, right, 7)[:, :, 7].any()

def test_enlarging_keeps_the_disparity_of_a_slice_and_the_released_way_does_not():
    cost = torch.zeros(1, 1, 9, 2, 2).double()
    cost[:, :, 1] = -1
    ours, theirs = m.enlarged(cost, 24, 3), m.enlarged(cost, 24, 3, released=True)
    assert ours.shape == theirs.shape == (1, 25, 6, 6)
    assert ours[0, :, 3, 3].argmin() == 3 and ours[0, 2, 3, 3] == pytest.approx(-2/3)
    centre = lambda v: float((v[0, :, 3, 3]*torch.arange(25)).sum()/v[0, :, 3, 3].sum())
    assert abs(centre(ours) - 3) < 1e-9 and abs(centre(theirs) - 3) > 0.5

def test_the_least_cost_is_the_likeliest():
    network = m.Disp(1, 12, 3)
    torch.nn.init.zeros_(network.conv32x1.weight); network.conv32x1.weight.data[0, 0, 1, 1, 1] = 1
    x = torch.full((1, 1, 5, 2, 2), 50.0); x[:, :, 2] = -50
    torch.testing.assert_close(m.regress(network(x)), torch.full((1, 6, 6), 6.0), atol=1e-3, rtol=0)

@pytest.mark.parametrize("name", [*m.SETTINGS, "DispNet"])
def test_every_network_trains_a_step_and_answers(name):
    with seeded(0): network, pair = m.built(name, SMALL), torch.rand(2, 2, 3, 24, 48)
    truth = torch.full((2, 24, 48), 4.0)
    outputs = network.train()(*pair)
    loss = m.stereo_loss(name, outputs, truth, truth > 0)
    loss.backward()
    assert loss.isfinite() and any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    answer = network.eval()(*pair)
    assert len(answer) == 1 and answer[0].shape == (2, 24, 48)

def test_the_full_size_configuration_makes_one_step():
    s = m.SIZES["gpu"]
    assert s["model"]["width"] == 32 and s["model"]["lga_size"] == 5 and s["most"] == 96
    with seeded(0): network, pair = m.built("GA-Net-2", s["model"]).train(), torch.rand(2, 2, 3, 48, 96)
    m.stereo_loss("GA-Net-2", network(*pair), torch.full((2, 48, 96), 9.0), torch.ones(2, 48, 96) > 0).backward()
    assert network.guidance.weight_sg1.weight.grad.abs().sum() > 0

def test_bad_networks_and_pictures_are_refused():
    with pytest.raises(PaperKitError, match="no such network"): m.GANet("12")
    with pytest.raises(PaperKitError, match="no such network"): m.GANet("11", most=100)
    with pytest.raises(PaperKitError, match="no two pictures"): m.built("GC-Net", SMALL)(*torch.rand(2, 1, 3, 25, 48))
    with pytest.raises(PaperKitError, match="no two pictures"):
        m.disparity_between(m.built("GC-Net", SMALL), torch.rand(3, 20, 40), torch.rand(3, 20, 41))

def released_checkpoint(options, file, extra=False):
    """A checkpoint in the layout of feihuzhang/GANet (models/GANet11.py, GANet_deep.py; train.py: epoch, state_dict
    of a DataParallel model, optimizer), with small numbers."""
    with seeded(1): network = m.GANet(**options, most=48, released=True)
    for buffer in network.buffers():
        if buffer.is_floating_point(): buffer.uniform_(0.5, 1.5)
    state = {f"module.{n}": t for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    if extra: state |= {"module.cost_agg.deconv0b.conv1.conv.weight": torch.zeros(8, 8, 3, 4, 4)}
    torch.save({"epoch": 10, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}, file)
    return network.eval()

NAMES_11 = ["conv_start.0.conv.weight", "conv_start.1.bn.running_var", "conv_x.conv.weight", "conv_refine.weight",
            "bn_relu.0.weight", "feature.conv_start.1.conv.weight", "feature.deconv4b.conv2.conv.weight",
            "guidance.conv0.conv.weight", "guidance.conv11.1.bn.weight", "guidance.weight_sg12.weight",
            "guidance.weight_lg2.1.weight", "cost_agg.conv_start.conv.weight", "cost_agg.conv2a.conv.weight",
            "cost_agg.deconv1a.conv1.conv.weight", "cost_agg.sga12.bn_relu.0.weight",
            "cost_agg.sga2.conv_refine.conv.weight", "cost_agg.disp0.conv32x1.weight", "cost_agg.disp1.conv32x1.weight"]
SHAPES_11 = {"guidance.weight_sg1.weight": (640, 32, 3, 3), "guidance.weight_sg11.weight": (960, 48, 3, 3),
             "guidance.weight_lg1.1.weight": (75, 16, 3, 3), "cost_agg.conv_start.conv.weight": (32, 64, 3, 3, 3),
             "cost_agg.deconv2a.conv1.conv.weight": (64, 48, 3, 4, 4), "feature.conv4b.conv2.conv.weight":
             (128, 256, 3, 3)}

def test_the_authors_names_and_shapes():
    with torch.device("meta"): state, deep = (m.GANet(**m.RELEASED[k]).state_dict() for k in ("11", "22"))
    assert set(NAMES_11) <= state.keys() and {n: tuple(state[n].shape) for n in SHAPES_11} == SHAPES_11
    assert {"guidance.weight_sg14.weight", "cost_agg.conv2b.conv2.conv.weight", "cost_agg.sga3.conv_refine.bn.bias",
            "cost_agg.disp2.conv32x1.weight", "cost_agg.deconv1b.conv2.bn.weight"} <= deep.keys()

@pytest.mark.parametrize("kind", ["11", "22"])
def test_a_checkpoint_in_the_authors_layout_loads_and_gives_its_output(tmp_path, kind):
    theirs = released_checkpoint(m.RELEASED[kind], tmp_path/"kitti.pth", extra=kind == "22")
    ours, pair = m.load_official(tmp_path/"kitti.pth", most=48), torch.rand(2, 1, 3, 48, 48)
    with torch.no_grad(): torch.testing.assert_close(ours(*pair)[0], theirs(*pair)[0], atol=1e-4, rtol=0)
    assert not ours.training and (kind == "22") == hasattr(ours.cost_agg, "disp2")

def test_what_is_no_checkpoint_of_theirs_is_refused(tmp_path):
    torch.save({"state_dict": {"module.fc.weight": torch.zeros(2)}}, tmp_path/"a.pth")
    with pytest.raises(PaperKitError, match="no GA-Net"): m.load_official(tmp_path/"a.pth")
    (tmp_path/"b.pth").write_bytes(b"torn")
    with pytest.raises(PaperKitError): m.load_official(tmp_path/"b.pth")


# losses and measures

def test_the_losses_by_hand():
    error = torch.tensor([0.0, 1.5, 3.0, 4.0, 5.0, 9.0])
    by_hand = [0, 0.75, 3, 8 - 0.25 - 3, 10 - 1 - 3, 10]
    assert m.wide_loss(error) == pytest.approx(np.mean(by_hand))
    truth, valid = torch.zeros(1, 1, 2), torch.tensor([[[True, False]]])
    outputs = [torch.tensor([[[2.0, 99]]]), torch.tensor([[[0.5, 99]]])]
    assert m.stereo_loss("GA-Net-7", outputs, truth, valid) == pytest.approx(0.4*1.5 + 1.2*0.125)
    assert m.output_weights("PSMNet", 3) == (0.5, 0.7, 1.0)

def test_the_numbers_of_a_profile_by_hand():
    p = torch.tensor([0.4, 0.05, 0.3, 0.2, 0.05]).view(1, 5, 1, 1)
    mass, entropy, peaks = m.profile_numbers(p, torch.tensor([[[2.4]]]))
    assert mass.item() == pytest.approx(0.5) and peaks.item() == 1
    assert entropy.item() == pytest.approx(-sum(x*math.log(x) for x in (0.4, 0.05, 0.3, 0.2, 0.05)))

def test_error_sums_and_means_by_hand():
    data = {"disparity": torch.tensor([[[10.0, 80, 10, 10]]]), "sparse": torch.tensor([[[True, True, False, False]]]),
            "regions": torch.zeros(1, 7, 1, 4, dtype=torch.bool)}
    data["regions"][0, m.REGIONS.index("occluded"), 0, 3] = True
    d = torch.tensor([[[10.5, 83.5, 15, 12]]])
    sums = m.error_sums(d, data)
    assert m.mean_of(sums) == pytest.approx((0.5 + 3.5 + 5 + 2)/4) and m.mean_of(sums, "over 3") == pytest.approx(50)
    assert m.mean_of(sums, "D1") == pytest.approx(25)                       # 3.5 of 80 is less than 5 percent
    assert m.mean_of(sums, "error", "noc") == pytest.approx(3) and m.mean_of(sums, "error", "occluded") == 2
    assert m.mean_of(m.error_sums(d, data, kitti=True)) == pytest.approx(2)

def test_a_staircase_is_all_plateau_and_the_plane_is_none():
    column = torch.arange(24.0).expand(1, 12, 24)
    plane = 0.25*column
    regions = torch.zeros(1, 7, 12, 24, dtype=torch.bool)
    for name in ("textureless", "slanted"): regions[:, m.REGIONS.index(name)] = True
    slope = torch.stack([torch.full((12, 24), 0.25), torch.zeros(12, 24)])[None]
    data = {"regions": regions, "slope": slope}
    assert m.plateau_share(plane, data) == 0
    assert 0.4 < m.plateau_share(plane.round(), data) < 0.6 and m.plateau_share(0*plane, data) == 1


# semi-global matching

def test_sgm_by_hand_on_three_pixels():
    """One row, three disparities, P1 = 1, P2 = 2: the second pixel adds min(0, 5 + 1, 0 + 2) = 0,
    min(5, 0 + 1, 9 + 1, 2) = 1, min(9, 5 + 1, 0 + 2) = 2."""
    cost = torch.tensor([[[0.0, 5, 9], [1, 1, 1], [0, 0, 0]]])
    out = m.sgm(cost, 1, 2, [(0, 1)])[0]
    assert out[:2].tolist() == [[0, 5, 9], [1, 2, 3]] and out[2].tolist() == [1, 2, 3]

def test_sgm_finds_a_shifted_texture_and_a_parabola_its_fraction():
    left = torch.rand(3, 20, 40, generator=torch.Generator().manual_seed(0))
    d = m.sgm_disparity(left, left.roll(-5, 2), 10, 0.3, 2.0)
    assert ((d - 5).abs() < 0.6)[3:-3, 8:-3].float().mean() > 0.98
    values = (torch.arange(9.0) - 4.25)**2
    assert m.refined(values.view(1, 1, 9)).item() == pytest.approx(4.25)

def test_sgm_agrees_with_opencv():
    cv2 = pytest.importorskip("cv2")
    pair = m.stereo_pair(np.random.default_rng(2), texture_bank("test", 12, 48), 96, 144, 32, plain=0.0, glass=0.0)
    gray = [cv2.cvtColor(x.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for x in (pair.left, pair.right)]
    theirs = cv2.StereoSGBM_create(0, 32, 5, 200, 800, mode=cv2.STEREO_SGBM_MODE_HH).compute(*gray)/16
    ours = m.sgm_disparity(pair.left/255, pair.right/255, 32, 0.3, 4.0).numpy()
    seen = (theirs >= 0) & ~pair.regions[m.REGIONS.index("occluded")].numpy()
    assert (np.abs(ours - theirs)[seen] < 1.5).mean() > 0.8


# the world

def wall(turn=0.0, height=24, width=48, most=12, **knobs):
    """A wall that fills the view, four metres ahead, turned about the vertical by degrees."""
    part = Part("card", (60, 60, 0), (4.0, 0, 1.4), m._facing(turn))
    scene = assemble([Thing("wall", [part])], texture_bank("test", 2, 16), lights=[(0.0, 0, 2, 1, 1, 1)])
    return m.stereo_pair(np.random.default_rng(0), scene.textures, height, width, most, scene=scene, noise=0,
                         exposure=0, **knobs)

def test_the_disparity_of_a_plane_in_closed_form():
    """Camera at x = 0 looking along x (and a little up or down): the plane x = 4 has z = 4 (cos a + y' sin a) along the
    axis, so the disparity is linear in the row and the same in a row."""
    pair = wall()
    assert pair.disparity.std(1).max() < 1e-4
    second = pair.disparity[:, 0].diff().diff()
    assert second.abs().max() < 1e-4 and 2 < pair.disparity.mean() < 6
    turned = wall(25.0)
    rows, columns = turned.disparity.diff(dim=0), turned.disparity.diff(dim=1)
    torch.testing.assert_close(turned.slope[0, :, 1:], columns, atol=2e-4, rtol=0)
    torch.testing.assert_close(turned.slope[1, 1:], rows, atol=2e-4, rtol=0)

def test_a_disparity_is_told_by_depth_baseline_and_offset_together():
    "d = f B/z + c - c': from the same depths, another rig makes other disparities; without an offset it is f B/z."
    plain, moved = wall(base=1.0, offset=0.0), wall(base=0.3)
    depth = lambda pair: pair.rig[0]/(pair.disparity - pair.rig[1])
    torch.testing.assert_close(depth(plain), depth(moved), atol=1e-4, rtol=0)
    assert plain.rig[1] == 0 and moved.rig[1] > 0 and (plain.disparity - moved.disparity).abs().min() > 0.1
    torch.testing.assert_close(plain.rig[0], torch.tensor(12*1.25))

def test_one_picture_does_not_tell_the_disparity():
    "The best guess from the place in the picture leaves more than half of the spread over pairs."
    d = torch.stack([m.stereo_pair(np.random.default_rng(k), texture_bank("test", 12, 48), 24, 48, 12).disparity
                     for k in range(24)])
    assert (d - d.mean(0)).square().mean() > 0.5*(d - d.mean()).square().mean() and d.max() <= 12.5

def test_who_follows_a_shift_reads_both_pictures():
    class Reader(torch.nn.Module):
        "Says the shift between the two pictures, or the same whatever the right one shows."
        def __init__(self, reads):
            super().__init__()
            self.most, self.reads, self.weight = 12, reads, torch.nn.Parameter(torch.zeros(1))

        def forward(self, left, right):
            gaps = torch.stack([(left[..., 12:] - right[..., 12 - k:right.shape[-1] - k]).abs().mean((1, 2, 3))
                                for k in range(12)])
            d = gaps.argmin(0).float() if self.reads else torch.full((len(left),), 4.0)
            return [d.view(-1, 1, 1).expand(-1, *left.shape[2:])]
    left = torch.randint(0, 255, (2, 3, 8, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = {"left": left, "right": left.roll(-4, 3), "disparity": torch.full((2, 8, 48), 4.0)}
    assert m.follows(Reader(True), data) == pytest.approx(1) and m.follows(Reader(False), data) == 0

def test_random_dots_match_where_they_say():
    dots = m.dots_stage(6, 24, 48, 12, seed=1)
    again = m.dots_stage(6, 24, 48, 12, seed=1)
    assert all(torch.equal(dots[k], again[k]) for k in dots) and dots["sparse"].all()
    place = torch.arange(48) - dots["disparity"].long()
    seen = dots["right"].gather(3, place.clamp(min=0)[:, None].expand(-1, 3, -1, -1))
    right = ((seen.float() - dots["left"]).abs().amax(1) == 0)[place >= 0]
    assert right.float().mean() > 0.75            # the rest is hidden in the right picture
    assert dots["disparity"].unique().numel() > 5 and dots["disparity"].max() < 12

def test_disparity_and_occlusion_against_the_other_view():
    """Re-projection: a point that is seen from both sides has one disparity in both pictures; one that is said to be
    hidden has something nearer in front of it, or leaves the picture."""
    random = np.random.default_rng(5)
    pair = m.stereo_pair(random, texture_bank("test", 12, 48), 96, 144, 48, thin=3, things=3)
    d, hidden = pair.disparity, pair.regions[m.REGIONS.index("occluded")]
    column = torch.arange(144) + 0.5 - d
    low = (column - 0.5).floor().long()
    there = [pair.right_disparity.gather(1, (low + k).clamp(0, 143)) for k in (0, 1)]
    near = torch.minimum((there[0] - d).abs(), (there[1] - d).abs())
    assert (near < 0.6)[~hidden].float().mean() > 0.99
    nearest, outside = torch.maximum(*there), column < 0
    assert (outside | (nearest > d + 0.2))[hidden].float().mean() > 0.97 and 0.02 < hidden.float().mean() < 0.5

def test_what_a_pixel_shows_is_what_its_match_shows():
    pair = m.stereo_pair(np.random.default_rng(8), texture_bank("test", 12, 48), 96, 144, 48, glass=0.0, noise=0.0,
                         exposure=0.0)
    d = pair.disparity
    place = torch.stack([(torch.arange(144) + 0.5 - d)/144, (torch.arange(96)[:, None] + 0.5)/96 + 0*d], -1)
    moved = F.grid_sample(pair.right[None].float(), 2*place[None] - 1, align_corners=False)[0]
    calm = ~(pair.regions[m.REGIONS.index("occluded")] | m.near_edge(d, 0.7))
    off, still = ((x - pair.left).abs().mean(0)[calm].mean() for x in (moved, pair.right.float()))
    assert off < 8 and off < 0.5*still

def test_a_world_is_a_function_of_its_seed_and_glass_deceives():
    a, b, c = (m.world_stage("test", 0, 1, 24, 48, 12, s) for s in (0, 0, 1))
    assert torch.equal(a["left"], b["left"]) and not torch.equal(a["left"], c["left"])
    assert a["sparse"][:, :12].sum() == 0 and 0.15 < a["sparse"][:, 12:].float().mean() < 0.45
    assert set(a) == {*m.Pair._fields, "sparse"} and a["regions"].shape == (1, 7, 24, 48)

def test_the_eye_looks_along_x():
    T = look_at(torch.tensor([0.0, 0, 1.4]), torch.tensor([1.0, 0, 1.4]))
    assert (T @ torch.tensor([4.0, 0, 1.4, 1]))[2] == pytest.approx(4) and intrinsics(24, 48, 60.0)[0, 0] > 0


# real data, in miniature

def write_pfm(file, values, scale=-1.0, kind="Pf"):
    "Little-endian PFM from the bottom row up, as Scene Flow's reader (python_pfm) documents it."
    file.parent.mkdir(parents=True, exist_ok=True)
    h, w = values.shape
    rows = values[::-1].astype("<f4" if scale < 0 else ">f4")
    file.write_bytes(f"{kind}\n{w} {h}\n{scale}\n".encode() + rows.tobytes())

def write_picture(file, h=4, w=6, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (h, w, 3), dtype=np.uint8)).save(file)

def scene_flow(root):
    """Layout of Scene Flow's release, source: its README and the lists of feihuzhang/GANet. The second pair is torn,
    the third has no disparity, the first has a NaN."""
    truth = np.arange(24, dtype=np.float32).reshape(4, 6) + 1
    truth[0, 1] = np.nan
    for k in (1, 2, 3):
        for side in ("left", "right"): write_picture(root/f"frames_finalpass/TRAIN/A/0000/{side}/000{k}.png")
    write_pfm(root/"disparity/TRAIN/A/0000/left/0001.pfm", truth)
    write_pfm(root/"disparity/TRAIN/A/0000/left/0002.pfm", truth)
    torn = root/"disparity/TRAIN/A/0000/left/0002.pfm"
    torn.write_bytes(torn.read_bytes()[:-8])
    return truth

def test_scene_flow_in_miniature(tmp_path):
    truth = scene_flow(tmp_path)
    data = m.SceneFlow(tmp_path)
    first = data[0]
    assert len(data) == 3 and first.left.shape == (3, 4, 6) and not first.known[0, 1] and first.disparity[0, 1] == 0
    assert first.disparity[3].tolist() == truth[3].tolist() and first.disparity[0, 0] == 1
    with pytest.raises(PaperKitError, match="cannot be read"): data[1]
    with pytest.raises(PaperKitError, match="missing"): data[2]
    (tmp_path/"list").write_text("TRAIN/A/0000/left/0001.png\n\n")
    assert len(m.SceneFlow(tmp_path, listing=tmp_path/"list")) == 1
    with pytest.raises(PaperKitError, match="no pair"): m.SceneFlow(tmp_path, "TEST")

@pytest.mark.parametrize("year", [2015, 2012])
def test_kitti_in_miniature(tmp_path, year):
    "Layout of the stereo development kits: 16-bit pictures, 256 times the disparity, 0 where unknown."
    left, right, occ, noc = m.Kitti.folders[year]
    for k in range(3):
        for name in (left, right): write_picture(tmp_path/f"training/{name}/00000{k}_10.png")
    values = np.zeros((4, 6), np.uint16)
    values[1, 2] = 12*256 + 128
    (tmp_path/"training"/occ).mkdir()
    Image.fromarray(values).save(tmp_path/f"training/{occ}/000000_10.png")
    (tmp_path/f"training/{occ}/000001_10.png").write_bytes(b"\x89PNG torn")
    data = m.Kitti(tmp_path, year)
    assert data[0].disparity[1, 2] == 12.5 and data[0].known.sum() == 1
    with pytest.raises(PaperKitError, match="cannot be read"): data[1]
    with pytest.raises(PaperKitError, match="missing"): data[2]
    Image.fromarray(0*values).save(tmp_path/f"training/{occ}/000001_10.png")
    with pytest.raises(PaperKitError, match="do not fit"): data[1]
    with pytest.raises(PaperKitError, match="no such benchmark"): m.Kitti(tmp_path, 2013)
    with pytest.raises(PaperKitError, match="no pair"): m.Kitti(tmp_path/"none", year)

def test_a_real_pair_is_shrunk_without_inventing_a_depth():
    known = torch.ones(8, 12, dtype=torch.bool)
    known[:4, :6] = False
    d = torch.full((8, 12), 6.0)
    d[:, 6:] = 12.0
    one = m.shrunk(m.Sample(torch.rand(3, 8, 12), torch.rand(3, 8, 12), torch.where(known, d, 0.0), known), 4, 6, 6)
    assert one["left"].dtype == torch.uint8 and one["left"].shape == (3, 4, 6)
    assert set(one["disparity"].unique().tolist()) == {3.0, 6.0} and (one["disparity"][:, 3:] == 6).all()
    assert one["sparse"].tolist() == [[False]*6]*2 + [[True]*3 + [False]*3]*2             # unknown, or too near

def real_folder(root, kitti):
    "Six pairs of 24 x 48 pixels in the layout of KITTI 2015, or two and one of Scene Flow."
    values, rng = np.full((24, 48), 2.0, np.float32), np.random.default_rng(0)
    def picture(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 48, 3), dtype=np.uint8)).save(file)
    for k in range(6 if kitti else 3):
        if kitti:
            for name in ("image_2", "image_3"): picture(root/f"training/{name}/00000{k}_10.png")
            twice, cars = values.copy(), np.zeros(values.shape, np.uint8)
            twice[:, :12], cars[:12, 24:] = 0, 3
            for folder, picture_of in (("disp_occ_0", (256*values).astype(np.uint16)), ("obj_map", cars),
                                       ("disp_noc_0", (256*twice).astype(np.uint16))):
                (root/"training"/folder).mkdir(exist_ok=True)
                Image.fromarray(picture_of).save(root/f"training/{folder}/00000{k}_10.png")
        else:
            part = f"{'TEST' if k == 2 else 'TRAIN'}/A/0000"
            for side in ("left", "right"): picture(root/f"frames_finalpass/{part}/{side}/000{k}.png")
            write_pfm(root/f"disparity/{part}/left/000{k}.pfm", values)
    return root

@pytest.mark.parametrize("name", ["sceneflow", "kitti_stereo"])
def test_table_2_is_measured_on_real_data(tmp_path, name):
    data = source(name, real_folder(tmp_path, name == "kitti_stereo"))
    sizes = m.SIZES["smoke"] | dict(steps=1)
    run = SimpleNamespace(seed=0, stage=lambda function, **options: function(**options))
    held = torch.zeros(2, 8, 9)
    dots = m.dots_stage(4, *(sizes[k] for k in ("height", "width", "most")), 0)
    results = m.real_results(run, sizes, data, {"trained": {"GC-Net": [{"sums": held}]}, "pace": {}, "tuned": {},
                                                "data": {"dots": dots}})
    table = m.table_2(results).set_index("model")
    assert set(results["trained"]) == set(table.index) and (table.trainings == 1).all()
    assert np.isfinite(table.EPE).all() and (table.EPE > 0).all()
    one = results["trained"]["GC-Net"][0]["sums"]
    # the truth is known everywhere, and below `most`
    assert one[:, 0, 0].sum() == sizes["height"]*sizes["width"]*len(one)

def test_table_5_and_c11_are_measured_on_real_streets(tmp_path):
    """The layout of KITTI 2015 with disp_noc_0 and obj_map, source: development kit of the benchmark. Seen once: the
    left quarter; a car: the upper right one."""
    data = source("kitti_stereo", real_folder(tmp_path, True))
    sizes = m.SIZES["smoke"] | dict(tune=1, grid=((0.5, 2.0),))
    run = SimpleNamespace(seed=0, stage=lambda function, **options: function(**options))
    first = {}
    for name in m.BENCHMARK:
        with seeded(0): first[name] = [{"weights": m.built(name, sizes["model"]).state_dict()}]
    found = m.real_streets(run, sizes, data, {"trained": first})
    table = m.table_5(found).set_index("model")
    assert list(table.index) == ["Our GA-Net-15", "PSMNet", "GC-Net", "SGM"] and np.isfinite(table.to_numpy()).all()
    count = found["tuned"]["PSMNet"][0]["sums"][:, :, 0].sum(0)
    share = lambda mask: float(count[m.MASKS.index(mask)]/count[m.MASKS.index("all")])
    assert share("occluded") == 0.25 and share("noc") == 0.75 and share("foreground") == share("noc foreground") == 0.25
    real = {"trained": {name: [{"sums": found["tuned"][name][0]["sums"], "validation": [2.0, 1.5, 1.1] + 9*[1.0]}]
                        for name in m.BENCHMARK}, "tuned": found["tuned"]}
    values = m.benchmark_values(real)
    assert m.predicates["C11"].evaluate(values, ()).verdict in ("undecided", "fails", "holds")
    assert reaches("smoke", str(data), "real-data") and not reaches("cpu", "world", "real-data")

def test_a_missing_and_a_torn_object_map_are_named(tmp_path):
    data = m.Kitti(real_folder(tmp_path, True))
    assert m.cars_of(data, 0)[:12, 24:].all() and m.cars_of(data, 0).sum() == 12*24
    (tmp_path/"training/obj_map/000001_10.png").write_bytes(b"\x89PNG torn")
    (tmp_path/"training/obj_map/000002_10.png").unlink()
    for k in (1, 2):
        with pytest.raises(PaperKitError, match=f"obj_map/00000{k}"): m.cars_of(data, k)

def test_a_pfm_of_another_kind_or_byte_order(tmp_path):
    values = np.array([[1.5, 2], [3, 4]], np.float32)
    write_pfm(tmp_path/"a.pfm", values, scale=1.0)
    assert m.read_pfm(tmp_path/"a.pfm").tolist() == values.tolist()
    write_pfm(tmp_path/"b.pfm", values, kind="PF")
    for file in ("b.pfm", "none.pfm"):
        with pytest.raises(PaperKitError): m.read_pfm(tmp_path/file)

def test_the_motorcycle_matches_itself():
    real = m.motorcycle(125)
    assert real.left.shape == (3, 125, 185) and 0.5 < real.known.float().mean() < 1
    place = (torch.arange(185) + 0.5 - real.disparity)/185
    grid = torch.stack([place, (torch.arange(125)[:, None] + 0.5)/125 + 0*place], -1)
    moved = F.grid_sample(real.right[None], 2*grid[None] - 1, align_corners=False)[0]
    off, still = ((x - real.left).abs().mean(0)[real.known].mean() for x in (moved, real.right))
    assert off < 0.5*still

def test_pictures_of_any_size_are_padded_and_cut_back():
    x = torch.arange(6.0).view(2, 3)
    assert m.matched(x, 4).shape == (4, 4) and torch.equal(m.matched(x, 4)[-2:, :3], x)
    network = m.built("GA-Net-2", SMALL).eval()
    assert m.disparity_between(network, *torch.rand(2, 3, 30, 50)).shape == (30, 50)

def test_shipped_weights_travel_as_one_vector(tmp_path, monkeypatch):
    with seeded(2): network = m.built("GA-Net-2", SMALL).eval()
    monkeypatch.setattr(m, "shipped_weights", lambda slug: (m.flat(network.state_dict()), {"size": SMALL}))
    pair = torch.rand(2, 1, 3, 24, 48)
    with torch.no_grad(): assert torch.equal(m.pretrained()(*pair)[0], network(*pair)[0])
    monkeypatch.setattr(m, "shipped_weights", lambda slug: ({"weights": torch.zeros(3)}, {"size": SMALL}))
    with pytest.raises(PaperKitError, match="do not fit"): m.pretrained()


# predicates: numbers that must make each of them fail

def flat_curves(predicate, seeds=3):
    names = [n for guard in getattr(predicate, "guards", ()) for n in guard.names]
    return {name: [[5.0, 2.0] + [1.0]*14]*seeds for name in names}

def near(x, seeds=3): return [x*(1 + 0.003*math.sin(5*k + 11*x)) for k in range(seeds)]

C2 = {f"GA-Net-{n}": near(1.0) for n in m.SWEEP} | {f"GA-Net*-{n}": near(1.3) for n in m.SWEEP}
C3 = {"0 SGA": near(2.0), "1 SGA": near(1.6), "2 SGA": near(1.4), "3 SGA": near(1.3), "4 SGA": near(1.29),
      "3 SGA, LGA": near(1.1), "half the step from 0 to 1, less the step from 3 to 4": near(0.19)}
C5 = {f"{w}, {p}, {s}": near(v) for p in m.PLACES for w, values in (("mass", (0.3, 0.5, 0.6)),
                                                                    ("false peaks", (0.5, 0.4, 0.2)))
      for s, v in zip(m.THREE, values)}
C9 = {f"error rate, {k}, {n}": near(v) for k in m.SGM_MASKS for n, v in (("GA-Net-15", 10.0), ("SGM", 20.0))}
C9 |= {"plateaus, GA-Net-15": near(0.1), "plateaus, SGM": near(0.4)}
C11 = {f"{w}, {n}": near(v) for w in ("EPE", "D1 on streets") for n, v in zip(m.BENCHMARK, (1.0, 1.2, 1.5))}
HOLD = {"C1": {"GA-Net-2": near(1.0), "GC-Net": near(1.3), "GC-Net, equal time": near(1.2)}, "C2": C2, "C3": C3,
        "C4": {"drop by SGA, textureless and reflective": near(0.3), "drop by SGA, elsewhere": near(0.1),
               "drop by LGA, thin and edge": near(0.2), "drop by LGA, elsewhere": near(0.05)}, "C5": C5,
        "C6": {"multiply-adds of a 3D convolution over those of SGA": [120.0, 130]},
        "C7": {"beyond the range of the costs, positive weights": [-0.1],
               "beyond the largest cost, signed weights": [-1.0], "growth a step in equation 4": [1.0, 1.0]},
        "C8": {"failed gradient checks": 0, "relative gap of the outputs": [1e-7],
               "relative gap of the gradients": [1e-7]},
        "C9": C9, "C10": {"real time": near(1.0), "DispNet": near(1.4)}, "C11": C11}
FAIL = {"C1": {"GC-Net, equal time": near(1.04)}, "C2": {"GA-Net*-7": near(0.9)}, "C3": {"3 SGA, LGA": near(1.5)},
        "C4": {"drop by LGA, elsewhere": near(0.4)}, "C5": {"mass, edge, +SGA+LGA": near(0.4)},
        "C6": {"multiply-adds of a 3D convolution over those of SGA": [43.2, 86.4, 172.8]},
        "C7": {"growth a step in equation 4": [1.0, 0.5]}, "C8": {"failed gradient checks": 1},
        "C9": {"plateaus, SGM": near(0.05)}, "C10": {"DispNet": near(0.9)}, "C11": {"EPE, PSMNet": near(0.9)}}

@pytest.mark.parametrize("claim", HOLD)
def test_each_predicate_holds_and_fails_on_numbers_that_must(claim):
    predicate = predicates[claim]
    curves = flat_curves(predicate)
    assert predicate.evaluate(HOLD[claim] | curves).verdict == "holds"
    assert predicate.evaluate(HOLD[claim] | FAIL[claim] | curves).verdict == "fails"
    if curves:
        falling = {name: [np.linspace(9, 1, 16).tolist()]*3 for name in curves}
        assert predicate.evaluate(HOLD[claim] | falling).verdict == "undecided"

def test_c3_fails_where_the_fourth_layer_still_brings_as_much():
    worse = C3 | {"half the step from 0 to 1, less the step from 3 to 4": near(-0.1)}
    assert predicates["C3"].evaluate(worse | flat_curves(predicates["C3"])).verdict == "fails"

def test_reach_is_the_sum_of_products_along_the_path():
    w = torch.full((4, 3, 4), 0.5)
    reach = m.reach_of(w)
    assert reach[0, :, 0].tolist() == [0, 0.5, 0.75] and reach[3, 0].tolist() == [0.875, 0.75, 0.5, 0]
