"""One SQLite file: its connections, its transactions, and what is known of it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import ChainMap
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from ..errors import DataIdError, IntegrityError, RepositoryError
from . import footprints
from .connections import BUSY_SECONDS, Connections, Handle
from .interface import Writing
from .schema import SHARED_TABLES, VERSION, Table


class _Known:
    """What was read of a registry once and never changes: tables, words, how datasets were written.

    A write transaction has its own in front of the shared one, which is thrown away if it fails: the numbers
    that it gave are given again then. Whoever reads one state has the tables of that state.
    """

    def __init__(self, behind: _Known | None = None) -> None:
        self._behind = behind
        self._own: tuple[dict[Any, Any], ...] = ({}, {}, {}, {})
        layers: Sequence[MutableMapping[Any, Any]] = self._own
        if behind is not None:
            layers = [ChainMap(mine, shared) for mine, shared in zip(self._own, behind._own, strict=True)]
        self.tables: MutableMapping[str, Table] = layers[0]
        self.words: MutableMapping[int, str] = layers[1]
        self.word_ids: MutableMapping[str, int] = layers[2]
        self.writings: MutableMapping[int, Writing] = layers[3]

    def as_now(self) -> _Known:
        """Return the same without the tables that others add from now on."""
        known = _Known()
        known.tables = dict(self.tables)
        known.words, known.word_ids, known.writings = self.words, self.word_ids, self.writings
        return known

    def keep(self) -> None:
        """Hand over to the shared one what is committed now."""
        if self._behind is not None:
            for mine, shared in zip(self._own, self._behind._own, strict=True):
                shared.update(mine)


class Database:
    """One SQLite file, its connections, and what is known of it; for this package alone.

    Parameters
    ----------
    path : str
        The file, or ``":memory:"`` for a registry that lives as long as the object.
    create : bool
        Make the file and its tables if there are none.
    writable : bool
        Open for writing.
    durable : bool
        Sync every commit to disk.

    Raises
    ------
    RepositoryError
        If the file is not a registry, is damaged or of a newer layout, or cannot be opened. Every method can
        raise it, since a file may go bad at any time.
    """

    def __init__(self, path: str, *, create: bool = False, writable: bool = True, durable: bool = True) -> None:
        self.path = path
        self.writable = writable
        self._shared = _Known()
        self._connections = Connections(path, create=create, writable=writable, durable=durable)
        try:
            if create:
                self._create()
            self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    # Schema

    def _create(self) -> None:
        with self.transaction() as handle:
            # Something else's tables are left alone; the version is looked for next.
            if self.rows("SELECT 1 FROM sqlite_master"):
                return
            for statement in (*SHARED_TABLES, *footprints.FOOTPRINT_TABLES):
                handle.connection.execute(statement)
            handle.connection.execute("INSERT INTO about VALUES ('version', ?)", (str(VERSION),))
            handle.connection.execute("INSERT INTO word VALUES (0, '')")

    def _check_version(self) -> None:
        rows = self.rows("SELECT value FROM about WHERE name = 'version'")
        if not rows or not str(rows[0][0]).isdigit():
            raise RepositoryError(f"{self.path} is not a registry of Bunter: it has no version")
        if int(rows[0][0]) > VERSION:
            raise RepositoryError(
                f"the registry {self.path} has layout {rows[0][0]}; this Bunter knows layouts up to {VERSION}: "
                "use a newer Bunter"
            )

    # Statements

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows that a statement gives."""
        try:
            return self._connections.current().connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._cannot("read", error) from error
        except OverflowError:
            raise DataIdError(f"an integer of more than 64 bits is among {values!r:.200}") from None

    def _cannot(self, what: str, error: sqlite3.Error) -> RepositoryError:
        text = str(error)
        if "readonly" in text:
            return RepositoryError(f"the registry {self.path} is read-only")
        if "no such table: about" in text:
            return RepositoryError(f"{self.path} is not a registry of Bunter: it is empty, or something else")
        hint = ""
        if "unable to open" in text and not self.writable:
            hint = (
                "; if it was not closed properly, its folder must be writable once: "
                "open it where you may write, or copy it"
            )
        return RepositoryError(f"the registry {self.path} cannot be {what}: {text}{hint}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Handle]:
        """Begin a write transaction; commit it, or roll it back at an error."""
        if not self.writable:
            raise RepositoryError(f"the registry {self.path} was opened read-only; nothing was written")
        handle = self._connections.current()
        self._begin(handle)
        handle.known = known = _Known(self._shared)
        try:
            yield handle
            handle.connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                handle.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._cannot("written", error) from error
            raise
        else:
            known.keep()
        finally:
            handle.known = None
            handle.seen = None

    def _begin(self, handle: Handle) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                handle.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._cannot("written", error) from error
                time.sleep(0.005)
            else:
                return

    # What is known

    @property
    def known(self) -> _Known:
        """What this thread may take for known."""
        return self._connections.current().known or self._shared

    def table(self, type_: str) -> Table | None:
        """Return the table of a dataset type, None if nothing of that type was ever recorded."""
        table = self.known.tables.get(type_)
        if table is None and self._refresh():
            table = self.known.tables.get(type_)
        return table

    def tables(self) -> list[Table]:
        """Return the tables of all dataset types."""
        self._refresh()
        return list(self.known.tables.values())

    def _refresh(self) -> bool:
        """Read the list of tables again if the database changed; tell whether it did."""
        handle = self._connections.current()
        seen = self.rows("PRAGMA data_version")[0][0], handle.connection.total_changes
        if seen == handle.seen:
            return False
        tables = self.known.tables
        for number, name, keys in self.rows("SELECT id, name, keys FROM dataset_type"):
            if name not in tables:
                tables[name] = Table(number, name, json.loads(keys))
        handle.seen = seen
        return True

    def word(self, number: int) -> str:
        """Return the word of a number."""
        if not number:
            return ""
        words = self.known.words
        text = words.get(number)
        if text is None:
            rows = self.rows("SELECT text FROM word WHERE id = ?", (number,))
            if not rows:
                raise IntegrityError(f"the registry {self.path} is damaged: word {number} is missing")
            text = words[number] = rows[0][0]
        return text

    def word_id(self, text: str) -> int | None:
        """Return the number of a word, None if it was never recorded."""
        if not text:
            return 0
        ids = self.known.word_ids
        number = ids.get(text)
        if number is None:
            rows = self.rows("SELECT id FROM word WHERE text = ?", (text,))
            if not rows:
                return None
            number = ids[text] = rows[0][0]
        return number

    def writing(self, number: int) -> Writing | None:
        """Return how a dataset was written, by the number that it has of that."""
        if not number:
            return None
        writings = self.known.writings
        how = writings.get(number)
        if how is None:
            how = writings[number] = Writing(*json.loads(self.word(number)))
        return how

    # One state

    def begin_read(self) -> None:
        """See one state of the registry until `end_read`, whatever others commit meanwhile."""
        handle = self._connections.current()
        if not handle.reading and not handle.connection.in_transaction:
            known = self._shared.as_now()
            self.rows("BEGIN")
            handle.known, handle.began = known, True
        handle.reading += 1

    def end_read(self) -> None:
        """End what `begin_read` began."""
        handle = self._connections.current()
        handle.reading -= 1
        if not handle.reading and handle.began:
            handle.began = False
            handle.known = handle.seen = None
            self.rows("COMMIT")
