"""The folder contract: nothing half-written is read as whole, another configuration is never mixed in."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from workspace import InputError, SceneFolder, atomic, image_key, load_array, save_array
from workspace.record_types import CompressorRecord, CompressorReport, FeaturesRecord, RgbRecord, RgbSettings
from workspace.stage_record import require, stage


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "codes.npy"
    save_array(path, np.arange(3))
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert load_array(path).tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["codes.npy"]


def test_a_truncated_array_is_refused_by_name(tmp_path):
    path = tmp_path / "codes.npy"
    save_array(path, np.zeros((100, 3), np.float32))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"codes\.npy is not a readable"):
        load_array(path)


def test_loading_an_array_never_unpickles(tmp_path):
    path = tmp_path / "codes.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"codes\.npy"):
        load_array(path)


@pytest.mark.parametrize(
    ("relative", "key"),
    [("a.jpg", "a"), ("left/frame.001.JPG", "left/frame.001"), ("frame.001", "frame.001"), ("x.tar.png", "x.tar")],
)
def test_keys_keep_dots_and_folders(relative, key):
    assert image_key(relative) == key


def test_photographs_that_share_a_key_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "a.png"):
        (tmp_path / "images" / name).touch()
    with pytest.raises(InputError, match="differ only in their extension"):
        SceneFolder(tmp_path).image_files()


RGB = {"source_path": "data/kitchen", "images": "images", "resolution": -1, "eval": True, "white_background": False}


def test_a_killed_stage_resumes_and_is_not_read_as_finished(tmp_path):
    folder = tmp_path / "autoencoder"
    with pytest.raises(KeyboardInterrupt), stage(folder, CompressorRecord, {"epochs": 3}, {"features": {"features": "mini"}}):
        save_array(folder / "codes" / "a.npy", np.zeros(1))
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="did not finish. Continue it with: python train_autoencoder.py"):
        require(folder, CompressorRecord, "python train_autoencoder.py")
    with stage(folder, CompressorRecord, {"epochs": 3}, {"features": {"features": "mini"}}) as record:
        assert (folder / "codes" / "a.npy").exists()
        record.report = CompressorReport("pca", 512, 3)
    assert require(folder, CompressorRecord, "-").report == CompressorReport("pca", 512, 3)


def test_another_configuration_is_refused_by_field_and_replaced_on_request(tmp_path):
    folder = tmp_path / "autoencoder"
    with stage(folder, CompressorRecord, {"epochs": 3, "net": {"width": 3}}, {"features": "mini"}):
        save_array(folder / "old.npy", np.zeros(1))
    with (
        pytest.raises(InputError, match=r"config\.net\.width: 3 on disk, 8 now(.|\n)*--overwrite"),
        stage(folder, CompressorRecord, {"epochs": 3, "net": {"width": 8}}, {"features": "mini"}),
    ):
        pass
    with stage(folder, CompressorRecord, {"epochs": 3, "net": {"width": 8}}, {"features": "mini"}, overwrite=True):
        assert not (folder / "old.npy").exists()


def test_files_without_a_record_are_never_mixed_with_new_ones(tmp_path):
    (tmp_path / "language_features").mkdir()
    (tmp_path / "language_features" / "a_f.npy").touch()
    with pytest.raises(InputError, match=r"no stage\.json"), stage(tmp_path / "language_features", FeaturesRecord, {}, {}):
        pass


def test_an_older_format_names_the_command_that_rewrites_it(tmp_path):
    with stage(tmp_path / "f", FeaturesRecord, {}, {}):
        pass
    record = json.loads((tmp_path / "f" / "stage.json").read_text())
    (tmp_path / "f" / "stage.json").write_text(json.dumps({**record, "format": 0}))
    with pytest.raises(InputError, match="expected 'features' format 1. Run: python preprocess.py --overwrite"):
        require(tmp_path / "f", FeaturesRecord, "python preprocess.py")


def test_a_command_refused_before_it_made_anything_leaves_no_claim(tmp_path):
    folder = tmp_path / "point_cloud"
    with pytest.raises(InputError, match=r"No file nope\.ply"), stage(folder, RgbRecord, {**RGB, "start": "nope.ply"}, {}):
        raise InputError("No file nope.ply.")
    with stage(folder, RgbRecord, {**RGB, "start": "yes.ply"}, {}):
        pass
    assert require(folder, RgbRecord, "-").complete


@pytest.mark.parametrize(
    "damage", ['{"stage": "rgb", "for', "[]", '{"stage": "rgb", "format": 1, "config": [], "inputs": {}}', ""]
)
def test_a_damaged_record_names_the_remedy(tmp_path, damage):
    folder = tmp_path / "point_cloud"
    with stage(folder, RgbRecord, RGB, {}):
        pass
    (folder / "stage.json").write_text(damage)
    with pytest.raises(
        InputError, match=r"point_cloud/stage\.json is (not valid JSON|damaged).*Run: python train\.py --overwrite"
    ):
        require(folder, RgbRecord, "python train.py")
    with (
        pytest.raises(InputError, match=r"point_cloud/stage\.json is (not valid JSON|damaged).*Add --overwrite"),
        stage(folder, RgbRecord, RGB, {}),
    ):
        pass
    with stage(folder, RgbRecord, RGB, {}, overwrite=True):
        pass
    assert require(folder, RgbRecord, "-").complete


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        ({"config": {**RGB, "resolution": "four"}}, r"at config\.resolution: expected int, got str"),
        ({"config": {"images": "images"}}, r"at config: object missing required field source_path"),
        ({"inputs": {"photographs": ["a.jpg"]}}, r"at inputs\.photographs: expected object, got array"),
        ({"complete": "yes"}, r"at complete: expected bool, got str"),
    ],
)
def test_every_value_that_a_later_stage_reads_is_checked_by_key(tmp_path, damaged, found):
    folder = tmp_path / "point_cloud"
    with stage(folder, RgbRecord, RGB, {}):
        pass
    record = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps({**record, **damaged}))
    with pytest.raises(InputError, match=rf"point_cloud/stage\.json is damaged {found}. Run: python train\.py --overwrite"):
        require(folder, RgbRecord, "python train.py")


def test_settings_that_no_later_stage_reads_may_be_there_and_are_kept(tmp_path):
    folder = tmp_path / "point_cloud"
    with stage(folder, RgbRecord, {**RGB, "feature_lr": 0.1}, {}):
        pass
    assert require(folder, RgbRecord, "-").config == RgbSettings(**RGB)
    with (
        pytest.raises(InputError, match=r"config\.feature_lr: 0\.1 on disk, 0\.2 now"),
        stage(folder, RgbRecord, {**RGB, "feature_lr": 0.2}, {}),
    ):
        pass


def test_other_inputs_are_told_by_name_and_a_long_list_is_cut(tmp_path):
    before = {f"view_{i:02d}": f"{i:016x}" for i in range(30)}
    with stage(tmp_path / "f", RgbRecord, RGB, {"photographs": before}):
        pass
    now = {**{name: digest[::-1] for name, digest in before.items()}, "extra": "0" * 16}
    with pytest.raises(InputError) as error, stage(tmp_path / "f", RgbRecord, RGB, {"photographs": now}):
        pass
    text = str(error.value)
    assert "was made from other inputs" in text and "extra: not there before" in text
    assert "view_01: another one now" in text and "view_20" not in text and "0000" not in text
    assert len(text.splitlines()) < 20 and "and 18 more" in text


def test_an_array_on_a_full_disk_is_reported_as_that(tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    save = np.save

    def save_to_full_disk(_, array, **options):
        with Path("/dev/full").open("wb") as full:
            save(full, array, **options)

    monkeypatch.setattr(np, "save", save_to_full_disk)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is the point
        save_array(tmp_path / "codes.npy", np.zeros(1_000_000))
    assert raised.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []
