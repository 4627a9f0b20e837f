"""Json beyond the conformance tests."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunter.errors import FormatError, IntegrityError
from bunter.formats.equality import same_values
from bunter.formats.interface import About
from bunter.formats.json_ import Json
from bunter.testing import FileSource, written

JSON = Json()


@dataclass
class Sample:
    values: list[float]
    pair: tuple[int, str] = (0, "")
    more: Any = None


@dataclass
class Special(Sample):
    extra: int = 0


@dataclass
class Computed:
    n: int
    twice: int = field(init=False)

    def __post_init__(self):
        if self.n < 0:
            raise ValueError("n is negative")
        self.twice = 2 * self.n


class Shape:
    """An abstract class whose from_dict finds the right subclass."""

    @classmethod
    def from_dict(cls, told):
        return Square(told["side"]) if "side" in told else Circle(told["radius"])

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None


class Square(Shape):
    def __init__(self, side):
        self.side = side

    def to_dict(self):
        return {"side": self.side}


class Circle(Shape):
    def __init__(self, radius):
        self.radius = radius

    def to_dict(self):
        return {"radius": np.float32(self.radius)}


class Forgetful:
    def __init__(self, a, b=0):
        self.a, self.b = a, b

    def to_dict(self):
        return {"a": self.a}

    @classmethod
    def from_dict(cls, told):
        return cls(told["a"])

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)

    __hash__ = None


def bytes_of(obj, about=None):
    out = io.BytesIO()
    assert JSON.write(obj, out, about or About()) == {}
    return out.getvalue()


def read(data, about=None, tmp_path=None):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    return JSON.read(FileSource(path), about or About(), {})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(values)
def test_any_plain_value_comes_back(value):
    data = bytes_of(value)
    assert same_values(json.loads(data), value)


def test_any_text_comes_back_even_lone_surrogates(tmp_path):
    value = {"a": "\ud800", "é": "\U0001f52d\n\x00"}
    assert JSON.read(written(JSON, value, About(), tmp_path), About(), {}) == value


def test_readable_text():
    assert bytes_of({"b": [1, 2.5], "a": "é"}) == '{"b":[1,2.5],"a":"é"}\n'.encode()


def test_order_is_kept(tmp_path):
    assert list(JSON.read(written(JSON, {"b": 1, "a": 2}, About(), tmp_path), About(), {})) == ["b", "a"]


def test_numpy_scalars_become_numbers():
    data = {"f": np.float32(0.1), "i": np.int16(3), "b": np.bool_(True), "s": np.str_("a"), np.str_("k"): 1}
    assert json.loads(bytes_of(data)) == {"f": float(np.float32(0.1)), "i": 3, "b": True, "s": "a", "k": 1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": np.arange(3)}]}, r"ndarray at \$\.a\[1\]\.b.*Npy"),
        ({"a": (1, 2)}, r"tuple at \$\.a would come back as a list"),
        ({1: "a"}, r"key 1 \(int\) at \$; its keys are: str"),
        ({"a": {None: 1}}, r"key None \(NoneType\) at \$\.a"),
        ({"a": np.longdouble(1)}, "longdouble"),
        ({"a": np.datetime64("2016-01-01")}, "datetime64"),
        (defaultdict(list), r"defaultdict at \$; it would come back as a dict"),
        (Sample([1.0]), r"Sample at \$ would come back as a dict.*python"),
        ({"a": 1 + 1j}, "complex"),
        pytest.param(10**5000, "Json cannot hold it", id="huge"),
    ],
)
def test_what_would_change_is_refused_by_its_place(value, message):
    with pytest.raises(FormatError, match=message):
        bytes_of(value)


def test_an_object_in_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(FormatError, match=r"100 deep"):
        bytes_of(loop)


def test_dataclasses_come_back_with_tuples(tmp_path):
    about = About(python=Sample)
    back = JSON.read(written(JSON, Sample([1, np.float64(2)], (3, "b")), about, tmp_path), about, {})
    assert back == Sample([1.0, 2.0], (3, "b"))
    assert type(back.pair) is tuple


@pytest.mark.parametrize("lost", [Special([1.0]), Sample([1.0], more=Sample([])), Sample([1.0], more=(1,))])
def test_dataclasses_that_would_lose_something_are_refused(lost):
    with pytest.raises(FormatError, match=r"would lose something|could not read back"):
        bytes_of(lost, About(python=Sample))


def test_fields_that_init_does_not_take_are_computed_again(tmp_path):
    about = About(python=Computed)
    assert JSON.read(written(JSON, Computed(3), about, tmp_path), about, {}).twice == 6
    changed = Computed(3)
    changed.twice = 7
    with pytest.raises(FormatError, match=r"would lose something"):
        bytes_of(changed, about)


def test_a_class_speaks_for_itself(tmp_path):
    about = About(python=Shape)
    for shape in (Square(2), Circle(0.5)):
        assert JSON.read(written(JSON, shape, about, tmp_path), about, {}) == shape
    with pytest.raises(FormatError, match=r"would lose something"):
        bytes_of(Forgetful(1, 2), About(python=Forgetful))


@pytest.mark.parametrize(
    ("data", "python", "message"),
    [
        (b'{"value": [1]}', Sample, "no field 'value'; did you mean 'values'"),
        (b'{"pair": [1, "a"]}', Sample, "Sample: TypeError: .*values"),
        (b'{"values": [], "pair": [1]}', Sample, "a list of 2 values"),
        (b"[1]", Sample, "stored as a mapping, not as list"),
        (b'{"n": -1}', Computed, "n is negative"),
        (b"{}", Shape, "KeyError"),
        (b"[]", dict, "holds dict, the file holds list"),
        (b"null", str, "holds str, the file holds null"),
        (b"1", np.ndarray, "no from_dict and is no dataclass"),
        (b"{'a': 1}", None, "expected one JSON value for calexp"),
        (b"", None, "expected one JSON value"),
    ],
)
def test_wrong_content_names_the_file_and_what_was_expected(tmp_path, data, python, message):
    with pytest.raises(FormatError, match=message) as raised:
        read(data, About(name="calexp", python=python), tmp_path)
    assert "x.json" in str(raised.value)


def test_an_int_is_a_float_where_a_float_is_wanted(tmp_path):
    assert type(read(b"3", About(python=float), tmp_path)) is float
    assert JSON.read(written(JSON, 3, About(python=float), tmp_path), About(python=float), {}) == 3.0


def test_damage_is_an_integrity_error(tmp_path):
    source = written(JSON, {"a": 1}, About(), tmp_path)
    with open(source.name, "r+b") as file:
        file.write(b'{"b"')
    with pytest.raises(IntegrityError):
        JSON.read(source, About(), {})
