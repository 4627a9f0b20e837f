"""Small gets: a JSON file, one component of a composite of files, all of it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import Row, row
from measure import clocked, often
from walk import walk
from worlds import small_peer, small_world

VISIT, CCD = 7, 3


def bare_select(root: str | Path, type_: str, data_id: Mapping[str, Any]) -> Callable[[], Any]:
    """Return the floor of a lookup: one SELECT by a compiled statement; it gives path and size."""
    db = sqlite3.connect(f"{root}/registry.sqlite", isolation_level=None)
    (number,) = db.execute("SELECT id FROM dataset_type WHERE name = ?", (type_,)).fetchone()
    given = "".join(f"d.k_{key} = ? AND " for key in data_id)
    statement = (
        f"SELECT f.path, f.size, f.checksum, d.uuid FROM d{number} d LEFT JOIN file f ON f.id = d.file "
        f"WHERE {given}d.part = 0 AND d.live = 1"
    )
    values = tuple(data_id.values())
    return lambda: db.execute(statement, values).fetchone()


def bare(root: Path, type_: str) -> Callable[[], Any]:
    """Return the floor of a get: one SELECT, one read, and the parsing."""
    select = bare_select(root, type_, {"visit": VISIT, "ccd": CCD})
    prefix = f"{root}/"

    def work() -> Any:
        path, size, *_ = select()
        descriptor = os.open(prefix + path, os.O_RDONLY)
        try:
            return json.loads(os.read(descriptor, size))
        finally:
            os.close(descriptor)

    return work


def by_hand(root: Path, path: str) -> Callable[[], Any]:
    """Return what one writes by hand who knows where the files are."""

    def work() -> Any:
        with open(f"{root}/{path.format(visit=VISIT, ccd=CCD)}") as file:
            return json.load(file)

    return work


def compared(row: Row, name: str, type_: str, path: str, peers: str) -> None:
    """Measure a get of a small JSON file."""
    world = row.run.world(small_world)
    peer = row.run.guest("peer") if row.run.world(small_peer) else None

    def ours() -> Any:
        return world.butler.get(name, visit=VISIT, ccd=CCD)

    assert ours() == bare(world.root, type_)() == by_hand(world.root, path)()
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "peer": peer and peer.timer(peers),
            "json": clocked(often(by_hand(world.root, path))),
            "floor": clocked(often(bare(world.root, type_))),
        }
    )
    row.walk = walk(ours)
    row.sizes = f"{len(world.ids)} datasets and {len(world.ids) // 2} composites; 500 bytes each"


@row("get-json", "warm get, small JSON, by name and data ID")
def get_json(row: Row) -> None:
    compared(row, "summary", "summary", "summary/{visit}/summary-{visit}-{ccd}.json", "get summary")
    row.at_most("CPU", row.chosen("bunter"), 120e-6)
    row.over_peer(50)
    row.at_most("functions of ours on the path", row.walk["functions"], 40, "")


@row("get-component", "warm get of one component of a composite of files, by name")
def get_component(row: Row) -> None:
    compared(row, "triple.two", "two", "triple/{visit}/two-{visit}-{ccd}.json", "get triple.two")
    row.at_most("CPU", row.chosen("bunter"), 150e-6)


@row("get-composite", "warm get of a composite of three files, whole")
def get_composite(row: Row) -> None:
    world = row.run.world(small_world)
    peer = row.run.guest("peer") if row.run.world(small_peer) else None

    def ours() -> Any:
        return world.butler.get("triple", visit=VISIT, ccd=CCD)

    bares = [bare(world.root, part) for part in ("one", "two", "three")]
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "peer": peer and peer.timer("get triple"),
            "floor": clocked(often(lambda: [work() for work in bares])),
        }
    )
    row.walk = walk(ours)
    row.notes.append("without a target: it shows what the component above saves")


@row("get-ref", "warm get, small JSON, by a reference that is there already")
def get_ref(row: Row) -> None:
    world = row.run.world(small_world)
    peer = row.run.guest("peer") if row.run.world(small_peer) else None
    ref = world.butler.query("summary", visit=VISIT, ccd=CCD).first()
    row.ours = ref.get
    row.compare({"bunter": clocked(often(ref.get)), "peer": peer and peer.timer("get by reference")})
    row.walk = walk(ref.get)
    row.notes.append("without a target; the peer's reference holds its file record, ours its name")
