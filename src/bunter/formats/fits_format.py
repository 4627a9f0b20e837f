"""What all FITS formats share: the index of the HDUs, header cards and members at ingest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..components import match_component
from ..errors import FormatError
from ..words import did_you_mean, listing
from .fits_file import FitsFile, no_hdu, recorded
from .fits_index import Hdu, to_layout
from .fits_writer import STAMP, THIS_VERSION, VERSION
from .interface import About, Format, Layout, Piece, Range, Source

if TYPE_CHECKING:
    from ..definitions.model import Each, PartDefinition


class FitsFormat(Format):
    """Base of the FITS formats."""

    suffix = ".fits"

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Index the HDUs; see `Format.scan`."""
        return FitsFile(source).layout(checksums)

    def whole_ranges(self, layout: Layout, about: About) -> Sequence[Range] | None:
        """Return headers and data of all HDUs, or None if there are data that do not belong to the dataset."""
        hdus = recorded(layout)
        if hdus is None:
            return ()
        if not self._takes_all([hdu for hdu in hdus if hdu.data_length], layout, about):
            return None
        widths = self._widths(hdus, layout)
        ranges = []
        for hdu in hdus:
            ranges.append(Range(hdu.offset, hdu.header_length))
            if hdu.data_length:
                at = hdu.data_offset
                ranges.append(Range(at, hdu.data_length, widths.get(at, 1)))
        return ranges

    def pieces(self, layout: Layout) -> Sequence[Piece]:
        """Return header and data of each HDU; see `Format.pieces`."""
        found = []
        for number, hdu in enumerate(recorded(layout) or ()):
            name = f"HDU {number} {hdu.name}".rstrip()
            found.append(Piece(f"header of {name}", Range(hdu.offset, hdu.header_length), hdu.header_checksum))
            found.append(Piece(f"data of {name}", Range(hdu.data_offset, hdu.data_length), hdu.data_checksum))
        return found

    def checked(self, layout: Layout, checksums: Sequence[str]) -> Layout:
        """Return the HDUs with checksums; see `Format.checked`."""
        pairs = zip(recorded(layout) or (), checksums[::2], checksums[1::2], strict=True)
        hdus = [hdu._replace(header_checksum=header, data_checksum=data) for hdu, header, data in pairs]
        return {**layout, "hdus": to_layout(hdus)} if hdus else layout

    def _widths(self, hdus: Sequence[Hdu], layout: Layout) -> Mapping[int, int]:
        """Return where data begin that are read as numbers, and the bytes of one, as far as the layout tells."""
        return {}

    def _takes_all(self, hdus: Sequence[Hdu], layout: Layout, about: About) -> bool:
        """Tell whether a read of the whole takes the data of all these HDUs."""
        return len(hdus) < 2 or lie_in(hdus, self.part_ranges(layout, "", about) or ())

    def cards(self, source: Source, about: About, names: Sequence[str]) -> dict[str, Any]:
        """Return header cards, from the primary header before that of the first part's HDU; see `Format.cards`."""
        file = FitsFile(source)
        found: dict[str, Any] = {}
        headers = [0]
        second = _second_header(file, about)
        if second is not None:
            headers.append(second)
        for index in headers:
            cards = file.cards(index)
            for name in names:
                if name not in found and cards.get(name) is not None:
                    found[name] = cards[name]
        return found

    def pointing(self, source: Source, about: About) -> tuple[Any, tuple[int, ...]] | None:
        """Return the WCS of the image: from its header, else from the first that has one; see `Format.pointing`."""
        from .fits_planes import shape_of
        from .fits_wcs import read_wcs

        file = FitsFile(source)
        image = self._image(file, about)
        if image is None:
            return None
        for index in (image, *(number for number in range(len(file.hdus)) if number != image)):
            wcs = read_wcs(file, index)
            if wcs is not None and wcs.has_celestial:
                return wcs, shape_of(file, image)
        return None

    def _image(self, file: FitsFile, about: About) -> int | None:
        named = match_component("image", about.parts)
        for part in [about.parts[named]] if named is not None else about.parts.values():
            index = hdu_of(file, part.hdu, about)
            if index is not None and file.hdus[index].kind in ("image", "tiles"):
                return index
        return first_of(file, ("image", "tiles")) if named is not None or not about.parts else None

    def members(self, source: Source, about: About, each: Each) -> list[dict[str, Any]]:
        """Return the keys of the datasets in one file; see `Format.members`."""
        file = FitsFile(source)
        if each.kind == "hdu":
            return _members_by_name(file, about, str(next(iter(each.names.values()))))
        from .fits_binary import read_columns, table_of

        part = next(iter(about.parts.values()), None)
        index = _table_index(file, about, part)
        table = table_of(file, index, about.name)
        columns = {name: table.column(name, f"{about.name}: {file.name}") for name in each.names}
        values = read_columns(file, index, table, list(columns.values()))
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in range(table.rows):
            member = {}
            for name, key in each.names.items():
                value = values[columns[name].name][row]
                plain = value.item() if hasattr(value, "item") else value
                member[str(key)] = plain.strip() if isinstance(plain, str) else plain
            rows.setdefault(tuple(member.values()), member)
        return list(rows.values())


def lie_in(hdus: Sequence[Hdu], ranges: Sequence[Range]) -> bool:
    """Tell whether the data of all HDUs lie in some ranges."""
    return all(
        any(
            each.offset <= hdu.data_offset and hdu.data_offset + hdu.data_length <= each.offset + each.length
            for each in ranges
        )
        for hdu in hdus
    )


# Definitions may be a stranger's: no attributes, no widths without end.
_FIELD = re.compile(r"\{\{|\}\}|\{(?P<key>[A-Za-z_]\w*)(?::(?P<spec>0?\d{0,2}[ds]?|\.\d{1,2}[efg]))?\}")


def _members_by_name(file: FitsFile, about: About, key: str) -> list[dict[str, Any]]:
    """Return the values of a key for which there are extensions of the first one's sort, images or tables."""
    part = next((p for p in about.parts.values() if isinstance(p.hdu, str) and f"{{{key}}}" in p.hdu), None)
    template = part.hdu if part is not None else f"{{{key}}}"
    pattern = re.compile(re.escape(template).replace(re.escape(f"{{{key}}}"), "(.+)"), re.IGNORECASE)
    found: dict[str, None] = {}
    tabular: bool | None = None
    for hdu in file.hdus[1:]:
        match = pattern.fullmatch(hdu.name)
        if match is None or not (hdu.data_length or hdu.kind == "table"):
            continue
        if tabular is None:
            tabular = hdu.kind in ("table", "ascii")
        if tabular == (hdu.kind in ("table", "ascii")):
            found.setdefault(match[1])
    return [{key: value} for value in found]


def _second_header(file: FitsFile, about: About) -> int | None:
    """Return the HDU whose cards count after those of the primary one."""
    for part in about.parts.values():
        try:
            index = hdu_of(file, part.hdu, about)
        except FormatError:
            # The data ID that says which HDU it is may be what the cards are read for.
            continue
        if index:
            return index
    return 1 if len(file.hdus) > 1 else None


def _table_index(file: FitsFile, about: About, part: PartDefinition | None) -> int:
    if part is not None and part.hdu is not None:
        index = hdu_of(file, part.hdu, about)
        if index is None:
            raise no_hdu(file, part.hdu, about.name)
        return index
    index = first_of(file, ("table", "ascii"))
    if index is None:
        raise FormatError(f"{about.name}: {file.name} holds no table; it has: {listing(file.describe())}")
    return index


def first_of(file: FitsFile, kinds: Sequence[str]) -> int | None:
    """Return the first HDU of such a kind that has data, or None."""
    for index, hdu in enumerate(file.hdus):
        if hdu.kind in kinds and (hdu.data_length or hdu.kind in ("table", "ascii")):
            return index
    return None


def filled(template: str, about: About) -> str:
    """Return a string with its fields (``"{ccd}"``, ``"{ccdnum:02d}"``) filled in from the data ID.

    Raises
    ------
    FormatError
        If the data ID has no such key, or a field cannot be read.
    """

    def value(match: re.Match[str]) -> str:
        if match["key"] is None:
            return match[0][0]
        key, spec = match["key"], match["spec"] or ""
        if key not in about.data_id:
            raise FormatError(
                f"{about.name}: {template!r} in the definition of a part needs the key {key!r}"
                f"{did_you_mean(key, about.data_id)}; the data ID is {dict(about.data_id)}"
            )
        try:
            return format(about.data_id[key], spec)
        except ValueError as error:
            raise FormatError(f"{about.name}: {template!r} in the definition of a part: {key}: {error}") from error

    return _FIELD.sub(value, template)


def hdu_of(file: FitsFile, asked: Any, about: About) -> int | None:
    """Return the index of the HDU that a part definition names; None if the file has none, or nothing is named.

    Raises
    ------
    FormatError
        If the definition makes no sense for the data ID.
    """
    if asked is None:
        return None
    if isinstance(asked, Mapping):
        if len(asked) != 1:
            raise FormatError(f"{about.name}: hdu by value is {{key: {{value: hdu}}}}, not {dict(asked)!r:.80}")
        ((key, choices),) = asked.items()
        value = about.data_id.get(key)
        for choice, inner in choices.items():
            if value is not None and str(choice) == str(value):
                return hdu_of(file, inner, about)
        raise FormatError(f"{about.name}: no hdu is defined for {key}={value!r}; there is: {listing(choices)}")
    if isinstance(asked, list | tuple):
        name, version = asked
        return file.named(filled(str(name), about), int(version))
    if isinstance(asked, int):
        index = asked if asked >= 0 else len(file.hdus) + asked
        return index if 0 <= index < len(file.hdus) else None
    name = filled(str(asked), about)
    found = file.named(name)
    if found is None and name.strip().isdigit():
        index = int(name)
        return index if index < len(file.hdus) else None
    return found


def check_stamp(file: FitsFile, wanted: str, about: About) -> None:
    """Check that Bunter wrote a file in a certain format.

    Raises
    ------
    FormatError
        If it did not; says what to do with files of others.
    """
    cards = file.cards(0)
    found = cards.text(STAMP)
    if found != wanted:
        what = f"was written as {found}" if found else "was not written by Bunter"
        advice = (
            f"define the dataset type with storage: {found}"
            if found
            else ("define the dataset type with storage: Fits and say under parts: which HDU holds what")
        )
        raise FormatError(
            f"{about.name}: {file.name} is a FITS file, but no {wanted}: it {what}. It has the HDUs "
            f"{listing(file.describe())}; {advice}"
        )
    version = cards.integer(VERSION, 1) or 1
    if version > THIS_VERSION:
        raise FormatError(
            f"{about.name}: {file.name} was written as {wanted} version {version} by a newer Bunter; "
            f"this one knows versions up to {THIS_VERSION}: upgrade Bunter"
        )
