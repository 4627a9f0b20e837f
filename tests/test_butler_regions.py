"""Region queries: what overlaps a part of the sky, by footprints and by the polygons of tracts and patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from bunter import Butler, DataIdError, DatasetExistsError, Exposure, ParameterError, RepositoryArgs, RepositoryError
from bunter.sky import Box, Circle, Polygon

POLICY = """
datasets:
  calexp:sfm: {python: bunter.Exposure, storage: FitsExposure, template: "sfm/{visit:d}/calexp-{visit:d}-{ccd}.fits"}
  calexp.wcs:jointcal:
    {python: astropy.wcs.WCS, storage: FitsWcs, template: "jointcal/{tract:d}/wcs-{visit:d}-{ccd}.fits"}
  calexp:jointcal: {base: "calexp:sfm", composite: {wcs: "calexp.wcs:jointcal"}}
  raw: {storage: Fits, template: "raw-{visit:d}.fits", parts: {image: {hdu: SCI}, wcs: {hdu: SCI}}}
  object: {python: dict, storage: Json, template: "object/{tract:d}-{patch}.json"}
  summary: {python: dict, storage: Json, template: "summary/{visit:d}.json"}
  VisitExposure: {composite: {ccds: {datasetType: "calexp:sfm", subset: true}}, keys: [visit]}
"""
SHAPE = (60, 40)
# Three tracts side by side, that overlap by 0.02 degrees.
TRACTS = {
    "tract": [0, 1, 2],
    "ra1": [9.9, 10.3, 10.7], "ra2": [10.32, 10.72, 11.12],
    "dec1": [-1.0, -1.0, -1.0], "dec2": [1.0, 1.0, 1.0],
}  # fmt: skip


def wcs(ra: float, dec: float = 0.0) -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.cdelt, made.wcs.crpix = [ra, dec], [-0.002, 0.002], [20.5, 30.5]
    return made


def exposure(ra: float, dec: float = 0.0) -> Exposure:
    return Exposure(np.zeros(SHAPE, np.float32), wcs=wcs(ra, dec))


def ids(query: Any) -> list[dict[str, Any]]:
    return [dict(ref.data_id) for ref in query]


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    """Ten visits of one CCD, 0.1 degrees apart from RA 10 on; each is 0.08 x 0.12 degrees large."""
    made = Butler(outputs=RepositoryArgs(tmp_path / "first", policy=POLICY))
    with made.transaction():
        for visit in range(10):
            made.put(exposure(10 + 0.1 * visit), "calexp:sfm", visit=visit, ccd="N3")
    return made


def test_a_stored_type(butler: Butler) -> None:
    assert ids(butler.query("calexp:sfm", region=Circle(10.2, 0, 0.01))) == [{"visit": 2, "ccd": "N3"}]
    assert ids(butler.query("calexp:sfm", region="circle 10.25 0 0.02")) == [
        {"visit": 2, "ccd": "N3"}, {"visit": 3, "ccd": "N3"}
    ]  # fmt: skip
    assert butler.query("calexp:sfm", region=Box(10.15, 10.45, 0.059, 1)).count() == 3
    assert butler.query("calexp:sfm", region=Polygon([(10, 0), (10.1, 0), (10.05, 2)])).count() == 2
    assert ids(butler.query("calexp:sfm", region=Circle(20, 0, 1))) == []


def test_with_everything_else_that_a_query_takes(butler: Butler) -> None:
    region = Box(10.15, 10.65, -1, 1)
    found = butler.query("calexp:sfm", region=region, where="visit > 3", order_by="-visit", limit=2)
    assert [ref.data_id["visit"] for ref in found] == [6, 5]
    assert ids(butler.query("calexp:sfm", region=region, visit=4)) == [{"visit": 4, "ccd": "N3"}]
    assert ids(butler.query("calexp:sfm", region=region, visit=9)) == []


def test_many_at_once(butler: Butler) -> None:
    with butler.transaction():
        for visit in range(100, 250):
            butler.put(exposure(50), "calexp:sfm", visit=visit, ccd="N3")
    assert butler.query("calexp:sfm", region=Circle(50, 0, 0.1)).count() == 150


def test_components_and_aggregates_lie_where_their_composites_do(butler: Butler) -> None:
    region = Circle(10.2, 0, 0.01)
    assert ids(butler.query("calexp:sfm.psf", region=region)) == [{"visit": 2, "ccd": "N3"}]
    assert ids(butler.query("VisitExposure", region=region)) == [{"visit": 2}]


def test_a_composite_that_was_put_lies_where_its_own_wcs_says(butler: Butler) -> None:
    moved = butler.get("calexp:sfm", visit=2, ccd="N3")
    moved.wcs = wcs(30)
    butler.put(moved, "calexp:jointcal", visit=2, ccd="N3", tract=0)
    assert ids(butler.query("calexp:jointcal", region=Circle(30, 0, 0.01))) == [{"visit": 2, "ccd": "N3", "tract": 0}]
    assert ids(butler.query("calexp:jointcal", region=Circle(10.2, 0, 0.01))) == []
    assert ids(butler.query("calexp:jointcal.psf", region=Circle(30, 0, 0.01))) == [{"visit": 2, "ccd": "N3"}]
    assert ids(butler.query("calexp:sfm", region=Circle(10.2, 0, 0.01))) == [{"visit": 2, "ccd": "N3"}]


def test_a_composite_that_was_never_put_lies_where_its_wcs_or_else_its_image_says(butler: Butler) -> None:
    stated = wcs(30)
    stated.array_shape = SHAPE
    butler.put(stated, "calexp.wcs:jointcal", visit=2, ccd="N3", tract=0)
    # This one does not state the shape of the image, which it does not know.
    butler.put(wcs(10.3), "calexp.wcs:jointcal", visit=3, ccd="N3", tract=0)
    assert ids(butler.query("calexp:jointcal", region=Circle(30, 0, 0.01))) == [{"visit": 2, "ccd": "N3", "tract": 0}]
    assert ids(butler.query("calexp:jointcal", region=Circle(10.2, 0, 0.01))) == []
    assert ids(butler.query("calexp:jointcal", region=Circle(10.3, 0, 0.01))) == [{"visit": 3, "ccd": "N3", "tract": 0}]


def test_a_wcs_that_is_replaced_moves_the_composites_that_pin_it(butler: Butler) -> None:
    moved = butler.get("calexp:sfm", visit=2, ccd="N3")
    moved.wcs = wcs(30)
    butler.put(moved, "calexp:jointcal", visit=2, ccd="N3", tract=0)
    again = wcs(40)
    again.array_shape = SHAPE
    butler.put(again, "calexp.wcs:jointcal", visit=2, ccd="N3", tract=0, replace=True)
    assert butler.query("calexp:jointcal", region=Circle(30, 0, 0.01)).count() == 0
    assert butler.query("calexp:jointcal", region=Circle(40, 0, 0.01)).count() == 1
    # Without a shape: where its parts lie.
    butler.put(wcs(50), "calexp.wcs:jointcal", visit=2, ccd="N3", tract=0, replace=True)
    assert butler.query("calexp:jointcal", region=Circle(40, 0, 0.01)).count() == 0
    assert butler.query("calexp:jointcal", region=Circle(10.2, 0, 0.01)).count() == 1


def test_replaced_and_deleted_datasets_are_not_found(butler: Butler) -> None:
    butler.put(exposure(70), "calexp:sfm", visit=2, ccd="N3", replace=True)
    assert butler.query("calexp:sfm", region=Circle(10.2, 0, 0.01)).count() == 0
    assert butler.query("calexp:sfm", region=Circle(70, 0, 0.01)).count() == 1
    butler.delete("calexp:sfm", visit=2, ccd="N3")
    assert butler.query("calexp:sfm", region=Circle(70, 0, 0.01)).count() == 0


def test_a_nearer_dataset_masks_a_farther_one(butler: Butler, tmp_path: Path) -> None:
    child = Butler(inputs=tmp_path / "first", outputs=tmp_path / "child")
    assert child.query("calexp:sfm", region=Circle(10.2, 0, 0.01)).count() == 1
    child.put(exposure(70), "calexp:sfm", visit=2, ccd="N3")
    assert child.query("calexp:sfm", region=Circle(10.2, 0, 0.01)).count() == 0
    assert child.query("calexp:sfm", region=Circle(70, 0, 0.01)).count() == 1
    assert butler.query("calexp:sfm", region=Circle(10.2, 0, 0.01)).count() == 1


def test_a_transaction_sees_its_own_and_leaves_nothing_if_it_fails(butler: Butler) -> None:
    def attempt() -> None:
        with butler.transaction():
            butler.put(exposure(70), "calexp:sfm", visit=77, ccd="N3")
            butler.add_regions("tract", TRACTS)
            assert butler.query("calexp:sfm", region=Circle(70, 0, 0.01)).count() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attempt()
    assert butler.query("calexp:sfm", region=Circle(70, 0, 0.01)).count() == 0
    butler.put({"a": 1}, "object", tract=1, patch="0,0")
    with pytest.raises(ParameterError, match="nothing is known"):
        butler.query("object", region=Circle(10, 0, 1))


def test_tracts_restrict_what_is_found(butler: Butler) -> None:
    for tract in (0, 1):
        butler.put(wcs(10.3), "calexp.wcs:jointcal", visit=3, ccd="N3", tract=tract)
        butler.put(wcs(10.3), "calexp.wcs:jointcal", visit=2, ccd="N3", tract=tract)
    # Visit 3 goes from 10.26 to 10.34 and lies in both; the circle only in tract 0.
    region = Circle(10.28, 0, 0.005)
    assert [ref.data_id["tract"] for ref in butler.query("calexp:jointcal", region=region)] == [0, 1]
    assert butler.add_regions("tract", TRACTS) == 3
    assert ids(butler.query("calexp:jointcal", region=region)) == [{"visit": 3, "ccd": "N3", "tract": 0}]
    both = Circle(10.31, 0, 0.005)
    assert [ref.data_id["tract"] for ref in butler.query("calexp:jointcal", region=both)] == [0, 1]
    # What is keyed by visit and CCD is found through no tract.
    assert ids(butler.query("calexp:sfm", region=region)) == [{"visit": 3, "ccd": "N3"}]


def test_catalogs_of_tracts_and_patches_lie_where_their_polygons_do(butler: Butler) -> None:
    for tract in range(3):
        for patch in ("0,0", "0,1"):
            butler.put({"tract": tract}, "object", tract=tract, patch=patch)
    butler.add_regions(["tract"], Table(TRACTS))
    assert [ref.data_id["tract"] for ref in butler.query("object", region=Circle(10.5, 0, 0.01))] == [1, 1]
    patches = [
        {"patch": patch, "tract": 1, "ra1": 10.3, "ra2": 10.72, "dec1": dec, "dec2": dec + 1}
        for patch, dec in (("0,0", -1.0), ("0,1", 0.0))
    ]
    butler.add_regions(["tract", "patch"], patches)
    assert ids(butler.query("object", region=Circle(10.5, 0.5, 0.01))) == [{"tract": 1, "patch": "0,1"}]


def test_a_child_has_the_regions_of_its_parents_and_may_have_others(butler: Butler, tmp_path: Path) -> None:
    for tract in range(3):
        butler.put({"tract": tract}, "object", tract=tract, patch="0,0")
    butler.add_regions("tract", TRACTS)
    child = Butler(inputs=tmp_path / "first", outputs=tmp_path / "child")
    assert [ref.data_id["tract"] for ref in child.query("object", region=Circle(10.5, 0, 0.01))] == [1]
    child.add_regions("tract", {"tract": [1], "ra1": [80], "ra2": [81], "dec1": [0], "dec2": [1]})
    assert child.query("object", region=Circle(10.5, 0, 0.01)).count() == 0
    assert child.query("object", region=Circle(80.5, 0.5, 0.01)).count() == 1


@pytest.mark.parametrize("scan", ["headers", "full"])
def test_ingested_files_lie_where_their_headers_say(butler: Butler, tmp_path: Path, scan: str) -> None:
    for visit in (1, 2):
        header = wcs(100 + visit).to_header()
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros(SHAPE, np.float32), header, name="SCI")]
        fits.HDUList(hdus).writeto(tmp_path / f"raw-{visit}.fits")
    butler.ingest("raw", [tmp_path / "raw-1.fits", tmp_path / "raw-2.fits"], scan=scan)
    assert ids(butler.query("raw", region=Circle(102, 0, 0.01))) == [{"visit": 2}]
    assert ids(butler.query("raw", region=Circle(102.05, 0, 0.005))) == []


def test_what_is_ingested_without_a_look_lies_nowhere(butler: Butler, tmp_path: Path) -> None:
    image = fits.ImageHDU(np.zeros(SHAPE), wcs(101).to_header(), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "raw-1.fits")
    butler.ingest("raw", tmp_path / "raw-1.fits", scan="none")
    with pytest.raises(ParameterError, match=r"nothing is known of where 'raw' lies.*scan='headers'"):
        butler.query("raw", region=Circle(101, 0, 1))


def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    policy = """
    datasets:
      ooi: {storage: Fits, template: "{_}_ooi_{filter}_ls9.{ccd}.fits", idFrom: {visit: EXPNUM},
            keys: [visit, ccd], parts: {image: {hdu: "{ccd}"}, wcs: {hdu: "{ccd}"}}}
    keys: {visit: int, ccd: str, filter: str}
    implied: {filter: [visit]}
    """
    butler = Butler(outputs=RepositoryArgs(tmp_path / "decam", policy=policy))
    files = sorted((shared_data / "decam").rglob("images/**/*_ooi_*_ls9.*.fits"))
    butler.ingest("ooi", files)
    # Every cutout is of the one place.
    assert butler.query("ooi", region=Circle(186.744, 25.462, 0.005)).count() == len(files) > 3
    assert butler.query("ooi", region=Circle(186.744, 26.5, 0.5)).count() == 0


def test_a_copy_lies_where_the_original_does(butler: Butler, tmp_path: Path) -> None:
    butler.copy_to(tmp_path / "copy", "calexp:sfm")
    assert Butler(tmp_path / "copy").query("calexp:sfm", region=Circle(10.2, 0, 0.01)).count() == 1


def test_nothing_there_nothing_found(butler: Butler) -> None:
    assert butler.query("object", region=Circle(10, 0, 1)).count() == 0
    assert butler.query("calexp:jointcal", region=Circle(10, 0, 1)).count() == 0


def test_what_is_refused(butler: Butler, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="did you mean 'circle'"):
        butler.query("calexp:sfm", region="circel 1 2 3")
    butler.put({"a": 1}, "summary", visit=1)
    with pytest.raises(ParameterError, match="nothing is known of where 'summary' lies"):
        butler.query("summary", region=Circle(1, 2, 3))
    with pytest.raises(DataIdError, match="did you mean 'tract'"):
        butler.add_regions("tarct", {"tarct": [1], "ra1": [80], "ra2": [81], "dec1": [0], "dec2": [1]})
    with pytest.raises(DataIdError, match="is an int, not str"):
        butler.add_regions("tract", {"tract": ["one"], "ra1": [80], "ra2": [81], "dec1": [0], "dec2": [1]})
    with pytest.raises(RepositoryError, match="read-only"):
        Butler(tmp_path / "first").add_regions("tract", TRACTS)
    butler.add_regions("tract", TRACTS)
    assert butler.add_regions("tract", TRACTS) == 3
    other = {**TRACTS, "ra1": [9.8, 10.3, 10.7]}
    with pytest.raises(DatasetExistsError, match="another polygon already"):
        butler.add_regions("tract", other)
    butler.add_regions("tract", other, replace=True)
