"""WCS of many kinds, made by hand or read from real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip

FIELD = Path("decam/field_1867p255/testcase4")


@pytest.fixture(scope="session")
def decam(shared_data: Path) -> Path:
    return shared_data / FIELD


@pytest.fixture(scope="session")
def decam_header(decam: Path) -> fits.Header:
    path = decam / "images/decam/CP/V4.8.2/CP20170315/c4d_170316_062107_ooi_z_ls9.N2.fits"
    with fits.open(path) as hdus:
        return hdus[1].header.copy()


def tan() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [186.744, 25.462]
    wcs.wcs.crpix = [50.5, 40.5]
    wcs.wcs.cdelt = [-7.3e-5, 7.3e-5]
    wcs.wcs.cunit = ["deg", "deg"]
    return wcs


def tpv() -> WCS:
    header = tan().to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
    for axis in (1, 2):
        for term, value in ((0, 1e-4), (1, 1.0 + 1.234567890123e-3), (2, 2e-4), (4, -1e-3), (7, 3e-3)):
            header[f"PV{axis}_{term}"] = value * axis if term != 1 else value
    return WCS(header)


def sip() -> WCS:
    wcs = tan()
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[2, 0], a[1, 1], b[0, 2] = 1.2345678901234567e-6, -3e-7, 2e-6
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    return wcs


def lookup() -> WCS:
    wcs = tan()
    rng = np.random.default_rng(1)
    wcs.cpdis1 = DistortionLookupTable(rng.normal(size=(8, 8)).astype("float32"), (1, 1), (1, 1), (16, 16))
    wcs.cpdis2 = DistortionLookupTable(rng.normal(size=(8, 8)).astype("float32"), (1, 1), (1, 1), (16, 16))
    return wcs


def cube() -> WCS:
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN", "FREQ"]
    wcs.wcs.crval = [10.0, -20.0, 1.4e9]
    wcs.wcs.crpix = [8, 8, 1]
    wcs.wcs.cdelt = [-1e-3, 1e-3, 1e6]
    wcs.wcs.cunit = ["deg", "deg", "Hz"]
    return wcs


def tab(step: float = 1.0) -> WCS:
    """A spectral axis whose wavelengths are in a table (-TAB)."""
    wavelengths = (np.array([4000.0, 4010.0, 4030.0, 4080.0]) * step)[None, :, None] * 1e-10
    table = fits.BinTableHDU.from_columns(
        [fits.Column("COORDS", format="4D", dim="(1,4)", array=wavelengths, unit="m")], name="WCS-TABLE"
    )
    image = fits.PrimaryHDU(np.zeros((4, 16, 16), dtype="float32"))
    image.header.update(cube().to_header())
    image.header.update(
        CTYPE3="WAVE-TAB", CUNIT3="m", CRVAL3=1.0, CDELT3=1.0, CRPIX3=1.0, PS3_0="WCS-TABLE", PS3_1="COORDS", PV3_1=1
    )
    for card in ("RESTFRQ", "SPECSYS"):
        image.header.remove(card, ignore_missing=True)
    hdus = fits.HDUList([image, table])
    return WCS(hdus[0].header, hdus)


KINDS = {"tan": tan, "tpv": tpv, "sip": sip, "lookup": lookup, "cube": cube, "tab": tab}


@pytest.fixture(params=list(KINDS))
def any_wcs(request: pytest.FixtureRequest) -> WCS:
    return KINDS[request.param]()
