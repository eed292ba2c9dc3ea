import copy
import json
import math
import re

import pytest
from typer.testing import CliRunner

from paper_kit.kit import cli
from paper_kit.kit.expected import compare, comparisons, deviation, expected_file, is_time, write_expected
from paper_kit.kit.files import PaperKitError

from helpers import MANIFEST, ROOT, notebook


@pytest.fixture
def record():
    return {"slug": "demo", "profile": "smoke", "seed": 0, "data": "world",
            "versions": {"torch": "2", "numpy": "2", "python": "3", "instructions": "AVX2"},
            "tables": {"Table 1": {"columns": ["method", "error", "seconds"], "note": "",
                                   "rows": [["ours", 0.25, 3.1], ["theirs", None, 4.2]]}},
            "claims": {"C1": {"values": {"ours": [0.1, 0.2], "run time": [9.0]}, "verdict": "holds", "measured": ""}}}


def changed(record, value, table="Table 1"):
    other = copy.deepcopy(record)
    other["tables"][table]["rows"][0][1] = value
    return other


def test_the_same_is_the_same_and_times_do_not_count(record, tmp_path):
    write_expected(tmp_path, record)
    other = changed(record, 0.25)
    other["tables"]["Table 1"]["rows"][0][2] = 99.0
    other["claims"]["C1"]["values"]["run time"] = [1.0]
    other["claims"]["C1"]["verdict"] = "fails"
    assert compare(tmp_path, other).differ == () and str(compare(tmp_path, other)) == "demo: the same bits as expected"


@pytest.mark.parametrize("name, time", [
    ("seconds", True), ("run time", True), ("times", True), ("train_s", True), ("wall_ms", True), ("Runtime", True),
    ("steps", False), ("error", False), ("s", False), ("timestep", False), ("claims", False)])
def test_what_is_a_time_goes_by_its_name(name, time):
    assert is_time(name) == time


def test_one_bit_is_a_difference_and_its_size_is_said(record, tmp_path):
    write_expected(tmp_path, record)
    found = compare(tmp_path, changed(record, math.nextafter(0.25, 1)))
    assert (found.differ == ("Table 1",) and found.largest == 0 and "beyond the sixth digit" in str(found)
            and found.binding)
    found = compare(tmp_path, changed(record, 0.2))
    assert found.largest == pytest.approx(0.2) and "by 0.2" in str(found)
    other = copy.deepcopy(record)
    other["claims"]["C1"]["values"]["ours"][1] = 0.3
    assert compare(tmp_path, other).differ == ("C1",) and compare(tmp_path, other).largest == pytest.approx(1/3)


def test_other_cells_tables_and_claims_are_differences_without_a_size(record, tmp_path):
    write_expected(tmp_path, record)
    fewer, more, longer = copy.deepcopy(record), copy.deepcopy(record), copy.deepcopy(record)
    del fewer["claims"]["C1"]
    more["tables"]["Table 2"] = record["tables"]["Table 1"]
    longer["tables"]["Table 1"]["rows"].append(["third", 1.0, 1.0])
    for other, differ in ((fewer, ("C1",)), (more, ("Table 2",)), (longer, ("Table 1",))):
        assert compare(tmp_path, other).differ == differ and math.isinf(compare(tmp_path, other).largest)


def test_nothing_binds_where_mkl_does_not_take_the_pin(record, tmp_path):
    there = record | {"versions": record["versions"] | {"instructions": "AVX2 on AMD"}}
    write_expected(tmp_path, there)
    found = compare(tmp_path, changed(there, 0.2))
    assert found.differ == ("Table 1",) and not found.binding


@pytest.mark.parametrize("what", ["torch", "numpy", "instructions"])
def test_a_comparison_does_not_bind_elsewhere(record, tmp_path, what):
    write_expected(tmp_path, record)
    assert not compare(tmp_path, changed(record, 0.2) | {"versions": record["versions"] | {what: "another"}}).binding


@pytest.mark.parametrize("wrong", [{"profile": "cpu"}, {"seed": 1}, {"data": "real:x@y"},
                                   {"versions": {"instructions": "native: AVX512"}},
                                   {"versions": {"instructions": "AVX512"}}])
def test_only_what_others_can_repeat_is_expected(record, tmp_path, wrong):
    with pytest.raises(PaperKitError, match="paper-kit expect demo"):
        write_expected(tmp_path, record | wrong)
    assert not expected_file(tmp_path, "demo").exists()


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"parts": {"Table 1": 3}}',
                                     '{"parts": {"Table 1": {"hash": ""}}, "about": {}}'])
def test_a_broken_file_is_named(record, tmp_path, content):
    expected_file(tmp_path, "demo").parent.mkdir(parents=True)
    if content is not None: expected_file(tmp_path, "demo").write_text(content)
    with pytest.raises(PaperKitError, match="demo.json"):
        compare(tmp_path, record)


def test_deviation_by_hand():
    assert deviation([1.0, 0.0], [1.0, 0.0]) == 0 and deviation([2.0], [1.0]) == 0.5 and deviation([0.0], [1e-9]) == 1
    assert deviation([-1.0], [1.0]) == 2 and math.isinf(deviation([1.0], []))


@pytest.mark.parametrize("path", sorted((ROOT/"data/expected").glob("*.json")), ids=lambda p: p.stem)
def test_what_is_expected_names_the_tables_and_claims_of_its_paper(path):
    from paper_kit.kit.paper import load_manifest
    manifest, known = load_manifest(ROOT/f"data/papers/{path.stem}.yaml"), json.loads(path.read_text())
    assert known["about"]["slug"] == path.stem and known["about"]["instructions"] in ("AVX2", "AVX2 on AMD")
    promised = {i for kind in ("tables", "claims") for i in manifest.expected(kind)}
    assert promised <= set(known["parts"]), f"paper-kit expect {path.stem}"


def papers(demo, *broken):
    (demo/"nbs/learning/other.ipynb").write_text(notebook().replace('\\"demo\\"', '\\"other\\"'))
    (demo/"data/papers/other.yaml").write_text(MANIFEST.replace("slug: demo", "slug: other"))
    for slug in broken:
        path = demo/f"nbs/learning/{slug}.ipynb"
        path.write_text(path.read_text().replace('"paper.finish()"', '"import os; os.abort()"'))


def test_expect_writes_and_status_compares(demo):
    papers(demo)
    done = CliRunner().invoke(cli.app, ["expect"])
    assert done.exit_code == 0 and "data/expected/demo.json" in done.output and expected_file(demo, "other").is_file()
    assert "the same bits as expected: 2 of 2 papers" in CliRunner().invoke(cli.app, ["status"]).output
    file = expected_file(demo, "demo")
    file.write_text(re.sub(r'"hash": "\w', '"hash": "x', file.read_text(), count=1))
    said = CliRunner().invoke(cli.app, ["status"]).output
    assert "the same bits as expected: 1 of 2 papers" in said and "demo: Table 1 differ" in said
    assert [c.slug for c in comparisons(demo, ["demo", "other", "deepsdf"]) if c.differ] == ["demo"]


@pytest.mark.parametrize("broken", [(), ("demo",), ("demo", "other")])
def test_reproduce_builds_the_site_whatever_fails_and_lists_it_at_the_end(demo, monkeypatch, broken):
    from paper_kit.kit import site
    papers(demo, *broken)
    built = []
    monkeypatch.setattr(site, "site", lambda root: built.append(root) or root/"_site")
    done = CliRunner().invoke(cli.app, ["reproduce", "--cores", "1"])
    assert built == [demo] and done.exit_code == (1 if broken else 0)
    tail = done.output.split("index.html")[-1]
    assert all(f"{slug}: the kernel of {slug} died of SIGABRT" in tail for slug in broken)
    assert (f"{len(broken)} of 2 papers failed" in tail) == bool(broken)


def test_make_reproduce_goes_that_way():
    assert "paper-kit reproduce $(PAPERS)" in (ROOT/"Makefile").read_text()
