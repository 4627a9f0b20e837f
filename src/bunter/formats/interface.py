"""What a format is: the seam between objects in memory and bytes in one file.

A format never sees a registry, a repository or a dataset type; it is told what it needs in an `About`,
reads from a `Source` and writes to a binary file object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, Protocol, TypeAlias

from ..definitions.model import Each, PartDefinition
from ..errors import FormatError, ParameterError
from ..values import dataclass, field
from ..words import did_you_mean, listing

Layout: TypeAlias = dict[str, Any]
"""What a format wants to remember of a file's inside (JSON): byte ranges, checksums of parts."""


def _untrusted(name: str) -> Any:
    raise LookupError(name)


@dataclass(frozen=True, slots=True)
class About:
    """What a format is told of the dataset that it reads or writes.

    Attributes
    ----------
    name : str
        The dataset, for messages (``calexp:sfm {'visit': 1}``).
    python : type or None
        The class to hand out (already imported); None leaves the choice to the format.
    parts : mapping of str to PartDefinition
        The parts of a foreign file; empty for files that Bunter wrote.
    data_id : mapping
        The full data ID, for fields in part definitions (``hdu: "{ccd}"``).
    component : str or None
        Which component of its composite the dataset is (``calexp:jointcal.wcs``: ``wcs``).
    find : callable
        Imports a dotted name if the user trusts it (``convert: mypackage.f``).
    """

    name: str = "dataset"
    python: type | None = None
    parts: Mapping[str, PartDefinition] = field(default_factory=dict)
    data_id: Mapping[str, Any] = field(default_factory=dict)
    component: str | None = None
    find: Callable[[str], Any] = _untrusted


class Source(Protocol):
    """One stored file, opened at most once, closed by whoever made it."""

    name: str
    """For messages: path or URI."""
    size: int
    """Size in bytes."""
    local_path: str | None
    """Path on local disk for libraries that open files by name, or None."""

    @property
    def layout(self) -> Layout:
        """What the format recorded when the file was written or ingested; ``{}`` if nothing."""

    def read_range(self, offset: int, length: int, checksum: str | None = None) -> memoryview:
        """Read bytes into a fresh, writable buffer; a short read or a wrong checksum is an `IntegrityError`."""

    def read_all(self) -> memoryview:
        """Read the whole file, verified against its recorded checksum if there is one."""

    # A source may have `read_numbers` and `read_rows` too: what the functions of these names do, in one go.


def make_native(data: memoryview, width: int) -> None:
    r"""Make big-endian numbers those of this machine, in place; what is left over and makes no number stays.

    Parameters
    ----------
    data : memoryview
        Writable bytes.
    width : int
        Bytes of a number: 1, 2, 4 or 8.

    Examples
    --------
    >>> data = memoryview(bytearray(b"\0\0\0\x07"))
    >>> make_native(data, 4)
    >>> data.cast("i").tolist()
    [7]
    """
    count = len(data) // width
    if width == 1 or not count:
        return
    import numpy as np

    stored = np.frombuffer(data, f">u{width}", count)
    # Half the time of ndarray.byteswap, and other threads run meanwhile.
    np.copyto(stored.view(f"=u{width}"), stored)


def read_numbers(source: Source, offset: int, length: int, width: int, checksum: str | None = None) -> memoryview:
    """Read big-endian numbers of `width` bytes as those of this machine; otherwise as `Source.read_range` does."""
    at_once = getattr(source, "read_numbers", None)
    if at_once is not None:
        return at_once(offset, length, width, checksum)  # type: ignore[no-any-return]
    data = source.read_range(offset, length, checksum)
    make_native(data, width)
    return data


def read_rows(source: Source, offset: int, step: int, width: int, count: int) -> memoryview:
    """Read `count` pieces of `width` bytes that begin `step` bytes apart, not verified, one behind the other."""
    at_once = getattr(source, "read_rows", None)
    if at_once is not None and step - width > _GAP:
        return at_once(offset, step, width, count)  # type: ignore[no-any-return]
    return picked(source.read_range(offset, step * (count - 1) + width), step, width, count)


def picked(data: memoryview, step: int, width: int, count: int) -> memoryview:
    """Return fresh bytes: `count` pieces of `width` bytes of `data` that begin `step` bytes apart."""
    return memoryview(bytearray().join([data[at : at + width] for at in range(0, step * count, step)]))


# Bytes that are sooner read than left out.
_GAP = 1 << 14


@dataclass(frozen=True, slots=True)
class Range:
    """Where a part lies in its file: bytes ``offset`` to ``offset + length``.

    `width` is that of the numbers in it if they are big-endian and read by `read_numbers`, else 1.
    """

    offset: int
    length: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file of which a layout remembers, or could remember, a checksum (XXH3-128, hexadecimal)."""

    name: str
    range: Range
    checksum: str | None


class Format:
    """Base of all formats: ``write`` and ``read``, and what a format can do beyond them.

    Attributes
    ----------
    name : str
        The storage name in policies.
    suffix : str
        The file suffix that goes with it (``.fits``).
    parameters : tuple of str
        The read parameters that a read of the whole takes (``("columns",)``).
    reads_parts : bool
        Whether one part can be read without reading the whole.
    writes : bool
        Whether `write` is possible at all (``Fits`` reads foreign files only).
    lossy : bool
        Whether what is read back may differ from what was written.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ""
    parameters: ClassVar[tuple[str, ...]] = ()
    reads_parts: ClassVar[bool] = False
    writes: ClassVar[bool] = True
    lossy: ClassVar[bool] = False

    def write(self, obj: Any, out: BinaryIO, about: About) -> Layout:
        """Write `obj` to the empty file `out` (readable and seekable too), deterministically.

        Returns
        -------
        dict
            The file's layout, as `scan` with checksums would give it; ``{}`` if there is none.

        Raises
        ------
        FormatError
            If the format cannot hold the object; says what it can hold.
        """
        raise NotImplementedError

    def read(self, source: Source, about: About, parameters: Mapping[str, Any]) -> Any:
        """Read the whole object, or the selection that `parameters` (already checked by name) make."""
        raise NotImplementedError

    def components(self, about: About) -> Mapping[str, str]:
        """Return the names of the components of a stored dataset and the dotted names of their types ("" unknown).

        The parts of the definition, else what the Python type declares.
        """
        from ..components import declared_components

        if about.parts:
            return {name: part.python or "" for name, part in about.parts.items()}
        return declared_components(about.python)

    def whole_parameters(self, about: About) -> tuple[str, ...]:
        """Return the names of the read parameters that a read of the whole takes for this dataset."""
        return self.parameters

    def part_parameters(self, part: str, about: About) -> tuple[str, ...]:
        """Return the names of the read parameters that a part takes (``bbox`` for planes)."""
        return ()

    def read_parts(self, source: Source, wanted: Mapping[str, Mapping[str, Any]], about: About) -> dict[str, Any]:
        """Read some parts: ``{part name as in components(): parameters}``; absent parts come as None.

        The base reads the whole and takes the attributes.
        """
        from ..components import get_component

        whole = self.read(source, about, {})
        return {part: get_component(whole, part) for part in wanted}

    def column_names(self, source: Source, about: About, part: str = "") -> Sequence[str] | None:
        """Return the names of the columns of a table (the whole, or a part), or None if it is no table.

        It is asked of what takes the parameter ``columns``, so that of several tables only those are read that hold
        a wanted column. The base reads all of it; a format that can looks at the header alone.
        """
        from .convert import is_tabular
        from .tables import names_of

        found = self.read_parts(source, {part: {}}, about)[part] if part else self.read(source, about, {})
        return names_of(found) if is_tabular(found) else None

    def part_ranges(self, layout: Layout, part: str, about: About) -> Sequence[Range] | None:
        """Return the bytes that a read of `part` takes, or None if that is the whole file or unknown."""
        return None

    def whole_ranges(self, layout: Layout, about: About) -> Sequence[Range] | None:
        """Return the bytes that a read of the whole takes one by one, in their order; none if it reads all at once.

        All other bytes of the file are verified along with them. None says that the file may hold other datasets, so
        that only what is read is verified.
        """
        return ()

    def scan(self, source: Source, about: About, checksums: bool) -> Layout:
        """Index a file that is there already (ingest); checks that it is of this format at all."""
        return {}

    def pieces(self, layout: Layout) -> Sequence[Piece]:
        """Return the pieces of a file that have, or could have, checksums of their own (verification)."""
        return ()

    def checked(self, layout: Layout, checksums: Sequence[str]) -> Layout:
        """Return a layout with checksums of its `pieces`, in their order."""
        return layout

    def cards(self, source: Source, about: About, names: Sequence[str]) -> dict[str, Any]:
        """Return the header cards of those names that the file has (``idFrom``)."""
        raise FormatError(f"{about.name}: files of storage {self.name} have no header cards, so no idFrom")

    def pointing(self, source: Source, about: About) -> tuple[Any, tuple[int, ...]] | None:
        """Return the WCS and the shape of the image in a file (ingest); None if it lacks one of them."""
        return None

    def members(self, source: Source, about: About, each: Each) -> list[dict[str, Any]]:
        """Return the keys of the datasets that one file holds (``each`` by HDU or by columns)."""
        raise FormatError(
            f"{about.name}: files of storage {self.name} hold one dataset each, so no 'each: {each.kind}'"
        )

    def equal(self, a: Any, b: Any, about: About) -> bool:
        """Tell whether two objects are the same content, as this format reads them back."""
        from .equality import same_values

        return same_values(a, b)

    def is_stored(self, obj: Any, layout: Layout, part: str | None, about: About) -> bool | None:
        """Tell from checksums alone whether `obj` is what is stored as `part`; None: cannot tell.

        Never answers False merely because checksums differ while values could be equal.
        """
        return None

    def check_parameters(self, parameters: Mapping[str, Any], known: Sequence[str], about: About) -> None:
        """Refuse unknown read parameters with a `ParameterError`."""
        for name in parameters:
            if name not in known:
                raise ParameterError(
                    f"{about.name}: unknown parameter {name!r}{did_you_mean(name, known)}; "
                    f"this read takes: {listing(known)}"
                )
