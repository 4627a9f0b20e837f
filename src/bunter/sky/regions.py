"""Circles, boxes and polygons on the sky: which outlines overlap them, and where to look for those.

What is looked for comes from `lsst.sphgeom`; the test of the outlines that are found is exact (up to their rounding)
and our own, because that library takes boxes and circles for larger than they are where they meet polygons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ParameterError
from .arcs import Bools, Floats, angle, cross, crossing, dot, in_rings, on_parallels, tangents, to_arcs, vectors
from .outlines import SIZES, level, reach
from .rings import Rings, opened

_MOST_RANGES = 64
_MOST_VERTICES = 1000
_AT_ONCE = 200_000
_WIDEST = 89.0


class Region:
    """A part of the sky: base of `Circle`, `Box` and `Polygon`. All angles are degrees, ICRS."""

    sizes: Sequence[tuple[int, int]] = SIZES

    def ranges(self, size: int) -> list[tuple[int, int]]:
        """Return the first and last cells of the ranges in which rings of a size that overlap have their centres."""
        from lsst.sphgeom import HtmPixelization

        # A little more, for the rounding of outlines and of this.
        cover = self._cover(math.radians(reach(size)) * 1.001)
        found = HtmPixelization(level(size)).envelope(cover, _MOST_RANGES)
        return [(first, last - 1) for first, last in found]

    def overlaps(self, outlines: Sequence[bytes]) -> list[int]:
        """Return which of the outlines overlap the region, in order.

        An outline that comes closer than it is rounded (1/16,000 of its size) counts.

        Parameters
        ----------
        outlines : sequence of bytes
            As `footprint` returns them.

        Returns
        -------
        list of int
            Their indices.
        """
        found: set[int] = set()
        for rings in opened(outlines):
            near = self._near(rings)
            step = max(1, _AT_ONCE // (near.x.shape[1] * self._complexity))
            for start in range(0, len(near.owner), step):
                some = near.take(_between(start, start + step, len(near.owner)))
                found.update(some.owner[self._meets(some)].tolist())
        return sorted(found)

    _complexity = 1

    def _near(self, rings: Rings) -> Rings:
        centre, radius = self._circle()
        return rings if radius >= math.pi else rings.near(centre, radius)

    def _circle(self) -> tuple[Floats, float]:
        """Return the centre and the radius of a circle round the region, in radians."""
        raise NotImplementedError

    def _cover(self, margin: float) -> Any:
        """Return a region of sphgeom that holds all that is within `margin` radians of this one."""
        raise NotImplementedError

    def _meets(self, rings: Rings) -> Bools:
        """Tell which rings overlap."""
        raise NotImplementedError


def _between(start: int, stop: int, length: int) -> Bools:
    numbers = np.arange(length)
    return (numbers >= start) & (numbers < stop)


@dataclass(frozen=True, init=False)
class Circle(Region):
    """All that is within `radius` of a place.

    Parameters
    ----------
    ra, dec : float, Quantity or SkyCoord
        The centre, in degrees, ICRS. A SkyCoord stands for both.
    radius : float or Quantity
        Degrees, 0 to 180. With 0: a point.

    Raises
    ------
    ParameterError
        If that is no circle on the sky.

    Examples
    --------
    >>> Circle(186.74, 25.46, 0.1)
    Circle(ra=186.74, dec=25.46, radius=0.1)
    >>> from astropy.coordinates import SkyCoord
    >>> from astropy import units as u
    >>> Circle(SkyCoord("12h26m58s +25d27m36s"), 6 * u.arcmin)
    Circle(ra=186.741666666..., dec=25.46, radius=0.1)
    """

    ra: float
    dec: float
    radius: float

    def __init__(self, ra: Any, dec: Any = None, radius: Any = None) -> None:
        if hasattr(ra, "icrs"):
            if radius is None:
                dec, radius = None, dec
            if dec is not None:
                raise ParameterError("Circle: a SkyCoord is the whole centre; write Circle(coordinate, radius)")
            ((ra, dec),) = _places(ra, "Circle", 1)
        if dec is None or radius is None:
            raise ParameterError("Circle needs ra, dec and radius (degrees), or a SkyCoord and radius")
        object.__setattr__(self, "ra", _ra(ra, "Circle: ra"))
        object.__setattr__(self, "dec", _dec(dec, "Circle: dec"))
        object.__setattr__(self, "radius", _number(radius, "Circle: radius"))
        if not 0.0 <= self.radius <= 180.0:
            raise ParameterError(f"Circle: radius={self.radius:g}: it is given in degrees, 0 to 180")

    def __str__(self) -> str:
        return f"circle {self.ra!r} {self.dec!r} {self.radius!r}"

    def _circle(self) -> tuple[Floats, float]:
        return vectors(self.ra, self.dec), math.radians(self.radius)

    def _cover(self, margin: float) -> Any:
        return _sphgeom_circle(*self._circle(), margin)

    def _meets(self, rings: Rings) -> Bools:
        centre, radius = self._circle()
        corners = rings.vertices()
        distance = to_arcs(centre, corners, np.roll(corners, -1, axis=1)).min(axis=1)
        close: Bools = distance <= radius + rings.slack
        return close | rings.contain(centre)


@dataclass(frozen=True, init=False)
class Box(Region):
    """All between two right ascensions and two declinations: its sides are meridians and parallels.

    Parameters
    ----------
    ra0, ra1 : float or Quantity
        From the one eastwards to the other, in degrees, ICRS: ``Box(350, 10, ...)`` and ``Box(-10, 10, ...)`` are 20
        degrees wide, ``Box(0, 360, ...)`` goes all round.
    dec0, dec1 : float or Quantity
        The lower and the higher declination.

    Raises
    ------
    ParameterError
        If that is no box on the sky, or one that is wider than half the sky only because it goes across 0.

    Examples
    --------
    >>> Box(350, 10, -5, 5)
    Box(ra0=350.0, ra1=10.0, dec0=-5.0, dec1=5.0)
    """

    ra0: float
    ra1: float
    dec0: float
    dec1: float

    def __init__(self, ra0: Any, ra1: Any, dec0: Any, dec1: Any) -> None:
        west, east = _number(ra0, "Box: ra0"), _number(ra1, "Box: ra1")
        south, north = _dec(dec0, "Box: dec0"), _dec(dec1, "Box: dec1")
        if south > north:
            raise ParameterError(f"Box: dec0={south:g} is north of dec1={north:g}; the lower declination comes first")
        if west > east and (east - west) % 360.0 > 180.0:
            raise ParameterError(
                f"Box: from ra0={west:g} eastwards to ra1={east:g} are {(east - west) % 360.0:g} degrees. If that is "
                f"meant, write ra1={east + 360.0 * math.ceil((west - east) / 360.0):g}; else exchange the two"
            )
        whole = east - west >= 360.0
        object.__setattr__(self, "ra0", 0.0 if whole else _turned(west))
        object.__setattr__(self, "ra1", 360.0 if whole else _turned(east))
        object.__setattr__(self, "dec0", south)
        object.__setattr__(self, "dec1", north)

    def __str__(self) -> str:
        return f"box {self.ra0!r} {self.ra1!r} {self.dec0!r} {self.dec1!r}"

    @property
    def width(self) -> float:
        """Degrees of right ascension."""
        return 360.0 if self.ra1 == 360.0 else (self.ra1 - self.ra0) % 360.0

    def _circle(self) -> tuple[Floats, float]:
        half = self.width / 2
        middle = vectors(self.ra0 + half, (self.dec0 + self.dec1) / 2)
        if half > 90.0:
            return middle, math.pi
        # Up to 90 degrees to either side it is the corners that are farthest.
        return middle, float(angle(self._corners(), middle).max())

    def _corners(self) -> Floats:
        east = self.ra0 + self.width
        return vectors([self.ra0, east, east, self.ra0], [self.dec0, self.dec0, self.dec1, self.dec1])

    def _cover(self, margin: float) -> Any:
        from lsst.sphgeom import Angle, AngleInterval, NormalizedAngleInterval
        from lsst.sphgeom import Box as SphgeomBox

        around = (
            NormalizedAngleInterval.full()
            if self.width == 360.0
            else NormalizedAngleInterval.fromDegrees(self.ra0, self.ra1)
        )
        return SphgeomBox(around, AngleInterval.fromDegrees(self.dec0, self.dec1)).dilatedBy(Angle(margin))

    def _meets(self, rings: Rings) -> Bools:
        corners = rings.vertices()
        found: Bools = np.any(self._holds(corners, rings.slack[:, np.newaxis]), axis=1)
        for corner in self._corners():
            found |= rings.contain(corner)
        rest = ~found
        if rest.any():
            found[rest] = self._crossed(corners[rest], rings.slack[rest])
        return found

    def _holds(self, points: Floats, slack: Floats) -> Bools:
        dec = np.arctan2(points[..., 2], np.hypot(points[..., 0], points[..., 1]))
        inside: Bools = (dec >= math.radians(self.dec0) - slack) & (dec <= math.radians(self.dec1) + slack)
        if self.width == 360.0:
            return inside
        half = math.radians(self.width / 2)
        ra = np.arctan2(points[..., 1], points[..., 0]) - math.radians(self.ra0) - half
        away = np.abs((ra + math.pi) % math.tau - math.pi)
        return inside & (away <= half + slack / np.maximum(np.cos(dec), 1e-12))

    def _crossed(self, a: Floats, slack: Floats) -> Bools:
        """Tell whether arcs cross the sides, which are met a little early because of the rounding."""
        b = np.roll(a, -1, axis=1)
        found = np.zeros(len(a), bool)
        for dec, outwards in ((self.dec0, -1.0), (self.dec1, 1.0)):
            height = math.radians(dec) + outwards * slack
            sine = np.where(np.abs(height) < math.pi / 2, np.sin(height), 2.0)
            points, valid = on_parallels(a, b, sine[:, np.newaxis])
            found |= (valid & self._holds(points, 2.0 * slack[:, np.newaxis, np.newaxis])).any(axis=(1, 2))
        if self.width < 360.0:
            for side in (self.ra0, self.ra1):
                # An arc is shorter than half a turn; no round fraction, so that nothing symmetric meets the joint.
                ends = [self.dec0, self.dec1]
                if self.dec1 - self.dec0 > 170.0:
                    ends.insert(1, self.dec0 + 0.5377 * (self.dec1 - self.dec0))
                points = vectors([side] * len(ends), ends)
                for low, high in pairwise(points):
                    found |= crossing(a, b, low, high).any(axis=1)
        return found


@dataclass(frozen=True, init=False)
class Polygon(Region):
    """All within a simple polygon, convex or not, whose edges are great circles.

    Parameters
    ----------
    points : sequence of (float, float), array of shape (n, 2), or SkyCoord
        The vertices in order, either way round: right ascension and declination in degrees, ICRS. The first may be
        repeated at the end.

    Raises
    ------
    ParameterError
        If that is no polygon: fewer than 3 vertices or more than 1000, edges that cross, or one that does not fit into
        a half of the sky.

    Examples
    --------
    >>> Polygon([(359, -1), (1, -1), (0, 1)])
    Polygon(points=((359.0, -1.0), (1.0, -1.0), (0.0, 1.0)))
    """

    points: tuple[tuple[float, float], ...]

    def __init__(self, points: Any) -> None:
        given = _places(points, "Polygon")
        kept = [place for number, place in enumerate(given) if place != given[number - 1]]
        if len(kept) < 3:
            raise ParameterError(f"Polygon: at least 3 different vertices are needed, not {len(kept)}")
        if len(kept) > _MOST_VERTICES:
            raise ParameterError(f"Polygon: {len(kept)} vertices; at most {_MOST_VERTICES} are possible")
        object.__setattr__(self, "points", tuple(given if len(kept) == len(given) else kept))
        self._check()

    def _check(self) -> None:
        corners = self._vectors
        if self._round[1] > math.radians(_WIDEST):
            raise ParameterError(
                f"Polygon: it does not fit into a half of the sky ({_WIDEST:g} degrees from its middle); take a Box or "
                "several polygons"
            )
        after = np.roll(corners, -1, axis=0)
        for number in range(len(corners) - 2):
            # Against the edges that do not share a vertex with it.
            last = len(corners) - (number == 0)
            others = slice(number + 2, last)
            bad = crossing(corners[number], after[number], corners[others], after[others])
            if bad.any():
                other = number + 2 + int(np.argmax(bad))
                raise ParameterError(
                    f"Polygon: the edge from {self.points[number]} crosses that from {self.points[other]}; give the "
                    "vertices in order round the polygon"
                )

    def __str__(self) -> str:
        return " ".join(["polygon", *(repr(value) for point in self.points for value in point)])

    @property
    def _complexity(self) -> int:  # type: ignore[override]
        return len(self.points)

    @cached_property
    def _vectors(self) -> Floats:
        return vectors(*np.array(self.points).T)

    @cached_property
    def _round(self) -> tuple[Floats, float]:
        corners = self._vectors
        circles = []
        for middle in (corners.min(axis=0) + corners.max(axis=0), corners.sum(axis=0)):
            length = np.sqrt(dot(middle, middle))
            if length > 1e-6:
                circles.append((float(angle(corners, middle / length).max()), middle / length))
        radius, centre = min(circles, key=lambda circle: circle[0], default=(math.pi, corners[0]))
        return centre, radius

    def _circle(self) -> tuple[Floats, float]:
        return self._round

    def _cover(self, margin: float) -> Any:
        centre, radius = self._circle()
        if radius + margin < math.radians(60.0):
            from lsst.sphgeom import ConvexPolygon, UnitVector3d

            # The hull of octagons round the circles round the vertices; the great circles between bulge outwards.
            around = [UnitVector3d(*point) for point in _octagons(self._vectors, margin).tolist()]
            return ConvexPolygon(around)
        return _sphgeom_circle(centre, radius, margin)

    def _meets(self, rings: Rings) -> Bools:
        mine = self._vectors
        corners = rings.vertices()
        found = self._holds(corners[:, 0]) | rings.contain(mine[0])
        rest = ~found
        if rest.any():
            found[rest] = _entangled(corners[rest], mine, rings.slack[rest])
        return found

    def _holds(self, points: Floats) -> Bools:
        centre, _ = self._circle()
        east, north = tangents(centre)
        mine = self._vectors
        height, ahead = dot(mine, centre), dot(points, centre)
        below = np.where(ahead > 0.0, ahead, 1.0)
        x, y = dot(mine, east) / height, dot(mine, north) / height
        return (ahead > 0.0) & in_rings(x, y, dot(points, east) / below, dot(points, north) / below)


def _entangled(a: Floats, c: Floats, slack: Floats) -> Bools:
    """Tell which rings of vertices a, shape (N, V, 3), have edges that cross or touch those of c, shape (W, 3)."""
    b, d = np.roll(a, -1, axis=1), np.roll(c, -1, axis=0)
    theirs, to_theirs = a[:, :, np.newaxis, :], b[:, :, np.newaxis, :]
    found: Bools = np.any(crossing(theirs, to_theirs, c, d), axis=(1, 2))
    near = slack[:, np.newaxis, np.newaxis]
    found |= (to_arcs(theirs, c, d) <= near).any(axis=(1, 2))
    found |= (to_arcs(c, theirs, to_theirs) <= near).any(axis=(1, 2))
    return found


def _octagons(points: Floats, margin: float) -> Floats:
    """Return the corners of octagons, shape (8 * N, 3), that hold the circles round the points."""
    out = math.tan(margin) / math.cos(math.pi / 8)
    turns = np.arange(8) * (math.pi / 4)
    flat = np.hypot(points[:, 0], points[:, 1])
    # At a pole any direction will do for the east.
    east = np.stack([-points[:, 1], points[:, 0], np.zeros(len(points))], axis=-1)
    east = np.where(flat[:, np.newaxis] > 0.0, east / np.where(flat > 0.0, flat, 1.0)[:, np.newaxis], (0.0, 1.0, 0.0))
    north = cross(points, east)
    found: Floats = points[:, np.newaxis, :] + out * (
        np.cos(turns)[:, np.newaxis] * east[:, np.newaxis, :] + np.sin(turns)[:, np.newaxis] * north[:, np.newaxis, :]
    )
    return found.reshape(-1, 3)


def _sphgeom_circle(centre: Floats, radius: float, margin: float) -> Any:
    from lsst.sphgeom import Angle, UnitVector3d
    from lsst.sphgeom import Circle as SphgeomCircle

    if radius + margin >= math.pi:
        return SphgeomCircle.full()
    return SphgeomCircle(UnitVector3d(*map(float, centre)), Angle(radius + margin))


# What users give


def _number(value: Any, what: str) -> float:
    """Return a number of degrees."""
    if hasattr(value, "to_value"):
        unit = getattr(value, "unit", None)
        if unit is not None and str(unit) != "":
            try:
                value = value.to_value("deg")
            except ValueError as error:
                raise ParameterError(f"{what}: {value!s:.80} is no angle: {error}") from None
        else:
            value = value.to_value()
    if isinstance(value, bool | str | bytes):
        raise ParameterError(f"{what}={value!r:.80}: a number of degrees, or a Quantity, is needed")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{what}={value!r:.80}: a number of degrees, or a Quantity, is needed") from None
    if not math.isfinite(number):
        raise ParameterError(f"{what}={number}: it must be finite")
    return number


def _ra(value: Any, what: str) -> float:
    return _turned(_number(value, what))


def _turned(ra: float) -> float:
    # Of a tiny negative number the remainder is 360.0 itself.
    return (ra % 360.0) % 360.0


def _dec(value: Any, what: str) -> float:
    number = _number(value, what)
    if not -90.0 <= number <= 90.0:
        raise ParameterError(f"{what}={number:g}: a declination lies between -90 and 90 degrees")
    return number


def _places(value: Any, what: str, count: int | None = None) -> list[tuple[float, float]]:
    """Return places as pairs of degrees."""
    if hasattr(value, "icrs"):
        sky = value.icrs
        pairs: list[Any] = list(
            zip(np.atleast_1d(sky.ra.deg).tolist(), np.atleast_1d(sky.dec.deg).tolist(), strict=True)
        )
    else:
        try:
            pairs = list(value)
        except TypeError:
            raise ParameterError(f"{what}: a sequence of (ra, dec) is needed, not {value!r:.80}") from None
    if count is not None and len(pairs) != count:
        raise ParameterError(f"{what}: {count} place is needed, not {len(pairs)}")
    places = []
    for number, pair in enumerate(pairs):
        try:
            ra, dec = (pair.icrs.ra.deg, pair.icrs.dec.deg) if hasattr(pair, "icrs") else pair
        except (TypeError, ValueError):
            raise ParameterError(f"{what}: vertex {number} is {pair!r:.80}, not a pair (ra, dec)") from None
        places.append((_ra(ra, f"{what}: ra of vertex {number}"), _dec(dec, f"{what}: dec of vertex {number}")))
    return places
