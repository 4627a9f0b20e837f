"""Which data IDs a list component has when some source names them (``dataIds`` in a policy)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from .components import match_component
from .dataid import DataId, KeyValue, check_value
from .definitions import Definitions
from .definitions.model import CompositeType
from .errors import DataIdError
from .locate import Found, Located, LocatedBranch, LocatedNode, lacking
from .plan import Gather, Node, Planner, source_component
from .registry.interface import Precursor
from .templates import Template
from .words import listing

Read = Callable[[LocatedBranch], Any]


def listed_data_ids(
    planner: Planner,
    read: Read,
    gather: Gather,
    node: Node,
    branches: Mapping[str, LocatedBranch],
    put: Found | None,
) -> list[DataId]:
    """Return the data IDs that the source of a list names, sorted by key, without duplicates.

    Parameters
    ----------
    read : callable
        Reads a located component of the composite.
    branches : mapping
        The composite's components that are located already, the source among them.
    put : Found or None
        The composite as it was put, whose precursors the registry knows.

    Raises
    ------
    DataIdError
        If the source lacks a key, or holds a value that cannot be one.
    """
    source = gather.source
    named = source_component(source)
    located: LocatedBranch | None = None
    if named is not None:
        known = match_component(named, branches)
        located = branches[known] if known is not None else None
        if located is None or any(True for _ in lacking(located)):
            # What is missing is reported for the source itself.
            return []
    rows: Iterable[Mapping[str, Any]]
    if source == "precursors" or (isinstance(source, Mapping) and "precursorsOf" in source):
        made = put if located is None else _record_of(located)
        rows = _from_precursors(planner.definitions, gather, made)
    else:
        assert located is not None
        rows = _from_value(planner, gather, read(located), f"{node.composite.name}.{named}")
    return _standard(planner, gather, rows)


def _record_of(located: LocatedBranch) -> Found | None:
    while isinstance(located, LocatedNode) and located.node.take:
        located = located.branches[located.node.take]
    if isinstance(located, LocatedNode):
        return located.put
    return located.found if isinstance(located, Located) else None


def _from_precursors(definitions: Definitions, gather: Gather, made: Found | None) -> Iterator[Mapping[str, Any]]:
    if made is None:
        return
    precursors = made.repository.registry.precursors(made.record.type, made.record.uuid)
    yield from _that_match(definitions, gather, precursors)


def data_ids_of(planner: Planner, gather: Gather, precursors: Iterable[Precursor]) -> list[DataId]:
    """Return the data IDs that precursors give a list, sorted by key, without duplicates."""
    return _standard(planner, gather, _that_match(planner.definitions, gather, precursors))


def data_ids_in(planner: Planner, gather: Gather, value: Any, name: str) -> list[DataId]:
    """Return the data IDs that a table or a header gives a list, sorted by key, without duplicates."""
    return _standard(planner, gather, _from_value(planner, gather, value, name))


def _from_value(planner: Planner, gather: Gather, value: Any, name: str) -> Iterator[Mapping[str, Any]]:
    source = gather.source
    if isinstance(source, Mapping):
        return _from_cards(value, str(source["cards"]), str(source["match"]), planner.definitions)
    return _from_table(value, planner.all_keys(gather.name), gather.renamed, name)


def _that_match(
    definitions: Definitions, gather: Gather, precursors: Iterable[Precursor]
) -> Iterator[Mapping[str, Any]]:
    wanted = definitions.find(gather.name.with_component(())).name
    for precursor in precursors:
        if _is_based_on(definitions, precursor.type, wanted):
            yield precursor.data_id


def _is_based_on(definitions: Definitions, name: str, wanted: str) -> bool:
    """Tell whether a precursor's type is the one that the component is of, or a composite based on it."""
    while name != wanted:
        definition = definitions.types.get(name)
        if not isinstance(definition, CompositeType) or definition.base is None:
            return False
        name = definition.base
    return True


def _from_cards(header: Any, pattern: str, match: str, definitions: Definitions) -> Iterator[Mapping[str, Any]]:
    template = Template(match)
    for card, value in header.items():
        if not fnmatchcase(str(card).upper(), pattern.upper()):
            continue
        read = template.match(str(value).strip(), definitions.key_types)
        if read is None:
            raise DataIdError(f"the header card {card} = {value!r} does not match {match!r}")
        yield read


def _from_table(table: Any, keys: Iterable[str], renamed: Mapping[str, str], name: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(table, list):
        for row in table:
            yield {key: row[renamed.get(key, key)] for key in keys if renamed.get(key, key) in row}
        return
    from .formats.convert import to_table

    rows = table if hasattr(table, "colnames") else to_table(table, name)
    columns = {key: renamed.get(key, key) for key in keys if renamed.get(key, key) in rows.colnames}
    values = {key: rows[column].tolist() for key, column in columns.items()}
    for at in range(len(rows)):
        yield {key: column[at] for key, column in values.items()}


def _standard(planner: Planner, gather: Gather, rows: Iterable[Mapping[str, Any]]) -> list[DataId]:
    kinds = planner.definitions.key_types
    keys = planner.keys(gather.name)
    found: dict[DataId, None] = {}
    for row in rows:
        standard: dict[str, KeyValue] = dict(gather.constraints)
        for key, value in row.items():
            if key in kinds:
                plain = value.decode() if isinstance(value, bytes) else value
                standard[key] = check_value(key, plain.strip() if isinstance(plain, str) else plain, kinds[key])
        standard |= gather.fixed
        missing = [key for key in keys if key not in standard]
        if missing:
            raise DataIdError(
                f"{gather.name} needs {listing(keys)}; the source of its data IDs ({gather.source!r}) does not give "
                f"{listing(missing)}"
            )
        found[DataId({key: standard[key] for key in keys})] = None
    return sorted(found, key=lambda data_id: tuple(data_id.values()))
