"""What is synced, and in which order, before a put returns, told from the system calls of one.

Run with ``python benchmarks/faults/syncs.py [--only WORDS ...] [--durability full] [--all]``; it takes some seconds.
By default a put of a composite is listed, with ``durability="full"`` and with ``"fast"``; ``--only`` lists other
operations. Exit code 1 if an order is wrong with ``"full"``.

What must be so for each file that is new in the registry: all of it is written, then synced, then it gets its name,
then its folder is synced, and the folders above it that are new are synced into theirs; then the registry's log is
written and synced; then the put returns.
"""

from __future__ import annotations

import argparse
import os
import sys

import tracer
from crashpoints import prepared
from tracer import ALL, NAME, SYNC, WRITE, Call
from worlds import OPERATIONS, Case, Operation, scratch, stored

_NAMING = ("link", "linkat", "rename", "renameat", "renameat2", "symlink", "symlinkat")
_RETURNED = "acknowledged"


def traced(case: Case, operation: Operation) -> list[Call]:
    """Return the calls of an operation, from its beginning until it returned."""
    case.restore()
    trace = tracer.run(prepared(case, operation), within=[case.place], kinds=ALL)
    assert trace.error is None, trace.error
    names = [os.path.basename(call.path) for call in trace.calls]
    return trace.calls[: names.index(_RETURNED)]


def problems(case: Case, calls: list[Call], before: set[str]) -> list[str]:
    """Return what is wrong with the order of calls.

    Parameters
    ----------
    before : set of str
        The absolute paths of the files that registries knew before.
    """
    found = []
    new = [
        str(root / path)
        for root in case.roots()
        for path, owned in stored(root).items()
        if owned and str(root / path) not in before
    ]
    for path in new:
        found += [f"{os.path.relpath(path, case.place)}: {text}" for text in _of_file(calls, path)]
    return found


def _of_file(calls: list[Call], path: str) -> list[str]:
    named = [call for call in calls if call.name in _NAMING and call.path == path and call.result == 0]
    if not named:
        return ["it got its name by none of the calls"]
    name = named[-1]
    source = name.paths[0]
    # A draft that is a link to a file of the user's, or that was renamed, goes by the name that it had before.
    names = {source}
    for call in reversed(calls[: name.number]):
        if call.name in _NAMING and call.path in names and len(call.paths) == 2:
            names.add(call.paths[0])
    symbolic = os.path.islink(path)
    writes = [c.number for c in calls if c.kind == WRITE and c.path in names and (c.result or 0) >= 0]
    syncs = [c.number for c in calls if c.kind == SYNC and c.path in names and c.result == 0]
    log = f"{_root_of(path)}/registry.sqlite-wal"
    commits = [c.number for c in calls if c.kind == SYNC and c.path == log and c.result == 0]
    if not commits:
        return ["the registry's log was not synced"]
    logged = [c.number for c in calls if c.kind == WRITE and c.path == log]
    commit, last_log = commits[-1], logged[-1]
    first_log = min(number for number in logged if number > name.number) if logged[-1] > name.number else 0
    wrong = []
    if not symbolic and (not syncs or (writes and max(syncs) < max(writes))):
        wrong.append("its content was not synced after the last write")
    elif not symbolic and not any(number < name.number for number in syncs):
        wrong.append("it was synced only after it got its name")
    if not first_log:
        wrong.append("it got its name only after the registry's log was written")
    if not _synced(calls, os.path.dirname(path), name.number, first_log):
        wrong.append("its folder was not synced between its name and the registry's log")
    for call in calls:
        new = call.name in ("mkdir", "mkdirat") and path.startswith(call.path + os.sep) and call.result == 0
        if new and not _synced(calls, os.path.dirname(call.path), call.number, first_log):
            wrong.append(f"the folder above {call.path}, which is new, was not synced before the registry's log")
    if commit < last_log:
        wrong.append("the registry's log was not synced after the last write to it")
    return wrong


def _root_of(path: str) -> str:
    folder = os.path.dirname(path)
    while not os.path.exists(os.path.join(folder, "bunter.yaml")):
        folder = os.path.dirname(folder)
    return folder


def _synced(calls: list[Call], folder: str, after: int, before: int) -> bool:
    return any(c.kind == SYNC and c.path == folder and c.result == 0 and after < c.number < before for c in calls)


def listed(case: Case, calls: list[Call], *, everything: bool) -> list[str]:
    """Return the calls as lines; runs of writes to one file as one line."""
    lines: list[str] = []
    run: tuple[str, int] | None = None
    for call in calls:
        if call.kind not in (WRITE, NAME, SYNC) and not everything:
            continue
        place = os.path.relpath(call.path, case.place)
        if call.kind == WRITE:
            count = run[1] + 1 if run is not None and run[0] == call.path else 1
            if count > 1:
                lines.pop()
            run = call.path, count
            lines.append(f"write   {place}" + (f"  ({count} times)" if count > 1 else ""))
            continue
        run = None
        what = {SYNC: "SYNC"}.get(call.kind, call.name.removesuffix("at"))
        source = f"  <- {os.path.basename(call.paths[0])}" if len(call.paths) == 2 else ""
        lines.append(f"{what:<7} {place}{source}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["put, composite"], help="operations with these words in names")
    parser.add_argument("--durability", nargs="*", default=["full", "fast"], choices=["full", "fast"])
    parser.add_argument("--all", action="store_true", help="locks and files opened for writing, too")
    parser.add_argument("--folder", help="where to work; in memory if there is room, by default")
    given = parser.parse_args(arguments)
    problem = tracer.obstacle()
    if problem is not None:
        print(f"not run: {problem}")
        return 3
    failed = False
    for durability in given.durability:
        with scratch(given.folder) as folder:
            case = Case(folder, durability)
            for operation in OPERATIONS.values():
                if not any(word in operation.name for word in given.only):
                    continue
                case.restore()
                before = {str(root / path) for root in case.roots() for path in stored(root)}
                calls = traced(case, operation)
                print(f"== {operation.name}, durability={durability!r}")
                for line in listed(case, calls, everything=given.all):
                    print("  ", line)
                wrong = problems(case, calls, before) if durability == "full" else []
                syncs = sum(call.kind == SYNC for call in calls)
                print(f"   returns: {len(calls)} calls, {syncs} of them syncs; order: {wrong or 'as it must be'}")
                failed = failed or bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
