"""The world of scans: known motions, real partial overlap, a camera that sees one side, rooms whose fragments overlap,
the Redwood layout on a miniature."""
import importlib.util

import numpy as np
import pytest
import torch

from paper_kit.geometry import worlds as w
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import look_at
from paper_kit.kit.mesh import is_oriented, is_watertight, signed_distance, volume
from paper_kit.kit.points import nearest


def generator(seed=0): return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def animal(): return w.scanned_object("creature")


def test_the_creature_is_a_closed_body_in_a_unit_box(animal):
    assert is_watertight(animal) and is_oriented(animal) and volume(animal) > 0
    side = animal.vertices.amax(0) - animal.vertices.amin(0)
    assert (torch.allclose(side.max(), torch.ones((), dtype=torch.float64))
            and torch.allclose(animal.vertices.amax(0) + animal.vertices.amin(0), torch.zeros(3, dtype=torch.float64),
                               atol=1e-9))


@pytest.mark.skipif(importlib.util.find_spec("pymeshlab") is None or importlib.util.find_spec("trimesh") is None,
                    reason="the bunny comes with pymeshlab")
def test_the_bunny_stands_upright_and_has_the_vertices_of_the_published_file():
    bunny = w.scanned_object("bunny")
    assert 14_000 <= len(bunny.vertices) <= 28_088 and volume(bunny) > 0
    low, high = bunny.vertices[bunny.vertices[:, 2] < -0.3], bunny.vertices[bunny.vertices[:, 2] > 0.3]
    assert np.ptp(low[:, 0].numpy()) > 1.3*np.ptp(high[:, 0].numpy()), "it stands on its broad side, the ears are above"


def test_where_the_package_is_missing_the_creature_stands_in(monkeypatch):
    monkeypatch.setattr(w.importlib.util, "find_spec", lambda name: None)
    assert torch.equal(w.scanned_object("bunny").vertices, w.scanned_object("creature").vertices)


def test_a_name_that_does_not_exist():
    with pytest.raises(PaperKitError, match="no such object"): w.scanned_object("teapot")


def test_the_true_motion_brings_shared_points_onto_each_other(animal):
    pair = w.object_pair(animal, 300, generator(), removed=0.3)
    assert len(pair.target) == 210 and torch.allclose(pair.R @ pair.R.mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert pair.overlap(1e-9) == pytest.approx(0.7)


def test_noise_and_strays_are_as_asked(animal):
    x = w.object_pair(animal, 4000, generator(), noise=0.01)
    off = (x.source @ x.R.mT + x.t)
    d = nearest(x.target, off)[0].sqrt()
    assert d.mean() < 0.02 and d.max() > 0.01
    y = w.corrupt(torch.rand(500, 3, dtype=torch.float64), generator(), 0.0, 0.4)
    assert len(y) == 700


def test_a_crop_is_one_side_and_a_second_sample_shares_nothing(animal):
    pair = w.object_pair(animal, 1000, generator(1), removed=0.4, cropped=True)
    inside = nearest(pair.source @ pair.R.mT + pair.t, pair.target)[0] < 1e-12
    x = pair.source
    direction = torch.nn.functional.normalize(x[inside].mean(0) - x[~inside].mean(0), dim=0)
    assert int(inside.sum()) == 600 and ((x[inside] @ direction).mean() - (x[~inside] @ direction).mean()) > 0.2
    assert w.object_pair(animal, 500, generator(), shared=False).overlap(1e-4) < 0.05


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_outside_the_range(animal, share):
    with pytest.raises(PaperKitError, match="share"): w.object_pair(animal, 10, generator(), removed=share)


def test_a_camera_sees_the_near_side_of_the_surface(animal):
    eye = torch.tensor([0.0, -2.0, 0.3], dtype=torch.float64)
    scan = w.depth_scan(animal, look_at(eye, torch.zeros(3, dtype=torch.float64)), generator(), size=64,
                        fov=35.0, holes=0.0)
    assert len(scan.points) > 300 and signed_distance(animal, scan.points).abs().max() < 2e-3
    assert ((eye - scan.points)*scan.normals).sum(-1).min() > 0
    noisy = w.depth_scan(animal, look_at(eye, torch.zeros(3, dtype=torch.float64)), generator(), size=64, fov=35.0,
                         holes=0.0, noise=0.01)
    assert 0.01 < signed_distance(animal, noisy.points).abs().mean() < 0.08
    assert len(w.depth_scan(animal, look_at(eye, torch.zeros(3, dtype=torch.float64)), generator(), size=64, fov=35.0,
                            holes=0.5).points) < 0.6*len(scan.points)


def test_rooms_overlap_as_asked_and_the_motion_is_true():
    pair = w.room_pair(0, 600)
    assert len(pair.source) == len(pair.target) == 600
    assert 0.4 <= pair.overlap(0.1) <= 0.8
    again = w.room_pair(0, 600)
    assert torch.equal(pair.source, again.source) and torch.equal(pair.target, again.target)
    assert not torch.equal(pair.source, w.room_pair(1, 600).source)
    with pytest.raises(PaperKitError, match="no pair of cameras"): w.room_pair(0, 600, within=(0.999, 1.0))


# Redwood. The layout is that of the fragments at redwood-data.org/indoor: SCENE/cloud_bin_K.ply and SCENE/gt.log with
# blocks "i j n" and a 4 x 4 matrix.

def write_cloud(file, points):
    rows = "\n".join(" ".join(f"{x}" for x in p) for p in points)
    file.write_text(f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float "
                    f"y\nproperty float z\nend_header\n{rows}\n")


@pytest.fixture
def miniature(tmp_path):
    "Clouds 0 and 1 are whole, 2 is corrupt, 3 is missing, 4 has a NaN."
    scene = tmp_path/"livingroom1"
    scene.mkdir()
    one = torch.rand(50, 3, generator=generator(), dtype=torch.float64)
    R, t = w.random_motion(generator(3))
    write_cloud(scene/"cloud_bin_1.ply", one.tolist())
    write_cloud(scene/"cloud_bin_0.ply", (one @ R.mT + t).tolist())
    (scene/"cloud_bin_2.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 900\nproperty float "
                                          b"x\nend_header\n\x00\x01")
    write_cloud(scene/"cloud_bin_4.ply", [[0, 0, 0], [float("nan"), 0, 0], [1, 1, 1]])
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3], T[:3, 3] = R, t
    block = "\n".join(" ".join(f"{x:.12f}" for x in row) for row in T.tolist())
    (scene/"gt.log").write_text("".join(f"0 {j} 5\n{block}\n" for j in (1, 2, 3, 4)))
    return tmp_path


def test_a_pair_of_fragments_and_its_motion(miniature):
    pytest.importorskip("trimesh")
    data = w.RedwoodFragments(miniature, count=30)
    pair = data[data.find(1, 0)]
    assert len(data) == 4 and len(pair.source) == len(pair.target) == 30 and pair.name == "livingroom1 0, 1"
    whole = w.RedwoodFragments(miniature)[0]
    assert whole.overlap(1e-5) == 1.0, "the matrix brings fragment j to fragment i"


@pytest.mark.parametrize("number, words", [(2, "cannot be read|not finite|empty"), (3, "missing"), (4, "not finite")])
def test_a_bad_fragment_is_named(miniature, number, words):
    pytest.importorskip("trimesh")
    data = w.RedwoodFragments(miniature)
    with pytest.raises(PaperKitError, match=words) as error: data[data.find(0, number)]
    assert f"cloud_bin_{number}.ply" in str(error.value)


def test_a_pair_that_the_log_does_not_have(miniature):
    with pytest.raises(PaperKitError, match="no such pair"): w.RedwoodFragments(miniature).find(7, 8)
    with pytest.raises(PaperKitError, match="missing"): w.RedwoodFragments(miniature, "office1")


@pytest.mark.parametrize("text, words", [("0 1 5\n1 0 0 0\n0 1 0 0\n", "shape"), ("0 1 5\n1 0 0 0\n0 1 0 0\n0 0 x 0\n0 "
                                                                                  "0 0 1\n", "ValueError"),
                                         ("0 1 5\n1 0 0 nan\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "NaN"),
                                         ("0 1 5\n2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "rigid"),
                                         ("0 1 5\n1 0 0 0\n0 1 0 0\n0 0 -1 0\n0 0 0 1\n", "rigid")])
def test_a_bad_log_names_its_line(tmp_path, text, words):
    (tmp_path/"gt.log").write_text(text)
    with pytest.raises(PaperKitError, match=words) as error: w.read_log(tmp_path/"gt.log")
    assert "gt.log:" in str(error.value)


@pytest.mark.parametrize("name", ("face", "temple", "airplane"))
def test_meshes_of_packages_stand_upright_in_a_box(name):
    mesh = w.package_mesh(name)
    if mesh is None: pytest.skip("the package is not installed")
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    assert ((high - low).max().item() == pytest.approx(1) and (high + low).abs().max() < 1e-9
            and mesh.vertices.dtype == torch.float64)
    side = (high - low).tolist()
    # a face is taller than wide; a temple and an airplane are not
    assert side[2] == max(side) if name == "face" else side[2] < max(side)


def test_no_such_mesh_in_a_package():
    with pytest.raises(PaperKitError, match="face"): w.package_mesh("teapot")
