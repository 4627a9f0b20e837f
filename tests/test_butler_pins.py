"""Pins: get of a put composite returns what was put, for good (design 6)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bunter import Butler, DataId, DatasetNotFoundError
from tests.core_support import FRAMES, HERE, ID, TRACT_ID, WCS_AND_CALIB, Pair, World, frame, making_world, pair_policy


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def leaves(butler: Butler, name: str, data_id: dict[str, Any], **options: Any) -> dict[str, dict[str, Any]]:
    return {leaf["component"]: leaf for leaf in butler.plan(name, data_id, **options).leaves()}


def purge(butler: Butler, *uuids: UUID | None) -> None:
    """Forget trashed datasets, as an emptying of the trash will."""
    registry = butler._output.registry  # type: ignore[union-attr]
    for file in registry.purge([r for r in registry.everything() if r.uuid in uuids], force=True).files:
        butler._output.files.remove(file.path)  # type: ignore[union-attr]


# One repository


def test_a_component_replaced_by_its_own_name_repins_in_the_same_repository(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    ref = butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    new = butler.put({"n": 2}, "wcs", ID, replace=True)
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    leaf = leaves(butler, "pair", ID)["wcs"]
    assert (leaf["uuid"], leaf["pinned"], leaf.get("masks")) == (str(new.uuid), True, None)
    # The reference that the put returned keeps to its own UUIDs for good.
    assert ref.get() == Pair({"n": 1}, {"z": 1})
    assert ref.get("wcs") == {"n": 1}


def test_a_dotted_put_repins_too(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.put({"n": 2}, "pair.wcs", ID, replace=True)
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})


def test_a_whole_replaced_by_its_own_name_repins_the_parts_of_it(world: World) -> None:
    butler = world.butler("a", FRAMES)
    butler.put(frame(), "calexp:sfm", ID)
    butler.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    butler.put(frame(psf={"sigma": 9.0}), "calexp:sfm", ID, replace=True)
    assert butler.get("calexp:jointcal.psf", TRACT_ID) == {"sigma": 9.0}
    assert butler.get("calexp:jointcal", TRACT_ID) == frame(psf={"sigma": 9.0}, wcs={"n": 1}, photo_calib={"n": 1})


def test_newly_put_by_its_own_name_in_the_pinning_repository_repins(world: World) -> None:
    world.butler("a", FRAMES).put(frame(), "calexp:sfm", ID)
    child = world.butler("b", inputs="a")
    child.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    assert child.get("calexp:jointcal.psf", TRACT_ID) == {"sigma": 2.0}
    child.put(frame(psf={"sigma": 7.0}), "calexp:sfm", ID)
    assert child.get("calexp:jointcal.psf", TRACT_ID) == {"sigma": 7.0}
    assert leaves(child, "calexp:jointcal", TRACT_ID)["psf"]["pinned"]


def test_an_optional_component_put_later_repins_the_absence(world: World) -> None:
    policy = WCS_AND_CALIB + "  both: {composite: {wcs: wcs, calib: {datasetType: calib, optional: true}}}\n"
    butler = world.butler("a", policy)
    butler.put({"wcs": {"n": 1}}, "both", ID)
    assert butler.get("both", ID) == {"wcs": {"n": 1}, "calib": None}
    butler.put({"z": 1}, "calib", ID)
    assert butler.get("both", ID) == {"wcs": {"n": 1}, "calib": {"z": 1}}


def test_absence_is_pinned(world: World) -> None:
    # The parent has a calib; the composite was put without one.
    policy = WCS_AND_CALIB + "  both: {composite: {wcs: wcs, calib: {datasetType: calib, optional: true}}}\n"
    parent = world.butler("a", policy)
    parent.put({"z": 1}, "calib", ID)
    child = world.butler("b", inputs="a")
    child.put({"wcs": {"n": 1}, "calib": None}, "both", ID)
    assert child.get("both", ID) == {"wcs": {"n": 1}, "calib": None}
    assert child.get("both.calib", ID) is None
    assert leaves(child, "both", ID)["calib"]["state"] == "absent"
    assert child.get("both", ID, resolve="nearest") == {"wcs": {"n": 1}, "calib": {"z": 1}}
    assert child.get("calib", ID) == {"z": 1}


def test_an_optional_nested_composite_that_was_absent_stays_absent(world: World) -> None:
    policy = pair_policy("Pair") + (
        "  outer: {composite: {pair: {datasetType: pair, optional: true}, note: note}}\n"
        '  note: {python: dict, storage: Json, template: "note/{visit:d}-{ccd}.json"}\n'
    )
    parent = world.butler("a", policy)
    parent.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    child = world.butler("b", inputs="a")
    child.put({"note": {}, "pair": None}, "outer", ID)
    assert child.get("outer", ID) == {"note": {}, "pair": None}
    assert child.get("outer", ID, resolve="nearest")["pair"] == Pair({"n": 1}, {"z": 1})
    assert child.get("pair", ID) == Pair({"n": 1}, {"z": 1})


def test_an_optional_list_that_was_empty_stays_empty(world: World) -> None:
    policy = """
    datasets:
      item: {python: dict, storage: Json, template: "item/{tract:d}-{patch}.json"}
      head: {python: dict, storage: Json, template: "head/{tract:d}.json"}
      total: {composite: {head: head, items: {datasetType: item, subset: true, optional: true}}}
    """
    butler = world.butler("a", policy)
    butler.put({"head": {}, "items": {}}, "total", tract=0)
    butler.put({"n": 1}, "item", tract=0, patch="a")
    assert butler.get("total", tract=0) == {"head": {}, "items": None}
    assert butler.get("total", tract=0, resolve="nearest")["items"] == [{"n": 1}]


# Two repositories


@pytest.fixture
def chain(world: World) -> tuple[Butler, Butler]:
    """A composite that was put in a parent, and a child of it."""
    parent = world.butler("a", pair_policy("Pair"))
    parent.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    return parent, world.butler("b", inputs="a")


def test_a_component_put_into_a_nearer_repository_masks_the_pin_and_plan_says_so(
    chain: tuple[Butler, Butler],
) -> None:
    parent, child = chain
    pinned = leaves(child, "pair", ID)["wcs"]["uuid"]
    child.put({"n": 2}, "wcs", ID)
    assert child.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert parent.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    leaf = leaves(child, "pair", ID)["wcs"]
    assert (leaf["repository_name"], leaf["pinned"], leaf["masks"]) == ("b", False, pinned)
    assert "masks what was pinned" in str(child.plan("pair", ID))


def test_exact_takes_the_pins_unmasked_and_nearest_ignores_them(world: World, chain: tuple[Butler, Butler]) -> None:
    _, child = chain
    child.put({"n": 2}, "wcs", ID)
    assert child.get("pair", ID, resolve="exact") == Pair({"n": 1}, {"z": 1})
    assert child.get("pair", ID, resolve="nearest") == Pair({"n": 2}, {"z": 1})
    assert child.get("pair.wcs", ID, resolve="exact") == {"n": 1}
    assert leaves(child, "pair", ID, resolve="exact")["wcs"]["repository_name"] == "a"
    # Nothing is pinned of what was never put as such.
    assert child.get("wcs", ID, resolve="exact") == {"n": 2}


def test_a_pin_settles_everything_beyond_its_own_repository(world: World) -> None:
    grandparent = world.butler("a", pair_policy("Pair"))
    grandparent.put({"n": 1}, "wcs", ID)
    grandparent.put({"z": 1}, "calib", ID)
    parent = world.butler("b", inputs="a")
    parent.put(parent.get("pair", ID), "pair", ID)
    old = leaves(parent, "pair", ID)["wcs"]["uuid"]
    # A replacement in the farther repository changes nothing for the pinned composite.
    grandparent.put({"n": 2}, "wcs", ID, replace=True)
    assert parent.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert parent.get("wcs", ID) == {"n": 2}
    leaf = leaves(parent, "pair", ID)["wcs"]
    assert (leaf["uuid"], leaf["trashed"], leaf["pinned"]) == (old, True, True)
    assert "(in the trash)" in str(parent.plan("pair", ID))
    assert parent.get("pair", ID, resolve="nearest") == Pair({"n": 2}, {"z": 1})


def test_a_composite_that_was_never_put_is_resolved_afresh_each_time(world: World) -> None:
    parent = world.butler("a", pair_policy("Pair"))
    parent.put({"n": 1}, "wcs", ID)
    parent.put({"z": 1}, "calib", ID)
    child = world.butler("b", inputs="a")
    assert child.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    parent.put({"n": 2}, "wcs", ID, replace=True)
    assert child.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    child.put({"n": 3}, "wcs", ID)
    assert child.get("pair", ID) == Pair({"n": 3}, {"z": 1})
    assert "never put as such" in str(child.plan("pair", ID))


def test_the_put_of_a_child_pins_in_the_child_and_leaves_the_parents_pins(chain: tuple[Butler, Butler]) -> None:
    parent, child = chain
    child.put(Pair({"n": 2}, {"z": 1}), "pair", ID)
    parent.put({"z": 9}, "calib", ID, replace=True)
    assert parent.get("pair", ID) == Pair({"n": 1}, {"z": 9})
    assert child.get("pair", ID) == Pair({"n": 2}, {"z": 1})


def test_refs_of_several_puts_keep_to_their_own_uuids(chain: tuple[Butler, Butler]) -> None:
    _, child = chain
    first = child.put(Pair({"n": 2}, {"z": 1}), "pair", ID)
    second = child.put(Pair({"n": 2}, {"z": 3}), "pair", ID, replace=True)
    child.put({"n": 4}, "wcs", ID, replace=True)
    assert first.get() == Pair({"n": 2}, {"z": 1})
    assert second.get() == Pair({"n": 2}, {"z": 3})
    assert child.get("pair", ID) == Pair({"n": 4}, {"z": 3})
    assert first.get(resolve="pinned") == Pair({"n": 4}, {"z": 3})


def test_a_reference_of_a_query_follows_what_is_there_now(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    ref = butler.query("pair").first()
    assert ref is not None
    butler.put({"n": 2}, "wcs", ID, replace=True)
    assert ref.get() == Pair({"n": 2}, {"z": 1})


# What a put references


def test_the_present_pin_is_referenced_before_the_nearest(world: World) -> None:
    grandparent = world.butler("a", pair_policy("Pair"))
    grandparent.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    parent = world.butler("b", inputs="a")
    old = parent.put(parent.get("pair", ID), "pair", ID)
    grandparent.put({"n": 2}, "wcs", ID, replace=True)
    # What was got and is put back, the wcs as it was pinned: a no-op.
    assert parent.put(parent.get("pair", ID), "pair", ID).uuid == old.uuid
    # Only the calib is new; the old wcs is still the pinned one, though it is in the trash.
    parent.put(Pair({"n": 1}, {"z": 2}), "pair", ID, replace=True)
    assert world.files("b") == ["calib/1-N3.json"]
    assert parent.get("pair", ID) == Pair({"n": 1}, {"z": 2})


def test_with_replace_the_nearest_comes_first(world: World) -> None:
    policy = pair_policy("Pair", components="{wcs: {datasetType: wcs, inputOnly: true}, calib: calib}")
    grandparent = world.butler("a", policy)
    grandparent.put({"n": 1}, "wcs", ID)
    parent = world.butler("b", inputs="a")
    parent.put(Pair(None, {"z": 1}), "pair", ID)
    grandparent.put({"n": 2}, "wcs", ID, replace=True)
    assert parent.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    parent.put(Pair(None, {"z": 1}), "pair", ID, replace=True)
    assert parent.get("pair", ID) == Pair({"n": 2}, {"z": 1})


# Trash


def test_trashed_datasets_stay_readable_by_uuid_until_they_are_purged(world: World) -> None:
    grandparent = world.butler("a", pair_policy("Pair"))
    grandparent.put({"n": 1}, "wcs", ID)
    grandparent.put({"z": 1}, "calib", ID)
    parent = world.butler("b", inputs="a")
    ref = parent.put(parent.get("pair", ID), "pair", ID)
    wcs = grandparent.query("wcs").first()
    assert wcs is not None
    gone = wcs.uuid
    grandparent.put({"n": 2}, "wcs", ID, replace=True)
    assert parent.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    purge(grandparent, gone)
    assert not parent.exists("pair", ID)
    with pytest.raises(DatasetNotFoundError) as caught:
        parent.get("pair", ID)
    for word in (str(gone), "wcs", str(world.folder / "a"), "wcs/1-N3.json"):
        assert word in str(caught.value)
    with pytest.raises(DatasetNotFoundError, match=str(gone)):
        ref.get()
    assert "GONE" in str(parent.plan("pair", ID))
    assert parent.get("pair", ID, resolve="nearest") == Pair({"n": 2}, {"z": 1})


def test_an_optional_component_whose_pin_is_gone_is_an_error_not_an_absence(world: World) -> None:
    policy = pair_policy("Pair") + (
        '  note: {python: dict, storage: Json, template: "note/{visit:d}-{ccd}.json"}\n'
        "  outer: {composite: {note: {datasetType: note, optional: true}, "
        "pair: {datasetType: pair, optional: true}}}\n"
    )
    butler = world.butler("a", policy)
    butler.put({"note": {"n": 1}, "pair": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    refs = [butler.query(name).first() for name in ("note", "wcs")]
    uuids = [ref.uuid for ref in refs if ref is not None]
    for name in ("note", "wcs"):
        butler.delete(name, ID, force=True)
    assert butler.get("outer", ID) == {"note": {"n": 1}, "pair": Pair({"n": 1}, {"z": 1})}
    for uuid in uuids:
        purge(butler, uuid)
        with pytest.raises(DatasetNotFoundError, match=str(uuid)):
            butler.get("outer", ID)


# Nested composites and lists


NESTED = (
    pair_policy("Pair")
    + """
  image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  outer: {composite: {image: image, both: pair}}
  reader: {composite: {image: image, both: {datasetType: pair, inputOnly: true}}}
  wcs_of: {composite: {image: image, w: {datasetType: pair.wcs, inputOnly: true}}}
"""
)


def test_a_nested_composite_is_walked_through_its_own_pins(world: World) -> None:
    butler = world.butler("a", NESTED)
    ref = butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    assert butler.get("outer", ID)["both"] == butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert butler.get("outer.both.wcs", ID) == {"n": 2}
    assert ref.get()["both"] == Pair({"n": 1}, {"z": 1})


def test_a_nested_composite_replaced_by_its_own_name_repins_the_outer_one(world: World) -> None:
    butler = world.butler("a", NESTED)
    butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.put(Pair({"n": 1}, {"z": 5}), "pair", ID, replace=True)
    assert butler.get("outer", ID)["both"] == Pair({"n": 1}, {"z": 5})


def test_a_nested_composite_in_a_nearer_repository_masks_the_pinned_one(world: World) -> None:
    world.butler("a", NESTED).put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    child = world.butler("b", inputs="a")
    child.put(Pair({"n": 2}, {"z": 1}), "pair", ID)
    assert child.get("outer", ID)["both"] == Pair({"n": 2}, {"z": 1})
    assert child.get("outer", ID, resolve="exact")["both"] == Pair({"n": 1}, {"z": 1})
    child.put({"z": 7}, "calib", ID)
    assert child.get("outer.both.calib", ID) == {"z": 7}


def test_a_nested_composite_that_was_never_put_is_pinned_leaf_by_leaf(world: World) -> None:
    parent = world.butler("a", NESTED)
    parent.put({"n": 1}, "wcs", ID)
    parent.put({"z": 1}, "calib", ID)
    child = world.butler("b", inputs="a")
    child.put({"image": [1], "both": None}, "reader", ID)
    parent.put({"n": 2}, "wcs", ID, replace=True)
    assert child.get("reader", ID)["both"] == Pair({"n": 1}, {"z": 1})
    assert child.get("reader.both", ID) == Pair({"n": 1}, {"z": 1})
    assert child.get("reader.both.wcs", ID) == {"n": 1}
    # Put as such later, farther away: what was pinned stays.
    parent.put(Pair({"n": 2}, {"z": 2}), "pair", ID, replace=True)
    assert child.get("reader", ID)["both"] == Pair({"n": 1}, {"z": 1})


def test_a_component_of_a_composite_as_a_component_is_pinned_by_its_leaf(world: World) -> None:
    parent = world.butler("a", NESTED)
    parent.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    child = world.butler("b", inputs="a")
    child.put({"image": [1], "w": None}, "wcs_of", ID)
    parent.put({"n": 2}, "wcs", ID, replace=True)
    assert child.get("wcs_of", ID) == {"image": [1], "w": {"n": 1}}
    assert child.get("wcs_of.w", ID) == {"n": 1}
    assert child.get("pair.wcs", ID) == {"n": 2}


def test_lists_are_pinned_by_membership(world: World) -> None:
    policy = f"""
    datasets:
      item: {{python: dict, storage: Json, template: "item/{{tract:d}}-{{patch}}.json"}}
      total:
        composite: {{items: {{datasetType: item, subset: true, inputOnly: true}}, head: head}}
        keys: [tract]
      head: {{python: dict, storage: Json, template: "head/{{tract:d}}.json"}}
      summed: {{base: total, assembler: {HERE}.add_all}}
    """
    parent = world.butler("a", policy)
    for number, patch in enumerate("ab"):
        parent.put({"n": number}, "item", tract=0, patch=patch)
    child = world.butler("b", inputs="a")
    child.put({"head": {}, "items": None}, "total", tract=0)
    parent.put({"n": 5}, "item", tract=0, patch="c")
    parent.put({"n": 6}, "item", tract=0, patch="a", replace=True)
    assert child.get("total", tract=0)["items"] == [{"n": 0}, {"n": 1}]
    assert child.get("total.items", tract=0).data_ids == [DataId(tract=0, patch=p) for p in "ab"]
    assert child.get("total", tract=0, resolve="nearest")["items"] == [{"n": 6}, {"n": 1}, {"n": 5}]
    child.put({"n": 7}, "item", tract=0, patch="b")
    assert child.get("total", tract=0)["items"] == [{"n": 0}, {"n": 7}]
    child.put({"n": 8}, "item", tract=0, patch="d")
    assert child.get("total", tract=0)["items"] == [{"n": 0}, {"n": 7}]


def test_composites_in_a_list_are_pinned_too(world: World) -> None:
    policy = pair_policy("Pair") + "  night: {composite: {all: {datasetType: pair, subset: true}}, keys: [visit]}\n"
    parent = world.butler("a", policy)
    for ccd in ("N3", "N4"):
        parent.put(Pair({"n": ccd}, {"z": ccd}), "pair", visit=1, ccd=ccd)
    child = world.butler("b", inputs="a")
    child.put(child.get("night", visit=1), "night", visit=1)
    parent.put(Pair({"n": "new"}, {"z": "N3"}), "pair", visit=1, ccd="N3", replace=True)
    assert [pair.wcs["n"] for pair in child.get("night", visit=1)["all"]] == ["N3", "N4"]
    assert [pair.wcs["n"] for pair in parent.get("night", visit=1)["all"]] == ["new", "N4"]
