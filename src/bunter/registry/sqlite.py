"""The registry in SQLite: one file in the repository, one connection a thread, hand-written statements."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from ..dataid import DataId, KeyValue
from ..errors import BunterError, DataIdError, IntegrityError
from ..files.interface import StoredFile
from . import footprints
from .database import UNSOUND, Database
from .hashing import canonical, leaf_hash, path_hash
from .interface import Changes, Forgotten, NewDataset, Pin, Precursor, Record
from .layouts import unpacked
from .schema import HERE, Table, column
from .writing import Writer

P = ParamSpec("P")
T = TypeVar("T")

_NO_KEYS = DataId()
_FILE = "path, owned, size, modified, checksum, layout"
_MANY = 500
"""Values in one statement."""
_FEW = 20
"""Datasets that are written one by one."""


class SqliteRegistry(Database):
    """The registry of one repository in one SQLite file; parameters and errors are those of `Database`."""

    # Reading

    def _record(self, table: Table, row: Sequence[Any]) -> Record:
        uuid, part, live, writing, at, by, path = row[:7]
        known = self.known
        try:
            return Record(
                table.name,
                _data_id(table, row[12:]),
                UUID(bytes=uuid),
                self.word(part) if part else "",
                live == 1,
                _file(row[6:12], self.word) if path is not None else None,
                known.writings.get(writing) or self.writing(writing),
                at,
                known.words.get(by) or self.word(by),
                -live if live < 0 else None,
            )
        except BunterError:
            raise
        except UNSOUND as error:
            raise self.damaged(f"a dataset of type {table.name!r}", error) from error

    def find(self, type_: str, data_id: Mapping[str, KeyValue], part: str = "") -> Record | None:
        """Return the live dataset of a type and a full data ID; a whole wins over a part dataset."""
        table = self.table(type_)
        if table is None:
            return None
        try:
            values = [data_id[key] for key in table.keys]
        except KeyError as error:
            raise DataIdError(
                f"the registry {self.path} has {type_!r} recorded with the keys {', '.join(table.keys)}; "
                f"{error.args[0]!r} was not given: the keys of a type cannot change"
            ) from None
        return self._whole_or(table, table.find, values, part)

    def _whole_or(self, table: Table, statement: str, values: Sequence[Any], part: str) -> Record | None:
        """Return the whole dataset that a statement of the table finds, else the part dataset, if there is one."""
        rows = self.rows(statement, (*values, 0))
        if not rows and part:
            number = self.word_id(part)
            rows = self.rows(statement, (*values, number)) if number else []
        return self._record(table, rows[0]) if rows else None

    def in_the_way(self, table: Table, new: NewDataset, part: int) -> Record:
        """Return the dataset that has the UUID of a new one, or its place; for this package alone."""
        same = "".join(f"{name} = ? AND " for name in table.columns)
        rows = self.rows(
            f"{table.select}WHERE d.part = ? AND (d.uuid = ? OR ({same}d.live = 1))",
            (part, new.uuid.bytes, *(new.data_id[key] for key in table.keys)),
        )
        if not rows:
            raise IntegrityError(f"the registry {self.path} is damaged: an index of {new.type!r} contradicts its table")
        return self._record(table, min(rows, key=lambda row: bool(row[0] != new.uuid.bytes)))

    def live(self, table: Table, uuid: bytes) -> Record:
        """Return a live dataset, or part dataset, by its UUID; for this package alone."""
        return self._record(table, self.rows(f"{table.select}WHERE d.uuid = ? AND d.live = 1", (uuid,))[0])

    def by_uuid(self, type_: str, uuid: UUID, part: str = "") -> Record | None:
        """Return a dataset by its UUID, in the trash or not; a whole wins over a part dataset."""
        table = self.table(type_)
        if table is None:
            return None
        return self._whole_or(table, table.by_uuid, (uuid.bytes,), part)

    def select(
        self,
        type_: str,
        constraints: Mapping[str, KeyValue],
        where: tuple[str, Sequence[Any]] | None = None,
        order_by: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        part: str = "",
    ) -> list[Record]:
        """Return the live datasets that match, in key order or as `order_by` (key, descending) says."""
        table = self.table(type_)
        if table is None:
            return []
        clause, values = _filter(table, constraints, where, self.word_id(part) or 0)
        order = [f"d.{column(key)}{' DESC' if down else ''}" for key, down in order_by]
        order += [f"d.{name}" for name in (*table.columns, "part")]
        tail = f" ORDER BY {', '.join(order)}"
        if limit is not None:
            tail += " LIMIT ?"
            values.append(limit)
        return [self._record(table, row) for row in self.rows(f"{table.select}WHERE {clause}{tail}", values)]

    def data_ids(
        self,
        type_: str,
        constraints: Mapping[str, KeyValue],
        where: tuple[str, Sequence[Any]] | None = None,
        part: str = "",
    ) -> list[tuple[KeyValue, ...]]:
        """Return the data IDs of the live datasets that match, as tuples in the order of `keys_of`, each once."""
        table = self.table(type_)
        if table is None:
            return []
        clause, values = _filter(table, constraints, where, self.word_id(part) or 0)
        fields = ", ".join(f"d.{name}" for name in table.columns)
        # Wholes have a data ID each; part datasets may share one.
        distinct = "DISTINCT" if part or not fields else ""
        found = self.rows(f"SELECT {distinct} {fields or 1} FROM d{table.number} d WHERE {clause}", values)
        if not fields:
            return [() for _ in found]
        kinds = [{kind} for kind in table.types]
        columns = zip(*found, strict=True)
        if found and [set(map(type, column)) for column in columns] != kinds:
            raise self.damaged(f"a data ID of {table.name!r}", ValueError("values of other types than the keys have"))
        return found

    def metadata(self, type_: str, constraints: Mapping[str, KeyValue]) -> list[tuple[DataId, dict[str, Any]]]:
        """Return what is recorded of the headers of the live datasets that match."""
        table = self.table(type_)
        if table is None:
            return []
        clause, values = _filter(table, constraints, None)
        fields = "".join(f", d.{name}" for name in table.columns)
        found = self.rows(
            f"SELECT d.metadata{fields} FROM d{table.number} d WHERE {clause} AND d.metadata IS NOT NULL", values
        )
        with self._sound("what it recorded of headers"):
            return [(_data_id(table, row[1:]), dict(json.loads(row[0]))) for row in found]

    def parts(self, type_: str) -> list[str]:
        """Return the parts of which there are live part datasets."""
        table = self.table(type_)
        if table is None:
            return []
        found = self.rows(f"SELECT DISTINCT part FROM d{table.number} WHERE part > 0 AND live = 1")
        return sorted(self.word(number) for (number,) in found)

    def keys_of(self, type_: str) -> tuple[str, ...] | None:
        """Return the recorded keys of a type, None if nothing of that type was ever recorded."""
        table = self.table(type_)
        return None if table is None else table.keys

    def types(self) -> dict[str, tuple[str, ...]]:
        """Return every recorded type with its keys."""
        return {table.name: table.keys for table in self.tables()}

    def counts(self) -> dict[str, int]:
        """Return how many live datasets each type has, part datasets not counted."""
        return {
            table.name: self.rows(f"SELECT count(*) FROM d{table.number} WHERE live = 1 AND part = 0")[0][0]
            for table in self.tables()
        }

    def _row_id(self, type_: str, uuid: UUID) -> tuple[int, int] | None:
        """Return the numbers of the table and the row of a dataset: of the whole, else of a part dataset."""
        table = self.table(type_)
        if table is None:
            return None
        rows = self.rows(f"SELECT id FROM d{table.number} WHERE uuid = ? ORDER BY part LIMIT 1", (uuid.bytes,))
        return (table.number, rows[0][0]) if rows else None

    def _sound(self, what: str) -> _Sound:
        return _Sound(self, what)

    def pins(self, type_: str, uuid: UUID, within: Collection[str] | None = None) -> list[Pin]:
        """Return the pins of a composite; if `within` is given, those of these components and of what they hold."""
        table = self.table(type_)
        if table is None:
            return []
        rows = self.rows(table.pins, (uuid.bytes,))
        found = []
        words = self.known.words
        with self._sound("its pins"):
            for number, member, leaf_type, pinned, part, place in rows:
                component = words.get(number) or self.word(number)
                if within is not None and component.partition(".")[0] not in within:
                    continue
                found.append(
                    Pin(
                        component,
                        DataId(json.loads(self.word(member))) if member else None,
                        words.get(leaf_type) or self.word(leaf_type),
                        _NO_KEYS,
                        UUID(bytes=pinned) if pinned is not None else None,
                        words.get(part) or self.word(part),
                        (words.get(place) or self.word(place)) if place != HERE else "",
                    )
                )
        return found

    def _holders(self, rows: Iterable[tuple[int, int]], *, trashed: bool = False) -> list[Record]:
        """Return the live datasets with these numbers of table and row; if `trashed`, those in the trash too."""
        tables = {table.number: table for table in self.tables()}
        found = []
        only = "" if trashed else " AND d.live = 1"
        for number, row_id in rows:
            table = tables.get(number)
            if table is None:
                raise IntegrityError(f"the registry {self.path} is damaged: there is no dataset type {number!r:.50}")
            for row in self.rows(f"{table.select}WHERE d.id = ?{only}", (row_id,)):
                found.append(self._record(table, row))
        return found

    def pinned_by(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID | None) -> list[Record]:
        """Return the live composites that pin a dataset (any of that type and data ID if `uuid` is None)."""
        return self._holders(self.pins_of(type_, data_id, uuid))

    def pinning(self, record: Record) -> list[Record]:
        """Return the composites, live or in the trash, that pin a dataset; a part dataset only as that part."""
        only = ("part", self.word_id(record.part)) if record.part else None
        return self._holders(self.pins_of(record.type, record.data_id, record.uuid, only), trashed=True)

    def pins_of(
        self,
        type_: str,
        data_id: Mapping[str, KeyValue],
        uuid: UUID | None,
        only: tuple[str, int | None] | None = None,
    ) -> list[tuple[int, int]]:
        """Return the numbers of table and row of what pins a dataset; for this package alone.

        Parameters
        ----------
        uuid : UUID or None
            None for any dataset of that type and data ID.
        only : (str, int), optional
            Only pins with that value in a column.
        """
        condition, values = "", list[Any]()
        if uuid is not None:
            condition, values = "AND p.uuid = ? ", [uuid.bytes]
        if only is not None:
            condition += f"AND p.{only[0]} = ? "
            values.append(only[1])
        statement = f"SELECT DISTINCT p.type, p.composite FROM pin p WHERE p.leaf = ? AND p.place != {HERE} {condition}"
        values = [leaf_hash(type_, data_id), *values]
        table, word = self.table(type_), self.word_id(type_)
        if table is not None and word is not None:
            # What is not in the trash is pinned by its row, if it was there first.
            given = "".join(f"AND d.{name} = ? " for name in table.columns) if uuid is None else "AND d.uuid = ? "
            statement += (
                f"UNION SELECT p.type, p.composite FROM d{table.number} d JOIN pin p "
                f"ON p.leaf = d.id AND p.leaf_type = ? AND p.place = {HERE} {condition}"
                f"WHERE d.part = 0 AND d.live = 1 {given}"
            )
            values += [word, *values[1:], *([data_id[key] for key in table.keys] if uuid is None else [uuid.bytes])]
        return self.rows(statement, values)

    def place_of(self, record: Record) -> str:
        """Return where a dataset of this registry is, for messages of later."""
        path = record.file.path if record.file is not None else "composite"
        root = os.path.dirname(self.path)
        return f"{root}: {path}" if root else path

    def precursors(self, type_: str, uuid: UUID) -> list[Precursor]:
        """Return what a dataset was made from."""
        row = self._row_id(type_, uuid)
        if row is None:
            return []
        with self._sound("its precursors"):
            return [
                Precursor(
                    self.word(name),
                    DataId(json.loads(data_id)),
                    UUID(bytes=made) if made is not None else None,
                    self.word(place),
                )
                for name, data_id, made, place in self.rows(
                    "SELECT name, data_id, uuid, place FROM precursor WHERE type = ? AND dataset = ? ORDER BY ordinal",
                    row,
                )
            ]

    def used_in(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> list[Record]:
        """Return the live datasets that were made from a dataset."""
        return self._holders(
            self.rows(
                "SELECT DISTINCT type, dataset FROM precursor WHERE leaf = ? AND uuid = ?",
                (leaf_hash(type_, data_id), uuid.bytes),
            )
        )

    def implied(self, key: str, by: Mapping[str, KeyValue]) -> KeyValue | None:
        """Return the value of an implied key."""
        rows = self.rows("SELECT value FROM implied WHERE name = ? AND given = ?", (key, canonical(by)))
        found: KeyValue | None = rows[0][0] if rows else None
        if not isinstance(found, int | str | float | None):
            raise self.damaged(f"the value of {key!r} for {by}", ValueError(f"{found!r:.100}"))
        return found

    def implied_values(self, key: str) -> dict[tuple[KeyValue, ...], KeyValue]:
        """Return all facts known of an implied key; the keys that imply it are in alphabetical order."""
        rows = self.rows("SELECT given, value FROM implied WHERE name = ?", (key,))
        with self._sound(f"what it knows of {key!r}"):
            return {tuple(json.loads(given).values()): value for given, value in rows}

    def path_taken(self, path: str) -> bool:
        """Tell whether a file has that path, or an owned one has a path that differs only in case."""
        keys = path_hash(path, True), path_hash(path, False)
        return bool(self.rows("SELECT 1 FROM file WHERE path_key IN (?, ?)", keys))

    def files_at(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """Return the recorded files at exactly these paths."""
        found: dict[str, StoredFile] = {}
        for path in paths:
            keys = path_hash(path, True), path_hash(path, False)
            for row in self.rows(f"SELECT {_FILE} FROM file WHERE path_key IN (?, ?) AND path = ?", (*keys, path)):
                with self._sound(f"the file {path!r:.200}"):
                    found[path] = _file(row, self.word)
        return found

    def datasets_of_file(self, path: str) -> list[Record]:
        """Return the datasets, live or not, that share a file."""
        values = path, path_hash(path, True), path_hash(path, False)
        clause = "WHERE d.file = (SELECT id FROM file WHERE path = ? AND path_key IN (?, ?))"
        return [
            self._record(table, row) for table in self.tables() for row in self.rows(f"{table.select}{clause}", values)
        ]

    def everything(self) -> Iterator[Record]:
        """Walk over all datasets, live or not."""
        for table in self.tables():
            for row in self.rows(table.select):
                yield self._record(table, row)

    # On the sky

    def overlapping(self, type_: str, region: footprints.Sought) -> list[DataId]:
        """Return the live datasets of a type whose footprints overlap a region."""
        table = self.table(type_)
        if table is None:
            return []
        numbers = self._asked(footprints.search, table.number, region)
        fields = ", ".join(f"d.{name}" for name in table.columns) or "1"
        found: list[DataId] = []
        for start in range(0, len(numbers), _MANY):
            some = numbers[start : start + _MANY]
            marks = ", ".join("?" * len(some))
            rows = self.rows(f"SELECT {fields} FROM d{table.number} d WHERE d.live = 1 AND d.id IN ({marks})", some)
            with self._sound(f"a data ID of {table.name!r}"):
                found += [_data_id(table, row if table.keys else ()) for row in rows]
        return found

    def outline(self, type_: str, data_id: Mapping[str, KeyValue]) -> bytes | None:
        """Return the footprint of the live dataset of a type and a full data ID."""
        table = self.table(type_)
        if table is None:
            return None
        where = "".join(f"{name} = ? AND " for name in table.columns)
        values = [data_id[key] for key in table.keys]
        rows = self.rows(f"SELECT id FROM d{table.number} WHERE {where}part = 0 AND live = 1", values)
        if not rows:
            return None
        return self._asked(footprints.outlines_of, table.number, rows[0]).get(rows[0][0])

    def has_footprints(self, type_: str) -> bool:
        """Tell whether any dataset of a type has a footprint."""
        table = self.table(type_)
        return table is not None and self._asked(footprints.has_footprints, table.number)

    def regions_overlapping(self, keys: Sequence[str], region: footprints.Sought) -> list[dict[str, KeyValue]]:
        """Return the values of keys whose polygons overlap a region."""
        return self._asked(footprints.search_regions, keys, region)

    def region_keys(self) -> list[tuple[str, ...]]:
        """Return the sets of keys for which there are polygons."""
        return self._asked(footprints.region_keys)

    def region_of(self, values: Mapping[str, KeyValue]) -> bytes | None:
        """Return the polygon recorded for values of keys, None if there is none."""
        return self._asked(footprints.region_of, values)

    def _asked(self, what: Callable[Concatenate[sqlite3.Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """Return what a function finds out from this thread's connection."""
        try:
            return what(self._connections.current().connection, *given, **named)
        except sqlite3.Error as error:
            raise self._cannot("read", error) from error
        except BunterError:
            raise
        except UNSOUND as error:
            raise self.damaged("its footprints", error) from error

    # Writing

    def apply(self, all_changes: Sequence[Changes], check: Callable[[], None] | None = None) -> None:
        """Make all changes visible together; see `bunter.registry.interface.Registry.apply`."""
        if all(len(changes.datasets) < _FEW for changes in all_changes):
            return self._apply(Writer, all_changes, check)
        from .many import InTheWay, ManyWriter

        try:
            self._apply(ManyWriter, all_changes, check)
        except InTheWay:
            self._apply(Writer, all_changes, check)

    def _apply(
        self, kind: type[Writer], all_changes: Sequence[Changes], check: Callable[[], None] | None = None
    ) -> None:
        with self.transaction() as handle:
            if check is not None:
                check()
            writer = kind(self, handle.connection)
            for changes in all_changes:
                writer.changes(changes)

    def trashed(self, type_: str, constraints: Mapping[str, KeyValue], before: int | None = None) -> list[Record]:
        """Return what is in the trash of a type and matches, newest first, part datasets too."""
        table = self.table(type_)
        if table is None:
            return []
        clauses, values = ["d.live != 1"], list[Any]()
        if before is not None:
            clauses.append("d.live >= ?")
            values.append(-before)
        for key, value in constraints.items():
            if key in table.keys:
                clauses.append(f"d.{column(key)} = ?")
                values.append(value)
        tail = f"WHERE {' AND '.join(clauses)} ORDER BY d.live, d.id DESC"
        return [self._record(table, row) for row in self.rows(f"{table.select}{tail}", values)]

    def purge(self, records: Iterable[Record], *, force: bool = False) -> Forgotten:
        """Forget trashed datasets, live ones not, nor those that others pin unless `force`."""
        with self.transaction() as handle:
            writer = Writer(self, handle.connection)
            done = Forgotten()
            for record in records:
                holders = [] if force else self.pinning(record)
                if holders:
                    done.kept.append((record, holders))
                else:
                    writer.forget(record, done)
            return done


class _Sound:
    """Makes errors about values that nobody of us wrote errors about the registry."""

    __slots__ = ("_registry", "_what")

    def __init__(self, registry: Database, what: str) -> None:
        self._registry, self._what = registry, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, UNSOUND) and not isinstance(error, BunterError):
            raise self._registry.damaged(self._what, error) from error


def _data_id(table: Table, values: Sequence[Any]) -> DataId:
    if tuple(map(type, values)) != table.types:
        raise ValueError(f"{values!r:.200} are no values of {', '.join(table.kinds.values())}")
    return DataId(zip(table.keys, values, strict=True))


def _file(row: Sequence[Any], word: Callable[[int], str]) -> StoredFile:
    path, owned, size, modified, checksum, layout = row
    if not isinstance(path, str) or type(size) is not int or size < 0 or not isinstance(modified, int | None):
        raise ValueError(f"the file {path!r:.200} of size {size!r:.100}")
    return StoredFile(
        path,
        bool(owned),
        size,
        modified,
        checksum.hex() if checksum is not None else None,
        unpacked(layout, word) if layout is not None else {},
    )


def _filter(
    table: Table,
    constraints: Mapping[str, KeyValue],
    where: tuple[str, Sequence[Any]] | None,
    part: int | None = None,
) -> tuple[str, list[Any]]:
    """Return the condition for live datasets: wholes and those of one part, or of any if `part` is None."""
    clauses, values = ["d.live = 1"], list[Any]()
    if part is not None:
        clauses.append("d.part IN (0, ?)" if part else "d.part = 0")
        values += [part] if part else []
    for key, value in constraints.items():
        if key in table.keys:
            clauses.append(f"d.{column(key)} = ?")
            values.append(value)
    if where is not None:
        clauses.append(f"({where[0]})")
        values.extend(where[1])
    return " AND ".join(clauses), values
