"""Processes and threads that begin at the same moment, and the table that a script prints of them."""

from __future__ import annotations

import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

PATIENCE = 3600
"""Seconds until a barrier or a process is given up."""

# Children share nothing with this process, not even what is open, but need not import everything again.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["bunter.butler", "bunter.formats.json_", "numpy"])


class Processes:
    """Processes that share a barrier and do one job after the other."""

    def __init__(self, number: int) -> None:
        # Kept: the semaphores in it go with it.
        self._gate = _context.Barrier(number)
        self._ends, self._processes = [], []
        for index in range(number):
            mine, theirs = _context.Pipe()
            process = _context.Process(target=_serve, args=(index, self._gate, theirs), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(mine)
            self._processes.append(process)

    def run(self, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Run ``work(index, gate, *arguments)`` in all of them; return the answers."""
        for end in self._ends:
            end.send((work, arguments))
        answers = []
        for end in self._ends:
            if not end.poll(PATIENCE):
                raise SystemExit("a process did not answer")
            done, answer = end.recv()
            if not done:
                raise SystemExit(f"a process failed:\n{answer}")
            answers.append(answer)
        return answers

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(10)
            process.kill()


def _serve(index: int, gate: Any, end: Any) -> None:
    while True:
        try:
            work, arguments = end.recv()
        except EOFError:
            return
        try:
            end.send((True, work(index, gate, *arguments)))
        except BaseException:
            gate.abort()
            end.send((False, traceback.format_exc()))


def in_threads(number: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run ``work(index, gate, *arguments)`` in threads that share the barrier `gate`; return the answers."""
    gate = threading.Barrier(number, timeout=PATIENCE)
    answers: list[Any] = [None] * number

    def run(index: int) -> None:
        try:
            answers[index] = True, work(index, gate, *arguments)
        except BaseException:
            gate.abort()
            answers[index] = False, traceback.format_exc()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for done, answer in answers:
        if not done:
            raise SystemExit(f"a thread failed:\n{answer}")
    return [answer for _, answer in answers]


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that a share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Table:
    """Rows of a name, counts and seconds, printed as they come; `failed` once a count that must be 0 is not."""

    def __init__(self, columns: Sequence[str], must_be_zero: Sequence[str]) -> None:
        self._columns = columns
        self._must_be_zero = must_be_zero
        self.failed = False
        self._began = time.perf_counter()
        print(self._line("", [*columns, "seconds"]), flush=True)

    def _line(self, name: str, texts: Sequence[str]) -> str:
        widths = [max(9, len(column) + 2) for column in [*self._columns, "seconds"]]
        return f"{name:<24}" + "".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))

    def row(self, name: str, **counts: Any) -> None:
        """Print one row; a count that is left out is not counted."""
        seconds = time.perf_counter() - self._began
        texts = []
        for column in self._columns:
            value = counts.get(column.replace(" ", "_"), "")
            if column in self._must_be_zero and value not in ("", 0):
                self.failed = True
            texts.append(f"{value:.1f}" if isinstance(value, float) else str(value))
        print(self._line(name, [*texts, f"{seconds:.1f}"]), flush=True)
        self._began = time.perf_counter()
