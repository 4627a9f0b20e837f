"""Writing FITS files HDU by HDU, hashed on the way; large arrays go out big-endian in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from ..errors import FormatError
from .fits_cards import BLOCK, Card, format_cards
from .fits_index import Hdu, to_layout
from .interface import Layout

_CHUNK = 1 << 22

STAMP, VERSION = "BUNTFMT", "BUNTVER"
PART, KIND, TYPE, JSON, PIXELS, ORIGIN = "BUNTPART", "BUNTKIND", "BUNTTYPE", "BUNTJSON", "BUNTPIX", "BUNTORIG"
OWN_CARDS = (STAMP, VERSION, PART, KIND, TYPE, JSON, PIXELS, ORIGIN)
"""Keywords of Bunter's own; none of them is ever part of somebody's metadata."""

THIS_VERSION = 1

Data = Callable[[], Iterator[Any]]
"""Gives the data of an HDU in pieces that have the buffer interface."""


@dataclass(frozen=True)
class NewHdu:
    """An HDU that is to be written.

    Attributes
    ----------
    cards : tuple of Card
        All cards but END.
    data : callable or None
        Gives the data in pieces, each time it is called.
    kind, name : str
        As in `Hdu`.
    part : str
        The component that it belongs to.
    """

    cards: tuple[Card, ...]
    data: Data | None = None
    kind: str = "image"
    name: str = ""
    part: str = ""
    version: int = 1

    def checksums(self) -> tuple[str, str]:
        """Return the checksums of header and data as they would be written."""
        digest = xxhash.xxh3_128()
        for piece in self.data() if self.data is not None else ():
            digest.update(piece)
        return xxhash.xxh3_128_hexdigest(format_cards(self.cards)), digest.hexdigest()


def same_as_stored(make: Callable[[], Sequence[NewHdu]], stored: Sequence[Hdu]) -> bool | None:
    """Tell from checksums whether what would be written is what is stored: True, or None if they prove nothing."""
    try:
        made = [hdu.checksums() for hdu in make()]
    except (FormatError, ValueError):
        # What cannot be written can still be compared by value.
        return None
    return True if made == [(hdu.header_checksum, hdu.data_checksum) for hdu in stored] else None


def write(hdus: Iterable[NewHdu], out: BinaryIO, name: str) -> Layout:
    """Write HDUs and return the layout of the file.

    Raises
    ------
    FormatError
        If a header cannot hold what it should.
    """
    written: list[Hdu] = []
    offset = 0
    for hdu in hdus:
        try:
            header = format_cards(hdu.cards)
        except ValueError as error:
            raise FormatError(f"{name}: the FITS header of {hdu.name or 'the primary HDU'}: {error}") from error
        out.write(header)
        digest, length = xxhash.xxh3_128(), 0
        for piece in hdu.data() if hdu.data is not None else ():
            out.write(piece)
            digest.update(piece)
            length += len(piece)
        out.write(bytes(-length % BLOCK))
        written.append(
            Hdu(
                offset,
                len(header),
                length,
                xxhash.xxh3_128_hexdigest(header),
                digest.hexdigest(),
                hdu.kind,
                hdu.name,
                hdu.version,
            )
        )
        offset = written[-1].end
    return {"hdus": to_layout(written)}


def big_endian(array: npt.NDArray[Any], raw: np.dtype[Any], offset: int = 0) -> Data:
    """Return the pieces of an array's bytes as FITS has them.

    Parameters
    ----------
    array : numpy.ndarray
        Of any byte order and memory layout.
    raw : numpy.dtype
        What is in the file, of the same size.
    offset : int
        Subtracted from integers on the way (the ``BZERO`` of unsigned ones).
    """
    step = max(1, _CHUNK // max(1, array[:1].nbytes))
    big = raw.newbyteorder(">")

    def pieces() -> Iterator[Any]:
        for start in range(0, len(array), step):
            chunk = array[start : start + step]
            if offset:
                # Both conventions flip the sign bit; in unsigned arithmetic nothing overflows.
                flipped = chunk.astype(f"=u{raw.itemsize}") ^ np.array(1 << (raw.itemsize * 8 - 1), f"=u{raw.itemsize}")
                chunk = flipped.view(raw.newbyteorder("="))
            ready = np.ascontiguousarray(chunk, dtype=big)
            if ready.nbytes:
                yield ready.reshape(-1).view(np.uint8).data

    return pieces


_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}
_SHIFTED = {"i1": ("u1", -128), "u2": ("i2", 32768), "u4": ("i4", 2147483648), "u8": ("i8", 9223372036854775808)}


def storable(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return an array of a type that FITS images have: bool as uint8, float16 as float32, all else as it is.

    Raises
    ------
    FormatError
        If FITS images cannot hold it.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise FormatError(f"{name}: a FITS image has no place for a mask; store array.filled(...), or an Exposure")
    if array.dtype.names is not None:
        raise FormatError(f"{name}: a structured array is a table: use the storage FitsTable")
    if array.ndim == 0:
        raise FormatError(f"{name}: an array without axes is no FITS image; store array.reshape(1), or use Npy")
    kind = array.dtype.str[1:]
    if kind in _BITPIX or kind in _SHIFTED:
        return array
    if kind == "b1":
        return array.astype(np.uint8)
    if kind == "f2":
        return array.astype(np.float32)
    raise FormatError(
        f"{name}: a FITS image cannot hold {array.dtype}; it holds bool, integers of 8 to 64 bits, float32 and "
        "float64; the storage Npy holds the others"
    )


def image_hdu(
    array: npt.NDArray[Any], cards: Sequence[Card] = (), *, name: str = "", part: str = "", primary: bool = False
) -> NewHdu:
    """Return an image as an HDU.

    Parameters
    ----------
    array : numpy.ndarray
        Of a type that `storable` returns.
    cards : sequence of Card
        What comes after the structural cards.
    """
    kind = array.dtype.str[1:]
    raw, zero = _SHIFTED.get(kind, (kind, 0))
    top = structure(_BITPIX[raw], array.shape, primary)
    if zero:
        top += [Card("BSCALE", 1), Card("BZERO", zero)]
    if name:
        top.append(Card("EXTNAME", name))
    return NewHdu((*top, *cards), big_endian(array, np.dtype(raw), zero), "image", name, part)


def header_hdu(cards: Sequence[Card], *, name: str = "", part: str = "", primary: bool = False) -> NewHdu:
    """Return an HDU that has no data."""
    top = structure(8, (), primary)
    if name:
        top.append(Card("EXTNAME", name))
    return NewHdu((*top, *cards), None, "image", name, part)


def structure(bitpix: int, shape: Sequence[int], primary: bool) -> list[Card]:
    """Return the cards that every image begins with."""
    first = Card("SIMPLE", True) if primary else Card("XTENSION", "IMAGE")
    axes = [Card(f"NAXIS{i}", length) for i, length in enumerate(reversed(shape), 1)]
    last = [Card("EXTEND", True)] if primary else [Card("PCOUNT", 0), Card("GCOUNT", 1)]
    return [first, Card("BITPIX", bitpix), Card("NAXIS", len(shape)), *axes, *last]


def stamp(format_name: str, *cards: Card) -> NewHdu:
    """Return a primary HDU that says which format wrote the file."""
    own = [Card(STAMP, format_name, "written by Bunter"), Card(VERSION, THIS_VERSION)]
    return header_hdu([*own, *cards], primary=True)
