"""Files on local disk, by plain ``os`` calls."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

import xxhash

from ..errors import IntegrityError, RepositoryError
from ..formats.interface import Layout
from ..templates import mark
from .interface import StoredFile

_CHUNK = 1 << 22
_DRAFT = ".part~"
_ATTEMPTS = 100


class LocalSource:
    """One local file, opened at the first read and closed by `close`."""

    __slots__ = ("_fd", "_verify", "checksum", "layout", "local_path", "modified", "name", "size")

    def __init__(self, path: str, file: StoredFile, verify: bool = True) -> None:
        self.name = path
        self.local_path: str | None = path
        self.size = file.size
        self.layout: Layout = file.layout
        self.checksum = file.checksum
        self.modified = file.modified
        self._verify = verify
        self._fd = -1

    def _open(self) -> int:
        if self._fd >= 0:
            return self._fd
        try:
            # O_NONBLOCK: a pipe under the name of a file is not waited for.
            fd = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise IntegrityError(
                f"the file {self.name} is gone: the registry says that it is there; "
                "put it back, or delete the dataset and make it again"
            ) from None
        except OSError as error:
            raise IntegrityError(f"the file {self.name} cannot be opened: {error.strerror}") from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != self.size:
            os.close(fd)
            if not stat.S_ISREG(status.st_mode):
                raise IntegrityError(f"{self.name} is not a file")
            raise IntegrityError(
                f"the file {self.name} has {status.st_size} bytes, but had {self.size} when it was recorded: "
                "it was cut short or changed since"
            )
        self._fd = fd
        return fd

    def read_range(self, offset: int, length: int, checksum: str | None = None) -> memoryview:
        """Read bytes into a fresh buffer; see `bunter.formats.interface.Source`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise IntegrityError(
                f"the file {self.name} has {self.size} bytes; bytes {offset} to {offset + length} were asked for"
            )
        fd = self._open()
        buffer = memoryview(bytearray(length))
        done = 0
        while done < length:
            try:
                count = os.preadv(fd, [buffer[done:]], offset + done)
            except OSError as error:
                raise IntegrityError(f"the file {self.name} cannot be read: {error.strerror}") from error
            if count == 0:
                raise IntegrityError(f"the file {self.name} ended after {offset + done} bytes of {self.size}")
            done += count
        if checksum is not None and self._verify and xxhash.xxh3_128_hexdigest(buffer) != checksum:
            raise IntegrityError(
                f"bytes {offset} to {offset + length} of {self.name} are not those that were written "
                "(their checksum differs): the file was damaged or changed"
            )
        return buffer

    def read_all(self) -> memoryview:
        """Read the whole file; see `bunter.formats.interface.Source`."""
        data = self.read_range(0, self.size)
        if self.checksum is not None and self._verify and xxhash.xxh3_128_hexdigest(data) != self.checksum:
            raise IntegrityError(
                f"{self.name} is not the file that was written (its checksum differs): it was damaged or changed"
            )
        return data

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _HashingStream:
    """A binary file that hashes what is written as long as it is written in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash: Any = xxhash.xxh3_128()
        self._hashed = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if not view.c_contiguous:
            view = memoryview(view.tobytes())
        if self._hash is not None:
            if self._file.tell() == self._hashed:
                self._hash.update(view)
                self._hashed += view.nbytes
            else:
                self._hash = None
        return self._file.write(view)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def truncate(self, size: int | None = None) -> int:
        self._hash = None
        return self._file.truncate(size)

    def fileno(self) -> int:
        # Whoever asks may write past us.
        self._hash = None
        return self._file.fileno()

    def checksum(self) -> str:
        if self._hash is None:
            self._hash = xxhash.xxh3_128()
            self._file.flush()
            self._file.seek(0)
            while block := self._file.read(_CHUNK):
                self._hash.update(block)
        return str(self._hash.hexdigest())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class LocalDraft:
    """A file that is being written beside its place."""

    def __init__(self, files: LocalFiles, path: str) -> None:
        self._files = files
        self.path = path
        place = files.absolute(path)
        self._temporary = os.path.join(os.path.dirname(place), f"{_DRAFT}{secrets.token_hex(8)}")
        self._file = self._begun(os.path.dirname(place))
        self._stream = _HashingStream(self._file)
        self.stream = cast(BinaryIO, self._stream)
        self.published: str | None = None
        self.size = 0
        self.checksum: str | None = None

    def _begun(self, folder: str) -> BinaryIO:
        attempts = 0
        while True:
            attempts += 1
            try:
                self._files.make_folder(folder)
                return open(self._temporary, "x+b")
            except OSError as error:
                # Another put that failed may have tidied away a folder while it was empty.
                if not isinstance(error, FileNotFoundError) or attempts == _ATTEMPTS:
                    raise RepositoryError(f"{self._temporary} cannot be written: {error.strerror}") from error

    def finish(self) -> None:
        """Flush, hash and sync what was written."""
        self.checksum = self._stream.checksum()
        self._file.flush()
        self.size = os.fstat(self._file.fileno()).st_size
        if self._files.durable:
            os.fsync(self._file.fileno())
        self._file.close()

    def link(self, path: str, *, symbolic: bool) -> None:
        """Make the file a link to another instead of writing it."""
        self._file.close()
        os.unlink(self._temporary)
        try:
            if symbolic:
                os.symlink(os.path.realpath(path), self._temporary)
            else:
                os.link(os.path.realpath(path), self._temporary)
        except OSError as error:
            raise RepositoryError(
                f"{path} cannot be linked into {self._files.root}: {error.strerror}; use mode='copy'"
            ) from error
        self.size = os.stat(path).st_size

    def publish(self, taken: Callable[[str], bool]) -> str:
        """Give the file its name, or the next mark of it that is free; return the path."""
        if not self._file.closed:
            self.finish()
        number = 1
        while True:
            path = self.path if number == 1 else mark(self.path, number)
            place = self._files.absolute(path)
            if not taken(path) and self._claim(place):
                break
            number += 1
        try:
            os.replace(self._temporary if self.published is None else self._files.absolute(self.published), place)
        except BaseException:
            os.unlink(place)
            raise
        self.published = path
        self._files.touched(os.path.dirname(place))
        return path

    @staticmethod
    def _claim(place: str) -> bool:
        # An empty file made exclusively claims the name on every file system; os.replace then fills it.
        try:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return False
        except OSError as error:
            raise RepositoryError(f"{place} cannot be written: {error.strerror}") from error
        return True

    def drop(self) -> None:
        """Remove the file, published or not, and the folders that were made for it if they are empty."""
        if not self._file.closed:
            self._file.close()
        for path in (self._temporary, self.published and self._files.absolute(self.published)):
            if path:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    continue
        self.published = None
        self._files.tidy(os.path.dirname(self._temporary))


class LocalFiles:
    """The files of one repository on local disk.

    Parameters
    ----------
    root : str or Path
        The repository's root.
    durable : bool
        Whether files and folders are synced before they count as written.
    verify : bool
        Whether reads are checked against recorded checksums.
    """

    def __init__(self, root: str | Path, *, durable: bool = True, verify: bool = True) -> None:
        self.root = os.path.realpath(root)
        self.durable = durable
        self.verify = verify
        # A thread syncs what it touched itself, so that none acknowledges while another still syncs for it.
        self._local = threading.local()
        self._made: set[str] = set()
        self._unsynced: set[str] = set()

    def absolute(self, path: str) -> str:
        """Return the absolute path of a stored path; refuse relative ones that leave the root."""
        if os.path.isabs(path):
            return path
        if ".." in path.split("/") or "\0" in path:
            raise IntegrityError(f"the registry names a file outside its repository: {path!r}; it was not opened")
        return os.path.join(self.root, path)

    def open(self, file: StoredFile) -> LocalSource:
        """Open a file for reading; nothing is read yet."""
        return LocalSource(self.absolute(file.path), file, self.verify)

    def uri(self, path: str) -> str:
        """Return the absolute path."""
        return self.absolute(path)

    def draft(self, path: str) -> LocalDraft:
        """Begin a file that nobody sees until it is published."""
        return LocalDraft(self, path)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is no fault."""
        try:
            os.unlink(self.absolute(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise RepositoryError(f"{self.absolute(path)} cannot be removed: {error.strerror}") from error

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, to be synced with the next `sync`."""
        parent = os.path.dirname(folder)
        if os.path.isdir(folder):
            if folder in self._unsynced:
                # Another thread made it, and may not live to sync it.
                self.touched(parent)
                self.make_folder(parent)
            return
        if parent != folder:
            self.make_folder(parent)
        try:
            os.mkdir(folder)
        except FileExistsError:
            # If it is gone by now the `FileNotFoundError` says so to the caller.
            if not stat.S_ISDIR(os.stat(folder).st_mode):
                raise RepositoryError(f"{folder} is a file where a folder is needed") from None
        else:
            self._made.add(folder)
        self._unsynced.add(folder)
        self.touched(parent)

    def tidy(self, folder: str) -> None:
        """Remove a folder and those above it as far as they were made here and are empty."""
        while folder in self._made and folder != self.root:
            try:
                os.rmdir(folder)
            except OSError:
                # Somebody has put something there, or was faster.
                return
            self._made.discard(folder)
            folder = os.path.dirname(folder)

    def touched(self, folder: str) -> None:
        """Note that a folder changed and has to be synced."""
        touched: set[str] | None = getattr(self._local, "touched", None)
        if touched is None:
            touched = self._local.touched = set()
        touched.add(folder)

    def sync(self) -> None:
        """Make the folders of all files published since the last call durable."""
        folders: set[str] = getattr(self._local, "touched", set())
        self._local.touched = set()
        if not self.durable:
            return
        for folder in sorted(folders):
            try:
                sync_folder(folder)
            except FileNotFoundError:
                # It was tidied away: there is nothing in it to lose.
                continue
            except OSError as error:
                raise RepositoryError(f"the folder {folder} cannot be made durable: {error.strerror}") from error
        self._unsynced -= {made for made in tuple(self._unsynced) if os.path.dirname(made) in folders}


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some file systems have no folder sync; the files themselves are synced all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(fd)


def checksum_of(path: str) -> str:
    """Return the XXH3-128 of a whole local file, hexadecimal."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return str(digest.hexdigest())
