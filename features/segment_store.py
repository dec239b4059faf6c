"""Segment features: the exchange format of the LangSplat family, one pair of files per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32

from features.feature_store import FeatureStore
from features.targets import SegmentTarget
from scene.camera import Camera
from workspace import InputError, SceneFolder, load_array, save_array
from workspace.record_types import FeatureSettings
from workspace.stage_record import RECORD

LEVELS = ("default", "s", "m", "l")  # all of SAM's masks, then subpart, part and whole; the order in every file
LANGSPLAT = FeatureSettings("sam_clip", clip_model="ViT-B-16", clip_pretrained="laion2b_s34b_b88k")  # what LangSplat uses
LANGSPLAT_WIDTH = 512
INT16_SEGMENTS = 2**15 - 1


@dataclass(frozen=True)
class Segments:
    """Segments of one image at all levels, each with its embedding."""

    embeddings: Float32[np.ndarray, "m d"]
    """Unit rows of all levels, in the order of LEVELS."""
    maps: Int32[np.ndarray, "level h w"]
    """Per level the row at each pixel, -1 where there is no segment."""

    def counts(self) -> dict[str, int]:
        """Number of segments."""
        return {"segments": len(self.embeddings)}


class SegmentStore(FeatureStore[Segments]):
    """`<key>_f.npy` float32 [m, d] and `<key>_s.npy` int32 [4, h, w] in `language_features/`.

    Files of LangSplat and its descendants (float32 maps, float16 embeddings) are read too. Deviates from their float32 maps,
    in which indices above 2^24 are not exact.
    """

    levels = LEVELS
    trained_levels = LEVELS[1:]
    dense = False
    code_dtype = np.float32
    _known_width: int | None = None

    @classmethod
    def folder_of(cls, scene: SceneFolder) -> Path:
        """`language_features/`."""
        return scene.language_features

    @classmethod
    def foreign_settings(cls, scene: SceneFolder) -> FeatureSettings | None:
        """LangSplat's: SAM and OpenCLIP ViT-B-16 `laion2b_s34b_b88k`, 512 wide."""
        store = cls(scene, LANGSPLAT)
        keys = store.keys()
        present = [key for key in keys if scene.segment_maps(key).is_file()]
        if not present:
            return None
        refuse_foreign(store.folder, keys, present, store.embeddings(present[0]).shape[1], LANGSPLAT_WIDTH)
        return store.settings

    def has(self, key: str) -> bool:
        """Whether both files of image `key` are there. The map is written last."""
        return self.scene.segment_maps(key).is_file() and self.scene.segment_embeddings(key).is_file()

    def check_space(self, key: str, value: Segments) -> None:
        """InputError when the embeddings have another width than those of the other images."""
        width = value.embeddings.shape[1]
        if self._known_width is None:
            other = next((name for name in self.keys() if name != key and self.has(name)), None)
            self._known_width = width if other is None else self.embeddings(other).shape[1]
        if width != self._known_width:
            raise InputError(
                f"'{key}': the embeddings are {width} wide, those of other pictures {self._known_width}. "
                "One scene has one embedding space."
            )

    def write(self, key: str, value: Segments) -> None:
        """Write both files of image `key`."""
        self._check(key, value)
        save_array(self.scene.segment_embeddings(key), value.embeddings)
        save_array(self.scene.segment_maps(key), value.maps)

    def read(self, key: str) -> Segments:
        """Segments of image `key`; InputError when a file is missing, unreadable, or the two do not belong together."""
        embeddings = self.embeddings(key)
        maps = load_array(self.scene.segment_maps(key))
        if maps.dtype.kind not in "fiu":
            raise InputError(f"{self._files(key)}: expected numbers, found {maps.dtype}. {self._remedy()}")
        if maps.size and not (maps.min() >= -1 and maps.max() < len(embeddings)):  # before the cast, which would overflow
            found = f"found {maps.min()} to {maps.max()}"
            raise InputError(f"{self._files(key)}: expected indices from -1 to {len(embeddings) - 1}, {found}. {self._remedy()}")
        indices = maps.astype(np.int32)
        if maps.dtype.kind == "f" and not np.array_equal(indices, maps):
            raise InputError(f"{self.scene.segment_maps(key)} holds values that are not whole numbers; expected segment indices.")
        segments = Segments(embeddings, indices)
        self._check(key, segments)
        return segments

    def embeddings(self, key: str) -> Float32[np.ndarray, "m d"]:
        """Embeddings of all levels, in the order of LEVELS; the map is not read."""
        if not self.has(key):
            raise InputError(f"No segment features for image '{key}' in {self.folder}. Run: {self.command()}")
        path = self.scene.segment_embeddings(key)
        embeddings = load_array(path)
        if embeddings.dtype.kind != "f" or embeddings.ndim != 2:
            raise InputError(
                f"{path}: expected floats [m, d], found {embeddings.dtype} {list(embeddings.shape)}. {self._remedy()}"
            )
        with np.errstate(over="ignore"):
            embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        if not np.isfinite(embeddings).all():
            raise InputError(f"{path}: the embeddings hold values that are not finite. {self._remedy()}")
        return embeddings

    def target(
        self, key: str, codes: Float[np.ndarray, "..."], levels: Sequence[str], camera: Camera, device: torch.device
    ) -> SegmentTarget:
        """Codes at the size of the image's segment maps."""
        segments = self.read(key)
        self._check_codes(key, codes, (len(segments.embeddings),), f"segment of {self.scene.segment_embeddings(key)}")
        self._check_shape(key, camera, *segments.maps.shape[:0:-1])
        ids = segments.maps[[LEVELS.index(level) for level in levels]]
        none = len(codes)
        ids = np.where(ids < 0, none, ids).astype(np.int16 if none <= INT16_SEGMENTS else np.int32)
        table = np.concatenate([codes, np.zeros((1, codes.shape[1]), codes.dtype)])
        return SegmentTarget(
            torch.from_numpy(ids).to(device),
            torch.from_numpy(np.ascontiguousarray(table.T, dtype=np.float32)).to(device),
            complete=not bool((ids == none).any()),
        )

    def membership(self, key: str) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Level and pixels of each segment; a segment covered by later ones has no pixels, and its level is unknown."""
        segments = self.read(key)
        count = len(segments.embeddings)
        pixels = np.stack([np.bincount(level[level >= 0], minlength=count) for level in segments.maps])
        return pixels.argmax(0), pixels.sum(0)

    def label_maps(self, key: str, levels: Sequence[str], camera: Camera) -> Int32[np.ndarray, "level h w"]:
        """The segment maps of these levels, at their size."""
        maps = self.read(key).maps
        self._check_shape(key, camera, *maps.shape[:0:-1])
        return maps[[LEVELS.index(level) for level in levels]]

    def _check_shape(self, key: str, camera: Camera, width: int, height: int) -> None:
        """Check that a map has the aspect of its photograph, up to rounding."""
        if abs(height - camera.height * width / camera.width) > 1:
            raise InputError(
                f"The segment maps of image '{key}' are {width}x{height} pixels, its camera {camera.width}x{camera.height}: "
                f"not the same picture. Make the features from the photographs in {self.scene.images}: "
                f"{self.command()} --overwrite"
            )

    def _check(self, key: str, segments: Segments) -> None:
        embeddings, maps = segments.embeddings, segments.maps
        problem = None
        if embeddings.ndim != 2 or maps.ndim != 3 or len(maps) != len(LEVELS):
            problem = f"expected shapes [m, d] and [{len(LEVELS)}, h, w], found {list(embeddings.shape)} and {list(maps.shape)}"
        elif maps.size and (maps.min() < -1 or maps.max() >= len(embeddings)):
            problem = f"expected indices from -1 to {len(embeddings) - 1}, found {maps.min()} to {maps.max()}"
        if problem:
            raise InputError(f"{self._files(key)}: {problem}. {self._remedy()}")

    def _files(self, key: str) -> str:
        return f"{self.scene.segment_embeddings(key)} and {self.scene.segment_maps(key).name}"

    def _remedy(self) -> str:
        return f"Delete both files of this image and run: {self.command()}"


def refuse_foreign(folder: Path, keys: Sequence[str], present: Sequence[str], width: int, expected: int) -> None:
    """InputError when files without a record do not have the `expected` width, or are missing for a photograph."""
    if width != expected:
        raise InputError(
            f"{folder} has no {RECORD} and its features are {width} wide; files without a record must be {expected} wide."
        )
    if len(present) < len(keys):
        missing = next(key for key in keys if key not in set(present))
        raise InputError(
            f"{folder} has no {RECORD} and lacks {len(keys) - len(present)} of {len(keys)} images, for example '{missing}'."
        )
