"""``as_type``: a table or an exposure as what the user works with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunter.errors import FormatError, ParameterError
from bunter.exposure import SourceCatalog
from bunter.formats.convert import convert
from bunter.formats.equality import same_values


def catalog():
    table = Table({"id": [1, 2, 3], "flux": [1.0, np.nan, 3.0], "band": ["g", "", "r"]}, meta={"tract": 0})
    table["flux"].unit = "nJy"
    table["flux"].description = "PSF flux"
    table["n"] = MaskedColumn([1, 2, 3], mask=[False, True, False])
    table["xy"] = np.arange(6.0).reshape(3, 2)
    return table


def plain():
    return Table({"id": [1, 2, 3], "flux": [1.0, np.nan, 3.0], "band": ["g", "", "r"]})


TYPES = [Table, QTable, SourceCatalog, pa.Table, pd.DataFrame, np.ndarray]


@pytest.mark.parametrize("first", TYPES)
@pytest.mark.parametrize("second", TYPES)
def test_every_kind_of_table_becomes_every_other(first, second):
    there = convert(plain(), first)
    back = convert(convert(there, second), Table)
    assert isinstance(there, first)
    assert isinstance(convert(there, second), second)
    assert back.colnames == ["id", "flux", "band"]
    assert same_values(np.asarray(back["id"]), np.array([1, 2, 3]))
    assert same_values(np.asarray(back["flux"]), np.array([1.0, np.nan, 3.0]))
    assert list(back["band"]) == ["g", "", "r"]


@pytest.mark.parametrize("kind", [QTable, SourceCatalog, pa.Table])
def test_units_masks_shapes_descriptions_and_meta_are_kept(kind):
    back = convert(convert(catalog(), kind), Table)
    assert type(back) is Table
    assert same_values(back, catalog())


def test_units_are_in_the_arrow_fields_for_other_programs():
    arrow = convert(catalog(), pa.Table)
    assert arrow.schema.field("flux").metadata == {b"unit": b"nJy", b"description": b"PSF flux"}
    assert arrow["n"].null_count == 1
    assert arrow.schema.field("xy").type == pa.list_(pa.float64(), 2)


def test_a_frame_has_nullable_integers():
    frame = convert(catalog(), pd.DataFrame)
    assert str(frame["n"].dtype) == "Int64"
    assert frame["n"].isna().tolist() == [False, True, False]
    assert frame["xy"][1].tolist() == [2.0, 3.0]
    assert np.isnan(frame["flux"][1])


def test_a_structured_array_keeps_its_memory_and_shapes():
    array = np.zeros(3, [("a", "i4"), ("b", "f8", (2,))])
    assert convert(array, np.ndarray) is array
    assert np.shares_memory(convert(array, Table)["b"], array)
    assert convert(convert(array, pa.Table), np.ndarray).dtype == array.dtype


def test_quantities_and_times():
    table = QTable({"x": [1.0, 2.0] * u.m, "t": Time(["2016-01-01T00:00:00.123456789", "2017-01-01"])})
    assert same_values(convert(convert(table, pa.Table), QTable), table)
    assert type(convert(table, Table)["x"]).__name__ == "Column"
    assert convert(table, Table)["x"].unit == u.m


def test_the_same_type_is_the_same_object():
    for obj in (catalog(), {"a": 1}, np.arange(3)):
        assert convert(obj, type(obj)) is obj


def test_the_original_is_left_alone():
    table = catalog()
    made = convert(table, QTable)
    made.meta["tract"] = 5
    assert table.meta == {"tract": 0}
    assert type(table["flux"]).__name__ == "Column"


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees

    def __bunter_convert__(self, cls):
        return cls(self.degrees) if cls is float else NotImplemented


class Photo:
    def to_ccddata(self):
        return CCDData(np.ones((2, 2)), unit="adu")


def test_an_object_says_itself_what_it_becomes():
    assert convert(Celsius(3), float) == 3.0
    with pytest.raises(ParameterError, match=r"Celsius.*builtins|Celsius.*int.*as_type can be.*__bunter_convert__"):
        convert(Celsius(3), int)


def test_an_exposure_becomes_ccddata():
    assert convert(Photo(), CCDData).unit == u.adu
    with pytest.raises(ParameterError, match=r"astropy.nddata.CCDData"):
        convert(Photo(), Table)


def test_a_type_out_of_reach_lists_what_is_in_reach():
    with pytest.raises(ParameterError, match=r"as dict; as_type can be: .*Table.*pyarrow.Table.*pandas.DataFrame"):
        convert(catalog(), dict)
    with pytest.raises(ParameterError, match=r"as_type can be: dict$"):
        convert({"a": 1}, pa.Table)
    with pytest.raises(ParameterError, match=r"class"):
        convert(catalog(), "astropy.table.Table")
    with pytest.raises(ParameterError, match=r"numpy.ndarray cannot be had as .*Table"):
        convert(np.arange(3), Table)


def test_what_arrow_cannot_hold_is_named():
    with pytest.raises(FormatError, match=r"'wide'"):
        convert(Table({"wide": np.zeros(2, np.longdouble)}), pa.Table)


FLAT = st.sampled_from(["<f8", ">f4", "<i8", "<u2", "?", "<c16", "U4", "S3", "M8[us]"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_column_survives_arrow(data):
    dtype = data.draw(FLAT)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    values = data.draw(hnp.arrays(dtype, shape))
    mask = data.draw(hnp.arrays(bool, shape))
    if values.dtype.kind == "M":
        # Arrow has one word for NaT and for what is masked.
        values[np.isnat(values)] = np.datetime64(0, "us")
    table = Table({"plain": values})
    if values.dtype.kind not in "cM":
        table["masked"] = MaskedColumn(values, mask=mask)
    assert same_values(convert(convert(table, pa.Table), Table), table)
