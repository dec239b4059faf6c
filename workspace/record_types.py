"""Types of the stage records: one class per stage, with the fields of `stage.json` that later stages read.

A record stores every setting and input of its stage, so that a rerun with different ones is detected; only those that are
read again are declared here. Fields with a default may be missing: an unfinished stage has no report, and an imported model no
photographs. `workspace.stage_record` reads and writes the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from workspace.feature_settings import FeatureSettings


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """Fields common to all records."""

    stage: ClassVar[str]
    format: ClassVar[int] = 1
    """Version of the stage's files; incremented when a file format changes, with a line in CHANGELOG.md."""

    complete: bool = False
    """Whether the stage has finished."""
    command: str | None = None
    """Command line that continues it; None when it was not started by a script."""


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
    """The best model of the other mapper; differences are fractions of the radius of the camera positions."""

    mapper: str
    registered: int
    mean_error_px: float
    explained_matches: float
    mean_difference: float | None = None
    max_difference: float | None = None


@dataclass(frozen=True)
class ConvertReport:
    """Figures of a reconstruction; `explained_matches` is a share of the verified matches."""

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


Tokens = Literal["raw", "unit"]


@dataclass(frozen=True)
class FeaturesReport:
    """Properties of the feature files."""

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
    """Data that a compressor was fitted to."""

    features: FeatureSettings
    photographs: Mapping[str, str] | None = None
    """Digests of the photographs behind the features, by key; None for an imported compressor."""


@dataclass(frozen=True)
class Reconstruction:
    """Cosine between embeddings and their decoded codes over some rows."""

    mean: float
    """Mean cosine."""
    percentile_5: float
    """5th percentile of the cosine over the rows."""
    rows: int
    """Number of embeddings it was measured on."""


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
    """Further figures specific to the method."""


@dataclass(frozen=True, kw_only=True)
class CompressorRecord(StageRecord):
    """Stage 2, `autoencoder/`."""

    stage: ClassVar[str] = "autoencoder"
    config: CompressorSettings
    inputs: CompressorInputs
    report: CompressorReport | None = None


@dataclass(frozen=True)
class RgbSettings:
    """How RGB training loaded the scene, so that later stages load it identically."""

    source_path: str
    images: str
    resolution: int
    eval: bool
    white_background: bool
    ignore_distortion: bool = False


@dataclass(frozen=True)
class RgbInputs:
    """Data that the Gaussians were trained on."""

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

    levels: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    gaussians: int = -1


@dataclass(frozen=True)
class LanguageInputs:
    """Gaussians and compressor that a language field belongs to."""

    geometry: str
    """Hash of the Gaussians' geometry."""
    autoencoder: str | None = None
    """Digest of the compressor's file; None if the field was trained elsewhere."""


@dataclass(frozen=True)
class LevelQuality:
    """Rendered codes against target codes at one level: mean cosine over pixels that have a code, and the training loss."""

    cosine: float
    l1: float


@dataclass(frozen=True)
class LiftedLevel:
    """How well mixtures of codes keep the codes observed on the Gaussians; means over the Gaussians that have codes."""

    codes: int
    """Size of the level's codebook."""
    unknown: int
    """Number of Gaussians observed with no code; they are never returned for a query."""
    coverage: float
    """Share of a Gaussian's blending weight on pixels with a code."""
    kept_mass: float
    """Share of the blending weight on pixels with a code that belongs to the kept codes."""
    cosine: float
    """Cosine between the embeddings of the kept and of the full mixture."""


@dataclass(frozen=True)
class LanguageReport:
    """How long training took, in seconds, and how well it reproduces the codes of training and held-out views, by level."""

    seconds: float
    device: str
    train: Mapping[str, LevelQuality]
    held_out: Mapping[str, LevelQuality] | None = None
    lifted: Mapping[str, LiftedLevel] | None = None
    """By level; only for a field of mixtures."""


@dataclass(frozen=True, kw_only=True)
class LanguageRecord(StageRecord):
    """Stage 3, `language/`."""

    stage: ClassVar[str] = "language"
    config: LanguageSettings
    inputs: LanguageInputs
    report: LanguageReport | None = None


@dataclass(frozen=True)
class RenderSettings:
    """Number of views that a folder of renders is for."""

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
    config: Mapping[str, Any] = field(default_factory=dict)
    """The question: flags of eval_query.py by name."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Digests of the answered field by name, its features and its relevancy."""


@dataclass(frozen=True, kw_only=True)
class Eval3dRecord(StageRecord):
    """Stage 5 for objects selected in 3D, `eval_3d/`."""

    stage: ClassVar[str] = "eval_3d"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Digests of the answered field by name, and its features."""


@dataclass(frozen=True, kw_only=True)
class EvalScanRecord(StageRecord):
    """Stage 5 for the points of a labelled scan, `eval_scan/`."""

    stage: ClassVar[str] = "eval_scan"
