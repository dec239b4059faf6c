"""Base package: paths, files, stage records, resuming, the command line, devices. It imports no other package here."""

import os

# Idle OpenMP threads sleep instead of spinning. Torch and the rasterizer each have a thread pool; on a busy machine spinning
# threads take the cores from the threads they wait for: a training took nine times as long.
# The libraries read this variable once, on load, so `workspace` is the first import of every script.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# isort: split
from workspace.array_files import load_array, load_member, load_records, save_array
from workspace.errors import InputError
from workspace.files import atomic
from workspace.json_files import read_json, read_typed, write_json
from workspace.model_folder import ModelFolder
from workspace.scene_folder import ASSETS, IMAGE_SUFFIXES, SceneFolder, image_files, image_key

__all__ = [
    "ASSETS",
    "IMAGE_SUFFIXES",
    "InputError",
    "ModelFolder",
    "SceneFolder",
    "atomic",
    "image_files",
    "image_key",
    "load_array",
    "load_member",
    "load_records",
    "read_json",
    "read_typed",
    "save_array",
    "write_json",
]
