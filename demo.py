"""The whole pipeline on the bundled toy world, from photographs to answers, measured against ground truth on held-out views."""

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from workspace import ModelFolder, SceneFolder, read_json, write_json
from workspace.command_line import run

LIFTED = "lifted"  # default name of a codebook's language field


@dataclass(frozen=True)
class DemoConfig:
    """The demo. Run again after an interruption, it continues; another seed gives another world."""

    model_path: Path = Path("output/demo")
    """Folder for what is learned; the generated scene is put in its subfolder `scene`."""
    seed: int = 0
    """Seed of the toy world."""


def steps(config: DemoConfig) -> list[tuple[str, str]]:
    """Title and command of each stage, as a user would type them."""
    scene, model = SceneFolder(config.model_path / "scene"), config.model_path
    s, m = shlex.quote(str(scene.root)), shlex.quote(str(model))
    ask = f"eval_query.py -s {s} -m {m} --labels {shlex.quote(str(scene.labels))} --split test --shuffled_control"
    return [
        ("Generate a tabletop scene with ground truth", f"-m toy_world -s {s} --seed {config.seed}"),
        ("1  Segments and their embeddings", f"preprocess.py -s {s} --features mini"),
        ("2  Compress the embeddings to 3-D codes", f"train_autoencoder.py -s {s} -m {m}"),
        ("   and to a codebook", f"train_autoencoder.py -s {s} -m {m} --method codebook"),
        ("3  Train the Gaussians", f"train.py -s {s} -m {m} --eval --preset fast"),
        ("   Train the language field of the codes", f"train.py -s {s} -m {m} --include_feature --preset fast"),
        ("   Lift that of the codebook, without training", f"train.py -s {s} -m {m} --include_feature --field {LIFTED}"),
        ("4  Render the held-out views", f"render.py -m {m} --skip_train"),
        ("5  Ask, and compare with the ground truth", ask),
        ("   Ask the lifted field", f"{ask} --field {LIFTED}"),
    ]


def demo(config: DemoConfig) -> None:
    """Run the whole pipeline on a generated tabletop scene and measure the answers of both fields on held-out views."""
    begin = time.monotonic()
    for title, command in steps(config):
        print(f"\n== {title}\n$ python {command}", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, *shlex.split(command)], cwd=Path(__file__).parent, check=False).returncode
        if code:
            print(f"error: stage '{title}' failed with exit code {code}; the same command continues from there", file=sys.stderr)
            raise SystemExit(code)
        print(f"   {time.monotonic() - start:.0f} s", flush=True)
    _summarise(config, time.monotonic() - begin)


def _summarise(config: DemoConfig, seconds: float) -> None:
    """Print the metrics and write them to one file."""
    optimised, lifted = ModelFolder(config.model_path), ModelFolder(config.model_path, LIFTED)
    metrics, of_lifted = read_json(optimised.metrics), read_json(lifted.metrics)
    metrics |= {f"lifted_{name}": of_lifted[name] for name in ("localization_accuracy", "miou", "shuffled_miou")}
    metrics["psnr"] = read_json(optimised.rgb_metrics)["mean"]["test"]["psnr"]
    metrics["demo_seconds"] = seconds
    write_json(optimised.demo_metrics, metrics)
    print(f"\n== Held-out views of toy world {config.seed}, after {seconds:.0f} s; PSNR {metrics['psnr']:.2f} dB")
    print("   field       localisation   mIoU    phrases shuffled")
    for name, figures in (("optimised", metrics), ("lifted", of_lifted)):
        values = (figures[key] for key in ("localization_accuracy", "miou", "shuffled_miou"))
        print("   {:10}  {:12.3f}  {:5.3f}  {:18.3f}".format(name, *values))
    print(f"   reports: {optimised.report}, {lifted.report}")
    print(
        f'\nAsk it something else:\n   python eval_query.py -m {config.model_path}{lifted.flag} --text "red mug" "wooden table"'
    )


if __name__ == "__main__":
    run(demo, DemoConfig)
