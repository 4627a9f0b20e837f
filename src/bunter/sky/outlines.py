"""Footprints as bytes: what the registry keeps of where a dataset lies.

An outline is one or several *rings*: polygons whose edges are great circles, each within 45 degrees of its centre. A
ring is packed as its number of vertices (1 byte), a scale s (1), its centre (right ascension as 2**-32 of a turn,
declination as 2**-31 of a right angle; 4 bytes each) and, for each vertex, its place in the tangent plane of the centre
(towards east and north, in units of 2**-s radians; 2 bytes each). s is as large as 16 bits allow, so that a vertex is
off by at most 1/23,000 of the largest offset: 0.03 arcsec for a CCD of 0.3 degrees. In that (gnomonic) plane great
circles are straight lines. A rectangle takes 26 bytes.

Nothing here needs numpy, since it is on the way of every put.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

from ..errors import IntegrityError
from .htm import Vector, pixel

MOST_VERTICES = 255
LARGEST = 45.0
"""Degrees from the centre of a ring to its farthest vertex, at most."""

HEAD = 10
_HEAD = struct.Struct("<BBIi")
_TURN, _RIGHT_ANGLE = 2.0**32, 2.0**31 - 1
_MOST = 32767
_FINEST = 60
_SIZES = 13
# The pixels of a size have sides of about its radius: small enough to leave out most of what is too far away.
_FINER = 1

SIZES: tuple[tuple[int, int], ...] = tuple(
    (8 << 2 * (size + _FINER), (16 << 2 * (size + _FINER)) - 1) for size in range(_SIZES)
)
"""First and last cell of each size of rings."""


def reach(size: int) -> float:
    """Return how far from their centres rings of a size go, in degrees.

    Examples
    --------
    >>> reach(0), reach(7)
    (45.0, 0.3515625)
    """
    return LARGEST / (1 << size)


def level(size: int) -> int:
    """Return the HTM level of the cells of a size."""
    return size + _FINER


def vector(ra: float, dec: float) -> Vector:
    """Return the unit vector of a place given in degrees."""
    a, d = math.radians(ra), math.radians(dec)
    return math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d)


def pack(rings: Sequence[Sequence[tuple[float, float]]]) -> bytes:
    """Pack rings of (right ascension, declination) in degrees.

    Raises
    ------
    ValueError
        If there is none, or one has fewer than three or more than 255 vertices, or reaches farther than 45 degrees
        from its centre.

    Examples
    --------
    >>> data = pack([[(0.1, -0.2), (359.9, -0.2), (359.9, 0.2), (0.1, 0.2)]])
    >>> len(data)
    26
    >>> [(round(ra, 4), round(dec, 4)) for ra, dec in next(unpack(data))]
    [(0.1, -0.2), (359.9, -0.2), (359.9, 0.2), (0.1, 0.2)]
    """
    if not rings:
        raise ValueError("an outline has at least one ring")
    return b"".join(_pack_ring(ring) for ring in rings)


def _pack_ring(ring: Sequence[tuple[float, float]]) -> bytes:
    if not 3 <= len(ring) <= MOST_VERTICES:
        raise ValueError(f"a ring has 3 to {MOST_VERTICES} vertices, not {len(ring)}")
    vectors = [vector(ra, dec) for ra, dec in ring]
    middle = [min(axis) + max(axis) for axis in zip(*vectors, strict=True)]
    if math.hypot(*middle) < 0.1:
        raise ValueError("the ring goes round the sky")
    ra, dec = degrees(middle[0], middle[1], middle[2])
    turn, tilt = round(ra / 360.0 * _TURN) % (1 << 32), round(dec / 90.0 * _RIGHT_ANGLE)
    places = _projected(vectors, _axes(turn, tilt))
    largest = max(max(abs(x), abs(y)) for x, y in places)
    scale = _FINEST if largest == 0.0 else min(_FINEST, 14 - math.frexp(largest)[1] + 1)
    if largest * 2.0**scale > _MOST + 0.49:
        scale -= 1
    numbers = [round(math.ldexp(value, scale)) for place in places for value in place]
    return _HEAD.pack(len(ring), scale, turn, tilt) + struct.pack(f"<{len(numbers)}h", *numbers)


def _projected(vectors: Sequence[Vector], axes: tuple[Vector, Vector, Vector]) -> list[tuple[float, float]]:
    """Project onto the tangent plane."""
    centre, east, north = axes
    least = math.cos(math.radians(LARGEST)) - 1e-9
    places = []
    for v in vectors:
        height = _dot(v, centre)
        if height < least:
            raise ValueError(
                f"the ring reaches {math.degrees(math.acos(max(height, -1.0))):.3g} degrees from its centre; at most "
                f"{LARGEST:g} can be recorded"
            )
        places.append((_dot(v, east) / height, _dot(v, north) / height))
    return places


def _axes(turn: int, tilt: int) -> tuple[Vector, Vector, Vector]:
    """Return the centre, and the directions towards east and north."""
    a, d = turn / _TURN * math.tau, tilt / _RIGHT_ANGLE * (math.pi / 2)
    cos_a, sin_a, cos_d, sin_d = math.cos(a), math.sin(a), math.cos(d), math.sin(d)
    return (cos_d * cos_a, cos_d * sin_a, sin_d), (-sin_a, cos_a, 0.0), (-sin_d * cos_a, -sin_d * sin_a, cos_d)


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def degrees(x: float, y: float, z: float) -> tuple[float, float]:
    """Return right ascension (0 to 360) and declination of a direction, in degrees."""
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def rings_of(data: bytes) -> Iterator[bytes]:
    """Split an outline into its packed rings.

    Raises
    ------
    IntegrityError
        If it is none.
    """
    at = 0
    while at < len(data):
        end = at + HEAD + 4 * data[at]
        if data[at] < 3 or end > len(data):
            raise IntegrityError("a recorded footprint is damaged: it is no outline, or one that was cut short")
        yield data[at:end]
        at = end


def _opened(ring: bytes) -> tuple[tuple[Vector, Vector, Vector], float, tuple[int, ...]]:
    count, scale, turn, tilt = _HEAD.unpack_from(ring)
    return _axes(turn, tilt), math.ldexp(1.0, -scale), struct.unpack_from(f"<{2 * count}h", ring, HEAD)


def unpack(data: bytes) -> Iterator[list[tuple[float, float]]]:
    """Return the rings of an outline, as lists of (right ascension, declination) in degrees."""
    for ring in rings_of(data):
        (c, e, n), unit, numbers = _opened(ring)
        yield [
            degrees(*(c[i] + x * unit * e[i] + y * unit * n[i] for i in range(3)))
            for x, y in zip(numbers[::2], numbers[1::2], strict=True)
        ]


def cells(data: bytes) -> set[int]:
    """Return the cells under which an outline is found: the HTM pixel of each ring's centre, at its size's level.

    Examples
    --------
    >>> cells(pack([[(10.1, -0.2), (9.9, -0.2), (9.9, 0.2), (10.1, 0.2)]]))
    {1016072}
    """
    found = set()
    for ring in rings_of(data):
        (centre, _, _), unit, numbers = _opened(ring)
        squared = max(x * x + y * y for x, y in zip(numbers[::2], numbers[1::2], strict=True))
        radius = math.degrees(math.atan(math.sqrt(squared) * unit))
        found.add(pixel(centre, level(size_of(radius))))
    return found


def size_of(radius: float) -> int:
    """Return the size of a ring that goes that many degrees from its centre.

    Examples
    --------
    >>> size_of(45.0), size_of(0.18), size_of(0.0)
    (0, 7, 12)
    """
    size = 0
    while size < _SIZES - 1 and reach(size + 1) >= radius:
        size += 1
    return size
