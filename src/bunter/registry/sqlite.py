"""The registry in SQLite: one file in the repository, one connection a thread, hand-written statements."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any
from uuid import UUID

from ..dataid import DataId, KeyValue
from ..errors import DataIdError, IntegrityError, RepositoryError
from ..files.interface import StoredFile
from . import footprints
from .connections import BUSY_SECONDS, Connections, Handle
from .hashing import canonical, leaf_hash, path_hash
from .interface import Changes, NewDataset, Pin, Precursor, Record, Writing
from .schema import SHARED_TABLES, VERSION, Table, column
from .writing import Writer

_FILE = "path, owned, size, modified, checksum, layout"


class _Known:
    """What was read of a registry once and never changes: tables, words, how datasets were written.

    A write transaction has its own in front of the shared one, which is thrown away if it fails: the numbers
    that it gave are given again then. Whoever reads one state has the tables of that state.
    """

    def __init__(self, behind: _Known | None = None) -> None:
        self._behind = behind
        self._own: tuple[dict[Any, Any], ...] = ({}, {}, {}, {})
        layers: Sequence[MutableMapping[Any, Any]] = self._own
        if behind is not None:
            layers = [ChainMap(mine, shared) for mine, shared in zip(self._own, behind._own, strict=True)]
        self.tables: MutableMapping[str, Table] = layers[0]
        self.words: MutableMapping[int, str] = layers[1]
        self.word_ids: MutableMapping[str, int] = layers[2]
        self.writings: MutableMapping[int, Writing] = layers[3]

    def as_now(self) -> _Known:
        """Return the same without the tables that others add from now on."""
        known = _Known()
        known.tables = dict(self.tables)
        known.words, known.word_ids, known.writings = self.words, self.word_ids, self.writings
        return known

    def keep(self) -> None:
        """Hand over to the shared one what is committed now."""
        if self._behind is not None:
            for mine, shared in zip(self._own, self._behind._own, strict=True):
                shared.update(mine)


_MANY = 500
"""Values in one statement."""


class SqliteRegistry:
    """The registry of one repository in one SQLite file.

    Parameters
    ----------
    path : str
        The file, or ``":memory:"`` for a registry that lives as long as the object.
    create : bool
        Make the file and its tables if there are none.
    writable : bool
        Open for writing.
    durable : bool
        Sync every commit to disk.

    Raises
    ------
    RepositoryError
        If the file is not a registry, is damaged or of a newer layout, or cannot be opened. Every method can
        raise it, since a file may go bad at any time.
    """

    def __init__(self, path: str, *, create: bool = False, writable: bool = True, durable: bool = True) -> None:
        self.path = path
        self.writable = writable
        self._shared = _Known()
        self._connections = Connections(path, create=create, writable=writable, durable=durable)
        try:
            if create:
                self._create()
            self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    # Schema

    def _create(self) -> None:
        with self.transaction() as handle:
            # Something else's tables are left alone; the version is looked for next.
            if self.rows("SELECT 1 FROM sqlite_master"):
                return
            for statement in (*SHARED_TABLES, *footprints.FOOTPRINT_TABLES):
                handle.connection.execute(statement)
            handle.connection.execute("INSERT INTO about VALUES ('version', ?)", (str(VERSION),))
            handle.connection.execute("INSERT INTO word VALUES (0, '')")

    def _check_version(self) -> None:
        rows = self.rows("SELECT value FROM about WHERE name = 'version'")
        if not rows or not str(rows[0][0]).isdigit():
            raise RepositoryError(f"{self.path} is not a registry of Bunter: it has no version")
        if int(rows[0][0]) > VERSION:
            raise RepositoryError(
                f"the registry {self.path} has layout {rows[0][0]}; this Bunter knows layouts up to {VERSION}: "
                "use a newer Bunter"
            )

    # Statements

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows that a statement gives; for this package alone."""
        try:
            return self._connections.current().connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._cannot("read", error) from error
        except OverflowError:
            raise DataIdError(f"an integer of more than 64 bits is among {values!r:.200}") from None

    def _cannot(self, what: str, error: sqlite3.Error) -> RepositoryError:
        text = str(error)
        if "readonly" in text:
            return RepositoryError(f"the registry {self.path} is read-only")
        if "no such table: about" in text:
            return RepositoryError(f"{self.path} is not a registry of Bunter: it is empty, or something else")
        hint = ""
        if "unable to open" in text and not self.writable:
            hint = (
                "; if it was not closed properly, its folder must be writable once: "
                "open it where you may write, or copy it"
            )
        return RepositoryError(f"the registry {self.path} cannot be {what}: {text}{hint}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Handle]:
        """Begin a write transaction; commit it, or roll it back at an error. For this package alone."""
        if not self.writable:
            raise RepositoryError(f"the registry {self.path} was opened read-only; nothing was written")
        handle = self._connections.current()
        self._begin(handle)
        handle.known = known = _Known(self._shared)
        try:
            yield handle
            handle.connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                handle.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._cannot("written", error) from error
            raise
        else:
            known.keep()
        finally:
            handle.known = None
            handle.seen = None

    def _begin(self, handle: Handle) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                handle.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._cannot("written", error) from error
                time.sleep(0.005)
            else:
                return

    # What is known

    @property
    def known(self) -> _Known:
        """What this thread may take for known; for this package alone."""
        return self._connections.current().known or self._shared

    def table(self, type_: str) -> Table | None:
        """Return the table of a dataset type, None if nothing of that type was ever recorded."""
        table = self.known.tables.get(type_)
        if table is None and self._refresh():
            table = self.known.tables.get(type_)
        return table

    def tables(self) -> list[Table]:
        """Return the tables of all dataset types."""
        self._refresh()
        return list(self.known.tables.values())

    def _refresh(self) -> bool:
        """Read the list of tables again if the database changed; tell whether it did."""
        handle = self._connections.current()
        seen = self.rows("PRAGMA data_version")[0][0], handle.connection.total_changes
        if seen == handle.seen:
            return False
        tables = self.known.tables
        for number, name, keys in self.rows("SELECT id, name, keys FROM dataset_type"):
            if name not in tables:
                tables[name] = Table(number, name, json.loads(keys))
        handle.seen = seen
        return True

    def _word(self, number: int) -> str:
        if not number:
            return ""
        words = self.known.words
        text = words.get(number)
        if text is None:
            rows = self.rows("SELECT text FROM word WHERE id = ?", (number,))
            if not rows:
                raise IntegrityError(f"the registry {self.path} is damaged: word {number} is missing")
            text = words[number] = rows[0][0]
        return text

    def word_id(self, text: str) -> int | None:
        """Return the number of a word, None if it was never recorded."""
        if not text:
            return 0
        ids = self.known.word_ids
        number = ids.get(text)
        if number is None:
            rows = self.rows("SELECT id FROM word WHERE text = ?", (text,))
            if not rows:
                return None
            number = ids[text] = rows[0][0]
        return number

    def _writing(self, number: int) -> Writing | None:
        if not number:
            return None
        writings = self.known.writings
        how = writings.get(number)
        if how is None:
            how = writings[number] = Writing(*json.loads(self._word(number)))
        return how

    # Reading

    def _record(self, table: Table, row: Sequence[Any]) -> Record:
        uuid, part, live, writing, at, by = row[:6]
        return Record(
            table.name,
            DataId(zip(table.keys, row[12:], strict=True)),
            UUID(bytes=uuid),
            self._word(part),
            live == 1,
            _file(row[6:12]) if row[6] is not None else None,
            self._writing(writing),
            at,
            self._word(by),
        )

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
        rows = self.rows(table.find, (*values, self.word_id(part) or 0))
        if not rows:
            return None
        return self._record(table, min(rows, key=lambda row: row[1]))

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

    def by_uuid(self, type_: str, uuid: UUID, part: str = "") -> Record | None:
        """Return a dataset by its UUID, in the trash or not; a whole wins over a part dataset."""
        table = self.table(type_)
        if table is None:
            return None
        rows = self.rows(table.by_uuid, (uuid.bytes, self.word_id(part) or 0))
        return self._record(table, min(rows, key=lambda row: row[1])) if rows else None

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
        found = self.rows(f"SELECT DISTINCT {fields or 1} FROM d{table.number} d WHERE {clause}", values)
        return found if fields else [() for _ in found]

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
        return [(DataId(zip(table.keys, row[1:], strict=True)), json.loads(row[0])) for row in found]

    def parts(self, type_: str) -> list[str]:
        """Return the parts of which there are live part datasets."""
        table = self.table(type_)
        if table is None:
            return []
        found = self.rows(f"SELECT DISTINCT part FROM d{table.number} WHERE part > 0 AND live = 1")
        return sorted(self._word(number) for (number,) in found)

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

    def pins(self, type_: str, uuid: UUID) -> list[Pin]:
        """Return the pins of a composite."""
        row = self._row_id(type_, uuid)
        if row is None:
            return []
        return [
            Pin(
                self._word(component),
                DataId(json.loads(self._word(member))) if member else None,
                self._word(leaf_type),
                DataId(),
                UUID(bytes=pinned) if pinned is not None else None,
                self._word(part),
                self._word(place),
            )
            for component, member, leaf_type, pinned, part, place in self.rows(
                "SELECT component, member, leaf_type, uuid, part, place FROM pin "
                "WHERE type = ? AND composite = ? ORDER BY component, member",
                row,
            )
        ]

    def _holders(self, rows: Iterable[tuple[int, int]]) -> list[Record]:
        """Return the live datasets with these numbers of table and row."""
        tables = {table.number: table for table in self.tables()}
        found = []
        for number, row_id in rows:
            table = tables[number]
            for row in self.rows(f"{table.select}WHERE d.id = ? AND d.live = 1", (row_id,)):
                found.append(self._record(table, row))
        return found

    def pinned_by(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID | None) -> list[Record]:
        """Return the live composites that pin a dataset (any of that type and data ID if `uuid` is None)."""
        statement = "SELECT DISTINCT type, composite FROM pin WHERE leaf = ?"
        values: list[Any] = [leaf_hash(type_, data_id)]
        if uuid is not None:
            statement += " AND uuid = ?"
            values.append(uuid.bytes)
        return self._holders(self.rows(statement, values))

    def precursors(self, type_: str, uuid: UUID) -> list[Precursor]:
        """Return what a dataset was made from."""
        row = self._row_id(type_, uuid)
        if row is None:
            return []
        return [
            Precursor(
                self._word(name),
                DataId(json.loads(data_id)),
                UUID(bytes=made) if made is not None else None,
                self._word(place),
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
        return found

    def implied_values(self, key: str) -> dict[tuple[KeyValue, ...], KeyValue]:
        """Return all facts known of an implied key; the keys that imply it are in alphabetical order."""
        rows = self.rows("SELECT given, value FROM implied WHERE name = ?", (key,))
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
                found[path] = _file(row)
        return found

    def datasets_of_file(self, path: str) -> list[Record]:
        """Return the datasets, live or not, that share a file."""
        values = path, path_hash(path, True), path_hash(path, False)
        clause = "WHERE d.file = (SELECT id FROM file WHERE path = ? AND path_key IN (?, ?))"
        return [
            self._record(table, row)
            for table in self.tables()
            for row in self.rows(f"{table.select}{clause}", values)
        ]

    def everything(self) -> Iterator[Record]:
        """Walk over all datasets, live or not."""
        for table in self.tables():
            for row in self.rows(table.select):
                yield self._record(table, row)

    def begin_read(self) -> None:
        """See one state of the registry until `end_read`, whatever others commit meanwhile."""
        handle = self._connections.current()
        if not handle.reading and not handle.connection.in_transaction:
            known = self._shared.as_now()
            self.rows("BEGIN")
            handle.known, handle.began = known, True
        handle.reading += 1

    def end_read(self) -> None:
        """End what `begin_read` began."""
        handle = self._connections.current()
        handle.reading -= 1
        if not handle.reading and handle.began:
            handle.began = False
            handle.known = handle.seen = None
            self.rows("COMMIT")

    # On the sky

    def overlapping(self, type_: str, region: footprints.Sought) -> list[DataId]:
        """Return the live datasets of a type whose footprints overlap a region."""
        table = self.table(type_)
        if table is None:
            return []
        numbers = footprints.search(self._connections.current().connection, table.number, region)
        fields = ", ".join(f"d.{name}" for name in table.columns) or "1"
        found: list[DataId] = []
        for start in range(0, len(numbers), _MANY):
            some = numbers[start : start + _MANY]
            marks = ", ".join("?" * len(some))
            rows = self.rows(f"SELECT {fields} FROM d{table.number} d WHERE d.live = 1 AND d.id IN ({marks})", some)
            found += [DataId(zip(table.keys, row, strict=False)) for row in rows]
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
        return footprints.outlines_of(self._connections.current().connection, table.number, rows[0]).get(rows[0][0])

    def add_regions(
        self, keys: Sequence[str], rows: Iterable[tuple[Mapping[str, KeyValue], bytes]], *, replace: bool = False
    ) -> int:
        """Record the polygons of values of keys (tracts, patches); return how many were new."""
        with self.transaction() as handle:
            return footprints.add_regions(handle.connection, keys, rows, replace=replace)

    def regions_overlapping(self, keys: Sequence[str], region: footprints.Sought) -> list[dict[str, KeyValue]]:
        """Return the values of keys whose polygons overlap a region."""
        return footprints.search_regions(self._connections.current().connection, keys, region)

    def region_keys(self) -> list[tuple[str, ...]]:
        """Return the sets of keys for which there are polygons."""
        return footprints.region_keys(self._connections.current().connection)

    # Writing

    def apply(self, all_changes: Sequence[Changes], check: Callable[[], None] | None = None) -> None:
        """Make all changes visible together; see `bunter.registry.interface.Registry.apply`."""
        with self.transaction() as handle:
            if check is not None:
                check()
            writer = Writer(self, handle.connection)
            for changes in all_changes:
                writer.changes(changes)

    def purge(self, records: Iterable[Record]) -> list[StoredFile]:
        """Forget trashed datasets, live ones not; return the owned files that nobody needs any more."""
        with self.transaction() as handle:
            writer = Writer(self, handle.connection)
            return [file for record in records if (file := writer.forget(record)) is not None]


def _file(row: Sequence[Any]) -> StoredFile:
    path, owned, size, modified, checksum, layout = row
    return StoredFile(
        path,
        bool(owned),
        size,
        modified,
        checksum.hex() if checksum is not None else None,
        json.loads(layout) if layout else {},
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
