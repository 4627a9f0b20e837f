"""What may be handed out twice: frozen objects."""

from __future__ import annotations

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
