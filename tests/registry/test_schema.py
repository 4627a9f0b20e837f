from __future__ import annotations

import sqlite3

import pytest

from bunter.registry.hashing import canonical, leaf_hash, path_hash
from bunter.registry.schema import SHARED_TABLES, VERSION, Table, column, dataset_table


def made(kinds: dict[str, str]) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    for statement in [*SHARED_TABLES, *dataset_table(1, kinds)]:
        db.execute(statement)
    return db


# Hashes are stored: a registry of today is read by the Bunter of tomorrow.


@pytest.mark.parametrize(
    ("type_", "data_id", "value"),
    [
        ("calexp:sfm", {"visit": 431608, "ccd": "N3"}, -8994418895110238503),
        ("camera", {}, 3010184872719284301),
        ("é", {"name": "日本", "x": 0.1, "n": -(2**63)}, 6796582949338486130),
    ],
)
def test_the_hash_of_a_leaf_never_changes(type_, data_id, value):
    assert leaf_hash(type_, data_id) == value
    assert leaf_hash(type_, dict(reversed(data_id.items()))) == value
    assert -(2**63) <= value < 2**63


def test_the_hash_of_a_leaf_tells_apart_what_differs():
    leaves = [
        ("a", {"x": 1}),
        ("a", {"x": "1"}),
        ("a", {"x": 1.5}),
        ("a", {"y": 1}),
        ("a", {}),
        ("b", {"x": 1}),
        ("a", {"x": 1, "y": 1}),
        ('a {"x":1}', {}),
    ]
    assert len({leaf_hash(*leaf) for leaf in leaves}) == len(leaves)


@pytest.mark.parametrize(
    ("path", "owned", "value"),
    [
        ("sfm/1/calexp-N3.fits", True, 4435681388434529717),
        ("sfm/1/calexp-N3.fits", False, 3380170131675168323),
        ("é/日本", True, -5797480752862268843),
    ],
)
def test_the_hash_of_a_path_never_changes(path, owned, value):
    assert path_hash(path, owned) == value


def test_paths_that_are_not_text_have_a_hash():
    assert path_hash("a\udcff", False) != path_hash("a\udcfe", False)


def test_canonical_data_ids_are_sorted_and_plain():
    assert canonical({"b": 'é"', "a": 1, "c": 0.1}) == '{"a":1,"b":"é\\"","c":0.1}'


# Tables


def test_the_version_is_a_number():
    assert VERSION == 3


@pytest.mark.parametrize("kinds", [{}, {"visit": "int"}, {"order": "str", "group": "float", "select": "int"}])
def test_the_statements_of_a_type_are_sql(kinds):
    db = made(kinds)
    table = Table(1, "raw", kinds)
    assert table.keys == tuple(kinds)
    values = tuple({"int": 1, "str": "a", "float": 1.5}[kind] for kind in kinds.values())
    assert db.execute(table.find, (*values, 0)).fetchall() == []
    assert db.execute(table.by_uuid, (b"", 0)).fetchall() == []
    assert len(db.execute(table.select).description) == 12 + len(kinds)
    db.close()


def test_columns_have_the_types_of_the_keys():
    db = made({"visit": "int", "ccd": "str", "mjd": "float"})
    types = {name: type_ for _, name, type_, *_ in db.execute("PRAGMA table_info(d1)")}
    assert (types["k_visit"], types["k_ccd"], types["k_mjd"]) == ("INTEGER", "TEXT", "REAL")
    db.close()


@pytest.mark.parametrize("query", ["find", "by_uuid"])
def test_lookups_use_an_index(query):
    db = made({"visit": "int", "ccd": "str"})
    table = Table(1, "raw", {"visit": "int", "ccd": "str"})
    values = (1, "a", 0) if query == "find" else (b"", 0)
    steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {getattr(table, query)}", values)]
    assert not [step for step in steps if step.startswith("SCAN")], steps
    db.close()


def test_only_one_live_dataset_has_a_data_id():
    db = made({"visit": "int"})
    insert = "INSERT INTO d1 (k_visit, part, live, uuid, writing, written_at, written_by) VALUES (1, ?, ?, ?, 0, 0, 0)"
    db.execute(insert, (0, 1, b"a"))
    db.execute(insert, (0, 0, b"b"))
    db.execute(insert, (0, 0, b"c"))
    db.execute(insert, (7, 1, b"a"))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(insert, (0, 1, b"d"))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(insert, (0, 0, b"a"))
    db.close()


@pytest.mark.parametrize("key", ['a"b', "a b", "1a", "", "a;", "a-b"])
def test_a_column_is_made_of_identifiers_only(key):
    with pytest.raises(ValueError, match="identifier"):
        column(key)
