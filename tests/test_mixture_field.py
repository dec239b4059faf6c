"""Questions to a lifted field: every reading against the same computed with whole embeddings, and what is refused."""

import pytest
import torch
from small_answers import BALLS, Words, write_lifted, write_model
from torch.nn import functional as F

from evaluation.stage import QueryConfig, eval_query
from query import session
from query.relevancy import relevancy
from query.render_language import LanguageRenderConfig, render_language
from query.session import Session, SessionConfig
from query.views import choose_views
from workspace import InputError, load_array, read_json, save_array, write_json


@pytest.fixture
def lifted(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "text_encoder", lambda *_: Words())
    return lambda coordinates=6: Session.open(SessionConfig(device="cpu"), write_lifted(tmp_path / "model", scene, coordinates))


def whole_embeddings(field):
    """The mixed embedding of every Gaussian, from the definition."""
    levels = []
    for level, mixed in zip(field.levels, field.mixtures, strict=True):
        levels.append((field.codebook.centroids(level)[mixed.indices] * mixed.weights[..., None]).sum(1))
    return torch.stack(levels, 1)


def expected(field, view, question, reading):
    embeddings, phrases, negatives = whole_embeddings(field), question.embeddings, question.negatives.embeddings
    known = embeddings.norm(dim=-1) > 0
    if reading == "gaussian":
        return view.render(relevancy(F.normalize(embeddings, dim=-1), phrases, negatives).movedim(0, -1) * known[..., None])
    rendered = view.render(embeddings).movedim(1, -1)
    rendered = F.normalize(rendered, dim=-1) if reading == "protocol" else rendered
    return relevancy(rendered, phrases, negatives).movedim(0, 1)


@pytest.mark.parametrize("reading", ["protocol", "fast", "gaussian"])
def test_a_reading_is_that_of_whole_embeddings(lifted, reading):
    opened = lifted()
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    question = opened.question(BALLS, reading=reading)
    # Norms per Gaussian are stored as half floats, 1 in 2048; 10 / 4 is the steepest slope of the relevancy.
    bound = {"protocol": 1e-5, "fast": 1e-5, "gaussian": 2e-3}[reading]
    torch.testing.assert_close(question.relevancy(view), expected(opened.field, view, question, reading), atol=bound, rtol=0)


def test_fewer_coordinates_keep_the_length_where_one_code_covers_a_pixel(lifted):
    opened = lifted(coordinates=2)
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    lengths, exact = view.lengths, view.render(whole_embeddings(opened.field)).norm(dim=1)
    torch.testing.assert_close(lengths[2], exact[2], atol=1e-6, rtol=1e-5)  # level l has a single code
    assert (lengths >= exact - 1e-6).all()
    covered = exact[0] > 0.1
    assert (lengths[0][covered] / exact[0][covered]).max() < 1.25  # mixtures of 0.8 and 0.2 of two codes at right angles


def test_the_next_phrase_in_a_view_renders_one_channel_a_level(lifted, monkeypatch):
    opened = lifted()
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    opened.question(("red ball",)).relevancy(view)
    widths, render = [], view.render
    monkeypatch.setattr(view, "render", lambda channels: widths.append(channels.shape[1:]) or render(channels))
    again = opened.question(("grüner Ball",)).relevancy(view)
    assert widths == [(3, 1)]
    fresh = opened.question(("grüner Ball",)).relevancy(opened.field.view(view.camera))
    torch.testing.assert_close(again, fresh, rtol=0, atol=0)


def test_what_was_never_seen_is_no_answer(lifted):
    opened = lifted()
    question = opened.question(BALLS)
    assert question.gaussian_relevancy[3, 2].eq(0).all() and question.gaussian_relevancy[:3, 2].gt(0).all()
    assert not opened.field.known[3, 2] and opened.field.known.sum() == 11
    # The blue ball is the only thing at the lower right: at level l its pixels are not covered by any embedding.
    view = opened.field.view(choose_views(opened.scene)[4].camera)
    assert view.coverage[0, 84, 116] > 0.9 and view.coverage[2, 84, 116] < 0.05


@pytest.mark.parametrize("reading", ["protocol", "fast", "gaussian"])
def test_every_command_takes_a_lifted_field(lifted, scene, reading):
    model = lifted().field.trained.folder
    eval_query(QueryConfig(model_path=(model.root,), labels=scene / "label", level="s", reading=reading, device="cpu"))
    assert read_json(model.metrics)["localization_hits"] == 11
    render_language(LanguageRenderConfig(model.root, text=("red ball",), reading=reading, skip_train=True, device="cpu"))
    (folder,) = {path.parent for path in model.root.rglob("frame_00000.npy") if "relevancy" in path.parts}
    red = load_array(folder / "frame_00000.npy")
    assert red.shape == (3, 120, 160) and red[0].max() > 0.9


def test_another_codebook_than_the_fields_is_refused(lifted):
    model = lifted().field.trained.folder
    record = read_json(model.language / "stage.json")
    write_json(model.language / "stage.json", {**record, "inputs": {**record["inputs"], "autoencoder": "0" * 64}})
    with pytest.raises(InputError, match=r"another compressor(?s:.*)--include_feature --overwrite"):
        Session.open(SessionConfig(device="cpu"), model)


def test_codes_of_another_kind_than_the_compressors_are_refused(lifted, scene, tmp_path):
    model = lifted().field.trained.folder
    save_array(model.level_codes("m"), load_array(write_model(tmp_path / "other", scene).level_codes("m")))
    with pytest.raises(InputError, match="m.npy"):
        Session.open(SessionConfig(device="cpu"), model)


def test_a_lifted_field_has_no_latent_comparison(lifted):
    model = lifted().field.trained.folder
    with pytest.raises(InputError, match="--compare latent"):
        eval_query(QueryConfig(model_path=(model.root,), text=("red ball",), compare="latent", device="cpu"))
