"""The demo: its commands are ones a user can type, and its summary holds both fields."""

import shlex

from test_scripts import accepted

import demo
from workspace import ModelFolder, read_json, write_json


def test_every_step_is_accepted(monkeypatch, capsys):
    configs = [accepted(shlex.split(command), monkeypatch, capsys) for _, command in demo.steps(demo.DemoConfig())]
    assert sum(getattr(config, "field", None) == "lifted" for config in configs) == 2


def test_the_summary_holds_both_fields(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "steps", lambda config: [])
    model, lifted = ModelFolder(tmp_path), ModelFolder(tmp_path, "lifted")
    write_json(model.rgb_metrics, {"mean": {"test": {"psnr": 31.25}}})
    for folder, first in ((model, 0.5), (lifted, 0.75)):
        write_json(folder.metrics, {"localization_accuracy": first, "miou": first / 2, "shuffled_miou": 0.1, "rows": []})
    demo.demo(demo.DemoConfig(tmp_path))
    summary = read_json(tmp_path / "eval/metrics.json")
    assert (summary["localization_accuracy"], summary["miou"]) == (0.5, 0.25)
    assert (summary["lifted_localization_accuracy"], summary["lifted_miou"]) == (0.75, 0.375)
    assert summary["psnr"] == 31.25 and summary["demo_seconds"] >= 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["optimised", "0.500", "0.250", "0.100"] in shown and ["lifted", "0.750", "0.375", "0.100"] in shown
