"""The world of shapes: solids whose inside, distance, parts, keypoints, symmetry and genus are what they are said to
be; real meshes; loaders."""
import json
import time

import numpy as np
import pytest
import torch

from paper_kit.kit import mesh as meshes
from paper_kit.kit.files import PaperKitError
from paper_kit.shape3d import worlds as w

pytest.importorskip("manifold3d")
trimesh = pytest.importorskip("trimesh")
NAMES = tuple(w.families)


@pytest.fixture(scope="module")
def some():
    "Twelve shapes of each family, half of them rare."
    return {name: w.sample_family(name, 12, np.random.default_rng(7), rare=0.5) for name in NAMES}


def each(some):
    return [(name, shape) for name in NAMES for shape in some[name]]


def test_every_shape_is_one_solid_with_the_genus_of_its_parameters(some):
    for name, shape in each(some):
        m = trimesh.Trimesh(shape.vertices, shape.faces, process=False)
        assert m.is_watertight and m.is_winding_consistent and m.volume > 0 and m.body_count == 1, (
            name, shape.parameters)
        assert 1 - m.euler_number//2 == shape.genus == w.families[name].plan(**shape.parameters).genus
        assert len(np.unique(shape.faces)) == len(shape.vertices), "no vertex is left over"


@pytest.mark.parametrize("name", NAMES)
def test_the_genus_follows_the_switches_over_many_draws(name):
    rng, seen = np.random.default_rng(11), set()
    for number in range(40):
        seen.add(w.build(name, **w.draw_parameters(name, rng, rare=number % 2 == 0)).genus)
    assert len(seen) > 1


@pytest.mark.parametrize("parameters, genus", [
    (dict(), 0), (dict(bars="box"), 4), (dict(bars="h"), 3), (dict(back="slats", slats=4), 5),
                                               (dict(back="ladder", slats=3), 3), (dict(back="hole"), 1),
    (dict(arms="open"), 2), (dict(arms="panel"), 0), (dict(base="sledge"), 2), (dict(base="star", bars="box"), 0),
                                               (dict(back="none", arms="open"), 0),
    (dict(back="slats", slats=5, arms="open", bars="box"), 12)])
def test_handles_of_a_chair(parameters, genus):
    assert w.build("chair", **parameters).genus == genus


@pytest.mark.parametrize("name", NAMES)
def test_inside_and_distance_against_trimesh_libigl_and_the_parts(some, name):
    igl = pytest.importorskip("igl")
    rng = np.random.default_rng(3)
    for shape in some[name][:2]:
        x = np.concatenate([rng.uniform(-.7, .7, (150, 3)),
                            shape.sample(250, rng).points.numpy() + rng.normal(0, .02, (250, 3))])
        points, m = torch.from_numpy(x), trimesh.Trimesh(shape.vertices, shape.faces, process=False)
        distance = shape.signed_distance(points).numpy()
        sure = np.abs(distance) > 1e-6
        assert np.array_equal(shape.inside(points).numpy()[sure], m.contains(x)[sure])
        # a union is inside where any part is; the parts are closed surfaces of their own
        union = np.any([trimesh.Trimesh(p.vertices, p.faces, process=False).contains(x)
                        & ~np.any([trimesh.Trimesh(h.vertices, h.faces, process=False).contains(x) for h in p.holes]
                                  or [np.zeros(len(x), bool)], 0)
                        for p in shape.pieces], axis=0)
        assert np.array_equal(union[sure], (distance < 0)[sure])
        assert np.allclose(distance**2, igl.point_mesh_squared_distance(x, shape.vertices, shape.faces)[0], atol=1e-12)


def test_the_least_of_the_parts_distances_is_not_the_distance():
    "Why the distance is taken from the final mesh: where parts overlap, the parts' own distances are too small."
    shape, rng = w.build("sofa"), np.random.default_rng(0)
    cloud = shape.sample(2000, rng, torch.float64)
    x = cloud.points - .08*cloud.normals
    parts = torch.stack([meshes.signed_distance(meshes.Mesh(torch.from_numpy(p.vertices), torch.from_numpy(p.faces)), x)
                         for p in shape.pieces]).min(0).values
    truth = shape.signed_distance(x)
    assert (parts - truth).abs().max() > .01 and torch.equal(parts < -1e-9, truth < -1e-9)


def test_parts_cover_the_surface_and_mean_the_same_over_a_family(some):
    for name, shape in each(some):
        parts = w.families[name].parts
        assert (shape.part.shape == shape.piece.shape == (len(shape.faces),) and shape.part.min() >= 0
                and shape.part.max() < len(parts))
        assert all(parts[a] == shape.pieces[b].name for a, b in set(zip(shape.part, shape.piece)))
        m = shape.mesh()
        centres = m.triangles.mean(1)[::7]
        for piece in np.unique(shape.piece):
            mine = centres[torch.from_numpy(shape.piece == piece)[::7]]
            if len(mine) and not shape.pieces[piece].holes:
                own = shape.pieces[piece]
                assert meshes.closest(meshes.Mesh(torch.from_numpy(own.vertices), torch.from_numpy(own.faces)),
                                      mine).squared.max() < 1e-10
    for name in NAMES:
        found = {w.families[name].parts[i] for shape in some[name] for i in np.unique(shape.part)}
        assert len(found) >= min(4, len(w.families[name].parts) - 2)


def test_keypoints_are_named_lie_on_the_surface_and_look_outwards(some):
    for name, shape in each(some):
        known = w.families[name].keypoints
        assert (set(shape.keypoints) <= set(known) and len(shape.keypoints) >= 4
                and set(shape.directions) == set(shape.keypoints))
        places, directions, has = shape.keypoint_array()
        assert np.array_equal(np.isnan(places).any(1), ~has) and np.allclose(np.linalg.norm(directions[has], axis=1), 1)
        assert meshes.closest(shape.mesh(), torch.from_numpy(places[has])).squared.max() < 1e-18
        assert (shape.signed_distance(torch.from_numpy(places[has] + .03*directions[has]))
                > 0).numpy().mean() > .9, (name, shape.parameters)
        raw = w.families[name].plan(**shape.parameters).keypoints
        for key, (place, _) in raw.items():
            moved = (place + shape.offset)*shape.scale
            assert np.linalg.norm(moved - shape.keypoints[key]) < .06, (name, key, shape.parameters)
    for name in NAMES:
        pairs = {k: k[:-5] + "_right" for k in w.families[name].keypoints if k.endswith("_left")}
        assert pairs and all(right in w.families[name].keypoints for right in pairs.values())


def test_mirrored_keypoints_are_mirror_images(some):
    for name, shape in each(some):
        if shape.symmetry.mirror:
            for key, place in shape.keypoints.items():
                if key.endswith("_left"):
                    other = shape.keypoints[key[:-5] + "_right"]
                    assert np.allclose(place*[-1, 1, 1] + [2*shape.symmetry.centre[0], 0, 0], other,
                                       atol=.02), (name, key)


def test_a_shape_is_what_its_symmetry_says(some):
    orders, mirrors = set(), set()
    for name, shape in each(some):
        group, orders, mirrors = (shape.symmetry.matrices(), orders | {shape.symmetry.turns},
                                  mirrors | {shape.symmetry.mirror})
        points = shape.sample(120, np.random.default_rng(1), torch.float64).points
        for m in torch.from_numpy(group)[1:]:
            gap = shape.signed_distance(points @ m[:3, :3].T + m[:3, 3]).abs()
            assert gap.max() < (.006 if shape.symmetry.turns == 0 else 1e-4), (name, shape.parameters, gap.max())
    assert {0, 1, 2} <= orders and mirrors == {True, False}
    quarter = w.Symmetry(4, False).matrices()[1]
    broken = w.build("table", length=1.6, width=.6).sample(200, np.random.default_rng(1), torch.float64).points
    assert w.build("table", length=1.6,
                   width=.6).signed_distance(broken @ torch.from_numpy(quarter[:3, :3]).T).abs().max() > .1


def test_the_frame_a_car_looks_along_y_and_its_right_is_x():
    car = w.build("car")
    at = car.keypoints
    assert (at["light_front_right"][1] > at["light_back_right"][1] and at["wheel_front_right"][0]
            > at["wheel_front_left"][0] and at["roof_front_left"][2] > at["wheel_front_left"][2])
    assert (np.allclose(w.shapenet_from_ours @ [0, 1, 0], [0, 0, -1])
            and np.allclose(w.shapenet_from_ours @ [0, 0, 1], [0, 1, 0]) and np.linalg.det(w.shapenet_from_ours) == 1)
    plane = w.build("plane").keypoints
    assert (plane["nose"][1] > plane["tail"][1] and plane["wing_tip_right"][0] > 0 > plane["wing_tip_left"][0]
            and plane["fin_top"][2] > plane["nose"][2])


def test_sizes(some):
    for name, shape in each(some):
        assert (np.isclose(np.linalg.norm(shape.vertices, axis=1).max(), 1/1.03)
                and np.allclose(shape.vertices.min(0) + shape.vertices.max(0), 0, atol=1e-12))
    shape = some["lamp"][0]
    cube, metres = shape.normalized("cube"), shape.normalized("none")
    assert (np.isclose(np.ptp(cube.vertices, axis=0).max(), 1)
            and np.allclose(cube.vertices.min(0) + cube.vertices.max(0), 0))
    again = cube.normalized("sphere")
    assert np.allclose(again.vertices, shape.vertices) and np.allclose(again.pieces[0].vertices,
                                                                       shape.pieces[0].vertices)
    assert (np.allclose((metres.vertices + shape.offset)*shape.scale, shape.vertices)
            and np.isclose(metres.vertices[:, 2].min(), 0, atol=.02))
    assert np.isclose(shape.thinnest, metres.thinnest*shape.scale)
    with pytest.raises(PaperKitError, match="sphere, cube or none"):
        shape.normalized("box")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_shapes(some):
    content = lambda shape: (shape.vertices.tobytes(), shape.faces.tobytes(), shape.part.tobytes(),
                             shape.looks.colors.tobytes(), shape.vector().tobytes())
    for name in NAMES:
        again = w.sample_family(name, 3, np.random.default_rng(7), rare=0.5)
        assert [content(a) for a in again] == [content(a) for a in some[name][:3]]
        assert content(w.sample_family(name, 1, np.random.default_rng(8))[0])[0] != content(again[0])[0]
        assert len({content(shape)[0] for shape in some[name]}) == len(some[name])
    a, b = (some["car"][0].sample(50, np.random.default_rng(2)) for _ in range(2))
    assert (torch.equal(a.points, b.points)
            and not torch.equal(a.points, some["car"][0].sample(50, np.random.default_rng(3)).points))


def test_knobs_act():
    rng = lambda: np.random.default_rng(5)
    many, few = w.sample_family("chair", 8, rng(), high_genus=1.0), w.sample_family("chair", 8, rng(), high_genus=0.0)
    assert all(shape.genus >= 2 for shape in many) and all(shape.genus < 2 for shape in few)
    thick = w.sample_family("chair", 6, rng(), thinnest=.05, normalize="none")
    assert (min(p.thickness for s in thick for p in s.pieces if p.name in ("leg", "seat")) > .049
            > min(s.thinnest for s in w.sample_family("chair", 6, rng(), normalize="none")))
    assert (np.ptp([s.parameters["width"] for s in w.sample_family("table", 8, rng(), spread=.1)])
            < .3*np.ptp([s.parameters["width"] for s in w.sample_family("table", 8, rng())]))
    assert all(s.parameters["back"] == "slats" for s in w.sample_family("chair", 3, rng(), fixed={"back": "slats"}))
    draws = lambda odd: [w.draw_parameters("plane", np.random.default_rng(i), rare=odd)["wings"] for i in range(200)]
    assert draws(False).count(2) < 30 < draws(True).count(2)
    assert [s.rare for s in w.sample_family("lamp", 3, rng(), rare=1.0)] == [True]*3
    with pytest.raises(PaperKitError, match="two handles"):
        w.sample_family("chair", 1, rng(), high_genus=1.0, fixed={"back": "solid", "base": "disc", "arms": "none"})


def test_sliding_a_parameter_moves_the_shape_smoothly():
    low, high = (w.build("chair", normalize="none", seat_height=h, back="slats", arms="open") for h in (.40, .404))
    gap = high.signed_distance(low.sample(500, np.random.default_rng(0), torch.float64).points).abs().max()
    assert .0005 < gap < .0045


def test_looks():
    shape = w.sample_family("car", 1, np.random.default_rng(0))[0]
    names = w.families["car"].parts
    same, own = w.paint(shape, np.random.default_rng(1), front_back=0,
                        tied=1), w.paint(shape, np.random.default_rng(1), front_back=1, tied=1)
    back, front = names.index("light back"), names.index("light front")
    assert (np.allclose(same.looks.colors[back], same.looks.colors[front])
            and np.abs(own.looks.colors[back] - own.looks.colors[front]).max() > .2)
    assert own.looks.colors[names.index("wheel")].max() < .2
    assert (w.paint(shape, np.random.default_rng(1), white=1, front_back=1).looks.colors > .9).all()
    cloud = shape.sample(500, np.random.default_rng(0))
    plain = w.paint(shape, np.random.default_rng(1), patterned=0).colors_at(cloud.points.numpy(), cloud.part.numpy())
    busy = w.paint(shape, np.random.default_rng(1), patterned=1).colors_at(cloud.points.numpy(), cloud.part.numpy())
    assert (plain.min() >= 0 and busy.max() <= 1 and len(np.unique(plain, axis=0)) == len(np.unique(cloud.part))
            < len(np.unique(busy, axis=0)))
    v, f, c = shape.painted()
    assert len(v) == len(c) and np.allclose(v[f], shape.vertices[shape.faces])
    fine = shape.painted(.1)
    assert np.linalg.norm(np.diff(fine[0][fine[1]][:, [0, 1, 2, 0]], axis=1), axis=2).max() <= .1 + 1e-9
    area = lambda v, f: np.linalg.norm(np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]), axis=1).sum()
    assert np.isclose(area(v, f), area(*fine[:2]))
    assert np.allclose(w.build("car").colors_at(v[:5], np.zeros(5, int)), .7)
    v, f, c = w.parade([shape, shape], columns=1)
    assert np.ptp(v[:, 1]) > 2 and f.max() == len(v) - 1 == len(c) - 1


def test_skeletons_lie_in_their_parts(some):
    for name, shape in each(some)[::3]:
        points, sheet = shape.skeleton(60, np.random.default_rng(0))
        assert shape.inside(torch.from_numpy(points)).float().mean() > .8, name
        assert points.shape == (60, 3) and sheet.dtype == bool
    _, sheet = w.build("chair").skeleton(300, np.random.default_rng(0))
    assert 0 < sheet.mean() < 1


@pytest.mark.parametrize("name", ["chair", "lamp", "plane"])
def test_dirty_variants_are_dirty_and_where_the_shape_was(name):
    shape = w.sample_family(name, 1, np.random.default_rng(4))[0]
    make = lambda *kinds, **more: w.dirty(shape, np.random.default_rng(0), kinds, **more)
    assert meshes.components(make("internal"))[0] > 1
    double = make("double", wall=.004)
    assert len(double.faces) == 2*len(shape.faces) and meshes.is_watertight(double)
    opened = make("open", share=.3)
    area = meshes.face_areas(opened).sum()/meshes.face_areas(shape.mesh()).sum()
    assert not meshes.is_watertight(opened) and .3 < area < .75
    flipped = make("flipped", share=.2)
    assert not meshes.is_oriented(flipped) and meshes.is_watertight(flipped)
    everything = w.dirty(shape, np.random.default_rng(0))
    assert not meshes.is_watertight(everything) and not meshes.is_oriented(everything)
    x = shape.sample(200, np.random.default_rng(1), torch.float64).points
    assert meshes.closest(make("internal"), x).squared.max() < 1e-12 and meshes.closest(double, x).squared.max() < 1e-12
    wrong = (meshes.winding_number(flipped, x*.98) > .5) != shape.inside(x*.98)
    assert wrong.any(), "a flipped mesh has no winding number to trust"
    assert torch.equal(w.dirty(shape, np.random.default_rng(3)).faces, w.dirty(shape, np.random.default_rng(3)).faces)
    with pytest.raises(PaperKitError, match="no such fault"):
        make("dusty")


def test_batches_tables_and_splits(some):
    shapes = some["table"]
    cloud = w.batch(shapes[:3], 40, np.random.default_rng(0))
    assert (cloud.points.shape == cloud.normals.shape == (3, 40, 3) and cloud.part.shape == (3, 40)
            and cloud.points.dtype == torch.float32)
    assert torch.allclose(cloud.normals.norm(dim=-1), torch.ones(3, 40), atol=1e-5)
    values, names = w.parameter_table(shapes)
    assert values.shape == (12, len(names)) and np.isfinite(values).all() and names[0] == "length"
    train, test = w.split(shapes, (.75, .25), np.random.default_rng(0))
    assert len(train) == 9 and len(test) == 3 and {id(s) for s in train + test} == {id(s) for s in shapes}
    train, test = w.held_out(shapes, "height", .25)
    assert max(s.parameters["height"] for s in train) <= min(s.parameters["height"] for s in test) and len(test) == 3
    low = w.held_out(shapes, "height", .25, highest=False)
    assert max(s.parameters["height"] for s in low[1]) <= min(s.parameters["height"] for s in low[0])
    for bad in (lambda: w.split(shapes, (.5, .6), np.random.default_rng(0)), lambda: w.held_out(shapes, "colour"),
                lambda: w.parameter_table(shapes + some["car"])):
        with pytest.raises(PaperKitError):
            bad()


@pytest.mark.parametrize("bad, says", [
    (lambda: w.build("boat"), "chair, table"), (lambda: w.build("chair", colour=1), "width, depth"),
                                       (lambda: w.build("chair", back="wooden"), "solid, slats"),
    (lambda: w.build("chair", width=9.0), "0.38 to 0.62"), (lambda: w.build("chair", leg_radius=-.1), "positive"),
                                       (lambda: w.build("chair", width=float("nan")), "nan"),
    (lambda: w.sample_family("chair", 1, np.random.default_rng(0), rare=2), "0 to 1"),
                                       (lambda: w.chair(legs="glass"), "round, square"),
    (lambda: w.unite([w.Part("nothing", np.zeros((3, 3)), np.array([[0, 1, 2]]), 1)]), "no solid"),
    (lambda: w.build("lamp", shade_thickness=.3), "do not fit together")])
def test_bad_inputs_say_what_was_expected(bad, says):
    with pytest.raises(PaperKitError, match=says):
        bad()


# image collections

@pytest.fixture(scope="module")
def painted():
    return [w.paint(s, np.random.default_rng(5), patterned=0)
            for s in w.sample_family("car", 3, np.random.default_rng(3), painted=False)]


def test_a_collection_has_its_shapes_and_says_nothing_of_poses(painted):
    seen, poses = w.image_collection(painted, np.random.default_rng(0), views=2, size=32)
    assert (seen.images.shape == (3, 2, 3, 32, 32) and seen.masks.shape == (3, 2, 32, 32)
            and seen.images.dtype == seen.masks.dtype == torch.float32)
    assert poses.azimuth.shape == poses.elevation.shape == (3, 2)
    assert seen._fields == ("images", "masks")                                # all that training gets: poses come apart
    assert set(seen.masks.unique().tolist()) == {0, 1} and seen.images.min() >= 0 and seen.images.max() <= 1
    assert (seen.images*(1 - seen.masks[:, :, None])).abs().max() == 0 and (seen.masks.mean((2, 3)) > 0.03).all()
    assert (poses.azimuth.abs() <= 180).all() and (poses.elevation >= -20).all() and (poses.elevation <= 40).all()


def test_a_collection_follows_its_generator(painted):
    a, b, c = (w.image_collection(painted, np.random.default_rng(k), size=32) for k in (1, 1, 2))
    assert (torch.equal(a[0].images, b[0].images) and torch.equal(a[0].masks, b[0].masks)
            and torch.equal(a[1].azimuth, b[1].azimuth))
    assert not torch.equal(a[1].azimuth, c[1].azimuth) and not torch.equal(a[0].images, c[0].images)
    narrow = w.image_collection(painted, np.random.default_rng(0), views=8, size=16, azimuth=(10, 20),
                                elevation=(0, 5))[1]
    assert ((narrow.azimuth >= 10).all() and (narrow.azimuth <= 20).all() and (narrow.elevation >= 0).all()
            and (narrow.elevation <= 5).all())


def test_silhouettes_are_where_the_surface_projects(painted):
    "Points of the solid, through the collection's own camera, fall on the silhouette, and fill it."
    from paper_kit.kit.geometry import project
    size = 48
    seen, poses = w.image_collection(painted, np.random.default_rng(4), views=3, size=size)
    for k, shape in enumerate(painted):
        points = shape.sample(20_000, np.random.default_rng(k)).points*0.5
        for j in range(3):
            pixels, depth = project(points, w.camera_matrix(size),
                                    w.camera_pose(poses.azimuth[k, j], poses.elevation[k, j]))
            assert (depth > 1).all() and (depth < 3).all()
            cell, mask = pixels.floor().long(), seen.masks[k, j] > 0
            drawn = torch.zeros(size, size, dtype=torch.bool)
            drawn[cell[:, 1], cell[:, 0]] = True
            near = torch.nn.functional.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0
            assert near[cell[:, 1], cell[:, 0]].all()                    # none outside, but for the cut at half a pixel
            assert (drawn & mask).sum() > 0.97*mask.sum()


def test_the_camera_of_a_collection_is_at_distance_two_and_upright():
    T = w.camera_pose(torch.tensor([0.0, 90.0, 30.0]), torch.tensor([0.0, 0.0, 40.0]))
    eye = -(T[:, :3, :3].mT @ T[:, :3, 3:])[..., 0]
    np.testing.assert_allclose(eye.norm(dim=1), 2, atol=1e-5)
    np.testing.assert_allclose(eye[:2], [[2, 0, 0], [0, 2, 0]], atol=1e-5)
    assert abs(eye[2, 2] - 2*np.sin(np.radians(40))) < 1e-5 and (T[:, 1, 2] < 0).all()    # up is up: image rows go down
    K = w.camera_matrix(64)
    assert K[0, 0] == 120 and K[0, 2] == 32                                   # the published focal length for 64 pixels


def test_lights_alike_have_one_colour():
    names = w.family("car").parts
    ends = [names.index("light front"), names.index("light back")]
    car = w.build("car")
    for front_back, same in ((0.0, True), (1.0, False)):
        colors = w.paint(car, np.random.default_rng(2), front_back=front_back).looks.colors[ends]
        assert np.allclose(*colors) == same


def test_nothing_to_photograph():
    for shapes, views in (([], 1), ([w.build("car")], 0)):
        with pytest.raises(PaperKitError, match="nothing to photograph"):
            w.image_collection(shapes, np.random.default_rng(0), views=views)


def test_hundreds_of_shapes_a_minute():
    start, rng = time.process_time(), np.random.default_rng(0)
    for name in NAMES: w.sample_family(name, 5, rng)
    assert 35/(time.process_time() - start)*60 > 200



@pytest.mark.parametrize("name, watertight, genus", [("cow", True, 0), ("airplane", True, 0), ("duck", True, 0),
                                                     ("soccer ball", True, 0), ("panda hand", True, 0),
                                                     ("kuka link", False, None)])
def test_real_meshes_are_upright_in_the_unit_sphere_and_reported(name, watertight, genus):
    pytest.importorskip(w.real_sources[name].package)
    real = w.real_mesh(name)
    assert (real.watertight == watertight == meshes.is_watertight(real.mesh) and real.genus == genus
            and meshes.components(real.mesh)[0] == 1)
    assert np.isclose(real.mesh.vertices.norm(dim=1).max(), 1/1.03) and real.source.licence and real.source.origin
    if watertight:
        assert meshes.volume(real.mesh) > 0 and meshes.is_oriented(real.mesh) and meshes.genus(real.mesh) == genus
        assert meshes.inside(real.mesh, real.mesh.vertices.mean(0)) or name == "panda hand"


def test_real_meshes_stand_with_their_front_at_y():
    pytest.importorskip("pybullet_data")
    pytest.importorskip("pymeshlab")
    duck, cow = w.real_mesh("duck").mesh.vertices, w.real_mesh("cow").mesh.vertices
    assert duck[duck[:, 2].argmax(), 1].abs() < .6 and np.ptp(cow[:, 1].numpy()) > 2*np.ptp(cow[:, 0].numpy())
    cube = w.real_mesh("duck", "cube").mesh.vertices
    assert np.isclose(np.ptp(cube.numpy(), axis=0).max(), 1)


def test_blobs_are_a_seeded_selection_of_solids():
    pytest.importorskip("pybullet_data")
    first, again = (w.real_blobs(3, np.random.default_rng(4)) for _ in range(2))
    assert [r.name for r in first] == [r.name for r in again] and len({r.name for r in first}) == 3
    assert all(r.watertight and meshes.volume(r.mesh) > 0 and torch.equal(r.mesh.vertices, s.mesh.vertices) for r,
               s in zip(first, again))
    assert [r.name for r in w.real_blobs(3, np.random.default_rng(5))] != [r.name for r in first]


def test_a_real_mesh_that_is_not_there(monkeypatch):
    with pytest.raises(PaperKitError, match="bunny, cow"):
        w.real_mesh("teapot")
    monkeypatch.setattr(w.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PaperKitError, match="samples"):
        w.real_mesh("duck")
    with pytest.raises(PaperKitError, match="samples"):
        w.real_mesh("bunny")


@pytest.fixture
def shapenet(tmp_path):
    """A miniature of ShapeNetCore v2 (layout: shapenet.org, <synset>/<model>/models/model_normalized.obj): one good,
    one corrupt, one missing, one with NaN."""
    good = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"
    for model, text in (("1006be65e7bc937e9141f9b58470d646", good), ("corrupt", "v 0 0\nf a b c\n"), ("missing", None),
                        ("nan", good.replace("v 0 0 1", "v nan 0 1"))):
        folder = tmp_path/"03001627"/model/"models"
        folder.mkdir(parents=True)
        if text is not None: (folder/"model_normalized.obj").write_text(text)
    return tmp_path


def test_shapenet_on_a_miniature(shapenet):
    assert w.shapenet_models(shapenet, "chair") == ["1006be65e7bc937e9141f9b58470d646", "corrupt", "nan"]
    mesh = w.load_shapenet(shapenet, "chair", "1006be65e7bc937e9141f9b58470d646")
    assert meshes.is_watertight(mesh) and len(mesh.faces) == 4 and mesh.vertices.dtype == torch.float32
    assert len(w.load_shapenet(shapenet, "03001627", "1006be65e7bc937e9141f9b58470d646").faces) == 4
    for model, says in (("corrupt", "cannot be read|no faces"), ("missing", "model_normalized.obj"), ("nan", "NaN"),
                        ("nowhere", "no such file"), ("../chair", "no name"), ("", "no name")):
        with pytest.raises(PaperKitError, match=says):
            w.load_shapenet(shapenet, "chair", model)
    with pytest.raises(PaperKitError, match="<root>/<synset>"):
        w.shapenet_models(shapenet, "lamp")
    with pytest.raises(PaperKitError, match="no such file"):
        w.shapenet_models(shapenet/"elsewhere", "chair")


@pytest.fixture
def deepsdf(tmp_path):
    """A miniature of DeepSDF's data folder (layout: README, deep_sdf/data.py, workspace.py, evaluate.py of
    facebookresearch/DeepSDF)."""
    rng = np.random.default_rng(0)
    for kind in ("SdfSamples", "SurfaceSamples", "NormalizationParameters"):
        (tmp_path/kind/"ShapeNetV2"/"03001627").mkdir(parents=True)
    rows = lambda n, sign: np.concatenate([rng.uniform(-1, 1, (n, 3)), sign*rng.random((n, 1))*.1 + sign*1e-3],
                                          1).astype(np.float32)
    at = lambda kind, name: tmp_path/kind/"ShapeNetV2"/"03001627"/name
    np.savez(at("SdfSamples", "good.npz"), pos=rows(30, 1), neg=rows(20, -1))
    holed = rows(30, 1)
    holed[4, 3], holed[9, 0] = np.nan, np.nan
    np.savez(at("SdfSamples", "nan.npz"), pos=holed, neg=rows(20, -1))
    at("SdfSamples", "corrupt.npz").write_bytes(at("SdfSamples", "good.npz").read_bytes()[:200])
    np.savez(at("SdfSamples", "thin.npz"), pos=rows(5, 1)[:, :3], neg=rows(5, -1))
    np.savez(at("SdfSamples", "half.npz"), pos=rows(5, 1))
    np.savez(at("SdfSamples", "empty.npz"), pos=np.full((3, 4), np.nan, np.float32), neg=rows(5, -1))
    np.savez(at("SdfSamples", "swapped.npz"), pos=rows(5, -1), neg=rows(5, 1))
    np.savez(at("SdfSamples", "pickled.npz"), pos=np.array([{"a": 1}], dtype=object), neg=rows(5, -1))
    trimesh.PointCloud(rng.random((25, 3))).export(at("SurfaceSamples", "good.ply"))
    trimesh.PointCloud(np.concatenate([rng.random((4, 3)), [[np.nan, 0, 0]]])).export(at("SurfaceSamples", "nan.ply"))
    at("SurfaceSamples", "corrupt.ply").write_bytes(b"ply\nnonsense")
    np.savez(at("NormalizationParameters", "good.npz"), offset=np.array([.1, 0, -.2]), scale=np.array([.9]))
    np.savez(at("NormalizationParameters", "scalar.npz"), offset=np.array([.1, 0, -.2]), scale=np.array(.9))
    np.savez(at("NormalizationParameters", "nan.npz"), offset=np.array([.1, np.nan, -.2]), scale=np.array([.9]))
    at("NormalizationParameters", "corrupt.npz").write_bytes(b"PK")
    (tmp_path/"split.json").write_text(json.dumps({"ShapeNetV2": {"03001627": ["good", "nan", "corrupt", "missing"]}}))
    return tmp_path


MODEL = ("ShapeNetV2", "03001627")


def test_sdf_samples_on_a_miniature(deepsdf):
    good = w.read_sdf_samples(deepsdf, *MODEL, "good")
    assert (good.pos.shape == (30, 4) and good.neg.shape == (20, 4) and good.pos.dtype == torch.float32
            and good.dropped == 0)
    assert (w.read_sdf_samples(deepsdf, *MODEL, "nan").dropped == 2
            and len(w.read_sdf_samples(deepsdf, *MODEL, "nan").pos) == 28)
    for name, says in (("corrupt", "cannot be read"), ("missing", "SdfSamples/<data set>"), ("thin", r"\[-1, 4\]"),
                       ("half", "neg"), ("empty", "no finite row"), ("swapped", "other sign"),
                       ("pickled", "allow_pickle|Object arrays")):
        with pytest.raises(PaperKitError, match=says):
            w.read_sdf_samples(deepsdf, *MODEL, name)
    w.write_sdf_samples(deepsdf, *MODEL, "again", good)
    assert torch.equal(w.read_sdf_samples(deepsdf, *MODEL, "again").neg, good.neg)


def test_surface_samples_and_normalisation_on_a_miniature(deepsdf):
    assert (w.read_surface_samples(deepsdf, *MODEL, "good").shape == (25, 3)
            and len(w.read_surface_samples(deepsdf, *MODEL, "nan")) == 4)
    offset, scale = w.read_normalization(deepsdf, *MODEL, "good")
    assert np.allclose(offset, [.1, 0, -.2]) and scale == .9 == w.read_normalization(deepsdf, *MODEL, "scalar")[1]
    for read, name, says in ((w.read_surface_samples, "corrupt", "cannot be read"),
                             (w.read_surface_samples, "missing", "SurfaceSamples/"),
                             (w.read_normalization, "nan", "finite offset"),
                             (w.read_normalization, "corrupt", "cannot be read"),
                             (w.read_normalization, "missing", "NormalizationParameters/")):
        with pytest.raises(PaperKitError, match=says):
            read(deepsdf, *MODEL, name)


def test_splits_on_a_miniature(deepsdf):
    assert w.read_split(deepsdf/"split.json")[0] == (*MODEL, "good") and len(w.read_split(deepsdf/"split.json")) == 4
    loaded, left = w.load_split(deepsdf, deepsdf/"split.json", skip=True)
    assert ([entry[2] for entry, _ in loaded] == ["good", "nan"]
            and [entry[2] for entry, _ in left] == ["corrupt", "missing"] and "cannot be read" in left[0][1])
    with pytest.raises(PaperKitError, match="corrupt.npz"):
        w.load_split(deepsdf, deepsdf/"split.json")
    for text, says in (("{", "cannot be read"), ('{"a": {"b": "c"}}', "lists"),
                       ('{"a": {"b": [1]}}', "lists|join|names"), ("{}", "empty"), ("[]", "cannot be read")):
        (deepsdf/"bad.json").write_text(text)
        with pytest.raises(PaperKitError, match=says):
            w.read_split(deepsdf/"bad.json")
    with pytest.raises(PaperKitError, match="examples/splits"):
        w.read_split(deepsdf/"none.json")
    assert sum(a + b for a, b in w.deepsdf_sizes.values()) == 15573 and set(w.synsets) == set(w.families)


def test_a_draw_whose_parts_do_not_fit_together_is_drawn_again(monkeypatch):
    build, calls = w.build, []

    def fails_at(which):
        calls.clear()

        def built(*arguments, **named):
            calls.append(named)
            if which(len(calls)): raise PaperKitError("the parts of this chair do not fit together")
            return build(*arguments, **named)
        monkeypatch.setattr(w, "build", built)
        return w.sample_family("chair", 3, np.random.default_rng(0), painted=False)
    assert len(fails_at(lambda n: n == 2)) == 3 and len(calls) == 4
    with pytest.raises(PaperKitError, match="fit together"): fails_at(lambda n: True)
    assert len(calls) == 21
