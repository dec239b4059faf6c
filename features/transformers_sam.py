"""SAM 2 and EdgeTAM through the transformers package, which is optional: `pip install -r requirements-transformers.txt`."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from features.clip_loading import quiet
from features.load_errors import load_reason
from workspace import InputError


@dataclass(frozen=True)
class Family:
    """One architecture: its default weights, and the `model_type` of its configurations."""

    weights: str
    types: tuple[str, ...]


# both Apache 2.0 and free to fetch; weights that require a licence agreement are never a default
FAMILIES = {
    "sam2": Family("facebook/sam2.1-hiera-tiny", ("sam2", "sam2_video")),
    "edgetam": Family("yonigozlan/EdgeTAM-hf", ("edgetam", "edgetam_video")),
}


class TransformersSam:
    """A `features.sam.MaskPredictor` for networks that take pictures resized to a square, such as SAM 2 and EdgeTAM.

    Full precision, as LangSplat's SAM.
    """

    def __init__(self, model: Any, processor: Any):
        self._model = model
        self._processor = processor

    def set_image(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Encode an RGB picture."""
        pixels = self._processor(images=np.ascontiguousarray(image), return_tensors="pt")["pixel_values"]
        self._size = image.shape[:2]
        self._embeddings = self._model.get_image_embeddings(pixels.to(self._model.device))

    def masks(self, points: Float[np.ndarray, "b 2"]) -> tuple[Float[Tensor, "b 3 low low"], Float[Tensor, "b 3"]]:
        """Logits of three masks per point, and their predicted IoU."""
        scaled = points * (self._processor.target_size / np.array(self._size[::-1]))
        prompts = torch.as_tensor(scaled, dtype=torch.float32, device=self._model.device)[None, :, None]
        answer = self._model(image_embeddings=self._embeddings, input_points=prompts, multimask_output=True)
        return answer.pred_masks[0], answer.iou_scores[0]

    def enlarge(self, logits: Float[Tensor, "c 1 low low"]) -> Float[Tensor, "c h w"]:
        """Logits at the size of the picture."""
        return F.interpolate(logits, self._size, mode="bilinear", align_corners=False)[:, 0]


def load_transformers_sam(segmenter: str, weights: str | None, device: torch.device | str) -> TransformersSam:
    """The network of `--segmenter` with the weights of a hub repository or a folder (default: that of its family).

    Only safetensors are read; code in the repository is never run.

    Raises:
        InputError: transformers is missing or too old, or the weights are absent, damaged, incomplete or of another architecture.
    """
    check_package(segmenter)
    from transformers import AutoConfig, AutoModelForMaskGeneration, AutoProcessor

    family = FAMILIES[segmenter]
    name = weights or family.weights
    with quiet():
        try:
            config = AutoConfig.from_pretrained(name)
        except Exception as error:  # noqa: BLE001 - the hub client raises any exception
            raise InputError(_explain(segmenter, name, error)) from error
        if config.model_type not in family.types:
            raise InputError(
                f"{name} holds a network of type {config.model_type}, not {segmenter} ({' or '.join(family.types)})."
            )
        try:
            model, report = AutoModelForMaskGeneration.from_pretrained(name, use_safetensors=True, output_loading_info=True)
            processor = AutoProcessor.from_pretrained(name)
        except Exception as error:  # noqa: BLE001 - a damaged file raises any exception
            raise InputError(_explain(segmenter, name, error)) from error
    lacking = sorted(report["missing_keys"]) + sorted(str(row[0]) for row in report["mismatched_keys"])
    if lacking:  # transformers would continue with random weights
        raise InputError(f"{name} lacks {len(lacking)} of the weights of {segmenter}, such as {lacking[0]}. Fetch it again.")
    return TransformersSam(model.to(device).eval().requires_grad_(False), processor)


def check_package(segmenter: str) -> None:
    """InputError when this Python, or the transformers package, cannot run `segmenter`."""
    command = "pip install -r requirements-transformers.txt"
    if sys.version_info < (3, 11):
        raise InputError(f"--segmenter {segmenter} needs Python 3.11 or newer; this is {sys.version.split()[0]}. Then: {command}")
    if find_spec("transformers") is None:
        raise InputError(f"--segmenter {segmenter} needs the package transformers, which is not installed: {command}")
    import transformers

    if int(transformers.__version__.split(".")[0]) < 5:
        raise InputError(f"--segmenter {segmenter} needs transformers 5 or newer, found {transformers.__version__}: {command}")


def _explain(segmenter: str, name: str, error: Exception) -> str:
    reason = load_reason(error)
    if Path(name).is_dir():
        return f"{name} is not a whole folder of {segmenter} weights (config.json, model.safetensors, processor): {reason}"
    return (
        f"The weights '{name}' of {segmenter} could not be fetched: {reason}\n"
        "With a network connection, this fetches and keeps them:\n"
        f"  hf download {name}\n"
        "Without one, copy the folder from another machine and add --segmenter_weights <folder>."
    )
