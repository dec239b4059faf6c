"""Sizes of pictures: LangSplat's by default, 3DGS's by option, the same for features and training."""

import numpy as np
import pytest
from PIL import Image
from test_transforms import write_blender

from features.photographs import read_photograph, scene_photographs
from scene.dataset import load_scene
from scene.picture_size import picture_size
from workspace import InputError, SceneFolder


def test_the_default_is_langsplats_rule():
    assert picture_size(1440, 1080) == (1440, 1080)
    assert picture_size(3000, 2160) == (1500, 1080)
    assert picture_size(4032, 3024) == (1440, 1080)
    assert picture_size(4000, 1000) == (4000, 1000)


def test_the_rule_of_3dgs_is_a_width():
    assert picture_size(4032, 3024, 1600) == (1600, 1200)
    assert picture_size(1200, 3024, 1600) == (1200, 3024)  # never enlarged
    assert picture_size(1440, 1080, 720) == (720, 540)


def test_divisors():
    assert [picture_size(1441, 1080, d) for d in (1, 2, 4, 8)] == [(1441, 1080), (720, 540), (360, 270), (180, 135)]


@pytest.mark.parametrize("resolution", [0, 3, 15, -2])
def test_other_numbers_are_refused(resolution):
    with pytest.raises(InputError, match="neither -1, a divisor"):
        picture_size(640, 480, resolution)


@pytest.mark.parametrize("resolution", [-1, 2, 20])
def test_features_and_training_use_one_size(tmp_path, resolution):
    write_blender(tmp_path)
    for path in tmp_path.rglob("*.png"):
        Image.fromarray(np.zeros((2000, 2000, 3), np.uint8)).save(path)
    scene = SceneFolder(tmp_path)
    camera = load_scene(tmp_path, resolution=resolution).train[0]
    image, _ = read_photograph(camera.name, *scene_photographs(scene)[camera.name], resolution)
    assert image.shape[1::-1] == (camera.width, camera.height) == {-1: (1080, 1080), 2: (1000, 1000), 20: (20, 20)}[resolution]
