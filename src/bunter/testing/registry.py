"""The tests that every registry has to pass."""

from __future__ import annotations

from .registry_datasets import DatasetsInRegistry
from .registry_links import LinksInRegistry

__all__ = ["RegistryTests"]


class RegistryTests(DatasetsInRegistry, LinksInRegistry):
    """What every registry has to do; inherit it and say what to test: `registry`, `again` and `where`."""
