"""Npy: numpy arrays, structured ones too, never pickled ones; cutouts without reading the rest."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from ..errors import FormatError, IntegrityError, ParameterError
from ..values import dataclass
from .convert import convert
from .interface import About, Format, Layout, Source

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 20
# No array has a header like that, and Python's parser is only so deep.
_NESTED = re.compile(r"[(\[{]{200}|[-+~]{50}")


@dataclass(frozen=True, slots=True)
class _Array:
    """What the header of a file says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        count = self.dtype.itemsize
        for length in self.shape:
            count *= length
        return count

    @property
    def order(self) -> Any:
        return "F" if self.fortran else "C"


class Npy(Format):
    """One numpy array a file, in numpy's own format (versions 1 to 3 of it).

    Arrays of Python objects, masked arrays (their mask would be lost) and quantities (their unit) are refused.
    Of a two-dimensional array ``bbox`` reads a cutout: by a memory map where the file is local, else the rows (or,
    in Fortran order, columns) that it touches.
    """

    name = "Npy"
    suffix = ".npy"
    parameters = ("bbox",)

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write the array; see `Format.write`."""
        if isinstance(obj, np.ma.MaskedArray):
            raise FormatError(f"{about.name}: Npy cannot hold the mask of a masked array; store data and mask apart")
        if not isinstance(obj, np.ndarray) or hasattr(obj, "unit"):
            raise FormatError(f"{about.name}: Npy holds numpy arrays, not a {type(obj).__qualname__}")
        if obj.dtype.hasobject:
            raise FormatError(f"{about.name}: Npy does not hold arrays of Python objects (dtype {obj.dtype})")
        array = np.asarray(obj)
        plain = np.lib.format.drop_metadata(array.dtype)
        if plain is not array.dtype:
            array = array.view(plain)
        # Not numpy's write_array: it copies unless it is given a file of the operating system.
        fortran = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
        out.write(_made_header(array, fortran))
        ordered = array.T if fortran else array
        if array.nbytes:
            out.write(np.ascontiguousarray(ordered).reshape(-1).view(np.uint8).data)
        return {}

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the array or a cutout of it; see `Format.read`."""
        bbox = parameters.get("bbox")
        if bbox is not None:
            return self._hand_out(self._cutout(source, about, bbox), about)
        data = source.read_all()
        told = _parse(data, source, about)
        if len(data) != told.offset + told.nbytes:
            raise _short(source, told)
        flat = np.frombuffer(data, told.dtype, offset=told.offset, count=-1) if told.nbytes else np.empty(0, told.dtype)
        array = flat.reshape(told.shape, order=told.order) if told.nbytes else np.empty(told.shape, told.dtype)
        return self._hand_out(array, about)

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Check that the file is what its header says; nothing has to be remembered."""
        told = _header(source, about)
        if source.size != told.offset + told.nbytes:
            raise _short(source, told)
        return {}

    @staticmethod
    def _hand_out(array: np.ndarray[Any, Any], about: About) -> Any:
        return array if about.python is None or isinstance(array, about.python) else convert(array, about.python)

    @staticmethod
    def _cutout(source: Source, about: About, bbox: Any) -> np.ndarray[Any, Any]:
        told = _header(source, about)
        if source.size != told.offset + told.nbytes:
            raise _short(source, told)
        y, x = check_bbox(bbox, told.shape, about.name)
        if source.local_path is not None:
            mapped = np.memmap(source.local_path, told.dtype, "r", told.offset, told.shape, told.order)
            return np.array(mapped[y, x], order="C", subok=False)
        size = told.dtype.itemsize
        slow, fast, run = (x, y, told.shape[0]) if told.fortran else (y, x, told.shape[1])
        count = slow.stop - slow.start
        data = source.read_range(told.offset + slow.start * run * size, count * run * size)
        block = np.frombuffer(data, told.dtype).reshape(count, run)[:, fast]
        return np.array(block.T if told.fortran else block, order="C")


def _made_header(array: np.ndarray[Any, Any], fortran: bool) -> bytes:
    """Return the header of a file, padded so that the data are aligned to 64 bytes."""
    descr = np.lib.format.dtype_to_descr(array.dtype)
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {array.shape!r}, }}"
    latin = all(ord(character) < 256 for character in text)
    data = text.encode("latin-1" if latin else "utf-8")
    short = latin and len(data) < 0xFF80
    start = _MAGIC + bytes((1 if short else 2 if latin else 3, 0))
    width = 2 if short else 4
    data = data.ljust(-(-(len(start) + width + len(data) + 1) // 64) * 64 - len(start) - width - 1) + b"\n"
    return start + len(data).to_bytes(width, "little") + data


def _header(source: Source, about: About) -> _Array:
    start = source.read_range(0, min(source.size, 4096))
    if len(start) >= 12 and bytes(start[:6]) == _MAGIC:
        length = _start_of_data(start)
        if len(start) < length <= min(source.size, _LONGEST_HEADER):
            start = source.read_range(0, length)
    return _parse(start, source, about)


def _start_of_data(start: memoryview) -> int:
    if start[6] == 1:
        return 10 + int.from_bytes(start[8:10], "little")
    return 12 + int.from_bytes(start[8:12], "little")


def _parse(data: memoryview, source: Source, about: About) -> _Array:
    if len(data) < 12 or bytes(data[:6]) != _MAGIC:
        raise FormatError(
            f"{source.name}: expected a numpy .npy file for {about.name}; it begins with {bytes(data[:8])!r}"
        )
    offset = _start_of_data(data)
    if data[6] not in (1, 2, 3) or offset > _LONGEST_HEADER:
        raise FormatError(f"{source.name}: a .npy file of version {data[6]}.{data[7]}; 1 to 3 are read")
    if offset > len(data):
        raise IntegrityError(f"{source.name} was cut short within its header ({source.size} bytes)")
    try:
        text = bytes(data[12 if data[6] > 1 else 10 : offset]).decode("utf-8" if data[6] == 3 else "latin-1")
        if _NESTED.search(text):
            raise ValueError("brackets or signs upon signs")
        header = ast.literal_eval(text.strip())
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape = tuple(operator.index(n) for n in header["shape"])
        fortran = header["fortran_order"]
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError) as error:
        raise FormatError(f"{source.name}: the header of this .npy file cannot be read: {error}") from error
    if dtype.hasobject:
        raise FormatError(f"{source.name}: this .npy file holds pickled Python objects; Npy never reads those")
    if any(n < 0 for n in shape) or not isinstance(fortran, bool):
        raise FormatError(f"{source.name}: the header of this .npy file makes no sense: {text.strip():.200}")
    return _Array(dtype, shape, fortran, offset)


def _short(source: Source, told: _Array) -> IntegrityError:
    return IntegrityError(
        f"{source.name} has {source.size} bytes; its header (dtype {told.dtype}, shape {told.shape}) "
        f"asks for {told.offset + told.nbytes}: it was cut short or changed"
    )


def check_bbox(bbox: Any, shape: tuple[int, ...], name: str) -> tuple[slice, slice]:
    """Return ``bbox`` as a pair of slices with plain ints for bounds.

    Parameters
    ----------
    bbox : pair of slice
        (y, x), half-open, zero-based; an omitted bound is that of the array.
    shape : tuple of int
        Of the array.
    name : str
        The dataset, for messages.

    Raises
    ------
    ParameterError
        If it is no such pair, or reaches outside the array, or is empty.
    """
    if len(shape) != 2:
        raise ParameterError(f"{name}: bbox reads from two-dimensional arrays; this one has the shape {shape}")
    if not isinstance(bbox, tuple | list) or len(bbox) != 2 or not all(isinstance(s, slice) for s in bbox):
        raise ParameterError(
            f"{name}: bbox is a pair of slices (y, x), for example (slice(0, 10), slice(0, 20)), not {bbox!r:.100}"
        )
    made = []
    for cut, length, axis in zip(bbox, shape, "yx", strict=True):
        try:
            start = 0 if cut.start is None else operator.index(cut.start)
            stop = length if cut.stop is None else operator.index(cut.stop)
            step = 1 if cut.step is None else operator.index(cut.step)
        except TypeError:
            raise ParameterError(f"{name}: the bounds of bbox are integers, not {cut}") from None
        if step != 1 or not 0 <= start < stop <= length:
            raise ParameterError(
                f"{name}: bbox asks for {axis} {start}:{stop}{f':{step}' if step != 1 else ''}; it has to lie within "
                f"0:{length}, hold something, and have no step"
            )
        made.append(slice(start, stop))
    return made[0], made[1]
