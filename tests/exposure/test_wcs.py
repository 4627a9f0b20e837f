"""Equality of WCS objects by value, and WCS of cutouts."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip

from bunter.exposure import freeze, same_wcs
from bunter.exposure.wcs import shifted

from .conftest import KINDS, lookup, sip, tab, tan, tpv


def pixels(wcs: WCS) -> np.ndarray:
    return np.random.default_rng(2).uniform(1, 4, size=(5, wcs.naxis))


def test_two_readings_of_one_file_are_equal(decam_header: fits.Header) -> None:
    assert same_wcs(WCS(decam_header), WCS(decam_header))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_values_are_equal(kind: str) -> None:
    one, two = KINDS[kind](), KINDS[kind]()
    assert same_wcs(one, two)
    assert same_wcs(one, copy.deepcopy(two))
    assert same_wcs(freeze(one), two)
    assert same_wcs(two, freeze(one))


@pytest.mark.parametrize("kind", KINDS)
def test_comparing_and_using_change_nothing(kind: str) -> None:
    one, two = KINDS[kind](), KINDS[kind]()
    one.all_pix2world(pixels(one), 0)  # works out LONPOLE and so on
    assert same_wcs(one, two)
    assert same_wcs(two, one)


@pytest.mark.parametrize("kind", KINDS)
def test_another_reference_value_is_another_wcs(kind: str) -> None:
    one, two = KINDS[kind](), KINDS[kind]()
    two.wcs.crval = np.array(two.wcs.crval) + 1e-9 * np.abs(two.wcs.crval)
    assert not same_wcs(one, two)


def test_distortion_of_a_real_tpv_counts(decam_header: fits.Header) -> None:
    # wcslib turns TPV into TAN and its own distortion, which Wcsprm.compare does not look at.
    other = decam_header.copy()
    other["PV1_4"] = decam_header["PV1_4"] * (1 + 1e-9)
    assert not same_wcs(WCS(decam_header), WCS(other))


def test_header_round_trip_is_equal(decam_header: fits.Header) -> None:
    for wcs in (WCS(decam_header), tan(), tpv()):
        assert same_wcs(wcs, WCS(wcs.to_header(relax=True)))


def test_pickle_round_trip_is_equal(decam_header: fits.Header) -> None:
    for wcs in (WCS(decam_header), tan(), tpv(), sip(), lookup()):
        assert same_wcs(wcs, pickle.loads(pickle.dumps(wcs)))


def test_cd_and_pc_are_two_spellings() -> None:
    one, two = tan(), tan()
    two.wcs.cdelt = [1.0, 1.0]
    two.wcs.pc = np.diag(one.wcs.cdelt)
    three = WCS(naxis=2)
    three.wcs.ctype, three.wcs.cunit = list(two.wcs.ctype), ["deg", "deg"]
    three.wcs.crval, three.wcs.crpix = two.wcs.crval, two.wcs.crpix
    three.wcs.cd = np.diag(one.wcs.cdelt)
    assert same_wcs(two, three)


def test_sip_coefficients_and_tables_count() -> None:
    other = sip()
    a = other.sip.a.copy()
    a[2, 0] *= 1 + 1e-6
    other.sip = Sip(a, other.sip.b, None, None, other.sip.crpix)
    assert not same_wcs(sip(), other)
    assert not same_wcs(sip(), tan())

    other = lookup()
    data = other.cpdis1.data.copy()
    data[3, 3] += 1e-4
    other.cpdis1 = DistortionLookupTable(data, (1, 1), (1, 1), (16, 16))
    assert not same_wcs(lookup(), other)
    assert not same_wcs(lookup(), tan())


def test_arrays_of_tab_count() -> None:
    assert same_wcs(tab(), tab())
    assert not same_wcs(tab(), tab(step=1.001))


def test_none_is_equal_to_none_only() -> None:
    assert same_wcs(None, None)
    assert not same_wcs(None, tan())
    assert not same_wcs(tan(), None)


def test_axes_count_and_image_size_does_not() -> None:
    assert not same_wcs(tan(), KINDS["cube"]())
    other = tan()
    other.pixel_shape = (100, 200)
    assert same_wcs(tan(), other)


def test_parameters_that_make_no_wcs_can_be_compared() -> None:
    broken, same = WCS(naxis=2), WCS(naxis=2)
    broken.wcs.ctype = same.wcs.ctype = ["RA---TAN", "DEC--XXX"]
    assert same_wcs(broken, same)
    same.wcs.crval = [1, 2]
    assert not same_wcs(broken, same)


@pytest.mark.parametrize("kind", KINDS)
def test_shifted_wcs_agrees_in_the_cutout(kind: str) -> None:
    wcs = KINDS[kind]()
    moved = shifted(wcs, (3, 7))
    inside = pixels(wcs)
    full = inside.copy()
    full[:, 0] += 7
    full[:, 1] += 3
    np.testing.assert_allclose(moved.all_pix2world(inside, 0), wcs.all_pix2world(full, 0), rtol=1e-13)
    assert not same_wcs(moved, wcs)
    assert same_wcs(wcs, KINDS[kind]())


def test_shifted_real_wcs(decam_header: fits.Header) -> None:
    wcs = WCS(decam_header)
    moved = shifted(wcs, (30, 20))
    np.testing.assert_allclose(moved.all_pix2world([[5.0, 6.0]], 0), wcs.all_pix2world([[25.0, 36.0]], 0), rtol=1e-13)
