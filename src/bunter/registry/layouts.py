"""Layouts of files as a registry keeps them: what many files share is one word, the rest is numbers and checksums.

The layout ``{"hdus": [[2880, 320, "99aa...", "image"]]}`` has the shape ``{"hdus":[["%","%","#","image"]]}``, which is
kept once for all files that are built alike, and beside it two numbers and a checksum in 24 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

import xxhash

_NUMBER, _CHECKSUM = "%", "#"
_MARKS = frozenset((_NUMBER, _CHECKSUM))
_FEW = 64
"""Natural numbers below this one say how files are built (axes, versions, places in lists): the shape has them."""
_EMPTY = xxhash.xxh3_128_hexdigest(b"")
_text = json.JSONEncoder(separators=(",", ":")).encode
_HEAD = struct.Struct("<I")

_Made: TypeAlias = Callable[[Sequence[Any]], Any]


def packed(layout: Mapping[str, Any], word: Callable[[str], int]) -> bytes | str | None:
    """Return a layout as it is kept.

    Parameters
    ----------
    word : callable
        Gives the number of a word.

    Returns
    -------
    bytes, str or None
        The number of the shape in four bytes, the checksums, the numbers. JSON, if it could not be told from a shape;
        None for no layout.
    """
    if not layout:
        return None
    numbers: list[int] = []
    checksums: list[bytes] = []
    try:
        shape = dict(zip(layout, _shape(layout.values(), numbers, checksums), strict=True))
    except ValueError:
        return _text(layout)
    most = max(numbers, default=0)
    code = "H" if most < 1 << 16 else "I" if most < 1 << 32 else "Q"
    return b"".join((_HEAD.pack(word(_text(shape))), *checksums, struct.pack(f"<{len(numbers)}{code}", *numbers)))


def _shape(values: Iterable[Any], numbers: list[int], checksums: list[bytes]) -> list[Any]:
    """Take the numbers and checksums out of values, into the lists; return what is left of each."""
    left = []
    for value in values:
        kind = type(value)
        if kind is int:
            if _FEW <= value < 1 << 63:
                numbers.append(value)
                value = _NUMBER
        elif kind is str:
            if len(value) == 32:
                checksum = _checksum(value)
                if checksum is not None:
                    checksums.append(checksum)
                    value = _CHECKSUM
            elif value in _MARKS:
                raise ValueError(f"{value!r} stands for something else")
        elif kind is list or kind is tuple:
            value = _shape(value, numbers, checksums)
        elif isinstance(value, dict):
            value = dict(zip(value, _shape(value.values(), numbers, checksums), strict=True))
        left.append(value)
    return left


def _checksum(text: str) -> bytes | None:
    """Return the bytes of a checksum, None if it is none, or that of no bytes, which the shape has."""
    if text == _EMPTY:
        return None
    try:
        checksum = bytes.fromhex(text)
    except ValueError:
        return None
    return checksum if checksum.hex() == text else None


def unpacked(kept: bytes | str | None, word: Callable[[int], str]) -> dict[str, Any]:
    """Return a layout that was kept; nobody may change it, since what files share is in many layouts.

    Parameters
    ----------
    word : callable
        Gives the word of a number.

    Raises
    ------
    ValueError, TypeError, struct.error
        If it makes no sense.

    Examples
    --------
    >>> words = [""]
    >>> layout = {"hdus": [[2880, 320, "5b" * 16, "image"]]}
    >>> kept = packed(layout, lambda text: words.append(text) or len(words) - 1)
    >>> words[1], len(kept)
    ('{"hdus":[["%","%","#","image"]]}', 24)
    >>> unpacked(kept, words.__getitem__) == layout
    True
    """
    if kept is None or kept == "":
        return {}
    if isinstance(kept, str):
        return dict(json.loads(kept))
    (number,) = _HEAD.unpack_from(kept)
    return _shape_of(word(number)).layout(kept)


class _Shape:
    """What files that are built alike have in common: it makes their layouts of their checksums and numbers."""

    def __init__(self, text: str) -> None:
        shape = json.loads(text)
        if type(shape) is not dict:
            raise ValueError(f"{text!r:.100} is no shape of a layout")
        marks = list(_marks(shape))
        checksums = marks.count(_CHECKSUM)
        count = len(marks) - checksums
        self._end = _HEAD.size + 16 * checksums
        codes = [struct.Struct(f"<{count}{code}") for code in "HIQ"]
        self._numbers = {self._end + code.size: code.unpack_from for code in codes}
        self._checksums = [slice(start, start + 32) for start in range(0, 32 * checksums, 32)]
        # A layout is picked from one sequence: its checksums, its numbers, then what all have in common.
        self._next = {_CHECKSUM: 0, _NUMBER: checksums}
        self._first, self._common = len(marks), list[Any]()
        self._make = _maker([self._place(value) for value in shape.values()], tuple(shape))

    def layout(self, kept: bytes) -> dict[str, Any]:
        """Return the layout of this shape that was kept."""
        unpack = self._numbers.get(len(kept))
        if unpack is None:
            raise ValueError(f"{len(kept)} bytes are none of its shape")
        text = kept[_HEAD.size : self._end].hex()
        made: dict[str, Any] = self._make(
            [*[text[at] for at in self._checksums], *unpack(kept, self._end), *self._common]
        )
        return made

    def _place(self, value: Any) -> int | _Made:
        """Return where a value stands in that sequence, or what makes it of that."""
        if value in (_NUMBER, _CHECKSUM):
            place = self._next[value]
            self._next[value] += 1
            return place
        if isinstance(value, list | dict) and next(_marks(value), None) is not None:
            if isinstance(value, list):
                return _maker([self._place(inner) for inner in value], None)
            return _maker([self._place(inner) for inner in value.values()], tuple(value))
        self._common.append(value)
        return self._first + len(self._common) - 1


def _marks(value: Any) -> Iterator[str]:
    """Walk over the marks in a shape, in order."""
    if isinstance(value, list | dict):
        for inner in value if isinstance(value, list) else value.values():
            yield from _marks(inner)
    elif value in (_NUMBER, _CHECKSUM):
        yield value


def _maker(places: list[int | _Made], names: tuple[str, ...] | None) -> _Made:
    """Return what makes a list, or with names a dict, of the values at some places."""
    if len(places) > 1 and all(isinstance(place, int) for place in places):
        pick = itemgetter(*places)
        if names is None:
            return lambda values: list(pick(values))
        return lambda values: dict(zip(names, pick(values), strict=True))
    makers = [itemgetter(place) if isinstance(place, int) else place for place in places]
    if names is None:
        return lambda values: [make(values) for make in makers]
    pairs = list(zip(names, makers, strict=True))
    return lambda values: {name: make(values) for name, make in pairs}


_shape_of = lru_cache(maxsize=1000)(_Shape)
