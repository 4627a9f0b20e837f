"""A visit: all its CCDs as one object, each read when it is first asked for, with one VisitInfo for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..components import get_component
from ..dataid import DataId
from ..errors import ConflictError, DatasetNotFoundError
from ..words import did_you_mean, listing

if TYPE_CHECKING:
    from .exposure import Exposure
    from .visit_info import VisitInfo


class Ccds(Mapping[Any, Any]):
    """The CCDs of a visit by data ID, in key order; one is read when it is first asked for, and kept.

    A key is a data ID, or as much of one as is needed (``{"ccd": "N3"}``), or just the value (``"N3"``).

    Parameters
    ----------
    members : mapping, list with ``data_ids``, or iterable of pairs
        Data ID -> `Exposure`, or what has a ``get()`` that returns one (`DeferredDataset`).
    visit_info : VisitInfo, optional
        What all of them share.

    Raises
    ------
    TypeError
        If the members have no data IDs.
    """

    def __init__(self, members: Any = (), visit_info: VisitInfo | None = None) -> None:
        self._members: dict[DataId, Any] = {}
        # What was opened, as it came: `release` goes back to it.
        self._before: dict[DataId, Any] = {}
        self._shared = visit_info
        for data_id, member in _pairs(members):
            own = DataId(data_id)
            self._members[own] = member
            if not _is_deferred(member):
                self._agree(own, member)

    @property
    def data_ids(self) -> list[DataId]:
        """The data IDs, in order; nothing is read for them."""
        return list(self._members)

    @property
    def opened(self) -> list[DataId]:
        """The data IDs of the CCDs that are in memory."""
        return [data_id for data_id, member in self._members.items() if not _is_deferred(member)]

    def __getitem__(self, key: Any) -> Exposure:
        """Return a CCD, the same object every time.

        Raises
        ------
        DatasetNotFoundError
            If the visit has no such CCD, or several.
        ConflictError
            If its visit_info is not that of the visit.
        """
        data_id = self._find(key)
        member = self._members[data_id]
        if _is_deferred(member):
            exposure = member.get()
            self._agree(data_id, exposure)
            self._before[data_id] = member
            self._members[data_id] = member = exposure
        return member  # type: ignore[no-any-return]

    def component(self, name: str) -> dict[DataId, Any]:
        """Return one component of every CCD, ``component("wcs")``; nothing else of those that are not open is read."""
        return {
            data_id: member.get(name) if _is_deferred(member) else get_component(member, name)
            for data_id, member in self._members.items()
        }

    def release(self, key: Any = None) -> None:
        """Forget a CCD that was read, or all of them, and what was changed in it; it is read again when asked for."""
        for data_id in [self._find(key)] if key is not None else self.data_ids:
            self._members[data_id] = self._before.pop(data_id, self._members[data_id])

    def _agree(self, data_id: DataId, exposure: Any) -> None:
        """Let a CCD share the visit's VisitInfo; the first that has one gives it if the visit came without."""
        own = getattr(exposure, "visit_info", None)
        if own is None:
            return
        if self._shared is None:
            self._shared = own
        if own is self._shared:
            return
        if own != self._shared:
            raise ConflictError(
                f"{data_id}: the visit_info of this CCD is not that of its visit. Of the visit: {self._shared!r}. "
                f"Of the CCD: {own!r}"
            )
        exposure.visit_info = self._shared

    def _find(self, key: Any) -> DataId:
        if isinstance(key, Mapping):
            if isinstance(key, DataId) and key in self._members:
                return key
            found = [d for d in self._members if all(k in d and d[k] == value for k, value in key.items())]
        else:
            found = [d for d in self._members if any(_same_key(d[k], key) for k in self._telling(d))]
        if len(found) == 1:
            return found[0]
        if found:
            raise DatasetNotFoundError(f"{key!r} is not enough to tell these CCDs apart: {listing(found)}")
        known = [value for d in self._members for k, value in d.items() if k in self._telling(d)]
        near = did_you_mean(key, [value for value in known if isinstance(value, str)]) if isinstance(key, str) else ""
        raise DatasetNotFoundError(f"the visit has no CCD {key!r}{near}; it has: {listing(self._members)}")

    def _telling(self, data_id: DataId) -> list[str]:
        """Return the keys that tell the CCDs apart; all but the visit's own if there is only one."""
        if len(self._members) == 1:
            return [key for key in data_id if key != "visit"]
        return [key for key in data_id if len({other.get(key) for other in self._members}) > 1]

    def __contains__(self, key: object) -> bool:
        try:
            self._find(key)
        except DatasetNotFoundError:
            return False
        return True

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a CCD, or `default` if the visit has no such."""
        try:
            return self[key]
        except DatasetNotFoundError:
            return default

    def __iter__(self) -> Iterator[DataId]:
        return iter(self.data_ids)

    def __len__(self) -> int:
        return len(self._members)

    def __eq__(self, other: object) -> bool:
        """Tell whether two visits have equal CCDs; reads all of them."""
        if not isinstance(other, Mapping):
            return NotImplemented
        mine, theirs = set(self), {DataId(key) for key in other}
        return mine == theirs and all(self[key] == other[key] for key in mine)

    __hash__ = None  # type: ignore[assignment]  # mutable, equal by value

    def __bunter_members__(self) -> list[tuple[DataId, Any]]:
        """Return the CCDs for a put: those that were not opened as they came."""
        return list(self._members.items())

    def __repr__(self) -> str:
        return f"<{len(self)} CCDs, {len(self.opened)} in memory: {listing(self._members)}>"


class VisitExposure:
    """A full-focal-plane exposure: the facts of the visit, and its CCDs.

    Parameters
    ----------
    visit_info : VisitInfo, optional
        What is the same for all CCDs; every CCD that is handed out has this very object.
    ccds : mapping, list with ``data_ids``, or iterable of pairs
        Data ID -> `Exposure`, or what has a ``get()`` that returns one: with ``{subset: true, lazy: true}`` in the
        policy, each CCD is read when it is first asked for.

    Attributes
    ----------
    ccds : Ccds
        ``visit.ccds["N3"]``, ``visit.ccds.component("wcs")``, ``visit.ccds.items()``.

    Raises
    ------
    ConflictError
        If a CCD has another visit_info; when it is read, or at once if it is given.

    Examples
    --------
    >>> import numpy
    >>> from bunter import DataId, Exposure, VisitInfo
    >>> ccds = {DataId(visit=7, ccd=name): Exposure(numpy.zeros((2, 3))) for name in ("N3", "N4")}
    >>> visit = VisitExposure(VisitInfo(visit=7), ccds)
    >>> visit
    <VisitExposure 7, 2 CCDs, 2 in memory>
    >>> visit.ccds["N4"].shape
    (2, 3)
    """

    __slots__ = ("_visit_info", "ccds")

    __bunter_components__: ClassVar[Mapping[str, str]] = {"visit_info": "bunter.VisitInfo", "ccds": ""}

    __hash__ = None  # type: ignore[assignment]  # mutable, equal by value

    def __init__(self, visit_info: VisitInfo | None = None, ccds: Any = ()) -> None:
        from .visit_info import VisitInfo

        if visit_info is not None and not isinstance(visit_info, VisitInfo):
            raise TypeError(f"visit_info: a VisitInfo or None is needed, not a {type(visit_info).__name__}")
        self._visit_info = visit_info
        self.ccds = Ccds(ccds, visit_info)

    @property
    def visit_info(self) -> VisitInfo | None:
        """The facts of the visit. To change them for all CCDs, put the new ones under their own name."""
        return self._visit_info

    def __iter__(self) -> Iterator[Exposure]:
        """Iterate over the CCDs in key order, each read when it is reached."""
        return iter(self.ccds.values())

    def __len__(self) -> int:
        return len(self.ccds)

    def __eq__(self, other: object) -> bool:
        """Tell whether the visit_info and all CCDs are equal; reads all of them."""
        if not isinstance(other, VisitExposure):
            return NotImplemented
        return self.visit_info == other.visit_info and self.ccds == other.ccds

    def __repr__(self) -> str:
        visit = "" if self.visit_info is None or self.visit_info.visit is None else f" {self.visit_info.visit}"
        return f"<VisitExposure{visit}, {len(self.ccds)} CCDs, {len(self.ccds.opened)} in memory>"


def _is_deferred(member: Any) -> bool:
    return bool(getattr(member, "is_deferred", False))


def _same_key(value: object, key: object) -> bool:
    return value == key and isinstance(value, str) == isinstance(key, str)


def _pairs(members: Any) -> Iterable[tuple[Mapping[str, Any], Any]]:
    if isinstance(members, Ccds):
        return members.__bunter_members__()
    if isinstance(members, Mapping):
        pairs = list(members.items())
    elif hasattr(members, "data_ids"):
        pairs = list(zip(members.data_ids, members, strict=True))
    else:
        pairs = list(members)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise TypeError("ccds: CCDs need their data IDs: a mapping {data ID: Exposure}, or pairs of both")
    for data_id, _ in pairs:
        if not isinstance(data_id, Mapping):
            raise TypeError(f"ccds: a data ID such as DataId(visit=1, ccd='N3') is needed for a key, not {data_id!r}")
    return pairs
