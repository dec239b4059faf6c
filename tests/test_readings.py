"""The three readings of a field, which views are drawn, and whether a phrase is there at all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_answers import BALLS, Words, ask, write_model

from evaluation import stage
from query import session
from query.answer_rule import answer
from query.asking import answer_view
from query.ranking import best_views
from query.session import Session, SessionConfig
from query.views import choose_views
from workspace import InputError, load_array, save_array
from workspace.clock import Clock

READINGS = ("protocol", "fast", "gaussian")


class CountingWords(Words):
    """Remembers every batch that was encoded."""

    def __init__(self):
        self.batches = []

    def embed(self, phrases):
        self.batches.append(tuple(phrases))
        return super().embed(phrases)


@pytest.fixture
def words(monkeypatch):
    words = CountingWords()
    monkeypatch.setattr(session, "text_encoder", lambda *_: words)
    return words


@pytest.fixture
def model(scene, tmp_path, words):
    return write_model(tmp_path / "model", scene)


@pytest.fixture
def opened(model):
    return Session.open(SessionConfig(device="cpu"), model)


@pytest.mark.parametrize("reading", READINGS)
def test_every_reading_finds_the_balls_and_is_named(model, scene, reading):
    metrics = ask(model, labels=scene / "label", reading=reading, level="s")
    assert metrics["reading"] == reading and metrics["localization_hits"] == 11 and metrics["miou"] > 0.3


def test_readings_agree_where_one_opaque_thing_covers_a_pixel(opened):
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    maps = {reading: opened.question(BALLS, reading=reading).relevancy(view) for reading in READINGS}
    full = view.coverage[0] > 0.98
    inside = maps["protocol"][0, 0][full]
    assert full.sum() > 20 and inside.max() > 0.99
    for reading in ("fast", "gaussian"):
        # Two hundredths of a pixel show what is behind, and the steepest slope of the relevancy is 10 / 4.
        torch.testing.assert_close(maps[reading][0, 0][full], inside, atol=0.05, rtol=0)


def test_the_fast_reading_has_the_protocols_winner_at_every_pixel(opened):
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    wide = view.coverage[0] > 0.05  # below that both are rounding
    exact, fast = (opened.question(BALLS, reading=reading).relevancy(view)[0][:, wide] for reading in ("gaussian", "fast"))
    margin = exact.sort(0).values[-1] - exact.sort(0).values[-2] > 0.02
    assert margin.sum() > 300 and (exact.argmax(0) == fast.argmax(0))[margin].all()


def test_a_gaussian_never_seen_is_no_answer(model, opened):
    codes = load_array(model.level_codes("s"))
    save_array(model.level_codes("s"), np.where(np.arange(4)[:, None] == 2, 0, codes))
    field = Session.open(SessionConfig(device="cpu"), model, level="s")
    relevancy = field.question(BALLS).gaussian_relevancy[:, 0]
    assert relevancy[2].eq(0).all() and relevancy.diagonal()[[0, 1, 3]].gt(0.9).all()


@pytest.mark.parametrize("reading", READINGS)
def test_outside_the_protocol_a_mask_keeps_to_what_is_half_covered(opened, reading):
    view = choose_views(opened.scene)[4]

    def everywhere(relevancy):
        found = answer(relevancy)
        return replace(found, mask=torch.ones_like(found.mask))

    question = opened.question(BALLS[:1], reading=reading)
    found = answer_view(question, view, BALLS[:1], everywhere, Clock()).answers["red ball"]
    covered = opened.field.view(view.camera).coverage[found.level] >= 0.5
    assert 0 < covered.float().mean() < 0.3
    assert torch.equal(found.mask, torch.ones_like(covered) if reading == "protocol" else covered)


def test_an_absent_phrase_has_a_mask_but_is_called_absent(model, capsys):
    rows = ask(model, text=("red ball", "things of no kind"), names=("frame_00004",))["rows"]
    assert [row["present"] for row in rows] == [True, False]
    assert [line.split()[-6] for line in capsys.readouterr().out.splitlines()[2:4]] == ["yes", "no"]
    assert "present" not in ask(model, text=("red ball",), names=("frame_00004",), compare="latent")["rows"][0]


def test_the_latent_comparison_has_no_other_reading(model):
    with pytest.raises(InputError, match="--reading fast"):
        ask(model, text=("red ball",), compare="latent", reading="fast")


def test_a_phrase_is_encoded_once(opened, words):
    opened.question(("red ball", "grüner Ball"))
    opened.question(("grüner Ball", "青い玉"))
    opened.question(("red ball",))
    assert words.batches == [("red ball", "grüner Ball"), ("object", "things"), ("青い玉",)]


def test_a_view_renders_the_negatives_once(opened, monkeypatch):
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    opened.question(("red ball",), reading="fast").relevancy(view)
    widths, render = [], view.render
    monkeypatch.setattr(view, "render", lambda channels: widths.append(channels.shape[-1]) or render(channels))
    again = opened.question(("grüner Ball",), reading="fast").relevancy(view)
    assert widths == [1]
    fresh = opened.question(("grüner Ball",), reading="fast").relevancy(opened.field.view(view.camera))
    torch.testing.assert_close(again, fresh, rtol=0, atol=0)


def test_the_views_that_show_most_are_drawn(model, monkeypatch, capsys):
    monkeypatch.setattr(stage, "MOST_VIEWS", 3)
    everywhere = ask(model, text=("red ball", "grüner Ball"), all_views=True)
    assert len(everywhere["rows"]) == 18 and "--all_views" not in capsys.readouterr().out
    drawn = ask(model, text=("red ball", "grüner Ball"))
    assert len(drawn["rows"]) == 6 and "the 3 of 9 views" in capsys.readouterr().out
    assert [row for row in everywhere["rows"] if row["image"] in {row["image"] for row in drawn["rows"]}] == drawn["rows"]
    assert len(ask(model, text=("red ball",), names=tuple(f"frame_0000{i}" for i in range(5)))["rows"]) == 5
    assert len(ask(model, classes=BALLS)["rows"]) == 36


def test_ranking_follows_what_is_seen_of_a_phrase(opened):
    views = choose_views(opened.scene)
    question = opened.question(("red ball",))
    gone = [view for view in views if view.name != "views/frame_00008"]
    # Turned away from the balls, a view shows none of them.
    away = np.diag([-1.0, 1, -1, 1]) @ views[8].camera.world_to_camera
    blind = type(views[8])(type(views[8].camera)(**{**views[8].camera.__dict__, "world_to_camera": away}), views[8].split)
    assert [view.name for view in best_views(question, [blind, *gone], 8)] == [view.name for view in gone]
