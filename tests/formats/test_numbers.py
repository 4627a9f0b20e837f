"""Big-endian numbers made native where they are."""

from __future__ import annotations

import numpy as np
import pytest

from bunter.formats.interface import make_native, read_numbers

RANDOM = np.random.default_rng(4)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 4096, 4099, 1 << 20])
def test_numbers_are_made_native_in_place(width, start, length):
    """Wherever they lie in memory; what makes no number at the end stays."""
    data = RANDOM.bytes(start + length + 5)
    buffer = bytearray(data)
    make_native(memoryview(buffer)[start : start + length], width)
    whole = length // width * width
    turned = np.frombuffer(data[start : start + whole], f">u{width}").astype(f"=u{width}").tobytes()
    assert bytes(buffer) == data[:start] + turned + data[start + whole :]


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "f4", "i8", "f8"])
def test_numbers_of_every_kind(kind):
    dtype = np.dtype(kind)
    values = np.frombuffer(RANDOM.bytes(1 << 12), dtype).copy()
    data = memoryview(bytearray(values.astype(dtype.newbyteorder(">")).tobytes()))
    make_native(data, dtype.itemsize)
    assert bytes(data) == values.tobytes()


def test_a_source_that_only_reads_bytes():
    class Bytes:
        def read_range(self, offset, length, checksum=None):
            assert checksum == "c"
            return memoryview(bytearray(range(16))[offset : offset + length])

    assert np.frombuffer(read_numbers(Bytes(), 4, 8, 4, "c"), "=u4").tolist() == [0x04050607, 0x08090A0B]
