"""Image planes: from bytes to native arrays, whole or only the rows that a cutout needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, ParameterError
from .expanding import check_claim, check_member, largest
from .fits_binary import describe
from .fits_cards import BLOCK, Card, Cards, format_cards
from .fits_file import FitsFile, quiet

_TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}
# What deflate makes of a byte at most.
_MOST_EXPANSION = 1032
_ZEROS = {8: -128, 16: 1 << 15, 32: 1 << 31, 64: 1 << 63}


def shape_of(file: FitsFile, index: int) -> tuple[int, ...]:
    """Return the shape (ny, nx) of an image, compressed or not; ``()`` if there are no data."""
    hdu, cards = file.hdus[index], file.cards(index)
    prefix = "ZNAXIS" if hdu.kind == "tiles" else "NAXIS"
    axes = cards.integer(prefix, 0) or 0
    shape = tuple(cards.integer(f"{prefix}{i}", 0) or 0 for i in range(min(axes, 999), 0, -1))
    if any(length < 0 for length in shape):
        raise FormatError(f"{file.name}: HDU {index} has the impossible shape {shape}")
    return shape


def read_plane(file: FitsFile, index: int, bbox: Any = None, name: str = "image") -> npt.NDArray[Any]:
    """Read an image as a native, writable array.

    Parameters
    ----------
    file : FitsFile
        Where it is.
    index : int
        Of the HDU.
    bbox : (slice, slice) or None
        Only this rectangle (y, x).
    name : str
        For messages.

    Returns
    -------
    numpy.ndarray
        Scaled as astropy does: unsigned integers by ``BZERO``; other scalings and ``BLANK`` give floats.

    Raises
    ------
    FormatError
        If the HDU holds no image.
    ParameterError
        If `bbox` does not lie in it.
    """
    hdu = file.hdus[index]
    if hdu.kind not in ("image", "tiles"):
        raise FormatError(f"{name}: HDU {index} of {file.name} holds no image but is of kind {hdu.kind!r}")
    shape = shape_of(file, index)
    if not shape:
        raise FormatError(f"{name}: HDU {index} of {file.name} is a header without pixels")
    if bbox is not None:
        bbox = checked_bbox(bbox, shape, name)
    if hdu.kind == "tiles":
        return _read_tiles(file, index, shape, bbox, name)
    cards = file.cards(index)
    bitpix = cards.integer("BITPIX")
    raw = np.dtype(_TYPES[bitpix]) if bitpix in _TYPES else None
    if raw is None or raw.itemsize * math.prod(shape) > hdu.data_length:
        # A layout that was made for another file.
        raise FormatError(f"{name}: HDU {index} of {file.name} holds fewer bytes than its header says")
    data, rows = _rows(file, index, raw, shape, bbox)
    scale, zero, blank = cards.number("BSCALE", 1), cards.number("BZERO", 0), cards.get("BLANK")
    if raw.kind != "f" and scale == 1 and blank is None and zero == _ZEROS[raw.itemsize * 8]:
        array = _unshifted(data, raw)
    elif scale == 1 and zero == 0 and (blank is None or raw.kind == "f"):
        array = native(data, raw)
    else:
        array = _scaled(data, cards, rows)
    array = array.reshape(rows)
    return array if bbox is None else np.ascontiguousarray(array[:, bbox[1]])


def _rows(
    file: FitsFile, index: int, raw: np.dtype[Any], shape: tuple[int, ...], bbox: Any
) -> tuple[memoryview, tuple[int, ...]]:
    if bbox is None:
        return file.data(index)[: raw.itemsize * math.prod(shape)], shape
    y, width = bbox[0], shape[1] * raw.itemsize
    return file.data_range(index, y.start * width, (y.stop - y.start) * width), (y.stop - y.start, shape[1])


def native(data: memoryview, raw: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return big-endian bytes as a native array in the same memory."""
    if not len(data):
        return np.empty(0, raw.newbyteorder("="))
    array = np.frombuffer(data, dtype=raw.newbyteorder(">"))
    if raw.itemsize == 1 or array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(raw.newbyteorder("="))


def _unshifted(data: memoryview, raw: np.dtype[Any]) -> npt.NDArray[Any]:
    """Undo the offset by which FITS stores integers of the other signedness: it flips one bit."""
    bits = raw.itemsize * 8
    array = native(data, raw).view(f"u{raw.itemsize}")
    array ^= array.dtype.type(1 << (bits - 1))
    return array.view("i1") if bits == 8 else array


def _scaled(data: memoryview, cards: Cards, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Let astropy scale, so that types and rounding are its own."""
    from astropy.io import fits

    top = [Card("SIMPLE", True), Card("BITPIX", cards["BITPIX"]), Card("NAXIS", len(shape))]
    top += [Card(f"NAXIS{i}", length) for i, length in enumerate(reversed(shape), 1)]
    more = [Card(key, cards[key]) for key in ("BSCALE", "BZERO", "BLANK") if key in cards]
    header = format_cards([*top, *more])
    with quiet():
        made = fits.PrimaryHDU.fromstring(b"".join((header, data, bytes(-len(data) % BLOCK))))
        return _own(made.data)


def _own(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a native array of its own memory."""
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.owndata and array.flags.writeable else array.copy()


def _read_tiles(file: FitsFile, index: int, shape: tuple[int, ...], bbox: Any, name: str) -> npt.NDArray[Any]:
    cards = file.cards(index)
    tiles, bits, tile = 1, abs(cards.integer("ZBITPIX") or 8), []
    for axis, length in enumerate(reversed(shape), 1):
        tile.append(max(cards.integer(f"ZTILE{axis}", length if axis == 1 else 1) or 1, 1))
        tiles *= -(-length // tile[-1])
    if tiles != cards.integer("NAXIS2"):
        raise FormatError(
            f"{name}: HDU {index} of {file.name} says that it holds a compressed image of shape {shape} in {tiles} "
            f"tiles, but has {cards.get('NAXIS2')} rows: it is not decompressed"
        )
    what = f"{name}: the compressed image of shape {shape} in HDU {index} of {file.name}"
    stored = file.hdus[index].data_length
    # Floats are decompressed as integers first.
    check_claim(math.prod(tile) * 8 + (0 if bbox is not None else bits // 8 * math.prod(shape)), stored, what)
    _check_members(file, index, largest(stored), what)
    with file.astropy(index, lazily=bbox is not None) as hdu:
        return _own(np.asarray(hdu.data if bbox is None else hdu.section[bbox]))


def _check_members(file: FitsFile, index: int, most: int, what: str) -> None:
    """Refuse tiles whose gzip streams hold more than a tile can; cfitsio and astropy would expand all of it."""
    hdu = file.hdus[index]
    if hdu.data_length * _MOST_EXPANSION <= most:
        return
    table = describe(file.cards(index), what)
    heap = file.cards(index).integer("THEAP", table.rows * table.row_length) or 0
    descriptors = bytes(file.data_range(index, 0, table.rows * table.row_length))
    for column in table.columns:
        if column.code not in "PQ":
            continue
        width = 4 if column.code == "P" else 8
        for row in range(table.rows):
            at = row * table.row_length + column.offset
            pair = descriptors[at : at + 2 * width]
            length, offset = int.from_bytes(pair[:width], "big"), int.from_bytes(pair[width:], "big")
            if length * _MOST_EXPANSION <= most:
                continue
            if heap + offset + length > hdu.data_length:
                raise FormatError(f"{what} has a tile that lies outside of its data: it is not decompressed")
            data = file.data_range(index, heap + offset, length)
            if bytes(data[:2]) == b"\x1f\x8b":
                check_member(data, most, what)


def checked_bbox(bbox: Any, shape: tuple[int, ...], name: str) -> tuple[slice, slice]:
    """Return `bbox` as two slices of ints, or raise a `ParameterError`."""
    from ..exposure.geometry import check_bbox

    if len(shape) != 2:
        raise ParameterError(f"{name}: bbox cuts images of two dimensions; this array has the shape {shape}")
    return check_bbox(bbox, (shape[0], shape[1]), name)
