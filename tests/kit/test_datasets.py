import pytest

from paper_kit.kit.datasets import checksum, find, inspect_layout, registry
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.records import catalogue

ENTRY = """datasets:
  - name: tiny
    title: Tiny
    home: https://example.org
    licence: CC0
    papers: [deepsdf]
    layout:
      - {pattern: "a/{id}.npz", holds: arrays, least: 2}
      - {pattern: "b/{split}/{id}.txt", holds: lists}
"""


@pytest.fixture
def tiny(tmp_path):
    (tmp_path/"data").mkdir()
    (tmp_path/"data/datasets.yaml").write_text(ENTRY)
    real = tmp_path/"real"
    for name in ("a/1.npz", "a/2.npz", "b/train/1.txt"):
        (real/name).parent.mkdir(parents=True, exist_ok=True)
        (real/name).write_text(name)
    return tmp_path, real


def test_a_complete_folder_is_found_and_counted(tiny):
    root, real = tiny
    assert find("tiny", real, root) == real
    assert ([(n.holds, count) for n, count, _ in inspect_layout(registry(root)["tiny"], real)]
            == [("arrays", 2), ("lists", 1)])
    assert inspect_layout(registry(root)["tiny"], real)[1][2] == "b/train/1.txt"
    assert inspect_layout(registry(root)["tiny"], real, most=1)[0][1] == 1


def test_what_is_missing_is_named(tiny):
    root, real = tiny
    (real/"a/2.npz").unlink()
    with pytest.raises(PaperKitError) as caught:
        find("tiny", real, root)
    assert ("a/{id}.npz (arrays)" in str(caught.value) and "1 of at least 2" in str(caught.value)
            and "b/" not in str(caught.value))
    with pytest.raises(PaperKitError, match="no such folder"):
        find("tiny", root/"nowhere", root)
    with pytest.raises(PaperKitError, match="no data root"):
        find("tiny", "", root)
    with pytest.raises(PaperKitError, match="there is no data set 'huge'"):
        find("huge", real, root)


def test_the_checksum_sees_names_sizes_and_bytes(tiny):
    root, real = tiny
    first = checksum("tiny", real, root)
    assert checksum("tiny", real, root) == first
    (real/"a/2.npz").write_text("a/3.npz")
    assert checksum("tiny", real, root) != first
    (real/"a/2.npz").write_text("a/2.npz")
    assert checksum("tiny", real, root) == first
    (real/"a/3.npz").write_text("")
    assert checksum("tiny", real, root) != first


@pytest.mark.parametrize("old,new", [("    licence: CC0\n", ""), ("home:", "house:"),
                                     ("datasets:\n", "datasets:\n  - 3\n")])
def test_a_broken_registry_names_the_line(tiny, old, new):
    root, real = tiny
    (root/"data/datasets.yaml").write_text(ENTRY.replace(old, new, 1))
    with pytest.raises(PaperKitError, match=r"datasets\.yaml:2"):
        registry(root)


def test_the_projects_registry_names_known_papers(root):
    listed = {p["slug"] for p in catalogue(root)["papers"]}
    sets = registry(root)
    assert sets and all(set(d.papers) <= listed and d.layout for d in sets.values())
    assert {name for name, d in sets.items() if not d.home.startswith("https://")} <= {"pupil_v"}   # has no certificate
