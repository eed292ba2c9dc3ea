"""Scenes against closed forms, against a search over all parts, and against Mitsuba."""
import math

import numpy as np
import pytest
import torch
from paper_kit.kit import scenes as S
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import intrinsics, look_at, pixel_centres, project, rays, unproject
from paper_kit.kit.scenes import Part, Thing, assemble

GREY = (0.5, 0.5, 0.5)
FLOOR = Thing("floor", [Part("card", (5, 5, 0), color=GREY)])
K = intrinsics(48, 64, 50.)


def eye(x, y=0., z=1.5, at=(0., 0., 0.5)):
    return look_at(torch.tensor([x, y, z]), torch.tensor(at))


def one(kind, size, **where):
    return assemble([Thing("box", [Part(kind, size, **where)])])


def along(scene, o, d, **more):
    return S.cast(scene, torch.tensor(o, dtype=torch.float32), torch.tensor(d, dtype=torch.float32), **more)


@pytest.mark.parametrize("kind,size,expected", [("box", (0.5, 1, 2), 3.5), ("ellipsoid", (0.5, 1, 2), 3.5),
                                                ("cylinder", (0.5, 0.5, 2), 3.5), ("capsule", (0.5, 0.5, 2), 3.5)])
def test_a_ray_from_the_side_meets_each_body_at_its_half_length(kind, size, expected):
    hits = along(one(kind, size), [[4., 0, 0], [4., 0, 0], [4., 0, 9]], [[-1., 0, 0], [-2., 0, 0], [-1., 0, 0]])
    assert hits.distance[:2].tolist() == pytest.approx([expected, expected/2]) and not hits.met[2]
    torch.testing.assert_close(hits.normal[0], torch.tensor([1., 0, 0]))
    torch.testing.assert_close(hits.point[0], torch.tensor([0.5, 0, 0]))


@pytest.mark.parametrize("kind,expected", [("cylinder", 2.0), ("capsule", 1.5), ("box", 2.0), ("ellipsoid", 2.0)])
def test_from_above(kind, expected):
    hits = along(one(kind, (0.5, 0.5, 2)), [[0., 0, 4], [0.6, 0, 4]], [[0., 0, -1]]*2)
    assert hits.distance[0].item() == pytest.approx(expected) and not hits.met[1]
    torch.testing.assert_close(hits.normal[0], torch.tensor([0., 0, 1]))


@pytest.mark.parametrize("kind", ["box", "ellipsoid", "cylinder", "capsule"])
def test_from_inside_one_sees_the_inside(kind):
    hits = along(one(kind, (1, 1, 1)), [[0., 0, 0]], [[1., 0, 0]])
    assert hits.distance.item() == pytest.approx(1) and hits.normal[0, 0] == pytest.approx(-1)


def test_a_card_has_two_sides_an_edge_and_holes():
    mask = torch.ones(1, 4, 4)
    mask[0, :, 2:] = 0
    scene = assemble([Thing("plant", [Part("card", (1, 1, 0), mask=0)])], masks=mask)
    hits = along(scene, [[-0.5, 0, 3], [0.5, 0, 3], [-0.5, 0, -3], [-1.5, 0, 3]],
                 [[0., 0, -1], [0, 0, -1], [0, 0, 1], [0, 0, -1]])
    assert hits.met.tolist() == [True, False, True, False] and hits.normal[[0, 2], 2].tolist() == [1, -1]


def test_a_turned_and_moved_body_is_met_where_it_stands():
    scene = one("box", (1, 0.1, 0.1), at=(0, 0, 1), turn=(0, 0, math.pi/2))
    hits = along(scene, [[4., 0.9, 1], [4., 0, 1]], [[-1., 0, 0]]*2)
    assert hits.distance.tolist() == pytest.approx([3.9, 3.9], abs=1e-5)


def everything(split="train"):
    random = np.random.default_rng(3)
    return S.room(random, S.texture_bank(split, 8, 16, random), clutter=10, half=(3, 2.5, 2.6), people=1)


def test_nothing_is_lost_by_looking_only_at_parts_that_are_near_a_ray(monkeypatch):
    scene, o = everything(), torch.tensor([2.7, 1.5, 1.6])
    d = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    found = S.cast(scene, o, d)
    def all_pairs(scene, pose, o, d, skip):
        return torch.cartesian_prod(torch.arange(len(scene)), torch.arange(len(o))).unbind(-1)
    monkeypatch.setattr(S, "_candidates", all_pairs)
    plain = S.cast(scene, o, d)
    torch.testing.assert_close(found.distance, plain.distance)
    assert (found.part == plain.part).float().mean() > 0.999 and found.met.all()


def test_chunks_change_nothing():
    scene, (o, d) = everything(), rays(K, eye(2.7), 48, 64)
    a, b = S.cast(scene, o, d), S.cast(scene, o, d, most=5000)
    assert all(torch.equal(x, y) for x, y in zip(a, b))


def test_against_mitsuba():
    mi = pytest.importorskip("mitsuba", reason="the extra 'oracles' is not installed")
    mi.set_variant("scalar_rgb")
    T = mi.ScalarTransform4f
    turn = T().translate([0.3, 1.0, 0.7]) @ T().rotate([0, 0, 1], 30) @ T().rotate([1, 0, 0], 20)
    theirs = mi.load_dict({"type": "scene", "floor": {"type": "rectangle", "to_world": T().scale([5, 5, 1])},
                           "ball": {"type": "sphere", "to_world": T().translate([0, -1, 0.8]) @ T().scale(0.7)},
                           "box": {"type": "cube", "to_world": turn @ T().scale([0.4, 0.3, 0.2])},
                           "side": {"type": "cylinder", "p0": [-1.5, 0, 0.0], "p1": [-1.5, 0, 1.4], "radius": 0.3},
                           "cap": {"type": "disk",
                                   "to_world": T().translate([-1.5, 0, 1.4]) @ T().scale([0.3, 0.3, 1])}})
    R = np.array(turn.matrix)[:3, :3]
    from scipy.spatial.transform import Rotation
    ours = assemble([FLOOR, Thing("ball", [Part("ellipsoid", (0.7, 0.7, 0.7), (0, -1, 0.8))]),
                     Thing("box", [Part("box", (0.4, 0.3, 0.2), (0.3, 1.0, 0.7),
                                        tuple(Rotation.from_matrix(R).as_rotvec()))]),
                     Thing("box", [Part("cylinder", (0.3, 0.3, 0.7), (-1.5, 0, 0.7))])])
    generator = torch.Generator().manual_seed(1)
    o = torch.tensor([3.5, 0.4, 1.6]).expand(600, 3)
    d = torch.nn.functional.normalize(torch.tensor([-3.5, -0.4, -1.0]) + torch.randn(600, 3, generator=generator)*0.8,
                                      dim=-1)
    hits = S.cast(ours, o, d)
    for i in range(600):
        met = theirs.ray_intersect(mi.Ray3f(o[i].tolist(), d[i].tolist()))
        assert met.is_valid() == hits.met[i].item()
        if met.is_valid():
            assert hits.distance[i].item() == pytest.approx(met.t, rel=1e-4)
            assert abs(np.dot(hits.normal[i].numpy(), np.array(met.sh_frame.n))) == pytest.approx(1, abs=2e-3)
    assert 150 < hits.met.sum() < 600 and len(hits.part[hits.met].unique()) == 4


def test_depth_is_along_the_axis_and_unprojects_to_the_surface():
    frame, T = S.draw(assemble([FLOOR]), K, eye(3.), 48, 64), eye(3.)
    points = unproject(torch.where(frame.depth.isfinite(), frame.depth, 0), K, T)
    assert points[frame.instance == 1][:, 2].abs().max() < 1e-4 and (frame.depth[frame.instance == 0] == math.inf).all()


def test_light_is_ambient_plus_lambert_and_shadow_takes_the_second_part():
    ball = Thing("ball", [Part("ellipsoid", (0.2, 0.2, 0.2), (0, 0, 1.0))])
    T = eye(0.01, 0., 4., (0., 0., 0.))
    def middle(things, **more):
        return S.draw(assemble(things, lights=[(0, 0, 2, 0.6, 0.6, 0.6)], ambient=0.3), K, T, 48, 64, **more)
    free, shaded = middle([FLOOR]), middle([FLOOR, ball], skip=torch.full((48, 64), 2))
    x = unproject(free.depth, K, T)
    cosine = 2/(x - torch.tensor([0., 0, 2])).norm(dim=-1)
    torch.testing.assert_close(free.color[0], 0.5*(0.3 + 0.6*cosine), atol=2e-3, rtol=0)
    assert shaded.color[0, 24, 32].item() == pytest.approx(0.15, abs=1e-3)


def test_flow_of_a_wall_and_of_a_ball_in_closed_form():
    wall = assemble([Thing("wall", [Part("card", (9, 9, 0), (-2, 0, 0), (0, math.pi/2, 0))])])
    straight = lambda y: look_at(torch.tensor([1., y, 0.]), torch.tensor([-2., y, 0.]))
    found = S.flow(wall, K, straight(0.), straight(0.3), 48, 64)
    torch.testing.assert_close(found.flow[0].abs(), torch.full((48, 64), K[0, 0].item()*0.3/3), atol=2e-3, rtol=0)
    torch.testing.assert_close(found.flow[1], torch.zeros(48, 64), atol=2e-3, rtol=0)
    expected = (pixel_centres(48, 64) + found.flow.permute(1, 2, 0)).permute(2, 0, 1)
    assert torch.equal(found.seen, (expected[0] >= 0) & (expected[0] < 64))
    moving = assemble([Thing("ball", [Part("ellipsoid", (0.4, 0.4, 0.4))], at=(0, 0, 0.5), velocity=(0.1, 0.5, 0),
                             turning=(0, 0, 0.7))])
    T = eye(3.)
    origin, d = rays(K, T, 48, 64)
    hits = S.cast(moving, origin, d)
    a = torch.tensor(0.7)
    R = torch.tensor([[a.cos(), -a.sin(), 0], [a.sin(), a.cos(), 0], [0, 0, 1]])
    centre = torch.tensor([0., 0, 0.5])
    there = (hits.point - centre) @ R.T + centre + torch.tensor([0.1, 0.5, 0])
    wanted = (project(there.view(-1, 3), K, T)[0].view(48, 64, 2) - pixel_centres(48, 64)).permute(2, 0, 1)
    found = S.flow(moving, K, T, T, 48, 64, (0.0, 1.0))
    torch.testing.assert_close(found.flow[:, hits.met], wanted[:, hits.met], atol=2e-3, rtol=0)
    assert not found.seen[hits.met].all() and found.seen[hits.met].any(), "a ball that turns hides part of its side"


def test_what_is_hidden_is_what_the_second_frame_shows_something_else_at():
    scene, T, U = everything(), eye(2.6, -1.), eye(2.6, 0.6)
    found, after = S.flow(scene, K, T, U, 48, 64), S.draw(scene, K, U, 48, 64)
    before = S.draw(scene, K, T, 48, 64)
    place = (pixel_centres(48, 64) + found.flow.permute(1, 2, 0)).floor().long()
    inside = ((place >= 0).all(-1) & (place < torch.tensor([64, 48])).all(-1) & (found.depth > 0))
    same = after.instance[place[..., 1].clamp(0, 47), place[..., 0].clamp(0, 63)] == before.instance
    assert same[inside & found.seen].float().mean() > 0.93 and same[inside & ~found.seen].float().mean() < 0.7
    same = S.flow(scene, K, T, T, 48, 64)
    assert same.seen.float().mean() > 0.999 and same.flow.abs().max() < 0.02


def test_behind_shows_the_wall_that_the_ball_hides_and_then_nothing():
    ball, wall = (Thing("ball", [Part("ellipsoid", (0.3, 0.3, 0.3), (0, 0, 0.5))]),
                  Thing("wall", [Part("card", (9, 9, 0), (-2, 0, 0), (0, math.pi/2, 0))]))
    first, second, third = S.behind(assemble([wall, ball]), K, eye(3.), 48, 64, layers=3)
    alone = S.draw(assemble([wall]), K, eye(3.), 48, 64)
    covered = first.instance == 2
    assert (covered.any() and (second.instance[covered] == 1).all() and (second.instance[~covered] == 0).all()
            and (third.instance == 0).all())
    torch.testing.assert_close(second.depth[covered], alone.depth[covered], rtol=1e-4, atol=0)
    torch.testing.assert_close(second.depth[~covered], torch.full_like(second.depth[~covered], math.inf))


def test_textures_are_looked_up_between_their_texels_and_repeat():
    textures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    centre = torch.tensor([[2.5/8, 5.5/8], [1 + 2.5/8, -1 + 5.5/8], [3/8, 5.5/8], [0.1, 0.1]])
    found = S.look_up(textures, torch.tensor([1, 1, 1, -1]), centre)
    torch.testing.assert_close(found[0], textures[1, :, 5, 2])
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], (textures[1, :, 5, 2] + textures[1, :, 5, 3])/2)
    assert (found[3] == 1).all()
    far = S.look_up(textures, torch.tensor([0, 0]), torch.rand(2, 2), torch.tensor([4/8, 99.]))
    smaller = torch.nn.functional.avg_pool2d(textures[0], 4)
    assert far.min() >= smaller.min() - 1e-6 and far.max() <= smaller.max() + 1e-6


def test_training_and_test_crops_share_no_pixel_column(monkeypatch):
    "Photographs whose colour is their column: the crops of the splits come from disjoint columns."
    ramp = torch.linspace(0, 1, 200).expand(3, 100, 200)
    monkeypatch.setattr(S, "photographs", lambda: {"ramp": ramp})
    kept = [S.texture_bank(split, 12, 16, np.random.default_rng(0))[[i for i in range(12) if i % 4 != 3]]
            for split in ("train", "test")]
    assert kept[0].max() < kept[1].min()
    assert torch.equal(S.texture_bank("train", 5, 16, np.random.default_rng(1)),
                       S.texture_bank("train", 5, 16, np.random.default_rng(1)))


def test_photographs_are_there_and_in_range():
    found = S.photographs()
    assert len(found) >= 10 and all(p.ndim == 3 and len(p) == 3 and p.min() >= 0 and p.max() <= 1
                                    for p in found.values())


@pytest.mark.parametrize("name", list(S.MAKERS))
def test_things_stand_on_the_floor_within_their_radius(name):
    for seed in range(5):
        parts = S.MAKERS[name](np.random.default_rng(seed), 0)
        scene = assemble([Thing(name, parts)], masks=S.mask_bank())
        d = torch.randn(4000, 3, generator=torch.Generator().manual_seed(seed))*0.35
        d = torch.cat([torch.tensor([-4., 0, -1.2]), torch.tensor([0., -4, -1.2])]).view(2, 1, 3) + d
        hits = S.cast(scene, torch.tensor([[4., 0, 2.2], [0, 4., 2.2]])[:, None].expand_as(d), d)
        points = hits.point[hits.met]
        assert (len(points) > 20 and points[:, 2].min() > -0.02
                and points[:, :2].norm(dim=1).max() <= S.footprint(parts) + 1e-4)
        low = torch.cartesian_prod(torch.tensor([-4.0]), torch.linspace(-1.5, 1.5, 600),
                                   torch.tensor([0.01, 0.03, 0.06]))
        assert (S.cast(scene, low, torch.tensor([1.0, 0, 0]).expand_as(low)).met.any()
                and not S.cast(scene, low*torch.tensor([1.0, 1, -1]) - torch.tensor([0, 0, 0.02]),
                               torch.tensor([1.0, 0, 0]).expand_as(low)).met.any())


def test_rooms_are_closed_things_do_not_touch_and_twins_are_alike():
    for seed in range(3):
        random = np.random.default_rng(seed)
        scene = S.room(random, S.texture_bank("train", 4, 8, random), clutter=8,
                       only=("chair", "box", "ball"), twins=1.0)
        hits = S.cast(scene, torch.tensor([0., 0., 1.9]),
                      torch.randn(500, 3, generator=torch.Generator().manual_seed(seed)))
        assert hits.met.all()
        chairs = [scene.size[scene.instance == i]
                  for i in scene.instance[scene.label == S.LABELS.index("chair")].unique()]
        assert all(torch.equal(chairs[0], c) for c in chairs)
        for row in range(20):             # no place above the floor belongs to two things: horizontal rays through each
            z, turn = 0.03 + 0.05*row, 0.7*row
            d = torch.tensor([math.cos(turn), math.sin(turn), 0.0]).expand(30, 3)
            o = torch.tensor([-d[0, 1], d[0, 0], 0])*torch.linspace(-3, 3, 30)[:, None] - 6*d + torch.tensor([0, 0, z])
            spans = {}
            for i in scene.instance.unique().tolist():
                if S.LABELS[scene.label[scene.instance == i][0]] not in S.MAKERS: continue
                only = S.replace(scene, **{k: v[scene.instance == i] for k, v in vars(scene).items()
                                           if isinstance(v, torch.Tensor) and k not in ("textures", "masks", "lights")})
                near, far = S.cast(only, o, d), S.cast(only, o + 12*d, -d)
                spans[i] = torch.stack([near.distance, 12 - far.distance])
            for a in spans:
                for b in spans:
                    if a < b:
                        assert not (torch.maximum(spans[a][0], spans[b][0])
                                    < torch.minimum(spans[a][1], spans[b][1])).any()
    again = [S.room(np.random.default_rng(4)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(vars(again[0]).values(), vars(again[1]).values())
               if isinstance(a, torch.Tensor))


def test_a_yard_has_a_horizon_and_a_path_is_smooth():
    random = np.random.default_rng(0)
    frame = S.draw(S.yard(random, S.texture_bank("train", 4, 8, random)), K, eye(5., z=1.7, at=(-4., 0, 1.7)), 48, 64)
    assert frame.instance[0].min() == 0 and (frame.label[-1] == S.LABELS.index("floor")).all()
    path = S.hand_held(np.random.default_rng(1), 30, (3, 0, 1.5), (0, 0, 1), (0, 1, 0))
    eyes = torch.linalg.inv(path)[:, :3, 3]
    torch.testing.assert_close(eyes[0], torch.tensor([3., 0, 1.5]), atol=1e-5, rtol=0)
    steps = eyes.diff(dim=0)
    assert steps.norm(dim=1).max() < 0.15 and steps.diff(dim=0).norm(dim=1).max() < 0.05 and abs(eyes[-1, 1] - 1) < 0.05


def test_more_samples_change_the_colour_only_and_smooth_it():
    scene, T = everything(), eye(2.6)
    a, b = S.draw(scene, K, T, 48, 64), S.draw(scene, K, T, 48, 64, samples=3)
    assert (torch.equal(a.depth, b.depth) and torch.equal(a.instance, b.instance)
            and (a.color - b.color).abs().mean() < 0.1 and not torch.equal(a.color, b.color))
    assert b.color.min() >= 0 and b.color.max() <= 1


def test_a_highlight_moves_with_the_camera_and_a_matt_surface_does_not_change():
    def colour(gloss, y):
        scene = assemble([Thing("floor", [Part("card", (5, 5, 0), color=GREY, gloss=gloss)])],
                         lights=[(-2, 0, 2, 0.5, 0.5, 0.5)])
        eye = torch.tensor([2., y, 2.])
        d = (torch.tensor([0., 0, 0]) - eye)[None]
        return S.shade(scene, S.cast(scene, eye[None], d), d)[0, 0].item()
    assert colour(0.0, 0.0) == pytest.approx(colour(0.0, 1.0)) and colour(0.8, 0.0) > colour(0.8, 1.0) + 0.2


@pytest.mark.parametrize("thing,said", [(Thing("dragon", [Part("box", (1, 1, 1))]), "no such label"),
                                        (Thing("box", [Part("cone", (1, 1, 1))]), "cannot be built"),
                                        (Thing("box", [Part("box", (1, 0, 1))]), "cannot be built"),
                                        (Thing("box", [Part("box", (1, 1, 1), texture=7)]), "cannot be built")])
def test_what_cannot_be_built_is_refused(thing, said):
    with pytest.raises(PaperKitError, match=said):
        assemble([thing])


def test_bad_rays_splits_and_empty_scenes_are_refused():
    with pytest.raises(PaperKitError, match="not finite"):
        along(one("box", (1, 1, 1)), [[float("nan"), 0, 0]], [[1., 0, 0]])
    with pytest.raises(PaperKitError, match="no such split"):
        S.texture_bank("validation")
    with pytest.raises(PaperKitError, match="empty scene"):
        assemble([])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    scene, T = everything(), eye(2.6)
    a, b = S.draw(scene, K, T, 48, 64), S.draw(scene.to("cuda"), K.cuda(), T.cuda(), 48, 64)
    assert b.color.is_cuda and (a.instance == b.instance.cpu()).float().mean() > 0.99
    torch.testing.assert_close(a.depth, b.depth.cpu(), rtol=1e-2, atol=1e-2)
