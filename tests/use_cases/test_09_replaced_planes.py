"""Use case 9: an exposure whose WCS, mask or image is replaced by one that is stored elsewhere.

Whatever is replaced is not read: the bytes are counted, and what is replaced is destroyed on disk without any harm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    DatasetExistsError,
    DatasetNotFoundError,
    Exposure,
    GaussianPsf,
    IntegrityError,
    Mask,
    PhotoCalib,
    RepositoryArgs,
    VisitInfo,
)

from .counting import Counted

SHAPE = (2048, 1024)
PLANE = 4 * SHAPE[0] * SHAPE[1]
REGISTRY = 120_000
"""More than a get reads of registries, headers and small parts."""
CCD = {"visit": 903334, "ccd": "22"}

BASE = """
keys: {visit: int, ccd: str}
datasets:
  calexp:
    python: bunter.Exposure
    storage: FitsExposure
    template: "calexp/{visit:d}/calexp-{ccd}.fits"
"""

REPLACED = """
datasets:
  calexp.wcs:astrometry: {python: astropy.wcs.WCS, storage: FitsWcs, template: "wcs/{visit:d}/wcs-{ccd}.fits"}
  calexp:astrometry: {base: calexp}

  calexp.mask:remasked: {python: bunter.Mask, storage: FitsPart, template: "mask/{visit:d}/mask-{ccd}.fits"}
  calexp:remasked: {base: calexp}

  calexp.image:coaddready: {python: numpy.ndarray, storage: FitsImage, template: "image/{visit:d}/image-{ccd}.fits"}
  calexp.variance:coaddready: {python: numpy.ndarray, storage: FitsImage, template: "image/{visit:d}/var-{ccd}.fits"}
  calexp:coaddready: {base: "calexp:remasked"}
"""


def a_wcs(ra: float = 150.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 2.0]
    wcs.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    wcs.wcs.cdelt = [-5e-5, 5e-5]
    return wcs


def an_exposure() -> Exposure:
    random = np.random.default_rng(9)
    return Exposure(
        random.normal(100.0, 5.0, SHAPE).astype("f4"),
        mask=Mask((random.random(SHAPE) > 0.99).astype("i4"), {"BAD": 0}),
        variance=random.uniform(24.0, 26.0, SHAPE).astype("f4"),
        wcs=a_wcs(),
        photo_calib=PhotoCalib.from_zero_point(27.0),
        psf=GaussianPsf(2.0),
        visit_info=VisitInfo(visit=903334),
        metadata={"OBSERVER": "Bunter"},
    )


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One repository with the exposure, and one in which other planes take the place of its own."""
    folder = tmp_path_factory.mktemp("uc9")
    with Butler(outputs=RepositoryArgs(folder / "calexp", policy=BASE)) as first:
        first.put(an_exposure(), "calexp", CCD)
    with Butler(inputs=folder / "calexp", outputs=RepositoryArgs(folder / "later", policy=REPLACED)) as second:
        exposure = an_exposure()
        exposure.wcs = a_wcs(150.001)
        second.put(exposure, "calexp:astrometry", CCD)
        exposure = an_exposure()
        exposure.mask.set_plane("SAT", exposure.image > 115.0)
        second.put(exposure, "calexp:remasked", CCD)
        exposure.image = exposure.image - np.float32(100.0)
        exposure.variance = exposure.variance * np.float32(1.1)
        second.put(exposure, "calexp:coaddready", CCD)
    return folder / "calexp", folder / "later"


@pytest.fixture
def butler(repositories: tuple[Path, Path]) -> Butler:
    return Butler(repositories[1])


def bytes_of(butler: Butler, name: str) -> int:
    """Read something twice; return what the second time read."""
    butler.get(name, CCD)
    with Counted() as io:
        butler.get(name, CCD)
    return io.read


def test_what_is_on_disk(repositories: tuple[Path, Path]) -> None:
    _, second = repositories
    sizes = {str(p.relative_to(second)): p.stat().st_size for p in second.rglob("*.fits")}
    assert set(sizes) == {
        "wcs/903334/wcs-22.fits",
        "mask/903334/mask-22.fits",
        "image/903334/image-22.fits",
        "image/903334/var-22.fits",
    }
    assert sizes["wcs/903334/wcs-22.fits"] < 3000
    assert all(size < PLANE + 20_000 for size in sizes.values())


def test_each_stage_is_the_whole_exposure(butler: Butler) -> None:
    base = an_exposure()
    assert butler.get("calexp", CCD) == base
    base.wcs = a_wcs(150.001)
    assert butler.get("calexp:astrometry", CCD) == base
    base.wcs = a_wcs()
    base.mask.set_plane("SAT", base.image > 115.0)
    assert butler.get("calexp:remasked", CCD) == base
    base.image = base.image - np.float32(100.0)
    base.variance = base.variance * np.float32(1.1)
    assert butler.get("calexp:coaddready", CCD) == base, "the mask is that of the stage before"


@pytest.mark.parametrize("name", ["calexp", "calexp:astrometry", "calexp:remasked", "calexp:coaddready"])
def test_a_whole_reads_three_planes_never_more(butler: Butler, name: str) -> None:
    assert 3 * PLANE < bytes_of(butler, name) < 3 * PLANE + REGISTRY


@pytest.mark.parametrize(
    ("name", "planes"),
    [
        ("calexp:astrometry.wcs", 0),
        ("calexp:astrometry.psf", 0),
        ("calexp:remasked.mask", 1),
        ("calexp:remasked.image", 1),
        ("calexp:coaddready.image", 1),
        ("calexp:coaddready.mask", 1),
        ("calexp:coaddready.photo_calib", 0),
    ],
)
def test_a_component_reads_itself_alone(butler: Butler, name: str, planes: int) -> None:
    assert planes * PLANE <= bytes_of(butler, name) < planes * PLANE + REGISTRY


def test_a_cutout_reads_its_rows_of_the_new_plane(butler: Butler) -> None:
    bbox = {"bbox": (slice(1000, 1010), slice(0, 20))}
    butler.get("calexp:remasked", CCD, parameters=bbox)
    with Counted() as io:
        cutout = butler.get("calexp:remasked", CCD, parameters=bbox)
    assert cutout.mask.bits == {"BAD": 0, "SAT": 1}
    assert io.read < 3 * 10 * SHAPE[1] * 4 + REGISTRY


@pytest.mark.parametrize(
    ("change", "name", "written"),
    [("wcs", "calexp:astrometry", 10_000), ("mask", "calexp:remasked", PLANE + 20_000)],
)
def test_a_put_reads_no_plane(
    repositories: tuple[Path, Path], tmp_path: Path, change: str, name: str, written: int
) -> None:
    """That the other planes are unchanged is known from their checksums."""
    butler = Butler(inputs=repositories[0], outputs=RepositoryArgs(tmp_path / "out", policy=REPLACED))
    exposure = butler.get("calexp", CCD)
    if change == "wcs":
        exposure.wcs = a_wcs(150.002)
    else:
        exposure.mask.set_plane("SAT", exposure.image > 116.0)
    butler.exists(name, CCD)
    with Counted() as io:
        butler.put(exposure, name, CCD)
    assert io.read < 10 * REGISTRY < PLANE
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.fits")) < written
    assert io.written < written + 400_000


def spoil(file: Path, start: int, stop: int) -> None:
    """Overwrite some bytes of a file."""
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\x55" * (stop - start))


@pytest.mark.parametrize(
    ("component", "survivors"),
    [
        ("wcs", ["calexp:astrometry"]),
        ("mask", ["calexp:remasked", "calexp:coaddready"]),
        ("image", ["calexp:coaddready"]),
        ("variance", ["calexp:coaddready"]),
    ],
)
def test_what_was_replaced_may_be_destroyed(tmp_path: Path, component: str, survivors: list[str]) -> None:
    """The strongest proof: the bytes of the plane that is replaced are not there any more."""
    with Butler(outputs=RepositoryArgs(tmp_path / "calexp", policy=BASE)) as first:
        exposure = an_exposure().cutout((slice(0, 100), slice(0, 80)))
        exposure.origin = (0, 0)
        first.put(exposure, "calexp", CCD)
    second = Butler(inputs=tmp_path / "calexp", outputs=RepositoryArgs(tmp_path / "later", policy=REPLACED))
    wanted = {}
    for name in ("calexp:astrometry", "calexp:remasked", "calexp:coaddready"):
        if name == "calexp:astrometry":
            other = exposure.copy()
            other.wcs = a_wcs(150.1)
        elif name == "calexp:remasked":
            other = exposure.copy()
            other.mask.set_plane("SAT", other.image > 110.0)
        else:
            other.image = other.image * np.float32(2.0)
            other.variance = other.variance * np.float32(4.0)
        second.put(other, name, CCD)
        wanted[name] = other.copy()
    (leaf,) = second.plan(f"calexp.{component}", CCD).leaves()
    ((offset, length),) = leaf["bytes"]
    spoil(tmp_path / "calexp" / leaf["path"], offset, offset + length)
    with pytest.raises(IntegrityError):
        second.get("calexp", CCD)
    for name in wanted:
        if name in survivors:
            assert second.get(name, CCD) == wanted[name]
        else:
            with pytest.raises(IntegrityError, match="calexp"):
                second.get(name, CCD)


def test_the_pixels_of_a_stage_that_does_not_write_them_are_guarded(butler: Butler, tmp_path: Path) -> None:
    writer = Butler(inputs=butler.repositories()[-1], outputs=RepositoryArgs(tmp_path / "out", policy=REPLACED))
    exposure = writer.get("calexp", CCD)
    exposure.mask.set_plane("SAT", exposure.image > 115.0)
    exposure.image += np.float32(1.0)
    with pytest.raises(AssemblyError, match=r"'image' differs from calexp\.image .* these pixels would be lost"):
        writer.put(exposure, "calexp:remasked", CCD)
    writer.put(exposure, "calexp:remasked", CCD, discard=["image"])
    assert writer.get("calexp:remasked.image", CCD)[0, 0] == exposure.image[0, 0] - 1.0
    exposure.mask.set_plane("SAT", exposure.image > 120.0)
    with pytest.raises(DatasetExistsError, match="replace=True"):
        writer.put(exposure, "calexp:remasked", CCD, discard=["image"])
    writer.put(exposure, "calexp:remasked", CCD, discard=["image"], replace=True)
    np.testing.assert_array_equal(writer.get("calexp:remasked.mask", CCD).array, exposure.mask.array)


def test_a_plane_of_another_shape_is_refused(butler: Butler, tmp_path: Path) -> None:
    writer = Butler(inputs=butler.repositories()[-1], outputs=RepositoryArgs(tmp_path / "out", policy=REPLACED))
    writer.put(Mask(np.zeros((3, 4), "u1"), {"BAD": 0}), "calexp.mask:remasked", CCD)
    with pytest.raises(ValueError, match=r"mask: its shape \(3, 4\) is not that of the image") as caught:
        writer.get("calexp:remasked", CCD)
    assert "while assembling 'calexp:remasked'" in caught.value.__notes__[0]


def test_a_stage_that_is_not_there(repositories: tuple[Path, Path], tmp_path: Path) -> None:
    butler = Butler(inputs=repositories[0], outputs=RepositoryArgs(tmp_path / "out", policy=REPLACED))
    assert not butler.exists("calexp:remasked", CCD)
    with pytest.raises(DatasetNotFoundError, match="for want of mask"):
        butler.get("calexp:remasked", CCD)
    assert butler.get("calexp:remasked.image", CCD).shape == SHAPE, "the parts that are there can be had"


# "... or it might be useful to start by just decomposing all of Exposure into its constituents."

DECOMPOSED = """
datasets:
  image: {python: numpy.ndarray, storage: FitsImage, template: "{visit:d}/image-{ccd}.fits"}
  mask: {python: bunter.Mask, storage: FitsPart, template: "{visit:d}/mask-{ccd}.fits"}
  variance: {python: numpy.ndarray, storage: FitsImage, template: "{visit:d}/variance-{ccd}.fits"}
  wcs: {python: astropy.wcs.WCS, storage: FitsWcs, template: "{visit:d}/wcs-{ccd}.fits"}
  psf: {python: bunter.Psf, storage: FitsPart, template: "{visit:d}/psf-{ccd}.fits"}
  photoCalib: {python: bunter.PhotoCalib, storage: Json, template: "{visit:d}/photoCalib-{ccd}.json"}
  visitInfo: {python: bunter.VisitInfo, storage: Json, template: "{visit:d}/visitInfo.json"}
  metadata: {python: bunter.Metadata, storage: FitsPart, template: "{visit:d}/metadata-{ccd}.fits"}
  calexp:
    python: bunter.Exposure
    composite:
      {image: image, mask: mask, variance: variance, wcs: wcs, psf: psf, photoCalib: photoCalib, visitInfo: visitInfo,
       metadata: metadata}
"""


def test_an_exposure_in_all_its_constituents(tmp_path: Path) -> None:
    with Butler(outputs=RepositoryArgs(tmp_path / "calexp", policy=DECOMPOSED)) as first:
        first.put(an_exposure(), "calexp", CCD)
        assert first.get("calexp", CCD) == an_exposure()
        assert 3 * PLANE < bytes_of(first, "calexp") < 3 * PLANE + REGISTRY
        assert bytes_of(first, "calexp.mask") < PLANE + REGISTRY
    second = Butler(inputs=tmp_path / "calexp", outputs=tmp_path / "later")
    exposure = second.get("calexp", CCD)
    exposure.mask.set_plane("SAT", exposure.image > 115.0)
    second.put(exposure, "calexp", CCD)
    written = [str(p.relative_to(tmp_path / "later")) for p in (tmp_path / "later").rglob("*.fits")]
    assert written == ["903334/mask-22.fits"], "the same name, one plane newer"
    assert second.get("calexp", CCD) == exposure
