from __future__ import annotations

import os
import stat
import threading

import numpy as np
import pytest
import xxhash

from bunter.errors import IntegrityError, RepositoryError, TrustError
from bunter.files.interface import StoredFile
from bunter.files.local import LocalFiles, checksum_of


@pytest.fixture
def files(tmp_path):
    return LocalFiles(tmp_path / "root")


def put(files, path, content=b"content", drafts=None):
    draft = files.draft(path)
    if drafts is not None:
        drafts.append(draft)
    draft.stream.write(content)
    stored = StoredFile(draft.publish(lambda _: False), True, draft.size, None, draft.checksum, {})
    draft.settle()
    return stored


def names(files):
    found = ((at, name) for at, _, here in os.walk(files.root) for name in here)
    return {os.path.relpath(os.path.join(at, name), files.root) for at, name in found}


# Reading


def test_files_outside_are_read_by_their_absolute_paths(files, tmp_path):
    place = tmp_path / "elsewhere.bin"
    place.write_bytes(b"there")
    source = files.open(StoredFile(str(place), False, 5, place.stat().st_mtime_ns, None, {}))
    assert bytes(source.read_all()) == b"there"
    assert source.local_path == files.uri(str(place)) == str(place)
    source.close()


def test_the_root_is_resolved(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert LocalFiles(tmp_path / "link").root == str(tmp_path / "real")


def test_nothing_is_opened_before_it_is_read(files):
    file = put(files, "a")
    source = files.open(file)
    files.remove("a")
    with pytest.raises(IntegrityError, match="is gone"):
        source.read_range(0, 1)
    source.close()


def test_a_file_stays_open_between_reads(files):
    """Several parts of one file are of one file, whatever becomes of its name."""
    source = files.open(put(files, "a", b"0123456789"))
    assert bytes(source.read_range(0, 2)) == b"01"
    files.remove("a")
    assert bytes(source.read_range(8, 2)) == b"89"
    source.close()


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused_without_waiting(files, kind):
    os.makedirs(files.root)
    place = os.path.join(files.root, "a")
    if kind == "pipe":
        os.mkfifo(place)
    else:
        os.mkdir(place)
    source = files.open(StoredFile("a", True, os.stat(place).st_size, None, None, {}))
    with pytest.raises(IntegrityError, match="not a file"):
        source.read_range(0, 0)
    source.close()


def test_verification_can_be_switched_off(tmp_path):
    file = put(LocalFiles(tmp_path), "a", b"right")
    (tmp_path / "a").write_bytes(b"wrong")
    source = LocalFiles(tmp_path, verify=False).open(file)
    assert bytes(source.read_all()) == b"wrong"
    assert bytes(source.read_range(0, 5, file.checksum)) == b"wrong"
    source.close()


def test_failed_reads_leave_no_open_files(files):
    file = put(files, "a")
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for _ in range(5):
        source = files.open(StoredFile("a", True, file.size + 1, None, None, {}))
        with pytest.raises(IntegrityError, match="cut short or changed"):
            source.read_all()
        source.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == len(before)


# Writing


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(12, dtype=">f4"),
        np.arange(24, dtype=">i2").reshape(2, 3, 4)[:, ::2],
        np.zeros((0, 5)),
        np.array(7),
        np.arange(10)[::-1],
    ],
    ids=["plain", "fortran", "big-endian", "strided", "empty", "scalar", "backwards"],
)
def test_arrays_of_any_make(files, array):
    file = put(files, "a", array)
    content = array.tobytes()
    assert (file.size, file.checksum) == (len(content), xxhash.xxh3_128_hexdigest(content))
    source = files.open(file)
    assert bytes(source.read_all()) == content
    source.close()


def test_writing_past_the_stream(files):
    """Libraries ask for the descriptor and write there; the checksum is right all the same."""
    draft = files.draft("a")
    draft.stream.write(b"0123456789")
    draft.stream.flush()
    os.pwrite(draft.stream.fileno(), b"ab", 2)
    draft.finish()
    assert draft.checksum == xxhash.xxh3_128_hexdigest(b"01ab456789")
    draft.drop()


def test_methods_of_the_stream_that_were_taken_before(files):
    """Whoever moves by one of them is noticed, whenever it was looked up."""
    draft = files.draft("a")
    seek = draft.stream.seek
    draft.stream.write(b"0123456789")
    seek(2)
    draft.stream.write(b"ab")
    seek(0, 2)
    draft.stream.write(b"!")
    draft.finish()
    assert draft.checksum == xxhash.xxh3_128_hexdigest(b"01ab456789!")
    draft.drop()


def test_files_that_wait_for_the_disk_together(files, synced):
    drafts = [files.draft(f"a/{number}") for number in range(3)]
    for number, draft in enumerate(drafts):
        draft.stream.write(b"x" * number)
        draft.end()
        draft.hasten()
        assert (draft.size, draft.checksum) == (number, xxhash.xxh3_128_hexdigest(b"x" * number))
        draft.end()
    assert synced == []
    for draft in drafts:
        draft.finish()
        draft.finish()
    assert len(synced) == 3
    assert [draft.publish(lambda _: False) for draft in drafts] == ["a/0", "a/1", "a/2"]
    assert len(synced) == 3


def test_a_folder_that_becomes_a_link_to_elsewhere(files, tmp_path):
    """A folder that was looked at once is looked at again when it is another."""
    (tmp_path / "elsewhere").mkdir()
    put(files, "a/b/c")
    os.rename(os.path.join(files.root, "a"), tmp_path / "moved")
    os.symlink(tmp_path / "elsewhere", os.path.join(files.root, "a"))
    with pytest.raises(TrustError, match="a link that leads to"):
        files.draft("a/c")
    with pytest.raises(TrustError, match="a link that leads to"):
        files.draft("a/b/c")
    os.unlink(os.path.join(files.root, "a"))
    os.symlink(tmp_path / "moved", os.path.join(files.root, "a"))
    with pytest.raises(TrustError, match="a link that leads to"):
        files.draft("a/x")
    assert os.listdir(tmp_path / "elsewhere") == []
    put(files, "d/c")
    os.symlink("d", os.path.join(files.root, "e"))
    assert put(files, "e/x").path == "e/x"


def test_permissions_are_the_users(files):
    before = os.umask(0o027)
    try:
        put(files, "a/b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(os.path.join(files.root, "a/b")).st_mode) == 0o640
    assert stat.S_IMODE(os.stat(os.path.join(files.root, "a")).st_mode) == 0o750


def test_drafts_lie_beside_their_place(files):
    """So that the last step is a renaming within one folder."""
    draft = files.draft("a/b/c.fits")
    (name,) = names(files)
    assert os.path.dirname(name) == os.path.join("a", "b")
    assert not name.endswith(".fits")
    draft.drop()


def test_folders_that_were_there_stay(files):
    os.makedirs(os.path.join(files.root, "theirs/empty"))
    draft = files.draft("theirs/empty/new/x")
    draft.drop()
    assert os.listdir(os.path.join(files.root, "theirs")) == ["empty"]
    assert os.listdir(os.path.join(files.root, "theirs/empty")) == []


@pytest.mark.parametrize("path", ["file/x", "x" * 300, "a/" + "é" * 200])
def test_places_that_cannot_be(files, path):
    put(files, "file")
    drafts = []
    with pytest.raises(RepositoryError, match=r"cannot be (written|made)|is a file where a folder is needed"):
        put(files, path, drafts=drafts)
    for draft in drafts:
        draft.drop()
    assert names(files) == {"file"}


def test_a_name_that_was_claimed_in_vain_is_free_again(files):
    draft = files.draft("a")
    draft.stream.write(b"x")
    draft.finish()
    for name in names(files):
        os.unlink(os.path.join(files.root, name))
    with pytest.raises(RepositoryError, match="cannot be written: No such file"):
        draft.publish(lambda _: False)
    assert names(files) == set()
    draft.drop()


def test_files_that_differ_only_in_case(files):
    """The registry speaks for the other spelling; on disk both fit where the file system tells them apart."""
    put(files, "a/Visit.fits")
    draft = files.draft("a/visit.fits")
    draft.stream.write(b"x")
    taken = {"a/visit.fits"}
    assert draft.publish(lambda path: path.casefold() in taken) == "a/visit~2.fits"


def test_the_next_mark_of_thousands_is_found_in_few_steps(files):
    for used in (1, 2, 3, 4, 4096, 10_000):
        asked = []

        def taken(path, used=used, asked=asked):
            asked.append(path)
            return path == "a" or int(path.removeprefix("a~")) <= used

        draft = files.draft("a")
        draft.stream.write(b"x")
        assert draft.publish(taken) == f"a~{used + 1}"
        assert len(asked) < 40
        draft.drop()


@pytest.mark.parametrize("symbolic", [True, False])
def test_links(files, tmp_path, symbolic):
    target = tmp_path / "target"
    target.write_bytes(b"content")
    draft = files.draft("a/b")
    draft.link(str(target), symbolic=symbolic)
    assert draft.publish(lambda _: False) == "a/b"
    place = os.path.join(files.root, "a/b")
    assert (draft.size, os.path.islink(place), os.path.samefile(place, target)) == (7, symbolic, True)
    source = files.open(StoredFile("a/b", True, 7, None, None, {}))
    assert bytes(source.read_all()) == b"content"
    source.close()
    other = files.draft("a/b")
    other.link(str(target), symbolic=symbolic)
    assert other.publish(lambda _: False) == "a/b~2"
    for made in (draft, other):
        made.drop()
    assert target.read_bytes() == b"content"
    assert names(files) == set()


def test_a_link_to_nothing(files, tmp_path):
    draft = files.draft("a")
    with pytest.raises(RepositoryError, match="mode='copy'"):
        draft.link(str(tmp_path / "missing"), symbolic=False)
    draft.drop()
    assert names(files) == set()


def test_removing_what_is_no_file(files):
    os.makedirs(os.path.join(files.root, "folder"))
    with pytest.raises(RepositoryError, match="cannot be removed"):
        files.remove("folder")


# Durability


@pytest.fixture
def synced(monkeypatch):
    """What is synced to disk, in order."""
    seen: list[str] = []
    real = os.fsync

    def fsync(fd):
        seen.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("names of open files are looked up in /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_a_file_its_folder_and_new_folders_are_synced(tmp_path, synced):
    files = LocalFiles(tmp_path)
    put(files, "a/b/c")
    assert [os.path.dirname(name) for name in synced] == [str(tmp_path / "a/b")]
    files.sync()
    assert set(synced[1:]) == {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")}
    synced.clear()
    put(files, "a/b/d")
    files.sync()
    assert synced[1:] == [str(tmp_path / "a/b")]
    synced.clear()
    files.sync()
    assert synced == []


def test_a_folder_that_another_thread_made_is_synced_too(tmp_path, synced):
    """Since the other may not live to do so."""
    files = LocalFiles(tmp_path)
    drafts = []
    thread = threading.Thread(target=lambda: drafts.append(files.draft("a/b")))
    thread.start()
    thread.join()
    put(files, "a/c")
    files.sync()
    assert {str(tmp_path), str(tmp_path / "a")} <= set(synced)
    drafts[0].drop()


def test_in_a_hurry_nothing_is_synced(tmp_path, synced):
    files = LocalFiles(tmp_path, durable=False)
    put(files, "a/b")
    files.sync()
    assert synced == []


def test_folders_that_are_gone_need_no_sync(tmp_path):
    files = LocalFiles(tmp_path)
    draft = files.draft("a/b/c")
    draft.publish(lambda _: False)
    draft.drop()
    files.sync()
    assert os.listdir(tmp_path) == []


def test_the_checksum_of_a_file(tmp_path):
    content = bytes(range(256)) * 40_000
    (tmp_path / "a").write_bytes(content)
    assert checksum_of(str(tmp_path / "a")) == xxhash.xxh3_128_hexdigest(content)
