"""The registry in SQLite: one file in the repository, one connection a thread, hand-written statements."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import xxhash

from ..dataid import DataId, KeyValue
from ..errors import DataIdError, IntegrityError, RepositoryError
from ..files.interface import StoredFile
from .interface import Changes, DatasetTaken, Kinds, NewDataset, PathTaken, Pin, Precursor, Record, Writing
from .schema import SHARED_TABLES, VERSION, column, dataset_table

_BUSY_MS = 60_000


def canonical(data_id: Mapping[str, KeyValue]) -> str:
    """Return a data ID as text that is the same for equal data IDs."""
    return json.dumps(dict(sorted(data_id.items())), ensure_ascii=False, separators=(",", ":"))


def _signed(digest: int) -> int:
    return digest - (1 << 64) if digest >= 1 << 63 else digest


def leaf_hash(type_: str, data_id: Mapping[str, KeyValue]) -> int:
    """Return the 64-bit hash under which pins and precursors of a dataset are found."""
    return _signed(xxhash.xxh3_64_intdigest(f"{type_} {canonical(data_id)}".encode("utf-8", "surrogatepass")))


def path_hash(path: str, owned: bool) -> int:
    """Return the 64-bit hash that keeps paths unique; owned paths that differ only in case share it."""
    text = path.casefold() if owned else path
    return _signed(xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogateescape")))


class _Table:
    """What is known of one dataset type's table."""

    __slots__ = ("by_uuid", "columns", "find", "keys", "name", "number", "select")

    def __init__(self, number: int, name: str, keys: tuple[str, ...]) -> None:
        self.number = number
        self.name = name
        self.keys = keys
        self.columns = tuple(column(key) for key in keys)
        fields = "".join(f", d.{c}" for c in self.columns)
        self.select = (
            f"SELECT d.uuid, d.part, d.live, d.writing, d.written_at, d.written_by, "
            f"f.path, f.owned, f.size, f.modified, f.checksum, f.layout{fields} "
            f"FROM d{number} d LEFT JOIN file f ON f.id = d.file "
        )
        where = "".join(f"d.{c} = ? AND " for c in self.columns)
        self.find = f"{self.select}WHERE {where}d.part IN (0, ?) AND d.live = 1"
        self.by_uuid = f"{self.select}WHERE d.uuid = ? AND d.part = ?"


class SqliteRegistry:
    """The registry of one repository in one SQLite file.

    Parameters
    ----------
    path : str
        The file, or ``":memory:"`` for a registry that lives as long as the object.
    create : bool
        Make the tables if the file is new.
    writable : bool
        Open for writing.
    durable : bool
        Sync every commit to disk.
    """

    def __init__(self, path: str, *, create: bool = False, writable: bool = True, durable: bool = True) -> None:
        self.path = path
        self.writable = writable
        self._durable = durable
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._pid = os.getpid()
        self._memory: sqlite3.Connection | None = None
        self._tables: dict[str, _Table] = {}
        self._words: dict[int, str] = {}
        self._word_ids: dict[str, int] = {}
        self._writings: dict[int, Writing] = {}
        self._seen_version = -1
        if path == ":memory:":
            self._memory = self._connect()
        if create:
            self._create()
        else:
            self._check_version()

    # Connections

    def _connect(self) -> sqlite3.Connection:
        try:
            if self.path == ":memory:":
                connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            elif self.writable:
                connection = sqlite3.connect(
                    self.path, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
                )
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            else:
                connection = self._connect_read_only()
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        except sqlite3.Error as error:
            raise RepositoryError(f"the registry {self.path} cannot be opened: {error}") from error
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
        from urllib.parse import quote

        place = "file:" + quote(os.path.abspath(self.path))
        if os.access(os.path.dirname(os.path.abspath(self.path)), os.W_OK) or os.path.exists(self.path + "-wal"):
            place += "?mode=ro"
        else:
            # Nobody can write here and no write-ahead log is left over: the file is all there is.
            place += "?mode=ro&immutable=1"
        return sqlite3.connect(
            place, uri=True, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
        )

    @property
    def _db(self) -> sqlite3.Connection:
        if self._memory is not None:
            return self._memory
        local = self._local
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        if connection is not None and local.pid == os.getpid():
            return connection
        with self._guard:
            if self._pid != os.getpid():
                # A forked child must not touch its parent's connections, not even to close them.
                self._connections = []
                self._pid = os.getpid()
            connection = self._connect()
            self._connections.append(connection)
        local.connection = connection
        local.pid = os.getpid()
        return connection

    def close(self) -> None:
        """Close every connection."""
        with self._guard:
            if self._pid == os.getpid():
                for connection in self._connections:
                    connection.close()
            self._connections = []
            self._local = threading.local()
            if self._memory is not None:
                self._memory.close()
                self._memory = None

    # Schema

    def _create(self) -> None:
        db = self._db
        with self._transaction(db):
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone() is None:
                for statement in SHARED_TABLES:
                    db.execute(statement)
                db.execute("INSERT INTO about VALUES ('version', ?)", (str(VERSION),))
                db.execute("INSERT INTO word VALUES (0, '')")
        self._check_version()

    def _check_version(self) -> None:
        try:
            row = self._db.execute("SELECT value FROM about WHERE name = 'version'").fetchone()
        except sqlite3.DatabaseError as error:
            raise RepositoryError(f"{self.path} is not a registry of Bunter: {error}") from error
        if row is None or not row[0].isdigit():
            raise RepositoryError(f"{self.path} is not a registry of Bunter: it has no version")
        if int(row[0]) > VERSION:
            raise RepositoryError(
                f"the registry {self.path} has layout {row[0]}; this Bunter knows layouts up to {VERSION}: "
                "use a newer Bunter"
            )

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        deadline = time.monotonic() + _BUSY_MS / 1000
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if "readonly" in str(error):
                    raise RepositoryError(f"the registry {self.path} is read-only") from error
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise RepositoryError(f"the registry {self.path} cannot be written: {error}") from error
                time.sleep(0.005)
        try:
            yield
            db.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.OperationalError):
                db.execute("ROLLBACK")
            self._seen_version = -1
            if isinstance(error, sqlite3.OperationalError):
                raise RepositoryError(f"the registry {self.path} cannot be written: {error}") from error
            raise

    def _table(self, type_: str) -> _Table | None:
        table = self._tables.get(type_)
        if table is None and self._refresh():
            table = self._tables.get(type_)
        return table

    def _refresh(self) -> bool:
        """Read the list of tables again if the database changed; tell whether it did."""
        db = self._db
        version = db.execute("PRAGMA data_version").fetchone()[0], db.total_changes, threading.get_ident()
        if version == self._seen_version:
            return False
        for number, name, keys in db.execute("SELECT id, name, keys FROM dataset_type").fetchall():
            if name not in self._tables:
                self._tables[name] = _Table(number, name, tuple(json.loads(keys)))
        self._seen_version = version  # type: ignore[assignment]
        return True

    def _word(self, number: int) -> str:
        text = self._words.get(number)
        if text is None:
            row = self._db.execute("SELECT text FROM word WHERE id = ?", (number,)).fetchone()
            if row is None:
                raise IntegrityError(f"the registry {self.path} is damaged: word {number} is missing")
            text = self._words[number] = row[0]
        return text

    # Reading

    def _record(self, table: _Table, row: Sequence[Any]) -> Record:
        uuid, part, live, writing, at, by, path, owned, size, modified, checksum, layout = row[:12]
        file = None
        if path is not None:
            file = StoredFile(
                path,
                bool(owned),
                size,
                modified,
                checksum.hex() if checksum is not None else None,
                json.loads(layout) if layout else {},
            )
        how = self._writings.get(writing)
        if how is None and writing:
            how = self._writings[writing] = Writing(*json.loads(self._word(writing)))
        return Record(
            table.name,
            DataId(zip(table.keys, row[12:], strict=True)),
            UUID(bytes=uuid),
            self._word(part) if part else "",
            live == 1,
            file,
            how,
            at,
            self._word(by) if by else "",
        )

    def _part_id(self, part: str) -> int | None:
        if not part:
            return 0
        known = self._word_ids.get(part)
        if known is None:
            row = self._db.execute("SELECT id FROM word WHERE text = ?", (part,)).fetchone()
            if row is None:
                return None
            known = row[0]
            self._words[known] = part
        return known

    def find(self, type_: str, data_id: Mapping[str, KeyValue], part: str = "") -> Record | None:
        """Return the live dataset of a type and a full data ID; a whole wins over a part dataset."""
        table = self._table(type_)
        if table is None:
            return None
        part_id = self._part_id(part)
        try:
            values = [data_id[key] for key in table.keys]
        except KeyError as error:
            raise DataIdError(
                f"the registry {self.path} has {type_!r} recorded with the keys {', '.join(table.keys)}; "
                f"{error.args[0]!r} was not given: keys of a type cannot change"
            ) from None
        rows = self._db.execute(table.find, (*values, part_id or 0)).fetchall()
        if not rows:
            return None
        return self._record(table, min(rows, key=lambda row: row[1]))

    def by_uuid(self, type_: str, uuid: UUID, part: str = "") -> Record | None:
        """Return a dataset by its UUID, in the trash or not."""
        table = self._table(type_)
        if table is None:
            return None
        row = self._db.execute(table.by_uuid, (uuid.bytes, 0)).fetchone()
        if row is None and part:
            part_id = self._part_id(part)
            if part_id:
                row = self._db.execute(table.by_uuid, (uuid.bytes, part_id)).fetchone()
        return None if row is None else self._record(table, row)

    def _filter(
        self, table: _Table, constraints: Mapping[str, KeyValue], where: tuple[str, Sequence[Any]] | None
    ) -> tuple[str, list[Any]]:
        clauses, values = ["d.live = 1"], list[Any]()
        for key, value in constraints.items():
            if key in table.keys:
                clauses.append(f"d.{column(key)} = ?")
                values.append(value)
        if where is not None:
            clauses.append(f"({where[0]})")
            values.extend(where[1])
        return " AND ".join(clauses), values

    def select(
        self,
        type_: str,
        constraints: Mapping[str, KeyValue],
        where: tuple[str, Sequence[Any]] | None = None,
        order_by: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
    ) -> list[Record]:
        """Return the live datasets that match, in key order or as `order_by` (key, descending) says."""
        table = self._table(type_)
        if table is None:
            return []
        clause, values = self._filter(table, constraints, where)
        order = [f"d.{column(key)}{' DESC' if down else ''}" for key, down in order_by] + [
            f"d.{c}" for c in table.columns
        ]
        tail = f" ORDER BY {', '.join(order)}" if order else ""
        if limit is not None:
            tail += " LIMIT ?"
            values.append(limit)
        rows = self._db.execute(f"{table.select}WHERE {clause}{tail}", values).fetchall()
        return [self._record(table, row) for row in rows]

    def data_ids(
        self,
        type_: str,
        constraints: Mapping[str, KeyValue],
        where: tuple[str, Sequence[Any]] | None = None,
    ) -> list[tuple[KeyValue, ...]]:
        """Return the data IDs of the live datasets that match, as tuples in the order of `keys_of`."""
        table = self._table(type_)
        if table is None:
            return []
        clause, values = self._filter(table, constraints, where)
        fields = ", ".join(f"d.{c}" for c in table.columns) or "1"
        found = self._db.execute(f"SELECT DISTINCT {fields} FROM d{table.number} d WHERE {clause}", values).fetchall()
        return found if table.keys else [() for _ in found]

    def keys_of(self, type_: str) -> tuple[str, ...] | None:
        """Return the recorded keys of a type, None if nothing of that type was ever recorded."""
        table = self._table(type_)
        return None if table is None else table.keys

    def types(self) -> dict[str, tuple[str, ...]]:
        """Return every recorded type with its keys."""
        self._refresh()
        return {name: table.keys for name, table in self._tables.items()}

    def counts(self) -> dict[str, int]:
        """Return how many live datasets each type has."""
        self._refresh()
        return {
            name: self._db.execute(f"SELECT count(*) FROM d{table.number} WHERE live = 1").fetchone()[0]
            for name, table in self._tables.items()
        }

    def _row_id(self, table: _Table, uuid: UUID) -> int | None:
        row = self._db.execute(f"SELECT id FROM d{table.number} WHERE uuid = ?", (uuid.bytes,)).fetchone()
        return None if row is None else row[0]

    def pins(self, type_: str, uuid: UUID) -> list[Pin]:
        """Return the pins of a composite."""
        table = self._table(type_)
        number = None if table is None else self._row_id(table, uuid)
        if table is None or number is None:
            return []
        rows = self._db.execute(
            "SELECT component, member, leaf_type, uuid, part, place FROM pin "
            "WHERE type = ? AND composite = ? ORDER BY component, member",
            (table.number, number),
        ).fetchall()
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
            for component, member, leaf_type, pinned, part, place in rows
        ]

    def _holders(self, rows: Iterable[tuple[int, int]]) -> list[Record]:
        by_number = {table.number: table for table in self._tables.values()}
        found = []
        for number, row_id in rows:
            if number not in by_number:
                self._seen_version = -1
                self._refresh()
                by_number = {table.number: table for table in self._tables.values()}
            table = by_number[number]
            row = self._db.execute(f"{table.select}WHERE d.id = ? AND d.live = 1", (row_id,)).fetchone()
            if row is not None:
                found.append(self._record(table, row))
        return found

    def pinned_by(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID | None) -> list[Record]:
        """Return the live composites that pin a dataset (any of that type and data ID if `uuid` is None)."""
        self._refresh()
        statement = "SELECT DISTINCT type, composite FROM pin WHERE leaf = ?"
        values: list[Any] = [leaf_hash(type_, data_id)]
        if uuid is not None:
            statement += " AND uuid = ?"
            values.append(uuid.bytes)
        return self._holders(self._db.execute(statement, values).fetchall())

    def precursors(self, type_: str, uuid: UUID) -> list[Precursor]:
        """Return what a dataset was made from."""
        table = self._table(type_)
        number = None if table is None else self._row_id(table, uuid)
        if table is None or number is None:
            return []
        rows = self._db.execute(
            "SELECT name, data_id, uuid, place FROM precursor WHERE type = ? AND dataset = ? ORDER BY ordinal",
            (table.number, number),
        ).fetchall()
        return [
            Precursor(
                self._word(name),
                DataId(json.loads(data_id)),
                UUID(bytes=made) if made is not None else None,
                self._word(place),
            )
            for name, data_id, made, place in rows
        ]

    def used_in(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> list[Record]:
        """Return the live datasets that were made from a dataset."""
        self._refresh()
        rows = self._db.execute(
            "SELECT DISTINCT type, dataset FROM precursor WHERE leaf = ? AND uuid = ?",
            (leaf_hash(type_, data_id), uuid.bytes),
        ).fetchall()
        return self._holders(rows)

    def implied(self, key: str, by: Mapping[str, KeyValue]) -> KeyValue | None:
        """Return the value of an implied key."""
        row = self._db.execute("SELECT value FROM implied WHERE name = ? AND given = ?", (key, canonical(by))).fetchone()
        return None if row is None else row[0]

    def implied_values(self, key: str) -> dict[tuple[KeyValue, ...], KeyValue]:
        """Return all facts known of an implied key; the keys that imply it are in alphabetical order."""
        rows = self._db.execute("SELECT given, value FROM implied WHERE name = ?", (key,)).fetchall()
        return {tuple(json.loads(given).values()): value for given, value in rows}

    def path_taken(self, path: str) -> bool:
        """Tell whether an owned file has that path, or one that differs only in case."""
        row = self._db.execute("SELECT 1 FROM file WHERE path_key = ?", (path_hash(path, True),)).fetchone()
        return row is not None

    def files_at(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """Return the recorded files at exactly these paths."""
        found: dict[str, StoredFile] = {}
        for path in paths:
            for owned in (True, False):
                row = self._db.execute(
                    "SELECT path, owned, size, modified, checksum, layout FROM file WHERE path_key = ?",
                    (path_hash(path, owned),),
                ).fetchone()
                if row is not None and row[0] == path:
                    found[path] = StoredFile(
                        row[0], bool(row[1]), row[2], row[3], row[4].hex() if row[4] else None, json.loads(row[5] or "{}")
                    )
        return found

    def datasets_of_file(self, path: str) -> list[Record]:
        """Return the datasets, live or not, that share a file."""
        self._refresh()
        found = []
        for table in self._tables.values():
            rows = self._db.execute(
                f"{table.select}WHERE d.file = (SELECT id FROM file WHERE path = ? AND path_key IN (?, ?))",
                (path, path_hash(path, True), path_hash(path, False)),
            ).fetchall()
            found += [self._record(table, row) for row in rows]
        return found

    def everything(self) -> Iterator[Record]:
        """Walk over all datasets, live or not."""
        self._refresh()
        for table in list(self._tables.values()):
            for row in self._db.execute(table.select).fetchall():
                yield self._record(table, row)

    def begin_read(self) -> None:
        """See one state of the registry until `end_read`, whatever others commit meanwhile."""
        depth = getattr(self._local, "reading", 0)
        if depth == 0 and not self._db.in_transaction:
            self._db.execute("BEGIN")
            self._local.began = True
        self._local.reading = depth + 1

    def end_read(self) -> None:
        """End what `begin_read` began."""
        self._local.reading -= 1
        if self._local.reading == 0 and getattr(self._local, "began", False):
            self._local.began = False
            self._db.execute("COMMIT")

    # Writing

    def apply(self, all_changes: Sequence[Changes], check: Callable[[], None] | None = None) -> None:
        """Make all changes visible together; see `bunter.registry.interface.Registry.apply`."""
        db = self._db
        with self._transaction(db):
            if check is not None:
                check()
            writer = _Writer(self, db)
            for changes in all_changes:
                for type_, uuid in changes.trashed:
                    writer.trash(type_, uuid)
                for (key, given), value in changes.implied.items():
                    writer.imply(key, dict(given), value)
                for new in changes.datasets:
                    writer.dataset(new)
                for type_, data_id, uuid in changes.repins:
                    writer.repin(type_, data_id, uuid)
        self._words.update({number: text for text, number in writer.new_words.items()})
        self._word_ids.update(writer.new_words)

    def purge(self, records: Iterable[Record]) -> list[StoredFile]:
        """Forget trashed datasets; return the owned files that nobody needs any more."""
        db = self._db
        left_over: list[StoredFile] = []
        with self._transaction(db):
            for record in records:
                table = self._table(record.type)
                if table is None:
                    continue
                number = self._row_id(table, record.uuid)
                db.execute("DELETE FROM pin WHERE type = ? AND composite = ?", (table.number, number))
                db.execute("DELETE FROM precursor WHERE type = ? AND dataset = ?", (table.number, number))
                db.execute(f"DELETE FROM d{table.number} WHERE id = ? AND live = 0", (number,))
                if record.file is not None and not self.datasets_of_file(record.file.path):
                    db.execute("DELETE FROM file WHERE path_key = ?", (path_hash(record.file.path, record.file.owned),))
                    if record.file.owned:
                        left_over.append(record.file)
        return left_over


class _Writer:
    """The statements of one transaction."""

    def __init__(self, registry: SqliteRegistry, db: sqlite3.Connection) -> None:
        self._registry = registry
        self._db = db
        self.new_words: dict[str, int] = {}
        self._files: dict[str, int] = {}

    def word(self, text: str) -> int:
        if not text:
            return 0
        number = self._registry._word_ids.get(text) or self.new_words.get(text)
        if number is None:
            row = self._db.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
            if row is None:
                cursor = self._db.execute("INSERT INTO word (text) VALUES (?)", (text,))
                number = int(cursor.lastrowid or 0)
            else:
                number = int(row[0])
            self.new_words[text] = number
        return number

    def table(self, type_: str, kinds: Kinds) -> _Table:
        table = self._registry._table(type_)
        if table is None:
            # Inside our own transaction nobody else can add tables, so a second look is final.
            self._registry._seen_version = -1
            table = self._registry._table(type_)
        if table is None:
            cursor = self._db.execute(
                "INSERT INTO dataset_type (name, keys) VALUES (?, ?)", (type_, json.dumps(list(kinds)))
            )
            number = int(cursor.lastrowid or 0)
            for statement in dataset_table(number, kinds):
                self._db.execute(statement)
            self._registry._seen_version = -1
            return _Table(number, type_, tuple(kinds))
        if set(table.keys) != set(kinds):
            raise DataIdError(
                f"{type_!r} is recorded with the keys {', '.join(table.keys)}, but is defined with "
                f"{', '.join(kinds)}: the keys of a type cannot change; use a new stage"
            )
        return table

    def file(self, file: StoredFile) -> int:
        known = self._files.get(file.path)
        if known is not None:
            return known
        key = path_hash(file.path, file.owned)
        row = self._db.execute(
            "SELECT id, path, owned, size, checksum FROM file WHERE path_key = ?", (key,)
        ).fetchone()
        checksum = bytes.fromhex(file.checksum) if file.checksum else None
        layout = json.dumps(file.layout, separators=(",", ":")) if file.layout else None
        if row is not None:
            # Files ingested in place may be shared by several datasets, files of our own are made for one put.
            if file.owned or bool(row[2]) or row[1] != file.path:
                raise PathTaken(file.path)
            number = int(row[0])
            self._db.execute(
                "UPDATE file SET size = ?, modified = ?, checksum = coalesce(?, checksum), "
                "layout = coalesce(?, layout) WHERE id = ?",
                (file.size, file.modified, checksum, layout, number),
            )
        else:
            cursor = self._db.execute(
                "INSERT INTO file (path, path_key, owned, size, modified, checksum, layout) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.path, key, int(file.owned), file.size, file.modified, checksum, layout),
            )
            number = int(cursor.lastrowid or 0)
        self._files[file.path] = number
        return number

    def trash(self, type_: str, uuid: UUID) -> None:
        table = self._registry._table(type_)
        if table is not None:
            self._db.execute(f"UPDATE d{table.number} SET live = 0 WHERE uuid = ?", (uuid.bytes,))

    def imply(self, key: str, given: Mapping[str, KeyValue], value: KeyValue) -> None:
        text = canonical(given)
        row = self._db.execute("SELECT value FROM implied WHERE name = ? AND given = ?", (key, text)).fetchone()
        if row is None:
            self._db.execute("INSERT INTO implied VALUES (?, ?, ?)", (key, text, value))
        elif row[0] != value:
            what = ", ".join(f"{k}={v!r}" for k, v in given.items())
            raise DataIdError(f"{key}={value!r} contradicts the registry: {what} has {key}={row[0]!r}")

    def dataset(self, new: NewDataset) -> None:
        table = self.table(new.type, new.kinds)
        values = [new.data_id[key] for key in table.keys]
        part = self.word(new.part)
        if new.live:
            where = "".join(f"{c} = ? AND " for c in table.columns)
            if new.replaces:
                self._db.execute(
                    f"UPDATE d{table.number} SET live = 0 WHERE {where}part = ? AND live = 1",
                    (*values, part),
                )
            else:
                existing = self._registry.find(new.type, new.data_id)
                if existing is not None and existing.part == new.part:
                    raise DatasetTaken(new, existing)
        file = self.file(new.file) if new.file is not None else None
        writing = 0
        if new.writing is not None:
            how = new.writing
            writing = self.word(json.dumps([how.storage, how.python, how.parts, how.component]))
        fields = "".join(f", {c}" for c in table.columns)
        marks = ", ?" * len(values)
        cursor = self._db.execute(
            f"INSERT INTO d{table.number} (part, live, uuid, file, writing, written_at, written_by{fields}) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?{marks})",
            (part, int(new.live), new.uuid.bytes, file, writing, new.written_at, self.word(new.written_by), *values),
        )
        number = int(cursor.lastrowid or 0)
        for pin in new.pins or ():
            self.pin(table.number, number, pin)
        for ordinal, precursor in enumerate(new.precursors):
            self._db.execute(
                "INSERT INTO precursor VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    table.number,
                    number,
                    ordinal,
                    leaf_hash(precursor.type, precursor.data_id),
                    self.word(precursor.type),
                    canonical(precursor.data_id),
                    precursor.uuid.bytes if precursor.uuid is not None else None,
                    self.word(precursor.place),
                ),
            )

    def pin(self, table_number: int, number: int, pin: Pin) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                table_number,
                number,
                self.word(pin.component),
                self.word(canonical(pin.member)) if pin.member is not None else 0,
                leaf_hash(pin.type, pin.data_id),
                self.word(pin.type),
                pin.uuid.bytes if pin.uuid is not None else None,
                self.word(pin.part),
                self.word(pin.place),
            ),
        )

    def repin(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> None:
        # Only pins of live composites follow; what is in the trash stays as it was.
        rows = self._db.execute(
            "SELECT DISTINCT type, composite FROM pin WHERE leaf = ?", (leaf_hash(type_, data_id),)
        ).fetchall()
        for table_number, number in rows:
            live = self._db.execute(f"SELECT live FROM d{table_number} WHERE id = ?", (number,)).fetchone()
            if live is not None and live[0] == 1:
                self._db.execute(
                    "UPDATE pin SET uuid = ?, place = 0 WHERE type = ? AND composite = ? AND leaf = ?",
                    (uuid.bytes, table_number, number, leaf_hash(type_, data_id)),
                )
