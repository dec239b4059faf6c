"""Answers for programs over HTTP: a phrase in, JSON of locate.py's schema or a mask out."""

import contextlib
import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from query.open_model import OpenModel
from query.phrase_answer import PhraseAnswer
from query.pictures import encoded, mask_picture
from query.tables import counted
from viewer.front import API, CHUNK, LINGER_BYTES, LINGER_SECONDS
from viewer.requests import LARGEST_BODY, Request, parse_request
from viewer.worker import Worker
from workspace import InputError

log = logging.getLogger(__name__)

CLIENTS = "http"  # programs take turns with visitors as one of them
MOST_WAITING = 16  # requests; further ones are told to come again
SECONDS = 120.0  # time limit of a request, waiting included


class HttpAnswers:
    """An HTTP server on the loopback interface; `Front` passes connections on to it."""

    def __init__(self, model: OpenModel, worker: Worker, options: Mapping[str, Any]):
        """`options` are the fields of InstanceOptions that a request does not give."""
        self._model, self._worker, self._options = model, worker, dict(options)
        self._tickets = iter(range(1 << 62))
        actions: dict[str, Callable[[Request], tuple[str, bytes]]] = {
            "": self._about,
            "/ask": self._ask,
            "/mask": self._mask,
            "/at": self._at,
            "/indices": self._indices,
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(actions, self._in_turn))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="viewer-http", daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def _in_turn(self, act: Callable[[Request], tuple[str, bytes]], request: Request) -> tuple[str, bytes]:
        if self._worker.waiting(CLIENTS) >= MOST_WAITING:
            raise BusyError
        return self._worker.submit(CLIENTS, next(self._tickets), lambda stale: act(request)).result(SECONDS)

    def _about(self, request: Request) -> tuple[str, bytes]:
        model = self._model
        cameras = [{"name": one.name, "width": one.width, "height": one.height} for one in model.cameras.values()]
        about = {"field": model.folder.field, "levels": model.levels, "gaussians": len(model.gaussians), "cameras": cameras}
        about |= {**model.session.relevancy(), "options": self._options}
        return _json(about | {"units": model.frame.units, "paths": [f"{API}/ask", f"{API}/mask", f"{API}/at", f"{API}/indices"]})

    def _ask(self, request: Request) -> tuple[str, bytes]:
        answers = self._answers(request)
        found = self._model.document(answers, request.views)
        for one in found["objects"]:
            # where objects.json names a file, this names the request that gives its content, relative to the same folder
            one["indices"] = "indices?" + urlencode(request.asked_again(one["phrase"], one["instance"]), doseq=True)
        return _json(found)

    def _mask(self, request: Request) -> tuple[str, bytes]:
        camera = request.camera(self._model)
        masks = [answer.mask(camera) for answer in self._answers(request)]
        return "image/png", encoded(mask_picture(np.logical_or.reduce(masks)), ".png")

    def _at(self, request: Request) -> tuple[str, bytes]:
        camera, (x, y) = request.camera(self._model), request.pixel()
        clicked = self._model.at(camera, x, y)
        if clicked is None:
            return _json({"position": None, "depth": None, "gaussians": 0, "names": []})
        names = self._model.names(clicked, request.text, request.negatives)
        told = self._model.frame.told(np.array([clicked.position]))[0]
        listed = [{"phrase": one.phrase, "score": round(one.score, 4), "level": one.level} for one in names]
        scale = self._model.frame.scale or 1.0
        where = {"position": told.tolist(), "depth": clicked.depth * scale, "gaussians": len(clicked.gaussians)}
        return _json(where | {"names": listed, "units": self._model.frame.units})

    def _indices(self, request: Request) -> tuple[str, bytes]:
        (answer,), number = self._answers(request.single()), request.instance
        if not 1 <= number <= len(answer.instances):
            raise InputError(f"instance {number}: {answer.phrase!r} has {counted(len(answer.instances), 'instance')} here.")
        file = io.BytesIO()
        np.save(file, answer.instances[number - 1].members.astype(np.int64), allow_pickle=False)
        return "application/octet-stream", file.getvalue()

    def _answers(self, request: Request) -> list[PhraseAnswer]:
        if not request.text:
            raise InputError("text: expected one phrase or more, such as ?text=red+mug.")
        options = {**self._options, **request.options}
        return self._model.ask_all(request.text, request.negatives, request.level, **options)


class BusyError(Exception):
    """Too many requests wait."""


def _handler(
    actions: Mapping[str, Callable[[Request], tuple[str, bytes]]], in_turn: Callable[..., tuple[str, bytes]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30.0  # seconds for a client to send its body

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if "Transfer-Encoding" in self.headers:  # in pieces, whose length nobody knows before the last
                self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a body with Content-Length, not one in pieces.")
            elif not length.isdigit() or int(length) > LARGEST_BODY:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {LARGEST_BODY} bytes.")
            else:
                self._answer(self.rfile.read(int(length)))

        def _answer(self, body: bytes) -> None:
            url = urlsplit(self.path)
            act = actions.get(url.path.removeprefix(API).rstrip("/"))
            try:
                if act is None:
                    known = ", ".join(f"{API}{path}" for path in actions)
                    self._send(HTTPStatus.NOT_FOUND, *_error(f"no {url.path[:80]!r} here; there is {known}."))
                else:
                    self._send(HTTPStatus.OK, *in_turn(act, parse_request(url.query, body)))
            except InputError as error:
                self._send(HTTPStatus.BAD_REQUEST, *_error(str(error)))
            except (BusyError, TimeoutError, CancelledError):
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, *_error("too many questions wait; ask again later."))
            except Exception:
                log.exception("a request failed")
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, *_error("the terminal of the viewer says what went wrong."))

        def _refuse(self, status: HTTPStatus, message: str) -> None:
            """Answer without using the body. It is read all the same: closing with unread input would destroy the answer."""
            self._send(status, *_error(message))
            left = LINGER_BYTES
            with contextlib.suppress(OSError):  # the client is gone, or sends nothing more
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(LINGER_SECONDS)
                while left > 0 and (data := self.rfile.read1(CHUNK)):
                    left -= len(data)

        def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode()


def _error(message: str) -> tuple[str, bytes]:
    return _json({"error": message})
