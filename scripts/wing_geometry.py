"""Draw the figure of the geometry wing: its methods meet the Stanford bunny.

    python scripts/wing_geometry.py            writes data/wings/geometry.webp and the words for it"""
import io
import itertools
import json
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import LineCollection, PolyCollection  # noqa: E402
from PIL import Image  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from paper_kit.geometry import fermat_paths as fermat  # noqa: E402
from paper_kit.geometry import filterreg as filters  # noqa: E402
from paper_kit.geometry import path_invariant_maps as networks  # noqa: E402
from paper_kit.geometry import permutation_sync as sync  # noqa: E402
from paper_kit.geometry import sdrsac as subsets  # noqa: E402
from paper_kit.geometry.worlds import object_pair, scanned_object  # noqa: E402
from paper_kit.kit.files import write_atomic  # noqa: E402
from paper_kit.kit.mesh import closest  # noqa: E402
from paper_kit.kit.points import farthest_points  # noqa: E402
from paper_kit.kit.show import palette  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BLUE, RED, GREEN = (matplotlib.colors.to_rgb(palette[name]) for name in ("blue", "vermilion", "green"))


def two_surfaces(ax, pose, truth, **options):
    ax.imshow(filters.surfaces([(truth, RED), (pose, BLUE)], size=(300, 300), **options).clip(0, 1))


def smooth_noisy(axes) -> str:
    "FilterReg: two noisy clouds, turned by fifty degrees, half as many strays as points."
    case = filters.bunny_case(1500, 0, outliers=0.5, noise=0.005)
    found = filters.filterreg(case.source, case.target)
    two_surfaces(axes[0], np.eye(4), case.T)
    two_surfaces(axes[1], found.T, case.T)
    return f"{100*filters.alignment_error(found.T, case.T, case.true):.1f} % of the diagonal off"


def any_turn(axes) -> str:
    "SDRSAC: any rotation, no start, two fifths of the points without a partner."
    mesh = scanned_object()
    diagonal = float((mesh.vertices.amax(0) - mesh.vertices.amin(0)).norm())
    pair = object_pair(mesh, 100, torch.Generator().manual_seed(4), removed=0.4, noise=0.002)
    found = subsets.sdrsac(pair.source.numpy(), pair.target.numpy(), 0.02, seed=0)
    middle = mesh.vertices.mean(0).numpy()/diagonal

    def motion(R, t):
        "About the middle of the truth, so that both stay in the picture."
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, np.asarray(t)/diagonal - (pair.R.numpy() @ middle + pair.t.numpy()/diagonal)
        return T
    still = np.eye(4)
    still[:3, 3] = -middle
    two_surfaces(axes[0], still, motion(pair.R, pair.t))
    two_surfaces(axes[1], motion(found.R, found.t), motion(pair.R, pair.t))
    angle = float(subsets.pose_error(found.R, found.t, pair)[0])
    return f"{angle:.1f} degrees off after {found.draws} draws"


def around_the_corner(axes, side: int = 48) -> str:
    "Fermat paths: the times of first arrival at a wall, and the surface points that they and their slope give."
    mesh = scanned_object()
    x = np.linspace(-1.2, 1.2, side)
    wall = np.stack([*np.meshgrid(x, x, indexing="ij"), np.zeros((side, side))], -1)
    turned = torch.tensor([[1., 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    hidden = type(mesh)((mesh.vertices - mesh.vertices.mean(0)) @ turned.T + torch.tensor([0, 0, 1.1]), mesh.faces)
    tau = 2*closest(hidden, torch.from_numpy(wall.reshape(-1, 3))).squared.sqrt().numpy().reshape(side, side)
    slope = np.stack([*np.gradient(tau, x, x), np.zeros_like(tau)], -1)
    slope[..., 2] = -np.sqrt(np.clip(4 - (slope**2).sum(-1), 0, None))
    places, _ = fermat.fermat_flow(wall.reshape(-1, 3), tau.ravel(), slope.reshape(-1, 3))
    off = closest(hidden, torch.from_numpy(places)).squared.sqrt().numpy()
    axes[0].imshow(tau.T, origin="lower", cmap="viridis")
    order = np.argsort(-places[:, 2])
    axes[1].scatter(*hidden.vertices.numpy().T[:2], s=0.3, color="0.85", linewidths=0)
    axes[1].scatter(places[order, 0], places[order, 1], c=-places[order, 2], s=7, cmap="viridis", linewidths=0)
    axes[1].set(aspect="equal", xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
    return f"points {1000*np.median(off):.1f} thousandths of its size off"


def labels_that_agree(axes, pictures: int = 16, count: int = 14) -> str:
    "Permutation synchronisation: landmarks of sixteen views, four tenths of each match shuffled."
    world = sync.permutation_world(pictures, count, 0.45, np.random.default_rng(2))
    labels = sync.hungarian(sync.synchronise(world).X.numpy())
    before, after = world.blocks().argmax(-1).numpy(), sync.between(labels)
    vertices = scanned_object().vertices
    marks = vertices[farthest_points(vertices, count)].numpy() - vertices.mean(0).numpy()
    i, j = 0, 1
    views = []
    for k, turn in ((i, -0.25), (j, 0.25)):
        flat = np.array([[np.cos(turn), 0], [np.sin(turn), 0], [0, 1]])
        shift = np.array([1.25*(k == j), 0])
        views.append(((vertices.numpy() - vertices.mean(0).numpy()) @ flat + shift,
                      marks[world.truth[k]] @ flat + shift))
    right = sync.between(world.truth)[i, j]
    for ax, found in zip(axes, (before[i, j], after[i, j])):
        for cloud, places in views:
            ax.scatter(*cloud.T, s=0.3, color="0.82", linewidths=0)
            ax.scatter(*places.T, s=9, color="0.25", linewidths=0, zorder=3)
        lines = [(views[0][1][a], views[1][1][b]) for a, b in enumerate(found)]
        ax.add_collection(LineCollection(lines, colors=[GREEN if b == right[a] else RED
                                                        for a, b in enumerate(found)], lw=1.1))
        ax.set_aspect("equal", adjustable="datalim")
    share = [sync.recall(m, world) for m in (before, after)]
    return f"{100*share[0]:.0f} % of all matches right before, {100*share[1]:.0f} % after"


def bent_bunny(rng: np.random.Generator, functions: int = 20):
    "The bunny meshed anew, twisted about the upright, leaning and stretched; each vertex knows its place at rest."
    import pymeshlab
    mesh, work = scanned_object(), pymeshlab.MeshSet()
    work.add_mesh(pymeshlab.Mesh((mesh.vertices - mesh.vertices.mean(0)).double().numpy(), mesh.faces.numpy()))
    work.meshing_decimation_quadric_edge_collapse(targetfacenum=int(rng.integers(2600, 3400)), qualitythr=0.3)
    rest, faces = work.current_mesh().vertex_matrix(), work.current_mesh().face_matrix()
    twist, lean = rng.normal(0, 0.6, 2)
    x, up = rest.copy(), rest[:, 2]
    cosine, sine = np.cos(twist*up), np.sin(twist*up)
    x[:, 0], x[:, 1] = cosine*rest[:, 0] - sine*rest[:, 1], sine*rest[:, 0] + cosine*rest[:, 1]
    x[:, 0] += 0.5*lean*abs(lean)*(up + 0.4).clip(0)**2
    x *= np.exp(rng.normal(0, 0.06, 3))
    return networks.Body(x, faces, rest, *networks.spectrum(x, faces, functions))


def maps_that_agree(axes, count: int = 8, wrong: float = 0.3) -> str:
    "Path-invariant maps: eight bent bunnies, a map from each to each, three tenths of them back to front."
    rng = np.random.default_rng(0)
    bodies, pairs = [bent_bunny(rng) for _ in range(count)], list(itertools.permutations(range(count), 2))
    turned = {pairs[k] for k in rng.permutation(len(pairs))[:round(wrong*len(pairs))]}
    start = {(i, j): cKDTree(bodies[i].rest).query(bodies[j].rest*((-1, -1, 1) if (i, j) in turned else 1))[1]
             for i, j in pairs}
    graph = networks.shape_graph(bodies, None)
    edges = sorted(graph.edges)
    given = np.stack([networks.functional(bodies[i], bodies[j], start[i, j]) for i, j in edges])
    given = torch.from_numpy(given).float()
    found = networks.optimise(given, edges, networks.path_invariance_basis(graph, "once"), 800)[0].detach()
    i, j = min(turned)
    shares = []
    for ax, X in zip(axes, (given, found)):
        images = {(a, b): networks.point_map(bodies[a], bodies[b], M)
                  for (a, b), M in networks.all_maps(X, edges, graph).items()}
        off = [np.linalg.norm(bodies[a].rest[to] - bodies[b].rest, axis=1) for (a, b), to in images.items()]
        shares.append(100*np.mean([np.mean(o < 0.1) for o in off]))
        along = bodies[i].rest[:, 0]
        coloured(ax, bodies[i], along, -0.55)
        coloured(ax, bodies[j], along[images[i, j]], 0.55)
        ax.set(aspect="equal", xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))
    return (f"{shares[0]:.0f} % of the points within a tenth of the longest side of where they belong before, "
            f"{shares[1]:.0f} % after")


def coloured(ax, body, value: np.ndarray, shift: float):
    "A body from the side, its faces coloured by a value at the vertices, nearer ones over farther ones."
    corners = body.x[body.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    light = 0.55 + 0.45*np.abs(normal @ [0.3, -0.8, 0.5])/np.linalg.norm(normal, axis=1).clip(1e-12)
    tint = plt.get_cmap("viridis")((value[body.faces].mean(1) + 0.45).clip(0, 1))
    tint[:, :3] *= light[:, None]
    order = np.argsort(-corners[:, :, 1].mean(1))
    ax.add_collection(PolyCollection(corners[order][:, :, [0, 2]] + [shift, 0], facecolors=tint[order],
                                     edgecolors=tint[order], linewidths=0.2))


PANELS = {"FilterReg": smooth_noisy, "SDRSAC": any_turn, "Fermat paths": around_the_corner,
          "path-invariant maps": maps_that_agree, "permutation synchronisation": labels_that_agree}


CAPTION = ("The five methods of this wing and the Stanford bunny. FilterReg: two noisy clouds with half as many strays "
           "as points, a start fifty degrees off; it ends {FilterReg}. SDRSAC: any rotation and no start, two fifths "
           "of the points without a partner; {SDRSAC}. Fermat paths: above, the time at which light first returns to "
           "each place of a wall when the bunny stands round the corner; below, the points that the times and their "
           "slope give ({Fermat paths}), where its surface faces the wall. Path-invariant maps: eight bunnies, bent "
           "and meshed anew, and a map from each to each, three tenths of them back to front; one of those, as "
           "colours carried from the left bunny to the right; {path-invariant maps}. Permutation synchronisation: "
           "landmarks of two of sixteen pictures, matched by a matcher that is often wrong; {permutation "
           "synchronisation}.")
SHOWS = ("five columns, the given above and the found below: two bunnies apart and brought together, twice; a map of "
         "arrival times and points on a bunny; colours carried from one bunny to another, back to front and then "
         "right; matches between two bunnies, most of them wrong, then all right")


def main():
    said = {}
    figure, axes = plt.subplots(2, len(PANELS), figsize=(2.5*len(PANELS), 5.0), dpi=140, layout="constrained")
    for column, (name, draw) in zip(axes.T, PANELS.items()):
        said[name] = draw(column)
        print(f"{name}: {said[name]}", flush=True)
        column[0].set_title(name, fontsize=11)
        for ax in column: ax.axis("off")
    for ax, word in zip(axes[:, 0], ("given", "found")):
        ax.text(-0.04, 0.5, word, rotation=90, va="center", ha="right", transform=ax.transAxes, fontsize=11)
    figure.savefig(content := io.BytesIO(), format="png")
    Image.open(content).convert("RGB").save(small := io.BytesIO(), format="WEBP", quality=80, method=6)
    (ROOT/"data"/"wings").mkdir(exist_ok=True)
    write_atomic(ROOT/"data"/"wings"/"geometry.webp", small.getvalue())
    words = {"shows": SHOWS, "caption": CAPTION.format(**said)}
    write_atomic(ROOT/"data"/"wings"/"geometry.json", json.dumps(words, indent=1) + "\n")


if __name__ == "__main__": main()
