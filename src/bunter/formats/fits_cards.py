"""Header cards: bytes to keywords and values, and back with every float exact. No astropy, no numpy.

Reading takes headers as they are in the wild: a card that breaks the rules gives its text, never an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

Value: TypeAlias = str | int | float | bool | complex | None

CARD = 80
BLOCK = 2880
COMMENTARY = ("COMMENT", "HISTORY", "")
_NONE: Any = object()
_END = "END".ljust(CARD)

_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}\Z")
_LONG_KEYWORD = re.compile(r"[!-<>-~]+(?: [!-<>-~]+)*\Z")
# What nearly all cards are like; any other way to spell a value is read by way of what follows.
_PLAIN = re.compile(r"= *(?:'([^'&]*)'|([+-]?\d+(\.\d*(?:E[+-]?\d+)?)?)|([TF])) *(?:/|\Z)")
_STRING = re.compile(r"'((?:[^']|'')*)'?\s*(?:/\s*(.*))?")
_INTEGER = re.compile(r"[+-]?\d+\Z")
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?\Z")
_COMPLEX = re.compile(r"\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)\Z")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf(?:inity)?)\Z", re.IGNORECASE)


class Card(NamedTuple):
    """One header card; commentary cards have their text as value."""

    keyword: str
    value: Value
    comment: str = ""


class Cards:
    """The cards of one header, in order; of a keyword that repeats, the first counts.

    Examples
    --------
    >>> cards = Cards([Card("NAXIS", 0), Card("OBJECT", "M 31", "target")])
    >>> cards["naxis"], cards.get("OBJECT"), cards.get("FILTER", "none")
    (0, 'M 31', 'none')
    """

    __slots__ = ("_cards", "_starts", "_text", "_values")

    def __init__(self, cards: Iterable[Card]) -> None:
        self._fill(list(cards))

    def _fill(self, cards: list[Card]) -> None:
        self._text = ""
        self._starts: dict[str, int] = {}
        self._values: dict[str, Value] = {}
        self._cards: list[Card] | None = cards
        for card in cards:
            if card.keyword not in COMMENTARY:
                self._values.setdefault(card.keyword, card.value)

    @classmethod
    def of(cls, text: str) -> Cards:
        """Return the cards of a header's text, up to the END card; each is read when it is asked for."""
        starts = _starts(text)
        if starts is None:
            return cls(_all_cards(text))
        made = cls.__new__(cls)
        made._text, made._starts, made._values, made._cards = text, starts, {}, None
        return made

    @property
    def cards(self) -> list[Card]:
        """All of them."""
        if self._cards is None:
            self._fill(_all_cards(self._text))
        assert self._cards is not None
        return self._cards

    def __iter__(self) -> Iterator[Card]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and self.get(keyword, _NONE) is not _NONE

    def __getitem__(self, keyword: str) -> Value:
        value = self.get(keyword, _NONE)
        if value is _NONE:
            raise KeyError(keyword)
        return value

    def get(self, keyword: str, default: Value = None) -> Value:
        """Return the value of the first card of that keyword, or `default`."""
        keyword = keyword.upper()
        if keyword in self._values:
            return self._values[keyword]
        start = self._starts.get(keyword)
        if start is None:
            return default
        if start < 0:
            self._fill(_all_cards(self._text))
            return self._values.get(keyword, default)
        value = self._values[keyword] = _value_at(self._text, keyword, start)
        return value

    def keywords(self) -> list[str]:
        """Return the keywords that have values, each once."""
        if "CONTINUE" in self._starts:
            # Only all of them together tell whether one of these stands for itself.
            self._fill(_all_cards(self._text))
        return list(self._starts or self._values)

    def items(self) -> list[tuple[str, Value]]:
        """Return the keywords that have values, each once, and the values."""
        if self._cards is not None or "CONTINUE" in self._starts:
            return [(keyword, self._values[keyword]) for keyword in self.keywords()]
        return [(keyword, _value_at(self._text, keyword, start)) for keyword, start in self._starts.items()]

    def integer(self, keyword: str, default: int | None = None) -> int | None:
        """Return a value if it is a whole number, else `default`."""
        value = self.get(keyword)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return default
        return int(value) if value == value and float(value).is_integer() else default

    def number(self, keyword: str, default: float) -> float:
        """Return a value if it is a number, else `default`."""
        value = self.get(keyword)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return default
        return value

    def text(self, keyword: str, default: str = "") -> str:
        """Return a value as text, without blanks around it."""
        value = self.get(keyword)
        return default if value is None else str(value).strip()

    def lines(self, keyword: str) -> list[str]:
        """Return the texts of the commentary cards of that keyword."""
        return [str(card.value) for card in self.cards if card.keyword == keyword]


def parse(header: bytes | bytearray | memoryview) -> Cards:
    """Read header bytes, up to the END card.

    Examples
    --------
    >>> text = "EXPTIME =                 30.0 / [s] exposure".ljust(80) + "HIERARCH ESO DET ID = 'a''b '"
    >>> [tuple(card) for card in parse(text.encode())]
    [('EXPTIME', 30.0, '[s] exposure'), ('ESO DET ID', "a'b", '')]
    """
    return Cards.of(str(header, "latin-1"))


def _starts(text: str) -> dict[str, int] | None:
    """Return where the first card of each keyword begins, -1 for CONTINUE; None if only reading them all tells."""
    found = text.find(_END)
    stop = found if found > 0 and found % CARD == 0 else len(text)
    keywords = [text[start : start + 8].rstrip(" \0") for start in range(0, stop, CARD)]
    if "END" in keywords:
        end = keywords.index("END")
        if text[end * CARD + 8 : (end + 1) * CARD].strip(" \0"):
            return None
        del keywords[end:]
    starts = dict(zip(keywords, range(0, len(text), CARD), strict=False))
    if len(starts) < len(keywords):
        for at in range(len(keywords) - 1, -1, -1):
            starts[keywords[at]] = at * CARD
    for keyword in COMMENTARY:
        starts.pop(keyword, None)
    if "CONTINUE" in starts:
        starts["CONTINUE"] = -1
    names = "".join(starts)
    return None if "HIERARCH" in starts or names != names.upper() else starts


def _all_cards(text: str) -> list[Card]:
    cards: list[Card] = []
    start = 0
    while start < len(text):
        keyword = text[start : start + 8].rstrip(" \0").upper()
        if keyword == "END" and not text[start + 8 : start + CARD].strip(" \0"):
            break
        card, start = _card_at(text, keyword, start)
        if card is not None:
            cards.append(card)
    return cards


def _value_at(text: str, keyword: str, start: int) -> Value:
    plain = _PLAIN.match(text, start + 8, start + CARD)
    if plain is None:
        card, _ = _card_at(text, keyword, start)
        return card.value if card is not None else None
    string, number, fraction, truth = plain.groups()
    if number is not None:
        return int(number) if fraction is None else float(number)
    return truth == "T" if string is None else string.rstrip(" ")


def _card_at(text: str, keyword: str, start: int) -> tuple[Card | None, int]:
    """Return a card with the CONTINUE cards that belong to it, and where the next one begins."""
    end = start + CARD
    card = _card(keyword, text[start:end])
    if card is None or not isinstance(card.value, str) or not card.value.endswith("&") or card.keyword in COMMENTARY:
        return card, end
    pieces, comments = [card.value], [card.comment]
    while pieces[-1].endswith("&") and text[end : end + 8].rstrip(" \0").upper() == "CONTINUE":
        more, note = _string(text[end + 8 : end + CARD].strip())
        pieces[-1] = pieces[-1][:-1]
        pieces.append(more)
        comments.append(note)
        end += CARD
    return Card(card.keyword, "".join(pieces), " ".join(filter(None, comments))), end


def _card(keyword: str, raw: str) -> Card | None:
    if keyword == "HIERARCH" and "=" in raw:
        name, _, field = raw[8:].partition("=")
        return Card(" ".join(name.upper().split()), *_value(field))
    if raw[8:9] == "=" and keyword not in COMMENTARY:
        return Card(keyword, *_value(raw[9:]))
    text = raw[8:].rstrip(" \0")
    if not keyword and not text:
        return None
    return Card(keyword, text) if keyword in COMMENTARY else Card(keyword, text.strip() or None)


def _value(field: str) -> tuple[Value, str]:
    text = field.strip(" \0")
    if text[:1] == "'":
        return _string(text)
    word, _, comment = text.partition("/")
    word, comment = word.strip(), comment.strip()
    if word in ("T", "F"):
        return word == "T", comment
    if not word:
        return None, comment
    if _INTEGER.match(word):
        return int(word), comment
    number = _real(word)
    if number is not None:
        return number, comment
    pair = _COMPLEX.match(word)
    if pair:
        real, imaginary = _real(pair[1]), _real(pair[2])
        if real is not None and imaginary is not None:
            return complex(real, imaginary), comment
    return word, comment


def _real(word: str) -> float | None:
    if _REAL.match(word):
        return float(word.upper().replace("D", "E"))
    # Not allowed in FITS, and found all the same.
    return float(word) if _NOT_FINITE.match(word) else None


def _string(text: str) -> tuple[str, str]:
    match = _STRING.match(text)
    if match is None:
        return text, ""
    return match[1].replace("''", "'").rstrip(" "), (match[2] or "").strip()


def format_cards(cards: Iterable[Card]) -> bytes:
    """Return header bytes: the cards, END, and blanks to a whole number of blocks.

    Raises
    ------
    ValueError
        If a card cannot be written; see `holds`.
    """
    text = "".join(format_card(card) for card in cards) + "END".ljust(CARD)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def format_card(card: Card) -> str:
    """Return one card as text of a multiple of 80 characters; floats are written so that they read back exactly.

    Raises
    ------
    ValueError
        If FITS has no way to write it: not printable ASCII, not finite, too long.

    Examples
    --------
    >>> format_card(Card("CRVAL1", 10.684708333333333, "[deg]")).rstrip()
    'CRVAL1  =   10.684708333333333 / [deg]'
    """
    keyword, value, comment = card
    if keyword in COMMENTARY:
        text = _ascii(str(value))
        if len(text) > CARD - 8:
            raise ValueError(f"a line of {keyword} has at most {CARD - 8} characters")
        return f"{keyword:8}{text}".ljust(CARD)
    if _KEYWORD.match(keyword):
        head = f"{keyword:8}= "
    elif _LONG_KEYWORD.match(keyword) and keyword == keyword.upper():
        head = f"HIERARCH {keyword} = "
    else:
        raise ValueError(f"{keyword!r} is no keyword")
    if isinstance(value, str):
        return _string_cards(keyword, head, value, comment)
    word = _word(value)
    if len(head) == 10:
        word = word.rjust(20)
    if len(head) + len(word) > CARD:
        raise ValueError(f"the card {keyword} is too long")
    return _with_comment(head + word, comment)


def _with_comment(text: str, comment: str) -> str:
    # A comment that does not fit is cut short, as everybody does.
    if comment and len(text) + 4 <= CARD:
        text = f"{text} / {_ascii(comment)}"[:CARD]
    return text.ljust(CARD)


def _word(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, complex):
        return f"({_float(value.real)}, {_float(value.imag)})"
    if isinstance(value, float):
        return _float(value)
    raise ValueError(f"a card cannot hold a {type(value).__name__}")


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"a card cannot hold {value}")
    mantissa, exponent, power = repr(float(value)).upper().partition("E")
    if "." not in mantissa:
        mantissa += ".0"
    return mantissa + exponent + power


def _ascii(text: str) -> str:
    if text and not (text.isascii() and text.isprintable()):
        raise ValueError(f"a card holds printable ASCII only, not {text!r:.60}")
    return text


def _string_cards(keyword: str, head: str, value: str, comment: str) -> str:
    text = _ascii(value).replace("'", "''")
    room = CARD - len(head) - 2
    if room < 8:
        raise ValueError(f"the keyword {keyword} is too long")
    # A string that ends in '&' is continued, lest what follows be taken for its continuation.
    if len(text) <= room and not text.endswith("&"):
        quoted = f"'{text:8}'"
        if len(head) == 10:
            quoted = quoted.ljust(20)
        return _with_comment((head + quoted)[:CARD], comment)
    lines = []
    while True:
        last = len(text) <= room and not text.endswith("&")
        cut = len(text) if last else min(room - 1, len(text))
        # Two quotes stand for one and stay together; a blank at the end of a piece might get lost.
        while not last and cut > 1 and ((len(text[:cut]) - len(text[:cut].rstrip("'"))) % 2 or text[cut - 1] == " "):
            cut -= 1
        lines.append(f"{head}'{text[:cut]}{'' if last else '&'}'".ljust(CARD))
        if last:
            break
        text, head, room = text[cut:], "CONTINUE  ", CARD - 12
    return "".join(lines)


def holds(keyword: str, value: Value) -> bool:
    """Tell whether a card reads back as what was written.

    Examples
    --------
    >>> holds("OBJECT", "M 31"), holds("OBJECT", "M 31 "), holds("SEEING", float("nan"))
    (True, False, False)
    """
    try:
        (card,) = _all_cards(format_card(Card(keyword, value)))
    except ValueError:
        return False
    return card.keyword == keyword and type(card.value) is type(value) and card.value == value
