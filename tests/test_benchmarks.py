"""Every benchmark at a tiny size: it starts, its checks hold, and it prints its table. The times it prints mean nothing."""

import importlib
import json
import runpy
import shlex
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from colmap_scene import write_scene
from PIL import Image
from small_answers import BALLS, Words, write_lifted
from small_answers import write_scene as write_answers_scene
from small_features import write_small_segments
from small_scene import write_small_scene

from benchmarks import cpu_scenes
from evaluation.labels import read_lerf_ovs
from features.graph_segments import graph_segments
from workspace import SceneFolder, read_json

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "ablation": "tests/test_ablation.py",
    "protocols": "runs the scripts that tests/test_benchmark_scripts.py runs",
    "object_removal": "is a part of objects",
    "cpu_scenes": "is what cpu_rasterizer measures",
    "gpu_scenes": "is what gpu_rasterizer measures",
    "gpu_timing": "is how gpu_rasterizer measures",
    "published_query": "is what query compares with",
    "stage_costs": "runs the commands of the stages, which the tests of each stage run",
    "generated_room": "is the scene of query and lifting",
    "timing": "is how query, viewer, lifting and both iterations are timed",
    "clip_width": "tests/test_clip_width.py",
    "cuda_code": "needs nvcc for minutes",
}


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a benchmark as if it were started with these arguments."""

    def load(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", *map(str, arguments)])
        sys.modules.pop(f"benchmarks.{name}", None)
        return importlib.import_module(f"benchmarks.{name}")

    return load


@pytest.fixture
def in_process(monkeypatch):
    """A function that runs a command of the pipeline in this process, as `python <line>` would; it must not fail."""

    def run(line):
        words = shlex.split(line)
        module = words[0] == "-m"
        name, *arguments = words[module:]
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        try:
            if module:
                runpy.run_module(name, run_name="__main__")
            else:
                runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as end:
            assert not end.code, line

    return run


def test_every_benchmark_is_run_by_a_test():
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    here = Path(__file__).read_text()
    assert {name for name in names - ELSEWHERE.keys() if f'benchmark("{name}"' not in here} == set()
    assert ELSEWHERE.keys() <= names
    makefile = (ROOT / "Makefile").read_text()
    listed = next(line for line in makefile.splitlines() if line.startswith("BENCHMARKS")).split(":=")[1].split()
    assert set(listed) <= names


def test_segment_parts(benchmark, monkeypatch, tmp_path, capsys):
    module = benchmark("segment_parts")
    small = {"views": 9, "objects": 4, "points": 200}
    monkeypatch.setattr(module, "write_toy_world", partial(module.write_toy_world, **small))
    module.main(module.PartsConfig(worlds=(3,), variants=("default", "twice the size"), width=160, output_path=tmp_path))
    labelled = read_lerf_ovs(SceneFolder(tmp_path / "world_3" / "scene").labels)
    parts = sum("'s " in phrase for frame in labelled for phrase in frame.phrases)
    things = sum(len(frame.phrases) for frame in labelled) - parts
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert parts and all(f" of {parts} " in row and row.rstrip().endswith(f" of {things}") for row in rows)
    image = np.asarray(Image.open(next((tmp_path / "world_3" / "scene" / "images").iterdir())))
    maps = module.VARIANTS["default"].segments(image)
    assert all(np.array_equal(maps[index], level) for index, level in enumerate(graph_segments(image).values()))
    assert module.VARIANTS["twice the size"].segments(image).shape == maps.shape


def test_cpu_rasterizer(benchmark, monkeypatch, capsys):
    if not shutil.which("g++"):
        pytest.skip("the yardstick is compiled by g++")
    module = benchmark("cpu_rasterizer")
    monkeypatch.setattr(cpu_scenes, "WIDTH", 48)
    monkeypatch.setattr(cpu_scenes, "HEIGHT", 32)
    random = module.Scene.random
    monkeypatch.setattr(module.Scene, "random", lambda count, scale, views=1: random(min(count, 400), 0.05, views))
    threads = torch.get_num_threads()
    module.main(module.Config(repeats=1, views=3))
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "Against D at N = 200,000" in printed
    rows = [line.split("|")[1:-1] for line in printed.split("3 views in turn")[1].split("\n\nTiles")[0].splitlines()[4:]]
    assert [int(row[3]) for row in rows] == 6 * [3]  # memory for all


def test_cpu_roofline(benchmark, monkeypatch, tmp_path, capsys):
    if not shutil.which("g++"):
        pytest.skip("the loops that measure the roofs are compiled by g++")
    module = benchmark("cpu_roofline")
    monkeypatch.setattr(cpu_scenes, "WIDTH", 48)
    monkeypatch.setattr(cpu_scenes, "HEIGHT", 32)
    random = module.Scene.random
    monkeypatch.setattr(module.Scene, "random", lambda count, scale: random(300, 0.05))
    monkeypatch.setattr(module, "peaks", lambda: (100.0, 10.0))
    threads = torch.get_num_threads()
    module.main(module.Config(tmp_path / "roofline.svg", repeats=1))
    torch.set_num_threads(threads)
    points = [e for e in ElementTree.parse(tmp_path / "roofline.svg").iter() if e.tag.endswith("circle")]
    assert len(points) == 6 and "16-bit weights kept" in capsys.readouterr().out


def test_cpu_builds(benchmark, monkeypatch, capsys):
    module = benchmark("cpu_builds")
    monkeypatch.setattr(cpu_scenes, "WIDTH", 48)
    monkeypatch.setattr(cpu_scenes, "HEIGHT", 32)
    threads = torch.get_num_threads()
    module.main(module.Config(repeats=1, views=2, count=300))
    torch.set_num_threads(threads)
    times = json.loads(capsys.readouterr().out)
    assert len(times) == 11 and all(len(pair) == 2 and min(pair) > 0 for pair in times.values())


def test_rgb_iteration(benchmark, monkeypatch, capsys):
    module = benchmark("rgb_iteration")
    module.compare(60, 24, 16)
    module.break_down(60, 24, 16, 1)
    printed = capsys.readouterr().out
    assert "ratio" in printed and "densify" in printed


def test_language_iteration(benchmark, tmp_path, capsys):
    from toy_world.generate import write_toy_world
    from training.rgb_trainer import RgbTrainConfig, train_rgb

    scene, model = tmp_path / "scene", tmp_path / "model"
    write_toy_world(scene, seed=0, width=64, height=48, views=9)
    train_rgb(RgbTrainConfig(scene, model, eval=True, preset="fast", iterations=5, device="cpu"))
    module = benchmark("language_iteration")
    module.main(module.Config(scene, model, iterations=2))
    printed = capsys.readouterr().out
    differences = [float(line.split("differ by ")[1].split()[0]) for line in printed.splitlines() if "differ by" in line]
    assert len(differences) == 3 and max(differences) < 1e-4  # the same codes after the same iterations
    assert "joint iteration" in printed


def test_mask_nms(benchmark, monkeypatch, capsys):
    module = benchmark("mask_nms", 6, 1)
    monkeypatch.setattr(module, "WIDTH", 96)
    monkeypatch.setattr(module, "HEIGHT", 72)
    module.main()
    assert "double loop over full frames" in capsys.readouterr().out


def test_autoencoder_fitting(benchmark, capsys):
    benchmark("autoencoder_fitting").main(epochs=20, rows=200)
    assert "ratio to the plain loop" in capsys.readouterr().out
    benchmark("autoencoder_fitting").patches(tokens=2000, width=32, measured=1)
    assert "components" in capsys.readouterr().out


def test_query(benchmark, capsys):
    module = benchmark("query")
    module.main(module.QueryBenchmarkConfig(width=40, height=32, gaussians=200, phrases=(1, 2), repeats=1))
    assert "published" in capsys.readouterr().out


def test_readings(benchmark, monkeypatch, tmp_path, capsys):
    from query import session

    monkeypatch.setattr(session, "text_encoder", lambda *_: Words())
    model = write_lifted(tmp_path / "model", write_answers_scene(tmp_path / "scene"))
    module = benchmark("readings")
    module.main(module.ReadingsConfig(model_path=model.root, text=BALLS[:2], device="cpu"))
    assert "length from 6 coordinates over the exact one" in capsys.readouterr().out


def test_viewer(benchmark, monkeypatch, capsys):
    module = benchmark("viewer")
    monkeypatch.setattr(module, "CELLS", 2)
    module.main(module.ViewerBenchmarkConfig(gaussians=(600,), size=80, repeats=1))
    printed = capsys.readouterr().out
    assert "Enter: a new phrase" in printed and "while moving" in printed


def test_lifting(benchmark, capsys):
    module = benchmark("lifting")
    module.main(module.LiftingBenchmarkConfig(gaussians=500, views=4, width=48, height=32, codebook_size=4))
    assert "optimised field" in capsys.readouterr().out


def test_extractors(benchmark, in_process, monkeypatch, tmp_path, capsys):
    module = benchmark("extractors")
    tiny = {"-m": "--width 64 --height 48 --views 9", "train.py": "--iterations 20", "train_autoencoder.py": "--epochs 2"}

    def shortened(line):
        if not line.endswith("--features mini"):  # the row below needs patches alone
            in_process(f"{line} {tiny.get(line.split()[0], '') if 'pca' not in line else ''}")
        return 1.0

    monkeypatch.setattr(module, "command", shortened)
    monkeypatch.setattr(module, "ROWS", dict(list(module.ROWS.items())[2:3]))
    module.main(module.ExtractorsConfig(seeds=(0,), folder=tmp_path))
    assert "mini_dense, PCA 3" in capsys.readouterr().out


def test_objects(benchmark, in_process, monkeypatch, tmp_path, capsys):
    module = benchmark("objects")
    monkeypatch.setattr(module, "_run", in_process)
    picture = tmp_path / "picture.png"
    settings = {"width": 64, "views": 9, "iterations": 60, "worlds": (0,), "removed": 1}
    config = module.ObjectsConfig(output_path=tmp_path, picture=picture, **settings)
    module.objects(config)
    printed = capsys.readouterr().out
    assert "objects, all" in printed and "after, true Gaussians" in printed
    figures = read_json(tmp_path / "0" / "figures.json")
    whole = [row for row in figures["located"] if row["kind"] == "object"]
    assert sum(row["iou"] for row in whole) > 3 * sum(row["control_iou"] for row in whole)
    assert len(figures["removal"]) == 1 and figures["removal"][0]["views"] == 2
    assert picture.stat().st_size > 500
    monkeypatch.setattr(module, "trained", lambda *_: pytest.fail("computed again"))
    module.objects(config)
    assert capsys.readouterr().out == printed[printed.index("world ") :]


def test_gpu_rasterizer(benchmark, monkeypatch, capsys):
    module = benchmark("gpu_rasterizer", "once", "--small")
    if torch.cuda.is_available():
        assert module.main() == 0
    else:
        with pytest.raises(SystemExit, match="torch sees no CUDA device"):
            module.main()


def test_compare_cameras(benchmark, tmp_path, capsys):
    write_scene(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    benchmark("compare_cameras").main(str(tmp_path / "a"), str(tmp_path / "b"))
    assert "6 and 6, 6 in both" in capsys.readouterr().out


def test_segment_levels(benchmark, tmp_path):
    write_small_scene(tmp_path)
    write_small_segments(tmp_path)
    benchmark("segment_levels", tmp_path, "view_03", tmp_path / "picture.jpg").main()
    assert (tmp_path / "picture.jpg").stat().st_size > 500


def test_extractor_cost(benchmark, monkeypatch, tmp_path, capsys):
    Image.new("RGB", (64, 48)).save(tmp_path / "one.png")
    module = benchmark("extractor_cost")
    module.main(module.CostConfig(tmp_path / "one.png", rows=("mini_dense",)))
    out = capsys.readouterr().out
    assert "one photograph of 64x48" in out and "tokens" in out


def test_lifted_patches(benchmark, in_process, monkeypatch, tmp_path, capsys):
    module = benchmark("lifted_patches")
    tiny = {"-m": "--views 9 --objects 6 --points 400", "train.py": "--iterations 30"}

    def shortened(line):
        in_process(f"{line} {tiny.get(line.split()[0], '') if '--include_feature' not in line else ''}")

    monkeypatch.setattr(module, "command", shortened)
    module.main(module.LiftedPatchesConfig(tmp_path, width=96, height=72))
    assert "lifted" in capsys.readouterr().out and (tmp_path / "lifted_patches.jpg").is_file()
