"""Some of the definitions as a policy of their own: those of some names, and those that they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import DefinitionError
from ..names import DatasetName
from ..words import listing
from .collection import Definitions, load
from .combine import same_type
from .derive import renamed
from .model import CompositeType, DatasetType, PartOfType, StoredType


def needed_types(definitions: Definitions, names: Iterable[DatasetName]) -> list[str]:
    """Return the dataset types of names and those that they need in turn: bases, components' types, wholes of parts.

    Raises
    ------
    DefinitionError
        If unrelated parents define one of them differently.
    """
    needed: set[str] = set()
    waiting = [definitions.find(name) for name in names]
    while waiting:
        found = waiting.pop()
        if found.name not in needed:
            needed.add(found.name)
            waiting += [definitions.find(target) for target in _targets(found)]
    return [name for name in definitions.types if name in needed]


def _targets(found: DatasetType) -> Iterator[str]:
    if isinstance(found, PartOfType):
        yield found.target
    elif isinstance(found, CompositeType):
        if found.base is not None:
            yield found.base
        for component in found.components.values():
            yield component.dataset_type


def excerpt(
    definitions: Definitions, owns: Sequence[Definitions], names: Iterable[DatasetName]
) -> dict[str, dict[str, Any]]:
    """Return a policy with all that some names need, as it was written: types, keys, implied keys, aliases.

    Parameters
    ----------
    definitions : Definitions
        What the names mean.
    owns : sequence of Definitions
        What each repository itself defines, nearest first.
    names : iterable of DatasetName
        What is wanted.

    Raises
    ------
    DefinitionError
        If unrelated parents define one of them differently.
    """
    types = needed_types(definitions, names)
    implied, keys = _implied(definitions, _keys(definitions, types))
    aliases = {
        name: target
        for name, target in definitions.aliases.items()
        if f"alias {name}" not in definitions._conflicts and definitions.find(target).name in types
    }
    policy: dict[str, dict[str, Any]] = {
        "keys": {key: kind for key, kind in definitions.key_types.items() if key in keys},
        "implied": {key: list(given) for key, given in implied.items()},
        "datasets": {name: _written(definitions, owns, name) for name in types},
        "aliases": aliases,
    }
    policy = {section: items for section, items in policy.items() if items}
    read = load(policy)
    changed = [name for name in types if not same_type(read.types[name], definitions.types[name])]
    if changed:
        raise DefinitionError(f"the definitions of {listing(changed)} mean something else without the others")
    return policy


def _keys(definitions: Definitions, types: Iterable[str]) -> set[str]:
    """Return every key that is named in some types."""
    keys: set[str] = set()
    for name in types:
        found = definitions.types[name]
        mappings: list[Mapping[str, Any]] = []
        if isinstance(found, StoredType):
            keys.update(found.keys, found.path_fields, found.template.fields if found.template is not None else ())
        elif isinstance(found, CompositeType):
            keys.update(found.own_keys)
            mappings = [component.data_id for component in found.components.values()]
        else:
            mappings = [found.data_id]
        for mapping in mappings:
            keys.update(mapping, (other for value in mapping.values() if (other := renamed(value)) is not None))
    return keys


def _implied(definitions: Definitions, keys: set[str]) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Return the implied keys that some keys imply, and all keys that there are then."""
    keys = set(keys)
    found: dict[str, tuple[str, ...]] = {}
    while True:
        more = {k: given for k, given in definitions.implied.items() if k not in found and keys.issuperset(given)}
        if not more:
            return found, keys
        found |= more
        keys |= set(more)


def _written(definitions: Definitions, owns: Sequence[Definitions], name: str) -> dict[str, Any]:
    """Return the options of a type as they were written where it is defined."""
    for own in owns:
        found = own.types.get(name)
        if found is not None and same_type(found, definitions.types[name]):
            return {option: value.plain() for option, (_, value) in own._drafts[name].options.items()}
    raise DefinitionError(f"{name!r} is defined in none of the repositories")


def lacking_in(policy: Mapping[str, Mapping[str, Any]], there: Definitions, root: str) -> dict[str, dict[str, Any]]:
    """Return what of a policy a repository does not define yet.

    A stored type may have another storage and template there: every dataset remembers how it was written.

    Raises
    ------
    DefinitionError
        If the repository defines one of the types with other keys, or as something else.
    """
    read = load(policy)
    different = [name for name, found in read.types.items() if not _may_stand_for(there, name, found)]
    different += [key for key, kind in read.key_types.items() if there.key_types.get(key, kind) != kind]
    different += [key for key, given in read.implied.items() if there.implied.get(key, given) != given]
    if different:
        raise DefinitionError(
            f"{root} defines {listing(different)} otherwise; what is copied there has to be defined alike: use a new "
            "stage, or another repository"
        )
    known: dict[str, Mapping[str, object]] = {
        "keys": there.key_types, "implied": there.implied, "datasets": there.types, "aliases": there.aliases,
    }  # fmt: skip
    rest = {
        section: {name: value for name, value in items.items() if name not in known[section]}
        for section, items in policy.items()
    }
    return {section: items for section, items in rest.items() if items}


def _may_stand_for(there: Definitions, name: str, found: DatasetType) -> bool:
    known = there.types.get(name)
    if known is None or same_type(known, found):
        return True
    return isinstance(known, StoredType) and isinstance(found, StoredType) and set(known.keys) == set(found.keys)
