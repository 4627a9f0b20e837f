"""What a put takes from an object: its components, and of what operations made them."""

from __future__ import annotations

from typing import Any

from .assembly import take_apart
from .definitions.model import DerivedDefinition
from .errors import AssemblyError
from .locate import LocatedBranch, LocatedNode, branch_name, lacking
from .operations import Operations, difference_of
from .plan import Branch, Leaf, Node
from .reading import Opener, Reader, disassembler_of


class Taken:
    """A composite that was taken apart.

    Parameters
    ----------
    opener : Opener
        Formats and types.
    node : Node
        The composite.
    obj : object
        What is put.
    located : list of LocatedNode
        What is stored already for the composite, what is preferred first.

    Attributes
    ----------
    parts : dict
        The components as the object holds them; those that are lacking were left out.
    before : dict
        Component -> of what an operation made it, as far as that can be told.
    """

    def __init__(self, opener: Opener, node: Node, obj: Any, located: list[LocatedNode]) -> None:
        composite = node.composite
        self._opener = opener
        self._node = node
        self._located = located
        self.parts = take_apart(
            composite,
            node.definitions,
            node.data_id,
            obj,
            disassembler_of(composite, opener),
            {name: _whole_type(opener, branch) for name, branch in node.branches.items()},
            opener.importer.trusts_definition(composite.name),
        )
        self._operations = Operations(composite, node.data_id, opener.importer.find)
        self.before = self._operations.undo(self.parts, node.definitions)

    def choices(self, name: str) -> list[LocatedBranch]:
        """Return what is stored already for a component."""
        return [located.branches[name] for located in self._located]

    def operation(self, name: str) -> DerivedDefinition | None:
        """Return the operation on a component, None if there is none."""
        return self._operations.operation(name)

    def is_made(self, name: str) -> bool:
        """Tell whether what an object holds of a component is not what is stored, but made of it."""
        branch = self._node.branches[name]
        return self.operation(name) is not None or (isinstance(branch, Node) and bool(branch.derive))

    def made(self, name: str, choice: LocatedBranch) -> Any:
        """Return what a get would hand out of what is stored for a component, beside the other parts of the object."""
        reader = Reader(self._opener, None, {}, lambda name, *_: name)
        stored = reader.read(choice, self._node.composite.name, self._node.data_id)
        operation = self.operation(name)
        if operation is None:
            return stored
        others = {}
        for other in self._operations.others(operation, self._node.definitions):
            others[other] = self.parts.get(other)
            for found in self.choices(other) if others[other] is None else ():
                if not any(True for _ in lacking(found, optional=other in self._node.optional)):
                    others[other] = self.made(other, found)
                    break
        return self._operations.made(operation, name, stored, others)

    def lost(self, name: str, made: Any) -> AssemblyError:
        """Return the error for a component that is only read, but differs from what was `made` of what is stored."""
        node, operation, value = self._node, self.operation(name), self.parts[name]
        target = branch_name(node.branches[name])
        stored = target if operation is None else f"what {operation.function} makes of {target}"
        return AssemblyError(
            f"{node.composite.name} {node.data_id}: {name!r} differs from {stored}{difference_of(made, value)}, but is "
            f"inputOnly: these {what(value)} would be lost. Nothing was written. Put it under a name of its own, or "
            f"keep what is stored with discard=[{name!r}]"
        )


def refuse_cutout(obj: Any, name: object) -> None:
    """Refuse to put a part of an image as the whole."""
    origin = getattr(obj, "origin", None)
    if isinstance(origin, tuple) and any(origin):
        raise AssemblyError(
            f"the object is a cutout (origin {origin}); {str(name)!r} holds whole frames. Nothing was written"
        )


def what(value: Any) -> str:
    """Return what an object holds, for messages."""
    return "pixels" if hasattr(value, "shape") and hasattr(value, "dtype") else "values"


def _whole_type(opener: Opener, branch: Branch) -> Any:
    """Return the Python type of a component that is stored as a whole, or put together as one."""
    while isinstance(branch, Node) and branch.take:
        branch = branch.branches[branch.take]
    if isinstance(branch, Leaf) and not branch.part:
        return opener.type_of(branch.stored.python)
    if isinstance(branch, Node) and not branch.derive:
        return opener.type_of(branch.composite.python)
    return None
