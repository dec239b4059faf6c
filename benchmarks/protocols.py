"""Every benchmark script at full size on generated scenes in their layouts, with the shuffled control and several seeds.

    python -m benchmarks.protocols [--names lerf_ovs scannet] [--scenes 1] [-o output/protocols]

Figures are of generated worlds and the bundled encoder. A second run continues the first: finished scenes and models are kept.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from evaluation.tables import table
from toy_world.layouts import SCENES, LayoutConfig, write_layout
from workspace import InputError, command_line

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS: Mapping[str, tuple[str, str, dict[str, str]]] = {  # name -> layout, script, variables
    "lerf_ovs": ("lerf_ovs", "lerf_ovs.sh", {}),
    "lerf_ovs_3d": ("lerf_ovs", "lerf_ovs_3d.sh", {"PHRASES": "labels"}),
    "3d_ovs": ("3d_ovs", "3d_ovs.sh", {}),
    "scannet": ("scannet", "scannet.sh", {}),
    "mipnerf360_goi": ("mipnerf360_goi", "mipnerf360_ov.sh", {"LABELS": "goi"}),
    "mipnerf360_gags": ("mipnerf360_gags", "mipnerf360_ov.sh", {"LABELS": "gags"}),
}


@dataclass(frozen=True)
class ProtocolsConfig:
    """What to run."""

    names: tuple[str, ...] = tuple(SCRIPTS)
    """Benchmarks."""
    scenes: int = 1
    """How many scenes of each, the first ones."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Trainings of each scene."""
    preset: str = "fast"
    """Of training; published takes hours a scene without a GPU."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output/protocols")
    """Folder for data and models."""


def protocols(config: ProtocolsConfig) -> None:
    """Run the benchmark scripts on generated scenes and print what each took."""
    unknown = [name for name in config.names if name not in SCRIPTS]
    if unknown:
        raise InputError(f"--names {' '.join(unknown)}: there are {', '.join(SCRIPTS)}.")
    rows = []
    for name in config.names:
        layout, script, variables = SCRIPTS[name]
        scenes = SCENES[layout][: config.scenes]
        data, output = (config.output_path.resolve() / folder for folder in (layout, f"{layout}_models"))
        write_layout(LayoutConfig(data, layout, scenes, points=60_000 if layout == "scannet" else 12_000))
        labels = [str(data / "label")] if script.startswith("mipnerf360") else []
        print(f"\n== {name}: {len(scenes)} scenes, seeds {' '.join(map(str, config.seeds))}", flush=True)
        began = time.monotonic()
        subprocess.run(
            ["bash", str(ROOT / "scripts" / script), str(data), *labels, str(output)],
            check=True,
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "FEATURES": "mini",
                "PRESET": config.preset,
                "SEEDS": " ".join(map(str, config.seeds)),
                "SCENES": " ".join(scenes),
                **variables,
            },
        )
        rows.append([name, str(len(scenes)), str(len(config.seeds)), f"{time.monotonic() - began:.0f} s"])
    print("\n" + table(["benchmark", "scenes", "seeds", "wall time"], rows))


if __name__ == "__main__":
    command_line.run(protocols, ProtocolsConfig)
