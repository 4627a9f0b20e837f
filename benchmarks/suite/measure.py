"""CPU and wall time of works that are done in turn; used on both sides of the pipe to other environments."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Batch = Callable[[int], Any]
"""Does a work so many times."""

Timer = Callable[[int], tuple[float, float]]
"""Does a work so many times and returns the CPU and wall seconds that it took."""


def often(work: Callable[[], Any]) -> Batch:
    """Return the batch that calls `work` again and again."""

    def batch(count: int) -> None:
        for _ in range(count):
            work()

    return batch


def clocked(batch: Batch) -> Timer:
    """Return the timer of a batch in this process; the CPU time is that of all its threads."""

    def timer(count: int) -> tuple[float, float]:
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        batch(count)
        return time.process_time() - cpu, time.perf_counter() - wall

    return timer


def started(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Timer:
    """Return the timer of a command that is started anew each time; the CPU time is that of its process."""

    def timer(count: int) -> tuple[float, float]:
        cpu = wall = 0.0
        for _ in range(count):
            at = time.perf_counter()
            process = subprocess.Popen(
                command,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            assert process.stderr is not None
            said = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall += time.perf_counter() - at
            process.stderr.close()
            if process.returncode:
                raise RuntimeError(f"{' '.join(command)} failed: {said.decode(errors='replace')[-2000:]}")
            cpu += used.ru_utime + used.ru_stime
        return cpu, wall

    return timer


@dataclass(frozen=True, slots=True)
class Times:
    """What one unit of a work took: medians over the rounds, in seconds.

    Attributes
    ----------
    low, high : float
        Quartiles of the CPU time.
    units : int
        How many units a round did.
    """

    cpu: float
    wall: float
    low: float
    high: float
    rounds: int
    units: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def summary(taken: Sequence[tuple[float, float]], units: int) -> Times:
    """Return the medians of rounds of (CPU, wall) seconds."""
    cpu = sorted(each[0] / units for each in taken)
    wall = statistics.median(each[1] / units for each in taken)
    return Times(statistics.median(cpu), wall, cpu[len(cpu) // 4], cpu[(3 * len(cpu)) // 4], len(cpu), units)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure.

    Attributes
    ----------
    rounds : int
        How often each work has its turn.
    span : float
        Seconds that a turn should take; what takes longer is done once. 0: everything is done once.
    most : int
        Units of a turn at most.
    """

    rounds: int = 11
    span: float = 0.1
    most: int = 2000

    def units(self, once: float) -> int:
        """Return how many units of a work that takes `once` seconds make a turn."""
        return max(1, min(self.most, int(self.span / max(once, 1e-7))))


def in_turn(timers: Mapping[str, Timer], pace: Pace) -> dict[str, Times]:
    """Measure works in rounds, each beginning with another of them; all are warm before."""
    units: dict[str, int] = {}
    for name, timer in timers.items():
        timer(1)
        units[name] = pace.units(timer(1)[1]) if pace.span else 1
        if units[name] > 10:
            # One call says little of works that take microseconds.
            units[name] = pace.units(timer(10)[1] / 10)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in timers}
    names = list(timers)
    for turn in range(pace.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(timers[name](units[name]))
    return {name: summary(taken[name], units[name]) for name in names}


def text_of(value: Any) -> bytes:
    """Return plain values as the bytes of a JSON file, the same for everybody."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
