"""Published pages, each built alone: what a reader sees first, how long a page is, how sharp its pictures are.

The site of the other tests publishes three papers in full; here every published paper has its turn, two of them in the
browser with each commit (all where PAPER_KIT_EVERY_PAGE is set)."""
import base64
import functools
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from helpers import ROOT, eventually
from paper_kit.kit.cover import measured_text
from paper_kit.kit.records import catalogue, status
from paper_kit.kit.site import (as_markdown, assets, body_of, boxed, called, described, framed, home_page, known_names,
                                link_tree, menu, modules, only_defined, paper_page, rendered, short, size_of)

published = sorted(f.name for f in (ROOT/"figures").iterdir() if (f/f"{f.name}.ipynb").is_file())


def turn(names: list, count: int = 2) -> list:
    "`count` of the names, others for each commit, or all of them."
    if os.environ.get("PAPER_KIT_EVERY_PAGE"): return names
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    begin = int(commit or "0", 16) % len(names)
    return (names*2)[begin:begin + count]


@functools.cache
def rows() -> list: return status(ROOT)


@functools.cache
def found() -> dict: return modules(ROOT)


def built(folder, page):
    "The page rendered into `folder` with what it shows; its address."
    page.write(folder/"site-src")
    path = f"site-src/{page.path}"
    text = as_markdown(folder/path)
    body = body_of(text, ROOT/"runs"/"site", ROOT/"data"/"references.bib")
    (folder/rendered(path)).write_text(framed(ROOT, described(ROOT), path, text, body, "alone")[0], encoding="utf-8")
    for pattern in ("*.css", "*.js", "*.svg"): link_tree(assets(), folder/"paper_kit"/"assets", pattern)
    return (folder/rendered(path)).as_uri()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from paper_kit.kit.show import write_libraries
    folder = tmp_path_factory.mktemp("alone")
    write_libraries(folder/"figures"/"lib", ("plotly", "k3d"))
    return folder


@pytest.fixture(scope="module")
def paper(folder):
    @functools.cache
    def make(slug):
        row = next(r for r in rows() if r["slug"] == slug)
        page = paper_page(ROOT, row, known_names(found()), "")
        module = f"{row['wing']}.{slug}"
        only_defined(page, module, found()[module][1])
        shutil.copytree(ROOT/"figures"/slug, folder/"figures"/slug, dirs_exist_ok=True)
        return built(folder, page)
    return make


@pytest.fixture(scope="module")
def home(folder):
    shutil.copytree(ROOT/"figures"/"occupancy_networks", folder/"figures"/"occupancy_networks", dirs_exist_ok=True)
    return built(folder, home_page(ROOT, rows(), catalogue(ROOT)["wings"], {}))


@pytest.fixture
def opened(browser):
    contexts = []
    def opened(address, **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(180_000)
        page.goto(address)
        return page
    yield opened
    for context in contexts: context.close()


place = """selector => { const r = document.querySelector(selector).getBoundingClientRect();
  return {left: r.left, right: r.right, top: r.top + scrollY, bottom: r.bottom + scrollY, width: r.width}; }"""


@pytest.mark.browser
@pytest.mark.parametrize("slug", turn(published))
def test_a_published_paper_opens_on_one_screen_and_ends_within_twenty_five(opened, paper, slug):
    page = opened(paper(slug))
    at = {s: page.evaluate(place, s) for s in (".lead", ".cover-picture img", "ul.headlines", ".cost")}
    assert at[".lead"]["top"] < 320 and at[".cover-picture img"]["bottom"] <= 800, at
    assert at["ul.headlines"]["top"] <= 800 and at[".cost"]["top"] < 3*900, at
    assert page.evaluate("document.documentElement.scrollHeight") <= 25*900
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.querySelectorAll('ul.headlines a')].every(a => document.querySelector("
                         "a.getAttribute('href')))")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_chart_cuts_no_name_and_keeps_its_letters(opened, home, width):
    page = opened(home, viewport={"width": width, "height": 800})
    cut = page.evaluate("""() => [...document.querySelectorAll('.ratio-row .label, .ratio-row .near')].filter(e => {
      const box = document.querySelector('.ratio-rows').getBoundingClientRect(), r = e.getBoundingClientRect();
      return r.left < box.left - 1 || r.right > box.right + 1 || e.scrollWidth > e.clientWidth + 1 ||
        parseFloat(getComputedStyle(e).fontSize) < 12; }).map(e => e.textContent)""")
    assert page.locator(".ratio-row .label").count() >= 15 and not cut
    sizes = lambda tag, side: page.evaluate(f"[...document.querySelectorAll('.ratio-row {tag}')].map(e => "
                                            f"e.getBoundingClientRect().{side})")
    dots, words = sizes("circle", "width"), sizes("text", "height")
    assert len(dots) > 1000 and min(dots) > 7
    assert len(words) == 5 and min(words) > 11 and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_on_a_phone_the_home_page_opens_with_its_exhibit(opened, home):
    page = opened(home, viewport={"width": 390, "height": 800})
    fits = lambda: page.evaluate(place, ".hero figure.exhibit iframe")
    assert eventually(page, lambda: fits()["bottom"] <= 800, 60), fits()
    nameless = page.evaluate("[...document.querySelectorAll('button, a')].filter(e => e.offsetWidth && !e.ariaLabel && "
                             "!e.innerText.trim()).map(e => e.outerHTML)")
    assert not nameless                                                  # words may be hidden where there is no room
    assert "inside" in page.locator(".hero figcaption").inner_text()               # the idea of the paper it is from


@pytest.mark.browser
def test_the_scoreboard_leaves_room_for_titles_and_the_repository_can_be_seen(opened, home):
    page = opened(home)
    lines = page.evaluate("[...document.querySelectorAll('#scoreboard-table tbody th')].map(h => h.clientHeight)")
    assert len(lines) == 48 and page.evaluate(place, "#scoreboard-table tbody th")["width"] >= 230
    assert page.evaluate("""() => { const b = document.querySelector('.scoreboard .paper-kit-scroll');
      return b.scrollWidth <= b.clientWidth + 1; }""")
    icon = page.evaluate(place, "header a.icon svg")
    assert icon["width"] >= 16 and icon["bottom"] - icon["top"] >= 16
    colours = page.evaluate("[getComputedStyle(document.querySelector('header a.icon svg')).stroke, "
                            "getComputedStyle(document.body).backgroundColor]")
    assert colours[0] != colours[1]


def test_what_two_measured_names_share_stands_once():
    said = lambda *names: measured_text({"values": {name: 0.5 + i for i, name in enumerate(names)}})
    assert said("PCK, ours, B", "PCK, matcher, B") == "PCK, B: ours 0.5, matcher 1.5"
    assert said("graph: MPJPE", "FC: MPJPE") == "MPJPE: graph 0.5, FC 1.5"
    assert said("gain, bowl", "loss") == "gain, bowl 0.5; loss 1.5"
    assert said("E2: gain") == "E2: gain 0.5" and said("ours", "theirs") == "ours 0.5, theirs 1.5"


def test_the_menu_names_every_paper_in_a_line_or_two():
    listed = [i for section in menu(described(ROOT)["website"]["sidebar"]["contents"]) for i in section.items]
    names = {i.href.split("/")[-1].removesuffix(".ipynb"): i.text for i in listed}
    known = {p["slug"]: p["title"] for p in catalogue(ROOT)["papers"]}
    assert set(known) <= set(names)
    for slug, title in known.items():
        assert names[slug] == (called(ROOT).get(slug) or short(title)) and len(names[slug]) <= 44, names[slug]


def test_a_table_that_scrolls_says_which_it_is():
    table = "<table><caption><strong>Table 2</strong> errors</caption><tr><td>1</td></tr></table>"
    assert 'aria-label="Table 2"' in boxed(table) and 'aria-label="table"' in boxed("<table><tr></tr></table>")


# Pictures with less than 1.6 pixels for each of the page's, of runs before pictures were drawn denser: a paper's own
# figures by name, and how many there are between its figures. The lists may only shrink.
sparse_figures = {
    "adaptive_robust_loss": {"Figure E1"}, "locating_objects": {"Figure E1"}, "visual_sound_25d": {"Figure 2"},
    "semantic_2d3d2d": {f"Figure {i}" for i in (3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}}
sparse_between = {
    "associative3d": 2, "cascaded_projection": 1, "deepsdf": 5, "fermat_paths": 4, "filterreg": 1, "graph_cmr": 2,
    "inverse_compositional": 4, "locating_objects": 2, "mpi_extrapolation": 6, "occupancy_networks": 3,
    "path_invariant_maps": 2, "permutation_sync": 4, "sdrsac": 2, "ss3d_point_clouds": 4, "stylegan": 2,
    "text2scene": 5, "unicorn": 4, "visual_sound_25d": 4}


def coarse(notebook: dict, folder) -> list[str]:
    "The pictures of an executed notebook with less than 1.6 pixels for each of the page's."
    out = []
    for output in (o for c in notebook["cells"] for o in c.get("outputs", [])):
        mime = next((m for m in ("image/png", "image/jpeg", "image/webp") if m in output.get("data", {})), None)
        if not mime: continue
        about = output.get("metadata") or {}
        meta = about.get("paper_kit", {})
        data = ((folder/meta["file"]).read_bytes() if meta.get("file")
                else base64.b64decode("".join(output["data"][mime])))
        shown = size_of(data, float(meta.get("density") or 1), (about.get(mime) or {}).get("width"))
        wide, whole = (int(re.search(r'width="(\d+)"', s)[1]) for s in (shown, size_of(data)))
        if whole < 1.6*wide - 1: out.append(f"{meta.get('exhibit') or 'a picture between'}: {whole} for {wide}")
    return out


@pytest.mark.parametrize("slug", published)
def test_pictures_are_drawn_denser_than_the_page(slug):
    folder = ROOT/"figures"/slug
    notebook = json.loads((folder/f"{slug}.ipynb").read_text(encoding="utf-8"))
    thin = coarse(notebook, folder)
    between = [t for t in thin if t.startswith("a picture between")]
    figures, known = {t.split(":")[0] for t in thin} - {"a picture between"}, sparse_figures.get(slug, set())
    assert len(between) <= sparse_between.get(slug, 0), between
    assert figures <= known, sorted(figures - known)
    assert figures == known, f"{slug}: dense now, take them off the list: {sorted(known - figures)}"


def test_a_coarse_picture_is_found(tmp_path):
    from synthetic import png
    output = lambda **about: {"data": {"image/png": base64.b64encode(png(900, 420)).decode()}, "metadata": about}
    look = lambda **about: coarse({"cells": [{"outputs": [output(**about)]}]}, tmp_path)
    assert look() == ["a picture between: 900 for 900"] and not look(**{"image/png": {"width": 500}})
    assert not look(paper_kit={"density": 1.8}) and look(paper_kit={"exhibit": "Figure 1", "density": 1.2})


def test_every_alias_of_a_manifest_reaches_the_search():
    from paper_kit.kit.search import keywords
    for path in sorted((ROOT/"data"/"papers").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        known = keywords(ROOT, path.stem, manifest)
        assert manifest["aliases"] and {path.stem, *map(str, manifest["aliases"])} <= set(known), path.stem
        assert set(str(manifest["authors"]).split(", ")) <= set(known), path.stem


def test_a_run_of_another_profile_says_whose_numbers_the_prose_quotes():
    from paper_kit.kit.paper import other_run
    said = other_run("smoke", {"profile": "cpu"})
    assert "<b>smoke</b>" in said and "published run, profile <b>cpu</b>" in said
    assert other_run("cpu", {"profile": "cpu"}) == other_run("smoke", None) == ""


@pytest.mark.parametrize("slug", published)
def test_the_picture_of_a_cover_is_wide_enough_to_read(slug):
    from PIL import Image
    from paper_kit.kit.cover import cover_picture
    record = json.loads((ROOT/"data"/"results"/f"{slug}.json").read_text(encoding="utf-8"))
    manifest = yaml.safe_load((ROOT/"data"/"papers"/f"{slug}.yaml").read_text(encoding="utf-8"))
    wide, high = Image.open(ROOT/"figures"/slug/cover_picture(manifest, record, ROOT/"figures"/slug)[1]).size
    if slug != "stylegan":                                                # a square of faces, without a word in it
        assert min(wide, 782, 323*wide/high) >= 540, "at most 323 pixels high: its labels will be too small"


def test_a_subtitle_that_repeats_the_idea_is_left_out():
    from paper_kit.kit.site import alike
    assert alike("Mix the channels of a layer into fewer, and write it down", "Mix the channels of a layer into fewer.")
    assert not alike("Textured meshes from photographs alone: no poses, no masks",
                     "A collection of photographs of one kind of object is enough to learn textured meshes.")
