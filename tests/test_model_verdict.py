"""Bad reconstructions are called bad, good ones are left in peace."""

from pathlib import Path

import numpy as np
import pytest

from conversion.alignment import compare_poses, similarity
from conversion.model_summary import ModelSummary, summarize_models
from conversion.model_verdict import judge, verdict_table
from conversion.sfm_steps import sequential_pairs

NAMES = [f"{i}.jpg" for i in range(40)]


def poses(names=NAMES, noise=0.0):
    rng = np.random.default_rng(0)
    return {
        name: np.c_[np.eye(3), rng.normal(size=3) + noise * np.random.default_rng(i).normal(size=3)]
        for i, name in enumerate(names)
    }


def summary(mapper="global", placed=None, **changes) -> ModelSummary:
    good = {
        "path": Path("0"), "poses": placed or poses(), "num_points": 9000, "mean_error": 0.5, "mean_track_length": 6.0,
        "cameras": (("OPENCV", 1600, 1066, 1650.0, 1652.0),), "explained": 0.96, "misplaced": (),
    }  # fmt: skip
    return ModelSummary(mapper=mapper, **(good | changes))


def test_a_sound_model_has_no_warnings():
    verdict = judge([summary(), summary("incremental", poses(noise=1e-3))], NAMES)
    assert verdict.warnings == () and verdict.failed == ()
    assert "40 of 40" in verdict_table(verdict.report()) and "incremental mapping: 40 placed" in verdict_table(verdict.report())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"placed": poses(NAMES[:30])}, "only 30 of 40 photographs"),
        ({"mean_error": 1.05}, "above 1.00 px"),  # 1600 wide
        ({"mean_error": 1.05, "cameras": (("PINHOLE", 800, 533, 663.0, 663.0),)}, "above 0.60 px"),
        ({"cameras": (("OPENCV", 800, 533, 797.0, 724.0),)}, "fx 797 and fy 724"),  # measured on a bent model
        ({"explained": 0.796}, "80% of the verified matches"),  # measured on a bent model whose error was fine
        ({"misplaced": ("7.jpg",)}, "misplaced, their matches disagree with their pose: 7.jpg"),
        ({"mean_track_length": 2.4}, "too little overlap"),
        ({"num_points": 900}, "only 900 points"),
    ],
)
def test_what_is_doubtful_is_said(changes, expected):
    verdict = judge([summary(**changes)], NAMES)
    assert len(verdict.warnings) == 1 and expected in verdict.warnings[0]
    assert expected in verdict_table(verdict.report())


PHONE = {"mean_error": 0.81, "cameras": (("OPENCV", 1008, 756, 820.0, 821.0),)}


def test_a_soft_capture_that_both_mappers_agree_on_is_sound():
    """97 photographs of a phone: 0.81 px, 99.1 and 99.0 % explained, centres 0.10 % of the radius apart. It was right."""
    second = summary("incremental", poses(noise=1e-3), **PHONE | {"explained": 0.990})
    verdict = judge([summary(**PHONE, explained=0.991), second], NAMES)
    assert 0.0005 < verdict.agreement.mean_center < 0.002 and verdict.warnings == ()


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (None, "there is no second opinion"),
        ({"placed": poses(noise=0.1)}, "the two mappers differ: centres"),
        ({"placed": poses(noise=1e-3), "explained": 0.90}, "99.1% and 90.0% of the matches explained"),
        ({"placed": poses(NAMES[:30], noise=1e-3)}, "the two mappers differ"),
    ],
)
def test_the_same_error_without_agreement_is_doubtful_and_the_evidence_is_said(second, expected):
    models = [summary(**PHONE, explained=0.991)]
    models += [summary("incremental", **{"explained": 0.95} | PHONE | second)] if second else []
    (warning,) = judge(models, NAMES).warnings
    assert "0.81 px is above 0.70 px" in warning and "may be bent" in warning and expected in warning


def test_an_error_far_too_large_is_said_even_where_the_mappers_agree():
    large = PHONE | {"mean_error": 1.2}
    (warning,) = judge([summary(**large), summary("incremental", poses(noise=1e-3), **large)], NAMES).warnings
    assert "above 1.06 px" in warning and "photographs are soft" in warning and "the two mappers agree" in warning


def test_names_that_failed_are_listed():
    verdict = judge([summary(placed=poses(NAMES[:-1]))], NAMES)
    assert verdict.failed == ("39.jpg",) and "    39.jpg" in verdict_table(verdict.report())


def test_several_models_and_undecided_mappers():
    assert "fell apart into 2 models" in judge([summary(), summary(placed=poses(NAMES[:9]))], NAMES).warnings[0]
    bent = poses(noise=1.0)
    assert "do not tell which is right" in judge([summary(), summary("incremental", bent, explained=0.955)], NAMES).warnings[0]
    assert judge([summary(), summary("incremental", bent, explained=0.80)], NAMES).warnings == ()  # decided


def test_matches_see_a_bent_model_that_its_own_error_does_not(tmp_path):
    import pycolmap

    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_frames_per_rig=8, num_points3D=200, camera_model_id=pycolmap.CameraModelId.OPENCV,
        camera_params=[1280.0, 1280.0, 512.0, 384.0, 0.05, 0.0, 0.0, 0.0],
    )  # fmt: skip
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        model = pycolmap.synthesize_dataset(options, database)
    paths = {name: tmp_path / name for name in ("right", "one_wrong", "few")}
    for path in paths.values():
        path.mkdir()
    model.write(paths["right"])
    name = model.images[min(model.reg_image_ids())].name
    frame = model.images[min(model.reg_image_ids())].frame
    turn = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([0.0, 0.05, 0.0])), np.zeros(3))
    frame.rig_from_world = turn * frame.rig_from_world
    model.write(paths["one_wrong"])
    for frame_id in sorted(model.reg_frame_ids())[:4]:
        model.deregister_frame(frame_id)
    model.write(paths["few"])
    summaries = {s.path.name: s for s in summarize_models(list(paths.values()), ["global"] * 3, tmp_path / "database.db")}
    assert list(summaries) == ["right", "one_wrong", "few"]
    assert summaries["right"].explained == pytest.approx(1.0) and summaries["right"].misplaced == ()
    # 7 of the 28 pairs hold the turned photograph; a turn of 3 degrees leaves next to none of their matches
    assert summaries["one_wrong"].explained == pytest.approx(0.75, abs=0.03) and summaries["one_wrong"].misplaced == (name,)
    assert summaries["few"].explained == pytest.approx(6 / 28, abs=0.01)  # pairs among the four that are left


def test_alignment_undoes_any_similarity():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    truth = {}
    moved = {}
    for i in range(10):
        pose = np.c_[np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(size=3)]
        pose[:, :3] *= np.sign(np.linalg.det(pose[:, :3]))
        center = -pose[:, :3].T @ pose[:, 3]
        turned = pose[:, :3] @ rotation.T
        truth[str(i)], moved[str(i)] = pose, np.c_[turned, -turned @ (2.5 * rotation @ center + [1, 2, 3])]
    agreement = compare_poses(truth, moved)
    assert agreement.cameras == 10 and agreement.max_center < 1e-12 and agreement.max_rotation < 1e-5
    scale, _, translation = similarity(rng.normal(size=(5, 3)), np.ones((5, 3)))
    assert scale == pytest.approx(0) and translation == pytest.approx([1, 1, 1])
    assert compare_poses({"a": truth["0"]}, moved) is None


def test_sequential_pairs_hold_neighbours_and_close_loops():
    names = [f"{i:03d}" for i in range(100)]
    pairs = sequential_pairs(names)
    assert len(pairs) == len(set(pairs)) and all(a < b for a, b in pairs)
    assert all((names[i], names[i + k]) in pairs for i in range(60) for k in (1, 7, 10, 16, 32))
    assert ("000", "090") in pairs  # the end of a round trip with its beginning
    assert len(pairs) < len(names) * 18
