"""Where on the sky datasets lie: one outline a dataset, found through the pixels in which its pieces have their centres.

An outline is bytes that `bunter.sky.outlines` packs and unpacks; to the registry it is a value like any other. Each of
its pieces is entered once, under one number, its *cell*: an HTM pixel (Kunszt, Szalay & Thakar 2001) that holds the
centre of the piece, of a level that goes with its size. Levels have numbers of their own (8 * 4**level and up), so that
one column serves all sizes. A search asks, for each size that there is, for the ranges of cells that lie within that
size of the region, and tests the outlines found there. The statements are plain SQL without extensions.

Every function works in the transaction of the connection that it is given. Nothing here is deleted when a dataset goes
to the trash: whoever searches joins with what is live, and `remove` follows when the dataset is forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple, Protocol

FOOTPRINT_TABLES = (
    # type is the number of a dataset type, or minus the number of a region_set.
    "CREATE TABLE footprint (type INTEGER NOT NULL, dataset INTEGER NOT NULL, outline BLOB NOT NULL, "
    "PRIMARY KEY (type, dataset)) WITHOUT ROWID",
    "CREATE TABLE footprint_cell (type INTEGER NOT NULL, cell INTEGER NOT NULL, dataset INTEGER NOT NULL, "
    "PRIMARY KEY (type, cell, dataset)) WITHOUT ROWID",
    # Polygons that users give for values of keys: keys is a sorted JSON list, given the values as `canonical` has them.
    "CREATE TABLE region_set (id INTEGER PRIMARY KEY, keys TEXT NOT NULL UNIQUE)",
    "CREATE TABLE region (id INTEGER PRIMARY KEY, region_set INTEGER NOT NULL, given TEXT NOT NULL, "
    "UNIQUE (region_set, given))",
)

_MANY = 500


class Outline(NamedTuple):
    """A footprint: the packed outline, and the cells under which it is found."""

    data: bytes
    cells: tuple[int, ...]


class Sought(Protocol):
    """A region to search for, as `bunter.sky` makes it."""

    sizes: Sequence[tuple[int, int]]
    """First and last number of the cells of each size."""

    def ranges(self, size: int) -> Sequence[tuple[int, int]]:
        """Return the first and last cells of the ranges in which overlapping pieces of a size have their centres."""

    def overlaps(self, outlines: Sequence[bytes]) -> Collection[int]:
        """Return the indices of the outlines that overlap the region."""


# Datasets


def record(db: Connection, type_: int, outlines: Iterable[tuple[int, Outline]]) -> None:
    """Record the footprints of datasets, in place of those that they had.

    Parameters
    ----------
    db : sqlite3.Connection
        In a write transaction.
    type_ : int
        Number of the dataset type.
    outlines : iterable of (int, Outline)
        Number of the dataset, and its outline.
    """
    rows = list(outlines)
    known = _recorded(db, type_, [dataset for dataset, _ in rows])
    if known:
        remove(db, type_, known)
    db.executemany(
        "INSERT INTO footprint (type, dataset, outline) VALUES (?, ?, ?)",
        [(type_, dataset, outline.data) for dataset, outline in rows],
    )
    # In the order of the index, which takes a third of the time and leaves its pages full.
    db.executemany(
        "INSERT INTO footprint_cell (type, cell, dataset) VALUES (?, ?, ?)",
        sorted((type_, cell, dataset) for dataset, outline in rows for cell in set(outline.cells)),
    )


def remove(db: Connection, type_: int, outlines: Mapping[int, Collection[int]]) -> None:
    """Forget the footprints of datasets.

    Parameters
    ----------
    db : sqlite3.Connection
        In a write transaction.
    type_ : int
        Number of the dataset type.
    outlines : mapping of int to collection of int
        Number of each dataset, and the cells of its outline (`bunter.sky.cells` of what `outline` returns).
    """
    db.executemany("DELETE FROM footprint WHERE type = ? AND dataset = ?", [(type_, dataset) for dataset in outlines])
    db.executemany(
        "DELETE FROM footprint_cell WHERE type = ? AND cell = ? AND dataset = ?",
        [(type_, cell, dataset) for dataset, cells in outlines.items() for cell in cells],
    )
