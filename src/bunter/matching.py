"""Paths read by templates at a glance: where a path has one reading at most, none is searched for.

The general search (`bunter.templates`) follows every way in which the fields may share a path. A regular expression
finds the first of them by itself: with fields as long as they go, and, if that leaves a choice, once more with fields
as short as they go. These are the two ends of all the ways there are, so that there is no third if they agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from .dataid import KeyValue, check_text
from .errors import DataIdError
from .values import dataclass

Kind: TypeAlias = Literal["int", "str", "float"]

_LONGEST = 200
"""Characters of what is looked at; beyond them the search, whose steps are counted, is the safer one."""
_LONGEST_USUAL = 1000
_MOST_FREE = 2
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a template: its key, its kind (None: not said), its zero-padded width and its float format."""

    key: str
    kind: Kind | None = None
    width: int = 0
    spec: str = ""


Token: TypeAlias = str | Field
Folder: TypeAlias = tuple[Token, ...]


class Unsure:
    """Says that a path may have several readings: it takes a search."""


UNSURE: Final = Unsure()


@dataclass(frozen=True, slots=True)
class Glance:
    """What reads paths that have no ``%`` in them by one template, for given kinds of its fields.

    Attributes
    ----------
    folders : int
        How many of the last names of a path are looked at.
    fields : tuple
        Key, width and whether it is an integer, of each field in order.
    long, short : re.Pattern
        With fields as long, and as short as they go; no `short` if there is no choice.
    usual : Usual or None
        For most paths.
    """

    folders: int
    fields: tuple[tuple[str, int, bool], ...]
    long: re.Pattern[str]
    short: re.Pattern[str] | None
    usual: Usual | None

    def readings(self, path: str) -> list[dict[str, KeyValue]] | Unsure:
        """Return no reading or the only one, or that this takes a search."""
        if self.usual is not None:
            values = self.usual.reading(path)
            if values is not None:
                return [values]
        start = len(path)
        for _ in range(self.folders):
            start = path.rfind("/", 0, start)
            if start < 0:
                break
        start += 1
        if len(path) - start > _LONGEST:
            return UNSURE
        found = self.long.match(path, start)
        if found is None:
            return []
        texts = found.groups()
        if self.short is not None:
            other = self.short.match(path, start)
            if other is None or other.groups() != texts:
                return UNSURE
        values = {}
        for (key, width, is_int), text in zip(self.fields, texts, strict=True):
            value: KeyValue
            if is_int:
                if (width or len(text) > 18 or text[0] == "-") and not _is_written(text, width):
                    return []
                value = int(text)
            else:
                try:
                    value = check_text(key, text)
                except DataIdError:
                    return []
            if values.setdefault(key, value) != value and key != "_":
                return []
        values.pop("_", None)
        return [values]


@dataclass(frozen=True, slots=True)
class Usual:
    """What reads the usual path, which leaves no choice: integers of up to 18 digits, all characters plain ones.

    Attributes
    ----------
    path : re.Pattern
        All of a path.
    kinds : tuple
        What makes a value of each text.
    keys : tuple of str
        Those of the fields, in order.
    has_text : bool
        Whether any of them is a string.
    again : tuple
        Places of fields of the same key.
    """

    path: re.Pattern[str]
    kinds: tuple[type[int] | type[str], ...]
    keys: tuple[str, ...]
    has_text: bool
    again: tuple[tuple[int, int], ...]

    def reading(self, path: str) -> dict[str, KeyValue] | None:
        """Return the values, None if there is more to look at."""
        found = self.path.fullmatch(path) if len(path) <= _LONGEST_USUAL else None
        if found is None or (self.has_text and not (path.isascii() and path.isprintable())):
            return None
        texts = found.groups()
        values = (
            [kind(text) for kind, text in zip(self.kinds, texts, strict=True)] if self.has_text else [*map(int, texts)]
        )
        for one, other in self.again:
            if values[one] != values[other]:
                return None
        return dict(zip(self.keys, values, strict=True))


def glance(folders: Sequence[Folder], kinds: Mapping[str, str]) -> Glance | None:
    """Return what reads paths at a glance, None for a template that is not for that.

    Parameters
    ----------
    folders : sequence of tuple
        The literals and fields of each folder or file name.
    kinds : mapping
        The kind of every field.
    """
    fields: list[tuple[str, int, bool]] = []
    long: list[str] = []
    short: list[str] = []
    plain: list[str] = []
    free = 0
    for folder in folders:
        long.append("")
        short.append("")
        plain.append("")
        for at, token in enumerate(folder):
            if isinstance(token, str):
                long[-1] += re.escape(token)
                short[-1] += re.escape(token)
                plain[-1] += re.escape(token)
                continue
            kind = kinds[token.key]
            if kind not in ("int", "str"):
                return None
            fields.append((token.key, token.width, kind == "int"))
            greedy, lazy = _spelled(token, kind, folder[at + 1 :])
            long[-1] += greedy
            short[-1] += lazy
            plain[-1] += _digits(token.width) if kind == "int" else greedy.replace("+", "{1,200}", 1)
            free += greedy != lazy
    if free > _MOST_FREE:
        return None
    patterns = [re.compile("/".join(names) + r"\Z") for names in (long, short)]
    usual = None
    keys = tuple(key for key, _, _ in fields)
    if not free and "_" not in keys:
        again = tuple((keys.index(key), at) for at, key in enumerate(keys) if keys.index(key) != at)
        types = tuple(int if is_int else str for _, _, is_int in fields)
        usual = Usual(re.compile(r"(?s:.*/)?" + "/".join(plain)), types, keys, str in types, again)
    return Glance(len(folders), tuple(fields), patterns[0], patterns[1] if free else None, usual)


def _spelled(token: Field, kind: str, rest: Folder) -> tuple[str, str]:
    """Return the expressions for a field as long, and as short as it goes: the same if there is no choice."""
    after = rest[0] if rest else ""
    if kind == "int":
        if isinstance(after, str) and not after[:1].isdecimal():
            # The digits end where they end.
            return ("(-?+[0-9]{1,25}+)",) * 2
        return "(-?[0-9]{1,25})", "(-?[0-9]{1,25}?)"
    if not rest:
        return ("([^/]++)",) * 2
    if len(rest) == 1 and isinstance(after, str):
        # It ends where what follows has to begin.
        return ("([^/]+)",) * 2
    return "([^/]+)", "([^/]+?)"


def _digits(width: int) -> str:
    """Return the expression for an integer that needs no second look."""
    if not width:
        return "([0-9]{1,18}+)"
    if width > 18:
        # None is.
        return r"(\b\B)"
    return f"((?>[1-9][0-9]{{{width},17}}|[0-9]{{{width}}}))" if width < 18 else "([0-9]{18})"


def _is_written(text: str, width: int) -> bool:
    """Tell whether digits are an integer of 64 bits as a template of that width has it."""
    negative = text[0] == "-"
    if width and (len(text) < width or (len(text) > width and text[negative] == "0")):
        return False
    if negative or len(text) > 18:
        number = int(text)
        return -_INT64 <= number < _INT64 and not (negative and number == 0)
    return True
