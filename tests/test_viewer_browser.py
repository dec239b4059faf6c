"""The viewer in a real browser."""

import io

import numpy as np
import pytest
from browser_window import LIT, NEAR, PAUSE, SECONDS, Window, launched, needs_browser, running
from PIL import Image
from small_answers import BALLS, CENTERS, write_lifted, write_scene

from scene.ply import read_vertices

pytestmark = needs_browser


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return write_lifted(folder / "model", write_scene(folder / "scene"))


@pytest.fixture(scope="module")
def viewer(written):
    with running(written) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser():
    with launched() as opened:
        yield opened


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
    with running(written, "webgl") as viewer:
        window = Window(viewer, browser)
        before = window.colors()
        window.choose("Show", "Mask")
        window.ask(BALLS[1])
        window.lights(before, 1)
        window.choose("Scene", "Without the object")
        window.wait(lambda: window.colors()[1].max() < 60)
        window.leave()
