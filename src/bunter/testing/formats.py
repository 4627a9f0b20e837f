"""For people who write formats: a source over a local file, and the tests that every format has to pass.

Inherit `FormatTests` in a test module, say which format it is and what it can hold, and let pytest collect it::

    class TestMine(FormatTests):
        def format(self):
            return Mine()

        def examples(self):
            return [(Thing(1), About(python=Thing)), (Thing(2), About(python=Thing))]
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import xxhash

from ..components import get_component
from ..errors import BunterError, FormatError, IntegrityError, ParameterError
from ..formats.interface import About, Format, Layout

__all__ = ["FileSource", "FormatTests", "written"]


class FileSource:
    """A `bunter.formats.interface.Source` over a local file, which counts what is read.

    Parameters
    ----------
    path : str or Path
        The file.
    layout : dict, optional
        What the format recorded when it wrote the file.
    checksum : str, optional
        XXH3-128 of the whole file, hexadecimal; `read_all` is checked against it.
    size : int, optional
        The size that the file had when it was recorded; by default the size that it has.
    local : bool
        Whether to tell the format the file's path; without it the source is like one in an object store.

    Attributes
    ----------
    bytes_read, reads : int
        How many bytes were read through this source so far, in how many reads.
    """

    def __init__(
        self,
        path: str | Path,
        layout: Layout | None = None,
        checksum: str | None = None,
        *,
        size: int | None = None,
        local: bool = True,
    ) -> None:
        self.name = str(path)
        self.layout: Layout = {} if layout is None else layout
        self.checksum = checksum
        self.size = os.path.getsize(path) if size is None else size
        self.local_path: str | None = str(path) if local else None
        self.bytes_read = 0
        self.reads = 0

    def read_range(self, offset: int, length: int, checksum: str | None = None) -> memoryview:
        """Read bytes into a fresh, writable buffer; see `Source.read_range`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise IntegrityError(f"{self.name} has {self.size} bytes; {offset} to {offset + length} were asked for")
        with open(self.name, "rb") as file:
            there = os.fstat(file.fileno()).st_size
            if there != self.size:
                raise IntegrityError(f"{self.name} has {there} bytes, but had {self.size} when it was recorded")
            file.seek(offset)
            data = bytearray(file.read(length))
        self.bytes_read += len(data)
        self.reads += 1
        if checksum is not None and xxhash.xxh3_128_hexdigest(data) != checksum:
            raise IntegrityError(f"bytes {offset} to {offset + length} of {self.name} have another checksum")
        return memoryview(data)

    def read_all(self) -> memoryview:
        """Read the whole file; see `Source.read_all`."""
        return self.read_range(0, self.size, self.checksum)


def written(
    format_: Format, obj: Any, about: About, folder: str | Path, name: str | None = None, *, local: bool = True
) -> FileSource:
    """Write an object to a file in a folder and return the file as a source, with layout and checksum."""
    path = Path(folder) / (name or f"{format_.name.lower()}{format_.suffix}")
    with open(path, "w+b") as out:
        layout = format_.write(obj, out, about)
    return FileSource(path, layout, xxhash.xxh3_128_hexdigest(path.read_bytes()), local=local)


def _message(kinds: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], Any]) -> str | None:
    """Return what the error says with which a call was refused, or None if it was not."""
    try:
        call()
    except kinds as error:
        return str(error)
    return None


class FormatTests:
    """What every format has to do; inherit it and say what to test.

    A subclass gives `format` and `examples`; `refused`, `selections` and `foreign` if there are any. Examples
    are pairwise different, and small: damage is tried at many places of each.
    """

    # --- what a subclass says ------------------------------------------------------------------------------

    def format(self) -> Format:
        """Return the format."""
        raise NotImplementedError

    def examples(self) -> Sequence[tuple[Any, About]]:
        """Return objects that it can hold, each with what it is told of the dataset."""
        raise NotImplementedError

    def refused(self) -> Sequence[tuple[Any, About]]:
        """Return objects that it cannot hold."""
        return []

    def selections(self) -> Sequence[tuple[Mapping[str, Any], Callable[[Any], Any]]]:
        """Return read parameters, and what they make of each whole example."""
        return []

    def bad_parameters(self) -> Sequence[Mapping[str, Any]]:
        """Return read parameters, right by name, whose values fit no example."""
        return []

    def foreign(self) -> Sequence[bytes]:
        """Return contents of files that are not of this format."""
        return [b"", b"\x00" * 100, bytes(range(256)) * 20, b"SIMPLE  = nonsense", b"\x89PNG\r\n\x1a\n\x00\x00"]

    def expected(self, obj: Any, about: About) -> Any:
        """Return what is read back of an example; the same but for lossy formats."""
        return obj

    # --- the tests -----------------------------------------------------------------------------------------

    def test_examples_come_back(self, tmp_path: Path) -> None:
        """What was written is read back equal, as the class that was asked for, local or not."""
        format_ = self.format()
        for obj, about in self.examples():
            for local in (True, False):
                source = written(format_, obj, about, tmp_path, local=local)
                back = format_.read(source, about, {})
                assert format_.equal(self.expected(obj, about), back, about), f"{obj!r:.300} came back as {back!r:.300}"
                if about.python is not None and about.python is not object:
                    assert isinstance(back, about.python)

    def test_writing_changes_nothing(self, tmp_path: Path) -> None:
        """The object itself is left as it is."""
        format_ = self.format()
        for obj, about in self.examples():
            before = copy.deepcopy(obj)
            written(format_, obj, about, tmp_path)
            assert format_.equal(before, obj, about)

    def test_bytes_are_deterministic(self, tmp_path: Path) -> None:
        """The same object, or an equal copy, gives the same bytes."""
        format_ = self.format()
        for obj, about in self.examples():
            first = written(format_, obj, about, tmp_path, "first" + format_.suffix)
            second = written(format_, copy.deepcopy(obj), about, tmp_path, "second" + format_.suffix)
            assert bytes(first.read_all()) == bytes(second.read_all())
            assert first.layout == second.layout

    def test_examples_differ(self) -> None:
        """``equal`` tells the examples apart, and each from nothing."""
        format_ = self.format()
        examples = list(self.examples())
        for i, (obj, about) in enumerate(examples):
            assert format_.equal(obj, obj, about)
            assert obj is None or not format_.equal(obj, None, about)
            for other, _ in examples[i + 1 :]:
                assert not format_.equal(obj, other, about), f"{obj!r:.200} counts as equal to {other!r:.200}"

    def test_each_read_is_its_own(self, tmp_path: Path) -> None:
        """Two reads share no memory that one of them could change."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            first, second = format_.read(source, about, {}), format_.read(source, about, {})
            changed = _spoil(first)
            assert format_.equal(self.expected(obj, about), second, about)
            again = format_.read(source, about, {})
            assert format_.equal(self.expected(obj, about), again, about), f"{changed} was shared with the source"

    def test_layout_is_json_and_what_a_scan_gives(self, tmp_path: Path) -> None:
        """The layout survives JSON, and a scan with checksums of the file gives the same."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            assert json.loads(json.dumps(source.layout)) == source.layout
            scanned = format_.scan(FileSource(source.name), about, True)
            assert scanned == source.layout
            format_.scan(FileSource(source.name), about, False)

    def test_a_file_without_layout_is_read_too(self, tmp_path: Path) -> None:
        """The layout only saves time."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            back = format_.read(FileSource(source.name), about, {})
            assert format_.equal(self.expected(obj, about), back, about)

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        """A flipped bit is an error, or lies where it changes nothing; never other values."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            expected = self.expected(obj, about)
            for damaged in _damaged(source):
                try:
                    back = format_.read(damaged, about, {})
                except (IntegrityError, FormatError):
                    continue
                assert format_.equal(expected, back, about), "a damaged file was read as something else"

    def test_cut_short(self, tmp_path: Path) -> None:
        """A file that lost its end is an error, whether or not anything was recorded of it."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            data = bytes(source.read_all())
            for length in sorted({0, 1, len(data) // 3, len(data) - 1} - {len(data)}):
                path = tmp_path / f"cut{format_.suffix}"
                path.write_bytes(data[:length])
                recorded = FileSource(path, source.layout, source.checksum, size=source.size)
                message = _message((IntegrityError, FormatError), partial(format_.read, recorded, about, {}))
                assert message is not None, f"{length} of {len(data)} bytes were read as if they were all"
                assert str(path) in message
                message = _message(BunterError, partial(format_.read, FileSource(path), about, {}))
                assert message is None or str(path) in message

    def test_foreign_files(self, tmp_path: Path) -> None:
        """A file of another format is a `FormatError` or `IntegrityError` that names it."""
        format_ = self.format()
        _, about = self.examples()[0]
        for number, content in enumerate(self.foreign()):
            path = tmp_path / f"foreign{number}{format_.suffix}"
            path.write_bytes(content)
            call = partial(format_.read, FileSource(path), about, {})
            message = _message((FormatError, IntegrityError), call)
            assert message is not None, f"{content[:30]!r}... was read as if it were {format_.name}"
            assert str(path) in message

    def test_what_it_cannot_hold_is_refused(self, tmp_path: Path) -> None:
        """A `FormatError` names the dataset."""
        format_ = self.format()
        for obj, about in self.refused():
            message = _message(FormatError, partial(written, format_, obj, about, tmp_path))
            assert message is not None, f"{obj!r:.200} was written"
            assert about.name in message

    def test_selections(self, tmp_path: Path) -> None:
        """A selection gives what it would give of the whole."""
        format_ = self.format()
        for parameters, select in self.selections():
            format_.check_parameters(parameters, format_.parameters, About())
            for obj, about in self.examples():
                for local in (True, False):
                    source = written(format_, obj, about, tmp_path, local=local)
                    back = format_.read(source, about, parameters)
                    expected = select(self.expected(obj, about))
                    assert format_.equal(expected, back, about), f"{parameters}: {back!r:.300}"
                    bare = format_.read(FileSource(source.name, local=local), about, parameters)
                    assert format_.equal(expected, bare, about)

    def test_column_names(self, tmp_path: Path) -> None:
        """What takes ``columns`` can say which there are, with a layout or without."""
        from ..formats.convert import is_tabular
        from ..formats.tables import names_of

        format_ = self.format()
        for obj, about in self.examples():
            if "columns" not in format_.whole_parameters(about):
                continue
            source = written(format_, obj, about, tmp_path)
            back = format_.read(source, about, {})
            for place in (source, FileSource(source.name)):
                told = format_.column_names(place, about)
                assert (told is not None) == is_tabular(back)
                # The index of a DataFrame is a column in the file.
                assert told is None or {*names_of(back)} <= {*told}

    def test_bad_parameters(self, tmp_path: Path) -> None:
        """Values that do not fit are a `ParameterError`, unknown names too."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            unknown = partial(format_.check_parameters, {"colums": 1}, format_.parameters, about)
            assert "colums" in (_message(ParameterError, unknown) or "")
            for parameters in self.bad_parameters():
                message = _message(ParameterError, partial(format_.read, source, about, parameters))
                assert message is not None, f"{parameters} was accepted"
                assert about.name in message

    def test_parts(self, tmp_path: Path) -> None:
        """Each part read alone equals that of the whole, and takes only the bytes that were told."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            names = format_.components(about)
            if not names:
                continue
            whole = format_.read(source, about, {})
            together = format_.read_parts(source, {name: {} for name in names}, about)
            assert set(together) == set(names)
            for name in names:
                alone = FileSource(source.name, source.layout, source.checksum)
                part = format_.read_parts(alone, {name: {}}, about)[name]
                assert format_.equal(get_component(whole, name), part, about), name
                assert format_.equal(together[name], part, about), name
                ranges = format_.part_ranges(source.layout, name, about)
                if ranges is not None:
                    assert alone.bytes_read <= sum(r.length for r in ranges), f"{name}: more was read than told"

    def test_damage_to_parts_is_noticed(self, tmp_path: Path) -> None:
        """A flipped bit in a part is an error when the part is read alone."""
        format_ = self.format()
        for obj, about in self.examples():
            names = format_.components(about)
            if not names or not format_.reads_parts:
                continue
            source = written(format_, obj, about, tmp_path)
            parts = format_.read_parts(source, {name: {} for name in names}, about)
            for damaged in _damaged(source):
                for name in names:
                    try:
                        part = format_.read_parts(damaged, {name: {}}, about)[name]
                    except (IntegrityError, FormatError):
                        continue
                    assert format_.equal(parts[name], part, about), f"{name} was read as something else"

    def test_an_unchanged_object_is_not_told_to_differ(self, tmp_path: Path) -> None:
        """``is_stored`` never says False of what is stored."""
        format_ = self.format()
        for obj, about in self.examples():
            source = written(format_, obj, about, tmp_path)
            assert format_.is_stored(obj, source.layout, None, about) is not False
            for other, _ in self.examples():
                if not format_.equal(obj, other, about):
                    assert format_.is_stored(other, source.layout, None, about) is not True


def _damaged(source: FileSource, places: int = 24) -> Iterator[FileSource]:
    """Give the file with one bit flipped, at places spread over it, and put it right again."""
    chance = random.Random(source.size)
    path = Path(source.name)
    data = path.read_bytes()
    for _ in range(min(places, len(data))):
        place = chance.randrange(len(data))
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << chance.randrange(8)
        path.write_bytes(spoilt)
        try:
            yield FileSource(path, source.layout, source.checksum)
        finally:
            path.write_bytes(data)


def _spoil(obj: Any) -> str:
    """Change what can be changed of an object, and say what that was."""
    if isinstance(obj, dict | list):
        obj.clear()
        return "its content"
    import numpy as np

    columns = getattr(obj, "itercols", None)
    values = [obj, *getattr(obj, "__dict__", {}).values(), *(columns() if callable(columns) else ())]
    changed = "nothing"
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.flags.writeable:
            np.asarray(value).fill(0)
            changed = "an array"
    return changed
