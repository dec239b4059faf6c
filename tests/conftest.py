"""Shape annotations are checked while the tests run; production runs unchecked."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `workspace` does for scripts
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a model hub

ROOMS = (
    "workspace scene conversion toy_world gaussian_renderer features autoencoder training bundled query evaluation viewer".split()
)
_hook = install_import_hook(ROOMS, "beartype.beartype")
_hook.__enter__()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Four balls with photographs and labels, in modules that have no other scene."""
    from small_answers import write_scene  # after the hook

    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def model(scene, tmp_path, monkeypatch):
    """The trained model of that scene, with a text encoder that knows the balls."""
    from small_answers import Words, write_model

    monkeypatch.setattr("query.session.text_encoder", lambda *_: Words())
    return write_model(tmp_path / "model", scene)


@pytest.fixture
def shared() -> Path:
    """Reference outputs and real captures beside the checkout; tests that need them skip without."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("reference data (../shared) is not beside this checkout")
    return folder
