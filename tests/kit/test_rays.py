"""Depth maps, sphere tracing and pictures against closed forms and trimesh's ray casting."""
import math

import numpy as np
import pytest
import torch
import trimesh

from paper_kit.kit import rays as r
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import intrinsics, invert, look_at, project, rays, unproject
from paper_kit.kit.mesh import Mesh, from_trimesh

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def ball(x, radius=0.5): return x.norm(dim=-1) - radius


def to_sphere(origin, direction, radius):
    """Depth (in units of the directions) of the first meeting with the sphere, NaN for rays that pass, and how far they
    pass it."""
    a, b, c = (direction**2).sum(-1), (origin*direction).sum(-1), (origin**2).sum(-1) - radius**2
    root = b**2 - a*c
    return torch.where(root >= 0, (-b - root.clamp(min=0).sqrt())/a,
                       float("nan")), (origin - (b/a)[..., None]*direction).norm(dim=-1) - radius


# cameras

@both
def test_viewpoints_look_at_the_origin(dtype):
    for up, axis in (("z", 2), ("y", 1)):
        for azimuth, elevation in ((0, 0), (35, 22), (200, -60)):
            T = r.viewpoint(azimuth, elevation, 2.5, up, dtype=dtype)
            eye = invert(T)[:3, 3]
            pixel, z = project(torch.zeros(1, 3, dtype=dtype), intrinsics(10, 20, dtype=dtype), T)
            assert T.dtype == dtype and abs(eye.norm() - 2.5) < 1e-5 and abs(z.item() - 2.5) < 1e-5
            assert torch.allclose(pixel, pixel.new_tensor([[10., 5.]]), atol=1e-4)
            assert abs(math.degrees(math.asin(eye[axis]/2.5)) - elevation) < 1e-3
            above, _ = project(0.1*torch.eye(3, dtype=dtype)[axis:axis + 1], intrinsics(10, 20, dtype=dtype), T)
            assert above[0, 1] < pixel[0, 1]                                                   # up is up in the picture
    assert torch.allclose(invert(r.viewpoint(0, 0))[:3, 3], torch.tensor([3., 0, 0]), atol=1e-6)
    with pytest.raises(PaperKitError, match="'z' or 'y'"): r.viewpoint(up="x")


# depth maps

@both
@pytest.mark.parametrize("turned", [False, True])
def test_depth_of_a_slanted_plane(dtype, turned):
    """z = 2 + x/2 + y/4 in camera coordinates, wider than the picture, so every pixel sees it; both orders of the
    corners."""
    plane = lambda x, y: [x, y, 2 + x/2 + y/4]
    corners = torch.tensor([plane(*c) for c in ((-1.6, -1.6), (1.6, -1.6), (1.6, 1.6), (-1.6, 1.6))], dtype=dtype)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    K, T = intrinsics(12, 16, 40., dtype=dtype), torch.eye(4, dtype=dtype)
    depth, face = r.depth_map(Mesh(corners, faces.flip(1) if turned else faces), K, T, 12, 16)
    d = rays(K, T, 12, 16)[1]
    torch.testing.assert_close(depth, 2/(1 - d[..., 0]/2 - d[..., 1]/4), rtol=1e-5, atol=1e-5)
    assert depth.dtype == dtype and set(face.unique().tolist()) == {0, 1}


@both
def test_depth_of_a_sphere(dtype):
    mesh = from_trimesh(trimesh.creation.icosphere(5, 0.6), dtype=dtype)
    K, T = intrinsics(40, 40, 42., dtype=dtype), look_at(torch.tensor([2., -1.5, 1.], dtype=dtype),
                                                         torch.zeros(3, dtype=dtype))
    depth, face = r.depth_map(mesh, K, T, 40, 40)
    wanted, gap = to_sphere(*rays(K, T, 40, 40), 0.6)
    clear = gap.abs() > 0.005
    assert ((depth > 0) == (gap < 0))[clear].all() and ((depth > 0) == (face >= 0)).all()
    inner = gap < -0.02
    assert (depth - wanted)[inner].abs().max() < 4e-3 and inner.sum() > 200


def test_depth_agrees_with_trimesh():
    "A tangle of two tori and a box: nearest faces and depths of a ray caster that works quite otherwise."
    pytest.importorskip("rtree", reason="trimesh.ray needs rtree")
    turn = trimesh.transformations.rotation_matrix(1.1, [1, 0.3, 0.2])
    tangle = trimesh.util.concatenate([trimesh.creation.torus(0.6, 0.15),
                                       trimesh.creation.torus(0.6, 0.15).apply_transform(turn),
                                       trimesh.creation.box((0.5, 0.4, 0.3))])
    mesh = from_trimesh(tangle, dtype=torch.float64)
    K, T = intrinsics(36, 48, 38., dtype=torch.float64), r.viewpoint(70, -30, 2.7, dtype=torch.float64)
    depth, face = r.depth_map(mesh, K, T, 36, 48)
    origin, direction = rays(K, T, 36, 48)
    d = direction.reshape(-1, 3).numpy()
    triangles, hit = tangle.ray.intersects_id(np.broadcast_to(origin.numpy(), d.shape), d, multiple_hits=False,
                                              return_locations=False)
    first = np.full(len(d), -1)
    first[hit] = triangles
    same = face.flatten().numpy() == first
    assert same.mean() > 0.995 and (first >= 0).sum() > 300                       # a pixel on an edge may choose either
    n, a = (torch.from_numpy(np.ascontiguousarray(x))
            for x in (tangle.face_normals[first], tangle.vertices[tangle.faces[first, 0]]))
    wanted = ((a - origin)*n).sum(1)/(direction.view(-1, 3)*n).sum(1)
    both_hit = torch.from_numpy(same & (first >= 0))
    torch.testing.assert_close(depth.flatten()[both_hit], wanted[both_hit], rtol=1e-9, atol=1e-9)


def test_no_pinholes_between_faces():
    "A closed mesh fills its outline: pixels of a sphere's disc are all covered, whatever the subdivision."
    for detail in (1, 3, 5):
        mesh = from_trimesh(trimesh.creation.icosphere(detail, 0.7), dtype=torch.float32)
        K, T = intrinsics(64, 64, 42.), r.viewpoint(17, 41)
        covered = r.depth_map(mesh, K, T, 64, 64)[0] > 0
        assert covered[to_sphere(*rays(K, T, 64, 64), 0.55)[1] < 0].all()


def test_what_is_behind_is_not_seen():
    mesh = Mesh(torch.tensor([[-9., -9, -1], [9, -9, -1], [0, 9, -1], [-9., -9, 5], [9, -9, 5], [0, 9, -1]]),
                torch.tensor([[0, 1, 2], [3, 4, 5]]))
    depth, face = r.depth_map(mesh, intrinsics(8, 8), torch.eye(4), 8, 8)
    assert (depth == 0).all() and (face == -1).all()
    flat = Mesh(torch.tensor([[0., 0, 2], [1, 0, 2], [2, 0, 2]]), torch.tensor([[0, 1, 2]]))       # a face without area
    assert (r.depth_map(flat, intrinsics(8, 8), torch.eye(4), 8, 8)[1] == -1).all()
    with pytest.raises(PaperKitError, match="one mesh"):
        r.depth_map(Mesh(torch.zeros(2, 3, 3), torch.tensor([[0, 1, 2]])), intrinsics(8, 8), torch.eye(4), 8, 8)


def test_depth_is_differentiable_in_the_vertices():
    v = torch.tensor([[-1., -1, 2], [1.2, -1, 2.5], [0, 1.3, 3]], dtype=torch.float64, requires_grad=True)
    K, T, faces = intrinsics(9, 9, dtype=torch.float64), torch.eye(4, dtype=torch.float64), torch.tensor([[0, 1, 2]])
    hit = r.depth_map(Mesh(v, faces), K, T, 9, 9)[1] >= 0
    assert (torch.autograd.gradcheck(lambda x: r.depth_map(Mesh(x, faces), K, T, 9, 9)[0][hit], v, eps=1e-7, atol=1e-5)
            and hit.sum() > 5)


# fields

@both
@pytest.mark.parametrize("longest", [0.1, math.inf])
def test_tracing_meets_the_sphere(dtype, longest):
    origin, direction = rays(intrinsics(40, 40, 45., dtype=dtype),
                             look_at(torch.tensor([0., 3., 0.5], dtype=dtype), torch.zeros(3, dtype=dtype)), 40, 40)
    x, met, count = r.sphere_trace(ball, origin, direction, longest, 300, 1e-4)
    wanted, gap = to_sphere(origin, direction, 0.5)
    assert (met == (gap < 0))[gap.abs() > 0.01].all() and x.dtype == dtype
    assert ball(x[met]).abs().max() < 2e-4
    far_in = gap < -0.05
    assert (x - origin - wanted[..., None]*direction)[far_in].abs().max() < 1e-3
    torch.testing.assert_close(r.field_normals(ball, x[met]), torch.nn.functional.normalize(x[met], dim=-1),
                               atol=1e-5, rtol=0)
    outside = ((origin + direction*(-(origin*direction).sum(-1)/direction.square().sum(-1))[..., None]).norm(dim=-1)
               > 1.06)
    # rays that miss the bound cost nothing
    assert outside.any() and (count[outside] == 0).all() and (count[far_in] > 0).all()


def test_steps_are_no_longer_than_believed():
    asked = []
    def field(x): asked.append(x); return ball(x, 0.3)
    x, met, count = r.sphere_trace(field, torch.tensor([0., 0, 3]), torch.tensor([[0., 0, -2]]), 0.2, bound=1.0)
    z = torch.cat(asked)[:, 2]
    assert met.item() and z[0].item() == pytest.approx(1.0) and count.item() == len(z)
    assert (z[:-1] - z[1:]).max() <= 0.2 + 1e-6 and count > r.sphere_trace(ball, torch.tensor([0., 0, 3]),
                                                                           torch.tensor([[0., 0, -2]]))[2]
    # looking away
    assert not r.sphere_trace(lambda x: ball(x, 0.3), torch.tensor([0., 0, 3]), torch.tensor([[0., 0, 2]]))[1].item()


def test_both_ways_of_seeing_agree():
    "The mesh of a torus by z-buffer, and its field by tracing."
    from paper_kit.kit.voxels import grid_points, marching_cubes
    def field(p): return torch.stack([p[..., :2].norm(dim=-1) - 0.6, p[..., 2]], -1).norm(dim=-1) - 0.25
    K, T = intrinsics(32, 32, 42.), r.viewpoint(10, 50)
    depth, _ = r.depth_map(marching_cubes(field(grid_points(96))), K, T, 32, 32)
    x, met, _ = r.sphere_trace(field, *rays(K, T, 32, 32), steps=200, close=1e-4)
    assert (met == (depth > 0)).double().mean() > 0.98
    gap = (x - unproject(depth, K, T))[met & (depth > 0)].norm(dim=-1)
    assert gap.median() < 1e-3 and gap.quantile(0.95) < 0.02


# pictures

def test_shading():
    n = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    view = torch.tensor([0., 0, 1]).expand_as(n)
    assert torch.equal(r.shade(n, view), r.shade(-n, view))                            # both sides of a surface are lit
    assert torch.allclose(r.shade(n, view, "normal"), (n + 1)/2)
    lamp = torch.nn.functional.normalize(torch.tensor([-0.4, 0.3, 1.8]), dim=-1)
    assert r.shade(n, view).max() <= r.shade(lamp[None], view[:1]).max() <= 1
    with pytest.raises(PaperKitError, match="lamp, normal"): r.shade(n, view, "fog")


@pytest.mark.parametrize("colour", ["lamp", "normal"])
def test_pictures_of_mesh_and_field(colour):
    mesh = from_trimesh(trimesh.creation.icosphere(4, 0.5), dtype=torch.float32)
    drawn, traced = (r.mesh_picture(mesh, size=40, colour=colour),
                     r.field_picture(ball, size=40, colour=colour, smooth=2))
    assert drawn.shape == traced.shape == (40, 40, 3) and drawn.min() >= 0 and drawn.max() <= 1
    assert np.abs(drawn - traced).mean() < 0.01 and (drawn[0, 0] == 1).all() and (drawn[20, 20] < 1).any()
    assert (r.field_picture(lambda x: 0*x[:, 0] + 1, size=8) == 1).all()                                # nothing to see


# gradients at the hit

def test_trace_is_implicitly_differentiated():
    """Against finite differences of the exact meeting point with an ellipsoid: field, origin and direction; nothing
    where nothing is met."""
    axes = torch.tensor([0.5, 0.7, 0.4], dtype=torch.float64)

    def ellipsoid(axes): return lambda x: ((x/axes).norm(dim=-1) - 1)*0.4       # no distance, but never too long a step

    origin = torch.tensor([2., 0.1, -0.2], dtype=torch.float64)
    direction = torch.tensor([[-1., 0., 0.], [-2., 0.5, 0.3], [-1., 0.2, 0.1], [-1., 3., 0.]], dtype=torch.float64)

    def points(axes, origin, direction):
        hits = r.trace(ellipsoid(axes), origin, direction, close=1e-12, steps=400, longest=0.3)
        return hits.points[:3], hits.distance[:3]

    assert r.trace(ellipsoid(axes), origin, direction, close=1e-12, steps=400).met.tolist() == [True, True, True, False]
    inputs = [x.clone().requires_grad_() for x in (axes, origin, direction)]
    assert torch.autograd.gradcheck(points, inputs, eps=1e-6, atol=1e-5)


def test_trace_where_nothing_is_met_or_the_surface_is_grazed():
    radius = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    origin = torch.tensor([2., 0., 0.], dtype=torch.float64)
    direction = torch.tensor([[-2., 5., 0.], [-math.sqrt(3.75), 0.5*0.9999999, 0.]], dtype=torch.float64)
    hits = r.trace(lambda x: x.norm(dim=-1) - radius, origin, direction, steps=2000, close=1e-6, grazing=0.1)
    assert hits.met.tolist() == [False, True]
    assert torch.equal(torch.autograd.grad(hits.distance.sum() + hits.points.sum(), radius)[0], radius.detach()*0)
    hit = r.trace(lambda x: x.norm(dim=-1) - 0.5, origin, torch.tensor([[-1., 0., 0.]], dtype=torch.float64),
                  close=0.05)
    assert abs(hit.distance.item() - 1.5) < 1e-9                                   # one Newton step on a straight field


# volumes

@both
def test_composites(dtype):
    g = torch.Generator().manual_seed(0)
    colours, alpha = torch.rand(3, 7, 2, generator=g, dtype=dtype), torch.rand(3, 7, generator=g, dtype=dtype)
    alpha[0, 3] = 1.0
    colour, kept = torch.zeros(3, 2, dtype=dtype), torch.ones(3, dtype=dtype)
    for i in range(7):
        colour, kept = colour + (kept*alpha[:, i])[:, None]*colours[:, i], kept*(1 - alpha[:, i])
    seen = r.composite_alpha(colours, alpha)
    torch.testing.assert_close(seen.colour, colour); torch.testing.assert_close(seen.alpha, 1 - kept)
    assert (seen.weights[0, 4:] == 0).all()
    density, lengths = torch.rand(3, 7, generator=g, dtype=dtype)*5, torch.rand(3, 7, generator=g, dtype=dtype)
    fog = r.composite_density(colours, density, lengths)
    for a, b in zip(fog, r.composite_alpha(colours, 1 - torch.exp(-density*lengths))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_composite_gradients():
    g = torch.Generator().manual_seed(1)
    colours, x = (torch.rand(2, 4, 3, generator=g, dtype=torch.float64, requires_grad=True),
                  torch.rand(2, 4, generator=g, dtype=torch.float64))
    assert torch.autograd.gradcheck(r.composite_alpha, [colours, x.clone().requires_grad_()])
    assert torch.autograd.gradcheck(r.composite_density,
                                    [colours, x.clone().requires_grad_(), (x + 0.1).requires_grad_()])
    wall = torch.tensor([[1., 1., 0.5, 0.]], dtype=torch.float64, requires_grad=True)       # opaque twice: still finite
    r.composite_alpha(torch.ones(1, 4, 1, dtype=torch.float64), wall).colour.sum().backward()
    assert torch.isfinite(wall.grad).all()
    dense = torch.tensor([[1e4, 3.0]], dtype=torch.float32, requires_grad=True)
    r.composite_density(torch.ones(1, 2, 1), dense, torch.ones(1, 2)).colour.sum().backward()
    assert torch.isfinite(dense.grad).all()


# planes

def two_cameras():
    K = torch.tensor([[40., 0, 16], [0, 42., 12], [0, 0, 1]], dtype=torch.float64)
    T = look_at(torch.tensor([0.2, -3., 0.1], dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    T_to = look_at(torch.tensor([0.5, -2.6, 0.3], dtype=torch.float64),
                   torch.tensor([0.1, 0., 0.], dtype=torch.float64))
    K_to = torch.tensor([[35., 0, 15], [0, 35., 13], [0, 0, 1]], dtype=torch.float64)
    return K, T, K_to, T_to


def test_homographies_map_points_of_the_planes():
    K, T, K_to, T_to = two_cameras()
    depths = torch.tensor([2., 3., 5.], dtype=torch.float64)
    pixels = torch.tensor([[3., 4.], [20., 9.], [30., 20.]], dtype=torch.float64)
    H = r.plane_homography(K, T, depths, K_to, T_to)
    for d, h in zip(depths, H):
        rays_of = torch.cat([pixels, torch.ones(3, 1, dtype=torch.float64)], 1) @ torch.linalg.inv(K).mT
        world = (d*rays_of - T[:3, 3]) @ T[:3, :3]
        there, z = project(world, K_to, T_to)
        back = torch.cat([there, torch.ones(3, 1, dtype=torch.float64)], 1) @ h.mT
        assert (z > 0).all() and (back[:, 2] > 0).all()
        torch.testing.assert_close(back[:, :2]/back[:, 2:], pixels)
    away = look_at(torch.tensor([0.2, -3., 0.1], dtype=torch.float64),
                   torch.tensor([0.2, -9., 0.1], dtype=torch.float64))
    # looks the other way
    assert ((torch.tensor([15., 13., 1.], dtype=torch.float64)
             @ r.plane_homography(K, T, depths, K_to, away).mT)[..., 2] < 0).all()


def test_multiplane_images():
    K, T, K_to, T_to = two_cameras()
    g, size = torch.Generator().manual_seed(0), (24, 32)
    colours, alpha = (torch.rand(3, *size, 2, generator=g, dtype=torch.float64),
                      torch.rand(3, *size, generator=g, dtype=torch.float64))
    depths = torch.tensor([2., 3., 5.], dtype=torch.float64)
    here = r.multiplane(colours, alpha, depths, K, T, K, T, size)            # from where it was made: plain composition
    for a, b in zip(here, r.composite_alpha(colours.movedim(0, -2), alpha.movedim(0, -1))):
        torch.testing.assert_close(a, b)
    turned = torch.eye(4, dtype=torch.float64); turned[0, 0] = turned[2, 2] = -1
    behind = r.multiplane(colours, alpha, depths, K, T, K, turned @ T, size)
    assert (behind.alpha == 0).all()
    both_views = r.multiplane(colours, alpha, depths, K, T, torch.stack([K_to, K]), torch.stack([T_to, T]), size)
    torch.testing.assert_close(both_views.colour[1], here.colour)
    torch.testing.assert_close(both_views.colour[0],
                               r.multiplane(colours, alpha, depths, K, T, K_to, T_to, size).colour)
    with pytest.raises(PaperKitError, match="no planes"):
        r.multiplane(colours, alpha, depths.flip(0), K, T, K_to, T_to, size)


def test_a_plane_in_space():
    """A picture on one plane, as linear in x and y as bilinear lookup is: the other camera sees the same function of
    the plane's points."""
    K, T, K_to, T_to = two_cameras()
    size, depth = (24, 32), 3.0
    rows, columns = torch.meshgrid(torch.arange(24) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    image = torch.stack([columns, rows], -1).double()
    seen = r.multiplane(image[None], torch.ones(1, *size, dtype=torch.float64),
                        torch.tensor([depth], dtype=torch.float64), K, T, K_to, T_to, size)
    origin, direction = rays(K_to, T_to, *size)
    o, d = T[2, :3] @ origin + T[2, 3], direction @ T[2, :3]
    world = origin + ((depth - o)/d)[..., None]*direction
    pixels, _ = project(world.reshape(-1, 3), K, T)
    pixels = pixels.reshape(*size, 2)
    inside = ((pixels > 0.5) & (pixels < torch.tensor([31.5, 23.5]))).all(-1)
    assert inside.float().mean() > 0.4
    torch.testing.assert_close(seen.colour[inside], pixels[inside], rtol=1e-9, atol=1e-9)


def test_multiplane_gradients():
    K, T, K_to, T_to = two_cameras()
    g, depths = torch.Generator().manual_seed(3), torch.tensor([2.5, 4.], dtype=torch.float64, requires_grad=True)
    colours, alpha = (torch.rand(2, 24, 32, 1, generator=g, dtype=torch.float64),
                      torch.rand(2, 24, 32, generator=g, dtype=torch.float64))
    move = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def seen(depths, move):
        lift = torch.zeros(4, 4, dtype=torch.float64)
        lift[:3, 3] = move
        return r.multiplane(colours, alpha, depths, K, T, K_to/torch.tensor([[4.], [4.], [1.]], dtype=torch.float64),
                            T_to + lift, (6, 8)).colour

    assert torch.autograd.gradcheck(seen, [depths, move], eps=1e-7, atol=1e-5)
    small, kept = colours[:, :5, :5].clone().requires_grad_(), alpha[:, :5, :5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda c, a: r.multiplane(c, a, depths.detach(), K, T, K, T_to, (4, 4)).colour,
                                    [small, kept])
