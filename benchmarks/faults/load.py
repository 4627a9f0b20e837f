"""Many writers of one repository: nothing lost, no error that content does not explain, how long a put takes.

Run with ``python benchmarks/faults/load.py [--n 500] [--processes 8] [--bound 250] [--durability full] [--only ROW]``;
with the defaults it takes some minutes. Exit code 1 if anything was lost, unexplained, or slower than the bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from together import Processes, Table, in_threads, percentile

from bunter import Butler, DatasetExistsError, RepositoryArgs

POLICY = """
datasets:
  note: {python: dict, storage: Json, template: "notes/{visit:d}.json"}
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  image: {python: list, storage: Json, template: "images/{visit:d}-{ccd}.json"}
  exp: {composite: {image: image, info: info}}
"""

# What one put came to: name, data ID, content, seconds, None or the error as text, whether content explains it.
Outcome = tuple[str, dict[str, Any], Any, float, str | None, bool]


def put(butler: Butler, name: str, data_id: dict[str, Any], content: Any, *, may_differ: bool = False) -> Outcome:
    """Put and tell how it went."""
    began = time.perf_counter()
    error, explained = None, True
    try:
        butler.put(content, name, data_id)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
        explained = may_differ and type(raised) is DatasetExistsError
    return name, data_id, content, time.perf_counter() - began, error, explained


def distinct(index: int, gate: Any, root: str, count: int, durability: str) -> list[Outcome]:
    """Put datasets that nobody else puts."""
    with Butler(outputs=root, durability=durability) as butler:
        gate.wait()
        return [put(butler, "note", {"visit": index * count + i}, {"by": index, "n": i}) for i in range(count)]


def conflicts(index: int, gate: Any, root: str, count: int, durability: str) -> list[Outcome]:
    """Put what everybody puts: even visits with the same content, odd ones with one's own."""
    with Butler(outputs=root, durability=durability) as butler:
        gate.wait()
        outcomes = []
        for i in range(count):
            # Two neighbours are at the same visit at most times, others come later.
            visit = (i + index // 2 * 7) % count
            content = {"visit": visit, "by": index if visit % 2 else "all"}
            outcomes.append(put(butler, "note", {"visit": visit}, content, may_differ=bool(visit % 2)))
        return outcomes


def mixed(index: int, gate: Any, root: str, count: int, durability: str) -> list[Outcome]:
    """Put by itself, composites that share a visit info, transactions; define, alias, open and close between."""
    butler = Butler(outputs=root, durability=durability)
    gate.wait()
    outcomes: list[Outcome] = []
    for i in range(count):
        visit = 1_000_000 + i
        exposure = {"image": [index, i], "info": {"of": visit}}
        outcomes.append(put(butler, "exp", {"visit": visit, "ccd": f"c{index}"}, exposure))
        if i % 5 == 0:
            began = time.perf_counter()
            two = [({"visit": index * count + i}, {"by": index, "n": i}), ({"visit": -1 - index * count - i}, {})]
            error = None
            try:
                with butler.transaction():
                    for data_id, content in two:
                        butler.put(content, "note", data_id)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
            seconds = time.perf_counter() - began
            outcomes += [("note", data_id, content, seconds, error, error is None) for data_id, content in two]
        if i % 10 == 3:
            butler.close()
            butler = Butler(outputs=root, durability=durability)
        if i % 25 == 7:
            stage = f"s{index}x{i}"
            template = f"{stage}/{{visit:d}}.json"
            butler.define({"datasets": {f"note:{stage}": {"python": dict, "storage": "Json", "template": template}}})
            butler.alias(f"latest{index}", f"note:{stage}")
            outcomes.append(put(butler, f"latest{index}", {"visit": i}, {"stage": stage}))
            outcomes[-1] = (f"note:{stage}", *outcomes[-1][1:])
    butler.close()
    return outcomes


def check(root: str, outcomes: list[Outcome]) -> dict[str, int]:
    """Compare what was acknowledged with what reads back, and the files with the registry."""
    lost = unexplained = refused = 0
    winners: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    with Butler(root) as butler:
        for name, data_id, content, _, error, explained in outcomes:
            if error is not None:
                refused += 1
                if not explained:
                    unexplained += 1
                    print(f"    unexplained: {name} {data_id}: {error}", file=sys.stderr)
                continue
            winners[name, tuple(data_id.items())].append(content)
            try:
                found = butler.get(name, data_id)
            except Exception as raised:
                found = raised
            if found != content:
                lost += 1
                print(f"    lost: {name} {data_id}: {found!r}, not {content!r}", file=sys.stderr)
        recorded = {str(ref.uri) for type_ in ("note", "info", "image") for ref in butler.query(type_)}
    folders = [Path(root) / folder for folder in ("notes", "info", "images")]
    files = {str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()}
    return {
        "puts": len(outcomes),
        "refused": refused,
        "lost": lost,
        "unexplained": unexplained,
        "two winners": sum(any(other != found[0] for other in found[1:]) for found in winners.values()),
        "left files": len(files - recorded),
    }


ROWS = {"distinct": distinct, "conflicts": conflicts, "mixed": mixed, "threads": None, "latency": distinct}
WRITERS = 4
"""Processes whose latency is bounded."""


def threads_of_one(index: int, gate: Any, butler: Butler, count: int) -> list[Outcome]:
    """Put from many threads through one Butler: own visits, and every third time everybody's."""
    gate.wait()
    outcomes = []
    for i in range(count):
        data_id = {"visit": -i} if i % 3 == 0 else {"visit": 1 + index * count + i}
        outcomes.append(put(butler, "note", data_id, {"n": i}))
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500, help="puts of each writer")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--bound", type=float, default=250, help="milliseconds for the p99 of 4 writers x n/5 puts")
    parser.add_argument("--durability", choices=("full", "fast"), default="full")
    parser.add_argument("--only", choices=ROWS, nargs="+", default=list(ROWS))
    parser.add_argument("--folder", help="where to make the repositories; default: a temporary folder")
    options = parser.parse_args()
    wrong = ["lost", "unexplained", "two winners", "left files"]
    table = Table(["writers", "puts", "refused", *wrong, "p50 ms", "p99 ms", "max ms"], must_be_zero=wrong)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
        groups: dict[int, Processes] = {}
        for row in options.only:
            root = str(Path(folder) / row)
            work = ROWS[row]
            # Mixed work and threads have more to do for each.
            count = options.n if row in ("distinct", "conflicts") else max(1, options.n // 5)
            with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability=options.durability) as butler:
                if work is None:
                    answers = in_threads(options.processes, threads_of_one, butler, count)
            if work is not None:
                number = WRITERS if row == "latency" else options.processes
                if number not in groups:
                    groups[number] = stack.enter_context(Processes(number))
                answers = groups[number].run(work, root, count, options.durability)
            outcomes = [outcome for answer in answers for outcome in answer]
            slow = [1000 * outcome[3] for outcome in outcomes]
            p99 = percentile(slow, 0.99)
            counts = {name.replace(" ", "_"): value for name, value in check(root, outcomes).items()}
            table.row(row, writers=len(answers), **counts, p50_ms=percentile(slow, 0.5), p99_ms=p99, max_ms=max(slow))
            if row == "latency" and p99 > options.bound:
                print(f"p99 of {p99:.0f} ms is over the bound of {options.bound:.0f} ms")
                table.failed = True
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
