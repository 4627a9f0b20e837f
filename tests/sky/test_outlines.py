"""Outlines as bytes: how exact, how small, and what cannot be packed; the cells under which they are found."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import IntegrityError
from bunter.sky.htm import pixel
from bunter.sky.outlines import SIZES, cells, level, pack, reach, rings_of, size_of, unpack
from tests.sky.support import ring, unit


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(-4, 1.75).map(lambda p: 10.0**p), st.floats(0, math.tau))
def test_vertices_are_kept_to_a_small_part_of_the_size(ra: float, dec: float, width: float, turn: float) -> None:
    corners = ring(ra, dec, width, width / 3, turn)
    (found,) = unpack(pack([corners]))
    for (a, b), (c, d) in zip(corners, found, strict=True):
        assert math.dist(unit(a, b), unit(c, d)) <= math.radians(width) / 16_000 + 2e-9


def test_a_rectangle_takes_26_bytes_and_each_further_vertex_4() -> None:
    assert len(pack([ring(10, 20, 0.3, 0.15, 0)])) == 26
    assert len(pack([[*ring(10, 20, 0.3, 0.15, 0), (10.0, 20.05)]])) == 30
    assert len(pack([ring(10, 20, 0.3, 0.15, 0), ring(40, 20, 0.3, 0.15, 0)])) == 52


def test_packing_what_was_opened_changes_nothing_more() -> None:
    data = pack([ring(359.99, -89.7, 0.9, 0.4, 1.0)])
    (once,) = unpack(data)
    (twice,) = unpack(pack([once]))
    assert all(math.dist(unit(*a), unit(*b)) < math.radians(0.9 / 16_000) for a, b in zip(once, twice, strict=True))


@pytest.mark.parametrize(
    ("rings", "message"),
    [
        ([], "at least one ring"),
        ([[(0.0, 0.0), (1.0, 0.0)]], "3 to 255 vertices, not 2"),
        ([[(0.1 * i, 1.0) for i in range(256)]], "not 256"),
        ([ring(10, 10, 100, 100, 0)], "45"),
        ([[(0.0, 0.0), (90.0, 0.0), (180.0, 0.0), (270.0, 0.0)]], "round the sky"),
    ],
)
def test_what_cannot_be_packed(rings: list[list[tuple[float, float]]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(rings)


@pytest.mark.parametrize("data", [b"\x04", b"\x02" + bytes(17), pack([ring(0, 0, 1, 1, 0)])[:-1], b"\x00" * 30])
def test_damaged_outlines_are_told(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="footprint is damaged"):
        list(rings_of(data))


def test_degenerate_rings_keep_their_place() -> None:
    (found,) = unpack(pack([[(10.0, 20.0)] * 3]))
    assert all(place == pytest.approx((10.0, 20.0), abs=1e-6) for place in found)


def test_the_pixels_are_those_of_sphgeom() -> None:
    import random

    from lsst.sphgeom import HtmPixelization, UnitVector3d

    generator = random.Random(1)
    for depth in (0, 1, 2, 7, 13):
        theirs = HtmPixelization(depth)
        for _ in range(300):
            point = UnitVector3d(*(generator.gauss(0, 1) for _ in range(3)))
            assert pixel((point.x(), point.y(), point.z()), depth) == theirs.index(point)


def test_each_size_has_cells_of_its_own() -> None:
    for size, (low, high) in enumerate(SIZES):
        assert low == 8 * 4 ** level(size)
        assert high == 2 * low - 1
        if size:
            assert low > SIZES[size - 1][1]


@pytest.mark.parametrize("radius", [45.0, 22.5, 22.4, 1.0, 0.18, 1e-3, 1e-9, 0.0])
def test_a_size_reaches_as_far_as_its_rings(radius: float) -> None:
    size = size_of(radius)
    assert reach(size) >= radius
    assert size == len(SIZES) - 1 or reach(size + 1) < radius


def test_cells_are_of_the_size_of_each_ring() -> None:
    small, large = ring(10, 20, 0.3, 0.15, 0), ring(10, 20, 30, 30, 0)
    found = cells(pack([small, large, small]))
    assert len(found) == 2
    sizes = [size for cell in found for size, (low, high) in enumerate(SIZES) if low <= cell <= high]
    assert sorted(sizes) == [1, 8]
