"""CLIP-shaped dual encoders through OpenCLIP: any published model, or the bundled one under its name `mini`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from features import clip_patches, mini
from features.clip_loading import load_clip
from workspace import InputError


class ClipEncoder:
    """Image and text encoder of one OpenCLIP model; half precision on a GPU, full precision on a CPU.

    Deviates from LangSplat, whose CLIP runs in half precision everywhere: CPUs compute that slowly.

    Args:
        model: OpenCLIP's name of the model.
        pretrained: Its weights, as in `clip_loading.load_clip`.
        device: Where it runs.
        batch: Pictures, or phrases, encoded at a time.
        loaded: Network and tokenizer instead of `model`'s with `pretrained`, such as those of `random_networks`.

    Attributes:
        width: Width of an embedding.
        image_size: Side in pixels of the square images it takes.
        patch_size: Side in pixels of a patch; 0 where the image tower has none.

    Raises:
        InputError: the model or its weights are unknown, absent, or damaged; it has no text tower, takes pictures that are not
            square, or needs a package that is not installed.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        device: torch.device | str = "cpu",
        batch: int = 256,
        loaded: tuple[torch.nn.Module, Callable[[list[str]], Tensor]] | None = None,
    ):
        self.device = torch.device(device)
        self.batch = batch
        self._dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self._model, self._tokenizer = loaded or load_clip(model, pretrained, self.device)
        visual = self._model.visual
        if len(set(_sides(visual.image_size))) > 1:
            raise InputError(
                f"OpenCLIP model '{model}' takes pictures of {visual.image_size} pixels; only square ones are supported."
            )
        self.image_size = _sides(visual.image_size)[0]
        self.patch_size = _patch_size(visual)
        self._transform = _transform(visual.preprocess_cfg)
        normalize = self._transform.transforms[-1]  # mean and standard deviation that the weights were trained with
        self._mean = torch.tensor(normalize.mean, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(normalize.std, device=self.device).view(3, 1, 1)
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

    def resize(self, square: UInt8[np.ndarray, "n n 3"]) -> UInt8[np.ndarray, "side side 3"]:
        """A square RGB picture at `image_size`, with the filter of the model's own preprocessing."""
        from PIL import Image

        picture = Image.fromarray(square)
        for step in self._transform.transforms[:-2]:  # without tensor conversion and normalisation
            picture = step(picture)
        return np.asarray(picture)

    @torch.inference_mode()
    def embed_text(self, phrases: Sequence[str], *, normalize: bool = True) -> Float32[Tensor, "p d"]:
        """Embeddings of phrases, unit rows unless `normalize` is false; on the encoder's device."""
        tokens = self._tokenizer(list(phrases)).to(self.device)
        embeddings = torch.cat([self._model.encode_text(part) for part in tokens.split(self.batch)]).float()
        return torch.nn.functional.normalize(embeddings, dim=-1) if normalize else embeddings

    @torch.inference_mode()
    def embed_patches(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b h w d"]:
        """Unit patch tokens of the bundled encoder, of RGB images in [0, 1] whose sides are multiples of the patch."""
        return mini.patch_tokens(self._model.visual, self._normalize(images.to(self.device))).float()

    def check_patches(self, model: str) -> None:
        """InputError when the patches of `model`, for the message, cannot be compared with text (`clip_patches`)."""
        clip_patches.check_patches(model, self._model.visual)

    @torch.inference_mode()
    def embed_windows(self, images: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b h w d"]:
        """Unit patch tokens in the space of the embeddings, of RGB images in [0, 1] of `image_size`, as in `clip_patches`."""
        return clip_patches.patch_tokens(self._model.visual, self._normalize(images.to(self.device))).float()

    def _normalize(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b 3 height width"]:
        return ((images - self._mean) / self._std).to(self._dtype)


def _patch_size(visual: torch.nn.Module) -> int:
    embedding = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    return _sides(getattr(visual, "patch_size", None) or getattr(embedding, "patch_size", 0))[0]


def _sides(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


def _transform(preprocessing: dict[str, object]):  # noqa: ANN202 - torchvision's Compose
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**preprocessing), is_train=False)
