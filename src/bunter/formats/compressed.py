"""Files of text that may be compressed with gzip or bzip2: read whole, recognised by their first bytes."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

from ..errors import FormatError, IntegrityError
from .interface import Source

LARGEST = 4 << 30
"""Bytes that a compressed file may hold: beyond it, it is taken for a decompression bomb."""


def read_text(source: Source, expected: str) -> memoryview:
    """Return the bytes of a file, decompressed if need be.

    Raises
    ------
    IntegrityError
        If a compressed file is cut short or damaged.
    FormatError
        If it holds more than `LARGEST` bytes.
    """
    data = source.read_all()
    start = bytes(data[:3])
    if start[:2] == b"\x1f\x8b":
        import gzip

        stream: Any = gzip.GzipFile(fileobj=io.BytesIO(data))
    elif start == b"BZh":
        import bz2

        stream = bz2.BZ2File(io.BytesIO(data))
    else:
        return data
    try:
        text = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(
            f"{source.name}: this compressed file ({expected}) is cut short or damaged: {error}"
        ) from error
    if len(text) > LARGEST:
        raise FormatError(f"{source.name}: this compressed file holds more than {LARGEST} bytes")
    return memoryview(text)


def first_lines(source: Source, what: str, ends: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Return the lines of a text up to the first with which `ends` is true; the rest of the file is not read."""
    size = 1 << 14
    while True:
        whole = size >= source.size or bytes(source.read_range(0, 3))[:2] in (b"\x1f\x8b", b"BZ")
        data = bytes(read_text(source, what) if whole else source.read_range(0, size))
        lines = data.split(b"\n")
        for number in range(1, len(lines) + whole):
            if ends(lines[:number]):
                return lines[:number]
        if whole:
            return lines
        size *= 8
