"""Our dataclasses are those of the standard library, made later."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from bunter import RepositoryArgs, values
from bunter.definitions.model import Place, StoredType

WAYS = [(frozen, slots) for frozen in (False, True) for slots in (False, True)]


def made(module: Any, **options: bool) -> Any:
    """Make the same class with our decorator or with the standard one."""

    class Example:
        """A class."""

        a: int
        b: list[int] = module.field(default_factory=list, repr=False)
        c: str = "c"
        d: float = module.field(default=0.5, compare=False)
        total: int = module.field(init=False, repr=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "total", self.a + len(self.b))

        def twice(self) -> int:
            return 2 * self.a

    return module.dataclass(**options)(Example)


def outcome(work: Any, *arguments: Any, **keywords: Any) -> Any:
    """Return what a call gives, or the kind of error and what it says."""
    try:
        found = work(*arguments, **keywords)
    except (TypeError, ValueError, AttributeError) as error:
        return type(error), str(error).replace("_self", "self")
    return found if isinstance(found, str | int | float | tuple | list | bool | dict | None) else type(found).__name__


@pytest.mark.parametrize(("frozen", "slots"), WAYS)
def test_they_are_what_the_standard_ones_are(frozen: bool, slots: bool) -> None:
    ours, theirs = (made(module, frozen=frozen, slots=slots) for module in (values, dataclasses))
    works = [
        lambda cls: repr(cls(1, [2], "x", 3.0)),
        lambda cls: cls(1) == cls(1, [], "c", 7.0),
        lambda cls: cls(1) == cls(1, [0]),
        lambda cls: cls(1) == 1,
        lambda cls: cls(1) != cls(2),
        lambda cls: cls(1, b=[1, 2]).total,
        lambda cls: cls(4).twice(),
        lambda cls: cls(1).b is cls(1).b,
        lambda cls: cls(),
        lambda cls: cls(1, 2, 3, 4, 5),
        lambda cls: cls(1, total=3),
        lambda cls: cls(1, a=1),
        lambda cls: cls(1, e=1),
        lambda cls: hash(cls(1)),
        lambda cls: setattr(cls(1), "a", 2),
        lambda cls: setattr(cls(1), "total", 2),
        lambda cls: delattr(cls(1), "a"),
        lambda cls: dataclasses.asdict(cls(1, [2])),
        lambda cls: dataclasses.astuple(cls(1, [2])),
        lambda cls: dataclasses.replace(cls(1), a=5).total,
        lambda cls: dataclasses.replace(cls(1), total=5),
        lambda cls: [(f.name, f.type, f.init, f.repr, f.compare) for f in dataclasses.fields(cls)],
        lambda cls: dataclasses.is_dataclass(cls) and dataclasses.is_dataclass(cls(1)),
        lambda cls: cls.__match_args__,
        lambda cls: str(inspect.signature(cls)),
        lambda cls: cls.__doc__,
        lambda cls: cls.__qualname__,
        lambda cls: getattr(cls, "__slots__", None),
        lambda cls: hasattr(cls(1), "__dict__"),
        lambda cls: copy.copy(cls(1, [2])) == cls(1, [2]),
        lambda cls: copy.deepcopy(cls(1, [2])).total,
    ]
    for number, work in enumerate(works):
        ours_says, theirs_say = outcome(work, ours), outcome(work, theirs)
        assert ours_says == theirs_say, number
        # Once more, now that its `__init__` is compiled.
        assert outcome(work, ours) == theirs_say, number


def test_what_is_frozen_takes_nothing_else() -> None:
    made_slots = made(values, frozen=True, slots=True)(1)
    for name in ("a", "new"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(made_slots, name, 1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="a"):
        del made_slots.a


def test_hashes_are_those_of_the_fields_that_are_compared() -> None:
    @values.dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 0
        note: str = values.field(default="", compare=False)

    @values.dataclass(frozen=True)
    class One:
        x: float

    assert hash(Point(1, note="a")) == hash(Point(1, note="b")) == hash((1, 0))
    assert hash(One(1.5)) == hash((1.5,))
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    nan = float("nan")
    assert One(nan) == One(nan)
    with pytest.raises(TypeError, match="unhashable"):
        hash(made(values)(1))


def test_nothing_is_compiled_before_the_first_call() -> None:
    cls = made(values, frozen=True, slots=True)
    before = cls.__init__
    assert cls(1).a == 1
    assert cls.__init__ is not before
    # An instance made by what was taken before is none the worse.
    late = cls.__new__(cls)
    before(late, 3)
    assert late == cls(3)


def test_a_subclass_may_be_the_first() -> None:
    base = made(values)

    class Sub(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(7)

    assert Sub().twice() == 14
    assert repr(base(1)) == repr(made(dataclasses)(1))
    assert Sub() != base(7)


def test_a_dataclass_of_the_standard_library_on_one_of_ours() -> None:
    base = made(values, frozen=True)

    @dataclasses.dataclass(frozen=True)
    class Longer(base):  # type: ignore[misc, valid-type]
        e: int = 9

    assert Longer(1).e == 9
    assert [f.name for f in dataclasses.fields(Longer)] == ["a", "b", "c", "d", "total", "e"]


def test_the_first_call_from_many_threads() -> None:
    for _ in range(20):
        cls = made(values, frozen=True, slots=True)
        start = Barrier(8)

        def work(number: int, cls: Any = cls, start: Barrier = start) -> Any:
            start.wait()
            return cls(number, [number])

        with ThreadPoolExecutor(8) as pool:
            assert [each.total for each in pool.map(work, range(8))] == [number + 1 for number in range(8)]


def test_replace_and_fields() -> None:
    cls = made(values, frozen=True, slots=True)
    first = cls(1, [1])
    second = values.replace(first, a=2)
    assert (first.a, second.a, second.b, second.total) == (1, 2, [1], 3)
    with pytest.raises(ValueError, match="total"):
        values.replace(first, total=1)
    with pytest.raises(TypeError, match="nothing"):
        values.replace(first, nothing=1)
    assert [item.name for item in values.fields(first)] == ["a", "b", "c", "d", "total"]
    assert [item.name for item in values.fields(cls) if not item.compare] == ["d", "total"]


def test_what_is_a_dataclass() -> None:
    for module in (values, dataclasses):
        cls = made(module)
        assert values.is_dataclass(cls)
        assert values.is_dataclass(cls(1))
    for other in (int, 1, "x", None, Any):
        assert not values.is_dataclass(other)


def test_the_ones_of_the_package_are_pickled() -> None:
    for value in (
        Place("a", 1, 2),
        RepositoryArgs("root", {"datasets": {}}),
        StoredType("image", "FitsImage", keys=("visit",), place=Place("b")),
    ):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(value, protocol)) == value


def test_the_import_of_the_butler_is_light() -> None:
    code = "import sys\nbefore = set(sys.modules)\nfrom bunter import Butler\nprint(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bunter.values" in loaded
    for late in ("dataclasses", "inspect", "yaml", "click", "bunter.putting", "bunter.ingesting", "bunter.where"):
        assert late not in loaded
