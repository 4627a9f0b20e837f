"""Where the HDUs of a FITS file lie: a scanner that reads headers only and believes none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import FormatError, IntegrityError
from .fits_cards import BLOCK, CARD, Cards, parse

MOST_HEADER = 16 << 20
_MOST_AXES = 999
_MOST_DATA = 1 << 53
_MOST_HDUS = 100_000
_FIRST_READ = 2 * BLOCK

_KNOWN_STARTS = (
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"#ASDF", "an ASDF file"),
    (b"\x93NUMPY", "a numpy .npy file"),
    (b"PK\x03\x04", "a zip archive (or .npz)"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"\xfd7zXZ", "an xz-compressed file"),
    (b"\x28\xb5\x2f\xfd", "a zstd-compressed file"),
    (b"\x1f\x9d", "a file compressed with compress (.Z)"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"CDF", "a netCDF file"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML file"),
    (b"%YAML", "a YAML file"),
    (b"# %ECSV", "an ECSV table"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"{", "a JSON file"),
    (b"[", "a JSON file"),
)


class Hdu(NamedTuple):
    """One HDU: byte ranges, checksums (None: not recorded), and what kind of thing it is.

    `kind` is ``image``, ``table``, ``ascii`` (table), ``tiles`` (a compressed image) or ``other``. `data_length` counts
    the data without the padding after it.
    """

    offset: int
    header_length: int
    data_length: int
    header_checksum: str | None
    data_checksum: str | None
    kind: str
    name: str
    version: int

    @property
    def data_offset(self) -> int:
        """Where the data begin."""
        return self.offset + self.header_length

    @property
    def end(self) -> int:
        """Where the next HDU begins."""
        return self.data_offset + -(-self.data_length // BLOCK) * BLOCK


def to_layout(hdus: list[Hdu]) -> list[list[Any]]:
    """Return HDUs as JSON."""
    return [list(hdu) for hdu in hdus]


def from_layout(hdus: Any, size: int, name: str) -> list[Hdu]:
    """Return the HDUs that a layout remembers, checked against the size of the file.

    Raises
    ------
    IntegrityError
        If the layout is not one, or does not fit the file.
    """
    try:
        found = list(map(Hdu._make, hdus))
        fits = all(
            offset >= 0 and header > 0 and data >= 0 and offset + header + data <= size
            for offset, header, data, *_ in found
        )
    except (TypeError, ValueError):
        fits = False
    if not fits or not found:
        raise IntegrityError(
            f"{name}: what was recorded of its HDUs does not fit the file of {size} bytes: it was cut short or changed"
        )
    return found


def scan(read: Callable[[int, int], memoryview], size: int, name: str) -> list[Hdu]:
    """Find the HDUs of a file.

    Parameters
    ----------
    read : callable
        ``read(offset, length)`` returns bytes.
    size : int
        Size of the file in bytes.
    name : str
        For messages.

    Raises
    ------
    FormatError
        If it is not FITS, or a header makes no sense.
    IntegrityError
        If the file ends within an HDU.
    """
    hdus: list[Hdu] = []
    offset = 0
    while offset < size:
        start = bytes(read(offset, min(_FIRST_READ, size - offset)))
        if not hdus:
            _check_start(start, name)
        elif not start.startswith(b"XTENSION"):
            # Special records and other things may follow the last HDU.
            break
        header = _whole_header(read, start, offset, size, f"{name}: HDU {len(hdus)}")
        hdu = _hdu(parse(header), offset, len(header), f"{name}: HDU {len(hdus)}", first=not hdus)
        if hdu.data_offset + hdu.data_length > size:
            raise IntegrityError(
                f"{name} is truncated: HDU {len(hdus)}{f' ({hdu.name})' if hdu.name else ''} needs bytes up to "
                f"{hdu.data_offset + hdu.data_length}, the file has {size}"
            )
        hdus.append(hdu)
        if len(hdus) > _MOST_HDUS:
            raise FormatError(f"{name} has more than {_MOST_HDUS} HDUs")
        offset = hdu.end
    if not hdus:
        raise FormatError(f"{name} is not a FITS file: it is empty")
    return hdus


def _check_start(start: bytes, name: str) -> None:
    if start.startswith(b"SIMPLE") and start[6:9] in (b"  =", b"=  ", b" = "):
        return
    raise FormatError(f"{name} is not a FITS file: it is {what_is(start)}")


def what_is(start: bytes) -> str:
    """Say what a file is that begins with these bytes.

    Examples
    --------
    >>> what_is(bytes([137]) + b"HDF"), what_is(b"")
    ('an HDF5 file', 'empty')
    """
    if not start:
        return "empty"
    for magic, what in _KNOWN_STARTS:
        if start.startswith(magic):
            return what
    if not start.strip(b"\0"):
        return "nothing but zero bytes"
    text = start[:80].decode("latin-1")
    if text.isascii() and all(c.isprintable() or c in "\n\r\t" for c in text):
        return f"text that begins with {text[:30]!r}"
    return f"something that begins with the bytes {start[:8].hex(' ')}"


def _whole_header(read: Callable[[int, int], memoryview], start: bytes, offset: int, size: int, where: str) -> bytes:
    header = bytearray(start)
    looked = 0
    step = 4 * BLOCK
    end = _end_card(header, looked)
    while end is None:
        looked = len(header) // CARD * CARD
        more = min(step, size - offset - len(header))
        if len(header) > MOST_HEADER:
            raise FormatError(f"{where}: its header has no END card")
        if more <= 0:
            raise IntegrityError(f"{where}: there is no END card: the file is truncated, or its header damaged")
        header += read(offset + len(header), more)
        step = min(step * 2, 1 << 20)
        end = _end_card(header, looked)
    # The last header of a file may lack the blanks after END.
    length = min(-(-(end + CARD) // BLOCK) * BLOCK, size - offset)
    if length > len(header):
        header += read(offset + len(header), length - len(header))
    return bytes(header[:length])


def _end_card(header: bytes | bytearray, start: int) -> int | None:
    at = header.find(b"END", start)
    while at >= 0:
        if at % CARD == 0 and not header[at + 3 : at + CARD].strip(b" \0\r\n"):
            return at
        at = header.find(b"END", at + 1)
    return None


def _hdu(cards: Cards, offset: int, header_length: int, where: str, first: bool) -> Hdu:
    bitpix, axes = cards.integer("BITPIX"), cards.integer("NAXIS")
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise FormatError(f"{where}: BITPIX = {cards.get('BITPIX')!r} is none of 8, 16, 32, 64, -32, -64")
    if axes is None or not 0 <= axes <= _MOST_AXES:
        raise FormatError(f"{where}: NAXIS = {cards.get('NAXIS')!r} is no number of axes")
    shape = []
    for axis in range(1, axes + 1):
        length = cards.integer(f"NAXIS{axis}")
        if length is None or length < 0:
            raise FormatError(f"{where}: NAXIS{axis} = {cards.get(f'NAXIS{axis}')!r} is no length")
        shape.append(length)
    groups, more = cards.integer("GCOUNT", 1), cards.integer("PCOUNT", 0)
    if groups is None or more is None or groups < 0 or more < 0:
        raise FormatError(f"{where}: GCOUNT = {cards.get('GCOUNT')!r}, PCOUNT = {cards.get('PCOUNT')!r}")
    random_groups = first and shape[:1] == [0] and cards.get("GROUPS") is True
    if random_groups:
        shape = shape[1:]
    pixels = 1 if axes else 0
    for length in shape:
        pixels *= length
        if pixels > _MOST_DATA:
            break
    if first and not random_groups:
        groups, more = 1, 0
    length = abs(bitpix) // 8 * groups * (pixels + more) if axes else 0
    if length > _MOST_DATA:
        raise FormatError(f"{where}: {axes} axes of lengths {shape[:8]} make {length:.3g} bytes: no file has that many")
    extension = "IMAGE" if first else cards.text("XTENSION").upper()
    kind = {"IMAGE": "image", "IUEIMAGE": "image", "TABLE": "ascii", "BINTABLE": "table", "A3DTABLE": "table"}.get(
        extension, "other"
    )
    if random_groups:
        kind = "other"
    if kind == "table" and cards.get("ZIMAGE") is True:
        kind = "tiles"
    return Hdu(
        offset,
        header_length,
        length,
        None,
        None,
        kind,
        cards.text("EXTNAME"),
        cards.integer("EXTVER", 1) or 1,
    )
