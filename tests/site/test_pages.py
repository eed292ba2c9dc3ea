"""site-src/ and the rendered pages, without a browser."""
import json, re
from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import unquote
import pytest, yaml
import synthetic
from paper_kit.kit import site as kit_site
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.site import (Page, as_markdown, definitions, described, doc_html, menu, navigation, pages, prose,
                                render_pandoc)


def sources(root): return sorted(p for p in (root/"site-src").rglob("*") if p.suffix in (".ipynb", ".qmd"))


def test_every_paper_has_a_page_and_the_description_lists_each_page_once(built, root, rows):
    for row in rows: assert (root/"site-src"/row["wing"]/f"{row['slug']}.ipynb").is_file(), row["slug"]
    items = menu(described(root)["website"]["sidebar"]["contents"])
    listed = [i.href for item in items for i in [item, *item.items]]
    assert sorted(listed) == sorted(p.relative_to(root).as_posix() for p in sources(root))


def test_the_description_says_what_both_renderers_need(root, built):
    config = described(root)
    assert config["project"]["type"] == "website" and config["project"]["output-dir"] == "_site"
    assert all(p.startswith("site-src/") for p in config["project"]["render"])
    assert config["execute"] == {"enabled": False}
    for path in sources(root):
        assert any(PurePosixPath(path.relative_to(root).as_posix()).match(p) for p in config["project"]["render"]), path
    assert set(config["format"]["html"]["theme"]) == {"light", "dark"}
    assert (root/config["format"]["html"]["include-in-header"]).is_file()


def test_the_navigation_in_the_repository_is_the_generated_one():
    from paper_kit.kit.files import project_root
    from paper_kit.kit.records import status
    root = project_root()
    assert navigation(status(root), root).strip() in (root/"_quarto.yml").read_text(encoding="utf-8"), "run make sync"


def test_no_directive_is_left_that_is_not_a_yaml_mapping(built, root):
    for path in sources(root):
        if path.suffix != ".ipynb": continue
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            lines = (re.findall(r"^\s*#\|(.*)$", "".join(cell["source"]), flags=re.M)
                     if cell["cell_type"] == "code" else [])
            if lines: assert isinstance(yaml.safe_load("\n".join(lines)), dict), (path, lines)


def test_sources_are_valid_notebooks_that_hold_no_output_and_no_widget(built, root):
    import nbformat
    for path in sources(root):
        if path.suffix != ".ipynb": continue
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.cells[0].cell_type == "raw" and yaml.safe_load(notebook.cells[0].source.strip("-\n"))["title"]
        assert all(not c.outputs for c in notebook.cells if c.cell_type == "code")


def published(root): return as_markdown(root/"site-src"/synthetic.wing/f"{synthetic.slug}.ipynb")


def test_the_published_page_has_what_the_notebook_had(built, root):
    text = published(root)
    assert ("widget-view" not in text and "secret_cell" not in text and "a warning" not in text
            and "default_exp" not in text)
    assert ('src="../../figures/synthetic_paper/figure-4.html"' in text
            and 'src="../../figures/synthetic_paper/figure-4.png"' in text)
    assert '<figure class="exhibit" id="fig-4">' in text and "[Figure 4](#fig-4)" in text
    assert ("[Table 1](#tbl-1)" in text and 'id="tbl-1"' in text and "[C1](#claim-c1)" in text
            and 'id="claim-c1"' in text)
    assert text.index("figure-4.png") < text.index("figure-4.html")
    assert ('code-fold="true" code-summary="rho(x, alpha=1.0, *, c=1.0)"' in text and 'code-summary="Set-up"' in text
            and 'code-summary="How it was called"' in text)
    assert "only output" in text and "print('only output')" not in text
    assert ("figures/synthetic_paper/synthetic_paper.ipynb" in text
            and "papermill nbs/learning/synthetic_paper.ipynb" in text)
    assert "[`write_atomic`](../../site-src/api/kit.files.html#write_atomic)" in text
    assert "html\n- zebrafish" not in text and ":\n\n- zebrafish" in text


def test_the_rendered_page_has_numbers_folds_callouts_and_mathematics(built):
    page = (built/"site-src"/synthetic.wing/f"{synthetic.slug}.html").read_text(encoding="utf-8")
    assert ('<span class="equation-number">(8)</span>' in page and 'id="equation-loss"' in page
            and '<a href="#equation-loss">Eq. 8</a>' in page)
    assert ('id="fig-own"' in page and '<a href="#fig-own" class="crossref">Figure\u00a01</a>' in page
            and "Counted by the renderer." in page)
    assert 'id="eq-energy"' in page and "Equation&nbsp;1" in page.replace("\u00a0", "&nbsp;")
    assert "<math" in page and "\\tag" not in page
    assert 'class="callout callout-tip"' in page and '<details class="callout callout-note">' in page
    assert ('<details class="code-fold">' in page and '<details class="code-fold" open>' not in page
            and "&lt;Eq 8&gt; and @nobody" in page)
    assert 'class="paper-kit-scroll wide"' in page and ".paper-kit-table{" not in page
    assert "citation" not in page.lower() or "(<strong>" not in page


def test_tables_of_nine_columns_are_set_small_and_headings_break_where_names_join():
    from paper_kit.kit.site import boxed
    def table(columns):
        return ("<p>a_b</p><table><thead><tr><th scope=\"col\">rot_le_30deg top-1 -</th>" + "<th>x</th>"*(columns - 1)
                + "</tr></thead><tbody><tr><td>k_1</td></tr></tbody></table>")
    for columns, box in ((8, '"paper-kit-scroll"'), (9, '"paper-kit-scroll wide"')):
        page = boxed(table(columns))
        assert f"class={box}" in page and page.count("<wbr>") == 3
        assert ('<th scope="col">rot_<wbr>le_<wbr>30deg top-<wbr>1 -</th>' in page and "<td>k_1</td>" in page
                and "<p>a_b</p>" in page)


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links = set(), []
    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("id"): self.ids.add(found["id"])
        for name in ("href", "src"):
            if found.get(name): self.links.append((tag, name, found[name]))


def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(built):
    seen, broken = {}, []
    def parsed(path):
        if path not in seen:
            seen[path] = Links()
            seen[path].feed(path.read_text(encoding="utf-8"))
        return seen[path]
    for page in built.rglob("*.html"):
        for tag, name, link in parsed(page).links:
            if re.match(r"[a-z][a-z+.-]*:|//", link):
                if tag != "a" and not link.startswith("data:"): broken.append(f"{page.relative_to(built)} loads {link}")
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent/unquote(path.split("?")[0])).resolve() if path else page
            if "figures/lib" in str(target) and not (built/"figures"/"lib").is_dir(): continue
            if not target.is_file(): broken.append(f"{page.relative_to(built)}: {link}")
            elif anchor and target.suffix == ".html" and unquote(anchor) not in parsed(target).ids:
                broken.append(f"{page.relative_to(built)}: no anchor {link}")
    assert not broken, "\n".join(broken[:20])


def test_no_identifier_stands_twice_on_a_page(built):
    for page in (built/"site-src").rglob("*.html"):
        ids = re.findall(r'\sid="([^"]+)"', re.sub(r'srcdoc="[^"]*"', "", page.read_text(encoding="utf-8")))
        assert len(ids) == len(set(ids)), (page, sorted({i for i in ids if ids.count(i) > 1})[:5])


def test_reference_and_notebooks_lead_to_each_other(built):
    reference = (built/"site-src/api/learning.synthetic_paper.html").read_text(encoding="utf-8")
    page = (built/"site-src/learning/synthetic_paper.html").read_text(encoding="utf-8")
    assert ('../learning/synthetic_paper.html#api-rho' in reference and 'id="api-rho"' in page
            and "api/learning.synthetic_paper.html#rho" in page)
    assert 'id="api-renamed_since"' in page and "#renamed_since" not in page             # the module has it no longer


def test_the_page_of_a_wing_shows_the_figures_that_ask_for_it(tmp_path):
    row = {"slug": "one", "title": "A <Paper>", "state": "published"}
    (tmp_path/"data/papers").mkdir(parents=True), (tmp_path/"figures/one").mkdir(parents=True)
    (tmp_path/"data/papers/one.yaml").write_text(yaml.safe_dump({"figures": [{"id": "Figure 1", "shows": "x"},
                                                                             {"id": "Figure E2",
                                                                              "shows": "two \"things\"",
                                                                              "overview": "Both & together."}]}))
    for name in ("figure-1.png", "figure-e2.png"): (tmp_path/"figures/one"/name).write_bytes(b"")
    page = Page("shape3d/index.qmd", "Shapes")
    kit_site.overview_figures(page, tmp_path, row)
    (_, text), = page.cells
    assert ('src="../../figures/one/figure-e2.png"' in text and "Both &amp; together." in text
            and "A &lt;Paper&gt;" in text and "&quot;things&quot;" in text and "figure-1" not in text)
    kit_site.overview_figures(page, tmp_path, row | {"state": "owed"})
    (tmp_path/"figures/one/figure-e2.png").unlink()
    kit_site.overview_figures(page, tmp_path, row)
    assert len(page.cells) == 1


def test_the_page_of_a_wing_shows_its_methods_on_the_same_shapes(tmp_path):
    page = Page("shape3d/index.qmd", "Shapes")
    kit_site.wing_figure(page, tmp_path, "shape3d")
    assert page.cells == [] and page.media == {}
    (tmp_path/"data/wings").mkdir(parents=True)
    (tmp_path/"data/wings/shape3d.webp").write_bytes(b"picture")
    words = {"shows": "\"one\" chair", "caption": "Nine methods & `one` chair."}
    (tmp_path/"data/wings/shape3d.json").write_text(json.dumps(words))
    kit_site.wing_figure(page, tmp_path, "shape3d")
    (_, text), = page.cells
    (address, content), = page.media.items()
    assert content == b"picture" and f'src="{address}"' in text
    assert "&quot;one&quot; chair" in text and "Nine methods &amp; <code>one</code> chair." in text


def test_a_second_build_changes_nothing_and_asks_pandoc_nothing(built, root, rows, monkeypatch):
    before = {p: p.read_bytes() for p in built.rglob("*") if p.is_file()}
    monkeypatch.setattr(kit_site.subprocess, "run", lambda *a,
                        **k: pytest.fail("pandoc was called for an unchanged page"))
    pages(root, rows)
    render_pandoc(root)
    after = {p: p.read_bytes() for p in built.rglob("*") if p.is_file()}
    assert before == after


def test_a_failed_build_leaves_the_old_site(built, root, rows, monkeypatch):
    before = sorted(p.name for p in (root/"site-src").rglob("*"))
    monkeypatch.setattr(Page, "write", lambda self, folder: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError): pages(root, rows)
    assert sorted(p.name for p in (root/"site-src").rglob("*")) == before
    assert not [p for p in root.iterdir() if p.name.startswith(".site-src")]


def test_errors_name_file_and_next_step(tmp_path):
    (tmp_path/"_quarto.yml").write_text("website: [unclosed")
    with pytest.raises(PaperKitError, match="_quarto.yml") as caught: described(tmp_path)
    assert caught.value.next_step
    (tmp_path/"bad.ipynb").write_text("{not json")
    with pytest.raises(PaperKitError, match="bad.ipynb"): kit_site.read_cells(tmp_path/"bad.ipynb")


def test_signatures():
    found = definitions('def f(a, /, b: int = 2, *c, d=None, **e) -> "x": ...\n@patch\ndef g(self: Cls, x): '
                        '"doc"\nclass A(B):\n    def __init__(self, x=1): ...\n    def m(self): ...\n    def _n(self): '
                        '...\ndef _hidden(): ...')
    assert [(d.kind, d.signature, d.owner) for d in found] == [("function", "f(a, /, b: int = 2, *c, d=None, **e) -> "
                                                                            "'x'", ""),
                                                               ("method", "g(self: Cls, x)", "Cls"),
                                                               ("class", "A(x=1)", "")]
    assert [m.name for m in found[2].members] == ["m"] and definitions("not python(") == []


def test_docstrings_cannot_inject():
    assert doc_html("a <script>x</script> `b<c` @d") == "<p>a &lt;script&gt;x&lt;/script&gt; <code>b&lt;c</code> @d</p>"


def test_prose_leaves_code_alone():
    text = "```python\nx = 1\n- not a list\n`Page`\n```"
    assert prose(text, Page("kit/x.ipynb", "x"), {"Page": "kit.site"}) == text


def test_quarto_is_used_where_it_exists(root, rows, built, tmp_path, monkeypatch):
    called = []
    def run(command, **options):
        called.append(command)
        return type("Done", (), {"returncode": 1, "stderr": "ERROR: bad YAML", "stdout": ""})()
    monkeypatch.setattr(kit_site, "libraries", lambda root: None)
    monkeypatch.setattr(kit_site.subprocess, "run", run)
    with pytest.raises(PaperKitError, match="bad YAML"): kit_site.site(root, quarto="/opt/quarto", rows=rows)
    assert called == [["/opt/quarto", "render", str(root), "--no-execute"]]
