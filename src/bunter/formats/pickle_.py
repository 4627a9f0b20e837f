"""Pickle: any Python object, only when the user switched it on: reading a pickle runs whatever it says."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..errors import FormatError, TrustError
from .interface import About, Format, Layout, Source

VARIABLE = "BUNTER_PICKLE"
_PROTOCOL = 5
_allowed = False


def allow(switch: bool = True) -> None:
    """Switch pickles on in this process (or off); ``BUNTER_PICKLE=1`` does it from outside.

    Only the user may call this, and only if every repository that is opened comes from somebody trusted:
    a pickle can run any code when it is read.
    """
    global _allowed
    _allowed = bool(switch)


def _check(about: About) -> None:
    if not _allowed and os.environ.get(VARIABLE) != "1":
        raise TrustError(
            f"{about.name}: the storage Pickle is off, for reading a pickle can run any code. If you trust whoever "
            f"wrote this repository, set {VARIABLE}=1 in the environment or call bunter.formats.pickle_.allow()"
        )


class Pickle(Format):
    """Any object that can be pickled (protocol 5)."""

    name = "Pickle"
    suffix = ".pickle"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Pickle `obj`; see `Format.write`."""
        _check(about)
        if about.python is not None and not isinstance(obj, about.python):
            raise FormatError(
                f"{about.name}: the dataset type holds {about.python.__qualname__}, this is a {type(obj).__qualname__}"
            )
        try:
            data = pickle.dumps(obj, protocol=_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(f"{about.name}: a {type(obj).__qualname__} cannot be pickled: {error}") from error
        out.write(data)
        return {}

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the object; see `Format.read`."""
        _check(about)
        data = source.read_all()
        try:
            obj = pickle.loads(data)
        except Exception as error:
            # What a pickle raises is up to the classes in it.
            raise FormatError(
                f"{source.name}: expected a pickle for {about.name}: {type(error).__name__}: {error}"
            ) from error
        if about.python is not None and not isinstance(obj, about.python):
            raise FormatError(
                f"{source.name}: {about.name} holds {about.python.__qualname__}, the file a {type(obj).__qualname__}"
            )
        return obj
