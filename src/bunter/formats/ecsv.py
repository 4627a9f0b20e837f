"""Ecsv: astropy's tables as text, with units, descriptions, meta and mixin columns."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..errors import FormatError
from ..words import listing
from .compressed import first_lines, read_text
from .convert import to_table
from .csv_ import MOST_COLUMNS
from .equality import same_values
from .interface import About, Layout, Source
from .parquet import TableFormat
from .tables import SERIALIZED, check_columns, stored_columns, yaml_header
from .yaml_ import check_aliases

_START = b"# %ECSV "


class Ecsv(TableFormat):
    """One table a file, as text that people and astropy's ``Table.read`` understand.

    Byte strings come back as text; times are stored to their full precision. What ECSV would change silently
    (blanks at the ends of a text, a first text of a row that begins with ``#``, complex numbers) is a
    `FormatError`. ``.ecsv.gz`` and ``.ecsv.bz2`` are read too.
    """

    name = "Ecsv"
    suffix = ".ecsv"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a table; see `Format.write`."""
        self.check(obj, about)
        table = as_text(to_table(obj, about.name), about.name)
        plain = _prepared(table, about.name)
        text = io.StringIO(newline="")
        try:
            plain.write(text, format="ascii.ecsv")
            data = text.getvalue().encode()
        except Exception as error:
            # Astropy's writer and PyYAML raise whatever the values in columns and meta make them raise.
            raise FormatError(f"{about.name}: Ecsv cannot hold this table: {type(error).__name__}: {error}") from error
        try:
            back = _parse(data, about.name, about.name)
        except FormatError as error:
            raise FormatError(f"{about.name}: Ecsv could not read back what it wrote; use Parquet: {error}") from error
        if not same_values(back, table):
            raise FormatError(
                f"{about.name}: Ecsv would change {_changed(table, back)} (blanks at the ends of texts, texts that "
                "begin with '#', meta that YAML cannot hold); use the storage Parquet"
            )
        out.write(data)
        return {}

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the table or some columns of it; see `Format.read`."""
        data = bytes(read_text(source, f"ECSV for {about.name}"))
        _check_start(data, source.name, about.name)
        table = _parse(data, source.name, about.name)
        if parameters.get("columns") is not None:
            table = table[check_columns(parameters["columns"], table.colnames, about.name)]
        return self.hand_out(table, about)

    def column_names(self, source: Source, about: About, part: str = "") -> list[str]:
        """Return the names of the columns, from the lines before the rows; see `Format.column_names`."""
        lines = first_lines(source, f"ECSV for {about.name}", _has_names)
        data = b"\n".join(lines)
        _check_start(data, source.name, about.name)
        comments = [line[2:] for line in data.decode("utf-8", "replace").splitlines()[1:] if line.startswith("# ")]
        header = yaml_header("\n".join(comments), source.name)
        mixins = (header.get("meta") or {}).get(SERIALIZED) or {}
        owner = {part: title for title, told in mixins.items() for part in stored_columns(told)}
        names = [str(told["name"]) for told in header.get("datatype") or ()]
        return list(dict.fromkeys(owner.get(name, name) for name in names))

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Check that the file is ECSV; see `Format.scan`."""
        if not bytes(read_text(source, "ECSV")[: len(_START)]) == _START:
            raise FormatError(f"{source.name}: not an ECSV file: it does not begin with {_START.decode()!r}")
        return {}

    def equal(self, a: Any, b: Any, about: About) -> bool:
        """Compare two tables, byte strings as text; see `Format.equal`."""
        from .convert import is_tabular

        if not is_tabular(a) or not is_tabular(b):
            return same_values(a, b)
        return same_values(as_text(to_table(a), about.name), as_text(to_table(b), about.name))


def _has_names(lines: list[bytes]) -> bool:
    return bool(lines[-1].strip()) and not lines[-1].startswith(b"#")


def _check_start(data: bytes, file: str, name: str) -> None:
    if not data.startswith(_START):
        raise FormatError(f"{file}: expected an ECSV file for {name}; it does not begin with {_START.decode()!r}")


def as_text(table: Any, name: str) -> Any:
    """Return a table whose columns of byte strings are columns of text; the same one if it has none."""
    kinds = {c.info.name: getattr(getattr(c, "dtype", None), "kind", "") for c in table.itercols()}
    raw = [title for title, kind in kinds.items() if kind == "S"]
    if not raw:
        return table
    made = table.copy(copy_data=False)
    try:
        made.convert_bytestring_to_unicode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{name}: bytes that are not UTF-8 text in one of: {listing(raw)}: {error}") from error
    return made


def _prepared(table: Any, name: str) -> Any:
    """Return a table of plain columns that astropy's writer writes without loss."""
    import numpy as np
    from astropy.table import Column, MaskedColumn
    from astropy.table.serialize import represent_mixins_as_columns
    from astropy.utils.data_info import serialize_context_as

    made = table.copy(copy_data=False)
    for title in made.colnames:
        column = made[title]
        if not isinstance(column, Column):
            continue
        if column.dtype.kind not in "biufUO" and column.dtype.names is None:
            raise FormatError(f"{name}: column {title!r}: ECSV has no type for {column.dtype}; use the storage Parquet")
        if column.dtype.kind == "U" and bool(np.any(np.ma.getdata(column) == "")):
            # An empty text would come back masked: a column of its own says which values are.
            masked = MaskedColumn(column, copy=False)
            masked.info.serialize_method["fits"] = "data_mask"
            made.replace_column(title, masked)
    try:
        # In this context a Time is its two doubles, not rounded text.
        with serialize_context_as("fits"):
            return represent_mixins_as_columns(made)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{name}: a column cannot be taken apart for storage: {error}") from error


def _parse(data: bytes, file: str, name: str) -> Any:
    from astropy.table import Table

    try:
        text = data.decode()
        if text.partition("\n")[0].endswith("\r"):
            text = text.replace("\r\n", "\n")
        header = [line[2:] for line in text.split("\n", 2 * MOST_COLUMNS) if line.startswith("# ")]
        if len(header) > MOST_COLUMNS or sum(line.count("name:") for line in header) > MOST_COLUMNS:
            raise FormatError(f"a header of more than {MOST_COLUMNS:,} lines or columns")
        check_aliases("\n".join(header[1:]).encode())
        # A list of lines is never taken for the name of a file.
        return Table.read(text.split("\n"), format="ascii.ecsv")
    except Exception as error:
        # Astropy's reader raises a dozen kinds of errors for files that are not ECSV, or cut short.
        raise FormatError(f"{file}: expected an ECSV table for {name}: {type(error).__name__}: {error}") from error


def _changed(before: Any, after: Any) -> str:
    if len(before) != len(after):
        return f"the number of rows, {len(before)}"
    if before.colnames != after.colnames:
        return "the names of columns"
    for title in before.colnames:
        if not same_values(before[title], after[title]):
            return f"the column {title!r}"
    return "the table's meta"
