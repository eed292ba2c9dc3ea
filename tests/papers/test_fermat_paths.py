"""What the notebook of fermat_paths cannot hold: closed forms, invariances, detection of known forms, predicates that
must fail, scans on a miniature, bad inputs."""
import math

import numpy as np
import pytest
import torch

from paper_kit.geometry import fermat_paths as fermat
from paper_kit.geometry.fermat_paths import (first_less_nearest, foil_stage, two_steps, MATERIALS, TYPES, Bins,
                                             Cloud, Fermat, Found, Instrument, Scene, _reflectance, back_projection,
                                             cap, circle_in_triangle, curvature_check, detect, exact_area,
                                             fermat_flow, fermat_flow_pair, fermat_paths, front,
                                             full_gradient, gradient_on, hidden, light_cone, linked, matched,
                                             measure, poisson_surface, predicates, read_scan, reconstruct,
                                             rectangle, refine, sampled_transient, scenes, sheets, stages,
                                             templates, transients, triangulated, wall)
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.mesh import closest
from paper_kit.kit.paper import load_manifest
from helpers import varied

EYE = np.array([[13.0, -7.0, 0.0]])


def found_of(f: Fermat) -> Found: return Found(f.wall, f.tau, f.kind, np.ones(len(f.tau)), np.ones(len(f.tau)))


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"fermat_paths.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"
    assert callable(stages)


# transients

def test_areas_of_discs_in_triangles():
    t = np.array([[0.0, 0], [10, 0], [0, 10]])
    assert circle_in_triangle(np.array([3.0, 3.0]), 1.0, t) == pytest.approx(math.pi)
    assert circle_in_triangle(np.array([3.0, 3.0]), 50.0, t) == pytest.approx(50)
    # a quarter of the disc of radius 2
    assert circle_in_triangle(np.array([0.0, 0.0]), 2.0, t) == pytest.approx(math.pi)
    assert circle_in_triangle(np.array([-5.0, -5.0]), 1.0, t) == pytest.approx(0, abs=1e-12)


def test_the_step_of_a_plate_is_the_closed_form():
    "I(tau) of a matt plate at distance D jumps from 0 to pi D f with f = 1/(pi D^4)."
    bins = Bins(790.0, 0.2, 100)
    I = transients(Scene((rectangle(200, 200, 400),)), EYE, bins)[0]/bins.width
    assert I[:49].max() == 0 and I[52] == pytest.approx(math.pi*400/(math.pi*400**4), rel=3e-3)


def test_the_engines_agree():
    scene, bins = Scene((rectangle(120, 160, 350, lambda x, y: x*x/300 - y*y/500),)), Bins(660.0, 2.0, 80)
    I, S = transients(scene, EYE, bins)[0], sampled_transient(scene, EYE[0], bins, 400_000, np.random.default_rng(0))
    assert np.abs(I - S).max() < 0.03*I.max() and I.sum() == pytest.approx(S.sum(), rel=0.01)
    flat = Scene((rectangle(120, 160, 350),))
    edges = bins.first + bins.width*np.arange(bins.count + 1)
    area = np.diff(exact_area(rectangle(120, 160, 350, step=160.0).grid().reshape(-1, 3)[[0, 1, 3, 0, 3, 2]].reshape(
        2, 3, 3), EYE[0], edges))
    rho = bins.centres/2
    assert np.abs(transients(flat, EYE, bins)[0]*math.pi*rho**8/350**4 - area).max() < 0.02*area.max()


def test_two_wall_points_at_one_place_are_confocal_and_light_goes_both_ways():
    scene, bins = scenes()["bowl"], Bins(1500.0, 1.2, 300)
    a, b = np.array([[80.0, 40, 0]]), np.array([[-60.0, 90, 0]])
    assert np.allclose(transients(scene, a, bins, a), transients(scene, a, bins), rtol=1e-12)
    # Helmholtz reciprocity
    for material in MATERIALS:
        assert np.allclose(transients(scene, a, bins, b, material), transients(scene, b, bins, a, material), rtol=1e-9)


def test_no_material_reflects_more_than_it_gets():
    theta = (np.arange(200) + 0.5)/200*math.pi/2
    phi = (np.arange(200) + 0.5)/200*2*math.pi
    T, P = np.meshgrid(theta, phi, indexing="ij")
    for kind, rough in MATERIALS.values():
        for light in (0.1, 0.7, 1.2):
            cl, cv = math.cos(light), np.cos(T)
            lv = math.sin(light)*np.sin(T)*np.cos(P) + cl*cv
            ch = (cl + cv)/np.sqrt(2 + 2*lv)
            value = np.vectorize(_reflectance)(kind, rough, cl, cv, np.minimum(ch, 1), lv)
            assert (value >= 0).all() and (value*cv*np.sin(T)).sum()*(math.pi/2/200)*(2*math.pi/200) < 1.15


def test_what_stands_in_front_hides_what_is_behind():
    ball = cap((0, 0, 500), 60, 100)
    board = rectangle(60, 60, 700)
    both, bins = Scene((ball, board), shadows=True), Bins(850.0, 1.2, 600)
    assert transients(both, np.zeros((1, 3)), bins)[0][int((1399 - 850)/1.2):].sum() == 0
    assert transients(Scene((board,)), np.zeros((1, 3)), bins)[0][int((1399 - 850)/1.2):].sum() > 0
    assert hidden(both, np.zeros((2, 3)), np.array([[0.0, 0, 700], [0, 0, 440]]), 12).tolist() == [True, False]


# the oracle

def test_a_ball_a_bowl_a_plate():
    v = np.concatenate([np.random.default_rng(0).uniform(-90, 90, (20, 2)), np.zeros((20, 1))], 1)
    ball = fermat_paths(scenes()["ball"], v)
    assert (len(ball.tau) == 20 and (ball.kind == 0).all()
            and np.abs(ball.tau - 2*(np.linalg.norm(v - [0, 0, 800], axis=1) - 120)).max() < 1e-4)
    hollow = fermat_paths(scenes()["hemisphere"], v)
    top = hollow.kind == 2
    assert top.sum() == 20 and np.abs(hollow.tau[top] - 2*(np.linalg.norm(v - [0, 0, 300], axis=1) + 100)).max() < 1e-3
    plate = fermat_paths(scenes()["plane"], np.array([[15.0, 10, 0]]))            # between four samples of equal length
    assert (plate.kind == 0).sum() == 1 and plate.tau[0] == pytest.approx(800, abs=1e-9)
    edges, corners = plate.tau[(plate.kind == 3) & ~plate.corner], plate.tau[plate.corner]
    assert sorted(edges) == pytest.approx(sorted(2*math.hypot(400, d) for d in (85, 115, 90, 110)))
    assert sorted(corners) == pytest.approx(sorted(2*math.hypot(400, a, b) for a in (85, 115) for b in (90, 110)))


@pytest.mark.parametrize("name,width", [("bowl", 800), ("paraboloid", 300), ("ball and board", 800)])
def test_the_shortest_path_is_twice_the_distance_to_the_surface(name, width):
    "On the bowl it was up to 282 mm longer where the nearest point of the rim is a corner of the patch's parameters."
    assert np.abs(first_less_nearest(scenes()[name], wall(12, width))).max() < 0.05     # the mesh has facets


def test_no_extremum_of_a_rim_is_missed():
    """The rim of the bowl as a dense closed curve, from its formula: each extremum of the distance is a boundary path,
    also at the four corners of the patch."""
    angle = np.linspace(0, 2*math.pi, 20_001)[:-1]
    r, z = 140*math.sin(math.radians(60)), 760 + 0.8*140*math.cos(math.radians(60))
    rim = np.stack([r*np.cos(angle), r*np.sin(angle), 0*angle + z], 1)
    turns = np.radians([44.9, 45, 45.1, 135, 225, 315, 20, 100])
    v = np.stack([350*np.cos(turns), 350*np.sin(turns), 0*turns], 1)
    paths = fermat_paths(scenes()["bowl"], v)
    for k, eye in enumerate(v):
        t = 2*np.linalg.norm(rim - eye, axis=1)
        expected = np.sort(t[(t < np.roll(t, 1)) == (t <= np.roll(t, -1))])
        mine = paths.tau[(paths.wall == k) & (paths.kind == 3)]
        assert all(np.abs(expected - x).min() < 0.05 for x in mine) and np.abs(mine - expected[0]).min() < 0.05


def test_saddle_and_normals():
    f = fermat_paths(scenes()["paraboloid"], EYE)
    assert (f.kind == 1).sum() == 1
    back = EYE[0] - f.place
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    assert (back*f.normal).sum(1)[f.kind == 1] > math.cos(math.radians(1.5))


def test_the_corrected_inequalities_hold_and_the_printed_ones_do_not():
    c = curvature_check(300, torch.Generator().manual_seed(1))
    assert (c["disagree_corrected"] == 0 and c["planes_against_print"] == c["planes"]
            == c["planes_against_print_other_sign"] and c["convex_not_minimum"] == 0
            and min(c["minima"], c["saddles"], c["maxima"]) > 10)


# the instrument and the detector

def test_the_response_is_normal_and_the_counts_are_right():
    k = Instrument().kernel(1.2)
    assert k.sum() == pytest.approx(1) and len(k) % 2 == 1 and abs((k*(np.arange(len(k)) - len(k)//2)).sum()) < 0.03
    clean = np.zeros((1, 400))
    clean[0, 150:] = np.exp(-np.arange(250)/80)
    many = measure(np.repeat(clean, 400, 0), Instrument(photons=1e4, ambient=0.1), 1.2, np.random.default_rng(0))
    assert (many.mean(0).sum() == pytest.approx(1.1e4, rel=0.01)
            and many.mean(0)[:100].mean() == pytest.approx(2.5, rel=0.1))
    piled = measure(np.repeat(clean, 50, 0), Instrument(photons=1e4, ambient=0.0, dead=1.0), 1.2,
                    np.random.default_rng(0)).mean(0)
    free = measure(np.repeat(clean, 50, 0), Instrument(photons=1e4, ambient=0.0), 1.2, np.random.default_rng(0)).mean(0)
    assert piled[300]/piled[165] < 0.7*free[300]/free[165]


@pytest.mark.parametrize("form,kind", [(lambda u: 1.0*(u > 0), "minimum"), (lambda u: 1.0*(u < 0), "maximum"),
                                       (lambda u: 2 - 0.4*np.log(np.abs(u) + 1e-6), "saddle"),
                                       (lambda u: 0.3*np.sqrt(np.maximum(u, 0)), "boundary"),
                                       (lambda u: 5 - 0.3*np.sqrt(np.maximum(-u, 0)), "boundary")])
def test_known_forms_are_found_where_they_are(form, kind):
    bins, at = Bins(0.0, 1.0, 300), 150.3
    fine = (np.arange(300*50) + 0.5)/50
    clean = (form(fine - at) + 0.4 + 0.001*fine).reshape(300, 50).mean(1)
    k = Instrument(jitter=20).kernel(1.0)
    counts = np.random.default_rng(0).poisson(np.convolve(clean, k, "same")*20000).astype(float)[None]
    counts[:, :30] = counts[:, 30:31]; counts[:, -30:] = counts[:, -31:-30]
    d = detect(counts, bins, k, half=20, least=100)
    best = d.score.argmax()
    assert TYPES[d.kind[best]] == kind and abs(d.tau[best] - at) < 0.6


def steps(separation, photons, draws, jitter=50.0):
    instrument = Instrument(jitter=jitter)
    kernel = instrument.kernel(1.2)
    light = np.convolve(two_steps(separation), kernel, "same")
    expected = 0.98*photons*light/light.sum() + 0.02*photons/300
    counts = np.random.default_rng(0).poisson(np.repeat(expected[None], draws, 0)).astype(float)
    return detect(counts, Bins(0, 1, 300), kernel, least=60)


def test_a_step_is_found_without_bias():
    "At 1e5 photons and 50 ps of jitter the bias was 0.64 bins and the spread 1.03."
    d = steps(1000, 1e5, 60)
    off = d.tau[np.abs(d.tau - 120.3) < 6] - 120.3
    assert len(off) == 60 and abs(off.mean()) < 0.3 and off.std() < 0.6 and (d.kind[np.abs(d.tau - 120.3) < 6]
        == 0).mean() > 0.95


def test_two_steps_ten_bins_apart_are_two():
    "Without jitter always (78 percent before), with 50 ps of jitter where the photons suffice (never before)."
    for photons, jitter, least in ((1e5, 0.0, 0.95), (1e7, 50.0, 0.9)):
        d = steps(10, photons, 20, jitter)
        both = [all(np.abs(d.tau[d.wall == k] - a).min(initial=99) < 2 for a in (120.3, 130.3)) for k in range(20)]
        assert np.mean(both) >= least


def test_a_narrow_lobe_is_found_with_one_window():
    found = foil_stage(["blob"], 12, 0)
    assert found["with lobes"] > 0.95 and found["without"] < 0.8


def test_nothing_is_found_in_a_smooth_transient():
    t = np.arange(400)
    counts = np.random.default_rng(0).poisson(2000*np.exp(-(t - 200)**2/(2*120**2)) + 50, (20, 400)).astype(float)
    assert len(detect(counts, Bins(0, 1, 400), np.ones(1), half=12, least=60).tau) == 0


def test_lengths_do_not_depend_on_the_material():
    scene, v, bins = scenes()["hemisphere"], np.array([[30.0, 20, 0]]), Bins(620.0, 1.2, 400)
    target = fermat_paths(scene, v)
    target = target.tau[target.kind == 2][0]
    for material in ("diffuse", "rough diffuse", "foil 0.6", "foil 0.4"):
        clean = transients(scene, v, bins, material=material)
        d = detect(clean/clean.max()*1e6, bins, np.ones(1), half=8)
        assert np.abs(d.tau - target).min() < 1.2 and d.kind[np.abs(d.tau - target).argmin()] == 2


def test_matching_is_one_to_one():
    f = Found(np.array([0, 0, 1]), np.array([10.0, 10.5, 30]), np.zeros(3, int), np.ones(3), np.ones(3))
    t = Fermat(np.array([0, 1]), np.array([10.4, 50.0]), np.zeros(2, int), np.zeros((2, 3)),
               np.zeros((2, 3)), np.zeros(2, int), np.zeros(2, bool))
    i, j = matched(f, t, 2)
    assert i.tolist() == [1] and j.tolist() == [0]


# Fermat flow

def test_the_flow_on_a_plate():
    """Above a plate tau = 2 D everywhere, the gradient is (0, 0, -2): the point lies straight ahead, the normal looks
    back."""
    g = full_gradient(np.array([[0.0, 0.0], [1.9, 1.9]]))
    assert g[0].tolist() == [0, 0, -2] and np.isnan(g[1, 2])
    x, n = fermat_flow(EYE, np.array([800.0]), g[:1])
    assert x.tolist() == [[13, -7, 400]] and n.tolist() == [[0, 0, -1]]
    s, d, x = np.array([[-50.0, 10, 0]]), np.array([[70.0, 0, 0]]), np.array([[20.0, -30, 300]])
    tau = np.linalg.norm(x - s, axis=1) + np.linalg.norm(x - d, axis=1)
    assert np.allclose(fermat_flow_pair(s, d, tau, (s - x)/np.linalg.norm(x - s)), x)


def test_the_flow_from_a_curved_wall():
    """Wall points on a cylinder about the y axis, a ball in front of them: derivatives along the arc and along y, the
    third from the norm."""
    angle, y = np.linspace(-0.3, 0.3, 7), np.linspace(-50, 50, 7)
    place = lambda a, h: np.stack([500*np.sin(a), h, 500*np.cos(a) - 500], -1)
    length = lambda a, h: 2*(np.linalg.norm(place(a, h) - [20, 10, 600], axis=-1) - 80)
    e = 1e-4
    slopes = np.stack([(length(angle + e, y) - length(angle - e, y))/(2*e*500),
                       (length(angle, y + e) - length(angle, y - e))/(2*e)], 1)
    zero, one = 0*angle, 1 + 0*angle
    frame = np.stack([np.stack([np.cos(angle), zero, -np.sin(angle)], 1), np.stack([zero, one, zero], 1),
                      np.stack([np.sin(angle), zero, np.cos(angle)], 1)], 1)
    x, n = fermat_flow(place(angle, y), length(angle, y), gradient_on(frame, slopes))
    assert (np.abs(np.linalg.norm(x - [20, 10, 600], axis=1) - 80).max() < 1e-4
            and np.abs((x - [20, 10, 600])/80 - n).max() < 1e-6)
    assert np.allclose(gradient_on(np.eye(3)[None], slopes[:1]), full_gradient(slopes[:1]))


def test_true_lengths_give_true_points():
    scene, walls = scenes()["blob"], wall(24, 400)
    cloud = reconstruct(found_of(fermat_paths(scene, walls)), walls, (24, 24))
    off = closest(triangulated(scene)[0], torch.from_numpy(cloud.place)).squared.sqrt()
    assert len(cloud.place) > 450 and off.median() < 0.1


def test_sheets_keep_types_apart_and_respect_the_bound():
    walls = wall(4, 30)
    f = Found(np.array([0, 1, 2, 4, 5]), np.array([100.0, 101, 160, 101, 102]), np.array([0, 2, 0, 0, 0]),
              np.ones(5), np.ones(5))
    links = linked(f, walls, (4, 4))
    assert links[0] == {3} and links[1] == set() and links[2] == set() and links[4] == {3}
    s = sheets(f, walls, (4, 4))
    assert np.isnan(s.gradient[1]).all()


def test_surface_and_refinement():
    scene, walls = scenes()["ball"], wall(24, 500)
    found = found_of(fermat_paths(scene, walls))
    cloud = reconstruct(found, walls, (24, 24))
    mesh = poisson_surface(cloud)
    off = lambda m: np.abs(np.linalg.norm(m.vertices.numpy() - [0, 0, 800], axis=1) - 120)
    assert np.median(off(mesh)) < 5
    assert np.median(off(refine(mesh, found, walls, cloud))) < 0.4*np.median(off(mesh))
    assert poisson_surface(Cloud(*(x[:5] for x in cloud))) is None


def test_volumes_find_a_plate():
    scene, walls, bins = Scene((rectangle(240, 240, 600),)), wall(24, 400), Bins(1100.0, 3.0, 200)
    counts = transients(scene, walls, bins)*1e12
    axis = np.linspace(-200, 200, 24)
    volume, z = light_cone(counts.reshape(24, 24, -1), bins, 400, (540, 660))
    assert np.median(np.abs(front(volume, axis, z)[:, 2] - 600)) < 6
    depth = np.linspace(540, 660, 61)
    assert np.median(np.abs(front(back_projection(counts, bins, walls, axis, depth), axis, depth)[:, 2] - 600)) < 6


def test_templates_are_antisymmetric_where_the_forms_are():
    t = templates(np.ones(1), 10)
    assert t.shape == (8, 4, 21) and np.allclose(t[2, 0], t[3, 3][::-1]) and np.allclose(t[1, 1], t[1, 2][::-1])


# predicates

GOOD = {
    "C1": {"specular paths found": [1.0]*200, "boundary paths found": [1.0]*160 + [0.0]*20,
           "detections that are true": [1.0]*390 + [0.0]*10,
           "exponent at a curve's extremum, distance from -0.5": 0.001,
           "exponent at an edge, distance from 0.5": 0.001, "step height, relative error": 0.001},
    "C2": {"spread of a length over materials (bins)": 0.2, "largest peak over smallest": 8},
    "C3": {"wrong_types_without_noise": 0,
           **{f"right types, {n}": [1.0]*99 + [0.0] for n in ("plane", "paraboloid", "hemisphere")}},
    "C4": {"patches_against_the_corrected_inequalities": 0, "convex_patches_that_are_no_minimum": 0,
           "planes against the printed inequality, in percent": 100},
    "C5": {"norm of the gradient, distance from 2": 1e-9, "place (mm)": 1e-8, "normal (degrees)": 1e-8},
    "C6": {"norm of either gradient, distance from 1": 1e-9, "place from either gradient (mm)": 1e-8,
           "pair at one place against confocal (mm)": 1e-9},
    "C7": {"global minimum less twice the distance (mm)": 1e-9,
           **{f"gain in completeness, {n}": [0.3, 0.31, 0.29] for n in ("bowl", "vase", "jug")},
           "largest gain in completeness on ball and blob": 0.001},
    "C8": {"largest median (mm)": [0.5, 0.51, 0.5], "largest 95th percentile (mm)": [1.5, 1.51, 1.5],
           "largest share rejected": [0.1, 0.11, 0.1]},
    "C9": {"relative change of Fermat flow, diffuse to foil": [0.1, 0.12, 0.1],
           "relative change of the light-cone transform": [0.9, 0.95, 0.9]},
    "C10": {"median angle at edges": 40, "median angle at specular points": 0.5,
            "share of boundary types on the handle": [0.9, 0.91, 0.9]},
    "C11": {"RMS of coins below the bound (um)": [1.0, 1.1, 0.9], "median of coins above the bound": 20.0,
            "median of coins below the bound": 1.0},
    "C12": {"error by density": [[4, 3, 2, 1.0], [4.1, 3.1, 2, 1], [4, 3, 2.1, 1]],
            "error by jitter": [[1, 2, 3.0], [1, 2, 3.1], [1, 2.1, 3]],
            "objects that refinement improves, of 6": 5}}
BAD = {"C1": {"detections that are true": [1.0]*200 + [0.0]*200}, "C2": {"largest peak over smallest": 2},
       "C3": {"right types, paraboloid": [1.0]*20 + [0.0]*80}, "C4": {"patches_against_the_corrected_inequalities": 1},
       "C5": {"place (mm)": 1e-3}, "C6": {"norm of either gradient, distance from 1": 1e-3},
       "C7": {"gain in completeness, vase": [0.01, 0.02, 0.01]}, "C8": {"largest 95th percentile (mm)": [5.0, 5.1, 5]},
       "C9": {"relative change of the light-cone transform": [0.0, 0.01, 0.0]},
       "C10": {"share of boundary types on the handle": [0.1, 0.12, 0.1]},
       "C11": {"median of coins above the bound": 1.5},
       "C12": {"error by density": [[1, 2, 2.5, 1.0], [1, 2, 2.4, 1], [1, 2, 2.6, 1]]}}


@pytest.mark.parametrize("claim", sorted(GOOD))
def test_predicates_hold_and_fail(claim):
    assert predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"
    assert predicates[claim].evaluate(varied(GOOD[claim] | BAD[claim])).verdict == "fails"


# scans as published

def scan_fields(n=3, m=40):
    x, y = np.meshgrid(np.linspace(-4, 4, n), np.linspace(-4, 4, n), indexing="ij")
    return {"transients": np.random.default_rng(0).poisson(5, (n*n, m)).astype(float),
            "temporalBinCenters": (0.06 + 0.12*np.arange(m))[None],
            "detLocs": np.stack([x.ravel(), y.ravel(), 0*x.ravel()], 1),
            "detGridSize": np.array([[n, n]]), "whetherConfocal": np.array([[1]]), "srcLoc": np.zeros((0, 0))}


def test_a_published_scan_is_read(tmp_path):
    from scipy.io import savemat
    savemat(tmp_path/"scan.mat", scan_fields())
    s = read_scan(tmp_path/"scan.mat")
    assert (s.counts.shape == (9, 40) and s.centres[0] == pytest.approx(0.6) and s.shape == (3, 3) and s.source is None
            and s.walls[0].tolist() == [-40, -40, 0])
    savemat(tmp_path/"pair.mat", scan_fields() | {"whetherConfocal": np.array([[0]]),
                                                  "srcLoc": np.array([[1.0, 2, 0]])})
    assert read_scan(tmp_path/"pair.mat").source.tolist() == [10, 20, 0]
    own = scan_fields() | {"temporalBinCenters": np.stack([0.06 + 0.12*np.arange(40) + 0.12*(k % 2) for k in range(9)])}
    savemat(tmp_path/"own.mat", own)
    assert read_scan(tmp_path/"own.mat").counts[1, 1] == pytest.approx(own["transients"][1, 0])


def test_a_measured_scan_becomes_figure_5(tmp_path):
    "A simulated scan, written as the authors publish theirs: the same detections as without the detour."
    from scipy.io import savemat
    from paper_kit.kit.datasets import Source
    scene, width, bins = fermat.setting("paraboloid")
    walls = wall(6, width)
    counts = measure(transients(scene, walls, bins), fermat.Instrument(), bins.width, np.random.default_rng(0))
    fields = {"transients": counts.astype(float), "temporalBinCenters": bins.centres[None]/10, "detLocs": walls/10,
              "detGridSize": np.array([[6, 6]]), "whetherConfocal": np.array([[1]]), "srcLoc": np.zeros((0, 0))}
    savemat(tmp_path/"b_bowl.mat", fields)
    (tmp_path/"a_broken.mat").write_bytes(b"nothing")
    kept = fermat.real_scan_stage(Source("fermat_scans", tmp_path, "0"))
    known = fermat.detect(counts, bins, fermat.Instrument().kernel(bins.width), least=60.0)
    np.testing.assert_allclose(kept["found"]["tau"], known.tau, atol=1e-6)
    assert kept["name"] == "b_bowl" and kept["counts"].shape == (6, bins.count) and len(kept["cloud"]["place"])
    figure = fermat.real_figure_5(kept)
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
    assert titles[2:] == ["largest sheets", "points from above"]
    savemat(tmp_path/"b_bowl.mat", fields | {"whetherConfocal": np.array([[0]]), "srcLoc": np.array([[1.0, 2, 0]])})
    with pytest.raises(PaperKitError, match="no scan can be used"):
        fermat.real_scan_stage(Source("fermat_scans", tmp_path, "0"))


@pytest.mark.parametrize("change,what", [({"transients": None}, "no field transients"),
                                         ({"detGridSize": np.array([[2, 3]])}, "grid does not fit"),
                                         ({"temporalBinCenters": np.ones((1, 7))}, "bin centres do not fit"),
                                         ({"temporalBinCenters": np.ones((1, 40))}, "do not rise"),
                                         ({"detLocs": np.ones((9, 3))}, "not z = 0"),
                                         ({"detLocs": np.ones((4, 3))}, "do not fit"),
                                         ({"transients": np.full((9, 40), np.nan)}, "not finite"),
                                         ({"whetherConfocal": np.array([[0]])}, "srcLoc does not fit")])
def test_a_bad_scan_is_named(tmp_path, change, what):
    from scipy.io import savemat
    savemat(tmp_path/"bad.mat", {k: v for k, v in (scan_fields() | change).items() if v is not None})
    with pytest.raises(PaperKitError, match=what) as error: read_scan(tmp_path/"bad.mat")
    assert "bad.mat" in str(error.value)


def test_a_damaged_or_missing_scan_is_named(tmp_path):
    from scipy.io import savemat
    with pytest.raises(PaperKitError, match="no such file"): read_scan(tmp_path/"none.mat")
    savemat(tmp_path/"cut.mat", scan_fields())
    (tmp_path/"cut.mat").write_bytes((tmp_path/"cut.mat").read_bytes()[:700])
    with pytest.raises(PaperKitError, match="cut.mat"): read_scan(tmp_path/"cut.mat")
    (tmp_path/"text.mat").write_text("not a scan at all, but long enough to hold a header of one hundred and "
                                     "twenty-eight bytes, or so it would seem to a reader")
    with pytest.raises(PaperKitError, match="text.mat"): read_scan(tmp_path/"text.mat")


def test_hdf5_scans_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path/"new.mat", "w", userblock_size=512) as f:
        for k, v in scan_fields().items(): f[k] = v.T
    with open(tmp_path/"new.mat", "r+b") as f: f.write(b"MATLAB 7.3 MAT-file".ljust(116) + b"\0"*8 + b"\x00\x02IM")
    assert read_scan(tmp_path/"new.mat").counts.shape == (9, 40)


# bad inputs

def test_bad_inputs():
    with pytest.raises(PaperKitError, match="no such material"):
        transients(scenes()["plane"], EYE, Bins(700, 1, 10), material="velvet")
    with pytest.raises(PaperKitError, match="reaches the wall"):
        transients(Scene((rectangle(10, 10, -5),)), EYE, Bins(700, 1, 10))
    empty = detect(np.zeros((3, 100)), Bins(0, 1, 100), np.ones(1), half=8)
    assert len(empty.tau) == 0 and len(reconstruct(empty, wall(2, 10)[:3], (3, 1)).place) == 0
