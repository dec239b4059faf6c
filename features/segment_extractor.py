"""From an image to segments with embeddings: LangSplat's with SAM and CLIP, and the bundled encoder's."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8

from features.clip import ClipEncoder
from features.extraction import Clock
from features.mask_nms import mask_nms, thinned
from features.masks import Mask, cut_crops, map_masks, segment_map
from features.sam import MaskList
from features.segment_files import LEVELS, write_segments
from workspace import SceneFolder

Segmenter = Callable[[UInt8[np.ndarray, "h w 3"]], Mapping[str, MaskList]]
GraphSegmenter = Callable[[UInt8[np.ndarray, "h w 3"]], Mapping[str, Int32[np.ndarray, "h w"]]]


class _SegmentExtractor:
    """Common to both: encode the levels' masks and keep maps and embeddings."""

    def __init__(self, encoder: ClipEncoder):
        self._encoder = encoder

    def _encode(self, image: UInt8[np.ndarray, "h w 3"], masks: Sequence[Mask]) -> Float32[np.ndarray, "m d"]:
        """Embeddings of the masks' crops. `default` repeats most masks of s, m and l: each is encoded once."""
        unique = {id(mask): mask for mask in masks}
        place = {name: i for i, name in enumerate(unique)}
        crops = cut_crops(image, list(unique.values()), self._encoder.image_size)
        embeddings = self._encoder.embed_crops(torch.from_numpy(crops)).cpu().numpy()
        return embeddings[[place[id(mask)] for mask in masks]] if masks else embeddings

    def _write(
        self,
        scene: SceneFolder,
        key: str,
        maps: Mapping[str, Int32[np.ndarray, "h w"]],
        counts: Mapping[str, int],
        embeddings: Float32[np.ndarray, "m d"],
    ) -> None:
        stacked, offset = [], 0
        for level in LEVELS:
            stacked.append(np.where(maps[level] >= 0, maps[level] + np.int32(offset), np.int32(-1)))
            offset += counts[level]
        write_segments(scene, key, embeddings, np.stack(stacked))


class SamClipExtractor(_SegmentExtractor):
    """SAM's four mask lists, LangSplat's mask suppression, OpenCLIP embeddings."""

    def __init__(self, segment: Segmenter, encoder: ClipEncoder, nms_step: int = 1):
        super().__init__(encoder)
        self._segment = segment
        self._nms_step = nms_step

    def extract(self, scene: SceneFolder, key: str, image: UInt8[np.ndarray, "h w 3"], clock: Clock) -> dict[str, int]:
        """Make and write the segments of one image; returns their number."""
        with clock.part("segmenter"):
            lists = self._segment(image)
        kept: dict[str, list[Mask]] = {}
        with clock.part("nms"):
            for level, (masks, ious, stabilities) in lists.items():
                compared = [thinned(mask, self._nms_step) for mask in masks] if self._nms_step > 1 else masks
                # survivors keep the segmenter's order, which decides what covers what in the map
                kept[level] = [masks[i] for i in np.sort(mask_nms(compared, ious * stabilities))]
            maps = {level: segment_map(masks, *image.shape[:2]) for level, masks in kept.items()}
        with clock.part("encoder"):
            embeddings = self._encode(image, [mask for level in LEVELS for mask in kept[level]])
        with clock.part("write"):
            self._write(scene, key, maps, {level: len(masks) for level, masks in kept.items()}, embeddings)
        return {"segments": len(embeddings)}


class GraphExtractor(_SegmentExtractor):
    """A segmenter whose levels are maps already: no masks overlap, so none are suppressed. `default` repeats `m`."""

    def __init__(self, segment: GraphSegmenter, encoder: ClipEncoder):
        super().__init__(encoder)
        self._segment = segment

    def extract(self, scene: SceneFolder, key: str, image: UInt8[np.ndarray, "h w 3"], clock: Clock) -> dict[str, int]:
        """Make and write the segments of one image; returns their number."""
        with clock.part("segmenter"):
            maps = dict(self._segment(image))
            masks = {level: map_masks(maps[level]) for level in LEVELS if level in maps}
            maps.setdefault("default", maps["m"])
            masks.setdefault("default", masks["m"])
        with clock.part("encoder"):
            embeddings = self._encode(image, [mask for level in LEVELS for mask in masks[level]])
        with clock.part("write"):
            self._write(scene, key, maps, {level: len(masks[level]) for level in LEVELS}, embeddings)
        return {"segments": len(embeddings)}
