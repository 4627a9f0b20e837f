"""FitsTable: all that a table holds comes back; astropy reads the same; foreign tables as they are."""

from __future__ import annotations

import tempfile
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunter.errors import FormatError, IntegrityError, ParameterError
from bunter.exposure import PhotoCalib, SourceCatalog
from bunter.formats.equality import same_values
from bunter.formats.fits_file import FitsFile
from bunter.formats.fits_table import FitsTable, read_table
from bunter.formats.interface import About
from bunter.testing import FileSource, FormatTests, written

FORMAT = FitsTable()
NAME = "src {'visit': 1}"


def plain(rows=4):
    chance = np.random.default_rng(rows)
    table = Table()
    for kind in ["b1", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16", ">i2", ">f8"]:
        table[kind] = (chance.random(rows) * 100).astype(kind)
        table[f"v{kind}"] = (chance.random((rows, 3)) * 100).astype(kind)
        table[f"w{kind}"] = (chance.random((rows, 2, 1)) * 100).astype(kind)
    table["s"] = ["a", "bb ", "", " d"] * (rows // 4)
    table["bytes"] = np.array([b"a", b"b\xff", b"", b"z"] * (rows // 4))
    table["vs"] = np.array([["a", "bcd"]] * rows)
    table["one"] = np.ones((rows, 1))
    table["f8"].unit, table["f8"].description = "mag", 'a "long" description: ' + "x" * 200
    table["f4"].unit, table["f4"].format = u.nJy, "%.2f"
    table["i4"].meta["x"] = [1, {"y": None}]
    table["c8"].unit = u.Unit("m3 s-1 bunters", parse_strict="silent")
    table["f8"][1] = np.nan
    table.meta.update({"DATE-OBS": "2020-01-01", "a": 1, "nested": {"x": [1, (3, 4)]}, "comments": ["x"], "T": True})
    return table


def masked():
    return Table(
        {
            "i": MaskedColumn([1, 2, 3], mask=[0, 1, 0], unit="m", description="d"),
            "f": MaskedColumn([1.0, np.nan, 3], mask=[0, 0, 1]),
            "s": MaskedColumn(["a", "", "c"], mask=[0, 0, 1]),
            "b": MaskedColumn([True, False, True], mask=[1, 0, 0]),
            "n": MaskedColumn([1, 2, 3]),
            "p": [1, 2, 3],
        }
    )


def mixins():
    return QTable(
        {
            "q": [1, 2] * u.m,
            "t": Time(["2020-01-01T00:00:00.123456789", "2021-01-01"]),
            "sky": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg),
            "x": [1, 2],
        }
    )


class TestConformance(FormatTests):
    def format(self):
        return FORMAT

    def examples(self):
        about = About(name=NAME)
        catalog = SourceCatalog({"id": [1, 2], "flux": [1.0, np.nan]}, photo_calib=PhotoCalib(2.0))
        array = np.array([(1, 2.0, "x")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.5, np.nan]})
        return [
            (plain(), about),
            (masked(), About(name=NAME, python=Table)),
            (mixins(), about),
            (catalog, About(name=NAME, python=SourceCatalog)),
            (array, About(name=NAME, python=np.ndarray)),
            (frame, About(name=NAME, python=pd.DataFrame)),
            (pa.table({"a": [1, None]}), About(name=NAME, python=pa.Table)),
            (Table({"a": np.zeros(0), "s": np.zeros(0, "U3")}), about),
            (Table(), about),
        ]

    def refused(self):
        about = About(name=NAME)
        return [
            (Table({"a": ["é"]}), about),
            (Table({"a": np.array([{}, 1], dtype=object)}), about),
            (Table({"a": np.array(["2020"], dtype="M8[D]")}), about),
            (Table({"a": [1]}, meta={"x": object()}), about),
            (np.zeros(3), about),
            ({"a": [1]}, about),
            (None, about),
        ]


@given(
    array=hnp.arrays(
        st.sampled_from(["b1", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", ">i4", "S3"]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    )
)
@settings(max_examples=120, deadline=None)
def test_every_type_and_shape_comes_back(array):
    with tempfile.TemporaryDirectory() as folder:
        source = written(FORMAT, Table({"x": array}), About(), folder)
        for again in (source, FileSource(source.name)):
            back = np.asarray(FORMAT.read(again, About(), {})["x"])
            assert back.dtype == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(back, array)


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_strings_come_back(texts):
    with tempfile.TemporaryDirectory() as folder:
        source = written(FORMAT, Table({"x": texts}), About(), folder)
        assert FORMAT.read(source, About(), {})["x"].tolist() == texts


def test_types_and_byte_order(tmp_path):
    table = plain()
    back = FORMAT.read(written(FORMAT, table, About(), tmp_path), About(), {})
    for name in table.colnames:
        assert back[name].dtype == table[name].dtype.newbyteorder("=")
        assert back[name].dtype.isnative
    assert back["c8"].unit == table["c8"].unit
    assert back["i4"].meta == table["i4"].meta


@pytest.mark.parametrize("make", [masked, mixins])
def test_astropy_reads_the_same(make, tmp_path):
    source = written(FORMAT, make(), About(), tmp_path)
    theirs = type(make()).read(source.name, format="fits", character_as_bytes=False)
    assert theirs.colnames == make().colnames
    for name in theirs.colnames:
        assert same_values(theirs[name], make()[name]), name
    with fits.open(source.name) as hdus:
        hdus.verify("exception")


def test_meta_as_cards_for_others(tmp_path):
    source = written(FORMAT, plain(), About(), tmp_path)
    header = fits.getheader(source.name, 1)
    assert header["DATE-OBS"] == "2020-01-01"
    assert "nested" not in header


def test_attached_objects_are_not_stored(tmp_path):
    catalog = SourceCatalog({"id": [1]}, photo_calib=PhotoCalib(2.0))
    source = written(FORMAT, catalog, About(), tmp_path)
    back = FORMAT.read(source, About(python=SourceCatalog), {})
    assert back.photo_calib is None
    assert FORMAT.is_stored(SourceCatalog({"id": [1]}), source.layout, None, About()) is True
    assert FORMAT.is_stored(SourceCatalog({"id": [2]}), source.layout, None, About()) is None
    assert FORMAT.equal(back, catalog, About())


def test_what_lies_under_a_mask_does_not_count(tmp_path):
    one = Table({"a": MaskedColumn([1, 2], mask=[0, 1])})
    two = Table({"a": MaskedColumn([1, 99], mask=[0, 1])})
    assert bytes(written(FORMAT, one, About(), tmp_path).read_all()) == bytes(
        written(FORMAT, two, About(), tmp_path).read_all()
    )


def test_columns(tmp_path):
    table = plain()
    source = written(FORMAT, table, About(), tmp_path)
    back = FORMAT.read(source, About(), {"columns": ["s", "f8"]})
    assert back.colnames == ["s", "f8"]
    assert same_values(back["f8"], table["f8"])
    source = written(FORMAT, mixins(), About(), tmp_path)
    back = FORMAT.read(source, About(), {"columns": ["sky", "q"]})
    assert back.colnames == ["sky", "q"]
    assert same_values(back["sky"], mixins()["sky"])
    source = written(FORMAT, masked(), About(), tmp_path)
    back = FORMAT.read(source, About(), {"columns": ["f"]})
    assert same_values(back["f"], masked()["f"])


@pytest.mark.parametrize("columns", [["flx"], "f8", [], ["f8", "f8"], 3, ["sky.ra"]])
def test_bad_columns(columns, tmp_path):
    source = written(FORMAT, Table({"f8": [1.0], "flux": [2.0]}), About(), tmp_path)
    with pytest.raises(ParameterError):
        FORMAT.read(source, About(), {"columns": columns})


def test_nearest_column(tmp_path):
    source = written(FORMAT, Table({"flux": [2.0]}), About(), tmp_path)
    with pytest.raises(ParameterError, match="did you mean 'flux'"):
        FORMAT.read(source, About(), {"columns": ["flx"]})


def foreign(tmp_path, *columns, **cards):
    hdu = fits.BinTableHDU.from_columns(list(columns))
    hdu.header.update(cards)
    path = tmp_path / "foreign.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return FileSource(path)


def test_columns_of_wide_rows_are_read_by_themselves(tmp_path):
    pixels = np.zeros((60, 100_000), "f4")
    source = foreign(
        tmp_path,
        fits.Column("ccd", "3A", array=np.array([f"N{i}" for i in range(60)])),
        fits.Column("pixels", "100000E", array=pixels),
    )
    back = FORMAT.read(source, About(), {"columns": ["ccd"]})
    assert back["ccd"][7] == "N7"
    assert source.bytes_read < 20_000


def test_foreign_oddities(tmp_path):
    objects = np.empty(3, dtype=object)
    objects[:] = [np.array([1, 2], "i4"), np.array([], "i4"), np.array([7], "i4")]
    source = foreign(
        tmp_path,
        fits.Column("null", "J", array=[1, -99, 3], null=-99),
        fits.Column("scaled", "I", array=[1, 2, 3]),
        fits.Column("bits", "11X", array=np.eye(3, 11, dtype=bool)),
        fits.Column("list", "PJ()", array=objects),
        fits.Column("logical", "L", array=[True, False, True]),
        fits.Column("odd", "E", unit="furlongs/fortnight", array=[1, 2, np.nan]),
        fits.Column("text", "5A", array=["a  ", "", "bcdef"]),
        OBJECT="M 31",
        TSCAL2=0.5,
        TZERO2=1.0,
    )
    back = FORMAT.read(source, About(), {})
    assert back["null"].mask.tolist() == [False, True, False]
    assert back["scaled"].tolist() == [1.5, 2.0, 2.5]
    assert back["bits"].shape == (3, 11)
    assert [list(item) for item in back["list"]] == [[1, 2], [], [7]]
    assert back["logical"].tolist() == [True, False, True]
    assert str(back["odd"].unit) == "furlongs/fortnight"
    assert back["text"].tolist() == ["a", "", "bcdef"]
    assert back.meta["OBJECT"] == "M 31"
    fresh = FileSource(source.name)
    assert FORMAT.read(fresh, About(), {"columns": ["text"]}).colnames == ["text"]


def test_ascii_tables(tmp_path):
    hdu = fits.TableHDU.from_columns([fits.Column("a", "I5", array=[1, 2]), fits.Column("b", "A3", array=["x", "yz"])])
    path = tmp_path / "ascii.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    back = FORMAT.read(FileSource(path), About(), {})
    assert back["a"].tolist() == [1, 2]
    assert back["b"].tolist() == ["x", "yz"]


def test_written_by_astropy(tmp_path):
    for make in (masked, mixins):
        path = tmp_path / "astropy.fits"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make().write(path, format="fits", overwrite=True)
        back = FORMAT.read(FileSource(path), About(), {})
        assert back.colnames == make().colnames
        assert len(back) == len(make())
    assert isinstance(back["sky"], SkyCoord)
    assert back["q"].unit == u.m


def test_headers_that_do_not_fit(tmp_path):
    source = foreign(tmp_path, fits.Column("a", "J", array=[1, 2]))
    data = (tmp_path / "foreign.fits").read_bytes()
    for new, word in ((b"'9J      '", "bytes a row"), (b"'?       '", "no column format")):
        (tmp_path / "foreign.fits").write_bytes(data.replace(b"'J       '", new))
        with pytest.raises(FormatError, match=word):
            FORMAT.read(FileSource(source.name), About(), {})


def test_flipped_bits_are_noticed(tmp_path):
    source = written(FORMAT, plain(), About(), tmp_path)
    index = FitsFile(source).hdus[1]
    for at in (index.offset + 3, index.data_offset, index.data_offset + index.data_length - 1):
        with open(source.name, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 2]))
        for parameters in ({}, {"columns": ["s"]}):
            with pytest.raises(IntegrityError):
                FORMAT.read(FileSource(source.name, source.layout), About(), parameters)
        with open(source.name, "r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))


def test_no_table(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
    with pytest.raises(FormatError, match="holds no table"):
        FORMAT.read(FileSource(path), About(), {})


def test_real_tables_are_what_astropy_reads(shared_data):
    tables = 0
    for path in sorted(shared_data.rglob("*.fit*")):
        if "images" in path.parts or path.suffix == ".bz2":
            continue
        file = FitsFile(FileSource(path))
        for index, hdu in enumerate(file.hdus):
            # astropy cannot read the fractional TZERO of tsObj.
            if hdu.kind != "table" or "tsObj" in path.name:
                continue
            mine = read_table(file, index, path.name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = Table.read(path, hdu=index, format="fits", mask_invalid=False, character_as_bytes=False)
            assert mine.colnames == theirs.colnames
            for name in mine.colnames:
                a, b = np.ma.getdata(mine[name]), np.ma.getdata(theirs[name])
                b = np.char.decode(b) if b.dtype.kind == "S" else b
                if a.dtype.kind == "O":
                    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
                else:
                    assert same_values(np.asarray(a), np.asarray(b)), (path, name)
                assert mine[name].unit == theirs[name].unit
            tables += 1
    assert tables > 20
