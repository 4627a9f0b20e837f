"""Puts of small JSON files: many in a transaction, one that is safe on disk, a composite of three parts."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import Row, Run, row
from measure import Timer, clocked, often, text_of
from walk import walk
from worlds import PARTS, small, triple

from bunter import Butler, RepositoryArgs

POLICY = """
keys: {visit: int}
datasets:
  summary: {python: dict, storage: Json, template: "together/summary-{visit:d}.json"}
  alone: {python: dict, storage: Json, template: "alone/summary-{visit:d}.json"}
  one: {python: dict, storage: Json, template: "triple/one-{visit:d}.json"}
  two: {python: dict, storage: Json, template: "triple/two-{visit:d}.json"}
  three: {python: dict, storage: Json, template: "triple/three-{visit:d}.json"}
  triple: {composite: {one: one, two: two, three: three}}
"""
VALUE, WHOLE = small(7, 3), triple(7, 3)


class Puts:
    """Puts under a new data ID each time.

    Parameters
    ----------
    folder : Path
        Where a repository is made.
    durability : str
        As of a `Butler`.
    """

    def __init__(self, folder: Path, durability: str) -> None:
        self.butler = Butler(outputs=RepositoryArgs(folder / "repository", policy=POLICY), durability=durability)
        self._visits = itertools.count()

    def put(self, name: str, value: Any) -> None:
        """Put a value under the next visit."""
        self.butler.put(value, name, visit=next(self._visits))

    def together(self, count: int) -> None:
        """Put in one transaction."""
        with self.butler.transaction():
            for _ in range(count):
                self.put("summary", VALUE)


class Bare:
    """The floor: files beside their places, renamed, and rows in two tables.

    Parameters
    ----------
    folder : Path
        Where files and a database are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE file (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER, checksum BLOB)",
            "CREATE TABLE dataset (id INTEGER PRIMARY KEY, type INTEGER, visit INTEGER, uuid BLOB NOT NULL UNIQUE, "
            "file INTEGER, UNIQUE (type, visit))",
        ):
            self._db.execute(statement)

    def write(self, value: Any, durable: bool) -> tuple[str, int]:
        """Write one file."""
        path = f"{self._folder}/summary-{next(self._numbers)}.json"
        data = text_of(value)
        descriptor = os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(path + ".part", path)
        return path, len(data)

    def record(self, files: list[tuple[str, int]], durable: bool) -> None:
        """Sync the folder and commit the rows."""
        if durable:
            descriptor = os.open(self._folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        self._db.execute("BEGIN IMMEDIATE")
        for kind, (path, size) in enumerate(files):
            number = next(self._numbers)
            values = path, size, b"\0" * 16
            file = self._db.execute("INSERT INTO file (path, size, checksum) VALUES (?, ?, ?)", values).lastrowid
            self._db.execute(
                "INSERT INTO dataset (type, visit, uuid, file) VALUES (?, ?, ?, ?)",
                (kind, number, uuid.uuid4().bytes, file),
            )
        self._db.execute("COMMIT")

    def put(self, values: list[Any]) -> None:
        """Write values, each into a file, and record them, safe on disk."""
        self.record([self.write(value, True) for value in values], True)

    def together(self, count: int) -> None:
        """Write files without any sync, and do not record them."""
        for _ in range(count):
            self.write(VALUE, False)


def by_hand(folder: Path) -> Callable[[], Any]:
    """Return what one writes by hand: a file, neither safe nor recorded."""
    numbers = itertools.count()

    def work() -> None:
        with open(f"{folder}/hand-{next(numbers)}.json", "w") as file:
            json.dump(VALUE, file, indent=1)

    return work


def puts(run: Run, durability: str) -> Puts:
    """Make a repository to put into."""
    made = Puts(run.place(f"puts-{durability}"), durability)
    run.ending.callback(made.butler.close)
    return made


def bare(run: Run) -> Bare:
    """Make a folder to write into."""
    return Bare(run.place("bare"))


def peers(run: Run) -> bool:
    """Let the peer make a repository to put into; tell whether there is a peer."""
    guest = run.guest("peer")
    if guest is None:
        return False
    guest.call("peer_small", "make_puts", root=str(run.folder / "peer-puts"), value=VALUE, whole=WHOLE)
    return True


def peer(row: Row, work: str) -> Timer | None:
    """Return a work of the peer's."""
    guest = row.run.guest("peer") if row.run.world(peers) else None
    return guest and guest.timer(work)


@row("put-transaction", "put small JSON, many in one transaction, each")
def put_transaction(row: Row) -> None:
    full, fast = row.run.world(puts, "full"), row.run.world(puts, "fast")
    row.ours = lambda: full.together(20)
    row.compare(
        {
            "bunter": clocked(full.together),
            "bunter, fast": clocked(fast.together),
            "peer": peer(row, "put together"),
            "json": clocked(often(by_hand(row.run.place("hand")))),
            "floor": clocked(row.run.world(bare).together),
            "floor, each synced": clocked(often(lambda: row.run.world(bare).write(VALUE, True))),
        }
    )
    row.at_most("CPU", row.chosen("bunter"), 250e-6)
    row.notes.append(
        "bunter: every file synced before the commit (durability='full'); 'fast', the peer, json and the floor (write "
        "and rename, no rows) do not wait for the disk"
    )


@row("put-durable", "put small JSON, durable, alone")
def put_durable(row: Row) -> None:
    full, floor = row.run.world(puts, "full"), row.run.world(bare)
    row.by = "wall"
    row.ours = lambda: full.put("alone", VALUE)
    row.compare(
        {
            "bunter": clocked(often(row.ours)),
            "peer": peer(row, "put alone"),
            "floor": clocked(often(lambda: floor.put([VALUE]))),
        }
    )
    row.walk = walk(row.ours)
    row.over_floor(1.3)
    row.notes.append(
        "floor: file synced, renamed, folder synced, two rows committed (WAL, FULL); the peer syncs no file"
    )


@row("put-composite", "put of a disassembled composite, 3 parts")
def put_composite(row: Row) -> None:
    full, floor = row.run.world(puts, "full"), row.run.world(bare)
    row.by = "wall"
    row.ours = lambda: full.put("triple", WHOLE)
    row.compare(
        {
            "bunter": clocked(often(row.ours)),
            "peer": peer(row, "put triple"),
            "floor": clocked(often(lambda: floor.put([WHOLE[part] for part in PARTS]))),
        }
    )
    row.walk = walk(row.ours)
    row.over_floor(1.3)
    row.at_most("commits", row.walk["commits"], 1, "")
    row.notes.append(
        "floor: 3 files synced and renamed, 1 folder synced, 1 commit of their rows; the peer syncs no file"
    )
