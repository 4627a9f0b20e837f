"""Where each branch of a plan is: the nearest repository for every leaf, unless a pin settles it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias
from uuid import UUID

from .dataid import DataId
from .plan import Absent, Branch, Gather, Leaf, Node, Planner
from .registry.interface import Pin, Record
from .repository import Chain, Overlay, Repository
from .values import dataclass, field, replace

Resolve: TypeAlias = Literal["pinned", "nearest", "exact"]
RESOLVES: tuple[Resolve, ...] = ("pinned", "nearest", "exact")
State: TypeAlias = Literal["found", "absent", "missing", "gone", "ambiguous"]


@dataclass(slots=True)
class Found:
    """A record and the repository that holds it."""

    repository: Repository
    record: Record


@dataclass(slots=True)
class Located:
    """A leaf and where it is.

    Attributes
    ----------
    state : {"found", "absent", "missing", "gone", "ambiguous"}
        ``absent``: an optional component that is not there; ``gone``: what was pinned was purged; ``ambiguous``:
        two repositories disagree.
    pinned : bool
        Whether a pin chose it.
    masks : UUID or None
        The pinned dataset that a nearer one masks.
    """

    leaf: Leaf | Absent
    state: State
    found: Found | None = None
    pinned: bool = False
    masks: UUID | None = None
    note: str = ""
    searched: tuple[str, ...] = ()


@dataclass(slots=True)
class LocatedNode:
    """A composite and where its branches are.

    Attributes
    ----------
    put : Found or None
        The composite as it was put, if it was.
    """

    node: Node
    branches: dict[str, LocatedBranch]
    put: Found | None = None


@dataclass(slots=True)
class LocatedList:
    """The members of a list, in key order."""

    gather: Gather
    members: list[tuple[DataId, LocatedBranch]]
    pinned: bool = False
    searched: tuple[str, ...] = ()
    lazy: bool = False

    def is_none(self, member: LocatedBranch) -> bool:
        """Tell whether a member that is missing stands as None in its place."""
        return self.gather.optional and self.gather.source is not None and _is_incomplete(member)


LocatedBranch: TypeAlias = Located | LocatedNode | LocatedList

_Pins: TypeAlias = dict[UUID, dict[str, list[Pin]]]
"""Repository -> component path -> pins."""


@dataclass(slots=True)
class _View:
    """Pins of some composite, and where in it the walk is."""

    pins: _Pins
    path: str = ""
    only: str = ""
    """Only pins of this type count."""
    but: frozenset[str] = frozenset()
    """Pins of these types do not count."""
    trashed: bool = False
    """Whether the composite is in the trash: its pins stay as they are, whatever is put."""

    def at(self, component: str) -> _View:
        return _View(self.pins, f"{self.path}.{component}" if self.path else component, trashed=self.trashed)

    def pin(self, repository: UUID) -> Pin | None:
        pins = self.pins.get(repository, {}).get(self.path)
        if not pins or pins[0].member is not None:
            return None
        type_ = pins[0].type
        return None if type_ in self.but or (self.only and type_ != self.only) else pins[0]


@dataclass(slots=True)
class _Candidate:
    repository: Repository
    found: Found | None
    pin: Pin | None
    gone: bool = False


@dataclass(slots=True)
class Locator:
    """Locates the branches of one call; what it looked up it remembers for as long as it lives.

    Parameters
    ----------
    chain : Chain
        What is searched.
    planner : Planner
        Expands the members of lists.
    members : callable
        ``(gather) -> [data ID]``: the data IDs that the members of a ``subset`` can have.
    listed : callable
        ``(gather, node, located components, put composite) -> [data ID]``: those that some source names.
    same : callable
        Tells whether two records, of which neither masks the other, hold equal content.
    first : bool
        Take the first where two repositories disagree.
    """

    chain: Chain
    planner: Planner
    members: Callable[[Gather], list[DataId]]
    listed: Callable[[Gather, Node, dict[str, LocatedBranch], Found | None], list[DataId]]
    same: Callable[[Found, Found], bool]
    first: bool = False
    resolve: Resolve = "pinned"
    frozen: dict[UUID, list[Pin]] = field(default_factory=dict)
    """Pins that count instead of those that the registries have now, by the composite's UUID."""
    repinned: Mapping[tuple[str, DataId], UUID] = field(default_factory=dict)
    """What a transaction of ours put by its own name: (type, data ID) -> UUID."""
    _direct: dict[tuple[Repository, str, DataId], Record | None] = field(default_factory=dict)

    @property
    def searched(self) -> tuple[str, ...]:
        """The roots that are searched; a transaction's overlay counts as its output."""
        return tuple(dict.fromkeys(repository.root for repository in self.chain.order))

    def locate(self, branch: Branch, *, optional: bool = False) -> LocatedBranch:
        """Find every leaf of a tree; what is missing is noted, not raised."""
        if isinstance(branch, Node) and self.resolve != "nearest":
            began: list[Repository] = []
            try:
                for repository in self.chain.order:
                    repository.registry.begin_read()
                    began.append(repository)
                return self._branch(branch, [], optional)
            finally:
                for repository in reversed(began):
                    repository.registry.end_read()
        return self._branch(branch, [], optional)

    def at(self, branch: Branch, found: Found) -> LocatedBranch:
        """Locate a put composite by its own record, wherever nearer ones may be."""
        if isinstance(branch, Node):
            return self._node(branch, [], [found])
        return self._branch(branch, [], False)

    def direct(self, repository: Repository, leaf_type: str, data_id: DataId, part: str = "") -> Record | None:
        """Return the live dataset that one repository holds for a leaf."""
        key = repository, leaf_type, data_id
        if key in self._direct:
            record = self._direct[key]
            if record is not None or not part:
                return record
        record = repository.registry.find(leaf_type, data_id, part)
        if record is not None and is_hidden(self.chain, repository, record):
            record = None
        if record is None or not record.part:
            self._direct[key] = record
        return record

    def _branch(self, branch: Branch, views: list[_View], optional: bool) -> LocatedBranch:
        if isinstance(branch, Absent):
            return Located(branch, "absent", note=f"no {', '.join(branch.missing)} in the data ID")
        if isinstance(branch, Leaf):
            return self._leaf(branch, views, optional)
        if isinstance(branch, Gather):
            return self._list(branch, views, lambda: self.members(branch))
        candidates = self._composites(branch, views)
        if candidates and candidates[0].found is None:
            return _without(Absent(branch_name(branch), ()), candidates[0], self.searched)
        put = [candidate.found for candidate in candidates if candidate.found is not None]
        return self._node(branch, views, put)

    def _composites(self, node: Node, views: list[_View]) -> list[_Candidate]:
        """Return the put composites that count for a node; none masks another."""
        if self.resolve == "nearest" or not node.complete:
            return []
        if node.take:
            # A pin at this place may be of the one component that is taken.
            views = [replace(view, only=node.composite.name) for view in views]
        type_, data_id = node.composite.name, node.data_id
        return self._candidates(views, data_id, lambda repository: self.direct(repository, type_, data_id))

    def _node(self, node: Node, views: list[_View], put: list[Found]) -> LocatedNode:
        pins = {found.repository.id: _by_component(self._pins_of(node, found)) for found in put}
        # Lists whose data IDs some other component holds come after it.
        late = [
            name for name, branch in node.branches.items() if isinstance(branch, Gather) and branch.source is not None
        ]
        own = _View(pins, trashed=any(not found.record.live for found in put))
        branches: dict[str, LocatedBranch] = {}
        for name in (*(name for name in node.branches if name not in late), *late) if late else node.branches:
            branch = node.branches[name]
            inner = [*(view.at(name) for view in views), own.at(name)] if views else [own.at(name)]
            if node.take:
                # The outer composite may have pinned this very leaf under the path that the composite has there.
                inner = [*(replace(view, but=view.but | {node.composite.name}) for view in views), *inner]
            optional = name in node.optional
            if isinstance(branch, Gather) and branch.source is not None:
                located: LocatedBranch = self._list(
                    branch, inner, partial(self.listed, branch, node, branches, put[0] if put else None)
                )
            else:
                located = self._branch(branch, inner, optional)
            if optional and isinstance(located, LocatedNode) and _is_incomplete(located):
                located = Located(Absent(branch_name(branch), ()), "absent")
            if isinstance(located, LocatedList):
                located.lazy = node.definitions[name].lazy
            branches[name] = located
        if late:
            branches = {name: branches[name] for name in node.branches}
        return LocatedNode(node, branches, put[0] if put else None)

    def _pins_of(self, node: Node, found: Found) -> list[Pin]:
        frozen = self.frozen.get(found.record.uuid) if self.frozen else None
        if frozen is not None:
            return frozen
        return found.repository.registry.pins(node.composite.name, found.record.uuid, node.branches)

    def _pin(self, repository: Repository, views: list[_View], data_id: DataId) -> Pin | None:
        # What a transaction of ours has put will be the output's own: it masks none of the output's pins, but those of
        # a dataset that was put by its own name follow it.
        output = repository.parents[0] if isinstance(repository, Overlay) else None
        for view in views:
            pin = view.pin(repository.id)
            if pin is not None:
                return pin
            pin = None if output is None else view.pin(output.id)
            if pin is not None:
                new = None if self.frozen or view.trashed else self.repinned.get((pin.type, data_id))
                return pin if new is None else replace(pin, uuid=new)
        return None

    def _candidates(
        self, views: list[_View], data_id: DataId, direct: Callable[[Repository], Record | None]
    ) -> list[_Candidate]:
        """Return what the chain holds for one leaf, without what is masked."""
        found: list[_Candidate] = []
        pinned_only = self.resolve == "exact" and any(
            view.pin(repository) is not None for view in views for repository in view.pins
        )
        masked: set[UUID] = set()
        for repository in self.chain.order:
            if masked and repository.id in masked:
                continue
            pin = self._pin(repository, views, data_id) if views else None
            candidate: _Candidate | None = None
            if pin is not None:
                candidate = self._pinned(repository, pin)
            elif not pinned_only:
                record = direct(repository)
                if record is not None:
                    candidate = _Candidate(repository, Found(repository, record), None)
            if candidate is not None:
                found.append(candidate)
                if len(self.chain.order) > 1:
                    masked |= self.chain.ancestors[repository.id]
        return found

    def _pinned(self, repository: Repository, pin: Pin) -> _Candidate:
        if pin.uuid is None:
            return _Candidate(repository, None, pin)
        for other in self.chain.beyond(repository):
            record = other.registry.by_uuid(pin.type, pin.uuid, pin.part)
            if record is not None:
                return _Candidate(repository, Found(other, record), pin)
        return _Candidate(repository, None, pin, gone=True)

    def _leaf(self, leaf: Leaf, views: list[_View], optional: bool) -> Located:
        if not views and len(self.chain.order) == 1:
            (repository,) = self.chain.order
            record = self.direct(repository, leaf.stored.name, leaf.data_id, leaf.part)
            if record is not None:
                return Located(leaf, "found", Found(repository, record))
        candidates = self._candidates(
            views,
            leaf.data_id,
            lambda repository: self.direct(repository, leaf.stored.name, leaf.data_id, leaf.part),
        )
        if not candidates:
            return Located(leaf, "absent" if optional else "missing", searched=self.searched)
        chosen = candidates[0]
        if len(candidates) > 1 and (disagreement := self._disagreement(leaf, candidates)):
            return Located(leaf, "ambiguous", note=disagreement, searched=self.searched)
        if chosen.found is None:
            return _without(leaf, chosen, self.searched)
        masks = None
        if chosen.pin is None and views and len(self.chain.order) > 1:
            beyond = self.chain.ancestors[chosen.repository.id]
            for repository in self.chain.order:
                if repository.id in beyond:
                    pin = self._pin(repository, views, leaf.data_id)
                    if pin is not None and pin.uuid != chosen.found.record.uuid:
                        masks = pin.uuid
                        break
        return Located(leaf, "found", chosen.found, chosen.pin is not None, masks)

    def _disagreement(self, leaf: Leaf, candidates: Sequence[_Candidate]) -> str:
        """Return what is to be said of candidates that differ, nothing if all are the same."""
        if self.first:
            return ""
        chosen = candidates[0]
        for other in candidates[1:]:
            a, b = chosen.found, other.found
            if a is None and b is None:
                continue
            if a is not None and b is not None and (a.record.uuid == b.record.uuid or self.same(a, b)):
                continue
            return (
                f"{leaf.name} {leaf.data_id} is in {chosen.repository.root} and, different, in "
                f"{other.repository.root}; neither is made from the other, so neither masks the other. "
                "Open one of them alone, put the right one into an output that has both as parents, "
                "or take the first with on_conflict='first'"
            )
        return ""

    def _list(self, gather: Gather, views: list[_View], data_ids: Callable[[], list[DataId]]) -> LocatedList:
        searched = self.searched
        members: list[tuple[DataId, LocatedBranch]] = []
        for repository in self.chain.order if self.resolve != "nearest" else ():
            for view in views:
                pins = view.pins.get(repository.id, {}).get(view.path)
                if not pins:
                    continue
                for pin in pins:
                    if pin.member is None:
                        continue
                    branch = self.planner.expand(gather.name, pin.member)
                    given = _View({repository.id: {"": [_unlisted(pin)]}}) if pin.uuid is not None else None
                    members.append((pin.member, self._branch(branch, [given] if given else [], False)))
                keys = self.planner.keys(gather.name)
                return LocatedList(gather, _in_key_order(members, keys), pinned=True, searched=searched)
        for data_id in data_ids():
            full = {**gather.constraints, **data_id, **gather.fixed}
            members.append((data_id, self._branch(self.planner.expand(gather.name, full), [], False)))
        return LocatedList(gather, members, searched=searched)


def is_hidden(chain: Chain, repository: Repository, record: Record) -> bool:
    """Tell whether a transaction of ours has deleted a dataset that the registry still shows.

    It deletes from its output only: a copy with the same UUID further away is not meant.
    """
    if not chain.hidden:
        return False
    first = chain.order[0]
    return record.uuid in chain.hidden and isinstance(first, Overlay) and repository in (first, *first.parents)


def _without(leaf: Leaf | Absent, chosen: _Candidate, searched: tuple[str, ...]) -> Located:
    """Say of a pin that it is of nothing: what it was of is gone, or was absent when the composite was put."""
    pin = chosen.pin
    if chosen.gone and pin is not None:
        note = f"pinned {pin.uuid} of {pin.type}, which was at {pin.place or 'this repository'}"
        return Located(leaf, "gone", pinned=True, note=note, searched=searched)
    return Located(leaf, "absent", pinned=True, note="absent when the composite was put", searched=searched)


def _unlisted(pin: Pin) -> Pin:
    return Pin("", None, pin.type, pin.data_id, pin.uuid, pin.part, pin.place)


def _in_key_order(
    members: list[tuple[DataId, LocatedBranch]], keys: Sequence[str]
) -> list[tuple[DataId, LocatedBranch]]:
    """Sort members by the keys of their type, in the order that its definition has; pins remember another one."""
    ordered = [(DataId({key: data_id[key] for key in keys if key in data_id}), member) for data_id, member in members]
    return sorted(ordered, key=lambda member: tuple(member[0].values()))


def _by_component(pins: list[Pin]) -> dict[str, list[Pin]]:
    found: dict[str, list[Pin]] = {}
    for pin in pins:
        found.setdefault(pin.component, []).append(pin)
    return found


def branch_name(branch: Branch) -> str:
    """Return the dotted name of what a branch stands for."""
    if isinstance(branch, Leaf | Absent):
        return branch.name
    if isinstance(branch, Gather):
        return str(branch.name)
    part = branch.take or branch.derive
    return f"{branch.composite.name}.{part}" if part else branch.composite.name


def located_leaves(branch: LocatedBranch) -> Iterator[Located]:
    """Walk over the leaves of a located tree."""
    if isinstance(branch, Located):
        yield branch
    elif isinstance(branch, LocatedNode):
        for inner in branch.branches.values():
            yield from located_leaves(inner)
    else:
        for _, member in branch.members:
            yield from located_leaves(member)


def lacking(
    branch: LocatedBranch, name: str = "", optional: bool = False
) -> Iterator[tuple[str, Located | LocatedList]]:
    """Walk over what a get would fail for: missing leaves, pins that are gone, disagreements, empty lists."""
    if isinstance(branch, Located):
        if branch.state in ("missing", "gone", "ambiguous"):
            yield name, branch
    elif isinstance(branch, LocatedNode):
        for inner_name, inner in branch.branches.items():
            where = f"{name}.{inner_name}" if name else inner_name
            yield from lacking(inner, where, inner_name in branch.node.optional)
    else:
        if not branch.members and not optional:
            yield name, branch
        for data_id, member in branch.members:
            if not branch.is_none(member):
                yield from lacking(member, f"{name}{data_id}")


def _is_incomplete(branch: LocatedBranch) -> bool:
    """Tell whether something is missing; what is gone or ambiguous is worse than that, and not told away."""
    lacks = [inner for _, inner in lacking(branch)]
    return bool(lacks) and all(isinstance(inner, LocatedList) or inner.state == "missing" for inner in lacks)


def is_absent(branch: LocatedBranch) -> bool:
    """Tell whether an optional component has nothing at all."""
    if isinstance(branch, Located):
        return branch.state == "absent"
    if isinstance(branch, LocatedList):
        return not branch.members
    return False
