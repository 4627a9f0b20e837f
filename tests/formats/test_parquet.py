"""Parquet beyond the conformance tests: columns, foreign files, damage, other readers."""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import FormatError, IntegrityError, ParameterError
from bunter.formats import parquet
from bunter.formats.equality import same_values
from bunter.formats.interface import About
from bunter.formats.parquet import Parquet
from bunter.formats.tables import KEY
from bunter.testing import FileSource, written

PARQUET = Parquet()


def wide(rows=2000, columns=30):
    chance = np.random.default_rng(1)
    table = Table({f"c{i}": chance.normal(size=rows) for i in range(columns)})
    for column in table.itercols():
        column.unit = "mJy"
    return table


def mixins():
    return QTable(
        {
            "t": Time(["2016-01-01T00:00:00.123456789", "2021-01-01"]),
            "sky": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg),
            "sky.ra2": [1, 2],
            "x": [1.0, 2.0] * u.m,
        }
    )


def save(path, table, **options):
    pq.write_table(table, path, **options)
    return FileSource(path)


def test_columns_read_only_their_bytes(tmp_path):
    table = wide()
    for local in (True, False):
        source = written(PARQUET, table, About(), tmp_path, local=local)
        back = PARQUET.read(source, About(), {"columns": ["c20", "c3"]})
        assert same_values(back, table[["c20", "c3"]])
        footer = source.layout["footer"][1]
        assert source.bytes_read < 4 * footer + 4 * 2000 * 8 < source.size


def test_columns_of_mixins(tmp_path):
    source = written(PARQUET, mixins(), About(), tmp_path)
    for names in (["sky"], ["t", "sky.ra2"], ["x"], ["sky.ra2", "sky", "x", "t"]):
        assert same_values(PARQUET.read(source, About(), {"columns": names}), mixins()[names])
    with pytest.raises(ParameterError, match=r"no column 'sky.ra'; did you mean 'sky.ra2'.* there are: "):
        PARQUET.read(source, About(), {"columns": ["sky.ra"]})


def test_columns_as_other_types(tmp_path):
    source = written(PARQUET, wide(5), About(), tmp_path)
    arrow = PARQUET.read(source, About(python=pa.Table), {"columns": ["c1"]})
    assert arrow.column_names == ["c1"]
    assert arrow.schema.field("c1").metadata == {b"unit": b"mJy"}
    assert list(PARQUET.read(source, About(python=pd.DataFrame), {"columns": ["c1"]})) == ["c1"]


def test_the_settings_that_were_measured(tmp_path):
    table = Table({"f": [1.0, 2.0], "v": np.zeros((2, 3), "f4"), "s": ["a", "b"], "i": [1, 2]})
    group = pq.ParquetFile(written(PARQUET, table, About(), tmp_path).name).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(4)}
    assert {c.compression for c in columns.values()} == {"ZSTD"}
    for name in ("f", "v.list.element"):
        assert "BYTE_STREAM_SPLIT" in columns[name].encodings
        assert not columns[name].has_dictionary_page
    assert columns["s"].has_dictionary_page


def test_astropy_itself_reads_it(tmp_path):
    table = Table({"f": [1.0, 2.0], "s": ["a", "bcd"], "i": [1, 2]}, meta={"a": 1})
    table["f"].unit = "mJy"
    table["f"].description = "flux"
    source = written(PARQUET, table, About(), tmp_path)
    assert same_values(Table.read(source.name), table)
    mixed = mixins()["t", "x"]
    source = written(PARQUET, mixed, About(), tmp_path)
    assert same_values(QTable.read(source.name), mixed)


def test_files_of_astropy_are_read(tmp_path):
    table = mixins()
    table["x"].info.description = "width"
    table.write(tmp_path / "x.parquet")
    source = FileSource(tmp_path / "x.parquet")
    assert same_values(PARQUET.read(source, About(python=QTable), {}), table)
    assert same_values(PARQUET.read(source, About(python=QTable), {"columns": ["sky"]}), table[["sky"]])


def test_files_of_pandas_are_read(tmp_path):
    frame = pd.DataFrame({"f": [1.0, np.nan], "s": ["a", None], "c": pd.Categorical(["x", "y"])}, index=["p", "q"])
    frame.to_parquet(tmp_path / "x.parquet")
    source = FileSource(tmp_path / "x.parquet")
    assert same_values(PARQUET.read(source, About(python=pd.DataFrame), {}), frame)
    table = PARQUET.read(source, About(), {})
    assert np.isnan(table["f"][1])
    assert table["s"].mask.tolist() == [False, True]
    assert list(table["c"]) == ["x", "y"]
    assert list(table["__index_level_0__"]) == ["p", "q"]


def test_files_of_others_are_read(tmp_path):
    arrow = pa.table(
        {
            "i": pa.array([1, None, 3]),
            "f": pa.array([1.0, None, np.nan], pa.float32()),
            "b": pa.array([True, None, False]),
            "d": pa.array(["x", None, "x"]).dictionary_encode(),
            "large": pa.array(["x", "", None], pa.large_string()),
            "raw": pa.array([b"x", None, b"yz"]),
            "v": pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float64(), 2)),
            "l": pa.array([[1], None, []], pa.list_(pa.int32())),
            "t": pa.array([0, None, 1], pa.timestamp("us", tz="UTC")),
            "date": pa.array([0, None, 1], pa.date32()),
            "n": pa.nulls(3),
            "st": pa.array([{"a": 1}, None, {"a": 2}]),
        }
    )
    field = arrow.schema.field("i").with_metadata({"unit": "nJy", "description": "number"})
    arrow = arrow.cast(arrow.schema.set(0, field).with_metadata({"survey": "none"}))
    source = save(tmp_path / "x.parquet", arrow)
    table = PARQUET.read(source, About(), {})
    assert table.meta == {"survey": "none"}
    assert table["i"].unit == u.nJy
    assert table["i"].description == "number"
    for name in ("i", "f", "b", "d", "large", "raw", "n"):
        assert table[name].mask.tolist() == arrow[name].is_null().to_pylist(), name
    assert table["i"].filled(0).tolist() == [1, 0, 3]
    assert table["f"].dtype == "f4"
    assert np.isnan(table["f"][2])
    assert table["v"].shape == (3, 2)
    assert table["v"].mask.tolist() == [[False, False], [True, True], [False, True]]
    assert table["l"][0].tolist() == [1]
    assert table["t"][2] == np.datetime64("1970-01-01T00:00:00.000001")
    assert np.isnat(table["date"][1])
    assert table["st"][2] == {"a": 2}
    assert same_values(PARQUET.read(source, About(python=pa.Table), {}), pq.read_table(source.name))


def test_row_groups(tmp_path):
    table = pa.table({"a": np.arange(1000), "s": [str(i) for i in range(1000)]})
    source = save(tmp_path / "x.parquet", table, row_group_size=100)
    for python in (None, pa.Table):
        back = PARQUET.read(source, About(python=python), {"columns": ["s"]})
        assert list(back["s"])[999] in ("999", pa.scalar("999"))
        assert len(back["s"]) == 1000
    assert same_values(np.asarray(PARQUET.read(source, About(), {})["a"]), np.arange(1000))


@pytest.mark.parametrize("threaded", [0, 1 << 40])
def test_one_thread_or_several(tmp_path, monkeypatch, threaded):
    table = Table({"a": np.arange(5000), "b": np.arange(5000) / 7, "c": [f"word {n % 50}" for n in range(5000)]})
    source = written(PARQUET, table, About(), tmp_path)
    monkeypatch.setattr(parquet, "_THREADED", threaded)
    for columns in (["a", "b", "c"], ["c", "a"]):
        assert same_values(PARQUET.read(source, About(), {"columns": columns}), table[columns])
    assert same_values(PARQUET.read(source, About(), {}), table)


def test_damage_is_noticed_when_only_some_columns_are_read(tmp_path):
    table = wide(500, 3)
    source = written(PARQUET, table, About(), tmp_path)
    data = bytearray(source.read_all())
    chunk = pq.ParquetFile(source.name).metadata.row_group(0).column(0)
    place = chunk.data_page_offset + chunk.total_compressed_size // 2
    for at, message in ((place, "CRC"), (len(data) - 300, "checksum")):
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        path = tmp_path / "spoilt.parquet"
        path.write_bytes(spoilt)
        with pytest.raises(IntegrityError, match=rf"spoilt.parquet.*{message}"):
            PARQUET.read(FileSource(path, source.layout), About(), {"columns": ["c0"]})
    untouched = PARQUET.read(FileSource(tmp_path / "parquet.parquet", source.layout), About(), {"columns": ["c1"]})
    assert same_values(untouched, table[["c1"]])


def test_a_damaged_description_is_a_format_error(tmp_path):
    for text in (b"{", b'{"version": 2, "columns": {}}', b"[]", b'{"version": 1, "columns": {}, "yaml": true}'):
        arrow = pa.table({"a": [1]}, metadata={KEY: text, b"table_meta_yaml": b"a: &a [*a]"})
        source = save(tmp_path / "x.parquet", arrow)
        with pytest.raises(FormatError, match=r"description"):
            PARQUET.read(source, About(), {})


def test_two_columns_of_one_name(tmp_path):
    source = save(tmp_path / "x.parquet", pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(FormatError, match=r"one name"):
        PARQUET.read(source, About(), {})


def test_equal_compares_what_is_handed_out():
    about = About(python=Table)
    table = wide(5, 2)
    assert PARQUET.equal(QTable(table), table, about)
    assert PARQUET.equal(pa.table({"a": [1.0]}), Table({"a": [1.0]}), about)
    assert not PARQUET.equal(pa.table({"a": [1.0]}), Table({"a": [2.0]}), about)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
cells = {
    "f": st.floats(width=32),
    "i": st.integers(-(2**63), 2**63 - 1),
    "s": texts,
    "b": st.booleans(),
}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5).flatmap(lambda n: st.fixed_dictionaries(
    {name: st.lists(st.tuples(cell, st.booleans()), min_size=n, max_size=n) for name, cell in cells.items()}
)))  # fmt: skip
def test_any_masked_table_comes_back(rows):
    dtypes = {"f": "f4", "i": "i8", "s": "U5", "b": bool}
    table = Table(
        {
            name: MaskedColumn(np.array([v for v, _ in items], dtypes[name]), mask=[m for _, m in items])
            for name, items in rows.items()
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        back = PARQUET.read(written(PARQUET, table, About(), folder), About(), {})
    assert same_values(back, table)
