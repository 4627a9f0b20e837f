"""Which data IDs there are: of stored types from the registries, of composites by joining their components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

from .components import match_component
from .dataid import DataId, KeyValue
from .definitions.derive import extended
from .definitions.model import CompositeType, PartOfType, StoredType
from .errors import ComponentNotFoundError, DataIdError
from .locate import is_hidden
from .names import DatasetName
from .plan import Gather, Planner, renamed
from .repository import Chain
from .values import dataclass, field
from .words import listing


@dataclass(slots=True)
class Relation:
    """A set of rows with named columns.

    Attributes
    ----------
    listed : list of tuple or None
        The same rows, each once, as a registry gave them: mostly in order, so that sorting them is quick.
    """

    keys: tuple[str, ...]
    rows: set[tuple[KeyValue, ...]]
    listed: list[tuple[KeyValue, ...]] | None = field(default=None, repr=False, compare=False)

    def project(self, keys: Sequence[str]) -> Relation:
        """Return the distinct rows of some columns."""
        if tuple(keys) == self.keys:
            return self
        at = [self.keys.index(key) for key in keys]
        return Relation(tuple(keys), {tuple(row[i] for i in at) for row in self.rows})

    def join(self, other: Relation) -> Relation:
        """Return the natural join."""
        shared = [key for key in self.keys if key in other.keys]
        added = [key for key in other.keys if key not in self.keys]
        mine = [self.keys.index(key) for key in shared]
        theirs = [other.keys.index(key) for key in shared]
        new = [other.keys.index(key) for key in added]
        if not added and len(shared) == len(self.keys) == len(other.keys):
            return Relation(self.keys, self.rows & other.project(self.keys).rows)
        matches: dict[tuple[KeyValue, ...], list[tuple[KeyValue, ...]]] = {}
        for row in other.rows:
            matches.setdefault(tuple(row[i] for i in theirs), []).append(tuple(row[i] for i in new))
        rows = {row + extra for row in self.rows for extra in matches.get(tuple(row[i] for i in mine), ())}
        return Relation((*self.keys, *added), rows)

    def where(self, constraints: Mapping[str, KeyValue]) -> Relation:
        """Return the rows that agree with the constraints on the columns that there are."""
        at = [(self.keys.index(key), value) for key, value in constraints.items() if key in self.keys]
        if not at:
            return self
        return Relation(self.keys, {row for row in self.rows if all(row[i] == value for i, value in at)})


class Finder:
    """Enumerates data IDs over a chain of repositories.

    Parameters
    ----------
    chain : Chain
        What is searched.
    planner : Planner
        What the names mean.
    whole : callable
        ``(composite name, data ID) -> bool``: whether a composite that was put can be read in full.
    """

    def __init__(
        self, chain: Chain, planner: Planner, whole: Callable[[DatasetName, Mapping[str, KeyValue]], bool]
    ) -> None:
        self._chain = chain
        self._planner = planner
        self._whole = whole

    def relation(self, name: DatasetName, constraints: Mapping[str, KeyValue]) -> Relation:
        """Return the data IDs for which a name can be read, as far as the registries know."""
        definition, rest = self._planner.definitions.resolve(name)
        if isinstance(definition, StoredType):
            return self._stored(definition, self._part(definition, rest), constraints)
        if isinstance(definition, PartOfType):
            target = DatasetName.parse(definition.target)
            target = target.with_component(target.component + rest)
            return self._through(target, definition.data_id, constraints)
        return self._composite(name, definition, rest, constraints)

    def _part(self, stored: StoredType, rest: tuple[str, ...]) -> str:
        """Return the part that a name asks for if there are part datasets of it, ``""`` if wholes alone can have it."""
        if not rest:
            return ""
        return match_component(rest[0], self._parts(stored)) or ""

    def _parts(self, stored: StoredType) -> set[str]:
        return {part for repository in self._chain.order for part in repository.registry.parts(stored.name)}

    def _stored_behind(self, target: DatasetName) -> tuple[StoredType, tuple[str, ...]] | None:
        """Return the stored type that a component comes down to, and its part; None for a whole composite."""
        while True:
            definition, rest = self._planner.definitions.resolve(target)
            if isinstance(definition, StoredType):
                return definition, rest
            if isinstance(definition, PartOfType):
                target = extended(definition.target, rest)
                continue
            if not rest:
                return None
            components = self._planner.components(definition.name)
            rest = self._planner.through_whole(definition, components, rest)
            chosen = match_component(rest[0], components)
            if chosen is None:
                return None
            target = extended(components[chosen].dataset_type, rest[1:])

    def _stored(self, stored: StoredType, part: str, constraints: Mapping[str, KeyValue]) -> Relation:
        relation = Relation(stored.keys, set())
        for repository in self._chain.order:
            if self._chain.hidden:
                records = repository.registry.select(stored.name, constraints, part=part)
                shown = [record for record in records if not is_hidden(self._chain, repository, record)]
                found = [tuple(record.data_id.values()) for record in shown]
            else:
                found = repository.registry.data_ids(stored.name, constraints, part=part)
            keys = repository.registry.keys_of(stored.name)
            if found and keys is not None:
                lacking = [key for key in stored.keys if key not in keys]
                if lacking:
                    raise DataIdError(
                        f"{repository.root} has {stored.name!r} recorded with the keys {listing(keys)}, without "
                        f"{listing(lacking)}: the keys of a type cannot change"
                    )
                rows = set(found)
                # Part datasets of a transaction may share a data ID.
                new = Relation(keys, rows, found if len(rows) == len(found) else None).project(stored.keys)
                relation = Relation(stored.keys, relation.rows | new.rows) if relation.rows else new
        return relation

    def _through(
        self, target: DatasetName, mapping: Mapping[str, object], constraints: Mapping[str, KeyValue]
    ) -> Relation:
        """Return the relation of a target in the keys of the composite that refers to it by `mapping`."""
        inner: dict[str, KeyValue] = {k: v for k, v in constraints.items() if k not in mapping}
        for key, value in mapping.items():
            other = renamed(value)
            if other is None:
                inner[key] = value  # type: ignore[assignment]
            elif other in constraints:
                inner[key] = constraints[other]
        found = self.relation(target, inner).where(inner)
        names: list[str] = []
        at: list[int] = []
        for index, key in enumerate(found.keys):
            outer = renamed(mapping[key]) if key in mapping else key
            if outer is not None and outer not in names:
                names.append(outer)
                at.append(index)
        return Relation(tuple(names), {tuple(row[i] for i in at) for row in found.rows})

    def _composite(
        self,
        name: DatasetName,
        composite: CompositeType,
        rest: tuple[str, ...],
        constraints: Mapping[str, KeyValue],
    ) -> Relation:
        components = self._planner.components(composite.name)
        if rest:
            chosen = match_component(rest[0], components)
            derived = match_component(rest[0], self._planner.effective(composite.name).derived)
            if derived is not None or (chosen is not None and components[chosen].data_ids is not None):
                # What is computed, and a list whose data IDs come from elsewhere, has the composite's data ID.
                return self._composite(name.with_component(()), composite, (), constraints)
            if chosen is None:
                rest = self._planner.through_whole(composite, components, rest)
                chosen = match_component(rest[0], components)
            if chosen is None:
                # The planner has said so with the nearest right word before anybody came here.
                raise ComponentNotFoundError(f"{composite.name!r} has no component {rest[0]!r}")
            component = components[chosen]
            target = DatasetName.parse(component.dataset_type)
            return self._through(target.with_component(target.component + rest[1:]), component.data_id, constraints)
        keys = self._planner.keys(name)
        joined: Relation | None = None
        lists: list[Relation] = []
        seen: set[tuple[str, str, str]] = set()
        for component in components.values():
            if component.data_ids is not None:
                continue
            target = DatasetName.parse(component.dataset_type)
            behind = self._stored_behind(target)
            # An optional part comes with its whole; where parts are stored alone, it is looked for.
            if component.optional and (
                component.name in self._planner.optional(composite.name) or behind is None or not self._parts(behind[0])
            ):
                continue
            if behind is not None and isinstance(self._planner.definitions.find(target), StoredType):
                # All parts of one stored type are there together, but for part datasets: one look serves them all.
                mark = behind[0].name, self._part(*behind), repr(sorted(component.data_id.items()))
                if mark in seen:
                    continue
                seen.add(mark)
            relation = self._through(target, component.data_id, constraints)
            if component.subset:
                lists.append(relation)
            else:
                joined = relation if joined is None else joined.join(relation)
        own = Relation(composite.own_keys, set())
        if joined is None:
            joined = self._of_lists(composite, lists, constraints)
            lists = []
        for members in lists:
            shared = [key for key in members.keys if key in joined.keys]
            joined = joined.join(members.project(shared)) if shared or members.rows else Relation(joined.keys, set())
        missing = [key for key in keys if key not in joined.keys]
        if not missing:
            own = joined.project(keys)
        else:
            own = Relation(keys, set())
        return Relation(keys, own.rows | self._put(name, composite, keys, constraints, own.rows))

    @staticmethod
    def _of_lists(composite: CompositeType, lists: list[Relation], constraints: Mapping[str, KeyValue]) -> Relation:
        """Return the data IDs of a pure aggregate: those of its own keys, else the one that was asked for."""
        if not lists or not all(members.rows for members in lists):
            return Relation(composite.own_keys, set())
        joined: Relation | None = None
        for members in lists:
            keys = [key for key in composite.own_keys if key in members.keys]
            part = members.project(keys)
            joined = part if joined is None else joined.join(part)
        assert joined is not None
        return joined

    def _put(
        self,
        name: DatasetName,
        composite: CompositeType,
        keys: tuple[str, ...],
        constraints: Mapping[str, KeyValue],
        known: set[tuple[KeyValue, ...]],
    ) -> set[tuple[KeyValue, ...]]:
        """Return the composites that were put and can be read although a component's own name is gone."""
        more: set[tuple[KeyValue, ...]] = set()
        for repository in self._chain.order:
            recorded = repository.registry.keys_of(composite.name)
            if recorded is None:
                continue
            rows = Relation(recorded, set(repository.registry.data_ids(composite.name, constraints)))
            if set(recorded) == set(keys):
                more |= rows.project(keys).rows
        return {row for row in more - known if self._whole(name.with_component(()), dict(zip(keys, row, strict=True)))}

    def members(self, gather: Gather) -> list[DataId]:
        """Return the data IDs of a list's members, sorted by key."""
        relation = self.relation(gather.name, {**gather.constraints, **gather.fixed})
        return ordered(relation.where({**gather.constraints, **gather.fixed})).data_ids()


@dataclass(slots=True)
class Rows:
    """What a query found: rows in order, with named columns."""

    keys: tuple[str, ...]
    rows: list[tuple[KeyValue, ...]]

    def data_ids(self) -> list[DataId]:
        """Return the rows as data IDs."""
        return [DataId(zip(self.keys, row, strict=True)) for row in self.rows]


def ordered(relation: Relation, order_by: Iterable[tuple[str, bool]] = ()) -> Rows:
    """Return the rows in key order, or ordered by some keys first."""
    rows = sorted(relation.rows if relation.listed is None else relation.listed)
    for key, down in reversed(list(order_by)):
        rows.sort(key=itemgetter(relation.keys.index(key)), reverse=down)
    return Rows(relation.keys, rows)
