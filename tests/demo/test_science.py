"""The demo's science, without any butler: simulated skies, detection, the joint fit."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from bunter.demo import detect, fit, sky
from bunter.exposure import Exposure, GaussianPsf, Mask, PhotoCalib

SIZE = 512
SEED = 11


@pytest.fixture(scope="module")
def stars() -> Table:
    return sky.true_stars(SIZE, SEED)


@pytest.fixture(scope="module")
def simulated(stars: Table) -> dict:
    return {(v, c): sky.simulate(v, c, stars, SIZE, SEED) for v in sky.VISITS for c in sky.CCDS}


@pytest.fixture(scope="module")
def catalogs(simulated: dict) -> dict:
    return {key: detect.detect(one.exposure) for key, one in simulated.items()}


@pytest.fixture(scope="module")
def fitted(catalogs: dict, stars: Table) -> fit.JointFit:
    return fit.joint_fit(catalogs, sky.reference_catalogue(stars, SEED))


def test_same_seed_same_pixels_other_visit_other_noise(stars: Table, simulated: dict) -> None:
    again = sky.simulate(1, "N3", stars, SIZE, SEED)
    assert again.exposure == simulated[1, "N3"].exposure
    other = sky.simulate(1, "N3", stars, SIZE, SEED + 1)
    assert not np.array_equal(again.exposure.image, other.exposure.image)
    assert simulated[1, "N3"].true_zero_point != simulated[2, "N3"].true_zero_point


def test_rendered_flux_and_position_are_what_was_asked() -> None:
    image = sky.render(np.array([30.25]), np.array([20.75]), np.array([5000.0]), 2.0, (48, 64))
    y, x = np.indices(image.shape)
    assert image.shape == (48, 64)
    assert image.sum() == pytest.approx(5000.0, rel=1e-4)
    assert (image * x).sum() / image.sum() == pytest.approx(30.25, abs=1e-3)
    assert (image * y).sum() / image.sum() == pytest.approx(20.75, abs=1e-3)


def test_star_outside_the_image_leaves_only_its_wing() -> None:
    image = sky.render(np.array([-2.0, 500.0]), np.array([10.0, 10.0]), np.array([1000.0, 1e9]), 2.0, (32, 32))
    assert 0 < image.sum() < 500
    assert image[:, 16:].max() == 0


def test_noise_is_as_the_variance_says(simulated: dict) -> None:
    exposure = simulated[1, "N3"].exposure
    good = ~exposure.mask.plane("BAD")
    level, noise = detect.background(exposure.image, ~good)
    assert level.shape == exposure.image.shape
    assert float(np.median(level)) == pytest.approx(sky.SKY_LEVEL, rel=0.05)
    assert noise == pytest.approx(np.sqrt(sky.SKY_LEVEL), rel=0.1)


def test_measurements_agree_with_the_truth_within_their_errors(simulated: dict, catalogs: dict, stars: Table) -> None:
    pulls = []
    for key, one in simulated.items():
        found = catalogs[key][~np.asarray(catalogs[key]["blended"])]
        x, y = one.true_wcs.world_to_pixel_values(stars["ra"], stars["dec"])
        counts = 10 ** (-0.4 * (np.asarray(stars["mag"]) - one.true_zero_point))
        for row in found:
            distance = np.hypot(x - row["x"], y - row["y"])
            star = int(np.argmin(distance))
            if np.partition(distance, 1)[1] > 15 and distance[star] < 2:
                pulls.append(
                    [
                        (row["x"] - x[star]) / row["x_error"],
                        (row["y"] - y[star]) / row["y_error"],
                        (row["flux"] - counts[star]) / row["flux_error"],
                        (row["aperture_flux"] - counts[star]) / row["aperture_flux_error"],
                    ]
                )
    assert len(pulls) > 60
    spread = 1.4826 * np.median(np.abs(pulls - np.median(pulls, axis=0)), axis=0)
    assert np.all((spread > 0.6) & (spread < 1.6)), spread
    assert np.all(np.abs(np.median(pulls, axis=0)) < 0.6)


def test_masked_pixels_are_left_out(simulated: dict, catalogs: dict) -> None:
    bad = simulated[1, "N3"].exposure.mask.plane("BAD")
    column = int(np.nonzero(bad.any(axis=0))[0][0])
    found = catalogs[1, "N3"]
    # A dead column of zeros would be a row of sources on either side.
    assert np.sum(np.abs(np.asarray(found["x"]) - column) < 3) < 8


def test_catalog_carries_the_calibration_of_its_exposure(simulated: dict, catalogs: dict) -> None:
    assert catalogs[2, "S1"].wcs is simulated[2, "S1"].exposure.wcs
    assert catalogs[2, "S1"].photo_calib == simulated[2, "S1"].exposure.photo_calib


def test_detection_needs_variance_and_psf() -> None:
    with pytest.raises(ValueError, match="variance and a PSF"):
        detect.detect(Exposure(np.zeros((64, 64), np.float32)))


def test_empty_sky_gives_an_empty_catalog() -> None:
    noise = np.random.default_rng(5).standard_normal((128, 128), dtype=np.float32)
    exposure = Exposure(
        noise, variance=np.ones_like(noise), psf=GaussianPsf(2.0), mask=Mask(np.zeros((128, 128), int), {})
    )
    found = detect.detect(exposure)
    assert len(found) == 0
    assert "flux" in found.colnames


def test_fit_recovers_the_true_calibration(simulated: dict, catalogs: dict, fitted: fit.JointFit) -> None:
    corners = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE], [SIZE / 2, SIZE / 2]], dtype=float)
    for key, one in simulated.items():
        plane = fit._Plane(*sky.CENTRE)
        truth = np.column_stack(plane.project(*one.true_wcs.pixel_to_world_values(*corners.T)))
        before = np.column_stack(plane.project(*one.exposure.wcs.pixel_to_world_values(*corners.T)))
        after = np.column_stack(plane.project(*fitted.wcs[key].pixel_to_world_values(*corners.T)))
        assert np.abs(before - truth).max() > 0.2
        assert np.abs(after - truth).max() < 0.06
        assert abs(one.exposure.photo_calib.zero_point - one.true_zero_point) > 0.03
        assert abs(fitted.photo_calib[key].zero_point - one.true_zero_point) < 0.02
        assert 0 < fitted.photo_calib[key].zero_point_error < 0.02


def test_fit_does_not_touch_what_it_was_given(simulated: dict, stars: Table, fitted: fit.JointFit) -> None:
    again = sky.simulate(1, "N3", stars, SIZE, SEED).exposure
    assert np.array_equal(simulated[1, "N3"].exposure.wcs.wcs.crval, again.wcs.wcs.crval)
    assert np.array_equal(simulated[1, "N3"].exposure.wcs.wcs.cd, again.wcs.wcs.cd)


def test_scatter_before_and_after(catalogs: dict, stars: Table, fitted: fit.JointFit) -> None:
    for key, catalog in catalogs.items():
        before = fit.scatter((fit.on_sky(catalog, catalog.wcs, catalog.photo_calib), stars))
        after = fit.scatter((fit.on_sky(catalog, fitted.wcs[key], fitted.photo_calib[key]), stars))
        assert after.arcsec < before.arcsec / 10
        assert after.mag < before.mag
        assert after.stars >= 10


def test_scatter_of_nothing_is_nan() -> None:
    nothing = Table({"ra": [10.0], "dec": [0.0], "mag": [20.0]})
    far = Table({"ra": [10.1], "dec": [0.0], "mag": [20.0]})
    found = fit.scatter((nothing, far))
    assert found.stars == 0
    assert np.isnan(found.arcsec)


def test_fit_without_shared_stars_says_so(catalogs: dict) -> None:
    elsewhere = Table(
        {
            "ra": [10.0, 10.1],
            "dec": [60.0, 60.1],
            "mag": [20.0, 20.0],
            "position_error": [0.01] * 2,
            "mag_error": [0.01] * 2,
        }
    )
    with pytest.raises(ValueError, match="only 0 of its stars"):
        fit.joint_fit({"one": catalogs[1, "N3"]}, elsewhere)


def test_plane_and_back() -> None:
    plane = fit._Plane(359.9, 80.0)
    east, north = plane.project(np.array([0.05]), np.array([80.02]))
    ra, dec = plane.deproject(float(east[0]), float(north[0]))
    assert ra == pytest.approx(0.05, abs=1e-9)
    assert dec == pytest.approx(80.02, abs=1e-9)


@pytest.mark.parametrize("with_cd", [True, False])
def test_affine_correction_moves_the_sky_by_its_terms(with_cd: bool) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [30.0, 10.0], [700.0, -50.0]
    if with_cd:
        wcs.wcs.cd = [[-5e-5, 1e-6], [1e-6, 5e-5]]
    else:
        wcs.wcs.cdelt = [-5e-5, 5e-5]
    random = np.random.default_rng(3)
    found = Table({"x": random.uniform(0, 500, 40), "y": random.uniform(0, 500, 40)})
    terms = np.array([[0.8, -0.4], [0.1, 0.05], [-0.03, 0.2]])
    new = fit._corrected(wcs, terms, found)
    plane = fit._Plane(30.0, 10.0)
    moved = plane.of(found, new) - plane.of(found, wcs)
    middle, reach = fit._centre(found)
    u, v = (np.asarray(found["x"]) - middle[0]) / reach, (np.asarray(found["y"]) - middle[1]) / reach
    expected = terms[0] + u[:, None] * terms[1] + v[:, None] * terms[2]
    assert np.abs(moved - expected).max() < 1e-3


def test_photo_calib_errors_shrink_with_stars(catalogs: dict, stars: Table) -> None:
    reference = sky.reference_catalogue(stars, SEED)
    all_four = fit.joint_fit(catalogs, reference)
    one = fit.joint_fit({(1, "N3"): catalogs[1, "N3"]}, reference)
    assert all_four.photo_calib[1, "N3"].zero_point_error <= one.photo_calib[1, "N3"].zero_point_error
    assert isinstance(one.photo_calib[1, "N3"], PhotoCalib)
