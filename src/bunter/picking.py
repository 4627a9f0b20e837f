"""What a put may refer to: of the places where a component was found, those that lack nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from .dataid import DataId
from .locate import Found, Located, LocatedBranch, LocatedList, LocatedNode, lacking, located_leaves
from .plan import Branch, Leaf


def complete(choices: Sequence[LocatedBranch], optional: bool) -> list[LocatedBranch]:
    """Return the choices that lack nothing; one that holds what a composite was put with is given as that composite."""
    whole = [choice for choice in choices if not any(True for _ in lacking(choice, optional=optional))]
    put = [choice for choice in whole if isinstance(choice, LocatedNode) and choice.put is not None]
    return [next((other for other in put if _uuids(other) == _uuids(choice)), choice) for choice in whole]


def _uuids(located: LocatedBranch) -> list[UUID | None]:
    return [leaf.found.record.uuid if leaf.found is not None else None for leaf in located_leaves(located)]


def has_pins(located: LocatedBranch) -> bool:
    """Tell whether pins may have chosen anything: a composite was put, at the top or further down."""
    if isinstance(located, Located):
        return located.pinned
    if isinstance(located, LocatedList):
        return located.pinned or any(has_pins(member) for _, member in located.members)
    return located.put is not None or any(map(has_pins, located.branches.values()))


def is_as_put(located: LocatedNode) -> bool:
    """Tell whether a composite is what its own pins say, all the way down, and nothing nearer masks a part of it."""
    put = located.put
    if put is None:
        return False
    recorded = put.repository.registry.pins(put.record.type, put.record.uuid)
    pins = {(pin.component, pin.member): pin.uuid for pin in recorded}
    return all(_agrees(inner, (name, None), pins) for name, inner in located.branches.items())


def _agrees(
    located: LocatedBranch, at: tuple[str, DataId | None], pins: Mapping[tuple[str, DataId | None], UUID | None]
) -> bool:
    while isinstance(located, LocatedNode) and located.node.take:
        located = located.branches[located.node.take]
    if isinstance(located, LocatedList):
        members = {member for path, member in pins if path == at[0] and member is not None}
        return members == {member for member, _ in located.members} and all(
            _agrees(inner, (at[0], member), pins) for member, inner in located.members
        )
    if isinstance(located, Located):
        return pins.get(at) == (None if located.found is None else located.found.record.uuid)
    if located.node.derive:
        # Computed of other components.
        return True
    if at not in pins:
        return all(_agrees(inner, (f"{at[0]}.{name}", None), pins) for name, inner in located.branches.items())
    return located.put is not None and located.put.record.uuid == pins[at] and is_as_put(located)


def leaf_of(branch: Branch, choices: list[LocatedBranch]) -> tuple[Leaf | None, list[Found]]:
    """Return the leaf that a branch comes down to and where it was found, if it is one leaf."""
    found: dict[UUID, Found] = {}
    for choice in choices:
        if isinstance(choice, Located) and choice.found is not None:
            found.setdefault(choice.found.record.uuid, choice.found)
    return (branch, list(found.values())) if isinstance(branch, Leaf) else (None, [])
