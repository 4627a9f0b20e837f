"""Built-in functions of a policy that take arguments: ``join_columns(objectId, how=outer)``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import DefinitionError
from ..values import dataclass
from ..words import did_you_mean, listing

HOW = ("same", "inner", "outer")
CLASH = ("suffix", "always", "first", "error")

# Function -> its options and what they may be; an empty tuple stands for any word, given once or more often.
BUILT_IN: dict[str, dict[str, tuple[str, ...]]] = {
    "generic": {},
    "concat_rows": {"same": ()},
    "join_columns": {"how": HOW, "clash": CLASH},
}
_CALL = re.compile(r"\s*([^\W\d]\w*)\s*(?:\((.*)\))?\s*\Z", re.DOTALL)
_ARGUMENT = re.compile(r"[\w.\-]+\Z")


@dataclass(frozen=True, slots=True)
class Call:
    """A built-in function and what it is to be told.

    Attributes
    ----------
    arguments : tuple of str
        Names: key columns of ``join_columns``, keys of the members of ``concat_rows``.
    options : mapping of str to tuple of str
        Every option that was given, with its values.
    """

    name: str
    arguments: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]

    def option(self, name: str, default: str) -> str:
        """Return an option that has one value."""
        return self.options.get(name, (default,))[0]


def parse_call(text: str) -> Call | None:
    """Read ``function`` or ``function(argument, ..., option=value)``; None if it is no built-in function.

    Raises
    ------
    DefinitionError
        If the function does not take what is in the brackets.

    Examples
    --------
    >>> parse_call("join_columns(objectId, how=outer)")
    Call(name='join_columns', arguments=('objectId',), options={'how': ('outer',)})
    >>> parse_call("mysurvey.assemble") is None
    True
    """
    found = _CALL.match(text)
    if found is None or found[1] not in BUILT_IN:
        return None
    name, inside = found[1], found[2]
    known = BUILT_IN[name]
    arguments: list[str] = []
    options: dict[str, tuple[str, ...]] = {}
    for item in (inside or "").split(",") if (inside or "").strip() else ():
        word, equals, value = (piece.strip() for piece in item.partition("="))
        if not _ARGUMENT.match(value if equals else word):
            raise DefinitionError(f"{text!r}: {item.strip()!r} is neither a name nor option=value")
        if not equals:
            if name == "generic":
                raise DefinitionError(f"{text!r}: generic takes no arguments")
            if word in arguments:
                raise DefinitionError(f"{text!r} names {word!r} twice")
            arguments.append(word)
            continue
        if word not in known:
            raise DefinitionError(
                f"{text!r}: {name} has no option {word!r}{did_you_mean(word, known)}; it has: {listing(known)}"
            )
        if known[word] and value not in known[word]:
            raise DefinitionError(
                f"{text!r}: {word} is one of {listing(known[word])}; found {value!r}{did_you_mean(value, known[word])}"
            )
        if word in options and known[word]:
            raise DefinitionError(f"{text!r} says {word!r} twice")
        options[word] = (*options.get(word, ()), value)
    if "how" in options and not arguments:
        raise DefinitionError(f"{text!r}: 'how' goes with a join key; without one, rows are joined in their order")
    return Call(name, tuple(arguments), options)
