"""What one writes by hand with fitsio; runs in an environment that has it."""

from __future__ import annotations

from typing import Any

import fitsio
import numpy as np
from guest import Works
from measure import often


def offer(works: Works, path: str, packed: str) -> None:
    """Offer reads of an exposure and of a compressed image."""

    def psf() -> Any:
        with fitsio.FITS(path) as file:
            return file["PSF"].read()

    def whole() -> Any:
        with fitsio.FITS(path) as file:
            planes = [file[name].read() for name in ("IMAGE", "MASK", "VARIANCE")]
            return [np.asarray(plane, plane.dtype.newbyteorder("=")) for plane in planes], file[0].read_header()

    def cutout() -> Any:
        with fitsio.FITS(path) as file:
            return file["IMAGE"][500:600, 300:400]

    def cutout_packed() -> Any:
        with fitsio.FITS(packed) as file:
            return file[1][500:600, 300:400]

    def wcs() -> Any:
        with fitsio.FITS(path) as file:
            return file["IMAGE"].read_header()

    works |= {"psf": often(psf), "whole": often(whole), "cutout": often(cutout)}
    works |= {"cutout packed": often(cutout_packed), "header": often(wcs)}
