"""One FITS file for reading: headers and data of its HDUs, by recorded byte ranges or after a scan."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import xxhash

from ..errors import BunterError, FormatError
from ..words import did_you_mean, listing
from .expanding import expanded
from .fits_cards import BLOCK, Card, Cards, format_cards, parse
from .fits_index import Hdu, from_layout, scan, to_layout
from .interface import Layout, Range, Source, make_native, picked, read_numbers, read_rows

_CHUNK = 1 << 22


class FitsFile:
    """The HDUs of a source.

    Parameters
    ----------
    source : Source
        Its layout is used if there is one (``{"hdus": [...], "whole": "gzip"}``), else the file is scanned.

    Attributes
    ----------
    hdus : list of Hdu
    whole : bool
        Whether the file is compressed as a whole, and was read so.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self._content: memoryview | None = None
        self._cards: dict[int, Cards] = {}
        recorded = source.layout.get("hdus")
        if recorded is not None and not source.layout.get("whole"):
            self.hdus = from_layout(recorded, source.size, self.name)
        else:
            self._open()

    def _open(self) -> None:
        source = self.source
        start = bytes(source.read_range(0, min(3, source.size)))
        if start[:2] == b"\x1f\x8b" or start == b"BZh":
            self._content = expanded(source.read_all(), self.name)
        self.hdus = scan(self._bytes, self._size, self.name)

    @property
    def whole(self) -> bool:
        """Whether the file is compressed as a whole."""
        return self._content is not None

    @property
    def _size(self) -> int:
        return self.source.size if self._content is None else len(self._content)

    def _bytes(self, offset: int, length: int, checksum: str | None = None) -> memoryview:
        if self._content is None:
            return self.source.read_range(offset, length, checksum)
        # Fresh bytes, since whoever asks may change them in place.
        return memoryview(bytearray(self._content[offset : offset + length]))

    def header(self, index: int) -> memoryview:
        """Return the bytes of a header, verified if they were recorded."""
        hdu = self.hdus[index]
        return self._bytes(hdu.offset, hdu.header_length, hdu.header_checksum)

    def cards(self, index: int) -> Cards:
        """Return the cards of a header."""
        found = self._cards.get(index)
        if found is None:
            found = self._cards[index] = parse(self.header(index))
        return found

    def data(self, index: int) -> memoryview:
        """Return the data of an HDU in fresh, writable bytes, verified if they were recorded."""
        hdu = self.hdus[index]
        return self._bytes(hdu.data_offset, hdu.data_length, hdu.data_checksum)

    def numbers(self, index: int, width: int) -> memoryview:
        """Return the data of an HDU as `data` does, its big-endian numbers of `width` bytes as native ones."""
        hdu = self.hdus[index]
        if self._content is None:
            return read_numbers(self.source, hdu.data_offset, hdu.data_length, width, hdu.data_checksum)
        data = self.data(index)
        make_native(data, width)
        return data

    def data_range(self, index: int, start: int, length: int) -> memoryview:
        """Return some of the data of an HDU, not verified."""
        return self._bytes(self.hdus[index].data_offset + start, length)

    def data_rows(self, index: int, start: int, step: int, width: int, count: int) -> memoryview:
        """Return `count` pieces of `width` bytes of an HDU's data that begin `step` bytes apart, not verified."""
        at = self.hdus[index].data_offset + start
        if self._content is None:
            return read_rows(self.source, at, step, width, count)
        return picked(self._content[at : at + step * (count - 1) + width], step, width, count)

    def named(self, name: str, version: int | None = None) -> int | None:
        """Return the index of the HDU of that EXTNAME (any case; the first unless a version is given), or None."""
        wanted = name.strip().upper()
        for index, hdu in enumerate(self.hdus):
            if hdu.name.upper() == wanted and version in (None, hdu.version):
                return index
        if wanted == "PRIMARY" and version in (None, 1):
            return 0
        return None

    def describe(self) -> list[str]:
        """Return a word for each HDU, for messages."""
        return [f"{i} {hdu.name}".rstrip() + f" ({hdu.kind})" for i, hdu in enumerate(self.hdus)]

    def layout(self, checksums: bool) -> Layout:
        """Return what is worth remembering of the file.

        Parameters
        ----------
        checksums : bool
            Whether all of it is read and hashed.
        """
        if self.whole:
            return {"whole": True}
        if checksums:
            return {"hdus": to_layout([self._hashed(hdu) for hdu in self.hdus])}
        return {"hdus": to_layout(self.hdus)}

    def _hashed(self, hdu: Hdu) -> Hdu:
        sums = []
        for start, length in ((hdu.offset, hdu.header_length), (hdu.data_offset, hdu.data_length)):
            digest = xxhash.xxh3_128()
            for at in range(start, start + length, _CHUNK):
                digest.update(self._bytes(at, min(_CHUNK, start + length - at)))
            sums.append(digest.hexdigest())
        return hdu._replace(header_checksum=sums[0], data_checksum=sums[1])

    def ranges(self, indices: list[int], header: bool = True, data: bool = True) -> list[Range] | None:
        """Return the byte ranges of headers and data, or None if the file is read whole."""
        return None if self.whole else hdu_ranges([self.hdus[i] for i in indices], header, data)

    def _check_counts(self, index: int) -> None:
        cards = self.cards(index)
        for key, most in _MOST.items():
            count = cards.integer(key, 0)
            if count is not None and not 0 <= count <= most:
                raise FormatError(f"{self.name}: HDU {index}: {key} = {count} is no number of them; at most {most}")

    @contextmanager
    def astropy(self, index: int, instead: Sequence[Any] | None = None) -> Iterator[Any]:
        """Open one HDU with astropy, as the only extension of a file.

        Parameters
        ----------
        instead : sequence of bytes, optional
            Pieces of the extension that astropy is to see in its place; else all of the HDU is read (verified).
        """
        from astropy.io import fits

        hdu = self.hdus[index]
        self._check_counts(index)
        stub = EMPTY_PRIMARY
        if instead is None:
            header = bytes(self.header(index))
            header = header.ljust(-(-len(header) // BLOCK) * BLOCK)
            if hdu.offset == 0 and hdu.kind != "other":
                header = _as_extension(header)
            elif hdu.offset == 0:
                stub = b""
            instead = header, self.data(index), bytes(-hdu.data_length % BLOCK)
        stream = io.BytesIO(b"".join((stub, *instead)))
        with quiet():
            try:
                with fits.open(stream, memmap=False, ignore_missing_simple=True) as opened:
                    yield opened[1 if stub else 0]
            except (BunterError, MemoryError):
                raise
            except Exception as error:
                # Of damaged files astropy and cfitsio complain in a dozen ways.
                raise FormatError(
                    f"{self.name}: HDU {index} cannot be read: {type(error).__name__}: {error}"
                ) from error


_MOST = {"TFIELDS": 9999, "ZNAXIS": 999, "NAXIS": 999, "WCSAXES": 999}
"""What headers count, and how many there may be: astropy counts along, however long that takes."""

EMPTY_PRIMARY = format_cards([Card("SIMPLE", True), Card("BITPIX", 8), Card("NAXIS", 0), Card("EXTEND", True)])
"""The header of a primary HDU without data."""


def _as_extension(header: bytes) -> bytes:
    cards = [card for card in parse(header).cards if card.keyword not in ("SIMPLE", "EXTEND")]
    top = [Card("XTENSION", "IMAGE"), *(c for c in cards if c.keyword.startswith(("BITPIX", "NAXIS")))]
    rest = [c for c in cards if c.keyword in ("BSCALE", "BZERO", "BLANK", "BUNIT")]
    return format_cards([*top, Card("PCOUNT", 0), Card("GCOUNT", 1), *rest])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep astropy's warnings about odd but readable headers to ourselves."""
    import warnings

    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        # astropy.wcs divides where it then checks for what came of it.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="astropy")
        yield


def hdu_ranges(hdus: list[Hdu], header: bool = True, data: bool = True) -> list[Range]:
    """Return the byte ranges of headers and data, neighbours merged."""
    ranges: list[Range] = []
    for hdu in hdus:
        pieces = [(hdu.offset, hdu.header_length)] if header else []
        if data and hdu.data_length:
            pieces.append((hdu.data_offset, hdu.data_length))
        for offset, length in pieces:
            if ranges and ranges[-1].offset + ranges[-1].length == offset:
                ranges[-1] = Range(ranges[-1].offset, ranges[-1].length + length)
            else:
                ranges.append(Range(offset, length))
    return ranges


def recorded(layout: Layout) -> list[Hdu] | None:
    """Return the HDUs that a layout remembers, or None."""
    if layout.get("whole") or "hdus" not in layout:
        return None
    return [Hdu(*hdu) for hdu in layout["hdus"]]


def no_hdu(file: FitsFile, asked: object, about: str) -> FormatError:
    """Return the error about an HDU that is not there."""
    names = [hdu.name for hdu in file.hdus if hdu.name]
    return FormatError(
        f"{about}: {file.name} has no HDU {asked!r}{did_you_mean(str(asked), names)}; "
        f"it has: {listing(file.describe())}"
    )
