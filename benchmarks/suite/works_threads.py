"""Many reads from threads of one Butler."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

from bench import Row, row
from measure import Pace, Timer
from works_fits import planes_read, sizes
from worlds import small_world
from worlds_fits import ID, exposure_world


def in_threads(work: Callable[[Any], Any], tasks: list[Any], threads: int) -> Timer:
    """Return the timer of tasks that are shared by threads, which are there before."""

    def some(chunk: list[Any]) -> None:
        for task in chunk:
            work(task)

    def timer(count: int) -> tuple[float, float]:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: time.sleep(0.01), range(threads)))
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(count):
                list(pool.map(some, [tasks[start::threads] for start in range(threads)]))
            return time.process_time() - cpu, time.perf_counter() - wall

    return timer


@row("threads-small", "1,000 small gets from 8 threads of one Butler")
def threads_small(row: Row) -> None:
    world = row.run.world(small_world)
    ids = cycle(world.ids)
    tasks = [next(ids) for _ in range(1000)]

    def ours(task: tuple[int, int]) -> None:
        world.butler.get("summary", visit=task[0], ccd=task[1])

    row.by, row.sizes = "wall", "1,000 gets; the same in one thread"
    row.compare({"bunter": in_threads(ours, tasks, 8), "bunter, one thread": in_threads(ours, tasks, 1)})
    row.at_most("8 threads / one", row.chosen("bunter") / row.chosen("bunter, one thread"), 2, "x")
    row.notes.append("the threads are new in every turn: each opens its own connection at its first get")


@row("threads-large", "8 whole exposures read by 4 threads of one Butler")
def threads_large(row: Row) -> None:
    world = row.run.world(exposure_world)

    def ours(_: int) -> None:
        world.butler.get("calexp:sfm", ID)

    planes = planes_read(world)

    def floor(_: int) -> None:
        planes()

    tasks = list(range(8))
    row.by, row.sizes = "wall", sizes(world)
    row.compare(
        {
            "bunter": in_threads(ours, tasks, 4),
            "bunter, one thread": in_threads(ours, tasks, 1),
            "floor": in_threads(floor, tasks, 4),
            "floor, one thread": in_threads(floor, tasks, 1),
        },
        Pace(rounds=row.run.pace.rounds // 2 + 1, span=0.0),
    )
    row.at_least("one thread / 4 threads", row.chosen("bunter, one thread") / row.chosen("bunter"), 1.5)
    gain = row.chosen("floor, one thread") / row.chosen("floor")
    row.notes.append(f"this needs two free cores: the floor, without a line of Bunter, gained {gain:.2f}x")
