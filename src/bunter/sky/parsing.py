"""Regions from what can be typed or stored: strings, tuples, dicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ParameterError
from ..words import did_you_mean, listing
from .regions import Box, Circle, Polygon, Region

_FORMS = "'circle RA DEC RADIUS', 'box RA0 RA1 DEC0 DEC1' or 'polygon RA DEC RA DEC RA DEC ...', in degrees"
# "range" is what the IVOA's DALI calls a box.
_SHAPES = ("circle", "box", "range", "polygon")


def region(value: Any) -> Region:
    """Return a region from any of the forms that a region can be given in.

    Parameters
    ----------
    value : Region, str, sequence or mapping
        A region; ``"circle 186.7 25.5 0.1"`` (commas and brackets may be there too); ``("circle", 186.7, 25.5, 0.1)``;
        3 numbers for a circle, 4 for a box, pairs for a polygon; ``{"circle": [186.7, 25.5, 0.1]}``;
        ``{"ra": 186.7, "dec": 25.5, "radius": 0.1}``.

    Raises
    ------
    ParameterError
        If it is none of them.

    Examples
    --------
    >>> region("circle 186.7 25.5 0.1")
    Circle(ra=186.7, dec=25.5, radius=0.1)
    >>> region("Box(350, 10, -5, 5)")
    Box(ra0=350.0, ra1=10.0, dec0=-5.0, dec1=5.0)
    >>> region([(1, 2), (3, 2), (2, 4)])
    Polygon(points=((1.0, 2.0), (3.0, 2.0), (2.0, 4.0)))
    >>> region(str(region("circle 1 2 3"))) == region("circle 1 2 3")
    True
    """
    if isinstance(value, Region):
        return value
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if hasattr(value, "icrs") and getattr(value, "shape", ()) != ():
        return Polygon(value)
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        return _of_sequence(list(value))
    raise ParameterError(
        f"region={value!r:.80}: it is a Circle, Box or Polygon of bunter.sky, or {_FORMS}, not a {type(value).__name__}"
    )


def _of_text(text: str) -> Region:
    words = re.split(r"[\s,()\[\]]+", text.strip())
    words = [word for word in words if word]
    if not words:
        raise ParameterError(f"region={text!r}: it is empty; write {_FORMS}")
    shape, rest = words[0], words[1:]
    if rest and rest[0].upper() == "ICRS":
        rest = rest[1:]
    numbers = []
    for word in rest:
        try:
            numbers.append(float(word))
        except ValueError:
            raise ParameterError(f"region={text!r:.200}: {word!r} is no number; write {_FORMS}") from None
    return _shape(shape, numbers, text)


def _shape(shape: str, numbers: Sequence[Any], asked: object) -> Region:
    name = shape.lower()
    if name not in _SHAPES:
        raise ParameterError(f"region={asked!r:.200}: no shape {shape!r}{did_you_mean(shape, _SHAPES)}; write {_FORMS}")
    if name == "polygon":
        if any(hasattr(value, "__len__") for value in numbers):
            return Polygon(numbers)
        if len(numbers) % 2:
            raise ParameterError(f"region={asked!r:.200}: a polygon has as many declinations as right ascensions")
        return Polygon(list(zip(numbers[::2], numbers[1::2], strict=True)))
    if name == "circle" and len(numbers) == 2 and hasattr(numbers[0], "icrs"):
        return Circle(*numbers)
    wanted = 3 if name == "circle" else 4
    if len(numbers) != wanted:
        raise ParameterError(
            f"region={asked!r:.200}: a {name} has {wanted} numbers, not {len(numbers)}; write {_FORMS}"
        )
    return Circle(*numbers) if name == "circle" else Box(*numbers)


def _of_sequence(items: list[Any]) -> Region:
    if items and isinstance(items[0], str):
        inner = items[1:]
        if len(inner) == 1 and hasattr(inner[0], "__len__"):
            inner = list(inner[0])
        return _shape(items[0], inner, items)
    if any(hasattr(item, "__len__") and getattr(item, "shape", None) != () for item in items):
        return Polygon(items)
    if len(items) == 2 and hasattr(items[0], "icrs"):
        return Circle(*items)
    if len(items) in (3, 4):
        return Circle(*items) if len(items) == 3 else Box(*items)
    raise ParameterError(
        f"region={items!r:.200}: 3 numbers make a circle (ra, dec, radius), 4 a box (ra0, ra1, dec0, dec1), pairs a "
        "polygon"
    )


def _of_mapping(given: Mapping[Any, Any]) -> Region:
    names = [str(name) for name in given]
    for fields in _FIELDS.values():
        if set(names) == set(fields):
            return _shape_of(fields)(*(given[name] for name in fields))
    if len(given) == 1:
        ((shape, values),) = given.items()
        if isinstance(values, Mapping):
            return _named(str(shape), values)
        return _shape(str(shape), list(values) if hasattr(values, "__len__") else [values], dict(given))
    raise ParameterError(
        f"region={dict(given)!r:.200}: a dict has one shape ({listing(_SHAPES)}), or the fields of one: "
        f"{'; '.join(', '.join(fields) for fields in _FIELDS.values())}"
    )


_FIELDS = {
    "circle": ("ra", "dec", "radius"),
    "box": ("ra0", "ra1", "dec0", "dec1"),
    "polygon": ("points",),
}


def _named(shape: str, values: Mapping[Any, Any]) -> Region:
    fields = _FIELDS.get("box" if shape.lower() == "range" else shape.lower())
    if fields is None:
        raise ParameterError(f"region: no shape {shape!r}{did_you_mean(shape, _SHAPES)}; there are: {listing(_SHAPES)}")
    for name in values:
        if name not in fields:
            raise ParameterError(
                f"region: a {shape} has no {name!r}{did_you_mean(str(name), fields)}; it has {listing(fields)}"
            )
    missing = [name for name in fields if name not in values]
    if missing:
        raise ParameterError(f"region: a {shape} needs {listing(missing)} too")
    return _shape_of(fields)(*(values[name] for name in fields))


def _shape_of(fields: tuple[str, ...]) -> Callable[..., Region]:
    return {3: Circle, 4: Box, 1: Polygon}[len(fields)]
