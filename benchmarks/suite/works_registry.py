"""The registry: ingest, queries, lookups, regions, and what a dataset costs in bytes."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from bench import Row, Run, row
from measure import Pace, Timer, Times, clocked, often
from walk import walk
from works_get import bare_select
from worlds import PARTS, RAW_POLICY, ROW_CCDS, Files, raw_files, registry_world

from bunter import Butler, Exposure, Mask, PhotoCalib, RepositoryArgs, VisitInfo
from bunter.sky import Circle
from sky import HEIGHT, WIDTH, places

VISIT = 7
BULK = Pace(rounds=3, span=0.0)


def ingested(run: Run) -> Butler:
    """Return a Butler on a repository into which all raw files were ingested."""
    butler = Butler(outputs=RepositoryArgs(run.place("ingested") / "repository", policy=RAW_POLICY), durability="fast")
    run.ending.callback(butler.close)
    butler.ingest("raw", run.world(raw_files).paths, scan="none")
    return butler


def ingested_by_peer(run: Run, visits: int) -> tuple[float, float] | None:
    """Let the peer ingest the same; return what it took, None without a peer."""
    guest = run.guest("peer")
    if guest is None:
        return None
    files: Files = run.world(raw_files)
    root = str(run.folder / f"peer-raw-{visits}")
    cpu, wall = guest.call("peer_raw", "make", root=root, folder=str(files.folder), visits=visits, ccds=ROW_CCDS)
    return cpu, wall


def all_visits(run: Run) -> int:
    """Return how many visits the raw files have."""
    return len(run.world(raw_files).ids) // ROW_CCDS


class Bare:
    """The floor of an ingest: a stat of each file and its rows in two tables with their unique keys."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE file (id INTEGER PRIMARY KEY, path TEXT NOT NULL, path_key INTEGER NOT NULL UNIQUE, "
            "size INTEGER)",
            "CREATE TABLE raw (id INTEGER PRIMARY KEY, k_visit INTEGER, k_ccd INTEGER, uuid BLOB NOT NULL UNIQUE, "
            "file INTEGER, UNIQUE (k_visit, k_ccd))",
        ):
            self.db.execute(statement)

    def ingest(self, files: Files) -> None:
        """Record files."""
        found = [(n, path, n, os.stat(path).st_size) for n, path in enumerate(files.paths)]
        rows = [(n, *data_id, uuid4().bytes, n) for n, data_id in enumerate(files.ids)]
        self.db.execute("BEGIN")
        self.db.executemany("INSERT INTO file VALUES (?, ?, ?, ?)", found)
        self.db.executemany("INSERT INTO raw VALUES (?, ?, ?, ?, ?)", rows)
        self.db.execute("COMMIT")


def bare(run: Run) -> Bare:
    """Return the floor's database, filled."""
    made = Bare(run.place("bare-raw") / "bare.sqlite")
    made.ingest(run.world(raw_files))
    return made


@row("ingest", "ingest in place, data IDs from paths, scan='none', a file")
def ingest(row: Row) -> None:
    files: Files = row.run.world(raw_files)
    count = len(files.paths)

    def into_new(make: Callable[[Path], Any], do: Callable[[Any], Any], close: Callable[[Any], Any]) -> Timer:
        def timer(_: int) -> tuple[float, float]:
            folder = row.run.place("ingest")
            target = make(folder)
            took = clocked(lambda _: do(target))(1)
            close(target)
            shutil.rmtree(folder)
            return took[0] / count, took[1] / count

        return timer

    def repository(folder: Path) -> Butler:
        return Butler(outputs=RepositoryArgs(folder / "repository", policy=RAW_POLICY))

    ours = into_new(repository, lambda butler: butler.ingest("raw", files.paths, scan="none"), lambda b: b.close())
    floor = into_new(lambda folder: Bare(folder / "bare.sqlite"), lambda db: db.ingest(files), lambda db: db.db.close())
    row.ours = lambda: ours(1)
    row.compare({"bunter": ours, "floor": floor}, BULK)
    theirs = row.run.world(ingested_by_peer, all_visits(row.run))
    if theirs is not None:
        cpu, wall = (each / count for each in theirs)
        row.times["peer"] = Times(cpu, wall, cpu, cpu, 1, count)
    row.sizes = f"{count:,} files"
    row.at_least("datasets a second (CPU)", 1 / row.chosen("bunter"), 30_000, "/s")
    row.notes.append("times are those of one file; floor: stat, and two rows with their unique keys")


@row("query-visit", "query of one visit, 100 rows, list of references")
def query_visit(row: Row) -> None:
    butler: Butler = row.run.world(ingested)
    db = row.run.world(bare).db
    folder = row.run.world(raw_files).folder
    statement = "SELECT r.k_visit, r.k_ccd, r.uuid, f.path FROM raw r JOIN file f ON f.id = r.file WHERE r.k_visit = ?"

    def ours() -> Any:
        return list(butler.query("raw", visit=VISIT))

    def by_hand() -> Any:
        names = (name.removesuffix(".json").split("-") for name in os.listdir(f"{folder}/raw/{VISIT}"))
        return sorted((int(visit), int(ccd)) for _, visit, ccd in names)

    assert len(ours()) == len(by_hand()) == ROW_CCDS
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "peer": peer(row, "query visit"),
            "listdir": clocked(often(by_hand)),
            "floor": clocked(often(lambda: db.execute(statement, (VISIT,)).fetchall())),
        }
    )
    row.walk, row.sizes = walk(ours), f"of {len(row.run.world(raw_files).ids):,}"
    row.at_most("CPU", row.chosen("bunter"), 1e-3)


@row("query-all", "query of all, as a table")
def query_all(row: Row) -> None:
    butler: Butler = row.run.world(ingested)
    db = row.run.world(bare).db
    count = len(row.run.world(raw_files).ids)

    def ours() -> Any:
        return butler.query("raw").to_table()

    def floor() -> Any:
        rows = db.execute("SELECT k_visit, k_ccd FROM raw ORDER BY k_visit, k_ccd").fetchall()
        return [np.array(column) for column in zip(*rows, strict=True)]

    assert len(ours()) == len(floor()[0]) == count
    row.ours = ours
    row.compare(
        {"bunter": clocked(often(ours)), "peer": peer(row, "query all"), "floor": clocked(often(floor))},
        Pace(rounds=row.run.pace.rounds // 2, span=0.1),
    )
    row.sizes = f"{count:,} datasets; the peer gives a list of references"
    row.at_most("CPU", row.chosen("bunter"), 200e-3 * count / 1e5)
    if count != 100_000:
        row.notes.append("the target is in proportion to the number of datasets")


def peer(row: Row, work: str) -> Timer | None:
    """Return a work of the peer's on all raw files."""
    guest = row.run.guest("peer")
    if guest is None:
        return None
    visits = all_visits(row.run)
    row.run.world(ingested_by_peer, visits)
    return guest.timer(f"{work} {visits}")


def looked_up(butler: Butler, count: int) -> Callable[[], Any]:
    """Return a lookup of one of some random data IDs, another each time."""
    chance = random.Random(1)
    ids = itertools.cycle([divmod(chance.randrange(count), ROW_CCDS) for _ in range(20_000)])

    def work() -> Any:
        visit, ccd = next(ids)
        return butler.uri("calexp", visit=visit, ccd=ccd)

    return work


@row("lookup", "point lookup (butler.uri), data IDs at random")
def lookup(row: Row) -> None:
    counts = {"quick": [10_000, 100_000], "usual": [10_000, 1_000_000]}.get(
        row.run.size, [10_000, 1_000_000, 10_000_000]
    )
    timers: dict[str, Timer | None] = {}
    for count in counts:
        started = time.perf_counter()
        root = row.run.world(registry_world, count, count == counts[1])
        row.notes.append(f"{count:,} datasets were made in {time.perf_counter() - started:.0f} s")
        butler = Butler(root)
        row.run.ending.callback(butler.close)
        name = "bunter" if count == counts[0] else f"bunter, {count:,}"
        timers[name] = clocked(often(looked_up(butler, count)))
    row.ours = looked_up(butler, counts[-1])
    files = all_visits(row.run) * ROW_CCDS
    for count in (files // 10, files):
        if row.run.world(ingested_by_peer, count // ROW_CCDS) is not None:
            guest = row.run.guest("peer")
            assert guest is not None
            name = "peer" if count == files // 10 else f"peer, {count:,}"
            timers[name] = guest.timer(f"lookup {count // ROW_CCDS}")
    root = row.run.world(registry_world, counts[0], False)
    timers["floor"] = clocked(often(bare_select(root, "calexp", {"visit": VISIT, "ccd": 3})))
    row.compare(timers)
    row.sizes = f"{counts[0]:,} datasets" + (f"; the peer {files // 10:,}" if "peer" in row.times else "")
    for count in counts[1:]:
        value = row.chosen(f"bunter, {count:,}") / row.chosen("bunter")
        row.at_most(f"at {count:,} / at {counts[0]:,}", value, 1.25, "x")


def rectangles(path: Path, count: int) -> sqlite3.Connection | None:
    """Return a database whose R*tree holds the boxes of the footprints, None if this SQLite has none."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("CREATE VIRTUAL TABLE box USING rtree (id, ra0, ra1, dec0, dec1)")
    except sqlite3.OperationalError:
        return None
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    rows = (
        (n, ra - WIDTH / 2, ra + WIDTH / 2, dec - HEIGHT / 2, dec + HEIGHT / 2)
        for n, (ra, dec) in enumerate(places(count))
    )
    db.executemany("INSERT INTO box VALUES (?, ?, ?, ?, ?)", rows)
    db.execute("COMMIT")
    return db


@row("region", "region query, circle of a CCD's size, list of references")
def region(row: Row) -> None:
    count = 100_000 if row.run.size == "quick" else 1_000_000
    butler = Butler(row.run.world(registry_world, count, True))
    row.run.ending.callback(butler.close)
    centres = list(places(20, seed=1))
    radii = {"bunter, a point": 0.0, "bunter": 0.17, "bunter, a focal plane (1.1 deg)": 1.1, "bunter, 5 deg": 5.0}

    def searching(radius: float) -> Callable[[], Any]:
        turn = itertools.cycle(centres)
        return lambda: list(butler.query("calexp", region=Circle(*next(turn), radius)))

    def boxes(db: sqlite3.Connection) -> Callable[[], Any]:
        turn = itertools.cycle(centres)
        statement = "SELECT id FROM box WHERE ra1 >= ? AND ra0 <= ? AND dec1 >= ? AND dec0 <= ?"

        def work() -> Any:
            ra, dec = next(turn)
            return db.execute(statement, (ra - 0.17, ra + 0.17, dec - 0.17, dec + 0.17)).fetchall()

        return work

    db = rectangles(row.run.place("boxes") / "boxes.sqlite", count)
    timers: dict[str, Timer | None] = {name: clocked(often(searching(radius))) for name, radius in radii.items()}
    timers["floor"] = clocked(often(boxes(db))) if db is not None else None
    row.ours = searching(0.17)
    row.compare(timers)
    found = sum(len(list(butler.query("calexp", region=Circle(*centre, 0.17)))) for centre in centres) / len(centres)
    row.sizes = f"{count:,} footprints over 5,000 square degrees; {found:.1f} found"
    row.at_most("CPU", row.chosen("bunter"), 2e-3)
    row.notes.append(
        "floor: SQLite's R*tree of their boxes, not refined; the peer has no footprints of datasets like these"
    )


def used(root: Path) -> int:
    """Return the bytes of the pages of a registry that hold something."""
    db = sqlite3.connect(root / "registry.sqlite")
    size, pages, free = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    db.close()
    return int(size * (pages - free))


def grown(run: Run, policy: str, count: int, put: Callable[[Butler, int], Any]) -> float:
    """Return by how much a registry grows with a put, when some are there already."""
    root = run.place("bytes") / "repository"
    sizes = []
    with Butler(outputs=RepositoryArgs(root, policy=policy), durability="fast") as butler:
        for start in (0, count):
            with butler.transaction():
                for visit in range(start, start + count):
                    put(butler, visit)
            sizes.append(used(root))
    shutil.rmtree(root)
    return (sizes[1] - sizes[0]) / count


def composite_policy(parts: int) -> str:
    """Return a policy of a composite of so many JSON files, and one of a single file."""
    names = [f"part{number}" for number in range(parts)]
    stored = "".join(
        f'  {name}: {{python: dict, storage: Json, template: "{name}/{name}-{{visit:d}}.json"}}\n' for name in names
    )
    whole = ", ".join(f"{name}: {name}" for name in names)
    return f"keys: {{visit: int}}\ndatasets:\n{stored}  whole: {{composite: {{{whole}}}}}\n"


EXPOSURES = """
keys: {visit: int}
datasets:
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexp/calexp-{visit:d}.fits"}
"""


@row("bytes", "registry bytes")
def registry_bytes(row: Row) -> None:
    run, count = row.run, row.sized(2000, 500)
    single = grown(run, composite_policy(1), count, lambda b, visit: b.put({"visit": visit}, "part0", visit=visit))
    row.values["bunter"] = (single, "B")
    guest = run.guest("peer")
    if guest is not None:
        root = str(run.folder / "peer-bytes")
        row.values["peer"] = (guest.call("peer_small", "registry_bytes", root=root, count=row.sized(1000, 300)), "B")

    def whole(parts: int, butler: Butler, visit: int) -> None:
        butler.put({f"part{n}": {"visit": visit, "n": n} for n in range(parts)}, "whole", visit=visit)

    three, six = (grown(run, composite_policy(n), count, partial(whole, n)) for n in (len(PARTS), 2 * len(PARTS)))
    pin = (six - three) / 3 - single
    pixels = np.zeros((8, 8), "f4")
    small = Exposure(pixels)
    large = Exposure(
        pixels, mask=Mask(np.zeros((8, 8), "i4"), {"BAD": 0}), variance=pixels, filter="r", detector=3,
        photo_calib=PhotoCalib.from_zero_point(27.0), visit_info=VisitInfo(visit=1),
    )  # fmt: skip
    few = row.sized(300, 60)
    with_few, with_many = (
        grown(run, EXPOSURES, few, lambda b, visit, each=each: b.put(each, "calexp", visit=visit))
        for each in (small, large)
    )
    part = (with_many - with_few) / 6
    many = row.sized(50_000, 10_000)
    bare, placed = (used(run.world(registry_world, many, footprints)) for footprints in (False, True))
    footprint = (placed - bare) / many
    row.values |= {"bunter, a pin": (pin, "B"), "bunter, a further part": (part, "B")}
    row.values |= {"bunter, a footprint": (footprint, "B")}
    row.at_most("a single-part dataset", single, 300, "B")
    for what, value in (("a further part", part), ("a further pin", pin), ("a footprint", footprint)):
        row.at_most(what, value, 60, "B")
    row.notes.append(
        "growth of the registry's pages with puts; a pin: composites of 6 files against those of 3, less the datasets; "
        "a part: exposures of 7 parts in a file against those of 1"
    )
