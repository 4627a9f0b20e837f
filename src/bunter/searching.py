"""Queries: which data IDs of a name agree with what a user asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .context import Context
from .dataid import DataId, KeyValue
from .definitions.model import CompositeType
from .errors import DataIdError, ParameterError
from .names import DatasetName
from .querying import Relation, sorted_data_ids
from .where import parse as parse_where
from .words import did_you_mean, listing


def search(
    context: Context,
    name: DatasetName,
    standard: Mapping[str, KeyValue],
    where: str | None,
    order_by: str | Sequence[str] | None,
    limit: int | None,
) -> list[DataId]:
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
    if relation is None:
        relation = context.finder.relation(name, standard)
    implied = {
        key: given for key, given in context.definitions.implied.items() if set(given) <= set(relation.keys)
    }
    relation = relation.where(standard)
    facts = _facts(context, implied, where, standard)
    rows = _filtered(relation, standard, where, facts, implied)
    data_ids = sorted_data_ids(Relation(relation.keys, rows), _orders(order_by, relation.keys))
    if limit is not None:
        data_ids = data_ids[:limit]
    return data_ids


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
    context: Context, implied: Mapping[str, tuple[str, ...]], where: str | None, standard: Mapping[str, KeyValue]
) -> dict[str, dict[tuple[KeyValue, ...], KeyValue]]:
    wanted = set(standard) & set(implied)
    if where is not None:
        wanted |= set(parse_where(where).names) & set(implied)
    facts: dict[str, dict[tuple[KeyValue, ...], KeyValue]] = {}
    for key in wanted:
        facts[key] = {}
        for repository in reversed(context.chain.order):
            facts[key] |= repository.registry.implied_values(key)
    return facts


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
    where: str | None,
    facts: Mapping[str, Mapping[tuple[KeyValue, ...], KeyValue]],
    implied: Mapping[str, tuple[str, ...]],
) -> set[tuple[KeyValue, ...]]:
    expression = None if where is None else parse_where(where)
    if expression is not None:
        known = [*relation.keys, *implied]
        for name in expression.names:
            if name not in known:
                raise ParameterError(
                    f"where={where!r}: no such key {name!r}{did_you_mean(name, known)}; there are: {listing(known)}"
                )
    asked = {key: value for key, value in standard.items() if key in facts}
    if expression is None and not asked:
        return relation.rows
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
    return kept
