from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.dataid import DataId, check_key, check_text, check_value
from bunter.errors import DataIdError


def test_it_is_a_mapping_equal_to_a_dict() -> None:
    data_id = DataId({"visit": 1}, ccd="N3")
    assert data_id == {"ccd": "N3", "visit": 1}
    assert dict(data_id) == {"visit": 1, "ccd": "N3"}
    assert data_id != {"visit": 1}
    assert data_id != 3
    assert hash(data_id) == hash(DataId({"ccd": "N3", "visit": 1}))
    assert {data_id: 1}[DataId(visit=1, ccd="N3")] == 1
    assert pickle.loads(pickle.dumps(data_id)) == data_id
    with pytest.raises(TypeError):
        data_id["visit"] = 2  # type: ignore[index]


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_take_what_index_takes(value: Any) -> None:
    found = check_value("visit", value, "int")
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [True, np.bool_(True), "3", 3.0, None, 2**63, -(2**63) - 1, [3], b"3"])
def test_integers_refuse(value: Any) -> None:
    with pytest.raises(DataIdError, match="visit"):
        check_value("visit", value, "int")


@pytest.mark.parametrize("value", ["", "a\0b", "a\nb", "\x7f", "\ud800", "x" * 201, 3, None, b"x", "\u2028"])
def test_strings_refuse(value: Any) -> None:
    with pytest.raises(DataIdError, match="ccd"):
        check_value("ccd", value, "str")


def test_strings_are_normalised() -> None:
    assert check_value("ccd", "e\u0301", "str") == "\u00e9"
    assert type(check_value("ccd", np.str_("N3"), "str")) is str


def test_floats() -> None:
    assert check_value("x", 3, "float") == 3.0
    assert str(check_value("x", -0.0, "float")) == "0.0"
    assert type(check_value("x", np.float32(0.5), "float")) is float
    for bad in (float("nan"), float("inf"), "1", True, None):
        with pytest.raises(DataIdError):
            check_value("x", bad, "float")


@pytest.mark.parametrize("key", ["", "a b", "visit:d", "1a", "a-b", 3, None, "x" * 61, "a\0"])
def test_keys_refuse(key: Any) -> None:
    with pytest.raises(DataIdError):
        check_key(key)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=220))
def test_a_text_that_passes_is_stable_and_safe(text: str) -> None:
    try:
        found = check_text("k", text)
    except DataIdError:
        return
    assert check_text("k", found) == found
    assert 0 < len(found) <= 200
    found.encode()
    assert not any(ord(c) < 32 or ord(c) == 127 for c in found)
