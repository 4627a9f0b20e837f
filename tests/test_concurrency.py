"""Many writers, races and readers, in small; the same in large is in ``benchmarks/faults``.

And: no lock while files are written, composites that are put while what they refer to changes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bunter import Butler, ConflictError, DatasetExistsError, InUseError
from bunter.formats.json_ import Json
from bunter.registry import places
from tests.core_support import World, making_world

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "benchmarks" / "faults"

POLICY = """
datasets:
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  image: {python: dict, storage: Json, template: "image/{visit:d}-{ccd}.json"}
  wcs: {python: dict, storage: Json, template: "wcs/{visit:d}-{ccd}.json"}
  exp: {composite: {image: image, info: info}}
  pair: {composite: {image: image, wcs: wcs}}
"""
ID = {"visit": 1, "ccd": "a"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


# In small what the scripts do in large


@pytest.mark.parametrize(
    "arguments",
    [
        ("load.py", "--n", "20", "--processes", "4", "--bound", "1e9"),
        ("races.py", "--n", "6", "--processes", "3"),
        ("readers.py", "--n", "60", "--full", "8"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_scripts_of_faults(arguments: tuple[str, ...]) -> None:
    script, *options = arguments
    done = subprocess.run(
        [sys.executable, FAULTS / script, *options], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


# No lock while files are written

WRITING = """
import io, sys
from bunter import Butler
from bunter.formats.json_ import Json

real = Json.write

def slowly(self, obj, out, about):
    if obj == {"n": "slow"} and not isinstance(out, io.BytesIO):
        # Half of the file is written; the rest comes once somebody says so. (To compare, it is written in memory.)
        out.write(b" " * 100_000)
        out.flush()
        print("writing", flush=True)
        sys.stdin.readline()
    return real(self, obj, out, about)

Json.write = slowly
slow = {"n": "slow"}
how, root = sys.argv[1:]
with Butler(outputs=root) as butler:
    if how == "composite":
        butler.put({"image": slow, "wcs": {"n": 1}}, "pair", visit=1, ccd="slow")
    elif how == "replace":
        butler.put(slow, "info", visit=1, replace=True)
    else:
        with butler.transaction():
            butler.put({"n": "first"}, "info", visit=8)
            butler.put(slow, "info", visit=9)
print("done", flush=True)
"""


@pytest.mark.parametrize("how", ["composite", "replace", "transaction"])
def test_others_commit_while_a_process_is_writing_a_file(world: World, how: str) -> None:
    butler = world.butler("a", POLICY, durability="full")
    butler.put({"n": 0}, "info", visit=1)
    other = subprocess.Popen(
        [sys.executable, "-c", WRITING, how, str(world.folder / "a")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "writing\n"
    # It is in the middle of its file, until we tell it to go on: all of this comes before.
    butler.put({"image": {"n": 2}, "info": {"n": 2}}, "exp", visit=2, ccd="a")
    butler.put({"n": 3}, "wcs", visit=3, ccd="a")
    butler.delete("wcs", visit=3, ccd="a")
    butler.alias("latest", "info")
    with world.butler("a") as again:
        assert again.get("latest", visit=2) == {"n": 2}
    assert butler.get("info", visit=1) == {"n": 0}
    assert not butler.exists("info", visit=8)
    assert other.poll() is None
    out, _ = other.communicate("\n", timeout=60)
    assert (other.returncode, out) == (0, "done\n")
    expected = {"composite": ("image", {"visit": 1, "ccd": "slow"}), "replace": ("info", {"visit": 1})}
    name, data_id = expected.get(how, ("info", {"visit": 9}))
    assert butler.get(name, data_id) == {"n": "slow"}


def test_others_commit_while_a_process_is_reading_a_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    butler, reader = world.butler("a", POLICY), world.reader("a")
    butler.put({"image": {"n": 0}, "wcs": {"n": 0}}, "pair", ID)
    meanwhile(monkeypatch, "read", lambda: butler.put({"image": {"n": 1}, "wcs": {"n": 1}}, "pair", ID, replace=True))
    # What was begun ends with what was there then.
    assert reader.get("pair", ID) == {"image": {"n": 0}, "wcs": {"n": 0}}
    assert reader.get("pair", ID) == {"image": {"n": 1}, "wcs": {"n": 1}}


# What changes between the beginning of a put and its commit


def meanwhile(monkeypatch: pytest.MonkeyPatch, method: str, work: Callable[[], Any]) -> None:
    """Do something in the middle of the next read or write of a JSON file."""
    real = getattr(Json, method)

    def slowly(self: Json, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(Json, method, real)
        work()
        return real(self, *arguments, **options)

    monkeypatch.setattr(Json, method, slowly)


def of_exp(n: Any, info: Any) -> dict[str, Any]:
    return {"image": {"n": n}, "info": {"n": info}}


def files_in_use(world: World) -> bool:
    """Tell whether every file of the repository is of a dataset, in the trash or not."""
    with world.reader("a") as reader:
        registry = reader._starts[0].registry
        recorded = {record.file.path for record in registry.everything() if record.file is not None}
    return set(world.files("a")) == recorded


def test_a_composite_refers_to_what_replaced_a_component_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    butler.put({"n": 0}, "info", visit=1)
    meanwhile(monkeypatch, "write", lambda: other.put({"n": 1}, "info", visit=1, replace=True))
    # It was read before it was replaced, so it is not what is there now.
    with pytest.raises(ConflictError, match=r"shared by all.*Nothing was written"):
        butler.put(of_exp(1, 0), "exp", ID)
    assert not butler.exists("exp", ID)
    meanwhile(monkeypatch, "write", lambda: other.put({"n": 2}, "info", visit=1, replace=True))
    butler.put(of_exp(1, 1), "exp", ID, discard=["info"])
    assert butler.get("exp", ID) == of_exp(1, 2)
    assert files_in_use(world)


def test_a_composite_refers_to_nothing_that_was_deleted_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    butler.put({"n": 0}, "info", visit=1)
    meanwhile(monkeypatch, "write", lambda: other.delete("info", visit=1))
    butler.put(of_exp(1, 0), "exp", ID)
    # It was written again.
    assert butler.get("info", visit=1) == {"n": 0}
    (leaf,) = butler.plan("exp.info", ID).leaves()
    assert "trash" not in leaf["note"] if leaf.get("note") else True
    assert butler.query("info").count() == 1
    with pytest.raises(InUseError):
        other.delete("info", visit=1)
    assert files_in_use(world)


def test_a_transaction_that_refers_to_what_was_replaced_meanwhile_is_undone(world: World) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    butler.put({"n": 0}, "info", visit=1)

    def work() -> None:
        with butler.transaction():
            butler.put(of_exp(1, 0), "exp", ID)
            other.put({"n": 1}, "info", visit=1, replace=True)

    with pytest.raises(ConflictError, match=r"info \{'visit': 1\}.*by somebody else meanwhile"):
        work()
    assert not butler.exists("exp", ID)
    assert not butler.exists("image", ID)
    assert files_in_use(world)


def test_a_transaction_does_not_delete_what_others_use_meanwhile(world: World) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    butler.put({"n": 0}, "info", visit=1)

    def work() -> None:
        with butler.transaction():
            butler.delete("info", visit=1)
            other.put(of_exp(1, 0), "exp", ID)

    with pytest.raises(InUseError, match=r"exp .* is made of it"):
        work()
    assert other.get("exp", ID) == of_exp(1, 0)
    assert butler.get("info", visit=1) == {"n": 0}


def test_a_component_that_another_composite_pins_meanwhile_is_not_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    first = {"image": {"n": 0}, "wcs": {"n": 0}}
    butler.put(first, "pair", ID)
    meanwhile(monkeypatch, "write", lambda: other.put(of_exp(0, 7), "exp", ID))
    with pytest.raises(ConflictError, match=r"'image' .* is also part of exp"):
        butler.put({"image": {"n": 1}, "wcs": {"n": 1}}, "pair", ID, replace=True)
    assert butler.get("pair", ID) == first
    assert butler.get("exp", ID) == of_exp(0, 7)
    assert files_in_use(world)


def test_a_replace_of_what_another_puts_first_replaces_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    meanwhile(monkeypatch, "write", lambda: other.put({"n": 1}, "info", visit=1))
    ref = butler.put({"n": 2}, "info", visit=1, replace=True)
    assert butler.get("info", visit=1) == ref.get() == {"n": 2}
    meanwhile(monkeypatch, "write", lambda: other.put({"image": {"n": 1}, "wcs": {"n": 1}}, "pair", ID))
    butler.put({"image": {"n": 2}, "wcs": {"n": 1}}, "pair", ID, replace=True)
    assert butler.get("pair", ID) == {"image": {"n": 2}, "wcs": {"n": 1}}
    assert files_in_use(world)


def test_the_same_composite_that_another_puts_while_this_is_compared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    meanwhile(monkeypatch, "write", lambda: other.put(of_exp(1, 1), "exp", ID))
    assert butler.put(of_exp(1, 1), "exp", ID).uuid == other.query("exp").first().uuid
    assert butler.query("exp").count() == 1
    second = {**ID, "visit": 2}
    meanwhile(monkeypatch, "write", lambda: other.put(of_exp(1, 1), "exp", second))
    with pytest.raises(DatasetExistsError):
        butler.put(of_exp(1, 2), "exp", second)
    assert butler.get("exp", second) == of_exp(1, 1)
    assert files_in_use(world)


def test_files_that_are_ingested_while_another_puts_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    butler, other = world.butler("a", POLICY), world.butler("a")
    path = world.folder / "in" / "info" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"n":1}\n')
    for content, on_exists in (({"n": 1}, "error"), ({"n": 2}, "replace"), ({"n": 3}, "skip")):
        if butler.exists("info", visit=1):
            butler.delete("info", visit=1)
        overtaken(monkeypatch, butler, lambda content=content: other.put(content, "info", visit=1))
        butler.ingest("info", path, mode="copy", on_exists=on_exists)
        assert butler.get("info", visit=1) == ({"n": 3} if on_exists == "skip" else {"n": 1})
    butler.delete("info", visit=1)
    overtaken(monkeypatch, butler, lambda: other.put({"n": 4}, "info", visit=1))
    with pytest.raises(DatasetExistsError):
        butler.ingest("info", path, mode="copy")
    assert butler.get("info", visit=1) == {"n": 4}


def overtaken(monkeypatch: pytest.MonkeyPatch, butler: Butler, work: Callable[[], Any]) -> None:
    """Do something right before the next commit of a Butler."""
    output = butler._output
    assert output is not None
    real = output.files.sync

    def sync() -> None:
        monkeypatch.setattr(output.files, "sync", real)
        real()
        work()

    monkeypatch.setattr(output.files, "sync", sync)


# On a file system of the network


def test_writers_and_readers_on_a_network_file_system(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("28 1 0:50 / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(places, "MOUNTS", str(mounts))
    world.butler("a", POLICY).put({"n": 0}, "info", visit=0)
    errors: list[BaseException] = []

    def work(index: int) -> None:
        try:
            with world.butler("a") as butler, world.reader("a") as reader:
                for n in range(5):
                    butler.put(of_exp(index, n), "exp", visit=n + 1, ccd=f"c{index}")
                    butler.put({"n": n}, "info", visit=0, replace=True)
                    assert reader.get("exp", visit=n + 1, ccd=f"c{index}") == of_exp(index, n)
                    assert reader.get("info", visit=0)["n"] in range(5)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert world.reader("a").query("exp").count() == 15
    assert not (world.folder / "a" / "registry.sqlite-wal").exists()
