"""Local files for reading: whole or by ranges, verified; what is given away, and what is owed."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest
import xxhash

from bunter.errors import FormatError, IntegrityError
from bunter.files.interface import StoredFile
from bunter.files.sources import LocalSource
from bunter.formats.interface import About, Format, Range
from bunter.reading import failing, read_parts, read_whole

LARGE = 3 << 20


def content(size):
    return bytes(number * 7 % 251 for number in range(1000)) * (size // 1000 + 1)


@pytest.fixture(params=[1000, 300_000, LARGE])
def size(request):
    return request.param


@pytest.fixture
def file(tmp_path, size):
    data = content(size)[:size]
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    return path, data, StoredFile("a.bin", True, size, None, xxhash.xxh3_128_hexdigest(data), {})


@contextlib.contextmanager
def opened(file, **options):
    path, data, stored = file
    source = LocalSource(str(path), stored, **options)
    try:
        yield source, data
    finally:
        source.close()


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def ranges(size):
    return [Range(10, 100), Range(200, 0), Range(200, size - 500)]


@pytest.mark.parametrize("checked", [True, False])
def test_pieces_one_behind_the_other(file, size, checked):
    with opened(file, verify=checked) as (source, data):
        for offset, step, width, count in [(7, 150, 40, 6), (0, 100, 100, 10), (size - 1, 5000, 1, 1), (3, 90, 0, 2)]:
            found = source.read_rows(offset, step, width, count)
            assert found == b"".join(data[offset + step * row :][:width] for row in range(count))
            assert not found.readonly
        for wrong in [(-1, 150, 40, 2), (size - 100, 99, 2, 2), (0, size, 1, 2)]:
            with pytest.raises(IntegrityError, match="bytes"):
                source.read_rows(*wrong)


def test_pieces_of_what_was_read_ahead(file, size):
    with opened(file) as (source, data):
        source.expect(lambda: [Range(0, size)])
        assert source.read_rows(5, 50, 10, 4) == b"".join(data[start : start + 10] for start in range(5, 205, 50))
        source.confirm()


def test_what_is_expected_is_read_at_once(file, size):
    with opened(file) as (source, data):
        source.expect(lambda: ranges(size))
        for each in ranges(size):
            found = source.read_range(each.offset, each.length)
            assert bytes(found) == data[each.offset : each.offset + each.length]
            assert not found.readonly
        source.confirm()


def test_bytes_are_given_away_once(file, size):
    """Whoever has them may change them; whoever asks again gets those of the file."""
    with opened(file) as (source, data):
        source.expect(lambda: ranges(size))
        for _ in range(3):
            for each in (*ranges(size), Range(300, 300), Range(0, size)):
                found = source.read_range(each.offset, each.length)
                assert bytes(found) == data[each.offset : each.offset + each.length]
                found[:] = bytes(each.length)
        whole = source.read_all()
        assert bytes(whole) == data
        whole[:] = bytes(size)
        assert bytes(source.read_all()) == data
        source.confirm()


@pytest.mark.parametrize("where", [0, 150, 250, -1])
def test_damage_anywhere_is_noticed_at_the_first_read(file, size, where):
    flip(file[0], where % size)
    with opened(file) as (source, _):
        source.expect(lambda: ranges(size))
        with pytest.raises(IntegrityError, match=r"a.bin.*checksum differs"):
            source.read_range(10, 100)


@pytest.mark.parametrize("wanted", [(), (Range(10, 20), Range(5, 3)), (Range(0, 1 << 40),), (Range(0, 0),)])
def test_ranges_that_make_no_sense_are_verified_at_the_end(file, size, wanted):
    for damaged in (False, True):
        with opened(file) as (source, _):
            source.expect(lambda: wanted)
            if damaged:
                flip(file[0], size - 1)
                with pytest.raises(IntegrityError, match="checksum differs"):  # noqa: PT012 - either may raise
                    source.read_range(10, 100)
                    source.confirm()
            else:
                source.read_range(10, 100)
                source.confirm()


def test_what_others_have_in_the_file_is_left_alone(file, size):
    flip(file[0], size - 1)
    _, data, _ = file
    with opened(file) as (source, _):
        source.expect(lambda: None)
        if size <= 1 << 16:
            # As much is read as costs nothing.
            with pytest.raises(IntegrityError):
                source.read_range(10, 100)
            return
        checksum = xxhash.xxh3_128_hexdigest(data[10:110])
        assert bytes(source.read_range(10, 100, checksum)) == data[10:110]
        source.confirm()
        source.expect(lambda: None)
        source.read_range(10, 100)
        with pytest.raises(IntegrityError):
            source.confirm()


def test_without_verification_or_checksum_nothing_is_read_ahead(file, size):
    flip(file[0], size - 1)
    path, _, stored = file
    plain = StoredFile("a.bin", True, size, None, None, {})
    for source in (LocalSource(str(path), stored, verify=False), LocalSource(str(path), plain)):
        source.expect(lambda: ranges(size))
        source.read_range(10, 100)
        source.confirm()
        source.check()
        source.close()


# Numbers


def native(data, width):
    return np.frombuffer(data, f">u{width}").astype(f"=u{width}").tobytes()


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers(file, size, width, verify):
    """Fresh ones each time, beside the bytes that they are made of; damage is noticed."""
    length = (size - 500) // 8 * 8
    checksum = xxhash.xxh3_128_hexdigest(file[1][200 : 200 + length])
    with opened(file, verify=verify) as (source, data):
        for _ in range(2):
            found = source.read_numbers(200, length, width, checksum)
            assert bytes(found) == native(data[200 : 200 + length], width)
            found[:] = bytes(length)
            assert bytes(source.read_range(200, length, checksum)) == data[200 : 200 + length]
    flip(file[0], 199 + length)
    with opened(file) as (source, _), pytest.raises(IntegrityError, match="checksum differs"):
        source.read_numbers(200, length, width, checksum)


@pytest.mark.parametrize("expected", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers_that_are_expected(file, size, expected, width):
    """Whatever width was expected, each reader gets what it asks for."""
    length = (size - 500) // 8 * 8
    wanted = [Range(10, 104, expected), Range(200, 0, expected), Range(200, length, expected)]
    with opened(file) as (source, data):
        source.expect(lambda: wanted)
        for _ in range(2):
            for each in wanted:
                found = source.read_numbers(each.offset, each.length, width)
                assert bytes(found) == native(data[each.offset : each.offset + each.length], width)
                found[:] = bytes(each.length)
            assert bytes(source.read_range(200, length)) == data[200 : 200 + length]
        assert bytes(source.read_all()) == data
        source.confirm()
    flip(file[0], size - 1)
    with opened(file) as (source, _):
        source.expect(lambda: wanted)
        with pytest.raises(IntegrityError, match="checksum differs"):
            source.read_numbers(200, length, width)


def test_a_look_at_the_whole(file, size):
    with opened(file) as (source, _):
        source.check()
    flip(file[0], size // 2)
    with opened(file) as (source, _), pytest.raises(IntegrityError, match="checksum differs"):
        source.check()


# Formats that know nothing of it


class ByName(Format):
    """A format whose library opens files by name."""

    name = "ByName"

    def read(self, source, about, parameters):
        with open(source.local_path, "rb") as file:
            found = file.read()
        if found[:1] != b"\0":
            raise ValueError("no such file")
        return found


class ByRanges(Format):
    """A format that reads what it likes."""

    name = "ByRanges"

    def read(self, source, about, parameters):
        first = source.read_range(0, 10)
        if bytes(first[:1]) != b"\0":
            raise FormatError("no such file")
        return bytes(first) + bytes(source.read_range(10, source.size - 10))


@pytest.mark.parametrize("format_", [ByName(), ByRanges()])
def test_any_format_is_verified_whole(file, size, format_):
    about = About("thing {'visit': 1}")
    with opened(file) as (source, data), failing(about, format_, source):
        assert read_whole(format_, source, about, {"bbox": None}) == data
    with opened(file) as (source, data), failing(about, format_, source):
        assert read_parts(format_, source, about, {"__class__": {}}) is not None
    for offset in (0, size - 1):
        flip(file[0], offset)
        for parameters in ({}, {"bbox": None}):
            with (
                opened(file) as (source, _),
                pytest.raises(IntegrityError, match=r"thing \{'visit': 1\}: .*a.bin.*checksum differs"),
                failing(about, format_, source),
            ):
                read_whole(format_, source, about, parameters)
        flip(file[0], offset)


def test_no_file_stays_open(file, size):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("nothing says which files are open")
    before = len(os.listdir("/proc/self/fd"))
    flip(file[0], 0)
    for _ in range(5):
        with opened(file) as (source, _):
            source.expect(lambda: ranges(size))
            with pytest.raises(IntegrityError):
                source.read_range(10, 100)
    assert len(os.listdir("/proc/self/fd")) == before
