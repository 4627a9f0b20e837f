"""Python objects as plain values (None, bool, int, float, str, list, dict) and back, for Json and Yaml.

Dataclasses become dicts of their fields; classes with ``to_dict`` and ``from_dict`` speak for themselves. What
would come back as something else is refused, never altered silently.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ..errors import FormatError
from ..values import is_dataclass
from ..words import did_you_mean, listing
from .equality import same_values
from .interface import About

_SCALARS = (str, int, float, bool, type(None))
_PLAIN = frozenset(_SCALARS)
_BUILTINS = (dict, list, str, int, float, bool, type(None))
_DEEPEST = 100


class _Walk:
    """One walk over an object: where it is, and whether something met may come back as something else."""

    def __init__(self, format_name: str, about: About, keys: tuple[type, ...]) -> None:
        self.format_name = format_name
        self.about = about
        self.keys = keys
        self.altered: list[str] = []

    def refuse(self, where: str, what: str, advice: str) -> FormatError:
        return FormatError(f"{self.about.name}: {self.format_name} cannot hold {what} at {where}; {advice}")

    def plain(self, value: Any, where: str, depth: int) -> Any:
        kind = type(value)
        if kind is str or kind is float or kind is int or kind is bool or value is None:
            return value
        if depth > _DEEPEST:
            raise self.refuse(where[:80] + "...", f"values nested more than {_DEEPEST} deep", "store something flatter")
        if kind is dict:
            return self.mapping(value, where, depth)
        if kind is list:
            return [
                item if type(item) in _PLAIN else self.plain(item, f"{where}[{i}]", depth + 1)
                for i, item in enumerate(value)
            ]
        if isinstance(value, tuple):
            self.altered.append(f"the {kind.__name__} at {where} would come back as a list")
            return [self.plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        if kind.__module__ == "numpy" and hasattr(value, "item"):
            return self.numpy_scalar(value, where)
        to_dict = getattr(value, "to_dict", None)
        if callable(to_dict) and not isinstance(value, type):
            self.altered.append(f"the {kind.__name__} at {where} would come back as a dict")
            return self.plain(to_dict(), where, depth + 1)
        if is_dataclass(value) and not isinstance(value, type):
            import dataclasses

            self.altered.append(f"the {kind.__name__} at {where} would come back as a dict")
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
            return self.mapping(fields, where, depth + 1)
        if isinstance(value, Mapping):
            raise self.refuse(where, f"a {kind.__name__}", "it would come back as a dict: store dict(x)")
        raise self.refuse(
            where,
            f"a {kind.__name__}",
            "it holds None, bool, int, float, str, list, dict, numpy scalars, dataclasses and classes with "
            "to_dict and from_dict",
        )

    def mapping(self, value: dict[Any, Any], where: str, depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, item in value.items():
            if type(key) is str and type(item) in _PLAIN:
                # Most are, and every format here has them.
                made[key] = item
                continue
            if type(key) not in self.keys:
                if type(key).__module__ == "numpy" and isinstance(key, str):
                    key = str(key)
                else:
                    allowed = listing(sorted(k.__name__ for k in self.keys))
                    raise self.refuse(where, f"the key {key!r:.60} ({type(key).__name__})", f"its keys are: {allowed}")
            if key != key:
                raise self.refuse(where, "the key nan", "nothing is found under it")
            made[key] = self.plain(item, f"{where}.{key}", depth + 1)
        return made

    def numpy_scalar(self, value: Any, where: str) -> Any:
        scalar = value.shape == () and not hasattr(value, "__array_finalize__")
        plain = value.item() if scalar else None
        if plain is None or type(plain) not in _SCALARS:
            advice = "store x.tolist() and remember the dtype, or use the storage Npy"
            raise self.refuse(where, f"a numpy {type(value).__name__}", advice)
        return plain


def to_plain(obj: Any, about: About, format_name: str, keys: tuple[type, ...]) -> Any:
    """Return an object as plain values that `from_plain` makes into an equal one.

    Parameters
    ----------
    obj : object
        Anything.
    about : About
        Names the class that will be handed out.
    format_name : str
        For messages.
    keys : tuple of type
        The types that keys of dicts may have.

    Raises
    ------
    FormatError
        If something in it cannot be held, or would come back as something else.
    """
    walk = _Walk(format_name, about, keys)
    try:
        plain = walk.plain(obj, "$", 0)
    except RecursionError as error:
        raise FormatError(f"{about.name}: {format_name} cannot hold an object that contains itself") from error
    python = about.python
    stays = type(plain) is type(obj) and not (python is float and type(plain) is int)
    if python is not None and python is not object and stays and not isinstance(obj, python):
        raise FormatError(
            f"{about.name}: the dataset type holds {python.__qualname__}, this is a {type(obj).__qualname__}"
        )
    if walk.altered:
        try:
            back = from_plain(plain, about, format_name, about.name)
        except FormatError as error:
            raise FormatError(f"{about.name}: {format_name} could not read back what it wrote: {error}") from error
        if not same_values(back, obj):
            raise FormatError(
                f"{about.name}: {format_name} would lose something: {walk.altered[0]}; annotate the field of the "
                "dataclass with its type, name the class as the dataset type's python, or store plain values"
            )
    return plain


def from_plain(value: Any, about: About, format_name: str, file: str) -> Any:
    """Make plain values into the class that `about` names; without one they are handed out as they are.

    Raises
    ------
    FormatError
        If they do not fit the class; wraps what the class said.
    """
    python = about.python
    if python is None or python is object:
        return value
    if python in _BUILTINS:
        if type(value) is python:
            return value
        if python is float and type(value) is int:
            return float(value)
        raise FormatError(f"{file}: {about.name} holds {python.__name__}, the file holds {_kind(value)}")
    try:
        maker = _maker(python)
    except TypeError:
        maker = None
    if maker is None:
        raise FormatError(
            f"{file}: {format_name} cannot make a {python.__qualname__}: it has no from_dict and is no dataclass"
        )
    try:
        return maker(value)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    except Exception as error:
        raise FormatError(
            f"{file}: what is stored does not make a {python.__qualname__}: {type(error).__name__}: {error}"
        ) from error


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


@lru_cache(maxsize=512)
def _maker(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes plain values into what an annotation says, or None if they stay as they are."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Annotated:
        return _maker(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments)
    if origin is list or origin is dict:
        inner = _maker(arguments[-1]) if arguments else None
        if inner is None:
            return None
        return _list_of(inner) if origin is list else _dict_of(inner)
    if hint is tuple or origin is tuple:
        return _tuple_of(arguments)
    if not isinstance(hint, type) or hint in _BUILTINS:
        return float_of if hint is float else None
    from_dict = getattr(hint, "from_dict", None)
    if callable(from_dict):
        made: Callable[[Any], Any] = from_dict
        return made
    return _dataclass(hint) if is_dataclass(hint) else None


def float_of(value: Any) -> Any:
    """Return an int as a float; other values as they are."""
    return float(value) if type(value) is int else value


def _optional(arguments: tuple[Any, ...]) -> Callable[[Any], Any] | None:
    others = [a for a in arguments if a is not type(None)]
    if len(others) != 1:
        # Of several classes nobody can tell which it was: values stay plain, and `to_plain` refuses the rest.
        return None
    inner = _maker(others[0])
    return None if inner is None else lambda value: None if value is None else inner(value)


def _list_of(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: [inner(item) for item in value] if isinstance(value, list) else value


def _dict_of(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {k: inner(v) for k, v in value.items()} if isinstance(value, dict) else value


def _tuple_of(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    if not arguments or arguments[-1] is Ellipsis:
        inner = _maker(arguments[0]) if arguments else None
        return lambda value: (
            value if not isinstance(value, list) else tuple(value) if inner is None else tuple(map(inner, value))
        )
    makers = [_maker(a) for a in arguments]

    def make(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(makers):
            raise FormatError(f"a list of {len(makers)} values was expected, not {value!r:.80}")
        return tuple(item if m is None else m(item) for m, item in zip(makers, value, strict=True))

    return make


def _dataclass(cls: Any) -> Callable[[Any], Any]:
    import dataclasses

    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        # Annotations that only a type checker can resolve say nothing here.
        hints = {f.name: f.type for f in dataclasses.fields(cls)}
    fields = {f.name: _maker(hints.get(f.name, Any)) for f in dataclasses.fields(cls) if f.init}

    def make(value: Any) -> Any:
        if not isinstance(value, dict):
            raise FormatError(f"a {cls.__qualname__} is stored as a mapping, not as {_kind(value)}")
        for name in value:
            if name not in fields:
                raise FormatError(
                    f"{cls.__qualname__} has no field {name!r}{did_you_mean(str(name), fields)}; "
                    f"it has: {listing(fields)}"
                )
        return cls(**{k: v if fields[k] is None else fields[k](v) for k, v in value.items()})  # type: ignore[misc]

    return make
