"""Point prompts and weights of SAM through the stock `segment-anything` package."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from workspace import InputError
from workspace.tensor_files import load_tensors

_FILES = {"vit_h": "sam_vit_h_4b8939.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_b": "sam_vit_b_01ec64.pth"}
_TYPES = {1280: "vit_h", 1024: "vit_l", 768: "vit_b"}  # by width of the image encoder
_PATCHES = "image_encoder.patch_embed.proj.weight"


class StockSam:
    """A `features.sam.MaskPredictor`; `model` is the package's own class."""

    def __init__(self, model: torch.nn.Module):
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(model)

    def set_image(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Encode an RGB picture."""
        self._predictor.set_image(image)

    def masks(self, points: Float[np.ndarray, "b 2"]) -> tuple[Float[Tensor, "b 3 low low"], Float[Tensor, "b 3"]]:
        """Logits of three masks per point, and their predicted IoU."""
        predictor = self._predictor
        prompts = torch.as_tensor(predictor.transform.apply_coords(points, predictor.original_size), device=predictor.device)
        sparse, dense = predictor.model.prompt_encoder(
            points=(prompts[:, None], torch.ones(len(prompts), 1, dtype=torch.int, device=prompts.device)), boxes=None, masks=None
        )
        return predictor.model.mask_decoder(
            image_embeddings=predictor.features,
            image_pe=predictor.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )

    def enlarge(self, logits: Float[Tensor, "c 1 low low"]) -> Float[Tensor, "c h w"]:
        """Logits at the size of the picture."""
        predictor = self._predictor
        return predictor.model.postprocess_masks(logits, predictor.input_size, predictor.original_size)[:, 0]


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
    target = checkpoint.with_name(_FILES[model_type]) if checkpoint.exists() else checkpoint  # keeps what was named by mistake
    name_it = "" if target == checkpoint else f"Then name it: --sam_ckpt_path {target}\n"
    return (
        f"Fetch it:\n  mkdir -p {target.parent} && curl -L -o {target} {url}\n{name_it}"
        "Smaller ones: --sam_model_type vit_l or vit_b, with --sam_ckpt_path.\n"
        "Without any download: --features mini (knows toy worlds only)."
    )
