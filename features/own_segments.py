"""`--features own`: label maps of the user, with embeddings of the user or of OpenCLIP."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8

from features.clip_loading import embedding_width
from features.clip_options import ClipOptions, clip_encoder, clip_settings, clip_text
from features.extractor import Extractor, ExtractorSpec
from features.masks import map_masks
from features.photographs import scene_photographs
from features.segment_extractor import SegmentedPicture, embed_segments
from features.segment_store import LEVELS, Segments, SegmentStore
from features.text import ClipText, TextOptions
from scene.photographs import names_text
from workspace import InputError, SceneFolder, load_array
from workspace.image_reader import open_picture
from workspace.record_types import FeatureSettings

log = logging.getLogger(__name__)

GUIDE = "docs/features.md, 'Your own masks and features', says how."
_LEVELS = {1: (0, 0, 0, 0), 3: (1, 0, 1, 2), 4: (0, 1, 2, 3)}  # by number of maps: index of the map for each of LEVELS

Maps = Mapping[str, Int32[np.ndarray, "h w"]]  # per level the label at each pixel, -1 where there is none


@dataclass(frozen=True, kw_only=True)
class OwnOptions(ClipOptions):
    """Flags of this extractor."""

    masks: Path | None = None
    """Folder of your own label maps for --features own: KEY.npy or KEY.png for every photograph (docs/features.md)."""
    embeddings: Path | None = None
    """Folder of their embeddings, KEY.npy [m, d], in the space of --clip_model; without it that model embeds the masks."""


class OwnSegments(ExtractorSpec[OwnOptions]):
    """Files of the user."""

    store = SegmentStore
    text_options = ("clip_pretrained", "temperature")
    options = OwnOptions

    def settings(self, options: OwnOptions) -> dict[str, object]:
        """Source of the embeddings, and the model whose text they are compared with."""
        if options.masks is None:
            raise InputError(
                f"--features own takes your label maps: add --masks DIR, and --embeddings DIR if you have them. {GUIDE}"
            )
        if options.embeddings is not None and options.crop_resize is not None:
            raise InputError("--crop_resize is for crops that CLIP embeds; with --embeddings none are. Leave it out.")
        folders = {name: str(path.resolve()) for name in ("masks", "embeddings") if (path := getattr(options, name)) is not None}
        return {"embeddings": "clip", **folders, **clip_settings(options)}

    def load(self, options: OwnOptions, device: torch.device) -> Extractor:
        """Readers of the files, and the encoder when it is needed."""
        if options.embeddings is not None:
            return Extractor({"files": partial(_read_both, options.masks, options.embeddings)}, takes_key=True)
        encoder, resize = clip_encoder(options, device)
        steps = {"files": partial(_segmented, options.masks), "encoder": partial(embed_segments, encoder, resize)}
        return Extractor(steps, takes_key=True)

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> ClipText:
        """Text tower of the OpenCLIP model that was named."""
        return clip_text(settings, device, options)

    def announce(self, options: OwnOptions, scene: SceneFolder) -> None:
        """Check that the folders have a file for every photograph; warn of embeddings that no phrase can be compared with.

        Raises:
            InputError: files are missing.
        """
        for folder, endings in ((options.masks, (".npy", ".png")), (options.embeddings, (".npy",))):
            if folder is None:
                continue
            keys = list(scene_photographs(scene))
            absent = [key for key in keys if not any(_file(folder, key, ending).is_file() for ending in endings)]
            if absent:
                kinds = " or ".join(f"KEY{ending}" for ending in endings)
                raise InputError(
                    f"{folder} lacks {kinds} for {len(absent)} of {len(keys)} photographs: {names_text(absent)}. "
                    f"KEY is the photograph's path below {scene.images.name}/ without its ending. {GUIDE}"
                )
        if options.embeddings is not None:
            _warn_of_other_width(options.embeddings, next(iter(scene_photographs(scene))), options.clip_model)


def own_segments(labels: np.ndarray, embeddings: np.ndarray, image: UInt8[np.ndarray, "h w 3"], where: str) -> Segments:
    """Segments of a picture from label maps and a row of an embedding for each label.

    Args:
        labels: Whole numbers [h, w] or [levels, h, w], with 1, 3 (s, m, l) or 4 (default, s, m, l) levels, -1 where there is no
            segment. Maps of another size with the same aspect are resized to the picture.
        embeddings: Floats [m, d]; row k belongs to label k. They are normalised.
        image: The picture.
        where: Their source, for messages.

    Raises:
        InputError: wrong shapes or types, a label without a row, or rows that are zero or not finite.
    """
    maps = level_maps(labels, image.shape[:2], where)
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f" or 0 in embeddings.shape[1:]:
        raise InputError(
            f"{where}: expected embeddings as floats [m, d], found {embeddings.dtype} {list(embeddings.shape)}. {GUIDE}"
        )
    highest = max(int(level.max(initial=-1)) for level in maps.values())
    if highest >= len(embeddings):
        raise InputError(f"{where}: label {highest} has no embedding; there are {len(embeddings)} rows. {GUIDE}")
    with np.errstate(over="ignore"):
        rows = embeddings.astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        bad = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0))[:, 0])[0])
        raise InputError(f"{where}: row {bad} of the embeddings is zero or not finite. {GUIDE}")
    unit = (rows / lengths).astype(np.float32)
    chosen, stacked, offset = [], [], 0
    for level in LEVELS:  # a row belongs to one level, so levels that share labels repeat rows
        labels_here, compact = _compact(maps[level])
        stacked.append(np.where(compact >= 0, compact + np.int32(offset), np.int32(-1)))
        chosen.append(labels_here)
        offset += len(labels_here)
    return Segments(unit[np.concatenate(chosen)], np.stack(stacked).astype(np.int32))


def level_maps(labels: np.ndarray, size: tuple[int, int], where: str) -> Maps:
    """Label maps of the four levels at `size` (height, width), from 1, 3 or 4 maps; errors as `own_segments`."""
    stack = labels[None] if labels.ndim == 2 else labels
    if stack.ndim != 3 or len(stack) not in _LEVELS or 0 in stack.shape or stack.dtype.kind not in "iu":
        raise InputError(
            f"{where}: expected labels as whole numbers [h, w] or [1, 3 or 4 levels, h, w], found {labels.dtype} "
            f"{list(labels.shape)}. {GUIDE}"
        )
    if stack.min() < -1 or stack.max() >= 2**31 - 1:
        raise InputError(f"{where}: labels run from {stack.min()} to {stack.max()}; -1 means none and 0 is the first. {GUIDE}")
    (height, width), (rows, columns) = size, stack.shape[1:]
    if abs(rows - height * columns / width) > 1:
        raise InputError(
            f"{where}: the labels are {columns}x{rows} pixels, the photograph {width}x{height}: another shape. {GUIDE}"
        )
    row = ((np.arange(height) + 0.5) * rows / height).astype(int)
    column = ((np.arange(width) + 0.5) * columns / width).astype(int)
    resized = stack[:, row[:, None], column].astype(np.int32)
    return {level: resized[index] for level, index in zip(LEVELS, _LEVELS[len(stack)], strict=True)}


def _compact(labels: Int32[np.ndarray, "h w"]) -> tuple[Int32[np.ndarray, " k"], Int32[np.ndarray, "h w"]]:
    """The labels that occur, and the map with labels replaced by their indices."""
    present, index = np.unique(labels, return_inverse=True)
    index = index.reshape(labels.shape).astype(np.int32)
    if len(present) and present[0] == -1:
        present, index = present[1:], index - 1
    return present, index


def _segmented(folder: Path, image: UInt8[np.ndarray, "h w 3"], key: str) -> SegmentedPicture:
    labels, path = _read_labels(folder, key)
    maps = {level: _compact(found)[1] for level, found in level_maps(labels, image.shape[:2], str(path)).items()}
    masks: dict[str, list] = {}
    for level in LEVELS:  # levels of one map share their masks, which are then encoded once
        same = next((other for other in masks if np.array_equal(maps[other], maps[level])), None)
        masks[level] = masks[same] if same else map_masks(maps[level])
    return SegmentedPicture(image, masks, maps)


def _warn_of_other_width(folder: Path, key: str, model: str) -> None:
    path, expected = _file(folder, key, ".npy"), embedding_width(model)
    shape = load_array(path, GUIDE).shape
    if expected is not None and len(shape) == 2 and shape[1] != expected:
        log.warning(
            "%s has rows of %d numbers, and phrases through %s have %d: they cannot be compared. Name the model of your "
            "embeddings with --clip_model; without one, the features train a field that answers no phrases.",
            path, shape[1], model, expected,
        )  # fmt: skip


def _read_both(masks: Path, folder: Path, image: UInt8[np.ndarray, "h w 3"], key: str) -> Segments:
    labels, path = _read_labels(masks, key)
    table = _file(folder, key, ".npy")
    return own_segments(labels, load_array(table, GUIDE), image, f"{path} and {table}")


def _read_labels(folder: Path, key: str) -> tuple[np.ndarray, Path]:
    path = _file(folder, key, ".npy")
    if path.is_file():
        return load_array(path, GUIDE), path
    path = _file(folder, key, ".png")
    with open_picture(path) as picture:
        if picture.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise InputError(
                f"{path} is a picture of mode {picture.mode}; expected a grey one of 8 or 16 bit with labels. {GUIDE}"
            )
        labels = np.asarray(picture).astype(np.int64)
    return labels - 1, path  # 0 is no segment


def _file(folder: Path, key: str, ending: str) -> Path:
    return folder / f"{key}{ending}"


def unit_rows(vectors: Float[np.ndarray, "p d"] | torch.Tensor, where: str) -> torch.Tensor:
    """Text vectors with unit length, as float32; InputError when they are no finite rows or are zero."""
    found = torch.as_tensor(vectors).float()
    if found.ndim != 2 or not found.isfinite().all() or not (found.norm(dim=-1) > 0).all():
        raise InputError(f"{where}: expected finite text vectors [p, d], none of them zero, found {list(found.shape)}. {GUIDE}")
    return torch.nn.functional.normalize(found, dim=-1)
