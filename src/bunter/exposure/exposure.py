"""A calibrated image with all that belongs to it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..words import did_you_mean, listing
from .accessors import ExposureAccessors

if TYPE_CHECKING:
    from .background import Background
    from .mask import Mask
    from .metadata import Metadata
    from .photo_calib import PhotoCalib
    from .psf import Psf
    from .visit_info import VisitInfo


class Exposure(ExposureAccessors):
    """A calibrated exposure: pixels, and the components that give them a meaning.

    Every attribute can be assigned, and is checked when it is; a name that an exposure does not have is refused.

    Parameters
    ----------
    image : numpy.ndarray
        The pixels, shape (ny, nx). Stored as native float32 or float64 (float64 for 32- and 64-bit integers).
    mask : Mask or integer numpy.ndarray, optional
        Same shape as `image`. An array becomes a `Mask` whose bits have no names.
    variance : numpy.ndarray, optional
        Variance of each pixel, same shape, in the square of the image's unit.
    wcs : astropy.wcs.WCS, optional
        From pixels of the full frame to the sky.
    photo_calib : PhotoCalib, optional
        From counts to nanojansky.
    psf : Psf, optional
        The point spread function.
    background : Background, optional
        The background, in the image's unit.
    visit_info : VisitInfo, optional
        What was observed when, and where the telescope was pointing.
    detector : int, str or mapping, optional
        The detector: its number, its name, or plain values that describe it.
    filter : str, optional
        Name of the filter.
    metadata : Metadata, mapping or astropy.io.fits.Header, optional
        Everything else.
    origin : (int, int)
        ``(y0, x0)``: where pixel (0, 0) of `image` lies in the full frame; other than zero for a cutout.
        `wcs`, `psf` and `background` keep the coordinates of the full frame.

    Raises
    ------
    TypeError
        If a component is of the wrong type.
    ValueError
        If the planes are not of one shape.

    Examples
    --------
    >>> exposure = Exposure(np.zeros((4, 6), dtype="float32"), filter="g")
    >>> exposure
    <Exposure 4 x 6 float32, filter 'g'>
    >>> exposure.cutout((slice(1, 3), slice(2, 6))).origin
    (1, 2)
    """

    __slots__ = (
        "background",
        "detector",
        "filter",
        "image",
        "mask",
        "metadata",
        "origin",
        "photo_calib",
        "psf",
        "variance",
        "visit_info",
        "wcs",
    )

    __bunter_components__: ClassVar[Mapping[str, str]] = {
        "image": "numpy.ndarray",
        "mask": "bunter.Mask",
        "variance": "numpy.ndarray",
        "wcs": "astropy.wcs.WCS",
        "photo_calib": "bunter.PhotoCalib",
        "psf": "bunter.Psf",
        "background": "bunter.Background",
        "visit_info": "bunter.VisitInfo",
        "detector": "",
        "filter": "builtins.str",
        "metadata": "bunter.Metadata",
    }

    image: npt.NDArray[Any]
    variance: npt.NDArray[Any] | None
    origin: tuple[int, int]

    __hash__ = None  # type: ignore[assignment]  # mutable, equal by value

    def __init__(
        self,
        image: npt.ArrayLike,
        *,
        mask: Mask | npt.NDArray[Any] | None = None,
        variance: npt.ArrayLike | None = None,
        wcs: Any = None,
        photo_calib: PhotoCalib | None = None,
        psf: Psf | None = None,
        background: Background | None = None,
        visit_info: VisitInfo | None = None,
        detector: int | str | Mapping[str, Any] | None = None,
        filter: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        setters: dict[str, Any] = {
            "image": image,
            "mask": mask,
            "variance": variance,
            "wcs": wcs,
            "photo_calib": photo_calib,
            "psf": psf,
            "background": background,
            "visit_info": visit_info,
            "detector": detector,
            "filter": filter,
            "metadata": metadata,
            "origin": origin,
        }
        for name, value in setters.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        check = _CHECKS.get(name)
        if check is not None:
            value = check(self, value)
        elif not hasattr(type(self), name):
            known = [*self.__bunter_components__, "calib", "origin"]
            raise AttributeError(
                f"an {type(self).__name__} has no attribute {name!r}{did_you_mean(name, known)}; "
                f"it has: {listing(known, 20)}"
            )
        object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of the image."""
        ny, nx = self.image.shape
        return ny, nx

    @property
    def bbox(self) -> tuple[slice, slice]:
        """Where the image lies in the full frame: a pair of slices (y, x), half-open, zero-based."""
        (ny, nx), (y0, x0) = self.shape, self.origin
        return slice(y0, y0 + ny), slice(x0, x0 + nx)

    def copy(self) -> Exposure:
        """Return a copy that shares nothing with this exposure; frozen parts are thawed."""
        return copy.deepcopy(self)

    def cutout(self, bbox: tuple[slice, slice]) -> Exposure:
        """Return a copy of a part of this exposure, which remembers where it came from.

        Parameters
        ----------
        bbox : (slice, slice)
            Slices (y, x) in coordinates of this exposure's own array: half-open, zero-based, inside the image.

        Returns
        -------
        Exposure
            With its `origin` in the full frame; the WCS, PSF and background are those of the full frame.

        Raises
        ------
        ParameterError
            If `bbox` is not such a pair of slices.
        """
        from .geometry import check_bbox

        y, x = check_bbox(bbox, self.shape, "cutout")
        part = copy.copy(self)
        for plane in ("mask", "variance"):
            object.__setattr__(part, plane, None)
        part.image = self.image[y, x]
        part.mask = None if self.mask is None else self.mask[y, x]
        part.variance = None if self.variance is None else self.variance[y, x]
        part.origin = (self.origin[0] + y.start, self.origin[1] + x.start)
        return part.copy()

    def to_ccddata(self) -> Any:
        """Return the exposure as an `astropy.nddata.CCDData`; see `bunter.exposure.ccddata.to_ccddata`."""
        from .ccddata import to_ccddata

        return to_ccddata(self)

    @classmethod
    def from_ccddata(cls, ccd: Any) -> Exposure:
        """Make an exposure of an `astropy.nddata.CCDData`; see `bunter.exposure.ccddata.from_ccddata`."""
        from .ccddata import from_ccddata

        return from_ccddata(ccd, cls)

    def __eq__(self, other: object) -> bool:
        """Tell whether all components and the origin are equal by value (NaN equal; empty metadata equal to none)."""
        if not isinstance(other, Exposure):
            return NotImplemented
        return self.origin == other.origin and all(
            _same(getattr(self, name), getattr(other, name)) for name in self.__bunter_components__
        )

    def __repr__(self) -> str:
        ny, nx = self.shape
        words = [f"<{type(self).__name__} {ny} x {nx} {self.image.dtype}"]
        plain = ("detector", "filter")
        words += [n for n in self.__bunter_components__ if n not in ("image", *plain) and getattr(self, n) is not None]
        words += [f"{n} {getattr(self, n)!r:.60}" for n in plain if getattr(self, n) is not None]
        if self.origin != (0, 0):
            words.append(f"origin {self.origin}")
        return ", ".join(words) + ">"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    if isinstance(a, dict) or isinstance(b, dict):
        from .values import same_plain

        # An empty header cannot be told from none once it is written.
        return same_plain(None if a == {} else a, None if b == {} else b)
    if a is None or b is None:
        return a is b
    if hasattr(a, "all_pix2world") and hasattr(b, "all_pix2world"):
        from .wcs import same_wcs

        return same_wcs(a, b)
    return bool(a == b)


def _check_plane(value: Any, what: str) -> npt.NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{what}: give a masked array's .data here, and its .mask as mask=Mask.from_planes({{'BAD': ...}})"
        )
    if hasattr(value, "unit"):
        raise TypeError(f"{what}: give the .value of a {type(value).__name__}, and its unit as the metadata card BUNIT")
    array = np.asarray(value)
    if array.ndim != 2:
        raise ValueError(f"{what}: an array of shape (ny, nx) is needed, not of shape {array.shape}")
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "iuf":
        raise TypeError(f"{what}: an array of floats or integers is needed, not of {array.dtype}")
    wide = size >= 8 or (kind in "iu" and size >= 4)
    return array.astype(np.float64 if wide else np.float32, copy=False)


def _check_image(exposure: Exposure, value: Any) -> npt.NDArray[Any]:
    image = _check_plane(value, "image")
    for name in ("mask", "variance"):
        plane = getattr(exposure, name, None)
        if plane is not None and plane.shape != image.shape:
            raise ValueError(
                f"image: shape {image.shape} does not fit the {name} of shape {plane.shape}; "
                f"set {name} to None first, or make a new Exposure"
            )
    return image


def _check_variance(exposure: Exposure, value: Any) -> npt.NDArray[Any] | None:
    return None if value is None else _fit(exposure, _check_plane(value, "variance"), "variance")


def _check_mask(exposure: Exposure, value: Any) -> Mask | None:
    from .mask import Mask

    if value is None:
        return None
    if not isinstance(value, Mask):
        if not isinstance(value, np.ndarray):
            raise TypeError(f"mask: a Mask or an integer array is needed, not {_kind(value)}")
        value = Mask(value)
    fitted: Mask = _fit(exposure, value, "mask")
    return fitted


def _fit(exposure: Exposure, plane: Any, name: str) -> Any:
    image = getattr(exposure, "image", None)  # absent while an exposure is unpickled
    if image is not None and plane.shape != image.shape:
        raise ValueError(f"{name}: its shape {plane.shape} is not that of the image, {image.shape}")
    return plane


def _check_wcs(exposure: Exposure, value: Any) -> Any:
    from .wcs import check_wcs

    return check_wcs(value)


def _check_type(name: str, module: str, class_name: str) -> Callable[[Exposure, Any], Any]:
    def check(exposure: Exposure, value: Any) -> Any:
        if value is None:
            return None
        from importlib import import_module

        wanted = getattr(import_module(f".{module}", __package__), class_name)
        if not isinstance(value, wanted):
            raise TypeError(f"{name}: a {class_name} or None is needed, not {_kind(value)}")
        return value

    return check


def _check_detector(exposure: Exposure, value: Any) -> int | str | dict[str, Any] | None:
    from .values import plain

    if value is None:
        return None
    found = plain(value, "detector")
    if isinstance(found, bool) or not isinstance(found, int | str | dict):
        raise TypeError(f"detector: an int, a str or a mapping of plain values is needed, not {_kind(value)}")
    return found


def _check_filter(exposure: Exposure, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"filter: a str or None is needed, not {_kind(value)}")
    return None if value is None else str(value)


def _check_metadata(exposure: Exposure, value: Any) -> Metadata | None:
    from .metadata import Metadata

    return value if value is None or isinstance(value, Metadata) else Metadata(value)


def _check_origin(exposure: Exposure, value: Any) -> tuple[int, int]:
    try:
        y0, x0 = (operator.index(v) for v in value)
    except (TypeError, ValueError):
        raise TypeError(f"origin: a pair of integers (y0, x0) is needed, not {value!r:.60}") from None
    return y0, x0


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


_CHECKS: dict[str, Callable[[Exposure, Any], Any]] = {
    "image": _check_image,
    "mask": _check_mask,
    "variance": _check_variance,
    "wcs": _check_wcs,
    "photo_calib": _check_type("photo_calib", "photo_calib", "PhotoCalib"),
    "psf": _check_type("psf", "psf", "Psf"),
    "background": _check_type("background", "background", "Background"),
    "visit_info": _check_type("visit_info", "visit_info", "VisitInfo"),
    "detector": _check_detector,
    "filter": _check_filter,
    "metadata": _check_metadata,
    "origin": _check_origin,
}
