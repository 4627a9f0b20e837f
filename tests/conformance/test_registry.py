from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bunter.dataid import KeyValue
from bunter.registry.schema import column
from bunter.registry.sqlite import SqliteRegistry
from bunter.testing import RegistryTests


class TestSqliteRegistry(RegistryTests):
    durable = False

    def registry(self, folder: Path) -> SqliteRegistry:
        return SqliteRegistry(str(folder / "registry.sqlite"), create=True, durable=self.durable)

    def again(self, registry: SqliteRegistry) -> SqliteRegistry:
        return SqliteRegistry(registry.path, durable=self.durable)

    def where(self, key: str, sign: str, value: KeyValue) -> tuple[str, Sequence[Any]]:
        return f"d.{column(key)} {sign} ?", [value]


class TestDurableSqliteRegistry(TestSqliteRegistry):
    durable = True
