"""Definitions (the policy): what dataset types there are, read from YAML or dicts, checked, combined."""

from __future__ import annotations

from .collection import Definitions, load
from .model import (
    CardMatch,
    ComponentDefinition,
    CompositeType,
    DatasetType,
    DerivedDefinition,
    Each,
    PartDefinition,
    PartOfType,
    Place,
    StoredType,
)

__all__ = [
    "CardMatch",
    "ComponentDefinition",
    "CompositeType",
    "DatasetType",
    "Definitions",
    "DerivedDefinition",
    "Each",
    "PartDefinition",
    "PartOfType",
    "Place",
    "StoredType",
    "load",
]
