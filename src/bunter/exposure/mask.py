"""Masks: integer pixels whose bits have names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..words import did_you_mean, listing
from .values import whole

_KEPT = ("uint8", "int16", "uint16", "int32", "uint32", "int64")
_WIDER = {"uint8": "int16", "int16": "uint16", "uint16": "int32", "int32": "uint32", "uint32": "int64"}


class Mask:
    """Integer pixels, each bit of which is a plane that may have a name.

    Parameters
    ----------
    array : integer numpy.ndarray
        Shape (ny, nx), of type uint8, int16, uint16, int32, uint32 or int64 (others are converted). Not copied if it is
        native already.
    bits : mapping of str to int, optional
        Name of each plane -> number of its bit, counted from 0.

    Raises
    ------
    TypeError
        If `array` does not hold integers.
    ValueError
        If a bit does not exist in the array's type, or has two names.

    Examples
    --------
    >>> mask = Mask(np.array([[0, 3], [2, 0]], dtype="uint8"), {"BAD": 0, "SAT": 1})
    >>> mask.plane("SAT").tolist()
    [[False, True], [True, False]]
    >>> mask.set_plane("CR", np.array([[True, False], [False, False]]))
    >>> dict(mask.bits), int(mask.array[0, 0])
    ({'BAD': 0, 'SAT': 1, 'CR': 2}, 4)
    """

    __slots__ = ("_array", "_bits")

    _array: npt.NDArray[Any]
    _bits: Mapping[str, int]

    __hash__ = None  # type: ignore[assignment]  # mutable, equal by value

    def __init__(self, array: npt.NDArray[Any], bits: Mapping[str, int] | None = None) -> None:
        if isinstance(array, np.ma.MaskedArray) or not isinstance(array, np.ndarray):
            raise TypeError(f"mask: a numpy array of integers is needed, not {type(array).__name__}")
        if array.dtype.kind == "b":
            raise TypeError("mask: a boolean array is one plane; use Mask.from_planes({'BAD': array})")
        if array.dtype.kind not in "iu":
            raise TypeError(f"mask: an array of integers is needed, not of {array.dtype}")
        if array.ndim != 2:
            raise ValueError(f"mask: an array of shape (ny, nx) is needed, not of shape {array.shape}")
        self._array = _native(array)
        names: dict[str, int] = {}
        owners: dict[int, str] = {}
        for name, number in (bits or {}).items():
            if not isinstance(name, str) or not name:
                raise TypeError(f"mask: the name of a plane is a string, not {name!r:.60}")
            bit = whole(number, f"bit of {name}")
            if not 0 <= bit < _planes(self._array.dtype):
                raise ValueError(
                    f"mask: {name!r} cannot be bit {bit}; "
                    f"{self._array.dtype} has bits 0 to {_planes(self._array.dtype) - 1}"
                )
            if bit in owners:
                raise ValueError(f"mask: bit {bit} has two names, {owners[bit]!r} and {name!r}")
            names[name] = bit
            owners[bit] = name
        self._bits = MappingProxyType(names)

    @classmethod
    def from_planes(cls, planes: Mapping[str, npt.ArrayLike], shape: tuple[int, int] | None = None) -> Mask:
        """Make a mask of boolean planes, numbered in the order given.

        Parameters
        ----------
        planes : mapping of str to boolean array
            All of one shape.
        shape : (int, int), optional
            ``(ny, nx)``; needed if there are no planes.
        """
        arrays = {name: np.asarray(plane) for name, plane in planes.items()}
        if shape is None:
            if not arrays:
                raise ValueError("mask: a mask without planes needs a shape")
            shape = next(iter(arrays.values())).shape
        mask = cls(np.zeros(shape, dtype=np.uint8))
        for name, plane in arrays.items():
            mask.set_plane(name, plane)
        return mask

    @property
    def array(self) -> npt.NDArray[Any]:
        """The integer pixels, shape (ny, nx)."""
        return self._array

    @property
    def bits(self) -> Mapping[str, int]:
        """Name of each plane -> number of its bit (read-only; `set_plane` adds to it)."""
        return self._bits

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        ny, nx = self._array.shape
        return ny, nx

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of `array`."""
        return self._array.dtype

    @property
    def frozen(self) -> bool:
        """Whether the mask is shared and cannot be changed; `copy` thaws."""
        return not self._array.flags.writeable

    def plane(self, name: str) -> npt.NDArray[np.bool_]:
        """Return where a plane is set, as booleans.

        Raises
        ------
        ValueError
            If there is no plane of that name.
        """
        return self.any_of([name])

    def any_of(self, names: str | Iterable[str] | None = None) -> npt.NDArray[np.bool_]:
        """Return where any of the named planes is set; without names, where any bit is."""
        if names is None:
            return np.asarray(self._array != 0)
        wanted = [names] if isinstance(names, str) else list(names)
        value = 0
        for name in wanted:
            value |= 1 << self._bit(name)
        return np.asarray((self._array & self._array.dtype.type(value)) != 0)

    def set_plane(self, name: str, plane: npt.ArrayLike) -> None:
        """Set a plane where `plane` is true and clear it elsewhere; a new name gets the lowest bit that is free.

        If the type of `array` has no bit left, `array` becomes a wider one.

        Raises
        ------
        ValueError
            If `plane` is not boolean of the mask's shape, all 63 bits are taken, or the mask is frozen.
        """
        values = np.asarray(plane)
        if values.dtype.kind != "b" or values.shape != self.shape:
            raise ValueError(
                f"mask: plane {name!r} must be booleans of shape {self.shape}, "
                f"not {values.dtype} of shape {values.shape}"
            )
        if self.frozen:
            raise ValueError("mask: this mask is shared and frozen; change mask.copy() or use with_plane")
        if name not in self._bits:
            self._add(name)
        bit = self._array.dtype.type(1 << self._bits[name])
        self._array &= ~bit
        self._array[values] |= bit

    def with_plane(self, name: str, plane: npt.ArrayLike) -> Mask:
        """Return a copy with one plane set, as `set_plane` does."""
        changed = self.copy()
        changed.set_plane(name, plane)
        return changed

    def copy(self) -> Mask:
        """Return a copy that can be changed."""
        return Mask(self._array.copy(), self._bits)

    def _bit(self, name: str) -> int:
        if name not in self._bits:
            raise ValueError(
                f"mask: no plane {name!r}{did_you_mean(name, self._bits)}; there is: {listing(self._bits, 64)}"
            )
        return self._bits[name]

    def _add(self, name: str, at: int | None = None) -> int:
        """Name a bit that is free, `at` if that is, else the lowest; return its number."""
        if not isinstance(name, str) or not name:
            raise TypeError(f"mask: the name of a plane is a string, not {name!r:.60}")
        # A bit without a name that some pixel has is not free either.
        taken = _used(self._array) | sum(1 << bit for bit in self._bits.values())
        bit = at if at is not None and not taken >> at & 1 else next((b for b in range(63) if not taken >> b & 1), 63)
        if bit > 62:
            raise ValueError(f"mask: no bit is left for {name!r}; a mask has at most 63 planes")
        self._array = _widened(self._array, bit)
        self._bits = MappingProxyType({**self._bits, name: bit})
        return bit

    def __or__(self, other: object) -> Mask:
        """Return the union of two masks, their planes matched by name.

        Bits without a name keep their number; it is a `ValueError` if that has a name in the left mask.
        """
        if not isinstance(other, Mask):
            return NotImplemented
        if other.shape != self.shape:
            raise ValueError(f"mask: masks of shapes {self.shape} and {other.shape} cannot be merged")
        merged = self.copy()
        named = sum(1 << bit for bit in other._bits.values())
        nameless = _used(other._array) & ~named
        clash = nameless & sum(1 << bit for bit in self._bits.values())
        if clash:
            bit = clash.bit_length() - 1
            mine = next(name for name, number in self._bits.items() if number == bit)
            raise ValueError(f"mask: bit {bit} of the right mask has no name, but is {mine!r} in the left one")
        if nameless:
            merged._array = _widened(merged._array, nameless.bit_length() - 1)
            pattern = _unsigned(other._array)
            merged._array |= (pattern & pattern.dtype.type(nameless)).astype(merged._array.dtype)
        for name, bit in other._bits.items():
            target = merged._bits[name] if name in merged._bits else merged._add(name, bit)
            merged._array[other.plane(name)] |= merged._array.dtype.type(1 << target)
        return merged

    def __getitem__(self, key: Any) -> Mask:
        """Return a rectangle of the mask; it shares its pixels with this one."""
        part = self._array[key]
        if not isinstance(part, np.ndarray) or part.ndim != 2:
            raise TypeError("mask: a mask is cut by a pair of slices (y, x); for single pixels use mask.array[y, x]")
        return Mask(part, self._bits)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self._array if dtype is None else self._array.astype(dtype, copy=False)
        return array.copy() if copy else array

    def __eq__(self, other: object) -> bool:
        """Tell whether the bits of all pixels and their names are the same, whatever the integer type."""
        if not isinstance(other, Mask):
            return NotImplemented
        if dict(self._bits) != dict(other._bits):
            return False
        return np.array_equal(_unsigned(self._array), _unsigned(other._array))

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (self._array, dict(self._bits))

    def __copy__(self) -> Mask:
        return Mask(self._array, self._bits)

    def __deepcopy__(self, memo: dict[int, Any]) -> Mask:
        return self.copy()

    def __repr__(self) -> str:
        ny, nx = self.shape
        return f"<Mask {ny} x {nx} {self.dtype}, planes {listing(self._bits)}>"


def _planes(dtype: np.dtype[Any]) -> int:
    """Return how many planes a type has room for; the sign bit is none."""
    return dtype.itemsize * 8 - (dtype.kind == "i")


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    dtype = array.dtype.newbyteorder("=")
    if dtype == np.int8:
        dtype = np.dtype(np.int16)
    elif dtype.itemsize == 8:
        # What is unsigned may be too large, what is signed may be negative.
        if array.size and (int(array.max()) >= 1 << 63 if dtype.kind == "u" else int(array.min()) < 0):
            raise ValueError("mask: bit 63 is set; a mask has at most 63 planes")
        dtype = np.dtype(np.int64)
    elif dtype.name not in _KEPT:
        raise TypeError(f"mask: integers of at most 64 bits are needed, not {array.dtype}")
    return np.asarray(array.astype(dtype, copy=False))


def _widened(array: npt.NDArray[Any], bit: int) -> npt.NDArray[Any]:
    dtype = array.dtype
    while bit >= _planes(dtype):
        dtype = np.dtype(_WIDER[dtype.name])
    if dtype == array.dtype:
        return array
    # Unsigned first: the sign of a narrow type is one bit, not all the bits above it.
    return _unsigned(array).astype(dtype)


def _unsigned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.view(np.dtype(f"uint{array.dtype.itemsize * 8}"))


def _used(array: npt.NDArray[Any]) -> int:
    """Return the bits that any pixel has, as one number without sign."""
    return int(np.bitwise_or.reduce(_unsigned(array), axis=None)) if array.size else 0
