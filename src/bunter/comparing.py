"""Whether two things are the same content: equal checksums, else equal values as the format reads them back."""

from __future__ import annotations

import io
from typing import Any

import xxhash

from .assembly import stripped
from .errors import IntegrityError
from .formats.interface import Format, Layout
from .locate import Found
from .plan import Leaf
from .reading import Opener, failing, open_stored, read_parts, read_whole


class MemorySource:
    """Bytes in memory that are read like a file."""

    def __init__(self, data: bytes, layout: Layout, name: str = "memory") -> None:
        self.name = name
        self.layout = layout
        self.size = len(data)
        self.local_path: str | None = None
        self._data = data

    def read_range(self, offset: int, length: int, checksum: str | None = None) -> memoryview:
        """Read bytes into a fresh buffer; see `bunter.formats.interface.Source`."""
        if offset < 0 or offset + length > self.size:
            raise IntegrityError(f"{self.name} has {self.size} bytes; {offset} to {offset + length} were asked for")
        return memoryview(bytearray(self._data[offset : offset + length]))

    def read_all(self) -> memoryview:
        """Read the whole."""
        return memoryview(bytearray(self._data))


def same_records(opener: Opener, a: Found, b: Found) -> bool:
    """Tell whether two stored datasets hold the same content; composites: the same pins."""
    first, second = a.record, b.record
    if first.uuid == second.uuid:
        return True
    if first.file is None or second.file is None:
        if first.file is not second.file:
            return False
        pins = [
            {(p.component, p.member, p.uuid) for p in f.repository.registry.pins(f.record.type, f.record.uuid)}
            for f in (a, b)
        ]
        return pins[0] == pins[1]
    how, other = first.writing, second.writing
    if how == other and first.file.checksum is not None and first.file.checksum == second.file.checksum:
        return True
    format_, about = opener.about(first)
    other_format, other_about = opener.about(second)
    return format_.equal(_read(format_, about, a), _read(other_format, other_about, b), about)


def _read(format_: Format, about: Any, found: Found, part: str = "") -> Any:
    source = open_stored(found)
    try:
        with failing(about, format_, source):
            if part:
                return read_parts(format_, source, about, {part: {}})[part]
            return read_whole(format_, source, about, {})
    finally:
        source.close()


def check_file(found: Found) -> None:
    """Verify all of the file of a stored dataset.

    Raises
    ------
    IntegrityError
        If it is not what was recorded.
    """
    source = open_stored(found)
    try:
        source.check()
    finally:
        source.close()


def read_leaf(opener: Opener, leaf: Leaf, found: Found) -> Any:
    """Read one leaf from where it was found."""
    format_, about = opener.about(found.record)
    return _read(format_, about, found, opener.part_in(format_, about, leaf, found.record))


def same_as_stored(opener: Opener, value: Any, leaf: Leaf, found: Found, strip: list[str]) -> bool:
    """Tell whether an object is what is stored.

    Parameters
    ----------
    strip : list of str
        Components of the object that do not count, since others hold them.
    """
    format_, about = opener.about(found.record)
    part = opener.part_in(format_, about, leaf, found.record)
    assert found.record.file is not None
    layout = found.record.file.layout
    if strip and not part:
        return _same_but_for(format_, about, value, found, strip)
    if format_.is_stored(value, layout, part or None, about) is True:
        return True
    if not part and format_.writes and found.record.file.checksum is not None and not format_.reads_parts:
        # A small file without parts: its bytes are made sooner than it is read.
        written = _written(format_, about, value)
        if xxhash.xxh3_128_hexdigest(written[0]) == found.record.file.checksum:
            return True
        stored = _read(format_, about, found)
        again = format_.read(MemorySource(*written, name=about.name), about, {})
        return format_.equal(again, stored, about)
    stored = _read(format_, about, found, part)
    if value is None or stored is None:
        return value is None and stored is None
    if format_.equal(value, stored, about):
        return True
    if part or not format_.writes:
        return False
    # What would be read back may be equal although what is in memory is not (a lossy format, another dtype).
    return format_.equal(format_.read(MemorySource(*_written(format_, about, value)), about, {}), stored, about)


def _written(format_: Format, about: Any, value: Any) -> tuple[bytes, Layout]:
    stream = io.BytesIO()
    layout = format_.write(value, stream, about)
    return stream.getvalue(), layout


def _same_but_for(format_: Format, about: Any, value: Any, found: Found, strip: list[str]) -> bool:
    """Compare a whole object but for some components, each remaining component by itself where that is cheap."""
    from .components import declared_components, get_component

    assert found.record.file is not None
    if not format_.reads_parts:
        stored = stripped(_read(format_, about, found), strip)
        return format_.equal(stripped(value, strip), stored, about)
    for name in declared_components(type(value)):
        if name in strip:
            continue
        part = get_component(value, name)
        if format_.is_stored(part, found.record.file.layout, name, about) is True:
            continue
        stored = _read(format_, about, found, name)
        if part is None or stored is None:
            if part is not stored:
                return False
        elif not format_.equal(part, stored, about):
            return False
    return True
