"""What the notebook of inverse_compositional cannot hold: hand-computed checks, gradients, invariances, predicates that
must fail, bad inputs."""
import math

import numpy as np
import pytest
import torch

from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.geometry import invert, transform, unproject
from paper_kit.kit.nn import parameter_count, seeded
from paper_kit.kit.paper import load_manifest
from paper_kit.matching import inverse_compositional as ic
from helpers import varied


def generator(seed=0): return torch.Generator().manual_seed(seed)


def a_pair(height=24, width=32, batch=2, seed=0, dtype=torch.float32):
    g = generator(seed)
    focal = 26.0
    K = torch.tensor([[focal, 0, width/2], [0, focal, height/2], [0, 0, 1]], dtype=dtype).expand(batch, 3, 3)
    xi = 0.02*torch.randn(batch, 6, generator=g, dtype=dtype)
    return {"color": torch.rand(batch, 2, 3, height, width, generator=g, dtype=dtype),
            "depth": 1.5 + torch.rand(batch, 2, height, width, generator=g, dtype=dtype), "K": K,
            "mask": torch.ones(batch, height, width, dtype=torch.bool), "motion": ic.exp_se3(xi)}


TINY = ic.SMALL | {"levels": 2, "widths": ((4, 4), (4, 6)), "proposals": 3, "flownet": ((4, 3, 2), (6, 3, 2))}


# ---- the manifest and the predicates

def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"inverse_compositional.yaml")
    assert set(ic.predicates) == {claim["id"] for claim in manifest["claims"]}
    assert set(manifest.expected("claims")) <= set(ic.predicates)


GOOD = {
    "C1": {f"{m}, {w}": ([1.0]*3 if m == "full" else [2.0]*3) for m in ("full", "best baseline", "zero motion")
           for w in ic.SIZE_WORDS},
    "C2": {f"{k}: {m}, {w}": ([1.0, 1.1, 1.0] if m == "full" else [2.0, 2.1, 2.2]) for k in "SD"
           for m in ("full", "best rival") for w in ic.SIZE_WORDS},
    "C3": {"gain of (B) on S": [0.3, 0.31, 0.32], "gain of (B) on D": [0.1, 0.11, 0.1],
           "gain of (C) on D": [0.4, 0.41, 0.4], "gain of (C) on S": [0.1, 0.12, 0.1]},
    "C4": {f"{k}: {v}": [x + i/10 + (0.01*i if v == "two views" else 0) for i in range(4)] for k in "OSD" for v,
           x in (("two views", 1.0), ("one view", 2.0))},
    "C5": {"parameters_too_many_or_too_few": 0, "change by sharing": [0.01, -0.01, 0.0]},
    "C6": {"K = 1": [2.0, 2.1, 2.0], "K = 3": [1.0, 1.0, 1.0], "change from K = 3 to 5": [0.0, 0.001, -0.001]},
    "C7": {"largest error, inverse compositional": [1e-6], "largest error, forward additive": [1e-6],
           "evaluations_of_J_beyond_one_a_level": 0},
    "C8": {"distance from Gauss-Newton at 1e-5": [1e-5], "cosine at 1e5": [0.99999], "EPE with (C)": [1.0, 1.1, 1.0],
           "EPE with the best of ten fixed dampings": [2.0, 2.2, 2.1]},
    "C9": {"weight on the room less weight elsewhere": [0.3, 0.31, 0.3], "area under the curve": [0.9, 0.91, 0.9]},
    "C10": {"ratio at gap 1": [1.0, 1.1, 1.0], "ratio at gap 4": [2.0, 2.1, 2.2]},
    "C11": {f"{w}, {p} percent": [x, x + 0.1, x] for w, x in (("ours", 1.0), ("PoseCNN", 2.0)) for p in (10, 30, 100)}}
BAD = {
    "C1": {"full, large": [1.9]*3}, "C2": {"D: full, medium": [3.0, 3.1, 3.3]},
       "C3": {"gain of (C) on S": [0.7, 0.7, 0.71]},
       "C4": {"O: two views": [3.0, 3.1, 3.2, 3.3], "D: two views": [3.0, 3.1, 3.2, 3.3]},
    "C5": {"parameters_too_many_or_too_few": 4}, "C6": {"K = 1": [1.0, 1.01, 1.02]},
       "C7": {"evaluations_of_J_beyond_one_a_level": 2}, "C8": {"distance from Gauss-Newton at 1e-5": [1e-5, 2e-3]},
    "C9": {"area under the curve": [0.6, 0.61, 0.6]}, "C10": {"ratio at gap 4": [0.5, 0.6, 0.55]},
       "C11": {"ours, 10 percent": [3.0, 3.2, 3.1]}}


@pytest.mark.parametrize("claim", sorted(ic.predicates))
def test_a_predicate_holds_on_good_numbers_and_fails_on_numbers_that_must_fail_it(claim):
    assert ic.predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"
    assert ic.predicates[claim].evaluate(varied(GOOD[claim] | BAD[claim])).verdict == "fails"


# ---- parameter counts and the full size

def test_the_parameter_counts_are_the_published_ones():
    counts = ic.parameter_counts()
    assert {k: counts[k] for k in ic.EXPECTED} == ic.EXPECTED
    assert (parameter_count(ic.TwoViewEncoder()) == 597_280 and parameter_count(ic.MEstimator()) == 24_418
            and parameter_count(ic.TrustRegion()) == 46_982)
    assert parameter_count(ic.TwoViewEncoder(4)) == 596_704 and counts["Ours (A)+(B)+(C)"] == 597_280 + 24_418 + 46_982
    assert counts["PoseCNN"] == counts["IC-PoseCNN"] == 19_543_942 and counts["Cascaded-PoseCNN"] == 3*19_543_942
    assert counts["No learning"] == 0


@pytest.mark.parametrize("name", ["Ours (A)+(B)+(C) (No WS)", "PoseCNN"])
def test_one_step_of_the_full_size_trains_every_part(name):
    with seeded(0): model = ic.built(name, ic.PAPER)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    before = [p.detach().clone() for p in model.parameters()]
    pair = a_pair(64, 80, 2)
    loss = ic.alignment_loss(model(pair), pair)
    loss.backward(); optimizer.step()
    assert torch.isfinite(loss)
    moved = [bool((a != b).any()) for a, b in zip(before, model.parameters())]
    assert sum(moved) > 0.6*len(moved) if name != "PoseCNN" else moved[-1]


def test_learned_parts_get_gradients_through_solve_and_trials():
    with seeded(1): model = ic.built("Ours (A)+(B)+(C)", TINY)
    pair = a_pair()
    ic.alignment_loss(model(pair), pair).backward()
    for part in (model.encoder, model.estimators, model.regions):
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in part.parameters())
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()) > 0
    detached = [p.grad.abs().sum().item() for p in model.regions[0].net[0].parameters()]
    assert detached[0] > 0, "the trial residuals are in the graph"


# ---- geometry

def test_the_exponential_of_a_twist_by_hand():
    quarter = ic.exp_se3(torch.tensor([[0.0, 0, math.pi/2, 1.0, 0, 0]], dtype=torch.float64))[0]
    assert torch.allclose(quarter[:3, :3], torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64),
                          atol=1e-12)
    assert torch.allclose(quarter[:3, 3], torch.tensor([2/math.pi, 2/math.pi, 0], dtype=torch.float64),
                          atol=1e-12), "a screw goes round: V (1, 0, 0) = 2/pi (1, 1, 0)"
    xi = torch.randn(5, 6, generator=generator(),
                     dtype=torch.float64)*torch.tensor([1e-9, 1e-3, 0.1, 1, 2])[:, None].double()
    A = torch.zeros(5, 4, 4, dtype=torch.float64)
    A[:, :3, :3], A[:, :3, 3] = ic.hat(xi[:, :3]), xi[:, 3:]
    assert torch.allclose(ic.exp_se3(xi), torch.linalg.matrix_exp(A), atol=1e-10)
    assert torch.allclose(ic.exp_se3(xi) @ ic.exp_se3(-xi), torch.eye(4, dtype=torch.float64).expand(5, 4, 4),
                          atol=1e-10)


def test_the_jacobians_agree_with_automatic_differentiation():
    g = generator(3)
    q = 0.2 + torch.rand(2, 1, 5, 7, generator=g, dtype=torch.float64)
    K = torch.tensor([[[9.0, 0, 3.1], [0, 8, 2.4], [0, 0, 1]]], dtype=torch.float64).expand(2, 3, 3)
    for family in (ic.Rigid(q, K), ic.Affine(q)):
        for b in range(2):
            f = lambda p: family.place(family.state(torch.stack([p, p])))[0][b]
            auto = torch.func.jacfwd(f)(torch.zeros(6, dtype=torch.float64)).flatten(0, 1)
            assert torch.allclose(auto, family.jacobian()[b], atol=1e-10)


def test_the_warp_is_projection_of_the_moved_point():
    pair = a_pair(6, 8, 1, dtype=torch.float64)
    family = ic.Rigid(ic.inverse_depth(pair["depth"])[:, 0], pair["K"])
    place, q = family.place(pair["motion"])
    x = transform(pair["motion"][0], unproject(pair["depth"][0, 0], pair["K"][0]).reshape(-1, 3))
    expected = (x @ pair["K"][0].T)[:, :2]/x[:, 2:]
    assert (torch.allclose(place[0].reshape(-1, 2), expected, atol=1e-9)
            and torch.allclose(1/q.flatten(), x[:, 2], atol=1e-9))
    many = family.place(pair["motion"].expand(3, 1, 4, 4))[0]
    assert many.shape == (3, 1, 6, 8, 2) and torch.allclose(many[2], place)


def test_the_identity_gives_the_image_back_and_halving_keeps_places():
    image = torch.rand(1, 2, 6, 8, generator=generator(), dtype=torch.float64)
    full = ic.Affine(image[:, :1])
    assert torch.allclose(ic.sample(image, full.place(full.identity())[0]), image, atol=1e-12)
    K = torch.tensor([[[10.0, 0, 4], [0, 10, 3], [0, 0, 1]]], dtype=torch.float64)
    half = torch.nn.functional.avg_pool2d(image, 2)
    q = torch.full((1, 1, 3, 4), 0.5, dtype=torch.float64)
    family = ic.Rigid(q, K*torch.tensor([0.5, 0.5, 1]).double()[:, None])
    assert torch.allclose(ic.sample(half, family.place(family.identity())[0]), half,
                          atol=1e-12), "no shift by half a pixel on any level"


def test_hidden_unknown_and_outside_pixels_have_residual_zero():
    q = torch.full((1, 1, 4, 4), 0.5)
    q[..., 0, 0] = 0
    K = torch.tensor([[[4.0, 0, 2], [0, 4, 2], [0, 0, 1]]])
    near = torch.full_like(q, 0.5)
    near[..., 3, 3] = 1.0
    T, I = torch.zeros_like(q), torch.ones_like(q)
    family = ic.Rigid(q, K)
    r, warped = ic.residual(family, family.identity(), T, I, near)
    assert r[0, 0, 0, 0] == 0 and r[0, 0, 3, 3] == 0 and r.sum() == 14 and warped[0, 0, 3, 3] == 0
    away = ic.residual(family, ic.exp_se3(torch.tensor([[0.0, 0, 0, 100, 0, 0]])), T, I, near)[0]
    assert away.abs().sum() == 0


def test_sobel_of_a_ramp():
    ramp = (3.0*torch.arange(8.0)).expand(1, 1, 6, 8)
    g = ic.sobel(ramp)
    assert torch.allclose(g[0, 0, :, 1:-1], torch.full((6, 6), 3.0)) and g[0, 1].abs().max() == 0
    assert torch.allclose(ic.sobel(ramp, unit=True)[0, 0, :, 1:-1], torch.ones(6, 6), atol=1e-4)


def test_the_batched_solve_agrees_with_one_at_a_time_and_survives_zero():
    g = generator(5)
    A = torch.randn(4, 20, 6, generator=g, dtype=torch.float64)
    H, b = A.mT @ A, torch.randn(4, 6, generator=g, dtype=torch.float64)
    lam = torch.rand(4, 6, generator=g, dtype=torch.float64)
    x = ic.solve(H, b, lam)
    for k in range(4): assert torch.allclose(x[k], torch.linalg.solve(H[k] + torch.diag(lam[k]), b[k]), rtol=1e-4)
    assert torch.isfinite(ic.solve(torch.zeros(2, 6, 6), torch.zeros(2, 6))).all()
    assert torch.autograd.gradcheck(lambda h, v: ic.solve(h @ h.mT, v, 0.1),
                                    (A[:2, :6].clone().requires_grad_(), b[:2].clone().requires_grad_()))


def test_huber_and_tukey_by_hand():
    r = torch.tensor([0.0, 1, -1, 1, 10]).view(1, 1, 1, 5)
    s = 1.4826
    assert torch.allclose(ic.huber(r)[0, 0, 0], torch.tensor([1, 1, 1, 1, 1.345*s/10]), atol=1e-5)
    assert ic.tukey(r)[0, 0, 0, 4] == 0 and torch.isclose(ic.tukey(r)[0, 0, 0, 1],
                                                          torch.tensor((1 - (1/(4.685*s))**2)**2))


# ---- the algorithm

def test_both_forms_reach_the_truth_and_J_is_evaluated_once_a_level():
    for kind in ("affine", "SE(3)"):
        found = ic.both_forms(seed=4)[kind]
        assert found["inverse"] < 1e-6 and found["forward"] < 1e-6 and found["jacobians"] == [1, 1]


def test_weights_are_made_once_a_level_unless_asked_and_the_increment_is_inverted():
    family, T, I, truth, _ = ic.toy("affine", 30, 40)
    calls = []
    count = lambda r, warped, t: calls.append(1) or torch.ones_like(r)
    first, W = ic.inverse_compositional(family, T, I, family.identity(), 3, weights=count)
    assert len(calls) == 1
    ic.inverse_compositional(family, T, I, family.identity(), 3, weights=count, reweight=True)
    assert len(calls) == 4
    before, after = (family.identity() - truth).abs().max(), (first - truth).abs().max()
    assert after < 0.3*before, "composed on the right, inverted"


def test_damping_between_newton_and_the_scaled_gradient():
    g = generator(2)
    A = torch.randn(1, 40, 6, generator=g, dtype=torch.float64)
    H, b = A.mT @ A/40, torch.randn(1, 6, generator=g, dtype=torch.float64)
    d = H.diagonal(dim1=-2, dim2=-1)
    newton, small, large = (ic.solve(H, b, ic.fixed(s)(H, None, b, None)) for s in (0.0, 1e-5, 1e5))
    assert (small - newton).norm() < 1e-3*newton.norm()
    assert torch.nn.functional.cosine_similarity(large, b/d).item() > 0.999999


def test_the_trust_region_network_tries_every_damping_and_never_answers_below_zero():
    with seeded(0): net = ic.TrustRegion(4, (16, 16))
    H = torch.eye(6).expand(3, 6, 6)*2
    WJ, g, seen = torch.randn(3, 10, 6, generator=generator()), torch.randn(3, 6, generator=generator(1)), []
    def trial(steps):
        seen.append(steps)
        return torch.zeros(*steps.shape[:2], 1, 2, 5)
    lam = net(H, WJ, g, trial)
    assert lam.shape == (3, 6) and (lam >= 0).all() and len(seen) == 1 and seen[0].shape == (4, 3, 6)
    for k, s in enumerate(torch.logspace(-5, 5, 4)): assert torch.allclose(seen[0][k], g/(2 + 2*s), rtol=1e-3)


def test_a_model_aligns_identical_frames_without_motion():
    pair = a_pair()
    pair["color"], pair["depth"] = (pair["color"][:, :1].expand(-1, 2, -1, -1, -1),
                                    pair["depth"][:, :1].expand(-1, 2, -1, -1))
    for name in ("No learning", "No learning, Huber", "DeepLK-6DoF"):
        with seeded(0): model = ic.built(name, TINY).eval()
        assert torch.allclose(model(pair)[-1], torch.eye(4).expand(2, 4, 4), atol=1e-5)


def test_the_single_view_encoder_cannot_know_the_other_frame():
    pair = a_pair()
    other = pair | {"color": torch.stack([pair["color"][:, 0], torch.rand_like(pair["color"][:, 1])], 1)}
    for name, same in (("DeepLK-6DoF", True), ("Ours (A)", False)):
        with seeded(0): model = ic.built(name, TINY).eval()
        q = ic.inverse_depth(pair["depth"])
        assert torch.allclose(model.features(pair["color"], q)[0][0], model.features(other["color"], q)[0][0]) == same
    with seeded(0): model = ic.built("Ours (A)", TINY).eval()
    T, I = model.features(pair["color"], q)
    swapped = model.features(pair["color"].flip(1), q.flip(1))
    assert torch.allclose(T[0], swapped[1][0], atol=1e-6) and torch.allclose(I[1], swapped[0][1],
                                                                             atol=1e-6), ("phi([I, T]) and phi([T, I]) "
                                                                                          "are one network")


def test_dtype_follows_the_input_and_the_batch_does_not_matter():
    with seeded(0): model = ic.built("Ours (A)+(B)+(C)", TINY).double().eval()
    pair = a_pair(dtype=torch.float64)
    both = model(pair)[-1]
    assert both.dtype == torch.float64
    one = model({k: v[:1] for k, v in pair.items()})[-1]
    assert torch.allclose(both[:1], one, atol=1e-9)


def test_the_regressor_starts_at_zero_motion():
    for name in ic.POSE_NETS:
        with seeded(0): model = ic.built(name, TINY)
        found = model(a_pair())
        assert len(found) == ic.POSE_NETS[name][0] and torch.allclose(found[-1], torch.eye(4).expand(2, 4, 4))


# ---- measures

def test_end_point_errors_by_hand():
    pair = a_pair(4, 4, 1, dtype=torch.float64)
    pair["motion"] = torch.eye(4, dtype=torch.float64)[None]
    shifted = torch.eye(4, dtype=torch.float64)[None].clone()
    shifted[0, 0, 3] = 0.03
    for every in (1, 2):
        assert torch.isclose(ic.end_point_errors(shifted, pair, every)[0], torch.tensor(3.0, dtype=torch.float64))
    pair["depth"][0, 0] = 0
    pair["depth"][0, 0, 2, 1] = 2.0
    turn = ic.exp_se3(torch.tensor([[0.0, 0.1, 0, 0, 0, 0]], dtype=torch.float64))
    x = unproject(pair["depth"][0, 0], pair["K"][0])[2, 1]
    assert torch.isclose(ic.end_point_errors(turn, pair)[0], 100*(turn[0, :3, :3] @ x - x).norm())
    errors = ic.pose_errors(turn, pair)
    assert (torch.isclose(errors["euler"][0], torch.rad2deg(torch.tensor(0.1)).double(), atol=1e-4)
            and torch.isclose(errors["angle"][0], errors["euler"][0], atol=1e-4))


def test_the_mask_decides_which_pixels_count():
    pair = a_pair(4, 4, 1)
    pair["depth"], pair["motion"] = torch.full_like(pair["depth"], 2.0), torch.eye(4)[None]
    found = ic.exp_se3(torch.tensor([[0.0, 0, 0.2, 0, 0, 0]]))
    everywhere = ic.end_point_errors(found, pair)
    pair["mask"] = torch.zeros_like(pair["mask"]); pair["mask"][:, 1:3, 1:3] = True
    middle = 100*2*math.hypot(0.5, 0.5)/26*2*math.sin(0.1)
    assert torch.isclose(ic.end_point_errors(found, pair)[0], torch.tensor(middle),
                         rtol=1e-4) and everywhere > 1.5*middle, "the middle moves less in a roll"


def test_icp_recovers_a_small_motion_both_ways():
    g = generator(7)
    x = torch.rand(400, 3, generator=g, dtype=torch.float64)
    x[:, 2] = 0.3*torch.sin(4*x[:, 0])*torch.cos(3*x[:, 1])
    M = ic.exp_se3(torch.tensor([[0.02, -0.03, 0.02, 0.01, 0.01, -0.02]], dtype=torch.float64))[0]
    found = ic.icp(x, transform(M, x), None)
    assert (found - M.float()).abs().max() < 1e-3
    assert torch.equal(ic.icp(x[:3], x), torch.eye(4))
    exact = ic.toward_points(x, transform(M, x))
    assert torch.allclose(exact, M, atol=1e-9)


def test_odometry_finds_the_motion_of_a_textured_surface():
    family, T, I, truth, _ = ic.toy("SE(3)", 48, 64)
    q1 = 1/ic.toy("SE(3)", 48, 64)[0].q
    depth = torch.stack([q1[:, 0], q1[:, 0]], 1).float()
    K = torch.tensor([[[51.46, 0, 32], [0, 51.46, 24], [0, 0, 1]]])
    pair = {"color": torch.stack([T.expand(-1, 3, -1, -1), I.expand(-1, 3, -1, -1)], 1).float(), "depth": depth, "K": K,
            "motion": truth.float(), "mask": torch.ones(1, 48, 64, dtype=torch.bool)}
    still = ic.end_point_errors(torch.eye(4)[None], pair)
    assert ic.end_point_errors(ic.odometry(pair, depth_weight=0.0), pair) < 0.1*still


def test_the_area_under_the_curve_by_hand():
    assert ic.area_under_curve(torch.tensor([0.9, 0.8, 0.2, 0.1]), torch.tensor([True, True, False, False])) == 1.0
    assert ic.area_under_curve(torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.tensor([True, False, True, False])) == 0.5
    assert ic.area_under_curve(torch.tensor([0.9, 0.1, 0.5]), torch.tensor([True, True, False])) == 0.5


# ---- data and bad inputs

@pytest.fixture(scope="module")
def clips(): return ic.render_set("O", "test", 0, 1, 32, 40)


def test_pairs_follow_the_interval_and_the_body(clips):
    pairs = ic.pair_list(clips, (1, 4), least=20)
    assert (set((pairs[:, 2] - pairs[:, 1]).tolist()) <= {1, 4} and len(ic.pair_list(clips, (1,), 2, 20)) <= 2
            and len(ic.pair_list(clips, (1,), least=10**6)) == 0)
    batch = ic.gather(clips, pairs[:2])
    assert batch["color"].shape == (2, 2, 3, 32, 40) and batch["color"].max() <= 1
    c, i, j = pairs[0].tolist()
    assert torch.allclose(batch["motion"][0], clips["pose"][c, j] @ invert(clips["pose"][c, i]))


def test_rendering_in_pieces_gives_the_same_clips(clips):
    two = ic.render_set("O", "test", 0, 2, 32, 40)
    assert torch.equal(two["color"][:1], clips["color"]) and not torch.equal(two["color"][1], two["color"][0])


def test_training_lowers_the_loss_and_repeats_itself(clips):
    runs = [ic.fit("Ours (A)", {"O": clips}, TINY, 60, 4, 5e-3, 0) for _ in range(2)]
    assert runs[0]["loss"] == runs[1]["loss"] and np.mean(runs[0]["loss"][-10:]) < 0.9*np.mean(runs[0]["loss"][:10])
    errors = ic.judge("Ours (A)", runs[0]["weights"], clips, "O", TINY, 2)
    assert set(errors) == {"1", "2", "4"} and all(torch.isfinite(e["epe"]).all() for e in errors.values())


def test_bad_requests_are_answered_clearly():
    with pytest.raises(PaperKitError, match="no such method"): ic.built("Ours (D)", TINY)
    with pytest.raises(PaperKitError, match="no such variant"): ic.Aligner(encoder="three")
    with pytest.raises(PaperKitError, match="no such set"): ic.one_clip("Q", "train", np.random.default_rng(0), 32, 40)


def test_the_affine_alignment_of_a_covered_picture():
    g = np.random.default_rng(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij")
    picture = (0.5 + 0.2*ic.toy_image(torch.stack([x, y], -1))).clamp(0, 0.8).expand(3, 128, 128)
    T, I, truth = ic.photograph_pair(picture, g, cover=0.2)
    before = ic.corner_error(ic.Affine(T).identity(), truth, 96, 128)
    errors = {robust: ic.corner_error(ic.align_affine(T, I, robust), truth, 96, 128) for robust in (None, "huber")}
    assert errors["huber"] < 0.25*before and errors["huber"] < errors[None]


def test_the_stages_can_be_called_without_a_notebook():
    assert callable(ic.stages)
