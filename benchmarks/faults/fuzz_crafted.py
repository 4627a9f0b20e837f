"""Files that lie about what they hold, made by hand: for `fuzz_files.py`."""

# ruff: noqa: E501 - what is asked is easier to see in one line each
from __future__ import annotations

import gzip
import io
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK = 2880


def cards(*given: tuple[str, Any] | str, end: bool = True) -> bytes:
    """Return a header."""
    lines = []
    for card in given:
        if isinstance(card, str):
            lines.append(card)
            continue
        key, value = card
        text = (
            {True: "T", False: "F"}.get(value)
            if isinstance(value, bool)
            else f"'{value}'"
            if isinstance(value, str)
            else str(value)
        )
        lines.append(f"{key:<8}= {text:>20}")
    if end:
        lines.append("END")
    data = "".join(f"{line:<80.80}" for line in lines).encode()
    return data.ljust(-(-len(data) // BLOCK) * BLOCK)


def primary(*more: tuple[str, Any] | str, axes: tuple[Any, ...] = (), bitpix: Any = 8, end: bool = True) -> bytes:
    """Return the header of a primary HDU."""
    sizes = [(f"NAXIS{i}", n) for i, n in enumerate(axes, 1)]
    return cards(("SIMPLE", True), ("BITPIX", bitpix), ("NAXIS", len(axes)), *sizes, *more, end=end)


def table(
    length: Any,
    rows: Any,
    fields: list[tuple[str, str]],
    *more: tuple[str, Any] | str,
    heap: Any = 0,
    count: Any = None,
) -> bytes:
    """Return the header of a binary table, behind a primary one without data."""
    told = [
        (f"T{what}{i}", value)
        for i, field in enumerate(fields, 1)
        for what, value in zip(("TYPE", "FORM"), field, strict=True)
    ]
    return primary() + cards(
        ("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", length), ("NAXIS2", rows), ("PCOUNT", heap), ("GCOUNT", 1),
        ("TFIELDS", len(fields) if count is None else count), *told, *more,
    )  # fmt: skip


def tiles(shape: tuple[int, int], tile: tuple[int, int], rows: int, data: bytes, kind: str = "GZIP_1") -> bytes:
    """Return a compressed image that says what it likes."""
    head = table(
        8, rows, [("COMPRESSED_DATA", "1PB(9999)")], ("ZIMAGE", True), ("ZBITPIX", 32), ("ZNAXIS", 2), ("ZNAXIS1", shape[1]), ("ZNAXIS2", shape[0]),
        ("ZTILE1", tile[1]), ("ZTILE2", tile[0]), ("ZCMPTYPE", kind), heap=len(data),
    )  # fmt: skip
    return head + pad(b"".join(struct.pack(">ii", len(data), 0) for _ in range(rows)) + data)


def pad(data: bytes) -> bytes:
    """Fill the last block."""
    return data + bytes(-len(data) % BLOCK)


def zeros(count: int, engine: Any) -> bytes:
    """Return that many zero bytes, compressed."""
    out = bytearray()
    block = bytes(1 << 24)
    while count > 0:
        out += engine.compress(block[: min(count, len(block))])
        count -= len(block)
    return bytes(out + engine.flush())


def gz(head: bytes, count: int) -> bytes:
    """Return a header and zeros behind it, gzipped: one block of zeros, said again and again."""
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = engine.compress(head) + engine.flush(zlib.Z_FULL_FLUSH)
    block = engine.compress(bytes(1 << 24)) + engine.flush(zlib.Z_FULL_FLUSH)
    return start + block * (count >> 24) + engine.flush()


def bz2_of(head: bytes, count: int) -> bytes:
    """Return the same, with bzip2."""
    import bz2

    engine = bz2.BZ2Compressor(9)
    return engine.compress(head) + zeros(count, engine)


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """Return a .npy file."""
    text = header.encode("latin-1")
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """Return a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def parquet_bomb(rows: int) -> bytes:
    """Return a table of one value, said a billion times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    piece = pa.table({"x": pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 22, "i4")), ["x" * 1000])})
    with pq.ParquetWriter(out, piece.schema, compression="zstd") as writer:
        for _ in range(rows >> 22):
            writer.write_table(piece)
    return out.getvalue()


def parquet_claims() -> bytes:
    """Return a table whose footer says that it has more rows than it has."""
    data = parquet({"x": np.arange(1000)}, compression="none")
    return data.replace(b"\xd0\x0f", b"\xfe\xff")


class Evil:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.path.join(tempfile.gettempdir(), "bunter-was-had"),)


def evil() -> bytes:
    """Return a pickle that makes a folder."""
    import pickle

    return pickle.dumps(Evil())


_FIELD = [("a", "1J")]
ECSV = "# %ECSV 1.0\n# ---\n"
CRAFTED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "NAXIS1 of 10^12": ("FitsImage", lambda: primary(axes=(10**12, 10**3))),
    "NAXIS1 of 10^30": ("FitsImage", lambda: primary(axes=(10**30, 10**30))),
    "NAXIS 999, all 2": ("FitsImage", lambda: primary(axes=(2,) * 999)),
    "NAXIS 999, all 1": ("FitsImage", lambda: primary(axes=(1,) * 999) + pad(b"x")),
    "NAXIS of 10^6": ("FitsImage", lambda: cards(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 10**6))),
    "NAXIS negative": ("FitsImage", lambda: cards(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", -1))),
    "NAXIS1 negative": ("FitsImage", lambda: primary(axes=(-5, 5))),
    "NAXIS1 a word": ("FitsImage", lambda: primary(axes=("x", 5))),
    "an axis of zero": ("FitsImage", lambda: primary(axes=(10**15, 0, 10**15))),
    "BITPIX 7": ("FitsImage", lambda: primary(axes=(5, 5), bitpix=7)),
    "BITPIX of many digits": ("FitsImage", lambda: primary(axes=(5, 5), bitpix="8" * 60)),
    "PCOUNT of 10^15": ("FitsTable", lambda: table(4, 1, _FIELD, heap=10**15)),
    "GCOUNT huge": (
        "FitsImage",
        lambda: (
            primary()
            + cards(
                ("XTENSION", "IMAGE"), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", 1), ("PCOUNT", 0), ("GCOUNT", 10**18)
            )
        ),
    ),
    "no END": ("FitsImage", lambda: primary(axes=(5, 5), end=False)),
    "no END in 100 MB": ("FitsImage", lambda: primary(end=False) + b" " * 100_000_000),
    "10^6 cards": ("FitsImage", lambda: primary(*((f"K{i}", i) for i in range(10**6)))),
    "150,000 cards": (
        "FitsImage",
        lambda: primary(*((f"K{i}", i) for i in range(150_000)), axes=(2, 2)) + pad(b"abcd"),
    ),
    "100,000 CONTINUEs": (
        "FitsImage",
        lambda: (
            primary(
                "A       = 'x&'",
                *(["CONTINUE  'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx&'"] * 100_000),
                axes=(2, 2),
            )
            + pad(b"abcd")
        ),
    ),
    "50,000 HDUs": (
        "FitsTable",
        lambda: (
            primary() + cards(("XTENSION", "IMAGE"), ("BITPIX", 8), ("NAXIS", 0), ("PCOUNT", 0), ("GCOUNT", 1)) * 50_000
        ),
    ),
    "rows of 10^9": ("FitsTable", lambda: table(4, 10**9, _FIELD)),
    "rows of 10^12, no bytes each": ("FitsTable", lambda: table(0, 10**12, [("a", "0A"), ("b", "0J")])),
    "rows of 10^12, no fields": ("FitsTable", lambda: table(0, 10**12, [])),
    "TFIELDS of 10^9": ("FitsTable", lambda: table(4, 1, _FIELD, count=10**9) + pad(b"abcd")),
    "TFORM of 10^18": ("FitsTable", lambda: table(4, 1, [("a", "1000000000000000000J")]) + pad(b"abcd")),
    "TDIM that overflows": (
        "FitsTable",
        lambda: table(4, 1, _FIELD, ("TDIM1", "(4294967296,4294967296,1)")) + pad(b"abcd"),
    ),
    "heap descriptor outside": (
        "FitsTable",
        lambda: table(8, 1, [("a", "1PJ(5)")], heap=16) + pad(struct.pack(">ii", 5, 1 << 30) + bytes(16)),
    ),
    "heap descriptor of 2^31": (
        "FitsTable",
        lambda: table(16, 1, [("a", "1QD(5)")], heap=16) + pad(struct.pack(">qq", 1 << 40, 8) + bytes(16)),
    ),
    "heap descriptor negative": (
        "FitsTable",
        lambda: table(8, 1, [("a", "1PJ(5)")], heap=16) + pad(struct.pack(">ii", -5, -8) + bytes(16)),
    ),
    "THEAP outside": (
        "FitsTable",
        lambda: table(8, 1, [("a", "1PJ(5)")], ("THEAP", 1 << 40), heap=16) + pad(struct.pack(">ii", 2, 0) + bytes(16)),
    ),
    "an ASCII table of 10^9 rows": (
        "FitsTable",
        lambda: (
            primary()
            + cards(
                ("XTENSION", "TABLE"),
                ("BITPIX", 8),
                ("NAXIS", 2),
                ("NAXIS1", 4),
                ("NAXIS2", 10**9),
                ("PCOUNT", 0),
                ("GCOUNT", 1),
                ("TFIELDS", 1),
                ("TTYPE1", "a"),
                ("TFORM1", "I4"),
                ("TBCOL1", 1),
            )
        ),
    ),
    "an ASCII table of rows without bytes": (
        "FitsTable",
        lambda: (
            primary()
            + cards(
                ("XTENSION", "TABLE"),
                ("BITPIX", 8),
                ("NAXIS", 2),
                ("NAXIS1", 0),
                ("NAXIS2", 10**12),
                ("PCOUNT", 0),
                ("GCOUNT", 1),
                ("TFIELDS", 1),
                ("TTYPE1", "a"),
                ("TFORM1", "I4"),
                ("TBCOL1", 1),
            )
        ),
    ),
    "10^12 compressed pixels": (
        "FitsImage",
        lambda: tiles((10**6, 10**6), (10**6, 10**6), 1, gzip.compress(bytes(1000))),
    ),
    "10^8 pixels in a tile of nothing": (
        "FitsImage",
        lambda: tiles((10**4, 10**4), (10**4, 10**4), 1, gzip.compress(bytes(1000))),
    ),
    "6 GB pixels in a tile": (
        "FitsImage",
        lambda: tiles((40_000, 40_000), (40_000, 40_000), 1, gzip.compress(bytes(1000))),
    ),
    "a tile that expands to 1 GB": ("FitsImage", lambda: tiles((10, 10), (10, 10), 1, gz(b"", 2 << 30))),
    "10^12 fields in a compressed image": (
        "FitsImage",
        lambda: tiles((10, 10), (10, 10), 1, gzip.compress(bytes(400))).replace(
            b"TFIELDS =                    1", b"TFIELDS =        1000000000000"
        ),
    ),
    "RICE of nothing": ("FitsImage", lambda: tiles((1000, 1000), (1000, 1000), 1, b"\0\0\0\0abc", "RICE_1")),
    "HCOMPRESS of nothing": (
        "FitsImage",
        lambda: tiles((1000, 1000), (1000, 1000), 1, b"\xdd\x99" + b"\x7f" * 30, "HCOMPRESS_1"),
    ),
    "PLIO of nothing": ("FitsImage", lambda: tiles((1000, 1000), (1000, 1000), 1, b"\x7f\xff" * 30, "PLIO_1")),
    "tiles of size zero": ("FitsImage", lambda: tiles((10, 10), (0, 0), 10, b"")),
    "tiles of negative size": ("FitsImage", lambda: tiles((10, 10), (-1, -1), 100, b"")),
    "10 GB of zeros in .gz, no FITS": ("FitsImage", lambda: gz(b"", 10 << 30)),
    "10 GB image in .gz": ("FitsImage", lambda: gz(primary(axes=(10 << 20, 1024)), 10 << 30)),
    "10 GB image in .bz2": ("FitsImage", lambda: bz2_of(primary(axes=(10 << 20, 1024)), 2 << 30)),
    "a .gz in a .gz": ("FitsImage", lambda: gzip.compress(gz(primary(axes=(1 << 20, 1024)), 1 << 30))),
    "a .gz cut short": ("FitsImage", lambda: gzip.compress(primary(axes=(5, 5)) + pad(bytes(25)))[:-9]),
    "10,000 members in a .gz": ("FitsImage", lambda: gzip.compress(b"") * 300_000),
    "HDF5": ("FitsImage", lambda: b"\x89HDF\r\n\x1a\n" + bytes(3000)),
    "ASDF": (
        "FitsImage",
        lambda: b"#ASDF 1.0.0\n%YAML 1.1\n--- !core/asdf-1.1.0 {x: !!python/object:os.system [x]}\n" + bytes(3000),
    ),
    "NPZ": ("Npy", lambda: b"PK\x03\x04" + bytes(3000)),
    "NPY of shape 10^12": ("Npy", lambda: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n")),
    "NPY of 10^12 nothings": (
        "Npy",
        lambda: npy("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
    ),
    "NPY of shape (0, 10^30)": (
        "Npy",
        lambda: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 10000000000000000000000000000000)}\n"),
    ),
    "NPY of 100 axes": (
        "Npy",
        lambda: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 100 + ")}\n", bytes(8)),
    ),
    "NPY of objects": ("Npy", lambda: npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", evil())),
    "NPY of objects in records": (
        "Npy",
        lambda: npy("{'descr': [('a', '|O'), ('b', [('c', 'O')])], 'fortran_order': False, 'shape': (1,)}\n", evil()),
    ),
    "NPY with a call in its header": (
        "Npy",
        lambda: npy("{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (1,)}\n"),
    ),
    "NPY header of brackets": ("Npy", lambda: npy("(" * 900_000, version=2)),
    "NPY header of minuses": ("Npy", lambda: npy("-" * 900_000 + "1", version=2)),
    "NPY header of nested lists": ("Npy", lambda: npy("[" * 90 + "]" * 90)),
    "NPY header of 4 GB": ("Npy", lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100)),
    "NPY header of a long number": (
        "Npy",
        lambda: npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 60_000 + ",)}\n"),
    ),
    "NPY dtype of huge width": (
        "Npy",
        lambda: npy("{'descr': '<U2000000000', 'fortran_order': False, 'shape': (0,)}\n"),
    ),
    "NPY dtype nested": (
        "Npy",
        lambda: npy("{'descr': " + "[('a', " * 80 + "'<f8'" + ")]" * 80 + ", 'fortran_order': False, 'shape': (0,)}\n"),
    ),
    "Parquet of 10^8 equal words": ("Parquet", lambda: parquet_bomb(1 << 27)),
    "Parquet that claims rows": ("Parquet", parquet_claims),
    "Parquet footer of 4 GB": ("Parquet", lambda: b"PAR1" + bytes(100) + b"\xff\xff\xff\xffPAR1"),
    "Parquet footer of noise": ("Parquet", lambda: b"PAR1" + bytes(range(256)) * 4 + struct.pack("<I", 1000) + b"PAR1"),
    "Parquet with a class in its meta": ("Parquet", lambda: parquet({"a": [1]}) if False else _parquet_class()),
    "JSON nested 10^6 deep": ("Json", lambda: b"[" * 10**6),
    "JSON with a number of 10^6 digits": ("Json", lambda: b"9" * 10**6),
    "JSON of 1e400": ("Json", lambda: b'{"a": 1e400, "b": -1e999}'),
    "JSON bomb in .gz": ("Json", lambda: gz(b"", 6 << 30)),
    "JSON of empty lists": ("Json", lambda: b"[" + b"[]," * 3_000_000 + b"[]]"),
    "JSON with lone surrogates": ("Json", lambda: b'{"\\ud800": "\\udfff"}'),
    "YAML nested 10^6 deep": ("Yaml", lambda: b"[" * 10**6),
    "YAML of dashes": ("Yaml", lambda: b"- " * 10**5),
    "YAML of question marks": ("Yaml", lambda: b"? " * 10**5),
    "YAML alias bomb": (
        "Yaml",
        lambda: (
            "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
        ).encode(),
    ),
    "YAML with an object": ("Yaml", lambda: b"!!python/object/apply:os.system ['id']"),
    "YAML with a number of 10^6 digits": ("Yaml", lambda: b"9" * 10**6),
    "YAML ring": ("Yaml", lambda: b"&a [*a, *a]"),
    "YAML bomb in .gz": ("Yaml", lambda: gz(b"", 6 << 30)),
    "CSV of 10^6 columns": (
        "Csv",
        lambda: b",".join(b"c%d" % i for i in range(10**6)) + b"\n" + b",".join([b"1"] * 10**6) + b"\n",
    ),
    "CSV of commas": ("Csv", lambda: b"," * 10**7 + b"\n"),
    "CSV with a line of 60 MB": ("Csv", lambda: b"a,b\n1," + b"x" * 60_000_000),
    "CSV quote that stays open": ("Csv", lambda: b'"a,b\n' + b"1,2\n" * 10**6),
    "CSV bomb in .gz": ("Csv", lambda: gz(b"a,b\n", 6 << 30)),
    "CSV of empty lines": ("Csv", lambda: b"a\n" + b"\n" * 10**7),
    "ECSV of 10^5 columns": (
        "Ecsv",
        lambda: (
            ECSV + "# datatype:\n" + "".join(f"# - {{name: c{i}, datatype: int64}}\n" for i in range(10**5))
        ).encode(),
    ),
    "ECSV alias bomb": (
        "Ecsv",
        lambda: (
            ECSV
            + "# meta: {a0: &a0 [x, x]}\n"
            + "\n".join(f"# a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
            + "\na\n1\n"
        ).encode(),
    ),
    "ECSV with an object": (
        "Ecsv",
        lambda: (
            ECSV
            + "# datatype:\n# - {name: a, datatype: int64}\n# meta: !!python/object/apply:os.mkdir ['bunter-was-had']\na\n1\n"
        ).encode(),
    ),
    "ECSV with a class": (
        "Ecsv",
        lambda: (
            ECSV
            + "# datatype:\n# - {name: a, datatype: int64}\n# meta: !!omap\n# - __serialized_columns__:\n#     b: {__class__: subprocess.Popen, args: !astropy.table.SerializedColumn {name: a}}\na\n1\n"
        ).encode(),
    ),
    "ECSV bomb in .gz": ("Ecsv", lambda: gz(ECSV.encode(), 6 << 30)),
    "ECSV nested JSON": (
        "Ecsv",
        lambda: (
            ECSV + "# datatype:\n# - {name: a, datatype: string, subtype: json}\na\n" + "[" * 100_000 + "\n"
        ).encode(),
    ),
    "ECSV shape of 10^9": (
        "Ecsv",
        lambda: (
            ECSV + "# datatype:\n# - {name: a, datatype: string, subtype: 'float64[1000000000]'}\na\n\"[1]\"\n"
        ).encode(),
    ),
    "PsfEx of 10^9 terms": (
        "PsfEx",
        lambda: (
            table(
                4,
                1,
                [("PSF_MASK", "1E")],
                ("POLNAXIS", 2),
                ("POLDEG1", 10**9),
                ("PSFNAXIS", 3),
                ("PSFNAXIS1", 10**5),
                ("PSFNAXIS2", 10**5),
                ("PSFNAXIS3", 10**9),
            )
            + pad(b"abcd")
        ),
    ),
    "WCS of 999 axes": (
        "FitsWcs",
        lambda: primary(("WCSAXES", 999), *((f"CTYPE{i}", "RA---TAN") for i in range(1, 100))),
    ),
    "WCS of 10^9 axes": ("FitsWcs", lambda: primary(("WCSAXES", 10**9))),
    "WCS with SIP of order 10^9": (
        "FitsWcs",
        lambda: primary(
            ("CTYPE1", "RA---TAN-SIP"),
            ("CTYPE2", "DEC--TAN-SIP"),
            ("A_ORDER", 10**9),
            ("B_ORDER", 10**9),
            ("A_2_0", 1.0),
        ),
    ),
    "WCS with a table": (
        "FitsWcs",
        lambda: (
            primary(("CTYPE1", "RA---TAB"), ("CTYPE2", "DEC--TAB"), ("PS1_0", "x"), ("PS1_1", "y"), axes=(2, 2))
            + pad(b"abcd")
        ),
    ),
    "WCS with huge distortion": (
        "FitsWcs",
        lambda: (
            primary(
                ("CTYPE1", "RA---TAN"),
                ("CTYPE2", "DEC--TAN"),
                ("CPDIS1", "LOOKUP"),
                ("DP1.EXTVER", 1),
                ("DP1.NAXES", 10**9),
                axes=(2, 2),
            )
            + pad(b"abcd")
        ),
    ),
    "a pickle": ("Pickle", evil),
    "an empty file": ("FitsImage", lambda: b""),
    "zeros": ("FitsImage", lambda: bytes(1 << 20)),
}


def _parquet_class() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    meta = b"datatype:\n- {name: a, datatype: int64}\nmeta: !!omap\n- __serialized_columns__:\n    b: {__class__: subprocess.Popen, args: !astropy.table.SerializedColumn {name: a}}\n"
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({b"table_meta_yaml": meta}), out)
    return out.getvalue()
