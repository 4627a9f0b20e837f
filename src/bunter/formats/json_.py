"""Json: plain values, dataclasses and classes with ``to_dict`` and ``from_dict``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..errors import FormatError
from .interface import About, Format, Layout, Source
from .plain import from_plain, to_plain

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Json(Format):
    """One JSON value a file.

    Held as they are: None, bool, int, float, str, list, dict with str keys (in their order), dataclasses and
    classes with ``to_dict`` and ``from_dict``; the dataset type's ``python`` names the class. Nested dataclasses
    and tuples come back if the fields are annotated so. Numpy scalars are stored as Python numbers. NaN and
    the infinities are written as ``NaN`` and ``Infinity``, as Python, JavaScript's JSON5 and astropy understand
    them, though strict JSON readers do not. Everything that would come back as something else (a tuple as a
    list, an int key as a str) is a `FormatError`.
    """

    name = "Json"
    suffix = ".json"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write `obj` as one line of UTF-8; see `Format.write`."""
        plain = to_plain(obj, about, self.name, (str,))
        try:
            data = _encode(plain).encode()
        except UnicodeEncodeError:
            # Lone surrogates have no UTF-8; JSON's own escapes hold them.
            data = json.dumps(plain, separators=(",", ":")).encode()
        except ValueError as error:
            raise FormatError(f"{about.name}: Json cannot hold it: {error}") from error
        out.write(data + b"\n")
        return {}

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the value; see `Format.read`."""
        data = bytes(source.read_all())
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{source.name}: expected one JSON value for {about.name}: {error}") from error
        if about.python is None or type(value) is about.python:
            return value
        return from_plain(value, about, self.name, source.name)
