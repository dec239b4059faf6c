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


@pytest.fixture
def shared() -> Path:
    """Reference outputs and real captures beside the checkout; tests that need them skip without."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("reference data (../shared) is not beside this checkout")
    return folder
