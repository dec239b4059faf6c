"""Frames of a video, chosen by sharpness."""

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from workspace import InputError, atomic

log = logging.getLogger(__name__)

JPEG_QUALITY = 98  # frames are encoded twice: here and after undistortion
_MEASURED_WIDTH = 640  # pixels; at full size sensor noise counts as sharpness, and small frames are faster to measure


def sharpness(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Variance of the Laplacian of the grey image, about 640 pixels wide. Comparable between frames of one video only."""
    scale = min(1.0, _MEASURED_WIDTH / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var())


def extract_frames(video: Path, folder: Path, count: int) -> list[str]:
    """Write the sharpest frame of each of `count` equal intervals of `video` as `frame_<index>.jpg`; return the names.

    A video with fewer frames gives all of them. The rotation in the video's metadata is applied.

    Raises:
        InputError: the file is not a video, or holds fewer than 3 readable frames.
    """
    total = sum(1 for _ in _frames(video, decode=False))
    if total < 3:
        raise InputError(
            f"{video} is not a video that can be read ({total} frames). Expected a video file or a folder of photographs."
        )
    windows = np.minimum(np.arange(total) * count // total, count - 1) if total > count else np.arange(total)
    folder.mkdir(parents=True, exist_ok=True)
    best: dict[int, tuple[float, int, np.ndarray]] = {}
    names = []

    def write(window: int) -> None:
        _, index, image = best.pop(window)
        names.append(f"frame_{index:06d}.jpg")
        with atomic(folder / names[-1]) as temporary:
            if not cv2.imwrite(str(temporary), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
                raise OSError(f"{folder / names[-1]} cannot be written")

    with tqdm(total=total, desc="frames", unit="frame") as bar:
        for index, image in enumerate(_frames(video, decode=True)):
            window, score = int(windows[min(index, total - 1)]), sharpness(image)
            if window not in best:
                for finished in list(best):
                    write(finished)
                best[window] = (score, index, image)
            elif score > best[window][0]:
                best[window] = (score, index, image)
            bar.update()
            bar.set_postfix(chosen=len(names) + 1)
    for finished in list(best):
        write(finished)
    return names


def _frames(video: Path, decode: bool) -> Iterator[np.ndarray | None]:
    """Frames in order as BGR, or None per frame to count them only: the counts in container headers are often wrong."""
    capture = cv2.VideoCapture(str(video))
    try:
        while capture.isOpened() and capture.grab():
            image = capture.retrieve()[1] if decode else None
            if image is not None or not decode:  # a damaged frame is passed over
                yield image
    finally:
        capture.release()
