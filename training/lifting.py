"""Lifting a codebook: the mixture of codes of each Gaussian, in one pass over the photographs and without training.

The blending weights of a Gaussian are summed by code over all pixels of all views; the codes with the largest sums are its
mixture. All levels share the pass. Views are read, projected and released one by one, and the number of sums per Gaussian is
bounded (`training.code_sums`), so that memory does not grow with the number of views.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from autoencoder.codebook import Codebook
from autoencoder.compressor import Compressor
from autoencoder.mixtures import load_mixtures, pack
from features.targets import SegmentTarget
from gaussian_renderer import prepare_view
from scene.camera import Camera
from training.code_sums import CodeSums
from training.language_config import LanguageRun, LanguageTrainConfig
from training.language_quality import measure_codes
from training.view_quality import train_sample
from workspace import InputError, ModelFolder, load_array, save_array
from workspace.record_types import LanguageReport, LiftedLevel
from workspace.resume import Resumable

log = logging.getLogger(__name__)

CODES_PER_GAUSSIAN = 2  # compared with 1, 4 and 8 in docs/language.md
PLACES = 32  # maximum number of codes summed per Gaussian and level
SAVE_EVERY = 120.0  # seconds between resumable states
SAMPLE = 20_000  # Gaussians on which kept and full mixtures are compared
CHUNK = 2048  # Gaussians of the sample compared at once
MEASURED = 4  # maximum number of training views, and of held-out views, rendered for the report
MEASURED_WIDTH = 640  # their maximum width in pixels: a hundred channels of a large view fill gigabytes


def lifting_settings(config: LanguageTrainConfig, compressor: Compressor, levels: tuple[str, ...]) -> dict[str, Any]:
    """Settings that determine a lifted field; InputError for invalid values and for levels without codes."""
    meaningless = [name for name in ("preset", "iterations", "init") if getattr(config, name) is not None]
    if meaningless:
        raise InputError(
            f"--{meaningless[0]}: a codebook is lifted in closed form, there is nothing to iterate. Leave it out, or optimise "
            "codes instead, after train_autoencoder.py with --method pca."
        )
    fewest = min(levels, key=lambda level: len(compressor.centroids(level)))
    available = len(compressor.centroids(fewest))
    count = config.codes_per_gaussian
    if count is not None and not 1 <= count <= min(available, PLACES):
        raise InputError(
            f"--codes_per_gaussian {count}: expected 1 to {min(available, PLACES)}; the codebook has {available} codes at level "
            f"{fewest}, and at most {PLACES} of a Gaussian are counted."
        )
    return {"codes_per_gaussian": count or CODES_PER_GAUSSIAN, "samples": config.samples}


def lift_mixtures(config: LanguageTrainConfig, run: LanguageRun, settings: dict[str, Any]) -> LanguageReport:
    """Lift a field and write its mixtures; continues an interrupted run.

    Raises:
        InputError: features or codes are missing, do not match, or belong to an image of another shape.
    """
    began, count = time.perf_counter(), settings["codes_per_gaussian"]
    sums, before = _sums_over_views(run, settings)
    levels = {}
    for level, found in zip(run.levels, sums, strict=True):
        records, levels[level] = _mixed(found, run.compressor, level, count)
        save_array(run.trained.folder.level_codes(level), records)
    del sums
    seconds = before + time.perf_counter() - began
    quality = {name: _measured(run, cameras) for name, cameras in _measured_views(run).items()}
    return LanguageReport(round(seconds, 1), str(run.device), quality["train"], quality.get("held_out"), levels)


def _sums_over_views(run: LanguageRun, settings: dict[str, Any]) -> tuple[list[CodeSums], float]:
    """Sums over all training views, and the seconds spent before an interruption."""
    cameras = run.scene.train
    sizes = [len(run.compressor.centroids(level)) for level in run.levels]
    sums = [CodeSums(len(run.trained.gaussians), size, PLACES, run.device) for size in sizes]
    first, before = 0, 0.0
    loop = Resumable(run.trained.folder, "language", settings)
    saved = loop.saved(run.device)
    if saved is not None:
        with loop.restoring():
            first, before = int(saved["views"]), float(saved["seconds"])
            for found, state in zip(sums, saved["sums"], strict=True):
                found.restore(state)
        log.info("Continuing after view %d of %d.", first, len(cameras))
    del saved
    began = time.monotonic()

    def state() -> dict[str, Any]:
        return {"views": done, "seconds": before + time.monotonic() - began, "sums": [found.state() for found in sums]}

    progress = tqdm(total=len(cameras), initial=first, desc="lifting", unit="view")
    with loop.interruptible() as finished, progress:
        for done, (camera, labels) in enumerate(_labelled_views(run, cameras[first:]), start=first + 1):
            view = prepare_view(camera.resized(labels.shape[2], labels.shape[1]), run.trained.gaussians)
            lifted = view.lift(torch.from_numpy(labels).to(run.device), settings["samples"])
            for index, rows in enumerate(lifted.levels):
                sums[index].add(rows.gaussians, rows.labels, rows.weights)
                sums[index].labelled += lifted.labelled[index]
                sums[index].unlabelled += lifted.unlabelled[index]
            progress.update()
            if done < len(cameras):
                finished(done, state, every=SAVE_EVERY)
    return sums, before


def _labelled_views(run: LanguageRun, cameras: Sequence[Camera]) -> Iterator[tuple[Camera, Int[np.ndarray, "l h w"]]]:
    """Views with their code maps; the next map is read in the background."""
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for index, camera in enumerate(cameras):
            labels = (ahead or pool.submit(code_maps, run, camera)).result()
            ahead = pool.submit(code_maps, run, cameras[index + 1]) if index + 1 < len(cameras) else None
            yield camera, labels


def code_maps(run: LanguageRun, camera: Camera) -> Int[np.ndarray, "l h w"]:
    """Code of the embedding at each level and pixel, -1 where there is none.

    Raises:
        InputError: features or codes are missing, or do not match.
    """
    model, store = run.trained.folder, run.store
    command = partial(model.compressor_command_on, store.scene.root)  # reads the record: only for an error
    path = model.codes(camera.name)
    if not path.is_file():
        raise InputError(f"No codes for image '{camera.name}' in {model.autoencoder}. Run: {command()}")
    codes, maps = load_array(path).reshape(-1), store.label_maps(camera.name, run.levels, camera)
    if codes.dtype != np.uint16 or maps.max(initial=-1) >= len(codes):
        raise InputError(
            f"{path} holds {codes.dtype} for {len(codes)} embeddings; expected the uint16 codes of a codebook for at least "
            f"{maps.max(initial=-1) + 1}. Write the codes again: {command()} --overwrite"
        )
    maps = np.append(codes.astype(np.int32), np.int32(-1))[maps]  # index -1 selects the appended entry
    for level, found in zip(run.levels, maps, strict=True):
        size = len(run.compressor.centroids(level))
        if found.max(initial=-1) >= size:
            raise InputError(
                f"{path} names code {found.max()} at level {level}, of {size}: it is of another codebook. "
                f"Write the codes again: {command()} --overwrite"
            )
    return maps


def _mixed(sums: CodeSums, codebook: Codebook, level: str, count: int) -> tuple[np.ndarray, LiftedLevel]:
    """Mixtures of one level as stored records, and their statistics for the report."""
    indices, weights = sums.largest(count)
    covered = sums.labelled / (sums.labelled + sums.unlabelled).clamp_min(torch.finfo(torch.float32).tiny)
    known = sums.labelled > 0
    kept = weights.sum(1)[known] / sums.labelled[known]
    return pack(indices, weights, covered, codebook.gram(level)), LiftedLevel(
        codes=len(codebook.centroids(level)),
        unknown=int((~known).sum()),
        coverage=_mean(covered[known]),
        kept_mass=_mean(kept.clamp_max(1)),
        cosine=_kept_cosine(sums, indices, weights, codebook.centroids(level), known),
    )


def _kept_cosine(
    sums: CodeSums, indices: Int[Tensor, "n k"], weights: Float[Tensor, "n k"], centroids: Float[Tensor, "codes d"], known: Tensor
) -> float:
    """Mean cosine between the embeddings of the kept codes and of all summed codes, over a sample of the known Gaussians."""
    rows = known.nonzero().squeeze(1)
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), SAMPLE), device=rows.device).long()]
    cosines = []
    for chunk in rows.split(CHUNK):
        kept = F.embedding_bag(indices[chunk], centroids, per_sample_weights=weights[chunk], mode="sum")
        full = torch.from_numpy(sums.of(chunk.cpu().numpy())).to(centroids) @ centroids
        cosines.append(F.cosine_similarity(kept, full, dim=1))
    return _mean(torch.cat(cosines)) if cosines else 0.0


def _mean(values: Tensor) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0


def _measured_views(run: LanguageRun) -> dict[str, Sequence[Camera]]:
    views = {"train": train_sample(run.scene.train), "held_out": run.scene.test}
    return {name: cameras[:: -(-len(cameras) // MEASURED)] for name, cameras in views.items() if cameras}


def _measured(run: LanguageRun, cameras: Sequence[Camera]):  # noqa: ANN202
    """Quality of rendered mixtures against the target codes, both as coordinates along the codebook's principal directions."""
    channels = field_channels(run.trained.folder, run.compressor, run.levels, len(run.trained.gaussians))
    tables = [run.compressor.coordinates(level) for level in run.levels]
    starts = np.cumsum([0, *map(len, tables)])
    table = torch.cat([*tables, torch.zeros_like(tables[0][:1])]).T.contiguous()

    def views():  # noqa: ANN202
        for camera, labels in _labelled_views(run, cameras):
            step = -(-labels.shape[2] // MEASURED_WIDTH)
            labels = labels[:, step // 2 :: step, step // 2 :: step]
            ids = np.where(labels < 0, starts[-1], labels + starts[:-1, None, None]).astype(np.int32)
            target = SegmentTarget(torch.from_numpy(ids).to(run.device), table, complete=bool((labels >= 0).all()))
            yield prepare_view(camera.resized(target.width, target.height), run.trained.gaussians), target

    return measure_codes(views(), channels, run.levels)


def field_channels(model: ModelFolder, codebook: Codebook, levels: Sequence[str], num_gaussians: int) -> Float[Tensor, "n lc"]:
    """Channels that are rendered for a lifted field: the coordinates of the mixtures, all levels side by side."""
    channels = []
    for level in levels:
        table = codebook.coordinates(level)
        channels.append(load_mixtures(model.level_codes(level), num_gaussians, len(table), table.device).blend(table))
    return torch.cat(channels, 1)
