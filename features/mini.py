"""The bundled encoder: a CLIP-shaped pair of towers that knows toy worlds only, loaded by open_clip from `assets/`.

Trained by `bundled/train_encoder.py`. Its average pooling and its projection are both linear, so the embedding of a picture is
the mean of its patch tokens, and patch tokens live in the space of the text.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from workspace import ASSETS

MODEL = "mini"  # open_clip takes the model name from the configuration file
CONFIG = ASSETS / "mini.json"
WEIGHTS = ASSETS / "mini.safetensors"
MERGES = ASSETS / "mini_bpe.txt.gz"  # byte pairs of its vocabulary; other words are split into letters
REPORT = ASSETS / "mini_report.json"  # its accuracy on held-out worlds
NOTICE = (
    "The bundled encoder was trained on generated toy worlds and knows nothing else: on photographs it shows that the "
    "pipeline runs, not what the pictures hold. For photographs: --features sam_clip or --features dino."
)


def tokenizer():  # noqa: ANN201 (open_clip's tokenizer classes share no base)
    """The open_clip tokenizer of the bundled vocabulary; takes any text."""
    import open_clip

    open_clip.add_model_config(CONFIG)
    return open_clip.get_tokenizer(MODEL, bpe_path=str(MERGES))


def patch_tokens(visual: torch.nn.Module, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b h w d"]:
    """Unit tokens of every patch, from open_clip's vision transformer, at any image size that is a multiple of the patch.

    The positional embedding of the training grid is interpolated to the grid of `images` (normalised as for the model).
    """
    x = visual.conv1(images)
    h, w = x.shape[-2:]
    grid = visual.grid_size
    position = visual.positional_embedding[1:].unflatten(0, grid).permute(2, 0, 1)[None]
    position = F.interpolate(position, size=(h, w), mode="bilinear", align_corners=False)[0].flatten(1).T
    first = (visual.class_embedding + visual.positional_embedding[0]).to(x.dtype)  # both stay float32 in half precision
    x = x.flatten(2).transpose(1, 2) + position.to(x.dtype)
    x = torch.cat([first.expand(len(x), 1, -1), x], 1)
    x = visual.ln_post(visual.transformer(visual.ln_pre(x)))[:, 1:] @ visual.proj
    return F.normalize(x, dim=-1).unflatten(1, (h, w))
