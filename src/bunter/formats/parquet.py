"""Parquet: tables, by column; zstd, floats split by bytes, a checksum for each page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from ..errors import FormatError, IntegrityError
from .convert import convert, is_tabular, to_arrow, to_table
from .equality import same_values
from .expanding import check_claim, largest
from .interface import About, Format, Layout, Piece, Range, Source
from .tables import KEY, SERIALIZED, YAML_KEY, check_columns, stored_columns, yaml_header, yaml_meta

_ROWS = 1 << 18
_BATCH = 1 << 16
_THREADED = 8 << 20
"""Bytes of a table from which on it pays to expand its columns in several threads."""

_MAGIC = b"PAR1"
_WIDTH = b"table::len::"
_ADDED = b"bunter_added_yaml"


class TableFormat(Format):
    """What the formats of tables share: what they take, and how two tables compare."""

    parameters = ("columns",)

    def check(self, obj: Any, about: About) -> None:
        """Refuse what is no table."""
        if not is_tabular(obj):
            raise FormatError(
                f"{about.name}: {self.name} holds tables (astropy Table, pyarrow.Table, pandas.DataFrame, structured "
                f"numpy arrays), not a {type(obj).__module__}.{type(obj).__qualname__}"
            )

    def hand_out(self, table: Any, about: About) -> Any:
        """Return a table as the class that was asked for; an astropy Table by default."""
        return to_table(table, about.name) if about.python is None else convert(table, about.python)

    def equal(self, a: Any, b: Any, about: About) -> bool:
        """Compare two tables as the class that is handed out; see `Format.equal`."""
        if is_tabular(a) and is_tabular(b) and type(a) is not type(b):
            return same_values(self.hand_out(a, about), self.hand_out(b, about))
        return same_values(a, b)


class Parquet(TableFormat):
    """One table a file.

    Read columns are those that ``columns`` names, and only their bytes are read. Astropy tables come back with units,
    masks, shapes, descriptions, meta and mixin columns; plain ``Table.read`` of astropy understands them too. An
    Arrow table or a DataFrame comes back as it was. Every page has a checksum, and the footer's is recorded in the
    registry, so that a damaged file is noticed when only some columns are read.
    """

    name = "Parquet"
    suffix = ".parquet"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a table; see `Format.write`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.check(obj, about)
        arrow = _with_astropy_meta(to_arrow(obj, about.name), about.name)
        try:
            # The stubs know only of bools for these two.
            floats, others = _leaves(arrow.schema)
            pq.write_table(
                arrow,
                out,
                row_group_size=_ROWS,
                compression="zstd",
                use_dictionary=others,
                use_byte_stream_split=floats,
                write_page_checksum=True,
                version="2.6",
            )
        except (pa.ArrowException, ValueError, TypeError, UnicodeEncodeError) as error:
            raise FormatError(f"{about.name}: Parquet cannot hold this table: {error}") from error
        out.flush()
        size = out.seek(0, io.SEEK_END)
        out.seek(size - 8)
        length = int.from_bytes(out.read(4), "little") + 8
        out.seek(size - length)
        footer = out.read(length)
        out.seek(size)
        return {"footer": [size - length, length, _hash(footer)]}

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Check that it is a Parquet file, and remember where its footer lies; see `Format.scan`."""
        offset, length = _footer(source, about)
        self._open(source, about)
        if not checksums:
            return {}
        return {"footer": [offset, length, _hash(source.read_range(offset, length))]}

    def pieces(self, layout: Layout) -> Sequence[Piece]:
        """Return the footer; see `Format.pieces`."""
        footer = layout.get("footer")
        return [] if footer is None else [Piece("footer", Range(footer[0], footer[1]), footer[2])]

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the table or some columns of it; see `Format.read`."""
        import pyarrow as pa

        columns = parameters.get("columns")
        try:
            if columns is None:
                _footer(source, about)
                arrow = _read(self._open(source, about, whole=True), source, about)
            else:
                arrow = self._some(source, about, columns)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _damaged(source, about, error) from error
        return self.hand_out(_without_astropy_meta(arrow), about)

    def _some(self, source: Source, about: About, columns: Any) -> Any:
        recorded = source.layout.get("footer")
        if recorded:
            source.read_range(*recorded)
        file = self._open(source, about)
        stored = _stored_names(file.schema_arrow)
        wanted = check_columns(columns, list(stored), about.name)
        names = [name for title in wanted for name in stored[title]]
        # A name also selects what it is a prefix of, as in a path; hence the second selection.
        return _read(file, source, about, names).select(names)

    def column_names(self, source: Source, about: About, part: str = "") -> list[str]:
        """Return the names of the columns, from the footer; see `Format.column_names`."""
        recorded = source.layout.get("footer")
        if recorded:
            source.read_range(*recorded)
        return list(_stored_names(self._open(source, about).schema_arrow))

    @staticmethod
    def _open(source: Source, about: About, whole: bool = False) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = pa.BufferReader(pa.py_buffer(source.read_all())) if whole else pa.PythonFile(SourceFile(source), "r")
        try:
            # What it would read ahead, in threads of its own, are bytes that are at hand, or a few columns.
            return pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _damaged(source, about, error) from error


class SourceFile(io.RawIOBase):
    """A `Source` as a binary file, for libraries that read from files."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes."""
        left = max(self._source.size - self._at, 0)
        length = left if size is None or size < 0 else min(size, left)
        data = self._source.read_range(self._at, length)
        self._at += length
        return bytes(data)

    def read_buffer(self, size: int) -> Any:
        """Read as an Arrow buffer, without a copy."""
        import pyarrow as pa

        length = min(size, max(self._source.size - self._at, 0))
        data = self._source.read_range(self._at, length)
        self._at += length
        return pa.py_buffer(data)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


def _read(file: Any, source: Source, about: About, names: Sequence[str] | None = None) -> Any:
    """Read all rows; of those that might take more than `largest`, no more than that."""
    import pyarrow as pa

    what = f"{about.name}: the table in {source.name}"
    plain, most = _claims(file, names)
    check_claim(plain, source.size, what)
    if most <= largest(source.size):
        return file.read(columns=names, use_threads=most > _THREADED)
    # One word for a billion rows takes a few bytes: only reading tells how long the words are.
    batches, total = [], 0
    for batch in file.iter_batches(batch_size=_BATCH, columns=names):
        total += batch.nbytes
        check_claim(total, source.size, what)
        batches.append(batch)
    if not batches:
        return file.read(columns=names)
    return pa.Table.from_batches(batches)


def _claims(file: Any, names: Sequence[str] | None) -> tuple[int, int]:
    """Return the bytes that the numbers of a table take, and the most that numbers and words together may take."""
    plain = most = 0
    about = file.metadata
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if names is not None and column.path_in_schema.partition(".")[0] not in names:
                continue
            width = _WIDTHS.get(column.physical_type)
            if width is not None:
                plain += column.num_values * width
                most += column.num_values * width
            elif column.has_dictionary_page:
                most += column.num_values * (column.total_uncompressed_size + 4)
            else:
                most += column.num_values * 4 + column.total_uncompressed_size
    return plain, most


def _hash(data: Any) -> str:
    from xxhash import xxh3_128_hexdigest

    return xxh3_128_hexdigest(data)


def _damaged(source: Source, about: About, error: BaseException) -> FormatError | IntegrityError:
    text = f"{source.name}: this Parquet file cannot be read ({error}); expected a table for {about.name}"
    return IntegrityError(text) if "CRC checksum" in str(error) else FormatError(text)


def _footer(source: Source, about: About) -> tuple[int, int]:
    """Return offset and length of the footer, from its own length to the end."""
    what = f"{source.name}: expected a Parquet file for {about.name}"
    if source.size < 12 or bytes(source.read_range(0, 4)) != _MAGIC:
        raise FormatError(f"{what}; it does not begin with {_MAGIC!r}")
    tail = bytes(source.read_range(source.size - 8, 8))
    length = int.from_bytes(tail[:4], "little") + 8
    if tail[4:] != _MAGIC or length > source.size - 4:
        raise IntegrityError(f"{what}; its end is missing: it was cut short ({source.size} bytes)")
    return source.size - length, length


def _leaves(schema: Any) -> tuple[Any, Any]:
    """Return the paths of the float columns (split by bytes) and of the others (by dictionary)."""
    import pyarrow.parquet as pq

    # Only the writer knows what it calls the leaves of lists and structs.
    empty = io.BytesIO()
    pq.write_table(schema.empty_table(), empty)
    leaves = pq.ParquetFile(empty).schema
    floats: list[str] = []
    others: list[str] = []
    for i in range(len(leaves)):
        leaf = leaves.column(i)
        (floats if leaf.physical_type in ("FLOAT", "DOUBLE") else others).append(leaf.path)
    return floats, others


def _with_astropy_meta(arrow: Any, name: str) -> Any:
    """Add what astropy's own reader looks for: its YAML, and the widths of text columns."""
    metadata = dict(arrow.schema.metadata or {})
    if KEY not in metadata:
        return arrow
    if YAML_KEY not in metadata:
        from astropy.table import Table

        # A QTable's quantities are, to that reader, columns with units.
        empty = Table(to_table(arrow.slice(0, 0), name), copy=False)
        metadata[YAML_KEY] = yaml_meta(empty, name).encode()
        metadata[_ADDED] = b"1"
    for title, about in json.loads(metadata[KEY])["columns"].items():
        kind, width = about["dtype"][:1], about["dtype"][1:]
        if kind in ("U", "S"):
            metadata[_WIDTH + title.encode()] = width.encode()
    return arrow.replace_schema_metadata(metadata)


def _without_astropy_meta(arrow: Any) -> Any:
    metadata = dict(arrow.schema.metadata or {})
    if KEY not in metadata:
        return arrow
    for key in list(metadata):
        if key.startswith(_WIDTH) or (key == YAML_KEY and _ADDED in metadata):
            del metadata[key]
    metadata.pop(_ADDED, None)
    return arrow.replace_schema_metadata(metadata)


def _stored_names(schema: Any) -> dict[str, list[str]]:
    """Return for each column, as astropy shows it, the names of the stored columns that make it."""
    stored = {name: [name] for name in schema.names}
    metadata = schema.metadata or {}
    text = metadata.get(YAML_KEY)
    if text is None or SERIALIZED.encode() not in text:
        return stored
    serialized = yaml_header(text.decode("utf-8", "replace"), "the footer").get("meta", {}).get(SERIALIZED, {})
    for title, about in serialized.items():
        parts = stored_columns(about)
        for part in parts:
            stored.pop(part, None)
        stored[title] = parts
    return stored
