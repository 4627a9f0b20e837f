"""How components are named on, taken from and set on Python objects, whoever wrote the class.

A class says what its components are by a class attribute ``__bunter_components__``, a mapping of component
name to dotted type name. A class that says nothing has those of its dataclass fields, else those for which
it has properties or pairs of accessors (``get_psf``, ``getPsf``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MemberDescriptorType
from typing import Any

from .names import camel, plain_component, snake
from .values import is_dataclass


class _Missing:
    pass


_MISSING = _Missing()
_SYNONYMS = {"calib": "photocalib"}


def declared_components(cls: type | None) -> dict[str, str]:
    """Return ``{component name: dotted type name}`` ("" for an unknown type) that a class declares."""
    if cls is None:
        return {}
    declared = getattr(cls, "__bunter_components__", None)
    if isinstance(declared, Mapping):
        return {str(name): str(kind) for name, kind in declared.items()}
    if cls.__module__.split(".")[0] in ("builtins", "numpy", "astropy", "pyarrow", "pandas"):
        return {}
    if is_dataclass(cls):
        import dataclasses

        return {f.name: _dotted(f.type) for f in dataclasses.fields(cls) if not f.name.startswith("_")}
    found: dict[str, str] = {}
    for name in dir(cls):
        if name.startswith("_"):
            continue
        if name.startswith("get_") and len(name) > 4:
            found.setdefault(name[4:], "")
        elif name.startswith("get") and name[3:4].isupper():
            found.setdefault(name[3].lower() + name[4:], "")
        elif isinstance(getattr(cls, name, None), property):
            found.setdefault(name, "")
    return found


def _dotted(annotation: object) -> str:
    if isinstance(annotation, type):
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return ""


def match_component(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is `name` in any spelling (``photoCalib``, ``photo_calib``, ``calib``)."""
    names = list(known)
    if name in names:
        return name
    plain = plain_component(name)
    for other in names:
        if plain_component(other) == plain:
            return other
    synonym = _SYNONYMS.get(plain)
    for other in names:
        if plain_component(other) == synonym or _SYNONYMS.get(plain_component(other)) == plain:
            return other
    return None


def _spellings(name: str) -> list[str]:
    return list(dict.fromkeys((name, snake(name), camel(snake(name)))))


def has_component(obj: Any, name: str) -> bool:
    """Tell whether `get_component` would find something."""
    return _take(obj, name) is not _MISSING


def get_component(obj: Any, name: str, getter: str | None = None) -> Any:
    """Take a component from an object: by `getter`, ``get_x``, ``getX``, or the attribute in either spelling.

    Raises
    ------
    AttributeError
        If the object has none of them.
    """
    if getter is not None:
        value = getattr(obj, getter)
        return value() if callable(value) else value
    value = _take(obj, name)
    if value is _MISSING:
        raise AttributeError(f"a {type(obj).__name__} has no component {name!r}")
    return value


def _take(obj: Any, name: str) -> Any:
    spelled = _spellings(name)
    declared = getattr(type(obj), "__bunter_components__", None)
    if isinstance(declared, Mapping):
        own = match_component(name, declared)
        if own is not None:
            return getattr(obj, own)
    for word in spelled:
        for accessor in (f"get_{word}", f"get{word[:1].upper()}{word[1:]}"):
            method = getattr(obj, accessor, None)
            if callable(method):
                return method()
    for word in spelled:
        try:
            return getattr(obj, word)
        except AttributeError:
            from inspect import getattr_static

            # One that is raised inside of a property is for its author to see; a slot may just be empty.
            if not isinstance(getattr_static(obj, word, _MISSING), MemberDescriptorType | _Missing):
                raise
    return _MISSING


def set_component(obj: Any, name: str, value: Any, setter: str | None = None) -> None:
    """Set a component on an object: by `setter`, ``set_x``, ``setX``, or a declared or existing attribute.

    Raises
    ------
    AttributeError
        If the object has none of them.
    """
    if setter is not None:
        method = getattr(obj, setter)
        if callable(method):
            method(value)
        else:
            setattr(obj, setter, value)
        return
    for word in _spellings(name):
        for accessor in (f"set_{word}", f"set{word[:1].upper()}{word[1:]}"):
            method = getattr(obj, accessor, None)
            if callable(method):
                method(value)
                return
    cls = type(obj)
    declared = getattr(cls, "__bunter_components__", None)
    own = match_component(name, declared) if isinstance(declared, Mapping) else None
    if own is not None:
        setattr(obj, own, value)
        return
    annotated = {word for base in cls.__mro__ for word in getattr(base, "__annotations__", {})}
    for word in _spellings(name):
        if word in annotated or hasattr(cls, word) or word in getattr(obj, "__dict__", ()):
            setattr(obj, word, value)
            return
    raise AttributeError(f"a {cls.__name__} has no place for a component {name!r}")
