"""How the tables of earlier layouts become today's, step by step in one transaction.

Every step leaves what a reader of this Bunter understands without it, too: a repository that nobody may write stays
readable as it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from .schema import PIN_INDEX, VERSION, trash_index


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Take a registry from a layout to today's, within the transaction that the caller has begun.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a write transaction.
    version : int
        The layout that it has.
    """
    for step in range(version, VERSION):
        _STEPS[step](connection)
    connection.execute("UPDATE about SET value = ? WHERE name = 'version'", (str(VERSION),))


def _trash_has_times(connection: sqlite3.Connection) -> None:
    """Layout 2: what is in the trash says since when. When it went there is not known: now."""
    now = -max(time.time_ns() // 1000, 1)
    for (number,) in connection.execute("SELECT id FROM dataset_type").fetchall():
        connection.execute(f"UPDATE d{int(number)} SET live = ? WHERE live = 0", (now,))
        connection.execute(trash_index(int(number)))


def _pins_have_rows(connection: sqlite3.Connection) -> None:
    """Layout 3: pins name rows, which repeat from table to table; those that name data IDs stay as they are."""
    connection.execute("DROP INDEX IF EXISTS pin_leaf")
    connection.execute(PIN_INDEX)


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _trash_has_times, 2: _pins_have_rows}
