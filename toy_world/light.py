"""Light of the toy world: lightmaps of the large horizontal surfaces, and tone mapping for display."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from toy_world.shapes import Points


@dataclass(frozen=True)
class Lightmap:
    """Direct light and ambient openness on a horizontal rectangle, sampled once and shared by all views."""

    half: tuple[float, float]
    height: float
    values: Float[np.ndarray, "y x 2"]

    def look_up(self, points: Points) -> Float[np.ndarray, "k 2"]:
        """Bilinear direct light and openness at points on the rectangle."""
        rows, columns = self.values.shape[:2]
        x = np.clip((points[:, 0] / self.half[0] * 0.5 + 0.5) * columns - 0.5, 0, columns - 1.001)
        y = np.clip((points[:, 1] / self.half[1] * 0.5 + 0.5) * rows - 0.5, 0, rows - 1.001)
        i, j = y.astype(np.int32), x.astype(np.int32)
        fy, fx = (y - i)[:, None], (x - j)[:, None]
        flat = self.values.reshape(-1, 2)
        index = i * columns + j
        upper = flat[index] * (1 - fx) + flat[index + 1] * fx
        lower = flat[index + columns] * (1 - fx) + flat[index + columns + 1] * fx
        return (upper * (1 - fy) + lower * fy).astype(np.float32)


def display(linear: Points) -> Points:
    """Linear light to displayed sRGB, 0 to 1, with a soft shoulder so that highlights do not clip hard."""
    x = np.maximum(linear, 0)
    x = np.where(x < 0.6, x, 0.6 + 0.4 * np.tanh((x - 0.6) / 0.4))
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-8) ** (1 / 2.4) - 0.055).astype(np.float32)
