"""The registry of what a transaction has put: it writes nothing down before it is asked more than what is where.

Most transactions put new files and ask only whether there are such already. That takes no tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from ..dataid import DataId, KeyValue
from ..errors import RepositoryError
from .connections import MEMORY
from .interface import Changes, Kinds, NewDataset, Record
from .sqlite import SqliteRegistry

_Fact = tuple[str, frozenset[tuple[str, KeyValue]]]


class PendingRegistry(SqliteRegistry):
    """A registry in memory, which answers and refuses what any other does.

    As long as there are only new files, none of which contradicts another, it remembers them. Whatever else it is told
    or asked, they are written into tables first, and from then on it is as any other.
    """

    def __init__(self) -> None:
        self._written = False
        self._waiting = Changes()
        self._found: dict[str, dict[DataId, Record]] = {}
        self._kinds: dict[str, Kinds] = {}
        self._facts: dict[_Fact, KeyValue] = {}
        self._paths: set[str] = set()
        self._uuids: set[UUID] = set()
        self._own = {"_own", *self.__dict__}

    # Without tables

    def apply(self, all_changes: Sequence[Changes], check: Callable[[], None] | None = None) -> None:
        """Make all changes visible together; see `bunter.registry.interface.Registry.apply`."""
        if not self._written and check is None and len(all_changes) == 1 and self._takes(all_changes[0]):
            self._remember(all_changes[0])
        else:
            super().apply(all_changes, check)

    def find(self, type_: str, data_id: Mapping[str, KeyValue], part: str = "") -> Record | None:
        """Return the live dataset of a type and a full data ID; a whole wins over a part dataset."""
        if not self._written:
            kinds = self._kinds.get(type_)
            if kinds is None:
                return None
            if type(data_id) is DataId and data_id.keys() == kinds.keys():
                return self._found[type_].get(data_id)
        return super().find(type_, data_id, part)

    def implied(self, key: str, by: Mapping[str, KeyValue]) -> KeyValue | None:
        """Return the value of an implied key."""
        if not self._written:
            return self._facts.get((key, frozenset(by.items())))
        return super().implied(key, by)

    def _takes(self, changes: Changes) -> bool:
        """Tell whether it is certain that tables would take changes, too."""
        if changes.trashed or changes.restored or changes.regions or changes.checked:
            return False
        if any(self._facts.get(fact, value) != value for fact, value in _facts(changes)):
            return False
        datasets = changes.datasets
        return len(datasets) <= 1 and all(map(self._is_new, datasets))

    def _is_new(self, new: NewDataset) -> bool:
        file = new.file
        if file is None or not file.owned or file.layout or file.path.casefold() in self._paths:
            return False
        if new.pins is not None or new.replaces or new.part or not new.live or new.uuid in self._uuids:
            return False
        kinds = self._kinds.get(new.type)
        if kinds is None:
            known = len({key.casefold() for key in new.kinds}) == len(new.kinds)
        else:
            known = kinds == new.kinds and new.data_id not in self._found[new.type]
        return known and type(new.data_id) is DataId and new.data_id.keys() == new.kinds.keys()

    def _remember(self, changes: Changes) -> None:
        for new in changes.datasets:
            assert new.file is not None
            self._kinds.setdefault(new.type, new.kinds)
            self._found.setdefault(new.type, {})[new.data_id] = Record(
                new.type, new.data_id, new.uuid, "", True, new.file, new.writing, new.written_at, new.written_by
            )
            self._paths.add(new.file.path.casefold())
            self._uuids.add(new.uuid)
        self._facts.update(_facts(changes))
        self._waiting.datasets += changes.datasets
        self._waiting.implied.update(changes.implied)
        self._waiting.repins += changes.repins

    # With tables

    def __getattr__(self, name: str) -> Any:
        # What any other registry has from the beginning is made, and filled, when it is first used.
        if self.__dict__.get("_written", True):
            if name in ("_connections", "writable"):
                raise RepositoryError("a registry in memory was used after it was closed")
            raise AttributeError(f"a {type(self).__name__} has no {name!r}")
        self._write_down()
        return getattr(self, name)

    def _write_down(self) -> None:
        self._written = True
        try:
            super().__init__(MEMORY, create=True)
            if self._waiting:
                super().apply([self._waiting])
        except BaseException:
            for name in set(self.__dict__) - self._own:
                del self.__dict__[name]
            self._written = False
            raise
        self._waiting = Changes()

    def close(self) -> None:
        """Close every connection."""
        if "_connections" in self.__dict__:
            super().close()
        self._written = True


def _facts(changes: Changes) -> list[tuple[_Fact, KeyValue]]:
    return [((key, frozenset(given)), value) for (key, given), value in changes.implied.items()]
