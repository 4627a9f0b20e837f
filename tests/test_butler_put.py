"""put of stored datasets and composites: what is written, what is referenced, what is refused (design 6)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunter import (
    AssemblyError,
    Butler,
    ComponentNotFoundError,
    ConflictError,
    DataIdError,
    DatasetExistsError,
    DatasetNotFoundError,
    DatasetRef,
    FormatError,
    ParameterError,
    RepositoryError,
)
from bunter.dataid import DataId
from tests.core_support import (
    FRAMES,
    HERE,
    ID,
    TRACT_ID,
    WCS_AND_CALIB,
    Frame,
    Pair,
    VisitFacts,
    World,
    frame,
    making_world,
    pair_policy,
    text_of,
)

CONF = 'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def pairs(world: World) -> Butler:
    return world.butler("a", pair_policy("Pair"))


# A stored dataset


def test_put_returns_a_reference(world: World) -> None:
    butler = world.butler("a", CONF, producer="jointcal 1.2")
    ref = butler.put({"n": 1}, "conf", visit=3)
    assert isinstance(ref, DatasetRef)
    assert (ref.name, ref.data_id, ref.repository) == ("conf", {"visit": 3}, str(world.folder / "a"))
    assert ref.uri == str(world.folder / "a/conf/3.json")
    assert ref.uuid is not None
    assert ref.get() == {"n": 1}
    assert ref == butler.query("conf").first()


def test_the_same_again_is_a_no_op(world: World) -> None:
    butler = world.butler("a", CONF)
    first = butler.put({"n": 1, "x": float("nan")}, "conf", visit=3)
    before = Path(str(first.uri)).stat().st_mtime_ns
    again = butler.put({"n": 1, "x": float("nan")}, "conf", visit=3)
    assert again.uuid == first.uuid
    assert Path(str(first.uri)).stat().st_mtime_ns == before
    assert world.files("a") == ["conf/3.json"]
    with_replace = butler.put({"n": 1, "x": float("nan")}, "conf", visit=3, replace=True)
    assert with_replace.uuid == first.uuid


def test_equal_values_in_other_bytes_are_the_same_content(world: World) -> None:
    butler = world.butler("a", CONF)
    first = butler.put({"a": 1, "b": 2}, "conf", visit=3)
    assert butler.put({"b": 2, "a": 1}, "conf", visit=3).uuid == first.uuid


def test_other_content_is_not_overwritten(world: World) -> None:
    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=3)
    with pytest.raises(DatasetExistsError) as caught:
        butler.put({"n": 2}, "conf", visit=3)
    for word in ("conf {'visit': 3}", str(world.folder / "a"), "replace=True", "nothing was written"):
        assert word in str(caught.value)
    assert butler.get("conf", visit=3) == {"n": 1}
    assert world.files("a") == ["conf/3.json"]


def test_replace_makes_a_new_file_and_keeps_the_old_in_the_trash(world: World) -> None:
    butler = world.butler("a", CONF)
    old = butler.put({"n": 1}, "conf", visit=3)
    new = butler.put({"n": 2}, "conf", visit=3, replace=True)
    assert butler.get("conf", visit=3) == {"n": 2}
    assert new.uuid != old.uuid
    assert new.uri == str(world.folder / "a/conf/3~2.json")
    assert world.files("a") == ["conf/3.json", "conf/3~2.json"]
    assert old.get() == {"n": 1}
    assert butler.query("conf").count() == 1


def test_replace_of_what_is_not_there_is_a_put(world: World) -> None:
    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=3, replace=True)
    assert butler.get("conf", visit=3) == {"n": 1}


def test_a_parents_dataset_is_masked_not_overwritten(world: World) -> None:
    parent = world.butler("a", CONF)
    parent.put({"n": 1}, "conf", visit=3)
    child = world.butler("b", inputs="a")
    child.put({"n": 2}, "conf", visit=3)
    assert child.get("conf", visit=3) == {"n": 2}
    assert parent.get("conf", visit=3) == {"n": 1}


def test_a_stored_dataset_put_by_its_own_name_is_written_even_if_a_parent_holds_the_same(world: World) -> None:
    first = world.butler("a", CONF).put({"n": 1}, "conf", visit=3)
    second = world.butler("b", inputs="a").put({"n": 1}, "conf", visit=3)
    assert second.uuid != first.uuid
    assert world.files("b") == ["conf/3.json"]


def test_a_taken_path_gets_the_next_mark(world: World) -> None:
    policy = """
    datasets:
      one: {python: dict, storage: Json, template: "x/{visit:d}.json"}
      two: {python: list, storage: Json, template: "x/{visit:d}.json"}
    """
    butler = world.butler("a", policy)
    butler.put({}, "one", visit=1)
    butler.put([], "two", visit=1)
    assert world.files("a") == ["x/1.json", "x/1~2.json"]
    assert butler.get("two", visit=1) == []


def test_paths_that_differ_only_in_case_are_kept_apart(world: World) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "{field}.json"}}')
    butler.put({"n": 1}, "conf", field="abell")
    butler.put({"n": 2}, "conf", field="ABELL")
    assert world.files("a") == ["ABELL~2.json", "abell.json"]
    assert butler.get("conf", field="abell") == {"n": 1}
    assert butler.get("conf", field="ABELL") == {"n": 2}


@pytest.mark.parametrize("value", ["../../escape", "/etc/passwd", "..", ".", "a/b", "a~2", "x" * 200, "C:\\x", "%2e"])
def test_hostile_values_stay_inside_the_root_and_apart(world: World, value: str) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "d/{field}/x.json"}}')
    butler.put({"n": 1}, "conf", field=value)
    assert butler.get("conf", field=value) == {"n": 1}
    (file,) = world.files("a")
    assert (world.folder / "a" / file).resolve().is_relative_to(world.folder / "a/d")
    assert butler.query("conf").data_ids == [{"field": value}]


def test_a_file_that_nobody_recorded_is_not_overwritten(world: World) -> None:
    butler = world.butler("a", CONF)
    stray = world.folder / "a/conf/3.json"
    stray.parent.mkdir()
    stray.write_text("mine")
    butler.put({"n": 1}, "conf", visit=3)
    assert stray.read_text() == "mine"
    assert butler.get("conf", visit=3) == {"n": 1}


def test_what_the_format_cannot_hold_leaves_nothing_behind(world: World) -> None:
    butler = world.butler("a", CONF)
    with pytest.raises(FormatError, match="conf"):
        butler.put({"n": object()}, "conf", visit=3)
    assert world.files("a") == []
    assert not butler.exists("conf", visit=3)


def test_keys_of_a_put_are_strict(world: World) -> None:
    policy = CONF[:-1] + ', other: {python: dict, storage: Json, template: "other/{tract:d}.json"}}'
    butler = world.butler("a", policy)
    with pytest.raises(DataIdError, match=r"'tract'.*visit"):
        butler.put({}, "conf", visit=1, tract=0)
    with pytest.raises(DataIdError, match=r"'vist'.*did you mean 'visit'"):
        butler.put({}, "conf", vist=1)
    with pytest.raises(DataIdError, match=r"'visit'"):
        butler.put({}, "conf")


def test_for_a_dotted_name_the_composites_keys_count_as_known(world: World) -> None:
    butler = world.butler("a", FRAMES)
    butler.put({"crval": 1}, "calexp:jointcal.wcs", TRACT_ID)
    with pytest.raises(DataIdError, match="'tract'"):
        butler.put(frame(), "calexp:sfm", TRACT_ID)


def test_a_read_only_butler_says_how_to_write(world: World) -> None:
    world.butler("a", CONF)
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").put({}, "conf", visit=1)


def test_dataclasses_and_arrays_are_put(world: World) -> None:
    policy = f"""
    datasets:
      facts: {{python: {HERE}.VisitFacts, storage: Json, template: "facts/{{visit:d}}.json"}}
      notes: {{python: {HERE}.VisitFacts, storage: Yaml, template: "notes/{{visit:d}}.yaml"}}
      cube: {{python: numpy.ndarray, storage: Npy, template: "cube/{{visit:d}}.npy"}}
    """
    butler = world.butler("a", policy)
    facts = VisitFacts(3, 1.2, ["a"])
    for name in ("facts", "notes"):
        butler.put(facts, name, visit=3)
        assert butler.get(name, visit=3) == facts
        assert butler.get(f"{name}.airmass", visit=3) == 1.2
    cube = np.arange(6.0).reshape(2, 3)
    butler.put(cube, "cube", visit=3)
    np.testing.assert_array_equal(butler.get("cube", visit=3), cube)


# A part, a name that is read-only


def test_a_part_of_a_stored_dataset_cannot_be_put_by_itself(world: World) -> None:
    butler = world.butler("a", FRAMES)
    butler.put(frame(), "calexp:sfm", ID)
    with pytest.raises(AssemblyError, match=r"calexp:sfm.psf.*base: calexp:sfm"):
        butler.put({"sigma": 3.0}, "calexp:sfm.psf", ID)
    assert butler.get("calexp:sfm.psf", ID) == {"sigma": 2.0}


def test_a_dotted_put_writes_the_components_dataset(world: World) -> None:
    butler = world.butler("a", FRAMES)
    ref = butler.put({"crval": 4}, "calexp:jointcal.wcs", TRACT_ID)
    assert ref.uri == str(world.folder / "a/jointcal/0/wcs-1-N3.json")
    assert butler.get("calexp.wcs:jointcal", TRACT_ID) == {"crval": 4}
    assert world.files("a") == ["jointcal/0/wcs-1-N3.json"]


def test_a_dotted_put_of_an_input_only_name_is_an_assembly_error(world: World) -> None:
    butler = world.butler("a", FRAMES)
    butler.put(frame(), "calexp:sfm", ID)
    with pytest.raises(AssemblyError, match=r"calexp:jointcal.psf.*inputOnly|inputOnly.*calexp:jointcal"):
        butler.put({"sigma": 1}, "calexp:jointcal.psf", TRACT_ID)


def test_an_unknown_component_at_put_names_the_nearest(world: World) -> None:
    with pytest.raises(ComponentNotFoundError, match=r"'wsc'.*did you mean 'wcs'"):
        world.butler("a", FRAMES).put({}, "calexp:jointcal.wsc", TRACT_ID)


def test_a_composite_with_an_assembler_alone_is_read_only(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair", f", assembler: {HERE}.assemble_pair"))
    butler.put({"crval": 1}, "pair.wcs", ID)
    butler.put({"zero": 1}, "pair.calib", ID)
    assert butler.get("pair", ID) == Pair({"crval": 1}, {"zero": 1})
    with pytest.raises(AssemblyError, match=r"pair.*read-only.*disassembler"):
        butler.put(Pair({}, {}), "pair", ID)


def test_a_composite_that_says_read_only_is(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair", ", readOnly: true"))
    butler.put({"crval": 1}, "wcs", ID)
    with pytest.raises(AssemblyError, match="readOnly"):
        butler.put(Pair({}, {}), "pair", ID)
    with pytest.raises(AssemblyError):
        butler.put({}, "pair.calib", ID)


# A composite


def test_type_three_is_put_and_got(world: World, pairs: Butler) -> None:
    ref = pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    assert world.files("a") == ["calib/1-N3.json", "wcs/1-N3.json"]
    assert pairs.get("pair", ID) == Pair({"crval": 1}, {"zero": 2})
    assert pairs.get("wcs", ID) == pairs.get("pair.wcs", ID) == {"crval": 1}
    assert ref.uuid is not None
    assert ref.uri is None
    assert ref.repository == str(world.folder / "a")
    assert ref.get("calib") == {"zero": 2}


def test_a_mapping_can_stand_for_a_composite(pairs: Butler) -> None:
    pairs.put({"wcs": {"crval": 1}, "calib": {"zero": 2}}, "pair", ID)
    assert pairs.get("pair", ID) == Pair({"crval": 1}, {"zero": 2})


def test_the_same_composite_again_is_a_no_op(world: World, pairs: Butler) -> None:
    first = pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    assert pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID).uuid == first.uuid
    assert pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID, replace=True).uuid == first.uuid
    assert len(world.files("a")) == 2


def test_putting_back_what_was_got_is_a_no_op(pairs: Butler) -> None:
    first = pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    assert pairs.put(pairs.get("pair", ID), "pair", ID).uuid == first.uuid


def test_a_composite_that_exists_with_other_components_is_refused_whole(world: World, pairs: Butler) -> None:
    pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    with pytest.raises(DatasetExistsError, match="replace=True"):
        pairs.put(Pair({"crval": 1}, {"zero": 3}), "pair", ID)
    assert pairs.get("pair", ID) == Pair({"crval": 1}, {"zero": 2})
    assert len(world.files("a")) == 2


def test_replace_of_a_composite_writes_what_changed_only(world: World, pairs: Butler) -> None:
    old = pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    new = pairs.put(Pair({"crval": 1}, {"zero": 3}), "pair", ID, replace=True)
    assert pairs.get("pair", ID) == Pair({"crval": 1}, {"zero": 3})
    assert world.files("a") == ["calib/1-N3.json", "calib/1-N3~2.json", "wcs/1-N3.json"]
    assert old.get() == Pair({"crval": 1}, {"zero": 2})
    assert new.get() == Pair({"crval": 1}, {"zero": 3})


def test_put_is_all_or_nothing(world: World, pairs: Butler) -> None:
    with pytest.raises(FormatError):
        pairs.put(Pair({"crval": 1}, {"zero": object()}), "pair", ID)
    assert world.files("a") == []
    assert not pairs.exists("wcs", ID)
    assert not pairs.exists("pair", ID)


def test_no_temporary_file_stays(world: World, pairs: Butler) -> None:
    pairs.put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    assert os.listdir(world.folder / "a/wcs") == ["1-N3.json"]


def test_components_that_are_unchanged_are_referenced(world: World) -> None:
    world.butler("a", pair_policy("Pair")).put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    child = world.butler("b", inputs="a")
    child.put(Pair({"crval": 1}, {"zero": 3}), "pair", ID)
    assert world.files("b") == ["calib/1-N3.json"]
    leaves = {leaf["component"]: leaf for leaf in child.plan("pair", ID).leaves()}
    assert leaves["wcs"]["repository_name"] == "a"
    assert leaves["calib"]["repository_name"] == "b"


def test_a_composite_put_into_a_child_unchanged_writes_no_file(world: World) -> None:
    first = world.butler("a", pair_policy("Pair")).put(Pair({"crval": 1}, {"zero": 2}), "pair", ID)
    child = world.butler("b", inputs="a")
    second = child.put(child.get("pair", ID), "pair", ID)
    assert second.uuid != first.uuid
    assert second.repository == str(world.folder / "b")
    assert world.files("b") == []


def test_self_contained_copies_what_is_referenced_with_its_uuid(world: World) -> None:
    a = world.butler("a", FRAMES)
    sfm = a.put(frame(), "calexp:sfm", ID)
    child = world.butler("b", inputs="a")
    child.put(frame(wcs={"crval": 5}, photo_calib={"zero": 5}), "calexp:jointcal", TRACT_ID, self_contained=True)
    assert world.files("b") == [
        "jointcal/0/calib-1-N3.json",
        "jointcal/0/wcs-1-N3.json",
        "sfm/1/calexp-N3.json",
    ]
    leaves = {leaf["component"]: leaf for leaf in child.plan("calexp:jointcal", TRACT_ID).leaves()}
    assert {leaf["repository_name"] for leaf in leaves.values()} == {"b"}
    assert leaves["psf"]["uuid"] == str(sfm.uuid)
    for file in (world.folder / "a").rglob("*.json"):
        file.unlink()
    assert child.get("calexp:jointcal", TRACT_ID) == frame(wcs={"crval": 5}, photo_calib={"zero": 5})


def test_self_contained_a_second_time_copies_nothing_more(world: World) -> None:
    world.butler("a", FRAMES).put(frame(), "calexp:sfm", ID)
    child = world.butler("b", inputs="a")
    for tract in (0, 1):
        obj = frame(wcs={"crval": tract}, photo_calib={"zero": tract})
        child.put(obj, "calexp:jointcal", {**ID, "tract": tract}, self_contained=True)
    assert [name for name in world.files("b") if name.startswith("sfm")] == ["sfm/1/calexp-N3.json"]


# inputOnly


@pytest.fixture
def joint(world: World) -> Butler:
    world.butler("sfm", FRAMES).put(frame(), "calexp:sfm", ID)
    return world.butler("joint", inputs="sfm")


def test_input_only_components_are_not_written(world: World, joint: Butler) -> None:
    joint.put(frame(wcs={"crval": 5}, photo_calib={"zero": 5}), "calexp:jointcal", TRACT_ID)
    assert world.files("joint") == ["jointcal/0/calib-1-N3.json", "jointcal/0/wcs-1-N3.json"]


def test_an_input_only_component_that_differs_would_be_lost(world: World, joint: Butler) -> None:
    changed = frame(wcs={"crval": 5}, photo_calib={"zero": 5})
    changed.image = [9, 9, 9]
    with pytest.raises(AssemblyError) as caught:
        joint.put(changed, "calexp:jointcal", TRACT_ID)
    for word in ("'image'", "calexp:sfm.image", str(world.folder / "sfm"), "would be lost", "discard=['image']"):
        assert word in str(caught.value)
    assert world.files("joint") == []
    assert not joint.exists("calexp:jointcal", TRACT_ID)


@pytest.mark.parametrize("options", [{"discard": ["image"]}, {"discard": "image"}, {"check": False}])
def test_discard_and_check_keep_what_is_stored(joint: Butler, options: dict[str, Any]) -> None:
    changed = frame(wcs={"crval": 5}, photo_calib={"zero": 5})
    changed.image = [9, 9, 9]
    joint.put(changed, "calexp:jointcal", TRACT_ID, **options)
    assert joint.get("calexp:jointcal", TRACT_ID) == frame(wcs={"crval": 5}, photo_calib={"zero": 5})


def test_discard_of_another_component_does_not_help(joint: Butler) -> None:
    changed = frame(wcs={"crval": 5}, photo_calib={"zero": 5})
    changed.image = [9, 9, 9]
    with pytest.raises(AssemblyError, match="image"):
        joint.put(changed, "calexp:jointcal", TRACT_ID, discard=["psf"])
    with pytest.raises(AssemblyError, match=r"'imag'.*did you mean 'image'"):
        joint.put(changed, "calexp:jointcal", TRACT_ID, discard=["imag"])


def test_discard_takes_either_spelling(world: World) -> None:
    policy = FRAMES + "  late: {base: calexp:sfm, composite: {wcs: calexp:jointcal.wcs}, keys: [visit, ccd, tract]}\n"
    butler = world.butler("a", policy)
    butler.put(frame(), "calexp:sfm", ID)
    butler.put(frame(wcs={"n": 1}, photo_calib={"zero": 77}), "late", TRACT_ID, discard=["photoCalib"])
    assert butler.get("late", TRACT_ID) == frame(wcs={"n": 1})


def test_none_for_an_input_only_component_references_what_get_finds(joint: Butler) -> None:
    partial = frame(wcs={"crval": 5}, photo_calib={"zero": 5}, psf=None)
    partial.image = None
    joint.put(partial, "calexp:jointcal", TRACT_ID)
    assert joint.get("calexp:jointcal", TRACT_ID) == frame(wcs={"crval": 5}, photo_calib={"zero": 5})


def test_an_input_only_component_that_is_nowhere_is_not_found(world: World) -> None:
    butler = world.butler("a", FRAMES)
    with pytest.raises(DatasetNotFoundError, match=r"calexp:sfm"):
        butler.put(frame(), "calexp:jointcal", TRACT_ID)
    with pytest.raises(DatasetNotFoundError, match=r"calexp:sfm"):
        butler.put({"wcs": {}, "photoCalib": {}}, "calexp:jointcal", TRACT_ID)
    assert world.files("a") == []


def test_a_component_that_is_lacking_is_an_assembly_error(world: World, pairs: Butler) -> None:
    for obj in (Pair({"crval": 1}, None), {"wcs": {"crval": 1}}):
        with pytest.raises(AssemblyError, match=r"pair.*'calib'.*not optional"):
            pairs.put(obj, "pair", ID)
    assert world.files("a") == []


def test_a_component_that_the_composite_has_no_place_for_is_an_assembly_error(world: World, pairs: Butler) -> None:
    with pytest.raises(AssemblyError, match=r"'calibb'.*did you mean 'calib'"):
        pairs.put({"wcs": {}, "calib": {}, "calibb": {"n": 1}}, "pair", ID)
    assert world.files("a") == []


def test_a_component_of_the_object_that_the_composite_does_not_know_is_an_assembly_error(world: World) -> None:
    # A Frame has a psf; this composite would lose it without a word.
    policy = WCS_AND_CALIB + f"  half: {{python: {HERE}.Frame, composite: {{wcs: wcs, photo_calib: calib}}}}\n"
    butler = world.butler("a", policy)
    with pytest.raises(AssemblyError, match=r"half.*'(image|psf)'"):
        butler.put(frame(), "half", ID)
    assert world.files("a") == []
    butler.put(Frame(None, {"n": 1}, {"zero": 1}), "half", ID)
    assert butler.get("half.wcs", ID) == {"n": 1}


def test_a_disassemblers_unknown_names_are_an_assembly_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.core_support as support

    def odd(obj: Any, dataId: Any, componentDict: Any) -> None:
        componentDict["wsc"] = obj.wcs

    monkeypatch.setattr(support, "take_pair_apart", odd)
    functions = f", assembler: {HERE}.assemble_pair, disassembler: {HERE}.take_pair_apart"
    butler = world.butler("a", pair_policy("Pair", functions))
    with pytest.raises(AssemblyError, match=r"'wsc'.*did you mean 'wcs'"):
        butler.put(Pair({}, {}), "pair", ID)


def test_a_disassemblers_own_exception_passes_with_a_note(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.core_support as support

    def broken(obj: Any, dataId: Any, componentDict: Any) -> None:
        raise ZeroDivisionError("my own")

    monkeypatch.setattr(support, "take_pair_apart", broken)
    functions = f", assembler: {HERE}.assemble_pair, disassembler: {HERE}.take_pair_apart"
    butler = world.butler("a", pair_policy("Pair", functions))
    with pytest.raises(ZeroDivisionError) as caught:
        butler.put(Pair({}, {}), "pair", ID)
    assert "taking apart 'pair'" in text_of(caught.value)


# Optional components


OPTIONAL = (
    WCS_AND_CALIB
    + """
  note: {python: dict, storage: Json, template: "note/{visit:d}.json"}
  trio:
    composite: {wcs: wcs, calib: calib, note: {datasetType: note, optional: true}}
"""
)


def test_an_optional_component_may_be_absent(world: World) -> None:
    butler = world.butler("a", OPTIONAL)
    butler.put({"wcs": {}, "calib": {}, "note": None}, "trio", ID)
    assert butler.get("trio", ID) == {"wcs": {}, "calib": {}, "note": None}
    butler.put({"wcs": {}, "calib": {}}, "trio", visit=2, ccd="N3")
    assert butler.get("trio", visit=2, ccd="N3")["note"] is None
    assert butler.exists("trio", ID)
    assert "ABSENT" in str(butler.plan("trio", ID))


def test_an_optional_component_that_is_not_there_is_none(world: World) -> None:
    butler = world.butler("a", OPTIONAL)
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 2}, "calib", ID)
    assert butler.get("trio", ID) == {"wcs": {"n": 1}, "calib": {"n": 2}, "note": None}
    butler.put({"n": 3}, "note", visit=1)
    assert butler.get("trio", ID)["note"] == {"n": 3}


def test_an_optional_component_asked_for_by_itself_has_to_be_there(world: World) -> None:
    butler = world.butler("a", OPTIONAL)
    assert not butler.exists("trio.note", ID)
    with pytest.raises(DatasetNotFoundError, match="note"):
        butler.get("trio.note", ID)


def test_a_part_of_the_base_that_is_absent_in_the_file_is_none(world: World) -> None:
    butler = world.butler("a", FRAMES)
    butler.put(frame(psf=None), "calexp:sfm", ID)
    butler.put(frame(psf=None, wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    assert butler.get("calexp:jointcal", TRACT_ID).psf is None
    assert butler.get("calexp:jointcal.psf", TRACT_ID) is None
    changed = frame(wcs={"n": 1}, photo_calib={"n": 1})
    with pytest.raises(AssemblyError, match=r"'psf'.*lost"):
        butler.put(changed, "calexp:jointcal", {**ID, "tract": 1})


def test_the_base_itself_has_to_be_there_even_if_all_its_parts_are_optional(world: World) -> None:
    policy = f"""
    datasets:
      facts: {{python: {HERE}.VisitFacts, storage: Json, template: "facts/{{visit:d}}.json"}}
      words: {{python: list, storage: Json, template: "words/{{visit:d}}.json"}}
      facts:late: {{base: facts, composite: {{words: words}}}}
    """
    butler = world.butler("a", policy)
    butler.put(["x"], "words", visit=1)
    assert not butler.exists("facts:late", visit=1)
    with pytest.raises(DatasetNotFoundError, match="airmass"):
        butler.get("facts:late", visit=1)
    butler.put(VisitFacts(1, 1.5, ["old"]), "facts", visit=1)
    assert butler.get("facts:late", visit=1) == VisitFacts(1, 1.5, ["x"])
    assert butler.keys("facts:late") == ("visit",)


# Shared components


SHARED = f"""
datasets:
  info: {{python: {HERE}.VisitFacts, storage: Json, template: "info/{{visit:d}}.json"}}
  image: {{python: list, storage: Json, template: "image/{{visit:d}}-{{ccd}}.json"}}
  exp: {{composite: {{image: image, info: info}}}}
"""


def test_a_component_with_fewer_keys_is_shared(world: World) -> None:
    butler = world.butler("a", SHARED)
    assert butler.keys("exp") == ("visit", "ccd")
    for ccd in ("N3", "N4"):
        butler.put({"image": [1], "info": VisitFacts(1)}, "exp", visit=1, ccd=ccd)
    assert world.files("a") == ["image/1-N3.json", "image/1-N4.json", "info/1.json"]
    leaves = [butler.plan("exp.info", visit=1, ccd=ccd).leaves()[0]["uuid"] for ccd in ("N3", "N4")]
    assert leaves[0] == leaves[1]


@pytest.mark.parametrize("replace", [False, True])
def test_a_shared_component_that_differs_is_a_conflict_showing_both(world: World, replace: bool) -> None:
    butler = world.butler("a", SHARED)
    butler.put({"image": [1], "info": VisitFacts(1, 1.1)}, "exp", visit=1, ccd="N3")
    with pytest.raises(ConflictError) as caught:
        butler.put({"image": [1], "info": VisitFacts(1, 1.9)}, "exp", visit=1, ccd="N4", replace=replace)
    for word in ("'info'", "airmass=1.1", "airmass=1.9", "discard=['info']", "'visit': 1"):
        assert word in str(caught.value)
    assert isinstance(caught.value, DatasetExistsError)
    assert world.files("a") == ["image/1-N3.json", "info/1.json"]


def test_a_shared_component_that_is_discarded_keeps_what_is_stored(world: World) -> None:
    butler = world.butler("a", SHARED)
    butler.put({"image": [1], "info": VisitFacts(1, 1.1)}, "exp", visit=1, ccd="N3")
    butler.put({"image": [2], "info": VisitFacts(1, 1.9)}, "exp", visit=1, ccd="N4", discard=["info"])
    assert butler.get("exp.info", visit=1, ccd="N4").airmass == 1.1
    assert butler.get("exp.image", visit=1, ccd="N4") == [2]


def test_a_shared_component_of_a_parent_may_differ_in_the_output(world: World) -> None:
    # Exists means in the output repository; a parent's dataset is masked.
    world.butler("a", SHARED).put({"image": [1], "info": VisitFacts(1, 1.1)}, "exp", visit=1, ccd="N3")
    child = world.butler("b", inputs="a")
    child.put({"image": [1], "info": VisitFacts(1, 1.9)}, "exp", visit=1, ccd="N3")
    assert child.get("exp.info", visit=1, ccd="N3").airmass == 1.9
    assert world.files("b") == ["info/1.json"]


def test_a_component_that_another_put_composite_pins_is_not_replaced(world: World) -> None:
    policy = pair_policy("Pair") + "  other: {composite: {wcs: wcs}}\n"
    butler = world.butler("a", policy)
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.put({"wcs": {"n": 1}}, "other", ID)
    with pytest.raises(ConflictError) as caught:
        butler.put(Pair({"n": 2}, {"z": 1}), "pair", ID, replace=True)
    assert "other {'visit': 1, 'ccd': 'N3'}" in str(caught.value)
    assert "by its own name" in str(caught.value)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert butler.get("other", ID) == {"wcs": {"n": 2}}


def test_replace_of_a_composite_replaces_a_component_put_by_its_own_name(world: World, pairs: Butler) -> None:
    pairs.put({"n": 1}, "wcs", ID)
    with pytest.raises(DatasetExistsError, match="replace=True"):
        pairs.put(Pair({"n": 2}, {}), "pair", ID)
    pairs.put(Pair({"n": 2}, {}), "pair", ID, replace=True)
    assert pairs.get("wcs", ID) == {"n": 2}


# Whole objects as components


WHOLE = (
    FRAMES
    + f"""
  late:
    python: {HERE}.Frame
    composite: {{calexp: calexp:copy, wcs: calexp:jointcal.wcs}}
  calexp:copy: {{python: {HERE}.Frame, storage: Json, template: "copy/{{visit:d}}-{{ccd}}.json"}}
"""
)


def test_a_whole_object_is_written_and_compared_without_what_its_siblings_hold(world: World) -> None:
    butler = world.butler("a", WHOLE)
    butler.put(frame(wcs={"n": 1}), "late", TRACT_ID)
    assert butler.get("calexp:copy", ID) == frame(wcs=None)
    assert butler.get("late", TRACT_ID) == frame(wcs={"n": 1})
    # Another tract shares the pixels: its wcs differs, the rest is the same.
    butler.put(frame(wcs={"n": 2}), "late", {**ID, "tract": 1})
    assert [name for name in world.files("a") if name.startswith("copy")] == ["copy/1-N3.json"]
    assert butler.get("late", {**ID, "tract": 1}) == frame(wcs={"n": 2})
    with pytest.raises(ConflictError, match="'calexp'"):
        butler.put(frame(5, wcs={"n": 2}), "late", {**ID, "tract": 2})


def test_the_object_that_was_put_is_not_changed_by_it(world: World) -> None:
    butler = world.butler("a", WHOLE)
    mine = frame(wcs={"n": 1})
    butler.put(mine, "late", TRACT_ID)
    assert mine == frame(wcs={"n": 1})


def test_a_whole_that_is_input_only_may_differ_in_what_its_siblings_hold(world: World) -> None:
    policy = (
        FRAMES
        + f"""
  over:
    python: {HERE}.Frame
    composite: {{calexp: {{datasetType: calexp:sfm, inputOnly: true}}, wcs: calexp:jointcal.wcs}}
"""
    )
    butler = world.butler("a", policy)
    butler.put(frame(), "calexp:sfm", ID)
    changed = butler.get("calexp:sfm", ID)
    changed.wcs = {"crval": 8}
    butler.put(changed, "over", TRACT_ID)
    assert butler.get("over", TRACT_ID) == frame(wcs={"crval": 8})
    changed.image = [7]
    with pytest.raises(AssemblyError, match=r"'calexp'.*lost"):
        butler.put(changed, "over", {**ID, "tract": 3})


# Nested composites


NESTED = (
    pair_policy("Pair")
    + """
  image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  outer: {composite: {image: image, both: pair}}
  reader: {composite: {image: image, both: {datasetType: pair, inputOnly: true}}}
"""
)


def test_nested_composites_are_put_and_got(world: World) -> None:
    butler = world.butler("a", NESTED)
    butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    assert butler.get("outer", ID) == {"image": [1], "both": Pair({"n": 1}, {"z": 1})}
    assert butler.get("outer.both", ID) == Pair({"n": 1}, {"z": 1})
    assert butler.get("outer.both.wcs", ID) == butler.get("pair.wcs", ID) == {"n": 1}
    assert world.files("a") == ["calib/1-N3.json", "image/1-N3.json", "wcs/1-N3.json"]
    again = butler.put(butler.get("outer", ID), "outer", ID)
    assert again == butler.query("outer").first()
    assert len(world.files("a")) == 3


def test_a_dotted_put_reaches_into_nested_composites(world: World) -> None:
    butler = world.butler("a", NESTED)
    butler.put({"n": 5}, "outer.both.wcs", ID)
    butler.put(Pair({"n": 5}, {"z": 5}), "outer.both", ID)
    butler.put([1], "outer.image", ID)
    assert butler.get("outer", ID) == {"image": [1], "both": Pair({"n": 5}, {"z": 5})}


def test_a_nested_composite_that_is_input_only_is_compared_leaf_by_leaf(world: World) -> None:
    butler = world.butler("a", NESTED)
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "reader", ID)
    with pytest.raises(AssemblyError, match=r"both.*calib|calib.*both"):
        butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 2})}, "reader", ID, replace=True)
    butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 2})}, "reader", ID, discard=["both"])
    assert butler.get("reader", ID)["both"] == Pair({"n": 1}, {"z": 1})


def test_a_nested_composite_in_a_child_writes_only_what_changed(world: World) -> None:
    world.butler("a", NESTED).put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    child = world.butler("b", inputs="a")
    child.put({"image": [1], "both": Pair({"n": 1}, {"z": 2})}, "outer", ID)
    assert world.files("b") == ["calib/1-N3.json"]
    assert child.get("outer", ID) == {"image": [1], "both": Pair({"n": 1}, {"z": 2})}


# Keys


def test_a_renamed_key(world: World) -> None:
    policy = """
    datasets:
      image: {python: list, storage: Json, template: "image/{visit:d}.json"}
      diff: {python: list, storage: Json, template: "diff/{visit:d}-{ref_visit:d}.json"}
      pairing:
        composite:
          diff: diff
          science: image
          reference: {datasetType: image, dataId: {visit: "{ref_visit}"}, inputOnly: true}
    """
    butler = world.butler("a", policy)
    assert set(butler.keys("pairing")) == {"visit", "ref_visit"}
    butler.put([2], "image", visit=2)
    butler.put({"diff": [0], "science": [1], "reference": None}, "pairing", visit=1, ref_visit=2)
    assert butler.get("pairing", visit=1, ref_visit=2) == {"diff": [0], "science": [1], "reference": [2]}
    assert butler.query("pairing").data_ids == [{"visit": 1, "ref_visit": 2}]
    assert butler.get("pairing.reference", ref_visit=2, visit=1) == [2]
    assert butler.get("pairing.reference", ref_visit=2) == [2]
    with pytest.raises(DataIdError, match="ref_visit"):
        butler.get("pairing.reference", visit=1)


IMPLIED = """
implied: {filter: [visit]}
datasets:
  image: {python: list, storage: Json, template: "image/{filter}/{visit:d}-{ccd}.json"}
  flat: {python: list, storage: Json, template: "flat/{filter}-{ccd}.json"}
  flatfielded: {composite: {image: image, flat: {datasetType: flat, inputOnly: true}}}
"""


def test_implied_keys_are_recorded_checked_and_filled_in_but_never_identity(world: World) -> None:
    butler = world.butler("a", IMPLIED)
    assert butler.keys("image") == ("visit", "ccd")
    butler.put([1], "image", visit=1, ccd="N3", filter="r")
    assert world.files("a") == ["image/r/1-N3.json"]
    butler.put([2], "image", visit=1, ccd="N4")
    assert world.files("a") == ["image/r/1-N3.json", "image/r/1-N4.json"]
    assert butler.get("image", visit=1, ccd="N3") == [1]
    assert butler.get("image", visit=1, ccd="N3", filter="r") == [1]
    with pytest.raises(DataIdError, match=r"filter='g'.*visit=1 has filter='r'"):
        butler.get("image", visit=1, ccd="N3", filter="g")
    with pytest.raises(DataIdError, match=r"filter='g'"):
        butler.put([1], "image", visit=1, ccd="S1", filter="g")
    assert butler.query("image").data_ids == [{"visit": 1, "ccd": "N3"}, {"visit": 1, "ccd": "N4"}]


def test_an_implied_key_that_is_not_known_yet_has_to_be_given_once(world: World) -> None:
    butler = world.butler("a", IMPLIED)
    with pytest.raises(DataIdError, match=r"'filter'.*implied"):
        butler.put([1], "image", visit=1, ccd="N3")
    assert world.files("a") == []


def test_components_get_implied_keys_filled_in(world: World) -> None:
    butler = world.butler("a", IMPLIED)
    butler.put([7], "flat", filter="r", ccd="N3")
    butler.put({"image": [1], "flat": None}, "flatfielded", visit=1, ccd="N3", filter="r")
    assert butler.keys("flatfielded") == ("visit", "ccd")
    assert butler.get("flatfielded", visit=1, ccd="N3") == {"image": [1], "flat": [7]}
    assert butler.query("flatfielded").data_ids == [{"visit": 1, "ccd": "N3"}]
    assert butler.exists("flatfielded", visit=1, ccd="N3")


def test_implied_keys_of_a_parent_are_known_in_the_child(world: World) -> None:
    world.butler("a", IMPLIED).put([1], "image", visit=1, ccd="N3", filter="r")
    child = world.butler("b", inputs="a")
    child.put([1], "image", visit=1, ccd="N4")
    assert world.files("b") == ["image/r/1-N4.json"]
    with pytest.raises(DataIdError, match="contradicts"):
        child.put([1], "image", visit=1, ccd="N5", filter="g")


def test_keys_that_a_composite_adds_of_its_own(world: World) -> None:
    policy = WCS_AND_CALIB + "  both: {composite: {wcs: wcs, calib: calib}, keys: [night]}\nkeys: {night: int}\n"
    policy = policy.replace("datasets:", "datasets:", 1)
    butler = world.butler("a", policy.replace("keys: {night: int}", "keys: {visit: int, ccd: str, night: int}"))
    assert set(butler.keys("both")) == {"visit", "ccd", "night"}
    butler.put({"wcs": {}, "calib": {}}, "both", {**ID, "night": 7})
    assert butler.get("both", {**ID, "night": 7}) == {"wcs": {}, "calib": {}}
    assert butler.query("both").data_ids == [{"night": 7, **ID}] or butler.query("both").data_ids == [
        {**ID, "night": 7}
    ]


def test_path_fields_make_a_type_ingest_only(world: World) -> None:
    policy = """
    datasets:
      raw: {python: dict, storage: Json, template: "{night}/{visit:d}.json", keys: [visit]}
    """
    butler = world.butler("a", policy)
    assert butler.keys("raw") == ("visit",)
    with pytest.raises(AssemblyError, match=r"raw.*only ingested"):
        butler.put({}, "raw", visit=1)


# Lists


LISTS = f"""
datasets:
  item: {{python: dict, storage: Json, template: "item/{{tract:d}}-{{patch}}.json"}}
  total: {{composite: {{items: {{datasetType: item, subset: true}}}}, keys: [tract]}}
  summed:
    composite: {{items: {{datasetType: item, subset: true}}}}
    keys: [tract]
    assembler: {HERE}.add_all
  everything: {{composite: {{items: {{datasetType: item, subset: true}}}}}}
  perhaps: {{composite: {{items: {{datasetType: item, subset: true, optional: true}}}}, keys: [tract]}}
"""


@pytest.fixture
def lists(world: World) -> Butler:
    butler = world.butler("a", LISTS)
    for number, patch in enumerate(["b", "a", "c"]):
        butler.put({"n": number}, "item", tract=0, patch=patch)
    butler.put({"n": 10}, "item", tract=1, patch="a")
    return butler


def test_a_subset_comes_sorted_by_key_with_its_data_ids(lists: Butler) -> None:
    got = lists.get("total", tract=0)["items"]
    assert list(got) == [{"n": 1}, {"n": 0}, {"n": 2}]
    assert got.data_ids == [{"tract": 0, "patch": patch} for patch in "abc"]
    assert lists.get("summed", tract=0) == 3
    assert lists.get("total.items", tract=1) == [{"n": 10}]
    assert len(lists.get("everything")["items"]) == 4
    assert len(lists.get("everything", tract=0)["items"]) == 3
    assert lists.keys("everything") == ()


def test_an_empty_subset_is_not_found_unless_it_is_optional(lists: Butler) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no item \{'tract': 5\} at all"):
        lists.get("total", tract=5)
    assert not lists.exists("total", tract=5)
    assert lists.exists("perhaps", tract=5)
    assert lists.get("perhaps", tract=5) == {"items": None}


def test_a_subset_takes_the_nearest_of_each(world: World, lists: Butler) -> None:
    child = world.butler("b", inputs="a")
    child.put({"n": 100}, "item", tract=0, patch="a")
    assert child.get("summed", tract=0) == 102


def test_a_list_is_put_back_and_pinned_by_membership(world: World, lists: Butler) -> None:
    got = lists.get("total", tract=0)
    lists.put(got, "total", tract=0)
    lists.put({"n": 50}, "item", tract=0, patch="d")
    assert len(lists.get("total", tract=0)["items"]) == 3
    assert len(lists.get("total", tract=0, resolve="nearest")["items"]) == 4


def test_a_list_may_be_a_mapping_of_data_ids(world: World) -> None:
    from bunter import DataId

    butler = world.butler("a", LISTS)
    items = {DataId(tract=0, patch="b"): {"n": 1}, DataId(tract=0, patch="a"): {"n": 2}}
    butler.put({"items": items}, "total", tract=0)
    assert butler.get("total", tract=0)["items"] == [{"n": 2}, {"n": 1}]
    assert world.files("a") == ["item/0-a.json", "item/0-b.json"]


def test_a_list_without_data_ids_is_an_assembly_error(lists: Butler) -> None:
    with pytest.raises(AssemblyError, match=r"'items'.*mapping of data ID"):
        lists.put({"items": [{"n": 1}]}, "total", tract=0)


def test_a_dotted_put_of_a_list_says_to_put_its_members(lists: Butler) -> None:
    with pytest.raises(AssemblyError, match="members"):
        lists.put([], "total.items", tract=0)


def test_a_member_outside_of_the_composites_data_id_is_refused(lists: Butler) -> None:
    from bunter import DataId

    with pytest.raises(DataIdError, match="tract"):
        lists.put({"items": {DataId(tract=1, patch="a"): {"n": 10}}}, "total", tract=0)


def test_lists_pin_nothing_of_what_they_lack(lists: Butler) -> None:
    with pytest.raises(AssemblyError, match="'items'"):
        lists.put({"items": None}, "total", tract=0)
    lists.put({"items": None}, "perhaps", tract=0)
    assert lists.get("perhaps", tract=0) == {"items": None}


# Precursors


def test_precursors_are_recorded(world: World) -> None:
    policy = pair_policy("Pair") + '  coadd: {python: dict, storage: Json, template: "coadd/{tract:d}.json"}\n'
    butler = world.butler("a", policy)
    first = butler.put({"n": 1}, "wcs", ID)
    butler.put({"z": 1}, "calib", ID)
    never_put = butler.query("pair").first()
    assert never_put is not None
    ref = butler.put({}, "coadd", tract=0, precursors=[first, never_put])
    made_from = {(p.type, p.uuid) for p in ref.precursors}
    calib = butler.query("calib").first()
    assert calib is not None
    assert made_from == {("wcs", first.uuid), ("calib", calib.uuid)}
    with pytest.raises(ParameterError, match="DatasetRef"):
        butler.put({}, "coadd", tract=1, precursors=[ID])  # type: ignore[list-item]


# Sharing through nested composites


SHARED_NESTED = """
datasets:
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  sky: {python: dict, storage: Json, template: "sky/{visit:d}.json"}
  visit_parts: {composite: {info: info, sky: sky}}
  image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  exp: {composite: {image: image, visit: visit_parts}}
  other: {composite: {visit: visit_parts}}
"""


@pytest.mark.parametrize("replace", [False, True])
def test_a_shared_nested_composite_that_differs_is_a_conflict(world: World, replace: bool) -> None:
    butler = world.butler("a", SHARED_NESTED)
    parts = {"info": {"n": 1}, "sky": {"n": 1}}
    butler.put({"image": [1], "visit": parts}, "exp", visit=1, ccd="N3")
    butler.put({"image": [1], "visit": parts}, "exp", visit=1, ccd="N4")
    before = world.files("a")
    with pytest.raises(ConflictError, match=r"'sky'|'visit'"):
        butler.put({"image": [1], "visit": {**parts, "sky": {"n": 2}}}, "exp", visit=1, ccd="N5", replace=replace)
    assert world.files("a") == before


def test_a_nested_composite_that_another_pins_is_not_replaced(world: World) -> None:
    policy = NESTED + "  second: {composite: {both: pair}}\n"
    butler = world.butler("a", policy)
    butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    butler.put({"both": Pair({"n": 1}, {"z": 1})}, "second", ID)
    with pytest.raises(ConflictError, match=r"second \{"):
        butler.put({"image": [1], "both": Pair({"n": 1}, {"z": 2})}, "outer", ID, replace=True)
    assert butler.get("outer", ID)["both"] == Pair({"n": 1}, {"z": 1})
    butler.put(Pair({"n": 1}, {"z": 2}), "pair", ID, replace=True)
    assert butler.get("outer", ID)["both"] == butler.get("second", ID)["both"] == Pair({"n": 1}, {"z": 2})


def test_a_component_with_a_renamed_key_is_shared_by_what_that_key_does_not_tell_apart(world: World) -> None:
    policy = """
    datasets:
      image: {python: list, storage: Json, template: "image/{visit:d}.json"}
      diff: {python: list, storage: Json, template: "diff/{visit:d}-{ref_visit:d}.json"}
      pairing: {composite: {diff: diff, reference: {datasetType: image, dataId: {visit: "{ref_visit}"}}}}
    """
    butler = world.butler("a", policy)
    butler.put({"diff": [0], "reference": [2]}, "pairing", visit=1, ref_visit=2)
    assert butler.get("image", visit=2) == [2]
    butler.put({"diff": [0], "reference": [2]}, "pairing", visit=3, ref_visit=2)
    with pytest.raises(ConflictError, match="'reference'"):
        butler.put({"diff": [0], "reference": [9]}, "pairing", visit=4, ref_visit=2, replace=True)


def test_a_nested_composite_with_a_base_is_compared_through_it(world: World) -> None:
    policy = (
        FRAMES
        + """
  head: {python: dict, storage: Json, template: "head/{visit:d}-{ccd}.json"}
  late: {base: "calexp:jointcal", composite: {psf: psf}}
  psf: {python: dict, storage: Json, template: "psf/{visit:d}-{ccd}.json"}
  seen: {composite: {head: head, calexp: {datasetType: late, inputOnly: true}}}
  seen_again: {composite: {deep: {datasetType: seen, inputOnly: true}, tail: head}}
"""
    )
    butler = world.butler("a", policy)
    butler.put(frame(), "calexp:sfm", ID)
    butler.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    butler.put(frame(wcs={"n": 1}, photo_calib={"n": 1}, psf={"own": 1}), "late", TRACT_ID)
    good = butler.get("late", TRACT_ID)
    assert good == frame(wcs={"n": 1}, photo_calib={"n": 1}, psf={"own": 1})
    for name, value in (("image", [9]), ("wcs", {"n": 9}), ("photo_calib", {"n": 9}), ("psf", {"own": 9})):
        changed = butler.get("late", TRACT_ID)
        setattr(changed, name, value)
        with pytest.raises(AssemblyError, match=r"calexp\.\w+ differs.*discard=\['calexp'\]") as caught:
            butler.put({"head": {}, "calexp": changed}, "seen", TRACT_ID)
        assert name.replace("_", "").lower() in str(caught.value).lower()
    butler.put({"head": {}, "calexp": good}, "seen", TRACT_ID)
    deep = butler.get("seen", TRACT_ID)
    deep["calexp"].wcs = {"n": 9}
    with pytest.raises(AssemblyError, match=r"deep\.calexp\.wcs differs"):
        butler.put({"deep": deep, "tail": {}}, "seen_again", TRACT_ID)
    butler.put({"deep": deep, "tail": {}}, "seen_again", TRACT_ID, discard=["deep"])
    assert butler.get("seen_again", TRACT_ID)["deep"]["calexp"] == good


def test_a_list_in_a_nested_composite_that_is_input_only_is_compared(world: World) -> None:
    from bunter import DataId

    policy = (
        LISTS
        + "  head: {python: dict, storage: Json, template: 'head/{tract:d}.json'}\n"
        + ("  outer: {composite: {head: head, total: {datasetType: total, inputOnly: true}}}\n")
    )
    butler = world.butler("a", policy)
    for patch in "ab":
        butler.put({"n": patch}, "item", tract=0, patch=patch)
    total = butler.get("total", tract=0)
    butler.put({"head": {}, "total": total}, "outer", tract=0)
    total["items"][1] = {"n": "changed"}
    with pytest.raises(AssemblyError, match=r"total.items.*'patch': 'b'"):
        butler.put({"head": {}, "total": total}, "outer", tract=0, replace=True)
    more = {"items": {DataId(tract=0, patch="z"): {"n": 1}}}
    with pytest.raises(AssemblyError, match=r"'patch': 'z'"):
        butler.put({"head": {}, "total": more}, "outer", tract=0, replace=True)


def test_what_is_there_although_nothing_is_stored_would_be_lost(world: World) -> None:
    policy = (
        FRAMES
        + """
  head: {python: dict, storage: Json, template: "head/{visit:d}-{ccd}.json"}
  seen: {composite: {head: head, calexp: {datasetType: "calexp:jointcal", inputOnly: true}}}
"""
    )
    butler = world.butler("a", policy)
    butler.put(frame(psf=None), "calexp:sfm", ID)
    butler.put(frame(psf=None, wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    changed = butler.get("calexp:jointcal", TRACT_ID)
    changed.psf = {"new": 1}
    with pytest.raises(AssemblyError, match="psf"):
        butler.put({"head": {}, "calexp": changed}, "seen", TRACT_ID)


def test_a_shared_nested_composite_that_is_discarded_keeps_what_is_stored(world: World) -> None:
    butler = world.butler("a", SHARED_NESTED)
    butler.put({"image": [1], "visit": {"info": {"n": 1}, "sky": {"n": 1}}}, "exp", visit=1, ccd="N3")
    changed = {"info": {"n": 1}, "sky": {"n": 2}}
    butler.put({"image": [1], "visit": changed}, "exp", visit=1, ccd="N4", discard=["visit"])
    assert butler.get("exp.visit.sky", visit=1, ccd="N4") == {"n": 1}


# One dataset under several names


TWICE = """
datasets:
  conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}
  twice: {composite: {one: conf, two: conf}}
  inner: {composite: {c: conf}}
  deep: {composite: {x: inner, y: inner, z: conf}}
"""


@pytest.mark.parametrize("inside", [False, True])
def test_components_that_are_one_dataset_are_written_once(world: World, inside: bool) -> None:
    from contextlib import nullcontext

    butler = world.butler("a", TWICE)
    with butler.transaction() if inside else nullcontext():
        butler.put({"one": {"n": 1}, "two": {"n": 1}}, "twice", visit=1)
        butler.put({"x": {"c": {"n": 2}}, "y": {"c": {"n": 2}}, "z": {"n": 2}}, "deep", visit=2)
        assert butler.get("twice", visit=1) == {"one": {"n": 1}, "two": {"n": 1}}
    assert butler.get("deep", visit=2) == {"x": {"c": {"n": 2}}, "y": {"c": {"n": 2}}, "z": {"n": 2}}
    assert world.files("a") == ["conf/1.json", "conf/2.json"]


@pytest.mark.parametrize("values", [(1, 2), (2, 1), (2, 3)])
def test_components_that_are_one_dataset_may_not_differ(world: World, values: tuple[int, int]) -> None:
    butler = world.butler("a", TWICE)
    obj = dict(zip(("one", "two"), ({"n": value} for value in values), strict=True))
    with pytest.raises(ConflictError, match=r"'two' and another component are one dataset"):
        butler.put(obj, "twice", visit=1)
    butler.put({"one": {"n": 1}, "two": {"n": 1}}, "twice", visit=1)
    with pytest.raises(ConflictError, match=r"one dataset"):
        butler.put(obj, "twice", visit=1, replace=True)
    assert butler.get("twice", visit=1) == {"one": {"n": 1}, "two": {"n": 1}}
    assert world.files("a") == ["conf/1.json"]


# References to what is put together


def test_self_contained_copies_what_nested_composites_are_made_of(world: World) -> None:
    world.butler("a", NESTED).put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    child = world.butler("b", inputs="a")
    child.put({"image": [1], "both": None}, "reader", ID, self_contained=True)
    assert world.files("b") == ["calib/1-N3.json", "image/1-N3.json", "wcs/1-N3.json"]
    for file in (world.folder / "a").rglob("*.json"):
        file.unlink()
    assert child.get("reader", ID) == {"image": [1], "both": Pair({"n": 1}, {"z": 1})}


def test_an_unchanged_nested_composite_is_referenced(world: World) -> None:
    parent = world.butler("a", NESTED)
    pair = parent.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    child = world.butler("b", inputs="a")
    child.put({"image": [1], "both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    assert child.query("pair").first().uuid == pair.uuid  # type: ignore[union-attr]
    assert world.files("b") == ["image/1-N3.json"]


def test_what_is_referenced_is_what_was_there_although_it_was_masked(world: World) -> None:
    # The middle repository masks a component of the nested composite; what was got is what is pinned.
    world.butler("a", NESTED).put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    middle = world.butler("m", inputs="a")
    middle.put({"n": 2}, "wcs", ID)
    child = world.butler("b", inputs="m")
    child.put({"image": [1], "both": child.get("pair", ID)}, "reader", ID)
    middle.put({"n": 3}, "wcs", ID, replace=True)
    assert child.get("pair", ID) == Pair({"n": 3}, {"z": 1})
    assert child.get("reader", ID)["both"] == Pair({"n": 2}, {"z": 1})
    assert child.get("reader.both.wcs", ID) == {"n": 2}


def test_a_replaced_outer_composite_still_refers_to_its_nested_one_as_such(world: World) -> None:
    butler = world.butler("a", NESTED)
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.put({"image": [1], "both": None}, "reader", ID)
    butler.put({"image": [2], "both": None}, "reader", ID, replace=True)
    butler.put(Pair({"n": 1}, {"z": 2}), "pair", ID, replace=True)
    assert butler.get("reader", ID) == {"image": [2], "both": Pair({"n": 1}, {"z": 2})}


def test_a_read_only_composite_as_a_component_is_compared_by_what_it_gives(world: World) -> None:
    policy = (
        LISTS
        + "  head: {python: dict, storage: Json, template: 'head/{tract:d}.json'}\n"
        + ("  outer: {composite: {head: head, sum: {datasetType: summed, inputOnly: true}}}\n")
    )
    butler = world.butler("a", policy)
    for number, patch in enumerate("ab"):
        butler.put({"n": number}, "item", tract=0, patch=patch)
    butler.put({"head": {}, "sum": 1}, "outer", tract=0)
    with pytest.raises(AssemblyError, match=r"sum differs from summed"):
        butler.put({"head": {}, "sum": 2}, "outer", tract=0, replace=True)
    butler.put({"n": 5}, "item", tract=0, patch="c")
    assert butler.get("summed", tract=0) == 6
    assert butler.get("outer", tract=0) == {"head": {}, "sum": 1}


def test_the_absence_of_an_optional_component_in_a_nested_composite_counts(world: World) -> None:
    policy = OPTIONAL + (
        '  head: {python: dict, storage: Json, template: "head/{visit:d}-{ccd}.json"}\n'
        "  outer: {composite: {head: head, trio: {datasetType: trio, inputOnly: true}}}\n"
    )
    butler = world.butler("a", policy)
    butler.put({"wcs": {}, "calib": {}, "note": {"n": 1}}, "trio", ID)
    with pytest.raises(AssemblyError, match=r"trio.note differs from note, which is there"):
        butler.put({"head": {}, "trio": {"wcs": {}, "calib": {}, "note": None}}, "outer", ID)
    butler.put({"head": {}, "trio": {"wcs": {}, "calib": {}, "note": {"n": 1}}}, "outer", ID)


def test_a_composite_of_very_many_files(world: World) -> None:
    """More than wait for the disk at once; some of the names are taken by files that nobody knows."""
    policy = """
keys: {visit: int, ccd: int}
datasets:
  image: {python: dict, storage: Json, template: "{visit:d}/{ccd:d}.json"}
  night: {composite: {images: {datasetType: image, subset: true}}, keys: [visit]}
"""
    butler = world.butler("b", policy, durability="full")
    root = Path(butler.put({"n": 0}, "image", visit=0, ccd=0).uri or "").parent.parent
    (root / "1").mkdir()
    for ccd in (0, 149):
        (root / f"1/{ccd}.json").write_text("mine")
    members = {DataId({"visit": 1, "ccd": ccd}): {"n": ccd} for ccd in range(150)}
    ref = butler.put({"images": members}, "night", visit=1)
    for got in (ref.get(), world.reader("b").get("night", visit=1)):
        assert list(got["images"]) == [{"n": ccd} for ccd in range(150)]
    assert sorted(os.listdir(root / "1"))[:3] == ["0.json", "0~2.json", "1.json"]
    assert len(os.listdir(root / "1")) == 152
    assert (root / "1/0.json").read_text() == (root / "1/149.json").read_text() == "mine"
    assert not [name for name in os.listdir(root / "1") if ".part~" in name]
    stored = world.reader("b").get("night", visit=1)["images"]
    assert stored.data_ids == list(members)
