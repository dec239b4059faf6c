"""Extractors by name, the store of a scene's features, and the text encoder of their space.

A new extractor is one file with an `ExtractorSpec` and one line here. A new kind of features is a `FeatureStore` in that file.
"""

from dataclasses import fields
from typing import Literal

import torch

from features.clip_dense import ClipDense
from features.dino import Dino
from features.entry_points import registered
from features.extractor import ExtractorSpec
from features.feature_store import FeatureStore
from features.mini_extractors import MiniGrid, MiniSegments
from features.own_segments import OwnSegments
from features.sam_clip import SamClip
from features.text import TextEncoder, TextOptions
from workspace import InputError, SceneFolder
from workspace.record_types import FeatureSettings, FeaturesRecord
from workspace.stage_record import RECORD, read_record, require

EXTRACTORS: dict[str, ExtractorSpec] = {
    "sam_clip": SamClip(),
    "mini": MiniSegments(),
    "dino": Dino(),
    "mini_dense": MiniGrid(),
    "clip_dense": ClipDense(),
    "own": OwnSegments(),
}
EXTRACTORS |= registered(taken=EXTRACTORS)
DEFAULT = "sam_clip"
OPTIONS = tuple(dict.fromkeys(spec.options for spec in EXTRACTORS.values() if spec.options is not None))
ExtractorName = Literal[tuple(EXTRACTORS)]


def open_store(scene: SceneFolder, extractor: str | None = None) -> FeatureStore:
    """The finished features of `scene`, from `extractor` or from the only one that was run.

    Folders written by LangSplat or DinoSplat have no record; they are read as the default output of those programs.

    Raises:
        InputError: `extractor` was not run, the extraction is incomplete, or `extractor` is None and the scene has features
            of several kinds.
    """
    store = _present(scene) if extractor is None else spec_of(extractor).store
    folder = store.folder_of(scene)
    preprocess, wanted = f"python preprocess.py -s {scene.root} --features", extractor or DEFAULT
    recorded = (folder / RECORD).exists()
    if recorded:
        settings = read_record(folder, FeaturesRecord, f"Run: {preprocess} {wanted} --overwrite").config
    else:
        settings = store.foreign_settings(scene) if folder.is_dir() else None
    made = settings.extractor if settings else wanted
    if extractor is not None and made != extractor:
        raise InputError(
            f"{folder} holds {made} features, not {extractor}. To replace them: {preprocess} {extractor} --overwrite"
        )
    if recorded or settings is None:
        settings = require(folder, FeaturesRecord, f"{preprocess} {made}").config
    return store(scene, settings)


def text_encoder(
    settings: FeatureSettings,
    device: torch.device | str,
    options: TextOptions = TextOptions(),  # noqa: B008 - frozen
) -> TextEncoder:
    """Text encoder whose vectors can be compared with the features made with `settings` (`FeatureStore.settings`).

    Raises:
        InputError: weights are missing or are not those the features were made with, or an option does not apply to them.
    """
    refuse_foreign_options(settings.extractor, options)
    return spec_of(settings.extractor).text_encoder(settings, device, options)


def refuse_foreign_options(extractor: str, options: TextOptions) -> None:
    """Raise InputError for an option that the text encoder of these features does not take."""
    spec = spec_of(extractor)
    for option in fields(TextOptions):
        given = getattr(options, option.name)
        if spec.text_options is not None and option.name not in spec.text_options and given != option.default:
            takers = [name for name, other in EXTRACTORS.items() if option.name in (other.text_options or ())]
            raise InputError(
                f"--{option.name} {given} does not apply: the scene has {extractor} features, and the flag is for "
                f"{', '.join(takers)}. Leave it out."
            )


def spec_of(extractor: str) -> ExtractorSpec:
    """The extractor of a name; InputError for an unknown name, such as one from the record of a newer version."""
    if extractor not in EXTRACTORS:
        raise InputError(f"No extractor {extractor!r}; there are {', '.join(EXTRACTORS)}.")
    return EXTRACTORS[extractor]


def _present(scene: SceneFolder) -> type[FeatureStore]:
    stores = dict.fromkeys(spec.store for spec in EXTRACTORS.values())
    present = [store for store in stores if (folder := store.folder_of(scene)).is_dir() and any(folder.iterdir())]
    if len(present) > 1:
        names = " and ".join(store.folder_of(scene).name for store in present)
        raise InputError(f"{scene.root} has both {names}; say which with --features ({', '.join(EXTRACTORS)}).")
    return present[0] if present else EXTRACTORS[DEFAULT].store
