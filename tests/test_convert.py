"""Photographs to a scene: right cameras, nothing of the user's touched, and every interruption survived."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from colmap_scene import write_photograph, write_scene
from corner_room import write_photographs
from PIL import Image

from conversion.alignment import compare_poses
from conversion.sfm_steps import extract_features, remove
from conversion.stage import convert
from conversion.steps import ConvertConfig
from scene.colmap import read_model
from scene.dataset import load_scene
from workspace import InputError, read_json

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"num_features": 2000, "num_threads": 1}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capture")
    truth = write_photographs(folder / "photographs")
    before = {path: path.read_bytes() for path in (folder / "photographs").rglob("*.*")}
    config = ConvertConfig(folder / "photographs", folder / "scene", **QUICK)
    convert(config)
    assert {path: path.read_bytes() for path in (folder / "photographs").rglob("*.*")} == before
    return config, truth


def test_cameras_are_the_true_ones(converted):
    config, truth = converted
    model = read_model(config.output_path / "sparse" / "0")
    agreement = compare_poses({image.name: image.world_to_camera for image in model.images}, truth)
    assert agreement.cameras == 8
    assert agreement.max_center < 0.01 and agreement.max_rotation < 0.3  # matches are good to a tenth of a pixel of 320
    (camera,) = model.cameras.values()
    assert camera.pinhole()[:2] == pytest.approx((300, 300), rel=0.02)  # not in the files: found from the matches alone


def test_the_scene_trains_as_it_is(converted):
    config, truth = converted
    scene = load_scene(config.output_path)
    assert {camera.image_path.relative_to(config.output_path / "images").as_posix() for camera in scene.train} == truth.keys()
    assert scene.points.std(0).min() > 0 and len(np.unique(scene.colors, axis=0)) > 100
    side = Image.open(config.output_path / "images" / "wall 2.jpg")
    assert side.width > side.height and side.getexif().get(0x0112, 1) == 1  # stood up for good


def test_the_record_holds_the_verdict(converted):
    config, _ = converted
    record = read_json(config.output_path / "sparse" / "stage.json")
    report = record["report"]
    assert record["complete"] and report["registered"] == 8 and report["failed"] == [] and report["warnings"] == []
    assert report["explained_matches"] > 0.95 and report["second_opinion"]["mean_difference"] < 0.01
    assert report["mean_error_px"] < 0.6


def test_other_settings_are_refused_and_overwriting_keeps_what_they_do_not_touch(converted, tmp_path):
    shutil.copytree(converted[0].output_path, tmp_path / "scene")
    config = replace(converted[0], output_path=tmp_path / "scene")
    database = tmp_path / "scene" / "convert" / "database.db"
    before = database.stat().st_mtime_ns
    convert(config)  # finished: nothing to do
    with pytest.raises(InputError, match="mapper: 'auto' on disk, 'global' now"):
        convert(replace(config, mapper="global"))
    convert(replace(config, mapper="global", overwrite=True))
    report = read_json(tmp_path / "scene" / "sparse" / "stage.json")["report"]
    assert report["mapper"] == "global" and "second_opinion" not in report
    assert database.stat().st_mtime_ns == before
    assert len(load_scene(tmp_path / "scene").train) == 8


def test_interrupted_anywhere_the_same_command_finishes(tmp_path):
    truth = write_photographs(tmp_path / "photographs", count=6)
    command = [sys.executable, "convert.py", "-s", tmp_path / "photographs", "-o", tmp_path / "scene"]
    command += ["--num_features", "2000", "--mapper", "global", "--num_threads", "1"]
    work = tmp_path / "scene" / "convert"

    def interrupt(when, how: signal.Signals) -> int:
        # a test run in the background of a shell ignores SIGINT, and so would its children
        process = subprocess.Popen(command, cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        while process.poll() is None and not when():
            time.sleep(0.02)
        process.send_signal(how)
        return process.wait()

    def some_features() -> bool:
        try:
            with closing(sqlite3.connect(f"{(work / 'database.db').as_uri()}?mode=ro", uri=True)) as connection:
                return 0 < connection.execute("SELECT COUNT(*) FROM descriptors").fetchone()[0]
        except sqlite3.OperationalError:  # not there yet, or being written
            return False

    assert interrupt(some_features, signal.SIGINT) == 130
    assert not (tmp_path / "scene" / "images").exists()
    with pytest.raises(InputError, match="did not finish"):
        load_scene(tmp_path / "scene")
    assert interrupt(lambda: (work / "calibrated.db").exists(), signal.SIGKILL) == -signal.SIGKILL
    assert read_json(work / "steps.json")["matches"]["complete"]
    subprocess.run(command, cwd=ROOT, check=True)
    model = read_model(tmp_path / "scene" / "sparse" / "0")
    assert len(model.cameras) == 1  # a resumed extraction goes on with the camera it began with
    agreement = compare_poses({image.name: image.world_to_camera for image in model.images}, truth)
    assert agreement.cameras == 6 and agreement.max_center < 0.01


def test_a_distorted_model_is_undistorted_by_the_command_the_reader_names(tmp_path):
    write_scene(tmp_path / "scene", "OPENCV", (60.0, 60.0, 32.0, 24.0, 0.05, 0.0, 0.0, 0.0))
    with pytest.raises(InputError) as error:
        load_scene(tmp_path / "scene")
    line = next(line for line in str(error.value).splitlines() if "convert.py" in line)
    images, output, model = (Path(word) for word in line.split() if word.startswith("/"))
    convert(ConvertConfig(images, output, distorted_model=model, num_threads=1))
    scene = load_scene(output)
    assert len(scene.train) == 6 and len(scene.points) == 40


def test_photographs_of_a_pinhole_model_are_copied_bit_by_bit(tmp_path):
    write_scene(tmp_path / "scene")
    convert(ConvertConfig(tmp_path / "scene" / "images", tmp_path / "out", distorted_model=tmp_path / "scene" / "sparse" / "0"))
    for path in (tmp_path / "scene" / "images").rglob("*.png"):
        copy = tmp_path / "out" / "images" / path.relative_to(tmp_path / "scene" / "images")
        assert copy.read_bytes() == path.read_bytes()


def test_photographs_without_overlap_are_no_scene(tmp_path):
    for i in range(4):
        write_photograph(tmp_path / "in" / f"{i}.png", (64, 48))
    with pytest.raises(InputError, match=r"No model came out of 4 photographs|stopped at the step"):
        convert(ConvertConfig(tmp_path / "in", tmp_path / "out", num_threads=1))
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.parametrize("output", [".", "scene", "../in"])
def test_a_scene_is_not_written_among_the_photographs(tmp_path, output):
    write_photograph(tmp_path / "in" / "a.png")
    with pytest.raises(InputError, match="among the photographs"):
        convert(ConvertConfig(tmp_path / "in", tmp_path / "in" / output))


def test_a_scene_of_the_user_is_not_touched(tmp_path):
    write_photograph(tmp_path / "in" / "a.png")
    write_scene(tmp_path / "mine")
    with pytest.raises(InputError, match="did not make"):
        convert(ConvertConfig(tmp_path / "in", tmp_path / "mine", overwrite=True))
    assert len(load_scene(tmp_path / "mine").train) == 6
    # photographs in a scene folder's own images/ would be written over by that scene
    with pytest.raises(InputError, match="among the photographs"):
        convert(ConvertConfig(tmp_path / "mine" / "images", tmp_path / "mine"))


def test_no_such_source(tmp_path):
    with pytest.raises(InputError, match="No folder or video"):
        convert(ConvertConfig(tmp_path / "typo", tmp_path / "out"))


def test_extraction_goes_on_from_a_database_killed_at_birth(tmp_path):
    write_photograph(tmp_path / "in" / "a.png")
    write_photograph(tmp_path / "in" / "b.png")
    (tmp_path / "database.db").touch()
    extract_features(tmp_path / "database.db", tmp_path / "in", [["a.png", "b.png"]], "OPENCV", 1600, 100, 1, "cpu")
    with closing(sqlite3.connect(tmp_path / "database.db")) as connection:
        assert connection.execute("SELECT COUNT(*), COUNT(DISTINCT camera_id) FROM images").fetchone() == (2, 1)


def test_a_database_goes_with_its_journals(tmp_path):
    for suffix in ("", "-wal", "-shm", "-journal"):
        (tmp_path / f"database.db{suffix}").write_bytes(b"x")
    remove(tmp_path / "database.db")  # a stale journal would be replayed into the next database
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"num_features": 0}, {"image_size": 0}, {"frames": 1}, {"num_threads": 0}])
def test_settings_without_a_meaning_are_refused_before_any_work(tmp_path, wrong):
    for i in range(3):
        write_photograph(tmp_path / "in" / f"{i}.png")
    with pytest.raises(InputError, match=f"--{next(iter(wrong))} {next(iter(wrong.values()))}: expected"):
        convert(ConvertConfig(tmp_path / "in", tmp_path / "out", **wrong))
    assert not (tmp_path / "out").exists()
