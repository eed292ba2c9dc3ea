"""Worlds of the language wing: words, the playground and its judge, layouts, patches, and the loaders on miniatures."""
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from paper_kit.kit.files import PaperKitError
from paper_kit.language import worlds
from paper_kit.language.worlds import NAMES, Layouts, Patches, Playground


# words

def test_vocabulary_orders_by_frequency_and_comes_back():
    v = worlds.Vocabulary(["a b b", "b a c"])
    assert v.words == ["<pad>", "<unknown>", "<start>", "<end>", "b", "a", "c"]
    assert v.encode("a c zebra", 6) == [5, 6, 1, 3, 0, 0] and v.decode([5, 6, 3, 4]) == ["a", "c"]
    with pytest.raises(PaperKitError, match="needs words"): worlds.Vocabulary(["..."])


def test_a_phrase_chooses_and_keeps_tags():
    found = {tuple(worlds.phrase("{x} (runs|(walks|crawls) on)", np.random.default_rng(i), {"x": [("mike", 7)]}))
             for i in range(30)}
    assert found == {(("mike", 7), ("runs", -1)), (("mike", 7), ("walks", -1), ("on", -1)),
                     (("mike", 7), ("crawls", -1), ("on", -1))}


# playground

def clip(name, x, y, size=0, flip=0, pose=-1, face=-1): return [NAMES[name], x, y, size, flip, pose, face]


def test_there_are_58_clips_and_the_first_ones_can_stand_alone():
    assert len(worlds.CLIPS) == 58 and worlds.KINDS[:2] == ("child", "child")
    for objects in (12, 24, 58):
        kinds = set(worlds.KINDS[:objects])
        assert kinds == {"child", "sky", "large", "animal", "wear", "food", "toy"}


def test_holding_needs_the_hand_and_not_only_the_list_of_objects():
    "Trap: a judge that reads the list of objects would accept a ball on the other side."
    mike, event = clip("mike", 0.5, 0.6, pose=5, face=0), ("holds", 0, NAMES["hot dog"])
    hand = worlds.point(mike, worlds.HAND)
    assert worlds.holds(event, [mike, clip("hot dog", hand[0]/500, hand[1]/400)])
    assert not worlds.holds(event, [mike, clip("hot dog", 1 - hand[0]/500, hand[1]/400)])
    assert not worlds.holds(event, [mike])
    turned = clip("mike", 0.5, 0.6, flip=1, pose=5, face=0)
    assert worlds.holds(event, [turned, clip("hot dog", 1 - hand[0]/500, hand[1]/400)])


def test_judge_reads_pose_expression_and_direction():
    mike, jenny = clip("mike", 0.3, 0.6, pose=4, face=2), clip("jenny", 0.7, 0.6, pose=0, face=0)
    foot = worlds.point(mike, worlds.FOOT)
    ball = clip("soccer ball", foot[0]/500, foot[1]/400)
    event = ("kicks", 0, NAMES["soccer ball"], 1)
    assert worlds.holds(event, [mike, jenny, ball])
    assert not worlds.holds(event, [[*mike[:5], 0, 2], jenny, ball]), "another pose"
    assert not worlds.holds(event, [mike, clip("jenny", 0.1, 0.6, pose=0, face=0), ball]), "she is behind him"
    assert worlds.holds(("sad", 0), [mike]) and not worlds.holds(("happy", 0), [mike])
    assert worlds.holds(("looks at", 0, 1), [mike, jenny]) and not worlds.holds(("looks at", 1, 0), [mike, jenny])
    with pytest.raises(PaperKitError, match="nobody knows"): worlds.holds(("sings to", 0, 1), [mike, jenny])


def test_every_event_is_true_of_its_scene_and_becomes_one_sentence():
    scenes = worlds.playground(Playground(objects=58, per_meaning=2), 300, np.random.default_rng(0))
    assert len({s["meaning"] for s in scenes}) == 150
    for s in scenes:
        assert (all(worlds.holds(e, s["clips"]) for e in s["events"]) and len(s["sentences"]) == len(s["events"])
                and 2 <= len(s["clips"]) <= 9)
        assert worlds.drawing_order(s["clips"]) == list(range(len(s["clips"])))
    assert {e[0] for s in scenes for e in s["events"]} >= {"holds", "wears", "sits", "kicks"}


def test_words_are_tagged_with_what_they_name_and_pronouns_are_not():
    scenes = worlds.playground(Playground(objects=24, per_meaning=1, pronouns=1.0, indirect=0.0), 200,
                               np.random.default_rng(1))
    tagged = [(w, t) for s in scenes for sentence in s["sentences"] for w, t in sentence]
    assert all(w in " ".join(worlds.CLIPS[t].nouns) for w, t in tagged if t >= 0)
    assert {"he", "she", "it"} <= {w for w, t in tagged if t < 0}
    plain = worlds.playground(Playground(objects=24, per_meaning=1, pronouns=0.0, indirect=0.0, omitted=0.0), 200,
                              np.random.default_rng(1))
    assert not {"he", "she", "it", "him", "her"} & {w for s in plain for sentence in s["sentences"]
                                                    for w, _ in sentence}


def test_indirect_wording_leaves_out_the_word_for_what_is_drawn():
    world = Playground(objects=24, indirect=1.0)
    said = {" ".join(w for w, _ in worlds.describe([("weather", NAMES["sun"])], world, np.random.default_rng(i))[0])
            for i in range(20)}
    assert said and not any("sun" in s.split() for s in said)


def test_one_generator_seed_one_world():
    a, b = (worlds.playground(Playground(objects=24, per_meaning=2), 20, np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(x["clips"], y["clips"]) and x["sentences"] == y["sentences"] for x, y in zip(a, b))


def test_canvases_grow_by_one_clip_a_step_and_sprites_are_flipped():
    scene = np.array([clip("sun", 0.2, 0.2), clip("dog", 0.6, 0.8)])
    found = worlds.canvases([scene], 4, 40)[0]
    assert (found.shape == (4, 3, 40, 40) and np.array_equal(found[0].transpose(1, 2, 0), worlds.lawn(40))
            and np.array_equal(found[2], found[3]))
    assert (np.array_equal(found[2].transpose(1, 2, 0), worlds.render(scene, 40))
            and not np.array_equal(found[1], found[2]))
    a, b = worlds.sprite(NAMES["dog"], 0, 0, 0, 0, 80)[1], worlds.sprite(NAMES["dog"], 0, 1, 0, 0, 80)[1]
    assert np.allclose(a, b[:, ::-1])
    outside = worlds.lawn(40).copy()
    worlds.paste(outside, clip("sun", 3.0, 3.0))
    assert np.array_equal(outside, worlds.lawn(40))


def test_boxes_are_in_parts_of_the_canvas():
    box = worlds.boxes([clip("mike", 0.5, 0.5)])[0]
    assert np.allclose(box, [0.5 - 42/500, 0.5 - 75/400, 0.5 + 42/500, 0.5 + 75/400])
    far = worlds.boxes([clip("mike", 0.5, 0.5, size=2)])[0]
    assert math.isclose((far[2] - far[0])/(box[2] - box[0]), 0.49)


# layouts

def test_captions_of_a_layout_can_be_read_back_in_all_templates():
    found = worlds.layouts(Layouts(), 300, np.random.default_rng(0))
    assert all(worlds.read_layout_caption(c) == x["facts"] for x in found for c in x["captions"])
    assert worlds.read_layout_caption("two dogs on a bench".split()) == {(1,), (2,), (1, 2), (2, 1), (1, "on", 2)}
    assert worlds.read_layout_caption("a bench with two dogs on it".split()) == {(1,), (2,), (1, 2),
                                                                                 (2, 1), (1, "on", 2)}


def test_the_layout_obeys_its_caption():
    for x in worlds.layouts(Layouts(categories=20), 200, np.random.default_rng(1)):
        (count, a), relation, other = x["clauses"]
        members = [b for b in x["boxes"] if b[0] == a]
        assert len(members) == count
        if relation:
            assert all(worlds.relation_of(relation, m, next(b for b in x["boxes"] if b[0] == other[1]))
                       for m in members)
        feet = [round(b[2] + b[4]/2, 2) for b in x["boxes"]]
        assert feet == sorted(feet, reverse=True)


def test_label_maps_draw_later_boxes_over_earlier_ones():
    maps = worlds.label_maps([[3, 0.5, 0.5, 1.0, 1.0], [7, 0.25, 0.25, 0.5, 0.5]], 4)
    assert (maps.shape == (3, 4, 4) and (maps[0] == 0).all() and (maps[1] == 4).all() and (maps[2][:2, :2] == 8).all()
            and (maps[2] == 8).sum() == 4)


# patches

def test_patches_put_back_give_the_picture():
    picture = worlds.pictures(Patches(), 4, np.random.default_rng(0))[0]
    canvas, cover = np.zeros_like(picture["image"]), np.zeros(picture["image"].shape[:2], np.uint8)
    for p in worlds.cut_patches(picture, Patches(), side=32):
        worlds.place_patch(canvas, cover, p["rgb"], p["mask"], p["box"])
    near = np.abs(canvas.astype(int) - picture["image"]).max(-1)[cover > 0] < 40
    assert cover.mean() > 0.95 and near.mean() > 0.9


def test_patch_captions_say_true_things():
    for p in worlds.pictures(Patches(), 100, np.random.default_rng(2)):
        for thing, said in zip(p["things"], p["said"]):
            assert said["colour"] in (None, thing["colour"]) and said["pattern"] in (None, thing["pattern"])
        assert {(t["name"],) for t in p["things"]} <= p["facts"] and (p["ground"],) in p["facts"]
    assert (worlds.read_patch_caption("a stripy red bus and a ball on the street".split())
            == {("bus",), ("bus", "red"), ("bus", "striped"), ("ball",), ("road",)})


# loaders (layouts: uvavision/Text2Scene, lib/datasets/abstract_scene.py; the format pages of COCO and COCO-Stuff)

def abstract(folder, scenes="2\n0 2\nhb0_17s.png 2 17 120 250 1 0\ns_3s.png 0 3 400 40 0 1\n0 0\n1 1\na_2s.png 1 2 10 "
                            "20 2 1\n", first="0 0 Mike runs.\n0 1 The sun shines.\n1 0 nobody\n"):
    (folder/"SimpleSentences").mkdir(exist_ok=True)
    (folder/"Scenes_10020.txt").write_text(scenes)
    (folder/"SimpleSentences"/"SimpleSentences1_10020.txt").write_text(first)
    (folder/"SimpleSentences"/"SimpleSentences2_10020.txt").write_text("0 0 The boy is fast.\n")
    return folder


def test_abstract_scenes_are_read(tmp_path):
    found = worlds.read_abstract_scenes(abstract(tmp_path))
    scene, = found["scenes"]
    assert (found["categories"] == ["hb0", "s_3s", "a_2s"] and scene["clips"][0] == (0, 0.24, 0.625, 1, 0, 3, 2)
            and scene["clips"][1][5:] == (-1, -1))
    assert scene["sentences"] == [["Mike runs.", "The sun shines."], ["The boy is fast."]]
    assert found["left_out"] == [1, 10], "a scene without clip-art, and one without sentences"


@pytest.mark.parametrize("line", ["hb0_17s.png 2 17 nan 250 1 0", "hb0_17s.png 2 17 120 250 7 0", "hb0_17s.png 2 17",
                                  "hb0_17s.png 2 17 x 250 1 0"])
def test_a_bad_line_of_abstract_scenes_is_named(tmp_path, line):
    with pytest.raises(PaperKitError, match="Scenes_10020.txt:3"):
        worlds.read_abstract_scenes(abstract(tmp_path, f"1\n0 1\n{line}\n"))


def test_missing_or_corrupt_files_of_abstract_scenes_are_named(tmp_path):
    with pytest.raises(PaperKitError, match="missing"): worlds.read_abstract_scenes(tmp_path)
    with pytest.raises(PaperKitError, match="SimpleSentences1_10020.txt:1"):
        worlds.read_abstract_scenes(abstract(tmp_path, first="zero 0 Mike runs\n"))


def coco(folder, boxes=((10, 20, 40, 50),), broken=False):
    (folder/"annotations").mkdir(exist_ok=True)
    instances = {"images": [{"id": 5, "width": 100, "height": 200}, {"id": 6, "width": 10, "height": 10}],
                 "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
                 "annotations": [{"image_id": 5, "category_id": 18, "bbox": list(b)} for b in boxes]}
    captions = {"images": instances["images"], "annotations": [{"image_id": 5, "caption": "A dog. "},
                                                               {"image_id": 6, "caption": "Nothing."}]}
    (folder/"annotations"/"instances_val2017.json").write_text("{broken" if broken else json.dumps(instances))
    (folder/"annotations"/"captions_val2017.json").write_text(json.dumps(captions))
    return folder


def test_coco_is_read_and_bad_boxes_are_counted(tmp_path):
    found = worlds.read_coco(coco(tmp_path, ((10, 20, 40, 50), (0, 0, 0, 5), (float("nan"), 0, 5, 5))))
    image, = found["images"]
    assert found["categories"] == ["person", "dog"] and found["left_out"] == 2 and image["captions"] == ["A dog."]
    assert np.allclose(image["boxes"], [[1, 0.3, 0.225, 0.4, 0.25]])


def test_coco_errors_name_the_file(tmp_path):
    with pytest.raises(PaperKitError, match="instances_val2017"): worlds.read_coco(tmp_path)
    with pytest.raises(PaperKitError, match="instances_val2017"): worlds.read_coco(coco(tmp_path, broken=True))
    coco(tmp_path)
    (tmp_path/"annotations"/"captions_val2017.json").write_text("{}")
    with pytest.raises(PaperKitError, match="not complete"): worlds.read_coco(tmp_path)


def test_stuff_maps_give_connected_components(tmp_path):
    labels = np.full((20, 20), 255, np.uint8)
    labels[:5], labels[10:15, :8], labels[10:15, 12:], labels[19, 19], labels[6:8] = 106, 124, 124, 130, 3
    Image.fromarray(labels).save(tmp_path/"a.png")
    assert [(k, int(m.sum())) for k, m in worlds.read_stuff(tmp_path/"a.png")] == [(106, 100), (124, 40), (124, 40)]
    (tmp_path/"b.png").write_bytes(b"no picture")
    with pytest.raises(PaperKitError, match="cannot be read"): worlds.read_stuff(tmp_path/"b.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path/"c.png")
    with pytest.raises(PaperKitError, match="no labels"): worlds.read_stuff(tmp_path/"c.png")


def test_names_in_the_plural_take_no_article_and_a_verb_of_their_own():
    scenes = worlds.playground(worlds.Playground(), 400, np.random.default_rng(0))
    said = [" ".join(w for w, _ in sentence) for scene in scenes for sentence in scene["sentences"]]
    plural = "(sunglasses|shades|swings|(purple )?glasses|balloons)"
    assert any(re.search(rf"\b{plural}\b", s) for s in said)
    assert not [s for s in said if re.search(rf"\ban? {plural}\b|\b{plural} is\b", s) and "bunch of" not in s]
    for words, many in (("the sunglasses", True), ("a bunch of balloons", False), ("the ball", False)):
        assert worlds._many([(w, 0) for w in words.split()]) is many


def test_names_are_written_with_capitals_wherever_they_stand():
    sentences = [[("the", -1), ("cat", 9), ("likes", -1), ("mike", 0)], [("he", -1), ("runs", -1)]]
    assert worlds.text_of(sentences) == "The cat likes Mike. He runs."
