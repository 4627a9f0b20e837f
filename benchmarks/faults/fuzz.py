"""Names, data IDs, templates, expressions and policies that nobody should send: only Bunter's own errors, in time.

Run with ``python benchmarks/faults/fuzz.py [--n 100000] [--policies 10000] [--seed 1] [--seconds-each 1] [--jobs 2]``;
``--case KIND NUMBER`` runs one case again and shows its traceback. Every batch of cases runs in a process of its own,
whose memory is limited and which is killed when a case hangs (a minute); seconds are those of the processor; every case
is made of the seed and its number alone. What is opened, made or run outside of the scratch folder is noticed by an
audit hook.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

_BATCH = 2500
_MEMORY = 1 << 30
_PATIENCE = 60
_spawn = multiprocessing.get_context("spawn")


@dataclass
class Found:
    """What came of some cases of one kind."""

    cases: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    memory: int = 0
    surprises: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take in what came of others."""
        self.cases += other.cases
        self.accepted += other.accepted
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)
        self.memory = max(self.memory, other.memory)
        self.surprises += other.surprises


def peak() -> int:
    """Return the most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _worker(kind: str, numbers: range, seed: int, limit: float, now: Any, since: Any, answer: Any) -> None:
    import fuzz_checks

    from bunter import BunterError

    found = Found()
    with tempfile.TemporaryDirectory(prefix="bunter-fuzz-") as folder:
        world = fuzz_checks.World(folder)
        os.environ["BUNTER_CONFIG"] = folder
        os.chdir(world.policies)
        watch = fuzz_checks.Watch(world.folder)
        check = fuzz_checks.CHECKS[kind]
        before = peak()
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, size + _MEMORY))

        def once(number: int) -> tuple[str, str | None]:
            watch.seen.clear()
            watch.on = True
            try:
                check(world, Random(f"{seed} {kind} {number}"))
                ended, wrong = "", None
            except BunterError as error:
                ended, wrong = type(error).__name__, None
                if len(str(error)) > 1_000_000:
                    wrong = f"a message of {len(str(error))} characters"
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                ended, wrong = (
                    type(error).__name__,
                    f"{type(error).__name__}: {str(error)[:300]!r} ({os.path.basename(last.filename)}:{last.lineno})",
                )
            finally:
                watch.on = False
            return ended, watch.seen[0] if watch.seen else wrong

        for number in numbers:
            now.value, since.value = number, time.monotonic()
            start, spent = time.perf_counter(), time.process_time()
            ended, wrong = once(number)
            # Others use the machine, too: of waiting for them nobody says that it is slow.
            took = min(time.perf_counter() - start, time.process_time() - spent)
            found.cases += 1
            found.slowest = max(found.slowest, took)
            if ended:
                found.refused[ended] += 1
            else:
                found.accepted += 1
            if wrong is None and took > limit:
                wrong = f"{took:.2f} seconds"
            if wrong is not None:
                found.surprises.append(f"{kind} {number}: {wrong}")
        now.value, since.value = -1, time.monotonic()
        found.memory = peak() - before
        try:
            world.check_files()
        except AssertionError as error:
            found.surprises.append(f"{kind} {numbers.start}-{numbers.stop}: {error}")
        world.butler.close()
    answer.send(found)


def batch(kind: str, numbers: range, seed: int, limit: float) -> Found:
    """Run some cases in a process of their own; after one that hangs or kills it, go on behind it."""
    total = Found()
    while numbers:
        now, since = _spawn.Value("q", -1, lock=False), _spawn.Value("d", time.monotonic(), lock=False)
        mine, theirs = _spawn.Pipe(duplex=False)
        process = _spawn.Process(target=_worker, args=(kind, numbers, seed, limit, now, since, theirs))
        process.start()
        theirs.close()
        try:
            while not mine.poll(0.2):
                if time.monotonic() - since.value > _PATIENCE + (60 if now.value < 0 else 0):
                    raise EOFError
            total.add(mine.recv())
            process.join()
            return total
        except EOFError:
            process.join(1)
            alive = process.is_alive()
            process.kill()
            process.join()
            what = f"no answer for {_PATIENCE} seconds" if alive else f"the process ended with {process.exitcode}"
            total.surprises.append(f"{kind} {now.value}: {what}")
            if now.value < 0:
                return total
            total.cases += now.value + 1 - numbers.start
            numbers = range(now.value + 1, numbers.stop)
    return total


def main() -> int:
    """Run all kinds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="names, data IDs, templates and expressions in all")
    parser.add_argument("--policies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-each", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kind", action="append", help="only these kinds")
    parser.add_argument("--case", nargs=2, metavar=("KIND", "NUMBER"), help="run one case again")
    options = parser.parse_args()
    if options.case:
        return one(options.case[0], int(options.case[1]), options.seed)
    counts = dict.fromkeys(("names", "data IDs", "templates", "expressions"), -(-options.n // 4))
    counts["policies"] = options.policies
    start = time.perf_counter()
    results: dict[str, Found] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = []
        for kind, count in counts.items():
            if options.kind and kind not in options.kind:
                continue
            results[kind] = Found()
            step = _BATCH if kind != "policies" else 500
            for first in range(0, count, step):
                numbers = range(first, min(count, first + step))
                waiting.append((kind, pool.submit(batch, kind, numbers, options.seed, options.seconds_each)))
        for kind, future in waiting:
            results[kind].add(future.result())
    print(
        f"{'kind':<12} {'cases':>7} {'accepted':>8} {'refused':>8} {'slowest':>9} {'memory':>8} {'surprises':>9}"
        "  refused by"
    )
    for kind, found in results.items():
        by = ", ".join(f"{name} {number}" for name, number in found.refused.most_common())
        print(
            f"{kind:<12} {found.cases:>7} {found.accepted:>8} {found.refused.total():>8} {found.slowest:>7.2f} s "
            f"{found.memory >> 20:>5} MB {len(found.surprises):>9}  {by}"
        )
    surprises = [line for found in results.values() for line in found.surprises]
    for line in surprises[:100]:
        print(line)
    print(f"seed {options.seed}, {time.perf_counter() - start:.0f} s, {len(surprises)} surprises")
    return 1 if surprises else 0


def one(kind: str, number: int, seed: int) -> int:
    """Run one case and let its error through."""
    import fuzz_checks

    with tempfile.TemporaryDirectory(prefix="bunter-fuzz-") as folder:
        world = fuzz_checks.World(folder)
        os.environ["BUNTER_CONFIG"] = folder
        os.chdir(world.policies)
        start = time.perf_counter()
        try:
            fuzz_checks.CHECKS[kind](world, Random(f"{seed} {kind} {number}"))
        finally:
            print(f"{time.perf_counter() - start:.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
