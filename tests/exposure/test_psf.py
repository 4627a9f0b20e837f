"""Point spread functions."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from bunter.errors import FormatError
from bunter.exposure import GaussianPsf, ImagePsf, Psf, PsfExPsf

RNG = np.random.default_rng(4)


def gaussian(n: int, sigma: float) -> np.ndarray:
    y, x = np.mgrid[-(n // 2) : n // 2 + 1, -(n // 2) : n // 2 + 1]
    return np.exp(-(x**2 + y**2) / 2 / sigma**2)


def psfex(**changes: object) -> PsfExPsf:
    given: dict[str, object] = {
        "components": np.stack([gaussian(15, 2.0), *(0.01 * RNG.normal(size=(5, 15, 15)))]),
        "degree": 2,
        "x_zero": 1001.0,
        "x_scale": 500.0,
        "y_zero": 2001.0,
        "y_scale": 1000.0,
        "fwhm": 4.5,
    }
    return PsfExPsf(**{**given, **changes})  # type: ignore[arg-type]


KINDS = [
    GaussianPsf(2.0),
    GaussianPsf(3.0, (31, 21), axis_ratio=0.5, angle=30.0),
    ImagePsf(gaussian(11, 1.5)),
    psfex(),
]


@pytest.mark.parametrize("psf", KINDS, ids=lambda p: type(p).__name__)
def test_value_semantics(psf: Psf) -> None:
    assert psf.image(10.0, 20.0).sum() == pytest.approx(1.0)
    assert psf.image().shape == psf.shape
    dumped = json.loads(json.dumps(psf.to_dict()))
    for again in (
        pickle.loads(pickle.dumps(psf)),
        Psf.from_dict(dumped),
        Psf.from_dict(psf.state()),
        copy.deepcopy(psf),
    ):
        assert again == psf
        assert type(again) is type(psf)
        assert hash(again) == hash(psf)
        np.testing.assert_array_equal(again.image(1.0, 2.0), psf.image(1.0, 2.0))
    with pytest.raises(AttributeError, match="cannot be changed"):
        psf.kind = "other"  # type: ignore[misc]
    for value in psf.state().values():
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable
    assert [psf == other for other in KINDS].count(True) == 1


def test_gaussian_widths() -> None:
    assert GaussianPsf(2.0).fwhm() == pytest.approx(2 * np.sqrt(2 * np.log(2)) * 2.0)
    profile = GaussianPsf(5.0, (51, 51)).image()[25]
    half = np.interp(-0.5, -profile[25:] / profile[25], np.arange(26))
    assert 2 * half == pytest.approx(GaussianPsf(5.0).fwhm(), rel=1e-2)


def test_elliptical_gaussian_has_its_moments() -> None:
    image = GaussianPsf(4.0, (61, 61), axis_ratio=0.5, angle=30.0).image()
    y, x = np.mgrid[-30:31, -30:31]
    moments = np.array([[(image * x * x).sum(), (image * x * y).sum()], [(image * x * y).sum(), (image * y * y).sum()]])
    (minor, major), axes = np.linalg.eigh(moments)
    assert np.sqrt([minor, major]) == pytest.approx([2.0, 4.0], rel=1e-3)
    assert np.degrees(np.arctan2(axes[1, 1], axes[0, 1])) % 180 == pytest.approx(30.0)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_image_fwhm_is_measured_at_half_maximum(sigma: float) -> None:
    assert ImagePsf(7 * gaussian(41, sigma)).fwhm() == pytest.approx(GaussianPsf(sigma).fwhm(), rel=0.02)
    wings = gaussian(41, sigma) + 0.05 * gaussian(41, 4 * sigma)
    assert ImagePsf(wings).fwhm() == pytest.approx(GaussianPsf(sigma).fwhm(), rel=0.06)
    assert ImagePsf(np.ones((1, 1))).fwhm() == pytest.approx(1.2, abs=0.2)


def test_image_psf_owns_its_pixels() -> None:
    pixels = gaussian(5, 1.0)
    psf = ImagePsf(pixels)
    pixels[:] = 0
    assert psf.image()[2, 2] > 0
    assert ImagePsf(gaussian(5, 1.0).astype(">f4")).image().dtype == np.float64


def test_psfex_terms_run_1_x_xx_y_xy_yy() -> None:
    psf = psfex()
    u, v = 0.5, -0.25
    x, y = psf.x_zero + u * psf.x_scale - 1, psf.y_zero + v * psf.y_scale - 1  # PSFEx counts from 1
    expected = sum(w * c for w, c in zip([1, u, u * u, v, u * v, v * v], psf.components.astype(float), strict=True))
    np.testing.assert_allclose(psf.image(x, y), expected / expected.sum(), rtol=1e-12)
    centre = psf.components[0].astype(float)
    np.testing.assert_allclose(psf.image(), centre / centre.sum())
    np.testing.assert_allclose(psf.image(psf.x_zero - 1, psf.y_zero - 1), psf.image())


def test_psfex_resamples_to_pixels_of_the_image() -> None:
    fine = PsfExPsf(gaussian(61, 6.0)[None], 0, sampling=0.5)
    assert fine.shape == (31, 31)
    np.testing.assert_allclose(fine.image(), GaussianPsf(3.0, (31, 31)).image(), atol=1e-6)
    coarse = PsfExPsf(gaussian(21, 2.0)[None], 0, sampling=1.5)
    assert coarse.shape == (31, 31)
    np.testing.assert_allclose(coarse.image(), GaussianPsf(3.0, (31, 31)).image(), atol=2e-4)


def test_psfex_fwhm_is_the_mean_without_a_position() -> None:
    assert psfex().fwhm() == 4.5
    assert psfex(fwhm=0.0).fwhm() == pytest.approx(GaussianPsf(2.0).fwhm(), rel=0.05)
    assert psfex().fwhm(1000.0, 2000.0) == pytest.approx(psfex(fwhm=0.0).fwhm(1000.0, 2000.0), rel=0.05)


def test_real_psfex_model(decam: Path) -> None:
    path = next(decam.glob("calib/decam/CP/V4.8.2/CP20170315/*/*N2-psfex.fits"))
    with fits.open(path) as hdus:
        h, row = hdus[1].header, hdus[1].data[0]
        psf = PsfExPsf(
            row["psf_mask"], h["POLDEG1"], h["POLZERO1"], h["POLSCAL1"], h["POLZERO2"], h["POLSCAL2"],
            h["PSF_SAMP"], h["PSF_FWHM"],
        )  # fmt: skip
    assert psf.shape == (63, 63)
    assert psf.fwhm() == pytest.approx(3.69144201278687)
    # The header's width is the mean of stars, not that of the model at one place.
    assert psf.fwhm(125, 125) == pytest.approx(psf.fwhm(), rel=0.1)
    image = psf.image(125, 125)
    assert np.unravel_index(image.argmax(), image.shape) == (31, 31)
    assert not np.allclose(image, psf.image(2000, -1200))


def test_own_class_of_a_user_is_stored_too() -> None:
    class Moffat(Psf):
        kind = "moffat-of-a-test"
        __slots__ = ("beta",)
        beta: float

        def __init__(self, beta: float) -> None:
            object.__setattr__(self, "beta", float(beta))

        def state(self) -> dict[str, object]:
            return {"kind": self.kind, "beta": self.beta}

    psf = Psf.from_dict(Moffat(2.5).to_dict())
    assert isinstance(psf, Moffat)
    assert psf == Moffat(2.5)
    assert psf != Moffat(3.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianPsf(0.0), "sigma"),
        (lambda: GaussianPsf(float("nan")), "sigma"),
        (lambda: GaussianPsf(1.0, (24, 25)), "odd"),
        (lambda: GaussianPsf(1.0, axis_ratio=2.0), "axis_ratio"),
        (lambda: GaussianPsf(1.0, angle=float("inf")), "angle"),
        (lambda: ImagePsf(np.zeros((3, 3))), "add up"),
        (lambda: ImagePsf(np.ones((4, 3))), "odd"),
        (lambda: ImagePsf(np.ones(3)), "2 axes"),
        (lambda: psfex(degree=1), "degree 1 has 3 terms, not 6"),
        (lambda: psfex(x_scale=0.0), "x_scale"),
        (lambda: psfex(sampling=-1.0), "sampling"),
    ],
)
def test_bad_values(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_bad_dicts() -> None:
    with pytest.raises(FormatError, match="did you mean 'gaussian'"):
        Psf.from_dict({"kind": "gausian"})
    with pytest.raises(FormatError, match="kind 'gaussian' cannot be made of width"):
        Psf.from_dict({"kind": "gaussian", "width": 2})
    with pytest.raises(TypeError, match="sigma"):
        GaussianPsf("2")  # type: ignore[arg-type]
