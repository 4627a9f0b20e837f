"""What nobody should send: odd values, names, templates, expressions and policies end in one of Bunter's own errors."""

# ruff: noqa: E501, PT017 - what is asked is easier to see in one line each; what an error says is looked at besides
from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter import Butler, RepositoryArgs
from bunter.dataid import check_key, check_value
from bunter.definitions import load
from bunter.errors import BunterError, DataIdError, DatasetNameError, DefinitionError, ParameterError
from bunter.names import DatasetName
from bunter.templates import Template
from bunter.where import parse
from bunter.words import did_you_mean, nearest, shown


class Unwilling:
    """An object that does not want to be looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__
    __eq__ = __repr__  # type: ignore[assignment]
    __index__ = __float__ = __repr__  # type: ignore[assignment]

    def __hash__(self) -> int:
        raise RuntimeError("no")


class Liar(str):
    """A string that says that it is another one."""

    def __str__(self) -> str:
        return "../../elsewhere"

    __format__ = lambda self, spec: "/etc/passwd"  # noqa: E731

    def isprintable(self) -> bool:
        return True


class Lying(int):
    """A number that says that it is something else."""

    def __format__(self, spec: str) -> str:
        return "../x"

    __str__ = __repr__ = lambda self: "../x"


HUGE = 10**5000
ODD: list[Any] = [
    Unwilling(), HUGE, -HUGE, True, None, b"x", float("nan"), float("inf"), 1j, [1], {"a": 1}, {1}, np.array([1, 2]), np.bool_(True),
    np.datetime64("NaT"), np.void(b"ab"), int, "", "\0", "\ud800", "a\nb", "\u2028", "x" * 201, "\u0344" * 150, 2**64, object(),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["int", "str", "float"])
@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_values_that_are_none(kind, value):
    try:
        found = check_value("key", value, kind)
    except DataIdError as error:
        assert len(str(error)) < 1000
    else:
        assert type(found).__name__ == kind


def test_what_a_value_says_of_itself_does_not_count():
    assert check_value("s", Liar("a"), "str") == "a"
    assert type(check_value("s", Liar("a"), "str")) is str
    assert type(check_key(Liar("key"))) is str
    assert type(check_value("v", Lying(5), "int")) is int
    assert Template("{s}/{v:d}.x").format({"s": Liar("a"), "v": Lying(5)}) == "a/5.x"
    assert str(Template(Liar("{s}.x")).format({"s": "a"})) == "a.x"
    assert DatasetName.parse(Liar("calexp")).type == "calexp"
    assert parse(Liar("v = 1")).names == {"v"}


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_everything_can_be_shown(value):
    assert len(shown(value)) < 200
    assert len(shown([value] * 10_000)) < 200


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_what_is_no_name_no_template_no_expression_no_policy(value):
    with pytest.raises(DatasetNameError):
        DatasetName.parse(value)
    if not isinstance(value, str) or not value.isalnum():
        with pytest.raises(DefinitionError):
            Template(value)
    with pytest.raises(ParameterError):
        parse(value)
    with pytest.raises(DefinitionError):
        load({"datasets": {"a": value}})
    with pytest.raises(DefinitionError):
        load({"datasets": {"a": {"storage": "Json", "template": "x/{v:d}", "dataId": {"v": value}}}})


def test_nobody_means_a_very_long_word():
    assert nearest("a" * 100_000, ["a" * 99_999]) is None
    assert did_you_mean("calexp", ["x" * 10_000, "calexpp"]) == "; did you mean 'calexpp'?"


@pytest.fixture(scope="module")
def butler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    policy = {
        "keys": {"v": "int", "s": "str", "t": "str", "x": "float"},
        "datasets": {
            "one": {"storage": "Json", "template": "{s}/{t}.json"},
            "two": {"storage": "Json", "template": "two/{v:04d}{s}.json"},
            "real": {"storage": "Json", "template": "real/{x:.3f}.json"},
        },
    }
    before = os.environ.get("BUNTER_CONFIG")
    os.environ["BUNTER_CONFIG"] = str(folder / "configuration")
    with Butler(outputs=RepositoryArgs(folder / "root", policy=policy), durability="fast") as made:
        yield made
    if before is None:
        del os.environ["BUNTER_CONFIG"]
    else:
        os.environ["BUNTER_CONFIG"] = before


NASTY = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "~2",
        ".part~",
        "%2F",
        "%",
        "é",
        "e\u0301",
        "\u212a",
        "K",
        "k",
        "ß",
        "ss",
        "\u202e",
        "\u200b",
        "policy.yaml",
        " ",
        "\\",
        "*",
    ]
)
TEXTS = st.lists(st.one_of(NASTY, st.text(max_size=3)), max_size=4).map("".join)
PATHS: dict[str, Any] = {}


@settings(max_examples=150)
@given(type_=st.sampled_from(["one", "two"]), s=TEXTS, t=TEXTS, v=st.integers(-20, 20))
def test_no_two_values_share_a_file(butler, type_, s, t, v):
    data_id: dict[str, Any] = {"s": s, "t": t} if type_ == "one" else {"s": s, "v": v}
    content = {"of": [type_, sorted(map(str, data_id.values())), len(PATHS)]}
    try:
        ref = butler.put(content, type_, data_id)
    except BunterError:
        return
    place = os.path.realpath(butler.uri(type_, data_id))
    root = butler.repositories()[0]
    assert place.startswith(root + os.sep)
    assert place.casefold() not in PATHS
    PATHS[place.casefold()] = ref.data_id
    assert butler.get(type_, data_id) == content
    assert {path.name for path in Path(root).parent.iterdir()} <= {"root", "configuration"}


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_odd_values_in_every_call(butler, tmp_path, value):
    file = tmp_path / "given.json"
    file.write_text("{}")
    calls = [
        lambda: butler.put({}, "real", {"x": value}),
        lambda: butler.get("real", {"x": value}),
        lambda: butler.exists("one", {"s": value, "t": "a"}),
        lambda: butler.plan("one", s=value, t="a"),
        lambda: list(butler.query("one", {"s": value})),
        lambda: butler.get("one", value),
        lambda: butler.get(value, {"s": "a"}),
        lambda: butler.get("one", {"s": "a", "t": "b"}, resolve=value),
        lambda: butler.get("one", {"stage": value}),
        lambda: butler.get("one", {"s": "a"}, s=value),
        lambda: butler.alias(value, "one"),
        lambda: butler.alias("other", value),
        lambda: butler.ingest("real", [{"path": str(file), "x": value}]),
        lambda: butler.ingest("one", [{"path": str(file), "s": value, "t": "a"}], mode=value),
        lambda: list(butler.query("one", where=value)) if value is not None else None,
    ]
    for call in calls:
        try:
            call()
        except BunterError as error:
            assert len(str(error)) < 5000


def test_one_field_says_of_which_type_a_key_is():
    # Also for the fields that do not say.
    made = Template("a/{x}-{t}.j{x:g}")
    path = made.format({"x": 3, "t": "b"})
    assert made.match(path, {"x": "int", "t": "str"}) == {"x": 3.0, "t": "b"}


@settings(max_examples=150)
@given(st.recursive(
    st.sampled_from(["v = 1", "s = 'a'", "v in (1, 2)", "x between 0 and 1", "s is null"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} and {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} or {two[1]})"),
        inner.map(lambda one: f"not ({one})"),
        inner.map(lambda one: f"not not {one}"),
    ),
    max_leaves=12,
))  # fmt: skip
def test_python_and_sqlite_agree_however_it_is_written(text):
    found = parse(text)
    clause, values = found.to_sql(lambda key: f'"{key}"')
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE d (v INTEGER, s TEXT, x REAL)")
    for row in ({"v": 1, "s": "a", "x": 0.5}, {"v": None, "s": None, "x": None}, {"v": 2, "s": "b", "x": 7.0}):
        database.execute("DELETE FROM d")
        database.execute("INSERT INTO d VALUES (?, ?, ?)", tuple(row.values()))
        asked = bool(database.execute(f"SELECT 1 FROM d WHERE {clause}", values).fetchall())
        assert asked == found.evaluate(row)
    database.close()


@pytest.mark.parametrize(
    "level",
    [
        "not (v = 1 and ",
        "(v = 1 or ",
        "v = 1 and (v = 2 or ",
        "v = 1 or not (v = 2 and ",
        "v = 1 and v = 3 or v = 2 and not (",
        "not (v not in (1, 2) or (",
    ],
)
def test_the_deepest_expression_is_one_that_sqlite_takes(level):
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE d (v INTEGER)")
    taken = 0
    for many in range(1, 60):
        text = level * many + "v = 1" + ")" * (level.count("(") - level.count(")")) * many
        try:
            found = parse(text)
        except ParameterError as error:
            assert "nested more than" in str(error)
            break
        clause, values = found.to_sql(lambda key: f'd."{key}"')
        database.execute(f"SELECT 1 FROM d WHERE ((v = 1) AND ({clause}))", values)
        taken = many
    assert taken >= 12
    database.close()


def test_a_policy_that_holds_itself():
    ring: dict[str, Any] = {"storage": "Json"}
    ring["a"] = ring["b"] = ring
    with pytest.raises(DefinitionError, match=r"nested more than|more than 50,000"):
        load({"datasets": {"x": ring}})
    listed: list[Any] = []
    listed += [listed, listed]
    with pytest.raises(DefinitionError):
        load({"datasets": listed})


TYPE = "{storage: Json, template: 'x/{v:d}.json'}"


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("datasets:\n" + "".join(f"  t{i}: {TYPE}\n" for i in range(5001)), "5,000 dataset types"),
        ("datasets: {a: {composite: {" + ", ".join(f"x{i}: b" for i in range(201)) + "}}, b: " + TYPE + "}", "200 components"),
        ("datasets: [" + "v, " * 50_001 + "v]", "50,000 values"),
        ("include: [\"a\\0b\"]", "cannot be read"),
        ("include: [/dev/zero]", "outside the folder"),
        ("datasets: {a: {composite: {x: 'c:s'}}, 'c:s': {partOf: 'c:s.y', dataId: {v: 1}}}", "c:s"),
        ("datasets: {b: {base: 'e:s', composite: {}}, 'c:s': {composite: {y: 'e:s.wcs'}}, 'e.wcs:s': {composite: {wcs: 'c:s.y'}}, "
         "'e:s': {storage: Fits, template: 'x/{v:d}', parts: {x: {hdu: 1}}}, f: {partOf: b.wcs, dataId: {v: 1}}}", "not a composite"),
        ("datasets: {a: {python: bunter.Exposu.x, storage: FitsExposure, template: 'x/{v:d}'}, "
         "b: {python: astropy.wcs.WCS, storage: FitsWcs, template: 'x/{v:d}'}}", "there is no type"),
        ("x" * 1_200_000, "cannot be read"),
    ],
    ids=str,
)  # fmt: skip
def test_policies_beyond_measure(policy, says, tmp_path):
    with pytest.raises(DefinitionError, match=says) as caught:
        load(policy, base_dir=tmp_path)
    assert len(str(caught.value)) < 500_000


def test_two_spellings_of_one_component():
    for section in (
        "composite: {photoCalib: b, photo_calib: b}",
        "composite: {x: b}, derived: {photoCalib: {from: [x], with: a.b}, photo_calib: {from: [x], with: a.b}}",
    ):
        with pytest.raises(DefinitionError, match="are one component"):
            load(f"datasets: {{a: {{{section}}}, b: {TYPE}}}")
