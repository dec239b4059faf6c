"""`doctor.py --plan <scene>`: seconds and memory of every stage on this machine, for the extractors that could run."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from diagnosis.stages import GAUSSIANS, SEGMENTS_EACH, StageCosts, stage_costs
from features.clip_loading import DEFAULT_MODEL, DEFAULT_WEIGHTS
from features.cost import Cost, in_process, photograph_cost
from features.photographs import read_photograph, scene_photographs
from features.preprocessing import PreprocessConfig
from query.tables import table
from workspace import InputError, SceneFolder
from workspace.device import chosen_device
from workspace.processes import num_cores

FAST_ITERATIONS, FAST_EPOCHS = 1_500, 50  # of train.py and train_autoencoder.py with --preset fast
PATIENCE = 3600.0  # seconds of stage 1 that the recommendation may take


@dataclass(frozen=True, eq=False)
class Candidate:
    """A choice of stage 1. The order of `CANDIDATES` is that of the recommendation."""

    flags: str
    options: dict[str, object]
    weights: str
    """What has to be there or is fetched."""
    package: str | None = None
    """Optional package that it needs."""
    recommended: bool = True


_SAM_H, _CLIP = "sam_vit_h_4b8939.pth 2.6 GB", f"{DEFAULT_MODEL} {DEFAULT_WEIGHTS} 0.6 GB"
_MOBILE = {"clip_model": "MobileCLIP2-S0"}
CANDIDATES = (
    Candidate("--features sam_clip", {"features": "sam_clip"}, f"{_SAM_H}, {_CLIP}"),
    Candidate("--features sam_clip --preset fast", {"features": "sam_clip", "preset": "fast"}, f"{_SAM_H}, {_CLIP}"),
    Candidate(
        "--features sam_clip --segmenter sam2 --preset fast --clip_model MobileCLIP2-S0",
        {"features": "sam_clip", "segmenter": "sam2", "preset": "fast", **_MOBILE},
        "sam2.1-hiera-tiny 0.2 GB, MobileCLIP2-S0 0.3 GB",
        "transformers",
    ),
    Candidate(
        "--features sam_clip --segmenter edgetam --preset fast --clip_model MobileCLIP2-S0",
        {"features": "sam_clip", "segmenter": "edgetam", "preset": "fast", **_MOBILE},
        "EdgeTAM-hf 0.1 GB, MobileCLIP2-S0 0.3 GB",
        "transformers",
    ),
    Candidate("--features sam_clip --segmenter graph", {"features": "sam_clip", "segmenter": "graph"}, _CLIP),
    Candidate(
        "--features sam_clip --segmenter graph --clip_model MobileCLIP2-S0",
        {"features": "sam_clip", "segmenter": "graph", **_MOBILE},
        "MobileCLIP2-S0 0.3 GB",
    ),
    Candidate("--features clip_dense", {"features": "clip_dense"}, _CLIP, recommended=False),
    Candidate("--features dino", {"features": "dino"}, "DINOv2 0.3 GB, Talk2DINO's head for text", recommended=False),
    Candidate("--features mini", {"features": "mini"}, "bundled; knows toy worlds only", recommended=False),
)


def plan(scene: Path) -> int:
    """Print the plan of a scene; 0.

    Raises:
        InputError: the folder holds no photographs, or the first one cannot be read.
    """
    photographs = scene_photographs(SceneFolder(scene))
    key, photograph = next(iter(photographs.items()))
    image, _ = read_photograph(key, *photograph, -1)
    height, width = image.shape[:2]
    device, threads, memory = str(chosen_device("auto")), num_cores(), available_memory()
    have = f"{memory / 2**30:.1f} GB of memory free" if memory else "free memory unknown"
    print(f"\nPlan for {scene}: {len(photographs)} photographs, used at {width}x{height}; {device}, {threads} cores, {have}")
    print("Networks of random weights at their full size: seconds and memory are those of real ones, masks are fixed discs.")
    print(
        "Measured on one photograph ('~': SAM and its kind from the whole picture and 64 prompts); on a busy machine, too long.\n"
    )
    costs = dict(_costs(image, device, threads))
    rows = [_row(candidate, cost, len(photographs), memory) for candidate, cost in costs.items()]
    print(table(["stage 1: preprocess.py", "s per photograph", "all", "memory GB", "weights (check their licences)"], rows))
    print("  measuring the later stages", file=sys.stderr, flush=True)
    after = in_process(stage_costs, width, height, device, threads)
    print(f"\n{_later_stages(after, len(photographs))}")
    print(f"\n{_recommendation(scene, costs, len(photographs), memory)}")
    return 0


def _costs(image, device: str, threads: int) -> Iterator[tuple[Candidate, Cost | str]]:  # noqa: ANN001 - as `photograph_cost`
    measured: dict[PreprocessConfig, Cost] = {}
    for candidate in CANDIDATES:
        if candidate.package and find_spec(candidate.package) is None:
            yield candidate, f"needs: pip install -r requirements-{candidate.package}.txt"
            continue
        print(f"  measuring {candidate.flags}", file=sys.stderr, flush=True)  # all of them take minutes
        options = replace(PreprocessConfig(source_path=Path()), **candidate.options)
        networks = replace(options, preset="published")
        try:
            if networks not in measured:  # a preset only repeats the same networks more often
                measured[networks] = photograph_cost(options, image, device, threads, short=True)
            cost = measured[networks]
            yield candidate, replace(cost, seconds=cost.batch.seconds(options)) if cost.batch else cost
        except BrokenProcessPool:
            yield candidate, "killed: the memory is too small"
        except (InputError, RuntimeError) as error:  # torch reports a full GPU as a RuntimeError
            yield candidate, str(error).splitlines()[0]


def _row(candidate: Candidate, cost: Cost | str, count: int, memory: float) -> list[str]:
    flags = candidate.flags
    if isinstance(cost, str):
        return [flags, cost, "", "", candidate.weights]
    about = "~" if cost.batch else ""
    full = " (too much)" if memory and cost.memory > memory else ""
    return [
        flags,
        f"{about}{cost.total:.1f}",
        _duration(cost.total * count),
        f"{cost.memory / 2**30:.1f}{full}",
        candidate.weights,
    ]


def _later_stages(costs: StageCosts, count: int) -> str:
    rows = [
        ["2 train_autoencoder.py --preset fast", f"{SEGMENTS_EACH} segments each, {FAST_EPOCHS} epochs",
         _duration(costs.embedding_epoch * SEGMENTS_EACH * count * FAST_EPOCHS)],
        ["3 train.py --preset fast", f"{FAST_ITERATIONS} iterations", _duration(costs.rgb_iteration * FAST_ITERATIONS)],
        ["3 train.py", "30000 iterations", _duration(costs.rgb_iteration * 30_000)],
        ["3 train.py --include_feature of a codebook", f"lifts {count} photographs", _duration(costs.lifted_view * count)],
        ["5 eval_query.py", "one phrase, one view", f"{costs.question:.2f} s"],
    ]  # fmt: skip
    note = f"with {GAUSSIANS:,} Gaussians; peak memory of these {costs.memory / 2**30:.1f} GB. More Gaussians take longer."
    return f"{table(['later stages', 'work', 'time'], rows)}\n{note}"


def _recommendation(scene: Path, costs: dict[Candidate, Cost | str], count: int, memory: float) -> str:
    fits = [
        candidate
        for candidate, cost in costs.items()
        if candidate.recommended
        and isinstance(cost, Cost)
        and cost.total * count <= PATIENCE
        and not (memory and cost.memory > memory)
    ]
    if not fits:
        return (
            f"No segments are done within {_duration(PATIENCE)}. Fewer or smaller photographs (--resolution 640), a GPU,"
            " or --shard on several machines."
        )
    return (
        f"Recommended, the first of the list that is done within {_duration(PATIENCE)}:\n"
        f"  python preprocess.py -s {scene} {fits[0].flags}\n"
        f"  needs {fits[0].weights}; python doctor.py says where they are"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def available_memory() -> float:
    """Bytes of memory that are free, 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
        except (AttributeError, ValueError, OSError):
            return 0.0
