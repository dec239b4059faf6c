"""What --overwrite removes, what it leaves, and what killed processes leave behind."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from conversion.steps import _place
from workspace import InputError, ModelFolder, SceneFolder, atomic, save_array
from workspace import owned_files as owned_files_module
from workspace.owned_files import OwnedFiles
from workspace.processes import writer
from workspace.record_types import EvalRecord, FeaturesRecord
from workspace.replaced_folder import replaced_folder
from workspace.resume import save_checkpoint
from workspace.stage_record import require, stage


def _digests(folder):
    """Content of every file below a folder, links as such."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _run(folder, overwrite=False, setting=1, names=("a", "left/b")):
    with stage(folder, EvalRecord, {"setting": setting}, {}, overwrite):
        for name in names:
            save_array(folder / f"{name}.npy", np.full(3, setting))


@pytest.fixture
def users(tmp_path):
    """Files of the user's: outside of the stage folder, and those to be put into it."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    for name in ("beach.jpg", "b.npy"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_overwriting_removes_what_the_stage_wrote_and_nothing_else(tmp_path, users):
    folder = tmp_path / "model" / "stage"
    _run(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "left" / "photograph.jpg").write_bytes(b"mine")
    (folder / "right").symlink_to(users)
    before = _digests(users)
    _run(folder, overwrite=True, setting=2, names=("c",))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.startswith(".")) == [
        "c.npy",
        "left",
        "left/photograph.jpg",
        "notes.txt",
        "right",
        "stage.json",
    ]
    assert (folder / "notes.txt").read_text() == "mine" and _digests(users) == before


def test_a_folder_of_results_that_was_replaced_by_a_link_is_not_emptied(tmp_path, users):
    folder = tmp_path / "stage"
    _run(folder)
    (folder / "left" / "b.npy").unlink()
    (folder / "left").rmdir()
    (folder / "left").symlink_to(users)  # has a b.npy too
    before = _digests(users)
    _run(folder, overwrite=True, setting=2, names=("a",))
    assert _digests(users) == before and (folder / "left").is_symlink()


def test_a_file_that_was_moved_elsewhere_and_linked_stays_there(tmp_path, users):
    folder = tmp_path / "stage"
    _run(folder)
    (folder / "a.npy").unlink()
    (folder / "a.npy").symlink_to(users / "b.npy")
    before = _digests(users)
    _run(folder, overwrite=True, setting=2)
    assert _digests(users) == before
    assert not (folder / "a.npy").is_symlink() and np.load(folder / "a.npy").tolist() == [2, 2, 2]


@pytest.mark.parametrize("line", ["/{outside}/beach.jpg", "../holiday/beach.jpg", "left/../../holiday/beach.jpg"])
def test_a_list_that_names_files_elsewhere_removes_none_of_them(tmp_path, users, line):
    folder = tmp_path / "stage"
    _run(folder)
    with (folder / ".files").open("a") as file:
        file.write(line.format(outside=str(users).lstrip("/")) + "\n")
    before = _digests(users)
    _run(folder, overwrite=True, setting=2)
    assert _digests(users) == before


def test_a_stage_folder_on_another_disk_is_used_through_its_link(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "stage").symlink_to(disk)
    _run(tmp_path / "model" / "stage")
    _run(tmp_path / "model" / "stage", overwrite=True, setting=2, names=("c",))
    assert (tmp_path / "model" / "stage").is_symlink()
    assert sorted(path.name for path in disk.iterdir() if not path.name.startswith(".")) == ["c.npy", "stage.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_stage_folder_that_leads_to_photographs_is_refused(tmp_path, users, overwrite):
    scene = SceneFolder(tmp_path / "scene")
    scene.root.mkdir()
    scene.language_features.symlink_to(users)
    before = _digests(users)
    with (
        pytest.raises(InputError, match=r"language_features holds files but no stage\.json"),
        stage(scene.language_features, FeaturesRecord, {"features": "mini"}, {}, overwrite),
    ):
        pass
    assert _digests(users) == before


def test_a_folder_without_a_list_is_not_overwritten(tmp_path):
    folder = tmp_path / "stage"
    _run(folder)
    (folder / ".files").unlink()
    before = _digests(folder)
    with pytest.raises(InputError, match=r"no list of the files that were written there.*Move the folder away"):
        _run(folder, overwrite=True, setting=2)
    assert _digests(folder) == before
    _run(folder)  # the same settings go on


def test_hidden_files_do_not_block_a_stage(tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / ".DS_Store").write_bytes(b"finder")
    _run(folder)
    assert require(folder, EvalRecord, "-").complete and (folder / ".DS_Store").exists()


def _ended():
    """The writer name of a process that has ended, on this machine."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return writer().rpartition("-")[0] + f"-{process.pid}"


def test_a_kill_during_the_first_record_does_not_block_the_repeat(tmp_path):
    folder = tmp_path / "stage"
    (folder / "left").mkdir(parents=True)
    gone = [folder / f".stage.{_ended()}.partial.json", folder / "left" / f".b.{_ended().rpartition('-')[2]}.partial.npy"]
    alive = folder / f".a.{writer().rpartition('-')[0]}-{os.getppid()}.partial.npy"
    elsewhere = folder / ".a.00000000-1.partial.npy"
    for path in [*gone, alive, elsewhere]:
        path.write_bytes(b"half")
    _run(folder)
    assert [path.exists() for path in gone] == [False, False] and alive.exists() and elsewhere.exists()
    assert require(folder, EvalRecord, "-").complete


def test_partial_checkpoints_of_killed_processes_are_removed(tmp_path):
    model = ModelFolder(tmp_path)
    model.checkpoints.mkdir()
    partial = model.checkpoints / f".rgb_000005.{_ended()}.partial.pth"
    partial.write_bytes(b"half")
    save_checkpoint(model, "rgb", 10, {"value": 1})
    assert [path.name for path in model.checkpoints.iterdir()] == ["rgb_000010.pth"]


@pytest.mark.parametrize("at", range(6))
def test_a_kill_during_a_replacement_does_not_leave_old_files_among_new_ones(tmp_path, monkeypatch, at):
    folder, seen = tmp_path / "stage", []
    _run(folder)
    (folder / "notes.txt").write_text("mine")
    real = {name: getattr(owned_files_module.Path, name) for name in ("unlink", "rename", "touch", "rmdir")}

    def killed(name):
        def step(path, *args, **options):
            seen.append(name)
            if len(seen) == at + 1:
                raise KeyboardInterrupt
            return real[name](path, *args, **options)

        return step

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(owned_files_module.Path, name, killed(name))
        with pytest.raises(KeyboardInterrupt):
            _run(folder, overwrite=True, setting=2)
    _run(folder, overwrite=True, setting=2)
    assert {np.load(path)[0] for path in folder.rglob("*.npy")} == {2}
    assert (folder / "notes.txt").read_text() == "mine" and require(folder, EvalRecord, "-").complete


def test_results_that_replace_others_take_the_users_files_over(tmp_path):
    folder = tmp_path / "eval"
    for setting in (1, 2):
        with replaced_folder(folder) as new, stage(new, EvalRecord, {"setting": setting}, {}):
            save_array(new / "view" / f"{setting}.npy", np.zeros(1))
        (folder / "view" / "notes.txt").write_text("mine")
    assert sorted(path.name for path in (folder / "view").iterdir()) == ["2.npy", "notes.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["eval"]


def test_a_conversion_replaces_its_photographs_and_no_others(tmp_path):
    made, images = tmp_path / "made", tmp_path / "images"
    for run in (b"first", b"second"):
        for name in ("a.jpg", "left/b.jpg"):
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(run)
        _place(made, images)
        (images / "left" / "mine.jpg").write_bytes(b"mine")
    assert (images / "a.jpg").read_bytes() == b"second" and (images / "left" / "mine.jpg").read_bytes() == b"mine"
    (made / "left" / "mine.jpg").write_bytes(b"theirs")
    with pytest.raises(InputError, match=r"mine\.jpg is there already"):
        _place(made, images)
    assert (images / "left" / "mine.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["../a", "/a", "left/../../a"])
def test_no_path_of_an_image_leads_out_of_its_folder(tmp_path, name):
    scene, model = SceneFolder(tmp_path), ModelFolder(tmp_path)
    for path in (scene.segment_maps, scene.patch_grid, model.codes, lambda key: model.answer_picture(key, "red_ball")):
        with pytest.raises(InputError, match="would lead out of"):
            path(name)


def test_a_list_is_begun_before_a_file_appears(tmp_path):
    owned = OwnedFiles(tmp_path)
    owned.begin()
    with owned.recording(), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        assert owned.listed() == []
    assert owned.listed() == [tmp_path / "a.txt"]
