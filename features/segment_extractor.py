"""Extractors of segments with embeddings, from a segmenter that returns masks, such as SAM, or label maps."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8

from features.clip import ClipEncoder
from features.extractor import Extractor
from features.mask_nms import mask_nms, thinned
from features.masks import Mask, Resize, cut_crops, map_masks, segment_map
from features.sam import MaskList
from features.segment_store import LEVELS, Segments

MaskSegmenter = Callable[[UInt8[np.ndarray, "h w 3"]], Mapping[str, MaskList]]
MapSegmenter = Callable[[UInt8[np.ndarray, "h w 3"]], Mapping[str, Int32[np.ndarray, "h w"]]]


class SegmentedPicture(NamedTuple):
    """A picture with, per level, its masks and the index of the mask at each pixel (-1 = none)."""

    image: UInt8[np.ndarray, "h w 3"]
    masks: Mapping[str, Sequence[Mask]]
    maps: Mapping[str, Int32[np.ndarray, "h w"]]


def mask_extractor(segment: MaskSegmenter, encoder: ClipEncoder, nms_step: int = 1, resize: Resize | None = None) -> Extractor:
    """Mask lists of the four levels, LangSplat's mask suppression (at every `nms_step`-th pixel), embeddings of crops resized
    by `resize` (`cut_crops`)."""
    return Extractor(
        {
            "segmenter": lambda image: (image, segment(image)),
            "nms": lambda found: _suppressed(*found, nms_step),
            "encoder": partial(embed_segments, encoder, resize),
        }
    )


def map_extractor(segment: MapSegmenter, encoder: ClipEncoder, resize: Resize | None = None) -> Extractor:
    """Maps of the levels s, m, l, in which no masks overlap, so none are suppressed; `default` repeats `m`."""
    steps = {"segmenter": partial(_divided, segment), "encoder": partial(embed_segments, encoder, resize)}
    return Extractor(steps, first_step_in_processes=True)


def _suppressed(image: UInt8[np.ndarray, "h w 3"], lists: Mapping[str, MaskList], nms_step: int) -> SegmentedPicture:
    kept: dict[str, list[Mask]] = {}
    for level, (masks, ious, stabilities) in lists.items():
        compared = [thinned(mask, nms_step) for mask in masks] if nms_step > 1 else masks
        # survivors keep the segmenter's order, because later masks overwrite earlier ones in the map
        kept[level] = [masks[i] for i in np.sort(mask_nms(compared, ious * stabilities))]
    return SegmentedPicture(image, kept, {level: segment_map(masks, *image.shape[:2]) for level, masks in kept.items()})


def _divided(segment: MapSegmenter, image: UInt8[np.ndarray, "h w 3"]) -> SegmentedPicture:
    maps = segment(image)
    masks = {level: map_masks(indices) for level, indices in maps.items()}
    return SegmentedPicture(image, {"default": masks["m"], **masks}, {"default": maps["m"], **maps})


def embed_segments(encoder: ClipEncoder, resize: Resize | None, segmented: SegmentedPicture) -> Segments:
    """Segments of a picture, with the embeddings of their crops (`cut_crops`)."""
    stacked, offset = [], 0
    for level in LEVELS:
        indices = segmented.maps[level]
        stacked.append(np.where(indices >= 0, indices + np.int32(offset), np.int32(-1)))
        offset += len(segmented.masks[level])
    masks = [mask for level in LEVELS for mask in segmented.masks[level]]
    return Segments(_embeddings(encoder, resize, segmented.image, masks), np.stack(stacked))


def _embeddings(
    encoder: ClipEncoder, resize: Resize | None, image: UInt8[np.ndarray, "h w 3"], masks: Sequence[Mask]
) -> Float32[np.ndarray, "m d"]:
    """Embeddings of the masks' crops. `default` repeats most masks of s, m and l: each mask is encoded once."""
    unique = {id(mask): mask for mask in masks}
    place = {name: i for i, name in enumerate(unique)}
    crops = cut_crops(image, list(unique.values()), encoder.image_size, resize)
    embeddings = encoder.embed_crops(torch.from_numpy(crops)).cpu().numpy()
    return embeddings[[place[id(mask)] for mask in masks]] if masks else embeddings
