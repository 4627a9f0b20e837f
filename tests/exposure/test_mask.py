"""Masks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunter.exposure import Mask

DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "int64"]
NAMES = ["BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "NO_DATA", "SUSPECT", "NEW", "MORE"]


@st.composite
def masks(draw: st.DrawFn, dtypes: list[str] = DTYPES) -> Mask:
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    planes = dtype.itemsize * 8 - (dtype.kind == "i")
    numbers = draw(st.lists(st.integers(0, planes - 1), unique=True, max_size=6))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=4))
    low = np.iinfo(dtype).min if dtype != np.int64 else 0
    array = draw(hnp.arrays(dtype, shape, elements=st.integers(int(low), int(np.iinfo(dtype).max))))
    return Mask(array, dict(zip(NAMES, numbers, strict=False)))


def patterns(mask: Mask) -> np.ndarray:
    return mask.array.view(f"uint{mask.dtype.itemsize * 8}").astype("uint64")


@given(masks(), st.sampled_from(NAMES), st.data())
@settings(max_examples=60, deadline=None)
def test_a_plane_that_is_set_reads_back_and_leaves_the_others(mask: Mask, name: str, data: st.DataObject) -> None:
    plane = data.draw(hnp.arrays(bool, mask.shape))
    before = {other: mask.plane(other) for other in mask.bits if other != name}
    taken = int(np.bitwise_or.reduce(patterns(mask), axis=None)) | sum(1 << bit for bit in mask.bits.values())
    if name not in mask.bits and taken == 2**63 - 1:
        with pytest.raises(ValueError, match="no bit is left"):
            mask.with_plane(name, plane)
        return
    changed = mask.with_plane(name, plane)
    np.testing.assert_array_equal(changed.plane(name), plane)
    for other, values in before.items():
        np.testing.assert_array_equal(changed.plane(other), values)
    kept = ~np.uint64(1 << changed.bits[name])
    np.testing.assert_array_equal(patterns(changed) & kept, patterns(mask) & kept)


@given(masks())
@settings(max_examples=40, deadline=None)
def test_copies_and_pickles_are_equal(mask: Mask) -> None:
    for again in (mask.copy(), copy.copy(mask), copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))):
        assert again == mask
        assert again.dtype == mask.dtype
    assert mask == Mask(mask.array.astype(mask.dtype.newbyteorder()), mask.bits)
    assert mask | mask == mask


@given(masks(DTYPES[:-1]), masks(DTYPES[:-1]))
@settings(max_examples=60, deadline=None)
def test_union_has_the_planes_of_both(one: Mask, two: Mask) -> None:
    two = Mask(np.resize(two.array, one.shape).astype(two.dtype), two.bits)
    named = sum(1 << bit for bit in two.bits.values())
    nameless = int(np.bitwise_or.reduce(patterns(two), axis=None)) & ~named
    if nameless & sum(1 << bit for bit in one.bits.values()):
        with pytest.raises(ValueError, match="has no name"):
            one | two
        return
    union = one | two
    expected = patterns(one) & np.uint64(2**64 - 1 - sum(1 << bit for bit in one.bits.values()))
    assert ((patterns(union) & expected) == expected).all()
    for name in {*one.bits, *two.bits}:
        expected = np.zeros(one.shape, dtype=bool)
        for mask in (one, two):
            if name in mask.bits:
                expected |= mask.plane(name)
        np.testing.assert_array_equal(union.plane(name), expected)
    assert list(union.bits)[: len(one.bits)] == list(one.bits)


def test_union_matches_by_name_not_by_number() -> None:
    one = Mask(np.array([[1, 2]], dtype="uint8"), {"BAD": 0, "SAT": 1})
    two = Mask(np.array([[1, 4]], dtype="int32"), {"SAT": 0, "CR": 2})
    union = one | two
    assert union.plane("SAT").tolist() == [[True, True]]
    assert union.plane("CR").tolist() == [[False, True]]
    assert dict(union.bits) == {"BAD": 0, "SAT": 1, "CR": 2}
    assert one.array.tolist() == [[1, 2]]


def test_sign_bit_stays_one_bit_when_the_mask_widens() -> None:
    mask = Mask(np.array([[-1, 0]], dtype="int16"))
    mask.set_plane("NEW", np.array([[False, True]]))
    assert mask.bits["NEW"] == 16
    assert mask.array.tolist() == [[0xFFFF, 1 << 16]]


def test_new_names_avoid_bits_that_pixels_use() -> None:
    mask = Mask(np.array([[1, 0]], dtype="uint8"))  # bit 0 has no name but is used
    mask.set_plane("BAD", np.array([[False, True]]))
    assert mask.bits["BAD"] == 1


def test_eight_planes_fit_and_a_ninth_widens() -> None:
    plane = np.ones((1, 2), dtype=bool)
    mask = Mask.from_planes({str(n): plane for n in range(8)})
    assert mask.dtype == np.uint8
    mask.set_plane("8", plane)
    assert mask.dtype == np.int16
    mask = Mask.from_planes({str(n): plane for n in range(63)})
    assert mask.dtype == np.int64
    with pytest.raises(ValueError, match="at most 63"):
        mask.set_plane("63", plane)


def test_any_of() -> None:
    mask = Mask(np.array([[1, 2, 4, 0]], dtype="uint16"), {"BAD": 0, "SAT": 1})
    assert mask.any_of(["BAD", "SAT"]).tolist() == [[True, True, False, False]]
    assert mask.any_of("SAT").tolist() == [[False, True, False, False]]
    assert mask.any_of().tolist() == [[True, True, True, False]]
    assert not mask.any_of([]).any()


def test_slices_share_pixels_and_keep_names() -> None:
    mask = Mask(np.zeros((4, 5), dtype="int32"), {"BAD": 0})
    part = mask[1:3, 2:]
    assert part.shape == (2, 3)
    part.set_plane("BAD", np.ones((2, 3), dtype=bool))
    assert mask.plane("BAD").sum() == 6
    with pytest.raises(TypeError, match="pair of slices"):
        mask[0]


@pytest.mark.parametrize(
    ("array", "bits", "error", "words"),
    [
        (np.zeros((2, 2)), {}, TypeError, "integers"),
        (np.zeros((2, 2), dtype=bool), {}, TypeError, "from_planes"),
        (np.ma.zeros((2, 2), dtype="int32"), {}, TypeError, "MaskedArray"),
        ([[1]], {}, TypeError, "list"),
        (np.zeros(2, dtype="int32"), {}, ValueError, "shape"),
        (np.zeros((2, 2), dtype="uint8"), {"BAD": 8}, ValueError, "bits 0 to 7"),
        (np.zeros((2, 2), dtype="int16"), {"BAD": 15}, ValueError, "bits 0 to 14"),
        (np.zeros((2, 2), dtype="uint8"), {"BAD": -1}, ValueError, "bit -1"),
        (np.zeros((2, 2), dtype="uint8"), {"BAD": 1, "SAT": 1}, ValueError, "two names"),
        (np.zeros((2, 2), dtype="uint8"), {"BAD": 1.5}, TypeError, "integer"),
        (np.zeros((2, 2), dtype="uint8"), {1: 1}, TypeError, "string"),
        (np.full((2, 2), 2**63, dtype="uint64"), {}, ValueError, "bit 63"),
        (np.full((2, 2), -1, dtype="int64"), {}, ValueError, "bit 63"),
    ],
)
def test_bad_masks(array: object, bits: dict[str, int], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Mask(array, bits)  # type: ignore[arg-type]


def test_unknown_plane_names_the_nearest() -> None:
    mask = Mask(np.zeros((2, 2), dtype="uint8"), {"SATURATED": 0, "BAD": 1})
    with pytest.raises(ValueError, match="did you mean 'SATURATED'"):
        mask.plane("SATURATE")


def test_planes_must_be_booleans_of_the_shape() -> None:
    mask = Mask(np.zeros((2, 2), dtype="uint8"))
    for plane in (np.ones((2, 2)), np.ones((2, 3), dtype=bool)):
        with pytest.raises(ValueError, match="booleans of shape"):
            mask.set_plane("BAD", plane)
    with pytest.raises(ValueError, match="shapes"):
        mask | Mask(np.zeros((3, 2), dtype="uint8"))


def test_equality_is_by_value_and_names() -> None:
    mask = Mask(np.array([[1]], dtype="uint8"), {"BAD": 0})
    assert mask == Mask(np.array([[1]], dtype="int32"), {"BAD": 0})
    assert mask != Mask(np.array([[1]], dtype="uint8"), {"SAT": 0})
    assert mask != Mask(np.array([[0]], dtype="uint8"), {"BAD": 0})
    assert mask != 1
    assert np.asarray(mask).tolist() == [[1]]
