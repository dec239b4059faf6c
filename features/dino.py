"""`--features dino`: DINOv2 and DINOv3 patch tokens through timm."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from features.clip_loading import quiet
from features.dense import area_grid
from features.dense_extractor import dense_extractor
from features.extractor import Extractor, ExtractorSpec
from features.grid_store import GridStore
from features.load_errors import load_reason
from features.talk2dino import Talk2DinoText
from features.text import TEMPERATURE, TextOptions
from workspace import InputError
from workspace.record_types import FeatureSettings

_NO_TOKENS = "timm model '{}' gives no patch tokens on a grid of any size; choose a vit_* model."


@dataclass(frozen=True, kw_only=True)
class DinoOptions:
    """Flags of this extractor."""

    dino_model: str = "vit_base_patch14_reg4_dinov2.lvd142m"
    """timm model of the dense features; DINOv2 and DINOv3 vision transformers."""
    dino_ckpt: Path | None = None
    """Its weights as a file; fetched by timm without it."""
    dino_side: int = 518
    """Side in pixels of the square whose area images are scaled to, at their own aspect."""
    square: int | None = None
    """Side in pixels of the square that images are squashed to instead, prepared as published; DinoSplat's is 518."""
    windows: int = 1
    """How many times finer the patch grid is per side; above 1 the image is encoded in half-overlapping windows."""


class Dino(ExtractorSpec[DinoOptions]):
    """Patch tokens of a timm model; text through Talk2DINO."""

    store = GridStore
    text_options = ("talk2dino_ckpt", "talk2dino_templates", "clip_pretrained", "temperature")
    embeddings = "raw"
    options = DinoOptions

    def settings(self, options: DinoOptions) -> dict[str, object]:
        """Name of the network and the size of its grid."""
        if options.windows < 1 or options.dino_side < 1 or (options.square is not None and options.square < 1):
            raise InputError("--windows, --dino_side and --square are counts of 1 or more.")
        if options.square and options.dino_side != DinoOptions.dino_side:
            raise InputError("--dino_side and --square are two ways to size the picture. Leave one out.")
        settings = {"dino_model": options.dino_model, "square": options.square, "windows": options.windows}
        if options.dino_ckpt is not None:  # its name, as of --clip_pretrained: a finished stage does not need the file
            settings["dino_ckpt"] = str(options.dino_ckpt)
        return settings | ({"resize": "bilinear"} if options.square else {"dino_side": options.dino_side})

    def resolution(self, given: int, options: DinoOptions) -> int:
        """With `--square` the photograph is read at full size by default."""
        return 1 if options.square and given == -1 else given

    def load(self, options: DinoOptions, device: torch.device) -> Extractor:
        """The network and its patch grid.

        `--square` is DinoSplat's preprocessing: torchvision's default resizing, single precision. Deviates from it otherwise:
        the image keeps its aspect, is downscaled to a height of 1080 pixels first and then bicubically (as in DINOv2's own
        evaluation), and a GPU computes in half precision.
        """
        encoder = DinoEncoder(options.dino_model, options.dino_ckpt, device, half=not options.square)
        return grid_extractor(options, encoder)

    def text_encoder(self, settings: FeatureSettings, device: torch.device | str, options: TextOptions) -> Talk2DinoText:
        """CLIP's text tower and Talk2DINO's head."""
        return Talk2DinoText(
            options.talk2dino_ckpt,
            device,
            options.clip_pretrained,
            options.talk2dino_templates,
            options.temperature or TEMPERATURE,
        )


def grid_extractor(options: DinoOptions, encoder: "DinoEncoder") -> Extractor:
    """Patch grids of `encoder` at the size that `options` ask for."""

    def window(height: int, width: int) -> tuple[int, int]:
        if options.square:
            return max(1, options.square // encoder.patch_size), max(1, options.square // encoder.patch_size)
        return area_grid(height, width, options.dino_side, encoder.patch_size)

    def grid(height: int, width: int) -> tuple[int, int]:
        rows, columns = window(height, width)
        return rows * options.windows, columns * options.windows

    return dense_extractor(encoder.embed_patches, encoder.patch_size, grid, window, "bilinear" if options.square else "bicubic")


class DinoEncoder:
    """Normalised patch tokens of a timm vision transformer, at any image size that is a multiple of its patch.

    Positional embeddings are interpolated to the grid by timm (rotary ones need no interpolation). Half precision on a
    GPU unless `half` is false, full precision on a CPU. With `random` the weights are random and none are read: to measure
    its cost.

    Attributes:
        width: Width of a token.
        patch_size: Side in pixels of a patch.

    Raises:
        InputError: the model is unknown or gives no patch tokens, or its weights are absent or damaged.
    """

    def __init__(
        self,
        model: str,
        checkpoint: Path | None = None,
        device: torch.device | str = "cpu",
        half: bool = True,
        random: bool = False,
    ):
        self.device = torch.device(device)
        self._network = _load(model, checkpoint, random).to(self.device).eval().requires_grad_(False)
        self._dtype = torch.float16 if half and self.device.type == "cuda" else torch.float32
        self._network.to(self._dtype)
        self.patch_size = self._network.patch_embed.patch_size[0]
        self.width = self._network.num_features
        statistics = self._network.pretrained_cfg  # ImageNet's for DINOv2 and DINOv3
        self._mean = torch.tensor(statistics["mean"], device=self.device).view(3, 1, 1)
        self._std = torch.tensor(statistics["std"], device=self.device).view(3, 1, 1)

    @torch.inference_mode()
    def embed_patches(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b h w d"]:
        """Tokens after the last norm, without class and register tokens, of RGB images in [0, 1]."""
        h, w = images.shape[2] // self.patch_size, images.shape[3] // self.patch_size
        pixels = ((images.to(self.device) - self._mean) / self._std).to(self._dtype)
        tokens = self._network.forward_features(pixels)[:, self._network.num_prefix_tokens :]
        return tokens.unflatten(1, (h, w)).float()


def _load(model: str, checkpoint: Path | None, random: bool) -> torch.nn.Module:
    import timm

    if checkpoint is not None and not Path(checkpoint).is_file():
        raise InputError(f"No file {checkpoint}; --dino_ckpt takes a weight file of '{model}'.")
    if model.split(".")[0] not in timm.list_models():
        near = timm.list_models("*dinov2*") + timm.list_models("*dinov3*")
        raise InputError(f"timm has no model '{model}'. Fitting ones: {', '.join(near)}.")
    overlay = {} if checkpoint is None else {"pretrained_cfg_overlay": {"file": str(checkpoint)}}
    with quiet():
        try:
            network = timm.create_model(model, pretrained=not random, num_classes=0, dynamic_img_size=True, **overlay)
        except TypeError:  # its class has no dynamic_img_size
            raise InputError(_NO_TOKENS.format(model)) from None
        except Exception as error:  # noqa: BLE001 - a damaged file can raise any exception
            raise InputError(_explain(model, checkpoint, error)) from error
    if not hasattr(network, "patch_embed") or not hasattr(network, "num_prefix_tokens"):
        raise InputError(_NO_TOKENS.format(model))
    return network


def _explain(model: str, checkpoint: Path | None, error: Exception) -> str:
    reason = load_reason(error)
    if checkpoint is not None:
        return (
            f"{checkpoint} is not a whole weight file of timm model '{model}': {reason}. Fetch it again, or name the model it "
            "belongs to with --dino_model."
        )
    return (
        f"The weights of timm model '{model}' could not be fetched: {reason}\n"
        "With a network connection, this fetches and keeps them:\n"
        f"  python -c \"import timm; timm.create_model('{model}', pretrained=True)\"\n"
        "Without one, copy the weight file from another machine and add --dino_ckpt <file>."
    )
