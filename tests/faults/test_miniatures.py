"""A sample of the bench of readers: what is damaged is read or refused, nothing else; and the defects it was written
for, one by one."""
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from miniatures import COLOUR, SYNSET, Reader, all_readers, dump
from paper_kit.kit.files import PaperKitError

FUZZER = ROOT/"tests/faults/fuzz.py"


def fuzzed(inputs, seed, seconds):
    done = subprocess.run([sys.executable, str(FUZZER), "--inputs", str(inputs), "--seed", str(seed), "--seconds",
                           str(seconds)], capture_output=True, text=True, timeout=seconds + 300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_five_thousand_damaged_inputs_are_read_or_refused():
    found = fuzzed(5000, int(os.environ.get("FUZZ_SEED", 0)), 240)
    assert not found["faults"], "\n".join(f"{f['reader']}: {f['wrong']}\n{f.get('input', '')!r}"
                                          for f in found["faults"][:5])
    assert found["inputs"] >= 4000 and found["refused"] > 1000 and found["read"] > 200 and found["readers"] >= 60


def read(name, folder, **instead):
    "What the reader of that name makes of its miniature with some files replaced."
    reader: Reader = next(r for r in all_readers() if r.name == name)
    for file, data in (reader.files | instead).items():
        (folder/file).parent.mkdir(parents=True, exist_ok=True)
        (folder/file).write_bytes(data)
    return reader.read(folder)


DEFECTS = {
    "a vertex at 1e308": ("mesh obj", {"m.obj": b"v 0 0 0\nv 1e308 0 0\nv 0 1 0\nf 1 2 3\n"}),
    "COCO without categories' ids": ("coco", {"annotations/instances_val2017.json": dump({"images": [], "annotations": [], "categories": [{"name": "dog"}]})}),
    "COCO, a picture without a width": ("coco", {"annotations/instances_val2017.json": dump({"images": [{"id": 7}], "annotations": [], "categories": []})}),
    "COCO, a list": ("coco", {"annotations/captions_val2017.json": b"[]"}),
    "COCO, a caption that is a number": ("coco", {"annotations/captions_val2017.json": dump({"images": [], "annotations": [{"image_id": 7, "caption": 3}]})}),
    "Pix3D without rot_mat": ("pix3d entries", {"pix3d.json": dump([{"category": "chair", "img": "img/a.png", "mask": "mask/a.png"}])}),
    "Pix3D, a list of numbers": ("pix3d entries", {"pix3d.json": b"[3]"}),
    "Pix3D photos without a size": ("pix3d photos", {"pix3d.json": dump([{"category": "chair", "img": "img/a.png", "mask": "mask/a.png"}])}),
    "Pix3D photos, a name that is a number": ("pix3d photos", {"pix3d.json": dump([{"category": "chair", "img": 3}])}),
    "KeypointNet, a mapping": ("keypointnet", {"annotations/all.json": b"{}"}),
    "KeypointNet without a model": ("keypointnet", {"annotations/all.json": dump([{"class_id": SYNSET, "keypoints": []}])}),
    "KeypointNet, a count in words": ("keypointnet", {f"pcds/{SYNSET}/m.pcd": b"FIELDS x y z\nPOINTS two\nDATA ascii\n0 0 0\n1 0 0\n"}),
    "KeypointNet, undecodable": ("keypointnet", {f"pcds/{SYNSET}/m.pcd": b"FIELDS x y z\xff\nPOINTS 1\nDATA ascii\n0 0 0\n"}),
    "FFHQ, entries that are no mappings": ("ffhq numbers", {"a.json": b'{"1": 3}'}),
    "FFHQ, a list": ("ffhq numbers", {"a.json": b"[]"}),
    "FFHQ, numbers in words": ("ffhq numbers", {"a.json": b'{"one": {"category": "training"}}'}),
    "CelebA-HQ, a row of two": ("celeba-hq", {"CelebA-HQ-to-CelebA-mapping.txt": b"idx orig_idx orig_file\n0 1\n"}),
    "CelebA-HQ, undecodable": ("celeba-hq", {"list_attr_celeba.txt": b"2\n\xff\xfe\n"}),
    "data sets that are text": ("keywords", {"data/datasets.yaml": b"datasets: [a, b]"}),
    "data sets, undecodable": ("keywords", {"data/datasets.yaml": b"datasets: \xff"}),
    "a clip without frames": ("real estate", {"train/a.txt": b"https://x\n\n\n"}),
    "a list of clip-art without a scene": ("abstract scenes", {"Scenes_10020.txt": b"2\ns_3s.png 0 3 400 40 0 1\n"}),
    "a camera of eight numbers": ("suncg pairs", {"splits/test.txt": b"a\nb\nc\nh/0 0 0 0 1 0 0 0 0 h/1 0 0 0 1 0 0\n"}),
    "proposals that are a list": ("nyu proposals", {"boxes.json": b"[]"}),
    "a box of words": ("nyu proposals", {"boxes.json": b'{"a": [["x", 1, 5, 5, 0.9]]}'}),
    "a sampling matrix of 10^12 rows": ("graph_cmr sampling", {}),
    "names in bytes that are no ASCII": ("graph_cmr index", {}),
    "packed stages in a million parts": ("packed stages", {"out/stages.json": dump({"parts": 10**6, "sha256": "0"})}),
    "a place in the queue, a list": ("place in the queue", {"data/papers/demo.yaml": b"[]"}),
    "expected, parts that are numbers": ("expected", {"data/expected/demo.json": b'{"parts": 3, "about": {}}'}),
    "a checkpoint that is text": ("checkpoint", {"w.pth": b"text"}),
    "a picture of another format": ("ffhq", {"images1024x1024/00000/00000.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"}),
}


def special(name):
    from miniatures import npz
    sparse = {f"{n}_{k}": v for n in ("U0", "U1", "D0", "D1")
              for k, v in (("data", np.ones(2)), ("indices", np.arange(2)), ("indptr", np.arange(3)),
                           ("shape", np.array([10**12, 2])))}
    if "sampling" in name: return {"m.npz": npz(**sparse)}
    return {"i.npz": npz(imgname=np.array([b"\xff"]*2), center=np.zeros((2, 2)), scale=np.ones(2),
                         part=np.zeros((2, 24, 3)), S=np.zeros((2, 24, 4)))}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_file_that_brought_a_reader_down_is_refused(name, tmp_path):
    reader, instead = DEFECTS[name]
    with pytest.raises(PaperKitError) as caught:
        read(reader, tmp_path, **(instead or special(name)))
    assert caught.value.next_step and caught.value.found is not None


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_regular_file_is_refused(kind, tmp_path):
    for number, reader in enumerate(r for r in all_readers() if r.weight >= 0.5 and len(r.files) == 1
                                    and r.name not in ("progress", "mapping", "manifest of a page", "keywords")):
        name, = reader.files
        path = tmp_path/str(number)/name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "fifo": os.mkfifo(path)
        elif kind == "device": path.symlink_to("/dev/zero")
        else: path.mkdir()
        with pytest.raises(PaperKitError):
            reader.read(tmp_path/str(number))


def test_a_page_whose_manifest_cannot_be_decoded_is_the_page_of_none(tmp_path):
    assert read("manifest of a page", tmp_path, **{"data/papers/demo.yaml": b"title: \xff\xfe"}) == {}


def test_a_comparison_with_a_fifo_ends(tmp_path):
    from paper_kit.kit.expected import compare
    (tmp_path/"data/expected").mkdir(parents=True)
    os.mkfifo(tmp_path/"data/expected/demo.json")
    with pytest.raises(PaperKitError, match="no regular file"):
        compare(tmp_path, {"slug": "demo", "versions": {}})


def test_the_pictures_of_the_miniatures_are_good_ones(tmp_path):
    (tmp_path/"a.png").write_bytes(COLOUR)
    from paper_kit.kit.readers import read_picture
    assert read_picture(tmp_path/"a.png").shape == (8, 8, 3)


def test_a_claim_whose_kind_is_a_list_is_refused(tmp_path):
    from helpers import MANIFEST
    with pytest.raises(PaperKitError, match="kind"):
        read("manifest", tmp_path, **{"demo.yaml": MANIFEST.replace("kind: headline", "kind: [headline]").encode()})


@pytest.mark.parametrize("reader, file, data", [
    ("bundle fusion", "copyroom/frame-000001.pose.txt", b"nan nan nan nan\n"*4), ("tum", "s/groundtruth.txt", b"# t\n"),
    ("nyu proposals", "boxes.json", b'{"a": [[[], 1, 5, 5, 0.9]]}'),
    ("spair", "Layout/large/test.txt", b"1"*300 + b":chair\n"), ("occupancies", f"{SYNSET}/train.lst", b"m"*300)])
def test_what_a_hundred_thousand_inputs_found_is_refused(reader, file, data, tmp_path):
    with pytest.raises(PaperKitError):
        read(reader, tmp_path, **{file: data})


def test_a_notebook_of_half_a_character_has_a_digest(tmp_path):
    cells = [{"cell_type": "code", "source": "\ud800", "metadata": {}, "outputs": [], "execution_count": None}]
    assert len(read("notebook", tmp_path, **{"nbs/x/demo.ipynb": dump({"cells": cells, "metadata": {}})})) == 64


@pytest.mark.parametrize("reader, file, data", [
    ("redwood", "livingroom1/gt.log", b""),
    ("bundle fusion", "copyroom/frame-000001.pose.txt", b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 00 0 -0\n"),
    ("spair", "PairAnnotation/test/1-a-b:chair.json", b'"truncation": NaN'),
    ("spair", "PairAnnotation/test/1-a-b:chair.json", b'"kps_ids": [NaN]')])
def test_what_a_second_hundred_thousand_inputs_found_is_refused(reader, file, data, tmp_path):
    if reader == "spair":
        key = data.split(b":")[0]
        good = next(r for r in all_readers() if r.name == "spair").files[file]
        data = re.sub(key + rb": (0|\[.*?\])", data, good)
    with pytest.raises(PaperKitError): read(reader, tmp_path, **{file: data})
