"""The statements of one write transaction of a registry."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..dataid import KeyValue
from ..errors import DataIdError
from ..files.interface import StoredFile
from ..words import listing
from . import footprints
from .hashing import canonical, leaf_hash, path_hash
from .interface import Changes, DatasetTaken, Forgotten, Kinds, NewDataset, NotRestored, PathTaken, Pin, Record
from .schema import Table, dataset_table

if TYPE_CHECKING:
    from .sqlite import SqliteRegistry


class Writer:
    """Writes in a transaction that its caller has begun, and ends.

    Parameters
    ----------
    registry : SqliteRegistry
        Answers what is there, as the transaction sees it.
    connection : sqlite3.Connection
        This thread's.
    """

    def __init__(self, registry: SqliteRegistry, connection: sqlite3.Connection) -> None:
        self._registry = registry
        self._connection = connection
        self._files: dict[str, int] = {}
        self._outlines: dict[int, dict[int, bytes]] = {}
        self._trashed: dict[int, int] = {}

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except OverflowError:
            raise DataIdError(f"an integer of more than 64 bits is among {values!r:.200}") from None

    def changes(self, changes: Changes) -> None:
        """Write all that one put, ingest or delete changes."""
        # What goes to the trash with these went there after what went with the changes before.
        self._trashed = {number: at - 1 for number, at in self._trashed.items()}
        for type_, uuid in changes.trashed:
            self._trash(type_, uuid)
        for type_, uuid, replaces in changes.restored:
            self._restore(type_, uuid, replaces=replaces)
        for (key, given), value in changes.implied.items():
            self._imply(key, dict(given), value)
        for new in changes.datasets:
            self._dataset(new)
        for type_, data_id, uuid in changes.repins:
            self._repin(type_, data_id, uuid)
        # All at once: in the order of the index they take less time and room.
        for number, outlines in self._outlines.items():
            footprints.record(self._connection, number, outlines.items())
        self._outlines.clear()
        for regions in changes.regions:
            footprints.add_regions(self._connection, regions.keys, regions.rows, replace=regions.replace)
        for file in changes.checked:
            self._checked(file)

    def _checked(self, file: StoredFile) -> None:
        assert file.checksum is not None
        layout = json.dumps(file.layout, separators=(",", ":")) if file.layout else None
        self._run(
            "UPDATE file SET checksum = ?, layout = coalesce(?, layout) "
            "WHERE path_key = ? AND checksum IS NULL AND size = ? AND modified = ?",
            (bytes.fromhex(file.checksum), layout, path_hash(file.path, file.owned), file.size, file.modified),
        )

    def forget(self, record: Record, done: Forgotten) -> None:
        """Forget a dataset if it is in the trash; note that, and its file if it is owned and nobody needs it."""
        table = self._registry.table(record.type)
        part = self._registry.word_id(record.part)
        if table is None or part is None:
            return
        row = self._run(
            f"SELECT id, file FROM d{table.number} WHERE uuid = ? AND part = ? AND live != 1", (record.uuid.bytes, part)
        ).fetchone()
        if row is None:
            return
        *row, number = row
        done.records.append(record)
        self._run("DELETE FROM pin WHERE type = ? AND composite = ?", (table.number, row[0]))
        self._run("DELETE FROM precursor WHERE type = ? AND dataset = ?", (table.number, row[0]))
        footprints.remove(self._connection, table.number, row)
        self._run(f"DELETE FROM d{table.number} WHERE id = ?", row)
        if record.file is not None:
            # Composites that followed a replacement do not know yet where it was.
            self._run(
                "UPDATE pin SET place = ? WHERE leaf = ? AND uuid = ? AND place = 0",
                (self._word(record.file.path), leaf_hash(record.type, record.data_id), record.uuid.bytes),
            )
        if record.file is None or any(
            self._run(f"SELECT 1 FROM d{other.number} WHERE file = ? LIMIT 1", (number,)).fetchone()
            for other in self._registry.tables()
        ):
            return
        self._run("DELETE FROM file WHERE id = ?", (number,))
        if record.file.owned:
            done.files.append(record.file)

    def _word(self, text: str) -> int:
        number = self._registry.word_id(text)
        if number is None:
            number = int(self._run("INSERT INTO word (text) VALUES (?)", (text,)).lastrowid or 0)
            self._registry.known.word_ids[text] = number
        return number

    def _table(self, type_: str, kinds: Kinds) -> Table:
        table = self._registry.table(type_)
        if table is None:
            table = self._new_table(type_, kinds)
        elif table.kinds != dict(kinds):
            raise DataIdError(
                f"{type_!r} is recorded with the keys {_described(table.kinds)}, but is defined with "
                f"{_described(kinds)}: the keys of a type cannot change; use a new stage"
            )
        return table

    def _new_table(self, type_: str, kinds: Kinds) -> Table:
        folded = {key.casefold() for key in kinds}
        if len(folded) < len(kinds):
            raise DataIdError(f"{type_!r} has keys that differ only in case: {_described(kinds)}; rename one")
        row = self._run("INSERT INTO dataset_type (name, keys) VALUES (?, ?)", (type_, json.dumps(dict(kinds))))
        table = Table(int(row.lastrowid or 0), type_, kinds)
        for statement in dataset_table(table.number, kinds):
            self._run(statement)
        self._registry.known.tables[type_] = table
        return table

    def _file(self, file: StoredFile) -> int:
        known = self._files.get(file.path)
        if known is not None:
            return known
        key = path_hash(file.path, file.owned)
        checksum = bytes.fromhex(file.checksum) if file.checksum else None
        layout = json.dumps(file.layout, separators=(",", ":")) if file.layout else None
        rows = [
            row
            for row in self._run(
                "SELECT id, path, owned, path_key, size, modified, checksum FROM file WHERE path_key IN (?, ?)",
                (key, path_hash(file.path, not file.owned)),
            )
            if file.owned or row[1] == file.path or row[3] == key
        ]
        number = 0
        if rows:
            number, path, owned, _, *seen = rows[0]
            # Files ingested in place may be shared by several datasets, files of our own are made for one put.
            if len(rows) > 1 or file.owned or owned or path != file.path:
                raise PathTaken(file.path)
            if seen[0] == file.size and (seen[1] == file.modified or (checksum is not None and seen[2] == checksum)):
                self._run(
                    "UPDATE file SET modified = ?, checksum = coalesce(?, checksum), layout = coalesce(?, layout) "
                    "WHERE id = ?",
                    (file.modified, checksum, layout, number),
                )
            else:
                # It was changed in place: what was ingested before is not to be read from what it is now.
                gone = path_hash(f"{path}\0{number}", False)
                self._run("UPDATE file SET path_key = ? WHERE id = ?", (gone, number))
                number = 0
        if not number:
            row = self._run(
                "INSERT INTO file (path, path_key, owned, size, modified, checksum, layout) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.path, key, int(file.owned), file.size, file.modified, checksum, layout),
            )
            number = int(row.lastrowid or 0)
        self._files[file.path] = number
        return int(number)

    def _now(self, table: Table) -> int:
        """Return the `live` of what goes to the trash now: later than all that is in it, whatever the clock says."""
        at = self._trashed.get(table.number)
        if at is None:
            (newest,) = self._run(f"SELECT min(live) FROM d{table.number} WHERE live != 1").fetchone()
            at = self._trashed[table.number] = min(-max(time.time_ns() // 1000, 1), (newest or 0) - 1)
        return at

    def _trash(self, type_: str, uuid: UUID) -> None:
        table = self._registry.table(type_)
        if table is not None:
            self._run(
                f"UPDATE d{table.number} SET live = ? WHERE uuid = ? AND live = 1", (self._now(table), uuid.bytes)
            )

    def _restore(self, type_: str, uuid: UUID, *, replaces: bool) -> None:
        table = self._registry.table(type_)
        there = [] if table is None else self._run(f"{table.select}WHERE d.uuid = ?", (uuid.bytes,)).fetchall()
        if table is None or not there:
            raise NotRestored(type_, uuid, None)
        same = "".join(f"{name} = ? AND " for name in table.columns)
        values = (*there[0][-len(table.columns) :], uuid.bytes) if table.columns else (uuid.bytes,)
        other = self._run(f"SELECT uuid FROM d{table.number} WHERE {same}live = 1 AND uuid != ?", values).fetchone()
        if other is not None and not replaces:
            raise NotRestored(type_, uuid, self._registry.live(table, other[0]))
        if other is not None:
            self._run(
                f"UPDATE d{table.number} SET live = ? WHERE {same}live = 1 AND uuid != ?", (self._now(table), *values)
            )
        self._run(f"UPDATE d{table.number} SET live = 1 WHERE uuid = ?", (uuid.bytes,))

    def _imply(self, key: str, given: Mapping[str, KeyValue], value: KeyValue) -> None:
        known = self._registry.implied(key, given)
        if known is None:
            self._run("INSERT INTO implied VALUES (?, ?, ?)", (key, canonical(given), value))
        elif known != value:
            what = ", ".join(f"{k}={v!r}" for k, v in given.items())
            raise DataIdError(f"{key}={value!r} contradicts the registry: {what} has {key}={known!r}")

    def _dataset(self, new: NewDataset) -> None:
        table = self._table(new.type, new.kinds)
        values = [new.data_id[key] for key in table.keys]
        part = self._word(new.part)
        if new.live and new.replaces:
            where = "".join(f"{name} = ? AND " for name in table.columns)
            self._run(
                f"UPDATE d{table.number} SET live = ? WHERE {where}part = ? AND live = 1",
                (self._now(table), *values, part),
            )
        writing = 0
        if new.writing is not None:
            how = new.writing
            writing = self._word(json.dumps([how.storage, how.python, how.parts, how.component]))
        columns = "".join(f", {name}" for name in table.columns)
        marks = ", ?" * len(values)
        metadata = json.dumps(dict(new.metadata), ensure_ascii=False) if new.metadata else None
        # The unique keys decide who is first; the file follows, so that a loser leaves nothing.
        by = self._word(new.written_by)
        row = self._run(
            f"INSERT INTO d{table.number} (part, live, uuid, writing, written_at, written_by, metadata{columns}) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?{marks}) ON CONFLICT DO NOTHING",
            (part, 1 if new.live else self._now(table), new.uuid.bytes, writing, new.written_at, by, metadata, *values),
        )
        if row.rowcount == 0:
            raise DatasetTaken(new, self._registry.in_the_way(table, new, part))
        number = int(row.lastrowid or 0)
        if new.file is not None:
            self._run(f"UPDATE d{table.number} SET file = ? WHERE id = ?", (self._file(new.file), number))
        if new.footprint is not None:
            self._outlines.setdefault(table.number, {})[number] = new.footprint
        for pin in new.pins or ():
            self._pin(table.number, number, pin)
        for ordinal, made_from in enumerate(new.precursors):
            self._run(
                "INSERT INTO precursor VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    table.number,
                    number,
                    ordinal,
                    leaf_hash(made_from.type, made_from.data_id),
                    self._word(made_from.type),
                    canonical(made_from.data_id),
                    _bytes(made_from.uuid),
                    self._word(made_from.place),
                ),
            )

    def _pin(self, table_number: int, number: int, pin: Pin) -> None:
        self._run(
            "INSERT INTO pin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                table_number,
                number,
                self._word(pin.component),
                self._word(canonical(pin.member)) if pin.member is not None else 0,
                leaf_hash(pin.type, pin.data_id),
                self._word(pin.type),
                _bytes(pin.uuid),
                self._word(pin.part),
                self._word(pin.place),
            ),
        )

    def _repin(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> None:
        leaf = leaf_hash(type_, data_id)
        # Only pins of live composites follow; what is in the trash stays as it was.
        for (number,) in self._run("SELECT DISTINCT type FROM pin WHERE leaf = ?", (leaf,)).fetchall():
            self._run(
                "UPDATE pin SET uuid = ?, place = 0 WHERE leaf = ? AND type = ? "
                f"AND composite IN (SELECT id FROM d{number} WHERE live = 1)",
                (uuid.bytes, leaf, number),
            )
        self._move(type_, leaf, uuid)

    def _move(self, type_: str, leaf: int, uuid: UUID) -> None:
        """Let composites that pin a new WCS lie where it says, or where their parts do if it does not say."""
        wcs = self._registry.word_id("wcs")
        table = self._registry.table(type_)
        if not wcs or table is None:
            return
        row = self._run(f"SELECT id FROM d{table.number} WHERE uuid = ? AND part = 0", (uuid.bytes,)).fetchone()
        outline = None if row is None else self._outline(table, row[0])
        holders = self._run(
            "SELECT type, composite FROM pin WHERE leaf = ? AND component = ? AND uuid = ?", (leaf, wcs, uuid.bytes)
        ).fetchall()
        for number, composite in holders:
            if composite in self._outlines.get(number, {}):
                # Put together with it.
                continue
            if outline is None:
                footprints.remove(self._connection, number, [composite])
            else:
                self._outlines.setdefault(number, {})[composite] = outline

    def _outline(self, table: Table, number: int) -> bytes | None:
        new = self._outlines.get(table.number, {}).get(number)
        return new or footprints.outlines_of(self._connection, table.number, [number]).get(number)


def _bytes(uuid: UUID | None) -> bytes | None:
    return None if uuid is None else uuid.bytes


def _described(kinds: Mapping[str, Any]) -> str:
    return listing(f"{key} ({kind})" for key, kind in kinds.items())
