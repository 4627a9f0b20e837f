"""The accessors that code written for the Gen2 butler calls: ``exposure.getWcs()``, ``exposure.setCalib(calib)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .background import Background
    from .mask import Mask
    from .metadata import Metadata
    from .photo_calib import PhotoCalib
    from .psf import Psf
    from .visit_info import VisitInfo


class CalibratedAccessors:
    """``getWcs``, ``setWcs``, ``getPhotoCalib``, ``setPhotoCalib``, ``getCalib``, ``setCalib`` and ``calib``."""

    if not TYPE_CHECKING:  # the attributes are those of the subclass, which mypy cannot know
        __slots__ = ()

    wcs: Any
    photo_calib: PhotoCalib | None

    @property
    def calib(self) -> PhotoCalib | None:
        """The photometric calibration, by its older name."""
        return self.photo_calib

    @calib.setter
    def calib(self, value: PhotoCalib | None) -> None:
        self.photo_calib = value

    def getWcs(self) -> Any:
        """Return the WCS."""
        return self.wcs

    def setWcs(self, wcs: Any) -> None:
        """Set the WCS."""
        self.wcs = wcs

    def getPhotoCalib(self) -> PhotoCalib | None:
        """Return the photometric calibration."""
        return self.photo_calib

    def setPhotoCalib(self, photo_calib: PhotoCalib | None) -> None:
        """Set the photometric calibration."""
        self.photo_calib = photo_calib

    def getCalib(self) -> PhotoCalib | None:
        """Return the photometric calibration."""
        return self.photo_calib

    def setCalib(self, calib: PhotoCalib | None) -> None:
        """Set the photometric calibration."""
        self.photo_calib = calib


class ExposureAccessors(CalibratedAccessors):
    """The accessors of an exposure's other components."""

    if not TYPE_CHECKING:  # the attributes are those of the subclass, which mypy cannot know
        __slots__ = ()

    image: Any
    mask: Mask | None
    variance: Any
    psf: Psf | None
    background: Background | None
    visit_info: VisitInfo | None
    detector: int | str | dict[str, Any] | None
    filter: str | None
    metadata: Metadata | None

    def getImage(self) -> Any:
        """Return the pixels."""
        return self.image

    def setImage(self, image: Any) -> None:
        """Set the pixels."""
        self.image = image

    def getMask(self) -> Mask | None:
        """Return the mask."""
        return self.mask

    def setMask(self, mask: Mask | None) -> None:
        """Set the mask."""
        self.mask = mask

    def getVariance(self) -> Any:
        """Return the variance plane."""
        return self.variance

    def setVariance(self, variance: Any) -> None:
        """Set the variance plane."""
        self.variance = variance

    def getPsf(self) -> Psf | None:
        """Return the PSF."""
        return self.psf

    def setPsf(self, psf: Psf | None) -> None:
        """Set the PSF."""
        self.psf = psf

    def getBackground(self) -> Background | None:
        """Return the background."""
        return self.background

    def setBackground(self, background: Background | None) -> None:
        """Set the background."""
        self.background = background

    def getVisitInfo(self) -> VisitInfo | None:
        """Return what is known of the visit."""
        return self.visit_info

    def setVisitInfo(self, visit_info: VisitInfo | None) -> None:
        """Set what is known of the visit."""
        self.visit_info = visit_info

    def getDetector(self) -> int | str | dict[str, Any] | None:
        """Return the detector."""
        return self.detector

    def setDetector(self, detector: int | str | Mapping[str, Any] | None) -> None:
        """Set the detector."""
        self.detector = detector  # type: ignore[assignment]  # a mapping is taken over as a dict

    def getFilter(self) -> str | None:
        """Return the name of the filter."""
        return self.filter

    def setFilter(self, filter: str | None) -> None:
        """Set the name of the filter."""
        self.filter = filter

    def getMetadata(self) -> Metadata | None:
        """Return the metadata."""
        return self.metadata

    def setMetadata(self, metadata: Mapping[str, Any] | None) -> None:
        """Set the metadata."""
        self.metadata = metadata  # type: ignore[assignment]  # a mapping is taken over as Metadata
