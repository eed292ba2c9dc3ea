"""A miniature of every layout that a reader here reads, and the reader: what the fuzzers damage."""
import io
import json
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from helpers import MANIFEST

SYNSET = "03001627"
EYE = "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
RECORD = {"schema": 1, "slug": "demo", "profile": "cpu", "seed": 0, "data": "world", "digest": "0"*64,
          "harness": 1, "created": "2026", "device": "cpu", "threads": 1, "versions": {}, "wall_s": 1.0,
          "peak_mb": 1.0, "stages": [], "tables": {"Table 1": {"columns": ["a"], "rows": [[1]], "note": ""}},
          "figures": {}, "claims": {}, "files": {}}


@dataclass(frozen=True)
class Reader:
    """`files`: {name below the folder: bytes}; `read(folder)`; `weight`: how often it is tried against the others;
    `vary`: the names that are damaged."""
    name: str
    files: dict
    read: Callable
    weight: float = 1.0
    vary: tuple = ()


def png(array, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(array).save(out, format=kind)
    return out.getvalue()


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def mat(content):
    from scipy.io import savemat
    out = io.BytesIO()
    savemat(out, content)
    return out.getvalue()


def hdf5(**content):
    import h5py
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, value in content.items():
            file[name] = value
    return out.getvalue()


def wav(rate=16000, channels=2, count=400):
    data = (np.sin(np.arange(count*channels))*3000).astype("<i2").tobytes()
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate*channels*2, channels*2, 16)
    return (b"RIFF" + struct.pack("<I", 20 + len(head) + len(data)) + b"WAVE" + head + b"data"
            + struct.pack("<I", len(data)) + data)


def ply(points, faces=()):
    text = (
        f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n")
    text += (f"element face {len(faces)}\nproperty list uchar int vertex_indices\n" if faces else "") + "end_header\n"
    rows = [" ".join(map(str, p)) for p in points] + ["3 " + " ".join(map(str, f)) for f in faces]
    return (text + "\n".join(rows) + "\n").encode()


def binary_ply():
    return (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty "
            b"float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
            + struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<B3i", 3, 0, 1, 2))


COLOUR = png(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
GREY = png((np.indices((8, 8)).sum(0) > 6).astype(np.uint8)*255)
DEEP = png(np.full((8, 8), 1500, np.uint16))
JPEG = png(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), "JPEG")
dump = lambda value: json.dumps(value).encode()


def small_smpl():
    v, j = 6, 3
    parents = np.array([[4294967295, 0, 1], [0, 1, 2]], np.uint32)
    return npz(v_template=np.zeros((v, 3)), shapedirs=np.zeros((v, 3, 10)),
               posedirs=np.zeros((v, 3, 9*(j - 1))), J_regressor=np.full((j, v), 1/v), weights=np.full((v, j), 1/j),
               f=np.array([[0, 1, 2], [3, 4, 5]]), kintree_table=parents)


def stage_file():
    from safetensors.torch import save
    from paper_kit.kit.stages import save_result
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        save_result(Path(folder)/"a.safetensors",
                    {"a": torch.arange(6.).view(2, 3), "b": [1, "two", None, {"c": np.arange(3)}]},
                    {"name": "f", "key": "0"})
        return (Path(folder)/"a.safetensors").read_bytes(), save({"weight": torch.arange(4.)})


def checkpoint():
    out = io.BytesIO()
    torch.save({"weight": torch.arange(12.).view(3, 4), "names": ["a", "b"]}, out)
    return out.getvalue()


def kit_readers():
    from paper_kit.kit import (datasets, expected, files, mesh, nn, paper, queue, reach, readers, search, site,
                               stages, workflow)
    stage, weights = stage_file()
    project = {"settings.ini": b"[DEFAULT]\nlib_name = paper_kit\n", "data/papers/demo.yaml": MANIFEST.encode()}
    sets = (
            b"datasets:\n- name: ffhq\n  title: FFHQ\n  home: https://x\n  licence: CC\n  papers: "
            b"[demo]\n  layout:\n  - {pattern: 'a/*.png', holds: pictures}\n")
    record = RECORD | {"versions": {"torch": "2"}}
    parts = {"about": {k: "x" for k in expected._about}, "parts": {"Table 1": {"hash": "0"*16, "numbers": [1.0]}}}
    cells = [{"cell_type": "code", "source": "def f(x):\n    return x + 1\nf(2)", "metadata": {},
              "outputs": [], "execution_count": None}]
    import tarfile, hashlib
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("demo/a.safetensors")
        member.size = len(stage)
        archive.addfile(member, io.BytesIO(stage))
    index = {"parts": 1, "bytes": len(tar.getvalue()), "sha256": hashlib.sha256(tar.getvalue()).hexdigest(),
             "left_out": []}
    own = {"progress.json": dump({"state": "running", "heading": "x", "cell": 1, "cells": 3,
                                  "started": 1.0}), "stage.json": dump({"stage": "f", "fraction": 0.5, "text": ""})}
    row = lambda: {"slug": "demo", "profile": "cpu", "state": "queued", "seconds": 0.0}
    return [Reader("manifest", {"demo.yaml": MANIFEST.encode()}, lambda f: paper.load_manifest(f/"demo.yaml"),
                   0.5), Reader("record", {"demo.json": dump(RECORD)}, lambda f: paper.load_record(f/"demo.json"),
                                0.5),
            Reader("data sets", {"data/datasets.yaml": sets}, lambda f: datasets.registry(f), 0.5),
            Reader("keywords", {"data/datasets.yaml": sets},
                   lambda f: search.keywords(f, "demo", {"authors": "A", "aliases": ["B"]})),
            Reader("manifest of a page", {"data/papers/demo.yaml": MANIFEST.encode()},
                   lambda f: site.manifest_of(f, "demo")),
            Reader("expected", {"data/expected/demo.json": dump(parts)}, lambda f: expected.compare(f, record)),
            Reader("progress", {"runs/cpu/demo/" + k: v for k, v in own.items()},
                   lambda f: workflow.look(f, row())),
            Reader("place in the queue", project | {"data/results/demo.json": dump(RECORD)},
                   lambda f: queue._place(f, "demo", "gpu"), 0.5,
                   ("data/papers/demo.yaml", "data/results/demo.json")),
            Reader("packed stages", {"out/stages.00": tar.getvalue(), "out/stages.json": dump(index)},
                   lambda f: queue.collect(f/"out", f)),
            Reader("stage", {"f.safetensors": stage}, lambda f: stages.load_result(f/"f.safetensors")),
            Reader("weights", {"w.safetensors": weights}, lambda f: nn.read_weights(f/"w.safetensors")),
            Reader("checkpoint", {"w.pth": checkpoint()}, lambda f: nn.read_weights(f/"w.pth")),
            Reader("notebook",
                   {"nbs/x/demo.ipynb": dump({"cells": cells, "metadata": {}, "nbformat": 4,
                                              "nbformat_minor": 5})},
                   lambda f: reach.notebook_digest(f/"nbs/x/demo.ipynb"), 0.5),
            Reader("mesh ply", {"m.ply": binary_ply()}, lambda f: mesh.read_mesh(f/"m.ply")),
            Reader("mesh ascii ply", {"m.ply": ply([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)])},
                   lambda f: mesh.read_mesh(f/"m.ply")),
            Reader("mesh obj", {"m.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"},
                   lambda f: mesh.read_mesh(f/"m.obj")),
            Reader("mapping", {"a.json": dump({"a": 1})}, lambda f: files.mapping_in(f/"a.json", {"a": int})),
            Reader("pickle", {"a.pkl": pickle.dumps({"pose": [np.eye(2)], "n": "x"}, 2)},
                   lambda f: readers.plain_pickle(f/"a.pkl")),
            Reader("npy", {"a.npy": npy(np.eye(3))},
                   lambda f: {"raw": readers.read_npy(f/"a.npy", "numbers").shape}),
            Reader("mat", {"a.mat": mat({"x": np.eye(2), "s": {"a": "b", "c": [1.0, 2.0]}})},
                   lambda f: readers.read_mat(f/"a.mat", "x").keys(), 0.01),
            Reader("hdf5", {"a.h5": hdf5(audio=["a", "b"])}, lambda f: readers.read_hdf5(f/"a.h5", "audio"), 0.01),]


def world_readers():
    from paper_kit.generative import worlds as generative
    from paper_kit.geometry import worlds as geometry
    from paper_kit.human3d import worlds as human3d
    from paper_kit.language import worlds as language
    from paper_kit.matching import worlds as matching
    from paper_kit.shape3d import worlds as shape3d
    from paper_kit.video import worlds as video
    from paper_kit.views import worlds as views
    where = f"{{}}/ShapeNetV2/{SYNSET}/m"
    ffhq = ({f"images1024x1024/00000/{k:05d}.png": COLOUR for k in range(2)}
            | {"ffhq-dataset-v2.json": dump({str(k): {"category": "training"} for k in range(2)})})
    celeba = {
              "list_attr_celeba.txt": b"2\nSmiling Young\n000001.jpg 1 -1\n000002.jpg -1 -1\n",
              "CelebA-HQ-to-CelebA-mapping.txt": b"idx orig_idx orig_file\n0 1 000001.jpg\n1 2 000002.jpg\n",
              "CelebA-HQ-img/0.jpg": JPEG, "CelebA-HQ-img/1.jpg": JPEG}
    names = {k: [f"x/final/boat/000000/{k}/{i}.png" for i in range(2)] for k in ("color", "depth", "object_mask")}
    info = {**names, "pose": [np.eye(4)]*2, "object_poses": {"Model_1": [np.eye(4)]*2},
            "object_visible_frames": {"Model_1": [0, 1]}, "calib": [280.0, 280.0, 159.5, 119.5]}
    moving = {f"data_objs3D/boat/000000/{k}/{i}.png": v
              for k, v in (("color", COLOUR), ("depth", DEEP), ("object_mask", GREY)) for i in range(2)}
    bundle = {f"copyroom/frame-{i:06d}.{e}": v for i in range(2)
              for e, v in (("color.jpg", JPEG), ("depth.png", DEEP), ("pose.txt", EYE.encode()))}
    tum = {f"s/{k}/{i}.png": v for k, v in (("rgb", COLOUR), ("depth", DEEP)) for i in range(2)}
    tum |= {f"s/{k}.txt": "".join(f"{100 + i} {k}/{i}.png\n" for i in range(2)).encode()
            for k in ("rgb", "depth")} | {"s/groundtruth.txt": b"# t\n100 0 0 0 0 0 0 1\n101 0.1 0 0 0 0 0 1\n"}
    boxes = [{"image_id": 7, "category_id": 1, "bbox": [10, 20, 40, 50]}]
    coco = {"annotations/instances_val2017.json": dump({"images": [{"id": 7, "width": 100, "height": 80}],
                                                        "annotations": boxes,
                                                        "categories": [{"id": 1,
            "name": "dog"}]}),
            "annotations/captions_val2017.json": dump({"images": [{"id": 7}],
                                                       "annotations": [{"image_id": 7, "caption": "A dog."}]})}
    scenes = {
              "Scenes_10020.txt": b"2\n0 2\nhb0_17s.png 2 17 120 250 1 0\ns_3s.png 0 3 400 40 0 1\n",
              "SimpleSentences/SimpleSentences1_10020.txt": b"0 0 Mike runs.\n0 1 He is happy.\n",
              "SimpleSentences/SimpleSentences2_10020.txt": b"0 0 It is sunny.\n"}
    clip = {"train/a.txt": ("https://x\n"
                            + "".join(f"{t} 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n"
                                      for t in (100, 200))).encode(), "frames/a/100.png": COLOUR,
            "frames/a/200.png": COLOUR}
    fair = {"splits/split1/train.h5": hdf5(audio=["/x/000001.wav"]),
            "binaural_audios/000001.wav": wav(), "frames/000001.mp4/000001.png": COLOUR}
    ambi = ({"meta/subsets/REC-Street.train.1.lst": b"v1\n", "data/frames/v1/video/000000.jpg": JPEG}
            | {f"data/frames/v1/ambix/{k:06d}.wav": wav(16000, 4, 200) for k in range(2)})
    label = np.zeros((8, 8), np.uint8)
    label[2:6, 2:6] = 100
    def fairplay(f):
        return (video._read_wav(f/"binaural_audios/000001.wav", 2, 16000),
                video._read_frame(f/"frames/000001.mp4/000001.png"))
    def ambisonics(f):
        found = video.Ambisonics360(f, seconds=2, head=video.audio.spherical_head(16000))[0]
        return found["foa"], found["frame_at"](0.0)
    def fragments(f):
        pair = geometry.RedwoodFragments(f)[0]
        return pair.source, pair.target
    return [Reader("redwood", {"livingroom1/gt.log": f"0 1 2\n{EYE}".encode()}
                   | {f"livingroom1/cloud_bin_{k}.ply": ply([(0, 0, k), (1, 0, 0), (0, 1, 0)])
                      for k in (0, 1)}, fragments),
            Reader("moving objects", moving | {"data_objs3D/boat/000000/info.pkl": pickle.dumps(info, 2)},
                   lambda f: matching.MovingObjects3D(f)[0].color, 0.5),
            Reader("bundle fusion", bundle, lambda f: matching.BundleFusion(f, "copyroom", 1)[0].color, 0.5),
            Reader("tum", tum, lambda f: matching.TumRGBD(f, "s", 1, 0.5)[0].color, 0.5),
            Reader("ffhq", ffhq, lambda f: generative.load_ffhq(f, 8, "training"), 0.2),
            Reader("ffhq numbers", {"a.json": ffhq["ffhq-dataset-v2.json"]},
                   lambda f: generative.ffhq_numbers(f/"a.json", "training")),
            Reader("celeba-hq", celeba, lambda f: generative.load_celeba_hq(f, 8)[:2], 0.2),
            Reader("smpl", {"a.npz": small_smpl()}, lambda f: human3d.read_smpl(f/"a.npz")),
            Reader("abstract scenes", scenes, language.read_abstract_scenes),
            Reader("coco", coco, language.read_coco, 2.0),
            Reader("stuff", {"a.png": png(label)}, lambda f: language.read_stuff(f/"a.png")),
            Reader("real estate", clip, lambda f: views.RealEstate10K(f, "train", (4, 8)).clip(0)),
            Reader("fair play", fair, fairplay, 1.0,
                   ("binaural_audios/000001.wav", "frames/000001.mp4/000001.png")),
            Reader("fair play split", fair, lambda f: video.FairPlay(f).names, 0.01,
                   ("splits/split1/train.h5",)), Reader("ambisonics", ambi, ambisonics, 0.5),
            Reader("sdf samples",
                   {where.format("SdfSamples") + ".npz": npz(pos=np.ones((5, 4)), neg=-np.ones((4, 4)))},
                   lambda f: shape3d.read_sdf_samples(f, "ShapeNetV2", SYNSET, "m")),
            Reader("surface samples", {where.format("SurfaceSamples") + ".ply": ply([(0, 0, 0), (1, 0, 0)])},
                   lambda f: shape3d.read_surface_samples(f, "ShapeNetV2", SYNSET, "m")),
            Reader("normalisation",
                   {where.format("NormalizationParameters") + ".npz": npz(offset=np.zeros(3), scale=np.ones(1))},
                   lambda f: shape3d.read_normalization(f, "ShapeNetV2", SYNSET, "m")),
            Reader("split", {"s.json": dump({"ShapeNetV2": {SYNSET: ["a", "b"]}})},
                   lambda f: shape3d.read_split(f/"s.json")),
            Reader("shapenet",
                   {f"{SYNSET}/m/models/model_normalized.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"},
                   lambda f: shape3d.load_shapenet(f, "chair", "m")),]


def paper_readers():
    from paper_kit.geometry import fermat_paths, filterreg, sdrsac
    from paper_kit.human3d import graph_cmr
    from paper_kit.learning import adaptive_robust_loss as loss
    from paper_kit.matching import ga_net
    from paper_kit.shape3d import (associative3d, occupancy_networks as onet,
                                   semantic_2d3d2d as cycle, ss3d_point_clouds as ss3d, unicorn)
    pose = "0 0 0 1 0 0 0"
    pix3d = [{"category": "chair", "img": "img/a.png", "mask": "mask/a.png", "model": "m.obj",
              "voxel": "v.mat", "rot_mat": np.eye(3).tolist(), "trans_mat": [0, 0, 1], "focal_length": 35.0,
              "img_size": [8, 8], "bbox": [0, 0, 8, 8], "keypoints": []}]
    points = (
              b"# .PCD v.7\nVERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F I\nPOINTS "
              b"2\nDATA ascii\n0 0 0 1\n1 0 0 1\n")
    keypoints = [{"class_id": SYNSET, "model_id": "m",
                  "keypoints": [{"semantic_id": 0, "pcd_info": {"point_index": 1}}]}]
    spair = {"src_imname": "a.jpg", "trg_imname": "b.jpg", "src_imsize": [8, 8, 3], "trg_imsize": [8, 8, 3],
             "src_kps": [[1, 2]], "trg_kps": [[2, 3]], "kps_ids": ["0"], "src_bndbox": [0, 0, 5, 5],
             "trg_bndbox": [0, 0, 5, 5], "truncation": 0}
    pascal = (
        b"source_image,target_image,class,XA,YA,XB,YB,flip\nJPEGImages/a.jpg,JPEGImages/b.jpg,9,1;2,1;2,2;3,2;3,0\n")
    grid = np.zeros((4, 4, 4), bool)
    grid[1:3, 1:3, 1:3] = True
    flat = grid.transpose(0, 2, 1).ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff([0, *edges, len(flat)])
    binvox = b"#binvox 1\ndim 4 4 4\ntranslate 0 0 0\nscale 1\ndata\n" + bytes(v for k, n in enumerate(runs)
        for v in (k % 2, n))
    model = {f"{SYNSET}/m/points.npz": npz(points=np.zeros((8, 3), np.float16),
                                           occupancies=np.packbits(np.ones(8, bool)), loc=np.zeros(3),
                                           scale=np.float64(1)),
             f"{SYNSET}/m/pointcloud.npz": npz(points=np.zeros((5, 3)),
                                               normals=np.ones((5, 3))),
             f"{SYNSET}/m/model.binvox": binvox, f"{SYNSET}/train.lst": b"m\n",
             f"{SYNSET}/m/img_choy2016/000.jpg": JPEG,
             f"{SYNSET}/m/img_choy2016/cameras.npz": npz(world_mat_0=np.eye(4)[:3], camera_mat_0=np.eye(3))}
    car = np.full((8, 8), 26*256 + 1, np.int32)
    kitti = {"training/image_2/0.png": COLOUR, "training/instance/0.png": png(car.astype(np.uint16))}
    ebay = {"Ebay_test.txt": b"image_id class_id super_class_id path\n1 1 1 chair_final/1.JPG\n",
            "chair_final/1.JPG": JPEG}
    nmr = {f"s/m/{kind}/{i:04d}.png": v for kind, v in (("image", COLOUR), ("mask", GREY)) for i in range(24)}
    nmr |= {"s/softras_train.lst": b"m\n",
            "s/m/pointcloud.npz": npz(points=np.zeros((3, 3)), normals=np.zeros((3, 3))),
            "s/m/cameras.npz": npz(**{f"world_mat_{i}": np.eye(4) for i in range(24)})}
    boxed = {"l.mat": mat({"images": {"rel_path": "a.png", "bbox": {"x1": 1.0, "y1": 1.0, "x2": 6.0, "y2": 6.0},
                                      "mask": np.ones((8, 8))}}), "images/a.png": COLOUR}
    view = {f"{SYNSET}/m/{SYNSET}_m_view000_{k}.png": v
            for k, v in (("rgb", COLOUR), ("depth", GREY), ("normal", COLOUR), ("silhouette", GREY))}
    view |= ({f"{SYNSET}/m/{SYNSET}_m_view000_{k}.npy": npy(np.array([30.0])) for k in ("azimuth", "elevation")}
             | {f"{SYNSET}/m/{SYNSET}_m_voxel_normalized_128.mat": mat({"voxel": np.ones((2, 2, 2))})})
    seen = {f"ShapeNet_rendered/s/m/{kind}_{k}.png": v for kind, v in (("render", COLOUR), ("mask", GREY))
            for k in range(10)}
    sparse = {f"{n}_{k}": v for n in ("U0", "U1", "D0", "D1")
              for k, v in (("data", np.ones(2)), ("indices", np.arange(2)), ("indptr", np.arange(3)),
                           ("shape", np.array([2, 2])))}
    index = npz(imgname=np.array(["a.png"]*2), center=np.zeros((2, 2)), scale=np.ones(2), part=np.zeros((2, 24, 3)),
                S=np.zeros((2, 24, 4)))
    scan = {"transients": np.ones((4, 5)), "temporalBinCenters": np.arange(5.)[None],
            "detLocs": np.zeros((4, 3)), "detGridSize": np.array([[2, 2]]), "whetherConfocal": np.array([[1]])}
    lounge = {"lounge/lounge_trajectory.log": f"0 0 1\n{EYE}".encode(),
              "lounge/depth/000001.png": png(np.full((480, 640), 1500, np.uint16))}
    described = {"depth/0.png": png(np.full((4, 5), 900, np.uint16)), "mask/0.png": png(np.full((4, 5), 255, np.uint8)),
                 "descriptor/0.npy": npy(np.ones((4, 5, 3), np.float32)),
                 "template.pcd": b"VERSION .7\nFIELDS x y z a b c\nPOINTS 2\nDATA ascii\n0 0 0 1 0 0\n1 0 0 0 1 0\n"}
    flying = {f"frames_finalpass/TRAIN/A/0000/{side}/0001.png": COLOUR for side in ("left", "right")}
    flying |= {"disparity/TRAIN/A/0000/left/0001.pfm": b"Pf\n8 8\n-1.0\n" + np.full(64, 2.0, "<f4").tobytes()}
    stereo = {f"training/{k}/000000_10.png": v
              for k, v in (("image_2", COLOUR), ("image_3", COLOUR), ("disp_occ_0", DEEP), ("obj_map", GREY))}
    def streets(f):
        data = ga_net.Kitti(f)
        return {"sample": data[0], "cars": ga_net.cars_of(data, 0)}
    def views_with_descriptors(f):
        views = filterreg.DescriptorViews(f)
        return views.template, views[0]
    before = np.random.default_rng(0).random((3, 8))
    bunny = {"X": before[:1], "Y": before[1:2], "Z": before[2:], "M": before + 1, "D": before}
    return [Reader("graph_cmr index", {"i.npz": index, "a.png": COLOUR},
                   lambda f: (lambda i: (i.center, i.scale,
                                         graph_cmr.load_item(i, 0, f, 8)[0]))(graph_cmr.read_index(f/"i.npz",
            "h36m"))), Reader("graph_cmr sampling", {"m.npz": npz(**sparse)},
                              lambda f: {k: m.to_dense() if max(m.shape) < 100 else None
                                         for k, m in graph_cmr.read_sampling(f/"m.npz").items()}),
            Reader("suncg pairs",
                   {"splits/test.txt": f"a\nb\nc\nh/0 {pose} h/1 {pose}\n".encode(),
                    "renderings_ldr/h/0_mlt.png": COLOUR, "renderings_ldr/h/1_mlt.png": COLOUR},
                   lambda f: associative3d.load_suncg_pairs(f, "test", (4, 4))[0]),
            Reader("nyu proposals", {"boxes.json": dump({"a": [[1, 1, 5, 5, 0.9]]}), "images/a.png": COLOUR},
                   lambda f: associative3d.load_nyu_proposals(f, (4, 4))[0]),
            Reader("keypointnet", {"annotations/all.json": dump(keypoints), f"pcds/{SYNSET}/m.pcd": points},
                   lambda f: cycle.load_keypointnet(f, SYNSET)[0], 2.0),
            Reader("pix3d photos", {"pix3d.json": dump(pix3d), "img/a.png": COLOUR, "mask/a.png": GREY},
                   lambda f: cycle.load_pix3d(f)[0], 2.0, ("pix3d.json",)),
            Reader("spair",
                   {"Layout/large/test.txt": b"1-a-b:chair\n",
                    "PairAnnotation/test/1-a-b:chair.json": dump(spair),
                    "JPEGImages/chair/a.jpg": JPEG, "JPEGImages/chair/b.jpg": JPEG},
                   lambda f: cycle.load_spair(f, "chair")[0], 1.0,
                   ("Layout/large/test.txt", "PairAnnotation/test/1-a-b:chair.json")),
            Reader("pf-pascal",
                   {"test_pairs_pf_pascal.csv": pascal, "JPEGImages/a.jpg": JPEG, "JPEGImages/b.jpg": JPEG},
                   lambda f: cycle.load_pf_pascal(f, 9)[0], 1.0, ("test_pairs_pf_pascal.csv",)),
            Reader("shapehd", view, lambda f: cycle.load_shapehd_view(f, SYNSET, "m", 0), 0.01),
            Reader("occupancies", model, lambda f: onet.load_shapenet_occupancy(f, SYNSET, size=8)[0], 2.0),
            Reader("kitti cars", kitti, lambda f: onet.kitti_cars(f, "0", 1, 8)),
            Reader("online products", ebay, lambda f: onet.online_products(f, size=8)[0]),
            Reader("pix3d entries", {"pix3d.json": dump(pix3d), "img/a.png": COLOUR, "mask/a.png": GREY},
                   lambda f: onet.pix3d_entries(f, size=8)[0], 2.0),
            Reader("nmr", nmr, lambda f: unicorn.load_nmr(f, "s", "train", 8)[0], 0.3,
                   ("s/softras_train.lst", "s/m/pointcloud.npz", "s/m/cameras.npz",
                    "s/m/image/0000.png", "s/m/mask/0003.png")),
            Reader("folder of pictures", {"a.png": COLOUR, "b.jpg": JPEG},
                   lambda f: unicorn.load_folder(f, 8)[0]),
            Reader("boxed", boxed, lambda f: unicorn.load_boxed(f, "l.mat", size=8)[0], 0.01),
            Reader("renderings", seen | {"images_list_s_train.npy": npy(np.array(["m_0"]))},
                   lambda f: ss3d.read_renderings(f, "s", "train", 8)[0], 0.5),
            Reader("clouds", {"ShapeNet_v1/s/m/pcl_1024_fps_trimesh.npy": npy(np.zeros((4, 3)))},
                   lambda f: ss3d.read_clouds(f, "s", ["m"], 4)[0]),
            Reader("lounge", lounge, lambda f: filterreg.LoungeViews(f)[0].depth, 0.1),
            Reader("views with descriptors", described, views_with_descriptors, 1.0),
            Reader("released pair", {"data/bunny10.mat": mat(bunny)}, lambda f: sdrsac.ReleasedPair(f).source, 0.01),
            Reader("scan", {"a.mat": mat(scan)}, lambda f: fermat_paths.read_scan(f/"a.mat"), 0.01),
            Reader("scene flow", flying, lambda f: ga_net.SceneFlow(f)[0], 0.5),
            Reader("kitti stereo", stereo, streets, 0.5),
            Reader("clustering set", {"a.mat": mat({"X": np.eye(4), "gtlabels": np.arange(4)[None]})},
                   lambda f: loss.load_rcc_set(f/"a.mat"), 0.01),]


def all_readers():
    return [*kit_readers(), *world_readers(), *paper_readers()]
