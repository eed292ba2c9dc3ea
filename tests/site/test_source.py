"""What the site is made from: `_quarto.yml` as Quarto's reference documents it, and the weight of what is published."""
import re
from pathlib import Path

import yaml
from helpers import ROOT

config = yaml.safe_load((ROOT/"_quarto.yml").read_text(encoding="utf-8"))

# Options that we use of quarto.org/docs/reference/projects/websites.html and formats/html.html, and what they may be.
flag = lambda value: isinstance(value, bool)
text = lambda value: isinstance(value, str) and bool(value.strip())
address = lambda value: text(value) and re.fullmatch(r"https://[\w.-]+(/[\w./-]*)?", value) and not value.endswith("/")
one_of = lambda *allowed: lambda value: value in allowed
a_file = lambda value: text(value) and (ROOT/value).is_file()
mapping = lambda value: isinstance(value, dict)
website = {
    "title": text, "description": text, "site-url": address, "repo-url": address, "repo-branch": text,
    "repo-actions": lambda value: set(value) <= {"none", "edit", "source", "issue"}, "open-graph": flag,
    "image": a_file, "favicon": a_file, "search": flag, "page-navigation": flag, "bread-crumbs": flag,
    "navbar": mapping, "page-footer": mapping, "sidebar": mapping}
page = {
    "theme": lambda value: set(value) == {"light", "dark"}, "css": a_file, "include-in-header": text,
    "html-math-method": one_of("plain", "webtex", "gladtex", "mathml", "mathjax", "katex"),
    "html-table-processing": one_of("none"), "toc": flag, "toc-depth": lambda value: value in range(1, 7),
    "code-copy": flag, "code-overflow": one_of("scroll", "wrap")}


def faults(given: dict, known: dict) -> list[str]:
    return [f"{key}: {value}" for key, value in given.items() if key not in known or not known[key](value)]


def test_the_description_uses_the_keys_that_quarto_documents():
    assert set(config) <= {"project", "lang", "bibliography", "execute", "website", "format"}
    assert set(config["project"]) <= {"type", "output-dir", "render", "resources"}
    assert not faults(config["website"], website) and not faults(config["format"]["html"], page)
    assert config["format"]["html"]["code-overflow"] == "wrap" and config["website"]["open-graph"] is True
    assert {"site-url", "repo-url", "image"} <= set(config["website"])


def test_a_misspelt_key_or_value_is_found():
    for wrong in ({"site_url": "https://a.b"}, {"site-url": "a.b"}, {"open-graph": "yes"}, {"repo-actions": ["fork"]}):
        assert faults(wrong, website), wrong
    assert faults({"code-overflow": "fold"}, page)


# Bytes. What is over a limit today stands here with its size, rounded up to 5,000; the list may only shrink.
paper_limit, notebook_limit = 700_000, 400_000
heavy_papers = {
    "adaptive_robust_loss": 865_000, "associative3d": 820_000, "deepsdf": 895_000,
    "graph_cmr": 875_000, "inverse_compositional": 835_000, "locating_objects": 900_000,
    "mpi_extrapolation": 755_000,
    "occupancy_networks": 895_000, "path_invariant_maps": 825_000, "permutation_sync": 720_000,
    "semantic_2d3d2d": 860_000, "ss3d_point_clouds": 770_000, "stylegan": 890_000, "text2scene": 815_000,
    "visual_sound_25d": 880_000}
heavy_notebooks = {
    "nbs/shape3d/worlds.ipynb": 1_015_000, "nbs/kit/show.ipynb": 695_000, "nbs/kit/render.ipynb": 500_000,
    "nbs/kit/rays.ipynb": 465_000, "nbs/kit/scenes.ipynb": 440_000}


def size(path: Path) -> int:
    return sum(p.stat().st_size for p in path.iterdir() if p.is_file()) if path.is_dir() else path.stat().st_size


def misfits(sizes: dict, limit: int, heavy: dict) -> list[str]:
    "What is too heavy, and entries of `heavy` that are so no longer and must leave it."
    most = {name: heavy.get(name, limit) for name in sizes}
    grown = [f"{name}: {found:,} bytes, at most {most[name]:,}" for name, found in sizes.items() if found > most[name]]
    light = [name for name in heavy if sizes.get(name, 0) <= limit]
    return grown + [f"{name}: no longer over {limit:,}: take it off the list" for name in light]


def test_a_published_paper_stays_under_seven_hundred_kilobytes():
    sizes = {p.name: size(p) for p in (ROOT/"figures").iterdir() if p.is_dir() and p.name != "lib"}
    assert len(sizes) >= 16 and not misfits(sizes, paper_limit, heavy_papers)


def test_a_notebook_of_the_kit_or_of_a_world_stays_under_four_hundred_kilobytes():
    found = [p for pattern in ("kit/*.ipynb", "*/worlds.ipynb") for p in (ROOT/"nbs").glob(pattern)]
    sizes = {p.relative_to(ROOT).as_posix(): size(p) for p in found}
    assert len(sizes) > 20 and not misfits(sizes, notebook_limit, heavy_notebooks)


def test_an_entry_that_is_light_again_must_go():
    assert misfits({"a": 5, "b": 20}, 10, {"a": 12, "b": 25}) == ["a: no longer over 10: take it off the list"]
    assert misfits({"b": 30, "c": 11}, 10, {"b": 25}) == ["b: 30 bytes, at most 25", "c: 11 bytes, at most 10"]


def test_the_memory_of_a_run_is_that_of_its_heaviest_stage_too():
    from paper_kit.kit.cover import cost_html
    record = {"wall_s": 60, "device": "cpu", "peak_mb": 700, "profile": "cpu", "created": "2026-01-01T00:00:00",
              "stages": [{"peak_mb": 4200}, {"peak_mb": 100}]}
    assert "4.2 GB" in cost_html(record) and "0.7 GB" in cost_html(record | {"stages": []})
