"""Use case 7: a coadd that finds the PSFs and WCSs of its inputs in the exposures that it was made from.

Which exposures these are is told by a table that is stored with the coadd, by cards in its header, or by the
registry; nothing of them is copied into the coadd.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    DataIdError,
    DatasetNotFoundError,
    DatasetRef,
    Exposure,
    GaussianPsf,
    ParameterError,
    RepositoryArgs,
)

from .counting import Counted

HERE = __name__
VISITS = [(1, "a"), (2, "a"), (2, "b"), (11, "a")]

VISIT = """
keys: {visit: int, ccd: str, tract: int, patch: str}
datasets:
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexp/{visit:d}-{ccd}.fits"}
"""

JOINTCAL = """
datasets:
  calexp.wcs:jointcal: {python: astropy.wcs.WCS, storage: FitsWcs, template: "jointcal/{tract:d}/{visit:d}-{ccd}.fits"}
  calexp:jointcal: {base: calexp}
"""

COADD = f"""
datasets:
  coadd_image: {{python: bunter.Exposure, storage: FitsExposure, template: "coadd/{{tract:d}}/{{patch}}.fits"}}
  coadd_inputs: {{python: astropy.table.Table, storage: FitsTable, template: "coadd/{{tract:d}}/{{patch}}-inputs.fits"}}
  coadd:
    python: {HERE}.Coadd
    composite:
      image: coadd_image
      inputs: coadd_inputs
      psfs: {{datasetType: calexp.psf, dataIds: inputs}}
      wcss: {{datasetType: "calexp:jointcal.wcs", dataIds: inputs, inputOnly: true}}
  by_registry:
    composite:
      image: coadd_image
      psfs: {{datasetType: calexp.psf, dataIds: precursors}}
  of_image:
    readOnly: true
    composite:
      image: coadd_image
      psfs: {{datasetType: calexp.psf, dataIds: {{precursorsOf: image}}}}
  by_header:
    readOnly: true
    composite:
      metadata: coadd_image.metadata
      psfs: {{datasetType: calexp.psf, dataIds: {{component: metadata, cards: "INPUT*", match: "{{visit:d}}/{{ccd}}"}}}}
  lenient:
    composite:
      inputs: coadd_inputs
      psfs: {{datasetType: calexp.psf, dataIds: inputs, optional: true}}
  renamed:
    readOnly: true
    composite:
      inputs: coadd_inputs
      psfs: {{datasetType: calexp.psf, dataIds: inputs, dataId: {{visit: "{{EXPNUM}}", ccd: "{{CCDNAME}}"}}}}
"""


@dataclass
class Coadd:
    image: Any
    inputs: Any
    psfs: Any = None
    wcss: Any = None


def a_wcs(ra: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, 0.0], [256, 256]
    return wcs


def an_exposure(visit: int) -> Exposure:
    return Exposure(np.full((512, 512), visit, "f4"), wcs=a_wcs(visit), psf=GaussianPsf(1.0 + visit / 10))


def the_inputs(ids: list[tuple[int, str]] | None = None) -> Table:
    ids = VISITS[::-1] if ids is None else ids
    return Table({"visit": [i[0] for i in ids], "ccd": [i[1] for i in ids], "weight": [1.0] * len(ids)})


def a_coadd(**changes: Any) -> Coadd:
    image = Exposure(np.zeros((32, 32), "f4"), metadata={"INPUT1": "11/a", "INPUT2": "2/b"})
    return Coadd(image, the_inputs(), **changes)


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    with Butler(outputs=RepositoryArgs(tmp_path / "visits", policy=VISIT), durability="fast") as butler:
        for visit, ccd in VISITS:
            butler.put(an_exposure(visit), "calexp", visit=visit, ccd=ccd)
    return tmp_path / "visits"


@pytest.fixture
def jointcal(visits: Path) -> Path:
    root = visits.parent / "jointcal"
    with Butler(inputs=visits, outputs=RepositoryArgs(root, policy=JOINTCAL), durability="fast") as butler:
        for visit, ccd in VISITS:
            exposure = butler.get("calexp", visit=visit, ccd=ccd)
            exposure.wcs = a_wcs(visit + 0.001)
            butler.put(exposure, "calexp:jointcal", visit=visit, ccd=ccd, tract=0)
    return root


@pytest.fixture
def butler(jointcal: Path) -> Iterator[Butler]:
    output = RepositoryArgs(jointcal.parent / "coadds", policy=COADD)
    with Butler(inputs=jointcal, outputs=output, durability="fast", trust=[HERE]) as made:
        yield made


PATCH = {"tract": 0, "patch": "1,1"}


def named(refs: list[DatasetRef]) -> list[str]:
    return [f"{ref.name} {' '.join(str(value) for value in ref.data_id.values())}" for ref in refs]


# Where the data IDs come from


def test_by_a_table_that_is_stored_with_it(butler: Butler, visits: Path, jointcal: Path) -> None:
    butler.put(a_coadd(), "coadd", PATCH)
    with Counted() as io:
        coadd = butler.get("coadd", PATCH)
    assert isinstance(coadd, Coadd)
    assert coadd.psfs == [GaussianPsf(1.1), GaussianPsf(1.2), GaussianPsf(1.2), GaussianPsf(2.1)]
    assert coadd.psfs.data_ids == [{"visit": visit, "ccd": ccd} for visit, ccd in VISITS], "by number, not by text"
    assert [wcs.wcs.crval[0] for wcs in coadd.wcss] == [1.001, 2.001, 2.001, 11.001], "those of jointcal"
    assert len(io.data_files(visits)) == len(io.data_files(jointcal)) == 4
    assert io.read < 400_000, "PSFs out of files of a megabyte each"


def test_what_it_is_made_of_is_written_once(butler: Butler) -> None:
    butler.put(a_coadd(), "coadd", PATCH)
    output = Path(butler.repositories()[0])
    files = sorted(path.relative_to(output).as_posix() for path in (output / "coadd").rglob("*.fits"))
    assert files == ["coadd/0/1,1-inputs.fits", "coadd/0/1,1.fits"]


def test_by_cards_of_its_header(butler: Butler) -> None:
    butler.put(a_coadd().image, "coadd_image", PATCH)
    psfs = butler.get("by_header.psfs", PATCH)
    assert psfs.data_ids == [{"visit": 2, "ccd": "b"}, {"visit": 11, "ccd": "a"}]
    assert psfs == [GaussianPsf(1.2), GaussianPsf(2.1)]
    assert butler.get("by_header", PATCH)["metadata"]["INPUT1"] == "11/a"


def test_a_card_that_does_not_match(butler: Butler) -> None:
    image = a_coadd().image
    image.metadata["INPUT3"] = "visit 2"
    butler.put(image, "coadd_image", PATCH)
    with pytest.raises(DataIdError, match=r"INPUT3 = 'visit 2' does not match '\{visit:d\}/\{ccd\}'"):
        butler.get("by_header", PATCH)


def test_by_the_registry(butler: Butler) -> None:
    used = list(butler.query("calexp", visit=2))
    butler.put({"image": a_coadd().image}, "by_registry", PATCH, precursors=used)
    found = butler.get("by_registry", PATCH)
    assert found["psfs"].data_ids == [{"visit": 2, "ccd": "a"}, {"visit": 2, "ccd": "b"}]
    # The image alone, with precursors of its own.
    other = {"tract": 0, "patch": "2,2"}
    butler.put(a_coadd().image, "coadd_image", other, precursors=used[:1])
    assert butler.get("of_image.psfs", other).data_ids == [{"visit": 2, "ccd": "a"}]
    with pytest.raises(DatasetNotFoundError, match=r"no calexp\.psf {} at all"):
        butler.get("of_image", PATCH)


def test_a_stage_of_it_counts_as_the_exposure(butler: Butler) -> None:
    butler.put(a_coadd().image, "coadd_image", PATCH, precursors=butler.query("calexp:jointcal", visit=11))
    assert butler.get("of_image.psfs", PATCH) == [GaussianPsf(2.1)]


def test_columns_of_other_names(butler: Butler) -> None:
    butler.put(Table({"EXPNUM": [11, 2], "CCDNAME": ["a ", "b"], "visit": [0, 0]}), "coadd_inputs", PATCH)
    assert butler.get("renamed.psfs", PATCH).data_ids == [{"visit": 2, "ccd": "b"}, {"visit": 11, "ccd": "a"}]


def test_rows_that_repeat_name_one_input(butler: Butler) -> None:
    butler.put(the_inputs([(2, "b"), (1, "a"), (2, "b")]), "coadd_inputs", PATCH)
    assert len(butler.get("lenient.psfs", PATCH)) == 2


def test_inputs_that_are_missing_are_named(butler: Butler) -> None:
    inputs = the_inputs([(1, "a"), (3, "a"), (4, "c")])
    butler.put(inputs, "coadd_inputs", PATCH)
    assert not butler.exists("coadd.psfs", PATCH)
    with pytest.raises(DatasetNotFoundError) as caught:
        butler.get("coadd.psfs", PATCH)
    assert "{'visit': 3, 'ccd': 'a'}" in str(caught.value)
    assert "{'visit': 4, 'ccd': 'c'}" in str(caught.value)
    assert "{'visit': 1, 'ccd': 'a'}" not in str(caught.value)
    assert butler.get("lenient", PATCH)["psfs"] == [GaussianPsf(1.1), None, None]
    butler.put({"inputs": inputs}, "lenient", PATCH)
    assert butler.get("lenient", PATCH)["psfs"] == [GaussianPsf(1.1), None, None]
    with pytest.raises(DatasetNotFoundError, match="'visit': 3"):
        butler.put(Coadd(a_coadd().image, inputs), "coadd", tract=0, patch="9,9")
    assert not butler.exists("coadd_image", tract=0, patch="9,9"), "nothing was written"


def test_a_table_that_lacks_a_key(butler: Butler) -> None:
    butler.put(Table({"visit": [1]}), "coadd_inputs", PATCH)
    with pytest.raises(DataIdError, match=r"calexp.psf needs visit, ccd; .*\('inputs'\) does not give ccd"):
        butler.get("lenient", PATCH)


# Putting it


def test_the_lists_follow_the_table_that_is_put(butler: Butler) -> None:
    butler.put(Coadd(a_coadd().image, the_inputs([(2, "a"), (1, "a")])), "coadd", PATCH)
    coadd = butler.get("coadd", PATCH)
    assert coadd.psfs == [GaussianPsf(1.1), GaussianPsf(1.2)]
    butler.put(coadd, "coadd", PATCH)
    coadd.inputs = the_inputs([(2, "a"), (11, "a")])
    with pytest.raises(AssemblyError, match=r"'psfs' are not those that 'inputs' lists; lacking: .*11.*; extra: .*1,"):
        butler.put(coadd, "coadd", PATCH, replace=True)
    coadd.psfs = coadd.wcss = None
    butler.put(coadd, "coadd", PATCH, replace=True)
    assert butler.get("coadd.psfs", PATCH) == [GaussianPsf(1.2), GaussianPsf(2.1)]
    changed = butler.get("coadd", PATCH)
    changed.psfs[0] = GaussianPsf(9.0)
    with pytest.raises(AssemblyError, match=r"'psfs' differs from calexp.psf.*would be lost"):
        butler.put(changed, "coadd", PATCH)


def test_it_keeps_to_the_inputs_that_it_was_made_from(butler: Butler, visits: Path) -> None:
    butler.put(a_coadd(), "coadd", PATCH)
    with Butler(outputs=visits, durability="fast") as again:
        redone = an_exposure(1)
        redone.psf = GaussianPsf(3.0)
        again.put(redone, "calexp", visit=1, ccd="a", replace=True)
    assert butler.get("calexp.psf", visit=1, ccd="a") == GaussianPsf(3.0)
    assert butler.get("coadd.psfs", PATCH)[0] == GaussianPsf(1.1)
    assert butler.get("coadd.psfs", PATCH, resolve="nearest")[0] == GaussianPsf(3.0)


# Provenance


def test_what_it_was_made_from(butler: Butler, visits: Path, jointcal: Path) -> None:
    used = list(butler.query("calexp:jointcal", visit=2))
    ref = butler.put(a_coadd(), "coadd", PATCH, precursors=used)
    found = butler.made_from(ref)
    assert named(found)[:2] == ["calexp:jointcal 2 a 0", "calexp:jointcal 2 b 0"], "precursors first"
    inputs = ["1 a", "2 a", "2 b", "11 a"]
    assert set(named(found)[2:]) == {
        "coadd_image 0 1,1",
        "coadd_inputs 0 1,1",
        *(f"calexp {data_id}" for data_id in inputs),
        *(f"calexp:jointcal.wcs 0 {data_id}" for data_id in inputs),
    }
    assert butler.made_from("coadd", PATCH) == found
    alone = butler.made_from("coadd", PATCH, components=False)
    assert alone == found[:2]
    assert [ref.repository for ref in alone] == [str(jointcal)] * 2
    exposure = alone[0].get()
    assert (exposure.image[0, 0], exposure.wcs.wcs.crval[0]) == (2.0, 2.001)
    deep = butler.made_from("coadd", PATCH, deep=True)
    assert deep[: len(found)] == found
    assert {ref.repository for ref in deep} == {str(jointcal), str(visits), butler.repositories()[0]}


def test_what_it_was_used_in(butler: Butler) -> None:
    first = butler.put(a_coadd().image, "coadd_image", PATCH, precursors=butler.query("calexp:jointcal", ccd="a"))
    second = butler.query("calexp:jointcal", visit=2)
    butler.put(a_coadd().image, "coadd_image", tract=0, patch="1,2", precursors=second)
    butler.put(a_coadd(), "coadd", tract=0, patch="3,3", precursors=[first])
    holders = ["coadd 0 3,3", "calexp:jointcal 2 a 0"]
    assert named(butler.used_in("calexp", visit=2, ccd="a")) == holders, "of its PSF and its pixels; the nearest first"
    assert named(butler.used_in("calexp", visit=2, ccd="a", components=False)) == []
    of_jointcal = butler.used_in("calexp:jointcal", visit=2, ccd="a", tract=0)
    assert named(of_jointcal) == ["coadd_image 0 1,1", "coadd_image 0 1,2"]
    deep = butler.used_in("calexp", visit=1, ccd="a", deep=True)
    assert named(deep) == ["coadd 0 3,3", "calexp:jointcal 1 a 0", "coadd_image 0 1,1"]
    assert butler.used_in(first) == butler.used_in("coadd_image", PATCH)
    assert named(butler.used_in(first)) == ["coadd 0 3,3"]
    assert butler.used_in(deep[0]) == []


def test_a_part_was_used_where_that_part_was(butler: Butler) -> None:
    butler.put(a_coadd(), "coadd", PATCH)
    data_id = {"visit": 1, "ccd": "a"}
    assert named(butler.used_in("calexp.psf", data_id)) == ["coadd 0 1,1", "calexp:jointcal 1 a 0"]
    assert named(butler.used_in("calexp.image", data_id)) == ["calexp:jointcal 1 a 0"]
    assert named(butler.used_in("calexp.wcs", data_id)) == [], "jointcal has its own"
    assert named(butler.used_in("calexp:jointcal.wcs", data_id, tract=0)) == ["coadd 0 1,1", "calexp:jointcal 1 a 0"]


def test_a_composite_that_was_never_put_is_its_leaves(butler: Butler) -> None:
    butler.define({"datasets": {"pair": {"composite": {"one": "calexp", "two": "calexp:jointcal.wcs"}}}})
    ref = next(iter(butler.query("pair", visit=2, ccd="b", tract=0)))
    assert ref.uuid is None
    butler.put(a_coadd().image, "coadd_image", PATCH, precursors=[ref])
    leaves = ["calexp 2 b", "calexp:jointcal.wcs 0 2 b"]
    assert named(butler.made_from("coadd_image", PATCH)) == leaves
    assert named(butler.made_from(ref)) == leaves
    assert butler.made_from(ref, components=False) == []
    butler.put(a_coadd().image, "coadd_image", tract=0, patch="2,2", precursors=butler.query("calexp", visit=2))
    assert named(butler.used_in(ref, components=False)) == ["coadd_image 0 1,1"], "2,2 has only one of the leaves"


def test_references_keep_to_what_was_used(butler: Butler, visits: Path) -> None:
    butler.put(a_coadd().image, "coadd_image", PATCH, precursors=butler.query("calexp", visit=1))
    with Butler(outputs=visits, durability="fast") as again:
        again.put(an_exposure(7), "calexp", visit=1, ccd="a", replace=True)
    (ref,) = butler.made_from("coadd_image", PATCH)
    assert ref.get().image[0, 0] == 1.0, "the old one, which is in the trash"
    assert ref.get("psf") == GaussianPsf(1.1)
    assert named(butler.used_in(ref)) == ["coadd_image 0 1,1", "calexp:jointcal 1 a 0"]
    assert butler.used_in("calexp", visit=1, ccd="a") == [], "nothing was made from the new one yet"


def test_what_was_replaced_uses_nothing_any_more(butler: Butler) -> None:
    used = list(butler.query("calexp", visit=1))
    butler.put(a_coadd().image, "coadd_image", PATCH, precursors=used)
    image = a_coadd().image
    image.image += 1.0
    butler.put(image, "coadd_image", PATCH, replace=True, precursors=butler.query("calexp", visit=11))
    assert named(butler.used_in(used[0], components=False)) == []
    assert named(butler.made_from("coadd_image", PATCH)) == ["calexp 11 a"]


def test_inside_a_transaction(butler: Butler) -> None:
    used = list(butler.query("calexp", visit=1))
    with butler.transaction():
        butler.put(a_coadd().image, "coadd_image", PATCH, precursors=used)
        assert named(butler.used_in(used[0], components=False)) == ["coadd_image 0 1,1"]
        assert butler.made_from("coadd_image", PATCH) == used
        butler.delete("coadd_image", PATCH)
        assert butler.used_in(used[0], components=False) == []


def test_a_precursor_that_is_nowhere_to_be_found(butler: Butler, tmp_path: Path) -> None:
    butler.put(a_coadd().image, "coadd_image", PATCH, precursors=butler.query("calexp", visit=1))
    butler.copy_to(tmp_path / "alone", ["coadd_image"])
    with Butler(tmp_path / "alone", trust=[HERE]) as alone:
        (ref,) = alone.made_from("coadd_image", PATCH)
        assert (ref.name, ref.data_id, ref.repository, ref.uri) == ("calexp", {"visit": 1, "ccd": "a"}, None, None)
        assert ref.uuid == next(iter(butler.query("calexp", visit=1))).uuid
        for call in (ref.get, lambda: alone.used_in(ref), lambda: alone.made_from(ref)):
            with pytest.raises(DatasetNotFoundError, match=r"calexp .*visit.*is in none of the repositories"):
                call()
        with pytest.raises(DatasetNotFoundError, match=r"it was at .*visits.*calexp/1-a.fits"):
            ref.get()


def test_wrong_uses(butler: Butler) -> None:
    with pytest.raises(DatasetNotFoundError):
        butler.made_from("coadd_image", PATCH)
    with pytest.raises(DataIdError):
        butler.used_in("calexp", visit=1)
    with pytest.raises(ParameterError, match="takes DatasetRefs"):
        butler.put(a_coadd().image, "coadd_image", PATCH, precursors=["calexp"])  # type: ignore[list-item]


# Real links


def test_the_inputs_of_five_coadds_of_stripe_82(shared_data: Path, tmp_path: Path) -> None:
    """572 links from patches to the CCDs that overlap them, each with its WCS."""
    folder = shared_data / "stripe82"
    links = Table.read(folder / "coadd_inputs.csv", format="ascii.csv")
    with gzip.open(folder / "case03_Science_Ccd_Exposure_coadd_r.csv.gz", "rt") as file:
        ccds = Table.read(file.read(), format="ascii.csv", guess=False)
    policy = {
        "keys": {"run": "int", "camcol": "int", "field": "int"},
        "datasets": {
            "ccd_wcs": {"python": "astropy.wcs.WCS", "template": "{run:d}/{camcol:d}-{field:d}.fits"},
            "coadd_inputs": {"python": "astropy.table.Table", "template": "inputs/{tract:d}/{patch}.fits"},
            "deepCoadd": {
                "composite": {
                    "inputs": "coadd_inputs",
                    "wcss": {"datasetType": "ccd_wcs", "dataIds": "inputs", "inputOnly": True},
                }
            },
        },
    }
    patches = ["159,0", "159,1"]
    links = links[np.isin(links["patch"], patches)]
    wanted = {tuple(row) for row in links["run", "camcol", "field"]}
    rows = {tuple(row["run", "camcol", "field"]): row for row in ccds if tuple(row["run", "camcol", "field"]) in wanted}
    assert set(rows) == wanted
    with Butler(outputs=RepositoryArgs(tmp_path, policy=policy), durability="fast") as butler:
        with butler.transaction():
            for (run, camcol, field), row in rows.items():
                wcs = WCS(naxis=2)
                wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
                wcs.wcs.crpix, wcs.wcs.crval = [row["crpix1"], row["crpix2"]], [row["crval1"], row["crval2"]]
                wcs.wcs.cd = [[row["cd1_1"], row["cd1_2"]], [row["cd2_1"], row["cd2_2"]]]
                butler.put(wcs, "ccd_wcs", run=run, camcol=camcol, field=field)
        for patch in patches:
            butler.put({"inputs": links[links["patch"] == patch]}, "deepCoadd", tract=0, patch=patch)
        for patch, count in zip(patches, (28, 52), strict=True):
            wcss = butler.get("deepCoadd.wcss", tract=0, patch=patch)
            assert len(wcss) == count
            for data_id, wcs in zip(wcss.data_ids, wcss, strict=True):
                row = rows[data_id["run"], data_id["camcol"], data_id["field"]]
                ra, dec = wcs.all_pix2world([[1023.5, 743.5]], 0)[0]
                assert (ra, dec) == pytest.approx((row["ra"], row["decl"]), abs=2e-3), "the middle of that very CCD"
        for patch in patches:
            first = links[links["patch"] == patch][0]
            found = butler.used_in("ccd_wcs", {key: int(first[key]) for key in ("run", "camcol", "field")})
            assert named(found) == [f"deepCoadd 0 {patch}"]
        made = butler.made_from("deepCoadd", tract=0, patch="159,0")
        assert sum(ref.name == "ccd_wcs" for ref in made) == 28
