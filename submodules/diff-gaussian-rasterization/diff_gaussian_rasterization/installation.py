"""Detects incomplete and conflicting installations at import: several published packages share this name."""

import importlib
import importlib.metadata
import sys
from pathlib import Path

NAME = "diff_gaussian_rasterization"
INSTALL = "pip install ./submodules/diff-gaussian-rasterization"


def require_this_package() -> None:
    """Raise ImportError when `_C` is missing or another package's, or when another package of this name is installed."""
    here = Path(__file__).resolve().parent
    others = other_copies(here)
    if others:
        raise ImportError(
            f"{NAME} was imported from {here}, but another package of the same name is installed at "
            f"{', '.join(map(str, others))}, and which of them a script gets depends on its path. "
            f"Remove all of them with `pip uninstall -y diff-gaussian-rasterization` (repeat until none is left), then: {INSTALL}"
        )
    try:
        compiled = importlib.import_module(f"{NAME}._C")
    except ModuleNotFoundError:
        raise ImportError(
            f"{here} holds no compiled module. If that is the source folder, run from another directory; otherwise: {INSTALL}"
        ) from None
    if not hasattr(compiled, "blend_backward"):
        raise ImportError(
            f"{compiled.__file__} belongs to another package of the same name. Remove it with "
            f"`pip uninstall -y diff-gaussian-rasterization`, then: {INSTALL}"
        )


def build_record() -> dict[str, str]:
    """How the extension was built.

    `cpu`: instruction sets of the CPU backend, fastest first; `openmp`: its version, empty if built single-threaded; `cuda`:
    toolkit version, empty without the CUDA backend; `architectures`: compute capabilities, the last also as PTX; `compiler`.
    """
    return dict(importlib.import_module(f"{NAME}._C").build)


def other_copies(here: Path) -> list[Path]:
    """Folders of other packages with this name on the import path; the source folder of this package does not count."""
    found = []
    for entry in sys.path:
        folder = Path(entry or ".") / NAME
        if (folder / "__init__.py").is_file() and folder.resolve() != here and not (folder / "installation.py").is_file():
            found.append(folder.resolve())
    for distribution in importlib.metadata.distributions(name=NAME):
        folder = Path(str(distribution.locate_file(NAME))).resolve()
        # A folder without __init__.py holds only the compiled module of this package, installed with `pip install -e`.
        if (
            folder != here
            and folder not in found
            and (folder / "__init__.py").is_file()
            and not (folder / "installation.py").is_file()
        ):
            found.append(folder)
    return found
