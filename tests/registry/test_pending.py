"""What a transaction has put: with tables or without, the answers and the refusals are the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from bunter.dataid import DataId, KeyValue
from bunter.errors import DataIdError, RepositoryError
from bunter.registry.connections import MEMORY
from bunter.registry.interface import Changes, DatasetTaken, NewDataset, PathTaken, Pin, Record
from bunter.registry.pending import PendingRegistry
from bunter.registry.sqlite import SqliteRegistry
from bunter.testing.registry_examples import composite, dataset, one, pin_of, stored_file
from bunter.values import replace

Implied = dict[tuple[str, tuple[tuple[str, KeyValue], ...]], KeyValue]


def both() -> tuple[PendingRegistry, SqliteRegistry]:
    return PendingRegistry(), SqliteRegistry(MEMORY, create=True)


def outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (DatasetTaken, PathTaken, DataIdError) as error:
        return type(error), str(error)


def known(registry: SqliteRegistry) -> Any:
    """All that a registry can be asked."""
    everything = sorted(registry.everything(), key=lambda record: (record.type, record.uuid))
    return (
        # When it went to the trash is another moment in each.
        [replace(record, trashed_at=None) for record in everything],
        registry.types(),
        registry.counts(),
        [registry.pins(record.type, record.uuid) for record in everything],
        [registry.outline(record.type, record.data_id) for record in everything],
        registry.implied_values("filter"),
        registry.path_taken("a.json"),
    )


def test_it_writes_nothing_down_as_long_as_it_is_only_asked_what_is_where() -> None:
    registry, _ = both()
    new = [dataset(one(number)) for number in range(3)]
    for each in new:
        assert registry.find("raw", each.data_id) is None
        registry.apply([Changes([each], {("filter", (("visit", each.data_id["visit"]),)): "r"}, repins=[repin(each)])])
    found = registry.find("raw", new[1].data_id)
    assert found is not None
    assert (found.uuid, found.file, found.data_id) == (new[1].uuid, new[1].file, new[1].data_id)
    assert registry.find("other", new[1].data_id) is None
    assert registry.implied("filter", {"visit": 2}) == "r"
    assert registry.implied("filter", {"visit": 9}) is None
    assert not registry._written
    assert registry.by_uuid("raw", new[1].uuid) == found
    assert registry._written
    assert registry.find("raw", new[1].data_id) == found
    assert registry.implied("filter", {"visit": 2}) == "r"


@pytest.mark.parametrize("asked", [False, True])
def test_after_it_is_closed(asked: bool) -> None:
    for registry in both():
        registry.apply([Changes([dataset(one(1))])])
        if asked:
            assert registry.counts() == {"raw": 1}
        registry.close()
        registry.close()
        with pytest.raises(RepositoryError, match="after it was closed"):
            registry.find("raw", DataId(one(1)))
        with pytest.raises(RepositoryError, match="after it was closed"):
            registry.apply([Changes([dataset(one(2))])])
        with pytest.raises(AttributeError):
            getattr(registry, "other")  # noqa: B009


def repin(new: NewDataset) -> tuple[str, DataId, UUID]:
    return new.type, new.data_id, new.uuid


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda old: dataset(old.data_id, uuid=UUID(int=7)), DatasetTaken),
        (lambda old: dataset(one(8), uuid=old.uuid), DatasetTaken),
        (lambda _: dataset(one(8), file=stored_file("A.json")), PathTaken),
        (lambda _: dataset({"visit": 8}, kinds={"visit": "int"}), DataIdError),
        (lambda _: dataset({"Key": 1, "key": 1}, "odd", {"Key": "int", "key": "int"}), DataIdError),
    ],
    ids=["data ID", "UUID", "path", "keys", "keys that differ in case"],
)
def test_what_contradicts_is_refused(what: Callable[[NewDataset], NewDataset], expected: type[Exception]) -> None:
    old = dataset(one(1), file=stored_file("a.json"), uuid=UUID(int=1))
    new = what(old)
    seen = []
    for registry in both():
        registry.apply([Changes([old])])
        seen.append(outcome(partial(registry.apply, [Changes([new])])))
        record = registry.find("raw", old.data_id)
        assert record is not None
        assert record.uuid == old.uuid
    assert seen[0] == seen[1]
    assert seen[0][0] is expected


def test_contradicting_facts_are_refused() -> None:
    seen = []
    for registry in both():
        registry.apply([Changes(implied={("filter", (("visit", 1),)): "r"})])
        again = Changes(implied={("filter", (("visit", 1),)): "g"})
        seen.append(outcome(partial(registry.apply, [again])))
        assert registry.implied("filter", {"visit": 1}) == "r"
    assert seen[0] == seen[1]
    assert seen[0][0] is DataIdError


def test_a_data_id_of_other_keys_is_an_error() -> None:
    for registry in both():
        registry.apply([Changes([dataset(one(1))])])
        with pytest.raises(DataIdError, match="'ccd' was not given"):
            registry.find("raw", {"visit": 1})


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_in_whatever_order(seed: int) -> None:
    """Some is asked between, or nothing before the end."""
    registries = both()
    chance = random.Random(seed)
    uuids = iter(UUID(int=chance.getrandbits(128), version=4) for _ in range(1000))
    put: list[NewDataset] = []
    for _ in range(25):
        changes = _some(chance, uuids, put)
        results = [outcome(partial(registry.apply, [changes])) for registry in registries]
        assert results[0] == results[1]
        if results[0] is None:
            put += changes.datasets
        number = chance.randrange(8)
        found: list[Record | None] = [registry.find("raw", DataId(one(number))) for registry in registries]
        assert found[0] == found[1]
        if chance.random() < 0.05:
            assert known(registries[0]) == known(registries[1])
    assert known(registries[0]) == known(registries[1])


def _some(chance: random.Random, uuids: Any, put: list[NewDataset]) -> Changes:
    """What a put, or something else, changes."""
    number = chance.randrange(40 if chance.random() < 0.8 else 4)
    kind = chance.random()
    path = f"{chance.choice('aB')}{number}.json"
    if kind < 0.75:
        new = dataset(one(number), file=stored_file(path), uuid=next(uuids))
        implied: Implied = {("filter", (("visit", number),)): chance.choice("rrrg")} if chance.random() < 0.3 else {}
        return Changes([new], implied, repins=[repin(new)])
    if kind < 0.8:
        layout = {"parts": {"image": [0, 10]}}
        return Changes([dataset(one(number), file=stored_file(path, layout=layout), uuid=next(uuids))])
    if kind < 0.85 and put:
        old = chance.choice(put)
        new = dataset(old.data_id, old.type, old.kinds, file=stored_file(path), uuid=next(uuids), replaces=True)
        return Changes([new], repins=[repin(new)])
    if kind < 0.9 and put:
        pins: list[Pin] = [pin_of("raw", chance.choice(put))]
        return Changes([composite(one(number), pins, uuid=next(uuids))])
    if kind < 0.95 and put:
        return Changes(trashed=[(put[-1].type, put[-1].uuid)])
    return Changes([dataset({"visit": number}, "conf", {"visit": "int"}, uuid=next(uuids))])
