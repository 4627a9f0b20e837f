from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from bunter.errors import BunterError, IntegrityError, RepositoryError
from bunter.registry.auditing import Audit
from bunter.registry.interface import Changes, DatasetTaken
from bunter.registry.sqlite import SqliteRegistry
from bunter.testing.registry_examples import composite, dataset, one, pin_of, stored_file

PRELUDE = """
import os, sys, time
from bunter.errors import BunterError, RepositoryError
from bunter.registry.interface import Changes, DatasetTaken
from bunter.registry.sqlite import SqliteRegistry
from bunter.testing.registry_examples import dataset, one, stored_file
"""


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    code = PRELUDE + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def output(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "registry.sqlite")


@pytest.fixture
def registry(path):
    made = SqliteRegistry(path, create=True, durable=False)
    yield made
    made.close()


# Opening


def test_a_registry_is_made_once(path):
    first = SqliteRegistry(path, create=True)
    first.apply([Changes([dataset(one(1))])])
    second = SqliteRegistry(path, create=True)
    assert second.counts() == {"raw": 1}
    first.close()
    second.close()


@pytest.mark.parametrize("writable", [True, False])
def test_a_missing_file_is_not_made(path, writable):
    with pytest.raises(RepositoryError, match=r"cannot be (opened|read)"):
        SqliteRegistry(path, writable=writable)
    assert not os.path.exists(path)


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("content", [b"", b"not a database " * 500, b"SQLite format 3\0" + b"\0" * 4000])
def test_something_else_is_refused(path, content, writable):
    Path(path).write_bytes(content)
    with pytest.raises(RepositoryError, match="registry"):
        SqliteRegistry(path, writable=writable)
    assert Path(path).read_bytes() == content


@pytest.mark.parametrize("create", [True, False])
def test_other_peoples_databases_are_left_alone(path, create):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(RepositoryError, match="not a registry"):
        SqliteRegistry(path, create=create)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    db.close()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match="cannot be"):
        SqliteRegistry(str(tmp_path), create=True)


@pytest.mark.parametrize(("version", "words"), [("4", "newer Bunter"), ("999999", "newer Bunter"), ("x", "no version")])
def test_other_versions_are_refused(path, registry, version, words):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE about SET value = ? WHERE name = 'version'", (version,))
    db.close()
    for writable in (True, False):
        with pytest.raises(RepositoryError, match=words):
            SqliteRegistry(path, writable=writable)


def test_a_path_can_hold_any_character(tmp_path):
    folder = tmp_path / "a b?c#d%41&é日本"
    folder.mkdir()
    path = str(folder / "r?mode=memory")
    made = SqliteRegistry(path, create=True)
    made.apply([Changes([dataset(one(1))])])
    made.close()
    assert os.path.getsize(path) > 0
    for writable in (True, False):
        again = SqliteRegistry(path, writable=writable)
        assert again.counts() == {"raw": 1}
        again.close()


# Damage


def test_damage_is_an_error_of_ours(path):
    """Bytes spoilt anywhere in the file are at the worst an error that a user understands."""
    made = SqliteRegistry(path, create=True, durable=False)
    news = [dataset(one(n, f"N{n % 7}"), written_by=f"by {n}") for n in range(200)]
    made.apply([Changes([*news, composite(one(1), [pin_of("raw", new, member=new.data_id) for new in news])])])
    made.close()
    whole = Path(path).read_bytes()
    chance = random.Random(7)
    refused = 0
    for _ in range(60):
        spoilt = bytearray(whole)
        place = chance.randrange(len(whole))
        spoilt[place : place + 40] = chance.randbytes(40)
        Path(path).write_bytes(spoilt[: len(whole)])
        try:
            registry = SqliteRegistry(path, durable=False)
            try:
                registry.find("raw", one(5, "N5"))
                registry.select("raw", {"ccd": "N1"})
                registry.pinned_by("raw", one(5, "N5"), None)
                list(registry.everything())
                registry.apply([Changes([dataset(one(100))])])
            finally:
                registry.close()
        except (BunterError, DatasetTaken):
            refused += 1
    assert refused > 5


LAYOUT = {"hdus": [[0, 2880, 0, "ab" * 16, "image"], [2880, 2880, 320, "cd" * 16, "image"]]}
ODD = ["NULL", "''", "'x'", "x'00ff'", "-1", "0", "1", "2", "77", "1e300", "9223372036854775807", "zeroblob(16)"]
SPOILT = [
    *(f"UPDATE pin SET {name} = {odd}" for odd in ODD for name in ("leaf", "leaf_type", "uuid", "part", "place")),
    *(f"UPDATE file SET layout = {odd}" for odd in (*ODD, "x'01000000'", "zeroblob(44)", "x'ffffffff' || layout")),
    *(
        f"UPDATE word SET text = {odd} WHERE text LIKE '%hdus%'"
        for odd in (*ODD, "'{}'", "'[\"%\"]'", '\'{"a":["#"]}\'')
    ),
    "UPDATE word SET text = printf('%s', replace(hex(zeroblob(50000)), '0', '[')) WHERE text LIKE '%hdus%'",
    "DELETE FROM word WHERE text LIKE '%hdus%'",
]


@pytest.mark.parametrize("statement", SPOILT)
def test_pins_and_layouts_that_make_no_sense(path, registry, statement):
    """What nobody can have written there is an error of ours wherever it is read, and never another dataset."""
    leaf, other = dataset(one(1), file=stored_file("leaf", layout=LAYOUT)), dataset(one(2))
    made = composite(one(1), [pin_of("a", leaf), pin_of("b", other, member=other.data_id)])
    registry.apply([Changes([leaf, other, made])])
    registry.close()
    with sqlite3.connect(path) as db:
        try:
            db.execute(statement)
        except sqlite3.IntegrityError:
            pytest.skip("the tables do not take it")
    db.close()
    opened = SqliteRegistry(path, durable=False)
    new = dataset(one(1), replaces=True)

    def found():
        record = opened.find("raw", one(1))
        assert record.uuid == leaf.uuid
        assert record.file.layout == LAYOUT or "layout" in statement or "word" in statement
        return record

    def replaced():
        opened.apply([Changes([new], repins=[("raw", new.data_id, new.uuid)])])
        return opened.purge(opened.trashed("raw", {}), force=True)

    for call in (
        found,
        lambda: opened.pins("calexp", made.uuid),
        lambda: opened.pinned_by("raw", one(1), leaf.uuid),
        lambda: opened.pinned_by("raw", one(1), None),
        lambda: opened.pinning(found()),
        lambda: opened.files_at(["leaf"]),
        lambda: list(opened.everything()),
        lambda: list(Audit(opened).contradictions()),
        lambda: [row for rows in Audit(opened).files() for row in rows],
        lambda: [row for rows in Audit(opened).pins() for row in rows],
        replaced,
        lambda: opened.pins("calexp", made.uuid),
    ):
        with contextlib.suppress(BunterError):
            call()
    opened.close()


def test_who_pins_what_is_found_by_indices(registry):
    """However many pins there are, and of whatever form."""
    leaf = dataset(one(1))
    registry.apply([Changes([leaf, composite(one(1), [pin_of("a", leaf)])])])
    connection = registry._connections.current().connection
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    (record,) = registry.select("raw", {})
    for uuid in (leaf.uuid, None):
        registry.pinned_by("raw", leaf.data_id, uuid)
    registry.pinning(record)
    new = dataset(one(1), replaces=True)
    registry.apply([Changes([new], repins=[("raw", new.data_id, new.uuid)])])
    registry.apply([Changes(trashed=[("raw", new.uuid)])])
    registry.purge(registry.trashed("raw", {}), force=True)
    connection.set_trace_callback(None)
    of_pins = [text for text in statements if " pin " in text and not text.startswith("INSERT")]
    assert len(of_pins) > 8
    for statement in of_pins:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not [step for step in steps if "SCAN" in step], (statement, steps)
        # The primary key begins with a type, of which there are many pins.
        assert not [step for step in steps if step.endswith("(type=?)")], (statement, steps)


def test_a_registry_that_goes_bad_while_it_is_open(path, registry):
    registry.apply([Changes([dataset(one(1))])])
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM word WHERE id > 0")
        db.execute("DROP TABLE implied")
    db.close()
    fresh = SqliteRegistry(path)
    with pytest.raises(IntegrityError, match="word"):
        fresh.find("raw", one(1))
    with pytest.raises(RepositoryError, match="no such table"):
        fresh.implied("filter", {"visit": 1})
    fresh.close()


# Reading only


def test_a_reader_cannot_write(path, registry):
    reader = SqliteRegistry(path, writable=False)
    with pytest.raises(RepositoryError, match="read-only"):
        reader.apply([Changes([dataset(one(1))])])
    with pytest.raises(RepositoryError, match="read-only"):
        reader.purge([])
    registry.apply([Changes([dataset(one(1))])])
    assert reader.counts() == {"raw": 1}
    reader.close()


def test_reading_leaves_nothing_behind(path):
    made = SqliteRegistry(path, create=True)
    made.apply([Changes([dataset(one(1))])])
    made.close()
    folder = os.path.dirname(path)
    before = os.listdir(folder), Path(path).read_bytes(), os.stat(path).st_mtime_ns
    reader = SqliteRegistry(path, writable=False)
    assert reader.counts() == {"raw": 1}
    reader.close()
    assert (os.listdir(folder), Path(path).read_bytes(), os.stat(path).st_mtime_ns) == before


@pytest.fixture
def shelf():
    """A folder that anybody may read, wherever the tests' own folders are."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o755)
    shutil.rmtree(folder)


AS_READER = """
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def test_a_folder_that_cannot_be_written(shelf):
    """The file is all there is; nobody can make the shared memory that a log needs."""
    path = shelf / "registry.sqlite"
    made = SqliteRegistry(str(path), create=True)
    made.apply([Changes([dataset(one(1))])])
    made.close()
    path.chmod(0o444)
    shelf.chmod(0o555)
    before = os.listdir(shelf)
    script = (
        AS_READER
        + """
registry = SqliteRegistry(sys.argv[1], writable=False)
print(registry.counts())
registry.begin_read()
print(registry.find("raw", one(1)).live)
registry.end_read()
try:
    SqliteRegistry(sys.argv[1])
except RepositoryError as error:
    print(error)
"""
    )
    lines = output(python(script, path)).splitlines()
    assert lines[:2] == ["{'raw': 1}", "True"]
    assert "cannot be opened" in lines[2] or "read-only" in lines[2]
    assert os.listdir(shelf) == before


def test_a_folder_that_only_others_can_write(shelf):
    """A reader that may not write sees what a writer adds after the reader has opened the file."""
    path = shelf / "registry.sqlite"
    made = SqliteRegistry(str(path), create=True)
    made.apply([Changes([dataset(one(1))])])
    made.close()
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    script = (
        AS_READER
        + """
registry = SqliteRegistry(sys.argv[1], writable=False)
for _ in range(3):
    print(registry.counts(), flush=True)
    sys.stdin.readline()
"""
    )
    code = PRELUDE + script
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    assert reader.stdout.readline() == "{'raw': 1}\n"
    writer = SqliteRegistry(str(path))
    writer.apply([Changes([dataset(one(2))])])
    reader.stdin.write("\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "{'raw': 2}\n"
    writer.apply([Changes([dataset(one(3))])])
    writer.close()
    reader.stdin.write("\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "{'raw': 3}\n"
    reader.communicate("\n", timeout=60)


def test_a_log_that_was_left_over_in_a_folder_that_cannot_be_written(shelf):
    """It is read from a copy, since nobody can read it as it is; nothing is left of that, nor done to the folder."""
    path = shelf / "registry.sqlite"
    made = SqliteRegistry(str(path), create=True)
    made.apply([Changes([dataset(one(1))])])
    left = shelf / "left"
    left.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", left)
        (left / f"registry.sqlite{suffix}").chmod(0o444)
    made.close()
    left.chmod(0o555)
    before = os.listdir(left)
    script = (
        """
import tempfile
tempfile.tempdir = sys.argv[2]
"""
        + AS_READER
        + """
registry = SqliteRegistry(sys.argv[1], writable=False)
print(registry.counts(), os.listdir(sys.argv[2]))
"""
    )
    copies = shelf / "copies"
    copies.mkdir(mode=0o777)
    copies.chmod(0o777)
    assert output(python(script, left / "registry.sqlite", copies)) == "{'raw': 1} []\n"
    assert os.listdir(left) == before
    copies.chmod(0o555)
    said = output(
        python(
            script.replace("registry =", "try:\n    registry =").replace("print(reg", "    print(reg")
            + "except RepositoryError as error:\n    print(error)\n",
            left / "registry.sqlite",
            copies,
        )
    )
    assert "not closed properly" in said
    assert "cannot be copied" in said
    left.chmod(0o755)
    reader = SqliteRegistry(str(left / "registry.sqlite"), writable=False)
    assert reader.counts() == {"raw": 1}
    reader.close()


# Processes and threads


def test_four_processes_at_once(path):
    """All make the registry, register their own, and race for what they share: nothing lost, one winner each."""
    script = """
path, number, go = sys.argv[1], int(sys.argv[2]), sys.argv[3]
while not os.path.exists(go):
    time.sleep(0.001)
registry = SqliteRegistry(path, create=True, durable=False)
for turn in range(25):
    own = dataset(one(turn, f"P{number}"), f"own{number % 2}", written_by=f"process {number} {turn}")
    shared = dataset(one(turn))
    try:
        registry.apply([Changes([own, shared], {("filter", (("visit", turn),)): "r"})])
        print("won", turn, shared.uuid)
    except DatasetTaken as taken:
        print("lost", turn, taken.existing.uuid)
        registry.apply([Changes([own])])
registry.close()
"""
    go = f"{path}.go"
    processes = [python(script, path, number, go) for number in range(4)]
    Path(go).touch()
    said = [line.split() for process in processes for line in output(process).splitlines()]
    assert len(said) == 100
    registry = SqliteRegistry(path)
    assert registry.counts() == {"own0": 50, "own1": 50, "raw": 25}
    for turn in range(25):
        here = [line for line in said if line[1] == str(turn)]
        assert sorted(line[0] for line in here) == ["lost", "lost", "lost", "won"]
        record = registry.find("raw", one(turn))
        assert record is not None
        assert {line[2] for line in here} == {str(record.uuid)}
        for number in range(4):
            mine = registry.find(f"own{number % 2}", one(turn, f"P{number}"))
            assert mine is not None
            assert mine.written_by == f"process {number} {turn}"
    registry.close()


def test_a_process_that_is_killed_leaves_no_half(path, registry):
    registry.apply([Changes([dataset(one(1))])])
    script = """
registry = SqliteRegistry(sys.argv[1])
from bunter.registry.writing import Writer
with registry.transaction() as handle:
    Writer(registry, handle.connection).changes(Changes([dataset(one(2)), dataset(one(1), "flat")]))
    print(registry.counts(), flush=True)
    os.kill(os.getpid(), 9)
"""
    process = python(script, path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -9
    assert out == "{'raw': 2, 'flat': 1}\n"
    assert registry.counts() == {"raw": 1}
    registry.apply([Changes([dataset(one(2))])])
    assert registry.counts() == {"raw": 2}


def test_a_writer_waits_for_another(path, registry):
    others = SqliteRegistry(path)
    entered = threading.Event()

    def slow() -> None:
        entered.set()
        time.sleep(0.2)

    thread = threading.Thread(target=lambda: others.apply([Changes([dataset(one(1))])], slow))
    thread.start()
    entered.wait()
    assert registry.counts() == {}
    registry.apply([Changes([dataset(one(2))])])
    assert registry.counts() == {"raw": 2}
    thread.join()
    others.close()


def test_a_forked_child_opens_its_own(path):
    """Parent and child both go on, whatever the parent had open in whichever thread; so does a grandchild."""
    script = """
import threading
registry = SqliteRegistry(sys.argv[1], create=True, durable=False)
registry.apply([Changes([dataset(one(0))])])
memory = SqliteRegistry(":memory:", create=True)
memory.apply([Changes([dataset(one(0))])])
looked, stop = threading.Event(), threading.Event()
def look():
    registry.counts()
    looked.set()
    stop.wait()
thread = threading.Thread(target=look)
thread.start()
looked.wait()
registry.begin_read()
registry.counts()
for number in range(3):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            registry.apply([Changes([dataset(one(number + 1))])])
            assert registry.counts()["raw"] == number + 2, registry.counts()
            assert memory.counts() == {"raw": 1}
            inner = os.fork()
            if inner == 0:
                os._exit(0 if registry.counts()["raw"] == number + 2 else 1)
            code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
            registry.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert registry.counts() == {"raw": 1}
registry.end_read()
assert registry.counts() == {"raw": 4}
stop.set()
thread.join()
registry.apply([Changes([dataset(one(9))])])
print(registry.counts())
"""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + script, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert output(process) == "{'raw': 5}\n"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in /proc")
def test_threads_take_their_connections_with_them(registry):
    registry.apply([Changes([dataset(one(1))])])

    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for _ in range(20):
        thread = threading.Thread(target=registry.counts)
        thread.start()
        thread.join()
    assert opened() <= before + 1
    registry.close()
    assert opened() < before


def test_closing_and_going_on(registry):
    registry.apply([Changes([dataset(one(1))])])
    registry.close()
    assert registry.counts() == {"raw": 1}
    registry.close()
    registry.close()


def test_in_memory_it_is_one_for_all_threads():
    registry = SqliteRegistry(":memory:", create=True)
    thread = threading.Thread(target=lambda: registry.apply([Changes([dataset(one(1))])]))
    thread.start()
    thread.join()
    assert registry.counts() == {"raw": 1}
    registry.close()
    with pytest.raises(RepositoryError, match="closed"):
        registry.counts()


# Transactions


def test_writing_while_reading_one_state_is_refused(registry):
    """What was read would be out of date; the state that is read stays."""
    registry.begin_read()
    with pytest.raises(RepositoryError, match="transaction"):
        registry.apply([Changes([dataset(one(1))])])
    registry.end_read()
    registry.apply([Changes([dataset(one(1))])])
    assert registry.counts() == {"raw": 1}


def test_an_interrupt_undoes_all(registry):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.apply([Changes([dataset(one(1))])], interrupt)
    new = dataset(one(2))
    new.written_at = object()  # type: ignore[assignment]
    with pytest.raises(RepositoryError, match="cannot be written"):
        registry.apply([Changes([dataset(one(1)), new])])
    assert registry.counts() == {}
    registry.apply([Changes([dataset(one(1))])])
    assert registry.counts() == {"raw": 1}


def test_a_full_disk_undoes_all(path, registry):
    registry.apply([Changes([dataset(one(1))])])
    with registry.transaction() as handle:
        pages = handle.connection.execute("PRAGMA page_count").fetchone()[0]
        handle.connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    news = [dataset(one(n), written_by="x" * 3000 + str(n)) for n in range(2, 20)]
    with pytest.raises(RepositoryError, match="full"):
        registry.apply([Changes(news)])
    assert registry.counts() == {"raw": 1}


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 0)])
def test_durability(path, durable, synchronous):
    registry = SqliteRegistry(path, create=True, durable=durable)
    with registry.transaction() as handle:
        assert handle.connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert handle.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    registry.close()


def test_a_refused_path_frees_its_number(registry):
    """A file of a change that failed leaves no row behind."""
    registry.apply([Changes([dataset(one(1))])])
    with pytest.raises(DatasetTaken):
        registry.apply([Changes([dataset(one(2), file=stored_file("a")), dataset(one(1), file=stored_file("b"))])])
    new = dataset(one(2), file=stored_file("b"))
    registry.apply([Changes([new])])
    assert [record.uuid for record in registry.datasets_of_file("b")] == [new.uuid]
    assert registry.datasets_of_file("a") == []


def test_files_are_as_private_as_the_user_says(path):
    before = os.umask(0o077)
    try:
        SqliteRegistry(path, create=True).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0


def test_many_datasets_at_once(registry):
    """Ingest records thousands in one transaction; look-ups by data ID, UUID and file stay quick."""
    news = [dataset(one(n // 60, f"N{n % 60}"), file=stored_file(f"f/{n}")) for n in range(3000)]
    registry.apply([Changes(news)])
    assert registry.counts() == {"raw": 3000}
    start = time.perf_counter()
    for new in news[::30]:
        record = registry.find("raw", new.data_id)
        assert record is not None
        assert record.uuid == new.uuid
        assert registry.by_uuid("raw", new.uuid) == record
        assert registry.datasets_of_file(new.file.path) == [record]
    assert time.perf_counter() - start < 1.0
    assert registry.by_uuid("raw", uuid4()) is None
