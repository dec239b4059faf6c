"""The viewer's answers over HTTP, through the port that the pages share."""

import http.server
import io
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import cv2
import jsonschema
import numpy as np
import pytest
from small_answers import BALLS, CENTERS, HEIGHT, WIDTH, open_with_words, write_lifted, write_scene

from viewer.front import LARGEST_HEAD, Front
from viewer.http_answers import MOST_WAITING, HttpAnswers
from viewer.requests import LARGEST_BODY, MOST_PHRASES
from viewer.worker import Worker
from workspace import InputError

SCHEMA = json.loads((Path(__file__).resolve().parents[1] / "docs/objects.schema.json").read_text())
OPTIONS = {"neighbours": 1, "min_gaussians": 1, "grow": 1.0, "threshold": 0.95}


class _Page(http.server.BaseHTTPRequestHandler):
    """Stands where viser's pages are."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the page " + self.path.encode())

    def log_message(self, *_):
        pass


class _Served:
    def __init__(self, model):
        self.model, self.worker = model, Worker()
        self._answers = HttpAnswers(model, self.worker, OPTIONS)
        self._pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
        threading.Thread(target=self._pages.serve_forever, daemon=True).start()
        self.front = Front("127.0.0.1", 0, self._pages.server_address[1], self._answers.port)

    def get(self, path, body=None, **headers):
        """Status, content type and content."""
        url = f"http://127.0.0.1:{self.front.port}{path}"
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()

    def json(self, path, body=None):
        status, kind, content = self.get(path, body)
        assert (status, kind) == (200, "application/json"), content
        return json.loads(content)

    def refused(self, path, body=None, **headers):
        """Status and message of a refusal."""
        status, kind, content = self.get(path, body, **headers)
        assert kind == "application/json" and status >= 400
        return status, json.loads(content)["error"]

    def stop(self):
        self.front.stop()
        self._answers.stop()
        self._pages.shutdown()
        self._pages.server_close()
        self.worker.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("http")
    running = _Served(open_with_words(write_lifted(folder / "model", write_scene(folder / "scene"))))
    yield running
    running.stop()


@pytest.mark.parametrize("ball", [0, 1, 3])
def test_a_phrase_gives_the_json_of_locate_and_the_indices_it_names(served, ball):
    found = served.json("/api/ask?" + urlencode({"text": BALLS[ball]}))
    jsonschema.validate(found, SCHEMA)
    (one,) = found["objects"]
    np.testing.assert_allclose(one["center"], CENTERS[ball], atol=1e-5)
    assert one["phrase"] == BALLS[ball] and one["level"] == "s" and len(one["views"]) == 3
    status, _, content = served.get("/api/" + one["indices"])
    assert status == 200 and np.load(io.BytesIO(content), allow_pickle=False).tolist() == [ball]


def test_a_body_asks_the_same_as_a_url(served):
    by_url = served.json("/api/ask?" + urlencode({"text": BALLS[:2], "level": "s", "threshold": 0.96, "views": 0}, doseq=True))
    by_body = served.json("/api/ask", {"text": list(BALLS[:2]), "level": "s", "threshold": 0.96, "views": 0})
    assert by_url == by_body and by_url["phrases"] == list(BALLS[:2]) and by_url["settings"]["threshold"] == 0.96
    assert [one["views"] for one in by_url["objects"]] == [[], []]


def test_what_is_not_here_is_an_answer(served):
    found = served.json("/api/ask?text=object&negatives=things")
    jsonschema.validate(found, SCHEMA)
    assert found["objects"] == [] and found["phrases"] == ["object"]


def test_a_mask_is_that_of_the_library_for_a_photograph_and_for_its_pose(served):
    camera = next(iter(served.model.cameras.values()))
    status, kind, png = served.get("/api/mask?" + urlencode({"text": BALLS[0], "camera": camera.name.split("/")[-1]}))
    assert (status, kind) == (200, "image/png")
    mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = served.model.ask(BALLS[0], **OPTIONS).mask(camera)
    assert mask.shape == (HEIGHT, WIDTH) and 100 < expected.sum() < 3000
    np.testing.assert_array_equal(mask, expected * 255)
    pose = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    pose["world_to_camera"] = camera.world_to_camera.tolist()
    assert served.get("/api/mask", {"text": BALLS[0], "camera": pose})[2] == png


def test_a_pixel_says_what_is_there(served):
    camera = served.model.camera("frame_00004")
    x, y, z = camera.world_to_camera[:3, :3] @ CENTERS[1] + camera.world_to_camera[:3, 3]
    pixel = {"x": camera.fx * x / z + camera.cx, "y": camera.fy * y / z + camera.cy}
    found = served.json("/api/at", {"camera": camera.name, "text": list(BALLS), **pixel})
    np.testing.assert_allclose(found["position"], CENTERS[1], atol=0.05)  # a pixel covers 0.03
    assert found["names"][0]["phrase"] == BALLS[1] and found["names"][0]["score"] > 0.9
    assert served.json("/api/at?" + urlencode({"camera": camera.name, "x": WIDTH // 2, "y": HEIGHT // 2}))["position"] is None


def test_the_root_says_what_can_be_asked(served):
    about = served.json("/api")
    assert about["levels"] == ["s", "m", "l"] and about["gaussians"] == 4 and about["options"] == OPTIONS
    assert {"name": "views/frame_00001", "width": WIDTH, "height": HEIGHT} in about["cameras"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/ask", None, "text: expected one phrase"),
        ("/api/ask?text=", None, "empty phrase"),
        ("/api/ask?text=a&level=x", None, "no level 'x'"),
        ("/api/ask?text=a&threshold=2", None, "between 0 and 1"),
        ("/api/ask?text=a&threshold=nan", None, "threshold: expected a number"),
        ("/api/ask?text=a&neighbours=1.5", None, "neighbours: expected a whole number"),
        ("/api/ask?text=a&neighbours=100000", None, "--neighbours 100000: expected 100 or fewer"),
        ("/api/ask?text=a&rule=best", None, "rule: expected fixed"),
        ("/api/ask?text=a&colour=red", None, "unknown: colour"),
        ("/api/ask?text=a&views=99", None, "views: expected 0 to"),
        ("/api/ask?text", None, "query of the URL"),
        ("/api/ask", b"{", "not JSON"),
        ("/api/ask", b"[" * 5000, "not JSON"),
        ("/api/ask", b"\xff", "not JSON"),
        ("/api/ask", b"[1]", "no JSON object"),
        ("/api/ask", {"text": 7}, "text: expected a phrase"),
        ("/api/ask", {"text": ["a"] * (MOST_PHRASES + 1)}, f"at most {MOST_PHRASES} phrases"),
        ("/api/ask", {"text": "a" * 201}, "at most 200 characters"),
        ("/api/ask", {"text": "a", "threshold": True}, "threshold: expected a number"),
        ("/api/ask", {"text": "\ud800"}, "expected UTF-8"),
        ("/api/mask?text=a", None, "camera: expected"),
        ("/api/mask?text=a&camera=frame_99", None, "no image for camera 'frame_99'"),
        ("/api/mask", {"text": "a", "camera": {"fx": 1}}, "camera: expected cx, cy, fx"),
        ("/api/at?camera=frame_00004&x=1000&y=3", None, "outside the view"),
        ("/api/at?camera=frame_00004", None, "x and y: expected"),
        ("/api/indices?text=object&instance=3", None, "has 0 instances"),
        ("/api/indices?text=red+ball&instance=2", None, "has 1 instance here"),
        ("/api/indices?text=object&text=things", None, "expected one phrase, found 2"),
    ],
)
def test_a_request_without_a_meaning_is_refused_with_what_was_expected(served, path, body, message):
    status, error = served.refused(path, body)
    assert status == 400 and message in error


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0}, {"width": 10**6}, {"fx": 0}, {"fx": 1e300}, {"height": 1.5}, {"world_to_camera": [[1]]},
        {"world_to_camera": np.diag([2.0, 2, 2, 1]).tolist()}, {"world_to_camera": np.diag([-1.0, 1, 1, 1]).tolist()},
        {"world_to_camera": "x"}, {"cx": "x"},
    ],
)  # fmt: skip
def test_a_pose_that_is_none_is_refused(served, change):
    pose = {"fx": 150, "fy": 150, "cx": 80, "cy": 60, "width": 160, "height": 120, "world_to_camera": np.eye(4).tolist()}
    status, error = served.refused("/api/mask", {"text": BALLS[0], "camera": pose | change})
    assert status == 400 and ("camera: " in error or next(iter(change)) in error)


def test_pages_and_answers_share_the_port(served):
    assert served.get("/")[2] == b"the page /"
    assert served.get("/apiary?x=1")[2] == b"the page /apiary?x=1"
    assert served.refused("/api/nothing")[0] == 404


def test_other_methods_large_heads_and_large_bodies_are_refused(served):
    url = f"http://127.0.0.1:{served.front.port}"
    for method, path in (("DELETE", "/api/ask"), ("POST", "/"), ("HEAD", "/")):
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(urllib.request.Request(url + path, method=method), timeout=20)
    assert served.get("/api/ask", b"x" * (LARGEST_BODY + 1))[0] == 413
    for _ in range(5):  # the answer arrives although the body is not used
        assert served.get("/api/ask", b"x" * 4_000_000)[0] == 413
        assert served.get("/", b"x" * 4_000_000)[0] == 405
    assert served.get("/api/ask", b"2\r\n{}\r\n0\r\n\r\n", **{"Transfer-Encoding": "chunked"})[0] == 411
    assert served.get("/api/ask", Large="x" * (LARGEST_HEAD + 1))[0] == 431


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),  # a name that its owner lets point here
        ({"Host": "localhost:1234", "Origin": "http://localhost:1234"}, 200),  # through a tunnel
    ],
)
def test_web_pages_of_others_can_neither_ask_nor_connect(served, headers, status):
    for path in ("/", "/api"):
        assert served.get(path, **headers)[0] == status


def test_a_flood_is_told_to_come_again_and_visitors_still_get_their_turn(served):
    started, release = threading.Event(), threading.Event()
    served.worker.submit("visitor", "frame", lambda stale: (started.set(), release.wait()))
    started.wait()
    waiting = [threading.Thread(target=served.get, args=("/api",)) for _ in range(MOST_WAITING)]
    for thread in waiting:
        thread.start()
    while served.worker.waiting("http") < MOST_WAITING:
        pass
    try:
        status, error = served.refused("/api")
        assert status == 503 and "later" in error
        turn = served.worker.submit("visitor", "frame", lambda stale: served.worker.waiting("http"))
    finally:
        release.set()
    assert turn.result(20) >= MOST_WAITING - 2
    for thread in waiting:
        thread.join()


def test_a_port_in_use_is_one_clear_error(served):
    with pytest.raises(InputError, match="Give another --port"):
        Front("127.0.0.1", served.front.port, 1, 2)
