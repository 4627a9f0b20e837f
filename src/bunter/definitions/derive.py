"""What follows from definitions: keys, components with those of the base, what a composite takes from its base."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ..components import match_component
from ..errors import ComponentNotFoundError, DefinitionError
from ..names import DatasetName
from ..values import replace
from ..words import did_you_mean, listing
from .gen2 import bunter_name
from .model import ComponentDefinition, CompositeType, DatasetType, PartOfType, StoredType

if TYPE_CHECKING:
    from .collection import Definitions

Declared: TypeAlias = Callable[[StoredType], Mapping[str, str]]
"""The components of a stored type: its parts, else what its Python type declares."""

_MAIN = ("image", "data", "table")


def renamed(value: object) -> str | None:
    """Return ``ref_visit`` for the ``dataId`` value ``"{ref_visit}"``, None for a fixed value."""
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return value[1:-1]
    return None


def outer_keys(keys: Iterable[str], data_id: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys that a composite needs so that a component that has `keys` can be found."""
    found: dict[str, None] = {}
    for key in keys:
        other = renamed(data_id[key]) if key in data_id else key
        if other is not None:
            found[other] = None
    return tuple(found)


def is_list(component: ComponentDefinition) -> bool:
    """Tell whether a component is a list of datasets."""
    return component.subset or component.data_ids is not None


def extended(name: str, rest: Iterable[str]) -> DatasetName:
    """Return a name with more components."""
    parsed = DatasetName.parse(name)
    return parsed.with_component((*parsed.component, *rest))


def keys_of(definitions: Definitions, name: str | DatasetName) -> tuple[str, ...]:
    """Return the keys that a full data ID of `name` has.

    Of a composite: the union over its components that are neither lists nor optional, without fixed and implied keys,
    and its own ``keys``. What comes from a base counts even where the part may be absent: the dataset is needed.

    Raises
    ------
    NotFoundError, DatasetNameError
        If there is no such type or component.
    """
    found, rest = definitions.resolve(name)
    if isinstance(found, StoredType):
        return found.keys
    if isinstance(found, PartOfType):
        return outer_keys(keys_of(definitions, extended(found.target, rest)), found.data_id)
    if rest:
        component = find_component(found, rest[0])
        if component is None:
            return keys_of(definitions, _further(definitions, found, rest))
        if is_list(component):
            return ()
        return outer_keys(keys_of(definitions, extended(component.dataset_type, rest[1:])), component.data_id)
    keys = dict.fromkeys((*_component_keys(definitions, found, ()), *found.own_keys))
    return without_implied(keys, definitions.implied)


def constraint_keys_of(definitions: Definitions, name: str | DatasetName) -> tuple[str, ...]:
    """Return the keys that a data ID of `name` may have beyond those that it needs.

    They are those of lists and optional components: constraints where they are given.
    """
    needed = keys_of(definitions, name)
    return tuple(key for key in dict.fromkeys(_all_keys(definitions, name)) if key not in needed)


def components_of(definitions: Definitions, name: str, declared: Declared) -> dict[str, ComponentDefinition]:
    """Return the components of a composite in order, those that its base adds included.

    Parameters
    ----------
    declared : callable
        Returns the components of a stored type; asked only for a base.

    Raises
    ------
    DefinitionError
        If `name` is not a composite.
    """
    found = definitions.types.get(name)
    if not isinstance(found, CompositeType):
        raise DefinitionError(f"{name!r} is not a composite; it has no components of its own")
    if found.base is None:
        return dict(found.components)
    own = dict(found.components)
    components: dict[str, ComponentDefinition] = {}
    for part, optional, spent in _whole_components(definitions, found.base, declared):
        written = match_component(part, own)
        if written is not None:
            components[written] = own.pop(written)
        elif match_component(part, found.computed) is None:
            target = str(extended(found.base, (part,)))
            components[part] = ComponentDefinition(
                part, target, input_only=True, optional=optional, place=found.place, spent=spent
            )
    return {**components, **own}


def effective(definitions: Definitions, name: str) -> CompositeType:
    """Return a composite with what it takes from its base: Python type, functions and derived components.

    Operations are not taken over: the components of the base come with them already done. It is `trusted` only if
    all whose names it holds are.
    """
    found = definitions.types.get(name)
    if not isinstance(found, CompositeType):
        raise DefinitionError(f"{name!r} is not a composite")
    if found.base is None:
        return found
    base = whole(definitions, found.base)
    if isinstance(base, CompositeType):
        base = effective(definitions, base.name)
        return replace(
            found,
            python=found.python or base.python,
            assembler=found.assembler or base.assembler,
            disassembler=found.disassembler or base.disassembler,
            standardize=found.standardize or base.standardize,
            derived=found.derived or base.computed,
            trusted=found.trusted and base.trusted,
        )
    return replace(found, python=found.python or base.python, trusted=found.trusted and base.trusted)


def find_component(composite: CompositeType, name: str) -> ComponentDefinition | None:
    """Return the written component of that name in any spelling."""
    found = match_component(name, composite.components)
    return composite.components[found] if found is not None else None


def without_implied(keys: Iterable[str], implied: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the keys without those that others among them imply."""
    left = tuple(keys)
    return tuple(key for key in left if key not in implied or not all(other in left for other in implied[key]))


def _component_keys(definitions: Definitions, composite: CompositeType, hidden: tuple[str, ...]) -> Iterable[str]:
    """Yield the keys of the components that are not `hidden` by those of a composite based on this one."""
    if composite.base is not None:
        base = whole(definitions, composite.base)
        fixed = _fixed_on_the_way(definitions, composite.base)
        inner: Iterable[str]
        if isinstance(base, CompositeType):
            inner = _component_keys(definitions, base, (*hidden, *composite.components, *composite.computed))
        else:
            inner = base.keys
        for data_id in fixed:
            inner = outer_keys(inner, data_id)
        yield from inner
    for component in composite.components.values():
        if is_list(component) or component.optional or match_component(component.name, hidden) is not None:
            continue
        yield from outer_keys(keys_of(definitions, component.dataset_type), component.data_id)


def _all_keys(definitions: Definitions, name: str | DatasetName) -> Iterable[str]:
    found, rest = definitions.resolve(name)
    if isinstance(found, StoredType):
        yield from found.keys
    elif isinstance(found, PartOfType):
        yield from outer_keys(_all_keys(definitions, extended(found.target, rest)), found.data_id)
    elif rest:
        component = find_component(found, rest[0])
        if component is None:
            yield from _all_keys(definitions, _further(definitions, found, rest))
        else:
            inner = _all_keys(definitions, extended(component.dataset_type, rest[1:]))
            yield from outer_keys(inner, component.data_id)
    else:
        yield from found.own_keys
        if found.base is not None:
            yield from _all_keys(definitions, found.base)
        for component in found.components.values():
            yield from outer_keys(_all_keys(definitions, component.dataset_type), component.data_id)


def find_whole(
    definitions: Definitions, composite: CompositeType, components: Mapping[str, ComponentDefinition]
) -> ComponentDefinition | None:
    """Return the one component that is a whole object of the composite's own Python type, if there is one.

    What is no component of the composite is looked for in it: ``calexp.psf``, where ``calexp`` is made of a stored
    exposure and a new WCS.
    """
    python = effective(definitions, composite.name).python
    if python is None:
        return None
    wholes = [
        component
        for component in components.values()
        if not is_list(component) and _same_type(_python_of(definitions, component.dataset_type), python)
    ]
    return wholes[0] if len(wholes) == 1 else None


def _same_type(a: str | None, b: str) -> bool:
    return a is not None and bunter_name(a) == bunter_name(b)


def _python_of(definitions: Definitions, name: str | DatasetName) -> str | None:
    """Return the Python type of what a name stands for, None if only the type of its whole could tell."""
    found, rest = definitions.resolve(name)
    if isinstance(found, PartOfType):
        return _python_of(definitions, extended(found.target, rest))
    if not rest:
        return found.python if isinstance(found, StoredType) else effective(definitions, found.name).python
    if isinstance(found, StoredType):
        part = match_component(rest[0], found.parts)
        return found.parts[part].python if part is not None else None
    component = find_component(found, rest[0])
    if component is not None:
        return _python_of(definitions, extended(component.dataset_type, rest[1:]))
    return None if found.base is None else _python_of(definitions, extended(found.base, rest))


def _further(definitions: Definitions, composite: CompositeType, rest: tuple[str, ...]) -> DatasetName:
    """Return where a name leads that is none of the components that are written: into the base or the whole object."""
    inner = find_whole(definitions, composite, composite.components) if composite.base is None else None
    if inner is not None:
        return extended(inner.dataset_type, rest)
    if composite.base is None:
        names = list(composite.components)
        raise ComponentNotFoundError(
            f"{composite.name!r} has no component {rest[0]!r}{did_you_mean(rest[0], names)}; it has: {listing(names)}"
        )
    return extended(composite.base, rest)


def whole(definitions: Definitions, name: str) -> StoredType | CompositeType:
    """Return the type itself behind names for it with keys fixed."""
    found: DatasetType
    found, rest = definitions.resolve(name)
    if isinstance(found, PartOfType) and not rest:
        return whole(definitions, found.target)
    if rest or isinstance(found, PartOfType):
        raise DefinitionError(f"{name!r} is a part of a dataset; a base is a whole one")
    return found


def _fixed_on_the_way(definitions: Definitions, name: str) -> list[Mapping[str, object]]:
    found, _ = definitions.resolve(name)
    if isinstance(found, PartOfType):
        return [*_fixed_on_the_way(definitions, found.target), found.data_id]
    return []


def _whole_components(definitions: Definitions, name: str, declared: Declared) -> list[tuple[str, bool, bool]]:
    """Return the components of a base, whether each is optional, and whether an operation uses it up."""
    base = whole(definitions, name)
    if isinstance(base, CompositeType):
        inputs = [word for derived in base.operations.values() for word in derived.inputs]
        return [
            (c.name, c.optional, c.spent or match_component(c.name, inputs) is not None)
            for c in components_of(definitions, base.name, declared).values()
        ]
    names = list(declared(base))
    main = next((n for n in names if n in _MAIN), names[0] if names and base.parts else None)
    return [(n, n != main, False) for n in names]
