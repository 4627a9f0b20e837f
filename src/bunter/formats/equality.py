"""Equality by value of whatever a dataset may hold: NaN equals NaN, and nothing is imported to find out.

An object of a class can only exist once the class's module is loaded, so classes are looked up among the
loaded modules.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import FunctionType
from typing import Any

from ..values import is_dataclass

IGNORED_CARDS = frozenset({"DATE", "CHECKSUM", "DATASUM"})
"""Header cards that say when and how a file was written, not what it holds."""

_PLAIN = (str, bytes, bool, int, float, complex, type(None))


def same_values(a: Any, b: Any) -> bool:
    """Tell whether two objects hold the same values.

    NaN equals NaN; masked values equal each other whatever lies under the mask; arrays need the same shape and
    kind of dtype, not the same byte order or width; tables need the same column names, units, descriptions and
    meta; header cards ``DATE``, ``CHECKSUM`` and ``DATASUM`` are ignored, comments too. Objects of classes that
    nobody knows are compared by their own ``__eq__`` if they have one, else by ``to_dict()`` or attributes.

    Examples
    --------
    >>> same_values({"a": [1, float("nan")]}, {"a": [1, float("nan")]})
    True
    >>> same_values([1], (1,))
    False
    """
    if a is b:
        return True
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return _same_scalars(a, b)
    for module, compare in _COMPARISONS:
        if module in sys.modules:
            told = compare(a, b)
            if told is not None:
                return told
    own = _own_eq(a)
    if own is not None:
        return _truth(a == b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if _own_eq(b) is not None:
            return _truth(b == a)
        return same_items(a, b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return (
            isinstance(a, list) == isinstance(b, list)
            and len(a) == len(b)
            and all(same_values(x, y) for x, y in zip(a, b, strict=True))
        )
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return _same_scalars(a, b)
    if isinstance(a, AbstractSet) or _has_eq(a):
        if type(a) is type(b) and _is_plain_dataclass(a):
            return _same_fields(a, b)
        return _truth(a == b)
    if type(a) is not type(b):
        return False
    return _same_state(a, b)


def same_items(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
    """Tell whether two mappings have the same keys, in any order, and the same values."""
    return len(a) == len(b) and all(key in b and same_values(value, b[key]) for key, value in a.items())


def _same_scalars(a: Any, b: Any) -> bool:
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    if a == b:
        return True
    if isinstance(a, complex) or isinstance(b, complex):
        return (
            isinstance(a, complex | float | int)
            and isinstance(b, complex | float | int)
            and _same_scalars(float(a.real), float(b.real))
            and _same_scalars(float(a.imag), float(b.imag))
        )
    # NaN is the only value that differs from itself.
    return bool(a != a and b != b)


def _has_eq(obj: Any) -> bool:
    eq: Any = type(obj).__eq__
    return eq is not object.__eq__


def _truth(told: Any) -> bool:
    if told is NotImplemented:
        return False
    if isinstance(told, bool):
        return told
    # Some libraries answer element by element.
    every = getattr(told, "all", None)
    return bool(every()) if callable(every) else bool(told)


def _is_plain_dataclass(obj: Any) -> bool:
    """Tell whether a dataclass has the ``__eq__`` that the decorator made, which cannot compare arrays."""
    if not is_dataclass(obj):
        return False
    eq = type(obj).__eq__
    return isinstance(eq, FunctionType) and eq.__code__.co_filename == "<string>"


def _own_eq(obj: Any) -> Any:
    """Return the ``__eq__`` that the author of the object's class wrote, or None."""
    eq = type(obj).__eq__
    if isinstance(eq, FunctionType) and not _is_plain_dataclass(obj) and not eq.__module__.startswith("collections"):
        return eq
    return None


def _same_fields(a: Any, b: Any) -> bool:
    import dataclasses

    return all(
        same_values(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a) if field.compare
    )


def _same_state(a: Any, b: Any) -> bool:
    if is_dataclass(a):
        return _same_fields(a, b)
    to_dict = getattr(a, "to_dict", None)
    if callable(to_dict):
        return same_values(to_dict(), b.to_dict())
    slots = [name for base in type(a).__mro__ for name in _slots(base)]
    if not slots and not hasattr(a, "__dict__"):
        return False
    missing = object()
    return all(same_values(getattr(a, s, missing), getattr(b, s, missing)) for s in slots) and same_items(
        getattr(a, "__dict__", {}), getattr(b, "__dict__", {})
    )


def _slots(cls: type) -> list[str]:
    slots = cls.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


# --- numpy -------------------------------------------------------------------------------------------------


def _numpy(a: Any, b: Any) -> bool | None:
    np = sys.modules["numpy"]
    generic = np.generic
    if isinstance(a, generic) and not isinstance(a, np.void):
        a = a.item() if type(a) is not np.longdouble else a
        return same_values(a, b.item() if isinstance(b, generic) and type(b) is not np.longdouble else b)
    if isinstance(b, generic) and not isinstance(b, np.void) and type(b) is not np.longdouble:
        return same_values(a, b.item())
    if type(a) is np.longdouble or type(b) is np.longdouble:
        return bool(a == b or (a != a and b != b))
    arrays = (np.ndarray, np.void)
    if not isinstance(a, arrays) and not isinstance(b, arrays):
        return None
    if not isinstance(a, arrays) or not isinstance(b, arrays):
        return False
    for x in (a, b):
        # Quantities, masked quantities and columns of tables know units: they are astropy's business.
        if isinstance(x, np.ndarray) and type(x).__module__.partition(".")[0] == "astropy":
            return None
    return same_arrays(a, b)


def same_arrays(a: Any, b: Any) -> bool:
    """Tell whether two numpy arrays (structured and masked ones too) have equal shapes, kinds and values."""
    import numpy as np

    if isinstance(a, np.ma.MaskedArray) or isinstance(b, np.ma.MaskedArray):
        return _same_masked(a, b)
    if a.shape != b.shape:
        return False
    if a.dtype.names is not None or b.dtype.names is not None:
        return a.dtype.names == b.dtype.names and all(same_arrays(a[n], b[n]) for n in a.dtype.names)
    if a.dtype.kind != b.dtype.kind:
        return False
    if a.dtype.kind == "O":
        return all(same_values(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    if a.dtype.kind == "V":
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    equal = a == b
    if bool(np.all(equal)):
        return True
    if a.dtype.kind not in "fcmM":
        return False
    if a.dtype.kind == "c":
        return same_arrays(a.real, b.real) and same_arrays(a.imag, b.imag)
    return bool(np.all(equal | ((a != a) & (b != b))))


def _same_masked(a: Any, b: Any) -> bool:
    import numpy as np

    if a.shape != b.shape or a.dtype.names != b.dtype.names:
        return False
    if a.dtype.names is not None:
        return all(_same_masked(a[n], b[n]) for n in a.dtype.names)
    mask = np.ma.getmaskarray(a)
    if not np.array_equal(mask, np.ma.getmaskarray(b)):
        return False
    return same_arrays(np.ma.getdata(a)[~mask], np.ma.getdata(b)[~mask])


# --- astropy -----------------------------------------------------------------------------------------------


def loaded(module: str, name: str) -> Any:
    """Return a class of a module that is loaded already, else a class that nothing is an instance of."""
    return getattr(sys.modules.get(module), name, _Nothing)


class _Nothing:
    pass


def _astropy(a: Any, b: Any) -> bool | None:
    for root, name, compare in (
        ("astropy.table", "Table", _same_tables),
        ("astropy.wcs", "WCS", _same_wcs),
        ("astropy.io.fits", "Header", _same_headers),
        ("astropy.table", "Column", _same_columns),
        ("astropy.units", "Quantity", _same_columns),
        ("astropy.utils.masked", "Masked", _same_columns),
        ("astropy.time", "TimeBase", _same_columns),
        ("astropy.coordinates", "SkyCoord", _same_columns),
        ("astropy.coordinates", "BaseRepresentationOrDifferential", _same_columns),
        ("astropy.nddata", "NDData", _same_nddata),
    ):
        cls = loaded(root, name)
        if isinstance(a, cls) or isinstance(b, cls):
            return isinstance(a, cls) and isinstance(b, cls) and compare(a, b)
    return None


def _same_wcs(a: Any, b: Any) -> bool:
    from ..exposure.wcs import same_wcs

    return bool(same_wcs(a, b))


def _same_headers(a: Any, b: Any) -> bool:
    def cards(header: Any) -> list[tuple[str, Any]]:
        return [(card.keyword, card.value) for card in header.cards if card.keyword not in IGNORED_CARDS]

    return same_values(cards(a), cards(b))


def _same_tables(a: Any, b: Any) -> bool:
    return (
        a.colnames == b.colnames
        and len(a) == len(b)
        and same_meta(a.meta, b.meta)
        and all(_same_columns(a[name], b[name]) for name in a.colnames)
    )


def same_meta(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Tell whether two tables' meta agree but for the ignored cards."""
    return same_items(
        {k: v for k, v in a.items() if k not in IGNORED_CARDS}, {k: v for k, v in b.items() if k not in IGNORED_CARDS}
    )


def _same_columns(a: Any, b: Any) -> bool:
    """Compare columns, quantities, times, coordinates: anything that has astropy's ``info``."""
    import numpy as np

    if a.shape != b.shape:
        return False
    # Reading `info` makes it on first use, which is all the time that a bare quantity would need.
    described = "info" in a.__dict__ or "info" in b.__dict__ or isinstance(a, loaded("astropy.table", "Column"))
    if described and not (
        a.info.description == b.info.description and same_items(a.info.meta or {}, b.info.meta or {})
    ):
        return False
    arrays = [isinstance(x, np.ndarray) and not _is_mixin(x) for x in (a, b)]
    if arrays[0] != arrays[1]:
        return False
    if arrays[0]:
        return _unit(a) == _unit(b) and same_arrays(_bare(a), _bare(b))
    if type(a).__name__ != type(b).__name__:
        return False
    return same_values(_represented(a), _represented(b))


def _is_mixin(column: Any) -> bool:
    # Angles and the like carry more than values and a unit.
    return isinstance(column, loaded("astropy.coordinates", "Angle"))


def _unit(column: Any) -> Any:
    return getattr(column, "unit", None)


def _bare(column: Any) -> Any:
    import numpy as np

    if isinstance(column, loaded("astropy.utils.masked", "Masked")):
        return np.ma.MaskedArray(np.asarray(column.unmasked), mask=np.asarray(column.mask))
    if isinstance(column, np.ma.MaskedArray):
        return np.ma.MaskedArray(np.ma.getdata(column).view(np.ndarray), mask=np.ma.getmaskarray(column))
    return column.view(np.ndarray)


def _represented(column: Any) -> dict[str, Any]:
    # The dict from which astropy itself restores the object; a Time's two doubles rather than rounded text.
    from astropy.utils.data_info import serialize_context_as

    if isinstance(column, loaded("astropy.time", "TimeBase")):
        # The format only says how it is shown.
        mask = getattr(column, "mask", False)
        if not getattr(mask, "any", lambda: mask)():
            mask = False
        keep = {name: getattr(column, name, None) for name in ("scale", "location")}
        return {"jd1": column.jd1, "jd2": column.jd2, "mask": mask, **keep}
    with serialize_context_as("fits"):
        return dict(column.info._represent_as_dict())


def _same_nddata(a: Any, b: Any) -> bool:
    def parts(obj: Any) -> list[Any]:
        uncertainty = obj.uncertainty
        kind = None if uncertainty is None else (uncertainty.uncertainty_type, uncertainty.array, uncertainty.unit)
        return [obj.data, obj.mask, kind, obj.unit, obj.wcs, dict(obj.meta)]

    return same_values(parts(a), parts(b))


# --- pyarrow and pandas ------------------------------------------------------------------------------------


def _pyarrow(a: Any, b: Any) -> bool | None:
    pa = sys.modules["pyarrow"]
    tables = (loaded("pyarrow", "Table"), loaded("pyarrow", "RecordBatch"))
    if isinstance(a, tables) or isinstance(b, tables):
        if type(a) is not type(b):
            return False
        return _same_schemas(a.schema, b.schema) and all(
            _same_arrow(x, y) for x, y in zip(a.itercolumns(), b.itercolumns(), strict=True)
        )
    arrays = (pa.Array, pa.ChunkedArray)
    if isinstance(a, arrays) and isinstance(b, arrays):
        return bool(a.type == b.type) and _same_arrow(a, b)
    return None


def _same_schemas(a: Any, b: Any) -> bool:
    def told(schema: Any) -> list[Any]:
        fields = [(field.name, field.type, field.metadata or {}) for field in schema]
        return [fields, {k: v for k, v in (schema.metadata or {}).items() if k != b"pandas"}]

    return bool(told(a) == told(b))


def _same_arrow(a: Any, b: Any) -> bool:
    pa = sys.modules["pyarrow"]
    if isinstance(a, pa.ChunkedArray) and isinstance(b, pa.ChunkedArray):
        a, b = a.combine_chunks(), b.combine_chunks()
    if a.equals(b):
        return True
    if len(a) != len(b) or a.null_count != b.null_count:
        return False
    if pa.types.is_floating(a.type):
        return bool(a.is_null().equals(b.is_null())) and same_arrays(
            a.to_numpy(zero_copy_only=False), b.to_numpy(zero_copy_only=False)
        )
    # Only NaN within lists and structs can still be equal.
    return same_values(a.to_pylist(), b.to_pylist()) if pa.types.is_nested(a.type) else False


def _pandas(a: Any, b: Any) -> bool | None:
    kinds = tuple(loaded("pandas", name) for name in ("DataFrame", "Series", "Index"))
    if not isinstance(a, kinds) and not isinstance(b, kinds):
        return None
    if type(a) is not type(b):
        return False
    if not isinstance(a, kinds[0]):
        return bool(a.equals(b))
    if not (a.columns.equals(b.columns) and a.index.equals(b.index) and same_items(a.attrs, b.attrs)):
        return False
    for position in range(a.shape[1]):
        x, y = a.iloc[:, position], b.iloc[:, position]
        if x.dtype != y.dtype:
            return False
        same = same_values(x.tolist(), y.tolist()) if x.dtype == object else bool(x.equals(y))
        if not same:
            return False
    return True


_COMPARISONS = (
    ("numpy", _numpy),
    ("astropy", _astropy),
    ("pyarrow", _pyarrow),
    ("pandas", _pandas),
)
