"""A registry that its last writer left without closing it, read by somebody who may not tidy up after it.

SQLite reads a log together with the memory that its users share. Where the last of them was killed, that memory is
gone or out of date, and only who may write in the folder can set it up again. Everybody else reads a copy.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable

from ..errors import RepositoryError

_ATTEMPTS = 20

Stamp = tuple[object, ...]
"""What changes with a registry: whoever read one state has to look again when it does."""


def stamp_of(path: str) -> Stamp:
    """Return the stamp of a registry.

    Raises
    ------
    RepositoryError
        If it is not there.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise RepositoryError(f"the registry {path} cannot be read: {error.strerror}") from error
    try:
        log = os.stat(path + "-wal")
    except OSError:
        return status.st_mtime_ns, status.st_size, status.st_ino
    return status.st_mtime_ns, status.st_size, status.st_ino, log.st_mtime_ns, log.st_size, log.st_ino


def is_in_use(path: str) -> bool:
    """Tell whether a process of this machine shares the memory of a log; if that cannot be told, it may."""
    try:
        number = os.stat(path + "-shm").st_ino
    except OSError:
        return False
    try:
        # Not by opening the memory: closing it again would give up this process's own locks.
        with open("/proc/locks", "rb") as file:
            locks = file.read()
    except OSError:
        return True
    return b":%d " % number in locks


def connect_to_copy(path: str, connect: Callable[[str], sqlite3.Connection]) -> tuple[sqlite3.Connection, Stamp]:
    """Copy a registry and what is beside it; return a connection to the copy and the stamp of what was copied.

    Parameters
    ----------
    connect : callable
        Opens a file for writing.

    Raises
    ------
    RepositoryError
        If there is no room for a copy, or the registry changes all the time.
    """
    import shutil
    import tempfile

    try:
        for _ in range(_ATTEMPTS):
            stamp = stamp_of(path)
            with tempfile.TemporaryDirectory(prefix="bunter-") as folder:
                copy = os.path.join(folder, "registry")
                shutil.copyfile(path, copy)
                for beside in ("-wal", "-journal"):
                    if os.path.exists(path + beside):
                        shutil.copyfile(path + beside, copy + beside)
                if stamp_of(path) == stamp:
                    connection = connect(copy)
                    # The log becomes part of the one file, which lives on without a name as long as it is open.
                    connection.execute("PRAGMA journal_mode = DELETE")
                    connection.execute("SELECT 1 FROM sqlite_master").fetchall()
                    connection.execute("PRAGMA query_only = ON")
                    return connection, stamp
            time.sleep(0.05)
    except OSError as error:
        raise RepositoryError(
            f"the registry {path} was not closed properly, its folder cannot be written, and it cannot be copied to be "
            f"read: {error}"
        ) from error
    raise RepositoryError(f"the registry {path} cannot be read: it changes all the time; try again")
