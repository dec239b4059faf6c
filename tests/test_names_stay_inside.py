"""Names in camera files that lead out of the scene folder: refused before anything outside is read as ours or touched."""

import hashlib
import json

import pytest
from colmap_scene import write_photograph
from test_transforms import POSES

from scene.dataset import load_scene
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, image_key


@pytest.fixture
def outside(tmp_path):
    """A folder of photographs beside the scene, nine as the poses; and the hash of everything in it."""
    folder = tmp_path / "holiday"
    for i in range(len(POSES)):
        write_photograph(folder / f"{i}.png", (16, 12))
    return folder


def _digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*"))}


def _nerfstudio(scene, names):
    frames = [{"file_path": name, "transform_matrix": pose} for name, pose in zip(names, POSES, strict=True)]
    table = {"fl_x": 20.0, "cx": 8, "cy": 6, "w": 16, "h": 12, "frames": frames}
    (scene / "transforms.json").write_text(json.dumps(table))


def _blender(scene, names):
    frames = [{"file_path": name, "transform_matrix": pose} for name, pose in zip(names, POSES, strict=True)]
    (scene / "transforms_train.json").write_text(json.dumps({"camera_angle_x": 1.5, "frames": frames}))


def _colmap(scene, names):
    sparse = scene / "sparse" / "0"
    sparse.mkdir(parents=True)
    (sparse / "cameras.txt").write_text("1 PINHOLE 16 12 20 20 8 6\n")
    (sparse / "images.txt").write_text("".join(f"{i + 1} 1 0 0 0 {i} 0 0 1 {name}\n\n" for i, name in enumerate(names)))
    (sparse / "points3D.txt").write_text("1 0 0 1 9 9 9 0.1\n2 0 1 1 9 9 9 0.1\n")


@pytest.mark.parametrize("write", [_nerfstudio, _blender, _colmap])
@pytest.mark.parametrize("kind", ["absolute", "parent"])
def test_photographs_outside_the_scene_are_refused_and_not_touched(tmp_path, outside, write, kind):
    scene = tmp_path / "scene"
    (scene / "images").mkdir(parents=True)
    up = "../../holiday" if write is _colmap else "../holiday"
    names = [f"{outside if kind == 'absolute' else up}/{i}.png" for i in range(len(POSES))]
    write(scene, names)
    before = _digest(outside)
    with pytest.raises(InputError, match="absolute path" if kind == "absolute" else r"contains '\.\.'"):
        load_scene(scene)
    with pytest.raises(InputError, match="Image name"):
        train_rgb(RgbTrainConfig(source_path=scene, model_path=tmp_path / "model", iterations=1, device="cpu"))
    assert _digest(outside) == before


@pytest.mark.parametrize("name", ["/a/b.jpg", "../b.jpg", "a/../../b.jpg", "C:\\b.jpg", "a\\..\\..\\b.jpg", "", "a\nb.jpg"])
def test_no_key_leads_out_of_its_folder(name):
    with pytest.raises(InputError, match="Image name"):
        image_key(name)


def test_linked_photographs_are_followed(tmp_path, outside):
    scene = tmp_path / "scene"
    scene.mkdir()
    (scene / "images").symlink_to(outside)
    _nerfstudio(scene, [f"images/{i}.png" for i in range(len(POSES))])
    assert [camera.name for camera in load_scene(scene).train] == [str(i) for i in range(len(POSES))]
