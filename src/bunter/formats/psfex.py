"""PSF models as PSFEx writes them, one a file or a row for each CCD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import FormatError
from ..words import listing
from .fits_binary import Table, find_rows, read_columns, table_hdu, table_of
from .fits_cards import Card, Cards
from .fits_file import FitsFile, hdu_ranges, recorded
from .fits_format import FitsFormat, filled, first_of, hdu_of
from .fits_writer import NewHdu, same_as_stored, stamp, write
from .interface import About, Layout, Range, Source

_PIXELS = "psf_mask"


class PsfEx(FitsFormat):
    """PSFEx models (Bertin 2011, ASP Conf. Ser. 442, 435), read as `PsfExPsf`.

    Of a file with a row for each CCD, the definition says which: ``parts: {psf: {row: {ccdname: "{ccd}"}}}``.
    """

    name = "PsfEx"

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a PSFEx model; see `Format.write`."""
        return write(self._hdus(obj, about), out, about.name)

    def _hdus(self, obj: Any, about: About) -> list[NewHdu]:
        from ..exposure import PsfExPsf

        if not isinstance(obj, PsfExPsf):
            raise FormatError(
                f"{about.name}: PsfEx holds a bunter.PsfExPsf, not a {type(obj).__name__}; "
                "the storage FitsPart holds all kinds of PSF"
            )
        count, ny, nx = obj.components.shape
        cards = [
            Card("POLNAXIS", 2),
            Card("POLGRP1", 1),
            Card("POLNAME1", "X_IMAGE"),
            Card("POLZERO1", obj.x_zero),
            Card("POLSCAL1", obj.x_scale),
            Card("POLGRP2", 1),
            Card("POLNAME2", "Y_IMAGE"),
            Card("POLZERO2", obj.y_zero),
            Card("POLSCAL2", obj.y_scale),
            Card("POLNGRP", 1),
            Card("POLDEG1", obj.degree),
            Card("PSF_SAMP", obj.sampling),
            Card("PSFNAXIS", 3),
            Card("PSFAXIS1", nx),
            Card("PSFAXIS2", ny),
            Card("PSFAXIS3", count),
        ]
        if math.isfinite(obj.mean_fwhm):
            cards.insert(-4, Card("PSF_FWHM", obj.mean_fwhm))
        column = ("PSF_MASK", obj.components[np.newaxis], "")
        return [stamp(self.name), table_hdu([column], cards, name="PSF_DATA", about=about.name)]

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read one model; see `Format.read`."""
        self.check_parameters(parameters, (), about)
        file = FitsFile(source)
        part = next(iter(about.parts.values()), None)
        index = hdu_of(file, part.hdu, about) if part is not None else None
        if index is None:
            index = _model_hdu(file, about)
        table = table_of(file, index, about.name)
        where = {
            column: filled(value, about) if isinstance(value, str) else value
            for column, value in ((part.row or {}) if part is not None else {}).items()
        }
        rows = find_rows(file, index, table, where, f"{about.name}: {file.name}")
        if len(rows) != 1:
            raise FormatError(
                f"{about.name}: {len(rows)} of the {table.rows} models in {file.name} have {where or 'no condition'}; "
                'one is needed: say which in the definition, parts: {psf: {row: {ccdname: "{ccd}"}}}'
            )
        return read_model(file, index, table, rows[0], about.name)

    def components(self, about: About) -> Mapping[str, str]:
        """Return none: a model is one thing."""
        return {}

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of the table's HDU."""
        hdus = recorded(layout)
        return None if hdus is None else hdu_ranges([hdu for hdu in hdus if hdu.kind == "table"][:1]) or None

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Compare the bytes that would be written with the recorded checksums."""
        from ..exposure import PsfExPsf

        hdus = recorded(layout)
        if hdus is None or part or not isinstance(obj, PsfExPsf):
            return None
        return same_as_stored(lambda: self._hdus(obj, about), hdus)


def _model_hdu(file: FitsFile, about: About) -> int:
    for index, hdu in enumerate(file.hdus):
        if hdu.kind == "table" and _PIXELS in [n.lower() for n in table_of(file, index, about.name).names()]:
            return index
    if first_of(file, ("table",)) is None:
        raise FormatError(f"{about.name}: {file.name} holds no table; it has: {listing(file.describe())}")
    raise FormatError(f"{about.name}: {file.name} is no PSFEx file: no table has a column {_PIXELS!r}")


def read_model(file: FitsFile, index: int, table: Table, row: int, about: str) -> Any:
    """Read the model in one row; its numbers are columns of the row, else cards of the header.

    Returns
    -------
    bunter.PsfExPsf

    Raises
    ------
    FormatError
        If the row holds no model, or one that depends on anything but the position.
    """
    names = {name.lower(): name for name in table.names()}
    if _PIXELS not in names:
        raise FormatError(f"{about}: {file.name} is no PSFEx file: its table has no column {_PIXELS!r}")
    wanted = [c for c in table.columns if c.name == names[_PIXELS] or c.length <= 256]
    values = read_columns(file, index, table, wanted, [row])
    fields = {name.lower(): value[0] for name, value in values.items()}
    return model(fields, file.cards(index), f"{about}: {file.name}")


def model(row: Mapping[str, Any], cards: Cards, where: str) -> Any:
    """Make a PSFEx model of a row (keys in lower case) and the header of its table."""
    from ..exposure import PsfExPsf

    def fact(name: str, default: Any = None) -> Any:
        value = row.get(name.lower())
        if value is None or (np.ndim(value) and not np.size(value)):
            value = cards.get(name)
        if value is None:
            if default is None:
                raise FormatError(f"{where}: a PSFEx model needs {name}, which neither the row nor the header has")
            return default
        value = value.item() if hasattr(value, "item") and np.size(value) == 1 else value
        return value.strip() if isinstance(value, str) else value

    for axis, letter in enumerate("XY", 1):
        name = str(fact(f"POLNAME{axis}", f"{letter}_IMAGE"))
        if name.upper() not in (f"{letter}_IMAGE", f"{letter}WIN_IMAGE"):
            raise FormatError(f"{where}: this PSFEx model depends on {name}; only X_IMAGE and Y_IMAGE are known")
    try:
        pixels = np.asarray(row[_PIXELS], dtype=np.float32)
        if pixels.ndim == 2:
            pixels = pixels[np.newaxis]
        elif pixels.ndim == 1:
            pixels = pixels.reshape([int(fact(f"PSFAXIS{axis}", 1)) for axis in (3, 2, 1)])
        if int(fact("POLNGRP", 1)) > 1:
            raise FormatError(f"{where}: this PSFEx model has several groups of polynomials; only one is known")
        constant = len(pixels) == 1
        degree = 0 if constant else int(fact("POLDEG1"))
        terms = (degree + 1) * (degree + 2) // 2
        numbers = {field: float(fact(name, default if constant else None)) for field, name, default in _NUMBERS}
        numbers |= {"sampling": float(fact("PSF_SAMP", 1.0)), "fwhm": float(fact("PSF_FWHM", 0.0))}
        # Files of several CCDs pad those of lower degree.
        return PsfExPsf(pixels[:terms], degree, **numbers)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}: this is no PSFEx model: {error}") from error


_NUMBERS = (
    ("x_zero", "POLZERO1", 0.0),
    ("x_scale", "POLSCAL1", 1.0),
    ("y_zero", "POLZERO2", 0.0),
    ("y_scale", "POLSCAL2", 1.0),
)
