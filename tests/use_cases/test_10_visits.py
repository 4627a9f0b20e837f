"""Use case 10: what is true of a whole visit is stored once, and a visit is one object."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    ConflictError,
    DataId,
    DatasetNotFoundError,
    Exposure,
    PhotoCalib,
    RepositoryArgs,
    VisitExposure,
    VisitInfo,
)

from .counting import Counted

SHAPE = (256, 256)
FRAME = 4 * SHAPE[0] * SHAPE[1]
CCDS = ("N3", "N4", "S3", "S4")
VISIT = 431608
SCALE = 7.3e-5
"""Degrees a pixel."""

NIGHT = """
keys: {visit: int, ccd: str}
datasets:
  visitInfo: {python: bunter.VisitInfo, storage: Json, template: "{visit:d}/visitInfo.json"}
  ccd: {python: bunter.Exposure, storage: FitsExposure, template: "{visit:d}/ccd-{ccd}.fits"}
  stars: {python: astropy.table.Table, storage: Parquet, template: "{visit:d}/stars-{ccd}.parquet"}
  calexp:
    python: bunter.Exposure
    composite: {exposure: ccd, visitInfo: visitInfo}
  visitExposure:
    python: bunter.VisitExposure
    composite:
      visitInfo: visitInfo
      ccds: {datasetType: calexp, subset: true, lazy: true}
  visitStars:
    assembler: concat_rows
    composite: {stars: {datasetType: stars, subset: true}}
"""

FIT = """
datasets:
  calexp.wcs:fit: {python: astropy.wcs.WCS, storage: FitsWcs, template: "fit/{visit:d}/wcs-{ccd}.fits"}
  calexp:fit: {base: calexp}
  visitExposure:fit:
    base: visitExposure
    composite:
      ccds: {datasetType: "calexp:fit", subset: true, lazy: true}
"""


def a_visit_info(**more: Any) -> VisitInfo:
    facts = {"visit": VISIT, "exposure_time": 114.0, "boresight_ra": 186.7, "boresight_dec": 25.5, "airmass": 1.1}
    return VisitInfo(**{**facts, **more})


def a_wcs(ccd: str, ra: float = 186.7, dec: float = 25.5, turned: float = 0.0) -> WCS:
    """The WCS of a CCD about the boresight of its visit, which is turned by some degrees."""
    column, row = divmod(CCDS.index(ccd), 2)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [300.0 - 310.0 * column, 290.0 - 305.0 * row]
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    wcs.wcs.cd = SCALE * np.array([[c, -s], [s, c]]) @ np.diag([-1.0, 1.0])
    wcs.wcs.set()
    return wcs


def a_ccd(ccd: str, **facts: Any) -> Exposure:
    random = np.random.default_rng(CCDS.index(ccd) if ccd in CCDS else 99)
    return Exposure(
        random.normal(100.0, 5.0, SHAPE).astype("f4"),
        wcs=a_wcs(ccd) if ccd in CCDS else None,
        photo_calib=PhotoCalib.from_zero_point(27.0),
        visit_info=a_visit_info(**facts),
        detector=ccd,
    )


def put_night(root: Path) -> None:
    with Butler(outputs=RepositoryArgs(root, policy=NIGHT)) as butler:
        for ccd in CCDS:
            butler.put(a_ccd(ccd), "calexp", visit=VISIT, ccd=ccd)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uc10") / "night"
    put_night(root)
    return root


@pytest.fixture
def butler(night: Path) -> Iterator[Butler]:
    with Butler(night) as butler:
        yield butler


@pytest.fixture
def fit(night: Path, tmp_path: Path) -> Iterator[Butler]:
    with Butler(inputs=night, outputs=RepositoryArgs(tmp_path / "fit", policy=FIT)) as butler:
        yield butler


# Visit-wide metadata


def test_the_first_ccd_writes_and_the_others_refer(tmp_path: Path) -> None:
    with Butler(outputs=RepositoryArgs(tmp_path / "night", policy=NIGHT)) as butler:
        assert butler.keys("visitInfo") == ("visit",)
        written = []
        for ccd in reversed(CCDS):
            with Counted() as io:
                butler.put(a_ccd(ccd), "calexp", visit=VISIT, ccd=ccd)
            written.append([Path(path).name for path in io.named if "visitInfo" in path])
        assert written == [["visitInfo.json"]] + [[]] * (len(CCDS) - 1)
        (only,) = (tmp_path / "night").rglob("visitInfo*")
        assert only.stat().st_size < 1000
        pinned = {
            leaf["uuid"]
            for ccd in CCDS
            for leaf in butler.plan("calexp", visit=VISIT, ccd=ccd).leaves()
            if leaf["component"] == "visitInfo"
        }
        assert len(pinned) == 1, "one dataset, of which all CCDs are made"
        for ccd in CCDS:
            assert butler.get("calexp", visit=VISIT, ccd=ccd) == a_ccd(ccd)
            assert butler.get("ccd", visit=VISIT, ccd=ccd).visit_info is None, "not in the CCD's own file"


def test_ccds_that_come_at_once(tmp_path: Path) -> None:
    """Whoever comes first writes it, whoever loses the race refers to it."""
    with Butler(outputs=RepositoryArgs(tmp_path / "night", policy=NIGHT)) as butler:
        with ThreadPoolExecutor(len(CCDS)) as pool:
            list(pool.map(lambda ccd: butler.put(a_ccd(ccd), "calexp", visit=VISIT, ccd=ccd), CCDS))
        assert len(list((tmp_path / "night").rglob("visitInfo*"))) == 1
        assert butler.query("calexp", visit=VISIT).count() == len(CCDS)


@pytest.mark.parametrize("replace", [False, True])
def test_a_conflict_shows_both_values(tmp_path: Path, replace: bool) -> None:
    put_night(tmp_path / "night")
    butler = Butler(outputs=tmp_path / "night")
    with pytest.raises(ConflictError) as caught:
        butler.put(a_ccd("N9", airmass=1.25), "calexp", visit=VISIT, ccd="N9", replace=replace)
    message = str(caught.value)
    assert "'visitInfo' is shared by all with {'visit': 431608}" in message
    assert "airmass=1.1)" in message
    assert "airmass=1.25)" in message
    assert "Nothing was written" in message
    assert not butler.exists("ccd", visit=VISIT, ccd="N9"), "neither was the CCD"
    assert not list((tmp_path / "night").rglob("*N9*"))

    butler.put(a_ccd("N9", airmass=1.25), "calexp", visit=VISIT, ccd="N9", discard=["visitInfo"])
    assert butler.get("calexp.visitInfo", visit=VISIT, ccd="N9").airmass == 1.1
    butler.put(a_visit_info(airmass=1.25), "visitInfo", visit=VISIT, replace=True)
    assert {butler.get("calexp.visit_info", visit=VISIT, ccd=ccd).airmass for ccd in (*CCDS, "N9")} == {1.25}


def test_the_components_of_the_stored_whole_are_components(butler: Butler, night: Path) -> None:
    """``calexp`` has no component ``wcs``, but it is made of an exposure that has."""
    data_id = {"visit": VISIT, "ccd": "S3"}
    wcs = butler.get("calexp.wcs", data_id)
    assert wcs.wcs.crpix.tolist() == a_wcs("S3").wcs.crpix.tolist()
    with Counted() as io:
        assert butler.get("calexp.photoCalib", data_id) == PhotoCalib.from_zero_point(27.0)
    assert io.read < FRAME
    assert io.data_files(night) == [f"{VISIT}/ccd-S3.fits"]
    assert butler.exists("calexp.wcs", data_id)
    assert butler.query("calexp.wcs", visit=VISIT).count() == len(CCDS)
    assert butler.keys("calexp.wcs") == ("visit", "ccd")
    with pytest.raises(LookupError, match="has no component 'wsc'; did you mean 'wcs'"):
        butler.get("calexp.wsc", data_id)
    with pytest.raises(AssemblyError, match="part of stored 'ccd'"):
        Butler(outputs=night).put(wcs, "calexp.wcs", data_id)


# A visit as one object


def test_a_visit_reads_its_ccds_when_they_are_asked_for(butler: Butler, night: Path) -> None:
    butler.get("visitExposure", visit=VISIT)
    with Counted() as io:
        visit = butler.get("visitExposure", visit=VISIT)
    assert io.data_files(night) == [f"{VISIT}/visitInfo.json"]
    assert io.read < 100_000 < FRAME
    assert isinstance(visit, VisitExposure)
    assert visit.visit_info == a_visit_info()
    assert len(visit) == len(visit.ccds) == 4
    assert [data_id["ccd"] for data_id in visit.ccds] == sorted(CCDS)
    with Counted() as io:
        one = visit.ccds["S3"]
    assert FRAME < io.read < FRAME + 100_000
    assert one == a_ccd("S3")
    assert visit.ccds.opened == [{"visit": VISIT, "ccd": "S3"}]
    assert visit.ccds["S3"] is one
    assert visit.ccds[{"ccd": "S3"}] is one
    assert visit.ccds[DataId(ccd="S3", visit=VISIT)] is one


def test_one_visit_info_for_all_of_them(butler: Butler) -> None:
    visit = butler.get("visitExposure", visit=VISIT)
    assert all(exposure.visit_info is visit.visit_info for exposure in visit)
    assert len(visit.ccds.opened) == 4


def test_one_component_of_every_ccd(butler: Butler, night: Path) -> None:
    visit = butler.get("visitExposure", visit=VISIT)
    visit.ccds.component("wcs")
    with Counted() as io:
        found = visit.ccds.component("wcs")
    assert {data_id["ccd"]: wcs.wcs.crpix.tolist() for data_id, wcs in found.items()} == {
        ccd: a_wcs(ccd).wcs.crpix.tolist() for ccd in CCDS
    }
    assert io.read < FRAME, "four WCSs, not one image"
    assert not visit.ccds.opened
    visit.ccds["N3"].wcs = None
    assert visit.ccds.component("wcs")[visit.ccds.data_ids[0]] is None, "what is in memory counts"
    visit.ccds.release("N3")
    assert visit.ccds["N3"].wcs is not None, "read again"


def test_wrong_ccds(butler: Butler) -> None:
    ccds = butler.get("visitExposure", visit=VISIT).ccds
    with pytest.raises(DatasetNotFoundError, match=r"no CCD 'N33'; did you mean .*it has: {'visit': 431608, 'ccd'"):
        ccds["N33"]
    with pytest.raises(DatasetNotFoundError, match="not enough to tell these CCDs apart"):
        ccds[{"visit": VISIT}]
    assert "N33" not in ccds
    assert "N3" in ccds
    assert ccds.get("N33") is None
    assert not ccds.opened, "nothing was read to find that out"


def test_a_visit_survives_pickling_and_compares_by_value(butler: Butler) -> None:
    visit = butler.get("visitExposure", visit=VISIT)
    again = pickle.loads(pickle.dumps(visit))
    assert again == visit
    again.ccds["N3"].image[0, 0] += 1.0
    assert again != visit


def test_a_ccd_that_disagrees_with_its_visit(tmp_path: Path) -> None:
    """Whole CCDs, each with a visit_info of its own, are compared when they are read."""
    policy = NIGHT.replace("composite: {exposure: ccd, visitInfo: visitInfo}", "composite: {exposure: ccd}")
    butler = Butler(outputs=RepositoryArgs(tmp_path / "night", policy=policy))
    butler.put(a_visit_info(), "visitInfo", visit=VISIT)
    butler.put(a_ccd("N3"), "calexp", visit=VISIT, ccd="N3")
    butler.put(a_ccd("N4", airmass=1.25), "calexp", visit=VISIT, ccd="N4")
    visit = butler.get("visitExposure", visit=VISIT)
    assert visit.ccds["N3"].visit_info is visit.visit_info
    with pytest.raises(ConflictError, match=r"airmass=1\.1\).*airmass=1\.25\)"):
        visit.ccds["N4"]


def test_catalogs_of_a_visit(tmp_path: Path) -> None:
    butler = Butler(outputs=RepositoryArgs(tmp_path / "night", policy=NIGHT))
    for n, ccd in enumerate(CCDS):
        butler.put(Table({"id": [n, n + 10], "flux": [1.0, 2.0]}), "stars", visit=VISIT, ccd=ccd)
    assert sorted(butler.get("visitStars", visit=VISIT)["id"]) == [0, 1, 2, 3, 10, 11, 12, 13]


# A fit to the full focal plane

TRUE = {"ra": 186.7004, "dec": 25.4997, "turned": 0.02}


def measured_stars(ccd: str) -> Table:
    """Positions of reference stars and of their images; on S4 there are two, and one is not what it seems."""
    random = np.random.default_rng(CCDS.index(ccd))
    n = 2 if ccd == "S4" else 40
    x, y = random.uniform(0, SHAPE[1], n), random.uniform(0, SHAPE[0], n)
    ra, dec = a_wcs(ccd, **TRUE).all_pix2world(x, y, 0)
    x, y = x + random.normal(0, 0.05, n), y + random.normal(0, 0.05, n)
    if ccd == "S4":
        x[1] += 3.0
    return Table({"x": x, "y": y, "ra": ra, "dec": dec})


def fitted(wcs_of: dict[str, WCS], stars: dict[str, Table]) -> dict[str, WCS]:
    """Fit one shift and one rotation about the boresight to the stars of some CCDs."""
    rows, residuals = [], []
    for ccd, table in stars.items():
        wcs = wcs_of[ccd]
        u, v = wcs.wcs.cd @ (np.array([table["x"] + 1, table["y"] + 1]) - wcs.wcs.crpix[:, None])
        xi, eta = wcs.wcs.cd @ (np.array(wcs.all_world2pix(table["ra"], table["dec"], 1)) - wcs.wcs.crpix[:, None])
        one, zero = np.ones(len(table)), np.zeros(len(table))
        rows += [np.column_stack([one, zero, -v]), np.column_stack([zero, one, u])]
        residuals += [xi - u, eta - v]
    shift_x, shift_y, angle = np.linalg.lstsq(np.vstack(rows), np.concatenate(residuals), rcond=None)[0]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    new = {}
    for ccd, wcs in wcs_of.items():
        new[ccd] = wcs.deepcopy()
        ra, dec = wcs.wcs.crval
        new[ccd].wcs.crval = [ra + shift_x / np.cos(np.radians(dec)), dec + shift_y]
        new[ccd].wcs.cd = turn @ wcs.wcs.cd
        new[ccd].wcs.set()
    return new


def error_of(wcs: WCS, ccd: str) -> float:
    """Return by how many pixels a WCS is wrong in the middle of a CCD."""
    ra, dec = a_wcs(ccd, **TRUE).all_pix2world([[128.0, 128.0]], 0)[0]
    x, y = wcs.all_world2pix([[ra, dec]], 0)[0]
    return float(np.hypot(x - 128.0, y - 128.0))


def test_a_fit_to_the_full_focal_plane_is_put_back_ccd_by_ccd(fit: Butler, night: Path, tmp_path: Path) -> None:
    stars = {ccd: measured_stars(ccd) for ccd in CCDS}
    visit = fit.get("visitExposure", visit=VISIT)
    with Counted() as io:
        start = {data_id["ccd"]: wcs for data_id, wcs in visit.ccds.component("wcs").items()}
    assert io.read < 2 * FRAME, "the fit reads no pixels"
    alone = fitted({"S4": start["S4"]}, {"S4": stars["S4"]})
    together = fitted(start, stars)
    assert error_of(alone["S4"], "S4") > 1.0, "two stars, one of them wrong: a CCD by itself fails"
    assert all(error_of(together[ccd], ccd) < 0.15 for ccd in CCDS)

    reader = Butler(inputs=night, outputs=tmp_path / "fit")
    with fit.transaction():
        for data_id, exposure in visit.ccds.items():
            exposure.wcs = together[data_id["ccd"]]
            fit.put(exposure, "calexp:fit", data_id)
            assert fit.exists("calexp:fit", data_id)
            assert not reader.exists("calexp:fit", data_id), "nobody else sees half a visit"
    written = sorted(path.name for path in (tmp_path / "fit").rglob("*.fits"))
    assert written == [f"wcs-{ccd}.fits" for ccd in sorted(CCDS)]
    got = reader.get("visitExposure:fit", visit=VISIT)
    assert got == visit
    assert all(error_of(wcs, data_id["ccd"]) < 0.15 for data_id, wcs in got.ccds.component("wcs").items())
    assert got.ccds["S4"].visit_info is got.visit_info


def test_a_fit_that_fails_half_way_leaves_nothing(fit: Butler, tmp_path: Path) -> None:
    visit = fit.get("visitExposure", visit=VISIT)

    def put_all() -> None:
        with fit.transaction():
            for data_id, exposure in visit.ccds.items():
                exposure.wcs = a_wcs(data_id["ccd"], **TRUE)
                if data_id["ccd"] == "S3":
                    exposure.image[0, 0] += 1.0
                fit.put(exposure, "calexp:fit", data_id)

    with pytest.raises(AssemblyError, match="would be lost"):
        put_all()
    assert not list((tmp_path / "fit").rglob("*.fits*"))
    assert fit.query("calexp:fit", visit=VISIT).count() == 0
    with pytest.raises(DatasetNotFoundError, match=r"no calexp:fit \{'visit': 431608\} at all"):
        fit.get("visitExposure:fit", visit=VISIT)


def test_a_visit_can_be_put_whole(fit: Butler, night: Path, tmp_path: Path) -> None:
    """CCDs that were not opened go by the name of the old stage: what they hold is put under the new one."""
    visit = fit.get("visitExposure", visit=VISIT)
    visit.ccds["N4"].wcs = a_wcs("N4", **TRUE)
    ref = fit.put(visit, "visitExposure:fit", visit=VISIT)
    assert len(list((tmp_path / "fit").rglob("*.fits"))) == 4
    assert ref.get() == visit
    later = Butler(inputs=tmp_path / "fit", outputs=tmp_path / "later")
    again = later.get("visitExposure:fit", visit=VISIT)
    again.ccds["N3"].wcs = a_wcs("N3", **TRUE)
    with Counted() as io:
        later.put(again, "visitExposure:fit", visit=VISIT)
    assert [path.name for path in (tmp_path / "later").rglob("*.fits")] == ["wcs-N3.fits"]
    assert not [path for path in io.data_files(night) if "ccd-S" in path], "what was not opened was not read"
    assert later.get("visitExposure:fit", visit=VISIT) == again


def test_visits_in_memory() -> None:
    exposures = {DataId(visit=VISIT, ccd=ccd): a_ccd(ccd) for ccd in CCDS}
    visit = VisitExposure(ccds=exposures)
    infos = {id(exposure.visit_info) for exposure in visit}
    assert len(infos) == 1, "the first CCD gives it"
    assert visit.visit_info is None
    assert repr(visit) == "<VisitExposure, 4 CCDs, 4 in memory>"
    with pytest.raises(ConflictError, match="airmass"):
        VisitExposure(a_visit_info(airmass=2.0), exposures)
    with pytest.raises(TypeError, match="need their data IDs"):
        VisitExposure(ccds=[a_ccd("N3")])
    with pytest.raises(TypeError, match=r"DataId\(visit=1, ccd='N3'\)"):
        VisitExposure(ccds={"N3": a_ccd("N3")})
    with pytest.raises(TypeError, match="a VisitInfo or None"):
        VisitExposure(7)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        visit.visit_info = a_visit_info()  # type: ignore[misc]


# Real visits

DECAM = """
keys: {visit: int, ccd: str}
datasets:
  ooi:
    storage: Fits
    template: "c4d_{_}_{_}_ooi_{_}_{_}.{ccd}.fits"
    keys: [visit, ccd]
    idFrom: {visit: EXPNUM}
    parts:
      image: {hdu: "{ccd}"}
      wcs: {hdu: "{ccd}"}
      visit_info:
        {hdu: 0, read: header, convert: {visit_info: {visit: EXPNUM, date: DATE-OBS, mjd: MJD-OBS,
          exposure_time: EXPTIME, airmass: AIRMASS, instrument: INSTRUME, observatory: OBSERVAT}}}
  raw:
    python: bunter.Exposure
    composite: {image: ooi.image, wcs: ooi.wcs, visit_info: ooi.visit_info}
  visitInfo: {python: bunter.VisitInfo, storage: Json, template: "visitInfo/{visit:d}.json"}
  calexp:
    base: raw
    composite: {visit_info: visitInfo}
  visitExposure:
    python: bunter.VisitExposure
    composite: {visitInfo: visitInfo, ccds: {datasetType: calexp, subset: true, lazy: true}}
"""


def test_real_ccds_of_one_visit(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "decam" / "field_1867p255"
    butler = Butler(outputs=RepositoryArgs(tmp_path / "visits", policy=DECAM), trust_paths=[shared_data])
    for files, template in (
        (sorted(folder.rglob("c4d_*_ooi_*.[NS]*.fits")), None),
        (sorted(folder.rglob("c4d_*_ooi_*-N10.fits")), "c4d_{_}_{_}_ooi_{_}_{_}-{ccd}.fits"),
    ):
        butler.ingest("ooi", files, template=template)
    ccds: dict[int, list[str]] = {}
    for data_id in butler.query("raw").data_ids:
        butler.put(butler.get("raw", data_id), "calexp", data_id)
        ccds.setdefault(int(data_id["visit"]), []).append(str(data_id["ccd"]))
    assert len(ccds) >= 5
    for visit, names in ccds.items():
        found = butler.get("visitExposure", visit=visit)
        assert [data_id["ccd"] for data_id in found.ccds] == sorted(names)
        assert all(exposure.visit_info is found.visit_info for exposure in found)
        assert found.visit_info.instrument == "DECam"
        assert found.visit_info.visit == visit
    assert max(map(len, ccds.values())) == 2, "a visit of two CCDs, reduced by two versions of a pipeline, that agree"
    assert len(list((tmp_path / "visits").rglob("*.json"))) == len(ccds)
