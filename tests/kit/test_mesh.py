"""Meshes against trimesh, libigl where it is installed, brute force and closed forms; broken files."""
import importlib.util
import time

import numpy as np
import pytest
import torch
import trimesh

from paper_kit.kit import mesh as m
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import random_rotations

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(n, seed=0, dtype=torch.float64, size=2.0):
    return ((torch.rand(n, 3, generator=seeded(seed), dtype=torch.float64) - 0.5)*size).to(dtype)


def make(name, dtype=torch.float64):
    "Closed shapes, turned so that nothing is aligned with an axis, except the box."
    shape = {"ball": lambda: trimesh.creation.icosphere(subdivisions=2, radius=0.7),
             "torus": lambda: trimesh.creation.torus(0.6, 0.25, major_sections=24, minor_sections=12),
             "box": lambda: trimesh.creation.box((1, 1.2, 0.8)),
             "capsule": lambda: trimesh.creation.capsule(0.8, 0.2)}[name]()
    if name != "box":
        turn = np.eye(4); turn[:3, :3] = random_rotations(generator=seeded(5), dtype=torch.float64).numpy()
        shape.apply_transform(turn)
    return m.from_trimesh(shape, dtype=dtype)


def soup(faces, seed=0, dtype=torch.float64):
    "Triangles at random: open, crossing one another, some without area."
    x = torch.randn(3*faces, 3, generator=seeded(seed), dtype=torch.float64)*0.4
    x[3:6] = x[3]; x[7] = x[6]; x[11] = (x[9] + x[10])/2                                  # a point, two segments
    return m.Mesh(x.to(dtype), torch.arange(3*faces).reshape(-1, 3))


def pairs(mesh, x):
    return m.point_triangle(x[:, None].expand(-1, len(mesh.faces), 3),
                            mesh.triangles.expand(len(x), -1, 3, 3))[0].amin(1)


@pytest.fixture(params=["numba", "all pairs"])
def way(request, monkeypatch):
    "The compiled trees, and all pairs as where numba is missing or on a GPU."
    if request.param == "all pairs":
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "numba" else found(name, *a))
    return request.param


shapes = pytest.mark.parametrize("name", ["ball", "torus", "box", "capsule"])


@both
@shapes
def test_normals_areas_volume_agree_with_trimesh(name, dtype):
    mesh = make(name, dtype)
    truth = m.to_trimesh(mesh)
    tolerance = dict(atol=1e-5 if dtype == torch.float32 else 1e-10)
    np.testing.assert_allclose(m.face_normals(mesh), truth.face_normals, **tolerance)
    np.testing.assert_allclose(m.face_areas(mesh), truth.area_faces, **tolerance)
    np.testing.assert_allclose(m.volume(mesh), truth.volume, **tolerance)
    assert m.face_normals(mesh).dtype == dtype
    batch = m.Mesh(torch.stack([mesh.vertices, 2*mesh.vertices, -mesh.vertices]), mesh.faces)
    np.testing.assert_allclose(m.volume(batch), np.array([1, 8, -1])*truth.volume, atol=1e-4)
    np.testing.assert_allclose(m.face_areas(batch)[1], 4*truth.area_faces, atol=1e-4)


@both
def test_degenerate_faces_give_neither_nan_nor_a_normal(dtype):
    mesh = soup(6, dtype=dtype)
    v = mesh.vertices.requires_grad_()
    n, a = m.face_normals(mesh), m.face_areas(mesh)
    assert (n[1] == 0).all() and (n[2] == 0).all() and a[1] == a[2] == 0
    squared = pairs(mesh, cloud(50, dtype=dtype))
    (n.sum() + a.sum() + squared.sum()).backward()
    assert torch.isfinite(v.grad).all()
    tiny = m.Mesh(1e-15*torch.tensor([[0., 0, 0], [1, 0, 0], [0, 1, 0]], dtype=dtype), torch.tensor([[0, 1, 2]]))
    np.testing.assert_allclose(m.face_normals(tiny), [[0, 0, 1]], atol=1e-6)


@shapes
def test_topology_agrees_with_trimesh(name):
    mesh = make(name)
    truth = m.to_trimesh(mesh)
    assert (m.euler_number(mesh) == truth.euler_number and m.is_watertight(mesh) == truth.is_watertight
            and m.is_oriented(mesh))
    assert m.genus(mesh) == (1 if name == "torus" else 0) and m.components(mesh)[0] == 1


def test_topology_of_pieces_holes_and_flipped_faces():
    ball, torus = make("ball"), make("torus")
    n = len(ball.vertices)
    # unused vertices
    two = m.Mesh(torch.cat([ball.vertices, torus.vertices, torch.zeros(4, 3)]),
                 torch.cat([ball.faces, torus.faces + n]))
    count, piece = m.components(two)
    assert (count == 2 and (piece[:len(ball.faces)] == piece[0]).all()
            and (piece[len(ball.faces):] == 1 - piece[0]).all())
    assert m.genus(two) == 1 and m.euler_number(two) == 2
    hole = m.Mesh(ball.vertices, ball.faces[3:])
    assert not m.is_watertight(hole) and m.is_oriented(hole)
    with pytest.raises(PaperKitError, match="edges with another number"): m.genus(hole)
    flipped = ball.faces.clone(); flipped[5] = flipped[5].flip(0)
    assert m.is_watertight(m.Mesh(ball.vertices, flipped)) and not m.is_oriented(m.Mesh(ball.vertices, flipped))
    empty = m.Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    assert not m.is_watertight(empty) and m.components(empty)[0] == 0 and m.euler_number(empty) == 0
    chain = m.Mesh(torch.zeros(3001, 3), torch.stack([torch.arange(0, 2999), torch.arange(1, 3000),
                                                      torch.arange(2, 3001)],
                                                     1)[torch.randperm(2999, generator=seeded())])
    assert m.components(chain)[0] == 1
    grown = m.to_trimesh(two)
    assert len(grown.split(only_watertight=False)) == 2


@shapes
def test_a_soup_of_faces_becomes_the_mesh_again(name):
    mesh = make(name)
    merged = m.merge_vertices(m.Mesh(mesh.triangles.reshape(-1, 3), torch.arange(3*len(mesh.faces)).reshape(-1, 3)))
    assert len(merged.vertices) == len(mesh.vertices) and m.is_watertight(merged)
    assert torch.equal(merged.triangles, mesh.triangles)
    zero = m.Mesh(torch.tensor([[0., 0, 0], [-0., 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 2, 3], [0, 1, 2]]))
    assert len(m.merge_vertices(zero).vertices) == 3 and len(m.merge_vertices(zero).faces) == 1


@both
def test_samples_are_uniform_by_area(dtype):
    from scipy import stats
    mesh = make("torus", dtype)
    found = m.sample_surface(mesh, 40_000, seeded())
    areas = m.face_areas(mesh).double()
    assert stats.chisquare(found.faces.bincount(minlength=len(areas)), 40_000*(areas/areas.sum()).numpy()).pvalue > 1e-3
    np.testing.assert_allclose(pairs(mesh, found.points[:200]), 0, atol=1e-10)
    np.testing.assert_allclose((found.normals*m.face_normals(mesh)[found.faces]).sum(-1), 1, atol=1e-5)
    truth = (mesh.triangles.mean(1)*areas[:, None]).sum(0)/areas.sum()
    np.testing.assert_allclose(found.points.mean(0), truth, atol=0.01)
    one = m.Mesh(torch.tensor([[0., 0, 0], [1, 0, 0], [0, 1, 0]], dtype=dtype), torch.tensor([[0, 1, 2]]))
    u = m.sample_surface(one, 20_000, seeded(1)).points
    assert (stats.kstest(u[:, 0].numpy(), lambda t: 1 - (1 - t)**2).pvalue > 1e-3
            and stats.kstest(u[:, 1].numpy(), lambda t: 1 - (1 - t)**2).pvalue > 1e-3)


def test_faces_by_the_table_are_those_of_a_binary_search(monkeypatch):
    "With areas over twelve orders of magnitude, many of them zero, and numbers at the ends."
    areas = torch.rand(3, 500, generator=seeded(), dtype=torch.float64)**12
    areas[0, :100] = areas[1, 200:] = areas[2, ::2] = 0
    which = torch.rand(3, 4000, generator=seeded(1), dtype=torch.float64)
    which[:, :3] = torch.tensor([0.0, 1 - 2**-53, 1.0], dtype=torch.float64)
    found = m._choose_faces(areas, which)
    cumulative, table = areas[0].cumsum(0).numpy(), np.empty(502, np.int64)
    plain = np.empty(4000, np.int64)
    m._face_of(cumulative, which[0].numpy()*cumulative[-1], cumulative[-1], table, plain)
    monkeypatch.setattr(m, "runs_compiled", lambda x: False)
    assert torch.equal(found, m._choose_faces(areas, which)) and (np.minimum(plain, 499) == found[0].numpy()).all()
    assert (areas.gather(1, found) > 0).all()


@pytest.mark.parametrize("count", [7, 1000])
def test_a_sample_is_the_same_with_a_gradient_and_without(count):
    "Bit for bit: few points and many, one mesh and a batch."
    ball = make("ball", torch.float32)
    for v in (ball.vertices, torch.stack([ball.vertices, 3*ball.vertices + 1]),
              torch.stack([ball.vertices]*6).reshape(2, 3, -1, 3)):
        plain = m.sample_surface(m.Mesh(v, ball.faces), count, seeded())
        drawn = m.sample_surface(m.Mesh(v.clone().requires_grad_(), ball.faces), count, seeded())
        assert drawn.points.requires_grad and all(torch.equal(a, b) for a, b in zip(plain, drawn))
        normal = m.face_normals(m.Mesh(v, ball.faces))
        torch.testing.assert_close(plain.normals, normal.gather(-2, plain.faces[..., None].expand_as(plain.normals)),
                                   rtol=0, atol=0)


def test_samples_follow_seed_batch_and_vertices():
    mesh = make("ball")
    a, b = m.sample_surface(mesh, 100, seeded(3)), m.sample_surface(mesh.to(torch.float32), 100, seeded(3))
    assert torch.equal(a.faces, b.faces) and torch.allclose(a.points.float(), b.points, atol=1e-6)
    batch = m.Mesh(torch.stack([mesh.vertices, mesh.vertices + 5]), mesh.faces)
    found = m.sample_surface(batch, 50, seeded())
    assert found.points.shape == found.normals.shape == (2, 50, 3) and found.points[1].mean() > 4
    v = torch.randn(2, 4, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [1, 2, 3]])
    fixed = m.sample_surface(m.Mesh(v, faces), 5, seeded())
    gradient, = torch.autograd.grad(fixed.points.sum(), v)
    np.testing.assert_allclose(gradient.sum(1), 5, atol=1e-9)                             # weights sum to one
    zero = m.Mesh(torch.tensor([[0., 0, 0], [1, 0, 0], [0, 1, 0], [2, 2, 2]]),
                  torch.tensor([[3, 3, 3], [0, 1, 2], [3, 3, 3]]))
    assert (m.sample_surface(zero, 1000, seeded()).faces == 1).all()


@both
def test_point_triangle_agrees_with_trimesh(dtype):
    triangles = torch.randn(500, 3, 3, generator=seeded(), dtype=torch.float64).to(dtype)
    x = 1.5*torch.randn(500, 3, generator=seeded(1), dtype=torch.float64).to(dtype)
    truth = trimesh.triangles.closest_point(triangles.double().numpy(), x.double().numpy())
    squared, weights = m.point_triangle(x, triangles)
    np.testing.assert_allclose(squared.sqrt(), np.linalg.norm(truth - x.double().numpy(), axis=1),
                               atol=3e-6 if dtype == torch.float32 else 1e-12)
    np.testing.assert_allclose((weights[..., None]*triangles).sum(1), truth,
                               atol=2e-4 if dtype == torch.float32 else 1e-9)
    assert weights.min() >= 0 and torch.allclose(weights.sum(1), torch.ones(500, dtype=dtype), atol=1e-5)


def test_gradient_of_the_distance_to_a_triangle():
    triangles = torch.randn(40, 3, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    x = 1.5*torch.randn(40, 3, generator=seeded(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p, t: m.point_triangle(p, t)[0], (x.requires_grad_(), triangles))


@both
@pytest.mark.parametrize("name", ["ball", "torus", "box", "soup", "one face"])
def test_closest_agrees_with_all_pairs(way, name, dtype):
    mesh = (soup(60, dtype=dtype) if name == "soup" else m.Mesh(torch.eye(3, dtype=dtype), torch.tensor([[0, 1, 2]]))
            if name == "one face" else make(name, dtype))
    x = torch.cat([cloud(300, dtype=dtype), cloud(20, dtype=dtype, size=50), mesh.vertices[:10],
                   mesh.triangles.mean(1)[:10]])
    found = m.closest(mesh, x)
    truth = pairs(mesh.to(torch.float64), x.double())
    np.testing.assert_allclose(found.squared.sqrt(), truth.sqrt(), atol=1e-5 if dtype == torch.float32
                               else 1e-12, rtol=1e-6)
    assert found.squared.dtype == dtype and m.closest(mesh, x.reshape(-1, 2, 3)).face.shape == (len(x)//2, 2)
    assert m.closest(mesh, x[:0]).squared.shape == (0,)


def test_gradient_of_signed_distance(way):
    mesh = make("ball")
    x = cloud(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: m.signed_distance(mesh, p), x)
    small = m.Mesh(torch.randn(4, 3, generator=seeded(), dtype=torch.float64),
                   torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    assert torch.autograd.gradcheck(lambda p, v: m.signed_distance(m.Mesh(v, small.faces), p),
                                    (x, small.vertices.requires_grad_()))
    on = mesh.vertices[:3].clone().requires_grad_()
    m.signed_distance(mesh, on).sum().backward()
    assert torch.isfinite(on.grad).all()


@both
@pytest.mark.parametrize("name", ["ball", "torus", "soup", "torn"])
def test_winding_number_agrees_with_the_sum(way, name, dtype):
    mesh = soup(80, dtype=dtype) if name == "soup" else make("torus" if name == "torn" else name, dtype)
    if name == "torn": mesh = m.Mesh(mesh.vertices, mesh.faces[torch.rand(len(mesh.faces), generator=seeded()) < 0.6])
    x = torch.cat([cloud(400, dtype=dtype), cloud(50, dtype=dtype, size=0.05)])
    truth = m._winding_pairs(x.double(), mesh.triangles.double())
    np.testing.assert_allclose(m.winding_number(mesh, x), truth, atol=1e-5 if dtype == torch.float32 else 1e-10)


def test_winding_numbers_of_nested_and_doubled_surfaces(way):
    ball = make("ball")
    n = len(ball.vertices)
    cat = lambda *parts: m.Mesh(torch.cat([v for v, _ in parts]),
                                torch.cat([f + i*n for i, (_, f) in enumerate(parts)]))
    centre = torch.zeros(1, 3, dtype=torch.float64)
    twice = cat((ball.vertices, ball.faces), (ball.vertices*0.5, ball.faces))
    shell = cat((ball.vertices, ball.faces), (ball.vertices*0.5, ball.faces.flip(1)))
    assert (m.winding_number(twice, centre).item() == pytest.approx(2) and m.winding_number(shell, centre).item()
            == pytest.approx(0, abs=1e-12))
    many = cat(*[(ball.vertices*(1 + 0.01*i), ball.faces) for i in range(12)])
    assert m.winding_number(many, centre).item() == pytest.approx(12)
    assert m.winding_number(m.Mesh(many.vertices, many.faces.flip(1)), centre).item() == pytest.approx(-12)
    assert m.inside(twice, centre).item() and torch.isfinite(m.winding_number(ball, ball.vertices)).all()


@both
@shapes
def test_parity_agrees_with_winding(name, dtype):
    mesh = make(name, dtype)
    x = cloud(5000, dtype=dtype)
    assert (torch.equal(m.inside(mesh, x, "parity"), m.inside(mesh, x)) and m.inside(mesh, x).any()
            and not m.inside(mesh, x).all())
    flipped = m.Mesh(mesh.vertices, mesh.faces.flip(1))
    assert torch.equal(m.inside(flipped, x, "parity"), m.inside(mesh, x))


def test_rays_through_edges_and_corners_are_counted_once():
    """Below and inside a grid-aligned box whose faces are cut at many grid points: every ray hits corners, edges or
    vertical faces."""
    box = m.from_trimesh(trimesh.creation.box((1, 1, 1)).subdivide().subdivide(), dtype=torch.float64)
    s = torch.arange(-6, 7, dtype=torch.float64)/8
    x = torch.stack(torch.meshgrid(s, s, s + 1/16, indexing="ij"), -1)
    truth = (x.abs() < 0.5).all(-1)
    edge = (x.abs() == 0.5).any(-1)
    assert torch.equal(m.inside(box, x, "parity")[~edge], truth[~edge])
    spin = random_rotations(20, generator=seeded(), dtype=torch.float64)
    for R in spin:                                                             # rays exactly through projected vertices
        mesh = make("capsule")
        turned = m.Mesh(mesh.vertices @ R.mT, mesh.faces)
        below = turned.vertices - torch.tensor([0, 0, 5.0])
        above = turned.vertices + torch.tensor([0, 0, 5.0])
        assert not m.inside(turned, below, "parity").any() and not m.inside(turned, above, "parity").any()


@shapes
def test_signed_distance_agrees_with_igl(name):
    igl = pytest.importorskip("igl")
    mesh, x = make(name), cloud(500)
    v, f = mesh.vertices.numpy(), mesh.faces.numpy()
    truth = igl.signed_distance(x.numpy(), v, f, igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL)[0]
    for sign in ("winding", "parity"): np.testing.assert_allclose(m.signed_distance(mesh, x, sign), truth, atol=1e-9)
    torn = m.Mesh(mesh.vertices, mesh.faces[::2])
    np.testing.assert_allclose(m.winding_number(torn, x), igl.winding_number(v, torn.faces.numpy(), x.numpy()),
                               atol=1e-7)


@both
def test_signed_distance_of_a_box_in_closed_form(way, dtype):
    half = torch.tensor([0.5, 0.6, 0.4], dtype=dtype)
    x = cloud(2000, dtype=dtype)
    q = x.abs() - half
    truth = q.clamp(min=0).norm(dim=1) + q.amax(1).clamp(max=0)
    np.testing.assert_allclose(m.signed_distance(make("box", dtype), x), truth, atol=1e-6)


def test_the_tree_follows_changed_vertices():
    mesh, x = make("ball"), cloud(100)
    before = m.signed_distance(mesh, x)
    mesh.vertices.mul_(2)
    after = m.signed_distance(mesh, x)
    np.testing.assert_allclose(after, m.signed_distance(m.Mesh(mesh.vertices.clone(), mesh.faces), x), atol=1e-12)
    assert (after < before).all()


def test_files_go_there_and_back(tmp_path):
    for name in ("torus", "box"):
        mesh = make(name, torch.float32)
        for kind in (".ply", ".obj"):
            back = m.read_mesh(m.write_mesh(tmp_path/f"{name}{kind}", mesh), merge=False)
            assert torch.allclose(back.vertices, mesh.vertices, atol=1e-7) and torch.equal(back.faces, mesh.faces)
            assert (m.is_watertight(m.read_mesh(tmp_path/f"{name}{kind}"))
                    and m.read_mesh(tmp_path/f"{name}{kind}", dtype=torch.float64).vertices.dtype == torch.float64)


def test_an_obj_with_seams_polygons_and_materials_is_one_closed_mesh(tmp_path):
    (tmp_path/"box.obj").write_text("mtllib nowhere.mtl\n" + "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1)
                                                                     for z in (0, 1)) + "vt 0 0\nvt 1 1\n"
                                    + "usemtl a\nf 1/1 2/2 4/1 3/2\nf 5/2 7/1 8/2 6/1\nusemtl b\nf 1/2 5/2 6/1 2/1\nf "
                                      "3 4 8 7\nf 1/1 3/1 7/2 5/2\nf 2 6 8 4\n")
    mesh = m.read_mesh(tmp_path/"box.obj")
    assert m.is_watertight(mesh) and abs(m.volume(mesh).item()) == pytest.approx(1) and len(mesh.faces) == 12


PLY = ("ply\nformat ascii 1.0\nelement vertex {v}\nproperty float x\nproperty float y\nproperty float z\nelement face "
       "{f}\nproperty list uchar int vertex_indices\nend_header\n")
TRIANGLE = "0 0 0\n1 0 0\n0 1 0\n"
BROKEN = {
    "a billion faces.ply": PLY.format(v=3, f=10**9) + TRIANGLE + "3 0 1 2\n",
    "more than there is.ply": PLY.format(v=3, f=10**6) + TRIANGLE + "3 0 1 2\n",
    "a billion vertices.ply": PLY.format(v=10**9, f=1) + TRIANGLE,
    "negative.ply": PLY.format(v=3, f=-1) + TRIANGLE,
    "nan.ply": PLY.format(v=3, f=1) + "0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n",
    "index.ply": PLY.format(v=3, f=1) + TRIANGLE + "3 0 1 7\n",
    "no faces.ply": PLY.format(v=3, f=0) + TRIANGLE,
    "cut.ply": PLY.format(v=3, f=2)[:60],
    "word.ply": PLY.format(v="many", f=1) + TRIANGLE,
    "empty.ply": "", "empty.obj": "", "text.obj": "v one two three\nf 1 2 3\n",
          "index.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "points.obj": "v 0 0 0\nv 1 0 0\n", "nan.obj": "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
          "binary.obj": "\x00\x01\x02\xff", "what.stl": "solid", "what": "",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_quickly_and_by_name(tmp_path, name):
    (tmp_path/name).write_text(BROKEN[name])
    begun = time.perf_counter()
    with pytest.raises(PaperKitError) as caught: m.read_mesh(tmp_path/name)
    assert name in str(caught.value) and "next step" in str(caught.value) and time.perf_counter() - begun < 2


def test_a_missing_and_an_oversized_file(tmp_path):
    with pytest.raises(PaperKitError, match="no such file"): m.read_mesh(tmp_path/"none.ply")
    file = m.write_mesh(tmp_path/"ball.ply", make("ball"))
    with pytest.raises(PaperKitError, match="too large"): m.read_mesh(file, max_bytes=100)
    with pytest.raises(PaperKitError, match="too many"): m.read_mesh(file, max_faces=10)
    binary = file.read_bytes()
    file.write_bytes(binary[:len(binary)//2])
    with pytest.raises(PaperKitError): m.read_mesh(file)


@pytest.mark.parametrize("call", [
    lambda: m.Mesh(torch.zeros(3, 2), torch.zeros(1, 3).long()), lambda: m.Mesh(torch.zeros(3, 3), torch.zeros(1, 3)),
                                  lambda: m.Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 3]])),
    lambda: m.Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, -1]])),
                                  lambda: m.sample_surface(m.Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), 5),
    lambda: m.sample_surface(m.Mesh(torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]])), 5),
                                  lambda: m.sample_surface(m.Mesh(torch.zeros(0, 3), torch.zeros(0, 3).long()), 5),
    lambda: m.closest(make("ball"), torch.zeros(1, 3)),
                                  lambda: m.closest(make("ball"), torch.full((1, 3), torch.nan).double()),
    lambda: m.closest(m.Mesh(torch.zeros(3, 3), torch.zeros(0, 3).long()), torch.zeros(1, 3)),
                                  lambda: m.inside(make("ball"), torch.zeros(1, 3).double(), "magic"),
    lambda: m.inside(m.Mesh(make("ball").vertices, make("ball").faces[1:]), torch.zeros(1, 3).double(), "parity"),
    lambda: m.closest(m.Mesh(torch.zeros(2, 3, 3), torch.tensor([[0, 1, 2]])), torch.zeros(1, 3)),
                                  lambda: m.write_mesh("ball.stl", make("ball"))])
def test_what_does_not_fit_is_named(call):
    with pytest.raises(PaperKitError, match="expected"):
        call()


def test_importing_and_distances_need_torch_and_numpy_alone():
    import subprocess, sys
    blocked = ["scipy", "trimesh", "numba", "skimage", "matplotlib", "jaxtyping"]
    code = (f"import sys\nfor n in {blocked}: sys.modules[n] = None\n"
            "import torch, importlib.util as u; real = u.find_spec; u.find_spec = lambda n, *a: None if n in ('numba', "
            "'scipy') else real(n, *a)\n"
            "from paper_kit.kit.mesh import *\n"
            "t = Mesh(torch.tensor([[0., 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), torch.tensor([[0, 2, 1], [0, 1, 3], "
            "[0, 3, 2], [1, 2, 3]]))\n"
            "print(signed_distance(t, torch.tensor([[0.1, 0.1, 0.05], [0., 0, 2.]])).tolist(), is_watertight(t), "
            "genus(t), len(sample_surface(t, 5).points))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "True 0 5" in done.stdout and "[-0.05" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("level", [0, 1, 3])
def test_an_icosphere_is_a_closed_ball_with_faces_that_look_outward(level):
    ball = m.icosphere(level, dtype=torch.float64)
    assert len(ball.vertices) == 10*4**level + 2 and len(ball.faces) == 20*4**level
    assert torch.allclose(ball.vertices.norm(dim=1), torch.ones(1, dtype=torch.float64))
    assert m.is_watertight(ball) and m.is_oriented(ball) and m.genus(ball) == 0
    assert 2.5 < m.volume(ball) < 4*np.pi/3 and (level < 3 or m.volume(ball) > 4.1)
