"""One recorded file looked at, and read if that is wanted: what is wrong with it. It knows no registry."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import xxhash

from ..errors import BunterError
from ..files.interface import StoredFile
from ..files.sources import _KINDS, _same_time
from ..formats.interface import Piece, Range
from ..repository import _inside as inside
from .examined import Examined

_STEP = 1 << 20
_MOST_FOLDERS = 10_000


@dataclass(slots=True)
class Seen:
    """What became of a look at a file.

    Attributes
    ----------
    kind : str
        What is wrong, nothing if all is well.
    touched : bool
        Whether it was written to since it was recorded, with a checksum to tell whether that matters.
    apart : bool
        Whether it lies outside of the root.
    outside : bool
        Whether it was not looked at, since it is outside of the root and not trusted.
    read : int
        Bytes.
    checksum : str or None
        Of all that was read.
    pieces : list of str
        Checksums of the ranges that were asked for.
    """

    kind: str = ""
    message: str = ""
    touched: bool = False
    apart: bool = False
    outside: bool = False
    read: int = -1
    checksum: str | None = None
    pieces: list[str] = field(default_factory=list)


class Looker:
    """Looks at the files of one repository, from any thread."""

    def __init__(self, examined: Examined) -> None:
        self._examined = examined
        self._folders: dict[str, tuple[str, bool]] = {}
        self._local = threading.local()

    def look(self, file: StoredFile, *, read: bool, ranges: Sequence[Range] = ()) -> Seen:
        """Look at a file, and read it if `read`.

        Parameters
        ----------
        file : StoredFile
            What is recorded of it.
        ranges : sequence of Range
            If it is read, and has no checksum: what of it is to have checksums of its own.
        """
        advice = self.advice(file)
        try:
            path = self._examined.files.absolute(file.path)
            folder, trusted = self._folder(os.path.dirname(path))
            place = os.path.join(folder, os.path.basename(path))
            status = os.lstat(place) if trusted else None
            if status is not None and stat.S_ISLNK(status.st_mode):
                place = os.path.realpath(place)
                trusted = self._examined.may_read(place)
                status = os.stat(place) if trusted else None
        except BunterError as error:
            return Seen("path leaves the root", f"{error}. Delete the dataset: Bunter writes no such paths")
        except (FileNotFoundError, NotADirectoryError):
            return Seen("file missing", f"the file is gone; {advice}")
        except OSError as error:
            return Seen("cannot be read", f"the file cannot be looked at: {error.strerror}; look after its permissions")
        if status is None:
            return Seen(outside=True)
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            return Seen("not a file", f"it is not a file any more but {kind}; {advice}")
        if status.st_size != file.size:
            return Seen(
                "size differs",
                f"it has {status.st_size} bytes, but had {file.size} when it was recorded: it was cut short or "
                f"changed; {advice}",
            )
        touched = file.modified is not None and not _same_time(status.st_mtime_ns, file.modified)
        if touched and file.checksum is None:
            return Seen(
                "changed since ingest",
                "it has as many bytes as when it was ingested, but was written at another time, and no checksum tells "
                f"whether they are the same; {advice}",
                apart=not inside(place, self._examined.root),
            )
        if not read:
            return Seen(touched=touched)
        return self._read(place, file, status, ranges, advice)

    def _folder(self, path: str) -> tuple[str, bool]:
        """Return where a folder really is, and whether what is in it may be read."""
        found = self._folders.get(path)
        if found is None:
            if len(self._folders) >= _MOST_FOLDERS:
                self._folders.clear()
            place = os.path.realpath(path)
            found = self._folders[path] = place, self._examined.may_read(place)
        return found

    @staticmethod
    def advice(file: StoredFile) -> str:
        """Return what is to be done for a file that is not what it was."""
        if file.owned:
            return "restore it from a copy, or delete the dataset and make it again"
        return "put the right file back, or ingest it again with on_exists='replace'"

    def _read(self, place: str, file: StoredFile, before: os.stat_result, ranges: Sequence[Range], advice: str) -> Seen:
        try:
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                checksum, size = self._hashed(fd, 0, file.size + 1)
                pieces = [self._hashed(fd, each.offset, each.length)[0] for each in ranges]
                after = os.fstat(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return Seen("file missing", f"the file is gone; {advice}")
        except OSError as error:
            return Seen("cannot be read", f"the file cannot be read: {error.strerror}; {advice}")
        if size != file.size:
            return Seen(
                "size differs", f"it has {size} bytes, but had {file.size} when it was recorded; {advice}", read=size
            )
        if file.checksum is not None and checksum != file.checksum:
            return Seen(
                "contents differ",
                f"it is not the file that was {'written' if file.owned else 'ingested'} (its checksum differs): it was "
                f"damaged or changed; {advice}",
                read=size,
            )
        if file.checksum is None and (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            return Seen("changed since ingest", f"it is being written to; {advice}", read=size)
        return Seen(read=size, checksum=checksum, pieces=pieces)

    def _hashed(self, fd: int, offset: int, length: int) -> tuple[str, int]:
        """Return the checksum of what there is of a range, and how many bytes that is."""
        step = min(length, _STEP)
        buffer: bytearray = getattr(self._local, "buffer", bytearray())
        if len(buffer) < step:
            buffer = self._local.buffer = bytearray(step)
        digest = xxhash.xxh3_128()
        done = 0
        with memoryview(buffer) as view:
            while done < length:
                count = os.preadv(fd, [view[: min(step, length - done)]], offset + done)
                if not count:
                    break
                digest.update(view[:count])
                done += count
        return str(digest.hexdigest()), done

    def differing(self, file: StoredFile, pieces: Sequence[Piece]) -> list[str]:
        """Return which pieces of a file are not what they were, with their bytes."""
        found = []
        try:
            fd = os.open(self._examined.files.absolute(file.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            # It has gone since: there is nothing to tell apart.
            return []
        try:
            for piece in pieces:
                at = piece.range
                if piece.checksum is not None and self._hashed(fd, at.offset, at.length)[0] != piece.checksum:
                    found.append(f"bytes {at.offset} to {at.offset + at.length} ({piece.name})")
        finally:
            os.close(fd)
        return found
