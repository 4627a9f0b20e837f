"""Points, great circles and parallels on the unit sphere, many at a time.

All arrays of vectors have x, y, z in their last axis; angles are radians. An arc is shorter than half a turn.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


def vectors(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Return unit vectors, shape (..., 3), of places in degrees."""
    a, d = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def dot(a: Floats, b: Floats) -> Floats:
    """Return scalar products over the last axis."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def cross(a: Floats, b: Floats) -> Floats:
    """Return vector products over the last axis; `numpy.cross` takes three times as long for a few."""
    return np.stack(
        [
            a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
            a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
            a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0],
        ],
        axis=-1,
    )


def tangents(centre: Floats) -> tuple[Floats, Floats]:
    """Return two directions at right angles to each other and to a unit vector."""
    axis = np.zeros(3)
    axis[int(np.argmin(np.abs(centre)))] = 1.0
    one = cross(centre, axis)
    one = one / np.sqrt(dot(one, one))
    return one, cross(centre, one)


def angle(a: Floats, b: Floats) -> Floats:
    """Return angles between unit vectors, accurate for small ones too (Kahan: by chords)."""
    difference, total = a - b, a + b
    found: Floats = 2.0 * np.arctan2(np.sqrt(dot(difference, difference)), np.sqrt(dot(total, total)))
    return found


def to_arcs(points: Floats, a: Floats, b: Floats) -> Floats:
    """Return the distances of points from the nearest points of the arcs from a to b."""
    normal = cross(a, b)
    length = np.sqrt(dot(normal, normal))
    # The foot of the perpendicular lies between the ends?
    beside = (dot(cross(normal, a), points) > 0.0) & (dot(cross(b, normal), points) > 0.0) & (length > 0.0)
    height = np.abs(dot(normal, points)) / np.where(length > 0.0, length, 1.0)
    perpendicular = np.arcsin(np.minimum(height, 1.0))
    return np.where(beside, perpendicular, np.minimum(angle(points, a), angle(points, b)))


def crossing(a: Floats, b: Floats, c: Floats, d: Floats) -> Bools:
    """Tell whether the arcs from a to b and from c to d cross, each strictly inside of the other's ends."""
    ab, cd = cross(a, b), cross(c, d)
    of_c, of_d, of_a, of_b = dot(ab, c), dot(ab, d), dot(cd, a), dot(cd, b)
    # The last product tells a crossing from one of the antipodal arc.
    found: Bools = (of_c * of_d < 0.0) & (of_a * of_b < 0.0) & (of_c * of_b > 0.0)
    return found


def in_rings(x: Floats, y: Floats, px: Floats, py: Floats) -> Bools:
    """Tell whether points of a plane lie in polygons, by counting the edges to the right of them.

    Parameters
    ----------
    x, y : numpy.ndarray
        Vertices, shape (..., V).
    px, py : numpy.ndarray
        Points, shape (...).
    """
    px, py = px[..., np.newaxis], py[..., np.newaxis]
    next_x, next_y = np.roll(x, -1, axis=-1), np.roll(y, -1, axis=-1)
    rise = next_y - y
    across = (y > py) != (next_y > py)
    at = x + (py - y) * (next_x - x) / np.where(across, rise, 1.0)
    found: Bools = (np.count_nonzero(across & (px < at), axis=-1) & 1).astype(bool)
    return found


def on_parallels(a: Floats, b: Floats, height: Floats) -> tuple[Floats, Bools]:
    """Return where arcs meet parallels.

    Parameters
    ----------
    a, b : numpy.ndarray
        Ends of the arcs, shape (..., 3).
    height : numpy.ndarray
        Sine of the declination of the parallels, shape (...).

    Returns
    -------
    points : numpy.ndarray
        Shape (..., 2, 3): the two points in which the great circle meets the parallel.
    valid : numpy.ndarray
        Shape (..., 2): whether each exists and lies on the arc.
    """
    length = angle(a, b)
    along = b - a * dot(a, b)[..., np.newaxis]
    norm = np.sqrt(dot(along, along))
    along = along / np.where(norm > 0.0, norm, 1.0)[..., np.newaxis]
    # z(t) = a_z cos t + along_z sin t = top cos(t - peak)
    top = np.hypot(a[..., 2], along[..., 2])
    peak = np.arctan2(along[..., 2], a[..., 2])
    ratio = height / np.where(top > 0.0, top, 1.0)
    exists = (np.abs(ratio) <= 1.0) & (top > 0.0) & (norm > 0.0)
    half = np.arccos(np.clip(ratio, -1.0, 1.0))
    t = np.stack([peak - half, peak + half], axis=-1) % (2.0 * np.pi)
    valid = exists[..., np.newaxis] & (t <= length[..., np.newaxis])
    points = a[..., np.newaxis, :] * np.cos(t)[..., np.newaxis] + along[..., np.newaxis, :] * np.sin(t)[..., np.newaxis]
    return points, valid
