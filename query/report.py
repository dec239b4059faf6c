"""The report: one self-contained HTML file that opens from disk and needs no network."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from query.answer_rule import Answer
from query.asking import AnsweredView, Row
from query.pictures import class_colors, encoded, painting, stretched, turbo
from workspace import atomic
from workspace.slugs import slug

PAGE = Path(__file__).parent / "report_page"
PHOTO_SIDE = 960  # pixels; about 120 KB as JPEG
RELEVANCY_SIDE = 320  # pixels; relevancy is smooth at the scale of its 30-pixel window
LARGEST = 24 << 20  # bytes of pictures in one report, what a browser can still open


@dataclass(frozen=True)
class Verdict:
    """Comparison of one answer with the ground truth, shown beside it."""

    iou: float
    localized: bool
    truth: Bool[np.ndarray, "h w"]


class Report:
    """Collects answered views and writes the page."""

    def __init__(self, num_views: int):
        self._num_views = num_views
        self._views: list[dict[str, Any]] = []

    def add(self, answered: AnsweredView, photo: UInt8[np.ndarray, "h w 3"], verdicts: Mapping[str, Verdict]) -> None:
        """Add one view, its pictures scaled down; `verdicts` by phrase, where there is ground truth. Thread-safe."""
        height, width = photo.shape[:2]
        self._views.append(
            {
                "image": answered.view.name,
                "split": answered.view.split,
                "width": width,
                "height": height,
                "photo": _jpeg(_shrunk(photo, PHOTO_SIDE), 85),
                "classes": None if answered.classes is None else _classes_png(answered.classes),
                "answers": [_answer(row, answered.answers[row.phrase], verdicts.get(row.phrase)) for row in answered.rows],
            }
        )

    def write(self, path: Path, metrics: Mapping[str, Any], settings: Mapping[str, Any], classes: Sequence[str]) -> None:
        """Write the page with the highest-scoring views, limited by the requested number and the page size."""
        self._views.sort(key=lambda view: view["image"])
        ranked = sorted(self._views, key=lambda view: -max((a["score"] for a in view["answers"]), default=0.0))
        shown, size = [], 0
        for view in ranked[: self._num_views]:
            size += len(json.dumps(view))
            if shown and size > LARGEST:
                break
            shown.append(view)
        shown.sort(key=lambda view: view["image"])
        data = {
            "views": shown,
            "metrics": metrics,
            "omitted": len(self._views) - len(shown),
            "settings": settings,
            "classes": [
                {"name": name, "color": f"rgb({r},{g},{b})"}
                for name, (r, g, b) in zip(classes, class_colors(len(classes)).tolist(), strict=True)
            ],
            "turbo": turbo().tolist(),
        }
        # A phrase with "</script>" would end the script element, and "<!--<script>" would keep it open.
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, default=str).replace("<", "\\u003c")
        page = (PAGE / "page.html").read_text(encoding="utf-8")
        for mark, part in (("STYLE", "page.css"), ("SCRIPT", "page.js")):
            page = page.replace(f"/*{mark}*/", (PAGE / part).read_text(encoding="utf-8"))
        with atomic(path) as temporary:
            temporary.write_text(page.replace('"DATA"', text), encoding="utf-8")


def _answer(row: Row, found: Answer, verdict: Verdict | None) -> dict[str, Any]:
    relevancy = found.relevancy.cpu().numpy()
    return {
        "phrase": row.phrase,
        "level": row.level,
        "score": round(row.score, 4),
        "present": row.present,
        "point": row.point,
        "area": round(row.area, 5),
        "iou": None if verdict is None else round(verdict.iou, 4),
        "localized": None if verdict is None else verdict.localized,
        "picture": f"{row.image}/{slug(row.phrase)}.png",
        "low": float(relevancy.min()),
        "high": float(relevancy.max()),
        "relevancy": _jpeg(_shrunk(stretched(relevancy), RELEVANCY_SIDE), 88),
        "mask": _path(found.mask.cpu().numpy()),
        "truth": None if verdict is None else _path(verdict.truth),
    }


def _path(mask: Bool[np.ndarray, "h w"]) -> str:
    """Outline of a mask as SVG path data in pixels, holes included (fill rule even-odd)."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    parts = ["M" + "L".join(f"{x} {y}" for x, y in contour[:, 0].tolist()) + "Z" for contour in contours]
    return "".join(parts)


def _shrunk(picture: UInt8[np.ndarray, "h w *c"], side: int) -> UInt8[np.ndarray, "h w *c"]:
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    return cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)


def _jpeg(picture: UInt8[np.ndarray, "h w *c"], quality: int) -> str:
    data = encoded(picture, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, quality))
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _classes_png(classes: np.ndarray) -> str:
    height, width = classes.shape
    scale = min(1.0, PHOTO_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(classes.astype(np.int32), size, interpolation=cv2.INTER_NEAREST)
    data = encoded(painting(small, int(classes.max()) + 1), ".png")
    return "data:image/png;base64," + base64.b64encode(data).decode()
