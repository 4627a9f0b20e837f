"""Csv: tables as plain text, for exchange with everything else; types are inferred, units and meta are lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from ..errors import FormatError
from ..words import listing
from .compressed import first_lines, read_text
from .convert import to_arrow
from .interface import About, Layout, Source
from .parquet import TableFormat
from .tables import check_columns

MOST_COLUMNS = 10_000
"""Columns that a table of text may have."""

_LONGEST_LINE = 1 << 24


class Csv(TableFormat):
    """One table a file: a line of names, then a line for each row, separated by commas, in UTF-8.

    Written and read by pyarrow, which (unlike astropy's reader) tells an empty text, ``""``, from a missing value,
    reads dates as the text that they are, and is fast. Types are inferred: int64, float64, bool (``true`` and
    ``false``), else text; ``nan`` and ``inf`` are floats. Units, descriptions, meta and the widths of numbers are
    lost. A column of texts that would all be read as numbers or bools is a `FormatError`, so are columns of more
    dimensions. ``.csv.gz`` and ``.csv.bz2`` are read too.
    """

    name = "Csv"
    suffix = ".csv"
    lossy = True

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a table; see `Format.write`."""
        self.check(obj, about)
        data = _write(to_arrow(obj, about.name), about.name)
        out.write(data)
        return {}

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the table or some columns of it; see `Format.read`."""
        arrow = _read(read_text(source, f"CSV for {about.name}"), source.name, about.name)
        if parameters.get("columns") is not None:
            arrow = arrow.select(check_columns(parameters["columns"], arrow.column_names, about.name))
        return self.hand_out(arrow, about)

    def column_names(self, source: Source, about: About, part: str = "") -> list[str]:
        """Return the names of the columns, from the line of names; see `Format.column_names`."""
        data = memoryview(b"\n".join(first_lines(source, f"CSV for {about.name}", _is_whole)) + b"\n")
        return list(_read(data, source.name, about.name).column_names)

    def equal(self, a: Any, b: Any, about: About) -> bool:
        """Compare two tables as they would be read back; see `Format.equal`."""
        from .convert import is_tabular
        from .equality import same_values

        if not is_tabular(a) or not is_tabular(b):
            return same_values(a, b)
        first, second = (
            _read(memoryview(_write(to_arrow(x, about.name), about.name)), about.name, about.name) for x in (a, b)
        )
        return same_values(first, second)


def _write(arrow: Any, name: str) -> bytes:
    import pyarrow as pa
    from pyarrow import csv

    if not arrow.num_columns:
        raise FormatError(f"{name}: CSV cannot hold a table without columns")
    out = pa.BufferOutputStream()
    try:
        plain = pa.table(
            [_column(column, field.name, name) for column, field in zip(arrow.columns, arrow.schema, strict=True)],
            names=arrow.column_names,
        )
        csv.write_csv(plain, out, csv.WriteOptions(quoting_style="needed"))
    except (pa.ArrowException, ValueError) as error:
        raise FormatError(f"{name}: CSV cannot hold this table: {error}; use Ecsv or Parquet") from error
    data: bytes = out.getvalue().to_pybytes()
    back = _read(memoryview(data), name, name)
    for before, after in zip(plain.schema, back.schema, strict=True):
        if pa.types.is_string(before.type) and not (pa.types.is_string(after.type) or pa.types.is_null(after.type)):
            raise FormatError(
                f"{name}: the texts in the column {before.name!r} would be read back as {after.type}; CSV cannot tell "
                "texts from numbers: use Ecsv or Parquet"
            )
    if back.num_rows != plain.num_rows:
        raise FormatError(f"{name}: CSV would change the number of rows from {plain.num_rows} to {back.num_rows}")
    return data


def _is_whole(lines: list[bytes]) -> bool:
    """Tell whether lines are a whole line of names: names in quotes may hold line breaks."""
    return sum(line.count(b'"') for line in lines) % 2 == 0


def _column(column: Any, title: str, name: str) -> Any:
    import pyarrow as pa

    types = pa.types
    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_large_string(kind):
        return column.cast(pa.string())
    if types.is_floating(kind) and kind.bit_width == 16:
        return column.cast(pa.float32())
    if types.is_nested(kind):
        raise FormatError(
            f"{name}: CSV cannot hold the column {title!r}, which has more than one value a row ({kind}); "
            "use Ecsv or Parquet"
        )
    if types.is_temporal(kind):
        return column.cast(pa.string())
    return column


def _read(data: memoryview, file: str, name: str) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    _check_start(data, file, name)
    buffer = pa.py_buffer(data)
    # One block: types are inferred from all rows, not from the first megabyte of them.
    reading = csv.ReadOptions(use_threads=True, block_size=max(len(data) + 1, 1 << 20))

    def read(ignore_empty: bool, types: dict[str, Any]) -> Any:
        return csv.read_csv(
            cast(Any, pa.BufferReader(buffer)),
            read_options=reading,
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=ignore_empty),
            convert_options=csv.ConvertOptions(
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                column_types=types,
            ),
        )

    try:
        table = read(True, {})
        # In a table of one column an empty line is a missing value.
        single = table.num_columns == 1
        dates = {field.name: pa.string() for field in table.schema if pa.types.is_temporal(field.type)}
        if single or dates:
            table = read(not single, dates)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{file}: expected a CSV table for {name}: {error}") from error
    names = table.column_names
    if len(set(names)) != len(names):
        raise FormatError(f"{file}: two columns of this CSV file have one name: {listing(names, 100)}")
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise FormatError(f"{file}: the column {field.name!r} of this CSV file is not UTF-8 text")
    return table


def _check_start(data: memoryview, file: str, name: str) -> None:
    what = f"{file}: expected a CSV table with a line of names for {name}"
    line, newline, _ = bytes(data[:_LONGEST_LINE]).partition(b"\n")
    if not line.strip():
        raise FormatError(f"{what}; it is empty or begins with an empty line")
    if line.startswith(b"# %ECSV"):
        raise FormatError(f"{what}; it is an ECSV file: use the storage Ecsv")
    if line.count(b",") >= MOST_COLUMNS:
        # For each of them pyarrow takes memory, and ends the process where there is not enough.
        raise FormatError(f"{what}; it has more than {MOST_COLUMNS:,} columns")
    if not newline and len(data) > len(line):
        raise FormatError(f"{what}; its first line does not end")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{what}; its first line is not UTF-8 text") from error
    if any(byte < 32 and byte not in (9, 13) for byte in line):
        raise FormatError(f"{what}; its first line holds control characters, it is no text")
