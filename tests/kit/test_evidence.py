"""Judging a published record again, what deciding costs, and validation curves from a training."""
import json
import shutil

import numpy as np
import pytest
import torch

from helpers import ROOT
from paper_kit.kit.claims import converged, less
from paper_kit.kit.files import PaperKitError, sha256
from paper_kit.kit.paper import load_manifest, load_record
from paper_kit.kit.train import train
from paper_kit.kit.records import power_rows
from paper_kit.kit.workflow import claims_in_words, power_text, refuse_decidable, rejudge


@pytest.fixture
def published(tmp_path):
    "A copy of one published paper."
    for name in ("data/results/sdrsac.json", "data/papers/sdrsac.yaml"):
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT/name, tmp_path/name)
    shutil.copytree(ROOT/"figures/sdrsac", tmp_path/"figures/sdrsac")
    return tmp_path


def test_a_record_is_judged_again_from_its_own_numbers(published):
    target = published/"data/results/sdrsac.json"
    old = json.loads(target.read_text())
    assert old["claims"]["C10"]["verdict"] == "holds"
    old["claims"]["C10"]["verdict"] = "fails"
    target.write_text(json.dumps(old))
    assert rejudge("sdrsac", published) == [("C10", "fails", "holds")]
    new = load_record(target)
    assert new["claims"]["C10"]["verdict"] == "holds" and new["judged"] >= 2
    for untouched in ("digest", "stages", "tables", "figures", "created", "profile", "seed"):
        assert new[untouched] == old[untouched]
    assert {c: r["values"] for c, r in new["claims"].items()} == {c: r["values"] for c, r in old["claims"].items()}
    assert {p.name: sha256(p) for p in (published/"figures/sdrsac").iterdir()} == new["files"]
    assert rejudge("sdrsac", published) == []


def undecided(n, spread, unit="seeds"):
    row = {"condition": "a < b", "verdict": "undecided", "n": n, "unit": unit, "margin": 1.0, "spread": spread}
    return {"verdict": "undecided", "measured": "", "values": {}, "rows": [row],
            "reason": "the interval contains the threshold"}


def test_power_says_what_an_undecided_claim_would_cost():
    manifest = load_manifest(ROOT/"data/papers/sdrsac.yaml")
    record = {"stages": [{"wall_s": 600.0}, {"wall_s": 300.0}],
              "claims": {"C9": undecided(3, 0.5), "C8": undecided(3, 30.0), "C1": undecided(40, 1, "cases")}}
    rows = {r["claim"]: r for r in power_rows(manifest, record)}
    assert rows["C9"]["needed"] == 5 and rows["C9"]["seconds"] == pytest.approx(600) and rows["C9"]["fits"]
    assert rows["C8"]["needed"] > 1000 and not rows["C8"]["fits"] and not rows["C1"]["fits"]
    assert rows["C9"]["left"] == 2700                           # an hour; two where a headline is undecided
    record["claims"]["C4"] = undecided(3, 0.5)
    assert power_rows(manifest, record)[0]["left"] == 6300
    assert "C9" in power_text(list(rows.values())) and power_text([]) == "no claim is undecided"
    with pytest.raises(PaperKitError, match="--undecided"):
        refuse_decidable("sdrsac", list(rows.values()))
    refuse_decidable("sdrsac", [rows["C8"]])


def test_the_scoreboard_counts_headlines_first():
    row = {"claims": {"holds": 3, "fails": 1, "total": 4},
           "kinds": {"headline": {"holds": 1, "fails": 1}, "property": {"holds": 2}}}
    assert claims_in_words(row) == "headlines 1 holds, 1 fails; all 3 holds, 1 fails"


def test_train_returns_the_validation_curve_that_converged_judges(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout(0.5))
    x = torch.linspace(-1, 1, 32)[:, None]
    modes = []

    def error():
        modes.append(model.training)
        return float(((model(x) - 2*x)**2).mean())

    loss = lambda: ((model[0](x) - 2*x)**2).mean()
    history = train(model, loss, 400, rate=0.05, validate=error, checkpoint=tmp_path/"c.safetensors", save_steps=100)
    curve = history["validation"]
    assert len(curve["value"]) == 20 and curve["step"][-1] == 400 and not any(modes) and model.training
    values = {"a": [1, 1.1, 0.9], "b": [2, 2.1, 2.2], "curve": curve["value"]}
    assert less("a", "b").given(converged("curve")).evaluate(values).verdict == "holds"
    falling, weight = iter(np.linspace(1, 0, 10)), torch.zeros((), requires_grad=True)
    early = train(weight, lambda: weight**2, 10, validate=lambda: next(falling), validations=10)
    assert (less("a", "b").given(converged("curve")).evaluate(values | {"curve": early["validation"]["value"]}).verdict
            == "undecided")
