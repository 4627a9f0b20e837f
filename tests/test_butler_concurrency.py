"""Threads, forks, pickles, processes that race, and processes that are killed (design 4 and 6)."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bunter import Butler, DatasetExistsError, RepositoryArgs
from tests.core_support import HERE, ID, Pair, World, making_world, pair_policy, write_json

ROOT = Path(__file__).resolve().parents[1]

SHARED = """
datasets:
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  image: {python: list, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  exp: {composite: {image: image, info: info}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def in_threads(number: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run a function in threads that start together; return what they raised."""
    barrier = threading.Barrier(number, timeout=30)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait()
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


# Threads


def test_threads_put_and_get_through_one_butler(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))

    def work(index: int) -> None:
        for visit in range(5):
            data_id = {"visit": visit, "ccd": f"c{index}"}
            butler.put(Pair({"n": index}, {"z": visit}), "pair", data_id)
            assert butler.get("pair", data_id) == Pair({"n": index}, {"z": visit})

    assert in_threads(4, work) == []
    assert butler.query("pair").count() == 20


def test_threads_that_put_the_same_content_agree_on_one_dataset(world: World) -> None:
    butler = world.butler("a", SHARED)

    def work(index: int) -> None:
        for visit in range(5):
            butler.put({"image": [index], "info": {"n": visit}}, "exp", visit=visit, ccd=f"c{index}")

    assert in_threads(4, work) == []
    assert butler.query("exp").count() == 20
    assert len([name for name in world.files("a") if name.startswith("info")]) == 5
    for visit in range(5):
        leaves = [butler.plan("exp.info", visit=visit, ccd=f"c{i}").leaves()[0]["uuid"] for i in range(4)]
        assert len(set(leaves)) == 1


def test_threads_that_put_other_content_have_one_winner(world: World) -> None:
    butler = world.butler("a", SHARED)
    errors = in_threads(4, lambda index: butler.put({"n": index}, "info", visit=1) and None)
    assert len(errors) == 3
    assert all(isinstance(error, DatasetExistsError) for error in errors)
    assert butler.query("info").count() == 1
    assert world.files("a") == [Path(str(butler.uri("info", visit=1))).relative_to(world.folder / "a").as_posix()]


def test_a_reader_sees_the_old_or_the_new_never_a_mixture(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    butler.put(Pair({"n": 0}, {"z": 0}), "pair", ID)
    seen: list[bool] = []

    def work(index: int) -> None:
        if index == 0:
            for n in range(1, 25):
                butler.put(Pair({"n": n}, {"z": n}), "pair", ID, replace=True)
            return
        reader = Butler(world.folder / "a", trust=[HERE])
        with reader:
            for _ in range(25):
                pair = reader.get("pair", ID)
                seen.append(pair.wcs["n"] == pair.calib["z"])

    assert in_threads(3, work) == []
    assert seen
    assert all(seen)


# Pickles and forks


def test_a_butler_can_be_pickled(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"), producer="me")
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    copy = world.keep(pickle.loads(pickle.dumps(butler)))
    assert copy.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    copy.put({"n": 2}, "wcs", visit=2, ccd="N3")
    assert butler.get("wcs", visit=2, ccd="N3") == {"n": 2}
    reader = world.keep(pickle.loads(pickle.dumps(world.reader("a"))))
    assert reader.get("pair.wcs", ID) == {"n": 1}


def test_a_pickled_butler_with_inputs_and_a_policy(world: World) -> None:
    world.butler("a", SHARED).put({"n": 1}, "info", visit=1)
    child = world.butler("b", pair_policy("Pair"), inputs="a")
    copy = world.keep(pickle.loads(pickle.dumps(child)))
    assert copy.repositories() == child.repositories()
    assert copy.get("info", visit=1) == {"n": 1}


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own that can import the tests."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env=environment, check=False, timeout=120,
    )  # fmt: skip


FORKING = """
import os, sys, warnings
from bunter import Butler, RepositoryArgs
warnings.simplefilter("ignore", DeprecationWarning)
butler = Butler(outputs=RepositoryArgs(sys.argv[1], policy=sys.argv[2]), durability="fast")
butler.put({"n": 0}, "info", visit=0)
children = []
for number in (1, 2):
    pid = os.fork()
    if pid == 0:
        butler.put({"n": number}, "info", visit=number)
        assert butler.get("info", visit=0) == {"n": 0}
        os._exit(0)
    children.append(pid)
assert all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in children)
butler.put({"n": 3}, "info", visit=3)
print(butler.query("info").count())
"""


def test_a_forked_child_reopens(world: World) -> None:
    done = run(FORKING, world.folder / "a", SHARED)
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr


# Two processes


def racing(root: str, index: int, rounds: int, barrier: Any, results: Any) -> None:
    """Put what the other process puts at the same moment; runs in a spawned process."""
    with Butler(outputs=root, durability="fast") as butler:
        for visit in range(rounds):
            barrier.wait(30)
            # The same visit info, each for its own CCD.
            butler.put({"image": [index], "info": {"n": visit}}, "exp", visit=visit, ccd=f"c{index}")
            barrier.wait(30)
            try:
                butler.put({"by": index}, "info", visit=1000 + visit)
                results.put((visit, index, "won"))
            except DatasetExistsError as error:
                results.put((visit, index, type(error).__name__))


def test_two_processes_that_put_the_same_visit_info_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    rounds = 12
    butler = world.butler("a", SHARED)
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(2), spawn.Queue()
    root = str(world.folder / "a")
    processes = [spawn.Process(target=racing, args=(root, i, rounds, barrier, results)) for i in range(2)]
    for process in processes:
        process.start()
    told = [results.get(timeout=30) for _ in range(2 * rounds)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    for visit in range(rounds):
        # The same content: both succeed and share one dataset in one file.
        uuids = {butler.plan("exp.info", visit=visit, ccd=f"c{i}").leaves()[0]["uuid"] for i in range(2)}
        assert len(uuids) == 1
        assert butler.get("exp", visit=visit, ccd="c1") == {"image": [1], "info": {"n": visit}}
        # Other content: one winner, the other is told.
        outcome = {index: word for v, index, word in told if v == visit}
        assert Counter(outcome.values()) == {"won": 1, "DatasetExistsError": 1}
        (winner,) = (index for index, word in outcome.items() if word == "won")
        assert butler.get("info", visit=1000 + visit) == {"by": winner}
    # The losers' files are gone.
    assert len(world.files("a")) == 2 * rounds + 2 * rounds


# Kills


PUTTING = """
import sys
from bunter import Butler
butler = Butler(outputs=sys.argv[1])
for visit in range(10_000):
    butler.put({"image": [visit], "info": {"n": visit}}, "exp", visit=visit, ccd="x")
    print(visit, flush=True)
"""


def test_nothing_that_was_acknowledged_is_lost_by_a_kill(world: World) -> None:
    world.butler("a", SHARED).close()
    child = subprocess.Popen(
        [sys.executable, "-c", PUTTING, str(world.folder / "a")],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(8)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split("\n") if line.strip()]
    child.stdout.close()
    child.wait()
    butler = world.butler("a")
    for visit in acknowledged:
        assert butler.get("exp", visit=visit, ccd="x") == {"image": [visit], "info": {"n": visit}}
    # What was not acknowledged is there whole or not at all, and can be put again.
    found = butler.query("exp").data_ids
    assert len(found) in (len(acknowledged), len(acknowledged) + 1)
    following = acknowledged[-1] + 1
    butler.put({"image": [following], "info": {"n": following}}, "exp", visit=following, ccd="x")


def test_a_put_that_dies_before_its_commit_leaves_no_dataset(world: World) -> None:
    code = """
import os, sys
from bunter import Butler
import bunter.registry.sqlite as sqlite
sqlite.SqliteRegistry.apply = lambda *_: os._exit(9)
Butler(outputs=sys.argv[1]).put({"image": [1], "info": {}}, "exp", visit=1, ccd="x")
"""
    butler = world.butler("a", SHARED)
    assert run(code, world.folder / "a").returncode == 9
    assert butler.query("exp").count() == butler.query("info").count() == 0
    # The files that nobody recorded are in nobody's way.
    butler.put({"image": [1], "info": {}}, "exp", visit=1, ccd="x")
    assert butler.get("exp", visit=1, ccd="x") == {"image": [1], "info": {}}


def test_many_butlers_open_one_new_repository_at_once(world: World) -> None:
    def work(index: int) -> None:
        made = Butler(outputs=RepositoryArgs(world.folder / "new", policy=SHARED), durability="fast")
        with made:
            made.put({"n": 1}, "info", visit=1)

    assert in_threads(4, work) == []
    assert world.reader("new").get("info", visit=1) == {"n": 1}


def test_definitions_that_two_butlers_add_at_once_are_all_kept(world: World) -> None:
    world.butler("a", SHARED)

    def work(index: int) -> None:
        with Butler(outputs=world.folder / "a", durability="fast") as butler:
            template = f"t{index}/{{visit:d}}.json"
            butler.define({"datasets": {f"t{index}": {"python": dict, "storage": "Json", "template": template}}})

    assert in_threads(4, work) == []
    assert {f"t{index}" for index in range(4)} <= set(world.reader("a").dataset_types())


def test_files_ingested_by_two_threads_at_once(world: World) -> None:
    butler = world.butler("a", SHARED)
    files = [write_json(world.folder / f"in/info/{visit}.json", {"n": visit}) for visit in range(10)]
    assert in_threads(3, lambda index: butler.ingest("info", files, mode="copy") and None) == []
    assert butler.query("info").count() == 10
    assert len(world.files("a")) == 10
    other = [write_json(world.folder / f"{name}/info/77.json", {"n": name}) for name in "xyz"]
    errors = in_threads(3, lambda index: butler.ingest("info", other[index], mode="copy") and None)
    assert [type(error) for error in errors] == [DatasetExistsError] * 2
    assert len(world.files("a")) == 11


# Durability and locks


def test_no_lock_is_held_while_files_are_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from bunter.formats.json_ import Json

    butler, other = world.butler("a", SHARED), world.butler("a")
    real = Json.write
    inside: list[str] = []

    def slow(self: Json, obj: Any, *arguments: Any) -> Any:
        if not inside:
            # Somebody else puts while the first file is being written: neither waits for the other.
            inside.append("busy")
            other.put({"n": "other"}, "info", visit=9)
            inside.append("done")
        return real(self, obj, *arguments)

    monkeypatch.setattr(Json, "write", slow)
    butler.put({"image": [1], "info": {"n": 1}}, "exp", visit=1, ccd="x")
    assert inside == ["busy", "done"]
    assert butler.query("info").count() == 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to tell what is synced")
def test_files_and_folders_are_synced_before_the_registry_tells_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bunter.registry.sqlite import SqliteRegistry

    butler = world.butler("a", SHARED, durability="full")
    told: list[str] = []
    real_sync, real_apply, real_link = os.fsync, SqliteRegistry.apply, os.link

    def sync(descriptor: int) -> None:
        told.append("sync " + os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), world.folder / "a"))
        real_sync(descriptor)

    def link(source: Any, target: Any, **options: Any) -> None:
        told.append("name " + os.path.relpath(target, world.folder / "a"))
        real_link(source, target, **options)

    def apply(self: SqliteRegistry, *arguments: Any) -> None:
        told.append("registry")
        real_apply(self, *arguments)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(SqliteRegistry, "apply", apply)
    butler.put({"image": [1], "info": {"n": 1}}, "exp", visit=1, ccd="x")
    assert told[-1] == "registry"
    for name in ("image/1-x.json", "info/1.json"):
        named = told.index(f"name {name}")
        # The file itself as a draft, before it has its name; its folder, and the one above, after.
        assert any(word.startswith("sync " + name.split("/")[0] + "/") for word in told[:named])
        assert f"sync {name.split('/')[0]}" in told[named:]
    assert "sync ." in told
    assert told.count("registry") == 1


def test_fast_does_not_wait_for_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    butler = world.butler("a", SHARED, durability="fast")

    def refuse(descriptor: int) -> None:
        raise AssertionError("synced")

    monkeypatch.setattr(os, "fsync", refuse)
    butler.put({"n": 1}, "info", visit=1)
    assert butler.get("info", visit=1) == {"n": 1}


def test_a_pickled_butler_does_not_depend_on_the_current_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.butler("a", SHARED).put({"n": 1}, "info", visit=1)
    monkeypatch.chdir(world.folder)
    pickled = pickle.dumps(world.keep(Butler("a")))
    monkeypatch.chdir("/")
    assert world.keep(pickle.loads(pickled)).get("info", visit=1) == {"n": 1}
