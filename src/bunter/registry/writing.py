"""The statements of one write transaction of a registry."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..dataid import DataId, KeyValue
from ..errors import DataIdError
from ..files.interface import StoredFile
from ..words import listing
from . import footprints
from .hashing import canonical, leaf_hash, path_hash
from .interface import Changes, DatasetTaken, Forgotten, Kinds, NewDataset, NotRestored, PathTaken, Pin, Record, Writing
from .layouts import packed
from .schema import HERE, Table, dataset_table

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
        self._pins: list[tuple[int, int, Pin]] = []
        self._pinned: set[UUID] = set()
        self._recorded: dict[tuple[int, UUID], tuple[int]] = {}

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except OverflowError:
            raise DataIdError(f"an integer of more than 64 bits is among {values!r:.200}") from None

    def changes(self, changes: Changes) -> None:
        """Write all that one put, ingest or delete changes."""
        self._recorded.clear()
        # What goes to the trash with these went there after what went with the changes before.
        self._trashed = {number: at - 1 for number, at in self._trashed.items()}
        for type_, uuid in changes.trashed:
            self._trash(type_, uuid)
        for type_, uuid, replaces in changes.restored:
            self._restore(type_, uuid, replaces=replaces)
        for (key, given), value in changes.implied.items():
            self._imply(key, dict(given), value)
        self._datasets(changes.datasets)
        # When everything that they may pin is there.
        for pin in self._pins:
            self._pin(*pin)
        self._pins.clear()
        for type_, data_id, uuid in self._followed(changes):
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
        layout = packed(file.layout, self._word)
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
        # Who pins it does not know yet where it was.
        leaf = leaf_hash(record.type, record.data_id), record.uuid.bytes
        if self._run("SELECT 1 FROM pin WHERE leaf = ? AND uuid = ? AND place = 0 LIMIT 1", leaf).fetchone():
            place = self._word(self._registry.place_of(record))
            self._run("UPDATE pin SET place = ? WHERE leaf = ? AND uuid = ? AND place = 0", (place, *leaf))
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
        key, other = path_hash(file.path, file.owned), path_hash(file.path, not file.owned)
        checksum = bytes.fromhex(file.checksum) if file.checksum else None
        layout = packed(file.layout, self._word)
        # Where one key says all, the insertion tells whether it is taken.
        rows = (
            [
                row
                for row in self._run(
                    "SELECT id, path, owned, path_key, size, modified, checksum FROM file WHERE path_key IN (?, ?)",
                    (key, other),
                )
                if file.owned or row[1] == file.path or row[3] == key
            ]
            if not file.owned or key != other
            else []
        )
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
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (file.path, key, int(file.owned), file.size, file.modified, checksum, layout),
            )
            if row.rowcount == 0:
                raise PathTaken(file.path)
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
            self._unplace(table, "uuid = ?", (uuid.bytes,))
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
            self._unplace(table, "uuid = ?", other)
            self._run(
                f"UPDATE d{table.number} SET live = ? WHERE {same}live = 1 AND uuid != ?", (self._now(table), *values)
            )
        self._run(f"UPDATE d{table.number} SET live = 1 WHERE uuid = ?", (uuid.bytes,))

    def _unplace(self, table: Table, where: str, values: Sequence[Any]) -> None:
        """Let pins of what goes to the trash name its data ID: who follows a replacement is found by that."""
        self._recorded.clear()
        word = self._registry.word_id(table.name)
        if word is None:
            # Nobody pins anything of that type.
            return
        fields = ", ".join(("id", *table.columns))
        for number, *data_id in self._run(
            f"SELECT {fields} FROM d{table.number} WHERE {where} AND part = 0 AND live = 1", values
        ).fetchall():
            self._run(
                "UPDATE pin SET leaf = ?, place = 0 WHERE leaf = ? AND leaf_type = ? AND place = ?",
                (leaf_hash(table.name, dict(zip(table.keys, data_id, strict=True))), number, word, HERE),
            )

    def _imply(self, key: str, given: Mapping[str, KeyValue], value: KeyValue) -> None:
        known = self._registry.implied(key, given)
        if known is None:
            self._run("INSERT INTO implied VALUES (?, ?, ?)", (key, canonical(given), value))
        elif known != value:
            what = ", ".join(f"{k}={v!r}" for k, v in given.items())
            raise DataIdError(f"{key}={value!r} contradicts the registry: {what} has {key}={known!r}")

    def _datasets(self, datasets: Sequence[NewDataset]) -> None:
        for new in datasets:
            self._dataset(new)

    def _followed(self, changes: Changes) -> Iterable[tuple[str, DataId, UUID]]:
        """Return the repins for which there may be pins."""
        return changes.repins

    def _dataset(self, new: NewDataset) -> None:
        table = self._table(new.type, new.kinds)
        values = [new.data_id[key] for key in table.keys]
        part = self._word(new.part)
        if new.live and new.replaces:
            where = "".join(f"{name} = ? AND " for name in table.columns)
            if not part:
                self._unplace(table, f"{where}part = 0", values)
            self._run(
                f"UPDATE d{table.number} SET live = ? WHERE {where}part = ? AND live = 1",
                (self._now(table), *values, part),
            )
        writing = 0 if new.writing is None else self._word(told(new.writing))
        metadata = json.dumps(dict(new.metadata), ensure_ascii=False) if new.metadata else None
        by = self._word(new.written_by)
        file = taken = None
        if new.file is not None:
            try:
                file = self._file(new.file)
            except PathTaken as error:
                taken = error
        live = 1 if new.live else self._now(table)
        row = self._run(
            _insertion(table.number, table.columns),
            (part, live, new.uuid.bytes, file, writing, new.written_at, by, metadata, *values),
        )
        # The unique keys decide who is first, and then the path. Whoever is not leaves nothing.
        if row.rowcount == 0:
            raise DatasetTaken(new, self._registry.in_the_way(table, new, part))
        if taken is not None:
            raise taken
        number = int(row.lastrowid or 0)
        if new.footprint is not None:
            self._outlines.setdefault(table.number, {})[number] = new.footprint
        if new.live and not new.part:
            self._recorded[table.number, new.uuid] = (number,)
        self._pins += [(table.number, number, pin) for pin in new.pins or ()]
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
        table = self._registry.table(pin.type) if pin.uuid is not None else None
        row = None
        if table is not None and pin.uuid is not None:
            # A component that was written with it is known.
            row = self._recorded.get((table.number, pin.uuid))
            if row is None:
                row = self._run(
                    f"SELECT id FROM d{table.number} WHERE uuid = ? AND part = 0 AND live = 1", (pin.uuid.bytes,)
                ).fetchone()
            self._pinned.add(pin.uuid)
        self._run(
            "INSERT INTO pin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                table_number,
                number,
                self._word(pin.component),
                self._word(canonical(pin.member)) if pin.member is not None else 0,
                row[0] if row else leaf_hash(pin.type, pin.data_id),
                self._word(pin.type),
                _bytes(pin.uuid),
                self._word(pin.part),
                HERE if row else self._word(pin.place),
            ),
        )

    def _repin(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> None:
        leaf = leaf_hash(type_, data_id)
        # Only pins of live composites follow; what is in the trash stays as it was.
        holders = self._run("SELECT DISTINCT type FROM pin WHERE leaf = ? AND place != ?", (leaf, HERE)).fetchall()
        for (number,) in holders:
            # By its leaf, not by its type, which many have: hence the +.
            self._run(
                "UPDATE pin SET uuid = ?, place = 0 WHERE leaf = ? AND +type = ? AND place != ? "
                f"AND EXISTS (SELECT 1 FROM d{number} d WHERE d.id = pin.composite AND d.live = 1)",
                (uuid.bytes, leaf, number, HERE),
            )
        if holders or uuid in self._pinned:
            self._move(type_, data_id, uuid)

    def _move(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> None:
        """Let composites that pin a new WCS lie where it says, or where their parts do if it does not say."""
        wcs = self._registry.word_id("wcs")
        table = self._registry.table(type_)
        if not wcs or table is None:
            return
        row = self._run(f"SELECT id FROM d{table.number} WHERE uuid = ? AND part = 0", (uuid.bytes,)).fetchone()
        outline = None if row is None else self._outline(table, row[0])
        for number, composite in self._registry.pins_of(type_, data_id, uuid, ("component", wcs)):
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


@lru_cache(maxsize=256)
def _insertion(number: int, columns: tuple[str, ...]) -> str:
    """Return the statement that records a dataset of a type."""
    names = "".join(f", {name}" for name in columns)
    return (
        f"INSERT INTO d{number} (part, live, uuid, file, writing, written_at, written_by, metadata{names}) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, ?{', ?' * len(columns)}) ON CONFLICT DO NOTHING"
    )


@lru_cache(maxsize=256)
def told(how: Writing) -> str:
    """Return the word that tells how a dataset was written."""
    return json.dumps([how.storage, how.python, how.parts, how.component])


def _bytes(uuid: UUID | None) -> bytes | None:
    return None if uuid is None else uuid.bytes


def _described(kinds: Mapping[str, Any]) -> str:
    return listing(f"{key} ({kind})" for key, kind in kinds.items())
