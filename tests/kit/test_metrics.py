"""Metrics of shapes against brute force, permutations and closed forms."""
import itertools
import math

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.distance import cdist

from paper_kit.kit import metrics as k
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.mesh import Mesh, from_trimesh, sample_surface

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def cloud(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@both
def test_chamfer_agrees_with_all_distances(dtype):
    a, b = cloud(2, 3, 40, 3, dtype=dtype), cloud(2, 3, 30, 3, seed=1, dtype=dtype)
    found = k.chamfer(a, b)
    assert found.shape == (2, 3) and found.dtype == dtype
    for i, j in itertools.product(range(2), range(3)):
        d = cdist(a[i, j].double(), b[i, j].double(), "sqeuclidean")
        np.testing.assert_allclose(found[i, j], d.min(1).mean() + d.min(0).mean(),
                                   rtol=1e-5 if dtype == torch.float32 else 1e-12)
    np.testing.assert_allclose(found, k.chamfer(b, a))
    assert (k.chamfer(a, a) == 0).all()
    np.testing.assert_allclose(k.chamfer(3*a, 3*b), 9*found, rtol=1e-5)


def test_chamfer_gradient_is_that_of_the_matrix_version():
    a, b = cloud(2, 15, 3).requires_grad_(), cloud(2, 12, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(k.chamfer, (a, b))
    d = (a[:, :, None] - b[:, None]).square().sum(-1)
    truth = torch.autograd.grad((d.amin(2).mean(1) + d.amin(1).mean(1)).sum(), (a, b))
    for x, y in zip(torch.autograd.grad(k.chamfer(a, b).sum(), (a, b)), truth): assert torch.allclose(x, y, atol=1e-12)


@both
def test_earth_movers_is_the_best_permutation(dtype):
    a, b = cloud(3, 6, 3, dtype=dtype), cloud(3, 6, 3, seed=1, dtype=dtype)
    truth = [min(np.mean([d[i, p[i]] for i in range(6)]) for p in itertools.permutations(range(6)))
             for d in (cdist(x.double(), y.double()) for x, y in zip(a, b))]
    found = k.earth_movers(a, b)
    np.testing.assert_allclose(found, truth, rtol=1e-5)
    assert found.dtype == dtype and k.earth_movers(a[0], b[0]).shape == ()
    shuffled = a[:, torch.randperm(6, generator=torch.Generator().manual_seed(2))].requires_grad_()
    value = k.earth_movers(shuffled, a)
    value.sum().backward()
    assert (value == 0).all() and (shuffled.grad == 0).all()
    np.testing.assert_allclose(k.earth_movers(a, a + torch.tensor([3., 0, 4], dtype=dtype)), 5, rtol=1e-5)


def test_earth_movers_gradient():
    assert torch.autograd.gradcheck(k.earth_movers,
                                    (cloud(2, 8, 3).requires_grad_(), cloud(2, 8, 3, seed=1).requires_grad_()))


@both
def test_accuracy_and_completion_of_concentric_balls(dtype):
    from_radius = lambda r: from_trimesh(trimesh.creation.icosphere(subdivisions=4, radius=r), dtype=dtype)
    unit, larger = from_radius(1.0), from_radius(1.1)
    x = sample_surface(larger, 500, torch.Generator().manual_seed(0)).points
    assert abs(k.mesh_accuracy(x, unit).item() - 0.1) < 2e-3
    assert k.mesh_completion(x, unit, 0.09).item() == 0 and k.mesh_completion(x, unit, 0.11).item() == 1
    assert k.mesh_accuracy(x, unit).dtype == dtype


def test_accuracy_is_the_smallest_distance_that_holds_nine_tenths():
    truth = torch.zeros(1, 3)
    generated = torch.arange(1., 11.)[:, None]*torch.tensor([1., 0, 0])
    assert k.mesh_accuracy(generated, truth).item() == 9
    assert k.mesh_accuracy(generated, truth, 0.91).item() == 10 and k.mesh_accuracy(generated, truth, 0.1).item() == 1
    assert k.mesh_accuracy(generated, truth, 1.0).item() == 10 and k.mesh_accuracy(generated[:1], truth).item() == 1
    assert k.mesh_completion(generated, truth, 3.0).item() == pytest.approx(0.3)
    batch = k.mesh_accuracy(torch.stack([generated, 2*generated]), torch.zeros(2, 1, 3))
    assert batch.tolist() == [9, 18]


def test_points_and_mesh_as_truth_agree():
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=3))
    x, dense = (cloud(200, 3, dtype=torch.float32),
                sample_surface(ball, 200_000, torch.Generator().manual_seed(0)).points)
    assert abs(k.mesh_accuracy(x, ball) - k.mesh_accuracy(x, dense)) < 1e-3


@both
def test_f_score(dtype):
    a, b = cloud(2, 50, 3, dtype=dtype), cloud(2, 60, 3, seed=1, dtype=dtype)
    found = k.f_score(a, b, 0.5)
    for i in range(2):
        d = cdist(a[i].double(), b[i].double())
        p, r = (d.min(1) <= 0.5).mean(), (d.min(0) <= 0.5).mean()
        np.testing.assert_allclose([found.precision[i], found.recall[i], found.f[i]], [p, r, 2*p*r/(p + r)], rtol=1e-5)
    assert k.f_score(a, b + 100, 0.5).f.tolist() == [0, 0] and k.f_score(a, a, 0.0).f.tolist() == [1, 1]


@both
def test_normal_consistency(dtype):
    a, b, n, m = (cloud(2, 40, 3, seed=s, dtype=dtype) for s in range(4))
    unit = torch.nn.functional.normalize
    found = k.normal_consistency(a, n, b, 5*m)
    for i in range(2):
        d = cdist(a[i].double(), b[i].double())
        x, y = unit(n[i].double(), dim=-1).numpy(), unit(m[i].double(), dim=-1).numpy()
        one, two = (x*y[d.argmin(1)]).sum(1), (y*x[d.argmin(0)]).sum(1)
        np.testing.assert_allclose(found[i], (one.mean() + two.mean())/2, atol=1e-6)
        np.testing.assert_allclose(k.normal_consistency(a, n, b, m, absolute=True)[i],
                                   (abs(one).mean() + abs(two).mean())/2, atol=1e-6)
        np.testing.assert_allclose(k.normal_consistency(a, n, b, m, both=False)[i], one.mean(), atol=1e-6)
    np.testing.assert_allclose(k.normal_consistency(a, n, a, -n), -1, atol=1e-6)
    assert k.normal_consistency(a, torch.zeros_like(n), b, m).tolist() == [0, 0]


def test_iou_of_shifted_boxes():
    box = from_trimesh(trimesh.creation.box((1, 1, 1)))
    moved = Mesh(box.vertices + torch.tensor([0.5, 0, 0]), box.faces)
    found = k.volumetric_iou(box, moved, 200_000, torch.Generator().manual_seed(0))
    assert abs(found.item() - 1/3) < 0.005 and k.volumetric_iou(box, box, 1000,
                                                                torch.Generator().manual_seed(0)).item() == 1
    assert torch.equal(found, k.volumetric_iou(box, moved, 200_000, torch.Generator().manual_seed(0)))
    a = torch.tensor([[True, True, False], [False, False, False]])
    b = torch.tensor([[True, False, True], [False, False, False]])
    assert k.intersection_over_union(a, b).tolist() == [pytest.approx(1/3), 1]


@pytest.mark.parametrize("call", [
    lambda: k.chamfer(torch.zeros(0, 3), torch.zeros(2, 3)), lambda: k.chamfer(torch.zeros(2, 3), torch.zeros(0, 3)),
                                  lambda: k.chamfer(torch.full((1, 3), math.nan), torch.zeros(1, 3)),
    lambda: k.earth_movers(torch.zeros(2, 3), torch.zeros(3, 3)),
                                  lambda: k.earth_movers(torch.zeros(0, 3), torch.zeros(0, 3)),
                                  lambda: k.earth_movers(torch.full((1, 3), math.nan), torch.zeros(1, 3)),
    lambda: k.mesh_accuracy(torch.zeros(0, 3), torch.zeros(1, 3)),
                                  lambda: k.mesh_accuracy(torch.zeros(1, 3), torch.zeros(1, 3), 1.5),
                                  lambda: k.mesh_completion(torch.zeros(0, 3), torch.zeros(1, 3)),
    lambda: k.mesh_accuracy(torch.zeros(2, 3), Mesh(torch.zeros(3, 3), torch.zeros(0, 3).long())),
                                  lambda: k.intersection_over_union(torch.zeros(3), torch.zeros(3))])
def test_what_does_not_fit_is_named(call):
    with pytest.raises(PaperKitError, match="expected"):
        call()


def test_importing_needs_torch_and_numpy_alone():
    import subprocess, sys
    blocked = ["scipy", "trimesh", "numba", "skimage", "matplotlib", "jaxtyping"]
    code = (f"import sys\nfor n in {blocked}: sys.modules[n] = None\n"
            "import torch, importlib.util as u; real = u.find_spec; u.find_spec = lambda n, *a: None if n in ('numba', "
            "'scipy') else real(n, *a)\n"
            "import paper_kit.kit.voxels as v; from paper_kit.kit.metrics import chamfer\n"
            "print(chamfer(torch.zeros(1, 3), torch.ones(2, 3)).item(), "
            "len(v.marching_tetrahedra(v.grid_points(8).norm(dim=-1) - 0.5).faces) > 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "6.0 True", done.stderr
