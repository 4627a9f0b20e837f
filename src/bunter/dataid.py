"""Data IDs: mappings of keys to values, checked before any of them meets a file or a database."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import TypeAlias

from .errors import DataIdError
from .words import shown

KeyValue: TypeAlias = int | str | float

_LONGEST = 200
_INTEGER_BOUND = 2**63


class DataId(Mapping[str, KeyValue]):
    """An immutable, hashable data ID that compares equal to a dict with the same items.

    Examples
    --------
    >>> DataId({"visit": 1, "ccd": "N3"})
    {'visit': 1, 'ccd': 'N3'}
    >>> DataId(visit=1) == {"visit": 1}
    True
    """

    __slots__ = ("_hash", "_items")

    def __init__(
        self, items: Mapping[str, KeyValue] | Iterable[tuple[str, KeyValue]] = (), /, **more: KeyValue
    ) -> None:
        self._items: dict[str, KeyValue] = dict(items, **more) if more else dict(items)
        self._hash: int | None = None

    def __getitem__(self, key: str) -> KeyValue:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._items.keys()

    def values(self) -> ValuesView[KeyValue]:
        """Return the values."""
        return self._items.values()

    def items(self) -> ItemsView[str, KeyValue]:
        """Return keys and values."""
        return self._items.items()

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._items.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DataId):
            return self._items == other._items
        if isinstance(other, Mapping):
            return self._items == dict(other)
        return NotImplemented

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[type, tuple[dict[str, KeyValue]]]:
        return DataId, (self._items,)


def check_key(key: object) -> str:
    """Return `key` if it can be a data ID key; raise `DataIdError` otherwise."""
    if not isinstance(key, str) or not key.isidentifier() or len(key) > 60:
        raise DataIdError(f"a data ID key is a word of letters, digits and '_', not {shown(key)}")
    return str.__str__(key)


def check_value(key: str, value: object, kind: str) -> KeyValue:
    """Return a data ID value in its standard form.

    Parameters
    ----------
    key : str
        The key, for messages.
    value : object
        What the user gave.
    kind : {"int", "str", "float"}
        The type that the key has in this repository.

    Returns
    -------
    int, str or float
        A plain Python value; strings are NFC-normalised.

    Raises
    ------
    DataIdError
        If the value has the wrong type or is unsafe (NUL, control characters, surrogates, empty,
        longer than 200 characters, an integer beyond 64 bits, a float that is not finite).
    """
    if kind == "int":
        if type(value) is int and -_INTEGER_BOUND <= value < _INTEGER_BOUND:
            return value
        if isinstance(value, bool):
            raise DataIdError(f"{key}={value!r}: the key {key!r} is an int, not a bool")
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except Exception:
            # Whatever it is that says that it is a number.
            raise DataIdError(f"{key}={shown(value)}: the key {key!r} is an int, not {type(value).__name__}") from None
        if type(value).__name__ in ("bool", "bool_"):
            raise DataIdError(f"{key}={value!r}: the key {key!r} is an int, not a bool")
        if not -_INTEGER_BOUND <= number < _INTEGER_BOUND:
            raise DataIdError(f"{key}: an integer key value has at most 64 bits")
        return number
    if kind == "float":
        # A masked value of numpy's has a float, too, and a warning with it.
        unfit = isinstance(value, bool | str | bytes) or type(value).__name__ == "MaskedConstant"
        if unfit or not hasattr(value, "__float__"):
            raise DataIdError(f"{key}={shown(value)}: the key {key!r} is a float, not {type(value).__name__}")
        try:
            real = float(value)
        except Exception:
            # Beyond what a float holds, or something that only says that it is a number.
            raise DataIdError(f"{key}={shown(value)}: the key {key!r} is a float, and this makes none") from None
        if real - real != 0.0:
            raise DataIdError(f"{key}={real}: a float key value is finite")
        return real + 0.0
    if not isinstance(value, str):
        raise DataIdError(f"{key}={shown(value)}: the key {key!r} is a str, not {type(value).__name__}")
    # A subclass may say that it is another string: its own characters count.
    return check_text(key, str.__str__(value))


def check_text(key: str, value: str) -> str:
    """Return `value` NFC-normalised, or raise `DataIdError` if it is unsafe."""
    if len(value) > _LONGEST:
        raise DataIdError(f"{key}: a string value has at most {_LONGEST} characters; this one has {len(value)}")
    text = unicodedata.normalize("NFC", value) if not value.isascii() else value
    if not text:
        raise DataIdError(f"{key}: an empty string cannot be a data ID value")
    if not text.isprintable():
        for character in text:
            category = unicodedata.category(character)
            if category in ("Cc", "Cs", "Zl", "Zp"):
                what = "a surrogate" if category == "Cs" else "a control character"
                raise DataIdError(f"{key}: the value holds {what} ({ord(character):#06x})")
    if len(text) > _LONGEST:
        raise DataIdError(f"{key}: a string value has at most {_LONGEST} characters once normalised")
    return text
