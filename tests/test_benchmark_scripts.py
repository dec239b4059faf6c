"""Every benchmark script on a generated scene in the benchmark's layout, from photographs to the table, tiny.

The script runs with a `python` that writes its arguments down, and these commands run here, one after another: they are the
script's, without the seconds that each start of Python takes.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from test_scripts import run_script

from toy_world.layouts import LayoutConfig, write_layout

ROOT = Path(__file__).resolve().parents[1]
SIZE = {"width": 96, "height": 72, "views": 9, "objects": 6, "points": 400}
SHORT = {"FEATURES": "mini", "PRESET": "fast", "ITERATIONS": "30"}


def run_benchmark(script, folder, benchmark, scene, monkeypatch, capfd, extra=None):
    """What the script's last command prints, after everything before it."""
    data, output = folder / "data", folder / "output"
    write_layout(LayoutConfig(data, benchmark, (scene,), seed=3, **SIZE))
    arguments = [str(data), str(output)]
    if script == "mipnerf360_ov.sh":
        arguments.insert(1, str(data / "label"))
    variables = {**SHORT, "SCENES": scene, **(extra or {})}
    calls = run_script(ROOT / "scripts" / script, folder / "bin", variables, arguments)
    monkeypatch.chdir(ROOT)
    for call in calls:
        capfd.readouterr()
        if call[0] == "-m":
            monkeypatch.setattr(sys, "argv", call[1:])
            monkeypatch.delitem(sys.modules, call[1], raising=False)
            run = runpy.run_module
        else:
            monkeypatch.setattr(sys, "argv", call)
            run = runpy.run_path
        try:
            run(call[1] if call[0] == "-m" else call[0], run_name="__main__")
        except SystemExit as end:
            assert not end.code, (call, capfd.readouterr().err)
    return capfd.readouterr().out


def ours(out, start):
    line = next(line for line in out.splitlines() if line.startswith(start))
    return [cell for cell in line.split("  ") if cell.strip()][1:]


def test_lerf_ovs(tmp_path, monkeypatch, capfd):
    out = run_benchmark("lerf_ovs.sh", tmp_path, "lerf_ovs", "ramen", monkeypatch, capfd, {"RULE": "langsplat_v2"})
    assert "rule langsplat_v2" in out
    ramen, *others = ours(out, "ours")
    assert 0 <= float(ramen) <= 100 and {cell.strip() for cell in others} == {"-"}


def test_lerf_ovs_3d(tmp_path, monkeypatch, capfd):
    out = run_benchmark(
        "lerf_ovs_3d.sh",
        tmp_path,
        "lerf_ovs",
        "ramen",
        monkeypatch,
        capfd,
        {"PHRASES": "labels", "SEEDS": "0 1", "METHOD": "codebook"},
    )
    assert "±" in ours(out.split("Ours by VALA")[1], "vala_0.6")[1]
    assert "(0 without a prediction)" in out


def test_3d_ovs(tmp_path, monkeypatch, capfd):
    out = run_benchmark("3d_ovs.sh", tmp_path, "3d_ovs", "bed", monkeypatch, capfd)
    assert "mIoU of arg-max masks" in out and 0 <= float(ours(out, "ours")[0]) <= 100


def test_scannet(tmp_path, monkeypatch, capfd):
    out = run_benchmark("scannet.sh", tmp_path, "scannet", "scene0062_00", monkeypatch, capfd, {"METHOD": "codebook"})
    assert len(ours(out, "ours, level any")) == len(ours(out, "control, level any")) == 3
    assert "mean of 1 scenes; of the published ten, without scene0000_00" in out


@pytest.mark.parametrize("kind", ["gags", "goi"])
def test_mipnerf360_ov(tmp_path, monkeypatch, capfd, kind):
    out = run_benchmark(
        "mipnerf360_ov.sh", tmp_path, f"mipnerf360_{kind}", "garden", monkeypatch, capfd, {"LABELS": kind, "LEVEL": "s"}
    )
    assert f"rule {'gags' if kind == 'gags' else 'langsplat'}" in out
    assert 0 <= float(ours(out, "ours")[2]) <= 100


def test_features_of_patches_are_measured_on_gags_labels_at_their_only_level(tmp_path, monkeypatch, capfd):
    features = {"FEATURES": "mini_dense"}
    out = run_benchmark("mipnerf360_ov.sh", tmp_path, "mipnerf360_gags", "garden", monkeypatch, capfd, features)
    assert 0 <= float(ours(out, "ours")[2]) <= 100


def test_a_script_stops_at_the_first_command_that_fails(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/usr/bin/env bash\necho "$1" >>"$RECORD"\n[ "$1" != train.py ]\n')
    python.chmod(0o755)
    record = tmp_path / "record"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(record)}
    done = subprocess.run(["bash", ROOT / "scripts/lerf_ovs.sh", "data", "output"], env=environment, cwd=ROOT, check=False)
    assert done.returncode != 0
    assert record.read_text().split() == ["-m", "preprocess.py", "train_autoencoder.py", "train.py"]
