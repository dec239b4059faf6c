"""Segment Anything at three granularities: LangSplat's four mask lists, from any network of the SAM family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from features.masks import Mask, cut_mask
from features.segment_store import LEVELS
from features.small_regions import remove_small_regions


@dataclass(frozen=True)
class SamSettings:
    """How masks are generated. The defaults are LangSplat's."""

    points_per_side: int = 32
    """Prompts per side of the regular grid, in the image and in every crop."""
    points_per_batch: int = 64
    """Prompts decoded at a time; changes memory, not the masks."""
    pred_iou_thresh: float = 0.7
    """Masks whose predicted IoU is not above this are dropped."""
    stability_score_thresh: float = 0.85
    """Masks whose IoU between thresholds +-1 on the logits is below this are dropped."""
    box_nms_thresh: float = 0.7
    """IoU of boxes above which the mask of lower score is dropped."""
    crop_n_layers: int = 1
    """Layer i repeats the grid on 4^i overlapping crops."""
    min_mask_region_area: int = 100
    """Holes and islands smaller than this many pixels are removed."""


class MaskList(NamedTuple):
    """The masks of one level and SAM's two measures of their quality, both in [0, 1]."""

    masks: list[Mask]
    predicted_ious: Float[np.ndarray, " m"]
    stability_scores: Float[np.ndarray, " m"]


@runtime_checkable
class MaskPredictor(Protocol):
    """A network of the SAM family, holding one picture."""

    def set_image(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Encode an RGB picture for the other methods."""

    def masks(self, points: Float[np.ndarray, "b 2"]) -> tuple[Float[Tensor, "b 3 low low"], Float[Tensor, "b 3"]]:
        """For each point (x, y in pixels of the picture), the logits of three masks (subpart, part, whole) and their
        predicted IoU."""

    def enlarge(self, logits: Float[Tensor, "c 1 low low"]) -> Float[Tensor, "c h w"]:
        """Logits at the size of the picture; a mask is where they are above 0."""


class _Candidates(NamedTuple):
    """Masks of one crop before suppression. Logits stay at SAM's low resolution: 256 KB each instead of up to 6 MB."""

    logits: Float[Tensor, "c 1 low low"]
    boxes: Float[Tensor, "c 4"]  # x0 y0 x1 y1 in the crop, inclusive
    ious: Float[Tensor, " c"]
    stabilities: Float[Tensor, " c"]
    parts: Tensor  # [c] 0, 1, 2: SAM's first, second, third mask of the prompt


class SamGenerator:
    """Masks of a whole image at the levels default, s, m and l, from any network that returns three masks per point.

    SAM returns three masks per point prompt: subpart, part and whole. `s`, `m`, `l` hold the first, second and third
    masks alone, `default` all of them, and box NMS runs on each list separately. `default` equals the result of
    the package's own `SamAutomaticMaskGenerator`.
    """

    def __init__(self, predictor: MaskPredictor, settings: SamSettings | None = None):
        self.settings = settings or SamSettings()
        self._predictor = predictor

    @torch.inference_mode()
    def generate(self, image: UInt8[np.ndarray, "h w 3"]) -> Mapping[str, MaskList]:
        """Mask lists of an RGB image, keyed by level."""
        from segment_anything.utils.amg import build_point_grid, generate_crop_boxes

        size = image.shape[:2]
        grid = build_point_grid(self.settings.points_per_side)
        crops, _ = generate_crop_boxes(size, self.settings.crop_n_layers, overlap_ratio=512 / 1500)  # the package's default
        pool = _Pool()
        for crop in crops:
            x0, y0, x1, y1 = crop
            self._predictor.set_image(image[y0:y1, x0:x1])
            self._suppress_in_crop(self._propose(grid, crop, size), crop, pool)
        return {level: self._finish(pool, level, len(crops), size) for level in LEVELS}

    def _propose(self, grid: np.ndarray, crop: list[int], size: tuple[int, int]) -> _Candidates:
        """Every mask of the crop that passes the thresholds, in the order of the prompts."""
        from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score, is_box_near_crop_edge

        predictor, settings = self._predictor, self.settings
        crop_size = (crop[3] - crop[1], crop[2] - crop[0])
        points = grid * np.array(crop_size)[None, ::-1]
        found = []
        for start in range(0, len(points), settings.points_per_batch):
            logits, ious = predictor.masks(points[start : start + settings.points_per_batch])
            parts = torch.arange(3, device=ious.device).repeat(len(ious))
            logits, ious = logits.flatten(0, 1)[:, None], ious.flatten()
            keep = ious > settings.pred_iou_thresh  # before upsampling, the most expensive step
            logits, ious, parts = logits[keep], ious[keep], parts[keep]
            masks = predictor.enlarge(logits)
            stabilities = calculate_stability_score(masks, 0.0, 1.0)
            boxes = batched_mask_to_box(masks > 0)
            keep = (stabilities >= settings.stability_score_thresh) & ~is_box_near_crop_edge(
                boxes, crop, [0, 0, size[1], size[0]]
            )
            found.append(_Candidates(logits[keep], boxes[keep].float(), ious[keep], stabilities[keep], parts[keep]))
        return _Candidates(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _suppress_in_crop(self, found: _Candidates, crop: list[int], pool: "_Pool") -> None:
        """Box NMS of each list within the crop; masks that survive in any list are added to the pool once."""
        kept = {}
        for number, level in enumerate(LEVELS):
            members = torch.arange(len(found.ious), device=found.ious.device)
            if level != "default":
                members = members[found.parts == number - 1]
            places = _box_nms(found.boxes[members], found.ious[members], self.settings.box_nms_thresh)
            kept[level] = members[places.to(members.device)].cpu()
        survivors = torch.unique(torch.cat(list(kept.values())))
        place = torch.full((len(found.ious),), -1).scatter(0, survivors, torch.arange(len(survivors)) + len(pool.masks))
        for level in LEVELS:
            pool.order[level] += place[kept[level]].tolist()
        survivors = survivors.to(found.ious.device)
        for part in survivors.split(3 * self.settings.points_per_batch):
            frames = (self._predictor.enlarge(found.logits[part]) > 0).cpu().numpy()
            pool.masks += [cut_mask(frame, crop[0], crop[1]) for frame in frames]
        pool.ious += found.ious[survivors].tolist()
        pool.stabilities += found.stabilities[survivors].tolist()
        pool.crop_areas += [(crop[2] - crop[0]) * (crop[3] - crop[1])] * len(survivors)

    def _finish(self, pool: "_Pool", level: str, num_crops: int, size: tuple[int, int]) -> MaskList:
        """Box NMS between crops, removal of small regions, and box NMS of masks that became duplicates."""
        order = pool.order[level]
        if num_crops > 1:  # masks from smaller crops come first
            order = _nms(order, pool.masks, [1 / pool.crop_areas[i] for i in order], self.settings.box_nms_thresh)
        masks = [pool.masks[i] for i in order]
        if self.settings.min_mask_region_area > 0 and order:
            cleaned = [pool.clean(i, size, self.settings.min_mask_region_area) for i in order]
            masks = [mask for mask, _ in cleaned]
            unchanged = [float(not changed) for _, changed in cleaned]  # unchanged masks score higher
            kept = _nms(list(range(len(masks))), masks, unchanged, self.settings.box_nms_thresh)
            order, masks = [order[i] for i in kept], [masks[i] for i in kept]
        return MaskList(masks, np.array([pool.ious[i] for i in order]), np.array([pool.stabilities[i] for i in order]))


class _Pool:
    """Masks that survived in the crop they came from. The lists share them, since default has most masks of s, m and l."""

    def __init__(self):
        self.masks: list[Mask] = []
        self.ious: list[float] = []
        self.stabilities: list[float] = []
        self.crop_areas: list[int] = []
        self.order: dict[str, list[int]] = {level: [] for level in LEVELS}
        self._cleaned: dict[int, tuple[Mask, bool]] = {}

    def clean(self, index: int, size: tuple[int, int], min_area: int) -> tuple[Mask, bool]:
        if index not in self._cleaned:
            self._cleaned[index] = remove_small_regions(self.masks[index], *size, min_area)
        return self._cleaned[index]


def _nms(order: list[int], masks: list[Mask], scores: list[float], threshold: float) -> list[int]:
    boxes = [(x, y, x + p.shape[1] - 1, y + p.shape[0] - 1) for x, y, p in (masks[i] for i in order)]
    kept = _box_nms(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores), threshold)
    return [order[i] for i in kept.tolist()]


def _box_nms(boxes: Float[Tensor, "m 4"], scores: Float[Tensor, " m"], threshold: float) -> Tensor:
    """Indices of the boxes that survive, best score first."""
    from torchvision.ops import nms  # imported late: takes two seconds that stages only reading features need not wait

    return nms(boxes, scores, threshold)
