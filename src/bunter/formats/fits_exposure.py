"""An exposure as one FITS file, an HDU for each component, so that each can be read without the others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..components import declared_components, get_component, has_component, match_component
from ..errors import FormatError
from ..words import did_you_mean, listing
from .fits_cards import Card
from .fits_components import cards_of_metadata, decode_part, encode_part
from .fits_file import FitsFile, hdu_ranges, recorded
from .fits_format import FitsFormat, check_stamp
from .fits_index import Hdu
from .fits_objects import extension_name
from .fits_planes import checked_bbox, read_floats, shape_of
from .fits_wcs import wcs_cards
from .fits_writer import KIND, ORIGIN, NewHdu, same_as_stored, stamp, write
from .interface import About, Layout, Range, Source

_PLANES = ("image", "mask", "variance")


class FitsExposure(FitsFormat):
    """An `Exposure`: metadata in the primary header, then an HDU for each of the other components that it has.

    The image carries the WCS in its header, for other programs; Bunter reads it from an HDU of its own, so that neither
    needs the other's bytes. Absent components have no HDU.
    """

    name = "FitsExposure"
    parameters = ("bbox",)
    reads_parts = True

    def components(self, about: About) -> Mapping[str, str]:
        """Return the components that the Python type declares, by default those of an `Exposure`."""
        if about.python is None:
            from ..exposure import Exposure

            return declared_components(Exposure)
        return super().components(about)

    def part_parameters(self, part: str, about: About) -> tuple[str, ...]:
        """Return ``bbox`` for planes."""
        return ("bbox",) if match_component(part, _PLANES) else ()

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write an exposure; see `Format.write`."""
        parts = _taken_apart(obj, about)
        hdus = _hdus(self.name, parts, _origin_of(obj), about)
        layout = write(hdus, out, about.name)
        layout["parts"] = {}
        for index, hdu in enumerate(hdus):
            if hdu.part:
                layout["parts"].setdefault(hdu.part, []).append(index)
        layout["planes"] = {name: _plane(value) for name, value in parts.items() if _is_plane(value)}
        return layout

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Compare the bytes that would be written with the recorded checksums."""
        hdus = recorded(layout)
        if hdus is None or "parts" not in layout:
            return None
        if part is None:
            return same_as_stored(lambda: _hdus(self.name, _taken_apart(obj, about), _origin_of(obj), about), hdus)
        name = match_component(part, [*layout["parts"], part]) or part
        if obj is None or name not in layout["parts"]:
            return True if obj is None and name not in layout["parts"] else None
        stored = [hdus[index] for index in layout["parts"][name]]
        if _is_plane(obj):
            if layout.get("planes", {}).get(name) != _plane(obj):
                return None
            # The header does not count: it carries the WCS, which is another component.
            return True if encode_part(name, obj, about)[0].checksums()[1] == stored[0].data_checksum else None
        if name == "metadata":
            # Of a whole frame; the header of a cutout differs, which proves nothing.
            return same_as_stored(lambda: _hdus(self.name, {"metadata": obj}, (0, 0), about), stored)
        return same_as_stored(lambda: encode_part(name, obj, about), stored)

    # --- reading -------------------------------------------------------------------------------------------

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the exposure, or with ``bbox`` a cutout of it; see `Format.read`."""
        self.check_parameters(parameters, self.parameters, about)
        file = FitsFile(source)
        check_stamp(file, self.name, about)
        parts = _parts(file, source.layout)
        if "image" not in parts:
            raise FormatError(f"{about.name}: {file.name} has no image; it has: {listing(parts)}")
        bbox = parameters.get("bbox")
        if bbox is not None:
            shape = tuple(source.layout.get("planes", {}).get("image", (0, shape_of(file, parts["image"][0])))[1])
            bbox = checked_bbox(bbox, shape, about.name)
        values = {name: _read_part(file, name, parts, about, bbox) for name in parts}
        y0, x0 = _stored_origin_of(file)
        if bbox is not None:
            y0, x0 = y0 + bbox[0].start, x0 + bbox[1].start
        return _built(values, (y0, x0), about)

    def read_parts(self, source: Source, wanted: Mapping[str, Mapping[str, Any]], about: About) -> dict[str, Any]:
        """Read some components, each by its own bytes; see `Format.read_parts`."""
        file = FitsFile(source)
        if "parts" not in source.layout:
            check_stamp(file, self.name, about)
        parts = _parts(file, source.layout)
        found: dict[str, Any] = {}
        for part, parameters in wanted.items():
            self.check_parameters(parameters, self.part_parameters(part, about), about)
            name = match_component(part, parts)
            if name is None:
                known = self.components(about)
                if match_component(part, known) is None:
                    raise FormatError(
                        f"{about.name}: there is no component {part!r}{did_you_mean(part, known)}; "
                        f"there are: {listing(known, 20)}"
                    )
                found[part] = None
            else:
                found[part] = _read_part(file, name, parts, about, parameters.get("bbox"))
        return found

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of a component."""
        hdus = recorded(layout)
        if hdus is None or "parts" not in layout:
            return None
        if not part:
            return hdu_ranges(hdus)
        name = match_component(part, layout["parts"])
        if name is None:
            return []
        return hdu_ranges([hdus[i] for i in layout["parts"][name]], header=name not in layout.get("planes", {}))

    def _takes_all(self, hdus: Sequence[Hdu], layout: Layout, about: About) -> bool:
        return "parts" in layout or super()._takes_all(hdus, layout, about)

    def _widths(self, hdus: Sequence[Hdu], layout: Layout) -> Mapping[int, int]:
        planes, parts = layout.get("planes", {}), layout.get("parts", {})
        if "image" not in planes:
            return {}
        # A mask has as many pixels as the image; should its header say otherwise, it is read once more.
        pixels = math.prod(planes["image"][1])
        stored = [hdus[parts[name][0]] for name in _PLANES if name in parts]
        found = {hdu.data_offset: hdu.data_length // pixels for hdu in stored if pixels and hdu.kind == "image"}
        return {offset: width for offset, width in found.items() if width in (2, 4, 8)}

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Index an exposure that Bunter wrote; see `Format.scan`."""
        file = FitsFile(source)
        check_stamp(file, self.name, about)
        layout = file.layout(checksums)
        if not file.whole:
            layout["parts"] = _parts(file, {})
            layout["planes"] = _planes(file, layout["parts"])
        return layout


def _taken_apart(obj: Any, about: About) -> dict[str, Any]:
    from ..exposure import Exposure

    if type(obj).__module__.startswith("astropy.nddata"):
        obj = Exposure.from_ccddata(obj)
    known = declared_components(type(obj))
    if not known or not has_component(obj, "image"):
        raise FormatError(
            f"{about.name}: FitsExposure holds a bunter.Exposure, an astropy CCDData, or an object whose class "
            f"declares components of which one is 'image', not a {type(obj).__name__}"
        )
    own = declared_components(Exposure)
    found: dict[str, Any] = {}
    for name in known:
        value = get_component(obj, name)
        if value is not None:
            found[match_component(name, own) or name] = value
    if not isinstance(found.get("image"), np.ndarray):
        raise FormatError(f"{about.name}: the image is a {type(found.get('image')).__name__}, no numpy array")
    # Planes first, so that other programs see them first.
    order = [*_PLANES, "wcs"]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def _origin_of(obj: Any) -> tuple[int, int]:
    y0, x0 = getattr(obj, "origin", (0, 0))
    return int(y0), int(x0)


def _hdus(format_name: str, parts: Mapping[str, Any], origin: tuple[int, int], about: About) -> list[NewHdu]:
    first = [Card(ORIGIN, json.dumps(origin), "y0, x0 in the full frame")] if origin != (0, 0) else []
    metadata = parts.get("metadata")
    if metadata is not None:
        first += cards_of_metadata(metadata)
    primary = stamp(format_name, *first)
    hdus = [NewHdu(primary.cards, part="metadata" if metadata is not None else "")]
    wcs = parts.get("wcs")
    for name, value in parts.items():
        if name == "metadata":
            continue
        cards: list[Card] = []
        if name == "image":
            unit = metadata.get("BUNIT") if isinstance(metadata, Mapping) else None
            if isinstance(unit, str) and len(unit) < 60:
                cards.append(Card("BUNIT", unit))
            if wcs is not None:
                cards += wcs_cards(wcs, about.name)[0]
        hdus += encode_part(name, value, about, cards)
    return hdus


def _is_plane(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.str[1:] in ("f4", "f8")


def _plane(value: Any) -> list[Any]:
    return [value.dtype.str[1:], list(value.shape)]


def _parts(file: FitsFile, layout: Layout) -> dict[str, list[int]]:
    """Return the HDUs of each component that the file has."""
    if "parts" in layout and not file.whole:
        return dict(layout["parts"])
    from ..exposure import Exposure

    names = {extension_name(name): name for name in declared_components(Exposure)}
    found: dict[str, list[int]] = {}
    last = None
    for index, hdu in enumerate(file.hdus):
        title = hdu.name.upper()
        if index == 0:
            if KIND in file.cards(0):
                found["metadata"] = [0]
        elif title in names and names[title] not in found:
            last = names[title]
            found[last] = [index]
        elif title and KIND in file.cards(index):
            last = title.lower()
            found.setdefault(last, [index])
        elif last is not None:
            # The tables of a WCS follow it.
            found[last].append(index)
    return found


def _planes(file: FitsFile, parts: Mapping[str, list[int]]) -> dict[str, list[Any]]:
    """Return type and shape of the parts that are plain floats, which need no header to be read."""
    found = {}
    for name, (index, *_) in parts.items():
        cards = file.cards(index)
        plain = cards.text(KIND) == "plane" and file.hdus[index].kind == "image" and "BSCALE" not in cards
        kind = {-32: "f4", -64: "f8"}.get(cards.integer("BITPIX") or 0)
        if plain and kind and "BZERO" not in cards:
            found[name] = [kind, list(shape_of(file, index))]
    return found


def _read_part(file: FitsFile, name: str, parts: Mapping[str, list[int]], about: About, bbox: Any) -> Any:
    index = parts[name][0]
    planes = file.source.layout.get("planes", {})
    if name in planes and not file.whole:
        # What was written as plain floats needs no header.
        kind, shape = planes[name]
        return read_floats(file, index, np.dtype(kind), tuple(shape), bbox if name in _PLANES else None, about.name)
    return decode_part(file, index, about, bbox if name in _PLANES else None)


def _stored_origin_of(file: FitsFile) -> tuple[int, int]:
    text = file.cards(0).get(ORIGIN)
    y0, x0 = json.loads(str(text)) if text is not None else (0, 0)
    return int(y0), int(x0)


def _built(values: dict[str, Any], origin: tuple[int, int], about: About) -> Any:
    from ..exposure import Exposure

    cls: Any = about.python or Exposure
    try:
        if issubclass(cls, Exposure):
            return cls(**values, origin=origin)
        if cls.__module__.startswith("astropy.nddata"):
            return Exposure(**values, origin=origin).to_ccddata()
        own = declared_components(cls)
        named = {match_component(name, own): value for name, value in values.items()}
        return cls(**{str(name): value for name, value in named.items() if name is not None})
    except (TypeError, ValueError) as error:
        raise FormatError(f"{about.name}: a {cls.__name__} cannot be made of {listing(values, 20)}: {error}") from error
