"""Seeded damage to files: to their bytes, and to what they mean (JSON, text, arrays, tensors, archives)."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Mutation = Callable[[bytes, random.Random], bytes]

_INTEGERS = (
    0,
    1,
    -1,
    127,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    10**30,
)
_FLOATS = (0.0, -0.0, 1e-300, 1e30, 1e200, 1e308, float("nan"), float("inf"), float("-inf"), -1.5)
_VALUES = (*_INTEGERS, *_FLOATS, None, True, "", "text", "../x", "\ud800", "a\nb", [], [[]], {}, [[[[]]]], "1e999", -(10**18))
_WORDS = (
    "nan",
    "inf",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "",
    "text",
    "\ufeff",
    "#",
    "-",
    "1.5",
    "256",
    "\x00",
    "2147483648",
)

# Names in the pickle of a numpy number, which checkpoints of 3DGS hold; numpy 1 and 2 have the first in different modules.
_NUMPY_NUMBER = [np.float64(0).__reduce__()[0], np.dtype, type(np.dtype(np.float64))]


def truncated(content: bytes, rng: random.Random) -> bytes:
    """Cut short."""
    return content[: rng.randrange(len(content) + 1)]


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A few bytes replaced."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16)) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
    return bytes(changed)


def numbered(content: bytes, rng: random.Random) -> bytes:
    """Four or eight bytes replaced by a number at a limit."""
    if len(content) < 8:
        return content
    value = rng.choice(_INTEGERS) % 2**64
    packed = struct.pack(rng.choice("<>") + "Q", value) if rng.random() < 0.5 else struct.pack("<I", value % 2**32)
    if rng.random() < 0.3:
        packed = struct.pack("<d", rng.choice(_FLOATS))
    start = rng.randrange(len(content) - len(packed) + 1)
    return content[:start] + packed + content[start + len(packed) :]


def spliced(content: bytes, rng: random.Random) -> bytes:
    """A part removed, repeated, zeroed or moved."""
    if not content:
        return content
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 4, 16, 64, 1024)))
    part = content[start:end]
    kind = rng.randrange(4)
    if kind == 0:
        return content[:start] + content[end:]
    if kind == 1:
        return content[:start] + part * rng.choice((2, 3, 50)) + content[end:]
    if kind == 2:
        return content[:start] + bytes(len(part)) + content[end:]
    target = rng.randrange(len(content))
    return content[:target] + part + content[target:]


def emptied(content: bytes, rng: random.Random) -> bytes:
    """Nothing, or something else altogether."""
    others = (
        b"",
        b"\x00",
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"\x80\x02.",
        b"<!DOCTYPE html>",
        b"{}",
        b"[]",
        b"null",
        b"0",
        b'""',
        b"ply\n",
    )
    return rng.choice(others)


BYTES: tuple[Mutation, ...] = (truncated, flipped, flipped, numbered, numbered, spliced, spliced, emptied)


def json_values(content: bytes, rng: random.Random) -> bytes:
    """One value of a JSON file replaced, removed, repeated or nested."""
    value = json.loads(content)
    places: list[tuple[Any, Any]] = []
    _collect(value, places)
    if not places or rng.random() < 0.05:
        return json.dumps(rng.choice(_VALUES)).encode()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holder, key = rng.choice(places)
        kind = rng.random()
        try:
            if kind < 0.15:
                del holder[key]
            elif kind < 0.2 and isinstance(holder, list):
                holder.extend([holder[key]] * rng.choice((1, 7)))
            elif kind < 0.25:
                holder[key] = json.loads("[" * 200 + "]" * 200)
            elif kind < 0.3 and isinstance(holder, dict):
                holder[rng.choice(("", "x", "frames", "w", "../y"))] = holder.pop(key)
            else:
                holder[key] = rng.choice(_VALUES)
        except (KeyError, IndexError):  # an earlier change took it away
            continue
    return json.dumps(value).encode()


def _collect(value: Any, places: list) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        places.append((value, key))
        _collect(item, places)


def text_words(content: bytes, rng: random.Random) -> bytes:
    """Words of a text file replaced, removed or repeated; sometimes its encoding."""
    if rng.random() < 0.05:
        return content.decode("utf-8", "replace").encode("utf-16")
    words = content.decode("utf-8", "replace").replace("\n", " \n ").split(" ")
    for _ in range(rng.choice((1, 1, 2, 4))):
        i = rng.randrange(len(words))
        kind = rng.random()
        words[i : i + 1] = [rng.choice(_WORDS)] if kind < 0.7 else [] if kind < 0.85 else [words[i]] * 2
        words = words or [""]
    return " ".join(words).replace(" \n ", "\n").encode("utf-8", "surrogatepass")


def npy_values(content: bytes, rng: random.Random) -> bytes:
    """An array of another type or shape, with other values, or under a header that does not fit it."""
    array = np.load(io.BytesIO(content))
    kind = rng.randrange(6)
    with np.errstate(all="ignore"):
        if kind == 0:
            array = array.astype(
                rng.choice(("f2", "f4", "f8", "i1", "i4", "i8", "u1", "u4", "u8", "c8", "?", "U5", ">f4", "S3", "f16"))
            )
        elif kind == 1 and array.size:
            value = rng.choice(_FLOATS if array.dtype.kind == "f" else (0, -2, 127, 10**4))
            array = array.copy()
            array.reshape(-1)[rng.randrange(array.size)] = value
        elif kind == 2:
            array = rng.choice((array[..., :0], array[None], array[0], array.reshape(-1), array.T, array.ravel()[0], array[::2]))
        elif kind == 3:
            array = np.full(array.shape, rng.choice((2.0**32, 7e4, -1.0, 1e39)), rng.choice(("f8", "i8")))
    file = io.BytesIO()
    np.save(file, array)
    saved = file.getvalue()
    if kind == 4:
        return saved.replace(b"(", rng.choice((b"(-1,", b"(99999999999,", b"((", b"(1e3,", b"('a',")).ljust(1), 1)
    if kind == 5:
        return saved.replace(
            rng.choice((b"<f4", b"<i4", b"<f2", b"|u1")), rng.choice((b"|O8", b"<U4", b"<f8", b"|V0", b"<M8")), 1
        )
    return saved


def npz_members(content: bytes, rng: random.Random) -> bytes:
    """The member of an archive damaged and packed again, so that its checksum is right; or another archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = archive.namelist()[0]
        member = archive.read(name)
    kind = rng.random()
    if kind < 0.5:
        member = npy_values(member, rng)
    elif kind < 0.9:
        member = rng.choice(BYTES)(member, rng)
    else:
        name = rng.choice(("arr_1.npy", "arr_0", "../arr_0.npy"))
    file = io.BytesIO()
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(file, "w", rng.choice(methods)) as archive:
        archive.writestr(name, member)
    return file.getvalue()


def tensor_values(content: bytes, rng: random.Random) -> bytes:
    """One entry of a PyTorch file replaced by another value or an odd tensor, saved in either format of torch."""
    with torch.serialization.safe_globals(_NUMPY_NUMBER):
        value = torch.load(io.BytesIO(content), weights_only=True)
    value = _replaced(value, rng)
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=rng.random() < 0.7)
    return file.getvalue()


def _replaced(value: Any, rng: random.Random) -> Any:
    deeper = isinstance(value, dict | list | tuple) and len(value) and rng.random() < 0.9
    if isinstance(value, dict) and deeper:
        key, kind = rng.choice(list(value)), rng.random()
        rest = {k: v for k, v in value.items() if k != key}
        if kind < 0.12:
            return rest
        if kind < 0.2:
            return {**rest, rng.choice((0, 7, "x", "encoder.0.weight", None, ("a",))): value[key]}
        return {**value, key: _replaced(value[key], rng)}
    if isinstance(value, list | tuple) and deeper:
        i = rng.randrange(len(value))
        items = [*value[:i], _replaced(value[i], rng), *value[i + 1 :]] if rng.random() < 0.9 else list(value[:-1])
        return type(value)(items)
    if isinstance(value, torch.Tensor) and rng.random() < 0.7:
        return _odd_tensor(value, rng)
    return rng.choice((*_VALUES, (), torch.zeros(3), torch.zeros(0), np.float64(3), {1: 2}))


def _odd_tensor(value: torch.Tensor, rng: random.Random) -> torch.Tensor:
    value = value.detach() if value.ndim else value.detach()[None]
    shape = list(value.shape) or [1]
    makers: tuple[Callable[[], torch.Tensor], ...] = (
        lambda: torch.zeros(1).expand(10**9),
        lambda: torch.zeros([1] * len(shape)).expand([50_000_000, *shape[1:]]),
        lambda: torch.zeros(shape).to_sparse(),
        lambda: torch.zeros(shape, device="meta"),
        lambda: torch.zeros(
            shape, dtype=rng.choice((torch.float64, torch.float16, torch.int64, torch.complex64, torch.bool, torch.bfloat16))
        ),
        lambda: torch.full(shape, rng.choice(_FLOATS), dtype=torch.float64).float(),
        lambda: value[..., :0],
        lambda: value[None],
        lambda: value.reshape(-1),
        lambda: torch.zeros([n + 1 for n in shape]),
        lambda: value.flip(0) if value.ndim else value,
        lambda: torch.nn.Parameter(value) if value.is_floating_point() else value,
    )
    return rng.choice(makers)()
