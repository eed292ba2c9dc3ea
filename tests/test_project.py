"""What holds for the project as a whole: floors, generated files, notebooks, published records, size."""
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paper_kit.kit.files import sha256
from paper_kit.kit.paper import load_manifest, load_record
from paper_kit.kit.records import catalogue, torn_files
from paper_kit.kit.workflow import clean_notebook

from helpers import ROOT, project_files

NOTEBOOKS = sorted(p for p in (ROOT/"nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
PAPERS = [p for p in NOTEBOOKS if p.parent.name not in ("kit", "nbs") and p.stem != "worlds"]
RECORDS = sorted((ROOT/"data/results").glob("*.json"))
name = lambda p: p.stem


def ours(path):
    "Modules of ours that a module imports, at any depth of it, as dotted names."
    parts = ("paper_kit", *path.relative_to(ROOT/"paper_kit").with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = (".".join(parts[:-node.level] + ((node.module,) if node.module else ())) if node.level
                    else node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("module", sorted((ROOT/"paper_kit").glob("*/*.py")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_floors_arrows_point_downwards_only(module):
    wing = module.parent.name
    for target in ours(module):
        parts = target.split(".")
        if parts[0] != "paper_kit" or len(parts) < 2 or parts[1] not in (*catalogue(ROOT)["wings"], "kit"):
            continue
        if wing == "kit":
            assert parts[1] == "kit", f"the kit imports {target}"
        elif module.stem == "worlds":
            assert parts[1] == "kit", f"{wing}/worlds imports {target}"
        else:
            assert parts[1] == "kit" or parts[1:3] == [wing, "worlds"], f"{module.stem} imports {target}"


KIT = sorted(p for p in (ROOT/"paper_kit"/"kit").glob("*.py") if p.stem != "__init__")


def circles(graph):
    "Groups of modules of {module: modules it imports} that import each other, at any depth."
    import networkx
    edges = networkx.DiGraph([(one, other) for one, others in graph.items() for other in others])
    return [sorted(found) for found in networkx.strongly_connected_components(edges) if len(found) > 1]


def test_no_two_rooms_of_the_kit_import_each_other():
    rooms = {p.stem for p in KIT}
    graph = {p.stem: {parts[2] for t in ours(p) if (parts := t.split("."))[:2] == ["paper_kit", "kit"] and parts[2:]
                      and parts[2] in rooms} for p in KIT}
    assert circles(graph) == []
    assert circles(graph | {"files": {"workflow"}}), "a circle would be seen"


def purpose(text):
    "What is wrong with a module's first sentence, or nothing."
    said = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    if not said: return "none"
    if not said.endswith(".") or not 30 <= len(said) <= 160: return f"no sentence of 30 to 160 characters: {said}"
    return f"more than one sentence: {said}" if len(re.findall(r"[.!?](?=\s|$)", said)) > 1 else ""


@pytest.mark.parametrize("module", KIT, ids=name)
def test_a_room_of_the_kit_has_a_purpose_of_one_sentence(module):
    assert not (wrong := purpose(module.read_text())), wrong
    assert (purpose('"Loops."') and purpose('"Runs loops over arrays. Says how long they took, too."')
            and purpose("x = 1"))


BLOCKED = ["pandas", "matplotlib", "IPython", "scipy", "PIL", "nbdev", "fastcore", "plotly", "k3d", "papermill",
           "jsonschema", "nbformat", "jaxtyping", "typer", "skimage", "sklearn"]
ALONE = f"""import importlib, json, os, sys, traceback
for name in {BLOCKED}: sys.modules[name] = None
import torch
found = {{}}
for name in sys.argv[1:]:
    read, write = os.pipe()
    if not (child := os.fork()):
        try: assert callable(getattr(importlib.import_module(name), "stages", len))
        except BaseException: os.write(write, traceback.format_exc()[-800:].encode())
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    os.close(write)
    found[name] = os.read(read, 4000).decode() or (f"wait status {{status}}" if status else "")
    os.close(read)
print(json.dumps(found))
"""
ABOVE_THE_KIT = {p: f"paper_kit.{p.parent.name}.{p.stem}" for p in sorted((ROOT/"paper_kit").glob("*/*.py"))
                 if p.parent.name != "kit" and p.name != "__init__.py"}


@pytest.fixture(scope="module")
def imported_alone():
    """{module: why it does not import, or ""} where there is nothing but torch: each in a process of its own, all of
    them forked from one that has torch, whose import takes nearly all the time."""
    done = subprocess.run([sys.executable, "-c", ALONE, *ABOVE_THE_KIT.values(), "pandas", "os"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-800:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", ABOVE_THE_KIT, ids=name)
def test_a_paper_imports_where_there_is_nothing_but_torch(imported_alone, module):
    assert imported_alone[ABOVE_THE_KIT[module]] == ""


def test_what_is_not_there_would_be_seen(imported_alone):
    assert "ModuleNotFoundError" in imported_alone["pandas"] and imported_alone["os"] == ""


def over(old, now):
    "Notebooks with more long lines or cells than their ceilings allow."
    return {name: (kinds, old.get(name)) for name, kinds in now.items()
            if any(n > old.get(name, {}).get(k, 0) for k, n in kinds.items())}


def test_lines_and_cells_of_notebooks_are_within_their_ceilings_which_only_shrink():
    import importlib.util
    spec = importlib.util.spec_from_file_location("ceilings", ROOT/"scripts/ceilings.py")
    spec.loader.exec_module(ceilings := importlib.util.module_from_spec(spec))
    old, now = json.loads(ceilings.FILE.read_text()), ceilings.counts()
    assert over(old, now) == {}
    assert over({}, {"a": {"lines": 1, "cells": 0}}) and over({"a": {"lines": 1, "cells": 0}},
                                                              {"a": {"lines": 0, "cells": 1}})
    cell = {"cell_type": "code", "source": ["#| export\n", "x"*121, *["\ny"]*30]}
    assert ceilings.count({"cells": [cell]}) == {"lines": 1, "cells": 1}
    assert ceilings.lowered({"a": {"lines": 3, "cells": 1}, "b": {"lines": 1}}, {"a": {"lines": 1, "cells": 2}}) == {
        "a": {"lines": 1, "cells": 1}}
    names = {p.relative_to(ROOT/"nbs").as_posix() for p in NOTEBOOKS}
    assert set(old) <= names, "a ceiling of a notebook that is gone"
    excluded = set(re.findall(r'"nbs/([^"*]+\.ipynb)"',
                              (ROOT/"pyproject.toml").read_text().split("[tool.ruff.lint]")[0]))
    assert excluded <= set(old), "a clean notebook is checked by ruff: take it out of extend-exclude"


def test_ruff_finds_nothing():
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if not ruff: pytest.skip("ruff is not installed")
    done = subprocess.run([ruff, "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_generated_file_is_in_step(clone):
    "A hand-edited module, a stale scoreboard, a notebook with noise: each is named here."
    assert clone.run("sync").stdout.strip() == "everything is in step"


def test_sync_names_a_module_edited_by_hand(clone):
    module = clone.root/"paper_kit/kit/claims.py"
    module.write_text(module.read_text().replace("least_seeds = 3", "least_seeds = 1"))
    assert clone.run("sync").stdout.split() == ["paper_kit/kit/claims.py"]
    assert "least_seeds = 3" in module.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_are_clean_and_have_the_kernel(path):
    nb = json.loads(path.read_text())
    assert nb["metadata"]["kernelspec"]["name"] == "python3"
    assert (all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", c["id"]) for c in nb["cells"])
            and len({c["id"] for c in nb["cells"]}) == len(nb["cells"]))
    assert clean_notebook(nb, keep_outputs=path not in PAPERS) == nb
    if path in PAPERS:
        assert not any(c.get("outputs") or c.get("execution_count")
                       for c in nb["cells"]), "paper notebooks are committed without outputs"
    else:
        assert not any(o.get("output_type") == "error" for c in nb["cells"] for o in c.get("outputs", []))


def test_nbdev_clean_changes_nothing(clone):
    before = {p: p.read_bytes() for p in (clone.root/"nbs").rglob("*.ipynb")}
    clone.python("-c", "from nbdev.clean import nbdev_clean; nbdev_clean()")
    assert len(before) > 40 and [str(p.relative_to(clone.root)) for p, text in before.items()
                                 if p.read_bytes() != text] == []


@pytest.mark.parametrize("shown, passes", [("2", True), ("3", False)])
def test_nbval_compares_the_outputs_of_notebooks_stored_without_counts(shown, passes, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook, new_output
    cells = [new_code_cell("a = 1"),
             new_code_cell("a + 1", outputs=[new_output("execute_result", {"text/plain": shown})])]
    kernel = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    (tmp_path/"nbs").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path/"nbs/small.ipynb")
    shutil.copy(ROOT/"nbs/conftest.py", tmp_path/"nbs/conftest.py")
    command = [sys.executable, "-m", "pytest", "--nbval", "nbs/small.ipynb", "--nbval-sanitize-with",
               str(ROOT/"tests/nbval.cfg"), "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (0 if passes else 1) and ("2 passed" if passes
                                                        else "1 failed, 1 passed") in done.stdout, done.stdout


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_the_parameters_survive_nbdev_clean_and_reach_paper(path, tmp_path):
    (tmp_path/"nbs").mkdir()
    shutil.copy(ROOT/"settings.ini", tmp_path)
    copy = tmp_path/"nbs"/path.name
    shutil.copy(path, copy)
    done = subprocess.run([sys.executable, "-c", f"from nbdev.clean import nbdev_clean; "
                                                 f"nbdev_clean.__wrapped__({str(copy)!r})"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import papermill.iorw
    import papermill.parameterize
    nb = papermill.parameterize.parameterize_notebook(papermill.iorw.load_notebook_node(str(copy)),
                                                      {"profile": "cpu", "seed": 7})
    tagged = [c for c in nb.cells if "parameters" in c.metadata.get("tags", [])]
    assert (len(tagged) == 1 and {t.targets[0].id for t in ast.parse(tagged[0].source).body}
            == {"profile", "seed", "data_root"})
    scope, said = {}, {}
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, scope)
        for node in ast.walk(ast.parse(cell.source)) if "Paper(" in cell.source else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Paper":
                said = {k.arg: eval(ast.unparse(k.value), scope) for k in node.keywords}
                said["slug"] = eval(ast.unparse(node.args[0]), scope)
        if said:
            break
    assert said == {"slug": path.stem, "profile": "cpu", "seed": 7, "data_root": ""}


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_one_name_everywhere(path):
    wing, slug = path.parent.name, path.stem
    text = path.read_text()
    assert f"#| default_exp {wing}.{slug}" in text
    manifest = load_manifest(ROOT/"data/papers"/f"{slug}.yaml")
    assert manifest["slug"] == slug and manifest["wing"] == wing and wing in catalogue(ROOT)["wings"]
    for there in (ROOT/"paper_kit"/wing/f"{slug}.py", ROOT/"tests/papers"/f"test_{slug}.py",
                  ROOT/"data/refs"/f"{slug}.bib"):
        assert there.is_file(), there
    source = "".join(json.loads(text)["cells"][-1]["source"])
    assert source.strip().endswith("paper.finish()"), "the last cell is paper.finish()"


def test_every_manifest_has_a_notebook():
    assert {p.stem for p in (ROOT/"data/papers").glob("*.yaml")} == {p.stem for p in PAPERS}


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_every_predicate_of_a_claim_is_exported_and_each_has_a_test_that_refutes_it(path):
    import importlib
    module = importlib.import_module(f"paper_kit.{path.parent.name}.{path.stem}")
    manifest = load_manifest(ROOT/"data/papers"/f"{path.stem}.yaml")
    assert set(manifest.expected("claims")) <= set(module.predicates) <= {c["id"] for c in manifest["claims"]}
    tests = (ROOT/"tests/papers"/f"test_{path.stem}.py").read_text()
    for claim in module.predicates:
        assert f'"{claim}"' in tests, (f"tests/papers/test_{path.stem}.py shows {claim} no numbers that must make it "
                                       f"fail")


@pytest.mark.parametrize("path", RECORDS, ids=name)
def test_published_files_are_the_ones_the_record_names(path):
    record = load_record(path)
    slug = path.name.split(".")[0]
    assert record["slug"] == slug and record["profile"] in ("cpu", "gpu")
    if "." in path.stem:
        return
    assert torn_files(ROOT, slug, record) == []
    assert {p.name for p in (ROOT/"figures"/slug).iterdir()} == set(record["files"])
    assert sum(p.stat().st_size for p in (ROOT/"figures"/slug).iterdir()) < 900_000
    manifest = load_manifest(ROOT/"data/papers"/f"{slug}.yaml")
    for kind in ("tables", "figures", "claims"):
        assert set(manifest.expected(kind)) <= set(record[kind])
    used = {f for e in record["figures"].values() for f in e["files"]}
    assert used <= set(record["files"])


@pytest.mark.parametrize("path", RECORDS, ids=name)
def test_a_published_verdict_is_what_its_predicate_says_of_the_published_numbers(path):
    import importlib
    from paper_kit.kit.claims import engine_version
    from paper_kit.kit.paper import curves_since, judged
    record = load_record(path)
    manifest = load_manifest(ROOT/"data/papers"/f"{record['slug']}.yaml")
    module = importlib.import_module(f"paper_kit.{manifest['wing']}.{record['slug']}")
    assert record["judged"] == engine_version
    for claim, result in record["claims"].items():
        again = judged(manifest.entry("claims", claim), module.predicates[claim], result["values"], record["profile"],
                       result.get("source", record["data"]), result.get("why", ""), result.get("evidence", ""),
                       record["harness"] < curves_since)
        assert result | {"source": ""} == again | {"source": ""}, claim


@pytest.mark.parametrize("path", RECORDS, ids=name)
def test_published_cards_speak_the_readers_language(path):
    "One plain sentence and a table; no word of how this project was planned, no place left empty."
    import html
    record = load_record(path)
    notebook = json.loads((ROOT/"figures"/path.stem/f"{path.stem}.ipynb").read_text())
    about = lambda output: output.get("metadata", {}).get("paper_kit", {})
    cards = {about(o)["claim"]: "".join(o["data"]["text/html"]) for c in notebook["cells"] for o in c.get("outputs", ())
             if "claim" in about(o)}
    assert set(cards) == set(record["claims"])
    for claim, card in cards.items():
        words = html.unescape(re.sub(r"<[^>]*>", " ", card))
        assert not re.search(r"\bbriefs?\b|\bsubstitutes? [A-D]\b|: ;|standard error of the paired",
                             words), (claim, words)
        result = record["claims"][claim]
        assert len(result["measured"]) < 400 and "\n" not in result["measured"], (claim, result["measured"])
        assert card.count("<tr>") == len(result["rows"]) + 1 and all(row["condition"] in words
                                                                     for row in result["rows"])
        if result.get("why"): assert "not tested" in words or result.get("evidence")


def test_no_paper_keeps_rules_of_its_own():
    "Old: five private bootstrap verdicts, one at 90 percent, and three rules of standard errors."
    for path in (ROOT/"paper_kit").glob("*/*.py"):
        if path.parent.name == "kit" or path.stem == "worlds": continue
        text = path.read_text()
        assert not re.search(r"class \w+\(Predicate\):(?:(?!\nclass |\ndef ).)*\bOutcome\(", text, re.S), path.name
        for word in ("bootstrap_interval", "by_two_errors", "beyond_error", "up_to_one_error", "rank_correlation(",
                     "_se(", "mean_interval(v"):
            assert word not in text, (path.name, word)


def test_away_from_a_clone_modules_import_and_paper_says_to_clone(tmp_path):
    import os
    shutil.copytree(ROOT/"paper_kit", tmp_path/"paper_kit")
    environment = {k: v for k, v in os.environ.items() if k != "PAPER_KIT_ROOT"} | {"PYTHONPATH": str(tmp_path)}
    code = "from paper_kit.kit.claims import below\nfrom paper_kit.kit.paper import Paper\nPaper('deepsdf')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "clone the project" in done.stderr, done.stderr[-500:]


def test_published_folders_have_records():
    assert {p.name for p in (ROOT/"figures").iterdir() if p.is_dir() and p.name != "lib"
            and not p.name.startswith(".")} == {p.name.split(".")[0] for p in RECORDS}


def test_the_working_tree_is_small_and_says_nothing_of_machines():
    files = project_files()
    assert sum(f.stat().st_size for f in files) < 48_000_000
    homes = re.compile(r"/home/\w+/|/Users/\w+/|/root/|/" + r"work/main|/tmp/scratch")
    for f in files:
        if f.suffix in (".py", ".ipynb", ".md", ".yaml", ".yml", ".json", ".ini", ".toml", ".txt", ".sh", ".html",
                        ".css", ".js", ".bib") and f != ROOT/"tests/test_project.py":
            found = homes.search(f.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{f.relative_to(ROOT)}: {found.group(0)}"


def test_constraints_are_names_and_versions_and_pin_what_is_required():
    from configparser import ConfigParser
    lines = (ROOT/"constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert not {"torchvision", "torchaudio"} & pinned
    settings = ConfigParser(delimiters=["="], interpolation=None)
    settings.read(ROOT/"settings.ini")
    for key, value in settings["DEFAULT"].items():
        if key.endswith("requirements"):
            for need in value.split():
                package = re.split(r"[<>=!]", need)[0].lower().replace("_", "-")
                assert package in pinned, f"{need} ({key}) is not in constraints.txt"


def test_locks_name_every_file_by_hash_and_agree_with_the_pins():
    from packaging.utils import canonicalize_name
    pinned = dict(line.split("==") for line in (ROOT/"constraints.txt").read_text().split())
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    locks = sorted((ROOT/"locks").glob("*.txt"))
    assert [f.name for f in locks] == ["linux-x86_64-py3.11-dev.txt", "linux-x86_64-py3.11.txt"]
    for file in locks:
        lines = file.read_text().splitlines()
        assert len(lines) > 200
        for line in lines:
            name, version, hashes = re.fullmatch(r"([a-z0-9-]+)==([A-Za-z0-9.]+)((?: --hash=sha256:[0-9a-f]{64})+)",
                                                 line).groups()
            assert pinned.get(name, version) == version, f"{file.name}: {line[:60]}"
        held = {line.split("==")[0] for line in lines}
        assert not {"torchvision", "torchaudio", "paper-kit"} & held
        assert file.stem.endswith("dev") or held < {x.split("==")[0] for x in locks[0].read_text().splitlines()}


def test_locks_hold_all_that_is_required_directly_or_not():
    from configparser import ConfigParser
    from importlib.metadata import PackageNotFoundError, requires
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    settings = ConfigParser(delimiters=["="], interpolation=None)
    settings.read(ROOT/"settings.ini")
    extras = re.search(r"install.sh (dev\S+) &&", (ROOT/"Makefile").read_text())[1].split(",")
    for kind, keys in (("", ["requirements"]), ("-dev", ["requirements", *(f"{e}_requirements" for e in extras)])):
        held = {line.split("==")[0] for line in (ROOT/f"locks/linux-x86_64-py3.11{kind}.txt").read_text().splitlines()}
        wanted = {canonicalize_name(Requirement(w).name) for k in keys for w in settings["DEFAULT"][k].split()}
        assert wanted <= held
        for name in held - {"wheel", "setuptools"}:
            try: needs = [Requirement(r) for r in requires(name) or ()]
            except PackageNotFoundError: continue
            here = {"extra": "", "python_version": "3.11", "sys_platform": "linux"}
            missing = {canonicalize_name(r.name) for r in needs if r.marker is None or r.marker.evaluate(here)} - held
            assert name == "torch" or not missing, f"{name} needs {missing}"


@pytest.mark.slow
def test_a_file_that_is_not_the_tested_one_is_not_installed(tmp_path):
    "The installer itself, offline, on a list of one package whose file has been exchanged."
    import platform
    import zipfile
    wheels = tmp_path/"wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels/"demo_pkg-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demo_pkg.py", "")
        wheel.writestr("demo_pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n")
        wheel.writestr("demo_pkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("demo_pkg-1.0.dist-info/RECORD", "")
    for name in ("scripts/install.sh", "settings.ini", "setup.py", "pyproject.toml", "constraints.txt"):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT/name, tmp_path/name)
    (tmp_path/"locks").mkdir()
    lock = f"linux-{platform.machine()}-py{sys.version_info.major}.{sys.version_info.minor}.txt"
    (tmp_path/"locks"/lock).write_text(f"demo-pkg==1.0 --hash=sha256:{'0'*64}\n")
    fake = tmp_path/".venv/bin"
    fake.mkdir(parents=True)
    (fake/"python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (fake/"python").chmod(0o755)
    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": "/dev/null"}
    done = subprocess.run(["bash", "scripts/install.sh", ""], cwd=tmp_path, capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 2 and "DO NOT MATCH THE HASHES" in done.stderr, done.stderr
    assert "not the one that was tested" in done.stderr


def test_pins_suit_every_python_that_is_promised():
    """Debian 12 has Python 3.11.2; a pin that wants 3.11.5 stops `make reproduce` there. What is installed here says
    which versions it takes."""
    from importlib.metadata import distributions
    from packaging.specifiers import SpecifierSet
    pinned = dict(line.lower().replace("_", "-").split("==") for line in (ROOT/"constraints.txt").read_text().split())
    known = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.metadata["Requires-Python"] for d in distributions()}
    found = {name: known[name] for name in pinned if known.get(name)}
    assert len(found) > 150, "most pins are installed, and say what they need"
    assert not {name: needs for name, needs in found.items()
                if not all(version in SpecifierSet(needs) for version in ("3.11.2", "3.12.3", "3.13.0"))}


def test_readme_commands_exist():
    text = (ROOT/"README.md").read_text()
    makefile = (ROOT/"Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", text):
        if target not in ("test", "reproduce", "sync", "lab", "site"):
            continue
        assert re.search(rf"^{target}:", makefile, re.M)
    from typer.main import get_command
    from paper_kit.kit.cli import app
    commands = get_command(app).commands
    assert {"list", "status", "run", "reproduce", "expect", "publish", "power", "pages", "site", "new", "remove",
            "sync", "doctor", "queue",
            "stages"} == set(commands)
    for command in re.findall(r"paper-kit ([a-z]+)", text):
        assert command in commands, command
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (ROOT/picture).is_file(), picture


def readme_blocks(language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT/"README.md").read_text(), re.M | re.S)


def test_every_option_in_readme_is_one_of_its_command():
    from typer.main import get_command
    from paper_kit.kit.cli import app
    commands, seen = get_command(app).commands, 0
    lines = [line.split("#")[0] for block in readme_blocks() for line in block.splitlines()]
    lines += re.findall(r"`((?:\.venv/bin/)?paper-kit [^`]+)`", (ROOT/"README.md").read_text())
    for line in lines:
        found = re.search(r"(?:paper-kit|python -m paper_kit\.kit\.(?=queue)) ?([a-z]+)(.*)", line)
        if not found: continue
        options = {o for p in commands[found[1]].params for o in p.opts}
        asked = re.findall(r"--[a-z-]+", found[2])
        seen += len(asked)
        assert set(asked) <= options, line
    assert seen > 10


def test_the_lines_of_python_in_readme_run_from_nothing(tmp_path):
    blocks = readme_blocks("python")
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr[-2000:]
    assert not list(tmp_path.iterdir())


def test_files_that_readme_names_are_there():
    text = (ROOT/"README.md").read_text()
    named = re.findall(r"`((?:nbs|tests|data|locks|scripts)/[A-Za-z0-9_/.-]+)`", text)
    places = [name for name in named + re.findall(r"\]\(([^):]+)\)", text) if not name.startswith("data/results/")]
    assert "nbs/kit/example.ipynb" in places
    assert [name for name in places if not (ROOT/name).exists()] == []


@pytest.mark.parametrize("given, gpu, sources, index", [
    ("", False, "", "https://download.pytorch.org/whl/cpu"), ("https://a.mirror/whl", False, "", "https://a.mirror/whl"),
    ("none", False, "", None), ("", True, "", None), ("", False, "global.index-url='https://mine'", None),
    ("https://a.mirror/whl", False, "global.index-url='https://mine'", "https://a.mirror/whl")])
def test_which_torch_is_installed_where_there_is_none(tmp_path, given, gpu, sources, index):
    "The installer with a Python that only notes what it is asked for."
    for name in (".venv/bin", "scripts", "path"): (tmp_path/name).mkdir(parents=True)
    shutil.copyfile(ROOT/"scripts/install.sh", tmp_path/"scripts/install.sh")
    (tmp_path/".venv/bin/python").write_text(
        f"""#!/bin/sh
echo "$@" >> "{tmp_path}/asked"
case "$*" in *"import torch"*) exit 1;; *"pip config list"*) echo "{sources}";; *version_info*) echo 0.0;; esac
""")
    (tmp_path/"path/nvidia-smi").write_text(f"#!/bin/sh\nexit {int(not gpu)}\n")
    for program in (".venv/bin/python", "path/nvidia-smi"): (tmp_path/program).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path/'path'}:{os.environ['PATH']}", "PAPER_KIT_TORCH_INDEX": given}
    done = subprocess.run(["bash", "scripts/install.sh", ""], cwd=tmp_path, capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stderr
    asked = [line for line in (tmp_path/"asked").read_text().splitlines() if "pip install" in line]
    assert [re.search(r"--index-url (\S+)", line)[1] for line in asked if "--index-url" in line] == [index]*bool(index)
    assert asked[-1].split(" --quiet")[0].endswith("install -c constraints.txt -e .")


def test_readme_names_the_papers_that_read_real_data_and_the_address_of_the_site():
    import configparser
    from paper_kit.kit.datasets import registry
    from paper_kit.kit.doctor import readers
    text = (ROOT/"README.md").read_text()
    said = re.search(r"today those of (.*?) do:", text, re.S).group(1)
    assert sorted(re.findall("`(.*?)`", said)) == sorted({s for d in registry(ROOT).values() for s in readers(d, ROOT)})
    settings = configparser.ConfigParser()
    settings.read(ROOT/"settings.ini")
    default = settings["DEFAULT"]
    assert f"({default['doc_host']}{default['doc_baseurl']})" in text.split("## ")[0]


@pytest.mark.slow
def test_a_new_paper_shows_up_everywhere_and_goes_without_a_trace(clone):
    tree = lambda: {str(p.relative_to(clone.root)): sha256(p) for p in clone.root.rglob("*") if p.is_file()
                    and "__pycache__" not in p.parts and
                    p.relative_to(clone.root).parts[0] not in ("runs", "site-src", "_site") and "lib" not in p.parts}
    before = tree()
    (clone.root/"runs").mkdir(exist_ok=True)
    (ROOT/"runs"/"site").mkdir(parents=True, exist_ok=True)
    (clone.root/"runs"/"site").symlink_to(ROOT/"runs"/"site")      # pages that did not change need not be made again
    clone.run("new", "my_paper", "--wing", "geometry", "--title", "A paper of mine", "--venue", "nowhere yet")
    assert clone.run("sync").stdout.strip() == "everything is in step"
    row = next(r for r in json.loads(clone.run("status", "--json").stdout) if r["slug"] == "my_paper")
    assert (row["state"], row["wing"], row["venue"]) == ("begun", "geometry", "nowhere yet")
    for place in ("README.md", "nbs/index.ipynb", "_quarto.yml", "data/references.bib"):
        assert "my_paper" in (clone.root/place).read_text(), place
    clone.run("run", "my_paper")
    clone.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/papers/test_my_paper.py")
    clone.run("run", "my_paper", "--profile", "cpu")
    clone.run("publish", "my_paper")
    clone.run("site")
    page = (clone.root/"_site/site-src/geometry/my_paper.html").read_text()
    assert ("A paper of mine" in page and "my_paper" in (clone.root/"_site/site-src/geometry/index.html").read_text()
            and "my_paper" in (clone.root/"_site/site-src/index.html").read_text())
    gone = clone.run("remove", "my_paper", "--yes").stdout
    assert "figures/my_paper" in gone and "data/results/my_paper.json" in gone
    assert tree() == before
    clone.run("site")
    left = [str(p.relative_to(clone.root)) for p in clone.root.rglob("*my_paper*") if ".git" not in p.parts
            and "__pycache__" not in p.parts]
    assert left == []
