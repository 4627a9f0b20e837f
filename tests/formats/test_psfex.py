"""PsfEx: models by PSFEx, one a file or a row for each CCD."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from bunter.definitions.model import PartDefinition
from bunter.errors import FormatError
from bunter.exposure import GaussianPsf, Psf, PsfExPsf
from bunter.formats.interface import About
from bunter.formats.psfex import PsfEx
from bunter.testing import FileSource, FormatTests

FORMAT = PsfEx()


def psf(seed=0, degree=2):
    terms = (degree + 1) * (degree + 2) // 2
    pixels = np.random.default_rng(seed).random((terms, 7, 5)).astype("f4")
    return PsfExPsf(pixels, degree, 1 / 3, 2000.5, -7.25, 4000 / 7, 0.5 + 1 / 7, 4.4)


class TestConformance(FormatTests):
    def format(self):
        return FORMAT

    def examples(self):
        about = About(name="psf 1", python=Psf)
        return [(psf(), about), (psf(1, 0), about), (psf(2, 3), about)]

    def refused(self):
        return [(thing, About(name="psf 1")) for thing in (GaussianPsf(1.0), np.zeros((3, 3)), None)]


CARDS = {
    "POLNGRP": 1,
    "POLNAME1": "X_IMAGE",
    "POLNAME2": "Y_IMAGE",
    "POLZERO1": 10.0,
    "POLZERO2": 20.0,
    "POLSCAL1": 100.0,
    "POLSCAL2": 200.0,
    "POLDEG1": 1,
    "PSF_SAMP": 0.7,
    "PSF_FWHM": 3.5,
}


def foreign(tmp_path, rows=1, columns=(), masks=None, **cards):
    masks = np.random.default_rng(3).random((rows, 3, 5, 5)).astype("f4") if masks is None else masks
    size = int(np.prod(masks.shape[1:]))
    dim = "(" + ",".join(str(n) for n in reversed(masks.shape[1:])) + ")"
    hdu = fits.BinTableHDU.from_columns([fits.Column("PSF_MASK", f"{size}E", dim=dim, array=masks), *columns])
    for key, value in (CARDS | cards).items():
        if value is not None:
            hdu.header[key] = value
    path = tmp_path / "foreign.psf"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return FileSource(path), masks


def test_one_model(tmp_path):
    source, masks = foreign(tmp_path)
    found = FORMAT.read(source, About(), {})
    assert found == PsfExPsf(masks[0], 1, 10, 100, 20, 200, 0.7, 3.5)


def many(tmp_path, size=5):
    columns = [
        fits.Column("ccdname", "3A", array=np.array(["N1", "N2", "S10"])),
        fits.Column("expnum", "J", array=np.array([7, 7, 7])),
        fits.Column("polzero1", "D", array=np.array([1.0, 2.0, 3.0])),
        fits.Column("poldeg1", "J", array=np.array([1, 0, 1])),
    ]
    masks = np.random.default_rng(3).random((3, 3, size, size)).astype("f4")
    return foreign(tmp_path, 3, columns, masks)


def by_row(**row):
    return {"psf": PartDefinition("psf", row=row)}


def test_a_row_for_each_ccd(tmp_path):
    source, masks = many(tmp_path)
    about = About(parts=by_row(ccdname="{ccd}", expnum="{visit}"), data_id={"ccd": "S10", "visit": 7})
    assert FORMAT.read(source, about, {}) == PsfExPsf(masks[2], 1, 3.0, 100, 20, 200, 0.7, 3.5)
    # The columns of a row come before the cards of the header; the pixels of lower degrees are padded.
    about = About(parts=by_row(ccdname="{ccd}"), data_id={"ccd": "N2"})
    assert FORMAT.read(source, about, {}) == PsfExPsf(masks[1, :1], 0, 2.0, 100, 20, 200, 0.7, 3.5)


def test_only_the_row_is_read(tmp_path):
    source, masks = many(tmp_path, size=101)
    layout = FORMAT.scan(source, About(), False)
    fresh = FileSource(source.name, layout)
    FORMAT.read(fresh, About(parts=by_row(ccdname="N1")), {})
    assert fresh.bytes_read < masks[0].nbytes * 1.2


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({}, "3 of the 3 models"),
        (by_row(ccdname="N9"), "0 of the 3 models"),
        (by_row(expnum=7), "3 of the 3 models"),
        (by_row(ccdnam="N1"), "did you mean 'ccdname'"),
        (by_row(ccdname="{ccd}"), "needs the key 'ccd'"),
    ],
)
def test_which_row(tmp_path, parts, word):
    source, _ = many(tmp_path)
    with pytest.raises(FormatError, match=word):
        FORMAT.read(source, About(parts=parts), {})


@pytest.mark.parametrize(
    ("cards", "word"),
    [
        ({"POLDEG1": None}, "POLDEG1"),
        ({"POLSCAL2": None}, "POLSCAL2"),
        ({"POLNAME1": "MAG_AUTO"}, "MAG_AUTO"),
        ({"POLNGRP": 2}, "several groups"),
        ({"POLDEG1": 5}, "degree 5 has 21 terms"),
        ({"POLSCAL1": 0.0}, "x_scale"),
    ],
)
def test_what_is_no_model(tmp_path, cards, word):
    source, _ = foreign(tmp_path, **cards)
    with pytest.raises(FormatError, match=word):
        FORMAT.read(source, About(), {})


def test_other_tables(tmp_path):
    path = tmp_path / "table.fits"
    hdu = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with pytest.raises(FormatError, match="no PSFEx file"):
        FORMAT.read(FileSource(path), About(), {})


def test_decam(shared_data):
    paths = sorted(shared_data.glob("decam/**/*psfex*.fits")) + sorted(shared_data.glob("decam/**/psfex/**/*.fits"))
    for path in paths:
        found = FORMAT.read(FileSource(path), About(python=Psf), {})
        header = fits.getheader(path, 1)
        assert found.x_zero == header["POLZERO1"]
        assert found.mean_fwhm == header["PSF_FWHM"]
        np.testing.assert_array_equal(found.components, fits.getdata(path, 1)["psf_mask"][0])
        assert abs(found.image(100, 100).sum() - 1) < 1e-9
    assert len(paths) >= 10
