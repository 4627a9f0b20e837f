"""Names and stages as the Butler takes them (design 3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bunter import (
    AssemblyError,
    Butler,
    ComponentNotFoundError,
    DataIdError,
    DatasetNameError,
    DatasetNotFoundError,
    DatasetTypeNotFoundError,
    DefinitionError,
)
from tests.core_support import FRAMES, ID, TRACT_ID, World, frame, making_world


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


@pytest.mark.parametrize(
    "name",
    [
        "calexp:jointcal.wcs",
        "calexp.wcs:jointcal",
        "calexp: jointcal.wcs",
        "calexp.wcs: jointcal",
        "calexp.wcs :jointcal",
        " calexp : jointcal.wcs ",
        "calexp:jointcal.WCS",
    ],
)
def test_every_spelling_of_a_component_of_a_stage_reads_the_same(butler: Butler, name: str) -> None:
    assert butler.get(name, TRACT_ID) == {"crval": 7}


@pytest.mark.parametrize("key", ["stage", "version"])
def test_the_stage_may_come_in_the_data_id(butler: Butler, key: str) -> None:
    assert butler.get("calexp.wcs", {**TRACT_ID, key: "jointcal"}) == {"crval": 7}
    assert butler.get("calexp", {**ID, key: "sfm"}) == frame()
    assert butler.get("calexp", {**ID, key: " sfm "}) == frame()
    assert butler.get("calexp:sfm", {**ID, key: "sfm"}) == frame()
    assert butler.exists("calexp", {**TRACT_ID, key: "jointcal"})
    assert butler.plan("calexp", {**TRACT_ID, key: "jointcal"}).name == "calexp:jointcal"
    assert butler.query("calexp", {key: "jointcal"}).count() == 1


def test_the_stage_may_come_as_a_keyword(butler: Butler) -> None:
    assert butler.get("calexp.wcs", stage="jointcal", **TRACT_ID) == {"crval": 7}
    assert butler.get("calexp", version="sfm", dataId=ID) == frame()


def test_the_stage_of_a_put_may_come_in_the_data_id(butler: Butler) -> None:
    data_id = {**TRACT_ID, "tract": 5}
    butler.put({"crval": 9}, "calexp.wcs", {**data_id, "stage": "jointcal"})
    assert butler.get("calexp:jointcal.wcs", data_id) == {"crval": 9}


@pytest.mark.parametrize(
    ("name", "data_id"),
    [
        ("calexp:sfm", {"stage": "jointcal"}),
        ("calexp:sfm", {"version": "jointcal"}),
        ("calexp", {"stage": "sfm", "version": "jointcal"}),
    ],
)
def test_a_stage_given_twice_differently_is_a_data_id_error(butler: Butler, name: str, data_id: dict[str, str]) -> None:
    with pytest.raises(DataIdError, match=r"sfm.*jointcal"):
        butler.get(name, {**TRACT_ID, **data_id})


def test_a_stage_that_is_no_string_is_a_data_id_error(butler: Butler) -> None:
    with pytest.raises(DataIdError, match="stage"):
        butler.get("calexp", {**ID, "stage": 3})


def test_a_hostile_stage_in_the_data_id_is_refused_as_in_a_name(butler: Butler) -> None:
    with pytest.raises(DatasetNameError):
        butler.get("calexp", {**ID, "stage": "../../etc"})
    with pytest.raises(DatasetNameError):
        butler.get("calexp", {**ID, "stage": "sfm.wcs"})


def test_stage_and_version_are_keys_where_a_type_has_them_as_keys(world: World) -> None:
    butler = world.butler(
        "a",
        """
        datasets:
          notes: {python: dict, storage: Json, template: "notes/{version:d}-{stage}.json"}
          other:sfm: {python: dict, storage: Json, template: "other/{visit:d}.json"}
        """,
    )
    butler.put({"n": 1}, "notes", version=3, stage="late")
    assert butler.get("notes", {"version": 3, "stage": "late"}) == {"n": 1}
    # Elsewhere in the same repository the words still name the stage.
    butler.put({"n": 2}, "other", visit=1, stage="sfm")
    assert butler.get("other:sfm", visit=1) == {"n": 2}


def test_a_bare_name_that_exists_only_with_stages_lists_them(butler: Butler) -> None:
    with pytest.raises(DatasetNameError, match=r"calexp.*calexp:sfm, calexp:jointcal"):
        butler.get("calexp", ID)
    with pytest.raises(DatasetNameError, match=r"calexp:jointcal"):
        butler.get("calexp.psf", ID)
    with pytest.raises(DatasetNameError, match=r"calexp:jointcal"):
        butler.get("calexp:", ID)


def test_an_unknown_stage_lists_the_stages_and_the_nearest(butler: Butler) -> None:
    with pytest.raises(DatasetTypeNotFoundError, match=r"'jointcall'.*did you mean 'jointcal'.*sfm, jointcal"):
        butler.get("calexp:jointcall", TRACT_ID)
    with pytest.raises(DatasetTypeNotFoundError, match=r"jointcal"):
        butler.get("calexp", {**ID, "stage": "jointcall"})
    with pytest.raises(LookupError):
        butler.get("calexp:coadd", ID)


def test_an_unknown_type_names_the_nearest(butler: Butler) -> None:
    with pytest.raises(DatasetTypeNotFoundError, match=r"'calexpp'.*did you mean 'calexp'"):
        butler.get("calexpp", ID)


def test_an_unknown_component_names_the_nearest_and_lists_all(butler: Butler) -> None:
    with pytest.raises(ComponentNotFoundError, match=r"'pfs'.*did you mean 'psf'.*image, wcs, photo_calib, psf"):
        butler.get("calexp:sfm.pfs", ID)
    with pytest.raises(ComponentNotFoundError, match=r"'pfs'.*did you mean 'psf'"):
        butler.get("calexp:jointcal.pfs", TRACT_ID)
    with pytest.raises(ComponentNotFoundError, match=r"sigma"):
        butler.get("calexp:sfm.psf.sigma", ID)


@pytest.mark.parametrize("spelling", ["photoCalib", "photo_calib", "photocalib", "calib"])
@pytest.mark.parametrize("name", ["calexp:sfm", "calexp:jointcal"])
def test_component_names_match_in_either_spelling(butler: Butler, name: str, spelling: str) -> None:
    assert butler.get(f"{name}.{spelling}", TRACT_ID) == ({"zero": 25} if name.endswith("sfm") else {"zero": 7})


@pytest.mark.parametrize("name", ["", ".", "a..b", "calexp:a:b", "calexp.", "1abc", "a b", "a/b", "x" * 300, "a\0b"])
def test_what_is_no_name_is_a_dataset_name_error(butler: Butler, name: str) -> None:
    with pytest.raises(DatasetNameError):
        butler.get(name, ID)


def test_a_name_that_is_no_string_is_a_dataset_name_error(butler: Butler) -> None:
    with pytest.raises(DatasetNameError, match="int"):
        butler.get(7, ID)  # type: ignore[arg-type]


def test_an_earlier_stage_is_never_given_instead(butler: Butler) -> None:
    assert butler.exists("calexp:sfm", ID)
    assert not butler.exists("calexp:jointcal", {**ID, "tract": 4})
    with pytest.raises(DatasetNotFoundError, match=r"calexp:jointcal"):
        butler.get("calexp:jointcal", {**ID, "tract": 4})


ALIASED = """
datasets:
  calexp: {python: dict, storage: Json, template: "old/{visit:d}.json"}
  calexp:sfm: {python: dict, storage: Json, template: "sfm/{visit:d}.json"}
  box: {composite: {inside: calexp}}
aliases: {calexp: calexp:sfm}
"""


@pytest.fixture
def aliased(world: World) -> Butler:
    butler = world.butler("a", ALIASED)
    butler.put({"n": "bare"}, "calexp:", visit=1)
    butler.put({"n": "sfm"}, "calexp:sfm", visit=1)
    return butler


def test_an_alias_hides_a_type_of_the_same_name(aliased: Butler) -> None:
    assert aliased.get("calexp", visit=1) == {"n": "sfm"}


def test_what_an_alias_hides_is_reached_with_an_empty_stage(aliased: Butler) -> None:
    assert aliased.get("calexp:", visit=1) == {"n": "bare"}
    assert aliased.get("calexp", stage="", visit=1) == {"n": "bare"}
    assert aliased.get("calexp", {"visit": 1, "version": ""}) == {"n": "bare"}


def test_aliases_apply_to_puts_and_queries_too(aliased: Butler) -> None:
    aliased.put({"n": 2}, "calexp", visit=2)
    assert aliased.get("calexp:sfm", visit=2) == {"n": 2}
    assert [ref.name for ref in aliased.query("calexp")] == ["calexp:sfm"] * 2
    assert aliased.keys("calexp") == ("visit",)


def test_an_alias_does_not_apply_where_the_stage_comes_in_the_data_id(aliased: Butler) -> None:
    assert aliased.get("calexp", visit=1, stage="sfm") == {"n": "sfm"}


def test_aliases_never_apply_inside_definitions(aliased: Butler) -> None:
    assert aliased.get("box", visit=1) == {"inside": {"n": "bare"}}


def test_an_alias_applies_to_the_components_of_a_bare_name(butler: Butler) -> None:
    butler.alias("calexp", "calexp:jointcal")
    assert butler.get("calexp.wcs", TRACT_ID) == {"crval": 7}
    assert butler.get("calexp.psf", TRACT_ID) == {"sigma": 2.0}
    assert butler.get("calexp", TRACT_ID) == frame(wcs={"crval": 7}, photo_calib={"zero": 7})


def test_a_stage_makes_itself_the_default_in_its_own_repository_only(world: World, butler: Butler) -> None:
    butler.alias("calexp", "calexp:jointcal")
    assert world.reader("joint").get("calexp.wcs", TRACT_ID) == {"crval": 7}
    with pytest.raises(DatasetNameError):
        world.reader("sfm").get("calexp.wcs", ID)
    assert butler.aliases() == {"calexp": "calexp:jointcal"}


def test_an_alias_of_what_is_not_defined_is_a_definition_error(butler: Butler) -> None:
    with pytest.raises(DefinitionError, match=r"jointcall.*did you mean"):
        butler.alias("calexp", "calexp:jointcall")


def test_an_alias_with_a_stage_is_refused(butler: Butler) -> None:
    with pytest.raises(DefinitionError):
        butler.alias("calexp:x", "calexp:jointcal")


def test_a_definition_under_a_components_name_is_that_component(world: World) -> None:
    # Neither named under composite nor anywhere else: the name alone says it.
    butler = world.butler(
        "a",
        """
        datasets:
          w:raw: {python: dict, storage: Json, template: "raw/{visit:d}.json"}
          both.w:late: {python: dict, storage: Json, template: "late/{visit:d}.json"}
          both:late: {composite: {other: w:raw}}
        """,
    )
    butler.put({"w": {"n": 1}, "other": {"n": 2}}, "both:late", visit=1)
    assert butler.get("both:late", visit=1) == {"w": {"n": 1}, "other": {"n": 2}}
    assert butler.get("both.w:late", visit=1) == butler.get("both:late.w", visit=1) == {"n": 1}
    assert world.files("a") == ["late/1.json", "raw/1.json"]


def test_a_definition_under_a_components_name_that_the_composite_maps_elsewhere_is_refused(world: World) -> None:
    with pytest.raises(DefinitionError, match=r"both:late"):
        world.butler(
            "a",
            """
            datasets:
              w:raw: {python: dict, storage: Json, template: "raw/{visit:d}.json"}
              both.w:late: {python: dict, storage: Json, template: "late/{visit:d}.json"}
              both:late: {composite: {w: w:raw}}
            """,
        )


def test_every_call_knows_stages_and_components(butler: Butler) -> None:
    assert butler.uri("calexp.wcs:jointcal", TRACT_ID).endswith("wcs-1-N3.json")
    assert butler.defer("calexp.wcs: jointcal", TRACT_ID).get() == {"crval": 7}
    assert butler.keys("calexp.wcs:jointcal") == ("tract", "visit", "ccd")
    assert butler.query("calexp.wcs:jointcal").first().name == "calexp:jointcal.wcs"  # type: ignore[union-attr]
    with pytest.raises(AssemblyError, match="plan"):
        butler.uri("calexp:jointcal", TRACT_ID)


def test_the_bare_type_with_an_unneeded_stage_says_so(world: World) -> None:
    butler = world.butler("a", 'datasets: {conf: {python: dict, storage: Json, template: "{visit:d}.json"}}')
    butler.put({}, "conf", visit=1)
    with pytest.raises(DatasetTypeNotFoundError, match=r"no stage 'late' of 'conf'.*leave the stage out"):
        butler.get("conf:late", visit=1)
    assert butler.get("conf:", visit=1) == {}
    assert butler.get("conf", stage="", visit=1) == {}
    assert butler.get("conf", stage=None, visit=1) == {}
