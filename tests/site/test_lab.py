"""JupyterLab in a real browser: published notebooks show their pictures untrusted, Run All works, a live slider moves a
mesh."""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from helpers import ROOT, copy_project, eventually
from PIL import Image
import io

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PUBLISHED = [slug for slug in ("deepsdf", "adaptive_robust_loss") if (ROOT/f"data/results/{slug}.json").is_file()][:1]

SLIDER = '''import torch
from paper_kit.kit import show
from paper_kit.shape3d.worlds import sample_family
import numpy as np
ball = sample_family("chair", 2, np.random.default_rng(0))
show.mesh_slider([s.mesh().vertices.numpy() for s in ball], [s.mesh().faces.numpy() for s in ball], "shape", [0, 1])'''


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "(address, root) of a JupyterLab that serves a fresh copy of the project; nothing in it is trusted."
    home = tmp_path_factory.mktemp("home")
    root = copy_project(tmp_path_factory.mktemp("lab")/"clone")
    cells = [{"cell_type": "code", "id": "one", "metadata": {}, "source": SLIDER.splitlines(keepends=True),
              "execution_count": None, "outputs": []}]
    (root/"nbs/slider.ipynb").write_text(json.dumps({"cells": cells,
                                                     "metadata": {"kernelspec": {"display_name": "python3",
                                                                                 "language": "python",
                                                                                 "name": "python3"}},
                                                     "nbformat": 4, "nbformat_minor": 5}))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "HOME": str(home), "JUPYTER_DATA_DIR": str(home/"data"),
           "JUPYTER_CONFIG_DIR": str(home/"config"), "JUPYTER_RUNTIME_DIR": str(home/"runtime"),
           "PAPER_KIT_ROOT": str(root), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    log = open(home/"log", "w")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ip=127.0.0.1",
                               "--ServerApp.token=", "--ServerApp.password=", "--allow-root",
                               "--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True",
                               "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                               f"--notebook-dir={root}"],
                              cwd=root, env=env, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    limit = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(address + "/api", timeout=2)
            break
        except OSError:
            assert server.poll() is None and time.monotonic() < limit, (home/"log").read_text()[-3000:]
            time.sleep(0.5)
    yield address, root
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    page.set_default_timeout(90_000)
    yield page
    page.close()


def opened(page, lab, name):
    page.goto(f"{lab[0]}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_timeout(1500)
    page.evaluate("() => document.querySelectorAll('.jp-Dialog .jp-mod-reject').forEach(b => b.click())")


def run_all(page, root, name, seconds):
    "Run > Run All Cells, wait, save; the code cells as they then are, and their errors."
    page.evaluate("async () => { await window.jupyterapp.restored }")
    for attempt in range(20):                                            # a kernel must have been started
        page.wait_for_timeout(1000)
        if page.evaluate("() => { try { return !!window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel "
                         "} catch { return false } }"):
            break
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    file, limit = root/name, time.monotonic() + seconds
    while time.monotonic() < limit:
        page.wait_for_timeout(2000)
        page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save') }")
        try:
            cells = [c for c in json.loads(file.read_text())["cells"] if c["cell_type"] == "code"
                     and "".join(c["source"]).strip()]
        except ValueError:                                               # it is being written
            continue
        failed = [o for c in cells for o in c["outputs"] if o["output_type"] == "error"]
        if failed or all(c["execution_count"] for c in cells):
            break
    return cells, failed


@pytest.mark.parametrize("slug", PUBLISHED)
def test_a_published_notebook_opens_untrusted_and_shows_pictures(lab, page, slug):
    opened(page, lab, f"figures/{slug}/{slug}.ipynb")
    there = (lab[1]/f"figures/{slug}/{slug}.ipynb").read_text().count('"image/')
    seen = set()

    def pictures():
        for image in page.query_selector_all(".jp-OutputArea-output img"):
            box = image.bounding_box()
            if box and box["width"] > 50 and image.evaluate("i => i.complete && i.naturalWidth > 50"):
                seen.add(image.get_attribute("src")[:200])
        page.mouse.move(600, 500)
        page.mouse.wheel(0, 1500)
        return len(seen) >= min(3, there) > 0
    assert eventually(page, pictures, 60), len(seen)
    assert page.query_selector_all(".jp-OutputArea-output iframe") == [], "an untrusted notebook runs nothing"


@pytest.mark.parametrize("slug", PUBLISHED)
def test_run_all_at_smoke_ends_without_an_error(lab, page, slug):
    name = str(next(p for p in lab[1].glob(f"nbs/*/{slug}.ipynb")).relative_to(lab[1]))
    opened(page, lab, name)
    cells, failed = run_all(page, lab[1], name, 420)
    assert not failed, failed[0]["evalue"]
    assert all(c["execution_count"] for c in cells), "not every cell has run"
    record = json.loads((lab[1]/f"runs/smoke/{slug}/record.json").read_text())
    assert record["profile"] == "smoke" and record["claims"]


def difference(before, after):
    a, b = (np.asarray(Image.open(io.BytesIO(x)).convert("RGB"), float) for x in (before, after))
    return np.abs(a - b).mean() if a.shape == b.shape else 255.


def test_a_live_slider_moves_a_mesh(lab, page):
    opened(page, lab, "nbs/slider.ipynb")
    cells, failed = run_all(page, lab[1], "nbs/slider.ipynb", 120)
    assert not failed, failed
    page.wait_for_selector(".jp-OutputArea-output canvas")
    page.wait_for_timeout(6000)
    canvas = page.query_selector(".jp-OutputArea-output canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    before, still = canvas.screenshot(), canvas.screenshot()
    assert np.asarray(Image.open(io.BytesIO(before)).convert("L"), float).std() > 3, "nothing is drawn"
    handle = page.query_selector(".jupyter-widgets .noUi-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert eventually(page, lambda: difference(before, canvas.screenshot()) > max(0.5, 3*difference(before, still)), 30)
