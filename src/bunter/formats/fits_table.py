"""Tables as FITS binary tables; what FITS has no words for is told in astropy's way, so that astropy reads it too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import FormatError
from ..words import listing
from .fits_binary import Column, Table, read_columns, table_hdu, table_of
from .fits_cards import Card, Cards, holds
from .fits_file import FitsFile, hdu_ranges, quiet, recorded
from .fits_format import FitsFormat, first_of
from .fits_objects import from_json, to_json
from .fits_writer import JSON, OWN_CARDS, STAMP, NewHdu, same_as_stored, stamp, write
from .interface import About, Layout, Range, Source

_BEGIN, _END = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--", "--END-ASTROPY-SERIALIZED-COLUMNS--"
_WIDTH = 70
_KEYWORD = re.compile(r"[A-Z][A-Z0-9_-]{0,7}\Z")
_STRUCTURE = re.compile(
    r"(?:SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|EXTNAME|EXTVER|EXTLEVEL|EXTEND|THEAP|CHECKSUM|DATASUM"
    r"|LONGSTRN|END|T(?:TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL|HEAP|CTYP|CUNI|CRVL|CRPX|CDLT|RPOS)\d+)\Z"
)


class FitsTable(FitsFormat):
    """A table: astropy Table, QTable, SourceCatalog, pandas.DataFrame, pyarrow.Table or structured array.

    Units, masks, descriptions, shapes, meta and mixin columns (quantities, times, coordinates) are kept. A WCS or
    calibration attached to a catalog is not stored. Foreign files are read too: the first table that there is.
    """

    name = "FitsTable"
    parameters = ("columns",)

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a table; see `Format.write`."""
        return write(self._hdus(obj, about), out, about.name)

    def _hdus(self, obj: Any, about: About) -> list[NewHdu]:
        from .convert import is_tabular, to_table

        if not is_tabular(obj):
            raise FormatError(
                f"{about.name}: FitsTable holds an astropy Table, a SourceCatalog, a pandas.DataFrame, a pyarrow.Table "
                f"or a structured numpy array, not a {type(obj).__module__}.{type(obj).__name__}"
            )
        return [stamp(self.name), encode_table(to_table(obj, about.name), about.name)]

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the table, or with ``columns`` some of it; see `Format.read`."""
        self.check_parameters(parameters, self.parameters, about)
        file = FitsFile(source)
        index = first_of(file, ("table", "ascii"))
        if index is None:
            raise FormatError(f"{about.name}: {file.name} holds no table; it has: {listing(file.describe())}")
        return as_python(read_table(file, index, about.name, parameters.get("columns")), about.python)

    def column_names(self, source: Source, about: About, part: str = "") -> list[str] | None:
        """Return the names of the columns, from the header; see `Format.column_names`."""
        file = FitsFile(source)
        index = first_of(file, ("table", "ascii"))
        return None if index is None else names_in(file, index, about.name)

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of the table's HDU."""
        hdus = recorded(layout)
        if hdus is None:
            return None
        return hdu_ranges([hdu for hdu in hdus if hdu.kind in ("table", "ascii")][:1]) or None

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Compare the bytes that would be written with the recorded checksums."""
        hdus = recorded(layout)
        if hdus is None or part or obj is None:
            return None
        return same_as_stored(lambda: self._hdus(obj, about), hdus)

    def equal(self, a: Any, b: Any, about: About) -> bool:
        """Tell whether two tables hold the same, whatever is attached to them."""
        from .convert import is_tabular, to_table
        from .equality import same_values

        if is_tabular(a) and is_tabular(b):
            from astropy.table import Table as AstropyTable

            # What is attached to a catalog is never stored, and so never differs.
            a, b = (AstropyTable(to_table(x, about.name), copy=False) for x in (a, b))
        return same_values(a, b)


def as_python(table: Any, python: type | None) -> Any:
    """Return a table as the class that is wanted."""
    if python is None or type(table) is python:
        return table
    from astropy.table import Table as AstropyTable

    from .convert import convert

    if python is AstropyTable:
        return AstropyTable(table, copy=False)
    return convert(table, python)


# --- writing -----------------------------------------------------------------------------------------------


def encode_table(table: Any, about: str, *, name: str = "", part: str = "") -> NewHdu:
    """Return an astropy Table as an HDU.

    Raises
    ------
    FormatError
        If a column or the meta cannot be held.
    """
    plain, told = _plain(table, about)
    columns, exact = [], []
    for column in plain.itercols():
        values = np.asarray(column)
        unit, lost = _unit_text(column.unit)
        told = told or lost
        columns.append((str(column.name), values, unit))
        if values.dtype.kind == "S":
            exact.append(str(column.name))
    cards = [Card(STAMP, "FitsTable", "written by Bunter")]
    if exact:
        cards.append(Card(JSON, to_json({"bytes": exact})))
    for key, value in plain.meta.items():
        plain_value = value.item() if isinstance(value, np.generic) else value
        usable = isinstance(key, str) and _KEYWORD.match(key) and not _STRUCTURE.match(key) and key not in OWN_CARDS
        if usable and isinstance(plain_value, str | int | float | None) and holds(key, plain_value):
            cards.append(Card(key, plain_value))
    if told or plain.meta:
        cards += _yaml_cards(plain, about)
    try:
        return table_hdu(columns, cards, name=name, part=part, about=about)
    except ValueError as error:
        raise FormatError(f"{about}: this table does not fit into FITS: {error}") from error


def _plain(table: Any, about: str) -> tuple[Any, bool]:
    """Return the table with plain columns only, none masked, and whether astropy's YAML has to tell what they were."""
    from astropy.table import MaskedColumn
    from astropy.table import Table as AstropyTable
    from astropy.table.serialize import represent_mixins_as_columns
    from astropy.utils.data_info import serialize_context_as

    own = type(table)(copy=False) if type(table).__module__.startswith("astropy.") else AstropyTable()
    own.meta.update(table.meta)
    columns = []
    for column in table.itercols():
        if isinstance(column, MaskedColumn):
            # What lies under the mask is nobody's business, and must not make two equal tables differ.
            mask, data = np.ma.getmaskarray(column), np.ma.getdata(column)
            data = np.where(mask, np.zeros((), data.dtype), data).view(np.ndarray).astype(column.dtype, copy=False)
            masked = MaskedColumn(data, name=column.name, mask=mask)
            for attribute in ("unit", "description", "format", "meta"):
                setattr(masked.info, attribute, getattr(column.info, attribute))
            masked.info.serialize_method["fits"] = "data_mask"
            column = masked
        columns.append(column)
    own.add_columns(columns, names=list(table.colnames), copy=False)
    try:
        with serialize_context_as("fits"):
            plain = represent_mixins_as_columns(own)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{about}: a column cannot be taken apart for storage: {error}") from error
    told = plain is not own or any(
        column.info.description or column.info.format or column.info.meta for column in plain.itercols()
    )
    return plain, told


def _unit_text(unit: Any) -> tuple[str, bool]:
    """Return a unit as text, and whether FITS's own words do not say it exactly."""
    from astropy.units import Unit

    if unit is None:
        return "", False
    try:
        with quiet():
            text = str(unit.to_string(format="fits"))
            if text and Unit(text, format="fits", parse_strict="silent") == unit:
                return text, False
    except (ValueError, TypeError):
        pass
    text = str(unit)
    return (text if text.isascii() and text.isprintable() else "", True)


def _yaml_cards(table: Any, about: str) -> list[Card]:
    from .tables import yaml_meta

    lines = [_BEGIN]
    for line in yaml_meta(table, about).replace("\x7f", "\\x7F").split("\n"):
        if not (line.isascii() and (line.isprintable() or not line)):
            raise FormatError(f"{about}: FITS holds ASCII only; meta or a column's description has {line[:60]!r}")
        # astropy joins lines of which the 71st character is a backslash.
        while len(line) > _WIDTH:
            lines.append(line[:_WIDTH] + "\\")
            line = line[_WIDTH:]
        lines.append(line)
    return [Card("COMMENT", line) for line in [*lines, _END]]


# --- reading -----------------------------------------------------------------------------------------------


def read_table(file: FitsFile, index: int, about: str, columns: Any = None, rows: Sequence[int] | None = None) -> Any:
    """Read a table, some of its columns or rows, as an astropy Table (a QTable if it has quantities)."""
    from astropy.table import Table as AstropyTable

    from .tables import SERIALIZED, check_columns

    table = table_of(file, index, about)
    cards = file.cards(index)
    own = STAMP in cards
    header, inside = _told(cards, about)
    mixins: dict[str, Any] = dict((header.get("meta") or {}).get(SERIALIZED) or {})
    present = _outer_names(table, inside)
    wanted = present if columns is None else check_columns(columns, present, about)
    stored = {member for name in wanted for member in inside.get(name, [name])}
    values = read_columns(file, index, table, [c for c in table.columns if c.name in stored], rows, exact_strings=own)
    raw = set((from_json(cards, file.name) or {}).get("bytes", ())) if own else set()
    found = [_column(c, values[c.name], c.name in raw) for c in table.columns if c.name in stored]
    made = AstropyTable(found, copy=False)
    if not header:
        made.meta.update(_meta_of(cards))
    else:
        made = _described(made, header, {name: mixins[name] for name in wanted if name in mixins}, own, cards, about)
    if columns is None or wanted == made.colnames:
        return made
    # Not made[wanted], which ties both tables into a knot that holds their memory for long.
    return type(made)([made[name] for name in wanted], copy=False, meta=made.meta)


def names_in(file: FitsFile, index: int, about: str) -> list[str]:
    """Return the names of a table's columns without reading its rows."""
    return _outer_names(table_of(file, index, about), _told(file.cards(index), about)[1])


def _told(cards: Cards, about: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return what astropy's YAML in the header says, if it is there, and of each mixin its stored columns."""
    from .tables import SERIALIZED, yaml_header

    text = _yaml_text(cards)
    header: dict[str, Any] = yaml_header(text, about) if text is not None else {}
    mixins = (header.get("meta") or {}).get(SERIALIZED) or {}
    return header, {name: _members(name, mixin) for name, mixin in mixins.items()}


def _outer_names(table: Table, inside: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the columns as a user sees them, in order: of a mixin's columns, the mixin's."""
    owner = {member: name for name, members in inside.items() for member in members}
    return list(dict.fromkeys(owner.get(column.name, column.name) for column in table.columns))


def _members(name: str, mixin: Any) -> list[str]:
    if not isinstance(mixin, Mapping):
        return []
    found = [str(mixin["name"])] if isinstance(mixin.get("name"), str) and "__class__" not in mixin else []
    for value in mixin.values():
        if isinstance(value, Mapping):
            found += _members(name, value)
    return found


def _yaml_text(cards: Cards) -> str | None:
    comments = cards.lines("COMMENT")
    if _BEGIN not in comments or _END not in comments:
        return None
    lines: list[str] = []
    continued = False
    for line in comments[comments.index(_BEGIN) + 1 : comments.index(_END)]:
        if continued:
            lines[-1] += line[:_WIDTH]
        else:
            lines.append(line[:_WIDTH])
        continued = len(line) == _WIDTH + 1
    return "\n".join(lines)


def _column(column: Column, values: Any, as_bytes: bool) -> Any:
    from astropy import table, units

    if as_bytes:
        values = np.char.encode(values, "latin-1").astype(f"S{max(column.width, 1)}", copy=False)
    made: Any
    if isinstance(values, np.ma.MaskedArray):
        made = table.MaskedColumn(values, name=column.name, fill_value=column.null)
    else:
        made = table.Column(values, name=column.name)
    if column.unit:
        with quiet():
            made.unit = units.Unit(column.unit, format="fits", parse_strict="silent")
    return made


def _meta_of(cards: Cards) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for card in cards:
        key = card.keyword
        if key in ("COMMENT", "HISTORY"):
            meta.setdefault("comments" if key == "COMMENT" else key, []).append(card.value)
        elif key and not _STRUCTURE.match(key) and key not in OWN_CARDS:
            meta.setdefault(key, card.value)
    return meta


def _described(
    table: Any, header: Mapping[str, Any], mixins: Mapping[str, Any], own: bool, cards: Cards, about: str
) -> Any:
    from astropy.table.serialize import _construct_mixins_from_columns

    from .tables import SERIALIZED

    meta = {key: value for key, value in (header.get("meta") or {}).items() if key != SERIALIZED}
    if not own:
        # Another program's: its meta are the cards, and only the columns are told in YAML.
        lines = cards.lines("COMMENT")
        rest = [*lines[: lines.index(_BEGIN)], *lines[lines.index(_END) + 1 :]]
        meta = {**_meta_of(cards), **meta}
        meta.pop("comments", None)
        if rest:
            meta["comments"] = rest
    try:
        for told in header.get("datatype", ()):
            if told["name"] in table.colnames:
                column = table[told["name"]]
                for attribute in ("unit", "description", "format", "meta"):
                    if attribute in told:
                        setattr(column.info, attribute, told[attribute])
        table.meta.update(meta)
        if mixins:
            table.meta[SERIALIZED] = dict(mixins)
            return _construct_mixins_from_columns(table)
    except Exception as error:
        # The classes that the columns are made into raise what they like about damaged descriptions.
        raise FormatError(f"{about}: what astropy's YAML in the header says cannot be used: {error!r}") from error
    return table
