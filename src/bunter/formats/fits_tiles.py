"""Compressed images: all of one, or a cutout for which only the tiles that it needs are read and expanded."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from .expanding import check_claim, check_member, largest
from .fits_binary import Table, describe, held_in
from .fits_cards import BLOCK, Card, format_cards
from .fits_file import FitsFile

# What deflate makes of a byte at most.
_MOST_EXPANSION = 1032
# Bytes between two tiles that are rather read than left out.
_GAP = 1024
# What every HCOMPRESS tile begins with: a mark, its shape, its scale, the sum of its pixels, the numbers of bit planes.
_HEAD = 25
_SIZES = {"B": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8}
_NEEDED = re.compile(
    r"(?:T(?:TYPE|FORM|DIM|SCAL|ZERO|NULL)\d+|BSCALE|BZERO|BLANK|Z(?:IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|"
    r"VAL\d+|QUANTIZ|BLANK|SCALE|ZERO|MASKCMP))\Z"
)

_Pixels = npt.NDArray[Any]
_Pairs = npt.NDArray[np.int64]
"""Where tiles lie in the data of the HDU: shape (2, tiles), offsets and lengths in bytes."""


def read_tiles(file: FitsFile, index: int, shape: tuple[int, ...], bbox: Any, name: str) -> npt.NDArray[Any]:
    """Read a compressed image, decompressed by astropy.

    Parameters
    ----------
    file : FitsFile
        Where it is.
    index : int
        Of the HDU.
    shape : tuple of int
        That of the image.
    bbox : (slice, slice) or None
        Only this rectangle, which lies in the image.
    name : str
        For messages.

    Raises
    ------
    FormatError
        If the header does not fit the tiles, or decompressing them would take more than is allowed.
    """
    cards = file.cards(index)
    tiles, bits, tile = 1, abs(cards.integer("ZBITPIX") or 8), []
    for axis, length in enumerate(reversed(shape), 1):
        tile.append(max(cards.integer(f"ZTILE{axis}", length if axis == 1 else 1) or 1, 1))
        tiles *= -(-length // tile[-1])
    if tiles != cards.integer("NAXIS2"):
        raise FormatError(
            f"{name}: HDU {index} of {file.name} says that it holds a compressed image of shape {shape} in {tiles} "
            f"tiles, but has {cards.get('NAXIS2')} rows: it is not decompressed"
        )
    what = f"{name}: the compressed image of shape {shape} in HDU {index} of {file.name}"
    stored = file.hdus[index].data_length
    # Floats are decompressed as integers first.
    check_claim(math.prod(tile) * 8 + (0 if bbox is not None else bits // 8 * math.prod(shape)), stored, what)
    image = _Image(file, index, largest(stored), what)
    if bbox is not None:
        cutout = image.cutout(shape, (tile[1], tile[0]), bbox)
        if cutout is not None:
            return cutout
    image.check_members()
    image.check_heads(tuple(reversed(tile)), shape)
    with file.astropy(index) as hdu:
        return own(np.asarray(hdu.data if bbox is None else hdu.section[bbox]))


def own(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a native array of its own memory."""
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.owndata and array.flags.writeable else array.copy()


class _Image:
    """A compressed image as a table of tiles."""

    def __init__(self, file: FitsFile, index: int, most: int, what: str) -> None:
        self.file, self.index, self.most, self.what = file, index, most, what
        self.cards = file.cards(index)
        self.table: Table = describe(self.cards, what)
        self.room = file.hdus[index].data_length
        self.heap = self.cards.integer("THEAP", self.table.rows * self.table.row_length) or 0
        lists = [number for number, column in enumerate(self.table.columns) if column.code in "PQ"]
        self.lists = [number for number in lists if self.table.columns[number].repeat]
        names = [self.table.columns[number].name.upper() for number in self.lists]
        shaped = self.cards.text("ZCMPTYPE") == "HCOMPRESS_1" and "COMPRESSED_DATA" in names
        self.packed = names.index("COMPRESSED_DATA") if shaped else None
        """Which of the lists holds HCOMPRESS tiles."""
        if self.table.rows * self.table.row_length > self.room:
            raise FormatError(f"{what} has a table of tiles that is longer than its data: it is not decompressed")

    def rows(self, first: int, last: int) -> memoryview:
        """Return some rows of the table."""
        length = self.table.row_length
        return self.file.data_range(self.index, first * length, (last - first) * length)

    def descriptors(self, rows: memoryview) -> list[Any]:
        """Return the descriptors in rows for each column of lists, as views: shape (rows, 2), elements and offset."""
        columns = [self.table.columns[number] for number in self.lists]
        record = np.dtype(
            {
                "names": [f"f{number}" for number in self.lists],
                "formats": [(">u4" if column.code == "P" else ">u8", 2) for column in columns],
                "offsets": [column.offset for column in columns],
                "itemsize": self.table.row_length,
            }
        )
        return [np.frombuffer(rows, record)[f"f{number}"] for number in self.lists]

    def sizes(self) -> list[int | None]:
        """Return the bytes of an element of each column of lists, None for what no tile is made of."""
        return [_SIZES.get(held_in(self.cards, number + 1)) for number in self.lists]

    def places(self, descriptors: Sequence[Any], sizes: Sequence[int]) -> _Pairs:
        """Return where the tiles of descriptors lie, all columns one after the other.

        Raises
        ------
        FormatError
            If one lies outside of the data.
        """
        pairs = np.concatenate(descriptors)
        wide = np.repeat(np.array(sizes, "u8"), [len(each) for each in descriptors])
        counts, offsets = pairs[:, 0].astype("u8"), pairs[:, 1].astype("u8")
        # Of empty lists the place says nothing.
        offsets[counts == 0] = 0
        room = max(0, self.room - self.heap)
        if (np.maximum(counts, offsets) > room).any() or (offsets + counts * wide > room).any():
            raise FormatError(f"{self.what} has a tile that lies outside of its data: it is not decompressed")
        return np.stack([offsets, counts * wide]).astype("i8")

    def check_members(self) -> None:
        """Refuse tiles whose gzip streams hold more than a tile can; cfitsio and astropy would expand all of it."""
        if self.room * _MOST_EXPANSION <= self.most or not self.lists:
            return
        sizes = [size or 1 for size in self.sizes()]
        for offset, length in self.places(self.descriptors(self.rows(0, self.table.rows)), sizes).T.tolist():
            if length * _MOST_EXPANSION > self.most:
                self.check_member(self.file.data_range(self.index, self.heap + offset, length))

    def check_heads(self, tile: Sequence[int], shape: Sequence[int]) -> None:
        """Refuse the image if one of its tiles says that it is of another shape; see `check_shapes`."""
        if self.packed is not None and self.sizes()[self.packed]:
            descriptors = self.descriptors(self.rows(0, self.table.rows))[self.packed]
            self.check_shapes(self.places([descriptors], [1]), 0, tile, shape)

    def check_shapes(self, places: _Pairs, first: int, tile: Sequence[int], shape: Sequence[int]) -> None:
        """Refuse HCOMPRESS tiles, numbered from `first`, that say that they are of another shape than they should be.

        cfitsio believes them, and writes beyond the memory that it has.
        """
        counts = [-(-length // side) for length, side in zip(shape, tile, strict=True)]
        for number, (offset, length) in enumerate(places.T.tolist(), first):
            if not length:
                continue
            at = np.unravel_index(number, counts)
            sides = [min(t, n - int(i) * t) for i, t, n in zip(at, tile, shape, strict=True)]
            sides = [side for side in sides if side != 1]
            head = bytes(self.file.data_range(self.index, self.heap + offset, min(length, _HEAD)))
            if len(head) < _HEAD or head[:2] != b"\xdd\x99" or [*struct.unpack(">ii", head[2:10])] != sides:
                raise FormatError(
                    f"{self.what}: tile {number} is not one of HCOMPRESS of the shape {tuple(sides)}: "
                    "it is damaged, and not decompressed"
                )

    def check_member(self, data: memoryview) -> None:
        """Refuse one tile that holds more than it can."""
        if bytes(data[:2]) == b"\x1f\x8b":
            check_member(data, self.most, self.what)

    def cutout(self, shape: tuple[int, ...], tile: tuple[int, int], bbox: tuple[slice, slice]) -> _Pixels | None:
        """Return a rectangle: astropy is given a smaller image, of the rows of tiles that the rectangle touches.

        None if the table is not one that this knows; then astropy reads all of it.
        """
        sizes = self.sizes()
        if not sizes or None in sizes:
            return None
        y, x = bbox
        top, bottom = y.start // tile[0], (y.stop - 1) // tile[0] + 1
        left, right = x.start // tile[1], (x.stop - 1) // tile[1] + 1
        across = -(-shape[1] // tile[1])
        rows = self.rows(top * across, bottom * across)
        descriptors = [each.reshape(bottom - top, across, 2) for each in self.descriptors(rows)]
        for each in descriptors:
            # What is not needed is nowhere.
            each[:, :left] = each[:, right:] = 0
        places = self.places([each.reshape(-1, 2) for each in descriptors], [size or 1 for size in sizes])
        if self.packed is not None:
            count = (bottom - top) * across
            self.check_shapes(places[:, self.packed * count :][:, :count], top * across, tile, shape)
        heap, offsets = self._heap(places)
        for each, moved in zip(descriptors, offsets.reshape(len(descriptors), bottom - top, across), strict=True):
            each[:, :, 1] = moved
        length = min(shape[0], bottom * tile[0]) - top * tile[0]
        header = self._header((bottom - top) * across, length, len(heap), top * across)
        if header is None:
            return None
        padding = bytes(-(len(rows) + len(heap)) % BLOCK)
        start = top * tile[0]
        with self.file.astropy(self.index, (header, rows, heap, padding)) as hdu:
            return own(np.asarray(hdu.section[y.start - start : y.stop - start, x]))

    def _heap(self, places: _Pairs) -> tuple[bytes, npt.NDArray[np.int64]]:
        """Read tiles, neighbours at once; return their bytes, and where in these each tile begins."""
        offsets, lengths = places
        order = np.argsort(offsets, kind="stable")
        order = order[lengths[order] > 0]
        moved = np.zeros_like(offsets)
        if not len(order):
            return b"", moved
        starts = offsets[order]
        ends = np.maximum.accumulate(starts + lengths[order])
        first = np.concatenate([[True], starts[1:] > ends[:-1] + _GAP])
        begins = starts[first]
        stops = ends[np.concatenate([first[1:], [True]])]
        pieces = []
        for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True):
            pieces.append(self.file.data_range(self.index, self.heap + begin, stop - begin))
        bases = np.concatenate([[0], np.cumsum(stops - begins)[:-1]])
        group = np.cumsum(first) - 1
        moved[order] = bases[group] + starts - begins[group]
        heap = b"".join(pieces)
        for at in np.flatnonzero(lengths * _MOST_EXPANSION > self.most).tolist():
            self.check_member(memoryview(heap)[moved[at] : moved[at] + lengths[at]])
        return heap, moved

    def _header(self, rows: int, length: int, heap: int, skipped: int) -> bytes | None:
        """Return the header of the smaller image; None if cards that it needs cannot be written."""
        cards = self.cards
        made = [
            Card("XTENSION", "BINTABLE"),
            Card("BITPIX", 8),
            Card("NAXIS", 2),
            Card("NAXIS1", self.table.row_length),
            Card("NAXIS2", rows),
            Card("PCOUNT", heap),
            Card("GCOUNT", 1),
            Card("TFIELDS", len(self.table.columns)),
        ]
        for keyword in cards.keywords():
            if keyword == "ZNAXIS2":
                made.append(Card(keyword, length))
            elif _NEEDED.match(keyword):
                made.append(Card(keyword, cards.get(keyword)))
        seed = cards.get("ZDITHER0", 0)
        if type(seed) is not int:
            return None
        # Each tile is dithered by its number.
        made.append(Card("ZDITHER0", seed + skipped))
        try:
            return format_cards(made)
        except ValueError:
            return None
