"""Interface of every kind of features: reading and writing of values by image, and the queries of later stages."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int

from features.photographs import scene_photographs
from features.provenance import digests, replaced
from features.targets import Target
from scene.camera import Camera
from scene.photographs import names_text
from workspace import InputError, SceneFolder
from workspace.record_types import FeatureSettings, FeaturesRecord
from workspace.stage_record import read_record


@runtime_checkable
class ImageFeatures(Protocol):
    """Features of one image."""

    def counts(self) -> dict[str, int]:
        """Numbers of embeddings by kind, for the log."""


Value = TypeVar("Value", bound=ImageFeatures)


class FeatureStore(ABC, Generic[Value]):
    """Features of one kind in a scene folder, one value per photograph, by the photograph's key.

    A kind of features is one subclass; no other code depends on the kind.

    Attributes:
        levels: Levels that a target can have, in the order of `--feature_level`.
        trained_levels: Levels that a language field is trained on when none is named.
        dense: True for one embedding per patch: neighbours are nearly equal, so a subset suffices to fit a compressor.
            False for one per segment.
        code_dtype: Data type of the stored codes of an image.
        settings: Settings that the features were computed with, as recorded; they decide the text encoder
            (`features.registry.text_encoder`).
    """

    levels: ClassVar[tuple[str, ...]]
    trained_levels: ClassVar[tuple[str, ...]]
    dense: ClassVar[bool]
    code_dtype: ClassVar[type[np.floating]]

    def __init__(self, scene: SceneFolder, settings: FeatureSettings):
        self.scene = scene
        self.settings = settings

    @property
    def extractor(self) -> str:
        """Name of the extractor, as in `--features`."""
        return self.settings.extractor

    @property
    def folder(self) -> Path:
        """Stage folder of the features."""
        return self.folder_of(self.scene)

    @classmethod
    @abstractmethod
    def folder_of(cls, scene: SceneFolder) -> Path:
        """Folder of features of this kind in `scene`."""

    @classmethod
    @abstractmethod
    def foreign_settings(cls, scene: SceneFolder) -> FeatureSettings | None:
        """Settings of the features that another program wrote without a record, or None when there are none.

        Raises:
            InputError: they are not what that program writes by default, or images are missing.
        """

    @abstractmethod
    def has(self, key: str) -> bool:
        """Whether the features of image `key` were written by us, all of them."""

    @abstractmethod
    def read(self, key: str) -> Value:
        """Features of image `key`; InputError when they are missing, unreadable, or do not belong together."""

    def check_space(self, key: str, value: Value) -> None:  # noqa: B027 - patches of one network cannot differ
        """InputError when new features of image `key` cannot be compared with those that are there."""

    @abstractmethod
    def write(self, key: str, value: Value) -> None:
        """Write the features of image `key`, atomically."""

    @abstractmethod
    def embeddings(self, key: str) -> Float[np.ndarray, "*shape d"]:
        """Embeddings of image `key` alone: [m, d] of its segments or [h, w, d] of its patches; errors as `read`."""

    @abstractmethod
    def target(
        self, key: str, codes: Float[np.ndarray, "..."], levels: Sequence[str], camera: Camera, device: torch.device
    ) -> Target:
        """The codes of image `key`, one per embedding, as a target in `camera` at some of `levels`.

        Raises:
            InputError: the codes are not those of the image's embeddings, or the features are of a picture of another shape.
        """

    def membership(self, key: str) -> tuple[Int[np.ndarray, "*shape"], Int[np.ndarray, "*shape"]]:
        """For each embedding of image `key`, the index of its level in `levels` and its number of pixels."""
        shape = self.embeddings(key).shape[:-1]
        return np.zeros(shape, np.int64), np.ones(shape, np.int64)

    def label_maps(self, key: str, levels: Sequence[str], camera: Camera) -> Int[np.ndarray, "level h w"]:
        """At each pixel and level, the index of the embedding of image `key`, -1 where there is none.

        Raises:
            InputError: the features do not say which embedding a pixel has, or are of a picture of another shape.
        """
        raise InputError(
            f"{self.extractor} features do not say which embedding a pixel has, so that they cannot be lifted. Compress them "
            f"with another method: python train_autoencoder.py -s {self.scene.root} --method pca --overwrite"
        )

    def keys(self) -> list[str]:
        """Keys of the scene's photographs, sorted."""
        return list(scene_photographs(self.scene))

    def made_from(self) -> dict[str, str]:
        """Digest of the photograph behind the features of each image, as the extraction logged it.

        Images whose features come from another program are left out, since it writes no log.
        """
        newest: dict[str, tuple[float, str]] = {}
        for log in self.scene.extraction_logs(self.folder):
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    row = json.loads(line)
                    entry = (float(row["at"]), str(row["photograph"]))
                    newest[row["image"]] = max(entry, newest.get(row["image"], entry))
                except (
                    ValueError,
                    KeyError,
                    TypeError,
                    OverflowError,
                    RecursionError,
                ):  # a line half written by a killed run or by a running shard
                    continue
        return {image: digest for image, (_, digest) in newest.items()}

    def refuse_replaced(self) -> dict[str, str]:
        """`made_from`; InputError when photographs were replaced since, with the command that fixes it."""
        made = self.made_from()
        changed = replaced(made, digests(scene_photographs(self.scene))) if made else []
        if changed:
            raise InputError(
                f"{len(changed)} photographs of {self.scene.root} were replaced since their features were made: "
                f"{names_text(changed)}. Make the features of these again: {self.command()}"
            )
        return made

    def command(self) -> str:
        """The command that makes these features: the recorded one with its flags, when there is a record."""
        plain = f"python preprocess.py -s {self.scene.root} --features {self.extractor}"
        try:
            return read_record(self.folder, FeaturesRecord, plain).command or plain
        except InputError:
            return plain

    def _check_codes(self, key: str, codes: np.ndarray, shape: tuple[int, ...], of: str) -> None:
        expected = (*shape, codes.shape[-1] if codes.ndim else 1)
        if codes.shape != expected:
            raise InputError(
                f"The array of codes of image '{key}' has shape {codes.shape}; expected {expected}, one code for each {of}. "
                f"Write the codes again: python train_autoencoder.py -s {self.scene.root} --overwrite"
            )
