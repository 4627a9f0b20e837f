"""From references to records: where a dataset is now, what its put pinned, what something was made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from .context import Context
from .definitions.model import CompositeType
from .errors import DatasetNotFoundError, ParameterError
from .locate import Found, Located, LocatedBranch, LocatedNode, located_leaves
from .names import DatasetName
from .plan import Branch, Leaf, Node
from .reading import check_complete
from .refs import DatasetRef
from .registry.interface import Pin, Precursor
from .storing import place_of

if TYPE_CHECKING:
    from .session import Session

_Link: TypeAlias = tuple[Precursor, Found | None, str]
"""What is known of a dataset, its record if it is in a repository that is searched, and the part that is meant."""


def holder(context: Context, found: Found) -> Found | None:
    """Return where a dataset of a known UUID is recorded now: an open transaction's overlay counts as its output."""
    places = context.nearest_output() if found.repository is context.output else [found.repository]
    for repository in places:
        record = repository.registry.by_uuid(found.record.type, found.record.uuid, found.record.part)
        if record is not None:
            return Found(repository, record)
    return None


def pins_now(context: Context, found: Found, known: Mapping[UUID, list[Pin]] | None = None) -> dict[UUID, list[Pin]]:
    """Return the pins of a put composite, and of the composites among them; those that are known are not looked up."""
    pins: dict[UUID, list[Pin]] = {}
    if found.record.file is not None:
        return pins
    known = known or {}
    waiting = [(found.repository, found.record.type, found.record.uuid)]
    while waiting:
        repository, type_, uuid = waiting.pop()
        if uuid in pins:
            continue
        own = pins[uuid] = known[uuid] if uuid in known else repository.registry.pins(type_, uuid)
        for pin in own:
            if pin.uuid is None or not isinstance(context.definitions.types.get(pin.type), CompositeType):
                continue
            if pin.uuid in known:
                waiting.append((repository, pin.type, pin.uuid))
                continue
            for other in context.chain.order:
                record = other.registry.by_uuid(pin.type, pin.uuid)
                if record is not None:
                    if record.file is None:
                        waiting.append((other, pin.type, pin.uuid))
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
    while exact.record.file is not None and isinstance(branch, Node) and branch.take:
        # A component with a dataset of its own: that is what the reference is of.
        branch = branch.branches[branch.take]
    while isinstance(branch, Node) and branch.take and branch.composite.name != exact.record.type:
        # The reference is of the component that is taken, not of the composite.
        branch = branch.branches[branch.take]
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


def trace(
    butler: Session,
    context: Context,
    start: DatasetRef | tuple[DatasetName, LocatedBranch],
    *,
    forwards: bool,
    deep: bool,
    components: bool,
) -> list[DatasetRef]:
    """Return what a dataset was made from, or (`forwards`) what it was used in; see `Butler.made_from`."""
    links = _start(context, start)
    step = _users if forwards else _sources
    found: dict[UUID | None, _Link] = {}
    if len(links) == 1 and links[0][1] is not None:
        waiting = list(step(context, links[0], components))
    elif forwards:
        # It was used where all of it was.
        each = [{user[0].uuid: user for user in step(context, link, components)} for link in links]
        waiting = [user for uuid, user in each[0].items() if all(uuid in others for others in each)] if each else []
    else:
        waiting = links if components else []
    seen = {link[0].uuid for link in links if len(links) == 1}
    while waiting:
        link = waiting.pop(0)
        if link[0].uuid in seen:
            continue
        seen.add(link[0].uuid)
        found[link[0].uuid] = link
        if deep and link[1] is not None:
            waiting += step(context, link, components)
    return [_ref(butler, context, link) for link in found.values()]


def _start(context: Context, start: DatasetRef | tuple[DatasetName, LocatedBranch]) -> list[_Link]:
    """Return the dataset, or the leaves of a composite that was never put."""
    if isinstance(start, DatasetRef):
        if start._lost is not None:
            raise DatasetNotFoundError(
                f"{start.name} {start.data_id} with UUID {start.uuid} is in none of the repositories that are "
                "searched: nothing is known of it but that it was there"
            )
        known = start._find()
        name = DatasetName.parse(start.name)
        if known is not None and not name.component:
            return [_link(holder(context, known) or known, "")]
        data_id = context.complete(name, start.data_id)
        located = context.locate(context.expand(name, data_id))
        check_complete(located, start.name, data_id)
    else:
        name, located = start
    while isinstance(located, LocatedNode) and located.node.take:
        located = located.branches[located.node.take]
    if isinstance(located, LocatedNode) and located.put is not None and not located.node.derive:
        return [_link(located.put, "")]
    links = []
    for leaf in located_leaves(located):
        if leaf.found is not None and isinstance(leaf.leaf, Leaf):
            links.append(_link(leaf.found, leaf.leaf.part))
    return links


def _link(found: Found, part: str) -> _Link:
    return _precursor(found), found, part


def _sources(context: Context, link: _Link, components: bool) -> Iterator[_Link]:
    """Walk over what a dataset was made from: its precursors, then the components that its put pinned."""
    found = link[1]
    if found is None:
        return
    registry, record = found.repository.registry, found.record
    for precursor in registry.precursors(record.type, record.uuid):
        yield precursor, _anywhere(context, precursor.type, precursor.uuid, ""), ""
    if not components or record.file is not None:
        return
    for pin in registry.pins(record.type, record.uuid):
        if pin.uuid is None:
            continue
        there = _anywhere(context, pin.type, pin.uuid, pin.part)
        data_id = there.record.data_id if there is not None else pin.member or pin.data_id
        yield Precursor(pin.type, data_id, pin.uuid, pin.place), there, pin.part


def _users(context: Context, link: _Link, components: bool) -> Iterator[_Link]:
    """Walk over what a dataset was used in: what has it as a precursor, then the composites that pin it."""
    known, _, part = link
    if known.uuid is None:
        return
    for repository in context.chain.order:
        registry = repository.registry
        users = list(registry.used_in(known.type, known.data_id, known.uuid))
        if components:
            for user in registry.pinned_by(known.type, known.data_id, known.uuid):
                pins = registry.pins(user.type, user.uuid) if part else []
                if not part or any(pin.uuid == known.uuid and pin.part in ("", part) for pin in pins):
                    users.append(user)
        for user in users:
            if user.uuid not in context.chain.hidden:
                yield _link(Found(repository, user), "")


def _anywhere(context: Context, type_: str, uuid: UUID | None, part: str) -> Found | None:
    """Return the dataset of a UUID, in whichever repository it is."""
    if uuid is None:
        return None
    for repository in context.chain.order:
        record = repository.registry.by_uuid(type_, uuid, part)
        if record is not None:
            return Found(repository, record)
    return None


def _ref(butler: Session, context: Context, link: _Link) -> DatasetRef:
    known, found, _ = link
    name = DatasetName.parse(known.type)
    if found is None:
        return DatasetRef(butler, name, known.data_id, None, lost=known)
    if found.record.part:
        name = name.with_component((*name.component, found.record.part))
    return DatasetRef(butler, name, found.record.data_id, found, pins_now(context, found))
