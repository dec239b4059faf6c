"""Talk2DINO's head: from OpenAI CLIP's text space into DINOv2's patch space. The user downloads its weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from features.clip import ClipEncoder
from features.text import NEGATIVES, TEMPERATURE
from workspace import InputError
from workspace.tensor_files import load_tensors

# OpenAI's ViT-B/16 was trained with the quick approximation of GELU, which OpenCLIP has as a separate model.
TEXT_MODEL, TEXT_WEIGHTS, TEXT_WIDTH = "ViT-B-16-quickgelu", "openai", 512
_WIDTHS = (768, 1024)  # of ViT-B/14 and ViT-L/14


class Talk2DinoHead(nn.Module):
    """`W2 tanh(W1 t + b1) + b2`: CLIP text embedding t (not normalised) to a vector to compare with patch tokens by cosine."""

    def __init__(self, width: int, text_width: int):
        super().__init__()
        self.linear_layer = nn.Linear(text_width, width)
        self.hidden_layers = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, text: Float[Tensor, "p text"]) -> Float[Tensor, "p d"]:
        """Vectors in the patch space, not normalised."""
        return self.hidden_layers[0](torch.tanh(self.linear_layer(text)))


def load_head(path: Path | None) -> Talk2DinoHead:
    """Read a published head (`vitb_mlp_infonce.pth`, 768 wide, or its ViT-L twin, 1024 wide), without executing it.

    Raises:
        InputError: no file was given, or it is missing, damaged, or has other keys or shapes.
    """
    if path is None:
        raise InputError(
            "Text queries on DINOv2 features need a Talk2DINO head, which has no licence and is not part of this project. "
            "Download vitb_mlp_infonce.pth from Talk2DINO's repository and add --talk2dino_ckpt <file>."
        )
    path = Path(path)
    state = load_tensors(path, "a Talk2DINO head such as vitb_mlp_infonce.pth", "Download it again for --talk2dino_ckpt.")
    if isinstance(state, dict) and isinstance(state.get("model_state_dict"), dict):
        state = state["model_state_dict"]
    named = state.items() if isinstance(state, dict) else ()
    weights = {
        str(name).replace("linear_layer2.", "hidden_layers.0."): value for name, value in named if isinstance(value, Tensor)
    }
    found = {name: list(value.shape) for name, value in weights.items()}  # linear_layer2: older heads
    width = next(iter(found.get("linear_layer.bias", ())), 0)
    expected = {
        "linear_layer.weight": [width, TEXT_WIDTH],
        "linear_layer.bias": [width],
        "hidden_layers.0.weight": [width, width],
        "hidden_layers.0.bias": [width],
    }
    if width not in _WIDTHS or found != expected:
        raise InputError(f"{path} is not a Talk2DINO head: expected {expected} with width 768 or 1024, found {found}.")
    if not all(value.isfinite().all() for value in weights.values()):
        raise InputError(f"{path} holds weights that are not finite. Download it again for --talk2dino_ckpt.")
    head = Talk2DinoHead(width, TEXT_WIDTH)
    head.load_state_dict(weights)
    return head.eval().requires_grad_(False)


class Talk2DinoText:
    """Phrases in DINOv2's patch space: each is put into prompt templates, and their embeddings are averaged.

    Talk2DINO and DinoSplat use the 7 templates of CLIP's short list, OpenAI's ImageNet evaluation all 80.
    """

    negatives = NEGATIVES

    def __init__(
        self,
        checkpoint: Path | None,
        device: torch.device | str,
        clip_pretrained: str | None = None,
        templates: int = 7,
        temperature: float = TEMPERATURE,
    ):
        self.temperature = temperature
        self._head = load_head(checkpoint).to(device)
        self._clip = ClipEncoder(TEXT_MODEL, clip_pretrained or TEXT_WEIGHTS, device)
        self._templates = _templates(templates)
        self.width = self._head.linear_layer.out_features

    @torch.inference_mode()
    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
        """Unit rows."""
        # The head was trained on unnormalised text embeddings, so they are averaged without normalisation.
        texts = [
            self._clip.embed_text([template(phrase) for template in self._templates], normalize=False).mean(dim=0)
            for phrase in phrases
        ]
        return torch.nn.functional.normalize(self._head(torch.stack(texts)), dim=-1)


def _templates(number: int) -> Sequence[Callable[[str], str]]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    return {7: SIMPLE_IMAGENET_TEMPLATES, 80: OPENAI_IMAGENET_TEMPLATES}[number]
