"""Warm gets beside raw reads of the same bytes, and the walk of one get.

Run with ``make bench`` or ``python benchmarks/gets.py [--json FILE]``. All rows are measured in one run, in turn;
quote ratios and medians, never single absolute times.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bunter import Butler, RepositoryArgs

POLICY = """
datasets:
  summary: {python: dict, storage: Json, template: "summary/{visit:d}.json"}
  calib: {python: dict, storage: Json, template: "calib/{visit:d}-{ccd}.json"}
  pair: {composite: {summary: summary, calib: calib}}
"""


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return (CPU, wall) seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats


def interleaved(
    rows: dict[str, Callable[[], Any]], rounds: int = 15, repeats: int = 200
) -> dict[str, tuple[float, float]]:
    """Return the medians of (CPU, wall) for each row, measured in turn."""
    for work in rows.values():
        work()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, work in rows.items():
            taken[name].append(timed(work, repeats))
    return {
        name: (statistics.median(c for c, _ in times), statistics.median(w for _, w in times))
        for name, times in taken.items()
    }


def walk(work: Callable[[], Any], database: str) -> dict[str, Any]:
    """Count our functions and the statements of one warm call."""
    calls: Counter[str] = Counter()
    statements: list[str] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and "/bunter/" in name:
            calls[f"{name.rpartition('/bunter/')[2]}:{frame.f_code.co_qualname}"] += 1

    connections = [o for o in _objects(sqlite3.Connection) if _is_open(o) and _database_of(o) == database]
    for connection in connections:
        connection.set_trace_callback(statements.append)
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        for connection in connections:
            connection.set_trace_callback(None)
    selects = [s for s in statements if s.startswith("SELECT")]
    return {
        "functions": len(calls),
        "calls": sum(calls.values()),
        "selects": len(selects),
        "statements": len(statements),
    }


def _objects(kind: type) -> list[Any]:
    import gc

    return [o for o in gc.get_objects() if isinstance(o, kind)]


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def _database_of(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = str(Path(folder).resolve() / "repository")
        butler = Butler(outputs=RepositoryArgs(root, policy=POLICY))
        with butler.transaction():
            for visit in range(200):
                butler.put(
                    {"summary": {"seeing": 0.9, "visit": visit}, "calib": {"zero": 25.0}}, "pair", visit=visit, ccd="N3"
                )
        path = butler.uri("summary", visit=7)

        def raw() -> Any:
            with open(path, "rb") as file:
                return json.loads(file.read())

        rows: dict[str, Callable[[], Any]] = {
            "raw read + json.loads": raw,
            "get('summary')": lambda: butler.get("summary", visit=7),
            "get('pair.calib')": lambda: butler.get("pair.calib", visit=7, ccd="N3"),
            "get('pair')": lambda: butler.get("pair", visit=7, ccd="N3"),
        }
        found = interleaved(rows)
        database = str(Path(root) / "registry.sqlite")
        walks = {name: walk(work, database) for name, work in rows.items() if name.startswith("get")}
    floor = found["raw read + json.loads"][0]
    print(f"{'work':28}{'CPU us':>9}{'wall us':>9}{'x floor':>9}   functions / calls / SELECTs")
    for name, (cpu, wall) in found.items():
        counts = walks.get(name)
        shown = f"{counts['functions']} / {counts['calls']} / {counts['selects']}" if counts else ""
        print(f"{name:28}{cpu * 1e6:9.1f}{wall * 1e6:9.1f}{cpu / floor:9.1f}   {shown}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"times": found, "walks": walks}, indent=1))


if __name__ == "__main__":
    main()
