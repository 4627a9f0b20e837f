"""Connections to one SQLite file: one a thread, closed when the thread ends, none shared with a forked child."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import Any
from urllib.parse import quote
from weakref import WeakSet

from ..errors import RepositoryError

BUSY_SECONDS = 60
"""How long a writer waits for the others."""

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
    stamp : tuple or None
        The state of the file, for a connection that takes it for unchangeable.
    """

    __slots__ = ("__weakref__", "_pid", "began", "connection", "known", "reading", "seen", "stamp")

    def __init__(self, connection: sqlite3.Connection, stamp: tuple[int, ...] | None) -> None:
        self.connection = connection
        self._pid = os.getpid()
        self.stamp = stamp
        self.seen: object = None
        self.reading = 0
        self.began = False
        self.known: Any = None

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
        if handle is not None and (handle.stamp is None or handle.reading or handle.stamp == self._stamp()):
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

    def abandon(self) -> None:
        """Forget every connection, in a forked child, where they are the parent's."""
        self._guard = threading.Lock()
        if self.path != MEMORY:
            self._local = threading.local()
            self._handles = WeakSet()

    def _opened(self) -> Handle:
        try:
            handle = Handle(*self._connect())
        except sqlite3.Error as error:
            raise RepositoryError(f"the registry {self.path} cannot be opened: {error}") from error
        with self._guard:
            self._handles.add(handle)
        return handle

    def _connect(self) -> tuple[sqlite3.Connection, tuple[int, ...] | None]:
        if self.path == MEMORY:
            return sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False), None
        folder = os.path.dirname(os.path.abspath(self.path))
        if self._writable:
            connection = self._connect_as("rwc" if self._create else "rw")
            if self._create:
                _use_log(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            return connection, None
        if os.access(self.path, os.W_OK) and os.access(folder, os.W_OK):
            # A connection that may write tidies up the shared memory that every reader of a log needs.
            connection = self._connect_as("rw")
            connection.execute("PRAGMA query_only = ON")
            return connection, None
        if os.path.exists(self.path + "-wal"):
            return self._connect_as("ro"), None
        # We cannot make the shared memory, and there is no log: the file is all there is, until it changes.
        stamp = self._stamp()
        return self._connect_as("ro&immutable=1"), stamp

    def _connect_as(self, mode: str) -> sqlite3.Connection:
        place = quote(os.fsencode(os.path.abspath(self.path)))
        return sqlite3.connect(
            f"file:{place}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )

    def _stamp(self) -> tuple[int, ...]:
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise RepositoryError(f"the registry {self.path} cannot be read: {error.strerror}") from error
        return status.st_mtime_ns, status.st_size, status.st_ino, os.path.exists(self.path + "-wal")


def _use_log(connection: sqlite3.Connection) -> None:
    # Readers and a writer do not wait for each other then. The switch itself knows no waiting.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


_of_this_process: WeakSet[Connections] = WeakSet()
_abandoned: list[sqlite3.Connection] = []


def _after_fork() -> None:
    for connections in list(_of_this_process):
        connections.abandon()


with contextlib.suppress(AttributeError):
    os.register_at_fork(after_in_child=_after_fork)
