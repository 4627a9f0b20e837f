"""What is recorded in the tests of registries, and what they are told of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..dataid import DataId, KeyValue
from ..files.interface import StoredFile
from ..registry.interface import NewDataset, Pin, Registry, Writing

KINDS = {"visit": "int", "ccd": "str"}
HOW = Writing("Json", "builtins.dict", None, None)
ODD_WORDS = (
    "order group select from where table index values join union limit by as and or not null default primary key "
    "check user desc rowid oid part live uuid file id writing written_at written_by name type class Größe k d f κ "
    "camelCase __x"
)
"""Words of SQL and of the registry itself."""


def stored_file(path: str, **changes: Any) -> StoredFile:
    """Return a file of the repository's own, but for the changes."""
    plain: dict[str, Any] = {"owned": True, "size": 10, "modified": None, "checksum": "00" * 16, "layout": {}}
    return StoredFile(path, **{**plain, **changes})


def dataset(
    data_id: Mapping[str, KeyValue],
    type_: str = "raw",
    kinds: Mapping[str, str] | None = None,
    **changes: Any,
) -> NewDataset:
    """Return a dataset with a file of its own, but for the changes."""
    uuid = changes.pop("uuid", None) or uuid4()
    plain: dict[str, Any] = {"writing": HOW, "written_at": 1, "written_by": "me"}
    plain["file"] = stored_file(f"{uuid4()}.json")
    return NewDataset(type_, KINDS if kinds is None else kinds, DataId(data_id), uuid, **{**plain, **changes})


def composite(
    data_id: Mapping[str, KeyValue], pins: Sequence[Pin], type_: str = "calexp", **changes: Any
) -> NewDataset:
    """Return a put composite."""
    return dataset(data_id, type_, file=None, writing=None, pins=pins, **changes)


def pin_of(component: str, new: NewDataset, **changes: Any) -> Pin:
    """Return the pin of a dataset, but for the changes."""
    plain = {"member": None, "uuid": new.uuid, "part": "", "place": "there"}
    return Pin(component, type=new.type, data_id=new.data_id, **{**plain, **changes})


def one(number: int, ccd: str = "N1") -> dict[str, KeyValue]:
    """Return a data ID with all keys of `KINDS`."""
    return {"visit": number, "ccd": ccd}


class RegistryUnderTest:
    """What every registry has to do; inherit it and say what to test.

    The statements of ``where`` are SQL, so that only `where` here says what they are.
    """

    # --- what a subclass says ------------------------------------------------------------------------------

    def registry(self, folder: Path) -> Registry:
        """Return a new, empty registry; `folder` is empty, and its own."""
        raise NotImplementedError

    def again(self, registry: Registry) -> Registry:
        """Return another connection to the same registry, as another process has it."""
        raise NotImplementedError

    def where(self, key: str, sign: str, value: KeyValue) -> tuple[str, Sequence[Any]]:
        """Return the condition ``key sign value`` as `Registry.select` takes it."""
        raise NotImplementedError
