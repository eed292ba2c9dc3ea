"""Neighbours, samples, normals and sizes of clouds against SciPy, brute force and closed forms."""
import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import cdist

from paper_kit.kit import points as p
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import intrinsics, look_at, project, random_rotations, rays, sphere_points

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@pytest.fixture(params=["tree", "all pairs"])
def search(request, monkeypatch):
    "Both ways of searching: with SciPy, and as on a machine with torch and numpy alone."
    if request.param == "all pairs":
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "scipy" else found(name, *a))
        original = p._all_pairs_search
        monkeypatch.setattr(p, "_all_pairs_search", lambda a, b, k: original(a, b, k, budget=500))     # several slabs
    return request.param


def cloud(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@both
def test_nearest_agrees_with_all_distances(search, dtype):
    a, b = cloud(2, 3, 50, 3, dtype=dtype), cloud(2, 3, 40, 3, seed=1, dtype=dtype)
    squared, index = p.nearest(a, b)
    assert squared.dtype == dtype and squared.shape == index.shape == (2, 3, 50)
    for i in range(2):
        for j in range(3):
            truth = cdist(a[i, j].double(), b[i, j].double(), "sqeuclidean")
            np.testing.assert_allclose(squared[i, j], truth.min(1), rtol=1e-5 if dtype == torch.float32 else 1e-12)
            assert (index[i, j].numpy() == truth.argmin(1)).all()
    squared, index = p.k_nearest(a, b, 7)
    truth = np.sort(cdist(a[1, 2].double(), b[1, 2].double(), "sqeuclidean"), axis=1)[:, :7]
    np.testing.assert_allclose(squared[1, 2], truth, rtol=1e-5 if dtype == torch.float32 else 1e-12)
    one, again = p.k_nearest(a, b, 1)
    assert torch.equal(one[..., 0], p.nearest(a, b)[0]) and index.shape == (2, 3, 50, 7)


def test_neighbours_far_from_the_origin_are_still_found(search):
    "The expanded square would lose these in float32."
    a, b = cloud(200, 3)*1e-2 + 100, cloud(200, 3, seed=1)*1e-2 + 100
    truth = cdist(a.double(), b.double(), "sqeuclidean")
    squared, index = p.nearest(a, b)
    np.testing.assert_allclose(squared, truth.min(1), rtol=1e-3)
    assert (truth[np.arange(200), index] <= truth.min(1)*(1 + 1e-3)).all()


def test_gradients_of_the_distances(search):
    a, b = (cloud(2, 6, 3, dtype=torch.float64).requires_grad_(),
            cloud(2, 5, 3, seed=1, dtype=torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: p.nearest(x, y)[0], (a, b))
    assert torch.autograd.gradcheck(lambda x, y: p.k_nearest(x, y, 3)[0], (a, b))
    same = a.detach().clone().requires_grad_()
    p.nearest(same, same.detach())[0].sum().backward()
    assert (same.grad == 0).all()


def test_features_of_many_dimensions():
    a, b = cloud(30, 64, dtype=torch.float64), cloud(20, 64, seed=1, dtype=torch.float64)
    np.testing.assert_allclose(p.nearest(a, b)[0], cdist(a, b, "sqeuclidean").min(1))


def axis_by_axis(a, b, index):
    "Squared distances to the points named, summed in the order of the axes."
    total = torch.zeros(index.shape, dtype=a.dtype)
    batch = torch.arange(len(a))[:, None, None]
    for axis in range(a.shape[-1]): total += (a[..., axis, None] - b[..., axis][batch, index]).square()
    return total


@both
@pytest.mark.parametrize("k", [1, 2, 7, 90])
def test_neighbours_by_a_product_are_those_of_all_pairs(dtype, k):
    "Also far from the origin, for points that coincide, and where numbers overflow."
    a, b = cloud(2, 70, 32, dtype=dtype), cloud(2, 90, 32, seed=1, dtype=dtype)
    twice = torch.cat([b[:, :45], b[:, :45]], 1)
    for x, y in ((a, b), (1e-3*a + 100, 1e-3*b + 100), (a, twice), (a.round(), b.round()), (1e19*a, 1e19*b)):
        found, truth = p._product_search(x, y, k, budget=2000), p._all_pairs_search(x, y, k)
        assert torch.equal(axis_by_axis(x, y, found), axis_by_axis(x, y, truth))
        if k == 1: assert torch.equal(found, truth)


def test_a_matrix_product_alone_would_take_wrong_neighbours():
    "So that the test above can fail: without the check of the gap, far from zero and close together."
    x, y = 1e-3*cloud(70, 32), 1e-3*cloud(90, 32, seed=1)
    x, y = torch.cat([x, x + 10]), torch.cat([y, y + 10])
    bare = torch.addmm(y.square().sum(1), x, y.T, alpha=-2).argmin(1)
    assert (bare != p._all_pairs_search(x[None], y[None], 1)[0, :, 0]).any()
    assert torch.equal(p._product_search(x[None], y[None], 1), p._all_pairs_search(x[None], y[None], 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 5), st.integers(0, 1000))
def test_nearest_of_any_size_with_ties(n, m, d, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(0, 3, (1, k, d), generator=generator).float() for k in (n, m))
    squared, index = p.nearest(a, b)
    assert squared.shape == (1, n)
    if n:
        truth = cdist(a[0], b[0], "sqeuclidean")
        assert (squared[0].numpy() == truth.min(1)).all() and (truth[np.arange(n), index[0]] == truth.min(1)).all()


@both
def test_farthest_points_against_a_naive_version(dtype):
    x = cloud(2, 100, 3, dtype=dtype)
    for generator in (None, torch.Generator().manual_seed(3)):
        chosen = p.farthest_points(x, 20, generator)
        for row, picks in zip(x.double().numpy(), chosen.numpy()):
            for i in range(1, 20):
                gaps = cdist(row, row[picks[:i]]).min(1)
                assert gaps[picks[i]] >= gaps.max()*(1 - 1e-6)
            assert len(set(picks)) == 20
    a, b = (p.farthest_points(x, 5, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b) and torch.equal(p.farthest_points(x, 100).sort(1).values, torch.arange(100).expand(2, 100))


@both
@pytest.mark.parametrize("d", [2, 3, 4, 30])
def test_farthest_points_by_the_kernel_are_those_of_torch(dtype, d):
    "The same indices, ties included, for clouds of less than a block, of a block, and of more."
    for n in (1, 5, 512, 1100):
        count = min(n, 60)
        for x in (cloud(2, n, d, dtype=dtype), cloud(2, n, d, dtype=dtype).round()):
            chosen, start = p.farthest_points(x, count), p._farthest_in_torch(x, p.farthest_points(x, 1)[:, 0], count)
            if d <= 4 or (x == x.round()).all(): assert torch.equal(chosen, start)    # else torch sums in another order
            kernel = np.empty((2, count), np.int64)
            p._farthest(x.mT.numpy(), chosen[:, 0].numpy(),
                        np.empty(0, np.int32 if dtype == torch.float32 else np.int64), kernel)
            assert (kernel == chosen.numpy()).all()


@both
def test_normals_of_a_plane_and_a_sphere(dtype):
    R = random_rotations(3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    flat = cloud(3, 200, 3, dtype=dtype)*torch.tensor([1., 1., 0.], dtype=dtype) @ R.mT
    n = p.normals(flat, 10, viewpoint=5*R[:, :, 2])
    np.testing.assert_allclose((n*R[:, None, :, 2]).sum(-1), 1, atol=1e-5)
    ball = sphere_points(3000, dtype=dtype)
    n = p.normals(ball, 12, viewpoint=torch.zeros(3, dtype=dtype))
    assert n.dtype == dtype and (n*-ball).sum(-1).min() > 0.999
    assert torch.isfinite(p.normals(torch.zeros(20, 3, dtype=dtype), 5)).all()                # all in one place


def plane_depth(K, T, height, width, normal, distance):
    origin, d = rays(K, T, height, width)
    return (distance - (normal*origin).sum())/(d*normal).sum(-1)


@both
def test_depth_normals_of_a_tilted_plane_are_exact_up_to_the_border(dtype):
    K, T = intrinsics(20, 30, 50.0, dtype=dtype), torch.eye(4, dtype=dtype)
    normal = torch.nn.functional.normalize(torch.tensor([0.3, -0.2, -1.0], dtype=dtype), dim=0)
    depth = plane_depth(K, T, 20, 30, normal, -2.0)
    n, known = p.depth_normals(depth, K)
    assert known.all() and n.dtype == dtype
    np.testing.assert_allclose(n, normal.expand(20, 30, 3), atol=2e-4 if dtype == torch.float32 else 1e-9)


def test_depth_normals_leave_out_holes_and_jumps():
    K = intrinsics(20, 30, 50.0)
    depth = torch.full((2, 20, 30), 2.0)
    depth[0, :, 15:] = 3.0                                                                     # a step
    depth[1, 5, 5], depth[1, 6, 6], depth[1, 10, 10] = 0.0, float("nan"), float("inf")
    n, known = p.depth_normals(depth, K)
    assert known[0].all() and not (known[1, 5, 5] | known[1, 6, 6] | known[1, 10, 10]) and known[1].sum() == 597
    np.testing.assert_allclose(n[known], torch.tensor([0., 0., -1.]).expand(int(known.sum()), 3), atol=1e-5)
    assert (n[~known] == 0).all()
    lonely = torch.zeros(1, 3, 3); lonely[0, 1, 1] = 1
    assert not p.depth_normals(lonely, K)[1].any()
    depth.requires_grad_()
    p.depth_normals(depth, K)[0].sum().backward()
    assert torch.isfinite(depth.grad).all()


def test_depth_normals_gradient():
    K = intrinsics(5, 6, 50.0, dtype=torch.float64)
    depth = 2 + 0.02*torch.rand(2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda d: p.depth_normals(d, K, jump=0.5)[0], depth.requires_grad_())


def test_depth_normals_agree_with_pca_normals():
    K, T = intrinsics(60, 80, 45.0, dtype=torch.float64), look_at(torch.tensor([2., 1, 1]).double(),
                                                                  torch.zeros(3).double())
    origin, d = rays(K, T, 60, 80)
    b, c = (d*origin).sum(-1), origin.square().sum() - 0.5
    root = b*b - d.square().sum(-1)*c
    depth = torch.where(root > 0, (-b - root.clamp(min=0).sqrt())/d.square().sum(-1), torch.zeros_like(b))
    n, known = p.depth_normals(depth, K)
    X = (origin + depth[..., None]*d)[known]
    world = n[known] @ T[:3, :3]
    facing = (X*origin).sum(-1)/origin.norm()/X.norm(dim=-1) > 0.5
    assert (world*torch.nn.functional.normalize(X, dim=-1)).sum(-1)[facing].min() > 0.99
    assert (world*p.normals(X, 12, viewpoint=origin)).sum(-1)[facing].mean() > 0.995
    pixels, _ = project(X, K, T)
    assert (pixels.round() >= 0).all()


@both
def test_sizes(dtype):
    x = cloud(4, 50, 3, dtype=dtype)*torch.tensor([3., 1., 0.2], dtype=dtype) + 5
    sphere, offset, scale = p.to_unit_sphere(x, 1.03)
    np.testing.assert_allclose(sphere.norm(dim=-1).amax(-1), 1/1.03, rtol=1e-5)
    np.testing.assert_allclose((x + offset[:, None])*scale[:, None, None], sphere, atol=1e-6)
    cube, _, _ = p.to_unit_cube(x)
    np.testing.assert_allclose(cube.amax((1, 2)), 0.5, rtol=1e-5)
    np.testing.assert_allclose(cube.amin((1, 2)), -0.5, rtol=1e-5)
    np.testing.assert_allclose(cube.amin(1) + cube.amax(1), 0, atol=1e-5)
    point = torch.ones(1, 3, dtype=dtype, requires_grad=True)
    p.to_unit_sphere(point)[0].sum().backward()
    assert (p.to_unit_sphere(point)[0] == 0).all() and torch.isfinite(point.grad).all()


@pytest.mark.parametrize("call", [
    lambda: p.nearest(torch.zeros(3, 3), torch.zeros(0, 3)), lambda: p.nearest(torch.zeros(3, 3), torch.zeros(3, 2)),
    lambda: p.nearest(torch.full((1, 3), torch.nan), torch.zeros(1, 3)),
                                  lambda: p.nearest(torch.zeros(1, 3), torch.full((1, 3), torch.inf)),
    lambda: p.nearest(torch.zeros(1, 3), torch.zeros(1, 3).double()),
                                  lambda: p.nearest(torch.zeros(2, 1, 3), torch.zeros(1, 3)),
    lambda: p.k_nearest(torch.zeros(1, 3), torch.zeros(2, 3), 3), lambda: p.farthest_points(torch.zeros(2, 3), 3),
                                  lambda: p.normals(torch.zeros(9, 3), 2),
    lambda: p.to_unit_sphere(torch.zeros(0, 3)), lambda: p.to_unit_cube(torch.full((2, 3), torch.nan))])
def test_what_does_not_fit_is_named(call):
    with pytest.raises(PaperKitError, match="expected"):
        call()


def test_importing_needs_torch_and_numpy_alone():
    import subprocess, sys
    blocked = ["scipy", "trimesh", "numba", "skimage", "matplotlib", "jaxtyping", "pandas", "IPython", "k3d"]
    code = (f"import sys\nfor n in {blocked}: sys.modules[n] = None\n"
            "import torch, paper_kit.kit.geometry, paper_kit.kit.points as p\n"
            "import importlib.util as u; real = u.find_spec; u.find_spec = lambda n, *a: None if n == 'scipy' else "
            "real(n, *a)\n"
            "print(p.nearest(torch.zeros(2, 3), torch.ones(4, 3))[0].sum().item())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "6.0", done.stderr
