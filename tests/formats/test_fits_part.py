"""FitsPart: every component by itself, in the HDUs that FitsExposure writes for it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from bunter.errors import FormatError, ParameterError, TrustError
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
    SplineLayer,
    VisitInfo,
)
from bunter.formats.equality import same_values
from bunter.formats.fits_exposure import FitsExposure
from bunter.formats.fits_part import FitsPart
from bunter.formats.interface import About
from bunter.testing import FileSource, FormatTests, written
from bunter.trust import Importer

FORMAT = FitsPart()
NAME = "calexp.part {'visit': 1}"


def wcs():
    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crval = 10 / 3, 20 / 7
    made.wcs.cdelt = -1e-4 / 3, 1e-4 / 3
    made.wcs.set()
    return made


def parts():
    chance = np.random.default_rng(4)
    layer = SplineLayer(chance.random((6, 5)), np.arange(5) * 10.0, np.arange(6) * 10.0)
    return {
        "image": chance.normal(size=(9, 8)).astype("f4"),
        "mask": Mask(chance.integers(0, 4, (9, 8)).astype("u2"), {"BAD": 0, "SAT": 1}),
        "variance": chance.random((9, 8)),
        "wcs": wcs(),
        "photo_calib": PhotoCalib(1 / 3, 0.1),
        "psf": PsfExPsf(chance.random((3, 5, 5)).astype("f4"), 1, 1, 2, 3, 4, 0.5, 4.4),
        "background": Background([layer, ChebyshevLayer(chance.random((2, 2)), ((0.0, 30.0), (0.0, 40.0)))]),
        "visit_info": VisitInfo(visit=1, mjd=57000.12345678901),
        "detector": {"name": "N3"},
        "filter": "r",
        "metadata": Metadata({"EXPTIME": 1 / 3, "OBJECT": "M 31"}),
    }


class TestConformance(FormatTests):
    def format(self):
        return FORMAT

    def examples(self):
        known = [(value, About(name=NAME, component=name)) for name, value in parts().items()]
        more = [
            (GaussianPsf(2.0), About(name=NAME, python=Psf, component="psf")),
            (ImagePsf(np.ones((3, 3))), About(name=NAME)),
            (7, About(name=NAME, python=int, component="detector")),
        ]
        return known + more

    def refused(self):
        about = About(name=NAME)
        return [(thing, about) for thing in (None, object(), np.zeros(3, complex), {1: 2}, {"a": {2, 3}})]


@pytest.mark.parametrize("name", list(parts()))
def test_the_same_hdus_as_in_an_exposure(name):
    values = parts()
    whole, alone = io.BytesIO(), io.BytesIO()
    exposure = Exposure(np.zeros((9, 8)), **({name: values[name]} if name != "image" else {}))
    if name == "image":
        exposure.image = values["image"]
    exposure.metadata = exposure.metadata if name == "metadata" else None
    layout = FitsExposure().write(exposure, whole, About())
    mine = FORMAT.write(values[name], alone, About(component=name))
    if name != "metadata":
        theirs = [layout["hdus"][index] for index in layout["parts"][name]]
        assert [hdu[1:] for hdu in mine["hdus"][1:]] == [hdu[1:] for hdu in theirs]


@pytest.mark.parametrize("name", ["photo_calib", "wcs", "visit_info", "filter"])
def test_size(name, tmp_path):
    source = written(FORMAT, parts()[name], About(component=name), tmp_path)
    assert source.size == 5760
    FORMAT.read(source, About(), {})
    assert source.bytes_read == 2880


@pytest.mark.parametrize("name", [n for n in parts() if n not in ("variance", "detector")])
def test_the_type_tells_the_component_too(name, tmp_path):
    source = written(FORMAT, parts()[name], About(), tmp_path)
    assert fits.getheader(source.name)["BUNTPART"] == name
    assert same_values(FORMAT.read(source, About(), {}), parts()[name])


def test_spellings_and_nested_names(tmp_path):
    for component in ("photoCalib", "calib", "calexp.photo_calib"):
        source = written(FORMAT, PhotoCalib(2.0), About(component=component), tmp_path)
        assert fits.getheader(source.name)["BUNTPART"] == "photo_calib"
    source = written(FORMAT, PhotoCalib(2.0), About(component="myCalibration"), tmp_path)
    assert fits.getheader(source.name)["BUNTPART"] == "my_calibration"


def test_metadata_from_headers_and_dicts(tmp_path):
    header = fits.Header([("EXPTIME", 3.0), ("CRVAL1", 1.0)])
    for given in (header, {"EXPTIME": 3.0}):
        source = written(FORMAT, given, About(component="metadata"), tmp_path)
        assert FORMAT.read(source, About(), {}) == {"EXPTIME": 3.0}


def test_cutouts(tmp_path):
    box = (slice(1, 3), slice(2, 8))
    image, mask = parts()["image"], parts()["mask"]
    source = written(FORMAT, image, About(component="image"), tmp_path)
    np.testing.assert_array_equal(FORMAT.read(source, About(), {"bbox": box}), image[box])
    source = written(FORMAT, mask, About(component="mask"), tmp_path)
    assert FORMAT.read(source, About(), {"bbox": box}) == mask[box]
    with pytest.raises(ParameterError, match="bbox"):
        FORMAT.read(written(FORMAT, "r", About(component="filter"), tmp_path), About(), {"bbox": box})


class Theirs:
    """Somebody's own component."""

    def __init__(self, values):
        self.values = values

    def to_dict(self):
        return {"values": self.values}

    @classmethod
    def from_dict(cls, fields):
        return cls(**fields)

    def __eq__(self, other):
        return isinstance(other, Theirs) and self.values == other.values

    __hash__ = None


def test_classes_of_others(tmp_path):
    about = About(python=Theirs, component="aperture_correction")
    source = written(FORMAT, Theirs([1, 2.5, "x"]), about, tmp_path)
    assert FORMAT.read(source, about, {}) == Theirs([1, 2.5, "x"])
    stranger = About(component="aperture_correction", find=Importer().find)
    with pytest.raises(TrustError):
        FORMAT.read(source, stranger, {})


def test_a_name_in_a_file_is_no_reason_to_import_it(tmp_path):
    source = written(FORMAT, PhotoCalib(2.0), About(), tmp_path)
    data = Path(source.name).read_bytes()
    asked = []

    def find(name):
        asked.append(name)
        raise TrustError(name)

    for evil in ("os.systemXXXXXXXX", "bunter.trust.Impo", "builtins.evalXXXX"):
        assert len(evil) <= len("bunter.PhotoCalib")
        Path(source.name).write_bytes(data.replace(b"'bunter.PhotoCalib'", f"'{evil:17}'".encode()))
        with pytest.raises(TrustError):
            FORMAT.read(FileSource(source.name), About(find=find), {})
    assert asked == ["os.systemXXXXXXXX", "bunter.trust.Impo", "builtins.evalXXXX"]


def test_files_of_other_formats(tmp_path):
    source = written(FitsExposure(), Exposure(np.ones((3, 3))), About(), tmp_path)
    with pytest.raises(FormatError, match="was written as FitsExposure"):
        FORMAT.read(FileSource(source.name), About(), {})


def test_damaged_json(tmp_path):
    source = written(FORMAT, PhotoCalib(2.0), About(), tmp_path)
    data = Path(source.name).read_bytes()
    for old, new in ((b'{"nano', b'["nano'), (b"nanojansky_per_count", b"nanojansky_per_cxxnt")):
        Path(source.name).write_bytes(data.replace(old, new))
        with pytest.raises(FormatError, match=r"JSON|nanojansky"):
            FORMAT.read(FileSource(source.name), About(), {})
