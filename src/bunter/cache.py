"""The bounded cache of components that may be shared: frozen objects, keyed by UUID and part."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

Key: TypeAlias = tuple[UUID, str, str]
"""UUID of the dataset, part, Python type."""


class ComponentCache:
    """A least-recently-used cache, bounded in bytes.

    Parameters
    ----------
    limit : int
        Bytes that are kept at the most; larger objects are not kept at all.
    """

    def __init__(self, limit: int = 256 * 2**20) -> None:
        self.limit = limit
        self.bytes = 0
        self._items: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Any:
        """Return the object, or None."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return None
            self._items.move_to_end(key)
            return item[0]

    def put(self, key: Key, obj: Any) -> Any:
        """Keep an object and return it, or the one that another thread kept first."""
        size = _size(obj)
        with self._lock:
            known = self._items.get(key)
            if known is not None:
                return known[0]
            if size <= self.limit:
                self._items[key] = obj, size
                self.bytes += size
                while self.bytes > self.limit:
                    _, (_, freed) = self._items.popitem(last=False)
                    self.bytes -= freed
        return obj


def _size(obj: Any, depth: int = 3) -> int:
    """Return about how many bytes an object takes: arrays count in full, other things as deep as `depth`."""
    nbytes = getattr(obj, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    size = sys.getsizeof(obj, 512)
    if depth and not isinstance(obj, str | bytes | type):
        slots = [name for cls in type(obj).__mro__ for name in vars(cls).get("__slots__", ())]
        inner = [getattr(obj, name, None) for name in slots if not name.startswith("__")]
        inner += getattr(obj, "__dict__", {}).values()
        if isinstance(obj, Mapping):
            inner += obj.values()
        elif isinstance(obj, list | tuple):
            inner += obj
        size += sum(_size(value, depth - 1) for value in inner)
    return size
