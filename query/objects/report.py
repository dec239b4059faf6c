"""The report of located objects: one self-contained page with every instance in the photograph that shows it best."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from gaussian_renderer import render
from gaussian_renderer.render_photographs import picture_bytes
from gaussian_renderer.trained_model import TrainedModel
from query.objects.coordinates import Frame
from query.objects.description import LocatedObject
from query.objects.finding import FoundPhrase, members_mask
from query.objects.pictures import instance_picture
from query.pictures import encoded
from query.report import PAGE
from query.tables import counted
from scene.camera import Camera
from scene.photographs import load_image
from workspace import atomic

SIDE = 720  # pixels of the longer side of a picture
PICTURED = 60  # instances with a picture, about 100 KB each; the others are listed


def write_report(
    path: Path,
    found: Sequence[FoundPhrase],
    located: Sequence[LocatedObject],
    trained: TrainedModel,
    cameras: Sequence[Camera],
    frame: Frame,
) -> None:
    """Write the page.

    Args:
        path: of the page.
        found: instances by phrase, nothing found included.
        located: their descriptions, in the same order.
        trained: the Gaussians.
        cameras: of the scene, with or without photographs.
        frame: of the descriptions.
    """
    by_name = {camera.name: camera for camera in cameras}
    sections, pictured = [], 0
    for answer in found:
        cards = []
        for one in (one for one in located if one.phrase == answer.phrase):
            picture = None
            if one.views and pictured < PICTURED:
                members = members_mask([answer.instances[one.instance - 1]], len(trained.gaussians))
                camera = by_name[one.views[0].image]
                drawn = instance_picture(
                    _photograph(camera, trained), camera, trained.gaussians, members, one.oriented_box, frame
                )
                picture, pictured = _jpeg(drawn), pictured + 1
            cards.append(_card(one, picture, frame))
        nothing = f'<p class="none">Not here: the highest relevancy of any Gaussian is {answer.best:.3f}.</p>'
        body = f'<div class="found">{"".join(cards)}</div>' if cards else nothing
        sections.append(f"<section><h2>{escape(answer.phrase)}</h2>{body}</section>")
    count = f"{counted(len(located), 'instance')} of {counted(len(found), 'phrase')}"
    lede = f"Axes: {escape(frame.name)}. Units: {escape(frame.units)}. White: what is visible of the instance. Yellow: its box."
    parts = {"<!--TITLE-->": count, "<!--LEDE-->": lede, "<!--SECTIONS-->": "\n".join(sections)}
    with atomic(path) as temporary:
        temporary.write_text(_page(parts), encoding="utf-8")


def _page(parts: Mapping[str, str]) -> str:
    page = (PAGE / "objects.html").read_text(encoding="utf-8")
    page = page.replace("/*STYLE*/", (PAGE / "page.css").read_text(encoding="utf-8"))
    for mark, text in parts.items():  # phrases come last: they may contain a mark
        page = page.replace(mark, text)
    return page


def _photograph(camera: Camera, trained: TrainedModel) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph at the size of the report, or the rendered view where there is none."""
    scale = min(1.0, SIDE / max(camera.width, camera.height))
    size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    if camera.image_path is None:
        return picture_bytes(render(camera.resized(*size), trained.gaussians, trained.background).image)
    return cv2.resize(load_image(camera), size, interpolation=cv2.INTER_AREA)


def _card(one: LocatedObject, picture: str | None, frame: Frame) -> str:
    unit = " m" if frame.scale is not None else ""
    size = np.subtract(one.box.max, one.box.min)
    view = one.views[0] if one.views else None
    facts = {
        "centre": _triple(one.center) + unit,
        "size": _triple(size.tolist()) + unit,
        "score": f"{one.score:.3f} at level {one.level}",
        "Gaussians": f"{one.gaussians:,}",
        "best view": f"{view.image}, pixels {' '.join(map(str, view.box))}" if view else "none shows it",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    image = "" if picture is None else f'<img src="{picture}" alt="{escape(f"{one.phrase}, instance {one.instance}")}">'
    return f"<figure>{image}<figcaption><b>Instance {one.instance}</b><dl>{rows}</dl></figcaption></figure>"


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encoded(picture, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, 85))).decode()
