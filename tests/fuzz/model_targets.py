"""Readers of what a model folder holds, and of weights, as targets of the fuzzer."""

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import cv2
import mutations as m
import numpy as np
import segment_anything
import torch
from small_answers import BALLS, Words, write_lifted, write_model
from target import ARRAYS, JSON, Target, folder_files, saved

from conversion.steps import StepState, read_steps
from conversion.video_frames import extract_frames
from features.stock_sam import load_sam
from gaussian_renderer import camera_path  # noqa: F401 - imported before memory is measured
from query.calibration import Calibration, read_calibration, write_calibration
from query.code_colors import CodeColors
from query.field import LanguageField, Negatives
from query.loading import load_field
from query.objects.coordinates import read_frame
from scene.camera import Camera
from training.export import ExportConfig, export_features
from training.view_quality import read_metrics
from viewer.requests import parse_request
from workspace import ModelFolder
from workspace.stage_record import plain

POSE = {"world_to_camera": np.eye(4).tolist(), "fx": 20, "fy": 20, "cx": 8, "cy": 6, "width": 16, "height": 12}
CAMERA = Camera("a", np.eye(4), 20.0, 20.0, 8.0, 6.0, 16, 12)


def model_targets() -> list[Target]:
    """All of them, always the same."""
    return [*_fields(), *_tables(), *_weights(), *_videos()]


def _fields() -> list[Target]:
    found = []
    for kind, write, lifted in (("codes", write_model, False), ("mixtures", write_lifted, True)):
        with tempfile.TemporaryDirectory() as root:
            model = write(Path(root), Path("scene"))
            paths = {
                "": model.level_codes("m"),
                ", compressor": model.compressor,
                ", record": model.language / "stage.json",
                ", compressor's record": model.autoencoder / "stage.json",
                ", Gaussians' record": model.point_clouds / "stage.json",
                ", Gaussians": model.point_cloud(7),
            }
            files = folder_files(model.root)
            names = {name: path.relative_to(model.root).as_posix() for name, path in paths.items()}
        for part, path in names.items():
            if part == ", compressor" and lifted:
                continue  # its digest is in the record: any change is refused
            mutations = {".npy": m.BYTES if lifted else ARRAYS, ".json": JSON}.get(Path(path).suffix, m.BYTES)
            found.append(Target(f"field of {kind}{part}", files, path, _ask, mutations))
    return found


def _ask(folder: Path) -> None:
    """Load the field, answer a phrase in a view, and export the embeddings."""
    field = load_field(ModelFolder(folder), torch.device("cpu"))
    words = Words()
    negatives = Negatives(field, words.embed(words.negatives), words.temperature)
    view = field.view(CAMERA)
    view.prepare(True)
    view.protocol_relevancy(words.embed(BALLS[:1]), negatives)
    export_features(ExportConfig(folder, folder / "export.npy", level="m", device="cpu"))


def _tables() -> list[Target]:
    with tempfile.TemporaryDirectory() as root:
        model = write_model(Path(root), Path("scene"))
        field = load_field(model, torch.device("cpu"))
        CodeColors.of(model.code_colors, field)
        colors = model.code_colors.read_bytes()
        write_calibration(model, Calibration(20.0, ("object", "wall"), "label", ("a",)), {"miou": 0.5})
        calibrated, name = folder_files(model.root), model.calibration.relative_to(model.root).as_posix()
    quality = {"psnr": 21.5, "ssim": 0.7}
    rgb = {"iteration": 7, "gaussians": 4, "seconds": 1.5, "device": "cpu", "views": {"test": {"a": quality}, "train": {}}}
    files: dict[str, tuple[object, Callable[[Path], object]]] = {
        "frame": ({"up": [0.0, -1.0, 0.0], "scale": 2.0}, lambda f: read_frame(f / "a.json")),
        "conversion steps": (
            {"features": plain(StepState("0" * 64, True)), "matches": plain(StepState("1" * 64))},
            lambda f: read_steps(f / "a.json"),
        ),
        "RGB metrics": (rgb, lambda f: read_metrics(f / "a.json")),
    }
    tables = [Target(name, {"a.json": json.dumps(value).encode()}, "a.json", read, JSON) for name, (value, read) in files.items()]
    tables.append(Target("calibration", calibrated, name, lambda f: read_calibration(ModelFolder(f)), JSON))
    body = json.dumps({"text": ["mug", "cup"], "level": "s", "threshold": 0.6, "x": 3, "y": 4, "camera": POSE, "neighbours": 4})
    tables.append(Target("HTTP request", {"body": body.encode()}, "body", lambda f: _request((f / "body").read_bytes()), JSON))
    return [*tables, Target("code colours", {"a.json": colors}, "a.json", lambda f: _paint(field, f / "a.json"), JSON)]


def _request(body: bytes) -> None:
    request = parse_request("instance=2", body)
    request.pixel()
    if not isinstance(request.camera_of, str):  # names are looked up in a model
        request.camera(None)


def _paint(field: LanguageField, path: Path) -> None:
    CodeColors.of(path, field).paint(torch.rand(field.codes.shape[-1], 3, 4))


def _weights() -> list[Target]:
    class Sam(torch.nn.Module):
        """As many tensors as a test needs: the reader compares names and shapes with those of the class."""

        def __init__(self):
            super().__init__()
            self.image_encoder, self.mask_decoder = torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(4)

    def read(folder: Path) -> None:
        with patch.dict(segment_anything.sam_model_registry, vit_b=Sam):
            load_sam(folder / "sam.pth", "vit_b", "cpu")

    content = saved(torch.save, Sam().state_dict())
    return [Target("SAM weights", {"sam.pth": content}, "sam.pth", read, (*m.BYTES, *[m.tensor_values] * 8))]


def _videos() -> list[Target]:
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "a.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
        for frame in np.random.default_rng(0).integers(0, 256, (6, 24, 32, 3), dtype=np.uint8):
            writer.write(frame)
        writer.release()
        content = path.read_bytes()

    def read(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as frames, contextlib.suppress(StopIteration):
            extract_frames(folder / "a.avi", Path(frames), 3)

    return [Target("video", {"a.avi": content}, "a.avi", read)]
