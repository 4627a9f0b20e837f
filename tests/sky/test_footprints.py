"""Footprints of images: corners, distortions, frames, cubes, maps of the whole sky, and what has none."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning, Sip

from bunter import Exposure, SourceCatalog
from bunter.sky import Box, Circle, footprint, footprint_of, unpack
from tests.sky.support import unit


def plane(ctype: str = "TAN", frame: str = "icrs", scale: float = 1e-3, at: tuple[float, float] = (10, 20)) -> WCS:
    wcs = WCS(naxis=2)
    axes = ("GLON", "GLAT") if frame == "galactic" else ("RA--", "DEC-")
    wcs.wcs.ctype = [f"{axis}-{ctype}" for axis in axes]
    wcs.wcs.cdelt = [-scale, scale]
    wcs.wcs.crval = at
    wcs.wcs.crpix = [50.5, 100.5]
    if frame == "fk4":
        wcs.wcs.radesys, wcs.wcs.equinox = "FK4", 1950.0
    elif frame == "fk5":
        wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 1975.0
    return wcs


def separation(a: tuple[float, float], b: Any) -> float:
    """Arc seconds between a place and a SkyCoord."""
    return math.degrees(math.dist(unit(*a), unit(b.icrs.ra.deg, b.icrs.dec.deg))) * 3600


SHAPE = (200, 100)
CORNERS = [(-0.5, -0.5), (99.5, -0.5), (99.5, 199.5), (-0.5, 199.5)]


@pytest.mark.parametrize("frame", ["icrs", "fk5", "fk4", "galactic"])
def test_the_corners_of_the_pixels_in_icrs(frame: str) -> None:
    wcs = plane(frame=frame)
    (ring,) = unpack(footprint(wcs, SHAPE))
    assert len(ring) == 4
    for found, (x, y) in zip(ring, CORNERS, strict=True):
        assert separation(found, wcs.pixel_to_world(x, y)) < 0.03


def test_frames_are_not_taken_for_icrs() -> None:
    wcs = plane(frame="fk5")
    (ring,) = unpack(footprint(wcs, SHAPE))
    as_if = SkyCoord(*wcs.all_pix2world(-0.5, -0.5, 0), unit="deg")
    assert separation(ring[0], as_if) > 600
    assert separation(ring[0], SkyCoord(as_if.ra, as_if.dec, frame=FK5(equinox="J1975"))) < 0.03


def test_at_the_poles_and_across_zero() -> None:
    (pole,) = unpack(footprint(plane(at=(123, 90)), SHAPE))
    assert all(dec > 89.8 for _, dec in pole)
    assert Circle(0, 90, 0).overlaps([footprint(plane(at=(123, 90)), SHAPE)]) == [0]
    edge = footprint(plane(at=(0, 0)), SHAPE)
    assert Box(359.96, 359.97, -1, 1).overlaps([edge]) == [0]
    assert Box(0.03, 0.04, -1, 1).overlaps([edge]) == [0]
    assert Box(0.06, 180, -1, 1).overlaps([edge]) == []


def test_a_distorted_image_is_followed_to_a_pixel() -> None:
    wcs = plane("TAN-SIP")
    bent = np.zeros((3, 3))
    bent[2, 0] = 1e-3
    zero = np.zeros((3, 3))
    wcs.sip = Sip(zero, bent, zero, zero, wcs.wcs.crpix)
    data = footprint(wcs, SHAPE)
    (ring,) = unpack(data)
    assert len(ring) > 4
    corners = footprint(plane(), SHAPE)
    # Where the lower edge is in its middle, and at its ends.
    inside, outside = wcs.pixel_to_world(50.0, 1.0), wcs.pixel_to_world(50.0, -2.0)
    assert Circle(inside, 0).overlaps([data]) == [0]
    assert Circle(outside, 0).overlaps([data]) == []
    end = wcs.pixel_to_world(1.0, 1.0)
    assert Circle(end, 0).overlaps([data]) == [0]
    assert Circle(wcs.pixel_to_world(1.0, 199.0), 0).overlaps([data, corners]) == [0]


def test_points_inside_and_outside_of_real_images(shared_data: Path) -> None:
    paths = sorted((shared_data / "decam").rglob("images/**/*_ooi_*.fits"))[:3]
    paths += sorted((shared_data / "sdss").rglob("frame-*.fits*"))[:2]
    for path in paths:
        with fits.open(path) as hdus:
            hdu = next(hdu for hdu in hdus if hdu.header.get("NAXIS") == 2 and "CTYPE1" in hdu.header)
            with warnings.catch_warnings():
                # Old names of cards.
                warnings.simplefilter("ignore", FITSFixedWarning)
                wcs, shape = WCS(hdu.header), hdu.shape
        data = footprint(wcs, shape)
        ny, nx = shape
        inside = [(1.0, 1.0), (nx - 2.0, ny - 2.0), (nx / 2, 1.0), (1.0, ny / 2)]
        outside = [(-3.0, -3.0), (nx + 2.0, ny / 2), (nx / 2, ny + 2.0), (nx / 2, -3.0)]
        assert all(Circle(wcs.pixel_to_world(*pixel), 0).overlaps([data]) for pixel in inside)
        assert not any(Circle(wcs.pixel_to_world(*pixel), 0).overlaps([data]) for pixel in outside)
        assert len(data) <= 42


@pytest.mark.parametrize("ctype", ["CAR", "AIT", "MOL"])
def test_maps_of_the_whole_sky_come_in_pieces(ctype: str) -> None:
    wcs = plane(ctype, scale=0.5, at=(0, 0))
    wcs.wcs.crpix = [360.5, 180.5]
    data = footprint(wcs, (360, 720))
    assert len(list(unpack(data))) > 4
    places = [(ra, dec) for ra in (1, 100, 170, 190, 300) for dec in (-80, -31, 1, 33, 85)]
    assert [place for place in places if not Circle(*place, 1).overlaps([data])] == []


def test_half_the_sky_does_not_hold_the_other() -> None:
    wcs = plane("CAR", scale=0.5, at=(0, 0))
    wcs.wcs.crpix = [180.5, 90.5]
    data = footprint(wcs, (180, 360))
    assert Circle(45, 30, 1).overlaps([data]) == [0]
    assert Circle(180, 0, 40).overlaps([data]) == []
    assert Circle(0, 60, 10).overlaps([data]) == []


def test_a_cube_lies_where_its_planes_lie() -> None:
    flat = plane()
    header = flat.to_header()
    header["WCSAXES"] = 3
    header.update(CTYPE3="FREQ", CRVAL3=1e9, CDELT3=1e6, CRPIX3=1.0, CUNIT3="Hz")
    cube = WCS(header)
    assert footprint(cube, (7, *SHAPE)) == footprint(flat, SHAPE)


def test_swapped_axes() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["DEC--TAN", "RA---TAN"]
    wcs.wcs.cdelt, wcs.wcs.crval, wcs.wcs.crpix = [1e-3, -1e-3], [20, 10], [100.5, 50.5]
    (ring,) = unpack(footprint(wcs, (100, 200)))
    expected = {(round(ra, 5), round(dec, 5)) for ra, dec in next(unpack(footprint(plane(), SHAPE)))}
    assert {(round(ra, 5), round(dec, 5)) for ra, dec in ring} == expected


def test_the_origin_of_a_cutout_counts() -> None:
    wcs = plane()
    exposure = Exposure(np.zeros(SHAPE, np.float32), wcs=wcs)
    cutout = exposure.cutout((slice(10, 60), slice(20, 80)))
    (ring,) = unpack(footprint_of(cutout))
    for found, (x, y) in zip(ring, [(19.5, 9.5), (79.5, 9.5), (79.5, 59.5), (19.5, 59.5)], strict=True):
        assert separation(found, wcs.pixel_to_world(x, y)) < 0.03


def test_what_has_a_footprint() -> None:
    wcs = plane()
    stated = wcs.deepcopy()
    stated.array_shape = SHAPE
    expected = footprint(wcs, SHAPE)
    image = np.zeros(SHAPE, np.float32)
    assert footprint_of(Exposure(image, wcs=wcs)) == expected
    assert footprint_of(CCDData(image, wcs=wcs, unit="adu")) == expected
    assert footprint_of({"wcs": wcs, "image": image, "psf": None}) == expected
    assert footprint_of(stated) == expected
    assert footprint_of({"wcs": stated}) == expected
    assert footprint_of({"exposure": Exposure(image, wcs=plane(at=(50, 50))), "wcs": wcs}) == expected
    assert footprint_of({"psf": None, "exposure": Exposure(image, wcs=wcs)}) == expected
    catalog = SourceCatalog(Table({"id": [1, 2]}))
    catalog.wcs = stated
    assert footprint_of(catalog) == expected


@pytest.mark.parametrize(
    "value",
    [
        plane(),
        WCS(naxis=2),
        Exposure(np.zeros((3, 3), np.float32)),
        SourceCatalog(Table({"id": [1, 2]})),
        {"wcs": plane()},
        {"image": np.zeros((3, 3))},
        {"wcs": "TAN", "image": np.zeros((3, 3))},
        np.zeros((3, 3)),
        "text",
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_none(value: Any) -> None:
    assert footprint_of(value) is None


def test_a_wcs_that_leads_nowhere_has_none() -> None:
    linear = WCS(naxis=2)
    linear.wcs.ctype = ["XPIXEL", "YPIXEL"]
    assert footprint(linear, SHAPE) is None
    singular = plane()
    singular.wcs.cd = [[0.0, 0.0], [0.0, 0.0]]
    assert footprint(singular, SHAPE) is None
    spectrum = WCS(naxis=1)
    spectrum.wcs.ctype = ["FREQ"]
    assert footprint(spectrum, (10, 10)) is None
    beyond = plane("SIN", scale=1.0)
    beyond.wcs.crpix = [-5000, -5000]
    assert footprint(beyond, SHAPE) is None
    planet = plane()
    planet.wcs.ctype = ["MALN-TAN", "MALT-TAN"]
    assert footprint(planet, SHAPE) is None


@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (5, 0)])
def test_without_pixels_there_is_none(shape: tuple[int, ...]) -> None:
    assert footprint(plane(), shape) is None


def test_a_frozen_wcs_will_do() -> None:
    from bunter.exposure.frozen import freeze

    assert footprint(freeze(plane()), SHAPE) == footprint(plane(), SHAPE)


def test_units_of_the_axes_are_those_of_the_header() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["arcsec", "arcsec"]
    wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = [36000, 72000], [-3.6, 3.6], [50.5, 100.5]
    (ring,) = unpack(footprint(wcs, SHAPE))
    assert separation(ring[0], SkyCoord(wcs.pixel_to_world(-0.5, -0.5))) < 0.03
    assert wcs.wcs.cunit[0] == u.deg
