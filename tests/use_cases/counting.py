"""Bytes and files as the operating system counts them."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from types import TracebackType

import pytest

_IO = Path("/proc/self/io")
_active: list[Counted] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _active:
        path = arguments[0]
        if isinstance(path, str | bytes):
            _active[-1].opened.append(os.fsdecode(path))
    if event == "os.link" and _active:
        _active[-1].named.append(os.fsdecode(str(arguments[1])))


sys.addaudithook(_hook)


class Counted:
    """What the process reads and writes inside a ``with`` block.

    Attributes
    ----------
    read, written : int
        Bytes that went through read and write calls, those of the registry included.
    opened : list of str
        Files that were opened, the registry's (which SQLite opens by itself) excluded.
    named : list of str
        Files that were written and got their names.
    """

    def __init__(self) -> None:
        if not _IO.exists():
            pytest.skip("the bytes are counted by /proc/self/io, which this system does not have")
        self.opened: list[str] = []
        self.named: list[str] = []
        self.read = self.written = 0

    @staticmethod
    def _now() -> tuple[int, int]:
        fields = dict(line.split(": ") for line in _IO.read_text().splitlines())
        return int(fields["rchar"]), int(fields["wchar"])

    def __enter__(self) -> Counted:
        # A Butler of an earlier test that is collected in here would tidy up its registry's log at our expense.
        gc.collect()
        gc.disable()
        # Looking at the counters reads bytes too: how many is found out first.
        first = self._now()
        second = self._now()
        self._overhead = second[0] - first[0]
        self._before = second
        _active.append(self)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        _active.remove(self)
        after = self._now()
        gc.enable()
        self.read = after[0] - self._before[0] - self._overhead
        self.written = after[1] - self._before[1]

    def data_files(self, root: Path) -> list[str]:
        """Return the opened files below a folder, relative to it."""
        place = os.path.realpath(root) + os.sep
        inside = [path[len(place) :] for path in map(os.path.realpath, self.opened) if path.startswith(place)]
        return [path for path in inside if not path.endswith((".yaml", ".sqlite"))]
