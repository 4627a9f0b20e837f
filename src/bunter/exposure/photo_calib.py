"""Photometric calibration: from counts to nanojansky and AB magnitudes, with errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..words import did_you_mean, listing
from .background import ChebyshevLayer, Layer, SplineLayer
from .values import Frozen, State, number, set_fields

AB_NANOJANSKY = 31.4
"""AB magnitude of 1 nJy: -2.5 log10(1e-32 erg/s/cm2/Hz) - 48.6 (Oke & Gunn 1983, ApJ 266, 713)."""

_MAGNITUDES = 2.5 / math.log(10.0)
_FIELDS = ("nanojansky_per_count", "error", "spatial")


class PhotoCalib(Frozen):
    """How many nanojansky one count is. Frozen, equal by value.

    Parameters
    ----------
    nanojansky_per_count : float
        The calibration, finite and positive.
    error : float
        Its standard error, in the same unit; NaN if unknown.
    spatial : ChebyshevLayer or SplineLayer, optional
        A dimensionless factor by which the calibration varies over the full frame.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> calib = PhotoCalib.from_zero_point(31.4)
    >>> calib.to_nanojansky(250.0)
    250.0
    >>> calib.to_magnitude(1000.0)
    23.9
    """

    __slots__ = ("error", "nanojansky_per_count", "spatial")

    nanojansky_per_count: float
    error: float
    spatial: Layer | None

    def __init__(self, nanojansky_per_count: float, error: float = 0.0, *, spatial: Layer | None = None) -> None:
        value, sigma = number(nanojansky_per_count, "nanojansky_per_count"), number(error, "error")
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"nanojansky_per_count: a finite number above 0 is needed, not {value}")
        if sigma < 0 or math.isinf(sigma):
            raise ValueError(f"error: a finite number of at least 0 is needed (NaN if unknown), not {sigma}")
        if spatial is not None and not isinstance(spatial, ChebyshevLayer | SplineLayer):
            raise TypeError(f"spatial: a ChebyshevLayer or SplineLayer is needed, not {type(spatial).__name__}")
        set_fields(self, nanojansky_per_count=value, error=sigma, spatial=spatial)

    @classmethod
    def from_zero_point(cls, zero_point: float, error: float = 0.0, *, spatial: Layer | None = None) -> PhotoCalib:
        """Make a calibration of a zero point.

        Parameters
        ----------
        zero_point : float
            AB magnitude of a source of 1 count.
        error : float
            Its standard error in magnitudes.
        """
        zero, sigma = number(zero_point, "zero_point"), number(error, "error")
        if not abs(zero) < 700:  # beyond, a float cannot hold the flux
            raise ValueError(f"zero_point: an AB magnitude is needed, not {zero}")
        value = 10.0 ** (0.4 * (AB_NANOJANSKY - zero))
        return cls(value, value * sigma / _MAGNITUDES, spatial=spatial)

    @property
    def zero_point(self) -> float:
        """AB magnitude of a source of 1 count."""
        return AB_NANOJANSKY - 2.5 * math.log10(self.nanojansky_per_count)

    @property
    def zero_point_error(self) -> float:
        """Standard error of `zero_point` in magnitudes."""
        return _MAGNITUDES * self.error / self.nanojansky_per_count

    def factor(self, x: npt.ArrayLike | None = None, y: npt.ArrayLike | None = None) -> Any:
        """Return nanojansky per count at pixel positions of the full frame (zero-based).

        Raises
        ------
        ValueError
            If the calibration varies over the frame and no positions are given.
        """
        if self.spatial is None:
            return self.nanojansky_per_count
        if x is None or y is None:
            raise ValueError("this calibration varies over the frame: give the positions x and y too")
        return self.nanojansky_per_count * self.spatial.at(x, y)

    def to_nanojansky(
        self,
        counts: npt.ArrayLike,
        count_error: npt.ArrayLike | None = None,
        *,
        x: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
    ) -> Any:
        """Return fluxes in nJy; with `count_error`, a pair (flux, flux error).

        The error is the quadratic sum of the errors of the counts and of the calibration.

        Parameters
        ----------
        counts, count_error : float or array
            Counts and their standard errors. Masked arrays stay masked.
        x, y : float or array, optional
            Zero-based pixel positions in the full frame; needed only if the calibration varies.
        """
        values, factor = _values(counts), self.factor(x, y)
        flux = values * factor
        if count_error is None:
            return _scalar(flux)
        relative = self.error / self.nanojansky_per_count
        return _scalar(flux), _scalar(np.hypot(_values(count_error) * factor, flux * relative))

    def to_magnitude(
        self,
        counts: npt.ArrayLike,
        count_error: npt.ArrayLike | None = None,
        *,
        x: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
    ) -> Any:
        """Return AB magnitudes (31.4 - 2.5 log10 nJy; Oke & Gunn 1983); with `count_error`, a pair (magnitude, error).

        Zero counts give inf, negative counts NaN. Parameters as for `to_nanojansky`.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            if count_error is None:
                return _scalar(AB_NANOJANSKY - 2.5 * np.log10(self.to_nanojansky(counts, x=x, y=y)))
            flux, error = self.to_nanojansky(counts, count_error, x=x, y=y)
            return (
                _scalar(AB_NANOJANSKY - 2.5 * np.log10(flux)),
                _scalar(_MAGNITUDES * np.divide(error, np.abs(flux))),
            )

    def to_counts(
        self, nanojansky: npt.ArrayLike, *, x: npt.ArrayLike | None = None, y: npt.ArrayLike | None = None
    ) -> Any:
        """Return the counts of fluxes in nJy. Positions as for `to_nanojansky`."""
        return _scalar(_values(nanojansky) / self.factor(x, y))

    def state(self) -> State:
        """Return the fields, without those that say nothing."""
        fields: State = {"nanojansky_per_count": self.nanojansky_per_count, "error": self.error}
        if self.spatial is not None:
            fields["spatial"] = self.spatial.state()
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PhotoCalib:
        """Make a calibration of what `to_dict` or `state` returned.

        Raises
        ------
        FormatError
            If fields are unknown or missing.
        """
        for name in fields:
            if name not in _FIELDS:
                raise FormatError(
                    f"a PhotoCalib has no {name!r}{did_you_mean(name, _FIELDS)}; it has {listing(_FIELDS)}"
                )
        if "nanojansky_per_count" not in fields:
            raise FormatError(f"a PhotoCalib needs nanojansky_per_count; there is {listing(fields)}")
        spatial = fields.get("spatial")
        return cls(
            fields["nanojansky_per_count"],
            fields.get("error", 0.0),
            spatial=None if spatial is None else Layer.from_dict(spatial),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.state(),)

    def __repr__(self) -> str:
        more = "" if self.spatial is None else f", spatial={self.spatial!r}"
        return f"PhotoCalib({self.nanojansky_per_count!r}, error={self.error!r}{more})"


def _values(given: npt.ArrayLike) -> Any:
    if hasattr(given, "unit") and given.unit is not None and hasattr(given, "to_value"):
        raise TypeError(
            "counts and fluxes are plain numbers here; give the quantity's .value in the unit that is meant"
        )
    if np.ma.isMaskedArray(given):
        return np.ma.MaskedArray(given, copy=False, subok=False)
    return np.asarray(given)


def _scalar(values: Any) -> Any:
    return values.item() if isinstance(values, np.generic) else values
