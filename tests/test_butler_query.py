"""query: which data IDs there are, of stored types, parts, composites and aggregates (design 4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table

from bunter import (
    Butler,
    ComponentNotFoundError,
    DataIdError,
    DatasetNameError,
    DatasetRef,
    DatasetTypeNotFoundError,
    ParameterError,
)
from tests.core_support import FRAMES, HERE, ID, TRACT_ID, Pair, World, frame, making_world, pair_policy

POLICY = (
    pair_policy("Pair")
    + """
  coadd: {python: dict, storage: Json, template: "coadd/{tract:d}/{filter}.json"}
  temperature: {python: dict, storage: Json, template: "t/{kelvin:g}.json"}
"""
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    made = world.butler("a", POLICY)
    for visit in (3, 1, 20):
        for ccd in ("S1", "N3"):
            made.put({"n": visit}, "wcs", visit=visit, ccd=ccd)
    for tract in (0, 1):
        for name in "gri":
            made.put({"n": tract}, "coadd", tract=tract, filter=name)
    return made


def values(query: Any, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(data_id[key] for key in keys) for data_id in query.data_ids]


def test_refs_come_in_key_order(world: World, butler: Butler) -> None:
    query = butler.query("wcs")
    assert values(query, "visit", "ccd") == [
        (1, "N3"), (1, "S1"), (3, "N3"), (3, "S1"), (20, "N3"), (20, "S1"),
    ]  # fmt: skip
    refs = list(query)
    assert all(isinstance(ref, DatasetRef) for ref in refs)
    assert refs[0].name == "wcs"
    assert refs[0].data_id == {"visit": 1, "ccd": "N3"}
    assert refs[0].repository == str(world.folder / "a")
    assert refs[0].get() == {"n": 1}
    assert refs[4].uri == str(world.folder / "a/wcs/20-N3.json")


def test_count_first_len_and_table(butler: Butler) -> None:
    query = butler.query("wcs")
    assert query.count() == len(query) == 6
    assert query.first() == next(iter(query))
    table = query.to_table()
    assert isinstance(table, Table)
    assert table.colnames == ["visit", "ccd"]
    assert list(table["visit"]) == [1, 1, 3, 3, 20, 20]
    none = butler.query("wcs", visit=99)
    assert (none.count(), none.first(), list(none), none.to_table().colnames) == (0, None, [], ["visit", "ccd"])
    assert len(none.to_table()) == 0


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("visit = 1", [1, 1]),
        ("visit = 1 and ccd = 'N3'", [1]),
        ("visit > 1", [3, 3, 20, 20]),
        ("not visit > 1", [1, 1]),
        ("visit in (1, 20)", [1, 1, 20, 20]),
        ("visit = 1 or visit = 3 and ccd = 'S1'", [1, 1, 3]),
        ("(visit = 1 or visit = 3) and ccd = 'S1'", [1, 3]),
        ("visit != 3", [1, 1, 20, 20]),
        ("ccd in ('X')", []),
    ],
)
def test_where(butler: Butler, where: str, expected: list[int]) -> None:
    assert [visit for (visit,) in values(butler.query("wcs", where=where), "visit")] == expected


def test_where_of_the_design(butler: Butler) -> None:
    query = butler.query("coadd", where="tract = 0 and filter in ('g', 'r')")
    assert values(query, "tract", "filter") == [(0, "g"), (0, "r")]


@pytest.mark.parametrize(
    "where", ["visit =", "visit = 1; drop table d1", "__import__('os')", "(" * 500, "visit == 'a", ""]
)
def test_a_where_that_is_none_is_a_parameter_error(butler: Butler, where: str) -> None:
    with pytest.raises(ParameterError):
        butler.query("wcs", where=where)
    assert butler.query("wcs").count() == 6


def test_unknown_keys_in_where_and_order_by_name_the_nearest(butler: Butler) -> None:
    with pytest.raises(ParameterError, match=r"'vist'.*did you mean 'visit'"):
        butler.query("wcs", where="vist = 1")
    with pytest.raises(ParameterError, match=r"'vist'.*did you mean 'visit'"):
        butler.query("wcs", order_by="vist")
    with pytest.raises(ParameterError, match="tract"):
        butler.query("wcs", where="tract = 1")


def test_where_compares_like_with_like(butler: Butler) -> None:
    with pytest.raises(ParameterError, match="visit"):
        butler.query("wcs", where="visit = 'one'")
    with pytest.raises(ParameterError, match="ccd"):
        butler.query("wcs", where="ccd = 3")


def test_strings_in_where_are_normalised_as_values_are(world: World) -> None:
    butler = world.butler("b", 'datasets: {conf: {python: dict, storage: Json, template: "{field}.json"}}')
    butler.put({}, "conf", field="Caf\u00e9 'x'")
    assert butler.query("conf", where="field = 'Cafe\u0301 ''x'''").count() == 1


def test_order_by(butler: Butler) -> None:
    assert values(butler.query("wcs", order_by="ccd"), "ccd", "visit")[:3] == [("N3", 1), ("N3", 3), ("N3", 20)]
    assert values(butler.query("wcs", order_by="-visit"), "visit", "ccd")[:2] == [(20, "N3"), (20, "S1")]
    assert values(butler.query("wcs", order_by=["-ccd", "-visit"]), "ccd", "visit")[:2] == [("S1", 20), ("S1", 3)]


def test_limit(butler: Butler) -> None:
    assert values(butler.query("wcs", order_by="-visit", limit=1), "visit") == [(20,)]
    assert butler.query("wcs", limit=0).count() == 0
    assert butler.query("wcs", limit=99).count() == 6
    for limit in (-1, 1.5, True, "2"):
        with pytest.raises(ParameterError, match="limit"):
            butler.query("wcs", limit=limit)  # type: ignore[arg-type]


def test_constraints_by_key(butler: Butler) -> None:
    assert butler.query("wcs", visit=1).count() == 2
    assert butler.query("wcs", {"visit": 1}, ccd="N3").count() == 1
    assert butler.query("wcs", dataId={"ccd": "N3"}, where="visit > 1").count() == 2
    with pytest.raises(DataIdError, match="int"):
        butler.query("wcs", visit="1")


def test_keys_of_a_query_are_strict(butler: Butler) -> None:
    with pytest.raises(DataIdError, match=r"'tract'.*visit, ccd"):
        butler.query("wcs", tract=1)
    with pytest.raises(DataIdError, match=r"'vist'.*did you mean 'visit'"):
        butler.query("wcs", vist=1)


def test_unknown_names(butler: Butler) -> None:
    with pytest.raises(DatasetTypeNotFoundError, match="did you mean 'wcs'"):
        butler.query("wsc")
    with pytest.raises(ComponentNotFoundError, match="did you mean 'wcs'"):
        butler.query("pair.wsc")
    with pytest.raises(DatasetNameError):
        butler.query("a b")


def test_float_keys(butler: Butler) -> None:
    for kelvin in (4.2, 77.0, -1.5):
        butler.put({"t": kelvin}, "temperature", kelvin=kelvin)
    assert values(butler.query("temperature"), "kelvin") == [(-1.5,), (4.2,), (77.0,)]
    assert butler.query("temperature", where="kelvin > 4").count() == 2
    assert butler.get("temperature", kelvin=77) == {"t": 77.0}


def test_the_columns_of_a_table_have_the_types_of_the_keys(butler: Butler) -> None:
    butler.put({"t": 1}, "temperature", kelvin=4.2)
    assert butler.query("temperature").to_table()["kelvin"].dtype.kind == "f"
    table = butler.query("wcs").to_table()
    assert [table[name].dtype.kind for name in ("visit", "ccd")] == ["i", "U"]
    assert list(table["ccd"]) == ["N3", "S1"] * 3
    table["visit"][0] = 5
    assert butler.query("wcs").to_table()["visit"][0] == 1


# Composites


def test_a_composite_has_the_data_ids_whose_required_leaves_all_resolve(butler: Butler) -> None:
    assert butler.query("pair").count() == 0
    butler.put({"z": 1}, "calib", visit=3, ccd="N3")
    butler.put({"z": 1}, "calib", visit=7, ccd="N3")
    query = butler.query("pair")
    assert query.data_ids == [{"visit": 3, "ccd": "N3"}]
    assert [ref.get() for ref in query] == [Pair({"n": 3}, {"z": 1})]
    assert butler.query("pair", where="visit = 7").count() == 0
    assert butler.query("pair.calib").count() == 2
    assert butler.query("pair.wcs", visit=1).count() == 2


def test_what_query_finds_exists_and_can_be_read(butler: Butler) -> None:
    butler.put({"z": 1}, "calib", visit=3, ccd="N3")
    for name in butler.dataset_types():
        for ref in butler.query(name):
            assert butler.exists(name, ref.data_id)
            ref.get()


def test_over_a_chain_every_data_id_comes_once(world: World, butler: Butler) -> None:
    child = world.butler("b", inputs="a")
    child.put({"n": 100}, "wcs", visit=1, ccd="N3")
    child.put({"n": 5}, "wcs", visit=5, ccd="N3")
    query = child.query("wcs", ccd="N3")
    assert values(query, "visit") == [(1,), (3,), (5,), (20,)]
    assert [ref.get()["n"] for ref in query] == [100, 3, 5, 20]
    assert [Path(str(ref.repository)).name for ref in query] == ["b", "a", "b", "a"]
    child.put({"z": 1}, "calib", visit=3, ccd="N3")
    assert child.query("pair").data_ids == [{"visit": 3, "ccd": "N3"}]
    assert butler.query("pair").count() == 0


def test_components_of_different_keys_are_joined(world: World) -> None:
    butler = world.butler("b", FRAMES)
    butler.put(frame(), "calexp:sfm", ID)
    butler.put(frame(1), "calexp:sfm", visit=2, ccd="N3")
    for tract in (0, 1):
        butler.put({"n": tract}, "calexp:jointcal.wcs", {**ID, "tract": tract})
        butler.put({"n": tract}, "calexp:jointcal.photoCalib", {**ID, "tract": tract})
    query = butler.query("calexp:jointcal", where="tract = 1")
    assert query.data_ids == [{**ID, "tract": 1}]
    assert butler.query("calexp:jointcal").count() == 2
    assert butler.query("calexp:jointcal.psf").data_ids == [ID, {"visit": 2, "ccd": "N3"}]
    assert butler.query("calexp:jointcal.wcs", TRACT_ID).count() == 1
    assert butler.query("calexp:sfm.psf").count() == 2


def test_optional_components_do_not_count(world: World) -> None:
    policy = POLICY + "  maybe: {composite: {wcs: wcs, calib: {datasetType: calib, optional: true}}}\n"
    butler = world.butler("b", policy)
    butler.put({"n": 1}, "wcs", ID)
    assert butler.query("maybe").data_ids == [ID]


def test_a_put_composite_whose_components_name_is_gone_is_found(butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", visit=1, ccd="N3")
    butler.delete("calib", visit=1, ccd="N3", force=True)
    assert butler.query("pair").data_ids == [{"visit": 1, "ccd": "N3"}]
    butler.delete("pair", visit=1, ccd="N3")
    assert butler.query("pair").count() == 0


def test_nested_composites(world: World) -> None:
    policy = (
        POLICY
        + """
  image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  outer: {composite: {image: image, both: pair}}
"""
    )
    butler = world.butler("b", policy)
    for visit in (1, 2):
        butler.put([1], "image", visit=visit, ccd="N3")
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", visit=2, ccd="N3")
    assert butler.query("outer").data_ids == [{"visit": 2, "ccd": "N3"}]
    assert butler.query("outer.both.wcs").data_ids == [{"visit": 2, "ccd": "N3"}]


# Aggregates


AGGREGATES = f"""
datasets:
  item: {{python: dict, storage: Json, template: "item/{{tract:d}}-{{patch}}.json"}}
  head: {{python: dict, storage: Json, template: "head/{{tract:d}}.json"}}
  per_tract:
    composite: {{items: {{datasetType: item, subset: true}}}}
    keys: [tract]
    assembler: {HERE}.add_all
  everything: {{composite: {{items: {{datasetType: item, subset: true}}}}, assembler: {HERE}.add_all}}
  with_head: {{composite: {{head: head, items: {{datasetType: item, subset: true}}}}}}
"""


@pytest.fixture
def aggregates(world: World) -> Butler:
    made = world.butler("b", AGGREGATES)
    for tract, patch in ((0, "a"), (0, "b"), (1, "a")):
        made.put({"n": 1}, "item", tract=tract, patch=patch)
    return made


def test_an_aggregate_with_keys_of_its_own_has_those(aggregates: Butler) -> None:
    query = aggregates.query("per_tract")
    assert query.data_ids == [{"tract": 0}, {"tract": 1}]
    assert [ref.get() for ref in query] == [2, 1]


def test_a_pure_aggregate_has_the_data_id_that_was_asked_for(aggregates: Butler) -> None:
    assert aggregates.query("everything").data_ids == [{}]
    assert aggregates.query("everything").first().get() == 3  # type: ignore[union-attr]
    assert aggregates.query("everything", tract=0).data_ids == [{"tract": 0}]
    assert aggregates.query("everything", tract=0).first().get() == 2  # type: ignore[union-attr]
    assert aggregates.query("everything", tract=9).count() == 0


def test_a_composite_with_a_list_needs_a_member(aggregates: Butler) -> None:
    aggregates.put({}, "head", tract=1)
    aggregates.put({}, "head", tract=2)
    assert aggregates.query("with_head").data_ids == [{"tract": 1}]
    assert not aggregates.exists("with_head", tract=2)


# Implied keys


def test_implied_keys_constrain_and_are_no_columns(world: World) -> None:
    policy = """
    implied: {filter: [visit]}
    datasets:
      image: {python: list, storage: Json, template: "{filter}/{visit:d}-{ccd}.json"}
      extra: {python: list, storage: Json, template: "extra/{visit:d}-{ccd}.json"}
      both: {composite: {image: image, extra: extra}}
    """
    butler = world.butler("b", policy)
    for visit, name in ((1, "r"), (2, "g"), (3, "r")):
        butler.put([visit], "image", visit=visit, ccd="N3", filter=name)
        butler.put([visit], "extra", visit=visit, ccd="N3")
    assert values(butler.query("image", where="filter = 'r'"), "visit") == [(1,), (3,)]
    assert values(butler.query("image", filter="g"), "visit") == [(2,)]
    assert values(butler.query("extra", filter="g"), "visit") == [(2,)]
    assert values(butler.query("both", where="filter = 'r' and visit > 1"), "visit") == [(3,)]
    assert butler.query("image").to_table().colnames == ["visit", "ccd"]
    child = world.butler("c", inputs="b")
    assert values(child.query("both", where="filter = 'r'"), "visit") == [(1,), (3,)]


def test_a_query_is_of_its_moment(butler: Butler) -> None:
    query = butler.query("wcs", visit=1)
    butler.delete("wcs", visit=1, ccd="N3")
    assert query.count() == 2
    assert butler.query("wcs", visit=1).count() == 1


def test_many(world: World) -> None:
    butler = world.butler("b", 'datasets: {conf: {python: dict, storage: Json, template: "{visit:d}.json"}}')
    with butler.transaction():
        for visit in range(300):
            butler.put({}, "conf", visit=visit)
    assert butler.query("conf").count() == 300
    assert butler.query("conf", where="visit >= 100 and visit < 110").count() == 10
