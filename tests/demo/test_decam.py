"""The demo on real files, where they are at hand; and its arithmetic, everywhere."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from rich.console import Console

from bunter import Butler
from bunter.demo import run
from bunter.demo.decam import Outcome, corrected_wcs, photo_calib_of


@pytest.fixture(scope="module")
def decam(shared_data: Path) -> Path:
    return shared_data / "decam"


@pytest.fixture(scope="module")
def told(decam: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    paper = io.StringIO()
    console = Console(file=paper, width=10_000)
    return run(tmp_path_factory.mktemp("decam") / "new", data=decam, console=console), paper.getvalue()


@pytest.fixture(scope="module")
def butler(told: tuple[Outcome, str], decam: Path) -> Butler:
    return Butler(Path(told[0].folder) / "legacyzpts", trust_paths=[decam])


def test_zero_point_is_of_counts_of_the_whole_exposure() -> None:
    # The example of https://www.legacysurvey.org/dr9/files/: zero point 25.04, 30 s, magnitude 22.5: 311.3 counts.
    calib = photo_calib_of(25.04, 30.0, 0.02, 100)
    assert calib.to_counts(10 ** (0.4 * (31.4 - 22.5))) == pytest.approx(311.3, rel=1e-3)
    assert calib.zero_point_error == pytest.approx(0.002, rel=1e-3)


def test_offset_moves_the_sky_east_and_north() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [10.0, 60.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [1.0, 1.0], [-1e-4, 1e-4]
    ra, dec = corrected_wcs(wcs, 3.6, -1.8).pixel_to_world_values(0, 0)
    assert (ra - 10.0) * np.cos(np.radians(60.0)) * 3600 == pytest.approx(3.6)
    assert (dec - 60.0) * 3600 == pytest.approx(-1.8)
    assert list(wcs.wcs.crval) == [10.0, 60.0]


def test_every_ccd_becomes_an_exposure(told: tuple[Outcome, str], butler: Butler) -> None:
    outcome, _ = told
    assert outcome.exposures == 10
    assert outcome.ingested["ooi"] == outcome.ingested["psfex"] == outcome.ingested["splinesky"] == 10
    data_ids = [dict(ref.data_id) for ref in butler.query("calexp:legacyzpts")]
    assert {"visit": 431608, "ccd": "N10", "brick": "1867p255"} in data_ids
    assert {"visit": 431608, "ccd": "N3", "brick": "1867p255"} in data_ids
    assert len(data_ids) == 10


def test_parts_are_those_of_the_files(butler: Butler, decam: Path) -> None:
    exposure = butler.get("calexp:legacyzpts", visit=630780, ccd="N2", brick="1867p255")
    image = next(decam.rglob("c4d_170316_062107_ooi_z_ls9.N2.fits"))
    mask = next(decam.rglob("c4d_170316_062107_ood_z_ls9.N2.fits"))
    weight = fits.getdata(next(decam.rglob("c4d_170316_062107_oow_z_ls9.N2.fits")))
    assert np.array_equal(exposure.image, fits.getdata(image))
    assert np.array_equal(exposure.mask.plane("CR"), fits.getdata(mask) == 5)
    assert np.all(np.isinf(exposure.variance[weight == 0]))
    assert np.allclose(exposure.variance[weight > 0], 1 / weight[weight > 0])
    assert exposure.visit_info.exposure_time == 107.0
    assert exposure.visit_info.visit == 630780
    assert exposure.metadata["OBJECT"] == "DECaLS_25440_z"
    assert "MAGZERO" not in exposure.metadata
    assert exposure.psf.fwhm(100, 100) == pytest.approx(3.7, abs=0.4)
    assert exposure.psf.image(100, 100).sum() == pytest.approx(1.0, abs=1e-6)


def test_sky_fits_the_image(butler: Butler) -> None:
    for ref in butler.query("calexp:cp"):
        exposure = ref.get()
        left = exposure.image - exposure.background.image(exposure.shape)
        noise = np.sqrt(np.median(exposure.variance[np.isfinite(exposure.variance)]))
        assert abs(np.median(left)) < 0.5 * noise, ref


def test_calibration_is_that_of_the_table(butler: Butler, decam: Path) -> None:
    table = Table.read(next(decam.rglob("testcase4/survey-ccds-1.fits.gz")))
    for row in table:
        data_id = {"visit": int(row["expnum"]), "ccd": str(row["ccdname"]), "brick": "1867p255"}
        calib = butler.get("calexp:legacyzpts.photoCalib", data_id)
        assert calib.zero_point == pytest.approx(row["ccdzpt"] + 2.5 * np.log10(row["exptime"]), abs=1e-5)
        old, new = (butler.get(name, data_id) for name in ("calexp:cp.wcs", "calexp:legacyzpts.wcs"))
        moved = (np.array(new.wcs.crval) - np.array(old.wcs.crval)) * 3600
        assert moved[1] == pytest.approx(row["ccddecoff"], abs=1e-5)
        assert moved[0] * np.cos(np.radians(old.wcs.crval[1])) == pytest.approx(row["ccdraoff"], abs=1e-5)
        # The distortion (TPV) is still there: both corners moved alike.
        corners = np.array([old.pixel_to_world_values(x, x) for x in (0, 240)])
        apart = 3600 * (np.array([new.pixel_to_world_values(x, x) for x in (0, 240)]) - corners)
        assert np.abs(apart[0] - apart[1]).max() < 1e-4
        assert "PV1_7" in new.to_header(relax=True)


def test_offsets_bring_the_stars_to_gaia(told: tuple[Outcome, str]) -> None:
    outcome, _ = told
    assert outcome.gaia_after.arcsec < 0.8 * outcome.gaia_before.arcsec
    assert outcome.gaia_after.stars > 15
    assert outcome.visits_after.mag < 0.08


def test_a_row_of_the_table_for_the_whole_exposure(butler: Butler) -> None:
    alone = butler.get("splinesky", visit=634850, ccd="N3")
    of_exposure = butler.get("splinesky:exposure", visit=634850, ccd="N3")
    # The same model; its pixels count from the corner of the CCD, those of the cutout from (1118, 2590).
    assert np.allclose(alone.image((50, 60)), of_exposure.image((50, 60), origin=(2590, 1118)))


def test_nothing_was_copied_or_changed(told: tuple[Outcome, str]) -> None:
    outcome, text = told
    assert outcome.inputs_unchanged
    names = {path.name for path in Path(outcome.folder).rglob("*.fits*")}
    assert len(names) == 10
    assert all(name.startswith("wcs-") for name in names)
    assert outcome.bytes_written < outcome.bytes_of_files / 50
    assert "in place" in text


def test_ingesting_again_changes_nothing(told: tuple[Outcome, str], decam: Path) -> None:
    root = Path(told[0].folder) / "decam"
    files = sorted(decam.rglob("c4d_*_ood_*.*.fits"))
    files = [path for path in files if "ls9." in path.name]
    before = hashlib.sha256(b"".join(str(ref.uuid).encode() for ref in Butler(root).query("ood"))).hexdigest()
    with Butler(outputs=root, trust_paths=[decam]) as writer:
        writer.ingest("ood", files)
    after = hashlib.sha256(b"".join(str(ref.uuid).encode() for ref in Butler(root).query("ood"))).hexdigest()
    assert before == after
