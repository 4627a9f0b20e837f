"""The nearest right word, and lists of what there is, for messages."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that is most like `word`, or None if none is near."""
    # difflib costs 4 ms to import and is needed only when something went wrong.
    from difflib import get_close_matches

    known = {w.lower(): w for w in words}
    found = get_close_matches(str(word).lower(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` or an empty string.

    Examples
    --------
    >>> did_you_mean("calexpp", ["calexp", "src"])
    "; did you mean 'calexp'?"
    """
    found = nearest(word, words)
    return f"; did you mean {found!r}?" if found is not None else ""


def listing(values: Iterable[object], most: int = 12) -> str:
    """Return the values as a comma-separated list that stops at `most`.

    Examples
    --------
    >>> listing(range(4), most=3)
    '0, 1, 2, ... (4 in all)'
    """
    items = [str(v) for v in values]
    if not items:
        return "none"
    if len(items) <= most:
        return ", ".join(items)
    return ", ".join(items[:most]) + f", ... ({len(items)} in all)"
