"""Every path and file name of the pipeline; nothing else builds a path.

A scene folder holds the user's data and the features computed from it; a model folder holds everything that is learned.
Files inside them are keyed by image name: the path below `images/` without its extension, so `images/left/a.b.JPG` is
`left/a.b`.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from workspace.errors import InputError
from workspace.slugs import slug

ASSETS = Path(__file__).parent.parent / "assets"  # weights and worlds that ship with the code
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def image_key(relative: Path | str) -> str:
    """Key of an image from its path below `images/`: that path without its extension, with forward slashes.

    Every result of an image is written under its key, so a name that leads out of a folder would overwrite or delete files
    elsewhere. Names are refused as text: links inside `images/` are the user's choice and are followed.

    Raises:
        InputError: the name is absolute, contains `..` or control characters, is empty, or is not UTF-8.
    """
    name = str(relative)
    parts = PureWindowsPath(name).parts  # splits at both kinds of slash and knows drives
    reason = None
    if not parts or not Path(name).name:
        reason = "it is empty"
    elif PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        reason = "it is an absolute path"
    elif ".." in parts:
        reason = "it contains '..'"
    elif any(ord(character) < 32 for character in name):
        reason = "it contains control characters"
    elif any(0xD800 <= ord(character) < 0xE000 for character in name):  # bytes that Python could not decode
        reason = "its bytes are not UTF-8; rename the file (convmv -f latin1 -t utf8 --notest does it for a whole folder)"
    if reason:
        raise InputError(
            f"Image name {name!r}: {reason}. Expected a path relative to the folder of the photographs, such as left/0001.jpg. "
            "Copy the photographs into the scene folder, and correct the names in its camera file."
        )
    path = Path(name)
    return path.with_name(path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name).as_posix()


def image_files(folder: Path) -> dict[str, Path]:
    """Photographs below `folder` by key, sorted by path; hidden ones are passed over. InputError when two share a key."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        relative = path.relative_to(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES or any(part.startswith(".") for part in relative.parts):
            continue
        key = image_key(relative)
        if key in files:
            raise InputError(f"{files[key]} and {path} differ only in their extension; rename one of them.")
        files[key] = path
    return files


@dataclass(frozen=True)
class SceneFolder:
    """The user's data (`-s`): photographs, cameras, and the feature folders the LangSplat family shares."""

    root: Path

    @property
    def images(self) -> Path:
        """Photographs; never modified."""
        return self.root / "images"

    @property
    def sparse(self) -> Path:
        """COLMAP model; never modified."""
        return self.root / "sparse" / "0"

    @property
    def language_features(self) -> Path:
        """Segment features: SAM + CLIP, or the bundled encoder."""
        return self.root / "language_features"

    @property
    def dino_features(self) -> Path:
        """Dense patch features."""
        return self.root / "dino_features"

    @property
    def labels(self) -> Path:
        """Ground truth in the LERF-OVS format: `<key>.json` beside `<key>.jpg`."""
        return self.root / "label"

    @property
    def part_ids(self) -> Path:
        """Exact part of every pixel of a generated scene: 8-bit `<key>.png`, and `parts.json` that names them."""
        return self.root / "part_ids"

    def mask(self, key: str, phrase: str) -> Path:
        """Exact mask (0 or 255) of what a phrase names in one image of a generated scene."""
        return self.root / "masks" / key / f"{phrase}.png"

    def segment_embeddings(self, key: str) -> Path:
        """float32 [m, d] unit rows, the segments of all levels in the order default, s, m, l."""
        return self.language_features / f"{key}_f.npy"

    def segment_maps(self, key: str) -> Path:
        """int32 [4, h, w] indices into the rows of `segment_embeddings`; -1 where there is no segment."""
        return self.language_features / f"{key}_s.npy"

    def patch_grid(self, key: str) -> Path:
        """float16 [h, w, d] patch tokens at the image's own aspect."""
        return self.dino_features / f"{key}.npy"

    def foreign_patch_grid(self, key: str) -> Path:
        """DinoSplat's own file: array `arr_0` [d, h, w] in an .npz."""
        return self.dino_features / f"{key}.npz"

    def extraction_log(self, folder: Path, shard: tuple[int, int] = (1, 1)) -> Path:
        """One JSON line per image: seconds in each part of the extraction. Each shard has its own."""
        return folder / ("metrics.jsonl" if shard[1] == 1 else f"metrics.{shard[0]}of{shard[1]}.jsonl")

    def extraction_logs(self, folder: Path) -> list[Path]:
        """The logs of all shards."""
        return sorted(folder.glob("metrics*.jsonl"))

    def image_files(self) -> dict[str, Path]:
        """Photographs by key, sorted by path. Hidden files are passed over. Raises InputError when there are none, or
        when two files share a key."""
        if not self.root.is_dir():
            raise InputError(f"No folder {self.root}.")
        files = image_files(self.images)
        if not files:
            raise InputError(
                f"No photographs in {self.images} (looked for {', '.join(IMAGE_SUFFIXES)}). A scene folder holds images/ and "
                f"sparse/0/; to make one: python convert.py -s <photographs or video> -o {self.root}"
            )
        return files

    @property
    def conversion(self) -> Path:
        """Working files of convert.py: upright photographs or video frames, database, models, log. May be deleted after."""
        return self.root / "convert"


@dataclass(frozen=True)
class ModelFolder:
    """Everything that is learned or computed for one scene (`-m`, by default `output/<scene>`)."""

    root: Path

    @classmethod
    def of(cls, source_path: Path | None, model_path: Path | None) -> "ModelFolder":
        """The folder `-m` names, or the default one of the scene."""
        if model_path is not None:
            return cls(Path(model_path))
        if source_path is None:
            raise InputError("Neither a model folder (-m) nor a scene folder (-s) was given.")
        return cls(Path("output") / Path(source_path).resolve().name)

    @property
    def point_clouds(self) -> Path:
        """Stage folder of the RGB Gaussians."""
        return self.root / "point_cloud"

    def point_cloud(self, iteration: int) -> Path:
        """Gaussians in the 3DGS layout."""
        return self.point_clouds / f"iteration_{iteration}" / "point_cloud.ply"

    def found_iteration(self, iteration: int) -> int:
        """`iteration`, or with -1 the largest one with Gaussians on disk; InputError when there are none of it."""
        names = [path.parent.name.removeprefix("iteration_") for path in self.point_clouds.glob("iteration_*/point_cloud.ply")]
        found = sorted(int(name) for name in names if name.isdigit())
        if not found:
            raise InputError(f"No trained Gaussians in {self.point_clouds}. Run: python train.py -s <scene> -m {self.root}")
        if iteration != -1 and iteration not in found:
            raise InputError(
                f"{self.point_clouds} holds no Gaussians of iteration {iteration}; it has those of {', '.join(map(str, found))}."
            )
        return found[-1] if iteration == -1 else iteration

    @property
    def rgb_metrics(self) -> Path:
        """How well the RGB Gaussians reproduce photographs, per view."""
        return self.point_clouds / "metrics.json"

    @property
    def tensorboard(self) -> Path:
        """Training curves."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Resumable training states."""
        return self.root / "checkpoints"

    def checkpoint(self, stage: str, iteration: int) -> Path:
        """Training state of stage `rgb` or `language` after `iteration` iterations."""
        return self.checkpoints / f"{stage}_{iteration:06d}.pth"

    @property
    def autoencoder(self) -> Path:
        """Stage folder of the compressor."""
        return self.root / "autoencoder"

    @property
    def compressor(self) -> Path:
        """Weights of the autoencoder or the PCA basis."""
        return self.autoencoder / "compressor.pth"

    def codes(self, key: str) -> Path:
        """Codes of one image: float32 [m, c] for segments, float16 [h, w, c] for a patch grid."""
        return self.autoencoder / "codes" / f"{key}.npy"

    @property
    def language(self) -> Path:
        """Stage folder of the language field."""
        return self.root / "language"

    def level_codes(self, level: str) -> Path:
        """Codes of the Gaussians at one level (default, s, m, l, grid): float32 [n, c]."""
        return self.language / f"{level}.npy"

    def renders(self, split: str, kind: str) -> Path:
        """Folder of rendered pictures or maps, keyed by image name inside."""
        return self.root / "renders" / split / kind

    @property
    def code_colors(self) -> Path:
        """The one basis by which codes of this model are shown as colours."""
        return self.root / "renders" / "code_colors.json"

    @property
    def evaluation(self) -> Path:
        """Stage folder of queries and benchmarks."""
        return self.root / "eval"

    @property
    def metrics(self) -> Path:
        """Summary and per-query rows of the last evaluation."""
        return AnswerFolder(self.evaluation).metrics

    @property
    def report(self) -> Path:
        """Self-contained page of the last evaluation."""
        return AnswerFolder(self.evaluation).report

    @property
    def runs(self) -> Path:
        """Mean and spread of the last evaluation over several model folders, kept with the first of them."""
        return self.evaluation / "runs.json"

    @property
    def selection_evaluation(self) -> Path:
        """Stage folder of the evaluation by 3D object selection."""
        return self.root / "eval_3d"

    @property
    def selection_metrics(self) -> Path:
        """Figures and rows of that evaluation."""
        return self.selection_evaluation / "metrics.json"

    @property
    def scan_evaluation(self) -> Path:
        """Stage folder of the evaluation on the points of a scan."""
        return self.root / "eval_scan"

    @property
    def scan_metrics(self) -> Path:
        """Figures of that evaluation."""
        return self.scan_evaluation / "metrics.json"

    def answer_picture(self, key: str, name: str) -> Path:
        """Picture of one answer in one view; `name` is the phrase as a file name."""
        return AnswerFolder(self.evaluation).picture(key, name)

    @property
    def objects(self) -> Path:
        """Objects found in 3D."""
        return self.root / "objects"

    @property
    def located(self) -> Path:
        """Instances of the last phrases asked for, with positions and boxes."""
        return self.objects / "objects.json"

    def object_indices(self, phrase: str, instance: int) -> Path:
        """Ascending indices of the Gaussians of one instance, counted from 1: int64 [m]."""
        return self.objects / slug(phrase) / f"instance_{instance}.npy"

    def object_labels(self, phrase: str) -> Path:
        """Instance of every Gaussian, counted from 1, 0 for none: int32 [n]."""
        return self.objects / slug(phrase) / "labels.npy"

    def object_splats(self, phrase: str, name: str) -> Path:
        """Edited Gaussians in the 3DGS layout: `instance_<i>`, `removed` or `recolored`."""
        return self.objects / slug(phrase) / f"{name}.ply"

    @property
    def frame(self) -> Path:
        """Which way is up and how long a scene unit is, as the user said."""
        return self.root / "frame.json"


@dataclass(frozen=True)
class AnswerFolder:
    """What an evaluation writes."""

    root: Path

    @property
    def metrics(self) -> Path:
        """Summary and per-query rows."""
        return self.root / "metrics.json"

    @property
    def report(self) -> Path:
        """Self-contained page."""
        return self.root / "report.html"

    def pictures(self, key: str) -> Path:
        """Folder of the pictures of one view's answers."""
        return self.root / key

    def picture(self, key: str, name: str) -> Path:
        """Picture of one answer in one view; `name` is the phrase as a file name."""
        return self.pictures(key) / f"{name}.png"
