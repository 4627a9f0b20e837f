"""Tables in which users keep the polygons of tracts and patches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ParameterError
from ..words import did_you_mean, listing
from .outlines import LARGEST, MOST_VERTICES, pack
from .regions import Box, Polygon

# ra1, RA_1, corner1Ra, raCorner1; llra is not one: something has to number the corners.
_CORNER = re.compile(r"(?:corner|vertex)?_?(\d*)_?(ra|dec|decl)_?(?:corner|vertex)?_?(\d*)\Z", re.IGNORECASE)
_BOX = (("ra1", "ra2", "dec1", "dec2"), ("ra0", "ra1", "dec0", "dec1"), ("ramin", "ramax", "decmin", "decmax"))
_STEP = 0.25
_MOST_STEPS = 120


def region_rows(
    keys: Sequence[str], table: Any, corners: Sequence[tuple[str, str]] | None = None
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Read the polygons of values of keys from a table.

    Parameters
    ----------
    keys : sequence of str
        Columns that hold the keys (``["tract", "patch"]``).
    table : Table, DataFrame, pyarrow.Table, structured array, mapping of columns, or sequence of mappings
        One row a region. Where it lies is read from (whichever there is): the columns that `corners` names; a column
        ``region`` or ``polygon``, each a region (as `bunter.sky.region` takes it) or a list of vertices; numbered
        corners, three or more (``ra1, dec1, ra2, dec2, ra3, dec3``; ``corner1Ra, corner1Decl, ...``); or the columns
        of a box, ``ra1, ra2, dec1, dec2`` or ``ra0, ra1, dec0, dec1`` or ``ra_min, ra_max, dec_min, dec_max``.
        Degrees, ICRS; upper and lower case are the same.
    corners : sequence of (str, str), optional
        Names of the columns of right ascension and declination of each corner, in order.

    Yields
    ------
    values : dict
        The values of the keys in this row, plain Python.
    outline : bytes
        As the registry records it.

    Raises
    ------
    ParameterError
        If a column is missing or a row holds no polygon; says which.

    Examples
    --------
    >>> table = {"tract": [0, 1], "ra1": [0.0, 1.0], "ra2": [1.0, 2.0], "dec1": [-1.0, -1.0], "dec2": [1.0, 1.0]}
    >>> [values for values, outline in region_rows(["tract"], table)]
    [{'tract': 0}, {'tract': 1}]
    """
    columns = _columns(table)
    for key in keys:
        if key not in columns:
            raise ParameterError(
                f"regions: the table has no column for the key {key!r}{did_you_mean(key, columns)}; "
                f"it has: {listing(columns)}"
            )
    if not keys:
        raise ParameterError(f"regions: name at least one key; the table has the columns {listing(columns)}")
    places = _places(columns, keys, corners)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ParameterError(f"regions: the columns of the table have different lengths: {listing(sorted(lengths))}")
    for row in range(lengths.pop() if lengths else 0):
        values = {key: columns[key][row] for key in keys}
        try:
            outline = _outline(places, {name: columns[name][row] for name in places.columns})
        except ParameterError as error:
            raise ParameterError(f"regions: row {row} ({values}): {error}") from None
        yield values, outline


class _Places:
    """Which columns say where a region lies, and how."""

    def __init__(self, kind: str, columns: Sequence[str]) -> None:
        self.kind = kind
        self.columns = list(columns)


def _places(columns: Mapping[str, Any], keys: Sequence[str], corners: Sequence[tuple[str, str]] | None) -> _Places:
    if corners is not None:
        named = [name for pair in corners for name in pair]
        for name in named:
            if name not in columns:
                raise ParameterError(
                    f"regions: corners= names {name!r}, which the table does not have{did_you_mean(name, columns)}; "
                    f"it has: {listing(columns)}"
                )
        if len(corners) < 3:
            raise ParameterError(f"regions: corners= names {len(corners)} corners; a polygon has at least 3")
        return _Places("corners", named)
    others = {name.lower().replace("_", ""): name for name in columns if name not in keys}
    for word in ("region", "polygon"):
        if word in others:
            return _Places("region", [others[word]])
    numbered: dict[str, dict[str, str]] = {}
    for name in columns:
        match = _CORNER.match(name) if name not in keys else None
        if match and (match[1] or match[3]) and not (match[1] and match[3]):
            numbered.setdefault(match[1] or match[3], {})["dec" if match[2].lower() != "ra" else "ra"] = name
    whole = [pair for _, pair in sorted(numbered.items(), key=lambda item: int(item[0])) if len(pair) == 2]
    if len(whole) >= 3:
        return _Places("corners", [name for pair in whole for name in (pair["ra"], pair["dec"])])
    for names in _BOX:
        if all(name in others for name in names):
            return _Places("box", [others[name] for name in names])
    raise ParameterError(
        "regions: no column says where the regions lie; there should be ra1, dec1, ra2, dec2, ra3, dec3, ... "
        "(corners), or ra1, ra2, dec1, dec2 (a box), or polygon; or name the columns with corners=. "
        f"The table has: {listing(columns)}"
    )


def _outline(places: _Places, row: Mapping[str, Any]) -> bytes:
    values = [row[name] for name in places.columns]
    if places.kind == "box":
        return outline_of_region(Box(*values))
    if places.kind == "corners":
        pairs = zip(values[::2], values[1::2], strict=True)
        # Tables with room for more corners than a region has leave the rest empty.
        return outline_of_region(Polygon([pair for pair in pairs if not all(_is_empty(value) for value in pair)]))
    from .parsing import region

    given = values[0]
    if isinstance(given, Sequence) and not isinstance(given, str) and given and hasattr(given[0], "__len__"):
        return outline_of_region(Polygon(given))
    return outline_of_region(region(given))


def _is_empty(value: Any) -> bool:
    return value is None or value != value


def outline_of_region(region: Any) -> bytes:
    """Return the outline of a polygon or a box; parallels are followed to 0.25 arcsec for 30 degrees of them.

    Raises
    ------
    ParameterError
        If it is neither, or reaches farther than 45 degrees from its centre.
    """
    if isinstance(region, Polygon):
        points = list(region.points)
    elif isinstance(region, Box):
        points = _box(region)
    else:
        raise ParameterError(f"a polygon or a box is needed, not a {type(region).__name__}")
    if len(points) > MOST_VERTICES:
        raise ParameterError(f"the polygon has {len(points)} vertices; at most {MOST_VERTICES} can be recorded")
    try:
        return pack([points])
    except ValueError as error:
        raise ParameterError(f"{error} (at most {LARGEST:g} degrees from the centre)") from None


def _box(box: Box) -> list[tuple[float, float]]:
    if box.width == 360.0:
        raise ParameterError("a box that goes all round the sky has no outline; cut it into several")
    # The chord of a step on a parallel is off by step**2 / 8 * sin dec * cos dec: 0.25 arcsec at most.
    steps = max(1, min(_MOST_STEPS, math.ceil(box.width / _STEP - 1e-9)))
    along = [box.ra0 + box.width * step / steps for step in range(steps + 1)]
    low = [(ra, box.dec0) for ra in (along if abs(box.dec0) > 0.0 else (along[0], along[-1]))]
    high = [(ra, box.dec1) for ra in (along if abs(box.dec1) > 0.0 else (along[0], along[-1]))]
    points = [*low, *reversed(high)]
    return [point for number, point in enumerate(points) if abs(point[1]) < 90.0 or abs(points[number - 1][1]) < 90.0]


def _columns(table: Any) -> dict[str, list[Any]]:
    """Return a table's columns as lists of plain values."""
    if isinstance(table, Mapping):
        return {str(name): _plain(column) for name, column in table.items()}
    if hasattr(table, "colnames"):
        return {name: _plain(table[name]) for name in table.colnames}
    if hasattr(table, "to_pydict"):
        return dict(table.to_pydict())
    names = getattr(getattr(table, "dtype", None), "names", None)
    if names:
        return {name: _plain(table[name]) for name in names}
    if hasattr(table, "to_dict") and hasattr(table, "columns"):
        return {str(name): _plain(table[name]) for name in table.columns}
    a_list = isinstance(table, Sequence) and not isinstance(table, str | bytes)
    if a_list and all(isinstance(row, Mapping) for row in table):
        return _of_rows(table)
    raise ParameterError(f"regions: a table with columns, or a list of dicts, is needed, not a {type(table).__name__}")


def _of_rows(rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {str(name): [] for name in (rows[0] if rows else ())}
    for number, row in enumerate(rows):
        if set(map(str, row)) != set(columns):
            raise ParameterError(f"regions: row {number} has the fields {listing(row)}, row 0 {listing(columns)}")
        for name, value in row.items():
            columns[str(name)].append(value)
    return columns


def _plain(column: Any) -> list[Any]:
    unit = getattr(column, "unit", None)
    if unit is not None and hasattr(unit, "is_equivalent") and unit.is_equivalent("deg"):
        # A column of a Table, or a Quantity.
        column = getattr(column, "quantity", column).to_value("deg")
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    return [value.decode() if isinstance(value, bytes) else value for value in values]
