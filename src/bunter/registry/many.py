"""Many datasets of one kind, recorded by few statements as long as nothing is in the way of any."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from ..dataid import DataId
from ..files.interface import StoredFile
from .hashing import leaf_hash, path_hash
from .interface import Changes, NewDataset, PathTaken
from .layouts import packed
from .writing import Writer, told

_FEW = 20
_MANY = 400
_FILE_COLUMNS = 8
_VALUES = 900
"""Values in one statement: an old SQLite takes 999."""

Repin = tuple[str, DataId, UUID]


class InTheWay(Exception):  # noqa: N818 - a signal inside this package
    """Something is there that a new dataset or its file contradicts: one by one, it is told what."""


class ManyWriter(Writer):
    """A writer for whom nothing may be in the way.

    What it writes is what a `Writer` does.

    Raises
    ------
    InTheWay
        By any of its methods; the transaction is to begin again, with a `Writer`.
    """

    def _datasets(self, datasets: Sequence[NewDataset]) -> None:
        for group in _groups(datasets):
            # Of the first it is not known whether it is like the others.
            super()._datasets(group[:1] if len(group) > _FEW else group)
            if len(group) > _FEW:
                self._record(group[1:])

    def _followed(self, changes: Changes) -> Iterable[Repin]:
        repins = changes.repins
        if len(repins) < _FEW or any(new.pins for new in changes.datasets):
            return repins
        if self._run("SELECT 1 FROM pin LIMIT 1").fetchone() is None:
            return ()
        return [repin for at in range(0, len(repins), _MANY) for repin in self._with_pins(repins[at : at + _MANY])]

    def _with_pins(self, repins: Sequence[Repin]) -> list[Repin]:
        """Return those of which there are pins at all."""
        leaves = [leaf_hash(type_, data_id) for type_, data_id, _ in repins]
        there = self._there("pin", "leaf", leaves)
        return [repin for repin, leaf in zip(repins, leaves, strict=True) if leaf in there]

    def _there(self, table: str, column: str, keys: Sequence[int]) -> set[int]:
        marks = ", ".join("?" * len(keys))
        return {row[0] for row in self._run(f"SELECT {column} FROM {table} WHERE {column} IN ({marks})", keys)}

    def _record(self, alike: Sequence[NewDataset]) -> None:
        """Record datasets that differ in data ID, UUID, file, time, metadata and footprint only."""
        first = alike[0]
        table = self._table(first.type, first.kinds)
        writing = 0 if first.writing is None else self._word(told(first.writing))
        by = self._word(first.written_by)
        keys, files = table.keys, self._files
        some = _VALUES // max(_FILE_COLUMNS, 5 + len(keys))
        for at in range(0, len(alike), some):
            chunk = alike[at : at + some]
            self._record_files(chunk)
            start = self._last(f"d{table.number}") + 1
            has_metadata = any(new.metadata for new in chunk)
            values: list[Any] = []
            for number, new in enumerate(chunk, start):
                data_id = new.data_id
                # For bytes, as for None, sqlite3 looks for adapters each time.
                values += (number, bytearray(new.uuid.bytes), files[new.file.path], new.written_at)  # type: ignore[union-attr]
                values += [data_id[key] for key in keys]
                if has_metadata:
                    values.append(json.dumps(dict(new.metadata), ensure_ascii=False) if new.metadata else None)
                if new.footprint is not None:
                    self._outlines.setdefault(table.number, {})[number] = new.footprint
            columns = ["id", "uuid", "file", "written_at", *table.columns]
            self._insert(
                f"d{table.number}",
                [*columns, "metadata"] if has_metadata else columns,
                values,
                {"part": 0, "live": 1, "writing": writing, "written_by": by},
            )

    def _record_files(self, alike: Sequence[NewDataset]) -> None:
        """Record the files of datasets; those that are recorded already one by one."""
        new_files: dict[str, tuple[StoredFile, int]] = {}
        others: dict[int, str] = {}
        for new in alike:
            file = new.file
            if file is not None and file.path not in self._files and file.path not in new_files:
                path, owned = file.path, file.owned
                key = path_hash(path, owned)
                new_files[path] = file, key
                # A file that is owned, or is not, has another key only if case makes a difference.
                if path.casefold() != path:
                    others[path_hash(path, not owned)] = path
        keys = [key for _, key in new_files.values()]
        there = self._there("file", "path_key", keys + list(others))
        if there:
            known = {others[key] for key in there if key in others}
            for path, (file, key) in list(new_files.items()):
                if key in there or path in known:
                    try:
                        self._file(file)
                    except PathTaken:
                        # Another dataset may have come before.
                        raise InTheWay from None
                    del new_files[path]
        start = self._last("file") + 1
        is_looked_into = any(file.checksum or file.layout for file, _ in new_files.values())
        values: list[Any] = []
        for number, (file, key) in enumerate(new_files.values(), start):
            self._files[file.path] = number
            values += (number, file.path, key, int(file.owned), file.size, file.modified)
            if is_looked_into:
                values.append(bytearray.fromhex(file.checksum) if file.checksum else None)
                values.append(packed(file.layout, self._word))
        columns = ["id", "path", "path_key", "owned", "size", "modified"]
        self._insert("file", [*columns, "checksum", "layout"] if is_looked_into else columns, values, {})

    def _last(self, table: str) -> int:
        number: int | None = self._run(f"SELECT max(id) FROM {table}").fetchone()[0]
        return number or 0

    def _insert(self, table: str, columns: Sequence[str], values: Sequence[Any], same: Mapping[str, int]) -> None:
        """Insert rows whose values follow each other, beside those that are the same in all of them."""
        count = len(values) // len(columns)
        if not count:
            return
        row = f"({', '.join(['?'] * len(columns) + [str(value) for value in same.values()])})"
        names = ", ".join((*columns, *same))
        statement = f"INSERT INTO {table} ({names}) VALUES {', '.join([row] * count)} ON CONFLICT DO NOTHING"
        try:
            done = self._connection.execute(statement, values).rowcount
        except OverflowError:
            raise InTheWay from None
        if done != count:
            raise InTheWay


def _groups(datasets: Sequence[NewDataset]) -> Iterator[list[NewDataset]]:
    """Return runs of datasets that can be recorded together, and what is between them."""
    group: list[NewDataset] = []
    for new in datasets:
        if group and not _together(group[0], new):
            yield group
            group = []
        group.append(new)
    if group:
        yield group


def _together(first: NewDataset, new: NewDataset) -> bool:
    return (
        new.type == first.type
        and new.written_by == first.written_by
        and (new.writing is first.writing or new.writing == first.writing)
        and (new.kinds is first.kinds or new.kinds == first.kinds)
        and not (new.file is None or new.replaces or new.part or new.pins or new.precursors)
        and new.live
    )
