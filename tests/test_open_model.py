"""The library for programs, and the examples of its page."""

import json
import re
from pathlib import Path

import jaxtyping
import jsonschema
import numpy as np
import pytest
from small_answers import BALLS, CENTERS, Words, embeddings, write_lifted, write_model, write_scene

from query import Edits, open_model
from query.locate import LocateConfig, locate
from query.objects.views import SEEN
from scene.ply import read_vertices
from workspace import InputError, ModelFolder, load_array, read_json

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = {"neighbours": 1, "min_gaussians": 1, "grow": 1.0, "threshold": 0.95}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    return write_lifted(tmp_path / "model", write_scene(tmp_path / "scene"))


def _model(folder):
    return open_model(folder.root, folder.field, device="cpu")


def _clicked(model):
    camera = model.camera("frame_00004")
    return model.at(camera, *model.ask(BALLS[0], **OPTIONS).point(camera))


@pytest.mark.parametrize("write", [write_lifted, write_model])
def test_a_phrase_gives_gaussians_instances_masks_and_points(tmp_path, monkeypatch, write):
    """Of a lifted and of an optimised field."""
    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    model = _model(write(tmp_path / "model", write_scene(tmp_path / "scene")))
    for ball, phrase in enumerate(BALLS):
        answer = model.ask(phrase, **OPTIONS)
        assert np.flatnonzero(answer.gaussians).tolist() == [ball] and answer.level == "s"
        (one,) = answer.objects(views=2)
        np.testing.assert_allclose(one.center, CENTERS[ball], atol=1e-6)
        assert len(one.views) == 2 and one.score == pytest.approx(answer.relevancy[ball])
        camera = model.camera("frame_00004")
        mask, (x, y) = answer.mask(camera), answer.point(camera)
        assert mask.shape == (camera.height, camera.width) and mask[y, x] and 0 < mask.mean() < 0.2
        assert answer.relevancy_map(camera)[y, x] > SEEN
        assert model.names(model.at(camera, x, y), BALLS)[0].phrase == phrase


def test_what_is_not_here_has_no_instance_no_mask_and_no_point(folder):
    model = _model(folder)
    answer = model.ask("something else", **OPTIONS)
    camera = model.camera("frame_00004")
    assert not answer.instances and not answer.gaussians.any() and not answer.mask(camera).any()
    assert answer.point(camera) is None and answer.objects() == []


def test_the_document_is_that_of_locate(folder):
    locate(LocateConfig(model_path=folder.root, text=BALLS[:2], device="cpu", **OPTIONS))
    model = _model(folder)
    document = model.document(model.ask_all(BALLS[:2], **OPTIONS))
    jsonschema.validate(document, json.loads((ROOT / "docs/objects.schema.json").read_text()))
    written = read_json(folder.located)
    assert document == written


def test_saving_writes_what_locate_writes(folder, tmp_path):
    model = _model(folder)
    answer = model.ask(BALLS[2], **OPTIONS)
    answer.save(Edits(extract=True, remove=True))
    assert load_array(folder.object_indices(BALLS[2], 1)).tolist() == [2]
    trained = read_vertices(folder.point_cloud(7))
    assert read_vertices(folder.object_splats(BALLS[2], "instance_1")).tobytes() == trained[[2]].tobytes()
    assert read_vertices(folder.object_splats(BALLS[2], "removed")).tobytes() == trained[[0, 1, 3]].tobytes()
    assert [one["phrase"] for one in read_json(folder.located)["objects"]] == [BALLS[2]]


def test_another_threshold_compares_nothing_again(folder, monkeypatch):
    model = _model(folder)
    first = model.ask(BALLS[0], **OPTIONS)
    monkeypatch.setattr(model.session.memory, "embed", lambda phrases: pytest.fail("encoded again"))
    lower = model.ask(BALLS[0], **{**OPTIONS, "threshold": 0.9})
    assert lower.relevancy is first.relevancy and np.flatnonzero(lower.gaussians).tolist() == [0, 3]
    with pytest.raises(pytest.fail.Exception):
        model.ask(BALLS[0], negatives=[BALLS[1]], **OPTIONS)  # another question


def test_the_lifted_field_is_asked_when_there_are_two(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    scene = write_scene(tmp_path / "scene")
    lifted = write_lifted(tmp_path / "lifted", scene)
    published = write_model(tmp_path / "model", scene)
    for stage in ("autoencoder", "language"):
        shutil.copytree(lifted.root / stage / lifted.field, published.root / stage / "lifted")
    assert open_model(published.root, device="cpu").folder.field == "lifted"
    assert open_model(published.root, "published", device="cpu").folder.field == "published"
    shutil.rmtree(published.root / "language" / "lifted")
    assert open_model(published.root, device="cpu").folder.field == "published"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.ask("red ball", threshold=1.5), "between 0 and 1"),
        (lambda model: model.ask("red ball", threshold="0.5"), "--threshold 0.5: expected a value between 0 and 1"),
        (lambda model: model.ask("red ball", grow=None), "--grow None: expected a share"),
        (lambda model: model.ask("red ball", rule="best"), "--rule best: expected fixed, relative, otsu"),
        (lambda model: model.ask("red ball", neighbours=None), "--neighbours None: expected a whole number"),
        (lambda model: model.ask("red ball", min_gaussians="20"), "--min_gaussians 20: expected a whole number"),
        (lambda model: model.ask("red ball", instances=1.5), "--instances 1.5: expected a whole number"),
        (lambda model: model.ask("red ball", treshold=0.5), "no option treshold; there are rule, threshold"),
        (lambda model: model.ask("red ball", level="x"), "no level 'x'"),
        (lambda model: model.ask("red ball", level=["s"]), r"no level \['s'\]"),
        (lambda model: model.ask(" "), "empty phrase"),
        (lambda model: model.ask(5), "5 is no phrase"),
        (lambda model: model.ask("red ball", negatives="wall"), "'wall' is no list of phrases"),
        (lambda model: model.ask_all("red ball"), "'red ball' is no list of phrases"),
        (lambda model: model.ask_all(None), "None is no list of phrases"),
        (lambda model: model.names(_clicked(model), "red ball"), "'red ball' is no list of phrases"),
        (lambda model: model.at(model.camera("frame_00004"), 1.5, 2), "Pixel 1.5, 2: expected whole numbers"),
        (lambda model: model.camera(4), "no image for camera '4'"),
        (lambda model: Edits(recolor=(0, 0, 300)), "--recolor 0 0 300"),
        (lambda model: Edits(recolor=(0, 0)), "--recolor 0 0: expected red, green and blue"),
        (lambda model: model.camera("nowhere"), "no image for camera 'nowhere'"),
        (lambda model: open_model(model.folder.root, "other"), "no field 'other'"),
        (lambda model: open_model(model.folder.root / "nothing"), "python train.py"),
    ],
)
def test_wrong_input_is_one_clear_error(folder, call, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users: else the tests' own check comes first
    with pytest.raises(InputError, match=message):
        call(_model(folder))


def test_no_phrases_have_no_answers(folder):
    model = _model(folder)
    assert model.ask_all([]) == [] and model.names(_clicked(model), []) == []


def test_the_examples_of_the_page_run(folder, tmp_path, monkeypatch, capsys):
    """On a model whose balls are called as the page calls its objects."""
    balls, negatives = embeddings()
    named = {"red mug": balls[0], "wooden spoon": balls[1], "table": balls[2]}

    class Renamed(Words):
        def embed(self, phrases):
            import torch

            return torch.stack([named.get(phrase, negatives[0]) for phrase in phrases])

    monkeypatch.setattr("query.session.text_encoder", lambda *_: Renamed())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").mkdir()
    (tmp_path / "output/mine").symlink_to(folder.root)
    page = (ROOT / "docs/python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 2
    code = "\n".join(blocks).replace("min_gaussians=20", "min_gaussians=1, neighbours=1")
    exec(compile(code, "docs/python.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "red mug" in printed and f"{CENTERS[0][0]:.2f}" in printed
    assert ModelFolder(tmp_path / "output/mine").located.exists()
