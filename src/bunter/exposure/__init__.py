"""The astronomy types: an exposure and its parts. Nothing in the butler knows them.

The names are loaded when they are first used, so that importing this package imports neither numpy nor astropy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .background import Background as Background
    from .background import ChebyshevLayer as ChebyshevLayer
    from .background import SplineLayer as SplineLayer
    from .catalog import SourceCatalog as SourceCatalog
    from .exposure import Exposure as Exposure
    from .frozen import FrozenWCS as FrozenWCS
    from .frozen import freeze as freeze
    from .geometry import bbox as bbox
    from .geometry import corners as corners
    from .mask import Mask as Mask
    from .metadata import Metadata as Metadata
    from .operations import add_background as add_background
    from .operations import exchange_background as exchange_background
    from .operations import merge_planes as merge_planes
    from .operations import subtract_background as subtract_background
    from .photo_calib import PhotoCalib as PhotoCalib
    from .psf import GaussianPsf as GaussianPsf
    from .psf import ImagePsf as ImagePsf
    from .psf import Psf as Psf
    from .psfex import PsfExPsf as PsfExPsf
    from .visit import VisitExposure as VisitExposure
    from .visit_info import VisitInfo as VisitInfo
    from .wcs import same_wcs as same_wcs

_HOMES = {
    "Background": "background",
    "ChebyshevLayer": "background",
    "Exposure": "exposure",
    "FrozenWCS": "frozen",
    "GaussianPsf": "psf",
    "ImagePsf": "psf",
    "Mask": "mask",
    "Metadata": "metadata",
    "PhotoCalib": "photo_calib",
    "Psf": "psf",
    "PsfExPsf": "psfex",
    "SourceCatalog": "catalog",
    "SplineLayer": "background",
    "VisitExposure": "visit",
    "VisitInfo": "visit_info",
    "add_background": "operations",
    "bbox": "geometry",
    "corners": "geometry",
    "exchange_background": "operations",
    "freeze": "frozen",
    "merge_planes": "operations",
    "same_wcs": "wcs",
    "subtract_background": "operations",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - one table says both what there is and where it is


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
