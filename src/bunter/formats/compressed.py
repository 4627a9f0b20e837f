"""Files of text that may be compressed with gzip or bzip2: read whole, recognised by their first bytes."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import IntegrityError
from .expanding import expanded
from .interface import Source


def read_text(source: Source, expected: str) -> memoryview:
    """Return the bytes of a file, decompressed if need be.

    Raises
    ------
    IntegrityError
        If a compressed file is cut short or damaged.
    FormatError
        If it holds more than `bunter.formats.expanding.largest` allows.
    """
    data = source.read_all()
    try:
        text = expanded(data, source.name)
    except IntegrityError as error:
        raise IntegrityError(
            f"{source.name}: this compressed file ({expected}) is cut short or damaged: {error}"
        ) from error
    return data if text is None else text


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
