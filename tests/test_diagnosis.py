"""doctor.py --weights tells weights that know the photographs from random ones; doctor.py --plan covers every stage."""

import numpy as np
import pytest
import torch
from small_networks import small_clip, small_dino

import doctor
from diagnosis import plan, weights_check
from diagnosis.meaning import PHOTOGRAPHS, PHRASES, judged, verdict
from diagnosis.stages import StageCosts
from features.cost import Cost
from features.grid_store import PatchGrid
from features.segment_store import Segments

WIDTH = 64


class Words:
    """A text encoder whose phrases have nothing in common."""

    negatives = ("object", "things")
    temperature = 10.0

    def embed(self, phrases):
        known = torch.eye(WIDTH)
        return torch.stack([known[(*PHRASES, *self.negatives).index(phrase)] for phrase in phrases])


def patches(photograph, phrase, box):
    """Tokens of noise, but `phrase` in the middle of `box`."""
    height, width = photograph.read().shape[:2]
    tokens = np.random.default_rng(0).normal(size=(20, 30, WIDTH)).astype(np.float16)
    x, y = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    tokens[int(20 * y), int(30 * x)] = 8 * Words().embed([phrase])[0].numpy()
    return PatchGrid(tokens)


def test_what_every_photograph_shows_passes():
    found = [judged(photograph, patches(photograph, photograph.phrase, photograph.box), Words()) for photograph in PHOTOGRAPHS]
    passes, sentence = verdict(found)
    assert passes and "3 of 3" in sentence and "one in 1,000" in sentence


def test_a_false_phrase_a_wrong_place_or_tokens_that_ignore_the_picture_fail():
    cup = PHOTOGRAPHS[0]
    false = judged(cup, patches(cup, "a banana", cup.box), Words())
    assert false.best == "a banana" and not false.right and "WRONG" in str(false)
    elsewhere = judged(cup, patches(cup, cup.phrase, (560, 0, 600, 30)), Words())
    assert elsewhere.best == cup.phrase and not elsewhere.right
    same = PatchGrid(np.ones((20, 30, WIDTH), np.float16))
    assert not judged(cup, same, Words()).plausible
    assert not verdict([false])[0] and "FAILS by meaning" in verdict([false])[1]


def test_segments_are_placed_by_their_pixels():
    cat = PHOTOGRAPHS[1]
    height, width = cat.read().shape[:2]
    rows = np.random.default_rng(0).normal(size=(12, WIDTH)).astype(np.float32)
    rows[7] = Words().embed([cat.phrase])[0].numpy()
    maps = np.full((4, height, width), -1, np.int32)
    maps[:] = np.arange(12).repeat(width // 12 + 1)[:width] % 12
    answer = judged(cat, Segments(rows, maps), Words())
    assert answer.right and answer.plausible and "12 segments" in str(answer)
    assert abs(answer.point[0] - 7.5 * (width // 12 + 1)) <= 2
    specks = np.full_like(maps, -1)
    specks[:, 0, 0] = 7
    assert not judged(cat, Segments(rows, specks), Words()).plausible


def test_random_weights_fail_and_missing_ones_are_not_called_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    name, weights = small_clip(tmp_path)
    dino, dino_weights = small_dino(tmp_path, monkeypatch)
    head = {"linear_layer.weight": torch.randn(768, 512), "linear_layer.bias": torch.zeros(768)}
    head |= {"hidden_layers.0.weight": torch.randn(768, 768), "hidden_layers.0.bias": torch.zeros(768)}
    torch.save(head, tmp_path / "head.pth")

    class Text(Words):
        def embed(self, phrases):
            return super().embed(phrases).repeat(1, 6)  # the small network is 384 wide

    monkeypatch.setattr("features.dino.Dino.text_encoder", lambda *_: Text())
    flags = ["--clip_model", name, "--clip_pretrained", str(weights), "--sam_ckpt_path", str(tmp_path / "none.pth")]
    flags += ["--dino_model", dino, "--dino_ckpt", str(dino_weights), "--talk2dino_ckpt", str(tmp_path / "head.pth")]
    assert doctor.main(["--weights", *flags]) == 1
    out = capsys.readouterr().out
    assert "DINOv2 + Talk2DINO FAILS by meaning" in out and "head.pth: sha256" in out
    assert "SAM + CLIP\n  not checked:" in out and "none.pth" in out
    assert "1 of 2 pairs were NOT checked" in out


@pytest.mark.parametrize("passes", [True, False])
def test_the_exit_code_is_the_verdict_of_all_that_is_here(monkeypatch, passes):
    results = iter([True, passes])
    monkeypatch.setattr(weights_check, "_check", lambda *_: next(results))
    assert doctor.main(["--weights"]) == (0 if passes else 1)


def test_the_plan_recommends_the_first_that_is_fast_and_fits(monkeypatch, tmp_path, capsys):
    from PIL import Image

    for index in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48)).save(tmp_path / "images" / f"{index}.png")

    def cost(options, image, device, threads, short):
        assert short and image.shape == (48, 64, 3)
        if options.segmenter == "sam2":
            raise RuntimeError("no such operator")
        seconds = {None: 4000.0, "edgetam": 10.0, "graph": 1.0}[options.segmenter]
        memory = 900e9 if options.segmenter == "edgetam" else 1e9
        return Cost({"all": seconds}, seconds, memory, 0.0, {"segments": 1})

    monkeypatch.setattr(plan, "photograph_cost", cost)
    monkeypatch.setattr(plan, "find_spec", lambda package: object())
    monkeypatch.setattr(plan, "in_process", lambda *_: StageCosts(0.1, 1e-5, 0.5, 0.25, 1e9))
    assert doctor.main(["--plan", str(tmp_path)]) == 0
    out, progress = capsys.readouterr()
    assert "measuring --features sam_clip --segmenter graph\n" in progress
    assert "3 photographs, used at 64x48" in out and "no such operator" in out and "(too much)" in out
    assert f"python preprocess.py -s {tmp_path} --features sam_clip --segmenter graph\n" in out
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "3.3 h" in lines["--features sam_clip"]  # 3 x 4000 s
    assert lines["3 train.py --preset fast"].rstrip().endswith("2 min")  # 1,500 x 0.1 s


def test_the_plan_of_no_scene_is_an_error_of_one_line(tmp_path, capsys):
    assert doctor.main(["--plan", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
