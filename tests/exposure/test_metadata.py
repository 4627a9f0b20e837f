"""Metadata: header cards without those that go stale."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.exposure import Metadata

STALE = """
    CTYPE1 CRVAL2 CRPIX1A CDELT1 CUNIT1 CD1_1 PC2_1 PC001002 PV1_4 PS3_0 CROTA2 LONPOLE LATPOLE EQUINOX RADESYS RADECSYS
    WCSAXES WCSNAME A_ORDER A_2_0 BP_1_1 CPDIS1 DP1 DP1.EXTVER D2IMERR1 WAT1_001 LTV1 LTM1_1 SIMPLE BITPIX NAXIS NAXIS1
    EXTEND BSCALE BZERO BLANK XTENSION EXTNAME EXTVER PCOUNT GCOUNT CHECKSUM DATASUM TFORM1 TTYPE12 TFIELDS ZIMAGE
    ZCMPTYPE ZNAXIS1 ZTILE1 ZDITHER0 INHERIT MAGZERO MAGZPT ZEROPT PHOTZP FLUXMAG0 PHOTFLAM NMGY ZP
"""
KEPT = """
    OBJECT EXPTIME DATE-OBS MJD-OBS FILTER AIRMASS RA DEC GAIN BUNIT TELEQUIN ZD PA CDELAY PVOLT EPOCHS NAXES A_B
    PHOTREF PHOTFLAG TIMESYS SEEING ZPDELRA DPRESS EXTINCT TUNITS
"""


@pytest.mark.parametrize("key", STALE.split())
def test_cards_of_other_components_never_get_in(key: str) -> None:
    metadata = Metadata({key: 1, key.lower(): 2})
    metadata[key] = 3
    metadata.setdefault(key, 4)
    metadata.update({key: 5})
    metadata |= {key: 6}
    assert metadata == {}
    assert Metadata.fromkeys([key], 1) | {key: 1} == {}


@pytest.mark.parametrize("key", KEPT.split())
def test_other_cards_stay(key: str) -> None:
    assert Metadata({key: 1}) == {key: 1}


def test_real_header(decam_header: fits.Header) -> None:
    metadata = Metadata(decam_header)
    assert metadata["EXPTIME" if "EXPTIME" in metadata else "CCDNUM"] == decam_header.get(
        "EXPTIME", decam_header["CCDNUM"]
    )
    assert len(metadata) > 20
    left = {key for key in decam_header if key not in metadata and key}
    assert all(not Metadata.keeps(key) for key in left)
    assert {"CRVAL1", "PV1_4", "NAXIS1", "EXTNAME"} <= left
    again = Metadata(fits.Header.fromstring(metadata.to_header().tostring()))
    assert again == metadata
    assert again.comments == metadata.comments


quoted = st.text("'/& a", max_size=80)
text = (st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60) | quoted).map(str.rstrip)
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.complex_numbers(allow_nan=False, allow_infinity=False)
    | text
)
keys = st.from_regex(r"K[A-Z0-9_-]{0,7}", fullmatch=True) | st.from_regex(r"ESO [A-Z]{3,6} [A-Z]{1,5}", fullmatch=True)


@given(st.dictionaries(keys, values, max_size=5))
@settings(max_examples=60, deadline=None)
def test_header_round_trip_is_exact(items: dict[str, object]) -> None:
    metadata = Metadata(items)
    assert metadata == {key: value for key, value in items.items() if Metadata.keeps(key)}
    again = Metadata(fits.Header.fromstring(metadata.to_header().tostring()))
    assert again == metadata
    for key, value in metadata.items():
        assert type(again[key]) is type(value)


@pytest.mark.parametrize("text", ["'/", "it's / was", "' /'", "a" * 60 + "'/b" + "c" * 60, "'" * 70 + "/", "'/&"])
def test_a_quote_before_a_slash(text: str) -> None:
    header = fits.Header()
    header["K"] = (text, "said")
    header["HIERARCH ESO AB"] = text[:28]
    again = Metadata(fits.Header.fromstring(header.tostring()))
    assert again == {"K": text, "ESO AB": text[:28]}
    assert again.comments["K"] == "said"
    assert Metadata(fits.Header.fromstring(Metadata({"K": text}).to_header().tostring())) == {"K": text}


def test_keys_have_no_case() -> None:
    metadata = Metadata({"exptime": 30.0})
    assert metadata["ExpTime"] == metadata.get("exptime") == 30.0
    assert "Exptime" in metadata
    assert list(metadata) == ["EXPTIME"]
    metadata["EXPTIME"] = 31.0
    del metadata["exptime"]
    assert metadata.get("EXPTIME", 1) == 1
    assert metadata.pop("EXPTIME", 2) == 2
    with pytest.raises(KeyError):
        metadata["EXPTIME"]
    assert 1 not in metadata


def test_comments_and_history_are_lists() -> None:
    header = fits.Header()
    header["OBJECT"] = ("M 31", "the object")
    header.add_comment("one")
    header.add_comment("two")
    header.add_history("made")
    metadata = Metadata(header)
    assert metadata == {"OBJECT": "M 31", "COMMENT": ["one", "two"], "HISTORY": ["made"]}
    assert metadata.comments == {"OBJECT": "the object"}
    assert Metadata({"COMMENT": "x"})["COMMENT"] == ["x"]
    again = metadata.to_header()
    assert list(again["COMMENT"]) == ["one", "two"]
    assert again.comments["OBJECT"] == "the object"


def test_copies_share_nothing() -> None:
    metadata = Metadata({"OBJECT": "M 31", "HISTORY": ["a"]})
    metadata.comments["OBJECT"] = "c"
    for again in (metadata.copy(), copy.deepcopy(metadata), pickle.loads(pickle.dumps(metadata)), metadata | {}):
        assert type(again) is Metadata
        assert (again, again.comments) == (metadata, metadata.comments)
        again["HISTORY"].append("b")  # type: ignore[union-attr]
        again.comments["OBJECT"] = "d"
    assert (metadata["HISTORY"], metadata.comments) == (["a"], {"OBJECT": "c"})
    assert json.loads(json.dumps(metadata)) == metadata


def test_comment_goes_with_its_card() -> None:
    metadata = Metadata()
    metadata.update(fits.Header([("A", 1, "first"), ("B", 2, "second"), ("C", 3, "third")]))
    del metadata["A"]
    metadata.pop("B")
    metadata.popitem()
    assert metadata.comments == {}
    metadata.update(A=2)
    metadata.clear()
    assert metadata == {}


def test_first_of_repeated_cards_and_blank_values() -> None:
    header = fits.Header([("A", 1), ("A", 2), ("B", None)])
    assert Metadata(header) == {"A": 1, "B": None}


def test_numpy_numbers_become_plain() -> None:
    metadata = Metadata({"A": np.float32(0.5), "B": np.int64(3), "C": np.bool_(True), "D": np.str_("x")})
    assert [type(v) for v in metadata.values()] == [float, int, bool, str]


@pytest.mark.parametrize(
    ("key", "value", "error", "words"),
    [
        ("A", math.nan, ValueError, "use None"),
        ("A", math.inf, ValueError, "use None"),
        ("A", "Müller", ValueError, "ASCII"),
        ("A", "two\nlines", ValueError, "ASCII"),
        ("A", [1, 2], TypeError, "list"),
        ("A", {"b": 1}, TypeError, "dict"),
        ("COMMENT", [1], TypeError, "strings"),
        (1, 1, TypeError, "keyword"),
        ("A=B", 1, ValueError, "not a keyword"),
        ("X" * 70, 1, ValueError, "not a keyword"),
        ("Ä", 1, ValueError, "not a keyword"),
    ],
)
def test_what_cannot_be_a_card(key: str, value: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Metadata({key: value})


def test_what_is_no_mapping() -> None:
    for bad in (3, ["ab c"], [1]):
        with pytest.raises(TypeError, match="mapping"):
            Metadata(bad)  # type: ignore[arg-type]
    assert Metadata([("A", 1)]) == {"A": 1}  # type: ignore[arg-type]
    metadata = Metadata({"A": 1})
    metadata.comments["A"] = "Ü"
    with pytest.raises(ValueError, match="comment of A"):
        metadata.to_header()
