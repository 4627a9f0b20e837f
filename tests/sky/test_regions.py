"""How regions are written, and what is said of those that are none."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord

import bunter.sky
from bunter.errors import ParameterError
from bunter.sky import Box, Circle, Polygon, region


def test_degrees_quantities_and_coordinates_are_the_same() -> None:
    expected = Circle(150.0, 2.0, 0.5)
    assert Circle(150 * u.deg, 120 * u.arcmin, 30 * u.arcmin) == expected
    assert Circle(Angle("10h"), Angle("2d"), 0.5).ra == pytest.approx(150)
    assert Circle(np.float32(150), np.int64(2), 0.5) == expected
    assert Circle(SkyCoord(150 * u.deg, 2 * u.deg), 0.5 * u.deg) == expected
    assert Circle(SkyCoord(150 * u.deg, 2 * u.deg), radius=0.5) == expected
    assert Circle(-210, 2, 0.5) == expected


def test_coordinates_of_other_frames_are_converted() -> None:
    galactic = SkyCoord(l=0 * u.deg, b=90 * u.deg, frame="galactic")
    circle = Circle(galactic, 1)
    assert (circle.ra, circle.dec) == pytest.approx((192.8595, 27.1283), abs=1e-3)


def test_polygons_from_arrays_and_coordinates() -> None:
    expected = Polygon([(1, 2), (3, 2), (2, 4)])
    assert Polygon(np.array([[1, 2], [3, 2], [2, 4]])) == expected
    assert Polygon([(1, 2), (3, 2), (2, 4), (1, 2)]) == Polygon([(3, 2), (2, 4), (1, 2)])
    assert Polygon(SkyCoord([1, 3, 2] * u.deg, [2, 2, 4] * u.deg)) == expected
    assert Polygon([SkyCoord(1 * u.deg, 2 * u.deg), (3, 2), (2 * u.deg, 240 * u.arcmin)]) == expected


def test_boxes_go_eastwards() -> None:
    assert Box(350, 10, -5, 5).width == 20
    assert Box(-10, 10, -5, 5) == Box(350, 10, -5, 5)
    assert Box(0, 360, -5, 5).width == 360
    assert Box(-180, 180, -5, 5) == Box(0, 360, -5, 5)
    assert Box(20, 370, -5, 5).width == 350
    assert Box(10, 10, -5, 5).width == 0
    assert Box(350, -1e-20, -5, 5).width == 10


@pytest.mark.parametrize(
    "given",
    [
        "circle 186.7 25.5 0.1",
        "CIRCLE ICRS 186.7 25.5 0.1",
        "circle(186.7, 25.5, 0.1)",
        ("circle", 186.7, 25.5, 0.1),
        ["circle", [186.7, 25.5, 0.1]],
        (186.7, 25.5, 0.1),
        np.array([186.7, 25.5, 0.1]),
        {"circle": [186.7, 25.5, 0.1]},
        {"circle": {"ra": 186.7, "dec": 25.5, "radius": 0.1}},
        {"ra": 186.7, "dec": 25.5, "radius": 0.1},
        (SkyCoord(186.7 * u.deg, 25.5 * u.deg), 0.1 * u.deg),
        {"circle": (SkyCoord(186.7 * u.deg, 25.5 * u.deg), 0.1)},
    ],
    ids=repr,
)
def test_forms_of_a_circle(given: Any) -> None:
    found = region(given)
    assert isinstance(found, Circle)
    assert (found.ra, found.dec, found.radius) == pytest.approx((186.7, 25.5, 0.1))


@pytest.mark.parametrize(
    "given",
    ["box 350 10 -5 5", "range 350 10 -5 5", (350, 10, -5, 5), {"box": [350, 10, -5, 5]},
     {"ra0": 350, "ra1": 10, "dec0": -5, "dec1": 5}],
    ids=repr,
)  # fmt: skip
def test_forms_of_a_box(given: Any) -> None:
    assert region(given) == Box(350, 10, -5, 5)


@pytest.mark.parametrize(
    "given",
    ["polygon 1 2 3 2 2 4", "Polygon ((1, 2), (3, 2), (2, 4))", [(1, 2), (3, 2), (2, 4)], ("polygon", 1, 2, 3, 2, 2, 4),
     {"polygon": [[1, 2], [3, 2], [2, 4]]}, {"polygon": [1, 2, 3, 2, 2, 4]}, {"points": [(1, 2), (3, 2), (2, 4)]},
     np.array([[1, 2], [3, 2], [2, 4]]), SkyCoord([1, 3, 2] * u.deg, [2, 2, 4] * u.deg)],
    ids=repr,
)  # fmt: skip
def test_forms_of_a_polygon(given: Any) -> None:
    assert region(given) == Polygon([(1, 2), (3, 2), (2, 4)])


@pytest.mark.parametrize("shape", [Circle(1.1, 2.2, 3.3), Box(350, 10.5, -5, 5), Polygon([(1, 2), (3, 2), (2, 4)])])
def test_regions_are_values(shape: Any) -> None:
    assert region(shape) is shape
    assert region(str(shape)) == shape
    assert pickle.loads(pickle.dumps(shape)) == shape
    assert len({shape, region(str(shape))}) == 1
    with pytest.raises(AttributeError):
        shape.ra = 3.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circle(10, 91, 1), "dec=91: a declination lies between -90 and 90"),
        (lambda: Circle(10, 20, -1), "radius=-1: it is given in degrees, 0 to 180"),
        (lambda: Circle(10, 20, 181), "0 to 180"),
        (lambda: Circle(float("nan"), 20, 1), "ra=nan: it must be finite"),
        (lambda: Circle("10h", 20, 1), "ra='10h': a number of degrees, or a Quantity"),
        (lambda: Circle(True, 20, 1), "ra=True: a number"),
        (lambda: Circle(10 * u.m, 20, 1), "is no angle"),
        (lambda: Circle([1, 2], 20, 1), "a number of degrees"),
        (lambda: Circle(10, 20), "needs ra, dec and radius"),
        (lambda: Circle(SkyCoord(1 * u.deg, 2 * u.deg), 3, 4), "a SkyCoord is the whole centre"),
        (lambda: Circle(SkyCoord([1, 2] * u.deg, [2, 3] * u.deg), 3), "1 place is needed, not 2"),
        (lambda: Box(10, 20, 5, -5), "dec0=5 is north of dec1=-5"),
        (lambda: Box(20, 10, -5, 5), re.escape("are 350 degrees. If that is meant, write ra1=370; else exchange")),
        (lambda: Box(10, 20, -95, 5), "dec0=-95"),
        (lambda: Polygon([(1, 2), (3, 4)]), "at least 3 different vertices are needed, not 2"),
        (lambda: Polygon([(1, 2), (3, 4), (3, 4), (1, 2)]), "not 2"),
        (lambda: Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]), "crosses"),
        (lambda: Polygon([(0, 0), (100, 0), (200, 0), (300, 0)]), "half of the sky"),
        (lambda: Polygon([(0, 0), (1, 2, 3), (4, 5)]), "vertex 1 is"),
        (lambda: Polygon([(0, 0), (1, 99), (4, 5)]), "dec of vertex 1=99"),
        (lambda: Polygon(5), "a sequence of"),
        (lambda: Polygon([(0.01 * i, 1.0 + i % 2) for i in range(1001)]), "1001 vertices; at most 1000"),
        (lambda: region("circel 1 2 3"), "no shape 'circel'; did you mean 'circle'"),
        (lambda: region("circle 1 2"), "a circle has 3 numbers, not 2"),
        (lambda: region("box 1 2 3"), "a box has 4 numbers, not 3"),
        (lambda: region("polygon 1 2 3 4 5"), "as many declinations"),
        (lambda: region("circle 1 2 3d"), "'3d' is no number"),
        (lambda: region("  "), "it is empty"),
        (lambda: region((1, 2)), "3 numbers make a circle"),
        (lambda: region({"circle": 1}), "a circle has 3 numbers, not 1"),
        (lambda: region({"ra": 1, "dec": 2}), "a dict has one shape"),
        (lambda: region({"circle": {"ra": 1, "dec": 2, "radus": 3}}), "no 'radus'; did you mean 'radius'"),
        (lambda: region({"circle": {"ra": 1, "dec": 2}}), "needs radius too"),
        (lambda: region(5), "not a int"),
        (lambda: region(None), "Circle, Box or Polygon"),
    ],
)
def test_what_is_no_region(make: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_everything_is_exported() -> None:
    for name in bunter.sky.__all__:
        assert getattr(bunter.sky, name) is not None
        assert name in dir(bunter.sky)
    with pytest.raises(AttributeError, match="no attribute 'Cone'"):
        _ = bunter.sky.Cone


def test_what_a_put_needs_imports_neither_numpy_nor_sphgeom() -> None:
    code = (
        "import sys; import bunter.registry.footprints, bunter.sky, bunter.sky.outlines as o; "
        "o.cells(o.pack([[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]])); bunter.sky.footprint_of({'psf': 3}); "
        "print([m for m in ('numpy', 'astropy', 'lsst.sphgeom') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
