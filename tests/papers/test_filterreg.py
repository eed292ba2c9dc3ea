"""FilterReg: the lattice against the exact sum, EM, twists against finite differences, trees and node graphs, rivals,
the Lounge loader, predicates that can fail."""
import math

import numpy as np
import pytest
import torch

from paper_kit.geometry import filterreg as paper
from paper_kit.geometry.filterreg import (EStep, Joint, Lattice, LoungeViews, NodeGraph, Tree,
                                          alignment_error, augmented_filter, bunny_case, clouds, cpd, hat,
                                          em_icp, filterreg, gain, icp, kabsch_step, lattice_filter, move,
                                          naive_filter, outlier_constant, plain_filter, predicates,
                                          torch_filter, se3_exp, motion_size, twist_step, twist_sums)
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import align
from helpers import varied

pytest.importorskip("numba")


def cloud(n, d=3, seed=0, spread=1.0): return spread*np.random.default_rng(seed).normal(size=(n, d))


# the filter

def test_naive_sum_by_hand():
    f = np.array([[0.0], [2.0]])
    np.testing.assert_allclose(naive_filter(np.array([[0.0]]), f, np.array([[1.0, 3], [1, 5]])),
                               [[1 + math.exp(-2), 3 + 5*math.exp(-2)]])


@pytest.mark.parametrize("budget", (7, 100, 1 << 20))
def test_naive_sum_in_slabs(budget):
    x, y, V = cloud(23), cloud(31, seed=1), cloud(31, 4, 2)
    exact = np.exp(-((x[:, None] - y)**2).sum(-1)/2) @ V
    np.testing.assert_allclose(naive_filter(x, y, V, budget), exact, rtol=1e-12, atol=1e-12)


def test_augmentation_is_an_identity():
    x, y, V = cloud(57), cloud(83, seed=1), cloud(83, 3, 2)
    np.testing.assert_allclose(augmented_filter(x, y, V, lambda F, W: naive_filter(F, F, W)),
                               naive_filter(x, y, V), atol=1e-12)


def test_the_gains_of_the_brief():
    assert gain(3, False) == pytest.approx(0.4666, abs=1e-4) and gain(3, True) == pytest.approx(0.0583, abs=1e-4)


@pytest.mark.parametrize("d", (1, 2, 3, 6))
def test_lattice_conserves_mass_and_has_unit_variance(d):
    """Over many offsets, the kernel sums to the Gaussian's integral and spreads as far: the first moments of splat and
    slice together."""
    rng = np.random.default_rng(d)
    y = rng.uniform(-30, 30, (400, d))
    step = rng.normal(size=(400, d))*2.2
    density = np.exp(-(step**2).sum(1)/(2*2.2**2))/(2*math.pi*2.2**2)**(d/2)
    k = np.array([lattice_filter(y[i:i + 1] + step, y[i:i + 1], np.ones((1, 1)))[:, 0]/density for i in range(60)])
    assert k.mean() == pytest.approx((2*math.pi)**(d/2), rel=0.1)
    assert (k*(step**2).mean(1)).mean()/k.mean() == pytest.approx(1, rel=0.12)


@pytest.mark.parametrize("d", (2, 3, 5))
def test_weights_are_barycentric(d):
    f = cloud(200, d, spread=3)
    keys, weight = paper._vertices(torch.from_numpy(f), False)
    assert (weight > -1e-12).all() and torch.allclose(weight.sum(1), torch.ones(200, dtype=torch.float64))
    last = -keys.sum(-1, keepdim=True)
    assert ((torch.cat([keys, last], -1) - torch.arange(d + 1)[:, None]) % (d + 1)
            == 0).all(), "vertex k has coordinates congruent to k"
    scale = paper.embedding(d, False)
    along = f*scale
    tail = np.cumsum(along[:, ::-1], 1)[:, ::-1]
    raised = np.c_[tail[:, 0], np.c_[tail[:, 1:], np.zeros(200)] - np.arange(1, d + 1)*along]
    np.testing.assert_allclose((weight[..., None]*keys).sum(1), raised[:, :d], atol=1e-9)


@pytest.mark.parametrize("d", (1, 2, 3, 6))
def test_numba_and_torch_lattices_agree(d):
    x, y, V = cloud(300, d, spread=2), cloud(500, d, 1, 2), cloud(500, 3, 2)
    np.testing.assert_allclose(torch_filter(*map(torch.from_numpy, (x, y, V))).numpy(), lattice_filter(x, y, V),
                               atol=1e-9)


def test_lattices_come_near_the_exact_sum():
    x, y = cloud(500), cloud(4000, seed=1)
    one = np.ones((4000, 1))
    exact = naive_filter(x, y, one)
    for f, off in ((lattice_filter, 0.2), (plain_filter, 0.05)):
        ratio = f(x, y, one)/exact
        assert abs(ratio.mean() - 1) < 0.03 and ratio.std() < off


def test_a_vertex_not_there_holds_nothing():
    assert lattice_filter(np.full((1, 3), 50.0), cloud(20), np.ones((20, 1)))[0, 0] == 0


def test_the_lattice_is_linear_and_the_index_serves_many_queries():
    y, V, W = cloud(200), cloud(200, 2, 1), cloud(200, 2, 2)
    x = cloud(50, seed=3)
    np.testing.assert_allclose(lattice_filter(x, y, 2*V - W), 2*lattice_filter(x, y, V) - lattice_filter(x, y, W),
                               atol=1e-10)
    lattice = Lattice(y, V)
    np.testing.assert_array_equal(np.concatenate([lattice(x[:20]), lattice(x[20:])]), lattice(x))


@pytest.mark.parametrize("bad", (np.zeros((0, 3)), np.zeros(3), np.array([[np.nan, 0, 0]])))
def test_bad_clouds_are_refused(bad):
    with pytest.raises(PaperKitError, match="cannot be registered"): clouds(bad)
    with pytest.raises(PaperKitError): filterreg(bad, cloud(10))


def test_other_bad_inputs():
    with pytest.raises(PaperKitError, match="do not fit"): Lattice(cloud(5), np.ones((4, 1)))
    with pytest.raises(PaperKitError, match="do not fit the lattice"): Lattice(cloud(5), np.ones((5, 1)))(cloud(5, 2))
    with pytest.raises(PaperKitError, match="no such filter"): EStep(cloud(5), 0.1, backend="magic")
    with pytest.raises(PaperKitError, match="no such width"): EStep(cloud(5), 0.0)
    with pytest.raises(PaperKitError, match="outliers"): outlier_constant(1.0, 0.1, 5, 5)


# E step, likelihood

def test_moments_by_definition():
    x, y, n = cloud(20), cloud(30, seed=1), cloud(30, 3, 2)
    K = np.exp(-((x[:, None] - y)**2).sum(-1)/(2*0.49))
    m = EStep(y, 0.7, n, backend="naive")(x)
    np.testing.assert_allclose(m.m0, K.sum(1))
    np.testing.assert_allclose(m.target, K @ y/K.sum(1, keepdims=True))
    np.testing.assert_allclose(m.square, K @ (y**2).sum(1)/K.sum(1))
    N = K @ n
    np.testing.assert_allclose(m.normal, N/np.linalg.norm(N, axis=1, keepdims=True))


def test_sigma_by_axis():
    x, y, s = cloud(9), cloud(12, seed=1), np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(EStep(y, s, backend="naive")(x).m0, np.exp(-(((x[:, None] - y)/s)**2).sum(-1)/2).sum(1))
    assert outlier_constant(0.5, s, 12, 9) == pytest.approx(12/9*(2*math.pi)**1.5)


def test_weights_are_posteriors_of_the_mixture():
    "M0/(M0 + c) with the derived c is one less the posterior of the uniform component of Eq. 4."
    x, y, sigma, w = cloud(8), cloud(11, seed=1), 0.6, 0.3
    near = np.exp(-((x[:, None] - y)**2).sum(-1)/(2*sigma**2)).sum(1)
    density = near/((2*math.pi)**1.5*sigma**3)
    posterior = (1 - w)/11*density/((1 - w)/11*density + w/8)
    np.testing.assert_allclose(near/(near + outlier_constant(w, sigma, 11, 8)), posterior)


@pytest.mark.parametrize("update", (False, True))
def test_em_climbs_the_likelihood(update):
    c = bunny_case(120, 3, outliers=0.2, noise=0.01)
    r = filterreg(c.source, c.target, 0.1, update=update, floor=1e-4, w=0.3, backend="naive", iterations=25,
                  tolerance=0.0)
    values = [paper.log_likelihood(move(T, c.source), c.target, s, 0.3) for T, s in r.history]
    assert (np.diff(values) > -1e-8).all()


# twists

def test_se3_exp_is_the_exponential():
    from scipy.linalg import expm
    for scale in (1e-9, 1e-3, 1.0, 3.0):
        z = scale*np.array([0.3, -0.5, 0.8, 1.0, -2.0, 0.5])
        Z = np.zeros((4, 4))
        Z[:3, :3], Z[:3, 3] = hat(z[:3]), z[3:]
        np.testing.assert_allclose(se3_exp(z), expm(Z), atol=1e-12)
    assert motion_size(se3_exp([0.3, 0.4, 0, 0, 0, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("plane", (False, True))
def test_sums_are_those_of_the_numeric_jacobian(plane):
    x, t, w, n = cloud(15), cloud(15, seed=1), np.random.default_rng(2).random(15), cloud(15, 3, 3)
    residual = lambda z: ((move(se3_exp(z), x) - t)*n).sum(1) if plane else (move(se3_exp(z), x) - t).ravel()
    J = np.stack([(residual(1e-6*e) - residual(-1e-6*e))/2e-6 for e in np.eye(6)], 1)
    W = w if plane else np.repeat(w, 3)
    (A,), (b,) = twist_sums(x, t, w, n if plane else None)
    np.testing.assert_allclose(A, (J.T*W) @ J, atol=1e-6)
    np.testing.assert_allclose(b, (J.T*W) @ residual(np.zeros(6)), atol=1e-6)


def test_kabsch_against_the_kit_and_twists_reach_it():
    x, t, w = cloud(30), cloud(30, seed=1), np.random.default_rng(2).random(30)
    T = kabsch_step(x, t, w)
    _, R, shift = align(*map(torch.from_numpy, (x, t, w)), scale=False)
    np.testing.assert_allclose(T[:3, :3], R, atol=1e-9); np.testing.assert_allclose(T[:3, 3], shift, atol=1e-9)
    truth, S = se3_exp([0.3, -0.2, 0.4, 0.1, 0.2, 0.3]), np.eye(4)
    for _ in range(12): S = twist_step(move(S, x), move(truth, x), w) @ S
    np.testing.assert_allclose(S, truth, atol=1e-8)


# registration

@pytest.mark.parametrize("run", (filterreg, icp, cpd, em_icp))
def test_all_find_a_small_motion(run):
    c = bunny_case(500, 1, angle=15.0)
    r = run(c.source, c.target)
    assert alignment_error(r.T, c.T, c.true) < 0.002 and len(r.history) == r.iterations and r.seconds >= 0


def test_registration_does_not_depend_on_the_frame():
    c, G = bunny_case(400, 2, angle=20.0, outliers=0.1), se3_exp([0.5, 0.2, -0.3, 0.3, -0.1, 0.2])
    a = filterreg(c.source, c.target, backend="naive")
    b = filterreg(move(G, c.source), move(G, c.target), backend="naive")
    np.testing.assert_allclose(G @ a.T @ np.linalg.inv(G), b.T, atol=1e-6)


def test_planes_and_normals():
    rng = np.random.default_rng(0)
    y = np.c_[rng.uniform(-1, 1, (1500, 2)), np.zeros(1500)]
    y = np.concatenate([y, y[:, [0, 2, 1]], y[:, [2, 0, 1]]])
    n = np.repeat([[0, 0, 1.0], [0, 1, 0], [1, 0, 0]], 1500, 0)
    T = se3_exp([0.05, -0.04, 0.03, 0.02, 0.03, -0.02])
    r = filterreg(move(np.linalg.inv(T), y[::2]), y, 0.1, update=False, normals=n, iterations=30)
    assert np.degrees(motion_size(r.T @ np.linalg.inv(T))) < 1.2


def test_features_alone_give_the_motion():
    rng = np.random.default_rng(0)
    x, f = cloud(200), np.eye(200)[:, :8] + 3*rng.normal(size=(200, 8))
    T = se3_exp([0.9, 0.4, -1.0, 1, 2, 3])
    r = filterreg(x, move(T, x), 0.05, update=False, features=(f, f), iterations=5)
    assert abs(r.T - T).max() < 1e-6 and r.iterations <= 2


def test_trimming_helps_and_cpd_takes_outliers():
    c = bunny_case(300, 4, outliers=0.2, angle=20.0)
    assert alignment_error(cpd(c.source, c.target, 0.2).T, c.T, c.true) < 0.01
    assert alignment_error(paper.trimmed_icp(c.source, c.target, 0.2).T, c.T,
                           c.true) <= alignment_error(icp(c.source, c.target).T, c.T, c.true) + 0.01


# articulated and deformable

def random_tree():
    frame = se3_exp([0.3, 0.2, 0.1, 0.2, 0, 0.1])
    return Tree([Joint(-1, "floating"), Joint(0, "revolute", frame, (0, 0, 1)),
                 Joint(1, "prismatic", frame, (1, 0, 0)), Joint(2, "revolute", frame, (0.6, 0.8, 0)),
                 Joint(-1, "floating"), Joint(4, "revolute", frame, (0, 1, 0))])


def test_spatial_jacobian_against_differences():
    tree, rng = random_tree(), np.random.default_rng(0)
    pose = tree.step(tree.rest(), 0.3*rng.normal(size=tree.freedoms))
    T, x = tree.forward(pose), rng.normal(size=(1, 3))
    J = tree.jacobian(T)
    for q in range(tree.freedoms):
        up, down = (tree.forward(tree.step(pose, s*1e-6*np.eye(tree.freedoms)[q])) for s in (1, -1))
        for b in range(len(tree)):
            np.testing.assert_allclose((move(up[b], x) - move(down[b], x))[0]/2e-6,
                                       np.cross(J[b, :3, q], move(T[b], x)[0]) + J[b, 3:, q], atol=1e-7)


@pytest.mark.parametrize("plane", (False, True))
def test_factored_equals_direct(plane):
    tree, rng = random_tree(), np.random.default_rng(1)
    T = tree.forward(tree.step(tree.rest(), 0.3*rng.normal(size=tree.freedoms)))
    arguments = (tree, T, cloud(90), cloud(90, seed=1), rng.random(90), cloud(90, 3, 2) if plane else None,
                 rng.integers(len(tree), size=90))
    for a, b in zip(paper.factored_equations(*arguments), paper.direct_equations(*arguments)):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_bad_trees():
    for joints in ([Joint(0, "revolute")], [Joint(-1, "hinge")], [Joint(-1, "floating"), Joint(0, "floating")]):
        with pytest.raises(PaperKitError, match="kinematic tree"): Tree(joints)


def test_articulated_tracking_recovers_a_step():
    tree, model, poses, views = paper.robot_views(2, 0)
    x, n = paper._placed(tree.forward(poses[1]), model)
    pose, spent = paper.track_frame(tree, model, poses[0], paper.filter_of(x, 0.02), iterations=40)
    error = lambda p: np.linalg.norm(paper._placed(tree.forward(p), model)[0] - x, axis=1).mean()
    assert error(pose) < 0.25*error(poses[0]) and spent["iterations"] > 1
    assert tree.freedoms == 20 and len(tree) == 10 and abs(len(model.points) - 7500) < 50


def test_dual_quaternions_round_trip_and_blend():
    T = se3_exp(np.random.default_rng(0).normal(size=(5, 6)))
    q = paper.dual_quaternions(T)
    np.testing.assert_allclose(paper.blend(q[:, None], np.ones((5, 1))), T, atol=1e-12)
    half = paper.blend(np.stack([paper.dual_quaternions(np.eye(4)[None]),
                                 paper.dual_quaternions(se3_exp([0, 0, 0.8, 0, 0, 0])[None])], 1),
                       np.array([[0.5, 0.5]]))
    np.testing.assert_allclose(half[0], se3_exp([0, 0, 0.4, 0, 0, 0]), atol=1e-12)
    np.testing.assert_allclose(paper.blend(np.stack([q[:1], -q[:1]], 1), np.array([[0.5, 0.5]])), T[:1], atol=1e-12)


def test_node_graph_moves_rigidly_and_its_equations_agree():
    points = cloud(400, spread=0.3)
    graph, G = NodeGraph(points, 20), se3_exp([0.4, 0.1, -0.3, 0.2, 0.1, 0])
    T = np.tile(G, (20, 1, 1))
    np.testing.assert_allclose(graph.place(T), move(G, points), atol=1e-10)
    assert abs(paper.rigidity(graph, T)[0]).max() < 1e-10, "a rigid motion costs nothing"
    rng = np.random.default_rng(0)
    T = se3_exp(0.1*rng.normal(size=(20, 6)))
    rows, x = np.arange(400), graph.place(T)
    for normal in (None, cloud(400, 3, 3)):
        arguments = (graph, T, x, points, rng.random(400), normal, rows, 2.0)
        (A, b), (B, c) = paper.graph_equations(*arguments), paper.generic_equations(*arguments)
        np.testing.assert_allclose(A, B.toarray(), atol=1e-9); np.testing.assert_allclose(b, c, atol=1e-9)


def test_regulariser_jacobian_against_differences():
    graph, rng = NodeGraph(cloud(60, spread=0.3), 6, ties=3), np.random.default_rng(0)
    T = se3_exp(0.2*rng.normal(size=(6, 6)))
    r, one, two, ties = paper.rigidity(graph, T)
    z = rng.normal(size=(6, 6))
    up, down = (paper.rigidity(graph, se3_exp(s*1e-6*z) @ T)[0] for s in (1, -1))
    np.testing.assert_allclose((up - down)/2e-6,
                               np.einsum("eij,ej->ei", one, z[ties[:, 0]])
                               + np.einsum("eij,ej->ei", two, z[ties[:, 1]]), atol=1e-7)


# worlds and real data

def test_bunny_case_is_what_it_says():
    c = bunny_case(200, 0, outliers=0.5)
    assert len(c.source) == len(c.target) == 300 and np.degrees(motion_size(c.T)) == pytest.approx(50)
    np.testing.assert_allclose(move(c.T, c.source[:200]), c.target[:200], atol=1e-12)
    assert len(bunny_case(200, 0, cropped=0.3).target) == 140
    d = bunny_case(200, 0, independent=True)
    assert np.abs(move(d.T, d.source) - d.target).max() > 1e-3


def test_a_depth_view_sees_a_plane_where_it_is():
    K = paper.intrinsics(40, 50, 48.0, dtype=torch.float64)
    view = paper.as_view(torch.full((40, 50), 2.0), K, torch.eye(4, dtype=torch.float64), np.random.default_rng(0),
                         0.0, holes=0.1)
    n = view.normals[view.seen]
    assert (np.abs(view.points[view.seen][:, 2] - 2) < 1e-9).all() and (n[:, 2] <
        -0.999).all() and 0.05 < (view.depth == 0).mean() < 0.15


def lounge(folder, frames=6, log=None):
    from PIL import Image
    (folder/"lounge"/"depth").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(1, frames + 1):
        Image.fromarray((1500 + 300*np.sin(np.arange(640)/90)
                         + rng.integers(0, 3, (480, 640))).astype(np.uint16)).save(
            folder/"lounge"/"depth"/f"{k:06d}.png")
    text = "".join(f"{k} {k} {k + 1}\n"
                   + "\n".join(" ".join(map(str, row)) for row in se3_exp([0, 0.01*k, 0, 0.02*k, 0, 0])) + "\n"
                   for k in range(frames))
    (folder/"lounge"/"lounge_trajectory.log").write_text(log(text) if log else text)
    return folder


def test_the_lounge_layout(tmp_path):
    data = LoungeViews(lounge(tmp_path), every=5)
    assert len(data) == 2
    view = data[1]
    assert view.depth.shape == (120, 160) and view.seen.mean() > 0.9 and 1.1 < view.depth[view.seen].min()
    np.testing.assert_allclose(np.linalg.inv(view.camera), se3_exp([0, 0.05, 0, 0.1, 0, 0]), atol=1e-9)


def test_faults_of_the_lounge(tmp_path):
    from PIL import Image
    data, depth = LoungeViews(lounge(tmp_path), every=1), tmp_path/"lounge"/"depth"
    (depth/"000001.png").write_bytes(b"no picture"); (depth/"000002.png").unlink()
    Image.fromarray(np.zeros((480, 640), np.uint16)).save(depth/"000003.png")
    Image.fromarray(np.ones((48, 64), np.uint16)).save(depth/"000004.png")
    for k, found in ((0, "UnidentifiedImageError"), (1, "no such file"), (2, "zeros"), (3, "48")):
        with pytest.raises(PaperKitError, match=found): data[k]
    with pytest.raises(PaperKitError, match="missing"): LoungeViews(tmp_path/"nowhere")
    with pytest.raises(PaperKitError, match="NaN"):
        LoungeViews(lounge(tmp_path/"b", 2, lambda t: t.replace("1.0", "nan", 1)))


# predicates

HOLDING = {"C1": ({"proposed": [0.001, 0.0011, 0.0009], "trimmed ICP": [0.1, 0.11, 0.12], "CPD": [0.001]*3},
                  {"trimmed ICP": [0.001]*3}),
           "C2": ({"proposed": [0.005, 0.0051, 0.0049], "trimmed ICP": [0.05]*3, "CPD": [0.005]*3},
                  {"CPD": [0.001]*3}),
           "C3": ({"slope of time, lattice": [1, 1.01, 0.99],
                   "slope of time, brute force": [1.9, 1.91, 1.92],
                   "time of CPD over time of the lattice": [50, 51, 52]},
                  {"slope of time, lattice": [1.5, 1.51, 1.52]}),
           "C4": ({"iterations, updated": [27, 28, 26],
                   "iterations, fixed": [40, 41, 42],
                   "time of an iteration, updated": [1.2, 1.21, 1.19],
                   "time of an iteration, fixed": [0.9, 0.91, 0.92]}, {"iterations, updated": [50, 51, 52]}),
           "C5": ({"largest difference": [1e-14]}, {"largest difference": [1e-9]}),
           "C6": ({"falls_of_the_likelihood": [0, 0, 0]}, {"falls_of_the_likelihood": [0, 1, 0]}),
           "C7": ({"difference, no outliers": [1e-4, 2e-4, 1e-4], "difference, 0.2 outliers": [1e-4, 2e-4, 1e-4]},
                  {"difference, 0.2 outliers": [0.01, 0.011, 0.012]}),
           "C8": ({"relative difference of A and b": 1e-14,
                   "growth of time, factored": [1.3, 1.31, 1.32], "growth of time, direct": [10, 11, 12]},
                  {"growth of time, factored": [3, 3.1, 3.2]}),
           "C9": ({"planes": [0.03, 0.04, 0.03], "points": [0.2, 0.2, 0.2], "trimmed ICP": [0.2, 0.2, 0.2]},
                  {"trimmed ICP": [0.01]*3}),
           "C10": ({"proposed, default": [30, 30, 30], "feature ICP, default": [29, 29, 29],
                    "proposed, hard": [20, 21, 22], "feature ICP, hard": [10, 11, 12]},
                   {"feature ICP, hard": [25, 26, 27]}),
           "C11": ({"median error, c = 0": [0.03, 0.04, 0.035], "median error, weighted": [0.0004]*3},
                   {"median error, weighted": [0.01]*3}),
           "C12": ({"proposed": [3, 3.1, 2.9], "projective ICP": [10, 11, 12]}, {"projective ICP": [4, 4.1, 4.2]})}


@pytest.mark.parametrize("name", HOLDING)
def test_predicates_hold_and_fail(name):
    good, bad = HOLDING[name]
    assert predicates[name].evaluate(varied(good)).verdict == "holds"
    assert predicates[name].evaluate(varied(good | bad)).verdict == "fails"


def test_successes_count_error_and_angle():
    assert paper.successes({"methods": {"a": {"error": [0.01, 0.06, 0.01], "angle": [1, 1, 20]}}}, "a") == 1


def test_all_claims_have_a_predicate():
    from helpers import ROOT
    from paper_kit.kit.paper import load_manifest
    assert set(predicates) == {c["id"] for c in load_manifest(ROOT/"data"/"papers"/"filterreg.yaml")["claims"]}


# what other scans, other rivals and the humanoid need

def test_a_ball_joint_turns_as_its_jacobian_says():
    rng = np.random.default_rng(0)
    tree = Tree([Joint(-1, "floating"), Joint(0, "ball", se3_exp([0.1, 0.2, -0.3, 0.1, 0.4, 0.2])),
                 Joint(1, "revolute", se3_exp([0.3, 0, 0.1, 0, 0.3, 0]), (0.0, 1.0, 0.0)),
                 Joint(1, "ball", se3_exp([0, 0, 0, 0, 0, 0.2]))])
    assert tree.freedoms == 6 + 3 + 1 + 3
    pose = tree.step(tree.rest(), 0.4*rng.normal(size=13))
    T = tree.forward(pose)
    J, x = tree.jacobian(T), rng.normal(size=(4, 3))
    for q in range(13):
        delta = np.zeros(13); delta[q] = 1e-6
        moved = tree.forward(tree.step(pose, delta))
        for b in range(4):
            at = T[b, :3, :3] @ x[b] + T[b, :3, 3]
            expected = np.cross(J[b, :3, q], at) + J[b, 3:, q]
            np.testing.assert_allclose((moved[b, :3, :3] @ x[b] + moved[b, :3, 3] - at)/1e-6, expected, atol=1e-5)
    with pytest.raises(PaperKitError, match="kinematic tree"): Tree([Joint(-1, "hinge")])


def test_the_humanoid_stands_on_the_ground_and_walks_ahead():
    pytest.importorskip("pybullet_data")
    tree, meshes = paper.humanoid()
    assert tree.freedoms == 34 and len(tree) == len(meshes) == 13
    poses = paper.humanoid_clip("walk", 12)
    lowest = []
    for pose in poses:
        T = tree.forward(pose)
        lowest.append(min(float((m.vertices.numpy() @ T[b, :3, :3].T + T[b, :3, 3])[:, 1].min())
                          for b, m in enumerate(meshes)))
    assert max(np.abs(lowest)) < 0.06  # metres: some foot is on the ground in every frame
    head = tree.forward(poses[0])[2, :3, 3]
    assert 1.2 < head[1] < 1.6 and poses[-1][0, 0, 3] - poses[0][0, 0, 3] > 0.3
    with pytest.raises(PaperKitError, match="no such clip"): paper.humanoid_clip("swim", 4)
    with pytest.raises(PaperKitError, match="too short"): paper.humanoid_clip("walk", 400)


def test_the_feature_histograms_do_not_feel_a_rigid_motion():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3)); x /= np.linalg.norm(x, axis=1, keepdims=True)
    x, n = x*[1, 0.7, 0.4], x
    T = se3_exp([0.5, -1.0, 0.3, 0.2, 0.1, 0.4])
    f, g = paper.fpfh(x, n, 0.5), paper.fpfh(move(T, x), n @ T[:3, :3].T, 0.5)
    assert np.abs(f - g).max() < 0.05 and np.abs(f - g).mean() < 1e-4      # a point on the edge of two bins may jump
    np.testing.assert_allclose(f.reshape(200, 3, 11).sum(-1), 1, atol=1e-9)
    assert np.abs(f - f[rng.permutation(200)]).mean() > 1e-2


def test_a_plane_has_one_feature_histogram():
    g = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2)
    f = paper.fpfh(np.c_[g, 0*g[:, :1]], np.tile([0.0, 0, 1], (81, 1)), 1.2)
    middle = np.zeros(33); middle[[5, 16, 27]] = 1                         # all three angles are 0
    np.testing.assert_allclose(f, np.tile(middle, (81, 1)), atol=1e-12)


def test_batched_kabsch_and_ransac_find_a_known_motion():
    rng, T = np.random.default_rng(2), se3_exp([2.0, 0.5, -1.0, 0.3, 0.1, -0.2])
    x = rng.normal(size=(6, 5, 3))
    np.testing.assert_allclose(paper.rigid_fit(x, move(T, x)), np.tile(T, (6, 1, 1)), atol=1e-9)
    cloud_, feature = rng.normal(size=(300, 3)), rng.normal(size=(300, 5))
    spoiled = feature.copy(); spoiled[:120] = rng.normal(size=(120, 5))    # 120 wrong matches
    found = paper.ransac(cloud_, move(T, cloud_), (spoiled, feature), 0.02, np.random.default_rng(0), tries=4000)
    assert alignment_error(found.T, T, cloud_) < 1e-6
    nothing = paper.ransac(cloud_[:3]*0, cloud_[:3], (feature[:3], feature[:3]), 0.02, np.random.default_rng(0),
                           tries=50)
    assert not nothing.converged and (nothing.T == np.eye(4)).all()


def test_gmmreg_finds_a_small_motion_and_its_history_narrows():
    c = bunny_case(300, 0, angle=25.0)
    found = paper.gmmreg(c.source, c.target)
    assert alignment_error(found.T, c.T, c.true) < 0.01 < alignment_error(np.eye(4), c.T, c.true)
    assert [s for _, s in found.history] == sorted((s for _, s in found.history), reverse=True)


def test_scan_cases_hold_what_they_promise():
    c = paper.scan_case("bunny", 400, 3, removed=0.25, noise=0.0)
    assert len(c.source) == len(c.target) == 300
    assert motion_size(np.block([[c.T[:3, :3], np.zeros((3, 1))],
                                 [np.zeros((1, 3)), np.ones((1, 1))]])) == pytest.approx(math.radians(30), abs=1e-6)
    from scipy.spatial import cKDTree
    d = cKDTree(c.target).query(move(c.T, c.source))[0]
    assert np.median(d) < 0.03 and d.max() > 0.05  # the same surface, and a side without a partner
    np.testing.assert_allclose(np.linalg.norm(c.target_normals, axis=1), 1, atol=1e-6)


def descriptor_folder(folder):
    from PIL import Image
    rng = np.random.default_rng(0)
    for part in ("depth", "mask", "descriptor"): (folder/part).mkdir(parents=True)
    for k in range(2):
        Image.fromarray((900 + rng.integers(0, 30, (24, 32))).astype(np.uint16)).save(folder/"depth"/f"{k:06d}.png")
        mask = np.zeros((24, 32), np.uint8); mask[8:16, 8:24] = 255
        Image.fromarray(mask).save(folder/"mask"/f"{k:06d}.png")
        np.save(folder/"descriptor"/f"{k:06d}.npy", rng.normal(size=(24, 32, 3)).astype(np.float32))
    (
     folder/"template.pcd").write_text(
        "VERSION .7\nFIELDS x y z a b c\nPOINTS 2\nDATA ascii\n0 0 0 1 0 0\n0.1 0 0 0 1 0\n")
    return folder


def test_the_descriptor_layout_and_its_faults(tmp_path):
    data = paper.DescriptorViews(descriptor_folder(tmp_path))
    points, features = data[0]
    assert len(data) == 2 and points.shape == (8*16, 3) and features.shape == (8*16, 3) and 0.89 < points[:,
        2].min() <= points[:, 2].max() < 0.94
    assert data.template[0].shape == (2, 3) and data.template[1].tolist() == [[1, 0, 0], [0, 1, 0]]
    f = np.load(tmp_path/"descriptor"/"000001.npy")
    f[10, 10, 0] = np.nan
    np.save(tmp_path/"descriptor"/"000001.npy", f)
    with pytest.raises(PaperKitError, match="NaN"): data[1]
    (tmp_path/"mask"/"000000.png").unlink()
    with pytest.raises(PaperKitError, match="no such file"): data[0]
    (tmp_path/"depth"/"000001.png").write_bytes(b"not a picture")
    with pytest.raises(PaperKitError, match="cannot be used"): data[1]
    (tmp_path/"template.pcd").write_text("DATA ascii\n1 2 x\n")
    with pytest.raises(PaperKitError, match="template.pcd"): paper.DescriptorViews(tmp_path)
    with pytest.raises(PaperKitError, match="no image"): paper.DescriptorViews(tmp_path/"nowhere")


@pytest.mark.parametrize("options", ({}, {"update": False, "sigma": 0.05}, {"w": 0.3}, {"anneal": 0.9}, {"c": 0.0},
                                     {"iterations": 3}, {"T": se3_exp([0, 0, 0.2, 0.01, 0, 0])}))
def test_the_compiled_loop_is_the_loop_in_steps(options):
    "Two implementations of the same EM: motions and sigmas of every iteration agree."
    c = bunny_case(300, 0, angle=30.0, outliers=0.2, independent=True)
    one = filterreg(c.source, c.target, **options)
    o = ({"sigma": 0.12, "update": True, "floor": 0.008, "w": None, "c": 0.2, "anneal": None, "iterations": 200,
          "T": None} | options)
    constant = paper.weighing(o["w"], o["c"], len(c.target), len(c.source))
    other = paper.em_in_steps(c.source, c.target, o["sigma"], o["update"], o["floor"], constant, None, None,
                              "lattice", o["T"], o["iterations"], 1e-4, True, o["anneal"])
    assert one.iterations == other.iterations == len(one.history) and one.converged == other.converged
    for (T, s), (Q, q) in zip(one.history, other.history):
        np.testing.assert_allclose(T, Q, atol=1e-9)
        assert s == pytest.approx(q, rel=1e-9)


def test_the_compiled_loop_gives_up_far_away_and_refuses_a_width_of_zero():
    x = cloud(50)
    found = filterreg(x, x + 1000.0, 0.1)
    assert found.iterations == 0 and not found.converged and np.array_equal(found.T, np.eye(4))
    with pytest.raises(PaperKitError, match="no such width"): filterreg(x, x, 0.0)


def test_the_sums_of_a_model_side_mixture_are_those_of_the_definition():
    x, y, variance, constant = cloud(30, spread=0.5), cloud(40, seed=1, spread=0.5), 0.1, 0.3
    P = np.exp(-((y[:, None] - x[None])**2).sum(-1)/(2*variance))
    P /= P.sum(1, keepdims=True) + constant
    expected = P.T @ np.c_[y, np.ones(40), (y**2).sum(1)]
    for block in (31, 1 << 17):
        np.testing.assert_allclose(paper.mixture_sums(x, y, variance, constant, block), expected, rtol=2e-5)


def test_the_feature_rivals_trim_by_what_they_say():
    rng = np.random.default_rng(0)
    model, truth = rng.normal(size=(60, 3)), se3_exp([0.4, 0, 1.0, 1, 0, 0])
    f = np.eye(60)
    points, features = move(truth, model), f.copy()
    points[:20] += 5.0                                                     # wrong places, exact descriptors
    features[20:40] *= 1.5                                                 # right places, poor descriptors
    view = paper.FeatureView(points, features, np.ones(60, bool), truth)
    by = {space: alignment_error(paper.feature_icp(model, view, f, 0.6, space).T, truth, model)
          for space in ("residual", "feature")}
    assert by["residual"] < 1e-9 and by["feature"] > 0.5
