"""From a definition and a data ID to what has to be found: pure, no I/O.

The result is a tree of branches. A `Leaf` is one stored dataset or a part of one, a `Node` is a composite with
its branches, a `Gather` is a list whose members only the repositories know, and `Absent` an optional component
for which the data ID has no keys. ``calexp:jointcal.wcs`` is the same tree as ``calexp:jointcal`` with one branch,
which is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from .components import match_component
from .dataid import DataId, KeyValue, check_key, check_value
from .definitions import Definitions
from .definitions.derive import find_whole
from .definitions.model import ComponentDefinition, CompositeType, PartOfType, StoredType
from .errors import ComponentNotFoundError, DataIdError
from .names import DatasetName
from .values import dataclass, field
from .words import did_you_mean, listing, nearest

OPTIONS = (
    "parameters", "as_type", "share", "resolve", "replace", "self_contained", "check", "discard", "precursors",
    "where", "region", "order_by", "limit", "force", "mode", "scan", "template", "on_exists", "progress", "parents",
)  # fmt: skip
"""Words that a user may have misspelt where a key stands."""

_MOST_SHAPES = 4096

Declared: TypeAlias = Callable[[StoredType], Mapping[str, str]]
"""The components of a stored type: its parts, else what its Python type declares."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One stored dataset, or one part of it."""

    stored: StoredType
    data_id: DataId
    part: str = ""

    @property
    def name(self) -> str:
        """The dotted name."""
        return f"{self.stored.name}.{self.part}" if self.part else self.stored.name


@dataclass(frozen=True, slots=True)
class Absent:
    """An optional component whose keys the data ID does not have."""

    name: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """Every dataset of a name that agrees with the constraints, or those that some source names.

    Attributes
    ----------
    source : object or None
        ``dataIds`` as written: a component, ``"precursors"``, ``{"precursorsOf": ...}``, header cards.
    renamed : mapping
        Key of the members -> column of the source.
    optional : bool
        Whether members that are missing are None in their places.
    """

    name: DatasetName
    constraints: DataId
    fixed: DataId
    source: Any = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A composite and those of its components that are wanted.

    Attributes
    ----------
    complete : bool
        Whether the data ID has all keys of the composite, so that a put one can be looked up.
    take : str
        The one component that is wanted instead of the whole, ``""`` for the whole.
    derive : str
        The derived component that is wanted instead of the whole; the branches are its inputs.
    optional : frozenset of str
        Components that may be absent. One that is wanted by itself (`take`) may not.
    """

    composite: CompositeType
    data_id: DataId
    complete: bool
    definitions: Mapping[str, ComponentDefinition]
    branches: Mapping[str, Branch] = field(default_factory=dict)
    take: str = ""
    derive: str = ""
    optional: frozenset[str] = frozenset()


Branch: TypeAlias = Leaf | Absent | Gather | Node


def standard_data_id(definitions: Definitions, data_id: Mapping[str, object]) -> dict[str, KeyValue]:
    """Check the keys and values of a data ID against what the definitions know.

    Raises
    ------
    DataIdError
        For a key that no definition knows, and for values that are wrongly typed or unsafe.
    """
    kinds = definitions.key_types
    standard: dict[str, KeyValue] = {}
    for given, value in data_id.items():
        key = check_key(given)
        kind = kinds.get(key)
        if kind is None:
            option = nearest(key, OPTIONS)
            hint = f"; did you mean the option {option!r}?" if option is not None else did_you_mean(key, kinds)
            raise DataIdError(
                f"no dataset type of this repository has a key {key!r}{hint}; the keys are: {listing(sorted(kinds))}"
            )
        standard[key] = check_value(key, value, kind)
    return standard


@dataclass(frozen=True, slots=True)
class _Given:
    """Stands in a shape for the value that a data ID gives to a key."""

    key: str


class Planner:
    """Expands names into trees.

    What a tree looks like depends on the name and on which keys are given, not on their values: each such shape is
    made once, and filled in with the values of every call.

    Parameters
    ----------
    definitions : Definitions
        What the names mean.
    declared : callable
        The components of a stored type.
    """

    def __init__(self, definitions: Definitions, declared: Declared) -> None:
        self.definitions = definitions
        self.declared = declared
        self._components: dict[str, dict[str, ComponentDefinition]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._all_keys: dict[str, tuple[str, ...]] = {}
        self._effective: dict[str, CompositeType] = {}
        self._optional: dict[str, frozenset[str]] = {}
        self._shapes: dict[tuple[DatasetName, frozenset[str]], Branch] = {}

    def components(self, composite: str) -> dict[str, ComponentDefinition]:
        """Return the components of a composite, those of its base included."""
        found = self._components.get(composite)
        if found is None:
            found = self._components[composite] = self.definitions.components_of(composite, self.declared)
        return found

    def effective(self, composite: str) -> CompositeType:
        """Return a composite with what it takes from its base."""
        found = self._effective.get(composite)
        if found is None:
            found = self._effective[composite] = self.definitions.effective(composite)
        return found

    def optional(self, composite: str) -> frozenset[str]:
        """Return the components without which a composite can be read.

        Of a stored base any part but the main one may be absent, but the dataset itself has to be there.
        """
        found = self._optional.get(composite)
        if found is None:
            components = self.components(composite).values()
            written = self.effective(composite).components
            found = self._optional[composite] = frozenset(
                c.name for c in components if c.optional and (c.name in written or self._spared_by_base(c.dataset_type))
            )
        return found

    def _spared_by_base(self, target: str) -> bool:
        definition, rest = self.definitions.resolve(target)
        if isinstance(definition, PartOfType):
            inner = DatasetName.parse(definition.target)
            return self._spared_by_base(str(inner.with_component(inner.component + rest)))
        if isinstance(definition, StoredType) or not rest:
            return False
        chosen = match_component(rest[0], self.components(definition.name))
        return chosen is not None and chosen in self.optional(definition.name)

    def keys(self, name: DatasetName) -> tuple[str, ...]:
        """Return the keys that a full data ID of `name` has."""
        text = str(name)
        keys = self._keys.get(text)
        if keys is None:
            keys = self._keys[text] = self.definitions.keys_of(self._of_composite(name))
        return keys

    def _of_composite(self, name: DatasetName) -> DatasetName:
        """Return the composite for the name of a component whose data ID is the composite's.

        Such are components that are computed, and lists whose data IDs come from elsewhere.
        """
        if name.component:
            definition, rest = self.definitions.resolve(name)
            if rest and isinstance(definition, CompositeType):
                written = match_component(rest[0], definition.components)
                listed = written is not None and definition.components[written].data_ids is not None
                if listed or match_component(rest[0], self.effective(definition.name).derived) is not None:
                    return DatasetName.parse(definition.name)
        return name

    def all_keys(self, name: DatasetName) -> tuple[str, ...]:
        """Return the keys of `name` and those of its lists and optional components."""
        text = str(name)
        keys = self._all_keys.get(text)
        if keys is None:
            keys = self._all_keys[text] = (
                *self.keys(name),
                *self.definitions.constraint_keys_of(self._of_composite(name)),
            )
        return keys

    def _match(self, composite: str, name: str, components: Collection[str]) -> str:
        found = match_component(name, components)
        if found is None:
            raise ComponentNotFoundError(
                f"{composite!r} has no component {name!r}{did_you_mean(name, components)}; "
                f"it has: {listing(components)}"
            )
        return found

    def through_whole(
        self, composite: CompositeType, components: Mapping[str, ComponentDefinition], rest: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the components of a name, with that of the whole object before one that only the object has."""
        if match_component(rest[0], components) is not None:
            return rest
        inner = find_whole(self.definitions, composite, components)
        return rest if inner is None else (inner.name, *rest)

    def expand(self, name: DatasetName, data_id: Mapping[str, KeyValue]) -> Branch:
        """Return the tree of a name; the data ID is standard already.

        Raises
        ------
        DatasetTypeNotFoundError, ComponentNotFoundError
            If the definitions have no such name.
        MissingKeysError
            If a key that is needed is missing.
        """
        given = name, frozenset(data_id)
        shape = self._shapes.get(given)
        if shape is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            symbols: Any = {key: _Given(key) for key in data_id}
            shape = self._shapes[given] = self._shape(name, symbols)
        return _filled(shape, data_id)

    def _shape(self, name: DatasetName, data_id: Mapping[str, KeyValue]) -> Branch:
        definition, _ = self.definitions.resolve(name)
        if isinstance(definition, StoredType) and DatasetName.parse(definition.name).component:
            whole = self.definitions.types.get(name.definition)
            if isinstance(whole, CompositeType):
                # Asked for as a component: the walk begins at its composite, whose pins count.
                return self._node(self.effective(whole.name), data_id, name.component)
        return self._expand(name, data_id)

    def _expand(self, name: DatasetName, data_id: Mapping[str, KeyValue]) -> Branch:
        definition, rest = self.definitions.resolve(name)
        if isinstance(definition, StoredType):
            return self._leaf(definition, data_id, rest)
        if isinstance(definition, PartOfType):
            target = DatasetName.parse(definition.target)
            inner = _inner(data_id, definition.data_id)
            return self._expand(target.with_component(target.component + rest), inner)
        return self._node(self.effective(definition.name), data_id, rest)

    def _leaf(self, stored: StoredType, data_id: Mapping[str, KeyValue], rest: tuple[str, ...]) -> Leaf:
        missing = [key for key in stored.keys if key not in data_id]
        if missing:
            raise MissingKeysError(stored.name, missing)
        own = DataId({key: data_id[key] for key in stored.keys})
        if not rest:
            return Leaf(stored, own)
        known = self.declared(stored)
        part = match_component(rest[0], known)
        if part is None:
            what = listing(known) if known else "none that can be read by name"
            raise ComponentNotFoundError(
                f"{stored.name!r} has no component {rest[0]!r}{did_you_mean(rest[0], known)}; it has: {what}"
            )
        if len(rest) > 1:
            raise ComponentNotFoundError(f"{stored.name}.{part} has no components, so no {'.'.join(rest[1:])!r}")
        return Leaf(stored, own, part)

    def _node(self, composite: CompositeType, data_id: Mapping[str, KeyValue], rest: tuple[str, ...]) -> Node:
        keys = self.keys(DatasetName.parse(composite.name))
        complete = all(key in data_id for key in keys)
        components: Mapping[str, ComponentDefinition] = composite.components
        if not rest or match_component(rest[0], components) is None:
            # What a base adds is asked of its Python type, which is imported only if that is needed.
            components = self.components(composite.name)
        if rest:
            derived = match_component(rest[0], composite.derived)
            if derived is not None:
                if len(rest) > 1:
                    raise ComponentNotFoundError(
                        f"{composite.name}.{derived} is computed and has no components, so no {'.'.join(rest[1:])!r}"
                    )
                return self._derived(composite, derived, data_id)
            rest = self.through_whole(composite, components, rest)
            chosen = self._match(composite.name, rest[0], [*components, *composite.derived])
            wanted: Mapping[str, ComponentDefinition] = {chosen: components[chosen]}
            source = source_component(components[chosen].data_ids)
            if source is not None:
                # The list's data IDs are in another component, which is read for them.
                named = self._match(composite.name, source, components)
                wanted = {named: components[named], **wanted}
        else:
            if not complete:
                raise MissingKeysError(composite.name, [key for key in keys if key not in data_id])
            wanted = components
        own = DataId({key: data_id[key] for key in keys if key in data_id})
        optional = self.optional(composite.name) if not rest else frozenset()
        branches = {
            component.name: self._branch(
                component, data_id, rest[1:] if rest and component.name == chosen else (), component.name in optional
            )
            for component in wanted.values()
        }
        return Node(composite, own, complete, components, branches, chosen if rest else "", "", optional)

    def _derived(self, composite: CompositeType, name: str, data_id: Mapping[str, KeyValue]) -> Node:
        """Return the tree of a component that is computed: of its inputs."""
        components = self.components(composite.name)
        optional = self.optional(composite.name)
        branches: dict[str, Branch] = {}
        for written in composite.derived[name].inputs:
            derived = match_component(written, composite.derived)
            if derived is not None and derived != name:
                branches[derived] = self._derived(composite, derived, data_id)
                continue
            chosen = self._match(composite.name, written, components)
            branches[chosen] = self._branch(components[chosen], data_id, (), chosen in optional)
        keys = self.keys(DatasetName.parse(composite.name))
        own = DataId({key: data_id[key] for key in keys if key in data_id})
        complete = all(key in data_id for key in keys)
        return Node(composite, own, complete, components, branches, derive=name, optional=optional)

    def _listed(self, component: ComponentDefinition, target: DatasetName, data_id: Mapping[str, KeyValue]) -> Gather:
        """Return the branch of a component whose data IDs some source names."""
        columns = {key: other for key, value in component.data_id.items() if (other := renamed(value)) is not None}
        fixed = {key: value for key, value in component.data_id.items() if key not in columns}
        allowed = self.all_keys(target)
        constraints = {key: value for key, value in data_id.items() if key in allowed and key not in columns}
        return Gather(target, DataId(constraints), DataId(fixed), component.data_ids, columns, component.optional)

    def _branch(
        self, component: ComponentDefinition, data_id: Mapping[str, KeyValue], rest: tuple[str, ...], optional: bool
    ) -> Branch:
        target = DatasetName.parse(component.dataset_type)
        target = target.with_component(target.component + rest)
        if component.data_ids is not None:
            return self._listed(component, target, data_id)
        missing_outer = _missing_outer(data_id, component.data_id)
        if component.subset:
            inner = _inner(data_id, {k: v for k, v in component.data_id.items() if k not in missing_outer})
            allowed = self.all_keys(target)
            constraints = {key: value for key, value in inner.items() if key in allowed}
            fixed = {key: inner[key] for key in component.data_id if key in inner}
            return Gather(target, DataId(constraints), DataId(fixed))
        inner = _inner(data_id, component.data_id) if not missing_outer else dict(data_id)
        given = {*inner, *component.data_id}
        missing = [*missing_outer, *(key for key in self.keys(target) if key not in given)]
        if missing:
            if optional:
                return Absent(str(target), tuple(missing))
            raise MissingKeysError(str(target), missing)
        # With `rest` the name walks into a composite, whose pins count; without, this is the composite's own component.
        return self._shape(target, inner) if rest else self._expand(target, inner)


def _filled(shape: Branch, data_id: Mapping[str, KeyValue]) -> Branch:
    """Return a tree of that shape with the values of a data ID."""
    if isinstance(shape, Leaf):
        return Leaf(shape.stored, _filled_id(shape.data_id, data_id), shape.part)
    if isinstance(shape, Node):
        branches = {name: _filled(inner, data_id) for name, inner in shape.branches.items()}
        own = _filled_id(shape.data_id, data_id)
        return Node(
            shape.composite, own, shape.complete, shape.definitions, branches, shape.take, shape.derive, shape.optional
        )
    if isinstance(shape, Gather):
        constraints, fixed = _filled_id(shape.constraints, data_id), _filled_id(shape.fixed, data_id)
        return Gather(shape.name, constraints, fixed, shape.source, shape.renamed, shape.optional)
    return shape


def _filled_id(shape: Mapping[str, Any], data_id: Mapping[str, KeyValue]) -> DataId:
    return DataId({key: data_id[at.key] if type(at) is _Given else at for key, at in shape.items()})


def source_component(source: Any) -> str | None:
    """Return the component of the composite from which ``dataIds`` come, if they come from one."""
    if isinstance(source, str):
        return None if source == "precursors" else source
    if isinstance(source, Mapping):
        found = source.get("component", source.get("precursorsOf"))
        return found if isinstance(found, str) else None
    return None


class MissingKeysError(DataIdError):
    """A data ID lacks keys; the butler adds the values that there are before a user sees it."""

    def __init__(self, name: str, missing: list[str]) -> None:
        super().__init__(f"{name!r} needs {listing(missing)} in the data ID")
        self.name = name
        self.missing = tuple(missing)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return DataIdError, (str(self),)


def renamed(value: object) -> str | None:
    """Return ``ref_visit`` for the value ``"{ref_visit}"``."""
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return value[1:-1]
    return None


def _missing_outer(data_id: Mapping[str, KeyValue], mapping: Mapping[str, object]) -> list[str]:
    return [o for value in mapping.values() if (o := renamed(value)) is not None and o not in data_id]


def _inner(data_id: Mapping[str, KeyValue], mapping: Mapping[str, object]) -> dict[str, KeyValue]:
    """Return the component's data ID: the composite's, with fixed values and renamed keys."""
    inner = dict(data_id)
    for key, value in mapping.items():
        other = renamed(value)
        if other is None:
            inner[key] = value  # type: ignore[assignment]
        elif other in data_id:
            inner[key] = data_id[other]
        else:
            raise MissingKeysError(key, [other])
    return inner


def leaves(branch: Branch) -> Iterator[Leaf]:
    """Walk over the leaves of a tree."""
    if isinstance(branch, Leaf):
        yield branch
    elif isinstance(branch, Node):
        for inner in branch.branches.values():
            yield from leaves(inner)
