"""Readers of ground truth and of the user's own masks, as targets of the fuzzer."""

import json
from dataclasses import replace
from pathlib import Path

import mutations as m
import numpy as np
import torch
from target import ARRAYS, JSON, Target, picture, saved

from evaluation.labels import read_3d_ovs, read_lerf_ovs
from evaluation.protocols import mipnerf360_goi, scannet
from features.own_segments import OwnOptions, OwnSegments
from scene.point_cloud import read_labelled_points

SIZE = (20, 14)
IMAGE = np.zeros((12, 16, 3), np.uint8)


def label_targets() -> list[Target]:
    """All of them, always the same."""
    return [*_outlines(), *_masks(), *_scans(), *_own()]


def _outlines() -> list[Target]:
    outline = {"category": "mug", "segmentation": [[2, 2], [9, 2], [9, 9]], "bbox": [2, 2, 9, 9]}
    info = {"name": "a", "width": SIZE[0], "height": SIZE[1]}
    lerf = json.dumps({"info": info, "objects": [outline, {**outline, "category": "cup"}]}).encode()

    def outlines(folder: Path) -> None:
        for frame in read_lerf_ovs(folder):
            for phrase in frame.phrases:
                frame.mask(phrase, *SIZE), frame.mask(phrase, 33, 21), frame.boxes(phrase, 10, 7)

    return [Target("LERF-OVS labels", {"a.json": lerf}, "a.json", outlines, JSON)]


def _masks() -> list[Target]:
    painted = {
        "classes.txt": b"mug\nblue cup\n",
        "00/mug.png": picture("PNG", mode="L"),
        "00/blue cup.png": picture("PNG", 1, mode="1"),
    }
    prompts = {"labels/mug/masks/a.png": picture("PNG", mode="L"), "answers/mug/a.png": picture("PNG", 1, mode="L", size=SIZE)}

    def read(folder: Path) -> None:
        for frame in read_3d_ovs(folder)[1]:
            for phrase in frame.phrases:
                frame.mask(phrase, *SIZE)

    def goi(folder: Path) -> None:
        for frame in mipnerf360_goi.read(folder / "labels").frames:
            for phrase in frame.phrases:
                frame.mask(phrase, *SIZE), frame.hit(phrase, torch.tensor([[3, 4]]), *SIZE)
        mipnerf360_goi.scene_figures(folder / "labels", mipnerf360_goi.published_layout(folder / "answers"))

    return [
        Target("3D-OVS classes", painted, "classes.txt", read, (*m.BYTES, m.text_words)),
        Target("3D-OVS mask", painted, "00/mug.png", read),
        Target("GOI mask", prompts, "labels/mug/masks/a.png", goi),
        Target("GOI answer", prompts, "answers/mug/a.png", goi),
    ]


def _scans() -> list[Target]:
    columns = [*(f"property float {axis}" for axis in "xyz"), *(f"property uchar {c}" for c in ("red", "green", "blue", "alpha"))]
    found = []
    for form, kind in (("ascii", "ushort"), ("ascii", "int"), ("binary_little_endian", "uint")):
        head = "\n".join(["ply", f"format {form} 1.0", "element vertex 5", *columns, f"property {kind} label", "end_header", ""])
        rows = [(i, 2 * i, 0.5, 9, 9, 9, 255, label) for i, label in enumerate((0, 1, 3, 40, 39))]
        if form == "ascii":
            body = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
        else:
            body = np.array(rows, [*((n, "<f4") for n in "xyz"), *((n, "u1") for n in "rgba"), ("label", "<u4")]).tobytes()
        mutations = (*m.BYTES, *[m.text_words] * 6) if form == "ascii" else m.BYTES
        found.append(Target(f"ScanNet labels, {form}, {kind}", {"a.ply": head.encode() + body}, "a.ply", _scan, mutations))
    return found


def _scan(folder: Path) -> None:
    points, labels = read_labelled_points(folder / "a.ply")
    nyu40, opacities = torch.from_numpy(labels), torch.ones(len(points))
    for count in scannet.CLASSES:
        truth = scannet.ground_truth(nyu40, opacities, count)
        scannet.figures(truth, torch.ones_like(truth), count)


def _own() -> list[Target]:
    labels = np.random.default_rng(0).integers(-1, 4, (3, 12, 16)).astype(np.int16)
    rows = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    files = {"masks/a.npy": saved(np.save, labels), "rows/a.npy": saved(np.save, rows)}
    drawn = {"masks/a.png": picture("PNG", mode="1"), "rows/a.npy": files["rows/a.npy"]}

    def read(folder: Path) -> None:
        options = OwnOptions(masks=folder / "masks", embeddings=folder / "rows")
        extract = OwnSegments().load(options, torch.device("cpu")).steps["files"]
        extract(IMAGE, "a")

    maps = Target("own masks", files, "masks/a.npy", read, ARRAYS)
    return [
        maps,
        replace(maps, name="own embeddings", damaged="rows/a.npy"),
        Target("own masks as a picture", drawn, "masks/a.png", read),
    ]
