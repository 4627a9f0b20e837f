"""A registry looked over: is it sound in itself, and what does it say, in portions that fit into memory."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..errors import IntegrityError, RepositoryError
from ..files.interface import StoredFile
from .database import UNSOUND
from .hashing import path_hash
from .interface import Record
from .schema import HERE, Table
from .sqlite import SqliteRegistry, _file

MANY = 500
"""Values in one statement, rows in one portion."""

_FILE = "id, path, owned, size, modified, checksum, layout, path_key"
_OF_AN_INDEX = re.compile(
    r"row \d+ missing from index|wrong # of entries in index|non-unique entry in index|"
    r"rowid not at end-of-record for row \d+ of index"
)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A recorded file.

    Attributes
    ----------
    id : int
        Its number in the registry, which is never given again while it is there.
    current : bool
        False: another file has been ingested from its path since.
    """

    id: int
    file: StoredFile
    current: bool


@dataclass(frozen=True, slots=True)
class PinRow:
    """One pin of a dataset that is not absent.

    Attributes
    ----------
    key : tuple of int
        What it has in the table of pins: (type, composite, component, member).
    member, place : int
        Words, for `Audit.text`: there are as many of them as pins.
    """

    key: tuple[int, int, int, int]
    component: str
    member: int
    type: str
    uuid: UUID
    part: str
    place: int


@dataclass(frozen=True, slots=True)
class PrecursorRow:
    """One dataset that another was made from; the place is a word, for `Audit.text`."""

    key: tuple[int, int, int]
    type: str
    data_id: str
    uuid: UUID
    place: int


class Audit:
    """Looks over a registry.

    Parameters
    ----------
    registry : SqliteRegistry
        Opened for writing if indices are to be built anew.
    """

    def __init__(self, registry: SqliteRegistry) -> None:
        self._registry = registry

    # Is it sound?

    def damage(self) -> list[str]:
        """Return what SQLite finds wrong with its file, at most a hundred things."""
        try:
            found = [str(row[0]) for row in self._registry.rows("PRAGMA integrity_check")]
        except RepositoryError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    @staticmethod
    def only_indices(damage: Collection[str]) -> bool:
        """Tell whether nothing but indices is damaged, which hold nothing of their own."""
        return all(_OF_AN_INDEX.search(line) for line in damage)

    def rebuild_indices(self) -> str:
        """Build all indices anew; return why that is not possible, nothing if it is done."""
        try:
            with self._registry.transaction() as handle:
                handle.connection.execute("REINDEX")
                left = [str(row[0]) for row in handle.connection.execute("PRAGMA integrity_check").fetchall()]
                if left != ["ok"]:
                    raise sqlite3.DatabaseError("; ".join(left))
        except RepositoryError as error:
            return str(error)
        return ""

    def contradictions(self) -> Iterator[str]:
        """Yield what is wrong with rows that name other rows."""
        tables = self._registry.tables()
        there = {str(row[0]) for row in self._registry.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in tables:
            if f"d{table.number}" not in there:
                yield f"the table d{table.number} of {table.name!r} is missing"
        tables = [table for table in tables if f"d{table.number}" in there]
        for table in tables:
            yield from self._lost_words(f"d{table.number}", ("part", "writing", "written_by"), f"of {table.name!r}")
            yield from self._several(
                f"SELECT d.id FROM d{table.number} d WHERE d.file IS NOT NULL "
                "AND NOT EXISTS (SELECT 1 FROM file f WHERE f.id = d.file)",
                f"of {table.name!r} have files of which nothing is recorded",
            )
            yield from self._several(
                f"SELECT f.dataset FROM footprint f WHERE f.type = {table.number} "
                f"AND NOT EXISTS (SELECT 1 FROM d{table.number} d WHERE d.id = f.dataset)",
                f"of {table.name!r} have footprints, but are not there",
            )
        numbers = ", ".join(str(table.number) for table in tables) or "-1"
        for name, row, columns in (
            ("pin", "composite", ("component", "member", "leaf_type", "part", "place")),
            ("precursor", "dataset", ("name", "place")),
        ):
            yield from self._lost_words(name, columns, f"in the table {name}")
            if name == "pin":
                yield from self._lost_leaves(tables)
            for table in tables:
                yield from self._several(
                    f"SELECT DISTINCT p.{row} FROM {name} p WHERE p.type = {table.number} "
                    f"AND NOT EXISTS (SELECT 1 FROM d{table.number} d WHERE d.id = p.{row})",
                    f"of {table.name!r} have rows in the table {name}, but are not there",
                )
            yield from self._several(
                f"SELECT DISTINCT p.type FROM {name} p WHERE p.type NOT IN ({numbers})",
                f"are types of rows in the table {name}, but are not there",
            )

    def _lost_words(self, table: str, columns: Sequence[str], where: str) -> Iterator[str]:
        for name in columns:
            yield from self._several(
                f"SELECT DISTINCT t.{name} FROM {table} t WHERE t.{name} != 0 "
                f"AND NOT EXISTS (SELECT 1 FROM word w WHERE w.id = t.{name})",
                f"are words that the column {name} {where} has, but are not there",
            )

    def _lost_leaves(self, tables: Sequence[Table]) -> Iterator[str]:
        """Yield what is wrong with pins that name rows: they are those of datasets of their UUID, not in the trash."""
        there = {word: table for table in tables if (word := self._registry.word_id(table.name))}
        for word, table in there.items():
            yield from self._several(
                f"SELECT DISTINCT p.leaf FROM pin p WHERE p.place = {HERE} AND p.leaf_type = {word} "
                f"AND NOT EXISTS (SELECT 1 FROM d{table.number} d WHERE d.id = p.leaf AND d.uuid = p.uuid "
                "AND d.part = 0 AND d.live = 1)",
                f"are rows of {table.name!r} that the table pin has, but are not there, or in the trash, or of others",
            )
        yield from self._several(
            f"SELECT DISTINCT p.leaf_type FROM pin p WHERE p.place = {HERE} "
            f"AND p.leaf_type NOT IN ({', '.join(map(str, there)) or '-1'})",
            "are types of rows that the table pin has, but of which nothing is recorded",
        )

    def _several(self, statement: str, what: str) -> Iterator[str]:
        rows = self._registry.rows(f"{statement} LIMIT 6")
        if rows:
            numbers = ", ".join(str(row[0])[:30] for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
            yield f"the numbers {numbers} {what}"

    def nobodys_files(self) -> list[str]:
        """Return the paths of recorded files that no dataset has, at most a hundred."""
        tables = self._registry.tables()
        unused = "".join(f" AND NOT EXISTS (SELECT 1 FROM d{t.number} WHERE file = f.id)" for t in tables)
        return [str(row[0]) for row in self._registry.rows(f"SELECT f.path FROM file f WHERE 1{unused} LIMIT 100")]

    # What is recorded

    def counts(self) -> tuple[int, int, int]:
        """Return the numbers of live datasets, of datasets in the trash, and of files."""
        live = trashed = 0
        for table in self._registry.tables():
            for is_live, number in self._registry.rows(
                f"SELECT live = 1, count(*) FROM d{table.number} GROUP BY live = 1"
            ):
                live, trashed = live + number * bool(is_live), trashed + number * (not is_live)
        return live, trashed, self._registry.rows("SELECT count(*) FROM file")[0][0]

    def rows_of(self, type_: str) -> int:
        """Return how many datasets of a type there are, live or not."""
        table = self._registry.table(type_)
        return self._registry.rows(f"SELECT count(*) FROM d{table.number}")[0][0] if table is not None else 0

    def files(self) -> Iterator[list[FileRow | str]]:
        """Yield all files in portions; one whose row makes no sense as a sentence about that."""
        after = -1
        while True:
            rows = self._registry.rows(f"SELECT {_FILE} FROM file WHERE id > ? ORDER BY id LIMIT {MANY}", (after,))
            if not rows:
                return
            after = rows[-1][0]
            yield [_file_row(row, self._registry.word) for row in rows]

    def file(self, number: int) -> FileRow | None:
        """Return a file as it is recorded now."""
        rows = self._registry.rows(f"SELECT {_FILE} FROM file WHERE id = ?", (number,))
        found = _file_row(rows[0], self._registry.word) if rows else None
        return None if isinstance(found, str) else found

    def owners(self, number: int) -> list[Record]:
        """Return the datasets that share a file, the live ones first."""
        records = [
            self._record(table, row)
            for table in self._registry.tables()
            for row in self._registry.rows(f"{table.select}WHERE d.file = ? LIMIT {MANY}", (number,))
        ]
        return sorted(records, key=lambda record: not record.live)

    def known(self, paths: Sequence[str]) -> set[str]:
        """Return those of some paths below the root at which there are recorded files."""
        found: set[str] = set()
        for start in range(0, len(paths), MANY // 2):
            some = {path: (path_hash(path, True), path_hash(path, False)) for path in paths[start : start + MANY // 2]}
            keys = [key for pair in some.values() for key in pair]
            marks = ", ".join("?" * len(keys))
            there = {
                row[0] for row in self._registry.rows(f"SELECT path_key FROM file WHERE path_key IN ({marks})", keys)
            }
            found |= {path for path, pair in some.items() if not there.isdisjoint(pair)}
        return found

    def pins(self) -> Iterator[list[PinRow]]:
        """Yield all pins of datasets, in portions."""
        key = (-1, -1, -1, -1)
        while True:
            rows = self._registry.rows(
                "SELECT type, composite, component, member, leaf_type, uuid, part, place FROM pin "
                f"WHERE (type, composite, component, member) > (?, ?, ?, ?) "
                f"ORDER BY type, composite, component, member LIMIT {MANY}",
                key,
            )
            if not rows:
                return
            key = rows[-1][:4]
            yield [self._pin_row(row) for row in rows if row[5] is not None]

    def pin(self, key: tuple[int, int, int, int]) -> PinRow | None:
        """Return a pin as it is now."""
        rows = self._registry.rows(
            "SELECT type, composite, component, member, leaf_type, uuid, part, place FROM pin "
            "WHERE type = ? AND composite = ? AND component = ? AND member = ? AND uuid IS NOT NULL",
            key,
        )
        return self._pin_row(rows[0]) if rows else None

    def _pin_row(self, row: Sequence[Any]) -> PinRow:
        word = self._registry.word
        try:
            return PinRow(
                (row[0], row[1], row[2], row[3]),
                word(row[2]), row[3], word(row[4]), UUID(bytes=row[5]), word(row[6]), row[7] if row[7] != HERE else 0,
            )  # fmt: skip
        except UNSOUND as error:
            raise self._registry.damaged("a pin", error) from error

    def precursors(self) -> Iterator[list[PrecursorRow]]:
        """Yield what datasets were made from, in portions."""
        key = (-1, -1, -1)
        word = self._registry.word
        while True:
            rows = self._registry.rows(
                "SELECT type, dataset, ordinal, name, data_id, uuid, place FROM precursor "
                f"WHERE (type, dataset, ordinal) > (?, ?, ?) ORDER BY type, dataset, ordinal LIMIT {MANY}",
                key,
            )
            if not rows:
                return
            key = rows[-1][:3]
            try:
                yield [
                    PrecursorRow(row[:3], word(row[3]), str(row[4]), UUID(bytes=row[5]), row[6])
                    for row in rows
                    if row[5] is not None
                ]
            except UNSOUND as error:
                raise self._registry.damaged("a precursor", error) from error

    def text(self, number: int) -> str:
        """Return the word of a number."""
        return self._registry.word(number)

    def dataset(self, table_number: int, number: int) -> Record | None:
        """Return a dataset by its numbers in the registry."""
        for table in self._registry.tables():
            if table.number == table_number:
                for row in self._registry.rows(f"{table.select}WHERE d.id = ?", (number,)):
                    return self._record(table, row)
        return None

    def by_uuids(self, type_: str, uuids: Sequence[UUID]) -> dict[UUID, list[Record]]:
        """Return the datasets, wholes and parts, live or not, that have some UUIDs."""
        table = self._registry.table(type_)
        found: dict[UUID, list[Record]] = {}
        for start in range(0, len(uuids) if table is not None else 0, MANY):
            some = uuids[start : start + MANY]
            marks = ", ".join("?" * len(some))
            assert table is not None
            for row in self._registry.rows(f"{table.select}WHERE d.uuid IN ({marks})", [uuid.bytes for uuid in some]):
                record = self._record(table, row)
                found.setdefault(record.uuid, []).append(record)
        return found

    def _record(self, table: Table, row: Sequence[Any]) -> Record:
        return self._registry._record(table, row)


def _file_row(row: Sequence[Any], word: Callable[[int], str]) -> FileRow | str:
    try:
        file = _file(row[1:7], word)
        own = path_hash(file.path, file.owned)
    except (*UNSOUND, IntegrityError) as error:
        return f"what is recorded of the file number {row[0]} makes no sense ({type(error).__name__}: {error!s:.200})"
    if file.owned and (os.path.isabs(file.path) or row[7] != own):
        return (
            f"what is recorded of the file {file.path!r:.300} contradicts itself: its place or its key is not its own"
        )
    return FileRow(row[0], file, row[7] == own)
