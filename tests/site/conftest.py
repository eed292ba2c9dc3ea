"""The site, built once from a copy of the working tree with one synthetic published paper added."""
import shutil, subprocess, sys, time
from pathlib import Path
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import synthetic
from paper_kit.kit.files import project_root
from paper_kit.kit.site import navigation, pages, render_pandoc
from paper_kit.kit.records import status
from paper_kit.kit.workflow import between


# the longest pages; the others get cheap checks
in_full = ("adaptive_robust_loss", "occupancy_networks", "ss3d_point_clouds")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    source, root = project_root(), tmp_path_factory.mktemp("site")/"project"
    root.mkdir()
    for name in ("data", "nbs", "paper_kit"):
        shutil.copytree(source/name, root/name,
                        ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*"))
    for path in (root/"data"/"results").glob("*.json"):
        if path.name.split(".")[0] not in in_full: path.unlink()
    for name in in_full: shutil.copytree(source/"figures"/name, root/"figures"/name)
    for name in ("settings.ini", "_quarto.yml"): shutil.copy(source/name, root/name)
    (source/"runs"/"site").mkdir(parents=True, exist_ok=True)
    (root/"runs").mkdir()
    (root/"runs"/"site").symlink_to(source/"runs"/"site")          # what pandoc made of a text is the same anywhere
    return root


@pytest.fixture(scope="session")
def rows(root): return [*status(root), synthetic.publish(root)]


@pytest.fixture(scope="session")
def built(root, rows):
    config = root/"_quarto.yml"
    config.write_text(between(config.read_text(encoding="utf-8"), "navigation", navigation(rows, root), ("# ", "")),
                      encoding="utf-8")
    began = time.perf_counter()
    pages(root, rows)
    middle = time.perf_counter()
    folder = render_pandoc(root)
    count = len(list(folder.glob("site-src/**/*.html")))
    print(f"\n{count} pages: sources {middle - began:.1f} s, rendering {time.perf_counter() - middle:.1f} s")
    return folder


@pytest.fixture(scope="session")
def looked_at(built, root):
    """Pages that the browser opens: the kit's, the worlds', the synthetic paper's, and three papers', others for each
    commit. What needs no browser is checked of all pages."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project_root(), capture_output=True,
                            text=True).stdout.strip()
    papers = sorted(p.stem for p in (root/"data"/"results").glob("*.json") if "." not in p.stem
                    and p.stem != synthetic.slug)
    begin = int(commit or "0", 16) % len(papers)
    left_out = {row["slug"] for row in status(root)} - {*(papers*2)[begin:begin + 3], synthetic.slug}
    pages = sorted(p.relative_to(built).as_posix() for p in built.glob("site-src/**/*.html") if p.stem not in left_out)
    assert len(pages) > 20
    return pages


class Watched:
    "A page that may reach only the folder it is in; what goes wrong on it is kept."
    def __init__(self, browser, width=1280, height=900, scheme="light", base=""):
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page, self.problems, self.base = self.context.new_page(), [], base
        def guard(route):
            address = route.request.url
            if address.startswith(("file://", "http://127.0.0.1", "data:", "blob:", "about:")): return route.continue_()
            self.problems.append(f"asked another host: {address}")
            route.abort()
        self.context.route("**/*", guard)
        self.page.on("console", lambda m: self.problems.append(f"{m.type}: {m.text}") if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.problems.append(f"exception: {e}"))
        # left before it came
        self.page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url}")
                     if "ERR_ABORTED" not in (r.failure or "") else None)
        self.page.on("response", lambda r: self.problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def open(self, path): self.page.goto(f"{self.base}/{path}"); return self.page


@pytest.fixture
def watched(browser, built):
    made = []
    def make(base=None, **options):
        made.append(Watched(browser, base=base or built.as_uri(), **options))
        return made[-1]
    yield make
    for w in made: w.context.close()


@pytest.fixture(scope="session")
def server(built):
    import functools, http.server, threading
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_): pass
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built)))
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
