"""The main job on exposures: a later stage replaces the WCS and the calibration, and no pixel is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Background,
    Butler,
    ChebyshevLayer,
    ConflictError,
    DatasetNotFoundError,
    Exposure,
    GaussianPsf,
    IntegrityError,
    Mask,
    Metadata,
    ParameterError,
    PhotoCalib,
    SourceCatalog,
    VisitInfo,
)
from tests.core_support import World, making_world

POLICY = """
keys: {visit: int, ccd: str, tract: int}
datasets:
  calexp:sfm:
    python: bunter.Exposure
    storage: FitsExposure
    template: "sfm/%(visit)d/calexp-%(visit)d-%(ccd)s.fits"
  calexp.wcs:jointcal:
    {python: astropy.wcs.WCS, storage: FitsWcs, template: "jointcal/{tract:d}/wcs-{visit:d}-{ccd}.fits"}
  calexp.photoCalib:jointcal:
    {python: bunter.PhotoCalib, storage: FitsPart, template: "jointcal/{tract:d}/calib-{visit:d}-{ccd}.fits"}
  calexp:jointcal:
    base: calexp:sfm
    composite:
      wcs: calexp.wcs:jointcal
      photoCalib: {datasetType: calexp.photoCalib:jointcal}
  calexp_wcs: {partOf: calexp:sfm.wcs}
  calexp.mask:detected: {python: bunter.Mask, storage: FitsPart, template: "det/mask-{visit:d}-{ccd}.fits"}
  calexp:detected: {base: calexp:sfm, composite: {mask: calexp.mask:detected}}
  image: {python: numpy.ndarray, storage: FitsImage, template: "parts/image-{visit:d}-{ccd}.fits"}
  mask: {python: bunter.Mask, storage: FitsPart, template: "parts/mask-{visit:d}-{ccd}.fits"}
  visit_info: {python: bunter.VisitInfo, storage: FitsPart, template: "parts/info-{visit:d}.fits"}
  exposure:parts:
    python: bunter.Exposure
    composite:
      image: image
      mask: {datasetType: mask, optional: true}
      visitInfo: visit_info
  src: {python: bunter.SourceCatalog, storage: FitsTable, template: "src/{visit:d}-{ccd}.fits"}
  src:calibrated:
    python: bunter.SourceCatalog
    composite: {src: src, wcs: "calexp:jointcal.wcs", photoCalib: "calexp:jointcal.photoCalib"}
aliases: {calexp: "calexp:sfm"}
"""

ID = {"visit": 431608, "ccd": "N3"}
FULL = {**ID, "tract": 0}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def a_wcs(ra: float = 150.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 2.0]
    wcs.wcs.crpix = [30.0, 20.0]
    wcs.wcs.cdelt = [-7e-5, 7e-5]
    wcs.wcs.set()
    return wcs


def an_exposure(seed: int = 1, **parts: Any) -> Exposure:
    random = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "mask": Mask((random.random((40, 60)) < 0.1).astype("i4"), {"BAD": 0, "SAT": 1}),
        "variance": random.random((40, 60), dtype="f4"),
        "wcs": a_wcs(),
        "photo_calib": PhotoCalib.from_zero_point(27.0, 0.01),
        "psf": GaussianPsf(2.1),
        "background": Background([ChebyshevLayer(np.array([[100.0]]), (40, 60))]),
        "visit_info": VisitInfo(visit=431608, exposure_time=30.0, observatory="CTIO"),
        "detector": 7,
        "filter": "r",
    }
    image = random.normal(100, 5, (40, 60)).astype("f4")
    image[0, 0] = np.nan
    return Exposure(image, **{**values, **parts})


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.fits"))}


@pytest.fixture
def sfm(world: World) -> Butler:
    butler = world.butler("sfm", POLICY, trust=())
    butler.put(an_exposure(), "calexp:sfm", ID)
    return butler


@pytest.fixture
def joint(world: World, sfm: Butler) -> Butler:
    return world.butler("joint", inputs="sfm", trust=())


def updated(butler: Butler) -> Exposure:
    exposure: Exposure = butler.get("calexp:sfm", ID)
    exposure.wcs = a_wcs(150.001)
    exposure.photo_calib = PhotoCalib.from_zero_point(27.1, 0.002)
    return exposure


def test_the_main_job(world: World, joint: Butler) -> None:
    before = digests(world.folder / "sfm")
    assert not joint.exists("calexp:jointcal", FULL)
    with pytest.raises(DatasetNotFoundError, match=r"calexp:jointcal.wcs.*calexp:jointcal.photoCalib"):
        joint.get("calexp:jointcal", FULL)
    exposure = updated(joint)
    joint.put(exposure, "calexp:jointcal", FULL)
    assert world.files("joint") == ["jointcal/0/calib-431608-N3.fits", "jointcal/0/wcs-431608-N3.fits"]
    assert digests(world.folder / "sfm") == before
    back = joint.get("calexp:jointcal", FULL)
    assert back == exposure
    np.testing.assert_array_equal(back.image, exposure.image)
    assert back.image.dtype == np.dtype("f4")
    assert back != joint.get("calexp:sfm", ID)
    written = sum((world.folder / "joint" / name).stat().st_size for name in world.files("joint"))
    assert written < 20_000


def test_components_come_without_the_whole(world: World, joint: Butler) -> None:
    joint.put(updated(joint), "calexp:jointcal", FULL)
    place = world.folder / "sfm/sfm/431608/calexp-431608-N3.fits"
    moved = place.rename(place.with_suffix(".away"))
    assert joint.get("calexp:jointcal.wcs", FULL).wcs.crval[0] == 150.001
    assert joint.get("calexp.photo_calib:jointcal", FULL).zero_point == pytest.approx(27.1)
    with pytest.raises(IntegrityError, match="gone"):
        joint.get("calexp:jointcal.psf", FULL)
    moved.rename(place)
    assert joint.get("calexp:jointcal.psf", FULL) == GaussianPsf(2.1)
    assert joint.get("calexp.psf", ID) == GaussianPsf(2.1)
    assert joint.get("calexp_wcs", ID).wcs.crval[0] == 150.0
    for component in ("image", "mask", "variance", "background", "visit_info", "visitInfo", "detector", "filter"):
        assert joint.get(f"calexp:jointcal.{component}", FULL) is not None


def test_a_component_is_a_ranged_read(joint: Butler) -> None:
    joint.put(updated(joint), "calexp:jointcal", FULL)
    leaves = {leaf["component"]: leaf for leaf in joint.plan("calexp:jointcal", FULL).leaves()}
    total = leaves["image"]["size"]
    for name in ("psf", "visit_info", "background"):
        ranges = leaves[name]["bytes"]
        assert ranges
        assert sum(length for _, length in ranges) < total / 2
    assert leaves["wcs"]["repository_name"] == "joint"


def test_pixels_that_were_changed_are_not_lost_silently(joint: Butler) -> None:
    for change in ("image", "mask", "variance"):
        exposure = updated(joint)
        plane = getattr(exposure, change)
        (plane.array if change == "mask" else plane)[3, 4] += 1
        with pytest.raises(AssemblyError, match=rf"'{change}' differs.*would be lost.*discard=\['{change}'\]"):
            joint.put(exposure, "calexp:jointcal", FULL)
        assert not joint.exists("calexp:jointcal.wcs", FULL)
    joint.put(exposure, "calexp:jointcal", FULL, discard=["variance"])
    np.testing.assert_array_equal(joint.get("calexp:jointcal.variance", FULL), an_exposure().variance)


def test_pixels_that_are_damaged_are_noticed(world: World, joint: Butler) -> None:
    joint.put(updated(joint), "calexp:jointcal", FULL)
    place = world.folder / "sfm/sfm/431608/calexp-431608-N3.fits"
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)
    with pytest.raises(IntegrityError, match="checksum"):
        joint.get("calexp:jointcal", FULL)
    assert joint.get("calexp:jointcal.wcs", FULL) is not None


def test_one_mask_plane_more(world: World, sfm: Butler) -> None:
    exposure = sfm.get("calexp:sfm", ID)
    detected = exposure.image > 110
    exposure.mask = exposure.mask.with_plane("DETECTED", detected)
    sfm.put(exposure, "calexp:detected", ID)
    assert [name for name in world.files("sfm") if name.startswith("det")] == ["det/mask-431608-N3.fits"]
    back = sfm.get("calexp:detected", ID)
    np.testing.assert_array_equal(back.mask.plane("DETECTED"), detected)
    assert back == exposure
    assert "DETECTED" not in sfm.get("calexp:sfm.mask", ID).bits


def test_cutouts_carry_an_origin_and_cannot_be_put(joint: Butler) -> None:
    joint.put(updated(joint), "calexp:jointcal", FULL)
    box = (slice(10, 30), slice(20, 50))
    cutout = joint.get("calexp:jointcal", FULL, parameters={"bbox": box})
    assert cutout.origin == (10, 20)
    assert cutout.shape == (20, 30)
    np.testing.assert_array_equal(cutout.image, an_exposure().image[box])
    assert list(cutout.wcs.wcs.crpix) == [30.0, 20.0]
    np.testing.assert_array_equal(joint.get("calexp:sfm.image", ID, parameters={"bbox": box}), cutout.image)
    for name in ("calexp:jointcal", "calexp:sfm"):
        with pytest.raises(AssemblyError, match=r"cutout.*\(10, 20\)"):
            joint.put(cutout, name, {**FULL, "tract": 1} if "joint" in name else {**ID, "ccd": "S1"})
    with pytest.raises(ParameterError):
        joint.get("calexp:jointcal", FULL, parameters={"bbox": (slice(0, 99), slice(0, 10))})


def test_a_cutout_at_the_first_pixel_cannot_be_put_either(joint: Butler) -> None:
    cutout = joint.get("calexp:sfm", ID, parameters={"bbox": (slice(0, 5), slice(0, 5))})
    with pytest.raises(AssemblyError):
        joint.put(cutout, "calexp:jointcal", FULL)


def test_as_ccddata_shifts_the_wcs(joint: Butler) -> None:
    joint.put(updated(joint), "calexp:jointcal", FULL)
    box = (slice(10, 30), slice(20, 50))
    ccd = joint.get("calexp:jointcal", FULL, as_type=CCDData, parameters={"bbox": box})
    assert isinstance(ccd, CCDData)
    whole = joint.get("calexp:jointcal.wcs", FULL)
    np.testing.assert_allclose(ccd.wcs.pixel_to_world_values(0, 0), whole.pixel_to_world_values(20, 10))


def test_an_exposure_of_separate_files(world: World) -> None:
    butler = world.butler("a", POLICY, trust=())
    exposure = Exposure(np.ones((8, 8), "f4"), visit_info=VisitInfo(visit=1, airmass=1.2))
    butler.put(exposure, "exposure:parts", visit=1, ccd="N3")
    with_mask = Exposure(
        np.ones((8, 8), "f4"), mask=Mask(np.ones((8, 8), "i4"), {"BAD": 0}), visit_info=VisitInfo(visit=1, airmass=1.2)
    )
    butler.put(with_mask, "exposure:parts", visit=1, ccd="N4")
    assert world.files("a") == [
        "parts/image-1-N3.fits", "parts/image-1-N4.fits", "parts/info-1.fits", "parts/mask-1-N4.fits",
    ]  # fmt: skip
    assert butler.get("exposure:parts", visit=1, ccd="N3") == exposure
    assert butler.get("exposure:parts", visit=1, ccd="N4") == with_mask
    other = Exposure(np.ones((8, 8), "f4"), visit_info=VisitInfo(visit=1, airmass=9.9))
    with pytest.raises(ConflictError, match=r"airmass=1.2.*airmass=9.9"):
        butler.put(other, "exposure:parts", visit=1, ccd="N5", replace=True)
    lost = Exposure(np.ones((8, 8), "f4"), visit_info=VisitInfo(visit=1, airmass=1.2), psf=GaussianPsf(1.0))
    with pytest.raises(AssemblyError, match="'psf'"):
        butler.put(lost, "exposure:parts", visit=1, ccd="N6")


def test_a_catalog_takes_wcs_and_calibration_from_its_exposure(world: World, joint: Butler) -> None:
    joint.put(updated(joint), "calexp:jointcal", FULL)
    joint.put(SourceCatalog({"id": [1, 2], "flux": [10.0, 20.0]}), "src", ID)
    catalog = joint.get("src:calibrated", FULL)
    assert isinstance(catalog, SourceCatalog)
    assert catalog.getWcs().wcs.crval[0] == 150.001
    assert catalog.calib == PhotoCalib.from_zero_point(27.1, 0.002)
    before = world.files("joint")
    joint.put(catalog, "src:calibrated", FULL)
    assert world.files("joint") == before
    stored = joint.get("src", ID)
    assert stored.wcs is None
    assert stored.photo_calib is None
    shared = [joint.get(name, FULL, share=True) for name in ("src:calibrated", "calexp:jointcal.wcs")]
    assert shared[0].wcs is shared[1]


def test_ingested_exposures_are_the_same_as_put_ones(world: World, sfm: Butler) -> None:
    other = world.butler("other", POLICY, trust=())
    (file,) = (world.folder / "sfm").rglob("*.fits")
    for scan in ("none", "headers", "full"):
        other.ingest("calexp:sfm", file, scan=scan, on_exists="replace")
        assert other.get("calexp:sfm", ID) == an_exposure()
        assert other.get("calexp:sfm.psf", ID) == GaussianPsf(2.1)
    child = world.butler("child", inputs="other", trust=())
    child.put(updated(child), "calexp:jointcal", FULL)
    assert child.get("calexp:jointcal", FULL) == updated(child)


def test_no_zero_point_survives_in_the_metadata(joint: Butler) -> None:
    exposure = updated(joint)
    exposure.metadata = Metadata({"OBJECT": "M31", "MAGZERO": 25.0})
    exposure.metadata["FLUXMAG0"] = 1e9
    with pytest.raises(AssemblyError, match="'metadata'"):
        joint.put(exposure, "calexp:jointcal", FULL)
    joint.put(exposure, "calexp:sfm", {**ID, "ccd": "S2"})
    assert dict(joint.get("calexp:sfm.metadata", {**ID, "ccd": "S2"})) == {"OBJECT": "M31"}
