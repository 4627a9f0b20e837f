"""Registries on file systems of the network: which are, what is made there, what readers and killed writers find."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bunter.errors import RepositoryError
from bunter.registry import places
from bunter.registry.interface import Changes
from bunter.registry.sqlite import SqliteRegistry
from bunter.testing.registry_examples import dataset, one

MOUNTED = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
41 28 0:36 / /net rw,relatime shared:2 - autofs systemd-1 rw,fd=51,pgrp=1
60 41 0:50 / /net/survey rw,relatime shared:3 master:4 - nfs4 server:/export/survey rw,vers=4.2
61 28 0:51 /users /scratch/a\\040b rw - lustre 10.0.0.1@tcp:/scratch rw,flock
62 28 0:52 / /mnt rw - ext4 /dev/sdb1 rw
63 62 0:53 / /mnt rw - fuse.sshfs user@host: rw
64 28 259:2 /var/lib /net/survey/local rw - ext4 /dev/nvme0n1p2 rw
nonsense
65 28 0:54 / /short -
66 28 0:55 / /empty rw -\x20
"""


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/", "ext4"),
        ("/opt/x", "ext4"),
        ("/net/survey", "nfs4"),
        ("/net/survey/night/1", "nfs4"),
        ("/net/survey2", "autofs"),
        ("/net/survey/local/x", "ext4"),
        ("/scratch/a b/x", "lustre"),
        ("/scratch/a", "ext4"),
        ("/mnt/x", "fuse.sshfs"),
        ("/short/x", "ext4"),
        ("/empty/x", "ext4"),
    ],
)
def test_what_a_path_is_on(path: str, type_: str) -> None:
    assert places.mounted_type(MOUNTED, path) == type_


def test_where_nothing_is_told_of_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.mounted_type("", "/x") is None
    monkeypatch.setattr(places, "MOUNTS", str(tmp_path / "nothing"))
    assert places.network_type(str(tmp_path)) is None


def test_which_types_are_of_the_network() -> None:
    for type_ in ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "9p", "fuse.sshfs", "fuse.x"):
        assert places.is_network(type_), type_
    for type_ in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk"):
        assert not places.is_network(type_), type_


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that Linux is said to have mounted from elsewhere."""
    folder = tmp_path / "far away"
    folder.mkdir()
    place = os.path.realpath(folder).replace(" ", "\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"28 1 8:1 / / rw - ext4 /dev/sda1 rw\n60 28 0:50 / {place} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(places, "MOUNTS", str(mounts))
    return folder


def journal_of(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        connection.close()


def test_a_registry_made_there_has_no_log(network: Path) -> None:
    path = network / "registry.sqlite"
    made = SqliteRegistry(str(path), create=True)
    made.apply([Changes([dataset(one(1))])])
    assert sorted(os.listdir(network)) == ["registry.sqlite", "registry.sqlite-journal"]
    reader = SqliteRegistry(str(path), writable=False)
    reader.begin_read()
    assert reader.counts() == {"raw": 1}
    reader.end_read()
    made.apply([Changes([dataset(one(2))])])
    assert reader.counts() == {"raw": 2}
    again = SqliteRegistry(str(path))
    again.apply([Changes([dataset(one(3))])])
    made.apply([Changes([dataset(one(4))])])
    assert reader.counts() == {"raw": 4}
    for registry in (reader, again, made):
        registry.close()
    assert sorted(os.listdir(network)) == ["registry.sqlite", "registry.sqlite-journal"]


def test_a_registry_that_was_moved_there_is_changed_by_who_writes(network: Path, tmp_path: Path) -> None:
    SqliteRegistry(str(tmp_path / "registry.sqlite"), create=True).close()
    path = network / "registry.sqlite"
    shutil.move(tmp_path / "registry.sqlite", path)
    assert journal_of(path) == "wal"
    reader = SqliteRegistry(str(path), writable=False)
    assert reader.counts() == {}
    # A reader leaves nothing there, and does not stand in the way.
    assert os.listdir(network) == ["registry.sqlite"]
    writer = SqliteRegistry(str(path))
    writer.apply([Changes([dataset(one(1))])])
    assert reader.counts() == {"raw": 1}
    writer.close()
    reader.close()
    assert journal_of(path) == "delete"


def test_a_registry_that_another_has_open_with_a_log_is_not_written(network: Path) -> None:
    path = network / "registry.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    SqliteRegistry(str(path), create=True).close()
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("INSERT INTO word (text) VALUES ('x')")
    with pytest.raises(RepositoryError, match=r"file system of the network \(nfs4\).*while nobody else has it open"):
        SqliteRegistry(str(path))
    reader = SqliteRegistry(str(path), writable=False)
    assert reader.word_id("x") is not None
    other.execute("INSERT INTO word (text) VALUES ('y')")
    assert reader.word_id("y") is not None
    reader.close()
    other.close()
    SqliteRegistry(str(path)).close()
    assert journal_of(path) == "delete"


def test_a_registry_without_a_log_stays_so_on_a_local_disk(network: Path, tmp_path: Path) -> None:
    SqliteRegistry(str(network / "registry.sqlite"), create=True).close()
    local = tmp_path / "local"
    shutil.copytree(network, local)
    path = local / "registry.sqlite"
    registry = SqliteRegistry(str(path))
    registry.apply([Changes([dataset(one(1))])])
    registry.close()
    assert journal_of(path) == "delete"
    assert sorted(os.listdir(local)) == ["registry.sqlite", "registry.sqlite-journal"]


DYING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = TRUNCATE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.executemany("INSERT INTO word (text) VALUES (?)", [(f"half {n} {'x' * 500}",) for n in range(500)])
os._exit(9)
"""


@pytest.mark.parametrize("may_write", [True, False])
def test_what_a_writer_leaves_that_is_killed_in_a_transaction(
    network: Path, may_write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal is undone by the next who opens it; who may not do that reads a copy."""
    path = network / "registry.sqlite"
    made = SqliteRegistry(str(path), create=True)
    made.apply([Changes([dataset(one(1))])])
    made.close()
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(DYING), str(path)], check=False, timeout=60)
    assert child.returncode == 9
    journal = Path(f"{path}-journal")
    assert journal.stat().st_size > 0
    if not may_write:
        real = os.access
        monkeypatch.setattr(os, "access", lambda file, mode: mode != os.W_OK and real(file, mode))
    reader = SqliteRegistry(str(path), writable=False)
    assert reader.counts() == {"raw": 1}
    assert reader.rows("SELECT count(*) FROM word WHERE text LIKE 'half%'") == [(0,)]
    reader.close()
    # Whoever may write has undone it.
    assert (journal.stat().st_size == 0) == may_write
    writer = SqliteRegistry(str(path))
    writer.apply([Changes([dataset(one(2))])])
    assert writer.counts() == {"raw": 2}
    writer.close()
