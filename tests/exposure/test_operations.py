"""Operations on the planes of an exposure, as plain functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bunter import AssemblyError, Background, ChebyshevLayer, Mask
from bunter.exposure import add_background, exchange_background, merge_planes, subtract_background
from bunter.operations import ComponentDict

SHAPE = (6, 8)
NO_PLANES = Mask(np.zeros(SHAPE, "u1"))


def a_sky(level: float = 100.0) -> Background:
    return Background([ChebyshevLayer([[level, 2.0], [1.0, 0.5]], domain=SHAPE)])


def an_image(dtype: str = "f4") -> Any:
    return np.random.default_rng(1).normal(1000.0, 5.0, SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_subtracting_is_what_minus_equals_does(dtype: str) -> None:
    image = an_image(dtype)
    wanted = image.copy()
    wanted -= a_sky().image(SHAPE)
    made = subtract_background({}, {"image": image, "background": a_sky()})
    assert made is not None
    assert made.dtype == dtype
    assert made.tobytes() == wanted.tobytes()
    np.testing.assert_array_equal(image, an_image(dtype), "the input is left as it was")


def test_a_cutout_gets_the_background_of_its_place() -> None:
    whole = subtract_background({}, {"image": an_image(), "background": a_sky()})
    part = ComponentDict({"image": an_image()[2:5, 3:8], "background": a_sky()}, (2, 3))
    assert whole is not None
    np.testing.assert_array_equal(subtract_background({}, part), whole[2:5, 3:8])


def test_several_backgrounds_and_none() -> None:
    both = subtract_background({}, {"image": an_image("f8"), "a": a_sky(), "b": a_sky(10.0)})
    np.testing.assert_allclose(both, an_image("f8") - a_sky().image(SHAPE) - a_sky(10.0).image(SHAPE))
    np.testing.assert_array_equal(subtract_background({}, {"image": an_image(), "a": None}), an_image())
    assert subtract_background({}, {"image": None, "a": a_sky()}) is None
    assert exchange_background({}, {"image": None, "a": a_sky(), "b": a_sky()}) is None


def test_adding_undoes_subtracting() -> None:
    image = an_image("f8")
    less = subtract_background({}, {"image": image, "background": a_sky()})
    np.testing.assert_allclose(add_background({}, {"image": less, "background": a_sky()}), image, rtol=1e-15)
    undone = subtract_background.undo({}, less, {"image": None, "background": a_sky()})  # type: ignore[attr-defined]
    np.testing.assert_allclose(undone["image"], image, rtol=1e-15)
    undone = add_background.undo({}, image, {"image": None, "background": a_sky()})  # type: ignore[attr-defined]
    np.testing.assert_array_equal(undone["image"], less)


def test_exchanging() -> None:
    made = exchange_background({}, {"image": an_image("f8"), "old": a_sky(100.0), "new": a_sky(103.0)})
    np.testing.assert_allclose(made, an_image("f8") - 3.0)
    made = exchange_background({}, {"image": an_image("f8"), "old": None, "new": a_sky(103.0)})
    np.testing.assert_allclose(made, an_image("f8") - a_sky(103.0).image(SHAPE))


@pytest.mark.parametrize(
    ("function", "inputs", "message"),
    [
        (subtract_background, {"image": an_image()}, "'from' names what is stored and what is done"),
        (subtract_background, {"image": an_image(), "sky": 7.0}, "'sky': a Background is needed, not a float"),
        (exchange_background, {"image": an_image(), "sky": a_sky()}, "and the new one; found image, sky"),
        (merge_planes, {"mask": np.zeros(SHAPE), "CR": None}, "'mask' is a ndarray"),
        (merge_planes, {"mask": NO_PLANES, "CR": np.zeros(SHAPE)}, "not float64 of shape"),
        (merge_planes, {"mask": NO_PLANES, "CR": np.zeros((2, 2), bool)}, r"shape \(2, 2\), the mask"),
        (merge_planes, {"mask": NO_PLANES, "CR": Mask(np.zeros(SHAPE, "u1"), {"SAT": 0})}, "no such plane"),
    ],
)
def test_wrong_inputs(function: Any, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(AssemblyError, match=message):
        function({}, inputs)


def test_a_new_plane_keeps_its_bit_if_that_is_free() -> None:
    mask = Mask(np.array([[1, 2], [0, 3]], "u1"), {"BAD": 0, "SAT": 1})
    plane = Mask(np.array([[0, 32], [32, 0]], "u1"), {"DETECTED": 5})
    merged = merge_planes({}, {"mask": mask, "DETECTED": plane})
    assert merged is not None
    assert dict(merged.bits) == {"BAD": 0, "SAT": 1, "DETECTED": 5}
    assert merged.array.tolist() == [[1, 34], [32, 3]]
    taken = Mask(np.array([[0, 2], [2, 0]], "u1"), {"DETECTED": 1})
    other = merge_planes({}, {"mask": mask, "DETECTED": taken})
    assert other is not None
    assert other.bits["DETECTED"] == 2
    assert dict(mask.bits) == {"BAD": 0, "SAT": 1}, "the input is left as it was"


@pytest.mark.parametrize("bit", [3, 9, 20, 31, 62])
def test_taking_out_and_merging_are_inverse(bit: int) -> None:
    random = np.random.default_rng(bit)
    mask = Mask(random.integers(0, 2, SHAPE).astype("i4"), {"BAD": 0})
    wide = Mask(mask.array.astype("i8") | (random.integers(0, 2, SHAPE) << bit), {"BAD": 0, "DETECTED": bit})
    parts = merge_planes.undo({}, wide, {"mask": None, "detected": None})  # type: ignore[attr-defined]
    assert parts["mask"] == mask
    assert dict(parts["detected"].bits) == {"DETECTED": bit}
    assert parts["detected"].array.dtype.itemsize == (1 if bit < 8 else 2 if bit < 16 else 4 if bit < 32 else 8)
    assert merge_planes({}, parts) == wide
    assert "CR" not in merge_planes.undo({}, wide, {"mask": None, "CR": None})  # type: ignore[attr-defined]


def test_planes_without_a_mask() -> None:
    plane = np.eye(3, dtype=bool)
    merged = merge_planes({}, {"mask": None, "CR": plane})
    assert merged is not None
    np.testing.assert_array_equal(merged.plane("CR"), plane)
    assert merge_planes({}, {"mask": None, "CR": None}) is None
