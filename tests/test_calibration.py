"""Calibration of temperature and negatives on labelled views: what it chooses, where it is used, and what it refuses."""

import dataclasses
import shutil

import pytest
from small_answers import BALLS, Words, embeddings, write_model

from evaluation.calibration import CalibrationConfig, calibrate
from evaluation.stage import QueryConfig, eval_query
from query import session
from query.calibration import Calibration, read_calibration, write_calibration
from query.session import Session, SessionConfig
from workspace import InputError, ModelFolder, read_json, write_json


class BadWords(Words):
    """An encoder one of whose canonical negatives means a ball."""

    negatives = ("object", "confusing")

    def embed(self, phrases):
        rows = super().embed(phrases)
        for i, phrase in enumerate(phrases):
            if phrase == "confusing":
                rows[i] = embeddings()[0][0]
        return rows


@pytest.fixture
def model(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "text_encoder", lambda *_: BadWords())
    return write_model(tmp_path / "model", scene)


def run(model, scene, **settings):
    options = {"labels": scene / "label", "candidates": ("object", "things"), "device": "cpu"}
    calibrate(CalibrationConfig(**{"model_path": model.root, **options, **settings}))


def test_what_confuses_is_dropped_and_later_questions_use_what_was_chosen(model, scene, capsys):
    before = evaluated(model, scene)
    assert before["relevancy"] == {"temperature": 10.0, "negatives": ["object", "confusing"]}
    run(model, scene)
    out = capsys.readouterr().out
    chosen = read_calibration(model)
    assert "confusing" not in chosen.negatives and "preprocess.py --temperature" in out
    recorded = read_json(model.calibration)
    held_out = recorded["figures"]["held-out views"]
    assert held_out["chosen"]["miou"] > held_out["before"]["miou"]
    # every second of the three labelled views
    assert chosen.chosen_in == ("views/frame_00000", "views/frame_00006")
    after = evaluated(model, scene)
    assert after["relevancy"] == {"temperature": chosen.temperature, "negatives": list(chosen.negatives)}
    assert after["miou"] > before["miou"]


def evaluated(model, scene, **settings):
    eval_query(QueryConfig(model_path=(model.root,), labels=scene / "label", device="cpu", **settings))
    return read_json(model.metrics)


def test_flags_come_before_the_calibration(model, scene):
    write_calibration(model, Calibration(3.0, ("things",), "labels", ("a",)), {})
    opened = Session.open(SessionConfig(device="cpu"), model)
    assert opened.relevancy() == {"temperature": 3.0, "negatives": ["things"]}
    flags = dataclasses.replace(opened, config=SessionConfig(device="cpu", temperature=7.0))
    assert flags.relevancy(("object",)) == {"temperature": 7.0, "negatives": ["object"]}
    question = opened.question(BALLS[:1])
    assert question.negatives.temperature == 3.0 and len(question.negatives.embeddings) == 1


def test_nothing_is_recorded_when_nothing_is_better(model, scene, monkeypatch, capsys):
    monkeypatch.setattr(session, "text_encoder", lambda *_: Words())
    monkeypatch.setattr("evaluation.calibration.WORTH", 2.0)  # no choice is worth that
    run(model, scene)
    assert not model.calibration.exists() and "Nothing is better" in capsys.readouterr().out


def test_without_labels_or_with_one_view_it_is_refused(model, scene, tmp_path):
    with pytest.raises(InputError, match="add --labels"):
        run(model, scene, labels=None)
    shutil.copytree(scene / "label", tmp_path / "one")
    for path in sorted((tmp_path / "one").glob("*.json"))[1:]:
        path.unlink()
    with pytest.raises(InputError, match=r"labels 1 view .* two or more"):
        run(model, scene, labels=tmp_path / "one")


@pytest.mark.parametrize("content", [{}, {"chosen": {"temperature": 0.0, "negatives": ["a"], "labels": "l", "chosen_in": []}}])
def test_a_damaged_calibration_is_refused_with_the_command(model, content):
    write_json(model.calibration, content)
    with pytest.raises(InputError, match=r"python -m evaluation\.calibration -m"):
        Session.open(SessionConfig(device="cpu"), ModelFolder(model.root)).relevancy()
