"""What is recorded together is what is recorded one after the other."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from bunter.committing import _joined
from bunter.errors import DataIdError
from bunter.registry.interface import Changes, NewDataset
from bunter.registry.sqlite import SqliteRegistry
from bunter.testing.registry_examples import composite, dataset, one, pin_of, stored_file
from bunter.values import replace


def put(number: int, **changes: Any) -> Changes:
    new = dataset(one(number), file=stored_file(f"{number}-{changes.get('written_at', 0)}.json"), **changes)
    return Changes([new], repins=[(new.type, new.data_id, new.uuid)])


def recorded(folder: Path, all_changes: list[Changes]) -> Any:
    registry = SqliteRegistry(str(folder / "registry.sqlite"), create=True, durable=False)
    registry.apply(all_changes)
    everything = sorted(registry.everything(), key=lambda record: (record.type, record.uuid))
    found = (
        [replace(record, trashed_at=None) for record in everything],
        [[(pin.component, pin.uuid) for pin in registry.pins(record.type, record.uuid)] for record in everything],
        registry.implied_values("filter"),
    )
    registry.close()
    return found


def test_new_files_are_joined() -> None:
    changes = [put(number) for number in range(5)]
    (joined,) = _joined(changes)
    assert joined.datasets == [new for each in changes for new in each.datasets]
    assert joined.repins == [repin for each in changes for repin in each.repins]
    assert [len(each.datasets) for each in changes] == [1] * 5


def test_what_comes_in_an_order_is_not() -> None:
    old = put(1)
    pinned = composite(one(1), [pin_of("raw", old.datasets[0])])
    changes = [
        old,
        Changes([pinned]),
        put(2),
        Changes(trashed=[("raw", old.datasets[0].uuid)]),
        put(1, written_at=5),
        put(1, written_at=6, replaces=True),
        put(3),
        put(4),
    ]
    assert [len(each.datasets) for each in _joined(changes)] == [1, 1, 1, 0, 1, 1, 2]


def test_contradicting_facts_are_refused(tmp_path: Path) -> None:
    facts = [Changes(implied={("filter", (("visit", 1),)): value}) for value in "rg"]
    with pytest.raises(DataIdError, match="contradicts the registry"):
        recorded(tmp_path, _joined(facts))


@pytest.mark.parametrize("seed", range(10))
def test_the_same_is_recorded(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    live: dict[int, NewDataset] = {}
    changes: list[Changes] = []
    for step in range(80):
        number = chance.randrange(60)
        if number in live and chance.random() < 0.2:
            changes.append(Changes([composite(one(step), [pin_of("raw", live[number])])]))
            continue
        changes.append(put(number, written_at=step, replaces=number in live))
        if chance.random() < 0.3:
            changes[-1].implied[("filter", (("visit", number),))] = "r"
        live[number] = changes[-1].datasets[0]
    for name in "ab":
        (tmp_path / name).mkdir()
    assert len(_joined(changes)) < len(changes)
    assert recorded(tmp_path / "a", changes) == recorded(tmp_path / "b", _joined(changes))
