"""The report: one HTML file with everything inside, to look at answers from disk and without a network."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from evaluation.answering import AnsweredView
from query.pictures import class_colors, encoded, painting, stretched, turbo
from workspace import atomic
from workspace.slugs import slug

PAGE = Path(__file__).parent / "report_page"
PHOTO_SIDE = 960  # pixels; about 120 KB as JPEG
RELEVANCY_SIDE = 320  # pixels; relevancy is smooth at the scale of its 30-pixel window
LARGEST = 24 << 20  # bytes of pictures in one report, what a browser still opens at once


class Report:
    """Collects answered views and writes the page."""

    def __init__(self, num_views: int):
        self._num_views = num_views
        self._views: list[dict[str, Any]] = []

    def add(self, view: AnsweredView, photo: UInt8[np.ndarray, "h w 3"]) -> None:
        """Keep one view, its pictures made small."""
        height, width = photo.shape[:2]
        self._views.append(
            {
                "image": view.task.camera.name,
                "split": view.task.split,
                "width": width,
                "height": height,
                "photo": _jpeg(_shrunk(photo, PHOTO_SIDE), 85),
                "classes": None if view.classes is None else _classes_png(view.classes),
                "answers": [_answer(view, row, width, height) for row in view.rows],
            }
        )

    def write(self, path: Path, metrics: Mapping[str, Any], settings: Mapping[str, Any], classes: Sequence[str]) -> None:
        """Write the page; of the views it shows those with the highest scores, as many as asked for and as fit."""
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
        # "</" would end the script element, whatever phrase it stands in.
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, default=str).replace("</", "<\\/")
        page = (PAGE / "page.html").read_text(encoding="utf-8")
        for mark, part in (("STYLE", "page.css"), ("SCRIPT", "page.js")):
            page = page.replace(f"/*{mark}*/", (PAGE / part).read_text(encoding="utf-8"))
        with atomic(path) as temporary:
            temporary.write_text(page.replace('"DATA"', text), encoding="utf-8")


def _answer(view: AnsweredView, row: Any, width: int, height: int) -> dict[str, Any]:
    found = view.answers[row.phrase]
    relevancy = found.relevancy.cpu().numpy()
    truth = view.task.truth
    known = truth is not None and row.phrase in truth.phrases
    return {
        "phrase": row.phrase,
        "level": row.level,
        "score": round(row.score, 4),
        "point": row.point,
        "area": round(row.area, 5),
        "iou": None if row.iou is None else round(row.iou, 4),
        "localized": row.localized,
        "picture": f"{view.task.camera.name}/{slug(row.phrase)}.png",
        "low": float(relevancy.min()),
        "high": float(relevancy.max()),
        "relevancy": _jpeg(_shrunk(stretched(relevancy), RELEVANCY_SIDE), 88),
        "mask": _path(found.mask.cpu().numpy()),
        "truth": _path(truth.mask(row.phrase, width, height)) if known else None,
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
