"""Npy beyond the conformance tests."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunter.errors import FormatError, IntegrityError
from bunter.formats.equality import same_values
from bunter.formats.interface import About
from bunter.formats.npy import Npy
from bunter.testing import FileSource, written

NPY = Npy()

DTYPES = st.sampled_from(["<f4", ">f8", "<i8", ">u2", "?", "<c16", "U3", "S2", "M8[s]"])


@given(hnp.arrays(DTYPES | hnp.array_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_any_array_comes_back_as_numpy_itself_wrote_it(array):
    out = io.BytesIO()
    NPY.write(array, out, About())
    by_numpy = np.load(io.BytesIO(out.getvalue()), allow_pickle=False)
    assert by_numpy.dtype == array.dtype
    assert by_numpy.shape == array.shape
    assert same_values(by_numpy, array)


@pytest.mark.parametrize("order", ["C", "F"])
def test_files_of_numpy_are_read(tmp_path, order):
    array = np.arange(12, dtype=">f4").reshape(3, 4, order=order)
    np.save(tmp_path / "x.npy", array)
    back = NPY.read(FileSource(tmp_path / "x.npy"), About(), {})
    assert back.dtype == array.dtype
    assert same_values(back, array)


def test_a_long_header(tmp_path):
    array = np.zeros(2, [(f"column_number_{i}", "f8") for i in range(3000)])
    source = written(NPY, array, About(), tmp_path)
    assert same_values(NPY.read(source, About(), {}), array)
    assert NPY.scan(FileSource(source.name), About(), True) == {}


def test_a_structured_array_as_a_table(tmp_path):
    array = np.zeros(3, [("a", "i4"), ("b", "f8", (2,))])
    table = NPY.read(written(NPY, array, About(), tmp_path), About(python=Table), {})
    assert same_values(table, Table(array))


def test_a_cutout_reads_little(tmp_path):
    array = np.arange(512 * 1024, dtype="f4").reshape(512, 1024)
    source = written(NPY, array, About(), tmp_path, local=False)
    cut = NPY.read(source, About(), {"bbox": (slice(100, 110), slice(0, 20))})
    assert same_values(cut, array[100:110, :20])
    assert source.bytes_read == 4096 + 10 * 1024 * 4
    mapped = written(NPY, array, About(), tmp_path)
    cut = NPY.read(mapped, About(), {"bbox": (slice(100, 110), slice(0, 20))})
    assert mapped.bytes_read == 4096
    cut[:] = 0
    assert same_values(NPY.read(mapped, About(), {}), array)


def test_a_cutout_of_a_short_file_is_an_error_not_a_crash(tmp_path):
    source = written(NPY, np.arange(10000.0).reshape(100, 100), About(), tmp_path)
    path = tmp_path / "short.npy"
    path.write_bytes(bytes(source.read_all())[:50000])
    for local in (True, False):
        with pytest.raises(IntegrityError, match=r"short.npy has 50000 bytes; .* asks for 80128"):
            NPY.read(FileSource(path, local=local), About(), {"bbox": (slice(90, 100), slice(0, 10))})
    with pytest.raises(IntegrityError, match=r"asks for"):
        NPY.scan(FileSource(path), About(), False)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f8', 'fortran_order': 3, 'shape': (1,)}",
        "{'descr': '<f8', 'shape': (1,)}",
        "{'descr': 'no dtype', 'fortran_order': False, 'shape': (1,)}",
        "__import__('os').getcwd()",
        "(" * 90,
        "[1, 2]",
    ],
)
def test_hostile_headers(tmp_path, header):
    path = tmp_path / "x.npy"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117).encode() + b"\n" + b"\0" * 8
    )
    with pytest.raises(FormatError, match=r"x.npy"):
        NPY.read(FileSource(path), About(), {})
