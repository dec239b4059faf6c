"""A visitor's window while the network or the viewer goes away and comes back."""

import asyncio

import pytest
from browser_window import Window, launched, needs_browser, running
from small_answers import BALLS, write_lifted, write_scene

pytestmark = needs_browser


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconnect")
    return write_lifted(folder / "model", write_scene(folder / "scene"))


@pytest.fixture(scope="module")
def browser():
    with launched() as opened:
        yield opened


def _cut(viewer):
    """Cut all connections, as a network does."""

    async def cut():
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run_coroutine_threadsafe(cut(), viewer._front._loop).result()


def test_a_page_whose_network_was_gone_comes_back_with_its_question_and_its_camera(written, browser):
    with running(written) as viewer:
        window = Window(viewer, browser)
        window.choose("Camera", "views/frame_00007")
        window.wait(lambda: abs(window.visitor.pose.position[0] - 0.45) < 1e-3)
        window.wait(lambda: (window.colors().max(1) > 100).all())
        plain = window.colors()
        window.ask(BALLS[1])
        window.lights(plain, 1)
        known, place = set(viewer.visitors), window.visitor.pose
        window.context.set_offline(True)
        _cut(viewer)
        window.wait(lambda: not viewer.visitors)
        window.page.wait_for_timeout(2000)  # the page tries in vain meanwhile
        window.context.set_offline(False)
        window.arrives(known)
        assert window.visitor.pose.is_at(place)
        window.wait(lambda: window.says(f"{BALLS[1]}: 1 instance"))
        window.lights(plain, 1)
        window.ask(BALLS[2])
        window.lights(plain, 2)
        window.leave()


def test_a_page_outlives_the_viewer_and_asks_the_next_one_at_its_port(written, browser, caplog):
    with running(written) as first:
        window = Window(first, browser)
        plain, port = window.colors(), first._front.port
        window.choose("Camera", "views/frame_00007")
        window.ask(BALLS[1])
    assert not caplog.records  # ended with a page open, without a traceback
    with running(written, port=port) as second:
        window.viewer = second
        window.arrives(set())
        assert abs(window.visitor.pose.position[0] + 0.45) < 1e-3  # a new viewer begins at the first photograph
        assert window.visitor.state.phrase == BALLS[1]
        window.lights(plain, 1)
        window.enter()
        assert window.field("Look for").input_value() == BALLS[1]
        window.lights(plain, 1)
        window.leave()
