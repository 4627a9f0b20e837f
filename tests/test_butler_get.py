"""get, exists, plan, defer, uri: reading stored datasets, parts and composites (design 4 and 6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table

from bunter import (
    AssemblyError,
    Butler,
    ComponentNotFoundError,
    DataIdError,
    DatasetNotFoundError,
    IntegrityError,
    ParameterError,
    TrustError,
)
from tests.core_support import (
    FRAMES,
    HERE,
    ID,
    TRACT_ID,
    WCS_AND_CALIB,
    ByAttribute,
    ByCamel,
    BySetter,
    BySnake,
    Falsy,
    Frame,
    Pair,
    World,
    frame,
    making_world,
    pair_policy,
    text_of,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    made = world.butler("sfm", FRAMES)
    made.put(frame(), "calexp:sfm", ID)
    joint = world.butler("joint", inputs="sfm")
    joint.put(frame(wcs={"crval": 7}, photo_calib={"zero": 7}), "calexp:jointcal", TRACT_ID)
    return joint


def put_parts(butler: Butler, **data_id: Any) -> dict[str, Any]:
    """Put a wcs and a calib by their own names."""
    data_id = {**ID, **data_id}
    butler.put({"crval": 1}, "wcs", data_id)
    butler.put({"zero": 2}, "calib", data_id)
    return data_id


# The data ID


def test_the_data_id_is_taken_in_every_spelling(butler: Butler) -> None:
    expected = frame()
    assert butler.get("calexp:sfm", ID) == expected
    assert butler.get("calexp:sfm", data_id=ID) == expected
    assert butler.get("calexp:sfm", dataId=ID) == expected
    assert butler.get("calexp:sfm", **ID) == expected
    assert butler.get("calexp:sfm", {"visit": 1}, ccd="N3") == expected
    assert butler.get("calexp:sfm", ID, visit=1) == expected


def test_both_spellings_at_once_or_two_values_of_a_key_are_errors(butler: Butler) -> None:
    with pytest.raises(DataIdError, match="two spellings"):
        butler.get("calexp:sfm", ID, dataId=ID)
    with pytest.raises(DataIdError, match=r"visit.*1.*2"):
        butler.get("calexp:sfm", ID, visit=2)
    with pytest.raises(DataIdError, match="mapping"):
        butler.get("calexp:sfm", [("visit", 1)])  # type: ignore[arg-type]


def test_a_key_may_be_called_name_or_obj(world: World) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "{name}-{obj:d}.json"}}')
    butler.put({"n": 1}, "conf", name="x", obj=3)
    assert butler.get("conf", name="x", obj=3) == {"n": 1}
    assert butler.exists("conf", name="x", obj=3)
    butler.delete("conf", name="x", obj=3)
    assert not butler.exists("conf", name="x", obj=3)


def test_a_mapping_can_hold_any_key_that_options_are_called(world: World) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "{replace:d}-{where}.json"}}')
    butler.put({"n": 1}, "conf", {"replace": 1, "where": "here"})
    assert butler.get("conf", {"replace": 1, "where": "here"}) == {"n": 1}
    assert butler.query("conf", {"where": "here"}).data_ids == [{"replace": 1, "where": "here"}]


@pytest.mark.parametrize("call", ["get", "exists", "plan", "defer", "uri"])
def test_an_incomplete_data_id_lists_the_values_there_are(butler: Butler, call: str) -> None:
    with pytest.raises(DataIdError, match=r"'ccd' \(there are N3\)"):
        getattr(butler, call)("calexp:sfm", visit=1)
    with pytest.raises(DataIdError, match=r"'tract' \(there are 0\)"):
        getattr(butler, call)("calexp:jointcal", ID)
    with pytest.raises(DataIdError, match=r"'visit'.*'ccd'"):
        getattr(butler, call)("calexp:jointcal.psf")


def test_the_values_that_are_listed_agree_with_the_rest(butler: Butler) -> None:
    for ccd in ("N4", "S1"):
        butler.put(frame(1), "calexp:sfm", visit=2, ccd=ccd)
    with pytest.raises(DataIdError, match=r"'ccd' \(there are N4, S1\)"):
        butler.get("calexp:sfm", visit=2)
    with pytest.raises(DataIdError, match=r"no datasets that agree"):
        butler.get("calexp:sfm", visit=77)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"visit": "1"}, "int"),
        ({"visit": True}, "bool"),
        ({"visit": np.bool_(True)}, "bool"),
        ({"visit": 1.0}, "int"),
        ({"visit": None}, "int"),
        ({"visit": 2**63}, "64"),
        ({"visit": 10**400}, "64"),
        ({"ccd": 3}, "str"),
        ({"ccd": ""}, "empty"),
        ({"ccd": "a\0b"}, "control"),
        ({"ccd": "a\nb"}, "control"),
        ({"ccd": "\ud800"}, "surrogate"),
        ({"ccd": "x" * 1000}, "200"),
        ({"ccd": b"N3"}, "str"),
    ],
)
def test_wrong_and_hostile_values_are_refused_before_any_io(butler: Butler, values: dict[str, Any], word: str) -> None:
    for call in (butler.get, butler.exists, butler.plan):
        with pytest.raises(DataIdError, match=word):
            call("calexp:sfm", {**ID, **values})
    with pytest.raises(DataIdError, match=word):
        butler.put(frame(), "calexp:sfm", {**ID, **values})


@pytest.mark.parametrize("visit", [np.int64(1), np.uint8(1), np.array(1)[()]])
def test_integers_take_whatever_index_does(butler: Butler, visit: Any) -> None:
    assert butler.get("calexp:sfm", visit=visit, ccd=np.str_("N3")) == frame()


def test_values_are_nfc_normalised(world: World) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "{field}.json"}}')
    butler.put({"n": 1}, "conf", field="Cafe\u0301")
    assert butler.get("conf", field="Caf\u00e9") == {"n": 1}


def test_a_key_that_nobody_knows_is_an_error_with_the_nearest(butler: Butler) -> None:
    for call in (butler.get, butler.exists, butler.plan, butler.query):
        with pytest.raises(DataIdError, match=r"'vist'.*did you mean 'visit'"):
            call("calexp:sfm", vist=1, ccd="N3")


def test_a_key_that_the_repository_knows_but_the_type_does_not_is_ignored_at_get(butler: Butler) -> None:
    assert butler.get("calexp:sfm", TRACT_ID) == frame()
    assert butler.exists("calexp:sfm", TRACT_ID)
    assert butler.plan("calexp:sfm", TRACT_ID).data_id == ID
    assert butler.defer("calexp:sfm", TRACT_ID).ref.data_id == ID


def test_no_data_id_at_all_is_a_type_with_one_dataset(world: World) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "conf.json"}}')
    with pytest.raises(DatasetNotFoundError, match="conf"):
        butler.get("conf")
    butler.put({"n": 1}, "conf")
    assert butler.get("conf") == {"n": 1}
    assert butler.exists("conf")
    assert [ref.get() for ref in butler.query("conf")] == [{"n": 1}]


# What is missing


def test_a_missing_dataset_says_what_and_where_it_was_looked_for(world: World, butler: Butler) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        butler.get("calexp:sfm", visit=8, ccd="N3")
    assert caught.value.searched == (str(world.folder / "joint"), str(world.folder / "sfm"))
    assert "calexp:sfm {'visit': 8, 'ccd': 'N3'}" in str(caught.value)
    assert all(root in str(caught.value) for root in caught.value.searched)
    assert isinstance(caught.value, LookupError)
    assert not isinstance(caught.value, KeyError)


def test_a_composite_whose_components_are_missing_names_all_of_them(butler: Butler) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        butler.get("calexp:jointcal", {**ID, "tract": 5})
    for what in ("wcs: calexp:jointcal.wcs", "photoCalib: calexp:jointcal.photoCalib", "'tract': 5", "searched"):
        assert what in str(caught.value)
    assert "psf" not in str(caught.value)


def test_a_component_can_be_read_while_another_is_missing(butler: Butler) -> None:
    assert butler.get("calexp:jointcal.psf", {**ID, "tract": 5}) == {"sigma": 2.0}
    assert butler.exists("calexp:jointcal.psf", {**ID, "tract": 5})


def test_the_component_of_a_stored_whole_that_is_missing_is_missing(butler: Butler) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"calexp:sfm.psf"):
        butler.get("calexp:sfm.psf", visit=8, ccd="N3")


def test_exists_of_a_composite_with_none_some_and_all_components(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    assert not butler.exists("pair", ID)
    butler.put({"crval": 1}, "wcs", ID)
    assert not butler.exists("pair", ID)
    assert butler.exists("pair.wcs", ID)
    assert not butler.exists("pair.calib", ID)
    butler.put({"zero": 2}, "calib", ID)
    assert butler.exists("pair", ID)


def test_plan_never_raises_for_what_is_missing(butler: Butler) -> None:
    plan = butler.plan("calexp:jointcal", {**ID, "tract": 5})
    assert not plan.complete
    assert str(plan).count("MISSING") == 2
    states = {leaf["component"]: leaf["state"] for leaf in plan.leaves()}
    assert states == {"image": "found", "wcs": "missing", "photoCalib": "missing", "psf": "found"}


def test_plan_says_repository_file_stage_and_part_of_every_leaf(world: World, butler: Butler) -> None:
    plan = butler.plan("calexp:jointcal", TRACT_ID)
    leaves = {leaf["component"]: leaf for leaf in plan.leaves()}
    assert leaves["wcs"]["repository"] == str(world.folder / "joint")
    assert leaves["wcs"]["stage"] == "jointcal"
    assert leaves["wcs"]["uri"] == str(world.folder / "joint/jointcal/0/wcs-1-N3.json")
    assert leaves["psf"]["repository_name"] == "sfm"
    assert (leaves["psf"]["part"], leaves["psf"]["path"]) == ("psf", "sfm/1/calexp-N3.json")
    assert plan.complete
    text = str(plan)
    assert "calexp:jointcal.wcs  joint: jointcal/0/wcs-1-N3.json" in text
    assert json.loads(json.dumps(plan.to_dict()))["components"]["wcs"]["uuid"] == leaves["wcs"]["uuid"]


def test_the_plan_of_one_leaf_prints_too(butler: Butler) -> None:
    assert "sfm/1/calexp-N3.json" in str(butler.plan("calexp:sfm", ID))
    assert "sfm/1/calexp-N3.json" in str(butler.plan("calexp:jointcal.psf", TRACT_ID))
    assert "MISSING" in str(butler.plan("calexp:sfm", {**ID, "visit": 7}))


# Gen2's traps


def test_a_child_that_misses_does_not_hand_out_the_whole_for_a_component(world: World) -> None:
    world.butler("parent", FRAMES).put(frame(), "calexp:sfm", ID)
    child = world.butler("child", inputs="parent")
    assert child.get("calexp:sfm.psf", ID) == {"sigma": 2.0}
    child.put(frame(3, psf={"sigma": 9.0}), "calexp:sfm", visit=2, ccd="N3")
    assert child.get("calexp:sfm.psf", ID) == {"sigma": 2.0}
    assert child.get("calexp:sfm.psf", visit=2, ccd="N3") == {"sigma": 9.0}


def test_the_type_error_of_a_constructor_passes_through_with_a_note(world: World) -> None:
    butler = world.butler("a", pair_policy("Grumpy"))
    put_parts(butler)
    with pytest.raises(TypeError, match="this wcs is not for me") as caught:
        butler.get("pair", ID)
    assert "pair" in text_of(caught.value)
    assert "'N3'" in text_of(caught.value)


def test_a_falsy_object_is_built_once(world: World) -> None:
    butler = world.butler("a", pair_policy("Falsy"))
    put_parts(butler)
    Falsy.built = 0
    made = butler.get("pair", ID)
    assert isinstance(made, Falsy)
    assert not made
    assert Falsy.built == 1


def test_falsy_values_are_values(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    butler.put(Pair({}, {}), "pair", ID)
    assert butler.get("pair", ID) == Pair({}, {})
    assert butler.get("pair.wcs", ID) == {}


# Generic assembly


@pytest.mark.parametrize(
    ("python", "cls", "components"),
    [
        ("Pair", Pair, "{wcs: wcs, calib: calib}"),
        ("BySnake", BySnake, "{wcs: wcs, calib: calib}"),
        ("ByCamel", ByCamel, "{wcs: wcs, calib: calib}"),
        ("ByAttribute", ByAttribute, "{wcs: wcs, calib: calib}"),
        (
            "BySetter",
            BySetter,
            "{wcs: {datasetType: wcs, setter: install_wcs, getter: fetch_wcs}, "
            "calib: {datasetType: calib, setter: set_the_calib, getter: get_the_calib}}",
        ),
    ],
)
def test_the_generic_pair_assembles_and_takes_apart(world: World, python: str, cls: type, components: str) -> None:
    butler = world.butler("a", pair_policy(python, components=components))
    put_parts(butler)
    made = butler.get("pair", ID)
    assert type(made) is cls
    other = {**ID, "visit": 2}
    butler.put(made, "pair", other)
    assert butler.get("pair.wcs", other) == butler.get("wcs", other) == {"crval": 1}
    assert butler.get("pair.calib", other) == butler.get("calib", other) == {"zero": 2}


def test_without_a_python_type_a_composite_is_a_dict(world: World) -> None:
    butler = world.butler("a", WCS_AND_CALIB + "  pair: {composite: {wcs: wcs, calib: calib}}\n")
    put_parts(butler)
    assert butler.get("pair", ID) == {"wcs": {"crval": 1}, "calib": {"zero": 2}}


def test_an_object_without_a_place_for_a_component_is_an_assembly_error(world: World) -> None:
    butler = world.butler("a", pair_policy("NoPlace"))
    put_parts(butler)
    with pytest.raises(AssemblyError, match=r"NoPlace.*'calib'") as caught:
        butler.get("pair", ID)
    assert "setter" in str(caught.value)


def test_a_constructor_that_needs_more_than_there_is_is_an_assembly_error(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair", components="{wcs: wcs}"))
    put_parts(butler)
    with pytest.raises(AssemblyError, match=r"needs 'calib'.*wcs"):
        butler.get("pair", ID)


def test_an_assembler_gets_data_id_components_and_class(world: World) -> None:
    calls: list[Any] = []
    policy = pair_policy("Pair", f", assembler: {HERE}.assemble_pair, disassembler: {HERE}.take_pair_apart")
    butler = world.butler("a", policy)
    data_id = put_parts(butler)
    assert butler.get("pair", ID) == Pair({"crval": 1}, {"zero": 2})
    butler.put(Pair({"crval": 5}, {"zero": 6}), "pair", {**data_id, "visit": 2})
    assert butler.get("pair", {**data_id, "visit": 2}) == Pair({"crval": 5}, {"zero": 6})
    assert calls == []


def test_an_assemblers_own_exception_passes_with_a_note(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.core_support as support

    def broken(dataId: Any, componentDict: Any, classObj: Any) -> Any:
        raise ZeroDivisionError("my own")

    monkeypatch.setattr(support, "assemble_pair", broken)
    butler = world.butler("a", pair_policy("Pair", f", assembler: {HERE}.assemble_pair"))
    put_parts(butler)
    with pytest.raises(ZeroDivisionError, match="my own") as caught:
        butler.get("pair", ID)
    assert "while assembling 'pair'" in text_of(caught.value)


def test_an_assembler_may_change_what_it_is_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.core_support as support

    def greedy(dataId: Any, componentDict: Any, classObj: Any) -> Any:
        dataId.clear()
        made = classObj(componentDict.pop("wcs"), componentDict.pop("calib"))
        made.wcs["crval"] = 99
        return made

    monkeypatch.setattr(support, "assemble_pair", greedy)
    butler = world.butler("a", pair_policy("Pair", f", assembler: {HERE}.assemble_pair"))
    data_id = put_parts(butler)
    for _ in range(2):
        assert butler.get("pair", data_id).wcs == {"crval": 99}
    assert data_id == ID
    assert butler.get("wcs", ID) == {"crval": 1}


def test_use_case_one_overlays_the_parts_on_the_whole(world: World) -> None:
    policy = (
        FRAMES
        + f"""
  jointcalexp:
    python: {HERE}.Frame
    composite:
      calexp: {{datasetType: calexp:sfm, inputOnly: true}}
      wcs: calexp:jointcal.wcs
      calib: calexp:jointcal.photoCalib
    assembler: {HERE}.overlay
    disassembler: {HERE}.take_overlay_apart
"""
    )
    butler = world.butler("a", policy)
    butler.put(frame(), "calexp:sfm", ID)
    made = butler.get("calexp:sfm", ID)
    made.wcs, made.photo_calib = {"crval": 5}, {"zero": 5}
    butler.put(made, "jointcalexp", TRACT_ID)
    assert butler.get("jointcalexp", TRACT_ID) == frame(wcs={"crval": 5}, photo_calib={"zero": 5})
    assert butler.get("jointcalexp.calexp.wcs", TRACT_ID) == {"crval": 0}
    assert butler.get("jointcalexp.wcs", TRACT_ID) == {"crval": 5}


# The standardize hook


def test_standardize_hands_out_what_it_returns(world: World) -> None:
    policy = WCS_AND_CALIB + (
        f"  pair: {{composite: {{wcs: wcs, calib: calib}}, standardize: {HERE}.mark_standard}}\n"
        f"  later: {{base: pair}}\n"
    )
    butler = world.butler("a", policy)
    put_parts(butler)
    assert butler.get("pair", ID)["standardized_for"] == 1
    assert butler.get("later", ID)["standardized_for"] == 1
    assert butler.get("pair.wcs", ID) == {"crval": 1}


def test_standardizes_own_exception_passes_with_a_note(world: World) -> None:
    policy = pair_policy("Pair", f", standardize: {HERE}.mark_standard")
    butler = world.butler("a", policy)
    put_parts(butler)
    with pytest.raises(TypeError) as caught:
        butler.get("pair", ID)
    assert "while standardizing 'pair'" in text_of(caught.value)


# Each leaf once


def test_parts_that_are_overridden_are_not_read_and_a_shared_file_is_opened_once(world: World, butler: Butler) -> None:
    Frame.reads = 0
    butler.get("calexp:jointcal", TRACT_ID)
    assert Frame.reads == 1
    Frame.reads = 0
    butler.get("calexp:jointcal.wcs", TRACT_ID)
    assert Frame.reads == 0
    (world.folder / "sfm/sfm/1/calexp-N3.json").unlink()
    assert butler.get("calexp:jointcal.wcs", TRACT_ID) == {"crval": 7}


def test_each_get_returns_objects_of_its_own(butler: Butler) -> None:
    first = butler.get("calexp:jointcal", TRACT_ID)
    first.wcs["crval"] = "changed"
    first.psf["sigma"] = "changed"
    assert butler.get("calexp:jointcal", TRACT_ID) == frame(wcs={"crval": 7}, photo_calib={"zero": 7})


# Type 2


PARTS_OF = (
    FRAMES
    + """
  calexp_psf: {partOf: calexp:sfm.psf}
  calexp_wcs: {partOf: calexp:jointcal.wcs}
  flat: {python: dict, storage: Json, template: "flat/{filter}-{ccd}.json"}
  flat_r: {partOf: flat, dataId: {filter: r}}
  flats: {composite: {red: flat_r, blue: {datasetType: flat, dataId: {filter: b}}}}
"""
)


def test_a_part_under_a_name_of_its_own(world: World) -> None:
    butler = world.butler("a", PARTS_OF)
    butler.put(frame(), "calexp:sfm", ID)
    assert butler.get("calexp_psf", ID) == {"sigma": 2.0}
    assert butler.keys("calexp_psf") == ("visit", "ccd")
    assert butler.exists("calexp_psf", ID)
    assert [ref.data_id for ref in butler.query("calexp_psf")] == [ID]
    assert butler.uri("calexp_psf", ID) == butler.uri("calexp:sfm", ID)
    with pytest.raises(AssemblyError, match=r"calexp_psf.*calexp:sfm.psf|calexp:sfm.psf"):
        butler.put({"sigma": 1}, "calexp_psf", ID)
    with pytest.raises(AssemblyError):
        butler.delete("calexp_psf", ID)


def test_a_part_of_a_composite_under_a_name_of_its_own(world: World) -> None:
    butler = world.butler("a", PARTS_OF)
    butler.put({"crval": 3}, "calexp:jointcal.wcs", TRACT_ID)
    assert butler.get("calexp_wcs", TRACT_ID) == {"crval": 3}
    assert set(butler.keys("calexp_wcs")) == {"visit", "ccd", "tract"}


def test_a_whole_type_with_a_key_fixed(world: World) -> None:
    butler = world.butler("a", PARTS_OF)
    for name in "br":
        butler.put({"name": name}, "flat", filter=name, ccd="N3")
    assert butler.get("flat_r", ccd="N3") == {"name": "r"}
    assert butler.keys("flat_r") == ("ccd",)
    assert butler.query("flat_r").data_ids == [{"ccd": "N3"}]
    assert butler.get("flats", ccd="N3") == {"red": {"name": "r"}, "blue": {"name": "b"}}
    assert butler.keys("flats") == ("ccd",)
    assert butler.get("flats.red", ccd="N3") == {"name": "r"}


# Parameters and conversion


TABLES = """
datasets:
  src: {python: astropy.table.Table, storage: Parquet, template: "src/{visit:d}.parquet"}
  cube: {python: numpy.ndarray, storage: Npy, template: "cube/{visit:d}.npy"}
  both: {composite: {table: src, cube: cube}}
"""


@pytest.fixture
def tables(world: World) -> Butler:
    butler = world.butler("a", TABLES)
    butler.put(Table({"id": [1, 2], "flux": [0.5, 1.5], "mag": [20.0, 21.0]}), "src", visit=1)
    butler.put(np.arange(24.0).reshape(4, 6), "cube", visit=1)
    return butler


def test_columns_are_selected(tables: Butler) -> None:
    assert tables.get("src", visit=1, parameters={"columns": ["id", "mag"]}).colnames == ["id", "mag"]
    with pytest.raises(ParameterError, match=r"'fluxx'.*flux"):
        tables.get("src", visit=1, parameters={"columns": ["fluxx"]})


def test_a_box_is_cut_out(tables: Butler) -> None:
    cut = tables.get("cube", visit=1, parameters={"bbox": (slice(1, 3), slice(2, 5))})
    np.testing.assert_array_equal(cut, np.arange(24.0).reshape(4, 6)[1:3, 2:5])
    for bbox in ((slice(0, 9), slice(0, 2)), (slice(-2, 2), slice(0, 2)), (slice(0, 2, 2), slice(0, 2)), slice(0, 2)):
        with pytest.raises(ParameterError):
            tables.get("cube", visit=1, parameters={"bbox": bbox})


def test_unknown_parameters_name_the_nearest(tables: Butler) -> None:
    with pytest.raises(ParameterError, match=r"'column'.*did you mean 'columns'"):
        tables.get("src", visit=1, parameters={"column": ["id"]})
    with pytest.raises(ParameterError, match="bbox"):
        tables.get("src", visit=1, parameters={"bbox": (slice(0, 1), slice(0, 1))})
    with pytest.raises(ParameterError, match="mapping"):
        tables.get("src", visit=1, parameters=["columns"])  # type: ignore[arg-type]


def test_each_leaf_gets_the_parameters_that_it_takes(tables: Butler) -> None:
    made = tables.get("both", visit=1, parameters={"columns": ["id"], "bbox": (slice(0, 1), slice(0, 2))})
    assert made["table"].colnames == ["id"]
    assert made["cube"].shape == (1, 2)


@pytest.mark.parametrize("kind", [Table, pa.Table, pd.DataFrame, np.ndarray])
def test_as_type_converts_tables(tables: Butler, kind: type) -> None:
    made = tables.get("src", visit=1, as_type=kind)
    assert isinstance(made, kind)
    assert [float(value) for value in np.asarray(made["flux"])] == [0.5, 1.5]


def test_as_type_of_what_cannot_be_converted_says_so(tables: Butler, butler: Butler) -> None:
    with pytest.raises(Exception, match="Table") as caught:
        butler.get("calexp:sfm.psf", ID, as_type=Table)
    assert type(caught.value).__module__ == "bunter.errors"


# resolve=, refs and deferred datasets


def test_resolve_is_one_of_three_words(butler: Butler) -> None:
    for call in (butler.get, butler.plan):
        with pytest.raises(ParameterError, match=r"'pined'.*did you mean 'pinned'.*nearest, exact"):
            call("calexp:jointcal", TRACT_ID, resolve="pined")


def test_defer_reads_later_and_by_component(butler: Butler) -> None:
    deferred = butler.defer("calexp:jointcal", TRACT_ID)
    assert deferred.get() == frame(wcs={"crval": 7}, photo_calib={"zero": 7})
    assert deferred.get("wcs") == {"crval": 7}
    assert deferred.get(component="psf") == {"sigma": 2.0}
    assert deferred.ref.name == "calexp:jointcal"
    assert deferred.ref.uuid is not None
    with pytest.raises(ComponentNotFoundError, match="psf"):
        deferred.get("pfs")
    with pytest.raises(DatasetNotFoundError):
        butler.defer("calexp:jointcal", {**ID, "tract": 9})


def test_a_ref_takes_the_options_of_get(tables: Butler) -> None:
    ref = next(iter(tables.query("src")))
    assert ref.get(parameters={"columns": ["id"]}).colnames == ["id"]
    assert isinstance(ref.get(as_type=pa.Table), pa.Table)
    with pytest.raises(ParameterError, match=r"'paramaters'.*did you mean 'parameters'"):
        ref.get(paramaters={})


def test_the_ref_of_a_composite_that_was_never_put(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    butler.put({"crval": 1}, "wcs", ID)
    child = world.butler("b", inputs="a")
    child.put({"zero": 2}, "calib", ID)
    ref = child.query("pair").first()
    assert ref is not None
    assert ref.uuid is None
    assert ref.uri is None
    assert ref.repository == str(world.folder / "b")
    assert ref.get() == Pair({"crval": 1}, {"zero": 2})
    assert ref.get("wcs") == {"crval": 1}
    assert ref.precursors == []


def test_uri_of_datasets_parts_and_composites(world: World, butler: Butler) -> None:
    place = str(world.folder / "sfm/sfm/1/calexp-N3.json")
    assert butler.uri("calexp:sfm", ID) == place
    assert butler.uri("calexp:sfm.psf", ID) == place
    assert butler.uri("calexp:jointcal.psf", TRACT_ID) == place
    with pytest.raises(AssemblyError, match=r"calexp:jointcal.*plan"):
        butler.uri("calexp:jointcal", TRACT_ID)
    with pytest.raises(DatasetNotFoundError):
        butler.uri("calexp:sfm", visit=9, ccd="N3")


# Damaged files


def test_a_missing_or_damaged_file_is_an_integrity_error(world: World, butler: Butler) -> None:
    place = world.folder / "sfm/sfm/1/calexp-N3.json"
    whole = place.read_bytes()
    place.write_bytes(whole[:-5])
    with pytest.raises(IntegrityError, match=r"calexp-N3.json.*cut short or changed"):
        butler.get("calexp:sfm", ID)
    place.write_bytes(whole.replace(b"25", b"26"))
    with pytest.raises(IntegrityError, match="checksum"):
        butler.get("calexp:sfm.psf", ID)
    place.unlink()
    with pytest.raises(IntegrityError, match="gone"):
        butler.get("calexp:jointcal", TRACT_ID)


def test_the_unchecked_type_of_a_stranger_is_not_imported(world: World, butler: Butler) -> None:
    stranger = world.reader("joint", trust=())
    assert stranger.get("calexp:jointcal.wcs", TRACT_ID) == {"crval": 7}
    with pytest.raises(TrustError, match=rf"{HERE}.Frame.*trust"):
        stranger.get("calexp:sfm", ID)
