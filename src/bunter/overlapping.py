"""Region queries: the data IDs of a name whose datasets lie in a part of the sky.

A dataset that was put or ingested lies where its own footprint is. A composite that was never put, or whose footprint
is not known, lies where the dataset behind its ``wcs`` does, else where that of its ``image`` does, else those of the
others, in order. Where there are polygons for some of the keys (tracts, patches: `Butler.add_regions`), they must
overlap too; of types without footprints (catalogs of a tract) they alone decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .components import match_component
from .context import Context
from .dataid import DataId, KeyValue
from .definitions.derive import extended
from .definitions.model import CompositeType, PartOfType, StoredType
from .errors import ParameterError
from .names import DatasetName
from .plan import renamed, standard_data_id
from .querying import Relation
from .registry.interface import NewRegions
from .values import dataclass
from .words import listing

if TYPE_CHECKING:
    from .sky import Region

_FEW = 100


@dataclass(frozen=True)
class _Source:
    """A dataset type whose footprints tell where another one lies.

    Attributes
    ----------
    steps : tuple of mapping
        How each composite on the way names the keys of its component, the innermost first.
    """

    type: str
    steps: tuple[Mapping[str, object], ...]

    def outwards(self, data_id: Mapping[str, KeyValue]) -> dict[str, KeyValue] | None:
        """Return what a data ID of this type says of the other's; None if other values are fixed there."""
        found = dict(data_id)
        for step in self.steps:
            outer: dict[str, KeyValue] = {}
            for key, value in found.items():
                name = renamed(step[key]) if key in step else key
                if name is not None:
                    outer[name] = value
                elif step[key] != value:
                    return None
            found = outer
        return found

    def inwards(self, data_id: Mapping[str, KeyValue]) -> dict[str, KeyValue]:
        """Return what a data ID of the other type says of this one's."""
        found = dict(data_id)
        for step in reversed(self.steps):
            inner = {key: value for key, value in found.items() if key not in step}
            for key, value in step.items():
                name = renamed(value)
                if name is None:
                    inner[key] = value  # type: ignore[assignment]
                elif name in found:
                    inner[key] = found[name]
            found = inner
        return found


def overlapping(
    context: Context,
    name: DatasetName,
    region: Region,
    standard: Mapping[str, KeyValue],
    among: Relation | None = None,
) -> Relation:
    """Return the data IDs of a name that agree with a data ID and whose datasets overlap a region.

    Parameters
    ----------
    among : Relation, optional
        The data IDs to choose from, if the caller has them.

    Raises
    ------
    ParameterError
        If nothing is known of where the datasets of that name lie.
    """
    registries = [repository.registry for repository in context.chain.order]
    for registry in registries:
        registry.begin_read()
    try:
        return _Search(context, name, region, standard, among).run()
    finally:
        for registry in registries:
            registry.end_read()


class _Search:
    def __init__(
        self,
        context: Context,
        name: DatasetName,
        region: Region,
        standard: Mapping[str, KeyValue],
        among: Relation | None,
    ) -> None:
        self._context = context
        self._name = name
        self._region = region
        self._standard = standard
        self._among = among
        self._repositories = context.chain.order
        outer = name
        if name.component and isinstance(context.definitions.types.get(name.definition), CompositeType):
            # A component lies where its composite does.
            outer = name.with_component(())
        self._sources = list(_sources(context, outer, (), set()))
        self._keys = context.planner.keys(name) if among is None else among.keys
        self._is_stored = (
            not name.component
            and str(outer) in context.definitions.types
            and isinstance(context.definitions.find(outer), StoredType)
        )

    def run(self) -> Relation:
        polygons = self._polygons()
        if any(repository.registry.has_footprints(s.type) for s in self._sources for repository in self._repositories):
            return self._by_footprints(polygons)
        if polygons:
            first, *others = sorted(polygons, key=len, reverse=True)
            rows = self._those(DataId(zip(first, values, strict=True)) for values in polygons[first])
            return self._kept(rows, {keys: polygons[keys] for keys in others})
        relation = self._those([DataId()])
        if relation.rows:
            raise ParameterError(
                f"region: nothing is known of where {str(self._name)!r} lies: none of "
                f"{listing(source.type for source in self._sources)} was recorded with a WCS and the shape of its "
                "image (ingest with scan='headers' reads them). Give polygons for some of its keys with add_regions "
                f"({listing(self._keys)})"
            )
        return relation

    # Footprints

    def _by_footprints(self, polygons: Mapping[tuple[str, ...], set[tuple[KeyValue, ...]]]) -> Relation:
        partial: dict[DataId, list[int]] = {}
        for number, source in enumerate(self._sources):
            for data_id in self._matches(source):
                outer = source.outwards(data_id)
                if outer is not None and all(self._standard.get(key, value) == value for key, value in outer.items()):
                    mine = DataId({key: value for key, value in outer.items() if key in self._keys})
                    partial.setdefault(mine, []).append(number)
        if self._is_stored:
            # It is there, since it was found.
            rows = {tuple(data_id[key] for key in self._keys) for data_id in partial}
            return self._kept(Relation(self._keys, rows), polygons)
        relation = self._those(partial)
        by_keys: dict[tuple[str, ...], dict[tuple[KeyValue, ...], list[int]]] = {}
        for data_id, numbers in partial.items():
            by_keys.setdefault(tuple(data_id), {})[tuple(data_id.values())] = numbers
        rows = set()
        for row in relation.rows:
            full = dict(zip(relation.keys, row, strict=True))
            for keys, found in by_keys.items():
                numbers = found.get(tuple(full[key] for key in keys), [])
                if any(not self._settled(full, number) for number in numbers):
                    rows.add(row)
                    break
        return self._kept(Relation(relation.keys, rows), polygons)

    def _matches(self, source: _Source) -> Iterator[DataId]:
        """Yield the data IDs of the datasets of a type that overlap and are masked by no nearer one."""
        hidden = self._context.chain.hidden
        for number, repository in enumerate(self._repositories):
            nearer = self._repositories[:number]
            for data_id in repository.registry.overlapping(source.type, self._region):
                if any(r.registry.find(source.type, data_id) is not None for r in nearer):
                    continue
                record = repository.registry.find(source.type, data_id) if hidden else None
                if record is None or record.uuid not in hidden:
                    yield data_id

    def _settled(self, data_id: Mapping[str, KeyValue], number: int) -> bool:
        """Tell whether a source that comes first has a footprint for this data ID: then it is that one that counts."""
        return any(self._has_footprint(source, source.inwards(data_id)) for source in self._sources[:number])

    def _has_footprint(self, source: _Source, data_id: Mapping[str, KeyValue]) -> bool:
        for repository in self._repositories:
            keys = repository.registry.keys_of(source.type)
            if keys is None or any(key not in data_id for key in keys):
                continue
            own = {key: data_id[key] for key in keys}
            record = repository.registry.find(source.type, own)
            if record is not None and record.uuid not in self._context.chain.hidden:
                return repository.registry.outline(source.type, own) is not None
        return False

    # Polygons of key values

    def _polygons(self) -> dict[tuple[str, ...], set[tuple[KeyValue, ...]]]:
        """Return, for each set of our keys that has polygons, the values whose polygons overlap."""
        found: dict[tuple[str, ...], set[tuple[KeyValue, ...]]] = {}
        for number, repository in enumerate(self._repositories):
            for keys in repository.registry.region_keys():
                if not set(keys) <= set(self._keys):
                    continue
                values = found.setdefault(keys, set())
                for given in repository.registry.regions_overlapping(keys, self._region):
                    if not any(r.registry.region_of(given) is not None for r in self._repositories[:number]):
                        values.add(tuple(given[key] for key in keys))
        return found

    def _kept(self, relation: Relation, polygons: Mapping[tuple[str, ...], set[tuple[KeyValue, ...]]]) -> Relation:
        """Return the rows whose values overlap by all of the polygons that they have."""
        rows = relation.rows
        for keys, allowed in polygons.items():
            if not set(keys) <= set(relation.keys):
                continue
            at = [relation.keys.index(key) for key in keys]
            outside = {tuple(row[i] for i in at) for row in rows} - allowed
            refused = {values for values in outside if self._has_polygon(dict(zip(keys, values, strict=True)))}
            rows = {row for row in rows if tuple(row[i] for i in at) not in refused}
        return Relation(relation.keys, rows)

    def _has_polygon(self, values: Mapping[str, KeyValue]) -> bool:
        return any(repository.registry.region_of(values) is not None for repository in self._repositories)

    # What there is

    def _those(self, partial: Iterable[Mapping[str, KeyValue]]) -> Relation:
        """Return the data IDs that agree with one of some partial ones."""
        wanted = list(partial)
        if self._among is not None or len(wanted) > _FEW:
            relation = self._among
            if relation is None:
                relation = self._context.finder.relation(self._name, self._standard).where(self._standard)
            by_keys: dict[tuple[str, ...], set[tuple[KeyValue, ...]]] = {}
            for data_id in wanted:
                keys = tuple(data_id)
                by_keys.setdefault(keys, set()).add(tuple(data_id[key] for key in keys))
            rows = set()
            for keys, values in by_keys.items():
                at = [relation.keys.index(key) for key in keys]
                rows |= {row for row in relation.rows if tuple(row[i] for i in at) in values}
            return Relation(relation.keys, rows)
        found: Relation | None = None
        for data_id in wanted:
            asked = {**self._standard, **data_id}
            one = self._context.finder.relation(self._name, asked).where(asked)
            found = one if found is None else Relation(found.keys, found.rows | one.project(found.keys).rows)
        return found if found is not None else Relation(self._context.planner.keys(self._name), set())


def _sources(
    context: Context, name: DatasetName, steps: tuple[Mapping[str, object], ...], seen: set[tuple[str, str]]
) -> Iterator[_Source]:
    """Walk over the types whose footprints count for a name, those that come first first."""
    definition, rest = context.definitions.resolve(name)
    if isinstance(definition, PartOfType):
        yield from _sources(context, extended(definition.target, rest), (definition.data_id, *steps), seen)
        return
    mark = definition.name, repr(steps)
    if mark in seen:
        return
    seen.add(mark)
    yield _Source(definition.name, steps)
    if isinstance(definition, StoredType):
        return
    components = context.planner.components(definition.name)
    first = [found for word in ("wcs", "image") if (found := match_component(word, components)) is not None]
    for component in dict.fromkeys([*first, *components]):
        wanted = components[component]
        if wanted.data_ids is None:
            target = DatasetName.parse(wanted.dataset_type)
            yield from _sources(context, target, (wanted.data_id, *steps), seen)


def new_regions(
    context: Context, keys: Sequence[str], table: Any, corners: Sequence[tuple[str, str]] | None, replace: bool
) -> NewRegions:
    """Read the polygons of values of keys from a table; see `Butler.add_regions`."""
    from .sky import region_rows

    rows = [
        (standard_data_id(context.definitions, values), outline)
        for values, outline in region_rows(keys, table, corners)
    ]
    return NewRegions(tuple(keys), rows, replace)
