"""One component of an exposure in a FITS file of its own, in the HDUs that FitsExposure would write for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from ..components import declared_components, match_component
from ..errors import FormatError
from ..names import snake
from .fits_cards import Card
from .fits_components import decode_part, encode_part
from .fits_file import FitsFile, hdu_ranges, recorded
from .fits_format import FitsFormat, check_stamp
from .fits_writer import KIND, PART, NewHdu, same_as_stored, stamp, write
from .interface import About, Layout, Range, Source


class FitsPart(FitsFormat):
    """One component: pixels, a Mask, a WCS, PhotoCalib, Psf, Background, VisitInfo, Metadata, or plain values.

    Classes of anybody's are stored too if they have ``state`` or ``to_dict``, and ``from_dict``.
    """

    name = "FitsPart"
    parameters = ("bbox",)

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write a component; see `Format.write`."""
        return write(self._hdus(obj, about), out, about.name)

    def _hdus(self, obj: Any, about: About) -> list[NewHdu]:
        if obj is None:
            raise FormatError(f"{about.name}: there is nothing to store: the component is None")
        part = _part(obj, about)
        return [stamp(self.name, Card(PART, part)), *encode_part(part, obj, about)]

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the component, or with ``bbox`` a rectangle of a plane; see `Format.read`."""
        self.check_parameters(parameters, self.parameters, about)
        file = FitsFile(source)
        if recorded(source.layout) is None:
            check_stamp(file, self.name, about)
        if len(file.hdus) < 2:
            raise FormatError(f"{about.name}: {file.name} has no HDU with a component")
        bbox = parameters.get("bbox")
        if bbox is not None and file.cards(1).text(KIND) not in ("plane", "mask"):
            self.check_parameters(parameters, (), about)
        return decode_part(file, 1, about, bbox)

    def whole_parameters(self, about: About) -> tuple[str, ...]:
        """Return ``bbox`` for planes, nothing for a component that the definition says is something else."""
        if about.python is None and about.component is None:
            return self.parameters
        planes = ("ndarray", "Mask")
        is_plane = about.component in ("image", "mask", "variance") or getattr(about.python, "__name__", "") in planes
        return self.parameters if is_plane else ()

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes of the component's HDUs."""
        hdus = recorded(layout)
        return None if hdus is None else hdu_ranges(hdus[1:])

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Index a component that Bunter wrote; see `Format.scan`."""
        check_stamp(FitsFile(source), self.name, about)
        return super().scan(source, about, checksums)

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Compare the bytes that would be written with the recorded checksums."""
        hdus = recorded(layout)
        if hdus is None or part or obj is None:
            return None
        return same_as_stored(lambda: self._hdus(obj, about), hdus)


def _part(obj: Any, about: About) -> str:
    """Return the component's name, from the composite's definition if that is known, else from the type."""
    from ..exposure import Exposure

    own = declared_components(Exposure)
    if about.component is not None:
        last = about.component.split(".")[-1]
        return match_component(last, own) or snake(last)
    classes = {cls.__name__ for cls in type(obj).__mro__}
    for name, kind in own.items():
        if kind and kind.rpartition(".")[2] in classes:
            return name
    return "filter" if isinstance(obj, str) else snake(type(obj).__name__)
