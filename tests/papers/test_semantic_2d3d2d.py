"""Semantic correspondence by a 2D-3D-2D cycle: published counts, soft labels, losses, transfer, refinement, visibility,
matchers, the world, loaders, predicates that can fail."""
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from paper_kit.kit.datasets import source
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.mesh import Mesh
from paper_kit.kit.nn import parameter_count
from paper_kit.kit.render import Camera, silhouette
from paper_kit.shape3d import semantic_2d3d2d as paper
from paper_kit.shape3d.semantic_2d3d2d import DOMAINS, predicates
from paper_kit.shape3d.worlds import build, family, sample_family
from helpers import varied


def generator(seed=0): return torch.Generator().manual_seed(seed)


def cube(half=0.3, centre=(0, 0, 0)):
    v = (torch.tensor([[x, y, z] for x in (-1., 1) for y in (-1., 1) for z in (-1., 1)])*half
         + torch.tensor(centre, dtype=torch.float32))
    f = torch.tensor([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6],
                      [0, 6, 4], [1, 5, 7], [1, 7, 3]])
    return Mesh(v, f)


# published sizes

def test_counts_are_the_published_ones():
    assert parameter_count(paper.head(512, 8, 36)) == 5_413_540
    assert parameter_count(paper.voxel_decoder()) == 17_699_745
    assert parameter_count(paper.Encoder()) == 11_176_512
    assert sum(p.numel() for n, p in paper.PointEmbedding().named_parameters()
               if n.startswith("last.0.0")) == 1088*512 + 512, "1088 to 512 channels a point"


def test_the_gpu_configuration_is_the_published_one():
    s = paper.SIZES["gpu"]
    net = paper.SketchNet(s["size"], **s["sketch"]["model"])
    sketch, view = net.eval()(torch.rand(1, 3, 256, 256, generator=generator()))
    assert (sketch.normal.shape == (1, 3, 256, 256) and sketch.depth.shape == sketch.silhouette.shape == (1, 256, 256)
            and sketch.span.shape == (1, 2))
    assert view.azimuth.shape == (1, 24) and view.polar.shape == (1, 12) and torch.allclose(view.azimuth.exp().sum(),
                                                                                            torch.tensor(1.0),
                                                                                            atol=1e-5)
    assert (parameter_count(paper.VoxelNet(**s["voxels"]["model"])) > 28e6
            and parameter_count(paper.Critic(s["critic"]["channels"])) > 1e6)
    assert s["resolution"] == 128 == 4*2**len(s["voxels"]["model"]["channels"]) and s["numbers"]["level"] == 0.1


def test_narrow_networks_have_the_same_shapes():
    for pool in (True, False):
        net = paper.SketchNet(64, 4, pool).eval()
        x = torch.rand(3, 3, 64, 64, generator=generator())
        sketch, view = net(x)
        some, all_views = net(x, drawn=2)
        assert (sketch.normal.shape == (3, 3, 64, 64) and some.depth.shape == (2, 64, 64)
                and torch.equal(all_views.azimuth, view.azimuth))
    logits, view = paper.VoxelNet(4, (8, 8)).eval()(torch.rand(2, 4, 32, 32))
    assert logits.shape == (2, 16, 16, 16) and view.polar.shape == (2, 12)


# labels

def test_labels_by_hand():
    assert torch.allclose(paper.azimuth_labels(torch.tensor(7.5))[0], torch.tensor(1.0)), "the first centre"
    seam = paper.azimuth_labels(torch.tensor(0.0))
    assert torch.allclose(seam[[0, 23]], torch.tensor([0.5, 0.5])) and seam.sum() == 1
    assert torch.allclose(paper.azimuth_labels(torch.tensor(18.75))[[0, 1]], torch.tensor([0.25, 0.75]))
    polar = paper.polar_labels(torch.tensor([0.0, 180.0, 90.0]))
    assert polar[0, 0] == 1 and polar[1, 11] == 1 and torch.allclose(polar[2, [5, 6]], torch.tensor([0.5, 0.5]))


def test_encode_and_decode_are_inverse_for_all_angles():
    angles = torch.arange(0, 360, 0.1, dtype=torch.float64)
    assert paper.azimuth_error(paper.decode_azimuth(paper.azimuth_labels(angles)), angles).max() < 0.05
    assert (paper.decode_polar(paper.polar_labels(angles/2)) - angles/2).abs().max() < 1e-9
    assert torch.allclose(paper.azimuth_labels(angles + 360), paper.azimuth_labels(angles), atol=1e-9)


def test_divergence_is_zero_at_the_label_and_positive_elsewhere():
    a, p = torch.tensor([30.0, 359.0]), torch.tensor([80.0, 10.0])
    exact = paper.View(paper.azimuth_labels(a).clamp(min=1e-12).log(), paper.polar_labels(p).clamp(min=1e-12).log())
    assert abs(float(paper.divergence(exact, a, p))) < 1e-6 and paper.divergence(exact, a + 40, p) > 0.1


# losses

def test_contrastive_by_hand():
    e = torch.tensor([[0., 0], [0.6, 0], [0.3, 0.4], [5., 5]])
    # equal: (0, 1) squared 0.36; unequal: (0, 2) at 0.5 and (1, 2) at 0.5 -> 0.25 each, the hardest one is kept
    assert math.isclose(float(paper.contrastive(e, torch.tensor([0, 0, 1, 2]))), (0.36 + 0.25)/2, rel_tol=1e-5)
    with pytest.raises(PaperKitError, match="nothing to bring together"): paper.contrastive(e, torch.arange(4))


def test_gradient_penalty_of_a_linear_critic():
    class Linear(torch.nn.Module):
        def forward(self, x): return (x*w).flatten(1).sum(1)
    w = torch.full((2, 2, 2), 3/math.sqrt(8))
    assert math.isclose(float(paper.gradient_penalty(Linear(), torch.rand(4, 2, 2, 2), torch.rand(4, 2, 2, 2),
                                                     generator())), 4.0, rel_tol=1e-5), "(3 - 1)^2"


def test_sketch_loss_counts_normals_only_on_the_object():
    mask = torch.zeros(1, 4, 4); mask[0, 1:3, 1:3] = 1
    truth = paper.Sketch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4), mask, torch.tensor([[1.8, 2.6]]))
    view = paper.as_view(torch.zeros(1, 36))
    off = truth._replace(normal=(1 - mask)[:, None].expand(1, 3, 4, 4)*5)
    found = paper.sketch_loss(off, view, truth, torch.tensor([0.]), torch.tensor([90.]))
    assert (found["normal"] == 0 and found["depth"] == 0 and found["silhouette"] == 0 and found["span"] == 0
            and found["view"] > 0)


def test_true_sketch_scales_depth_between_its_ends():
    depth = torch.zeros(1, 2, 2); depth[0, 0] = torch.tensor([2.0, 3.0])
    sketch = paper.true_sketch(torch.ones(1, 3, 2, 2), depth, (depth > 0).float())
    assert (sketch.depth[0].tolist() == [[0, 1], [0, 0]] and sketch.span.tolist() == [[2, 3]]
            and sketch.normal[0, 0].tolist() == [[1, 1], [0, 0]])
    assert (paper.sketch_input(sketch)[0, :, 1] == 0).all()


# transfer

def test_names_are_found_dropped_and_averaged():
    known = torch.tensor([[[0., 0], [4., 0]], [[2., 0], [9., 9]]])
    has = torch.tensor([[True, True], [True, False]])
    names = paper.name_means(known, has)
    assert names.tolist() == [[1, 0], [4, 0]]
    surface = torch.tensor([[3.5, 0], [0., 0.], [1.2, 0]])
    assert (paper.transfer_names(surface, names).index.tolist() == [2, 0]
            and paper.transfer_names(surface, names, limit=0.3).index.tolist() == [2, -1])
    nobody = paper.name_means(known, torch.tensor([[True, False], [True, False]]))
    assert paper.transfer_names(surface, nobody).index.tolist() == [2, -1]


def test_embedding_ignores_the_order_of_points():
    net, x = paper.PointEmbedding(8, 4).eval(), torch.rand(1, 40, 3, generator=generator())
    order = torch.randperm(40, generator=generator(1))
    assert torch.allclose(net(x)[:, order], net(x[:, order]), atol=1e-5)


def test_jitter_is_clipped():
    moved = paper.jitter(torch.zeros(5000, 3), generator(), sigma=0.03)
    assert moved.abs().max() <= 0.05 and moved.std() > 0.02


# cameras, refinement, visibility

def test_camera_agrees_with_azimuth_and_polar_angle():
    # from +y at the equator: x of the world points left in the image (y is the front), z up
    camera = Camera(paper.camera_matrix(64), paper.camera_pose(torch.tensor(90.0), torch.tensor(90.0)))
    pixels, depth = camera.screen(torch.tensor([[0., 0, 0], [0.2, 0, 0], [0, 0, 0.2], [0, 0.2, 0]]))
    assert (torch.allclose(pixels[0], torch.tensor([32., 32.]), atol=1e-3) and pixels[1, 0] < 32 and pixels[2, 1] < 32
            and depth[3] < depth[0])
    rolled = Camera(paper.camera_matrix(64), paper.camera_pose(torch.tensor(90.0), torch.tensor(90.0),
                                                               roll=90.0)).screen(torch.tensor([[0., 0, 0.2]]))[0][0]
    assert (torch.allclose((rolled - 32).norm(), (pixels[2] - 32).norm(), atol=1e-3)
            and abs(float(rolled[1]) - 32) < 1e-3)


def test_refinement_finds_the_distance_and_leaves_the_rest():
    mesh, T = cube(0.35), paper.camera_pose(torch.tensor([35.0]), torch.tensor([65.0]), torch.tensor([2.5]))
    wanted = silhouette(mesh, Camera(paper.camera_matrix(32), T), (32, 32), 1e-4)
    r = paper.refine([mesh], wanted, torch.tensor([35.0]), torch.tensor([65.0]), 2.2)
    assert (abs(float(r.distance) - 2.5) < 0.06 and torch.allclose(r.azimuth, torch.tensor([35.0]), atol=1e-3)
            and r.loss[-1] < 0.2*r.loss[0])
    still = paper.refine([mesh], wanted, torch.tensor([35.0]), torch.tensor([65.0]), 2.2, free="none")
    assert float(still.distance) == pytest.approx(2.2, abs=1e-5) and len(still.loss) == 1
    turned = paper.refine([mesh], wanted, torch.tensor([45.0]), torch.tensor([65.0]), 2.5, free="angles")
    assert abs(float(turned.azimuth) - 35) < 4 and float(turned.distance) == pytest.approx(2.5, abs=1e-5)
    with pytest.raises(PaperKitError, match="distance, angles, all or none"):
        paper.refine([mesh], wanted, torch.tensor([35.0]), torch.tensor([65.0]), free="focal")


def test_squared_loss_has_its_minimum_at_the_truth_and_the_printed_one_has_not():
    mesh, pose = cube(0.35), lambda d: paper.camera_pose(torch.tensor([35.0]), torch.tensor([65.0]), torch.tensor([d]))
    draw = lambda d: silhouette(mesh, Camera(paper.camera_matrix(32), pose(d)), (32, 32), 1e-4)
    wanted, distances = draw(2.2), (1.4, 1.8, 2.2, 2.6, 3.0)
    squared = [float(paper.silhouette_loss(draw(d), wanted)) for d in distances]
    signed = [float((wanted - draw(d)).sum()) for d in distances]
    assert np.argmin(squared) == 2 and np.argmin(signed) == 0


def test_gradient_of_the_silhouette_loss_by_differences():
    mesh = cube(0.35)
    def loss(d):
        return paper.silhouette_loss(silhouette(mesh, Camera(paper.camera_matrix(24).double(),
                                                             paper.camera_pose(torch.tensor(
                                                                 [35.0], dtype=torch.float64),
                                                                               torch.tensor([65.0],
                                                                                            dtype=torch.float64), d)),
                                                (24, 24), 1e-3), wanted).sum()
    mesh = Mesh(mesh.vertices.double(), mesh.faces)
    wanted = torch.zeros(1, 24, 24, dtype=torch.float64); wanted[:, 8:16, 8:16] = 1
    d = torch.tensor([2.3], dtype=torch.float64, requires_grad=True)
    loss(d).backward()
    step = 1e-4
    assert float(d.grad) == pytest.approx(float((loss(torch.tensor([2.3 + step], dtype=torch.float64))
                                                 - loss(torch.tensor([2.3 - step], dtype=torch.float64)))/(2*step)),
                                          rel=2e-2)


def test_hidden_points_of_a_cube():
    camera = Camera(paper.camera_matrix(64), paper.camera_pose(torch.tensor([90.0]), torch.tensor([80.0])))
    points = torch.tensor([[[0., 0.3, 0.1], [0., -0.3, -0.1], [0.1, 0., 0.3], [0., 0., -0.3]]])
    assert paper.hidden_points(points, [cube(0.3)], camera)[0].tolist() == [False, True, False, True]


@pytest.mark.parametrize("category", ["chair", "car", "plane"])
def test_rays_agree_with_those_of_trimesh(category):
    import trimesh
    shapes = sample_family(category, 3, np.random.default_rng(5), normalize="cube")
    camera, (points, has) = (paper.draw_views(DOMAINS["A"], 3, np.random.default_rng(6)).camera(64),
                             paper.named_points(shapes))
    seen = 0
    for shape, own, there, eye in zip(shapes, points, has, camera.centre):
        mesh, own = paper.world_mesh(shape), own[there]
        toward = torch.nn.functional.normalize(eye - own, dim=1)
        other = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
        places, ray, _ = other.ray.intersects_location(own.numpy(), toward.numpy(), multiple_hits=True)
        away = np.zeros(len(own))
        np.maximum.at(away, ray, np.linalg.norm(places - own.numpy()[ray], axis=1))
        found = paper.blocked(own, eye, mesh).numpy()
        assert (found == (away > 1e-3)).all()
        seen += found.sum()
    assert 0 < seen < int(has.sum()), "some are hidden, some are not"


def test_a_thin_plate_hides_what_is_behind_it_and_not_its_own_rim():
    plate = Mesh(cube(0.5).vertices*torch.tensor([1., 0.02, 1.]), cube(0.5).faces)     # faces at y = -0.01 and 0.01
    other = Mesh(cube(0.1).vertices - torch.tensor([0., 0.2, 0.]), cube(0.1).faces)
    both = Mesh(torch.cat([plate.vertices, other.vertices]), torch.cat([plate.faces, other.faces + 8]))
    camera = Camera(paper.camera_matrix(64), paper.camera_pose(torch.tensor([90.0]), torch.tensor([60.0])))
    points = torch.tensor([[[0., 0.01, 0.], [0., -0.01, 0.], [0., -0.01, 0.5], [0., -0.1, 0.]]])
    # front; back, 0.02 behind the front; the back's upper rim; the block behind the plate
    assert paper.hidden_points(points, [both], camera)[0].tolist() == [False, True, False, True]


def test_voxels_become_a_mesh_at_their_place():
    full = torch.full((16, 16, 16), -8.0); full[10:12, 4:6, 4:6] = 8.0
    v = paper.voxel_mesh(full, 0.5).vertices
    assert torch.allclose(v.mean(0), torch.tensor([3/16, -3/16, -3/16]), atol=0.02)
    assert len(paper.voxel_mesh(torch.full((8, 8, 8), -4.0).index_fill(0, torch.tensor([3]), -3.0),
                                0.5).faces) > 0, "nothing reaches the level: half the largest probability"


def test_a_namer_finds_the_points_whose_embeddings_it_holds(monkeypatch):
    with paper.seeded(6): net, mesh = paper.PointEmbedding(8, 4).eval(), cube(0.4)
    points = paper.sample_surface(mesh, 20, generator()).points.float()
    with torch.no_grad(): names = net(points[None])[0][[7, 13]]
    assert torch.equal(paper.Namer(net, names, ["a", "b"]).find(mesh, 20, 0), points[[7, 13]])
    state = dict(net.state_dict()) | {"names": names, "known": torch.tensor([True, False])}
    about = {"model": {"dimensions": 8, "width": 4}}
    monkeypatch.setattr(paper, "shipped_weights", lambda slug: (dict(state), about))
    found = paper.pretrained().find(mesh, 20, 0)
    assert torch.equal(found[0], points[7]) and found[1].isnan().all(), "nobody had the second name"
    monkeypatch.setattr(paper, "shipped_weights", lambda slug: (
        {"names": names, "known": torch.tensor([True, True])}, about))
    with pytest.raises(PaperKitError): paper.pretrained()


# the measure

def test_score_by_hand():
    names = ["tip_left", "tip_right", "nose"]
    truth = torch.tensor([[[10., 10], [50, 10], [30, 30]]])
    guess = torch.tensor([[[15., 10], [10, 12], [float("nan")]*2]])
    s = paper.score(guess, truth, torch.ones(1, 3, dtype=torch.bool), torch.tensor([[0., 0, 40, 30]]), 64, names)
    assert s.img.tolist() == [[1, 0, 0]] and s.bbox.tolist() == [[0, 0, 0]] and s.swapped.tolist() == [[0, 1, 0]]
    assert torch.isnan(paper.score(guess, truth, torch.zeros(1, 3, dtype=torch.bool), torch.zeros(1, 4),
                                   64, names).img).all()
    chair = list(family("chair").keypoints)
    partner = paper.mirrored_names(chair)
    assert ((partner[partner] == torch.arange(len(chair))).all() and chair[partner[chair.index("leg_back_left")]]
            == "leg_back_right" and partner[chair.index("back_top")] == chair.index("back_top"))


# baselines

def test_hough_matching_finds_a_shift_that_single_matches_do_not():
    field = torch.nn.functional.normalize(torch.rand(1, 6, 8, 8, generator=generator()), dim=1)
    moved = torch.roll(field, (0, 2), (2, 3))
    confidence = paper.hough_matching(field.flatten(2), moved.flatten(2))
    flow = paper.move_points(confidence, torch.tensor([[[12., 28.], [20., 36.]]]), 64)
    assert torch.allclose(flow, torch.tensor([[[28., 28.], [36., 36.]]]), atol=1.0)


def test_thin_plate_interpolates_its_control_points():
    control = torch.tensor([[-0.7, -0.7], [0.7, -0.7], [0., 0.], [-0.7, 0.7], [0.7, 0.7]])
    shift = torch.rand(2, 5, 2, generator=generator())
    assert torch.allclose(paper.thin_plate(control.expand(2, -1, -1), control, shift), shift, atol=2e-3)
    constant = torch.tensor([0.2, -0.1]).expand(1, 5, 2)
    assert torch.allclose(paper.thin_plate(torch.rand(1, 7, 2), control, constant), constant[:, :1].expand(1, 7, 2),
                          atol=1e-3)


def test_aligner_starts_as_the_identity():
    a = torch.nn.functional.normalize(torch.rand(2, 5, 64, generator=generator()), dim=1)
    points = torch.rand(2, 4, 2)*2 - 1
    assert torch.allclose(paper.Aligner()(a, a, points), points, atol=1e-5)


def test_template_match_returns_to_the_same_place():
    y, x = torch.meshgrid(torch.arange(8.), torch.arange(8.), indexing="ij")
    out = torch.stack([x, y, torch.zeros(8, 8), torch.ones(8, 8)])[None]
    assert (paper.template_match(out, out, torch.tensor([[[2.5, 5.5], [7.2, 0.1]]])).tolist()
            == [[[2.5, 5.5], [7.5, 0.5]]])


def test_shapes_are_carried_to_the_template_by_their_names():
    shape, template = build("chair", "cube", width=0.6, back_height=0.7), paper.template_points("chair", 1500)
    keypoints, has = paper.named_points([shape])
    both = has[0] & template[2]
    found = paper.to_template(keypoints[0][both], keypoints[0], has[0], template)
    assert (found - template[1][both]).norm(dim=1).mean() < 0.06


# the world

@pytest.fixture(scope="module")
def chairs(): return sample_family("chair", 3, np.random.default_rng(0), normalize="cube")


def test_domains_differ_in_what_they_say(chairs):
    views = {d: paper.draw_views(DOMAINS[d], 400, np.random.default_rng(0)) for d in "ABCD"}
    assert ((views["A"].polar - 90).abs().max() > 75 and views["A"].roll.abs().max() == 0
            and views["A"].shift.abs().max() == 0)
    for d in "BCD":
        assert (views[d].polar.min() >= 55 and views[d].polar.max() <= 90 and 4 < views[d].roll.abs().max() <= 5
                and 0.07 < views[d].shift.abs().max() <= 0.08)
    assert views["C"].focal.min() < 0.65*1.65 < views["B"].focal.min() and abs(float(views["A"].polar.cos().mean())) < 1
    up = torch.deg2rad(views["A"].polar).cos()
    assert abs(float(up.mean())) < 0.1 and abs(float(up.var()) - 1/3) < 0.05, "uniform on the sphere"


def test_renderer_normals_depth_and_colour_agree(chairs):
    camera = Camera(paper.camera_matrix(48), paper.camera_pose(torch.tensor(30.0), torch.tensor(70.0)))
    drawn = paper.draw_shape(chairs[0], camera, 48, np.random.default_rng(0))
    there = drawn.depth > 0
    assert torch.allclose(drawn.normal.movedim(0, -1)[there].norm(dim=1), torch.tensor(1.0),
                          atol=1e-4) and (drawn.normal[2][there]
                                          < 0.05).float().mean() > 0.97, "they look at the camera"
    assert (drawn.depth[there].min() > 1.3 and drawn.depth.max() < 3.1
            and ((drawn.rgba[3] > 0.5) == there).float().mean() > 0.95)


def test_scored_points_are_seen_and_true_pixels_project(chairs):
    test = paper.domain_stage("chair", paper._lists(DOMAINS["D"]), 5, 48, 16, seed=3)
    assert ((~test["scored"] | (test["has"] & ~test["hidden"])).all()
            and ((test["pixels"][test["scored"]] >= 0) & (test["pixels"][test["scored"]] < 48)).all())
    pixels, _ = paper.Views(**test["views"]).camera(48).screen(test["keypoints"])
    assert torch.allclose(pixels, test["pixels"]) and test["image"].min() >= 0 and test["image"].max() <= 1
    again = paper.domain_stage("chair", paper._lists(DOMAINS["D"]), 5, 48, 16, seed=3)
    assert torch.equal(test["image"], again["image"])


def test_a_cover_covers_its_share():
    mask = torch.zeros(48, 48, dtype=torch.bool); mask[10:38, 16:30] = True
    for share in (0.1, 0.4):
        _, over = paper.cover(torch.zeros(3, 48, 48), mask, share, torch.ones(3, 48, 48), np.random.default_rng(1))
        assert share <= (over & mask).sum()/mask.sum() < share + 0.25


def test_thin_legs_stay_whole_in_voxels():
    shape = build("chair", "cube", leg_radius=0.011, base="four", legs="square")
    full = paper.solid_voxels(shape, 32)
    assert full[:, :, :8].any(dim=(0, 1)).all(), "a leg in every layer down to the floor"


def test_with_every_truth_and_the_true_camera_little_is_missed():
    """The whole cycle with all stages replaced, and places for embeddings: what is left is the sampling of the surface.
    A mirrored axis would halve it."""
    class Places(torch.nn.Module):
        def forward(self, x): return x
    test = paper.domain_stage("chair", paper._lists(DOMAINS["B"]), 6, 64, 16, seed=5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cycle = paper.Cycle(paper.SketchNet(64, 4).eval(), paper.VoxelNet(4, (8, 8)).eval(), Places(),
                            torch.zeros(19, 3), 0.4, 1500, 1, 3)
    found = cycle.run(test, ["all truth", "all truth and camera"])
    right = [paper.score(found[v]["pixels"], test["pixels"], test["scored"], test["box"], 64,
                         list(family("chair").keypoints)).img.nanmean() for v in found]
    assert right[1] > 0.9 and right[0] <= right[1] + 0.02
    agree = (found["all truth and camera"]["hidden"] == test["hidden"])[test["inside"]].float().mean()
    assert agree > 0.85


# loaders

def keypointnet(root):
    (root/"annotations").mkdir(parents=True); (root/"pcds"/"03001627").mkdir(parents=True)
    cloud = lambda rows, n=None: ("# .PCD v.7\nVERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 "
                                  "1\nWIDTH 3\nHEIGHT 1\nPOINTS %d\nDATA ascii\n%s\n") % (n or len(rows),
                                                                                          "\n".join(rows))
    good = ["0 0 0 1", "1 0 0 1", "0 1 0 1"]
    files = {"good": cloud(good), "nan": cloud(["nan 0 0 1", *good[1:]]), "short": cloud(good, 9),
             "binary": cloud(good).replace("ascii", "binary")}
    for name, text in files.items(): (root/"pcds"/"03001627"/f"{name}.pcd").write_text(text)
    entry = lambda m, i=1: {"class_id": "03001627", "model_id": m,
                            "keypoints": [{"semantic_id": 4, "pcd_info": {"point_index": i}}]}
    (root/"annotations"/"all.json").write_text(json.dumps([entry("good"), entry("nan"), entry("short"), entry("binary"),
                                                           entry("missing"), {**entry("good", 77)}]))


def test_keypointnet(tmp_path):
    keypointnet(tmp_path)
    found, left = paper.load_keypointnet(tmp_path, "03001627", skip=True)
    assert len(found) == 1 and found[0].index == {4: 1} and found[0].points.shape == (3, 3)
    reasons = " ".join(reason for _, reason in left)
    assert len(left) == 5 and all(word in reasons for word in ("NaN or infinity", "9 points", "ASCII", "missing",
                                                               "names no point"))
    with pytest.raises(PaperKitError, match="finite numbers"): paper.load_keypointnet(tmp_path, "03001627")
    with pytest.raises(PaperKitError, match="no model of this class"): paper.load_keypointnet(tmp_path, "00000000")
    (tmp_path/"annotations"/"all.json").write_text("{")
    with pytest.raises(PaperKitError, match="cannot be read"): paper.load_keypointnet(tmp_path, "03001627")


def test_pix3d(tmp_path):
    for folder in ("img/chair", "mask/chair"): (tmp_path/folder).mkdir(parents=True)
    entry = lambda n, **more: {"category": "chair", "img": f"img/chair/{n}.png", "mask": f"mask/chair/{n}.png",
                               "model": "m.obj", "voxel": "v.mat", "rot_mat": np.eye(3).tolist(),
                               "trans_mat": [0, 0, 2.0], "focal_length": 35.0, "img_size": [64, 48],
                               "bbox": [1, 2, 30, 40], "keypoints": "k"} | more
    for n in ("a", "b", "c"):
        for folder in ("img", "mask"): (tmp_path/folder/"chair"/f"{n}.png").write_bytes(b"x")
    (tmp_path/"pix3d.json").write_text(json.dumps([entry("a"), entry("b", rot_mat=[[1, 2], [3, 4]]),
                                                   entry("c", trans_mat=[0, float("nan"), 1]), entry("gone"),
                                                   entry("a") | {"category": "bed"}]))
    found, left = paper.load_pix3d(tmp_path, skip=True)
    assert len(found) == 1 and found[0].size == (64, 48) and found[0].pose["R"].shape == (3, 3) and len(left) == 3
    with pytest.raises(PaperKitError, match="another shape"): paper.load_pix3d(tmp_path)
    with pytest.raises(PaperKitError, match="missing"): paper.load_pix3d(tmp_path/"nowhere")


def test_spair(tmp_path):
    for folder in ("Layout/large", "PairAnnotation/test", "JPEGImages/chair"): (tmp_path/folder).mkdir(parents=True)
    (tmp_path/"Layout"/"large"/"test.txt").write_text("000001-a-b:chair\n000002-a-b:chair\n000003-a-b:chair\n"
                                                      "000004-a-b:chair\n000005-a-b:car\n")
    for n in "ab": (tmp_path/"JPEGImages"/"chair"/f"{n}.jpg").write_bytes(b"x")
    good = {"src_imname": "a.jpg", "trg_imname": "b.jpg", "src_kps": [[1, 2], [3, 4]], "trg_kps": [[5, 6], [7, 8]],
            "src_bndbox": [0, 0, 9, 9], "trg_bndbox": [0, 0, 9, 9], "src_imsize": [20, 30, 3],
            "trg_imsize": [20, 30, 3], "kps_ids": ["2", "5"], "occlusion": 1}
    write = lambda n, e: (tmp_path/"PairAnnotation"/"test"/f"{n}:chair.json").write_text(e if isinstance(e, str)
                                                                                         else json.dumps(e))
    write("000001-a-b", good); write("000002-a-b", good | {"trg_kps": [[5, float("nan")], [7, 8]]})
    write("000003-a-b", "{broken")
    found, left = paper.load_spair(tmp_path, "chair", skip=True)
    assert (len(found) == 1 and found[0].source.keypoints.tolist() == [[1, 2], [3, 4]]
            and found[0].target.size == (20, 30) and found[0].notes["occlusion"] == 1 and len(left) == 3)
    write("000001-a-b", good | {"trg_kps": [[5, 6]]})
    with pytest.raises(PaperKitError, match="do not pair up"): paper.load_spair(tmp_path, "chair")
    with pytest.raises(PaperKitError, match="no pair of this category"): paper.load_spair(tmp_path, "boat")


def photographs(root, size=(40, 30)):
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    for name in "abcd":
        picture = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
        picture.save(root/f"{name}.jpg")


def small_spair(root):
    "Three pairs in the layout of SPair-71k, source: README of the data set and the loader of juhongm999/hpf."
    photographs(root/"JPEGImages/chair")
    (root/"Layout/large").mkdir(parents=True)
    (root/"PairAnnotation/test").mkdir(parents=True)
    names = ["000001-a-b:chair", "000002-b-c:chair", "000003-c-d:chair"]
    (root/"Layout/large/test.txt").write_text("\n".join(names) + "\n")
    for k, (name, (a, b)) in enumerate(zip(names, ("ab", "bc", "cd"))):
        points = [[10, 10], [20, 15], [30, 25]][:k + 1]
        (root/f"PairAnnotation/test/{name}.json").write_text(json.dumps(
            {"src_imname": f"{a}.jpg", "trg_imname": f"{b}.jpg", "src_imsize": [40, 30, 3], "trg_imsize": [40, 30, 3],
             "src_kps": points, "trg_kps": points, "kps_ids": [str(i) for i in range(k + 1)],
             "src_bndbox": [5, 5, 35, 28], "trg_bndbox": [5, 5, 35, 28]}))
    return root


def small_pf_pascal(root):
    "Two pairs in the layout of the lists of ignacio-rocco/weakalign."
    photographs(root/"JPEGImages")
    (root/"test_pairs_pf_pascal.csv").write_text("source_image,target_image,class,XA,YA,XB,YB\n" + "".join(
        f"JPEGImages/{a}.jpg,JPEGImages/{b}.jpg,9,10;20,10;15,12;22,11;16\n" for a, b in ("ab", "cd")))
    return root


def test_a_photograph_becomes_a_square(tmp_path):
    pair = paper.load_spair(small_spair(tmp_path/"s"), "chair")[0][0]
    image, points, box = paper.square_photo(pair.source, 20)
    assert image.shape == (3, 20, 20) and points.tolist() == [[5, 7.5]] and box.tolist() == [2.5, 5, 17.5, 16.5]
    assert torch.allclose(image[:, 0], image[:, 1], atol=0.02), "the border is repeated above"
    with pytest.raises(PaperKitError, match="outside its photograph"):
        paper.square_photo(pair.source._replace(keypoints=torch.tensor([[99.0, 3]])), 20)
    pair.source.image.write_bytes(b"torn")
    with pytest.raises(PaperKitError, match="cannot be read"): paper.square_photo(pair.source, 20)


@pytest.mark.parametrize("name", ["spair_71k", "pf_pascal"])
def test_table_1_is_measured_on_real_pairs(tmp_path, name):
    data = source(name, (small_spair if name == "spair_71k" else small_pf_pascal)(tmp_path/"d"))
    s = paper.SIZES["smoke"] | {"imagenet": False, "seeds": {"chair": 1}}
    run = SimpleNamespace(seed=0, pick=lambda **by: s, profile="smoke", device="cpu", seeds=lambda n: [0],
                          stage=lambda function, **more: function(**({"seed": 0} | more)))
    data_ = paper.material(run, s, "chair", s["shapes"], s["views"])
    critic = paper.critic_stage(data=data_, **s["critic"], device="cpu", seed=0)
    fitted = paper.fitted_stages(run, s, "chair", data_, 0, critic)
    template = paper.template_stage(data=data_, **s["template"], precision="float32", seed=0)
    chairs = {"data": data_, "fitted": [fitted], "template": template,
              "layers": [{"HPF, our ResNet": {"layers": [1, 2], "valid": 0.0}}]}
    found = paper.real_stages(run, chairs, data)
    table = paper.real_table_1(found, data)
    assert list(table["method"]) == ["ours", "HPF, our ResNet", "affine and TPS aligner", "template U-Net (CSM)"]
    assert table.columns[1] == {"spair_71k": "SPair71k img", "pf_pascal": "PF-PASCAL img"}[name]
    numbers = table.iloc[:, 1:].to_numpy()
    assert np.isfinite(numbers).all() and (numbers >= 0).all() and (numbers <= 1).all()
    assert int(found["ours"].img.isfinite().sum()) == (1 + 2 + 3 if name == "spair_71k" else 4)


def test_pf_pascal(tmp_path):
    (tmp_path/"JPEGImages").mkdir()
    for n in "ab": (tmp_path/"JPEGImages"/f"{n}.jpg").write_bytes(b"x")
    head = "source_image,target_image,class,XA,YA,XB,YB\n"
    line = lambda xa="1;2", a="JPEGImages/a.jpg": f"{a},JPEGImages/b.jpg,9,{xa},3;4,5;6,7;8\n"
    (tmp_path/"test_pairs_pf_pascal.csv").write_text(head + line() + line("1;nan") + line("1;x")
                                                     + line(a="JPEGImages/gone.jpg") + line("1;2;3"))
    found, left = paper.load_pf_pascal(tmp_path, 9, skip=True)
    assert (len(found) == 1 and found[0].source.keypoints.tolist() == [[1, 3], [2, 4]]
            and found[0].target.box.tolist() == [5, 7, 6, 8] and len(left) == 4)
    with pytest.raises(PaperKitError, match="finite"): paper.load_pf_pascal(tmp_path, 9)
    (tmp_path/"test_pairs_pf_pascal.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PaperKitError, match="another layout"): paper.load_pf_pascal(tmp_path, 9)


def test_shapehd_view(tmp_path):
    from PIL import Image
    from scipy.io import savemat
    folder = tmp_path/"03001627"/"m"
    folder.mkdir(parents=True)
    stem = folder/"03001627_m_view000"
    for kind in ("rgb", "depth", "normal", "silhouette"):
        Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(f"{stem}_{kind}.png")
    np.save(f"{stem}_azimuth.npy", np.array(30.0)); np.save(f"{stem}_elevation.npy", np.array(10.0))
    savemat(folder/"03001627_m_voxel_normalized_128.mat", {"voxel": np.ones((4, 4, 4), np.uint8)})
    found = paper.load_shapehd_view(tmp_path, "03001627", "m", 0)
    assert found["rgb"].shape == (8, 8, 3) and found["azimuth"] == 30 and found["voxels"].all()
    np.save(f"{stem}_azimuth.npy", np.array(np.nan))
    with pytest.raises(PaperKitError, match="finite"): paper.load_shapehd_view(tmp_path, "03001627", "m", 0)
    (folder/"03001627_m_view000_depth.png").write_bytes(b"no picture")
    with pytest.raises(PaperKitError, match="cannot be read"): paper.load_shapehd_view(tmp_path, "03001627", "m", 0)
    with pytest.raises(PaperKitError, match="missing"): paper.load_shapehd_view(tmp_path, "03001627", "m", 1)


# predicates

DONE = [[1 - 0.9*min(i, 12)/12 for i in range(20)]]*3
LATE = [[1 - i/19 for i in range(20)]]*3
CURVES = {name: DONE for name in ("validation, image network", "validation, 3D network", "validation, embedding",
                                  "validation, embedding without jitter")}
GOOD = {
    "C1": {f"PCK, {who}, {d}": [v, v + 0.01, v - 0.01] for d, ours,
           other in (("B", 0.6, 0.4), ("C", 0.5, 0.3), ("D", 0.3, 0.35)) for who,
           v in (("ours", ours), ("matcher", other))},
    "C2": {f"PCK, {who}, {c} {d}": [v, v + 0.01, v - 0.01] for c in ("car", "plane") for d, ours,
           other in (("C", 0.5, 0.3), ("D", 0.3, 0.35)) for who, v in (("ours", ours), ("matcher", other))},
    "C3": {f"azimuth error, {n}, {d}": [e, e + 1, e - 1] for d in "BC" for n,
           e in (("RGB", 10), ("2.5D", 30), ("true 2.5D", 8))} | {f"PCK, {n}, {d}": [p, p + 0.01, p - 0.01]
                                                                  for d in "BC" for n,
                                                                  p in (("RGB", 0.5), ("2.5D", 0.2),
                                                                        ("true 2.5D", 0.45))},
    "C4": {"change of PCK, B": [0.03, 0.04, 0.035], "change of PCK, C": [0.03, 0.04, 0.035],
           "occlusion rate": [0, 0.1, 0.2, 0.35, 0.5], "change of PCK by rate": [[0.05, 0.03, 0.02, 0.0, -0.02]]*3},
    "C5": {"gain, semantic truth": [0.3, 0.25, 0.35, 0.3], "gain, viewpoint truth": [0.2, 0.15, 0.25, 0.2],
           "gain, 3D truth": [0.1, 0.05, 0.12, 0.1]},
    "C6": {"PCK, all truth": [0.72, 0.73, 0.74], "PCK, all truth and camera": [0.99, 0.991, 0.992]},
    "C7": {"PCK by range": [[0.6, 0.5, 0.4, 0.3], [0.61, 0.5, 0.4, 0.31], [0.6, 0.52, 0.41, 0.3]]},
    "C8": {"change of PCK over 180 degrees, ours": [0.01, -0.02, 0.0],
           "change of PCK over 180 degrees, matcher": [-0.4, -0.38, -0.41], "precision of hidden": [0.9, 0.91, 0.92],
           "recall of hidden": [0.9, 0.91, 0.92]},
    "C9": {"largest error of encode and decode": [0.02], "azimuth error near the seam": [9, 10, 9.5],
           "azimuth error elsewhere": [10, 10.5, 10.2], "azimuth error on the mirrored side": [9.2, 9.9, 9.6]},
    "C10": {"3D keypoint error, jitter": [0.1, 0.11, 0.1], "3D keypoint error, clean": [0.14, 0.15, 0.15]}}
for name in ("C1", "C3", "C10"): GOOD[name] |= CURVES
GOOD["C2"] |= {f"{c} {name}": curve for c in ("car", "plane") for name, curve in CURVES.items()}


@pytest.mark.parametrize("name", GOOD)
def test_predicates_hold_and_fail(name):
    predicate, good = predicates[name], GOOD[name]
    assert predicate.evaluate(varied(good)).verdict == "holds"
    bad = {"C1": {"PCK, ours, C": [0.2, 0.21, 0.19]}, "C2": {"PCK, ours, plane D": [0.7, 0.71, 0.69]},
           "C3": {"azimuth error, RGB, C": [29, 30, 28]},
           "C4": {"change of PCK by rate": [[-0.02, 0.0, 0.02, 0.03, 0.05]]*3},
           "C5": {"gain, viewpoint truth": [0.5, 0.45, 0.55, 0.5]}, "C6": {"PCK, all truth": [0.99, 0.98, 0.99]},
           "C7": {"PCK by range": [[0.3, 0.5, 0.4, 0.3]]*2 + [[0.31, 0.5, 0.4, 0.3]]},
           "C8": {"change of PCK over 180 degrees, ours": [-0.4, -0.41, -0.39]},
           "C9": {"azimuth error near the seam": [19, 20, 19.5]},
           "C10": {"3D keypoint error, jitter": [0.2, 0.21, 0.2]}}[name]
    assert predicate.evaluate(varied(good | bad)).verdict == "fails"
    if name not in ("C5",):
        assert predicate.evaluate(varied({k: (v[:1] if k not in ("occlusion rate",) else v) for k,
                                          v in good.items() if "validation" not in k}
                                         | {k: v for k, v in good.items() if "validation" in k})).verdict == "undecided"


@pytest.mark.parametrize("name, curve", [("C1", "validation, image network"), ("C2", "plane validation, 3D network"),
                                         ("C3", "validation, 3D network"),
                                         ("C10", "validation, embedding without jitter")])
def test_a_training_that_still_gains_decides_nothing(name, curve):
    found = predicates[name].evaluate(varied(GOOD[name]) | {curve: LATE})
    assert found.verdict == "undecided" and "not converged" in found.reason


def test_the_seam_is_held_against_its_mirror_image():
    easy = GOOD["C9"] | {"azimuth error near the seam": [9, 10, 9.5],
                         "azimuth error on the mirrored side": [4, 4.5, 4.2]}
    assert predicates["C9"].evaluate(varied(easy)).verdict == "fails", "that it is harder elsewhere is no excuse"


def test_c4_and_c5_say_undecided_where_they_must():
    mixed = GOOD["C5"] | {"gain, 3D truth": [0.5, -0.4, 0.3, -0.35]}
    assert predicates["C5"].evaluate(varied(mixed)).verdict in ("undecided", "fails")
    assert predicates["C5"].evaluate({k: v[:1] for k,
                                      v in GOOD["C5"].items()}).verdict == "undecided", "one number says nothing"
