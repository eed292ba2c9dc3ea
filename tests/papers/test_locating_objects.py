"""What the notebook of locating_objects cannot hold: hand-computed checks, gradients, predicates that must fail,
layouts of files and checkpoints in miniature, bad inputs."""
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from paper_kit.kit.datasets import Source
from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.nn import parameter_count, seeded
from paper_kit.kit.paper import load_manifest
from paper_kit.learning import locating_objects as m
from paper_kit.learning.locating_objects import predicates, stages

SMALL = m.SIZES["smoke"]


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"locating_objects.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"

def test_the_stages_can_be_called_without_a_notebook():
    assert callable(stages)


# the distance

def test_the_distances_by_hand():
    X, Y = np.array([[0.0, 0], [0, 4]]), np.array([[0.0, 1]])
    assert m.hausdorff(X, Y) == 3 and m.average_hausdorff(X, Y) == pytest.approx((1 + 3)/2 + 1)
    none = np.zeros((0, 2))
    assert m.average_hausdorff(none, Y, 7.0) == 7 and m.average_hausdorff(none, none, 7.0) == 0

def test_both_terms_by_hand():
    """Two by two, p = 1/2, one point in a corner: d = 0, 1, 1, sqrt 2; f = d/2 + sqrt 2 (longest 2 sqrt 2)."""
    d = np.array([0, 1, 1, math.sqrt(2)])
    expected = [d.mean()*2/(2 + 1e-6), 4/(1/(d/2 + math.sqrt(2))).sum()]
    found = m.whd_terms(torch.full((1, 2, 2), 0.5).double(), torch.zeros(1, 1, 2), torch.tensor([1]))
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-12)

@pytest.mark.parametrize("alpha", [-1.0, -2.5, -8.0])
@pytest.mark.parametrize("block", [8, 2, -2])
def test_blocks_and_kernel_are_the_table_and_so_are_their_gradients(alpha, block):
    g = torch.Generator().manual_seed(0)
    p = torch.rand(2, 5, 6, generator=g, dtype=torch.float64).requires_grad_()
    y, n = torch.randint(0, 5, (2, 3, 2), generator=g).double(), torch.tensor([3, 2])
    y[0] += 0.37
    scale = torch.tensor([[1.0, 2], [1.5, 0.7]]).double()
    run = lambda q: m.whd_terms(q, y, n, scale, alpha=alpha, block=block)
    for k in range(2):
        plain = m.whd_naive(p[k], y[k, :n[k]], alpha, scale=scale[k].tolist())
        torch.testing.assert_close(run(p)[k], plain, atol=1e-10, rtol=1e-10)
    assert torch.autograd.gradcheck(run, (p,))

def test_binary_maps_at_minus_infinity_are_the_average_hausdorff_distance():
    found = m.identities_stage(3, cases=4)
    assert max(found["limit"]) < 1e-9 and max(found["at truth"]) < 1e-9 and min(found["elsewhere"]) > 0
    assert all((np.diff(gap) < 0).all() for gap in found["gap"])

@pytest.mark.parametrize("alpha", [-1.0, -16.0, -64.0, -math.inf])
def test_a_map_with_a_lit_point_is_finite_in_single_precision(alpha):
    p = torch.zeros(1, 9, 9)
    p[0, 4, 4] = 1
    p.requires_grad_()
    value = m.whd_terms(p, torch.tensor([[[4.0, 4]]]), torch.tensor([1]), alpha=alpha).sum()
    value.backward()
    assert value.abs() < 1e-4 and p.grad.isfinite().all()

def test_an_image_without_objects_asks_for_an_empty_map():
    p = torch.rand(2, 4, 4).double().requires_grad_()
    terms = m.whd_terms(p, torch.zeros(2, 1, 2), torch.tensor([0, 1]))
    assert terms[0, 0] == 0 and terms[0, 1].item() == pytest.approx(math.hypot(4, 4)*p[0].mean().item())
    terms.sum().backward()
    assert (p.grad[0] > 0).all()

def test_padding_turning_and_scaling_do_what_they_should():
    g = torch.Generator().manual_seed(1)
    p, y = torch.rand(1, 7, 7, generator=g).double(), torch.randint(0, 7, (1, 2, 2), generator=g).double()
    n = torch.tensor([2])
    value = m.whd_terms(p, y, n)
    padded = torch.cat([y, torch.full((1, 3, 2), 99.0).double()], 1)
    torch.testing.assert_close(m.whd_terms(p, padded, n), value)
    torch.testing.assert_close(m.whd_terms(p.mT, y.flip(2), n), value)
    twice = torch.full((1, 2), 2.0)
    torch.testing.assert_close(m.whd_terms(p, y, n, twice, eps=0.0), 2*m.whd_terms(p, y, n, eps=0.0))
    released = m.whd_terms(p, y, n, released=True)
    assert released[0, 1] > value[0, 1] and released[0, 1] - value[0, 1] < 1e-4

def test_bad_maps_and_points_are_refused():
    with pytest.raises(PaperKitError, match="do not fit"): m.whd_terms(torch.rand(3, 3), torch.zeros(1, 1, 2),
                                                                      torch.tensor([1]))
    with pytest.raises(PaperKitError, match="do not fit"):
        m.whd_terms(torch.rand(1, 3, 3), torch.zeros(1, 1, 2), torch.tensor([1]), alpha=1.0)


# the network

def test_the_published_networks_have_their_numbers_of_parameters():
    with torch.device("meta"):
        assert parameter_count(m.Locator(m.FULL)) == 64_831_106
        assert parameter_count(m.Locator(m.FULL, count=False)) == 60_603_777
        assert parameter_count(m.Locator(m.PUPIL, count=False)) == 6_015_873

NAMES = {"inc.conv.conv.0.weight": (64, 3, 3, 3), "inc.conv.conv.4.running_var": (64,),
         "down8.mpconv.1.conv.2.weight": (512, 512, 3, 3), "up1.conv.conv.0.weight": (512, 1024, 3, 3),
         "up5.conv.conv.0.weight": (256, 1024, 3, 3), "up8.conv.conv.2.weight": (64, 64, 3, 3),
         "outc.conv.weight": (1, 64, 1, 1), "branch_1.0.weight": (64, 512), "branch_2.0.weight": (64, 65536),
         "regressor.0.weight": (1, 128)}

def test_the_authors_names_and_shapes():
    with torch.device("meta"): full, pupil = (m.Locator(w).state_dict() for w in (m.FULL, m.PUPIL))
    assert {n: tuple(full[n].shape) for n in NAMES} == NAMES and "down8.mpconv.1.conv.1.running_mean" not in full
    assert tuple(pupil["up1.conv.conv.0.weight"].shape) == (128, 768, 3, 3)

def test_a_checkpoint_in_the_authors_layout_loads_and_gives_its_output(tmp_path):
    "train.py saves epoch, model (of a DataParallel), optimizer; names and shapes of unet_model.py. A small side."
    with seeded(1): theirs = m.Locator(m.PUPIL, 16, count=False)
    for buffer in theirs.buffers():
        if buffer.is_floating_point(): buffer.uniform_(0.5, 1.5)
    state = {f"module.{n}": t for n, t in theirs.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save({"epoch": 3, "model": state | {"module.lin.weight": torch.ones(1, 1)}}, tmp_path/"a.ckpt")
    ours, x = m.load_official(tmp_path/"a.ckpt", 16), torch.rand(2, 3, 16, 16)
    with torch.no_grad(): torch.testing.assert_close(ours(x)[0], theirs.eval()(x)[0], atol=1e-4, rtol=0)
    torch.save({"model": {"fc.weight": torch.zeros(2)}}, tmp_path/"b.ckpt")
    with pytest.raises(PaperKitError, match="no network"): m.load_official(tmp_path/"b.ckpt")
    (tmp_path/"c.ckpt").write_bytes(b"torn")
    with pytest.raises(PaperKitError): m.load_official(tmp_path/"c.ckpt")

def test_bad_sizes_are_refused():
    with pytest.raises(PaperKitError, match="halved"): m.Locator((4, 8, 8), 18)
    with pytest.raises(PaperKitError, match="no images"): m.Locator((4, 8, 8), 16)(torch.rand(1, 3, 20, 16))

def part_of(data, size=2): return {k: t[:size] for k, t in data.items()}

@pytest.mark.parametrize("method", ["whd", "whd,alpha=-2", "one-hot", "gaussian", "density", "detector"])
def test_every_method_trains_a_step(method):
    data = m.world_stage("heads", "train", 3, SMALL, 0)
    with seeded(0): network = m.built("heads", method, SMALL).train()
    loss = m.loss_of(network, method, part_of(data, 3), torch.Generator().manual_seed(0), True)
    loss = sum(loss.values()) if isinstance(loss, dict) else loss
    loss.backward()
    assert loss.isfinite() and any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())

def test_a_count_of_nothing_can_rise_and_does_not_fall():
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 3.0], requires_grad=True)
    y = m.NotNegative()(x)
    assert torch.equal(y, x.relu())
    for up, passes in ((torch.ones(5), [0, 0, 0, 1, 1]), (-torch.ones(5), [-1]*5)):
        assert torch.autograd.grad(y, x, up, retain_graph=True)[0].tolist() == passes
    with seeded(0): network = m.Locator((8, 16), 16).eval()
    with torch.no_grad(): network.regressor[0].bias.fill_(-20)
    optimizer, counted = torch.optim.Adam(network.regressor.parameters(), 0.1), []
    for _ in range(300):
        optimizer.zero_grad()
        count = network(torch.zeros(2, 3, 16, 16))[1]
        torch.nn.functional.smooth_l1_loss(count, torch.full((2,), 5.0)).backward()
        optimizer.step()
        counted.append(float(count[0].detach()))
    assert counted[0] == 0 and abs(counted[-1] - 5) < 1, "a plain ReLU stays at zero"


def test_the_full_size_configuration_makes_one_step():
    s = m.SIZES["gpu"]
    assert s["widths"] == m.FULL and s["small"] == m.PUPIL and s["size"] == 256
    with seeded(0): network = m.built("pupils", "whd", s).train()
    part = {"image": torch.randint(0, 255, (1, 3, 256, 256), dtype=torch.uint8), "counts": torch.tensor([1]),
            "points": torch.tensor([[[100.0, 90]]]), "scale": torch.ones(1, 2)}
    m.loss_of(network, "whd", part, torch.Generator(), False).backward()
    assert network.outc.conv.weight.grad.abs().sum() > 0


# thresholds, extraction, measures

def test_the_beta_mixture_finds_its_own_parameters():
    random = np.random.default_rng(0)
    x = np.concatenate([random.beta(2, 18, 30_000), random.beta(30, 4, 10_000)])
    found = m.beta_mixture(x)
    np.testing.assert_allclose(found["mean"], [0.1, 30/34], atol=0.01)
    np.testing.assert_allclose(found["weight"], [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(found["a"], [2, 30], rtol=0.15)

def test_thresholds():
    p = np.array([[0.0, 0.02], [0.9, 1.0]])
    assert m.threshold(p, 0.3) == 0.3 and 0.02 <= m.threshold(p, "Otsu") < 0.9 and 0.85 < m.threshold(p) < 1
    assert m.threshold(np.full((3, 3), 0.4)) == 0.4 and len(m.extract(np.full((3, 3), 0.4), 2)) == 0
    with pytest.raises(PaperKitError, match="no such threshold"): m.threshold(p, "Kapur")

def test_extraction_finds_blobs_in_original_pixels_and_knows_its_limits():
    data = m.target_map("gaussian", torch.tensor([[[8.0, 10], [20, 25]]]), torch.tensor([2]), 32)[0].numpy()
    found = m.extract(data, 2.4, 0.3, (2.0, 0.5))
    assert np.abs(found[found[:, 0].argsort()] - [[16, 5], [40, 12.5]]).max() < 0.3
    assert len(m.extract(data, 0.4, 0.3)) == 0 and len(m.mixture_points(np.zeros((0, 2)), 3)) == 0
    assert len(m.mixture_points(np.array([[1.0, 1], [2, 2]]), 5)) == 2
    assert len(m.extract(data, 0, 0.3, bandwidth=4.0)) == 2

def test_duplicates_are_free_in_the_papers_f_and_not_in_ours():
    truth, guess = np.array([[0.0, 0], [0, 20]]), np.array([[0.0, 1], [1, 0], [0, 40]])
    assert m.hits(guess, truth, 5) == (2, 3, 1, 2, 1)
    found = m.rates([m.hits(guess, truth, 5)])
    assert found["Precision"] == pytest.approx(200/3) and found["Recall"] == 50
    assert found["one-to-one F"] == pytest.approx(100*2*(1/3)*(1/2)/(1/3 + 1/2))
    assert m.hits(np.zeros((0, 2)), truth, 5) == (0, 0, 0, 2, 0)

def test_count_errors_by_hand():
    found = m.count_errors([3, 1, 4], [2, 0, 8])
    assert found == {"MAE": 2.0, "RMSE": pytest.approx(math.sqrt(6)), "MAPE": pytest.approx(100*(0.5 + 0.5)/3)}

def test_boxes_there_and_back_and_suppression():
    a = torch.tensor([[0.0, 0, 4, 4], [10, 10, 18, 14]])
    b = torch.tensor([[1.0, 1, 6, 5], [9, 9, 17, 15]])
    torch.testing.assert_close(m.decode(m.encode(b, a), a), b)
    assert m.overlap(a[:1], torch.tensor([[0.0, 2, 4, 6]])).item() == pytest.approx(8/24)
    assert m.suppress(torch.tensor([[0.0, 0, 4, 4], [0, 1, 4, 5], [9, 9, 12, 12]]), torch.tensor([0.5, 0.9, 0.1]),
                      0.4).tolist() == [1, 2]


# worlds

def test_a_set_is_the_same_twice_and_its_points_lie_on_the_grid():
    a, b, c = (m.world_stage("heads", "test", 2, SMALL, s) for s in (0, 0, 1))
    assert torch.equal(a["image"], b["image"]) and not torch.equal(a["image"], c["image"])
    k = int(a["counts"][0])
    assert torch.equal(a["points"], a["points"].round()) and a["points"][:, :k].max() <= 31
    off = a["points"][0, :k]*a["scale"][0] - a["truth"][0, :k]
    assert (off.abs() <= a["scale"][0]/2 + 1e-5).all() or (a["points"][0, :k] == 31).any()

def test_the_truth_of_a_hall_is_where_heads_are_painted_and_hidden_ones_are_left_out():
    "An independent oracle: the pixels that change when a person is painted have their upper end at the head."
    for overlap in (0.0, 0.9):
        random = np.random.default_rng(2)
        _, points = m.heads_image(random, 96, 128, 8, overlap=overlap, distractors=0.0)
        assert len(points) <= 8 and ((points >= 0) & (points < (96, 128))).all()
    before = np.full((60, 60, 3), 0.5)
    after, owner = before.copy(), np.zeros((60, 60), int)
    area = m.person(after, np.random.default_rng(0), (20.0, 30.0), 10.0, owner, 7)
    rows, columns = np.nonzero(owner == 7)
    assert area > 50 and abs(columns.mean() - 30) < 0.6 and abs(rows.mean() - 20) < 2.5
    assert np.abs(after - before)[:13].max() == 0

def test_crops_of_a_region_stay_in_it_and_carry_their_plants():
    random = np.random.default_rng(0)
    picture, plants = m.mosaic(random, 110, 700, 28)
    marked = np.zeros((110, 700, 3))
    marked[..., 0], marked[..., 1] = np.arange(700), np.arange(110)[:, None]
    for split, low, high in (("train", 0, 560), ("validation", 560, 630), ("test", 630, 700)):
        piece, points = m.crop(random, marked, plants, split, (30, 60))
        assert low <= piece[..., 0].min() and piece[..., 0].max() < high
        x0, y0 = piece[0, 0, :2]
        assert all(np.abs(plants - (p + (y0, x0))).sum(1).min() < 1e-9 for p in points)

def test_the_pupil_is_dark_where_the_truth_is():
    values = []
    for k in range(8):
        image, at = m.pupil_image(np.random.default_rng(k), 72, 96, distractors=0.0)
        values.append(image[int(at[0, 0]) - 2:int(at[0, 0]) + 3, int(at[0, 1]) - 2:int(at[0, 1]) + 3].min())
    assert np.median(values) < 0.2

def test_flips_move_points_with_pixels():
    data = m.world_stage("heads", "train", 3, SMALL, 0)
    image = torch.zeros_like(data["image"])
    for k in range(3):
        for y, x in data["points"][k, :data["counts"][k]].long().tolist(): image[k, :, y, x] = 1
    for seed in range(4):
        out = m.flipped(data | {"image": image}, torch.Generator().manual_seed(seed), True)
        for k in range(3):
            for y, x in out["points"][k, :data["counts"][k]].long().tolist(): assert out["image"][k, 0, y, x] == 1

def test_too_many_objects_are_refused():
    with pytest.raises(PaperKitError, match="more objects"): m.item(np.zeros((8, 8, 3)), np.zeros((4, 2)), 8, 3)


# real data, in miniature

def picture(file, h=12, w=16):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (h, w, 3), dtype=np.uint8)).save(file)

def mall(root, locations):
    "Layout of the Mall data set, source: its README (frames/seq_NNNNNN.jpg, mall_gt.mat: frame{i}.loc, count)."
    frames = np.empty((1, len(locations)), object)
    for k, loc in enumerate(locations):
        frames[0, k] = {"loc": np.asarray(loc, float)}
        picture(root/f"frames/seq_{k + 1:06d}.jpg")
    savemat(root/"mall_gt.mat", {"frame": frames, "count": np.array([[len(v)] for v in locations])})

def test_mall_in_miniature(tmp_path):
    mall(tmp_path, [[[3, 5], [9, 2]], [[1, 1], [2, 2], [4, 4]], [[7, 3], [8, 8]]])
    found = m.read_mall(tmp_path)
    assert len(found) == 3 and found[0][1].tolist() == [[5, 3], [2, 9]] and found[2][0].name == "seq_000003.jpg"
    mall(tmp_path, [[[3, 5], [np.nan, 2]], [[1, 1], [2, 2]]])
    with pytest.raises(PaperKitError, match="no number"): m.read_mall(tmp_path)
    (tmp_path/"mall_gt.mat").write_bytes(b"torn")
    with pytest.raises(PaperKitError): m.read_mall(tmp_path)

def test_pupils_in_miniature(tmp_path):
    "Layout of the pupil data, source: its page (NAME.txt with a heading, frames by number, y from the bottom)."
    (tmp_path/"V.txt").write_text("FRAME X Y\n1 100 88\n2 50.5 200\n")
    found = m.read_pupils(tmp_path)
    assert found[0][1].tolist() == [[200, 100]] and found[1][0] == tmp_path/"V"/"0000000002.png"
    (tmp_path/"V.txt").write_text("FRAME X Y\n1 nan 88\n")
    with pytest.raises(PaperKitError, match="no number"): m.read_pupils(tmp_path)
    (tmp_path/"V.txt").write_text("FRAME X Y\nbroken line here\n")
    with pytest.raises(PaperKitError, match="cannot be read"): m.read_pupils(tmp_path)
    with pytest.raises(PaperKitError, match="no list"): m.read_pupils(tmp_path/"none")

def plants(root, extra=""):
    "Layout of the authors' code, source: its README (gt.csv: filename, count, locations as (row, column))."
    for k in range(4): picture(root/f"{k}.png")
    rows = ["filename,count,locations", *(f'{k}.png,2,"[({k + 1}, 3), (5, 6)]"' for k in range(4))]
    (root/"gt.csv").write_text("\n".join(rows) + "\n" + extra)

def test_the_table_in_miniature_and_a_training_set_from_it(tmp_path):
    plants(tmp_path)
    found = m.read_csv(tmp_path)
    assert found[1][1].tolist() == [[2, 3], [5, 6]]
    source = Source("plant_centers", tmp_path, "0"*8)
    sets = m.real_stage("plant_centers", source, SMALL, 0)
    assert set(sets) == set(m.SPLITS) and sets["train"]["image"].shape[1:] == (3, 32, 32)
    assert sets["test"]["scale"][0].tolist() == [12/32, 16/32]
    for extra, match in (('4.png,3,"[(1, 2)]"\n', "differ"), ('4.png,1,"[(nan, 2)]"\n', "cannot be read"),
                         ('4.png,1,"[(1e999, 2)]"\n', "no number"), ('4.png,1,"oops("\n', "cannot be read")):
        plants(tmp_path, extra)
        with pytest.raises(PaperKitError, match=match): m.read_csv(tmp_path)
    with pytest.raises(PaperKitError, match="missing"): m._picture(tmp_path/"9.png")
    (tmp_path/"0.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(PaperKitError, match="cannot be read"): m._picture(tmp_path/"0.png")

def test_shanghaitech_in_miniature(tmp_path):
    "Layout of ShanghaiTech, source: README of its release (image_info{1}.location)."
    picture(tmp_path/"train_data/images/IMG_1.jpg")
    (tmp_path/"train_data/ground-truth").mkdir()
    info = np.empty((1, 1), object)
    info[0, 0] = {"location": np.array([[3.0, 4], [5, 6]]), "number": 2}
    savemat(tmp_path/"train_data/ground-truth/GT_IMG_1.mat", {"image_info": info})
    assert m.read_shanghai(tmp_path)[0][1].tolist() == [[4, 3], [6, 5]]
    with pytest.raises(PaperKitError, match="no image"): m.read_shanghai(tmp_path, "test_data")

def test_hand_listed_pictures():
    found = m.real_pictures()
    assert {n: len(points) for n, (_, points, _) in found.items()} == {"coins": 24, "cell": 1, "Hubble": 28}
    for p, points, _ in found.values(): assert ((points >= 0) & (points < p.shape)).all()
    p, points, _ = found["coins"]
    assert np.median([p[int(y), int(x)] for y, x in points]) > np.quantile(p, 0.7)

def test_shipped_weights_travel_as_one_vector(monkeypatch):
    with seeded(2): network = m.Locator((4, 8, 8), 32)
    network(torch.rand(4, 3, 32, 32))                                    # statistics that are not those of the start
    network.eval()
    about = {"widths": [4, 8, 8], "size": 32}
    monkeypatch.setattr(m, "shipped_weights", lambda slug: (m.flat(network), about))
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad(): torch.testing.assert_close(m.pretrained()(x)[0], network(x)[0])
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()), "its own stay as they are"
    assert m.locate(m.pretrained(), np.random.default_rng(0).uniform(size=(40, 50, 3)), 3).shape[1] == 2
    with pytest.raises(PaperKitError, match="no picture"): m.locate(network, np.zeros((4, 4)))
    monkeypatch.setattr(m, "shipped_weights", lambda slug: ({"weights": torch.zeros(3)}, about))
    with pytest.raises(PaperKitError, match="do not fit"): m.pretrained()


# predicates: numbers that must make each of them fail

def near(x, seeds=3): return [x*(1 + 0.002*math.sin(5*k + 11*x)) for k in range(seeds)]

def flat_curves(predicate, seeds=3):
    names = [n for guard in getattr(predicate, "guards", ()) for n in guard.names]
    return {name: [[5.0, 2.0] + [1.0]*14]*seeds for name in names}

C5 = {f"F, {n}, {w}": near(v, 5) for n in ("heads", "field") for w, v in (("ours", 90.0), ("detector", 70.0))}
C5 |= {f"MAE, {n}, {w}": near(v, 5) for n in ("heads", "field") for w, v in (("ours", 1.0), ("detector", 2.0))}
C5 |= {f"gap of F, {w}": near(v, 5) for w, v in zip(m.CROWDS, (5.0, 10.0, 20.0))}
C7 = {k: v for n in m.SETS for k, v in ((f"F, {n}, BMM", near(90.0)), (f"F, {n}, Otsu", near(85.0)),
                                        (f"share of fixed tau at or below BMM, {n}", near(0.9)),
                                        (f"rank correlation of precision and recall over tau, {n}", near(0.2)))}
C8 = {k: v for n in m.SETS for k, v in ((f"share of p outside [0.1, 0.9], {n}", near(0.95)),
                                        (f"log-likelihood, {n}, Beta", near(5.0)),
                                        (f"log-likelihood, {n}, normal", near(3.0)))}
C11 = {k: v for n, f in zip(m.SETS, (90.0, 99.0, 80.0)) for k, v in (
    (f"F, {n}", near(f)), (f"rise of F, r = 9 to 14, {n}", near(1.0)), (f"rise of F, r = 0 to 5, {n}", near(60.0)))}
HOLD = {
    "C1": {"difference to the AHD, binary maps, alpha minus infinity": [1e-12], "distance at the true points": [1e-9],
           "distance of other binary maps": [3.0]},
    "C2": {"first term at p = 0": [0.0], "largest slope of the second term": [-1e-4],
           "mean of p, second term alone": [0.999],
           "largest p farther than 3 pixels from all points, first term alone": [0.01]},
    "C3": {"fall of the distance, each step of a walk": [0.5, 0.1], "change of the one-hot error before the hit": [0.0],
           "F, distance": near(90.0), "F, one-hot": near(30.0)},
    "C4": {"fall of the gap to the AHD, each step of alpha": [0.1, 0.2],
           "fall of the share of pixels that matter, each step of alpha": [0.1], "F, alpha = -1": near(90.0),
           "F, alpha = -2": near(90.5)},
    "C5": C5, "C6": {"F, pupils, ours": near(98.0), "F, pupils, detector": near(98.3),
                     "F, pupils, dark blob": [60.0]*3},
    "C7": C7, "C8": C8, "C9": {"F, mixture": near(90.0), "F, mean shift": near(80.0),
                               "seconds of mean shift over those of the mixture": near(20.0)},
    "C10": {"F with the true count, up to twice as many people": near(70.0), "F, true count": near(92.0),
            "F, estimated count": near(88.0), **{f"F, count off by {k}": near(92.0 - 4*k) for k in range(4)}},
    "C11": {"rise of F, each step of r": [0.0, 3.0], **C11},
    "C12": {"MAE, ours": near(1.0), "MAE, density map": near(1.05)}}
FAIL = {"C1": {"distance of other binary maps": [0.0]}, "C2": {"mean of p, second term alone": [0.6]},
        "C3": {"F, one-hot": near(95.0)}, "C4": {"F, alpha = -2": near(80.0)}, "C5": {"MAE, field, ours": near(4.0, 5)},
        "C6": {"F, pupils, detector": near(90.0)}, "C7": {"F, field, BMM": near(70.0)},
        "C8": {"share of p outside [0.1, 0.9], heads": near(0.5)},
        "C9": {"seconds of mean shift over those of the mixture": near(2.0)},
        "C10": {f"F, count off by {k}": near(80.0 + 4*k) for k in range(4)}, "C11": {"F, pupils": near(50.0)},
        "C12": {"MAE, ours": near(2.0)}}

@pytest.mark.parametrize("claim", HOLD)
def test_each_predicate_holds_and_fails_on_numbers_that_must(claim):
    predicate = predicates[claim]
    curves = flat_curves(predicate)
    assert predicate.evaluate(HOLD[claim] | curves).verdict == "holds"
    assert predicate.evaluate(HOLD[claim] | FAIL[claim] | curves).verdict == "fails"
    if curves:
        falling = {name: [np.linspace(9, 1, 16).tolist()]*3 for name in curves}
        assert predicate.evaluate(HOLD[claim] | falling).verdict == "undecided"
