"""Every reader of the pipeline, with a small valid input that it reads: what the fuzzer damages."""

import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import mutations as m
import numpy as np
import torch
from label_targets import label_targets
from model_targets import model_targets
from PIL import Image
from target import ARRAYS, HEIGHT, JSON, WIDTH, Target, picture, saved

from autoencoder.kinds import read_compressor
from autoencoder.mixtures import load_mixtures, pack
from autoencoder.network import Autoencoder
from conversion.capture import camera_groups, find_capture, inspect, make_upright
from features.grid_store import GridStore
from features.registry import open_store
from features.segment_store import SegmentStore
from features.talk2dino import load_head
from scene.camera import Camera
from scene.dataset import load_scene
from scene.gaussian_files import load_checkpoint as load_published
from scene.gaussian_files import load_gaussians
from scene.photographs import check_photograph, load_image
from scene.point_cloud import read_point_cloud
from workspace import ModelFolder, SceneFolder, load_array, load_member, read_json
from workspace.record_types import FeatureSettings, RgbRecord
from workspace.resume import load_checkpoint
from workspace.stage_record import read_record
from workspace.tensor_files import load_tensors


def targets() -> list[Target]:
    """All of them, always the same."""
    small = [*_plain(), *_tensors(), *_scenes(), *_points(), *_pictures(), *_features(), *_records()]
    return [*small, *label_targets(), *model_targets()]


def _mixtures() -> np.ndarray:
    weights = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).repeat(5, 1)
    return pack(torch.arange(4).repeat(5, 1), weights, torch.ones(5), torch.eye(9))


def _plain() -> list[Target]:
    table = json.dumps({"a": [1, 2.5, "text", None, {"b": [[True]]}], "c": "grün"}).encode()
    array = saved(np.save, np.arange(12, dtype=np.float32).reshape(3, 4))
    both = (*m.BYTES, m.npy_values, m.npy_values, m.npy_values)
    return [
        Target("json", {"a.json": table}, "a.json", lambda f: read_json(f / "a.json"), (*m.BYTES, m.json_values)),
        Target("array", {"a.npy": array}, "a.npy", lambda f: load_array(f / "a.npy"), both),
        Target("mixtures", {"a.npy": saved(np.save, _mixtures())}, "a.npy", lambda f: load_mixtures(f / "a.npy", 5, 9), m.BYTES),
        Target("archive", {"a.npz": saved(np.savez_compressed, np.ones((3, 4)))}, "a.npz",
               lambda f: load_member(f / "a.npz", "arr_0"), (*m.BYTES, *[m.npz_members] * 6)),
    ]  # fmt: skip


def _published(language: bool) -> tuple:
    n, moments = 5, torch.zeros(5)
    gaussians = [
        torch.zeros(n, 3),
        torch.zeros(n, 1, 3),
        torch.zeros(n, 15, 3),
        torch.zeros(n, 3),
        torch.ones(n, 4),
        torch.zeros(n, 1),
    ]
    parameters = [torch.nn.Parameter(value) for value in gaussians]
    adam = {"state": {0: {"step": 3.0, "exp_avg": torch.zeros(n, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    feature = [torch.zeros(n, 3)] if language else []
    return (3, *parameters, *feature, moments, moments, moments, adam, np.float64(1.5)), 30_000


def _tensors() -> list[Target]:
    tree = (*m.BYTES, *[m.tensor_values] * 8)
    nested = {"a": torch.arange(6.0).reshape(2, 3), "b": [1, "x", (2.5, None)], "c": {"d": torch.zeros(4, dtype=torch.int64)}}
    network = Autoencoder([16, 8, 3], [3, 8, 16]).state_dict()
    pca = {"mean": torch.zeros(16), "directions": torch.eye(3, 16), "scale": torch.tensor(0.5)}
    head = {"linear_layer.weight": torch.zeros(768, 512), "linear_layer.bias": torch.zeros(768),
            "hidden_layers.0.weight": torch.zeros(768, 768), "hidden_layers.0.bias": torch.zeros(768)}  # fmt: skip
    state = {
        "iteration": 7,
        "queue": [1, 2],
        "generator": torch.Generator().get_state(),
        "parameters": {"means": torch.zeros(4, 3)},
    }

    codebook = {"basis": torch.eye(2, 3), "centroids_grid": torch.rand(4, 3) + 0.1}

    def compressor(folder: Path) -> None:
        found = read_compressor(folder / "a.pth")
        rows = torch.ones(2, found.feature_width)
        levels = torch.zeros(2, dtype=torch.int64)
        found.decode(found.encode(rows, levels), levels)
        found.readout(rows)(torch.ones(2, found.code_width))

    kinds: list[tuple[str, object, Callable[[Path], object]]] = [
        ("tensors", nested, lambda f: load_tensors(f / "a.pth", "a head", "Fetch it again.")),
        ("published rgb checkpoint", _published(False), lambda f: load_gaussians(f / "a.pth")),
        ("published language checkpoint", _published(True), lambda f: load_published(f / "a.pth")),
        ("autoencoder", dict(network), compressor),
        ("principal components", pca, compressor),
        ("codebook", codebook, compressor),
    ]
    found = []
    for name, value, read in kinds:
        for zipped in (True, False):
            content = saved(torch.save, value, _use_new_zipfile_serialization=zipped)
            found.append(Target(f"{name}{'' if zipped else ', old format'}", {"a.pth": content}, "a.pth", read, tree))
    found.append(Target("Talk2DINO head", {"a.pth": saved(torch.save, head)}, "a.pth", lambda f: load_head(f / "a.pth"), tree))
    path = "checkpoints/rgb_000007.pth"
    found.append(
        Target("training state", {path: saved(torch.save, state)}, path, lambda f: load_checkpoint(ModelFolder(f), "rgb"), tree)
    )
    return found


POSES = [[[1, 0, 0, i], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]] for i in range(3)]


def _scenes() -> list[Target]:
    photographs = {f"images/{i}.png": picture("PNG", i) for i in range(3)}
    frames = [{"file_path": f"images/{i}.png", "transform_matrix": pose} for i, pose in enumerate(POSES)]
    intrinsics = {"fl_x": 20.0, "fl_y": 20.0, "cx": 8, "cy": 6, "w": WIDTH, "h": HEIGHT, "camera_model": "OPENCV", "k1": 0.0}
    nerfstudio = json.dumps({**intrinsics, "ply_file_path": "points.ply", "frames": frames}).encode()
    blender = json.dumps({"camera_angle_x": 0.7, "frames": frames}).encode()
    points = _ply("ascii")
    table = (*m.BYTES, *[m.json_values] * 12)
    found = [
        Target("transforms.json", {"transforms.json": nerfstudio, "points.ply": points, **photographs}, "transforms.json",
               load_scene, table),
        Target("transforms_train.json", {"transforms_train.json": blender, "points3d.ply": points, **photographs},
               "transforms_train.json", load_scene, table),
    ]  # fmt: skip
    text = {
        "sparse/0/cameras.txt": b"# cameras\n1 PINHOLE 16 12 20 20 8 6\n",
        "sparse/0/images.txt": b"".join(b"%d 1 0 0 0 %d 0 0 1 %d.png\n1.5 2.5 -1\n" % (i + 1, i, i) for i in range(3)),
        "sparse/0/points3D.txt": b"".join(b"%d %d 0 1 9 9 9 0.1 1 0\n" % (i, i) for i in range(5)),
    }
    point = b"".join(struct.pack("<Q3d3BdQ2i", i, i, 0, 1, 9, 9, 9, 0.1, 1, 1, 0) for i in range(5))
    image = b"".join(
        struct.pack("<I7dI", i + 1, 1, 0, 0, 0, i, 0, 0, 1) + b"%d.png\0" % i + struct.pack("<Q2dQ", 1, 1.5, 2.5, 2**64 - 1)
        for i in range(3)
    )
    binary = {
        "sparse/0/cameras.bin": struct.pack("<QIiQQ4d", 1, 1, 1, WIDTH, HEIGHT, 20, 20, 8, 6),
        "sparse/0/images.bin": struct.pack("<Q", 3) + image,
        "sparse/0/points3D.bin": struct.pack("<Q", 5) + point,
    }
    for files, mutations in ((text, (*m.BYTES, *[m.text_words] * 8)), (binary, m.BYTES)):
        for path in files:
            found.append(Target(Path(path).name, {**files, **photographs}, path, load_scene, mutations))
    return found


def _ply(form: str) -> bytes:
    columns = [
        "property float x",
        "property float y",
        "property double z",
        *(f"property uchar {c}" for c in ("red", "green", "blue")),
    ]
    head = "\n".join(["ply", f"format {form} 1.0", "comment made by hand", "element vertex 4", *columns, "property int label",
                      "element face 1", "property list uchar int vertex_indices", "end_header", ""]).encode()  # fmt: skip
    rows = [(i, 2 * i, 0.5, 10 * i, 255, 0, i) for i in range(4)]
    if form == "ascii":
        return head + "".join(" ".join(map(str, row)) + "\n" for row in rows).encode() + b"3 0 1 2\n"
    order = "<" if "little" in form else ">"
    return head + b"".join(struct.pack(order + "ffd3Bi", *row) for row in rows) + struct.pack(order + "B3i", 3, 0, 1, 2)


def _gaussian_ply() -> bytes:
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(9)), "opacity",
             *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]  # fmt: skip
    head = [
        "ply",
        "format binary_little_endian 1.0",
        "element vertex 3",
        *(f"property float {name}" for name in names),
        "end_header",
        "",
    ]
    return "\n".join(head).encode() + np.random.default_rng(0).normal(size=(3, len(names))).astype("<f4").tobytes()


def _points() -> list[Target]:
    found = []
    for form in ("ascii", "binary_little_endian", "binary_big_endian"):
        mutations = (*m.BYTES, *[m.text_words] * 6) if form == "ascii" else m.BYTES
        found.append(
            Target(f"point cloud, {form}", {"a.ply": _ply(form)}, "a.ply", lambda f: read_point_cloud(f / "a.ply"), mutations)
        )
    found.append(Target("Gaussians", {"a.ply": _gaussian_ply()}, "a.ply", lambda f: load_gaussians(f / "a.ply")))
    return found


def _deep_picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 300).save(file, "PNG")
    return file.getvalue()


def _pictures() -> list[Target]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769)[0x920A] = 4.2
    kinds = {
        "JPEG": ("a.jpg", picture("JPEG", size=(40, 24), exif=exif)),
        "progressive JPEG": ("a.jpg", picture("JPEG", size=(40, 24), progressive=True)),
        "PNG": ("a.png", picture("PNG", exif=exif)),
        "PNG with alpha": ("a.png", picture("PNG", mode="RGBA")),
        "PNG with a palette": ("a.png", picture("PNG", mode="P", transparency=0)),
        "16-bit PNG": ("a.png", _deep_picture()),
        "BMP": ("a.bmp", picture("BMP")),
        "TIFF": ("a.tif", picture("TIFF", compression="tiff_lzw")),
        "WebP": ("a.webp", picture("WEBP", lossless=True)),
    }

    def photograph(folder: Path) -> None:
        path = next(folder.iterdir())
        stored = check_photograph(path)
        width, height = min(stored.width, 64), min(stored.height, 64)
        load_image(Camera("a", np.eye(4), 1.0, 1.0, 0.0, 0.0, width, height, path))

    found = [Target(name, {file: content}, file, photograph) for name, (file, content) in kinds.items()]
    three = {f"{i}.jpg": picture("JPEG", i, (40, 24), exif=exif) for i in range(3)}

    def capture(folder: Path) -> None:
        source, names = find_capture(folder)
        photographs = inspect(source, names)
        camera_groups(photographs, "auto")
        make_upright(source, photographs, folder / ".upright")

    found.append(Target("capture", three, "1.jpg", capture))
    return found


def _features() -> list[Target]:
    record = json.dumps(
        {"stage": "features", "format": 1, "config": {"features": "mini"}, "inputs": {}, "complete": True}
    ).encode()
    maps = saved(np.save, np.random.default_rng(0).integers(-1, 5, (4, 6, 8)).astype(np.int32))
    rows = saved(np.save, np.eye(5, 8, dtype=np.float32))
    segments = {"images/a.png": picture("PNG"), "language_features/a_f.npy": rows, "language_features/a_s.npy": maps,
                "language_features/stage.json": record}  # fmt: skip
    grid = saved(np.save, np.ones((3, 4, 8), np.float16))
    foreign = saved(np.savez, np.ones((8, 3, 4), np.float32))

    def read_segments(folder: Path) -> object:
        return SegmentStore(SceneFolder(folder), FeatureSettings("mini")).read("a")

    def read_grid(folder: Path) -> object:
        return GridStore(SceneFolder(folder), FeatureSettings("dino")).read("a")

    return [
        Target("segment embeddings", segments, "language_features/a_f.npy", read_segments, ARRAYS),
        Target("segment maps", segments, "language_features/a_s.npy", read_segments, ARRAYS),
        Target("feature record", segments, "language_features/stage.json", lambda f: open_store(SceneFolder(f)), JSON),
        Target("patch grid", {"dino_features/a.npy": grid}, "dino_features/a.npy", read_grid, ARRAYS),
        Target("DinoSplat's grid", {"dino_features/a.npz": foreign}, "dino_features/a.npz", read_grid,
               (*m.BYTES, *[m.npz_members] * 8)),
    ]  # fmt: skip


def _records() -> list[Target]:
    config = {"source_path": "x", "images": "images", "resolution": -1, "eval": True, "white_background": False}
    record = {"stage": "rgb", "format": 1, "config": config, "inputs": {"photographs": {"a": "0" * 16}}, "complete": True}
    files = {"stage.json": json.dumps(record).encode()}

    def read(folder: Path) -> object:
        return read_record(folder, RgbRecord, "Train again.")

    return [Target("stage record", files, "stage.json", read, JSON)]


def mutated(target: Target, rng: random.Random) -> bytes:
    """The damaged file, with one to three mutations."""
    content = target.files[target.damaged]
    content = rng.choice(target.mutations)(content, rng)
    while rng.random() < 0.2:
        content = rng.choice(m.BYTES)(content, rng)
    return content
