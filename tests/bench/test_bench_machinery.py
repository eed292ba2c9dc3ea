"""What the machinery costs: `paper-kit run` against plain nbclient, the board of 48 papers, a run with nothing to do, a
page of the site.

Asserted in seconds of processor time, which other work on the machine does not change much; printed beside the
clock's."""
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import nbformat
import pytest
from helpers import MANIFEST, ROOT, notebook
from paper_kit.kit import workflow

WORK = "sum(i*i for i in range(20_000_000))"                            # a notebook that takes as long as it takes


def seconds(function):
    "Processor time of a call, its ended children included, and its time by the clock."
    spent = lambda: sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    begun, clock = spent(), time.perf_counter()
    function()
    return spent() - begun, time.perf_counter() - clock


def test_a_run_costs_little_more_than_nbclient(demo):
    "Goal 1.1 on a notebook of a few seconds."
    from nbclient import NotebookClient
    file = demo/"nbs/learning/demo.ipynb"
    text = json.loads(file.read_text())
    text["cells"].insert(4, {"cell_type": "code", "id": "work", "metadata": {}, "source": [WORK],
                             "execution_count": None, "outputs": []})
    file.write_text(json.dumps(text))
    environment = {"PAPER_KIT_ROOT": str(demo), "PYTHONPATH": str(ROOT)}

    def plain():
        shutil.rmtree(demo/"runs", ignore_errors=True)
        with workflow._environment(**environment):
            NotebookClient(nbformat.read(file, as_version=4), kernel_name="python3",
                           resources={"metadata": {"path": str(demo)}}).execute()

    def ours():
        shutil.rmtree(demo/"runs", ignore_errors=True)
        workflow.run("demo", root=demo)
    plain(), ours()
    (theirs, clock), (mine, our_clock) = min(seconds(plain) for _ in range(3)), min(seconds(ours) for _ in range(3))
    print(f"\npaper-kit run {mine:.2f} s ({our_clock:.2f} by the clock), nbclient {theirs:.2f} s ({clock:.2f}): "
          f"{mine/theirs:.2f} times (goal 1.1)")
    assert mine/theirs < 1.4


@pytest.fixture
def many(demo):
    "48 papers, each with notebook, manifest and a run at smoke that is up to date."
    workflow.run("demo", root=demo)
    record = json.loads((demo/"runs/smoke/demo/record.json").read_text())
    for i in range(47):
        slug = f"paper_{i:02d}"
        (demo/f"nbs/learning/{slug}.ipynb").write_text(notebook().replace('\\"demo\\"', f'\\"{slug}\\"'))
        (demo/f"data/papers/{slug}.yaml").write_text(MANIFEST.replace("slug: demo", f"slug: {slug}"))
        folder = demo/f"runs/smoke/{slug}"
        shutil.copytree(demo/"runs/smoke/demo", folder)
        (folder/"demo.ipynb").rename(folder/f"{slug}.ipynb")
        digest = workflow.notebook_digest(demo/f"nbs/learning/{slug}.ipynb")
        (folder/"record.json").write_text(json.dumps(record | {"slug": slug, "digest": digest}))
    return demo


def test_status_and_a_run_with_nothing_to_do_at_48_papers(many):
    "Goal 3 s each, cold start of Python included."
    env = {**os.environ, "PAPER_KIT_ROOT": str(many), "PYTHONPATH": str(ROOT)}

    def command(*arguments):
        done = subprocess.run([sys.executable, "-m", "paper_kit.kit.cli", *arguments], env=env, cwd=many,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
    command("status")
    (status, clock), (nothing, our_clock) = (min(seconds(lambda: command(*words)) for _ in range(3))
                                             for words in (("status",), ("run", "--all")))
    assert "48 of 48 papers at smoke are up to date" in command("run", "--all")
    print(f"\nstatus of 48 papers {status:.2f} s ({clock:.2f} by the clock), a run of 48 with nothing to do "
          f"{nothing:.2f} s ({our_clock:.2f}; goal 3)")
    assert status < 3 and nothing < 3


def test_pages_warm_and_cold(tmp_path):
    "Seconds a page, everything anew and with nothing changed."
    from paper_kit.kit.site import site
    from helpers import copy_project
    root = copy_project(tmp_path/"copy")
    (cold, cold_clock), (warm, warm_clock) = (seconds(lambda: site(root)) for _ in range(2))
    pages = len(list((root/"_site").rglob("*.html")))
    print(f"\n{pages} pages: cold {cold:.1f} s ({cold_clock:.1f} by the clock; {cold/pages:.2f} s a page), warm "
          f"{warm:.1f} s ({warm_clock:.1f})")
    assert pages > 20 and warm < cold and cold/pages < 2
