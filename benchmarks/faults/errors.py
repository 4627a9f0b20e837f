"""System calls that fail: a full disk, an exhausted quota, a broken disk, one that is read-only, a forbidden folder.

Run with ``python benchmarks/faults/errors.py [--only WORDS ...] [--errors NAMES ...] [--every 1] [--json FILE]``; all
of it takes about 25 minutes. Each operation is run once for each of its calls and each error that this call can give.
Exit code 1 if anything went wrong.

Columns: runs; in how many of them an error was raised; errors that are not Bunter's; calls that failed and of which
nothing was said although data were lost by it; and, after each run, those of crashpoints.py: an operation that raised
must not have happened. ``dead`` counts Butlers that could not do the same again once the trouble was over.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tracer
from crashpoints import clean_run
from together import Table
from tracer import NAME, SYNC, WRITE, Call
from worlds import KINDS, OPERATIONS, Case, Faults, Operation, State, recovers, scratch

_REMOVING = ("unlink", "unlinkat", "rmdir")
_OPENING = ("open", "openat", "creat", "mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat")


def _needs_room(call: Call) -> bool:
    return (call.kind == WRITE and call.name != "ftruncate") or call.name in _OPENING or call.kind == SYNC


# Error -> which calls can give it, and whether all that follow give it, too.
ERRORS: dict[str, tuple[Callable[[Call], bool], bool]] = {
    "ENOSPC": (_needs_room, True),
    "EDQUOT": (_needs_room, False),
    "EIO": (lambda call: call.kind in (WRITE, NAME, SYNC), False),
    "EROFS": (lambda call: call.kind in (WRITE, NAME), True),
    "EACCES": (lambda call: call.kind == NAME, False),
}

Said = tuple[tuple[str, ...], str] | None


def prepared(case: Case, operation: Operation, *, again: bool) -> Callable[[], Callable[[], tuple[Said, Said]]]:
    """Return what `tracer.run` takes: the operation, and if it fails the same once more when the trouble is over."""

    def attempt(work: Callable[[], Any]) -> Said:
        try:
            work()
        except Exception as error:
            return tuple(c.__name__ for c in type(error).__mro__), f"{error}"
        return None

    def prepare() -> Callable[[], tuple[Said, Said]]:
        butler = case.butler()

        def work() -> tuple[Said, Said]:
            first = attempt(lambda: operation.work(case, butler))
            os.mkdir(case.place / "over")
            os.rmdir(case.place / "over")
            then = None
            if again and first is not None:
                then = attempt(lambda: (operation.again or operation.work)(case, butler))
            return first, then

        return work

    return prepare


class Trouble:
    """Lets a call fail, until the operation is over; notes which calls did."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.error: int = getattr(errno, name)
        self.applies, self.lasts = ERRORS[name]
        self.failed: list[Call] = []
        self.grave = False
        self._over = False
        self._unsynced: set[str] = set()

    def __call__(self, call: Call) -> tracer.Fate | None:
        self._over = self._over or call.path.endswith("/over")
        in_vain = call.kind == SYNC and call.path.endswith("-wal") and call.path not in self._unsynced
        if call.kind == WRITE:
            self._unsynced.add(call.path)
        elif call.kind == SYNC:
            self._unsynced.discard(call.path)
        if self._over or not self.applies(call):
            return None
        if call.number == self.number or (self.lasts and call.number > self.number):
            self.failed.append(call)
            # A log that was synced already is synced once more when it is copied.
            self.grave = self.grave or (matters(call) and not in_vain)
            return tracer.Fate(error=self.error)
        return None


def failing(case: Case, operation: Operation, after: State, calls: list[Call], name: str, faults: Faults) -> Any:
    """Run an operation once for each of some calls, which fails; return how often, and how often it raised."""
    applies, _ = ERRORS[name]
    runs = raised = 0
    for planned in calls:
        if not applies(planned) or planned.path.endswith(("/over", "/acknowledged")):
            continue
        for again in (False, True):
            case.restore()
            trouble = Trouble(planned.number, name)
            trace = tracer.run(
                prepared(case, operation, again=again), within=[case.place], decide=trouble
            )  # fmt: skip
            where = f"{operation.name}, {name} at {planned.number}: {planned}".replace(str(case.place), "")
            if not trouble.failed:
                continue
            runs += 1
            if trace.result is None:
                faults.add("raw", f"{where}: {trace.error}")
                continue
            first, then = trace.result
            raised += first is not None
            if first is not None and ("BunterError" not in first[0] or not first[1].strip()):
                faults.add("raw", f"{where}: {first[0][0]}: {first[1]}")
            if first is None and trouble.grave:
                faults.add("silent", f"{where}: nothing was said")
            if then is not None:
                faults.add("dead", f"{where}: once more: {then[0][0]}: {then[1]}")
            done = first is None or again
            # An error may say that this is not known.
            undone = not done and first is not None and "is not known" not in first[1]
            recovers(case, operation, after, faults, where, acknowledged=done, error=undone, read_only=False)
    return runs, raised


def matters(call: Call) -> bool:
    """Tell whether data may be lost if a call that is about to be done fails."""
    # What is tidied up can be left. SQLite syncs the folder of its log with this call, after Bunter has done so.
    of_log = call.name == "fdatasync" and os.path.isdir(call.path)
    # What the log holds is copied into the registry's file at leisure: the log stays until that is done.
    copied = call.path.endswith("registry.sqlite") and os.path.exists(call.path + "-wal")
    return call.name not in _REMOVING and not call.path.endswith("-shm") and not of_log and not copied


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="operations with these words in their names")
    parser.add_argument("--errors", nargs="*", default=list(ERRORS), choices=list(ERRORS), help="which errors")
    parser.add_argument("--every", type=int, default=1, help="let every n-th call fail only")
    parser.add_argument("--json", type=Path, help="write the counts here, too")
    parser.add_argument("--folder", help="where to work; in memory if there is room, by default")
    given = parser.parse_args(arguments)
    problem = tracer.obstacle()
    if problem is not None:
        print(f"not run: {problem}")
        return 3
    chosen = [o for o in OPERATIONS.values() if not given.only or any(word in o.name for word in given.only)]
    kinds = ("raw", "silent", "dead", *KINDS)
    table = Table(["runs", "raised", *kinds], kinds)
    rows: dict[str, dict[str, Any]] = {}
    told: list[str] = []
    began = time.perf_counter()
    with scratch(given.folder) as folder:
        case = Case(folder)
        for operation in chosen:
            trace, after = clean_run(case, operation)
            for name in given.errors:
                faults = Faults()
                runs, raised = failing(case, operation, after, trace.calls[:: given.every], name, faults)
                row = {"runs": runs, "raised": raised} | {kind: faults.counts.get(kind, 0) for kind in kinds}
                rows[f"{operation.name}: {name}"] = row
                table.row(f"{operation.name[:16]}: {name}", **row)
                told += faults.told
    print(f"{sum(row['runs'] for row in rows.values())} runs in {time.perf_counter() - began:.0f} s")
    for text in told[:40]:
        print("-", text)
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "faults": told}, indent=1))
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
