"""The scanner: every HDU of good files, and a clear error for all others, without trusting a header."""

from __future__ import annotations

import bz2
import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import FormatError, IntegrityError
from bunter.formats import fits_index
from bunter.formats.fits_file import FitsFile
from bunter.formats.fits_image import FitsImage
from bunter.formats.interface import About
from bunter.testing import FileSource


def content(*hdus):
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(stream)
    return stream.getvalue()


@pytest.fixture
def opened(tmp_path):
    def opened(data, layout=None):
        path = tmp_path / "file.fits"
        path.write_bytes(data)
        return FitsFile(FileSource(path, layout))

    return opened


def some():
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="CAT")
    image = np.arange(2000, dtype="f4").reshape(40, 50)
    second = fits.ImageHDU(image[:5], name="SCI", ver=2)
    return content(fits.ImageHDU(image, name="SCI"), table, second, fits.ImageHDU())


def test_all_hdus(opened):
    file = opened(some())
    assert [(h.kind, h.name, h.version, h.data_length) for h in file.hdus] == [
        ("image", "", 1, 0),
        ("image", "SCI", 1, 8000),
        ("table", "CAT", 1, 8),
        ("image", "SCI", 2, 1000),
        ("image", "", 1, 0),
    ]
    assert file.named("sci") == 1
    assert file.named("SCI", 2) == 3
    assert file.named("SCI", 3) is None
    assert file.named("primary") == 0


def test_layout_saves_the_scan(opened):
    data = some()
    layout = opened(data).layout(False)
    file = opened(data, layout)
    assert file.source.bytes_read == 0
    assert bytes(file.data(2)) == np.array([1, 2], ">i4").tobytes()
    assert file.source.bytes_read == 8


def test_checksums_guard_headers_and_data(opened):
    data = bytearray(some())
    layout = opened(data).layout(True)
    hdu = opened(data).hdus[1]
    for place in (hdu.offset + 100, hdu.data_offset + 7999):
        data[place] ^= 1
        file = opened(data, layout)
        with pytest.raises(IntegrityError):
            file.header(1) and file.data(1)
        data[place] ^= 1
    assert opened(data, layout).data(1)


def test_large_headers_and_many_blocks(opened):
    image = fits.ImageHDU(np.zeros((3, 3)))
    for number in range(2000):
        image.header[f"K{number}"] = number
    file = opened(content(image, fits.ImageHDU(np.zeros(4))))
    assert file.cards(1)["K1999"] == 1999
    assert len(file.hdus) == 3


def test_junk_after_the_last_hdu(opened):
    assert len(opened(some() + b"\0" * 5000).hdus) == 5
    assert len(opened(some() + b"tape mark" * 400).hdus) == 5


@pytest.mark.parametrize("cut", [1, 80, 2000, 2880, 3000])
def test_truncated(opened, cut):
    data = content(fits.ImageHDU(np.ones((50, 50))))
    if cut < 2880 - 20000 % 2880:
        # Only padding is lost.
        assert len(opened(data[:-cut]).hdus) == 2
        return
    with pytest.raises(IntegrityError, match="truncated"):
        opened(data[:-cut])


def test_truncated_within_a_header(opened):
    data = content(fits.ImageHDU(np.ones((50, 50))))
    with pytest.raises(IntegrityError, match="truncated"):
        opened(data[: 2880 + 400])
    with pytest.raises(IntegrityError, match="END"):
        opened(data[:300])


def test_no_end_card(opened):
    data = bytearray(content())
    at = data.index(b"END" + b" " * 77)
    data[at : at + 3] = b"EMD"
    with pytest.raises(IntegrityError, match="END"):
        opened(data)


def test_endless_header(opened, monkeypatch):
    monkeypatch.setattr(fits_index, "MOST_HEADER", 100_000)
    with pytest.raises(FormatError, match="END"):
        opened(content()[:80] + b"COMMENT".ljust(80) * 10_000)


def changed(data, **cards):
    for key, value in cards.items():
        at = data.index(f"{key:8}=".encode())
        data = data[: at + 10] + str(value).rjust(20).encode() + data[at + 30 :]
    return data


@pytest.mark.parametrize(
    ("cards", "word"),
    [
        ({"NAXIS1": 10**18}, "no file has that many"),
        ({"NAXIS1": 10**14, "NAXIS2": 10**14}, "no file has that many"),
        ({"NAXIS1": -5}, "NAXIS1"),
        ({"NAXIS1": "'x'"}, "NAXIS1"),
        ({"BITPIX": 7}, "BITPIX"),
        ({"PCOUNT": -1}, "PCOUNT"),
        ({"GCOUNT": 10**17}, "no file has that many"),
    ],
)
def test_absurd_sizes(opened, cards, word):
    data = content(fits.ImageHDU(np.ones((50, 50))))
    head, tail = data[:2880], data[2880:]
    with pytest.raises(FormatError, match=word):
        opened(head + changed(tail, **cards))


def test_large_but_possible_size_is_truncation(opened):
    data = content(fits.ImageHDU(np.ones((50, 50))))
    with pytest.raises(IntegrityError, match="truncated"):
        opened(data[:2880] + changed(data[2880:], NAXIS1=10**6))


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"PAR1", "Parquet"),
        (b'{"a": 1}', "JSON"),
        (b"<html>login", "HTML"),
        (b"version https://git-lfs.github.com", "Git LFS"),
        (b"id,ra,dec\n1,2,3\n", "text that begins with"),
        (b"\x01\x02\x03\xff", "01 02 03 ff"),
        (b"\0" * 3000, "zero bytes"),
    ],
)
def test_other_files_are_named(opened, start, what):
    with pytest.raises(FormatError, match="not a FITS file") as caught:
        opened(start)
    assert what in str(caught.value)
    assert "file.fits" in str(caught.value)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_whole(opened, pack):
    data = some()
    file = opened(pack(data))
    assert file.whole
    assert bytes(file.data(1)) == bytes(opened(data).data(1))
    assert file.layout(True) == {"whole": True}
    assert file.ranges([1]) is None
    again = opened(pack(data), {"whole": True})
    assert len(again.hdus) == 5
    # Several streams one behind the other are one file.
    assert len(opened(pack(data[:5000]) + pack(data[5000:])).hdus) == 5


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_and_damaged(opened, pack):
    packed = bytearray(pack(some()))
    with pytest.raises(IntegrityError, match="truncated"):
        opened(packed[: len(packed) // 2])
    packed[len(packed) // 2] ^= 255
    with pytest.raises((IntegrityError, FormatError)):
        opened(packed)


def test_decompression_bomb(opened, monkeypatch):
    monkeypatch.setenv("BUNTER_LARGEST", "1M")
    with pytest.raises(FormatError, match="not read"):
        opened(gzip.compress(bytes(1 << 22)))
    with pytest.raises(FormatError, match="not read"):
        opened(bz2.compress(bytes(1 << 22)))


def test_layout_of_another_file(opened):
    layout = opened(some()).layout(False)
    with pytest.raises(IntegrityError, match="does not fit"):
        opened(content(), layout)
    with pytest.raises(IntegrityError, match="does not fit"):
        opened(content(), {"hdus": [[1, 2]]})


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_headers_never_crash(data):
    original = content(fits.ImageHDU(np.ones((5, 5)), name="SCI"), fits.ImageHDU())
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(original) - 1))
        damaged[place] = data.draw(st.integers(0, 255))

    class Memory:
        name, size, layout, local_path = "memory", len(damaged), {}, None

        def read_range(self, offset, length, checksum=None):
            assert offset >= 0
            assert offset + length <= len(damaged)
            return memoryview(bytearray(damaged[offset : offset + length]))

        def read_all(self):
            return memoryview(bytearray(damaged))

    try:
        array = FitsImage().read(Memory(), About(), {})
    except (FormatError, IntegrityError):
        return
    assert array.size <= len(original)
