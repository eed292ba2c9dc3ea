"""What the notebook of occupancy_networks cannot hold: published counts, hand-computed checks, predicates that must
fail, the layouts of the real data, bad inputs.

Layouts: `im2mesh/data` and README of autonomousvision/occupancy_networks (points.npz, pointcloud.npz, model.binvox,
img_choy2016, cameras.npz, *.lst), the development kit of KITTI's semantics benchmark, Info.txt of Stanford Online
Products, README of xingyuansun/pix3d."""
import json
import math

import numpy as np
import pytest
import torch

from paper_kit.kit import datasets
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.mesh import (Mesh, euler_number, genus, icosphere, is_oriented, is_watertight,
                                sample_surface)
from paper_kit.kit.nn import parameter_count, seeded
from paper_kit.kit.paper import load_manifest
from paper_kit.kit.voxels import grid_points
from paper_kit.shape3d import occupancy_networks as onet
from paper_kit.shape3d.occupancy_networks import (BOX, SIZES, Baseline, ConditionalNorm, Decoder, LatentEncoder,
                                                  extract, kl, load_official, logit, mise,
                                                  observed, occupancy_loss,
                                                  occupancy_network, predicates, refine, refinement_loss, sampled,
                                                  simplify, stages, surface_of, surface_score)
from helpers import varied

GENERATOR = lambda seed=0: torch.Generator().manual_seed(seed)


def round_mesh(level):
    mesh = icosphere(level)
    return mesh.vertices.float(), mesh.faces


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ball(radius=0.4, centre=(0.0, 0.0, 0.0), sharp=40.0):
    return lambda p: sharp*(radius - (p - p.new_tensor(centre)).norm(dim=-1))


# ---- manifest and predicates

def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"occupancy_networks.yaml")
    assert set(predicates) == {claim["id"] for claim in manifest["claims"]} == set(manifest.expected("claims"))
    assert callable(stages)


GOOD = {
    "C1": {"parameters at full size": 5978369, "IoU, memorised": [0.7, 0.71, 0.72], "IoU, voxel grid": [0.5]*3,
           "numbers a shape, network": 2000, "numbers a shape, voxel grid": 4096},
    "C2": {"IoU, ONet": [0.6, 0.61, 0.6], "IoU, 3D-R2N2": [0.5]*3, "IoU, Pixel2Mesh": [0.48]*3,
           "normals, ONet": [0.83, 0.84, 0.83], "normals, 3D-R2N2": [0.7]*3, "normals, Pixel2Mesh": [0.77]*3,
           "normals, AtlasNet": [0.81]*3},
    "C3": {"chamfer, ONet": [0.21, 0.22, 0.21], "chamfer, PSGN": [0.21, 0.21, 0.22]},
    "C4": {"IoU, ONet": [0.77, 0.78, 0.78], "IoU, 3D-R2N2": [0.56]*3, "chamfer, ONet": [0.08, 0.079, 0.08],
           "chamfer, 3D-R2N2": [0.17]*3, "chamfer, PSGN": [0.2]*3, "normals, ONet": [0.9, 0.89, 0.9],
           "normals, 3D-R2N2": [0.72]*3, "IoU, ONet from images": [0.57]*3},
    "C5": {"IoU, input": [0.6]*12, "IoU, ONet": [0.7]*12, "chamfer, ONet": [0.1]*12, "chamfer, input": [0.13]*12,
           "normals, input": [0.8]*12, "normals, ONet": [0.88]*12},
    "C6": {"IoU, uniform": [0.57, 0.58, 0.57], "IoU, equal": [0.47, 0.48, 0.48], "volume ratio, equal": [1.5, 1.6, 1.5],
           "volume ratio, uniform": [1.0, 1.05, 1.0], "IoU, equal at its own threshold": [0.55, 0.56, 0.55],
           "IoU, surface": [0.53, 0.54, 0.53], "IoU, uniform 64": [0.55, 0.56, 0.55]},
    "C7": {"IoU, full": [0.571, 0.572, 0.57], "IoU, no ResNet": [0.56, 0.559, 0.56],
           "IoU, no CBN": [0.52, 0.522, 0.52]},
    "C8": {"active_cells_that_differ_where_the_first_grid_touches": 0, "corners_asked_twice": 0,
           "largest difference of a vertex": 0.0, "queried share": 0.05,
           "pieces_smaller_than_a_coarse_cell_found_by_MISE": 0,
           "pieces smaller than a coarse cell found by the dense grid": 1},
    "C9": {"points_occupied_at_a_higher_threshold_only": 0,
           "steps_of_the_threshold_at_which_the_median_completeness_error_falls": 0,
           "best validation threshold": [0.2, 0.25, 0.2]},
    "C10": {"residual before": [0.1, 0.12, 0.11], "residual after": [0.02, 0.03, 0.02],
            "normal consistency before": [0.8, 0.81, 0.8], "normal consistency after": [0.83, 0.84, 0.83],
            "meshes_with_another_number_of_vertices": 0},
    "C11": {"samples_that_are_not_closed": 0, "least distance, samples": [0.2, 0.21, 0.2], "least distance, perturbed "
                                                                                           "parameters": [0.4, 0.41,
                                                                                                          0.42],
            "diversity, samples": [0.5, 0.5, 0.51], "diversity, data": [0.6, 0.61, 0.6],
            "dimensions with a KL above 0.01": [3, 4, 5]},
    "C12": {"IoU, cut out of a photograph": [0.5, 0.52, 0.5], "IoU, mean of the training shapes": [0.2, 0.2, 0.21]}}
BAD = {"C1": ("IoU, memorised", [0.4, 0.41, 0.4]), "C2": ("normals, ONet", [0.79, 0.78, 0.79]),
       "C3": ("chamfer, ONet", [0.3, 0.31, 0.3]), "C4": ("chamfer, PSGN", [0.05, 0.05, 0.051]),
       "C5": ("normals, ONet", [0.7]*12), "C6": ("volume ratio, equal", [1.0, 1.01, 1.0]),
       "C7": ("IoU, no CBN", [0.6, 0.61, 0.6]), "C8": ("corners_asked_twice", 1),
       "C9": ("best validation threshold", [0.6, 0.65, 0.6]), "C10": ("residual after", [0.09, 0.11, 0.1]),
       "C11": ("least distance, samples", [0.5, 0.51, 0.5]), "C12": ("IoU, cut out of a photograph", [0.1, 0.1, 0.11])}
ALSO_BAD = [("C1", "parameters at full size", 5978370), ("C1", "numbers a shape, network", 5000),
            ("C6", "IoU, equal at its own threshold", [0.4, 0.41, 0.4]), ("C8", "queried share", 0.2),
            ("C8", "active_cells_that_differ_where_the_first_grid_touches", 3),
            ("C6", "IoU, surface", [0.6, 0.61, 0.6]), ("C6", "IoU, uniform 64", [0.4, 0.41, 0.4]),
            ("C8", "pieces_smaller_than_a_coarse_cell_found_by_MISE", 1),
            ("C9", "points_occupied_at_a_higher_threshold_only", 2),
            ("C10", "normal consistency after", [0.7, 0.71, 0.7]), ("C10", "meshes_with_another_number_of_vertices", 1),
            ("C11", "dimensions with a KL above 0.01", [0, 0, 0])]


@pytest.mark.parametrize("claim", predicates)
def test_each_predicate_holds_on_good_numbers_and_fails_on_bad_ones(claim):
    assert predicates[claim].evaluate(varied(GOOD[claim])).verdict == "holds"
    name, value = BAD[claim]
    assert predicates[claim].evaluate(varied(GOOD[claim] | {name: value})).verdict == "fails"


@pytest.mark.parametrize("claim", ["C2", "C3", "C4", "C5", "C6", "C7", "C11"])
def test_a_training_that_still_gains_decides_nothing(claim):
    flat, steep = [1.0, 0.5, 0.4, 0.35, 0.33] + [0.32]*7, np.linspace(1, 0, 12).tolist()
    for curve, verdict in ((flat, "holds"), (steep, "undecided")):
        values = varied(GOOD[claim]) | {"validation, one": [flat]*3, "validation, other": [curve]*3}
        assert predicates[claim].evaluate(values).verdict == verdict


def test_one_training_of_surface_sampling_decides_nothing():
    outcome = predicates["C6"].evaluate(varied(GOOD["C6"]) | {"IoU, surface": [0.3]})
    assert outcome.verdict == "undecided"


def test_cells_of_a_record_from_before_pieces_were_counted_apart_all_count():
    values = {k: v for k, v in GOOD["C8"].items() if not k.startswith("active")}
    for cells, verdict in ((0, "holds"), (3, "fails")):
        known = values | {"active_cells_that_differ_from_the_dense_grid": cells}
        assert predicates["C8"].evaluate(known).verdict == verdict


def test_pieces_and_hollows_without_a_coarse_corner_are_put_aside():
    full = torch.zeros(9, 9, 9, dtype=torch.bool)
    full[3:6, 3:6, 3:6] = True                               # has the coarse corner 4, 4, 4
    whole = full.clone()
    full[1, 1, 1] = full[6, 7, 7] = True                     # two pieces between the coarse corners
    found, missed = onet.touched(full, 4)
    assert torch.equal(found, whole) and missed == 2
    hollow = torch.ones(9, 9, 9, dtype=torch.bool)
    hollow[2, 2, 2] = hollow[4, 4, 4] = False
    found, missed = onet.touched(hollow, 4)
    assert missed == 1 and bool(found[2, 2, 2]) and not bool(found[4, 4, 4])


@pytest.mark.parametrize("claim,name,value", ALSO_BAD)
def test_each_part_of_a_predicate_can_fail(claim, name, value):
    assert predicates[claim].evaluate(varied(GOOD[claim] | {name: value})).verdict == "fails"


# ---- networks

def test_published_parameter_counts():
    assert parameter_count(Decoder(256)) == 2_106_625
    assert parameter_count(Decoder(512)) == 3_548_417
    assert parameter_count(occupancy_network("image")) == 13_414_465
    assert parameter_count(occupancy_network("table")) == 5_978_369
    assert parameter_count(occupancy_network("table", shapes=10)) == 3_548_417 + 5120


def test_the_new_decoder_does_not_depend_on_the_code_and_a_trained_one_does():
    with seeded(0): d = Decoder(8, 16, 2).eval()
    p = torch.rand(2, 5, 3, generator=GENERATOR())
    a, b = d(p, torch.zeros(2, 8)), d(p, torch.ones(2, 8))
    torch.testing.assert_close(a, b)
    torch.nn.init.ones_(d.bn.conv_gamma.weight)
    assert (d(p, torch.zeros(2, 8)) - d(p, torch.ones(2, 8))).abs().max() > 1e-3


def test_conditional_norm_by_hand():
    norm = ConditionalNorm(2, 1)
    assert not norm.bn.affine
    norm.conv_gamma.weight.data[:] = torch.tensor([[[1.0], [0.0]]])
    norm.conv_beta.weight.data[:] = torch.tensor([[[0.0], [2.0]]])
    x, c = torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    unit = (x - 4)/math.sqrt(5 + norm.bn.eps)                               # statistics over shapes and points together
    torch.testing.assert_close(norm(x, c), torch.stack([2*unit[0], unit[1] + 6]))
    before = norm.bn.running_mean.clone()
    norm.eval()(x + 100, c)
    assert torch.equal(before, norm.bn.running_mean)                       # evaluation uses and keeps the running means


def test_rows_and_convolutions_of_width_one_agree():
    layer, x = torch.nn.Conv1d(3, 5, 1), torch.rand(2, 7, 3, generator=GENERATOR())
    torch.testing.assert_close(onet.pointwise(layer, x), layer(x.mT).mT)


def test_the_cloud_encoder_ignores_the_order_and_repetition_of_points():
    with seeded(1): encoder = onet.CloudEncoder(8, 16)
    x = torch.rand(2, 20, 3, generator=GENERATOR())
    order = torch.randperm(20, generator=GENERATOR(1))
    torch.testing.assert_close(encoder(x), encoder(x[:, order]))
    torch.testing.assert_close(encoder(x), encoder(torch.cat([x, x[:, :5]], 1)))


@pytest.mark.parametrize("task,x", [("image", torch.rand(2, 3, 64, 64)), ("cloud", torch.rand(2, 30, 3)),
                                    ("voxels", torch.zeros(2, 16, 16, 16)), ("table", torch.tensor([0, 2]))])
def test_every_network_has_a_gradient_everywhere_it_should(task, x):
    with seeded(0):
        net = occupancy_network(task, 8, 16, 2, {"image": 8, "cloud": 8, "voxels": 4, "table": None}[task],
                                shapes=3, resolution=16)
    for m in net.modules():
        if isinstance(m, ConditionalNorm): torch.nn.init.normal_(m.conv_gamma.weight, std=0.5)
    loss = occupancy_loss(net(torch.rand(2, 9, 3, generator=GENERATOR()), net.encode(x)), torch.ones(2, 9))
    loss.backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not missing and net.encoder.state_dict()


def test_double_precision_in_double_precision_out():
    net = occupancy_network("cloud", 8, 16, 2, 8).double()
    out = net(torch.rand(1, 4, 3, dtype=torch.float64), net.encode(torch.rand(1, 9, 3, dtype=torch.float64)))
    assert out.dtype == torch.float64 and out.shape == (1, 4)


def test_the_loss_sums_over_points_and_averages_over_shapes():
    logits = torch.zeros(3, 10)
    assert float(occupancy_loss(logits, logits)) == pytest.approx(10*math.log(2))
    assert (float(occupancy_loss(torch.tensor([[2.0]]), torch.tensor([[1.0]])))
            == pytest.approx(math.log(1 + math.exp(-2))))


def test_kl_by_hand_and_against_pytorch():
    mean, log_deviation = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, math.log(2.0)]])
    torch.testing.assert_close(kl(mean, log_deviation), torch.tensor([[0.0, 0.5*(1 + 4 - 1) - math.log(2)]]))
    q, p = (torch.distributions.Normal(m, s) for m,
            s in ((mean, log_deviation.exp()), (torch.zeros(1, 2), torch.ones(1, 2))))
    torch.testing.assert_close(kl(mean, log_deviation), torch.distributions.kl_divergence(q, p))


def test_the_latent_encoder_looks_at_occupancies():
    with seeded(0): g = LatentEncoder(4, 16)
    p = torch.rand(1, 12, 3, generator=GENERATOR())
    assert (g(p, torch.ones(1, 12))[0] - g(p, torch.zeros(1, 12))[0]).abs().max() > 1e-4


def test_thresholds_are_probabilities():
    assert logit(0.5) == 0 and logit(0.2) == pytest.approx(-1.3863, abs=1e-4)
    for tau in (0.0, 1.0, -1.4):
        with pytest.raises(PaperKitError, match="threshold"): logit(tau)


def test_unknown_words_are_refused():
    with pytest.raises(PaperKitError, match="task"): occupancy_network("sound")
    with pytest.raises(PaperKitError, match="method"): Baseline("NeRF")
    with pytest.raises(PaperKitError, match="sampling"):
        sampled(small_data(), torch.tensor([0]), 4, "corners", GENERATOR())
    with pytest.raises(PaperKitError, match="observed"): observed(small_data(), torch.tensor([0]), "sound", GENERATOR())


# ---- checkpoints of the authors' code

OFFICIAL = {"image": ["encoder.features.conv1.weight", "encoder.features.layer1.0.bn2.running_var",
                      "encoder.features.layer4.1.conv2.weight", "encoder.features.layer2.0.downsample.0.weight",
                      "encoder.fc.bias",
                      "decoder.fc_p.weight", "decoder.block0.bn_0.conv_gamma.weight",
                      "decoder.block4.bn_1.bn.running_mean", "decoder.block2.fc_1.bias", "decoder.bn.conv_beta.bias",
                      "decoder.bn.bn.num_batches_tracked", "decoder.fc_out.weight"],
            "cloud": ["encoder.fc_pos.weight", "encoder.block_0.fc_0.weight", "encoder.block_4.shortcut.weight",
                      "encoder.fc_c.bias"], "voxels": ["encoder.conv_in.weight", "encoder.conv_0.weight",
                                                       "encoder.conv_3.bias", "encoder.fc.weight"],
            "free": ["encoder_latent.fc_pos.weight", "encoder_latent.fc_0.weight", "encoder_latent.fc_3.weight",
                     "encoder_latent.fc_mean.weight", "encoder_latent.fc_logstd.bias", "decoder.fc_z.weight",
                     "decoder.fc_p.weight", "decoder.block0.fc_0.weight", "decoder.block4.fc_1.bias",
                     "decoder.fc_out.bias"]}
SHAPES = {"decoder.fc_p.weight": (256, 3, 1), "decoder.block0.bn_0.conv_gamma.weight": (256, 256, 1),
          "encoder.fc_pos.weight": (1024, 3), "encoder.block_0.fc_0.weight": (512, 1024),
          "encoder.block_4.shortcut.weight": (512, 1024),
          "encoder.conv_3.bias": (512,), "encoder.fc.weight": (256, 4096), "encoder_latent.fc_3.weight": (128, 256)}


@pytest.mark.parametrize("task", OFFICIAL)
def test_a_checkpoint_of_the_authors_code_is_read_strictly(task, tmp_path):
    with seeded(3): source = occupancy_network(task).eval()
    state = {n: torch.rand(t.shape, generator=GENERATOR(4)) if t.is_floating_point() else t for n,
             t in source.state_dict().items()}
    assert set(OFFICIAL[task]) <= set(state)
    for name, shape in SHAPES.items():
        if name in OFFICIAL[task] and not (task == "free" and name == "decoder.fc_p.weight"):
            assert tuple(state[name].shape) == shape
    torch.save({"model": state, "epoch_it": 3, "it": 100, "loss_val_best": 0.5}, tmp_path/"model.pt")
    found = load_official(tmp_path/"model.pt")
    assert not found.training and all(torch.equal(t, state[n]) for n, t in found.state_dict().items())
    del state[OFFICIAL[task][-1]]
    torch.save({"model": state}, tmp_path/"short.pt")
    with pytest.raises(PaperKitError, match="missing"): load_official(tmp_path/"short.pt", task)


def decoder_in_the_layout(kind, code=256, hidden=256):
    "A decoder's tensors under the names of the authors' code: `legacy`, `no resnet` or `no cbn`."
    g, state = GENERATOR(5), {}

    def layer(name, inputs, outputs, convolution=True):
        state[f"{name}.weight"] = torch.randn(outputs, inputs, *([1]*convolution), generator=g)*inputs**-0.5
        state[f"{name}.bias"] = 0.1*torch.randn(outputs, generator=g)

    def norm(name):
        if kind == "no cbn":
            state[f"{name}.weight"], state[f"{name}.bias"] = (torch.rand(hidden, generator=g),
                                                              torch.rand(hidden, generator=g))
        else:
            for part in ("gamma", "beta"):
                layer(f"{name}.{'fc' if kind == 'legacy' else 'conv'}_{part}", code, hidden, kind != "legacy")
            name += ".bn"
        state[f"{name}.running_mean"] = 0.1*torch.randn(hidden, generator=g)
        state[f"{name}.running_var"] = 0.5 + torch.rand(hidden, generator=g)
    layer("fc_p", 3, hidden)
    if kind == "no cbn": layer("fc_c", code, hidden, False)
    for k in range(5):
        if kind == "no resnet":
            norm(f"bn_{k}")
            layer(f"fc_{k}", hidden, hidden)
        else:
            for j in (0, 1):
                norm(f"block{k}.bn_{j}")
                layer(f"block{k}.fc_{j}", hidden, hidden)
    norm("bn_5" if kind == "no resnet" else "bn")
    layer("fc_out", hidden, 1)
    return state


def decoded(kind, state, p, c):
    "The authors' decoder by its formulas: points [b, n, 3] and codes [b, code] to logits [b, n]."
    flat = lambda name: state[f"{name}.weight"].flatten(1)
    linear = lambda name, x: x @ flat(name).T + state[f"{name}.bias"]

    def norm(name, x):
        inner = name if kind == "no cbn" else f"{name}.bn"
        y = (x - state[f"{inner}.running_mean"])/(state[f"{inner}.running_var"] + 1e-5).sqrt()
        if kind == "no cbn": return (y*state[f"{name}.weight"] + state[f"{name}.bias"]).relu()
        prefix = "fc" if kind == "legacy" else "conv"
        return (linear(f"{name}.{prefix}_gamma", c)[:, None]*y + linear(f"{name}.{prefix}_beta", c)[:, None]).relu()
    x = linear("fc_p", p)
    if kind == "no cbn": x = x + linear("fc_c", c)[:, None]
    for k in range(5):
        if kind == "no resnet": x = linear(f"fc_{k}", norm(f"bn_{k}", x))
        else:
            x = x + linear(f"block{k}.fc_1",
                           norm(f"block{k}.bn_1", linear(f"block{k}.fc_0", norm(f"block{k}.bn_0", x))))
    return linear("fc_out", norm("bn_5" if kind == "no resnet" else "bn", x))[..., 0]


@pytest.mark.parametrize("kind, count", [("legacy", 2_106_625), ("no resnet", 1_119_745), ("no cbn", 730_625)])
def test_legacy_checkpoints_and_the_released_ablations_give_their_output(kind, count, tmp_path):
    import numpy as np
    from paper_kit.kit.nn import parameter_count
    state = decoder_in_the_layout(kind)
    with seeded(3): encoder = occupancy_network("image").encoder.state_dict()
    model = {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in state.items()}
    torch.save({"model": model, "it": np.int64(3), "loss_val_best": np.float64(0.5)}, tmp_path/"model_best.pt")
    found = load_official(tmp_path/"model_best.pt")
    p, c = torch.rand(2, 40, 3, generator=GENERATOR(6)) - 0.5, torch.randn(2, 256, generator=GENERATOR(7))
    with torch.no_grad(): torch.testing.assert_close(found(p, c), decoded(kind, state, p, c), atol=1e-4, rtol=1e-4)
    assert parameter_count(found.decoder) == count


def test_other_files_are_no_checkpoint(tmp_path):
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path/"other.pt")
    with pytest.raises(PaperKitError, match="no occupancy network"): load_official(tmp_path/"other.pt")
    (tmp_path/"text.pt").write_text("nothing")
    with pytest.raises(PaperKitError): load_official(tmp_path/"text.pt")


# ---- MISE

@pytest.mark.parametrize("start", [4, 8])
def test_mise_equals_the_dense_grid_and_asks_each_corner_once(start):
    asked = []
    field = lambda p: torch.maximum(ball(0.35, (0.05, 0, 0))(p), ball(0.2, (-0.2, 0.2, 0.1))(p))
    tree = mise(lambda p: asked.append(p) or field(p), 32, start)
    points = torch.cat(asked)
    assert (len(points) == tree.queries == len(torch.unique(points, dim=0)) == sum(l.queries for l in tree.levels)
            < 33**3)
    assert tree.levels[0].queries == (start + 1)**3
    dense = field(torch.cartesian_prod(*[torch.arange(33)*(2*BOX/32) - BOX]*3)).view(33, 33, 33)
    assert torch.equal(tree.values >= 0, dense >= 0)
    a, b = surface_of(tree.values, 0.5), surface_of(dense, 0.5)
    assert torch.equal(a.faces, b.faces) and torch.equal(a.vertices, b.vertices)


def test_the_number_of_queries_by_hand():
    """A half plane in two dimensions: 2 x 2 cells, all corners (9); the upper two cells are active and are cut; their
    15 corners, 6 of them known."""
    tree = mise(lambda p: p[:, 1] - 0.6, 4, 2, low=0.0, high=1.0, dimensions=2)
    assert [l.queries for l in tree.levels] == [9, 9] and [len(l.active) for l in tree.levels] == [2, 4]


def test_a_surface_that_leaves_through_a_face_is_followed():
    "A thin finger whose tip lies in a coarse cell with eight equal corners."
    field = lambda p: torch.maximum(ball(0.25, (-0.2, 0.0, 0.0))(p),
                                    40*(0.04 - torch.maximum((p[:, 1] - 0.07).abs(),
                                                             (p[:, 2] - 0.07).abs()).maximum((p[:, 0] - 0.1).abs()
                                                                                             - 0.3)))
    dense = field(torch.cartesian_prod(*[torch.arange(65)*(2*BOX/64) - BOX]*3)).view(65, 65, 65) >= 0
    with_rule, without = mise(field, 64, 8), mise(field, 64, 8, follow=False)
    assert torch.equal(with_rule.values >= 0, dense)
    assert (dense & (without.values < 0)).sum() > 0


def test_a_component_smaller_than_a_cell_is_missed():
    found = onet.missed_component()
    assert found == {"dense": 2, "from 16": 1, "from 64": 2}


def test_a_grid_that_cannot_be_refined():
    for resolution, start in ((48, 32), (16, 32), (32, 0)):
        with pytest.raises(PaperKitError, match="refined"): mise(ball(), resolution, start)


def test_extraction_closes_at_the_border_and_keeps_the_threshold():
    mesh = extract(lambda p: torch.ones(len(p)), 8, 8, 0.2)                           # full everywhere: the box itself
    assert is_watertight(mesh) and float(mesh.vertices.abs().max()) == pytest.approx(BOX, abs=0.01)
    radii = [float(extract(ball(0.3, sharp=10.0), 32, 8, tau).vertices.norm(dim=1).mean()) for tau in (0.2, 0.5, 0.8)]
    assert radii == pytest.approx([0.3 - logit(t)/10 for t in (0.2, 0.5, 0.8)], abs=2e-3)


# ---- simplification and refinement

def test_simplification_keeps_a_ring_a_ring():
    ring = lambda p: 40*(0.12 - ((p[:, :2].norm(dim=1) - 0.3)**2 + p[:, 2]**2).sqrt())
    mesh = extract(ring, 32, 16, 0.5)
    fewer = simplify(mesh, 600)
    assert len(fewer.faces) <= 602 and is_watertight(fewer) and is_oriented(fewer) and genus(fewer) == 1
    p = fewer.vertices
    assert float((ring(p)/40).abs().max()) < 0.02


def test_a_flat_box_loses_nothing():
    v, f = round_mesh(0)
    mesh = onet.boxes(torch.ones(4, 4, 4, dtype=torch.bool))
    from paper_kit.kit.mesh import merge_vertices
    fewer = simplify(merge_vertices(mesh), 12)
    assert is_watertight(fewer) and len(fewer.faces) <= 60
    assert float(fewer.vertices.abs().amax(0).min()) == pytest.approx(BOX, abs=1e-5) and euler_number(Mesh(v, f)) == 2


def test_refinement_differentiates_twice():
    """For a smooth field the derivative of Eq. 6 by finite differences; without the second derivative it would be
    another."""
    field = lambda p: 8*(0.4 - (p*p.new_tensor([1.0, 1.3, 0.8])).square().sum(-1))
    v, f = round_mesh(0)
    v = (0.55*v).double().requires_grad_()
    loss = lambda v: refinement_loss(Mesh(v, f), field, 0.5, 1.0, GENERATOR(5))
    gradient, = torch.autograd.grad(loss(v), v)
    value = lambda v: float(loss(v).detach())
    for i, k in ((0, 0), (3, 1), (7, 2)):
        step = torch.zeros_like(v)
        step[i, k] = 1e-6
        assert float(gradient[i, k]) == pytest.approx((value(v.detach() + step) - value(v.detach() - step))/2e-6,
                                                      rel=1e-4)


def test_the_normal_term_wants_minus_the_gradient():
    v, f = round_mesh(2)
    right, wrong = Mesh(0.4*v, f), Mesh(0.4*v, f.flip(1))
    field = ball(0.4, sharp=5.0)
    assert (float(refinement_loss(right, field, 0.5, 1.0, GENERATOR()).detach()) < 0.05 < 3.5
            < float(refinement_loss(wrong, field, 0.5, 1.0, GENERATOR()).detach()))


def test_refinement_moves_vertices_to_the_level():
    field = ball(0.4, sharp=10.0)
    v, f = round_mesh(2)
    before = Mesh(0.37*v, f)
    after = refine(before, field, 0.5, 150, rate=1e-3, generator=GENERATOR())
    radius = sample_surface(after, 2000, GENERATOR()).points.norm(dim=1)
    assert (torch.equal(after.faces, f) and float((radius - 0.4).abs().mean()) < 0.005 < 0.03
            <= float((sample_surface(before, 2000, GENERATOR()).points.norm(dim=1) - 0.4).abs().mean()))


# ---- scores, sampling, observations

def test_scores_by_hand():
    a, n = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])
    b, m = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 0.3]]), torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    s = surface_score(a, n, b, m)
    # mean of the two, times ten
    assert s.accuracy == pytest.approx(1.0) and s.completeness == pytest.approx(2.0) and s.chamfer == pytest.approx(1.5)
    assert s.normals == pytest.approx((1.0 + 0.5)/2)                         # absolute: a turned normal counts as right
    assert math.isnan(surface_score(a, None, b, m).normals)


def small_data():
    g = GENERATOR(7)
    points = 2*BOX*torch.rand(2, 400, 3, generator=g) - BOX
    order = torch.argsort(points.norm(dim=-1), dim=1)
    points = points.gather(1, order[..., None].expand(-1, -1, 3))
    filled = (points.norm(dim=-1) < 0.3).sum(1)
    near = 0.3*torch.nn.functional.normalize(torch.randn(2, 200, 3, generator=g), dim=-1)
    surface = 0.3*torch.nn.functional.normalize(torch.randn(2, 300, 3, generator=g), dim=-1)
    near = near + 0.1*torch.randn(near.shape, generator=g)
    return {"points": points, "filled": filled, "near": near, "near_filled": near.norm(dim=-1) < 0.3,
            "surface": surface, "normals": surface/0.3, "fine": torch.ones(2, 32, 32, 32, dtype=torch.bool),
            "voxels": torch.ones(2, 16, 16, 16, dtype=torch.bool),
            "images": torch.randint(0, 255, (2, 2, 3, 64, 64), generator=g, dtype=torch.uint8),
            "cameras": torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 2]]).expand(2, 2, 3, 4),
            "family": torch.tensor([0, 1])}


@pytest.mark.parametrize("how,share", [("uniform", None), ("equal", 0.5), ("surface", None)])
def test_labels_belong_to_their_points(how, share):
    data = small_data()
    p, o = sampled(data, torch.tensor([0, 1]), 64, how, GENERATOR(1))
    assert torch.equal(o > 0.5, p.norm(dim=-1) < 0.3)                         # also after the noise of surface sampling
    if share: assert float(o.mean()) == share
    else: assert o.mean() < 0.45


def test_noise_is_a_two_hundredth_of_the_shape():
    data = small_data()
    x, _ = observed(data, torch.tensor([0]), "cloud", GENERATOR(2), cloud=5000)
    assert float((x.norm(dim=-1) - 0.3).std()) == pytest.approx(0.005, rel=0.1)
    images, cameras = observed(data, torch.tensor([0, 1]), "image", GENERATOR(2))
    assert images.shape == (2, 3, 64, 64) and float(images.max()) <= 1 and cameras.shape == (2, 3, 4)


def test_the_world_is_what_it_says():
    world = onet.world_stage(("sofa",), {"train": 1}, 0, points=1000, surface=400, voxels=16, fine=32,
                             views=1, size=32)["train"]
    shape = onet.sample_family("sofa", 1, np.random.default_rng([0, 11, 0, 0]), rare=0.0, thinnest=0.05,
                               normalize="cube")[0]
    full = shape.inside(world["points"][0])
    assert torch.equal(full, torch.arange(1000) < world["filled"][0])
    assert torch.equal(shape.inside(world["near"][0]), world["near_filled"][0])
    assert float(np.ptp(shape.vertices, axis=0).max()) == pytest.approx(1.0)
    assert abs(float(world["fine"].float().mean())*1.0 - float(world["filled"])/1000*1.1**3) < 0.05
    # the camera sees the surface where the image is not white
    p = torch.cat([world["surface"][0], torch.ones(400, 1)], 1) @ world["cameras"][0, 0].T
    pixel = (32*p[:, :2]/p[:, 2:]).long()
    assert float(world["masks"][0, 0][pixel[:, 1], pixel[:, 0]].float().mean()) > 0.85


# ---- the other methods

def test_the_other_methods_have_the_shapes_of_the_paper():
    c = torch.rand(2, 256)
    assert onet.VoxelDecoder()(c).shape == (2, 32, 32, 32)
    assert onet.PointDecoder()(c).shape == (2, 1024, 3) and onet.PointDecoder().fc_out.out_features == 3072
    uv, faces = onet.square_grid(4)
    assert onet.Sheets()(c, uv).shape == (2, 25, 16, 3) and len(faces) == 18
    assert {n for n, _ in onet.VoxelDecoder().named_children()} == {"fc_in", "conv_out", "convtrp_0",
                                                                    "convtrp_1", "convtrp_2"}


def test_each_patch_is_a_network_of_its_own():
    with seeded(0): sheets = onet.Sheets(4, 3, (8, 8))
    c, uv = torch.rand(2, 4), torch.rand(5, 2)
    out = sheets(c, uv)
    x = torch.cat([c[1].expand(5, 4), uv], 1)
    for k, (w, o) in enumerate(zip(sheets.weight, sheets.offset)): x = (x.relu() if k else x) @ w[2] + o[2]
    torch.testing.assert_close(out[1, 2], x.tanh())


def test_a_bent_ellipsoid_stays_a_ball_and_reads_the_image_where_it_is_seen():
    with seeded(0): net = Baseline("Pixel2Mesh", "image", 8, 8, graph=16, split=1)
    camera = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 2]])[None]
    rounds = net(torch.rand(1, 3, 64, 64), camera)
    assert len(rounds) == 3 and genus(Mesh(rounds[-1][0].detach(), net.decoder.faces)) == 0
    ramp = torch.linspace(0.5, 63.5, 64).expand(64, 64)[None, None]/64
    seen = onet.seen_features([ramp], torch.tensor([[[0.0, 0.3, 0.2], [0.5, 0, 0]]]), camera)
    torch.testing.assert_close(seen[0, :, 0], torch.tensor([0.5, 0.75]))


def test_squared_chamfer_by_hand():
    a, b = torch.tensor([[[0.0, 0, 0]]]), torch.tensor([[[1.0, 0, 0], [0, 2, 0]]])
    assert float(onet.squared_chamfer(a, b)) == pytest.approx(1 + (1 + 4)/2)


@pytest.mark.parametrize("method", ["3D-R2N2", "PSGN", "AtlasNet", "Pixel2Mesh"])
def test_every_method_learns_and_is_judged(method):
    data = small_data()
    size = {"3D-R2N2": dict(channels=(8, 8, 4, 4)), "PSGN": dict(hidden=32, points=64),
            "AtlasNet": dict(widths=(16, 16, 16)),
            "Pixel2Mesh": dict(graph=16, split=1)}[method] | dict(code=8, width=8)
    fitted = onet.baseline_stage(data, method, "image", 0, 8, batch=2, targets=100, rate=5e-3, size=size)
    assert fitted["loss"][-1] < fitted["loss"][0]
    found = onet.judge_stage(data, fitted, 0.5, 16, 8, 200, kept=(1,))
    assert len(found["chamfer"]) == 2 and len(found["meshes"]) == 1 and all(math.isfinite(c) for c in found["chamfer"])
    assert len(found["IoU"]) == (0 if method in ("PSGN", "AtlasNet") else 2)


# ---- stages

@pytest.mark.parametrize("task", ["image", "cloud", "voxels"])
def test_a_network_learns_and_is_judged(task):
    data = small_data()
    fitted = onet.network_stage(data, task, 0, 30, 2, 64, rate=1e-2,
                                size=dict(hidden=16, code=8, blocks=2, width=8) | (dict(resolution=16)
                                                                                   if task == "voxels" else {}))
    assert fitted["loss"][-1] < 0.8*fitted["loss"][0]
    again = onet.network_stage(data, task, 0, 30, 2, 64, rate=1e-2,
                               size=dict(hidden=16, code=8, blocks=2, width=8) | (dict(resolution=16)
                                                                                  if task == "voxels" else {}))
    assert all(torch.equal(t, again["state"][n]) for n, t in fitted["state"].items())
    assert min(onet.threshold_stage(data, fitted)["IoU"]) >= 0
    assert len(onet.judge_stage(data, fitted, 0.5, 16, 8, 200)["IoU"]) == 2


def test_points_by_strata_have_the_expectation_of_uniform_ones():
    """Weighted sums of a function over points by strata against its mean over all stored points; the share close to the
    surface is the one asked for; the strata may be empty."""
    data = small_data()
    order, close = zip(*map(onet.close_first, data["points"], data["surface"]))
    for o, c, p, surface in zip(order, close, data["points"], data["surface"]):
        d = torch.cdist(p, surface).amin(1)[o.long()]
        assert 0 < int(c) < len(p) and d[:c].max() < 0.03 <= d[c:].min() and sorted(o.tolist()) == list(range(len(p)))
    data |= {"order": torch.stack(order), "close": torch.stack(close)}
    rows, k = torch.tensor([1, 0]), 200000
    p, o, weight = onet.by_strata(data, rows, k, GENERATOR(), share=0.75)
    function = lambda x: (3*x).cos().sum(-1) + x[..., 0]
    torch.testing.assert_close((function(p)*weight).sum(1)/k, function(data["points"][rows]).mean(1), atol=0.01, rtol=0)
    torch.testing.assert_close((o*weight).sum(1)/k, data["filled"][rows]/data["points"].shape[1], atol=0.01, rtol=0)
    torch.testing.assert_close(weight.sum(1), torch.full((2,), float(k)), rtol=1e-4, atol=0)
    assert ((torch.cdist(p[0, :1500], data["surface"][1]).amin(1) < 0.03).all()
            and not (torch.cdist(p[0, -1500:], data["surface"][1]).amin(1) < 0.03).any())
    for count in (0, data["points"].shape[1]):
        _, _, weight = onet.by_strata(data | {"close": torch.full((2,), count)}, rows, 100, GENERATOR())
        assert torch.allclose(weight.sum(1), torch.tensor(100.0)) and weight.isfinite().all()


def test_weights_count_in_the_loss_by_hand():
    logits, occupied, weight = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.5]])
    assert (float(occupancy_loss(logits, occupied, weight))
            == pytest.approx(3*math.log(2) + 0.5*math.log(1 + math.exp(2)), rel=1e-5))


def test_the_latent_training_weighs_the_sum_over_all_points_against_the_divergence():
    """A new decoder knows nothing of z and is nearly 0: about `total` ln 2 nats whatever number of points is asked, by
    strata or not."""
    data = small_data()
    order, close = zip(*map(onet.close_first, data["points"], data["surface"]))
    data |= {"order": torch.stack(order), "close": torch.stack(close)}
    for asked, sampling in ((None, "uniform"), (64, "uniform"), (64, "strata")):
        fitted = onet.latent_stage(data, 0, 1, 2, 256, asked, total=2048, sampling=sampling,
                                   size=dict(hidden=16, code=8, blocks=2, width=16))
        assert (fitted["losses"]["cross-entropy"][0] == pytest.approx(2048*math.log(2), rel=0.35)
                and fitted["losses"]["KL"][0] > 0)


def test_validation_asks_the_same_of_shapes_that_are_not_trained_on():
    data, size = small_data(), dict(hidden=16, code=16, blocks=2, width=4)
    train, val = ({k: v[i:i + 1] if len(v) == 2 else v for k, v in data.items()} for i in (0, 1))
    measured = []
    def loss(b): measured.append(b); return b["o"].mean()
    ask = onet.asked_again(val, "cloud", loss, 0, points=32)
    assert onet.asked_again(None, "cloud", loss, 0) is None and ask() == ask()
    assert torch.equal(measured[0]["p"], measured[1]["p"]) and measured[0]["p"].shape == (1, 32, 3)
    fitted = onet.network_stage(train, "cloud", 0, 20, 1, 16, size=size, val=val)
    again = onet.network_stage(train, "cloud", 0, 20, 1, 16, size=size)
    assert len(fitted["validation"]) == 20 and again["validation"] == [] and fitted["loss"] == again["loss"]


def test_the_voxel_limit_by_definition():
    "A grid of one cell asks the centre of the box only: full or empty for all points."
    found = onet.voxel_limit_stage(("sofa",), 1, 0, (1, 64), points=3000)
    assert found["1"][0] < 0.3 < 0.75 < found["64"][0]


@pytest.mark.parametrize("task", ["image", "cloud", "voxels", "table", "free"])
def test_one_step_of_the_full_size(task):
    s = SIZES["gpu"]
    data = small_data() | {"voxels": torch.ones(2, 32, 32, 32, dtype=torch.bool)}
    fitted = (onet.latent_stage(data, 0, 1, 2, 16, size=s[task]["size"]) if task == "free"
              else onet.network_stage(data, task, 0, 1, 2, 16, size=s[task]["size"]))
    assert len(fitted["loss"]) == 1 and math.isfinite(fitted["loss"][0])


# ---- the real layouts, in miniature

def write_model(folder, seed=0, half=True, views=2, edge=4):
    from PIL import Image
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    points = rng.uniform(-0.55, 0.55, (100, 3)).astype(np.float16 if half else np.float32)
    full = np.linalg.norm(points.astype(float), axis=1) < 0.3
    np.savez(folder/"points.npz", points=points, occupancies=np.packbits(full), loc=np.zeros(3),
             scale=np.float64(1.5), z=np.zeros(1))
    np.savez(folder/"pointcloud.npz", points=points, normals=points, loc=np.zeros(3), scale=1.0)
    grid = np.zeros((edge,)*3, bool)
    grid[1, 2, 3] = True                                                               # x, y, z
    flat = grid.transpose(0, 2, 1).reshape(-1)
    at = int(flat.argmax())
    pairs = lambda value, n: [value, 255]*(n//255) + [value, n % 255]
    head = f"#binvox 1\ndim {edge} {edge} {edge}\ntranslate 0 0 0\nscale 1\ndata\n".encode()
    (folder/"model.binvox").write_bytes(head + bytes(pairs(0, at) + [1, 1] + pairs(0, edge**3 - 1 - at)))
    (folder/"img_choy2016").mkdir()
    for i in range(views):
        Image.fromarray(rng.integers(0, 255, (137, 137, 3), dtype=np.uint8)).save(folder/"img_choy2016"/f"{i:03d}.jpg")
    np.savez(folder/"img_choy2016/cameras.npz", **{f"world_mat_{i}": np.eye(4)[:3] for i in range(views)},
             **{f"camera_mat_{i}": np.eye(3) for i in range(views)})
    return points, full


@pytest.fixture
def shapenet(tmp_path):
    base = tmp_path/"03001627"
    points, full = write_model(base/"good")
    write_model(base/"corrupt", 1); write_model(base/"short", 2); write_model(base/"nan", 3)
    write_model(base/"missing", 4)
    (base/"corrupt/points.npz").write_bytes(b"PK nonsense")
    with np.load(base/"nan/points.npz") as f: arrays = dict(f)
    arrays["points"][:3] = np.nan
    np.savez(base/"nan/points.npz", **arrays)
    arrays["occupancies"] = arrays["occupancies"][:5]
    np.savez(base/"short/points.npz", **arrays)
    (base/"missing/model.binvox").unlink()
    (base/"train.lst").write_text("good\ncorrupt\nshort\nnan\nmissing\n")
    return tmp_path, points, full


def test_the_published_packaging_of_shapenet(shapenet):
    root, points, full = shapenet
    assert datasets.find("shapenet_occupancy", root) == root
    found, left = onet.load_shapenet_occupancy(root, "03001627", skip=True, size=64)
    assert [f["model"] for f in found] == ["good", "nan"] and [m for m, _ in left] == ["corrupt", "short", "missing"]
    good, nan = found
    assert (torch.equal(good["occupancies"].inside, torch.from_numpy(full)) and good["occupancies"].scale == 1.5
            and good["occupancies"].dropped == 0)
    torch.testing.assert_close(good["occupancies"].points, torch.from_numpy(points.astype(np.float32)))
    assert nan["occupancies"].dropped == 3 and len(nan["occupancies"].points) == 97
    assert good["voxels"].nonzero().tolist() == [[1, 2, 3]]
    assert good["images"].shape == (2, 3, 64, 64) and good["world"].shape == (2, 3, 4)
    with pytest.raises(PaperKitError, match="points.npz"): onet.load_shapenet_occupancy(root, "03001627", views=False)
    jittered = onet.read_occupancies(root/"03001627/good/points.npz", GENERATOR()).points
    assert 0 < float((jittered - good["occupancies"].points).abs().max()) < 1e-3


def test_a_class_of_the_packaging_becomes_rows_of_the_worlds_tensors(shapenet):
    "Frames by hand: x in ShapeNet's frame is scale times the stored one plus loc; 137 pixels are one picture."
    root, points, full = shapenet
    for split in ("val", "test"): (root/f"03001627/{split}.lst").write_text("good\n")
    folder = root/"03001627/good"
    with np.load(folder/"points.npz") as f: arrays = dict(f) | {"loc": np.array([0.1, -0.2, 0.3])}
    np.savez(folder/"points.npz", **arrays)
    world = np.array([[0.0, -1, 0, 0.2], [1, 0, 0, 0.1], [0, 0, 1, 2.0]])
    K = np.array([[150.0, 0, 68.5], [0, 150, 68.5], [0, 0, 1]])
    np.savez(folder/"img_choy2016/cameras.npz", **{f"world_mat_{i}": world for i in range(2)},
             **{f"camera_mat_{i}": K for i in range(2)})
    source = datasets.Source("shapenet_occupancy", root, "0")
    options = dict(points=64, surface=32, fine=4, views=2, size=16, reach=0.05)
    found = onet.shapenet_stage(source, ("chair",), {"train": 2, "val": 1, "test": 1}, 0, **options)
    assert len(found["train"]["points"]) == 2 and len(found["test"]["points"]) == 1
    row = {k: v[0] for k, v in found["test"].items()}
    inside = torch.arange(64) < row["filled"]
    at = [int(np.abs(points.astype(np.float32) - p.numpy()).sum(1).argmin()) for p in row["points"]]
    assert sorted(set(at)) == sorted(at) and [bool(full[k]) for k in at] == inside.tolist()
    x = row["points"][0].double().numpy()
    there = K @ (world[:, :3] @ (1.5*x + [0.1, -0.2, 0.3]) + world[:, 3])
    seen = row["cameras"][0].double().numpy() @ np.append(x, 1)
    np.testing.assert_allclose(seen[:2]/seen[2], there[:2]/there[2]/137, atol=1e-6)
    assert row["images"].shape == (2, 3, 16, 16) and row["images"].dtype == torch.uint8 and row["order"].shape == (64,)
    with pytest.raises(PaperKitError, match="too few models"):
        onet.shapenet_stage(source, ("chair",), {"train": 3, "val": 1, "test": 1}, 0, **options)
    with pytest.raises(PaperKitError, match="another size"):
        onet.shapenet_stage(source, ("chair",), {"train": 1, "val": 1, "test": 1}, 0, **(options | {"fine": 8}))


def test_table_1_from_the_packaging(tmp_path):
    write_model(tmp_path/"03001627/good", edge=32)
    for split in ("train", "val", "test"): (tmp_path/f"03001627/{split}.lst").write_text("good\n")
    s = SIZES["smoke"] | {"families": ["chair"], "counts": {"train": 1, "val": 1, "test": 1}}
    s["world"] = dict(points=128, surface=64, fine=32, views=2, size=64)
    s["judge"] = dict(resolution=8, start=4, count=64)
    class Run:
        seed, pick, seeds = 0, lambda self, **sizes: s, lambda self, count: [0]
        def stage(self, fn, **given): return fn(**given)
    found = onet.real_stages(Run(), datasets.Source("shapenet_occupancy", tmp_path, "0"))
    row = onet.table_1(found, ["chair"]).set_index("category").loc["chair"]
    assert np.isfinite(row[["IoU ONet", "IoU R2N2", "CD PSGN", "CD AtlasNet", "CD P2M"]].astype(float)).all()


def test_faults_of_the_packaging_are_named(shapenet):
    root = shapenet[0]
    with pytest.raises(PaperKitError, match="test.lst"): onet.models_of(root, "03001627", "test")
    (root/"03001627/odd.lst").write_text("../../etc\n")
    with pytest.raises(PaperKitError, match="split"): onet.models_of(root, "03001627", "odd")
    folder = root/"03001627/good"
    for content in (b"ply\n", b"#binvox 1\ndim 9999 4 4\ndata\n\x00\x40", b"#binvox 1\ndim 4 4 4\ndata\n\x00\x3f"):
        (folder/"model.binvox").write_bytes(content)
        with pytest.raises(PaperKitError, match="voxels"): onet.read_binvox(folder/"model.binvox")
    np.savez(folder/"img_choy2016/cameras.npz", world_mat_0=np.eye(4)[:3], camera_mat_0=np.eye(3))
    with pytest.raises(PaperKitError, match="world_mat_1"): onet.read_views(folder/"img_choy2016")
    np.savez(folder/"img_choy2016/cameras.npz", **{f"world_mat_{i}": np.full((3, 4), np.nan) for i in range(2)},
             **{f"camera_mat_{i}": np.eye(3) for i in range(2)})
    with pytest.raises(PaperKitError, match="finite"): onet.read_views(folder/"img_choy2016")
    np.savez(folder/"pointcloud.npz", points=np.full((4, 3), np.nan), normals=np.zeros((4, 3)))
    with pytest.raises(PaperKitError, match="cloud"): onet.read_pointcloud(folder/"pointcloud.npz")


def test_kitti_cars(tmp_path):
    from PIL import Image
    (tmp_path/"training/image_2").mkdir(parents=True); (tmp_path/"training/instance").mkdir()
    image, marks = np.full((40, 80, 3), 100, np.uint8), np.zeros((40, 80), np.uint16)
    image[10:20, 20:50] = (255, 0, 0)
    marks[10:20, 20:50] = 26*256 + 1; marks[30:35, 60:70] = 26*256 + 2; marks[0:9, 0:70] = 7*256
    Image.fromarray(image).save(tmp_path/"training/image_2/000001_10.png")
    Image.fromarray(marks).save(tmp_path/"training/instance/000001_10.png")
    assert datasets.find("kitti_semantics", tmp_path) == tmp_path
    cars = onet.kitti_cars(tmp_path, "000001_10", least=100, size=32)
    assert len(cars) == 1 and len(onet.kitti_cars(tmp_path, "000001_10", least=10, size=32)) == 2
    torch.testing.assert_close(cars[0][:, 16, 16], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(cars[0][:, 0, 0], torch.ones(3))
    with pytest.raises(PaperKitError, match="no such file"): onet.kitti_cars(tmp_path, "000002_10")
    (tmp_path/"training/instance/000001_10.png").write_bytes(b"x")
    with pytest.raises(PaperKitError, match="image"): onet.kitti_cars(tmp_path, "000001_10")
    Image.fromarray(marks[:20]).save(tmp_path/"training/instance/000001_10.png")
    with pytest.raises(PaperKitError, match="fit"): onet.kitti_cars(tmp_path, "000001_10")


def test_online_products(tmp_path):
    from PIL import Image
    (tmp_path/"chair_final").mkdir()
    Image.fromarray(np.zeros((20, 10, 3), np.uint8)).save(tmp_path/"chair_final/a.JPG", "JPEG")
    (tmp_path/"chair_final/b.JPG").write_bytes(b"broken")
    (tmp_path/"Ebay_test.txt").write_text("image_id class_id super_class_id path\n1 1 1 chair_final/a.JPG\n2 1 1 "
                                          "chair_final/b.JPG\n3 2 2 sofa_final/c.JPG\n4 2 1 chair_final/gone.JPG\n")
    assert datasets.find("online_products", tmp_path) == tmp_path
    found, left = onet.online_products(tmp_path, size=16, skip=True)
    assert [n for n, _ in found] == ["chair_final/a.JPG"] and [n for n, _ in left] == ["chair_final/b.JPG",
                                                                                       "chair_final/gone.JPG"]
    # tall photo, white beside it
    assert float(found[0][1][:, 8, 8].max()) == 0 and float(found[0][1][:, 8, 0].min()) > 0.999
    with pytest.raises(PaperKitError, match="image"): onet.online_products(tmp_path)
    with pytest.raises(PaperKitError, match="list"): onet.online_products(tmp_path, kind="lamp")


def test_pix3d(tmp_path):
    from PIL import Image
    for kind in ("img", "mask", "model"): (tmp_path/kind/"chair").mkdir(parents=True)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path/"img/chair/0001.png")
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    Image.fromarray(mask).save(tmp_path/"mask/chair/0001.png")
    Image.fromarray(mask[:9]).save(tmp_path/"mask/chair/0002.png")
    row = {"category": "chair", "img": "img/chair/0001.png", "mask": "mask/chair/0001.png",
           "model": "model/chair/a/model.obj", "rot_mat": np.eye(3).tolist(), "trans_mat": [0, 0, 1],
           "focal_length": 35}
    rows = [row, row | {"mask": "mask/chair/0002.png"}, row | {"trans_mat": [0, 0, float("nan")]},
            row | {"img": "img/chair/none.png"}, row | {"category": "bed"}]
    (tmp_path/"pix3d.json").write_text(json.dumps(rows))
    found, left = onet.pix3d_entries(tmp_path, size=16, skip=True)
    assert (len(found) == 1 and len(left) == 3 and float(found[0]["image"][:, 8, 8].max()) == 0
            and found[0]["rotation"].shape == (3, 3))
    with pytest.raises(PaperKitError, match="fit"): onet.pix3d_entries(tmp_path)
    (tmp_path/"pix3d.json").write_text("{")
    with pytest.raises(PaperKitError, match="list"): onet.pix3d_entries(tmp_path)


def test_an_empty_mask_is_refused():
    with pytest.raises(PaperKitError, match="mask"): onet.framed(torch.rand(3, 8, 8), torch.zeros(8, 8))


# ---- drawing

def test_boxes_are_closed_and_as_large_as_their_cells():
    from paper_kit.kit.mesh import merge_vertices, volume
    full = torch.zeros(3, 3, 3, dtype=torch.bool)
    full[0, 1, 1] = full[1, 1, 1] = True
    mesh = onet.boxes(full, 1.5)
    assert len(mesh.faces) == 2*10 and float(volume(mesh)) == pytest.approx(2.0) and is_watertight(merge_vertices(mesh))


def test_the_grid_of_a_voxel_decoder_lies_where_the_voxels_of_the_world_lie():
    "Logits that repeat a ball's voxels give a ball of that radius in the same place."
    full = grid_points(32, -0.5, 0.5, "centres").sub(torch.tensor([0.1, 0.0, 0.0])).norm(dim=-1) < 0.25
    mesh = surface_of(10*(2*full.float() - 1), 0.5, "centres", 0.5)
    torch.testing.assert_close(mesh.vertices.mean(0), torch.tensor([0.1, 0.0, 0.0]), atol=0.01, rtol=0)
    assert float((mesh.vertices - torch.tensor([0.1, 0, 0])).norm(dim=1).mean()) == pytest.approx(0.25, abs=0.01)


# ---- the chairs that two pages share

def test_a_function_that_knows_the_chairs_scores_as_the_truth(monkeypatch):
    from types import SimpleNamespace
    chairs = onet.chairs_of({"table": {"count": 2}}, 0)
    monkeypatch.setattr(onet, "restored", lambda fitted,
                        device=None: SimpleNamespace(encoder=SimpleNamespace(weight=[0, 1])))
    monkeypatch.setattr(onet, "field_of", lambda network, c: lambda p: -40*chairs[c].signed_distance(p))
    found = onet.shown_stage({}, 0, 2, [1], 0.5, points=2000, resolution=64, start=32, samples=3000)
    assert (min(found["IoU"]) > 0.98 and found["rows"] == [1] and found["genus"] == [chairs[1].genus]
            and 0 < found["chamfer"][0] < 0.2)
    # the other chair
    monkeypatch.setattr(onet, "field_of", lambda network, c: lambda p: -40*chairs[1 - c].signed_distance(p))
    wrong = onet.shown_stage({}, 0, 2, [1], 0.5, points=2000, resolution=64, start=32, samples=3000)
    assert (max(wrong["IoU"]) < 0.6 and wrong["chamfer"][0] > 2*found["chamfer"][0]
            and wrong["volume"] == found["volume"])


def test_a_splinter_that_the_first_grid_does_not_touch_is_named_with_its_size(monkeypatch):
    from types import SimpleNamespace
    step = 2*BOX/8
    middle = torch.tensor([-BOX + 6.5*step]*3)                               # in the middle of a cell of the first grid
    both = lambda p: torch.maximum(ball(0.25, (-0.1, -0.1, -0.1))(p), ball(0.25*step, tuple(middle.tolist()))(p))
    monkeypatch.setattr(onet, "restored", lambda fitted,
                        device=None: SimpleNamespace(encoder=SimpleNamespace(weight=[0, 1])))
    monkeypatch.setattr(onet, "field_of", lambda network, c: (ball(0.25, (-0.1, -0.1, -0.1)), both)[c])
    found = onet.unseen_stage({}, [0, 1], 0.5, resolution=64, start=8)
    assert (found["lacking"][0] == 0 and found["lacking"][1] == found["pieces"][0]["triangles"] > 0
            and [p["shape"] for p in found["pieces"]] == [1])
    assert found["pieces"][0]["extent"] == pytest.approx([0.5]*3, abs=0.02)
    assert "chair 1: 0.5 × 0.5 × 0.5" in onet.mise_why(found) and "All else is equal" in onet.mise_why(found)
    assert onet.mise_why({"shape": [], "lacking": [], "pieces": []}) == ""
    assert "3 triangles differ beside" in onet.mise_why(found | {"lacking": [0, found["lacking"][1] + 3]})


def test_both_pages_publish_their_half_of_one_figure():
    """The rows of the two tables name the same chairs, with the same genus and the same volume of the truth; both
    manifests put their half on the page of the wing."""
    root, halves = project_root(), []
    for slug, table, figure in (("occupancy_networks", "Table E3", "Figure E4"), ("deepsdf", "Table E2", "Figure E1")):
        record, manifest = (json.loads((root/f"data/results/{slug}.json").read_text(encoding="utf-8")),
                            load_manifest(root/f"data/papers/{slug}.yaml"))
        entry = manifest.entry("figures", figure)
        assert entry["overview"] and not entry.get("owed") and figure in record["figures"]
        columns, rows = record["tables"][table]["columns"], record["tables"][table]["rows"]
        halves.append([dict(zip(columns, row)) for row in rows])
    chairs = [[row for row in half if row["genus"] is not None] for half in halves]
    means = [[row for row in half if row["chair"].startswith("mean of 60, training")] for half in halves]
    assert len(chairs[0]) == len(chairs[1]) == 5 and all(means)
    assert all(len(c) + len(m) == len(half) for c, m, half in zip(chairs, means, halves)), "nothing else is in them"
    for a, b in (*zip(*chairs), *zip(*means)):
        assert (a["chair"], a["genus"]) == (b["chair"], b["genus"]) and (a["volume"] == b["volume"]
                                                                         or a["volume"] == pytest.approx(
                                                                             b["volume"], rel=1e-9))
        assert 0 < a["IoU"] <= 1 and 0 < b["IoU"] <= 1


# ---- the shipped weights

def shipped(tmp_path, monkeypatch):
    from paper_kit.kit import weights
    size = SIZES["cpu"]["free"]["size"]
    with onet.seeded(0): network = occupancy_network("free", **size).eval()
    file = tmp_path/"weights.safetensors"
    decoder = {k: v for k, v in network.state_dict().items() if not k.startswith("encoder_latent")}
    file.write_bytes(weights.weights_bytes(decoder, size=size, family="chair"))
    monkeypatch.setattr(weights, "weights_file", lambda slug: file)
    return network, file


def test_shipped_weights_are_the_generative_model(tmp_path, monkeypatch):
    network, file = shipped(tmp_path, monkeypatch)
    again, z, p = onet.pretrained(), torch.randn(2, 16, generator=GENERATOR(1)), torch.rand(2, 30, 3) - 0.5
    assert file.stat().st_size <= 200_000 and not any(w.requires_grad for w in again.parameters())
    with torch.no_grad(): assert torch.allclose(again(p, z), network(p, z), atol=5e-3)


def test_the_first_lines_under_use_it_run(tmp_path, monkeypatch):
    import json
    import re
    shipped(tmp_path, monkeypatch)
    cells = json.loads((project_root()/"nbs/shape3d/occupancy_networks.ipynb").read_text(encoding="utf-8"))["cells"]
    text = next(t for t in ("".join(c["source"]) for c in cells) if t.startswith("## Use it"))
    monkeypatch.chdir(tmp_path)
    answers = lambda network, code: network(torch.zeros(1, 1, 3), code[None]).shape == (1, 1)
    monkeypatch.setattr(onet, "field_of", lambda network, code: ball() if answers(network, code) else None)
    exec(re.findall(r"```python\n(.*?)```", text, re.S)[0].replace("resolution=64", "resolution=32"), {})  # noqa: S102
    from paper_kit.kit.mesh import read_mesh
    assert abs(read_mesh("chair.ply").vertices.norm(dim=1).mean() - (0.4 - logit(0.2)/40)) < 2e-3
