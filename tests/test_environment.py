"""Where the world around a repository fails: a clear error, and the repository is what it was.

Disks that are full and reads that fail are in `benchmarks/faults`; here is what needs no faults injected.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bunter import BunterError, Butler, RepositoryError, verify
from tests.core_support import ID, Pair, World, making_world, pair_policy, raised

POLICY = pair_policy("Pair")
NEW = {"visit": 9, "ccd": "N9"}


@pytest.fixture
def world() -> Iterator[World]:
    """Repositories in a folder that anybody may reach, wherever the tests' own folders are."""
    folder = Path(os.path.realpath(tempfile.mkdtemp()))
    folder.chmod(0o755)
    with making_world(folder) as made:
        yield made
    for place in (folder, *folder.rglob("*")):
        if not place.is_symlink():
            place.chmod(0o755)
    shutil.rmtree(folder)


def filled(world: World, name: str = "a") -> Butler:
    """Return a Butler on a repository with a replaced, a live and a put composite dataset."""
    butler = world.butler(name, POLICY)
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 2}, "wcs", ID, replace=True)
    butler.put({"n": 3}, "wcs", visit=2, ccd="N3")
    butler.put(Pair({"n": 2}, {"z": 1}), "pair", ID)
    return butler


def check(world: World, name: str = "a") -> None:
    """Everything that `filled` put is there, and nothing else."""
    reader = world.reader(name)
    assert reader.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    assert reader.query("wcs").data_ids == [ID, {"visit": 2, "ccd": "N3"}]
    assert reader.query("calib").count() == reader.query("pair").count() == 1
    assert [item.get() for item in reader.trashed()] == [{"n": 1}]
    assert world.files(name) == ["calib/1-N3.json", "wcs/1-N3.json", "wcs/1-N3~2.json", "wcs/2-N3.json"]
    report = verify(world.folder / name, read=True)
    assert report.ok, str(report)


WRITES: dict[str, Callable[[Butler], Any]] = {
    "put": lambda butler: butler.put({"n": 5}, "wcs", NEW),
    "put a composite": lambda butler: butler.put(Pair({"n": 5}, {"z": 5}), "pair", NEW),
    "replace": lambda butler: butler.put({"n": 5}, "wcs", ID, replace=True),
    "delete": lambda butler: butler.delete("wcs", visit=2, ccd="N3"),
    "restore": lambda butler: butler.restore("wcs", ID, replace=True),
    "purge": lambda butler: butler.purge(),
    "define": lambda butler: butler.define({"aliases": {"solution": "wcs"}}),
}
WITH_FILES = ("put", "put a composite", "replace", "purge")
WITH_ROWS = tuple(name for name in WRITES if name != "define")


def in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a function in a process of its own; return what it returns."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, json.dumps(work()).encode())
        except BaseException as error:
            os.write(theirs, json.dumps({"failed": repr(error)}).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        found: dict[str, Any] = json.loads(answer.read() or "{}")
    os.waitpid(pid, 0)
    assert "failed" not in found, found["failed"]
    return found


def as_anybody(folder: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a function in a process that permissions hold for; all in the folder belongs to it."""
    root = os.getuid() == 0
    for place in (folder, *folder.rglob("*")) if root else ():
        os.chown(place, 65534, 65534)

    def less() -> dict[str, Any]:
        if root:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return in_child(less)


def errors_of(butler: Butler, names: Any = WRITES) -> dict[str, str]:
    """Return what each of some calls says."""
    said = {}
    for name in names:
        error = raised(lambda name=name: WRITES[name](butler))  # type: ignore[misc]
        assert isinstance(error, BunterError), f"{name}: {error!r}"
        said[name] = f"{type(error).__name__}: {error}"
    return said


# A parent that has vanished


@pytest.fixture
def family(world: World) -> World:
    filled(world)
    child = world.butler("b", inputs="a")
    child.put(Pair({"n": 2}, {"z": 7}), "pair", ID)
    return world


def test_a_parent_that_was_moved_away_before(family: World) -> None:
    family.close()
    (family.folder / "a").rename(family.folder / "elsewhere")
    for opened in (lambda: family.reader("b"), lambda: family.butler("b")):
        with pytest.raises(RepositoryError) as caught:
            opened()
        for word in ("../a", str(family.folder / "a"), "cannot be reached", "bunter.yaml"):
            assert word in str(caught.value)
    (family.folder / "elsewhere").rename(family.folder / "a")
    assert family.reader("b").get("pair", ID) == Pair({"n": 2}, {"z": 7})
    check(family)


@pytest.mark.parametrize("write", [*WRITES, "get", "query", "get its own"])
def test_a_parent_that_vanishes_while_it_is_open(family: World, write: str) -> None:
    child = family.butler("b")
    assert child.get("pair", ID) == Pair({"n": 2}, {"z": 7})
    files = family.files("b")
    calls: dict[str, Callable[[Butler], Any]] = {
        **WRITES,
        "get": lambda butler: butler.get("pair", ID),
        "query": lambda butler: butler.query("wcs"),
        "get its own": lambda butler: butler.get("calib", ID),
    }
    (family.folder / "a").rename(family.folder / "elsewhere")
    with pytest.raises(RepositoryError, match=rf"{family.folder / 'a'} is gone"):
        calls[write](child)
    assert family.files("b") == files
    # Once it is back all goes on.
    (family.folder / "elsewhere").rename(family.folder / "a")
    assert child.get("pair", ID) == Pair({"n": 2}, {"z": 7})
    assert child.put({"n": 5}, "wcs", NEW).get() == {"n": 5}


def test_a_parent_without_definitions_of_its_own(world: World) -> None:
    filled(world)
    middle = world.butler("m", inputs="a")
    middle.put({"n": 4}, "wcs", NEW)
    child = world.butler("b", inputs="m")
    assert child.get("wcs", NEW) == {"n": 4}
    shutil.rmtree(world.folder / "m")
    with pytest.raises(RepositoryError, match=rf"{world.folder / 'm'} is gone"):
        child.get("wcs", NEW)


def test_an_output_that_vanishes_is_not_made_again(world: World) -> None:
    butler = filled(world)
    butler.close()
    butler = world.butler("a")
    (world.folder / "a").rename(world.folder / "elsewhere")
    with pytest.raises(RepositoryError, match="is gone"):
        butler.put({"n": 5}, "wcs", NEW)
    (world.folder / "elsewhere").rename(world.folder / "a")

    def job() -> None:
        with butler.transaction():
            (world.folder / "a").rename(world.folder / "elsewhere")
            butler.put({"n": 5}, "wcs", NEW)

    assert isinstance(raised(job), RepositoryError)
    assert not (world.folder / "a").exists()
    (world.folder / "elsewhere").rename(world.folder / "a")
    check(world)


# Folders that cannot be written


def test_a_file_where_a_folder_is_needed(world: World) -> None:
    butler = filled(world)
    butler.define("datasets: {note: {storage: Json, template: 'notes/{visit:d}.json'}}")
    (world.folder / "a/notes").write_text("mine")
    with pytest.raises(RepositoryError, match="notes is a file where a folder is needed"):
        butler.put({}, "note", visit=1)
    assert (world.folder / "a/notes").read_text() == "mine"
    (world.folder / "a/notes").unlink()
    check(world)


def test_a_folder_of_data_that_cannot_be_written(world: World) -> None:
    filled(world).close()
    folder = world.folder / "a/wcs"

    def work() -> dict[str, Any]:
        folder.chmod(0o555)
        with world.butler("a") as butler:
            return errors_of(butler, WITH_FILES)

    said = as_anybody(world.folder, work)
    for name, error in said.items():
        assert error.startswith("RepositoryError"), (name, error)
        assert str(folder) in error
        assert "Permission denied" in error
    folder.chmod(0o755)
    check(world)


def test_a_repository_that_cannot_be_written(world: World) -> None:
    filled(world).close()
    places = [world.folder / "a", *(world.folder / "a").rglob("*")]

    def work() -> dict[str, Any]:
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        reader = world.reader("a")
        found: dict[str, Any] = {"got": [reader.get("wcs", ID), [item.get() for item in reader.trashed()]]}
        found["opened"] = str(raised(lambda: world.butler("a")))
        found["as child"] = str(raised(lambda: world.butler("a/child", inputs="a")))
        return found | errors_of(reader)

    said = as_anybody(world.folder, work)
    assert said.pop("got") == [{"n": 2}, [{"n": 1}]]
    assert said.pop("opened") == f"{world.folder / 'a'} is read-only: it cannot be an output"
    assert "cannot be made: Permission denied" in said.pop("as child")
    for error in said.values():
        assert "this Butler is read-only: open it with outputs=" in error
    check(world)


def test_a_registry_alone_that_cannot_be_written(world: World) -> None:
    filled(world).close()
    registry = world.folder / "a/registry.sqlite"

    def work() -> dict[str, Any]:
        registry.chmod(0o444)
        with world.butler("a") as butler:
            return errors_of(butler, WITH_ROWS)

    for error in as_anybody(world.folder, work).values():
        assert error == f"RepositoryError: the registry {registry} is read-only"
    assert stat.S_IMODE(registry.stat().st_mode) == 0o444
    check(world)


# A quota


def test_files_cannot_grow(world: World) -> None:
    """A limit on the size of files stands for a quota: all is refused, and all is as it was."""
    filled(world).close()

    def work() -> dict[str, Any]:
        with world.butler("a") as butler:
            butler.get("pair", ID)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            said = errors_of(butler, WITH_ROWS)
            large = raised(lambda: butler.put({"n": "x" * 10_000}, "wcs", NEW))
            said["large"] = f"{type(large).__name__}: {large}"
            got = [butler.get("wcs", ID), butler.get("pair.calib", ID)]
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return {"got": got, **said}

    said = in_child(work)
    assert said.pop("got") == [{"n": 2}, {"z": 1}]
    assert "File too large" in said.pop("large")
    for name, error in said.items():
        assert error.startswith("RepositoryError"), (name, error)
    # What a commit that failed may have recorded is left for this to look at.
    verify(world.folder / "a", repair=True)
    check(world)
    assert world.butler("a").put({"n": 5}, "wcs", NEW).get() == {"n": 5}


# A clock that goes backwards


@pytest.mark.parametrize("back", [3600, 10 * 365 * 86400, 200 * 365 * 86400], ids=["an hour", "years", "before 1970"])
def test_nothing_depends_on_the_clock(world: World, monkeypatch: pytest.MonkeyPatch, back: int) -> None:
    butler = world.butler("a", POLICY)
    first = butler.put({"n": 1}, "wcs", ID)
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    second = butler.put({"n": 2}, "wcs", ID, replace=True)
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() - back)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() - back * 10**9)
    third = butler.put({"n": 3}, "wcs", ID, replace=True)
    assert butler.get("pair", ID) == Pair({"n": 3}, {"z": 1})
    assert [item.uuid for item in butler.trashed("wcs", ID)] == [second.uuid, first.uuid]
    assert butler.restore("wcs", ID, replace=True).uuid == second.uuid
    assert [item.uuid for item in butler.trashed("wcs", ID)] == [third.uuid, first.uuid]
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    with butler.transaction():
        butler.put({"n": 4}, "wcs", NEW)
        butler.delete("wcs", NEW)
    assert butler.restore("wcs", NEW).get() == {"n": 4}
    assert butler.query("wcs").data_ids == [ID, NEW]
    butler.delete("wcs", NEW)
    # What seems to have gone there in the future is not old.
    assert butler.purge(older_than=1).datasets == 0
    assert butler.purge("wcs", NEW).datasets == 1
    with world.butler("a") as other:
        assert [item.get() for item in other.trashed()] == [{"n": 3}, {"n": 1}]
        assert other.purge().datasets == 2
    assert butler.get("pair", ID) == Pair({"n": 2}, {"z": 1})
    report = verify(world.folder / "a", read=True, repair=True)
    assert report.ok, str(report)
