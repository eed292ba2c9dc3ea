"""Tables, charts, covers and folds: what a page shows of a manifest and a record."""
import io
import json
import re

import pytest

from paper_kit.kit.charts import pairs, ratio_chart, ratios, share_near
from paper_kit.kit.cover import bibtex, byline, cover_picture, headlines, measured_text, strip_html
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.folds import fold_title, is_machinery, machinery, parts, split_headings
from paper_kit.kit.paper import Paper, load_manifest
from paper_kit.kit.search import keywords, search_records
from paper_kit.kit.tables import aligned, joined, key_faults, number_text, table_html, unmatched

REPORTED = {"columns": ["category", "IoU"], "rows": [["airplane", 0.571], ["bench", 0.485], ["car", 0.737]],
            "row_keys": {"airplane": "plane"}, "unmatched": {"bench": "not among our families"}}
MEASURED = {"columns": ["category", "IoU", "time"],
            "rows": [["plane", 0.61, 1], ["car", 0.7, 12.5], ["mean", 0.65, None]], "note": ""}
GROUPS = [("reported", REPORTED["columns"], REPORTED["rows"]), ("measured, our world, profile cpu", MEASURED["columns"],
                                                                MEASURED["rows"])]


def slugs(root): return sorted(p.stem for p in (root/"data/results").glob("*.json") if "." not in p.stem)


def test_rows_meet_by_name_or_key_and_the_others_say_why():
    assert joined(GROUPS, REPORTED["row_keys"], 2) == [{0: "airplane", 1: "plane"}, {0: "bench"},
                                                       {0: "car", 1: "car"}, {1: "mean"}]
    assert joined(GROUPS) == [{0: "IoU", 1: "IoU"}, {1: "time"}]
    assert unmatched(REPORTED, MEASURED["rows"]) == {"bench": "not among our families"}
    assert key_faults(REPORTED, MEASURED["columns"], MEASURED["rows"]) == []
    silent = {k: v for k, v in REPORTED.items() if k != "unmatched"} | {"row_keys": {"airplane": "glider"}}
    assert key_faults(silent, MEASURED["columns"], MEASURED["rows"]) == \
        ["row_keys: glider is no row of the run", "airplane: no measured row, and no reason",
         "bench: no measured row, and no reason"]


def test_measured_stands_beside_reported_in_each_row():
    html = table_html("Table 1", GROUPS, "higher", reported=REPORTED)
    head, body = html.split("<tbody>")
    assert re.findall(r'colspan="(\d)" scope="colgroup">(\w+)', head) == [("2", "IoU"), ("1", "time")]
    assert ([re.sub(r"<[^>]+>", "|", r).strip("|") for r in body.split("</tr>")[:1]]
            == ["airplane / plane||0.571||0.61||1\u2008\u2007"])
    assert "Not measured here: bench: not among our families." in html and '<th scope="row">' in body


def test_decimal_points_stand_under_each_other():
    assert aligned(["0.5", "0.25", "12", "–", "1e-7"]) == ["0.5\u2007", "0.25", "12\u2008\u2007\u2007", "–", "1e-7"]
    assert number_text(1839358) == "1,839,358"


def test_every_reported_row_of_the_published_papers_meets_a_measured_one_or_says_why(root):
    faults, paired = [], 0
    for slug in slugs(root):
        manifest, record = (load_manifest(root/f"data/papers/{slug}.yaml"),
                            json.loads((root/f"data/results/{slug}.json").read_text()))
        for name, reported in (manifest.get("reported") or {}).items():
            measured = record["tables"].get(name)
            if not isinstance(reported, dict) or not reported.get("rows") or measured is None: continue
            faults += [f"{slug}, {name}: {f}" for f in key_faults(reported, measured["columns"], measured["rows"])]
            paired += len(pairs(reported, measured))
    assert not faults, "\n".join(faults)
    assert paired > 1000


def test_every_published_paper_has_an_idea_a_student_reads_and_names_people_use(root):
    for slug in slugs(root):
        manifest = load_manifest(root/f"data/papers/{slug}.yaml")
        assert 8 <= len(manifest["idea"].split()) <= 30, slug
        record = json.loads((root/f"data/results/{slug}.json").read_text())
        assert cover_picture(manifest, record,
                             root/"figures"/slug)[1] and manifest["aliases"] and manifest["cover"] in record[
                                 "figures"], slug
        assert 1 <= strip_html(manifest, record).count("<li>") <= 6, slug
    found = lambda slug: keywords(root, slug, load_manifest(root/f"data/papers/{slug}.yaml"))
    assert ("cmr" in found("graph_cmr") and "occnet" in found("occupancy_networks")
            and "mpi" in found("mpi_extrapolation") and "stylegan" in found("stylegan"))


def test_the_chart_counts_and_leaves_out_what_has_no_ratio():
    manifest = {"reported": {"Table 1": REPORTED | {"rows": [["airplane", 0.5], ["car", -1.0]]}}}
    assert ratios(manifest, {"tables": {"Table 1": MEASURED}}) == {"Table 1": [pytest.approx(1.22)]}
    svg = ratio_chart([("One", "one.html", [1.0, 1.24, 3.0]), ("Two", "", [100.0])], "Both.")
    assert (share_near([1.0, 1.24, 3.0]) == "2 of 3" and "2 of 4" in svg and svg.count("<circle") == 3
            and svg.count("<path") == 1)
    assert ratio_chart([("None", "", [])], "Nothing.") == ""


def test_the_cover_shows_headlines_first_and_never_invents():
    claims = ([{"id": f"C{i}", "text": f"claim {i}", "kind": "property"} for i in range(8)]
              + [{"id": "C9", "text": "the one", "kind": "headline"}])
    assert [c["id"] for c in headlines({"claims": claims})] == ["C9"]
    assert len(headlines({"claims": [{k: v for k, v in c.items() if k != "kind"} for c in claims]})) == 4
    assert strip_html({"claims": claims}, {"claims": {}}) == ""
    values = {"ours": [1.0, 2.0], "rival": [[3.0], [5.0]], "third": 9}
    assert measured_text({"values": values}) == "ours 1.5, rival 4"
    compared = {"names": ["ours", "third"], "ours": 1.5, "rival": 9.0}
    assert measured_text({"values": values, "rows": [{"condition": "a count"}, compared]}) == "ours 1.5, third 9"
    assert measured_text({"values": values, "rows": [compared | {"trend": True}]}) == "ours 1.5, rival 4"
    assert ("javascript" not in byline({"authors": "A & B", "links": {"paper": "javascript:x"}})
            and "A &amp; B" in byline({"authors": "A & B"}))
    assert bibtex({"slug": "x", "title": "T", "venue": "CVPR 2019", "authors": "A B, C D"}).count(" and ") == 1


PAGE = [("prose", "## Build it\n\nAn overview.\n\n### A layer\n\nWhat it does.\n\n```\n### no heading\n```\n\n"
         + "How. "*200), ("code", "x"),
        ("prose", "### Table 1\n\nShown."), ("markdown", '<div id="tbl-1">'), ("prose", "## Claims\n\nAll."),
        ("markdown", '<div id="claim-c1">')]


def test_parts_fold_behind_a_paragraph_and_numbered_ones_stay_open():
    out = [t for _, t in parts(PAGE)]
    opened = next(i for i, t in enumerate(out) if ".part" in t)
    assert (out[opened - 1] == "### A layer\n\nWhat it does." and 'title="Read on (1 piece of code)"' in out[opened]
            and out.count("::::::") == 1)
    assert out.index("::::::") < out.index('<div id="tbl-1">') and "### no heading" in out[opened + 1]
    bare = lambda texts: "".join("".join(texts).split())
    assert bare(t for _, t in PAGE) == bare(t for t in out if not t.startswith("::::::"))   # nothing is dropped
    assert len(split_headings(PAGE)) == 7


def test_machinery_is_known_by_what_it_defines():
    assert is_machinery("def figure_4(x): ...") and is_machinery("#| exporti\ndef sizes_of(p): ...\n_x = 1")
    assert not is_machinery("def loss(x): ...") and not is_machinery("print(1)") and not is_machinery("(")
    assert machinery([]) == [] and machinery([("code", "x")])[-1][1] == "::::::"
    assert (fold_title("def f(a: int, b=2) -> int: ...\ndef g(): ...") == "f(a, b=2) and 1 more"
            and fold_title("1 +") == "Code")


def test_search_records_hold_names_and_say_what_is_a_paper():
    first, second = search_records("<p>Text</p><h2 id='a'>Head</h2><p>More</p>", "T", "t.html",
                                   ["cmr", "graph cmr"], True)
    assert first["k"] == "cmr ; graph cmr" and first["p"] == 1 and "k" not in second and second["u"] == "t.html#a"


def test_a_sentence_takes_its_numbers_from_the_run(demo):
    import numpy as np
    paper = Paper("demo", root=demo)
    assert paper.say("Ours errs by {error:.2f} in {n} draws.", error=np.float32(0.123),
                     n=3) == "Ours errs by 0.12 in 3 draws."
    with pytest.raises(PaperKitError, match="eror"): paper.say("{eror}", error=1)
    with pytest.raises(PaperKitError): paper.say("{error:.2f}", error="many")


def test_a_published_picture_has_the_density_it_says(demo):
    import matplotlib.pyplot as plt
    from PIL import Image
    from paper_kit.kit.paper import _picture, density
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.plot([0, 1], [0, 1])
    data, suffix, small, dense = _picture(figure)
    wide = Image.open(io.BytesIO(data)).width
    assert dense == density >= 1.6 and abs(wide/dense - 700) < 3 and Image.open(io.BytesIO(small)).width <= 480
    import numpy as np
    data, suffix, small, dense = _picture(np.random.default_rng(0).random((64, 80, 3)))
    assert dense >= 1.6 and Image.open(io.BytesIO(data)).width == 160
