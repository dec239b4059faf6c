"""Gaussians on disk: the 3DGS `.ply`, and the checkpoints of the reference trainers."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scene.camera import FARTHEST
from scene.gaussian_model import GaussianModel, num_sh_rest
from scene.ply import read_vertices, vertex_properties, write_vertices
from workspace import InputError
from workspace.tensor_files import load_tensors

# Function that rebuilds the numpy scalars of a checkpoint (its spatial_lr_scale); numpy 2 and numpy 1 name it differently.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_SAFE = [
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
]


def save_ply(path: Path, gaussians: GaussianModel) -> None:
    """Write the raw parameters in the property order of 3DGS, whole or not at all. Normals are zero."""
    n, rest = len(gaussians), gaussians.sh_rest.shape[1]
    names = _property_names(rest)
    columns = [
        gaussians.means,
        torch.zeros(n, 3),
        gaussians.sh_dc.reshape(n, 3),
        gaussians.sh_rest.transpose(1, 2).reshape(n, 3 * rest),  # channel-major: all red, all green, all blue
        gaussians.opacity_logits,
        gaussians.log_scales,
        gaussians.quats,
    ]
    table = torch.cat([column.detach().cpu().float() for column in columns], dim=1).numpy()
    vertices = np.ascontiguousarray(table, "<f4").view([(name, "<f4") for name in names])[:, 0]
    write_vertices(path, vertices)


def copy_ply(source: Path, target: Path) -> None:
    """Write the vertices of a `.ply` with every property it has, in its order, as a binary `.ply`; atomic."""
    write_vertices(target, read_vertices(source))


def extra_properties(path: Path) -> list[str]:
    """Vertex properties of a 3DGS `.ply` that a `GaussianModel` does not hold. Normals, zero in 3DGS, do not count."""
    names = vertex_properties(path)
    known = _property_names(sum(name.startswith("f_rest_") for name in names) // 3)
    return [name for name in names if name not in known]


def load_ply(path: Path) -> GaussianModel:
    """Read a 3DGS `.ply` of SH degree 0 to 3; extra properties are ignored.

    Raises:
        InputError: the file is missing, truncated, not a 3DGS file, or holds values that are not finite.
    """
    vertices = read_vertices(path)
    names = set(vertices.dtype.names)
    stored = sum(name.startswith("f_rest_") for name in names)
    degree = next((d for d in range(4) if 3 * num_sh_rest(d) == stored), None)
    if degree is None:
        raise InputError(f"{path} has {stored} f_rest properties; expected 0, 9, 24 or 45 (SH degree 0, 1, 2 or 3).")
    missing = [name for name in _property_names(stored // 3) if name not in names and name not in ("nx", "ny", "nz")]
    if missing:
        packed = " It is a compressed file; export it uncompressed." if "packed_position" in names else ""
        raise InputError(f"{path} is not a 3DGS file: its vertices have no {', '.join(missing)}.{packed}")

    def columns(*wanted: str) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(vertices[name], np.float32) for name in wanted], axis=1))

    rest = num_sh_rest(degree)
    sh_rest = torch.zeros(len(vertices), 0, 3)
    if rest:
        sh_rest = columns(*(f"f_rest_{i}" for i in range(3 * rest))).reshape(-1, 3, rest).transpose(1, 2).contiguous()
    gaussians = GaussianModel(
        means=columns("x", "y", "z"),
        log_scales=columns("scale_0", "scale_1", "scale_2"),
        quats=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        opacity_logits=columns("opacity"),
        sh_dc=columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None],
        sh_rest=sh_rest,
        active_sh_degree=degree,
    )
    return _drawable(path, gaussians)


def load_checkpoint(path: Path) -> tuple[GaussianModel, Float[Tensor, "n c"] | None, int]:
    """Read a reference `chkpnt<N>.pth`: the Gaussians, the language feature if it holds one, and the iteration.

    Nothing in the file is executed; optimizer state is ignored.

    Raises:
        InputError: the file is missing, truncated, unsafe, or not such a checkpoint.
    """
    state, iteration = _published(path)
    # RGB: 12 entries. Language: 13, with the feature after opacity. The published order is part of the format.
    language = None
    if len(state) == 13:
        state, language = (*state[:7], *state[8:]), state[7]
    degree, means, sh_dc, sh_rest, log_scales, quats, opacity_logits = state[:7]
    raw = {"means": means, "log_scales": log_scales, "quats": quats, "opacity_logits": opacity_logits}
    raw |= {"sh_dc": sh_dc, "sh_rest": sh_rest}
    try:
        raw = {name: _floats(name, value) for name, value in raw.items()}
        if language is not None:
            language = _floats("language feature", language)
        n, rest = len(raw["means"]), num_sh_rest(math.isqrt(raw["sh_rest"].shape[1] + 1) - 1)
        expected = dict(zip(raw, ((n, 3), (n, 3), (n, 4), (n, 1), (n, 1, 3), (n, rest, 3)), strict=True))
        for name, value in raw.items():
            if tuple(value.shape) != expected[name]:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {expected[name]}")
        gaussians = GaussianModel(**raw, active_sh_degree=_whole("SH degree", degree))
        if language is not None and (language.ndim != 2 or len(language) != n or not language.isfinite().all()):
            raise ValueError(f"a language feature {tuple(language.shape)} for {n} Gaussians; expected finite [{n}, c]")
        iteration = _whole("iteration", iteration)
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} is not a 3DGS checkpoint: {error}.") from None
    return _drawable(path, gaussians), language, iteration


def load_gaussians(path: Path) -> GaussianModel:
    """Read Gaussians from a `.ply` or a reference checkpoint; the format is detected from the first bytes."""
    magic = _first_bytes(path)
    if magic.startswith(b"ply"):
        return load_ply(path)
    if magic.startswith((b"PK", b"\x80")):  # torch's zip format, and its older plain pickles
        return load_checkpoint(path)[0]
    raise InputError(f"{path} is neither a .ply nor a checkpoint of a 3DGS trainer.")


def is_ply(path: Path) -> bool:
    """Whether the file begins as a `.ply`; InputError when there is none."""
    return _first_bytes(path).startswith(b"ply")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except FileNotFoundError:
        raise InputError(f"No file {path}.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a point_cloud.ply or a chkpnt*.pth.") from None


def _floats(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} is of {kind}; expected a tensor of floats")
    return value.float().contiguous()


def _whole(name: str, value: Any) -> int:
    """Convert a number that trainers may have stored as int, float or numpy scalar; ValueError if it is none of these."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool | np.complexfloating):
        raise ValueError(f"{name} is {str(value)[:40]!r}; expected a number")
    if not 0 <= value < 2**31:
        raise ValueError(f"{name} is {value}; expected a whole number")
    return int(value)


def _property_names(rest: int) -> list[str]:
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(3 * rest))]
    return [*names, "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def _published(path: Path) -> tuple[tuple, Any]:
    expected = "a checkpoint of a 3DGS trainer (chkpnt<iteration>.pth)"
    content: Any = load_tensors(path, expected, "Copy it again, or give the point_cloud.ply of that training.", safe=_SAFE)
    if isinstance(content, tuple) and len(content) == 2 and isinstance(content[0], tuple) and len(content[0]) in (12, 13):
        return content
    raise InputError(f"{path} is not a checkpoint of a 3DGS trainer; expected (12 or 13 entries, iteration).")


def _drawable(path: Path, gaussians: GaussianModel) -> GaussianModel:
    """Return `gaussians`; InputError if any value is not finite, or so large that rendering overflows float32."""
    if not len(gaussians):
        raise InputError(f"{path} holds no Gaussians.")
    for name in ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest"):
        bad = (~getattr(gaussians, name).flatten(1).isfinite()).any(1).sum().item()
        if bad:
            raise InputError(f"{path}: {bad} of {len(gaussians)} Gaussians have {name} that are not finite numbers.")
    far = (gaussians.means.abs() > FARTHEST).any(1) | (gaussians.log_scales > math.log(FARTHEST)).any(1)
    if far.any():
        raise InputError(
            f"{path}: {far.sum().item()} of {len(gaussians)} Gaussians are further or larger than {FARTHEST:g} world units."
        )
    return gaussians
