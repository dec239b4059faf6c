"""Renderings of trained or edited Gaussians: the training and held-out views, chosen images, and a video along the cameras."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import imageio_ffmpeg
import numpy as np
import torch
import tyro
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gaussian_renderer import render
from gaussian_renderer.camera_path import camera_path
from gaussian_renderer.trained_model import TrainedModel, load_trained
from scene.camera import Camera
from scene.gaussian_files import load_ply
from scene.gaussian_model import GaussianModel
from scene.image_names import match_names
from workspace import InputError, ModelFolder, atomic
from workspace.device import Device, chosen_device
from workspace.files import file_digest
from workspace.image_reader import open_picture
from workspace.record_types import RenderRecord
from workspace.scene_folder import inside
from workspace.stage_record import RECORD, read_record, stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderConfig:
    """What to render. The model folder records the scene and the settings it was trained with."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder of train.py."""
    source_path: Annotated[Path | None, tyro.conf.arg(aliases=["-s"])] = None
    """Scene folder, when it was moved since training."""
    iteration: int = -1
    """Iteration of the Gaussians; -1 is the last."""
    splats: Path | None = None
    """Draw this splat file (3DGS .ply) through the model's cameras instead, such as objects/red_mug/removed.ply of locate.py:
    renders/<split>/splats/<name>/."""
    resolution: Annotated[int | None, tyro.conf.arg(aliases=["-r"])] = None
    """1, 2, 4 or 8 divides the photographs' size, another value is a width in pixels; as trained when not given."""
    names: tuple[str, ...] = ()
    """Only these images: names below images/ without extension, or their last part where it is unique."""
    skip_train: bool = False
    """Leave out the training views."""
    skip_test: bool = False
    """Leave out the held-out views."""
    video: bool = False
    """Also render a video along the training cameras: renders/path/rgb.mp4."""
    frames: int = 240
    """Frames of the video."""
    fps: int = 30
    """Frames per second of the video."""
    overwrite: bool = False
    """Render existing images again."""
    device: Device = "auto"
    """auto takes the GPU when there is one."""


def render_photographs(config: RenderConfig) -> None:
    """Render the views of a trained scene (stage 4, RGB), or an edited copy of it; existing images are kept.

    Raises:
        InputError: no trained Gaussians, a missing scene folder, no splat file, or no image with a given name.
    """
    if config.video and (config.frames < 1 or config.fps < 1):
        raise InputError(f"--frames {config.frames} --fps {config.fps}: a video has 1 frame or more, and 1 or more a second.")
    if config.splats is not None and config.iteration != -1:
        raise InputError(f"--iteration {config.iteration}: --splats draws a file that has no iterations. Leave one of them out.")
    trained = load_trained(ModelFolder(config.model_path), config.iteration, chosen_device(config.device))
    scene = trained.scene(config.source_path, config.resolution)
    drawn = _Drawn.of(trained, config.splats)
    splits = {"train": scene.train, "test": scene.test}
    names = set(match_names(config.names, [camera.name for cameras in splits.values() for camera in cameras]).values())
    for split, skipped in (("train", config.skip_train), ("test", config.skip_test)):
        wanted = [camera for camera in splits[split] if not names or camera.name in names]
        if wanted and not skipped:
            _draw_split(drawn, split, splits[split], wanted, config.overwrite)
    if config.video:
        path = camera_path(scene.train, config.frames)
        folder = _draw_split(drawn, "path", path, path, config.overwrite or _other_length(drawn, len(path)))
        video = folder.with_suffix(".mp4")
        _encode(video, [folder / f"{camera.name}.png" for camera in path], config.fps)
        log.info("%s", video)


@dataclass(frozen=True)
class _Drawn:
    """Gaussians to draw, and where their pictures belong."""

    gaussians: GaussianModel
    background: Float[Tensor, "3"]
    folder: Callable[[str], Path]
    """Folder of the pictures of a split."""
    settings: Mapping[str, Any]
    """What tells these Gaussians from others in the record of that folder."""

    @classmethod
    def of(cls, trained: TrainedModel, splats: Path | None) -> "_Drawn":
        """The trained Gaussians, or those of a splat file."""
        if splats is None:
            return cls(trained.gaussians, trained.background, trained.folder.renders, {"iteration": trained.iteration})
        gaussians = load_ply(splats).to(trained.gaussians.means.device)
        folder = partial(trained.folder.splat_renders, splats=splats)
        return cls(gaussians, trained.background, folder, {"splats": file_digest(splats)})


def picture_bytes(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image as 8-bit pixels, clamped to 0..1 and rounded."""
    return (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()


def save_picture(path: Path, pixels: UInt8[np.ndarray, "h w _"] | UInt8[np.ndarray, "h w"]) -> None:
    """Write RGB, RGBA or grey pixels as an image file, whole or not at all."""
    with atomic(path) as temporary:
        Image.fromarray(pixels).save(temporary)


@torch.no_grad()
def _draw_split(drawn: _Drawn, split: str, cameras: Sequence[Camera], wanted: Sequence[Camera], overwrite: bool) -> Path:
    folder = drawn.folder(split)
    settings = {**drawn.settings, "size": [cameras[0].width, cameras[0].height], "views": len(cameras)}
    settings["cameras"] = _fingerprint(cameras)
    inputs = {"geometry": drawn.gaussians.geometry_hash()}
    # with chosen names only those images are replaced, never their whole folder
    with stage(folder, RenderRecord, settings, inputs, overwrite and len(wanted) == len(cameras)) as run:
        for camera in wanted if overwrite else ():
            _file(folder, camera).unlink(missing_ok=True)
        missing = [camera for camera in wanted if not _file(folder, camera).exists()]
        for camera in tqdm(missing, desc=f"render {split}", unit="view"):
            image = render(camera, drawn.gaussians, drawn.background).image
            save_picture(_file(folder, camera), picture_bytes(image))
        run.complete = all(_file(folder, camera).exists() for camera in cameras)
    log.info("%d pictures drawn, %d were there: %s", len(missing), len(wanted) - len(missing), folder)
    return folder


def _other_length(drawn: _Drawn, frames: int) -> bool:
    """Whether the existing frames are of a video of another length. Frames are kept only to continue an interrupted run, so a
    video of another length replaces them."""
    folder = drawn.folder("path")
    remedy = "Add --overwrite to replace the folder."
    return (folder / RECORD).exists() and read_record(folder, RenderRecord, remedy).config.views != frames


def _file(folder: Path, camera: Camera) -> Path:
    return inside(folder, f"{camera.name}.png")


def _fingerprint(cameras: Sequence[Camera]) -> str:
    """Hash of names, poses and intrinsics, so that pictures of two scenes never share a folder."""
    digest = hashlib.sha256()
    for camera in cameras:
        digest.update(camera.name.encode())
        digest.update(np.ascontiguousarray(camera.world_to_camera).tobytes())
        digest.update(np.array([camera.fx, camera.fy, camera.cx, camera.cy]).tobytes())
    return digest.hexdigest()[:16]


def _encode(video: Path, pictures: Sequence[Path], fps: int) -> None:
    """Encode the images, all of the same even size, as H.264."""
    with open_picture(pictures[0]) as first:
        size = first.size
    with atomic(video) as temporary:
        # macro_block_size 1 keeps the size; quality 8 of 10 shows no blocks in smooth renderings.
        writer = imageio_ffmpeg.write_frames(str(temporary), size, fps=fps, codec="libx264", quality=8, macro_block_size=1)
        writer.send(None)
        try:
            for path in tqdm(pictures, desc="encode", unit="frame"):
                with open_picture(path) as picture:
                    pixels = np.ascontiguousarray(picture.convert("RGB"))
                writer.send(pixels)
        finally:
            writer.close()
        try:
            written, _ = imageio_ffmpeg.count_frames_and_secs(str(temporary))
        except RuntimeError:  # the encoder failed, most likely on a full disk, and reported it only on the terminal
            written = 0
        if written != len(pictures):
            raise InputError(f"Only {written} of {len(pictures)} frames of {video} could be written. Is the disk full?")
