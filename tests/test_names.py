from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.errors import BunterError, DatasetNameError
from bunter.names import DatasetName, camel, plain_component, same_component, snake

words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_\-]{0,8}", fullmatch=True)
stages = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_+\-]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    "text",
    [
        "calexp:jointcal.wcs",
        "calexp.wcs:jointcal",
        "calexp: jointcal.wcs",
        "calexp.wcs : jointcal",
        " calexp.wcs:jointcal ",
    ],
)
def test_both_spellings_and_blanks(text: str) -> None:
    name = DatasetName.parse(text)
    assert name == DatasetName("calexp", "jointcal", ("wcs",))
    assert str(name) == "calexp:jointcal.wcs"
    assert name.definition == "calexp:jointcal"


def test_components_on_both_sides_of_the_stage() -> None:
    assert DatasetName.parse("a.b:s.c") == DatasetName("a", "s", ("b", "c"))


def test_a_bare_colon_means_without_stage() -> None:
    assert DatasetName.parse("calexp:").stage == ""
    assert DatasetName.parse("calexp").stage is None
    assert DatasetName.parse("calexp:").definition == "calexp"
    assert DatasetName.parse("calexp.wcs:") == DatasetName("calexp", "", ("wcs",))


def test_use_cases_names() -> None:
    assert DatasetName.parse("calexp: jointcal").definition == "calexp:jointcal"
    assert DatasetName.parse("calexp.psf").component == ("psf",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":jointcal",
        "a..b",
        ".a",
        "a.",
        "a:b:c",
        "1a",
        "a b",
        "a/b",
        "a:b/c",
        "a\0",
        "é",
        "a" * 201,
        "a" + ".b" * 9,
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(DatasetNameError):
        DatasetName.parse(text)


@pytest.mark.parametrize("value", [None, 3, b"calexp", ["calexp"]])
def test_names_are_strings(value: object) -> None:
    with pytest.raises(DatasetNameError, match="string"):
        DatasetName.parse(value)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(words, st.one_of(st.none(), stages), st.lists(words, max_size=3))
def test_str_parses_back_in_both_spellings(type_: str, stage: str | None, components: list[str]) -> None:
    name = DatasetName(type_, stage, tuple(components))
    assert DatasetName.parse(str(name)) == name
    other = ".".join((type_, *components)) + (f":{stage}" if stage else "")
    assert DatasetName.parse(other) == name
    assert DatasetName.parse(name) is name
    assert pickle.loads(pickle.dumps(name)) == name


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_name_or_a_name_error(text: str) -> None:
    try:
        name = DatasetName.parse(text)
    except BunterError as error:
        assert isinstance(error, DatasetNameError)  # noqa: PT017
    else:
        assert DatasetName.parse(str(name)).definition == name.definition


def test_spellings_of_components() -> None:
    assert same_component("photoCalib", "photo_calib")
    assert not same_component("photoCalib", "photo")
    assert snake("photoCalib") == "photo_calib"
    assert camel("photo_calib") == "photoCalib"
    assert plain_component("Photo_Calib") == "photocalib"
    assert DatasetName.parse("a").with_stage("b").with_component(("c",)) == DatasetName("a", "b", ("c",))
