"""Plain values (numbers, strings, lists, dicts, arrays): checked, compared, turned into JSON and back."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

State = dict[str, Any]
"""What an object is made of: plain scalars, strings, numpy arrays and lists of other states."""


class Frozen:
    """Base of values that cannot be changed and are equal by their `state`."""

    __slots__ = ()
    __bunter_components__: Mapping[str, str] = {}

    def state(self) -> State:
        """Return what the object is made of: scalars, strings, None, read-only arrays, lists of states."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the object as plain values that JSON and YAML can hold."""
        return listed(self.state())  # type: ignore[no-any-return]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make a new one")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or same_plain(self.state(), other.state())

    def __hash__(self) -> int:
        # NaNs are equal here but hash by identity, and arrays do not hash: numbers and words are enough.
        return hash((type(self).__name__, *(v for v in self.state().values() if isinstance(v, int | str))))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


def restored(cls: type, state: State) -> Any:
    """Make an object of what `state` returned; for pickles, which then load the module of the class themselves."""
    return cls(**{name: value for name, value in state.items() if name != "kind"})


def set_fields(obj: object, **fields: Any) -> None:
    """Set attributes of a frozen object while it is being made."""
    for name, value in fields.items():
        object.__setattr__(obj, name, value)


def frozen_array(value: npt.ArrayLike, what: str, ndim: int, dtype: Any = np.float64) -> npt.NDArray[Any]:
    """Return a read-only copy of an array of finite or other numbers.

    Raises
    ------
    TypeError, ValueError
        If it is not an array of numbers with `ndim` axes.
    """
    given = np.asarray(value)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{what}: an array of numbers is needed, not of {given.dtype}")
    if given.ndim != ndim:
        raise ValueError(f"{what}: an array with {ndim} axes is needed, not of shape {given.shape}")
    array = np.array(given, dtype=dtype, order="C")
    array.setflags(write=False)
    return array


def number(value: Any, what: str) -> float:
    """Return a float, or raise a `TypeError` that names `what`."""
    if type(value) is float:
        return value
    if isinstance(value, bool | np.bool_ | str | bytes) or not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"{what}: a number is needed, not {value!r:.60}")
    return float(value)


def whole(value: Any, what: str) -> int:
    """Return an int, or raise a `TypeError` that names `what`."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{what}: an integer is needed, not {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what}: an integer is needed, not {value!r:.60}") from None


def plain(value: Any, what: str) -> Any:
    """Return a copy made of dict, list, str, int, float, bool and None only.

    Raises
    ------
    TypeError
        If the value holds anything else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{what}: the key {key!r:.60} is not a string")
        return {str(key): plain(item, f"{what}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, what) for item in value]
    raise TypeError(f"{what}: plain values (numbers, strings, lists, mappings) are needed, not {type(value).__name__}")


def listed(value: Any) -> Any:
    """Return a state with its arrays as nested lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [listed(item) for item in value]
    return value


def same_plain(a: Any, b: Any) -> bool:
    """Tell whether two states or plain values are equal, NaN equal to NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.shape(a) == np.shape(b) and np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_plain(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_plain, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return bool(a == b)
