"""Single-view collections to clouds: networks and their counts, losses by hand, no leak of poses, alignment, transfer,
the loader, predicates that can fail."""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from paper_kit.kit import datasets
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import rotation_angle
from paper_kit.kit.paper import load_manifest
from paper_kit.kit.stages import project_root
from paper_kit.shape3d import ss3d_point_clouds as paper
from paper_kit.shape3d.ss3d_point_clouds import Collection, Recipe, Sizes, predicates, recipes
from helpers import varied


def generator(seed=0): return torch.Generator().manual_seed(seed)


def cloud(*shape, seed=0): return torch.rand(*shape, 3, generator=generator(seed)) - 0.5


def collection(n=6, views=2, size=16, seed=0):
    "Coloured discs of several sizes on black."
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = 3 + 3*torch.rand(n, views, 1, 1, generator=generator(seed))
    masks = ((x - size/2)**2 + (y - size/2)**2 < radius**2).float()
    return Collection(masks[:, :, None]*torch.rand(n, views, 3, 1, 1, generator=generator(seed + 1)), masks)


tiny = Sizes(size=16, points=20, width=2, batch=3, steps=4, rate=1e-3)


def weights(seen, recipe, sizes=tiny, seed=0, **more):
    model, _ = paper.train_pair(seen, recipe, sizes, seed, **more)
    return torch.cat([p.detach().flatten() for m in ("reconstruction", "pose") for p in model[m].parameters()])


# networks

def test_parameter_counts_are_those_of_the_printed_sizes():
    count = paper.parameters_by_branch()
    assert count == {"structure branch": 1_342_144, "colour branch": 2_578_880, "reconstruction network": 3_921_024,
                     "pose network": 946_114, "structure branch, 5x5": 1_866_432}
    assert sum(p.numel() for p in paper.ReconstructionNet().parameters()) == 3_921_024


def test_layers_are_those_of_the_printed_tables():
    reported = load_manifest(project_root()/"data/papers/ss3d_point_clouds.yaml")["reported"]
    net = paper.ReconstructionNet()
    frame = paper.layer_table(net, ["E_s", "D_s1", "D_s2", "D_s3", "D_s4", "E_c", "D_c1", "D_c2",
                                    "D_c3", "D_c4", "D_c5"])
    plain = lambda out: str(eval(str(out))) if "*" in str(out) else str(out)
    printed = [(r[1], r[2], plain(r[3])) for r in reported["Supp. Table 6"]["rows"] if r[1] in ("conv", "linear")]
    assert printed == list(frame[["type", "filter_stride", "output"]].itertuples(index=False, name=None))
    assert net.D_c4.in_features == 256                                              # the concatenation
    frame = paper.layer_table(paper.PoseNet(), ["E_s", "D_s1", "D_s2", "D_s3", "D_s4"])
    assert ([(r[1], r[2], plain(r[3])) for r in reported["Supp. Table 7"]["rows"]]
            == list(frame[["type", "filter_stride", "output"]].itertuples(index=False, name=None)))


def test_outputs_have_their_ranges():
    images = torch.rand(3, 3, 32, 32, generator=generator())
    found = paper.ReconstructionNet(32, 50, 4)(images)
    assert found.points.shape == found.colors.shape == (3, 50, 3) and found.feature.shape == (3, 128)
    assert (found.colors > 0).all() and (found.colors < 1).all() and (found.feature >= 0).all()
    net = paper.PoseNet(32, 4)
    net.D_s4.weight.data *= 1e4
    assert (net(images).abs() <= math.pi + 1e-5).all() and paper.PoseNet(32, 4, heads=5)(images).shape == (3, 5, 2)


def test_camera_sees_where_it_should():
    # from +x
    pixels, depth = paper.view(torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]]),
                               torch.zeros(1, 2), 64)
    np.testing.assert_allclose(depth[0], [2, 1.9, 2, 2], atol=1e-6)
    np.testing.assert_allclose(pixels[0], [[32, 32], [32, 32], [32 + 6, 32], [32, 32 - 6]], atol=1e-4)
    v = paper.random_views((4000,), generator())
    degrees = torch.rad2deg(v)
    assert (-180 <= degrees[:, 0].min() < -170 and 170 < degrees[:, 0].max() <= 180 and -20 <= degrees[:, 1].min() < -19
            and 39 < degrees[:, 1].max() <= 40)


# losses

def test_image_and_mask_losses_by_hand():
    a, b = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    b[0, :, 0, 0] = torch.tensor([0.5, 0.5, 1.0])
    assert abs(paper.image_loss(a, b).item() - 1.5/4) < 1e-6         # Eq. 1: the squared length is summed over channels
    mask, found = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.8, 0.4]]])
    assert abs(paper.cross_entropy(mask, found).item() + (math.log(0.8) + math.log(0.6))/2) < 1e-6
    assert torch.isfinite(paper.cross_entropy(mask, torch.tensor([[[0.0, 1.0]]])))


def test_affinity_printed_agrees_with_four_loops_and_is_dead_on_a_soft_projection():
    m = (torch.rand(5, 6, generator=generator()) > 0.6).float()
    p = torch.rand(5, 6, generator=generator(1))*(torch.rand(5, 6, generator=generator(2)) > 0.5)
    first = second = 0.0
    for i in range(5):
        for j in range(6):
            first += min(((i - k)**2 + (j - l)**2)*float(p[i, j])*float(m[k, l]) for k in range(5)
                         for l in range(6) if m[k, l] > 0)
            second += min(((i - k)**2 + (j - l)**2)*float(m[i, j])*float(p[k, l]) for k in range(5)
                          for l in range(6) if p[k, l] > 0)
    got = paper.affinity_printed(m, p)
    np.testing.assert_allclose([float(x) for x in got], [first, second], rtol=1e-5)
    everywhere = torch.full((5, 6), 1e-6)                                 # the soft projection: positive in every pixel
    assert paper.affinity_printed(torch.ones(5, 6), everywhere)[1] < 1e-3


def test_affinity_pulls_points_to_uncovered_pixels():
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 9:13] = 1
    pixels = torch.tensor([[[4.0, 8.0]]], requires_grad=True)
    field = paper.distance_field(mask)
    assert field[0, 8, 9] == 0 and field[0, 8, 6] == 9
    loss = paper.affinity(mask, field, torch.zeros(1, 16, 16), pixels)
    loss.backward()
    squared = [(x + 0.5 - 4)**2 + (y + 0.5 - 8)**2 for y in range(4, 12) for x in range(9, 13)]
    assert abs(loss.item() - sum(squared)/256*4) < 1e-3*loss.item() and pixels.grad[0, 0, 0] < 0
    with pytest.raises(PaperKitError, match="silhouette is empty"): paper.distance_field(torch.zeros(2, 4, 4))


def test_affinity_does_not_let_points_leave_the_image():
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 6:10] = 1
    field, covered = (paper.distance_field(mask), torch.rand(1, 200, 2, generator=generator())*torch.tensor([4.0, 8.0])
                      + torch.tensor([6.0, 4.0]))
    light = [paper.beyond_border(torch.tensor([[[x, 8.0]]]), 16).item() for x in (8.0, 16.0, 30.0)]
    np.testing.assert_allclose(light, [0, 0.4*math.pi, 0.8*math.pi], atol=1e-5)      # none, half, all of 2 pi 0.4
    energy, slope = [], []
    for x in torch.linspace(11, 40, 60).tolist():
        lone = torch.tensor([[[x, 8.0]]], requires_grad=True)
        pixels = torch.cat([covered, lone], 1)      # the silhouette is covered; one point more wanders off to the right
        loss = paper.affinity(mask, field, paper.silhouette(lone, 16), pixels)
        loss.backward()
        energy.append(loss.item()); slope.append(lone.grad[0, 0, 0].item())
    # further is always worse, and there is always a way back
    assert all(a < b for a, b in zip(energy, energy[1:])) and min(slope[4:]) > 0


def test_set_distance_agrees_with_the_kit():
    from paper_kit.kit.metrics import chamfer
    a, b = cloud(3, 40), cloud(3, 50, seed=1)
    np.testing.assert_allclose(paper.set_distance(a, b), chamfer(a, b), rtol=1e-4)
    x = a.clone().requires_grad_()
    paper.set_distance(x, b).sum().backward()
    y = a.clone().requires_grad_()
    chamfer(y, b).sum().backward()
    np.testing.assert_allclose(x.grad, y.grad, atol=1e-6)


def test_symmetry_removes_points_instead_of_zeroing_them():
    half = cloud(1, 20).abs() + 0.1
    both = torch.cat([half, half*torch.tensor([-1.0, 1, 1])], 1)
    assert paper.symmetry_loss(both).item() < 1e-6
    pair = torch.tensor([[[0.5, 0.0, 0.0], [-0.3, 0.0, 0.2]]], requires_grad=True)
    loss = paper.symmetry_loss(pair)
    assert abs(loss.item() - 2*(0.2**2 + 0.2**2)) < 1e-5                             # no term with the origin
    far = torch.tensor([[[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0], [0.5, 0.3, 0.0], [-0.5, 0.3, 0.0]]], requires_grad=True)
    paper.symmetry_loss(far).sum().backward()
    assert far.grad.abs().max() < 1e-5
    assert paper.symmetry_loss(half).item() == 0                            # nothing on the other side: no loss, no NaN


def test_azimuths_wrap_around():
    v, found = torch.deg2rad(torch.tensor([[179.0, 10.0]])), torch.deg2rad(torch.tensor([[-179.0, 5.0]]))
    assert abs(math.degrees(paper.pose_loss(v, found).item()) - 7) < 1e-3
    assert abs(math.degrees(paper.pose_loss(v, found, wrap=False).item()) - 363) < 1e-3
    found.requires_grad_()
    paper.pose_loss(v, found).sum().backward()
    assert found.grad[0, 0] > 0                                                # -179 must go down, through -180, to 179


def test_cycle_losses_are_those_of_the_equations_and_the_pose_cycle_teaches_the_pose_network_only():
    model = paper.make_networks(16, 20, 2, 0)
    recipe = Recipe(geometric=True, cycle=True, beta=7.0, rho=3.0, views=2)
    images = torch.rand(3, 3, 16, 16, generator=generator())
    seen = model["reconstruction"](images)
    got = paper.cycles(recipe, model, seen, generator(5))
    v = paper.random_views((3, 2), generator(5))
    total, pose = 0.0, 0.0
    for b in range(3):
        for i in range(2):
            picture = paper.colored(seen.points[b], seen.colors[b], v[b, i], 16)[None]
            again = model["reconstruction"](picture)
            total += 7*paper.set_distance(seen.points[b:b + 1], again.points).item()/3
            pose += 3*paper.pose_loss(v[b, i][None], model["pose"](picture), recipe.wrap).item()/6
    assert abs(got["geometric"].item() - total) < 1e-4*total and abs(got["pose"].item() - pose) < 1e-4*pose
    got["pose"].backward()
    assert all(p.grad is None for p in model["reconstruction"].parameters())
    zero = paper.cycles(recipe, model, seen, None)
    assert set(zero) == {"geometric", "pose"} and not any(x.item() for x in zero.values())


def test_the_geometric_cycle_reaches_colours_through_the_drawings_unless_stopped():
    model = paper.make_networks(16, 20, 2, 0)
    images = torch.rand(3, 3, 16, 16, generator=generator())
    for stopped in (False, True):
        seen = model["reconstruction"](images)
        found = paper.cycles(Recipe(geometric=True, cycle=True, stopped=stopped), model, seen, generator(5))
        points, colors = torch.autograd.grad(found["geometric"], (seen.points, seen.colors), allow_unused=True)
        assert points.abs().sum() > 0 and (colors is None or not colors.any()) == stopped
        assert found["pose"].requires_grad
        assert torch.autograd.grad(found["pose"], seen.colors, allow_unused=True)[0] is None
    # the values are the same: only the way back differs
    both = [paper.cycles(Recipe(geometric=True, stopped=x), model, seen, generator(5))["geometric"] for x in (0, 1)]
    assert torch.equal(*both)


def test_cycles_may_look_at_every_second_cloud():
    model, recipe = paper.make_networks(16, 20, 2, 0), Recipe(geometric=True, cycle=True)
    seen = model["reconstruction"](torch.rand(5, 3, 16, 16, generator=generator()))
    half = paper.cycles(replace(recipe, every=2), model, seen, generator(3))
    same = paper.cycles(recipe, model, paper.Cloud(*(x[::2] for x in seen)), generator(3))
    assert len(seen.points[::2]) == 3 and all(torch.equal(half[k], same[k]) for k in same)


def test_variants_are_what_they_say():
    from paper_kit.shape3d.worlds import family
    rng, arm = np.random.default_rng(0), family("chair").parts.index("arm")
    for chair in paper.shapes_of("chair, one arm", 2, rng):
        x = chair.vertices[chair.faces].mean(1)[chair.part == arm][:, 0]
        assert len(x) and (x <= 0).all() and chair.looks is not None
    ends = [family("car").parts.index(f"light {end}") for end in ("front", "back")]
    for name, same in (("car, lights alike", True), ("car", False)):
        assert np.allclose(*paper.shapes_of(name, 1, rng)[0].looks.colors[ends]) == same


def test_the_pose_network_has_its_own_weight():
    "gamma scales its gradient, and the reconstruction network's not at all."
    seen, grads = collection(), {}
    batch = {"image": seen.images[:, 0], "mask": seen.masks[:, 0], "field": paper.distance_field(seen.masks)[:, 0],
             "late": False}
    for gamma in (1.0, 5.0):
        model = paper.make_networks(16, 20, 2, 0)
        sum(paper.seen_losses(Recipe(gamma=gamma), model, batch)[1].values()).backward()
        grads[gamma] = [torch.cat([p.grad.flatten() for p in model[m].parameters()])
                        for m in ("pose", "reconstruction")]
    np.testing.assert_allclose(5*grads[1.0][0], grads[5.0][0], rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(grads[1.0][1], grads[5.0][1], rtol=1e-4, atol=1e-7)


# who sees what

@pytest.mark.parametrize("name", ["Ours-No-CC", "Ours-CC", "Ours-NN", "ULSP"])
def test_shuffled_poses_change_no_weight(name):
    """The world's poses do not reach a self-supervised training: shuffled, they leave every weight as it is, through
    the stage that is run for the tables."""
    world = world_of(7)
    other = world | {"hidden": {k: v.flip(0) for k, v in world["hidden"].items()}}
    assert not torch.equal(world["hidden"]["view"], other["hidden"]["view"])
    a, b = (bench_of(w).result("car", name) for w in (world, other))
    for part in ("reconstruction", "pose"):
        assert all(torch.equal(a["weights"][part][k], b["weights"][part][k]) for k in a["weights"][part])


def test_shuffled_poses_change_all_of_differ():
    world = world_of(7)
    other = world | {"hidden": world["hidden"] | {"view": world["hidden"]["view"].flip(0)}}
    a, b = (bench_of(w).result("car", "DIFFER")["weights"]["reconstruction"] for w in (world, other))
    assert not torch.equal(a["D_s4.bias"], b["D_s4.bias"])


class Direct:
    "Runs stages at once, without a disk."
    seed, profile = 0, "smoke"
    def pick(self, **by): return by["smoke"]
    def stage(self, fn, **arguments): return fn(**arguments)


def world_of(seed):
    g, seen = generator(seed), collection(18, 2, 32, seed)
    hidden = {"view": paper.random_views((18, 2), g), "points": cloud(18, 48, seed=seed),
              "part": torch.zeros(18, 48, dtype=torch.long), "colors": torch.rand(18, 48, 3, generator=g),
              "images": torch.rand(4, 10, 3, 32, 32, generator=g), "more": paper.random_views((4, 10), g)}
    return {"seen": {"images": seen.images, "masks": seen.masks}, "hidden": hidden}


def bench_of(world):
    bench = paper.Bench(Direct())
    evaluated = world["hidden"] | {"images": world["hidden"]["images"][:4], "more": world["hidden"]["more"][:4]}
    bench.worlds["car"] = world | {"hidden": evaluated}
    return bench


def test_a_recipe_gets_what_it_is_allowed_and_no_more():
    seen = collection()
    for recipe, more in ((Recipe(), {"given": torch.zeros(6, 2)}), (Recipe(pose="given"), {}),
                         (Recipe(neighbours=1), {}), (Recipe(), {"neighbours": torch.zeros(6, 5, dtype=torch.long)})):
        with pytest.raises(PaperKitError, match="do not go together"): paper.train_pair(seen, recipe, tiny, **more)
    with pytest.raises(PaperKitError, match="do not go together"):
        paper.train_pair(Collection(seen.images[:, :1], seen.masks[:, :1]), Recipe(pose="ensemble"), tiny)


def test_second_phase_freezes_the_pose_and_ends_the_cycles():
    seen, recipe = collection(), Recipe(geometric=True, cycle=True)
    sizes = tiny._replace(steps=6, switch=0.5)
    whole = paper.train_pair(seen, recipe, sizes, 0)[1]["losses"]
    assert whole["pose"][2] > 0 and whole["pose"][3:] == whole["geometric"][3:] == [0, 0, 0]
    model, _ = paper.train_pair(seen, recipe, sizes, 0, last=3)
    kept = {name: {k: x.clone() for k, x in m.state_dict().items()} for name, m in model.items()}
    after, history = paper.train_pair(seen, recipe, sizes, 0, model=model, first=3)
    assert history["losses"]["pose"] == [0, 0, 0] and len(history["step"]) == 3
    assert all(torch.equal(x, kept["pose"][k]) for k, x in after["pose"].state_dict().items())
    assert not torch.equal(after["reconstruction"].D_s4.bias, kept["reconstruction"]["D_s4.bias"])


def test_probe_keeps_clouds_before_the_steps_named():
    seen, recipe = collection(), Recipe(geometric=True, cycle=True)
    model, history = paper.train_pair(seen, recipe, tiny, 0, probe=seen.images[:2, 0], moments=(0, 2))
    assert [k for k, *_ in history["probe"]] == [0, 2]
    start = paper.predict(paper.make_networks(16, 20, 2, 0), seen.images[:2, 0])["points"]
    assert torch.equal(history["probe"][0][1], start) and not torch.equal(history["probe"][1][1], start)
    # looking changes nothing
    assert torch.equal(weights(seen, recipe),
                       torch.cat([p.detach().flatten() for m in ("reconstruction", "pose")
                                  for p in model[m].parameters()]))


def test_neighbour_variants_share_the_first_leg_with_ours_cc():
    calls = []
    class Counting(Direct):
        def stage(self, fn, **arguments):
            if fn is paper.train_stage: calls.append(arguments)
            return fn(**arguments)
    bench = bench_of(world_of(3))
    bench.run = Counting()
    for method in ("Ours-CC", "Ours-NN", "Ours-NN-4"): bench.result("car", method)
    first = [c for c in calls if c["first"] == 0]
    assert len(first) == 3 and all(c["recipe"] == first[0]["recipe"] and set(c) == set(first[0])
                                   and c["start"] is c["neighbours"] is None for c in first)
    assert [c["recipe"].neighbours for c in calls] == [0, 0, 0, 0, 2, 2, 0, 4, 4]


# the silhouette of the trainings

def test_silhouette_is_the_one_of_the_kit():
    from paper_kit.kit.splat import soft_mask
    pixels = (16*torch.rand(2, 3, 30, 2, generator=generator(), dtype=torch.float64)).requires_grad_()
    other = pixels.detach().clone().requires_grad_()
    weight = torch.rand(16, 16, generator=generator(1), dtype=torch.float64)
    a, b = paper.silhouette(pixels, 16), soft_mask(other, 16, 16)
    np.testing.assert_allclose(a.detach(), b.detach(), atol=1e-11)
    (a*weight).sum().backward(); (b*weight).sum().backward()
    np.testing.assert_allclose(pixels.grad, other.grad, atol=1e-9)
    small = (8*torch.rand(1, 4, 2, generator=generator(2), dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: paper.silhouette(x, 8), small)
    x = torch.zeros(1, 1, 2)
    assert paper.silhouette(x, 64).min() >= 0 and not torch.isnan(paper.silhouette(x, 64)).any()


def test_view_is_the_camera_of_the_world():
    from paper_kit.kit.geometry import project
    from paper_kit.shape3d.worlds import camera_matrix, camera_pose
    v, points = paper.random_views((5,), generator()), cloud(5, 40)
    degrees = torch.rad2deg(v)
    for got, want in zip(paper.view(points, v, 32),
                         project(points, camera_matrix(32), camera_pose(degrees[:, 0], degrees[:, 1]))):
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_colours_are_those_of_the_kit():
    from paper_kit.kit.splat import soft_color
    v, points, colors = (paper.random_views((3, 2), generator()), 1.4*cloud(3, 1, 50).double(),
                         torch.rand(3, 1, 50, 3, generator=generator(1), dtype=torch.float64))
    v, weight = v.double(), torch.rand(3, 2, 3, 16, 16, generator=generator(2), dtype=torch.float64)
    points.requires_grad_(); colors.requires_grad_()
    pixels, depth = paper.view(points, v, 16)
    assert (pixels < 0).any() and (pixels > 16).any()                               # some points outside the image
    a, b = paper.colored(points, colors, v, 16), soft_color(pixels, depth, colors.expand(3, 2, -1, -1), 16, 16)
    np.testing.assert_allclose(a.detach(), b.detach(), atol=1e-12)
    for x, y in zip(*(torch.autograd.grad((c*weight).sum(), (points, colors), retain_graph=True) for c in (a, b))):
        np.testing.assert_allclose(x, y, atol=1e-8)
    one = paper.colored(points[0, 0], colors[0, 0], v[0, 0], 16)
    np.testing.assert_allclose(one.detach(), a[0, 0].detach(), atol=1e-12)
    # a point on a pixel's centre lies in the well of that pixel alone
    edge = torch.zeros(1, 1, 2, dtype=torch.float64)
    middle = paper.colored(torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64), edge[0, 0],
                           15)
    assert middle[0].sum() == 1 and middle[0, 7, 7] == 1


def test_the_rate_falls_in_the_last_phase_only():
    sizes = tiny._replace(steps=100, switch=0.6)
    factor = [paper.fading(step, sizes) for step in range(101)]
    assert (factor[:61] == [1.0]*61 and all(a > b for a, b in zip(factor[60:], factor[61:]))
            and abs(factor[100] - 0.05) < 1e-9)


def test_subnormal_numbers_are_back_after_a_training():
    with paper.without_subnormals(): assert (torch.tensor([1e-38])*0.1).item() == 0
    assert (torch.tensor([1e-38])*0.1).item() > 0


def test_one_arm_is_gone_and_the_rest_is_the_same():
    from paper_kit.shape3d.worlds import build, family
    whole = build("chair", arms="panel", back="solid")
    cut, arm = paper.without_right_arm(whole), family("chair").parts.index("arm")
    middle = lambda s: s.vertices[s.faces].mean(1)[s.part == arm][:, 0]
    assert (middle(whole) > 0).any() and (middle(whole) < 0).any() and len(middle(cut)) and (middle(cut) <= 0).all()
    assert (cut.part != arm).sum() == (whole.part != arm).sum() and len(cut.piece) == len(cut.faces)


def test_trainings_repeat_and_differ_by_seed():
    seen, recipe = collection(), Recipe(geometric=True, cycle=True)
    assert torch.equal(weights(seen, recipe), weights(seen, recipe)) and not torch.equal(weights(seen, recipe),
                                                                                         weights(seen, recipe, seed=1))


def test_neighbours_leave_out_the_image_itself():
    model = paper.make_networks(16, 20, 2, 0)
    images = collection(9).images[:, 0]
    index = paper.feature_neighbours(model, images, 5)
    x = model["reconstruction"](images).feature.detach()
    assert (index != torch.arange(9)[:, None]).all()
    for i in range(9):
        order = (x - x[i]).norm(dim=1).argsort()
        assert set(index[i].tolist()) == set([j for j in order.tolist() if j != i][:5])


@pytest.mark.parametrize("name", ["Ours-CC", "ULSP", "ULSP_Sup + L_G", "Ours-NN-sym"])
def test_one_step_of_the_full_size(name):
    "64 pixels, 1,024 points, the printed networks: one step on the CPU moves every layer that the recipe trains."
    recipe, seen, sizes = recipes[name], collection(6, 2, 64), Sizes(batch=2, steps=1, switch=1.0)
    given = paper.random_views((6,), generator()) if recipe.pose == "given" else None
    near = torch.stack([torch.tensor([j for j in range(6) if j != i]) for i in range(6)]) if recipe.neighbours else None
    start = paper.make_networks(64, 1024, 32, 0)
    model, history = paper.train_pair(seen, recipe, sizes, 0, given=given, neighbours=near)
    assert all(math.isfinite(v[-1]) for v in history["losses"].values())
    for part in ("reconstruction",) + (("pose",) if recipe.pose != "given" else ()):
        assert all(not torch.equal(a, b) for (n, a), b in zip(model[part].named_parameters(), start[part].parameters())
                   if "weight" in n)


# evaluation

def test_one_rotation_undoes_a_turn_of_all():
    truth = cloud(6, 120)*torch.tensor([0.5, 1.0, 0.3])
    for R in (paper.about_z(torch.tensor(2.0)),
              paper.about_z(torch.tensor(-1.0)) @ torch.diag(torch.tensor([1.0, -1, -1]))):
        found = paper.global_rotation(truth @ R.mT, truth)
        assert rotation_angle(found @ R, torch.eye(3)) < 1e-3 and abs(torch.det(found) - 1) < 1e-5
    turns = paper.about_z(torch.linspace(0, 5, 6))
    apart = truth @ turns.mT
    R = paper.global_rotation(apart, truth)
    assert paper.set_distance(apart @ R.mT, truth).mean() > 1e-3       # one for all: turned one by one, they stay apart


def test_pose_errors_by_hand():
    v = torch.deg2rad(torch.tensor([[30.0, 0.0], [200.0, 0.0], [0.0, 30.0]]))
    true = torch.deg2rad(torch.tensor([[10.0, 0.0], [10.0, 0.0], [0.0, 10.0]]))
    np.testing.assert_allclose(paper.pose_errors(v, true, torch.eye(3)), [20, 170, 20], atol=1e-2)
    np.testing.assert_allclose(paper.pose_errors(v, true, torch.eye(3), flip=True), [20, 10, 20], atol=1e-2)
    turn = paper.about_z(torch.tensor(math.radians(50.0)))              # clouds turned by 50 degrees, cameras with them
    shifted = v - torch.tensor([math.radians(50.0), 0.0])
    np.testing.assert_allclose(paper.pose_errors(shifted, true, turn), [20, 170, 20], atol=1e-2)
    np.testing.assert_allclose(torch.rad2deg(paper.aligned_azimuth(shifted[:1], turn)), [30], atol=1e-3)


def test_spread_and_extents():
    assert (paper.circular_spread(torch.full((9,), 1.3)) < 1e-6
            and abs(paper.circular_spread(torch.arange(8)*math.pi/4) - 1) < 1e-6)
    flat = cloud(2, 500)*torch.tensor([1.0, 1.0, 0.0])
    found = paper.extents(flat)
    assert (found[:, 0] < 1e-3).all() and (found[:, 2] > 0.25).all()


def test_billboard_draws_its_silhouette():
    mask = collection(1, 1, 32).masks[0, 0]
    v = torch.tensor([0.7, 0.3])
    points = paper.billboard(mask, v, 900)
    assert paper.extents(points[None])[0, 0] < 1e-4
    place = paper.view(points[None], v[None], 32)[0][0].long()
    lit = torch.zeros(32, 32)
    lit[place[:, 1], place[:, 0]] = 1
    assert torch.equal(lit, mask)                                                   # every pixel of it, and no other


def test_optimisation_fits_the_silhouette_and_the_regulariser_holds():
    model = paper.make_networks(32, 60, 4, 0)
    seen = collection(1, 1, 32)
    moved = {}
    for regular in (0.0, 1e6):
        kept = {k: v.clone() for k, v in model["reconstruction"].state_dict().items()}
        before, after, colors, v = paper.optimise(model, seen.images[0, 0], seen.masks[0, 0], steps=12, rate=1e-3,
                                                  regular=regular, symmetry=0.0)
        # a copy was trained
        assert all(torch.equal(kept[k], x) for k, x in model["reconstruction"].state_dict().items())
        moved[regular] = paper.set_distance(before[None], after[None]).item()
        if not regular:
            assert paper.silhouette_iou(after, v, seen.masks[0, 0]) > paper.silhouette_iou(before, v, seen.masks[0, 0])
    assert moved[1e6] < 0.2*moved[0.0]


def test_mirror_frame_is_found():
    half = cloud(4, 60)*torch.tensor([0.6, 1.0, 0.4])
    body = torch.cat([half, half*torch.tensor([-1.0, 1, 1])], 1) + torch.tensor([0.0, 0.1, 0.0])
    R = paper.mirror_frame(body @ paper.about_z(torch.tensor(math.radians(40.0))).mT)
    assert paper.symmetry_loss(body @ paper.about_z(torch.tensor(math.radians(40.0))).mT @ R.mT).mean() < 1e-4


def test_transfer_by_index():
    "Clouds that keep their index transfer perfectly; shuffled ones do not, and correlate with nothing."
    base = cloud(1, 90)
    truth = base*(1 + 0.1*torch.arange(5.0)[:, None, None])
    part = (base[0, :, 2] > 0).long().expand(5, -1)
    good = paper.transfer(truth, truth, part, generator())
    assert (good["index"] == 1 and good["correlation"] > 0.999 and good["shuffled"] < 0.75
            and 0.4 < good["chance"] < 0.65)
    mixed = torch.stack([x[torch.randperm(90, generator=generator(i))] for i, x in enumerate(truth)])
    bad = paper.transfer(mixed, truth, part, generator())
    assert bad["index"] < 0.75 and abs(bad["correlation"]) < 0.3 and bad["normalised place"] > 0.95


def test_car_parts_fall_into_four_groups():
    from paper_kit.shape3d.worlds import family
    names = family("car").parts
    groups = dict(zip(names, paper.grouped(torch.arange(len(names))).tolist()))
    assert (groups["body"] == 0 and groups["light front"] == 0 and groups["wheel"] == groups["hub"] == 1
            and groups["cabin"] == 2 and groups["window"] == 3)


def test_projections_of_the_exhibit_are_those_of_the_kit():
    "The JavaScript has the camera and both projectors in it; its constants are the kit's."
    from paper_kit.kit.show import exhibit_script
    script = exhibit_script("ss3d_point_clouds.js").replace(" ", "")
    for constant in ("1.875*", "/0.8", "100/(v[2]+1)", "Math.tanh"): assert constant in script


# the paper against itself, and real data

def test_tables_put_each_category_into_its_own_column():
    bench = paper.Bench(Direct())
    score = {"car": 1.0, "chair": 2.0, "plane": 3.0}
    for c, x in score.items():
        for s in (0, 1):
            bench.done[c, "Ours-CC", s] = {"chamfer": torch.full((4,), x + s), "emd": torch.full((4,), 10*x)}
    row = paper.category_table(bench, {"ours": "Ours-CC", "absent": "ULSP"}).set_index("method")
    assert (row.loc["ours", ["Chamfer car", "Chamfer chair", "Chamfer aero"]].tolist() == [1.5, 2.5, 3.5]
            and row.loc["ours", ["EMD car", "EMD chair", "EMD aero"]].tolist() == [10, 20, 30])
    assert row.loc["absent"].isna().all()
    bench.done["car", "Ours-No-CC", 0] = {"chamfer": torch.full((4,), 7.0), "emd": torch.full((4,), 8.0)}
    # one seed of the other: one of ours, in this column only
    pair = paper.category_table(bench, {"ours": "Ours-CC", "none": "Ours-No-CC"}, paired=True).set_index("method")
    assert pair["Chamfer car"].tolist() == [1.0, 7.0] and pair.loc["ours", "Chamfer chair"] == 2.5


def test_statements_against_the_printed_numbers():
    reported = load_manifest(project_root()/"data/papers/ss3d_point_clouds.yaml")["reported"]
    frame = paper.against_print(reported).set_index("statement")
    assert ("4 of 8" in frame.loc["we outperform DIFFER in most of the metrics", "printed"]
            and frame.loc["we outperform DIFFER in most of the metrics", "borne out"] == "no")
    assert "5.7 to 7.37" in frame.loc["the geometric loss brings significant gains to supervised methods", "printed"]


@pytest.fixture
def renderings(tmp_path):
    """Miniature of the published layout that the authors' published code reads (val-iisc/ssl_3d_recon): one whole
    model, one cut short, one without its folder, one cloud with NaN."""
    from PIL import Image
    synset = "02958343"
    np.save(tmp_path/f"images_list_{synset}_train.npy", np.array(["whole_0", "broken_3", "missing_1", "hollow_0"]))
    seen = collection(1, 10, 64)
    for model in ("whole", "broken", "hollow"):
        folder = tmp_path/"ShapeNet_rendered"/synset/model
        folder.mkdir(parents=True)
        for k in range(10):
            Image.fromarray((255*seen.images[0, k].movedim(0, -1).numpy()).astype(np.uint8)).save(
                folder/f"render_{k}.png")
            Image.fromarray((255*seen.masks[0, k].numpy()*(model != "hollow")).astype(np.uint8)).save(
                folder/f"mask_{k}.png")
            if model == "broken": (folder/f"render_{k}.png").write_bytes((folder/f"render_{k}.png").read_bytes()[:80])
    for model, x in (("whole", np.zeros((1024, 3))), ("broken", np.full((1024, 3), np.nan))):
        folder = tmp_path/"ShapeNet_v1"/synset/model
        folder.mkdir(parents=True)
        np.save(folder/"pcl_1024_fps_trimesh.npy", x)
    return tmp_path, synset


def test_the_loader_reads_what_is_whole_and_names_the_rest(renderings):
    root, synset = renderings
    seen, kept, left = paper.read_renderings(root, synset)
    assert kept == ["whole"] and seen.images.shape == (1, 1, 3, 64, 64) and set(seen.masks.unique().tolist()) == {0, 1}
    assert {m for m, _ in left} == {"broken", "missing", "hollow"} and "empty silhouette" in dict(left)["hollow"]
    clouds, absent = paper.read_clouds(root, synset, ["whole", "broken", "missing"])
    assert clouds.shape == (1, 1024, 3) and "not finite" in dict(absent)["broken"] and "missing" in dict(absent)
    with pytest.raises(PaperKitError, match="not as expected"): paper.read_renderings(root, "00000000")
    with pytest.raises(PaperKitError, match="no true cloud"): paper.read_clouds(root, synset, ["missing"])


def write_class(root, synset, shapes, counts, seed):
    "Painted solids in the published layout: every view the same picture, clouds with y up."
    from io import BytesIO
    from PIL import Image
    from paper_kit.shape3d.worlds import image_collection
    def png(x):
        file = BytesIO()
        Image.fromarray((255*x.numpy()).round().astype(np.uint8)).save(file, "PNG")
        return file.getvalue()
    rng = np.random.default_rng(seed)
    seen, _ = image_collection(shapes, rng, size=64)
    names, clouds = [f"{synset}{k:02d}" for k in range(len(shapes))], []
    for split, part in zip(("train", "val", "test"), np.split(names, np.cumsum(counts)[:-1])):
        np.save(root/f"images_list_{synset}_{split}.npy", np.array([f"{name}_0" for name in part]))
    for name, shape, image, mask in zip(names, shapes, seen.images[:, 0], seen.masks[:, 0]):
        pictures, models = (root/kind/synset/name for kind in ("ShapeNet_rendered", "ShapeNet_v1"))
        for folder in (pictures, models): folder.mkdir(parents=True)
        for k in range(10):
            (pictures/f"render_{k}.png").write_bytes(png(image.movedim(0, -1)))
            (pictures/f"mask_{k}.png").write_bytes(png(mask))
        x, y, z = (shape.sample(1024, rng).points*0.5).unbind(-1)
        np.save(models/"pcl_1024_fps_trimesh.npy", torch.stack([x, z, -y], -1).numpy())
        clouds.append(torch.stack([x, y, z], -1))
    return seen, torch.stack(clouds)


@pytest.fixture(scope="module")
def shapenet(tmp_path_factory):
    root, counts = tmp_path_factory.mktemp("renderings"), (12, 5, 5)
    rng = np.random.default_rng(3)
    return root, {name: write_class(root, synset, paper.shapes_of(name, sum(counts), rng), counts, k)
                  for k, (name, synset) in enumerate(paper.synsets.items())}


def test_the_renderings_become_the_worlds_tensors(shapenet):
    root, made = shapenet
    source = datasets.Source("shapenet_renderings", root, "0")
    assert datasets.find("shapenet_renderings", root) == root
    found = paper.renderings_stage(source, (11, 5, 4), 32, 48)
    assert list(found["counts"]) == [11, 5, 4]
    for name, (seen, clouds) in made.items():
        world, rows = found["worlds"][name], [*range(11), *range(12, 17), *range(17, 21)]
        away = torch.cdist(world["hidden"]["points"], clouds[rows].float()).amin(-1)
        assert away.shape == (20, 48) and away.max() < 1e-3, "not the clouds, or another frame"
        coarse = torch.nn.functional.avg_pool2d(seen.masks[rows], 2)
        torch.testing.assert_close(world["seen"]["masks"], (coarse >= 0.5).float())
        assert world["seen"]["images"].shape == (20, 1, 3, 32, 32)
        assert (world["seen"]["images"]*(1 - world["seen"]["masks"][:, :, None])).max() == 0
        assert world["hidden"]["view"].isnan().all()
    assert list(paper.renderings_stage(source, (500, 40, 40), 32, 48)["counts"]) == [12, 5, 5]


def test_too_few_renderings_are_refused(shapenet, monkeypatch):
    monkeypatch.setattr(paper, "least_models", (12, 6, 5))
    with pytest.raises(PaperKitError, match="too few models can be read"):
        paper.renderings_stage(datasets.Source("shapenet_renderings", shapenet[0], "0"), (12, 9, 5), 32, 48)


def test_tables_1_and_3_from_the_renderings(shapenet):
    class Run:
        seed, profile, pick = 0, "smoke", lambda self, smoke, **_: smoke
        def stage(self, fn, **given):
            assert not hasattr(given.get("given"), "shape") and fn is not paper.world_stage
            return fn(**given)
    bench = paper.real_bench(Run(), datasets.Source("shapenet_renderings", shapenet[0], "0"))
    scores = [f"{what} {c}" for what in ("Chamfer", "EMD") for c in ("car", "chair", "aero")]
    first = paper.category_table(bench, {"Ours-No-CC": "Ours-No-CC", "Ours-CC": "Ours-CC"}, paired=True)
    assert np.isfinite(first[scores].astype(float)).all(axis=None) and (first[scores].astype(float) > 0).all(axis=None)
    third = paper.table_3(bench).set_index("method")
    assert np.isfinite(third.loc[["Ours-CC", "Ours-NN"], scores].astype(float)).all(axis=None)
    assert third.loc[["ULSP_Sup", "DIFFER", "ULSP"], scores].isna().all(axis=None)


# predicates

GOOD = {
    "C1": {"Chamfer with": [0.5, 0.52, 0.48], "Chamfer without": [1.1, 1.0, 1.2],
           "thickness without": [0.02, 0.03, 0.02], "spread of azimuths without": [0.01, 0.0, 0.02]},
    "C2": {"spread, pose cycle": [0.8, 0.9, 0.85], "spread, none": [0.04, 0.05, 0.05],
           "thickness, geometric cycle": [0.3, 0.31, 0.3], "thickness, none": [0.1, 0.12, 0.1]},
    "C3": {f"{c} {k}": v for c in ("car", "chair", "plane") for k,
           v in {"Chamfer, Ours-NN": [0.4, 0.41, 0.4], "Chamfer, Ours-CC": [0.5, 0.52, 0.51],
                 "pose error, Ours-NN": [10, 11, 10], "pose error, Ours-CC": [20, 22, 21]}.items()},
    "C4": {"best of one or two": [0.4, 0.41, 0.4], "best of the others": [0.5, 0.52, 0.5],
           "distance of the first": [0.4, 0.4, 0.41], "distance of the fifth neighbour": [0.5, 0.5, 0.52]},
    "C5": {"Chamfer, Ours-NN": [0.5, 0.5, 0.51], "Chamfer, DIFFER": [0.45, 0.46, 0.45], "EMD, Ours-NN": [8, 8.1, 8],
           "EMD, DIFFER": [8, 8, 8.1]},
    "C6": {f"{c} {w}": [x, x + 0.01, x - 0.01] for c in ("car", "chair", "plane") for w,
           x in (("with", 0.4 if c != "chair" else 0.6), ("without", 0.5))},
    "C7": {"plane with": [0.4, 0.4, 0.41], "plane without": [0.5, 0.5, 0.52], "chair with": [0.6, 0.6, 0.61],
           "chair without": [0.5, 0.5, 0.51]},
    "C8": {"silhouettes that improved": [1]*60, "change of Chamfer": [0.02, 0.03, 0.01],
           "change without regulariser": [0.2, 0.25, 0.22]},
    "C9": {"fall of the least asymmetric": [50, 52, 51], "largest fall of the others": [5, 6, 5],
           "accuracy, colours alike": [45, 46, 45], "half of the flipped": [46, 46, 45]},
    "C10": {"accuracy by index": [0.9, 0.9, 0.91], "chance": [0.4, 0.4, 0.4], "shuffled index": [0.41, 0.4, 0.4],
            "rank correlation of places": [0.8, 0.82, 0.8]},
    "C11": {"Chamfer to feature neighbours": [0.2, 0.21, 0.2], "Chamfer to pixel neighbours": [0.4, 0.41, 0.4],
            "pose difference, feature": [80, 82, 81], "pose difference, pixels": [20, 21, 20]},
    "C12": {"Chamfer, Ours-NN": [14.5, 14.4, 14.6], "Chamfer, DIFFER": [14.3, 14.3, 14.4]}}
BAD = [("C1", "Chamfer with", [1.3, 1.2, 1.4]), ("C1", "thickness without", [0.4, 0.41, 0.4]),
       ("C1", "spread of azimuths without", [0.9, 0.91, 0.9]),
       ("C2", "spread, pose cycle", [0.0, 0.0, 0.0]), ("C2", "thickness, geometric cycle", [0.05, 0.06, 0.05]),
       ("C3", "car Chamfer, Ours-NN", [0.9, 0.9, 0.92]), ("C3", "chair pose error, Ours-NN", [30, 33, 31]),
       ("C4", "best of one or two", [0.6, 0.62, 0.6]), ("C4", "distance of the fifth neighbour", [0.3, 0.3, 0.31]),
       ("C5", "Chamfer, Ours-NN", [0.9, 0.91, 0.9]), ("C5", "EMD, Ours-NN", [12, 12, 12.1]),
       ("C6", "car with", [0.6, 0.61, 0.59]), ("C7", "plane with", [0.6, 0.6, 0.61]),
       ("C7", "chair with", [0.4, 0.4, 0.41]), ("C8", "silhouettes that improved", [1, 0]*30),
       ("C8", "change of Chamfer", [0.3, 0.31, 0.3]), ("C8", "change without regulariser", [0.0, 0.01, 0.0]),
       ("C9", "fall of the least asymmetric", [1, 2, 1]), ("C9", "accuracy, colours alike", [90, 91, 92]),
       ("C10", "accuracy by index", [0.41, 0.42, 0.41]), ("C10", "rank correlation of places", [0.1, 0.12, 0.1]),
       ("C11", "Chamfer to feature neighbours", [0.5, 0.52, 0.5]),
       ("C11", "pose difference, feature", [10, 11, 10]), ("C12", "Chamfer, Ours-NN", [20, 21, 20])]


@pytest.mark.parametrize("claim", sorted(GOOD))
def test_predicates_hold_on_good_numbers(claim):
    assert predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"


@pytest.mark.parametrize("claim,name,value", BAD)
def test_predicates_fail_on_bad_numbers(claim, name, value):
    assert predicates[claim].evaluate(varied(GOOD[claim] | {name: value})).verdict == "fails"


def test_every_claim_has_a_tested_predicate_and_one_seed_decides_nothing():
    manifest = load_manifest(project_root()/"data/papers/ss3d_point_clouds.yaml")
    assert {c["id"] for c in manifest["claims"]} == set(GOOD) == set(predicates) == {c for c, *_ in BAD}
    for claim in ("C1", "C6", "C10", "C11"):
        assert predicates[claim].evaluate(varied({k: v[:1] for k, v in GOOD[claim].items()})).verdict == "undecided"
