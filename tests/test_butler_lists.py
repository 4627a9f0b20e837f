"""List components whose members somebody names, lazy lists, and what is computed (policy.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table

from bunter import AssemblyError, Butler, DataIdError, DatasetNotFoundError, DeferredDataset, DefinitionError
from tests.core_support import ID, Pair, World, making_world, pair_policy, text_of

POLICY = """
keys: {visit: int, ccd: str, tract: int, run: int}
datasets:
  image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  coadd_data: {python: list, storage: Json, template: "coadd/{tract:d}.json"}
  inputs: {python: astropy.table.Table, storage: Parquet, template: "inputs/{tract:d}.parquet"}
  coadd:
    composite:
      data: coadd_data
      inputs: inputs
      images: {datasetType: image, dataIds: inputs, inputOnly: true}
  coadd_spared:
    composite:
      data: coadd_data
      inputs: inputs
      images: {datasetType: image, dataIds: inputs, inputOnly: true, optional: true}
  renaming: {python: astropy.table.Table, storage: Parquet, template: "renaming/{tract:d}.parquet"}
  coadd_renamed:
    composite:
      inputs: renaming
      images: {datasetType: image, dataIds: inputs, inputOnly: true, dataId: {visit: "{run}"}}
  coadd_made:
    composite:
      data: coadd_data
      images: {datasetType: image, dataIds: precursors, inputOnly: true}
  night: {composite: {images: {datasetType: image, subset: true, lazy: true}}, keys: [visit]}
  night_eager: {composite: {images: {datasetType: image, subset: true}}, keys: [visit]}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    made = world.butler("a", POLICY)
    for visit in (1, 2, 3):
        for ccd in ("N3", "N4"):
            made.put([visit], "image", visit=visit, ccd=ccd)
    made.put([0], "coadd_data", tract=0)
    table = Table({"visit": [3, 1, 3, 1], "ccd": ["N3", "N4", "N3", "N3"], "weight": [1.0, 2.0, 1.0, 3.0]})
    made.put(table, "inputs", tract=0)
    return made


WANTED = [{"visit": 1, "ccd": "N3"}, {"visit": 1, "ccd": "N4"}, {"visit": 3, "ccd": "N3"}]


def test_a_table_names_the_members_sorted_and_without_duplicates(butler: Butler) -> None:
    assert butler.keys("coadd") == ("tract",)
    images = butler.get("coadd", tract=0)["images"]
    assert list(images) == [[1], [1], [3]]
    assert images.data_ids == WANTED
    assert butler.get("coadd.images", tract=0) == images
    assert butler.exists("coadd", tract=0)
    assert [m["data_id"] for m in butler.plan("coadd", tract=0).to_dict()["components"]["images"]["members"]] == WANTED
    assert butler.query("coadd").data_ids == [{"tract": 0}]


def test_missing_members_are_all_named(butler: Butler) -> None:
    for ccd in ("N3", "N4"):
        butler.delete("image", visit=1, ccd=ccd)
    assert not butler.exists("coadd", tract=0)
    with pytest.raises(DatasetNotFoundError) as caught:
        butler.get("coadd", tract=0)
    for data_id in WANTED[:2]:
        assert f"image {data_id}" in str(caught.value)
    assert "'visit': 3" not in str(caught.value)
    assert str(butler.plan("coadd", tract=0)).count("MISSING") == 2


def test_with_optional_there_is_none_in_place_of_a_missing_member(butler: Butler) -> None:
    butler.delete("image", visit=1, ccd="N4")
    images = butler.get("coadd_spared", tract=0)["images"]
    assert list(images) == [[1], None, [3]]
    assert images.data_ids == WANTED
    assert butler.exists("coadd_spared", tract=0)


def test_members_come_from_the_nearest_repository_and_are_pinned(world: World, butler: Butler) -> None:
    child = world.butler("b", inputs="a")
    child.put([33], "image", visit=3, ccd="N3")
    assert list(child.get("coadd", tract=0)["images"]) == [[1], [1], [33]]
    child.put(child.get("coadd", tract=0), "coadd", tract=0)
    butler.put([11], "image", visit=1, ccd="N3", replace=True)
    assert list(child.get("coadd", tract=0)["images"]) == [[1], [1], [33]]
    assert list(butler.get("coadd", tract=0)["images"]) == [[11], [1], [3]]


def test_columns_are_renamed_by_data_id(butler: Butler) -> None:
    butler.put(Table({"run": [2, 1], "ccd": ["N3", "N3"]}), "renaming", tract=0)
    images = butler.get("coadd_renamed", tract=0)["images"]
    assert images.data_ids == [{"visit": 1, "ccd": "N3"}, {"visit": 2, "ccd": "N3"}]


def test_a_table_that_lacks_a_key_says_so(butler: Butler) -> None:
    butler.put(Table({"visit": [1]}), "inputs", tract=1)
    butler.put([0], "coadd_data", tract=1)
    with pytest.raises(DataIdError, match=r"image needs visit, ccd.*'inputs'.*does not give ccd"):
        butler.get("coadd", tract=1)


def test_precursors_of_this_composite_name_the_members(butler: Butler) -> None:
    refs = [butler.query("image", data_id).first() for data_id in (WANTED[2], WANTED[0])]
    ref = butler.put({"data": [5], "images": None}, "coadd_made", tract=5, precursors=refs)
    assert butler.get("coadd_made", tract=5)["images"].data_ids == [WANTED[0], WANTED[2]]
    assert {precursor.data_id["visit"] for precursor in ref.precursors} == {1, 3}


def test_a_source_that_is_no_component_is_a_definition_error(world: World) -> None:
    with pytest.raises(DefinitionError, match=r"'input'.*did you mean 'inputs'"):
        world.butler("b", POLICY.replace("dataIds: inputs, inputOnly: true}", "dataIds: input, inputOnly: true}", 1))


# Lazy lists


def test_a_lazy_list_holds_deferred_datasets(butler: Butler) -> None:
    images = butler.get("night", visit=1)["images"]
    assert all(isinstance(image, DeferredDataset) for image in images)
    assert images.data_ids == WANTED[:2]
    assert [image.get() for image in images] == [[1], [1]]
    assert images[0].ref.name == "image"


def test_unopened_members_are_referenced_at_put(world: World, butler: Butler) -> None:
    child = world.butler("b", inputs="a")
    night = child.get("night", visit=1)
    child.put(night, "night", visit=1)
    assert world.files("b") == []
    butler.put([99], "image", visit=1, ccd="N3", replace=True)
    assert [image.get() for image in child.get("night", visit=1)["images"]] == [[1], [1]]
    night["images"][1] = [7]
    child.put(night, "night", visit=1, replace=True)
    assert world.files("b") == ["image/1-N4.json"]


# Computed components


DERIVED = (
    pair_policy("Pair")
    + f"""
  with_sum:
    composite: {{wcs: wcs, calib: calib}}
    derived:
      total: {{from: [wcs, calib], with: {__name__}.total_of}}
      double: {{from: [total], with: {__name__}.double_of}}
"""
)


def total_of(dataId: dict[str, Any], inputs: dict[str, Any]) -> int:
    assert dataId == ID
    return int(inputs["wcs"]["n"] + inputs["calib"]["z"])


def double_of(dataId: dict[str, Any], inputs: dict[str, Any]) -> int:
    return 2 * int(inputs["total"])


def test_a_derived_component_is_computed_and_never_stored(world: World) -> None:
    butler = world.butler("b", DERIVED)
    butler.put({"wcs": {"n": 1}, "calib": {"z": 2}}, "with_sum", ID)
    assert butler.get("with_sum.total", ID) == 3
    assert butler.get("with_sum.double", ID) == 6
    assert butler.keys("with_sum.total") == ("visit", "ccd")
    assert butler.exists("with_sum.total", ID)
    assert not butler.exists("with_sum.total", visit=2, ccd="x")
    assert len(world.files("b")) == 2
    assert f"derived ({__name__}.total_of)" in str(butler.plan("with_sum.total", ID))
    with pytest.raises(AssemblyError, match="computed"):
        butler.put(3, "with_sum.total", ID)


def test_the_own_exception_of_what_computes_passes_with_a_note(world: World) -> None:
    butler = world.butler("b", DERIVED)
    butler.put({"wcs": {"m": 1}, "calib": {"z": 2}}, "with_sum", ID)
    with pytest.raises(KeyError) as caught:
        butler.get("with_sum.total", ID)
    assert "with_sum.total" in text_of(caught.value)


def test_a_derived_component_is_recomputed_when_its_inputs_change(world: World) -> None:
    butler = world.butler("b", DERIVED)
    butler.put({"wcs": {"n": 1}, "calib": {"z": 2}}, "with_sum", ID)
    butler.put({"n": 10}, "wcs", ID, replace=True)
    assert butler.get("with_sum.total", ID) == 12
    assert butler.get("pair", ID) == Pair({"n": 10}, {"z": 2})
