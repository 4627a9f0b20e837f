"""The built-in assemblers for tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table

from bunter import AssemblyError, DataId, PhotoCalib, SourceCatalog
from bunter.assembly import MemberList
from bunter.assembly_columns import join_columns
from bunter.assembly_rows import concat_rows
from tests.core_support import World, making_world, text_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def structured(columns: dict[str, list[Any]]) -> Any:
    return Table(columns).as_array()


KINDS = [Table, pa.table, pd.DataFrame, structured]
KIND_NAMES = ["astropy", "arrow", "pandas", "structured"]


def values(table: Any, column: str) -> list[Any]:
    return np.asarray(table[column]).tolist()


def names(table: Any) -> list[str]:
    for attribute in ("colnames", "column_names", "columns"):
        if hasattr(table, attribute):
            return list(getattr(table, attribute))
    return list(table.dtype.names)


def members(*tables: Any) -> dict[str, Any]:
    return {"items": MemberList(tables, [DataId(patch=number) for number in range(len(tables))])}


# concat_rows


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_rows_follow_one_another_in_the_order_of_the_list(kind: Any) -> None:
    made = concat_rows({}, members(kind({"a": [1, 2], "b": [0.5, 1.5]}), kind({"b": [2.5], "a": [3]})), None)
    assert type(made) is type(kind({"a": [1]}))
    assert names(made) == ["a", "b"]
    assert values(made, "a") == [1, 2, 3]
    assert values(made, "b") == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_one_member_and_empty_members(kind: Any) -> None:
    one = kind({"a": [1, 2]})
    empty = one[:0] if not isinstance(one, pa.Table) else one.slice(0, 0)
    assert values(concat_rows({}, members(one), None), "a") == [1, 2]
    assert values(concat_rows({}, members(empty, one, empty), None), "a") == [1, 2]
    assert len(concat_rows({}, members(empty, empty), None)) == 0


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_other_columns_are_an_assembly_error_that_names_the_member(kind: Any) -> None:
    with pytest.raises(AssemblyError, match=r"'patch': 1.*lacking: b; extra: c"):
        concat_rows({}, members(kind({"a": [1], "b": [1]}), kind({"a": [1], "c": [1]})), None)


def test_the_members_are_not_changed() -> None:
    one, two = Table({"a": [1]}), Table({"a": [2]})
    made = concat_rows({}, members(one, two), None)
    made["a"][0] = 99
    assert list(one["a"]) == [1]


def test_the_class_that_is_wanted_is_handed_out() -> None:
    arrow = members(pa.table({"a": [1]}), pa.table({"a": [2]}))
    assert isinstance(concat_rows({}, arrow, pd.DataFrame), pd.DataFrame)
    assert isinstance(concat_rows({}, arrow, SourceCatalog), SourceCatalog)
    mixed = concat_rows({}, members(Table({"a": [1]}), pa.table({"a": [2]})), Table)
    assert values(mixed, "a") == [1, 2]


def test_types_are_promoted() -> None:
    ints, floats = {"a": np.array([1], "i4")}, {"a": np.array([2.5])}
    for kind in KINDS:
        assert values(concat_rows({}, members(kind(ints), kind(floats)), None), "a") == [1.0, 2.5]
    strings = concat_rows({}, members(Table({"s": ["a"]}), Table({"s": ["longer"]})), None)
    assert list(strings["s"]) == ["a", "longer"]


def test_types_that_do_not_go_together_are_an_assembly_error() -> None:
    with pytest.raises(AssemblyError, match="do not go together"):
        concat_rows({}, members(pa.table({"a": [1]}), pa.table({"a": [[1]]})), None)
    with pytest.raises(AssemblyError, match="do not go together"):
        concat_rows({}, members(Table({"a": [1, 2]}), Table({"a": [[1, 2, 3]]})), None)


def test_units_are_kept_and_never_mixed() -> None:
    metres, kilometres = Table({"a": [1.0] * u.m}), Table({"a": [1.0] * u.km})
    metres, kilometres = (Table({"a": [1.0]}, units={"a": unit}) for unit in (u.m, u.km))
    assert concat_rows({}, members(metres, metres), None)["a"].unit == u.m
    with pytest.raises(AssemblyError, match=r"'a' has several units: m, km"):
        concat_rows({}, members(metres, kilometres), None)
    quantities = concat_rows({}, members(QTable({"a": [1.0] * u.m}), QTable({"a": [1.0] * u.km})), None)
    np.testing.assert_allclose(quantities["a"].to_value("m"), [1, 1000])


def test_masks_are_kept() -> None:
    masked = Table({"a": MaskedColumn([1, 2], mask=[True, False])})
    made = concat_rows({}, members(Table({"a": [0]}), masked), None)
    assert made["a"].mask.tolist() == [False, True, False]


def test_meta_that_all_share_is_kept() -> None:
    one, two = Table({"a": [1]}, meta={"band": "r", "visit": 1}), Table({"a": [2]}, meta={"band": "r", "visit": 2})
    assert dict(concat_rows({}, members(one, two), None).meta) == {"band": "r"}


def test_what_is_attached_is_kept_if_it_holds_for_all_rows() -> None:
    calib, other = PhotoCalib(1.0), PhotoCalib(2.0)
    one, two = SourceCatalog({"a": [1]}, photo_calib=calib), SourceCatalog({"a": [2]}, photo_calib=PhotoCalib(1.0))
    three = SourceCatalog({"a": [3]}, photo_calib=other)
    assert concat_rows({}, members(one, two), None).photo_calib == calib
    made = concat_rows({}, members(one, three), None)
    assert isinstance(made, SourceCatalog)
    assert made.photo_calib is None
    assert concat_rows({}, members(one, SourceCatalog({"a": [3]})), None).photo_calib is None


def test_absent_members_and_absent_lists() -> None:
    assert values(concat_rows({}, members(None, Table({"a": [1]}), None), None), "a") == [1]
    assert concat_rows({}, {"items": None}, None) is None
    assert len(concat_rows({}, {"items": None}, Table)) == 0


def test_what_is_no_list_of_tables_is_an_assembly_error() -> None:
    with pytest.raises(AssemblyError, match=r"one list component.*2 of them among: a \(list\), b \(list\)"):
        concat_rows({}, {"a": [], "b": []}, None)
    with pytest.raises(AssemblyError, match="subset: true"):
        concat_rows({}, {"a": Table({"x": [1]})}, None)
    with pytest.raises(AssemblyError, match=r"'patch': 0.*dict"):
        concat_rows({}, members({"a": 1}), None)


# join_columns


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_columns_stand_side_by_side(kind: Any) -> None:
    made = join_columns({}, {"x": kind({"id": [1, 2], "a": [3, 4]}), "y": kind({"id": [1, 2], "b": [5.0, 6.0]})}, None)
    assert type(made) is type(kind({"a": [1]}))
    assert names(made) == ["id", "a", "b"]
    assert values(made, "b") == [5.0, 6.0]


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_clashing_columns_get_a_suffix(kind: Any) -> None:
    made = join_columns({}, {"b": kind({"id": [1], "flux": [1.0]}), "g": kind({"id": [1], "flux": [2.0]})}, None)
    assert names(made) == ["id", "flux_b", "flux_g"]
    assert (values(made, "flux_b"), values(made, "flux_g")) == ([1.0], [2.0])


def test_equal_duplicates_come_once_nan_included() -> None:
    flux = [1.0, float("nan")]
    made = join_columns({}, {"b": Table({"flux": flux}), "g": Table({"flux": flux}), "r": Table({"x": [1, 2]})}, None)
    assert names(made) == ["flux", "x"]


def test_a_suffix_that_is_taken_is_an_assembly_error() -> None:
    with pytest.raises(AssemblyError, match=r"'flux' clash.*'flux_g'"):
        join_columns({}, {"b": Table({"flux": [1], "flux_g": [1]}), "g": Table({"flux": [2]})}, None)


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_differing_lengths_are_an_assembly_error(kind: Any) -> None:
    with pytest.raises(AssemblyError, match=r"x has 2, y has 1"):
        join_columns({}, {"x": kind({"a": [1, 2]}), "y": kind({"b": [1]})}, None)


def test_joined_members_are_not_changed_and_absent_ones_left_out() -> None:
    one = Table({"a": [1]})
    made = join_columns({}, {"x": one, "y": None, "z": Table({"b": [2]})}, None)
    made["a"][0] = 9
    assert list(one["a"]) == [1]
    assert names(made) == ["a", "b"]
    assert join_columns({}, {"x": None}, None) is None


def test_joined_masks_units_and_attachments() -> None:
    one = SourceCatalog({"a": MaskedColumn([1, 2], mask=[True, False])}, photo_calib=PhotoCalib(1.0))
    two = SourceCatalog({"b": [1.0, 2.0]}, units={"b": u.nJy})
    made = join_columns({}, {"x": one, "y": two}, None)
    assert made["a"].mask.tolist() == [True, False]
    assert made["b"].unit == u.nJy
    assert made.photo_calib == PhotoCalib(1.0)
    three = SourceCatalog({"c": [1, 2]}, photo_calib=PhotoCalib(3.0))
    assert join_columns({}, {"x": one, "y": three}, None).photo_calib is None


def test_what_is_no_table_is_an_assembly_error() -> None:
    with pytest.raises(AssemblyError, match=r"'y' is a list"):
        join_columns({}, {"x": Table({"a": [1]}), "y": [1]}, None)


# In a policy


def test_they_are_named_in_a_policy(world: World) -> None:
    butler = world.butler(
        "a",
        """
        datasets:
          src: {python: astropy.table.Table, storage: Parquet, template: "{tract:d}/{filter}/{patch}.parquet"}
          all_src:
            python: astropy.table.Table
            composite: {parts: {datasetType: src, subset: true}}
            keys: [tract, filter]
            assembler: concat_rows
          src_bg:
            python: astropy.table.Table
            composite:
              blue: {datasetType: src, dataId: {filter: b}}
              green: {datasetType: src, dataId: {filter: g}}
            assembler: join_columns
        """,
        trust=(),
    )
    for name in "bg":
        for number, patch in enumerate(("p1", "p2")):
            table = Table({"id": [10 * number, 10 * number + 1], "flux": [ord(name), number]})
            butler.put(table, "src", tract=0, filter=name, patch=patch)
    assert values(butler.get("all_src", tract=0, filter="g"), "id") == [0, 1, 10, 11]
    joined = butler.get("src_bg", tract=0, patch="p2")
    assert joined.colnames == ["id", "flux_blue", "flux_green"]
    assert butler.keys("src_bg") == ("tract", "patch")
    with pytest.raises(AssemblyError, match="read-only"):
        butler.put(joined, "src_bg", tract=0, patch="p2")
    butler.put(Table({"id": [1], "flux": [1], "extra": [1]}), "src", tract=0, filter="g", patch="p3")
    with pytest.raises(AssemblyError, match="extra") as caught:
        butler.get("all_src", tract=0, filter="g")
    assert "while assembling 'all_src'" in text_of(caught.value)
