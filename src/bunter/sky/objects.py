"""Which objects lie somewhere on the sky. It imports nothing heavy, since every put asks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = frozenset((str, int, float, bool, type(None), list, tuple, dict, bytes))
"""Types of values that lie nowhere."""


def footprint_of(value: Any) -> bytes | None:
    """Return the footprint of a dataset: of an object with a ``wcs``, of a WCS, or of the components of a composite.

    Parameters
    ----------
    value : object or mapping
        An `Exposure`, a `CCDData`, a `SourceCatalog`, or any object whose `wcs` is an `astropy.wcs.WCS`; a WCS; or
        components by name: their ``wcs``, else the first that has one of its own. The shape is that of the image, else
        the one that the WCS states (``pixel_shape``).

    Returns
    -------
    bytes or None
        None if it has no celestial WCS or no shape.
    """
    wcs_module = sys.modules.get("astropy.wcs")
    if wcs_module is None:
        # Nobody can have made a WCS.
        return None
    if isinstance(value, wcs_module.WCS):
        return _of(value, value)
    if not isinstance(value, Mapping):
        wcs = getattr(value, "wcs", None)
        return _of(wcs, value) if isinstance(wcs, wcs_module.WCS) else None
    wcs = value.get("wcs")
    if not isinstance(wcs, wcs_module.WCS):
        parts = (part for part in value.values() if type(part) not in _PLAIN)
        found = (footprint_of(part) for part in parts if not isinstance(part, Mapping))
        return next((outline for outline in found if outline is not None), None)
    whole = (part for part in value.values() if hasattr(part, "image"))
    return _of(wcs, value["image"] if value.get("image") is not None else next(whole, wcs))


def _of(wcs: Any, image: Any) -> bytes | None:
    shape, origin = getattr(image, "shape", None), getattr(image, "origin", (0, 0))
    if image is wcs or hasattr(image, "colnames") or not _is_shape(shape):
        # A catalog has no pixels of its own.
        shape, origin = wcs.array_shape, (0, 0)
    if shape is None or not _is_shape(shape):
        return None
    from .footprints import footprint

    return footprint(wcs, shape, origin)


def _is_shape(shape: Any) -> bool:
    if not isinstance(shape, Sequence) or len(shape) < 2:
        return False
    return all(hasattr(length, "__index__") and length > 0 for length in shape)
