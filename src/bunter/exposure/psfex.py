"""PSF models made by PSFEx: pixel images whose weights are polynomials of the position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .psf import Psf, check_shape, normalised
from .values import State, frozen_array, number, set_fields, whole

_LANCZOS = 4


class PsfExPsf(Psf):
    """A PSFEx model (Bertin 2011, ASP Conf. Ser. 442, 435).

    The image at a position is the sum of the components times 1, X, X^2, ..., Y, XY, ..., Y^2, ... up to `degree`,
    where X = (x - x_zero) / x_scale; PSFEx counts pixels from 1, Bunter from 0, and this class knows.

    Parameters
    ----------
    components : array, shape ((degree + 1) (degree + 2) / 2, ny, nx)
        ``psf_mask``; float32, as the files have it.
    degree : int
        ``POLDEG1``.
    x_zero, x_scale, y_zero, y_scale : float
        ``POLZERO1``, ``POLSCAL1``, ``POLZERO2``, ``POLSCAL2``, for positions counted from 1.
    sampling : float
        ``PSF_SAMP``: size of a pixel of the components in pixels of the image.
    fwhm : float
        ``PSF_FWHM``: full width at half maximum in pixels, averaged over the frame; 0 if unknown.
    """

    __slots__ = ("components", "degree", "mean_fwhm", "sampling", "x_scale", "x_zero", "y_scale", "y_zero")
    kind = "psfex"

    components: npt.NDArray[np.float32]
    degree: int
    x_zero: float
    x_scale: float
    y_zero: float
    y_scale: float
    sampling: float
    mean_fwhm: float

    def __init__(
        self,
        components: npt.ArrayLike,
        degree: int,
        x_zero: float = 0.0,
        x_scale: float = 1.0,
        y_zero: float = 0.0,
        y_scale: float = 1.0,
        sampling: float = 1.0,
        fwhm: float = 0.0,
    ) -> None:
        images, order = frozen_array(components, "components", 3, np.float32), whole(degree, "degree")
        terms = (order + 1) * (order + 2) // 2
        if order < 0 or len(images) != terms:
            raise ValueError(f"components: degree {order} has {terms} terms, not {len(images)} (shape {images.shape})")
        check_shape(images.shape[1:])
        given = {"x_zero": x_zero, "x_scale": x_scale, "y_zero": y_zero, "y_scale": y_scale, "sampling": sampling}
        numbers = {name: number(value, name) for name, value in given.items()}
        for name, value in numbers.items():
            if not math.isfinite(value) or (value <= 0 and not name.endswith("zero")):
                raise ValueError(
                    f"{name}: a finite number{'' if name.endswith('zero') else ' above 0'} is needed, not {value}"
                )
        set_fields(self, components=images, degree=order, mean_fwhm=number(fwhm, "fwhm"), **numbers)

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of `image`, in pixels of the image."""
        ny, nx = (int(n // 2 * self.sampling) * 2 + 1 for n in self.components.shape[1:])
        return ny, nx

    def image(self, x: float | None = None, y: float | None = None) -> npt.NDArray[np.float64]:
        """Return the PSF at a zero-based pixel position of the full frame (by default ``x_zero``, ``y_zero``).

        A model whose `sampling` is not 1 is resampled to pixels of the image with a Lanczos-4 kernel, as PSFEx does.
        """
        u = 0.0 if x is None else (number(x, "x") + 1.0 - self.x_zero) / self.x_scale
        v = 0.0 if y is None else (number(y, "y") + 1.0 - self.y_zero) / self.y_scale
        weights = [u**i * v**j for j in range(self.degree + 1) for i in range(self.degree + 1 - j)]
        pixels = np.tensordot(np.array(weights), self.components.astype(np.float64), axes=1)
        if self.sampling != 1.0:
            rows, columns = (
                _resampling(n, wanted, self.sampling)
                for n, wanted in zip(self.components.shape[1:], self.shape, strict=True)
            )
            pixels = rows @ pixels @ columns.T
        return normalised(pixels, "components")

    def fwhm(self, x: float | None = None, y: float | None = None) -> float:
        """Return the full width at half maximum in pixels: the model's mean without a position, else as `Psf.fwhm`."""
        if x is None and y is None and self.mean_fwhm > 0:
            return self.mean_fwhm
        return super().fwhm(x, y)

    def state(self) -> State:
        """Return what the constructor takes, and the kind."""
        names = ("components", "degree", "x_zero", "x_scale", "y_zero", "y_scale", "sampling")
        return {"kind": self.kind, **{name: getattr(self, name) for name in names}, "fwhm": self.mean_fwhm}

    def __repr__(self) -> str:
        terms, ny, nx = self.components.shape
        return f"<PsfExPsf {terms} x {ny} x {nx}, degree {self.degree}, sampling {self.sampling}>"


def _resampling(given: int, wanted: int, step: float) -> Any:
    """Return the matrix (wanted, given) that interpolates pixels `step` apart at whole positions about the centre."""
    offsets = np.arange(-(wanted // 2), wanted // 2 + 1)[:, None] / step - np.arange(-(given // 2), given // 2 + 1)
    return np.where(np.abs(offsets) < _LANCZOS, np.sinc(offsets) * np.sinc(offsets / _LANCZOS), 0.0)
