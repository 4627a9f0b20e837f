"""The pixel of the Hierarchical Triangular Mesh that holds a point, without any library.

Kunszt, Szalay & Thakar 2001, in "Mining the Sky", p. 631. The numbers are those of `lsst.sphgeom.HtmPixelization`,
which covers regions with pixels (`bunter.sky.regions`) but takes 70 ms to import: too much for a put.
"""

from __future__ import annotations

from typing import TypeAlias

Vector: TypeAlias = tuple[float, float, float]

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_U, _V, _W = (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)
# By the signs of z, y and x: number and corners of the eight triangles of level 0, S0 to S3 (8-11), N0 to N3 (12-15).
_ROOTS: dict[tuple[bool, bool, bool], tuple[int, Vector, Vector, Vector]] = {
    (False, True, True): (8, _X, _W, _Y),
    (False, True, False): (9, _Y, _W, _U),
    (False, False, False): (10, _U, _W, _V),
    (False, False, True): (11, _V, _W, _X),
    (True, False, True): (12, _X, _Z, _V),
    (True, False, False): (13, _V, _Z, _U),
    (True, True, False): (14, _U, _Z, _Y),
    (True, True, True): (15, _Y, _Z, _X),
}


def pixel(point: Vector, level: int) -> int:
    """Return the number of the pixel that holds a point.

    Parameters
    ----------
    point : (float, float, float)
        Unit vector.
    level : int
        0 has 8 pixels, each further level four times as many.

    Examples
    --------
    >>> pixel((0.6, 0.0, 0.8), 0), pixel((0.6, 0.0, 0.8), 7)
    (15, 251032)
    """
    x, y, z = point
    number, a, b, c = _ROOTS[z >= 0.0, y >= 0.0, x >= 0.0]
    for _ in range(level):
        # Corners opposite to a, b and c.
        p, q, r = _between(b, c), _between(c, a), _between(a, b)
        number <<= 2
        if _left(r, q, point):
            b, c = r, q
        elif _left(p, r, point):
            number += 1
            a, b, c = b, p, r
        elif _left(q, p, point):
            number += 2
            a, b, c = c, q, p
        else:
            number += 3
            a, b, c = p, q, r
    return number


def _left(a: Vector, b: Vector, point: Vector) -> bool:
    """Tell whether a point is to the left of the way from a to b, as the corner cut off by it is."""
    x, y, z = point
    return (a[1] * b[2] - a[2] * b[1]) * x + (a[2] * b[0] - a[0] * b[2]) * y + (a[0] * b[1] - a[1] * b[0]) * z >= 0.0


def _between(a: Vector, b: Vector) -> Vector:
    x, y, z = a[0] + b[0], a[1] + b[1], a[2] + b[2]
    scale: float = (x * x + y * y + z * z) ** -0.5
    return x * scale, y * scale, z * scale
