"""Use case 6: the catalog of a tract from those of its patches, of a visit from those of its CCDs.

An aggregate is a composite with one component that is a list. It is had whole by a partial data ID; and where it is
too large for that, it is gone through member by member, with columns and rows chosen.
"""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    DatasetNotFoundError,
    IntegrityError,
    ParameterError,
    PhotoCalib,
    RepositoryArgs,
    SourceCatalog,
)
from bunter.formats.equality import same_values

from .counting import Counted

HERE = __name__

POLICY = """
keys: {filter: str, tract: int, patch: str, visit: int, ccd: str}
datasets:
  deepCoadd_src:
    {python: bunter.SourceCatalog, storage: FitsTable, template: "deep/{filter}/{tract:d}/{patch}/src.fits"}
  deepCoadd_calib: {python: bunter.PhotoCalib, storage: FitsPart, template: "deep/{filter}/calib.fits"}
  forced: {python: pyarrow.Table, storage: Parquet, template: "forced/{tract:d}/{patch}.parquet"}
  patches: {python: astropy.table.Table, storage: Csv, template: "skymap/{tract:d}.csv"}
  tract_src:
    python: bunter.SourceCatalog
    composite: {src: {datasetType: deepCoadd_src, subset: true}}
    assembler: concat_rows
  tract_src_with_patch:
    python: bunter.SourceCatalog
    composite:
      src: {datasetType: deepCoadd_src, subset: true}
      photoCalib: {datasetType: deepCoadd_calib, optional: true}
    assembler: concat_rows(tract, patch, same=meta.BAND)
  tract_forced:
    composite: {forced: {datasetType: forced, subset: true}}
    assembler: concat_rows(patch)
  whole_tract:
    python: bunter.SourceCatalog
    composite:
      expected: patches
      src: {datasetType: deepCoadd_src, dataIds: expected}
    assembler: concat_rows(patch)
  as_far_as_there:
    python: bunter.SourceCatalog
    composite:
      expected: patches
      src: {datasetType: deepCoadd_src, dataIds: expected, optional: true}
    assembler: concat_rows(patch)
  each_patch:
    composite: {src: {datasetType: deepCoadd_src, subset: true, lazy: true}}
  one_file: {python: bunter.SourceCatalog, storage: Parquet, template: "one/{tract:d}.parquet"}
"""

PATCHES = ["0,0", "0,1", "1,0"]


def a_catalog(number: int, rows: int = 4, band: str = "r") -> SourceCatalog:
    ids = np.arange(rows) + number * rows
    mag = (20.0 + np.arange(rows)) * u.mag
    columns = {"id": ids, "mag": mag, "flag": ids % 2 == 0, "kind": ["star", "galaxy"] * (rows // 2)}
    return SourceCatalog(columns, meta={"BAND": band, "SEEING": 0.7 + number})


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    with Butler(outputs=RepositoryArgs(tmp_path / "deep", policy=POLICY), durability="fast") as made:
        for tract in (0, 1):
            for number, patch in enumerate(PATCHES):
                made.put(a_catalog(number), "deepCoadd_src", filter="r", tract=tract, patch=patch)
        made.put(Table({"patch": PATCHES}), "patches", tract=0)
        yield made


def test_a_tract_from_its_patches(butler: Butler) -> None:
    found = butler.get("tract_src", filter="r", tract=0)
    assert type(found) is SourceCatalog
    assert found["id"].tolist() == list(range(12))
    assert found["mag"].unit == u.mag


def test_a_partial_data_id_takes_in_what_agrees_with_it(butler: Butler) -> None:
    assert len(butler.get("tract_src", filter="r")) == 24
    assert len(butler.get("tract_src")) == 24
    assert len(butler.get("tract_src", tract=1, patch="0,1")) == 4
    assert butler.get("tract_src.src", filter="r", tract=1).data_ids == [
        {"filter": "r", "tract": 1, "patch": patch} for patch in PATCHES
    ]
    with pytest.raises(DatasetNotFoundError, match=r"no deepCoadd_src \{'filter': 'i'\} at all"):
        butler.get("tract_src", filter="i")


def test_the_members_keys_become_columns(butler: Butler) -> None:
    butler.put(PhotoCalib(3.0), "deepCoadd_calib", filter="r")
    found = butler.get("tract_src_with_patch", filter="r")
    assert found.colnames == ["tract", "patch", "id", "mag", "flag", "kind"]
    assert found["tract"].tolist() == [0] * 12 + [1] * 12
    assert found["patch"][4:12].tolist() == ["0,1"] * 4 + ["1,0"] * 4
    assert found.photo_calib == PhotoCalib(3.0), "a component that the class has a place for"


def test_a_column_that_contradicts_the_data_id(butler: Butler) -> None:
    wrong = a_catalog(7)
    wrong["patch"] = "9,9"
    butler.put(wrong, "deepCoadd_src", filter="i", tract=0, patch="0,0")
    with pytest.raises(AssemblyError, match=r"the column 'patch' of src .*'0,0'.* does not say '0,0'"):
        butler.get("tract_src_with_patch", filter="i", tract=0)
    wrong["patch"] = "0,0"
    butler.put(wrong, "deepCoadd_src", filter="i", tract=0, patch="0,0", replace=True)
    assert butler.get("tract_src_with_patch", filter="i", tract=0)["patch"].tolist() == ["0,0"] * 4


# Agreement


def test_what_the_members_say_alike_is_kept_and_the_rest_left_out(butler: Butler) -> None:
    assert butler.get("tract_src", tract=0).meta == {"BAND": "r"}


def test_what_has_to_agree_is_checked(butler: Butler) -> None:
    butler.put(a_catalog(9, band="i"), "deepCoadd_src", filter="r", tract=0, patch="9,9")
    assert butler.get("tract_src", tract=0).meta == {}
    said = r"meta.BAND is not the same in all members.*'0,0'.*'r'.*'9,9'.*'i'"
    with pytest.raises(AssemblyError, match=said) as caught:
        butler.get("tract_src_with_patch", filter="r", tract=0)
    assert "while assembling 'tract_src_with_patch'" in "\n".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.remove_column("mag"), r"lacking: mag; extra: none"),
        (lambda t: t.add_column([1] * 4, name="new"), r"lacking: none; extra: new"),
        (lambda t: setattr(t["mag"], "unit", u.nJy), r"'mag' has several units: mag, nJy"),
        (lambda t: t.replace_column("kind", [[1, 2]] * 4), "do not go together"),
    ],
)
def test_columns_that_differ(butler: Butler, change: Any, said: str) -> None:
    wrong = a_catalog(9)
    change(wrong)
    butler.put(wrong, "deepCoadd_src", filter="r", tract=0, patch="9,9")
    with pytest.raises(AssemblyError, match=said):
        butler.get("tract_src", filter="r", tract=0)


VISIT = f"""
datasets:
  src: {{python: bunter.SourceCatalog, storage: FitsTable, template: "src/{{visit:d}}-{{ccd}}.fits"}}
  wcs: {{python: astropy.wcs.WCS, storage: FitsWcs, template: "wcs/{{visit:d}}-{{ccd}}.fits"}}
  calib: {{python: bunter.PhotoCalib, storage: FitsPart, template: "calib/{{visit:d}}-{{ccd}}.fits"}}
  calibrated_src:
    python: bunter.SourceCatalog
    composite: {{rows: src, wcs: wcs, calib: calib}}
    assembler: {HERE}.calibrated
  visit_src:
    composite: {{ccds: {{datasetType: calibrated_src, subset: true}}}}
    assembler: concat_rows(ccd, same=photo_calib)
"""


def calibrated(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    rows = componentDict["rows"]
    rows.wcs, rows.photo_calib = componentDict["wcs"], componentDict["calib"]
    return rows


def test_a_visit_from_its_ccds_and_the_components_that_they_share(tmp_path: Path) -> None:
    def wcs(ra: float) -> WCS:
        made = WCS(naxis=2)
        made.wcs.ctype, made.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, 0.0]
        return made

    with Butler(outputs=RepositoryArgs(tmp_path, policy=VISIT), durability="fast", trust=[HERE]) as butler:
        for number, ccd in enumerate(["N1", "N2"]):
            butler.put(a_catalog(number), "src", visit=7, ccd=ccd)
            butler.put(wcs(10.0 + number), "wcs", visit=7, ccd=ccd)
            butler.put(PhotoCalib(2.0), "calib", visit=7, ccd=ccd)
        found = butler.get("visit_src", visit=7)
        assert found["ccd"].tolist() == ["N1"] * 4 + ["N2"] * 4
        assert found.photo_calib == PhotoCalib(2.0), "that of all"
        assert found.wcs is None, "a CCD's own, and wrong for the rows of the other"
        butler.put(PhotoCalib(2.5), "calib", visit=7, ccd="N2", replace=True)
        with pytest.raises(AssemblyError, match=r"photo_calib is not the same in all members.*N1.*2\.0.*N2.*2\.5"):
            butler.get("visit_src", visit=7)
        with pytest.raises(AssemblyError, match=r"photo_calib is not the same"):
            list(butler.scan("visit_src", visit=7))
        ccds = {"ccds": {"datasetType": "src", "subset": True}}
        butler.define({"datasets": {"odd": {"composite": ccds, "assembler": "concat_rows(same=psf)"}}})
        with pytest.raises(AssemblyError, match="SourceCatalog, which has no 'psf'; there are: wcs, photo_calib, meta"):
            butler.get("odd", visit=7)


def test_one_list_is_needed(butler: Butler) -> None:
    butler.define("""
datasets:
  none: {composite: {expected: patches}, assembler: concat_rows}
  two:
    composite: {a: {datasetType: deepCoadd_src, subset: true}, b: {datasetType: deepCoadd_src, subset: true}}
    assembler: concat_rows
  odd_key: {composite: {src: {datasetType: deepCoadd_src, subset: true}}, assembler: concat_rows(visit)}
""")
    with pytest.raises(AssemblyError, match=r"0 of them among: expected \(Table\)"):
        butler.get("none", tract=0)
    with pytest.raises(AssemblyError, match="2 of them"):
        butler.get("two", tract=0)
    with pytest.raises(AssemblyError, match="add visit as a column, which is no key"):
        butler.get("odd_key", tract=0)


# Missing members


def test_members_that_should_be_there_are_named(butler: Butler) -> None:
    assert len(butler.get("whole_tract", filter="r", tract=0)) == 12
    butler.put(Table({"patch": [*PATCHES, "2,0", "2,1"]}), "patches", tract=0, replace=True)
    assert not butler.exists("whole_tract", filter="r", tract=0)
    for call in (butler.get, butler.scan):
        with pytest.raises(DatasetNotFoundError) as caught:
            call("whole_tract", filter="r", tract=0)
        assert "'patch': '2,0'" in str(caught.value)
        assert "'patch': '2,1'" in str(caught.value)
        assert "'patch': '0,0'" not in str(caught.value)
    states = [leaf["state"] for leaf in butler.plan("whole_tract", filter="r", tract=0).leaves()]
    assert states == ["found"] * 4 + ["missing"] * 2
    assert len(butler.get("as_far_as_there", filter="r", tract=0)) == 12
    assert len(list(butler.scan("as_far_as_there", filter="r", tract=0))) == 3


def test_each_member_comes_from_its_nearest_repository(butler: Butler, tmp_path: Path) -> None:
    root = butler.repositories()[0]
    with Butler(inputs=root, outputs=tmp_path / "redone", durability="fast") as later:
        later.put(a_catalog(50), "deepCoadd_src", filter="r", tract=0, patch="0,1")
        assert later.get("tract_src", tract=0)["id"].tolist() == [*range(4), *range(200, 204), *range(8, 12)]


def test_an_aggregate_is_put_as_one_table_by_another_name(butler: Butler) -> None:
    whole = butler.get("tract_src", tract=0)
    butler.put(whole, "one_file", tract=0)
    assert same_values(butler.get("one_file", tract=0), whole)
    with pytest.raises(AssemblyError, match="read-only"):
        butler.put(whole, "tract_src", tract=0)


# Larger than memory


def test_a_lazy_list_is_read_one_by_one(butler: Butler) -> None:
    with Counted() as io:
        members = butler.get("each_patch", tract=0)["src"]
    root = Path(butler.repositories()[0])
    assert io.data_files(root) == []
    with Counted() as io:
        assert len(members[1].get()) == 4
    assert io.data_files(root) == ["deep/r/0/0,1/src.fits"]
    assert members[2].get(parameters={"columns": ["id"]})["id"].tolist() == [8, 9, 10, 11]


def test_a_scan_goes_through_the_members(butler: Butler) -> None:
    calls: list[tuple[int, int]] = []
    scan = butler.scan("tract_src_with_patch", filter="r", tract=0, progress=lambda *call: calls.append(call))
    assert len(scan) == 3
    assert [data_id["patch"] for data_id in scan.data_ids] == PATCHES
    assert not calls
    tables = list(scan)
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [data_id["patch"] for data_id, _ in tables] == PATCHES
    assert all(type(table) is SourceCatalog for _, table in tables)
    whole = butler.get("tract_src_with_patch", filter="r", tract=0)
    assert same_values(scan.to_table(), whole)
    assert scan.to_table().meta == whole.meta == {"BAND": "r"}
    assert "3 members" in repr(scan)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("mag > 21", [2, 3, 6, 7, 10, 11]),
        ("flag = 1 and mag < 22", [0, 4, 8]),
        ("kind = 'star' and not mag between 20 and 21", [2, 6, 10]),
        ("kind in ('galaxy') or id = 0", [0, 1, 3, 5, 7, 9, 11]),
        ("patch = '0,1'", [4, 5, 6, 7]),
        ("patch != '0,1' and mag = 20", [0, 8]),
        ("tract = 5", []),
        ("mag is null", []),
        ("mag is not null and id <= 1", [0, 1]),
        ("1 = 1 and id >= 11", [11]),
    ],
)
def test_rows_are_chosen(butler: Butler, where: str, ids: list[int]) -> None:
    found = butler.scan("tract_src_with_patch", filter="r", tract=0, where=where).to_table()
    assert found["id"].tolist() == ids
    assert found.colnames == ["tract", "patch", "id", "mag", "flag", "kind"]
    some = butler.scan("tract_src_with_patch", filter="r", tract=0, where=where, columns=["kind", "id"])
    assert some.to_table().colnames == ["kind", "id"]
    assert some.to_reader().read_all().column("id").to_pylist() == ids


def test_members_that_cannot_have_such_rows_are_not_read(butler: Butler) -> None:
    root = Path(butler.repositories()[0])
    with Counted() as io:
        scan = butler.scan("tract_src_with_patch", filter="r", tract=0, where="patch in ('0,0', '1,0') and mag > 22")
        assert [data_id["patch"] for data_id, _ in scan] == ["0,0", "1,0"]
    assert io.data_files(root) == ["deep/r/0/0,0/src.fits", "deep/r/0/1,0/src.fits"]


def test_wrong_scans(butler: Butler) -> None:
    for where, said in [
        ("magg > 3", "no such column 'magg'; did you mean 'mag'"),
        ("mag > 'x'", "cannot be compared"),
        ("mag >", "expected"),
        ("patch = 5", "cannot be compared"),
    ]:
        with pytest.raises(ParameterError, match=said):
            list(butler.scan("tract_src_with_patch", filter="r", tract=0, where=where))
    with pytest.raises(ParameterError, match="there is no column 'magg'"):
        list(butler.scan("tract_src", filter="r", tract=0, columns=["magg"]))
    with pytest.raises(ParameterError, match="a list of names"):
        butler.scan("tract_src", filter="r", tract=0, columns="mag")


def test_what_is_no_aggregate_is_one_member(butler: Butler) -> None:
    data_id = {"filter": "r", "tract": 0, "patch": "0,1"}
    ((found, table),) = butler.scan("deepCoadd_src", data_id, columns=["id"], where="mag > 22", as_type=pd.DataFrame)
    assert found == data_id
    assert isinstance(table, pd.DataFrame)
    assert table["id"].tolist() == [7]
    assert len(list(butler.scan("tract_src.src", tract=0))) == 3, "a list component by itself"


def test_members_of_other_widths_and_types_in_a_reader(tmp_path: Path) -> None:
    policy = {"datasets": {
        "t": {"python": "astropy.table.Table", "storage": "Parquet", "template": "{n:d}.parquet"},
        "all": {"composite": {"t": {"datasetType": "t", "subset": True}}, "assembler": "concat_rows(n)"}}}  # fmt: skip
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy), durability="fast") as butler:
        butler.put(Table({"s": ["a"], "x": np.array([1], "i8"), "t": Time([50_000.0], format="mjd")}), "t", n=1)
        butler.put(Table({"s": ["long"], "x": np.array([2], "i4"), "t": Time([50_001.0], format="mjd")}), "t", n=2)
        found = butler.scan("all", columns=["n", "s", "x"]).to_reader()
        assert isinstance(found, pa.RecordBatchReader)
        assert found.read_all().to_pydict() == {"n": [1, 2], "s": ["a", "long"], "x": [1, 2]}
        assert butler.scan("all").to_table()["t"].mjd.tolist() == [50_000.0, 50_001.0]
        butler.put(Table({"s": [1.5], "x": [3], "t": Time([50_000.0], format="mjd")}), "t", n=3)
        with pytest.raises(AssemblyError, match="do not go together"):
            butler.get("all")
        butler.put(Table({"s": ["x"], "x": [3.5], "t": Time([50_000.0], format="mjd")}), "t", n=3, replace=True)
        with pytest.raises(AssemblyError, match="do not go together"):
            butler.scan("all", columns=["x"]).to_reader().read_all()


def test_a_scan_holds_one_member_at_a_time(tmp_path: Path) -> None:
    rows, members = 50_000, 20
    with Butler(outputs=RepositoryArgs(tmp_path, policy=POLICY), durability="fast") as butler:
        for number in range(members):
            ids = np.arange(rows) + number * rows
            butler.put(
                SourceCatalog({"id": ids, "mag": ids * 1.0}), "deepCoadd_src", filter="r", tract=0, patch=f"{number},0"
            )
        size = rows * 16
        tracemalloc.start()
        try:
            count = sum(len(table) for _, table in butler.scan("tract_src", tract=0, where="id >= 10"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == rows * members - 10
        assert peak < 8 * size < members * size, f"{peak / size:.1f} members of {members} were held"


# As a pyarrow dataset


@pytest.fixture
def forced(butler: Butler) -> Butler:
    for number, patch in enumerate(PATCHES):
        ids = np.arange(2000) + 2000 * number
        noise = {f"c{i}": np.random.default_rng(i).normal(size=2000) for i in range(20)}
        columns = {"id": ids, "flux": ids * 0.5, **noise}
        butler.put(pa.table(columns), "forced", tract=0, patch=patch)
    return butler


def test_parquet_members_are_a_pyarrow_dataset(forced: Butler) -> None:
    found = forced.get("tract_forced", tract=0, as_type=ds.Dataset)
    assert isinstance(found, ds.Dataset)
    assert found.schema.names[:3] == ["patch", "id", "flux"]
    assert found.count_rows() == 6000
    some = found.to_table(columns=["id", "patch"], filter=(ds.field("flux") > 2998.0) & (ds.field("patch") != "0,1"))
    assert some.to_pydict() == {"id": [5997, 5998, 5999], "patch": ["1,0"] * 3}
    whole = forced.get("tract_forced", tract=0)
    assert isinstance(whole, pa.Table)
    assert found.to_table().sort_by("id").equals(whole.sort_by("id"))
    one = forced.get("forced", tract=0, patch="0,0", as_type=ds.Dataset)
    assert one.count_rows() == 2000


def test_the_dataset_reads_columns_and_passes_over_files(forced: Butler) -> None:
    found = forced.get("tract_forced", tract=0, as_type=ds.Dataset)
    assert len(list(found.get_fragments(filter=ds.field("patch") == "0,1"))) == 1


def test_damage_is_noticed_by_the_dataset_too(forced: Butler) -> None:
    path = Path(forced.repositories()[0]) / "forced/0/0,1.parquet"
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        forced.get("tract_forced", tract=0, as_type=ds.Dataset).to_table()


def test_what_cannot_be_a_dataset_says_what_can(forced: Butler) -> None:
    with pytest.raises(ParameterError, match=r"a member is stored as FitsTable.*butler\.scan"):
        forced.get("tract_src", tract=0, as_type=ds.Dataset)
    with pytest.raises(ParameterError, match="leave out parameters="):
        forced.get("tract_forced", tract=0, as_type=ds.Dataset, parameters={"columns": ["id"]})
    with pytest.raises(ParameterError, match="a member is assembled of several"):
        forced.get("each_patch", tract=0, as_type=ds.Dataset)
    forced.put(pa.table({"id": [1]}), "forced", tract=0, patch="9,9")
    with pytest.raises(AssemblyError, match=r"'9,9'.* has other columns than the first member; lacking: flux"):
        forced.get("tract_forced", tract=0, as_type=ds.Dataset)


def test_progress_of_a_get(butler: Butler) -> None:
    calls: list[tuple[int, int]] = []
    butler.get("tract_src", tract=0, progress=lambda *call: calls.append(call))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    ref = next(iter(butler.query("deepCoadd_src")))
    ref.get(progress=lambda *call: calls.append(call))
    assert calls[4:] == [(0, 1), (1, 1)]


def test_a_damaged_member_is_named(butler: Butler) -> None:
    (Path(butler.repositories()[0]) / "deep/r/0/0,1/src.fits").write_bytes(b"no FITS" * 1000)
    with pytest.raises(IntegrityError, match="'0,1'"):
        list(butler.scan("tract_src", tract=0))


# The policy of 2016

GEN2 = f"""
datasets: {{
   deepCoadd_src: {{
       template: "deepCoadd-results/%(filter)s/%(tract)d/%(patch)s/src-%(filter)s-%(tract)d-%(patch)s.fits",
       python:      "lsst.afw.table.SourceCatalog",
       persistable: "ignored",
       storage:     "FitsCatalogStorage",
       tables:      [raw, raw_skyTile],
   }},
   deepCoadd_src_aggregate: {{
       python: "lsst.afw.table.SourceCatalog",
       composite: {{
           deepCoaddSrc: {{
                datasetType: "deepCoadd_src",
                subset: True
            }}
        }},
       assembler: "{HERE}.AssembleAggregateDeepCoadd"
    }}
}}
"""


def AssembleAggregateDeepCoadd(dataId: dict[str, Any], componentDict: dict[str, Any], classObj: Any) -> Any:
    baseObject = classObj()
    for obj in componentDict["deepCoaddSrc"]:
        baseObject += obj
    return baseObject


def test_the_snippets_of_2016(tmp_path: Path) -> None:
    with Butler(outputs=RepositoryArgs(tmp_path, policy=GEN2), durability="fast", trust=[HERE]) as butler:
        for tract, patch in ((0, "1,1"), (0, "1,2"), (3, "1,1")):
            butler.put(a_catalog(tract), "deepCoadd_src", filter="g", tract=tract, patch=patch)
        assert (tmp_path / "deepCoadd-results/g/0/1,1/src-g-0-1,1.fits").exists()
        catalog = butler.get("deepCoadd_src_aggregate", {"filter": "g"})
        assert type(catalog) is SourceCatalog
        assert len(catalog) == 12
        assert len(butler.get("deepCoadd_src_aggregate", filter="g", parameters={"columns": ["id"]}).colnames) == 1


# Real patches


def test_the_patches_of_stripe_82(shared_data: Path, tmp_path: Path) -> None:
    """A thousand deep sources in the five patches that the coadds' table says there are."""
    from pyarrow import csv

    def table(name: str) -> pa.Table:
        with gzip.open(shared_data / "stripe82" / f"case03_{name}.csv.gz") as file:
            return csv.read_csv(file)

    policy = {"datasets": {
        "coadds": {"python": "pyarrow.Table", "storage": "Parquet", "template": "coadds/{tract:d}.parquet"},
        "deep_src": {"python": "pyarrow.Table", "storage": "Parquet", "template": "src/{tract:d}/{patch}.parquet"},
        "tract_deep_src": {
            "python": "pyarrow.Table",
            "composite": {"coadds": "coadds", "src": {"datasetType": "deep_src", "dataIds": "coadds"}},
            "assembler": "concat_rows(patch)"}}}  # fmt: skip
    sources, coadds = table("RunDeepSource"), table("DeepCoadd")
    patches = dict(zip(coadds["deepCoaddId"].to_pylist(), coadds["patch"].to_pylist(), strict=True))
    columns = ["id", "coord_ra", "coord_decl", "flux_psf", "coadd_id"]
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy), durability="fast") as butler:
        butler.put(coadds, "coadds", tract=0)
        for coadd, patch in list(patches.items())[:-1]:
            own = sources.filter(pa.compute.equal(sources["coadd_id"], coadd)).select(columns)
            butler.put(own, "deep_src", tract=0, patch=patch)
        with pytest.raises(DatasetNotFoundError, match="'159,4'"):
            butler.get("tract_deep_src", tract=0)
        own = sources.filter(pa.compute.equal(sources["coadd_id"], coadd + 8)).select(columns)
        butler.put(own, "deep_src", tract=0, patch="159,4")
        whole = butler.get("tract_deep_src", tract=0)
        assert whole.num_rows == 1000
        assert set(whole["id"].to_pylist()) == set(sources["id"].to_pylist())
        assert all(patches[row["coadd_id"]] == row["patch"] for row in whole.to_pylist())
        bright = butler.scan("tract_deep_src", tract=0, where="flux_psf > 1000 and patch in ('159,2', '159,3')")
        expected = [row for row in sources.to_pylist() if (row["flux_psf"] or 0) > 1000]
        expected = [row["id"] for row in expected if patches[row["coadd_id"]] in ("159,2", "159,3")]
        assert sorted(bright.to_table()["id"].to_pylist()) == sorted(expected)
        assert expected
        dataset = butler.get("tract_deep_src", tract=0, as_type=ds.Dataset)
        assert dataset.count_rows(filter=ds.field("patch") == "159,3") == 329
