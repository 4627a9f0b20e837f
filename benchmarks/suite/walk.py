"""The walk of one warm call: how many of Bunter's functions it passes, and what it asks the registry."""

from __future__ import annotations

import gc
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any


def walk(work: Callable[[], Any]) -> dict[str, Any]:
    """Return functions, calls, SELECTs, commits and the names of the functions of one call."""
    calls: Counter[str] = Counter()
    statements: list[str] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and "/bunter/" in name:
            calls[f"{name.rpartition('/bunter/')[2]}:{frame.f_code.co_qualname}"] += 1

    connections = [each for each in gc.get_objects() if isinstance(each, sqlite3.Connection) and _is_open(each)]
    for connection in connections:
        connection.set_trace_callback(statements.append)
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        for connection in connections:
            connection.set_trace_callback(None)
    return {
        "functions": len(calls),
        "calls": sum(calls.values()),
        "selects": sum(statement.startswith("SELECT") for statement in statements),
        "commits": _written(statements),
        "statements": len(statements),
        "names": list(calls),
    }


def _written(statements: list[str]) -> int:
    """Count the transactions that wrote; reads may have one, too, to see one state."""
    count = 0
    writing = False
    for statement in statements:
        if statement.startswith("BEGIN"):
            writing = "IMMEDIATE" in statement or "EXCLUSIVE" in statement
        count += writing and statement.startswith("COMMIT")
    return count


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        # Closed, or another thread's.
        return False
    return True
