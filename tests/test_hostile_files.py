"""Files that lie about their size, bombs, and files that would run code: refused with an error that says so, in bounds."""

# ruff: noqa: E501, PT012 - what lies is easier to see in one line each
from __future__ import annotations

import bz2
import gzip
import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bunter import Butler, RepositoryArgs
from bunter.errors import BunterError, FormatError, IntegrityError, ParameterError
from bunter.formats.expanding import check_member, expanded, largest

STORAGES = ("FitsImage", "FitsTable", "FitsWcs", "Parquet", "Ecsv", "Csv", "Json", "Yaml", "Npy", "Pickle")
POLICY = {"datasets": {name: {"storage": name, "template": f"{name}/{{v:d}}.x"} for name in STORAGES}}


@pytest.fixture
def butler(tmp_path, monkeypatch):
    monkeypatch.setenv("BUNTER_CONFIG", str(tmp_path / "configuration"))
    with Butler(outputs=RepositoryArgs(tmp_path / "root", policy=POLICY), durability="fast") as made:
        yield made


def cards(*given: Any) -> bytes:
    """Return a FITS header."""
    lines = []
    for key, value in given:
        text = (
            {True: "T", False: "F"}[value]
            if isinstance(value, bool)
            else f"'{value}'"
            if isinstance(value, str)
            else str(value)
        )
        lines.append(f"{key:<8}= {text:>20}")
    data = "".join(f"{line:<80}" for line in (*lines, "END")).encode()
    return data.ljust(-(-len(data) // 2880) * 2880)


def primary(*axes: int, bitpix: int = 8) -> bytes:
    sizes = ((f"NAXIS{i}", n) for i, n in enumerate(axes, 1))
    return cards(("SIMPLE", True), ("BITPIX", bitpix), ("NAXIS", len(axes)), *sizes)


def table(length: int, rows: int, form: str, *more: Any, heap: int = 0, name: str = "a") -> bytes:
    return primary() + cards(
        ("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", length), ("NAXIS2", rows), ("PCOUNT", heap), ("GCOUNT", 1),
        ("TFIELDS", 1), ("TTYPE1", name), ("TFORM1", form), *more,
    )  # fmt: skip


def tile(side: int, data: bytes) -> bytes:
    """Return one compressed tile that says that it is a large image."""
    head = table(
        8, 1, "1PB(9)", ("ZIMAGE", True), ("ZBITPIX", 32), ("ZNAXIS", 2), ("ZNAXIS1", side), ("ZNAXIS2", side), ("ZTILE1", side),
        ("ZTILE2", side), ("ZCMPTYPE", "GZIP_1"), heap=len(data),
        name="COMPRESSED_DATA",
    )  # fmt: skip
    return padded(head + struct.pack(">ii", len(data), 0) + data)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 2880)


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header.encode() + data


def zeros(count: int) -> bytes:
    """Return zeros as gzip, without having them."""
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 24)
    return b"".join(engine.compress(block) for _ in range(count >> 24)) + engine.flush()


class Evil:
    """What an unpickler would make a folder of."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("bunter-was-had",)


ECSV = "# %ECSV 1.0\n# ---\n"
ALIASES = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20))

LIES = {
    "NAXIS1 of 10^12": ("FitsImage", primary(10**12, 10**3)),
    "NAXIS1 of 10^30": ("FitsImage", primary(10**30, 10**30)),
    "999 axes": ("FitsImage", primary(*[2] * 999)),
    "a negative axis": ("FitsImage", primary(-5, 5)),
    "BITPIX 7": ("FitsImage", primary(5, 5, bitpix=7)),
    "no END": ("FitsImage", primary(5, 5).replace(b"END", b"   ")),
    "PCOUNT of 10^15": ("FitsTable", table(4, 1, "1J", heap=10**15)),
    "10^9 rows": ("FitsTable", table(4, 10**9, "1J")),
    "10^12 rows without bytes": ("FitsTable", table(0, 10**12, "0A")),
    "TFORM of 10^18": ("FitsTable", padded(table(4, 1, "1000000000000000000J") + b"abcd")),
    "a list outside": ("FitsTable", padded(table(8, 1, "1PJ(5)", heap=16) + struct.pack(">ii", 5, 1 << 30) + bytes(16))),
    "a list that is too long": ("FitsTable", padded(table(16, 1, "1QD(5)", heap=16) + struct.pack(">qq", 1 << 40, 8) + bytes(16))),
    "a list of less than nothing": ("FitsTable", padded(table(8, 1, "1PJ(5)", heap=16) + struct.pack(">ii", -5, 8) + bytes(16))),
    "10^12 pixels in a tile": ("FitsImage", tile(10**6, gzip.compress(bytes(99)))),
    "6 GB in a tile": ("FitsImage", tile(40_000, gzip.compress(bytes(99)))),
    "10^12 fields": ("FitsImage", tile(10, gzip.compress(bytes(400))).replace(b"TFIELDS =                    1", b"TFIELDS =        1000000000000")),
    "10^12 axes": ("FitsImage", tile(10, gzip.compress(bytes(400))).replace(b"ZNAXIS  =                    2", b"ZNAXIS  =        1000000000000")),
    "HDF5": ("FitsImage", b"\x89HDF\r\n\x1a\n" + bytes(3000)),
    "ASDF": ("FitsImage", b"#ASDF 1.0.0\n%YAML 1.1\n--- {x: !!python/object:os.system [x]}\n"),
    "NPZ": ("Npy", b"PK\x03\x04" + bytes(3000)),
    "NPY of 10^12": ("Npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}")),
    "NPY of (0, 10^30)": ("Npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1" + "0" * 30 + ")}")),
    "NPY of objects": ("Npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps(Evil()))),
    "NPY of records of objects": ("Npy", npy("{'descr': [('a', 'O')], 'fortran_order': False, 'shape': (1,)}", pickle.dumps(Evil()))),
    "NPY that calls": ("Npy", npy("{'descr': __import__('os').mkdir('bunter-was-had'), 'fortran_order': False, 'shape': ()}")),
    "NPY of brackets": ("Npy", npy("(" * 900_000)),
    "NPY of minuses": ("Npy", npy("-" * 900_000 + "1")),
    "Parquet footer of 4 GB": ("Parquet", b"PAR1" + bytes(100) + b"\xff\xff\xff\xffPAR1"),
    "Parquet footer of noise": ("Parquet", b"PAR1" + bytes(range(256)) * 4 + struct.pack("<I", 1000) + b"PAR1"),
    "deep JSON": ("Json", b"[" * 10**6),
    "a JSON number": ("Json", b"9" * 10**6),
    "deep YAML": ("Yaml", b"[" * 10**5),
    "YAML of question marks": ("Yaml", b"? " * 10**5),
    "YAML aliases": ("Yaml", ALIASES.encode()),
    "a YAML object": ("Yaml", b"!!python/object/apply:os.mkdir ['bunter-was-had']"),
    "a YAML ring": ("Yaml", b"&a [*a, *a]"),
    "ECSV aliases": ("Ecsv", (ECSV + "# meta: {a0: &a0 [x]}\n# datatype: [{name: a, datatype: int64}]\n# " + ALIASES.replace("\n", "\n# ") + "\na\n1\n").encode()),
    "an ECSV object": ("Ecsv", (ECSV + "# datatype: [{name: a, datatype: int64}]\n# meta: !!python/object/apply:os.mkdir [bunter-was-had]\na\n1\n").encode()),
    "an ECSV class": ("Ecsv", (ECSV + "# datatype:\n# - {name: a, datatype: int64}\n# meta: !!omap\n# - __serialized_columns__:\n#     b: {__class__: subprocess.Popen, args: !astropy.table.SerializedColumn {name: a}}\na\n1\n").encode()),
    "CSV of columns": ("Csv", b"," * 10**6 + b"\n"),
    "ECSV of columns": ("Ecsv", (ECSV + "# datatype:\n" + "".join(f"# - {{name: c{i}, datatype: int64}}\n" for i in range(10_001))).encode()),
    "a pickle": ("Pickle", pickle.dumps(Evil())),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies(butler, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    storage, content = LIES[name]
    path = tmp_path / "given"
    path.write_bytes(content)
    for v, scan in enumerate(("none", "headers", "full")):
        with pytest.raises(BunterError):
            butler.ingest(storage, str(path), data_id={"v": v}, scan=scan)
            butler.get(storage, v=v)
    assert not (tmp_path / "bunter-was-had").exists()


@pytest.mark.parametrize(
    ("storage", "content"),
    [("FitsImage", zeros(1 << 26)), ("FitsImage", bz2.compress(primary(1 << 13, 1 << 13) + bytes(1 << 26))), ("Csv", zeros(1 << 26)),
     ("Ecsv", gzip.compress(ECSV.encode() + bytes(1 << 25))), ("FitsImage", tile(5000, gzip.compress(bytes(99))))],
)  # fmt: skip
def test_bombs(butler, tmp_path, monkeypatch, storage, content):
    monkeypatch.setenv("BUNTER_LARGEST", "16M")
    path = tmp_path / "given"
    path.write_bytes(content)
    butler.ingest(storage, str(path), data_id={"v": 1}, scan="none")
    with pytest.raises(FormatError, match=r"taken for a bomb.*BUNTER_LARGEST"):
        butler.get(storage, v=1)


def test_what_is_right_is_read(butler, tmp_path, monkeypatch):
    image = np.zeros((3000, 2000), "i2")
    content = primary(2000, 3000, bitpix=16) + image.tobytes()
    path = tmp_path / "given.fits.gz"
    path.write_bytes(gzip.compress(padded(content)))
    monkeypatch.setenv("BUNTER_LARGEST", "1M")
    butler.ingest("FitsImage", str(path), data_id={"v": 1}, scan="none")
    with pytest.raises(FormatError, match="BUNTER_LARGEST"):
        butler.get("FitsImage", v=1)
    monkeypatch.setenv("BUNTER_LARGEST", "1G")
    assert np.array_equal(butler.get("FitsImage", v=1), image)
    monkeypatch.delenv("BUNTER_LARGEST")
    assert np.array_equal(butler.get("FitsImage", v=1), image)


def test_a_word_said_very_often(butler, tmp_path, monkeypatch):
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 18, "i4")), ["x" * 1000])
    path = tmp_path / "words.parquet"
    pq.write_table(pa.table({"x": words}).cast(pa.schema([("x", pa.string())])), path)
    assert path.stat().st_size < 100_000
    monkeypatch.setenv("BUNTER_LARGEST", "32M")
    butler.ingest("Parquet", str(path), data_id={"v": 1})
    for parameters in (None, {"columns": ["x"]}):
        with pytest.raises(FormatError, match="taken for a bomb"):
            butler.get("Parquet", v=1, parameters=parameters)


def test_numbers_said_very_often(butler, tmp_path, monkeypatch):
    path = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({"x": np.zeros(1 << 20), "y": np.arange(1 << 20)}), path)
    monkeypatch.setenv("BUNTER_LARGEST", "4M")
    butler.ingest("Parquet", str(path), data_id={"v": 1})
    with pytest.raises(FormatError, match="taken for a bomb"):
        butler.get("Parquet", v=1)


def test_memory_that_is_not_there(butler, tmp_path, monkeypatch):
    butler.put({"a": 1}, "Json", v=1)
    # What the registry has in JSON is known by then.
    assert butler.get("Json", v=1) == {"a": 1}

    def exhausted(*_: Any) -> None:
        raise MemoryError("not enough")

    monkeypatch.setattr(json, "loads", exhausted)
    with pytest.raises((FormatError, ValueError), match=r"memory|not enough"):
        butler.get("Json", v=1)


def test_the_limit():
    assert largest(0) == 1 << 30
    assert largest(1 << 40) == 8 << 30


@pytest.mark.parametrize(("said", "means"), [("5", 5), (" 2k", 2048), ("3 GiB", 3 << 30), ("1TB", 1 << 40)])
def test_the_limit_that_one_sets(monkeypatch, said, means):
    monkeypatch.setenv("BUNTER_LARGEST", said)
    assert largest(1 << 40) == means


@pytest.mark.parametrize("said", ["x", "-1", "1.5G", "9" * 50, "1 PB"])
def test_a_limit_that_is_none(monkeypatch, said):
    monkeypatch.setenv("BUNTER_LARGEST", said)
    with pytest.raises(ParameterError, match="BUNTER_LARGEST"):
        largest(1)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_many_members(pack):
    # In a time that does not grow with the square of their number.
    members = b"".join(pack(bytes([i % 256])) for i in range(500))
    found = expanded(memoryview(members * 40), "it")
    assert found is not None
    assert bytes(found) == bytes(i % 256 for i in range(500)) * 40
    assert expanded(memoryview(b"plain"), "it") is None
    assert expanded(memoryview(pack(b"")), "it") == b""
    assert bytes(expanded(memoryview(pack(b"x") + b"\0\0rest"), "it") or b"") == b"x"
    for cut in (1, 8, 20):
        with pytest.raises(IntegrityError, match=r"truncated|damaged"):
            expanded(memoryview(pack(bytes(range(256)) * 100)[:-cut]), "it")


def test_a_tile_that_expands_for_ever():
    with pytest.raises(FormatError, match="not decompressed"):
        check_member(memoryview(zeros(1 << 26)), 1 << 22, "it")
    check_member(memoryview(zeros(1 << 24)), 1 << 24, "it")
    check_member(memoryview(b"\x1f\x8bdamaged"), 10, "it")


@pytest.mark.parametrize("storage", ["FitsImage", "Json", "Npy"])
def test_a_file_that_grew_since(butler, tmp_path, storage):
    objects = {"FitsImage": np.ones((5, 5)), "Json": {"a": 1}, "Npy": np.ones(5)}
    butler.put(objects[storage], storage, v=1)
    place = Path(butler.uri(storage, v=1))
    with place.open("r+b") as file:
        # A terabyte that takes no room.
        file.truncate(1 << 40)
    with pytest.raises(IntegrityError, match="bytes"):
        butler.get(storage, v=1)
