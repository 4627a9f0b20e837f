"""Queries: which data IDs of a name agree with what a user asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .context import Context
from .dataid import KeyValue
from .definitions.derive import extended
from .definitions.model import CompositeType, PartOfType, StoredType
from .errors import DataIdError, ParameterError
from .names import DatasetName
from .querying import Relation, Rows, ordered
from .words import did_you_mean, listing

if TYPE_CHECKING:
    from .where import Expression


def search(
    context: Context,
    name: DatasetName,
    standard: Mapping[str, KeyValue],
    where: str | None,
    order_by: str | Sequence[str] | None,
    limit: int | None,
    region: Any = None,
) -> Rows:
    """Return the data IDs that a query finds, in order; see `Butler.query`."""
    allowed = {*context.planner.all_keys(name), *context.definitions.implied}
    for key in standard:
        if key not in allowed:
            raise DataIdError(
                f"{str(name)!r} has no key {key!r}{did_you_mean(key, allowed)}; "
                f"its keys are: {listing(context.planner.all_keys(name))}"
            )
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ParameterError(f"limit={limit!r}: a number of datasets, zero or more")
    relation = _pure_aggregate(context, name, standard)
    if region is not None:
        from .overlapping import overlapping
        from .sky import region as as_region

        relation = overlapping(context, name, as_region(region), standard, relation)
    elif relation is None:
        relation = context.finder.relation(name, standard)
    implied = {key: given for key, given in context.definitions.implied.items() if set(given) <= set(relation.keys)}
    relation = relation.where(standard)
    expression = None if where is None else _parsed(where)
    facts = _facts(context, implied, expression, standard)
    if expression is not None:
        stored = list(_stored_types(context, name, set()))
        cards = [word for type_ in stored for word in (*type_.metadata, *type_.path_fields)]
        known = list(dict.fromkeys([*relation.keys, *implied, *cards]))
        for word in expression.names:
            if word not in known:
                raise ParameterError(
                    f"where={where!r}: no such key {word!r}{did_you_mean(word, known)}; there are: {listing(known)}"
                )
        recorded = _recorded(context, stored, set(expression.names) - {*relation.keys, *implied}, standard)
        for word, (keys, values) in recorded.items():
            implied[word], facts[word] = keys, values
    found = ordered(_filtered(relation, standard, expression, facts, implied), _orders(order_by, relation.keys))
    if limit is not None:
        del found.rows[limit:]
    return found


def _parsed(where: str) -> Expression:
    # Most queries have no expression, and need nothing of what reads one.
    from .where import parse

    return parse(where)


def _pure_aggregate(context: Context, name: DatasetName, standard: Mapping[str, KeyValue]) -> Relation | None:
    """Return the one data ID that was asked for, for an aggregate that has no keys of its own."""
    definition = context.definitions.find(name)
    if not isinstance(definition, CompositeType) or context.planner.keys(name) or name.component:
        return None
    components = context.planner.components(definition.name).values()
    if not any(component.subset for component in components):
        return None
    given = {k: v for k, v in standard.items() if k in context.planner.all_keys(name)}
    whole = context.is_whole(name, given)
    return Relation(tuple(given), {tuple(given.values())} if whole else set())


def _facts(
    context: Context,
    implied: Mapping[str, tuple[str, ...]],
    expression: Expression | None,
    standard: Mapping[str, KeyValue],
) -> dict[str, dict[tuple[KeyValue, ...], KeyValue]]:
    wanted = set(standard) & set(implied)
    if expression is not None:
        wanted |= set(expression.names) & set(implied)
    facts: dict[str, dict[tuple[KeyValue, ...], KeyValue]] = {}
    for key in wanted:
        facts[key] = {}
        for repository in reversed(context.chain.order):
            facts[key] |= repository.registry.implied_values(key)
    return facts


def _recorded(
    context: Context, types: Iterable[StoredType], words: set[str], standard: Mapping[str, KeyValue]
) -> dict[str, tuple[tuple[str, ...], dict[tuple[KeyValue, ...], Any]]]:
    """Return the header cards and path fields that a query names: by the keys of the type that has them."""
    found: dict[str, tuple[tuple[str, ...], dict[tuple[KeyValue, ...], Any]]] = {}
    for stored in types:
        mine = words & {*stored.metadata, *stored.path_fields} - set(found)
        if not mine:
            continue
        keys = tuple(sorted(stored.keys))
        values: dict[str, dict[tuple[KeyValue, ...], Any]] = {word: {} for word in mine}
        for repository in reversed(context.chain.order):
            for data_id, metadata in repository.registry.metadata(stored.name, standard):
                for word in mine:
                    # The nearest repository comes last: its dataset is the one that counts, card or no card.
                    values[word][tuple(data_id[key] for key in keys)] = metadata.get(word)
        found |= {word: (keys, values[word]) for word in mine}
    return found


def _stored_types(context: Context, name: DatasetName, seen: set[str]) -> Iterator[StoredType]:
    """Walk over the stored types that a name is made of, components whose keys are other than its own left out."""
    definition, rest = context.definitions.resolve(name)
    if isinstance(definition, StoredType):
        if definition.name not in seen:
            seen.add(definition.name)
            yield definition
    elif isinstance(definition, PartOfType):
        yield from _stored_types(context, extended(definition.target, rest), seen)
    else:
        components = context.planner.components(definition.name)
        for component in components.values():
            if not component.data_id and not component.subset and component.data_ids is None:
                yield from _stored_types(context, DatasetName.parse(component.dataset_type), seen)


def _orders(order_by: str | Sequence[str] | None, keys: Sequence[str]) -> list[tuple[str, bool]]:
    if order_by is None:
        return []
    orders = []
    for word in [order_by] if isinstance(order_by, str) else order_by:
        key = word.lstrip("-+")
        if key not in keys:
            raise ParameterError(f"order_by={word!r}: no such key{did_you_mean(key, keys)}; there are: {listing(keys)}")
        orders.append((key, word.startswith("-")))
    return orders


def _filtered(
    relation: Relation,
    standard: Mapping[str, KeyValue],
    expression: Expression | None,
    facts: Mapping[str, Mapping[tuple[KeyValue, ...], KeyValue]],
    implied: Mapping[str, tuple[str, ...]],
) -> Relation:
    asked = {key: value for key, value in standard.items() if key in facts}
    if expression is None and not asked:
        return relation
    kept = set()
    for row in relation.rows:
        values: dict[str, KeyValue | None] = dict(zip(relation.keys, row, strict=True))
        for key, known_facts in facts.items():
            # Facts are kept by their keys in alphabetical order.
            values[key] = known_facts.get(tuple(values[other] for other in sorted(implied[key])))  # type: ignore[misc]
        if any(values[key] != value for key, value in asked.items()):
            continue
        if expression is None or expression.evaluate(values):
            kept.add(row)
    return Relation(relation.keys, kept)
