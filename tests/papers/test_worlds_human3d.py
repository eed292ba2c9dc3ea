"""The free body and its people: skinning by hand, the packed files, coarser meshes and the way back, clips, pictures,
the SMPL layout on a miniature."""
import math

import numpy as np
import pytest
import torch

from paper_kit.human3d import worlds as w
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import axis_angle_to_matrix, rotation_angle
from paper_kit.kit.mesh import Mesh, euler_number, is_oriented, is_watertight


@pytest.fixture(scope="module")
def body(): return w.free_body()


def rest(n=1, joints=24): return torch.eye(3).repeat(n, joints, 1, 1)


def stick(pose_directions=None):
    "Two bones of length 1 along y; four vertices, one at each end and two at the elbow, the last shared."
    mean = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 2, 0], [0, 1, 0]])
    regressor = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])
    skinning = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0.5, 0.5]])
    return w.Body(mean, torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 2, 0], [0, 1, 0]]]), regressor, skinning,
                  torch.tensor([[0, 1, 2]]), (-1, 0), pose_directions)


def test_skinning_by_hand():
    R = torch.stack([torch.eye(3), axis_angle_to_matrix(torch.tensor([0.0, 0, math.pi/2]))])[None]
    v, J = stick()(R)
    torch.testing.assert_close(v[0], torch.tensor([[0.0, 0, 0], [0, 1, 0], [-1, 1, 0], [0, 1, 0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(J[0], torch.tensor([[0.0, 0, 0], [0, 1, 0]]), atol=1e-6, rtol=0)
    long = stick()(R, torch.tensor([[1.0]]))                              # twice as long in both bones
    torch.testing.assert_close(long.vertices[0, 2], torch.tensor([-2.0, 2, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(long.joints[0, 1], torch.tensor([0.0, 2, 0]), atol=1e-6, rtol=0)


def test_corrections_by_pose_are_added_before_skinning():
    # R[0, 0] - 1 of the second joint moves vertex 2 along z
    directions = torch.zeros(9, 4, 3); directions[0, 2, 2] = 1.0
    R = torch.stack([torch.eye(3), axis_angle_to_matrix(torch.tensor([0.0, 0, math.pi/2]))])[None]
    torch.testing.assert_close(stick(directions)(R).vertices[0, 2], torch.tensor([-1.0, 1, -1]), atol=1e-6, rtol=0)


def test_the_free_body_is_a_person(body):
    assert (len(body.mean), len(body.faces), len(body.parents), len(body.directions)) == (6890, 13776, 24, 10)
    mesh = Mesh(body.mean, body.faces)
    assert is_watertight(mesh) and is_oriented(mesh) and euler_number(mesh) == 2
    height = (body.mean[:, 1].max() - body.mean[:, 1].min()).item()
    assert 1.5 < height < 1.8
    torch.testing.assert_close(body.regressor.sum(1), torch.ones(24), atol=1e-4, rtol=0)
    torch.testing.assert_close(body.skinning.sum(1), torch.ones(6890), atol=1e-5, rtol=0)
    J = body.joints_of(body.mean)
    at = lambda name: J[w.JOINTS.index(name)]
    assert (at("head")[1] > at("neck")[1] > at("pelvis")[1] > at("left knee")[1] > at("left ankle")[1]
            and at("left foot")[2] > at("left ankle")[2] and at("left hip")[0] > 0 > at("right hip")[0])
    torch.testing.assert_close(at("left hip")*torch.tensor([-1.0, 1, 1]), at("right hip"), atol=2e-3, rtol=0)
    volume = (mesh.triangles[:, 0]*torch.linalg.cross(mesh.triangles[:, 1], mesh.triangles[:, 2])).sum()/6
    assert 0.04 < volume < 0.12                                            # cubic metres, and facing outwards


def test_at_rest_nothing_moves_and_a_turn_of_the_whole_body_is_rigid(body):
    shape = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    v, J = body(rest(3), shape)
    torch.testing.assert_close(v, body.at_rest(shape), atol=1e-5, rtol=0)
    torch.testing.assert_close(J, body.joints_of(v), atol=1e-4, rtol=0)
    R = rest(3); turn = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.5])); R[:, 0] = turn
    torch.testing.assert_close(body(R, shape).vertices, (v - J[:, :1]) @ turn.mT + J[:, :1], atol=1e-5, rtol=0)


def test_regressed_joints_follow_poses_that_the_fit_never_saw(body):
    g = torch.Generator().manual_seed(7)
    bank = w.pose_bank("test", g)
    posed = body(bank[torch.randperm(len(bank), generator=g)[:200]], torch.randn(200, 10, generator=g))
    off = (body.joints_of(posed.vertices) - posed.joints).norm(dim=-1)
    assert off.mean() < 0.003 and off.max() < 0.015, (off.mean(), w.JOINTS[off.amax(0).argmax()])


def test_the_regressor_averages_near_vertices_and_damps_their_noise(body):
    assert (body.regressor >= 0).all()
    noise = torch.randn(2000, 6890, generator=torch.Generator().manual_seed(0))
    assert ((noise @ body.regressor.T).std(0) < 0.8).all()
    reach = (body.mean[None] - body.joints_of(body.mean)[:, None]).norm(dim=-1)*(body.regressor > 0)
    assert reach.max() < 0.2, w.JOINTS[reach.amax(1).argmax()]


@pytest.mark.parametrize("joint", ["hip", "knee", "ankle", "shoulder", "elbow"])
def test_a_limb_leaves_the_joints_of_the_other_side_where_they_are(body, joint):
    R = rest()
    R[0, w.JOINTS.index(f"right {joint}")] = axis_angle_to_matrix(torch.tensor([1.05, 0.3, 0.0]))
    moved = (body.joints_of(body(R).vertices) - body.joints_of(body.mean))[0].norm(dim=-1)
    left = [k for k, name in enumerate(w.JOINTS) if name.startswith("left")]
    assert moved[left].max() < 1e-3 and moved.max() > 0.03


def test_a_bent_knee_leaves_the_thigh_as_long_as_it_was(body):
    hip, knee, R = w.JOINTS.index("left hip"), w.JOINTS.index("left knee"), rest(3)
    R[1:, knee] = axis_angle_to_matrix(torch.tensor([[1.0, 0, 0], [1.9, 0, 0]]))
    J = body.joints_of(body(R).vertices)
    length = (J[:, hip] - J[:, knee]).norm(dim=-1)
    assert (length - length[0]).abs().max() < 0.01


def test_the_hand_s_joints_follow_bent_fingers():
    hand, g = w.free_hand(), torch.Generator().manual_seed(3)
    posed = hand(axis_angle_to_matrix(0.4*torch.randn(100, 16, 3, generator=g)), torch.randn(100, 5, generator=g))
    off = (hand.joints_of(posed.vertices) - posed.joints).norm(dim=-1)
    assert off.mean() < 0.001 and off.max() < 0.006 and (hand.regressor >= 0).all()


def test_the_body_is_differentiable_and_follows_its_dtype(body):
    small = w.Body(body.mean[:40], body.directions[:, :40],
                   torch.softmax(torch.randn(24, 40, generator=torch.Generator().manual_seed(0)), 1),
                   body.skinning[:40], body.faces[:1]*0, body.parents).to(torch.float64)
    turns, shape = ((0.2*torch.randn(1, 24, 3, dtype=torch.float64)).requires_grad_(),
                    torch.randn(1, 10, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda t, s: small(axis_angle_to_matrix(t), s).vertices[:, :3],
                                    (turns, shape), atol=1e-5)
    assert small(axis_angle_to_matrix(turns)).joints.dtype == torch.float64
    with pytest.raises(PaperKitError, match="rotations"): body(rest(1, 23))
    with pytest.raises(PaperKitError, match="shape numbers"): body(rest(), torch.zeros(1, 9))


def test_the_hand():
    hand = w.free_hand()
    assert ((len(hand.mean), len(hand.parents), len(hand.directions)) == (1400, 16, 5)
            and hand.joints_of(hand.mean)[0].norm() < 2e-3)
    R = rest(1, 16); R[0, 4:] = axis_angle_to_matrix(torch.tensor([0.0, 0, 0.8]))
    moved = (hand(R).joints[0] - hand.joints_of(hand.mean)).norm(dim=-1)
    assert moved[:4].max() < 1e-5 < 0.005 < moved[6]                       # wrist and thumb stay, a finger bends


def test_decimation_keeps_some_vertices_and_the_way_back(body):
    ball = __import__("trimesh").creation.icosphere(3)
    kept, faces = w.decimate(np.asarray(ball.vertices), np.asarray(ball.faces), 162)
    assert len(kept) == 162 and faces.max() == 161 and len(np.unique(kept)) == 162
    coarse = Mesh(torch.from_numpy(np.asarray(ball.vertices)[kept]), torch.from_numpy(faces))
    assert is_watertight(coarse) and is_oriented(coarse) and euler_number(coarse) == 2
    level = w.coarser(torch.from_numpy(np.asarray(ball.vertices)).float(), torch.from_numpy(np.asarray(ball.faces)),
                      162)
    x = torch.from_numpy(np.asarray(ball.vertices)).float()
    torch.testing.assert_close(level.down @ x, x[level.kept])
    up = level.up.to_dense()
    torch.testing.assert_close(up.sum(1), torch.ones(len(x)), atol=1e-5, rtol=0)
    assert (up >= -1e-6).all() and ((up > 1e-6).sum(1) <= 3).all() and (up @ x[level.kept] - x).norm(dim=-1).max() < 0.1
    torch.testing.assert_close((up @ x[level.kept])[level.kept], x[level.kept], atol=1e-5, rtol=0)
    open_sheet = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0), [0.0]), -1).reshape(-1, 3)
    quads = [(r*6 + c, r*6 + c + 1, r*6 + c + 7, r*6 + c + 6) for r in range(5) for c in range(5)]
    kept, _ = w.decimate(open_sheet, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]), 8)
    assert {0, 5, 30, 35} <= set(kept.tolist())                            # the corners of a border stay
    with pytest.raises(PaperKitError, match="few"): w.decimate(open_sheet, np.array([[0, 1, 7]]), 3)


def test_clips_are_rotations_that_stand_and_the_splits_are_apart(body):
    pytest.importorskip("pybullet_data")
    assert not set(w.CLIPS["train"]) & set(w.CLIPS["test"])
    poses = w.clip_poses("walk")
    torch.testing.assert_close(poses @ poses.mT, torch.eye(3, dtype=torch.float64).expand_as(poses), atol=1e-9, rtol=0)
    v, J = body(poses.float())
    at = lambda name: J[:, w.JOINTS.index(name)]
    assert (at("head")[:, 1] - at("pelvis")[:, 1]).min() > 0.5             # upright
    hang = torch.nn.functional.normalize(at("left elbow") - at("left shoulder"), dim=-1)
    assert (hang[:, 1] < -0.75).all()                                    # the arms hang, though ours rest at 45 degrees
    stride = (at("left ankle") - at("right ankle"))[:, 2]
    assert stride.max() > 0.25 and stride.min() < -0.25                    # both legs go ahead in turn
    with pytest.raises(PaperKitError, match="clip"): w.clip_poses("swim")


def test_random_poses_keep_their_limits():
    R = w.random_poses(300, torch.Generator().manual_seed(0))
    angle = torch.rad2deg(rotation_angle(R, torch.eye(3, dtype=R.dtype).expand_as(R)))
    assert (angle[:, 0].max() < 1e-4 and angle[:, w.JOINTS.index("left knee")].max() < 130
            and angle[:, w.JOINTS.index("spine 3")].max() < 25)
    assert (R[:, w.JOINTS.index("left knee"), 2, 1] > -0.1).all()          # knees bend backwards only
    assert torch.equal(R, w.random_poses(300, torch.Generator().manual_seed(0)))
    assert len(w.pose_bank("test", torch.Generator().manual_seed(0), count=50)) == 50
    with pytest.raises(PaperKitError, match="split"): w.pose_bank("val", torch.Generator())


def test_pictures_show_what_the_camera_says(body):
    R = rest(2); R[:, 0] = axis_angle_to_matrix(torch.tensor([math.pi, 0.0, 0]))
    v, J = body(R)
    camera = torch.tensor([[0.9, 0.0, 0.0], [0.5, 0.3, -0.2]])
    seen = w.picture_people(body, v, torch.full((2, len(body.mean), 3), 0.5), camera, 64)
    assert seen.image.shape == (2, 3, 64, 64) and (seen.parts > 0).eq(seen.mask).all()
    x = w.projected(J, camera)
    for k in range(2):
        for joint, part in (("head", 1), ("spine 3", 2), ("left knee", 5), ("right knee", 6), ("left elbow", 3)):
            column, row = ((x[k, w.JOINTS.index(joint)] + 1)*32).long().tolist()
            assert seen.parts[k, row, column] == part, joint
    assert seen.mask[0].sum() > 2*seen.mask[1].sum()
    by_hand = ((camera[1, 0]*v[1, :, :2] + camera[1, 1:] + 1)*32)
    rows, columns = seen.mask[1].nonzero().unbind(1)
    assert (abs(rows.min() - by_hand[:, 1].min()) < 1.5 and abs(rows.max() + 1 - by_hand[:, 1].max()) < 1.5
            and abs(columns.min() - by_hand[:, 0].min()) < 1.5)


def test_people_are_reproducible_and_the_domains_differ():
    a, b = w.people(10, "train", "wild", 32, 3), w.people(10, "train", "wild", 32, 3)
    assert (all(torch.equal(x, y) for x, y in zip(a, b)) and a.image.dtype == torch.uint8
            and a.surface.shape == (10, 3, 32, 32))
    studio = w.people(30, "train", "studio", 32, 0)
    assert len(torch.unique(studio.shape, dim=0)) <= 5 < len(torch.unique(w.people(30, "test", "wild", 32, 0).shape,
                                                                          dim=0))
    assert (studio.parts.flatten(1) > 0).float().mean(1).min() > 0.02
    with pytest.raises(PaperKitError, match="domain"): w.people(2, "train", "street", 32, 0)


def test_corrupted_parts_by_hand():
    x = torch.zeros(1, 12, 12, dtype=torch.long); x[0, :, :6], x[0, :, 6:] = 3, 4
    assert torch.equal(w.corrupt_parts(x, np.random.default_rng(0), 0, 0, 0), x)
    swapped = w.corrupt_parts(x, np.random.default_rng(0), 1, 0, 0)
    assert (swapped[0, :, :6] == 4).all() and (swapped[0, :, 6:] == 3).all()
    assert (w.corrupt_parts(x, np.random.default_rng(0), 0, 0, 2.0) != x).any()


def smpl_file(path, **changes):
    rng, v = np.random.default_rng(0), 30
    a = {"v_template": rng.normal(size=(v, 3)), "shapedirs": rng.normal(size=(v, 3, 12)),
         "posedirs": rng.normal(size=(v, 3, 207))*0.01, "J_regressor": rng.dirichlet(np.ones(v), 24),
         "weights": rng.dirichlet(np.ones(24), v),
         "f": rng.integers(0, v, (20, 3)).astype(np.uint32),
         "kintree_table": np.array([[2**32 - 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19,
                                     20, 21], np.arange(24)])} | changes
    np.savez(path, **{k: x for k, x in a.items() if x is not None})
    return path


def test_the_smpl_layout_and_its_faults(tmp_path):
    body = w.read_smpl(smpl_file(tmp_path/"a.npz"))
    assert repr(body) == "Body of 30 vertices, 24 joints, 10 shape directions" and body.parents[:5] == (-1, 0, 0, 0, 1)
    torch.testing.assert_close(body(rest()).vertices[0], body.mean, atol=1e-5, rtol=0)
    R = rest(); R[0, 5] = axis_angle_to_matrix(torch.tensor([0.4, 0.0, 0.0]))
    without = w.Body(body.mean, body.directions, body.regressor, body.skinning, body.faces, body.parents)
    assert (body(R).vertices - without(R).vertices).abs().max() > 1e-4     # the corrections act
    broken = np.full((30, 3), np.nan)
    for changes, match in (({"v_template": broken}, "NaN"), ({"weights": None}, "weights"),
                           ({"posedirs": np.zeros((30, 3, 9))}, "posedirs"),
                           ({"shapedirs": np.zeros((30, 3, 4))}, "shapedirs"),
                           ({"f": np.array([[0, 1, 30]])}, "faces"),
                           ({"J_regressor": np.array([object()])}, "plain arrays"),
                           ({"kintree_table": np.array([np.arange(24) + 1, np.arange(24)])}, "parents")):
        with pytest.raises(PaperKitError, match=match): w.read_smpl(smpl_file(tmp_path/"b.npz", **changes))
    (tmp_path/"c.npz").write_bytes(b"no archive")
    for name in ("c.npz", "d.npz"):
        with pytest.raises(PaperKitError, match="plain arrays"): w.read_smpl(tmp_path/name)
