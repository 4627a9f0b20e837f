"""FitsWcs: any WCS that astropy reads comes back the same, to the last bit."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.data import get_pkg_data_filename
from astropy.wcs import WCS, FITSFixedWarning, Sip

from bunter.errors import FormatError
from bunter.exposure import freeze, same_wcs
from bunter.formats import fits_wcs
from bunter.formats.fits_cards import Card, Cards
from bunter.formats.fits_file import FitsFile
from bunter.formats.fits_wcs import FitsWcs
from bunter.formats.interface import About
from bunter.testing import FileSource, FormatTests, written

FORMAT = FitsWcs()


def tan(coefficients=(), **changes):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 10.684708333333333, 1 / 3
    wcs.wcs.crpix = 1024.1234567890123, 1e3 / 7
    wcs.wcs.cd = np.array([[-7.3e-5 / 3, 1e-9 / 7], [2e-9 / 7, 7.3e-5 / 3]])
    for name, value in changes.items():
        setattr(wcs.wcs, name, value)
    if coefficients:
        wcs.wcs.set_pv(coefficients)
    wcs.wcs.set()
    return wcs


def tpv():
    coefficients = [(1, 0, 1e-5 / 3), (1, 1, 1 + 1e-4 / 7), (1, 4, 1e-6 / 9), (2, 1, 1.0), (2, 10, -1e-7 / 3)]
    return tan(coefficients, ctype=["RA---TPV", "DEC--TPV"])


def sip():
    wcs = tan(ctype=["RA---TAN-SIP", "DEC--TAN-SIP"])
    a = np.zeros((3, 3))
    a[0, 2], a[1, 1], a[2, 0] = 1e-6 / 3, -1e-7 / 7, 1e-8 / 9
    wcs.sip = Sip(a, a.T * 2, None, None, wcs.wcs.crpix)
    return wcs


def pc():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "GLON-CAR", "GLAT-CAR"
    wcs.wcs.cdelt = -0.01 / 3, 0.01 / 3
    wcs.wcs.pc = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    wcs.wcs.crval = 33.0, 0.0
    wcs.wcs.dateobs, wcs.wcs.mjdobs = "2015-04-11T03:52:42.123", 57123.16159864583
    wcs.wcs.set()
    wcs.pixel_shape = 200, 100
    return wcs


def cube():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN", "FREQ"
    wcs.wcs.cunit = "deg", "deg", "Hz"
    wcs.wcs.crval = 10, 20, 1.4e9 / 3
    wcs.wcs.cdelt = -1e-4, 1e-4, 1e6 / 7
    wcs.wcs.restfrq = 1.420405751786e9
    wcs.wcs.set()
    return wcs


class TestConformance(FormatTests):
    def format(self):
        return FORMAT

    def examples(self):
        return [(wcs, About(name="wcs 1", python=WCS)) for wcs in (tan(), tpv(), sip(), pc(), cube())]

    def refused(self):
        return [(tan().to_header(), About(name="wcs 1")), (None, About(name="wcs 1"))]


def world(wcs):
    pixels = np.random.default_rng(1).random((wcs.naxis, 100)) * 100
    return np.array(wcs.all_pix2world(*pixels, 0))


def through_file(wcs, folder):
    source = written(FORMAT, wcs, About(), folder)
    return FORMAT.read(source, About(), {}), FORMAT.read(FileSource(source.name), About(), {})


@pytest.mark.parametrize("make", [tan, tpv, sip, pc, cube])
def test_positions_to_the_last_bit(make, tmp_path):
    wcs = make()
    for back in through_file(wcs, tmp_path):
        assert same_wcs(wcs, back)
        np.testing.assert_array_equal(world(back), world(wcs))
        assert back.pixel_shape == wcs.pixel_shape
        assert back.wcs.has_cd() == wcs.wcs.has_cd()
        np.testing.assert_array_equal(back.wcs.crval, wcs.wcs.crval)


def sip_both_ways():
    wcs = tan(ctype=["RA---TAN-SIP", "DEC--TAN-SIP"], crval=[0.0, -90.0], dateobs="2015-04-11", equinox=2000.0)
    chance = np.random.default_rng(3)
    matrices = [np.triu(chance.normal(0, 1e-7, (n, n)))[:, ::-1] for n in (4, 3, 6, 10)]
    wcs.sip = Sip(*matrices, wcs.wcs.crpix)
    return wcs


def sip_inverse():
    wcs = sip()
    wcs.sip = Sip(None, None, wcs.sip.a, wcs.sip.b, wcs.wcs.crpix)
    return wcs


def linear():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ["LINEAR", "WAVE"], ["mm", "Angstrom"]
    wcs.wcs.crval, wcs.wcs.cdelt = [1 / 3, 5000.0], [1 / 7, 1.1]
    wcs.wcs.set()
    return wcs


def facts(wcs):
    inner, sip = wcs.wcs, wcs.sip
    names = (
        "ctype",
        "crval",
        "crpix",
        "lonpole",
        "latpole",
        "equinox",
        "mjdobs",
        "dateobs",
        "radesys",
        "name",
        "mjdref",
    )
    values = [np.array(getattr(inner, name)).tobytes() for name in (*names, "lng", "lat", "timesys")]
    values += [inner.get_cdelt().tobytes(), inner.get_pv(), inner.has_cd()]
    values += [np.array(inner.cd if inner.has_cd() else inner.get_pc()).tobytes()]
    values += [[str(unit) for unit in inner.cunit], wcs.to_header_string(relax=True), repr(wcs.__dict__)]
    if sip is not None:
        values += [None if m is None else (m.shape, m.tobytes()) for m in (sip.a, sip.b, sip.ap, sip.bp, sip.crpix)]
    return values


@pytest.mark.parametrize("make", [tan, tpv, pc, sip, sip_both_ways, sip_inverse, linear])
def test_the_quick_way_agrees_with_astropy(make, tmp_path, monkeypatch):
    wcs = make()
    source = written(FORMAT, wcs, About(), tmp_path)
    assert fits_wcs._simple(FitsFile(source).cards(0)) is not None
    quick = FORMAT.read(source, About(), {})
    monkeypatch.setattr(fits_wcs, "_simple", lambda cards: None)
    slow = FORMAT.read(source, About(), {})
    assert facts(quick) == facts(slow)
    assert same_wcs(quick, slow)
    assert quick.wcs.compare(slow.wcs)
    np.testing.assert_array_equal(world(quick), world(slow))
    if quick.has_celestial:
        sky = world(quick)
        found = [w.all_world2pix(*sky, 0, quiet=True) for w in (quick, slow)]
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "card",
    [
        ("A_ORDER", 1),
        ("A_ORDER", 10),
        ("A_ORDER", "2"),
        ("A_2_1", 1e-9),
        ("A_0_2", "much"),
        ("CTYPE1", "RA---TAN"),
        ("B_ORDER", None),
        ("PV2_1", True),
        ("MJDREF", 5.0),
        ("RADESYS", 1),
        ("UNKNOWN", 1),
        ("WCSAXES", 3),
    ],
)
def test_what_is_not_plain_is_left_to_astropy(card, tmp_path):
    keyword, value = card
    cards = {each.keyword: each for each in FitsFile(written(FORMAT, sip(), About(), tmp_path)).cards(0)}
    assert fits_wcs._simple(Cards(cards.values())) is not None
    cards[keyword] = Card(keyword, value)
    assert fits_wcs._simple(Cards(cards.values())) is None


def test_size(tmp_path):
    assert written(FORMAT, tan(), About(), tmp_path).size == 2880
    assert written(FORMAT, tpv(), About(), tmp_path).size <= 5760


def test_header_is_readable_by_others(tmp_path):
    source = written(FORMAT, tan(), About(), tmp_path)
    with pytest.warns(FITSFixedWarning, match="more axes"):
        wcs = WCS(fits.getheader(source.name))
    np.testing.assert_array_equal(world(wcs), world(tan()))


def test_frozen_wcs_is_written_too(tmp_path):
    frozen = freeze(tan())
    source = written(FORMAT, frozen, About(), tmp_path)
    assert same_wcs(FORMAT.read(source, About(), {}), tan())
    assert FORMAT.is_stored(frozen, source.layout, None, About()) is True


def test_is_stored(tmp_path):
    source = written(FORMAT, tan(), About(), tmp_path)
    assert FORMAT.is_stored(tan(), source.layout, None, About()) is True
    assert FORMAT.is_stored(tan(crval=[1, 2]), source.layout, None, About()) is None
    assert FORMAT.is_stored("no WCS", source.layout, None, About()) is None


@pytest.mark.parametrize(
    ("name", "hdu"),
    [
        ("dist_lookup.fits.gz", 1),
        ("tab-time-last-axis.fits", 0),
        ("sip.fits", 0),
        ("sip2.fits", 0),
        ("ie6d07ujq_wcs.fits", 0),
        ("j94f05bgq_flt.fits", 1),
        ("dist.fits", 0),
        ("irac_sip.hdr", None),
        ("3d_cd.hdr", None),
        ("tpvonly.hdr", None),
        ("siponly.hdr", None),
        ("zpn-hole.hdr", None),
        ("2wcses.hdr", None),
        ("too_many_pv.hdr", None),
    ],
)
def test_what_astropy_tests_itself_with(name, hdu, tmp_path):
    path = Path(get_pkg_data_filename(f"tests/data/{name}", package="astropy.wcs"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hdu is None:
            wcs = WCS(path.read_bytes())
        else:
            with fits.open(path) as hdus:
                wcs = WCS(hdus[hdu].header, hdus)
        expected = world(wcs)
    for back in through_file(wcs, tmp_path):
        assert same_wcs(wcs, back)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(world(back), expected)


def test_foreign_headers(tmp_path):
    path = tmp_path / "foreign.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = fits.ImageHDU(np.zeros((5, 5)), header=tan().to_header(relax=True))
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    assert FORMAT.read(FileSource(path), About(), {}).pixel_shape == (5, 5)
    fits.PrimaryHDU(np.zeros((5, 5))).writeto(path, overwrite=True)
    with pytest.raises(FormatError, match=r"no header of .* has a WCS"):
        FORMAT.read(FileSource(path), About(name="wcs"), {})


def test_a_header_that_astropy_refuses(tmp_path):
    header = tan().to_header()
    header["CUNIT2"] = "m/s"
    path = tmp_path / "foreign.fits"
    fits.PrimaryHDU(header=header).writeto(path)
    with pytest.raises(FormatError, match="cannot be read"):
        FORMAT.read(FileSource(path), About(), {})


def test_alternative_wcs(tmp_path):
    header = fits.Header()
    for key, value in tan().to_header(key="B").items():
        header[key] = value
    path = tmp_path / "foreign.fits"
    fits.PrimaryHDU(header=header).writeto(path)
    wcs = FORMAT.read(FileSource(path), About(), {})
    assert wcs.wcs.alt == "B"
    for back in through_file(wcs, tmp_path):
        assert same_wcs(wcs, back)


def test_index_vectors_are_refused(tmp_path):
    index, coords = np.array([[1.0, 2.0, 4.0]]), np.array([[10.0, 20.0, 40.0]])
    table = fits.BinTableHDU.from_columns(
        [fits.Column("coords", "3D", array=coords, dim="(1,3)"), fits.Column("index", "3D", array=index)], name="TAB"
    )
    header = fits.Header()
    header.update({"CTYPE1": "WAVE-TAB", "CUNIT1": "m", "CRVAL1": 1.0})
    header.update({"PS1_0": "TAB", "PS1_1": "coords", "PS1_2": "index"})
    path = tmp_path / "tab.fits"
    fits.HDUList([fits.PrimaryHDU(np.zeros(4), header), table]).writeto(path)
    wcs = FORMAT.read(FileSource(path), About(), {})
    np.testing.assert_allclose(wcs.all_pix2world([0, 1, 2], 0)[0], [20, 30, 40])
    with pytest.raises(FormatError, match="index vectors"):
        written(FORMAT, wcs, About(), tmp_path)


def test_decam(shared_data, tmp_path):
    paths = sorted(shared_data.glob("decam/**/*ooi*.fits"))
    paths = [path for path in paths if "images" in path.parts]
    for path in paths:
        back = FORMAT.read(FileSource(path), About(), {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path) as hdus:
                expected = WCS(hdus[1].header)
        np.testing.assert_array_equal(world(back), world(expected))
        for again in through_file(back, tmp_path):
            assert same_wcs(back, again)
            np.testing.assert_array_equal(world(again), world(back))
    assert len(paths) >= 9
