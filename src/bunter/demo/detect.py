"""Detect and measure stars: background, noise, matched filter, PSF fit and aperture sums; numpy and scipy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..exposure import Exposure, Psf, SourceCatalog

Array = NDArray[Any]

_BOX = 128
_HALF = 8
_APERTURE = 3.0
_FWHM = 2 * np.sqrt(2 * np.log(2))


def background(image: Array, bad: Array) -> tuple[Array, float]:
    """Return a smooth background, shape of `image`, and the noise of one pixel.

    Medians of boxes of 128 pixels, clipped at 3 sigma, joined by a bilinear surface; the noise is 1.4826 times
    the median absolute deviation of the rest.
    """
    from scipy.ndimage import map_coordinates

    ny, nx = image.shape
    rows = np.linspace(0, ny, max(2, ny // _BOX) + 1).astype(int)
    columns = np.linspace(0, nx, max(2, nx // _BOX) + 1).astype(int)
    level = np.empty((len(rows) - 1, len(columns) - 1))
    noise = np.empty_like(level)
    for i in range(level.shape[0]):
        for j in range(level.shape[1]):
            box = (slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1]))
            # Every fourth pixel tells the median as well, in a quarter of the time.
            values = image[box][::2, ::2][~bad[box][::2, ::2]]
            if len(values) == 0:
                level[i, j], noise[i, j] = np.nan, np.nan
                continue
            for _ in range(3):
                middle = np.median(values)
                spread = 1.4826 * np.median(np.abs(values - middle))
                values = values[np.abs(values - middle) <= 3 * spread]
            level[i, j], noise[i, j] = middle, spread
    level[np.isnan(level)] = np.nanmedian(level)
    y = np.interp(np.arange(ny), (rows[:-1] + rows[1:] - 1) / 2, np.arange(len(rows) - 1))
    x = np.interp(np.arange(nx), (columns[:-1] + columns[1:] - 1) / 2, np.arange(len(columns) - 1))
    # Bilinear: first along y for the few columns of boxes, then along x.
    tall = map_coordinates(level, np.meshgrid(y, np.arange(level.shape[1]), indexing="ij"), order=1)
    left = np.minimum(x.astype(int), level.shape[1] - 2)
    share = (x - left).astype(np.float32)
    tall = tall.astype(np.float32)
    return tall[:, left] * (1 - share) + tall[:, left + 1] * share, float(np.nanmedian(noise))


def detect(exposure: Exposure, threshold: float = 8.0) -> SourceCatalog:
    """Find the stars of an exposure and measure them.

    Parameters
    ----------
    exposure : bunter.Exposure
        Needs a variance and a PSF; masked pixels (any of BAD, SAT, CR) are left out.
    threshold : float
        Of the image filtered with the PSF, in units of its noise.

    Returns
    -------
    bunter.SourceCatalog
        ``id``; ``x``, ``y`` and their errors (zero-based pixels); ``flux`` by PSF fit and ``aperture_flux``
        within 3 sigma of the PSF, with errors (counts); ``blended`` where a neighbour is near. The WCS and the
        calibration of the exposure are attached.

    Raises
    ------
    ValueError
        If the exposure has no variance or no PSF.
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    from ..exposure import GaussianPsf, SourceCatalog

    if exposure.variance is None or exposure.psf is None:
        raise ValueError("to detect sources an exposure needs a variance and a PSF")
    image = exposure.image
    bad = ~np.isfinite(image) | ~np.isfinite(exposure.variance)
    if exposure.mask is not None:
        bad |= exposure.mask.any_of([name for name in ("BAD", "SAT", "CR") if name in exposure.mask.bits])
    middle = image.shape[1] / 2, image.shape[0] / 2
    sigma = float(exposure.psf.fwhm(*middle)) / _FWHM
    sky, noise = background(image, bad)
    flat = np.where(bad, np.float32(0), image - sky).astype(np.float32)
    smooth = gaussian_filter(flat, sigma, truncate=4.0)
    # White noise through a Gaussian filter shrinks by 1 / (2 sigma sqrt(pi)).
    limit = threshold * noise / (2 * sigma * np.sqrt(np.pi))
    peaks = (smooth > limit) & (maximum_filter(smooth, size=2 * int(np.ceil(1.5 * sigma)) + 1) == smooth)
    edge = _HALF + 2
    y, x = np.nonzero(peaks[edge:-edge, edge:-edge])
    weight = np.where(bad, np.float32(0), 1 / np.where(bad, np.float32(1), exposure.variance))
    columns = _measure(flat, weight, x + edge, y + edge, sigma)
    if not isinstance(exposure.psf, GaussianPsf):
        columns["flux"], columns["flux_error"] = _psf_fluxes(flat, weight, columns["x"], columns["y"], exposure.psf)
    catalog = SourceCatalog({"id": np.arange(len(columns["x"])), **columns})
    catalog.wcs = exposure.wcs
    catalog.photo_calib = exposure.photo_calib
    return catalog


def _measure(flat: Array, weight: Array, column: Array, row: Array, sigma: float) -> dict[str, Array]:
    """Fit flux, position and a level to every source at once, by Gauss-Newton on its stamp."""
    steps = np.arange(-_HALF, _HALF + 1)
    rows, columns = row[:, None] + steps, column[:, None] + steps
    stamps = flat[rows[:, :, None], columns[:, None, :]].astype(float).reshape(len(row), steps.size**2)
    weights = weight[rows[:, :, None], columns[:, None, :]].astype(float).reshape(len(row), steps.size**2)
    dy, dx = (grid.ravel().astype(float) for grid in np.meshgrid(steps, steps, indexing="ij"))
    # Pixels far out say nothing of a star but a lot of its neighbours.
    weights = weights * (dx**2 + dy**2 <= _HALF**2)
    x, y = np.zeros(len(row)), np.zeros(len(row))
    parameters = np.zeros((len(row), 4))
    covariance = np.zeros((len(row), 4, 4))
    for _ in range(6):
        away_x, away_y = dx - x[:, None], dy - y[:, None]
        profile = np.exp(-(away_x**2 + away_y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        flux = np.where(parameters[:, :1] > 0, parameters[:, :1], 1.0)
        slope = flux * profile / sigma**2
        design = np.stack([profile, slope * away_x, slope * away_y, np.ones_like(profile)], axis=2)
        normal = np.einsum("nip,ni,niq->npq", design, weights, design, optimize=True)
        normal += np.eye(4) * 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None]
        covariance = np.linalg.inv(normal)
        moved = np.einsum("npq,niq,ni->np", covariance, design, weights * stamps, optimize=True)
        first = parameters[:, 0] <= 0
        parameters = moved
        # The first round has no flux to turn a gradient into a shift with.
        move = np.where(first[:, None], moved[:, 1:3] / np.maximum(moved[:, :1], 1.0), moved[:, 1:3])
        x = np.clip(x + np.clip(move[:, 0], -1, 1), -3, 3)
        y = np.clip(y + np.clip(move[:, 1], -1, 1), -3, 3)
    errors = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
    reach = np.hypot(dx - x[:, None], dy - y[:, None])
    inside = np.clip(_APERTURE * sigma + 0.5 - reach, 0, 1)
    variance = np.where(weights > 0, 1 / np.where(weights > 0, weights, 1), 0)
    aperture = ((stamps - parameters[:, 3:]) * inside).sum(axis=1)
    aperture_error = np.sqrt((variance * inside**2).sum(axis=1))
    good = (parameters[:, 0] > 5 * errors[:, 0]) & (np.abs(x) < 2) & (np.abs(y) < 2)
    found_x, found_y = (column + x)[good], (row + y)[good]
    return {
        "x": found_x,
        "y": found_y,
        "x_error": errors[good, 1],
        "y_error": errors[good, 2],
        "flux": parameters[good, 0],
        "flux_error": errors[good, 0],
        "aperture_flux": aperture[good],
        "aperture_flux_error": aperture_error[good],
        "blended": _blended(found_x, found_y, 2.5 * _FWHM * sigma),
    }


def _psf_fluxes(flat: Array, weight: Array, x: Array, y: Array, psf: Psf) -> tuple[Array, Array]:
    """Fit flux and level with the PSF's own image at the positions found: real PSFs have wings that no Gaussian has."""
    from scipy.ndimage import shift

    flux, error = np.zeros(len(x)), np.zeros(len(x))
    for number, (column, row) in enumerate(zip(x, y, strict=True)):
        near_x, near_y = round(column), round(row)
        model = shift(psf.image(column, row), (row - near_y, column - near_x), order=3)
        reach_y, reach_x = (min(_HALF, side // 2) for side in model.shape)
        middle_y, middle_x = (side // 2 for side in model.shape)
        rows, columns = np.arange(-reach_y, reach_y + 1), np.arange(-reach_x, reach_x + 1)
        # Sources are kept two pixels further from the edge than a stamp reaches, the most that a fit moves them.
        here = np.ix_(near_y + rows, near_x + columns)
        profile = model[np.ix_(middle_y + rows, middle_x + columns)].ravel()
        design = np.column_stack([profile, np.ones_like(profile)])
        weighted = design * weight[here].ravel()[:, None]
        normal = weighted.T @ design
        covariance = np.linalg.pinv(normal, hermitian=True)
        flux[number] = (covariance @ (weighted.T @ flat[here].ravel()))[0]
        error[number] = np.sqrt(max(covariance[0, 0], 0.0))
    return flux, error


def _blended(x: Array, y: Array, radius: float) -> Array:
    from scipy.spatial import cKDTree

    if len(x) < 2:
        return np.zeros(len(x), dtype=bool)
    distance, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), k=2)
    return np.asarray(distance[:, 1] < radius)
