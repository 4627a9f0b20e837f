"""What is read at a glance is what the search finds."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bunter.errors import BunterError, DataIdError, DefinitionError
from bunter.matching import Unsure
from bunter.templates import Template

NAMES = ("a", "b", "c", "_")
fields = st.one_of(
    st.sampled_from(["{a:d}", "{b:d}", "{c:d}", "{a:03d}", "{b:02d}", "{c:08d}", "%(a)04d"]),
    st.sampled_from(["{a}", "{b}", "{c}", "{a:s}", "{b:s}", "{c:s}", "{_}", "{c:.2f}"]),
)
literals = st.sampled_from(["-", "_", ".", "x", "0", "7", "-0", "a-", ".fits", "é", "raw-", "%%", " ", "٣", "r"])
folders = st.lists(st.one_of(fields, literals), min_size=1, max_size=6).map("".join)
templates = st.lists(folders, min_size=1, max_size=3).map("/".join)
texts = st.one_of(
    st.integers(-12, 1200).map(str),
    st.integers(0, 99999).map("{:05d}".format),
    st.sampled_from(["-0", "00", "-", "--", "r", "R", "r1", "1-2", "0x", "É", "é", "a b", "\n", "a\0"]),
    st.sampled_from(["e\N{COMBINING ACUTE ACCENT}", "٣", "²", "_"]),
    st.sampled_from([str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), "9" * 25, "1" * 26]),
    st.text("01-_.axr é", min_size=1, max_size=8),
    st.text(min_size=1, max_size=6),
    st.sampled_from(["w" * 190, "1" * 90, "a-" * 60, "%41", "100%", "%2D1", "1.50", "", "."]),
)
kinds = st.fixed_dictionaries({}, optional={name: st.sampled_from(["int", "str", "float"]) for name in NAMES})


def made(text: str) -> Template:
    try:
        return Template(text)
    except DefinitionError:
        assume(False)
        raise


def filled(template: Template, values: dict[str, str]) -> str:
    """Return a path that looks like one of the template's, whatever the values are."""
    return "/".join(
        "".join(token if isinstance(token, str) else values[token.key] for token in folder)
        for folder in template._folders
    )


def outcome(work: object, *arguments: object) -> object:
    try:
        return work(*arguments)  # type: ignore[operator]
    except BunterError as error:
        return type(error), str(error)


def check(template: Template, path: str, given_kinds: dict[str, str]) -> None:
    assert outcome(template._readings, path, given_kinds) == outcome(template._searched, path, given_kinds)


@settings(max_examples=600, deadline=None)
@given(templates, st.fixed_dictionaries(dict.fromkeys(NAMES, texts)), kinds, st.sampled_from(["", "/data/", "x/"]))
@example("{a:d}{b}", {"a": "12", "b": "3", "c": "", "_": ""}, {}, "")
@example("{a}-{b}", {"a": "1-2", "b": "3", "c": "", "_": ""}, {}, "")
@example("{a:04d}{b}", {"a": "0012", "b": "r", "c": "", "_": ""}, {}, "")
def test_the_same_as_the_search(text: str, values: dict[str, str], given_kinds: dict[str, str], before: str) -> None:
    template = made(text)
    check(template, before + filled(template, values), given_kinds)


@settings(max_examples=300, deadline=None)
@given(templates, st.text("/01-_.axré%", max_size=20), kinds)
def test_the_same_of_any_path(text: str, path: str, given_kinds: dict[str, str]) -> None:
    check(made(text), path, given_kinds)


@settings(max_examples=300, deadline=None)
@given(templates, st.lists(texts, min_size=4, max_size=4))
def test_what_is_written_is_what_the_search_reads(text: str, given_texts: list[str]) -> None:
    template = made(text)
    data_id: dict[str, object] = dict(zip(NAMES, given_texts, strict=True))
    for key, kind in template.kinds.items():
        if kind == "int":
            data_id[key] = len(given_texts[0]) * 7 - 9
        elif kind == "float":
            data_id[key] = len(given_texts[1]) / 7
    try:
        path = template.format(data_id)
    except DataIdError:
        return
    said = {key: template.kinds[key] or "str" for key in template.fields}
    assert template._searched(path, said) == template._readings(path, said) == [template.match(path, said)]


@pytest.mark.parametrize(
    ("text", "path", "given_kinds", "reading"),
    [
        ("raw/{v:d}/raw-{v:d}-{c:d}.json", "/x/raw/7/raw-7-3.json", {}, [{"v": 7, "c": 3}]),
        ("raw/{v:d}/raw-{v:d}-{c:d}.json", "/x/raw/7/raw-8-3.json", {}, []),
        ("{v:07d}-{f}-{c:d}.fits", "0000012-r-i-3.fits", {}, [{"v": 12, "f": "r-i", "c": 3}]),
        ("{v}/{f}.fits", "12/R.fits", {"v": "int"}, [{"v": 12, "f": "R"}]),
        ("{v}/{f}.fits", "12/R.fits", {}, [{"v": "12", "f": "R"}]),
        ("{_}_{v:d}.fits", "a_b_7.fits", {}, [{"v": 7}]),
        ("{v:d}.fits", "-0.fits", {}, []),
        ("{f}.fits", "e\N{COMBINING ACUTE ACCENT}.fits", {}, [{"f": "é"}]),
    ],
)
def test_read_at_a_glance(text: str, path: str, given_kinds: dict[str, str], reading: list[dict[str, object]]) -> None:
    template = Template(text)
    look = template._glance(given_kinds)
    assert look is not None
    assert look.readings(path) == reading == template._searched(path, given_kinds)


@pytest.mark.parametrize(
    ("text", "path"),
    [("{a}-{b}", "1-2-3"), ("{a}{b:d}", "r12"), ("{a:d}.fits", "1" * 300 + ".fits")],
)
def test_left_to_the_search(text: str, path: str) -> None:
    template = Template(text)
    look = template._glance({})
    assert look is not None
    assert isinstance(look.readings(path), Unsure)


@pytest.mark.parametrize("text", ["{a:.2f}.fits", "{a}-{b}-{c}-{d}.fits"])
def test_not_for_a_glance(text: str) -> None:
    assert Template(text)._glance({}) is None


def test_no_path_takes_long() -> None:
    # Every position would be tried with every other; the length that is looked at bounds them.
    template = Template("{a}-{b}-x{c}.fits")
    check(template, "-" * 150, {})
    check(template, "a-" * 99, {})
