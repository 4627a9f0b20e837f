"""Where an image lies: its bounding box and its corners on the sky. Functions for ``derived`` components."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import AssemblyError, ParameterError
from ..words import listing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def bbox(dataId: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[slice, slice]:
    """Return the bounding box of an image: ``derived: {bbox: {from: [image], with: bunter.exposure.bbox}}``.

    With ``from: [wcs]`` no pixel is read, for a WCS that knows the size of its image, as those of FITS images that
    others wrote do.

    Parameters
    ----------
    dataId : mapping
        Not used.
    inputs : mapping
        ``image``: the pixels, shape (ny, nx), or an `Exposure`; else ``wcs``: an `astropy.wcs.WCS` with a
        ``pixel_shape``.

    Returns
    -------
    (slice, slice)
        Slices (y, x), half-open, zero-based; those of the full frame if an `Exposure` was given.

    Raises
    ------
    AssemblyError
        If there is no image, nor a WCS that says how large it is.

    Examples
    --------
    >>> import numpy
    >>> bbox({}, {"image": numpy.zeros((4, 6))})
    (slice(0, 4, None), slice(0, 6, None))
    """
    wcs = inputs.get("wcs")
    if wcs is not None and "image" not in inputs:
        size = (wcs.celestial if wcs.naxis != 2 and wcs.has_celestial else wcs).pixel_shape
        if size is not None:
            nx, ny = (int(n) for n in size[:2])
            return slice(0, ny), slice(0, nx)
    image = _input(inputs, "image", "bbox")
    own = getattr(image, "bbox", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    ny, nx = image.shape[-2:]
    return slice(0, ny), slice(0, nx)


def corners(dataId: Mapping[str, Any], inputs: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Return the corners of an image on the sky.

    ``derived: {corners: {from: [image, wcs], with: bunter.exposure.corners}}``

    Parameters
    ----------
    dataId : mapping
        Not used.
    inputs : mapping
        ``wcs``: an `astropy.wcs.WCS`; ``image``: the pixels, shape (ny, nx), or an `Exposure`. Without the image
        (``from: [wcs]``) the WCS has to know how large it is; see `bbox`.

    Returns
    -------
    numpy.ndarray
        Shape (4, 2): right ascension and declination (ICRS, degrees) of the outer corners of the pixels
        (0, 0), (0, nx - 1), (ny - 1, nx - 1) and (ny - 1, 0).

    Raises
    ------
    AssemblyError
        If there is no WCS, it does not lead to the sky, or nothing says how large the image is.
    """
    import numpy as np

    y, x = bbox(dataId, inputs)
    wcs = _input(inputs, "wcs", "corners")
    if not wcs.has_celestial:
        raise AssemblyError(f"corners: the WCS does not lead to the sky; its axes are {listing(wcs.wcs.ctype)}")
    if wcs.naxis != 2:
        wcs = wcs.celestial
    right = np.array([x.start, x.stop, x.stop, x.start]) - 0.5
    up = np.array([y.start, y.start, y.stop, y.stop]) - 0.5
    sky = wcs.pixel_to_world(right, up).icrs
    return np.column_stack([sky.ra.deg, sky.dec.deg])


def check_bbox(box: Any, shape: tuple[int, int], what: str) -> tuple[slice, slice]:
    """Return `box` as two slices of plain ints.

    Raises
    ------
    ParameterError
        If it is not a pair of slices (y, x), half-open, zero-based and inside an array of `shape`.
    """

    def refused(why: str) -> ParameterError:
        return ParameterError(f"{what}: bbox={box!r:.80}: {why}")

    if not isinstance(box, tuple | list) or len(box) != 2 or not all(isinstance(part, slice) for part in box):
        raise refused("a pair of slices (y, x) is needed, for example (slice(10, 60), slice(20, 80))")
    sides = []
    for axis, part, length in zip("yx", box, shape, strict=True):
        try:
            start = 0 if part.start is None else operator.index(part.start)
            stop = length if part.stop is None else operator.index(part.stop)
            step = 1 if part.step is None else operator.index(part.step)
        except TypeError:
            raise refused(f"the slice in {axis} must have integers") from None
        if step != 1:
            raise refused(f"the slice in {axis} has a step of {step}; only whole rectangles can be cut out")
        if not 0 <= start < stop <= length:
            raise refused(f"the slice in {axis} must lie inside 0 to {length} and not be empty")
        sides.append(slice(start, stop))
    return sides[0], sides[1]


def _input(inputs: Mapping[str, Any], name: str, what: str) -> Any:
    value = inputs.get(name)
    if value is None:
        raise AssemblyError(
            f"{what} needs {name!r}, which is {'absent' if name in inputs else 'not among its inputs'}; "
            f"it was given: {listing(inputs)}"
        )
    return value
