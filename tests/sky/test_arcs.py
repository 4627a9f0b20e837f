"""The geometry under the regions, piece by piece."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bunter.sky.arcs import angle, crossing, in_rings, on_parallels, tangents, to_arcs, vectors
from bunter.sky.rings import opened
from tests.sky.support import outline, unit


def test_arcs_cross_on_the_side_where_they_are() -> None:
    west, east, south, north = vectors([-5, 5, 0, 0], [0, 0, -5, 5])
    assert crossing(west, east, south, north)
    assert crossing(east, west, south, north)
    # The same great circles, but the second arc is at the antipode.
    assert not crossing(west, east, -south, -north)
    assert not crossing(west, east, *vectors([0, 0], [1, 5]))
    assert not crossing(west, east, *vectors([6, 6], [-5, 5]))


def test_distances_from_arcs_end_at_their_ends() -> None:
    a, b = vectors([-5, 5], [0, 0])
    points = vectors([0, 8, -7, 180, 180], [3, 0, 0, 0, 3])
    expected = [3, 3, 2, 175, angle(unit(180, 3), unit(5, 0)) * 180 / math.pi]
    assert np.degrees(to_arcs(points, a, b)) == pytest.approx(expected, abs=1e-9)


def test_tiny_distances_are_exact() -> None:
    a, b = vectors([-5, 5], [0, 0])
    assert to_arcs(vectors(1.0, 1e-9), a, b) == pytest.approx(math.radians(1e-9), rel=1e-6)
    assert angle(vectors(1.0, 0.0), vectors(1.0 + 1e-9, 0.0)) == pytest.approx(math.radians(1e-9), rel=1e-5)


def test_an_arc_without_length_is_a_point() -> None:
    a = vectors(10.0, 20.0)
    assert np.degrees(to_arcs(vectors(10.0, 25.0), a, a)) == pytest.approx(5.0)


def test_points_on_parallels() -> None:
    # A great circle that climbs over the parallel of 60 and comes down again.
    a, b = vectors([0, 120], [50, 50])
    points, valid = on_parallels(a, b, np.sin(np.radians(60.0)))
    assert valid.all()
    assert np.degrees(np.arcsin(points[:, 2])) == pytest.approx([60, 60])
    longitudes = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    assert longitudes[0] + longitudes[1] == pytest.approx(120)
    assert not on_parallels(a, b, np.sin(np.radians(70.0)))[1].any()
    assert not on_parallels(a, b, np.sin(np.radians(45.0)))[1].any()


def test_tangents_are_at_right_angles_everywhere() -> None:
    for place in ((0, 90), (0, -90), (12, 34), (0, 0), (90, 0)):
        centre = vectors(*place)
        one, other = tangents(centre)
        assert [centre @ one, centre @ other, one @ other] == pytest.approx([0, 0, 0], abs=1e-12)
        assert [one @ one, other @ other] == pytest.approx([1, 1])


def test_inside_of_a_notched_polygon() -> None:
    x, y = np.array([0.0, 4.0, 4.0, 2.0, 0.0]), np.array([0.0, 0.0, 4.0, 1.0, 4.0])
    inside = in_rings(x, y, np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.5, 0.5, 2.0, 0.5]))
    assert inside.tolist() == [True, True, False, False]


def test_the_antipode_is_not_inside() -> None:
    (rings,) = opened([outline(50, 30, 1, 1, 0.2)])
    assert rings.contain(unit(50, 30)).tolist() == [True]
    assert rings.contain(unit(230, -30)).tolist() == [False]
