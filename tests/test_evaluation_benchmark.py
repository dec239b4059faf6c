"""Benchmark tables: means as papers take them, query-weighted means, spread; and the file names of phrases."""

import re
from statistics import fmean

import pytest

from evaluation.benchmark import BenchmarkConfig, benchmark
from evaluation.catalogue import PROTOCOLS
from evaluation.judging import JudgedRow
from evaluation.scores import by_split, over_runs, summary, weighted_by_query
from query.views import HELD_OUT, TRAINING
from workspace import InputError, ModelFolder, read_json, write_json
from workspace.record_types import EvalRecord
from workspace.slugs import slug
from workspace.stage_record import stage

QUERIES = {"ramen": 71, "figurines": 56, "teatime": 59, "waldo_kitchen": 22}


def row(image="a", phrase="mug", split=TRAINING, **measures):
    return JudgedRow(image, split, phrase, "s", 0.9, (1, 2), "m", 1, 0.1, True, **measures)


def test_a_summary_is_the_mean_over_view_and_phrase_pairs():
    rows = [
        row("a", "mug", iou=1.0, localized=True),
        row("b", "mug", iou=0.0, localized=False, split=HELD_OUT),
        row("a", "hat", iou=0.8, localized=True),
        row("a", "unlabelled"),
    ]
    found = summary(rows)
    assert found["queries"] == 3 and found["localization_hits"] == 2 and found["views"] == 2
    assert found["miou"] == pytest.approx(0.6)
    assert found["miou_by_phrase"] == pytest.approx((0.5 + 0.8) / 2)
    assert found["miou_by_view"] == pytest.approx((0.9 + 0.0) / 2)
    assert "shuffled_miou" not in found and "argmax_miou" not in found
    assert by_split(rows)[HELD_OUT]["queries"] == 1
    assert summary([row()]) == {}


def test_weighting_by_query_is_not_the_mean_of_scenes():
    """LangSplat's published localisation: 84.3 as the mean of the scenes, 81.7 weighted by query."""
    lerf_ovs = PROTOCOLS["lerf_ovs"]
    published = dict(zip(lerf_ovs.scenes, lerf_ovs.measures[0].published["LangSplat"], strict=False))
    scenes = [{"queries": n, "localization_accuracy": published[name] / 100} for name, n in QUERIES.items()]
    assert fmean(scene["localization_accuracy"] for scene in scenes) == pytest.approx(0.843, abs=0.0005)
    assert weighted_by_query(scenes, "localization_accuracy") == pytest.approx(0.817, abs=0.0005)


def evaluated(folder, scene, accuracy, miou, protocol="lerf_ovs", **flags):
    model, queries = ModelFolder(folder), QUERIES[scene]
    figures = {
        "queries": queries,
        "localization_accuracy": accuracy,
        "localization_hits": round(accuracy * queries),
        "miou": miou,
    }
    asked = {"mask_thresh": 0.4, "level": None, "compare": "decoded", "resolution": None, "split": "all", **flags}
    relevancy = {"temperature": 10.0, "negatives": ["object", "things", "stuff", "texture"]}
    procedure = {"field": "published", "rule": "langsplat", "reading": "protocol", "levels": ["s", "m", "l"]}
    with stage(model.evaluation, EvalRecord, asked, {}):
        metrics = {"scene": scene, "protocol": protocol, **procedure, "relevancy": relevancy, **figures}
        write_json(model.metrics, metrics | {"by_split": {"training": figures}, "rows": []})
    return folder


def test_the_table_stands_beside_the_published_one(tmp_path, capsys):
    folders = [evaluated(tmp_path / scene, scene, 0.75, 0.5) for scene in QUERIES]
    folders.append(evaluated(tmp_path / "again", "ramen", 0.85, 0.6))
    benchmark(BenchmarkConfig(tuple(folders)))
    out = capsys.readouterr().out
    lines = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert ["LangSplat", "73.2", "80.4", "88.1", "95.5", "84.3"] in lines
    assert ["ours", "80.0±7.1", "75.0", "75.0", "75.0", "76.3"] in lines or [
        "ours",
        "80.0±7.1",
        "75.0",
        "75.0",
        "75.0",
        "76.2",
    ] in lines
    assert "field published; rule langsplat; threshold 0.4; reading protocol; levels s m l; temperature 10" in out
    assert "/208 localised" in out and "on training views: 208, on held-out views: 0" in out


def test_repetitions_of_all_scenes_give_the_overall_a_spread(tmp_path, capsys):
    """The first of each scene are one run of the benchmark (means 0.5 and 0.7), whatever each scene varies by."""
    folders = []
    for i, scene in enumerate(QUERIES):
        sign = (-1) ** i
        folders.append(evaluated(tmp_path / scene / "0", scene, 0.5 + 0.2 * sign, 0.5))
        folders.append(evaluated(tmp_path / scene / "1", scene, 0.7 - 0.2 * sign, 0.5))
    benchmark(BenchmarkConfig(tuple(folders)))
    ours = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("ours"))
    assert re.split(r"\s{2,}", ours) == ["ours", "60.0±14.1", "60.0±42.4", "60.0±14.1", "60.0±42.4", "60.0±14.1"]


def test_a_measure_that_is_undefined_in_a_run_has_no_mean():
    """GOI's precision of a mask that is empty is 0 / 0, and so is the mean of its scene."""
    found = over_runs([{"miou": 0.5, "goi_mp": None, "views": 3}, {"miou": 0.7, "goi_mp": 0.9, "views": 3}])
    assert found["miou"]["mean"] == pytest.approx(0.6) and "views" not in found
    assert found["goi_mp"] == {"mean": None, "std": None, "values": [None, 0.9]}


def test_an_undefined_measure_is_a_dash_in_the_table(tmp_path, capsys):
    for run, iou in enumerate((0.5, None)):
        model = ModelFolder(evaluated(tmp_path / str(run), "teatime", 0.5, 0.5, "mipnerf360_goi"))
        write_json(model.metrics, read_json(model.metrics) | {"scene": "room", "goi_iou": iou, "goi_iou_missing_as_zero": 0.4})
    benchmark(BenchmarkConfig((tmp_path / "0", tmp_path / "1"), protocol="mipnerf360_goi"))
    skipped, zero = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ours")]
    assert re.split(r"\s{2,}", skipped)[1] == "-" and re.split(r"\s{2,}", zero)[1] == "40.0±0.0"


def test_a_missing_scene_leaves_the_overall_out(tmp_path, capsys):
    benchmark(BenchmarkConfig((evaluated(tmp_path / "t", "teatime", 0.5, 0.5),)))
    assert re.search(r"ours\s+-\s+-\s+50\.0\s+-\s+-\n", capsys.readouterr().out)


def test_models_of_another_protocol_or_scene_are_refused(tmp_path):
    with pytest.raises(InputError, match="protocol lerf_ovs, not 3d_ovs"):
        benchmark(BenchmarkConfig((evaluated(tmp_path / "a", "teatime", 0.5, 0.5),), protocol="3d_ovs"))
    with pytest.raises(InputError, match="teatime"):
        benchmark(BenchmarkConfig((evaluated(tmp_path / "b", "teatime", 0.5, 0.5, "3d_ovs"),), protocol="3d_ovs"))
    with pytest.raises(InputError, match=f"No model folder {tmp_path / 'nothing'}"):
        benchmark(BenchmarkConfig((tmp_path / "nothing",)))
    (tmp_path / "unasked").mkdir()
    with pytest.raises(InputError, match="eval_query.py"):
        benchmark(BenchmarkConfig((tmp_path / "unasked",)))


@pytest.mark.parametrize("flags", [{"mask_thresh": 0.2}, {"level": "m"}, {"split": "test"}, {"compare": "latent"}])
def test_figures_of_other_settings_do_not_share_a_table(tmp_path, flags):
    folders = evaluated(tmp_path / "a", "teatime", 0.5, 0.5), evaluated(tmp_path / "b", "ramen", 0.5, 0.5, **flags)
    with pytest.raises(InputError, match=r"answered differently(?s:.*)the same flags of eval_query.py"):
        benchmark(BenchmarkConfig(folders))


def test_a_part_of_the_benchmark_is_not_tabled(tmp_path):
    for flags, shown in (
        ({"names": ["frame_00001"]}, "--names frame_00001"),
        ({"classes": ["a mug", "hat"]}, "--classes 'a mug' hat"),
    ):
        folder = evaluated(tmp_path / shown[2:7], "teatime", 0.5, 0.5, **flags)
        with pytest.raises(InputError, match=rf"only a part of the benchmark \({shown}\)"):
            benchmark(BenchmarkConfig((folder,)))


def test_one_model_is_no_repetition_of_itself(tmp_path):
    folder = evaluated(tmp_path / "a", "teatime", 0.5, 0.5)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match=r"link and .*a are one model folder"):
        benchmark(BenchmarkConfig((folder, tmp_path / "link")))


def test_phrases_become_distinct_safe_file_names():
    phrases = [
        "red mug",
        "Red mug",
        "red  mug",
        "red_mug",
        "red/mug",
        "red mug ",
        "snowman's hat",
        "Schüssel",
        "Schussel",
        "青い玉",
        "..",
        "x" * 300,
    ]
    names = [slug(phrase) for phrase in phrases]
    assert names[0] == "red_mug" and names[7].startswith("schussel-")
    assert len({name.lower() for name in names}) == len(phrases)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,80}", name) for name in names)
