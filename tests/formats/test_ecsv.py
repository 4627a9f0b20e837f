"""Ecsv beyond the conformance tests."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import FormatError, IntegrityError
from bunter.formats.ecsv import Ecsv
from bunter.formats.equality import same_values
from bunter.formats.interface import About
from bunter.testing import FileSource, written

ECSV = Ecsv()


def back(table, tmp_path):
    return ECSV.read(written(ECSV, table, About(), tmp_path), About(), {})


def test_times_keep_their_full_precision(tmp_path):
    table = QTable({"t": Time(["2016-01-01T00:00:00.123456789"])})
    assert same_values(back(table, tmp_path)["t"], table["t"])


def test_empty_texts_are_not_missing_ones(tmp_path):
    table = Table({"s": ["", "nan", "None"], "m": MaskedColumn(["", "x", "y"], mask=[0, 0, 1])})
    assert same_values(back(table, tmp_path), table)
    assert list(back(table, tmp_path)["s"]) == ["", "nan", "None"]


def test_byte_strings_come_back_as_text(tmp_path):
    table = Table({"b": np.array([b"g", b"r"])})
    found = back(table, tmp_path)
    assert found["b"].dtype.kind == "U"
    assert ECSV.equal(table, found, About())
    assert not ECSV.equal(Table({"b": [b"g", b"i"]}), found, About())


def test_astropy_reads_it_and_the_other_way_round(tmp_path):
    table = Table({"a": [1.5, np.nan], "v": np.arange(4).reshape(2, 2)}, meta={"x": [1, 2]})
    table["a"].unit = "deg"
    source = written(ECSV, table, About(), tmp_path)
    assert same_values(Table.read(source.name), table)
    table.write(tmp_path / "theirs.ecsv", delimiter=",")
    assert same_values(ECSV.read(FileSource(tmp_path / "theirs.ecsv"), About(), {}), table)


def test_lines_that_end_as_on_windows(tmp_path):
    source = written(ECSV, Table({"a": [1, 2]}), About(), tmp_path)
    path = tmp_path / "windows.ecsv"
    path.write_bytes(bytes(source.read_all()).replace(b"\n", b"\r\n"))
    assert list(ECSV.read(FileSource(path), About(), {})["a"]) == [1, 2]


def test_rows_are_never_lost_silently(tmp_path):
    with pytest.raises(FormatError, match=r"the number of rows, 2.*Parquet"):
        written(ECSV, Table({"s": ["#a", "b"]}), About(name="src"), tmp_path)
    with pytest.raises(FormatError, match=r"the column 's'.*Parquet"):
        written(ECSV, Table({"s": [" a", "b"]}), About(name="src"), tmp_path)


def test_an_alias_bomb_in_the_header_is_refused(tmp_path):
    lines = [
        "# %ECSV 1.0",
        "# ---",
        "# datatype: [{name: a, datatype: int64}]",
        "# meta:",
        "#   a0: &a0 [x, x, x, x, x, x]",
    ]
    lines += [f"#   a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    path = tmp_path / "bomb.ecsv"
    path.write_text("\n".join([*lines, "# schema: astropy-2.0", "a", "1", ""]))
    with pytest.raises(FormatError, match=r"bomb.ecsv.*aliases"):
        ECSV.read(FileSource(path), About(), {})


def test_a_damaged_compressed_file(tmp_path):
    import gzip

    source = written(ECSV, Table({"a": [1, 2]}), About(), tmp_path)
    path = tmp_path / "x.ecsv.gz"
    path.write_bytes(gzip.compress(bytes(source.read_all()))[:-10])
    with pytest.raises(IntegrityError, match=r"x.ecsv.gz.*cut short or damaged"):
        ECSV.read(FileSource(path), About(), {})


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, st.floats(), st.booleans()), min_size=1, max_size=5))
def test_a_table_comes_back_or_is_refused(rows):
    table = Table({"n": [1] * len(rows), "s": np.array([r[0] for r in rows], str), "f": [r[1] for r in rows]})
    table["m"] = MaskedColumn(table["s"], mask=[r[2] for r in rows])
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = written(ECSV, table, About(), folder)
        except FormatError:
            return
        assert same_values(ECSV.read(source, About(), {}), table)
