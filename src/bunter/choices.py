"""Options that are one of a few words."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ParameterError
from .words import did_you_mean, listing, shown


def check_choice(word: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ParameterError` if an option is not one of its choices."""
    if not isinstance(value, str) or value not in choices:
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise ParameterError(f"{word}={shown(value)}{near}; it is one of: {listing(choices)}")
