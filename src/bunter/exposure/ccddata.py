"""Exposures to and from `astropy.nddata.CCDData`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exposure import Exposure


def to_ccddata(exposure: Exposure) -> Any:
    """Return an exposure as an `astropy.nddata.CCDData` that shares nothing with it.

    The unit is the metadata card ``BUNIT``, else adu. The mask is true where any bit is set (the planes are not kept
    apart); the variance becomes a `VarianceUncertainty`; the WCS is shifted to the cutout; the PSF is its image at the
    centre. The calibration, background, visit info and detector have no place in a CCDData and are left out; the filter
    is the card ``FILTER`` unless the metadata has one.

    Raises
    ------
    ValueError
        If ``BUNIT`` is not a unit.
    """
    import astropy.units as u
    from astropy.nddata import CCDData, VarianceUncertainty

    from .metadata import Metadata
    from .wcs import shifted

    metadata = exposure.metadata.copy() if exposure.metadata is not None else Metadata()
    name = metadata.pop("BUNIT", None) or "adu"
    try:
        unit = u.Unit(str(name))
    except ValueError as error:
        raise ValueError(
            f"the card BUNIT = {name!r} of the metadata is not a unit that astropy knows: {error}"
        ) from error
    if exposure.filter is not None:
        metadata.setdefault("FILTER", exposure.filter)
    (ny, nx), (y0, x0) = exposure.shape, exposure.origin
    psf = None if exposure.psf is None else exposure.psf.image(x0 + (nx - 1) / 2, y0 + (ny - 1) / 2)
    return CCDData(
        exposure.image.copy(),
        unit=unit,
        mask=None if exposure.mask is None else exposure.mask.any_of(),
        uncertainty=None if exposure.variance is None else VarianceUncertainty(exposure.variance.copy()),
        wcs=None if exposure.wcs is None else shifted(exposure.wcs, exposure.origin),
        meta=metadata.to_header(),
        psf=psf,
    )


def from_ccddata(ccd: Any, cls: type[Exposure]) -> Exposure:
    """Make an exposure of an `astropy.nddata.CCDData`; it shares nothing with it.

    The mask becomes the plane ``BAD``; any uncertainty that can be a variance becomes the variance; the unit becomes
    the metadata card ``BUNIT``, and the card ``FILTER`` the filter.

    Raises
    ------
    TypeError
        If `ccd` is not a CCDData.
    """
    from astropy.nddata import CCDData, VarianceUncertainty

    from .mask import Mask
    from .metadata import Metadata
    from .psf import ImagePsf

    if not isinstance(ccd, CCDData):
        raise TypeError(f"an astropy.nddata.CCDData is needed, not {type(ccd).__name__}")
    metadata = Metadata(ccd.header)
    if ccd.unit is not None:
        metadata["BUNIT"] = ccd.unit.to_string()
    variance = None
    if ccd.uncertainty is not None:
        variance = ccd.uncertainty.represent_as(VarianceUncertainty).array.copy()
    return cls(
        ccd.data.copy(),
        mask=None if ccd.mask is None else Mask.from_planes({"BAD": ccd.mask}, ccd.data.shape),
        variance=variance,
        wcs=copy.deepcopy(ccd.wcs),
        psf=None if getattr(ccd, "psf", None) is None else ImagePsf(ccd.psf),
        filter=_name(metadata.get("FILTER")),
        metadata=metadata,
    )


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None
