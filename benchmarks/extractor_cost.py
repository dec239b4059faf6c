"""Seconds and memory of every extractor for one photograph: the libraries' networks at full size, with random weights.

    python -m benchmarks.extractor_cost --photograph scene/images/one.jpg [--rows sam2 dino] [--short] [--device cuda]

Random weights cost what real ones cost, except that they return other masks: all networks of the SAM family return the same
discs here (`features.random_networks.Discs`), so that the steps after them do the same work in every row with the same preset.
`--short` measures SAM and its kind by the whole picture and one batch of prompts.
"""

from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from features.cost import Cost, photograph_cost
from features.photographs import read_photograph
from features.preprocessing import PreprocessConfig
from query.tables import table
from workspace import InputError, command_line

_FAST = {"features": "sam_clip", "preset": "fast"}
_GRAPH = {"features": "sam_clip", "segmenter": "graph"}
_MOBILE = {**_FAST, "clip_model": "MobileCLIP2-S0"}
ROWS = {
    "sam_h": {"features": "sam_clip"},
    "sam_h_fast": _FAST,
    "sam_b_fast": {**_FAST, "sam_model_type": "vit_b"},
    "sam2_tiny": {**_MOBILE, "segmenter": "sam2", "segmenter_weights": "facebook/sam2.1-hiera-tiny"},
    "sam2_small": {**_MOBILE, "segmenter": "sam2", "segmenter_weights": "facebook/sam2.1-hiera-small"},
    "sam2_base_plus": {**_MOBILE, "segmenter": "sam2", "segmenter_weights": "facebook/sam2.1-hiera-base-plus"},
    "edgetam": {**_MOBILE, "segmenter": "edgetam"},
    "graph_vit_b": _GRAPH,
    "graph_mobile_s0": {**_GRAPH, "clip_model": "MobileCLIP2-S0"},
    "graph_mobile_s2": {**_GRAPH, "clip_model": "MobileCLIP2-S2"},
    "graph_siglip2": {**_GRAPH, "clip_model": "ViT-B-16-SigLIP2"},
    "graph_pe_core": {**_GRAPH, "clip_model": "PE-Core-B-16"},
    "dino": {"features": "dino"},
    "dinov3": {"features": "dino", "dino_model": "vit_base_patch16_dinov3.lvd1689m"},
    "clip_dense": {"features": "clip_dense"},
    "mini": {"features": "mini"},
    "mini_dense": {"features": "mini_dense"},
}


@dataclass(frozen=True)
class CostConfig:
    """What to measure."""

    photograph: Path
    """A picture file, used at its size up to 1080 pixels high."""
    rows: tuple[Literal[tuple(ROWS)], ...] = tuple(ROWS)
    """Which extractors."""
    short: bool = False
    """Measure SAM and its kind by the whole picture and 64 prompts, the rest computed."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the networks run."""
    threads: int = 2
    """Threads of the CPU."""


def main(config: CostConfig) -> None:
    """Measure the rows one after the other and print each as it comes, then the table."""
    image, _ = read_photograph(config.photograph.stem, config.photograph, None, -1)
    found = []
    for name in config.rows:
        options = replace(PreprocessConfig(source_path=Path()), **ROWS[name])
        try:
            cost = photograph_cost(options, image, config.device, config.threads, config.short)
        except (InputError, RuntimeError, BrokenProcessPool) as error:
            print(f"{name}: not measured: {error!r}", flush=True)
            continue
        found.append(_row(name, cost))
        print("  ".join(found[-1]), flush=True)
    size = f"{image.shape[1]}x{image.shape[0]}, {config.device}, {config.threads} threads{', short' if config.short else ''}"
    heading = ["extractor", "s", "CPU s measured", "process GB", "GPU GB", "counts", "s by step"]
    print(f"\none photograph of {size}\n{table(heading, found)}")


def _row(name: str, cost: Cost) -> list[str]:
    counts = ", ".join(f"{value} {what}" for what, value in cost.counts.items())
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in cost.seconds.items())
    if cost.batch:
        steps += f" from: picture {cost.batch.picture:.2f}, 64 prompts {cost.batch.prompts:.2f}"
    memory = [f"{value / 2**30:.2f}" for value in (cost.memory, cost.gpu_memory)]
    return [name, f"{cost.total:.2f}", f"{cost.cpu:.2f}", *memory, counts, steps]


if __name__ == "__main__":
    command_line.run(main, CostConfig)
