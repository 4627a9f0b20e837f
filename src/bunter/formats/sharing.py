"""What may be handed out twice: frozen objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_IMMUTABLE = (str, int, float, complex, bool, bytes, type(None))


def freeze(obj: Any) -> Any:
    """Return a frozen form of an object that can be shared, or None if it has none.

    Calibrations, PSFs and visit infos are frozen as they are; a WCS becomes a frozen one whose ``copy()`` thaws;
    an array becomes read-only.
    """
    if isinstance(obj, _IMMUTABLE):
        return obj
    if isinstance(obj, dict | list | set):
        return None
    from ..exposure.frozen import freeze as freeze_astronomy

    frozen = freeze_astronomy(obj)
    if frozen is not None and hasattr(obj, "setflags"):
        # What was read is nobody's but ours: with the flag down on it too, that of the view cannot be raised again.
        obj.setflags(write=False)
    return frozen


def share_components(obj: Any, keep: Callable[[str, Any], Any]) -> None:
    """Let an exposure that was read whole hold the components that others hold; its pixels stay its own.

    Parameters
    ----------
    obj : object
        Nothing is done unless it is a `bunter.Exposure`.
    keep : callable
        Called with the name and the frozen form of a component; returns the one that is shared.
    """
    if not hasattr(type(obj), "__bunter_components__"):
        return
    from astropy.wcs import WCS

    from ..exposure import Exposure, VisitInfo
    from ..exposure.values import Frozen

    if not isinstance(obj, Exposure):
        return
    for name in type(obj).__bunter_components__:
        component = getattr(obj, name)
        frozen = freeze(component) if isinstance(component, WCS | VisitInfo | Frozen) else None
        if frozen is not None:
            setattr(obj, name, keep(name, frozen))
