from __future__ import annotations

import pickle
import sqlite3
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import ParameterError
from bunter.where import parse


def column(key: str) -> str:
    return f'd."{key}"'


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("tract = 0", {"tract": 0}, True),
        ("tract == 0", {"tract": 1}, False),
        ("tract != 0", {"tract": 1}, True),
        ("tract <> 0", {"tract": 0}, False),
        ("tract < 2 and tract >= 1", {"tract": 1}, True),
        ("filter in ('g', \"r\")", {"filter": "r"}, True),
        ("filter not in ('g', 'r')", {"filter": "z"}, True),
        ("visit between 2 and 4", {"visit": 4}, True),
        ("visit not between 2 and 4", {"visit": 4}, False),
        ("not visit = 3 or visit = 3", {"visit": 3}, True),
        ("not (visit = 3 or visit = 4)", {"visit": 3}, False),
        ("date >= '2015-04-11'", {"date": "2015-04-11T03:52:42"}, True),
        ("date < '2015-04-11'", {"date": "2015-04-11T03:52:42"}, False),
        ("x = -1.5e0", {"x": -1.5}, True),
        ("x > .5", {"x": 1}, True),
        ("name = 'O''Neill'", {"name": "O'Neill"}, True),
        ('name = "say ""x"""', {"name": 'say "x"'}, True),
        ("x is null", {}, True),
        ("x IS NOT NULL", {"x": 1}, True),
        ("x is not null", {"x": None}, False),
        ("a = b", {"a": 1, "b": 1}, True),
        ("1 = visit", {"visit": 1}, True),
        ("(((visit = 1)))", {"visit": 1}, True),
        ("visit = 1 or visit = 2 and ccd = 'x'", {"visit": 1, "ccd": "y"}, True),
        ("name = 'e\u0301'", {"name": "\u00e9"}, True),
    ],
)
def test_evaluate(text: str, values: dict[str, Any], expected: bool) -> None:
    assert parse(text).evaluate(values) is expected


@pytest.mark.parametrize(
    "text", ["x = 1", "not x = 1", "x in (1)", "x not in (1)", "x between 1 and 2", "x = 1 and y = 1", "x = x"]
)
def test_unknown_values_are_neither_true_nor_false(text: str) -> None:
    assert parse(text).evaluate({"y": 1}) is False
    assert parse(f"({text}) or y = 1").evaluate({"y": 1}) is True
    assert parse(f"not ({text}) and y = 2").evaluate({"y": 1}) is False


def test_names() -> None:
    assert parse("vist = 3 and (a is null or not b in (1))").names == {"vist", "a", "b"}
    assert parse("1 = 1").names == frozenset()


def test_values_never_reach_the_sql() -> None:
    sql, parameters = parse("ccd = 'x'' or 1=1; drop table d' and visit > 3").to_sql(column)
    assert sql == '(d."ccd" = ?) AND (d."visit" > ?)'
    assert parameters == ["x' or 1=1; drop table d", 3]


def test_keys_reach_the_sql_only_through_the_callback() -> None:
    def refuse(key: str) -> str:
        raise KeyError(key)

    with pytest.raises(KeyError, match="vist"):
        parse("vist = 3").to_sql(refuse)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 1, "the end"),
        ("   ", 1, "the end"),
        ("a = = 3", 5, "expected a key"),
        ("a", 2, "comparison"),
        ("a b", 3, "comparison"),
        ("a = 1 b", 7, "'and', 'or'"),
        ("a = 1 andd b = 2", 7, "did you mean 'and'"),
        ("x in (1,'a", 9, "not closed"),
        ("x in ()", 7, "a key, a number"),
        ("ccd in (N3)", 9, "quoted string"),
        ("(a = 1", 7, r"'\)'"),
        ("a = 1)", 6, "'and', 'or'"),
        ("a & 1", 3, "'&' cannot stand"),
        ("a = null", 5, "is null"),
        ("a = 0x12", 5, "cannot stand"),
        ("a = 1.2.3", 5, "cannot stand"),
        ("a = 99999999999999999999", 5, "64 bits"),
        ("a = 1e999", 5, "too large"),
        ("a not = 3", 7, "'in' or 'between'"),
        ("a between 1 or 2", 13, "'and'"),
        ("a = 'x\0y'", 5, "control"),
        ("a; b", 2, "';' cannot stand"),
        ("a = - b", 7, "a number"),
    ],
)
def test_errors_show_where(text: str, position: int, says: str) -> None:
    with pytest.raises(ParameterError, match=says) as caught:
        parse(text)
    first, _, caret = str(caught.value).split("\n")
    assert f"character {position}:" in first
    assert caret == "  " + " " * (position - 1) + "^"


def test_a_string_is_not_compared_with_a_number() -> None:
    expression = parse("visit = '3'")
    with pytest.raises(ParameterError, match=r"visit is a number and '3' is a str"):
        expression.check({"visit": "int"})
    with pytest.raises(ParameterError, match="cannot be compared"):
        expression.evaluate({"visit": 3})
    with pytest.raises(ParameterError, match="cannot be compared"):
        parse("x in ('a', 1)").check({"x": "str"})
    with pytest.raises(ParameterError, match="cannot be compared"):
        parse("x between 'a' and 'b'").check({"x": "float"})
    expression.check({"other": "int"})
    parse("x < 1.5").check({"x": "int"})


def test_limits() -> None:
    with pytest.raises(ParameterError, match="characters"):
        parse("a = 1 or " * 2000 + "a = 1")
    with pytest.raises(ParameterError, match="deep"):
        parse("(" * 60 + "a = 1" + ")" * 60)
    with pytest.raises(ParameterError, match="deep"):
        parse("not " * 2000 + "a = 1")
    with pytest.raises(ParameterError, match="comparisons"):
        parse(" or ".join(["a = 1"] * 501))
    with pytest.raises(ParameterError, match="string"):
        parse(3)  # type: ignore[arg-type]


def test_the_largest_expression_is_one_that_sqlite_takes() -> None:
    sql, parameters = parse(" or ".join(["a = 1"] * 500)).to_sql(lambda key: "1")
    assert sqlite3.connect(":memory:").execute(f"SELECT {sql}", parameters).fetchone() == (1,)
    deep, parameters = parse("not (" * 24 + "1 = 1" + ")" * 24).to_sql(column)
    assert sqlite3.connect(":memory:").execute(f"SELECT {deep}", parameters).fetchone() == (1,)


def test_pickles() -> None:
    expression = parse("a = 1 and not b in ('x')")
    assert pickle.loads(pickle.dumps(expression)) == expression


operands = st.sampled_from(["a", "b", "0", "1", "-2", "2.5"])
texts = st.sampled_from(["s", "'x'", '"y"', "'o''x'"])
comparisons = st.one_of(
    st.tuples(operands, st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">="]), operands).map(" ".join),
    st.tuples(texts, st.sampled_from(["=", "!=", "<", ">="]), texts).map(" ".join),
    st.tuples(operands, st.sampled_from(["in", "not in"])).map(lambda t: f"{t[0]} {t[1]} (0, 1)"),
    st.tuples(operands, operands).map(lambda t: f"a between {t[0]} and {t[1]}"),
    st.sampled_from(["a is null", "s is not null", "b is null"]),
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} {t[2]}"),
        inner.map(lambda t: f"not ({t})"),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    expressions,
    st.one_of(st.none(), st.integers(-2, 2)),
    st.one_of(st.none(), st.floats(-3, 3)),
    st.one_of(st.none(), st.sampled_from(["x", "y", "o'x", ""])),
)
def test_python_and_sqlite_agree(text: str, a: int | None, b: float | None, s: str | None) -> None:
    expression = parse(text)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE d (a INTEGER, b REAL, s TEXT)")
    connection.execute("INSERT INTO d VALUES (?, ?, ?)", (a, b, s))
    sql, parameters = expression.to_sql(column)
    rows = connection.execute(f"SELECT 1 FROM d WHERE {sql}", parameters).fetchall()
    connection.close()
    assert expression.evaluate({"a": a, "b": b, "s": s}) is bool(rows)


@settings(max_examples=200, deadline=None)
@given(
    expressions,
    st.one_of(st.none(), st.integers(-2, 2)),
    st.one_of(st.none(), st.floats(-3, 3)),
    st.one_of(st.none(), st.sampled_from(["x", "y", "o'x", ""])),
)
def test_python_and_arrow_agree(text: str, a: int | None, b: float | None, s: str | None) -> None:
    expression = parse(text)
    table = pa.table(
        {"a": pa.array([a], pa.int64()), "b": pa.array([b], pa.float64()), "s": pa.array([s], pa.string())}
    )
    mask = expression.mask(table)
    found = mask.as_py() if isinstance(mask, pa.Scalar) else mask[0].as_py()
    assert expression.evaluate({"a": a, "b": b, "s": s}) is (found is True)


def test_nan_counts_as_null_in_columns() -> None:
    table = pa.table({"a": [1.0, float("nan"), None]})
    assert parse("a is null").mask(table).to_pylist() == [False, True, True]


@pytest.mark.parametrize(
    ("text", "values", "excluded"),
    [
        ("tract = 0", {"tract": 1}, True),
        ("tract = 0", {"tract": 0}, False),
        ("tract = 0 and flux > 3", {"tract": 1}, True),
        ("flux > 3 and (patch = 'a' or patch = 'b')", {"patch": "c", "tract": 0}, True),
        ("tract = 0 or flux > 3", {"tract": 1}, False),
        ("not (tract = 0 and flux > 3)", {"tract": 0}, False),
        ("flux > 3", {"tract": 0}, False),
        ("tract is null", {"tract": 0}, True),
        ("1 = 2", {}, True),
    ],
)
def test_what_some_values_exclude(text: str, values: dict[str, Any], excluded: bool) -> None:
    assert parse(text).excludes(values) is excluded


def test_excluding_compares_no_text_with_numbers() -> None:
    with pytest.raises(ParameterError, match="cannot be compared"):
        parse("patch > 3").excludes({"patch": "0,0"})


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=40), st.text("ab=<>!()',\" 01andornotis", max_size=40)))
def test_any_text_is_an_expression_or_a_parameter_error(text: str) -> None:
    try:
        expression = parse(text)
    except ParameterError:
        return
    sql, parameters = expression.to_sql(lambda key: "k")
    assert sql.count("?") == len(parameters)
