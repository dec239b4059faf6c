"""The folder of the last evaluation: whole, whatever happens to the next one, and safe from hostile phrases."""

import json
import os
import re
import subprocess
import sys

import cv2
import pytest
from small_answers import BALLS, ask, write_scene

from workspace import InputError, read_json
from workspace.replaced_folder import replaced_folder


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene")


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("phrase", [os.fsdecode(b"Sch\xfcssel"), "a \ud800"])
def test_a_phrase_that_is_not_utf8_is_refused_in_words(model, phrase):
    with pytest.raises(InputError, match=r"'(Sch\\udcfcssel|a \\ud800)' is not UTF-8"):
        ask(model, text=(phrase,))


def test_an_evaluation_that_fails_leaves_the_previous_one(model, scene):
    ask(model, text=("red ball",))
    before = files(model.evaluation)
    (scene / "images/views/frame_00004.png").write_bytes(b"not a picture any more")
    with pytest.raises(InputError, match="frame_00004"):
        ask(model, text=BALLS[1:2], names=("frame_00003", "frame_00004"))
    assert files(model.evaluation) == before
    assert [entry.name for entry in model.root.iterdir() if "eval" in entry.name] == ["eval"]


def test_of_two_evaluations_at_once_the_last_to_finish_remains_whole(tmp_path):
    folder = tmp_path / "eval"
    program = (
        "import sys; from pathlib import Path; from workspace import write_json; from workspace.stage_record import stage; "
        "from workspace.record_types import EvalRecord; from workspace.replaced_folder import replaced_folder\n"
        "for _ in range(40):\n"
        "    with replaced_folder(Path(sys.argv[1])) as new, stage(new, EvalRecord, {'run': sys.argv[2]}, {}):\n"
        "        for name in ('a', 'b'): write_json(new / name, sys.argv[2])\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program, str(folder), name]) for name in ("first", "second")]
    assert [run.wait() for run in runs] == [0, 0]
    found = {path.name: read_json(path) for path in folder.iterdir() if not path.name.startswith(".")}
    assert len(found) == 3 and found["a"] == found["b"] == found["stage.json"]["config"]["run"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["eval"]


def test_what_a_killed_evaluation_left_is_removed_and_a_linked_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/eval").mkdir()
    (tmp_path / "eval").symlink_to(tmp_path / "disk/eval")
    program = (
        "import os, sys; from pathlib import Path; from workspace.replaced_folder import replaced_folder\n"
        "with replaced_folder(Path(sys.argv[1])) as new: (new / 'half').touch(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "eval")], check=False).returncode == 9
    assert len(list((tmp_path / "disk").iterdir())) == 2
    with replaced_folder(tmp_path / "eval") as new:
        (new / "whole").touch()
    assert (tmp_path / "eval").is_symlink() and [path.name for path in (tmp_path / "disk").rglob("*")] == ["eval", "whole"]


def test_a_phrase_named_like_the_painted_classes_keeps_its_picture(model):
    ask(model, text=("classes",), classes=BALLS, names=("frame_00004",))
    folder = model.evaluation / "views/frame_00004"
    painted = cv2.imread(str(folder / "classes.png"))
    (own,) = (path for path in folder.glob("classes-*.png") if "mask" not in path.name)
    assert (cv2.imread(str(own)) != painted).any() and (folder / f"{own.stem}.mask.png").exists()


@pytest.mark.parametrize("phrase", ["<!--<script>", "</script><b>", "\u2028 ]]>"])
def test_no_phrase_ends_or_opens_the_reports_script(model, phrase):
    ask(model, text=(phrase,), names=("frame_00004",))
    page = model.report.read_text(encoding="utf-8")
    script = page[page.index("const DATA") : page.rindex("</script>")]
    assert page.count("</script>") == 1 and "<!--" not in script and "<script" not in script
    data = json.loads(re.search(r"const DATA = (\{.*\});", page).group(1))
    assert data["views"][0]["answers"][0]["phrase"] == phrase.strip()
