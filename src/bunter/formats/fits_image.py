"""One array as a FITS image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import FormatError
from ..words import listing
from .fits_cards import Card
from .fits_file import FitsFile, hdu_ranges, recorded
from .fits_format import FitsFormat, first_of
from .fits_planes import read_plane
from .fits_writer import STAMP, THIS_VERSION, VERSION, NewHdu, image_hdu, same_as_stored, storable, write
from .interface import About, Layout, Range, Source


class FitsImage(FitsFormat):
    """A numpy array in the primary HDU; of files by others, the first image that there is, compressed or not.

    bool is stored as uint8 and float16 as float32; all other types that FITS knows come back as they were.
    """

    name = "FitsImage"
    parameters = ("bbox",)

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write an array; see `Format.write`."""
        return write([self._hdu(obj, about)], out, about.name)

    def _hdu(self, obj: Any, about: About) -> NewHdu:
        if not isinstance(obj, np.ndarray):
            raise FormatError(f"{about.name}: FitsImage holds a numpy array, not a {type(obj).__name__}")
        if hasattr(obj, "unit"):
            raise FormatError(f"{about.name}: FitsImage has no place for a unit; store .value, or use FitsTable")
        cards = [Card(STAMP, self.name, "written by Bunter"), Card(VERSION, THIS_VERSION)]
        return image_hdu(storable(obj, about.name), cards, primary=True)

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the array, or with ``bbox`` a rectangle of it; see `Format.read`."""
        self.check_parameters(parameters, self.parameters, about)
        file = FitsFile(source)
        return read_plane(file, _image(file, about), parameters.get("bbox"), about.name)

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of the image's HDU."""
        hdus = recorded(layout)
        if hdus is None:
            return None
        found = [hdu for hdu in hdus if hdu.kind in ("image", "tiles") and hdu.data_length]
        return hdu_ranges(found[:1]) or None

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Compare the bytes that would be written with the recorded checksums."""
        hdus = recorded(layout)
        if hdus is None or part or len(hdus) != 1 or not isinstance(obj, np.ndarray):
            return None
        return same_as_stored(lambda: [self._hdu(obj, about)], hdus)


def _image(file: FitsFile, about: About) -> int:
    index = first_of(file, ("image", "tiles"))
    if index is None:
        if STAMP in file.cards(0) and file.cards(0).integer("NAXIS", 0):
            # An array of no pixels.
            return 0
        raise FormatError(f"{about.name}: {file.name} holds no image; it has: {listing(file.describe())}")
    return index
