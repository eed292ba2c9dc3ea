"""The site in a browser with no network: from the disk and over http."""
import io
import os
import pytest
from helpers import eventually
import synthetic

pytestmark = pytest.mark.browser
paper = f"site-src/{synthetic.wing}/{synthetic.slug}.html"


def all_pages(built): return sorted(p.relative_to(built).as_posix() for p in built.glob("site-src/**/*.html"))


def settle(page): page.wait_for_load_state("load"); page.wait_for_timeout(60)


@pytest.mark.slow
def test_pages_load_cleanly_from_disk_and_never_scroll_sideways(watched, looked_at):
    w = watched(width=360, height=740)
    wide = []
    for path in looked_at:
        settle(w.open(path))
        if w.page.evaluate("document.documentElement.scrollWidth > innerWidth"): wide.append(path)
        assert not w.problems, (path, w.problems)
    assert not wide


def test_home_and_paper_over_http(watched, server):
    w = watched(base=server)
    for path in ("site-src/index.html", paper, "site-src/kit/site.html"):
        settle(w.open(path))
        assert not w.problems, (path, w.problems)
    w.open("index.html")
    w.page.wait_for_url("**/site-src/index.html")


@pytest.mark.parametrize("width", [360, 1600])
def test_pages_are_readable_at_both_ends(watched, width):
    w = watched(width=width)
    page = w.open(paper)
    settle(page)
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('article > p')).fontSize)") >= 14
    assert page.evaluate("document.querySelector('article').getBoundingClientRect().width") <= 900


def test_scoreboard_sorts_and_filters(watched, rows):
    w = watched()
    page = w.open("site-src/index.html")
    lines = page.locator("#scoreboard-table tbody tr:visible")
    assert lines.count() == len(rows)
    head = page.locator("#scoreboard-table thead th").nth(0)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    titles = [t.lower() for t in page.locator("#scoreboard-table tbody th").all_inner_texts()]
    assert titles == sorted(titles)
    page.locator("#scoreboard-table thead th").nth(7).locator("button").click()
    times = [row.locator("td").last.inner_text().strip() for row in page.locator("#scoreboard-table tbody tr").all()]
    known = sum(map(bool, times))                                      # papers with a time first, the others after them
    assert known >= 1 and all(times[:known]) and not any(times[known:])
    page.get_by_label("Filter papers by words").fill("synthetic")
    assert lines.count() == 1
    page.get_by_label("Filter papers by words").fill("")
    page.get_by_label("Filter by wing").select_option("language")
    assert lines.count() == sum(r["wing"] == "language" for r in rows)
    page.get_by_label("Filter by wing").select_option("")
    page.get_by_label("Filter by state").select_option("published")
    assert lines.count() == sum(r["state"] == "published" for r in rows)


def test_scoreboard_is_a_table_without_scripts(browser, built, rows):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{built.as_uri()}/site-src/index.html")
    assert (page.locator("#scoreboard-table tbody tr").count() == len(rows)
            and page.locator("#scoreboard-table thead th").first.inner_text() == "Paper")
    assert not page.locator(".search-button").is_visible()
    context.close()


def test_search_finds_a_word_by_its_beginning_and_opens_it_by_keyboard(watched):
    w = watched()
    page = w.open("site-src/kit/index.html")
    page.keyboard.press("/")
    page.locator("dialog.search input").fill("zebraf")
    page.locator("#search-results li").first.wait_for()
    assert "zebrafish" in page.locator("#search-results li").first.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{paper}*")
    page.keyboard.press("Control+k")
    page.locator("dialog.search input").fill("no such word anywhere")
    assert eventually(page, lambda: "Nothing found" in page.locator(".search-note").inner_text())
    page.keyboard.press("Escape")
    assert not page.locator("dialog.search").is_visible()
    assert not w.problems


def test_dark_is_remembered(watched):
    w = watched()
    page = w.open("site-src/index.html")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark and page.locator(".theme-button").get_attribute("aria-pressed") == "true"
    settle(w.open(paper))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def contrast(page, selector):
    return page.evaluate("""(selector) => {
      const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
      const rgb = (s) => s.match(/[\\d.]+/g).map(Number);
      let worst = 99;
      for (const e of document.querySelectorAll(selector)) {
        let b = e; while (b && (rgb(getComputedStyle(b).backgroundColor)[3] === 0)) b = b.parentElement;
        const [x, y] = [lum(rgb(getComputedStyle(e).color).slice(0, 3)), lum(rgb(getComputedStyle(b || document.body).backgroundColor).slice(0, 3))].sort((p, q) => q - p);
        worst = Math.min(worst, (x + .05) / (y + .05));
      }
      return worst; }""", selector)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_code_and_chips_have_contrast(watched, scheme):
    w = watched(scheme=scheme)
    page = w.open(paper)
    settle(page)
    for selector in ("article p", "code span.kw", "code span.st", "code span.co", "code span.fu", "pre.output",
                     "figcaption", ".toc a", ".sidebar a", "summary"):
        assert contrast(page, selector) >= 4.5, selector
    page = w.open("site-src/index.html")
    for selector in (".chip", ".badge", "#scoreboard-table td"): assert contrast(page, selector) >= 4.5, selector


def test_code_folds_and_copies(watched):
    w = watched()
    w.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = w.open(paper)
    fold = page.locator("details.code-fold").filter(has_text="rho(x, alpha=1.0, *, c=1.0)").first
    assert fold.get_attribute("open") is None
    fold.locator("summary").click()
    block = fold.locator("div.sourceCode")
    block.hover()
    block.get_by_role("button", name="Copy this code").click()
    assert eventually(page, lambda: block.locator("button.copy").inner_text() == "Copied", 3)
    assert page.evaluate("navigator.clipboard.readText()").startswith("def rho(")
    button = page.locator(".fold-all")
    button.click()
    assert page.locator("details.code-fold[open]").count() == 0 and button.inner_text() == "Open it all"


def test_a_link_into_a_folded_part_opens_it(watched):
    page = watched().open("site-src/learning/adaptive_robust_loss.html")
    settle(page)
    inside = page.evaluate("document.querySelector('details.part [id^=api-]').id")
    assert not page.evaluate("id => document.getElementById(id).closest('details.part').open", inside)
    page.goto(page.url.split("#")[0] + "#" + inside)
    assert eventually(page, lambda: page.evaluate("id => document.getElementById(id).closest('details.part').open",
                                                  inside))


def test_a_link_below_exhibits_arrives_and_stays(watched):
    page = watched().open(f"{paper}#claims")
    # the page ends soon after it
    there = lambda: 0 <= page.evaluate("document.getElementById('claims').getBoundingClientRect().top") < 400
    page.wait_for_timeout(1500)                                                                     # and it stays there
    assert eventually(page, there)


def test_exhibits_size_themselves_and_previews_give_way(watched):
    page = watched().open(paper)
    frames = page.locator("figure.exhibit > iframe").all()
    for frame in frames:
        frame.scroll_into_view_if_needed()
        # the exhibit tells its height once it is loaded
        eventually(page, lambda: frame.bounding_box()["height"] != 480)
    heights = [f.bounding_box()["height"] for f in frames]
    assert 250 < heights[0] < 320 and all(h != 480 for h in heights)
    assert page.locator("figure.swap > img").first.is_hidden() and page.locator("figure#fig-4 > img").is_visible()


def test_the_menu_opens_on_a_phone(watched):
    page = watched(width=360, height=740).open(paper)
    assert not page.locator(".sidebar").is_visible()
    page.get_by_role("button", name="Menu").click()
    assert page.locator('.sidebar a[aria-current="page"]').is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".sidebar").is_visible()


def test_a_wide_table_scrolls_in_its_box(watched):
    page = watched(width=360).open(paper)
    box = page.locator("#tbl-1 .paper-kit-scroll")
    assert (box.evaluate("e => e.scrollWidth > e.clientWidth + 50")
            and page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_headings_and_labels(watched, built):
    w = watched()
    for path in ("site-src/index.html", paper, "site-src/kit/index.html", "site-src/api/kit.site.html"):
        page = w.open(path)
        assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
        assert page.evaluate("[...document.querySelectorAll('button, input, select, iframe')].filter(e => "
                             "!(e.ariaLabel || e.title || e.textContent.trim() || e.labels?.length)).length") == 0, path
        assert page.evaluate("[...document.images].every(i => i.alt)"), path
        assert page.evaluate("[...document.querySelectorAll('figure.exhibit:not(.hero-exhibit) > img')].every(i => "
                             "i.width && i.getAttribute('height'))"), path


def differing(a: bytes, b: bytes) -> int:
    import numpy as np
    from PIL import Image
    x, y = (np.asarray(Image.open(io.BytesIO(i)).convert("RGB")).astype(int) for i in (a, b))
    return x.size if x.shape != y.shape else int((abs(x - y).max(axis=-1) > 8).sum())


def colours(image: bytes) -> int:
    from PIL import Image
    return len(Image.open(io.BytesIO(image)).convert("RGB").quantize(64).getcolors())


def exercise(page, frame, element, where):
    "Move every slider and drag every canvas of an exhibit; what is shown has to change."
    for slider in frame.locator("input[type=range]").all():
        if not slider.is_visible(): continue
        before = element.screenshot()
        slider.focus()
        key = "ArrowRight" if float(slider.input_value()) < float(slider.get_attribute("max") or 100) else "ArrowLeft"
        for _ in range(3): page.keyboard.press(key)
        assert eventually(page, lambda: differing(before, element.screenshot())
                          > 50), f"{where}: the slider changes nothing"
    target = next((c for c in frame.locator("canvas").all() if c.is_visible() and c.bounding_box()["width"] > 100
                   and frame.locator("[class*=k3d]").count()), None)
    if target:
        assert eventually(page, lambda: colours(target.screenshot()) > 2), f"{where}: the canvas is blank"
        page.wait_for_timeout(1000)
        before = target.screenshot()
        box = target.bounding_box()
        x, y = box["x"] + box["width"]/2, box["y"] + box["height"]/2
        page.mouse.move(x, y); page.mouse.down(); page.mouse.move(x + 60, y + 25, steps=6)
        page.mouse.move(x + 120, y + 40, steps=6)
        page.mouse.up()
        assert eventually(page, lambda: differing(before, target.screenshot()) > 100), f"{where}: nothing turns on drag"


def test_every_published_exhibit_moves(watched, built):
    files = sorted(built.glob("figures/*/*.html"))
    assert files
    for file in files:
        w = watched()
        page = w.open(file.relative_to(built).as_posix())
        if "dataset.ready" in file.read_text(encoding="utf-8"): page.wait_for_selector("body[data-ready]")
        exercise(page, page, page, file.name)
        assert not w.problems, (file, w.problems)


def test_scripts_of_exhibits_are_functions(watched):
    from helpers import ROOT
    from paper_kit.kit.show import exhibit_script
    page = watched().open(paper)
    files = sorted((ROOT/"paper_kit/assets/exhibits").glob("*.js"))
    kind = lambda text: page.evaluate("text => { try { return typeof (0, eval)('(' + text + ')') } "
                                      "catch (error) { return error.name } }", text.strip().rstrip(";"))
    assert files and all(kind(exhibit_script(f.name)) == "function" for f in files)
    assert kind("(root) => { let a = 1 let }") == "SyntaxError"


# Width and height in CSS pixels on a phone (358 wide inside a page of 390), where they exceed it: the list may only
# shrink.
too_large_for_a_phone = {
    "adaptive_robust_loss/figure-1": (358, 1694),
    "filterreg/figure-e1": (430, 800),
    "permutation_sync/figure-1": (361, 800),
    "semantic_2d3d2d/figure-2": (358, 877), "text2scene/figure-3": (358, 927),
    "visual_sound_25d/figure-1": (358, 855), "visual_sound_25d/figure-e2": (358, 1082)}


@pytest.mark.slow
def test_exhibits_fit_a_phone(watched, tmp_path):
    "No exhibit scrolls sideways or is taller than the screen at 390 pixels, but for those that are known."
    import shutil
    from helpers import ROOT
    from paper_kit.kit.show import write_libraries
    write_libraries(tmp_path/"lib")
    grown, fits = [], []
    for file in sorted((ROOT/"figures").glob("*/*.html")):
        name = f"{file.parent.name}/{file.stem}"
        (tmp_path/file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, tmp_path/file.parent.name)
        w = watched(base=tmp_path.as_uri(), width=358, height=800)
        page = w.open(f"{name}.html")
        page.wait_for_selector("body[data-ready]")
        page.wait_for_timeout(200)
        size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        most = too_large_for_a_phone.get(name, (358, 800))
        if size[0] > most[0] + 2 or size[1] > most[1] + 10: grown.append((name, size))
        if name in too_large_for_a_phone and size[0] <= 358 and size[1] <= 800: fits.append(name)
        w.context.close()
    assert not grown, grown
    assert not fits, f"they fit now, take them off the list: {fits}"


@pytest.mark.slow
def test_every_exhibit_inside_the_pages_moves(watched, built):
    for path in (paper, *(p for p in all_pages(built) if "/kit/" in p)):
        w = watched()
        page = w.open(path)
        settle(page)
        for i, element in enumerate(page.locator("iframe").all()):
            element.scroll_into_view_if_needed()
            page.wait_for_timeout(900)
            if element.content_frame.locator("body[data-ready], body[data-failed]").count() == 0:
                page.wait_for_timeout(3000)
            exercise(page, element.content_frame, element, f"{path}, exhibit {i + 1}")
        assert not w.problems, (path, w.problems)


long_pages = ("learning/adaptive_robust_loss", "shape3d/occupancy_networks", "shape3d/ss3d_point_clouds")


@pytest.mark.parametrize("path", long_pages)
def test_a_paper_opens_on_one_screen_and_ends_within_twenty_five(watched, path):
    w = watched(width=1280, height=900)
    page = w.open(f"site-src/{path}.html")
    settle(page)
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollHeight") <= 25*900
    place = lambda selector: page.locator(selector).first.bounding_box()
    picture = place(".cover-picture img")
    assert (picture["y"] + picture["height"] <= 800 and picture["width"] >= 300 and place(".lead")["y"] < 300
            and place("ul.headlines")["y"] < 800)
    assert page.locator("details.code-fold[open], details.part[open]").count() == 0
    for chip in page.locator("ul.headlines a").all():                                  # each headline leads to its card
        assert page.locator(chip.get_attribute("href")).count() == 1
    wrapped = page.evaluate("""() => { for (const d of document.querySelectorAll('details')) d.open = true;
      return [...document.querySelectorAll('article div.sourceCode > pre')].filter(p => p.scrollWidth > p.clientWidth + 1).length }""")
    assert wrapped == 0 and page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 1100, 1600])
def test_the_contents_can_be_folded_at_every_width(watched, width):
    page = watched(width=width, height=800).open(f"site-src/{long_pages[0]}.html")
    settle(page)
    contents = page.locator(".toc details")
    before = contents.evaluate("d => d.open")
    assert before == (width > 1360)
    page.locator(".toc summary").click()
    assert contents.evaluate("d => d.open") != before
    assert page.locator(".toc a").first.is_visible() != before


def test_measured_stands_beside_reported_and_the_first_column_stays(watched):
    page = watched(width=1280, height=800).open("site-src/shape3d/occupancy_networks.html#tbl-1")
    settle(page)
    table = page.locator("#tbl-1 table")
    assert table.locator("thead tr").nth(1).locator("th").all_inner_texts()[:4] == ["paper", "ours", "paper", "ours"]
    assert ("airplane / plane" in table.locator("tbody th").all_inner_texts()
            and "Not measured here: bench" in page.locator("#tbl-1").inner_text())
    first = table.locator("tbody th").first
    before = first.bounding_box()["x"]
    page.locator("#tbl-1 .paper-kit-scroll").evaluate("e => { e.scrollLeft = 200 }")
    assert first.bounding_box()["x"] == before


@pytest.mark.parametrize("words, path", [("stylegan", "generative/stylegan"), ("cmr", "human3d/graph_cmr"),
                                         ("occnet", "shape3d/occupancy_networks"),
                                         ("mpi", "views/mpi_extrapolation"), ("mescheder", ""),
                                         ("barron", "learning/adaptive_robust_loss")])
def test_search_knows_papers_by_the_names_people_use(watched, words, path):
    page = watched().open("site-src/kit/index.html")
    page.keyboard.press("/")
    page.locator("dialog.search input").fill(words)
    page.locator("#search-results li").first.wait_for()
    first = page.locator("#search-results a").first.get_attribute("href")
    assert first.endswith(f"site-src/{path}.html") if path else "/papers/" not in first


def test_a_picture_opens_at_its_own_size(watched):
    page = watched().open(paper)
    settle(page)
    page.locator("figure#fig-4 > img").click()
    assert (page.locator("dialog.zoom").is_visible()
            and page.locator("dialog.zoom img").get_attribute("alt").startswith("Figure 4"))
    page.locator("dialog.zoom").click()
    assert not page.locator("dialog.zoom").is_visible()


@pytest.fixture(scope="session")
def axe():
    from helpers import ROOT
    found = sorted((ROOT/"runs/tools").glob("axe-core-*/package/axe.min.js"))
    if not found:
        pytest.skip("axe-core is not in runs/tools: scripts/system.sh fetches it with npm, which needs npm and a "
                    "network")
    return found[-1].read_text(encoding="utf-8")


always = ("site-src/index.html", paper, "site-src/shape3d/index.html", *(f"site-src/{p}.html" for p in long_pages))


def rotating(pages: list, count: int) -> list:
    "`count` of the pages, others for each commit: so many take a quarter of an hour."
    import subprocess
    from helpers import ROOT
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    begin = int(commit or "0", 16) % len(pages)
    return (pages*2)[begin:begin + count]


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_serious(watched, built, axe, scheme, width):
    """The home page, a wing's, the long papers, and six others of each commit (all where PAPER_KIT_EVERY_PAGE is set: a
    quarter of an hour); in the dark theme and on a phone the first four."""
    others = [p for p in all_pages(built) if p not in always]
    more = others if os.environ.get("PAPER_KIT_EVERY_PAGE") else rotating(others, 6)
    looked, serious = (*always, *more) if (scheme, width) == ("light", 1280) else always[:4], []
    print("axe:", *looked)
    for path in looked:
        w = watched(scheme=scheme, width=width)
        page = w.open(path)
        settle(page)
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run(document, {iframes: false, resultTypes: "
                              "['violations']})).violations.map(v => [v.id, v.impact, v.nodes.length, "
                              "v.nodes[0].html.slice(0, 160)])")
        serious += [(path, *v) for v in found if v[1] in ("serious", "critical")]
        w.context.close()
    assert not serious, "\n".join(map(str, serious[:20]))
