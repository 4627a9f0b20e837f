"""The built-in assemblers for tables: rows of many under one another, columns of many side by side.

Both take astropy Tables (and subclasses), pyarrow Tables, pandas DataFrames and structured arrays. The first
member says which of them the result is; others are converted. A component of a table (``wcs`` of a catalog) is
kept if it is the same in all members, and dropped otherwise: it would be wrong for some of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .components import declared_components, get_component, set_component
from .errors import AssemblyError
from .formats.convert import convert, is_tabular
from .formats.equality import loaded, same_values
from .words import listing


def concat_rows(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    """Join the members of the one list component in row direction, in key order.

    Parameters
    ----------
    dataId : dict
        The composite's data ID.
    componentDict : dict
        One component, a list of tables with the same columns in any order.
    classObj : type or None
        What to hand out; None: what the first member is.

    Returns
    -------
    table
        With the columns in the order of the first member.

    Raises
    ------
    AssemblyError
        If there is not just one list, its members are no tables, or their columns or units differ.
    """
    if len(componentDict) != 1:
        raise AssemblyError(
            f"concat_rows joins the members of one list component; this composite has: {listing(componentDict)}"
        )
    ((name, members),) = componentDict.items()
    if members is not None and not isinstance(members, list):
        raise AssemblyError(f"concat_rows joins a list, but {name!r} is one {type(members).__name__}: say subset: true")
    where = [f"{name} {data_id}" for data_id in getattr(members, "data_ids", ())]
    tables = _tables([m for m in members or () if m is not None], where)
    if not tables:
        return None if classObj is None else _as(_empty(), classObj)
    columns = _names(tables[0])
    for number, table in enumerate(tables):
        if set(_names(table)) != set(columns):
            lacking = [column for column in columns if column not in _names(table)]
            extra = [column for column in _names(table) if column not in columns]
            raise AssemblyError(
                f"concat_rows: {where[number] if where else f'member {number} of {name}'} has other columns than the "
                f"first member; lacking: {listing(lacking)}; extra: {listing(extra)}"
            )
    return _as(_with_common_components(_stacked(tables, columns), tables), classObj)


def join_columns(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    """Join the columns of all components, row by row in the order that the rows have.

    A column that several components hold with equal values comes once; those that differ get the suffix
    ``_<component>``.

    Parameters
    ----------
    dataId : dict
        The composite's data ID.
    componentDict : dict
        Tables of equal length; absent optional ones are None.
    classObj : type or None
        What to hand out; None: what the first component is.

    Raises
    ------
    AssemblyError
        If a component is no table, or their lengths differ.
    """
    named = {name: table for name, table in componentDict.items() if table is not None}
    if not named:
        return None if classObj is None else _as(_empty(), classObj)
    tables = dict(zip(named, _tables(list(named.values()), list(named)), strict=True))
    lengths = {name: len(table) for name, table in tables.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise AssemblyError(f"join_columns joins row by row, but the numbers of rows differ: {said}")
    holders: dict[str, list[str]] = {}
    for name, table in tables.items():
        for column in _names(table):
            holders.setdefault(column, []).append(name)
    joined: dict[str, Any] = {}
    for name, table in tables.items():
        for column in _names(table):
            others = holders[column]
            first = _column(tables[others[0]], column)
            if all(same_values(first, _column(tables[other], column)) for other in others[1:]):
                joined.setdefault(column, first)
                continue
            suffixed = f"{column}_{name}"
            if suffixed in holders:
                raise AssemblyError(f"join_columns: the columns {column!r} clash, and {suffixed!r} is taken too")
            joined[suffixed] = _column(table, column)
    members = list(tables.values())
    return _as(_with_common_components(_built(members, joined), members, beside=True), classObj)


def _as(table: Any, class_obj: Any) -> Any:
    return table if class_obj is None or isinstance(table, class_obj) else convert(table, class_obj)


def _empty() -> Any:
    from astropy.table import Table

    return Table()


def _tables(members: Sequence[Any], where: Sequence[str]) -> list[Any]:
    """Return the members as tables of the kind that the first one is."""
    for number, member in enumerate(members):
        if isinstance(member, list) or not is_tabular(member):
            what = where[number] if number < len(where) else f"member {number}"
            raise AssemblyError(
                f"{what} is a {type(member).__name__}, not a table (astropy Table, pyarrow.Table, pandas.DataFrame, "
                "structured array)"
            )
    if not members:
        return []
    kind = next(kind for kind in _kinds() if isinstance(members[0], kind))
    return [member if isinstance(member, kind) else convert(member, kind) for member in members]


def _kinds() -> tuple[Any, ...]:
    return (
        loaded("astropy.table", "Table"),
        loaded("pyarrow", "Table"),
        loaded("pandas", "DataFrame"),
        loaded("numpy", "ndarray"),
    )


def _names(table: Any) -> list[str]:
    for attribute in ("colnames", "column_names"):
        if hasattr(table, attribute):
            return list(getattr(table, attribute))
    return list(table.columns) if hasattr(table, "columns") else list(table.dtype.names)


def _column(table: Any, name: str) -> Any:
    return table[name]


def _stacked(tables: Sequence[Any], columns: Sequence[str]) -> Any:
    astropy, arrow, pandas, _ = _kinds()
    first = tables[0]
    if isinstance(first, astropy):
        return _stacked_astropy(tables, columns)
    if isinstance(first, arrow):
        import pyarrow

        ordered = [table.select(list(columns)) for table in tables]
        try:
            return pyarrow.concat_tables(ordered, promote_options="permissive")
        except pyarrow.ArrowException as error:
            raise AssemblyError(f"concat_rows: the columns of the members do not go together: {error}") from error
    if isinstance(first, pandas):
        import pandas as pd

        # Empty frames say nothing of the types that the columns should have.
        ordered = [table[list(columns)] for table in tables]
        return pd.concat([table for table in ordered if len(table)] or ordered[:1], ignore_index=True)
    import numpy

    join = numpy.ma.concatenate if any(isinstance(t, numpy.ma.MaskedArray) for t in tables) else numpy.concatenate
    try:
        return join([table[list(columns)] for table in tables])
    except TypeError as error:
        raise AssemblyError(f"concat_rows: the columns of the members do not go together: {error}") from error


def _stacked_astropy(tables: Sequence[Any], columns: Sequence[str]) -> Any:
    from astropy.table import Table, TableMergeError, vstack

    first = tables[0]
    for column in columns:
        units = [None if (u := getattr(t[column], "unit", None)) is None else str(u) for t in tables]
        several = list(dict.fromkeys(units))
        if len(several) > 1 and not isinstance(first[column], loaded("astropy.units", "Quantity")):
            raise AssemblyError(f"concat_rows: the column {column!r} has several units: {listing(several)}")
    cls = type(first)
    # vstack wants one class, and knows nothing of what subclasses attach.
    base = cls if cls.__module__.split(".")[0] == "astropy" else Table
    try:
        made = vstack([base(table[list(columns)], copy=False) for table in tables], metadata_conflicts="silent")
    except (TableMergeError, ValueError, TypeError) as error:
        raise AssemblyError(f"concat_rows: the columns of the members do not go together: {error}") from error
    made.meta.clear()
    made.meta.update(
        {
            key: value
            for key, value in first.meta.items()
            if all(key in table.meta and same_values(value, table.meta[key]) for table in tables[1:])
        }
    )
    return made if base is cls else cls(made, copy=False)


def _built(tables: Sequence[Any], columns: Mapping[str, Any]) -> Any:
    astropy, arrow, pandas, _ = _kinds()
    first = tables[0]
    if isinstance(first, astropy):
        made = type(first)(list(columns.values()), names=list(columns))
        for table in tables:
            for key, value in table.meta.items():
                made.meta.setdefault(key, value)
        return made
    if isinstance(first, arrow):
        import pyarrow

        return pyarrow.table(dict(columns))
    if isinstance(first, pandas):
        import pandas as pd

        return pd.DataFrame({name: column.reset_index(drop=True) for name, column in columns.items()})
    import numpy

    masked = any(isinstance(column, numpy.ma.MaskedArray) for column in columns.values())
    dtype = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    empty = numpy.ma.empty if masked else numpy.empty
    array = empty(len(first), dtype=dtype)
    for name, column in columns.items():
        array[name] = column
    return array


def _with_common_components(made: Any, tables: Sequence[Any], *, beside: bool = False) -> Any:
    """Attach the components that hold for all rows; of tables `beside` one another those that lack one do not count."""
    for name in declared_components(type(made)):
        values = [get_component(t, name) if name in declared_components(type(t)) else None for t in tables]
        if beside:
            values = [value for value in values if value is not None] or [None]
        same = all(same_values(values[0], value) for value in values[1:])
        set_component(made, name, values[0] if same else None)
    return made
