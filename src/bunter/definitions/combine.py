"""How definitions of several repositories go together: same or not, in front of which, in conflict with which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from ..values import fields, is_dataclass
from .model import DatasetType

_V = TypeVar("_V")


def same_type(a: DatasetType, b: DatasetType) -> bool:
    """Tell whether two dataset types are defined alike, wherever and by whom."""
    return type(a) is type(b) and _bare(a) == _bare(b)


def _bare(value: Any) -> Any:
    if is_dataclass(value):
        names = [item.name for item in fields(value) if item.compare]
        return {name: _bare(getattr(value, name)) for name in names if name not in ("place", "trusted")}
    if isinstance(value, Mapping):
        return {key: _bare(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_bare, value))
    return value


class Merge(Generic[_V]):
    """The definitions of one kind, taken from parents in order and then from the repository itself.

    Attributes
    ----------
    found : dict
        Name -> definition.
    conflicts : dict
        ``kind name`` -> message, for what unrelated parents define differently.
    masked : dict
        Name -> definitions in front of which `found` stands.
    """

    def __init__(self, kind: str, what: str, same: Callable[[_V, _V], bool], *, settles: bool = True) -> None:
        self.kind = kind
        self.what = what
        self.same = same
        self.settles = settles
        self.found: dict[str, _V] = {}
        self.conflicts: dict[str, str] = {}
        self.masked: dict[str, list[_V]] = {}
        self._rivals: dict[str, list[_V]] = {}

    def parent(
        self, values: Mapping[str, _V], conflicts: Mapping[str, str], masked: Mapping[str, tuple[_V, ...]]
    ) -> None:
        """Take in the definitions of one parent."""
        for name, value in values.items():
            behind = list(masked.get(name, ()))
            if name not in self.found:
                self.found[name], self.masked[name] = value, behind
            elif self.same(self.found[name], value):
                self.masked[name] += behind
            elif self._among(value, self.masked[name]):
                continue
            elif self._among(self.found[name], behind):
                self.found[name], self.masked[name] = value, [*self.masked[name], *behind]
            else:
                self._rivals.setdefault(name, []).append(value)
                self.conflicts[f"{self.kind} {name}"] = self._message(name, self.found[name], value)
        self.conflicts |= {name: text for name, text in conflicts.items() if name.startswith(f"{self.kind} ")}

    def own(self, values: Mapping[str, _V]) -> None:
        """Put the repository's own definitions in front."""
        for name, value in values.items():
            behind = self.masked.setdefault(name, [])
            if name in self.found and not self.same(self.found[name], value):
                behind.append(self.found[name])
            behind += self._rivals.get(name, ())
            self.found[name] = value
            if self.settles:
                self.conflicts.pop(f"{self.kind} {name}", None)

    def _among(self, value: _V, others: list[_V]) -> bool:
        return any(self.same(value, other) for other in others)

    def _message(self, name: str, a: _V, b: _V) -> str:
        places = [str(getattr(value, "place", "") or repr(value)) for value in (a, b)]
        return (
            f"the {self.what} {name!r} is defined differently in two parents: {places[0]} and {places[1]}; "
            "define it in this repository, or use a new stage"
        )
