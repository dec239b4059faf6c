"""Flags of stage 1 that do not go together, refused before any work."""

from pathlib import Path

import pytest

from features.preprocessing import PreprocessConfig, preprocess
from workspace import InputError


def test_a_scene_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"No folder .*typo\.$"):
        preprocess(PreprocessConfig(tmp_path / "typo", features="mini"))


@pytest.mark.parametrize(
    ("features", "given", "message"),
    [
        (
            "mini",
            {"clip_model": "PE-Core-B-16"},
            "--clip_model PE-Core-B-16 does not apply to --features mini; .* sam_clip, .*own",
        ),
        ("dino", {"negatives": ("wall", "floor")}, "--negatives wall floor does not apply to --features dino"),
        ("sam_clip", {"masks": Path("here")}, "--masks here does not apply to --features sam_clip; the flag is for own"),
        ("clip_dense", {"crop_resize": "encoder"}, "--crop_resize is for crops of segments"),
        ("dino", {"square": 518, "dino_side": 700}, "--dino_side and --square are two ways"),
        (
            "own",
            {"masks": Path("a"), "embeddings": Path("b"), "crop_resize": "encoder"},
            "--crop_resize is for crops that CLIP embeds; with --embeddings none are",
        ),
    ],
)
def test_flags_of_other_extractors_are_refused(tmp_path, features, given, message):
    with pytest.raises(InputError, match=message):
        preprocess(PreprocessConfig(tmp_path, features=features, device="cpu", **given))


def test_a_preset_is_accepted_with_all_features_so_that_scripts_can_hand_it_on(tmp_path):
    with pytest.raises(InputError, match="(?i)photographs|images"):  # of an empty folder: the flags have passed
        preprocess(PreprocessConfig(tmp_path, features="mini", preset="fast", device="cpu"))
