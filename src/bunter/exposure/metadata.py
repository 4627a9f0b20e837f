"""What is known of an exposure beyond its components: header cards, without those that would go stale."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from astropy.io.fits import Header

Value: TypeAlias = str | int | float | bool | complex | list[str] | None

_LISTS = ("COMMENT", "HISTORY")

_STRING = re.compile(r"'(?P<text>(?:[^']|'')*)'\s*(?:/\s*(?P<comment>.*?)\s*)?\Z")
_CONTINUED = re.compile(r"'(?P<text>.*?)&'\s*(?:/\s*(?P<comment>.*?)\s*)?\Z")

_WCS = re.compile(
    r"""(?:
        (?:WCSAXES|WCSNAME|RADESYS|EQUINOX|LONPOLE|LATPOLE|SPECSYS|SSYSOBS|SSYSSRC|VELOSYS|VELANGL|VELREF
           |RESTFRQ|RESTWAV|RESTFREQ|ZSOURCE)[A-Z]?
      | RADECSYS | WCSDIM | EPOCH | DC-FLAG | AXISCORR | (?:CP|CQ)ERR\d+ | D2IM\w+ | TIMEPIXR
      | (?:CTYPE|CUNIT|CNAME|CRVAL|CRPIX|CDELT|CROTA|CRDER|CSYER|CZPHS|CPERI)\d+[A-Z]?
      | (?:PC|CD|PV|PS)\d+_\d+[A-Z]? | (?:PC|CD)\d{6}
      | [AB]P?_(?:ORDER|DMAX|\d+_\d+)
      | (?:CPDIS|CQDIS)\d+[A-Z]? | (?:CPERR|CQERR|DVERR)\d*[A-Z]? | D[PQ]\d+[A-Z]?(?:\..*)?
      | LTV\d+ | LTM\d+_\d+ | WAT\d+_\d+ | AMD[XY]\d+ | PLTRA[HMS] | PLTDEC(?:SN|[DMS]) | PPO\d | CNPIX\d | PLTSCALE
      | T(?:CTYP|CUNI|CRVL|CRPX|CDLT|CROT)\d+[A-Z]? | T[PCVS]\d+_\d+[A-Z]?
    )\Z""",
    re.VERBOSE,
)
_STRUCTURE = re.compile(
    r"""(?:
        SIMPLE | XTENSION | BITPIX | NAXIS\d* | EXTEND | INHERIT | PCOUNT | GCOUNT | GROUPS | BSCALE | BZERO | BLANK
      | EXTNAME | EXTVER | EXTLEVEL | CHECKSUM | DATASUM | LONGSTRN | CONTINUE | END | THEAP | TFIELDS
      | T(?:TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL)\d+
      | Z(?:IMAGE|TABLE|SIMPLE|TENSION|EXTEND|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|MASKCMP|QUANTIZ|DITHER0
           |SCALE|ZERO|BLANK|PCOUNT|GCOUNT|HECKSUM|DATASUM|FORM\d+|CTYP\d+|TILELEN|BLOCKED|THEAP|EXTNAME|LABEL)
    )?\Z""",
    re.VERBOSE,
)
_ZERO_POINT = re.compile(
    r"""(?:
        MAGZ(?:ERO|PT|P|UNC|RR|PUNC|PRMS|EROP) | ZEROP(?:T|NT|OIN) | ZP | ZPT[A-D]? | (?:MAG)?ZP_?AB | AB(?:MAG)?ZP
      | PHOTZP(?:T|ER)? | PHOT(?:FLAM|FNU|MJSR|UJA2|JANS|_C) | FLUXMAG0(?:ERR)? | NMGY(?:IVAR)? | CALIB(?:MEAN|ERR)
    )\Z""",
    re.VERBOSE,
)


class Metadata(dict[str, Value]):
    """Header cards by keyword: a dict with case-insensitive, upper-case keys.

    Cards that state the WCS, the structure of a file or the photometric zero point are dropped whenever they are set:
    they belong to other components, and a copy here would go stale. ``COMMENT`` and ``HISTORY`` are lists of strings.

    Parameters
    ----------
    cards : mapping or astropy.io.fits.Header, optional
        Values: str, int, float, bool, complex, None (a card without a value). Of keywords that repeat, the first.

    Attributes
    ----------
    comments : dict of str to str
        The comments of cards; they do not count for equality.

    Raises
    ------
    TypeError, ValueError
        If a key or value cannot be a header card.

    Examples
    --------
    >>> metadata = Metadata({"object": "M 31", "CRVAL1": 10.7})
    >>> metadata
    {'OBJECT': 'M 31'}
    >>> metadata["Object"]
    'M 31'
    """

    comments: dict[str, str]

    def __init__(self, cards: Mapping[str, Any] | Header | None = None) -> None:
        super().__init__()
        self.comments = {}
        if cards is not None:
            self.update(cards)

    @staticmethod
    def keeps(key: str) -> bool:
        """Tell whether a card of that keyword is kept, or dropped because it belongs to another component.

        Examples
        --------
        >>> Metadata.keeps("OBJECT"), Metadata.keeps("CD1_1"), Metadata.keeps("magzero")
        (True, False, False)
        """
        word = key.strip().upper()
        return not (_WCS.match(word) or _STRUCTURE.match(word) or _ZERO_POINT.match(word))

    def __setitem__(self, key: str, value: Any) -> None:
        word = _keyword(key)
        if self.keeps(word):
            super().__setitem__(word, _value(word, value))

    def __getitem__(self, key: str) -> Value:
        return super().__getitem__(_upper(key))

    def __delitem__(self, key: str) -> None:
        super().__delitem__(_upper(key))
        self.comments.pop(_upper(key), None)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(_upper(key))

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or `default` if there is none."""
        return super().get(_upper(key), default)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a card and return its value, or `default` if there is none."""
        self.comments.pop(_upper(key), None)
        return super().pop(_upper(key), *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return a value, after setting it to `default` if there was none."""
        if key not in self:
            self[key] = default
        return self.get(key)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set cards of a mapping, a header, another Metadata (with comments) or pairs."""
        for key, value, comment in _cards(other):
            self[key] = value
            word = _upper(key)
            if word in self:
                if comment:
                    self.comments[word] = comment
                else:
                    self.comments.pop(word, None)
        for key, value in more.items():
            self[key] = value

    def clear(self) -> None:
        """Remove all cards."""
        super().clear()
        self.comments.clear()

    def popitem(self) -> tuple[str, Value]:
        """Remove the last card and return its keyword and value."""
        key, value = super().popitem()
        self.comments.pop(key, None)
        return key, value

    def copy(self) -> Metadata:
        """Return a copy."""
        return Metadata(self)

    @classmethod
    def fromkeys(cls, keys: Iterable[str], value: Any = None) -> Metadata:  # type: ignore[override]
        """Make metadata with one value for all keys."""
        return cls(dict.fromkeys(keys, value))

    def __or__(self, other: Any) -> Metadata:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        merged = self.copy()
        merged.update(other)
        return merged

    def __ior__(self, other: Any) -> Metadata:  # type: ignore[override]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (dict(self), self.comments)

    def to_header(self) -> Header:
        """Return the cards as an `astropy.io.fits.Header`; every float reads back exactly.

        Raises
        ------
        ValueError
            If a comment or a line of COMMENT or HISTORY is not printable ASCII, or a card is too long.
        """
        from astropy.io.fits import Card, Header

        header = Header()
        for key, value in self.items():
            if isinstance(value, list):
                for line in value:
                    header.add_comment(_text(key, line)) if key == "COMMENT" else header.add_history(_text(key, line))
                continue
            comment = _text(f"the comment of {key}", self.comments.get(key, ""))
            standard = len(key) <= 8 and re.fullmatch(r"[A-Z0-9_-]+", key) is not None
            card = Card(key if standard else f"HIERARCH {key}", value, comment)
            exact = card if not isinstance(value, float | complex) else _exact(key, value, comment, standard, card)
            try:
                str(exact)
            except ValueError as error:
                raise ValueError(f"metadata: {key} does not fit into a header card: {error}") from error
            header.append(exact, end=True)
        return header


def _exact(key: str, value: float | complex, comment: str, standard: bool, card: Any) -> Any:
    """Return a card whose number reads back exactly; astropy keeps to 20 characters and may round."""
    from astropy.io.fits import Card

    if Card.fromstring(str(card)).value == value:
        return card
    if isinstance(value, complex):
        text = f"({value.real!r}, {value.imag!r})".upper()
    else:
        text = repr(value).upper()
    start = f"{key:8}= " if standard else f"HIERARCH {key} = "
    return Card.fromstring(f"{start}{text:>20}{f' / {comment}' if comment else ''}"[:80])


def _restored(cards: dict[str, Any], comments: dict[str, str]) -> Metadata:
    metadata = Metadata(cards)
    metadata.comments = comments
    return metadata


def _upper(key: str) -> str:
    return key.strip().upper() if isinstance(key, str) else key


def _keyword(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"metadata: a keyword is a string, not {key!r:.60}")
    word = key.strip().upper()
    if word.startswith("HIERARCH "):
        word = word[9:].strip()
    if not (word.isascii() and word.isprintable()) or "=" in word or len(word) > 60:
        raise ValueError(f"metadata: {key!r:.80} is not a keyword: at most 60 printable ASCII characters without '='")
    return word


def _value(key: str, value: Any) -> Value:
    if isinstance(value, np.generic):
        value = value.item()
    if key in _LISTS:
        lines = [value] if isinstance(value, str) else list(value)
        return [_text(key, line) for line in lines]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Blanks at the end of a string do not count in FITS.
        return _text(key, value).rstrip(" ")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | complex):
        number = complex(value)
        if not (math.isfinite(number.real) and math.isfinite(number.imag)):
            raise ValueError(f"metadata: {key}={value}: a header card cannot hold it; use None")
        return value if type(value) in (float, complex) else float(value)  # type: ignore[arg-type]
    raise TypeError(f"metadata: {key} must be a str, int, float, bool, complex or None, not {type(value).__name__}")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"metadata: {key} takes strings, not {value!r:.60}")
    if not (value.isascii() and (value.isprintable() or not value)):
        raise ValueError(f"metadata: {key}: a header card holds printable ASCII only, not {value!r:.80}")
    return str(value)


def _cards(source: Any) -> Iterator[tuple[str, Any, str]]:
    if isinstance(source, Metadata):
        for key, value in source.items():
            yield key, list(value) if isinstance(value, list) else value, source.comments.get(key, "")
    elif hasattr(source, "cards"):
        yield from _header_cards(source)
    elif isinstance(source, Mapping):
        for key, value in source.items():
            yield key, value, ""
    else:
        try:
            pairs = [(key, value) for key, value in source]
        except (TypeError, ValueError):
            raise TypeError(f"metadata: a mapping or a Header is needed, not {type(source).__name__}") from None
        for key, value in pairs:
            yield key, value, ""


def _header_cards(header: Any) -> Iterator[tuple[str, Any, str]]:
    from astropy.io.fits.card import Undefined

    lists: dict[str, list[str]] = {}
    seen: set[str] = set()
    for card in header.cards:
        key = card.keyword
        if key in _LISTS:
            lists.setdefault(key, []).append(str(card.value))
        elif key and key not in seen and Metadata.keeps(key):
            seen.add(key)
            value, comment = card.value, card.comment
            if isinstance(value, str) and "''" in card.image and "/" in card.image:
                value, comment = _quoted(card.image) or (value, comment)
            yield key, None if isinstance(value, Undefined) else value, comment
    for key, lines in lists.items():
        yield key, lines, ""


def _quoted(image: str) -> tuple[str, str] | None:
    """Return string and comment of a card and its CONTINUE cards (FITS 4.0, 4.2.1), or None if it is no such card.

    astropy ends a string at a quote that a slash follows, also where the quote is doubled and belongs to the string;
    its own long strings may have the two halves of a doubled quote in two cards.
    """
    raw, comments, last = "'", [], len(image) - 80
    for start in range(0, len(image), 80):
        line = image[start : start + 80]
        line = (line[10:] if start else line.partition("=")[2]).lstrip(" ")
        found = _CONTINUED.match(line)
        if start < last and found:
            raw += found["text"]
            comments.append(found["comment"] or "")
        elif start < last or not line.startswith("'"):
            return None
        else:
            raw += line[1:]
    found = _STRING.match(raw)
    if found is None:
        return None
    comments.append(found["comment"] or "")
    return found["text"].replace("''", "'").rstrip(" "), " ".join(comment for comment in comments if comment)
