"""Csv beyond the conformance tests: inference, missing values, real files."""

from __future__ import annotations

import gzip
import tempfile

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import FormatError
from bunter.formats.csv_ import Csv
from bunter.formats.equality import same_values
from bunter.formats.interface import About
from bunter.testing import FileSource, written

CSV = Csv()


def read(tmp_path, text, **about):
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CSV.read(FileSource(path), About(name="src", **about), {})


def test_inference(tmp_path):
    table = read(
        tmp_path, 'i,f,b,s,d,t,e\n1,1.5,true,x,2016-01-01,10:00:00,""\n-2,nan,false,"a,""b",2016-01-02,11:00:00,\n'
    )
    assert [c.dtype.kind for c in table.itercols()] == list("ifbUUUU")
    assert table["d"][0] == "2016-01-01"
    assert np.isnan(table["f"][1])
    assert not hasattr(table["f"], "mask")
    assert table["s"][1] == 'a,"b'
    assert table["e"].mask.tolist() == [False, True]


def test_missing_values(tmp_path):
    table = read(tmp_path, "i,f,n\n1,,\n,2.5,\n")
    assert table["i"].mask.tolist() == [False, True]
    assert table["f"].mask.tolist() == [True, False]
    assert table["n"].mask.all()
    assert table["i"].dtype.kind == "i"


def test_empty_lines_count_only_in_a_single_column(tmp_path):
    assert len(read(tmp_path, "a,b\n1,2\n\n3,4\n\n")) == 2
    assert read(tmp_path, "a\n1\n\n3\n")["a"].mask.tolist() == [False, True, False]


def test_other_line_ends_and_a_byte_order_mark(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbfa,b\r\n1,x\r\n").colnames == ["a", "b"]
    assert list(read(tmp_path, b"a,b\r\n1,x\r\n")["b"]) == ["x"]


def test_types_beyond_the_first_megabyte_count(tmp_path):
    text = "a,b\n" + "1,2\n" * 400_000 + "1.5,x\n"
    table = read(tmp_path, text)
    assert table["a"].dtype.kind == "f"
    assert table["b"].dtype.kind == "U"


def test_texts_that_look_like_numbers_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"'ccd' would be read back as int64"):
        written(CSV, Table({"ccd": ["01", "02"]}), About(), tmp_path)
    source = written(CSV, Table({"ccd": ["01", "N2"]}), About(), tmp_path)
    assert list(CSV.read(source, About(), {})["ccd"]) == ["01", "N2"]


def test_equal_is_what_would_be_read_back():
    table = Table({"f": np.array([0.1], "f4"), "b": [b"x"]}, meta={"a": 1})
    table["f"].unit = "deg"
    assert CSV.equal(table, Table({"f": [0.1], "b": ["x"]}), About())
    assert not CSV.equal(table, Table({"f": [0.2], "b": ["x"]}), About())
    assert CSV.equal(pa.table({"a": [1]}), Table({"a": [1]}), About())


def test_a_column_of_more_dimensions_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"'xy', which has more than one value a row"):
        written(CSV, Table({"xy": np.zeros((2, 2))}), About(), tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        (b"a,a\n1,2\n", "one name"),
        (b"a,b\n\xff,1\n", "'a'.*not UTF-8"),
        (b"caf\xe9,b\n1,1\n", "not UTF-8"),
        (b"# %ECSV 1.0\n# ---\na\n1\n", "storage Ecsv"),
        (b"SIMPLE  =                    T" + b"\0" * 3000, "control characters"),
    ],
)
def test_wrong_content(tmp_path, data, message):
    with pytest.raises(FormatError, match=message) as raised:
        read(tmp_path, data)
    assert "x.csv" in str(raised.value)


def test_real_catalogs(shared_data):
    folder = shared_data / "stripe82"
    coadds = CSV.read(FileSource(folder / "case03_DeepCoadd.csv.gz"), About(), {})
    assert len(coadds) == 5
    assert list(coadds["patch"]) == [f"159,{i}" for i in range(5)]
    assert coadds["deepCoaddId"].dtype.kind == "i"
    stars = CSV.read(FileSource(folder / "case03_RefObject.csv.gz"), About(python=pa.Table), {})
    lines = gzip.decompress((folder / "case03_RefObject.csv.gz").read_bytes()).decode().splitlines()
    assert stars.num_rows == len(lines) - 1
    assert str(stars["refObjectId"][0]) == lines[1].split(",")[0]
    links = CSV.read(FileSource(folder / "coadd_inputs.csv"), About(), {"columns": ["run", "patch"]})
    assert links.colnames == ["run", "patch"]
    assert len(links) == 572
    sources = CSV.read(FileSource(folder / "case03_RunDeepSource.csv.gz"), About(), {})
    assert len(sources) == 1000
    assert sources["id"][0] == 1398579058966640


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)


def looks_like_a_value(text):
    """Tell whether a text could be read as a number, a bool or a missing value."""
    plain = text.strip().lower()
    return plain in ("", "true", "false", "nan", "inf") or plain.lstrip("+-")[:1] in set("0123456789.in")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, st.booleans(), st.floats(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=5))
def test_a_table_comes_back_or_is_refused(rows):
    table = Table({"f": [r[2] for r in rows], "i": [r[3] for r in rows]})
    table["s"] = MaskedColumn(np.array([r[0] for r in rows], "U6"), mask=[r[1] for r in rows])
    if all(r[1] for r in rows):
        table.remove_column("s")
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = written(CSV, table, About(), folder)
        except FormatError:
            # Only for texts that all look like something else.
            assert all(looks_like_a_value(text) for text in table["s"].compressed())
            return
        back = CSV.read(source, About(), {})
    whole = all(float(v).is_integer() for v in table["f"] if np.isfinite(v)) and np.isfinite(table["f"]).all()
    if whole:
        back["f"] = np.asarray(back["f"], float)
    assert same_values(back, table)
