"""Yaml: plain values, dataclasses and classes with ``to_dict`` and ``from_dict``; YAML 1.2 core schema."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import yaml

from ..errors import FormatError
from .interface import About, Format, Layout, Source
from .plain import from_plain, to_plain

LARGEST = 64 << 20
"""Bytes in a file that is read as YAML."""
DEEPEST = 100
"""Levels of nesting."""
MOST_COPIED = 100_000
"""Values that aliases may stand for in all: beyond it a file is taken for an alias bomb."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_PREFIX = "tag:yaml.org,2002:"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0(?:o[0-7]+|x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


class _CoreDumper(_Dumper):  # type: ignore[misc]
    """Quotes every string that YAML 1.1 or the core schema of 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write shared values twice: what is read back shares nothing."""
        return True


def _float(dumper: Any, value: float) -> Any:
    if value != value:
        text = ".nan"
    elif value in (float("inf"), float("-inf")):
        text = ".inf" if value > 0 else "-.inf"
    else:
        text = repr(value)
        if "." not in text:
            # 1e+20 is a string to YAML 1.1.
            text = text.replace("e", ".0e", 1)
    return dumper.represent_scalar(_PREFIX + "float", text)


_CoreDumper.add_representer(float, _float)
_CoreDumper.add_implicit_resolver(_PREFIX + "float", _FLOAT, list("-+0123456789."))
_CoreDumper.add_implicit_resolver(_PREFIX + "int", re.compile(_BASED.pattern), ["0"])


class Yaml(Format):
    """One YAML document a file.

    Holds what `bunter.formats.json_.Json` holds, and mappings whose keys are str, int, float, bool or None; NaN
    and infinities are ``.nan`` and ``.inf``. It is read by the core schema of YAML 1.2 (``no`` is a string,
    ``2016-03-18`` too), safely: no tags but those of plain values, no duplicate keys, no recursion, at most
    100 levels and 100,000 values that stand behind aliases.
    """

    name = "Yaml"
    suffix = ".yaml"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write `obj` as one document in block style; see `Format.write`."""
        plain = to_plain(obj, about, self.name, (str, int, float, bool, type(None)))
        try:
            text = yaml.dump(
                plain, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
            )
            data = text.encode()
        except (yaml.YAMLError, UnicodeEncodeError, ValueError) as error:
            raise FormatError(f"{about.name}: Yaml cannot hold it: {error}") from error
        out.write(data)
        return {}

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the document; see `Format.read`."""
        if source.size > LARGEST:
            raise FormatError(f"{source.name}: a YAML file of {source.size} bytes; at most {LARGEST} are read")
        try:
            value = load(bytes(source.read_all()))
        except (yaml.YAMLError, ValueError) as error:
            raise FormatError(f"{source.name}: expected one YAML document for {about.name}: {error}") from error
        return from_plain(value, about, self.name, source.name)


def load(data: bytes) -> Any:
    """Read one YAML document of plain values, by the core schema of YAML 1.2.

    Raises
    ------
    ValueError, yaml.YAMLError
        If it is no such document, or beyond the limits.
    """
    # Not the parser's own composer: it recurses, expands aliases without limit and accepts duplicate keys.
    return _Document(yaml.parse(data, Loader=_Loader)).value()


def check_aliases(data: bytes) -> None:
    """Refuse YAML whose aliases stand for too much, or that is nested too deep, before somebody else loads it.

    Raises
    ------
    ValueError, yaml.YAMLError
        If it is no YAML, or beyond the limits.
    """
    weights: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    built = copied = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in weights:
                raise ValueError(f"*{event.anchor} stands for nothing, or for what it is in itself{_at(event)}")
            copied += weights[event.anchor]
            built += weights[event.anchor]
            if copied > MOST_COPIED:
                raise ValueError(f"its aliases stand for more than {MOST_COPIED} values{_at(event)}")
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, built))
            built += 1
            if len(open_) > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} deep{_at(event)}")
        elif isinstance(event, yaml.ScalarEvent):
            built += 1
            if event.anchor is not None:
                weights[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                weights[anchor] = built - before


class _Document:
    """One document, built from the parser's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._copied = 0
        self._built = 0

    def value(self) -> Any:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise ValueError("the file is empty")
        value = self._node(next(self._events), 0)
        next(self._events)
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            raise ValueError("there is more than one document in it")
        return value

    def _node(self, event: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep{_at(event)}")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._built
        self._built += 1
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event, "seq")
            value = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                value.append(self._node(item, depth + 1))
        else:
            _check_tag(event, "map")
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._built - before)
        return value

    def _mapping(self, depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if isinstance(key, list | dict):
                raise ValueError(f"a key that is not a plain value{_at(event)}")
            if key in made:
                raise ValueError(f"the key {key!r} is there twice{_at(event)}")
            made[key] = self._node(next(self._events), depth + 1)
        return made

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise ValueError(f"*{event.anchor} stands for nothing, or for what it is in itself{_at(event)}")
        value, weight = self._anchors[event.anchor]
        self._copied += weight
        self._built += weight
        if self._copied > MOST_COPIED:
            raise ValueError(f"its aliases stand for more than {MOST_COPIED} values{_at(event)}")
        return copy.deepcopy(value)


def _at(event: Any) -> str:
    mark = event.start_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})"


def _check_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _PREFIX + kind):
        raise ValueError(f"the tag {event.tag!r} is not one of plain values{_at(event)}")


def _scalar(event: Any) -> Any:
    text: str = event.value
    tag = event.tag
    if tag is None:
        return _resolve(text) if event.style is None or event.style == "" else text
    if tag in ("!", _PREFIX + "str"):
        return text
    if tag == _PREFIX + "float" and (_INT.match(text) or _FLOAT.match(text)):
        return float(text)
    value = _resolve(text)
    if tag == f"{_PREFIX}{'null' if value is None else type(value).__name__}":
        return value
    raise ValueError(f"{text!r:.60} under the tag {tag!r} is no plain value{_at(event)}")


def _resolve(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    first = text[0]
    if first not in "-+.0123456789":
        return text
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.match(text):
        return float(text)
    if text in _NAN:
        return float("nan")
    if _INFINITE.match(text):
        return float("-inf") if first == "-" else float("inf")
    return text
