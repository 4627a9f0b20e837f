"""The footprint of an image: its outline on the sky from its WCS and its shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .arcs import Floats, dot, tangents, vectors
from .outlines import LARGEST, pack

_SAMPLES = 16
_DEEPEST = 4
_MOST_ROTATIONS = 64


def footprint(wcs: Any, shape: Sequence[int], origin: tuple[int, int] = (0, 0)) -> bytes | None:
    """Return the outline of an image.

    Its edges are followed to within a pixel, or a thousandth of its size if that is less, so that distorted images and
    projections with curved edges are enclosed by more than their corners. An image of more than 45 degrees from its
    centre, or with places that are not on the sky, is outlined in pieces; where the sky ends within the image (the rim
    of an all-sky map) to within about a twentieth of its size.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        With two celestial axes, whatever others it has; ICRS, FK5, FK4 or galactic.
    shape : sequence of int
        Of the array: (..., ny, nx).
    origin : (int, int)
        (y0, x0) of the array's first pixel in the pixel coordinates of the WCS.

    Returns
    -------
    bytes or None
        What `unpack` opens; None if the WCS does not lead to the sky, leads nowhere, or is of another frame.
    """
    from astropy.wcs import WcsError

    try:
        view = _View(wcs, shape)
        y0, x0 = origin
        box = (x0 - 0.5, x0 + view.nx - 0.5, y0 - 0.5, y0 + view.ny - 0.5)
        rings = list(_rings(view, box, 0))
        return pack(rings) if rings else None
    except (WcsError, ValueError, np.linalg.LinAlgError):
        # No place on the sky: a WCS of wavelengths, of the Sun, without axes, or with numbers that make no sense.
        return None


class _View:
    """What leads from pixels to the sky (ICRS)."""

    def __init__(self, wcs: Any, shape: Sequence[int]) -> None:
        if not wcs.has_celestial:
            raise ValueError("no celestial axes")
        lengths = [int(n) for n in reversed(shape)]
        axes = (wcs.wcs.lng, wcs.wcs.lat) if wcs.naxis > 2 else (0, 1)
        if max(axes) >= len(lengths) or min(lengths[axis] for axis in axes) < 1:
            raise ValueError("no pixels")
        lengths = [lengths[axis] for axis in axes]
        if wcs.naxis > 2:
            # Of a cube, the axes that lead to the sky: longitude comes first afterwards.
            wcs = wcs.celestial
        self._wcs = wcs
        self._lon, self._lat = wcs.wcs.lng, wcs.wcs.lat
        self._frame = _frame_of(wcs)
        self.nx, self.ny = lengths[0], lengths[1]

    def sky(self, x: Floats, y: Floats) -> Floats:
        """Return unit vectors; NaN where there is no sky."""
        world = self._wcs.all_pix2world(x, y, 0)
        lon, lat = world[self._lon], world[self._lat]
        if self._frame is None:
            return vectors(lon, lat)
        if self._frame.name == "fk4":
            # Its aberration makes it more than a rotation.
            return _by_astropy(self._frame, lon, lat)
        found: Floats = vectors(lon, lat) @ _rotation(self._frame).T
        return found


def _frame_of(wcs: Any) -> Any:
    """Return the frame of the celestial axes, None if it is ICRS."""
    from astropy.coordinates import Galactic
    from astropy.wcs.utils import wcs_to_celestial_frame

    axis = str(wcs.wcs.ctype[wcs.wcs.lng]).upper()[:4]
    if axis == "GLON":
        # Whatever RADESYS says, which astropy would believe.
        return Galactic()
    if axis != "RA--":
        raise ValueError(f"{axis} leads elsewhere")
    frame = wcs_to_celestial_frame(wcs)
    return None if frame.name == "icrs" else frame


def _by_astropy(frame: Any, lon: Floats, lat: Floats) -> Floats:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(lon * u.deg, lat * u.deg, frame=frame).icrs
    return vectors(sky.ra.deg, sky.dec.deg)


def _rotation(frame: Any) -> Floats:
    """Return the matrix that turns vectors of a frame into ICRS."""
    key = frame.name, str(getattr(frame, "equinox", ""))
    found = _rotations.get(key)
    if found is None:
        if len(_rotations) >= _MOST_ROTATIONS:
            _rotations.clear()
        found = _by_astropy(frame, np.array([0.0, 90.0, 0.0]), np.array([0.0, 0.0, 90.0])).T
        _rotations[key] = found
    return found


_rotations: dict[tuple[str, str], Floats] = {}


def _rings(view: _View, box: tuple[float, float, float, float], depth: int) -> Iterator[list[tuple[float, float]]]:
    """Outline a rectangle of pixels, in quarters if it is too large to be one ring or not all sky."""
    left, right, low, high = box
    x, y = _around(box)
    points = view.sky(x, y)
    there = np.isfinite(points).all(axis=-1)
    if depth and not there.any():
        # Of a map of the whole sky the outermost edges are beyond it, but not those of its quarters.
        return
    if depth < _DEEPEST and not (there.all() and _fits(points)) and right - left > 1.0 and high - low > 1.0:
        across, up = (left + right) / 2, (low + high) / 2
        for half_x in ((left, across), (across, right)):
            for half_y in ((low, up), (up, high)):
                yield from _rings(view, (*half_x, *half_y), depth + 1)
        return
    kept = _needed(points[there], np.hypot(right - left, high - low))
    if len(kept) >= 3 and _fits(kept):
        ra, dec = np.degrees(np.arctan2(kept[:, 1], kept[:, 0])), np.degrees(np.arcsin(np.clip(kept[:, 2], -1.0, 1.0)))
        yield list(zip(ra.tolist(), dec.tolist(), strict=True))


def _around(box: tuple[float, float, float, float]) -> tuple[Floats, Floats]:
    """Return the pixel coordinates of points along the edges, the corners among them."""
    left, right, low, high = box
    step = np.arange(_SAMPLES) / _SAMPLES
    flat = np.ones(_SAMPLES)
    x = np.concatenate([left + step * (right - left), right * flat, right - step * (right - left), left * flat])
    y = np.concatenate([low * flat, low + step * (high - low), high * flat, high - step * (high - low)])
    return x, y


def _middle(points: Floats) -> Floats:
    middle = points.min(axis=0) + points.max(axis=0)
    length = np.sqrt(dot(middle, middle))
    found: Floats = middle / length if length > 0.0 else middle
    return found


def _fits(points: Floats) -> bool:
    return bool(dot(points, _middle(points)).min() > np.cos(np.radians(LARGEST - 0.1)))


def _needed(points: Floats, pixels: float) -> Floats:
    """Return those of the points that a polygon needs to follow them closely enough (Douglas & Peucker 1973)."""
    centre = _middle(points)
    heights = dot(points, centre)
    if heights.min() <= 0.0:
        return points
    east, north = tangents(centre)
    flat = np.stack([dot(points, east) / heights, dot(points, north) / heights], axis=-1)
    spread = float(np.hypot(*np.ptp(flat, axis=0)))
    tolerance = min(spread / pixels, spread / 2000.0)
    kept = {0, len(flat) // 4, len(flat) // 2, 3 * len(flat) // 4}
    todo = list(zip(sorted(kept), [*sorted(kept)[1:], len(flat)], strict=True))
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        a, b = flat[first], flat[last % len(flat)]
        along = b - a
        length = float(np.hypot(*along))
        offsets = flat[first + 1 : last] - a
        if length > 0.0:
            away = np.abs(along[0] * offsets[:, 1] - along[1] * offsets[:, 0]) / length
        else:
            away = np.hypot(offsets[:, 0], offsets[:, 1])
        farthest = int(np.argmax(away))
        if away[farthest] > tolerance:
            middle = first + 1 + farthest
            kept.add(middle)
            todo += [(first, middle), (middle, last)]
    return points[sorted(kept)]
