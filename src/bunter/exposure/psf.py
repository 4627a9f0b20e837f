"""Point spread functions: the common interface, a Gaussian, and a pixel image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..words import did_you_mean, listing
from .values import Frozen, State, frozen_array, number, restored, set_fields, whole

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_STEP = 0.0625

_KINDS: dict[str, type[Psf]] = {}


class Psf(Frozen):
    """A point spread function. Frozen, equal by value.

    A class of your own derives from it, has a `kind`, `image`, `shape` and `state` (what the constructor takes, and the
    kind), and is then stored and read like the others.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The word under which the PSF is stored."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "kind" in cls.__dict__:
            _KINDS[cls.kind] = cls

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of `image`."""
        raise NotImplementedError

    def image(self, x: float | None = None, y: float | None = None) -> npt.NDArray[np.float64]:
        """Return the PSF as pixels that add up to 1, the source in the middle of the central one.

        Parameters
        ----------
        x, y : float, optional
            Zero-based pixel position in the full frame; by default where the PSF is defined best.
        """
        raise NotImplementedError

    def fwhm(self, x: float | None = None, y: float | None = None) -> float:
        """Return the full width at half maximum in pixels.

        It is the diameter of the circle with the area in which the image, interpolated by a cubic spline, is above half
        of its maximum.
        """
        from scipy.interpolate import RectBivariateSpline

        pixels = self.image(x, y)
        rows, columns = np.nonzero(pixels >= 0.25 * pixels.max())
        # Three more pixels on each side, so that the spline is not bent by the edge.
        wide = np.pad(pixels, 3)[rows.min() : rows.max() + 7, columns.min() : columns.max() + 7]
        ny, nx = wide.shape
        fine = RectBivariateSpline(range(ny), range(nx), wide)(np.arange(0, ny, _STEP), np.arange(0, nx, _STEP))
        area = np.count_nonzero(fine >= 0.5 * fine.max()) * _STEP**2
        return 2.0 * math.sqrt(area / math.pi)

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Psf:
        """Make a PSF of what `to_dict` or `state` returned.

        Raises
        ------
        FormatError
            If its kind is unknown, or the fields are not those of its kind.
        """
        from . import psfex  # noqa: F401 - a kind that is registered when it is imported

        rest = dict(fields)
        kind = str(rest.pop("kind", ""))
        if kind not in _KINDS:
            raise FormatError(f"unknown kind of PSF {kind!r}{did_you_mean(kind, _KINDS)}; there is {listing(_KINDS)}")
        try:
            return _KINDS[kind](**rest)
        except TypeError as error:
            raise FormatError(f"a PSF of kind {kind!r} cannot be made of {listing(rest)}: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (type(self), self.state())


def check_shape(shape: Any) -> tuple[int, int]:
    """Return ``(ny, nx)`` of odd lengths, or raise a `ValueError`."""
    if np.shape(shape) != (2,):
        raise ValueError(f"shape: a pair (ny, nx) is needed, not {shape!r:.60}")
    ny, nx = (whole(n, "shape") for n in shape)
    if ny < 1 or nx < 1 or not ny % 2 or not nx % 2:
        raise ValueError(f"shape: odd lengths are needed, so that there is a central pixel, not {(ny, nx)}")
    return ny, nx


def normalised(pixels: npt.NDArray[Any], what: str) -> npt.NDArray[np.float64]:
    """Return pixels divided by their sum, or raise a `ValueError` if that is not possible."""
    total = float(pixels.sum(dtype=np.float64))
    if not (math.isfinite(total) and total > 0):
        raise ValueError(f"{what}: the pixels of a PSF add up to a finite number above 0, not {total}")
    return np.asarray(pixels, dtype=np.float64) / total


class GaussianPsf(Psf):
    """A Gaussian, the same over the whole frame.

    Parameters
    ----------
    sigma : float
        Standard deviation along the major axis, in pixels.
    shape : (int, int)
        ``(ny, nx)`` of the image, odd.
    axis_ratio : float
        Minor axis divided by major axis, above 0 and at most 1.
    angle : float
        Degrees from the x axis to the major axis, towards the y axis.

    Examples
    --------
    >>> psf = GaussianPsf(2.0)
    >>> psf.image().shape, round(psf.fwhm(), 3)
    ((25, 25), 4.71)
    """

    __slots__ = ("_shape", "angle", "axis_ratio", "sigma")
    kind = "gaussian"

    sigma: float
    axis_ratio: float
    angle: float

    def __init__(
        self, sigma: float, shape: tuple[int, int] = (25, 25), *, axis_ratio: float = 1.0, angle: float = 0.0
    ) -> None:
        width, ratio, turn = number(sigma, "sigma"), number(axis_ratio, "axis_ratio"), number(angle, "angle")
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"sigma: a finite number of pixels above 0 is needed, not {width}")
        if not 0 < ratio <= 1:
            raise ValueError(f"axis_ratio: a number above 0 and at most 1 is needed, not {ratio}")
        if not math.isfinite(turn):
            raise ValueError(f"angle: a finite number of degrees is needed, not {turn}")
        set_fields(self, sigma=width, axis_ratio=ratio, angle=turn, _shape=check_shape(shape))

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of `image`."""
        return self._shape  # type: ignore[attr-defined, no-any-return]

    def image(self, x: float | None = None, y: float | None = None) -> npt.NDArray[np.float64]:
        """Return the Gaussian at the centres of the pixels, normalised; the position does not matter."""
        (ny, nx), turn = self.shape, math.radians(self.angle)
        down, right = np.mgrid[-(ny // 2) : ny // 2 + 1, -(nx // 2) : nx // 2 + 1]
        major = right * math.cos(turn) + down * math.sin(turn)
        minor = (down * math.cos(turn) - right * math.sin(turn)) / self.axis_ratio
        return normalised(np.exp(-0.5 * (major**2 + minor**2) / self.sigma**2), "sigma")

    def fwhm(self, x: float | None = None, y: float | None = None) -> float:
        """Return the full width at half maximum in pixels: the geometric mean of those along the axes."""
        return FWHM_PER_SIGMA * self.sigma * math.sqrt(self.axis_ratio)

    def state(self) -> State:
        """Return what the constructor takes, and the kind."""
        return {
            "kind": self.kind,
            "sigma": self.sigma,
            "shape": list(self.shape),
            "axis_ratio": self.axis_ratio,
            "angle": self.angle,
        }

    def __repr__(self) -> str:
        more = "" if self.axis_ratio == 1 else f", axis_ratio={self.axis_ratio!r}, angle={self.angle!r}"
        return f"GaussianPsf({self.sigma!r}, shape={self.shape}{more})"


class ImagePsf(Psf):
    """A PSF that is an image, the same over the whole frame.

    Parameters
    ----------
    array : numpy.ndarray
        Shape (ny, nx), odd; its sum is finite and above 0. Kept as it is; `image` returns it normalised.
    """

    __slots__ = ("array",)
    kind = "image"

    array: npt.NDArray[np.float64]

    def __init__(self, array: npt.ArrayLike) -> None:
        pixels = frozen_array(array, "array", 2)
        check_shape(pixels.shape)
        normalised(pixels, "array")
        set_fields(self, array=pixels)

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of `image`."""
        ny, nx = self.array.shape
        return ny, nx

    def image(self, x: float | None = None, y: float | None = None) -> npt.NDArray[np.float64]:
        """Return the pixels, normalised; the position does not matter."""
        return normalised(self.array, "array")

    def state(self) -> State:
        """Return what the constructor takes, and the kind."""
        return {"kind": self.kind, "array": self.array}

    def __repr__(self) -> str:
        return f"<ImagePsf {self.shape[0]} x {self.shape[1]}>"
