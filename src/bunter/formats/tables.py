"""Conversions between astropy tables and Arrow tables that keep units, masks, shapes, descriptions and meta.

Arrow cannot say by itself all that an astropy column is. What it cannot say is JSON under the schema key
``bunter``; units and descriptions are beside it in each field's metadata, for other programs. Mixin columns
(Time, SkyCoord) and meta that JSON cannot hold are described by astropy's own YAML, ``table_meta_yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError, ParameterError
from ..words import did_you_mean, listing
from .yaml_ import check_aliases

KEY = b"bunter"
YAML_KEY = b"table_meta_yaml"
SERIALIZED = "__serialized_columns__"


# --- from astropy to Arrow ---------------------------------------------------------------------------------


def table_to_arrow(table: Any, name: str = "table") -> Any:
    """Return an astropy Table as a pyarrow.Table; `arrow_to_table` makes an equal one of it.

    Parameters
    ----------
    table : astropy.table.Table
        Its columns may be masked, have units and more dimensions, or be quantities, times and coordinates. Arrow's
        only word for ``NaT`` is null: in a masked column of ``datetime64`` it comes back masked.
    name : str
        For messages.

    Raises
    ------
    FormatError
        If a column or the meta cannot be held; names it.
    """
    import pyarrow as pa

    plain, yaml = _without_mixins(table, name)
    told: dict[str, Any] = {"version": 1, "class": _class_name(table), "columns": {}}
    if yaml:
        told["yaml"] = True
    else:
        told["meta"] = dict(table.meta)
    arrays, fields = [], []
    for column in plain.itercols():
        title = column.info.name
        array, about = _column_to_arrow(column, f"{name}: column {title!r}")
        told["columns"][title] = about
        notes = {key: about[key] for key in ("unit", "description") if about.get(key)}
        arrays.append(array)
        fields.append(pa.field(title, array.type, metadata=notes or None))
    metadata: dict[Any, Any] = {KEY: json.dumps(told, separators=(",", ":")).encode()}
    if yaml:
        metadata[YAML_KEY] = yaml_meta(plain, name).encode()
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))


def _class_name(table: Any) -> str:
    from astropy.table import QTable

    return "QTable" if isinstance(table, QTable) else "Table"


def yaml_meta(table: Any, name: str) -> str:
    """Return astropy's YAML of a table without mixins: names, dtypes, units, meta."""
    from astropy.table.meta import get_yaml_from_table

    try:
        return "\n".join(get_yaml_from_table(table))
    except Exception as error:
        # PyYAML's representer raises what it likes for objects that it does not know.
        raise FormatError(
            f"{name}: the table's meta cannot be stored: {error}; it holds plain values, and astropy's units, "
            "quantities, times and coordinates"
        ) from error


def _without_mixins(table: Any, name: str) -> tuple[Any, bool]:
    """Return the table with only plain columns and quantities, and whether YAML has to describe the rest."""
    from astropy.table.serialize import represent_mixins_as_columns
    from astropy.utils.data_info import serialize_context_as

    if all(_is_simple(column) for column in table.itercols()):
        return table, not is_json(table.meta)
    try:
        # In this context a Time is its two doubles and a masked column stays one.
        with serialize_context_as("fits"):
            return represent_mixins_as_columns(table), True
    except (TypeError, ValueError) as error:
        raise FormatError(f"{name}: a column cannot be taken apart for storage: {error}") from error


def _is_simple(column: Any) -> bool:
    from astropy.table import Column
    from astropy.units import Quantity

    if not isinstance(column, Column) and type(column) is not Quantity:
        return False
    unit = column.unit
    return column.dtype.names is None and is_json(column.info.meta or {}) and _unit_text(unit) is not None


def _unit_text(unit: Any) -> str | None:
    """Return a unit as text that is read back as the same; "" for no unit, None if there is no such text."""
    from astropy.units import Unit

    if unit is None:
        return ""
    text = str(unit.to_string())
    try:
        return text if text and Unit(text, parse_strict="silent") == unit else None
    except (ValueError, TypeError):
        return None


def is_json(value: Any) -> bool:
    """Tell whether JSON holds a value exactly: no tuples, no numpy scalars, no keys but strings."""
    if value is None or type(value) in (str, int, float, bool):
        return True
    if type(value) is list:
        return all(map(is_json, value))
    if isinstance(value, dict):
        return all(type(key) is str and is_json(item) for key, item in value.items())
    return False


def _column_to_arrow(column: Any, where: str) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa

    about: dict[str, Any] = {}
    info = column.info
    if not isinstance(column, np.ma.MaskedArray) and not hasattr(column, "mask"):
        mask = None
    else:
        mask, about["masked"] = np.ma.getmaskarray(column), True
    values = np.asarray(column.value if not hasattr(column, "data") or hasattr(column, "to_value") else column.data)
    values = np.ma.getdata(values)
    if hasattr(column, "to_value"):
        about["quantity"] = True
    if column.unit is not None:
        about["unit"] = column.unit.to_string()
    for attribute in ("description", "format"):
        text = getattr(info, attribute)
        if isinstance(text, str):
            about[attribute] = text
    if info.meta and is_json(info.meta):
        about["meta"] = dict(info.meta)
    about["dtype"] = values.dtype.newbyteorder("=").str.lstrip("<=>")
    if values.ndim > 1:
        about["shape"] = list(values.shape[1:])
    try:
        return _array_to_arrow(values, mask, about), about
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            f"{where} (dtype {values.dtype}, shape {values.shape}) cannot be held by Arrow: {error}"
        ) from error


def _array_to_arrow(values: Any, mask: Any, about: dict[str, Any]) -> Any:
    import pyarrow as pa

    rows = len(values)
    kind = values.dtype.kind
    if kind == "O":
        if values.ndim > 1:
            raise TypeError("Python objects in more than one dimension")
        return _objects_to_arrow(values, mask)
    if kind == "c":
        # Two floats for each; the last dimension says so.
        part = values.dtype.newbyteorder("=")
        values = np.ascontiguousarray(values, part).view(f"f{part.itemsize // 2}").reshape(*values.shape, 2)
        mask = None if mask is None else np.repeat(mask[..., np.newaxis], 2, axis=-1)
    if values.dtype.itemsize > 8 and values.dtype.kind in "fc":
        raise TypeError("floats wider than 64 bits")
    flat = np.ascontiguousarray(values.reshape(-1), values.dtype.newbyteorder("="))
    flags = None if mask is None or not mask.any() else np.ascontiguousarray(mask.reshape(-1))
    if values.dtype.kind in "SU":
        array = pa.array(flat.tolist(), pa.string() if values.dtype.kind == "U" else pa.binary(), mask=flags)
    else:
        array = pa.array(flat, mask=flags)
    if values.ndim == 1:
        return array
    each = int(np.prod(values.shape[1:]))
    if each == 0:
        # Arrow has no lists of no elements; the shape is remembered.
        return pa.nulls(rows)
    return pa.FixedSizeListArray.from_arrays(array, each)


def _objects_to_arrow(values: Any, mask: Any) -> Any:
    import pyarrow as pa

    items = [None if mask is not None and mask[i] else item for i, item in enumerate(values.tolist())]
    if any(isinstance(item, np.ndarray) for item in items):
        if any(not isinstance(item, np.ndarray | None) or (item is not None and item.ndim != 1) for item in items):
            raise TypeError("a mixture of arrays and other objects")
        if len({item.dtype for item in items if item is not None}) > 1:
            raise TypeError("arrays of several dtypes")
    elif len({type(item) for item in items if item is not None}) > 1 or any(
        not isinstance(item, str | bytes | bool | int | float | None) for item in items
    ):
        raise TypeError("objects other than strings, bytes, numbers and one-dimensional arrays of one kind")
    return pa.array(items)


# --- from Arrow to astropy ---------------------------------------------------------------------------------


def arrow_to_table(arrow: Any, name: str = "table") -> Any:
    """Return a pyarrow.Table as an astropy Table (QTable if it was made from one).

    Of tables that `table_to_arrow` did not make: nulls become masked values (NaN in float columns that pandas
    wrote), lists of a fixed size become columns of more dimensions, other lists arrays in an object column,
    dictionaries their values, timestamps ``datetime64`` in UTC.

    Raises
    ------
    FormatError
        If the description in the schema is damaged, or two columns have one name.
    """
    from astropy.table import QTable, Table

    metadata = arrow.schema.metadata or {}
    told = _told(arrow, metadata, name)
    pandas = b"pandas" in metadata
    columns = []
    for field, array in zip(arrow.schema, arrow.columns, strict=True):
        notes = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in (field.metadata or {}).items()}
        about = told.get("columns", {}).get(field.name) or {k: notes[k] for k in ("unit", "description") if k in notes}
        columns.append(_arrow_to_column(field.name, array, about, pandas))
    made = (QTable if told.get("class") == "QTable" else Table)(columns, copy=False)
    if not told:
        if YAML_KEY in metadata:
            return _with_yaml(made, metadata[YAML_KEY].decode(), name, foreign=True)
        made.meta.update(_foreign_meta(metadata))
    elif told.get("yaml"):
        return _with_yaml(made, metadata.get(YAML_KEY, b"").decode(), name, foreign=False)
    else:
        made.meta.update(told.get("meta", {}))
    return made


def arrow_meta(arrow: Any, name: str = "table") -> dict[str, Any]:
    """Return the meta that `arrow_to_table` gives a table, without making one if it can be told without.

    Raises
    ------
    FormatError
        If the description in the schema is damaged, or two columns have one name.
    """
    metadata = arrow.schema.metadata or {}
    told = _told(arrow, metadata, name)
    if told.get("yaml") or (not told and YAML_KEY in metadata):
        return dict(arrow_to_table(arrow.slice(0, 0), name).meta)
    return dict(told.get("meta", {})) if told else _foreign_meta(metadata)


def _told(arrow: Any, metadata: Mapping[bytes, bytes], name: str) -> dict[str, Any]:
    """Return what `table_to_arrow` has said of a table in its schema; nothing of one that it did not make."""
    told: dict[str, Any] = {}
    if KEY in metadata:
        try:
            told = json.loads(metadata[KEY])
            if told["version"] != 1:
                raise FormatError(f"{name}: a table description of version {told['version']}; 1 is read")
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{name}: the table's description cannot be read: {error}") from error
    if len(set(arrow.column_names)) != arrow.num_columns:
        raise FormatError(f"{name}: two columns have one name: {listing(arrow.column_names)}")
    return told


def _foreign_meta(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        k.decode("utf-8", "replace"): v.decode("utf-8", "replace")
        for k, v in metadata.items()
        if k not in (b"pandas", b"ARROW:schema")
    }


def yaml_header(text: str, name: str) -> dict[str, Any]:
    """Return what astropy's YAML of a table says.

    Raises
    ------
    FormatError
        If it cannot be read, or is beyond the limits of `bunter.formats.yaml_`.
    """
    from astropy.table.meta import YamlParseError, get_header_from_yaml
    from yaml import YAMLError

    try:
        check_aliases(text.encode())
        header: dict[str, Any] = get_header_from_yaml(text.split("\n"))
        if not isinstance(header, dict) or not isinstance(header.get("meta", {}), dict):
            raise ValueError("it is no mapping")
    except (YamlParseError, YAMLError, ValueError) as error:
        raise FormatError(f"{name}: the table's YAML description cannot be read: {error!r}") from error
    return header


def _with_yaml(table: Any, text: str, name: str, foreign: bool) -> Any:
    from astropy.table.serialize import _construct_mixins_from_columns

    header = yaml_header(text, name)
    try:
        meta = dict(header.get("meta", {}))
        if SERIALIZED in meta:
            meta[SERIALIZED] = _only(meta[SERIALIZED], table.colnames)
        table.meta.update(meta)
        if foreign:
            for about in header["datatype"]:
                if about["name"] in table.colnames:
                    column = table[about["name"]]
                    for attribute in ("unit", "description", "format", "meta"):
                        if attribute in about:
                            setattr(column.info, attribute, about[attribute])
        return _construct_mixins_from_columns(table)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{name}: the table's YAML description cannot be used: {error!r}") from error


def _only(serialized: Mapping[str, Any], present: Sequence[str]) -> dict[str, Any]:
    """Leave out the mixin columns that were not read."""
    return {title: about for title, about in serialized.items() if set(stored_columns(about)) <= set(present)}


def stored_columns(serialized: Mapping[str, Any]) -> list[str]:
    """Return the names of the plain columns that a mixin column was taken apart into."""
    found: list[str] = []
    for about in serialized.values():
        if isinstance(about, Mapping):
            if isinstance(about.get("name"), str) and type(about).__name__ == "SerializedColumn":
                found.append(about["name"])
            else:
                found += stored_columns(about)
    return found


def _arrow_to_column(title: str, array: Any, about: Mapping[str, Any], pandas: bool) -> Any:
    from astropy.table import Column, MaskedColumn
    from astropy.units import Quantity

    values, mask = _arrow_to_numpy(array, about, pandas)
    unit = about.get("unit") or None
    keep = {key: about[key] for key in ("description", "format", "meta") if about.get(key)}
    if about.get("quantity"):
        made = Quantity(values, unit, copy=False, subok=False, dtype=values.dtype)
        made.info.name = title
        for key, value in keep.items():
            setattr(made.info, key, value)
        return made
    if unit is not None:
        from astropy.units import Unit

        unit = Unit(unit, parse_strict="silent")
    if mask is not None or about.get("masked"):
        return MaskedColumn(values, name=title, mask=False if mask is None else mask, unit=unit, **keep)
    return Column(values, name=title, unit=unit, **keep)


def _arrow_to_numpy(array: Any, about: Mapping[str, Any], pandas: bool) -> tuple[Any, Any]:
    """Return values and mask (None: nothing masked) of an Arrow column."""
    import pyarrow as pa

    array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    dtype = np.dtype(about["dtype"]) if about.get("dtype") else None
    shape = tuple(about.get("shape", ()))
    rows = len(array)
    kind = array.type
    if shape and 0 in shape:
        return np.zeros((rows, *shape), dtype), None
    if not pa.types.is_fixed_size_list(kind):
        values, mask = _flat_to_numpy(array, dtype, pandas)
        if values.dtype.kind in "mM" and not about.get("masked"):
            # Arrow has nulls for "not a time".
            mask = None
        return values, mask
    each = kind.list_size
    if array.null_count:
        values, mask = _lists_with_nulls(array, each, dtype, pandas)
    else:
        inner = array.values.slice(array.offset * each, rows * each)
        values, mask = _flat_to_numpy(inner, None if dtype is not None and dtype.kind == "c" else dtype, pandas)
    if dtype is not None and dtype.kind == "c":
        values = np.ascontiguousarray(values).view(dtype)
        mask = None if mask is None else mask.reshape(-1, 2)[:, 0]
    else:
        shape = shape or (each,)
    shape = (rows, *shape)
    return values.reshape(shape), None if mask is None else mask.reshape(shape)


def _lists_with_nulls(array: Any, each: int, dtype: Any, pandas: bool) -> tuple[Any, Any]:
    there = ~array.is_null().to_numpy(zero_copy_only=False)
    inner, inner_mask = _flat_to_numpy(array.flatten(), dtype, pandas)
    values = np.zeros((len(array), each), inner.dtype)
    values[there] = inner.reshape(-1, each)
    mask = np.repeat(~there[:, np.newaxis], each, axis=1)
    if inner_mask is not None:
        mask[there] = inner_mask.reshape(-1, each)
    return values, mask


def _flat_to_numpy(array: Any, dtype: Any, pandas: bool) -> tuple[Any, Any]:
    import pyarrow as pa

    kind = array.type
    types = pa.types
    mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if types.is_null(kind):
        # No value tells the type; float is what a column of missing measurements most likely is.
        return np.zeros(len(array), dtype or np.float64), mask
    if types.is_floating(kind) and mask is not None and pandas:
        return _writable(array.to_numpy(zero_copy_only=False)), None
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        filled = array.fill_null(False if types.is_boolean(kind) else 0) if mask is not None else array
        values = _writable(filled.to_numpy(zero_copy_only=False))
        return (values if dtype is None or values.dtype == dtype else values.astype(dtype)), mask
    if types.is_temporal(kind) and not types.is_time(kind) and not types.is_interval(kind):
        values = _writable(array.to_numpy(zero_copy_only=False))
        return (values, None) if dtype is None else (values.astype(dtype), mask)
    items = array.to_pylist()
    texts = types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"
    raw = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    if (texts or raw) and (dtype is None or dtype.kind in "SU"):
        blank: Any = "" if texts else b""
        filled_items = [blank if item is None else item for item in items]
        return np.array(filled_items, dtype or (np.str_ if texts else np.bytes_)), mask
    if types.is_list(kind) or types.is_large_list(kind):
        inner = kind.value_type.to_pandas_dtype()
        items = [None if item is None else np.array(item, inner) for item in items]
    values = np.empty(len(items), object)
    values[:] = items
    return values, mask if dtype is None else None


def _writable(values: Any) -> Any:
    # Arrow lends read-only views of its memory.
    return values if values.flags.writeable else values.copy()


# --- selections --------------------------------------------------------------------------------------------


def names_of(table: Any) -> list[str]:
    """Return the names of the columns of a table of any make."""
    for attribute in ("colnames", "column_names"):
        if hasattr(table, attribute):
            return list(getattr(table, attribute))
    return list(table.columns) if hasattr(table, "columns") else list(table.dtype.names)


def check_columns(columns: Any, present: Sequence[str], name: str) -> list[str]:
    """Return the names that ``columns`` asks for.

    Raises
    ------
    ParameterError
        If it is no list of names, or a name is unknown, or there twice.
    """
    if isinstance(columns, str):
        raise ParameterError(f"{name}: columns is a list of names: columns=[{columns!r}]")
    try:
        wanted = list(columns)
    except TypeError:
        raise ParameterError(f"{name}: columns is a list of names, not {columns!r:.80}") from None
    if not wanted:
        raise ParameterError(f"{name}: columns names no column; there are: {listing(present)}")
    for column in wanted:
        if column not in present:
            raise ParameterError(
                f"{name}: there is no column {column!r}{did_you_mean(str(column), present)}; "
                f"there are: {listing(present)}"
            )
    if len(set(wanted)) != len(wanted):
        raise ParameterError(f"{name}: columns names a column twice: {listing(wanted)}")
    return wanted
