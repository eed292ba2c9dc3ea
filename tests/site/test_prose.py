"""A number in prose is one that was measured, reported or set: what a run contradicts is found here.

A decimal number in a paper's prose has to stand, at the precision it is quoted with, in the published record (tables,
claims, figures), in the manifest (what the paper reports), in what a cell printed, or as a setting in the notebook's
code. What comes from elsewhere, an earlier run or the authors' text, is named below with its source."""
import functools
import json
import re

import pytest
import yaml

from helpers import ROOT as root

written = sorted(f.name for f in (root/"figures").iterdir() if (f/f"{f.name}.ipynb").is_file())
elsewhere = {
    "associative3d": {"34.9": "an earlier run", "24.3": "an earlier run", "30.4": "an earlier run"},
    "filterreg": {"10.8": "the bench"},
    "inverse_compositional": dict.fromkeys(("5.215", "11.175", "5.018", "11.407"),
                                           "the authors' classes beside ours, on their sample frames"),
    "mpi_extrapolation": {"2.4": "memory of one layer at full size, by its shape", "0.537": "an earlier run",
                          "0.569": "an earlier run", "0.574": "an earlier run",
                          "0.688": "an earlier run", "0.470": "an earlier run"},
    "sdrsac": {"1.48": "1.4826, rounded", "4.685": "Tukey's constant"},
    "semantic_2d3d2d": {"5.41": "the paper's layers, counted", "17.70": "the paper's layers, counted"},
    "stylegan": {"26.2": "section 4 of the paper", "23.1": "section 4 of the paper"},
    "text2scene": {"0.00005": "the paper's learning rate"},
    "visual_sound_25d": {"0.997": "an earlier run", "0.999": "an earlier run"},
}


def numbers_in(value) -> set[float]:
    "Every number of a nested value, those inside texts included."
    if isinstance(value, dict): return set().union(*map(numbers_in, value.values()))
    if isinstance(value, list | tuple): return set().union(*map(numbers_in, value))
    if isinstance(value, str): return {float(n) for n in re.findall(r"\d+\.\d+|\d+", value)}
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def quotes(prose: str) -> list[tuple[str, str]]:
    "The decimal numbers of a prose cell with the words after each; formulas, code, links and headings are left out."
    prose = re.sub(r"\$[^$]*\$|`[^`]*`|\]\([^)]*\)|\[@[^\]]*\]|^#.*$", " ", prose, flags=re.M)
    return [(m.group(), prose[m.end():m.end() + 12]) for m in re.finditer(r"(?<![\d.])\d+\.\d+(?!\.?\d)", prose)]


def matches(quote: str, after: str, known: set[float]) -> bool:
    "Is a known number, rounded as the quote is, the quote? Percentages and millions count in their own unit too."
    units = [1] + [100]*("%" in after or "percent" in after) + [1e-6]*("million" in after)
    half = 0.5000001*10.0**-len(quote.split(".")[1])
    return any(abs(unit*x - float(quote)) <= half for unit in units for x in known)


def strangers(cells: list, outputs: list, record: dict, manifest: dict, allowed=()) -> list[str]:
    "Numbers in the prose of a notebook that stand nowhere else."
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    settings = set(re.findall(r"\d+\.\d+", code)) | {f"{float(n):f}".rstrip("0") for n in re.findall(r"\de-\d+", code)}
    known = numbers_in([record.get(k, {}) for k in ("tables", "claims", "figures")]) | numbers_in(manifest)
    known |= numbers_in(outputs)
    return [quote for c in cells if c["cell_type"] == "markdown" for quote, after in quotes("".join(c["source"]))
            if quote not in settings and quote not in allowed and not matches(quote, after, known)]


def printed(notebook: dict) -> list[str]:
    "What the cells of an executed notebook printed as plain text."
    texts = []
    for output in (o for c in notebook["cells"] for o in c.get("outputs", [])):
        data = {"text/plain": output.get("text", ""), **output.get("data", {})}
        texts += ["".join(data[kind]) for kind in ("text/plain", "text/markdown") if kind in data]
    return texts


@functools.cache
def found(slug: str) -> tuple[str, ...]:
    source = json.loads(next((root/"nbs").glob(f"*/{slug}.ipynb")).read_text())
    run = json.loads((root/"figures"/slug/f"{slug}.ipynb").read_text())
    record = json.loads((root/"data/results"/f"{slug}.json").read_text())
    manifest = yaml.safe_load((root/"data/papers"/f"{slug}.yaml").read_text())
    return tuple(strangers(source["cells"], printed(run), record, manifest))


@pytest.mark.parametrize("slug", written)
def test_prose_quotes_what_was_measured_reported_or_set(slug):
    unknown = set(found(slug)) - set(elsewhere.get(slug, {}))
    assert not unknown, f"{slug}: {sorted(unknown)} stand in its prose and nowhere in its record, manifest or code"


def test_what_comes_from_elsewhere_is_still_quoted():
    gone = {slug: sorted(set(told) - set(found(slug))) for slug, told in elsewhere.items()}
    assert not any(gone.values()), {slug: numbers for slug, numbers in gone.items() if numbers}


def test_a_number_that_the_run_contradicts_is_found():
    prose = lambda text: [dict(cell_type="markdown", source=[text]), dict(cell_type="code", source=["rate = 0.002"])]
    record = dict(tables={"Table 1": dict(rows=[["ours", 0.4271], ["theirs", 0.3419]])})
    assert not strangers(prose("Ours has 0.427, theirs 34.2 percent, at 0.002."), [], record, {})
    assert strangers(prose("Ours has 0.437."), [], record, {}) == ["0.437"]
    assert strangers(prose("Ours has 42.7."), [], record, {}) == ["42.7"]
    assert not strangers(prose("Ours has $0.999$ and `0.998`."), [], record, {})
