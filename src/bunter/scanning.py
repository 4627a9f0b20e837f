"""Going through tables that may be larger than memory: one member at a time, or as a pyarrow dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from .assembly_rows import ConcatRows, Rows
from .assembly_tables import (
    as_class,
    attached,
    only_columns,
    stacked,
    take_rows,
    with_attached,
    with_common_components,
)
from .dataid import DataId
from .errors import AssemblyError, IntegrityError, ParameterError
from .formats.convert import to_arrow
from .formats.tables import names_of
from .locate import Located, LocatedBranch, LocatedList, LocatedNode
from .plan import Leaf
from .reading import Opener, Progress, assembler_of, check_complete
from .where import Expression, parse
from .words import did_you_mean, listing

if TYPE_CHECKING:
    import pyarrow

Read: TypeAlias = Callable[[LocatedBranch, Mapping[str, Any], "Sequence[str] | None"], Any]
"""``(located, data ID, columns) -> object``"""


class Scan:
    """The rows of a table, member by member, as far as they meet a condition.

    Iterate over it for pairs of data ID and table. Every iteration reads anew, and holds one member at a time. What
    is no aggregate is one member.

    Attributes
    ----------
    data_ids : list of DataId
        The members' data IDs, in the order in which they come.
    """

    def __init__(
        self,
        name: str,
        parts: Members,
        read: Read,
        *,
        columns: Sequence[str] | None,
        where: str | None,
        as_type: Any,
        progress: Progress | None,
    ) -> None:
        self._name = name
        self._parts = parts
        self._read = read
        self._columns = None if columns is None else _listed(columns, name)
        self._where = None if where is None else parse(where)
        self._as_type = as_type
        self._progress = progress
        self.data_ids = [data_id for data_id, _ in parts.members]

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._parts.members)

    def __repr__(self) -> str:
        return f"<Scan of {self._name}: {len(self)} members>"

    def __iter__(self) -> Iterator[tuple[DataId, Any]]:
        parts = self._parts
        rows = Rows(parts.assembler, parts.name)
        beside = {name: self._read(branch, data_id, None) for name, (data_id, branch) in parts.beside.items()}
        for done, (data_id, member) in enumerate(parts.members):
            if self._progress is not None:
                self._progress(done, len(self))
            if not self._excluded(data_id):
                yield data_id, self._finished(self._taken(rows, data_id, member), beside)
        if self._progress is not None:
            self._progress(len(self), len(self))

    def to_table(self) -> Any:
        """Return all rows that meet the condition as one table, which has to fit into memory."""
        tables = [table for _, table in self] or [self._nothing()]
        made = stacked(tables, names_of(tables[0]), "scan")
        return with_common_components(made, tables)

    def to_reader(self) -> pyarrow.RecordBatchReader:
        """Return the rows as a `pyarrow.RecordBatchReader`, which other programs take: pandas, polars, DuckDB.

        Units and descriptions are in the fields' metadata.
        """
        import pyarrow

        tables = (to_arrow(table) for _, table in self)
        first = next(tables, None)
        schema = (to_arrow(self._nothing()) if first is None else first).schema.remove_metadata()

        def batches() -> Iterator[Any]:
            for table in chain(() if first is None else (first,), tables):
                yield from _as_schema(table, schema, self._name).to_batches()

        return pyarrow.RecordBatchReader.from_batches(schema, batches())

    def _excluded(self, data_id: Mapping[str, Any]) -> bool:
        """Tell whether the data ID alone says that no row will do."""
        known = {key: data_id[key] for key in self._parts.assembler.keys if key in data_id}
        return self._where is not None and self._where.excludes(known)

    def _taken(self, rows: Rows, data_id: DataId, member: LocatedBranch) -> Any:
        added = self._parts.assembler.keys
        columns: list[str] | None = None
        if self._columns is not None:
            wanted = list(dict.fromkeys((*self._columns, *sorted(self._where.names if self._where else ()))))
            # A key that is to be added is not in the members, or is the same there.
            columns = [column for column in wanted if column not in added]
            columns = columns or None
        return rows.take(self._read(member, data_id, columns), data_id)

    def _finished(self, table: Any, beside: Mapping[str, Any]) -> Any:
        if self._where is not None:
            table = _filtered(table, self._where, self._name)
        if self._columns is not None:
            table = only_columns(table, self._columns)
        made = with_attached(as_class(table, self._parts.class_obj), beside)
        return as_class(made, self._as_type)

    def _nothing(self) -> Any:
        """Return a table of no rows with the columns that the others have."""
        if not self._parts.members:
            raise AssemblyError(f"{self._name} has no members, so that nobody knows its columns")
        data_id, member = self._parts.members[0]
        table = self._taken(Rows(self._parts.assembler, self._parts.name), data_id, member)
        return as_class(only_columns(take_rows(table, []), self._columns or names_of(table)), self._as_type)


class Members:
    """The members of an aggregate, or the one table that something is.

    Parameters
    ----------
    located : LocatedBranch
        What was found.
    opener : Opener
        Formats and types.

    Attributes
    ----------
    members : list of (DataId, LocatedBranch)
        Those that there are.
    beside : dict
        Components that are set on the result.
    assembler : ConcatRows
        What the members have to agree in.
    class_obj : type or None
        What is handed out.
    """

    def __init__(self, located: LocatedBranch, name: str, data_id: Mapping[str, Any], opener: Opener) -> None:
        check_complete(located, name, data_id)
        while isinstance(located, LocatedNode) and located.node.take:
            located = located.branches[located.node.take]
        self.name = name
        self.assembler = ConcatRows()
        self.class_obj: Any = None
        self.beside: dict[str, tuple[DataId, LocatedBranch]] = {}
        self.members = [(DataId(data_id), located)]
        if isinstance(located, LocatedNode) and not located.node.derive:
            self._of_node(located, opener)
        elif isinstance(located, LocatedList):
            self.members = _there(located)

    def _of_node(self, located: LocatedNode, opener: Opener) -> None:
        composite = located.node.composite
        assembler = assembler_of(composite, opener)
        lists = {name: inner for name, inner in located.branches.items() if isinstance(inner, LocatedList)}
        # Whatever is made of all rows together needs all of them.
        if not isinstance(assembler, ConcatRows) or len(lists) != 1 or composite.standardize is not None:
            return
        ((self.name, members),) = lists.items()
        self.assembler = assembler
        self.class_obj = opener.type_of(composite.python)
        self.members = _there(members)
        others = {name: inner for name, inner in located.branches.items() if name != self.name}
        _, beside = attached(others, self.class_obj)
        self.beside = {name: (located.node.data_id, inner) for name, inner in beside.items()}


def _there(located: LocatedList) -> list[tuple[DataId, LocatedBranch]]:
    return [(data_id, member) for data_id, member in located.members if not located.is_none(member)]


def _listed(columns: Any, name: str) -> list[str]:
    if isinstance(columns, str):
        raise ParameterError(f"{name}: columns is a list of names: columns=[{columns!r}]")
    return list(dict.fromkeys(columns))


def _filtered(table: Any, where: Expression, name: str) -> Any:
    """Return the rows that meet a condition."""
    import numpy
    import pyarrow

    there = names_of(table)
    for word in where.names:
        if word not in there:
            raise ParameterError(
                f"{name}: where={str(where)!r}: no such column {word!r}{did_you_mean(word, there)}; there are: "
                f"{listing(there)}"
            )
    if not where.names:
        return table if where.evaluate({}) else take_rows(table, [])
    plain = to_arrow(only_columns(table, sorted(where.names)))
    types = pyarrow.types
    kinds: dict[str, str] = {}
    for at, field in enumerate(plain.schema):
        if types.is_boolean(field.type):
            # The language has no true and false: 1 and 0.
            plain = plain.set_column(at, field.name, plain.column(at).cast(pyarrow.int8()))
        if types.is_string(field.type) or types.is_large_string(field.type):
            kinds[field.name] = "str"
        elif types.is_integer(field.type) or types.is_floating(field.type) or types.is_boolean(field.type):
            kinds[field.name] = "number"
    where.check(kinds)
    try:
        mask = where.mask(plain)
        if isinstance(mask, pyarrow.Scalar):
            return table if mask.as_py() is True else take_rows(table, [])
        return take_rows(table, numpy.flatnonzero(mask.fill_null(False).to_numpy()))
    except pyarrow.ArrowException as error:
        raise ParameterError(f"{name}: where={str(where)!r} cannot be asked of these columns: {error}") from error


def _as_schema(table: Any, schema: Any, name: str) -> Any:
    import pyarrow

    try:
        columns = [table.column(field.name).cast(field.type) for field in schema]
    except pyarrow.ArrowException as error:
        raise AssemblyError(f"{name}: the columns of the members do not go together: {error}") from error
    return pyarrow.Table.from_arrays(columns, schema=schema)


def dataset_of(parts: Members, name: str) -> Any:
    """Return the members' files as a `pyarrow.dataset.Dataset`, whose scans choose columns and rows.

    Keys that ``concat_rows`` is to add are columns of it, by which whole files are passed over.

    Raises
    ------
    ParameterError
        If a member is not one whole Parquet file on this machine.
    AssemblyError
        If the members have not the same columns.
    """
    import pyarrow
    from pyarrow import compute, dataset, fs

    options = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
    format_ = dataset.ParquetFileFormat(default_fragment_scan_options=options)
    local = fs.LocalFileSystem()
    keys = parts.assembler.keys
    fragments = []
    schema: Any = None
    for data_id, member in parts.members:
        path = _parquet(member, name)
        expression = None
        for key in keys:
            term = compute.field(key) == compute.scalar(data_id[key])
            expression = term if expression is None else expression & term
        fragment = format_.make_fragment(path, local, expression)
        fragments.append(fragment)
        found = fragment.physical_schema
        if schema is None:
            schema = found
        elif set(found.names) != set(schema.names):
            raise AssemblyError(
                f"{name}: {dict(data_id)} has other columns than the first member; lacking: "
                f"{listing(n for n in schema.names if n not in found.names)}; extra: "
                f"{listing(n for n in found.names if n not in schema.names)}"
            )
    if schema is None:
        raise AssemblyError(f"{name} has no members, so that nobody knows its columns")
    added = {key: pyarrow.scalar(parts.members[0][0][key]).type for key in keys if key not in schema.names}
    fields = [*(pyarrow.field(key, kind) for key, kind in added.items()), *schema]
    return dataset.FileSystemDataset(fragments, pyarrow.schema(fields), format_, local)


def _parquet(member: LocatedBranch, name: str) -> str:
    """Return the path of a member's file, once it is known that it may be read."""
    what = "assembled of several"
    if isinstance(member, Located) and isinstance(member.leaf, Leaf) and member.found is not None:
        record = member.found.record
        what = f"stored as {record.writing.storage if record.writing else 'a composite'}"
        if record.writing is not None and record.writing.storage == "Parquet" and record.file is not None:
            source = member.found.repository.open_file(record.file)
            try:
                if source.local_path is not None:
                    # Of the pages pyarrow verifies the checksums; without a footer it is the size that counts here.
                    source.read_range(*source.layout.get("footer", (0, 0)))
                    return source.local_path
                what = "not on this machine"
            except IntegrityError as error:
                raise IntegrityError(f"{record.type} {record.data_id}: {error}") from error
            finally:
                source.close()
    raise ParameterError(
        f"{name} cannot be had as a pyarrow Dataset, which reads Parquet files by itself: a member is {what}. "
        "butler.scan(...) goes through members of any kind, one at a time; its to_reader() is for pyarrow"
    )
