"""kit.show: each view has a picture, a document that loads nothing from elsewhere, and clear errors."""
import base64
import io
import json
import re
import subprocess
import sys
import wave

import numpy as np
import pytest
from helpers import eventually
from PIL import Image

from paper_kit.kit import show
from paper_kit.kit.files import PaperKitError



def tetrahedron(shift=0.0):
    return (np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float) + shift,
            np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]))


def ball(rows=12, columns=18):
    v, u = np.meshgrid(np.linspace(0.2, 2.9, rows), np.linspace(0, 6.28, columns), indexing="ij")
    return (np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)], -1).reshape(-1, 3),
            show._grid_faces(rows, columns))


def plotly_figure(**layout):
    import plotly.graph_objects as go
    return go.Figure([go.Scatter(x=[1, 2, 3], y=[3, 1, 2], name="ours")], layout={"title": "A line", **layout})


def gradient(alpha):
    return np.linspace(0, alpha, 60 * 80).reshape(60, 80)


makers = {
    "plot": lambda: show.plot(plotly_figure()),
    "slider": lambda: show.slider(gradient, alpha=[0.2, 0.6, 1.0]),
    "mesh": lambda: show.mesh(*ball(), np.linspace(0, 1, 216)),
    "points": lambda: show.points(np.random.default_rng(0).normal(size=(500, 3)), "green"),
    "surface": lambda: show.surface(np.outer(np.hanning(20), np.hanning(30))),
    "mesh_slider": lambda: show.mesh_slider(*zip(tetrahedron(), ball()), "shape", ["small", "large"]),
    "audio": lambda: show.audio(np.sin(np.arange(4000) / 9)[None], 8000, "A tone"),
    "bespoke": lambda: show.bespoke("Own", "(root, data) => { root.append(data.text) }", {"text": "hello"},
                                    np.zeros((8, 8))),
}


@pytest.fixture(scope="module", params=makers)
def view(request):
    return makers[request.param]()


def test_importing_is_light():
    heavy = "matplotlib plotly k3d PIL ipywidgets IPython scipy pandas torch".split()
    code = f"import sys, paper_kit.kit.show; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"


def test_picture_is_a_png(view):
    image = Image.open(io.BytesIO(view.picture()))
    assert image.format == "PNG" and image.width <= 1050
    assert view.picture() is view.picture()


def test_document_loads_nothing_from_elsewhere(view):
    text = view.html()
    addresses = (re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text) + re.findall(r"url\(([^)]*)", text)
                 + re.findall(r"@import[^;]*", text))
    assert all(address.startswith(("../lib/", "data:")) for address in addresses), addresses
    assert not re.search(r"https?://", re.sub(r'"(w3org|http://www\.w3\.org/[^"]*)"', "", text))
    assert "connect-src data: blob:" in text and text.startswith("<!doctype html>")
    for needed in ('lang="en"', "viewport", "<title>", "paperKitHeight", "dataset.ready"):
        assert needed in text


def test_document_is_reproducible(view):
    assert view.html() == view.html()


def test_two_equal_meshes_give_equal_documents():
    assert show.mesh(*ball()).html() == show.mesh(*ball()).html()


def test_library_address_and_inlined_library(view):
    assert ((f'src="elsewhere/{show._libraries[view.libraries[0]][0]}"' in view.html("elsewhere")) if view.libraries
            else "<script src" not in view.html())
    if view.libraries == ("k3d",):
        alone = view.html(lib=None)
        assert 'src="../lib' not in alone and "standalone.js\"></script>" not in alone and len(alone) > 2_000_000


def test_save_writes_libraries_once(tmp_path, view):
    first = view.save(tmp_path / "figures" / "paper", "figure-1")
    assert first[0] == tmp_path / "figures" / "paper" / "figure-1.html" and all(path.is_file() for path in first)
    assert {path.resolve().relative_to(tmp_path / "figures" / "lib").parts[0] for path in first[1:]} == \
        {show._libraries[name][0].split("/")[0] for name in view.libraries}
    before = {path: path.stat().st_mtime_ns for path in first[1:]}
    view.save(tmp_path / "figures" / "other", "figure-1")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (sorted(path.name for path in (tmp_path / "figures").iterdir())
            == sorted({"paper", "other"} | ({"lib"} if view.libraries else set())))
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_changed_library_is_written_again(tmp_path):
    path = show.write_libraries(tmp_path, ["k3d"])[0]
    size = path.stat().st_size
    path.write_bytes(b"x" * size)
    show.write_libraries(tmp_path, ["k3d"])
    assert path.read_bytes()[:2] == b"/*" and path.stat().st_size == size


def test_view_shows_picture_then_widget_and_document(view, monkeypatch):
    import IPython.display
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append(data))
    view._ipython_display_()
    assert len(shown) == 2 and set(shown[0]) == {"image/png", "text/plain"}
    assert base64.b64decode(shown[0]["image/png"]).startswith(b"\x89PNG")
    frame = shown[1]["text/html"]
    assert frame.startswith('<iframe class="paper-kit-exhibit"') and 'srcdoc="' in frame and "<script" not in frame
    assert ("application/vnd.jupyter.widget-view+json" in shown[1]) == (view.live() is not None)
    assert not view.libraries or "../../figures/lib/" in frame


# ---- document
# --------------------------------------------------------------------------------------------------------------

def test_data_cannot_leave_its_element():
    evil = '</script><script>alert(1)</script><!-- \u2028'
    text = show.document("t</title>", "<p>", "root.append(data)", data=evil)
    assert "alert(1)</script>" not in text and "t&lt;/title&gt;" in text
    held = re.search(r'id="data">(.*?)</script>', text, re.S).group(1)
    assert json.loads(held) == evil


def test_text_of_a_view_may_hold_dollars_and_names_of_parts():
    text = show.document("t", "<p>$data $title $script</p>", 'root.title = "$lib costs $5";', data="$policy $body")
    assert "<p>$data $title $script</p>" in text and '"$policy $body"' in text and '"$lib costs $5"' in text


@pytest.mark.parametrize("data, finding", [({"x": np.nan}, "finite"), ({"x": float("inf")}, "finite"),
                                           ({"x": object()}, "object"), ({"x": np.array([1, np.nan])}, "finite")])
def test_data_that_cannot_travel(data, finding):
    with pytest.raises(PaperKitError, match=finding):
        show.document("t", "", "", data=data)


def test_unknown_library():
    with pytest.raises(PaperKitError, match="three.js"):
        show.document("t", "", "", libraries=["three.js"])
    with pytest.raises(PaperKitError, match="next step"):
        show.bespoke("n", "alert(1)", {}, np.zeros((2, 2)))


# ---- pictures
# --------------------------------------------------------------------------------------------------------------

def test_pixels_of_everything():
    import torch
    assert show.pixels(np.ones((4, 5))).shape == (4, 5, 3)
    assert show.pixels(torch.zeros(3, 4, 5, requires_grad=True)).shape == (4, 5, 3)
    assert show.pixels(np.array([[0.0, 0.5, 2.0]]))[0, :, 0].tolist() == [0, 128, 255]
    assert show.pixels(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert show.pixels(Image.new("L", (5, 4))).shape == (4, 5, 3)
    assert show.pixels(show.png(np.zeros((4, 5, 3), np.uint8))).shape == (4, 5, 3)


def test_webp_of_a_drawing_is_exact():
    drawing = np.kron(np.eye(4, dtype=np.uint8) * 255, np.ones((8, 8), np.uint8))
    assert np.array_equal(show.pixels(show.webp(drawing)), show.pixels(drawing))


@pytest.mark.parametrize("image", [np.zeros(4), np.zeros((2, 3, 5, 7)), np.zeros((0, 4)), np.array([[np.nan]])])
def test_no_picture(image):
    with pytest.raises(PaperKitError, match="expected"):
        show.pixels(image)


@pytest.mark.parametrize("count, columns, shape", [(1, None, (1, 1)), (7, None, (2, 5)), (6, 2, (3, 2))])
def test_grid_shapes(count, columns, shape):
    figure = show.grid([np.random.default_rng(0).random((6, 8))] * count, columns)
    rows, cols = figure.axes[0].get_gridspec().get_geometry()
    assert (rows, cols) == shape and sum(bool(ax.images) for ax in figure.axes) == count
    assert show.png(figure).startswith(b"\x89PNG")


def test_grid_errors():
    image = np.zeros((4, 4))
    for arguments, words in ((([],), "nothing to draw"), (([image] * 4, 2, ["a", "b", "c"]), "titles")):
        with pytest.raises(PaperKitError, match=words):
            show.grid(*arguments)
    with pytest.raises(PaperKitError, match="rows"):
        show.grid([image] * 4, 2, rows=["only one"])


def test_style_and_plotly_share_the_palette():
    import matplotlib as mpl
    with mpl.rc_context():
        show.use_style()
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(show.palette.values())
    assert list(show.template().layout.colorway) == list(show.palette.values())
    assert (show.plot(plotly_figure()).data["figure"]["layout"]["template"]["layout"]["colorway"]
            == list(show.palette.values()))


def test_palette_can_be_told_apart_on_white():
    from skimage.color import rgb2lab
    colors = np.array([[int(c[i:i + 2], 16) / 255 for i in (1, 3, 5)] for c in show.palette.values()])
    lab = rgb2lab(colors[None])[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1000 * np.eye(len(lab))
    assert distance.min() > 18 and (lab[:, 0] < 80).all()


# ---- slider
# ----------------------------------------------------------------------------------------------------------------

def test_slider_holds_a_picture_for_each_combination():
    view = show.slider(lambda alpha, beta: np.full((20, 30), alpha * beta), alpha=[0.0, 0.5, 1.0], beta=[0.2, 1.0],
                       start={"beta": 0.2})
    assert len(view.data["pictures"]) == 6
    assert [p["labels"] for p in view.data["parameters"]] == [["0", "0.5", "1"], ["0.2", "1"]]
    assert [p["start"] for p in view.data["parameters"]] == [1, 0]
    levels = [int(show.pixels(base64.b64decode(text))[0, 0, 0]) for text in view.data["pictures"]]
    assert levels == [0, 0, 26, 128, 51, 255]
    assert np.array_equal(show.pixels(view.picture())[0, 0], [26, 26, 26])


def test_slider_live_follows_its_value():
    calls = []
    def draw(alpha):
        calls.append(alpha)
        return np.full((9, 9), alpha)
    widget = show.slider(draw, alpha=[0.0, 0.5, 1.0]).live()
    image, (choice, play) = widget.children[0], widget.children[1].children
    before = image.value
    choice.value = 2
    assert image.value != before and calls[-1] == 1.0 and play.value == 2


def test_slider_closes_figures():
    import matplotlib.pyplot as plt
    show.slider(lambda n: plt.subplots(figsize=(2, 1))[0], n=[1, 2])
    assert not plt.get_fignums()


@pytest.mark.parametrize("arguments", [{}, {"alpha": []}, {"a": range(30), "b": range(30)},
                                       {"alpha": [1], "start": {"alpha": 2}}])
def test_slider_errors(arguments):
    with pytest.raises(PaperKitError, match="next step"):
        show.slider(lambda **_: np.zeros((2, 2)), **arguments)


# ---- sound
# -----------------------------------------------------------------------------------------------------------------

def read_wav(content):
    with wave.open(io.BytesIO(content)) as file:
        return file.getparams(), np.frombuffer(file.readframes(file.getnframes()),
                                               "<i2").reshape(-1, file.getnchannels())


def test_wav_is_clipped_and_never_wraps():
    params, samples = read_wav(show.wav(np.array([[0, 0.5, 1, 1.5, 1e9], [0, -0.5, -1, -1.5, -1e9]]), 44100))
    assert (params.nchannels, params.sampwidth, params.framerate, params.nframes) == (2, 2, 44100, 5)
    assert samples.T.tolist() == [[0, 16384, 32767, 32767, 32767], [0, -16384, -32767, -32767, -32767]]


def test_wav_keeps_16_bit_samples():
    given = np.array([-32767, -1, 0, 12345, 32767], np.int16)
    assert np.array_equal(read_wav(show.wav(given, 8000))[1][:, 0], given)


@pytest.mark.parametrize("waveform, rate", [(np.zeros((2, 2, 2)), 8000), (np.zeros((4000, 2)), 8000),
                                            (np.zeros(0), 8000), (np.array([0, np.nan]), 8000), (np.zeros(9), 0),
                                            (np.zeros(9), 22050.5)])
def test_no_sound(waveform, rate):
    with pytest.raises(PaperKitError, match="next step"):
        show.wav(waveform, rate)


def test_sound_inside_or_beside_the_document(tmp_path):
    tone = np.sin(np.arange(800) / 5)
    held = re.search(r'src="data:audio/wav;base64,([^"]+)"', show.audio(tone, 8000).html()).group(1)
    assert base64.b64decode(held) == show.wav(tone, 8000)
    show.audio(tone, 8000, file="figure-1.wav").save(tmp_path / "p", "figure-1")
    assert (tmp_path / "p" / "figure-1.wav").read_bytes() == show.wav(tone, 8000)
    assert 'src="figure-1.wav"' in (tmp_path / "p" / "figure-1.html").read_text()


# ---- three dimensions
# ------------------------------------------------------------------------------------------------------

def arrays():
    rng = np.random.default_rng(1)
    yield "vertices", rng.normal(size=(100, 3)).astype(np.float32) * [1, 100, 1e-3]
    yield "vertices", np.cumsum(rng.normal(size=(500, 3)), 0).astype(np.float32)
    yield "positions", np.tile(np.float32([1, 2, 3]), (50, 1))
    yield "positions", np.array([[np.nan, 0, 1]] * 40, np.float32)
    yield "indices", rng.integers(0, 2**32, (77, 3), dtype=np.uint32)
    yield "indices", np.arange(300, dtype=np.uint32).reshape(-1, 3)
    yield "colors", rng.integers(0, 2**24, 90, dtype=np.uint32)
    yield "attribute", rng.normal(size=33).astype(np.float32)
    yield "voxels", rng.integers(0, 9, (3, 4, 5), dtype=np.uint8)
    yield "other", rng.integers(-2**15, 2**15, (6, 5), dtype=np.int16)
    yield "empty", np.zeros(0, np.float32)


@pytest.mark.parametrize("name, array", list(arrays()))
def test_packed_arrays_come_back(name, array):
    content, note = show._encode_array(array.astype(array.dtype if array.dtype != np.float64 else np.float32),
                                       name in show._shrunk)
    back = show._decode_array(content, json.loads(json.dumps(note)))
    assert back.shape == array.shape
    if "scale" in note:
        assert (np.abs(back - array) <= 0.51 * np.ptp(array, axis=0) / 65535 + 1e-6 * np.abs(array).max()).all()
    else:
        assert np.array_equal(back, array, equal_nan=True) if array.dtype.kind == "f" else np.array_equal(back, array)


def test_scene_comes_back_and_equal_arrays_are_stored_once():
    vertices, faces = ball()
    view = show.mesh_slider([vertices, vertices * 1.5], [faces, faces], "size", [1, 1.5])
    one, two = show._unpack_scene(view.data["scene"])
    assert np.abs(one["vertices"] - vertices).max() < 1e-4 and np.abs(two["vertices"] - 1.5 * vertices).max() < 1e-4
    assert np.array_equal(one["indices"].reshape(-1, 3), faces) and [one["id"], two["id"]] == [1, 2]
    notes = [thing["indices"]["$array"]["start"] for thing in view.data["scene"]["objects"]]
    assert notes[0] == notes[1]
    assert len(view.data["scene"]["block"]) < 0.5 * (2 * vertices.size + 2 * faces.size) * 4


def test_camera_sees_everything_and_points_up():
    rng = np.random.default_rng(2)
    for up in "xyz":
        points = rng.normal(size=(60, 3)) * [1, 5, 0.2] + 7
        canvas = show._Canvas(show._camera(points, up, 30, 20))
        column, row, inverse = canvas.project(points)
        assert ((inverse > 0).all() and column.min() >= 0 and column.max() < canvas.width and row.min() >= 0
                and row.max() < canvas.height)
        higher = points[:1] + 0.1 * np.eye(3)["xyz".index(up)]
        assert canvas.project(higher)[1][0] < row[0]


def test_nearest_triangle_wins():
    square = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    vertices = np.concatenate([square, square * 0.5 + [0, -1, 0]])
    colors = np.repeat([[255, 0, 0], [0, 255, 0]], 4, axis=0)
    for order in ([0, 1, 2, 3], [2, 3, 0, 1]):
        picture = show.pixels(show.mesh(vertices, faces[order], colors, smooth=False, azimuth=-90,
                                        elevation=0).picture()).astype(int)
        middle, low = picture[240, 320], picture[430, 320]
        assert middle[1] > 100 > middle[0] and low[0] > 100 > low[1]


def test_translucent_mesh_lets_through():
    vertices, faces = ball()
    solid = show.pixels(show.mesh(vertices, faces).picture()).astype(int)[240, 320]
    glass = show.pixels(show.mesh(vertices, faces, opacity=0.3).picture()).astype(int)[240, 320]
    assert (glass > solid + 30).any()


def test_colors_of_every_kind():
    vertices, faces = tetrahedron()
    for colors in (None, "vermilion", "#102030", np.eye(4)[:, :3], np.full((4, 3), 200, np.uint8),
                   np.array([0, 1, np.nan, 3])):
        assert show.mesh(vertices, faces, colors).picture().startswith(b"\x89PNG")
    assert 'class="bar"' in show.mesh(vertices, faces, np.arange(4.0)).html()


def test_scene_of_many_objects_and_of_two_views():
    import k3d
    line = k3d.line(np.float32([[0, 0, 0], [1, 1, 1], [1, 0, 1]]), color=0xFF0000)
    arrows = k3d.vectors(np.float32([[0, 0, 0]]), np.float32([[0, 0, 1]]))
    edges = k3d.lines(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.uint32([[0, 1], [1, 2]]),
                      indices_type="segment")
    heights = k3d.surface(np.float32([[0, 0.1], [0.2, 0]]))
    cloud = show.points(np.eye(3))
    view = show.scene([line, arrows, edges, heights, *cloud.objects])
    assert view.picture().startswith(b"\x89PNG") and len(view.data["scene"]["objects"]) == 5
    chart = k3d.plot(camera_auto_fit=False)
    chart += line
    chart.camera = [3, 3, 3, 0, 0, 0, 0, 0, 1]
    assert show.scene(chart).data["scene"]["plot"]["camera"] == [3, 3, 3, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("make", [
    lambda: show.mesh(np.zeros((4, 2)), [[0, 1, 2]]), lambda: show.mesh(np.eye(3), [[0, 1, 3]]),
                                  lambda: show.mesh(np.eye(3), [[0, 1, -1]]),
    lambda: show.mesh(np.eye(3), [[0.0, 1, 2]]), lambda: show.mesh(np.eye(3), np.zeros((0, 3), int)),
                                  lambda: show.mesh(np.eye(3), [[0, 1, 2, 0]]),
    lambda: show.mesh(np.eye(3), [[0, 1, 2]], np.zeros(5)), lambda: show.mesh(np.eye(3), [[0, 1, 2]], "mauve-ish"),
    lambda: show.mesh(np.eye(3), [[0, 1, 2]], up="w"), lambda: show.points(np.array([[0, 0, np.inf]])),
                                  lambda: show.points(np.zeros((0, 3))),
    lambda: show.surface(np.zeros(4)), lambda: show.scene([]), lambda: show.mesh_slider([np.eye(3)], [], "n", [1]),
    lambda: show.mesh_slider([np.eye(3)], [[[0, 1, 2]]], "n", [1], start=2)])
def test_errors_name_expected_found_and_next_step(make):
    with pytest.raises(PaperKitError) as error:
        make()
    for part in ("expected", "found", "next step"):
        assert part in str(error.value)


def test_object_that_only_a_browser_draws():
    import k3d
    label = k3d.text("here", [0, 0, 0])
    with pytest.raises(PaperKitError, match="picture="):
        show.scene([label])
    assert show.scene([label, *show.points(np.eye(3)).objects],
                      picture=np.zeros((4, 4))).picture().startswith(b"\x89PNG")


# ---- plotly
# ----------------------------------------------------------------------------------------------------------------

def test_pictures_of_plotly_traces():
    import plotly.graph_objects as go
    z = np.outer(np.arange(4.0), np.arange(5.0))
    traces = [go.Scatter(y=[1, 2], mode="markers", marker_color=[0.1, 0.9]), go.Bar(x=["a", "b"], y=[1, 2]),
              go.Histogram(x=[1, 2, 2]),
              go.Box(y=[1, 2, 5]), go.Heatmap(z=z), go.Contour(z=z), go.Scatter3d(x=[0, 1], y=[0, 1], z=[0, 1]),
              go.Surface(z=z),
              go.Bar(y=["a", "b"], x=[1, 2], orientation="h")]
    for trace in traces:
        assert show.plot(go.Figure(trace)).picture().startswith(b"\x89PNG"), trace.type
    half = show.plot(go.Figure(go.Scatter(y=np.float16([1, 2, 3])))).live()
    assert half.data[0].y.dtype == np.float32
    with pytest.raises(PaperKitError, match="sankey"):
        show.plot(go.Figure(go.Sankey()))
    assert show.plot(go.Figure(go.Sankey()), picture=np.zeros((4, 4))).picture()
    with pytest.raises(PaperKitError, match="plotly Figure"):
        show.plot("no figure")


def test_plotly_frames_travel_and_own_templates_stay():
    import plotly.graph_objects as go
    figure = go.Figure([go.Scatter(y=[1, 2])],
                       frames=[go.Frame(data=[go.Scatter(y=[k, 2])], name=str(k)) for k in range(3)])
    assert len(show.plot(figure).data["figure"]["frames"]) == 3
    kept = show.plot(plotly_figure(template="plotly_dark")).data["figure"]["layout"]["template"]["layout"]
    assert kept["paper_bgcolor"] != "white"


# ---- in a browser
# ----------------------------------------------------------------------------------------------------------

def look(page, selector):
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB")).astype(int)


def changed(before, after):
    return float((np.abs(before - after).max(-1) > 20).mean())


@pytest.fixture
def opened(browser, tmp_path):
    pages, troubles = [], []

    def open_view(view, width=800, libraries=True):
        path = view.save(tmp_path / "figures" / "paper", "figure-1")[0]
        if not libraries:
            for file in (tmp_path / "figures" / "lib").rglob("*.js"):
                file.unlink()
        page = browser.new_page(viewport={"width": width, "height": 700})
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning")
                else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(request.url))
        page.on("request", lambda request: troubles.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:")) else None)
        page.goto(path.as_uri())
        page.wait_for_function("document.body.dataset.ready === '1' || document.body.dataset.failed === '1'",
                               timeout=30000)
        return page, troubles
    yield open_view
    for page in pages:
        page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1000])
@pytest.mark.parametrize("name", makers)
def test_every_view_opens_quietly_and_fits(opened, name, width):
    page, troubles = opened(makers[name](), width)
    assert page.evaluate("document.body.dataset.ready") == "1" and not troubles
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.browser
def test_mesh_is_drawn_turns_and_answers_keys(opened):
    page, _ = opened(makers["mesh"]())
    first = look(page, ".scene")
    assert (first.min(-1) < 200).mean() > 0.05 and page.evaluate("typeof window.K3DInstance") == "object"
    box = page.locator(".scene").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 150, box["y"] + box["height"] / 2 + 40, steps=5)
    page.mouse.up()
    assert eventually(page, lambda: changed(first, look(page, ".scene")) > 0.02)
    page.keyboard.press("Home")
    assert eventually(page, lambda: changed(first, look(page, ".scene")) < 0.005)
    page.keyboard.press("ArrowLeft")
    assert eventually(page, lambda: changed(first, look(page, ".scene")) > 0.02)


@pytest.mark.browser
def test_picture_and_browser_show_the_same_view(opened):
    view = makers["mesh"]()
    page, _ = opened(view, 660)
    page.locator(".scene").evaluate("place => { place.style.width = '640px' }")
    page.wait_for_timeout(400)
    there, here = look(page, ".scene").min(-1) < 200, show.pixels(view.picture())[:480].min(-1) < 200
    rows, columns = min(len(there), len(here)), min(there.shape[1], here.shape[1])
    there, here = there[:rows, :columns], here[:rows, :columns]
    assert (there & here).sum() / (there | here).sum() > 0.93


@pytest.mark.browser
def test_sliders_change_what_is_seen(opened):
    page, _ = opened(makers["slider"]())
    first = look(page, "img")
    page.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert (eventually(page, lambda: changed(first, look(page, "img")) > 0.1)
            and page.locator("output").inner_text() == "1")
    page, _ = opened(makers["mesh_slider"]())
    first = look(page, ".scene")
    page.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    assert (eventually(page, lambda: changed(first, look(page, ".scene")) > 0.02)
            and page.locator("output").inner_text() == "small")


@pytest.mark.browser
def test_missing_library_is_said_in_words(opened):
    page, _ = opened(makers["plot"](), libraries=False)
    assert ("make sync" in page.locator("#problem").inner_text()
            and "plotly.min.js" in page.locator("#problem").inner_text())


@pytest.mark.browser
def test_sound_is_playable_and_plotly_draws(opened):
    page, _ = opened(makers["audio"]())
    assert page.evaluate("new Promise(done => { const a = document.querySelector('audio'); a.readyState ? "
                         "done(a.duration) : a.onloadedmetadata = () => done(a.duration) })") == pytest.approx(0.5)
    page, _ = opened(makers["plot"]())
    assert page.locator(".plot .trace").count() == 1


def test_tiles_stand_left_to_right_and_then_down_with_white_for_what_is_left():
    each = [np.full((2, 3, 3), shade, np.uint8) for shade in (10, 20, 30)]
    sheet = show.tiles(each, 2)
    assert sheet.shape == (4, 6, 3)
    assert sheet[0, 0, 0] == 10 and sheet[0, 3, 0] == 20 and sheet[2, 0, 0] == 30 and sheet[2, 3, 0] == 255
    assert np.array_equal(show.tiles(each, 2, zoom=2)[::2, ::2], sheet)
    with pytest.raises(PaperKitError, match="no sheet"): show.tiles([each[0], each[0][:1]], 2)
    with pytest.raises(PaperKitError, match="no sheet"): show.tiles([], 2)


def test_packed_numbers_are_those_of_the_array_row_by_row():
    import base64
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert np.frombuffer(base64.b64decode(show.packed(array.T)), np.int16).tolist() == [0, 3, 1, 4, 2, 5]


def test_an_exhibit_may_name_the_file_of_its_script():
    from paper_kit.kit.show import bespoke, exhibit_script
    view = bespoke("demo", "unicorn.js", {}, lambda: None)
    assert exhibit_script("unicorn.js").strip().rstrip(";") in view.script
    with pytest.raises(PaperKitError, match="no exhibit nothing.js"): bespoke("demo", "nothing.js", {}, lambda: None)
    with pytest.raises(PaperKitError, match="no exhibit"): exhibit_script("../site.js")
