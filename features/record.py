"""What a scene's features were made with; every later stage asks here, so that spaces are never mixed."""

import hashlib
from pathlib import Path
from typing import Literal

from features import mini
from features.grids import read_grid
from features.photographs import scene_photographs
from features.segment_files import read_segments
from workspace import InputError, SceneFolder
from workspace.record import RECORD, read_record, require
from workspace.records import FeatureSettings, FeaturesRecord

Features = Literal["sam_clip", "mini", "dino", "mini_dense"]
SEGMENTED: tuple[str, ...] = ("sam_clip", "mini")  # segments and their embeddings; the others are patch grids
LANGSPLAT = FeatureSettings("sam_clip", clip_model="ViT-B-16", clip_pretrained="laion2b_s34b_b88k")  # what LangSplat uses


def feature_folder(scene: SceneFolder, features: str) -> Path:
    """Folder of the scene that an extractor writes to."""
    return scene.language_features if features in SEGMENTED else scene.dino_features


def mini_weights_hash() -> str:
    """Beginning of the SHA-256 of the bundled encoder's weights, so that features of an older one are recognised."""
    return hashlib.sha256(mini.WEIGHTS.read_bytes()).hexdigest()[:16] if mini.WEIGHTS.is_file() else ""


def features_record(scene: SceneFolder, features: str | None = None) -> FeaturesRecord:
    """Record of the finished features stage of `scene`; `config.features` says which extractor made them.

    Folders written by LangSplat or DinoSplat carry no record; they are taken for what those programs write by default:
    SAM + OpenCLIP ViT-B-16 `laion2b_s34b_b88k`, and DINOv2 ViT-B/14 with registers.

    Raises:
        InputError: `features` was not extracted, the extraction is incomplete, or `features` is None and the scene has
            both kinds of folder.
    """
    if features is None:
        present = [
            folder for folder in (scene.language_features, scene.dino_features) if folder.is_dir() and any(folder.iterdir())
        ]
        if len(present) == 2:
            raise InputError(
                f"{scene.root} has both {present[0].name} and {present[1].name}; say which with --features "
                "(sam_clip, mini, dino or mini_dense)."
            )
        folder = present[0] if present else scene.language_features
    else:
        folder = feature_folder(scene, features)
    preprocess, wanted = f"python preprocess.py -s {scene.root} --features", features or "sam_clip"
    recorded = (folder / RECORD).exists()
    if recorded:
        found = read_record(folder, FeaturesRecord, f"Run: {preprocess} {wanted} --overwrite")
    else:
        found = _foreign(scene, folder) if folder.is_dir() else None
    made = found.config.features if found else wanted
    if features is not None and made != features:
        raise InputError(f"{folder} holds {made} features, not {features}. To replace them: {preprocess} {features} --overwrite")
    return found if found and not recorded else require(folder, FeaturesRecord, f"{preprocess} {made}")


def _foreign(scene: SceneFolder, folder: Path) -> FeaturesRecord | None:
    keys = list(scene_photographs(scene))
    if folder == scene.language_features:
        present = [key for key in keys if scene.segment_maps(key).is_file()]
        config = LANGSPLAT
        width, expected = (read_segments(scene, present[0])[0].shape[1], 512) if present else (None, None)
    else:
        present = [key for key in keys if scene.foreign_patch_grid(key).is_file()]
        config = FeatureSettings("dino", dino_model="vit_base_patch14_reg4_dinov2.lvd142m")
        width, expected = (read_grid(scene, present[0]).shape[2], 768) if present else (None, None)
    if not present:
        return None
    if width != expected:
        raise InputError(
            f"{folder} has no {RECORD} and its features are {width} wide; files without a record must be {expected} wide."
        )
    if len(present) < len(keys):
        missing = next(key for key in keys if key not in present)
        raise InputError(
            f"{folder} has no {RECORD} and lacks {len(keys) - len(present)} of {len(keys)} images, for example '{missing}'."
        )
    return FeaturesRecord(config=config, complete=True)
