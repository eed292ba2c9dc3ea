"""A small published paper with every kind of output a page can hold, for the tests of the site."""
import base64, html, io, json
from pathlib import Path

slug, wing = "synthetic_paper", "learning"
row = {"slug": slug, "title": "A Synthetic Paper: for the Tests of the Site", "venue": "NONE 2026", "wing": wing,
       "summary": "Two exhibits, a table, three claims.",
       "state": "published", "profile": "cpu", "fresh": True, "tables": [1, 2], "figures": [2, 2],
       "claims": {"holds": 1, "fails": 1, "undecided": 1, "untested": 0, "owed": 2, "total": 5}, "wall_s": 312.0,
       "notebook": f"nbs/{wing}/{slug}.ipynb", "problem": ""}

slider = """<!doctype html><html lang="en"><meta charset="utf-8"><title>slider</title><body style="margin:0;font:15px sans-serif">
<label>alpha <input type="range" min="0" max="4" value="0" step="1" aria-label="alpha" style="width:60%"></label><br><img alt="a bar" style="max-width:100%">
<script>
const input = document.querySelector("input"), image = document.querySelector("img");
function draw() { const c = document.createElement("canvas"); c.width = 600; c.height = 240; const g = c.getContext("2d");
  g.fillStyle = "#fff"; g.fillRect(0, 0, 600, 240); g.fillStyle = "#0f6a80"; g.fillRect(20, 20, 100 + 110 * input.value, 200); image.src = c.toDataURL(); }
input.addEventListener("input", draw); draw();
const post = () => parent.postMessage({ paperKitHeight: document.body.offsetHeight }, "*");
image.onload = post; new ResizeObserver(post).observe(document.body);
</script></body></html>
"""

scene = """<!doctype html><html lang="en"><meta charset="utf-8"><title>scene</title><body style="margin:0"><div class="k3d-target"><canvas width="600" height="300" style="max-width:100%"></canvas></div>
<script>
const canvas = document.querySelector("canvas"), g = canvas.getContext("2d"); let turn = 0, down = null;
function draw() { g.fillStyle = "#fff"; g.fillRect(0, 0, 600, 300); for (let i = 0; i < 9; i++) { g.fillStyle = `hsl(${i * 40} 60% 45%)`; g.fillRect(300 + 220 * Math.cos(turn + i) - 20, 150 + 90 * Math.sin(turn + i) - 20, 40, 40); } }
canvas.addEventListener("pointerdown", (e) => { down = e.clientX; }); addEventListener("pointermove", (e) => { if (down !== null) { turn += (e.clientX - down) / 50; down = e.clientX; draw(); } }); addEventListener("pointerup", () => { down = null; });
draw(); parent.postMessage({ paperKitHeight: 310 }, "*");
</script></body></html>
"""


def png(width=900, height=420, shade=0):
    from PIL import Image, ImageDraw
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for i in range(12):
        draw.line([(40, 380 - 25*i), (width - 40, 40 + 20*i + shade)], fill=(15, 106, 128 + 8*i), width=4)
    out = io.BytesIO()
    image.save(out, "png", optimize=True)
    return out.getvalue()


def table():
    head = "".join(f"<th>{c}</th>" for c in ("method", *[f"noise {i}" for i in range(14)]))
    rows = "".join(f"<tr><td>{name}</td>" + "".join(f"<td>{0.1*i + k:.3f}</td>" for i in range(14)) + "</tr>" for k,
                   name in enumerate(("L2", "Huber", "ours")))
    return (f'<style>.paper-kit-table{{color:black}}</style><div style="overflow-x:auto"><table '
            f'class="paper-kit-table"><caption><strong>Table 1</strong> '
            f'errors</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')


def _code(source, *outputs, tags=()):
    return {"cell_type": "code", "execution_count": None, "metadata": {"tags": list(tags)} if tags else {},
            "outputs": list(outputs), "source": source.splitlines(True)}


def _text(source): return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(True)}


def _shown(data, about=None):
    return {"output_type": "display_data", "data": data, "metadata": {"paper_kit": about} if about else {}}


def notebook():
    picture = base64.b64encode(png()).decode()
    frame = lambda name: (f'<iframe class="paper-kit-exhibit" src="{name}" title="{name}" loading="lazy" '
                          f'style="width:100%;height:480px;border:0"></iframe>')
    claim = lambda i, v: (f'<div class="paper-kit-claim {v}" style="border-left:4px solid green;padding:.5em '
                          f'1em"><div><span class="paper-kit-chip">{v}</span> <strong>{i}</strong></div><div>A claim '
                          f'about numbers.</div></div>')
    return {"nbformat": 4, "nbformat_minor": 5,
            "metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}, "cells": [
_text("# A Synthetic Paper\n\n> One formula, one slider, one table.\n\nThe rest of the first cell, with a list:\n- "
      "zebrafish are striped\n- lists need a blank line\n"),
_code(f"#| default_exp {wing}.{slug}"),
_code('profile = "smoke"\nseed = 0', tags=["parameters"]),
_code("#| hide\nsecret_cell = 1"),
_code("paper = Paper('synthetic_paper', profile=profile)\npaper.header()",
      _shown({"text/html": '<div class="paper-kit-card">3 claims</div>'}, {"card": slug})),
_text("## The idea\n\nThe loss of @fig-4 is\n\n$$\\rho(x, \\alpha) = \\frac{b}{\\alpha}\\left(\\left(\\frac{x^2}{b} + "
      "1\\right)^{\\alpha/2} - 1\\right) \\tag{8}$$ {#eq-loss}\n\nand $b = |\\alpha - 2|$. It counts from one:\n\n$$ e "
      "= mc^2 $$ {#eq-energy}\n\nas @eq-energy says, and @eq-loss. `write_atomic` is a function of ours."),
_text("::: {.callout-tip}\n## Good to know\nCallouts work.\n:::\n\n::: {.callout-note collapse=\"true\" "
      "title=\"Folded\"}\nHidden at first.\n:::"),
_code('#| export\nfrom __future__ import annotations\nimport math'),
_code('#| export\ndef rho(x: float, alpha: float = 1.0, *, c: float = 1.0) -> float:\n    "The loss of `x` at shape '
      '`alpha`; see <Eq 8> and @nobody."\n    if alpha == 2: return 0.5*(x/c)**2  # the limit\n    b = abs(alpha - '
      '2)\n    return b/alpha*(((x/c)**2/b + 1)**(alpha/2) - 1)'),
_code('#| export\ndef renamed_since(x: float) -> float:\n    "The module has it no longer."\n    return x'),
_code("#| code-fold: true\n#| code-summary: \"How it was called\"\nrho(1.0)",
      {"output_type": "execute_result", "data": {"text/plain": "0.41421356"}, "metadata": {}, "execution_count": None}),
_code("#| echo: false\nprint('only output')", {"output_type": "stream", "name": "stdout",
                                               "text": ["only output\n", "``` fence\n"]},
      {"output_type": "stream", "name": "stderr", "text": ["a warning\n"]}),
_text("## Experiments"),
_code("paper.figure('Figure 4', fig, interactive=view)",
      _shown({"image/png": picture, "text/plain": "Figure 4"},
             {"exhibit": "Figure 4", "file": "figure-4.png", "caption": "Losses over $\\alpha$, and *influence*."}),
_shown({"text/html": frame("figure-4.html"), "application/vnd.jupyter.widget-view+json": {"model_id": "0"}},
       {"interactive": "figure-4.html", "exhibit": "Figure 4"})),
_code("view", _shown({"image/png": picture}), _shown({"text/html": f'<iframe class="paper-kit-exhibit" '
                                                                   f'srcdoc="{html.escape(scene, quote=True)}" '
                                                                   f'title="scene" '
                                                                   f'style="width:100%;height:480px;border:0"></iframe>'})),
_code("#| label: fig-own\n#| fig-cap: \"Counted by the renderer.\"\ndraw()", _shown({"image/png": picture})),
_text("As @fig-own shows."),
_code("paper.figure('Figure 5', fig, interactive=scene)",
      _shown({"image/png": picture}, {"exhibit": "Figure 5", "file": "figure-5.png", "caption": "A scene."}),
      _shown({"text/html": frame("figure-5.html")}, {"interactive": "figure-5.html", "exhibit": "Figure 5"})),
_code("paper.table('Table 1', frame)", _shown({"text/html": table(), "text/plain": "table"},
                                              {"table": "Table 1", "file": "table-1.csv"})),
_text("See @tbl-1 and @claim-c1.\n\n## Claims"),
_code("paper.claim('C1', values, test)", _shown({"text/html": claim("C1", "holds")}, {"claim": "C1"})),
_code("paper.claim('C2', values, test)", _shown({"text/html": claim("C2", "fails")}, {"claim": "C2"})),
_code("paper.finish()", _shown({"text/plain": "synthetic_paper at cpu: complete"}, {"finish": slug}))]}


def publish(root: Path) -> dict:
    "Put the paper into `root` as a published one; returns its row."
    folder = root/"figures"/slug
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {f"{slug}.ipynb": json.dumps(notebook()), "figure-4.html": slider, "figure-5.html": scene,
                          "table-1.csv": "method,noise\nL2,1\n"}.items():
        (folder/name).write_text(content, encoding="utf-8")
    for name in ("figure-4.png", "figure-5.png"): (folder/name).write_bytes(png(shade=len(name)))
    source = root/"nbs"/wing/f"{slug}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(json.dumps({**notebook(), "cells": [{**c, "outputs": []} if c["cell_type"] == "code" else c
                                                          for c in notebook()["cells"]]}), encoding="utf-8")
    module = root/"paper_kit"/wing/f"{slug}.py"
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text('"One formula, one slider, one table."\nfrom __future__ import annotations\n\ndef rho(x: float, '
                      'alpha: float = 1.0, *, c: float = 1.0) -> float:\n    "The loss of `x` at shape `alpha`; see '
                      '<Eq 8> and @nobody."\n    return x\n', encoding="utf-8")
    return dict(row)
