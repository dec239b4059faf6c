"""Shape annotations are checked while the tests run; production runs unchecked."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a model hub

_hook = install_import_hook(
    ["scene", "features", "autoencoder", "gaussian_renderer", "training", "evaluation"], "beartype.beartype"
)
_hook.__enter__()


@pytest.fixture
def shared() -> Path:
    """Reference outputs and real captures beside the checkout; tests that need them skip without."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("reference data (../shared) is not beside this checkout")
    return folder
