"""Components that are neither pixels nor a WCS: calibrations, PSFs, backgrounds, plain values, metadata.

An object is what its ``state`` (or ``to_dict``) says: a tree of plain values, kept as JSON in one long string card,
and the arrays in it, kept as columns of a table with one row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FormatError
from ..names import snake
from .fits_binary import read_columns, table_hdu, table_of
from .fits_cards import Card, Cards, Value, holds
from .fits_file import FitsFile
from .fits_writer import JSON, KIND, OWN_CARDS, TYPE, NewHdu, header_hdu
from .interface import About

_ARRAY = "$array"
_COMPLEX = "$complex"


def extension_name(part: str) -> str:
    """Return the EXTNAME of a component.

    Examples
    --------
    >>> extension_name("photoCalib")
    'PHOTO_CALIB'
    """
    return snake(part).upper()


def dotted(cls: type) -> str:
    """Return the name under which a class is remembered; Bunter's own without the module that they live in."""
    if cls.__module__.split(".")[0] == "bunter":
        return f"bunter.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def to_json(value: Any) -> str:
    """Return JSON of printable ASCII."""
    return json.dumps(value, separators=(",", ":"), default=_not_json).replace("\x7f", "\\u007f")


def _not_json(value: Any) -> Any:
    if isinstance(value, complex):
        return {_COMPLEX: [value.real, value.imag]}
    raise TypeError(f"{type(value).__name__} is no plain value")


def from_json(cards: Cards, where: str) -> Any:
    """Return what the JSON card of a header says, None if it has none.

    Raises
    ------
    FormatError
        If it is no JSON.
    """
    text = cards.get(JSON)
    if text is None:
        return None
    try:
        return _DECODER.decode(str(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: its card {JSON} is not the JSON that Bunter writes: {error}") from error


def _complex(found: dict[str, Any]) -> Any:
    pair = found.get(_COMPLEX)
    return complex(*pair) if isinstance(pair, list) and len(found) == 1 else found


_DECODER = json.JSONDecoder(object_hook=_complex)


# --- objects -----------------------------------------------------------------------------------------------


def encode_object(value: Any, part: str, about: About) -> list[NewHdu]:
    """Return an object as one HDU.

    Raises
    ------
    FormatError
        If nothing says what it is made of.
    """
    state = getattr(value, "state", None)
    arrays: list[Any] = []
    if callable(state):
        kind, tree = "object", _without_arrays(state(), arrays)
    else:
        from .plain import to_plain

        kind = "plain"
        tree = to_plain(value, About(about.name, type(value)), "FitsPart", (str,))
    cards = [Card(KIND, kind), Card(TYPE, dotted(type(value)))]
    try:
        cards.append(Card(JSON, to_json(tree)))
    except (TypeError, ValueError) as error:
        raise FormatError(f"{about.name}: the {part} cannot be stored as FITS: {error}") from error
    name = extension_name(part)
    if not arrays:
        return [header_hdu(cards, name=name, part=part)]
    columns = [(f"A{number}", array[np.newaxis], "") for number, array in enumerate(arrays)]
    return [table_hdu(columns, cards, name=name, part=part, about=f"{about.name}: the {part}")]


def _without_arrays(tree: Any, arrays: list[Any]) -> Any:
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(tree, Mapping):
        return {str(key): _without_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_arrays(value, arrays) for value in tree]
    return tree.item() if isinstance(tree, np.generic) else tree


def decode_object(file: FitsFile, index: int, about: About) -> Any:
    """Make the object that an HDU holds.

    Raises
    ------
    FormatError
        If the HDU does not hold one, or its class refuses it.
    TrustError
        If its class is somebody's whom the user does not trust.
    """
    cards, where = file.cards(index), f"{file.name}: HDU {index}"
    tree, kind, name = from_json(cards, where), cards.text(KIND), cards.text(TYPE)
    if kind not in ("object", "plain"):
        raise FormatError(f"{about.name}: {where} was not written by Bunter as a component")
    if "." not in name or not name.isascii() or not name.isprintable():
        raise FormatError(f"{about.name}: {where} does not say what it holds: {TYPE} = {name!r}")
    cls = _class(name, about)
    if kind == "plain":
        from .plain import from_plain

        return from_plain(tree, About(about.name, cls), "FitsPart", where)
    arrays: dict[str, Any] = {}
    if file.hdus[index].kind == "table":
        table = table_of(file, index, about.name)
        arrays = read_columns(file, index, table, table.columns)
    make = getattr(cls, "from_dict", None)
    if make is None:
        raise FormatError(f"{about.name}: {where} holds a {name}, which has no from_dict to be made with")
    try:
        return make(_with_arrays(tree, arrays))
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise FormatError(f"{about.name}: {where} does not make a {name}: {error}") from error


def _with_arrays(tree: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(tree, dict):
        if tree.keys() == {_ARRAY}:
            return arrays[f"A{tree[_ARRAY]}"][0]
        return {key: _with_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value, arrays) for value in tree]
    return tree


def _class(name: str, about: About) -> Any:
    module, _, word = name.rpartition(".")
    if module == "bunter":
        from .. import exposure

        if word in exposure.__all__:
            return getattr(exposure, word)
    if module == "builtins" and word in ("str", "int", "float", "bool", "dict", "list", "NoneType"):
        return {"str": str, "int": int, "float": float, "bool": bool, "dict": dict, "list": list}.get(word)
    if about.python is not None and dotted(about.python) == name:
        return about.python
    return about.find(name)


# --- metadata ----------------------------------------------------------------------------------------------


def metadata_cards(metadata: Mapping[str, Any]) -> list[Card]:
    """Return metadata as cards; what no card holds exactly goes into the JSON card."""
    comments = getattr(metadata, "comments", {})
    cards: list[Card] = []
    rest: dict[str, Any] = {}
    for key, value in metadata.items():
        if isinstance(value, list):
            if key in ("COMMENT", "HISTORY") and all(_is_line(line) for line in value):
                cards += [Card(key, line) for line in value]
            else:
                rest[key] = value
        elif key not in OWN_CARDS and holds(key, value):
            comment = str(comments.get(key, ""))
            cards.append(Card(key, value, comment if comment.isascii() and comment.isprintable() else ""))
        else:
            rest[key] = value
    return [Card(JSON, to_json(rest)), *cards] if rest else cards


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= 72 and text.isascii() and text.isprintable() and text == text.rstrip()


def metadata_of(*headers: Cards, where: str = "header") -> Any:
    """Return the metadata that headers hold; of keywords in several, the last header counts.

    Returns
    -------
    bunter.Metadata
    """
    from ..exposure import Metadata

    metadata = Metadata()
    for cards in headers:
        seen: set[str] = set()
        lines: dict[str, list[str]] = {}
        for card in cards:
            key = card.keyword
            if key in ("COMMENT", "HISTORY"):
                lines.setdefault(key, []).append(_printable(str(card.value)))
            elif key and key not in seen and key not in OWN_CARDS and _is_keyword(key):
                seen.add(key)
                metadata[key] = _allowed(card.value)
                if card.comment and key in metadata:
                    metadata.comments[key] = _printable(card.comment)
        for key, texts in lines.items():
            metadata[key] = [*(metadata.get(key) or []), *texts]
        more = from_json(cards, where) if JSON in cards else None
        if isinstance(more, dict):
            metadata.update(more)
    return metadata


def _is_keyword(key: str) -> bool:
    return key.isascii() and key.isprintable() and "=" not in key and len(key) <= 60


def _allowed(value: Value) -> Value:
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, float | complex) and not np.isfinite(value):
        # No card can hold it and get back what it was; the text says what the file said.
        return str(value)
    return value


def _printable(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
