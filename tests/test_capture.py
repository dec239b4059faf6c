"""What users bring to convert.py: folders in any state."""

import numpy as np
import pytest
from colmap_scene import write_photograph
from PIL import Image

from conversion.capture import Photograph, camera_groups, find_capture, inspect, make_upright
from workspace import InputError


def test_folder_with_other_files(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("b.JPG", "a.jpeg", "sub/c.png", ".hidden.jpg"):
        write_photograph(tmp_path / name, format="PNG" if name.endswith("png") else "JPEG")
    (tmp_path / "notes.txt").write_text("x")
    assert find_capture(tmp_path) == (tmp_path, ["a.jpeg", "b.JPG", "sub/c.png"])
    assert "1 .txt" in caplog.text


def test_inner_images_folder_is_meant(tmp_path):
    for i in range(3):
        write_photograph(tmp_path / "images" / f"{i}.png")
        write_photograph(tmp_path / "images_2" / f"{i}.png")
    assert find_capture(tmp_path) == (tmp_path / "images", ["0.png", "1.png", "2.png"])


def test_empty_and_nearly_empty_folders(tmp_path):
    with pytest.raises(InputError, match="0 photographs"):
        find_capture(tmp_path)
    (tmp_path / "IMG_1.HEIC").write_bytes(b"x")
    with pytest.raises(InputError, match=r"Passed over: 1 \.heic\. HEIC photographs can be converted"):
        find_capture(tmp_path)


def test_unreadable_photographs_are_all_listed(tmp_path):
    for i in range(4):
        write_photograph(tmp_path / f"{i}.jpg", (200, 200))
    for i in (1, 3):
        data = (tmp_path / f"{i}.jpg").read_bytes()
        (tmp_path / f"{i}.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"2 of 4(.|\n)*1\.jpg(.|\n)*3\.jpg"):
        find_capture(tmp_path)


def test_upright_copies_keep_pixels_names_and_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Phone"
    exif.get_ifd(0x8769)[0x920A] = 4.25
    turned = write_photograph(tmp_path / "in" / "a.png", (8, 4), exif=exif)
    plain = write_photograph(tmp_path / "in" / "b.png", (8, 4))
    Image.fromarray(np.full((4, 8, 4), (200, 100, 50, 0), np.uint8)).save(tmp_path / "in" / "c.webp", lossless=True)
    photographs = inspect(tmp_path / "in", ["a.png", "b.png", "c.webp"])
    assert [p.size for p in photographs] == [(4, 8), (8, 4), (8, 4)]
    assert make_upright(tmp_path / "in", photographs, tmp_path / "out") == ["a.png", "b.png", "c.png"]
    with Image.open(tmp_path / "out" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.rot90(turned, -1))
        assert image.getexif().get(0x0112, 1) == 1 and image.getexif()[0x0110] == "Phone"
        assert float(image.getexif().get_ifd(0x8769)[0x920A]) == 4.25  # the focal length mapping starts from
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "b.png")), plain)
    assert Image.open(tmp_path / "out" / "c.png").mode == "RGB"


def photograph(name: str, size=(4, 3), lens=("", "", "", "")) -> Photograph:
    return Photograph(name, size, lens, True)


def test_photographs_of_one_lens_share_a_camera():
    wide, tele = ("Maker", "Phone", "4.2", "26"), ("Maker", "Phone", "9.0", "77")
    photographs = [
        photograph("a", lens=wide),
        photograph("b", lens=tele),
        photograph("c", lens=wide),
        photograph("d", (3, 4), wide),
    ]
    assert camera_groups(photographs, "auto") == [[0, 2], [1], [3]]
    assert camera_groups(photographs, "per_image") == [[0], [1], [2], [3]]
    with pytest.raises(InputError, match="3x4, 4x3 cannot share one camera"):
        camera_groups(photographs, "single")
    folders = [photograph("left/a"), photograph("right/a"), photograph("left/b")]
    assert camera_groups(folders, "per_folder") == [[0, 2], [1]] and camera_groups(folders, "single") == [[0, 1, 2]]
