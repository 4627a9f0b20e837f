"""Files that Bunter did not write: the parts that a definition names, wherever they lie."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..components import match_component, set_component
from ..definitions.model import PartDefinition
from ..errors import FormatError, ParameterError
from ..words import did_you_mean, listing
from .fits_binary import find_rows, read_columns, table_of
from .fits_cards import Cards
from .fits_convert import PIXEL_WORDS, converted, word_of
from .fits_file import FitsFile, hdu_ranges, no_hdu, quiet, recorded
from .fits_format import FitsFormat, filled, first_of, hdu_of, lie_in
from .fits_index import Hdu
from .fits_objects import metadata_of
from .fits_planes import read_plane
from .fits_table import as_python, names_in, read_table
from .fits_wcs import read_wcs
from .interface import About, Layout, Range, Source

_TABULAR = ("Table", "QTable", "SourceCatalog", "DataFrame")


class Fits(FitsFormat):
    """Any FITS file, by the `parts` of the dataset type; read-only.

    Without `parts` the Python type says what is taken: an array, a table, a WCS or a header.
    """

    name = "Fits"
    parameters = ("bbox", "columns")
    reads_parts = True
    writes = False

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Refuse: how others lay out their files is theirs to say."""
        raise FormatError(
            f"{about.name}: the storage Fits only reads; define a type with the storage FitsExposure, FitsPart, "
            "FitsImage, FitsTable or FitsWcs to write"
        )

    def components(self, about: About) -> Mapping[str, str]:
        """Return the parts of the definition."""
        return {name: part.python or "" for name, part in about.parts.items()}

    def part_parameters(self, part: str, about: About) -> tuple[str, ...]:
        """Return ``bbox`` for images, ``columns`` for tables, both if the definition does not say."""
        definition = about.parts.get(part)
        return _parameters(definition) if definition is not None else ()

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the whole: the only part, or the Python type made of all of them; see `Format.read`."""
        self.check_parameters(parameters, self.parameters, about)
        parts = dict(about.parts) or {"data": _default_part(about)}
        taken = {name: {p: v for p, v in parameters.items() if p in _parameters(d)} for name, d in parts.items()}
        for parameter in parameters:
            if not any(parameter in own for own in taken.values()):
                raise ParameterError(f"{about.name}: no part of it takes {parameter!r}")
        if len(parts) == 1:
            ((name, definition),) = parts.items()
            value = _read_part(FitsFile(source), definition, taken[name], about, required=True)
            if about.python is None or isinstance(value, about.python):
                return value
            if about.parts and match_component(name, _arguments(about.python)):
                return _built({name: value}, about, parameters)
            return _as_class(value, about.python, definition, about)
        file = FitsFile(source)
        main = match_component("image", parts) or next(iter(parts))
        values = {
            name: _read_part(file, definition, taken[name], about, required=name == main)
            for name, definition in parts.items()
        }
        return values if about.python is None else _built(values, about, parameters)

    def read_parts(self, source: Source, wanted: Mapping[str, Mapping[str, Any]], about: About) -> dict[str, Any]:
        """Read some parts; see `Format.read_parts`."""
        file = FitsFile(source)
        found: dict[str, Any] = {}
        for name, parameters in wanted.items():
            definition = about.parts.get(name)
            if definition is None:
                raise FormatError(
                    f"{about.name}: its definition has no part {name!r}{did_you_mean(name, about.parts)}; "
                    f"it has: {listing(about.parts)}"
                )
            self.check_parameters(parameters, _parameters(definition), about)
            found[name] = _read_part(file, definition, parameters, about, required=len(about.parts) == 1)
        return found

    def column_names(self, source: Source, about: About, part: str = "") -> list[str] | None:
        """Return the names of the columns of the part, or of the only one; see `Format.column_names`."""
        every = dict(about.parts) or {"data": _default_part(about)}
        parts = {part: every[part]} if part in about.parts else every
        if len(parts) != 1:
            return None
        (definition,) = parts.values()
        if "columns" not in _parameters(definition):
            return None
        file = FitsFile(source)
        index = hdu_of(file, definition.hdu, about)
        if index is None and definition.hdu is not None:
            return None
        index = _first_data(file, definition, about) if index is None else index
        return names_in(file, index, about.name) if file.hdus[index].kind in ("table", "ascii") else None

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of the HDU (or the headers) that a part takes, if its definition names the HDU."""
        hdus = recorded(layout)
        definition = about.parts.get(part) or (_default_part(about) if not part and not about.parts else None)
        if hdus is None or definition is None:
            return None
        read = _what(definition)
        try:
            index = hdu_of(_Recorded(hdus), definition.hdu, about)  # type: ignore[arg-type]
        except FormatError:
            # The reading itself says what is wrong; nobody knows the bytes.
            return None
        if index is None:
            return hdu_ranges(hdus[:1]) if read == "header" and definition.hdu is None else None
        if read == "header":
            return hdu_ranges(hdus[:1] if index == 0 else [hdus[0], hdus[index]], data=False)
        return hdu_ranges([hdus[index]], data=read != "wcs")

    def _takes_all(self, hdus: Sequence[Hdu], layout: Layout, about: About) -> bool:
        taken: list[Range] = []
        for name, definition in (dict(about.parts) or {"": _default_part(about)}).items():
            ranges = self.part_ranges(layout, name, about)
            if ranges is None and definition.hdu is None and _what(definition) == "data" and len(hdus) == 1:
                ranges = hdu_ranges([*hdus])
            taken += ranges or ()
        return lie_in(hdus, taken)


class _Recorded:
    """HDUs of a layout, to look names up in."""

    named = FitsFile.named

    def __init__(self, hdus: Any) -> None:
        self.hdus = hdus


def _what(part: PartDefinition) -> str:
    """Return what a part reads: ``data``, ``header`` or ``wcs``."""
    if part.read is not None:
        if part.read not in ("data", "header", "wcs"):
            raise FormatError(
                f"part {part.name!r}: read: {part.read!r} is none of data, header, wcs"
                f"{did_you_mean(str(part.read), ('data', 'header', 'wcs'))}"
            )
        return part.read
    if word_of(part.convert) == "visit_info":
        return "header"
    if part.convert is not None or part.row or part.rows or part.column:
        return "data"
    return {"wcs": "wcs", "metadata": "header"}.get(part.name.lower(), "data")


def _parameters(part: PartDefinition) -> tuple[str, ...]:
    if _what(part) != "data" or part.row or part.column:
        return ()
    word, kind = word_of(part.convert), (part.python or "").rpartition(".")[2]
    if word in PIXEL_WORDS or kind in ("ndarray", "Mask"):
        return () if part.rows else ("bbox",)
    if word is not None:
        return ()
    if kind in _TABULAR or part.rows:
        return ("columns",)
    return ("bbox", "columns") if not kind else ()


def _default_part(about: About) -> PartDefinition:
    kind = about.python.__name__ if about.python is not None else ""
    read = {"WCS": "wcs", "Header": "header", "Metadata": "header", "dict": "header"}.get(kind, "data")
    dotted = f"{about.python.__module__}.{about.python.__qualname__}" if about.python is not None else None
    return PartDefinition("data", read=read, python=dotted)


def _read_part(
    file: FitsFile, part: PartDefinition, parameters: Mapping[str, Any], about: About, required: bool
) -> Any:
    """Read, select and convert one part; None if the file does not have it and it is not `required`."""
    what = _what(part)
    index = hdu_of(file, part.hdu, about)
    if index is None and part.hdu is not None:
        if required:
            raise no_hdu(file, part.hdu if not isinstance(part.hdu, str) else filled(part.hdu, about), about.name)
        return None
    if what == "header":
        value: Any = _header_value(file, index, part)
    elif what == "wcs":
        at = index if index is not None else _first_wcs(file)
        value = read_wcs(file, at) if at is not None else None
        index = at
    else:
        index = index if index is not None else _first_data(file, part, about)
        value = _data(file, index, part, parameters, about)
    if value is None:
        if required:
            raise FormatError(
                f"{about.name}: {file.name} has nothing for the part {part.name!r} "
                f"(hdu {part.hdu!r}, row {part.row!r}, read {what}); it has: {listing(file.describe())}"
            )
        return None
    place = index or 0
    made = converted(value, part, lambda: _astropy_header(file, place), about)
    return _as_python(made, part, file, place, about)


def _header_value(file: FitsFile, index: int | None, part: PartDefinition) -> Any:
    headers = _headers(file, index or 0)
    if word_of(part.convert) == "visit_info":
        # All cards, those too that metadata drop.
        merged: dict[str, Any] = {}
        for cards in headers:
            merged.update(cards.items())
        return merged
    if (part.python or "").endswith(".Header") or part.convert is not None:
        return _astropy_header(file, index or 0)
    metadata = metadata_of(*headers, where=file.name)
    return dict(metadata) if part.python in ("dict", "builtins.dict") else metadata


def _headers(file: FitsFile, index: int) -> list[Cards]:
    return [file.cards(0)] if index == 0 else [file.cards(0), file.cards(index)]


def _astropy_header(file: FitsFile, index: int) -> Any:
    """Return an HDU's header, with what only the primary one says behind it."""
    from astropy.io import fits

    with quiet():
        header = fits.Header.fromstring(bytes(file.header(index)))
        if index:
            first = fits.Header.fromstring(bytes(file.header(0)))
            header.extend(
                [card for card in first.cards if card.keyword not in ("COMMENT", "HISTORY", "", "SIMPLE", "EXTEND")],
                unique=True,
                end=True,
            )
    return header


def _first_wcs(file: FitsFile) -> int | None:
    for index in range(len(file.hdus)):
        cards = file.cards(index)
        if any(f"{word}1" in cards for word in ("CTYPE", "CRVAL", "CRPIX")):
            return index
    return None


def _first_data(file: FitsFile, part: PartDefinition, about: About) -> int:
    kind = (part.python or "").rpartition(".")[2]
    tabular = kind in _TABULAR or part.row or part.rows or part.column or word_of(part.convert) == "splinesky"
    if (part.python or "") in ("bunter.Psf", "bunter.PsfExPsf") or tabular:
        kinds: tuple[str, ...] = ("table", "ascii")
    elif kind in ("ndarray", "Mask") or word_of(part.convert) in PIXEL_WORDS:
        kinds = ("image", "tiles")
    else:
        kinds = ("image", "tiles", "table", "ascii")
    index = first_of(file, kinds)
    if index is None:
        raise FormatError(
            f"{about.name}: {file.name} has no {' or '.join(kinds)} for the part {part.name!r}; "
            f"it has: {listing(file.describe())}"
        )
    return index


def _data(file: FitsFile, index: int, part: PartDefinition, parameters: Mapping[str, Any], about: About) -> Any:
    hdu = file.hdus[index]
    where = f"{about.name}: part {part.name!r}"
    if hdu.kind in ("image", "tiles"):
        if part.row or part.rows or part.column:
            raise FormatError(f"{where}: HDU {index} of {file.name} is an image and has neither rows nor columns")
        if "columns" in parameters:
            raise ParameterError(f"{where}: HDU {index} of {file.name} is an image and has no columns; it takes 'bbox'")
        return read_plane(file, index, parameters.get("bbox"), where)
    if "bbox" in parameters:
        raise ParameterError(f"{where}: HDU {index} of {file.name} is a table and has no bbox; it takes 'columns'")
    table = table_of(file, index, where)
    chosen = part.row or part.rows
    rows = None
    if chosen:
        wanted = {column: filled(v, about) if isinstance(v, str) else v for column, v in chosen.items()}
        rows = find_rows(file, index, table, wanted, f"{where} of {file.name}")
    kind = (part.python or "").rpartition(".")[2]
    single = bool(part.row) or word_of(part.convert) == "splinesky" or kind in ("Psf", "PsfExPsf")
    if single:
        rows = list(range(table.rows)) if rows is None else rows
        if not rows:
            return None
        if len(rows) > 1:
            told = chosen or "no condition"
            raise FormatError(f"{where}: {len(rows)} rows of {file.name} have {told}; one is needed")
        if kind in ("Psf", "PsfExPsf") and part.convert is None and part.column is None:
            from .psfex import read_model

            return read_model(file, index, table, rows[0], where)
    if part.column is not None:
        column = table.column(part.column, f"{where} of {file.name}")
        values = read_columns(file, index, table, [column], rows)[column.name]
        return _scalar(values[0]) if single else values
    if single:
        values = read_columns(file, index, table, table.columns, rows)
        row = {name: _scalar(value[0]) for name, value in values.items()}
        if part.convert is None and kind in _TABULAR:
            return read_table(file, index, where, None, rows)
        return row
    return read_table(file, index, where, parameters.get("columns"), rows)


def _scalar(value: Any) -> Any:
    if value is np.ma.masked:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _as_python(value: Any, part: PartDefinition, file: FitsFile, index: int, about: About) -> Any:
    """Make a value what the definition says it is."""
    if part.python is None:
        return value
    kind = part.python.rpartition(".")[2]
    if part.python in ("numpy.ndarray", "astropy.wcs.WCS", "astropy.wcs.wcs.WCS") and type(value).__name__ == kind:
        return value
    if kind == "Mask" and isinstance(value, np.ndarray):
        from .fits_convert import bits

        try:
            return bits(value, {})
        except (TypeError, ValueError) as error:
            raise FormatError(f"{about.name}: part {part.name!r} is no mask: {error}") from error
    return _as_class(value, about.find(part.python), part, about)


def _as_class(value: Any, cls: Any, part: PartDefinition, about: About) -> Any:
    from .convert import is_tabular

    if cls is None or isinstance(value, cls):
        return value
    if is_tabular(value):
        return as_python(value, cls)
    if cls in (int, float, str) and isinstance(value, int | float | str):
        try:
            return cls(value)
        except ValueError as error:
            raise FormatError(f"{about.name}: part {part.name!r} is {value!r:.60}, no {cls.__name__}") from error
    make = getattr(cls, "from_dict", None)
    if make is not None and isinstance(value, Mapping):
        try:
            return make(value)
        except (TypeError, ValueError, KeyError) as error:
            raise FormatError(f"{about.name}: part {part.name!r} does not make a {cls.__name__}: {error}") from error
    raise FormatError(
        f"{about.name}: part {part.name!r} reads as a {type(value).__name__}, not as a {cls.__name__}; say how with "
        "convert: the dotted name of a function f(value, header, dataId) that you trust"
    )


def _arguments(cls: Any) -> list[str]:
    """Return the arguments that a class can be given by name."""
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:
        # Classes written in C may not say.
        return []
    return [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _built(values: dict[str, Any], about: About, parameters: Mapping[str, Any]) -> Any:
    """Make the Python type: constructor arguments first, then what can be set."""
    cls: Any = about.python
    known = _arguments(cls)
    given: dict[str, Any] = {}
    later: dict[str, Any] = {}
    for name, value in values.items():
        word = match_component(name, known)
        if word is not None:
            given[word] = value
        elif value is not None:
            later[name] = value
    bbox = parameters.get("bbox")
    if bbox is not None and "origin" in known:
        given["origin"] = (int(bbox[0].start or 0), int(bbox[1].start or 0))
    try:
        made = cls(**given)
        for name, value in later.items():
            set_component(made, name, value)
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{about.name}: a {cls.__name__} cannot be made of the parts {listing(values, 20)}: {error}"
        ) from error
    return made
