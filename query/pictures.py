"""Pictures of answers: relevancy over the photograph, mask outlines, points, painted classes."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from query.answer_rule import Answer

OUTLINE = (255, 255, 255)
UNPAINTED = (40, 40, 40)
GOLDEN_ANGLE = 0.381966  # fraction of a turn: successive hues are well separated


def stretched(relevancy: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A map rescaled from its range to 0..255; 0 for a constant map."""
    low, high = float(relevancy.min()), float(relevancy.max())
    return np.rint((relevancy - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)


def turbo() -> UInt8[np.ndarray, "256 3"]:
    """RGB colour map for relevancy of 0 to 255: Turbo without its darkest reds, in which the peak would be invisible."""
    shades = np.rint(np.linspace(0, 232, 256)).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(shades[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1])


def relevancy_picture(photo: UInt8[np.ndarray, "h w 3"], relevancy: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph blended with the colours of the relevancy, more opaque where it is higher."""
    values = stretched(relevancy)
    opacity = 0.7 * (values[..., None] / 255) ** 2
    return np.rint(photo * (1 - opacity) + turbo()[values] * opacity).astype(np.uint8)


def overlay(photo: UInt8[np.ndarray, "h w 3"], answer: Answer) -> UInt8[np.ndarray, "h w 3"]:
    """One answer: the relevancy over the photograph, the mask outlined, the point marked."""
    picture = relevancy_picture(photo, answer.relevancy.cpu().numpy())
    thickness = max(1, round(min(photo.shape[:2]) / 240))
    contours, _ = cv2.findContours(answer.mask.cpu().numpy().astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, OUTLINE, thickness)
    for color, width in (((0, 0, 0), thickness + 2), (OUTLINE, thickness)):
        cv2.drawMarker(picture, answer.point, color, cv2.MARKER_CROSS, 14 * thickness, width, cv2.LINE_AA)
    return picture


def mask_picture(mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A mask as 0 and 255."""
    return mask.astype(np.uint8) * 255


def class_colors(count: int) -> UInt8[np.ndarray, "k 3"]:
    """Distinct RGB colours, the same for the same position in a list."""
    shades = [colorsys.hls_to_rgb(i * GOLDEN_ANGLE % 1, 0.68 if i % 2 else 0.53, 0.75) for i in range(count)]
    return np.rint(255 * np.array(shades)).astype(np.uint8).reshape(count, 3)


def painting(classes: Int[np.ndarray, "h w"], count: int) -> UInt8[np.ndarray, "h w 3"]:
    """Every pixel in the colour of its class; grey where there is none (-1)."""
    return np.concatenate([class_colors(count), np.array([UNPAINTED], np.uint8)])[classes]


def blend(photo: UInt8[np.ndarray, "h w 3"], colors: UInt8[np.ndarray, "h w 3"], opacity: float) -> UInt8[np.ndarray, "h w 3"]:
    """`colors` over the photograph."""
    return cv2.addWeighted(photo, 1 - opacity, colors, opacity, 0)


def encoded(picture: UInt8[np.ndarray, "h w *c"], suffix: str, params: Sequence[int] = ()) -> bytes:
    """The picture (RGB or grey) encoded in the file format of `suffix`."""
    pixels = picture[..., ::-1] if picture.ndim == 3 else picture
    done, buffer = cv2.imencode(suffix, np.ascontiguousarray(pixels), list(params))
    assert done, suffix
    return buffer.tobytes()
