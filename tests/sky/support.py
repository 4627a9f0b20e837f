"""An independent judge of overlaps: footprints as clouds of points, regions as tests of points."""

from __future__ import annotations

import math

import numpy as np

from bunter.sky import Box, Circle, Polygon, Region
from bunter.sky.outlines import pack


def unit(ra: float, dec: float) -> np.ndarray:
    a, d = math.radians(ra), math.radians(dec)
    return np.array([math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d)])


def place(point: np.ndarray) -> tuple[float, float]:
    x, y, z = point / np.linalg.norm(point)
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.asin(max(-1.0, min(1.0, z))))


def ring(ra: float, dec: float, width: float, height: float, turn: float) -> list[tuple[float, float]]:
    """A rectangle in the tangent plane at a place, turned."""
    centre = unit(ra, dec)
    east = np.array([-math.sin(math.radians(ra)), math.cos(math.radians(ra)), 0.0])
    north = np.cross(centre, east)
    points = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        u, v = x * math.tan(math.radians(width / 2)), y * math.tan(math.radians(height / 2))
        u, v = u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)
        points.append(place(centre + u * east + v * north))
    return points


def outline(*args: float) -> bytes:
    return pack([ring(*args)])


def cloud(corners: list[tuple[float, float]], steps: int = 24) -> tuple[np.ndarray, float]:
    """Points all over a quadrilateral, its edges included, and the largest distance (radians) between neighbours."""
    a, b, c, d = (unit(*corner) for corner in corners)
    s = np.linspace(0, 1, steps + 1)[:, None, None]
    t = np.linspace(0, 1, steps + 1)[None, :, None]
    points = (1 - s) * ((1 - t) * a + t * b) + s * ((1 - t) * d + t * c)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    spacing = max(
        np.linalg.norm(np.diff(points, axis=0), axis=-1).max(), np.linalg.norm(np.diff(points, axis=1), axis=-1).max()
    )
    return points.reshape(-1, 3), float(spacing)


def holds(region: Region, points: np.ndarray, margin: float) -> np.ndarray:
    """Whether points lie in a region that is larger by a margin (radians; smaller if it is negative)."""
    if isinstance(region, Circle):
        away = 2 * np.arcsin(np.clip(np.linalg.norm(points - unit(region.ra, region.dec), axis=-1) / 2, 0, 1))
        return away <= math.radians(region.radius) + margin
    if isinstance(region, Box):
        dec = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
        ra = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
        inside = (dec >= math.radians(region.dec0) - margin) & (dec <= math.radians(region.dec1) + margin)
        half = region.width / 2
        away = np.abs((ra - region.ra0 - half + 180.0) % 360.0 - 180.0)
        # A margin to the side covers more right ascension towards the poles; close to one, all of it.
        cosine = np.cos(np.abs(dec) + abs(margin))
        side = np.where(cosine > 0, np.degrees(margin) * 1.6 / np.maximum(cosine, 1e-9), 360.0 * np.sign(margin))
        return inside & (away <= half + side)
    assert isinstance(region, Polygon)
    corners = np.array([unit(*point) for point in region.points])
    # The angle that the edges go round each point: a full turn, or none.
    total = np.zeros(len(points))
    nearest = np.full(len(points), np.inf)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        to_a = a - points * (points @ a)[:, None]
        to_b = b - points * (points @ b)[:, None]
        total += np.arctan2((np.cross(to_a, to_b) * points).sum(axis=-1), (to_a * to_b).sum(axis=-1))
        along = a + np.linspace(0, 1, 200)[:, None] * (b - a)
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        nearest = np.minimum(nearest, np.linalg.norm(points[:, None] - along[None], axis=-1).min(axis=1))
    # Of a point on the far side the turn is a full one too.
    middle = corners.min(axis=0) + corners.max(axis=0)
    inside = (np.abs(total) > math.pi) & (points @ middle > 0)
    return inside & (nearest > -margin) if margin < 0 else inside | (nearest <= margin)
