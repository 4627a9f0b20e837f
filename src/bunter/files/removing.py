"""Files that go for good: recognised as leftovers of Bunter's if the process that removes them is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ..errors import RepositoryError
from .drafts import draft_name
from .local import NO_LINKS, LocalFiles

_GONE = (errno.ENOENT, errno.ENOTDIR)


class Removal:
    """A file that is to go once the registry has forgotten it.

    It gets a draft's name as a second one (`bunter.files.drafts`), so that it can be told from a user's own file
    between the moment in which the registry forgets it and that in which it is gone.

    Parameters
    ----------
    files : LocalFiles
        Of the repository.
    path : str
        The file's path in it.

    Attributes
    ----------
    size : int
        Bytes that are free once it is gone: none if it has names elsewhere, or is gone already.
    removed : bool
        Whether it is gone, and by this.

    Raises
    ------
    RepositoryError
        If it cannot be removed; nothing is changed.
    """

    def __init__(self, files: LocalFiles, path: str) -> None:
        self._files = files
        self._place = files.within(path)
        self._folder, name = os.path.split(self._place)
        self._draft: str | None = None
        self._file: tuple[int, int] | None = None
        self.size = 0
        self.removed = False
        draft = os.path.join(self._folder, draft_name(name, exact=True))
        try:
            status = os.lstat(self._place)
            os.link(self._place, draft, follow_symlinks=False)
            self._draft = draft
            files.touched(self._folder)
        except OSError as error:
            if error.errno in _GONE:
                # Somebody has removed it already: what comes there now is another's.
                return
            if error.errno not in NO_LINKS:
                raise RepositoryError(f"{self._place} cannot be removed: {error.strerror}") from error
        self._file = status.st_dev, status.st_ino
        self.size = _size(status)

    @staticmethod
    def size_of(files: LocalFiles, path: str) -> int | None:
        """Return how many bytes would be free without a file; None if it is gone."""
        try:
            return _size(os.lstat(files.within(path)))
        except OSError:
            return None

    def keep(self) -> None:
        """Leave the file what it was."""
        self._forget_draft()

    def remove(self) -> None:
        """Remove it; `end` follows."""
        try:
            status = os.lstat(self._place)
            if (status.st_dev, status.st_ino) == self._file:
                os.unlink(self._place)
                self._files.touched(self._folder)
                self.removed = True
        except OSError as error:
            if error.errno not in _GONE:
                # Both names stay, so that `bunter verify --repair` finds it.
                self._draft, self.size = None, 0

    def end(self) -> None:
        """Give up its second name once the first is gone, and the folders that are empty now."""
        self._forget_draft()
        folder = self._folder
        while folder.startswith(self._files.root + os.sep):
            try:
                os.rmdir(folder)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def _forget_draft(self) -> None:
        # What cannot be removed here does no harm: `bunter verify --repair` does it.
        if self._draft is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._draft)
            self._draft = None


def _size(status: os.stat_result) -> int:
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
