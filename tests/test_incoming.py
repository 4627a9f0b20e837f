"""Files that are to be ingested: each is looked at once, and is where the operating system says it is."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest

from bunter.errors import DataIdError, ParameterError
from bunter.incoming import Folders, Incoming, folders_of, listed_files
from bunter.ingesting import _new_uuids
from tests.core_support import World, making_world, write_json

POLICY = 'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}-{ccd}.json"}}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with files, and links to files and folders; it is the working directory."""
    for name in ("a/b/one.json", "a/two.json", "..odd/three.json", "a/..four.json", "é/five six.json"):
        write_json(tmp_path / name, {})
    (tmp_path / "link").symlink_to("a/b")
    (tmp_path / "a/far.json").symlink_to("../link/one.json")
    (tmp_path / "a/up").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIXED = {62, 63, 76, 77, 78, 79}
PATHS = (
    "a/b/one.json",
    "./a//b/./one.json",
    "a/b/../two.json",
    "link/one.json",
    "link/../two.json",
    "a/far.json",
    "link/../far.json",
    "a/up/a/two.json",
    "..odd/three.json",
    "a/..four.json",
    "é/five six.json",
)


@pytest.mark.parametrize("before", ["", "{}/", "{}/../{name}/", "/{}/", "//{}/", "./"])
def test_places_are_those_of_the_operating_system(tree: Path, before: str) -> None:
    folders = Folders()
    prefix = before.format(tree, name=tree.name)
    found = []
    for _ in range(2):
        for path in PATHS:
            file = Incoming(prefix + path)
            file.look()
            folders.find(file)
            assert file.absolute == os.path.abspath(file.path)
            assert file.real == os.path.realpath(file.path)
            assert file.is_link == os.path.islink(file.path)
            status = os.stat(file.path)
            assert (file.size, file.modified) == (status.st_size, status.st_mtime_ns)
            found.append(file)
    assert folders_of(found) == {os.path.dirname(os.path.realpath(file.path)) for file in found}


def test_a_file_in_the_root_of_the_file_system() -> None:
    folders = Folders()
    for path in ("/", "//", "/.", "/x", "//x", "///x", "x/..", "."):
        file = Incoming(path)
        folders.find(file)
        assert (file.absolute, file.real) == (os.path.abspath(path), os.path.realpath(path))


def test_what_is_not_there_is_said_later(tree: Path) -> None:
    (file,) = listed_files("a/nothing.json")
    assert file.size == -1
    (file,) = listed_files("a/two.json/")
    assert file.size == -1
    (tree / "broken.json").symlink_to("nowhere")
    (file,) = listed_files("broken.json")
    with pytest.raises(FileNotFoundError):
        file.look()
    for path in ("a", "link", Path("a/up")):
        with pytest.raises(ParameterError, match="is a folder"):
            listed_files(path)


def test_a_glob_counts_only_if_no_file_has_its_name(tree: Path) -> None:
    write_json(tree / "a/[t]wo.json", {})
    assert [file.path for file in listed_files("a/[t]wo.json")] == ["a/[t]wo.json"]
    assert [file.path for file in listed_files("a/[t]w*.json")] == ["a/two.json"]
    assert [file.path for file in listed_files(["a/b/*.json", "a/t*"])] == ["a/b/one.json", "a/two.json"]


@pytest.mark.parametrize("scan", ["none", "headers"])
def test_links_are_followed_to_where_they_lead(world: World, scan: str) -> None:
    butler = world.butler("a", POLICY)
    real = write_json(world.folder / "real/x.json", {"n": 1})
    folder = world.folder / "in/conf"
    folder.mkdir(parents=True)
    (folder / "1-N3.json").symlink_to(real)
    (world.folder / "other").symlink_to("in")
    write_json(folder / "2-N3.json", {"n": 2})
    inside = write_json(world.folder / "a/conf/3-N3.json", {"n": 3})
    (folder / "4-N3.json").symlink_to(inside)
    files = [world.folder / f"other/conf/{n}-N3.json" for n in (1, 2, 4)]
    refs = butler.ingest("conf", [*files, inside], scan=scan)
    places = [real, folder / "2-N3.json", inside, inside]
    assert [ref.uri for ref in refs] == list(map(str, places))
    records = [butler._output.registry.find("conf", ref.data_id) for ref in refs]  # type: ignore[union-attr]
    assert [record.file.path for record in records] == [str(real), str(places[1]), *["conf/3-N3.json"] * 2]  # type: ignore[union-attr]
    assert [ref.get() for ref in refs] == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 3}]


def test_a_file_is_looked_at_once(world: World) -> None:
    butler = world.butler("a", POLICY)
    files = [str(write_json(world.folder / f"in/conf/{n}-N3.json", {"n": n})) for n in range(40)]
    seen: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and str(arguments[0]) in files:
            seen.append(str(arguments[0]))

    sys.addaudithook(watch)
    try:
        butler.ingest("conf", files, scan="none")
    finally:
        watching = False
    # Nor is any opened.
    assert seen == []


def test_many_files_of_which_some_cannot_be_told(world: World) -> None:
    butler = world.butler("a", POLICY)
    files = [write_json(world.folder / f"in/conf/{n}-N3.json", {"n": n}) for n in range(100)]
    bad = write_json(world.folder / "in/conf/x-N3.json", {})
    with pytest.raises(DataIdError, match=r"1 of 101 files cannot be ingested(.|\n)*x-N3\.json"):
        butler.ingest("conf", [*files, bad], scan="none")
    assert butler.query("conf").count() == 0
    refs = butler.ingest("conf", files, scan="none")
    assert [ref.data_id["visit"] for ref in refs] == list(range(100))
    uuids = [ref.uuid for ref in refs]
    assert len(set(uuids)) == 100
    assert {(uuid.version, uuid.variant) for uuid in uuids} == {(4, RFC_4122)}  # type: ignore[union-attr]
    assert [ref.uuid for ref in butler.ingest("conf", files, scan="none")] == uuids
    assert [ref.get() for ref in refs[::9]] == [{"n": n} for n in range(0, 100, 9)]


def test_uuids_are_like_any_others() -> None:
    made = list(_new_uuids(2000))
    for uuid in made:
        assert (uuid.version, uuid.variant) == (4, RFC_4122)
        assert uuid == UUID(str(uuid)) == pickle.loads(pickle.dumps(uuid))
        assert vars_of(uuid) == vars_of(UUID(bytes=uuid.bytes))
    assert len(set(made)) == 2000
    # Every other bit is drawn.
    for bit in set(range(128)) - FIXED:
        assert 800 < sum(uuid.int >> bit & 1 for uuid in made) < 1200


def vars_of(uuid: UUID) -> list[object]:
    return [getattr(uuid, name) for name in UUID.__slots__ if not name.startswith("__")]


def test_a_path_that_no_file_can_have(world: World) -> None:
    butler = world.butler("a", POLICY)
    for files in ("in/conf/1-\0.json", {"path": ["in/conf/1-\0.json"]}):
        with pytest.raises(DataIdError, match=r"1 of 1 files cannot be ingested(.|\n)*null"):
            butler.ingest("conf", files)
