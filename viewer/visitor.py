"""One visitor: a state, a camera and an answer of their own, computed in turn with everybody else's."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from query.objects.clicks import clicked_instance
from query.objects.saving import Edits
from query.open_model import OpenModel
from query.phrase_answer import PhraseAnswer
from query.relevancy import BEATS_NEGATIVES
from scene.camera import Camera
from viewer.backends import Backend, Picture
from viewer.edits import edited_splats
from viewer.geometry import Pose, ahead_of, looked_at, upward
from viewer.markers import Markers
from viewer.offline import offline_page
from viewer.overlay import UNEDITED, edited, overlay_of
from viewer.panel import Actions, Panel, click_text
from viewer.state import ViewState
from viewer.worker import Stale, Worker
from workspace import InputError
from workspace.slugs import slug

log = logging.getLogger(__name__)

CLICK_TILE = 16  # pixels of the picture rendered around a click; the rasterizer's tiles have 16
NAMES = 5  # names given to a click
STORAGE_SECONDS = 5.0  # for the browser to say what it has stored
STORED = "open-vocabulary-3d"  # key in the browser's storage


@dataclass(frozen=True)
class Place:
    """What all visitors share."""

    model: OpenModel
    worker: Worker
    options: dict[str, Any]
    """Fields of InstanceOptions other than the threshold."""
    vocabulary: tuple[str, ...]


class Visitor:
    """Created when a browser connects. Callbacks come from viser's threads; everything that computes runs in the worker."""

    def __init__(
        self, place: Place, client: Any, backend: Callable[[Any, Callable[[Exception], None]], Backend], returning: bool = False
    ):
        """A `returning` visitor, whose connection was cut, keeps the camera; others start at that of a photograph."""
        self._place, self._client = place, client
        self._lock = threading.RLock()
        self._answer: PhraseAnswer | None = None
        self._key = f"{STORED}:{place.model.folder.root.name}"
        model = place.model
        self._state = ViewState.from_json(_kept(client, self._key), model.levels, place.options["threshold"])
        self._edited = UNEDITED
        self._edited_by: tuple[str, PhraseAnswer | None] = ("Everything", None)
        self._picture = Picture(self._state, None, UNEDITED)
        self._cameras = list(model.cameras.values())
        self._middle = looked_at(self._cameras)
        self._backend = backend(client, self._failed)
        self._markers = Markers(client.scene, self._up())
        actions = Actions(self.change, self.jump, self.save, self.download_splats, self.download_page)
        negatives = model.session.relevancy()["negatives"]
        self.panel = Panel(client.gui, model.folder.root.name, self._state, model.levels, list(model.cameras), negatives, actions)
        if not returning:
            self.jump(self._cameras[0].name)
        client.camera.on_update(lambda _: self._moved())
        client.scene.on_click()(lambda event: self.click(*event.screen_pos))
        if self._state.phrase:
            self._ask()
        else:
            self._show()

    @property
    def state(self) -> ViewState:
        """What is chosen now."""
        return self._state

    @property
    def pose(self) -> Pose:
        """Where the visitor looks from."""
        return Pose.of(self._client.camera)

    def change(self, **changes: Any) -> None:
        """Take over what the visitor has chosen, and show it."""
        with self._lock:
            before, self._state = self._state, self._state.changed(**changes)
            if self._state == before:
                return
            self.panel.show_state(self._state)
            self._client.local_storage.set_item(self._key, self._state.to_json())
            if self._state.asks_as(before):
                self._show()
            else:
                self._ask()

    def jump(self, name: str) -> None:
        """Look through a photograph's camera."""
        camera = self._place.model.cameras[name]
        pose = Pose.at(camera, float(self._client.camera.aspect))
        with self._client.atomic():
            self._client.camera.up_direction = self._up()
            self._client.camera.fov = pose.fov
            self._client.camera.position = pose.position
            self._client.camera.look_at = ahead_of(camera, self._middle)

    def click(self, across: float, down: float) -> None:
        """Say what is at a point of the picture; both from 0 to 1, from the upper left."""
        pose = self.pose
        self._submit("click", lambda stale: self._clicked(pose, across, down))

    def save(self) -> None:
        """Write the answer and its splat files into the model folder."""
        self._with_answer("save", self._saved)

    def download_splats(self) -> None:
        """Send the scene as edited, as a splat file."""
        self._with_answer("download", self._downloaded)

    def download_page(self) -> None:
        """Send the scene as shown, as a page that opens without a server."""
        self._submit("page", lambda stale: self._paged())

    def leave(self) -> None:
        """The connection is gone."""
        self._place.worker.forget(self._client.client_id)

    def _up(self) -> np.ndarray:
        up = self._place.model.frame.up
        return upward(self._cameras) if up is None else np.array(up) / np.linalg.norm(up)

    def _moved(self) -> None:
        self._backend.moved(self._picture, self.pose)

    def _show(self) -> None:
        """Compose the picture of the state in the worker, where the answer does not change meanwhile, and show it."""
        self._submit("compose", lambda stale: self._composed())

    def _ask(self) -> None:
        self._submit("ask", self._asked)

    def _asked(self, stale: Stale) -> None:
        state, started = self._state, time.perf_counter()
        answer = None
        if state.phrase:
            options = {**self._place.options, "threshold": state.threshold}
            answer = self._place.model.ask(state.phrase, state.negatives, state.level, **options)
        self._answer = answer
        self._composed()
        self.panel.show_answer(answer, time.perf_counter() - started)

    def _composed(self) -> None:
        state, answer = self._state, self._answer
        decides = (state.edit, answer if state.edit != "Everything" else None)
        if decides != self._edited_by:  # kept otherwise: another scene is projected again
            self._edited_by, self._edited = decides, edited(state, answer)
        self._picture = Picture(state, overlay_of(state, answer), self._edited)
        self._markers.show(answer if state.show == "Objects" and state.edit != "Without the object" else None)
        self._backend.show(self._picture, self.pose)

    def _clicked(self, pose: Pose, across: float, down: float) -> None:
        model, state = self._place.model, self._state
        camera, x, y = _around(pose, across, down)
        clicked = model.at(camera, x, y)
        if clicked is None:
            self._markers.point(None)
            self.panel.show_click("Nothing there.")
            return
        names = model.names(clicked, self._names(), state.negatives)[:NAMES]
        hit = clicked_instance(clicked, [self._answer.found]) if self._answer is not None else None
        told = model.frame.told(np.array([clicked.position]))[0].tolist()
        unit = " m" if model.frame.scale is not None else ""
        self._markers.point(
            clicked.position, clicked.depth, names[0].phrase if names and names[0].score > BEATS_NEGATIVES else ""
        )
        instance = None if hit is None else (hit[0].phrase, hit[1])
        self.panel.show_click(click_text(told, unit, len(clicked.gaussians), instance, names))

    def _names(self) -> tuple[str, ...]:
        return self._state.vocabulary or self._place.vocabulary or self._state.history

    def _with_answer(self, kind: str, act: Callable[[PhraseAnswer], None]) -> None:
        def work(stale: Stale) -> None:
            if self._answer is None or not self._answer.instances:
                self._tell("Nothing to save", "Look for something that is here first.", "yellow")
            else:
                act(self._answer)

        self._submit(kind, work)

    def _saved(self, answer: PhraseAnswer) -> None:
        edit, folder = self._state.edit, self._place.model.folder
        color = self._state.color if edit == "Object in a colour" else None
        edits = Edits(extract=edit in ("Everything", "Only the object"), remove=edit == "Without the object", recolor=color)
        saved = answer.save(edits)
        names, gone = (", ".join(path.name for path in paths) for paths in (saved.splats, saved.deleted))
        replaced = f". Deleted, since they were of other instances: {gone}" if gone else ""
        where = f"{folder.object_folder(answer.phrase)}: {names}; positions in {folder.located.name}"
        self._tell("Saved", where + replaced, "green")

    def _downloaded(self, answer: PhraseAnswer) -> None:
        name = f"{slug(answer.phrase)}.ply"
        self._client.send_file_download(name, edited_splats(answer, self._state), save_immediately=True)

    def _paged(self) -> None:
        title = self._place.model.folder.root.name
        page = offline_page(self._place.model.gaussians, self._picture, self._answer, self.pose, self._client.camera)
        name = slug(self._state.phrase) if self._state.phrase else title
        self._client.send_file_download(f"{name}.html", page, save_immediately=True)

    def _submit(self, kind: str, work: Callable[[Stale], None]) -> None:
        future = self._place.worker.submit(self._client.client_id, kind, work)
        future.add_done_callback(lambda done: done.cancelled() or done.exception() is None or self._failed(done.exception()))

    def _failed(self, error: BaseException | None) -> None:
        if isinstance(error, InputError):
            self._tell("Not possible", str(error), "red")
        elif isinstance(error, OSError) and error.filename is not None:  # a full disk, or a folder that is not ours to write to
            self._tell("Not possible", f"{error.filename}: {error.strerror}", "red")
        else:
            log.error("a visitor's request failed", exc_info=error)
            self._tell("Something went wrong", "The terminal of the viewer says what.", "red")

    def _tell(self, title: str, body: str, color: str) -> None:
        self._client.add_notification(title, body, auto_close_seconds=8.0, color=color)


def _kept(client: Any, key: str) -> str | None:
    """What the browser has stored under the key; None when it does not say."""
    try:
        return client.local_storage.get_item(key, timeout=STORAGE_SECONDS)
    except (TimeoutError, RuntimeError):  # busy, or its storage is switched off
        return None


def _around(pose: Pose, across: float, down: float) -> tuple[Camera, int, int]:
    """A small camera around a point of a picture, and the pixel of that point in it."""
    whole = pose.camera(960)
    left, top = across * whole.width - CLICK_TILE / 2, down * whole.height - CLICK_TILE / 2
    small = replace(whole, cx=whole.cx - left, cy=whole.cy - top, width=CLICK_TILE, height=CLICK_TILE)
    return small, CLICK_TILE // 2, CLICK_TILE // 2
