"""What the notebook of permutation_sync cannot hold: the manifold against naive algebra and geoopt, energy and gradient
by hand, rivals against their optima, the worlds, predicates that must fail, loaders on miniatures, bad inputs."""
import itertools
import math

import numpy as np
import pytest
import torch

from paper_kit.geometry import permutation_sync as paper
from paper_kit.geometry.permutation_sync import (FLOOR, OBJECTS, READINGS, SIZES, absolute, as_matrix, between,
                                                 birkhoff_lbfgs, centre, corners_of, disagreement, energy,
                                                 exact_share, expected_recall, gradient, hungarian, inner, joined,
                                                 langevin, langevin_step, low_rank, matchals, matcheig, matchlift,
                                                 nearest_stochastic, open_triangles, pairwise, permutation_world,
                                                 permutations, predicates, project, project_printed,
                                                 random_permutations, random_points, random_recall, ranked_apart,
                                                 read_cmu, read_willow, recall, retract, rounded_pairs, sinkhorn,
                                                 spectral, strictly_inside, synchronise, top_recall, with_geometry)
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.paper import load_manifest
from helpers import varied


def seeded(seed=0): return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0): return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def world(): return permutation_world(6, 5, 0.4, np.random.default_rng(3))


# the manifold

def test_sinkhorn_finds_what_a_thousand_plain_rounds_find():
    A = noise(4, 6, 6).exp()
    X = A
    for _ in range(2000): X = X/X.sum(-1, keepdim=True); X = X/X.sum(-2, keepdim=True)
    assert torch.allclose(sinkhorn(A), X, atol=1e-12)


def test_sinkhorn_is_finished_near_the_corners_where_plain_rounds_are_not():
    A = (as_matrix(np.array([2, 0, 1, 3])) + 1e-6*noise(4, 4).exp())*noise(4, 4, seed=1).exp()
    X = sinkhorn(A)
    assert max((X.sum(-1) - 1).abs().max(), (X.sum(-2) - 1).abs().max()) < 1e-12
    assert (X > 0).all()


def test_the_projection_is_the_fisher_orthogonal_one_by_naive_least_squares():
    X, Y = random_points((5, 5), seeded()), noise(5, 5, seed=1)
    normals = [np.zeros((5, 5)) for _ in range(10)]                     # the normal space: (a 1^T + 1 b^T) o X
    for k in range(5): normals[k][k], normals[5 + k][:, k] = X.numpy()[k], X.numpy()[:, k]
    B, w = np.stack([v.ravel() for v in normals], 1), 1/np.sqrt(X.numpy().ravel())
    fitted = B @ np.linalg.lstsq(B*w[:, None], Y.numpy().ravel()*w, rcond=None)[0]
    assert np.allclose(project(X, Y).numpy().ravel(), Y.numpy().ravel() - fitted, atol=1e-12)
    assert torch.allclose(project(X, Y), project_printed(X, Y), atol=1e-10)


def test_the_projection_works_in_batches_and_near_a_corner():
    X, Y = random_points((2, 3, 4, 4), seeded()), noise(7, 2, 3, 4, 4)
    whole = paper.projector(X)(Y)
    assert whole.shape == Y.shape and torch.allclose(whole[4, 1, 2], project(X[1, 2], Y[4, 1, 2]), atol=1e-12)
    corner = sinkhorn(as_matrix(np.array([1, 2, 0])) + 1e-9).clamp(min=FLOOR)
    P = project(corner, noise(3, 3))
    assert max(P.sum(-1).abs().max(), P.sum(-2).abs().max()) < 1e-10


def test_projection_and_retraction_by_hand_for_two_points():
    x, X = 0.3, torch.tensor([[0.3, 0.7], [0.7, 0.3]], dtype=torch.float64)
    Y = noise(2, 2)
    v = ((Y[0, 0] + Y[1, 1])*(1 - x) - (Y[0, 1] + Y[1, 0])*x)/2
    assert torch.allclose(project(X, Y), v*torch.tensor([[1, -1], [-1, 1]]).double(), atol=1e-14)
    step = 0.1*torch.tensor([[1, -1], [-1, 1]]).double()
    logit = math.log(x/(1 - x)) + 0.1/(x*(1 - x))
    assert retract(X, step)[0, 0].item() == pytest.approx(1/(1 + math.exp(-logit)), abs=1e-12)


def test_the_release_agrees_once_its_factor_is_known():
    geoopt = pytest.importorskip("geoopt")
    manifold = geoopt.BirkhoffPolytope()
    X, U = random_points((3, 5, 5), seeded()), noise(3, 5, 5)
    assert torch.allclose(manifold.proju(X, U), project(X, X*U), atol=1e-8), "proju(x, u) is Pi(x o u), not Pi(u)"
    assert not torch.allclose(manifold.proju(X, U), project(X, U), atol=1e-2)
    xi = 0.05*project(X, X*U)
    assert torch.allclose(manifold.retr(X, xi), retract(X, xi), atol=1e-4)
    assert torch.allclose(5*manifold.inner(X, xi, xi), inner(X, xi, xi), atol=1e-12)


def test_retraction_is_first_order_and_stays_inside():
    X = random_points((20, 6, 6), seeded())
    xi = project(X, X*noise(20, 6, 6))
    e = 1e-5
    assert ((retract(X, e*xi) - X)/e - xi).abs().max() < 1e-4
    far = retract(X, 1e3*xi)
    assert (far >= FLOOR).all() and torch.isfinite(far).all()


def test_decomposition_and_sphere():
    X = random_points((6, 6), seeded(), 2.0)
    weights, P = corners_of(X)
    assert torch.allclose((weights[:, None, None]*P).sum(0), X, atol=1e-8) and len(weights) <= 26
    assert (P.sum(-1) == 1).all() and (P.sum(-2) == 1).all()
    assert torch.allclose((permutations(4) - centre(4)).norm(dim=(-2, -1)), torch.full((24,), math.sqrt(3)).double())
    assert ((permutations(3).mean(0) - centre(3)).abs() < 1e-15).all()


def test_the_shadow_keeps_the_corners_apart():
    corners = paper.shadow(permutations(3).numpy())
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(corners, 2)]
    assert min(gaps) > 0.5 and np.linalg.norm(corners, axis=1).max() <= math.sqrt(2) + 1e-12


# the model

def test_energy_is_equation_14_and_its_gradient(world):
    X = random_points((6, 5, 5), seeded()).requires_grad_()
    P = world.blocks()
    U = sum((P[i, j] - X[i] @ X[j].T).square().sum() for i, j in world.pairs)
    found, G = energy(X, world)
    assert found.item() == pytest.approx(U.item(), abs=1e-9)
    assert torch.allclose(torch.autograd.grad(U, X)[0], G, atol=1e-10)


def test_energy_on_a_sparse_graph_and_in_batches():
    sparse = permutation_world(7, 4, 0.5, np.random.default_rng(0), density=0.3)
    X = random_points((3, 7, 4, 4), seeded())
    U = [sum((sparse.blocks()[i, j] - x[i] @ x[j].T).square().sum() for i, j in sparse.pairs) for x in X]
    assert torch.allclose(energy(X, sparse)[0], torch.stack(U), atol=1e-9)


def test_disagreement_counts_contradicted_matches(world):
    labels = random_permutations(6, 5, np.random.default_rng(1))
    wrong = sum((rounded_pairs(world.W.numpy(), 6)[i, j] != between(labels)[i, j]).sum() for i, j in world.pairs)
    assert disagreement(labels, world) == pytest.approx(2*wrong)


def test_recall_by_hand():
    truth = np.array([[0, 1, 2], [1, 2, 0]])
    edges = ~torch.eye(2, dtype=torch.bool)
    problem = joined(torch.zeros(2, 2, 3, 3).double(), edges, truth)
    assert between(truth)[0, 1].tolist() == [2, 0, 1] and recall(between(truth), problem) == 1
    assert recall(between(np.array([[0, 1, 2], [1, 0, 2]])), problem) == pytest.approx(1/3)


def test_labels_always_close_triangles_and_pairs_need_not(world):
    assert open_triangles(between(world.truth)) == 0
    assert open_triangles(rounded_pairs(world.W.numpy(), 6)) > 0.5


# the mode

def test_every_step_goes_down_and_the_end_is_stationary(world):
    found = birkhoff_lbfgs(world, strictly_inside(absolute(matcheig(world))), tolerance=1e-12, most=2000, keep=True)
    assert (np.diff(found.costs) < 0).all()
    assert max((X.sum(-2) - 1).abs().max() for X in found.path) < 1e-8
    R = gradient(found.X, energy(found.X, world)[1])
    assert inner(found.X, R, R).sum().sqrt() < 1e-2


def test_the_mode_is_no_worse_than_gradient_descent_and_needs_fewer_iterations(world):
    start = strictly_inside(absolute(matcheig(world)))
    ours, plain = birkhoff_lbfgs(world, start), birkhoff_lbfgs(world, start, memory=0)
    assert ours.costs[-1] < plain.costs[-1] + 0.01 and len(ours.costs) < len(plain.costs)


def test_two_loops_is_the_dense_quasi_newton_step():
    X = random_points((2, 3, 3), seeded())
    tangent = lambda k: project(X, noise(2, 3, 3, seed=k))
    R, pairs = tangent(0), []
    for k in (1, 2):
        s = tangent(k)
        y = s + 0.3*tangent(k + 10)
        pairs.append((s, y, 1/inner(X, s, y).sum()))
    w, flat = (1/X).ravel(), lambda v: v.reshape(-1)
    s, y, rho = pairs[-1]
    H = torch.eye(18).double()/(rho*inner(X, y, y).sum())
    for s, y, rho in pairs:                                 # H <- (I - rho s y*) H (I - rho y s*) + rho s s*
        A = torch.eye(18).double() - rho*torch.outer(flat(s), flat(y)*w)
        B = torch.eye(18).double() - rho*torch.outer(flat(y), flat(s)*w)
        H = A @ H @ B + rho*torch.outer(flat(s), flat(s)*w)
    assert torch.allclose(flat(paper.two_loops(X, R, pairs)), -H @ flat(R), atol=1e-10)


def test_without_noise_everybody_finds_the_truth():
    clean = permutation_world(5, 6, 0.0, np.random.default_rng(0))
    assert recall(rounded_pairs(clean.W.numpy(), 5), clean) == 1
    for labels in (spectral(clean), hungarian(synchronise(clean).X), hungarian(paper.alternating(clean, seeded()).X)):
        assert recall(between(labels), clean) == 1
    for matches in (pairwise(matcheig(clean), clean), rounded_pairs(matchals(clean, np.random.default_rng(0)), 5),
                    rounded_pairs(matchlift(clean), 5)):
        assert recall(matches, clean) == 1


# the rivals

def test_the_nearest_stochastic_matrix_is_nearest():
    Y = noise(3, 3)
    X = nearest_stochastic(Y, 5000, 1e-13)
    assert ((Y - X)*(permutations(3) - X)).sum((-2, -1)).max() < 1e-8, "an obtuse angle to every corner"
    assert (X >= 0).all() and (X.sum(-1) - 1).abs().max() < 1e-10


def test_matchlift_reaches_the_optimum_that_cvxpy_finds():
    cp = pytest.importorskip("cvxpy")
    small = permutation_world(4, 3, 0.67, np.random.default_rng(2))
    Z = cp.Variable((12, 12), PSD=True)
    block = lambda i, j: Z[3*i:3*i + 3, 3*j:3*j + 3]
    rules = [Z >= 0] + [block(i, i) == np.eye(3) for i in range(4)]
    rules += [cp.sum(block(i, j), axis=k) == 1 for i in range(4) for j in range(4) if i != j for k in (0, 1)]
    best = cp.Problem(cp.Maximize(cp.sum(cp.multiply(small.W.numpy(), Z))), rules).solve(solver="SCS", eps=1e-7)
    ours = matchlift(small, 4000, tolerance=1e-8)
    assert (small.W.numpy()*ours).sum() == pytest.approx(best, rel=2e-3)
    assert np.linalg.eigvalsh(ours).min() > -1e-3 and ours.min() > -1e-3


def test_geometry_mends_labels_and_leaves_right_ones():
    rng = np.random.default_rng(0)
    shape, views = rng.standard_normal((8, 3)), rng.standard_normal((12, 3, 2))*0.3 + np.eye(3)[:, :2]
    truth = random_permutations(12, 8, rng)
    places = np.take_along_axis(shape @ views, truth[..., None], 1)
    assert np.abs(low_rank(places, truth, 3) - (shape @ views)).max() < 1e-10, "rank 3 without a shift"
    problem = permutation_world(12, 8, 0.0, rng)._replace(truth=truth)
    W = as_matrix(truth).reshape(96, 8)
    problem = problem._replace(W=W @ W.T*(1 - torch.kron(torch.eye(12), torch.ones(8, 8)).double()))
    swapped = truth.copy()
    swapped[0, [0, 1]] = swapped[0, [1, 0]]
    assert recall(between(with_geometry(problem, places, strictly_inside(swapped))), problem) == 1


# samples

def test_readings_by_hand_and_a_bad_one():
    X, G, Z = random_points((2, 3, 3), seeded()), noise(2, 3, 3), noise(2, 3, 3, seed=1)
    s = math.sqrt(2*1e-3/0.5)
    by_hand = {"A": -1e-3*G + s*Z, "B": -1e-3*X*G + s*X.sqrt()*Z, "C": X*(-1e-3*G + s*Z)}
    for reading in READINGS:
        V = project(X, by_hand[reading])
        assert torch.allclose(langevin_step(X, G, 1e-3, 0.5, Z, reading), retract(X, V, 10.0), atol=1e-8)
    with pytest.raises(PaperKitError, match="reading"): langevin_step(X, G, 1e-3, 0.5, Z, "D")


def test_the_noise_of_reading_b_is_white_in_the_fisher_metric():
    x = torch.tensor(0.2).double()
    X = torch.stack([torch.stack([x, 1 - x]), torch.stack([1 - x, x])]).expand(40_000, 2, 2)
    V = project(X, X.sqrt()*noise(40_000, 2, 2))
    assert V[:, 0, 0].var().item() == pytest.approx(0.2*0.8/2, rel=0.03), "G^-1 = x (1 - x) / 2"


def test_exact_distributions_against_quadrature():
    from scipy.integrate import quad
    from scipy.stats import beta as beta_law
    x = np.array([0.1, 0.5, 0.9])
    weight = lambda t: math.exp(-4*0.7*(1 - t)**2)
    total = quad(weight, 0, 1)[0]
    assert np.allclose(exact_share(x, 0.7, False), [quad(weight, 0, t)[0]/total for t in x], atol=1e-6)
    assert np.allclose(exact_share(x, 0.0, True), beta_law(0.5, 0.5).cdf(x), atol=1e-6)


def test_samples_are_averages_and_batches_are_possible(world):
    start = strictly_inside(world.truth)[None].repeat(2, 1, 1, 1)
    found = langevin(world, start, seeded(), h=1e-4, beta=1.0, steps=5, keep_every=1)
    assert torch.allclose(found.mean, torch.stack(found.kept).mean(0)) and found.pair.shape == (2, 30, 30)
    assert torch.allclose(found.pair.view(2, 6, 5, 6, 5).sum(-1), torch.ones(2, 6, 5, 6).double(), atol=1e-6)


def test_top_recall_by_hand_ties_and_random():
    truth = np.array([[0, 1, 2], [0, 1, 2]])
    problem = joined(torch.zeros(2, 2, 3, 3).double(), ~torch.eye(2, dtype=torch.bool), truth)
    S = np.zeros((6, 6))
    S[:3, 3:] = [[3, 2, 1], [3, 2, 1], [3, 2, 1]]
    assert [top_recall(S, problem, K) for K in (1, 2, 3)] == pytest.approx([1/3, 2/3, 1])
    assert [top_recall(np.zeros((6, 6)), problem, K) for K in (1, 2, 3)] == pytest.approx([1/3, 2/3, 1]), "ties: chance"
    assert random_recall(0.4, 10, 2) == pytest.approx(0.4 + 0.6/9) and random_recall(0.4, 10, 10) == pytest.approx(1)


def test_area_under_the_roc_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    value, right = rng.integers(0, 6, 80)/6, rng.random(80) < 0.4
    assert ranked_apart(value, right) == pytest.approx(sklearn.roc_auc_score(right, value))
    assert math.isnan(ranked_apart(value, np.ones(80, bool)))


# the worlds

def test_observed_recall_is_what_the_formula_expects():
    rng = np.random.default_rng(0)
    found = np.mean([recall(rounded_pairs(p.W.numpy(), 10), p)
                     for p in (permutation_world(10, 12, 0.5, rng) for _ in range(12))])
    assert found == pytest.approx(expected_recall(12, 0.5), abs=0.02)
    assert expected_recall(12, 0.0) == 1


def test_noise_is_fresh_for_every_edge_and_graphs_are_connected():
    world = permutation_world(8, 6, 0.5, np.random.default_rng(0))
    assert open_triangles(rounded_pairs(world.W.numpy(), 8)) > 0.5, "drawn once a node it would be 0"
    sparse = permutation_world(15, 3, 0.3, np.random.default_rng(1), density=0.05)
    reach = np.linalg.matrix_power(sparse.edges.numpy().astype(int) + np.eye(15, dtype=int), 15)
    assert (reach > 0).all() and torch.equal(sparse.W, sparse.W.T)


@pytest.mark.parametrize("share, density", [(-0.1, 1.0), (1.2, 1.0), (0.3, 0.0), (0.3, 1.5)])
def test_bad_worlds_are_refused(share, density):
    with pytest.raises(PaperKitError, match="no such world"):
        permutation_world(4, 4, share, np.random.default_rng(0), density=density)


def test_a_picture_without_matches_and_an_unknown_object_are_refused():
    edges = torch.zeros(3, 3, dtype=torch.bool)
    edges[0, 1] = edges[1, 0] = True
    with pytest.raises(PaperKitError, match="no match"): joined(torch.zeros(3, 3, 2, 2).double(), edges)
    with pytest.raises(PaperKitError, match="no such object"): paper.photograph("teapot", 2, 0)


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_seen_landmarks_lie_on_the_surface_that_the_ray_caster_sees(name):
    solids, marks = OBJECTS[name]()
    off = paper.landmark_check(name, 0)
    assert len(marks) == (30 if name.startswith("CMU") else 10)
    assert (off < 0.02).mean() >= 0.7, "the rest is hidden in this view"


def test_pictures_repeat_and_differ():
    a, b = paper.photograph("Duck", 2, 5, 48), paper.photograph("Duck", 2, 5, 48)
    assert torch.equal(a.images, b.images) and np.array_equal(a.places, b.places)
    assert not torch.equal(a.images[0], a.images[1]) and a.images.min() >= 0 and a.images.max() <= 1


def test_patches_are_centred_on_the_landmark():
    image = torch.zeros(3, 40, 40)
    image[:, 10, 30] = 1                                                # row 10, column 30: centre at (30.5, 10.5)
    patch = paper.patches(image, np.array([[30.5, 10.5]]), 9, 9)
    assert patch[0, 0].argmax().item() == 4*9 + 4 and patch[0, 0].max().item() == pytest.approx(1, abs=1e-4)


# the loaders: layouts of WILLOW (README of the data set; loader of HNN-HM) and of the CMU sequences (its loaders)

def willow(folder, count=1):
    from PIL import Image
    from scipy.io import savemat
    place = folder/"WILLOW-ObjectClass"/"Car"
    place.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(np.full((20, 30, 3), 10*k, np.uint8)).save(place/f"car_{k}.png")
        savemat(place/f"car_{k}.mat", {"pts_coord": np.arange(20.).reshape(2, 10) + k})
    return place


def test_willow_is_read_as_it_lies(tmp_path):
    willow(tmp_path, 3)
    images, places = read_willow(tmp_path, "Car", 2)
    assert len(images) == 2 and images[1].shape == (3, 20, 30) and places.shape == (2, 10, 2)
    assert places[1, 4].tolist() == [5.0, 15.0] and images[1].mean().item() == pytest.approx(10/255)


def test_damaged_willow_is_refused_by_name(tmp_path):
    from scipy.io import savemat
    place = willow(tmp_path)
    savemat(place/"car_0.mat", {"pts_coord": np.full((2, 10), np.nan)})
    with pytest.raises(PaperKitError, match="car_0.mat"): read_willow(tmp_path, "Car")
    savemat(place/"car_0.mat", {"pts_coord": np.zeros((2, 8))})
    with pytest.raises(PaperKitError, match="landmarks do not fit"): read_willow(tmp_path, "Car")      # as face 160
    (place/"car_0.mat").write_bytes(b"no mat file")
    with pytest.raises(PaperKitError, match="car_0.mat"): read_willow(tmp_path, "Car")
    (place/"car_0.mat").unlink()
    with pytest.raises(PaperKitError, match="car_0.mat"): read_willow(tmp_path, "Car")
    with pytest.raises(PaperKitError, match="no picture"): read_willow(tmp_path, "Duck")


def house(folder, frames=4):
    from PIL import Image
    for part in ("images", "label"): (folder/"house"/part).mkdir(parents=True)
    for k in range(frames):
        Image.fromarray(np.full((16, 24), 20*k, np.uint8)).save(folder/"house"/"images"/f"house.seq{k}.png")
        np.savetxt(folder/"house"/"label"/f"house{k + 1}", np.arange(60.).reshape(30, 2) + k)


def test_the_cmu_house_is_read_as_it_lies(tmp_path):
    house(tmp_path)
    frames, places = read_cmu(tmp_path, "house")
    assert len(frames) == 4 and frames[0].shape == (3, 16, 24) and places[3, 2].tolist() == [7.0, 8.0]
    assert read_cmu(tmp_path, "house", 2)[1][1, 0].tolist() == [3.0, 4.0], "first and last of those asked for"


def test_a_damaged_cmu_house_is_refused_by_name(tmp_path):
    house(tmp_path)
    label = tmp_path/"house"/"label"/"house2"
    label.write_text("1 2\n"*29 + "nan 3\n")
    with pytest.raises(PaperKitError, match="house2"): read_cmu(tmp_path, "house")
    label.write_text("1 2\n"*12 + "three four\n")
    with pytest.raises(PaperKitError, match="house2"): read_cmu(tmp_path, "house")
    label.unlink()
    with pytest.raises(PaperKitError, match="house2"): read_cmu(tmp_path, "house")
    with pytest.raises(PaperKitError, match="no frame"): read_cmu(tmp_path, "hotel")


# predicates: each has to fail on numbers that must make it fail

C1, C2, C3 = ([p.name for p in getattr(predicates[c], "parts", [predicates[c]])] for c in ("C1", "C2", "C3"))
C7 = {f"fewer {w} than {m}": [1.0]*200 for w in ("iterations", "seconds")
      for m in ("Riemannian gradient", "Euclidean steps", "[77] minus geometry")}
GOOD = {"C1": dict(zip(C1, ([1e-15], [1e-15], [1e-15], [0.1]))), "C2": {C2[0]: [1e-15, 2e-14]},
        "C3": dict(zip(C3, ([1e-15], [-1.0]))), "C4": {"Ours": [0.9]*3, "MatchEig": [0.85]*3, "Spectral": [0.8]*3},
        "C5": {"Ours": [0.8]*3, "[77] minus geometry": [0.8]*3}
              | {m: [0.7]*3 for m in ("Spectral", "MatchALS", "MatchEig", "MatchLift")},
        "C6": {"Ours-Geom": [0.98]*3, "Ours": [0.8]*3}, "C7": C7,
        "C8": {"gain of the second candidate": [0.1]*3, "gain of a random second": [0.02]*3, "Ours-3": [0.95]*3,
               "Rand-3": [0.85]*3},
        "C9": {"labels_that_differ_between_betas": 0.0, "variance of samples by beta": [[3.0, 2.0, 1.0]]*9},
        "C10": {"distance from gradient descent with beta = 1e12": [1e-7], "rises_of_U": 0.0},
        "C11": {"distance of reading A from the nearer density": [0.02]*3},
        "C12": {"distance of reading B from exp(-beta U) dX": [0.01]*3, "distance of B from Eq. 15": [0.2]*3}}
BAD = [("C1", C1[0], [1e-15, 1e-9]), ("C1", C1[1], [1e-9]), ("C1", C1[2], [1e-9]), ("C1", C1[3], [1.1]),
       ("C2", C2[0], [1e-11]), ("C3", C3[0], [1e-9]), ("C3", C3[1], [0.1]), ("C4", "MatchEig", [0.898]*3),
       ("C4", "Spectral", [0.895]*3), ("C5", "MatchLift", [0.82]*3), ("C5", "[77] minus geometry", [0.85]*3),
       ("C5", "Spectral", [0.9]*3), ("C6", "Ours", [0.9]*3), *(("C7", name, [1.0]*100 + [0.0]*100) for name in C7),
       ("C8", "gain of a random second", [0.09]*3), ("C8", "Rand-3", [0.97]*3),
       ("C9", "labels_that_differ_between_betas", 2.0), ("C9", "variance of samples by beta", [[1.0, 2.0, 3.0]]*9),
       ("C10", "distance from gradient descent with beta = 1e12", [1e-3]), ("C10", "rises_of_U", 1.0),
       ("C11", "distance of reading A from the nearer density", [0.3]*3),
       ("C12", "distance of reading B from exp(-beta U) dX", [0.3]*3), ("C12", "distance of B from Eq. 15", [0.001]*3)]


@pytest.mark.parametrize("claim", sorted(GOOD))
def test_predicates_hold_on_numbers_that_must_make_them_hold(claim):
    assert predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"


@pytest.mark.parametrize("claim, name, value", BAD)
def test_predicates_fail_on_numbers_that_must_make_them_fail(claim, name, value):
    assert predicates[claim].evaluate(varied({**GOOD[claim], name: value})).verdict == "fails"


def test_every_claim_has_a_predicate_and_every_predicate_a_bad_example():
    manifest = load_manifest(project_root()/"data"/"papers"/"permutation_sync.yaml")
    assert set(manifest.expected("claims")) <= set(predicates) == set(GOOD) == {claim for claim, *_ in BAD}


# sizes

def test_the_largest_sizes_can_be_stepped():
    assert set(SIZES["cpu"]) == set(SIZES["gpu"]) == set(SIZES["smoke"])
    big = permutation_world(8, max(n for _, n, _ in SIZES["gpu"]["timing"]), 0.25, np.random.default_rng(0))
    found = birkhoff_lbfgs(big, strictly_inside(big.truth), most=2)
    assert found.costs[-1] < found.costs[0] and found.X.shape == (8, 100, 100)
