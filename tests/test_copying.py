"""copy_to: a repository with some of the dataset types, and the way back (design 4, use case 8)."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bunter import (
    AssemblyError,
    Butler,
    ComponentNotFoundError,
    DataIdError,
    DatasetExistsError,
    DatasetNotFoundError,
    DatasetTypeNotFoundError,
    DefinitionError,
    Exposure,
    FormatError,
    GaussianPsf,
    IntegrityError,
    ParameterError,
    RepositoryError,
)
from bunter.cli.commands import bunter
from tests.core_support import (
    FRAMES,
    HERE,
    ID,
    TRACT_ID,
    ByCamel,
    Frame,
    Pair,
    World,
    frame,
    making_world,
    write_json,
)

POLICY = f"""
keys: {{visit: int, ccd: str, tract: int, filter: str}}
implied: {{filter: [visit]}}
{FRAMES.strip()}
  src:sfm: {{python: dict, storage: Json, template: "src/{{filter}}/{{visit:d}}/{{ccd}}.json"}}
  # A catalog with the calibration of its exposure: use case 8.
  src_with_calib:
    python: {HERE}.Pair
    composite: {{wcs: "src:sfm", calib: "calexp:sfm.photoCalib"}}
  calexp_psf: {{partOf: calexp:sfm.psf}}
  note: {{python: dict, storage: Json, template: "note/{{visit:d}}.json"}}
aliases: {{calexp: "calexp:jointcal", src: "src:sfm"}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def fill(butler: Butler, ccds: tuple[str, ...] = ("N3", "N4")) -> None:
    for n, ccd in enumerate(ccds):
        butler.put(frame(n), "calexp:sfm", visit=1, ccd=ccd)
        made_from = butler.query("calexp:sfm", visit=1, ccd=ccd)
        butler.put({"flux": [n]}, "src:sfm", visit=1, ccd=ccd, filter="g", precursors=made_from)


@pytest.fixture
def big(world: World) -> Butler:
    butler = world.butler("big", POLICY, producer="sfm 1.0")
    fill(butler)
    return butler


def jointcal(butler: Butler, n: int = 7) -> Any:
    new = butler.get("calexp:sfm", ID)
    new.wcs, new.photo_calib = {"crval": n}, {"zero": n}
    return butler.put(new, "calexp:jointcal", TRACT_ID)


def everything(root: Path) -> dict[str, str]:
    """Return all files of a repository and what they hold, the registry by its datasets."""
    found = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("registry")
    }
    with Butler(root, trust=[HERE]) as butler:
        registry = butler._context.chain.order[0].registry
        found |= {f"{r.type} {r.data_id} {r.part}": f"{r.uuid} {r.live}" for r in registry.everything()}
    return found


# A part that is needed alone


def test_a_part_that_is_needed_alone(world: World, big: Butler) -> None:
    copied = big.copy_to(world.folder / "small", "src_with_calib", ccd="N3")
    assert (copied.datasets, copied.parts, copied.present, copied.files) == (2, 1, 0, 2)
    assert copied.bytes == sum((world.folder / "small" / path).stat().st_size for path in world.files("small"))
    assert world.files("small") == ["sfm/1/calexp-N3.photo_calib.json", "src/g/1/N3.json"]
    small = world.reader("small")
    assert small.get("src_with_calib", ID) == big.get("src_with_calib", ID) == Pair({"flux": [0]}, {"zero": 25})
    assert small.get("calexp:sfm.photoCalib", ID) == {"zero": 25}
    assert small.get("calexp:sfm.calib", ID) == {"zero": 25}
    assert small.exists("src_with_calib", ID)
    assert not small.exists("src_with_calib", visit=1, ccd="N4")
    assert "calexp-N3.photo_calib.json" in small.uri("calexp:sfm.photoCalib", ID)


def test_a_part_is_not_the_whole(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib")
    small = world.reader("small")
    for name in ("calexp:sfm", "calexp:sfm.psf", "calexp:sfm.image"):
        with pytest.raises(DatasetNotFoundError, match=r"there is no calexp:sfm"):
            small.get(name, ID)
        assert not small.exists(name, ID)
        assert small.query(name).count() == 0
    assert "MISSING" in str(small.plan("calexp:sfm", ID))
    assert [ref.data_id["ccd"] for ref in small.query("calexp:sfm.photoCalib")] == ["N3", "N4"]
    assert [ref.data_id["ccd"] for ref in small.query("src_with_calib", where="ccd > 'N3'")] == ["N4"]
    assert small._context.chain.order[0].registry.counts() == {"calexp:sfm": 0, "src:sfm": 2}


def test_identity_and_provenance_are_kept(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib")
    small = world.reader("small")
    for name in ("src:sfm", "calexp:sfm.photoCalib"):
        there, here = (butler.query(name).first() for butler in (big, small))
        assert there is not None
        assert here is not None
        assert here == there
        assert here.precursors == there.precursors
        old, new = (ref._find().record for ref in (there, here))  # type: ignore[union-attr]
        assert (new.written_at, new.written_by) == (old.written_at, old.written_by)
        assert "sfm 1.0" in new.written_by
    src = small.query("src:sfm").first()
    assert src is not None
    assert [made_from.uuid for made_from in src.precursors] == [big.query("calexp:sfm", ID).first().uuid]  # type: ignore[union-attr]


def test_what_is_known_of_implied_keys_is_kept(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src")
    small = world.reader("small")
    assert small.query("src:sfm", where="filter = 'g'").count() == 2
    assert small.query("src:sfm", filter="r").count() == 0
    with pytest.raises(DataIdError, match="contradicts"):
        small.get("src:sfm", ID, filter="r")


def test_the_parts_precursors_are_found(world: World) -> None:
    butler = world.butler("big", POLICY)
    raw = butler.put({"n": 1}, "note", visit=1)
    butler.put(frame(), "calexp:sfm", ID, precursors=[raw])
    butler.copy_to(world.folder / "small", "calexp:sfm.psf")
    ref = world.reader("small").query("calexp:sfm.psf").first()
    assert ref is not None
    assert [made_from.uuid for made_from in ref.precursors] == [raw.uuid]


def test_a_part_that_the_whole_lacks(world: World) -> None:
    butler = world.butler("big", POLICY)
    butler.put(frame(psf=None), "calexp:sfm", ID)
    assert butler.get("calexp:sfm.psf", ID) is None
    butler.copy_to(world.folder / "small", ["calexp:sfm.psf", "calexp:sfm.wcs"])
    small = world.reader("small")
    assert small.get("calexp:sfm.psf", ID) is None
    assert small.get("calexp:sfm.wcs", ID) == {"crval": 0}
    with pytest.raises(DatasetNotFoundError):
        small.get("calexp:sfm.photoCalib", ID)


def test_a_part_under_a_name_of_its_own(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "calexp_psf", ID)
    small = world.reader("small")
    assert small.dataset_types() == ["calexp:sfm", "calexp_psf"]
    assert small.get("calexp_psf", ID) == small.get("calexp:sfm.psf", ID) == {"sigma": 2.0}
    assert small.query("calexp_psf").count() == 1


def test_parts_of_a_composite_are_taken_where_they_are(world: World, big: Butler) -> None:
    jointcal(big)
    big.copy_to(world.folder / "small", ["calexp:jointcal.psf", "calexp:jointcal.wcs"], TRACT_ID)
    assert world.files("small") == ["jointcal/0/wcs-1-N3.json", "sfm/1/calexp-N3.psf.json"]
    small = world.reader("small")
    assert small.get("calexp:jointcal.psf", TRACT_ID) == {"sigma": 2.0}
    assert small.get("calexp:jointcal.wcs", TRACT_ID) == {"crval": 7}
    with pytest.raises(DatasetNotFoundError):
        small.get("calexp:jointcal", TRACT_ID)
    assert small.query("calexp:jointcal").count() == 0


def test_all_parts_are_the_whole(world: World, big: Butler) -> None:
    parts = [f"calexp:sfm.{part}" for part in ("image", "wcs", "psf", "photo_calib")]
    copied = big.copy_to(world.folder / "less", parts[1:], ID)
    assert (copied.datasets, copied.parts) == (3, 3)
    copied = big.copy_to(world.folder / "all", parts, ID)
    assert (copied.datasets, copied.parts) == (1, 0)
    assert world.reader("all").get("calexp:sfm", ID) == frame(0)


def test_a_composite_of_parts_that_are_stored_alone(world: World, big: Butler) -> None:
    """All parts of the base are there, each by itself: that is enough, and less is not."""
    jointcal(big)
    parts = ["calexp:sfm.image", "calexp:jointcal.wcs", "calexp:jointcal.photoCalib"]
    big.copy_to(world.folder / "less", parts, TRACT_ID)
    less = world.butler("less")
    less.define({"datasets": {"calexp:jointcal": {"base": "calexp:sfm", "composite": {
        "wcs": "calexp:jointcal.wcs", "photoCalib": "calexp:jointcal.photoCalib",
    }}}})  # fmt: skip
    assert less.query("calexp:jointcal").count() == 0
    big.copy_to(world.folder / "less", "calexp:sfm.psf", ID)
    assert [ref.data_id for ref in less.query("calexp:jointcal")] == [TRACT_ID]
    assert less.get("calexp:jointcal", TRACT_ID) == big.get("calexp:jointcal", TRACT_ID)


def test_work_goes_on_in_a_child_of_the_subset(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib")
    child = world.butler("child", inputs="small")
    pair = child.get("src_with_calib", ID)
    pair.wcs = {"flux": [99]}
    child.put(pair, "src_with_calib", ID, self_contained=True)
    assert world.files("child") == ["sfm/1/calexp-N3.photo_calib.json", "src/g/1/N3.json"]
    alone = child.get("src_with_calib", ID)
    assert alone == Pair({"flux": [99]}, {"zero": 25})
    assert not child.exists("calexp:sfm", ID)
    pair.calib = {"zero": 99}
    with pytest.raises(AssemblyError, match="inputOnly"):
        child.put(pair, "src_with_calib", ID, replace=True)


def test_the_subset_beside_the_whole(world: World, big: Butler) -> None:
    """A part and its whole are one dataset: they agree, and the whole gives what the part has not."""
    big.copy_to(world.folder / "small", "src_with_calib")
    for order in (("small", "big"), ("big", "small")):
        both = world.reader(*order)
        assert both.get("calexp:sfm", ID) == frame(0)
        assert both.get("src_with_calib", ID).calib == {"zero": 25}
        assert both.query("calexp:sfm").count() == 2


def test_a_whole_of_ones_own_beside_the_part(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib", ID)
    small = world.butler("small")
    small.put(frame(5), "calexp:sfm", ID)
    assert small.get("calexp:sfm", ID) == frame(5)
    assert small.get("src_with_calib", ID).calib == {"zero": 30}


# Composites


def test_a_put_composite_keeps_its_pins(world: World, big: Butler) -> None:
    put = jointcal(big)
    big.copy_to(world.folder / "small", "calexp")
    assert world.files("small") == ["jointcal/0/calib-1-N3.json", "jointcal/0/wcs-1-N3.json", "sfm/1/calexp-N3.json"]
    small = world.reader("small")
    assert small.aliases() == {"calexp": "calexp:jointcal"}
    ref = small.query("calexp").first()
    assert ref is not None
    assert ref.uuid == put.uuid
    assert small.get("calexp", TRACT_ID) == big.get("calexp", TRACT_ID)
    assert all(leaf["pinned"] for leaf in small.plan("calexp", TRACT_ID).leaves())
    here, there = (b._context.chain.order[0].registry for b in (small, big))
    assert put.uuid is not None
    assert here.pins("calexp:jointcal", put.uuid) == there.pins("calexp:jointcal", put.uuid)
    # What is pinned can be told from the data ID, too.
    wcs = small.query("calexp:jointcal.wcs").first()
    assert wcs is not None
    assert [r.uuid for r in here.pinned_by("calexp:jointcal.wcs", wcs.data_id, wcs.uuid)] == [put.uuid]


def test_what_masks_a_pinned_component_is_pinned(world: World, big: Butler) -> None:
    jointcal(big)
    child = world.butler("child", inputs="big")
    child.put({"crval": 8}, "calexp:jointcal.wcs", TRACT_ID)
    assert child.get("calexp:jointcal", TRACT_ID).wcs == {"crval": 8}
    child.copy_to(world.folder / "small", "calexp:jointcal")
    small = world.reader("small")
    for resolve in ("pinned", "nearest", "exact"):
        assert small.get("calexp:jointcal", TRACT_ID, resolve=resolve).wcs == {"crval": 8}


def test_what_is_pinned_and_deleted_goes_along(world: World, big: Butler) -> None:
    jointcal(big)
    big.delete("calexp:jointcal.wcs", TRACT_ID, force=True)
    expected = big.get("calexp:jointcal", TRACT_ID)
    big.copy_to(world.folder / "small", "calexp:jointcal", TRACT_ID)
    small = world.reader("small")
    assert small.get("calexp:jointcal", TRACT_ID) == expected
    assert small.plan("calexp:jointcal", TRACT_ID).leaves()[1]["trashed"]
    with pytest.raises(DatasetNotFoundError):
        small.get("calexp:jointcal.wcs", TRACT_ID, resolve="nearest")


ABSENT = f"""
datasets:
  wcs: {{python: dict, storage: Json, template: "wcs/{{visit:d}}.json"}}
  calib: {{python: dict, storage: Json, template: "calib/{{visit:d}}.json"}}
  pair: {{python: {HERE}.Pair, composite: {{wcs: wcs, calib: {{datasetType: calib, optional: true}}}}}}
  outer: {{python: {HERE}.ByCamel, composite: {{wcs: pair, calib: {{datasetType: pair.calib, optional: true}}}}}}
"""


def test_what_was_absent_stays_absent(world: World) -> None:
    butler = world.butler("big", ABSENT)
    butler.put(Pair({"n": 1}, None), "pair", visit=1)
    butler.put({"n": 2}, "wcs", visit=2)
    butler.copy_to(world.folder / "small", "pair", visit=1)
    small = world.butler("small")
    small.put({"n": 1}, "wcs", visit=3)
    assert small.get("pair", visit=1) == Pair({"n": 1}, None)
    assert small.get("pair", visit=3) == Pair({"n": 1}, None)


def test_a_composite_of_composites(world: World) -> None:
    butler = world.butler("big", ABSENT)
    inner = Pair({"n": 1}, {"c": 1})
    outer = ByCamel()
    outer.setWcs(inner)
    outer.setCalib({"c": 1})
    butler.put(outer, "outer", visit=1)
    butler.copy_to(world.folder / "small", "outer")
    small = world.reader("small")
    assert small.get("outer", visit=1).getWcs() == butler.get("outer", visit=1).getWcs() == inner
    assert small.get("outer", visit=1).getCalib() == {"c": 1}
    for name in ("outer", "pair"):
        assert small.query(name).first() == butler.query(name).first()


LISTS = f"""
datasets:
  item: {{python: dict, storage: Json, template: "item/{{visit:d}}-{{ccd}}.json"}}
  total:
    python: int
    keys: [visit]
    composite: {{items: {{datasetType: item, subset: true}}}}
    assembler: {HERE}.add_all
"""


def test_the_members_of_a_list_go_along(world: World) -> None:
    butler = world.butler("big", LISTS)
    for ccd in ("a", "b", "c"):
        butler.put({"n": 1}, "item", visit=1, ccd=ccd)
    butler.put({"n": 5}, "item", visit=2, ccd="a")
    copied = butler.copy_to(world.folder / "small", "total", visit=1)
    assert copied.datasets == 3
    assert world.reader("small").get("total", visit=1) == 3


COADDS = f"""
datasets:
  calexp:sfm: {{python: {HERE}.Frame, storage: Json, template: "sfm/{{visit:d}}.json"}}
  image: {{python: dict, storage: Json, template: "coadd/{{tract:d}}.json"}}
  coadd:
    python: {HERE}.ByCamel
    composite:
      wcs: image
      calib: {{datasetType: calexp:sfm.psf, dataIds: precursors, optional: true}}
"""


def test_lists_whose_data_ids_are_precursors(world: World) -> None:
    butler = world.butler("big", COADDS)
    inputs = [butler.put(frame(visit), "calexp:sfm", visit=visit) for visit in (1, 2, 3)]
    coadd = ByCamel()
    coadd.setWcs({"n": 1})
    coadd.setCalib(None)
    butler.put(coadd, "coadd", tract=0, precursors=inputs[:2])
    there = list(butler.get("coadd", tract=0).getCalib())
    copied = butler.copy_to(world.folder / "small", "coadd")
    assert (copied.datasets, copied.parts) == (2 + len(there), len(there))
    assert list(world.reader("small").get("coadd", tract=0).getCalib()) == there
    copied = butler.copy_to(world.folder / "taken", "coadd.calib", tract=0)
    assert (copied.datasets, copied.parts) == (1 + len(there), len(there))
    taken = world.reader("taken")
    assert list(taken.get("coadd.calib", tract=0)) == there == [{"sigma": 2.0}] * 2
    assert not taken.exists("coadd", tract=0)


FITS = """
datasets:
  calexp:
    {python: bunter.Exposure, storage: FitsExposure, template: "{visit:d}.fits", metadata: {seeing: SEEING}}
  image: {python: numpy.ndarray, storage: FitsImage, template: "image/{visit:d}.fits"}
  calexp:clean: {base: calexp, composite: {image: image}}
  seen: {python: dict, composite: {psf: calexp.psf}}
"""


def test_a_composite_without_the_main_part_of_its_base(world: World) -> None:
    """The base has the old pixels: they are not needed, and all its other parts are."""
    butler = world.butler("big", FITS)
    for visit in (1, 2):
        exposure = Exposure(np.ones((64, 64), "f4"), psf=GaussianPsf(2.0), metadata={"SEEING": visit / 2})
        butler.put(exposure, "calexp", visit=visit)
        butler.put(np.zeros((64, 64), "f4"), "image", visit=visit)
    butler.copy_to(world.folder / "small", "calexp:clean", where="seeing < 0.9")
    small = world.reader("small")
    got = small.get("calexp:clean", visit=1)
    assert got == butler.get("calexp:clean", visit=1)
    assert not got.image.any()
    assert not small.exists("calexp.image", visit=1)
    assert small.query("calexp:clean").count() == 1
    assert world.files("small")[-1] == "image/1.fits"
    assert "1.psf.fits" in world.files("small")


def test_header_cards_go_along(world: World) -> None:
    butler = world.butler("big", FITS)
    for visit in (1, 2):
        exposure = Exposure(np.ones((8, 8), "f4"), psf=GaussianPsf(2.0), metadata={"SEEING": visit / 2})
        butler.put(exposure, "calexp", visit=visit)
    butler.copy_to(world.folder / "whole", "calexp")
    butler.copy_to(world.folder / "parts", "seen")
    for name, type_ in (("whole", "calexp"), ("parts", "calexp.psf"), ("parts", "seen")):
        found = world.reader(name).query(type_, where="seeing > 0.9")
        assert [ref.data_id for ref in found] == [{"visit": 2}]


# Merging, and the way back


def test_the_same_again_is_a_no_op(world: World, big: Butler) -> None:
    jointcal(big)
    names = ["src_with_calib", "calexp:jointcal"]
    first = big.copy_to(world.folder / "small", names)
    before = everything(world.folder / "small")
    again = big.copy_to(world.folder / "small", names)
    assert (again.datasets, again.files, again.bytes) == (0, 0, 0)
    assert again.present == first.datasets
    assert everything(world.folder / "small") == before


def test_more_of_it_later(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src", ccd="N3")
    copied = big.copy_to(world.folder / "small", "src")
    assert (copied.datasets, copied.present) == (1, 1)
    big.put({"n": 1}, "note", visit=1)
    big.copy_to(world.folder / "small", "note")
    small = world.reader("small")
    assert small.dataset_types() == ["note", "src:sfm"]
    assert small.get("note", visit=1) == {"n": 1}


def test_a_different_dataset_is_in_the_way(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src", ccd="N3")
    small = world.butler("small")
    small.put({"flux": ["mine"]}, "src:sfm", visit=1, ccd="N4")
    big.put({"n": 1}, "note", visit=1)
    before = everything(world.folder / "small")
    with pytest.raises(DatasetExistsError) as caught:
        big.copy_to(world.folder / "small", ["note", "src"])
    for butler in (big, small):
        ref = butler.query("src:sfm", ccd="N4").first()
        assert ref is not None
        assert str(ref.uuid) in str(caught.value)
        assert str(ref.repository) in str(caught.value)
    assert "src:sfm {'visit': 1, 'ccd': 'N4'}" in str(caught.value)
    assert everything(world.folder / "small") == before


def test_a_part_where_the_whole_is(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "calexp:sfm", ID)
    copied = big.copy_to(world.folder / "small", "src_with_calib", ID)
    assert (copied.datasets, copied.parts, copied.present) == (1, 0, 1)
    assert world.files("small") == ["sfm/1/calexp-N3.json", "src/g/1/N3.json"]


def test_a_whole_where_the_part_is(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib", ID)
    copied = big.copy_to(world.folder / "small", "calexp:sfm", ID)
    assert (copied.datasets, copied.parts) == (1, 0)
    small = world.reader("small")
    assert small.get("calexp:sfm", ID) == frame(0)
    assert small.uri("calexp:sfm.photoCalib", ID).endswith("calexp-N3.json")
    assert small.query("calexp:sfm").count() == small.query("calexp:sfm.photoCalib").count() == 1


@pytest.mark.parametrize("names", [["calexp:sfm"], ["calexp:sfm.psf"], ["calexp:sfm.photoCalib"]])
def test_a_part_of_another_whole_is_in_the_way(world: World, big: Butler, names: list[str]) -> None:
    big.copy_to(world.folder / "small", "src_with_calib", ID)
    big.put(frame(5), "calexp:sfm", ID, replace=True)
    before = everything(world.folder / "small")
    with pytest.raises(DatasetExistsError, match="calexp:sfm"):
        big.copy_to(world.folder / "small", names, ID)
    assert everything(world.folder / "small") == before


def test_what_was_deleted_there(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src", ID)
    world.butler("small").delete("src:sfm", ID)
    with pytest.raises(DatasetExistsError, match="in the trash"):
        big.copy_to(world.folder / "small", "src", ID)


@pytest.mark.parametrize("parents", [False, True])
def test_the_way_back(world: World, big: Butler, parents: bool) -> None:
    big.copy_to(world.folder / "small", "src_with_calib", parents=parents)
    small = world.butler("small")
    small.define(
        {"datasets": {"stars": {"python": "dict", "storage": "Json", "template": "stars/{visit:d}-{ccd}.json"}}}
    )
    made_from = small.query("src_with_calib", ID)
    new = small.put({"stars": 3}, "stars", ID, precursors=list(small.query("src:sfm", ID)))
    assert made_from.count() == 1
    before = set(world.files("big"))
    copied = small.copy_to(world.folder / "big", ["stars", "src_with_calib"])
    assert (copied.datasets, copied.parts) == (1, 0)
    assert copied.present == 4
    assert set(world.files("big")) - before == {"stars/1-N3.json"}
    assert big.get("stars", ID) == {"stars": 3}
    back = big.query("stars").first()
    assert back is not None
    assert back.uuid == new.uuid
    assert [p.uuid for p in back.precursors] == [big.query("src:sfm", ID).first().uuid]  # type: ignore[union-attr]
    assert big.get("calexp:sfm", ID) == frame(0)


def test_what_an_ancestor_holds_is_there(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib")
    world.butler("child", inputs="big")
    copied = world.reader("small").copy_to(world.folder / "child", "src_with_calib")
    assert (copied.datasets, copied.present) == (0, 4)


def test_two_subsets_make_one(world: World, big: Butler) -> None:
    for ccd in ("N3", "N4"):
        big.copy_to(world.folder / ccd, "src_with_calib", ccd=ccd)
    world.reader("N4").copy_to(world.folder / "N3", "src_with_calib")
    assert everything(world.folder / "N3").keys() >= everything(world.folder / "N4").keys()
    assert world.reader("N3").query("src_with_calib").count() == 2


# Parents


def test_with_parents_only_what_is_asked_is_copied(world: World, big: Butler) -> None:
    jointcal(big)
    copied = big.copy_to(world.folder / "near", ["calexp:jointcal", "src_with_calib"], ID, parents=True)
    assert copied.datasets == 4
    assert world.files("near") == ["jointcal/0/calib-1-N3.json", "jointcal/0/wcs-1-N3.json", "src/g/1/N3.json"]
    near = world.reader("near")
    assert near.repositories() == [str(world.folder / "near"), str(world.folder / "big")]
    assert near.get("calexp:jointcal", TRACT_ID) == big.get("calexp:jointcal", TRACT_ID)
    assert near.get("src_with_calib", visit=1, ccd="N4").calib == {"zero": 26}
    assert near.dataset_types() == big.dataset_types()
    assert not (world.folder / "near" / "policy.yaml").exists()
    again = big.copy_to(world.folder / "near", "calexp:sfm.photoCalib", ID, parents=True)
    assert (again.datasets, again.parts) == (1, 1)
    assert near.get("calexp:sfm", ID) == frame(0)


def test_with_other_parents(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "alone", "src")
    with pytest.raises(RepositoryError, match=r"other parents \(none\)"):
        big.copy_to(world.folder / "alone", "src", parents=True)


# Files


def test_modes(world: World, big: Butler) -> None:
    jointcal(big)
    for mode in ("copy", "hardlink", "symlink", "reference"):
        copied = big.copy_to(world.folder / mode, ["calexp:jointcal", "src_with_calib"], ID, mode=mode)
        there = world.reader(mode)
        assert there.get("calexp:jointcal", TRACT_ID) == big.get("calexp:jointcal", TRACT_ID)
        assert there.get("src_with_calib", ID) == big.get("src_with_calib", ID)
        paths = [Path(there.uri(name, ID)) for name in ("calexp:sfm", "src:sfm")]
        origins = [Path(big.uri(name, ID)) for name in ("calexp:sfm", "src:sfm")]
        assert all(path.samefile(origin) for path, origin in zip(paths, origins, strict=True)) == (mode != "copy")
        assert [path.is_symlink() for path in paths] == [mode == "symlink"] * 2
        assert (paths == origins) == (mode == "reference")
        assert (copied.bytes == 0) == (mode != "copy")
        assert copied.files == (0 if mode == "reference" else 4)
    assert not any("big" in folder for folder in os.listdir(world.folder / "reference"))


def test_parts_are_written_in_any_mode(world: World, big: Butler) -> None:
    for mode in ("hardlink", "symlink", "reference"):
        copied = big.copy_to(world.folder / mode, "src_with_calib", mode=mode)
        assert copied.bytes == 24
        assert world.reader(mode).get("src_with_calib", ID).calib == {"zero": 25}


def test_the_copy_outlives_the_original(world: World, big: Butler) -> None:
    for mode in ("copy", "hardlink"):
        big.copy_to(world.folder / mode, "src_with_calib", mode=mode)
    shutil.rmtree(world.folder / "big")
    for mode in ("copy", "hardlink"):
        assert world.reader(mode).get("src_with_calib", ID) == Pair({"flux": [0]}, {"zero": 25})


EACH = """
datasets:
  raw: {python: dict, storage: Json, template: "raw/{visit:d}.json"}
  band: {python: dict, storage: Json, template: "band/{visit:d}.json", each: {filter: [u, g]}}
"""


@pytest.mark.parametrize("scan", ["none", "full"])
@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink", "reference"])
def test_files_that_were_ingested_in_place(world: World, mode: str, scan: str) -> None:
    butler = world.butler("big", EACH)
    butler.ingest("raw", write_json(world.folder / "disk/raw/1.json", {"n": 1}), scan=scan)
    butler.ingest("band", write_json(world.folder / "disk/band/1.json", {"n": 2}), scan=scan)
    copied = butler.copy_to(world.folder / "small", ["raw", "band"], mode=mode)
    # Two datasets share a file: it is brought once.
    assert (copied.datasets, copied.files) == (3, 0 if mode == "reference" else 2)
    small = world.reader("small")
    assert small.get("raw", visit=1) == {"n": 1}
    assert small.get("band", visit=1, filter="g") == small.get("band", visit=1, filter="u") == {"n": 2}
    assert world.files("small") == ([] if mode == "reference" else ["band/1.json", "raw/1.json"])
    record = small.query("raw").first()._find().record  # type: ignore[union-attr]
    assert record.file is not None
    assert (record.file.checksum is not None) == (scan == "full" or mode == "copy")
    again = butler.copy_to(world.folder / "small", ["raw", "band"], mode=mode)
    assert (again.datasets, again.present) == (0, 3)


def test_files_in_place_may_share_a_name(world: World) -> None:
    butler = world.butler("big", EACH)
    for visit in (1, 2):
        butler.ingest("raw", write_json(world.folder / f"disk{visit}/x.json", {"n": visit}), data_id={"visit": visit})
    butler.copy_to(world.folder / "small", "raw")
    assert world.files("small") == ["raw/x.json", "raw/x~2.json"]
    assert [ref.get() for ref in world.reader("small").query("raw")] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
@pytest.mark.parametrize("name", ["src", "calexp:sfm.photoCalib"])
def test_a_damaged_file_is_not_copied(world: World, big: Butler, damage: str, name: str) -> None:
    path = Path(big.uri("src:sfm" if name == "src" else "calexp:sfm", visit=1, ccd="N4"))
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data.replace(b"1", b"2"))
    with pytest.raises(IntegrityError) as caught:
        big.copy_to(world.folder / "new/small", ["src_with_calib", name])
    assert "'ccd': 'N4'" in str(caught.value)
    assert ("src:sfm" if name == "src" else "calexp:sfm") in str(caught.value)
    assert not (world.folder / "new").exists()


@pytest.mark.parametrize("mode", ["hardlink", "symlink", "reference"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_is_not_linked(world: World, big: Butler, damage: str, mode: str) -> None:
    path = Path(big.uri("src:sfm", ID))
    data = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"src:sfm \{'visit': 1, 'ccd': 'N3'\}"):
        big.copy_to(world.folder / "small", "src", mode=mode)
    assert not (world.folder / "small").exists()


def test_a_failure_leaves_an_existing_repository_as_it_was(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src", ID)
    before = everything(world.folder / "small")
    path = Path(big.uri("calexp:sfm", visit=1, ccd="N4"))
    path.write_bytes(path.read_bytes().replace(b"26", b"27"))
    with pytest.raises(IntegrityError, match="N4"):
        big.copy_to(world.folder / "small", ["src", "calexp:sfm"])
    assert everything(world.folder / "small") == before


def test_contradicting_facts_undo_all(world: World, big: Butler) -> None:
    policy = """\
keys: {visit: int, filter: str}
implied: {filter: [visit]}
datasets: {other: {python: dict, template: '{filter}/{visit:d}.json'}}
"""
    small = world.butler("small", policy)
    small.put({}, "other", visit=1, filter="r")
    before = everything(world.folder / "small")
    with pytest.raises(DataIdError, match="filter='g' contradicts the registry"):
        big.copy_to(world.folder / "small", "src")
    assert everything(world.folder / "small") == before
    assert (world.folder / "small/policy.yaml").read_text() == policy


def test_progress_is_told(world: World, big: Butler) -> None:
    told: list[tuple[int, int]] = []
    big.copy_to(world.folder / "small", "src_with_calib", progress=lambda *now: told.append(now))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


class Odd:
    """A component that no format holds."""


class Holder(Frame):
    """A frame whose PSF cannot be stored by itself."""

    @property
    def psf(self) -> Any:
        return Odd()

    @psf.setter
    def psf(self, value: Any) -> None:
        assert value is None or isinstance(value, dict | Odd)

    def to_dict(self) -> dict[str, Any]:
        return {"image": self.image}


def test_a_part_that_no_format_holds(world: World) -> None:
    policy = {"datasets": {"calexp": {"python": Holder, "storage": "Json", "template": "{visit:d}.json"}}}
    butler = world.butler("big", policy)
    butler.put(Holder([1]), "calexp", visit=1)
    with pytest.raises(FormatError, match=r"calexp.psf \{'visit': 1\} cannot be stored by itself.*add 'calexp'"):
        butler.copy_to(world.folder / "small", "calexp.psf")
    assert not (world.folder / "small").exists()


# Definitions


def test_the_definitions_that_are_needed_go_along(world: World, big: Butler) -> None:
    jointcal(big)
    big.copy_to(world.folder / "small", "calexp")
    small = world.reader("small")
    types = ["calexp:jointcal", "calexp:jointcal.photoCalib", "calexp:jointcal.wcs", "calexp:sfm"]
    assert small.dataset_types() == types
    assert small.key_types() == {"visit": "int", "ccd": "str", "tract": "int", "filter": "str"}
    for name in small.dataset_types():
        assert small.keys(name) == big.keys(name)
    with pytest.raises(DatasetTypeNotFoundError):
        small.get("src", ID)


def test_definitions_of_a_chain(world: World, big: Butler) -> None:
    as_yaml = {"python": "dict", "storage": "Yaml", "template": "yaml/{filter}/{visit:d}-{ccd}.yaml"}
    child = world.butler("child", {"datasets": {"src:sfm": as_yaml}}, inputs="big")
    child.put({"flux": [5]}, "src:sfm", visit=1, ccd="N5", filter="g")
    child.copy_to(world.folder / "small", "src")
    small = world.butler("small")
    assert world.files("small") == ["src/g/1/N3.json", "src/g/1/N4.json", "yaml/g/1-N5.yaml"]
    assert [ref.get() for ref in small.query("src")] == [{"flux": [0]}, {"flux": [1]}, {"flux": [5]}]
    small.put({"flux": [6]}, "src:sfm", visit=1, ccd="N6")
    assert "yaml/g/1-N6.yaml" in world.files("small")


@pytest.mark.parametrize(
    "definition",
    [
        'src:sfm: {python: dict, storage: Json, template: "{visit:d}.json"}',
        "src:sfm: {python: dict, composite: {n: note}}",
        'src:sfm: {python: dict, storage: Json, template: "{visit}-{ccd}.json"}',
    ],
)
def test_a_repository_that_defines_it_differently(world: World, big: Butler, definition: str) -> None:
    note = "note: {python: dict, storage: Json, template: '{tract:d}.json'}"
    world.butler("small", f"datasets:\n  {definition}\n  {note}\n")
    before = everything(world.folder / "small")
    with pytest.raises(DefinitionError, match=r"defines .* otherwise"):
        big.copy_to(world.folder / "small", "src")
    assert everything(world.folder / "small") == before


def test_another_storage_there_is_no_matter(world: World, big: Butler) -> None:
    policy = """
keys: {visit: int, ccd: str, filter: str}
implied: {filter: [visit]}
datasets: {"src:sfm": {python: dict, storage: Yaml, template: "{visit}-{ccd}.yaml"}}
"""
    small = world.butler("small", policy)
    big.copy_to(world.folder / "small", "src")
    assert [ref.get() for ref in small.query("src:sfm")] == [{"flux": [0]}, {"flux": [1]}]
    assert (world.folder / "small/policy.yaml").read_text().count("Yaml") == 1


def test_unrelated_parents_that_agree(world: World, big: Butler) -> None:
    other = world.butler("other", POLICY)
    other.put({"flux": [8]}, "src:sfm", visit=2, ccd="N3", filter="r")
    world.reader("big", "other").copy_to(world.folder / "small", "src")
    assert world.reader("small").query("src").count() == 3


# What is asked wrongly


def test_what_is_asked_wrongly(world: World, big: Butler) -> None:
    small = world.folder / "small"
    with pytest.raises(ParameterError, match=r"mode='hardlnk'; did you mean 'hardlink'\?"):
        big.copy_to(small, "src", mode="hardlnk")
    with pytest.raises(ParameterError, match="names nothing"):
        big.copy_to(small, [])
    with pytest.raises(DatasetTypeNotFoundError, match="did you mean 'src_with_calib'"):
        big.copy_to(small, ["src", "src_with_callib"])
    with pytest.raises(ComponentNotFoundError, match="did you mean 'psf'"):
        big.copy_to(small, "calexp:sfm.psff")
    with pytest.raises(DataIdError, match="did you mean 'visit'"):
        big.copy_to(small, "src", vist=1)
    with pytest.raises(DataIdError, match=r"none of src:sfm has a key 'tract'.*visit, ccd"):
        big.copy_to(small, "src", tract=1)
    with pytest.raises(ParameterError, match="no such key"):
        big.copy_to(small, "src", where="patch = 1")
    with pytest.raises(DataIdError, match="two spellings"):
        big.copy_to(small, "src", {"visit": 1}, dataId={"visit": 1})
    assert not small.exists()


def test_nothing_that_agrees(world: World, big: Butler) -> None:
    small = world.folder / "small"
    with pytest.raises(DatasetNotFoundError, match=r"no src:sfm that agrees with \{'visit': 2\}; searched: .*big"):
        big.copy_to(small, "src", visit=2)
    with pytest.raises(DatasetNotFoundError, match=r"and where=\"ccd = 'N9'\""):
        big.copy_to(small, "src", visit=1, where="ccd = 'N9'")
    with pytest.raises(DatasetNotFoundError, match="no note; searched"):
        big.copy_to(small, ["src", "note"])
    with pytest.raises(DatasetNotFoundError, match=r"for want of .*calexp:jointcal.wcs"):
        big.copy_to(small, "calexp:jointcal", TRACT_ID)
    assert not small.exists()


def test_a_composite_of_which_a_component_is_gone(world: World, big: Butler) -> None:
    """What a query finds but cannot be read is an error, not left out."""
    jointcal(big)
    registry = big._context.chain.order[0].registry
    wcs = big.query("calexp:jointcal.wcs").first()
    big.delete("calexp:jointcal.wcs", TRACT_ID, force=True)
    assert wcs is not None
    registry.purge([record for record in registry.everything() if record.uuid == wcs.uuid], force=True)
    big.put({"crval": 9}, "calexp:jointcal.wcs", {**TRACT_ID, "ccd": "N4"})
    with pytest.raises(DatasetNotFoundError):
        big.copy_to(world.folder / "small", "calexp:jointcal", TRACT_ID)


def test_each_name_takes_the_keys_that_it_has(world: World, big: Butler) -> None:
    big.put({"n": 1}, "note", visit=1)
    copied = big.copy_to(world.folder / "small", ["note", "src"], visit=1, ccd="N3")
    assert copied.datasets == 2


def test_stages_are_spelled_as_in_get(world: World, big: Butler) -> None:
    copied = big.copy_to(world.folder / "small", "calexp", {"stage": "sfm", "ccd": "N3"})
    assert copied.datasets == 1
    assert world.reader("small").exists("calexp:sfm", ID)


def test_where_it_cannot_go(world: World, big: Butler) -> None:
    (world.folder / "full").mkdir()
    (world.folder / "full/thesis.tex").write_text("mine")
    (world.folder / "file").write_text("mine")
    with pytest.raises(RepositoryError, match="neither empty nor a repository"):
        big.copy_to(world.folder / "full", "src")
    assert os.listdir(world.folder / "full") == ["thesis.tex"]
    with pytest.raises(RepositoryError, match="file"):
        big.copy_to(world.folder / "file", "src")
    with pytest.raises(RepositoryError, match="is the repository that is copied from"):
        big.copy_to(world.folder / "big", "src")
    for inside in ("big/small", "big/src/../small"):
        with pytest.raises(RepositoryError, match="lies inside of"):
            big.copy_to(world.folder / inside, "src")
    child = world.butler("child", inputs="big")
    with pytest.raises(RepositoryError, match="lies inside of"):
        child.copy_to(world.folder / "big/small", "src")
    with pytest.raises(RepositoryError, match="s3"):
        big.copy_to("s3://bucket/small", "src")
    (world.folder / "empty").mkdir()
    big.copy_to(str(world.folder / "empty"), "src")
    assert world.reader("empty").query("src").count() == 2


def test_an_empty_folder_stays_when_nothing_is_copied(world: World, big: Butler) -> None:
    (world.folder / "empty").mkdir()
    Path(big.uri("src:sfm", ID)).write_text("{}")
    with pytest.raises(IntegrityError):
        big.copy_to(world.folder / "empty", "src")
    assert os.listdir(world.folder / "empty") == []


def test_not_inside_a_transaction(world: World, big: Butler) -> None:
    with big.transaction(), pytest.raises(RepositoryError, match="transaction"):
        big.copy_to(world.folder / "small", "src")


def test_two_at_once(world: World, big: Butler) -> None:
    """Both end well, and what both brought is there once."""
    fill(big, tuple(f"S{n}" for n in range(10)))
    big.copy_to(world.folder / "small", "src", ccd="N3")
    with ThreadPoolExecutor(2) as pool:
        copies = [pool.submit(big.copy_to, world.folder / "small", "src_with_calib") for _ in range(2)]
        done = [copy.result() for copy in copies]
    small = world.reader("small")
    assert small.query("src_with_calib").count() == 12
    assert sum(copied.datasets for copied in done) == 23
    assert len(world.files("small")) == 24


# Queries look at part datasets, too


def test_a_query_looks_at_every_component(world: World, big: Butler) -> None:
    """Two stored components of one composite are two things to look for."""
    big.put({"crval": 1}, "calexp:jointcal.wcs", TRACT_ID)
    assert big.query("calexp:jointcal").count() == 0
    big.put({"zero": 1}, "calexp:jointcal.photoCalib", TRACT_ID)
    assert big.query("calexp:jointcal").count() == 1


def test_queries_in_a_transaction(world: World, big: Butler) -> None:
    big.copy_to(world.folder / "small", "src_with_calib")
    small = world.butler("small")
    with small.transaction():
        small.delete("src:sfm", ID)
        assert [ref.data_id["ccd"] for ref in small.query("src_with_calib")] == ["N4"]
        assert small.query("calexp:sfm.photoCalib").count() == 2
        assert small.query("calexp:sfm").count() == 0


# The command


def test_the_command(world: World, big: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)

    def run(*words: str) -> str:
        result = CliRunner().invoke(bunter, ["copy", *words, "--repo", "big"])
        assert result.exit_code == 0, result.output
        return result.output

    assert run("small", "src", "--id", "ccd=N3") == "small: 1 dataset, 13 bytes written\n"
    assert run("small", "src", "--where", "ccd < 'N9'").startswith("small: 1 dataset, 13 bytes written; 1 were there")
    assert '"present": 2' in run("small", "src", "--mode", "hardlink", "--json")
    result = CliRunner().invoke(bunter, ["copy", "small", "scr", "--repo", "big"])
    assert result.exit_code == 2
    assert "did you mean 'src'" in result.output
    assert "0 datasets" not in run("near", "src", "--parents")
