"""What ``convert:`` makes of the parts of files that Bunter did not write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..definitions.model import PartDefinition
from ..errors import FormatError
from ..words import did_you_mean, listing
from .interface import About

PIXEL_WORDS = ("inverse_variance", "bits", "codes")
WORDS = (*PIXEL_WORDS, "splinesky", "visit_info")


def word_of(convert: Any) -> str | None:
    """Return which conversion a definition asks for (``bits``, ``splinesky``, a dotted name), or None."""
    if convert is None or isinstance(convert, str):
        return convert
    return str(next(iter(convert)))


def converted(value: Any, part: PartDefinition, header: Any, about: About) -> Any:
    """Apply a part's conversion.

    Parameters
    ----------
    value : object
        What was read: an array, a row, a table, a header.
    part : PartDefinition
        Its `convert` is one of the words of the policy, or the dotted name of ``f(value, header, dataId)``.
    header : callable
        Returns the `astropy.io.fits.Header` of the part.

    Raises
    ------
    FormatError
        If the value does not suit the conversion.
    """
    word = word_of(part.convert)
    where = f"{about.name}: part {part.name!r}, convert {word!r}"
    if word is None:
        return value
    argument = part.convert[word] if isinstance(part.convert, Mapping) else None
    try:
        if word == "inverse_variance":
            return inverse_variance(_pixels(value, where))
        if word == "bits":
            return bits(_pixels(value, where), _mapping(argument, where))
        if word == "codes":
            return codes(_pixels(value, where), _mapping(argument, where))
        if word == "splinesky":
            return splinesky(value, where)
        if word == "visit_info":
            from ..exposure import VisitInfo

            return VisitInfo.from_header(value, _mapping(argument, where))
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}: {error}") from error
    if "." not in word:
        raise FormatError(
            f"{where}: there is no such conversion{did_you_mean(word, WORDS)}; there are: {listing(WORDS)}, and the "
            "dotted names of functions f(value, header, dataId) that you trust"
        )
    function = about.find(word)
    try:
        return function(value, header(), dict(about.data_id))
    except Exception as error:
        error.add_note(f"while converting the part {part.name!r} of {about.name} by {word}")
        raise


def _pixels(value: Any, where: str) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.names is not None:
        raise FormatError(f"{where}: it takes an image, not a {type(value).__name__}")
    return value


def _mapping(argument: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(argument, Mapping):
        raise FormatError(f"{where}: it needs a mapping, for example {{bits: {{BAD: 0}}}}, not {argument!r:.60}")
    return argument


def inverse_variance(weights: Any) -> Any:
    """Return the variance for an inverse variance; infinite where there is no information (0 or less).

    Examples
    --------
    >>> inverse_variance(np.array([4.0, 0.0])).tolist()
    [0.25, inf]
    """
    wide = np.float64 if weights.itemsize > 2 else np.float32
    floats = weights if weights.dtype.kind == "f" else weights.astype(wide)
    variance = np.full(floats.shape, np.inf, floats.dtype)
    # NaN stays NaN.
    np.divide(1, floats, out=variance, where=~(floats <= 0))
    return variance


def _integers(values: Any) -> Any:
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "f" and np.array_equal(values, np.trunc(values)):
        return values.astype(np.int64 if values.itemsize > 4 else np.int32)
    raise FormatError(f"a mask holds integers, not {values.dtype}")


def bits(values: Any, names: Mapping[str, Any]) -> Any:
    """Return a `Mask` of integers whose bits have these names."""
    from ..exposure import Mask

    return Mask(_integers(values), {str(name): int(bit) for name, bit in names.items()})


def codes(values: Any, names: Mapping[str, Any]) -> Any:
    """Return a `Mask` of integers each of which is a code for one reason (or a list of codes for one name).

    Examples
    --------
    >>> mask = codes(np.array([[0, 1], [5, 7]], dtype="int16"), {"BAD": 1, "CR": [5, 7]})
    >>> mask.plane("CR").tolist(), mask.plane("BAD").tolist()
    ([[False, False], [True, True]], [[False, True], [False, False]])
    """
    from ..exposure import Mask

    pixels = _integers(values)
    planes = {}
    for name, code in names.items():
        wanted = code if isinstance(code, list | tuple) else [code]
        planes[str(name)] = np.isin(pixels, [int(c) for c in wanted])
    return Mask.from_planes(planes, pixels.shape)


def splinesky(row: Any, where: str) -> Any:
    """Return the `Background` of a row of a ``splinesky`` table (DESI Legacy Imaging Surveys)."""
    from ..exposure import Background

    if not isinstance(row, Mapping):
        raise FormatError(f"{where}: it takes one row of a table; choose it with row: {{column: value}}")
    fields = {str(name).lower(): value for name, value in row.items()}
    missing = [name for name in ("gridvals", "xgrid", "ygrid") if name not in fields]
    if missing:
        raise FormatError(f"{where}: the table lacks {listing(missing)}; it has: {listing(row, 40)}")
    return Background.from_splinesky(
        fields["gridvals"],
        fields["xgrid"],
        fields["ygrid"],
        int(fields.get("order", 3)),
        int(fields.get("x0", 0)),
        int(fields.get("y0", 0)),
    )
