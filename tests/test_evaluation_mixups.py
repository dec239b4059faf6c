"""Figures of the wrong scene, labels or field: refused, not tabled."""

import shutil

import pytest
from small_answers import ask, write_model

from evaluation.benchmark import BenchmarkConfig, benchmark
from evaluation.stage import QueryConfig, eval_query
from scene.photographs import photograph_digest
from workspace import InputError, read_json, write_json
from workspace.scene_folder import image_files


def test_models_of_several_scenes_are_no_repetitions(model, scene, tmp_path):
    shutil.copytree(scene, tmp_path / "other")
    other = write_model(tmp_path / "elsewhere", tmp_path / "other")
    with pytest.raises(InputError, match=r"several scenes, .* no repetitions"):
        eval_query(QueryConfig(model_path=(model.root, other.root), labels=scene / "label", device="cpu"))
    assert not model.runs.exists()


def test_two_scenes_may_be_asked_the_same(model, scene, tmp_path):
    shutil.copytree(scene, tmp_path / "other")
    other = write_model(tmp_path / "elsewhere", tmp_path / "other")
    eval_query(QueryConfig(model_path=(model.root, other.root), text=("red ball",), device="cpu"))
    assert model.metrics.exists() and other.metrics.exists()


def test_a_model_that_is_asked_in_another_scene_is_warned_of(model, scene, tmp_path, caplog):
    moved, other = tmp_path / "moved", tmp_path / "other"
    for folder in (moved, other):
        shutil.copytree(scene, folder)
    for path in image_files(other / "images").values():
        path.write_bytes(path.read_bytes() + b"x")
    digests = {key: photograph_digest(path) for key, path in image_files(scene / "images").items()}
    record = read_json(model.point_clouds / "stage.json")
    write_json(model.point_clouds / "stage.json", record | {"inputs": {**record["inputs"], "photographs": digests}})
    eval_query(QueryConfig(source_path=moved, model_path=(model.root,), text=("red ball",), device="cpu"))
    assert "none of the photographs" not in caplog.text
    eval_query(QueryConfig(source_path=other, model_path=(model.root,), text=("red ball",), device="cpu"))
    assert f"{other} has none of the photographs that {model.root} was trained from" in caplog.text


def test_other_phrases_do_not_change_the_control(model, scene):
    ask(model, labels=scene / "label", shuffled_control=True)
    alone = read_json(model.metrics)
    ask(model, labels=scene / "label", shuffled_control=True, text=("white table",))
    beside = read_json(model.metrics)
    assert beside["phrases"] == alone["phrases"] + 1
    assert beside["shuffled_miou"] == alone["shuffled_miou"]


def test_labels_of_one_view_twice_are_refused(model, scene, tmp_path):
    for part in ("a", "b"):
        shutil.copytree(scene / "label", tmp_path / "label" / part)
    with pytest.raises(InputError, match=r"several labels for one view: views/frame_00000 \(a/frame_00000, b/frame_00000\)"):
        ask(model, labels=tmp_path / "label")


def test_labels_of_another_shape_are_refused(model, scene, tmp_path):
    shutil.copytree(scene / "label", tmp_path / "label")
    path = sorted((tmp_path / "label").rglob("*.json"))[1]
    label = read_json(path)
    width, height = (label["info"][side] for side in ("width", "height"))
    write_json(path, label | {"info": {**label["info"], "width": height, "height": width}})
    with pytest.raises(InputError, match=rf"frame_00003 in .*label is for a picture of {height} x {width} pixels"):
        ask(model, labels=tmp_path / "label")


def test_labels_of_another_scene_of_the_benchmark_are_refused(scene, tmp_path, model):
    teatime, ramen = tmp_path / "teatime", tmp_path / "label" / "ramen"
    shutil.copytree(scene, teatime)
    shutil.copytree(scene / "label", ramen)
    (tmp_path / "label" / "teatime").symlink_to(ramen)
    model = write_model(tmp_path / "of_teatime", teatime)
    with pytest.raises(InputError, match=r"has the labels of ramen, and .*teatime is teatime"):
        ask(model, labels=ramen)
    ask(model, labels=tmp_path / "label" / "teatime")
    assert read_json(model.metrics)["scene"] == "teatime"


def test_figures_of_a_field_that_was_trained_again_are_not_tabled(scene, tmp_path, model):
    teatime = tmp_path / "teatime"
    shutil.copytree(scene, teatime)
    model = write_model(tmp_path / "of_teatime", teatime)
    ask(model, labels=teatime / "label")
    benchmark(BenchmarkConfig((model.root,)))
    shutil.rmtree(model.language)
    changed = write_model(tmp_path / "changed", teatime, noise=0.5)
    shutil.copytree(changed.language, model.language)
    with pytest.raises(InputError, match="of a field that has been trained again since. Run: python eval_query.py"):
        benchmark(BenchmarkConfig((model.root,)))
    for path in model.root.iterdir():  # figures alone, copied from elsewhere
        if path.name != "eval":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    benchmark(BenchmarkConfig((model.root,)))
