"""Equality by value."""

from __future__ import annotations

import copy
import importlib
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunter.formats import equality
from bunter.formats.equality import same_values

NAN = float("nan")


@dataclass
class Point:
    x: object
    y: object = 0


@dataclass
class Other:
    x: object
    y: object = 0


class Bag:
    def __init__(self, **items):
        self.__dict__.update(items)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class Modulo:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Modulo) and self.n % 10 == other.n % 10

    __hash__ = None


def column(value, **about):
    return Table({"a": MaskedColumn(value, **about)})


def wcs(crval=10.0):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = [crval, 2.0]
    made.wcs.cdelt = [1e-4, 1e-4]
    return made


def header(**cards):
    return fits.Header({"EXPTIME": 30.0, **cards})


def frame(**attrs):
    made = pd.DataFrame({"a": [1.0, NAN], "o": [[1], None]})
    made.attrs.update(attrs)
    return made


def structured(value=1.0, name="b"):
    made = np.zeros(2, [("a", "i4"), (name, "f8", (2,))])
    made[name] = value
    return made


SAME = [
    (NAN, NAN),
    (complex(NAN, 1), complex(NAN, 1)),
    (1, 1.0),
    (np.float64(NAN), NAN),
    (np.int32(3), 3),
    (np.str_("a"), "a"),
    ([1, (2, {"a": NAN})], [1, (2, {"a": NAN})]),
    ({"a": 1, "b": np.arange(3)}, {"b": np.arange(3), "a": 1}),
    ({1, 2}, {2, 1}),
    (date(2016, 1, 1), date(2016, 1, 1)),
    (Point(np.array([1.0, NAN]), Point(NAN)), Point(np.array([1.0, NAN]), Point(NAN))),
    (Bag(a=np.arange(3)), Bag(a=np.arange(3))),
    (Slotted(NAN), Slotted(NAN)),
    (Modulo(3), Modulo(13)),
    ([Modulo(3)], [Modulo(13)]),
    (np.array([1.0, NAN], "<f8"), np.array([1.0, NAN], ">f8")),
    (np.array([1, 2], "<i2"), np.array([1, 2], ">i8")),
    (np.array(["a", "bb"]), np.array(["a", "bb"], "U10")),
    (np.array([1 + 1j * NAN]), np.array([1 + 1j * NAN])),
    (np.array(["NaT", "2016-01-01"], "M8[s]"), np.array(["NaT", "2016-01-01"], "M8[s]")),
    (np.array([None, "a", NAN], object), np.array([None, "a", NAN], object)),
    (structured(NAN), structured(NAN)),
    (structured()[0], structured()[0]),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 3], mask=[0, 1])),
    (np.ma.array([1, 2]), np.array([1, 2])),
    ([1.0, NAN] * u.m, [1.0, NAN] * u.m),
    (3 * u.m, 3 * u.m),
    (u.Jy, u.Jy),
    (column([1, 2], mask=[0, 1]), column([1, 5], mask=[0, 1])),
    (Table({"a": np.array([1.0], ">f4")}), Table({"a": [1.0]})),
    (Table({"a": [1.0]}, meta={"DATE": "now", "x": NAN}), Table({"a": [1.0]}, meta={"CHECKSUM": "z", "x": NAN})),
    (QTable({"a": [1.0] * u.m}), Table({"a": MaskedColumn([1.0], unit="m")})),
    (QTable({"t": Time(["2016-01-01"])}), QTable({"t": Time([57388.0], format="mjd", scale="utc")})),
    (SkyCoord(1 * u.deg, 2 * u.deg), SkyCoord(1 * u.deg, 2 * u.deg)),
    (wcs(), wcs()),
    (header(), header(DATE="2016", CHECKSUM="a", DATASUM="b")),
    (pa.table({"a": [1.0, NAN, None]}), pa.table({"a": [1.0, NAN, None]})),
    (pa.table({"l": [[NAN], None]}), pa.table({"l": [[NAN], None]})),
    (pa.table({"a": pa.chunked_array([[1], [2]])}), pa.table({"a": [1, 2]})),
    (pa.array([1, None]), pa.array([1, None])),
    (frame(), frame()),
    (pd.Series([1.0, NAN]), pd.Series([1.0, NAN])),
    (CCDData(np.ones((2, 2)), unit="adu", wcs=wcs()), CCDData(np.ones((2, 2)), unit="adu", wcs=wcs())),
]

DIFFERENT = [
    (None, 0),
    (True, 1),
    ("1", 1),
    ("a", b"a"),
    (complex(NAN, 1), complex(NAN, 2)),
    ([1], (1,)),
    ([1], [1, 2]),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": None}, {"b": None}),
    (Point(1), Other(1)),
    (Point(np.arange(2)), Point(np.arange(2) + 1)),
    (Bag(a=1), Bag(a=1, b=2)),
    (Bag(a=1), Slotted(1)),
    (Modulo(3), Modulo(4)),
    (object(), object()),
    (np.arange(3), [0, 1, 2]),
    (np.arange(3), None),
    (np.arange(4), np.arange(4).reshape(2, 2)),
    (np.array([0, 1]), np.array([0.0, 1.0])),
    (np.array([0, 1]), np.array([False, True])),
    (np.array([1.0, NAN]), np.array([NAN, 1.0])),
    (np.array([b"a"]), np.array(["a"])),
    (structured(), structured(2.0)),
    (structured(), structured(name="c")),
    (structured(), np.zeros(2)),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2])),
    ([1.0] * u.m, [1.0] * u.s),
    ([1.0] * u.m, [100.0] * u.cm),
    ([1.0] * u.m, np.array([1.0])),
    (u.Jy, u.mJy),
    (Table({"a": [1]}), Table({"b": [1]})),
    (Table({"a": [1]}), Table({"a": [1, 1]})),
    (Table({"a": [1], "b": [1]}), Table({"b": [1], "a": [1]})),
    (Table({"a": [1]}, meta={"x": 1}), Table({"a": [1]})),
    (column([1], unit="m"), column([1])),
    (column([1], description="d"), column([1])),
    (column([1], mask=[True]), column([1])),
    (Time("2016-01-01"), Time("2016-01-01", scale="tai")),
    (Time("2016-01-01"), Time("2016-01-02")),
    (QTable({"t": Time(["2016-01-01"])}), QTable({"t": ["2016-01-01"]})),
    (SkyCoord(1 * u.deg, 2 * u.deg), SkyCoord(1 * u.deg, 3 * u.deg)),
    (SkyCoord(1 * u.deg, 2 * u.deg), SkyCoord(1 * u.deg, 2 * u.deg, frame="fk5")),
    (wcs(), wcs(11.0)),
    (wcs(), None),
    (header(), header(EXPTIME=31.0)),
    (header(), header(MORE=1)),
    (pa.table({"a": [1]}), pa.table({"a": [1.0]})),
    (pa.table({"a": [1.0, None]}), pa.table({"a": [1.0, NAN]})),
    (pa.table({"a": [1]}), pa.table({"a": [1]}, metadata={"x": "y"})),
    (pa.table({"a": [1]}), Table({"a": [1]})),
    (frame(), frame(x=1)),
    (frame(), frame().rename(columns={"a": "b"})),
    (frame(), frame().set_index(pd.Index(["p", "q"]))),
    (pd.Series([1]), pd.DataFrame({"a": [1]})),
    (
        CCDData(np.ones((2, 2)), unit="adu", uncertainty=StdDevUncertainty(np.ones((2, 2)))),
        CCDData(np.ones((2, 2)), unit="adu"),
    ),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_same(a, b):
    assert same_values(a, b) is True
    assert same_values(b, a) is True
    assert same_values({"x": [a]}, {"x": [b]}) is True


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different(a, b):
    assert same_values(a, b) is False
    assert same_values(b, a) is False
    assert same_values([a], [b]) is False


@pytest.mark.parametrize("pair", [*SAME, *DIFFERENT])
def test_a_copy_is_the_same(pair):
    for obj in pair:
        if type(obj) is not object:
            assert same_values(obj, copy.deepcopy(obj))


@pytest.mark.parametrize(
    "name",
    [
        "astropy.table.Table", "astropy.table.Column", "astropy.wcs.WCS", "astropy.io.fits.Header",
        "astropy.units.Quantity", "astropy.utils.masked.Masked", "astropy.time.TimeBase",
        "astropy.coordinates.SkyCoord", "astropy.coordinates.BaseRepresentationOrDifferential",
        "astropy.coordinates.Angle", "astropy.nddata.NDData", "astropy.nddata.CCDData", "pyarrow.Table",
        "pyarrow.RecordBatch", "pandas.DataFrame", "pandas.Series", "pandas.Index",
    ],
)  # fmt: skip
def test_the_classes_that_are_looked_up_exist(name):
    module, _, attribute = name.rpartition(".")
    assert equality.loaded(module, attribute) is getattr(importlib.import_module(module), attribute)


@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f8", "<i8", "?", "<c16", "U3", "S2"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_arrays_equal_their_copies_in_either_byte_order(array):
    assert same_values(array, array.astype(array.dtype.newbyteorder(), copy=True))
    if array.size:
        other = array.copy().reshape(-1)
        value = other[0]
        other[0] = {"f": 7, "c": 7, "i": 7, "b": not value, "U": "x", "S": b"x"}[array.dtype.kind]
        changed = bool(other[0] != value)
        assert same_values(array.reshape(-1), other) is not changed
