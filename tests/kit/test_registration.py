"""Registration against matrix exponentials, brute force, SciPy and, where it is installed, Open3D."""
import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import align
from paper_kit.kit.registration import (fpfh, hat, icp, motion_size, move, plane_step, rigid_fit, se3_exp, se3_log,
                                        trimmed, tukey)


def cloud(n, seed=0): return np.random.default_rng(seed).normal(size=(n, 3))


def twists(seed=0, scale=1.0): return scale*np.random.default_rng(seed).normal(size=(7, 6))


# -- twists ----------------------------------------------------------------------------------------------

def test_hat_is_the_cross_product():
    v, u = cloud(4), cloud(4, 1)
    np.testing.assert_allclose((hat(v) @ u[..., None])[..., 0], np.cross(v, u), atol=1e-14)
    np.testing.assert_array_equal(hat(torch.from_numpy(v)).numpy(), hat(v))


@pytest.mark.parametrize("scale", (1e-9, 1e-3, 0.031, 0.0317, 0.1, 1.0))
def test_exp_is_the_matrix_exponential_and_log_its_inverse(scale):
    for twist in twists(3, scale):
        A = np.zeros((4, 4))
        A[:3, :3], A[:3, 3] = hat(twist[:3]), twist[3:]
        T = se3_exp(twist)
        np.testing.assert_allclose(T, expm(A), atol=3e-15*max(1, abs(T).max()))
        np.testing.assert_allclose(se3_exp(torch.from_numpy(twist)).numpy(), T, atol=1e-15)
        if np.linalg.norm(twist[:3]) < 3: np.testing.assert_allclose(se3_log(T), twist, atol=1e-12, rtol=1e-9)


def test_log_at_a_half_turn_and_of_tensors():
    twist = np.array([0, np.pi - 1e-7, 0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(se3_exp(se3_log(se3_exp(twist))), se3_exp(twist), atol=1e-9)
    some = se3_exp(torch.tensor(twists(5, 0.5)))
    np.testing.assert_allclose(se3_log(some).numpy(), np.stack([np.real([logm(T)[2, 1], logm(T)[0, 2], logm(T)[1, 0],
                                                                 *logm(T)[:3, 3]]) for T in some.numpy()]), atol=1e-9)


@pytest.mark.parametrize("scale", (0.0, 1e-4, 0.03, 0.7))
def test_gradients_of_exp_also_at_zero(scale):
    assert torch.autograd.gradcheck(se3_exp, (torch.tensor(twists(1, scale)[:2], requires_grad=True),))


def test_float32_stays_float32():
    assert se3_exp(torch.zeros(2, 6)).dtype == torch.float32
    found = se3_exp(torch.tensor(twists(2, 0.03), dtype=torch.float32)).double()
    np.testing.assert_allclose(found, se3_exp(torch.tensor(twists(2, 0.03), dtype=torch.float32).double()), atol=3e-7)


def test_size_of_a_motion():
    T = se3_exp(np.array([0, 0, 3.0, 0, 0, 0]))
    T[:3, 3] = 0, 4, 0
    assert motion_size(T) == pytest.approx(5.0)
    assert motion_size(np.eye(4)) == 0


def test_a_wrong_twist():
    with pytest.raises(PaperKitError, match="this is no twist"): se3_exp(np.zeros(3))


# -- matched points --------------------------------------------------------------------------------------

def test_the_fit_is_that_of_align_and_of_scipy():
    x, y, w = cloud(20), cloud(20, 1), np.random.default_rng(2).random(20)
    T = rigid_fit(x, y, w)
    _, R, t = align(*(torch.from_numpy(a) for a in (x, y, w)), scale=False)
    np.testing.assert_allclose(T[:3, :3], R, atol=1e-12); np.testing.assert_allclose(T[:3, 3], t, atol=1e-12)
    other, _ = Rotation.align_vectors(y - w/w.sum() @ y, x - w/w.sum() @ x, weights=w)
    np.testing.assert_allclose(T[:3, :3], other.as_matrix(), atol=1e-7)
    np.testing.assert_allclose(rigid_fit(*(torch.from_numpy(a) for a in (x, y, w))).numpy(), T, atol=1e-12)


def test_the_fit_in_batches_never_reflects_and_takes_no_weight_at_all():
    x, truth = np.stack([cloud(6, k) for k in range(4)]), se3_exp(twists()[:4])
    np.testing.assert_allclose(rigid_fit(x, move(truth, x)), truth, atol=1e-12)
    assert np.linalg.det(rigid_fit(x, x*[1, 1, -1])[:, :3, :3]).min() > 0
    np.testing.assert_allclose(rigid_fit(x, move(truth, x), np.zeros((4, 6))), truth, atol=1e-12)
    spoiled = move(truth, x)
    spoiled[:, 0] += 5
    np.testing.assert_allclose(rigid_fit(x, spoiled, np.array([0, 1, 1, 1, 1, 1.])*np.ones((4, 1))), truth, atol=1e-12)


def test_unequal_numbers():
    with pytest.raises(PaperKitError, match="do not match"): rigid_fit(cloud(3), cloud(4))


def test_the_plane_step_is_the_least_squares_solution_and_converges():
    x, n, truth = cloud(40), cloud(40, 1), se3_exp(0.1*twists()[0])
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    w, y = np.random.default_rng(0).random(40), move(truth, x)
    step = np.linalg.lstsq(np.c_[np.cross(x, n), n]*w[:, None]**0.5, ((y - x)*n).sum(1)*w**0.5, rcond=None)[0]
    np.testing.assert_allclose(plane_step(x, y, n, w), se3_exp(step), atol=1e-7)
    tensors = [torch.from_numpy(a) for a in (x, y, n, w)]
    np.testing.assert_allclose(plane_step(*tensors).numpy(), se3_exp(step), atol=1e-7)
    T = np.eye(4)
    for _ in range(6): T = plane_step(move(T, x), y, n) @ T
    np.testing.assert_allclose(T, truth, atol=1e-7)


def test_a_plane_may_slide_without_moving():
    x = cloud(30)*[1, 1, 0]
    T = plane_step(x, x + [0.7, 0, 0.1], np.tile([0, 0, 1.0], (30, 1)))
    np.testing.assert_allclose(T[:3, 3], [0, 0, 0.1], atol=1e-6)


# -- iterated closest points -----------------------------------------------------------------------------

def naive_icp(x, y, T, keep, iterations):
    for _ in range(iterations):
        at = move(T, x)
        d = np.sqrt(((at[:, None] - y[None])**2).sum(-1))
        near, rows = d.argmin(1), np.sort(np.argsort(d.min(1))[:round(keep*len(x))])
        T = rigid_fit(at[rows], y[near[rows]]) @ T
    return T


@pytest.mark.parametrize("keep", (1.0, 0.7))
def test_icp_is_what_brute_force_does(keep):
    x, y = cloud(60), move(se3_exp(0.2*twists()[0]), cloud(80, 1))
    found = icp(x, y, weigh=trimmed(keep), iterations=5, tolerance=0.0)
    np.testing.assert_allclose(found.T, naive_icp(x, y, np.eye(4), keep, 5), atol=1e-10)
    assert found.iterations == 5 and len(found.history) == 5 and not found.converged


def test_starts_side_by_side_are_runs_of_their_own():
    x, y, starts = cloud(50), cloud(70, 1), se3_exp(0.3*twists(2)[:3])
    together = icp(x, y, starts, weigh=tukey(least=0.1), iterations=30)
    for k in range(3):
        alone = icp(x, y, starts[k], weigh=tukey(least=0.1), iterations=30)
        np.testing.assert_allclose(together.T[k], alone.T, atol=1e-12)
    assert together.T.shape == (3, 4, 4) and together.history[0].shape == (3, 4, 4)


def test_points_and_planes_find_a_small_motion():
    x, truth = cloud(300), se3_exp(np.array([0.02, -0.03, 0.01, 0.01, 0.02, -0.01]))
    y = move(truth, x)
    n = cloud(300, 2)/np.linalg.norm(cloud(300, 2), axis=1, keepdims=True)
    assert motion_size(np.linalg.inv(truth) @ icp(x, y).T) < 1e-9
    assert motion_size(np.linalg.inv(truth) @ icp(x, y, normals=n, reach=0.3).T) < 1e-6


def test_reach_drops_pairs_and_may_shrink():
    x = cloud(200)
    y, far = x + [0.01, 0, 0], np.r_[x, cloud(40, 3) + [30, 0, 0]]
    assert abs(icp(far, y, reach=0.5).T[:3, 3] - [0.01, 0, 0]).max() < 1e-9
    assert abs(icp(far, y).T[:3, 3] - [0.01, 0, 0]).max() > 0.1
    seen = []
    def weigh(d):
        seen.append(d[np.isfinite(d)].max())
        return np.ones_like(d)
    icp(far, y, weigh=weigh, reach=(40.0, 0.4), iterations=10)
    limits = 40*0.01**(np.arange(10)/9)
    assert len(seen) == 10 and (np.array(seen) <= limits).all() and seen[0] > limits[1] > seen[-1]


def test_nothing_within_reach_leaves_the_start():
    T = se3_exp(np.array([0, 0, 0.1, 0, 0, 0]))
    found = icp(cloud(10), cloud(10, 1) + 100, T, reach=1.0)
    np.testing.assert_array_equal(found.T, T)
    assert not found.converged and found.iterations == 1


def test_pairs_by_features_need_no_start():
    x, truth, f = cloud(40), se3_exp(np.array([2.5, 0, 0, 3, 0, 0])), np.arange(40)[:, None]*1.0
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(icp(x, move(truth, x)[order], features=(f, f[order])).T, truth, atol=1e-9)


def test_weights():
    d = np.array([[3.0, 1.0, 2.0, 5.0, 4.0]])
    np.testing.assert_array_equal(trimmed(0.6)(d), [[1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(trimmed(1.0)(d), np.ones((1, 5)))
    w = tukey(1.0)(np.array([[0.0, 1.0, 1.0, 10.0]]))
    assert w[0, 0] == 1 and w[0, 3] == 0 and w[0, 1] == pytest.approx((1 - 1.4826**-2)**2)


@pytest.mark.parametrize("bad", (np.zeros((2, 3)), np.zeros(9), np.full((5, 3), np.nan)))
def test_bad_clouds(bad):
    with pytest.raises(PaperKitError, match="cannot be registered"): icp(bad, cloud(9))


@pytest.mark.parametrize("plane", (False, True))
def test_icp_ends_where_open3ds_does(plane):
    reg = pytest.importorskip("open3d").pipelines.registration
    import open3d as o3d
    u = np.random.default_rng(0).uniform(-1, 1, (2, 1500, 2))
    x, y = (np.c_[v, 0.2*np.sin(3*v[:, 0])*np.cos(2*v[:, 1])] for v in u)
    a, b = u[1].T
    n = np.c_[-0.6*np.cos(3*a)*np.cos(2*b), 0.4*np.sin(3*a)*np.sin(2*b), np.ones(1500)]
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    start = se3_exp(np.array([0.03, -0.02, 0.05, 0.02, 0.01, 0.01]))
    a, b = (o3d.geometry.PointCloud(o3d.utility.Vector3dVector(c)) for c in (x, y))
    b.normals = o3d.utility.Vector3dVector(n)
    way = reg.TransformationEstimationPointToPlane() if plane else reg.TransformationEstimationPointToPoint()
    theirs = reg.registration_icp(a, b, 0.5, start, way, reg.ICPConvergenceCriteria(0.0, 0.0, 200)).transformation
    ours = icp(x, y, start, normals=n if plane else None, reach=0.5, iterations=200, tolerance=1e-12).T
    assert motion_size(np.linalg.inv(theirs) @ ours) < 1e-6


# -- histograms ------------------------------------------------------------------------------------------

def shape(n=300, seed=0):
    x = cloud(n, seed)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x*[1, 0.7, 0.5], x/[1, 0.7, 0.5]/np.linalg.norm(x/[1, 0.7, 0.5], axis=1, keepdims=True)


def naive_fpfh(p, n, radius, bins=11):
    "By the definition, pair by pair."
    d = np.sqrt(((p[:, None] - p[None])**2).sum(-1))
    near = [[j for j in range(len(p)) if 0 < d[i, j] <= radius] for i in range(len(p))]
    own = np.zeros((len(p), 3, bins))
    for i in range(len(p)):
        for j in near[i]:
            line = (p[j] - p[i])/d[i, j]
            v = np.cross(line, n[i])
            v /= max(np.linalg.norm(v), 1e-12)
            w = np.cross(n[i], v)
            for k, a in enumerate((v @ n[j], n[i] @ line, np.arctan2(w @ n[j], n[i] @ n[j])/np.pi)):
                own[i, k, min(int((a + 1)/2*bins), bins - 1)] += 1/len(near[i])
    found = np.zeros_like(own)
    for i in range(len(p)):
        share = np.array([1/d[i, j] for j in near[i]])
        if len(share): found[i] = (own[i] + np.tensordot(share/share.sum(), own[near[i]], 1))/2
    return found.reshape(len(p), -1)


def test_histograms_are_those_of_the_definition():
    p, n = shape(80)
    p = np.r_[p, [[9.0, 9, 9]]]; n = np.r_[n, [[0, 0, 1.0]]]
    np.testing.assert_allclose(fpfh(p, n, 0.5, most=80), naive_fpfh(p, n, 0.5), atol=1e-12)
    assert fpfh(p, n, 0.5)[-1].sum() == 0 and fpfh(p, n, 0.5)[0].sum() == pytest.approx(3)


def test_histograms_describe_places_as_open3ds_do():
    o3d = pytest.importorskip("open3d")
    p, n = shape(600)
    c = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(p))
    c.normals = o3d.utility.Vector3dVector(n)
    theirs = o3d.pipelines.registration.compute_fpfh_feature(c, o3d.geometry.KDTreeSearchParamHybrid(0.3, 49)).data.T
    ours = fpfh(p, n, 0.3)
    theirs = theirs.reshape(-1, 3, 11)/theirs.reshape(-1, 3, 11).sum(-1, keepdims=True)
    def apart(f): return np.sqrt(((f[:, None] - f[None])**2).sum(-1))[np.triu_indices(600, 1)]
    assert np.corrcoef(apart(ours), apart(theirs.reshape(600, -1)))[0, 1] > 0.8
