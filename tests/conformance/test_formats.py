"""Every format passes the public conformance tests."""

from __future__ import annotations

import gzip
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from bunter.formats import find
from bunter.formats.interface import About
from bunter.testing import FormatTests


@dataclass
class Line:
    slope: float
    intercept: float = 0.0


@dataclass(frozen=True)
class Fit:
    name: str
    lines: list[Line]
    best: Line | None = None
    range: tuple[float, float] = (0.0, 1.0)
    by_name: dict[str, Line] = field(default_factory=dict)


class Counter:
    """A class that speaks for itself."""

    def __init__(self, count):
        self.count = count

    def to_dict(self):
        return {"count": self.count}

    @classmethod
    def from_dict(cls, told):
        return cls(told["count"])


FIT = Fit("a", [Line(1.0), Line(float("nan"), float("inf"))], Line(2.0), (3.0, 4.0), {"b": Line(-0.0)})
PLAIN = [
    ({"a": [1, 2.5, None, True, "é\n\u2028", {"b": []}], "no": "no", "2016-01-01": "1e3", "": ""}, About()),
    ([float("nan"), float("inf"), float("-inf"), 1e300, -0.0, 2**70], About(python=list)),
    ("r", About(python=str)),
    ("0x1f", About(python=str)),
    (3.5, About(python=float)),
    (3, About(python=int)),
    (None, About()),
    (False, About(python=bool)),
    ({}, About(python=dict)),
    (FIT, About(python=Fit)),
    (Counter(3), About(python=Counter)),
]
NOT_PLAIN = [
    ((1, 2), About()),
    ({"a": (1, 2)}, About(python=dict)),
    ({1, 2}, About()),
    (1j, About()),
    (b"bytes", About()),
    (np.arange(3), About()),
    (date(2016, 1, 1), About()),
    (OrderedDict(a=1), About()),
    (Line(1.0), About()),
    ({"a": Line(1.0)}, About()),
    ({"a": 1}, About(python=Line)),
    (Line(1.0), About(python=Counter)),
    ("a", About(python=int)),
    (object(), About()),
    (pd.DataFrame({"a": [1]}), About()),
]


class TestJson(FormatTests):
    def format(self):
        return find("Json")

    def examples(self):
        return PLAIN

    def refused(self):
        return [*NOT_PLAIN, ({1: "a"}, About())]

    def foreign(self):
        return [*super().foreign(), b"{'a': 1}", b"[1, 2", b"a: 1\n", b"[" * 100000, b"1 2", b"\xff\xfe"]


class TestYaml(FormatTests):
    def format(self):
        return find("Yaml")

    def examples(self):
        return [*PLAIN, ({1: "a", None: "b", 2.5: "c", False: "d"}, About())]

    def refused(self):
        return [*NOT_PLAIN, ({(1, 2): "a"}, About())]

    def foreign(self):
        return [
            b"",
            b"\x00" * 100,
            bytes(range(256)) * 20,
            b"\x89PNG\r\n\x1a\n\x00\x00",
            b"a: [1, 2",
            b"a: 1\n---\nb: 2\n",
            b"a: 1\na: 2\n",
            b"!!python/object/apply:os.system ['true']",
            b"!!timestamp 2016-01-01",
            b"a: &a [*a]",
            b"[" * 100000,
            b"? [1, 2]\n: 3\n",
        ]


class TestNpy(FormatTests):
    def format(self):
        return find("Npy")

    def examples(self):
        structured = np.zeros(3, [("a", "<i4"), ("b", ">f8", (2,)), ("c", "U3")])
        structured["b"] = np.nan
        return [
            (np.arange(12.0).reshape(3, 4), About(python=np.ndarray)),
            (np.arange(12.0).reshape(3, 4)[::2], About()),
            (np.asfortranarray(np.arange(20, dtype=">i2").reshape(4, 5)), About()),
            (structured, About()),
            (np.array(3.5), About()),
            (np.zeros((0, 3), bool), About()),
            (np.array(["a", "é"]), About()),
            (np.array(["2016-01-01", "NaT"], "M8[D]"), About()),
            (np.arange(3) * 1j, About()),
        ]

    def refused(self):
        return [
            (np.ma.array([1, 2], mask=[0, 1]), About()),
            (np.array([None, "a"], object), About()),
            ([1, 2], About()),
            (np.arange(3) * u.m, About()),
            (np.float64(1), About()),
        ]

    def foreign(self):
        header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
        return [*super().foreign(), header.ljust(128) + b"\x80\x05N.", b"\x93NUMPY\x09\x00" + b" " * 100]


class TestNpyCutouts(FormatTests):
    def format(self):
        return find("Npy")

    def examples(self):
        image = np.arange(63.0).reshape(7, 9)
        big_endian = np.asfortranarray(image[::-1].astype(">f4"))
        return [(image, About(python=np.ndarray)), (big_endian, About()), (image[:, ::-1].astype(complex), About())]

    def selections(self):
        boxes = [
            (slice(0, 7), slice(0, 9)),
            (slice(2, 3), slice(4, 9)),
            [slice(None, 5), slice(1, None, 1)],
            (slice(np.int64(1), 2), slice(8, 9)),
        ]
        return [({"bbox": box}, lambda array, box=box: array[tuple(box)]) for box in boxes]

    def bad_parameters(self):
        return [
            {"bbox": box}
            for box in (
                (slice(0, 8), slice(0, 9)),
                (slice(-1, 3), slice(0, 9)),
                (slice(3, 3), slice(0, 9)),
                (slice(4, 3), slice(0, 9)),
                (slice(0, 4, 2), slice(0, 9)),
                (slice(0.0, 4), slice(0, 9)),
                (slice(0, 4),),
                (0, 1, 2, 3),
                "all",
            )
        ]


def catalog():
    table = Table(
        {
            "id": np.arange(5) + 2**60,
            "flux": np.array([1.5, np.nan, np.inf, -0.0, 1 / 3]),
            "name": ["a", "", "ccc", "d,e", 'é"'],
            "flag": np.arange(5) > 2,
        },
        meta={"comments": ["one", "two"], "n": 3, "nested": {"x": [1.5, None]}},
    )
    table["flux"].unit = "1e-17 erg / (s cm2 Angstrom)"
    table["flux"].description = "measured"
    table["flux"].format = ".3f"
    table["flux"].meta["ucd"] = "phot.flux"
    return table


def masked():
    table = catalog()
    table["m"] = MaskedColumn([1, 2, 3, 4, 5], mask=[0, 1, 0, 0, 1], unit="mJy")
    table["mn"] = MaskedColumn(["a", "", "c", "d", "e"], mask=[0, 0, 1, 0, 1])
    table["v"] = np.arange(5 * 6.0).reshape(5, 3, 2)
    table["mv"] = MaskedColumn(np.arange(10.0).reshape(5, 2), mask=np.arange(10).reshape(5, 2) % 3 == 0)
    return table


def exotic():
    return Table(
        {
            "c": np.arange(3) * 1j,
            "cv": np.arange(6).reshape(3, 2) * 1j,
            "be": np.arange(3, dtype=">f4"),
            "d": np.array(["2016-01-01", "NaT", "2020-02-29"], "M8[D]"),
            "ns": np.array(["2016-01-01", "NaT", "2020-02-29"], "M8[ns]"),
            "dt": np.array([1, 2, 3], "m8[s]"),
            "empty": np.zeros((3, 0)),
            "half": np.arange(3, dtype="f2"),
            "u": np.array([0, 1, 2**64 - 1], "u8"),
            "bytes": np.array([b"a", b"", b"ccc"]),
            "texts": np.array([["a", "b"]] * 3),
            "o": np.array(["x", None, ""], object),
            "vl": np.array([np.arange(2), np.arange(0), None], object),
            "time.jd1": [1, 2, 3],
        }
    )


def mixins():
    return QTable(
        {
            "x": [1.0, 2.0] * u.m,
            "t": Time(["2016-01-01T00:00:00.123456789", "2021-01-01"]),
            "sky": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg),
            "i": [1, 2],
        },
        meta={"at": 3 * u.km},
    )


NOT_TABLES = [(np.arange(3), About()), ({"a": [1]}, About()), (None, About()), ("a", About())]
BAD_COLUMNS = [{"columns": bad} for bad in (["idd"], "id", [], ["id", "id"], 3, [None])]


class TestParquet(FormatTests):
    def format(self):
        return find("Parquet")

    def examples(self):
        frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None], "c": [1, 2]}, index=["p", "q"])
        return [
            (catalog(), About(python=Table)),
            (masked(), About()),
            (exotic(), About()),
            (mixins(), About(python=QTable)),
            (catalog()[:0], About()),
            (Table(), About()),
            (
                pa.table({"a": [1, None], "l": [[1.0, None], []], "d": ["x", "y"]}, metadata={"k": "v"}),
                About(python=pa.Table),
            ),
            (frame, About(python=pd.DataFrame)),
            (np.zeros(3, [("a", "i4"), ("b", "f8", (2,))]), About(python=np.ndarray)),
        ]

    def refused(self):
        objects = np.empty(2, object)
        objects[:] = [{"a": 1}, object()]
        return [
            *NOT_TABLES,
            (Table({"o": objects}), About()),
            (Table({"a": [1]}, meta={"o": object()}), About()),
            (Table({"wide": np.zeros(2, np.longdouble)}), About()),
            (Table({"years": np.array(["2016", "2017"], "M8[Y]")}), About()),
        ]


class TestParquetColumns(TestParquet):
    def examples(self):
        return [(catalog(), About(python=Table)), (masked(), About())]

    def selections(self):
        return [({"columns": names}, lambda t, names=names: t[list(names)]) for names in (["flux", "id"], ("name",))]

    def bad_parameters(self):
        return BAD_COLUMNS


class TestEcsv(FormatTests):
    def format(self):
        return find("Ecsv")

    def examples(self):
        return [(catalog(), About(python=Table)), (masked(), About()), (mixins(), About(python=QTable))]

    def refused(self):
        return [
            *NOT_TABLES,
            (Table({"s": [" a", "b"]}), About()),
            (Table({"s": ["#a", "b"]}), About()),
            (Table({"c": [1j]}), About()),
            (Table({"d": np.array(["2016-01-01"], "M8[D]")}), About()),
            (Table({"b": [b"\xff"]}), About()),
            (Table({"a": [1]}, meta={"o": object()}), About()),
        ]

    def foreign(self):
        return [
            *super().foreign(),
            b"a,b\n1,2\n",
            b"# %ECSV 1.0\n",
            b"# %ECSV 1.0\n# ---\n# datatype: [{name: a, datatype: int64}]\n# schema: astropy-2.0\na\nx\n",
            b"# %ECSV 1.0\n# ---\n# meta: &a [*a]\n# datatype: [{name: a, datatype: int64}]\na\n1\n",
        ]


class TestEcsvColumns(TestEcsv):
    def examples(self):
        return [(catalog(), About(python=Table))]

    def selections(self):
        return [({"columns": ["flux", "id"]}, lambda t: t[["flux", "id"]])]

    def bad_parameters(self):
        return BAD_COLUMNS


class TestCsv(FormatTests):
    def format(self):
        return find("Csv")

    def examples(self):
        return [
            (catalog(), About(python=Table)),
            (masked()[["id", "m", "mn"]], About()),
            (Table({"one": MaskedColumn([1, 2, 3], mask=[0, 1, 1])}), About()),
            (pa.table({"a": [1, 2], "b": ["x", None]}), About(python=pa.Table)),
            (pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]}), About(python=pd.DataFrame)),
        ]

    def refused(self):
        return [
            *NOT_TABLES,
            (masked(), About()),
            (Table({"ccd": ["01", "02"]}), About()),
            (Table(), About()),
        ]

    def foreign(self):
        return [
            b"",
            b"\n\n",
            bytes(range(256)),
            b"\x89PNG\r\n\x1a\n\x00\x00",
            b"a,b\n1\n",
            b"a,a\n1,2\n",
            b"a,b\n\xff,2\n",
        ]


class TestCsvColumns(TestCsv):
    def examples(self):
        return [(catalog(), About(python=Table))]

    def expected(self, obj, about):
        plain = obj.copy()
        plain.meta.clear()
        for column in plain.itercols():
            column.unit = column.description = None
            column.meta.clear()
        return plain

    def selections(self):
        return [({"columns": ["flux", "id"]}, lambda t: t[["flux", "id"]])]

    def bad_parameters(self):
        return BAD_COLUMNS


class TestPickle(FormatTests):
    @pytest.fixture(autouse=True)
    def _on(self, monkeypatch):
        monkeypatch.setenv("BUNTER_PICKLE", "1")

    def format(self):
        return find("Pickle")

    def examples(self):
        return [(FIT, About(python=Fit)), ({"a": (1, {2})}, About()), (np.arange(3), About(python=np.ndarray))]

    def refused(self):
        return [(lambda: 1, About()), ({"a": 1}, About(python=Fit))]


@pytest.mark.parametrize("name", ["Ecsv", "Csv"])
def test_compressed_text_is_read(tmp_path: Path, name: str) -> None:
    from bunter.testing import FileSource, written

    format_ = find(name)
    plain = written(format_, catalog(), About(), tmp_path)
    path = tmp_path / f"x{format_.suffix}.gz"
    path.write_bytes(gzip.compress(bytes(plain.read_all())))
    assert format_.equal(catalog(), format_.read(FileSource(path), About(), {}), About())
