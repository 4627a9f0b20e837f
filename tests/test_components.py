from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from bunter.components import declared_components, get_component, has_component, match_component, set_component


class Declares:
    __bunter_components__: ClassVar[dict[str, str]] = {"photo_calib": "bunter.PhotoCalib", "wcs": ""}

    def __init__(self) -> None:
        self.photo_calib: object = "pc"
        self.wcs: object = "w"


class Accessors:
    def __init__(self) -> None:
        self._psf: object = "p"
        self._wcs: object = "w"

    def getPsf(self) -> object:
        return self._psf

    def setPsf(self, psf: object) -> None:
        self._psf = psf

    def get_wcs(self) -> object:
        return self._wcs

    def set_wcs(self, wcs: object) -> None:
        self._wcs = wcs

    @property
    def seeing(self) -> float:
        return 1.0


@dataclass
class Pair:
    a: int
    b: str = ""
    _hidden: int = 0


class Plain:
    pass


def test_declared() -> None:
    assert declared_components(Declares) == {"photo_calib": "bunter.PhotoCalib", "wcs": ""}
    assert set(declared_components(Accessors)) == {"psf", "wcs", "seeing"}
    assert set(declared_components(Pair)) == {"a", "b"}
    assert declared_components(dict) == {}
    assert declared_components(None) == {}


@pytest.mark.parametrize("word", ["photo_calib", "photoCalib", "calib", "PhotoCalib"])
def test_components_match_in_any_spelling(word: str) -> None:
    assert match_component(word, ["wcs", "photo_calib"]) == "photo_calib"
    assert get_component(Declares(), word) == "pc"


def test_calib_is_photo_calib_the_other_way_round() -> None:
    assert match_component("photoCalib", ["calib"]) == "calib"
    assert match_component("psf", ["calib"]) is None
    assert match_component("calib", ["calib", "photo_calib"]) == "calib"


def test_accessors() -> None:
    obj = Accessors()
    assert get_component(obj, "psf") == "p"
    assert get_component(obj, "wcs") == "w"
    set_component(obj, "psf", 1)
    set_component(obj, "wcs", 2)
    assert (obj._psf, obj._wcs) == (1, 2)
    assert has_component(obj, "seeing")
    assert not has_component(obj, "background")


def test_named_accessors() -> None:
    obj = Accessors()
    set_component(obj, "anything", 5, setter="setPsf")
    assert get_component(obj, "anything", getter="getPsf") == 5
    pair = Pair(1)
    set_component(pair, "x", 7, setter="a")
    assert get_component(pair, "x", getter="a") == 7


def test_attributes_that_the_class_declares() -> None:
    pair = Pair(1)
    set_component(pair, "a", 2)
    assert get_component(pair, "a") == 2
    obj = Declares()
    set_component(obj, "photoCalib", 3)
    assert obj.photo_calib == 3


@pytest.mark.parametrize("obj", [Plain(), Pair(1), Declares()])
def test_there_is_no_place_for_an_unknown_component(obj: Any) -> None:
    with pytest.raises(AttributeError, match="background"):
        set_component(obj, "background", 1)
    with pytest.raises(AttributeError, match="background"):
        get_component(obj, "background")


def test_an_accessors_own_error_passes() -> None:
    class Broken:
        def getPsf(self) -> object:
            raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        get_component(Broken(), "psf")
