"""Every FITS format passes the public conformance tests."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from astropy.wcs import WCS

from bunter.exposure import (
    Background,
    ChebyshevLayer,
    Exposure,
    GaussianPsf,
    ImagePsf,
    Mask,
    Metadata,
    PhotoCalib,
    Psf,
    PsfExPsf,
    SourceCatalog,
    SplineLayer,
    VisitInfo,
)
from bunter.formats import find
from bunter.formats.interface import About
from bunter.testing import FormatTests

BOXES = [(slice(0, 6), slice(0, 8)), (slice(2, 3), slice(4, 8)), (slice(None, 5), slice(1, None))]
BAD_BOXES = [
    (slice(0, 7), slice(0, 8)),
    (slice(-1, 3), slice(0, 8)),
    (slice(4, 3), slice(0, 8)),
    (slice(0, 4, 2), slice(0, 8)),
    (slice(0, 4),),
    "all",
]


def wcs(crval=150.1, sip=False, tpv=False):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TPV", "DEC--TPV"] if tpv else ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = [crval, 2.2]
    made.wcs.crpix = [3.5, 4.25]
    made.wcs.cd = [[-7.3e-5, 1e-7], [1.1e-7, 7.3e-5]]
    if tpv:
        made.wcs.set_pv([(1, 0, 1e-5), (1, 1, 1.0001), (2, 1, 0.9999)])
    made.wcs.set()
    return made


def image(kind="f4"):
    return np.random.default_rng(3).normal(size=(6, 8)).astype(kind)


def psfex():
    components = np.random.default_rng(4).normal(size=(3, 5, 5)).astype("f4")
    components[0] += 10
    return PsfExPsf(
        components, degree=1, x_zero=4.0, x_scale=2.0, y_zero=3.0, y_scale=2.0, sampling=0.7, fwhm=3.25
    )  # fmt: skip


def background():
    nodes = np.arange(5.0)
    spline = SplineLayer(np.outer(nodes, nodes), nodes, nodes, 3)
    return Background([spline, ChebyshevLayer(np.array([[1.0, 0.5], [0.25, 0.0]]), ((0, 6), (0, 8)))])


def exposure():
    variance = np.abs(image()) + 1
    variance[0, 0] = np.inf
    pixels = image()
    pixels[1, 1] = np.nan
    return Exposure(
        pixels,
        mask=Mask(np.arange(48, dtype="u2").reshape(6, 8), {"BAD": 0, "SAT": 1, "CR": 5}),
        variance=variance,
        wcs=wcs(),
        photo_calib=PhotoCalib(1.5, 0.01),
        psf=GaussianPsf(1.7),
        background=background(),
        visit_info=VisitInfo(visit=431608, exposure_time=30.0, airmass=1.1, instrument="DECam"),
        detector="N3",
        filter="r",
        metadata=Metadata({"OBSERVER": "Lord Peter", "GAIN": 1.25, "N": 3, "OK": True}),
    )


class TestFitsImage(FormatTests):
    def format(self):
        return find("FitsImage")

    def examples(self):
        kinds = ("f4", "f8", "i2", "u2", "i4", "u4", "i8", "u8", "u1", "i1", ">f4")
        images = [(np.abs(image("f8") * 9).astype(kind) + i, About(python=np.ndarray)) for i, kind in enumerate(kinds)]
        holes = image()
        holes[2, 3] = np.nan
        return [*images, (holes, About())]

    def refused(self):
        return [([1, 2], About()), (image() * u.m, About()), (np.array(["a"]), About()), (None, About())]

    def selections(self):
        return [({"bbox": box}, lambda array, box=box: array[box]) for box in BOXES]

    def bad_parameters(self):
        return [{"bbox": box} for box in BAD_BOXES]


class TestFitsWcs(FormatTests):
    def format(self):
        return find("FitsWcs")

    def examples(self):
        return [(wcs(), About(python=WCS)), (wcs(150.2), About()), (wcs(tpv=True), About())]

    def refused(self):
        return [(3, About()), (None, About()), ({"CRVAL1": 1}, About())]


def catalog():
    table = Table(
        {
            "id": np.arange(4) + 2**60,
            "flux": np.array([1.5, np.nan, np.inf, -0.0], "f4"),
            "name": ["a", "", "ccc", "d"],
            "flag": [True, False, True, False],
            "xy": np.arange(8.0).reshape(4, 2),
        },
        meta={"TRACT": 3},
    )
    table["flux"].unit = "nJy"
    return table


class TestFitsTable(FormatTests):
    def format(self):
        return find("FitsTable")

    def examples(self):
        masked = catalog()
        masked["m"] = MaskedColumn([1.0, 2.0, 3.0, 4.0], mask=[0, 1, 0, 1])
        return [
            (catalog(), About(python=Table)),
            (masked, About()),
            (catalog()[:0], About()),
            (SourceCatalog(catalog()[["id"]]), About(python=SourceCatalog)),
            (QTable({"x": [1.0, 2.0] * u.m}), About(python=QTable)),
        ]

    def refused(self):
        objects = np.empty(2, object)
        objects[:] = [{"a": 1}, object()]
        return [(3, About()), (None, About()), (Table({"o": objects}), About())]


class TestFitsTableColumns(TestFitsTable):
    def examples(self):
        return [(catalog(), About(python=Table))]

    def selections(self):
        return [({"columns": ["flux", "id"]}, lambda t: t[["flux", "id"]])]

    def bad_parameters(self):
        return [{"columns": bad} for bad in (["idd"], "id", ["id", "id"], 3)]


class TestFitsPart(FormatTests):
    def format(self):
        return find("FitsPart")

    def examples(self):
        return [
            (PhotoCalib(1.5, 0.01), About(python=PhotoCalib, component="photo_calib")),
            (PhotoCalib(1.6), About(python=PhotoCalib, component="photoCalib")),
            (PhotoCalib(1.7), About(python=PhotoCalib)),
            (GaussianPsf(1.7), About(python=Psf, component="psf")),
            (ImagePsf(np.abs(image("f8"))[:5, :5]), About(python=Psf, component="psf")),
            (psfex(), About(python=PsfExPsf)),
            (background(), About(python=Background, component="background")),
            (VisitInfo(visit=3, exposure_time=0.1), About(python=VisitInfo, component="visit_info")),
            (Mask(np.arange(48, dtype="u2").reshape(6, 8), {"BAD": 0}), About(python=Mask, component="mask")),
            (Metadata({"GAIN": 1.25}), About(python=Metadata, component="metadata")),
            (wcs(), About(python=WCS, component="wcs")),
        ]

    def refused(self):
        return [(object(), About(component="psf")), ({1, 2}, About())]


class TestFitsExposure(FormatTests):
    def format(self):
        return find("FitsExposure")

    def examples(self):
        bare = Exposure(image("f8"))
        other = exposure()
        other.wcs = wcs(tpv=True)
        other.psf = psfex()
        other.detector = {"name": "N3", "number": 35}
        return [(exposure(), About(python=Exposure)), (bare, About(python=Exposure)), (other, About(python=Exposure))]

    def refused(self):
        return [(image(), About()), (None, About(python=Exposure))]

    def selections(self):
        return [({"bbox": box}, lambda whole, box=box: whole.cutout(_bounded(box))) for box in BOXES]

    def bad_parameters(self):
        return [{"bbox": box} for box in BAD_BOXES]


def _bounded(box):
    return tuple(slice(*cut.indices(length)[:2]) for cut, length in zip(box, (6, 8), strict=True))


class TestPsfEx(FormatTests):
    def format(self):
        return find("PsfEx")

    def examples(self):
        return [(psfex(), About(python=PsfExPsf))]

    def refused(self):
        return [(GaussianPsf(1.7), About()), (3, About())]
