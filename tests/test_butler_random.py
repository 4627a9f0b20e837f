"""Random walks through puts, replacements, deletions and transactions in a diamond, and what must always hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bunter import (
    AmbiguousDatasetError,
    AssemblyError,
    Butler,
    DatasetExistsError,
    DatasetNotFoundError,
    DatasetRef,
    InUseError,
)
from tests.core_support import World, making_world

POLICY = """
datasets:
  w: {python: dict, storage: Json, template: "w/{visit:d}-{ccd:d}.json"}
  c: {python: dict, storage: Json, template: "c/{visit:d}.json"}
  o: {python: dict, storage: Json, template: "o/{visit:d}-{ccd:d}.json"}
  x: {python: dict, storage: Json, template: "x/{visit:d}-{ccd:d}.json"}
  pair: {composite: {w: w, c: c, o: {datasetType: o, optional: true}}}
  outer: {composite: {p: pair, extra: {datasetType: w, inputOnly: true}}}
  ro:
    composite:
      p: {datasetType: pair, inputOnly: true}
      all: {datasetType: w, subset: true, inputOnly: true}
      x: x
"""
NAMES = ("w", "c", "o", "pair", "outer", "ro")
DATA_IDS = [{"visit": visit, "ccd": ccd} for visit, ccd in product((1, 2), (1, 2))]
REFUSALS = (AmbiguousDatasetError, AssemblyError, DatasetExistsError, DatasetNotFoundError, InUseError)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def view(butler: Butler) -> dict[Any, Any]:
    """Return all that a Butler can see; check on the way that its calls agree."""
    seen: dict[Any, Any] = {}
    for name in NAMES:
        there = set()
        for data_id in DATA_IDS:
            own = {key: data_id[key] for key in butler.keys(name)}
            for resolve in ("pinned", "nearest", "exact"):
                try:
                    seen[name, *data_id.values(), resolve] = butler.get(name, data_id, resolve=resolve)  # type: ignore[arg-type]
                except (DatasetNotFoundError, AmbiguousDatasetError) as error:
                    seen[name, *data_id.values(), resolve] = type(error).__name__
            found = not isinstance(seen[name, *data_id.values(), "pinned"], str)
            assert butler.exists(name, data_id) == found
            assert butler.plan(name, data_id).complete == found
            if found:
                there.add(tuple(own.items()))
        queried = {tuple(data_id.items()) for data_id in butler.query(name).data_ids}
        if not any(value == "AmbiguousDatasetError" for value in seen.values()):
            assert queried == there
    return seen


def step(choose: random.Random, butler: Butler) -> tuple[DatasetRef, Any] | None:
    """Do something at random; return what was put, if anything was."""
    data_id, n, replace = choose.choice(DATA_IDS), choose.choice((1, 1, 2, 3)), choose.random() < 0.6
    options: dict[str, Any] = {"replace": replace, "self_contained": choose.random() < 0.2}
    kind = choose.choice(["w", "w", "c", "o", "pair", "pair", "outer", "ro", "delete", "delete composite", "back"])
    pair = {"w": {"n": n}, "c": {"n": 1}, "o": choose.choice([None, {"n": n}])}
    try:
        if kind == "delete":
            butler.delete(choose.choice("wo"), data_id, force=replace)
            return None
        if kind == "delete composite":
            butler.delete(choose.choice(("pair", "outer", "ro")), data_id, force=replace)
            return None
        name, value = kind, {"n": n} if kind in "wco" else pair
        if kind == "outer":
            value = {"p": pair, "extra": None}
        elif kind == "ro":
            value = {"p": None, "all": None, "x": {"n": n}}
        elif kind == "back":
            name = choose.choice(("pair", "outer", "ro"))
            value = butler.get(name, data_id)
        own = {"visit": data_id["visit"]} if name == "c" else data_id
        return butler.put(value, name, own, **options), value
    except REFUSALS:
        return None


@pytest.mark.parametrize("seed", range(6))
def test_what_must_always_hold(world: World, seed: int) -> None:
    choose = random.Random(seed)
    butlers = [world.butler("top", POLICY), *(world.butler(name, inputs="top") for name in ("left", "right"))]
    butlers.append(world.butler("bottom", inputs=["left", "right"]))
    kept: list[tuple[DatasetRef, Any]] = []
    for _ in range(12):
        butler = choose.choice(butlers)
        if choose.random() < 0.25:
            with butler.transaction():
                for _ in range(choose.randrange(1, 4)):
                    step(choose, butler)
                inside = view(butler)
            # A transaction shows inside what everybody will see after it.
            assert view(butler) == inside
        else:
            put = step(choose, butler)
            if put is not None:
                ref, value = put
                got = ref.get()
                if None not in value.values():
                    assert got == value
                assert butler.get(ref.name, ref.data_id) == got
                kept.append((ref, got))
        for ref, got in kept:
            assert ref.get() == got
    for name, butler in zip(("top", "left", "right", "bottom"), butlers, strict=True):
        assert view(butler) == view(world.reader(name))
