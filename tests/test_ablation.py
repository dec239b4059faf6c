"""The ablation's choices are flags that the programs accept, and its table pairs each with what it differs from."""

import re
import shlex

import pytest
import tyro

from autoencoder.config import AutoencoderConfig
from benchmarks import ablation
from benchmarks.ablation import ASKINGS, FIELDS, LIFTED, OPTIMISED, AblationConfig
from evaluation.rules import rule
from evaluation.stage import QueryConfig
from training.language_config import LanguageTrainConfig
from workspace import write_json


@pytest.mark.parametrize("name", list(FIELDS))
def test_every_field_is_made_by_flags_that_exist(name):
    field = FIELDS[name]
    assert field.base in (OPTIMISED, LIFTED)
    tyro.cli(AutoencoderConfig, args=["-s", "scene", *shlex.split(field.compressor)])
    tyro.cli(LanguageTrainConfig, args=shlex.split(field.language))


@pytest.mark.parametrize("choice", list(ASKINGS))
def test_every_question_is_asked_by_flags_that_exist(choice):
    config = tyro.cli(QueryConfig, args=shlex.split(ASKINGS[choice].flags))
    rule(config.rule, config.mask_thresh)


def test_differences_are_paired_by_world(tmp_path, monkeypatch, capsys):
    """Two worlds of different difficulty: a choice that is worth a point in both has no spread."""
    commands = []

    def run(stage, arguments):
        commands.append((stage, arguments))
        if stage == "train.py":
            folder = re.search(r"-m (\S+)", arguments).group(1)
            (tmp_path / folder / "point_cloud").mkdir(parents=True, exist_ok=True)

    def ask(config):
        world = 30 if "world_1" in str(config.model_path) else 60
        worth = {"gaussian": 1, "fast": world / 10}.get(config.reading, 0) + (
            5 if "lifted_defaults" in str(config.model_path) else 0
        )
        figures = {"localization_accuracy": 0.5, "miou": (world + worth) / 100, "shuffled_miou": 0.01, "queries": 9}
        write_json(ablation.ModelFolder(config.model_path[0]).metrics, figures)

    monkeypatch.setattr(ablation, "_run", run)
    monkeypatch.setattr(ablation, "eval_query", ask)
    settings = AblationConfig(worlds=(0, 1), seeds=(0,), output_path=tmp_path)
    ablation.ablation(settings)
    out = capsys.readouterr().out
    assert re.search(r"optimised defaults +\+50\.0 ± 0\.0 +\+45\.0 ± 21\.2", out)
    assert re.search(r"lifted defaults +optimised defaults +\+0\.0 ± 0\.0 +\+5\.0 ± 0\.0 +2 of 2 +1\.0", out)
    assert re.search(r"lifted: relevancy per Gaussian, rendered +lifted defaults +\+0\.0 ± 0\.0 +\+1\.0 ± 0\.0", out)
    assert re.search(r"optimised: fast: scores rendered +optimised defaults +\+0\.0 ± 0\.0 +\+4\.5 ± 2\.1", out)
    before = len(commands)
    monkeypatch.setattr(ablation, "eval_query", lambda config: pytest.fail("asked again"))
    ablation.ablation(settings)
    assert len(commands) == 2 * before and capsys.readouterr().out == out


def test_the_spread_between_seeds_is_that_of_each_world():
    """Worlds differ by 40 points, the seeds of each by 2 and 4: standard deviations of 1.4 and 2.8."""
    runs = [{"miou": value} for value in (0.50, 0.52, 0.90, 0.94)]
    config = AblationConfig(worlds=(0, 1), seeds=(0, 1))
    assert ablation._between_seeds(runs, "miou", config) == pytest.approx((1.414 + 2.828) / 2, abs=1e-3)
