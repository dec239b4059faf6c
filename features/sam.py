"""Segment Anything at three granularities: LangSplat's four mask lists from the stock `segment-anything` package."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from features.masks import Mask, cut_mask
from features.segment_store import LEVELS
from features.small_regions import remove_small_regions
from workspace import InputError
from workspace.tensor_files import load_tensors

_FILES = {"vit_h": "sam_vit_h_4b8939.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_b": "sam_vit_b_01ec64.pth"}
_TYPES = {1280: "vit_h", 1024: "vit_l", 768: "vit_b"}  # by width of the image encoder
_PATCHES = "image_encoder.patch_embed.proj.weight"


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


class _Candidates(NamedTuple):
    """Masks of one crop before suppression. Logits stay at SAM's low resolution: 256 KB each instead of up to 6 MB."""

    logits: Float[Tensor, "c 1 low low"]
    boxes: Float[Tensor, "c 4"]  # x0 y0 x1 y1 in the crop, inclusive
    ious: Float[Tensor, " c"]
    stabilities: Float[Tensor, " c"]
    parts: Tensor  # [c] 0, 1, 2: SAM's first, second, third mask of the prompt


class SamGenerator:
    """Masks of a whole image at the levels default, s, m and l.

    SAM answers each point prompt with three masks: subpart, part and whole. `s`, `m`, `l` are made of the first, second
    and third masks alone, `default` of all, and each list is suppressed by box on its own. `default` equals the result of
    the package's own `SamAutomaticMaskGenerator`.
    """

    def __init__(self, model: torch.nn.Module, settings: SamSettings | None = None):
        from segment_anything import SamPredictor

        self.settings = settings or SamSettings()
        self._predictor = SamPredictor(model)

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
            self._predictor.reset_image()
        return {level: self._finish(pool, level, len(crops), size) for level in LEVELS}

    def _propose(self, grid: np.ndarray, crop: list[int], size: tuple[int, int]) -> _Candidates:
        """Every mask of the crop that passes the thresholds, in the order of the prompts."""
        from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score, is_box_near_crop_edge

        predictor, settings = self._predictor, self.settings
        crop_size = (crop[3] - crop[1], crop[2] - crop[0])
        points = predictor.transform.apply_coords(grid * np.array(crop_size)[None, ::-1], crop_size)
        found = []
        for batch in torch.as_tensor(points, device=predictor.device)[:, None].split(settings.points_per_batch):
            sparse, dense = predictor.model.prompt_encoder(
                points=(batch, torch.ones(batch.shape[:2], dtype=torch.int, device=batch.device)), boxes=None, masks=None
            )
            logits, ious = predictor.model.mask_decoder(
                image_embeddings=predictor.features,
                image_pe=predictor.model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            parts = torch.arange(3, device=ious.device).repeat(len(ious))
            logits, ious = logits.flatten(0, 1)[:, None], ious.flatten()
            keep = ious > settings.pred_iou_thresh  # before upsampling, which takes most of the time
            logits, ious, parts = logits[keep], ious[keep], parts[keep]
            masks = self._enlarge(logits)
            stabilities = calculate_stability_score(masks, predictor.model.mask_threshold, 1.0)
            boxes = batched_mask_to_box(masks > predictor.model.mask_threshold)
            keep = (stabilities >= settings.stability_score_thresh) & ~is_box_near_crop_edge(
                boxes, crop, [0, 0, size[1], size[0]]
            )
            found.append(_Candidates(logits[keep], boxes[keep].float(), ious[keep], stabilities[keep], parts[keep]))
        return _Candidates(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _enlarge(self, logits: Float[Tensor, "c 1 low low"]) -> Float[Tensor, "c h w"]:
        predictor = self._predictor
        return predictor.model.postprocess_masks(logits, predictor.input_size, predictor.original_size)[:, 0]

    def _suppress_in_crop(self, found: _Candidates, crop: list[int], pool: "_Pool") -> None:
        """Box NMS of each list among the crop's masks; masks that survive in any list join the pool once."""
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
            frames = (self._enlarge(found.logits[part]) > self._predictor.model.mask_threshold).cpu().numpy()
            pool.masks += [cut_mask(frame, crop[0], crop[1]) for frame in frames]
        pool.ious += found.ious[survivors].tolist()
        pool.stabilities += found.stabilities[survivors].tolist()
        pool.crop_areas += [(crop[2] - crop[0]) * (crop[3] - crop[1])] * len(survivors)

    def _finish(self, pool: "_Pool", level: str, num_crops: int, size: tuple[int, int]) -> MaskList:
        """Box NMS between crops, removal of small regions, and box NMS of the masks that this made equal."""
        order = pool.order[level]
        if num_crops > 1:  # masks from smaller crops come first
            order = _nms(order, pool.masks, [1 / pool.crop_areas[i] for i in order], self.settings.box_nms_thresh)
        masks = [pool.masks[i] for i in order]
        if self.settings.min_mask_region_area > 0 and order:
            cleaned = [pool.clean(i, size, self.settings.min_mask_region_area) for i in order]
            masks = [mask for mask, _ in cleaned]
            unchanged = [float(not changed) for _, changed in cleaned]  # masks without small regions have the higher score
            kept = _nms(list(range(len(masks))), masks, unchanged, self.settings.box_nms_thresh)
            order, masks = [order[i] for i in kept], [masks[i] for i in kept]
        return MaskList(masks, np.array([pool.ious[i] for i in order]), np.array([pool.stabilities[i] for i in order]))


class _Pool:
    """Masks that survived in the crop they came from. The lists share them, as most masks of s, m and l are in default."""

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
    """Places of the boxes that survive, best score first."""
    from torchvision.ops import batched_nms  # two seconds to import, which every stage that reads features would wait

    return batched_nms(boxes, scores, torch.zeros(len(boxes)), threshold)


def load_sam(checkpoint: Path, model_type: str, device: torch.device | str) -> torch.nn.Module:
    """SAM model with the weights of `checkpoint`, loaded without executing them.

    Raises:
        InputError: the file is missing, damaged, or of another model type.
    """
    from segment_anything import sam_model_registry

    checkpoint = Path(checkpoint)
    state = load_tensors(checkpoint, f"the weights of SAM {model_type}", _fetch(checkpoint, model_type))
    model = sam_model_registry[model_type]()
    expected = {name: value.shape for name, value in model.state_dict().items()}
    weights = {name: value for name, value in state.items() if isinstance(value, Tensor)} if isinstance(state, dict) else {}
    found = {name: value.shape for name, value in weights.items()}
    if found != expected:
        actual = _TYPES.get(next(iter(found.get(_PATCHES, ())), 0))
        if actual and actual != model_type:
            raise InputError(f"{checkpoint} holds SAM {actual}, not {model_type}; add --sam_model_type {actual}.")
        raise InputError(f"{checkpoint} does not hold SAM {model_type} weights. {_fetch(checkpoint, model_type)}")
    model.load_state_dict(weights)
    return model.to(device).eval().requires_grad_(False)


def _fetch(checkpoint: Path, model_type: str) -> str:
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{_FILES[model_type]}"
    return (
        f"Fetch it:\n  mkdir -p {checkpoint.parent} && curl -L -o {checkpoint} {url}\n"
        "Smaller ones: --sam_model_type vit_l or vit_b, with --sam_ckpt_path.\n"
        "Without any download: --features mini (knows toy worlds only)."
    )
