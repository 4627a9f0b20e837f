"""Tables of tracts and patches, in the forms that people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from bunter.errors import ParameterError
from bunter.sky import Box, Circle, Polygon, region_rows, unpack
from bunter.sky.outlines import pack

CORNERS = {
    "tract": [0, 1],
    "ra1": [0.0, 358.0], "dec1": [-1.0, -1.0],
    "ra2": [2.0, 0.5], "dec2": [-1.0, -1.0],
    "ra3": [2.0, 0.5], "dec3": [1.0, 1.0],
    "ra4": [0.0, 358.0], "dec4": [1.0, 1.0],
}  # fmt: skip
EXPECTED = [
    ({"tract": 0}, pack([[(0.0, -1.0), (2.0, -1.0), (2.0, 1.0), (0.0, 1.0)]])),
    ({"tract": 1}, pack([[(358.0, -1.0), (0.5, -1.0), (0.5, 1.0), (358.0, 1.0)]])),
]


def renamed(pattern: str) -> dict[str, Any]:
    corners = {pattern.format(axis=name[:-1], n=name[-1]): CORNERS[name] for name in CORNERS if name != "tract"}
    return {"tract": CORNERS["tract"], **corners}


@pytest.mark.parametrize(
    "table",
    [
        CORNERS,
        Table(CORNERS),
        QTable({name: np.array(column) * (1 if name == "tract" else u.deg) for name, column in CORNERS.items()}),
        Table({name: (column if name == "tract" else np.radians(column) * u.rad) for name, column in CORNERS.items()}),
        pd.DataFrame(CORNERS),
        pa.table(CORNERS),
        Table(CORNERS).as_array(),
        [{name: column[row] for name, column in CORNERS.items()} for row in range(2)],
        renamed("{axis}_{n}"),
        renamed("corner{n}_{axis}"),
        {name.replace("dec", "Decl").replace("ra", "Ra").replace("tRact", "tract"): c for name, c in CORNERS.items()},
        {"tract": [0, 1], "polygon": [[(0, -1), (2, -1), (2, 1), (0, 1)], [(358, -1), (0.5, -1), (0.5, 1), (358, 1)]]},
        {"tract": [0, 1], "region": ["polygon 0 -1 2 -1 2 1 0 1", Polygon([(358, -1), (0.5, -1), (0.5, 1), (358, 1)])]},
    ],
    ids=lambda table: type(table).__name__,
)
def test_forms_of_tables(table: Any) -> None:
    found = list(region_rows(["tract"], table))
    assert [values for values, _ in found] == [{"tract": 0}, {"tract": 1}]
    for (_, outline), (_, expected) in zip(found, EXPECTED, strict=True):
        (ring,), (wanted,) = unpack(outline), unpack(expected)
        for place, other in zip(ring, wanted, strict=True):
            assert SkyCoord(*place, unit="deg").separation(SkyCoord(*other, unit="deg")).arcsec < 0.5


def test_corners_can_be_named() -> None:
    table = {"tract": [7], "llra": [0], "lldec": [0], "lrra": [1], "lrdec": [0], "ulra": [0], "uldec": [1]}
    pairs = [("llra", "lldec"), ("lrra", "lrdec"), ("ulra", "uldec")]
    ((values, outline),) = region_rows(["tract"], table, pairs)
    assert values == {"tract": 7}
    assert outline == pack([[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]])


def test_corners_that_are_left_empty_do_not_count() -> None:
    table = {**CORNERS, "ra5": [float("nan"), 358.5], "dec5": [float("nan"), 0.0]}
    first, second = region_rows(["tract"], table)
    assert (len(first[1]), len(second[1])) == (26, 30)


def test_boxes_follow_their_parallels() -> None:
    table = {"tract": [0], "ra1": [10.0], "ra2": [20.0], "dec1": [60.0], "dec2": [62.0]}
    ((_, outline),) = region_rows(["tract"], table)
    assert Circle(15, 60.01, 0).overlaps([outline]) == [0]
    # The great circle between the upper corners goes 0.09 degrees farther north.
    assert Circle(15, 62.01, 0).overlaps([outline]) == []
    assert Box(10, 20, 61.99, 63).overlaps([outline]) == [0]


def test_boxes_that_touch_a_pole() -> None:
    table = {"t": ["a"], "ra_min": [10.0], "ra_max": [100.0], "dec_min": [80], "dec_max": [90]}
    ((_, outline),) = region_rows(["t"], table)
    assert Circle(50, 89, 0.1).overlaps([outline]) == [0]
    assert Circle(200, 89, 0.5).overlaps([outline]) == []
    assert Circle(200, 90, 0).overlaps([outline]) == [0]


def test_the_real_brick(shared_data: Path) -> None:
    path = shared_data / "decam" / "field_1867p255" / "testcase4" / "survey-bricks.fits.gz"
    ((values, outline),) = region_rows(["brickname"], Table.read(path))
    assert values == {"brickname": "1867p255"}
    assert Circle(186.744, 25.462, 0.01).overlaps([outline]) == [0]
    assert Circle(186.744, 25.7, 0.01).overlaps([outline]) == []


@pytest.mark.parametrize(
    ("keys", "table", "corners", "message"),
    [
        (["patch"], CORNERS, None, "no column for the key 'patch'"),
        (["tarct"], CORNERS, None, "did you mean 'tract'"),
        ([], CORNERS, None, "name at least one key"),
        (["tract"], {"tract": [0], "ra": [1.0], "dec": [2.0]}, None, "no column says where the regions lie"),
        (["tract"], CORNERS, [("ra1", "dec1"), ("ra2", "dec2")], "names 2 corners; a polygon has at least 3"),
        (["tract"], CORNERS, [("ra1", "dec1"), ("ra2", "dec2"), ("raa3", "dec3")], "did you mean 'ra3'"),
        (["tract"], {**CORNERS, "ra1": [0.0]}, None, "different lengths: 1, 2"),
        (["tract"], {**CORNERS, "dec1": [-1.0, 95.0]}, None, r"row 1 \(\{'tract': 1\}\): Polygon: dec of vertex 0=95"),
        (["tract"], {**CORNERS, "ra3": [0.0, 0.5], "ra4": [2.0, 358.0]}, None, "row 0 .* crosses"),
        (["t"], {"t": [0], "ra1": [0], "ra2": [100], "dec1": [0], "dec2": [10]}, None, "at most 45 degrees"),
        (["t"], {"t": [0], "ra1": [0], "ra2": [360], "dec1": [0], "dec2": [10]}, None, "cut it into several"),
        (["t"], {"t": [0], "region": ["circle 1 2 3"]}, None, "a polygon or a box is needed, not a Circle"),
        (["t"], [{"t": 0, "region": "x"}, {"t": 1}], None, "row 1 has the fields t, row 0 t, region"),
        (["t"], 5, None, "not a int"),
        (["t"], "tracts.csv", None, "not a str"),
    ],
)
def test_what_is_no_table_of_regions(keys: list[str], table: Any, corners: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        list(region_rows(keys, table, corners))
