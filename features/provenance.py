"""Which photographs a scene's features were made from, so that replaced photographs are noticed by their content."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from features.photographs import Photographs, scene_photographs
from features.record import feature_folder
from scene.photographs import names_text, photograph_digest
from workspace import InputError, SceneFolder


def made_from(scene: SceneFolder, folder: Path) -> dict[str, str]:
    """Digest of the photograph behind the features of each image, as the extraction logged it.

    Images whose features were made elsewhere, such as by LangSplat, are left out: nothing is known of them.
    """
    newest: dict[str, tuple[float, str]] = {}
    for log in scene.extraction_logs(folder):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                entry = (float(row["at"]), str(row["photograph"]))
                newest[row["image"]] = max(entry, newest.get(row["image"], entry))
            except (ValueError, KeyError, TypeError):  # a line that a killed run, or another shard just now, has half written
                continue
    return {image: digest for image, (_, digest) in newest.items()}


def digests(photographs: Photographs) -> dict[str, str]:
    """Digest of every photograph by key; those that cannot be read are left out, their readers report them."""

    def digest(path: Path) -> str:
        try:
            return photograph_digest(path)
        except OSError:
            return ""

    with ThreadPoolExecutor() as pool:
        found = dict(zip(photographs, pool.map(digest, (path for path, _ in photographs.values())), strict=True))
    return {key: value for key, value in found.items() if value}


def replaced(made: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Images whose photograph is another one now than the one their features were made from."""
    return [key for key, digest in made.items() if now.get(key, digest) != digest]


def refuse_replaced(scene: SceneFolder, features: str) -> dict[str, str]:
    """What the features were made from; InputError when photographs were replaced since, with the command that helps."""
    made = made_from(scene, feature_folder(scene, features))
    changed = replaced(made, digests(scene_photographs(scene))) if made else []
    if changed:
        raise InputError(
            f"{len(changed)} photographs of {scene.root} were replaced since their features were made: {names_text(changed)}. "
            f"Make the features of these again: python preprocess.py -s {scene.root} --features {features}"
        )
    return made
