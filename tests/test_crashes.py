"""Writers that are killed, cut off from the power, interrupted, or fail at a system call (design 6).

Small counts of what the scripts in ``benchmarks/faults`` do with large ones; the tracer of system calls is theirs.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bunter import Butler, RepositoryArgs

FAULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "faults"

POLICY = {"datasets": {"note": {"python": "dict", "storage": "Json", "template": "notes/{visit:d}.json"}}}


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tracer", FAULTS / "tracer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look for it there.
    sys.modules["tracer"] = module
    spec.loader.exec_module(module)
    return module


tracer = _loaded()


@pytest.fixture(autouse=True)
def can_trace() -> None:
    problem = tracer.obstacle()
    if problem is not None:
        pytest.skip(problem)


def script(name: str, *arguments: object, tmp_path: Path) -> dict[str, Any]:
    """Run one of the scripts; return its counts."""
    counts = tmp_path / "counts.json"
    done = subprocess.run(
        [sys.executable, str(FAULTS / f"{name}.py"), *map(str, arguments), "--json", str(counts)],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(counts.read_text())
    return found


# The tracer itself


def test_calls_are_listed_with_what_they_are_about(tmp_path: Path) -> None:
    def work() -> int:
        with open(tmp_path / "a", "wb", buffering=0) as file:
            file.write(b"abc")
            os.fsync(file.fileno())
        os.rename(tmp_path / "a", tmp_path / "b")
        os.symlink("elsewhere", tmp_path / "c")
        os.open(tmp_path / "b", os.O_RDONLY)
        os.mkdir(tmp_path / "folder")
        os.unlink("/nowhere/else")
        return 5

    trace = tracer.run(lambda: work, within=[tmp_path], kinds=tracer.ALL)
    told = [
        (call.name.removesuffix("at"), call.kind, [os.path.basename(p) for p in call.paths]) for call in trace.calls
    ]
    assert told == [
        ("open", "name", ["a"]),
        ("write", "write", ["a"]),
        ("fsync", "sync", ["a"]),
        ("rename", "name", ["a", "b"]),
        ("symlink", "name", ["c"]),
        ("mkdir", "name", ["folder"]),
    ]
    assert "O_CREAT" in str(trace.calls[0].values)
    assert [call.number for call in trace.calls] == [1, 2, 3, 4, 5, 6]
    assert trace.calls[1].result == 3
    assert trace.result is None
    assert "FileNotFoundError" in trace.error[0]


@pytest.mark.parametrize(("decide", "there"), [(tracer.kill_before, ["a"]), (tracer.kill_after, ["a", "b"])])
def test_a_kill_before_or_after_a_call(tmp_path: Path, decide: Callable[[int], Any], there: list[str]) -> None:
    def work() -> None:
        for name in "abc":
            os.mkdir(tmp_path / name)

    trace = tracer.run(lambda: work, within=[tmp_path], decide=decide(2))
    assert trace.killed
    assert trace.result is None
    assert sorted(os.listdir(tmp_path)) == there


def test_a_call_that_fails_is_not_carried_out(tmp_path: Path) -> None:
    def work() -> int:
        try:
            os.mkdir(tmp_path / "a")
        except OSError as error:
            os.mkdir(tmp_path / "b")
            return error.errno or 0
        return 0

    trace = tracer.run(lambda: work, within=[tmp_path], decide=tracer.fail(1, errno.EDQUOT))
    assert trace.result == errno.EDQUOT
    assert trace.calls[0].injected
    assert os.listdir(tmp_path) == ["b"]


def test_threads_are_traced_too(tmp_path: Path) -> None:
    def work() -> None:
        threads = [threading.Thread(target=os.mkdir, args=(tmp_path / str(i),)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    trace = tracer.run(lambda: work, within=[tmp_path])
    assert trace.error is None
    assert len(trace.calls) == 3
    assert trace.threads == 4


# Commits that fail


def registry_log_fails(after: int, times: int) -> Callable[[Any], Any]:
    """Let the log of a registry not be synced, nor written any more, some times."""
    seen = {"begun": False, "failed": 0}

    def decide(call: Any) -> Any:
        if not call.path.endswith("-wal"):
            return None
        seen["begun"] = seen["begun"] or (call.kind == "sync" and call.number > after)
        if seen["begun"] and seen["failed"] < times:
            seen["failed"] += 1
            return tracer.Fate(error=errno.EIO)
        return None

    return decide


def attempted(root: Path, decide: Callable[[Any], Any]) -> Any:
    """Put in a process that is gone afterwards without having closed anything."""

    def prepare() -> Callable[[], Any]:
        butler = Butler(outputs=root)
        butler.put({"n": 0}, "note", visit=0)
        return lambda: butler.put({"n": 1}, "note", visit=1).uuid

    return tracer.run(prepare, within=[root], decide=decide)


def test_a_commit_that_failed_is_not_found_again_after_a_crash(tmp_path: Path) -> None:
    """The log holds the whole of it when it cannot be synced: it has to be written over."""
    root = tmp_path / "repo"
    Butler(outputs=RepositoryArgs(root, policy=POLICY)).close()
    trace = attempted(root, registry_log_fails(6, 1))
    assert trace.error is not None
    assert "RepositoryError" in trace.error[0]
    assert "is not known" not in trace.error[1]
    with Butler(outputs=root) as butler:
        assert [ref.data_id["visit"] for ref in butler.query("note")] == [0]
        assert os.listdir(root / "notes") == ["0.json"]
        butler.put({"n": 1}, "note", visit=1)


def test_a_commit_whose_end_is_not_known_keeps_its_files(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    Butler(outputs=RepositoryArgs(root, policy=POLICY)).close()
    trace = attempted(root, registry_log_fails(6, 100))
    assert trace.error is not None
    assert "RepositoryError" in trace.error[0]
    assert "is not known" in trace.error[1]
    with Butler(outputs=root) as butler:
        for ref in butler.query("note"):
            assert butler.get("note", ref.data_id) == {"n": ref.data_id["visit"]}
        butler.verify(repair=True)
        known = {f"{ref.data_id['visit']}.json" for ref in butler.query("note")}
    assert set(os.listdir(root / "notes")) == known


# What the scripts do


def test_every_system_call_is_a_point_to_recover_from(tmp_path: Path) -> None:
    found = script("crashpoints", "--only", "composite", "move", "--every", 29, tmp_path=tmp_path)
    assert not found["faults"]
    assert set(found["rows"]) == {"put, composite", "replace, composite", "delete, composite", "ingest, move"}
    for row in found["rows"].values():
        assert row["points"] >= 1
        assert row["threads"] == 1


def test_power_cuts_and_interrupts(tmp_path: Path) -> None:
    found = script(
        "crashpoints", "--how", "power", "interrupt", "--only", "put, small", "--every", 12, tmp_path=tmp_path
    )  # fmt: skip
    assert not found["faults"]
    assert found["rows"]["put, small: power"]["points"] >= 3
    assert found["rows"]["put, small: interrupt"]["points"] >= 3


def test_random_kills(tmp_path: Path) -> None:
    found = script("kills", "--n", 4, tmp_path=tmp_path)
    assert not found["told"]
    assert found["counts"]["kills"] == 4


def test_system_calls_that_fail(tmp_path: Path) -> None:
    found = script("errors", "--only", "put, small", "--errors", "ENOSPC", "EIO", "--every", 16, tmp_path=tmp_path)
    assert not found["faults"]
    for error in ("ENOSPC", "EIO"):
        assert found["rows"][f"put, small: {error}"]["raised"] >= 2


def test_everything_is_synced_in_order_before_a_put_returns() -> None:
    done = subprocess.run(
        [sys.executable, str(FAULTS / "syncs.py"), "--only", "put, composite", "new repository"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    full, _, fast = done.stdout.partition("durability='fast'")
    assert full.count("order: as it must be") == 2
    assert "SYNC    repo/images/1\n" in full
    assert "SYNC    repo/registry.sqlite-wal\n" in full
    assert "0 of them syncs" in fast
