"""The world of walks through rooms and yards: geometry against closed forms, what is hidden, the layout of
RealEstate10K on a miniature, the real pair."""
import numpy as np
import pytest
import torch
from PIL import Image
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.geometry import intrinsics
from paper_kit.kit.scenes import Part, Thing, assemble
from paper_kit.views import worlds as w

K = intrinsics(24, 40, 54.0)


def test_a_place_has_a_shell_and_things_at_the_asked_distance():
    for seed, outdoors in ((0, False), (1, True), (2, None)):
        scene = w.place(np.random.default_rng(seed), outdoors=outdoors)
        clip = w.film(scene, K, w.walk(np.random.default_rng(0), [-0.5, 0.0, 0.5]), 24, 40)
        depth = clip.depth[clip.depth > 0].float()
        assert clip.color.dtype == torch.uint8 and clip.depth.dtype == torch.float16
        assert 1.0 < depth.min() < 3.2 and depth.max() > 3.0

def test_the_same_seed_gives_the_same_place_and_another_a_different_one():
    make = lambda s: w.film(w.place(np.random.default_rng(s)), K, w.walk(np.random.default_rng(s), [0.0]), 24, 40).color
    assert make(3).equal(make(3)) and not make(3).equal(make(4))

def test_a_distance_that_cannot_be():
    with pytest.raises(PaperKitError, match="nothing can stand there"):
        w.place(np.random.default_rng(0), near=2.0, far=1.0)

def test_a_walk_goes_sideways_along_parallel_axes():
    T = w.walk(np.random.default_rng(0), [0.0, 0.3, -0.2], shake=0.0, turn=0.0)
    eyes = -(T[:, :3, :3].mT @ T[:, :3, 3:])[..., 0]
    assert eyes.allclose(torch.tensor([[0.0, 0, 1.3], [0, 0.3, 1.3], [0, -0.2, 1.3]]), atol=1e-6)
    assert T[1, :3, :3].allclose(T[0, :3, :3]) and (T[1] @ torch.linalg.inv(T[0]))[:3, 3].allclose(
        torch.tensor([-0.3, 0, 0]), atol=1e-6), "to the right: things move to the left"
    shaken = w.walk(np.random.default_rng(0), [0.0]*400, shake=0.02)
    eyes = -(shaken[:, :3, :3].mT @ shaken[:, :3, 3:])[..., 0]
    assert abs(eyes[:, 2].std().item() - 0.02) < 0.004 and eyes[:, 1].abs().max() < 1e-6

def test_a_standing_card_looks_at_the_camera_and_hides_by_the_known_width():
    scene = assemble([Thing("railing", [Part("card", (0.25, 5.0, 0), (0, 0, 1.3), w.STANDING, (1.0, 0, 0))],
                            (-2.0, 0.0, 0.0)), Thing("backdrop", [Part("card", (50.0, 50.0, 0), (0, 0, 0), w.STANDING)],
                                                     (-4.0, 0.0, 0.0))], lights=[(0, 0, 2, 0.0, 0, 0)], ambient=1.0)
    T = w.walk(np.random.default_rng(0), [0.0, 0.4], target=(-4.0, 0.0, 1.3), shake=0.0, turn=0.0)
    clip = w.film(scene, K, T, 24, 40, samples=1)
    row, f = clip.depth[0, 12].float(), K[0, 0].item()
    assert (row == 2).sum().item() == pytest.approx(0.5*f/2, abs=1) and set(row.unique().tolist()) == {2.0, 4.0}
    hidden = w.seen_from(scene, K, T[1], T[0], 24, 40)
    assert hidden.disoccluded[12].sum().item() == pytest.approx(0.4*f*(1/2 - 1/4),
                                                                abs=1), ("offset times focal length times the "
                                                                         "difference of disparities")
    assert hidden.at[12, 39, 0].item() == pytest.approx(39.5 + 0.4*f/4, abs=1e-3) and not hidden.inside[12, 39]

def test_nothing_is_hidden_from_itself():
    scene = w.place(np.random.default_rng(5))
    T = w.walk(np.random.default_rng(1), [0.0])[0]
    seen = w.seen_from(scene, K, T, T, 24, 40)
    assert seen.seen.float().mean() > 0.995 and seen.disoccluded.float().mean() < 0.005

def test_exposure_changes_frames_by_a_factor():
    scene = assemble([Thing("backdrop", [Part("card", (50.0, 50.0, 0), (0, 0, 0), w.STANDING, (0.5, 0.5, 0.5))],
                            (-4.0, 0.0, 0.0))], lights=[(0, 0, 2, 0.0, 0, 0)], ambient=1.0)
    T = w.walk(np.random.default_rng(0), [0.0]*30, shake=0.0, turn=0.0)
    plain, wavering = (w.film(scene, K, T, 24, 40, samples=1).color.float(),
                       w.film(scene, K, T, 24, 40, np.random.default_rng(0), samples=1, exposure=0.1).color.float())
    assert (plain.std() == 0 and 0.06 < (wavering.mean((1, 2, 3))/plain.mean()).log().std() < 0.14
            and wavering.std((1, 2, 3)).max() == 0)


ROW = "{} 0.5 0.9 0.5 0.5 0 0 1 0 0 {} 0 1 0 0 0 0 1 0\n"

@pytest.fixture
def miniature(tmp_path):
    """The layout on the data set's web page: an address, then 19 numbers a frame; frames under
    frames/<id>/<timestamp>.png."""
    (tmp_path/"train").mkdir()
    for name in ("aa", "bb", "cc"):
        (tmp_path/"train"/f"{name}.txt").write_text(f"https://www.youtube.com/watch?v={name}\n" + ROW.format(100, 0)
                                                    + ROW.format(200, -0.1))
        (tmp_path/"frames"/name).mkdir(parents=True)
        for stamp in (100, 200): Image.new("RGB", (32, 18), (stamp, 10, 20)).save(tmp_path/"frames"/name/f"{stamp}.png")
    (tmp_path/"train"/"dd.txt").write_text("address\n" + ROW.format(100, "nan"))
    (tmp_path/"train"/"ee.txt").write_text("address\n1 2 3\n")
    (tmp_path/"train"/"ff.txt").write_text("address\n" + ROW.format(100, 0).replace("1 0 0 0 0 1", "2 0 0 0 0 1"))
    (tmp_path/"frames"/"bb"/"200.png").unlink()
    (tmp_path/"frames"/"cc"/"100.png").write_bytes(b"not an image")
    return tmp_path

def test_a_clip_of_the_published_layout(miniature):
    data = w.RealEstate10K(miniature, "train", (18, 32))
    clip = data.clip(0)
    assert len(data) == 6 and clip.color.shape == (2, 3, 18, 32) and clip.color[1, 0, 0, 0] == 200
    assert (clip.K.tolist() == [[16.0, 0, 16.0], [0, pytest.approx(16.2), 9.0], [0, 0, 1]]
            and clip.T[1, 0, 3].item() == pytest.approx(-0.1))
    address, stamps, cameras, T = w.read_cameras(miniature/"train"/"aa.txt")
    assert (address.endswith("v=aa") and stamps.tolist() == [100, 200] and cameras.shape == (2, 3, 3)
            and T.shape == (2, 4, 4))

@pytest.mark.parametrize("number, words", [(1, "missing"), (2, "cannot be read"), (3, "camera cannot be read"),
                                           (4, "camera cannot be read"), (5, "not turned by a rotation")])
def test_a_broken_clip_is_named(miniature, number, words):
    with pytest.raises(PaperKitError, match=words) as error: w.RealEstate10K(miniature, "train", (18, 32)).clip(number)
    assert ("bb", "cc", "dd", "ee", "ff")[number - 1] in str(error.value)

def test_what_is_not_there(miniature, tmp_path):
    with pytest.raises(PaperKitError, match="no such split"): w.RealEstate10K(miniature, "val")
    with pytest.raises(PaperKitError, match="no clip was found"): w.RealEstate10K(miniature, "test")
    with pytest.raises(PaperKitError, match="no such frames"):
        w.RealEstate10K(miniature, "train", (18, 32)).clip(0, [5])
    with pytest.raises(PaperKitError, match="a clip is missing"): w.read_cameras(miniature/"train"/"zz.txt")

def test_the_data_set_is_registered(miniature):
    from paper_kit.kit.datasets import find
    assert find("realestate10k", miniature) == miniature
    with pytest.raises(PaperKitError, match="not complete"): find("realestate10k", miniature/"frames")

def test_the_real_pair_agrees_with_its_disparity():
    pair = w.motorcycle(8)
    h, wide = pair.disparity.shape
    known = pair.disparity.isfinite()
    x = torch.arange(wide).expand(h, wide) - pair.disparity.nan_to_num(0)
    inside = known & (x >= 0) & (x < wide - 1)
    sample = pair.right.mean(0).gather(1, x.round().long().clamp(0, wide - 1))
    moved, still = ((pair.left.mean(0) - other)[inside].abs().mean() for other in (sample, pair.right.mean(0)))
    assert moved < 0.5*still
    assert 1.8 < 1/pair.inverse_depth[known].max() < 2.5 and 4 < 1/pair.inverse_depth[known].min() < 6
    place = torch.stack([x[10, 40] + pair.disparity[10, 40] + 0.5, torch.tensor(10.5), torch.tensor(1.0)])
    point = torch.linalg.inv(pair.K) @ place/pair.inverse_depth[10, 40]
    other = pair.K_right @ (point + pair.T[:3, 3])
    assert (other[0]/other[2] - 0.5).item() == pytest.approx(40 - pair.disparity[10, 40].item(), abs=1e-2)
