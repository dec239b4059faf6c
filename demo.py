"""The whole pipeline on the bundled toy world, with ground truth: photographs in, answers out, measured on held-out views."""

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from workspace import ModelFolder, SceneFolder, read_json, write_json
from workspace.command_line import run


@dataclass(frozen=True)
class DemoConfig:
    """The demo. Rerun after an interruption, it continues; another seed is another world."""

    model_path: Path = Path("output/demo")
    """Folder for what is learned; the generated scene is put in its subfolder `scene`."""
    seed: int = 0
    """Which toy world."""


def steps(config: DemoConfig) -> list[tuple[str, str]]:
    """Title and command of each stage, as a user would type them."""
    scene, model = SceneFolder(config.model_path / "scene"), config.model_path
    s, m = shlex.quote(str(scene.root)), shlex.quote(str(model))
    return [
        ("Generate a tabletop scene with ground truth", f"-m toy_world -s {s} --seed {config.seed}"),
        ("1  Segments and their embeddings", f"preprocess.py -s {s} --features mini"),
        ("2  Compress the embeddings to 3-D codes", f"train_autoencoder.py -s {s} -m {m}"),
        ("3  Train the Gaussians", f"train.py -s {s} -m {m} --eval --preset fast"),
        ("4  Train the language field", f"train.py -s {s} -m {m} --include_feature --preset fast"),
        ("5  Render the held-out views", f"render.py -m {m} --skip_train"),
        ("6  Ask, and compare with the ground truth",
         f"eval_query.py -s {s} -m {m} --labels {shlex.quote(str(scene.labels))} --split test --shuffled_control"),
    ]  # fmt: skip


def demo(config: DemoConfig) -> None:
    """Run the whole pipeline on a generated tabletop scene and measure its answers on held-out views."""
    model = ModelFolder(config.model_path)
    begin = time.monotonic()
    for title, command in steps(config):
        print(f"\n== {title}\n$ python {command}", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, *shlex.split(command)], cwd=Path(__file__).parent, check=False).returncode
        if code:
            print(f"error: stage '{title}' failed with exit code {code}; the same command continues from there", file=sys.stderr)
            raise SystemExit(code)
        print(f"   {time.monotonic() - start:.0f} s", flush=True)
    metrics = read_json(model.metrics)
    metrics["psnr"] = read_json(model.rgb_metrics)["mean"]["test"]["psnr"]
    metrics["demo_seconds"] = time.monotonic() - begin
    write_json(model.metrics, metrics)
    print(f"\n== Held-out views of toy world {config.seed}, after {metrics['demo_seconds']:.0f} s")
    print(f"   PSNR                   {metrics['psnr']:.2f} dB")
    print(f"   localisation accuracy  {metrics['localization_accuracy']:.3f}")
    print(f"   mIoU                   {metrics['miou']:.3f}   (phrases shuffled: {metrics['shuffled_miou']:.3f})")
    print(f"   report                 {model.report}")
    print(f'\nAsk it something else:\n   python eval_query.py -m {config.model_path} --text "red mug" "wooden table"')


if __name__ == "__main__":
    run(demo, DemoConfig)
