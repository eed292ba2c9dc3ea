"""The factor portraits: determinism, locality of each factor, the hole; and the loaders of FFHQ and CelebA-HQ on
miniatures of their layouts."""
import json

import numpy as np
import pytest
import torch
from PIL import Image

from paper_kit.generative import worlds
from paper_kit.generative.worlds import (ATTRIBUTES, FACTORS, NUMBER, draw_details, draw_factors, in_hole, portrait_set,
                                         portraits)
from paper_kit.kit.files import PaperKitError


def drawn(n=64, seed=0, **k):
    generator = torch.Generator().manual_seed(seed)
    return draw_factors(n, generator, **k), draw_details(n, generator)


def test_the_same_seed_gives_the_same_portraits_and_splits_share_nothing():
    a, b = (portraits(*drawn()) for _ in range(2))
    assert (torch.equal(a, b) and a.shape == (64, 3, 32, 32) and float(a.min()) >= -1 and float(a.max()) <= 1
            and float(a.std()) > 0.2)
    sets = [portrait_set(split, 40)[1] for split in worlds.SPLITS]
    everything = torch.cat(sets)
    assert len(torch.unique(everything, dim=0)) == 120
    assert not torch.equal(portrait_set("train", 40, seed=1)[1], sets[0])


def test_smaller_portraits_are_block_means_and_larger_ones_show_the_same_head():
    big, factors = portrait_set("train", 12, 32)
    small, same = portrait_set("train", 12, 8)
    assert torch.equal(factors, same) and torch.allclose(small, big.view(12, 3, 8, 4, 8, 4).mean((3, 5)), atol=1e-6)
    large, same = portrait_set("train", 12, 64)
    assert (torch.equal(factors, same) and float((large.view(12, 3, 32, 2, 32, 2).mean((3, 5)) - big).abs().mean())
            < 0.06)


@pytest.mark.parametrize("hole", [0.05, 0.15, 0.25])
def test_the_hole_is_empty_and_has_the_mass_it_says(hole):
    f = draw_factors(20000, torch.Generator().manual_seed(1), hole)
    hair, beard = f[:, NUMBER["hair_length"]], f[:, NUMBER["beard"]]
    assert not bool(in_hole(hair, beard, hole).any())
    free = draw_factors(20000, torch.Generator().manual_seed(1), 0.)
    share = in_hole(free[:, NUMBER["hair_length"]], free[:, NUMBER["beard"]], hole).float().mean()
    assert abs(float(share) - hole) < 0.01
    quarter = ((hair < 0.5) & (beard < 0.5)).float().mean()
    assert abs(float(quarter) - 0.25/(1 - hole)) < 0.015, "the rest keeps its uniform density"


def test_no_portrait_has_long_hair_and_a_beard():
    labels = worlds.attributes(portrait_set("test", 1000)[1])
    names = list(ATTRIBUTES)
    assert labels.shape == (1000, 12) and set(labels.unique().tolist()) == {0., 1.}
    both = labels[:, names.index("long hair")]*labels[:, names.index("beard")]
    assert both.sum() == 0 and all(0.05 < p < 0.95 for p in labels.mean(0).tolist())


REGIONS = {"mouth_open": (16, 32, 6, 26), "smile": (16, 32, 6, 26), "eye_open": (10, 20, 5, 27),
           "brow_tilt": (7, 18, 5, 27), "glasses": (9, 22, 3, 29),
           "hat": (0, 18, 0, 32), "beard": (15, 30, 5, 27)}


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_changes_only_what_it_should(name):
    f, d = drawn(32, 3)
    f[:, NUMBER["hat"]] = f[:, NUMBER["glasses"]] = 0
    f[:, NUMBER["yaw"]] = 0.5
    low, high = f.clone(), f.clone()
    low[:, NUMBER[name]], high[:, NUMBER[name]] = 0., 1.
    change = (portraits(high, d) - portraits(low, d)).abs().amax((0, 1))
    assert float(change.max()) > 0.1, "every factor is visible"
    if name in REGIONS:
        top, bottom, left, right = REGIONS[name]
        outside = change.clone()
        outside[top:bottom, left:right] = 0
        assert float(outside.max()) == 0.
    if name == "background": assert float(change[14:22, 14:18].max()) == 0. and float(change[0].min()) > 0.05
    if name in ("skin", "light_side", "light_warmth"):
        assert float(change[:3].max()) == 0., "above the head there is only background"


def test_chance_changes_no_factor_and_stays_in_its_place():
    f, d = drawn(16, 5)
    other = d.clone()
    other[:, 2] = torch.randn(16, 32, 32, generator=torch.Generator().manual_seed(9))
    change = (portraits(f, other) - portraits(f, d)).abs().amax((0, 1))
    assert float(change[0].min()) > 0.01 and float(change[17:21,
                                                          15:17].max()) == 0., ("the background's grain does not reach "
                                                                                "the face")
    other = d.clone()
    other[:, 0] = -other[:, 0]
    change = (portraits(f, other) - portraits(f, d)).abs().mean((0, 1))
    assert float(change.max()) > 0.05 and float(change[0, :3].max()) == 0.


def test_dtype_follows_and_bad_input_is_named():
    f, d = drawn(4)
    assert portraits(f.double(), d).dtype == torch.float64
    assert torch.allclose(portraits(f.double(), d).float(), portraits(f, d), atol=1e-4)
    with pytest.raises(PaperKitError, match="do not fit"): portraits(f[:3], d)
    bad = f.clone()
    bad[0, 0] = float("nan")
    with pytest.raises(PaperKitError, match="out of range"): portraits(bad, d)
    with pytest.raises(PaperKitError, match="no such size"): draw_factors(4, torch.Generator(), hole=0.4)
    with pytest.raises(PaperKitError, match="no such split"): portrait_set("all", 4)
    with pytest.raises(PaperKitError, match="no such size"): portrait_set("train", 4, 24)


def ffhq(root, count=3, size=64):
    """A miniature after the README of NVlabs/ffhq-dataset: images1024x1024 in folders of a thousand,
    ffhq-dataset-v2.json."""
    rng = np.random.default_rng(0)
    folder = root/"images1024x1024"/"00000"
    folder.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder/f"{k:05d}.png")
    (root/"ffhq-dataset-v2.json").write_text(json.dumps({str(k): {"category": "validation" if k == 2 else "training"}
                                                         for k in range(count)}))
    return root


def test_ffhq_is_read_and_its_faults_are_named(tmp_path):
    root = ffhq(tmp_path)
    found = worlds.load_ffhq(root, 32)
    first = np.asarray(Image.open(root/"images1024x1024"/"00000"/"00000.png"), float)
    assert found.shape == (3, 3, 32, 32) and abs(float(found[0, 1, 0, 0]) - (first[:2, :2, 1].mean()/127.5 - 1)) < 1e-5
    assert torch.equal(worlds.load_ffhq(root, 32, "validation"), found[2:])
    with pytest.raises(PaperKitError, match="another size"): worlds.load_ffhq(root, 48)
    (root/"images1024x1024"/"00000"/"00001.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(PaperKitError, match="00001.png"): worlds.load_ffhq(root, 32)
    (root/"images1024x1024"/"00000"/"00001.png").unlink()
    with pytest.raises(PaperKitError, match="missing"): worlds.load_ffhq(root, 32, "training")
    (root/"ffhq-dataset-v2.json").write_text('{"0": NaN')
    with pytest.raises(PaperKitError, match="metadata"): worlds.load_ffhq(root, 32, "training")


def celeba(root):
    "A miniature after the CelebAMask-HQ release (pictures, index map) and CelebA's list_attr_celeba.txt."
    (root/"CelebA-HQ-img").mkdir()
    for k in range(2): Image.fromarray(np.full((64, 64, 3), 50*k, np.uint8)).save(root/"CelebA-HQ-img"/f"{k}.jpg")
    (root/"CelebA-HQ-to-CelebA-mapping.txt").write_text("idx  orig_idx  orig_file\n0  119613  119614.jpg\n1  99094  "
                                                        "099095.jpg\n")
    (root/"list_attr_celeba.txt").write_text("3\nEyeglasses Male Smiling\n000001.jpg 1 1 1\n099095.jpg  1 -1 "
                                             "-1\n119614.jpg -1  1 -1\n")
    return root


def test_celeba_hq_is_read_and_its_faults_are_named(tmp_path):
    root = celeba(tmp_path)
    pictures, labels, names = worlds.load_celeba_hq(root, 32)
    assert (pictures.shape == (2, 3, 32, 32) and labels.tolist() == [[0, 1, 0], [1, 0, 0]]
            and names == ["Eyeglasses", "Male", "Smiling"])
    (root/"list_attr_celeba.txt").write_text("3\nEyeglasses Male Smiling\n119614.jpg -1 nan -1\n")
    with pytest.raises(PaperKitError, match="list_attr_celeba.txt:3"): worlds.load_celeba_hq(root, 32)
    (root/"list_attr_celeba.txt").write_text("3\nEyeglasses Male Smiling\n119614.jpg -1 1 -1\n")
    with pytest.raises(PaperKitError, match="no attributes"): worlds.load_celeba_hq(root, 32)
    celeba_file = root/"CelebA-HQ-img"/"0.jpg"
    celeba_file.write_bytes(b"no picture")
    with pytest.raises(PaperKitError, match="0.jpg"): worlds.load_celeba_hq(root, 32, most=1)
    celeba_file.unlink()
    with pytest.raises(PaperKitError, match="0.jpg"): worlds.load_celeba_hq(root, 32, most=1)


def test_a_real_sanity_set_passes_through_the_same_reader(tmp_path):
    "The 25-pixel faces that ship with scikit-image (LFW subset)."
    skimage = pytest.importorskip("skimage.data")
    faces = skimage.lfw_subset()[:4]
    for k, face in enumerate(faces): Image.fromarray((face*255).astype(np.uint8)).save(tmp_path/f"{k}.png")
    found = torch.stack([worlds.read_picture(tmp_path/f"{k}.png", 5) for k in range(4)])
    assert found.shape == (4, 3, 5, 5) and torch.equal(found[:, 0], found[:, 1]) and float(found.std()) > 0.05
