"""The generic assembler and its counterpart, and what is asked of those that users write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bunter.assembly import (
    MemberList,
    assemble,
    built_in,
    members_of,
    parts_to_strip,
    stripped,
    take_apart,
)
from bunter.dataid import DataId
from bunter.definitions.model import ComponentDefinition, CompositeType
from bunter.errors import AssemblyError, TrustError

PAIR = CompositeType("pair")


def defined(*names, **options):
    return {name: ComponentDefinition(name, f"stored_{name}", **options.get(name, {})) for name in names}


def build(cls, values, assembler=None, *, composite=PAIR, trusted=True, origin=None, **options):
    definitions = defined(*values, **options)
    return assemble(composite, definitions, {"visit": 1}, values, cls, assembler, origin, trusted)


def apart(obj, *names, disassembler=None, whole_types=None, trusted=True, composite=PAIR, **options):
    definitions = defined(*names, **options)
    return take_apart(composite, definitions, {"visit": 1}, obj, disassembler, whole_types or {}, trusted)


@dataclass
class Plain:
    wcs: Any
    calib: Any = "default"


class Keywords:
    def __init__(self, *, wcs, photo_calib=None):
        self.wcs, self.photo_calib = wcs, photo_calib


class Snake:
    def __init__(self):
        self._wcs = None

    def set_wcs(self, wcs):
        self._wcs = wcs

    def get_wcs(self):
        return self._wcs


class Camel:
    def __init__(self):
        self._calib = None

    def setPhotoCalib(self, calib):
        self._calib = calib

    def getPhotoCalib(self):
        return self._calib


class Declaring:
    __bunter_components__ = {"wcs": "", "psf": ""}

    def __init__(self):
        self.wcs = self.psf = None


class Annotated:
    wcs: Any


class Bare:
    pass


class Empty(list):
    """As false as an empty table, and counts how often it was made."""

    made = 0

    def __init__(self, wcs=None):
        super().__init__()
        self.wcs = wcs
        Empty.made += 1


# Building


def test_constructor_arguments_first():
    built = build(Plain, {"wcs": "w", "calib": "c"})
    assert built == Plain("w", "c")
    assert build(Plain, {"wcs": "w"}) == Plain("w", "default")


@pytest.mark.parametrize("spelling", ["photoCalib", "photo_calib", "calib"])
def test_constructor_arguments_in_any_spelling(spelling):
    built = build(Keywords, {"wcs": "w", spelling: "c"})
    assert (built.wcs, built.photo_calib) == ("w", "c")


@pytest.mark.parametrize(
    ("cls", "name", "attribute"),
    [
        (Snake, "wcs", "_wcs"),
        (Camel, "photoCalib", "_calib"),
        (Camel, "photo_calib", "_calib"),
        (Declaring, "psf", "psf"),
        (Annotated, "wcs", "wcs"),
    ],
)
def test_then_setters_then_declared_attributes(cls, name, attribute):
    assert getattr(build(cls, {name: "value"}), attribute) == "value"


def test_without_a_type_the_components_are_a_dict():
    values = {"a": 1, "b": None}
    for cls in (None, dict):
        built = build(cls, values)
        assert built == values
        assert built is not values


def test_absent_components_arrive_as_none():
    assert build(Plain, {"wcs": "w", "calib": None}) == Plain("w", None)
    assert build(Snake, {"wcs": None})._wcs is None
    # Nothing to set, so that no place is needed.
    assert isinstance(build(Bare, {"wcs": None}), Bare)


def test_a_named_setter():
    built = build(Snake, {"x": "value"}, x={"setter": "set_wcs"})
    assert built._wcs == "value"
    # It is called even for what is absent, and even if the constructor has an argument of that name.
    assert build(Snake, {"x": None}, x={"setter": "set_wcs"})._wcs is None

    class Both:
        def __init__(self, wcs="constructor"):
            self.wcs = wcs

        def setAgain(self, wcs):
            self.again = wcs

    both = build(Both, {"wcs": "w"}, wcs={"setter": "setAgain"})
    assert (both.wcs, both.again) == ("constructor", "w")


@pytest.mark.parametrize("setter", ["wcs", "__dict__", "_wcs", "delete", "reset"])
def test_strangers_reach_only_setters(setter):
    with pytest.raises(TrustError, match="begin with 'set'"):
        build(Snake, {"x": 1}, trusted=False, x={"setter": setter})
    with pytest.raises(TrustError, match="begin with 'get'"):
        apart(Snake(), "x", trusted=False, x={"getter": setter})


@pytest.mark.parametrize("word", ["a.b", "", "set wcs", "set()"])
def test_accessors_are_names(word):
    with pytest.raises(AssemblyError, match="not the name"):
        build(Snake, {"x": 1}, x={"setter": word})
    with pytest.raises(AssemblyError, match="not the name"):
        apart(Snake(), "x", x={"getter": word})


def test_a_component_without_a_place():
    with pytest.raises(AssemblyError, match=r"no place for 'wsc'.*did you mean 'wcs'") as caught:
        build(Declaring, {"wsc": 1})
    assert "'pair'" in str(caught.value)
    with pytest.raises(AssemblyError, match="no place for 'wcs'"):
        build(Bare, {"wcs": 1})


def test_an_argument_without_a_component():
    with pytest.raises(AssemblyError, match=r"Plain\(...\) needs 'wcs'.*components: calib"):
        build(Plain, {"calib": 1})


def test_errors_of_the_class_pass_as_they_are():
    """Gen2's assembler took a constructor's own TypeError for a sign that it takes no arguments."""

    class Grumpy:
        def __init__(self, wcs):
            raise TypeError("not in the mood")

    class Picky(Snake):
        def set_wcs(self, wcs):
            raise AttributeError("no such thing as a WCS")

    with pytest.raises(TypeError) as caught:
        build(Grumpy, {"wcs": 1})
    assert str(caught.value) == "not in the mood"
    assert "while assembling 'pair' {'visit': 1}" in caught.value.__notes__
    with pytest.raises(AttributeError, match="no such thing as a WCS"):
        build(Picky, {"wcs": 1})


def test_what_is_false_is_built_once():
    """Gen2's assembler built an empty table twice."""
    Empty.made = 0
    built = build(Empty, {"wcs": 0})
    assert (built, built.wcs, Empty.made) == ([], 0, 1)


def test_false_components_are_components():
    assert build(Plain, {"wcs": 0, "calib": []}) == Plain(0, [])


def test_a_whole_object_among_the_components_is_the_object():
    whole = Declaring()
    whole.psf = "its own"
    built = build(Declaring, {"exposure": whole, "wcs": "newer"})
    assert built is whole
    assert (built.wcs, built.psf) == ("newer", "its own")


def test_two_whole_objects_decide_nothing():
    with pytest.raises(AssemblyError, match="no place for"):
        build(Declaring, {"one": Declaring(), "two": Declaring()})


def test_functions_as_types():
    assert build(lambda wcs: ("made of", wcs), {"wcs": 1}) == ("made of", 1)


def test_a_class_that_is_changed_is_looked_at_again():
    """What a constructor takes is remembered, as long as it is the same one."""

    class Changing:
        def __init__(self, wcs):
            self.held = {"wcs": wcs}

    def other(self, calib):
        self.held = {"calib": calib}

    values = {"wcs": 1}
    assert [build(Changing, values).held for _ in range(2)] == [values, values]
    Changing.__init__ = other
    assert build(Changing, {"calib": 2}).held == {"calib": 2}


def test_what_makes_objects_need_not_be_hashable():
    class Maker:
        __hash__ = None

        def __call__(self, wcs):
            return [wcs]

    assert build(Maker(), {"wcs": 1}) == [1]


def test_a_cutout_is_told_where_it_lies():
    class Cut(Declaring):
        origin = (0, 0)

    assert build(Cut, {"wcs": 1}, origin=(5, 7)).origin == (5, 7)
    assert build(Cut, {"wcs": 1}).origin == (0, 0)
    assert not hasattr(build(Plain, {"wcs": 1}, origin=(5, 7)), "origin")


# Assemblers of users


def test_an_assembler_gets_the_data_id_the_components_and_the_type():
    seen: list[Any] = []

    def assembler(data_id, components, kind):
        seen.append((dict(data_id), dict(components), kind))
        components.clear()
        data_id.clear()
        return "built"

    values = {"wcs": 1, "psf": None}
    assert build(Plain, values, assembler) == "built"
    assert seen == [({"visit": 1}, {"wcs": 1, "psf": None}, Plain)]
    # What it was given was its own.
    assert values == {"wcs": 1, "psf": None}


def test_errors_of_an_assembler_pass_with_a_note():
    def assembler(data_id, components, kind):
        raise KeyError("wsc")

    with pytest.raises(KeyError, match="wsc") as caught:
        build(Plain, {"wcs": 1}, assembler)
    assert caught.value.__notes__ == ["while assembling 'pair' {'visit': 1}"]


def test_built_in_assemblers():
    assert callable(built_in("concat_rows"))
    assert callable(built_in("join_columns"))
    assert built_in("mine.assembler") is None


# Taking apart


@pytest.mark.parametrize(
    ("obj", "names", "expected"),
    [
        (Plain("w", "c"), ("wcs", "calib"), {"wcs": "w", "calib": "c"}),
        (Keywords(wcs=1, photo_calib=2), ("wcs", "photoCalib"), {"wcs": 1, "photoCalib": 2}),
        ({"wcs": 1, "photo_calib": 2}, ("wcs", "photoCalib"), {"wcs": 1, "photoCalib": 2}),
        (Plain("w", None), ("wcs", "calib"), {"wcs": "w", "calib": None}),
        ({"wcs": 1}, ("wcs", "psf"), {"wcs": 1}),
        (Bare(), ("wcs",), {}),
        (Plain(0, []), ("wcs", "calib"), {"wcs": 0, "calib": []}),
    ],
)
def test_taking_apart(obj, names, expected):
    assert apart(obj, *names) == expected


def test_getters():
    snake, camel = Snake(), Camel()
    snake.set_wcs(1)
    camel.setPhotoCalib(2)
    assert apart(snake, "wcs") == {"wcs": 1}
    assert apart(camel, "photo_calib") == {"photo_calib": 2}
    assert apart(snake, "x", x={"getter": "get_wcs"}) == {"x": 1}


def test_errors_of_a_getter_are_not_an_absent_component():
    class Broken:
        @property
        def wcs(self):
            return self.missing

        def get_psf(self):
            return self.missing

    for name in ("wcs", "psf"):
        with pytest.raises(AttributeError, match="missing"):
            apart(Broken(), name)


def test_the_whole_object_is_a_component_of_its_own_type():
    obj = Declaring()
    obj.wcs = 1
    parts = apart(obj, "exposure", "wcs", whole_types={"exposure": Declaring})
    assert parts["exposure"] is obj
    assert parts["wcs"] == 1


@pytest.mark.parametrize(
    "obj",
    [Plain("w", "c"), {"wcs": 1, "calib": 2}, build(Declaring, {"wcs": 1, "psf": 2})],
    ids=["dataclass", "dict", "own"],
)
def test_nothing_that_an_object_declares_is_lost(obj):
    with pytest.raises(AssemblyError, match=r"no place for the '(calib|psf)'.*Nothing was written"):
        apart(obj, "wcs")


def test_what_says_nothing_is_not_lost():
    assert apart(Plain("w", None), "wcs") == {"wcs": "w"}
    assert apart({"wcs": 1, "psf": None, "more": {}}, "wcs") == {"wcs": 1}


def test_a_disassembler_fills_a_dict():
    def disassembler(obj, data_id, components):
        assert components == {}
        components["photoCalib"] = obj.calib
        components["wcs"] = data_id["visit"]

    parts = apart(Plain(1, 2), "wcs", "photo_calib", disassembler=disassembler)
    assert parts == {"photo_calib": 2, "wcs": 1}


def test_names_that_a_disassembler_makes_up():
    def disassembler(obj, data_id, components):
        components["wsc"] = 1

    with pytest.raises(AssemblyError, match=r"handed over 'wsc'.*did you mean 'wcs'.*components are: wcs, psf"):
        apart(Plain(1), "wcs", "psf", disassembler=disassembler)


def test_errors_of_a_disassembler_pass_with_a_note():
    def disassembler(obj, data_id, components):
        raise TypeError("mine")

    with pytest.raises(TypeError) as caught:
        apart(Plain(1), "wcs", disassembler=disassembler)
    assert str(caught.value) == "mine"
    assert caught.value.__notes__ == ["while taking apart 'pair' {'visit': 1}"]


# Whole objects as components


def test_what_siblings_hold_is_stripped_from_the_whole():
    obj = Declaring()
    obj.wcs, obj.psf = 1, 2
    assert parts_to_strip(obj, "exposure", ["exposure", "wcs", "note"]) == ["wcs"]
    assert parts_to_strip(obj, "wcs", ["wcs", "psf"]) == []
    assert parts_to_strip(7, "exposure", ["wcs"]) == []
    bare = stripped(obj, ["wcs"])
    assert (bare.wcs, bare.psf) == (None, 2)
    assert (obj.wcs, obj.psf) == (1, 2)


# Lists


def test_lists_know_their_data_ids():
    members = MemberList("ab", [DataId(ccd=1), DataId(ccd=2)])
    assert members == ["a", "b"]
    assert list(members_of(members, "each")) == [({"ccd": 1}, "a"), ({"ccd": 2}, "b")]


def test_lists_as_mappings_and_pairs():
    expected = [({"ccd": 1}, "a"), ({"ccd": 2}, "b")]
    assert list(members_of({DataId(ccd=1): "a", DataId(ccd=2): "b"}, "each")) == expected
    assert list(members_of([({"ccd": 1}, "a"), ({"ccd": 2}, "b")], "each")) == expected
    assert list(members_of([], "each")) == []


@pytest.mark.parametrize("value", [["a", "b"], "ab", 7, MemberList("ab", [DataId(ccd=1)]), [("a",)]])
def test_lists_that_do_not_know_their_data_ids(value):
    with pytest.raises(AssemblyError, match="'each' is a list"):
        list(members_of(value, "each"))


def test_partial_objects_are_assemblers():
    assembler = partial(lambda extra, data_id, components, kind: (extra, components["wcs"]), "more")
    assert build(None, {"wcs": 1}, assembler) == ("more", 1)
