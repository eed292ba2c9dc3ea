"""Convolutional mesh regression: graph convolution by hand, resampling, rotations, augmentation, losses, errors,
published sizes, loaders on miniatures, predicates that can fail."""
import math

import numpy as np
import pytest
import torch
from PIL import Image

from paper_kit.human3d import graph_cmr as paper
from paper_kit.human3d.graph_cmr import predicates, topology
from paper_kit.human3d.worlds import JOINTS, PARTS, projected
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.geometry import axis_angle_to_matrix, nearest_rotation, random_rotations, rotation_angle
from paper_kit.kit.nn import ResNet, parameter_count
from paper_kit.kit.paper import load_manifest
from helpers import varied


def generator(seed=0): return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def top(): return topology(216)


@pytest.fixture(scope="module")
def data(): return paper.world_stage(12, "train", "wild", 48, 75.0, 0)


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"graph_cmr.yaml")
    assert {claim["id"] for claim in manifest["claims"]} == set(predicates) == set(paper.WHY)
    assert set(paper.EVIDENCE) <= {claim for claim, why in paper.WHY.items() if why}


# the graph

def test_adjacency_is_row_normalised_with_self_loops():
    A = paper.adjacency(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    third, quarter = 1/3, 1/4
    assert torch.allclose(A, torch.tensor([[third, third, third, 0], [quarter]*4, [quarter]*4,
                                           [0, third, third, third]]))
    assert not torch.allclose(A, A.T), "symmetric normalisation would be"
    L = paper.adjacency(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4, loops=False)
    assert (L.diagonal() == 0).all() and torch.allclose(L.sum(1), torch.ones(4))


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_a_block_written_over_its_norm_gives_the_same_and_leaves_its_input(norm):
    "The ReLU works in place to save memory: the result, the input and the gradient must not notice."
    A = paper.adjacency(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    block = paper.GraphBlock(16, 8, A, norm)
    x = torch.randn(3, 16, 4, generator=generator(), requires_grad=True)
    before, relu = x.detach().clone(), torch.nn.functional.relu
    y = block.first(relu(block.norm1(x)))
    y = block.last(relu(block.norm3(block.middle(relu(block.norm2(y))))))
    wanted = block.skip(x) + y
    found = block(x)
    assert torch.allclose(found, wanted, atol=1e-6) and torch.equal(x, before)
    g, h = (torch.autograd.grad(out.square().sum(), x)[0] for out in (found, wanted))
    assert torch.allclose(g, h, atol=1e-4)


def test_graph_convolution_is_equation_1_dense_and_sparse():
    A = paper.adjacency(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    layer = paper.GraphConvolution(3, 5, A)
    x = torch.randn(2, 3, 4, generator=generator())
    by_hand = (A @ x.mT @ layer.weight.T + layer.bias).mT
    assert torch.allclose(layer(x), by_hand, atol=1e-6)
    layer.A = A.to_sparse()
    assert torch.allclose(layer(x), by_hand, atol=1e-6)
    layer.double(); layer.A = A.T.double()
    assert torch.autograd.gradcheck(layer, torch.randn(1, 3, 4, generator=generator(), dtype=torch.float64,
                                                       requires_grad=True))


def test_the_first_layer_is_the_linear_map_on_coordinates_and_feature(top):
    net = paper.GraphCNN(7, top, 16)
    f = torch.randn(2, 7, generator=generator())
    joined = torch.cat([net.template.expand(2, -1, -1), f[..., None].expand(-1, -1, len(top.kept))], 1)
    assert torch.allclose(net.begin(f), net.start(joined), atol=1e-5)


def test_group_norm_looks_at_one_picture_batch_norm_at_all(top):
    f = torch.randn(4, 7, generator=generator())
    for norm, alone in (("group", True), ("none", True), ("batch", False)):
        net = paper.GraphCNN(7, top, 16, norm=norm)
        assert torch.allclose(net(f)[0][:1], net(f[:1].repeat(2, 1))[0][:1], atol=1e-4) == alone
    with pytest.raises(PaperKitError, match="norm"): paper.normal("layer", 8)


def test_the_world_keeps_subjects_apart_and_people_before_the_camera(data):
    test = paper.world_stage(12, "test", "studio", 48, 75.0, 0)
    train = paper.world_stage(12, "train", "studio", 48, 75.0, 0)
    for own in (data, test, train):
        assert (own["rotations"][:, 0, 2, 2] < 0.3).all() and (own["rotations"][:, 0, 1, 1]
                                                               < 0).all(), ("they face the camera, feet down (y points "
                                                                            "down)")
        assert torch.allclose(own["rotations"].det(), torch.ones(12, 24), atol=1e-4)
    assert torch.cdist(test["shape"], train["shape"]).min() > 1e-3, "no test subject in training"
    assert torch.equal(paper.world_stage(12, "train", "wild", 48, 75.0, 0)["image"], data["image"])
    places = [paper.scenery(split, "studio", 0, 48, 0)[2] for split in ("train", "test")]
    assert torch.equal(*places), "one studio"
    with pytest.raises(PaperKitError, match="domain"): paper.world_stage(2, "train", "street", 48, 75.0, 0)


def test_vertices_follow_a_renumbering_of_the_template(top):
    "Equivariance: the shape head knows a vertex only by its coordinates and neighbours."
    order = torch.randperm(len(top.kept), generator=generator())
    other = paper.Topology(top.template[order], top.faces, top.adjacency[order][:, order], top.kept[order], top.up,
                           top.joints, top.body, top.full)
    a, b = paper.GraphCNN(7, top, 16), paper.GraphCNN(7, other, 16)
    b.load_state_dict(a.state_dict())
    f = torch.randn(1, 7, generator=generator())
    assert torch.allclose(a(f)[0][:, order], b(f)[0], atol=1e-4)


def test_layers_end_in_the_mesh(top):
    net = paper.GraphCNN(7, top, 16)
    f = torch.randn(2, 7, generator=generator())
    steps = net.layers(f)
    assert len(steps) == 6 and torch.equal(steps[-1], net(f)[0])


# resampling and joints

def test_down_and_up_are_a_selection_and_barycentric_weights(top):
    U = top.up.to_dense()
    assert U.shape == (6890, 216) and torch.allclose(U.sum(1), torch.ones(6890), atol=1e-5) and U.min() >= -1e-6
    assert torch.allclose(U[top.kept], torch.eye(216), atol=1e-5), "kept vertices stay where they are"
    x = torch.randn(2, 216, 3, generator=generator())
    assert torch.allclose(top.upsample(x), U @ x, atol=1e-5)
    assert torch.allclose(top.joints @ x, top.full.joints_of(U @ x), atol=1e-4), "joints come from the upsampled mesh"


def test_the_restricted_body_moves_as_the_whole(top):
    R, b = random_rotations(2, 24, generator=generator()), torch.randn(2, 10, generator=generator())
    full, few = top.full(R, b), top.body(R, b)
    assert (torch.allclose(few.vertices[:, :216], full.vertices[:, top.kept], atol=1e-5)
            and torch.allclose(few.joints, full.joints, atol=1e-5))


# rotations

def test_projection_to_rotations_handles_determinant_and_has_finite_gradients():
    M = torch.cat([torch.eye(3)[None], torch.diag(torch.tensor([3.0, 2.0, -1.0]))[None],
                   torch.randn(6, 3, 3, generator=generator())]).double().requires_grad_()
    R = nearest_rotation(M)
    assert (torch.allclose(R.det(), torch.ones(8).double())
            and torch.allclose(R @ R.mT, torch.eye(3).double().expand(8, 3, 3), atol=1e-9))
    assert torch.autograd.gradcheck(nearest_rotation, M)
    # the released rule: -1 times the nearest orthogonal matrix
    flipped = -torch.diag(torch.tensor([1.0, 1, -1])).double()
    assert (R[1] - M[1]).norm() < (flipped - M[1]).norm(), "nearest, not merely a rotation"
    raw = torch.randn(3, 216, generator=generator(), requires_grad=True)
    paper.rotations_from(raw, "matrix").square().sum().backward()
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["matrix", "axis-angle"])
def test_the_start_is_upright_before_the_camera(kind):
    R = paper.rotations_from(paper.at_rest(kind)[None], kind)[0]
    assert (torch.allclose(R[0], torch.diag(torch.tensor([1.0, -1, -1])), atol=1e-5)
            and torch.allclose(R[1:], torch.eye(3).expand(23, 3, 3), atol=1e-6))


# published sizes

def test_published_parameter_counts():
    big = topology(1723)
    net = paper.GraphCNN(2048, big, published=True)
    assert parameter_count(net) == 1_754_680
    assert parameter_count(paper.ParameterMLP(big)) == 15_027_426
    assert parameter_count(ResNet(50, classes=None)) == parameter_count(paper.Encoder()) == 23_508_032
    assert paper.Encoder().outputs == 2048
    assert net.start.weight.abs().max() <= 1/(2051*512) and net.blocks[0].middle.weight.abs().max() <= math.sqrt(6/256)


def test_one_step_at_the_published_size(data):
    big = topology(1723)
    net = paper.Network("graph", big, 256, (50, 64), published=True)
    truth = paper.prepared(paper.some(data, slice(0, 2)), "rgb", big, generator(), fine=True)
    assert truth["vertices"].shape == (2, 6890, 3)
    loss = paper.stage_one(*net(truth["x"]), truth, big)
    sum(loss.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_heads_are_of_one_size_and_gradients_reach_all(top, data):
    goal = parameter_count(paper.Network("graph", top, 64, (18, 16)).head)
    truth = paper.prepared(data, "rgb", top, generator())
    for target in paper.TARGETS:
        net = paper.Network(target, top, 64, (18, 16))
        assert abs(parameter_count(net.head)/goal - 1) < 0.05, target
        sum(paper.network_loss(net, truth, top).values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    with pytest.raises(PaperKitError, match="target"): paper.Network("voxels", top, 64)


# inputs, augmentation, losses

def test_truth_follows_the_augmentation(top, data):
    """After mirroring, turning and scaling, the joints regressed from the posed truth still are the joints, and the
    keypoints their projection."""
    for seed in range(3):
        out = paper.prepared(data, "parts", top, generator(seed), fine=True)
        assert (top.full.joints_of(out["vertices"]) - out["joints"]).norm(dim=-1).max() < 5e-3
        assert torch.allclose(projected(out["joints"], out["camera"]), out["keypoints"])
        assert (out["camera"][:, 0]/data["camera"][:, 0] - 1).abs().max() <= 0.2501
    calm = paper.prepared(data, "rgb", top, generator(), fine=True, turns=False)
    assert ((top.full.joints_of(calm["vertices"]) - calm["joints"]).norm(dim=-1).max() < 5e-3
            and torch.equal(calm["camera"][:, 0], data["camera"][:, 0]))
    plain = paper.prepared(data, "parts", top, fine=True)
    assert (top.full.joints_of(plain["vertices"]) - plain["joints"]).abs().max() < 1e-4


def test_a_turn_about_the_pictures_centre_by_hand(data):
    one = paper.some(data, slice(0, 1))
    zero, quarter = torch.zeros(1), torch.tensor([math.pi/2])
    x = torch.zeros(1, 3, 9, 9); x[0, :, 4, 7] = 1.0                           # right of the centre
    out, R, J, camera = paper.turned(x, "parts", one["rotations"], one["joints"], one["camera"], one["pelvis"],
                                     quarter, torch.ones(1))
    assert out[0, 0].argmax() == 7*9 + 4, "goes below the centre: y points down"
    before, after = projected(one["joints"], one["camera"]), projected(J, camera)
    assert torch.allclose(after, torch.stack([-before[..., 1], before[..., 0]], -1), atol=1e-5)
    assert torch.allclose(rotation_angle(R[:, 0], one["rotations"][:, 0]), quarter, atol=1e-4)
    same = paper.turned(x, "parts", one["rotations"], one["joints"], one["camera"], one["pelvis"], zero,
                        torch.full((1,), 1.25))
    assert torch.allclose(projected(same[2], same[3]), 1.25*before, atol=1e-5)


def test_mirrored_labels_change_sides(data):
    assert ([PARTS[k] for k in paper.SWAP_PARTS][3:5] == ["right arm", "left arm"]
            and JOINTS[paper.SWAP[4]] == "right knee")
    every = torch.ones(12, dtype=torch.bool)
    x, m = paper.network_input(data, "parts"), paper.network_input(data, "parts", every)
    label = data["said"].flip(-1)
    left_arm = paper.network_input({"image": data["image"], "said": torch.full_like(data["said"], 3)},
                                   "parts")[0, :, 0, 0]
    assert (m.movedim(1, -1)[label == 4] == left_arm).all() and torch.equal(x.flip(-1)[:, :, :, :] == 0,
                                                                            x.flip(-1) == 0)
    bones = (paper.network_input(data, "dense", every)[:, 0]*24).round().long()
    owner = data["seen"][:, 0].flip(-1).long()
    assert (bones[owner == JOINTS.index("left knee") + 1] == JOINTS.index("right knee") + 1).all()
    with pytest.raises(PaperKitError, match="input"): paper.network_input(data, "depth")


def test_spoilt_correspondences_follow_the_spoilt_parts():
    from paper_kit.human3d.worlds import PART_OF_JOINT
    surface = torch.zeros(1, 3, 1, 3, dtype=torch.uint8); knee = JOINTS.index("left knee") + 1
    surface[0, :, 0] = torch.tensor([[knee]*3, [100]*3, [50]*3])
    leg = PART_OF_JOINT[knee - 1]
    out = paper.corrupt_surface(surface, torch.tensor([[[leg, leg + 1, 0]]]))
    assert out[0, 0, 0].tolist() == [knee, JOINTS.index("right knee") + 1, 0] and out[0, 1, 0].tolist() == [100, 100, 0]


def test_losses_by_hand_and_pictures_without_3d(top):
    n = len(top.kept)
    v = torch.zeros(2, n, 3)
    truth = {"vertices": torch.stack([torch.full((n, 3), 0.1), torch.full((n, 3), 5.0)]),
             "keypoints": torch.full((2, 24, 2), 0.5), "known": torch.tensor([1.0, 0.0])}
    loss = paper.stage_one(v, torch.tensor([[1.0, 0, 0]]).expand(2, 3), truth, top)
    assert loss["shape"].item() == pytest.approx(0.1) and loss["keypoints"].item() == pytest.approx(0.5)
    assert paper.stage_one(v, torch.ones(2, 3), truth, top, power=2)["shape"].item() == pytest.approx(0.01)
    assert paper.stage_one(v, torch.ones(2, 3), truth | {"known": torch.zeros(2)}, top)["shape"].item() == 0
    R = torch.eye(3).repeat(1, 24, 1, 1)
    posed = top.body(R, torch.zeros(1, 10))
    exact = {"vertices": posed.vertices[:, :n],
             "keypoints": projected(top.joints @ posed.vertices[:, :n], torch.tensor([[1.0, 0, 0]])), "rotations": R,
             "shape": torch.full((1, 10), 2.0), "known": torch.ones(1)}
    two = paper.stage_two(R, torch.zeros(1, 10), torch.tensor([[1.0, 0, 0]]), exact, top)
    assert (two["betas"].item() == pytest.approx(0.4)
            and max(two[k].item() for k in ("shape", "keypoints", "pose")) < 1e-6)
    turned = axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi])).expand(1, 24, 3, 3)
    assert paper.stage_two(turned, torch.zeros(1, 10), torch.ones(1, 3), exact,
                           top)["pose"].item() == pytest.approx(8/9, abs=1e-4), ("on matrices: two entries of nine are "
                                                                                 "off by 2")


def test_keypoints_weigh_what_they_do_in_the_sums_of_equation_4(top):
    n, g = len(top.kept), generator(3)
    truth = {"vertices": torch.randn(2, n, 3, generator=g), "keypoints": torch.randn(2, 24, 2, generator=g),
             "known": torch.ones(2)}
    v, camera = torch.randn(2, n, 3, generator=g), torch.rand(2, 3, generator=g) + 0.5
    sums = (v - truth["vertices"]).abs().sum() + (projected(top.joints @ v, camera) - truth["keypoints"]).abs().sum()
    losses = paper.stage_one(v, camera, truth, top)
    assert (sum(paper.balanced(losses, truth).values())*2*3*n).item() == pytest.approx(sums.item(), rel=1e-4)
    assert paper.balanced(losses, truth)["shape"] is losses["shape"]


# the judge

def test_mpjpe_is_not_the_reconstruction_error():
    X = torch.randn(3, 24, 3, generator=generator())
    assert torch.allclose(paper.mpjpe(X + 7, X), torch.zeros(3), atol=1e-2), "a shift costs nothing"
    Y = 0.5*X @ axis_angle_to_matrix(torch.tensor([0.3, 1.0, 0.2])).T + 1
    assert paper.reconstruction(Y, X).max() < 0.1 and paper.mpjpe(Y, X).min() > 100
    mirrored = X*torch.tensor([-1.0, 1, 1])
    assert paper.reconstruction(mirrored, X).min() > 50, "a reflection is not forgiven"
    moved = X.clone(); moved[:, 14] += 5; moved[:, 23] += 5
    assert torch.allclose(paper.mpjpe(moved, X), torch.zeros(3), atol=1e-3), "collars and hands are not among the 14"
    moved[:, 20] += torch.tensor([0.0, 0.14, 0])
    assert torch.allclose(paper.mpjpe(moved, X), torch.full((3,), 10.0), atol=1e-3), "14 cm at one joint of 14"


def test_roughness_sees_noise_and_not_shifts(top):
    v = top.full.mean[top.kept][None]
    assert paper.roughness(v + 0.3, v, top).item() < 1e-2
    noisy, smooth = v + 0.01*torch.randn(v.shape, generator=generator()), v*1.05
    assert paper.roughness(noisy, v, top) > 3*paper.roughness(smooth, v, top)


def test_segmentation_scores_by_hand():
    acc, f1 = paper.scores(torch.tensor([[[1, 1, 0, 0]]]), torch.tensor([[[1, 0, 0, 0]]]), 2)
    assert acc == 75 and f1 == pytest.approx((2/3 + 0.8)/2)


def test_the_truth_scores_perfectly(top, data):
    made = {k: data[k] for k in ("rotations", "shape",
                                 "camera")} | {"vertices": top.body(data["rotations"], data["shape"]).vertices[:, :216]}
    found = paper.judged(made, data, top)
    assert found["mpjpe"].max() < 0.1 and found["rec"].max() < 0.1 and found["vertex"].max() < 0.1
    assert paper.segment_stage(data, made, 216)["part acc"] > 99.9


def test_smplify_improves_on_its_start_and_follows_the_keypoints(top, data):
    few = paper.some(data, slice(0, 4))
    points = projected(few["joints"], few["camera"])
    prior = paper.pose_prior(2, 0)
    early, late = (paper.smplify(points, torch.ones(4, 24), prior, top.full, steps) for steps in (1, 50))
    off = lambda m: (projected(top.full(m["rotations"], m["shape"]).joints, m["camera"])
                     - points)[:, paper.FOURTEEN].norm(dim=-1).mean()
    assert off(late) < 0.5*off(early)
    assert prior.cost(prior.mean).argmin() >= 0 and (prior.cost(prior.mean) < prior.cost(prior.mean + 1)).all()
    x, sure = paper.detected(points, generator())
    assert (sure < 1).any() and (x - points).abs().mean() > 0.01


def test_hinges_punish_the_wrong_way():
    "A knee bent backwards is about +x at rest; an elbow forwards is -y on the left, +y on the right."
    from paper_kit.human3d.worlds import _BENDS
    for joint, axis, sign in paper._hinges: assert np.sign(_BENDS[JOINTS[joint]][axis]) == sign


# training on features

@pytest.fixture(scope="module")
def lesson(top, data):
    net = paper.Encoder(18, 4)
    start = {"state": net.state_dict()}
    return start, paper.features_stage(data, start, "rgb", 216, (18, 4), 3, 0)


def test_features_are_what_the_encoder_makes_of_pictures_and_their_truth_is_that_of_the_copies(top, data, lesson):
    start, features = lesson
    net, n = paper.Encoder(18, 4).eval(), len(data["image"])
    net.load_state_dict(start["state"])
    plain = paper.prepared(data, "rgb", top)
    with torch.no_grad(): assert torch.allclose(features["feature"][:n], net(plain["x"]), atol=1e-5)
    for key in ("vertices", "keypoints", "rotations", "camera"):
        assert torch.allclose(features[key][:n], plain[key], atol=1e-5) and len(features[key]) == 3*n
    mirrored = (features["camera"][n:, 1] - plain["camera"][:, 1].repeat(2)).abs() > 1e-4
    assert mirrored.any() and not mirrored.all(), "copies are mirrored with their truth"
    joints = top.joints @ features["vertices"]
    assert (projected(joints, features["camera"]) - features["keypoints"]).abs().mean() < 0.02


def test_on_features_the_head_alone_learns_and_on_pictures_the_encoder_too(top, data, lesson):
    start, features = lesson
    options = dict(kind="rgb", target="graph", count=216, width=16, encoder=(18, 4), steps=12, batch=4, rate=1e-3,
                   seed=0)
    frozen = paper.train_stage(features, features, start, **options, looks=2)
    whole = paper.train_stage(data, data, start, **options)
    same = lambda found: all(torch.equal(found["state"][f"encoder.{k}"], v) for k, v in start["state"].items())
    assert same(frozen) and not same(whole)
    assert len(frozen["validation"]) == 12 and frozen["validation"][-1] < frozen["validation"][0]
    assert len(frozen["snapshots"]) == 2 and frozen["snapshots"][-1]["loss"] < frozen["snapshots"][0]["loss"]


def test_the_validation_curve_is_the_mean_distance_of_vertices(top, data, lesson):
    _, features = lesson
    moved = (features["vertices"] + torch.tensor([0.03, 0.0, 0.04]), features["camera"])
    assert float(paper.vertex_gap(moved, features, top)) == pytest.approx(50, rel=1e-4)
    exact = (features["rotations"], features["shape"], features["camera"])
    assert float(paper.vertex_gap(exact, features, top)) < 0.1


# loaders

def write_index(path, n=3, **changes):
    rng = np.random.default_rng(0)
    a = {"imgname": np.array([f"images/{k}.jpg" for k in range(n)]), "center": rng.uniform(20, 40, (n, 2)),
         "scale": rng.uniform(0.2, 0.3, n), "part": rng.uniform(0, 60, (n, 24, 3)),
         "S": rng.normal(size=(n, 24, 4)), "pose": rng.normal(size=(n, 72)), "shape": rng.normal(size=(n, 10)),
         "maskname": np.array(["m"]*n), "partname": np.array(["p"]*n)} | changes
    np.savez(path, **{k: v for k, v in a.items() if v is not None})
    return path


def test_index_of_every_layout_on_a_miniature(tmp_path):
    "Layout: datasets/preprocess of nkolot/SPIN and the data release of nkolot/GraphCMR."
    for layout, keys in paper.LAYOUTS.items():
        drop = {k: None for k in ("part", "S", "pose", "shape", "maskname", "partname") if k not in keys}
        index = paper.read_index(write_index(tmp_path/f"{layout}.npz", **drop), layout)
        assert len(index) == 3 and index.imgname[1] == "images/1.jpg" and all(getattr(index, k) is None for k in drop)
    part = np.zeros((3, 24, 3)); part[1, 5, 0] = np.nan
    bad = {"nan": (dict(part=part), "entry 1"), "short": (dict(pose=np.zeros((3, 71))), "pose"),
           "without": (dict(center=None), "center"), "flat": (dict(scale=np.zeros(3)), "above 0"),
           "objects": (dict(imgname=np.array(["a", None, "b"], object)), "plain arrays")}
    for name, (change, text) in bad.items():
        with pytest.raises(PaperKitError, match=text): paper.read_index(write_index(tmp_path/f"{name}.npz", **change))
    (tmp_path/"corrupt.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(PaperKitError, match="plain arrays"): paper.read_index(tmp_path/"corrupt.npz")
    with pytest.raises(PaperKitError, match="no such file"): paper.read_index(tmp_path/"none.npz")
    with pytest.raises(PaperKitError, match="no S"): paper.read_index(write_index(tmp_path/"up.npz", S=None), "h36m")
    assert paper.read_index(write_index(tmp_path/"valid.npz", part=None), "h36m").part is None, "as h36m.py writes it"


def test_crop_by_hand_and_missing_or_broken_pictures(tmp_path):
    image = torch.zeros(3, 60, 80); image[:, 30, 40] = 1.0
    part = np.zeros((24, 3)); part[0] = [40.5, 30.5, 1]; part[1] = [50.5, 30.5, 0.5]
    out, joints = paper.crop(image, np.array([40.5, 30.5]), 0.1, 20, part)     # a square of 20 pixels
    assert out.shape == (3, 20, 20) and out[0, 9:11, 9:11].sum() > 0.9 and out.sum() < 3.1
    assert torch.allclose(joints[:2], torch.tensor([[0.0, 0, 1], [1.0, 0, 0.5]]), atol=1e-5)
    (tmp_path/"images").mkdir()
    Image.fromarray(np.full((60, 60, 3), 200, np.uint8)).save(tmp_path/"images"/"0.jpg")
    (tmp_path/"images"/"1.jpg").write_bytes(b"not a picture")
    index = paper.read_index(write_index(tmp_path/"i.npz"))
    picture, joints = paper.load_item(index, 0, tmp_path, 32)
    assert picture.shape == (3, 32, 32) and picture.max() > 0.7 and joints.shape == (24, 3)
    with pytest.raises(PaperKitError, match="cannot be read"): paper.load_item(index, 1, tmp_path)
    with pytest.raises(PaperKitError, match="not there"): paper.load_item(index, 2, tmp_path)


def photographs(root, names, size=60):
    for k, name in enumerate(names):
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 255, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(root/name)


def test_human36m_and_lsp_are_read_into_tables_4_and_5(tmp_path, top):
    "Layouts: h36m.py and lsp_dataset.py of nkolot/GraphCMR; the masks are those of upi-s1h/data/lsp."
    from paper_kit.kit.datasets import Source
    net = paper.Network("graph", top, 16, (18, 4))
    shape = dict(state=net.state_dict(), target="graph", count=216, width=16, encoder=(18, 4), size=32)
    human, lsp = tmp_path/"human", tmp_path/"lsp"
    photographs(human, [f"images/{k}.jpg" for k in range(3)])
    center, scale = np.full((3, 2), 30.0), np.full(3, 0.25)
    write_index(human/"h36m_valid_protocol1.npz", n=3, part=None, pose=None, shape=None, S=np.full((3, 24, 4), np.nan))
    write_index(human/"h36m_valid_protocol2.npz", n=3, part=None, pose=None, shape=None, center=center, scale=scale)
    found = paper.human36m_stage(Source("human36m_index", human, "0"), **shape)
    assert found["rec"].shape == (3,) and (found["rec"] <= 1000*2).all() and (found["mpjpe"] > 0).all()
    photographs(lsp, [f"images/{k}.jpg" for k in range(3)])
    masks = np.array([f"data/lsp/{k}_segmentation.png" for k in range(3)])
    (lsp/"data"/"lsp").mkdir(parents=True)
    for name in masks: Image.fromarray(np.full((60, 60), 255, np.uint8)).save(lsp/name)
    write_index(lsp/"lsp_dataset_test.npz", n=3, S=None, pose=None, shape=None, maskname=masks, center=center,
                scale=scale)
    found = paper.lsp_stage(Source("lsp_parts", lsp, "0"), **shape)
    assert 0 <= found["figure acc"] <= 100 and 0 <= found["figure f1"] <= 1
    runs = {"HMR": [found, found], "Ours": [found]}
    assert paper.real_table_5(runs)["FB acc"].tolist() == [round(found["figure acc"], 2)]*2
    (lsp/masks[1]).write_bytes(b"no picture")
    with pytest.raises(PaperKitError, match="mask"): paper.lsp_stage(Source("lsp_parts", lsp, "0"), **shape)
    (human/"images"/"2.jpg").unlink()
    with pytest.raises(PaperKitError, match="not there"):
        paper.human36m_stage(Source("human36m_index", human, "0"), **shape)


def test_real_joints_are_compared_by_name_and_about_the_pelvis(tmp_path, top, monkeypatch):
    "The first 14 joints of the index are the release's J14, in the order of `FOURTEEN`."
    from paper_kit.kit.datasets import Source
    mesh = top.body(torch.eye(3).repeat(2, 24, 1, 1), torch.zeros(2, 10)).vertices[:, :216]
    joints = top.full.joints_of(top.upsample(mesh))
    S = np.zeros((2, 24, 4))
    S[:, :14, :3] = (joints - joints[:, :1])[:, paper.FOURTEEN].numpy()
    photographs(tmp_path, ["images/0.jpg", "images/1.jpg"])
    write_index(tmp_path/"h36m_valid_protocol2.npz", n=2, part=None, S=S)
    monkeypatch.setattr(paper, "predict", lambda *a, **k: {"vertices": mesh, "camera": torch.ones(2, 3)})
    net = paper.Network("graph", top, 16, (18, 4))
    source = Source("human36m_index", tmp_path, "0")
    found = paper.human36m_stage(source, net.state_dict(), "graph", 216, 16, (18, 4), 32)
    assert found["mpjpe"].max() < 0.1 and found["rec"].max() < 0.1


def test_shipped_weights_give_a_mesh_of_a_picture_of_any_size(tmp_path, top):
    from paper_kit.kit.weights import weights_bytes
    net = paper.Network("graph", top, 32, (18, 4)).eval()
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    (tmp_path/"w.safetensors").write_bytes(weights_bytes(state, count=216, width=32, encoder=[18, 4]))
    again, mesh = paper.pretrained(tmp_path/"w.safetensors")
    assert not again.training and torch.allclose(again.head.start.weight, net.head.start.weight, atol=1e-2)
    picture = np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8)
    found = paper.mesh_of(picture, again, mesh)
    assert found["vertices"].shape == (6890, 3) and found["seen"].shape == (3, 64, 64)
    assert (found["seen"][:, :, :8] == 0).all(), "black beside the picture"
    assert found["seen"][:, :, 32].float().mean() > 50
    other = paper.mesh_of(picture/255, again, mesh)
    assert torch.allclose(found["vertices"], other["vertices"], atol=1e-3), "bytes or numbers in 0..1"
    with pytest.raises(PaperKitError, match="in colour"): paper.mesh_of(picture[..., 0], again, mesh)
    (tmp_path/"bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(PaperKitError, match="graph_cmr"): paper.pretrained(tmp_path/"bad.safetensors")


def test_the_use_it_block_runs_from_an_empty_namespace_on_a_picture_of_ones_own(tmp_path, top, monkeypatch):
    import json

    from paper_kit.kit import weights
    from paper_kit.kit.mesh import read_mesh
    net = paper.Network("graph", top, 32, (18, 4))
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    file = tmp_path/"w.safetensors"
    file.write_bytes(weights.weights_bytes(state, count=216, width=32, encoder=[18, 4]))
    monkeypatch.setattr(weights, "weights_file", lambda slug: file)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)).save("me.jpg")
    cells = json.loads((project_root()/"nbs"/"human3d"/"graph_cmr.ipynb").read_text())["cells"]
    text = next(s for s in ("".join(c["source"]) for c in cells) if s.startswith("## Use it"))
    exec(text.split("```python\n")[1].split("```")[0], {})
    assert 6800 < len(read_mesh("me.ply").vertices) <= 6890, "equal places are read as one"


def test_sampling_matrices_in_plain_arrays(tmp_path):
    "Layout: mesh_downsampling.npz of the GraphCMR release, its sparse matrices saved as CSR arrays."
    from scipy.sparse import csr_matrix
    m = {f"{n}{i}": csr_matrix(np.eye(3, 2) if n == "U" else np.eye(2, 3)) for n in "UD" for i in (0, 1)}
    plain = {f"{k}_{part}": getattr(v, part) for k, v in m.items() for part in ("data", "indices", "indptr", "shape")}
    np.savez(tmp_path/"s.npz", **plain)
    found = paper.read_sampling(tmp_path/"s.npz")
    assert torch.equal(found["U0"].to_dense(), torch.eye(3, 2)) and torch.equal(found["D1"].to_dense(), torch.eye(2, 3))
    np.savez(tmp_path/"nan.npz", **plain | {"U0_data": np.array([1.0, np.nan])})
    with pytest.raises(PaperKitError, match="NaN"): paper.read_sampling(tmp_path/"nan.npz")
    np.savez(tmp_path/"far.npz", **plain | {"U0_indices": np.array([0, 9])})
    with pytest.raises(PaperKitError, match="sampling"): paper.read_sampling(tmp_path/"far.npz")
    np.savez(tmp_path/"objects.npz", U=np.array([object()], object))
    with pytest.raises(PaperKitError, match="savez"): paper.read_sampling(tmp_path/"objects.npz")
    with pytest.raises(PaperKitError, match="no such file"): paper.read_sampling(tmp_path/"none.npz")


# claims

FLAT = [[100 - 50*min(k, 10)/10 for k in range(20)]]*3
RISING = [[100.0 - 5*k for k in range(20)]]*3
GOOD = {
    "C1": {"graph: MPJPE": [100, 101, 102], "FC: MPJPE": [150, 151, 149], "graph: rec": [60, 61, 62],
           "FC: rec": [90, 91, 92], "graph: parameters": [100], "FC: parameters": [101]},
    "C2": {"graph: rec": [60, 61, 62], "graph + parameters: rec": [58, 60, 61], "parameters: rec": [70, 71, 72.5]},
    "C3": {f"{k}: {n}": [v, v + 1, v + 2.1] for k in ("RGB", "parts", "dense") for n,
           v in (("ours", 50), ("parameters", 60))},
    "C4": {f"{k}: {n}": [v, v + 1, v + 2] for k in ("RGB", "parts", "dense") for n,
           v in (("mesh", 50), ("parametric", 51))} | {"true meshes: vertex error": [5, 6, 5.5]},
    "C5": {"graph: roughness": [1, 1.1, 1], "FC: roughness": [3, 3.1, 3]},
    "C6": {"group: rec": [50, 51, 52], "none: rec": [60, 61, 63], "batch: rec": [70, 71, 72]},
    "C7": {"L1: median vertex error": [50, 51, 52], "L2: median vertex error": [60, 61, 63]},
    "C8": {"two steps: mesh": [50, 51, 52], "two steps: parametric": [50, 51, 52], "end to end: mesh": [60, 61, 63],
           "end to end: parametric": [60, 61, 63]},
    "C9": {"matrix: steps": [100, 110, 105], "axis-angle: steps": [200, 210, 190],
           "matrix: final error": [10, 10.1, 10], "axis-angle: final error": [10.2, 10.3, 10.1],
           "distance from orthonormal": [1e-6], "smallest determinant": [0.9999]},
    "C10": {"ours: part F1": [0.66, 0.67, 0.66], "HMR: part F1": [0.6, 0.6, 0.61],
            "SMPLify: part F1": [0.64, 0.64, 0.64]},
    "C11": {"with 2D-only: rec": [50, 51, 52], "3D only: rec": [60, 61, 63]},
    "C12": {"RGB: gap": [30, 31, 32], "parts: gap": [10, 11, 12.5], "RGB with wild: gap": [15, 16, 18]}}
BAD = {
    "C1": {"FC: rec": [62, 63, 64]}, "C2": {"parameters: rec": [59, 61, 60]}, "C3": {"dense: ours": [61, 62, 63]},
       "C4": {"true meshes: vertex error": [15, 16, 14]}, "C5": {"graph: roughness": [2, 2.1, 2]},
    "C6": {"batch: rec": [45, 44, 46]}, "C7": {"L1: median vertex error": [62, 63, 65]},
       "C8": {"two steps: mesh": [66, 67, 68]}, "C9": {"matrix: steps": [195, 205, 189]},
       "C10": {"SMPLify: part F1": [0.8, 0.8, 0.8]},
    "C11": {"with 2D-only: rec": [70, 71, 73]}, "C12": {"RGB with wild: gap": [40, 41, 42]}}


def with_curves(claim, values, curve=FLAT):
    return varied(values) | {f"{name}: validation": curve for name in paper.CURVES.get(claim, ())}


@pytest.mark.parametrize("claim", list(GOOD))
def test_predicates_can_hold_and_can_fail(claim):
    assert predicates[claim].evaluate(with_curves(claim, GOOD[claim])).verdict == "holds"
    assert predicates[claim].evaluate(with_curves(claim, GOOD[claim] | BAD[claim])).verdict == "fails"


@pytest.mark.parametrize("claim", sorted(paper.CURVES))
def test_a_comparison_of_trainings_that_still_learn_is_undecided(claim):
    assert predicates[claim].evaluate(with_curves(claim, GOOD[claim], RISING)).verdict == "undecided"


def test_a_record_from_before_curves_were_kept_is_judged_by_what_it_has():
    values = {k: v for k, v in with_curves("C7", GOOD["C7"]).items() if "validation" not in k}
    assert predicates["C7"].evaluate(values).verdict == "holds"
    with pytest.raises(Exception, match="L2: validation"):
        predicates["C7"].evaluate(values | {"L1: validation": FLAT})


def test_curves_are_asked_of_every_claim_that_compares_trainings():
    assert set(paper.CURVES) == set(predicates) - {"C5", "C6"}, "C5 is at equal loss, C6 after a fixed budget"


def test_a_reflection_or_unequal_heads_fail():
    for claim, bad in (("C9", {"smallest determinant": [-1.0]}), ("C1", {"FC: parameters": [150]})):
        assert predicates[claim].evaluate(with_curves(claim, GOOD[claim] | bad)).verdict == "fails"


def test_steps_to_reaches_between_the_points():
    assert (paper.steps_to([40, 20, 10], 30, 300) == pytest.approx(150) and paper.steps_to([40, 20, 10], 50, 300) == 100
            and paper.steps_to([40, 20, 10], 1, 300) == 300)


def test_frontal_is_the_pelvis_towards_the_camera():
    R = torch.stack([torch.diag(torch.tensor([1.0, -1, -1])), torch.diag(torch.tensor([-1.0, -1, 1]))])[:, None]
    assert paper.frontal({"rotations": R}).tolist() == [True, False]


def official(layers=5, channels=256, vertices=1723, seed=0):
    "A checkpoint with the names and shapes that the authors' code writes, and numbers that keep activations near one."
    g = torch.Generator().manual_seed(seed)
    graph, regressor = {}, {}

    def put(to, name, *shape, spread=None, middle=0.0):
        to[name] = middle + (0.1 if spread is None else spread)*torch.randn(*shape, generator=g)

    def linear(name, inputs, outputs):
        put(graph, f"{name}.W", outputs, inputs, spread=inputs**-0.5)
        put(graph, f"{name}.b", outputs)

    def norm(to, name, size, batch=False):
        put(to, f"{name}.weight", size, middle=1.0)
        put(to, f"{name}.bias", size)
        if batch:
            put(to, f"{name}.running_mean", size)
            to[f"{name}.running_var"] = 0.5 + torch.rand(size, generator=g)

    def block(name, inputs, outputs):
        linear(f"{name}.lin1", inputs, outputs//2)
        put(graph, f"{name}.conv.weight", outputs//2, outputs//2, spread=(outputs//2)**-0.5)
        put(graph, f"{name}.conv.bias", outputs//2)
        linear(f"{name}.lin2", outputs//2, outputs)
        linear(f"{name}.skip_conv", inputs, outputs)
        for part, size in (("pre_norm", inputs), ("norm1", outputs//2), ("norm2", outputs//2)):
            norm(graph, f"{name}.{part}", size)

    def convolution(name, inputs, outputs, kernel):
        put(graph, f"resnet.{name}.weight", outputs, inputs, kernel, kernel, spread=(2/(inputs*kernel**2))**0.5)
    convolution("conv1", 3, 64, 7)
    norm(graph, "resnet.bn1", 64, True)
    inputs = 64
    for level, count in enumerate((3, 4, 6, 3)):
        width = 64*2**level
        for k in range(count):
            place = f"layer{level + 1}.{k}"
            for j, (a, b, kernel) in enumerate(((inputs, width, 1), (width, width, 3), (width, 4*width, 1)), 1):
                convolution(f"{place}.conv{j}", a, b, kernel)
                norm(graph, f"resnet.{place}.bn{j}", b, True)
            graph[f"resnet.{place}.bn3.weight"] *= 0.2
            if k == 0:
                convolution(f"{place}.downsample.0", inputs, 4*width, 1)
                norm(graph, f"resnet.{place}.downsample.1", 4*width, True)
            inputs = 4*width
    put(graph, "resnet.fc.weight", 1000, 2048)
    put(graph, "resnet.fc.bias", 1000)
    linear("gc.0", 2051, 2*channels)
    block("gc.1", 2*channels, channels)
    for k in range(layers): block(f"gc.{k + 2}", channels, channels)
    block("shape.0", channels, 64)
    block("shape.1", 64, 32)
    norm(graph, "shape.2", 32)
    linear("shape.4", 32, 3)
    norm(graph, "camera_fc.0", channels)
    linear("camera_fc.2", channels, 1)
    put(graph, "camera_fc.4.weight", 3, vertices, spread=vertices**-0.5)
    put(graph, "camera_fc.4.bias", 3)

    def full(name, a, b):
        put(regressor, f"{name}.weight", b, a, spread=a**-0.5)
        put(regressor, f"{name}.bias", b)
    full("layers.0.fc_block.0", 6*vertices, 1024)
    norm(regressor, "layers.0.fc_block.1", 1024, True)
    for k in (1, 2):
        for j in (0, 3):
            full(f"layers.{k}.fc_block.{j}", 1024, 1024)
            norm(regressor, f"layers.{k}.fc_block.{j + 1}", 1024, True)
    full("layers.3", 1024, 226)
    return {"graph_cnn": graph, "smpl_param_regressor": regressor, "epoch": 3, "total_step_count": 10}


def official_graph(state, template, A, feature):
    "The authors' graph network on an image feature, layer by layer from their formulas: mesh and camera."
    F = torch.nn.functional
    linear = lambda name, x: state[f"{name}.W"] @ x + state[f"{name}.b"][:, None]
    norm = lambda name, x: F.relu(F.group_norm(x, x.shape[1]//8, state[f"{name}.weight"], state[f"{name}.bias"]))

    def block(name, x):
        y = norm(f"{name}.norm1", linear(f"{name}.lin1", norm(f"{name}.pre_norm", x)))
        y = (A @ (y.mT @ state[f"{name}.conv.weight"]) + state[f"{name}.conv.bias"]).mT
        y = linear(f"{name}.lin2", norm(f"{name}.norm2", y))
        return y + (x if x.shape[1] == y.shape[1] else linear(f"{name}.skip_conv", x))
    n = len(template)
    x = linear("gc.0", torch.cat([template.T.expand(len(feature), 3, n), feature[..., None].expand(-1, -1, n)], 1))
    for k in range(1, 7): x = block(f"gc.{k}", x)
    mesh = linear("shape.4", norm("shape.2", block("shape.1", block("shape.0", x))))
    seen = F.relu(linear("camera_fc.2", norm("camera_fc.0", x)))[:, 0]
    return mesh.mT, seen @ state["camera_fc.4.weight"].T + state["camera_fc.4.bias"]


def test_weights_in_the_authors_layout_give_their_output(tmp_path):
    top, held = topology(1723), official()
    torch.save(held, tmp_path/"theirs.pt")
    net, reader = paper.load_official(tmp_path/"theirs.pt", top)
    feature = torch.randn(2, 2048, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, camera = official_graph(held["graph_cnn"], top.template, top.adjacency, feature)
        found, seen = net.head(feature)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(seen, camera, atol=1e-4, rtol=1e-4)
        assert torch.equal(net.encoder.groups[3].conv2.weight, held["graph_cnn"]["resnet.layer2.0.conv2.weight"])
        rotations, shape = reader(found)
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-4, rtol=0)
    assert (torch.linalg.det(rotations) > 0.99).all() and shape.shape == (2, 10)


def test_reflections_are_projected_as_released_or_to_the_nearest_rotation():
    M = torch.eye(3).repeat(1, 24, 1, 1)
    M[0, 5] = torch.diag(torch.tensor([1.0, 0.9, -0.2]))
    ours, theirs = (paper.rotations_from(M.flatten(1), kind)[0, 5] for kind in ("matrix", "released"))
    torch.testing.assert_close(ours, torch.eye(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(theirs, torch.diag(torch.tensor([-1.0, -1, 1])), atol=1e-5, rtol=0)


@pytest.mark.parametrize("damage", ["no regressor", "another name", "another mesh"])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, damage):
    held = {"graph_cnn": {"gc.0.W": torch.zeros(512, 2051)}, "smpl_param_regressor": {}}
    if damage == "no regressor": held.pop("smpl_param_regressor")
    if damage == "another name": held["graph_cnn"] = {"weights": torch.zeros(1)}
    if damage == "another mesh": held = official(vertices=30)
    torch.save(held, tmp_path/"theirs.pt")
    with pytest.raises(PaperKitError, match="Graph CMR|fit"):
        paper.load_official(tmp_path/"theirs.pt", topology(1723))
