"""Packed outlines opened many at a time, as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..values import dataclass
from .arcs import Bools, Floats, angle, dot, in_rings
from .outlines import HEAD, rings_of


@dataclass(slots=True)
class Rings:
    """N rings of V vertices each.

    Attributes
    ----------
    owner : numpy.ndarray
        Shape (N,): which outline each belongs to.
    centre, east, north : numpy.ndarray
        Shape (N, 3): the tangent planes.
    x, y : numpy.ndarray
        Shape (N, V): vertices in the tangent planes.
    slack : numpy.ndarray
        Shape (N,): radians by which vertices may be off, since they are rounded.
    """

    owner: npt.NDArray[np.int64]
    centre: Floats
    east: Floats
    north: Floats
    x: Floats
    y: Floats
    slack: Floats

    def take(self, kept: Bools) -> Rings:
        """Return some of them."""
        if kept.all():
            return self
        return Rings(*(getattr(self, name)[kept] for name in Rings.__slots__))

    def near(self, centre: Floats, radius: float) -> Rings:
        """Return those that may overlap a circle (centre: unit vector, radius: radians)."""
        own = np.arctan(np.sqrt((self.x**2 + self.y**2).max(axis=1)))
        return self.take(angle(self.centre, centre) <= radius + own + self.slack)

    def vertices(self) -> Floats:
        """Return unit vectors, shape (N, V, 3)."""
        found = (
            self.centre[:, np.newaxis, :]
            + self.x[..., np.newaxis] * self.east[:, np.newaxis, :]
            + self.y[..., np.newaxis] * self.north[:, np.newaxis, :]
        )
        return found / np.sqrt(dot(found, found))[..., np.newaxis]

    def contain(self, point: Floats) -> Bools:
        """Tell which rings a point (a unit vector) lies in, shape (N,)."""
        height = dot(self.centre, point)
        ahead = height > 0.0
        height = np.where(ahead, height, 1.0)
        return ahead & in_rings(self.x, self.y, dot(self.east, point) / height, dot(self.north, point) / height)


def opened(outlines: Sequence[bytes]) -> Iterator[Rings]:
    """Open outlines, sorted by their numbers of vertices.

    Raises
    ------
    IntegrityError
        If one of them is no outline.
    """
    rings: dict[int, tuple[list[bytes], list[int]]] = {}
    for number, data in enumerate(outlines):
        for ring in (data,) if data and len(data) == HEAD + 4 * data[0] else rings_of(data):
            packed, owners = rings.setdefault(ring[0], ([], []))
            packed.append(ring)
            owners.append(number)
    for count, (packed, owners) in rings.items():
        yield _rings(count, b"".join(packed), owners)


def _rings(count: int, packed: bytes, owners: list[int]) -> Rings:
    layout = np.dtype(
        [("count", "u1"), ("scale", "u1"), ("turn", "<u4"), ("tilt", "<i4"), ("places", "<i2", (count, 2))]
    )
    rows = np.frombuffer(packed, layout)
    unit = np.ldexp(1.0, -rows["scale"].astype(np.int32))
    a, d = rows["turn"] * (math.tau / 2.0**32), rows["tilt"] * (math.pi / 2 / (2.0**31 - 1))
    cos_a, sin_a, cos_d, sin_d = np.cos(a), np.sin(a), np.cos(d), np.sin(d)
    places = rows["places"] * unit[:, np.newaxis, np.newaxis]
    return Rings(
        np.array(owners, np.int64),
        np.stack([cos_d * cos_a, cos_d * sin_a, sin_d], axis=-1),
        np.stack([-sin_a, cos_a, np.zeros_like(a)], axis=-1),
        np.stack([-sin_d * cos_a, -sin_d * sin_a, cos_d], axis=-1),
        places[..., 0],
        places[..., 1],
        unit,
    )
