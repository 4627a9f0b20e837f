"""Repositories that somebody else has prepared: nothing of theirs runs, nothing outside of the root is read or written."""

# ruff: noqa: E501, PT012 - what is spoiled is easier to see in one line each
from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bunter import Butler, RepositoryArgs
from bunter.errors import BunterError, DefinitionError, IntegrityError, RepositoryError, TrustError

POLICY = """
datasets:
  one: {python: dict, storage: Json, template: "one/{v:d}.json"}
  two: {python: dict, storage: Json, template: "two/{v:d}/{s}.json"}
  pair: {composite: {one: one, two: two}}
"""


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("BUNTER_CONFIG", str(tmp_path / "configuration"))


class Theirs:
    """A repository with two datasets, which the tests then spoil."""

    def __init__(self, folder: Path, made: Path) -> None:
        self.folder = folder
        self.root = folder / "theirs"
        self.secret = folder / "secret.json"
        self.secret.write_text('{"n": 0}\n')
        shutil.copytree(made, self.root)

    def sql(self, *statements: str) -> None:
        with sqlite3.connect(self.root / "registry.sqlite") as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    def survives(self) -> dict[str, str]:
        """Do what somebody does who opens it; return the kinds of the errors, which must be Bunter's."""
        calls: dict[str, Callable[[Butler], Any]] = {
            "get": lambda butler: butler.get("one", v=1),
            "pair": lambda butler: butler.get("pair", v=1, s="a"),
            "exists": lambda butler: butler.exists("one", v=1),
            "plan": lambda butler: str(butler.plan("pair", v=1, s="a")),
            "query": lambda butler: [ref.get() for ref in butler.query("one")],
            "where": lambda butler: list(butler.query("two", where="v > 0 and s <> 'b'")),
            "missing": lambda butler: butler.get("two", v=1),
            "copy": lambda butler: butler.copy_to(self.folder / "copy", ["one", "two"], v=1),
        }
        found = {}
        try:
            butler = Butler(self.root)
        except BunterError as error:
            return {"open": type(error).__name__}
        with butler:
            for name, call in calls.items():
                try:
                    call(butler)
                except BunterError as error:
                    found[name] = type(error).__name__
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "theirs"
    with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
        butler.put({"n": 1}, "one", v=1)
        butler.put({"n": 2}, "two", v=1, s="a")
    return root


@pytest.fixture
def theirs(tmp_path, made):
    return Theirs(tmp_path, made)


def test_it_is_sound_as_it_is(theirs):
    assert theirs.survives() == {"missing": "DataIdError"}


@pytest.mark.parametrize("owned", [0, 1])
@pytest.mark.parametrize(
    "path", ["{secret}", "../secret.json", "one/../../secret.json", "link.json", "folder/secret.json", "//{secret}"]
)
def test_rows_that_point_outside(theirs, path, owned):
    (theirs.root / "link.json").symlink_to(theirs.secret)
    (theirs.root / "folder").symlink_to(theirs.folder)
    path = path.format(secret=theirs.secret)
    theirs.sql(f"UPDATE file SET path = '{path}', owned = {owned}, size = 9, checksum = NULL WHERE path = 'one/1.json'")
    with Butler(theirs.root) as butler, pytest.raises((TrustError, IntegrityError), match="outside"):
        butler.get("one", v=1)
    with Butler(outputs=theirs.root) as butler, pytest.raises(BunterError):
        butler.put({"n": 1}, "one", v=1)
        butler.ingest("one", str(theirs.secret), data_id={"v": 1})
    with (
        Butler(inputs=theirs.root, outputs=theirs.folder / "mine") as butler,
        pytest.raises((TrustError, IntegrityError)),
    ):
        butler.put(butler.get("one", v=1), "one", v=2)
    assert theirs.secret.read_text() == '{"n": 0}\n'


@pytest.mark.parametrize("path", ["{secret}", "../secret.json", "folder/secret.json"])
def test_nothing_outside_is_removed(theirs, path):
    (theirs.root / "folder").symlink_to(theirs.folder)
    theirs.sql(f"UPDATE file SET path = '{path.format(secret=theirs.secret)}' WHERE path = 'one/1.json'")
    with Butler(outputs=theirs.root) as butler:
        butler.delete("one", v=1)
        with pytest.raises((TrustError, IntegrityError), match="outside"):
            butler.purge()
    assert theirs.secret.exists()


def test_a_folder_that_became_a_link_is_not_written(theirs):
    outside = theirs.folder / "outside"
    outside.mkdir()
    shutil.rmtree(theirs.root / "two")
    (theirs.root / "two").symlink_to(outside)
    with Butler(outputs=theirs.root) as butler:
        with pytest.raises(TrustError, match="nothing was written"):
            butler.put({"n": 3}, "two", v=3, s="c")
        with pytest.raises(TrustError, match="nothing was written"):
            butler.ingest("two", str(theirs.secret), data_id={"v": 3, "s": "c"}, mode="copy")
    assert not list(outside.iterdir())
    # Whoever has put the link there himself says so.
    with Butler(outputs=theirs.root, trust_paths=[outside]) as butler:
        butler.put({"n": 3}, "two", v=3, s="c")
        assert butler.get("two", v=3, s="c") == {"n": 3}
    assert (outside / "3" / "c.json").is_file()


def test_a_path_of_theirs_makes_no_file_elsewhere(theirs):
    # Copied into an output of ours, a file keeps its path: one that is absolute or climbs would land elsewhere.
    for path in (str(theirs.folder / "planted.json"), "../planted.json"):
        theirs.sql(f"UPDATE file SET path = '{path}', owned = 1 WHERE path_key = (SELECT min(path_key) FROM file)")
        mine = RepositoryArgs(theirs.folder / "mine", policy={})
        with Butler(inputs=theirs.root, outputs=mine) as butler:
            for data_id in ({"v": 1, "s": "a"}, {"v": 1, "s": "b"}):
                with pytest.raises(BunterError):
                    butler.put(butler.get("pair", data_id), "pair", data_id, self_contained=True)
    assert not (theirs.folder / "planted.json").exists()


@pytest.mark.parametrize("name", ["bunter.yaml", "policy.yaml", "registry.sqlite", "registry.sqlite-wal"])
def test_own_files_that_are_links(theirs, name):
    place = theirs.root / name
    if place.exists():
        shutil.move(place, theirs.folder / name)
    else:
        (theirs.folder / name).write_bytes(b"precious")
    place.symlink_to(theirs.folder / name)
    for open_it in (lambda: Butler(theirs.root), lambda: Butler(outputs=theirs.root)):
        with pytest.raises(TrustError, match=f"{name} is a link"):
            open_it()
    if name.endswith("wal"):
        assert (theirs.folder / name).read_bytes() == b"precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["bunter.yaml", "policy.yaml", "more.yaml", "one/1.json"])
def test_pipes_are_not_waited_for(theirs, name):
    place = theirs.root / name
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    if name == "more.yaml":
        (theirs.root / "policy.yaml").write_text("include: [more.yaml]\n")
    refused = pytest.raises((RepositoryError, DefinitionError, IntegrityError), match="not a file")
    with refused, Butler(theirs.root) as butler:
        butler.get("one", v=1)


@pytest.mark.parametrize(
    "parents",
    [
        "[{path: ., id: ID}]",
        "[{path: ../theirs, id: ID}]",
        "[{path: ../../../../../../../../../../etc, id: ID}]",
        "[{path: 'http://example.org/x', id: ID}]",
        '[{path: "a\\0b", id: ID}]',
        "[{path: 5, id: ID}]",
        "[{path: x}]",
        "[x]",
        "{path: x, id: ID}",
        "5",
        "[{path: ., id: 5}]",
        "[{path: nowhere, absolute: [x], id: ID}]",
        '[{path: nowhere, absolute: "/a\\0b", id: ID}]',
        f"[{', '.join(['{path: nowhere, id: ID}'] * 1000)}]",
    ],
)
def test_parents_that_make_no_sense(theirs, parents):
    place = theirs.root / "bunter.yaml"
    id_ = next(line.split()[1] for line in place.read_text().splitlines() if line.startswith("id:"))
    place.write_text(f"layout: 1\nid: {id_}\nparents: {parents.replace('ID', id_)}\n")
    with pytest.raises(RepositoryError):
        Butler(theirs.root)


@pytest.mark.parametrize(
    "description",
    [
        "", "x", "[]", "layout: 1", "layout: x\nid: y", "layout: 1\nid: 5", "layout: 99999999999999999999\nid: x", "&a [*a]",
        "layout: !!python/object:os.system 1\nid: x", "layout: 1\n" * 2, "layout: 1\nid: ID\nfolders: 5", "layout: 1\nid: ID\nfolders: [5]",
        "layout: 1\nid: ID\nfolders: {a: b}", "layout: 1\nid: [ID]", "layout: true\nid: ID\nparents: x", "\0", "- " * 100_000,
    ],
)  # fmt: skip
def test_descriptions_that_make_no_sense(theirs, description):
    (theirs.root / "bunter.yaml").write_text(description.replace("ID", "12345678-1234-5678-1234-567812345678"))
    with pytest.raises(RepositoryError):
        Butler(theirs.root)


def test_listed_folders_need_a_signature_of_ours(theirs):
    place = theirs.root / "bunter.yaml"
    text = place.read_text()
    theirs.sql(
        f"UPDATE file SET path = '{theirs.secret}', owned = 0, size = 9, checksum = NULL WHERE path = 'one/1.json'"
    )
    for signature in (
        "",
        "signature: ''",
        "signature: 00",
        f"signature: {'0' * 64}",
        "signature: [x]",
        "signature: é",
        "signature: 5",
    ):
        place.write_text(f"{text}folders: ['{theirs.folder}']\n{signature}\n")
        with Butler(theirs.root) as butler, pytest.raises(TrustError):
            butler.get("one", v=1)
    place.write_text(f"{text}folders: ['/']\n")
    with Butler(outputs=theirs.root) as butler, pytest.raises(TrustError):
        butler.ingest("one", str(theirs.secret), data_id={"v": 5})


SCHEMAS = [
    "CREATE VIEW extra AS SELECT 1",
    "CREATE TRIGGER extra AFTER INSERT ON file BEGIN DELETE FROM word; END",
    "CREATE TABLE extra (a, b AS (zeroblob(1000000000)))",
    "CREATE TABLE extra (a, b GENERATED ALWAYS AS (a || a) STORED)",
    "CREATE TABLE extra (a DEFAULT (random()))",
    "CREATE TABLE extra (a CHECK (a > 0))",
]


@pytest.mark.parametrize("statement", SCHEMAS)
def test_schemas_that_do_something(theirs, statement):
    theirs.sql(statement)
    for open_it in (lambda: Butler(theirs.root), lambda: Butler(outputs=theirs.root)):
        with pytest.raises(RepositoryError, match="not a registry of Bunter's making"):
            open_it()


def test_a_view_in_the_place_of_a_table(theirs):
    theirs.sql(
        "ALTER TABLE about RENAME TO elsewhere",
        "CREATE VIEW about AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS name, i AS value FROM n",
    )
    with pytest.raises(RepositoryError, match="the view 'about'"):
        Butler(theirs.root)


def _changed(table: str, column: str, values: list[str]) -> list[str]:
    return [f"UPDATE {table} SET {column} = {value}" for value in values]


DEEP = "printf('%s', replace(hex(zeroblob(50000)), '0', '['))"
ODD = ["NULL", "''", "'x'", "x'00ff'", "-1", "9223372036854775807", "1e300", "'[]'", "'{}'", DEEP]
ROWS = [
    *_changed("file", "size", ODD),
    *_changed("file", "layout", [*ODD, "'5'", "'{\"hdus\": [[1]]}'"]),
    *_changed("file", "checksum", ODD),
    *_changed("file", "modified", ODD),
    *_changed("file", "path", [*ODD, "'one/1.json' || char(0)", "printf('%.*c', 5000, 'x')"]),
    *_changed("file", "owned", ODD),
    *_changed("dataset_type", "keys", [*ODD, '\'{"v": "int"}\'', '\'{"v) --": "int"}\'', '\'{"v": "blob"}\'', "'[1]'"]),
    *_changed("dataset_type", "name", ["hex(randomblob(8))", "x'ff' || id", "'../..' || id"]),
    "UPDATE dataset_type SET id = id + 50",
    *_changed("d1", "uuid", ["x'00'", "randomblob(16)", "'0123456789abcdef'"]),
    *_changed("d1", "part", ["7", "'x'", "-5"]),
    *_changed("d1", "live", ["'x'", "-9223372036854775808", "2", "0.5"]),
    *_changed("d1", "writing", ["99", "'x'", "-1", "0", "x'00'"]),
    *_changed("d1", "written_by", ["99", "'x'"]),
    *_changed("d1", "written_at", ["'x'", "-9223372036854775808", "x'ff'"]),
    *_changed("d1", "k_v", ["'x'", "x'ff'", "0.5"]),
    *_changed("d2", "k_s", ["x'ff'", "CAST(x'ff' AS TEXT)", "'../..'", "char(0)", "''"]),
    *_changed("d1", "file", ["99", "-1", "'x'", "NULL"]),
    *_changed("d1", "metadata", ["'x'", "'[]'", "5", DEEP]),
    *(
        f"UPDATE word SET text = {value} WHERE id = 1"
        for value in (*ODD, "x'ff'", "'[1, 2]'", "'[null, null, null, null]'")
    ),
    "UPDATE word SET text = '[\"Pickle\", null, null, null]'",
    'UPDATE word SET text = \'["Nothing", "os.system", "{}", null]\'',
    'UPDATE word SET text = \'["Json", "builtins.eval", null, null]\'',
    'UPDATE word SET text = \'["Json", "subprocess.Popen", "[1]", null]\'',
    'UPDATE word SET text = \'["Fits", null, "{\\"x\\": {\\"nothing\\": 1}}", null]\'',
    "DELETE FROM word",
    "DELETE FROM about",
    "UPDATE about SET value = printf('%.*c', 6000, '9')",
    "UPDATE about SET value = '²'",
    "UPDATE about SET value = x'ff'",
    "DROP TABLE file",
    "DROP TABLE d1",
    "DROP TABLE pin",
    "DROP INDEX d1_live",
    "ALTER TABLE d1 RENAME COLUMN k_v TO k_w",
    "ALTER TABLE file DROP COLUMN layout",
]


@pytest.mark.parametrize("statement", ROWS)
def test_rows_that_make_no_sense(theirs, statement):
    try:
        theirs.sql(statement)
    except sqlite3.Error:
        return
    for kind in theirs.survives().values():
        assert kind != "BunterError"
    assert not (theirs.folder / "copy" / ".." / ".." / "x").exists()


def test_registries_that_are_none(theirs):
    place = theirs.root / "registry.sqlite"
    good = place.read_bytes()
    for content in (
        b"",
        b"x" * 100,
        b"SQLite format 3\0" + bytes(5000),
        good[:1000],
        good[:5000],
        bytes(len(good)),
        good[:100] + bytes(len(good) - 100),
    ):
        place.write_bytes(content)
        assert set(theirs.survives()) & {"open", "get", "query"}


def test_flipped_bytes_in_a_registry(theirs):
    place = theirs.root / "registry.sqlite"
    good = place.read_bytes()
    for at in range(0, len(good), len(good) // 40):
        data = bytearray(good)
        data[at] ^= 1 << at % 8
        place.write_bytes(data)
        theirs.survives()


HOSTILE_POLICIES = {
    "assembler": "pair: {composite: {one: one, two: two}, assembler: os.system}",
    "standardize": "pair: {composite: {one: one, two: two}, standardize: subprocess.call}",
    "derived": "pair: {composite: {one: one, two: two}, derived: {x: {from: [one], with: builtins.eval}}}",
    "python": "pair: {composite: {one: one, two: two}, python: subprocess.Popen}",
    "own": "pair: {composite: {one: one, two: two}, python: bunter.repository.write_description}",
    "own module": "pair: {composite: {one: one, two: two}, python: bunter.trust.os.system}",
    "setter": "pair: {composite: {one: {datasetType: one, setter: __init__}, two: two}, python: bunter.Exposure}",
    "plain": "pair: {composite: {one: one, two: two}, python: builtins.compile}",
}


@pytest.mark.parametrize("case", HOSTILE_POLICIES)
def test_policies_that_name_code(theirs, case, monkeypatch):
    called = []
    monkeypatch.setattr("os.system", lambda *a: called.append(a))
    monkeypatch.setattr("subprocess.call", lambda *a: called.append(a))
    datasets = "\n".join(f"  {line.strip()}" for line in POLICY.strip().splitlines()[1:3])
    (theirs.root / "policy.yaml").write_text(f"datasets:\n{datasets}\n  {HOSTILE_POLICIES[case]}\n")
    with pytest.raises(BunterError), Butler(theirs.root) as butler:
        butler.get("pair.x" if case == "derived" else "pair", v=1, s="a")
    assert not called


def test_a_policy_includes_nothing_from_outside(theirs):
    (theirs.folder / "outside.yaml").write_text("datasets: {secret: {storage: Json, template: 'x/{v:d}.json'}}\n")
    (theirs.root / "link.yaml").symlink_to(theirs.folder / "outside.yaml")
    (theirs.root / "ring.yaml").write_text("include: [policy.yaml]\n")
    for included in (
        "../outside.yaml",
        str(theirs.folder / "outside.yaml"),
        "link.yaml",
        "ring.yaml",
        "nowhere.yaml",
        ".",
        '"a\\0b"',
        "/dev/zero",
    ):
        (theirs.root / "policy.yaml").write_text(f"include: [{included}]\n")
        with pytest.raises(DefinitionError):
            Butler(theirs.root)


def test_pickles_of_theirs_are_not_read(theirs):
    (theirs.root / "policy.yaml").write_text(POLICY + '  three: {storage: Pickle, template: "three/{v:d}.pickle"}\n')
    writing = json.dumps(["Pickle", None, None, None])
    theirs.sql(f"UPDATE word SET text = '{writing}' WHERE text LIKE '[%'")
    with Butler(theirs.root) as butler, pytest.raises(TrustError):
        butler.get("one", v=1)
