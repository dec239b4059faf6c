"""`doctor.py --weights`: the check by meaning of SAM with CLIP and of DINOv2 with Talk2DINO, for a bug report."""

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from diagnosis.meaning import answers, verdict
from features.preprocessing import PreprocessConfig
from features.text import TextOptions
from workspace import InputError
from workspace.device import chosen_device
from workspace.files import file_digest


@dataclass(frozen=True)
class Weights:
    """Where the weights are; None: the usual place, or the cache of their library."""

    sam: Path | None = None
    sam_model_type: str = "vit_h"
    clip_model: str | None = None
    clip: str | None = None
    dino_model: str | None = None
    dino: Path | None = None
    talk2dino: Path | None = None
    talk2dino_clip: str | None = None
    preset: str = "fast"


def check_weights(weights: Weights) -> int:
    """Print what each pair of weights says of the photographs; 0 when all that are here pass, else 1.

    Missing files are said to be missing. CLIP and DINOv2 are fetched when they are neither given nor in their library's cache.
    """
    device = chosen_device("auto")
    print("\nWeights by meaning: three photographs of scikit-image (CC0, public domain), ten phrases")
    print(f"  {_versions()}, {device}")
    results = [_check(name, options, text, files, device) for name, options, text, files in _pairs(weights)]
    checked = [result for result in results if result is not None]
    if len(checked) < len(results):
        print(f"\n{len(results) - len(checked)} of {len(results)} pairs were NOT checked: their weights are not here.")
    return 0 if checked and all(checked) else 1


def _pairs(weights: Weights) -> Iterator[tuple[str, PreprocessConfig, TextOptions, list[Path]]]:
    default = PreprocessConfig(source_path=Path())
    sam_clip = replace(
        default,
        preset=weights.preset,
        sam_ckpt_path=weights.sam or default.sam_ckpt_path,
        sam_model_type=weights.sam_model_type,
        clip_model=weights.clip_model or default.clip_model,
        clip_pretrained=weights.clip,
    )
    yield "SAM + CLIP", sam_clip, TextOptions(clip_pretrained=weights.clip), [sam_clip.sam_ckpt_path]
    dino = replace(default, features="dino", dino_model=weights.dino_model or default.dino_model, dino_ckpt=weights.dino)
    head = weights.talk2dino or Path("ckpts/vitb_mlp_infonce.pth")
    text = TextOptions(talk2dino_ckpt=head, clip_pretrained=weights.talk2dino_clip)
    yield "DINOv2 + Talk2DINO", dino, text, [head]


def _check(name: str, options: PreprocessConfig, text: TextOptions, files: list[Path], device: torch.device) -> bool | None:
    print(f"\n{name}")
    missing = [path for path in files if not path.is_file()]  # before the others are loaded or fetched
    if missing:
        print(f"  not checked: no file {missing[0]}. python doctor.py says where to get it; --help lists flags for other places.")
        return None
    found = []
    try:
        for answer in answers(options, text, device):
            print(f"  {answer}", flush=True)
            found.append(answer)
    except InputError as error:
        print(f"  not checked: {error}")
        return None
    for path in files:
        print(f"  {path.name}: sha256 {file_digest(path)[:16]}")
    passes, sentence = verdict(found)
    print(f"  {name} {sentence}")
    return passes


def _versions() -> str:
    names = ("torch", "open_clip_torch", "timm", "segment-anything")
    return ", ".join([f"Python {platform.python_version()} on {sys.platform}", *(f"{name} {_version(name)}" for name in names)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
