"""delete: to the trash, unless others are made of it (design 4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bunter import AssemblyError, Butler, DataIdError, DatasetNotFoundError, InUseError, RepositoryError
from tests.core_support import FRAMES, ID, TRACT_ID, Pair, World, frame, making_world, pair_policy

POLICY = pair_policy("Pair") + '  coadd: {python: dict, storage: Json, template: "coadd/{tract:d}.json"}\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    made = world.butler("a", POLICY)
    made.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    return made


def test_delete_by_name_and_by_reference(butler: Butler) -> None:
    ref = butler.put({}, "coadd", tract=1)
    butler.put({}, "coadd", tract=2)
    butler.delete(ref)
    butler.delete("coadd", tract=2)
    assert butler.query("coadd").count() == 0
    with pytest.raises(DatasetNotFoundError):
        butler.get("coadd", tract=1)


def test_the_trash_keeps_the_file(world: World, butler: Butler) -> None:
    ref = butler.put({"n": 1}, "coadd", tract=1)
    butler.delete(ref)
    assert "coadd/1.json" in world.files("a")
    assert ref.get() == {"n": 1}


def test_what_was_deleted_can_be_put_again(world: World, butler: Butler) -> None:
    first = butler.put({"n": 1}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    second = butler.put({"n": 1}, "coadd", tract=1)
    assert second.uuid != first.uuid
    assert butler.get("coadd", tract=1) == {"n": 1}


def test_a_component_of_a_put_composite_is_in_use(butler: Butler) -> None:
    with pytest.raises(InUseError) as caught:
        butler.delete("wcs", ID)
    for word in ("wcs {'visit': 1, 'ccd': 'N3'}", "pair {'visit': 1, 'ccd': 'N3'}", "force=True"):
        assert word in str(caught.value)
    assert butler.exists("wcs", ID)
    with pytest.raises(InUseError):
        butler.delete("pair.wcs", ID)


def test_force_deletes_what_is_in_use_and_the_composite_still_reads(butler: Butler) -> None:
    butler.delete("wcs", ID, force=True)
    assert not butler.exists("wcs", ID)
    assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert butler.query("pair").count() == 1
    assert "(in the trash)" in str(butler.plan("pair", ID))


def test_a_composite_is_deleted_without_its_components(butler: Butler) -> None:
    butler.delete("pair", ID)
    assert butler.get("wcs", ID) == {"n": 1}
    # It was put; now it is one that was never put, and still resolves.
    assert butler.query("pair").first().uuid is None  # type: ignore[union-attr]
    butler.delete("wcs", ID)
    assert not butler.exists("pair", ID)


def test_a_composite_that_was_never_put_cannot_be_deleted(world: World) -> None:
    butler = world.butler("b", pair_policy("Pair"))
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"z": 1}, "calib", ID)
    with pytest.raises(DatasetNotFoundError, match="never put as such"):
        butler.delete("pair", ID)


def test_a_nested_composite_is_in_use(world: World) -> None:
    policy = pair_policy("Pair") + "  outer: {composite: {both: pair}}\n"
    butler = world.butler("b", policy)
    butler.put({"both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    with pytest.raises(InUseError, match="outer"):
        butler.delete("pair", ID)
    with pytest.raises(InUseError, match="pair"):
        butler.delete("wcs", ID)
    butler.delete("outer", ID)
    butler.delete("pair", ID)


def test_a_precursor_is_in_use(butler: Butler) -> None:
    image = butler.put({"n": 1}, "coadd", tract=1)
    butler.put({"n": 2}, "coadd", tract=2, precursors=[image])
    with pytest.raises(InUseError, match=r"coadd \{'tract': 2\}"):
        butler.delete(image)
    butler.delete("coadd", tract=2)
    butler.delete(image)


def test_a_whole_of_which_a_part_is_pinned_is_in_use(world: World) -> None:
    butler = world.butler("b", FRAMES)
    butler.put(frame(), "calexp:sfm", ID)
    butler.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    with pytest.raises(InUseError, match="calexp:jointcal"):
        butler.delete("calexp:sfm", ID)


def test_what_is_pinned_in_the_child_may_be_deleted_from_the_parent_and_is_read_from_the_trash(
    world: World, butler: Butler
) -> None:
    child = world.butler("b", inputs="a")
    child.put(Pair({"n": 1}, {"z": 2}), "pair", ID)
    butler.delete("pair", ID)
    butler.delete("wcs", ID)
    assert child.get("pair", ID) == Pair({"n": 1}, {"z": 2})


def test_only_datasets_of_the_output_are_deleted(world: World, butler: Butler) -> None:
    child = world.butler("b", inputs="a")
    with pytest.raises(DatasetNotFoundError, match=rf"{world.folder / 'b'} holds no wcs"):
        child.delete("wcs", ID)
    child.put({"n": 2}, "wcs", ID)
    child.delete("wcs", ID)
    assert child.get("wcs", ID) == {"n": 1}


def test_a_reference_deletes_only_the_dataset_that_it_is_of(butler: Butler) -> None:
    old = butler.put({"n": 1}, "coadd", tract=1)
    butler.put({"n": 2}, "coadd", tract=1, replace=True)
    with pytest.raises(DatasetNotFoundError, match=str(old.uuid)):
        butler.delete(old)
    assert butler.get("coadd", tract=1) == {"n": 2}


def test_a_part_cannot_be_deleted_by_itself(world: World) -> None:
    butler = world.butler("b", FRAMES)
    butler.put(frame(), "calexp:sfm", ID)
    with pytest.raises(AssemblyError, match="part"):
        butler.delete("calexp:sfm.psf", ID)


def test_keys_are_strict_and_complete(butler: Butler) -> None:
    with pytest.raises(DataIdError, match="tract"):
        butler.delete("wcs", {**ID, "tract": 1})
    with pytest.raises(DataIdError, match="'ccd'"):
        butler.delete("wcs", visit=1)
    with pytest.raises(DatasetNotFoundError):
        butler.delete("coadd", tract=99)


def test_a_read_only_butler_does_not_delete(world: World, butler: Butler) -> None:
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").delete("wcs", ID)


def test_a_reference_of_a_query_can_be_deleted(butler: Butler) -> None:
    for tract in range(3):
        butler.put({}, "coadd", tract=tract)
    for ref in butler.query("coadd", where="tract < 2"):
        butler.delete(ref)
    assert butler.query("coadd").data_ids == [{"tract": 2}]
