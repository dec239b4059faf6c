"""CLIP-shaped dual encoders through OpenCLIP: any published model, or the bundled one under its name `mini`."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from features import mini
from workspace import InputError


class ClipEncoder:
    """Image and text encoder of one OpenCLIP model; half precision on a GPU, full precision on a CPU.

    Deviates from LangSplat, whose CLIP runs in half precision everywhere: CPUs compute that slowly.

    Attributes:
        width: Width of an embedding.
        image_size: Side in pixels of the square images it takes.
        patch_size: Side in pixels of a patch.

    Raises:
        InputError: the model or its weights are unknown, absent, or damaged.
    """

    def __init__(self, model: str, pretrained: str | None = None, device: torch.device | str = "cpu", batch: int = 256):
        self.device = torch.device(device)
        self.batch = batch
        self._dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self._model, self._tokenizer = _load(model, pretrained, self.device)
        visual = self._model.visual
        self.image_size = _side(visual.image_size)
        self.patch_size = _side(getattr(visual, "patch_size", 0))
        preprocessing = visual.preprocess_cfg  # mean and standard deviation that the weights were trained with
        self._mean = torch.tensor(preprocessing["mean"], device=self.device).view(3, 1, 1)
        self._std = torch.tensor(preprocessing["std"], device=self.device).view(3, 1, 1)
        self.width = self.embed_text(["object"]).shape[1]

    @torch.inference_mode()
    def embed_crops(self, crops: UInt8[Tensor, "k side side 3"]) -> Float32[Tensor, "k d"]:
        """Unit embeddings of RGB crops that have the encoder's `image_size`; on the encoder's device.

        Deviates from LangSplat, which rounds them to half precision before it stores them as float32.
        """
        if len(crops) == 0:
            return torch.zeros(0, self.width, device=self.device)
        embeddings = [
            self._model.encode_image(self._normalize(part.to(self.device).permute(0, 3, 1, 2).float() / 255))
            for part in crops.split(self.batch)
        ]
        return torch.nn.functional.normalize(torch.cat(embeddings).float(), dim=-1)

    @torch.inference_mode()
    def embed_text(self, phrases: Sequence[str], *, normalize: bool = True) -> Float32[Tensor, "p d"]:
        """Embeddings of phrases, unit rows unless `normalize` is false; on the encoder's device."""
        tokens = self._tokenizer(list(phrases)).to(self.device)
        embeddings = torch.cat([self._model.encode_text(part) for part in tokens.split(self.batch)]).float()
        return torch.nn.functional.normalize(embeddings, dim=-1) if normalize else embeddings

    @torch.inference_mode()
    def embed_patches(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b h w d"]:
        """Unit patch tokens in the space of the embeddings, of RGB images in [0, 1] whose sides are multiples of the patch."""
        return mini.patch_tokens(self._model.visual, self._normalize(images.to(self.device))).float()

    def _normalize(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b 3 height width"]:
        return ((images - self._mean) / self._std).to(self._dtype)


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def _load(model: str, pretrained: str | None, device: torch.device):
    import open_clip

    if bundled := model == mini.MODEL:
        pretrained = str(mini.WEIGHTS)
        open_clip.add_model_config(mini.CONFIG)
        if not mini.WEIGHTS.is_file():
            raise InputError(f"{mini.WEIGHTS}, which belongs to the code, is missing. Restore it: git checkout -- {mini.WEIGHTS}")
    _check_names(model, pretrained)
    precision = "fp16" if device.type == "cuda" else "fp32"
    with quiet():
        try:
            network = open_clip.create_model(model, pretrained=pretrained, precision=precision, device=device, weights_only=True)
        except Exception as error:  # noqa: BLE001 - a damaged file raises any exception
            raise InputError(_explain(model, pretrained, error)) from error
        tokenizer = mini.tokenizer() if bundled else open_clip.get_tokenizer(model)
    return network.eval().requires_grad_(False), tokenizer


def _check_names(model: str, pretrained: str | None) -> None:
    import open_clip

    if model.startswith(("hf-hub:", "local-dir:")):  # such a name includes its weights
        return
    if model not in (known := open_clip.list_models()):
        near = get_close_matches(model, known, n=5, cutoff=0.4)
        raise InputError(f"OpenCLIP has no model '{model}'. Nearest names: {', '.join(near) or 'none'}.")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained in tags or (pretrained and Path(pretrained).is_file()):
        return
    raise InputError(
        f"OpenCLIP model '{model}' has no weights '{pretrained}', and that is no file. "
        f"Give --clip_pretrained a file or one of: {', '.join(tags) or 'none published'}."
    )


def _explain(model: str, pretrained: str | None, error: Exception) -> str:
    # the first sentence: torch's next ones advise to load without weights_only
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
    if pretrained and Path(pretrained).is_file():
        return (
            f"{pretrained} ({Path(pretrained).stat().st_size / 1e6:.1f} MB) is not a whole weight file of OpenCLIP model "
            f"'{model}': {reason}\nFetch it again, or name the model it belongs to with --clip_model."
        )
    return (
        f"The weights '{pretrained}' of OpenCLIP model '{model}' could not be fetched: {reason}\n"
        "With a network connection, this fetches and keeps them:\n"
        f"  python -c \"import open_clip; open_clip.create_model('{model}', pretrained='{pretrained}')\"\n"
        "Without one, copy the weight file from another machine and add --clip_pretrained <file>."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the log of libraries while they load a model; errors are raised."""
    # OpenCLIP and the hub client report each step and each retry, the former through the root logger
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(previous)
