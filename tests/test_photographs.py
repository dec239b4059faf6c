"""Reading photographs: orientation, transparency, resampling, the bounded cache."""

import numpy as np
import pytest
from colmap_scene import write_photograph
from PIL import Image

from scene.camera import Camera
from scene.photographs import PhotographCache, check_photographs, load_image
from workspace import InputError


def camera_of(path, width, height):
    return Camera(path.stem, np.eye(4), 50.0, 50.0, width / 2, height / 2, width, height, path)


def test_shrinking_averages_areas(tmp_path):
    pixels = write_photograph(tmp_path / "a.png", (60, 40))
    expected = pixels.reshape(10, 4, 20, 3, 3).mean(axis=(1, 3))
    # 1 level: Pillow rounds after each of the two passes
    assert np.abs(load_image(camera_of(tmp_path / "a.png", 20, 10)) - expected).max() <= 1


def test_transparency_is_blended_over_the_background(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0] = 255  # red, also where it cannot be seen
    pixels[:, :2, 3], pixels[0, 2, 3] = 255, 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    camera = camera_of(tmp_path / "a.png", 4, 4)
    white = load_image(camera, (1.0, 1.0, 1.0))
    assert white[0, 0].tolist() == [255, 0, 0] and white[0, 3].tolist() == [255, 255, 255]
    assert white[0, 2] == pytest.approx([255, 127, 127], abs=1)  # 128/255 is not a half
    assert load_image(camera)[0, 3].tolist() == [0, 0, 0]
    # a pixel that averages visible red with invisible red is half red over white, not more
    assert load_image(camera.resized(1, 4), (1.0, 1.0, 1.0))[1, 0] == pytest.approx([255, 128, 128], abs=1)


def test_exif_orientation_follows_the_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = write_photograph(tmp_path / "a.png", (8, 4), exif=exif)
    upright = np.rot90(pixels, -1)
    np.testing.assert_array_equal(load_image(camera_of(tmp_path / "a.png", 4, 8)), upright)
    # COLMAP ignores the tag, so a camera of the stored shape sees the stored pixels
    np.testing.assert_array_equal(load_image(camera_of(tmp_path / "a.png", 8, 4)), pixels)
    (size,) = check_photographs([tmp_path / "a.png"])
    assert size.seen_by((4, 8)) == (4, 8) and size.seen_by((8, 4)) == (8, 4) and size.seen_by((5, 5)) is None


@pytest.mark.parametrize(
    ("mode", "value", "expected"), [("L", 100, 100), ("I;16", 100 * 257, 100), ("P", 100, 100), ("1", 255, 255)]
)
def test_other_pixel_formats_become_rgb(tmp_path, mode, value, expected):
    Image.fromarray(np.full((2, 3), value, np.uint16 if mode == "I;16" else np.uint8)).convert(mode).save(tmp_path / "a.png")
    assert (load_image(camera_of(tmp_path / "a.png", 3, 2)) == expected).all()


def test_truncated_jpeg_is_found_before_work_starts(tmp_path):
    write_photograph(tmp_path / "good.jpg", (200, 200), quality=95)
    write_photograph(tmp_path / "bad.jpg", (200, 200), quality=95)
    data = (tmp_path / "bad.jpg").read_bytes()
    (tmp_path / "bad.jpg").write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(InputError, match=r"1 of 2(.|\n)*bad\.jpg"):
        check_photographs([tmp_path / "good.jpg", tmp_path / "bad.jpg"])
    with pytest.raises(InputError, match=r"bad\.jpg"):
        load_image(camera_of(tmp_path / "bad.jpg", 200, 200))


def test_cache_is_bounded_and_keeps_what_was_used_last(tmp_path):
    cameras = [camera_of(tmp_path / f"{i}.png", 512, 512) for i in range(3)]
    for camera in cameras:
        write_photograph(camera.image_path, (512, 512))
    cache = PhotographCache(megabytes=1.6)  # two pictures of 0.75 MB
    first, second = cache.load(cameras[0]), cache.load(cameras[1])
    assert cache.load(cameras[0]) is first
    cache.load(cameras[2])
    for camera in cameras[:2]:
        camera.image_path.unlink()
    assert cache.load(cameras[0]) is first
    with pytest.raises(InputError):
        cache.load(cameras[1])
    with pytest.raises(ValueError, match="read-only"):
        second[0] = 0


def test_a_file_that_is_no_image_is_called_that(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(InputError, match=r"a\.jpg: it is no JPEG, PNG, BMP, TIFF or WebP image\n"):
        check_photographs([tmp_path / "a.jpg"])
