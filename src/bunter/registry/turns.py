"""Whose turn it is to write: a queue in front of a registry's lock, kept by the kernel.

Whoever waits for a lock of SQLite sleeps, up to a tenth of a second, and tries again: of many writers, some find it
free by luck and others wait for seconds. Here they wait for a lock on the registry's folder first, which the kernel
gives to one after the other, and takes back from a process that dies. It only keeps the order: that no two write at
once is up to SQLite, also where a file system knows no such locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator

_open: set[int] = set()
_GLANCE = 1.0
"""Seconds between two looks at whether the others get on."""


class _Waiter(threading.Thread):
    """Waits in the kernel, which knows no time limit, on behalf of a thread that has one.

    Attributes
    ----------
    answered : threading.Event
        Set once it is its turn.
    """

    def __init__(self, place: int) -> None:
        super().__init__(daemon=True, name="bunter: waiting to write")
        self._place = place
        self._guard = threading.Lock()
        self._given_up = False
        self.answered = threading.Event()

    def run(self) -> None:
        """Wait."""
        _lock(self._place)
        with self._guard:
            self.answered.set()
            if self._given_up:
                _close(self._place)

    def give_up(self) -> None:
        """Let the turn pass when it comes."""
        with self._guard:
            self._given_up = True
            if self.answered.is_set():
                _close(self._place)


@contextlib.contextmanager
def turn(folder: str, patience: float, stamp: Callable[[], object]) -> Iterator[None]:
    """Wait until it is one's turn; it ends with the context.

    Parameters
    ----------
    folder : str
        Whoever names the same folder waits in the same queue.
    patience : float
        Seconds without any change of `stamp` after which to give up: the others may take their time as long as they
        get on.
    stamp : callable
        What changes with each write.

    Raises
    ------
    TimeoutError
        If nobody has written anything for so long, and it is still another's turn.
    """
    place = begin_turn(folder, patience, stamp)
    try:
        yield
    finally:
        end_turn(place)


def begin_turn(folder: str, patience: float, stamp: Callable[[], object]) -> int | None:
    """Wait until it is one's turn; return what `end_turn` has to be given. Parameters and errors as of `turn`."""
    place = _opened(folder)
    if place is not None:
        _wait(place, patience, stamp)
    return place


def end_turn(place: int | None) -> None:
    """End what `begin_turn` began."""
    if place is not None:
        _close(place)


def _wait(place: int, patience: float, stamp: Callable[[], object]) -> None:
    if _lock(place, fcntl.LOCK_NB):
        return
    waiter = _Waiter(place)
    try:
        waiter.start()
    except RuntimeError:
        # No more threads, as at the end of a program.
        _lock(place)
        return
    try:
        seen, left = stamp(), patience
        while not waiter.answered.wait(min(_GLANCE, left)):
            left -= _GLANCE
            now = stamp()
            if now != seen:
                seen, left = now, patience
            elif left <= 0:
                raise TimeoutError
    except BaseException:
        waiter.give_up()
        raise


def _lock(place: int, how: int = 0) -> bool:
    """Lock; tell whether it is locked, or cannot be at all."""
    try:
        fcntl.flock(place, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    except OSError:
        # This file system has no locks: SQLite's own waiting has to do.
        return True
    return True


def _opened(folder: str) -> int | None:
    try:
        place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    _open.add(place)
    return place


def _close(place: int) -> None:
    _open.discard(place)
    with contextlib.suppress(OSError):
        # A child that was forked meanwhile may have it open, too.
        fcntl.flock(place, fcntl.LOCK_UN)
    os.close(place)


def _after_fork() -> None:
    # The parent's turns are not the child's, and end with the parent.
    for place in tuple(_open):
        os.close(place)
    _open.clear()


with contextlib.suppress(AttributeError):
    os.register_at_fork(after_in_child=_after_fork)
