"""Which bytes of which files a work reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_active: list[Read] = []


@dataclass
class Read:
    """What was opened and read: ``(path, offset, length)``; the registry's own reads are not seen."""

    opened: list[str] = field(default_factory=list)
    ranges: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Return the number of bytes."""
        return sum(length for _, _, length in self.ranges)

    def data_files(self, root: str) -> list[str]:
        """Return the files of datasets that were opened in a repository."""
        found = (path for path in self.opened if path.startswith(f"{root}/") and not path.endswith(".yaml"))
        return sorted(set(found))

    def of(self, path: str, start: int, length: int) -> int:
        """Return how many bytes of a range of a file were read."""
        end = start + length
        return sum(max(0, min(end, at + count) - max(start, at)) for name, at, count in self.ranges if name == path)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _active and isinstance(arguments[0], str):
        _active[-1].opened.append(arguments[0])


sys.addaudithook(_hook)


@contextmanager
def _counting(read: Read) -> Iterator[None]:
    own = {name: getattr(os, name) for name in ("read", "pread", "preadv", "readv")}

    def note(descriptor: int, at: int, count: int) -> None:
        read.ranges.append((os.readlink(f"/proc/self/fd/{descriptor}"), at, count))

    def plain(descriptor: int, length: int) -> bytes:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        data: bytes = own["read"](descriptor, length)
        note(descriptor, at, len(data))
        return data

    def placed(descriptor: int, length: int, at: int) -> bytes:
        data: bytes = own["pread"](descriptor, length, at)
        note(descriptor, at, len(data))
        return data

    def vectored(descriptor: int, buffers: Any, at: int, *flags: int) -> int:
        count: int = own["preadv"](descriptor, buffers, at, *flags)
        note(descriptor, at, count)
        return count

    os.read, os.pread, os.preadv = plain, placed, vectored  # type: ignore[assignment]
    _active.append(read)
    try:
        yield
    finally:
        _active.remove(read)
        for name, function in own.items():
            setattr(os, name, function)


def counted(work: Callable[[], Any]) -> Read:
    """Return what a work reads with the calls of `os`."""
    read = Read()
    with _counting(read):
        work()
    return read
