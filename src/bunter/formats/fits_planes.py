"""Image planes: from bytes to native arrays, whole or only the rows that a cutout needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, ParameterError
from .fits_cards import BLOCK, Card, Cards, format_cards
from .fits_file import FitsFile, quiet
from .fits_tiles import own, read_tiles
from .interface import make_native

_TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}
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
        return read_tiles(file, index, shape, bbox, name)
    cards = file.cards(index)
    bitpix = cards.integer("BITPIX")
    raw = np.dtype(_TYPES[bitpix]) if bitpix in _TYPES else None
    if raw is None or raw.itemsize * math.prod(shape) > hdu.data_length:
        # A layout that was made for another file.
        raise FormatError(f"{name}: HDU {index} of {file.name} holds fewer bytes than its header says")
    scale, zero, blank = cards.number("BSCALE", 1), cards.number("BZERO", 0), cards.get("BLANK")
    shifted = raw.kind != "f" and scale == 1 and blank is None and zero == _ZEROS[raw.itemsize * 8]
    plain = scale == 1 and zero == 0 and (blank is None or raw.kind == "f")
    data, rows = _rows(file, index, raw, shape, bbox, shifted or plain)
    if shifted:
        array = _unshifted(data, raw)
    elif plain:
        array = native(data, raw)
    else:
        array = _scaled(data, cards, rows)
    return array.reshape(rows)


def read_floats(
    file: FitsFile, index: int, raw: np.dtype[Any], shape: tuple[int, ...], bbox: Any, name: str
) -> npt.NDArray[Any]:
    """Read an image of plain floats, whose type and shape are known without its header; see `read_plane`."""
    if raw.itemsize * math.prod(shape) != file.hdus[index].data_length:
        raise FormatError(f"{name}: HDU {index} of {file.name} holds other pixels than were recorded of it")
    data, cut = _rows(file, index, raw, shape, None if bbox is None else checked_bbox(bbox, shape, name), True)
    return native(data, raw).reshape(cut)


def _rows(
    file: FitsFile, index: int, raw: np.dtype[Any], shape: tuple[int, ...], bbox: Any, turned: bool
) -> tuple[memoryview, tuple[int, ...]]:
    """Return the bytes of the rectangle, their numbers native if they are to be turned, and its shape."""
    if bbox is None:
        data = file.numbers(index, raw.itemsize) if turned else file.data(index)
        return data[: raw.itemsize * math.prod(shape)], shape
    y, x = bbox
    cut = y.stop - y.start, x.stop - x.start
    step, width = shape[1] * raw.itemsize, cut[1] * raw.itemsize
    data = file.data_rows(index, y.start * step + x.start * raw.itemsize, step, width, cut[0])
    if turned:
        make_native(data, raw.itemsize)
    return data, cut


def native(data: memoryview, raw: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return bytes, whose numbers are native already, as an array in the same memory."""
    dtype = raw.newbyteorder("=")
    return np.frombuffer(data, dtype) if len(data) else np.empty(0, dtype)


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
        return own(made.data)


def checked_bbox(bbox: Any, shape: tuple[int, ...], name: str) -> tuple[slice, slice]:
    """Return `bbox` as two slices of ints, or raise a `ParameterError`."""
    from ..exposure.geometry import check_bbox

    if len(shape) != 2:
        raise ParameterError(f"{name}: bbox cuts images of two dimensions; this array has the shape {shape}")
    return check_bbox(bbox, (shape[0], shape[1]), name)
