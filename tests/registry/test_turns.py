"""Whose turn it is to write: in order, given back by the dead, not waited for without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

import pytest

from bunter.errors import RepositoryError
from bunter.registry import database, turns
from bunter.registry.interface import Changes
from bunter.registry.sqlite import SqliteRegistry
from bunter.registry.turns import turn
from bunter.testing.registry_examples import dataset, one

HOLDING = """
import sys, time
from bunter.registry.turns import turn
with turn(sys.argv[1], 60, object):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def still() -> object:
    """Return what never changes: nobody gets on."""
    return 0


def holder(folder: Path) -> subprocess.Popen[str]:
    """Return a process whose turn it is."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)


def test_one_after_the_other(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with turn(str(tmp_path), 60, object):
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_folders_have_queues_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with turn(str(tmp_path), 0, still), turn(str(tmp_path / "a"), 0, still):
        pass


def test_whose_turn_it_is_waits_for_another_process(tmp_path: Path) -> None:
    process = holder(tmp_path)
    got = threading.Event()

    def wait() -> None:
        with turn(str(tmp_path), 60, object):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.1)
    end(process)
    thread.join(60)
    assert got.is_set()


def test_the_turn_of_a_killed_process_passes(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.wait()
    with turn(str(tmp_path), 0, still):
        pass
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def test_a_turn_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_GLANCE", 0.01)
    process = holder(tmp_path)
    with pytest.raises(TimeoutError), turn(str(tmp_path), 0.05, still):
        pass
    # As long as the others get on, it is waited for.
    progress = count()
    timer = threading.Timer(0.5, end, [process])
    timer.start()
    with turn(str(tmp_path), 0.05, lambda: next(progress)):
        assert next(progress) > 5
    timer.join()
    # Those who gave up stand in nobody's way.
    with turn(str(tmp_path), 1, still):
        pass


def test_an_interrupt_while_waiting(tmp_path: Path) -> None:
    process = holder(tmp_path)
    code = f"""
import signal
from bunter.registry.turns import turn
signal.signal(signal.SIGINT, signal.default_int_handler)
print("waiting", flush=True)
try:
    with turn({str(tmp_path)!r}, 60, object):
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    waiting = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate(timeout=60)[0] == "interrupted\n"
    end(process)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_keep_the_turn(tmp_path: Path) -> None:
    read, write = os.pipe()
    with turn(str(tmp_path), 60, object):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    with turn(str(tmp_path), 0, still):
        pass
    os.close(write)
    os.close(read)
    os.waitpid(child, 0)


def test_a_folder_that_cannot_be_opened_has_no_queue(tmp_path: Path) -> None:
    with turn(str(tmp_path / "nothing"), 0, still):
        pass


@pytest.mark.parametrize("how", ["queue", "lock"])
def test_a_registry_whose_lock_another_holds_and_does_nothing(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_GLANCE", 0.01)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path = tmp_path / "registry.sqlite"
    registry = SqliteRegistry(str(path), create=True)
    process = None
    if how == "queue":
        process = holder(tmp_path)
    else:
        other = SqliteRegistry(str(path))
        other._connections.current().connection.execute("BEGIN IMMEDIATE")
        registry._connections.current().connection.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(RepositoryError, match=r"another process has held its lock.*Nothing was written"):
        registry.apply([Changes([dataset(one(1))])])
    if process is not None:
        end(process)
    else:
        other.close()
    registry.apply([Changes([dataset(one(1))])])
    assert registry.counts() == {"raw": 1}
    registry.close()
