"""Where on the sky datasets lie: one outline a dataset, found through the pixels in which its rings have their centres.

An outline is bytes that `bunter.sky.outlines` packs and opens. Each of its rings is entered once, under one number, its
*cell*: the HTM pixel that holds the ring's centre, of a level that goes with its size. Levels have numbers of their own
(8 * 4**level and up), so that one column serves all sizes. A search asks, for each size that there is, for the cells
that lie within that size of the region, and tests the outlines found there. One row a ring takes less than half of what
a row for every pixel that a ring overlaps takes, and no outline is found twice. The statements are plain SQL without
extensions, for SQLite and PostgreSQL.

Every function works in the transaction of the connection that it is given. Nothing is deleted here when a dataset goes
to the trash: whoever searches keeps to what is live, and `remove` follows when the dataset is forgotten.

Polygons that users give for values of keys (tracts, patches) are kept in the same tables: a set of such regions has the
place of a dataset type, with a negative number.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from sqlite3 import Connection
from typing import Any, Protocol

from ..dataid import KeyValue
from ..errors import DatasetExistsError
from ..sky.outlines import cells
from .hashing import canonical

FOOTPRINT_TABLES = (
    # type is the number of a dataset type, or minus that of a set of regions.
    "CREATE TABLE footprint (type INTEGER NOT NULL, dataset INTEGER NOT NULL, outline BLOB NOT NULL, "
    "PRIMARY KEY (type, dataset)) WITHOUT ROWID",
    "CREATE TABLE footprint_cell (type INTEGER NOT NULL, cell INTEGER NOT NULL, dataset INTEGER NOT NULL, "
    "PRIMARY KEY (type, cell, dataset)) WITHOUT ROWID",
    # keys is a JSON list in alphabetical order, given the values as `canonical` has them.
    "CREATE TABLE region_set (id INTEGER PRIMARY KEY, keys TEXT NOT NULL UNIQUE)",
    "CREATE TABLE region (id INTEGER PRIMARY KEY, region_set INTEGER NOT NULL, given TEXT NOT NULL, "
    "UNIQUE (region_set, given))",
)

_MANY = 500


class Sought(Protocol):
    """A region to search for; `bunter.sky.Region` is one."""

    sizes: Sequence[tuple[int, int]]
    """First and last of all cells of each size."""

    def ranges(self, size: int) -> Sequence[tuple[int, int]]:
        """Return the first and last cells of the ranges in which rings of a size that overlap have their centres."""

    def overlaps(self, outlines: Sequence[bytes]) -> Collection[int]:
        """Return the indices of the outlines that overlap the region."""


# Datasets


def record(db: Connection, type_: int, outlines: Iterable[tuple[int, bytes]]) -> None:
    """Record the footprints of datasets, in place of those that they had.

    Parameters
    ----------
    db : sqlite3.Connection
        In a write transaction.
    type_ : int
        Number of the dataset type.
    outlines : iterable of (int, bytes)
        Number of the dataset (each once), and its outline.
    """
    rows = list(outlines)
    remove(db, type_, [dataset for dataset, _ in rows])
    db.executemany(
        "INSERT INTO footprint (type, dataset, outline) VALUES (?, ?, ?)",
        [(type_, dataset, outline) for dataset, outline in rows],
    )
    # In the order of the index: that is faster, and fills its pages.
    db.executemany(
        "INSERT INTO footprint_cell (type, cell, dataset) VALUES (?, ?, ?)",
        sorted((type_, cell, dataset) for dataset, outline in rows for cell in cells(outline)),
    )


def remove(db: Connection, type_: int, datasets: Iterable[int]) -> None:
    """Forget the footprints of datasets, if they have any.

    Parameters
    ----------
    db : sqlite3.Connection
        In a write transaction.
    type_ : int
        Number of the dataset type.
    datasets : iterable of int
        Numbers of the datasets.
    """
    known = outlines_of(db, type_, list(datasets))
    db.executemany("DELETE FROM footprint WHERE type = ? AND dataset = ?", [(type_, dataset) for dataset in known])
    db.executemany(
        "DELETE FROM footprint_cell WHERE type = ? AND cell = ? AND dataset = ?",
        [(type_, cell, dataset) for dataset, outline in known.items() for cell in cells(outline)],
    )


def search(db: Connection, type_: int, region: Sought) -> list[int]:
    """Return the datasets whose footprints overlap a region, in order of their numbers; live or not.

    Parameters
    ----------
    db : sqlite3.Connection
        Any.
    type_ : int
        Number of the dataset type.
    region : Region
        What is searched for.
    """
    ranges = [found for size in _sizes(db, type_, region.sizes) for found in region.ranges(size)]
    datasets: dict[int, bytes] = {}
    for some in _batches(ranges):
        # CROSS JOIN keeps SQLite from walking through the footprints first.
        datasets.update(
            db.execute(
                f"WITH wanted (low, high) AS (VALUES {', '.join(['(?, ?)'] * len(some))}) "
                "SELECT f.dataset, f.outline FROM wanted CROSS JOIN footprint_cell c CROSS JOIN footprint f "
                "WHERE c.type = ? AND c.cell BETWEEN wanted.low AND wanted.high "
                "AND f.type = c.type AND f.dataset = c.dataset",
                [*(bound for pair in some for bound in pair), type_],
            )
        )
    numbers = list(datasets)
    return sorted(numbers[index] for index in region.overlaps(list(datasets.values())))


def _sizes(db: Connection, type_: int, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the sizes of rings that a type has."""
    columns = ", ".join(["EXISTS (SELECT 1 FROM footprint_cell WHERE type = ? AND cell BETWEEN ? AND ?)"] * len(sizes))
    (row,) = db.execute(f"SELECT {columns}", [value for low, high in sizes for value in (type_, low, high)])
    return [size for size, there in enumerate(row) if there]


def has_footprints(db: Connection, type_: int) -> bool:
    """Tell whether any dataset of a type has a footprint."""
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM footprint WHERE type = ?)", (type_,)).fetchone()[0])


def outlines_of(db: Connection, type_: int, datasets: Sequence[int]) -> dict[int, bytes]:
    """Return the outlines of those of the datasets that have one."""
    found: dict[int, bytes] = {}
    for some in _batches(datasets):
        marks = ", ".join("?" * len(some))
        found.update(
            db.execute(
                f"SELECT dataset, outline FROM footprint WHERE type = ? AND dataset IN ({marks})", (type_, *some)
            )
        )
    return found


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _MANY):
        yield items[start : start + _MANY]


# Regions of key values


def add_regions(
    db: Connection,
    keys: Sequence[str],
    rows: Iterable[tuple[Mapping[str, KeyValue], bytes]],
    *,
    replace: bool = False,
) -> int:
    """Record the polygons of values of keys (tracts, patches); the same again changes nothing.

    Parameters
    ----------
    db : sqlite3.Connection
        In a write transaction.
    keys : sequence of str
        The keys, in any order.
    rows : iterable of (mapping, bytes)
        Values of exactly these keys, in standard form, and their outline.
    replace : bool
        Whether other polygons may take the place of recorded ones.

    Returns
    -------
    int
        How many were new or replaced.

    Raises
    ------
    DatasetExistsError
        If one has another polygon already and `replace` is false; the caller rolls back.
    """
    number = _set_of(db, keys)
    if number is None:
        row = db.execute("INSERT INTO region_set (keys) VALUES (?)", (json.dumps(sorted(keys)),))
        number = int(row.lastrowid or 0)
    wanted: dict[int, bytes] = {}
    for values, outline in rows:
        given = canonical(values)
        found = db.execute("SELECT id FROM region WHERE region_set = ? AND given = ?", (number, given)).fetchone()
        if found is None:
            row = db.execute("INSERT INTO region (region_set, given) VALUES (?, ?)", (number, given))
            wanted[int(row.lastrowid or 0)] = outline
            continue
        known = wanted.get(found[0]) or outlines_of(db, -number, found).get(found[0])
        if known == outline:
            continue
        if known is not None and not replace:
            raise DatasetExistsError(
                f"{dict(values)!r} has another polygon already; nothing was recorded. Say replace=True to replace it"
            )
        wanted[found[0]] = outline
    record(db, -number, wanted.items())
    return len(wanted)


def search_regions(db: Connection, keys: Sequence[str], region: Sought) -> list[dict[str, KeyValue]]:
    """Return the values of keys whose polygons overlap a region."""
    number = _set_of(db, keys)
    if number is None:
        return []
    values = []
    for some in _batches(search(db, -number, region)):
        marks = ", ".join("?" * len(some))
        values += [
            json.loads(given) for (given,) in db.execute(f"SELECT given FROM region WHERE id IN ({marks})", some)
        ]
    return values


def region_of(db: Connection, values: Mapping[str, KeyValue]) -> bytes | None:
    """Return the outline recorded for values of keys, None if there is none."""
    number = _set_of(db, list(values))
    if number is None:
        return None
    row = db.execute(
        "SELECT f.outline FROM region r, footprint f WHERE r.region_set = ? AND r.given = ? "
        "AND f.type = ? AND f.dataset = r.id",
        (number, canonical(values), -number),
    ).fetchone()
    return None if row is None else bytes(row[0])


def region_keys(db: Connection) -> list[tuple[str, ...]]:
    """Return the sets of keys for which there are polygons."""
    return [tuple(json.loads(keys)) for (keys,) in db.execute("SELECT keys FROM region_set ORDER BY id")]


def _set_of(db: Connection, keys: Sequence[str]) -> int | None:
    row = db.execute("SELECT id FROM region_set WHERE keys = ?", (json.dumps(sorted(keys)),)).fetchone()
    return None if row is None else int(row[0])
