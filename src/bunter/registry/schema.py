"""The tables of a registry, and how older ones become today's.

One table a dataset type (``d1``, ``d2``, ...) holds its data IDs in typed columns ``k_<key>``; a partial
unique index over the live rows decides every race. The other tables are shared. All of it is plain SQL that
SQLite and PostgreSQL both take, but for the type names in `COLUMN_TYPES`.
"""

from __future__ import annotations

from collections.abc import Mapping

VERSION = 1

COLUMN_TYPES = {"int": "INTEGER", "str": "TEXT", "float": "REAL"}

SHARED_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE dataset_type (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, keys TEXT NOT NULL)",
    # Words that recur (how a dataset was written, producers, component paths, places) are kept once.
    "CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    # path_key is a 64-bit hash of the path (case-folded for owned files): a small unique index.
    "CREATE TABLE file (id INTEGER PRIMARY KEY, path TEXT NOT NULL, path_key INTEGER NOT NULL UNIQUE, "
    "owned INTEGER NOT NULL, size INTEGER NOT NULL, modified INTEGER, checksum BLOB, layout TEXT)",
    # leaf is a 64-bit hash of the pinned (type, data ID): who pins it, and what a replacement repins.
    "CREATE TABLE pin (type INTEGER NOT NULL, composite INTEGER NOT NULL, component INTEGER NOT NULL, "
    "member INTEGER NOT NULL, leaf INTEGER NOT NULL, leaf_type INTEGER NOT NULL, uuid BLOB, "
    "part INTEGER NOT NULL, place INTEGER NOT NULL, "
    "PRIMARY KEY (type, composite, component, member)) WITHOUT ROWID",
    "CREATE INDEX pin_leaf ON pin (leaf)",
    "CREATE TABLE precursor (type INTEGER NOT NULL, dataset INTEGER NOT NULL, ordinal INTEGER NOT NULL, "
    "leaf INTEGER NOT NULL, name INTEGER NOT NULL, data_id TEXT NOT NULL, uuid BLOB, place INTEGER NOT NULL, "
    "PRIMARY KEY (type, dataset, ordinal)) WITHOUT ROWID",
    "CREATE INDEX precursor_leaf ON precursor (leaf)",
    "CREATE TABLE implied (name TEXT NOT NULL, given TEXT NOT NULL, value NOT NULL, "
    "PRIMARY KEY (name, given)) WITHOUT ROWID",
)


def dataset_table(number: int, kinds: Mapping[str, str]) -> list[str]:
    """Return the statements that make the table of a dataset type."""
    columns = "".join(f"{column(key)} {COLUMN_TYPES[kind]} NOT NULL, " for key, kind in kinds.items())
    unique = ", ".join([*(column(key) for key in kinds), "part"])
    return [
        f"CREATE TABLE d{number} (id INTEGER PRIMARY KEY, {columns}part INTEGER NOT NULL, "
        "live INTEGER NOT NULL, uuid BLOB NOT NULL, file INTEGER, writing INTEGER NOT NULL, "
        "written_at INTEGER NOT NULL, written_by INTEGER NOT NULL)",
        f"CREATE UNIQUE INDEX d{number}_live ON d{number} ({unique}) WHERE live = 1",
        f"CREATE INDEX d{number}_uuid ON d{number} (uuid)",
        f"CREATE INDEX d{number}_file ON d{number} (file) WHERE file IS NOT NULL",
    ]


def column(key: str) -> str:
    """Return the quoted column of a data ID key; keys are identifiers, checked before they come here."""
    if not key.isidentifier():
        raise ValueError(key)
    return f'"k_{key}"'
