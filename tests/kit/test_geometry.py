"""Rotations, transforms, cameras and alignment against SciPy, roma and closed forms."""
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from paper_kit.kit import geometry as g
from paper_kit.kit.files import PaperKitError

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def close(a, b, dtype, factor=1):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=factor*(2e-5 if dtype == torch.float32 else 1e-11))


def samples(dtype):
    "Axis-angle vectors: usual ones, tiny ones, zero, close to half a turn."
    v = torch.randn(200, 3, generator=seeded(), dtype=torch.float64)
    length = torch.cat([torch.rand(150, generator=seeded(1), dtype=torch.float64)*3.1,
                        torch.logspace(-12, -1, 30, dtype=torch.float64),
                        torch.zeros(5, dtype=torch.float64), math.pi - torch.logspace(-7, -1, 15, dtype=torch.float64)])
    return (torch.nn.functional.normalize(v, dim=-1)*length[:, None]).to(dtype)


@both
def test_conversions_agree_with_scipy(dtype):
    v = samples(dtype)
    truth = Rotation.from_rotvec(v.double().numpy())
    R, q = g.axis_angle_to_matrix(v), g.axis_angle_to_quaternion(v)
    assert R.dtype == q.dtype == dtype
    close(R, truth.as_matrix(), dtype)
    same_sign = np.sign(truth.as_quat(canonical=True)[:, 3] + 1e-30)
    close(q, truth.as_quat(canonical=True)[:, [3, 0, 1, 2]]*same_sign[:, None], dtype)
    close(g.quaternion_to_matrix(3.7*q), truth.as_matrix(), dtype)
    close(g.axis_angle_to_matrix(g.matrix_to_axis_angle(R)), truth.as_matrix(), dtype, 3)
    close(g.axis_angle_to_matrix(g.quaternion_to_axis_angle(-2*q)), truth.as_matrix(), dtype, 3)
    close(g.quaternion_to_matrix(g.matrix_to_quaternion(R)), truth.as_matrix(), dtype)
    close(g.six_to_matrix(g.matrix_to_six(R)), truth.as_matrix(), dtype)
    inner = v.norm(dim=-1) < 3
    close(g.matrix_to_axis_angle(R)[inner], v[inner], dtype, 3)


@both
def test_conversions_agree_with_roma(dtype):
    roma = pytest.importorskip("roma")
    v = samples(dtype)
    close(g.axis_angle_to_matrix(v), roma.rotvec_to_rotmat(v), dtype)
    close(g.quaternion_to_matrix(g.axis_angle_to_quaternion(v)), roma.unitquat_to_rotmat(roma.rotvec_to_unitquat(v)),
          dtype)
    x = torch.randn(50, 6, generator=seeded(3), dtype=dtype)
    close(g.six_to_matrix(x), roma.special_gramschmidt(x.reshape(-1, 2, 3).mT), dtype)
    M = torch.randn(50, 3, 3, generator=seeded(4), dtype=dtype).requires_grad_()
    weights = torch.randn(50, 3, 3, generator=seeded(5), dtype=dtype)
    ours, theirs = g.nearest_rotation(M), roma.special_procrustes(M)
    close(ours.detach(), theirs.detach(), dtype, 20)
    a, = torch.autograd.grad((ours*weights).sum(), M)
    b, = torch.autograd.grad((theirs*weights).sum(), M)
    well_posed = (torch.linalg.svdvals(M.detach().double())[:, 1:].abs().sum(1) > 0.5) & (a.abs().amax((1, 2)) < 20)
    close(a[well_posed], b[well_posed], dtype, 50)


@both
def test_gradients_are_finite_everywhere(dtype):
    for function in (g.axis_angle_to_quaternion, g.axis_angle_to_matrix,
                     lambda v: g.quaternion_to_axis_angle(g.axis_angle_to_quaternion(v)),
                     lambda v: g.matrix_to_axis_angle(g.axis_angle_to_matrix(v))):
        v = samples(dtype).requires_grad_()
        gradient, = torch.autograd.grad(function(v).sum(), v)
        assert torch.isfinite(gradient).all()
    for M in (torch.eye(3, dtype=dtype), torch.diag(torch.tensor([1., 1., -1.], dtype=dtype)),
              torch.zeros(3, 3, dtype=dtype), torch.ones(3, 3, dtype=dtype)):
        M.requires_grad_()
        R = g.nearest_rotation(M)
        gradient, = torch.autograd.grad(R.sum(), M)
        assert torch.isfinite(gradient).all() and abs(torch.linalg.det(R).item() - 1) < 1e-5
    R = torch.eye(3, dtype=dtype).requires_grad_()
    g.rotation_angle(R, torch.eye(3, dtype=dtype)).backward()
    assert torch.isfinite(R.grad).all()


def test_gradients_are_right():
    v = torch.randn(6, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    small = (torch.randn(6, 3, generator=seeded(), dtype=torch.float64)*1e-4).requires_grad_()
    for function in (g.axis_angle_to_quaternion, g.axis_angle_to_matrix,
                     lambda x: g.matrix_to_axis_angle(g.axis_angle_to_matrix(x))):
        assert torch.autograd.gradcheck(function, v) and torch.autograd.gradcheck(function, small)
    M = torch.randn(6, 3, 3, generator=seeded(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(g.nearest_rotation, M)
    assert torch.autograd.gradcheck(g.six_to_matrix,
                                    torch.randn(6, 6, generator=seeded(2), dtype=torch.float64).requires_grad_())


@both
def test_rotation_angle(dtype):
    v = samples(dtype)
    R = g.random_rotations(200, generator=seeded(9), dtype=dtype)
    found = g.rotation_angle(R @ g.axis_angle_to_matrix(v), R)
    inner = v.norm(dim=-1) < 3
    close(found[inner], v.norm(dim=-1)[inner], dtype, 4)
    close(found, v.norm(dim=-1), dtype, 100 if dtype == torch.float32 else 1e5)     # asin is flat at half a turn


def test_random_rotations_are_uniform():
    R = g.random_rotations(40_000, generator=seeded(), dtype=torch.float64)
    angle = g.matrix_to_axis_angle(R).norm(dim=-1)
    from scipy import stats
    assert stats.kstest(angle.numpy(), lambda t: (t - np.sin(t))/np.pi).pvalue > 1e-3      # Haar density (1 - cos t)/pi
    assert stats.kstest(R[:, 2, 0].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    again = g.random_rotations(40_000, generator=seeded(), dtype=torch.float64)
    assert torch.equal(R, again) and g.random_rotations(2, 3, generator=seeded()).shape == (2, 3, 3, 3)


@both
def test_rigid_transforms_against_4x4_matrices(dtype):
    R, t = g.random_rotations(4, 5, generator=seeded(),
                              dtype=dtype), torch.randn(4, 5, 3, generator=seeded(1), dtype=dtype)
    T, x = g.rigid(R, t), torch.randn(4, 5, 7, 3, generator=seeded(2), dtype=dtype)
    close(g.transform(T, x),
          (T[..., None, :, :] @ torch.cat([x, torch.ones_like(x[..., :1])], -1)[..., None])[..., :3, 0], dtype)
    close(g.invert(T), np.linalg.inv(T.numpy()), dtype)
    close(g.transform(g.compose(T, T, g.invert(T)), x), g.transform(T, x), dtype, 2)
    close(g.rotate(T, x), g.transform(T, x) - t[..., None, :], dtype)
    assert g.rigid(torch.eye(3, dtype=dtype), t).shape == (4, 5, 4, 4)


@both
def test_cameras(dtype):
    eye = torch.tensor([[3., -2., 1.], [0., 0., 2.], [0., 0., -2.], [0., 2., 0.]], dtype=dtype)
    T = g.look_at(eye, torch.zeros(3, dtype=dtype))
    close(g.transform(T, eye[:, None]), torch.zeros(4, 1, 3), dtype)
    close(g.transform(T, torch.zeros(4, 1, 3, dtype=dtype))[:, 0, 2], eye.norm(dim=-1), dtype)
    close(torch.linalg.det(T[:, :3, :3]), np.ones(4), dtype)
    close(T[:, :3, :3] @ T[:, :3, :3].mT, np.broadcast_to(np.eye(3), (4, 3, 3)), dtype)
    K = g.intrinsics(48, 64, 60.0, dtype=dtype)
    close(K[1, 1], 24/math.tan(math.radians(30)), dtype, 10)
    above, _ = g.project(torch.tensor([[0., 0., 0.3]], dtype=dtype), K, T[0])
    centre, _ = g.project(torch.zeros(1, 3, dtype=dtype), K, T[0])
    close(centre[0], [32, 24], dtype, 10)
    assert above[0, 1] < centre[0, 1] and abs(above[0, 0] - 32) < 1e-3              # up in the world is up in the image
    depth = 1 + torch.rand(4, 48, 64, generator=seeded(), dtype=dtype)
    pixels, z = g.project(g.unproject(depth, K, T).flatten(1, 2), K, T)
    close(pixels.reshape(4, 48, 64, 2), g.pixel_centres(48, 64).expand(4, 48, 64, 2), dtype, 20)
    close(z.reshape(4, 48, 64), depth, dtype)
    corner, _ = g.project(torch.tensor([[-0.5*2, -0.375*2, 2*K[1, 1].item()/64]], dtype=dtype), K,
                          torch.eye(4, dtype=dtype))
    close(corner[0], [0, 0], dtype, 20)
    origin, directions = g.rays(K, T, 48, 64)
    close(origin, eye, dtype, 2)
    close(origin[:, None, None] + depth[..., None]*directions, g.unproject(depth, K, T), dtype)


def test_a_point_in_the_plane_of_the_camera_gives_no_nan():
    x = torch.tensor([[1., 2., 0.], [0., 0., 0.], [0., 0., -1.]], requires_grad=True)
    pixels, z = g.project(x, g.intrinsics(10, 10), torch.eye(4))
    assert torch.isfinite(pixels).all() and z.tolist() == [0, 0, -1]
    pixels.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_sphere_points_are_spread_evenly():
    from scipy.spatial import SphericalVoronoi
    x = g.sphere_points(500, dtype=torch.float64)
    close(x.norm(dim=-1), np.ones(500), torch.float64)
    areas = SphericalVoronoi(x.numpy()).calculate_areas()
    assert areas.max()/areas.min() < 1.3 and x.mean(0).norm() < 1e-2
    T = g.cameras_on_sphere(100, 2.5, torch.tensor([1., 2., 3.], dtype=torch.float64), dtype=torch.float64)
    centres = g.invert(T)[:, :3, 3]
    close((centres - torch.tensor([1., 2., 3.])).norm(dim=-1), np.full(100, 2.5), torch.float64)
    close(g.transform(T, torch.tensor([[1., 2., 3.]], dtype=torch.float64).expand(100, 1, 3))[:, 0],
          np.tile([0, 0, 2.5], (100, 1)), torch.float64)


@both
def test_alignment_agrees_with_scipy(dtype):
    x, y = (torch.randn(6, 40, 3, generator=seeded(i), dtype=dtype) for i in (0, 1))
    w = torch.rand(6, 40, generator=seeded(2), dtype=dtype)
    s, R, t = g.align(x, y, w, scale=False)
    for i in range(6):
        a, b = x[i].double().numpy(), y[i].double().numpy()
        weights = w[i].double().numpy()
        mean = lambda z: (weights[:, None]*z).sum(0)/weights.sum()
        truth, _ = Rotation.align_vectors(b - mean(b), a - mean(a), weights=weights)
        close(R[i], truth.as_matrix(), dtype, 20)
    assert (s == 1).all()
    s, R, t = g.align(x, y, w)
    best = (w*(s[:, None, None]*(x @ R.mT) + t[:, None] - y).square().sum(-1)).sum(-1)
    for noise in range(20):                                                            # no neighbour is better
        q = g.axis_angle_to_matrix(torch.randn(6, 3, generator=seeded(noise), dtype=dtype)*0.05) @ R
        r = s*(1 + 0.05*torch.randn(6, generator=seeded(noise), dtype=dtype))
        u = t + 0.05*torch.randn(6, 3, generator=seeded(noise + 1), dtype=dtype)
        assert ((w*(r[:, None, None]*(x @ q.mT) + u[:, None] - y).square().sum(-1)).sum(-1) >= best*(1 - 1e-5)).all()


def test_alignment_recovers_reflects_not_and_has_gradients():
    x = torch.randn(3, 30, 3, generator=seeded(), dtype=torch.float64)
    s, R, t = g.align(x, x*torch.tensor([1., 1., -1.]), scale=False)
    close(torch.linalg.det(R), np.ones(3), torch.float64)
    y = torch.randn(3, 30, 3, generator=seeded(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: g.align(a, b),
                                    (x[:, :5].clone().requires_grad_(), y[:, :5].clone().requires_grad_()))
    flat = torch.zeros(4, 3, requires_grad=True)
    s, R, t = g.align(flat, torch.ones(4, 3))
    (s.sum() + R.sum() + t.sum()).backward()
    assert s.item() == 1 and torch.allclose(t, torch.ones(3)) and torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("call", [lambda: g.axis_angle_to_matrix(torch.zeros(2)),
                                  lambda: g.quaternion_to_matrix(torch.zeros(3, 3)),
                                  lambda: g.transform(torch.eye(4), torch.zeros(3)),
                                  lambda: g.nearest_rotation(torch.eye(3).long()),
                                  lambda: g.align(torch.zeros(4, 3), torch.zeros(5, 3)),
                                  lambda: g.align(torch.zeros(0, 3), torch.zeros(0, 3)),
                                  lambda: g.compose(), lambda: g.sphere_points(0), lambda: g.intrinsics(4, 4, 180.0)])
def test_what_does_not_fit_is_named(call):
    with pytest.raises(PaperKitError, match="expected"):
        call()
