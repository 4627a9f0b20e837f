"""Conversions of what was read into what the user wants: ``get(..., as_type=...)``."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError
from ..words import listing
from .equality import loaded


def convert(obj: Any, as_type: Any) -> Any:
    """Return an object as another type.

    A table (astropy Table, QTable, SourceCatalog or another subclass of Table, pyarrow.Table, pandas.DataFrame,
    structured numpy array) becomes any other of them. Between astropy and Arrow units, masks, shapes, descriptions
    and meta are kept; a DataFrame or an array has no place for units, descriptions and meta, and a DataFrame holds
    columns of more dimensions as objects. Any object becomes what its own
    ``__bunter_convert__(cls)`` makes of it (``NotImplemented`` if it cannot), and an object with ``to_ccddata``
    an ``astropy.nddata.CCDData``.

    Parameters
    ----------
    obj : object
        What was read. It is not changed; a new object may share its memory.
    as_type : type
        The class wanted.

    Raises
    ------
    ParameterError
        If the type cannot be reached; lists those that can.
    """
    if not isinstance(as_type, type):
        raise ParameterError(f"as_type is a class, for example astropy.table.Table, not {as_type!r:.80}")
    if type(obj) is as_type:
        return obj
    hook = getattr(obj, "__bunter_convert__", None)
    if hook is not None:
        made = hook(as_type)
        if made is not NotImplemented:
            return made
    if is_tabular(obj) and _is_table_type(as_type):
        return _convert_table(obj, as_type)
    ccddata = loaded("astropy.nddata", "CCDData")
    if issubclass(as_type, ccddata) and callable(getattr(obj, "to_ccddata", None)):
        return obj.to_ccddata()
    if isinstance(obj, as_type):
        return obj
    raise ParameterError(
        f"a {_dotted(type(obj))} cannot be had as {_dotted(as_type)}; as_type can be: {listing(reachable(obj))}"
    )


def _dotted(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def reachable(obj: Any) -> list[str]:
    """Return the dotted names of the types that `convert` can make of an object, its own first."""
    found = [_dotted(type(obj))]
    if is_tabular(obj):
        found += [
            "astropy.table.Table",
            "astropy.table.QTable",
            "bunter.SourceCatalog",
            "pyarrow.Table",
            "pandas.DataFrame",
            "numpy.ndarray",
        ]
    if callable(getattr(obj, "to_ccddata", None)):
        found.append("astropy.nddata.CCDData")
    if hasattr(obj, "__bunter_convert__"):
        found.append("whatever its __bunter_convert__ makes")
    return found


def is_tabular(obj: Any) -> bool:
    """Tell whether an object is a table in one of the forms that `convert` knows."""
    kinds = (
        loaded("astropy.table", "Table"),
        loaded("pyarrow", "Table"),
        loaded("pyarrow", "RecordBatch"),
        loaded("pandas", "DataFrame"),
    )
    return isinstance(obj, kinds) or _is_structured(obj)


def _is_structured(obj: Any) -> bool:
    return isinstance(obj, loaded("numpy", "ndarray")) and obj.dtype.names is not None and obj.ndim == 1


def _is_table_type(cls: type) -> bool:
    return issubclass(cls, loaded("astropy.table", "Table")) or cls in (
        loaded("pyarrow", "Table"),
        loaded("pandas", "DataFrame"),
        loaded("numpy", "ndarray"),
    )


def _convert_table(obj: Any, cls: Any) -> Any:
    if issubclass(cls, loaded("astropy.table", "Table")):
        table = to_table(obj)
        return table if type(table) is cls else cls(table, copy=False)
    if cls is loaded("pyarrow", "Table"):
        return to_arrow(obj)
    if cls is loaded("pandas", "DataFrame"):
        return to_frame(obj)
    if _is_structured(obj):
        return obj
    array = to_table(obj)
    try:
        return array.as_array()
    except (TypeError, ValueError) as error:
        raise ParameterError(f"this table cannot be had as a structured array: {error}") from error


def to_table(obj: Any, name: str = "table") -> Any:
    """Return any table as an astropy Table; one that is an astropy Table already as it is."""
    from astropy.table import Table

    if isinstance(obj, Table):
        return obj
    if _is_structured(obj):
        return Table(obj, copy=False)
    from .tables import arrow_to_table

    return arrow_to_table(to_arrow(obj, name), name)


def to_arrow(obj: Any, name: str = "table") -> Any:
    """Return any table as a pyarrow.Table; one that is a pyarrow.Table already as it is."""
    import pyarrow as pa

    if isinstance(obj, pa.Table):
        return obj
    if isinstance(obj, pa.RecordBatch):
        return pa.Table.from_batches([obj])
    if isinstance(obj, loaded("pandas", "DataFrame")):
        return _frame_to_arrow(obj, name)
    from .tables import table_to_arrow

    return table_to_arrow(to_table(obj, name), name)


def _frame_to_arrow(frame: Any, name: str) -> Any:
    import pyarrow as pa

    from ..errors import FormatError

    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FormatError(f"{name}: this DataFrame cannot be held by Arrow: {error}") from error


def to_frame(obj: Any) -> Any:
    """Return any table as a pandas.DataFrame; integers and bools with missing values as nullable columns."""
    import pandas as pd
    import pyarrow as pa

    arrow = to_arrow(obj)
    frame = arrow.to_pandas()
    if b"pandas" in (arrow.schema.metadata or {}):
        return frame
    for field, column in zip(arrow.schema, arrow.columns, strict=True):
        whole = pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
        if whole and column.null_count:
            # pandas spells them Int64, UInt8, boolean.
            dtype: Any = str(field.type).replace("i", "I", 1).replace("uI", "UI").replace("bool", "boolean")
            frame[field.name] = pd.array(column.to_pylist(), dtype=dtype)
    return frame
