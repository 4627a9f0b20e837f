"""Exposures in FITS files: one whole, one that was ingested without checksums, an overlay, a compressed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from bench import Run

from bunter import Butler, Exposure, Mask, Metadata, PhotoCalib, RepositoryArgs, VisitInfo
from bunter.exposure import PsfExPsf

POLICY = """
keys: {visit: int, ccd: str, tract: int}
datasets:
  calexp:sfm:
    python: bunter.Exposure
    storage: FitsExposure
    template: "sfm/{visit:d}/calexp-{visit:d}-{ccd}.fits"
  calexp.wcs:jointcal:
    python: astropy.wcs.WCS
    storage: FitsWcs
    template: "jointcal/{tract:d}/wcs-{visit:d}-{ccd}.fits"
  calexp.photoCalib:jointcal:
    python: bunter.PhotoCalib
    storage: Json
    template: "jointcal/{tract:d}/photoCalib-{visit:d}-{ccd}.json"
  calexp:jointcal:
    base: calexp:sfm
    composite: {wcs: calexp.wcs:jointcal, photoCalib: calexp.photoCalib:jointcal}
  packed:
    storage: Fits
    template: "packed-{visit:d}.fits.fz"
    parts: {image: {hdu: 1}}
"""
ID = {"visit": 1, "ccd": "N3"}
TRACT_ID = {**ID, "tract": 0}


def tan(crval: tuple[float, float] = (150.0, 2.0)) -> WCS:
    """Return a gnomonic WCS with a CD matrix."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = [1024.5, 2048.5]
    wcs.wcs.cd = [[-7.3e-5, 1.1e-7], [1.2e-7, 7.31e-5]]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def exposure(shape: tuple[int, int]) -> Exposure:
    """Return an exposure: pixels, mask, variance, and all the small parts."""
    chance = np.random.default_rng(1)
    return Exposure(
        chance.normal(200.0, 15.0, shape).astype("f4"),
        mask=Mask(chance.integers(0, 8, shape, dtype="i4"), bits={"BAD": 0, "SAT": 1, "CR": 2}),
        variance=chance.uniform(200.0, 300.0, shape).astype("f4"),
        wcs=tan(),
        photo_calib=PhotoCalib.from_zero_point(27.0),
        psf=PsfExPsf(chance.normal(size=(6, 41, 41)).astype("f4"), 2, 1024.0, 1024.0, 2048.0, 2048.0, 0.5, 3.1),
        visit_info=VisitInfo(visit=1, exposure_time=90.0),
        filter="r",
        metadata=Metadata({"OBSERVER": "H. Leavitt", "AIRMASS": 1.2}),
    )


@dataclass
class Exposures:
    """A repository with an exposure and an overlay, and one that was ingested from it without checksums."""

    butler: Butler
    unverified: Butler
    path: str
    shape: tuple[int, int]
    planes: dict[str, tuple[int, int]]
    """Bytes (offset, length) of the pixels of the three planes."""
    packed: str
    exposure: Exposure

    def bytes_of(self, part: str) -> tuple[int, int]:
        """Return where a part of the exposure is in its file."""
        ((offset, length),) = self.butler.plan(f"calexp:sfm.{part}", ID).to_dict()["bytes"]
        return offset, length


def exposure_world(run: Run) -> Exposures:
    """Put an exposure of 4096 x 2048 pixels (quick: 2048 x 1024)."""
    shape = (2048, 1024) if run.size == "quick" else (4096, 2048)
    folder = run.place("exposures")
    whole = exposure(shape)
    butler = Butler(outputs=RepositoryArgs(folder / "repository", policy=POLICY), durability="fast")
    run.ending.callback(butler.close)
    butler.put(whole, "calexp:sfm", ID)
    butler.put(tan((150.0001, 2.0001)), "calexp.wcs:jointcal", TRACT_ID)
    butler.put(PhotoCalib.from_zero_point(27.05), "calexp.photoCalib:jointcal", TRACT_ID)
    path = butler.uri("calexp:sfm", ID)
    packed = folder / "packed-1.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(whole.image, name="IMAGE")]).writeto(packed)
    butler.ingest("packed", packed)
    unverified = Butler(outputs=RepositoryArgs(folder / "ingested", policy=POLICY), durability="fast")
    run.ending.callback(unverified.close)
    unverified.ingest("calexp:sfm", path, data_id=ID, scan="headers")
    made = Exposures(butler, unverified, path, shape, {}, str(packed), whole)
    with fits.open(path) as file:
        for plane in ("image", "mask", "variance"):
            made.planes[plane] = file[plane].fileinfo()["datLoc"], file[plane].size
    return made


class Remembered:
    """A source whose file is in memory already: what decoding alone costs."""

    def __init__(self, path: str, layout: dict[str, Any]) -> None:
        self._bytes = memoryview(Path(path).read_bytes())
        self.name, self.size, self.local_path, self.layout = path, len(self._bytes), None, layout

    def read_range(self, offset: int, length: int, checksum: str | None = None) -> memoryview:
        """Return a copy of some bytes."""
        return memoryview(bytearray(self._bytes[offset : offset + length]))

    def read_all(self) -> memoryview:
        """Return a copy of all."""
        return memoryview(bytearray(self._bytes))
