"""A small joint fit: WCS corrections and zero points of many CCDs at once, from stars that they share.

Every star has one true position and magnitude, every CCD an affine correction of its WCS and one of its zero point;
a few reference stars give the absolute frame. The stars are eliminated from the normal equations, so that only the
CCDs' parameters are solved for (the method of jointcal and of SCAMP; Bertin 2006).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..exposure import PhotoCalib

Array = NDArray[Any]
Key = TypeVar("Key", bound=Hashable)

_SEARCH_RADIUS = 3.0
_FIRST_RADIUS = 0.8
_LAST_RADIUS = 0.3
_ROUNDS = 4
_CLIP = 5.0
_ITERATIONS = 12
_LEAST_STARS = 6


@dataclass(frozen=True, eq=False)
class JointFit:
    """What a joint fit found.

    Attributes
    ----------
    wcs, photo_calib : dict
        The new calibration of every CCD.
    stars : int
        Stars seen at least twice, or once and in the reference.
    measurements : int
        Measurements of them that the last round used.
    reference_stars : int
        How many of them are in the reference catalogue.
    """

    wcs: dict[Any, WCS] = field(default_factory=dict)
    photo_calib: dict[Any, PhotoCalib] = field(default_factory=dict)
    stars: int = 0
    measurements: int = 0
    reference_stars: int = 0


def joint_fit(catalogs: Mapping[Any, Table], reference: Table, signal_to_noise: float = 15.0) -> JointFit:
    """Fit WCS corrections and zero points of several CCDs together.

    Parameters
    ----------
    catalogs : mapping of any key to bunter.SourceCatalog
        Sources of every CCD, as `bunter.demo.detect.detect` gives them, their WCS and calibration attached.
    reference : astropy.table.Table
        ``ra``, ``dec`` (degrees), ``mag``, ``position_error`` (arcsec, each axis), ``mag_error``.
    signal_to_noise : float
        Fainter and blended sources are left out.

    Returns
    -------
    JointFit

    Raises
    ------
    ValueError
        If a CCD shares too few stars with the others and the reference.
    """
    from ..exposure import PhotoCalib

    keys = list(catalogs)
    chosen = [_usable(catalogs[key], signal_to_noise) for key in keys]
    wcs = [catalogs[key].wcs for key in keys]
    zero_points = np.array([catalogs[key].photo_calib.zero_point for key in keys])
    plane = _Plane(float(np.median(reference["ra"])), float(np.median(reference["dec"])))
    known = np.column_stack(plane.project(reference["ra"], reference["dec"]))
    wcs = [_shifted_to(w, found, known, plane) for w, found in zip(wcs, chosen, strict=True)]

    ccd = np.concatenate([np.full(len(found), number) for number, found in enumerate(chosen)])
    flux = np.concatenate([np.asarray(found["flux"]) for found in chosen])
    flux_error = np.concatenate([np.asarray(found["flux_error"]) for found in chosen])
    magnitude, magnitude_error = -2.5 * np.log10(flux), 1.0857 * flux_error / flux
    # 2 mas and 2 mmag keep a few very bright stars from ruling the fit.
    position_variance = np.concatenate([_position_variance(f, w) for f, w in zip(chosen, wcs, strict=True)]) + 0.002**2
    magnitude_variance = magnitude_error**2 + 0.002**2
    basis = _affine_basis(chosen)
    each = (ccd[:, None] == np.arange(len(keys))).astype(float)
    for turn in range(_ROUNDS):
        position = np.concatenate([plane.of(found, w) for found, w in zip(chosen, wcs, strict=True)])
        star = _associate(position, ccd, known, _FIRST_RADIUS if turn == 0 else _LAST_RADIUS)
        place = _solve(position, position_variance, star, basis, known, np.asarray(reference["position_error"]) ** 2)
        _check_enough(keys, ccd, place.used)
        for number, found in enumerate(chosen):
            wcs[number] = _corrected(wcs[number], place.values[3 * number : 3 * number + 3], found)
        light = _solve(
            (magnitude + zero_points[ccd])[:, None], magnitude_variance, star, each,
            np.asarray(reference["mag"])[:, None], np.asarray(reference["mag_error"]) ** 2,
        )  # fmt: skip
        zero_points = zero_points + light.values[:, 0]
    errors = np.sqrt(np.diag(light.covariance))
    seen = np.unique(star[place.used])
    return JointFit(
        wcs=dict(zip(keys, wcs, strict=True)),
        photo_calib={
            key: PhotoCalib.from_zero_point(float(zero_point), float(error))
            for key, zero_point, error in zip(keys, zero_points, errors, strict=True)
        },
        stars=len(seen),
        measurements=int(place.used.sum()),
        reference_stars=int((seen < len(reference)).sum()),
    )


@dataclass(frozen=True)
class Scatter:
    """How far measurements of the same stars lie apart.

    Attributes
    ----------
    arcsec : float
        Root mean square on one axis.
    mag : float
        Root mean square.
    stars : int
        Pairs compared.
    """

    arcsec: float
    mag: float
    stars: int

    def __str__(self) -> str:
        mag = f", {self.mag:.4f} mag" if self.mag == self.mag else ""
        return f"{self.arcsec:.4f} arcsec{mag} ({self.stars} stars)"


def scatter(*lists: tuple[Table, Table], radius: float = _SEARCH_RADIUS, magnitudes: bool = True) -> Scatter:
    """Compare pairs of lists of the same stars (``ra``, ``dec`` in degrees, ``mag``); NaN where none are shared.

    Pairs beyond four times the median separation, and magnitudes beyond 0.6 of the median difference, are left out:
    they are stars with a neighbour in their wings. Without `magnitudes` (lists in two bands) only positions count.
    """
    apart, difference = [np.zeros((0, 2))], [np.zeros(0)]
    for one, other in lists:
        i, j, away = _pairs(one, other, radius)
        unequal = np.asarray(one["mag"])[i] - np.asarray(other["mag"])[j]
        distance = np.hypot(*away.T)
        if len(i):
            plain = distance <= 4 * np.median(distance)
            if magnitudes:
                plain &= np.abs(unequal - np.median(unequal)) <= 0.6
            apart.append(away[plain])
            difference.append(unequal[plain])
    offsets, unequal = np.concatenate(apart), np.concatenate(difference)
    if len(offsets) == 0:
        return Scatter(float("nan"), float("nan"), 0)
    return Scatter(
        arcsec=float(np.sqrt(np.mean(offsets**2))),
        mag=float(np.sqrt(np.mean(unequal**2))) if magnitudes else float("nan"),
        stars=len(offsets),
    )


def on_sky(catalog: Table, wcs: WCS, photo_calib: PhotoCalib, signal_to_noise: float = 50.0) -> Table:
    """Return ``x``, ``y``, ``ra``, ``dec``, ``mag`` of the bright, unblended sources of a catalog."""
    found = _usable(catalog, signal_to_noise)
    ra, dec = wcs.pixel_to_world_values(found["x"], found["y"])
    return Table(
        {
            "x": np.asarray(found["x"]),
            "y": np.asarray(found["y"]),
            "ra": ra,
            "dec": dec,
            "mag": photo_calib.zero_point - 2.5 * np.log10(np.asarray(found["flux"])),
        }
    )


def residuals(one: Table, other: Table, radius: float = _SEARCH_RADIUS) -> Table:
    """Return shared stars as `one` has them (``x``, ``y``, ``ra``, ``dec``, ``mag``) and ``east``, ``north``.

    The last two are `one` minus `other`, arcsec.
    """
    i, _, apart = _pairs(one, other, radius)
    return Table(
        {**{name: one[name][i] for name in ("x", "y", "ra", "dec", "mag")}, "east": apart[:, 0], "north": apart[:, 1]}
    )


def _pairs(one: Table, other: Table, radius: float) -> tuple[Array, Array, Array]:
    plane = _Plane(float(np.median(one["ra"])), float(np.median(one["dec"]))) if len(one) else _Plane(0.0, 0.0)
    a, b = (np.column_stack(plane.project(t["ra"], t["dec"])) for t in (one, other))
    i, j = _mutual(a, b, radius)
    return i, j, a[i] - b[j]


class _Plane:
    """The tangent plane at one point of the sky, in arcseconds east and north."""

    def __init__(self, ra: float, dec: float) -> None:
        self.ra, self.dec = np.radians(ra), np.radians(dec)

    def project(self, ra: Any, dec: Any) -> tuple[Array, Array]:
        """Gnomonic projection (Calabretta & Greisen 2002, section 5.1.3), degrees to arcseconds."""
        a, d = np.radians(np.asarray(ra, dtype=float)) - self.ra, np.radians(np.asarray(dec, dtype=float))
        depth = np.sin(d) * np.sin(self.dec) + np.cos(d) * np.cos(self.dec) * np.cos(a)
        east = np.cos(d) * np.sin(a) / depth
        north = (np.sin(d) * np.cos(self.dec) - np.cos(d) * np.sin(self.dec) * np.cos(a)) / depth
        return np.degrees(east) * 3600, np.degrees(north) * 3600

    def of(self, found: Table, wcs: WCS) -> Array:
        """Return where the sources of a catalog are, shape (n, 2)."""
        return np.column_stack(self.project(*wcs.pixel_to_world_values(found["x"], found["y"])))

    def deproject(self, east: float, north: float) -> tuple[float, float]:
        x, y = np.radians(east / 3600), np.radians(north / 3600)
        down = np.cos(self.dec) - y * np.sin(self.dec)
        ra = self.ra + np.arctan2(x, down)
        dec = np.arctan2(np.sin(self.dec) + y * np.cos(self.dec), np.hypot(x, down))
        return float(np.degrees(ra) % 360.0), float(np.degrees(dec))


@dataclass(frozen=True, eq=False)
class _Solution:
    values: Array
    covariance: Array
    used: Array


def _solve(
    value: Array, variance: Array, star: Array, basis: Array, reference: Array, reference_variance: Array
) -> _Solution:
    """Least squares for the CCDs' parameters and the stars, the stars eliminated (Schur complement).

    ``value[i] + basis[i] @ p = s[star[i]]`` for every measurement i, ``s[j] = reference[j]`` for the first stars;
    blends and mismatches lose their weight by iteration (Cauchy's weights, the scale from the median residual).
    """
    count = max(int(star.max()) + 1, len(reference))
    parameters = np.zeros((basis.shape[1], value.shape[1]))
    doubt, reference_doubt = np.ones(len(value)), np.ones(len(reference))
    # A star that was seen once, and is no reference star, says nothing.
    seen = np.bincount(star, minlength=count).astype(np.int64)
    seen[: len(reference)] += np.int64(1)
    tells = seen[star] > 1
    for _ in range(_ITERATIONS):
        weight = np.where(tells, 1 / (variance * doubt), 0.0)
        reference_weight = 1 / (reference_variance * reference_doubt)
        total = np.zeros(count)
        np.add.at(total, star, weight)
        total[: len(reference)] += reference_weight
        inverse = np.where(total > 0, 1 / np.where(total > 0, total, 1), 0)
        per_star = np.zeros((count, basis.shape[1]))
        np.add.at(per_star, star, weight[:, None] * basis)
        summed = np.zeros((count, value.shape[1]))
        np.add.at(summed, star, weight[:, None] * value)
        summed[: len(reference)] += reference * reference_weight[:, None]
        normal = basis.T @ (weight[:, None] * basis) - per_star.T @ (inverse[:, None] * per_star)
        right = per_star.T @ (inverse[:, None] * summed) - basis.T @ (weight[:, None] * value)
        covariance = np.linalg.pinv(normal, hermitian=True)
        parameters = covariance @ right
        place = inverse[:, None] * (summed + per_star @ parameters)
        left = np.abs((value + basis @ parameters - place[star]) / np.sqrt(variance)[:, None]).max(axis=1)
        gap = np.abs((reference - place[: len(reference)]) / np.sqrt(reference_variance)[:, None]).max(axis=1)
        scale = 3 * max(1.0, 1.4826 * float(np.median(left[tells])) if tells.any() else 1.0)
        doubt, reference_doubt = 1 + (left / scale) ** 2, 1 + (gap / scale) ** 2
    return _Solution(parameters, covariance, tells & (left < _CLIP))


def _usable(catalog: Table, signal_to_noise: float) -> Table:
    bright = np.asarray(catalog["flux"]) > signal_to_noise * np.asarray(catalog["flux_error"])
    return catalog[bright & ~np.asarray(catalog["blended"])]


def _position_variance(found: Table, wcs: WCS) -> Array:
    """Square arcseconds on one axis, the mean of both."""
    area = 3600**2 * np.abs(np.linalg.det(wcs.pixel_scale_matrix))
    return np.asarray(area * (np.asarray(found["x_error"]) ** 2 + np.asarray(found["y_error"]) ** 2) / 2)


def _centre(found: Table) -> tuple[Array, float]:
    """The middle of the sources and their reach, so that the affine terms are of order one."""
    xy = np.column_stack([np.asarray(found["x"]), np.asarray(found["y"])])
    middle = xy.mean(axis=0)
    return middle, float(np.abs(xy - middle).max())


def _affine_basis(chosen: list[Table]) -> Array:
    basis = np.zeros((sum(len(found) for found in chosen), 3 * len(chosen)))
    start = 0
    for number, found in enumerate(chosen):
        middle, reach = _centre(found)
        rows = slice(start, start + len(found))
        basis[rows, 3 * number] = 1.0
        basis[rows, 3 * number + 1] = (np.asarray(found["x"]) - middle[0]) / reach
        basis[rows, 3 * number + 2] = (np.asarray(found["y"]) - middle[1]) / reach
        start += len(found)
    return basis


def _corrected(wcs: WCS, terms: Array, found: Table) -> WCS:
    """Return a WCS with an affine correction put into its CRVAL and its matrix.

    `terms` in arcsec, shape (3, 2): constant, along x, along y; columns east and north.
    """
    middle, reach = _centre(found)
    slope = terms[1:].T / reach / 3600
    constant = terms[0] + 3600 * slope @ (np.asarray(wcs.wcs.crpix) - 1 - middle)
    new = wcs.deepcopy()
    if wcs.wcs.has_cd():
        new.wcs.cd = wcs.pixel_scale_matrix + slope
    else:
        new.wcs.pc, new.wcs.cdelt = wcs.pixel_scale_matrix + slope, [1.0, 1.0]
    new.wcs.crval = _Plane(*wcs.wcs.crval).deproject(*constant)
    new.wcs.set()
    return new


def _shifted_to(wcs: WCS, found: Table, known: Array, plane: _Plane) -> WCS:
    """A first shift onto the reference: the one that most pairs within 3 arcsec agree on."""
    from scipy.spatial import cKDTree

    here = plane.of(found, wcs)
    near = cKDTree(here).query_ball_point(known, _SEARCH_RADIUS)
    shifts = np.concatenate([known[j] - here[i] for j, i in enumerate(near) if i] or [np.zeros((0, 2))])
    if len(shifts) == 0:
        return wcs
    neighbours = cKDTree(shifts).query_ball_point(shifts, _FIRST_RADIUS / 2)
    agreeing = shifts[max(neighbours, key=len)]
    return _corrected(wcs, np.vstack([np.median(agreeing, axis=0), np.zeros((2, 2))]), found)


def _mutual(a: Array, b: Array, radius: float) -> tuple[Array, Array]:
    """Indices of points of `a` and `b` that are each other's nearest, within `radius`."""
    from scipy.spatial import cKDTree

    if len(a) == 0 or len(b) == 0:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    distance, there = cKDTree(b).query(a, distance_upper_bound=radius)
    _, back = cKDTree(a).query(b)
    near = np.isfinite(distance)
    i = np.nonzero(near)[0]
    i = i[back[there[i]] == i]
    return i, there[i]


def _associate(position: Array, ccd: Array, reference: Array, radius: float) -> Array:
    """Number the star of every measurement; the reference stars come first."""
    stars = reference.copy()
    star = np.full(len(position), -1)
    for number in np.unique(ccd):
        mine = np.nonzero(ccd == number)[0]
        i, j = _mutual(position[mine], stars, radius)
        star[mine[i]] = j
        fresh = mine[star[mine] < 0]
        star[fresh] = len(stars) + np.arange(len(fresh))
        stars = np.concatenate([stars, position[fresh]])
    return star


def _check_enough(keys: list[Any], ccd: Array, used: Array) -> None:
    for number, key in enumerate(keys):
        count = int((used & (ccd == number)).sum())
        if count < _LEAST_STARS:
            raise ValueError(
                f"{key}: only {count} of its stars are seen by another CCD or in the reference; a fit needs "
                f"{_LEAST_STARS}. Are the fields the same, and is the first WCS right to {_SEARCH_RADIUS:g} arcsec?"
            )
