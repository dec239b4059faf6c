"""The viewer in a real browser: Debian's Chromium, driven by playwright, with WebGL in software."""

import contextlib
import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from small_answers import BALLS, CENTERS, open_with_words, write_lifted, write_scene

from scene.ply import read_vertices
from viewer.app import Viewer
from viewer.config import ViewerConfig

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytest.importorskip("viser", reason="viser is not installed: pip install -r requirements-viewer.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -r requirements-browser.txt")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: apt install chromium")

WINDOW = {"width": 1100, "height": 340}  # low: WebGL in software is slow; wide: the balls are left of the panel
SECONDS = 60.0  # for a picture to change; a busy machine needs some
PAUSE = 150  # ms between two inputs, a person's pace: of those within 50 ms viser's page sends the last and drops the others
LIT = 0.2  # change of a pixel's colour, its brightness aside, that a person sees at once
NEAR = 4  # pixels around a ball's centre that are compared
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return write_lifted(folder / "model", write_scene(folder / "scene"))


@contextlib.contextmanager
def _running(written, backend):
    options = {"neighbours": 1, "min_gaussians": 1, "grow": 1.0, "threshold": 0.95}
    config = ViewerConfig(model_path=written.root, port=0, backend=backend, size=320, device="cpu", **options)
    viewer = Viewer(config, open_with_words(written))
    try:
        yield viewer
    finally:
        viewer.stop()


@pytest.fixture(scope="module")
def viewer(written):
    with _running(written, "server") as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


class Window:
    """A visitor's browser window."""

    def __init__(self, viewer, browser):
        self.viewer, self.context = viewer, browser.new_context(viewport=WINDOW, accept_downloads=True)
        self.page = self.context.new_page()
        self.enter()

    def enter(self):
        known = set(self.viewer.visitors)
        self.page.goto(self.viewer.url)
        self.field("Look for").wait_for(timeout=1000 * SECONDS)
        self.wait(lambda: set(self.viewer.visitors) - known)
        self.visitor = self.viewer.visitors[(set(self.viewer.visitors) - known).pop()]
        self.wait(lambda: self.colors()[1].max() > 100)

    def field(self, label):
        return self.page.locator(f"xpath=//label[normalize-space(text())='{label}']/following::input[1]").first

    def ask(self, phrase, against=""):
        for label, text in (("Against", against), ("Look for", phrase)):
            self.field(label).fill(text)
            self.page.wait_for_timeout(PAUSE)
        self.field("Look for").press("Enter")
        self.wait(lambda: self.visitor.state.phrase == phrase and self.says(phrase))

    def choose(self, label, option):
        self.field(label).click()
        self.page.get_by_role("option", name=option, exact=True).click()
        self.page.wait_for_timeout(PAUSE)

    def says(self, text):
        return self.page.get_by_text(text).count() > 0

    def wait(self, condition):
        until = time.monotonic() + SECONDS
        while not (found := condition()):
            assert time.monotonic() < until, "nothing changed"
            self.page.wait_for_timeout(100)
        return found

    def pixel(self, ball):
        """Where a ball is in the window."""
        camera = self.visitor.pose.camera(WINDOW["width"])
        x, y, z = camera.world_to_camera[:3, :3] @ CENTERS[ball] + camera.world_to_camera[:3, 3]
        return round(camera.fx * x / z + camera.cx), round(camera.fy * y / z + camera.cy)

    def colors(self):
        """Mean RGB of the four balls on the screen."""
        picture = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"), float)
        places = (self.pixel(ball) for ball in range(4))
        return np.stack([picture[y - NEAR : y + NEAR, x - NEAR : x + NEAR].mean((0, 1)) for x, y in places])

    def changed(self, before):
        """Of every ball, how much its colour has changed, brightness aside."""
        now = self.colors()
        return np.abs(now / now.sum(1, keepdims=True) - before / before.sum(1, keepdims=True)).max(1)

    def lights(self, before, *balls):
        """Wait until exactly these balls have another colour than before."""
        expected = [ball in balls for ball in range(4)]
        self.wait(lambda: (self.changed(before) > LIT).tolist() == expected)

    def leave(self):
        self.context.close()


@pytest.fixture
def window(viewer, browser):
    opened = Window(viewer, browser)
    yield opened
    opened.leave()


def test_a_phrase_lights_its_object_and_nothing_else(window):
    before = window.colors()
    window.ask(BALLS[1])
    window.lights(before, 1)
    assert window.says("1 instance")
    rest = [0, 2, 3]
    assert (window.colors()[rest].max(1) < before[rest].max(1)).all()  # the rest is dimmed
    window.ask("something else")
    assert window.says("is not here")
    window.lights(before)


def test_what_is_being_typed_survives_another_choice(window):
    window.field("Look for").fill(BALLS[1])
    window.page.wait_for_timeout(PAUSE)
    window.choose("Show", "Mask")
    window.wait(lambda: window.visitor.state.show == "Mask")
    window.page.wait_for_timeout(PAUSE)
    assert window.field("Look for").input_value() == BALLS[1]


def test_threshold_level_and_negatives_change_what_is_lit(window):
    before = window.colors()
    window.choose("Show", "Mask")
    window.ask(BALLS[1])
    window.lights(before, 1)
    slider = window.page.locator(
        "xpath=//label[normalize-space(text())='Threshold']/following::input[not(@type='hidden')][1]"
    ).first
    slider.fill("0.9")
    slider.press("Enter")
    window.lights(before, 0, 1)  # ball 0 has a fifth of ball 1, and a relevancy of 0.92
    window.choose("Level", "m")
    window.lights(before, 0, 1)  # at level m the first two balls are one thing
    window.choose("Level", "s")
    window.ask(BALLS[1], against=f"object, {BALLS[1]}")
    window.lights(before)  # nothing beats itself


def test_a_click_says_what_is_there(window):
    window.ask(BALLS[0])
    window.ask(BALLS[1])
    window.page.mouse.click(*window.pixel(1))
    window.wait(lambda: window.says("Part of"))
    shown = window.page.get_by_text("1 Gaussian.").first.inner_text()
    numbers = [
        float(part) for part in shown.removeprefix("At ").partition(",  ")[0].split(" Gaussian")[0].rpartition(",")[0].split(",")
    ]
    np.testing.assert_allclose(numbers, CENTERS[1], atol=0.05)
    listed = window.page.locator("li").all_inner_texts()
    assert [entry for entry in listed if entry.startswith(BALLS[1])] and not window.says("Something went wrong")


def test_an_edit_takes_the_object_out_and_saves_it(window, written, tmp_path):
    before = window.colors()
    window.ask(BALLS[0])
    window.choose("Show", "Photograph")
    window.choose("Scene", "Without the object")
    window.wait(lambda: window.colors()[0].max() < 60)
    np.testing.assert_allclose(window.colors()[1:], before[1:], atol=6)  # JPEG
    window.page.get_by_role("button", name="Save with the model").click()
    saved = written.object_splats(BALLS[0], "removed")
    window.wait(lambda: saved.exists() and window.says("Saved"))
    trained = read_vertices(written.point_cloud(7))
    assert read_vertices(saved).tobytes() == trained[1:].tobytes()
    with window.page.expect_download(timeout=1000 * SECONDS) as download:
        window.page.get_by_role("button", name="Download splats").click()
    download.value.save_as(tmp_path / "downloaded.ply")
    assert (tmp_path / "downloaded.ply").read_bytes() == saved.read_bytes()


def test_two_visitors_do_not_disturb_each_other_and_a_reload_keeps_the_state(window, viewer, browser):
    before = window.colors()
    other = Window(viewer, browser)
    window.ask(BALLS[1])
    window.lights(before, 1)
    other.lights(before)
    other.choose("Camera", "views/frame_00007")
    other.wait(lambda: abs(other.visitor.pose.position[0] - 0.45) < 1e-3)
    other.ask(BALLS[2])
    other.leave()
    window.lights(before, 1)
    assert window.field("Look for").input_value() == BALLS[1]
    gone = window.visitor
    window.enter()
    assert window.field("Look for").input_value() == BALLS[1] and window.visitor is not gone
    window.lights(before, 1)
    window.wait(lambda: len(viewer.visitors) == 1)


def test_turning_the_scene_draws_it_from_the_new_camera(window):
    start = window.visitor.pose.position
    window.page.mouse.move(300, 170)
    window.page.mouse.down()
    window.page.mouse.move(400, 190, steps=4)
    window.page.mouse.up()
    window.wait(lambda: np.linalg.norm(np.subtract(window.visitor.pose.position, start)) > 0.2)
    window.wait(lambda: (window.colors().max(1) > 100).all())  # each ball is where the new camera sees it


def test_a_downloaded_page_shows_the_scene_without_a_server(window, browser, tmp_path):
    before = window.colors()
    window.choose("Show", "Mask")
    window.ask(BALLS[1])
    window.lights(before, 1)
    shown, places = window.colors(), [window.pixel(ball) for ball in range(4)]
    with window.page.expect_download(timeout=1000 * SECONDS) as download:
        window.page.get_by_role("button", name="Download page").click()
    download.value.save_as(tmp_path / "page.html")
    page = window.context.new_page()
    page.goto((tmp_path / "page.html").as_uri())

    def differences():
        picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), float)
        found = np.stack([picture[y - NEAR : y + NEAR, x - NEAR : x + NEAR].mean((0, 1)) for x, y in places])
        return np.abs(found / found.sum(1, keepdims=True).clip(1) - shown / shown.sum(1, keepdims=True)).max(1)

    window.wait(lambda: (differences() < LIT).all())


def test_the_browser_draws_the_same_state_itself(written, browser):
    with _running(written, "webgl") as viewer:
        window = Window(viewer, browser)
        before = window.colors()
        window.choose("Show", "Mask")
        window.ask(BALLS[1])
        window.lights(before, 1)
        window.choose("Scene", "Without the object")
        window.wait(lambda: window.colors()[1].max() < 60)
        window.leave()
