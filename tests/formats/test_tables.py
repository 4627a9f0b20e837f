"""What an Arrow table says of itself is the meta of the astropy table that is made of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from astropy.time import Time

from bunter.errors import FormatError
from bunter.formats import tables
from bunter.formats.equality import same_values
from bunter.formats.tables import KEY, arrow_meta, arrow_to_table, table_to_arrow


def described(**options: object) -> pa.Table:
    return table_to_arrow(Table({"a": [1, 2], "b": ["x", "y"]}, **options))  # type: ignore[arg-type]


CASES = {
    "plain": lambda: described(),
    "meta": lambda: described(meta={"tract": 0, "band": "r", "deep": {"x": [1, None]}}),
    "meta that JSON cannot hold": lambda: described(meta={"shape": (1, 2), "size": 3 * u.m}),
    "quantities": lambda: table_to_arrow(QTable({"q": [1, 2] * u.nJy}, meta={"a": 1})),
    "times": lambda: table_to_arrow(Table({"t": Time([50000.0, 50001.0], format="mjd")}, meta={"a": 1})),
    "without rows": lambda: table_to_arrow(Table({"a": np.zeros(0)}, meta={"a": 1})),
    "without columns": lambda: table_to_arrow(Table(meta={"a": 1})),
    "foreign": lambda: pa.table({"x": [1, 2]}),
    "foreign, with metadata": lambda: pa.table({"x": [1, 2]}).replace_schema_metadata({"origin": "LSST", "a": "1"}),
    "pandas": lambda: pa.Table.from_pandas(pd.DataFrame({"x": [1.0, None]})),
    "astropy's own": lambda: described(meta={"a": 1}).replace_schema_metadata(
        {tables.YAML_KEY: tables.yaml_meta(Table({"a": [1], "b": ["x"]}, meta={"a": 1}), "t").encode()}
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_meta_without_the_table(case: str) -> None:
    arrow = CASES[case]()
    assert same_values(arrow_meta(arrow), dict(arrow_to_table(arrow).meta))


@pytest.mark.parametrize("case", ["plain", "meta", "quantities", "foreign", "foreign, with metadata", "pandas"])
def test_no_table_is_made_for_it(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = CASES[case]()
    monkeypatch.setattr(tables, "arrow_to_table", None)
    arrow_meta(arrow)


@pytest.mark.parametrize("told", [b"{", b"[]", json.dumps({"version": 2}).encode(), b"\xff"])
def test_a_damaged_description(told: bytes) -> None:
    arrow = pa.table({"x": [1]}).replace_schema_metadata({KEY: told})
    for read in (arrow_meta, arrow_to_table):
        with pytest.raises(FormatError, match="description"):
            read(arrow, "object")


def test_two_columns_of_one_name() -> None:
    arrow = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    for read in (arrow_meta, arrow_to_table):
        with pytest.raises(FormatError, match="two columns have one name"):
            read(arrow, "object")
