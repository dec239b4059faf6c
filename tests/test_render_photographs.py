import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from small_scene import HEIGHT, WIDTH, write_small_scene

from gaussian_renderer.render_photographs import RenderConfig, render_photographs
from gaussian_renderer.trained_model import load_trained
from query.objects.editing import recolored
from scene.ply import read_vertices, write_vertices
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import InputError, ModelFolder, read_json


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Model folder of a short training; the scene knows nothing of it."""
    root = tmp_path_factory.mktemp("trained")
    (root / "scene").mkdir()
    write_small_scene(root / "scene")
    train_rgb(
        RgbTrainConfig(
            source_path=root / "scene", model_path=root / "model", eval=True, preset="fast", iterations=100, device="cpu"
        )
    )
    return root / "model"


def _draw(model, **changes):
    render_photographs(RenderConfig(model_path=model, device="cpu", **changes))


def test_pictures_are_named_like_the_photographs_and_look_like_them(trained):
    _draw(trained)
    model = ModelFolder(trained)
    assert sorted(p.name for p in model.renders("test").glob("*.png")) == ["view_00.png", "view_08.png"]
    assert len(list(model.renders("train").glob("*.png"))) == 11
    metrics = read_json(model.rgb_metrics)["views"]["test"]["view_08"]
    drawn = np.asarray(Image.open(model.renders("test") / "view_08.png"), float) / 255
    photograph = np.asarray(Image.open(load_trained(model).scene().folder.images / "view_08.png"), float) / 255
    measured = -10 * np.log10(np.mean((drawn - photograph) ** 2))
    assert measured == pytest.approx(metrics["psnr"], abs=0.05)  # the picture is rounded to 8 bits


def test_a_second_run_keeps_what_is_there_and_draws_what_is_missing(trained):
    _draw(trained)
    folder = ModelFolder(trained).renders("train")
    kept, lost = folder / "view_01.png", folder / "view_02.png"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    _draw(trained)
    assert lost.exists() and kept.stat().st_mtime_ns == before


def test_chosen_names_only_and_a_suggestion_for_a_wrong_one(trained):
    folder = ModelFolder(trained).renders("train")
    shutil.rmtree(folder, ignore_errors=True)
    _draw(trained, names=("view_03",))
    assert [p.name for p in folder.glob("*.png")] == ["view_03.png"]
    assert not read_json(folder / "stage.json")["complete"]
    _draw(trained)
    others = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}
    old = others.pop("view_03.png")
    _draw(trained, names=("view_03",), overwrite=True)
    assert (folder / "view_03.png").stat().st_mtime_ns > old
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png") if p.name != "view_03.png"} == others
    with pytest.raises(InputError, match="(?s)no image for name 'veiw_03'.*such as view_03"):
        _draw(trained, names=("veiw_03",))


def test_video_has_the_frames_asked_for(trained):
    _draw(trained, skip_train=True, skip_test=True, video=True, frames=7)
    video = cv2.VideoCapture(str(ModelFolder(trained).renders("path").with_suffix(".mp4")))
    frames = []
    while (frame := video.read())[0]:
        frames.append(frame[1])
    assert len(frames) == 7
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    assert np.stack(frames).std() > 10  # a picture, not one colour


def test_a_moved_scene_is_named_and_found_again_with_s(trained, tmp_path):
    scene = load_trained(ModelFolder(trained)).scene().folder.root
    moved = tmp_path / "elsewhere"
    scene.rename(moved)
    try:
        with pytest.raises(InputError, match="is gone.*add -s and where it is now"):
            _draw(trained)
        _draw(trained, source_path=moved)
    finally:
        moved.rename(scene)


def test_a_video_of_another_length_replaces_the_old_one(trained):
    flight = {"skip_train": True, "skip_test": True, "video": True}
    for frames in (3, 5, 2):
        _draw(trained, frames=frames, **flight)
        assert len(list(ModelFolder(trained).renders("path").glob("*.png"))) == frames
    with pytest.raises(InputError, match="size: "):
        _draw(trained, frames=2, resolution=2, **flight)  # other pictures are still refused


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"frames": -3}, {"fps": 0}])
def test_a_video_without_frames_is_refused(trained, wrong):
    with pytest.raises(InputError, match=r"--frames .* --fps"):
        _draw(trained, skip_train=True, skip_test=True, video=True, **wrong)


def test_gaussians_of_an_iteration_that_was_not_kept(trained):
    with pytest.raises(InputError, match="no Gaussians of iteration 50; it has those of 100"):
        _draw(trained, iteration=50)


def test_a_video_that_was_cut_short_is_not_kept(trained, monkeypatch):
    _draw(trained, skip_train=True, skip_test=True, video=True, frames=3)
    video = ModelFolder(trained).renders("path").with_suffix(".mp4")
    before = video.read_bytes()

    def dying_encoder(path, *args, **options):
        Path(path).write_bytes(b"half a video")
        while True:
            yield

    monkeypatch.setattr("imageio_ffmpeg.write_frames", dying_encoder)
    with pytest.raises(InputError, match=r"0 of 3 frames of .*rgb\.mp4 could be written"):
        _draw(trained, skip_train=True, skip_test=True, video=True, frames=3)
    assert video.read_bytes() == before


def test_an_edited_scene_is_drawn_beside_the_trained_one(trained):
    model = ModelFolder(trained)
    _draw(trained, names=("view_03",))
    vertices = read_vertices(model.point_cloud(100))
    edited = model.object_splats("red mug", "recolored")
    green = recolored(vertices, np.ones(len(vertices), bool), np.array([0, 255, 0], np.uint8))
    write_vertices(edited, green)
    _draw(trained, names=("view_03",), splats=edited)
    drawn = model.root / "renders" / "train" / "splats" / "red_mug_recolored" / "view_03.png"
    picture = np.asarray(Image.open(drawn), float)
    assert picture[..., 1].mean() > 50 and picture[..., [0, 2]].max() <= 1
    assert np.asarray(Image.open(model.renders("train") / "view_03.png"), float)[..., 0].mean() > 10  # the trained one stays
    write_vertices(edited, vertices)
    with pytest.raises(InputError, match="--overwrite"):  # same name and geometry, other colours
        _draw(trained, names=("view_04",), splats=edited)
    with pytest.raises(InputError, match="--iteration 100"):
        _draw(trained, splats=edited, iteration=100)
    with pytest.raises(InputError, match="No file"):
        _draw(trained, splats=edited.with_name("missing.ply"))
