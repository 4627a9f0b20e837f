"""The tests that every file store has to pass."""

from __future__ import annotations

import array
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from ..errors import BunterError, IntegrityError
from ..files.interface import ClosableSource, StoredFile, WritableFiles
from ..formats.interface import Range, read_numbers
from .refusals import refusal

__all__ = ["FilesTests"]

_TEXT = b"The quick brown fox jumps over the lazy dog. " * 400


class FilesTests:
    """What every store of files has to do; inherit it and say what to test."""

    # --- what a subclass says ------------------------------------------------------------------------------

    def files(self, folder: Path) -> WritableFiles:
        """Return an empty store; `folder` is empty, and its own."""
        raise NotImplementedError

    def again(self, files: WritableFiles) -> WritableFiles:
        """Return another client's store over the same files."""
        raise NotImplementedError

    def everything(self, files: WritableFiles) -> set[str]:
        """Return the names of whatever there is in the store, drafts and folders too."""
        raise NotImplementedError

    def spoil(self, files: WritableFiles, path: str, content: bytes | None) -> None:
        """Change a stored file behind the store's back; None: remove it."""
        raise NotImplementedError

    # --- for the tests -------------------------------------------------------------------------------------

    def store(self, files: WritableFiles, path: str, content: bytes) -> StoredFile:
        """Store a file."""
        draft = files.draft(path)
        draft.stream.write(content)
        published = draft.publish(lambda _: False)
        files.sync()
        draft.settle()
        return StoredFile(published, True, draft.size, None, draft.checksum, {})

    def content(self, files: WritableFiles, file: StoredFile) -> bytes:
        """Read a file."""
        source = files.open(file)
        try:
            return bytes(source.read_all())
        finally:
            source.close()

    # --- the tests -----------------------------------------------------------------------------------------

    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        """By whoever comes to the same files, whole and in ranges; size and checksum are those of the bytes."""
        files = self.files(tmp_path)
        for number, content in enumerate((b"", b"a", _TEXT)):
            file = self.store(files, f"some/folder/{number}.bin", content)
            assert file.path == f"some/folder/{number}.bin"
            assert (file.size, file.checksum) == (len(content), xxhash.xxh3_128_hexdigest(content))
            for store in (files, self.again(files)):
                assert self.content(store, file) == content
                source = store.open(file)
                for offset, length in ((0, 0), (0, len(content)), (len(content) // 2, len(content) // 3)):
                    expected = content[offset : offset + length]
                    checksum = xxhash.xxh3_128_hexdigest(expected)
                    assert bytes(source.read_range(offset, length, checksum)) == expected
                source.close()

    def test_each_read_is_its_own(self, tmp_path: Path) -> None:
        """Buffers are writable, and no two reads share one."""
        files = self.files(tmp_path)
        source = files.open(self.store(files, "a", b"abcdef"))
        for read in (source.read_all, lambda: source.read_range(1, 3)):
            first, second = read(), read()
            expected = bytes(second)
            first[:] = b"\0" * len(first)
            assert bytes(second) == expected == bytes(read())
        source.close()

    def test_names(self, tmp_path: Path) -> None:
        """Whatever a template gives can be a path, and no two are one file."""
        files = self.files(tmp_path)
        paths = ["plain", "a b/c%20d.fits", "é/日本.txt", "x" * 200 + ".fits", "-/+,=@~", "deep/" * 20 + "file"]
        stored = {path: self.store(files, path, path.encode()) for path in paths}
        for path, file in stored.items():
            assert file.path == path
            assert self.content(files, file) == path.encode()
        assert len({files.uri(path) for path in paths}) == len(paths)

    def test_paths_do_not_leave_the_store(self, tmp_path: Path) -> None:
        """Neither to read nor to write."""
        files = self.files(tmp_path)
        for path in ("../out", "a/../../out", "a\0b"):
            refusal(BunterError, files.draft, path)
            refusal(BunterError, self.content, files, StoredFile(path, True, 1, None, None, {}))

    def test_nothing_is_seen_before_it_is_published(self, tmp_path: Path) -> None:
        """Under its name a file is whole or not there."""
        files = self.files(tmp_path)
        draft = files.draft("a/b.bin")
        draft.stream.write(_TEXT)
        wanted = StoredFile("a/b.bin", True, len(_TEXT), None, None, {})
        refusal(IntegrityError, self.content, self.again(files), wanted)
        assert draft.publish(lambda _: False) == draft.published == "a/b.bin"
        assert self.content(self.again(files), wanted) == _TEXT

    def test_a_draft_that_is_dropped_leaves_nothing(self, tmp_path: Path) -> None:
        """At whatever point: begun, written, finished, published; what others stored stays."""
        files = self.files(tmp_path)
        self.store(files, "mine/kept", b"kept")
        before = self.everything(files)
        for steps in range(4):
            drafts = [files.draft("mine/a"), files.draft("new/folder/b"), files.draft("new/folder/c")]
            for draft in drafts:
                if steps > 0:
                    draft.stream.write(b"content")
                if steps > 1:
                    draft.finish()
                if steps > 2:
                    draft.publish(lambda _: False)
            assert self.everything(files) != before
            for draft in drafts:
                draft.drop()
                draft.drop()
            files.sync()
            assert self.everything(files) == before

    def test_a_file_that_is_settled_is_all_there_is(self, tmp_path: Path) -> None:
        """Nothing marks it any more; settling twice is no fault, and its content stays."""
        files = self.files(tmp_path)
        draft = files.draft("a/b.bin")
        draft.stream.write(_TEXT)
        draft.publish(lambda _: False)
        draft.settle()
        draft.settle()
        assert self.everything(files) == {"a", "a/b.bin"}
        assert self.content(files, StoredFile("a/b.bin", True, draft.size, None, draft.checksum, {})) == _TEXT

    def test_a_taken_name_gets_the_next_mark(self, tmp_path: Path) -> None:
        """Whether a file has it or somebody speaks for it; nothing is overwritten."""
        files = self.files(tmp_path)
        first = self.store(files, "a/b.fits.fz", b"first")
        second = self.store(self.again(files), "a/b.fits.fz", b"second")
        assert (first.path, second.path) == ("a/b.fits.fz", "a/b~2.fits.fz")
        draft = files.draft("a/b.fits.fz")
        draft.stream.write(b"third")
        assert draft.publish(lambda path: path == "a/b~3.fits.fz") == "a/b~4.fits.fz"
        draft = files.draft("a/c")
        draft.stream.write(b"c")
        assert draft.publish(lambda path: path == "a/c") == "a/c~2"
        assert [self.content(files, file) for file in (first, second)] == [b"first", b"second"]

    def test_a_published_file_can_get_another_name(self, tmp_path: Path) -> None:
        """When its name turns out to be taken in the registry; the first name is free again."""
        files = self.files(tmp_path)
        draft = files.draft("a.bin")
        draft.stream.write(b"moved")
        assert draft.publish(lambda _: False) == "a.bin"
        assert draft.publish(lambda path: path == "a.bin") == "a~2.bin"
        assert draft.published == "a~2.bin"
        assert self.content(files, StoredFile("a~2.bin", True, 5, None, draft.checksum, {})) == b"moved"
        assert self.store(files, "a.bin", b"new").path == "a.bin"
        draft.drop()
        assert self.everything(files) == {"a.bin"}

    def test_dropping_a_draft_harms_nobody_else(self, tmp_path: Path) -> None:
        """Even if it wanted the same name."""
        files = self.files(tmp_path)
        loser = files.draft("a")
        loser.stream.write(b"loser")
        winner = self.store(self.again(files), "a", b"winner")
        assert loser.publish(lambda _: False) == "a~2"
        loser.drop()
        assert self.content(files, winner) == b"winner"
        assert self.everything(files) == {"a"}

    def test_the_stream_is_a_file(self, tmp_path: Path) -> None:
        """Formats seek back, overwrite, cut off, read what they wrote, and hand over any buffer."""
        files = self.files(tmp_path)
        grid = memoryview(bytes(range(24))).cast("B", (4, 6))
        steps: tuple[Callable[[Any], object], ...] = (
            lambda s: [s.write(b"0123456789"), s.seek(2), s.write(b"ab"), s.seek(0, 2), s.write(b"!")],
            lambda s: [s.write(b"0123456789"), s.seek(4), s.truncate()],
            lambda s: [s.write(b"0123456789"), s.truncate(3), s.seek(0), s.write(b"x")],
            lambda s: [s.writelines([b"one", b"two"])],
            lambda s: [s.write(b"a"), s.writelines([b"one", b"two"]), s.write(b"z")],
            lambda s: [s.write(array.array("d", [1.0, 2.0])), s.write(grid), s.write(grid[::2]), s.write(b"")],
            lambda s: [s.write(memoryview(b"abcdef")[::2]), s.seek(0), s.read(2), s.seek(0, 2), s.write(b"more")],
            lambda s: [s.seek(5), s.write(b"after a gap")],
        )
        expected = (
            b"01ab456789!",
            b"0123",
            b"x12",
            b"onetwo",
            b"aonetwoz",
            array.array("d", [1.0, 2.0]).tobytes() + bytes(range(24)) + bytes(range(6)) + bytes(range(12, 18)),
            b"acemore",
            b"\0" * 5 + b"after a gap",
        )
        for number, (step, content) in enumerate(zip(steps, expected, strict=True)):
            draft = files.draft(f"{number}")
            step(draft.stream)
            draft.finish()
            assert (draft.size, draft.checksum) == (len(content), xxhash.xxh3_128_hexdigest(content)), number
            published = draft.publish(lambda _: False)
            assert self.content(files, StoredFile(published, True, draft.size, None, draft.checksum, {})) == content

    def test_writes_say_how_much_they_took(self, tmp_path: Path) -> None:
        """In bytes, as files do."""
        draft = self.files(tmp_path).draft("a")
        assert draft.stream.write(b"abc") == 3
        assert draft.stream.write(array.array("d", [1.0, 2.0])) == 16
        assert draft.stream.tell() == 19
        draft.drop()

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        """A file that is gone, shorter, longer or other than it was is an `IntegrityError` that names it."""
        files = self.files(tmp_path)
        for number, content in enumerate((None, _TEXT[:-1], _TEXT + b"!", b"X" + _TEXT[1:])):
            file = self.store(files, f"f/{number}", _TEXT)
            self.spoil(files, file.path, content)
            error = refusal(IntegrityError, self.content, files, file)
            assert f"f/{number}" in str(error)

    def test_damage_to_a_range_is_noticed(self, tmp_path: Path) -> None:
        """If its checksum is given; the rest of the file does not matter to it."""
        files = self.files(tmp_path)
        file = self.store(files, "f", _TEXT)
        self.spoil(files, "f", _TEXT[:100] + b"X" + _TEXT[101:])
        source = files.open(file)
        for offset, length, harmed in ((0, 100, False), (101, 50, False), (90, 20, True), (100, 1, True)):
            checksum = xxhash.xxh3_128_hexdigest(_TEXT[offset : offset + length])
            if harmed:
                refusal(IntegrityError, source.read_range, offset, length, checksum)
            else:
                assert bytes(source.read_range(offset, length, checksum)) == _TEXT[offset : offset + length]
        source.close()

    def test_numbers(self, tmp_path: Path) -> None:
        """Big-endian numbers come as those of this machine; a source may have its own way to read them, or none."""
        files = self.files(tmp_path)
        source = files.open(self.store(files, "f", _TEXT))
        for width, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q")):
            found = read_numbers(source, 3, 80, width, xxhash.xxh3_128_hexdigest(_TEXT[3:83]))
            assert struct.unpack(f"={80 // width}{code}", found) == struct.unpack(f">{80 // width}{code}", _TEXT[3:83])
        source.close()

    def test_damage_to_a_whole_is_noticed(self, tmp_path: Path) -> None:
        """Wherever it is, and whatever is read of it: what was expected to be whole is verified whole."""
        files = self.files(tmp_path)
        file = self.store(files, "f", _TEXT)
        for harmed in (False, True):
            if harmed:
                self.spoil(files, "f", _TEXT[:-1] + b"X")
            for wanted in ([], [Range(10, 20), Range(40, 10)]):
                source = files.open(file)

                def whole(source: ClosableSource = source, wanted: list[Range] = wanted) -> bytes:
                    source.expect(wanted.copy)
                    found = bytes(source.read_range(10, 20))
                    source.confirm()
                    return found

                if harmed:
                    refusal(IntegrityError, whole)
                    refusal(IntegrityError, source.check)
                else:
                    assert whole() == _TEXT[10:30]
                    source.check()
                source.close()

    def test_ranges_are_inside(self, tmp_path: Path) -> None:
        """Nothing is read short."""
        files = self.files(tmp_path)
        source = files.open(self.store(files, "f", b"0123456789"))
        for offset, length in ((-1, 2), (0, 11), (10, 1), (5, -1), (2**62, 1)):
            refusal(IntegrityError, source.read_range, offset, length)
        assert bytes(source.read_range(10, 0)) == b""
        source.close()
        source.close()

    def test_removing(self, tmp_path: Path) -> None:
        """What is removed is gone; what is gone already is no fault."""
        files = self.files(tmp_path)
        file = self.store(files, "a/b", b"b")
        files.remove("a/b")
        refusal(IntegrityError, self.content, files, file)
        files.remove("a/b")
        assert self.store(files, "a/b", b"c").path == "a/b"

    def test_many_at_once(self, tmp_path: Path) -> None:
        """Threads and clients that want one name get one each, and their own bytes under it."""
        files = self.files(tmp_path)
        stores = [files, self.again(files)]
        stored: list[tuple[StoredFile, bytes]] = []
        failed: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(5):
                    content = f"{number} {turn} ".encode() * 100
                    stored.append((self.store(stores[number % 2], "same/name.bin", content), content))
                    draft = stores[number % 2].draft(f"gone/{turn}/x")
                    draft.stream.write(content)
                    draft.drop()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
        assert len({file.path for file, _ in stored}) == 30
        for file, content in stored:
            assert self.content(files, file) == content
