"""Photometric calibration."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import FormatError
from bunter.exposure import ChebyshevLayer, PhotoCalib, SplineLayer

positive = st.floats(1e-12, 1e12)
errors = st.floats(0, 1e6) | st.just(math.nan)


@given(positive, errors)
@settings(max_examples=50, deadline=None)
def test_dict_and_pickle_round_trips(value: float, error: float) -> None:
    calib = PhotoCalib(value, error)
    for again in (PhotoCalib.from_dict(calib.to_dict()), pickle.loads(pickle.dumps(calib)), copy.deepcopy(calib)):
        assert again == calib
        assert hash(again) == hash(calib)


@given(st.floats(-30, 60), st.floats(0, 5), st.floats(1e-6, 1e9))
@settings(max_examples=50, deadline=None)
def test_zero_point_and_counts_round_trips(zero_point: float, error: float, counts: float) -> None:
    calib = PhotoCalib.from_zero_point(zero_point, error)
    assert calib.zero_point == pytest.approx(zero_point, abs=1e-11)
    assert calib.zero_point_error == pytest.approx(error, rel=1e-12)
    assert calib.to_counts(calib.to_nanojansky(counts)) == pytest.approx(counts, rel=1e-13)
    assert calib.to_magnitude(counts) == pytest.approx(zero_point - 2.5 * math.log10(counts), abs=1e-10)


def test_agrees_with_astropys_ab_magnitudes() -> None:
    calib = PhotoCalib.from_zero_point(27.0)
    flux = calib.to_nanojansky(np.array([1.0, 500.0]))
    expected = (flux * u.nJy).to_value(u.ABmag)
    np.testing.assert_allclose(calib.to_magnitude(np.array([1.0, 500.0])), expected, atol=1e-4)


def test_errors_add_in_quadrature() -> None:
    calib = PhotoCalib(2.0, 0.02)  # 1 %
    flux, error = calib.to_nanojansky(100.0, 1.0)  # 1 %
    assert (flux, error) == (200.0, pytest.approx(200 * 0.01 * math.sqrt(2)))
    magnitude, magnitude_error = calib.to_magnitude(np.array([100.0]), np.array([1.0]))
    assert magnitude_error[0] == pytest.approx(2.5 / math.log(10) * 0.01 * math.sqrt(2))
    assert magnitude[0] == pytest.approx(31.4 - 2.5 * math.log10(200))


def test_errors_agree_with_a_simulation() -> None:
    rng = np.random.default_rng(5)
    calib = PhotoCalib(3.0, 0.06)
    draws = (1000 + 15 * rng.normal(size=200_000)) * (3 + 0.06 * rng.normal(size=200_000))
    assert calib.to_nanojansky(1000.0, 15.0)[1] == pytest.approx(draws.std(), rel=0.02)
    assert calib.to_magnitude(1000.0, 15.0)[1] == pytest.approx((-2.5 * np.log10(draws)).std(), rel=0.02)


def test_no_flux_has_no_magnitude_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        magnitudes = PhotoCalib(1.0).to_magnitude(np.array([0.0, -1.0, 1.0]))
        PhotoCalib(1.0).to_magnitude(np.array([0.0, -1.0]), np.array([1.0, 1.0]))
        assert math.isnan(PhotoCalib(1.0).to_magnitude(-2.0))
    assert magnitudes[0] == math.inf
    assert math.isnan(magnitudes[1])
    assert magnitudes[2] == 31.4


def test_masked_columns_stay_masked_and_quantities_are_refused() -> None:
    column = MaskedColumn([1.0, 2.0], mask=[False, True])
    flux = PhotoCalib(2.0).to_nanojansky(column)
    assert flux.mask.tolist() == [False, True]
    assert flux[0] == 2.0
    with pytest.raises(TypeError, match="plain numbers"):
        PhotoCalib(2.0).to_nanojansky([1.0] * u.adu)


def test_types_of_images_are_kept() -> None:
    image = np.ones((2, 2), dtype="float32")
    assert PhotoCalib(2.0).to_nanojansky(image).dtype == np.float32
    assert PhotoCalib(2.0).to_nanojansky(3) == 6.0


@pytest.mark.parametrize(
    "layer",
    [
        ChebyshevLayer([[1.0, 0.1]], domain=(11, 21)),
        SplineLayer([[0.9, 1.1], [0.9, 1.1]], x_nodes=[0, 20], y_nodes=[0, 10], order=1),
    ],
)
def test_a_calibration_that_varies(layer: ChebyshevLayer | SplineLayer) -> None:
    calib = PhotoCalib(10.0, 0.1, spatial=layer)
    assert calib.to_nanojansky(1.0, x=20, y=0) == pytest.approx(11.0)
    assert calib.to_nanojansky(1.0, x=0, y=5) == pytest.approx(9.0)
    assert calib.to_counts(11.0, x=20, y=3) == pytest.approx(1.0)
    flux, error = calib.to_nanojansky(np.array([1.0, 1.0]), np.array([0.0, 0.0]), x=[0, 20], y=[0, 0])
    np.testing.assert_allclose(error, 0.01 * flux)
    with pytest.raises(ValueError, match="positions x and y"):
        calib.to_nanojansky(1.0)
    assert pickle.loads(pickle.dumps(calib)) == calib
    assert PhotoCalib.from_dict(calib.to_dict()) == calib
    assert calib != PhotoCalib(10.0, 0.1)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_calibration_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        PhotoCalib(value)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        PhotoCalib(1.0, -0.1)
    for bad in ("1", True, None, [1.0]):
        with pytest.raises(TypeError, match="nanojansky_per_count"):
            PhotoCalib(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="AB magnitude"):
        PhotoCalib.from_zero_point(math.nan)
    with pytest.raises(TypeError, match="spatial"):
        PhotoCalib(1.0, spatial=1.0)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="did you mean 'error'"):
        PhotoCalib.from_dict({"nanojansky_per_count": 1.0, "eror": 1.0})
    with pytest.raises(FormatError, match="needs nanojansky_per_count"):
        PhotoCalib.from_dict({"error": 1.0})


def test_frozen() -> None:
    calib = PhotoCalib(1.0)
    with pytest.raises(AttributeError, match="cannot be changed"):
        calib.error = 1.0
    with pytest.raises(AttributeError, match="cannot be changed"):
        del calib.error
    assert calib != PhotoCalib(1.0, 0.1)
    assert calib != 1.0
    assert repr(calib) == "PhotoCalib(1.0, error=0.0)"
