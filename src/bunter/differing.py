"""How an object differs from what is stored of it, however deep that is put together: what a put would lose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .assembly import members_of, parts_to_strip
from .comparing import same_as_stored
from .definitions.model import CompositeType
from .formats.equality import same_values
from .locate import LocatedBranch, LocatedList, LocatedNode, branch_name, is_absent
from .plan import Leaf
from .reading import Opener, Reader
from .taking import Taken, what
from .values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Difference:
    """One component that is not what is stored.

    Attributes
    ----------
    where : str
        The path to it, ``.wcs``; ``""`` for the object itself.
    stored : str
        What is stored in its place.
    what : str
        What would be lost.
    """

    where: str
    stored: str
    what: str


def is_read_only(composite: CompositeType) -> bool:
    """Tell whether a composite can only be got: it says so, or nobody can take it apart."""
    return composite.read_only or (composite.assembler not in (None, "generic") and composite.disassembler is None)


def first_difference(opener: Opener, value: Any, located: LocatedBranch, strip: Sequence[str]) -> Difference | None:
    """Return where an object first differs from what is stored, None if nowhere.

    What the object lacks does not count, as None for a component means what is stored; but for an optional component
    that is written with its composite None means that it is absent.

    Parameters
    ----------
    strip : sequence of str
        Components of the object that do not count, since others hold them.
    """
    while isinstance(located, LocatedNode) and located.node.take:
        located = located.branches[located.node.take]
    if isinstance(located, LocatedNode):
        return _in_composite(opener, value, located, strip)
    if isinstance(located, LocatedList):
        return _in_list(opener, value, located)
    if not isinstance(located.leaf, Leaf) or located.found is None:
        return Difference("", f"{located.leaf.name}, which is absent", what(value))
    if same_as_stored(opener, value, located.leaf, located.found, list(strip)):
        return None
    return Difference("", f"{located.leaf.name} {located.leaf.data_id}", what(value))


def _in_list(opener: Opener, value: Any, located: LocatedList) -> Difference | None:
    members = dict(located.members)
    for data_id, member in members_of(value, str(located.gather.name)):
        if member is None or getattr(member, "is_deferred", False):
            continue
        if data_id not in members:
            return Difference(f" {data_id}", f"the list, which has no such {located.gather.name}", what(member))
        found = first_difference(opener, member, members[data_id], [])
        if found is not None:
            return replace(found, where=f" {data_id}{found.where}")
    return None


def _in_composite(opener: Opener, value: Any, located: LocatedNode, strip: Sequence[str]) -> Difference | None:
    node = located.node
    if is_read_only(node.composite):
        # Nobody can take it apart: what a get would hand out is what counts.
        made = Reader(opener, None, {}, lambda name, *_: name).read(located, node.composite.name, node.data_id)
        same = same_values(made, value)
        return None if same else Difference("", f"{node.composite.name} {node.data_id}", what(value))
    taken = Taken(opener, node, value, [located])
    for name, inner in located.branches.items():
        part = taken.parts.get(name)
        if name in strip:
            continue
        found: Difference | None = None
        if part is None:
            component = node.definitions[name]
            if component.optional and not component.input_only and not is_absent(inner):
                found = Difference("", f"{branch_name(node.branches[name])}, which is there", "changes")
        elif not taken.is_made(name):
            own = parts_to_strip(part, name, [other for other in taken.parts if other != name])
            found = first_difference(opener, part, inner, own)
        elif not same_values(taken.made(name, inner), part):
            found = Difference("", branch_name(node.branches[name]), what(part))
        if found is not None:
            return replace(found, where=f".{name}{found.where}")
    return None
