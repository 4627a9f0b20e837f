"""Binary tables: columns to bytes and back, reading no more rows and columns than are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..words import did_you_mean, listing
from .fits_cards import Card, Cards
from .fits_file import FitsFile
from .fits_writer import NewHdu

_CHUNK = 1 << 22
_WIDE_ROW = 4096
_MOST_RANGES = 4096
_MOST_EMPTY_ROWS = 1 << 24

_CODES = {
    "b1": "L",
    "u1": "B",
    "i2": "I",
    "i4": "J",
    "i8": "K",
    "f4": "E",
    "f8": "D",
    "c8": "C",
    "c16": "M",
}
_SHIFTED = {"i1": ("u1", -128), "u2": ("i2", 1 << 15), "u4": ("i4", 1 << 31), "u8": ("i8", 1 << 63)}
_RAW = {"L": "u1", "B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8", "C": "c8", "M": "c16"}
_SIZES = {**{code: np.dtype(raw).itemsize for code, raw in _RAW.items()}, "A": 1, "P": 8, "Q": 16}
_FORM = re.compile(r"\s*(\d*)\s*([LXBIJKAEDCMPQ])(.*)", re.IGNORECASE | re.DOTALL)
_UNSIGNED = {"B": -128, "I": 1 << 15, "J": 1 << 31, "K": 1 << 63}


class Column(NamedTuple):
    """A column of a binary table as its header describes it."""

    name: str
    code: str
    repeat: int
    offset: int
    length: int
    shape: tuple[int, ...]
    width: int
    unit: str
    null: int | None
    scale: float
    zero: float
    plain: bool


class Table(NamedTuple):
    """A binary table as its header describes it."""

    rows: int
    row_length: int
    columns: tuple[Column, ...]

    def names(self) -> list[str]:
        """Return the names of the columns."""
        return [column.name for column in self.columns]

    def column(self, name: str, about: str) -> Column:
        """Return a column by its name, in any case if that is unique, or raise a `FormatError`."""
        found = [c for c in self.columns if c.name == name]
        found = found or [c for c in self.columns if c.name.lower() == name.lower()]
        if len(found) == 1:
            return found[0]
        names = self.names()
        raise FormatError(
            f"{about}: there is no column {name!r}{did_you_mean(name, names)}; there are: {listing(names, 40)}"
        )


# --- writing -----------------------------------------------------------------------------------------------


def table_hdu(
    columns: Sequence[tuple[str, npt.NDArray[Any], str]],
    cards: Sequence[Card] = (),
    *,
    name: str = "",
    part: str = "",
    about: str = "table",
) -> NewHdu:
    """Return columns as a binary table.

    Parameters
    ----------
    columns : sequence of (name, array, unit)
        Arrays of shape (rows, ...), none masked.
    cards : sequence of Card
        What comes after the cards of the columns.
    about : str
        For messages.

    Raises
    ------
    FormatError
        If a column cannot be held.
    """
    fields: list[tuple[str, Any, tuple[int, ...]]] = []
    described: list[Card] = []
    arrays = []
    for number, (title, given, unit) in enumerate(columns, 1):
        array = _storable(given, f"{about}: column {title!r}")
        kind = array.dtype.str[1:]
        raw, zero = _SHIFTED.get(kind, (kind, 0))
        shape = array.shape[1:]
        count = int(np.prod(shape, dtype=np.int64))
        if array.dtype.kind == "S":
            form, dims = f"{count * array.dtype.itemsize}A", (array.dtype.itemsize, *reversed(shape))
            dims = dims if shape else ()
            fields.append((f"f{number}", array.dtype, shape))
        else:
            form, dims = f"{count}{_CODES[raw]}", tuple(reversed(shape))
            dims = dims if len(dims) > 1 or count < 2 else ()
            stored = np.dtype("u1") if raw == "b1" else np.dtype(raw).newbyteorder(">")
            fields.append((f"f{number}", stored, shape))
        described += [Card(f"TTYPE{number}", title), Card(f"TFORM{number}", form)]
        if unit:
            described.append(Card(f"TUNIT{number}", unit))
        if dims:
            described.append(Card(f"TDIM{number}", f"({','.join(map(str, dims))})"))
        if zero:
            described += [Card(f"TSCAL{number}", 1), Card(f"TZERO{number}", zero)]
        arrays.append(array)
    rows = len(arrays[0]) if arrays else 0
    packed = np.dtype(fields)
    top = [
        Card("XTENSION", "BINTABLE"),
        Card("BITPIX", 8),
        Card("NAXIS", 2),
        Card("NAXIS1", packed.itemsize),
        Card("NAXIS2", rows),
        Card("PCOUNT", 0),
        Card("GCOUNT", 1),
        Card("TFIELDS", len(arrays)),
    ]
    if name:
        top.append(Card("EXTNAME", name))

    def pieces() -> Iterator[Any]:
        step = max(1, _CHUNK // max(1, packed.itemsize))
        for start in range(0, rows if packed.itemsize else 0, step):
            block = np.zeros(min(step, rows - start), packed)
            for number, array in enumerate(arrays, 1):
                block[f"f{number}"] = _to_file(array[start : start + step])
            yield block.view(np.uint8).data

    return NewHdu((*top, *described, *cards), pieces, "table", name, part)


def _storable(array: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    kind = array.dtype.kind
    if kind == "U":
        try:
            # An item of no width has no place in a record.
            encoded: Any = np.char.encode(array, "ascii") if array.dtype.itemsize else array.astype("S1")
            return np.asarray(encoded)
        except UnicodeEncodeError as error:
            raise FormatError(
                f"{where}: FITS holds ASCII only, not {str(error.object)[:40]!r}; use the storage Parquet or Ecsv"
            ) from error
    if kind == "S":
        return array if array.dtype.itemsize else array.astype("S1")
    if array.dtype.str[1:] == "f2":
        return array.astype("f4")
    if array.dtype.str[1:] in _CODES or array.dtype.str[1:] in _SHIFTED:
        return array
    advice = {
        "O": "Python objects; use numbers or strings, or the storage Parquet",
        "M": "datetime64; make it an astropy.time.Time, or use the storage Parquet",
        "m": "timedelta64; make it an astropy.time.TimeDelta, or use the storage Parquet",
    }.get(kind, f"{array.dtype}")
    raise FormatError(f"{where}: a FITS table cannot hold {advice}")


def _to_file(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    kind = array.dtype.str[1:]
    if kind == "b1":
        return np.where(array, np.uint8(ord("T")), np.uint8(ord("F")))
    if kind in _SHIFTED:
        size = array.dtype.itemsize
        flipped: Any = array.astype(f"=u{size}") ^ np.array(1 << (8 * size - 1), f"=u{size}")
        return np.asarray(flipped.view(_SHIFTED[kind][0]))
    return array


# --- reading -----------------------------------------------------------------------------------------------


def describe(cards: Cards, where: str) -> Table:
    """Return what a header says of its table.

    Raises
    ------
    FormatError
        If the columns do not fit into the rows.
    """
    row_length, rows = cards.integer("NAXIS1", 0) or 0, cards.integer("NAXIS2", 0) or 0
    columns: list[Column] = []
    offset = 0
    taken: set[str] = set()
    for number in range(1, min(cards.integer("TFIELDS", 0) or 0, 9999) + 1):
        form = _FORM.match(cards.text(f"TFORM{number}"))
        if form is None:
            raise FormatError(f"{where}: TFORM{number} = {cards.get(f'TFORM{number}')!r} is no column format")
        repeat, code = int(form[1] or 1), form[2].upper()
        length = -(-repeat // 8) if code == "X" else repeat * _SIZES[code]
        name = cards.text(f"TTYPE{number}") or f"col{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        shape, width = _shape(cards, number, code, repeat)
        columns.append(
            Column(
                name,
                code,
                repeat,
                offset,
                length,
                shape,
                width,
                cards.text(f"TUNIT{number}"),
                cards.integer(f"TNULL{number}"),
                cards.number(f"TSCAL{number}", 1),
                cards.number(f"TZERO{number}", 0),
                code not in "XPQ" and (code != "A" or not form[3].strip()),
            )
        )
        offset += length
    if offset > row_length:
        raise FormatError(f"{where}: its columns need {offset} bytes a row, its rows have {row_length}")
    return Table(rows, row_length, tuple(columns))


def _shape(cards: Cards, number: int, code: str, repeat: int) -> tuple[tuple[int, ...], int]:
    text = cards.text(f"TDIM{number}").strip("() ")
    dims: tuple[int, ...] = ()
    if re.fullmatch(r"\d+(?:\s*,\s*\d+)*", text):
        dims = tuple(int(word) for word in text.split(","))
        product = 1
        for length in dims:
            product *= length
        if product != repeat:
            # Some writers state dimensions that do not fit; the format decides.
            dims = ()
    if code == "A":
        return (tuple(reversed(dims[1:])), dims[0]) if dims else ((), repeat)
    if dims:
        return tuple(reversed(dims)), 1
    return (() if repeat == 1 else (repeat,)), 1


def table_of(file: FitsFile, index: int, about: str) -> Table:
    """Return the description of the binary table in an HDU.

    Raises
    ------
    FormatError
        If it holds no binary table.
    """
    hdu = file.hdus[index]
    if hdu.kind == "ascii":
        with file.astropy(index) as opened:
            names = [str(name) for name in opened.columns.names]
            rows = len(opened.data) if opened.data is not None else 0
        columns = tuple(Column(n, "A", 1, 0, 0, (), 1, "", None, 1, 0, False) for n in names)
        return Table(rows, 0, columns)
    if hdu.kind != "table":
        raise FormatError(
            f"{about}: HDU {index} of {file.name} holds no table but is of kind {hdu.kind!r}; "
            f"it has: {listing(file.describe())}"
        )
    table = describe(file.cards(index), f"{file.name}: HDU {index}")
    if table.row_length * table.rows > hdu.data_length:
        raise FormatError(f"{about}: HDU {index} of {file.name} holds fewer bytes than its header says")
    if not table.row_length and table.rows > _MOST_EMPTY_ROWS:
        raise FormatError(f"{about}: HDU {index} of {file.name} says that it has {table.rows} rows without a byte")
    return table


def read_columns(
    file: FitsFile,
    index: int,
    table: Table,
    columns: Sequence[Column],
    rows: Sequence[int] | None = None,
    *,
    exact_strings: bool = False,
) -> dict[str, Any]:
    """Read some columns of some rows.

    Parameters
    ----------
    columns : sequence of Column
        Of `table`.
    rows : sequence of int or None
        None: all.
    exact_strings : bool
        Whether blanks at the end of strings count.

    Returns
    -------
    dict of str to numpy.ndarray
        Native, shape (rows, ...); masked if the column says how it spells null; strings as ``str``; columns of
        variable length as objects.
    """
    plain = [column for column in columns if column.plain]
    found: dict[str, Any] = {}
    if plain:
        for column, raw in _raw(file, index, table, plain, rows):
            found[column.name] = _decoded(column, raw, exact_strings)
    others = [column for column in columns if not column.plain]
    if others:
        _check_heap(file, index, table, others)
        with file.astropy(index) as hdu:
            for column in others:
                found[column.name] = _from_astropy(hdu, column, table, rows)
    return {column.name: found[column.name] for column in columns}


def _check_heap(file: FitsFile, index: int, table: Table, columns: Sequence[Column]) -> None:
    """Refuse lists that lie outside of the heap: astropy would hand out what it finds there, or nothing."""
    lists = [column for column in columns if column.code in "PQ"]
    if not lists or not table.rows:
        return
    cards = file.cards(index)
    start = cards.integer("THEAP", table.rows * table.row_length) or 0
    room = file.hdus[index].data_length - start
    rows = file.data_range(index, 0, table.rows * table.row_length)
    for column in lists:
        number = table.columns.index(column) + 1
        held = held_in(cards, number)
        if held not in _RAW and held not in "AX":
            raise FormatError(
                f"{file.name}: HDU {index}: TFORM{number} = {cards.get(f'TFORM{number}')!r} holds nothing"
            )
        width = ">i4" if column.code == "P" else ">i8"
        kind = np.dtype(
            {"names": ["f"], "formats": [(width, 2)], "offsets": [column.offset], "itemsize": table.row_length}
        )
        pairs = np.frombuffer(rows, kind)["f"].astype("f8")
        bits = 1 if held == "X" else 8 * _SIZES[held]
        if not column.repeat:
            continue
        ends = pairs[:, 1] + np.ceil(pairs[:, 0] * bits / 8)
        # Of empty lists the place says nothing.
        wrong = np.flatnonzero((pairs[:, 0] < 0) | ((pairs[:, 0] > 0) & ((pairs[:, 1] < 0) | (ends > room))))
        if len(wrong):
            raise FormatError(
                f"{file.name}: HDU {index}: the list in row {wrong[0]} of the column {column.name!r} lies outside of "
                "the file's data: the file is damaged"
            )


def held_in(cards: Cards, number: int) -> str:
    """Return the code of what the lists of a column hold, by its number from 1; empty if that is not stated."""
    form = _FORM.match(cards.text(f"TFORM{number}"))
    return form[3].strip()[:1].upper() if form is not None else ""


def _from_astropy(hdu: Any, column: Column, table: Table, rows: Sequence[int] | None) -> Any:
    position = [c.name for c in table.columns].index(column.name)
    values = hdu.data.field(position)
    if column.code in "PQ":
        wanted = range(len(values)) if rows is None else rows
        made = np.empty(len(wanted), dtype=object)
        for at, row in enumerate(wanted):
            item = values[row]
            array = np.asarray(item)
            made[at] = array.astype(array.dtype.newbyteorder("=")) if isinstance(item, np.ndarray) else item
        return made
    array = np.asarray(values)
    if array.dtype.kind in "SU":
        array = _text(array, False)
    array = array.astype(array.dtype.newbyteorder("="))
    return array if rows is None else array[list(rows)]


def _raw(
    file: FitsFile, index: int, table: Table, columns: Sequence[Column], rows: Sequence[int] | None
) -> Iterator[tuple[Column, npt.NDArray[Any]]]:
    hdu = file.hdus[index]
    wanted = range(table.rows) if rows is None else rows
    span = min(c.offset for c in columns), max(c.offset + c.length for c in columns)
    # Only wide rows are worth a read each; what was hashed is read whole, so that it can be verified.
    by_row = (
        hdu.data_checksum is None
        and table.row_length >= _WIDE_ROW
        and len(wanted) <= _MOST_RANGES
        and (span[1] - span[0]) * len(wanted) * 2 < table.row_length * table.rows
    )
    if by_row:
        start, length = span[0], span[1] - span[0]
        data = memoryview(bytearray(length * len(wanted)))
        for at, row in enumerate(wanted):
            data[at * length : (at + 1) * length] = file.data_range(index, row * table.row_length + start, length)
        rows = None
        count = len(wanted)
    else:
        start, length, count = 0, table.row_length, table.rows
        data = file.data(index) if hdu.data_checksum is not None else file.data_range(index, 0, length * count)
    for column in columns:
        yield column, _field(data, column, column.offset - start, length, count, rows)


def _field(
    data: memoryview, column: Column, offset: int, length: int, count: int, rows: Sequence[int] | None
) -> npt.NDArray[Any]:
    """Return one column's raw bytes, big-endian, contiguous."""
    if column.code == "A":
        each = np.dtype((f"S{max(column.width, 1)}", column.shape)) if column.length else np.dtype("S1")
    else:
        each = np.dtype((np.dtype(_RAW[column.code]).newbyteorder(">"), column.shape))
    if not column.length or not count:
        rest = np.zeros((count, *column.shape), each.base)
    else:
        dtype = np.dtype({"names": ["f"], "formats": [each], "offsets": [offset], "itemsize": length})
        rest = np.frombuffer(data[: length * count], dtype)["f"]
    return np.ascontiguousarray(rest if rows is None else rest[list(rows)])


def _decoded(column: Column, raw: npt.NDArray[Any], exact_strings: bool) -> Any:
    code = column.code
    if code == "A":
        return _text(raw, exact_strings, max(column.width, 1))
    if code == "L":
        return raw == ord("T")
    values = np.empty(raw.shape, np.dtype(_RAW[code]))
    values[...] = raw
    null = None
    if column.null is not None and code in "BIJK":
        null = values == column.null
    if column.scale == 1 and _UNSIGNED.get(code) == column.zero:
        bits = values.dtype.itemsize * 8
        values = values.view(f"u{bits // 8}")
        values ^= values.dtype.type(1 << (bits - 1))
        values = values.view("i1") if bits == 8 else values
    elif column.scale != 1 or column.zero != 0:
        wide = values.astype(np.complex128 if code in "CM" else np.float64)
        values = wide * column.scale + column.zero
    return values if null is None else np.ma.MaskedArray(values, mask=null)


def _text(raw: npt.NDArray[Any], exact: bool, width: int = 0) -> npt.NDArray[Any]:
    if raw.dtype.kind == "U":
        text: Any = raw
    else:
        # numpy drops NULs at the end by itself; what follows the first one counts for nothing.
        if raw.size and (np.char.find(raw, b"\0") >= 0).any():
            raw = np.array([item.partition(b"\0")[0] for item in raw.ravel().tolist()]).reshape(raw.shape)
        try:
            text = np.char.decode(raw, "ascii")
        except UnicodeDecodeError:
            text = np.char.decode(raw, "latin-1")
    # numpy makes strings as short as their content allows.
    return np.asarray(text.astype(f"U{width}", copy=False) if exact else np.char.rstrip(text))


def find_rows(file: FitsFile, index: int, table: Table, where: Mapping[str, Any], about: str) -> list[int]:
    """Return the numbers of the rows in which columns have certain values; strings compare stripped."""
    if not where:
        return list(range(table.rows))
    columns = [table.column(name, about) for name in where]
    found = read_columns(file, index, table, columns)
    match = np.ones(table.rows, dtype=bool)
    for column, wanted in zip(columns, where.values(), strict=True):
        match &= _matches(found[column.name], wanted)
    return [int(row) for row in np.flatnonzero(match)]


def _matches(values: Any, wanted: Any) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "U":
        return np.asarray(np.char.strip(values) == str(wanted).strip())
    if isinstance(wanted, str):
        # A field of a template is text; numbers compare as numbers.
        try:
            wanted = int(wanted)
        except ValueError:
            try:
                wanted = float(wanted)
            except ValueError:
                return np.zeros(len(values), dtype=bool)
    same = np.ma.filled(values == wanted, False) if values.ndim == 1 else np.zeros(len(values), dtype=bool)
    return np.asarray(same, dtype=bool)
