"""How much memory a file may ask for, and compressed files: expanded in steps, and no further than that."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from typing import Any

from ..errors import FormatError, FormatMemoryError, IntegrityError, ParameterError

VARIABLE = "BUNTER_LARGEST"
"""The variable of the environment that says how many bytes a compressed file may hold."""

_USUAL = 1 << 30
_RATIO = 100
_CAP = 8 << 30
_STEP = 1 << 22
_CHUNK = 1 << 16
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NUMBER = re.compile(r"\s*([0-9]{1,15})\s*([KMGT]?)i?B?\s*\Z", re.IGNORECASE)


def largest(stored: int) -> int:
    """Return the bytes that a file of `stored` bytes may hold once it is expanded.

    A hundred times what is stored, but at least 1 GiB and at most 8 GiB; or what ``BUNTER_LARGEST`` says, as in
    ``BUNTER_LARGEST=64G``.

    Raises
    ------
    ParameterError
        If the variable is no number of bytes.

    Examples
    --------
    >>> largest(20_000_000)
    2000000000
    """
    said = os.environ.get(VARIABLE)
    if not said:
        return min(_CAP, max(_USUAL, _RATIO * stored))
    found = _NUMBER.match(said)
    if found is None:
        raise ParameterError(f"the variable {VARIABLE} is {said!r}: it is a number of bytes, such as 64G")
    return int(found[1]) * _UNITS[found[2].upper()]


def check_claim(claimed: int, stored: int, what: str) -> None:
    """Refuse what would take more memory than `largest` allows.

    Raises
    ------
    FormatMemoryError
        Saying how to read it all the same.
    """
    most = largest(stored)
    if claimed > most:
        raise FormatMemoryError(
            f"{what} would take {claimed:,} bytes of memory, and {stored:,} bytes are stored: it is taken for a bomb "
            f"and not read. If it is right, set the variable {VARIABLE} (now {most:,}) to the bytes that it may take"
        )


def expanded(data: memoryview, name: str) -> memoryview | None:
    """Return the content of a gzip or bzip2 file, or None if it is neither.

    Raises
    ------
    IntegrityError
        If it is cut short or damaged.
    FormatMemoryError
        If it would grow beyond `largest`.
    """
    engine = _engine_for(bytes(data[:3]))
    if engine is None:
        return None
    most = largest(len(data))
    content = bytearray()
    at = 0
    while engine is not None:
        at = _stream(engine(), data, at, content, most, name)
        engine = _engine_for(bytes(data[at : at + 3]))
    return memoryview(content)


def _engine_for(start: bytes) -> Callable[[], Any] | None:
    if start[:2] == b"\x1f\x8b":
        return lambda: zlib.decompressobj(31)
    if start == b"BZh":
        import bz2

        return bz2.BZ2Decompressor
    return None


def _stream(engine: Any, data: memoryview, at: int, content: bytearray, most: int, name: str) -> int:
    """Expand one member of a file into `content`; return where the next may begin."""
    waiting: Any = b""
    try:
        while not engine.eof:
            if not waiting and getattr(engine, "needs_input", True):
                # In small pieces: what is left over at the end of a member is copied.
                waiting = data[at : at + _CHUNK]
                at += len(waiting)
            piece = engine.decompress(waiting, _STEP)
            if not piece and not engine.eof and at >= len(data) and not len(waiting):
                raise IntegrityError(f"{name} is truncated: its compressed data end too early")
            waiting = getattr(engine, "unconsumed_tail", b"")
            content += piece
            if len(content) > most:
                check_claim(len(content), len(data), f"{name}, decompressed,")
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{name}: its compressed data are damaged: {error}") from error
    return at - len(engine.unused_data)


def check_member(data: memoryview, most: int, name: str) -> None:
    """Refuse a gzip stream within a file that holds more than `most` bytes; one that is damaged is left to its reader.

    Raises
    ------
    FormatError
        If it does.
    """
    engine = zlib.decompressobj(31)
    held, at, waiting = 0, 0, memoryview(b"")
    try:
        while not engine.eof and (len(waiting) or at < len(data)):
            if not len(waiting):
                waiting = data[at : at + _CHUNK]
                at += len(waiting)
            held += len(engine.decompress(waiting, _STEP))
            waiting = memoryview(engine.unconsumed_tail)
            if held > most:
                raise FormatError(
                    f"{name}: a tile of {len(data)} compressed bytes holds more than the {most} that it may: it is "
                    "not decompressed"
                )
    except zlib.error:
        return
