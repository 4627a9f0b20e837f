"""Catalogs with a WCS and a calibration attached, used as the use cases do."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from astropy.table import Table, vstack

from bunter.components import declared_components, get_component, set_component
from bunter.exposure import PhotoCalib, SourceCatalog, freeze, same_wcs

from .conftest import tan, tpv


def catalog() -> SourceCatalog:
    return SourceCatalog({"id": [1, 2, 3], "flux": [1.0, 2.0, 3.0]}, wcs=tan(), photo_calib=PhotoCalib(2.0))


def attached(cat: SourceCatalog) -> bool:
    return same_wcs(cat.wcs, tan()) and cat.photo_calib == PhotoCalib(2.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda c: c[1:],
        lambda c: c[[0, 2]],
        lambda c: c[c["flux"] > 1],
        lambda c: c["id", "flux"],
        lambda c: c[["flux"]],
        lambda c: c.copy(),
        lambda c: c.copy(copy_data=False),
        lambda c: SourceCatalog(c),
        lambda c: copy.copy(c),
        lambda c: copy.deepcopy(c),
        lambda c: pickle.loads(pickle.dumps(c)),
    ],
)
def test_attachments_survive(make: Any) -> None:
    made = make(catalog())
    assert type(made) is SourceCatalog
    assert attached(made)


def test_attachments_are_no_columns_and_no_meta() -> None:
    cat = catalog()
    assert cat.colnames == ["id", "flux"]
    assert not cat.meta
    assert Table(cat).meta == {}
    assert type(vstack([cat, cat])) is SourceCatalog


def test_deepcopy_owns_its_wcs_and_thaws_a_shared_one() -> None:
    cat = catalog()
    cat.wcs = freeze(tan())
    copied = copy.deepcopy(cat)
    copied.wcs.wcs.crval = [1.0, 2.0]
    assert attached(cat)


def test_every_spelling_of_the_accessors() -> None:
    cat, wcs, calib = SourceCatalog(), tan(), PhotoCalib(3.0)
    cat.setWcs(wcs)
    cat.setCalib(calib)
    assert cat.getWcs() is cat.wcs is wcs
    assert cat.getCalib() is cat.getPhotoCalib() is cat.calib is cat.photo_calib is calib
    cat.calib = None
    cat.setPhotoCalib(calib)
    assert cat.photo_calib is calib
    assert declared_components(SourceCatalog) == {"wcs": "astropy.wcs.WCS", "photo_calib": "bunter.PhotoCalib"}
    for name in ("calib", "photoCalib", "photo_calib"):
        set_component(cat, name, PhotoCalib(4.0))
        assert get_component(cat, name) == PhotoCalib(4.0)
    with pytest.raises(TypeError, match="wcs"):
        cat.wcs = "no"
    with pytest.raises(TypeError, match="photo_calib"):
        cat.calib = 27.0  # type: ignore[assignment]


def extended_icSrc_assembler(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    srcCat = componentDict["icSrc"]
    srcCat.wcs = componentDict["wcs"]
    srcCat.calib = componentDict["calib"]
    return srcCat


def AssembleAggregateDeepCoadd(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    baseObject = classObj()
    for obj in componentDict["deepCoaddSrc"]:
        baseObject += obj
    return baseObject


def test_assemblers_of_the_use_cases() -> None:
    parts = {"icSrc": SourceCatalog({"id": [1]}), "wcs": tan(), "calib": PhotoCalib(2.0)}
    assert attached(extended_icSrc_assembler({}, parts, SourceCatalog))
    cats = [SourceCatalog({"id": [n, n + 1], "name": ["a" * n, "b"]}) for n in (1, 5, 9)]
    total = AssembleAggregateDeepCoadd({}, {"deepCoaddSrc": cats}, SourceCatalog)
    assert type(total) is SourceCatalog
    assert total["id"].tolist() == [1, 2, 5, 6, 9, 10]
    assert total["name"].tolist() == ["a", "b", "aaaaa", "b", "aaaaaaaaa", "b"]
    assert [len(cat) for cat in cats] == [2, 2, 2]
    total["id"][0] = 99
    assert cats[0]["id"][0] == 1


def test_appending_is_in_place_and_takes_any_table() -> None:
    cat = same = SourceCatalog()
    cat += Table({"id": [1]}, meta={"origin": "x"})
    cat += Table({"id": [2]})
    assert same is cat
    assert same["id"].tolist() == [1, 2]
    assert cat.meta == {"origin": "x"}
    cat += SourceCatalog()
    assert len(cat) == 2
    with pytest.raises(TypeError):
        cat += [1, 2]


def test_only_what_holds_for_all_rows_stays_attached() -> None:
    total = SourceCatalog()
    total += catalog()
    total += catalog()
    assert attached(total)
    other = catalog()
    other.wcs, other.photo_calib = tpv(), PhotoCalib(5.0)
    total += other
    assert total.wcs is None
    assert total.photo_calib is None
    total += catalog()
    assert total.wcs is None


def test_other_columns_are_refused_and_nothing_changes() -> None:
    cat = catalog()
    with pytest.raises(ValueError, match="lacking flux; beyond those of the first: mag"):
        cat += SourceCatalog({"id": [1], "mag": [20.0]})
    assert len(cat) == 3
    np.testing.assert_array_equal(cat["id"], [1, 2, 3])
