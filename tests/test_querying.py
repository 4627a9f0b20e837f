"""What a query finds is what can be read: relations, and the finder against asking for every data ID there could be."""

from __future__ import annotations

import random
from itertools import product
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.context import Context
from bunter.dataid import DataId
from bunter.definitions import load
from bunter.errors import DataIdError
from bunter.names import DatasetName
from bunter.plan import Gather, MissingKeysError
from bunter.querying import Relation, ordered
from bunter.reading import Opener
from bunter.registry.interface import Changes, NewDataset, Writing
from bunter.repository import Chain, Opened, Overlay
from bunter.trust import Importer

# Relations


def relations(keys=("a", "b", "c")):
    def rows(chosen):
        row = st.tuples(*(st.integers(0, 2) for _ in chosen))
        return st.sets(row, max_size=8).map(lambda found: Relation(tuple(chosen), found))

    return st.lists(st.sampled_from(keys), unique=True, max_size=len(keys)).flatmap(rows)


def as_sets(relation):
    return {frozenset(zip(relation.keys, row, strict=True)) for row in relation.rows}


@settings(max_examples=60, deadline=None)
@given(relations(), relations())
def test_a_join_is_every_pair_that_agrees(left, right):
    expected = {
        frozenset((dict(a) | dict(b)).items())
        for a in as_sets(left)
        for b in as_sets(right)
        if all(dict(a)[key] == dict(b)[key] for key in dict(a).keys() & dict(b).keys())
    }
    joined = left.join(right)
    assert as_sets(joined) == expected
    assert set(joined.keys) == {*left.keys, *right.keys}
    assert len(joined.keys) == len(set(joined.keys))
    assert as_sets(right.join(left)) == expected


@settings(max_examples=40, deadline=None)
@given(relations(), st.data())
def test_projections_and_constraints(relation, data):
    keys = data.draw(st.permutations(relation.keys).map(lambda found: found[: len(found) // 2 + 1]))
    projected = relation.project(keys)
    assert as_sets(projected) == {frozenset((k, v) for k, v in row if k in keys) for row in as_sets(relation)}
    constraints = data.draw(st.dictionaries(st.sampled_from("abcx"), st.integers(0, 2), max_size=2))
    expected = {row for row in as_sets(relation) if all(dict(row).get(k, v) == v for k, v in constraints.items())}
    assert as_sets(relation.where(constraints)) == expected


def test_relations_without_keys():
    nothing, one = Relation((), set()), Relation((), {()})
    other = Relation(("a",), {(1,), (2,)})
    assert other.join(one).rows == one.join(other).rows == other.rows
    assert other.join(nothing).rows == set()
    assert other.project(()).rows == {()}
    assert Relation(("a",), set()).project(()).rows == set()


def test_order():
    relation = Relation(("a", "b"), {(2, "x"), (10, "y"), (1, "y"), (1, "B")})
    assert [tuple(d.values()) for d in ordered(relation).data_ids()] == [(1, "B"), (1, "y"), (2, "x"), (10, "y")]
    by_b = [tuple(d.values()) for d in ordered(relation, [("b", True), ("a", False)]).data_ids()]
    assert by_b == [(1, "y"), (10, "y"), (2, "x"), (1, "B")]
    assert all(isinstance(data_id, DataId) and list(data_id) == ["a", "b"] for data_id in ordered(relation).data_ids())


def test_rows_as_a_registry_lists_them_are_ordered_alike():
    rows = [(2, "x"), (10, "y"), (1, "y"), (1, "B")]
    given = list(rows)
    relation = Relation(("a", "b"), set(rows), given)
    for order_by in ([], [("b", True), ("a", False)]):
        assert ordered(relation, order_by) == ordered(Relation(("a", "b"), set(rows)), order_by)
    found = ordered(relation)
    del found.rows[1:]
    assert given == rows
    assert relation == Relation(("a", "b"), set(rows))


# The finder

POLICY = """
datasets:
  raw: {python: dict, storage: Json, template: "raw/{visit:d}/{ccd}.json"}
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  warp: {python: dict, storage: Json, template: "warp/{visit:d}/{tract:d}.json"}
  camera: {python: dict, storage: Json, template: "camera.json"}
  pair: {composite: {raw: raw, info: info}}
  three: {composite: {raw: raw, info: info, warp: warp, camera: camera}}
  perhaps: {composite: {raw: raw, info: {datasetType: info, optional: true}}}
  twice: {composite: {now: raw, before: {datasetType: raw, dataId: {visit: "{ref}"}}}}
  fixed: {composite: {raw: raw, info: {datasetType: info, dataId: {visit: 1}}}}
  nested: {composite: {inner: pair, warp: warp}}
  part: {composite: {info: pair.info, raw: raw}}
  based: {base: pair, composite: {info: {datasetType: info, dataId: {visit: "{ref}"}}}}
  of_visit: {keys: [visit], composite: {all: {datasetType: raw, subset: true}}}
  beside: {composite: {info: info, all: {datasetType: raw, subset: true}}}
  deep: {composite: {info: info, all: {datasetType: pair, subset: true}}}
  one_visit: {partOf: raw, dataId: {visit: 1}}
  renamed_part: {partOf: pair.raw}
keys: {ref: int}
"""
DOMAIN = {"visit": [1, 2, 3], "ccd": ["a", "b"], "tract": [0, 1], "ref": [1, 2, 3]}
NAMES = (
    "raw", "info", "warp", "camera", "pair", "pair.info", "three", "three.warp", "perhaps", "twice", "twice.before",
    "fixed", "nested", "nested.inner", "nested.inner.raw", "part", "based", "of_visit", "beside", "deep", "one_visit",
    "renamed_part",
)  # fmt: skip
KEYS = {"raw": ("visit", "ccd"), "info": ("visit",), "warp": ("visit", "tract"), "camera": ()}


def new(definitions, type_, values):
    data_id = DataId(zip(KEYS[type_], values, strict=True))
    kinds = {key: definitions.key_types[key] for key in KEYS[type_]}
    return NewDataset(type_, kinds, data_id, uuid4(), None, Writing("Json", "dict"), 0, "")


def filled(folder, seed, share=0.55):
    """Return the context of a repository and its parent that hold some of what there could be."""
    chance = random.Random(seed)
    opened = Opened(durable=False)
    parent = opened.make(str(folder / "parent"), [], load(POLICY, trusted=True))
    child = opened.make(str(folder / "child"), [parent], None)
    for repository, fraction in ((parent, share), (child, share / 2)):
        rows = [
            new(repository.definitions, type_, values)
            for type_, keys in KEYS.items()
            for values in product(*(DOMAIN[key] for key in keys))
            if chance.random() < fraction
        ]
        repository.registry.apply([Changes(rows)])
        gone = [row for row in rows if chance.random() < 0.2]
        repository.registry.apply([Changes(trashed=[(row.type, row.uuid) for row in gone])])
    return opened, Context(Chain([child]), child.definitions, None, Opener(Importer()), first=False)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_found_is_what_can_be_read(tmp_path, seed):
    opened, context = filled(tmp_path, seed, (0.3, 0.55, 0.8)[seed % 3])
    found_some = 0
    for text in NAMES:
        name = DatasetName.parse(text)
        keys = context.planner.keys(name)
        relation = context.finder.relation(name, {})
        expected = {
            values
            for values in product(*(DOMAIN[key] for key in keys))
            if context.is_whole(name, dict(zip(keys, values, strict=True)))
        }
        assert set(relation.keys) >= set(keys), text
        assert relation.project(keys).rows == expected, text
        found_some += bool(expected)
        for key in keys:
            for value in DOMAIN[key]:
                constrained = context.finder.relation(name, {key: value}).where({key: value}).project(keys)
                assert constrained.rows == {row for row in expected if row[keys.index(key)] == value}, (text, key)
    assert found_some > 4
    opened.close()


def test_an_empty_repository(tmp_path):
    opened, context = filled(tmp_path, 0, 0.0)
    for text in NAMES:
        assert context.finder.relation(DatasetName.parse(text), {}).rows == set(), text
    opened.close()


def test_the_members_of_a_list(tmp_path):
    opened, context = filled(tmp_path, 1)
    everything = context.finder.members(Gather(DatasetName.parse("raw"), DataId(), DataId()))
    assert everything == sorted(everything, key=lambda data_id: tuple(data_id.values()))
    assert len(everything) == len(set(everything)) > 1
    visit = everything[0]["visit"]
    some = context.finder.members(Gather(DatasetName.parse("raw"), DataId(visit=visit), DataId()))
    assert some == [data_id for data_id in everything if data_id["visit"] == visit]
    assert context.finder.members(Gather(DatasetName.parse("raw"), DataId(visit=99), DataId())) == []
    assert context.finder.members(Gather(DatasetName.parse("raw"), DataId(), DataId(ccd="zz"))) == []
    opened.close()


def test_what_a_transaction_has_deleted_is_not_found(tmp_path):
    """In the output, that is: what a parent holds comes to light again."""
    opened, outer = filled(tmp_path, 2, 0.9)
    child, parent = outer.chain.order
    overlay = Overlay(child)
    context = Context(Chain([overlay]), child.definitions, child, outer.opener, first=False)
    in_parent = {record.data_id["visit"] for record in parent.registry.select("info", {})}
    for record in child.registry.select("info", {}):
        context.chain.hidden.add(record.uuid)
    assert child.registry.counts()["info"] > 0
    assert context.finder.relation(DatasetName.parse("info"), {}).rows == {(visit,) for visit in in_parent}
    found = context.finder.relation(DatasetName.parse("pair"), {})
    assert {row[found.keys.index("visit")] for row in found.rows} <= in_parent
    overlay.registry.close()
    opened.close()


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_listed_once(tmp_path, seed):
    opened, context = filled(tmp_path, seed)
    for text in NAMES:
        relation = context.finder.relation(DatasetName.parse(text), {})
        assert relation.listed is None or sorted(relation.listed) == sorted(relation.rows), text
    opened.close()


def test_an_incomplete_data_id_lists_the_values_there_are(tmp_path):
    opened, context = filled(tmp_path, 3, 1.0)
    with pytest.raises(DataIdError, match=r"'ccd' \(there are a, b\)"):
        context.expand(DatasetName.parse("raw"), {"visit": 1})
    with pytest.raises(DataIdError, match="'tract'") as caught:
        context.expand(DatasetName.parse("three"), {"visit": 1, "ccd": "a"})
    assert not isinstance(caught.value, MissingKeysError)
    opened.close()
