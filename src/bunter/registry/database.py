"""One SQLite file: its connections, its transactions, and what is known of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import DataIdError, IntegrityError, RepositoryError
from ..words import shown
from . import footprints
from .connections import BUSY_SECONDS, MEMORY, Connections, Handle
from .interface import Writing
from .migrations import migrate
from .schema import COLUMN_TYPES as KINDS
from .schema import SHARED_TABLES, VERSION, Table
from .turns import begin_turn, end_turn

UNSOUND = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    AssertionError,
    struct.error,
)
"""What comes of values that are none of ours."""

_NEVER_OURS = re.compile(r"\bVIRTUAL\b|\bGENERATED\b|\bAS\b|\bCHECK\b|\bDEFAULT\b|\bCOLLATE\b", re.IGNORECASE)


class _Layer(dict[Any, Any]):
    """What is added in front of another dictionary, which is asked for the rest; no value is None."""

    __slots__ = ("_behind",)

    def __init__(self, behind: dict[Any, Any]) -> None:
        super().__init__()
        self._behind = behind

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key."""
        found = super().get(key)
        return self._behind.get(key, default) if found is None else found

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._behind

    def values(self) -> Any:
        """Return the values of both."""
        return {**self._behind, **dict(super().items())}.values()

    def keep(self) -> None:
        """Hand over what was added."""
        self._behind.update(super().items())


class _Known:
    """What was read of a registry once and never changes: tables, words, how datasets were written.

    A write transaction has its own in front of the shared one, which is thrown away if it fails: the numbers
    that it gave are given again then. Whoever reads one state has the tables of that state.
    """

    def __init__(self, behind: _Known | None = None) -> None:
        self._own: tuple[dict[Any, Any], ...] = ({}, {}, {}, {})
        if behind is not None:
            self._own = tuple([_Layer(shared) for shared in behind._own])
        self.tables: dict[str, Table] = self._own[0]
        self.words: dict[int, str] = self._own[1]
        self.word_ids: dict[str, int] = self._own[2]
        self.writings: dict[int, Writing] = self._own[3]

    def as_now(self) -> _Known:
        """Return the same without the tables that others add from now on."""
        known = _Known.__new__(_Known)
        known.tables = dict(self.tables)
        known.words, known.word_ids, known.writings = self.words, self.word_ids, self.writings
        return known

    def keep(self) -> None:
        """Hand over to the shared one what is committed now."""
        for mine in self._own:
            if isinstance(mine, _Layer):
                mine.keep()


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
        self._folder = os.path.dirname(os.path.abspath(path))
        self.writable = writable
        self._shared = _Known()
        self._connections = Connections(path, create=create, writable=writable, durable=durable)
        try:
            self._check_schema()
            if create:
                self._create()
            self._make_current()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    # Schema

    def _create(self) -> None:
        with self.transaction(queue=False) as handle:
            # Something else's tables are left alone; the version is looked for next.
            if self.rows("SELECT 1 FROM sqlite_master"):
                return
            for statement in (*SHARED_TABLES, *footprints.FOOTPRINT_TABLES):
                handle.connection.execute(statement)
            handle.connection.execute("INSERT INTO about VALUES ('version', ?)", (str(VERSION),))
            handle.connection.execute("INSERT INTO word VALUES (0, '')")

    def _check_schema(self) -> None:
        """Refuse what a registry never has and a stranger may: views, triggers, columns that are computed."""
        statement = "SELECT type, name, sql FROM sqlite_master WHERE type NOT IN ('table', 'index') OR type = 'table'"
        for type_, name, sql in self.rows(statement):
            if type_ != "table" or (isinstance(sql, str) and _NEVER_OURS.search(sql)):
                raise RepositoryError(
                    f"{self.path} is not a registry of Bunter's making: it holds the {type_} {shown(name)}, which "
                    "could do anything; it was not used"
                )

    def _make_current(self) -> None:
        # Readers understand every earlier layout; only who writes makes it today's.
        if self._version() < VERSION and self.writable:
            with self.transaction(queue=False) as handle:
                migrate(handle.connection, self._version())

    def _version(self) -> int:
        rows = self.rows("SELECT value FROM about WHERE name = 'version'")
        if not rows or not re.fullmatch("[0-9]{1,9}", str(rows[0][0])):
            raise RepositoryError(f"{self.path} is not a registry of Bunter: it has no version")
        version = int(rows[0][0])
        if version > VERSION:
            raise RepositoryError(
                f"the registry {self.path} has layout {version}; this Bunter knows layouts up to {VERSION}: "
                "use a newer Bunter"
            )
        return version

    # Statements

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows that a statement gives."""
        try:
            return self._connections.current().connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._cannot("read", error) from error
        except OverflowError:
            raise DataIdError(f"an integer of more than 64 bits is among {values!r:.200}") from None
        except UnicodeDecodeError as error:
            raise RepositoryError(f"the registry {self.path} is damaged: {error}") from error

    def in_doubt(self) -> bool:
        """Tell whether this thread's last write transaction, which raised, may have been committed all the same."""
        return self._connections.current().in_doubt

    def _cannot(self, what: str, error: sqlite3.Error, *, in_doubt: bool = False) -> RepositoryError:
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
        if in_doubt:
            hint = (
                ". The commit itself failed: whether it will be there when the registry is opened again is not known; "
                "look before you repeat it. 'bunter verify --repair' tidies up"
            )
        return RepositoryError(f"the registry {self.path} cannot be {what}: {text}{hint}")

    @contextlib.contextmanager
    def transaction(self, *, queue: bool = True) -> Iterator[Handle]:
        """Begin a write transaction; commit it, or roll it back at an error.

        Parameters
        ----------
        queue : bool
            Wait in the queue of those who write; False for whoever makes a repository, and holds its folder.
        """
        if not self.writable:
            raise RepositoryError(f"the registry {self.path} was opened read-only; nothing was written")
        handle = self._connections.current()
        handle.in_doubt = False
        place = self._wait_for_turn() if queue and self.path != MEMORY else None
        try:
            self._begin(handle)
            handle.known = known = _Known(self._shared)
            committing = False
            try:
                yield handle
                committing = True
                handle.connection.execute("COMMIT")
            except BaseException as error:
                # An interrupt comes before the commit, or after it.
                handle.in_doubt = committing and not handle.connection.in_transaction
                with contextlib.suppress(sqlite3.Error):
                    handle.connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    handle.in_doubt = committing and not _wipe(handle.connection)
                    raise self._cannot("written", error, in_doubt=handle.in_doubt) from error
                raise
            else:
                known.keep()
            finally:
                handle.known = None
                handle.seen = None
        finally:
            end_turn(place)

    def _wait_for_turn(self) -> int | None:
        """Return what `end_turn` takes back."""
        try:
            return begin_turn(self._folder, BUSY_SECONDS, self._connections.last_write)
        except TimeoutError:
            raise self._busy() from None

    def _begin(self, handle: Handle) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                handle.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if "locked" not in str(error):
                    raise self._cannot("written", error) from error
                if time.monotonic() > deadline:
                    raise self._busy() from error
                time.sleep(0.005)
            else:
                return

    def _busy(self) -> RepositoryError:
        return RepositoryError(
            f"the registry {self.path} cannot be written: another process has held its lock for {BUSY_SECONDS} s and "
            "has written nothing; it may be stopped, or be another program that has the file open. Nothing was "
            "written; end it, or try again later"
        )

    # What is known

    @property
    def known(self) -> _Known:
        """What this thread may take for known."""
        return self._connections.current().known or self._shared

    def table(self, type_: str) -> Table | None:
        """Return the table of a dataset type, None if nothing of that type was ever recorded."""
        table = (self._connections.current().known or self._shared).tables.get(type_)
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
                tables[name] = self._table(number, name, keys)
        handle.seen = seen
        return True

    def _table(self, number: Any, name: Any, keys: Any) -> Table:
        try:
            kinds = json.loads(keys)
            # They become part of statements.
            if type(number) is int and isinstance(name, str) and all(kind in KINDS for kind in kinds.values()):
                return Table(number, name, kinds)
            raise ValueError(f"the type {name!r:.100} with the keys {keys!r:.200}")
        except UNSOUND as error:
            raise self.damaged("its list of dataset types", error) from error

    def damaged(self, what: str, error: Exception) -> IntegrityError:
        """Return the error about something in the registry that nobody can have written there."""
        return IntegrityError(
            f"the registry {self.path} is damaged: {what} makes no sense ({type(error).__name__}: {error!s:.300})"
        )

    def word(self, number: int) -> str:
        """Return the word of a number."""
        if not number:
            return ""
        words = (self._connections.current().known or self._shared).words
        text = words.get(number)
        if text is None:
            rows = self.rows("SELECT text FROM word WHERE id = ?", (number,))
            if not rows:
                raise IntegrityError(f"the registry {self.path} is damaged: word {number} is missing")
            text = rows[0][0]
            if not isinstance(text, str):
                raise IntegrityError(f"the registry {self.path} is damaged: word {number} is no text")
            words[number] = text
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
            try:
                told = json.loads(self.word(number))
                if not all(word is None or isinstance(word, str) for word in told) or told[0] is None:
                    raise ValueError(f"{told!r:.200}")
                how = writings[number] = Writing(*told)
            except UNSOUND as error:
                raise self.damaged(f"how datasets were written (word {number})", error) from error
        return how

    # One state

    def begin_read(self) -> None:
        """See one state of the registry until `end_read`, whatever others commit meanwhile."""
        handle = self._connections.current()
        if not handle.reading and not handle.connection.in_transaction:
            known = self._shared.as_now()
            self._run(handle, "BEGIN")
            handle.known, handle.began = known, True
        handle.reading += 1

    def end_read(self) -> None:
        """End what `begin_read` began."""
        handle = self._connections.current()
        handle.reading -= 1
        if not handle.reading and handle.began:
            handle.began = False
            if handle.known is not None:
                # Tables are only ever added: those of the state that was read are there now, too.
                self._shared.tables.update(handle.known.tables)
            handle.known = None
            self._run(handle, "COMMIT")

    def _run(self, handle: Handle, statement: str) -> None:
        try:
            handle.connection.execute(statement)
        except sqlite3.Error as error:
            raise self._cannot("read", error) from error


def _wipe(connection: sqlite3.Connection) -> bool:
    """Write over what a commit that failed may have left in the log; tell whether it is gone for certain.

    A log that could not be synced may hold the whole of it all the same, and whoever opens the registry after a crash
    would take it for committed.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        # A change that changes nothing would not be written.
        connection.execute("INSERT INTO about VALUES ('wipe', '')")
        connection.execute("DELETE FROM about WHERE name = 'wipe'")
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        return False
    return True
