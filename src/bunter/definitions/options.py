"""Reading single options of a policy: text, flags, names, lists of keys; whatever does not fit is a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..dataid import check_key
from ..errors import DataIdError, DatasetNameError, DefinitionError
from ..names import DatasetName, plain_component
from ..templates import Template
from ..words import did_you_mean
from .calls import BUILT_IN, parse_call
from .model import Place
from .nodes import Faults, Node

Items = Mapping[str, tuple[Node, Node]]

_FUNCTIONS = tuple(BUILT_IN)
_MOST_COMPONENTS = 200
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
_NAME = re.compile(r"[^\W\d]\w*\Z")
_REFERENCE = re.compile(r"\{\s*([^\W\d]\w*)\s*\}\Z")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*\Z")


def is_dotted(text: str) -> bool:
    """Tell whether `text` is a dotted Python name with at least one dot."""
    return "." in text and _DOTTED.match(text) is not None


def is_word(text: object) -> bool:
    """Tell whether `text` can name a component."""
    return isinstance(text, str) and _WORD.match(text) is not None


class OptionReader:
    """Reads options one at a time.

    Parameters
    ----------
    faults : Faults
        Takes whatever is wrong.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def _text(self, options: Items, name: str) -> str | None:
        if name not in options:
            return None
        node = options[name][1]
        if isinstance(node.value, str):
            return node.value
        hint = "; put quotes round text with braces" if isinstance(node.value, dict | list) else ""
        self.faults.add(node.place, f"{name!r} is text; found {node.what}{hint}")
        return None

    def _bool(self, options: Items, name: str) -> bool:
        if name not in options:
            return False
        node = options[name][1]
        if isinstance(node.value, bool):
            return node.value
        near = did_you_mean(node.value, ("true", "false")) if isinstance(node.value, str) else ""
        self.faults.add(node.place, f"{name!r} is true or false; found {node.what}{near}")
        return False

    def _choice(self, options: Items, name: str, choices: tuple[str, ...]) -> str | None:
        text = self._text(options, name)
        if text is not None and text not in choices:
            near = did_you_mean(text, choices)
            self.faults.add(options[name][1].place, f"{name!r} is one of {', '.join(choices)}; found {text!r}{near}")
            return None
        return text

    def _dotted(self, options: Items, name: str) -> str | None:
        return self._matching(options, name, _DOTTED, "a dotted Python name")

    def _word(self, options: Items, name: str) -> str | None:
        return self._matching(options, name, _NAME, "the name of a method or an attribute")

    def _matching(self, options: Items, name: str, pattern: re.Pattern[str], what: str) -> str | None:
        text = self._text(options, name)
        if text is not None and not pattern.match(text):
            self.faults.add(options[name][1].place, f"{name!r} is {what}; found {text!r:.80}")
            return None
        return text

    def _function(self, options: Items, name: str, built_in: tuple[str, ...] = _FUNCTIONS) -> str | None:
        if built_in and name in options and isinstance(options[name][1].value, str):
            given = options[name][1]
            try:
                call = parse_call(str(given.value))
            except DefinitionError as error:
                self.faults.add(given.place, str(error))
                return None
            if call is not None and call.name in built_in:
                return str(given.value)
        text = self._dotted(options, name)
        if text is not None and "." not in text and text not in built_in:
            there = f"; built in are {', '.join(built_in)}" if built_in else ""
            self.faults.add(
                options[name][1].place,
                f"{name!r} is a dotted name, package.function{there}; found {text!r}{did_you_mean(text, built_in)}",
            )
            return None
        return text

    def _name(self, options: Items, name: str) -> str | None:
        return self._parsed_name(options[name][1]) if name in options else None

    def _parsed_name(self, node: Node) -> str | None:
        if not isinstance(node.value, str):
            self.faults.add(node.place, f"a dataset name is text; found {node.what}")
            return None
        try:
            return str(DatasetName.parse(node.value))
        except DatasetNameError as error:
            self.faults.add(node.place, str(error))
            return None

    def _key_list(self, options: Items) -> tuple[str, ...] | None:
        if "keys" not in options:
            return None
        node = options["keys"][1]
        if not isinstance(node.value, list):
            self.faults.add(node.place, f"'keys' of a dataset type is a list, [visit, ccd]; found {node.what}")
            return None
        words = [n.value for n in node.value if isinstance(n.value, str) and self._is_key(n.value, n.place)]
        for inner in node.value:
            if not isinstance(inner.value, str):
                self.faults.add(inner.place, f"a key is a word; found {inner.what}")
        return tuple(dict.fromkeys(words))

    def _items(self, options: Items, name: str) -> Items:
        if name not in options:
            return {}
        node = options[name][1]
        if isinstance(node.value, dict):
            return node.value
        if node.value is not None:
            self.faults.add(node.place, f"{name!r} is a mapping; found {node.what}")
        return {}

    def _mapping_of_text(self, options: Items, name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for word, (key, node) in self._items(options, name).items():
            if not self._is_key(word, key.place):
                continue
            if isinstance(node.value, str):
                found[word] = node.value
            else:
                self.faults.add(node.place, f"{name!r} takes header cards, {{date: DATE-OBS}}; found {node.what}")
        return found

    def _is_key(self, text: str, place: Place) -> bool:
        return self._checked(check_key, text, place)

    def _checked(self, check: Callable[[object], object], value: object, place: Place) -> bool:
        try:
            check(value)
        except DataIdError as error:
            self.faults.add(place, str(error))
            return False
        return True

    def _components_of(self, options: Items, name: str) -> Items:
        """Return what an option says of components, unless they are more than anything has."""
        items = self._items(options, name)
        if len(items) > _MOST_COMPONENTS:
            self.faults.add(options[name][1].place, f"{name!r} holds more than {_MOST_COMPONENTS} components")
            return {}
        return items

    def _component_name(self, name: str, place: Place, taken: dict[str, str]) -> bool:
        """Check a component's name against those that are `taken`: what is the same in all spellings -> the name."""
        if not _WORD.match(name):
            self.faults.add(place, f"{name!r} cannot name a component; letters, digits, '_' and '-', a letter first")
            return False
        same = taken.setdefault(plain_component(name), name)
        if same != name:
            self.faults.add(place, f"{name!r} and {same!r} are one component; name it once")
            return False
        return True

    def _data_id(self, options: Items) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, (key_node, node) in self._items(options, "dataId").items():
            value = node.value
            if not self._is_key(key, key_node.place):
                continue
            if isinstance(value, bool | dict | list | None):
                hint = '; write "{visit}" with quotes' if isinstance(value, dict) else ""
                self.faults.add(node.place, f"'dataId' takes values or \"{{key}}\"; found {node.what}{hint}")
            elif isinstance(value, str) and ("{" in value or "}" in value):
                reference = _REFERENCE.match(value)
                if reference is None:
                    self.faults.add(node.place, f'{value!r}: a reference is one key in braces, "{{ref_visit}}"')
                else:
                    found[key] = f"{{{reference[1]}}}"
            else:
                found[key] = value
        return found

    def _template(self, options: Items, name: str = "template") -> Template | None:
        text = self._text(options, name)
        if text is None:
            return None
        try:
            return Template(text)
        except DefinitionError as error:
            self.faults.add(options[name][1].place, str(error))
            return None
