"""Use case 5: an object table that is stored as several tables of columns.

Positions, fluxes of each band and shapes are written by different tasks, in different formats; ``object`` is all of
them side by side, and a few columns of it cost the reading of those tables alone that have them.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from astropy.time import Time

from bunter import (
    AssemblyError,
    Butler,
    DefinitionError,
    ParameterError,
    PhotoCalib,
    RepositoryArgs,
    SourceCatalog,
)
from bunter.assembly import ColumnSet
from bunter.assembly_columns import JoinColumns
from bunter.definitions import load
from bunter.formats.convert import convert
from bunter.formats.tables import names_of

from .counting import Counted

HERE = __name__
ROWS = 20_000

POLICY = """
datasets:
  object_ref: {python: bunter.SourceCatalog, storage: FitsTable, template: "object/{tract:d}/ref.fits"}
  object_g: {python: pyarrow.Table, storage: Parquet, template: "object/{tract:d}/g.parquet"}
  object_r: {python: astropy.table.Table, storage: FitsTable, template: "object/{tract:d}/r.fits"}
  object_shape: {python: pandas.DataFrame, storage: Csv, template: "object/{tract:d}/shape.csv"}
  object:
    python: bunter.SourceCatalog
    composite: {ref: object_ref, g: object_g, r: object_r, shape: object_shape}
    assembler: join_columns(objectId)
  object_in_order:
    composite: {ref: object_ref, g: object_g}
    assembler: join_columns
"""


def the_tables(rows: int = ROWS) -> dict[str, Any]:
    random = np.random.default_rng(5)
    ids = np.arange(rows) + 100
    other = random.permutation(rows)
    fluxes = {f"flux{i:02d}_g": random.normal(size=rows) for i in range(20)}
    return {
        "object_ref": SourceCatalog({"objectId": ids, "ra": np.linspace(10, 11, rows) * u.deg, "flag": ids % 2 == 0}),
        "object_g": pa.table({"objectId": ids, **fluxes, "flag": ids % 3 == 0}),
        "object_r": Table({"objectId": ids[other], "flux_r": ids[other] * 2.0, "flag": ids[other] % 2 == 0}),
        "object_shape": pd.DataFrame({"objectId": ids[::-1], "e1": ids[::-1] / 1000.0}),
    }


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uc5") / "objects"
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        for name, table in the_tables().items():
            butler.put(table, name, tract=0)
    return root


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    with Butler(repository) as made:
        yield made


def test_tables_of_three_formats_are_one_by_their_key(butler: Butler) -> None:
    found = butler.get("object", tract=0)
    assert type(found) is SourceCatalog
    assert len(found) == ROWS
    ids = np.asarray(found["objectId"])
    np.testing.assert_array_equal(ids, np.arange(ROWS) + 100)
    np.testing.assert_array_equal(found["flux_r"], ids * 2.0)
    np.testing.assert_array_equal(found["e1"], ids / 1000.0)
    assert found["ra"].unit == u.deg
    assert len(found.colnames) == 1 + 1 + 20 + 1 + 1 + 3, "objectId once; three times flag, which differs in g"
    assert {"flag_ref", "flag_g", "flag_r"} <= set(found.colnames)


def test_without_a_key_the_rows_are_taken_in_their_order(butler: Butler) -> None:
    found = butler.get("object_in_order", tract=0)
    assert found.colnames[:2] == ["objectId", "ra"], "the same in both, and therefore once"
    assert {"flag_ref", "flag_g"} <= set(found.colnames)
    assert type(found) is SourceCatalog, "what the first component is"


COLUMNS = [["e1"], ["flux_r", "ra"], ["objectId"], ["flag_g"], ["flux07_g", "objectId", "flag_ref"]]


@pytest.mark.parametrize("columns", COLUMNS, ids="-".join)
def test_a_selection_is_what_the_whole_has(butler: Butler, columns: list[str]) -> None:
    whole = butler.get("object", tract=0)
    found = butler.get("object", tract=0, parameters={"columns": columns})
    assert found.colnames == columns
    assert type(found) is SourceCatalog
    for column in columns:
        np.testing.assert_array_equal(found[column], whole[column])
        assert found[column].unit == whole[column].unit


def test_a_selection_reads_only_the_tables_that_it_needs(butler: Butler, repository: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in (repository / "object" / "0").iterdir()}
    assert sizes["g.parquet"] > 2_500_000
    with Counted() as io:
        butler.get("object", tract=0)
    assert io.read > sum(sizes.values()) * 0.99
    butler.get("object", tract=0, parameters={"columns": ["e1"]})
    with Counted() as io:
        butler.get("object", tract=0, parameters={"columns": ["e1"]})
    assert io.data_files(repository) == ["object/0/shape.csv"], "which columns a table has is known by now"
    assert io.read < sizes["shape.csv"] + 100_000
    with Counted() as io:
        butler.get("object", tract=0, parameters={"columns": ["flux07_g"]})
    assert set(io.data_files(repository)) == {"object/0/g.parquet"}
    assert io.read < sizes["g.parquet"] / 20 * 2 + 200_000, "of Parquet one column and the key, not all twenty-two"


def test_at_first_the_headers_of_the_others_are_read(repository: Path) -> None:
    with Butler(repository) as fresh:
        fresh.exists("object", tract=0)
        with Counted() as io:
            fresh.get("object", tract=0, parameters={"columns": ["e1"]})
    shape = (repository / "object" / "0" / "shape.csv").stat().st_size
    assert len(set(io.data_files(repository))) == 4
    assert io.read < shape + 200_000, "the table itself, and of 3.5 MB of others headers and footers"


def test_a_table_that_is_away_is_not_missed_by_those_who_do_not_need_it(butler: Butler, repository: Path) -> None:
    butler.get("object", tract=0, parameters={"columns": ["e1"]})
    file = repository / "object" / "0" / "g.parquet"
    file.rename(repository / "away")
    try:
        assert len(butler.get("object", tract=0, parameters={"columns": ["e1", "flux_r"]})) == ROWS
    finally:
        (repository / "away").rename(file)


def test_the_plan_says_what_would_be_read(butler: Butler) -> None:
    plan = butler.plan("object", tract=0, parameters={"columns": ["flux_r"]})
    columns = {leaf["component"]: leaf["columns"] for leaf in plan.leaves()}
    assert columns == {"ref": [], "g": [], "r": ["objectId", "flux_r"], "shape": []}
    assert "not read" in str(plan)
    assert "columns objectId, flux_r" in str(plan)
    assert "columns" not in butler.plan("object", tract=0).leaves()[0]


def test_columns_that_are_not_there_are_named(butler: Butler) -> None:
    with pytest.raises(ParameterError, match=r"no column 'flux_x'; did you mean 'flux_r'\?; there are: objectId, ra"):
        butler.get("object", tract=0, parameters={"columns": ["ra", "flux_x"]})
    with pytest.raises(ParameterError, match=r"no column 'flag'.*flag_ref"):
        # Whether it comes with or without suffix is known once it was read.
        butler.get("object", tract=0, parameters={"columns": ["flag"]})
    for wrong in ("ra", [], 5, ["ra", "ra"]):
        with pytest.raises(ParameterError, match="columns"):
            butler.get("object", tract=0, parameters={"columns": wrong})


def test_it_cannot_be_put(repository: Path, tmp_path: Path) -> None:
    with (
        Butler(inputs=repository, outputs=tmp_path / "out") as butler,
        pytest.raises(AssemblyError, match="assembler but no disassembler"),
    ):
        butler.put(butler.get("object", tract=0), "object", tract=0)


@pytest.mark.parametrize("as_type", [Table, pa.Table, pd.DataFrame, np.ndarray])
def test_it_is_had_as_any_kind_of_table(butler: Butler, as_type: Any) -> None:
    found = butler.get("object", tract=0, parameters={"columns": ["flux_r", "e1"]}, as_type=as_type)
    assert isinstance(found, as_type)
    assert float(np.asarray(found["flux_r"])[3]) == 206.0


# How rows and columns go together


def structured(columns: Mapping[str, list[Any]]) -> Any:
    return Table(dict(columns)).as_array()


MAKES = pytest.mark.parametrize(
    "make", [Table, pa.table, pd.DataFrame, structured], ids=["astropy", "arrow", "pandas", "array"]
)


def listed(table: Any, column: str) -> list[Any]:
    if isinstance(table, pa.Table):
        return table[column].to_pylist()
    if isinstance(table, pd.DataFrame):
        return [None if value is pd.NA or value != value else value for value in table[column].tolist()]
    return np.ma.asarray(table[column]).tolist()


ONE = {"id": [3, 1, 2], "a": [30, 10, 20], "s": ["x", "y", "z"]}
TWO = {"id": [2, 4, 3], "b": [2.0, 4.0, 3.0], "t": ["two", "four", "three"]}


@MAKES
def test_inner_and_outer(make: Any) -> None:
    tables = {"one": make(ONE), "two": make(TWO)}
    inner = JoinColumns(["id"], how="inner")({}, dict(tables), None)
    assert type(inner) is type(tables["one"])
    assert [listed(inner, c) for c in ("id", "a", "b", "t")] == [[2, 3], [20, 30], [2.0, 3.0], ["two", "three"]]
    outer = JoinColumns(["id"], how="outer")({}, dict(tables), None)
    assert listed(outer, "id") == [1, 2, 3, 4]
    assert listed(outer, "a") == [10, 20, 30, None]
    assert listed(outer, "b") == [None, 2.0, 3.0, 4.0]
    assert listed(outer, "s") == ["y", "z", "x", None]


@MAKES
def test_keys_that_some_lack_are_named(make: Any) -> None:
    with pytest.raises(AssemblyError, match=r"'one' lacks id = 4; 'two' lacks id = 1\. Say how=inner"):
        JoinColumns(["id"])({}, {"one": make(ONE), "two": make(TWO)}, None)
    with pytest.raises(AssemblyError, match=r"'two' has several rows for id = 7"):
        JoinColumns(["id"], how="outer")({}, {"one": make(ONE), "two": make({"id": [7, 7], "b": [1, 2]})}, None)
    with pytest.raises(AssemblyError, match="'two' has no column id to join by; it has: b"):
        JoinColumns(["id"])({}, {"one": make(ONE), "two": make({"b": [1, 2]})}, None)


def test_keys_without_value_are_refused() -> None:
    nan = Table({"id": [1.0, float("nan")], "a": [1, 2]})
    masked = Table({"id": np.ma.array([1, 2], mask=[False, True]), "a": [1, 2]})
    null = pa.table({"id": [1, None], "a": [1, 2]})
    for table in (nan, masked, null, null.to_pandas()):
        with pytest.raises(AssemblyError, match="row 1 of 'two' has no value for the key 'id'"):
            JoinColumns(["id"])({}, {"one": Table({"id": [1, 5]}), "two": table}, None)


def test_several_keys_and_keys_of_text() -> None:
    one = Table({"tract": [1, 0, 0], "patch": ["0,0", "1,0", "0,0"], "a": [1, 2, 3]})
    two = pa.table({"patch": ["0,0", "0,0", "1,0"], "tract": [0, 1, 0], "b": [30, 10, 20]})
    made = JoinColumns(["tract", "patch"])({}, {"one": one, "two": two}, None)
    assert made.colnames == ["tract", "patch", "a", "b"]
    assert [list(row) for row in made] == [[0, "0,0", 3, 30], [0, "1,0", 2, 20], [1, "0,0", 1, 10]]


def test_outer_keeps_units_and_masks_mixin_columns() -> None:
    one = QTable({"id": [1], "q": [1.0] * u.m, "t": Time([50_000.0], format="mjd")})
    two = QTable({"id": [2], "b": [1.5]})
    made = JoinColumns(["id"], how="outer")({}, {"one": one, "two": two}, None)
    assert made["q"].unit == u.m
    assert made["q"].mask.tolist() == [False, True]
    assert made["t"].mask.tolist() == [False, True]
    assert made["t"][0].mjd == 50_000.0
    assert made["b"].mask.tolist() == [True, False]


@MAKES
def test_outer_with_an_empty_table(make: Any) -> None:
    empty = Table({"id": np.zeros(0, int), "b": np.zeros(0), "s": np.zeros(0, "U3")})
    kinds = {Table: Table, pa.table: pa.Table, pd.DataFrame: pd.DataFrame, structured: np.ndarray}
    none = convert(empty, kinds[make])
    made = JoinColumns(["id"], how="outer")({}, {"one": make({"id": [2, 1]}), "two": none}, None)
    assert listed(made, "id") == [1, 2]
    assert listed(made, "b") == [None, None]


def test_integers_that_lack_rows_stay_integers_in_pandas() -> None:
    big = 2**60 + 1
    made = JoinColumns(["id"], how="outer")(
        {},
        {"one": pd.DataFrame({"id": [1], "n": [big], "f": [True]}), "two": pd.DataFrame({"id": [2]})},
        None,
    )
    assert str(made["n"].dtype) == "Int64"
    assert made["n"][0] == big
    assert str(made["f"].dtype) == "boolean"


CLASHES = {
    "suffix": ["same", "differs_one", "differs_two"],
    "always": ["same_one", "differs_one", "same_two", "differs_two"],
    "first": ["same", "differs"],
}


@MAKES
@pytest.mark.parametrize("clash", CLASHES)
def test_clashes(make: Any, clash: str) -> None:
    tables = {"one": make({"same": [1, 2], "differs": [1, 2]}), "two": make({"same": [1, 2], "differs": [1, 3]})}
    made = JoinColumns(clash=clash)({}, dict(tables), None)
    assert sorted(names_of(made)) == sorted(CLASHES[clash])
    if clash == "first":
        assert listed(made, "differs") == [1, 2]


def test_clashes_can_be_errors() -> None:
    one, two = Table({"a": [1], "b": [1]}), Table({"a": [1], "b": [2]})
    with pytest.raises(AssemblyError, match=r"column 'b' is not the same in one, two \(clash=error\)"):
        JoinColumns(clash="error")({}, {"one": one, "two": two}, None)
    assert JoinColumns(clash="error")({}, {"one": one["a",], "two": two["a",]}, None).colnames == ["a"]
    taken = Table({"b_one": [1]})
    with pytest.raises(AssemblyError, match="'b_one' is taken"):
        JoinColumns()({}, {"one": one, "two": two, "three": taken}, None)


def test_meta_that_contradicts_is_left_out() -> None:
    one, two = Table({"a": [1]}, meta={"BAND": "g", "X": 1}), Table({"b": [1]}, meta={"BAND": "r", "Y": 2})
    assert JoinColumns()({}, {"one": one, "two": two}, None).meta == {"X": 1, "Y": 2}


@pytest.mark.parametrize("how", ["same", "inner", "outer"])
@pytest.mark.parametrize("clash", ["suffix", "always", "first", "error"])
def test_every_selection_is_what_the_whole_has(tmp_path: Path, how: str, clash: str) -> None:
    policy = {
        "datasets": {
            **{
                name: {"python": "astropy.table.Table", "storage": storage, "template": f"{name}-{{tract:d}}"}
                for name, storage in {"one": "Parquet", "two": "FitsTable", "three": "Ecsv"}.items()
            },
            "whole": {
                "composite": {name: name for name in ("one", "two", "three")},
                "assembler": f"join_columns(id, how={how}, clash={clash})",
            },
        }
    }
    there = [1, 2, 3] if how == "same" else [2, 3, 4]
    differs = 0.0 if clash == "error" else 1.0
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy), durability="fast") as butler:
        butler.put(Table({"id": [3, 2, 1], "a": [3, 2, 1], "x": [3.0, 2.0, 1.0], "y": [0, 0, 0]}), "one", tract=0)
        butler.put(Table({"id": there, "b": [1, 2, 3], "x": [i + differs for i in there]}), "two", tract=0)
        butler.put(Table({"id": there[::-1], "c": ["p", "q", "r"], "y": [0, 0, 0]}), "three", tract=0)
        if clash == "error" and how == "outer":
            with pytest.raises(AssemblyError, match="clash=error"):
                butler.get("whole", tract=0)
            return
        whole = butler.get("whole", tract=0)
        for column in whole.colnames:
            found = butler.get("whole", tract=0, parameters={"columns": [column]})
            assert found.colnames == [column]
            assert listed(found, column) == listed(whole, column), column
        backwards = butler.get("whole", tract=0, parameters={"columns": whole.colnames[::-1]})
        assert backwards.colnames == whole.colnames[::-1]
        assert type(found) is type(whole)


# Composites in composites, assemblers of users


NESTED = f"""
datasets:
  src: {{python: astropy.table.Table, storage: Parquet, template: "src/{{tract:d}}/{{patch}}-{{band}}.parquet"}}
  calib: {{python: bunter.PhotoCalib, storage: FitsPart, template: "calib/{{tract:d}}.fits"}}
  src_r: {{partOf: src, dataId: {{band: r}}}}
  src_g: {{partOf: src, dataId: {{band: g}}}}
  patch_object:
    composite: {{g: src_g, r: src_r}}
    assembler: join_columns(id, clash=always)
  tract_object:
    python: bunter.SourceCatalog
    composite:
      patches: {{datasetType: patch_object, subset: true}}
      photoCalib: calib
    assembler: concat_rows(patch)
  beside:
    composite: {{r: src_r, tract: calib}}
    assembler: {HERE}.renaming
  two_tables:
    composite: {{g: src_g, r: src_r}}
"""


class Renaming:
    """An assembler that says itself whose columns its result has."""

    def __call__(self, dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
        table = componentDict["r"]
        return Table({f"r_{name}": table[name] for name in table.colnames})

    def column_names(self, present: Mapping[str, ColumnSet]) -> list[str]:
        return [f"r_{name}" for name in present["r"].names]

    def select_columns(self, columns: list[str], present: Mapping[str, ColumnSet]) -> dict[str, list[str]]:
        return {"r": [column.removeprefix("r_") for column in columns]}


renaming = Renaming()


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Butler]:
    with Butler(outputs=RepositoryArgs(tmp_path / "nested", policy=NESTED), durability="fast", trust=[HERE]) as made:
        made.put(PhotoCalib(2.0), "calib", tract=0)
        for number, patch in enumerate(["0,0", "0,1"]):
            ids = np.arange(3) + 3 * number
            made.put(Table({"id": ids, "flux": ids * 1.0, "bad": ids > 2}), "src", tract=0, patch=patch, band="g")
            made.put(Table({"id": ids[::-1], "flux": ids[::-1] * 2.0}), "src", tract=0, patch=patch, band="r")
        yield made


def test_a_join_inside_of_an_aggregate(nested: Butler) -> None:
    whole = nested.get("tract_object", tract=0)
    assert whole.colnames == ["patch", "id", "flux_g", "bad", "flux_r"]
    assert whole.photo_calib == PhotoCalib(2.0)
    found = nested.get("tract_object", tract=0, parameters={"columns": ["flux_r", "patch"]})
    assert found.colnames == ["flux_r", "patch"]
    assert found["flux_r"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert found.photo_calib == PhotoCalib(2.0)
    read = {leaf["component"]: leaf.get("columns") for leaf in
            nested.plan("tract_object", tract=0, parameters={"columns": ["flux_r"]}).leaves()}  # fmt: skip
    assert [columns for name, columns in read.items() if name.endswith(".g")] == [[], []]
    assert [columns for name, columns in read.items() if name.endswith(".r")] == [["id", "flux"]] * 2
    keys = nested.get("tract_object", tract=0, parameters={"columns": ["patch"]})
    assert keys["patch"].tolist() == ["0,0"] * 3 + ["0,1"] * 3


def test_an_assembler_of_a_user_can_say_what_it_needs(nested: Butler) -> None:
    found = nested.get("beside", tract=0, patch="0,0", parameters={"columns": ["r_flux"]})
    assert found.colnames == ["r_flux"]
    with pytest.raises(ParameterError, match="did you mean 'r_flux'"):
        nested.get("beside", tract=0, patch="0,0", parameters={"columns": ["r_flox"]})


def test_other_composites_give_all_tables_the_same_columns(nested: Butler) -> None:
    found = nested.get("two_tables", tract=0, patch="0,0", parameters={"columns": ["flux"]})
    assert found["g"].colnames == found["r"].colnames == ["flux"]
    with pytest.raises(ParameterError, match="'bad'"):
        nested.get("two_tables", tract=0, patch="0,0", parameters={"columns": ["bad"]})


def test_a_list_is_not_joined(nested: Butler) -> None:
    components = {"all": {"datasetType": "src_g", "subset": True}, "one": "src_r"}
    nested.define({"datasets": {"wrong": {"composite": components, "assembler": "join_columns"}}})
    with pytest.raises(AssemblyError, match="'all' is a list: make a composite of it"):
        nested.get("wrong", tract=0, patch="0,0")


@pytest.mark.parametrize(
    ("assembler", "said"),
    [
        ("join_columns(id, how=left)", "how is one of same, inner, outer; found 'left'"),
        ("join_columns(id, clash=sufix)", "did you mean 'suffix'"),
        ("join_columns(id, on=x)", "join_columns has no option 'on'; it has: how, clash"),
        ("join_columns(how=outer)", "'how' goes with a join key"),
        ("join_columns(id, id)", "names 'id' twice"),
        ("join_columns(id, how=inner, how=outer)", "says 'how' twice"),
        ("join_columns(a b)", "'a b' is neither a name nor option=value"),
        ("join_columns(id", "is a dotted"),
        ("generic(id)", "generic takes no arguments"),
        ("concat_rows(patch, how=outer)", "concat_rows has no option 'how'"),
        ("joincolumns(id)", "a dotted"),
    ],
)
def test_faults_of_a_policy(assembler: str, said: str) -> None:
    policy = f"""
datasets:
  one: {{python: dict, storage: Json, template: "one.json"}}
  both:
    composite: {{one: one}}
    assembler: {assembler!r}
"""
    with pytest.raises(DefinitionError) as caught:
        load(policy)
    assert said in str(caught.value)
    assert ":6:" in str(caught.value), "the line is named"


def test_a_built_in_assembler_is_no_disassembler() -> None:
    with pytest.raises(DefinitionError, match="'disassembler' is a dotted name"):
        load('{datasets: {a: {python: dict, storage: Json, template: a}, '
             'b: {composite: {a: a}, assembler: concat_rows, disassembler: join_columns}}}')  # fmt: skip


# The policy of 2016

GEN2 = """
datasets: {
   srccat: {
       template:
           "sci-results/%(run)d/%(camcol)d/%(filter)s/icSrc/icSrc-%(run)06d-%(filter)s%(camcol)d-%(field)04d.fits",
       python:      "lsst.afw.table.SourceCatalog",
       persistable: "ignored",
       storage:     "FitsCatalogStorage",
       tables:      [raw, raw_skyTile],
   },
   srccat_blue(srccat): {
       template: "sci-results/%(run)d/%(camcol)d/b/icSrc/icSrc-%(run)06d-b%(camcol)d-%(field)04d.fits",
   },
   srccat_green(srccat): {
       template: "sci-results/%(run)d/%(camcol)d/g/icSrc/icSrc-%(run)06d-g%(camcol)d-%(field)04d.fits",
   },
   srccat_bg: {
       python: "lsst.afw.table.SourceCatalog",
       composite: {
           blue:  { datasetType: "srccat_blue" },
           green: { datasetType: "srccat_green" },
       },
       assembler: "ASSEMBLER",
   },
   post_assembled_bg_srccat: {
       template: "sci-results/%(run)d/%(camcol)d/bg/icSrc/icSrc-%(run)06d-bg%(camcol)d-%(field)04d.fits",
       python:  "lsst.afw.table.SourceCatalog",
       storage: "FitsCatalogStorage",
   },
}
""".replace("ASSEMBLER", f"{HERE}.srccat_bg_assembler")

FIELD = {"run": 94, "camcol": 1, "field": 131}


def srccat_bg_assembler(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    obj = classObj()
    blue, green = componentDict["blue"], componentDict["green"]
    for name in blue.colnames:
        obj[f"{name}_blue"] = blue[name]
        obj[f"{name}_green"] = green[name]
    return obj


def a_catalog(factor: float) -> SourceCatalog:
    return SourceCatalog({"id": [1, 2], "flux": [1.0 * factor, 2.0 * factor]})


def test_the_snippets_of_2016(tmp_path: Path) -> None:
    with Butler(outputs=RepositoryArgs(tmp_path / "in", policy=GEN2), trust=[HERE]) as first:
        first.put(a_catalog(1.0), "srccat_blue", FIELD)
        first.put(a_catalog(10.0), "srccat_green", FIELD)
    with Butler(inputs=tmp_path / "in", outputs=tmp_path / "out", trust=[HERE]) as butler:
        catalog = butler.get("srccat_bg", FIELD)
        assert type(catalog) is SourceCatalog
        assert catalog["flux_green"].tolist() == [10.0, 20.0]
        butler.put(catalog, "post_assembled_bg_srccat", FIELD)
        assert (tmp_path / "out/sci-results/94/1/bg/icSrc/icSrc-000094-bg1-0131.fits").exists()
        again = butler.get("post_assembled_bg_srccat", FIELD)
        assert again.colnames == ["id_blue", "id_green", "flux_blue", "flux_green"]
        with pytest.raises(AssemblyError, match="read-only"):
            butler.put(catalog, "srccat_bg", FIELD)
        # An assembler that is a plain function gets the same columns of all tables.
        some = butler.get("srccat_bg", FIELD, parameters={"columns": ["flux"]})
        assert some.colnames == ["flux_blue", "flux_green"]


def test_the_first_snippet_without_inheritance(tmp_path: Path) -> None:
    """As it was written, blue and green differ in the folder alone, and their file names keep the filter's field."""
    policy = GEN2.replace("srccat_blue(srccat)", "srccat_blue").replace("srccat_green(srccat)", "srccat_green")
    written = 'python: "lsst.afw.table.SourceCatalog", storage: "FitsCatalogStorage", template:'
    for colour in "bg":
        folder = f'"sci-results/%(run)d/%(camcol)d/{colour}/icSrc/icSrc-%(run)06d-'
        policy = policy.replace(f"template: {folder}{colour}", f"{written} {folder}%(filter)s")
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy), trust=[HERE]) as butler:
        for name, factor in (("srccat_blue", 1.0), ("srccat_green", 10.0)):
            butler.put(a_catalog(factor), name, FIELD, filter="x")
        assert butler.get("srccat_bg", FIELD, filter="x")["flux_blue"].tolist() == [1.0, 2.0]
        assert butler.keys("srccat_bg") == ("run", "camcol", "filter", "field")


def test_one_type_with_the_filter_fixed(tmp_path: Path) -> None:
    policy = """
datasets:
  srccat:
    python: bunter.SourceCatalog
    storage: FitsTable
    template: "sci-results/{run:d}/{camcol:d}/{filter}/icSrc-{run:06d}-{filter}{camcol:d}-{field:04d}.fits"
  srccat_bg:
    python: bunter.SourceCatalog
    composite:
      blue: {datasetType: srccat, dataId: {filter: b}}
      green: {datasetType: srccat, dataId: {filter: g}}
    assembler: join_columns(id)
"""
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy)) as butler:
        butler.put(a_catalog(1.0), "srccat", FIELD, filter="b")
        butler.put(a_catalog(10.0), "srccat", FIELD, filter="g")
        assert butler.keys("srccat_bg") == ("run", "camcol", "field")
        assert butler.get("srccat_bg", FIELD).colnames == ["id", "flux_blue", "flux_green"]


# Real tables


def test_a_thousand_sources_of_stripe_82_in_four_tables(shared_data: Path, tmp_path: Path) -> None:
    """The 138 columns of a deep catalog by what measured them, in four formats, one of them in another order."""
    from pyarrow import csv

    with gzip.open(shared_data / "stripe82" / "case03_RunDeepSource.csv.gz") as file:
        sources = csv.read_csv(file)
    numbers = [field.name for field in sources.schema if field.type in (pa.int64(), pa.float64())]
    sources = sources.select(numbers)
    parts = {"coord": "Parquet", "shape_sdss": "FitsTable", "flux": "Ecsv", "multishapelet": "Parquet"}
    policy = {
        "datasets": {
            **{
                name: {"python": "astropy.table.Table", "storage": storage, "template": f"{{tract:d}}/{name}"}
                for name, storage in parts.items()
            },
            "deep": {"composite": {name: name for name in parts}, "assembler": "join_columns(id)"},
        }
    }
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy), durability="fast") as butler:
        for name in parts:
            own = sources.select(["id", *(n for n in sources.column_names if n.startswith(name))])
            if name == "flux":
                own = own.take(np.random.default_rng(82).permutation(1000))
            butler.put(own, name, tract=0)
        whole = butler.get("deep", tract=0)
        assert len(whole) == 1000
        expected = sources.sort_by("id")
        for column in whole.colnames:
            np.testing.assert_array_equal(
                np.ma.filled(whole[column].astype(float), np.nan), expected[column].to_numpy().astype(float)
            )
        some = butler.get("deep", tract=0, parameters={"columns": ["id", "coord_ra", "flux_psf"]})
        bright = some[np.argmax(np.ma.filled(some["flux_psf"], 0.0))]
        row = expected.filter(pa.compute.equal(expected["id"], int(bright["id"]))).to_pylist()[0]
        assert (bright["coord_ra"], bright["flux_psf"]) == (row["coord_ra"], row["flux_psf"])
        reads = [leaf["columns"] for leaf in
                 butler.plan("deep", tract=0, parameters={"columns": ["flux_psf"]}).leaves()]  # fmt: skip
        assert reads == [[], [], ["id", "flux_psf"], []]
