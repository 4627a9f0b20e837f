"""Objects that can be shared because nobody can change them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from bunter.exposure import (
    Background,
    Exposure,
    FrozenWCS,
    GaussianPsf,
    Mask,
    Metadata,
    PhotoCalib,
    VisitInfo,
    freeze,
    same_wcs,
)

from .conftest import KINDS, sip, tan


def test_values_that_cannot_change_are_frozen_as_they_are() -> None:
    for value in (PhotoCalib(2.0), VisitInfo(visit=1), GaussianPsf(2.0), Background(), "g", 3):
        assert freeze(value) is value


def test_what_cannot_be_frozen_is_none() -> None:
    class Own(WCS):
        pass

    for value in (Metadata(), Table(), Exposure(np.zeros((2, 2))), Own(naxis=2), {}, [], np.array([{}])):
        assert freeze(value) is None
    broken = WCS(naxis=2)
    broken.wcs.ctype = ["RA---TAN", "DEC--XXX"]
    assert freeze(broken) is None


def test_arrays_become_read_only_views() -> None:
    array = np.zeros((2, 3))
    frozen = freeze(array)
    assert frozen.base is array
    with pytest.raises(ValueError, match="read-only"):
        frozen[0, 0] = 1
    array[0, 0] = 1  # the owner's own array stays as it was
    assert copy.deepcopy(frozen).flags.writeable


def test_frozen_mask_refuses_and_its_copy_thaws() -> None:
    frozen = freeze(Mask(np.zeros((2, 2), dtype="uint8"), {"BAD": 0}))
    plane = np.ones((2, 2), dtype=bool)
    assert frozen.frozen
    with pytest.raises(ValueError, match="frozen"):
        frozen.set_plane("BAD", plane)
    with pytest.raises(TypeError):
        frozen.bits["CR"] = 1
    thawed = frozen.copy()
    thawed.set_plane("BAD", plane)
    assert thawed.plane("BAD").all()
    assert not frozen.plane("BAD").any()
    assert frozen.with_plane("CR", plane).plane("CR").all()


CHANGES = {
    "attribute": lambda w: setattr(w, "anything", 1),
    "pixel_shape": lambda w: setattr(w, "pixel_shape", (3, 4)),
    "parameters": lambda w: setattr(w, "wcs", tan().wcs),
    "sip": lambda w: setattr(w, "sip", None),
    "table": lambda w: setattr(w, "cpdis1", None),
    "delete": lambda w: delattr(w, "wcs"),
    "crval": lambda w: setattr(w.wcs, "crval", [1, 2]),
    "crval item": lambda w: w.wcs.crval.__setitem__(0, 1.0),
    "crval writable": lambda w: w.wcs.crval.setflags(write=True) or w.wcs.crval.__setitem__(0, 1.0),
    "ctype item": lambda w: w.wcs.ctype.__setitem__(0, "GLON-CAR"),
    "cunit item": lambda w: w.wcs.cunit.__setitem__(0, "rad"),
    "projection": lambda w: setattr(w.wcs.cel, "offset", True),
    "set_pv": lambda w: w.wcs.set_pv([(1, 1, 2.0)]),
    "fix": lambda w: w.fix(),
    "bounds": lambda w: w.wcs.bounds_check(False, False),
    "sip array": lambda w: w.sip.a.__setitem__((0, 0), 1.0),
    "sip crpix": lambda w: w.sip.crpix.__setitem__(0, 1.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_frozen_wcs_cannot_be_changed(change: str) -> None:
    frozen = freeze(sip())
    with pytest.raises((AttributeError, ValueError, TypeError)):
        CHANGES[change](frozen)
    assert same_wcs(frozen, sip())


def test_refusal_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"change wcs.copy\(\) instead"):
        freeze(tan()).wcs.crval = [1, 2]


def test_original_and_frozen_are_independent() -> None:
    wcs = tan()
    frozen = freeze(wcs)
    wcs.wcs.crval = [1.0, 2.0]
    assert same_wcs(frozen, tan())


@pytest.mark.parametrize("thaw", [copy.copy, copy.deepcopy, lambda w: w.copy(), lambda w: w.deepcopy()])
def test_copies_thaw(any_wcs: WCS, thaw: object) -> None:
    frozen = freeze(any_wcs)
    thawed = thaw(frozen)  # type: ignore[operator]
    assert type(thawed) is WCS
    assert same_wcs(thawed, any_wcs)
    thawed.wcs.crpix = np.array(thawed.wcs.crpix) + 1
    assert same_wcs(frozen, any_wcs)


def test_reading_methods_give_the_same(any_wcs: WCS) -> None:
    frozen = freeze(any_wcs)
    assert isinstance(frozen, FrozenWCS)
    assert freeze(frozen) is frozen
    pixels = np.random.default_rng(3).uniform(1, 4, size=(4, any_wcs.naxis))
    world = any_wcs.all_pix2world(pixels, 0)
    np.testing.assert_array_equal(frozen.all_pix2world(pixels, 0), world)
    np.testing.assert_array_equal(frozen.wcs_pix2world(pixels, 0), any_wcs.wcs_pix2world(pixels, 0))
    np.testing.assert_array_equal(frozen.wcs_world2pix(world, 0), any_wcs.wcs_world2pix(world, 0))
    np.testing.assert_array_equal(frozen.pixel_scale_matrix, any_wcs.pixel_scale_matrix)
    assert repr(frozen) == repr(any_wcs)
    assert frozen.to_header(relax=True) == any_wcs.to_header(relax=True)
    assert same_wcs(frozen.celestial, any_wcs.celestial)
    assert frozen.world_axis_physical_types == any_wcs.world_axis_physical_types
    assert frozen.pixel_shape == any_wcs.pixel_shape
    assert frozen.wcs.naxis == any_wcs.naxis
    assert list(frozen.wcs.ctype) == list(any_wcs.wcs.ctype)
    frozen.wcs.set()  # what is set already may be set


def test_high_level_interface_and_slices(any_wcs: WCS) -> None:
    if any_wcs.wcs.ctype[-1].endswith("TAB"):
        any_wcs = KINDS["cube"]()
    frozen = freeze(any_wcs)
    middle = [2.0] * any_wcs.naxis
    assert str(frozen.pixel_to_world(*middle)) == str(any_wcs.pixel_to_world(*middle))
    view = (slice(1, 5), slice(2, 6)) if any_wcs.naxis == 2 else (slice(0, 1), slice(1, 5), slice(2, 6))
    assert same_wcs(frozen.slice(view), any_wcs.slice(view))


def test_frozen_wcs_pickles_frozen() -> None:
    for kind in ("tan", "tpv", "sip", "lookup", "cube"):
        frozen = freeze(KINDS[kind]())
        again = pickle.loads(pickle.dumps(frozen))
        assert type(again) is FrozenWCS
        assert same_wcs(again, frozen)


def test_compare_takes_frozen_parameters() -> None:
    one, two = freeze(tan()), freeze(tan())
    assert one.wcs.compare(two.wcs)
    assert one.wcs == two.wcs
    assert WCS(naxis=2).wcs != one.wcs
