"""Header cards: exact both ways, as astropy reads them, and tolerant of what is found in the wild."""

from __future__ import annotations

import math
import warnings

import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bunter.formats.fits_cards import Card, Cards, format_card, format_cards, holds, parse

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=250)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(
    TEXT.map(lambda text: text.rstrip(" ")),
    FINITE,
    st.integers(-(10**30), 10**30),
    st.complex_numbers(max_magnitude=1e9, allow_nan=False).map(lambda z: complex(round(z.real, 6), round(z.imag, 6))),
    st.booleans(),
    st.none(),
)


@given(value=VALUES, keyword=st.sampled_from(["KEY", "A-B_C123", "ESO DET CHIP1 NAME", "LONGER_KEYWORD"]))
@example(value="it's '' &", keyword="KEY")
@example(value="x" * 66 + "''''", keyword="KEY")
@example(value="a" * 67 + " b", keyword="KEY")
@settings(max_examples=200, deadline=None)
def test_values_come_back(value, keyword):
    assert holds(keyword, value)
    cards = parse(format_cards([Card(keyword, value), Card("AFTER", 1)]))
    assert cards[keyword] == value
    assert type(cards[keyword]) is type(value)
    assert cards["AFTER"] == 1


@given(value=VALUES.filter(lambda value: not (isinstance(value, str) and "'/" in value)))
@settings(max_examples=150, deadline=None)
def test_astropy_reads_the_same(value):
    # astropy takes a quote before a slash for the end of the string.
    header = fits.Header.fromstring(format_cards([Card("KEY", value, "a comment"), Card("AFTER", 1)]))
    assert header["KEY"] == value
    assert header["AFTER"] == 1


KEYWORDS = st.sampled_from(
    ["NAXIS", "A", "B", "Naxis", "COMMENT", "", "HIERARCH", "CONTINUE", "CONTINUE", "END", "end"]
)
FIELDS = st.sampled_from(
    [
        *(
            "= 'abc&'",
            "= 'abc  '",
            "  'def&'",
            "  'def'",
            "  'g&' / note",
            "= 12",
            "= 1.5E3/c",
            "= 1D5",
            "= +1.",
            "= .5",
        ),
        *("= nan", "= T / x", "=F", "=", "", "= (1, 2)", "= garbage", "= '&'", " ESO A = 'x&'", " COMMENT = 'x&'"),
        *("= 'it''s&'", "   &", "= '' / '&'", "= 'a' b", "= 'open", "= 1 2", "= '\0'", "=\t7", "= 7\0", "= 1_0", "x"),
    ]
)


@given(
    st.lists(st.tuples(KEYWORDS, FIELDS), max_size=7),
    st.booleans(),
    st.lists(st.sampled_from(["NAXIS", "a", "CONTINUE", "END", "COMMENT", "OTHER", "ESO A"]), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_what_is_asked_for_one_by_one_is_what_all_cards_say(given_cards, ended, asked):
    text = "".join(f"{keyword:8}{field}".ljust(80) for keyword, field in given_cards)
    header = (text + ("END".ljust(80) + "A       = 'behind'".ljust(80) if ended else "")).encode()
    every = Cards(parse(header).cards)
    cards = parse(header)
    for keyword in asked:
        assert (keyword in cards) == (keyword in every)
        assert repr(cards.get(keyword, "none")) == repr(every.get(keyword, "none"))
    assert cards.keywords() == every.keywords()
    assert repr(cards.items()) == repr(every.items())
    for keyword in every.keywords():
        assert repr(cards[keyword]) == repr(every[keyword])
    assert [repr(card) for card in cards] == [repr(card) for card in every]
    with pytest.raises(KeyError):
        cards["OTHER"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "é", "a\nb", 10**80])
def test_what_fits_cannot_hold(value):
    assert not holds("KEY", value)
    with pytest.raises(ValueError, match=r"card|ASCII|long"):
        format_card(Card("KEY", value))


def test_keywords_that_are_none():
    assert not holds("key", 1)
    assert not holds("A=B", 1)
    assert not holds("TWO  BLANKS", 1)
    assert holds("A B", 1)


def raw(*lines):
    return b"".join(line.encode("latin-1").ljust(80) for line in (*lines, "END")).ljust(2880)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("KEY     = 1.5D3 / fortran", 1500.0),
        ("KEY     =T", True),
        ("KEY     = 'unterminated", "unterminated"),
        ("KEY     = 'ab''c / d'  / note", "ab'c / d"),
        ("KEY     =                      / nothing", None),
        ("KEY     = 12:30:45.6", "12:30:45.6"),
        ("KEY     = +0042", 42),
        ("KEY     = (1.5, -2)", complex(1.5, -2)),
        ("KEY     = .5", 0.5),
        ("key     = 3", 3),
        ("KEY     = 'caf\xe9'", "caf\xe9"),
        ("HIERARCH  ESO  DET= 7", None),
    ],
)
def test_cards_in_the_wild(line, expected):
    cards = parse(raw(line, "AFTER   = 1"))
    assert cards["AFTER"] == 1
    assert cards.get("KEY") == expected
    if line.startswith("HIERARCH"):
        assert cards["ESO DET"] == 7


def test_not_a_number():
    cards = parse(raw("A       = NaN", "B       =                 -Inf", "C       = 'NaN'"))
    assert math.isnan(cards["A"])
    assert cards["B"] == -math.inf
    assert cards["C"] == "NaN"


def test_duplicates_comments_and_lone_continue():
    cards = parse(raw("A = 1", "A       = 2", "A       = 3", "COMMENT   x", "COMMENT y", "CONTINUE  'l'", "HISTORY z"))
    assert cards["A"] == 2
    assert cards.lines("COMMENT") == ["  x", "y"]
    assert cards.lines("HISTORY") == ["z"]
    continued = parse(raw("A       = 'one&'", "CONTINUE  'two&' / c", "CONTINUE  'three'", "B       = 'end&'"))
    assert continued["A"] == "onetwothree"
    assert continued["B"] == "end&"


def test_numbers_asked_for():
    cards = parse(raw("A       = 3.0", "B       = 'x'", "C       = T", "D       = 2.5"))
    assert cards.integer("A") == 3
    assert [cards.integer(key, -1) for key in "BCDE"] == [-1] * 4
    assert cards.number("D", 0) == 2.5
    assert cards.number("C", 7) == 7


@pytest.mark.slow
def test_real_headers_read_as_astropy_reads_them(shared_data):
    from bunter.formats.fits_file import FitsFile
    from bunter.testing import FileSource

    seen = 0
    for path in sorted(shared_data.rglob("*.fit*")):
        if "run94" in str(path):
            continue
        file = FitsFile(FileSource(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path) as hdus:
                assert len(hdus) == len(file.hdus)
                for index, hdu in enumerate(hdus):
                    for key in set(hdu.header) - {"COMMENT", "HISTORY", ""}:
                        value = hdu.header[key]
                        mine = file.cards(index)[key]
                        assert mine is None if isinstance(value, fits.card.Undefined) else mine == value
                        seen += 1
    assert seen > 5000
