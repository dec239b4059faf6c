"""The size in pixels at which a photograph is used: the same rule for features, training and evaluation."""

from workspace import InputError

SMALLEST_WIDTH = 16  # pixels; narrower photographs have too little detail to learn from
TALLEST = 1080  # pixels; LangSplat's


def picture_size(width: int, height: int, resolution: int = -1) -> tuple[int, int]:
    """Size (width, height) at which a photograph of the given size is used.

    Deviates from 3DGS, which enlarges photographs narrower than the requested width; none is enlarged here.

    Args:
        width: of the photograph, in pixels.
        height: of the photograph, in pixels.
        resolution: -1 limits the height to 1080, as LangSplat does; 1, 2, 4 and 8 divide both sides; any other value is the
            maximum width, so 1600 is the rule of 3DGS.

    Raises:
        InputError: `resolution` is none of these.
    """
    if resolution == -1:
        scale = max(1.0, height / TALLEST)
        return max(1, int(width / scale)), int(height / scale)
    if resolution in (1, 2, 4, 8):
        return max(1, round(width / resolution)), max(1, round(height / resolution))
    if resolution < SMALLEST_WIDTH:
        raise InputError(
            f"Resolution {resolution} is neither -1, a divisor (1, 2, 4, 8) nor a width of {SMALLEST_WIDTH} pixels or more."
        )
    resolution = min(resolution, width)
    return resolution, max(1, height * resolution // width)
