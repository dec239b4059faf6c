"""Objects in 3D from phrases: instances, positions, boxes, and edited splat files."""

import base64
import json
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from small_answers import BALLS, Words, embeddings, write_lifted, write_model, write_scene

from autoencoder.pca import PCA
from gaussian_renderer.trained_model import load_trained
from query.locate import LocateConfig, locate
from query.objects.coordinates import Frame, measured_scale
from query.objects.finding import InstanceOptions, ObjectFinder
from query.session import Session, SessionConfig
from scene.gaussian_files import load_ply, save_ply
from scene.gaussian_model import GaussianModel
from scene.ply import read_vertices
from workspace import InputError, ModelFolder, load_array, read_json, save_array
from workspace.owned_files import OwnedFiles
from workspace.record_types import LanguageRecord, RgbRecord
from workspace.stage_record import stage

CENTERS = np.float32([[-1.2, -0.8, 0], [1.2, -0.8, 0.2], [-1.2, 0.8, 0.1]])  # red ball, red ball again, green ball
EACH = 150


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("located") / "scene")


@pytest.fixture
def model(tmp_path, scene, monkeypatch):
    """Two red balls and a green one, each of many Gaussians; a red floater; Gaussians without a code inside the first ball."""
    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    folder = write_model(tmp_path / "model", scene)
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(3 * EACH, 3))
    shells = directions / np.linalg.norm(directions, axis=1, keepdims=True) * 0.25
    hidden = CENTERS[0] + generator.normal(size=(10, 3)).astype(np.float32) * 0.04
    means = np.concatenate([np.repeat(CENTERS, EACH, 0) + shells, hidden, [[0.0, 0.0, 3.0]]]).astype(np.float32)
    gaussians = GaussianModel.from_points(means, np.full((len(means), 3), 90, np.uint8))
    gaussians.log_scales[:] = math.log(0.03)
    gaussians.opacity_logits[:] = 4.0
    gaussians.sh_rest[:] = torch.from_numpy(generator.normal(size=gaussians.sh_rest.shape).astype(np.float32)) * 0.1
    balls, negatives = embeddings()
    codes = PCA(0.2 * negatives[0], torch.cat([balls, negatives]), torch.tensor(1.0)).encode(balls)
    owner = np.concatenate([np.repeat([0, 0, 1], EACH), np.full(10, -1), [0]])
    stored = torch.where(torch.from_numpy(owner >= 0)[:, None], codes[np.maximum(owner, 0)], 0.0)
    settings = {"source_path": str(scene), "images": "images", "resolution": -1, "eval": True, "white_background": False}
    with stage(folder.point_clouds, RgbRecord, settings, {}, overwrite=True):
        save_ply(folder.point_cloud(7), gaussians)
    inputs = {"geometry": load_ply(folder.point_cloud(7)).geometry_hash()}
    with stage(folder.language, LanguageRecord, {"levels": ["s"], "gaussians": 7}, inputs, overwrite=True):
        save_array(folder.level_codes("s"), stored.numpy())
    return folder


def _locate_only(model, *text, **settings):
    # the balls' embeddings are orthogonal to each other and to the negatives: relevancy of the others is 0.5 but for rounding
    locate(LocateConfig(model_path=model.root, text=text, device="cpu", neighbours=1, **{"threshold": 0.6, **settings}))


def _locate(model, *text, **settings):
    _locate_only(model, *text, **settings)
    return read_json(model.located)


def _files(model):
    """Files of the folder that are not hidden."""
    found = (path.relative_to(model.objects) for path in model.objects.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not path.name.startswith(".")}


def test_edits_are_named_when_written_and_when_another_answer_deletes_them(model, capsys):
    _locate(model, "red ball", remove=True)
    assert f"splats: {model.object_splats('red ball', 'removed')}\n" in capsys.readouterr().out
    _locate(model, "red ball", instances=1)
    told = capsys.readouterr().out
    assert f"deleted with the earlier answer: {model.object_splats('red ball', 'removed')}\n" in told and "splats:" not in told
    assert _files(model) == {"objects.json", "report.html", "red_ball/instance_1.npy"}


def test_edits_of_the_same_instances_stay_until_the_gaussians_are_trained_anew(model):
    _locate(model, "red ball", remove=True)
    _locate(model, "red ball", extract=True)
    edits = {f"red_ball/{name}" for name in ("removed.ply", "instance_1.ply", "instance_2.ply", "labels.npy")}
    indices = {f"red_ball/instance_{number}.npy" for number in (1, 2)}
    assert _files(model) == {"objects.json", "report.html", *edits, *indices}
    later = model.object_labels("red ball").stat().st_mtime + 10
    os.utime(model.point_cloud(7), (later, later))
    _locate(model, "red ball")
    assert _files(model) == {"objects.json", "report.html", *indices}


def test_the_folder_holds_the_last_question_edits_asked_for_and_what_the_user_put_there(model, capsys):
    _locate(model, "red ball", BALLS[1], "elephant")
    users = model.object_folder("red ball") / "instance_9.npy"
    users.write_bytes(b"mine")
    _locate(model, BALLS[1], extract=True)
    _locate(model, "elephant", remove=True)
    assert _files(model) == {
        "objects.json",
        "report.html",
        "red_ball/instance_9.npy",
        *(f"{model.object_folder(BALLS[1]).name}/{name}" for name in ("instance_1.ply", "labels.npy")),
    }
    told = capsys.readouterr().out
    assert f"kept from an earlier question: {model.object_splats(BALLS[1], 'instance_1')}\n" in told
    assert "no splats of what is not here: elephant\n" in told
    assert users.read_bytes() == b"mine"


def test_only_a_few_of_many_kept_files_are_named(model, capsys):
    for number in range(7):
        kept = model.object_splats(f"thing {number}", "removed")
        kept.parent.mkdir(parents=True)
        kept.touch()
        OwnedFiles(model.objects).add(kept)
    _locate(model, "elephant")
    told = capsys.readouterr().out
    assert told.count("kept from an earlier question") == 5 and "and 2 more splat files" in told


def test_questions_to_one_model_at_once_leave_one_whole_answer(model):
    found = [BALLS[1], "red ball"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda phrase: _locate_only(model, phrase), found * 4))
    named = {one["indices"] for one in read_json(model.located)["objects"]}
    assert named and _files(model) == {"objects.json", "report.html", *named}


def test_a_phrase_of_any_length_fits_on_the_terminal(model, capsys):
    long = "red ball, " * 1000
    _locate(model, long, "青い玉\x1b[2J\n" * 9, "red ball")
    shown = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in shown[:6]) < 200 and not any("\x1b" in line for line in shown)
    assert {re.sub(r"\w.*", "", line) for line in shown[2:6]} == {""}  # one line each
    assert read_json(model.located)["phrases"][0] == long.strip()
    assert all(len(path.name) < 80 for path in model.objects.rglob("*"))


def test_both_balls_are_found_where_they_are_and_the_floater_is_not(model, capsys):
    found = _locate(model, "red ball")["objects"]
    assert [one["instance"] for one in found] == [1, 2]
    centers = np.array(sorted(one["center"] for one in found))
    np.testing.assert_allclose(centers, CENTERS[:2], atol=0.03)  # a mean of 150 points of a shell of radius 0.25
    for one in found:
        size = np.subtract(one["box"]["max"], one["box"]["min"])
        assert (abs(size - 0.5) < 0.05).all()  # 1 % of 150 random points lies outside on either side
        assert one["gaussians"] == EACH and one["level"] == "s"
        members = load_array(model.objects / one["indices"])
        assert (np.diff(members) > 0).all() and len(members) == EACH
    assert "red ball" in capsys.readouterr().out


def test_an_object_names_the_view_and_the_pixels_where_it_is_seen(model):
    (one,) = _locate(model, BALLS[1])["objects"]
    view = one["views"][0]
    depth, focal = 5.0 + CENTERS[2][2], 150.0
    index = int(view["image"].rsplit("_", 1)[1])
    x = focal * (CENTERS[2][0] - 0.15 * (index - 4)) / depth + 80
    y = focal * CENTERS[2][1] / depth + 60
    left, top, right, bottom = view["box"]
    assert abs((left + right) / 2 - x) < 2 and abs((top + bottom) / 2 - y) < 2
    assert abs(right - left - 2 * focal * 0.25 / depth) < 4  # the radius of the shell, and the Gaussians' own width


def _pictures(model):
    page = model.objects_report.read_text(encoding="utf-8")
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return page, [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for one in found]


def test_the_report_shows_the_outline_and_the_box_where_the_object_is(model):
    (one,) = _locate(model, BALLS[1], up=(0.0, -1.0, 0.0), scale=2.0)["objects"]
    page, (picture,) = _pictures(model)
    assert "z up" in page and "metres" in page and one["views"][0]["image"] in page
    photo = np.asarray(Image.open(load_trained(model).scene().folder.images / f"{one['views'][0]['image']}.png").convert("RGB"))
    drawn = np.abs(picture.astype(int) - photo).max(2) > 60
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    left, top, right, bottom = one["views"][0]["box"]
    # the box is that of the Gaussians' centres: between the outline, which has their width, and twice its half
    assert abs((columns[0] + columns[-1]) / 2 - (left + right) / 2) < 3 and abs((rows[0] + rows[-1]) / 2 - (top + bottom) / 2) < 3
    assert 0 <= np.ptp(columns) - (right - left) < 8 and 0 <= np.ptp(rows) - (bottom - top) < 8
    yellow = (np.abs(picture.astype(int) - [255, 196, 0]).max(2) < 90) & drawn
    assert yellow.sum() > 40  # the edges of the box


def test_the_report_says_what_is_not_there_and_escapes_phrases(model):
    _locate(model, "<b>elephant</b>")
    page, pictures = _pictures(model)
    assert pictures == [] and "Not here" in page and "<b>elephant" not in page and "&lt;b&gt;elephant" in page


def test_nothing_found_is_an_answer(model, capsys):
    document = _locate(model, "elephant", "red ball", instances=1)
    assert document["phrases"] == ["elephant", "red ball"]
    assert [one["phrase"] for one in document["objects"]] == ["red ball"]
    assert "not here" in capsys.readouterr().out


def test_the_file_follows_its_schema(model):
    from pathlib import Path

    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parents[1] / "docs" / "objects.schema.json").read_text())
    document = _locate(model, "red ball", "elephant", up=(0.0, -1.0, 0.0), scale=2.0)
    jsonschema.validate(document, schema)
    broken = {**document, "objects": [{**document["objects"][0], "center": [1, 2]}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_extracting_removing_and_coloring_leave_every_other_bit(model):
    _locate(model, "red ball", extract=True, remove=True, recolor=(255, 0, 0))
    trained = read_vertices(model.point_cloud(7))
    labels = load_array(model.object_labels("red ball"))
    one = read_vertices(model.object_splats("red ball", "instance_1"))
    assert one.dtype == trained.dtype and one.tobytes() == trained[labels == 1].tobytes()
    gone = read_vertices(model.object_splats("red ball", "removed"))
    kept = np.arange(len(trained)) >= 2 * EACH
    kept[3 * EACH : 3 * EACH + 10] = False  # hidden in the first ball, without a code: they go with it
    assert gone.tobytes() == trained[kept].tobytes()
    painted = read_vertices(model.object_splats("red ball", "recolored"))
    assert painted[labels == 0].tobytes() == trained[labels == 0].tobytes()
    gaussians = load_ply(model.object_splats("red ball", "recolored"))
    color = (gaussians.sh_dc[labels > 0, 0] * 0.28209479177387814 + 0.5).numpy()
    np.testing.assert_allclose(color, [[1, 0, 0]] * (2 * EACH), atol=1e-6)
    assert (gaussians.sh_rest[labels > 0] == 0).all()
    for name in ("x", "scale_0", "rot_3", "opacity"):
        assert painted[name].tobytes() == trained[name].tobytes()


def test_files_of_an_earlier_answer_do_not_stay_beside_the_new_one(model):
    _locate(model, "red ball", extract=True, remove=True)
    note = model.object_labels("red ball").with_name("notes.txt")
    note.write_text("mine")
    _locate(model, "red ball", instances=1)
    assert sorted(path.name for path in note.parent.iterdir()) == ["instance_1.npy", "notes.txt"]


def test_up_and_scale_are_remembered(model):
    first = _locate(model, BALLS[1], up=(0.0, -1.0, 0.0), measured=(0.0, 0.0, 0.0, 0.0, 0.0, 2.0), metres=1.0)
    assert first["units"] == "metres" and first["frame"]["scale"] == 0.5
    again = _locate(model, BALLS[1])
    assert again["objects"][0]["center"] == first["objects"][0]["center"]
    x, y, z = CENTERS[2]
    np.testing.assert_allclose(again["objects"][0]["center"], [x / 2, z / 2, -y / 2], atol=0.02)


def test_without_a_scale_the_file_says_so(model):
    assert _locate(model, "red ball")["units"].startswith("unknown")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "--threshold 1.5"),
        ({"min_gaussians": 0}, "--min_gaussians 0"),
        ({"grow": 0.0}, "--grow 0.0"),
        ({"up": (0.0, 0.0, 0.0)}, "--up 0.0 0.0 0.0"),
        ({"scale": -1.0}, "--scale -1"),
        ({"scale": 0.0}, "--scale 0"),
        ({"scale": 1e300}, "--scale 1e"),
        ({"metres": 1.0}, "--measured and --metres"),
        ({"recolor": (0, 0, 300)}, "--recolor 0 0 300"),
        ({"level": "m"}, "not 'm'"),
    ],
)
def test_settings_without_a_meaning_are_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        _locate(model, "red ball", **settings)


def test_a_lifted_field_answers_too_and_unknown_gaussians_never_do(tmp_path, scene, monkeypatch):
    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    lifted = write_lifted(tmp_path / "lifted", scene)
    (one,) = _locate(lifted, BALLS[2], min_gaussians=1, threshold=0.95, grow=1.0)[
        "objects"
    ]  # its neighbour carries a fifth of it
    assert load_array(lifted.objects / one["indices"]).tolist() == [2] and one["level"] == "s"
    low = _locate(lifted, BALLS[3], min_gaussians=1, level="l", threshold=0.01)["objects"]
    members = np.concatenate([load_array(lifted.objects / found["indices"]) for found in low])
    assert sorted(members.tolist()) == [0, 1, 2]  # the last Gaussian was never seen at this level


def test_a_damaged_frame_is_named(model):
    model.frame.write_text('{"up": "there"}')
    with pytest.raises(InputError, match="frame.json is damaged"):
        _locate(model, "red ball")


def test_the_shortest_turn_takes_up_to_z():
    for up in ([0, -1, 0], [0.2, 0.3, -0.9], [0, 0, -1], [0, 0, 5]):
        frame = Frame(tuple(map(float, up)), None)
        np.testing.assert_allclose(frame.rotation @ (np.array(up) / np.linalg.norm(up)), [0, 0, 1], atol=1e-12)
        np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-12)
    assert measured_scale((0.0, 0.0, 0.0, 0.0, 3.0, 4.0), 2.5) == 0.5


def test_a_folder_without_a_field_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the language stage has not run. Run: python train.py"):
        _locate(ModelFolder(tmp_path / "empty"), "red ball")


def test_a_model_folder_that_does_not_exist_is_called_so_and_not_created(tmp_path):
    gone = ModelFolder(tmp_path / "gone")
    for read in (
        lambda: _locate(gone, "red ball", up=(0.0, -1.0, 0.0)),  # an up direction is stored with the model
        lambda: load_trained(gone),
    ):
        with pytest.raises(InputError, match=f"^No model folder {gone.root}. Correct -m, or train one: python train.py -s"):
            read()
    assert not gone.root.exists()


@pytest.mark.parametrize(
    ("other", "selected"),
    [
        (0.79, [0, 1]),  # as good as the best level: it adds the part that only it answers
        (0.6, [0]),  # a coarse level that holds the thing and its surroundings answers too, but clearly less
    ],
)
def test_levels_that_answer_equally_well_complement_each_other(tmp_path, scene, monkeypatch, other, selected):
    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    session = Session.open(SessionConfig(device="cpu"), write_lifted(tmp_path / "lifted", scene))
    question = session.question(["thing"])
    relevancy = torch.tensor([[0.8, 0.2, 0.1], [0.1, 0.1, other], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]])[..., None]
    question.__dict__["gaussian_relevancy"] = relevancy  # in place of the computed one, which is cached there
    (found,) = ObjectFinder(session.field).find(question, InstanceOptions(neighbours=1, min_gaussians=1))
    assert found.level == "s" and found.mask(4).nonzero()[0].tolist() == selected
