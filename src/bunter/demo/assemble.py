"""The assembler of ``src:jointcal`` (use case 3: a catalog with the calibration of its exposure attached)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def calibrated_catalog(data_id: Mapping[str, Any], components: Mapping[str, Any], kind: type) -> Any:
    """Return the rows as a `bunter.SourceCatalog` that holds the WCS and the zero point of a later stage."""
    catalog = kind(components["rows"])
    catalog.wcs = components["wcs"]
    catalog.photo_calib = components["photoCalib"]
    return catalog
