"""Components as HDUs and back: the pixels, masks, WCS and other parts that FitsExposure and FitsPart hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError
from .fits_cards import Card, holds
from .fits_file import FitsFile
from .fits_objects import decode_object, encode_object, extension_name, from_json, metadata_cards, metadata_of, to_json
from .fits_planes import read_plane
from .fits_wcs import read_wcs, wcs_hdus
from .fits_writer import JSON, KIND, NewHdu, header_hdu, image_hdu, storable
from .interface import About

_PLANE_NAME = re.compile(r"[A-Z0-9_-]{1,40}\Z")
_PREFIX = "MP_"


def encode_part(name: str, value: Any, about: About, cards: Sequence[Card] = ()) -> list[NewHdu]:
    """Return a component as HDUs; what it is decides how.

    Parameters
    ----------
    name : str
        Of the component; the EXTNAME comes from it.
    value : object
        An array, Mask, WCS, Metadata (or Header), an object with ``state`` or ``to_dict``, or plain values.
    cards : sequence of Card
        Further cards for the header of an array.

    Raises
    ------
    FormatError
        If FITS cannot hold it.
    """
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    from ..exposure import Mask, Metadata

    title = extension_name(name)
    if isinstance(value, Mask):
        return [_mask_hdu(value, name, title)]
    if isinstance(value, np.ndarray):
        array = storable(value, f"{about.name}: the {name}")
        return [image_hdu(array, [Card(KIND, "plane"), *cards], name=title, part=name)]
    if isinstance(value, WCS):
        return wcs_hdus(value, name, title, about.name)
    if isinstance(value, Metadata | Header) or (name == "metadata" and isinstance(value, Mapping)):
        return [header_hdu(cards_of_metadata(value), name=title, part=name)]
    return encode_object(value, name, about)


def cards_of_metadata(value: Any) -> list[Card]:
    """Return the cards that hold metadata, a header or a mapping."""
    from ..exposure import Metadata

    metadata = value if isinstance(value, Metadata) else Metadata(value)
    return [Card(KIND, "metadata"), *metadata_cards(metadata)]


def _mask_hdu(mask: Any, part: str, title: str) -> NewHdu:
    cards = [Card(KIND, "mask")]
    odd: dict[str, int] = {}
    for name, bit in mask.bits.items():
        if _PLANE_NAME.match(name) and holds(_PREFIX + name, bit):
            cards.append(Card(_PREFIX + name, bit))
        else:
            odd[name] = bit
    if odd:
        cards.append(Card(JSON, to_json(odd), "mask planes whose names are no keywords"))
    return image_hdu(mask.array, cards, name=title, part=part)


def decode_part(file: FitsFile, index: int, about: About, bbox: Any = None) -> Any:
    """Make the component that begins in an HDU.

    Raises
    ------
    FormatError
        If the HDU was not written as a component.
    """
    cards = file.cards(index)
    kind = cards.text(KIND)
    if kind == "plane":
        return read_plane(file, index, bbox, about.name)
    if kind == "mask":
        return read_mask(file, index, about, bbox)
    if kind == "metadata":
        return metadata_of(cards, where=f"{file.name}: HDU {index}")
    if kind in ("object", "plain"):
        return decode_object(file, index, about)
    wcs = read_wcs(file, index) if kind == "wcs" else None
    if wcs is None:
        raise FormatError(f"{about.name}: HDU {index} of {file.name} was not written by Bunter as a component")
    return wcs


def read_mask(file: FitsFile, index: int, about: About, bbox: Any = None) -> Any:
    """Read a mask with the names of its planes."""
    from ..exposure import Mask

    cards = file.cards(index)
    bits: dict[str, int] = {}
    for keyword in cards.keywords():
        if keyword.startswith(_PREFIX):
            value = cards.get(keyword)
            if isinstance(value, int):
                bits[keyword[len(_PREFIX) :]] = value
    bits.update(from_json(cards, f"{file.name}: HDU {index}") or {})
    try:
        return Mask(read_plane(file, index, bbox, about.name), bits)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{about.name}: HDU {index} of {file.name} is no mask: {error}") from error
