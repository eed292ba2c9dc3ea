"""What the notebook of ideme_net cannot hold: hand-computed checks, gradients that must and must not flow, predicates
that must fail, layouts of files and checkpoints in miniature, bad inputs."""
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from paper_kit.kit.files import PaperKitError, project_root
from paper_kit.kit.nn import ResNet, parameter_count, seeded
from paper_kit.kit.paper import load_manifest
from paper_kit.learning import ideme_net as m
from paper_kit.learning.ideme_net import predicates, stages

F = torch.nn.functional
SIZE = m.SIZES["smoke"]["nets"]
SETTINGS = m.SIZES["smoke"]["settings"]


def generator(seed=0): return torch.Generator().manual_seed(seed)


def normal(*size, seed=0): return torch.randn(*size, generator=generator(seed), dtype=torch.float64)


def pictures(*shape, seed=0): return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"ideme_net.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"


def test_the_stages_can_be_called_without_a_notebook():
    assert callable(stages)


# mixing

def test_cuts_are_even_and_as_released():
    assert m.edges(224, 3, released=True) == [0, 74, 148, 224] and m.edges(224, 7) == [0, 32, 64, 96, 128, 160, 192,
                                                                                       224]
    assert m.edges(224, 5, released=True) == [0, 44, 88, 132, 176, 224] and m.edges(32, 3) == [0, 11, 21, 32]
    assert m.patch_of(4, 2).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert m.patch_of(3, 3).flatten().tolist() == list(range(9))
    for bad in (0, 9):
        with pytest.raises(PaperKitError, match="cannot be cut"): m.edges(8, bad)


def test_mixing_by_hand_and_at_its_ends():
    a, b, w = normal(2, 3, 8, 8), normal(2, 3, 8, 8, seed=1), normal(2, 4, seed=2)
    out = m.mix(a, b, w)
    for q, (y, x) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        for n in range(2):
            cut = (n, slice(None), slice(y, y + 4), slice(x, x + 4))
            torch.testing.assert_close(out[cut], w[n, q]*a[cut] + (1 - w[n, q])*b[cut])
    one = torch.ones(2, 9).double()
    assert torch.equal(m.mix(a, b, one), a) and torch.equal(m.mix(a, b, 0*one), b)
    torch.testing.assert_close(m.mix(a, b, one/2), (a + b)/2)
    assert m.mix(a, b, 3*one).abs().max() > a.abs().max()                          # nothing confines the weights


def test_the_gradient_of_a_weight_is_that_of_its_patch():
    found = m.mixing_stage(3)
    assert max(found["ends"]) < 1e-12 and max(found["gradient"]) < 1e-12
    assert torch.autograd.gradcheck(m.mix, tuple(normal(1, 2, 6, 6, seed=k).requires_grad_() for k in (0, 1))
                                    + (normal(1, 9, seed=2).requires_grad_(),))


def test_images_and_weights_that_do_not_fit_are_refused():
    for a, b, w in ((4, 5, 9), (4, 4, 8)):
        with pytest.raises(PaperKitError, match="do not fit"): m.mix(torch.zeros(1, 3, a, a), torch.zeros(1, 3, b, b),
                                                                    torch.zeros(1, w))


# the classifier

def test_prototypes_and_probabilities_by_hand():
    x = torch.tensor([[0.0, 0], [2, 0], [0, 3]])
    labels = torch.tensor([0, 0, 1])
    assert m.prototypes(x, labels, 2).tolist() == [[1, 0], [0, 3]]
    assert m.prototypes(x, labels, 2, torch.tensor([1.0, 3, 1])).tolist() == [[1.5, 0], [0, 3]]
    p = m.log_probability(torch.tensor([[1.0, 2]]), m.prototypes(x, labels, 2)).exp()[0]
    a, b = math.exp(-2), math.exp(-math.sqrt(2))
    assert p.tolist() == pytest.approx([a/(a + b), b/(a + b)], rel=1e-4)
    square = m.log_probability(torch.tensor([[1.0, 2]]), m.prototypes(x, labels, 2), squared=True, scale=0.5).exp()[0]
    assert square[0] == pytest.approx(math.exp(-2)/(math.exp(-2) + math.exp(-1)), rel=1e-4)
    with pytest.raises(PaperKitError, match="no image"): m.prototypes(x, labels, 3)


def test_distances_have_a_finite_gradient_where_they_are_nothing():
    x = torch.ones(2, 3, requires_grad=True)
    m.distances(x, torch.ones(1, 3)).sum().backward()
    assert x.grad.isfinite().all()


def test_the_pool_goes_by_probability_and_not_by_distance():
    centres = torch.tensor([[0.0, 0], [2, 0]])
    gallery = torch.tensor([[0.9, 0], [-2.0, 0], [1.1, 0], [5, 0]])
    assert m.pools(gallery, centres, 0.25)[0].tolist() == [1]                      # far from both, and nobody else's
    assert m.pools(gallery, centres, nearest=1)[0].tolist() == [0]
    assert m.pools(gallery, centres, 0.5).shape == (2, 2) and m.pools(gallery, centres, 0.001).shape == (2, 1)


def test_matching_scores_by_hand():
    support, labels = torch.tensor([[1.0, 0], [0, 2], [3, 0]]), torch.tensor([0, 1, 0])
    p = m.matching_scores(support, labels, torch.tensor([[5.0, 0]]), 2, sharpness=1.0).exp()[0]
    assert p.tolist() == pytest.approx([2*math.e/(2*math.e + 1), 1/(2*math.e + 1)], rel=1e-5)


# networks

def test_the_published_networks_have_their_numbers_of_parameters():
    with torch.device("meta"):
        assert parameter_count(m.ResNetTrunk(10)) == 4_905_792
        assert parameter_count(m.Deformation(lambda: m.ResNetTrunk(10))) == 9_820_809
        assert parameter_count(m.ResNetTrunk(50)) == 23_508_032 and m.ResNetTrunk(18).features == 512
        assert m.OneBranch().branch.features == 784
        nets = m.networks(m.SIZES["cpu"]["nets"], m.Variant())
        assert [parameter_count(n) for n in nets] == [63_456, 6_208, 18_105]


def test_a_resnet_of_ten_layers_has_ten():
    with torch.device("meta"): trunk = m.ResNetTrunk(10)
    layers = [x for n, x in trunk.named_modules() if isinstance(x, nn.Conv2d) and "downsample" not in n]
    assert len(layers) + 1 == 10 and not hasattr(trunk, "fc")


@pytest.mark.parametrize("kind, widths", [("conv", (4, 8, 8, 8)), ("narrow", (4, 8, 8, 8)), ("resnet10", ())])
def test_trunks_give_their_features(kind, widths):
    net = m.trunk(kind, widths)
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, net.features)


def test_a_trunk_that_there_is_not_is_refused():
    with pytest.raises(PaperKitError, match="no such trunk"): m.trunk("resnet11")
    with pytest.raises(PaperKitError, match="no such rival"):
        m.fit_rival("Relation Network", {}, pictures(5, 9, 3, 32, 32), pictures(5, 9, 3, 32, 32), SIZE, 1, SETTINGS, 0)


def test_both_branches_matter_and_are_different():
    with seeded(0): net = m.Deformation(lambda: m.ConvTrunk((4, 4), flat=8)).eval()
    a, b = torch.rand(2, 1, 3, 8, 8, generator=generator())
    assert net(a, b).shape == (1, 9)
    assert not torch.allclose(net(a, b), net(b, a)) and not torch.allclose(net(a, b), net(a, a))


def test_folding_batch_normalisation_keeps_the_features():
    with seeded(0): net = m.ConvTrunk((4, 8)).eval()
    for t in net.buffers():
        if t.is_floating_point(): t.uniform_(0.5, 1.5, generator=generator(1))
    x = torch.rand(2, 3, 8, 8, generator=generator())
    y = x
    for w, b in m.folded(net): y = F.max_pool2d(F.relu(F.conv2d(y, w, b, padding=1)), 2)
    torch.testing.assert_close(y.mean((-2, -1)), net(x))
    q, unit = m.eighths(m.folded(net)[0][0])
    assert (torch.from_numpy(q).float()*unit[:, None, None,
                                             None] - m.folded(net)[0][0]).abs().max() <= unit.max()/2 + 1e-7


# episodes

def test_an_episode_has_no_image_twice_and_is_refused_where_there_are_too_few():
    classes, support, query = m.draw_episode(pictures(7, 9, 3, 4, 4), 5, 2, 6, generator())
    assert len(set(classes.tolist())) == 5 and support.shape == (5, 2) and query.shape == (5, 6)
    for a, b in zip(support, query): assert not set(a.tolist()) & set(b.tolist())
    with pytest.raises(PaperKitError, match="cannot be drawn"): m.draw_episode(pictures(4, 9, 3, 4, 4), 5, 2, 6,
                                                                               generator())
    with pytest.raises(PaperKitError, match="cannot be drawn"): m.draw_episode(pictures(5, 7, 3, 4, 4), 5, 2, 6,
                                                                               generator())


def test_partners_come_from_where_the_variant_says():
    labels, pool = torch.tensor([0, 1, 1]), torch.tensor([[5, 6], [7, 8]])
    draw = lambda name: m.partners(m.VARIANTS[name], labels, 40, pool, 20, generator())
    found = draw("IDeMe-Net")
    assert set(found[0].tolist()) == {5, 6} and set(found[1:].flatten().tolist()) == {7, 8}
    assert len(set(draw("IDeMe-Net - Predict").flatten().tolist())) > 8
    assert set(draw("IDeMe-Net - Gallery").flatten().tolist()) == {0, 1, 2}


def test_weights_of_the_variants():
    a, b = torch.rand(2, 500, 3, 8, 8, generator=generator())
    w = lambda name, **k: m.weights_of(m.VARIANTS.get(name, m.MIXUP), None, a, b, generator(), **k)
    assert not w("IDeMe-Net - Deform").any()
    uniform = w("IDeMe-Net - Def. Network")
    assert uniform.shape == (500, 9) and uniform.min() >= 0 and abs(uniform.mean() - 0.5) < 0.02
    beta = w("mixup", alpha=0.2)
    assert (beta == beta[:, :1]).all() and abs(beta.mean() - 0.5) < 0.06
    assert beta[:, 0].var().item() == pytest.approx(1/(4*1.4), rel=0.15)              # of Beta(a, a): 1/(4 (2a + 1))


def small_episode(name):
    with seeded(0): nets = m.networks(SIZE, m.VARIANTS[name])
    for n in nets: n and n.eval()
    base = pictures(8, 14, 3, 32, 32)
    episode = m.training_episode(base, 5, 4, generator(), "cpu")
    gallery = m.gallery_of(base, 6)
    losses = m.episode_losses(m.VARIANTS[name], *nets, episode, m.normal(gallery), m.features_of(nets[0], gallery),
                              SETTINGS,
                              generator())
    return nets, losses


@pytest.mark.parametrize("name", list(m.VARIANTS))
def test_each_loss_reaches_its_own_network_and_no_other(name):
    (embedding, classifier, deformation), losses = small_episode(name)
    reach = lambda net: net is not None and any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    if deformation is None: assert not losses["deformation"].requires_grad
    else:
        losses["deformation"].backward()
        assert reach(deformation) and not reach(embedding) and not reach(classifier)
        deformation.zero_grad(set_to_none=True)
    losses["embedding"].backward()
    assert reach(embedding) and not reach(deformation)
    assert reach(classifier) == (m.VARIANTS[name].embedding_loss == "cross entropy")


def test_the_prototype_loss_is_equation_4():
    (embedding, _, deformation), losses = small_episode("IDeMe-Net - CELoss")
    assert losses["embedding"].item() == pytest.approx(losses["deformation"].item(), rel=1e-4)
    assert losses["deformation"].item() > 0


def test_nothing_is_deformed_in_place_and_batch_statistics_stay():
    with seeded(0): nets = m.networks(SIZE, m.Variant())
    base, held_out = pictures(8, 20, 3, 32, 32), pictures(6, 14, 3, 32, 32, seed=1)
    start = {"embedding": m.on_cpu(nets[0]), "classifier": m.on_cpu(nets[1]), "validation": [1.0]*12}
    before = base.clone()
    found = m.fit_episodes("IDeMe-Net", start, base, held_out, SIZE, 6, 5, SETTINGS, 0)
    assert torch.equal(before, base) and len(found["validation"]) == 12
    moved = lambda kind: [n for n in found["embedding"] if kind in n and not torch.equal(found["embedding"][n],
                                                                                        start["embedding"][n])]
    assert not moved("running") and moved("weight")
    alone = m.fit_episodes("IDeMe-Net", start, base, held_out, SIZE, 11, 0, SETTINGS, 0)
    assert all(torch.equal(alone["embedding"][n], start["embedding"][n]) for n in alone["embedding"])


def test_the_full_size_configuration_makes_one_step():
    size, settings = m.SIZES["gpu"]["nets"], m.SIZES["gpu"]["settings"] | dict(n_aug=1, share=0.2)
    assert size["trunk"] == size["branch"] == "resnet10" and size["deep"] == "resnet50" and size["size"] == 84
    with seeded(0): nets = m.networks(size | dict(size=48), m.Variant())
    for n in nets: n.eval()
    base = pictures(5, 6, 3, 48, 48)
    losses = m.episode_losses(m.Variant(), *nets, m.training_episode(base, 2, 1, generator(), "cpu"),
                              m.normal(base[:, 0]), m.features_of(nets[0], base[:, 0]), settings, generator())
    sum(losses.values()).backward()
    assert nets[2].anet.conv1.weight.grad.abs().sum() > 0 and nets[0].layer4[0].conv2.weight.grad.abs().sum() > 0


# rivals

def toy_bench(features, name="none"):
    images = pictures(*features.shape[:2], 3, 32, 32)
    with seeded(0): net = m.trunk(SIZE["trunk"], SIZE["widths"]).eval()
    return m.Bench(net, None, m.VARIANTS.get(name), images, features, images[:, 0], features[:, 0])


def separated(classes=6, images=30):
    centres = 10*torch.eye(classes)
    return centres[:, None] + 0.1*torch.randn(classes, images, classes, generator=generator())


@pytest.mark.parametrize("method", ["Prototype Classifier", *m.FROZEN, "Matching Network",
                                    "Gaussian Noise (feature level)"])
def test_every_classifier_is_right_where_classes_are_far_apart_and_at_chance_where_they_are_not(method):
    knobs = {mm: m.GRIDS.get(method, (0.0,))[-1] for mm in (1, 5)}
    found = m.many_way(method, knobs, toy_bench(separated()), (1, 5), (2, 1), 8, 3, 0.1, 0)
    assert found["top-1"] == [100, 100] and found["top-5"] == [100, 100]
    nothing = torch.randn(6, 30, 8, generator=generator(4))
    chance = m.many_way(method, knobs, toy_bench(nothing), (5,), (6,), 8, 3, 0.1, 0)
    assert 5 < chance["top-1"][0] < 33 and chance["top-5"][0] < 95


def test_the_same_draws_for_every_method_and_more_images_with_every_shot():
    bench = toy_bench(separated())
    rows = torch.arange(12).view(6, 2)
    for method, each in (("Flipping", 2), ("Gaussian Noise", 4), ("Gaussian Noise (feature level)", 4), ("none", 1)):
        if "feature" not in method and method != "none":
            bench = bench._replace(features=m.features_of(bench.embedding, bench.images), bank=torch.zeros(2, 16))
        found, labels, weight = m.enlarge(method, 1.0, bench, torch.arange(6), rows % 30, 3, 0.1, generator())
        assert len(found) == len(labels) == len(weight) == 12*each
        assert torch.bincount(labels).tolist() == [2*each]*6
        bench = toy_bench(separated()) if method == "Gaussian Noise" else bench


def test_a_flipped_symmetric_image_changes_no_prototype():
    bench = toy_bench(separated())
    images = bench.images.clone()
    images[..., 16:] = images[..., :16].flip(-1)
    net = m.ConvTrunk((4, 4)).eval()
    with torch.no_grad():
        for block in net.blocks: block[0].weight.copy_((block[0].weight + block[0].weight.flip(-1))/2)
    bench = bench._replace(embedding=net, images=images, features=m.features_of(net, images), bank=torch.zeros(2, 4))
    found, labels, _ = m.enlarge("Flipping", 0.0, bench, torch.arange(6), torch.zeros(6, 1).long(), 1, 0.1, generator())
    torch.testing.assert_close(found[:6], found[6:], atol=1e-5, rtol=1e-4)


def test_the_knobs_are_chosen_on_the_images_given():
    found = m.chosen("LR", toy_bench(separated()), (1, 2), dict(n_aug=2, share=0.1))
    assert set(found) == {1, 2} and set(found.values()) <= set(m.GRIDS["LR"])
    assert m.chosen("Flipping", toy_bench(separated()), (1, 2), dict(n_aug=2, share=0.1)) == {}


# intervals

def test_the_nested_interval_by_hand():
    found = m.nested([[1.0, 3], [2, 4], [3, 5]])
    assert found.mean == 3 and found.within == pytest.approx(math.sqrt(2))
    assert found.half == pytest.approx(4.302653/math.sqrt(3)) and found.between == pytest.approx(0)   # 1 - 2/2
    assert m.nested([[1.0, 2, 3]]).half == pytest.approx(4.302653/math.sqrt(3))


def test_the_nested_interval_covers_where_one_over_all_episodes_does_not():
    random, hits, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        x = random.normal(0, 1, (5, 1)) + random.normal(0, 3, (5, 200))
        found = m.nested(x)
        hits += abs(found.mean) < found.half
        naive += abs(x.mean()) < 1.96*x.std(ddof=1)/math.sqrt(x.size)
    assert 0.92 < hits/400 < 0.98 and naive/400 < 0.6


# the world

def test_base_validation_and_novel_classes_share_no_body_and_no_part():
    banks = {s: m.class_bank(s, 40, np.random.default_rng(k)) for k, s in enumerate(m.SPLITS)}
    bodies, parts = m.body_bank(), m.part_bank()
    for a in banks:
        for b in banks:
            if a == b: continue
            for name, bank in (("body", bodies), ("part", parts)):
                theirs = {tuple(bank[k]) for k in banks[a][name]} & {tuple(bank[k]) for k in banks[b][name]}
                assert not theirs
    assert len({tuple(row) for row in parts}) == len(parts) == 72
    apart = m.class_bank("novel", 40, np.random.default_rng(9), shared=False)
    assert not set(apart["texture"]) & set(banks["base"]["texture"])
    assert not set(apart["colour"]) & set(banks["base"]["colour"])
    rows = set(zip(*(apart[k] for k in ("body", "part", "texture", "colour"))))
    assert len(rows) == 40
    with pytest.raises(PaperKitError, match="no such split"): m.class_bank("test", 1, np.random.default_rng(0))


def test_a_silhouette_is_the_polygon_of_its_outline():
    "The radius as a function of the angle, against scikit-image's filling of the same outline as a polygon."
    from skimage.draw import polygon2mask
    size = 96
    line = (torch.arange(size) + 0.5)/size*2 - 1
    x, y = line.expand(1, size, size), -line[:, None].expand(1, size, size)
    for k in (0, 17, 40, 71):
        classes = {"body": torch.tensor([k]), "part": torch.tensor([0]), "turn": torch.tensor([0.3])}
        body, _ = m.silhouette(classes, x, y, torch.zeros(1))
        angle = torch.linspace(0, 2*math.pi, 2000)[None, None]
        r = m.outline(torch.from_numpy(m.body_bank()[[k]]).float(), angle)[0, 0].numpy()
        px, py = r*np.sin(angle[0, 0].numpy()), r*np.cos(angle[0, 0].numpy())
        oracle = polygon2mask((size, size), np.stack([(1 - py)*size/2 - 0.5, (px + 1)*size/2 - 0.5], 1))
        assert (oracle != body[0].numpy()).mean() < 0.004 and 0.05 < body.float().mean() < 0.4


def test_parts_are_counted_by_their_pieces():
    "A class with c copies of a part: what lies outside of the body falls into c pieces (none of them bent or hidden)."
    from scipy.ndimage import label
    size, parts = 240, m.part_bank()
    line = (torch.arange(size) + 0.5)/size*3 - 1.5
    x, y = line.expand(1, size, size), -line[:, None].expand(1, size, size)
    for copies in (1, 2, 3, 4):
        k = int(np.nonzero((parts[:, 0] == copies) & (parts[:, 1] == 0.34) & (parts[:, 5] == 0))[0][0])
        classes = {"body": torch.tensor([3]), "part": torch.tensor([k]), "turn": torch.tensor([0.4])}
        body, part = m.silhouette(classes, x, y, torch.zeros(1))
        assert label((part & ~body)[0].numpy())[1] == copies


def test_the_world_is_the_same_for_the_same_seed_and_new_in_every_image():
    a, b = (m.world_stage("novel", 3, 2, 16, 5) for _ in range(2))
    assert torch.equal(a, b) and a.shape == (3, 2, 3, 16, 16) and a.dtype == torch.uint8
    assert not torch.equal(a[:, 0], a[:, 1]) and not torch.equal(a, m.world_stage("novel", 3, 2, 16, 6))
    assert not torch.equal(a, m.world_stage("novel", 3, 2, 16, 5, shared=False))


# real data

def mini(root):
    """Layout of miniImageNet, source: README and datasets/oneShotBaseCls.py of tankche1/IDeMe-Net. The second class of
    the test split has a torn picture, the third a missing one; val.csv has a line without a label (NaN)."""
    (root/"images").mkdir()
    lines = {"train": "filename,label\n", "test": "filename,label\n", "val": "filename,label\na.jpg,nan\n"}
    for split in ("train", "test"):
        for c in range(3):
            for k in range(2):
                name = f"n0{c}{split}{k}.jpg"
                lines[split] += f"{name},n0{c}\n"
                shade = np.full((20, 30, 3), 40*c + 30*k + 20, np.uint8)
                shade[:, :5] = 255                                          # cut away by the middle square
                Image.fromarray(shade).save(root/"images"/name, quality=95)
    for split, text in lines.items(): (root/f"{split}.csv").write_text(text)
    torn = root/"images"/"n01test1.jpg"
    torn.write_bytes(torn.read_bytes()[:200])
    (root/"images"/"n02test0.jpg").unlink()


def test_mini_imagenet_in_miniature(tmp_path):
    mini(tmp_path)
    data = m.MiniImageNet(tmp_path)
    assert [name for name, _ in data.classes] == ["n00", "n01", "n02"]
    images = data.images(8, 2)
    assert images.shape == (3, 2, 3, 8, 8) and images.dtype == torch.uint8
    assert abs(int(images[2, 1, 0, 4, 1]) - 130) < 6 and int(images.max()) < 200
    test = m.MiniImageNet(tmp_path, "test")
    with pytest.raises(PaperKitError, match="cannot be read"): test.picture("n01test1.jpg", 8)
    with pytest.raises(PaperKitError, match="missing"): test.picture("n02test0.jpg", 8)
    with pytest.raises(PaperKitError, match="too few"): data.images(8, 3)
    with pytest.raises(PaperKitError, match="cannot be read"): m.MiniImageNet(tmp_path, "val")
    with pytest.raises(PaperKitError, match="no such split"): m.MiniImageNet(tmp_path, "novel")
    (tmp_path/"val.csv").write_text("filename,label\n")
    with pytest.raises(PaperKitError, match="empty"): m.MiniImageNet(tmp_path, "val")
    (tmp_path/"val.csv").write_text("name;class\na;b\n")
    with pytest.raises(PaperKitError, match="cannot be read"): m.MiniImageNet(tmp_path, "val")


def test_the_split_of_the_challenge_in_miniature(tmp_path):
    "Names of label_idx.json as facebookresearch/low-shot-shrink-hallucinate has them."
    one, two = list(range(193)), list(range(193, 389))
    split = {"base_classes": one + two, "base_classes_1": one, "base_classes_2": two,
             "novel_classes_1": list(range(389, 689)), "novel_classes_2": list(range(689, 1000)), "label_names": ["a"]}
    (tmp_path/"a.json").write_text(json.dumps(split))
    assert len(m.low_shot_split(tmp_path/"a.json")["novel_classes_2"]) == 311
    (tmp_path/"b.json").write_text(json.dumps(split | {"novel_classes_2": list(range(688, 999))}))
    with pytest.raises(PaperKitError, match="not that of the challenge"): m.low_shot_split(tmp_path/"b.json")
    (tmp_path/"c.json").write_text("[")
    with pytest.raises(PaperKitError): m.low_shot_split(tmp_path/"c.json")


def released(file, seed=1):
    """A checkpoint in the layout of onlyBasetwoLoss.py of tankche1/IDeMe-Net: attentionNet, toWeight, CNet (its ResNet
    a second time under CNet.resnet.convnet), fc, scale; PyTorch 0.4, so without counters of batches."""
    g, state = generator(seed), {}
    new = lambda *shape: 0.05*torch.randn(*shape, generator=g)
    for k, (a, b) in enumerate(((6, 32), (32, 64), (64, 64), (64, 32), (32, 16))):
        at = f"attentionNet.encoder.{k}."
        state |= {at + "0.weight": new(b, a, 3, 3), at + "0.bias": new(b), at + "1.weight": 1 + new(b),
                  at + "1.bias": new(b),
                  at + "1.running_mean": new(b), at + "1.running_var": 1 + new(b).abs()}
    state |= {"toWeight.0.weight": new(9, 784), "toWeight.0.bias": new(9), "fc.weight": new(64, 512),
              "fc.bias": new(64),
              "scale": torch.ones(1)}
    with seeded(seed): trunk = ResNet(18, classes=64).eval()
    for name, t in trunk.state_dict().items():
        if name.endswith("num_batches_tracked"): continue
        state["CNet.resnet.convnet." + name] = t
        if not name.startswith("fc."): state["CNet." + name] = t
    torch.save(state, file)
    return state, trunk


def test_a_checkpoint_in_the_authors_layout_gives_their_output(tmp_path):
    state, trunk = released(tmp_path/"metaNet_1shot.t7")
    ours = m.load_official(tmp_path/"metaNet_1shot.t7")
    a, b = torch.rand(2, 1, 3, 224, 224, generator=generator(2))
    x = torch.cat([a, b], 1)
    with torch.no_grad():
        for k in range(5):
            p = lambda n, k=k: state[f"attentionNet.encoder.{k}.{n}"]
            x = F.conv2d(x, p("0.weight"), p("0.bias"), padding=1)
            x = F.batch_norm(x, p("1.running_mean"), p("1.running_var"), p("1.weight"), p("1.bias"))
            x = F.max_pool2d(F.relu(x), 2)
        w = F.linear(x.flatten(1), state["toWeight.0.weight"], state["toWeight.0.bias"])
        square, cut = torch.zeros(224, 224), (0, 74, 148, 224)
        for q in range(9):
            square[cut[q//3]:cut[q//3 + 1], cut[q % 3]:cut[q % 3 + 1]] = w[0, q]
        features = trunk.pyramid(square*a + (1 - square)*b)[-1].mean((-2, -1))
        found, weights = ours(a, b)
    torch.testing.assert_close(weights, w, atol=1e-4, rtol=0)
    torch.testing.assert_close(found, features, atol=1e-4, rtol=1e-4)
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path/"parallel.t7")
    with torch.no_grad(): torch.testing.assert_close(m.load_official(tmp_path/"parallel.t7")(a, b)[1], w, atol=1e-4,
                                                     rtol=0)


def test_what_is_no_checkpoint_of_theirs_is_refused(tmp_path):
    torch.save({"convnet.fc.weight": torch.zeros(64, 512)}, tmp_path/"softRandom.t7")
    with pytest.raises(PaperKitError, match="no IDeMe-Net"): m.load_official(tmp_path/"softRandom.t7")
    (tmp_path/"b.t7").write_bytes(b"torn")
    with pytest.raises(PaperKitError): m.load_official(tmp_path/"b.t7")
    state, _ = released(tmp_path/"c.t7")
    del state["CNet.layer1.0.conv1.weight"]
    torch.save(state, tmp_path/"c.t7")
    with pytest.raises(PaperKitError, match="do not fit"): m.load_official(tmp_path/"c.t7")


def test_shipped_weights_travel_as_one_vector(tmp_path, monkeypatch):
    with seeded(2): network = m.one_shot(SIZE)
    monkeypatch.setattr(m, "shipped_weights", lambda slug: (m.flat_weights(network), {"size": SIZE}))
    x = pictures(3, 5, 3, 32, 32)
    assert torch.equal(m.pretrained()(*x), network(*x))
    torch.testing.assert_close(network(*x).sum(1), torch.ones(5))
    with pytest.raises(PaperKitError, match="of one size"): network(x[0], x[1, :, :, :16, :16], x[2])
    monkeypatch.setattr(m, "shipped_weights", lambda slug: ({"weights": torch.zeros(3)}, {"size": SIZE}))
    with pytest.raises(PaperKitError, match="do not fit"): m.pretrained()


def test_the_network_that_is_shipped_at_cpu_fits():
    network = m.one_shot(m.SIZES["cpu"]["nets"])
    assert 2*len(m.flat_weights(network)["weights"]) < 190_000


# predicates: numbers that must make each of them fail

def curves(predicate, seeds=5):
    names = [n for guard in getattr(predicate, "guards", ()) for n in guard.names]
    return {name: [[5.0, 2.0] + [1.0]*11]*seeds for name in names}


def near(x, seeds=5): return [x + 0.05*math.sin(5*k + 11*x) for k in range(seeds)]


less = m.less_of
HOLD = {
    "C1": {"5-way 1-shot, IDeMe-Net": near(60), "5-way 1-shot, Prototype Classifier": near(54),
           "top-5, IDeMe-Net": near(50), "top-5, Prototype Classifier": near(42)},
    "C2": {"gain": np.stack([near(x) for x in (11, 9, 6, 3, 0.4)], 1).tolist(),
           "gain at m = 1 less twice that at m = 10": near(5)},
    "C3": {m.FULL: near(50, 3), less("Def. Network"): near(38, 3), less("Deform"): near(37, 3), m.PROTO: near(42, 3)},
    "C4": {m.FULL: near(50, 3), less("Predict"): near(42, 3), less("Gallery"): near(41, 3),
           "gap to - Predict where nothing is shared": near(0.1, 3)},
    "C5": {"full gain": near(9), "gain by the embedding alone": near(0.3)},
    "C6": {m.FULL: near(50, 3), less("CELoss"): near(49, 3), less("Proto Loss"): near(40, 3)},
    "C7": {m.FULL: near(50, 3), **{n: near(v, 3) for n, v in zip(m.GRID_NAMES, (40, 51, 50.5, 39))}},
    "C8": {"0 images": near(50), "8 images": near(59), "16 images": near(59.5)},
    "C9": {m.PROTO: near(42), **{n: near(42.2) for n in m.AUGMENTED}},
    "C10": {"spread, IDeMe-Net": near(0.8, 3), "spread, Gaussian Noise": near(0.2, 3), "purity, IDeMe-Net": near(80, 3),
            f"purity, {less('Deform')}": near(50, 3)},
    "C11": {"difference at the ends and in the middle": [0.0, 1e-15], "relative gap of the gradient": [1e-14]}}
FAIL = {
    "C1": [{"5-way 1-shot, IDeMe-Net": near(55.5)}, {"top-5, IDeMe-Net": near(41)}],
    "C2": [{"gain": np.stack([near(x) for x in (1, 2, 3, 4, 5)], 1).tolist()},
           {"gain at m = 1 less twice that at m = 10": near(-1)}],
    "C3": [{less("Def. Network"): near(49, 3)}, {less("Deform"): near(43, 3)}, {less("Def. Network"): near(43, 3)}],
    "C4": [{less("Gallery"): near(51, 3)}, {"gap to - Predict where nothing is shared": near(2, 3)},
           {"gap to - Predict where nothing is shared": near(-2, 3)}],
    "C5": [{"gain by the embedding alone": near(4)},
           {"gain by the embedding alone": near(-4)}, {"full gain": near(-1)}],
    "C6": [{less("Proto Loss"): near(49.8, 3)}, {less("CELoss"): near(51, 3)}],
    "C7": [{m.GRID_NAMES[0]: near(49.5, 3)}, {m.GRID_NAMES[3]: near(50.3, 3)}, {m.GRID_NAMES[1]: near(65, 3)}],
    "C8": [{"8 images": near(49), "16 images": near(49)}, {"16 images": near(64)}, {"16 images": near(54)}],
    "C9": [{"Mixup": near(44)}, {"Flipping": near(45)}],
    "C10": [{"spread, Gaussian Noise": near(0.9 + 1, 3)}, {f"purity, {less('Deform')}": near(85, 3)}],
    "C11": [{"relative gap of the gradient": [1e-14, 1e-6]}, {"difference at the ends and in the middle": [1e-3]}]}


@pytest.mark.parametrize("claim", HOLD)
def test_each_predicate_holds_and_fails_on_numbers_that_must(claim):
    predicate = predicates[claim]
    flat = curves(predicate)
    assert predicate.evaluate(HOLD[claim] | flat).verdict == "holds"
    for wrong in FAIL[claim]: assert predicate.evaluate(HOLD[claim] | wrong | flat).verdict == "fails", wrong
    if flat:
        falling = {name: [np.linspace(9, 1, 16).tolist()]*3 for name in flat}
        assert predicate.evaluate(HOLD[claim] | falling).verdict == "undecided"
