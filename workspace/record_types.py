"""What the stage records say, with types: one class for each stage, holding what later stages read of `stage.json`.

A record holds every setting and input of its stage, so that a rerun with others is noticed; here are declared only those
that are read again. Fields with a default may be missing: an unfinished stage has no report, and an imported model no
photographs. `workspace.stage_record` reads and writes the files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from workspace.errors import InputError


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What every record has."""

    stage: ClassVar[str]
    format: ClassVar[int] = 1
    """Version of the stage's files; a changed file format raises it and gets a line in CHANGELOG.md."""

    complete: bool = False
    """Whether the stage has finished."""


@dataclass(frozen=True)
class ConvertedCamera:
    """One camera of a reconstruction; sizes and focal lengths in pixels."""

    model: str
    width: int
    height: int
    fx: float
    fy: float


@dataclass(frozen=True)
class SecondOpinion:
    """The best model of the other mapper; differences are shares of the radius of the camera positions."""

    mapper: str
    registered: int
    mean_error_px: float
    explained_matches: float
    mean_difference: float | None = None
    max_difference: float | None = None


@dataclass(frozen=True)
class ConvertReport:
    """Figures of a reconstruction; `explained_matches` is a share of the verified ones."""

    registered: int
    photographs: int
    mapper: str
    points: int
    mean_error_px: float
    mean_track_length: float
    cameras: tuple[ConvertedCamera, ...]
    failed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    explained_matches: float | None = None
    second_opinion: SecondOpinion | None = None


@dataclass(frozen=True, kw_only=True)
class ConvertRecord(StageRecord):
    """Stage 0, `sparse/`."""

    stage: ClassVar[str] = "convert"
    report: ConvertReport | None = None


class FeatureSettings:
    """With which extractor and settings features were made.

    Each extractor has its own settings and alone reads them. Equal settings give features of one space, which can be
    compared with each other and with the same text encoder.
    """

    def __init__(self, extractor: str, **own: Any):
        self.extractor = extractor
        """Name of the extractor, as in `--features`."""
        self._own = own

    @classmethod
    def of(cls, recorded: Any) -> "FeatureSettings":
        """From a record; ValueError when it names no extractor."""
        if not isinstance(recorded, Mapping) or not isinstance(recorded.get("features"), str):
            raise ValueError("Expected `object` with the name of the extractor as `features`")
        return cls(recorded["features"], **{name: value for name, value in recorded.items() if name != "features"})

    @property
    def recorded(self) -> dict[str, Any]:
        """As the record holds them."""
        return {"features": self.extractor, **self._own}

    def text(self, name: str) -> str:
        """One of the extractor's own settings; InputError when it is not there or no text."""
        value = self._own.get(name)
        if not isinstance(value, str):
            raise InputError(
                f"The record of the {self.extractor} features has {value!r} as {name}; expected a text. "
                f"Make them again: python preprocess.py -s <scene> --features {self.extractor} --overwrite"
            )
        return value

    def number(self, name: str, default: float) -> float:
        """One of the extractor's own settings, `default` where it is not recorded; InputError when it is no number above 0."""
        value = self._own.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"The record of the {self.extractor} features has {value!r} as {name}; expected a number above 0.")
        return float(value)

    def texts(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """One of the extractor's own settings, `default` where it is not recorded; InputError when it is no list of texts."""
        value = self._own.get(name, default)
        if not isinstance(value, list | tuple) or not value or not all(isinstance(text, str) and text for text in value):
            raise InputError(f"The record of the {self.extractor} features has {value!r} as {name}; expected a list of texts.")
        return tuple(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSettings) and self.recorded == other.recorded

    __hash__ = None

    def __repr__(self) -> str:
        return f"FeatureSettings({self})"

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.recorded.items())


Tokens = Literal["raw", "unit"]


@dataclass(frozen=True)
class FeaturesReport:
    """What is in the files."""

    embeddings: Tokens
    """Whether embeddings are stored as the network returned them or with unit length."""


@dataclass(frozen=True, kw_only=True)
class FeaturesRecord(StageRecord):
    """Stage 1, `language_features/` and `dino_features/`."""

    stage: ClassVar[str] = "features"
    config: FeatureSettings
    report: FeaturesReport | None = None


@dataclass(frozen=True)
class CompressorSettings:
    """How a compressor expects embeddings: as the extractor wrote them, or of unit length."""

    tokens: Tokens = "unit"


@dataclass(frozen=True)
class CompressorInputs:
    """What a compressor was fitted to."""

    features: FeatureSettings
    photographs: Mapping[str, str] | None = None
    """Digests of the photographs behind the features, by key; None for an imported compressor."""


@dataclass(frozen=True)
class Reconstruction:
    """Cosine between embeddings and their decoded codes over some rows."""

    mean: float
    """Mean cosine."""
    percentile_5: float
    """Cosine that one row in twenty falls below."""
    rows: int
    """Embeddings it was measured on."""


@dataclass(frozen=True)
class CompressorReport:
    """The kind and widths of a compressor, and how well it reconstructs fitted and held-out embeddings."""

    method: str
    feature_width: int
    code_width: int
    train: Reconstruction | None = None
    validation: Reconstruction | None = None
    tokens: Tokens = "unit"
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the kind of compressor adds."""


@dataclass(frozen=True, kw_only=True)
class CompressorRecord(StageRecord):
    """Stage 2, `autoencoder/`."""

    stage: ClassVar[str] = "autoencoder"
    config: CompressorSettings
    inputs: CompressorInputs
    report: CompressorReport | None = None


@dataclass(frozen=True)
class RgbSettings:
    """How RGB training saw the scene, so that later stages see it alike."""

    source_path: str
    images: str
    resolution: int
    eval: bool
    white_background: bool
    ignore_distortion: bool = False


@dataclass(frozen=True)
class RgbInputs:
    """What Gaussians were trained on."""

    photographs: Mapping[str, str] = field(default_factory=dict)
    """Digest of each camera's photograph, by name; empty when they were trained elsewhere."""


@dataclass(frozen=True, kw_only=True)
class RgbRecord(StageRecord):
    """Stage 3, `point_cloud/`."""

    stage: ClassVar[str] = "rgb"
    config: RgbSettings
    inputs: RgbInputs


@dataclass(frozen=True)
class LanguageSettings:
    """Levels of a language field, and the iteration of the Gaussians that carry it; -1 is the last."""

    levels: tuple[str, ...]
    gaussians: int = -1


@dataclass(frozen=True)
class LanguageInputs:
    """What a language field belongs to."""

    geometry: str
    """Hash of the Gaussians' geometry."""
    autoencoder: str | None = None
    """Digest of the compressor's file; None where the field was trained elsewhere."""


@dataclass(frozen=True)
class LevelQuality:
    """Rendered against target codes at one level: mean cosine over pixels that have a code, and the training loss."""

    cosine: float
    l1: float


@dataclass(frozen=True)
class LiftedLevel:
    """What mixtures of codes keep of what the Gaussians are seen with; means over the Gaussians that are known."""

    codes: int
    """Size of the level's codebook."""
    unknown: int
    """Gaussians that were seen with no code; they are never an answer."""
    coverage: float
    """Share of a Gaussian's blending weight on pixels with a code."""
    kept_mass: float
    """Share of the blending weight on pixels with a code that the kept codes have."""
    cosine: float
    """Between the embeddings of the kept and of the full mixture."""


@dataclass(frozen=True)
class LanguageReport:
    """How long training took, in seconds, and how well it reproduces the codes of training and held-out views, by level."""

    seconds: float
    device: str
    train: Mapping[str, LevelQuality]
    held_out: Mapping[str, LevelQuality] | None = None
    lifted: Mapping[str, LiftedLevel] | None = None
    """Of a field of mixtures."""


@dataclass(frozen=True, kw_only=True)
class LanguageRecord(StageRecord):
    """Stage 3, `language/`."""

    stage: ClassVar[str] = "language"
    config: LanguageSettings
    inputs: LanguageInputs
    report: LanguageReport | None = None


@dataclass(frozen=True)
class RenderSettings:
    """How many views a folder of pictures is for."""

    views: int | None = None


@dataclass(frozen=True, kw_only=True)
class RenderRecord(StageRecord):
    """Stage 4, folders of `renders/`."""

    stage: ClassVar[str] = "render"
    config: RenderSettings


@dataclass(frozen=True, kw_only=True)
class EvalRecord(StageRecord):
    """Stage 5, `eval/`."""

    stage: ClassVar[str] = "eval"


@dataclass(frozen=True, kw_only=True)
class Eval3dRecord(StageRecord):
    """Stage 5 for objects selected in 3D, `eval_3d/`."""

    stage: ClassVar[str] = "eval_3d"


@dataclass(frozen=True, kw_only=True)
class EvalScanRecord(StageRecord):
    """Stage 5 for the points of a labelled scan, `eval_scan/`."""

    stage: ClassVar[str] = "eval_scan"
