"""What the names of the LSST stack in old policies stand for."""

from __future__ import annotations

PYTHON_TYPES = {
    "lsst.afw.detection.Background": "bunter.Background",
    "lsst.afw.detection.Psf": "bunter.Psf",
    "lsst.afw.image.Calib": "bunter.PhotoCalib",
    "lsst.afw.image.Exposure": "bunter.Exposure",
    "lsst.afw.image.ExposureD": "bunter.Exposure",
    "lsst.afw.image.ExposureF": "bunter.Exposure",
    "lsst.afw.image.ExposureI": "bunter.Exposure",
    "lsst.afw.image.ExposureU": "bunter.Exposure",
    "lsst.afw.image.DecoratedImageD": "numpy.ndarray",
    "lsst.afw.image.DecoratedImageF": "numpy.ndarray",
    "lsst.afw.image.DecoratedImageI": "numpy.ndarray",
    "lsst.afw.image.DecoratedImageU": "numpy.ndarray",
    "lsst.afw.image.ImageD": "numpy.ndarray",
    "lsst.afw.image.ImageF": "numpy.ndarray",
    "lsst.afw.image.ImageI": "numpy.ndarray",
    "lsst.afw.image.ImageL": "numpy.ndarray",
    "lsst.afw.image.ImageU": "numpy.ndarray",
    "lsst.afw.image.Mask": "bunter.Mask",
    "lsst.afw.image.MaskU": "bunter.Mask",
    "lsst.afw.image.MaskX": "bunter.Mask",
    "lsst.afw.image.MaskedImageD": "bunter.Exposure",
    "lsst.afw.image.MaskedImageF": "bunter.Exposure",
    "lsst.afw.image.MaskedImageI": "bunter.Exposure",
    "lsst.afw.image.PhotoCalib": "bunter.PhotoCalib",
    "lsst.afw.image.TanWcs": "astropy.wcs.WCS",
    "lsst.afw.image.VisitInfo": "bunter.VisitInfo",
    "lsst.afw.image.Wcs": "astropy.wcs.WCS",
    "lsst.afw.geom.SkyWcs": "astropy.wcs.WCS",
    "lsst.afw.math.Background": "bunter.Background",
    "lsst.afw.math.BackgroundList": "bunter.Background",
    "lsst.afw.table.BaseCatalog": "bunter.SourceCatalog",
    "lsst.afw.table.SimpleCatalog": "bunter.SourceCatalog",
    "lsst.afw.table.SourceCatalog": "bunter.SourceCatalog",
    "lsst.daf.base.PropertyList": "bunter.Metadata",
    "lsst.daf.base.PropertySet": "bunter.Metadata",
}

IGNORED_OPTIONS = ("persistable", "level", "tables")


def bunter_name(python: str) -> str:
    """Return the dotted name of the type of Bunter's own that a name of the LSST stack stands for.

    Other names come back as they are; inner modules (``lsst.afw.image.exposure.ExposureF``) do not matter.

    Examples
    --------
    >>> bunter_name("lsst.afw.image.ExposureF"), bunter_name("mypackage.Thing")
    ('bunter.Exposure', 'mypackage.Thing')
    """
    if not python.startswith("lsst."):
        return python
    words = python.split(".")
    short = ".".join((*words[:3], words[-1]))
    return PYTHON_TYPES.get(python) or PYTHON_TYPES.get(short, python)


def is_storage(name: str) -> bool:
    """Tell whether a storage name is Gen2's (``FitsStorage``): the Python type says what it means.

    Examples
    --------
    >>> is_storage("FitsCatalogStorage"), is_storage("FitsTable")
    (True, False)
    """
    return name.endswith("Storage") and len(name) > len("Storage")
