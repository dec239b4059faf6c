"""Helpers of the tests of damaged files."""

import re
import struct
import zlib

import pytest

from workspace import InputError


def refused(reader, path, expected):
    """The message: one, that names the file and holds `expected`."""
    with pytest.raises(InputError) as error:
        reader(path)
    text = str(error.value)
    assert str(path) in text or path.name in text
    assert re.search(expected, text), text
    return text


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
