"""Use case 3: a catalog with the WCS and the calibration of its exposure, without reading the exposure.

They may be in the exposure's file, in files of their own or in the catalog's. With ``share=True`` a catalog and its
exposure hold one WCS, which nobody can change; what is put unchanged is not written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    Exposure,
    GaussianPsf,
    PhotoCalib,
    RepositoryArgs,
    SourceCatalog,
    TrustError,
    VisitInfo,
)

from .counting import Counted

SHAPE = (1024, 1024)
PIXELS = 4 * SHAPE[0] * SHAPE[1]
REGISTRY = 60_000
N3 = {"visit": 431608, "ccd": "N3"}

POLICY = """
keys: {visit: int, ccd: str}
datasets:
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexp/{visit:d}-{ccd}.fits"}
  icSrc: {python: bunter.SourceCatalog, storage: FitsTable, template: "icSrc/{visit:d}-{ccd}.fits"}
  src:
    python: bunter.SourceCatalog
    composite: {table: icSrc, wcs: calexp.wcs, photoCalib: calexp.photoCalib}
  view: {base: calexp}
"""

WAYS = f"""
datasets:
  wcs: {{partOf: calexp.wcs}}
  calib: {{partOf: calexp.photoCalib}}
  extended_icSrc:attributes:
    python: lsst.afw.table.SourceCatalog
    composite: {{icSrc: icSrc, wcs: wcs, calib: calib}}
    assembler: {__name__}.attributes_assembler
    disassembler: {__name__}.attributes_disassembler
  extended_icSrc:setters:
    base: extended_icSrc:attributes
    assembler: {__name__}.setters_assembler
    disassembler: {__name__}.setters_disassembler
  extended_icSrc:container:
    python: {__name__}.SourceCatalogWithInfo
    composite:
      icSrc: {{datasetType: icSrc, setter: setSourceCatalog, getter: getSourceCatalog}}
      wcs: wcs
      calib: calib
"""


def attributes_assembler(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    catalog = componentDict["icSrc"]
    catalog.wcs = componentDict["wcs"]
    catalog.calib = componentDict["calib"]
    return catalog


def attributes_disassembler(catalog: Any, dataId: Any, componentDict: Any) -> None:
    componentDict["icSrc"] = catalog
    componentDict["wcs"] = catalog.wcs
    componentDict["calib"] = catalog.calib


def setters_assembler(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    catalog = componentDict["icSrc"]
    catalog.setWcs(componentDict["wcs"])
    catalog.setCalib(componentDict["calib"])
    return catalog


def setters_disassembler(catalog: Any, dataId: Any, componentDict: Any) -> None:
    componentDict["icSrc"] = catalog
    componentDict["wcs"] = catalog.getWcs()
    componentDict["calib"] = catalog.getCalib()


class SourceCatalogWithInfo:
    """The pure container of the source document."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def setSourceCatalog(self, sourceCatalog: Any) -> None:
        self._held["catalog"] = sourceCatalog

    def getSourceCatalog(self) -> Any:
        return self._held["catalog"]

    def setWcs(self, wcs: Any) -> None:
        self._held["wcs"] = wcs

    def getWcs(self) -> Any:
        return self._held["wcs"]

    def setCalib(self, calib: Any) -> None:
        self._held["calib"] = calib

    def getCalib(self) -> Any:
        return self._held["calib"]


def a_wcs(ra: float = 150.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 2.0]
    wcs.wcs.crpix = [512.5, 512.5]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    return wcs


@pytest.fixture(scope="module")
def repository_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exposure of 4 MB and its catalog."""
    root = tmp_path_factory.mktemp("uc3") / "A"
    exposure = Exposure(
        np.random.default_rng(3).normal(0.0, 5.0, SHAPE).astype("f4"),
        wcs=a_wcs(),
        photo_calib=PhotoCalib.from_zero_point(27.0),
        psf=GaussianPsf(2.0),
        visit_info=VisitInfo(visit=431608, exposure_time=90.0),
    )
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        butler.put(exposure, "calexp", N3)
        butler.put(SourceCatalog({"id": [1, 2, 3], "flux": [900.0, 100.0, 4e4]}), "icSrc", N3)
    return root


@pytest.fixture
def butler(repository_a: Path, tmp_path: Path) -> Iterator[Butler]:
    """What reads A and writes B."""
    with Butler(inputs=repository_a, outputs=RepositoryArgs(tmp_path / "B", policy=WAYS), durability="fast") as made:
        yield made


def files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*.fits")]


def test_a_catalog_comes_with_its_calibration(butler: Butler, repository_a: Path) -> None:
    butler.get("src", N3)
    with Counted() as io:
        src = butler.get("src", N3)
    assert io.read < REGISTRY + 20_000 < PIXELS, "the catalog and two blocks of the exposure's file"
    assert type(src) is SourceCatalog
    assert src.wcs.wcs.crval[0] == 150.0
    np.testing.assert_allclose(src.photo_calib.to_magnitude(src["flux"])[1], 22.0)
    assert src.colnames == ["id", "flux"], "they are attributes, no columns"
    assert len(io.data_files(repository_a)) == 2, "two files are opened, once each"


@pytest.mark.parametrize("way", ["attributes", "setters", "container"])
def test_three_ways(butler: Butler, tmp_path: Path, repository_a: Path, way: str) -> None:
    butler.get("extended_icSrc", N3, stage=way)
    with Counted() as io:
        found = butler.get("extended_icSrc", N3, stage=way)
    assert io.read < REGISTRY + 20_000 < PIXELS, "the exposure is not read"
    catalog = found.getSourceCatalog() if way == "container" else found
    assert type(catalog) is SourceCatalog
    assert catalog["id"].tolist() == [1, 2, 3]
    assert found.getWcs().wcs.crval[0] == 150.0
    assert found.getCalib() == PhotoCalib.from_zero_point(27.0)
    with Counted() as io:
        ref = butler.put(found, f"extended_icSrc:{way}", N3)
    assert files(tmp_path / "B") == [], "nothing was changed, so nothing is written"
    assert io.written < 200_000
    assert {leaf["repository"] for leaf in butler.plan("extended_icSrc", N3, stage=way).leaves()} == {str(repository_a)}
    again = ref.get()
    assert again.getCalib() == found.getCalib()
    with Butler(inputs=tmp_path / "B", outputs=tmp_path / "C", trust=[__name__]) as later:
        assert later.get("extended_icSrc", N3, stage=way).getWcs().wcs.compare(found.getWcs().wcs)


def test_the_exposure_may_be_away(butler: Butler, repository_a: Path, tmp_path: Path) -> None:
    """Calibrations of their own: the exposure's file is not even opened."""
    butler.define("""
datasets:
  own_wcs: {python: lsst.afw.image.Wcs, storage: FitsStorage, template: "wcs/%(visit)d-%(ccd)s.fits"}
  own_calib: {python: lsst.afw.image.Calib, storage: FitsStorage, template: "calib/%(visit)d-%(ccd)s.fits"}
  src:own: {base: src, composite: {wcs: own_wcs, photoCalib: own_calib}}
""")
    src = butler.get("src", N3, stage="")
    src.wcs = a_wcs(150.1)
    butler.put(src, "src:own", N3)
    assert sorted(path.parent.name for path in (tmp_path / "B").rglob("*.fits")) == ["calib", "wcs"], "not the rows"
    away = repository_a / "away"
    os.rename(repository_a / "calexp", away)
    try:
        assert butler.get("src:own", N3).wcs.wcs.crval[0] == 150.1
    finally:
        os.rename(away, repository_a / "calexp")


def test_in_the_file_of_the_catalog(tmp_path: Path) -> None:
    header = a_wcs().to_header()
    header["MAGZERO"] = 27.0
    table = fits.BinTableHDU(Table({"id": [1, 2]}), name="OBJECTS")
    fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(tmp_path / "431608_N3.cat")
    policy = f"""
keys: {{visit: int, ccd: str}}
datasets:
  catalog:
    storage: Fits
    template: "{{visit:d}}_{{ccd}}.cat"
    parts:
      table: {{hdu: OBJECTS, python: bunter.SourceCatalog}}
      wcs: {{hdu: 0}}
      calib: {{hdu: 0, read: header, convert: {__name__}.calib_of_header}}
  src:
    python: bunter.SourceCatalog
    composite: {{table: catalog.table, wcs: catalog.wcs, photoCalib: catalog.calib}}
"""
    with Butler(outputs=RepositoryArgs(tmp_path / "other", policy=policy)) as other:
        other.ingest("catalog", tmp_path / "431608_N3.cat")
        src = other.get("src", N3)
        assert (type(src), len(src)) == (SourceCatalog, 2)
        assert (src.wcs.wcs.crval[0], src.photo_calib.zero_point) == (150.0, 27.0)


def calib_of_header(value: Any, header: Any, dataId: Any) -> PhotoCalib:
    return PhotoCalib.from_zero_point(value["MAGZERO"])


@pytest.mark.parametrize("exposure_type", ["calexp", "view"])
@pytest.mark.parametrize("catalog_first", [True, False])
def test_one_wcs(repository_a: Path, exposure_type: str, catalog_first: bool) -> None:
    """A catalog and its exposure, be it one that is read whole or one that is assembled from its parts."""
    with Butler(repository_a, share=True) as butler:
        names = ("src", exposure_type) if catalog_first else (exposure_type, "src")
        got = {name: butler.get(name, N3) for name in names}
        src, exposure = got["src"], got[exposure_type]
        assert src.wcs is exposure.wcs is butler.get("calexp.wcs", N3)
        assert src.photo_calib is exposure.photo_calib
        assert exposure.psf is butler.get("calexp.psf", N3)
        assert exposure.visit_info is butler.get("calexp.visit_info", N3)
        assert src is not butler.get("src", N3)
        assert exposure is not butler.get(exposure_type, N3)
        apart = butler.get(exposure_type, N3, share=False)
        assert apart.wcs is not src.wcs
        assert apart == exposure
        with Counted() as io:
            again = butler.get("src", N3)
        assert again.wcs is src.wcs
        assert not [path for path in io.data_files(repository_a) if "calexp" in path], "only the rows are read again"


def test_what_is_shared_cannot_be_changed(repository_a: Path) -> None:
    with Butler(repository_a, share=True) as butler:
        src, exposure = butler.get("src", N3), butler.get("calexp", N3)
        with pytest.raises(AttributeError, match=r"shared and frozen; change wcs.copy\(\) instead"):
            src.wcs.wcs.crval = [151.0, 2.0]
        with pytest.raises(ValueError, match="read-only"):
            src.wcs.wcs.crval[0] = 151.0
        with pytest.raises(AttributeError, match="cannot be changed"):
            src.photo_calib.zero_point = 28.0
        mine = src.wcs.copy()
        mine.wcs.crval = [151.0, 2.0]
        src.wcs = mine
        assert (src.wcs.wcs.crval[0], exposure.wcs.wcs.crval[0]) == (151.0, 150.0)
        # The pixels of an exposure that was read whole are its own.
        exposure.image[0, 0] = 7.0
        assert butler.get("calexp", N3).image[0, 0] != 7.0


def test_nothing_unchanged_is_rewritten(butler: Butler, tmp_path: Path) -> None:
    """The question of the source document: nothing was changed, should it still be written?"""
    container = SourceCatalogWithInfo()
    container.setSourceCatalog(butler.get("icSrc", N3))
    container.setWcs(butler.get("wcs", N3).deepcopy())
    container.setCalib(PhotoCalib.from_zero_point(27.0))
    butler.put(container, "extended_icSrc:container", N3)
    assert files(tmp_path / "B") == [], "copies that are equal count as unchanged"
    container.getSourceCatalog()["flux"][0] = 901.0
    with pytest.raises(Exception, match="replace=True"):
        butler.put(container, "extended_icSrc:container", N3)
    butler.put(container, "extended_icSrc:container", N3, replace=True)
    assert files(tmp_path / "B") == ["431608-N3.fits"], "the rows, and nothing else"
    assert butler.get("extended_icSrc:container", N3).getSourceCatalog()["flux"][0] == 901.0


def test_changes_that_would_be_lost(butler: Butler, tmp_path: Path) -> None:
    src = butler.get("src", N3)
    src.photo_calib = PhotoCalib.from_zero_point(27.3)
    with pytest.raises(AssemblyError, match=r"'photoCalib' differs .* would be lost"):
        butler.put(src, "src", N3)
    assert files(tmp_path / "B") == []


def test_somebody_elses_functions(butler: Butler, tmp_path: Path) -> None:
    with Butler(tmp_path / "B") as stranger:
        assert stranger.get("wcs", N3) is not None, "what needs no function of theirs can be read"
        with pytest.raises(TrustError, match=r"attributes_assembler was not used.*trust="):
            stranger.get("extended_icSrc:attributes", N3)


def test_a_real_catalog(shared_data: Path, tmp_path: Path) -> None:
    """SDSS: 19 objects of run 1000, field 100, with the WCS out of the frame that they were measured on."""
    policy = """
keys: {run: int, camcol: int, field: int, filter: str}
datasets:
  frame:
    storage: Fits
    template: "frame-{filter}-{run:06d}-{camcol:d}-{field:04d}.fits.bz2"
    parts: {image: {hdu: 0}, wcs: {hdu: 0}}
  photoObj:
    python: bunter.SourceCatalog
    storage: FitsTable
    template: "photoObj-{run:06d}-{camcol:d}-{field:04d}.fits"
  src: {python: bunter.SourceCatalog, composite: {table: photoObj, wcs: frame.wcs}}
"""
    sdss = shared_data / "sdss" / "run1000"
    with Butler(outputs=RepositoryArgs(tmp_path / "sdss", policy=policy), trust_paths=[sdss]) as butler:
        butler.ingest("frame", sdss / "frame-r-001000-1-0100.fits.bz2")
        butler.ingest("photoObj", sdss / "photoObj-001000-1-0100.fits")
        src = butler.get("src", run=1000, camcol=1, field=100, filter="r")
        assert len(src) == 19
        there = src.wcs.all_world2pix(np.column_stack([src["RA"], src["DEC"]]), 0)
        r = "ugriz".index("r")
        measured = np.column_stack([src["COLC"][:, r], src["ROWC"][:, r]])
        assert np.abs(there - measured).max() < 1.0, "pixels: the catalog's positions are those of this WCS"
        assert "whole file" in str(butler.plan("src.wcs", run=1000, camcol=1, field=100, filter="r"))
