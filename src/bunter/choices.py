"""Options that are one of a few words."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ParameterError
from .words import did_you_mean, listing


def check_choice(word: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ParameterError` if an option is not one of its choices."""
    if value not in choices:
        raise ParameterError(f"{word}={value!r}{did_you_mean(str(value), choices)}; it is one of: {listing(choices)}")
