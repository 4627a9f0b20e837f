"""The nearest right word, and lists of what there is, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_LONGEST_WORD = 200
_MOST_WORDS = 2000


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that is most like `word`, or None if none is near."""
    # difflib costs 4 ms to import and is needed only when something went wrong.
    from difflib import get_close_matches

    asked = str(word).lower()
    if len(asked) > _LONGEST_WORD:
        # Nobody means a word by that, and the comparison takes the square of its length.
        return None
    known = {w.lower(): w for w in islice(words, _MOST_WORDS) if len(w) <= _LONGEST_WORD}
    found = get_close_matches(asked, known, n=1, cutoff=0.6)
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


def shown(value: object, most: int = 80) -> str:
    """Return any object as text for a message, cut short; what cannot show itself is named by its type.

    Examples
    --------
    >>> shown("N3"), shown(["x"] * 1000, 20), shown(10**5000)
    ("'N3'", "['x', 'x', 'x', 'x',...", 'an int of 16610 bits')
    """
    import reprlib

    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = 20
    try:
        if isinstance(value, int) and value.bit_length() > 1000:
            return f"an int of {value.bit_length()} bits"
        text = short.repr(value)
    except Exception:
        # Whatever its methods do, it is the message about it that matters.
        return f"a {type(value).__name__}"
    return text if len(text) <= most + 20 else text[:most] + "..."
