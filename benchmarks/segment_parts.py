"""How many things and small parts have a segment, for variants of the region graph, on generated worlds.

    python -m benchmarks.segment_parts [--worlds 11 12 13] [--variants default "twice the size"] [-o output/segment_parts]

A thing or part of a labelled picture has a segment when one of any level has an IoU above 0.5 with it.
"""

import contextlib
import io
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Annotated

import cv2
import numpy as np
import tyro
from jaxtyping import Bool, Int32, UInt8
from skimage.segmentation import felzenszwalb

from evaluation.labels import read_lerf_ovs
from features import graph_segments
from features.photographs import read_photograph, scene_photographs
from features.region_graph import RegionGraph, to_lab
from query.tables import table
from toy_world.generate import write_toy_world
from workspace import SceneFolder, command_line


@dataclass(frozen=True)
class Variant:
    """Settings of the region graph."""

    zoom: int = 1
    """Factor by which the picture is enlarged before, and the map reduced after."""
    scale: float = graph_segments.SCALE
    smallest: int = graph_segments.SMALLEST_REGION
    piece: float = graph_segments.PIECE
    part: float = graph_segments.PART

    def segments(self, image: UInt8[np.ndarray, "h w 3"]) -> Int32[np.ndarray, "3 h w"]:
        """Label maps of the levels s, m, l."""
        height, width = image.shape[:2]
        if self.zoom > 1:
            image = cv2.resize(image, (width * self.zoom, height * self.zoom), interpolation=cv2.INTER_CUBIC)
        lab = to_lab(image)
        regions = {"scale": self.scale, "sigma": graph_segments.BLUR, "min_size": self.smallest}
        labels = felzenszwalb(lab / 50, **regions, channel_axis=-1).astype(np.int32)
        graph, model = RegionGraph(lab, labels), _model()
        maps = []
        for score, threshold in ((model.part, self.piece), (model.part, self.part), (model.whole, graph_segments.WHOLE)):
            graph.merge_while(score, threshold)
            maps.append(graph.roots()[labels][self.zoom // 2 :: self.zoom, self.zoom // 2 :: self.zoom])
        return np.stack(maps).astype(np.int32)


@cache
def _model() -> graph_segments.MergeModel:
    with np.load(graph_segments.WEIGHTS, allow_pickle=False) as file:
        return graph_segments.MergeModel(dict(file))


VARIANTS: Mapping[str, Variant] = {
    "default": Variant(),
    "smallest region 10": Variant(smallest=10),
    "regions of half the scale, smallest 10": Variant(scale=50.0, smallest=10),
    "s above 0.7, m above 0.5": Variant(piece=0.7, part=0.5),
    "s above 0.85, m above 0.5": Variant(piece=0.85, part=0.5),
    "s above 0.95, m above 0.8": Variant(piece=0.95, part=0.8),
    "twice the size": Variant(zoom=2),
}


@dataclass(frozen=True)
class PartsConfig:
    """Which worlds and variants."""

    worlds: tuple[int, ...] = (11, 12, 13)
    """Seeds of the generated worlds."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Names of the variants."""
    width: int = 320
    """Width of the photographs, pixels; the height is three quarters of it."""
    output_path: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("output/segment_parts")
    """Folder for the worlds."""


def main(config: PartsConfig) -> None:
    """Measure each variant on all worlds and print the table."""
    scenes = [SceneFolder(config.output_path / f"world_{seed}" / "scene") for seed in config.worlds]
    for seed, scene in zip(config.worlds, scenes, strict=True):
        with contextlib.redirect_stderr(io.StringIO()):
            write_toy_world(scene.root, seed, config.width, config.width * 3 // 4)
    rows = []
    for name in config.variants:
        rows.append(_coverage(name, VARIANTS[name], scenes))
        print("  ".join(rows[-1]), flush=True)
    heading = ["variant", "CPU s", "segments s, m, l", "parts: best IoU", "with a segment", "things: best IoU", "with a segment"]
    print(f"\nworlds {', '.join(map(str, config.worlds))}, {config.width} pixels wide\n{table(heading, rows)}")


def _is_part(phrase: str) -> bool:
    return "'s " in phrase


def _coverage(name: str, variant: Variant, scenes: list[SceneFolder]) -> list[str]:
    best: dict[bool, list[float]] = defaultdict(list)
    counts, begin = [], time.process_time()
    for scene in scenes:
        photographs = scene_photographs(scene)
        for frame in read_lerf_ovs(scene.labels):
            image, _ = read_photograph(frame.name, *photographs[frame.name], -1)
            maps = variant.segments(image)
            counts.append([int(level.max()) + 1 for level in maps])
            for phrase in frame.phrases:
                mask = frame.mask(phrase, *image.shape[1::-1])
                best[_is_part(phrase)].append(max(_best_overlap(mask, level) for level in maps))
    seconds = (time.process_time() - begin) / len(counts)
    cells = [name, f"{seconds:.2f}", ", ".join(f"{value:.0f}" for value in np.mean(counts, 0))]
    for part in (True, False):
        cells += [f"{100 * fmean(best[part]):.1f}", f"{sum(iou > 0.5 for iou in best[part])} of {len(best[part])}"]
    return cells


def _best_overlap(mask: Bool[np.ndarray, "h w"], level: Int32[np.ndarray, "h w"]) -> float:
    area = np.bincount(level.ravel())
    inside = np.bincount(level[mask], minlength=len(area))
    return float((inside / (area + mask.sum() - inside)).max())


if __name__ == "__main__":
    command_line.run(main, PartsConfig)
