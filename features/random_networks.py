"""Extractors whose networks have their full size and random weights: they cost what the real ones cost, and mean nothing."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from features import mini
from features.clip import ClipEncoder
from features.clip_dense import clip_dense_extractor
from features.clip_loading import quiet
from features.clip_options import crop_filter
from features.dino import DinoEncoder, grid_extractor
from features.extractor import Extractor
from features.preprocessing import PreprocessConfig
from features.registry import spec_of
from features.sam import MaskPredictor
from features.sam_clip import SamClipOptions, segment_extractor
from features.stock_sam import StockSam
from features.transformers_sam import FAMILIES, TransformersSam, check_package
from workspace import InputError

CELLS = (8, 5, 3)  # discs per side of a picture or crop that replace SAM's small, middle and large masks
PASSING = 3  # of 5 prompts, the number whose masks pass the threshold of the predicted IoU


def random_extractor(options: PreprocessConfig, device: torch.device, discs: bool = True) -> Extractor:
    """The extractor that `options` describe; weights are neither read nor fetched, the bundled ones excepted.

    With `discs` the masks that a network of the SAM family returns are replaced by `Discs`, so that their number does not depend
    on what random weights happen to return.

    Raises:
        InputError: the extractor has no network of random weights, or a package is missing.
    """
    if options.features == "sam_clip":
        predictor = None if options.segmenter == "graph" else random_predictor(options, device)
        encoder = random_clip(options.clip_model, device)
        predictor = Discs(predictor) if discs and predictor else predictor
        return segment_extractor(options, predictor, encoder, crop_filter(options, encoder))
    if options.features == "dino":
        return grid_extractor(options, DinoEncoder(options.dino_model, None, device, half=not options.square, random=True))
    if options.features == "clip_dense":
        return clip_dense_extractor(options, random_clip(options.clip_model, device))
    if options.features in ("mini", "mini_dense"):
        return spec_of(options.features).load(options, device)
    raise InputError(f"--features {options.features} has no network of random weights.")


def random_clip(model: str, device: torch.device) -> ClipEncoder:
    """OpenCLIP model `model`. Its phrases are all the same: some tokenizers would have to be fetched."""
    import open_clip

    if model == mini.MODEL:
        return ClipEncoder(model, None, device)
    if model not in open_clip.list_models():
        raise InputError(f"OpenCLIP has no model '{model}'.")
    with quiet():
        try:
            network = open_clip.create_model(model, precision="fp16" if device.type == "cuda" else "fp32", device=device)
        except Exception as error:  # noqa: BLE001 - some text towers are fetched, by packages that may be absent
            raise InputError(f"OpenCLIP model '{model}' cannot be built without its files: {error}") from error

    def tokenizer(phrases: list[str]) -> Tensor:
        return torch.zeros(len(phrases), network.context_length, dtype=torch.long)

    return ClipEncoder(model, None, device, loaded=(network.eval().requires_grad_(False), tokenizer))


def random_predictor(options: SamClipOptions, device: torch.device) -> MaskPredictor:
    """The network of the SAM family that `options` name."""
    if options.segmenter not in FAMILIES:
        from segment_anything import sam_model_registry

        return StockSam(sam_model_registry[options.sam_model_type]().to(device).eval().requires_grad_(False))
    check_package(options.segmenter)
    from transformers import Sam2ImageProcessor, Sam2Processor

    name = options.segmenter_weights or FAMILIES[options.segmenter].weights
    with quiet():
        network = _edgetam() if options.segmenter == "edgetam" else _sam2(name)
    return TransformersSam(network.to(device).eval().requires_grad_(False), Sam2Processor(Sam2ImageProcessor()))


# Published sizes of SAM 2's image encoder: width and heads of the first stage, blocks, blocks with global attention, windows and
# side of the positional embedding of a window.
_SAM2 = {
    "tiny": (96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7), 7),
    "small": (96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7), 7),
    "base-plus": (112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), 14),
    "large": (144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8), 7),
}


def _sam2(name: str) -> torch.nn.Module:
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    size = next((size for size in _SAM2 if name.endswith(size)), None)
    if size is None:
        raise InputError(f"{name} names no published size of SAM 2: {', '.join(_SAM2)}.")
    width, heads, blocks, attending, windows, side = _SAM2[size]
    widths = [width * 2**stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=width,
        num_attention_heads=heads,
        blocks_per_stage=list(blocks),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[heads * 2**stage for stage in range(4)],
        window_size_per_stage=list(windows),
        window_positional_embedding_background_size=[side, side],
        global_attention_blocks=list(attending),
    )
    vision = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    return Sam2Model(Sam2Config(vision_config=vision))


def _edgetam() -> torch.nn.Module:
    from transformers import EdgeTamConfig, EdgeTamModel, EdgeTamVisionConfig, TimmWrapperConfig

    pyramid = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = TimmWrapperConfig(architecture="repvit_m1", model_args=pyramid)
    return EdgeTamModel(EdgeTamConfig(vision_config=EdgeTamVisionConfig(backbone_config=backbone)))


class Discs:
    """A `features.sam.MaskPredictor` that runs the network and returns discs on a grid instead of its masks.

    All prompts in a cell of the grid return its disc, as prompts on an object return the object. `CELLS` and `PASSING` fix how
    many masks pass each step, whatever the network.
    """

    def __init__(self, predictor: MaskPredictor):
        self._predictor = predictor
        self._side: Callable[[int, int], tuple[int, int]] = (
            (lambda h, w: (h, w)) if isinstance(predictor, TransformersSam) else lambda h, w: (max(h, w), max(h, w))
        )
        self.enlarge = predictor.enlarge

    def set_image(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Encode an RGB picture."""
        self._size = image.shape[:2]
        self._predictor.set_image(image)

    def masks(self, points: Float[np.ndarray, "b 2"]) -> tuple[Float[Tensor, "b 3 low low"], Float[Tensor, "b 3"]]:
        """Logits of the discs around the middle of each point's cell, for the three sizes of cells, and fixed IoUs."""
        logits, ious = self._predictor.masks(points)
        height, width = self._size
        low = logits.shape[-1]
        scale = torch.tensor([low / side for side in self._side(height, width)[::-1]])  # the network's square, x and y
        extent = torch.tensor([width, height]) * scale
        where = torch.as_tensor(points).float() * scale
        axis = torch.arange(low) + 0.5
        for part, cells in enumerate(CELLS):
            cell = extent / cells
            x, y = ((where / cell).floor().clamp(max=cells - 1) + 0.5).mul(cell).T[:, :, None]
            offset = ((axis - x)[:, None] / cell[0]).square() + ((axis - y)[:, :, None] / cell[1]).square()
            logits[:, part] = (1000 * (0.4 - offset.sqrt())).to(logits)
        passing = torch.arange(len(points)) % 5 < PASSING
        return logits, torch.where(passing[:, None], 0.9, 0.1).to(ious).expand_as(ious).contiguous()
