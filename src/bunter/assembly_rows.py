"""The built-in assembler ``concat_rows``: the rows of many tables under one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .assembly import ColumnSet, MemberList
from .assembly_tables import (
    alike,
    as_class,
    attached,
    empty,
    make_of,
    meta_of,
    stacked,
    with_attached,
    with_columns,
    with_common_components,
)
from .components import declared_components, get_component, match_component
from .dataid import DataId
from .errors import AssemblyError
from .formats.equality import loaded, same_values
from .formats.tables import names_of
from .words import listing


class ConcatRows:
    """Joins the members of the one list component in row direction, in key order.

    The columns of all members must be the same, in any order, with the same units; the result has them in the order
    of the first member. What members say beside their columns (``meta``, an attached ``wcs`` or ``photo_calib``) is
    kept if it is the same in all of them, and left out otherwise: it would be wrong for some of the rows. Other
    components than the list are set on the result if its class has a place for them (the ``photoCalib`` of a
    catalog); else they are there for their own names' sake (a table of the members that there should be).

    Parameters
    ----------
    keys : sequence of str
        Keys of the members' data IDs that become columns, in front of the others.
    same : sequence of str
        What must be the same in all members: a component, ``meta``, or ``meta.KEY``.
    """

    def __init__(self, keys: Sequence[str] = (), same: Sequence[str] = ()) -> None:
        self.keys = tuple(keys)
        self.same = tuple(same)

    def __call__(self, dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
        """Assemble; see `bunter.assembly.Assembler`.

        Raises
        ------
        AssemblyError
            If there is not just one list, its members are no tables, or they do not agree.
        """
        components, beside = attached(componentDict, classObj)
        lists = {name: value for name, value in components.items() if isinstance(value, list)}
        if not lists and len(components) == 1 and not any(value is not None for value in components.values()):
            # An optional list that is empty.
            return empty(classObj)
        if len(lists) != 1:
            found = ", ".join(f"{name} ({type(value).__name__})" for name, value in componentDict.items())
            raise AssemblyError(
                f"concat_rows joins the members of one list component (subset: true, or dataIds); this composite has "
                f"{len(lists)} of them among: {found}"
            )
        ((name, members),) = lists.items()
        rows = Rows(self, name)
        ids = members.data_ids if isinstance(members, MemberList) else [DataId() for _ in members]
        tables = [rows.take(m, d) for m, d in zip(members, ids, strict=True) if m is not None]
        if not tables:
            return empty(classObj)
        made = with_common_components(stacked(tables, rows.columns, "concat_rows"), tables)
        return with_attached(as_class(made, classObj), beside)

    def column_names(self, present: Mapping[str, ColumnSet]) -> list[str]:
        """Return the names of the columns that the result will have."""
        members = [columns.names for columns in present.values() if columns.is_list]
        return list(dict.fromkeys((*self.keys, *(members[0] if members else ()))))

    def select_columns(self, columns: Sequence[str], present: Mapping[str, ColumnSet]) -> dict[str, list[str]]:
        """Return which columns of the members are needed."""
        for name, members in present.items():
            if members.is_list:
                wanted = [column for column in columns if column in members.names]
                # Keys alone: how many rows there are is still to be read.
                return {name: wanted or list(members.names[:1])}
        return {}


class Rows:
    """Takes members one after the other and holds each against the first.

    Parameters
    ----------
    assembler : ConcatRows
        What is to agree.
    name : str
        Of the list component, for messages.

    Attributes
    ----------
    columns : list of str
        Names of the columns, known once there is a member.
    """

    def __init__(self, assembler: ConcatRows, name: str) -> None:
        self._assembler = assembler
        self._name = name
        self._first: Any = None
        self._shared: dict[str, tuple[Any, str]] = {}
        self.columns: list[str] = []

    def take(self, member: Any, data_id: Mapping[str, Any]) -> Any:
        """Return a member as a table of the first one's make and columns.

        Raises
        ------
        AssemblyError
            If it does not agree with those before it.
        """
        where = f"{self._name} {dict(data_id)}"
        table = alike(member, None if self._first is None else make_of(self._first), where)
        for word in self._assembler.same:
            self._agree(word, table, where)
        table = self._with_keys(table, data_id, where)
        names = names_of(table)
        if self._first is None:
            self._first, self.columns = _without_rows(table), names
        elif set(names) != set(self.columns):
            lacking = [column for column in self.columns if column not in names]
            extra = [column for column in names if column not in self.columns]
            raise AssemblyError(
                f"concat_rows: {where} has other columns than the first member; lacking: {listing(lacking)}; "
                f"extra: {listing(extra)}"
            )
        return table

    def _agree(self, word: str, table: Any, where: str) -> None:
        value = _shared(word, table, where)
        first, said = self._shared.setdefault(word, (value, where))
        if not same_values(first, value):
            raise AssemblyError(
                f"concat_rows: {word} is not the same in all members (same={word}): {said} has {first!r:.300}, "
                f"{where} has {value!r:.300}"
            )

    def _with_keys(self, table: Any, data_id: Mapping[str, Any], where: str) -> Any:
        lacking = [key for key in self._assembler.keys if key not in data_id]
        if lacking:
            raise AssemblyError(
                f"concat_rows is to add {listing(lacking)} as a column, which is no key of {where}; it has: "
                f"{listing(data_id)}"
            )
        names = names_of(table)
        for key in self._assembler.keys:
            if key in names and not _is_all(table[key], data_id[key]):
                raise AssemblyError(f"concat_rows: the column {key!r} of {where} does not say {data_id[key]!r}")
        new = {key: data_id[key] for key in self._assembler.keys if key not in names}
        return _with_constants(table, new) if new else table


def _without_rows(table: Any) -> Any:
    """Return what tells a table's make, without holding on to its rows."""
    return table.slice(0, 0) if isinstance(table, loaded("pyarrow", "Table")) else table[:0]


def _shared(word: str, table: Any, where: str) -> Any:
    if word == "meta":
        return meta_of(table)
    if word.startswith("meta."):
        return meta_of(table).get(word[5:])
    known = declared_components(type(table))
    name = match_component(word, known)
    if name is None:
        raise AssemblyError(
            f"concat_rows(same={word}): {where} is a {type(table).__name__}, which has no {word!r}; "
            f"there are: {listing([*known, 'meta', 'meta.KEY'])}"
        )
    return get_component(table, name)


def _is_all(column: Any, value: Any) -> bool:
    import numpy

    if isinstance(column, loaded("pyarrow", "ChunkedArray")):
        column = column.to_numpy()
    return bool(numpy.all(numpy.ma.filled(numpy.ma.asarray(column) == value, False)))


def _with_constants(table: Any, values: Mapping[str, Any]) -> Any:
    """Return a table with columns of one value each in front."""
    import numpy

    columns = {name: numpy.full(len(table), value) for name, value in values.items()}
    if isinstance(table, loaded("astropy.table", "Table")):
        return with_columns(table, {**columns, **{name: table[name] for name in table.colnames}})
    if isinstance(table, loaded("pyarrow", "Table")):
        import pyarrow

        for at, (name, column) in enumerate(columns.items()):
            plain = pyarrow.array(column.tolist(), pyarrow.string() if column.dtype.kind == "U" else None)
            table = table.add_column(at, name, pyarrow.chunked_array([plain]))
        return table
    if isinstance(table, loaded("pandas", "DataFrame")):
        made = table.copy(deep=False)
        for at, (name, column) in enumerate(columns.items()):
            made.insert(at, name, column)
        return made
    from .assembly_tables import built

    return built(table, {**columns, **{name: table[name] for name in names_of(table)}}, {})


concat_rows = ConcatRows()
