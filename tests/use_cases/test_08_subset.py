"""Use case 8: a repository with the catalogs alone, since the images are so large.

A ``src`` catalog holds instrumental fluxes. What makes magnitudes of them is the zero point of its exposure, which is
stored inside of the ``calexp`` file, with 12 MB of pixels around it. The subset gets the catalogs, and of each exposure
its zero point and its WCS, which are stored by themselves there: the same definitions, the same names, the same UUIDs,
and not one pixel. What is made of the subset goes back later.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from bunter import (
    Butler,
    DatasetExistsError,
    DatasetNotFoundError,
    Exposure,
    GaussianPsf,
    Mask,
    PhotoCalib,
    RepositoryArgs,
    SourceCatalog,
)

from .counting import Counted

SHAPE = (1024, 1024)
PIXELS = 3 * 4 * SHAPE[0] * SHAPE[1]
CCDS = ("N2", "N3", "S1")
N3 = {"visit": 431608, "ccd": "N3"}

POLICY = """
datasets:
  calexp:sfm:
    python: lsst.afw.image.ExposureF
    persistable: ExposureF
    storage: FitsStorage
    template: "sfm/%(visit)d/calexp-%(visit)d-%(ccd)s.fits"
  src:sfm:
    python: bunter.SourceCatalog
    template: "sfm/%(visit)d/src-%(visit)d-%(ccd)s.fits"
  # The catalog as it is used: calexp and src share the Calib and the WCS, which are components of both.
  src:calibrated:
    python: bunter.SourceCatalog
    composite:
      catalog: src:sfm
      calib: calexp:sfm.photoCalib
      wcs: calexp:sfm.wcs
aliases: {src: "src:calibrated"}
"""

STARS = """
datasets:
  stars: {python: astropy.table.Table, template: "stars/%(visit)d-%(ccd)s.fits"}
"""


def a_wcs(ra: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 25.462]
    wcs.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    wcs.wcs.cd = [[-7.3e-5, 0.0], [0.0, 7.3e-5]]
    return wcs


@pytest.fixture(scope="module")
def processing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three exposures of 1024 x 1024 pixels and their catalogs."""
    root = tmp_path_factory.mktemp("uc8") / "processing"
    random = np.random.default_rng(2016)
    with Butler(
        outputs=RepositoryArgs(root, policy=POLICY), durability="fast", producer="single-frame measurement"
    ) as butler:
        for n, ccd in enumerate(CCDS):
            exposure = Exposure(
                random.normal(100.0, 5.0, SHAPE).astype("f4"),
                mask=Mask(np.zeros(SHAPE, "i4"), {"BAD": 0}),
                variance=np.full(SHAPE, 25.0, "f4"),
                wcs=a_wcs(186.744 + n),
                photo_calib=PhotoCalib.from_zero_point(27.0 + n),
                psf=GaussianPsf(2.0),
            )
            made_from = butler.put(exposure, "calexp:sfm", visit=431608, ccd=ccd)
            src = SourceCatalog({"id": np.arange(20), "flux": random.uniform(1e3, 1e5, 20)})
            butler.put(src, "src:sfm", visit=431608, ccd=ccd, precursors=[made_from])
    return root


@pytest.fixture
def big(processing: Path) -> Iterator[Butler]:
    with Butler(processing) as butler:
        yield butler


def magnitudes(butler: Butler, **data_id: object) -> np.ndarray:
    """What an analysis does, whichever repository it runs on."""
    src = butler.get("src", data_id)
    return np.asarray(src.getCalib().to_magnitude(src["flux"]))


def size(root: Path, pattern: str = "*.fits") -> int:
    return sum(path.stat().st_size for path in root.rglob(pattern))


def test_catalogs_without_their_images(big: Butler, processing: Path, tmp_path: Path) -> None:
    small = tmp_path / "catalogs"
    big.get("src", N3)
    with Counted() as io:
        copied = big.copy_to(small, "src")
    assert (copied.datasets, copied.parts) == (9, 6), "three catalogs, three zero points, three WCS"
    assert sorted(path.relative_to(small).as_posix() for path in small.rglob("*-N3*.fits")) == [
        "sfm/431608/calexp-431608-N3.photo_calib.fits",
        "sfm/431608/calexp-431608-N3.wcs.fits",
        "sfm/431608/src-431608-N3.fits",
    ]
    assert copied.bytes == size(small) < 70_000
    assert size(processing) > 3 * PIXELS
    assert io.read < 1_000_000, "of each exposure the two parts are read, and none of its pixels"

    # The same names, with the same answers; the large repository may be far away, or gone.
    aside = processing.with_name("aside")
    shutil.move(processing, aside)
    try:
        with Butler(small) as butler:
            there = {ccd: magnitudes(butler, visit=431608, ccd=ccd) for ccd in CCDS}
            sky = butler.get("src", N3).wcs.pixel_to_world_values(10.0, 20.0)
    finally:
        shutil.move(aside, processing)
    for ccd in CCDS:
        np.testing.assert_array_equal(there[ccd], magnitudes(big, visit=431608, ccd=ccd))
    assert sky == big.get("src", N3).wcs.pixel_to_world_values(10.0, 20.0)


def test_the_image_is_not_there_and_nothing_pretends_that_it_is(big: Butler, tmp_path: Path) -> None:
    big.copy_to(tmp_path / "catalogs", "src")
    with Butler(tmp_path / "catalogs") as small:
        assert small.get("calexp:sfm.photoCalib", N3) == PhotoCalib.from_zero_point(28.0)
        for name in ("calexp:sfm", "calexp:sfm.image", "calexp:sfm.psf"):
            assert not small.exists(name, N3)
            with pytest.raises(DatasetNotFoundError, match="there is no calexp:sfm"):
                small.get(name, N3)
        assert small.query("calexp:sfm").count() == 0
        assert small.query("calexp:sfm.photoCalib").count() == small.query("src").count() == 3
        print(small.plan("src", N3))


def test_every_dataset_is_still_itself(big: Butler, tmp_path: Path) -> None:
    """A UUID is the same wherever the dataset goes, and so is what it was made from and by."""
    big.copy_to(tmp_path / "catalogs", "src", visit=431608, ccd="N3")
    with Butler(tmp_path / "catalogs") as small:
        for name in ("src:sfm", "calexp:sfm.photoCalib", "calexp:sfm.wcs"):
            here, there = small.query(name).first(), big.query(name, N3).first()
            assert here is not None
            assert there is not None
            assert (here.uuid, here.precursors) == (there.uuid, there.precursors)
        catalog, exposure = small.query("src:sfm").first(), big.query("calexp:sfm", N3).first()
        assert catalog is not None
        assert exposure is not None
        assert [made_from.uuid for made_from in catalog.precursors] == [exposure.uuid]
        assert set(small.dataset_types()) == {"calexp:sfm", "src:sfm", "src:calibrated"}
        assert small.aliases() == big.aliases()
        # Where both are open, the part and the whole are one dataset.
        with Butler(inputs=[tmp_path / "catalogs", big.repositories()[0]]) as both:
            assert both.get("src", N3).photo_calib == big.get("calexp:sfm.photoCalib", N3)
            assert both.get("calexp:sfm.image", N3).shape == SHAPE


@pytest.mark.parametrize("mode", ["hardlink", "symlink", "reference"])
def test_links_instead_of_copies(big: Butler, tmp_path: Path, mode: str) -> None:
    big.copy_to(tmp_path / "exposures", ["calexp:sfm", "src"], N3, mode=mode)
    with Butler(tmp_path / "exposures") as small, Counted() as io:
        assert Path(small.uri("calexp:sfm", N3)).samefile(big.uri("calexp:sfm", N3))
        np.testing.assert_array_equal(magnitudes(small, **N3), magnitudes(big, **N3))
    assert io.read < 1_000_000
    assert sum(path.lstat().st_size for path in (tmp_path / "exposures").rglob("*.fits") if mode != "hardlink") < 1000


def test_the_pixels_left_where_they_are(big: Butler, tmp_path: Path) -> None:
    """With parents, the copy holds what was asked for, and all the rest is found in the large repository."""
    copied = big.copy_to(tmp_path / "near", "src", parents=True)
    assert (copied.datasets, copied.parts) == (3, 0), "the catalogs; what they only read stays where it is"
    with Butler(tmp_path / "near") as near:
        np.testing.assert_array_equal(magnitudes(near, **N3), magnitudes(big, **N3))
        assert near.get("calexp:sfm.psf", N3) == GaussianPsf(2.0)
        assert near.query("calexp:sfm").count() == 3


def test_the_way_back(processing: Path, tmp_path: Path) -> None:
    """On a laptop, stars are picked out of the catalogs; back home they join the images."""
    home, laptop = tmp_path / "home", tmp_path / "laptop"
    shutil.copytree(processing, home)
    with Butler(home) as butler:
        butler.copy_to(laptop, "src")
    with Butler(outputs=RepositoryArgs(laptop, policy=STARS)) as butler:
        src = butler.get("src", N3)
        stars = Table(src[magnitudes(butler, **N3) < 17.0], copy=True)
        made = butler.put(stars, "stars", N3, precursors=list(butler.query("src:sfm", N3)))
        with Counted() as io:
            copied = butler.copy_to(home, ["stars", "src"])
    assert (copied.datasets, copied.present) == (1, 9), "what came from there is there already"
    assert io.written < 400_000
    with Butler(home) as butler:
        found = butler.query("stars").first()
        assert found is not None
        assert found.uuid == made.uuid
        assert len(found.get()) == len(stars)
        assert [made_from.type for made_from in found.precursors] == ["src:sfm"]
        assert butler.get("calexp:sfm", N3).image.shape == SHAPE

    # Two that are not the same never become one by accident.
    with Butler(outputs=laptop) as butler:
        butler.put(stars[:1], "stars", N3, replace=True)
        with pytest.raises(DatasetExistsError, match=str(made.uuid)):
            butler.copy_to(home, "stars")
