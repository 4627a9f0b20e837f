"""Writers killed at every system call that changes or syncs a file, and what is there afterwards.

Run with ``python benchmarks/faults/crashpoints.py [--only WORDS ...] [--how kill power interrupt] [--every 1]
[--json FILE]``; all of it takes about ten minutes for each way. Each operation is run once to count its calls, then
once for each of them, and killed before that call. ``power`` cuts the power instead: what was not synced is lost, too.
``interrupt`` sends what Ctrl-C sends, after each call. Exit code 1 if any point did not recover.

Columns: calls of the operation; points at which it was stopped; after how many of them it was done (the rest: not);
acknowledged but lost; older data damaged; half visible; refused to open; could not be done again; leftovers that are
not found or not removed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tracer
from powercuts import Disk
from together import Table
from worlds import KINDS, OPERATIONS, Case, Faults, Operation, State, recovers, scratch


def prepared(case: Case, operation: Operation) -> Callable[[], Callable[[], None]]:
    """Return what `tracer.run` takes: the operation, its acknowledgement, and the end of the Butler."""

    def prepare() -> Callable[[], None]:
        butler = case.butler()

        def work() -> None:
            operation.work(case, butler)
            os.mkdir(case.place / "acknowledged")
            butler.close()

        return work

    return prepare


def acknowledged(case: Case) -> bool:
    """Tell whether the operation had returned, and forget it."""
    try:
        os.rmdir(case.place / "acknowledged")
    except FileNotFoundError:
        return False
    return True


def clean_run(case: Case, operation: Operation) -> tuple[tracer.Trace, State]:
    """Run an operation to its end; return its calls, and what can be seen then."""
    case.restore()
    trace = tracer.run(prepared(case, operation), within=[case.place])
    if trace.error is not None:
        raise SystemExit(f"{operation.name} fails by itself:\n{trace.error[2]}")
    acknowledged(case)
    return trace, case.seen()


def killed(
    case: Case,
    operation: Operation,
    after: State,
    numbers: range,
    faults: Faults,
    decide: Callable[[int], tracer.Decide],
) -> int:
    """Kill or interrupt an operation at each of some calls; return after how many it was done all the same."""
    done = 0
    for number in numbers:
        case.restore()
        trace = tracer.run(prepared(case, operation), within=[case.place], decide=decide(number))
        if len(trace.calls) < number:
            raise SystemExit(f"{operation.name} came to its end before call {number}")
        where = f"{operation.name}, at {number}: {trace.calls[number - 1]}".replace(str(case.place), "")
        if trace.error is not None and "KeyboardInterrupt" not in trace.error[0]:
            faults.add("refused", f"{where}: {trace.error[2][-800:]}")
        found = recovers(case, operation, after, faults, where, acknowledged=acknowledged(case))
        done += found == "after"
    return done


def cut(case: Case, operation: Operation, after: State, every: int, faults: Faults) -> tuple[int, int]:
    """Cut the power at each of some calls; return how often, and after how many the operation was done all the same."""
    case.restore()
    disk = Disk(case.place)
    trace = tracer.run(prepared(case, operation), within=[case.place], watch=disk.watch)
    assert trace.error is None, trace.error
    points = done = 0
    for number in range(0, len(disk.moments), every):
        call = trace.calls[number - 1] if number else "the beginning"
        for variant in disk.variants(number):
            disk.put_back(number, variant)
            where = f"{operation.name}, power cut after {number} ({variant}): {call}".replace(str(case.place), "")
            found = recovers(case, operation, after, faults, where, acknowledged=acknowledged(case))
            points += 1
            done += found == "after"
    disk.close()
    return points, done


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="operations with these words in their names")
    parser.add_argument("--every", type=int, default=1, help="stop at every n-th call only")
    parser.add_argument("--how", nargs="*", default=["kill"], choices=["kill", "power", "interrupt"])
    parser.add_argument("--json", type=Path, help="write the counts here, too")
    parser.add_argument("--folder", help="where to work; in memory if there is room, by default")
    given = parser.parse_args(arguments)
    problem = tracer.obstacle()
    if problem is not None:
        print(f"not run: {problem}")
        return 3
    chosen = [o for o in OPERATIONS.values() if not given.only or any(word in o.name for word in given.only)]
    table = Table(["calls", "points", "done", *KINDS], KINDS)
    rows: dict[str, dict[str, Any]] = {}
    told: list[str] = []
    began = time.perf_counter()
    with scratch(given.folder) as folder:
        case = Case(folder)
        for operation in chosen:
            trace, after = clean_run(case, operation)
            for how in given.how:
                faults = Faults()
                if how == "power":
                    points, done = cut(case, operation, after, given.every, faults)
                else:
                    numbers = range(1, len(trace.calls) + 1, given.every)
                    decide = tracer.kill_before if how == "kill" else tracer.interrupt_after
                    points, done = len(numbers), killed(case, operation, after, numbers, faults, decide)
                row = {"calls": len(trace.calls), "points": points, "done": done}
                row |= {kind: faults.counts.get(kind, 0) for kind in KINDS}
                name = operation.name if how == "kill" else f"{operation.name}: {how}"
                rows[name] = {**row, "threads": trace.threads}
                table.row(name, **row)
                told += faults.told
    print(f"{sum(row['points'] for row in rows.values())} points in {time.perf_counter() - began:.0f} s")
    for text in told[:40]:
        print("-", text)
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "faults": told}, indent=1))
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
