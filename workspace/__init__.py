"""The ground floor: paths, files, stage records, resuming, the command line, devices. It imports no other room."""

from workspace.errors import InputError
from workspace.files import atomic, load_array, read_json, save_array, write_json
from workspace.paths import ASSETS, IMAGE_SUFFIXES, ModelFolder, SceneFolder, image_files, image_key

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
    "read_json",
    "save_array",
    "write_json",
]
