"""What both demos share: printing, counting bytes, hashing, timing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class Teller:
    """Prints a story in steps, each with the time that it took."""

    def __init__(self, console: Console | None) -> None:
        if console is None:
            from rich.console import Console

            console = Console()
        self.console = console
        self._began = time.perf_counter()

    def step(self, text: str) -> None:
        """Print the heading of the next step."""
        seconds = time.perf_counter() - self._began
        self.console.print(f"\n[{seconds:4.1f} s] {text}", style="bold", markup=False, highlight=False, soft_wrap=True)

    def say(self, text: object) -> None:
        """Print a text as it is, indented."""
        for line in str(text).splitlines() or [""]:
            self.console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)

    def picture(self, path: Path, draw: Callable[[Path], None]) -> Path | None:
        """Draw a picture and say where it is, or, where matplotlib is missing, how to get one."""
        from ..errors import FormatUnavailableError

        try:
            draw(path)
        except FormatUnavailableError as error:
            self.step("No picture of the residuals")
            self.say(error)
            return None
        self.step(f"Picture of the residuals: {path}")
        return path

    def seconds(self) -> float:
        """Return the seconds since the story began."""
        return time.perf_counter() - self._began


def size_of(number: float) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> size_of(11_640), size_of(201_400_000), size_of(17)
    ('12 kB', '201 MB', '17 B')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}" if number < 10 * scale else f"{number / scale:.0f} {unit}"
    return f"{number:.0f} B"


def hashes(files: Iterable[Path]) -> dict[Path, str]:
    """Return the SHA-256 of every file."""
    found = {}
    for path in sorted(files):
        with path.open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def data_files(root: Path) -> list[Path]:
    """Return the files of a repository that hold datasets: FITS, Parquet and JSON under folders of their own."""
    return sorted(
        path
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith((".", "_"))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".fits", ".json", ".parquet")
    )


def bytes_in(files: Iterable[Path]) -> int:
    """Return the sum of the files' sizes."""
    return sum(path.stat().st_size for path in files)


def best_time(call: Callable[[], Any], times: int = 5) -> float:
    """Return the shortest of some runs, seconds."""
    shortest = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest


def counted(number: int, word: str) -> str:
    """Return ``"1 file"``, ``"2 files"``.

    Examples
    --------
    >>> counted(2, "file")
    '2 files'
    """
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
