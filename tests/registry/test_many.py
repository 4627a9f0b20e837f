"""What is recorded by few statements is what is recorded one by one."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bunter.errors import DataIdError
from bunter.registry.interface import Changes, DatasetTaken, NewDataset, PathTaken, Writing
from bunter.registry.many import InTheWay, ManyWriter
from bunter.registry.sqlite import SqliteRegistry
from bunter.registry.writing import Writer
from bunter.testing.registry_examples import composite, dataset, one, pin_of, stored_file
from tests.sky.support import outline

COUNT = 300


def opened(path: Path) -> SqliteRegistry:
    return SqliteRegistry(str(path), create=True, durable=False)


def contents(path: Path) -> dict[str, list[Any]]:
    """Return all rows of all tables, without the times at which something went to the trash."""
    db = sqlite3.connect(path)
    db.row_factory = lambda cursor, row: {
        column[0]: value < 0 if column[0] == "live" else value
        for column, value in zip(cursor.description, row, strict=True)
    }
    names = [row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    try:
        return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    finally:
        db.close()


def numbered(number: int, **changes: Any) -> NewDataset:
    """Return a dataset that is the same whenever it is made."""
    uuid = UUID(int=number + (4 << 76))
    file = stored_file(f"/in/Raw-{number}.json", owned=False, modified=number, checksum=None)
    return dataset(one(number), uuid=uuid, **{"file": file, **changes})


def plain() -> list[NewDataset]:
    return [numbered(n) for n in range(COUNT)]


def mixed() -> list[NewDataset]:
    """Return datasets of every kind, in runs of every length."""
    chance = random.Random(3)
    made: list[NewDataset] = []
    while len(made) < 2 * COUNT:
        kind = chance.choice("pplmwtosxf")
        for _ in range(chance.choice((1, 3, 25, 60, 150))):
            n = len(made)
            file = stored_file(f"Dir/{n}.json", owned=bool(n % 2), modified=n)
            changes: dict[str, Any] = {
                "p": {},
                "l": {"file": replace(file, layout={"hdus": [[2880 + n, 320, "99" * 16, "image"]]})},
                "m": {"metadata": {"SEEING": n / 7, "NAME": "ü"} if n % 3 else {}},
                "w": {"writing": Writing("Npy", None, None, f"c{n % 2}"), "written_by": f"b{n % 5}", "written_at": n},
                "t": {"live": False},
                "f": {"footprint": outline(n % 360, n % 50, 0.2, 0.1, 0) if n % 3 else None},
                "o": {"part": "psf"},
                "s": {"file": stored_file("/in/shared.json", owned=False, modified=1)},
                "x": {"file": file},
            }[kind]
            made.append(numbered(n, **changes))
    return made


def other_type() -> list[NewDataset]:
    """Return datasets of files that are recorded already, beside new ones."""
    return [
        *(replace_id(numbered(n), "copy") for n in range(COUNT)),
        *(replace_id(numbered(n), "copy") for n in range(COUNT, 2 * COUNT)),
    ]


def replace_id(new: NewDataset, type_: str) -> NewDataset:
    made = dataset(new.data_id, type_, uuid=UUID(int=new.uuid.int + (1 << 100)))
    made.file = new.file
    return made


@pytest.mark.parametrize("make", [plain, mixed], ids=["plain", "mixed"])
def test_the_same_rows_as_one_by_one(tmp_path: Path, make: Callable[[], list[NewDataset]]) -> None:
    for name, kind in (("one", Writer), ("many", ManyWriter)):
        registry = opened(tmp_path / name)
        registry._apply(kind, [Changes(make())])
        registry._apply(kind, [Changes(other_type()), Changes([numbered(n) for n in range(5000, 5100)])])
        registry.close()
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_files_that_were_changed_in_place(tmp_path: Path) -> None:
    for name, kind in (("one", Writer), ("many", ManyWriter)):
        registry = opened(tmp_path / name)
        registry._apply(kind, [Changes(plain())])
        changed = other_type()
        for new in changed[::7]:
            assert new.file is not None
            new.file = replace(new.file, size=11)
        registry._apply(kind, [Changes(changed)])
        registry.close()
    one_by_one, many = contents(tmp_path / "one"), contents(tmp_path / "many")
    # Their numbers differ, which nothing depends on: who was changed comes first.
    assert len(one_by_one["file"]) == len(many["file"])
    registries = [opened(tmp_path / name) for name in ("one", "many")]
    found = [{r.uuid: r for r in registry.everything()} for registry in registries]
    assert found[0] == found[1]
    assert len(found[0]) == 3 * COUNT
    for registry in registries:
        registry.close()


def test_nothing_is_in_the_way_of_different_ones(tmp_path: Path) -> None:
    registry = opened(tmp_path / "r")
    registry._apply(ManyWriter, [Changes(plain())])
    registry._apply(ManyWriter, [Changes(other_type())])
    assert registry.counts() == {"raw": COUNT, "copy": 2 * COUNT}
    registry.close()


def other_uuid(new: NewDataset) -> NewDataset:
    return dataset(new.data_id, file=stored_file("/elsewhere.json", owned=False))


def same_uuid(new: NewDataset) -> NewDataset:
    return dataset(one(9999), uuid=new.uuid, file=stored_file("/elsewhere.json", owned=False))


def own_path(new: NewDataset) -> NewDataset:
    assert new.file is not None
    return dataset(one(9999), file=replace(new.file, owned=True))


def own_path_in_lower_case(new: NewDataset) -> NewDataset:
    assert new.file is not None
    return dataset(one(9999), file=replace(new.file, owned=True, path=new.file.path.lower()))


def far(new: NewDataset) -> NewDataset:
    return dataset(one(2**63), uuid=new.uuid, file=new.file)


@pytest.mark.parametrize("before", [True, False], ids=["recorded", "together"])
@pytest.mark.parametrize("at", [0, 1, 130, COUNT - 1])
@pytest.mark.parametrize(
    ("make", "error"),
    [
        (other_uuid, DatasetTaken),
        (same_uuid, DatasetTaken),
        (own_path, PathTaken),
        (own_path_in_lower_case, None),
        (far, DataIdError),
    ],
)
def test_what_is_in_the_way_is_told_as_one_by_one(
    tmp_path: Path, make: Callable[[NewDataset], NewDataset], error: type[Exception] | None, at: int, before: bool
) -> None:
    if make is own_path and not before:
        # What goes together may share its files.
        error = None
    told = []
    for name, kind in (("one", Writer), ("many", None)):
        registry = opened(tmp_path / name)
        new = [numbered(n) for n in range(COUNT)]
        if before:
            registry.apply([Changes([numbered(40)])])
            new = [numbered(n) for n in range(1000, 1000 + COUNT)]
        new.insert(at, make(numbered(40)))
        apply = registry.apply if kind is None else partial(registry._apply, kind)
        if error is None:
            apply([Changes(new)])
            assert sum(registry.counts().values()) == COUNT + 1 + before
        else:
            with pytest.raises(error) as caught:
                apply([Changes(new)])
            told.append(str(caught.value))
            assert sum(registry.counts().values()) == before
        registry.close()
    assert told[1:] == told[:-1]


@pytest.mark.parametrize("at", [0, 1, 77, COUNT - 1])
def test_names_that_differ_in_case_only(tmp_path: Path, at: int) -> None:
    registry = opened(tmp_path / "r")
    new = [dataset(one(n), file=stored_file(f"Raw-{n}.json")) for n in range(COUNT)]
    new[at].file = stored_file("raw-5.json")
    with pytest.raises(PathTaken, match=r"[rR]aw-5\.json"):
        registry.apply([Changes(new)])
    new[at].file = stored_file("x.json")
    registry.apply([Changes(new)])
    more = [dataset(one(n), file=stored_file(f"x-{n}.json")) for n in range(COUNT, 2 * COUNT)]
    more[at].file = stored_file("raw-6.json")
    with pytest.raises(InTheWay):
        registry._apply(ManyWriter, [Changes([*more[-5:], *more[:-5]])])
    with pytest.raises(PathTaken, match=r"raw-6\.json"):
        registry.apply([Changes(more)])
    assert registry.counts() == {"raw": COUNT}
    registry.close()


def test_composites_follow_many_repins(tmp_path: Path) -> None:
    for name, kind in (("one", Writer), ("many", ManyWriter)):
        registry = opened(tmp_path / name)
        old = [numbered(n) for n in range(COUNT)]
        # Pinned before there is anything here, as those of a parent are.
        pins = [composite(one(n), [pin_of("x", old[n])], uuid=UUID(int=n + (9 << 76))) for n in (3, 200)]
        registry._apply(kind, [Changes(pins)])
        new = [numbered(n + 7000) for n in range(COUNT)]
        for each, before in zip(new, old, strict=True):
            each.data_id = before.data_id
        repins = [(each.type, each.data_id, each.uuid) for each in new]
        registry._apply(kind, [Changes(new, repins=repins)])
        assert [pin.uuid for n in (3, 200) for pin in registry.pins("calexp", UUID(int=n + (9 << 76)))] == [
            new[3].uuid,
            new[200].uuid,
        ]
        registry.close()
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
