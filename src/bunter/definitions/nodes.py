"""A policy as a tree of nodes, each of which knows where it was written; and the list of faults found in it.

YAML is read by the rules of the 1.2 core schema: ``no`` is a string, ``010`` is ten, no tags, no duplicate keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import DefinitionError
from .model import Place

LARGEST = 1_000_000
_DEEPEST = 40
_MOST_NODES = 100_000
_MOST_FAULTS = 200

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
        lines = [f"{Place(source, line, column)}: {message}" for source, line, column, message in sorted(self._found)]
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
        return f"{self.value!r:.80}"


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


def from_python(value: object, faults: Faults, path: str = "", depth: int = 0) -> Node:
    """Return the node of a dict given in code; classes and functions become their dotted names."""
    place = Place(path or "policy")
    if depth > _DEEPEST:
        faults.add(place, f"nested more than {_DEEPEST} deep")
        return Node(None, place)
    if isinstance(value, Mapping):
        items: dict[str, tuple[Node, Node]] = {}
        for key, inner in value.items():
            name = f"{path}.{key}" if path else str(key)
            if not isinstance(key, str | int | float | bool | None):
                faults.add(place, f"{key!r:.80} cannot be a key; keys are strings")
                continue
            node = Node(key, Place(name))
            if key_text(node) in items:
                faults.add(Place(name), f"the key {key_text(node)!r} stands here twice")
            items[key_text(node)] = (node, from_python(inner, faults, name, depth + 1))
        return Node(items, place)
    if isinstance(value, list | tuple):
        return Node([from_python(v, faults, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)], place)
    if value is None or type(value) in (str, int, float, bool):
        return Node(value, place)  # type: ignore[arg-type]
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return Node(_dotted(value, place, faults), place)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return Node(value.item(), place)
    if isinstance(value, str):
        return Node(str(value), place)
    faults.add(place, f"a {type(value).__name__} cannot stand in a policy; it holds text, numbers, lists and dicts")
    return Node(None, place)


def _dotted(value: Any, place: Place, faults: Faults) -> str:
    name = f"{value.__module__}.{value.__qualname__}"
    if "<" in name:
        faults.add(place, f"{name} cannot be found again by its name; define it at the top of a module")
    name = name.replace("<", "").replace(">", "")
    return name.removeprefix("builtins.") if isinstance(value, type) else name
