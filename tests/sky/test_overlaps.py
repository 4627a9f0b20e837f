"""Which outlines overlap a region: against clouds of points, at the poles, across 0 degrees, and where things touch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bunter.errors import ParameterError
from bunter.sky import Box, Circle, Polygon, Region
from bunter.sky.outlines import pack
from tests.sky.support import cloud, holds, outline, place, ring, unit

RA = st.one_of(st.floats(0, 360), st.sampled_from([0.0, 359.999, 0.001, 180.0, 90.0]))
DEC = st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.9, -89.99, 0.0]))
SIZE = st.floats(-3, 1.6).map(lambda power: 10.0**power)
TURN = st.floats(0, math.tau)
AWAY = st.floats(0, 1.5)


def beside(ra: float, dec: float, direction: float, distance: float) -> tuple[float, float]:
    """The place at a distance (degrees) from another."""
    a, d, r = math.radians(ra), math.radians(dec), math.radians(distance)
    east = np.array([-math.sin(a), math.cos(a), 0.0])
    north = np.array([-math.sin(d) * math.cos(a), -math.sin(d) * math.sin(a), math.cos(d)])
    sideways = math.cos(direction) * east + math.sin(direction) * north
    return place(math.cos(r) * unit(ra, dec) + math.sin(r) * sideways)


def judged(region: Region, corners: list[tuple[float, float]]) -> bool | None:
    """Whether they overlap; None if it is too close to call."""
    points, spacing = cloud(corners)
    if holds(region, points, -1e-3 * spacing - 1e-9).any():
        return True
    return None if holds(region, points, 1.5 * spacing).any() else False


def agrees(region: Region, corners: list[tuple[float, float]]) -> None:
    verdict = judged(region, corners)
    if verdict is not None:
        assert bool(region.overlaps([pack([corners])])) == verdict


@settings(max_examples=150, deadline=None)
@given(RA, DEC, SIZE, SIZE, TURN, TURN, AWAY, SIZE)
def test_circles(
    ra: float, dec: float, width: float, height: float, turn: float, direction: float, away: float, radius: float
) -> None:
    corners = ring(ra, dec, min(width, 40), min(height, 40), turn)
    centre = beside(ra, dec, direction, away * (max(width, height) + radius))
    agrees(Circle(*centre, radius), corners)


@settings(max_examples=150, deadline=None)
@given(RA, DEC, SIZE, SIZE, TURN, TURN, AWAY, SIZE, st.floats(0.01, 5))
def test_boxes(
    ra: float, dec: float, width: float, height: float, turn: float, direction: float, away: float, size: float,
    shape: float,
) -> None:  # fmt: skip
    corners = ring(ra, dec, min(width, 40), min(height, 40), turn)
    at_ra, at_dec = beside(ra, dec, direction, away * (max(width, height) + size))
    half_ra = min(180.0, size * shape / max(math.cos(math.radians(at_dec)), 1e-3))
    if half_ra >= 180.0:
        box = Box(0, 360, max(-90, at_dec - size), min(90, at_dec + size))
    else:
        box = Box(at_ra - half_ra, at_ra + half_ra, max(-90, at_dec - size), min(90, at_dec + size))
    agrees(box, corners)


@settings(max_examples=80, deadline=None)
@given(RA, DEC, SIZE, SIZE, TURN, TURN, AWAY, SIZE, st.lists(st.floats(0.05, 1), min_size=3, max_size=9))
@example(0.0, 90.0, 1.0, 1.0, 0.0, 0.0, 0.0, 5.0, [1.0] * 5)
@example(0.0, -90.0, 1.0, 1.0, 0.0, 0.0, 0.0, 5.0, [1.0, 0.1] * 4)
def test_polygons(
    ra: float, dec: float, width: float, height: float, turn: float, direction: float, away: float, size: float,
    spokes: list[float],
) -> None:  # fmt: skip
    """Stars with arms of many lengths: convex and not."""
    corners = ring(ra, dec, min(width, 40), min(height, 40), turn)
    centre = beside(ra, dec, direction, away * (max(width, height) + size))
    points = [beside(*centre, turn + math.tau * i / len(spokes), size * spoke) for i, spoke in enumerate(spokes)]
    try:
        polygon = Polygon(points)
    except ParameterError:
        assume(False)
    agrees(polygon, corners)
    assert polygon.overlaps([pack([corners])]) == Polygon(points[::-1]).overlaps([pack([corners])])


@pytest.mark.parametrize(
    ("region", "corners", "expected"),
    [
        # The pole within a footprint, and regions that touch it only there.
        (Circle(123, 90, 0), ring(0, 90, 1, 1, 0.3), True),
        (Box(10, 20, 89.9, 90), ring(200, 90, 1, 1, 0), True),
        (Box(0, 360, 80, 90), ring(10, 79.5, 2, 2, 0), True),
        (Box(0, 360, 80, 90), ring(10, 78.5, 2, 2, 0), False),
        (Box(0, 360, -90, -89), ring(10, -90, 0.1, 0.1, 0), True),
        # Across 0 degrees of right ascension.
        (Box(359.9, 0.1, -1, 1), ring(0, 0, 0.01, 0.01, 0), True),
        (Box(350, 359.8, -1, 1), ring(0, 0, 0.2, 0.2, 0), False),
        (Box(-10, -0.05, -1, 1), ring(0, 0, 0.2, 0.2, 0), True),
        (Circle(359.95, 0, 0.1), ring(0.1, 0, 0.11, 0.11, 0), True),
        # A region all within a footprint, and the other way round.
        (Circle(50, 30, 0.01), ring(50, 30, 1, 1, 0.2), True),
        (Circle(50, 30, 90), ring(50, 30, 1, 1, 0.2), True),
        (Circle(50, 30, 180), ring(230, -30, 1, 1, 0.2), True),
        (Circle(50, 30, 178), ring(230, -30, 1, 1, 0.2), False),
        (Polygon([(49, 29), (51, 29), (51, 31), (49, 31)]), ring(50, 30, 0.1, 0.1, 0), True),
        # A cross, of which neither has a corner in the other.
        (Box(9, 11, -0.1, 0.1), ring(10, 0, 0.1, 4, 0), True),
        (Polygon([(9, -0.1), (11, -0.1), (11, 0.1), (9, 0.1)]), ring(10, 0, 0.1, 4, 0), True),
        # A notch: within the hull of the polygon, but not in it.
        (Polygon([(0, 0), (10, 0), (10, 10), (5, 0.5), (0, 10)]), ring(5, 5, 0.5, 0.5, 0), False),
        # Antipodes do not count.
        (Polygon([(0, 0), (10, 0), (5, 10)]), ring(185, -3, 1, 1, 0), False),
        (Box(0, 10, -5, 5), ring(185, 0, 1, 1, 0), False),
        # A parallel bulges towards the pole between the corners of a box.
        (Box(0, 120, 50, 60), ring(60, 70, 2, 2, 0), False),
        (Polygon([(0, 60), (120, 60), (60, 20)]), ring(60, 70, 2, 2, 0), True),
    ],
)
def test_known_cases(region: Region, corners: list[tuple[float, float]], expected: bool) -> None:
    assert bool(region.overlaps([pack([corners])])) == expected


def test_the_same_polygon_overlaps_itself() -> None:
    corners = [(10.0, 10.0), (11.0, 10.0), (11.0, 11.0), (10.0, 11.0)]
    assert Polygon(corners).overlaps([pack([corners])]) == [0]


def test_what_shares_an_edge_touches() -> None:
    left = pack([[(10.0, 0.0), (11.0, 0.0), (11.0, 1.0), (10.0, 1.0)]])
    assert Polygon([(11, 0), (12, 0), (12, 1), (11, 1)]).overlaps([left]) == [0]
    assert Box(11, 12, 0, 1).overlaps([left]) == [0]
    assert Box(11.001, 12, 0, 1).overlaps([left]) == []


@pytest.mark.parametrize(
    "region",
    [Polygon([(10.0, 1.0), (11.0, 1.0), (11.0, 3.0), (10.0, 3.0)]), Box(10, 11, 1, 3)],
    ids=["polygon", "box"],
)
def test_strips_with_sides_in_common_overlap(region: Region) -> None:
    """No corner of one lies within the other, and no edges cross: they run along each other."""
    assert region.overlaps([pack([[(10.0, 0.0), (11.0, 0.0), (11.0, 2.0), (10.0, 2.0)]])]) == [0]


def test_many_outlines_of_different_kinds_at_once() -> None:
    near, far = outline(10, 10, 1, 1, 0), outline(40, 10, 1, 1, 0)
    two_pieces = pack([ring(40, 10, 1, 1, 0), ring(10.2, 10, 1, 1, 0)])
    triangle = pack([[(10.0, 10.0), (10.3, 10.0), (10.1, 10.2)]])
    assert Circle(10, 10, 0.2).overlaps([far, near, two_pieces, far, triangle]) == [1, 2, 4]
    assert Circle(10, 10, 0.2).overlaps([]) == []


def test_a_large_region_is_worked_through_in_pieces() -> None:
    outlines = [outline(ra, dec, 0.2, 0.2, 0) for ra in range(0, 360, 2) for dec in range(-80, 81, 2)]
    points = [beside(100, 10, math.tau * i / 200, 30.0) for i in range(200)]
    found = Polygon(points).overlaps(outlines)
    expected = Circle(100, 10, 30).overlaps(outlines)
    assert len(found) > 600
    assert set(found) <= set(expected)
    assert len(set(expected) - set(found)) < 10


def test_a_corner_that_touches_an_edge_is_not_lost_to_rounding() -> None:
    equator = Polygon([(10, 0), (20, 0), (15, -10)])
    for step in range(40):
        ra = 14.0 + 0.0517 * step
        tip = pack([[(ra, 0.0), (ra + 0.3, 0.7), (ra - 0.37, 0.9)]])
        assert equator.overlaps([tip]) == [0]
        assert Circle(ra, -0.5, 0.5).overlaps([tip]) == [0]
        assert Box(10, 20, -1, 0).overlaps([tip]) == [0]
