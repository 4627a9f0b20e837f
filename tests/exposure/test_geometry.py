"""Bounding boxes and corners."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

import bunter.exposure
from bunter.errors import AssemblyError
from bunter.exposure import Exposure, bbox, corners, freeze

from .conftest import cube, tan


def test_bbox() -> None:
    assert bunter.exposure.bbox is bbox
    assert bbox({}, {"image": np.zeros((4, 6))}) == (slice(0, 4), slice(0, 6))
    assert bbox({}, {"image": Exposure(np.zeros((4, 6)), origin=(1, 2))}) == (slice(1, 5), slice(2, 8))


def test_corners_are_the_outer_edges() -> None:
    wcs, image = tan(), np.zeros((80, 100))
    found = corners({}, {"image": image, "wcs": wcs})
    assert found.shape == (4, 2)
    expected = wcs.all_pix2world([[-0.5, -0.5], [99.5, -0.5], [99.5, 79.5], [-0.5, 79.5]], 0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(corners({}, {"image": image, "wcs": freeze(wcs)}), found)
    part = Exposure(np.zeros((10, 10)), origin=(70, 90))
    np.testing.assert_allclose(corners({}, {"image": part, "wcs": wcs})[2], found[2], rtol=1e-12)


def test_corners_are_icrs_whatever_the_wcs() -> None:
    wcs = tan()
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.crval = [120.0, 30.0]
    found = corners({}, {"image": np.zeros((80, 100)), "wcs": wcs})
    middle = SkyCoord(120, 30, unit="deg", frame="galactic").icrs
    assert found.mean(axis=0) == pytest.approx([middle.ra.deg, middle.dec.deg], abs=1e-4)


def test_corners_with_a_cube_and_on_the_real_sky(decam_header: fits.Header) -> None:
    assert corners({}, {"image": np.zeros((16, 16)), "wcs": cube()}).mean(axis=0) == pytest.approx([10, -20], abs=0.01)
    sky = corners({}, {"image": np.zeros((250, 251)), "wcs": WCS(decam_header)})
    assert np.abs(sky.mean(axis=0) - [186.744, 25.462]).max() < 0.05  # the field that all the visits share


def test_a_wcs_that_knows_the_size_of_its_image_is_enough() -> None:
    wcs, image = tan(), np.zeros((80, 100))
    wcs.pixel_shape = (100, 80)
    assert bbox({}, {"wcs": wcs}) == (slice(0, 80), slice(0, 100))
    np.testing.assert_array_equal(corners({}, {"wcs": freeze(wcs)}), corners({}, {"image": image, "wcs": tan()}))
    # What is given counts, not what the WCS says.
    assert bbox({}, {"wcs": wcs, "image": np.zeros((4, 6))}) == (slice(0, 4), slice(0, 6))
    deep = cube()
    deep.pixel_shape = [16] * deep.naxis
    assert bbox({}, {"wcs": deep}) == (slice(0, 16), slice(0, 16))


def test_lacking_inputs() -> None:
    with pytest.raises(AssemblyError, match="bbox needs 'image', which is not among its inputs; it was given: wcs"):
        bbox({}, {"wcs": tan()})
    with pytest.raises(AssemblyError, match="corners needs 'wcs', which is absent"):
        corners({}, {"image": np.zeros((2, 2)), "wcs": None})
    with pytest.raises(AssemblyError, match="does not lead to the sky"):
        corners({}, {"image": np.zeros((2, 2)), "wcs": WCS(naxis=2)})
