"""The viewer without a browser: turns of the worker, a visitor's state, cameras, and the pictures of the back ends."""

import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from small_answers import BALLS, CENTERS, open_with_words, write_lifted, write_scene

from scene.gaussian_files import load_ply
from scene.ply import read_vertices
from viewer.addresses import addresses
from viewer.backends import Picture, splat_colors
from viewer.edits import edited_splats
from viewer.frames import FrameRenderer
from viewer.geometry import Pose, ahead_of, looked_at, upward
from viewer.overlay import UNEDITED, edited, overlay_of
from viewer.state import EDITS, LONGEST_PHRASE, MOST_PHRASES, SHOWS, ViewState, phrases_of
from viewer.worker import Worker

OPTIONS = {"neighbours": 1, "min_gaussians": 1, "grow": 1.0, "threshold": 0.95}  # another ball has a fifth of it: 0.92


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewer")
    return open_with_words(write_lifted(folder / "model", write_scene(folder / "scene")))


@pytest.fixture
def worker():
    running = Worker()
    yield running
    running.stop()


def _blocked(worker):
    """Keep the worker busy until the returned event is set."""
    started, release = threading.Event(), threading.Event()
    worker.submit("blocker", "work", lambda stale: (started.set(), release.wait()))
    started.wait()
    return release


def test_visitors_take_turns_however_much_one_of_them_asks(worker):
    release, order = _blocked(worker), []
    last = [worker.submit("greedy", kind, lambda stale: order.append("greedy")) for kind in range(4)][-1]
    worker.submit("modest", 0, lambda stale: order.append("modest"))
    release.set()
    last.result(10)
    assert order.index("modest") == 1


def test_a_newer_request_of_the_same_kind_replaces_the_waiting_one(worker):
    release = _blocked(worker)
    older = worker.submit("visitor", "frame", lambda stale: "older")
    newer = worker.submit("visitor", "frame", lambda stale: "newer")
    release.set()
    assert newer.result(10) == "newer" and older.cancelled()


def test_a_running_request_learns_that_it_is_stale(worker):
    started = threading.Event()

    def long(stale):
        started.set()
        until = time.monotonic() + 10
        while not stale() and time.monotonic() < until:
            time.sleep(0.001)
        return stale()

    running = worker.submit("visitor", "frame", long)
    started.wait()
    worker.submit("another visitor", "frame", lambda stale: None)
    worker.submit("visitor", "question", lambda stale: None)
    assert not running.done()
    worker.submit("visitor", "frame", lambda stale: None)
    assert running.result(10)


def test_a_delayed_request_waits_and_does_not_hold_up_others(worker):
    order = []
    still = worker.submit("visitor", "still", lambda stale: order.append("still"), delay=0.2)
    worker.submit("visitor", "moving", lambda stale: order.append("moving"))
    still.result(10)
    assert order == ["moving", "still"]


def test_who_left_is_not_computed_for_and_an_error_stays_with_who_asked(worker):
    release = _blocked(worker)
    gone = worker.submit("gone", "frame", lambda stale: None)
    failing = worker.submit("visitor", "frame", lambda stale: 1 / 0)
    worker.forget("gone")
    release.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert gone.cancelled() and worker.submit("visitor", "frame", lambda stale: 5).result(10) == 5


def test_a_state_survives_the_browser_and_nonsense_in_it_does_not():
    state = ViewState().changed(phrase="red ball", level="m", threshold=0.7, show="Mask", negatives=("wall", "floor"))
    assert ViewState.from_json(state.to_json(), ("s", "m")) == state
    assert ViewState.from_json(state.to_json(), ("grid",)) == replace(state, level=None)  # another model has other levels
    for text in (
        None,
        "",
        "{",
        "[]",
        "7",
        '{"threshold": 7, "show": "x", "opacity": null, "color": [1, 2, 999], "history": "a"}',
    ):
        assert ViewState.from_json(text, ("s",)) == ViewState()


def test_the_history_has_each_phrase_once_newest_first():
    state = ViewState()
    for phrase in ("a", "b", "a", *map(str, range(MOST_PHRASES))):
        state = state.changed(phrase=phrase)
    assert len(state.history) == MOST_PHRASES and state.history[0] == str(MOST_PHRASES - 1)
    assert ViewState().changed(phrase="a").changed(phrase="b").changed(phrase="a").history == ("a", "b")


def test_a_pasted_page_is_cut_to_a_phrase_that_the_browser_may_keep():
    state = ViewState().changed(phrase="red ball, " * 1000)
    assert len(state.phrase) <= LONGEST_PHRASE and ViewState.from_json(state.to_json(), ()) == state
    assert phrases_of(" wall, red floor;;wall ,") == ("wall", "red floor")


def test_a_pose_is_the_camera_it_was_made_from(model):
    camera = next(iter(model.cameras.values()))
    back = Pose.at(camera, camera.width / camera.height).camera(camera.width)
    np.testing.assert_allclose(back.world_to_camera, camera.world_to_camera, atol=1e-9)
    np.testing.assert_allclose(back.intrinsics, camera.intrinsics, rtol=1e-9)
    assert (back.width, back.height) == (camera.width, camera.height)
    wide = Pose.at(camera, 3.0).camera(3 * camera.height)
    assert wide.fy == pytest.approx(camera.fy)  # all of the photograph's height


def test_cameras_around_a_table_give_its_middle_and_its_upward_direction():
    """A quarter of a circle, looking down: the mean of the upper edges leans by tens of degrees."""
    from scene.camera import Camera

    middle, cameras = np.array([1.0, 2.0, 0.5]), []
    for angle in np.linspace(0, np.pi / 2, 7):
        center = middle + np.array([3 * np.cos(angle), 3 * np.sin(angle), 2.0])
        z = (middle - center) / np.linalg.norm(middle - center)
        x = np.cross(z, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(z, [0.0, 0.0, 1.0]))
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = np.stack([x, np.cross(z, x), z])
        world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ center
        cameras.append(Camera("view", world_to_camera, 100.0, 100.0, 50.0, 40.0, 100, 80))
    np.testing.assert_allclose(upward(cameras), [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(looked_at(cameras), middle, atol=1e-9)
    np.testing.assert_allclose(ahead_of(cameras[0], middle), middle, atol=1e-9)
    np.testing.assert_allclose(upward(cameras[:1]), -cameras[0].world_to_camera[1, :3], atol=1e-9)  # parallel rows say nothing


def _frame(model, state, answer, **settings):
    camera = next(iter(model.cameras.values()))
    pose = Pose.at(camera, camera.width / camera.height)
    renderer = FrameRenderer(model.gaussians, model.session.field.trained.background)
    change = edited(state, answer)
    return renderer.frame(
        pose.camera(camera.width), change, state.color, overlay_of(state, answer), state.opacity, **settings
    ).astype(int)


def _at(model, frame, ball):
    camera = next(iter(model.cameras.values()))
    x, y, z = camera.world_to_camera[:3, :3] @ CENTERS[ball] + camera.world_to_camera[:3, 3]
    return frame[round(camera.fy * y / z + camera.cy), round(camera.fx * x / z + camera.cx)]


@pytest.mark.parametrize("show", SHOWS[1:])
def test_the_overlay_colours_the_object_and_dims_the_rest(model, show):
    answer = model.ask(BALLS[1], **OPTIONS)
    plain = _frame(model, ViewState(show="Photograph"), answer)
    shown = _frame(model, ViewState(show=show, threshold=0.95), answer, outlined=show != "Relevancy")
    change = np.abs(_at(model, shown, 1) - _at(model, plain, 1))
    assert change.max() > 60
    for other in (0, 2, 3):
        before, after = _at(model, plain, other), _at(model, shown, other)
        np.testing.assert_allclose(after / before.max(), before / before.max() * after.max() / before.max(), atol=0.02)
        assert after.max() < before.max()
    assert (_frame(model, ViewState(show=show, opacity=0.0), answer) == plain).mean() > 0.99


def test_the_threshold_decides_what_is_coloured(model):
    answer = model.ask(BALLS[0], **OPTIONS)
    plain = _frame(model, ViewState(show="Photograph"), answer)
    high = model.ask(BALLS[0], **{**OPTIONS, "threshold": 0.99999})
    assert not high.instances
    lit = _frame(model, ViewState(show="Relevancy", threshold=0.99999), high)
    assert _at(model, lit, 0).max() < _at(model, plain, 0).max()


def test_edits_take_the_object_out_alone_or_paint_it(model):
    answer = model.ask(BALLS[0], **OPTIONS)
    everything, alone, without, painted = (
        _frame(model, ViewState(show="Photograph", edit=edit, color=(10, 200, 30)), answer) for edit in EDITS
    )
    assert _at(model, without, 0).max() < 60 < _at(model, everything, 0).max()
    np.testing.assert_array_equal(_at(model, without, 1), _at(model, everything, 1))
    assert _at(model, alone, 1).max() < 60 and np.abs(_at(model, alone, 0) - _at(model, everything, 0)).max() <= 2
    np.testing.assert_allclose(_at(model, painted, 0), (10, 200, 30), atol=6)  # opacity 0.9975, and a little of what is behind
    assert edited(ViewState(edit=EDITS[1]), model.ask("nothing of this kind", **OPTIONS)) is UNEDITED


def test_a_coarse_frame_and_a_stale_one(model):
    answer = model.ask(BALLS[0], **OPTIONS)
    state = ViewState(show="Mask")
    fine, coarse = _frame(model, state, answer), _frame(model, state, answer, coarse=True)
    assert np.abs(fine - coarse).mean() < 1  # the small world's colours do not depend on the view
    renderer = FrameRenderer(model.gaussians, model.session.field.trained.background)
    camera = next(iter(model.cameras.values()))
    assert renderer.frame(camera, UNEDITED, (0, 0, 0), None, 1.0, stale=lambda: True) is None


def test_the_renderer_draws_the_edit_that_came_last(model):
    """What it keeps between frames is of one edit: another one is projected again."""
    answer = model.ask(BALLS[0], **OPTIONS)
    camera = next(iter(model.cameras.values()))
    renderer = FrameRenderer(model.gaussians, model.session.field.trained.background)
    frames, red, green = [], (250, 0, 0), (0, 250, 0)
    for edit, color in ((EDITS[0], red), (EDITS[2], red), (EDITS[3], red), (EDITS[3], green), (EDITS[0], red)):
        state = ViewState(edit=edit, color=color)
        frames.append(renderer.frame(camera, edited(state, answer), color, None, 1.0).astype(int))
    first, gone, reddened, greened, last = (_at(model, frame, 0) for frame in frames)
    assert gone.max() < 60 and reddened[0] > 230 > 30 > reddened[1] and greened[1] > 230 > 30 > greened[0]
    np.testing.assert_array_equal(first, last)


def test_splats_of_the_browser_have_the_same_colours(model):
    answer = model.ask(BALLS[0], **OPTIONS)
    state = ViewState(show="Mask", opacity=1.0)
    rgb, opacities = splat_colors(model.gaussians, Picture(state, overlay_of(state, answer), UNEDITED))
    plain, _ = splat_colors(model.gaussians, Picture(state, None, UNEDITED))
    assert rgb.shape == (4, 3) and opacities.shape == (4, 1)
    np.testing.assert_allclose(rgb[0], (0.20, 0.85, 1.0), atol=1e-6)
    assert (rgb[1:] < plain[1:]).any(1).all() and (rgb[1:] <= plain[1:]).all()
    state = ViewState(edit=EDITS[2])
    _, without = splat_colors(model.gaussians, Picture(state, None, edited(state, answer)))
    assert without[0, 0] == 0 and (without[1:] > 0.9).all()


def test_a_downloaded_splat_file_is_the_edited_scene_with_everything_else_untouched(model, tmp_path):
    answer = model.ask(BALLS[0], **OPTIONS)
    trained = read_vertices(model.folder.point_cloud(7))
    for edit, rows in ((EDITS[0], [0]), (EDITS[1], [0]), (EDITS[2], [1, 2, 3])):
        path = tmp_path / "edited.ply"
        path.write_bytes(edited_splats(answer, ViewState(edit=edit)))
        assert read_vertices(path).tobytes() == trained[rows].tobytes()
    path.write_bytes(edited_splats(answer, ViewState(edit=EDITS[3], color=(255, 0, 0))))
    rgb = load_ply(path).sh_dc[:, 0].numpy() * 0.28209479177387814 + 0.5
    np.testing.assert_allclose(rgb[0], (1, 0, 0), atol=1e-6)
    np.testing.assert_array_equal(rgb[1:], model.gaussians.sh_dc[1:, 0].numpy() * 0.28209479177387814 + 0.5)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", ["http://localhost:8080"]),
        ("localhost", ["http://localhost:8080"]),
        ("127.0.0.2", ["http://127.0.0.2:8080"]),  # localhost is another address
        ("192.168.1.5", ["http://192.168.1.5:8080"]),
        ("0.0.0.0", ["http://localhost:8080", f"http://{socket.gethostname()}:8080"]),
        ("::", ["http://[::1]:8080", f"http://{socket.gethostname()}:8080"]),
    ],
)
def test_the_addresses_that_are_printed_open_in_a_browser(host, expected):
    assert addresses(host, 8080) == expected


def test_a_click_on_one_gaussian_says_so():
    pytest.importorskip("viser", reason="viser is not installed: pip install -r requirements-viewer.txt")
    from viewer.panel import click_text

    for count, told in ((1, "1 Gaussian."), (2000, "2,000 Gaussians.")):
        assert told in click_text((0.0, 0.0, 0.0), "", count, None, [])
