"""Purging: what is in the trash goes for good, and the files that nobody needs any more."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from .context import Context
from .errors import ParameterError, RepositoryError
from .files.removing import Removal
from .locate import Found
from .names import DatasetName
from .refs import DatasetRef
from .registry.interface import Record
from .repository import Repository
from .tracing import pins_now
from .trash import Trashed, Wanted, in_trash, trashed
from .values import dataclass
from .words import listing, shown

if TYPE_CHECKING:
    from .session import Session

_BATCH = 500
"""Datasets that are forgotten in one transaction of the registry."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Kept:
    """A dataset that a purge left in the trash.

    Attributes
    ----------
    dataset : Trashed
        What was kept.
    pinned_by : tuple of DatasetRef
        The composites that are made of it.
    """

    dataset: Trashed
    pinned_by: tuple[DatasetRef, ...]

    def __str__(self) -> str:
        return f"{self.dataset.name} {self.dataset.data_id} is part of {listing(map(_named, self.pinned_by))}"


@dataclass(frozen=True)
class Purged:
    """What a purge did, or with `dry_run` would do.

    Attributes
    ----------
    datasets : int
        How many are forgotten.
    files : int
        How many files are gone.
    bytes : int
        How much room that made.
    kept : tuple of Kept
        What stays in the trash, since composites are made of it.
    dry_run : bool
        Whether all of that is only what would happen.
    """

    datasets: int
    files: int
    bytes: int
    kept: tuple[Kept, ...] = ()
    dry_run: bool = False


def _named(ref: DatasetRef) -> str:
    in_trash = ref._found is not None and not ref._found.record.live
    return f"{ref.name} {ref.data_id}{' (in the trash)' if in_trash else ''}"


def seconds_of(older_than: timedelta | float | str) -> float:
    """Return a length of time in seconds.

    Raises
    ------
    ParameterError
        If it is none.

    Examples
    --------
    >>> seconds_of("30d") == seconds_of(timedelta(days=30)) == seconds_of(2592000)
    True
    """
    seconds = math.nan
    if isinstance(older_than, timedelta):
        seconds = older_than.total_seconds()
    elif isinstance(older_than, int | float) and not isinstance(older_than, bool):
        seconds = float(older_than) if abs(older_than) < 1e15 else math.nan
    elif isinstance(older_than, str):
        match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])\s*", older_than)
        if match:
            seconds = float(match[1]) * _UNITS[match[2]]
    if not 0 <= seconds < 1e15:
        raise ParameterError(
            f"older_than={shown(older_than)}: a timedelta, a number of seconds, or a text such as '30d' (s, m, h, d, w)"
        )
    return seconds


def purge(
    session: Session, context: Context, asked: Wanted, older_than: float | None, *, force: bool, dry_run: bool
) -> Purged:
    """Forget what is in the trash of the output, and remove the files that nobody needs any more."""
    output = context.need_output()
    if context.chain.order[0] is not output:
        raise RepositoryError(
            "what is purged cannot be undone: purge before or after the transaction, not inside it; nothing was purged"
        )
    before = None if older_than is None else max(time.time_ns() // 1000 - int(older_than * 1e6), 1)
    going, kept = _decided(output, list(in_trash(context, output, asked, before)), force=force)
    if dry_run:
        datasets, (files, freed) = len(going), _freed(output, going)
    else:
        datasets, files, freed = 0, 0, 0
        for start in range(0, len(going), _BATCH):
            batch = _purged(output, going[start : start + _BATCH], kept, force=force)
            datasets, files, freed = datasets + batch[0], files + batch[1], freed + batch[2]
    shown_kept = tuple(
        Kept(trashed(session, output, record), tuple(_ref(session, context, Found(output, h)) for h in holders))
        for record, holders in kept
    )
    return Purged(datasets, files, freed, shown_kept, dry_run)


def _ref(session: Session, context: Context, found: Found) -> DatasetRef:
    record = found.record
    return DatasetRef(session, DatasetName.parse(record.type), record.data_id, found, pins_now(context, found))


_Kept = list[tuple[Record, list[Record]]]


def _decided(output: Repository, records: Sequence[Record], *, force: bool) -> tuple[list[Record], _Kept]:
    """Return what can go, composites before what they are made of, and what others need."""
    going: dict[tuple[str, UUID, str], Record] = {}
    kept: _Kept = []
    waiting = sorted(records, key=lambda record: record.file is not None)
    while waiting:
        needed: _Kept = []
        before = len(going)
        for record in waiting:
            holders = [] if force else output.registry.pinning(record)
            holders = [holder for holder in holders if (holder.type, holder.uuid, holder.part) not in going]
            if not holders:
                going[record.type, record.uuid, record.part] = record
            elif any(holder.live for holder in holders):
                kept.append((record, holders))
            else:
                needed.append((record, holders))
        if len(going) == before:
            kept += needed
            break
        # What only others of the trash need may go after these.
        waiting = [record for record, _ in needed]
    return list(going.values()), kept


def _purged(output: Repository, records: Sequence[Record], kept: _Kept, *, force: bool) -> tuple[int, int, int]:
    """Forget some datasets and remove their files; return how many, and the bytes.

    Killed at any moment this leaves all as it was, or files that `bunter verify --repair` knows for leftovers.
    """
    removals: dict[str, Removal] = {}
    in_doubt = False
    try:
        for record in records:
            if record.file is not None and record.file.owned and record.file.path not in removals:
                removals[record.file.path] = Removal(output.files, record.file.path)
        output.files.sync()
        try:
            done = output.registry.purge(records, force=force)
        except BaseException:
            in_doubt = output.registry.in_doubt()
            raise
    except BaseException:
        # If it is not known whether they are forgotten, `bunter verify --repair` looks, and needs both names.
        for removal in removals.values() if not in_doubt else ():
            removal.keep()
        raise
    kept += done.kept
    gone = [removals.pop(file.path) for file in done.files]
    for removal in removals.values():
        removal.keep()
    for removal in gone:
        removal.remove()
    output.files.sync()
    for removal in gone:
        removal.end()
    return len(done.records), sum(removal.removed for removal in gone), sum(removal.size for removal in gone)


def _freed(output: Repository, going: Sequence[Record]) -> tuple[int, int]:
    """Return how many files would go, and how much room that would make."""
    keys = {(record.type, record.uuid, record.part) for record in going}
    sizes: dict[str, int | None] = {}
    for record in going:
        file = record.file
        if file is None or not file.owned or file.path in sizes:
            continue
        users = output.registry.datasets_of_file(file.path)
        if all((user.type, user.uuid, user.part) in keys for user in users):
            sizes[file.path] = Removal.size_of(output.files, file.path)
    there = [size for size in sizes.values() if size is not None]
    return len(there), sum(there)
