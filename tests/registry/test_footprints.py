"""Footprints in the registry: what the index finds is what testing every outline finds; nothing is left over."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import DatasetExistsError, IntegrityError
from bunter.registry import footprints
from bunter.sky import Box, Circle, Polygon, Region
from bunter.sky.outlines import pack
from tests.sky.support import outline, place, ring

TYPE = 4


def connection() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statement in footprints.FOOTPRINT_TABLES:
        db.execute(statement)
    return db


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    made = connection()
    yield made
    made.close()


def scattered(count: int, seed: int) -> dict[int, bytes]:
    """Outlines of all sizes, many of them at the poles and at 0 degrees."""
    generator = random.Random(seed)
    found = {}
    for number in range(1, count + 1):
        ra, dec = place_on_sky(generator)
        width, height = (10 ** generator.uniform(-3, 1.7) for _ in range(2))
        rings = [ring(ra, dec, min(width, 45), min(height, 45), generator.uniform(0, 7))]
        if number % 10 == 0:
            rings.append(ring(ra + 50, dec / 2, 0.2, 0.1, 0))
        found[number] = pack(rings)
    return found


def place_on_sky(generator: random.Random) -> tuple[float, float]:
    ra, dec = place([generator.gauss(0, 1) for _ in range(3)])  # type: ignore[arg-type]
    kind = generator.randrange(5)
    if kind == 0:
        return ra, math.copysign(90 - 10 ** generator.uniform(-4, 0.5), dec)
    if kind == 1:
        return generator.uniform(-0.5, 0.5) % 360, dec
    return ra, dec


@pytest.fixture(scope="module")
def sky() -> Iterator[tuple[sqlite3.Connection, dict[int, bytes]]]:
    db = connection()
    outlines = scattered(3000, 1)
    db.execute("BEGIN")
    footprints.record(db, TYPE, outlines.items())
    # Those of another type are not to be found.
    footprints.record(db, TYPE + 1, scattered(200, 2).items())
    db.execute("COMMIT")
    yield db, outlines
    db.close()


RA = st.one_of(st.floats(0, 360), st.sampled_from([0.0, 359.99, 0.01]))
DEC = st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.9, -89.99]))
SIZE = st.floats(-3, 1.9).map(lambda power: 10.0**power)


def same_as_testing_all(sky: tuple[sqlite3.Connection, dict[int, bytes]], region: Region) -> None:
    db, outlines = sky
    numbers = list(outlines)
    expected = [numbers[index] for index in region.overlaps(list(outlines.values()))]
    assert footprints.search(db, TYPE, region) == expected


@settings(max_examples=80, deadline=None)
@given(RA, DEC, SIZE)
def test_circles(sky: tuple[sqlite3.Connection, dict[int, bytes]], ra: float, dec: float, radius: float) -> None:
    same_as_testing_all(sky, Circle(ra, dec, radius))


@settings(max_examples=80, deadline=None)
@given(RA, DEC, SIZE, SIZE)
def test_boxes(
    sky: tuple[sqlite3.Connection, dict[int, bytes]], ra: float, dec: float, width: float, height: float
) -> None:
    same_as_testing_all(sky, Box(ra, ra + 4 * width, max(-90, dec - height), min(90, dec + height)))


@settings(max_examples=80, deadline=None)
@given(RA, DEC, SIZE, SIZE, st.floats(0, 7))
def test_polygons(
    sky: tuple[sqlite3.Connection, dict[int, bytes]], ra: float, dec: float, width: float, height: float, turn: float
) -> None:
    same_as_testing_all(sky, Polygon(ring(ra, dec, width, height, turn)))


@pytest.mark.parametrize(
    "region",
    [
        Circle(0, 90, 0), Circle(0, -90, 0.5), Circle(10, 20, 180), Circle(10, 20, 120), Box(0, 360, -90, 90),
        Box(0, 360, 89.9, 90), Box(359.5, 0.5, -90, 90), Box(10, 10, 20, 20), Box(20, 379, -1, 1),
        Polygon([(0, 60), (120, 60), (240, 60)]), Polygon([(0, 3), (120, 3), (240, 3)]),
        Polygon([(359, -1), (1, -1), (0.5, 0.2), (0, 5), (-0.5, 0.1)]),
    ],
    ids=str,
)  # fmt: skip
def test_extremes(sky: tuple[sqlite3.Connection, dict[int, bytes]], region: Region) -> None:
    same_as_testing_all(sky, region)


def test_the_index_leaves_out_most(sky: tuple[sqlite3.Connection, dict[int, bytes]]) -> None:
    """That is, a search does not test everything: of many small footprints few are near."""
    db = connection()
    footprints.record(db, TYPE, [(n, outline(n % 360, n // 360 * 4 - 80, 0.3, 0.15, 0)) for n in range(14_000)])
    seen = []

    class Watched(Circle):
        def overlaps(self, outlines: object) -> list[int]:
            seen.append(len(outlines))  # type: ignore[arg-type]
            return super().overlaps(outlines)  # type: ignore[arg-type]

    assert footprints.search(db, TYPE, Watched(100, 0, 0.2)) == [100 + 360 * 20]
    assert seen[0] <= 10
    db.close()


def test_a_piece_is_found_by_either_ring(db: sqlite3.Connection) -> None:
    footprints.record(db, TYPE, [(1, pack([ring(10, 0, 1, 1, 0), ring(200, 50, 1, 1, 0)]))])
    assert footprints.search(db, TYPE, Circle(10, 0, 0.1)) == [1]
    assert footprints.search(db, TYPE, Circle(200, 50, 0.1)) == [1]
    assert footprints.search(db, TYPE, Circle(100, 20, 0.1)) == []


def test_recorded_again_it_moves(db: sqlite3.Connection) -> None:
    footprints.record(db, TYPE, [(1, outline(10, 0, 1, 1, 0)), (2, outline(10, 0, 1, 1, 0))])
    footprints.record(db, TYPE, [(1, outline(40, 0, 1, 1, 0))])
    assert footprints.search(db, TYPE, Circle(10, 0, 0.1)) == [2]
    assert footprints.search(db, TYPE, Circle(40, 0, 0.1)) == [1]
    assert db.execute("SELECT count(*) FROM footprint_cell").fetchone() == (2,)


def test_removed_it_leaves_nothing(db: sqlite3.Connection) -> None:
    outlines = scattered(50, 3)
    footprints.record(db, TYPE, outlines.items())
    footprints.record(db, TYPE + 1, [(1, outline(10, 0, 1, 1, 0))])
    footprints.remove(db, TYPE, [*outlines, 77_777])
    assert not footprints.has_footprints(db, TYPE)
    assert footprints.has_footprints(db, TYPE + 1)
    assert db.execute("SELECT count(*) FROM footprint_cell").fetchone() == (1,)
    assert footprints.outlines_of(db, TYPE, list(outlines)) == {}


def test_a_transaction_that_fails_records_nothing(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    footprints.record(db, TYPE, [(1, outline(10, 0, 1, 1, 0))])
    footprints.add_regions(db, ["tract"], [({"tract": 1}, outline(10, 0, 1, 1, 0))])
    db.execute("ROLLBACK")
    assert footprints.search(db, TYPE, Circle(10, 0, 1)) == []
    assert footprints.region_keys(db) == []


def test_nothing_recorded_nothing_found(db: sqlite3.Connection) -> None:
    assert footprints.search(db, TYPE, Circle(10, 0, 180)) == []
    assert footprints.search_regions(db, ["tract"], Circle(10, 0, 180)) == []
    assert footprints.region_of(db, {"tract": 3}) is None


def test_outlines_of_many_datasets(db: sqlite3.Connection) -> None:
    outlines = scattered(1203, 4)
    footprints.record(db, TYPE, outlines.items())
    assert footprints.outlines_of(db, TYPE, [*outlines, 99_999]) == outlines


def test_a_damaged_outline_is_told(db: sqlite3.Connection) -> None:
    footprints.record(db, TYPE, [(1, outline(10, 0, 1, 1, 0))])
    db.execute("UPDATE footprint SET outline = ?", (b"\x04\x01",))
    with pytest.raises(IntegrityError, match="damaged"):
        footprints.search(db, TYPE, Circle(10, 0, 1))


# Regions of key values


TRACTS = [({"tract": n}, pack([[(n, 0.0), (n + 1.1, 0.0), (n + 1.1, 1.0), (n, 1.0)]])) for n in range(20)]


def test_tracts_and_patches_are_kept_apart(db: sqlite3.Connection) -> None:
    patches = [
        ({"tract": n, "patch": f"{i},{j}"}, outline(n + i / 2 + 0.25, j / 2 + 0.25, 0.5, 0.5, 0))
        for n in range(20)
        for i in range(2)
        for j in range(2)
    ]
    assert footprints.add_regions(db, ["tract"], TRACTS) == 20
    assert footprints.add_regions(db, ["tract", "patch"], patches) == 80
    assert footprints.region_keys(db) == [("tract",), ("patch", "tract")]
    region = Circle(7.05, 0.1, 0.01)
    assert footprints.search_regions(db, ["tract"], region) == [{"tract": 6}, {"tract": 7}]
    assert footprints.search_regions(db, ["patch", "tract"], region) == [{"patch": "0,0", "tract": 7}]
    assert footprints.search_regions(db, ["patch"], region) == []
    assert footprints.region_of(db, {"tract": 7}) == TRACTS[7][1]
    assert footprints.region_of(db, {"patch": "0,0", "tract": 7}) == patches[28][1]
    # No dataset type has a negative number.
    assert footprints.search(db, 1, region) == []


def test_the_same_again_changes_nothing(db: sqlite3.Connection) -> None:
    footprints.add_regions(db, ["tract"], TRACTS)
    before = list(db.iterdump())
    assert footprints.add_regions(db, ["tract"], TRACTS[5:9]) == 0
    assert list(db.iterdump()) == before


def test_another_polygon_needs_replace(db: sqlite3.Connection) -> None:
    footprints.add_regions(db, ["tract"], TRACTS)
    moved = [({"tract": 3}, outline(100, 0, 1, 1, 0)), ({"tract": 30}, outline(30, 0, 1, 1, 0))]
    db.execute("BEGIN")
    with pytest.raises(DatasetExistsError, match=r"\{'tract': 3\} has another polygon already.*replace=True"):
        footprints.add_regions(db, ["tract"], moved)
    db.execute("ROLLBACK")
    assert footprints.region_of(db, {"tract": 30}) is None
    assert footprints.add_regions(db, ["tract"], moved, replace=True) == 2
    assert footprints.search_regions(db, ["tract"], Circle(100, 0, 0.1)) == [{"tract": 3}]
    assert {"tract": 3} not in footprints.search_regions(db, ["tract"], Circle(3.5, 0.5, 0.1))


def test_a_table_that_contradicts_itself(db: sqlite3.Connection) -> None:
    twice = [({"tract": 3}, outline(10, 0, 1, 1, 0)), ({"tract": 3}, outline(11, 0, 1, 1, 0))]
    with pytest.raises(DatasetExistsError, match="another polygon"):
        footprints.add_regions(db, ["tract"], twice)


def test_many_tracts(db: sqlite3.Connection) -> None:
    """More than one statement takes."""
    tracts = [({"tract": n}, outline(n * 0.1, 5, 0.2, 0.2, 0)) for n in range(1500)]
    footprints.add_regions(db, ["tract"], tracts)
    assert len(footprints.search_regions(db, ["tract"], Box(0, 360, -90, 90))) == 1500


def test_the_statements_are_plain(db: sqlite3.Connection) -> None:
    """No extension of SQLite's (R*tree, JSON functions): what is there is what PostgreSQL has too."""
    text = " ".join(footprints.FOOTPRINT_TABLES).lower()
    assert "virtual" not in text
    assert "rtree" not in text
