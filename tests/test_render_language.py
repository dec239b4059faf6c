"""The language field drawn: what is on disk, what is kept, and one basis of colours for all pictures."""

import cv2
import numpy as np
import pytest
from small_answers import BALLS, HEIGHT, WIDTH

from query.render_language import LanguageRenderConfig, render_language
from workspace import InputError, load_array, read_json
from workspace.slugs import slug


def draw(model, **settings):
    render_language(LanguageRenderConfig(model.root, device="cpu", **settings))


def test_code_maps_of_every_view_and_level(model):
    draw(model)
    for split, count in (("train", 7), ("test", 2)):
        folder = model.field_renders(split, "codes")
        assert read_json(folder / "stage.json")["complete"]
        for level in ("s", "m", "l"):
            assert len(list((folder / level).rglob("frame_*.npy"))) == count
    codes = load_array(model.field_renders("test", "codes") / "s" / "views/frame_00000.npy")
    assert codes.dtype == np.float16 and codes.shape == (HEIGHT, WIDTH, 6)
    picture = cv2.imread(str(model.field_renders("test", "codes") / "s" / "views/frame_00000.png"))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert not picture[codes.any(-1) == 0].any() and picture[codes.any(-1)].any()


@pytest.mark.parametrize("settings", [{"text": ("red ball", "")}, {"text": ("red ball",), "negatives": (" ",)}])
def test_an_empty_phrase_is_refused(model, settings):
    with pytest.raises(InputError, match="empty phrase"):
        draw(model, **settings)


def test_colors_mean_the_same_in_every_picture(model):
    draw(model)
    first = model.code_colors.read_bytes()

    def color(name, x, y):
        return cv2.imread(str(model.field_renders("train", "codes") / "s" / f"views/{name}.png"))[y, x].astype(int)

    # The red ball of two views, its middle as far as the camera moved in between: 0.15 * 150 / 5 pixels to the left.
    near = [color("frame_00004", 44, 36), color("frame_00005", 39, 36)]
    assert np.abs(near[0] - near[1]).max() < 12 and np.abs(near[0] - color("frame_00004", 116, 36)).max() > 60
    draw(model, overwrite=True)
    assert model.code_colors.read_bytes() == first


def test_relevancy_of_phrases_over_all_views(model):
    draw(model, text=BALLS[:2])
    for ball in BALLS[:2]:
        folder = model.field_renders("train", "relevancy") / slug(ball)
        assert read_json(folder / "stage.json")["config"]["phrase"] == ball
        maps = load_array(folder / "views/frame_00004.npy")
        assert maps.dtype == np.float16 and maps.shape == (3, HEIGHT, WIDTH)
        assert 0 < maps.min() and maps.max() <= 1
        assert cv2.imread(str(folder / "views/frame_00004.png")).shape == (HEIGHT, WIDTH, 3)
    red = load_array(model.field_renders("train", "relevancy") / "red_ball" / "views/frame_00004.npy")
    assert red[0, 36, 44] > 0.95 and red[0, 36, 116] < 0.5


def test_what_is_there_is_kept_and_what_is_missing_is_drawn(model):
    draw(model, text=("red ball",), names=("frame_00004",))
    folder = model.field_renders("train", "relevancy") / "red_ball"
    assert not read_json(folder / "stage.json")["complete"]
    kept = folder / "views/frame_00004.npy"
    before = kept.stat().st_mtime_ns
    (model.field_renders("train", "codes") / "m" / "views/frame_00004.npy").unlink()
    draw(model, text=("red ball", "grüner Ball"), skip_test=True)
    assert kept.stat().st_mtime_ns == before
    assert read_json(folder / "stage.json")["complete"]
    assert (model.field_renders("train", "codes") / "m" / "views/frame_00004.npy").exists()
    assert not model.field_renders("test", "codes").exists()


def test_other_settings_and_unknown_names_are_refused(model):
    draw(model, text=("red ball",))
    with pytest.raises(InputError, match="negatives"):
        draw(model, text=("red ball",), negatives=("object",))
    with pytest.raises(InputError, match="'frame_9'"):
        draw(model, names=("frame_9",))
