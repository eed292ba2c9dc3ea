"""The world of clips: true motion, people, a depth camera; the three real layouts on miniatures."""
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import project, unproject
from paper_kit.matching import worlds as w


def test_textures_have_contrast_and_repeat_by_seed():
    bank = w.patterns(8, 32, np.random.default_rng(0))
    assert (bank.shape == (8, 3, 32, 32) and bank.min() >= 0 and bank.max() <= 1
            and (bank.flatten(1).std(1) > 0.02).all())
    assert torch.equal(bank, w.patterns(8, 32, np.random.default_rng(0)))


@pytest.mark.parametrize("family", [f for split in w.FAMILIES.values() for f in split])
def test_every_family_is_a_body_about_a_metre_long(family):
    from paper_kit.kit.scenes import Thing, assemble
    parts = family(np.random.default_rng(1), 4)
    scene = assemble([Thing("box", parts)], torch.rand(4, 3, 8, 8))
    reach = (scene.pose[:, :3, 3].abs() + scene.size.amax(1)[:, None]).amax(0)
    assert 0.3 < reach[0] < 0.8 and len(parts) >= 5
    assert not set(w.FAMILIES["train"]) & set(w.FAMILIES["test"])


def test_a_walker_keeps_its_bones():
    body = w.walker(np.random.default_rng(0))
    a, b = body(0.0), body(1.3)
    assert len(a) == len(b) == 11 and [p.size for p in a] == [p.size for p in b]
    assert any(not np.allclose(p.at, q.at) for p, q in zip(a, b)) and min(p.at[2] for p in a) > 0


def test_a_path_starts_at_the_identity_and_is_smooth():
    path = w.wander(np.random.default_rng(0), 9, 2.0, 0.05)
    assert torch.allclose(path[0], torch.eye(4)) and path.shape == (9, 4, 4)
    steps = (path[1:, :3, 3] - path[:-1, :3, 3]).norm(dim=1)
    assert 0.01 < steps.mean() < 0.15 and steps.max() < 4*steps.min() + 0.1


def depth_gap(clip, i, j, M):
    "Median distance in metres between the depth of moved points and the depth seen where they go."
    z, keep = clip.depth[i].float()/1000, clip.mask[i] & (clip.depth[i] > 0)
    place, expected = project(unproject(z, clip.K)[keep], clip.K, M)
    h, width = z.shape
    to = torch.nn.functional.grid_sample(clip.depth[j][None, None].float()/1000,
                                         (2*place/torch.tensor([width, h]) - 1)[None, None], mode="nearest",
                                         align_corners=False)[0, 0, 0]
    return (to - expected)[to > 0].abs().median().item()


@pytest.mark.parametrize("make", [lambda r: w.object_clip(r, w.FAMILIES["train"], frames=5, height=48, width=64),
                                  lambda r: w.camera_clip(r, frames=5, noise=0),
                                  lambda r: w.camera_clip(r, frames=5, noise=0, people=2)])
def test_the_true_motion_carries_depth_along(make):
    clip = make(np.random.default_rng(3))
    assert clip.color.dtype == torch.uint8 and clip.depth.dtype == torch.int16
    assert depth_gap(clip, 0, 4, clip.motion(0, 4)) < 0.5*depth_gap(clip, 0, 4, torch.eye(4))
    assert torch.allclose(clip.motion(0, 2) @ clip.motion(2, 0), torch.eye(4), atol=1e-5)


def test_people_hide_a_part_and_are_not_of_the_room():
    clip = w.camera_clip(np.random.default_rng(2), frames=2, people=3)
    assert 0.3 < clip.mask.float().mean() < 0.97 and w.camera_clip(np.random.default_rng(2), frames=2).mask.all()


def test_the_depth_camera_is_noisy_by_the_square_and_loses_edges():
    z = torch.full((4, 40, 40), 1.0)
    z[2:] = 4.0
    z[:, :, 30:] += 1.0
    normal, direction = torch.zeros(4, 3, 40, 40), torch.zeros(4, 40, 40, 3)
    normal[:, 2], direction[..., 2] = -1, 1
    seen = w.kinect(z, normal, direction, np.random.default_rng(0), noise=0.01, step=0)
    flat = seen[:, :, :25]
    near, far = flat[:2][flat[:2] > 0].std(), flat[2:][flat[2:] > 0].std()
    assert 10 < far/near < 24 and (seen[:2, :, 29:31] == 0).float().mean() > 0.5 and (flat == 0).float().mean() < 0.03
    normal[:, 2], normal[:, 0] = -0.1, 0.995
    assert (w.kinect(z, normal, direction, np.random.default_rng(0)) == 0).all(), "surfaces seen at a slant"
    steps = w.kinect(z, -direction.permute(0, 3, 1, 2), direction, np.random.default_rng(0), noise=0, step=0.01)
    assert torch.allclose((1/steps[steps > 0]/0.01).round(), 1/steps[steps > 0]/0.01, atol=1e-3)
    assert (w.kinect(torch.full((1, 4, 4), float("inf")), normal[:1, :, :4, :4], direction[:1, :4, :4],
                     np.random.default_rng(0)) == 0).all()


# ---- pickles that are data, and pickles that are not

def test_a_plain_pickle_gives_lists_numbers_and_arrays(tmp_path):
    value = {"a": [1, 2.5, "x"], "b": {"m": np.arange(12, dtype=np.float32).reshape(3, 4)},
             "c": (np.float64(2.0), np.asfortranarray(np.arange(6).reshape(2, 3))), "d": np.array([True, False])}
    for protocol in (2, 4):
        (tmp_path/"x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
        found = w.plain_pickle(tmp_path/"x.pkl")
        assert (found["a"] == [1, 2.5, "x"] and np.array_equal(found["b"]["m"], value["b"]["m"]) and found["c"][0]
                == 2.0 and np.array_equal(found["c"][1], value["c"][1]) and np.array_equal(found["d"], value["d"]))


class Evil:
    def __reduce__(self): return (print, ("this must never be printed",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    for bad in (Evil(), [np.array([Evil()], dtype=object)]):
        (tmp_path/"x.pkl").write_bytes(pickle.dumps(bad))
        with pytest.raises(PaperKitError, match="plain data"): w.plain_pickle(tmp_path/"x.pkl")
    (tmp_path/"x.pkl").write_bytes(b"\x80\x04 torn")
    with pytest.raises(PaperKitError, match="plain data"): w.plain_pickle(tmp_path/"x.pkl")
    assert "never" not in capsys.readouterr().out


# ---- miniatures

def colour(file, value, size=(320, 240)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(file)


def depth(file, value, size=(320, 240)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), value, np.uint16)).save(file)


def pose(x=0.0):
    T = np.eye(4); T[0, 3] = x
    return T


def moving_objects(root, poses=None, frames=3):
    """Layout of the loader in lvzhaoyang/DeeperInverseCompositionalAlgorithm: data_objs3D/CATEGORY/NNNNNN/info.pkl and
    the pictures it names."""
    base = root/"data_objs3D"
    names = {k: [f"somewhere/final/boat/000000/{k}/{i:04d}.png" for i in range(frames)]
             for k in ("color", "depth", "object_mask", "invalid")}
    for i in range(frames):
        colour(base/"boat"/"000000"/"color"/f"{i:04d}.png", 40*i)
        depth(base/"boat"/"000000"/"depth"/f"{i:04d}.png", 2000)
        mask = np.zeros((240, 320), np.uint8); mask[60:120, 80:160] = 1
        (base/"boat"/"000000"/"object_mask").mkdir(exist_ok=True)
        Image.fromarray(mask).save(base/"boat"/"000000"/"object_mask"/f"{i:04d}.png")
    info = {**names, "pose": poses or [pose() for _ in range(frames)],
            "object_poses": {"Model_1": [pose(0.1*i) for i in range(frames)]},
            "object_visible_frames": {"Model_1": list(range(frames))}, "calib": [280.0, 280.0, 159.5, 119.5]}
    (base/"boat"/"000000"/"info.pkl").write_bytes(pickle.dumps(info))
    return base


def test_moving_objects_3d_reads_its_layout(tmp_path):
    moving_objects(tmp_path)
    data = w.MovingObjects3D(tmp_path, "test", 1)
    clip = data[1]
    assert (len(data) == 2 and clip.color.shape == (2, 3, 120, 160) and int(clip.color[0].max()) == 40
            and (clip.depth == 2000).all() and clip.mask.sum() == 2*30*40)
    assert (torch.allclose(clip.motion(0, 1)[:3, 3], torch.tensor([0.1, 0, 0]))
            and torch.allclose(clip.K, torch.tensor([[140.0, 0, 80], [0, 140, 60], [0, 0, 1]])))
    assert len(w.MovingObjects3D(tmp_path, "test", 2)) == 1
    with pytest.raises(PaperKitError, match="no sequence"): w.MovingObjects3D(tmp_path, "train")
    with pytest.raises(PaperKitError, match="no such split"): w.MovingObjects3D(tmp_path, "all")


def test_moving_objects_3d_names_what_is_corrupt_missing_or_nan(tmp_path):
    base = moving_objects(tmp_path, [pose(), pose(), pose(float("nan"))])
    data = w.MovingObjects3D(tmp_path, "test", 1)
    assert data[0].color.shape == (2, 3, 120, 160)
    with pytest.raises(PaperKitError, match="not rigid"): data[1]
    (base/"boat"/"000000"/"color"/"0001.png").write_bytes(b"torn")
    with pytest.raises(PaperKitError, match="cannot be read"): data[0]
    (base/"boat"/"000000"/"color"/"0001.png").unlink()
    with pytest.raises(PaperKitError, match="missing"): data[0]
    (base/"boat"/"000000"/"info.pkl").write_bytes(pickle.dumps({"color": []}))
    with pytest.raises(PaperKitError, match="not complete"): w.MovingObjects3D(tmp_path, "test")
    (base/"boat"/"000000"/"info.pkl").unlink()
    with pytest.raises(PaperKitError, match="no description"): w.MovingObjects3D(tmp_path, "test")


def bundle(root, frames=4):
    """Layout of the data set's page: frame-NNNNNN.color.jpg, .depth.png, .pose.txt (camera to world; -inf where
    tracking was lost)."""
    for i in range(frames):
        colour(root/"copyroom"/f"frame-{i:06d}.color.jpg", 30*i, (64, 48))
        depth(root/"copyroom"/f"frame-{i:06d}.depth.png", 1500, (64, 48))
        (root/"copyroom"/f"frame-{i:06d}.pose.txt").write_text("\n".join(" ".join(map(str, row))
                                                                         for row in pose(0.05*i)))


def test_bundle_fusion_reads_its_layout_and_names_faults(tmp_path):
    bundle(tmp_path)
    data = w.BundleFusion(tmp_path, "copyroom", 2)
    clip = data[0]
    assert len(data) == 2 and (clip.depth == 1500).all() and torch.allclose(clip.motion(0, 1)[:3, 3],
                                                                            torch.tensor([-0.1, 0,
                                                                                          0])), ("world to camera of "
                                                                                                 "frame 2, camera to "
                                                                                                 "world of frame 0")
    folder = tmp_path/"copyroom"
    (folder/"frame-000001.pose.txt").write_text("\n".join(["-inf -inf -inf -inf"]*4))
    assert w.BundleFusion(tmp_path, "copyroom", 1).lost == 1 and len(w.BundleFusion(tmp_path, "copyroom", 1)) == 2
    (folder/"frame-000002.depth.png").unlink()
    with pytest.raises(PaperKitError, match="missing"): w.BundleFusion(tmp_path, "copyroom", 1)[0]
    (folder/"frame-000000.color.jpg").write_bytes(b"torn")
    with pytest.raises(PaperKitError, match="cannot be read"): w.BundleFusion(tmp_path, "copyroom", 1)[0]
    (folder/"frame-000003.pose.txt").write_text("1 0 0 x")
    with pytest.raises(PaperKitError, match="pose cannot be read"): w.BundleFusion(tmp_path, "copyroom")
    with pytest.raises(PaperKitError, match="no frames"): w.BundleFusion(tmp_path, "office2")


def tum(root, name="rgbd_dataset_freiburg1_desk", frames=4):
    """Layout of the data set's page on file formats: rgb.txt, depth.txt, groundtruth.txt with comments, pictures beside
    them."""
    folder = root/name
    for i in range(frames):
        colour(folder/"rgb"/f"{i}.png", 30*i, (64, 48)); depth(folder/"depth"/f"{i}.png", 10000, (64, 48))
    (folder/"rgb.txt").write_text("# colour\n" + "".join(f"{100 + i/30:.4f} rgb/{i}.png\n" for i in range(frames)))
    (folder/"depth.txt").write_text("# depth\n" + "".join(f"{100.005 + i/30:.4f} depth/{i}.png\n"
                                                          for i in range(frames)))
    (folder/"groundtruth.txt").write_text("# time tx ty tz qx qy qz qw\n"
                                          + "".join(f"{100.002 + i/30:.4f} {0.1*i} 0 0 0 0 0 1\n"
                                                    for i in range(frames)))
    return folder


def test_tum_reads_its_layout_and_names_faults(tmp_path):
    folder = tum(tmp_path)
    data = w.TumRGBD(tmp_path, folder.name, 2)
    assert len(data) == 2 and (data[0].depth == 2000).all() and torch.allclose(data[0].motion(0, 1)[:3, 3],
                                                                               torch.tensor([-0.2, 0, 0]), atol=1e-6)
    depth(folder/"depth"/"0.png", 30000, (64, 48))
    assert (data[0].depth[0] == 0).all(), "6 m is outside 0.5 to 5 m"
    (folder/"rgb"/"0.png").unlink()
    with pytest.raises(PaperKitError, match="missing"): data[0]
    (folder/"rgb"/"1.png").write_bytes(b"torn")
    with pytest.raises(PaperKitError, match="cannot be read"): data[1]
    good = (folder/"groundtruth.txt").read_text()
    (folder/"groundtruth.txt").write_text(good.replace("0.1 0 0 0 0 0 1", "nan 0 0 0 0 0 1"))
    with pytest.raises(PaperKitError, match="row cannot be read") as caught: w.TumRGBD(tmp_path, folder.name)
    assert "groundtruth.txt:3" in str(caught.value)
    (folder/"groundtruth.txt").write_text(good.replace("100.", "900."))
    with pytest.raises(PaperKitError, match="no frames match"): w.TumRGBD(tmp_path, folder.name)
    (folder/"depth.txt").unlink()
    with pytest.raises(PaperKitError, match="list is missing"): w.TumRGBD(tmp_path, folder.name)
