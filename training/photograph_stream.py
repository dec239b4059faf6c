"""Training photographs in random order, the next one read from disk while the current one is used."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from scene.camera import Camera
from scene.photographs import PhotographCache


class PhotographStream:
    """Endless shuffled epochs over cameras. The order depends on `generator` alone and can be saved and restored."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        photographs: PhotographCache,
        generator: torch.Generator,
        queue: Sequence[int] = (),
    ):
        """`queue` holds the camera indices to visit first, as saved from `self.queue`."""
        self._cameras = cameras
        self._photographs = photographs
        self._generator = generator
        self._reader = ThreadPoolExecutor(max_workers=1)
        self.queue = list(queue)

    def next(self, divisor: int, device: torch.device) -> tuple[Camera, Float[Tensor, "3 h w"]]:
        """The next camera and its photograph, 0..1, both shrunk by `divisor`."""
        while len(self.queue) < 2:
            self.queue += torch.randperm(len(self._cameras), generator=self._generator).tolist()
        camera = shrunk(self._cameras[self.queue.pop(0)], divisor)
        photograph = self._reader.submit(self._photographs.load, camera).result()
        self._reader.submit(self._photographs.load, shrunk(self._cameras[self.queue[0]], divisor))
        return camera, picture(photograph, device)

    def close(self) -> None:
        """Stop reading ahead."""
        self._reader.shutdown(cancel_futures=True)


def shrunk(camera: Camera, divisor: int) -> Camera:
    """The camera with width and height divided by `divisor`, 1 pixel or more."""
    if divisor == 1:
        return camera
    return camera.resized(max(1, camera.width // divisor), max(1, camera.height // divisor))


def picture(photograph: UInt8[np.ndarray, "h w 3"], device: torch.device) -> Float[Tensor, "3 h w"]:
    """8-bit pixels as a float image, 0..1."""
    return torch.tensor(photograph, device=device).permute(2, 0, 1).contiguous().float().div_(255)
