"""Connections to one SQLite file: one a thread, closed when the thread ends, none shared with a forked child."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from weakref import WeakSet

from ..errors import RepositoryError
from .abandoned import Stamp, connect_to_copy, is_in_use, stamp_of
from .places import network_type
from .turns import turn

BUSY_SECONDS = 60
"""How long a writer waits for the others."""

LARGEST_VALUE = 1 << 26
"""Bytes that a value in a registry may have."""

MEMORY = ":memory:"


class Handle:
    """One connection and what is known of its state; closed with the last reference to it.

    Attributes
    ----------
    seen : object
        The state of the database when the list of tables was last read.
    reading : int
        How many `begin_read` are open.
    known : object or None
        What a write transaction in progress knows, and nobody else may.
    in_doubt : bool
        The last write transaction raised, but may have been committed all the same.
    stamp : tuple or None
        The state of the file, for a connection that takes it for unchangeable, or has a copy.
    """

    __slots__ = ("__weakref__", "_pid", "began", "connection", "in_doubt", "known", "reading", "seen", "stamp")

    def __init__(self, connection: sqlite3.Connection, stamp: Stamp | None) -> None:
        self.connection = connection
        self._pid = os.getpid()
        self.stamp = stamp
        self.seen: object = None
        self.reading = 0
        self.began = False
        self.known: Any = None
        self.in_doubt = False

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.connection.close()
        else:
            # A forked child must not touch its parent's connections, not even to close them.
            _abandoned.append(self.connection)


class Connections:
    """The connections of this process to one file.

    Parameters
    ----------
    path : str
        The file, or ``":memory:"``: one connection for all threads then.
    create : bool
        Make the file if there is none.
    writable : bool
        Open for writing.
    durable : bool
        Sync every commit to disk.
    """

    def __init__(self, path: str, *, create: bool, writable: bool, durable: bool) -> None:
        self.path = path
        self._create = create
        self._writable = writable
        self._durable = durable
        self._local = threading.local()
        self._guard = threading.Lock()
        self._handles: WeakSet[Handle] = WeakSet()
        folder = os.path.dirname(os.path.abspath(path))
        self._network_type = None if path == MEMORY else network_type(folder)
        self._memory: Handle | None = self._opened() if path == MEMORY else None
        _of_this_process.add(self)

    def current(self) -> Handle:
        """Return this thread's handle.

        Raises
        ------
        RepositoryError
            If the file cannot be opened.
        """
        if self.path == MEMORY:
            if self._memory is None:
                raise RepositoryError("a registry in memory was used after it was closed")
            return self._memory
        handle: Handle | None = getattr(self._local, "handle", None)
        if handle is not None and (handle.stamp is None or handle.reading or handle.stamp == stamp_of(self.path)):
            return handle
        handle = self._local.handle = self._opened()
        return handle

    def close(self) -> None:
        """Close every connection; the next use opens a new one, unless the registry is in memory."""
        with self._guard:
            handles = list(self._handles)
        self._local = threading.local()
        self._memory = None
        for handle in handles:
            handle.connection.close()

    def last_write(self) -> object:
        """Return what changes with each write of anybody."""
        found = []
        for path in (self.path, self.path + "-wal"):
            with contextlib.suppress(OSError):
                status = os.stat(path)
                found.append((status.st_mtime_ns, status.st_size))
        return found

    def abandon(self) -> None:
        """Forget every connection, in a forked child, where they are the parent's."""
        self._guard = threading.Lock()
        if self.path != MEMORY:
            self._local = threading.local()
            self._handles = WeakSet()

    def _opened(self) -> Handle:
        try:
            handle = Handle(*self._connect())
        except (sqlite3.Error, UnicodeDecodeError) as error:
            # What a damaged schema says need not be text.
            raise RepositoryError(f"the registry {self.path} cannot be opened: {error}") from error
        with self._guard:
            self._handles.add(handle)
        return handle

    def _connect(self) -> tuple[sqlite3.Connection, Stamp | None]:
        if self.path == MEMORY:
            return sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False), None
        folder = os.path.dirname(os.path.abspath(self.path))
        if self._writable:
            with self._alone(folder):
                return self._connect_to_write(folder), None
        has_journal = os.path.exists(self.path + "-journal")
        may_write = os.access(self.path, os.W_OK) and os.access(folder, os.W_OK)
        if may_write and (has_journal or self._network_type is None):
            # A connection that may write undoes what a killed writer left, and tidies up the memory that every reader
            # of a log needs.
            connection = self._connect_as("rw")
            connection.execute("PRAGMA query_only = ON")
            if has_journal:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
                self._keep_journal()
            return connection, None
        stamp = stamp_of(self.path)
        if not has_journal and not os.path.exists(self.path + "-wal"):
            # We cannot make the shared memory, and there is no log: the file is all there is, until it changes.
            return self._connect_as("ro&immutable=1"), stamp
        if has_journal or is_in_use(self.path):
            connection = self._connect_as("ro")
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
                return connection, None
            # Its last writer was killed, or has closed it this moment.
            connection.close()
        return connect_to_copy(self.path, lambda copy: self._connect_as("rw", copy))

    @contextlib.contextmanager
    def _alone(self, folder: str) -> Iterator[None]:
        """Wait for the others of this machine that open the file, if one of them may have to change its journal."""
        if self._network_type is None or self._create:
            yield
            return
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(turn(folder, BUSY_SECONDS, self.last_write))
            except TimeoutError:
                raise RepositoryError(
                    f"the registry {self.path} cannot be opened for writing: for {BUSY_SECONDS} s it was another "
                    "process's turn, which has done nothing and may be stopped; end it, or try again later"
                ) from None
            yield

    def _connect_to_write(self, folder: str) -> sqlite3.Connection:
        connection = self._connect_as("rwc" if self._create else "rw")
        try:
            self._choose_journal(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            if self._durable:
                # The log is made when the file is first read. SQLite syncs the folder, but says nothing if that fails.
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
                _sync_folder(folder)
        except BaseException:
            connection.close()
            raise
        return connection

    def _choose_journal(self, connection: sqlite3.Connection) -> None:
        """Write ahead into a log, unless several machines may have the file open: they would not share its memory."""
        if self._network_type is None:
            if self._create:
                _use_log(connection)
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
        try:
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            self._keep_journal()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise RepositoryError(
                f"the registry {self.path} is on a file system of the network ({self._network_type}), where it cannot "
                "be written as it is on a disk of one machine, and it cannot be changed while another process has it "
                "open. Nothing was written: open it once while nobody else has it open"
            ) from error

    def _keep_journal(self) -> None:
        """Let there be a journal, be it empty: it tells readers that there is no log, and to wait for locks."""
        try:
            os.close(os.open(self.path + "-journal", os.O_CREAT | os.O_WRONLY, 0o666))
        except OSError as error:
            raise RepositoryError(f"{self.path}-journal cannot be made: {error.strerror}") from error

    def _connect_as(self, mode: str, path: str | None = None) -> sqlite3.Connection:
        place = quote(os.fsencode(os.path.abspath(path or self.path)))
        connection = sqlite3.connect(
            f"file:{place}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )
        # The file may come from anybody: what its schema calls runs nothing, and no value is beyond measure.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        return connection


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems have no folder sync.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise RepositoryError(f"the folder {folder} cannot be made durable: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _use_log(connection: sqlite3.Connection) -> None:
    # Readers and a writer do not wait for each other then. The switch itself knows no waiting.
    deadline = time.monotonic() + BUSY_SECONDS
    failed = 0
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            # A disk that fails is not told here; a file system that has no logs does as well without.
            failed += 1
            if mode == "wal" or failed > 1:
                return


_of_this_process: WeakSet[Connections] = WeakSet()
_abandoned: list[sqlite3.Connection] = []


def _after_fork() -> None:
    for connections in list(_of_this_process):
        connections.abandon()


with contextlib.suppress(AttributeError):
    os.register_at_fork(after_in_child=_after_fork)
