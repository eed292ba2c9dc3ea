"""The rasteriser against a naive one that shares no line with it, its gradients against finite differences, and every
edge a face can fall over."""
import importlib.util
import itertools
import math
import sys
import types

import numpy as np
import pytest
import torch

from paper_kit.kit import render as R
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import rays, sphere_points
from paper_kit.kit.mesh import Mesh, from_trimesh

DOUBLE = torch.float64
ENGINES = ("native", "torch")


def soup(seed=0, vertices=24, faces=18, dtype=DOUBLE):
    g = torch.Generator().manual_seed(seed)
    return Mesh(torch.randn(vertices, 3, generator=g, dtype=dtype)*0.6,
                torch.stack([torch.randperm(vertices, generator=g)[:3] for _ in range(faces)]))


def camera(size, kind="pinhole", distance=3.0, elevation=20.0, azimuth=35.0, dtype=DOUBLE, up="z"):
    T = R.orbit(distance, elevation, azimuth, dtype=dtype, up=up)
    return R.pinhole(size, T, 50.0) if kind == "pinhole" else R.orthographic(size, T, 2.5)


def sphere(subdivisions=4, dtype=torch.float32):
    import trimesh
    return from_trimesh(trimesh.creation.icosphere(subdivisions=subdivisions), dtype=dtype)


# -------------------------------------------------- the oracle

def segment(p, a, b):
    t = min(max(np.dot(p - a, b - a)/np.dot(b - a, b - a), 0.0), 1.0)
    return float(np.sum((p - a - t*(b - a))**2))


def naive(mesh, cam, size, k, blur, cull=False, near=1e-2):
    """[height][width] lists of (depth, face, weights, signed squared distance): one pixel and one face at a time, in
    world space where it can.

    Inside a face the weights come from the meeting point of the pixel's ray with the face's plane; outside, from the
    plane coordinates on the screen, clipped."""
    height, width = size
    K, T, v, short = cam.K.numpy(), cam.T.numpy(), mesh.vertices.numpy(), min(size)
    x = v @ T[:3, :3].T + T[:3, 3]
    flat = x[:, :2] @ K[:2, :2].T/(1.0 if cam.orthographic else x[:, 2:]) + K[:2, 2]
    picture = [[[] for _ in range(width)] for _ in range(height)]
    for row, column, f in itertools.product(range(height), range(width), range(len(mesh.faces))):
        corners, pixel = mesh.faces[f].numpy(), np.array([column + 0.5, row + 0.5])
        if (x[corners, 2] < near).any(): continue                                   # cut faces have a test of their own
        a, b, c = flat[corners]
        if cull and (b - a)[0]*(c - a)[1] - (b - a)[1]*(c - a)[0] > 0: continue
        plane = np.linalg.solve(np.stack([np.append(q, 1.0) for q in (a, b, c)], 1), np.append(pixel, 1.0))
        inside = (plane >= 0).all()
        squared = min(segment(pixel, a, b), segment(pixel, b, c), segment(pixel, c, a))*(2/short)**2
        if not inside and squared >= blur: continue
        if inside and not cam.orthographic:
            ray = np.linalg.solve(K, np.append(pixel, 1.0))
            depth_and = np.linalg.solve(np.stack([ray, x[corners[0]] - x[corners[1]], x[corners[0]] - x[corners[2]]],
                                                 1), x[corners[0]])
            depth, weights = depth_and[0], np.array([1 - depth_and[1] - depth_and[2], depth_and[1], depth_and[2]])
        else:
            weights = np.clip(plane, 0, None)/(1.0 if cam.orthographic else x[corners, 2])
            weights = weights/weights.sum()
            depth = weights @ x[corners, 2]
        picture[row][column].append((depth, f, weights, -squared if inside else squared))
    return [[sorted(found, key=lambda h: h[:2])[:k] for found in row] for row in picture]


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("kind, k, blur, cull", [("pinhole", 1, 0.0, False), ("pinhole", 4, 0.02, False),
                                                 ("pinhole", 9, 0.2, True), ("orthographic", 5, 0.05, False)])
def test_fragments_are_the_naive_ones(backend, kind, k, blur, cull):
    size, mesh = (9, 13), soup(3)
    cam = camera(size, kind)
    f = R.rasterize(mesh, cam, size, k, blur, cull=cull, backend=backend)
    expected, count = naive(mesh, cam, size, k, blur, cull), 0
    for row, column in itertools.product(*map(range, size)):
        hits = expected[row][column]
        assert f.face[row, column].tolist() == [h[1] for h in hits] + [-1]*(k - len(hits))
        for j, (depth, _, weights, squared) in enumerate(hits):
            assert f.depth[row, column, j].item() == pytest.approx(depth, rel=1e-9)
            assert f.squared[row, column, j].item() == pytest.approx(squared, rel=1e-9)
            np.testing.assert_allclose(f.weights[row, column, j].numpy(), weights, atol=1e-9)
        assert (torch.isinf(f.depth[row, column, len(hits):]).all()
                and torch.isinf(f.squared[row, column, len(hits):]).all())
        assert (f.weights[row, column, len(hits):] == 0).all()
        count += len(hits)
    assert count > 15


def test_by_hand():
    "A triangle through the middle of four pixels, at depths 1, 1 and 2: weights, depth and distance on paper."
    mesh = Mesh(torch.tensor([[-1.0, -1.0, 1.0], [3.0, -1.0, 1.0], [-2.0, 6.0, 2.0]], dtype=DOUBLE),
                torch.tensor([[0, 1, 2]]))
    # NDC corners (-1, -1), (3, -1), (-1, 3)
    cam = R.Camera(torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=DOUBLE), torch.eye(4, dtype=DOUBLE))
    f = R.rasterize(mesh, cam, (2, 2))
    # the pixel (0.5, 0.5) is (-0.5, -0.5) in NDC: an eighth of the way to b and to c on the screen; depth 1/(7/8 +
    # 1/8/2) = 16/15
    assert f.depth[0, 0, 0].item() == pytest.approx(16/15)
    np.testing.assert_allclose(f.weights[0, 0, 0].numpy(), [12/15, 2/15, 1/15], atol=1e-12)
    assert f.squared[0, 0, 0].item() == pytest.approx(-0.25)
    assert f.squared[1, 1, 0].item() == pytest.approx(-0.5)                        # to the line x + y = 2
    flat = R.rasterize(mesh, cam, (2, 2), perspective=False)
    np.testing.assert_allclose(flat.weights[0, 0, 0].numpy(), [6/8, 1/8, 1/8], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_engines_agree(dtype):
    """Fragments and gradients, on an image that is not square, with faces before and behind the camera and off the
    image."""
    for seed in range(6):
        mesh, size = soup(seed, 40, 60, dtype), (33, 47)
        cam = camera(size, ("pinhole", "orthographic")[seed % 2], distance=1.0, azimuth=60.0*seed, dtype=dtype)
        weight = [torch.rand(*size, 6, *more, generator=torch.Generator().manual_seed(seed), dtype=dtype)
                  for more in ((), (3,), ())]
        results = []
        for backend in ENGINES:
            v, K, T = (x.clone().requires_grad_() for x in (mesh.vertices, cam.K, cam.T))
            f = R.rasterize(Mesh(v, mesh.faces), R.Camera(K, T, cam.orthographic), size, 6, 0.01*(seed % 3),
                            cull=seed > 3, backend=backend)
            score = sum((x.masked_fill(torch.isinf(x), 0)*w).sum() for x, w in zip(f[1:], weight))
            results.append((f, torch.autograd.grad(score, (v, K, T))))
        (one, d_one), (other, d_other) = results
        same = (one.face == other.face).all(-1)
        # beside a vertex that two faces share both have its depth, and rounding decides which comes first
        assert same.float().mean() > (0.95 if dtype == torch.float32 else 0.9999) and (one.face >= 0).sum() > 300
        if dtype == DOUBLE:
            for a, b in zip(one[1:], other[1:]): torch.testing.assert_close(a[same], b[same], rtol=1e-9, atol=1e-12)
            for a, b in zip(d_one, d_other): torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7*float(b.abs().max()))
        else: assert torch.isclose(one.depth, other.depth, rtol=1e-4, atol=1e-4).float().mean() > 0.999


# -------------------------------------------------- edges of all kinds

@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_no_holes_on_shared_edges(backend, dtype):
    "A sheet whose vertices and edges run through pixel centres, and turned copies of it: each pixel inside is covered."
    n = 9
    axis = torch.linspace(-1, 1, n, dtype=dtype)
    v = torch.stack([*torch.meshgrid(axis, axis, indexing="xy"), torch.zeros(n, n, dtype=dtype)], -1).reshape(-1, 3)
    i = torch.arange(n*(n - 1)).reshape(n - 1, n)[:, :-1].reshape(-1, 1)
    faces = torch.cat([i + torch.tensor([0, 1, n]), i + torch.tensor([1, n + 1, n])])
    for angle in (0.0, 0.3, math.pi/4):
        turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]],
                            dtype=dtype)
        T = R.look_at(torch.tensor([0., 0., 3.], dtype=dtype), torch.zeros(3, dtype=dtype),
                      torch.tensor([0., 1., 0.], dtype=dtype))
        size = (33, 33)
        cam = R.orthographic(size, T, 33/16)                    # 16 pixels a unit: vertices on pixel centres at angle 0
        face = R.rasterize(Mesh(v @ turn.T, faces), cam, size, backend=backend).face[..., 0]
        y, x = torch.meshgrid(torch.arange(33), torch.arange(33), indexing="ij")
        if angle == 0: assert (face >= 0).all()                         # the border runs through pixel centres: covered
        else: assert (face[((x - 16)**2 + (y - 16)**2).sqrt() < 15] >= 0).all()


@pytest.mark.parametrize("backend", ENGINES)
def test_what_must_not_hurt(backend):
    """Degenerate faces, faces behind and through the camera, NaN and infinite vertices, vertices on the border: finite
    pictures, finite gradients."""
    size = (16, 20)
    cam = camera(size, dtype=torch.float32)
    good = torch.tensor([[-.5, -.5, 0.], [.5, -.5, 0.], [0., .5, .2]])
    eye = cam.centre
    cases = {"a point": torch.zeros(3, 3) + 0.1, "a line": torch.tensor([[0., 0, 0], [.2, .2, .2], [.4, .4, .4]]),
             "two corners alike": good[[0, 0, 1]],
             "edge on": torch.stack([eye*0.2, eye*0.1, eye*0.2 + torch.tensor([0., 0, 1e-9])]), "behind": good + 2*eye,
             "through": torch.stack([good[0], good[1], 2*eye]),
             "at the eye": torch.stack([good[0], good[1], eye]),
             "on the border": R.from_opencv(cam.K, cam.T[:3, :3], cam.T[:3, 3]).centre + good*3,
             "huge": good*1e6, "tiny": good*1e-6}
    for name, corners in cases.items():
        v = torch.cat([good, corners]).requires_grad_()
        mesh = Mesh(v, torch.tensor([[0, 1, 2], [3, 4, 5]]))
        for sigma in (0, 1e-4, 1e-2):
            picture = R.render(mesh, cam, size, R.lit(mesh, cam, R.coloured(mesh, torch.rand(6, 3)),
                                                      torch.tensor([2., 2., 2.])), sigma=sigma,
                               gamma=1e-3, backend=backend)
            gradient, = torch.autograd.grad(picture.image.sum() + picture.alpha.sum() + v.sum(), v)
            assert picture.image.isfinite().all() and picture.alpha.isfinite().all() and gradient.isfinite().all(), (
                name, sigma)
            assert (picture.alpha >= 0).all() and (picture.alpha <= 1).all()
            if sigma:
                alpha = R.silhouette(mesh, cam, size, sigma, backend=backend)
                gradient, = torch.autograd.grad(alpha.sum(), v)
                assert alpha.isfinite().all() and gradient.isfinite().all(), (name, sigma)
    for bad in (math.nan, math.inf):
        broken = Mesh(torch.cat([good, good.clone().fill_(bad)]), torch.tensor([[0, 1, 2], [3, 4, 5]]))
        f, clean = R.rasterize(broken, cam, size, 2, backend=backend), R.rasterize(Mesh(good, broken.faces[:1]), cam,
                                                                                   size, 2, backend=backend)
        assert torch.equal(f.face, clean.face) and torch.equal(f.depth, clean.depth)


@pytest.mark.parametrize("backend", ENGINES)
def test_an_empty_mesh(backend):
    size = (5, 6)
    cam, v = camera(size, dtype=torch.float32), torch.zeros(0, 3, requires_grad=True)
    mesh = Mesh(v, torch.zeros(0, 3, dtype=torch.long))
    f = R.rasterize(mesh, cam, size, 3, 0.1, backend=backend)
    assert (f.face == -1).all() and f.depth.shape == (5, 6, 3) and f.weights.shape == (5, 6, 3, 3)
    assert (R.silhouette(mesh, cam, size, 0.1, backend=backend) == 0).all()
    picture = R.render(mesh, cam, size, R.coloured(mesh, torch.zeros(0, 3)), background=0.25, backend=backend)
    assert torch.allclose(picture.image, torch.tensor(0.25))
    gone = Mesh(torch.tensor([[9., 9, 9], [9, 9, 8], [9, 8, 9]], requires_grad=True), torch.tensor([[0, 1, 2]]))
    R.silhouette(gone, cam, size, 1e-3, backend=backend).sum().backward()
    assert (gone.vertices.grad == 0).all()


@pytest.mark.parametrize("backend", ENGINES)
def test_inside_a_box(backend):
    """All walls of a room are seen from inside it: faces are cut where they pass the camera, and weights still mean the
    whole face."""
    import trimesh
    size, room = (24, 32), from_trimesh(trimesh.creation.box((2, 3, 2.5)), dtype=DOUBLE)
    for azimuth in (0.0, 77.0, 200.0):
        cam = R.pinhole(size, R.orbit(0.3, 25.0, azimuth, dtype=DOUBLE), 100.0)
        v = room.vertices.clone().requires_grad_()
        f = R.rasterize(Mesh(v, room.faces), cam, size, backend=backend)
        assert (f.face >= 0).all()
        points = R.interpolate(f, v[room.faces])[..., 0, :]
        half = torch.tensor([1.0, 1.5, 1.25], dtype=DOUBLE)
        origin, direction = rays(cam.K, cam.T, *size)
        t = ((half*direction.sign() - origin)/direction).amin(-1)                   # where the ray leaves the box
        torch.testing.assert_close(f.depth[..., 0].detach(), t, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(points.detach(), origin + t[..., None]*direction, rtol=1e-9, atol=1e-9)
        gradient, = torch.autograd.grad(f.depth.sum(), v)
        step = 1e-6
        for i, j in ((0, 0), (3, 1), (6, 2)):
            moved = [R.rasterize(Mesh(room.vertices + s*step*torch.eye(3, dtype=DOUBLE)[j]*(torch.arange(8) == i)[
                :, None], room.faces), cam, size, backend=backend).depth.sum() for s in (1, -1)]
            assert gradient[i, j].item() == pytest.approx(((moved[0] - moved[1])/(2*step)).item(), rel=1e-4, abs=1e-4)


# -------------------------------------------------- gradients

# two faces, one before the other
OVERLAP = torch.tensor([[-.6, -.5, .1], [.7, -.4, -.2], [0, .6, .3], [-.5, .5, .6], [.6, .6, .5], [.1, -.7, .4]],
                       dtype=DOUBLE)
TWO = torch.tensor([[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("kind", ["pinhole", "orthographic"])
def test_gradients_of_a_textured_picture(backend, kind):
    """Vertices, both matrices of the camera, places on the texture, the texture: finite differences at silhouette edges
    and where two faces overlap."""
    size, g = (6, 7), torch.Generator().manual_seed(0)
    cam, uv, texture = (camera(size, kind, azimuth=75.0, up="y"), torch.rand(6, 2, generator=g, dtype=DOUBLE)*0.8 + 0.1,
                        torch.rand(3, 4, 2, generator=g, dtype=DOUBLE))

    def picture(v, K, T, uv, texture):
        mesh, c = Mesh(v, TWO), R.Camera(K, T, cam.orthographic)
        p = R.render(mesh, c, size, R.lit(mesh, c, R.textured(mesh, uv, texture),
                                          torch.tensor([3., 3., 3.], dtype=DOUBLE)), sigma=1e-2, gamma=0.02,
                     depths=(1., 5.), backend=backend)
        return p.image.mul(torch.arange(1, 3)).sum(-1), p.alpha

    faces = R.rasterize(Mesh(OVERLAP, TWO), cam, size, 2).face
    assert (faces >= 0).all(-1).any()
    assert torch.autograd.gradcheck(picture, [x.clone().requires_grad_() for x in (OVERLAP, cam.K, cam.T, uv, texture)],
                                    eps=1e-6, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("backend", ENGINES)
def test_gradients_of_silhouettes_colours_depths_and_normals(backend):
    size = (7, 6)
    cam = camera(size, azimuth=75.0, up="y")

    def pictures(v, K, T, colours):
        mesh, c = Mesh(v, TWO), R.Camera(K, T)
        alpha = R.silhouette(mesh, c, size, 1e-2, backend=backend)
        f = R.rasterize(mesh, c, size, 2, 0.0, backend=backend)
        return (alpha, R.silhouette(mesh, c, size, 1e-2, 2, backend=backend), R.coloured(mesh, colours)(f).sum(-1),
                R.nearest_depth(f), R.normals(mesh)(f)[..., 0, :].sum(-1))

    assert torch.autograd.gradcheck(pictures, [x.clone().requires_grad_()
                                               for x in (OVERLAP, cam.K, cam.T, torch.rand(6, 2, dtype=DOUBLE))],
                                    eps=1e-6, atol=1e-5, rtol=1e-3)


def test_second_derivatives_of_the_torch_engine():
    v = OVERLAP[:3].clone().requires_grad_()
    alpha = lambda v: R.silhouette(Mesh(v, TWO[:1]), camera((3, 4)), (3, 4), 0.05, 1, backend="torch").sum()
    assert torch.autograd.gradgradcheck(alpha, [v], eps=1e-6, atol=1e-4)


# -------------------------------------------------- batches

@pytest.mark.parametrize("backend", ENGINES)
def test_batches_are_loops(backend):
    size, meshes = (12, 10), [soup(1, 12, 8), soup(2, 30, 25),
                              Mesh(torch.zeros(0, 3, dtype=DOUBLE), torch.zeros(0, 3, dtype=torch.long)),
                              soup(3, 9, 30)]
    many = R.pinhole(size, R.orbit(3.0, torch.tensor([0., 10., 20., 30.], dtype=DOUBLE),
                                   torch.tensor([0., 80., 160., 240.], dtype=DOUBLE)), 50.0)
    many = R.Camera(many.K*torch.linspace(0.8, 1.2, 4, dtype=DOUBLE)[:, None, None].clamp(min=0)
                    + 0*many.T[..., :3, :3], many.T)
    together = R.rasterize(meshes, many, size, 3, 0.05, backend=backend)
    values = [torch.rand(len(m.faces), 3, 2, dtype=DOUBLE) for m in meshes]
    mixed = R.interpolate(together, values)
    for i, mesh in enumerate(meshes):
        alone = R.rasterize(mesh, many[i], size, 3, 0.05, backend=backend)
        for a, b in zip(together, alone): torch.testing.assert_close(a[i], b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(mixed[i], R.interpolate(alone, values[i]))
    batch = torch.stack([meshes[1].vertices, meshes[1].vertices*0.7])[:, None]              # [2, 1] meshes, [3] cameras
    views = R.pinhole(size, R.orbit(3.0, 10.0, torch.tensor([0., 120., 240.], dtype=DOUBLE)), 50.0)
    grid = R.rasterize(Mesh(batch, meshes[1].faces), views, size, 2, 0.05, backend=backend)
    shared, own = torch.rand(25, 3, 2, dtype=DOUBLE), torch.rand(2, 3, 25, 3, 2, dtype=DOUBLE)
    for i, j in itertools.product(range(2), range(3)):
        alone = R.rasterize(Mesh(batch[i, 0], meshes[1].faces), views[j], size, 2, 0.05, backend=backend)
        for a, b in zip(grid, alone): torch.testing.assert_close(a[i, j], b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(R.interpolate(grid, shared)[i, j], R.interpolate(alone, shared))
        torch.testing.assert_close(R.interpolate(grid, own)[i, j], R.interpolate(alone, own[i, j]))
    assert R.silhouette(Mesh(batch, meshes[1].faces), views, size, backend=backend).shape == (2, 3, 12, 10)


def test_interpolate_by_both_engines():
    size, mesh = (8, 9), soup(4)
    values, f = torch.rand(len(mesh.faces), 3, 2, dtype=DOUBLE), R.rasterize(soup(4), camera(size), size, 3, 0.05)
    results = []
    for backend in ("auto", "torch"):
        w, x = f.weights.clone().requires_grad_(), values.clone().requires_grad_()
        out = R.interpolate(f._replace(weights=w), x, backend)
        results.append((out.detach(), *torch.autograd.grad((out*torch.linspace(0, 1, out.numel(),
                                                                               dtype=DOUBLE).view_as(out)).sum(),
                                                           (w, x))))
    for a, b in zip(*results): torch.testing.assert_close(a, b)


def test_two_threads_draw_the_same():
    mesh, size, before = soup(7, 60, 90, torch.float32), (40, 40), torch.get_num_threads()
    cam, results = camera(size, dtype=torch.float32), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            v = mesh.vertices.clone().requires_grad_()
            f = R.rasterize(Mesh(v, mesh.faces), cam, size, 4, 0.01)
            alpha = R.silhouette(Mesh(v, mesh.faces), cam, size, 1e-3)
            colours = R.interpolate(f, v[mesh.faces])
            results.append((f, alpha, torch.autograd.grad(alpha.sum() + colours.sum(), v)[0]))
    finally: torch.set_num_threads(before)
    (f, alpha, gradient), (g, beta, other) = results
    assert all(torch.equal(a, b) for a, b in zip(f, g)) and torch.equal(alpha, beta)
    torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


# -------------------------------------------------- softness

@pytest.mark.parametrize("size, total", [(64, 1576.0), (128, 6322.7)])
def test_the_silhouette_of_the_yardstick(size, total):
    "An icosphere of 5,120 faces as PyTorch3D 0.7.9 draws it with 25 faces a pixel (its azimuth is counted from z)."
    cam = R.pinhole((size, size), R.orbit(2.7, 10.0, 70.0, up="y"), 60.0)
    assert R.silhouette(sphere(), cam, (size, size), 1e-4, 25).sum().item() == pytest.approx(total, rel=3e-5)


def test_soft_formulas():
    "Equations 1, 2, 3 and 9 of Soft Rasterizer on fragments written by hand."
    inf = math.inf
    f = R.Fragments(torch.tensor([[[0, 1, -1]]]), torch.tensor([[[2.0, 3.0, inf]]], dtype=DOUBLE),
                    torch.zeros(1, 1, 3, 3, dtype=DOUBLE), torch.tensor([[[1e-3, -2e-3, inf]]], dtype=DOUBLE))
    sigma, gamma, near, far, epsilon = 1e-3, 0.05, 1.0, 5.0, 1e-10
    D = [1/(1 + math.exp(1)), 1/(1 + math.exp(-2))]
    assert R.soft_silhouette(f, sigma).item() == pytest.approx(1 - (1 - D[0])*(1 - D[1]))
    w = [D[0]*math.exp((5 - 2)/4/gamma), D[1]*math.exp((5 - 3)/4/gamma), math.exp(epsilon/gamma)]
    colours, background = torch.tensor([[[[1.0], [0.5], [9.0]]]], dtype=DOUBLE), torch.tensor([0.25], dtype=DOUBLE)
    assert R.softmax_blend(f, colours, sigma, gamma, background, near,
                           far).item() == pytest.approx((w[0]*1 + w[1]*0.5 + w[2]*0.25)/sum(w))
    assert R.hard_blend(f, colours).item() == 1.0


def test_soft_becomes_hard():
    "As sigma and gamma go to zero the soft picture becomes the z-buffer's, away from pixels that an edge almost meets."
    size, mesh = (24, 24), soup(5)
    cam, colours = camera(size), torch.rand(24, 3, dtype=DOUBLE)
    hard, soft = (R.render(mesh, cam, size, R.coloured(mesh, colours), sigma=s, gamma=1e-5, depths=(1., 6.))
                  for s in (0, 1e-9))
    clear = R.rasterize(mesh, cam, size, 12, 1.0).squared.abs().amin(-1) > 1e-6
    assert clear.float().mean() > 0.9
    torch.testing.assert_close(hard.image[clear], soft.image[clear], atol=1e-4, rtol=0)
    torch.testing.assert_close(hard.alpha[clear], soft.alpha[clear], atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", ENGINES)
def test_a_silhouette_of_all_faces(backend):
    "The same as with as many fragments as faces, value and gradient; and no holes where k is too small."
    mesh, size = soup(6), (15, 17)
    cam, results = camera(size), []
    for k in (None, len(mesh.faces)):
        v = mesh.vertices.clone().requires_grad_()
        alpha = R.silhouette(Mesh(v, mesh.faces), cam, size, 3e-3, k, backend=backend)
        results.append((alpha.detach(),
                        *torch.autograd.grad((alpha*torch.linspace(0, 1, alpha.numel(),
                                                                   dtype=DOUBLE).view_as(alpha)).sum(), v)))
    for a, b in zip(*results): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    ball, cam = sphere(3), R.pinhole((48, 48), R.orbit(2.7), 60.0)
    all_faces, few = (R.silhouette(ball, cam, (48, 48), 1e-3, k, backend=backend)[20:28, 20:28].min()
                      for k in (None, 3))
    assert all_faces > 0.99 > few


# -------------------------------------------------- colours and light

def test_texture_lookup():
    texture = torch.arange(12, dtype=DOUBLE).reshape(3, 4, 1)
    centres = torch.stack(torch.meshgrid((torch.arange(4).double() + 0.5)/4, 1 - (torch.arange(3).double() + 0.5)/3,
                                         indexing="xy"), -1)
    torch.testing.assert_close(R.sample_texture(texture, centres), texture)     # v upwards: the first row is at the top
    torch.testing.assert_close(R.sample_texture(texture, centres + torch.tensor([2.0, -1.0])), texture)  # it repeats
    seam = torch.tensor([[0.0, 1 - 0.5/3], [1.0, 1 - 0.5/3]], dtype=DOUBLE)
    # half way from the last column to the first
    assert R.sample_texture(texture, seam).flatten().tolist() == pytest.approx([1.5, 1.5])
    assert R.sample_texture(texture, seam, wrap=False).flatten().tolist() == pytest.approx([0.0, 3.0])
    assert R.sample_texture(texture, centres[:1, :2].mean(1)).item() == pytest.approx(0.5)
    batch = torch.stack([texture, texture + 100])
    assert torch.equal(R.sample_texture(batch, torch.stack([centres, centres]))[1],
                       R.sample_texture(texture, centres) + 100)


def test_a_textured_square():
    "A square that fills the image shows its texture, pixel for pixel."
    v = torch.tensor([[-1., -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=DOUBLE)
    mesh, uv, texture = (Mesh(v, torch.tensor([[0, 1, 2], [0, 2, 3]])),
                         torch.tensor([[0., 0], [1, 0], [1, 1], [0, 1]], dtype=DOUBLE),
                         torch.rand(6, 6, 3, dtype=DOUBLE))
    T = R.look_at(torch.tensor([0., 0., 2.], dtype=DOUBLE), torch.zeros(3, dtype=DOUBLE),
                  torch.tensor([0., 1., 0.], dtype=DOUBLE))
    picture = R.render(mesh, R.orthographic((6, 6), T, 2.0), (6, 6), R.textured(mesh, uv, texture), sigma=0)
    torch.testing.assert_close(picture.image, texture)
    assert (picture.alpha == 1).all()


def test_phong_by_hand():
    n, origin, eye = torch.tensor([0., 0., 1.]), torch.zeros(3), torch.tensor([0., 0., 5.])
    colour = lambda light, **o: R.phong(torch.tensor([0.5]), n, origin, eye, torch.tensor(light), **o).item()
    assert colour([0., 0., 3.]) == pytest.approx(0.5*(0.4 + 0.6) + 0.2)
    assert colour([0., 1., 1.], specular=0.0) == pytest.approx(0.5*(0.4 + 0.6/math.sqrt(2)))
    assert colour([0., 1., 1.], diffuse=0.0, shininess=2.0, distant=True) == pytest.approx(0.5*0.4 + 0.2*0.5)
    assert colour([0., 0., -3.]) == pytest.approx(0.5*0.4)


def test_spherical_harmonics_are_the_integral_over_the_sky():
    "Irradiance of a light of at most second order, summed over 400,000 directions."
    light = torch.randn(9, 2, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    sky = sphere_points(400_000, dtype=DOUBLE)
    x, y, z = sky.T
    one = torch.ones_like(x)
    basis = torch.stack([one*math.sqrt(1/(4*math.pi)), *(math.sqrt(3/(4*math.pi))*a for a in (y, z, x)),
                         *(math.sqrt(15/(4*math.pi))*a for a in (x*y, y*z)),
                         math.sqrt(5/(16*math.pi))*(3*z*z - 1), math.sqrt(15/(4*math.pi))*x*z,
                         math.sqrt(15/(16*math.pi))*(x*x - y*y)], -1)
    for n in sphere_points(5, dtype=DOUBLE):
        irradiance = ((sky @ n).clamp(min=0)[:, None]*(basis @ light)).mean(0)*4*math.pi
        torch.testing.assert_close(R.spherical_harmonics(n, light), irradiance/math.pi, rtol=2e-3, atol=2e-3)


def test_normals():
    ball = sphere(3, DOUBLE)
    torch.testing.assert_close(R.vertex_normals(ball), ball.vertices, atol=2e-2, rtol=0)
    size = (20, 20)
    cam = camera(size)
    f = R.rasterize(ball, cam, size)
    hit = f.face[..., 0] >= 0
    smooth, flat = R.normals(ball)(f)[hit], R.normals(ball, False)(f)[hit]
    torch.testing.assert_close(smooth.norm(dim=-1), torch.ones_like(smooth[..., 0]))
    assert ((smooth*flat).sum(-1) > 0.98).all()
    batch = R.vertex_normals(Mesh(torch.stack([ball.vertices, -ball.vertices]), ball.faces))
    torch.testing.assert_close(batch[1], batch[0])              # mirrored through the centre, the faces turn inside out


# -------------------------------------------------- cameras

def points():
    return torch.randn(11, 3, generator=torch.Generator().manual_seed(8), dtype=DOUBLE)*0.5


@pytest.mark.parametrize("kind", ["pinhole", "orthographic"])
@pytest.mark.parametrize("size", [(40, 40), (30, 50), (50, 30)])
def test_pytorch3d_convention(kind, size):
    "Rows times R plus T, x left, y up, focal lengths in NDC: as its documentation writes them; and the way back."
    cam = camera(size, kind)
    cam = R.Camera(cam.K + torch.tensor([[3., 0, 2.5], [0, 1, -1.5], [0, 0, 0]], dtype=DOUBLE), cam.T, cam.orthographic)
    p, x = R.to_pytorch3d(cam, size), points()
    view = x @ p["R"] + p["T"]
    ndc = p["focal_length"]*view[:, :2]/(1 if cam.orthographic else view[:, 2:]) + p["principal_point"]
    pixels, depth = cam.screen(x)
    torch.testing.assert_close(view[:, 2], depth)
    torch.testing.assert_close(-ndc, R.to_ndc(pixels, size))
    torch.testing.assert_close(R.from_ndc(R.to_ndc(pixels, size), size), pixels)
    back = R.from_pytorch3d(**{k: v[None] for k, v in zip(("R", "T", "focal_length", "principal_point"), p.values())},
                            size=size, orthographic=cam.orthographic)
    torch.testing.assert_close(back.K[0], cam.K)
    torch.testing.assert_close(back.T[0], cam.T)


@pytest.mark.parametrize("kind", ["pinhole", "orthographic"])
def test_opengl_convention(kind):
    "Clip space by hand: y up, w = -z of the eye, near and far at -1 and 1; and the way back."
    size, near, far = (30, 50), 0.5, 20.0
    cam = camera(size, kind)
    cam = R.Camera(cam.K + torch.tensor([[3., 0.7, 2.5], [0, 1, -1.5], [0, 0, 0]], dtype=DOUBLE),
                   cam.T, cam.orthographic)
    P, view = R.to_opengl(cam, size, near, far)
    x = points()
    eye = torch.cat([x, torch.ones(11, 1, dtype=DOUBLE)], 1) @ view.T
    clip = eye @ P.T
    clip = clip[:, :3]/clip[:, 3:]
    pixels, depth = cam.screen(x)
    torch.testing.assert_close(eye[:, 2], -depth)
    torch.testing.assert_close((clip[:, 0] + 1)/2*50, pixels[:, 0])
    torch.testing.assert_close((1 - clip[:, 1])/2*30, pixels[:, 1])
    for z, expected in ((near, -1.0), (far, 1.0)):
        q = torch.tensor([0., 0., -z, 1.], dtype=DOUBLE) @ P.T
        assert (q[2]/q[3]).item() == pytest.approx(expected)
    back = R.from_opengl(P, view, size)
    assert back.orthographic == cam.orthographic
    torch.testing.assert_close(back.K, cam.K)
    torch.testing.assert_close(back.T, cam.T)


def test_opencv_convention():
    "There the centre of the first pixel is (0, 0)."
    K, T = torch.tensor([[20., 0, 9.5], [0, 20, 7.5], [0, 0, 1]], dtype=DOUBLE), R.orbit(3.0, dtype=DOUBLE)
    cam = R.from_opencv(K, T[:3, :3], T[:3, 3])
    assert cam.screen(torch.zeros(1, 3, dtype=DOUBLE))[0][0].tolist() == [10.0, 8.0]
    for a, b in zip(R.to_opencv(cam), (K, T[:3, :3], T[:3, 3])): torch.testing.assert_close(a, b)
    with pytest.raises(PaperKitError, match="pinhole"): R.to_opencv(camera((4, 4), "orthographic"))


def test_orbits():
    from paper_kit.kit.rays import viewpoint
    for up in "yz":
        torch.testing.assert_close(R.orbit(3.0, 22.0, 35.0, up=up), viewpoint(35.0, 22.0, 3.0, up), atol=1e-6, rtol=0)
    target = torch.tensor([1., 2., 3.])
    T = R.orbit(2.0, torch.tensor([0., 45.]), torch.tensor([0., 90.]), target)
    torch.testing.assert_close(R.Camera(torch.eye(3), T).centre,
                               torch.tensor([[3., 2., 3.], [1., 2 + math.sqrt(2), 3 + math.sqrt(2)]]))
    azimuth = torch.tensor(20.0, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: R.orbit(2.0, 10.0, a), azimuth)
    assert abs(R.Camera(torch.eye(3, dtype=DOUBLE),
                        R.orbit(2.7, 10.0, torch.tensor([20.0], dtype=DOUBLE))).centre.norm().item() - 2.7) < 1e-12
    with pytest.raises(PaperKitError, match="axis"): R.orbit(1.0, up="x")
    big, small = camera((40, 60)), camera((20, 30))
    torch.testing.assert_close(small.resized(2).K, big.K)


@pytest.mark.parametrize("arguments, words", [(dict(size=(0, 4)), "no such image"), (dict(k=0), "no such image"),
                                              (dict(blur=-1.0), "no such image"),
                                              (dict(blur=math.nan), "no such image"),
                                              (dict(backend="metal"), "no such backend")])
def test_errors(arguments, words):
    with pytest.raises(PaperKitError, match=words): R.rasterize(soup(), camera((4, 4)), **{"size": (4, 4), **arguments})


def test_errors_of_types_and_lists():
    with pytest.raises(PaperKitError, match="do not fit together"):
        R.rasterize(soup(dtype=torch.float32), camera((4, 4)), (4, 4))
    cameras = R.pinhole((4, 4), R.orbit(3.0, torch.tensor([0., 10., 20.], dtype=DOUBLE)))
    with pytest.raises(PaperKitError, match="do not fit together"): R.rasterize([soup(), soup()], cameras, (4, 4))
    with pytest.raises(PaperKitError, match="do not fit together"):
        R.interpolate(R.rasterize(soup(), camera((4, 4)), (4, 4)), torch.zeros(18, 2, 2, dtype=DOUBLE))
    with pytest.raises(PaperKitError, match="extent"): R.orthographic((4, 4), torch.eye(4), 0.0)
    with pytest.raises(PaperKitError, match="cut"): R.rasterize(soup(), camera((4, 4)), (4, 4), near=0.0)
    with pytest.raises(PaperKitError, match="sigma"): R.silhouette(soup(), camera((4, 4)), (4, 4), 0.0)


# -------------------------------------------------- PyTorch3D

def documented_rasterize(meshes, image_size, blur_radius, faces_per_pixel, perspective_correct,
                         clip_barycentric_coords, cull_backfaces):
    """What PyTorch3D's documentation promises of rasterize_meshes, pixel by pixel: x left, y up, faces counted through
    the batch, -1 where none."""
    assert clip_barycentric_coords
    height, width = image_size
    results, start = [], 0
    for verts, faces in zip(*meshes):
        v = verts.detach().numpy()
        flat, short = v[:, :2], min(image_size)
        cam = R.Camera(torch.tensor([[-short/2, 0, width/2], [0, -short/2, height/2], [0, 0, 1.]], dtype=DOUBLE),
                       torch.eye(4, dtype=DOUBLE), not perspective_correct)
        world = verts.detach() if not perspective_correct else torch.cat([verts[:, :2]*verts[:, 2:], verts[:, 2:]],
                                                                         1).detach()
        found = naive(Mesh(world, faces), cam, image_size, faces_per_pixel, blur_radius, cull_backfaces)
        filled = torch.full((height, width, faces_per_pixel, 6), -1.0, dtype=DOUBLE)
        for row, column in itertools.product(range(height), range(width)):
            for j, (depth, f, weights, squared) in enumerate(found[row][column]):
                filled[row, column, j] = torch.tensor([f + start, depth, *weights, squared], dtype=DOUBLE)
        results.append(filled)
        start += len(faces)
    out = torch.stack(results)
    return out[..., 0].long(), out[..., 1], out[..., 2:5], out[..., 5]


@pytest.fixture
def stand_in(monkeypatch):
    "A stand-in that keeps to PyTorch3D's documented conventions."
    renderer, structures = types.ModuleType("pytorch3d.renderer.mesh"), types.ModuleType("pytorch3d.structures")
    renderer.rasterize_meshes, structures.Meshes = documented_rasterize, lambda verts, faces: (verts, faces)
    packages = [types.ModuleType("pytorch3d"), types.ModuleType("pytorch3d.renderer")]
    for m in (*packages, renderer, structures): monkeypatch.setitem(sys.modules, m.__name__, m)


@pytest.mark.parametrize("kind", ["pinhole", "orthographic"])
def test_pytorch3d_is_called_as_documented(stand_in, kind):
    "`backend='pytorch3d'` gives the native fragments."
    size, meshes = (7, 9), [soup(1, 12, 6), soup(2, 20, 10)]
    cam = camera(size, kind)
    ours, theirs = (R.rasterize(meshes, cam, size, 4, 0.03, cull=True, backend=b) for b in ("native", "pytorch3d"))
    assert (ours.face >= 0).sum() > 30
    assert torch.equal(ours.face, theirs.face)
    for a, b in zip(ours[1:], theirs[1:]): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sigma", [1e-2, 0])
def test_a_picture_is_the_same_whoever_rasterises(stand_in, sigma):
    "Alpha too, where more faces touch a pixel than the k nearest that are blended."
    size, mesh = (7, 9), soup(1, 30, 40)
    cam, colours = camera(size), torch.rand(30, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    draw = lambda backend: R.render(mesh, cam, size, R.coloured(mesh, colours), sigma=sigma, k=2, backend=backend)
    ours, theirs, plain = draw("native"), draw("pytorch3d"), draw("torch")
    for a, b, c in zip(ours, theirs, plain):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(a, c, rtol=1e-9, atol=1e-12)
    if not sigma: return
    torch.testing.assert_close(ours.alpha, R.silhouette(mesh, cam, size, sigma), rtol=1e-9, atol=1e-12)
    few = R.soft_silhouette(R.rasterize(mesh, cam, size, 2, R.blur_of(sigma)), sigma)
    assert ((ours.alpha - few).abs() > 0.01).float().mean() > 0.1


def test_the_faster_engine_is_chosen_by_the_clock(monkeypatch):
    import time
    real = R.rasterize
    def slow(*a, backend, **o):
        if backend == late: time.sleep(0.2)
        return real(*a, backend="torch", **o)
    monkeypatch.setattr(R, "rasterize", slow)
    for late, winner in (("torch", "pytorch3d"), ("pytorch3d", "torch")):
        assert R._fastest.__wrapped__(torch.device("cpu")) == winner


def test_parity_with_pytorch3d():
    "The real thing, where it is installed: fragments and gradients of the yardstick's sphere."
    pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed: no parity test with the real thing")
    ball, cam = sphere(), R.pinhole((64, 64), R.orbit(2.7, 10.0, 70.0, up="y"), 60.0)
    results = []
    for backend in ("native", "pytorch3d"):
        v = ball.vertices.clone().requires_grad_()
        f = R.rasterize(Mesh(v, ball.faces), cam, (64, 64), 25, R.blur_of(1e-4), backend=backend)
        results.append((f, torch.autograd.grad(R.soft_silhouette(f, 1e-4).sum(), v)[0]))
    (ours, gradient), (theirs, other) = results
    same = (ours.face == theirs.face).all(-1)
    assert same.float().mean() > 0.99
    for a, b in zip(ours[1:], theirs[1:]): torch.testing.assert_close(a[same], b[same], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(gradient, other, rtol=1e-2, atol=1e-2*float(other.abs().max()))
    shade = R.coloured(ball, (ball.vertices + 1)/2)
    a, b = (R.render(ball, cam, (64, 64), shade, backend=backend) for backend in ("native", "pytorch3d"))
    torch.testing.assert_close(a.alpha, b.alpha)
    assert ((a.image - b.image).abs().amax(-1) < 1e-3).float().mean() > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu():
    size, mesh = (33, 47), soup(1, 40, 60)
    cam = camera(size)
    for k, blur in ((1, 0.0), (5, 0.01)):
        here, there = (R.rasterize(mesh, cam, size, k, blur, backend="torch"),
                       R.rasterize(mesh.to("cuda"), cam.to("cuda"), size, k, blur, backend="native"))
        assert there.face.is_cuda and torch.equal(here.face, there.face.cpu())
        for a, b in zip(here[1:], there[1:]): torch.testing.assert_close(a, b.cpu(), rtol=1e-9, atol=1e-12)


def test_without_numba(monkeypatch):
    "Then the same pictures come from PyTorch alone."
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert R._native(torch.device("cpu")) == "torch"
    size = (9, 9)
    picture = R.render(soup(), camera(size), size, R.coloured(soup(), torch.rand(24, 3, dtype=DOUBLE)))
    monkeypatch.undo()
    assert picture.alpha.sum() > 0


# -------------------------------------------------- files, names, the exhibit

def write_textured(folder):
    from PIL import Image
    pixels = np.zeros((4, 8, 3), np.uint8); pixels[0, 0], pixels[3, 7] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(pixels).save(folder/"skin.png")
    (folder/"skin.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    (folder/"square.obj").write_text("mtllib skin.mtl\nusemtl skin\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt "
                                     "1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n")
    return folder/"square.obj"


def test_a_textured_file(tmp_path):
    "Read, and drawn as its image: the red pixel at the upper left, the blue one at the lower right."
    mesh, uv, texture = R.read_textured(write_textured(tmp_path), dtype=DOUBLE)
    assert (len(mesh.faces) == 2 and texture.shape == (4, 8, 3)
            and texture.dtype == uv.dtype == mesh.vertices.dtype == DOUBLE)
    T = R.look_at(torch.tensor([0., 0., 2.], dtype=DOUBLE), torch.zeros(3, dtype=DOUBLE),
                  torch.tensor([0., 1., 0.], dtype=DOUBLE))
    K = torch.tensor([[4., 0, 4], [0, 2, 2], [0, 0, 1]], dtype=DOUBLE)
    torch.testing.assert_close(R.render(mesh, R.Camera(K, T, True), (4, 8), R.textured(mesh, uv, texture),
                                        sigma=0).image, texture)
    assert R.read_textured(tmp_path/"square.obj", largest=4).texture.shape == (2, 4, 3)


def test_textured_files_that_are_not(tmp_path):
    with pytest.raises(PaperKitError, match="no such mesh"): R.read_textured(tmp_path/"none.obj")
    (tmp_path/"plain.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(PaperKitError, match="no texture"): R.read_textured(tmp_path/"plain.obj")
    (tmp_path/"broken.obj").write_bytes(b"\x00\x01 no mesh")
    with pytest.raises(PaperKitError): R.read_textured(tmp_path/"broken.obj")
    lost = write_textured(tmp_path); (tmp_path/"skin.png").unlink()
    with pytest.raises(PaperKitError, match="no texture|cannot be read"): R.read_textured(lost)


def test_one_import_serves_for_rays_too():
    from paper_kit.kit import rays as other
    assert all(getattr(R, name) is getattr(other, name) and name in R.__all__ for name in other.__all__)


def test_a_place_is_found_from_near():
    """Forty steps of soft silhouettes bring a box that is turned by 23 degrees and moved back to a picture of it with
    hard edges."""
    import trimesh
    from paper_kit.kit.geometry import axis_angle_to_matrix
    box, size = from_trimesh(trimesh.creation.box((1.0, 0.7, 0.4))), (32, 32)
    cam = R.pinhole(size, R.orbit(2.5, 30.0, 40.0), 50.0)
    goal = (R.rasterize(box, cam, size).face[..., 0] >= 0).float()
    angle, t = torch.tensor(0.4, requires_grad=True), torch.tensor([0.1, -0.1, 0.1], requires_grad=True)
    optimizer = torch.optim.Adam([angle, t], lr=0.03)
    for sigma in [1e-3]*25 + [1e-4]*15:
        turn = axis_angle_to_matrix(angle*torch.tensor([0., 0., 1.]))
        loss = (R.silhouette(Mesh(box.vertices @ turn.mT + t, box.faces), cam, size, sigma) - goal).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    assert abs(angle) < 0.08 and t.norm() < 0.06, (angle, t)


@pytest.mark.browser
def test_the_exhibit_draws_what_the_renderer_draws(browser, tmp_path):
    "In a browser, light and narrow: no error, the picture's pixels are those of this module, Descend descends."
    exhibit = R.exhibit()
    scene = R._exhibit_scene()
    file = exhibit.save(tmp_path, "exhibit")[0]
    for width in (900, 390):
        page, problems = browser.new_page(viewport={"width": width, "height": 900}), []
        page.on("pageerror", lambda e: problems.append(str(e)))
        page.goto(file.as_uri())
        page.wait_for_selector("body[data-ready]")
        n = scene["pixels"]
        middle = page.evaluate("""() => { const c = document.querySelector('#picture'), s = c.width, p = (x, y) => [...c.getContext('2d').getImageData(Math.round((x + 1)/2*s), Math.round((y + 1)/2*s), 1, 1).data].slice(0, 3);
          return [p(-0.3, 0.3), p(0.4, -0.1), p(0.9, 0.9)]; }""")
        figure = R._exhibit_picture(scene)
        image = np.asarray(figure.axes[0].images[0].get_array())*255
        for (x, y), colour in zip(((-0.3, 0.3), (0.4, -0.1), (0.9, 0.9)), middle):
            np.testing.assert_allclose(image[int((y + 1)/2*n), int((x + 1)/2*n)], colour, atol=2)
        says = lambda: float(page.inner_text("#says").split()[4].rstrip(","))
        first = says()
        page.click("#descend")
        from helpers import eventually
        assert eventually(page, lambda: says() < 0.7*first)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and not problems
        page.close()
