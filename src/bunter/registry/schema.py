"""The tables of a registry, and how older ones become today's.

One table a dataset type (``d1``, ``d2``, ...) holds its data IDs in typed columns ``k_<key>``; a partial
unique index over the live rows decides every race. The other tables are shared. All of it is plain SQL that
SQLite and PostgreSQL both take, but for the type names in `COLUMN_TYPES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..values import dataclass, field

VERSION = 3

HERE = 1
"""What stands for the place of a pinned dataset that is a row of this registry: a whole one, not in the trash.

No place has that number: the first words are those of how something was written, and of what pins it. And it takes no
room, as 0 does.
"""

PIN_INDEX = "CREATE INDEX pin_leaf ON pin (leaf, leaf_type)"

COLUMN_TYPES = {"int": "INTEGER", "str": "TEXT", "float": "REAL"}
_TYPES = {"int": int, "str": str, "float": float}

SHARED_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # keys is a JSON object: key -> int, str or float.
    "CREATE TABLE dataset_type (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, keys TEXT NOT NULL)",
    # Words that recur (how a dataset was written, producers, component paths, places) are kept once.
    "CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    # path_key is a 64-bit hash of the path (case-folded for owned files): a small unique index. layout is bytes that
    # `bunter.registry.layouts` reads, or JSON.
    "CREATE TABLE file (id INTEGER PRIMARY KEY, path TEXT NOT NULL, path_key INTEGER NOT NULL UNIQUE, "
    "owned INTEGER NOT NULL, size INTEGER NOT NULL, modified INTEGER, checksum BLOB, layout TEXT)",
    # leaf says who pins what, and what a replacement repins: with the place HERE it is the row of the pinned dataset,
    # else a 64-bit hash of its (type, data ID), which is the same for all that were ever there.
    "CREATE TABLE pin (type INTEGER NOT NULL, composite INTEGER NOT NULL, component INTEGER NOT NULL, "
    "member INTEGER NOT NULL, leaf INTEGER NOT NULL, leaf_type INTEGER NOT NULL, uuid BLOB, "
    "part INTEGER NOT NULL, place INTEGER NOT NULL, "
    "PRIMARY KEY (type, composite, component, member)) WITHOUT ROWID",
    PIN_INDEX,
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
    # live is 1, or minus the time in microseconds since 1970 at which the dataset went to the trash.
    return [
        f"CREATE TABLE d{number} (id INTEGER PRIMARY KEY, {columns}part INTEGER NOT NULL, "
        "live INTEGER NOT NULL, uuid BLOB NOT NULL, file INTEGER, writing INTEGER NOT NULL, "
        "written_at INTEGER NOT NULL, written_by INTEGER NOT NULL, metadata TEXT)",
        f"CREATE UNIQUE INDEX d{number}_live ON d{number} ({unique}) WHERE live = 1",
        f"CREATE UNIQUE INDEX d{number}_uuid ON d{number} (uuid, part)",
        f"CREATE INDEX d{number}_file ON d{number} (file) WHERE file IS NOT NULL",
        f"CREATE INDEX d{number}_part ON d{number} (part) WHERE part > 0 AND live = 1",
        trash_index(number),
    ]


def trash_index(number: int) -> str:
    """Return the statement that makes the index of what is in the trash, newest first."""
    return f"CREATE INDEX d{number}_trash ON d{number} (live) WHERE live != 1"


def column(key: str) -> str:
    """Return the quoted column of a data ID key; keys are identifiers, checked before they come here."""
    if not key.isidentifier():
        raise ValueError(f"a data ID key is an identifier, not {key!r}")
    return f'"k_{key}"'


@dataclass(frozen=True, slots=True)
class Table:
    """The table of one dataset type, and the statements that read it.

    Attributes
    ----------
    kinds : mapping
        Key -> ``int``, ``str`` or ``float``, in the order in which they were first recorded.
    select : str
        Selects uuid, part, live, writing, written_at, written_by, the file (path, owned, size, modified, checksum,
        layout), and the keys.
    find : str
        For all keys, and the number of a part, 0 for the whole: the live dataset.
    by_uuid : str
        For a UUID and the number of a part, 0 for the whole: the dataset.
    pins : str
        For the UUID of a composite: its pins.
    """

    number: int
    name: str
    kinds: Mapping[str, str]
    keys: tuple[str, ...] = field(init=False)
    types: tuple[type, ...] = field(init=False)
    columns: tuple[str, ...] = field(init=False)
    select: str = field(init=False)
    find: str = field(init=False)
    by_uuid: str = field(init=False)
    pins: str = field(init=False)

    def __post_init__(self) -> None:
        columns = tuple(column(key) for key in self.kinds)
        select = (
            "SELECT d.uuid, d.part, d.live, d.writing, d.written_at, d.written_by, "
            "f.path, f.owned, f.size, f.modified, f.checksum, f.layout"
            f"{''.join(f', d.{name}' for name in columns)} FROM d{self.number} d LEFT JOIN file f ON f.id = d.file "
        )
        given = "".join(f"d.{name} = ? AND " for name in columns)
        object.__setattr__(self, "keys", tuple(self.kinds))
        object.__setattr__(self, "types", tuple(_TYPES[kind] for kind in self.kinds.values()))
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "select", select)
        object.__setattr__(self, "find", f"{select}WHERE {given}d.part = ? AND d.live = 1")
        object.__setattr__(self, "by_uuid", f"{select}WHERE d.uuid = ? AND d.part = ?")
        pins = "SELECT component, member, leaf_type, uuid, part, place FROM pin"
        row = f"SELECT id FROM d{self.number} WHERE uuid = ? ORDER BY part LIMIT 1"
        where = f"WHERE type = {self.number} AND composite = ({row}) ORDER BY component, member"
        object.__setattr__(self, "pins", f"{pins} {where}")
