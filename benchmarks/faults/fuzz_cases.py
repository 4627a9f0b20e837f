"""What `fuzz.py` asks: names, data ID values, templates, expressions and policies, made at random or out of good ones."""

# ruff: noqa: E501 - what is asked is easier to see in one line each
from __future__ import annotations

import unicodedata
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

NASTY = (
    "\0", "\n", "\r", "\t", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ud800", "\udcff", "\u202e", "\u2066", "\u200b", "\ufeff",
    "..", ".", "/", "//", "\\", "~", "~2", "~0", ".part~", ".part~0123", "%", "%2F", "%2f", "%00", "%C3%A9", "%C3", "%25",
    "{", "}", "{{", "}}", "{s}", "%(s)s", "%%", "*", "?", "[a]", "$HOME", "`id`", "$(id)", ";", "|", "&", "'", '"', "''",
    "e\u0301", "\u00e9", "\u1100\u1161\u11a8", "\uac01", "\u212a", "\u0130", "\u00df", "\ufb01", "\uff0f", "\u2024", "\u0344",
    "\u0f71\u0f72\u0f74", "a\u0315\u0300\u05ae\u0062", "\U0001f600", "\U000e0041", "\u0000".join("ab"), "CON", "NUL", "aux.fits",
    "policy.yaml", "registry.sqlite", "bunter.yaml", ".bunter", "registry.sqlite-wal", "-", "--", "-0", "+1", " ", "  x ", "",
    "__class__", "__init__", "None", "nan", "inf", "1e309", "0x10", "1_000", "٣", "²", "Ⅷ", "a:b", "C:", "file:///etc/passwd",
)  # fmt: skip
WORDS = (
    "calexp",
    "src",
    "sfm",
    "jointcal",
    "wcs",
    "photoCalib",
    "psf",
    "visit",
    "ccd",
    "N3",
    "g",
    "r",
    "tract",
    "image",
)
SIGNS = ("a", "B", "z", "0", "7", "_", "-", ".", ":", "+", ",", "=", "@", " ")


def text(r: Random, longest: int = 12) -> str:
    """Return some text: plain pieces, odd ones, now and then any character there is."""
    pieces = []
    for _ in range(r.randrange(longest + 1)):
        pick = r.random()
        if pick < 0.35:
            pieces.append(r.choice(SIGNS))
        elif pick < 0.5:
            pieces.append(r.choice(WORDS))
        elif pick < 0.85:
            pieces.append(r.choice(NASTY))
        else:
            pieces.append(chr(r.randrange(0x110000)))
    made = "".join(pieces)
    if r.random() < 0.02:
        made *= r.choice((50, 1000, 20_000))
    return made


def mutated(r: Random, given: str, pieces: tuple[str, ...] = NASTY) -> str:
    """Return a text with some characters taken out, doubled, swapped or put in."""
    chars = given
    for _ in range(r.choice((1, 1, 2, 3, 6))):
        at = r.randrange(len(chars) + 1)
        end = min(len(chars), at + r.choice((0, 1, 1, 2, 5, 20)))
        what = r.randrange(6)
        if what == 0:
            chars = chars[:at] + chars[end:]
        elif what == 1:
            chars = chars[:end] + chars[at:]
        elif what == 2:
            chars = chars[:at] + r.choice(pieces) + chars[at:]
        elif what == 3:
            chars = chars[:at] + r.choice(pieces) + chars[end:]
        elif what == 4:
            other = r.randrange(len(chars) + 1)
            chars = chars[:other] + chars[at:end] + chars[other:]
        else:
            chars = chars[:at] + chars[at:end] * r.choice((2, 3, 100)) + chars[end:]
        chars = chars[:200_000]
    return chars


# Names

_NAMES = (
    "one",
    "two:sfm",
    "two:sfm.x",
    "pair",
    "pair.one",
    "pair.two",
    "alias",
    "two.x:sfm",
    "a.b.c:d",
    "nothing",
    "two",
)


def name(r: Random) -> Any:
    """Return a dataset name, or what is none."""
    pick = r.random()
    if pick < 0.5:
        return mutated(r, r.choice(_NAMES), (*NASTY, *SIGNS, *WORDS))
    if pick < 0.93:
        return text(r)
    if pick < 0.95:
        return ".".join(["x"] * r.choice((1, 8, 9, 50, 5000))) + r.choice(("", ":s", ":" * 3000))
    return value(r)


# Values of data IDs


class Odd:
    """An object whose methods do what nobody expects."""

    def __init__(self, how: int) -> None:
        self.how = how

    def _do(self, otherwise: Any) -> Any:
        if self.how == 0:
            raise RuntimeError("this object does not want to be looked at")
        if self.how == 1:
            return None
        return otherwise

    def __str__(self) -> str:
        return self._do("../../odd\0")

    def __repr__(self) -> str:
        return self._do("x" * 100_000)

    def __eq__(self, other: object) -> bool:
        return self._do(True)

    def __hash__(self) -> int:
        return self._do(7)

    def __len__(self) -> int:
        return self._do(1 << 40)

    def __bool__(self) -> bool:
        return self._do(True)


class OddIndex(Odd):
    """One that says that it is a number."""

    def __index__(self) -> int:
        return self._do(1 << 70)

    def __float__(self) -> float:
        return self._do(float("nan"))


class OddText(str):
    """A string that says that it is another one."""

    def __str__(self) -> str:
        return "../../elsewhere"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1

    def __format__(self, spec: str) -> str:
        return "/etc/passwd"

    def isascii(self) -> bool:
        """Return True."""
        return True

    def isprintable(self) -> bool:
        """Return True."""
        return True


class OddInt(int):
    """A number that says that it is another one."""

    def __index__(self) -> int:
        return 3

    def __format__(self, spec: str) -> str:
        return "../x"

    def __str__(self) -> str:
        return "../x"


def value(r: Random) -> Any:
    """Return a value for a key, most of them unfit."""
    odd: tuple[Callable[[], Any], ...] = (
        lambda: r.randrange(-10, 10_000),
        lambda: r.choice((2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, 10**5000, -(10**4400), 0, -1)),
        lambda: r.choice((float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e308, 5e-324, 1 / 3, 1e22, 0.1 + 0.2)),
        lambda: r.uniform(-1e6, 1e6),
        lambda: r.choice((True, False, None, ..., NotImplemented, b"bytes", bytearray(b"x"), 1j, range(3), int, len)),
        lambda: r.choice((np.int64(5), np.uint64(2**64 - 1), np.float32(0.1), np.float64("nan"), np.bool_(True))),
        lambda: r.choice((np.str_("n\u0301"), np.bytes_(b"x"), np.array(3), np.array([1]), np.array([1, 2]), np.datetime64("NaT"))),
        lambda: r.choice(([], [1], (), (1,), {}, {"a": 1}, {1}, [[]] * 3, np.ma.masked, np.void(b"ab"))),
        lambda: r.choice((Odd, OddIndex))(r.randrange(3)),
        lambda: OddText(text(r, 4)),
        lambda: OddInt(r.randrange(100)),
        lambda: "x" * r.choice((199, 200, 201, 255, 10_000, 3_000_000)),
        lambda: "\u0344" * r.choice((90, 100, 150)),
    )  # fmt: skip
    return r.choice(odd)() if r.random() < 0.5 else text(r)


def good_text(r: Random) -> str:
    """Return text that is likely to be taken, and likely to be like another one."""
    pick = r.random()
    if pick < 0.5:
        return "".join(r.choice("aAbBeE01.-_~ %/é\u00c9\u0301ßſsK\u212aﬁ") for _ in range(r.randrange(1, 5)))
    if pick < 0.6:
        return mutated(r, r.choice(WORDS), SIGNS)
    return text(r, 5)


def data_value(r: Random, kind: str) -> Any:
    """Return a value for a key of a type, half of them fit."""
    if r.random() < 0.35:
        return value(r)
    if kind == "int":
        return r.choice((r.randrange(50), r.randrange(-50, 0), r.randrange(-(2**63), 2**63), np.int32(r.randrange(9))))
    if kind == "float":
        return r.choice(
            (r.uniform(-2, 2), round(r.uniform(0, 1), 3), r.randrange(5), r.random() * 1e-300, 1e300 * r.random())
        )
    return good_text(r)


# Templates

_TEMPLATES = (
    "sfm/%(visit)d/calexp-{visit:07d}-{ccd}.fits", "{s}/{t}.json", "a/{s}-{t}.json", "{s}{v:d}.fits", "{v:08d}{s}.x",
    "x/{x:.3f}/{s:s}.fits.fz", "{_}/{s}.fits", "%(s)s/%(v)05d.csv", "{a}_{b}_{c}_{d}.dat", "r{v:d}-{s}/{s}.fits", "{a}.{b}.{c}",
    "f/{x}-{y}-{z}.fits", "100%%/{{x}}/{s}", "{x:e}{s}", "p{v:d}{w:d}.fits",
)  # fmt: skip
_SPECS = (
    "",
    ":d",
    ":07d",
    ":s",
    ":f",
    ":.3f",
    ":e",
    ":g",
    ":10.2f",
    ":99d",
    ":0d",
    ":x",
    ":>9",
    ":{w}",
    ":!r",
    ":999999999d",
    ":.99999f",
)
_FIELDS = ("s", "t", "v", "x", "visit", "ccd", "_", "a.b", "a[0]", "s.__class__", "0", "", "é", "s ", "class")


def template(r: Random) -> Any:
    """Return a template, or what is none."""
    pick = r.random()
    if pick < 0.35:
        return mutated(r, r.choice(_TEMPLATES), (*NASTY, *(f"{{{f}{s}}}" for f in _FIELDS[:6] for s in _SPECS[:8])))
    if pick < 0.85:
        pieces = []
        for _ in range(r.choice((1, 2, 3, 4, 6, 12, 40))):
            which = r.random()
            if which < 0.4:
                pieces.append(f"{{{r.choice(_FIELDS)}{r.choice(_SPECS)}}}")
            elif which < 0.5:
                pieces.append(f"%({r.choice(_FIELDS)}){r.choice(('d', 's', '05d', 'f', '.2f', 'r', '', '*d', '-10s'))}")
            elif which < 0.85:
                pieces.append(r.choice(("/", "-", "_", ".", "a", "fits", "0", "1e5", "%2D", "x/y")))
            else:
                pieces.append(text(r, 2))
        return "".join(pieces)
    if pick < 0.9:
        # Readings without number, if one does not look ahead.
        return "".join(f"{{f{i}}}{r.choice(('a', '-', '.', '0', ''))}" for i in range(r.choice((3, 10, 60))))
    if pick < 0.95:
        return r.choice(("{", "}", "{{", "%(", "%(a", "{a:", "(", "../", "/", "a/")) * r.choice((1, 10, 400, 20_000))
    return value(r)


def path(r: Random, written: str | None) -> str:
    """Return a path that may or may not match: a written one that was altered, or a bad one."""
    if written is not None and r.random() < 0.6:
        return mutated(r, written)
    pick = r.random()
    if pick < 0.4:
        return r.choice(("a", "-", "a-", "0", "00", "1e", "%2D", "%", "1.", "a/", "%C3%A9")) * r.choice(
            (1, 20, 200, 255, 1000, 4000)
        )
    return "/".join(text(r, 3) for _ in range(r.randrange(1, 5)))


# Expressions

_EXPRESSIONS = (
    "v = 1", "s = 'a'", "v in (1, 2, 3) and s <> 'x'", "x between 0 and 1.5", "not (v < 3 or s is null)", "s not in ('a', 'b')",
    "v >= -9223372036854775808", "x > 1e308", "v = 1 and v = 2 or v = 3", "s is not null", "x not between v and 3", "s = 'it''s'",
)  # fmt: skip
_PIECES = (
    " and ", " or ", " not ", " in ", " between ", " is null", " is not null", "(", ")", ",", "=", "<>", "<=", ">=", "!=", "==", "<", ">",
    "v", "s", "x", "visit", "rowid", "d.v", "1", "-1", "+2", "1e5", "1.", ".5", "0x1", "9" * 25, "1e400", "'a'", "''", '"b"', "'", '"',
    "--", "/*", "*/", ";", "; drop table file;--", "' or '1'='1", "union select * from about", "load_extension('x')", "?", ":v", "@v", "$v",
    "||", "+", "*", "like", "glob", "match", "collate", "exists", "cast(v as text)", "null", "NULL", "randomblob(1000000000)", "\0", "ⅷ", "٣", "é",
)  # fmt: skip


def expression(r: Random) -> Any:
    """Return a ``where`` expression, or what is none."""
    pick = r.random()
    if pick < 0.35:
        return mutated(r, r.choice(_EXPRESSIONS), (*_PIECES, *NASTY))
    if pick < 0.6:
        return "".join(r.choice(_PIECES) for _ in range(r.randrange(1, 25)))
    if pick < 0.9:
        return _grown(r, r.randrange(6))
    many = r.choice((10, 49, 50, 51, 400, 499, 600, 3000, 100_000))
    bombs = (
        lambda: "(" * many + "v = 1" + ")" * many,
        lambda: "not " * many + "v = 1",
        lambda: " and ".join(["v = 1"] * many),
        lambda: " or ".join(["s = 'a'"] * many),
        lambda: f"v in ({', '.join(map(str, range(many)))})",
        lambda: f"v = {'9' * many * 10}",
        lambda: f"x = 0.{'1' * many * 10}",
        lambda: f"x = 1e{'9' * many}",
        lambda: "'" * many,
        lambda: " " * many + "v",
        lambda: "v = 1" + " " * many * 10 + "!",
        lambda: f"s = '{'é' * many}'",
        lambda: "v" * many + " = 1",
        lambda: f"s = '{text(r, 8)}'",
        lambda: value(r),
    )
    return r.choice(bombs)()


def _grown(r: Random, depth: int) -> str:
    if depth > 0 and r.random() < 0.7:
        a, b = _grown(r, depth - 1), _grown(r, depth - 1)
        return r.choice((f"({a} and {b})", f"{a} or {b}", f"not ({a})", f"{a} and not {b}", f"not {a}"))
    key, literal = r.choice(
        (
            ("v", lambda: str(r.choice((0, 1, -1, 2**63 - 1, r.randrange(-9, 9))))),
            ("s", lambda: "'" + r.choice(("a", "b", "é", "it''s", "%", "\\", text(r, 2).replace("'", "''"))) + "'"),
            ("x", lambda: r.choice(("0", "0.5", "-1e-3", "1e300", str(r.uniform(-1, 1))))),
        )
    )
    sign = r.choice(("=", "<>", "<", "<=", ">", ">=", "!=", "=="))
    return r.choice(
        (
            f"{key} {sign} {literal()}",
            f"{literal()} {sign} {key}",
            f"{key} in ({literal()}, {literal()})",
            f"{key} not in ({literal()})",
            f"{key} between {literal()} and {literal()}",
            f"{key} is {r.choice(('', 'not '))}null",
            f"{literal()} {sign} {literal()}",
        )
    )


def nfc(given: str) -> str:
    """Return the form that values are kept in."""
    return unicodedata.normalize("NFC", given)
