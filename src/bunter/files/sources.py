"""One local file for reading: verified against what was recorded of it, whole or by the ranges that are read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any

import xxhash

from ..errors import IntegrityError
from ..formats.interface import Layout, Range, make_native
from .interface import StoredFile

# What is read, hashed and turned over before the next step is read: it fits into the cache of a processor.
_STEP = 1 << 20
# Where a whole dataset is wanted, files of up to so many bytes are read at once, even if it is only a part of them.
_SMALL, _TINY = 1 << 20, 1 << 16
_COPIED = 1 << 14
_LARGE = 1 << 18
_MOST_CHECKED = 10_000
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_checked: set[tuple[int, int, int, int, str]] = set()

Ranges = Callable[[], Sequence[Range] | None]


class LocalSource:
    """One local file, opened at the first read and closed by `close`.

    Parameters
    ----------
    path : str
        Where it is.
    file : StoredFile
        What was recorded of it.
    verify : bool
        Whether checksums and times are looked at.
    apart : bool
        Whether the file lies outside of its repository, so that its time does not change when that is copied.
    """

    __slots__ = (
        "_ahead",
        "_all",
        "_apart",
        "_fd",
        "_given",
        "_layout",
        "_owned",
        "_pieces",
        "_status",
        "_touched",
        "_unverified",
        "_verified",
        "_verify",
        "checksum",
        "local_path",
        "modified",
        "name",
        "size",
    )

    def __init__(self, path: str, file: StoredFile, verify: bool = True, apart: bool = False) -> None:
        self.name = path
        self.local_path: str | None = path
        self.size = file.size
        self.checksum = file.checksum
        self.modified = file.modified
        self._layout: Layout = file.layout
        self._owned = file.owned
        self._verify = verify
        self._apart = apart
        self._fd = -1
        self._status: os.stat_result | None = None
        self._touched = False
        self._verified = False
        self._unverified = False
        self._ahead: Ranges | None = None
        self._all: memoryview | None = None
        self._given: list[tuple[int, int]] = []
        self._pieces: dict[tuple[int, int], tuple[memoryview, int]] = {}

    @property
    def layout(self) -> Layout:
        """What was recorded of the inside; nothing if the file was written to since and no checksum says what."""
        if self.modified is not None and self._layout and self.checksum is None:
            self._open()
            if self._touched:
                return {}
        return self._layout

    # --- opening -------------------------------------------------------------------------------------------

    def _open(self) -> int:
        if self._fd >= 0:
            return self._fd
        try:
            # O_NONBLOCK: a pipe under the name of a file is not waited for.
            fd = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise IntegrityError(
                f"the file {self.name} is gone: the registry says that it is there; {self._advice()}"
            ) from None
        except OSError as error:
            raise IntegrityError(
                f"the file {self.name} cannot be opened: {error.strerror}; {self._advice()}"
            ) from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
                raise IntegrityError(f"{self.name} is not a file any more but {kind}; {self._advice()}")
            if status.st_size != self.size:
                raise IntegrityError(
                    f"the file {self.name} has {status.st_size} bytes, but had {self.size} when it was recorded: "
                    f"it was cut short or changed since; {self._advice()}"
                )
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._status = fd, status
        if self.modified is not None and self._verify:
            self._touched = not _same_time(status.st_mtime_ns, self.modified)
        return fd

    def _advice(self) -> str:
        if self._owned and self.modified is None:
            return "put the right file back, or make the dataset again and put it with replace=True"
        return "put the right file back, or ingest it again with on_exists='replace'"

    def _trusted(self) -> None:
        """Refuse bytes that no checksum covers, of a file that was written to since it was recorded."""
        if not self._touched:
            return
        if self.checksum is not None:
            self._check_once()
        elif self._apart:
            raise IntegrityError(
                f"the file {self.name} was changed since it was ingested: it has as many bytes, but was written at "
                f"another time, and nobody knows whether they are the same bytes; {self._advice()} "
                "(with scan='full' its bytes count, not its time)"
            )

    def _check_once(self) -> None:
        status = self._status
        assert status is not None
        assert self.checksum is not None
        key = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, self.checksum
        if key not in _checked:
            self.check()
            if len(_checked) >= _MOST_CHECKED:
                _checked.clear()
            _checked.add(key)
        self._touched = False

    # --- reading -------------------------------------------------------------------------------------------

    def read_range(self, offset: int, length: int, checksum: str | None = None, width: int = 1) -> memoryview:
        """Read bytes into a fresh buffer; see `bunter.formats.interface.Source`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise IntegrityError(
                f"the file {self.name} has {self.size} bytes; bytes {offset} to {offset + length} were asked for"
            )
        if self._ahead is not None:
            self._read_ahead()
        if self._all is not None or self._pieces:
            piece = self._handed_out(offset, length, width)
            if piece is not None:
                return piece
        self._open()
        if checksum is None or not self._verify:
            self._trusted()
            self._unverified = True
            checksum = None
        buffer = _fresh(length)
        digest = xxhash.xxh3_128() if checksum is not None else None
        self._fill(buffer, offset, digest, width)
        if digest is not None and digest.hexdigest() != checksum:
            raise IntegrityError(
                f"bytes {offset} to {offset + length} of {self.name} are not those that were written "
                f"(their checksum differs): the file was damaged or changed; {self._advice()}"
            )
        return buffer

    def read_numbers(self, offset: int, length: int, width: int, checksum: str | None = None) -> memoryview:
        """Read big-endian numbers as those of this machine; see `bunter.formats.interface.read_numbers`."""
        return self.read_range(offset, length, checksum, width)

    def read_rows(self, offset: int, step: int, width: int, count: int) -> memoryview:
        """Read pieces that begin `step` bytes apart; see `bunter.formats.interface.read_rows`."""
        # What was read ahead is handed out by `read_range`, which looks at the first of them, and at the bounds.
        rows = memoryview(bytearray(width * count))
        for row in range(count):
            piece = rows[row * width : (row + 1) * width]
            at = offset + row * step
            if row == 0 or self._all is not None or self._pieces or at + width > self.size:
                piece[:] = self.read_range(at, width)
            else:
                self._read_into(piece, at)
        return rows

    def read_all(self) -> memoryview:
        """Read the whole file; see `bunter.formats.interface.Source`."""
        if self._all is not None and not self._given:
            data, self._all = self._all, None
            return data
        self._open()
        data = _fresh(self.size)
        if self.checksum is None or not self._verify:
            self._trusted()
            self._fill(data, 0)
            return data
        self._compared([(0, data, 1)])
        return data

    def _fill(self, buffer: memoryview, offset: int, digest: Any = None, width: int = 1) -> None:
        """Read into a buffer; what is hashed or turned over is so while it is in the processor's cache."""
        length = len(buffer)
        step = length if digest is None and width == 1 else _STEP
        for start in range(0, length, step or 1):
            piece = buffer[start : start + step]
            self._read_into(piece, offset + start)
            if digest is not None:
                digest.update(piece)
            if width > 1:
                make_native(piece, width)

    def _read_into(self, buffer: memoryview, offset: int) -> None:
        done, length = 0, len(buffer)
        while done < length:
            try:
                count = os.preadv(self._fd, [buffer[done:] if done else buffer], offset + done)
            except OSError as error:
                raise IntegrityError(f"the file {self.name} cannot be read: {error.strerror}") from error
            if count == 0:
                raise IntegrityError(
                    f"the file {self.name} ended after {offset + done} bytes of {self.size}; {self._advice()}"
                )
            done += count

    # --- the whole -----------------------------------------------------------------------------------------

    def expect(self, ranges: Ranges) -> None:
        """Say that a whole dataset is to be read next: until `confirm`, every byte of the file is verified.

        Parameters
        ----------
        ranges : callable
            Gives the ranges that will be read of it, none if that is not known; None if the dataset shares the
            file with others, whose bytes do not matter to it.
        """
        if self._verify and self.checksum is not None and not self._verified:
            self._ahead = ranges

    def confirm(self) -> None:
        """End what `expect` began: if anything was read unverified, the whole file is verified now.

        Raises
        ------
        IntegrityError
            If the file is not what was recorded.
        """
        unverified = self._ahead is not None or self._unverified
        self._forget()
        if unverified and not self._verified:
            self.check()

    def check(self) -> None:
        """Verify all of the file: its checksum, or if none was recorded its size and time.

        Raises
        ------
        IntegrityError
            If the file is not what was recorded.
        """
        self._open()
        if self.checksum is None:
            self._trusted()
        elif self._verify:
            self._compared([])

    def _forget(self) -> None:
        self._ahead = self._all = None
        self._pieces, self._given = {}, []

    def _read_ahead(self) -> None:
        """Read what is expected and whatever lies between, in the order of the file."""
        ranges, self._ahead = self._ahead, None
        assert ranges is not None
        self._open()
        wanted = ranges() if self.size > _TINY else ()
        if wanted is None:
            return
        if self.size <= _SMALL:
            data = _fresh(self.size)
            self._compared([(0, data, 1)])
            self._all = data
            return
        # Whatever is read otherwise is owed a look at the whole.
        self._unverified = True
        if not _in_order(wanted, self.size):
            return
        pieces = {(each.offset, each.length): (_fresh(each.length), each.width) for each in wanted if each.length}
        self._compared([(offset, piece, width) for (offset, _), (piece, width) in pieces.items()])
        self._pieces = pieces

    def _handed_out(self, offset: int, length: int, width: int) -> memoryview | None:
        """Return bytes that were read ahead, None if they were not, or were given away and may be changed by now."""
        end = offset + length
        if any(start < end and offset < stop for start, stop in self._given):
            return None
        if self._all is not None:
            piece, turned = self._all[offset:end], 1
        elif (offset, length) in self._pieces:
            piece, turned = self._pieces[offset, length]
        else:
            return None
        if turned not in (1, width):
            return None
        # What is small, headers for example, may be asked for again; what is large is given away.
        if length <= _COPIED:
            piece = memoryview(bytearray(piece))
        else:
            self._given.append((offset, end))
            self._pieces.pop((offset, length), None)
        if turned != width:
            make_native(piece, width)
        return piece

    def _compared(self, pieces: list[tuple[int, memoryview, int]]) -> None:
        """Read the whole file once, into buffers what they take, and compare its checksum."""
        self._ahead = None
        digest = xxhash.xxh3_128()
        rest = memoryview(b"")
        at = 0
        for offset, piece, width in [*pieces, (self.size, None, 1)]:
            while at < offset:
                length = min(_STEP, offset - at)
                if len(rest) < length:
                    rest = memoryview(bytearray(length))
                self._fill(rest[:length], at, digest)
                at += length
            if piece is not None:
                self._fill(piece, at, digest, width)
                at += len(piece)
        if digest.hexdigest() != self.checksum:
            raise IntegrityError(
                f"{self.name} is not the file that was {'written' if self.modified is None else 'ingested'} "
                f"(its checksum differs): it was damaged or changed; {self._advice()}"
            )
        self._verified = True
        self._touched = False

    def close(self) -> None:
        """Close the file."""
        self._forget()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _fresh(length: int) -> memoryview:
    """Return a writable buffer."""
    if length < _LARGE or sys.modules.get("numpy") is None:
        return memoryview(bytearray(length))
    from numpy import empty

    # It is not filled with zeros first, and asks for huge pages.
    return empty(length, "u1").data


def _in_order(ranges: Sequence[Range], size: int) -> bool:
    """Tell whether there are ranges, one after the other, inside the file."""
    at = 0
    for each in ranges:
        if each.offset < at or each.length < 0:
            return False
        at = each.offset + each.length
    return 0 < at <= size


def _same_time(found: int, recorded: int) -> bool:
    """Tell whether two times in ns are the same, as far as a copy of the file may be told them.

    Examples
    --------
    >>> _same_time(1_700_000_000_000_000_000, 1_700_000_000_123_456_789)
    True
    >>> _same_time(1_700_000_000_000_000_001, 1_700_000_000_123_456_789)
    False
    """
    # Archives and other file systems keep whole seconds or microseconds.
    return any(found % unit == 0 and found // unit == recorded // unit for unit in (1, 1000, 1_000_000_000))
