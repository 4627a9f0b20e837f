"""Yaml beyond the conformance tests: the core schema of YAML 1.2, and limits."""

from __future__ import annotations

import io
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bunter.errors import FormatError
from bunter.formats.equality import same_values
from bunter.formats.interface import About
from bunter.formats.yaml_ import Yaml, check_aliases, load
from bunter.testing import FileSource

YAML = Yaml()


def text_of(obj):
    out = io.BytesIO()
    YAML.write(obj, out, About())
    return out.getvalue().decode()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(scalars, inner), max_leaves=20)


@given(values)
def test_any_plain_value_comes_back(value):
    try:
        text = text_of(value)
    except FormatError:
        # NaN as a key, and characters that YAML has no way to write.
        assert "nan" in repr(value) or "\\" in repr(value)
        return
    assert same_values(load(text.encode()), value)


@pytest.mark.parametrize(
    "text", ["no", "yes",
             "on", "010", "0o10", "0x1F", "1e3", "1_000", "12:30:00", "2016-01-01", ".nan", "~", "null", "", " a",
             "a: b", "# a", "- a", "<<", "=", "1.", ".5", "+1", "-.inf", "True", "a\nb", "é"]
)  # fmt: skip
def test_texts_stay_texts_here_and_in_other_readers(text):
    written = text_of({"a": text, text: [text]})
    assert load(written.encode()) == {"a": text, text: [text]}
    assert yaml.safe_load(written) == {"a": text, text: [text]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2016-01-01", "2016-01-01"),
        ("'1'", "1"),
        ("! 1", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("!!int '3'", 3),
        ("~", None),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("TRUE", True),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("{1: a, null: b}", {1: "a", None: "b"}),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_the_core_schema(text, value):
    found = load(text.encode())
    assert found == value
    assert type(found) is type(value)


def test_aliases_share_nothing():
    found = load(b"{a: &x [1], b: *x}")
    found["a"].append(2)
    assert found["b"] == [1]


def bomb(levels=12):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines).encode()


def test_an_alias_bomb_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_bytes(bomb())
    start = time.monotonic()
    with pytest.raises(FormatError, match=r"bomb.yaml.*aliases stand for more than 100000"):
        YAML.read(FileSource(path), About(), {})
    with pytest.raises(ValueError, match=r"aliases stand for more"):
        check_aliases(bomb())
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"'a' is there twice \(line 2, column 1\)"),
        ("{1: a, 1.0: b}", "twice"),
        ("&a [*a]", "in itself"),
        ("*a", "undefined|stands for nothing"),
        ("[" * 200, "100 deep"),
        ("!!python/object/apply:os.getcwd []", "tag .*python"),
        ("!!timestamp 2016-01-01", "tag .*timestamp"),
        ("!!set {a, b}", "tag .*set"),
        ("!!int a", "no plain value"),
        ("{[1]: a}", "no.* plain value"),
        ("a: 1\n---\nb: 1", "more than one document"),
        ("", "empty"),
        ("# nothing", "empty"),
        ("a: [1", "expected"),
        ("a: b: c", "not allowed"),
    ],
)
def test_what_is_no_plain_document(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as raised:
        YAML.read(FileSource(path), About(name="calexp"), {})
    assert "x.yaml: expected one YAML document for calexp" in str(raised.value)


@pytest.mark.parametrize("text", ["&a [*a]", "[" * 200])
def test_limits_without_loading(text):
    with pytest.raises(ValueError, match=r"in itself|100 deep"):
        check_aliases(text.encode())


def test_block_style_in_order():
    assert text_of({"b": [1, {"x": None}], "a": "é"}) == "b:\n- 1\n- x: null\na: é\n"


def test_what_appears_twice_is_written_twice():
    shared = [1, 2]
    assert text_of({"a": shared, "b": shared}) == "a:\n- 1\n- 2\nb:\n- 1\n- 2\n"
