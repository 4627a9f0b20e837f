from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest

from bunter.registry.layouts import packed, unpacked

EMPTY = "99aa06d3014798d86001c324468d497f"
EXPOSURE = {
    "hdus": [
        [0, 2880, 0, "a4ffd067d08ed419219380efb733abe6", EMPTY, "image", "", 1],
        [
            2880,
            5760,
            2**33,
            "86198a69c975c8316db29cbf669db30d",
            "bb039d71e9630a91a68dfbb1d75c6e8d",
            "image",
            "IMAGE",
            1,
        ],
    ],
    "parts": {"image": [1]},
    "planes": {"image": ["f4", [2048, 63]]},
}


class Words(list[str]):
    """Words, each once."""

    def number(self, text: str) -> int:
        if text not in self:
            self.append(text)
        return self.index(text)


def again(layout: dict[str, Any]) -> tuple[Any, Words]:
    """Return what comes back of a layout, by way of a registry, and its words."""
    words = Words([""])
    kept = packed(layout, words.number)
    return unpacked(kept, words.__getitem__), words


@pytest.mark.parametrize(
    "layout",
    [
        {},
        EXPOSURE,
        {"footer": [123456, 789, "5b" * 16]},
        {"whole": "gzip"},
        {"hdus": [[]], "parts": {}, "x": [[], {}, [{}]]},
        {"a": 64, "b": 63, "c": -1, "d": 2**63 - 1, "e": 2**63, "f": 10**30, "g": -(2**63), "h": 0},
        {"a": True, "b": False, "c": None, "d": 1.5, "e": 1e300, "f": "1234", "g": "64"},
        {
            "a": "5B" * 16,
            "b": "5b" * 15,
            "c": "g" * 32,
            "d": " " * 32,
            "e": "é" * 32,
            "f": "5b " * 10 + "5b",
            "g": EMPTY,
        },
        {"#": "a#", "%": "%%", "": ""},
        {"a": "#", "b": 100},
        {"a": ["%"], "b": 100},
        {"a": [65536], "b": [70000, "5b" * 16, [80000, {"c": 90000}]]},
    ],
)
def test_what_is_kept_comes_back(layout: dict[str, Any]) -> None:
    assert again(layout)[0] == json.loads(json.dumps(layout)) == layout


def test_random_layouts_come_back() -> None:
    chance = random.Random(5)

    def value(depth: int) -> Any:
        kind = chance.randrange(9 if depth else 6)
        if kind < 2:
            return chance.choice([0, 1, 63, 64, 2880, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, -5])
        if kind == 2:
            return chance.randbytes(16).hex()
        if kind < 6:
            return chance.choice(["", "IMAGE", "%", "#", "é", None, True, 0.25, EMPTY])
        if kind < 8:
            return [value(depth - 1) for _ in range(chance.randrange(5))]
        return {chance.choice("abc%#"): value(depth - 1) for _ in range(chance.randrange(4))}

    for _ in range(2000):
        layout = {"x": value(3), "y": value(2)}
        assert again(layout)[0] == layout


def test_files_that_are_built_alike_share_a_word() -> None:
    words = Words([""])
    chance = random.Random(1)
    for _ in range(20):
        layout = json.loads(json.dumps(EXPOSURE))
        for hdu in layout["hdus"]:
            hdu[3] = chance.randbytes(16).hex()
        layout["hdus"][1][2] = chance.randrange(64, 1000)
        kept = packed(layout, words.number)
        # Three checksums, numbers of two bytes: what is nowhere else.
        assert isinstance(kept, bytes)
        assert len(kept) == 4 + 3 * 16 + 5 * 2
        assert unpacked(kept, words.__getitem__) == layout
    assert len(words) == 2


def test_people_can_read_the_word() -> None:
    assert again({"hdus": [[2880, 320, "5b" * 16, "image", "PSF", 1]]})[1][1] == (
        '{"hdus":[["%","%","#","image","PSF",1]]}'
    )


def test_layouts_of_earlier_registries_are_read() -> None:
    assert unpacked(json.dumps(EXPOSURE), [].__getitem__) == EXPOSURE
    assert unpacked(None, [].__getitem__) == {}


@pytest.mark.parametrize(
    "word", ["", "x", "5", "[]", '["%"]', "{", '{"a": "#"}', '{"a": ["%", "%"]}', "[" * 50_000, '{"a":' * 50_000]
)
@pytest.mark.parametrize("kept", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\0\0", b"\0\0\0\0" + b"x" * 17, 5, 0.5])
def test_what_makes_no_sense_is_an_error(word: str, kept: Any) -> None:
    with pytest.raises((ValueError, TypeError, RecursionError, struct.error)):
        unpacked(kept, [word].__getitem__)
