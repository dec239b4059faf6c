"""The viewer's process: model, worker, pages, HTTP answers, and the port in front of both."""

import importlib.util
import logging
import sys
import threading
from collections import deque
from dataclasses import fields
from typing import Any

from query.objects.finding import InstanceOptions
from query.open_model import OpenModel, opened
from viewer.addresses import addresses, is_loopback
from viewer.config import ViewerConfig
from viewer.front import API, Front
from viewer.geometry import Pose
from viewer.http_answers import HttpAnswers
from viewer.worker import Worker
from workspace import InputError

log = logging.getLogger(__name__)

REMEMBERED = 32  # visitors who left, whose camera stays when they come back


def view(config: ViewerConfig) -> None:
    """Show a model in the browser, and answer programs over HTTP, until interrupted."""
    config.check()
    viewer = Viewer(config, _model(config))
    try:
        sys.stdout.write(f"viewer: {viewer.url}\n")
        sys.stdout.writelines(f"from other machines: {url}\n" for url in viewer.network_urls)
        sys.stdout.write(f"answers for programs: {viewer.url}{API} (docs/python.md)\n")
        sys.stdout.flush()
        threading.Event().wait()
    finally:
        viewer.stop()


class Viewer:
    """A running viewer."""

    def __init__(self, config: ViewerConfig, model: OpenModel):
        """Listens at once; the first question takes longer if the neighbours of the Gaussians are not searched yet.

        Raises:
            InputError: viser is not installed, or the address cannot be used.
        """
        _require_viser()
        from viewer import pages
        from viewer.backends import BrowserSplats, ServerPictures
        from viewer.visitor import Place, Visitor

        options = {one.name: getattr(config, one.name) for one in fields(InstanceOptions)}
        self._worker = Worker()
        self._answers = HttpAnswers(model, self._worker, options)
        self._pages, self._stop_pages = pages.start_pages(), pages.stop_pages
        try:
            self._front = Front(config.host, config.port, self._pages.get_port(), self._answers.port)
        except InputError:
            self._close()
            raise
        if not is_loopback(config.host):
            log.warning("--host %s: everybody who reaches it can look, ask, and save into the model folder.", config.host)
        self.url, *self.network_urls = addresses(config.host, self._front.port)
        self.visitors: dict[int, Visitor] = {}
        place = Place(model, self._worker, options, config.vocabulary)

        def backend(client: Any, failed: Any) -> Any:
            if config.backend == "webgl":
                return BrowserSplats(model, self._worker, client, failed)
            return ServerPictures(model, self._worker, client, config.size, failed)

        left: deque[Pose] = deque(maxlen=REMEMBERED)

        @self._pages.on_client_connect
        def _(client: Any) -> None:
            # a page whose connection was cut comes back as another client, still looking from where it was
            places = [*left, *(visitor.pose for visitor in list(self.visitors.values()))]
            returning = any(pose.is_at(Pose.of(client.camera)) for pose in places)
            self.visitors[client.client_id] = Visitor(place, client, backend, returning)

        @self._pages.on_client_disconnect
        def _(client: Any) -> None:
            visitor = self.visitors.pop(client.client_id, None)
            if visitor is not None:
                left.append(visitor.pose)
                visitor.leave()

        # Loaded while the visitor's browser starts: the text encoder and the neighbours of the Gaussians.
        self._worker.submit("start", "warm", lambda stale: model.warm(config.neighbours))

    def stop(self) -> None:
        """Close all connections."""
        self._front.stop()
        self._close()

    def _close(self) -> None:
        self._stop_pages(self._pages)
        self._answers.stop()
        self._worker.stop()


def _model(config: ViewerConfig) -> OpenModel:
    _require_viser()  # missing, it is said before a large model is read
    return opened(config, config.model_path)


def _require_viser() -> None:
    if importlib.util.find_spec("viser") is None:
        raise InputError("The viewer needs viser, which is not installed. Run: pip install -r requirements-viewer.txt")
