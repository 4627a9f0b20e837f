"""Queries by region: which datasets overlap a place on the sky, by their footprints or by their tracts and patches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .context import Context
from .dataid import DataId, KeyValue
from .definitions.model import StoredType
from .names import DatasetName
from .plan import standard_data_id
from .querying import Relation
from .repository import Repository


def overlapping(
    context: Context, name: DatasetName, stored: Iterable[StoredType], relation: Relation, region: Any
) -> Relation:
    """Return the data IDs that overlap a region.

    What a put composite or, without one, the first of its stored types has as its footprint decides. Datasets without
    a footprint (catalogs of a patch) overlap where the polygons of their keys do.

    Parameters
    ----------
    stored : iterable of StoredType
        What the name is made of.
    region : Region, or what one is made of
        Where.

    Raises
    ------
    ParameterError
        If `region` is none.
    """
    from .sky import region as as_region

    sought = as_region(region)
    keys_of: dict[str, tuple[str, ...]] = {}
    for type_ in (context.definitions.resolve(name)[0].name, *(type_.name for type_ in stored)):
        keys = _recorded_keys(context, type_)
        if keys is not None and set(keys) <= set(relation.keys):
            keys_of[type_] = keys
    near = {type_: _near(context, type_, sought) for type_ in keys_of}
    polygons = _Polygons(context, relation.keys, sought)
    kept = set()
    for row in relation.rows:
        data_id = DataId(zip(relation.keys, row, strict=True))
        own = {type_: DataId({key: data_id[key] for key in keys}) for type_, keys in keys_of.items()}
        within = polygons.hold(data_id)
        if not within and not any(own[type_] in near[type_] for type_ in keys_of):
            continue
        # Something near: now the first footprint that there is decides, which may be another one.
        outlines = (_outline(context, type_, own[type_]) for type_ in keys_of)
        outline = next((found for found in outlines if found is not None), None)
        if within if outline is None else sought.overlaps([outline]):
            kept.add(row)
    return Relation(relation.keys, kept)


def _recorded_keys(context: Context, type_: str) -> tuple[str, ...] | None:
    """Return the keys under which datasets of a type are recorded, None if there are none."""
    for repository in context.chain.order:
        keys = repository.registry.keys_of(type_)
        if keys is not None:
            return keys
    return None


def _near(context: Context, type_: str, sought: Any) -> set[DataId]:
    """Return the data IDs of a type that have a footprint in the region, in any repository."""
    return {data_id for repository in context.chain.order for data_id in repository.registry.overlapping(type_, sought)}


def _outline(context: Context, type_: str, data_id: DataId) -> bytes | None:
    """Return the footprint of a dataset in the nearest repository that has one."""
    for repository in context.chain.order:
        outline = repository.registry.outline(type_, data_id)
        if outline is not None:
            return outline
    return None


class _Polygons:
    """The polygons of tracts and patches that overlap a region."""

    def __init__(self, context: Context, keys: Sequence[str], sought: Any) -> None:
        self._context = context
        self._sets: dict[tuple[str, ...], set[DataId]] = {}
        for repository in context.chain.order:
            for known in repository.registry.region_keys():
                if set(known) <= set(keys):
                    found = repository.registry.regions_overlapping(known, sought)
                    self._sets.setdefault(known, set()).update(DataId(values) for values in found)

    def hold(self, data_id: DataId) -> bool:
        """Tell whether the polygon of the most keys that has one overlaps."""
        for keys in sorted(self._sets, key=len, reverse=True):
            return DataId({key: data_id[key] for key in keys}) in self._sets[keys]
        return False


def record_regions(
    context: Context,
    output: Repository,
    keys: Sequence[str],
    table: Any,
    corners: Sequence[tuple[str, str]] | None,
    replace: bool,
) -> int:
    """Record polygons of values of keys in the output; see `Butler.add_regions`."""
    from .sky import region_rows

    rows: list[tuple[dict[str, KeyValue], bytes]] = [
        (standard_data_id(context.definitions, values), outline)
        for values, outline in region_rows(keys, table, corners)
    ]
    return output.registry.add_regions(keys, rows, replace=replace)
