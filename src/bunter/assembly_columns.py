"""The built-in assembler ``join_columns``: the columns of several tables side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .assembly import ColumnSet
from .assembly_tables import (
    alike,
    as_class,
    attached,
    built,
    common_meta,
    empty,
    kinds,
    make_of,
    only_columns,
    stacked,
    take_rows,
    with_attached,
    with_common_components,
)
from .errors import AssemblyError
from .formats.convert import to_arrow
from .formats.equality import loaded, same_values
from .formats.tables import names_of
from .words import listing


class JoinColumns:
    """Joins the columns of all components: row by row in the order that they have, or by key columns.

    Joined by keys, the rows come sorted by them, so that their order does not depend on which components were read.
    A key has to be there, and once, in every row of every component.

    Parameters
    ----------
    keys : sequence of str
        The key columns; none joins row by row.
    how : {"same", "inner", "outer"}
        ``same``: all components have the same keys, else it is an error; ``inner``: the rows whose keys all have;
        ``outer``: the rows whose keys any has, masked where a component has none.
    clash : {"suffix", "always", "first", "error"}
        What becomes of a column that several components have. ``suffix``: with equal values it comes once, else each
        gets the suffix ``_<component>``; ``always``: the suffix whether they are equal or not; ``first``: that of the
        first component, the others are not looked at; ``error``: they must be equal.
    """

    def __init__(self, keys: Sequence[str] = (), how: str = "same", clash: str = "suffix") -> None:
        self.keys = tuple(keys)
        self.how = how
        self.clash = clash

    def __call__(self, dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
        """Assemble; see `bunter.assembly.Assembler`.

        Raises
        ------
        AssemblyError
            If a component is no table, rows do not go together, or columns clash.
        """
        components, beside = attached(componentDict, classObj)
        named = {name: table for name, table in components.items() if table is not None}
        if not named:
            return empty(classObj)
        for name, table in named.items():
            if isinstance(table, list):
                raise AssemblyError(
                    f"join_columns joins tables, and {name!r} is a list: make a composite of it that is assembled by "
                    "concat_rows, and name that as the component"
                )
        first = next(iter(named.values()))
        kind = kinds()[0] if _is_described(named.values()) else make_of(first)
        tables = {name: alike(table, kind, name) for name, table in named.items()}
        members = list(tables.values())
        columns: dict[str, Any] = {}
        if self.keys:
            keys, tables = self._matched(tables)
            columns = {key: keys[key] for key in self.keys}
        else:
            _check_lengths(tables)
        columns |= self._columns(tables, getattr(componentDict, "present", {}))
        made = built(members[0], columns, common_meta(members, beside=True))
        made = with_common_components(made, members, beside=True)
        if classObj is None and isinstance(first, loaded("pyarrow", "Table")):
            made = to_arrow(made)
        return with_attached(as_class(made, classObj), beside)

    def column_names(self, present: Mapping[str, ColumnSet]) -> list[str]:
        """Return the names that the columns of the result can have."""
        return list(self._sources(present))

    def select_columns(self, columns: Sequence[str], present: Mapping[str, ColumnSet]) -> dict[str, list[str]]:
        """Return which columns of which components are needed; components that are not named are not read."""
        sources = self._sources(present)
        found: dict[str, list[str]] = {}
        for column in columns:
            for component, name in sources[column]:
                found.setdefault(component, []).append(name)
        if self.how != "same":
            # Which rows there are is for all of them to say.
            found = {name: found.get(name, []) for name in present}
        elif not found:
            found = {next(iter(present)): []}
        return {name: list(dict.fromkeys((*self.keys, *wanted))) for name, wanted in found.items()}

    def _sources(self, present: Mapping[str, ColumnSet]) -> dict[str, list[tuple[str, str]]]:
        """Return, for each name that a column of the result can have, what has to be read for it."""
        sources: dict[str, list[tuple[str, str]]] = {key: [] for key in self.keys}
        for name, columns in present.items():
            lacking = [key for key in self.keys if key not in columns.names]
            if lacking:
                raise _no_key(name, lacking, columns.names)
        for column, holders in _holders({name: columns.names for name, columns in present.items()}, self.keys).items():
            everywhere = [(name, column) for name in holders]
            if len(holders) == 1 or self.clash == "first":
                sources.setdefault(column, everywhere[:1])
                continue
            if self.clash != "always":
                sources.setdefault(column, everywhere)
            if self.clash != "error":
                for name in holders:
                    needed = everywhere if self.clash == "suffix" else [(name, column)]
                    sources.setdefault(f"{column}_{name}", needed)
        return sources

    def _columns(self, tables: Mapping[str, Any], present: Mapping[str, ColumnSet]) -> dict[str, Any]:
        """Return the columns of the result, but for the keys; `present` are those of the components, read or not."""
        own = {name: [c for c in names_of(table) if c not in self.keys] for name, table in tables.items()}
        holders = _holders(own | {name: columns.names for name, columns in present.items()}, self.keys)
        joined: dict[str, Any] = {}
        for name, column in ((name, column) for name, columns in own.items() for column in columns):
            others = [other for other in holders[column] if self.clash == "always" or column in own.get(other, ())]
            if len(others) == 1 or self._is_one(column, [tables[other] for other in others if other in tables]):
                joined.setdefault(column, tables[others[0]][column])
                continue
            if self.clash == "error":
                raise AssemblyError(
                    f"join_columns: the column {column!r} is not the same in {listing(others)} (clash=error)"
                )
            suffixed = f"{column}_{name}"
            if suffixed in holders or suffixed in self.keys:
                raise AssemblyError(f"join_columns: the columns {column!r} clash, and {suffixed!r} is taken too")
            joined[suffixed] = tables[name][column]
        return joined

    def _is_one(self, column: str, tables: Sequence[Any]) -> bool:
        """Tell whether a column that several tables have comes once."""
        if self.clash in ("first", "always"):
            return self.clash == "first"
        return all(same_values(tables[0][column], other[column]) for other in tables[1:])

    def _matched(self, tables: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return a table of the keys, and the tables with their rows in its order."""
        import numpy

        for name, table in tables.items():
            lacking = [key for key in self.keys if key not in names_of(table)]
            if lacking:
                raise _no_key(name, lacking, names_of(table))
        keys = stacked([only_columns(table, self.keys) for table in tables.values()], self.keys, "join_columns")
        codes = _codes(keys, self.keys, tables)
        ends = numpy.cumsum([len(table) for table in tables.values()])
        own = dict(zip(tables, numpy.split(codes, ends[:-1]), strict=True))
        for name, mine in own.items():
            values, counts = numpy.unique(mine, return_counts=True)
            if len(values) != len(mine):
                twice = _shown(keys, self.keys, codes, values[counts > 1])
                raise AssemblyError(f"join_columns: {name!r} has several rows for {listing(self.keys)} = {twice}")
        everywhere, first = numpy.unique(codes, return_index=True)
        there = {name: numpy.isin(everywhere, mine) for name, mine in own.items()}
        every = numpy.logical_and.reduce(list(there.values()))
        if self.how == "same" and not every.all():
            lacks = "; ".join(
                f"{name!r} lacks {listing(self.keys)} = {_shown(keys, self.keys, codes, everywhere[~mine])}"
                for name, mine in there.items()
                if not mine.all()
            )
            raise AssemblyError(
                f"join_columns: the components have not the same rows: {lacks}. Say how=inner for the rows that all "
                "have, or how=outer for those that any has"
            )
        chosen = every if self.how != "outer" else numpy.ones(len(everywhere), bool)
        matched = {}
        for name, table in tables.items():
            order = numpy.argsort(own[name], kind="stable")
            at = numpy.searchsorted(own[name][order], everywhere[chosen])
            missing = ~there[name][chosen]
            index = numpy.where(missing, 0, order[numpy.minimum(at, len(order) - 1)] if len(order) else 0)
            matched[name] = self._rows(table, index, missing)
        return take_rows(keys, first[chosen]), matched

    def _rows(self, table: Any, index: Any, missing: Any) -> Any:
        """Return the rows with these numbers, masked where there are none."""
        if not missing.any():
            return take_rows(table, index)
        names = [name for name in names_of(table) if name not in self.keys]
        return built(table, {name: _masked(table[name], index, missing) for name in names}, {})


def _holders(names: Mapping[str, Sequence[str]], keys: Sequence[str]) -> dict[str, list[str]]:
    holders: dict[str, list[str]] = {}
    for component, columns in names.items():
        for column in columns:
            if column not in keys:
                holders.setdefault(column, []).append(component)
    return holders


def _no_key(name: str, lacking: Sequence[str], names: Sequence[str]) -> AssemblyError:
    return AssemblyError(
        f"join_columns: {name!r} has no column {listing(lacking)} to join by; it has: {listing(names)}"
    )


def _check_lengths(tables: Mapping[str, Any]) -> None:
    lengths = {name: len(table) for name, table in tables.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise AssemblyError(
            f"join_columns joins row by row, but the numbers of rows differ: {said}. Name a key column to join by, "
            "join_columns(objectId)"
        )


def _is_described(tables: Any) -> bool:
    """Tell whether an Arrow table holds what only astropy can say: units, masks, mixin columns."""
    from .formats.tables import KEY

    arrow = loaded("pyarrow", "Table")
    return any(isinstance(table, arrow) and KEY in (table.schema.metadata or {}) for table in tables)


def _codes(keys: Any, names: Sequence[str], tables: Mapping[str, Any]) -> Any:
    """Return an integer for each row, the same for the same keys, in the order of the keys."""
    import numpy

    codes = numpy.zeros(len(keys), numpy.int64)
    for name in names:
        values, missing = _plain(keys[name])
        if missing.any():
            row = int(numpy.argmax(missing))
            for component, table in tables.items():
                if row < len(table):
                    raise AssemblyError(f"join_columns: row {row} of {component!r} has no value for the key {name!r}")
                row -= len(table)
        distinct, own = numpy.unique(values, return_inverse=True)
        codes = numpy.unique(codes * max(len(distinct), 1) + own, return_inverse=True)[1]
    return codes


def _plain(column: Any) -> tuple[Any, Any]:
    """Return a column as an array, and where it says nothing."""
    import numpy

    if isinstance(column, loaded("pyarrow", "ChunkedArray")):
        missing = column.is_null().to_numpy()
        values = numpy.array(column.to_pylist()) if missing.any() or not _is_number(column) else column.to_numpy()
    elif isinstance(column, loaded("pandas", "Series")):
        missing = column.isna().to_numpy()
        values = numpy.array(column.tolist())
    else:
        missing = numpy.ma.getmaskarray(column) if hasattr(column, "mask") else numpy.zeros(len(column), bool)
        values = numpy.ma.getdata(numpy.asarray(getattr(column, "value", column)))
    if values.ndim != 1:
        raise AssemblyError("join_columns: a key column holds one value a row")
    if values.dtype.kind == "f":
        missing = missing | numpy.isnan(values)
    return values, missing


def _is_number(column: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type))


def _shown(keys: Any, names: Sequence[str], codes: Any, wanted: Any) -> str:
    """Return some keys for a message."""
    import numpy

    rows = [int(numpy.argmax(codes == code)) for code in wanted[:6]]
    values = [[_plain(keys[name])[0][row].item() for name in names] for row in rows]
    said = ", ".join(str(value[0]) if len(value) == 1 else str(tuple(value)) for value in values)
    return said + (f", ... ({len(wanted)} in all)" if len(wanted) > len(rows) else "")


def _masked(column: Any, index: Any, missing: Any) -> Any:
    """Return rows of a column, masked where they are missing."""
    import numpy

    if isinstance(column, loaded("pyarrow", "ChunkedArray")):
        import pyarrow

        return column.take(pyarrow.array(index, mask=missing))
    if isinstance(column, loaded("pandas", "Series")):
        return _masked_series(column, index, missing)
    if type(column).__module__.partition(".")[0] == "numpy":
        taken = column[index] if len(column) else numpy.zeros((len(index), *column.shape[1:]), column.dtype)
        made = numpy.ma.array(taken)
        made[missing] = numpy.ma.masked
        return made
    from astropy.table import Column, MaskedColumn
    from astropy.units import Quantity
    from astropy.utils.masked import Masked

    if isinstance(column, Column):
        plain = column if len(column) else type(column)(numpy.zeros((len(index), *column.shape[1:]), column.dtype))
        made = MaskedColumn(plain[index])
        for attribute in ("unit", "description", "format", "meta"):
            setattr(made.info, attribute, getattr(column.info, attribute))
        made[missing] = numpy.ma.masked
        return made
    try:
        made = column[index]
        if isinstance(made, Quantity) and not isinstance(made, Masked):
            made = Masked(made)
        made[missing] = numpy.ma.masked
    except (TypeError, ValueError, NotImplementedError, IndexError) as error:
        raise AssemblyError(
            f"join_columns: a column of {type(column).__name__} cannot have missing rows (how=outer): {error}"
        ) from error
    return made


def _masked_series(column: Any, index: Any, missing: Any) -> Any:
    import pandas

    kind = column.dtype.kind if hasattr(column.dtype, "kind") else "O"
    if kind in "iub" and str(column.dtype)[0].islower():
        # pandas's own integers cannot be missing; its nullable ones are called Int64, UInt8, boolean.
        name = "boolean" if kind == "b" else str(column.dtype).replace("i", "I", 1).replace("uI", "UI")
        column = column.astype(name)
    taken = column.iloc[index] if len(column) else pandas.Series([None] * len(index), dtype=column.dtype)
    return taken.reset_index(drop=True).mask(missing)


join_columns = JoinColumns()
