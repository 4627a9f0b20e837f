"""Simulated star fields: a known true sky, seen by two visits of two CCDs, each with calibration errors of its own.

The truth is kept beside every exposure, so that a fit can be judged against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..exposure import Exposure

Array = NDArray[Any]

PIXEL_SCALE = 0.2
"""Arcseconds per pixel."""
CENTRE = (150.1, 2.2)
"""Right ascension and declination of the field, degrees."""
VISITS = (1, 2)
CCDS = ("N3", "S1")
BAND = "r"
SKY_LEVEL = 400.0
"""Counts per pixel; its square root is the noise."""
_STARS_PER_SQUARE_ARCMINUTE = 20.0
_MAGNITUDES = (17.0, 22.5)
_STAMP = 12
_FEWEST_STARS = 100
_REFERENCE_SHARE = 0.25
_FEWEST_REFERENCE = 80
_REFERENCE_ERROR = 0.015
_REFERENCE_MAGNITUDE_ERROR = 0.005


@dataclass(frozen=True, eq=False)
class Simulated:
    """One simulated CCD of one visit, and what is true of it.

    Attributes
    ----------
    exposure : bunter.Exposure
        As a single-visit pipeline would leave it: WCS and zero point are slightly wrong.
    true_wcs : astropy.wcs.WCS
        The WCS that placed the stars.
    true_zero_point : float
        AB magnitude of one count.
    """

    visit: int
    ccd: str
    exposure: Exposure
    true_wcs: WCS
    true_zero_point: float


def true_stars(size: int, seed: int) -> Table:
    """Return the true sky: ``ra``, ``dec`` (degrees) and AB ``mag`` of every star round the field.

    Parameters
    ----------
    size : int
        Pixels along one side of a CCD.
    seed : int
        Seed of the sky.
    """
    random = np.random.default_rng([seed, 0])
    half_width = (size + 200) * PIXEL_SCALE
    half_height = (size / 2 + 200) * PIXEL_SCALE
    # A small CCD gets a richer field, so that there is something to fit.
    density = max(_STARS_PER_SQUARE_ARCMINUTE, _FEWEST_STARS / (size * PIXEL_SCALE / 60) ** 2)
    count = int(4 * half_width * half_height / 3600 * density)
    east = random.uniform(-half_width, half_width, count)
    north = random.uniform(-half_height, half_height, count)
    faint, bright = _MAGNITUDES[1], _MAGNITUDES[0]
    # Star counts that rise by 10**(0.25 mag), the slope of a field at middle galactic latitude.
    low, high = 10 ** (0.25 * bright), 10 ** (0.25 * faint)
    magnitude = np.log10(random.uniform(low, high, count)) / 0.25
    plane = WCS(naxis=2)
    plane.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    plane.wcs.crval = CENTRE
    plane.wcs.crpix = [1.0, 1.0]
    plane.wcs.cdelt = [1 / 3600, 1 / 3600]
    ra, dec = plane.pixel_to_world_values(east, north)
    return Table({"id": np.arange(count), "ra": ra, "dec": dec, "mag": magnitude})


def reference_catalogue(stars: Table, seed: int) -> Table:
    """Return a small catalogue with positions (15 mas) and magnitudes (5 mmag) good enough to tie a fit to.

    A quarter of the stars brighter than magnitude 21; columns ``id``, ``ra``, ``dec``, ``mag``,
    ``position_error`` (arcsec, each axis) and ``mag_error``.
    """
    random = np.random.default_rng([seed, 1])
    bright = np.nonzero(np.asarray(stars["mag"]) < 21.0)[0]
    count = min(len(bright), max(_FEWEST_REFERENCE, int(_REFERENCE_SHARE * len(bright))))
    chosen = stars[np.sort(random.choice(bright, count, replace=False))]
    shift = random.normal(0.0, _REFERENCE_ERROR / 3600, (2, count))
    return Table(
        {
            "id": chosen["id"],
            "ra": chosen["ra"] + shift[0] / np.cos(np.radians(chosen["dec"])),
            "dec": chosen["dec"] + shift[1],
            "mag": chosen["mag"] + random.normal(0.0, _REFERENCE_MAGNITUDE_ERROR, count),
            "position_error": np.full(count, _REFERENCE_ERROR),
            "mag_error": np.full(count, _REFERENCE_MAGNITUDE_ERROR),
        }
    )


def simulate(visit: int, ccd: str, stars: Table, size: int, seed: int) -> Simulated:
    """Observe the true sky with one CCD in one visit.

    Parameters
    ----------
    visit, ccd : int, str
        One of `VISITS` and one of `CCDS`.
    stars : astropy.table.Table
        What `true_stars` returned.
    size : int
        Pixels along one side of the CCD.
    seed : int
        Every (seed, visit, ccd) has noise and calibration errors of its own.

    Returns
    -------
    Simulated
        Its exposure has a float32 image and variance, an int32 mask and shape ``(size, size)``.
    """
    from ..exposure import Exposure, GaussianPsf, Mask, PhotoCalib, VisitInfo

    random = np.random.default_rng([seed, 2, visit, CCDS.index(ccd)])
    true_wcs = _true_wcs(visit, ccd, size)
    wrong_wcs = _disturbed(true_wcs, size, random)
    zero_point = 30.0 + random.normal(0.0, 0.15)
    # Errors of opposite sign, so that the visits disagree.
    claimed = zero_point + (-1) ** (visit + CCDS.index(ccd)) * random.uniform(0.04, 0.12)
    sigma = 1.7 + 0.15 * (visit - VISITS[0]) + random.uniform(-0.03, 0.03)

    x, y = true_wcs.world_to_pixel_values(stars["ra"], stars["dec"])
    counts = 10 ** (-0.4 * (np.asarray(stars["mag"]) - zero_point))
    light = render(x, y, counts, sigma, (size, size))
    slope = random.normal(0.0, 6.0, 2)
    ramp = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    light += SKY_LEVEL + slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
    variance = light.copy()  # one electron a count, no read-out noise: the variance is the expected light
    image = random.standard_normal((size, size), dtype=np.float32)
    image *= np.sqrt(variance)
    image += light
    mask = Mask(np.zeros((size, size), dtype=np.int32), bits={"BAD": 0, "SAT": 1, "CR": 3, "EDGE": 4})
    bad = np.zeros((size, size), dtype=bool)
    bad[:, int(random.integers(size // 4, 3 * size // 4))] = True
    mask.set_plane("BAD", bad)
    image[bad] = 0.0

    exposure = Exposure(
        image,
        mask=mask,
        variance=variance,
        wcs=wrong_wcs,
        photo_calib=PhotoCalib.from_zero_point(float(claimed), 0.1),
        psf=GaussianPsf(float(sigma)),
        visit_info=VisitInfo(
            visit=visit,
            date=f"2026-03-0{visit}T05:00:00",
            exposure_time=30.0,
            boresight_ra=CENTRE[0],
            boresight_dec=CENTRE[1],
            airmass=1.1 + 0.1 * visit,
            instrument="simulated",
        ),
        detector=ccd,
        filter=BAND,
        metadata=None,
    )
    return Simulated(visit, ccd, exposure, true_wcs, float(zero_point))


def render(x: Array, y: Array, counts: Array, sigma: float, shape: tuple[int, int]) -> Array:
    """Draw stars with a Gaussian PSF (it includes the pixels' response, as PSFEx models do), as float32.

    Parameters
    ----------
    x, y : array of float, shape (n,)
        Zero-based pixel positions; stars whose stamp misses the image are left out.
    counts : array of float, shape (n,)
        Total flux.
    sigma : float
        Of the Gaussian, pixels.
    shape : (int, int)
        ``(ny, nx)``.
    """
    ny, nx = shape
    reach = _STAMP - 1
    near = (x > -reach) & (x < nx + reach) & (y > -reach) & (y < ny + reach)
    x, y, counts = x[near], y[near], counts[near]
    steps = np.arange(-_STAMP, _STAMP + 1)
    column = np.rint(x).astype(np.int64)[:, None] + steps
    row = np.rint(y).astype(np.int64)[:, None] + steps

    def profile(pixel: Array, centre: Array) -> Array:
        away = (pixel - centre[:, None]) / sigma
        return np.asarray(np.exp(-0.5 * away**2) / (sigma * np.sqrt(2 * np.pi)))

    stamps = (counts[:, None] * profile(row, y))[:, :, None] * profile(column, x)[:, None, :]
    # A margin as wide as a stamp lets every stamp be added whole.
    wide = nx + 4 * _STAMP
    place = (row + 2 * _STAMP)[:, :, None] * wide + (column + 2 * _STAMP)[:, None, :]
    light = np.bincount(place.ravel(), weights=stamps.ravel(), minlength=(ny + 4 * _STAMP) * wide)
    inner = light.reshape(ny + 4 * _STAMP, wide)[2 * _STAMP : -2 * _STAMP, 2 * _STAMP : -2 * _STAMP]
    return inner.astype(np.float32)


def _true_wcs(visit: int, ccd: str, size: int) -> WCS:
    """Two CCDs side by side; the visits differ by a dither and a small rotation."""
    side = CCDS.index(ccd)
    gap = size / 2 + 20
    angle = np.radians(0.4 * (visit - VISITS[0]))
    scale = PIXEL_SCALE / 3600
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [CENTRE[0] + 9.0 / 3600 * (visit - VISITS[0]), CENTRE[1] - 6.0 / 3600 * (visit - VISITS[0])]
    wcs.wcs.crpix = [size / 2 + 0.5 + (gap if side == 0 else -gap), size / 2 + 0.5]
    wcs.wcs.cd = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.array_shape = (size, size)
    wcs.wcs.set()
    return wcs


def _disturbed(true_wcs: WCS, size: int, random: np.random.Generator) -> WCS:
    """A WCS with an error of about an arcsecond: shift, rotation, scale about the CCD's own centre."""
    wcs = true_wcs.deepcopy()
    direction = random.uniform(0, 2 * np.pi)
    shift = random.uniform(0.5, 1.1) / 3600
    rotation = random.choice([-1.0, 1.0]) * random.uniform(4e-4, 1.2e-3)
    stretch = random.normal(0.0, 5e-4)
    turn = (1 + stretch) * np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    old = true_wcs.wcs.cd
    wcs.wcs.cd = turn @ old
    to_centre = np.array([size / 2 + 0.5, size / 2 + 0.5]) - true_wcs.wcs.crpix
    # Turning about CRPIX moves the CCD's centre; take that back, so that the error stays arcseconds.
    offset = (old - turn @ old) @ to_centre + shift * np.array([np.cos(direction), np.sin(direction)])
    wcs.wcs.crval = true_wcs.wcs.crval + offset / np.array([np.cos(np.radians(true_wcs.wcs.crval[1])), 1.0])
    wcs.wcs.set()
    return wcs
