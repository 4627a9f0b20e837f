"""Operations: what is done to a stored component before it is handed out, and how that is undone at put.

An operation is a derived component that is made from the component of its own name, and takes its place:
``derived: {image: {from: [image, background], with: bunter.exposure.subtract_background}}``. Its function is
``f(dataId, inputs)``; an attribute ``undo``, ``f(dataId, value, inputs) -> {name: object}``, tells what it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from .components import match_component
from .definitions.model import CompositeType, DerivedDefinition
from .errors import AssemblyError
from .words import did_you_mean, listing

Find: TypeAlias = Callable[[str], Any]
"""Imports a dotted name as far as it is trusted."""


class ComponentDict(dict[str, Any]):
    """Components by name, as assemblers and the functions of derived components are given them.

    Attributes
    ----------
    origin : (int, int)
        ``(y0, x0)``: where the first pixel of the planes lies in the full frame; other than zero if the get
        was given a ``bbox``.
    present : mapping
        Which columns the tables among them have (`bunter.assembly.ColumnSet`), if the get was given ``columns`` and the
        assembler chose those that were read; else empty.
    """

    def __init__(
        self,
        components: Mapping[str, Any] | None = None,
        origin: tuple[int, int] = (0, 0),
        present: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(components or {})
        self.origin = origin
        self.present = present or {}


def compute(
    composite: CompositeType,
    derived: DerivedDefinition,
    data_id: Mapping[str, Any],
    inputs: Mapping[str, Any],
    find: Find,
    origin: tuple[int, int] = (0, 0),
) -> Any:
    """Compute one derived component; `inputs` are named as the definition names them."""
    function = find(derived.function)
    try:
        return function(dict(data_id), ComponentDict(inputs, origin))
    except Exception as error:
        error.add_note(f"while computing {composite.name}.{derived.name} {data_id!r}")
        raise


class Operations:
    """The operations of one composite, on the components of one object.

    Parameters
    ----------
    composite : CompositeType
        With what it takes from its base.
    data_id : mapping
        Of the object.
    find : callable
        Imports the functions.
    origin : (int, int)
        Of the planes in the full frame.
    """

    def __init__(
        self, composite: CompositeType, data_id: Mapping[str, Any], find: Find, origin: tuple[int, int] = (0, 0)
    ) -> None:
        self._composite = composite
        self._data_id = data_id
        self._find = find
        self._origin = origin
        self._of = composite.operations

    def operation(self, component: str) -> DerivedDefinition | None:
        """Return the operation on a component, None if there is none."""
        return self._composite.operation(component)

    def applied(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the components of an object, given all that are stored for it."""
        if not self._of:
            return dict(stored)
        made: dict[str, Any] = {}
        for component in stored:
            self._make(component, stored, made)
        return {component: made[component] for component in stored}

    def _make(self, component: str, stored: Mapping[str, Any], made: dict[str, Any]) -> Any:
        if component not in made:
            derived = self.operation(component)
            value = stored[component]
            if derived is not None:
                others = {name: self._make(name, stored, made) for name in self.others(derived, stored)}
                value = self.made(derived, component, value, others)
            made[component] = value
        return made[component]

    def others(self, derived: DerivedDefinition, known: Iterable[str]) -> Iterator[str]:
        """Yield the inputs besides the component itself, as the composite spells them."""
        for written in derived.inputs:
            name = match_component(written, known)
            if name is None:
                raise AssemblyError(
                    f"{self._composite.name}.{derived.name}: there is no component {written!r}"
                    f"{did_you_mean(written, known)}; there are: {listing(known)}"
                )
            if match_component(derived.name, [name]) is None:
                yield name

    def made(self, derived: DerivedDefinition, component: str, stored: Any, others: Mapping[str, Any]) -> Any:
        """Return what an operation makes of what is stored and of the other components, which are as objects hold them.

        Nothing can be done to nothing: a component that is absent, and whose other inputs are, stays so.
        """
        if stored is None and all(value is None for value in others.values()):
            return None
        known = {**others, component: stored}
        inputs = {written: known[match_component(written, known) or written] for written in derived.inputs}
        return compute(self._composite, derived, self._data_id, inputs, self._find, self._origin)

    def undo(self, parts: dict[str, Any], components: Iterable[str]) -> dict[str, Any]:
        """Find out of what the components of an object were made.

        Parameters
        ----------
        parts : dict
            The components that were taken from the object; what only an operation knows (a plane of the mask) is
            added.
        components : iterable of str
            All components of the composite.

        Returns
        -------
        dict
            Component -> what would have to be stored for it, as far as the functions say.
        """
        before: dict[str, Any] = {}
        known = list(components)
        for derived in self._of.values():
            component = match_component(derived.name, parts)
            undo = getattr(self._find(derived.function), "undo", None)
            if component is None or parts[component] is None or undo is None:
                continue
            inputs = {written: parts.get(match_component(written, parts) or "") for written in derived.inputs}
            try:
                found = undo(dict(self._data_id), parts[component], ComponentDict(inputs))
            except Exception as error:
                error.add_note(f"while undoing {derived.function} for {self._composite.name} {self._data_id!r}")
                raise
            for name, value in found.items():
                written = match_component(name, derived.inputs)
                if written is None:
                    raise AssemblyError(
                        f"{derived.function}.undo handed over {name!r}, which is no input of {self._composite.name}."
                        f"{derived.name}{did_you_mean(name, derived.inputs)}; its inputs are: {listing(derived.inputs)}"
                    )
                own = match_component(written, known)
                if own == component:
                    before[component] = value
                elif own is not None and parts.get(own) is None:
                    parts[own] = value
        return before


def difference_of(made: Any, given: Any) -> str:
    """Return, for messages, by how much two arrays differ: ``""`` if they are none of one shape."""
    if not (hasattr(made, "shape") and hasattr(given, "shape") and hasattr(made, "dtype") and hasattr(given, "dtype")):
        return ""
    if made.shape != given.shape or made.dtype.kind != "f" or given.dtype.kind != "f":
        return ""
    differs = (made != given) & ((made == made) | (given == given))
    count = int(differs.sum())
    largest = abs(made[differs] - given[differs]).max() if count else 0.0
    return f" by up to {largest:.3g} ({made.dtype} and {given.dtype}, {count} of {differs.size} pixels)"
