"""All paths and file names of the data learned or computed for one scene."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from shlex import quote

from workspace.answer_folder import AnswerFolder
from workspace.errors import InputError
from workspace.json_files import read_json
from workspace.scene_folder import inside
from workspace.slugs import slug
from workspace.stage_record import RECORD

PUBLISHED = "published"  # the field of LangSplat's method, and of folders written before fields had names
_ONCE_UNNAMED = ("autoencoder", "language")  # stages whose folder once held the only field directly
_RESERVED = ("codes",)  # a subfolder of `autoencoder/` in folders from before fields had names


@dataclass(frozen=True)
class ModelFolder:
    """Everything that is learned or computed for one scene (`-m`, by default `output/<scene>`).

    One model holds Gaussians and any number of language fields, each with a separate compressor, codes, maps and
    evaluations. The properties are the paths of `field`. Compressors and language fields written before fields had names
    are read and resumed as the field `published`.
    """

    root: Path
    field: str = PUBLISHED

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.field) or self.field in _RESERVED:
            raise InputError(
                f"--field {self.field!r}: expected a name of letters, digits, '.', '_' and '-' other than {', '.join(_RESERVED)}."
            )

    @classmethod
    def of(cls, source_path: Path | None, model_path: Path | None, field: str = PUBLISHED) -> "ModelFolder":
        """The folder given by `-m`, or the scene's default folder."""
        if model_path is not None:
            return cls(Path(model_path), field)
        if source_path is None:
            raise InputError("Neither a model folder (-m) nor a scene folder (-s) was given.")
        return cls(Path("output") / Path(source_path).resolve().name, field)

    def refuse_missing(self) -> None:
        """Raise InputError when the folder does not exist, with the command that creates it."""
        if not self.root.is_dir():
            raise InputError(f"No model folder {self.root}. Correct -m, or train one: {self.rgb_command}")

    def fields(self, stage: str = "language") -> tuple[str, ...]:
        """Names of the fields whose `stage` (autoencoder, language) was started, sorted."""
        folder = self.root / stage
        named = {path.parent.name for path in folder.glob(f"*/{RECORD}") if not path.parent.name.startswith(".")}
        return tuple(sorted(named | ({PUBLISHED} if (folder / RECORD).is_file() else set())))

    def reading(self, field: str | None, stage: str = "language") -> "ModelFolder":
        """This model with the field to read: `field` if given, else the only existing field, else `published`.

        A field of which only an earlier stage has run counts where there is no other: `require` then names the next command.

        Raises:
            InputError: there is no model folder, or it has fields, but not this one.
        """
        self.refuse_missing()
        begun = self.fields("autoencoder")
        present = self.fields(stage) or begun
        chosen = field or (present[0] if len(present) == 1 else PUBLISHED)
        if present and chosen not in {*present, *begun}:
            raise InputError(f"{self.root} holds no field {chosen!r}, but {', '.join(present)}. Choose one of them with --field.")
        return replace(self, field=chosen)

    @property
    def flag(self) -> str:
        """Command-line flag that selects the field, with a leading space; empty for `published`."""
        return "" if self.field == PUBLISHED else f" --field {self.field}"

    @property
    def rgb_command(self) -> str:
        """Command that trains the Gaussians."""
        return f"python train.py {self._scene_flag} -m {quote(str(self.root))}"

    @property
    def compressor_command(self) -> str:
        """`compressor_command_on` the scene that the Gaussians were trained on."""
        return self._compressor_command(self._scene_flag)

    def compressor_command_on(self, scene: Path) -> str:
        """Command that fits the field's compressor by the same method as before, and writes the codes of the images."""
        return self._compressor_command(f"-s {quote(str(scene))}")

    def _compressor_command(self, scene_flag: str) -> str:
        return f"python train_autoencoder.py {scene_flag} -m {quote(str(self.root))}{self.flag}{self._method_flag}"

    @property
    def language_command(self) -> str:
        """Command that computes the language field."""
        return f"{self.rgb_command}{self.flag} --include_feature"

    @property
    def _scene_flag(self) -> str:
        """The scene that the Gaussians were trained on, as their record says; a placeholder while there is none."""
        try:
            return f"-s {quote(read_json(self.point_clouds / RECORD)['config']['source_path'])}"
        except (InputError, KeyError, TypeError):
            return "-s <scene>"

    @property
    def _method_flag(self) -> str:
        """`--method` of the field's compressor, as its record says; empty for the default and while there is no record."""
        try:
            record = read_json(self.autoencoder / RECORD)
            method = quote(record.get("report", record["config"])["method"])
        except (InputError, AttributeError, KeyError, TypeError):
            return ""
        return "" if method == "autoencoder" else f" --method {method}"

    @cached_property
    def _unnamed(self) -> frozenset[str]:
        """Stages whose folder holds the field directly. Cached: the path must not change while a folder is replaced."""
        return frozenset(stage for stage in _ONCE_UNNAMED if (self.root / stage / RECORD).is_file())

    def _of_field(self, stage: str) -> Path:
        folder = self.root / stage
        return folder if self.field == PUBLISHED and stage in self._unnamed else folder / self.field

    @property
    def point_clouds(self) -> Path:
        """Stage folder of the RGB Gaussians."""
        return self.root / "point_cloud"

    def point_cloud(self, iteration: int) -> Path:
        """Gaussians in the 3DGS layout."""
        return self.point_clouds / f"iteration_{iteration}" / "point_cloud.ply"

    def found_iteration(self, iteration: int) -> int:
        """`iteration`, or for -1 the largest one with Gaussians on disk; InputError if there are no Gaussians for it."""
        names = [path.parent.name.removeprefix("iteration_") for path in self.point_clouds.glob("iteration_*/point_cloud.ply")]
        found = sorted(int(name) for name in names if name.isdigit())
        if not found:
            raise InputError(f"No trained Gaussians in {self.point_clouds}. Run: {self.rgb_command}")
        if iteration != -1 and iteration not in found:
            raise InputError(
                f"{self.point_clouds} holds no Gaussians of iteration {iteration}; it has those of {', '.join(map(str, found))}."
            )
        return found[-1] if iteration == -1 else iteration

    @property
    def rgb_metrics(self) -> Path:
        """Per-view image quality of the RGB Gaussians against the photographs."""
        return self.point_clouds / "metrics.json"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard training curves."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of resumable training states."""
        return self.root / "checkpoints"

    def checkpoint(self, stage: str, iteration: int) -> Path:
        """Training state of stage `rgb`, `autoencoder` or `language` after `iteration` iterations."""
        return self.checkpoints / f"{self._run(stage)}_{iteration:06d}.pth"

    def checkpoint_files(self, stage: str) -> list[Path]:
        """Training states of the stage, oldest first; files with other names are ignored."""
        runs = re.escape(self._run(stage)) + (f"|{stage}" if self.field == PUBLISHED else "")
        names = re.compile(rf"(?:{runs})_(\d+)\.pth")
        found = ((match, path) for path in self.checkpoints.glob("*.pth") if (match := names.fullmatch(path.name)))
        return [path for _, path in sorted((int(match[1]), path) for match, path in found)]

    def _run(self, stage: str) -> str:
        return stage if stage == "rgb" else f"{stage}_{self.field}"

    @property
    def autoencoder(self) -> Path:
        """Stage folder of the compressor."""
        return self._of_field("autoencoder")

    @property
    def compressor(self) -> Path:
        """Weights of the autoencoder or the PCA basis."""
        return self.autoencoder / "compressor.pth"

    def codes(self, key: str) -> Path:
        """Codes of one image: float32 [m, c] for segments, float16 [h, w, c] for a patch grid."""
        return inside(self.autoencoder / "codes", f"{key}.npy")

    @property
    def language(self) -> Path:
        """Stage folder of the language field."""
        return self._of_field("language")

    @property
    def calibration(self) -> Path:
        """Temperature and negatives calibrated for the field."""
        return self.language / "calibration.json"

    def level_codes(self, level: str) -> Path:
        """Codes of the Gaussians at one level (default, s, m, l, grid): float32 [n, c]."""
        return inside(self.language, f"{level}.npy")

    def renders(self, split: str) -> Path:
        """Folder of rendered pictures, keyed by image name inside."""
        return self.root / "renders" / split / "rgb"

    def splat_renders(self, split: str, splats: Path) -> Path:
        """Folder of rendered pictures of another splat file, such as an edited one. It has the file's name, and for those in
        `objects/` also the phrase's."""
        path = splats.resolve()
        inside_objects = path.is_relative_to(self.objects.resolve())
        name = f"{path.parent.name}_{path.stem}" if inside_objects else slug(path.stem)
        return self.root / "renders" / split / "splats" / name

    def field_renders(self, split: str, kind: str) -> Path:
        """Folder of maps of the field (codes, relevancy), keyed by image name inside."""
        return self.root / "renders" / split / kind / self.field

    @property
    def code_colors(self) -> Path:
        """Basis that maps codes of the field to colours, shared by all views."""
        return self.root / "renders" / "code_colors" / f"{self.field}.json"

    @property
    def evaluation(self) -> Path:
        """Stage folder of queries and benchmarks."""
        return self.root / "eval" / self.field

    @property
    def metrics(self) -> Path:
        """Summary and per-query rows of the last evaluation."""
        return AnswerFolder(self.evaluation).metrics

    @property
    def report(self) -> Path:
        """Self-contained HTML page of the last evaluation."""
        return AnswerFolder(self.evaluation).report

    @property
    def runs(self) -> Path:
        """Mean and spread of the last evaluation over several model folders, stored in the first of them."""
        return self.evaluation / "runs.json"

    @property
    def demo_metrics(self) -> Path:
        """Metrics of the demo for all its fields."""
        return self.root / "eval" / "metrics.json"

    @property
    def selection_evaluation(self) -> Path:
        """Stage folder of the evaluation by 3D object selection."""
        return self.root / "eval_3d" / self.field

    @property
    def selection_metrics(self) -> Path:
        """Figures and rows of the evaluation by 3D object selection."""
        return self.selection_evaluation / "metrics.json"

    @property
    def scan_evaluation(self) -> Path:
        """Stage folder of the evaluation on the points of a scan."""
        return self.root / "eval_scan" / self.field

    @property
    def scan_metrics(self) -> Path:
        """Figures of the evaluation on the points of a scan."""
        return self.scan_evaluation / "metrics.json"

    def answer_picture(self, key: str, name: str) -> Path:
        """Picture of one answer in one view; `name` is the phrase as a file name."""
        return AnswerFolder(self.evaluation).picture(key, name)

    @property
    def objects(self) -> Path:
        """Folder of the objects located in 3D."""
        return self.root / "objects"

    @property
    def located(self) -> Path:
        """Instances of the last queried phrases, with positions and boxes."""
        return self.objects / "objects.json"

    @property
    def objects_report(self) -> Path:
        """Self-contained HTML page with a picture of every instance."""
        return self.objects / "report.html"

    def object_indices(self, phrase: str, instance: int) -> Path:
        """Ascending indices of the Gaussians of one instance (instances count from 1): int64 [m]."""
        return self.object_folder(phrase) / f"instance_{instance}.npy"

    def object_folder(self, phrase: str) -> Path:
        """Folder of the files of one phrase's instances."""
        return self.objects / slug(phrase)

    def object_labels(self, phrase: str) -> Path:
        """Instance number of every Gaussian, from 1; 0 for none: int32 [n]."""
        return self.object_folder(phrase) / "labels.npy"

    def object_splats(self, phrase: str, name: str) -> Path:
        """Edited Gaussians in the 3DGS layout: `instance_<i>`, `removed` or `recolored`."""
        return self.object_folder(phrase) / f"{name}.ply"

    @property
    def frame(self) -> Path:
        """Up direction and length of a scene unit, as given by the user."""
        return self.root / "frame.json"
