"""What the built-in assemblers do with tables of any make: astropy, Arrow, pandas, structured arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .components import declared_components, get_component, match_component, set_component
from .errors import AssemblyError
from .formats.convert import convert, is_tabular
from .formats.equality import loaded, same_values
from .formats.tables import names_of
from .words import listing


def kinds() -> tuple[Any, ...]:
    """Return the four makes of tables."""
    return (
        loaded("astropy.table", "Table"),
        loaded("pyarrow", "Table"),
        loaded("pandas", "DataFrame"),
        loaded("numpy", "ndarray"),
    )


def as_class(table: Any, class_obj: Any) -> Any:
    """Return a table as a class; None: as it is."""
    return table if class_obj is None or isinstance(table, class_obj) else convert(table, class_obj)


def empty(class_obj: Any) -> Any:
    """Return a table without columns; None if nobody says of which class."""
    from astropy.table import Table

    return None if class_obj is None else as_class(Table(), class_obj)


def alike(table: Any, kind: Any, where: str) -> Any:
    """Return a table as one of a make (None: its own).

    Raises
    ------
    AssemblyError
        If it is no table.
    """
    if isinstance(table, list) or not is_tabular(table):
        raise AssemblyError(
            f"{where} is a {type(table).__name__}, not a table (astropy Table, pyarrow.Table, pandas.DataFrame, "
            "structured array)"
        )
    return table if kind is None or isinstance(table, kind) else convert(table, kind)


def make_of(table: Any) -> Any:
    """Return which of the makes a table is of."""
    return next((kind for kind in kinds() if isinstance(table, kind)), None)


def only_columns(table: Any, columns: Sequence[str]) -> Any:
    """Return a table with some of its columns, in that order."""
    if names_of(table) == list(columns):
        return table
    if isinstance(table, loaded("pyarrow", "Table")):
        return table.select(list(columns))
    if make_of(table) is loaded("numpy", "ndarray"):
        from numpy.lib.recfunctions import repack_fields

        return repack_fields(table[list(columns)])
    if isinstance(table, loaded("astropy.table", "Table")):
        return with_columns(table, {name: table[name] for name in columns})
    return table[list(columns)]


def with_columns(table: Any, columns: Mapping[str, Any]) -> Any:
    """Return an astropy table with other columns, not copied, and with what it says beside them.

    Astropy's own selections tie tables into knots that hold their memory until Python happens to look for such.
    """
    made = type(table)(list(columns.values()), names=list(columns), copy=False, meta=table.meta)
    return with_common_components(made, [table])


def take_rows(table: Any, index: Any) -> Any:
    """Return rows of a table, by their numbers (an array of integers)."""
    if isinstance(table, loaded("pyarrow", "Table")):
        return table.take(index)
    if isinstance(table, loaded("pandas", "DataFrame")):
        return table.iloc[index].reset_index(drop=True)
    return table[index]


def meta_of(table: Any) -> dict[str, Any]:
    """Return what a table says of itself beside its columns."""
    if hasattr(table, "meta"):
        return dict(table.meta)
    if isinstance(table, loaded("pyarrow", "Table")):
        from .formats.tables import arrow_meta

        return arrow_meta(table)
    return dict(getattr(table, "attrs", {}))


def common_meta(tables: Sequence[Any], *, beside: bool = False) -> dict[str, Any]:
    """Return what all tables say alike; of tables `beside` one another those that say nothing do not count."""
    metas = [meta_of(table) for table in tables]
    found: dict[str, Any] = {}
    for key, value in ((key, value) for meta in metas for key, value in meta.items()):
        if key not in found and all(same_values(value, meta[key]) if key in meta else beside for meta in metas):
            found[key] = value
    return found


def with_common_components(made: Any, tables: Sequence[Any], *, beside: bool = False) -> Any:
    """Attach the components that hold for all rows; of tables `beside` one another those that lack one do not count."""
    for name in declared_components(type(made)):
        values = [get_component(t, name) if name in declared_components(type(t)) else None for t in tables]
        if beside:
            values = [value for value in values if value is not None] or [None]
        same = all(same_values(values[0], value) for value in values[1:])
        set_component(made, name, values[0] if same else None)
    return made


def attached(components: Mapping[str, Any], class_obj: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what is set on the result (the ``photoCalib`` of a catalog) from what it is made of."""
    declared = declared_components(class_obj) if isinstance(class_obj, type) else {}
    beside = {name: value for name, value in components.items() if match_component(name, declared) is not None}
    return {name: value for name, value in components.items() if name not in beside}, beside


def with_attached(made: Any, beside: Mapping[str, Any]) -> Any:
    """Set components on a table."""
    for name, value in beside.items():
        set_component(made, name, value)
    return made


def stacked(tables: Sequence[Any], columns: Sequence[str], what: str) -> Any:
    """Return the rows of tables of one make one after the other, with what they say alike.

    Raises
    ------
    AssemblyError
        If the columns do not go together; `what` says for whom.
    """
    astropy, arrow, pandas, _ = kinds()
    first = tables[0]
    ordered = [only_columns(table, columns) for table in tables]
    if isinstance(first, astropy):
        return _stacked_astropy(ordered, columns, what)
    if isinstance(first, arrow):
        return _stacked_arrow(ordered, what)
    if isinstance(first, pandas):
        import pandas as pd

        # Empty frames say nothing of the types that the columns should have.
        made = pd.concat([table for table in ordered if len(table)] or ordered[:1], ignore_index=True)
        made.attrs.clear()
        made.attrs.update(common_meta(tables))
        return made
    import numpy

    join = numpy.ma.concatenate if any(isinstance(t, numpy.ma.MaskedArray) for t in tables) else numpy.concatenate
    try:
        return join(ordered)
    except TypeError as error:
        raise _unlike(what, error) from error


def _unlike(what: str, error: Exception) -> AssemblyError:
    return AssemblyError(f"{what}: the columns of the members do not go together: {error}")


def _stacked_arrow(tables: Sequence[Any], what: str) -> Any:
    import pyarrow

    from .formats.convert import to_arrow, to_table
    from .formats.tables import KEY

    meta = common_meta(tables)
    told = any(KEY in (table.schema.metadata or {}) for table in tables)
    if told and any(not same_values(meta_of(table), meta) for table in tables):
        # What an astropy table says of itself is written into the schema; astropy does the rewriting.
        plain = [to_table(table) for table in tables]
        return to_arrow(_stacked_astropy(plain, plain[0].colnames, what))
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise _unlike(what, error) from error


def _stacked_astropy(tables: Sequence[Any], columns: Iterable[str], what: str) -> Any:
    from astropy.table import Table, TableMergeError, vstack

    first = tables[0]
    for column in columns:
        units = [None if (u := getattr(t[column], "unit", None)) is None else str(u) for t in tables]
        several = list(dict.fromkeys(units))
        if len(several) > 1 and not isinstance(first[column], loaded("astropy.units", "Quantity")):
            raise AssemblyError(f"{what}: the column {column!r} has several units: {listing(several)}")
    cls = type(first)
    # vstack wants one class, and knows nothing of what subclasses attach.
    base = cls if cls.__module__.split(".")[0] == "astropy" else Table
    try:
        made = vstack([base(table, copy=False) for table in tables], metadata_conflicts="silent")
    except (TableMergeError, ValueError, TypeError) as error:
        raise _unlike(what, error) from error
    made.meta.clear()
    made.meta.update(common_meta(tables))
    return made if base is cls else cls(made, copy=False)


def built(first: Any, columns: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
    """Return a table of the make of `first` with other columns."""
    astropy, arrow, pandas, _ = kinds()
    if isinstance(first, astropy):
        made = type(first)(list(columns.values()), names=list(columns))
        made.meta.update(meta)
        return made
    if isinstance(first, arrow):
        import pyarrow

        return pyarrow.table(dict(columns))
    if isinstance(first, pandas):
        import pandas as pd

        frame = pd.DataFrame({name: column.reset_index(drop=True) for name, column in columns.items()})
        frame.attrs.update(meta)
        return frame
    import numpy

    masked = any(isinstance(column, numpy.ma.MaskedArray) for column in columns.values())
    dtype = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    rows = len(next(iter(columns.values()), ()))
    array = (numpy.ma.empty if masked else numpy.empty)(rows, dtype=dtype)
    for name, column in columns.items():
        array[name] = column
    return array
