"""A file of PyTorch that is not what it should be: what it is, what was expected, what to do, and nothing of torch's advice."""

import argparse
import random

import pytest
import torch

from workspace import InputError
from workspace.tensor_files import load_tensors


def _message(path):
    with pytest.raises(InputError) as error:
        load_tensors(path, "a head", "Download it again.")
    text = str(error.value)
    assert "weights_only" not in text and "\n" not in text
    return text


def test_each_way_a_file_can_be_wrong_has_its_words(tmp_path):
    path = tmp_path / "head.pth"
    assert _message(path) == f"No file {path}; expected a head. Download it again."
    assert _message(tmp_path) == f"{tmp_path} is a folder; expected a head. Download it again."
    for content, found in (
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page saved under that name"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is only the pointer of a Git LFS file"),
        (b"\xff\xd8\xff\xe0 a jpeg", "is not a file of PyTorch"),
    ):
        path.write_bytes(content)
        assert _message(path).startswith(f"{path} (0.0 MB) {found}") and "; expected a head. " in _message(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_are_named_and_not_built(tmp_path, zipped):
    path = tmp_path / "head.pth"
    torch.save({"args": argparse.Namespace(lr=1)}, path, _use_new_zipfile_serialization=zipped)
    assert "holds objects that are not safe to load (argparse.Namespace); expected a head" in _message(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_never_escapes_as_another_error(tmp_path, zipped):
    """Cut anywhere or with some bytes changed; torch raises ten different kinds of exceptions on these."""
    path, rng = tmp_path / "head.pth", random.Random(0)
    torch.save({"a": torch.zeros(20, 3), "b": {"c": 1.5, "d": [1, 2]}}, path, _use_new_zipfile_serialization=zipped)
    whole, refused = path.read_bytes(), 0
    for turn in range(300):
        content = bytearray(whole[: rng.randrange(len(whole))] if turn % 2 else whole)
        for _ in range(0 if turn % 2 else 5):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            load_tensors(path, "a head", "Download it again.")  # changed numbers inside a tensor cannot be noticed
        except InputError as error:
            refused += 1
            assert "expected a head" in str(error)
    assert refused > 150  # every cut file, and some of the changed ones


def test_a_whole_file_is_read(tmp_path):
    torch.save({"a": torch.arange(3), "b": [1.5, "x"]}, tmp_path / "head.pth")
    loaded = load_tensors(tmp_path / "head.pth", "a head", "Download it again.")
    assert loaded["a"].tolist() == [0, 1, 2] and loaded["b"] == [1.5, "x"]
