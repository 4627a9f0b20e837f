"""A policy as a tree of nodes, each of which knows where it was written; and the list of faults found in it.

YAML is read by the rules of the 1.2 core schema: ``no`` is a string, ``010`` is ten, no tags, no duplicate keys.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, TypeAlias

from ..errors import DefinitionError
from ..values import dataclass, field
from ..words import shown
from .model import Place

LARGEST = 1_000_000
_DEEPEST = 40
_MOST_NODES = 50_000
_MOST_FAULTS = 200
_LONGEST_FAULT = 2000
_MOST_BITS = 256

Scalar: TypeAlias = str | int | float | bool | None

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class Faults:
    """What is wrong with a policy: collected, so that all of it is reported at once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, int, str], None] = {}

    def add(self, place: Place, message: str) -> None:
        """Note a fault; the same one at the same place counts once."""
        self._found[place.source, place.line, place.column, message] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise one `DefinitionError` with a line for each fault, in the order of the file."""
        if not self._found:
            return
        lines = [
            f"{Place(source, line, column)}: {message:.{_LONGEST_FAULT}}"
            for source, line, column, message in sorted(self._found)
        ]
        if len(lines) > _MOST_FAULTS:
            lines = [*lines[:_MOST_FAULTS], f"... and {len(lines) - _MOST_FAULTS} more"]
        raise DefinitionError("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list or a mapping, and where it was written.

    Attributes
    ----------
    value : scalar, list of Node, or dict of str to (Node, Node)
        Of a mapping: the key's text -> its node and its value's node.
    """

    value: Scalar | list[Node] | dict[str, tuple[Node, Node]]
    place: Place

    def plain(self) -> Any:
        """Return the node as ordinary Python values."""
        if isinstance(self.value, dict):
            return {key.value: value.plain() for key, value in self.value.values()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    @property
    def what(self) -> str:
        """What was found, for messages."""
        if isinstance(self.value, dict):
            inner = ", ".join(self.value)
            return f"a mapping ({{{inner:.60}}})"
        if isinstance(self.value, list):
            return "a list"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return shown(self.value)


@dataclass(slots=True)
class _Open:
    """A collection whose end was not seen yet."""

    place: Place
    mapping: bool
    anchor: str | None
    items: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    values: list[Node] = field(default_factory=list)
    key: Node | None = None
    size: int = 1


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a regular file, at most one byte more than `most`.

    Raises
    ------
    OSError
        If it cannot be read, or is a pipe or a device, for which one would wait for ever.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a file", os.fspath(path))
        return file.read(most + 1)


def parse_yaml(text: str, source: str, faults: Faults) -> list[Node]:
    """Return the root node of each document in `text`; what cannot be read is a fault.

    Parameters
    ----------
    source : str
        What messages call the text: the file's name.
    """
    import yaml

    if len(text) > LARGEST:
        faults.add(Place(source), f"more than {LARGEST:,} characters; a policy is smaller than that")
        return []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(source, faults)
    try:
        for event in yaml.parse(text, Loader=loader):
            if not builder.take(event):
                return []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        context = f" {error.context}" if error.context else ""
        faults.add(place, f"not YAML: {error.problem or 'cannot be read'}{context}")
        return []
    except (yaml.YAMLError, UnicodeError) as error:
        faults.add(Place(source), f"not YAML: {' '.join(str(error).split())}")
        return []
    return builder.documents


class _Builder:
    """Builds nodes from YAML events without recursion, so that no nesting can exhaust the stack."""

    def __init__(self, source: str, faults: Faults) -> None:
        self.source = source
        self.faults = faults
        self.documents: list[Node] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.nodes = 0

    def take(self, event: Any) -> bool:
        """Take one event; False ends the reading (a limit was passed)."""
        kind = type(event).__name__
        mark = event.start_mark
        place = Place(self.source, mark.line + 1, mark.column + 1) if mark else Place(self.source)
        if kind == "AliasEvent":
            return self._alias(event.anchor, place)
        if kind == "DocumentStartEvent":
            self.anchors = {}
        if kind in ("ScalarEvent", "SequenceStartEvent", "MappingStartEvent"):
            if event.tag is not None and event.tag != "!":
                self.faults.add(place, f"the tag {event.tag!r:.80}: a policy has no tags; leave it out")
            if kind == "ScalarEvent":
                value = event.value
                if event.implicit[0] and event.style in (None, ""):
                    value = resolve(value)
                return self._done(Node(value, place), 1, event.anchor)
            self.stack.append(_Open(place, kind == "MappingStartEvent", event.anchor))
            if len(self.stack) > _DEEPEST:
                self.faults.add(place, f"nested more than {_DEEPEST} deep")
                return False
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            ended = self.stack.pop()
            return self._done(
                Node(ended.items if ended.mapping else ended.values, ended.place), ended.size, ended.anchor
            )
        return True

    def _alias(self, anchor: str, place: Place) -> bool:
        if anchor not in self.anchors:
            self.faults.add(place, f"*{anchor} stands for nothing that was finished before it")
            return self._done(Node(None, place), 1, None)
        node, size = self.anchors[anchor]
        return self._done(node, size, None)

    def _done(self, node: Node, size: int, anchor: str | None) -> bool:
        # Sizes count what aliases stand for each time, so that a bomb is noticed before it is unfolded.
        self.nodes += 1
        if anchor is not None:
            self.anchors[anchor] = (node, size)
        if not self.stack:
            self.documents.append(node)
            return True
        parent = self.stack[-1]
        parent.size += size
        if parent.size > _MOST_NODES or self.nodes > _MOST_NODES:
            self.faults.add(node.place, f"more than {_MOST_NODES:,} values, aliases included")
            return False
        if not parent.mapping:
            parent.values.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            self._item(parent, parent.key, node)
            parent.key = None
        return True

    def _item(self, parent: _Open, key: Node, value: Node) -> None:
        if isinstance(key.value, dict | list):
            self.faults.add(key.place, f"{key.what} cannot be a key; put quotes round text with braces or brackets")
            return
        text = key_text(key)
        if text in parent.items:
            first = parent.items[text][0].place
            self.faults.add(key.place, f"the key {text!r} stands here twice; first in line {first.line}")
            return
        parent.items[text] = (key, value)


def key_text(key: Node) -> str:
    """Return a scalar key as text (``true`` and ``null`` as YAML spells them)."""
    if key.value is None:
        return "null"
    return str(key.value).lower() if isinstance(key.value, bool) else str(key.value)


def resolve(text: str) -> Scalar:
    """Return what a plain YAML scalar means in the 1.2 core schema.

    Examples
    --------
    >>> [resolve(text) for text in ("no", "010", "0x10", "1e3", "True", "~", "1:30")]
    ['no', 10, 16, 1000.0, True, None, '1:30']
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    # Beyond some thousands of digits Python refuses; nobody means an integer by that.
    if len(text) < 1000:
        if _INT.match(text):
            return int(text)
        if _OCTAL.match(text):
            return int(text, 8)
        if _HEX.match(text):
            return int(text, 16)
        if _FLOAT.match(text):
            return float(text)
    return text


def from_python(value: object, faults: Faults) -> Node:
    """Return the node of a dict given in code; classes and functions become their dotted names."""
    return _FromPython(faults).node(value, "", 0)


class _FromPython:
    """One walk over Python values, which may hold themselves."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.nodes = 0
        self.size = 0

    def node(self, value: object, path: str, depth: int) -> Node:
        place = Place(path or "policy")
        self.nodes += 1
        if depth > _DEEPEST or self.nodes > _MOST_NODES:
            if self.nodes <= _MOST_NODES:
                self.faults.add(place, f"nested more than {_DEEPEST} deep")
            elif self.nodes == _MOST_NODES + 1:
                self.faults.add(Place("policy"), f"more than {_MOST_NODES:,} values")
            # One such fault is enough: what holds itself would have a million of them.
            self.nodes = _MOST_NODES + 2
            return Node(None, place)
        if isinstance(value, Mapping):
            return Node(self.mapping(value, path, depth), place)
        if isinstance(value, list | tuple):
            inner = []
            for i, item in enumerate(value):
                inner.append(self.node(item, f"{path}[{i}]", depth + 1))
                if self.nodes > _MOST_NODES:
                    break
            return Node(inner, place)
        if isinstance(value, str):
            self.size += len(value)
            if self.size > LARGEST:
                self.faults.add(place, f"more than {LARGEST:,} characters; a policy is smaller than that")
                self.nodes = _MOST_NODES + 2
                return Node(None, place)
            return Node(str.__str__(value), place)
        if value is None or type(value) in (int, float, bool):
            if isinstance(value, int) and value.bit_length() > _MOST_BITS:
                self.faults.add(place, f"{shown(value)} is too large a number")
                return Node(None, place)
            return Node(value, place)  # type: ignore[arg-type]
        if isinstance(value, type) or (callable(value) and isinstance(getattr(value, "__qualname__", None), str)):
            return Node(_dotted(value, place, self.faults), place)
        if hasattr(value, "item") and getattr(value, "shape", None) == ():
            return self.node(_plain(value), path, depth + 1)
        self.faults.add(
            place, f"a {type(value).__name__} cannot stand in a policy; it holds text, numbers, lists and dicts"
        )
        return Node(None, place)

    def mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, tuple[Node, Node]]:
        items: dict[str, tuple[Node, Node]] = {}
        for key, inner in value.items():
            if self.nodes > _MOST_NODES:
                break
            if isinstance(key, str):
                key = str.__str__(key)
                if len(key) > _LONGEST_FAULT:
                    self.faults.add(Place(path or "policy"), f"{shown(key)} cannot be a key: it is too long")
                    continue
            fits = type(key) in (str, float, bool) or key is None
            if not fits and not (type(key) is int and key.bit_length() <= _MOST_BITS):
                self.faults.add(Place(path or "policy"), f"{shown(key)} cannot be a key; keys are strings")
                continue
            name = f"{path}.{key}" if path else str(key)
            node = Node(key, Place(name))
            if key_text(node) in items:
                self.faults.add(Place(name), f"the key {key_text(node)!r} stands here twice")
            items[key_text(node)] = (node, self.node(inner, name, depth + 1))
        return items


def _plain(value: Any) -> Any:
    """Return a numpy scalar as a Python one; whatever else has no dimensions stays unknown."""
    plain = value.item()
    return plain if plain is None or isinstance(plain, str | int | float) else object()


def _dotted(value: Any, place: Place, faults: Faults) -> str:
    name = f"{getattr(value, '__module__', None)}.{value.__qualname__}"
    if "<" in name:
        faults.add(place, f"{name} cannot be found again by its name; define it at the top of a module")
    name = name.replace("<", "").replace(">", "")
    return name.removeprefix("builtins.") if isinstance(value, type) else name
