"""Loading of OpenCLIP models and weights, with clear errors for missing ones."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import torch

from features import mini
from features.load_errors import load_reason
from workspace import InputError, read_json

log = logging.getLogger(__name__)

DEFAULT_MODEL, DEFAULT_WEIGHTS = "ViT-B-16", "laion2b_s34b_b88k"  # LangSplat's
OWN_WEIGHTS = "its own"  # recorded for models whose name includes their weights
_WITH_WEIGHTS = ("hf-hub:", "local-dir:")  # prefixes of such names
_WEIGHT_FILES = (".safetensors", ".bin", ".pth")  # endings that OpenCLIP looks for in a folder


def default_weights(model: str) -> str:
    """Default weights of `model`: the only published ones, or LangSplat's for ViT-B-16.

    Raises:
        InputError: OpenCLIP has no such model, or its weights are not published, or there are several.
    """
    if model == DEFAULT_MODEL:
        return DEFAULT_WEIGHTS
    if model == mini.MODEL or model.startswith(_WITH_WEIGHTS):
        return OWN_WEIGHTS
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if len(tags) == 1:
        return tags[0]
    _check_names(model, None)
    raise AssertionError  # no weights are refused


def embedding_width(model: str) -> int | None:
    """Entries of an embedding of an OpenCLIP model, without its weights; None when only the hub has its configuration."""
    return _config(model).get("embed_dim")


def load_clip(model: str, pretrained: str | None, device: torch.device):  # noqa: ANN201 (open_clip's classes share no base)
    """Network in evaluation mode and tokenizer; half precision on a GPU, full precision on a CPU.

    A weights file does not record its preprocessing, so that of the published weights of the model is used.

    Raises:
        InputError: the model or its weights are unknown, absent, or damaged, it has no text tower, or a package is missing.
    """
    import open_clip

    if bundled := model == mini.MODEL:
        pretrained = str(mini.WEIGHTS)
        open_clip.add_model_config(mini.CONFIG)
        if not mini.WEIGHTS.is_file():
            raise InputError(f"{mini.WEIGHTS}, which belongs to the code, is missing. Restore it: git checkout -- {mini.WEIGHTS}")
    _check_names(model, pretrained)
    config = _config(model)
    _check_config(model, config)
    if model.startswith(_WITH_WEIGHTS):
        _check_own_weights(model, pretrained)
    precision = "fp16" if device.type == "cuda" else "fp32"
    preprocessing = None if bundled else _published_preprocessing(model, pretrained)
    with quiet():
        try:
            network = open_clip.create_model(
                model,
                pretrained=pretrained,
                precision=precision,
                device=device,
                force_preprocess_cfg=preprocessing,
                force_quick_gelu=_published_with_quick_gelu(model, pretrained),
                weights_only=True,
            )
        except ImportError as error:
            raise InputError(_missing_package(model, error.name or str(error))) from error
        except Exception as error:  # noqa: BLE001 - a damaged file raises any exception
            raise InputError(_explain(model, pretrained, error)) from error
    if not hasattr(network, "encode_text"):
        raise InputError(_NO_TEXT.format(model))
    with quiet():
        try:
            tokenizer = mini.tokenizer() if bundled else open_clip.get_tokenizer(model)
        except ImportError as error:
            raise InputError(_missing_package(model, error.name or str(error))) from error
        except Exception as error:  # noqa: BLE001 - the hub client and tokenizers raise any exception
            raise InputError(_explain_tokenizer(model, config, error)) from error
    return network.eval().requires_grad_(False), tokenizer


_NO_TEXT = (
    "OpenCLIP model '{}' has no text tower, so that phrases cannot be compared with its embeddings. Choose a model of images and "
    'text; `python -c "import open_clip; print(*open_clip.list_models())"` lists them.'
)


def _check_names(model: str, pretrained: str | None) -> None:
    import open_clip

    if model.startswith(_WITH_WEIGHTS):
        return
    if model not in (known := open_clip.list_models()):
        near = get_close_matches(model, known, n=5, cutoff=0.4)
        raise InputError(
            f"OpenCLIP has no model '{model}'. Nearest names: {', '.join(near) or 'none'}. "
            f"This is version {open_clip.__version__}; a newer one may have it: pip install -U open_clip_torch"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained in tags or (pretrained and Path(pretrained).is_file()):
        return
    raise InputError(
        (f"OpenCLIP model '{model}' has no weights '{pretrained}', and that is no file. " if pretrained else "")
        + f"Give --clip_pretrained a file or one of the weights of '{model}': {', '.join(tags) or 'none published'}."
    )


def _check_own_weights(model: str, pretrained: str | None) -> None:
    """Refuse weights beside a name that includes them, and a folder without any: OpenCLIP would ignore the one and run random
    numbers for want of the other."""
    if pretrained not in (None, OWN_WEIGHTS):
        raise InputError(
            f"--clip_model {model} brings its own weights; --clip_pretrained {pretrained} has no effect. Leave it out."
        )
    folder = Path(model.removeprefix("local-dir:"))
    if model.startswith("local-dir:") and not any(found for ending in _WEIGHT_FILES for found in folder.glob(f"*{ending}")):
        raise InputError(
            f"{folder} has no weights: expected open_clip_model.safetensors or open_clip_pytorch_model.bin beside "
            "open_clip_config.json. Copy or fetch the whole repository again."
        )


def _config(model: str) -> dict:
    """OpenCLIP's configuration of the model; empty when only the hub has it."""
    import open_clip

    if model.startswith("local-dir:"):
        path = Path(model.removeprefix("local-dir:")) / "open_clip_config.json"
        found = read_json(path)
        if not isinstance(found, dict) or not isinstance(found.get("model_cfg"), dict):
            raise InputError(f"{path} is no configuration of an OpenCLIP model: expected an object with `model_cfg`.")
        return found["model_cfg"]
    return open_clip.get_model_config(model) or {}


def _check_config(model: str, config: dict) -> None:
    if not config:
        return
    if "text_cfg" not in config:
        raise InputError(_NO_TEXT.format(model))
    text = config["text_cfg"]
    if ("hf_tokenizer_name" in text or "hf_model_name" in text) and find_spec("transformers") is None:
        raise InputError(_missing_package(model, "transformers"))


def _published_preprocessing(model: str, pretrained: str | None) -> dict | None:
    """Mean, deviation and resizing of the published weights of `model` when `pretrained` is a file, else None."""
    import open_clip

    tags = [] if model.startswith(_WITH_WEIGHTS) else open_clip.list_pretrained_tags_by_model(model)
    if not tags or pretrained in tags:
        return None
    rows = Counter(_row(open_clip.get_pretrained_cfg(model, tag)) for tag in tags)
    common = rows.most_common(1)[0][0]
    others = [tag for tag in tags if _row(open_clip.get_pretrained_cfg(model, tag))[:3] != common[:3]]
    if others:
        log.warning(
            "%s is prepared for like most weights of %s; %s are prepared for in another way: name them instead of a file.",
            pretrained, model, ", ".join(others),
        )  # fmt: skip
    return {name: value for name, value in zip(_FIELDS, common, strict=True) if value is not None}


def _published_with_quick_gelu(model: str, pretrained: str | None) -> bool:
    """Whether the published weights `pretrained` were trained with QuickGELU; OpenCLIP itself only warns, and runs GELU."""
    import open_clip

    return bool(open_clip.get_pretrained_cfg(model, pretrained).get("quick_gelu")) if pretrained else False


_FIELDS = ("mean", "std", "interpolation", "resize_mode")  # resize_mode has no effect on square pictures


def _row(config: dict) -> tuple:
    values = (config.get(name) for name in _FIELDS)
    return tuple(tuple(value) if isinstance(value, (list, tuple)) else value for value in values)


def _missing_package(model: str, package: str) -> str:
    return f"OpenCLIP model '{model}' needs the package {package}, which is not installed: pip install {package}"


def _explain_tokenizer(model: str, config: dict, error: Exception) -> str:
    name = config.get("text_cfg", {}).get("hf_tokenizer_name", model)
    return (
        f"The tokenizer '{name}' of OpenCLIP model '{model}' could not be fetched or read: {load_reason(error)}\n"
        "With a network connection, this fetches and keeps it:\n"
        f"  python -c \"import open_clip; open_clip.get_tokenizer('{model}')\""
    )


def _explain(model: str, pretrained: str | None, error: Exception) -> str:
    reason = load_reason(error)
    if pretrained and Path(pretrained).is_file():
        return (
            f"{pretrained} ({Path(pretrained).stat().st_size / 1e6:.1f} MB) is not a whole weight file of OpenCLIP model "
            f"'{model}': {reason}\nFetch it again, or name the model it belongs to with --clip_model."
        )
    if model.startswith("local-dir:"):
        return (
            f"The weights in {model.removeprefix('local-dir:')} cannot be used with its open_clip_config.json: {reason}\n"
            "Copy or fetch the whole repository again."
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
