"""Files on local disk, by plain ``os`` calls."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

import xxhash

from ..errors import IntegrityError, RepositoryError, TrustError
from ..templates import mark
from .drafts import draft_name
from .interface import StoredFile
from .sources import LocalSource

_CHUNK = 1 << 22
_ATTEMPTS = 100
_MOST_FOLDERS = 10_000
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)


class _HashingStream:
    """A binary file that hashes what is written as long as it is written in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash: Any = xxhash.xxh3_128()
        self._hashed = 0
        self._only_written = True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if not view.c_contiguous:
            view = memoryview(view.tobytes())
        if self._hash is not None:
            if self._only_written or self._file.tell() == self._hashed:
                self._hash.update(view)
                self._hashed += view.nbytes
            else:
                self._hash = None
        return self._file.write(view)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

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
        # Whatever it is, it may move to another place, now or later.
        self._only_written = False
        return getattr(self._file, name)


class LocalDraft:
    """A file that is being written beside its place.

    Its name as a draft stays beside the published one until it is settled, so that what a killed process leaves can
    be told from files of the user's own (`bunter.files.drafts`).
    """

    def __init__(self, files: LocalFiles, path: str) -> None:
        self._files = files
        self.path = path
        folder, _, name = files.within(path).rpartition(os.sep)
        self._temporary = f"{folder}{os.sep}{draft_name(name)}"
        self._ended = False
        self._file = self._begun(folder)
        self._stream = _HashingStream(self._file)
        self.stream = cast(BinaryIO, self._stream)
        self.published: str | None = None
        self._naming = False
        self._shared = False
        self.size = 0
        self.checksum: str | None = None

    def _begun(self, folder: str) -> BinaryIO:
        attempts = 0
        while True:
            attempts += 1
            try:
                # Most folders are there: whether this one is, opening tells.
                if attempts > 1 or self._files.is_unsynced(folder):
                    self._files.make_folder(folder)
                return open(self._temporary, "x+b")
            except OSError as error:
                if attempts == 1 and isinstance(error, NotADirectoryError):
                    continue
                # Another put that failed may have tidied away a folder while it was empty.
                if not isinstance(error, FileNotFoundError) or attempts == _ATTEMPTS:
                    place = self._files.absolute(self.path)
                    raise RepositoryError(f"{place} cannot be written: {error.strerror}") from error

    def end(self) -> None:
        """Flush and hash what was written, but do not wait for the disk: `finish` has to follow."""
        if self._ended:
            return
        self.checksum = self._stream.checksum()
        self._file.flush()
        self.size = os.fstat(self._file.fileno()).st_size
        self._ended = True

    def hasten(self) -> None:
        """Let the disk begin with what was written, while there is something else to do before it is waited for."""
        if self._files.durable and self._ended and not self._file.closed:
            # Only Unix systems of some kinds have it.
            advise = getattr(os, "posix_fadvise", None)
            with contextlib.suppress(OSError):
                # Only advice, but what is not written yet is handed to the disk for it.
                if advise is not None:
                    advise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def finish(self) -> None:
        """Flush, hash and sync what was written."""
        self.end()
        if self._file.closed:
            return
        if self._files.durable:
            os.fsync(self._file.fileno())
        self._file.close()

    def link(self, path: str, *, symbolic: bool) -> None:
        """Make the file a link to another instead of writing it."""
        try:
            self._file.close()
            os.unlink(self._temporary)
            if symbolic:
                os.symlink(os.path.realpath(path), self._temporary)
            else:
                # The bytes are the user's, too: until there is a name that is ours, no name is.
                self._shared = True
                self._temporary = os.path.join(os.path.dirname(self._temporary), draft_name("", exact=True))
                os.link(os.path.realpath(path), self._temporary)
                if self._files.durable:
                    _sync(self._temporary)
            self.size = os.stat(path).st_size
        except OSError as error:
            raise RepositoryError(
                f"{path} cannot be linked into {self._files.root}: {error.strerror}; use mode='copy'"
            ) from error

    def publish(self, taken: Callable[[str], bool]) -> str:
        """Give the file its name, or the next mark of it that is free; return the path."""
        if not self._file.closed:
            self.finish()
        if self.published is not None and os.path.lexists(self._temporary):
            # First, so that a process which is killed leaves one name at most.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._files.absolute(self.published))
            self.published = None
        number = 1
        while True:
            path = self._marked(number)
            place = self._files.absolute(path)
            if not taken(path) and self._aimed(place) and self._named(place):
                break
            number = self._free_mark(taken) if number == 1 else number + 1
        if self.published is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._files.absolute(self.published))
        self.published = path
        self._naming = False
        self._files.touched(os.path.dirname(place))
        return path

    def _marked(self, number: int) -> str:
        return self.path if number == 1 else mark(self.path, number)

    def _free_mark(self, taken: Callable[[str], bool]) -> int:
        """Return the next mark after the first that seems to be free, in few steps where thousands are not."""

        def in_use(number: int) -> bool:
            path = self._marked(number)
            return taken(path) or os.path.lexists(self._files.absolute(path))

        used, step = 1, 1
        while in_use(used + step):
            used += step
            step *= 2
        free = used + step
        while free - used > 1:
            middle = (used + free) // 2
            if in_use(middle):
                used = middle
            else:
                free = middle
        return free

    def _aimed(self, place: str) -> bool:
        """Let a draft whose bytes are the user's, too, say which of its names is ours; tell whether that is free."""
        if not self._shared:
            return True
        if os.path.lexists(place):
            return False
        aimed = os.path.join(os.path.dirname(self._temporary), draft_name(os.path.basename(place), exact=True))
        try:
            os.rename(self._temporary, aimed)
        except OSError as error:
            raise RepositoryError(f"{place} cannot be written: {error.strerror}") from error
        self._temporary = aimed
        return True

    def _named(self, place: str) -> bool:
        """Give the file a name; tell whether that was free."""
        self._naming = True
        try:
            os.link(self._temporary, place, follow_symlinks=False)
        except FileExistsError:
            self._naming = False
            return False
        except OSError as error:
            self._naming = False
            if not (error.errno in NO_LINKS or isinstance(error, FileNotFoundError)):
                raise RepositoryError(f"{place} cannot be written: {error.strerror}") from error
            return self._moved(place)
        return True

    def _moved(self, place: str) -> bool:
        """Give the file a name where a file has only one."""
        # An empty file made exclusively claims the name on every file system; os.replace then fills it.
        try:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return False
        except OSError as error:
            raise RepositoryError(f"{place} cannot be written: {error.strerror}") from error
        try:
            os.replace(self._temporary if self.published is None else self._files.absolute(self.published), place)
        except BaseException as error:
            os.unlink(place)
            if isinstance(error, OSError):
                raise RepositoryError(f"{place} cannot be written: {error.strerror}") from error
            raise
        return True

    def settle(self) -> None:
        """Give up the draft's name: the registry knows the file by now."""
        # What cannot be removed here does no harm: `bunter verify --repair` does it.
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)

    def drop(self) -> None:
        """Remove the file, published or not, and the folders that were made for it if they are empty."""
        with contextlib.suppress(OSError):
            # A full disk says so once more.
            self._file.close()
        if self._naming:
            # Interrupted right then: whether it has the name is told from the draft's later.
            return
        # The draft's name goes last: by it what cannot be removed now is found later.
        for path in (self.published and self._files.absolute(self.published), self._temporary):
            if path:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    continue
                except OSError:
                    break
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
        self._prefix = os.path.join(self.root, "")
        self._was_there = os.path.isdir(self.root)
        self.durable = durable
        self.verify = verify
        self.trusted_folders: tuple[str, ...] = ()
        # A thread syncs what it touched itself, so that none acknowledges while another still syncs for it.
        self._local = threading.local()
        self._made: set[str] = set()
        self._unsynced: set[str] = set()
        self._inside: dict[str, tuple[int, int]] = {}

    def absolute(self, path: str) -> str:
        """Return the absolute path of a stored path; refuse relative ones that leave the root."""
        if path.startswith("/"):
            return path
        if (".." in path and ".." in path.split("/")) or "\0" in path:
            raise IntegrityError(f"the registry names a file outside its repository: {path!r}; it was not opened")
        return self._prefix + path

    def within(self, path: str) -> str:
        """Return the absolute path of a file that is to be written or removed: below the root, links followed.

        Raises
        ------
        IntegrityError
            If the path is absolute or leaves the root.
        TrustError
            If a folder on the way is a link that leads outside, and not into one of `trusted_folders`.
        """
        if os.path.isabs(path):
            raise IntegrityError(
                f"the registry names a file outside its repository as its own: {path!r}; it was not touched"
            )
        place = self.absolute(path)
        folder = os.path.dirname(place)
        known = _number_of(folder)
        # As long as a path leads to the same folder, that is where it was.
        if known is not None and self._inside.get(folder) == known:
            return place
        folder = os.path.realpath(folder)
        if _lies_in(folder, self.root):
            if known is not None and known == _number_of(folder):
                self._remember(os.path.dirname(place), known)
        elif not any(_lies_in(folder, allowed) for allowed in self.trusted_folders):
            raise TrustError(
                f"{os.path.dirname(place)} is a link that leads to {folder}, outside of the repository {self.root}: "
                "nothing was written or removed there. If that is right, open the repository with "
                f"Butler(..., trust_paths=[{folder!r}])"
            )
        return place

    def _remember(self, folder: str, known: tuple[int, int]) -> None:
        """Remember that a folder, which has this device and number, lies in the root."""
        if len(self._inside) >= _MOST_FOLDERS:
            self._inside.clear()
        self._inside[folder] = known

    def open(self, file: StoredFile) -> LocalSource:
        """Open a file for reading; nothing is read yet."""
        path = self.absolute(file.path)
        apart = file.modified is not None and not self.lies_inside(path)
        return LocalSource(path, file, self.verify, apart)

    def lies_inside(self, place: str) -> bool:
        """Tell whether an absolute path leads to something in the root, links resolved."""
        folder = place.rpartition("/")[0] or "/"
        try:
            there, itself = os.stat(folder), os.lstat(place)
        except OSError:
            return _lies_in(os.path.realpath(place), self.root)
        # As long as a path leads to the same folder, that is where it was.
        known = there.st_dev, there.st_ino
        if stat.S_ISLNK(itself.st_mode) or self._inside.get(folder) != known:
            if not _lies_in(os.path.realpath(place), self.root):
                return False
            if not stat.S_ISLNK(itself.st_mode):
                self._remember(folder, known)
        return True

    def uri(self, path: str) -> str:
        """Return the absolute path."""
        return self.absolute(path)

    def draft(self, path: str) -> LocalDraft:
        """Begin a file that nobody sees until it is published."""
        return LocalDraft(self, path)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is no fault."""
        try:
            os.unlink(self.within(path))
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
        if folder == self.root and self._was_there:
            # Whoever moved it away meanwhile does not want another in its place.
            raise RepositoryError(f"the repository {folder} is gone: nothing was written")
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

    def is_unsynced(self, folder: str) -> bool:
        """Tell whether a folder was made here and may not have been synced into the one above it."""
        return folder in self._unsynced

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


def _number_of(folder: str) -> tuple[int, int] | None:
    """Return what tells a folder from every other as long as it is there; None if it is not."""
    try:
        there = os.stat(folder)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _lies_in(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip(os.sep) + os.sep)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    try:
        _sync(folder)
    except OSError as error:
        # Some file systems have no folder sync; the files themselves are synced all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def checksum_of(path: str) -> str:
    """Return the XXH3-128 of a whole local file, hexadecimal."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return str(digest.hexdigest())
