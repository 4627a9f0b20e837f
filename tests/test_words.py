from __future__ import annotations

from bunter.words import did_you_mean, listing, nearest


def test_nearest() -> None:
    assert nearest("calexpp", ["src", "calexp"]) == "calexp"
    assert nearest("CALEXP", ["src", "calexp"]) == "calexp"
    assert nearest("zzz", ["src", "calexp"]) is None
    assert nearest("", []) is None


def test_did_you_mean() -> None:
    assert did_you_mean("vist", ["visit", "ccd"]) == "; did you mean 'visit'?"
    assert did_you_mean("vist", ["ccd"]) == ""


def test_listing() -> None:
    assert listing([]) == "none"
    assert listing(["a", 1]) == "a, 1"
    assert listing(range(20), most=2) == "0, 1, ... (20 in all)"
    assert listing(x for x in "ab") == "a, b"
