"""Exposures."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from bunter.components import get_component, set_component
from bunter.errors import ParameterError
from bunter.exposure import (
    Background,
    ChebyshevLayer,
    Exposure,
    GaussianPsf,
    Mask,
    Metadata,
    PhotoCalib,
    VisitInfo,
    freeze,
    same_wcs,
)

from .conftest import sip, tan, tpv

SHAPE = (80, 100)


def exposure(**changes: Any) -> Exposure:
    rng = np.random.default_rng(8)
    image = rng.normal(size=SHAPE).astype("float32")
    image[0, 0] = np.nan
    given: dict[str, Any] = {
        "image": image,
        "mask": Mask(rng.integers(0, 4, size=SHAPE).astype("int32"), {"BAD": 0, "SAT": 1}),
        "variance": np.full(SHAPE, 2.0, dtype="float32"),
        "wcs": tan(),
        "photo_calib": PhotoCalib(2.0),
        "psf": GaussianPsf(2.0),
        "background": Background([ChebyshevLayer([[1.0, 2.0]], SHAPE)]),
        "visit_info": VisitInfo(visit=1),
        "detector": {"name": "N3", "number": 3},
        "filter": "g",
        "metadata": {"OBJECT": "M 31", "CRVAL1": 3.0},
    }
    return Exposure(**{**given, **changes})


def test_components_are_those_declared() -> None:
    full = exposure()
    assert all(getattr(full, name) is not None for name in Exposure.__bunter_components__)
    bare = Exposure(np.zeros(SHAPE))
    assert [name for name in Exposure.__bunter_components__ if getattr(bare, name) is not None] == ["image"]
    assert full.shape == SHAPE
    assert full.bbox == (slice(0, 80), slice(0, 100))
    assert full.metadata == {"OBJECT": "M 31"}
    assert repr(Exposure(np.zeros((2, 3)), wcs=tan(), origin=(1, 2))) == "<Exposure 2 x 3 float64, wcs, origin (1, 2)>"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("float32", "float32"), ("float64", "float64"), (">f4", "float32"), (">f8", "float64"), ("float16", "float32"),
        ("uint8", "float32"), ("int16", "float32"), (">i2", "float32"), ("int32", "float64"), ("uint32", "float64"),
        ("int64", "float64"), ("longdouble", "float64"),
    ],
)  # fmt: skip
def test_pixels_become_native_floats(given: str, kept: str) -> None:
    image = Exposure(np.arange(6).reshape(2, 3).astype(given)).image
    assert image.dtype == np.dtype(kept)
    assert image.dtype.isnative
    assert image.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_native_pixels_are_not_copied() -> None:
    image = np.zeros((2, 2), dtype="float32")
    assert Exposure(image).image is image


def test_integer_mask_gets_nameless_bits() -> None:
    mask = Exposure(np.zeros((2, 2)), mask=np.ones((2, 2), dtype=">i2")).mask
    assert mask == Mask(np.ones((2, 2), dtype="int16"))
    assert dict(mask.bits) == {}


@pytest.mark.parametrize(
    ("component", "value", "error", "words"),
    [
        ("image", np.ma.zeros((2, 2)), TypeError, "masked array"),
        ("image", np.zeros((2, 2)) * u.adu, TypeError, "BUNIT"),
        ("image", np.zeros(4), ValueError, r"\(ny, nx\)"),
        ("image", np.zeros((2, 2), dtype=bool), TypeError, "floats or integers"),
        ("image", np.zeros((2, 2), dtype=complex), TypeError, "floats or integers"),
        ("image", None, ValueError, "ny, nx"),
        ("variance", np.zeros((2, 3)), ValueError, "not that of the image"),
        ("mask", np.zeros((2, 3), dtype=int), ValueError, "not that of the image"),
        ("mask", np.zeros((2, 2), dtype=bool), TypeError, "from_planes"),
        ("mask", np.zeros((2, 2)), TypeError, "integers"),
        ("mask", [[1, 2], [3, 4]], TypeError, "a Mask or an integer array"),
        ("wcs", "wcs", TypeError, "astropy.wcs.WCS"),
        ("photo_calib", 27.0, TypeError, "PhotoCalib"),
        ("psf", np.zeros((3, 3)), TypeError, "a Psf or None is needed, not a numpy.ndarray"),
        ("background", 1.0, TypeError, "Background"),
        ("visit_info", {}, TypeError, "VisitInfo"),
        ("detector", 1.5, TypeError, "detector"),
        ("detector", True, TypeError, "detector"),
        ("detector", {"a": object()}, TypeError, "plain values"),
        ("detector", {1: 2}, TypeError, "not a string"),
        ("filter", 3, TypeError, "filter"),
        ("metadata", 3, TypeError, "mapping"),
        ("origin", (1.5, 2), TypeError, "pair of integers"),
        ("origin", 3, TypeError, "pair of integers"),
        ("origin", (1, 2, 3), TypeError, "pair of integers"),
    ],
)
def test_wrong_components_are_refused_when_made_and_when_set(
    component: str, value: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Exposure(**{"image": np.zeros((2, 2)), component: value})
    good = Exposure(np.zeros((2, 2)))
    with pytest.raises(error, match=words):
        setattr(good, component, value)
    assert good == Exposure(np.zeros((2, 2)))


def test_misspelt_attributes_are_refused() -> None:
    with pytest.raises(AttributeError, match="did you mean 'photo_calib'"):
        exposure().photo_clib = PhotoCalib(1.0)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        exposure().copy = 1  # type: ignore[method-assign,assignment]


def test_image_of_another_shape_needs_other_planes() -> None:
    full = exposure()
    with pytest.raises(ValueError, match="set mask to None first"):
        full.image = np.zeros((3, 3))
    full.mask = full.variance = None
    full.image = np.zeros((3, 3))
    assert full.shape == (3, 3)


@pytest.mark.parametrize("component", Exposure.__bunter_components__)
def test_equality_looks_at_every_component(component: str) -> None:
    other = {
        "image": np.zeros(SHAPE), "mask": Mask(np.zeros(SHAPE, dtype="int32")), "variance": np.zeros(SHAPE),
        "wcs": tpv(), "photo_calib": PhotoCalib(3.0), "psf": GaussianPsf(3.0), "background": Background(),
        "visit_info": VisitInfo(), "detector": 0, "filter": "r", "metadata": {"OBJECT": "M 33"},
    }[component]  # fmt: skip
    assert exposure() == exposure()
    assert exposure() != exposure(**{component: other})
    if component != "image":
        assert exposure() != exposure(**{component: None})
        assert exposure(**{component: None}) == exposure(**{component: None})


def test_equality_of_the_rest() -> None:
    assert exposure() != exposure(origin=(1, 0))
    assert exposure() != "exposure"
    assert exposure(metadata=None) == exposure(metadata={})
    assert exposure(detector=0) != exposure(detector=None)
    with pytest.raises(TypeError):
        hash(exposure())


@pytest.mark.parametrize("make", [copy.deepcopy, lambda e: e.copy(), lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("wcs", [tan, tpv, sip])
def test_copies_are_equal_and_share_nothing(make: Any, wcs: Any) -> None:
    one = exposure(wcs=wcs(), origin=(3, 4))
    two = make(one)
    assert type(two) is Exposure
    assert two == one
    two.image[1, 1] = 7
    two.mask.set_plane("BAD", np.zeros(SHAPE, dtype=bool))
    two.variance[:] = 0
    two.wcs.wcs.crval = [0.0, 0.0]
    two.metadata["OBJECT"] = "other"
    two.detector["name"] = "other"
    assert one == exposure(wcs=wcs(), origin=(3, 4))


def test_shallow_copy_shares() -> None:
    one = exposure()
    two = copy.copy(one)
    assert two.image is one.image
    two.filter = "r"
    assert one.filter == "g"


def test_copy_thaws_what_is_shared() -> None:
    one = exposure()
    shared = exposure(image=freeze(one.image), mask=freeze(one.mask), wcs=freeze(one.wcs))
    assert shared == one
    own = shared.copy()
    own.image[1, 1] = 1
    own.mask.set_plane("BAD", np.zeros(SHAPE, dtype=bool))
    own.wcs.wcs.crval = [1.0, 2.0]
    assert type(own.wcs) is WCS
    assert shared == one


def test_given_mappings_are_not_shared() -> None:
    detector, metadata = {"name": "N3"}, Metadata({"A": 1})
    one = exposure(detector=detector, metadata=metadata)
    detector["name"] = "other"
    assert one.detector == {"name": "N3"}
    assert one.metadata is metadata


def test_subclasses_may_add_attributes_they_declare() -> None:
    class Calexp(Exposure):
        seeing: float = 0.0

    one = Calexp(np.zeros((2, 2)))
    one.seeing = 1.1
    again = pickle.loads(pickle.dumps(one)) if "." not in Calexp.__qualname__ else copy.deepcopy(one)
    assert type(again) is Calexp
    assert again.seeing == 1.1
    with pytest.raises(AttributeError, match="no attribute 'seing'"):
        one.seing = 1.0  # type: ignore[attr-defined]


def test_cutout_remembers_where_it_was() -> None:
    one = exposure()
    part = one.cutout((slice(10, 60), slice(20, 80)))
    assert part.shape == (50, 60)
    assert part.origin == (10, 20)
    assert part.bbox == (slice(10, 60), slice(20, 80))
    np.testing.assert_array_equal(part.image, one.image[10:60, 20:80])
    assert part.mask == one.mask[10:60, 20:80]
    assert same_wcs(part.wcs, one.wcs)
    assert part.psf == one.psf
    np.testing.assert_allclose(
        part.background.image(part.shape, part.origin), one.background.image(SHAPE)[10:60, 20:80], rtol=1e-12
    )
    assert part.cutout((slice(1, 2), slice(3, 5))).origin == (11, 23)
    assert one.cutout((slice(None), slice(None, 5))).shape == (80, 5)
    part.image[:] = 0
    part.metadata["OBJECT"] = "changed"
    assert one == exposure()


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        ((slice(0, 81), slice(0, 10)), "slice in y must lie inside 0 to 80"),
        ((slice(0, 8), slice(-1, 10)), "slice in x must lie inside 0 to 100"),
        ((slice(0, 0), slice(0, 10)), "not be empty"),
        ((slice(5, 2), slice(0, 10)), "not be empty"),
        ((slice(0, 8, 2), slice(0, 10)), "step of 2"),
        ((slice(0.5, 8), slice(0, 10)), "integers"),
        ((slice(0, 8),), "pair of slices"),
        ((0, 8), "pair of slices"),
        (None, "pair of slices"),
    ],
)
def test_bad_cutouts(bbox: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        exposure().cutout(bbox)


def test_accessors_in_the_gen2_spelling() -> None:
    one, other = exposure(), exposure()
    for name in Exposure.__bunter_components__:
        camel = "".join(word.capitalize() for word in name.split("_"))
        value = getattr(other, name)
        getattr(one, f"set{camel}")(value)
        found = getattr(one, f"get{camel}")()
        assert found is value or (name == "detector" and found == value)
    one.setCalib(PhotoCalib(9.0))
    assert one.getCalib() == one.calib == one.photo_calib == PhotoCalib(9.0)
    one.calib = None
    assert one.photo_calib is None


def JointcalAssembler(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    exposure = componentDict["calexp"]
    exposure.setWcs(componentDict["wcs"])
    exposure.setCalib(componentDict["calib"])
    return exposure


def JointcalDisassembler(exposure: Any, dataId: Any, componentDict: Any) -> None:
    componentDict["calexp"] = None
    componentDict["wcs"] = exposure.getWcs()
    componentDict["calib"] = exposure.getCalib()


def test_assembler_and_disassembler_of_use_case_one() -> None:
    parts = {"calexp": exposure(), "wcs": tpv(), "calib": PhotoCalib(5.0)}
    made = JointcalAssembler({}, parts, Exposure)
    assert made == exposure(wcs=tpv(), photo_calib=PhotoCalib(5.0))
    apart: dict[str, Any] = {}
    JointcalDisassembler(made, {}, apart)
    assert apart["wcs"] is made.wcs
    assert apart["calib"] == PhotoCalib(5.0)


def test_components_are_found_in_every_spelling() -> None:
    one = exposure()
    for name in ("photoCalib", "photo_calib", "calib"):
        set_component(one, name, PhotoCalib(6.0))
        assert get_component(one, name) == PhotoCalib(6.0)
    assert get_component(one, "visitInfo") == VisitInfo(visit=1)


def test_to_ccddata() -> None:
    one = exposure(metadata={"OBJECT": "M 31", "BUNIT": "electron"}, wcs=sip())
    ccd = one.cutout((slice(10, 60), slice(20, 80))).to_ccddata()
    assert isinstance(ccd, CCDData)
    np.testing.assert_array_equal(ccd.data, one.image[10:60, 20:80])
    assert ccd.unit == u.electron
    np.testing.assert_array_equal(ccd.mask, one.mask.array[10:60, 20:80] != 0)
    assert ccd.uncertainty.uncertainty_type == "var"
    assert (ccd.uncertainty.array == 2).all()
    assert ccd.header["OBJECT"] == "M 31"
    assert ccd.header["FILTER"] == "g"
    np.testing.assert_allclose(ccd.wcs.all_pix2world([[5, 6]], 0), one.wcs.all_pix2world([[25, 16]], 0), rtol=1e-13)
    assert ccd.psf.sum() == pytest.approx(1)
    ccd.data[:] = 0
    assert one.image.any()


def test_ccddata_round_trip() -> None:
    one = exposure(mask=Mask.from_planes({"BAD": np.eye(*SHAPE, dtype=bool)}), photo_calib=None, background=None)
    again = Exposure.from_ccddata(one.to_ccddata())
    assert (again.filter, again.metadata) == ("g", {"OBJECT": "M 31", "FILTER": "g", "BUNIT": "adu"})
    assert again.mask == one.mask
    np.testing.assert_array_equal(again.image, one.image)
    np.testing.assert_array_equal(again.variance, one.variance)
    assert same_wcs(again.wcs, one.wcs)
    np.testing.assert_allclose(again.psf.image(), one.psf.image())


def test_from_plain_ccddata() -> None:
    ccd = CCDData(np.ones((2, 2)), unit="adu", uncertainty=StdDevUncertainty(np.full((2, 2), 3.0)))
    one = Exposure.from_ccddata(ccd)
    assert one == Exposure(np.ones((2, 2)), variance=np.full((2, 2), 9.0), metadata={"BUNIT": "adu"})
    assert Exposure(np.ones((2, 2))).to_ccddata().unit == u.adu
    with pytest.raises(TypeError, match="CCDData"):
        Exposure.from_ccddata(np.ones((2, 2)))
    with pytest.raises(ValueError, match="BUNIT"):
        Exposure(np.ones((2, 2)), metadata={"BUNIT": "furlongs of sky"}).to_ccddata()


def test_real_exposure(decam_header: fits.Header) -> None:
    one = Exposure(np.zeros((250, 251), dtype=">f4"), wcs=WCS(decam_header), metadata=decam_header)
    assert pickle.loads(pickle.dumps(one)) == one == one.copy()
    part = one.cutout((slice(30, 50), slice(20, 60)))
    assert same_wcs(part.wcs, one.wcs)
    ccd = part.to_ccddata()
    np.testing.assert_allclose(ccd.wcs.all_pix2world([[0, 0]], 0), one.wcs.all_pix2world([[20, 30]], 0), rtol=1e-13)
