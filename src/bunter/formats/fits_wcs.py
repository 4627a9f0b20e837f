"""A WCS as FITS header cards, with the extra HDUs that distortion tables and -TAB coordinates need."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import FormatError
from .fits_binary import table_hdu
from .fits_cards import BLOCK, Card, Cards, format_cards, parse
from .fits_file import EMPTY_PRIMARY, FitsFile, hdu_ranges, quiet, recorded
from .fits_format import FitsFormat
from .fits_writer import KIND, PIXELS, STAMP, NewHdu, header_hdu, image_hdu, same_as_stored, stamp, write
from .interface import About, Layout, Range, Source

_TABLES = re.compile(r"(?:CPDIS|CQDIS|D2IMDIS)\d+[A-Z]?\Z")
_STARTS = re.compile(r"(?:CTYPE|CRVAL|CRPIX)\d+([A-Z]?)\Z")
_STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", "")
_TAKEN = ("PRIMARY", "IMAGE", "MASK", "VARIANCE", "WCS", "PSF", "BACKGROUND", "PHOTO_CALIB", "VISIT_INFO")


class FitsWcs(FitsFormat):
    """An `astropy.wcs.WCS` in the header of an otherwise empty FITS file.

    Every number reads back exactly. Look-up tables (``CPDIS``, ``D2IMDIS``) and ``-TAB`` coordinates follow in
    extensions. Foreign files are read too: the first HDU whose header has a WCS.
    """

    name = "FitsWcs"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a WCS; see `Format.write`."""
        return write(self._hdus(obj, about), out, about.name)

    def _hdus(self, obj: Any, about: About) -> list[NewHdu]:
        cards, tables = wcs_cards(obj, about.name)
        return [stamp(self.name, *cards, *_pixels(obj)), *tables]

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read a WCS; see `Format.read`."""
        self.check_parameters(parameters, (), about)
        file = FitsFile(source)
        for index in range(len(file.hdus)):
            wcs = read_wcs(file, index)
            if wcs is not None:
                return wcs
        raise FormatError(f"{about.name}: no header of {file.name} has a WCS")

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of the whole file's HDUs."""
        hdus = recorded(layout)
        return None if hdus is None else hdu_ranges(hdus)

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Compare the bytes that would be written with the recorded checksums."""
        hdus = recorded(layout)
        if hdus is None or part or obj is None:
            return None
        return same_as_stored(lambda: self._hdus(obj, about), hdus)


# --- writing -----------------------------------------------------------------------------------------------


def wcs_cards(wcs: Any, about: str) -> tuple[list[Card], list[NewHdu]]:
    """Return a WCS as cards, every number exact, and the HDUs of its tables.

    Raises
    ------
    FormatError
        If it is no WCS, states no valid one, or has -TAB index vectors (astropy gives no access to them).
    """
    from astropy.wcs import WCS, WcsError
    from astropy.wcs.wcs import WCSHDO_P17, WCSHDO_all

    from ..exposure.wcs import parameters

    if not isinstance(wcs, WCS):
        raise FormatError(f"{about}: an astropy.wcs.WCS is needed, not a {type(wcs).__name__}")
    # Of a copy, because working out a header works out derived values in place.
    own = wcs.deepcopy()
    inner = parameters(own)
    try:
        with quiet():
            text = inner.to_header(WCSHDO_all | WCSHDO_P17)
            extra = own.to_fits(relax=True)
    except (WcsError, ValueError, TypeError) as error:
        raise FormatError(f"{about}: astropy cannot write this WCS as a header: {error}") from error
    cards = [card for card in parse(text.encode("ascii")) if card.keyword not in _STRUCTURE]
    known = {card.keyword for card in cards}
    cards = _with_matrix(cards, inner)
    for card in extra[0].header.cards:
        keyword = card.rawkeyword
        if keyword not in known and keyword not in _STRUCTURE:
            # Numbers of distortion tables are stated as text, 'NAXES: 2'.
            cards.append(Card(keyword, _value(card.rawvalue), str(card.comment or "")))
    tables = [_table_of(hdu) for hdu in extra[1:]]
    return _with_tabs(cards, inner, tables, about), tables


def _value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _with_matrix(cards: list[Card], inner: Any) -> list[Card]:
    """Write a CD matrix as such: as a header says it, astropy would turn it into PC and CDELT = 1."""
    if not inner.has_cd():
        return cards
    alt = inner.alt.strip()
    matrix = re.compile(rf"(?:PC\d+_\d+|CDELT\d+){alt}\Z")
    at = next((i for i, card in enumerate(cards) if matrix.match(card.keyword)), len(cards))
    elements = [
        Card(f"CD{i}_{j}{alt}", float(value), "Coordinate transformation matrix element")
        for i, row in enumerate(inner.cd, 1)
        for j, value in enumerate(row, 1)
    ]
    rest = [card for card in cards[at:] if not matrix.match(card.keyword)]
    return [*cards[:at], *elements, *rest]


def _table_of(hdu: Any) -> NewHdu:
    header = hdu.header
    cards = [
        Card(key, float(header[key])) for key in header if re.fullmatch(r"(?:CRPIX|CRVAL|CDELT)\d", key) is not None
    ]
    version = int(header.get("EXTVER", 1))
    made = image_hdu(np.asarray(hdu.data), [Card("EXTVER", version), *cards], name=hdu.name)
    return NewHdu(made.cards, made.data, made.kind, made.name, made.part, version)


def _with_tabs(cards: list[Card], inner: Any, tables: list[NewHdu], about: str) -> list[Card]:
    strings = {(i, m): value for i, m, value in inner.get_ps()}
    numbers = {(i, m): value for i, m, value in inner.get_pv()}
    renamed: dict[int, str] = {}
    for tab in inner.tab:
        axes = [int(axis) + 1 for axis in tab.map]
        first = axes[0]
        if any(strings.get((axis, 2)) for axis in axes):
            raise FormatError(
                f"{about}: this WCS has -TAB coordinates with index vectors, which astropy does not hand out, so they "
                "cannot be written; keep the file that it was read from (storage Fits, read: wcs)"
            )
        name = strings.get((first, 0), "")
        if name.upper() in _TAKEN or not name:
            name = f"WCSTAB{len(tables)}"
            renamed.update(dict.fromkeys(axes, name))
        version, level = (int(numbers.get((first, m), 1)) for m in (1, 2))
        column = strings.get((first, 1)) or "coordinates"
        more = [Card("EXTVER", version), Card("EXTLEVEL", level)]
        made = table_hdu([(column, np.asarray(tab.coord)[np.newaxis], "")], more, name=name)
        tables.append(NewHdu(made.cards, made.data, made.kind, name, made.part, version))
    return [_renamed(card, renamed) for card in cards]


def _renamed(card: Card, renamed: Mapping[int, str]) -> Card:
    match = re.fullmatch(r"PS(\d+)_0[A-Z]?", card.keyword)
    return card._replace(value=renamed[int(match[1])]) if match and int(match[1]) in renamed else card


def _pixels(wcs: Any) -> list[Card]:
    shape = wcs.pixel_shape
    if shape is None or any(n is None for n in shape):
        return []
    return [Card(PIXELS, json.dumps([int(n) for n in shape]), "pixel_shape")]


def wcs_hdus(wcs: Any, part: str, name: str, about: str) -> list[NewHdu]:
    """Return a WCS as an HDU without data, and those of its tables."""
    cards, tables = wcs_cards(wcs, about)
    first = header_hdu([Card(KIND, "wcs"), *cards, *_pixels(wcs)], name=name, part=part)
    return [first, *(NewHdu(t.cards, t.data, t.kind, t.name, part, t.version) for t in tables)]


# --- reading -----------------------------------------------------------------------------------------------


def read_wcs(file: FitsFile, index: int) -> Any:
    """Make the WCS that a header states, None if it states none.

    Raises
    ------
    FormatError
        If astropy refuses it.
    """
    cards = file.cards(index)
    key = ""
    if "CTYPE1" not in cards:
        alternatives = {match[1] for keyword in cards.keywords() if (match := _STARTS.match(keyword))}
        if not alternatives:
            return None
        key = min(alternatives)
    own = STAMP in cards or KIND in cards
    wcs = _quick(cards) if own else None
    if wcs is None:
        wcs = _by_astropy(file, index, key or " ", own)
    pixels = cards.get(PIXELS)
    if pixels is not None:
        try:
            wcs.pixel_shape = [int(n) for n in json.loads(str(pixels))]
        except (TypeError, ValueError) as error:
            raise FormatError(f"{file.name}: HDU {index}: {PIXELS} = {pixels!r:.60} is no shape: {error}") from error
    return wcs


def _quick(cards: Cards) -> Any:
    try:
        return _simple(cards)
    except Exception:
        # A damaged header: astropy's own reading says what is wrong with it.
        return None


def _by_astropy(file: FitsFile, index: int, key: str, own: bool) -> Any:
    from astropy.io import fits
    from astropy.wcs import WCS

    cards = file.cards(index)
    header = fits.Header.fromstring(format_cards(_readable(file, index)))
    needed = _table_hdus(file, cards)
    try:
        with quiet():
            # What Bunter wrote has been through astropy's fixes, or was never meant to.
            if not needed:
                return WCS(header, key=key, fix=not own)
            with fits.open(io.BytesIO(_as_file(file, needed)), memmap=False) as extra:
                return WCS(header, extra, key=key, fix=not own)
    except Exception as error:
        # wcslib and astropy raise a dozen kinds of errors about headers.
        raise FormatError(
            f"{file.name}: the WCS in the header of HDU {index} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _readable(file: FitsFile, index: int) -> list[Card]:
    """Return the cards that astropy's WCS looks at, spelled by the book; a compressed image's as of the image."""
    tiles = file.hdus[index].kind == "tiles"
    kept: list[Card] = [Card("SIMPLE", True), Card("BITPIX", 8)]
    for card in file.cards(index):
        keyword = card.keyword
        if tiles and re.match(r"(?:NAXIS\d*|T(?:TYPE|FORM|FIELDS).*|[PG]COUNT)\Z", keyword):
            continue
        if tiles and re.match(r"ZNAXIS\d*\Z", keyword):
            card = card._replace(keyword=keyword[1:])
        if (card.keyword in _STRUCTURE and card.keyword != "NAXIS") or card.keyword in ("XTENSION", "HISTORY"):
            continue
        try:
            format_cards([card])
        except ValueError:
            continue
        kept.append(card)
    # NAXIS comes third by the rules.
    kept.sort(key=lambda card: card.keyword not in ("SIMPLE", "BITPIX") and not card.keyword.startswith("NAXIS"))
    return kept


def _table_hdus(file: FitsFile, cards: Cards) -> list[int]:
    names = {"WCSDVARR", "D2IMARR"} if any(_TABLES.match(card.keyword) for card in cards) else set()
    names |= {
        str(card.value).strip().upper()
        for card in cards
        if re.fullmatch(r"PS\d+_0[A-Z]?", card.keyword) and isinstance(card.value, str)
    }
    return [index for index, hdu in enumerate(file.hdus) if hdu.name.upper() in names]


def _as_file(file: FitsFile, indices: list[int]) -> bytes:
    pieces: list[Any] = [EMPTY_PRIMARY]
    for index in indices:
        header = bytes(file.header(index))
        data = file.data(index)
        pieces += [header.ljust(-(-len(header) // BLOCK) * BLOCK), data, bytes(-len(data) % BLOCK)]
    return b"".join(pieces)


_LISTS = ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT")
_NUMBERS = {"LONPOLE": "lonpole", "LATPOLE": "latpole", "EQUINOX": "equinox", "MJD-OBS": "mjdobs"}
_TEXTS = {"RADESYS": "radesys", "DATE-OBS": "dateobs", "TIMESYS": "timesys", "WCSNAME": "name"}
_FREE = frozenset(
    ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "PCOUNT", "GCOUNT", "EXTNAME", "WCSAXES")
)
_CELESTIAL = ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT")
_MOST_ORDER = 9

# What the cards of a plain celestial WCS stand for.
_PLACES: dict[str, tuple[str, Any, Any]] = {
    **{f"{name}{axis + 1}": ("list", name, axis) for name in _LISTS for axis in (0, 1)},
    **{f"{name}{i + 1}_{j + 1}": (name, i, j) for name in ("CD", "PC") for i in (0, 1) for j in (0, 1)},
    **{f"PV{axis}_{term}": ("PV", axis, term) for axis in (1, 2) for term in range(40)},
    **{f"{name}_ORDER": ("order", name, None) for name in ("A", "B", "AP", "BP")},
    **{
        f"{name}_{i}_{j}": (name, i, j)
        for name in ("A", "B", "AP", "BP")
        for i in range(_MOST_ORDER + 1)
        for j in range(_MOST_ORDER + 1 - i)
    },
    **{keyword: ("number", name, None) for keyword, name in _NUMBERS.items()},
    **{keyword: ("text", name, None) for keyword, name in _TEXTS.items()},
    "MJDREF": ("reference", None, None),
}


def _simple(cards: Cards) -> Any:
    """Set the attributes of a plain celestial WCS one by one, which takes a tenth of the time of parsing; else None."""
    if cards.get("WCSAXES") != 2:
        return None
    lists: dict[str, list[Any]] = {"CTYPE": ["", ""], "CUNIT": ["", ""], "CRPIX": [0.0, 0.0], "CRVAL": [0.0, 0.0]}
    lists["CDELT"] = [1.0, 1.0]
    matrices: dict[str, Any] = {}
    coefficients: list[tuple[int, int, float]] = []
    orders: dict[str, Any] = {}
    terms: dict[tuple[str, int, int], Any] = {}
    plain: dict[str, Any] = {}
    for keyword, value in cards.items():
        place = _PLACES.get(keyword)
        if place is None:
            if keyword in _FREE or keyword.startswith("BUNT"):
                continue
            return None
        what, first, second = place
        if what == "list":
            lists[first][second] = value
        elif what == "text":
            if not isinstance(value, str):
                return None
            plain[first] = value
        elif what in ("CD", "PC"):
            matrix = matrices.setdefault(what, [[1.0, 0.0], [0.0, 1.0]] if what == "PC" else [[0.0, 0.0], [0.0, 0.0]])
            matrix[first][second] = value
        elif what == "order":
            orders[first] = value
        elif type(value) is not float and type(value) is not int:
            return None
        elif what == "PV":
            coefficients.append((first, second, float(value)))
        elif what == "number":
            plain[first] = float(value)
        elif what == "reference":
            if value != 0:
                return None
            plain["mjdref"] = [0.0, 0.0]
        else:
            terms[place] = value
    types = lists["CTYPE"]
    if len(matrices) > 1 or any(not isinstance(text, str) or text.endswith("-TAB") for text in types):
        return None
    bent = [text.endswith("-SIP") for text in types]
    sip = _sip(orders, terms, lists["CRPIX"]) if all(bent) else None
    if sip is None and (any(bent) or orders or terms):
        return None
    return _made(lists, matrices, coefficients, plain, sip)


def _made(
    lists: Mapping[str, list[Any]],
    matrices: Mapping[str, Any],
    coefficients: list[tuple[int, int, float]],
    plain: Mapping[str, Any],
    sip: Any,
) -> Any:
    from astropy.wcs import WCS

    wcs = WCS(naxis=2, fix=False)
    inner = wcs.wcs
    inner.ctype = lists["CTYPE"]
    # The unit of angles on the sky is the degree anyway, and astropy takes long to look a unit up.
    if lists["CUNIT"] != ["deg", "deg"] or any(text[:4] not in _CELESTIAL for text in lists["CTYPE"]):
        with quiet():
            inner.cunit = lists["CUNIT"]
    inner.crpix, inner.crval = lists["CRPIX"], lists["CRVAL"]
    if "CD" in matrices:
        inner.cd = matrices["CD"]
    else:
        inner.cdelt = lists["CDELT"]
        inner.pc = matrices.get("PC", [[1.0, 0.0], [0.0, 1.0]])
    if coefficients:
        inner.set_pv(coefficients)
    for name, value in plain.items():
        setattr(inner, name, value)
    inner.set()
    if sip is not None:
        wcs.sip = sip
    return wcs


def _sip(orders: Mapping[str, Any], terms: Mapping[tuple[str, int, int], Any], crpix: Sequence[Any]) -> Any:
    """Return the SIP distortion whose orders and coefficients belong together, else None."""
    from astropy.wcs import Sip

    if tuple(orders) not in (("A", "B"), ("A", "B", "AP", "BP"), ("AP", "BP")):
        return None
    if any(type(order) is not int or not 2 <= order <= _MOST_ORDER for order in orders.values()):
        return None
    matrices = {name: np.zeros((order + 1, order + 1)) for name, order in orders.items()}
    for (name, i, j), value in terms.items():
        if i + j > orders.get(name, -1):
            return None
        matrices[name][i, j] = value
    return Sip(*(matrices.get(name) for name in ("A", "B", "AP", "BP")), crpix)
