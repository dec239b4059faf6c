"""A running viewer and a visitor's window in a real browser: Debian's Chromium, driven by playwright, with WebGL in software."""

import contextlib
import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from small_answers import CENTERS, open_with_words

from viewer.app import Viewer
from viewer.config import ViewerConfig

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytest.importorskip("viser", reason="viser is not installed: pip install -r requirements-viewer.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -r requirements-browser.txt")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: apt install chromium")

WINDOW = {"width": 1100, "height": 340}  # low: WebGL in software is slow; wide: the balls are left of the panel
SECONDS = 60.0  # for a picture to change; a busy machine needs some
PAUSE = 150  # ms between two inputs, a person's pace: of those within 50 ms viser's page sends the last and drops the others
LIT = 0.2  # change of a pixel's colour, its brightness aside, that a person sees at once
NEAR = 4  # pixels around a ball's centre that are compared
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextlib.contextmanager
def running(written, backend="server", port=0):
    """A viewer of the small world, with options that tell its balls apart."""
    options = {"neighbours": 1, "min_gaussians": 1, "grow": 1.0, "threshold": 0.95}
    config = ViewerConfig(model_path=written.root, port=port, backend=backend, size=320, device="cpu", **options)
    viewer = Viewer(config, open_with_words(written))
    try:
        yield viewer
    finally:
        viewer.stop()


@contextlib.contextmanager
def launched():
    """The browser."""
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
        self.arrives(known)
        self.wait(lambda: self.colors()[1].max() > 100)

    def arrives(self, known):
        """Wait for the viewer to see this window as a visitor other than the `known` ones."""
        self.wait(lambda: set(self.viewer.visitors) - known)
        self.visitor = self.viewer.visitors[(set(self.viewer.visitors) - known).pop()]

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
        return np.abs(now / now.sum(1, keepdims=True).clip(1) - before / before.sum(1, keepdims=True).clip(1)).max(1)

    def lights(self, before, *balls):
        """Wait until exactly these balls have another colour than before."""
        expected = [ball in balls for ball in range(4)]
        self.wait(lambda: (self.changed(before) > LIT).tolist() == expected)

    def leave(self):
        self.context.close()
