"""Sharing: what is handed out twice, and that nothing mutable ever is (design 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from bunter import Butler, Exposure, GaussianPsf, PhotoCalib, SourceCatalog, VisitInfo
from bunter.cache import ComponentCache
from tests.core_support import World, making_world

POLICY = """
datasets:
  calexp:
    python: bunter.Exposure
    storage: FitsExposure
    template: "calexp/{visit:d}.fits"
  rows: {python: bunter.SourceCatalog, storage: FitsTable, template: "src/{visit:d}.fits"}
  src:
    python: bunter.SourceCatalog
    composite:
      rows: rows
      wcs: {datasetType: calexp.wcs}
      photo_calib: {datasetType: calexp.photo_calib}
  conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}
  pair: {composite: {one: conf, two: conf}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def a_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [4.0, 3.0]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    wcs.wcs.set()
    return wcs


@pytest.fixture
def butler(world: World) -> Butler:
    made = world.butler("a", POLICY)
    exposure = Exposure(
        np.arange(48, dtype="f4").reshape(6, 8),
        wcs=a_wcs(),
        photo_calib=PhotoCalib.from_zero_point(27.0),
        psf=GaussianPsf(2.0),
        visit_info=VisitInfo(visit=1, exposure_time=30.0),
    )
    made.put(exposure, "calexp", visit=1)
    made.put(SourceCatalog({"id": [1, 2]}), "rows", visit=1)
    made.put({"n": [1]}, "conf", visit=1)
    return made


def test_by_default_every_get_returns_objects_of_its_own(butler: Butler) -> None:
    for name in ("calexp", "calexp.image", "calexp.wcs", "src", "conf"):
        assert butler.get(name, visit=1) is not butler.get(name, visit=1)
    first = butler.get("calexp.image", visit=1)
    first[:] = 0
    assert butler.get("calexp.image", visit=1)[5, 7] == 47
    wcs = butler.get("calexp.wcs", visit=1)
    wcs.wcs.crval = [0, 0]
    assert list(butler.get("calexp.wcs", visit=1).wcs.crval) == [150.0, 2.0]


@pytest.mark.parametrize("component", ["wcs", "photo_calib", "psf", "visit_info", "image"])
def test_with_share_frozen_components_are_handed_out_again(butler: Butler, component: str) -> None:
    name = f"calexp.{component}"
    assert butler.get(name, visit=1, share=True) is butler.get(name, visit=1, share=True)
    assert butler.get(name, visit=1) is not butler.get(name, visit=1, share=True)


def test_a_catalog_and_its_exposure_hold_one_wcs(world: World, butler: Butler) -> None:
    sharing = world.reader("a", share=True)
    catalog = sharing.get("src", visit=1)
    assert catalog.wcs is sharing.get("src", visit=1).wcs is sharing.get("calexp.wcs", visit=1)
    assert catalog.photo_calib is sharing.get("calexp.photo_calib", visit=1)
    assert catalog is not sharing.get("src", visit=1)
    unshared = sharing.get("src", visit=1, share=False)
    assert unshared.wcs is not catalog.wcs


def test_what_is_shared_cannot_be_changed(butler: Butler) -> None:
    image = butler.get("calexp.image", visit=1, share=True)
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 1
    wcs = butler.get("calexp.wcs", visit=1, share=True)
    with pytest.raises(Exception, match=r"frozen|copy"):
        wcs.wcs.crval = [0, 0]
    info = butler.get("calexp.visit_info", visit=1, share=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.visit = 2


def test_the_copy_of_a_frozen_wcs_thaws(butler: Butler) -> None:
    frozen = butler.get("calexp.wcs", visit=1, share=True)
    thawed = frozen.copy()
    thawed.wcs.crval = [0, 0]
    assert list(frozen.wcs.crval) == [150.0, 2.0]
    np.testing.assert_allclose(frozen.pixel_to_world_values(3, 2), a_wcs().pixel_to_world_values(3, 2))


def test_mutable_objects_are_never_shared(butler: Butler) -> None:
    for name in ("calexp", "src", "rows", "conf"):
        assert butler.get(name, visit=1, share=True) is not butler.get(name, visit=1, share=True)
    made = butler.get("conf", visit=1, share=True)
    made["n"].append(2)
    assert butler.get("conf", visit=1, share=True) == {"n": [1]}


def test_a_shared_catalog_can_be_changed_without_changing_the_next(butler: Butler) -> None:
    first = butler.get("src", visit=1, share=True)
    first["id"][0] = 99
    first.wcs = None
    second = butler.get("src", visit=1, share=True)
    assert list(second["id"]) == [1, 2]
    assert second.wcs is not None


def test_a_replacement_is_not_hidden_by_what_was_shared(butler: Butler) -> None:
    old = butler.get("calexp.photo_calib", visit=1, share=True)
    exposure = butler.get("calexp", visit=1)
    exposure.photo_calib = PhotoCalib.from_zero_point(30.0)
    butler.put(exposure, "calexp", visit=1, replace=True)
    new = butler.get("calexp.photo_calib", visit=1, share=True)
    assert new is not old
    assert new.zero_point == pytest.approx(30.0)


def test_cutouts_are_not_mistaken_for_the_whole(butler: Butler) -> None:
    whole = butler.get("calexp.image", visit=1, share=True)
    cut = butler.get("calexp.image", visit=1, share=True, parameters={"bbox": (slice(1, 3), slice(2, 4))})
    assert cut.shape == (2, 2)
    assert butler.get("calexp.image", visit=1, share=True) is whole


def test_what_was_got_shared_can_be_put(world: World, butler: Butler) -> None:
    child = world.butler("b", inputs="a")
    catalog = child.get("src", visit=1, share=True)
    child.put(catalog, "src", visit=1)
    assert world.files("b") == []
    assert child.get("src", visit=1).photo_calib == PhotoCalib.from_zero_point(27.0)


def test_as_type_of_what_is_shared(butler: Butler) -> None:
    made = butler.get("src", visit=1, share=True, as_type=Table)
    made["id"][0] = 9
    assert list(butler.get("src", visit=1, share=True)["id"]) == [1, 2]


def test_within_one_get_each_leaf_is_read_once(world: World, butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    from bunter.formats.json_ import Json

    calls = []
    real = Json.read

    def counted(self: Json, *arguments: object) -> object:
        calls.append(1)
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Json, "read", counted)
    assert butler.get("pair", visit=1) == {"one": {"n": [1]}, "two": {"n": [1]}}
    assert len(calls) == 1


def test_the_cache_is_bounded_in_bytes() -> None:
    from uuid import uuid4

    cache = ComponentCache(limit=1000)
    keys = [(uuid4(), "", "") for _ in range(5)]
    for key in keys:
        cache.put(key, np.zeros(50))
    assert cache.bytes <= 1000
    assert cache.get(keys[0]) is None
    assert cache.get(keys[-1]) is not None
    big = np.zeros(1000)
    assert cache.put((uuid4(), "", ""), big) is big
    assert cache.bytes <= 1000
