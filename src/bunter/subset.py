"""What names need: which datasets, which parts of datasets alone, and what put composites pin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from .choices import check_choice
from .context import Context
from .dataid import DataId, KeyValue
from .errors import DataIdError, DatasetNotFoundError, ParameterError
from .locate import Found, Located, LocatedBranch, LocatedList, LocatedNode
from .names import DatasetName
from .plan import Branch, Leaf, Node
from .reading import check_complete
from .registry.interface import Pin
from .searching import search
from .storing import place_of
from .values import dataclass, field, replace
from .words import did_you_mean, listing

MODES = ("copy", "hardlink", "symlink", "reference")
Progress = Callable[[int, int], None]
_MAIN = frozenset({"image", "data", "table"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks to be copied, and how.

    Attributes
    ----------
    names : sequence of DatasetName
        In full.
    data_id : mapping
        Standard; each name takes the keys that it has.
    """

    names: Sequence[DatasetName]
    data_id: Mapping[str, KeyValue]
    where: str | None = None
    mode: str = "copy"
    parents: bool = False
    progress: Progress | None = None


@dataclass(slots=True)
class Needed:
    """One dataset that is needed, or some of its parts.

    Attributes
    ----------
    whole : bool
        Whether all of it is needed; if not, only `parts`.
    live : bool
        Whether it has to be found by its name; if not, only composites that pin it ask for it.
    pins : list of Pin
        Of a put composite.
    """

    found: Found
    whole: bool = False
    live: bool = False
    parts: dict[str, None] = field(default_factory=dict)
    pins: list[Pin] = field(default_factory=list)


class Needs:
    """Collects what located names need.

    Parameters
    ----------
    context : Context
        Of the Butler's call.
    own_only : bool
        Leave out what composites only read (``inputOnly``): it is found in the parents.
    """

    def __init__(self, context: Context, *, own_only: bool) -> None:
        self._context = context
        self._own_only = own_only
        self._nearest = context.locator("nearest")
        self._needed: dict[tuple[UUID, str], Needed] = {}

    def __iter__(self) -> Iterator[Needed]:
        for needed in self._needed.values():
            needed.whole = needed.whole or self._has_all_parts(needed)
            yield needed

    def _has_all_parts(self, needed: Needed) -> bool:
        format_, about = self._context.opener.about(needed.found.record)
        return len(needed.parts) >= len(format_.components(about))

    def add(self, located: LocatedBranch) -> None:
        """Take in a name and all that it is made of."""
        self._branch(located, pinned=False, inside=False, based=False)

    def _branch(self, located: LocatedBranch, *, pinned: bool, inside: bool, based: bool) -> None:
        """Walk a tree.

        Parameters
        ----------
        pinned : bool
            Whether a composite that is copied too pins what is here.
        inside : bool
            Whether a whole composite is being walked, not one component of it that was asked for by name.
        based : bool
            Whether a composite takes its main part from here, its base.
        """
        if isinstance(located, Located):
            if located.found is not None and isinstance(located.leaf, Leaf):
                self._leaf(located.leaf, located.found, pinned=pinned, based=based)
        elif isinstance(located, LocatedList):
            for _, member in located.members:
                if not located.is_none(member):
                    self._branch(member, pinned=pinned, inside=inside, based=False)
        elif located.node.take or located.node.derive:
            if located.put is not None and _lists_precursors(located.node):
                # The composite's own record says which members the list has.
                self._put(located, located.put, pinned=pinned)
            # Beside a list that is taken stands the component that holds its data IDs.
            for name, inner in located.branches.items():
                based = inside and self._is_main_of_base(located.node, name)
                self._branch(inner, pinned=pinned, inside=inside, based=based)
        else:
            self._composite(located, pinned=pinned)

    def _leaf(self, leaf: Leaf, found: Found, *, pinned: bool, based: bool) -> None:
        needed = self._note(found, pinned=pinned)
        if not leaf.part or found.record.part or based:
            needed.whole = True
        else:
            needed.parts[leaf.part] = None

    def _note(self, found: Found, *, pinned: bool) -> Needed:
        record = found.record
        needed = self._needed.setdefault((record.uuid, record.part), Needed(found))
        needed.live = needed.live or not pinned or self._is_nearest(found)
        return needed

    def _is_nearest(self, found: Found) -> bool:
        record = found.record
        for repository in self._context.chain.order:
            there = self._nearest.direct(repository, record.type, record.data_id, record.part)
            if there is not None:
                return there.uuid == record.uuid
        return False

    def _composite(self, located: LocatedNode, *, pinned: bool) -> None:
        node = located.node
        if located.put is not None:
            self._put(located, located.put, pinned=pinned)
        for name, inner in located.branches.items():
            component = node.definitions[name]
            if self._own_only and component.input_only:
                continue
            based = self._is_main_of_base(node, name)
            self._branch(inner, pinned=pinned or located.put is not None, inside=True, based=based)

    def _put(self, located: LocatedNode, put: Found, *, pinned: bool) -> None:
        needed = self._note(put, pinned=pinned)
        needed.whole = True
        needed.pins = pins_of(located, put, self._context)

    def _is_main_of_base(self, node: Node, name: str) -> bool:
        """Tell whether a component is the main part of the base: whoever takes that takes most of the dataset."""
        if name in node.composite.components:
            return False
        branch = _behind(node.branches[name])
        if not isinstance(branch, Leaf):
            return False
        has_main = branch.stored.parts or not _MAIN.isdisjoint(self._context.planner.declared(branch.stored))
        return not has_main or not node.definitions[name].optional


def wanted(
    context: Context, names: str | Iterable[str], data_id: Mapping[str, Any] | None, keys: Mapping[str, Any], **how: Any
) -> Wanted:
    """Check what a user asks to be copied.

    Raises
    ------
    ParameterError, DatasetNameError, DatasetTypeNotFoundError, DataIdError
        For what was asked wrongly.
    """
    given = [names] if isinstance(names, str) else list(names)
    if not given:
        raise ParameterError("names= names nothing: say which dataset types are to be copied")
    full: dict[DatasetName, None] = {}
    standard: dict[str, KeyValue] = {}
    for name in given:
        parsed, standard = context.resolve(name, data_id, keys)
        context.definitions.find(parsed)
        full[parsed] = None
    check_choice("mode", how.get("mode", "copy"), MODES)
    known = dict.fromkeys(key for name in full for key in context.planner.all_keys(name))
    for key in standard:
        if key not in known and key not in context.definitions.implied:
            raise DataIdError(
                f"none of {listing(map(str, full))} has a key {key!r}{did_you_mean(key, known)}; "
                f"their keys are: {listing(known)}"
            )
    return Wanted(tuple(full), standard, **how)


def needs_of(context: Context, asked: Wanted) -> Needs:
    """Find all that is asked for, and what it needs.

    Raises
    ------
    DatasetNotFoundError
        If there is nothing of a name, or something that it needs is missing.
    AmbiguousDatasetError
        If two repositories disagree.
    """
    needs = Needs(context, own_only=asked.parents)
    locator = context.locator()
    for name in asked.names:
        allowed = {*context.planner.all_keys(name), *context.definitions.implied}
        mine = {key: value for key, value in asked.data_id.items() if key in allowed}
        found = search(context, name, mine, where=asked.where, order_by=None, limit=None).data_ids()
        if not found:
            _nothing(context, name, mine, asked.where)
        for data_id in found:
            located = locator.locate(context.expand(name, context.complete(name, data_id)))
            check_complete(located, str(name), data_id)
            needs.add(located)
    return needs


def _nothing(context: Context, name: DatasetName, data_id: Mapping[str, KeyValue], where: str | None) -> None:
    searched = [repository.root for repository in context.chain.order]
    if where is None and all(key in data_id for key in context.planner.keys(name)):
        # With a full data ID it can be said what is missing.
        check_complete(context.locate(context.expand(name, context.complete(name, data_id))), str(name), data_id)
    which = f" that agrees with {DataId(data_id)}" if data_id else ""
    which += f" and where={where!r}" if where is not None else ""
    raise DatasetNotFoundError(
        f"nothing was copied: there is no {name}{which}; searched: {', '.join(searched)}", searched
    )


def _lists_precursors(node: Node) -> bool:
    return bool(node.take) and node.definitions[node.take].data_ids == "precursors"


def _behind(branch: Branch) -> Branch:
    while isinstance(branch, Node) and branch.take:
        branch = branch.branches[branch.take]
    return branch


def pins_of(located: LocatedNode, put: Found, context: Context) -> list[Pin]:
    """Return the pins of a put composite, with what masks a pinned dataset in place of it."""
    now = {(pin.component, pin.member): pin for pin in _pins("", located)}
    pins: list[Pin] = []
    for pin in put.repository.registry.pins(put.record.type, put.record.uuid):
        found = now.pop((pin.component, pin.member), None)
        if found is not None:
            pins.append(replace(found, place=pin.place) if found.uuid == pin.uuid and pin.place else found)
            continue
        known = _known_pin(pin, located, put, context)
        if known is not None:
            pins.append(known)
    names = [pin.component for pin in pins]
    pins += [pin for pin in now.values() if not any(_overlap(pin.component, name) for name in names)]
    return pins


def _overlap(a: str, b: str) -> bool:
    return a == b or a.startswith(f"{b}.") or b.startswith(f"{a}.")


def _known_pin(pin: Pin, located: LocatedNode, put: Found, context: Context) -> Pin | None:
    """Return a pin with what a registry does not keep of it: the data ID of what is pinned, and where that is."""
    if pin.uuid is not None:
        for repository in context.chain.beyond(put.repository):
            record = repository.registry.by_uuid(pin.type, pin.uuid, pin.part)
            if record is not None:
                place = pin.place or place_of(Found(repository, record))
                return replace(pin, data_id=record.data_id, place=place)
        return None
    if pin.member is not None:
        return replace(pin, data_id=pin.member)
    node = located.node
    branch: Branch | None = node
    if node.take:
        branch = context.planner.expand(DatasetName.parse(node.composite.name), node.data_id)
    for name in pin.component.split("."):
        branch = _behind(branch.branches[name]) if isinstance(branch, Node) and name in branch.branches else None
    return replace(pin, data_id=branch.data_id) if isinstance(branch, Leaf | Node) else None


def _pins(path: str, located: LocatedBranch, member: DataId | None = None) -> Iterator[Pin]:
    """Walk over the pins that say what was located; a composite counts by itself if it was put."""
    if isinstance(located, Located):
        leaf, found = located.leaf, located.found
        if isinstance(leaf, Leaf) and (found is not None or located.pinned):
            uuid, place = (None, "") if found is None else (found.record.uuid, place_of(found))
            yield Pin(path, member, leaf.stored.name, leaf.data_id, uuid, leaf.part, place)
        return
    if isinstance(located, LocatedList):
        for data_id, inner in located.members:
            if located.is_none(inner):
                yield Pin(path, data_id, str(located.gather.name), data_id, None, "", "")
            else:
                yield from _pins(path, inner, data_id)
        return
    node = located.node
    if node.take:
        yield from _pins(path, located.branches[node.take], member)
    elif path and located.put is not None and (not node.derive or member is not None):
        uuid, place = located.put.record.uuid, place_of(located.put)
        yield Pin(path, member, node.composite.name, node.data_id, uuid, "", place)
    elif member is not None:
        yield Pin(path, member, node.composite.name, node.data_id, None, "", "")
    else:
        for name, inner in located.branches.items():
            yield from _pins(f"{path}.{name}" if path else name, inner)
