from __future__ import annotations

import copy
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bunter.dataid import check_text
from bunter.errors import DataIdError, DefinitionError
from bunter.templates import Template, decode_value, encode_value, mark

SDSS = "sci-results/%(run)d/%(camcol)d/%(filter)s/calexp/calexp-%(run)06d-%(filter)s%(camcol)d-%(field)04d.fits"


def usable(text: str) -> bool:
    try:
        check_text("k", text)
    except DataIdError:
        return False
    return len(encode_value(text)) < 80


hostile = st.sampled_from(
    [
        ".",
        "..",
        "...",
        "~",
        "~root",
        "a~2",
        "a/b",
        "/etc/passwd",
        "../../x",
        "%2F",
        "%",
        "100%",
        "%41",
        "a-b",
        "-",
        "--",
        "-1",
        "1",
        "a_b",
        " ",
        "a b",
        ".bunter",
        "é",
        "e\N{COMBINING ACUTE ACCENT}",
        "日本",
        "\N{FULLWIDTH SOLIDUS}",
        "\\",
        "CON",
        "a.fits",
        "*?[",
        "'\"",
        "{x}",
        "\N{RIGHT-TO-LEFT OVERRIDE}x",
    ]
)
words = st.one_of(hostile, st.text(min_size=1, max_size=12).filter(usable), st.text("-_.~%1aA", min_size=1, max_size=8))
integers = st.one_of(st.integers(-20, 20), st.integers(-(2**63), 2**63 - 1))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("%(visit)07d", "0000012"),
        ("%(visit)d", "12"),
        ("{visit:07d}", "0000012"),
        ("{visit:d}", "12"),
        ("{visit}", "12"),
        ("a%%b/{{{visit:d}}}", "a%b/{12}"),
        ("{ visit :d}-%(visit)i", "12-12"),
    ],
)
def test_both_spellings(text: str, path: str) -> None:
    assert Template(text).format({"visit": 12}) == path
    assert Template(text).match(path, {"visit": "int"}) == {"visit": 12}


def test_fields_and_kinds() -> None:
    t = Template("{visit}/%(run)d/{ccd:s}-{seeing:.2f}-%(run)06d-{visit:d}")
    assert t.fields == ("visit", "run", "ccd", "seeing")
    assert t.kinds == {"visit": "int", "run": "int", "ccd": "str", "seeing": "float"}
    assert Template("{ccd}").kinds == {"ccd": None}
    assert Template("constant.fits").fields == ()


def test_equal_hashable_picklable() -> None:
    t = Template(SDSS)
    assert t == Template(SDSS)
    assert len({t, Template(SDSS), Template("x")}) == 2
    assert pickle.loads(pickle.dumps(t)) == t == copy.deepcopy(t)
    assert Template("%(visit)d.fits").same_paths(Template("{visit:d}.fits"))
    assert not Template("%(visit)d.fits").same_paths(Template("{visit:02d}.fits"))
    with pytest.raises(AttributeError):
        t.text = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "relative path"),
        ("/abs/{visit:d}", "absolute"),
        ("../{visit:d}", "'..'"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("~user/{a}", "mark"),
        ("a~2.fits", "mark"),
        ("a\\b", "backslash"),
        ("{a}{b}", "separator"),
        ("{a}{_}", "separator"),
        ("{visit:d}{ccd}", "separator"),
        ("{a:d}{b:d}", "separator"),
        ("{visit", "'{'"),
        ("visit}", "'}'"),
        ("50%", "'%'"),
        ("%(visit)", "letter"),
        ("%(visit)x", "reads back"),
        ("{visit:7d}", "reads back"),
        ("{visit:x}", "reads back"),
        ("{ccd:.3s}", "reads back"),
        ("{}", "key"),
        ("{a.b}", "key"),
        ("{0}", "key"),
        ("{_:d}", "format"),
        ("{visit:d}/{visit:s}", "both as"),
        ("x" * 300, "255 bytes"),
        ("x/" * 600, "characters"),
    ],
)
def test_templates_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Template(text)


def test_a_neighbour_that_is_known_elsewhere_separates() -> None:
    t = Template(SDSS)
    data_id = {"run": 1, "camcol": 12, "filter": "r1", "field": 3}
    assert t.match(t.format(data_id)) == data_id
    assert t.format(data_id) != t.format({**data_id, "camcol": 2, "filter": "r11"})


def test_archives_names_with_neighbours_can_be_read() -> None:
    fpm = Template("fpM-%(run)06d-%(filter)s%(camcol)d-%(field)04d.fit")
    assert fpm.match("sdss/run1000/fpM-001000-r1-0100.fit") == {"run": 1000, "filter": "r", "camcol": 1, "field": 100}
    night = Template("CP{year:04d}{month:02d}{day:02d}/{_}.fits")
    assert night.match("CP20150407/c4d_150411_035242_ooi_z_v1-N10.fits") == {"year": 2015, "month": 4, "day": 7}


def test_neighbours_that_cannot_be_told_apart_are_refused_when_they_turn_up() -> None:
    t = Template("{filter}{camcol:d}.fits")
    assert t.format({"filter": "r", "camcol": 1}) == "r1.fits"
    assert t.format({"filter": "r1", "camcol": 2}) == "%72%312.fits"
    with pytest.raises(DataIdError, match="separator"):
        t.format({"filter": "r", "camcol": 12})
    with pytest.raises(DataIdError, match="and as"):
        t.match("r12.fits")


def test_two_readings() -> None:
    t = Template("{a}-{b}.fits")
    with pytest.raises(DataIdError, match="and as"):
        t.match("x-y-z.fits")
    assert t.match("x-y.fits") == {"a": "x", "b": "y"}
    assert Template("{_}-{b:d}.fits").match("x-y-3.fits") == {"b": 3}
    # Two ways to forget give one reading.
    assert Template("{_}-{_}-{b:d}.fits").match("x-y-z-3.fits") == {"b": 3}


def test_the_same_field_twice_must_agree() -> None:
    t = Template("{visit:d}/c-{visit:07d}-{ccd}.fits")
    assert t.match("12/c-0000012-N3.fits") == {"visit": 12, "ccd": "N3"}
    assert t.match("13/c-0000012-N3.fits") is None
    assert Template("{a}/{a}-{b}").match("x-y/x-y-z") == {"a": "x-y", "b": "z"}


def test_the_last_whole_folders_are_matched() -> None:
    t = Template("{visit:d}/{ccd}.fits")
    assert t.match("/somewhere/else/12/N3.fits") == {"visit": 12, "ccd": "N3"}
    assert t.match("/somewhere/v12/N3.fits") is None
    assert t.match("N3.fits") is None
    assert t.match("12/N3.fits.fz") is None
    assert Template("{a}.fits").match("x/y.fits") == {"a": "y"}


def test_integers_backwards() -> None:
    t = Template("{n:04d}")
    assert t.match("0012") == {"n": 12}
    assert t.match("12") is None
    assert t.match("00012") is None
    assert t.match("12345") == {"n": 12345}
    assert t.match("-012") == {"n": -12}
    assert Template("{n:d}").match("00431608") == {"n": 431608}
    assert Template("{n:d}").match("-0") is None
    assert Template("{n:d}").match("9" * 19) is None
    assert Template("{n:d}").match("٣") is None
    assert Template("{n}").match("7") == {"n": "7"}
    assert Template("{n}").match("7", {"n": "int"}) == {"n": 7}
    assert Template("{n}").match("x7", {"n": "int"}) is None


def test_paths_at_ingest_are_taken_literally() -> None:
    t = Template("{a}.fits")
    assert t.match("50%.fits") == {"a": "50%"}
    assert t.match("%zz.fits") == {"a": "%zz"}
    assert t.match("%2f.fits") == {"a": "%2f"}
    assert t.match("%FF.fits") == {"a": "%FF"}
    assert t.match("a b.fits") == {"a": "a b"}
    assert t.match("a b%20c.fits") == {"a": "a b%20c"}
    assert t.match("b~2.fits") == {"a": "b~2"}
    assert t.match("a%20b.fits") == {"a": "a b"}


def test_ingest_only_templates_make_no_paths() -> None:
    t = Template("{_}-{ccd}.fits")
    assert t.ingest_only
    with pytest.raises(DataIdError, match="ingest"):
        t.format({"ccd": "N3"})


def test_values_that_do_not_fit() -> None:
    t = Template("{visit:d}-{ccd:s}")
    with pytest.raises(DataIdError, match="needs ccd"):
        t.format({"visit": 1})
    for bad in (
        {"visit": "1", "ccd": "x"},
        {"visit": True, "ccd": "x"},
        {"visit": 1, "ccd": 2},
        {"visit": 1.5, "ccd": "x"},
    ):
        with pytest.raises(DataIdError):
            t.format(bad)
    for bad_text in ("", "a\0", "\n", "\ud800", "x" * 201):
        with pytest.raises(DataIdError):
            t.format({"visit": 1, "ccd": bad_text})


def test_file_names_have_at_most_255_bytes() -> None:
    assert len(Template("{a}").format({"a": "x" * 200})) == 200
    with pytest.raises(DataIdError, match="255"):
        Template("{a}").format({"a": "日" * 100})
    with pytest.raises(DataIdError, match="255"):
        mark("x" * 254, 2)


def test_dots_never_become_folders() -> None:
    t = Template("{a}/{b}.fits")
    for name in (".", ".."):
        path = t.format({"a": name, "b": "x"})
        assert path.split("/")[0] not in (".", "..")
        assert t.match(path) == {"a": name, "b": "x"}
    assert Template(".{a}").format({"a": "."}) == ".%2E"
    assert not Template("{a}/x").format({"a": ".bunter"}).startswith(".")
    assert Template("x/{a}").format({"a": ".hidden"}) == "x/.hidden"


def test_ordinary_values_stay_themselves() -> None:
    value = "Az09._,+=@-é日"
    assert Template("{a}").format({"a": value}) == value


def test_floats_that_round_alike_do_not_share_a_file() -> None:
    t = Template("{x:.2f}.fits")
    assert t.format({"x": 1.5}) == "1.50.fits"
    a, b = t.format({"x": 1.501}), t.format({"x": 1.502})
    assert a != b
    assert t.match(a) == {"x": 1.501}


@settings(max_examples=150, deadline=None)
@given(words, words, integers, integers)
def test_round_trip_and_uniqueness(a: str, b: str, m: int, n: int) -> None:
    a, b = check_text("a", a), check_text("b", b)
    seen: dict[str, object] = {}
    t = Template("x/{a}/{b}-{n:d}_{a}")
    for data_id in ({"a": a, "b": b, "n": n}, {"a": b, "b": a, "n": n}, {"a": a, "b": b, "n": m}):
        path = t.format(data_id)
        assert t.match("/any/where/" + path) == data_id
        assert seen.setdefault(path, data_id) == data_id
        for name in path.split("/"):
            assert name not in ("", ".", "..")
            assert not name.startswith("~")
            assert "\0" not in name
            assert len(name.encode()) <= 255


@settings(max_examples=150, deadline=None)
@given(words, words, words, words)
def test_no_two_data_ids_share_a_path(a: str, b: str, c: str, d: str) -> None:
    t = Template("{a}-{b}.fits")
    first = {"a": check_text("a", a), "b": check_text("b", b)}
    second = {"a": check_text("a", c), "b": check_text("b", d)}
    assume(first != second)
    assert t.format(first) != t.format(second)
    assert t.match(t.format(first)) == first


@settings(max_examples=100, deadline=None)
@given(st.text("-_a1", min_size=1, max_size=5), integers, st.text("-_a1", min_size=1, max_size=5), integers)
def test_negative_integers_beside_separators(a: str, m: int, b: str, n: int) -> None:
    t = Template("{a}-{n:d}")
    first, second = {"a": a, "n": m}, {"a": b, "n": n}
    assert t.match(t.format(first)) == first
    assert (t.format(first) == t.format(second)) == (first == second)


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip(x: float) -> None:
    assert Template("{x:f}/{y}").match(Template("{x:f}/{y}").format({"x": x, "y": x}), {"y": "float"}) == {
        "x": x,
        "y": x,
    }


@settings(max_examples=150, deadline=None)
@given(words)
def test_encoding_is_reversible(text: str) -> None:
    value = check_text("a", text)
    encoded = encode_value(value)
    assert decode_value(encoded) == value
    assert not set(encoded) & set("/~\\ \0")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_template_or_a_definition_error(text: str) -> None:
    try:
        t = Template(text)
    except DefinitionError:
        return
    assert Template(t.text) == t


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_path_matches_or_not(path: str) -> None:
    found = Template("{a}/{b:d}-{_}.fits").match(path)
    assert found is None or set(found) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{_}-{_}-{_}-{_}-{_}-{_}x-{a}", "-" * 250 + "y"),
        ("{a}-{b}-{c}-{a}-{b}-{c}-{d}x{a}-{b}", "a-" * 120 + "x-1"),
        ("{a}-{b}-{c}-{d}-{a}{b:d}", "a-" * 120 + "1"),
        ("{a:d}.{b:d}.{c:d}.{d:d}", "1." * 120 + "1"),
        ("{a:02d}{b:02d}{c:02d}{d:02d}{e:02d}", "1" * 25),
    ],
)
def test_no_path_takes_long(text: str, path: str) -> None:
    t = Template(text)
    start = time.process_time()
    try:
        t.match(path)
    except DataIdError as error:
        assert "path" in str(error)  # noqa: PT017
    assert time.process_time() - start < 5


def test_real_archives(shared_data: Path) -> None:
    image = Template("c4d_{night}_{time}_ooi_{filter}_{version}.{ccd}.fits")
    found = [image.match(str(path)) for path in shared_data.glob("decam/**/*_ooi_*.fits")]
    matched = [data_id for data_id in found if data_id is not None]
    assert {str(data_id["ccd"]) for data_id in matched} >= {"N2", "N3", "S1"}
    assert {str(data_id["filter"]) for data_id in matched} == {"g", "r", "z"}
    sky = Template("{_}/{visit:08d}/decam-{visit:08d}-{ccd}.fits")
    [path] = shared_data.glob("decam/**/splinesky/*/*/decam-*.fits")
    assert sky.match(str(path)) == {"visit": 431608, "ccd": "N10"}
    frame = Template("frame-{filter}-{run:06d}-{camcol:d}-{field:04d}.fits.bz2")
    frames = [frame.match(str(path)) for path in sorted(shared_data.glob("sdss/**/frame-*"))]
    assert frames == [
        {"filter": "r", "run": 1000, "camcol": 1, "field": 100},
        {"filter": "g", "run": 94, "camcol": 1, "field": 131},
    ]


@pytest.mark.parametrize(
    ("path", "marked"),
    [
        ("a/b.fits.fz", "a/b~2.fits.fz"),
        ("c4d_v1.2.fits", "c4d_v1.2~2.fits"),
        ("c4d_v1.2", "c4d_v1.2~2"),
        ("a.b/c", "a.b/c~2"),
        ("x.tar.gz", "x~2.tar.gz"),
        ("x.gz", "x~2.gz"),
        (".hidden", ".hidden~2"),
        ("a.fits", "a~2.fits"),
        ("src.parquet", "src~2.parquet"),
    ],
)
def test_marks_go_before_the_whole_suffix(path: str, marked: str) -> None:
    assert mark(path, 2) == marked


@settings(max_examples=80, deadline=None)
@given(words, st.integers(2, 50))
def test_a_marked_path_is_no_unmarked_one(text: str, n: int) -> None:
    t = Template("{a}.fits")
    path = t.format({"a": text})
    assert "~" not in path
    assert "~" in mark(path, n)
