"""From references to records: where a dataset is now, what its put pinned, what something was made from."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from .context import Context
from .definitions.model import CompositeType
from .errors import DatasetNotFoundError, ParameterError
from .locate import Found, Located, LocatedBranch, located_leaves
from .names import DatasetName
from .plan import Branch, Leaf
from .refs import DatasetRef
from .registry.interface import Pin, Precursor
from .storing import place_of


def holder(context: Context, found: Found) -> Found | None:
    """Return where a dataset of a known UUID is recorded now: an open transaction's overlay counts as its output."""
    places = context.nearest_output() if found.repository is context.output else [found.repository]
    for repository in places:
        record = repository.registry.by_uuid(found.record.type, found.record.uuid, found.record.part)
        if record is not None:
            return Found(repository, record)
    return None


def pins_now(context: Context, found: Found) -> dict[UUID, list[Pin]]:
    """Return the pins of a put composite, and of the composites among them."""
    pins: dict[UUID, list[Pin]] = {}
    waiting = [found]
    while waiting:
        here = waiting.pop()
        if here.record.file is not None or here.record.uuid in pins:
            continue
        own = pins[here.record.uuid] = here.repository.registry.pins(here.record.type, here.record.uuid)
        for pin in own:
            if pin.uuid is not None and isinstance(context.definitions.types.get(pin.type), CompositeType):
                for repository in context.chain.order:
                    record = repository.registry.by_uuid(pin.type, pin.uuid)
                    if record is not None:
                        waiting.append(Found(repository, record))
                        break
    return pins


def as_put(context: Context, branch: Branch, found: Found, pins: dict[UUID, list[Pin]]) -> LocatedBranch:
    """Locate a dataset by the UUIDs that its put had.

    Raises
    ------
    DatasetNotFoundError
        If it was purged since.
    """
    exact = holder(context, found)
    if exact is None:
        raise DatasetNotFoundError(
            f"{found.record.type} {found.record.data_id} with UUID {found.record.uuid} is gone from "
            f"{found.repository.root}: it was purged, or its transaction was undone",
            [found.repository.root],
        )
    if isinstance(branch, Leaf):
        return Located(branch, "found", exact, pinned=True)
    locator = context.locator("exact")
    locator.frozen = pins
    return locator.at(branch, exact)


def precursors_of(context: Context, refs: Iterable[DatasetRef]) -> list[Precursor]:
    """Return the records of what something was made from; a composite that was never put counts by its leaves.

    Raises
    ------
    ParameterError
        If one of them is not a reference.
    """
    found: list[Precursor] = []
    for ref in refs:
        if not isinstance(ref, DatasetRef):
            raise ParameterError(f"precursors= takes DatasetRefs, not a {type(ref).__name__}")
        known = ref._find()
        if known is not None:
            found.append(_precursor(known))
            continue
        name = DatasetName.parse(ref.name)
        branch = context.expand(name, context.complete(name, ref.data_id))
        found += [_precursor(leaf.found) for leaf in located_leaves(context.locate(branch)) if leaf.found is not None]
    return list(dict.fromkeys(found))


def _precursor(found: Found) -> Precursor:
    record = found.record
    return Precursor(record.type, record.data_id, record.uuid, place_of(found))
