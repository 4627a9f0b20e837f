"""What was refused, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_E = TypeVar("_E", bound=BaseException)


def refusal(kind: type[_E], call: Callable[..., Any], *arguments: Any) -> _E:
    """Return the error with which a call was refused; a call that was not refused is an `AssertionError`."""
    try:
        result = call(*arguments)
    except kind as error:
        return error
    raise AssertionError(f"this was not refused with {kind.__name__}, but gave {result!r:.200}")
