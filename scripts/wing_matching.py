"""Draw the figure of the matching wing: one drawn room, and what each of its methods finds in it.

    python scripts/wing_matching.py            writes data/wings/matching.webp and the words for it"""
import io
import json
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

from paper_kit.kit.files import write_atomic  # noqa: E402
from paper_kit.kit.geometry import axis_angle_to_matrix, intrinsics, look_at  # noqa: E402
from paper_kit.kit.scenes import assemble, mask_bank, texture_bank  # noqa: E402
from paper_kit.matching import ga_net, inverse_compositional, selflow  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
STEREO, FRAMES, BASE = (48, 72), (64, 96), 0.4       # rows and columns; metres between the eyes


def room(seed: int):
    "A scene of the stereo world, of test textures, and the first pose of the camera."
    random = np.random.default_rng(seed)
    textures = texture_bank("test", 12, 48, random)
    knobs = ga_net.KNOBS | dict(plain=0.2, glass=0.0, thin=1)
    things = (ga_net.surroundings(random, len(textures), knobs, False)
              + ga_net.obstacles(random, len(textures), knobs, intrinsics(*STEREO, 60.0)[0, 0].item()))
    scene = assemble(things, textures, mask_bank(random=random), [(1.5, 1.0, 2.7, 0.6, 0.6, 0.55)], ambient=0.45)
    eye = torch.tensor([0.0, 0.0, 1.3])
    return scene, look_at(eye, eye + torch.tensor([1.0, 0.0, -0.08]))


def moved(turn: tuple, by: tuple) -> torch.Tensor:
    "A motion of the camera's frame: an axis-angle in radians, metres."
    T = torch.eye(4)
    T[:3, :3], T[:3, 3] = axis_angle_to_matrix(torch.tensor(turn)), torch.tensor(by)
    return T


def seen(seed: int) -> dict:
    """The room seen by two eyes and by a camera that walks, at the sizes the networks were trained at; exact disparity,
    flow, depth and motion."""
    scene, T = room(seed)
    walk = moved((0.004, -0.012, 0.006), (-0.03, 0.006, -0.06))
    poses = {"left": T, "right": moved((0., 0., 0.), (-BASE, 0., 0.)) @ T, "this": T, "next": walk @ T,
             "previous": torch.linalg.inv(walk) @ T, "far": walk @ walk @ T}
    sizes = {name: STEREO if name in ("left", "right") else FRAMES for name in poses}
    K = {size: intrinsics(*size, 60.0) for size in (STEREO, FRAMES)}
    views = {name: ga_net.seen_from(scene, K[sizes[name]], pose, *sizes[name]) for name, pose in poses.items()}
    depth = lambda name: (views[name][1].point @ poses[name][:3, :3].mT + poses[name][:3, 3])[..., 2]
    x = (views["this"][1].point @ poses["next"][:3, :3].mT + poses["next"][:3, 3]) @ K[FRAMES].mT
    at = torch.stack(torch.meshgrid(*(torch.arange(n) + 0.5 for n in FRAMES), indexing="ij")[::-1], -1)
    return {"pictures": {name: view[0].clamp(0, 1) for name, view in views.items()}, "K": K[FRAMES],
            "disparity": ga_net.disparity_of(views["left"][1], K[STEREO], T, BASE)[0],
            "flow": (x[..., :2]/x[..., 2:] - at).permute(2, 0, 1),
            "depth": torch.stack([depth("this"), depth("far")]), "motion": walk @ walk}


def two_eyes(axes, scene: dict) -> str:
    "GA-Net: disparity from two rectified pictures."
    left, right = scene["pictures"]["left"], scene["pictures"]["right"]
    d, truth = ga_net.disparity_between(ga_net.pretrained(), left, right), scene["disparity"]
    axes[0].imshow(torch.where(torch.arange(STEREO[1]) < STEREO[1]//2, left, right).permute(1, 2, 0))
    for ax, what in zip(axes[1:], (d, truth)): ax.imshow(what, cmap="viridis", vmin=0, vmax=float(truth.max()))
    return f"{float((d - truth).abs().median()):.2f} pixels"


def three_frames(axes, scene: dict) -> str:
    "SelFlow: flow from the frame before and the one after."
    frames = torch.stack([scene["pictures"][name] for name in ("previous", "this", "next")])
    flow, truth = selflow.estimate(selflow.pretrained(), frames)[0].detach(), scene["flow"]
    top = float(truth.norm(dim=0).quantile(0.98))
    axes[0].imshow(frames.mean(0).permute(1, 2, 0))
    for ax, what in zip(axes[1:], (flow, truth)): ax.imshow(selflow.wheel_colors(what.numpy(), top))
    return f"{float((flow - truth).norm(dim=0).median()):.2f} of {float(truth.norm(dim=0).median()):.1f} pixels"


def one_motion(axes, scene: dict) -> str:
    "Inverse compositional alignment: the motion of the camera between two frames with depth."
    color = torch.stack([scene["pictures"][name] for name in ("this", "far")])
    model = inverse_compositional.pretrained()
    found, _ = inverse_compositional.motion_between(model, color, scene["depth"], scene["K"])
    pair = {"color": color[None], "depth": scene["depth"][None], "K": scene["K"][None]}
    for ax, T in zip(axes, (torch.eye(4), found, scene["motion"])):
        warped = inverse_compositional.full_warp(pair, T[None])
        ax.imshow(((color[0] + warped)/2).permute(1, 2, 0).clamp(0, 1))
    off = (found @ torch.linalg.inv(scene["motion"]))
    angle = float(torch.arccos(((off[:3, :3].trace() - 1)/2).clamp(-1, 1)))
    where = lambda T: torch.linalg.inv(T)[:3, 3]
    gap, way = (float((where(a) - where(b)).norm()) for a, b in ((found, scene["motion"]),
                                                                 (torch.eye(4), scene["motion"])))
    return f"{np.degrees(angle):.1f} degrees and {100*gap:.0f} of {100*way:.0f} centimetres"


PANELS = {"GA-Net": two_eyes, "SelFlow": three_frames, "inverse compositional": one_motion}
CAPTION = ("One room that no method of this wing was trained on, with the networks that ship with their pages. GA-Net: "
           "two pictures taken side by side (above, half of each) and how far each pixel moves between them; half of "
           "the pixels are less than {GA-Net} off. SelFlow: three frames of a walk (above, their mean) and the motion "
           "of each pixel, direction as hue; half of the pixels are less than {SelFlow} off. Inverse compositional "
           "alignment: two frames with depth, the second laid over the first as it is, by the motion found, and by the "
           "true one; {inverse compositional} off.")
SHOWS = ("three columns, the given above, the found in the middle, the true below: disparity maps, flow in colours, "
         "two frames laid over each other")


def main(seed: int = 3):
    said, scene = {}, seen(seed)
    figure, axes = plt.subplots(3, len(PANELS), figsize=(10, 7.0), dpi=140, layout="constrained")
    for column, (name, draw) in zip(axes.T, PANELS.items()):
        said[name] = draw(column, scene)
        print(f"{name}: {said[name]}", flush=True)
        column[0].set_title(name, fontsize=12)
        for ax in column: ax.axis("off")
    for ax, word in zip(axes[:, 0], ("given", "found", "true")):
        ax.text(-0.04, 0.5, word, rotation=90, va="center", ha="right", transform=ax.transAxes, fontsize=12)
    figure.savefig(content := io.BytesIO(), format="png")
    Image.open(content).convert("RGB").save(small := io.BytesIO(), format="WEBP", quality=80, method=6)
    write_atomic(ROOT/"data"/"wings"/"matching.webp", small.getvalue())
    words = {"shows": SHOWS, "caption": CAPTION.format(**said)}
    write_atomic(ROOT/"data"/"wings"/"matching.json", json.dumps(words, indent=1) + "\n")


if __name__ == "__main__": main()
