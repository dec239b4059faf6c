"""Load a scene for training: cameras and photographs, resized and split into train and test, and the initial points."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
from jaxtyping import Float32, UInt8

from scene.camera import FARTHEST, Camera
from scene.colmap import read_model
from scene.lens import NEGLIGIBLE
from scene.photographs import PhotographCache, PhotographFile, check_photographs, find_photographs, load_image, sizes_text
from scene.picture_size import SMALLEST_WIDTH, picture_size
from scene.point_cloud import read_point_cloud
from scene.transforms import random_points, read_blender, read_nerfstudio
from workspace import InputError, SceneFolder, image_key
from workspace.record_types import ConvertRecord
from workspace.stage_record import RECORD, require

__all__ = ["PhotographCache", "Scene", "load_image", "load_scene"]

log = logging.getLogger(__name__)

BLENDER_HALF_SIDE = 1.3  # world units; half the side of the cube that encloses the objects of the Blender scenes
HOLD_OUT_EVERY = 8
CAMERAS = ("sparse", "transforms_train.json", "transforms.json")  # what `load_scene` reads cameras from, the first that exists


@dataclass(frozen=True)
class Scene:
    """Cameras sorted by name, the initial points, and the spatial extent of the cameras.

    `extent` is 1.1 times the maximum distance of a training camera from the mean camera position, in world units.
    """

    folder: SceneFolder
    train: list[Camera]
    test: list[Camera]
    points: Float32[np.ndarray, "k 3"]
    colors: UInt8[np.ndarray, "k 3"]
    extent: float
    photographs: dict[str, str]
    """Digest of each camera's photograph, by name."""


def load_scene(
    source_path: Path | str,
    *,
    images: str = "images",
    resolution: int = -1,
    eval: bool = False,
    ignore_distortion: bool = False,
    own_points: bool = False,
) -> Scene:
    """Read a scene folder: a COLMAP model in `sparse/0`, else Blender's `transforms_train.json`, else nerfstudio's.

    Args:
        source_path: the scene folder.
        images: folder of the photographs inside it, such as `images_4`; cameras are scaled to the photographs' size.
        resolution: as in `picture_size`; -1 keeps the size, up to 1080 pixels high.
        eval: hold out every 8th photograph by name (a Blender scene lists its test views). Otherwise all views are for training.
        ignore_distortion: treat SIMPLE_RADIAL, RADIAL and OPENCV cameras as pinholes, as LangSplat does. Without it, only
            where the distortion moves every pixel by less than half a pixel.
        own_points: refuse a scene that brings no points, instead of drawing them at random.

    Raises:
        InputError: there is no scene to read, it brings no points and must, cameras are distorted, photographs are missing,
            unreadable or differ in aspect ratio from their camera, or there are fewer than two viewpoints. All missing and
            unreadable ones are listed together.
    """
    folder = SceneFolder(Path(source_path))
    root = folder.root
    if not root.is_dir():
        raise InputError(f"No folder {root}.")
    test: list[Camera] = []
    if (root / "sparse").is_dir():
        cameras, xyz, rgb = _read_colmap(folder, images, ignore_distortion)
    elif (root / "transforms_train.json").is_file():
        cameras, test = read_blender(root)
        cloud = root / "points3d.ply"  # where 3DGS trainers store the initial points of a Blender scene
        if own_points and not cloud.is_file():
            raise InputError(_no_points(root, f"no file {cloud}", "put the point cloud there"))
        xyz, rgb = read_point_cloud(cloud) if cloud.is_file() else random_points(cameras, BLENDER_HALF_SIDE)
    elif (root / "transforms.json").is_file():
        cameras, cloud = read_nerfstudio(root, images, ignore_distortion)
        if own_points and cloud is None:
            raise InputError(_no_points(root, f"no ply_file_path in {root / 'transforms.json'}", "name the point cloud there"))
        _refuse_blind(cameras, root, images)  # before points are drawn in the middle of them
        xyz, rgb = random_points(cameras) if cloud is None else read_point_cloud(cloud)
    else:
        raise InputError(
            f"No cameras in {root}: found neither sparse/0/ (COLMAP), transforms_train.json (Blender) nor transforms.json "
            f"(nerfstudio). Make them from photographs or a video: {_convert(root, images)}"
        )
    xyz, rgb = _usable_points(root, images, xyz, rgb)
    _refuse_shared_keys(cameras + test)
    _refuse_blind(cameras + test, root, images)
    files = check_photographs([camera.image_path for camera in cameras + test])
    digests = {camera.name: file.digest for camera, file in zip(cameras + test, files, strict=True)}
    cameras = sorted(_sized(cameras + test, files, resolution), key=lambda camera: camera.name)

    held_out = {camera.name for camera in test}
    if eval and not held_out:
        held_out = {camera.name for camera in cameras[::HOLD_OUT_EVERY]}
    train = [camera for camera in cameras if not eval or camera.name not in held_out]
    test = [camera for camera in cameras if eval and camera.name in held_out]
    return Scene(folder, train, test, xyz, rgb, _extent(root, train), digests)


def _read_colmap(folder: SceneFolder, images: str, ignore_distortion: bool) -> tuple[list[Camera], np.ndarray, np.ndarray]:
    photographs = folder.root / images
    if (folder.sparse.parent / RECORD).exists():
        require(folder.sparse.parent, ConvertRecord, f"python convert.py -s <photographs or video> -o {folder.root}")
    if not folder.sparse.is_dir():
        above = sorted(path.name for path in folder.sparse.parent.iterdir())
        hint = (
            f"mkdir {folder.sparse} && mv {folder.sparse.parent}/*.* {folder.sparse}"
            if "cameras.bin" in above or "cameras.txt" in above
            else ""
        )
        raise InputError(
            f"No folder {folder.sparse}; {folder.sparse.parent} holds {', '.join(above) or 'nothing'}. "
            + (f"Move the model there: {hint}" if hint else f"Make the cameras: {_convert(folder.root, images)}")
        )
    model = read_model(folder.sparse)
    for camera in model.cameras.values():
        shift = camera.largest_shift()
        if camera.pinhole() is None or (shift >= NEGLIGIBLE and not ignore_distortion):
            raise InputError(_distorted(folder, photographs, camera.model, shift))
        if shift > 0:
            log.info("%s: the lens moves pixels by up to %.2f; its distortion is ignored.", folder.sparse, shift)
    if not model.images or not len(model.xyz):
        raise InputError(
            f"{folder.sparse} holds {len(model.images)} registered photographs and {len(model.xyz)} points, too few for a scene. "
            f"Make it again: {_convert(folder.root, images)}"
        )
    keys = [image_key(image.name) for image in model.images]
    paths = find_photographs(photographs, [image.name for image in model.images])
    cameras = []
    for key, image, path in zip(keys, model.images, paths, strict=True):
        intrinsics = model.cameras[image.camera_id]
        cameras.append(Camera(key, image.world_to_camera, *intrinsics.pinhole(), intrinsics.width, intrinsics.height, path))
    return cameras, model.xyz, model.rgb


def _no_points(root: Path, found: str, remedy: str) -> str:
    return (
        f"{root} brings no points ({found}), and --fixed_points needs them: every Gaussian stays one point of the scene. "
        f"Expected a .ply with x, y, z: {remedy} (for ScanNet the scan itself, docs/results.md), or train without --fixed_points."
    )


def _convert(root: Path, images: str) -> str:
    """Command that makes another scene from the photographs of `root`, beside it."""
    photographs = root / images if (root / images).is_dir() else root
    return f"python convert.py -s {quote(str(photographs))} -o {quote(f'{root.resolve()}_scene')}"


def _distorted(folder: SceneFolder, photographs: Path, model: str, shift: float) -> str:
    target = folder.root.resolve().with_name(folder.root.resolve().name + "_undistorted")
    return (
        f"{folder.sparse} has cameras of model {model}, which is distorted; expected PINHOLE or SIMPLE_PINHOLE"
        + (f", or a lens that moves no pixel by {NEGLIGIBLE} (it is {shift:.1f})" if math.isfinite(shift) else "")
        + ".\n"
        "Make a scene without distortion:\n"
        f"  python convert.py -s {photographs} -o {target} --distorted_model {folder.sparse}\n"
        "or, with COLMAP installed:\n"
        f"  colmap image_undistorter --image_path {photographs} --input_path {folder.sparse} --output_path {target}\n"
        f"  mkdir {target}/sparse/0 && mv {target}/sparse/*.bin {target}/sparse/0"
        + ("\nor take them for pinholes, as LangSplat does: train.py --ignore_distortion" if math.isfinite(shift) else "")
    )


def _refuse_shared_keys(cameras: Sequence[Camera]) -> None:
    seen: dict[str, Path | None] = {}
    for camera in cameras:
        if camera.name in seen:
            raise InputError(
                f"{seen[camera.name]} and {camera.image_path} have the same name but for the extension, or are listed twice; "
                "results are kept by name. Rename one and make the cameras again."
            )
        seen[camera.name] = camera.image_path


def _usable_points(root: Path, images: str, xyz: np.ndarray, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop points whose position is not finite or too large for float32 arithmetic; InputError if none remain."""
    usable = (np.abs(xyz) < FARTHEST).all(1)
    if not usable.any():
        raise InputError(
            f"None of the {len(xyz)} points of {root} has a finite position below {FARTHEST:g}. Make its cameras again: "
            + _convert(root, images)
        )
    if not usable.all():
        log.warning(
            "%d of %d points of %s have no finite position below %g: left out.", (~usable).sum(), len(xyz), root, FARTHEST
        )
    return xyz[usable], rgb[usable]


def _refuse_blind(cameras: Sequence[Camera], root: Path, images: str) -> None:
    for camera in cameras:
        usable = 0 < camera.fx < FARTHEST and 0 < camera.fy < FARTHEST and abs(camera.cx) < FARTHEST and abs(camera.cy) < FARTHEST
        if not (usable and (np.abs(camera.world_to_camera) < FARTHEST).all() and (np.abs(camera.center) < FARTHEST).all()):
            raise InputError(
                f"The camera of {camera.image_path} has focal lengths {camera.fx:g} and {camera.fy:g}, principal point "
                f"({camera.cx:g}, {camera.cy:g}) and the pose\n{camera.world_to_camera}\n"
                f"Expected finite numbers below {FARTHEST:g} and positive focal lengths. Make the cameras again: "
                + _convert(root, images)
            )


def _sized(cameras: Sequence[Camera], files: Sequence[PhotographFile], resolution: int) -> list[Camera]:
    """Scale each camera to its photograph's size, then to the requested resolution."""
    sized, wrong, found = [], [], {}
    for camera, photograph in zip(cameras, files, strict=True):
        size = photograph.seen_by((camera.width, camera.height))
        if size is None:
            wrong.append(
                f"  {camera.image_path}: {photograph.width}x{photograph.height}, its camera {camera.width}x{camera.height}"
            )
            continue
        # cameras of one size must have photographs of one size; mixed sizes mean that some were resized by accident
        found.setdefault((camera.width, camera.height), {}).setdefault(size, camera.image_path)
        if size[0] < SMALLEST_WIDTH:
            raise InputError(f"{camera.image_path} is {size[0]}x{size[1]}; expected {SMALLEST_WIDTH} pixels of width or more.")
        sized.append(camera.resized(*picture_size(*size, resolution)))
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(cameras)} photographs do not have the shape of their camera:\n"
            + "\n".join(wrong)
            + "\nCameras "
            "belong to the photographs they were made from; use those, or make the cameras again: python convert.py"
        )
    narrower = [size for variants in found.values() for size in variants if size[0] < resolution]
    if narrower:
        log.warning("Photographs of %s are narrower than resolution %d; they keep their size.", sizes_text(narrower), resolution)
    for camera_size, variants in found.items():
        if len(variants) > 1:
            examples = "\n".join(f"  {path}: {size[0]}x{size[1]}" for size, path in variants.items())
            raise InputError(
                f"Photographs of the {sizes_text([camera_size])} cameras have {len(variants)} different sizes:\n{examples}\n"
                "Resize all of them alike, or use the original ones."
            )
        (size,) = variants
        if size != camera_size:
            log.info("Photographs are %s, their cameras %s: cameras scaled.", sizes_text([size]), sizes_text([camera_size]))
    return sized


def _extent(root: Path, cameras: Sequence[Camera]) -> float:
    centers = np.stack([camera.center for camera in cameras]) if cameras else np.zeros((0, 3))
    extent = 1.1 * float(np.linalg.norm(centers - centers.mean(0), axis=1).max()) if len(centers) else 0.0
    if extent < 1e-6:
        raise InputError(
            f"{root} has {len(cameras)} training photographs that stand at one place; a scene needs at least two viewpoints, "
            "better 30 or more. Take more photographs while walking around, then: python convert.py"
        )
    return extent
