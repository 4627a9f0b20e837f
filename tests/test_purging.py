"""Purging: what is in the trash goes for good, and nothing else does (design 6)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bunter import (
    Butler,
    DatasetNotFoundError,
    IntegrityError,
    ParameterError,
    Purged,
    RepositoryError,
    TrustError,
    verify,
)
from bunter.files.drafts import is_draft
from bunter.purging import seconds_of
from tests.core_support import FRAMES, ID, Pair, World, frame, making_world, trash_policy, write_json

POLICY = trash_policy()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    return world.butler("a", POLICY)


def test_rows_and_files_go_and_nothing_else(world: World, butler: Butler) -> None:
    refs = [butler.put({"n": n}, "wcs", ID, replace=True) for n in range(3)]
    butler.put({}, "coadd", tract=1)
    size = sum(os.path.getsize(ref.uri) for ref in refs[:2])  # type: ignore[arg-type]
    plan = butler.purge(dry_run=True)
    assert plan == Purged(2, 2, size, (), True)
    assert len(butler.trashed()) == 2
    assert butler.purge() == Purged(2, 2, size)
    assert butler.trashed() == []
    assert world.files("a") == ["coadd/1.json", "wcs/1-N3~3.json"]
    assert butler.get("wcs", ID) == {"n": 2}
    with pytest.raises(DatasetNotFoundError, match="purged"):
        refs[0].get()
    assert butler.purge() == Purged(0, 0, 0)
    # The names are free again.
    butler.put({"n": 4}, "wcs", ID, replace=True)
    assert "wcs/1-N3.json" in world.files("a")


def test_empty_folders_go_too(world: World, butler: Butler) -> None:
    butler.put({}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    butler.purge()
    assert not (world.folder / "a/coadd").exists()
    butler.put({}, "coadd", tract=1)


def test_by_name_and_data_id(world: World, butler: Butler) -> None:
    for tract in range(4):
        butler.put({"n": tract}, "coadd", tract=tract)
        butler.delete("coadd", tract=tract)
    butler.put({}, "wcs", ID)
    butler.delete("wcs", ID)
    assert butler.purge("coadd", tract=2).datasets == 1
    assert butler.purge("coadd", {"tract": 2}).datasets == 0
    assert butler.purge(visit=1).datasets == 1
    assert sorted(item.data_id["tract"] for item in butler.trashed()) == [0, 1, 3]
    assert butler.purge("coadd").datasets == 3


def test_older_than(butler: Butler) -> None:
    butler.put({}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    for age in (60, 60.0, timedelta(minutes=1), "1m", "30d"):
        assert butler.purge(older_than=age).datasets == 0
    time.sleep(0.01)
    assert butler.purge(older_than=0.005).datasets == 1


@pytest.mark.parametrize(
    "age", ["", "30", "d", "-1d", -1, True, float("nan"), 1e300, timedelta(-1), "9" * 99 + "d", []]
)
def test_older_than_what(butler: Butler, age: Any) -> None:
    with pytest.raises(ParameterError, match="older_than"):
        butler.purge(older_than=age)


def test_lengths_of_time() -> None:
    assert [seconds_of(text) for text in ("2s", "1.5m", "1h", "1 d", "2w")] == [2, 90, 3600, 86400, 1209600]


# What others are made of


def test_what_a_composite_pins_is_kept_and_listed(world: World, butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    butler.delete("wcs", ID, force=True)
    butler.put({}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    done = butler.purge()
    assert (done.datasets, done.files) == (1, 1)
    (kept,) = done.kept
    assert (kept.dataset.name, kept.dataset.data_id) == ("wcs", ID)
    assert [(ref.name, ref.data_id) for ref in kept.pinned_by] == [("pair", ID)]
    assert str(kept) == "wcs {'visit': 1, 'ccd': 'N3'} is part of pair {'visit': 1, 'ccd': 'N3'}"
    assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert butler.restore("wcs", ID).get() == {"n": 1}


def test_by_force_a_get_says_what_is_gone_and_where_it_was(world: World, butler: Butler) -> None:
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    replaced = butler.put({"n": 2}, "wcs", ID, replace=True)
    butler.delete("wcs", ID, force=True)
    assert butler.purge(force=True).kept == ()
    with pytest.raises(DatasetNotFoundError) as caught:
        butler.get("pair", ID)
    for word in ("wcs {'visit': 1, 'ccd': 'N3'}", str(replaced.uuid), "wcs/1-N3~2.json"):
        assert word in str(caught.value)
    assert not butler.exists("pair", ID)
    assert butler.query("pair").count() == 0
    butler.put({"n": 3}, "wcs", ID)
    assert butler.get("pair", ID) == Pair({"n": 3}, {"z": 1})


def test_what_composites_of_the_trash_are_made_of_stays_with_them(world: World, butler: Butler) -> None:
    butler.put({"both": Pair({"n": 1}, {"z": 1})}, "outer", ID)
    for name in ("outer", "pair", "wcs", "calib"):
        butler.delete(name, ID)
    done = butler.purge("wcs")
    assert done.datasets == 0
    assert str(done.kept[0]) == "wcs {**} is part of pair {**} (in the trash)".replace("{**}", str(ID))
    assert butler.purge("pair").datasets == 0
    assert butler.restore("outer", ID).get() == {"both": Pair({"n": 1}, {"z": 1})}
    assert butler.purge().datasets == 0
    butler.delete("outer", ID)
    assert butler.purge("outer").datasets == 1
    assert butler.purge(dry_run=True).datasets == 3
    assert butler.purge() == Purged(3, 2, 16)
    assert (butler.trashed(), world.files("a")) == ([], [])


def test_a_precursor_is_only_a_record(butler: Butler) -> None:
    first = butler.put({}, "coadd", tract=1)
    second = butler.put({}, "coadd", tract=2, precursors=[first])
    butler.delete(first, force=True)
    assert butler.purge().datasets == 1
    (made_from,) = butler.made_from(second)
    assert made_from.uuid == first.uuid
    with pytest.raises(DatasetNotFoundError, match=r"it was at .*coadd/1.json"):
        made_from.get()


def test_a_part_is_needed_as_that_part_alone(world: World) -> None:
    big = world.butler("big", FRAMES)
    big.put(frame(), "calexp:sfm", ID)
    pinned = big.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", {**ID, "tract": 0})
    big.copy_to(world.folder / "small", ["calexp:sfm.psf", "calexp:sfm.wcs"])
    small = world.butler("small")
    small.delete("calexp:sfm", ID)
    done = small.purge("calexp:sfm.psf")
    assert (done.datasets, done.files) == (1, 1)
    assert [item.name for item in small.trashed()] == ["calexp:sfm.wcs"]
    big.delete("calexp:sfm", ID, force=True)
    assert [ref.name for kept in big.purge().kept for ref in kept.pinned_by] == ["calexp:jointcal"]
    assert pinned.get("psf") == {"sigma": 2.0}


def test_files_in_place_and_links_stay_where_they_lead(world: World, butler: Butler) -> None:
    paths = [write_json(world.folder / f"elsewhere/{tract}.json", {"n": tract}) for tract in range(4)]
    for mode, path in zip(("direct", "symlink", "hardlink", "copy"), paths, strict=True):
        butler.ingest("coadd", path, mode=mode, template="{tract:d}.json")
    size = os.path.getsize(paths[3])
    for tract in range(4):
        butler.delete("coadd", tract=tract)
    assert butler.purge(dry_run=True) == Purged(4, 3, size, (), True)
    assert butler.purge() == Purged(4, 3, size)
    assert all(path.exists() for path in paths)
    assert world.files("a") == []


def test_a_file_that_several_datasets_share_goes_with_the_last(world: World) -> None:
    policy = """
datasets:
  a: {python: dict, storage: Json, template: "a/{visit:d}.json"}
  b: {python: dict, storage: Json, template: "b/{visit:d}.json"}
"""
    path = write_json(world.folder / "1.json", {"n": 1})
    butler = world.butler("m", policy)
    for name in "ab":
        butler.ingest(name, path, template="{visit:d}.json")
    butler.copy_to(world.folder / "n", ["a", "b"])
    copy = world.butler("n")
    files = world.files("n")
    copy.delete("a", visit=1)
    assert copy.purge().datasets == 1
    assert copy.get("b", visit=1) == {"n": 1}
    copy.delete("b", visit=1)
    copy.purge()
    assert (len(files) >= 1, world.files("n")) == (True, [])


def test_a_file_that_somebody_removed_already(world: World, butler: Butler) -> None:
    ref = butler.put({}, "coadd", tract=1)
    butler.delete(ref)
    os.unlink(ref.uri)  # type: ignore[arg-type]
    assert butler.purge(dry_run=True) == Purged(1, 0, 0, (), True)
    assert butler.purge() == Purged(1, 0, 0)


# Where it cannot be


def test_not_in_a_transaction_and_not_without_an_output(world: World, butler: Butler) -> None:
    butler.put({}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    with butler.transaction(), pytest.raises(RepositoryError, match="cannot be undone"):
        butler.purge()
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").purge()
    assert len(butler.trashed()) == 1


def test_a_registry_that_names_what_is_not_its_own(world: World, butler: Butler) -> None:
    import sqlite3

    outside = write_json(world.folder / "mine.json", {})
    butler.put({}, "coadd", tract=1)
    butler.delete("coadd", tract=1)
    for path in (str(outside), "../mine.json"):
        db = sqlite3.connect(world.folder / "a/registry.sqlite")
        db.execute("UPDATE file SET path = ?", (path,))
        db.commit()
        db.close()
        with pytest.raises(IntegrityError, match="outside"):
            butler.purge()
    (world.folder / "a/link").symlink_to(world.folder)
    db = sqlite3.connect(world.folder / "a/registry.sqlite")
    db.execute("UPDATE file SET path = 'link/mine.json'")
    db.commit()
    db.close()
    with pytest.raises(TrustError):
        butler.purge()
    assert outside.exists()


# Others at the same time


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def test_purge_against_restore(world: World, butler: Butler) -> None:
    """Two processes: each dataset is back and can be read, or is gone, and who restores it is told."""
    number = 60
    for tract in range(number):
        butler.put({"n": tract}, "coadd", tract=tract)
        butler.delete("coadd", tract=tract)
    butler.close()
    start = world.folder / "start"

    def purge() -> None:
        with Butler(outputs=world.folder / "a", durability="fast") as other:
            while not start.exists():
                time.sleep(0.001)
            for tract in range(number):
                other.purge("coadd", tract=tract)

    def restore() -> None:
        with Butler(outputs=world.folder / "a", durability="fast") as other:
            while not start.exists():
                time.sleep(0.001)
            for tract in reversed(range(number)):
                try:
                    assert other.restore("coadd", tract=tract).get() == {"n": tract}
                except (DatasetNotFoundError, IntegrityError):
                    assert not other.exists("coadd", tract=tract)

    children = [in_child(purge), in_child(restore)]
    start.touch()
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    after = world.reader("a")
    back = [data_id["tract"] for data_id in after.query("coadd").data_ids]
    assert all(after.get("coadd", tract=tract) == {"n": tract} for tract in back)
    assert after.trashed() == []
    assert world.files("a") == sorted(f"coadd/{tract}.json" for tract in back)


def test_readers_of_what_is_replaced_and_purged_see_the_old_or_the_new(world: World, butler: Butler) -> None:
    butler.put({"n": 0}, "coadd", tract=1)
    other, seen, failed = world.reader("a"), [0], []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                seen.append(other.get("coadd", tract=1)["n"])
        except BaseException as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(1, 100):
        butler.put({"n": n}, "coadd", tract=1, replace=True)
        butler.purge()
    stop.set()
    reader.join()
    assert not failed
    assert seen == sorted(seen)
    assert len(world.files("a")) == 1


def killed_before(call: int, root: Path) -> bool:
    """Purge in a process that is killed before its n-th change of a file; tell whether it lived to the end."""

    def work() -> None:
        left = call
        for name in ("link", "unlink", "rmdir"):
            real = getattr(os, name)

            def counted(*given: Any, _real: Any = real, **named: Any) -> Any:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return _real(*given, **named)

            setattr(os, name, counted)
        with Butler(outputs=root, durability="fast") as butler:
            butler.purge()

    return os.waitpid(in_child(work), 0)[1] == 0


def test_killed_at_any_moment(world: World) -> None:
    """All is as it was, or gone; what is left over is known for ours, and repaired."""
    lived, call = False, 0
    outcomes = set()
    while not lived:
        name = f"r{call}"
        with world.butler(name, POLICY) as butler:
            for tract in range(3):
                butler.put({"n": tract}, "coadd", tract=tract)
                butler.delete("coadd", tract=tract)
            butler.put({"n": 9}, "coadd", tract=9)
        mine = write_json(world.folder / name / "coadd/mine.json", {})
        lived = killed_before(call, world.folder / name)
        after = world.reader(name)
        there = after.trashed()
        assert len(there) in (0, 3)
        assert [item.get()["n"] for item in there] == [2, 1, 0][: len(there)]
        left = [path for path in world.files(name) if path not in ("coadd/9.json", "coadd/mine.json")]
        outcomes.add((len(there), bool(left), any(is_draft(os.path.basename(path)) for path in left)))
        verify(world.folder / name, repair=True)
        kept = {f"coadd/{item.data_id['tract']}.json" for item in there}
        assert set(world.files(name)) == {"coadd/9.json", "coadd/mine.json", *kept}
        assert mine.exists()
        with world.butler(name) as butler:
            for item in there:
                assert butler.restore(item.name, item.data_id).get() == {"n": item.data_id["tract"]}
        call += 1
    # 3 second names, then 3 files and their second names.
    assert call > 9
    assert {(3, True, True), (0, True, True), (0, False, False)} <= outcomes
