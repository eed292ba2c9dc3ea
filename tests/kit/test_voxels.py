"""Grids, lookups and surfaces from fields against PyTorch, SciPy, scikit-image and closed forms."""
import math

import numpy as np
import pytest
import torch
import trimesh
from scipy.interpolate import RegularGridInterpolator

from paper_kit.kit import voxels as v
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.mesh import from_trimesh, genus, is_oriented, is_watertight, volume

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
extract = pytest.mark.parametrize("extract", [v.marching_cubes, v.marching_tetrahedra], ids=["cubes", "tetrahedra"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ring(p):
    return (((p[..., 0]**2 + p[..., 1]**2).sqrt() - 0.6)**2 + p[..., 2]**2).sqrt() - 0.25


@both
def test_grids(dtype):
    corners, centres = v.grid_points((3, 4, 5), -2, 1,
                                     dtype=dtype), v.grid_points((3, 4, 5), -2, 1, "centres", dtype=dtype)
    assert corners.shape == centres.shape == (3, 4, 5, 3) and corners.dtype == dtype
    np.testing.assert_allclose(corners[0, 0, :, 2], np.linspace(-2, 1, 5), atol=1e-6)
    np.testing.assert_allclose(centres[:, 0, 0, 0], [-1.5, -0.5, 0.5], atol=1e-6)
    assert (corners[0, 0, 0] == -2).all() and v.grid_points(1, at="centres").flatten().tolist() == [0, 0, 0]


@both
def test_voxelising_a_box_and_a_ball(dtype):
    box = from_trimesh(trimesh.creation.box((1, 1, 1)), dtype=dtype)
    full = v.voxelise(box, 16)
    assert (torch.equal(full, (v.grid_points(16, at="centres").abs() < 0.5).all(-1))
            and torch.equal(v.voxelise(box, 16, method="parity"), full))
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=4, radius=0.8), dtype=dtype)
    assert abs(v.voxelise(ball, 48).double().mean().item()*8 - 4/3*math.pi*0.8**3) < 0.03


@both
def test_lookup_agrees_with_scipy_and_grid_sample(dtype):
    values = torch.randn(2, 3, 5, 6, 7, generator=seeded(), dtype=torch.float64).to(dtype)
    x = (torch.rand(2, 40, 3, generator=seeded(1), dtype=torch.float64)*2.6 - 1.3).to(dtype)              # some outside
    for at in ("corners", "centres"):
        found = v.lookup(values, x, at=at)
        truth = torch.nn.functional.grid_sample(values, x.flip(-1)[:, None, None], mode="bilinear",
                                                padding_mode="border", align_corners=at == "corners")
        np.testing.assert_allclose(found, truth[:, :, 0, 0].mT, atol=1e-5 if dtype == torch.float32 else 1e-12)
        assert found.shape == (2, 40, 3) and found.dtype == dtype
    interpolate = RegularGridInterpolator([np.linspace(-1, 1, n) for n in (5, 6, 7)], values[1, 2].double().numpy())
    within = x[1].abs().amax(-1) <= 1
    np.testing.assert_allclose(v.lookup(values, x)[1, within, 2], interpolate(x[1, within].double().numpy()), atol=1e-5)
    np.testing.assert_allclose(v.lookup(values[0], v.grid_points((5, 6, 7), dtype=dtype).reshape(-1, 3)).mT.reshape(
        3, 5, 6, 7), values[0], atol=1e-5)
    assert v.lookup(values[:, :, :1, :1, :1], x, at="centres").shape == (2, 40, 3)


def test_lookup_gradients():
    values = torch.randn(2, 4, 4, 4, generator=seeded(), dtype=torch.float64).requires_grad_()
    x = (torch.rand(6, 3, generator=seeded(1), dtype=torch.float64)*1.8 - 0.9).requires_grad_()
    assert torch.autograd.gradcheck(v.lookup, (values, x)) and torch.autograd.gradgradcheck(v.lookup, (values, x))


@both
@extract
def test_a_torus_comes_back(extract, dtype):
    mesh = extract(ring(v.grid_points(40, dtype=dtype)))
    assert mesh.vertices.dtype == dtype and is_watertight(mesh) and is_oriented(mesh) and genus(mesh) == 1
    assert abs(volume(mesh).item() - 2*math.pi**2*0.6*0.25**2) < 0.01 and ring(mesh.vertices).abs().max() < 4e-3
    upside = extract(-ring(v.grid_points(40, dtype=dtype)), inside="above")
    assert volume(upside) > 0
    np.testing.assert_allclose(sorted(upside.vertices[:, 0].tolist())[:9], sorted(mesh.vertices[:, 0].tolist())[:9],
                               atol=1e-4)


@both
@extract
def test_coordinates_are_the_worlds(extract, dtype):
    """A linear field crosses exactly where it should, for boxes of any place, any number of values, both placements,
    any level."""
    for at, low, high, level in (("corners", -1, 1, 0.0), ("centres", 2, 5, 3.3), ("corners", -7, -3, -4.7)):
        p = v.grid_points((5, 8, 6), low, high, at, dtype=dtype)
        mesh = extract(p[..., 1].contiguous() + 1e-3, level, low, high, at=at)
        np.testing.assert_allclose(mesh.vertices[:, 1], level - 1e-3, atol=2e-4)
        first, last = p[0, 0, 0, 0].item(), p[-1, 0, 0, 0].item()
        np.testing.assert_allclose([mesh.vertices[:, 0].min(), mesh.vertices[:, 0].max()], [first, last], atol=1e-5)
        n = torch.linalg.cross(mesh.triangles[:, 1] - mesh.triangles[:, 0], mesh.triangles[:, 2] - mesh.triangles[:, 0])
        assert (n[:, 1] > 0).all()                                                          # inside is below


@extract
@pytest.mark.parametrize("kind", ["noise", "integers", "binary", "smooth", "faint", "vast"])
def test_a_padded_field_always_gives_a_closed_surface(extract, kind):
    for seed in range(12):
        x = torch.randn(9, 8, 10, generator=seeded(seed))
        if kind == "integers": x = torch.randint(-2, 3, (9, 8, 10), generator=seeded(seed)).float()
        if kind == "binary": x = (torch.rand(9, 8, 10, generator=seeded(seed)) < 0.4).float() - 0.5
        if kind == "smooth": x = torch.nn.functional.avg_pool3d(x[None, None], 3, 1)[0, 0]
        x = x*{"faint": 1e-6, "vast": 1e6}.get(kind, 1)
        mesh = extract(x, pad=True)
        assert is_watertight(mesh) and is_oriented(mesh) and volume(mesh) > 0
        assert mesh.vertices.abs().max() < 1.01


@extract
def test_a_shape_over_the_border_is_closed_at_it(extract):
    field = v.grid_points(20).norm(dim=-1) - 1.2
    assert not is_watertight(extract(field))
    mesh = extract(field, pad=True)
    assert is_watertight(mesh) and abs(mesh.vertices.abs().max().item() - 1) < 2e-3
    full = extract(torch.ones(4, 4, 4), 0.5, at="centres", inside="above", pad=True)
    # the cells fill the box
    assert is_watertight(full) and full.vertices.abs().max().item() == pytest.approx(1, abs=1e-4)


def test_the_two_extractions_agree():
    from paper_kit.kit.metrics import volumetric_iou
    field = torch.nn.functional.avg_pool3d(torch.randn(1, 1, 16, 16, 16, generator=seeded(3)), 5, 1)[0, 0]
    a, b = v.marching_cubes(field, pad=True), v.marching_tetrahedra(field, pad=True)
    assert volumetric_iou(a, b, 20_000, seeded()).item() > 0.93


def test_the_gradient_of_tetrahedra():
    "A ball's radius, through the field and the extraction."
    radius = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    distance = v.grid_points(48, dtype=torch.float64).norm(dim=-1)
    gradient, = torch.autograd.grad(volume(v.marching_tetrahedra(distance - radius)), radius)
    assert abs(gradient.item() - 4*math.pi*0.7**2) < 0.03
    field = torch.randn(3, 3, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: v.marching_tetrahedra(f).vertices, field)


def test_occupancy_iou():
    a, b = torch.zeros(2, 4, 4, 4, dtype=torch.bool), torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    a[0, :2] = True; b[0, 1:3] = True
    assert v.occupancy_iou(a, b).tolist() == [pytest.approx(1/3), 1]


@extract
@pytest.mark.parametrize("field", [torch.ones(4, 4, 4), -torch.ones(4, 4, 4), torch.full((4, 4, 4), math.nan),
                                   torch.zeros(4, 4), torch.zeros(4, 4, 4).long(), torch.ones(1, 4, 4),
                                   torch.zeros(4, 4, 4)],
                         ids=["all out", "all in", "nan", "flat", "integers", "thin", "zero"])
def test_a_field_without_a_surface_is_named(extract, field):
    with pytest.raises(PaperKitError, match="expected"): extract(field)


@pytest.mark.parametrize("call", [lambda: v.grid_points(1), lambda: v.grid_points(4, 1, -1),
                                  lambda: v.grid_points(4, at="edges"),
                                  lambda: v.marching_cubes(torch.zeros(4, 4, 4), inside="left"),
                                  lambda: v.lookup(torch.zeros(4, 4, 4), torch.zeros(1, 3)),
                                  lambda: v.lookup(torch.zeros(2, 1, 4, 4, 4), torch.zeros(1, 3)),
                                  lambda: v.occupancy_iou(torch.zeros(4, 4, 4), torch.zeros(4, 4, 4)),
                                  lambda: v.occupancy_iou(torch.zeros(4) > 0, torch.zeros(4) > 0)])
def test_what_does_not_fit_is_named(call):
    with pytest.raises(PaperKitError, match="expected"):
        call()
