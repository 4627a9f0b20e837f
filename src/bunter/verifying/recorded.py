"""The files that a registry names: whether they are there, as they were recorded, and hold what they held."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from .. import formats
from ..errors import BunterError
from ..files.interface import StoredFile
from ..formats.interface import Format, Piece, Range
from ..registry.auditing import FileRow
from ..registry.database import UNSOUND
from ..registry.interface import Changes, Record
from .contents import Looker, Seen
from .examined import Examined
from .report import Report, Severity

Progress = Callable[[int, int], object]

_LOOKED_AT = 100
"""Files of which one thread looks at the sizes in one go."""
_READ = 1 << 24
"""Bytes that one thread reads in one go, if files are small."""
_FILLED = 500
"""Checksums that are recorded together."""
_TRIES = 5


@dataclass(slots=True)
class _Task:
    """Files for one thread: (recorded, read, ranges to hash)."""

    files: list[tuple[FileRow, bool, list[Range]]]
    bytes: int = 0


class _Sample:
    """Chooses some of many at random, knowing how many there are.

    Parameters
    ----------
    wanted : int
        How many are wanted.
    total : int
        Of how many.
    """

    def __init__(self, wanted: int, total: int) -> None:
        self._wanted = min(wanted, total)
        self._left = total

    def next(self) -> bool:
        """Tell whether the next one is chosen."""
        chosen = random.random() * max(self._left, 1) < self._wanted
        self._left -= 1
        self._wanted -= chosen
        return chosen


class RecordedFiles:
    """Checks the recorded files of one repository.

    Parameters
    ----------
    examined : Examined
        Whose files.
    report : Report
        Takes what is found.
    repair : bool
        Record checksums that are lacking, of files that are read.
    """

    def __init__(self, examined: Examined, report: Report, *, repair: bool) -> None:
        self._examined = examined
        self._audit = examined.audit
        self._report = report
        self._repair = repair
        self._looker = Looker(examined)
        self._filled: list[tuple[FileRow, StoredFile]] = []

    def check(self, *, total: int, read: int, workers: int, progress: Progress | None) -> None:
        """Look at all files, and read as many as `read`, chosen at random."""
        waiting: deque[Future[tuple[_Task, list[Seen]]]] = deque()
        done = 0
        pool = ThreadPoolExecutor(workers, thread_name_prefix="bunter verify")
        try:
            for task in self._tasks(_Sample(read, total)):
                waiting.append(pool.submit(self._done, task))
                if len(waiting) > 2 * workers:
                    done += self._taken(*waiting.popleft().result())
                    if progress is not None:
                        progress(done, max(total, done))
            while waiting:
                done += self._taken(*waiting.popleft().result())
                if progress is not None:
                    progress(done, max(total, done))
        finally:
            pool.shutdown(cancel_futures=True)
        self._record_checksums()
        self._report.counts["files"] = done

    def _tasks(self, sample: _Sample) -> Iterator[_Task]:
        task = _Task([])
        for portion in self._audit.files():
            for row in portion:
                read = sample.next()
                if isinstance(row, str):
                    self._report.add("registry damaged", "error", f"{row}. Restore the registry from a copy")
                    continue
                task.files.append((row, read, self._ranges(row) if read else []))
                task.bytes += row.file.size if read else 0
                if len(task.files) >= _LOOKED_AT or task.bytes >= _READ:
                    yield task
                    task = _Task([])
        if task.files:
            yield task

    def _done(self, task: _Task) -> tuple[_Task, list[Seen]]:
        return task, [self._looker.look(row.file, read=read, ranges=ranges) for row, read, ranges in task.files]

    def _taken(self, task: _Task, all_seen: list[Seen]) -> int:
        for (row, read, _), seen in zip(task.files, all_seen, strict=True):
            if seen.kind or seen.touched or seen.outside or seen.read >= 0 or row.file.checksum is None:
                self._judge(row, seen, read)
        return len(task.files)

    def _judge(self, row: FileRow, seen: Seen, read: bool) -> None:
        """Take what a thread saw; what looks wrong is compared with what is recorded by now."""
        counts = self._report.counts
        for _ in range(_TRIES):
            if not seen.kind:
                break
            now = self._audit.file(row.id)
            if now is None:
                # It was purged meanwhile.
                return
            if now == row:
                self._wrong(row, seen)
                return
            row = now
            seen = self._looker.look(row.file, read=read, ranges=self._ranges(row) if read else ())
        if seen.outside:
            counts["outside"] += 1
            self._report.add(
                "outside and not trusted",
                "warning",
                "it is outside of the repository, and you did not say that its folder may be read, so it was not "
                f"looked at: verify with trust_paths=[{os.path.dirname(row.file.path)!r}], if it may",
                path=row.file.path,
            )
            return
        if seen.read >= 0:
            counts["files_read"] += 1
            counts["bytes_read"] += seen.read
        elif seen.touched:
            self._report.add(
                "changed since ingest",
                "note",
                "it was written to since it was ingested; read it to know whether it holds the same",
                path=row.file.path,
                record=self._owner(row),
            )
        if row.file.checksum is None:
            self._without_checksum(row, seen)

    def _wrong(self, row: FileRow, seen: Seen) -> None:
        self._report.counts["bytes_read"] += max(seen.read, 0)
        self._report.counts["files_read"] += seen.read >= 0
        try:
            owners = self._audit.owners(row.id)
        except BunterError as error:
            self._report.add("registry damaged", "error", f"{error}", path=row.file.path)
            owners = []
        severity: Severity = "error"
        notes = []
        if seen.kind == "changed since ingest" and not seen.apart:
            # A copy of a repository has new times, and is as good; a get reads it, too.
            severity = "warning"
        if owners and not owners[0].live:
            notes.append("its dataset is in the trash")
            if not row.file.owned:
                severity = "note"
        if len(owners) > 1:
            notes.append(f"{len(owners)} datasets share the file")
        if seen.kind == "contents differ" and owners:
            notes += self._where(row, owners[0])
        message = seen.message + "".join(f" ({note})" for note in notes)
        self._report.add(
            seen.kind, severity, message, path=row.file.path, record=owners[0] if owners else None
        )  # fmt: skip

    def _where(self, row: FileRow, owner: Record) -> list[str]:
        differing = self._looker.differing(row.file, self._pieces(row, owner))
        return [f"what differs: {', '.join(differing[:20])}"] if differing else []

    # Checksums

    def _without_checksum(self, row: FileRow, seen: Seen) -> None:
        self._report.counts["without_checksum"] += 1
        if seen.checksum is None or not row.current:
            return
        if row.file.modified is None:
            self._no_checksum(row, "its time was not recorded, so that nobody knows whether it is what it was")
        elif not self._repair:
            self._no_checksum(row, "repair=True records the one that it has now")
        else:
            layout = row.file.layout
            owner = self._owner(row) if seen.pieces else None
            format_ = None if owner is None else _format_of(owner)
            if format_ is not None:
                layout = format_.checked(layout, seen.pieces)
            self._filled.append((row, replace(row.file, checksum=seen.checksum, layout=layout)))
            if len(self._filled) >= _FILLED:
                self._record_checksums()

    def _no_checksum(self, row: FileRow, what: str, repaired: bool = False) -> None:
        self._report.add(
            "no checksum", "note", what, path=row.file.path, record=self._owner(row), repaired=repaired
        )  # fmt: skip

    def _record_checksums(self) -> None:
        filled, self._filled = self._filled, []
        if not filled:
            return
        try:
            self._examined.registry.apply([Changes(checked=[file for _, file in filled])])
        except BunterError as error:
            self._report.add("not repaired", "error", f"{len(filled)} checksums were not recorded: {error}")
            return
        for row, file in filled:
            now = self._audit.file(row.id)
            if now is not None and now.file.checksum == file.checksum:
                self._report.counts["without_checksum"] -= 1
                self._no_checksum(row, "it had none; the one that it has now is recorded", repaired=True)

    def _ranges(self, row: FileRow) -> list[Range]:
        """Return what of a file is to get checksums of its own."""
        if row.file.checksum is not None or not self._repair or not row.file.layout:
            return []
        owner = self._owner(row)
        return [] if owner is None else [piece.range for piece in self._pieces(row, owner)]

    def _pieces(self, row: FileRow, owner: Record) -> Sequence[Piece]:
        """Return the pieces of a file that have, or could have, checksums of their own."""
        format_ = _format_of(owner)
        try:
            pieces = [] if format_ is None else format_.pieces(row.file.layout)
            if all(
                type(at) is int and 0 <= at <= row.file.size
                for piece in pieces
                for at in (piece.range.offset, piece.range.length)
            ):
                return pieces
        except UNSOUND:
            pass
        self._report.add(
            "registry damaged",
            "error",
            "what is recorded of the inside of the file makes no sense. Restore the registry from a copy",
            path=row.file.path,
            record=owner,
        )
        return []

    def _owner(self, row: FileRow) -> Record | None:
        owners = self._audit.owners(row.id)
        return owners[0] if owners else None


def _format_of(record: Record) -> Format | None:
    """Return the format of a dataset's file, None if it is not installed."""
    if record.writing is None:
        return None
    try:
        return formats.find(record.writing.storage)
    except BunterError:
        # That nobody here can read the dataset is no fault of the repository.
        return None
