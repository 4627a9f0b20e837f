"""Where simulated CCDs lie on the sky."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

WIDTH, HEIGHT = 0.15, 0.30
LOW, HIGH = -20.0, 23.2
"""Of declination: with 0 to 120 degrees of right ascension, 5,000 square degrees."""


def places(count: int, seed: int = 0) -> Iterator[tuple[float, float]]:
    """Give places spread evenly over a survey, in the order in which it might take them: at random."""
    chance = random.Random(seed)
    low, high = math.sin(math.radians(LOW)), math.sin(math.radians(HIGH))
    for _ in range(count):
        yield chance.uniform(0, 120), math.degrees(math.asin(chance.uniform(low, high)))


def outline(ra: float, dec: float) -> bytes:
    """Return the outline of a CCD, as a registry keeps it."""
    from bunter.sky.outlines import pack

    half = WIDTH / 2 / math.cos(math.radians(dec))
    low, high = dec - HEIGHT / 2, dec + HEIGHT / 2
    return pack([[(ra - half, low), (ra + half, low), (ra + half, high), (ra - half, high)]])
