"""Where the CPU time of a work goes."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable
from typing import Any

_OURS = "/bunter/"


def costs(work: Callable[[], Any], span: float = 1.0, most: int = 3) -> list[str]:
    """Return which of Bunter's functions take most of a work's CPU time, with the libraries that they call.

    A profiler makes all that is Python slower, and builtins not: the shares are a guide, not a measurement.
    """
    profile = cProfile.Profile(time.process_time)
    work()
    started = time.perf_counter()
    work()
    repeats = max(1, min(2000, int(span / (time.perf_counter() - started))))
    profile.enable()
    for _ in range(repeats):
        work()
    profile.disable()
    stats = pstats.Stats(profile)
    total = stats.total_tt or 1.0  # type: ignore[attr-defined]
    table: dict[Any, Any] = stats.stats  # type: ignore[attr-defined]
    spent: dict[Any, float] = {}
    calls: dict[Any, tuple[float, str]] = {}
    for function, (_, _, own, _, callers) in table.items():
        if _OURS in function[0]:
            spent[function] = spent.get(function, 0.0) + own
            continue
        for caller, (*_, inside) in callers.items():
            if _OURS in caller[0]:
                spent[caller] = spent.get(caller, 0.0) + inside
                calls[caller] = max(calls.get(caller, (0.0, "")), (inside, _plain(function)))
    worst = sorted(spent.items(), key=lambda item: -item[1])[:most]
    return [
        f"{taken / total:4.0%} {_plain(function)}"
        + (f", {calls[function][0] / total:.0%} in {calls[function][1]}" if function in calls else "")
        for function, taken in worst
    ]


def _plain(function: tuple[str, int, str]) -> str:
    file, line, name = function
    for mark in (_OURS, "/site-packages/"):
        if mark in file:
            return f"{file.rpartition(mark)[2]}:{line} {name}"
    return name.strip("<>").removeprefix("built-in method ").removeprefix("method ").replace("'", "")
