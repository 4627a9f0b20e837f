"""Regions on the sky and the footprints of datasets: `Circle`, `Box`, `Polygon`, for ``Butler.query(region=...)``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .footprints import footprint
    from .objects import footprint_of
    from .outlines import cells, unpack
    from .parsing import region
    from .regions import Box, Circle, Polygon, Region
    from .tables import region_rows

__all__ = [
    "Box",
    "Circle",
    "Polygon",
    "Region",
    "cells",
    "footprint",
    "footprint_of",
    "region",
    "region_rows",
    "unpack",
]

_PLACES = {
    "Box": ".regions",
    "Circle": ".regions",
    "Polygon": ".regions",
    "Region": ".regions",
    "cells": ".outlines",
    "footprint": ".footprints",
    "footprint_of": ".objects",
    "region": ".parsing",
    "region_rows": ".tables",
    "unpack": ".outlines",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'bunter.sky' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(place, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
