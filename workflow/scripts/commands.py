"""The pipeline's commands for one scene, as scripts/*.sh call them. Standard library only.

Each function returns the arguments of one command. Nothing here decides how a stage works: a flag is given where the user set it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene_table import Scene

OF_PATCHES = ("dino", "clip_dense", "mini_dense")  # extractors whose only level is grid


@dataclass(frozen=True)
class Field:
    """A language field: its name, the extractor whose features it carries, and its compressor."""

    name: str
    features: str
    method: str


class Commands:
    """Commands with the settings of a run.

    Attributes:
        fields: by name.
    """

    def __init__(self, config: Mapping[str, Any], repository: Path):
        self._config, self._repository = config, repository
        self.fields = {entry["name"]: Field(**entry) for entry in config["fields"]}

    def _script(self, name: str) -> list[str]:
        return [self._config["python"], str(self._repository / name)]

    def _module(self, name: str) -> list[str]:
        return ["env", f"PYTHONPATH={self._repository}", self._config["python"], "-m", name]

    def _options(self, stage: str) -> list[str]:
        return [str(flag) for flag in self._config["options"].get(stage, ())]

    def _given(self, *names: str) -> list[str]:
        """Flags of the settings that are not left to the command."""
        return [word for name in names if self._config.get(name) for word in (f"--{name}", str(self._config[name]))]

    def convert(self, scene: Scene) -> list[str]:
        """Stage 0: cameras from photographs or a video."""
        return [*self._script("convert.py"), "-s", str(scene.photographs), "-o", scene.source_path, *self._options("convert")]

    def preprocess(self, scene: Scene, features: str, shard: str) -> list[str]:
        """Stage 1: features of every photograph of a shard `i/n`."""
        command = [*self._script("preprocess.py"), "-s", scene.source_path, "--features", features, *self._given("preset")]
        return [*command, *([] if shard == "1/1" else ["--shard", shard]), *self._options("preprocess")]

    def compress(self, scene: Scene, model: str, seed: str, field: Field) -> list[str]:
        """Stage 2: compressor and codes of one field."""
        command = [*self._script("train_autoencoder.py"), "-s", scene.source_path, "-m", model, "--features", field.features]
        return [*command, "--method", field.method, "--field", field.name, "--seed", seed, *self._options("compress")]

    def gaussians(self, scene: Scene, model: str, seed: str, flags: Sequence[str] = ()) -> list[str]:
        """Stage 3: Gaussians."""
        command = [*self._script("train.py"), "-s", scene.source_path, "-m", model, "--seed", seed]
        return [*command, *self._given("preset", "iterations"), *flags, *self._options("gaussians")]

    def language(self, scene: Scene, model: str, seed: str, field: Field) -> list[str]:
        """Stage 3: codes of every Gaussian; a lifted field has no iterations."""
        command = [*self._script("train.py"), "-s", scene.source_path, "-m", model, "--include_feature", "--field", field.name]
        length = [] if field.method == "codebook" else self._given("preset", "iterations")
        return [*command, "--seed", seed, *length, *self._options("language")]

    def render(self, scene: Scene, model: str, field: Field | None) -> list[str]:
        """Stage 4: pictures of every view, or code maps of a field."""
        command = [*self._script("render.py"), "-s", scene.source_path, "-m", model]
        return [*command, *(["--include_feature", "--field", field.name] if field else []), *self._options("render")]

    def query(self, scene: Scene, model: str, field: Field) -> list[str]:
        """Stage 5: answers to the scene's phrases."""
        command = [*self._script("eval_query.py"), "-s", scene.source_path, "-m", model, "--field", field.name]
        return [*command, *self._options("query"), "--text", *_phrases(scene)]

    def locate(self, scene: Scene, model: str, field: Field) -> list[str]:
        """Stage 6: objects in space."""
        command = [*self._script("locate.py"), "-s", scene.source_path, "-m", model, "--field", field.name]
        return [*command, *self._options("locate"), "--text", *_phrases(scene)]

    def index(self, output: str, every: int = 0) -> list[str]:
        """The page over all models; one younger than `every` seconds stays."""
        return [*self._module("evaluation.index_page"), "-o", output, "--every", str(every)]

    def evaluate(self, name: str, benchmark: Mapping[str, Any], scene: str, models: Sequence[str], field: Field) -> list[str]:
        """The measurement of one benchmark scene."""
        if name == "lerf_ovs_3d":
            command = self._module("evaluation.object_selection")
        else:
            command = self._script("eval_query.py")
        command += [
            "-s",
            f"{benchmark['data']}/{scene}",
            "-m",
            *models,
            "--field",
            field.name,
            "--labels",
            labels(name, benchmark, scene),
        ]
        if name != "lerf_ovs_3d":
            command += ["--protocol", protocol(name, benchmark)]
        if name == "mipnerf360_ov":  # GOI's labels are answered over all levels
            level = benchmark.get("level") or ("grid" if field.features in OF_PATCHES else "l")
            fixed = {"rule": "gags", "level": level} if benchmark["kind"] == "gags" else {"level": None}
            benchmark = {**benchmark, **fixed}
        options = ("rule", "reading", "level", "phrases")
        given = [word for key in options if benchmark.get(key) for word in (f"--{key}", benchmark[key])]
        return [*command, "--shuffled_control", *given, *self._options("evaluate")]

    def table(self, name: str, benchmark: Mapping[str, Any], models: Sequence[str], field: Field) -> list[str]:
        """The benchmark's table beside the published figures; for ScanNet also the measurement."""
        if name == "scannet":
            command = [*self._module("evaluation.scan_segmentation"), "--shuffled_control", *self._options("evaluate")]
        elif name == "lerf_ovs_3d":
            command = self._module("evaluation.selection_table")
        else:
            command = [*self._module("evaluation.benchmark"), "--protocol", protocol(name, benchmark)]
        return [*command, "--field", field.name, "-m", *models]


def protocol(name: str, benchmark: Mapping[str, Any]) -> str:
    """The protocol that a benchmark is measured by."""
    return f"mipnerf360_{benchmark['kind']}" if name == "mipnerf360_ov" else name


def labels(name: str, benchmark: Mapping[str, Any], scene: str) -> str:
    """The folder with the ground truth of a benchmark's scene."""
    if name == "3d_ovs":
        return f"{benchmark['data']}/{scene}/segmentations"
    return f"{benchmark.get('labels') or benchmark['data'] + '/label'}/{scene}"


def _phrases(scene: Scene) -> list[str]:
    """The phrases; a space precedes a leading dash, which would begin a flag."""
    return [f" {phrase}" if phrase.startswith("-") else phrase for phrase in scene.phrases]
