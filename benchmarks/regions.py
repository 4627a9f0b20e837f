"""A region query over many footprints, and what they cost in the registry.

Run with ``make bench`` or ``python benchmarks/regions.py [--count N] [--json FILE]``. Rectangles of a DECam CCD's size
(0.15 x 0.30 degrees) are recorded as the registry records them, once spread over the whole sky and once over a survey
of 5,000 square degrees (9 deep for a million of them); then circles, boxes and polygons are searched for. The floor is
the bare SELECT of the rows that a search tests. For comparison, the bytes of another index: one row for each HTM pixel
of level 7 that a footprint overlaps.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bunter.registry import footprints
from bunter.sky import Box, Circle, Polygon, Region
from bunter.sky.outlines import pack, unpack

TYPE = 3
WIDTH, HEIGHT = 0.15, 0.30
AT_ONCE = 20_000


def places(count: int, whole_sky: bool, seed: int = 0) -> Iterator[tuple[float, float]]:
    """Give places that are spread evenly, in the order in which a survey might take them: at random."""
    generator = np.random.default_rng(seed)
    if whole_sky:
        ra, sine = generator.uniform(0, 360, count), generator.uniform(-1, 1, count)
    else:
        # 0 to 120 degrees of right ascension, -20 to 23.2 of declination: 5,000 square degrees.
        low, high = math.sin(math.radians(-20.0)), math.sin(math.radians(23.2))
        ra, sine = generator.uniform(0, 120, count), generator.uniform(low, high, count)
    yield from zip(ra.tolist(), np.degrees(np.arcsin(sine)).tolist(), strict=True)


def rectangle(ra: float, dec: float) -> bytes:
    """Return the outline of a CCD."""
    half = WIDTH / 2 / max(math.cos(math.radians(dec)), 0.01)
    low, high = max(dec - HEIGHT / 2, -89.99), min(dec + HEIGHT / 2, 89.99)
    return pack([[(ra - half, low), (ra + half, low), (ra + half, high), (ra - half, high)]])


def filled(path: Path, count: int, whole_sky: bool) -> sqlite3.Connection:
    """Record footprints in batches, as ingests do."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    for statement in footprints.FOOTPRINT_TABLES:
        db.execute(statement)
    batch: list[tuple[int, bytes]] = []
    for number, (ra, dec) in enumerate(places(count, whole_sky), 1):
        batch.append((number, rectangle(ra, dec)))
        if len(batch) == AT_ONCE or number == count:
            db.execute("BEGIN IMMEDIATE")
            footprints.record(db, TYPE, batch)
            db.execute("COMMIT")
            batch.clear()
    return db


def size_of(db: sqlite3.Connection, path: Path, names: tuple[str, ...]) -> int:
    """Return the bytes of tables, by the pages that they take."""
    try:
        marks = ", ".join("?" * len(names))
        return int(db.execute(f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({marks})", names).fetchone()[0])
    except sqlite3.OperationalError:
        # An SQLite without dbstat: these tables are all that the file has.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.stat().st_size


def pixels_table(db: sqlite3.Connection, path: Path, sample: int) -> float:
    """Return the bytes a footprint of one row a pixel of level 7, for a sample of footprints in random order."""
    from lsst.sphgeom import ConvexPolygon, HtmPixelization, LonLat, UnitVector3d

    level = HtmPixelization(7)
    db.execute(
        "CREATE TABLE pixel (type INTEGER, pixel INTEGER, dataset INTEGER, PRIMARY KEY (type, pixel, dataset)) "
        "WITHOUT ROWID"
    )
    rows = []
    for dataset, outline in db.execute("SELECT dataset, outline FROM footprint LIMIT ?", (sample,)):
        (ring,) = unpack(outline)
        polygon = ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*vertex)) for vertex in ring])
        rows += [(TYPE, pixel, dataset) for low, high in level.envelope(polygon) for pixel in range(low, high)]
    with db:
        db.executemany("INSERT INTO pixel VALUES (?, ?, ?)", rows)
    return size_of(db, path, ("pixel",)) / sample


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Return the CPU seconds of one call."""
    started = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - started) / repeats


def regions(whole_sky: bool) -> dict[str, list[Region]]:
    """Return what is searched for: each kind at twenty places."""
    centres = list(places(20, whole_sky, seed=1))
    return {
        "point": [Circle(ra, dec, 0) for ra, dec in centres],
        "circle of a CCD's size (0.17 deg)": [Circle(ra, dec, 0.17) for ra, dec in centres],
        "box of 0.3 x 0.3 deg": [Box(ra, ra + 0.3, max(dec - 0.3, -90), dec) for ra, dec in centres],
        "triangle of 0.4 deg": [
            Polygon([(ra, dec), (ra + 0.4, dec), (ra, dec + 0.4 if dec < 80 else dec - 0.4)]) for ra, dec in centres
        ],
        "circle of a focal plane (1.1 deg)": [Circle(ra, dec, 1.1) for ra, dec in centres],
        "circle of 5 deg": [Circle(ra, dec, 5) for ra, dec in centres],
    }


def floor(db: sqlite3.Connection, region: Region) -> Callable[[], Any]:
    """Return the bare SELECT of what a search would test."""
    ranges = [found for size in footprints._sizes(db, TYPE, region.sizes) for found in region.ranges(size)]
    statement = (
        "SELECT f.dataset, f.outline FROM footprint_cell c CROSS JOIN footprint f WHERE c.type = ? "
        "AND c.cell BETWEEN ? AND ? AND f.type = c.type AND f.dataset = c.dataset"
    )
    return lambda: [db.execute(statement, (TYPE, low, high)).fetchall() for low, high in ranges]


def measured(db: sqlite3.Connection, path: Path, count: int, whole_sky: bool) -> dict[str, Any]:
    """Measure one registry and print it."""
    found: dict[str, Any] = {}
    for kind, some in regions(whole_sky).items():
        results = statistics.median(len(footprints.search(db, TYPE, region)) for region in some)
        repeats = 20 if results < 500 else 2
        ours = statistics.median(timed(partial(footprints.search, db, TYPE, region), repeats) for region in some)
        bare = statistics.median(timed(floor(db, region), repeats) for region in some)
        found[kind] = {"found": results, "cpu": ours, "floor": bare}
        print(f"  {kind:36}{results:9.0f} found {ours * 1e3:9.3f} ms, bare SELECT {bare * 1e3:9.3f} ms")
    outlines = size_of(db, path, ("footprint",)) / count
    found["bytes, one row a pixel"] = outlines + pixels_table(db, path, min(count, 100_000))
    print(f"  one row a pixel of level 7 instead: {found['bytes, one row a pixel']:.1f} bytes each")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    count = arguments.count
    kept: dict[str, Any] = {"count": count}
    for whole_sky, where in ((True, "the whole sky"), (False, "5,000 square degrees")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "footprints.sqlite"
            started = time.process_time()
            db = filled(path, count, whole_sky)
            each = (time.process_time() - started) / count
            size = size_of(db, path, ("footprint", "footprint_cell")) / count
            print(f"{count:,} footprints over {where}: {size:.1f} bytes each, recorded in {each * 1e6:.0f} us each")
            kept[where] = {"bytes": size, "recording": each, **measured(db, path, count, whole_sky)}
            db.close()
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
