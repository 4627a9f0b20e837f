"""What a file store can do, a protocol for each capability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

from ..formats.interface import Layout, Range, Source
from ..values import dataclass


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as a registry remembers it.

    Attributes
    ----------
    path : str
        Relative to the repository's root (POSIX), or absolute for files ingested in place.
    owned : bool
        Whether the repository made the file, and may remove it.
    size : int
        Bytes.
    modified : int or None
        Modification time in ns since 1970, for files that were made by others: ingested in place, or linked to.
    checksum : str or None
        XXH3-128 of the whole file, hexadecimal.
    layout : dict
        What the format recorded of the inside.
    """

    path: str
    owned: bool
    size: int
    modified: int | None
    checksum: str | None
    layout: Layout


class ReadableFiles(Protocol):
    """Files that can be read, whole or by ranges."""

    def open(self, file: StoredFile) -> ClosableSource:
        """Open a file for reading; nothing is read yet."""

    def uri(self, path: str) -> str:
        """Return where the file is, for people and other programs."""


class ClosableSource(Source, Protocol):
    """A source that can verify all of its file, and its end."""

    def expect(self, ranges: Callable[[], Sequence[Range] | None]) -> None:
        """Say that a whole dataset is to be read next: until `confirm`, every byte of the file is verified.

        Parameters
        ----------
        ranges : callable
            Gives what `bunter.formats.interface.Format.whole_ranges` says.
        """

    def confirm(self) -> None:
        """End what `expect` began; if the file is not what was recorded, that is an `IntegrityError`."""

    def check(self) -> None:
        """Verify all of the file: its checksum, or if none was recorded its size and time."""

    def close(self) -> None:
        """Give back what the source holds."""


class WritableFiles(ReadableFiles, Protocol):
    """Files that can be written, each whole or not at all."""

    def draft(self, path: str) -> Draft:
        """Begin a file that nobody sees until `Draft.publish`."""

    def remove(self, path: str) -> None:
        """Remove a file that is owned."""

    def sync(self) -> None:
        """Make the folders of all files published since the last call durable."""


class Draft(Protocol):
    """A file that is being written; nobody sees it before it is published.

    Attributes
    ----------
    stream : BinaryIO
        Takes what is written; readable and seekable too.
    size : int
        Bytes; known once the file is finished.
    checksum : str or None
        XXH3-128 of the whole, hexadecimal; known once the file is finished.
    published : str or None
        The path that it got.
    """

    stream: BinaryIO
    size: int
    checksum: str | None
    published: str | None

    def finish(self) -> None:
        """End the writing; `publish` does so too."""

    def publish(self, taken: Callable[[str], bool]) -> str:
        """Give the file its path, or the next mark of it that is free, and return it; published again it gets another.

        Parameters
        ----------
        taken : callable
            Tells whether a path is spoken for although no file has it.
        """

    def settle(self) -> None:
        """Keep the file for good: the registry knows it. What marked it as one that nobody knows yet goes."""

    def drop(self) -> None:
        """Remove the file, published or not, so that nothing is left of it."""
