"""Use case 1: an exposure with an updated WCS and zero point, under the name of its stage.

Single-frame measurement writes whole exposures. Jointcal fits a better WCS and zero point for each CCD of a tract
and writes only these; ``calexp:jointcal`` is the exposure with the new pieces, and not one pixel is written again.
"""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    DataIdError,
    DatasetNameError,
    DatasetNotFoundError,
    DatasetTypeNotFoundError,
    Exposure,
    GaussianPsf,
    Mask,
    PhotoCalib,
    RepositoryArgs,
    VisitInfo,
)

from .counting import Counted

SHAPE = (4096, 2048)

SINGLE_VISIT = """
datasets:
  calexp:sfm:
    python: lsst.afw.image.ExposureF
    persistable: ExposureF
    storage: FitsStorage
    template: "sfm/%(visit)d/calexp-%(visit)d-%(ccd)s.fits"
"""

JOINTCAL = """
datasets:
  calexp.wcs:jointcal:
    python: lsst.afw.image.Wcs
    storage: FitsStorage
    template: "jointcal/%(tract)d/wcs-%(visit)d-%(ccd)s.fits"
  calexp.photoCalib:jointcal:
    python: lsst.afw.image.Calib
    storage: FitsStorage
    template: "jointcal/%(tract)d/photoCalib-%(visit)d-%(ccd)s.fits"
  calexp:jointcal:
    base: calexp:sfm
    composite:
      wcs: calexp.wcs:jointcal
      photoCalib: calexp.photoCalib:jointcal
"""


def a_wcs(ra: float = 150.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 2.0]
    wcs.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    wcs.wcs.cd = [[-7.3e-5, 0.0], [0.0, 7.3e-5]]
    return wcs


@pytest.fixture(scope="module")
def single_visit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one exposure of 4096 x 2048 pixels, 101 MB."""
    root = tmp_path_factory.mktemp("uc1") / "single_visit_processing"
    random = np.random.default_rng(2016)
    exposure = Exposure(
        random.normal(100.0, 5.0, SHAPE).astype("f4"),
        mask=Mask((random.random(SHAPE) > 0.99).astype("i4"), {"BAD": 0, "SAT": 1}),
        variance=np.full(SHAPE, 25.0, "f4"),
        wcs=a_wcs(),
        photo_calib=PhotoCalib.from_zero_point(27.0),
        psf=GaussianPsf(2.0),
        visit_info=VisitInfo(visit=431608, exposure_time=90.0),
        filter="r",
        metadata={"OBSERVER": "Bunter"},
    )
    with Butler(outputs=RepositoryArgs(root, policy=SINGLE_VISIT)) as butler:
        butler.put(exposure, "calexp:sfm", visit=431608, ccd="N3")
    return root


@pytest.fixture
def jointcal(single_visit: Path, tmp_path: Path) -> Butler:
    """The butler of the jointcal task."""
    return Butler(inputs=single_visit, outputs=RepositoryArgs(tmp_path / "jointcal_processing", policy=JOINTCAL))


DATA_ID = {"visit": 431608, "ccd": "N3", "tract": 0}


def put_update(butler: Butler, tract: int = 0) -> Exposure:
    """What the jointcal task does for one CCD."""
    exposure = butler.get("calexp:sfm", visit=431608, ccd="N3")
    exposure.setWcs(a_wcs(150.0 + 1e-5 * (tract + 1)))
    exposure.setCalib(PhotoCalib.from_zero_point(27.1))
    butler.put(exposure, "calexp:jointcal", {**DATA_ID, "tract": tract})
    return exposure


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_stage_is_not_there_before_it_ran(jointcal: Butler) -> None:
    assert not jointcal.exists("calexp:jointcal", DATA_ID)
    with pytest.raises(DatasetNotFoundError, match=r"calexp:jointcal\.wcs") as caught:
        jointcal.get("calexp:jointcal", DATA_ID)
    assert len(caught.value.searched) == 2, "both repositories were searched; the sfm stage was not given instead"


def test_only_the_new_pieces_are_written(jointcal: Butler, single_visit: Path) -> None:
    pixels = single_visit / "sfm" / "431608" / "calexp-431608-N3.fits"
    before = sha256(pixels)
    exposure = jointcal.get("calexp:sfm", visit=431608, ccd="N3")
    exposure.wcs = a_wcs(150.00001)
    exposure.photo_calib = PhotoCalib.from_zero_point(27.1)
    jointcal.exists("calexp:jointcal", DATA_ID)
    with Counted() as io:
        jointcal.put(exposure, "calexp:jointcal", DATA_ID)
    output = Path(jointcal.repositories()[0])
    written = {str(p.relative_to(output)): p.stat().st_size for p in (output / "jointcal").rglob("*") if p.is_file()}
    assert written == {
        "jointcal/0/wcs-431608-N3.fits": 2880,
        "jointcal/0/photoCalib-431608-N3.fits": 5760,
    }
    assert io.written < 400_000, "two small files and the registry's pages, not 101 MB"
    assert io.read < 1_000_000, "that the pixels are unchanged is known from their checksums"
    assert sha256(pixels) == before


def test_the_updated_exposure_is_one_object(jointcal: Butler, single_visit: Path) -> None:
    put = put_update(jointcal)
    with Counted() as io:
        got = jointcal.get("calexp:jointcal", DATA_ID)
    assert got == put
    np.testing.assert_array_equal(got.image, put.image)
    assert got.image.tobytes() == put.image.tobytes()
    assert got.wcs.wcs.crval[0] == 150.00001
    assert got.photo_calib.zero_point == pytest.approx(27.1)
    planes = 3 * 4 * SHAPE[0] * SHAPE[1]
    assert planes < io.read < planes + 200_000, "each plane is read once"
    opened = io.data_files(single_visit.parent) + io.data_files(Path(jointcal.repositories()[0]))
    assert len(opened) == 3, f"the exposure once, the WCS and the zero point: {opened}"


def test_one_component_is_one_small_read(jointcal: Butler, single_visit: Path) -> None:
    put_update(jointcal)
    jointcal.get("calexp:jointcal.wcs", DATA_ID)
    with Counted() as io:
        wcs = jointcal.get("calexp:jointcal.wcs", DATA_ID)
    assert wcs.wcs.crval[0] == 150.00001
    assert io.read < 60_000, "the WCS and pages of the registry"
    assert not io.data_files(single_visit), "the exposure's file is not opened"
    with Counted() as io:
        psf = jointcal.get("calexp:jointcal.psf", DATA_ID)
    assert psf == GaussianPsf(2.0)
    assert io.read < 60_000, "a ranged read out of a file of 101 MB"


def test_the_wcs_can_be_read_while_the_pixels_are_away(jointcal: Butler, single_visit: Path) -> None:
    put_update(jointcal)
    away = single_visit / "away"
    os.rename(single_visit / "sfm", away)
    try:
        assert jointcal.get("calexp:jointcal.wcs", DATA_ID).wcs.crval[0] == 150.00001
        assert jointcal.get("calexp.wcs:jointcal", DATA_ID).wcs.crval[0] == 150.00001
    finally:
        os.rename(away, single_visit / "sfm")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("calexp:jointcal", {}),
        ("calexp: jointcal", {}),
        ("calexp", {"version": "jointcal"}),
        ("calexp", {"stage": "jointcal"}),
    ],
)
def test_every_spelling_of_the_stage(jointcal: Butler, name: str, extra: dict[str, str]) -> None:
    put_update(jointcal)
    assert jointcal.get(name + ".wcs" if "version" in extra else name, {**DATA_ID, **extra}) is not None


def test_one_exposure_in_two_tracts(jointcal: Butler) -> None:
    put_update(jointcal, tract=0)
    put_update(jointcal, tract=1)
    found = [ref.data_id["tract"] for ref in jointcal.query("calexp:jointcal", visit=431608)]
    assert found == [0, 1]
    one, two = (jointcal.get("calexp:jointcal.wcs", {**DATA_ID, "tract": tract}) for tract in found)
    assert one.wcs.crval[0] != two.wcs.crval[0]


def test_a_bare_name_needs_an_alias(jointcal: Butler, single_visit: Path) -> None:
    put_update(jointcal)
    with pytest.raises(DatasetNameError, match="calexp:sfm"):
        jointcal.get("calexp", DATA_ID)
    with pytest.raises(DatasetTypeNotFoundError, match="jointcal"):
        jointcal.get("calexp:jointcla", DATA_ID)
    jointcal.alias("calexp", "calexp:jointcal")
    later = Butler(jointcal.repositories()[0])
    assert later.get("calexp.wcs", DATA_ID).wcs.crval[0] == 150.00001
    assert later.get("calexp:sfm.wcs", DATA_ID).wcs.crval[0] == 150.0


def test_pixels_that_were_changed_are_not_lost_silently(jointcal: Butler) -> None:
    exposure = jointcal.get("calexp:sfm", visit=431608, ccd="N3")
    exposure.wcs = a_wcs(151.0)
    exposure.image[7, 7] += 1.0
    with pytest.raises(AssemblyError, match="would be lost"):
        jointcal.put(exposure, "calexp:jointcal", DATA_ID)
    assert not jointcal.exists("calexp:jointcal", DATA_ID), "nothing was written"
    jointcal.put(exposure, "calexp:jointcal", DATA_ID, discard=["image"])
    assert jointcal.get("calexp:jointcal.image", DATA_ID)[7, 7] == exposure.image[7, 7] - 1.0


def test_the_same_again_writes_nothing(jointcal: Butler) -> None:
    exposure = put_update(jointcal)
    with Counted() as io:
        jointcal.put(exposure, "calexp:jointcal", DATA_ID)
    assert io.written < 20_000, "write once, compare same: not even the small files, nor a row"
    assert not [path for path in io.data_files(Path(jointcal.repositories()[0])) if ".part" in path]


def test_the_tract_has_to_be_said(jointcal: Butler) -> None:
    for tract in (0, 1):
        put_update(jointcal, tract)
    assert jointcal.keys("calexp:jointcal") == ("visit", "ccd", "tract")
    assert jointcal.keys("calexp:sfm") == ("visit", "ccd")
    with pytest.raises(DataIdError, match=r"needs also: 'tract' \(there are 0, 1\)"):
        jointcal.get("calexp:jointcal", visit=431608, ccd="N3")
    with pytest.raises(DataIdError, match="'tract'"):
        jointcal.exists("calexp:jointcal", visit=431608, ccd="N3")
    # One data ID serves all stages: what does not depend on tracts is read with one all the same, but not put.
    assert jointcal.get("calexp:sfm.psf", DATA_ID) == GaussianPsf(2.0)
    with pytest.raises(DataIdError, match="'tract'"):
        jointcal.put(Exposure(np.zeros((4, 4), "f4")), "calexp:sfm", DATA_ID)


def test_two_tracts_share_the_pixels(jointcal: Butler) -> None:
    put_update(jointcal, tract=0)
    with Counted() as io:
        put_update(jointcal, tract=1)
    assert io.written < 400_000
    leaves = [jointcal.plan("calexp:jointcal", {**DATA_ID, "tract": tract}).leaves() for tract in (0, 1)]
    same = [one["component"] for one, two in zip(*leaves, strict=True) if one["uuid"] == two["uuid"]]
    assert [leaf["component"] for leaf in leaves[0] if leaf["component"] not in same] == ["wcs", "photoCalib"]


def test_a_stage_said_twice(jointcal: Butler) -> None:
    put_update(jointcal)
    assert jointcal.get("calexp:jointcal.wcs", DATA_ID, stage="jointcal") is not None
    with pytest.raises(DataIdError, match=r"sfm.*jointcal"):
        jointcal.get("calexp:sfm", DATA_ID, version="jointcal")


def test_the_earlier_repository_knows_nothing_of_the_stage(jointcal: Butler, single_visit: Path) -> None:
    put_update(jointcal)
    jointcal.alias("calexp", "calexp:jointcal")
    with Butler(single_visit) as earlier:
        assert earlier.dataset_types() == ["calexp:sfm"]
        assert earlier.aliases() == {}
        with pytest.raises(DatasetTypeNotFoundError, match="jointcal"):
            earlier.get("calexp:jointcal", DATA_ID)
    # What is asked for stays a stage: an alias never turns into "the latest that there is".
    with pytest.raises(DatasetNotFoundError, match="calexp:jointcal"):
        jointcal.get("calexp", {**DATA_ID, "tract": 9})


def test_a_real_ccd_in_two_bricks(shared_data: Path, tmp_path: Path) -> None:
    """DECam visit 632083 (c4d_170329, CCD N3), whose files stay where they are, with a WCS for each of two bricks."""
    decam = shared_data / "decam" / "field_1867p255" / "testcase4"
    policy = files("bunter.demo").joinpath("decam.yaml").read_text("utf-8")
    # The CP20170328 folder holds one CCD.
    found = {name: str(decam / f"**/CP20170328/**/*{mark}") for name, mark in (
        ("ooi", "_ooi_*.N3.fits"), ("ood", "_ood_*.N3.fits"), ("oow", "_oow_*.N3.fits"),
        ("psfex", "-N3-psfex.fits"), ("splinesky", "-N3-splinesky.fits"),
    )}  # fmt: skip
    root = tmp_path / "decam"
    with Butler(outputs=RepositoryArgs(root, policy=policy), trust_paths=[shared_data]) as butler:
        for name, pattern in found.items():
            (ref,) = butler.ingest(name, pattern)
        visit = ref.data_id["visit"]
        exposure = butler.get("calexp:cp", visit=visit, ccd="N3")
        with Counted() as io:
            for brick, shift in ("1867p255", 1e-5), ("1869p255", 2e-5):
                better = butler.get("calexp:cp.wcs", visit=visit, ccd="N3")
                better.wcs.crval = np.add(better.wcs.crval, [shift, 0.0])
                exposure.wcs, exposure.photo_calib = better, PhotoCalib.from_zero_point(25.0 + shift)
                butler.put(exposure, "calexp:legacyzpts", visit=visit, ccd="N3", brick=brick)
        assert io.written < 800_000
        written = sorted(path.relative_to(root).as_posix() for path in root.rglob("*N3*"))
        assert written == [
            f"legacyzpts/{brick}/{what}-{visit}-N3.{suffix}"
            for brick in ("1867p255", "1869p255")
            for what, suffix in (("photoCalib", "json"), ("wcs", "fits"))
        ]
        one, two = (ref.get(component="wcs") for ref in butler.query("calexp:legacyzpts", visit=visit))
        assert two.wcs.crval[0] - one.wcs.crval[0] == pytest.approx(1e-5, rel=1e-3)
        np.testing.assert_array_equal(
            butler.get("calexp:legacyzpts", visit=visit, ccd="N3", brick="1869p255").image, exposure.image
        )


def test_a_region_finds_the_ccds_and_their_tracts(single_visit: Path, tmp_path: Path) -> None:
    """All `calexp:jointcal` in a place on the sky; of the exposure with its new WCS, not where sfm saw it."""
    size = SHAPE[1] * 7.3e-5
    policy = JOINTCAL + '  stars: {python: dict, storage: Json, template: "stars/%(tract)d.json"}\n'
    out = RepositoryArgs(tmp_path / "out", policy=policy)
    with Butler(inputs=single_visit, outputs=out, durability="fast") as jointcal:
        exposure = jointcal.get("calexp:sfm", visit=431608, ccd="N3")
        for tract, ra in (0, 150.0), (1, 150.0), (2, 150.0 + size):
            exposure.wcs, exposure.photo_calib = a_wcs(ra), PhotoCalib.from_zero_point(27.1)
            jointcal.put(exposure, "calexp:jointcal", {**DATA_ID, "tract": tract})

        def tracts(region: object, name: str = "calexp:jointcal", **keys: object) -> list[object]:
            return [ref.data_id["tract"] for ref in jointcal.query(name, region=region, **keys)]

        assert tracts("circle 150.0 2.0 0.001") == [0, 1]
        assert tracts("circle 150.0 2.0 0.001", tract=1) == [1]
        assert tracts(f"circle {150.0 + size} 2.0 0.001") == [2]
        assert tracts((149.0, 151.0, 1.0, 3.0)) == [0, 1, 2]
        assert tracts([(150.1, 1.99), (150.2, 1.99), (150.2, 2.01)]) == [2]
        assert tracts("circle 10.0 2.0 0.001") == []
        assert jointcal.query("calexp:sfm", region=f"circle {150.0 + size} 2.0 0.001").count() == 0

        # What has no WCS lies where its tract does.
        for tract in (0, 1):
            jointcal.put({"n": tract}, "stars", tract=tract)
        corners = {"ra1": [149.0, 150.1], "ra2": [150.1, 151.0], "dec1": [1.0, 1.0], "dec2": [3.0, 3.0]}
        assert jointcal.add_regions("tract", {"tract": [0, 1], **corners}) == 2
        assert tracts("circle 149.5 2.0 0.001", "stars") == [0]
        assert tracts("circle 150.1 2.0 0.001", "stars") == [0, 1]
