"""Errors and trust: the tree, what messages say, and what a stranger's repository cannot do (design 9 and 10)."""

from __future__ import annotations

import errno
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bunter
from bunter import (
    BunterError,
    Butler,
    DatasetNotFoundError,
    DefinitionError,
    FormatError,
    IntegrityError,
    ParameterError,
    RepositoryArgs,
    RepositoryError,
    TrustError,
)
from bunter.errors import FormatUnavailableError
from tests.core_support import HERE, ID, BySetter, Pair, World, making_world, pair_policy, text_of

CONF = 'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


# The tree


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("DatasetNameError", (ValueError,)),
        ("DataIdError", (ValueError,)),
        ("DefinitionError", (ValueError,)),
        ("ParameterError", (ValueError,)),
        ("NotFoundError", (LookupError,)),
        ("DatasetTypeNotFoundError", (bunter.NotFoundError,)),
        ("ComponentNotFoundError", (bunter.NotFoundError,)),
        ("DatasetNotFoundError", (bunter.NotFoundError,)),
        ("AmbiguousDatasetError", ()),
        ("DatasetExistsError", ()),
        ("ConflictError", (bunter.DatasetExistsError,)),
        ("InUseError", ()),
        ("RepositoryError", ()),
        ("IntegrityError", ()),
        ("FormatError", ()),
        ("FormatMemoryError", (FormatError, MemoryError)),
        ("FormatUnavailableError", (FormatError, ImportError)),
        ("AssemblyError", ()),
        ("TrustError", ()),
    ],
)
def test_the_tree_is_as_drawn(name: str, bases: tuple[type, ...]) -> None:
    error = getattr(bunter, name)
    assert issubclass(error, BunterError)
    assert not issubclass(error, KeyError)
    assert all(issubclass(error, base) for base in bases)
    assert FormatUnavailableError.__name__ in bunter.__all__


@pytest.mark.parametrize(
    "call",
    [
        lambda b: b.get("conf", visit=9),
        lambda b: b.get("conf"),
        lambda b: b.get("cnf", visit=1),
        lambda b: b.get("conf.x", visit=1),
        lambda b: b.get("a:b:c", visit=1),
        lambda b: b.get("conf", visit=1, parameters={"x": 1}),
        lambda b: b.put({"n": 2}, "conf", visit=1),
        lambda b: b.put({"n": object()}, "conf", visit=3),
        lambda b: b.define("datasets: 7"),
        lambda b: b.delete("conf", visit=9),
    ],
)
def test_every_error_is_ours_and_can_be_pickled(world: World, call: Any) -> None:
    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=1)
    with pytest.raises(BunterError) as caught:
        call(butler)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert isinstance(copy, BunterError)
    assert getattr(copy, "searched", None) == getattr(caught.value, "searched", None)


def test_searched_names_the_repositories_in_order(world: World) -> None:
    world.butler("a", CONF)
    child = world.butler("b", inputs="a")
    with pytest.raises(DatasetNotFoundError) as caught:
        child.get("conf", visit=1)
    assert [Path(root).name for root in caught.value.searched] == ["b", "a"]


def test_a_users_own_exceptions_are_never_wrapped(world: World) -> None:
    butler = world.butler("a", CONF)

    class Odd(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("mine")

    with pytest.raises((RuntimeError, FormatError)) as caught:
        butler.put(Odd(), "conf", visit=1)
    assert "mine" in text_of(caught.value) or "Odd" in text_of(caught.value)
    assert not butler.exists("conf", visit=1)


# The machine


def test_a_full_disk_says_so_and_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from bunter.files import local

    butler = world.butler("a", pair_policy("Pair"))

    def full(self: Any, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local._HashingStream, "write", full)
    with pytest.raises(RepositoryError, match=r"disk of .*/a is full"):
        butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    monkeypatch.undo()
    assert world.files("a") == []
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)


def test_an_interrupt_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from bunter.formats.json_ import Json

    butler = world.butler("a", pair_policy("Pair"))
    real = Json.write
    calls: list[int] = []

    def interrupted(self: Json, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(Json, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    monkeypatch.undo()
    assert world.files("a") == []
    assert not butler.exists("wcs", ID)


def test_a_file_where_a_folder_is_needed(world: World) -> None:
    butler = world.butler("a", CONF)
    (world.folder / "a/conf").write_text("in the way")
    with pytest.raises(RepositoryError, match="is a file where a folder is needed"):
        butler.put({"n": 1}, "conf", visit=1)


def test_memory_errors_pass_unchanged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from bunter.formats.json_ import Json

    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=1)

    def hungry(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Json, "read", hungry)
    with pytest.raises(MemoryError):
        butler.get("conf", visit=1)


def test_a_formats_failure_is_a_format_error_with_its_cause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from bunter.formats.json_ import Json

    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=1)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("odd file")

    monkeypatch.setattr(Json, "read", broken)
    with pytest.raises(FormatError, match=r"conf.*1.json.*Json.*ZeroDivisionError: odd file") as caught:
        butler.get("conf", visit=1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("word", ["replace", "check"])
def test_misspelt_options_are_keys_that_nobody_knows(world: World, word: str) -> None:
    butler = world.butler("a", CONF)
    with pytest.raises(bunter.DataIdError, match=f"{word}d"):
        butler.put({}, "conf", visit=1, **{f"{word}d": True})


def test_durability_is_one_of_two_words(world: World) -> None:
    with pytest.raises(ParameterError, match=r"'ful'.*did you mean 'full'"):
        world.butler("a", CONF, durability="ful")
    assert not (world.folder / "a").exists()


# Trust


def test_opening_a_strangers_repository_runs_none_of_its_code(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    policy = """
    datasets:
      one: {python: evil_module.Thing, storage: Json, template: "one/{visit:d}.json"}
      plain: {python: dict, storage: Json, template: "plain/{visit:d}.json"}
      two: {composite: {plain: plain}, assembler: evil_module.assemble, disassembler: evil_module.take}
      three: {composite: {plain: plain}, standardize: evil_module.standardize}
      four: {python: evil_module.Thing, composite: {plain: plain}}
      five: {base: one, composite: {plain: plain}}
    """
    world.butler("a", policy).put({"n": 1}, "plain", visit=1)
    world.close()
    stranger = world.reader("a", trust=())
    stranger.dataset_types()
    stranger.keys("two")
    assert stranger.query("two").count() == 1
    assert stranger.exists("two", visit=1)
    assert stranger.get("plain", visit=1) == stranger.get("two.plain", visit=1) == {"n": 1}
    str(stranger.plan("two", visit=1))
    for name in ("two", "three", "four"):
        with pytest.raises(TrustError, match=r"evil_module.*trust=\['evil_module'\]"):
            stranger.get(name, visit=1)
    with pytest.raises(BunterError):
        stranger.get("one", visit=1)
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("python", ["os.system", "subprocess.Popen", "builtins.eval", "exec", "numpy.load"])
def test_what_is_not_on_the_list_is_not_trusted(world: World, python: str) -> None:
    policy = f'datasets: {{conf: {{python: {python}, storage: Json, template: "conf/{{visit:d}}.json"}}}}'
    world.butler("a", policy)
    writer = world.butler("a", trust=())
    with pytest.raises(TrustError, match=r"trust|not for policies"):
        writer.put({"n": 1}, "conf", visit=1)


def test_the_users_own_trust_is_enough(world: World) -> None:
    world.butler("a", pair_policy("Pair")).put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    assert world.reader("a", trust=[HERE]).get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert world.reader("a", trust=HERE).get("pair", ID) == Pair({"n": 1}, {"z": 1})
    assert world.reader("a", trust=["tests"]).get("pair", ID) == Pair({"n": 1}, {"z": 1})
    for trust in ((), ["test"], ["tests.core"], ["core_support"]):
        with pytest.raises(TrustError, match=f"{HERE}.Pair"):
            world.reader("a", trust=trust).get("pair", ID)


def test_a_policy_that_the_user_passes_in_code_is_trusted(world: World) -> None:
    policy = pair_policy("Pair")
    butler = world.butler("a", policy, trust=())
    butler.put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    assert butler.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    again = world.butler("a", policy, trust=())
    assert again.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    as_input = world.keep(Butler(RepositoryArgs(world.folder / "a", policy=policy)))
    assert as_input.get("pair", ID) == Pair({"n": 1}, {"z": 1})
    defined = world.butler("b", trust=())
    defined.define(policy)
    defined.put(Pair({"n": 1}, {"z": 1}), "pair", ID)


def test_the_users_configuration_is_trusted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.butler("a", pair_policy("Pair")).put(Pair({"n": 1}, {"z": 1}), "pair", ID)
    monkeypatch.setenv("BUNTER_CONFIG", str(world.folder / "config"))
    (world.folder / "config").mkdir()
    (world.folder / "config/trusted-packages").write_text(f"# mine\n{HERE}\n")
    assert world.reader("a", trust=()).get("pair", ID) == Pair({"n": 1}, {"z": 1})


SETTERS = (
    "{wcs: {datasetType: wcs, setter: SETTER, getter: fetch_wcs}, "
    "calib: {datasetType: calib, setter: set_the_calib, getter: get_the_calib}}"
)


def test_setters_of_an_untrusted_policy_reach_only_names_with_set(world: World) -> None:
    policy = pair_policy("BySetter", components=SETTERS.replace("SETTER", "install_wcs"))
    maker = world.butler("a", policy, trust=())
    maker.put({"n": 1}, "wcs", ID)
    maker.put({"z": 1}, "calib", ID)
    assert isinstance(maker.get("pair", ID), BySetter)
    # The class is trusted, the repository's policy is not.
    stranger = world.butler("a", trust=[HERE])
    with pytest.raises(TrustError, match=r"'install_wcs'.*'set'"):
        stranger.get("pair", ID)
    with pytest.raises(TrustError, match=r"'fetch_wcs'.*'get'"):
        stranger.put(maker.get("pair", ID), "pair", {**ID, "visit": 2})


@pytest.mark.parametrize("accessor", ["set.__class__", "set_x; import os", "setter()"])
def test_accessors_are_names_of_attributes(world: World, accessor: str) -> None:
    components = f'{{wcs: {{datasetType: wcs, setter: "{accessor}"}}, calib: calib}}'
    with pytest.raises(DefinitionError, match="name of a method or an attribute"):
        world.butler("a", pair_policy("BySnake", components=components))


def test_a_stranger_does_not_reach_what_every_object_has(world: World) -> None:
    butler = world.butler("a", pair_policy("BySnake", components="{wcs: {datasetType: wcs, setter: __class__}}"))
    butler.put({"n": 1}, "wcs", ID)
    with pytest.raises(TrustError, match=r"'__class__'.*'set'"):
        world.reader("a").get("pair", ID)


def test_lsst_names_stand_for_bunters_own_types(world: World) -> None:
    policy = """
    datasets:
      calib: {python: lsst.afw.image.Calib, storage: Json, template: "{visit:d}.json"}
    """
    butler = world.butler("a", policy, trust=())
    butler.put(bunter.PhotoCalib(2.0), "calib", visit=1)
    assert butler.get("calib", visit=1) == bunter.PhotoCalib(2.0)


def test_a_class_that_is_not_there_says_so(world: World) -> None:
    policy = pair_policy("Pairr")
    butler = world.butler("a", policy)
    butler.put({"n": 1}, "wcs", ID)
    butler.put({"n": 1}, "calib", ID)
    with pytest.raises(DefinitionError, match=r"no 'Pairr'; did you mean 'Pair'"):
        butler.get("pair", ID)


def test_pickle_only_when_the_user_switches_it_on(world: World) -> None:
    policy = 'datasets: {anything: {storage: Pickle, template: "{visit:d}.pickle"}}'
    butler = world.butler("a", policy)
    with pytest.raises(BunterError, match=r"(?i)pickle"):
        butler.put({"n": 1}, "anything", visit=1)
    assert world.files("a") == []


def test_yaml_is_loaded_safely(world: World) -> None:
    world.butler("a", CONF)
    world.close()
    place = world.folder / "a/policy.yaml"
    for text in (
        "datasets: !!python/object/apply:os.system ['true']",
        "a: &a [x]\n" + "\n".join(f"b{i}: &b{i} [*{'a' if i == 0 else f'b{i - 1}'}, *{'a' if i == 0 else f'b{i - 1}'}]"
                                   for i in range(40)),
        "[" * 5000,
        "datasets: {conf: 1, conf: 2}",
    ):  # fmt: skip
        place.write_text(text)
        with pytest.raises(DefinitionError):
            world.reader("a")


def test_a_damaged_path_in_the_registry_does_not_leave_the_root(world: World) -> None:
    import sqlite3

    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=1)
    (world.folder / "secret.json").write_text('{"n":1}\n')
    butler.close()
    for path in ("../secret.json", str(world.folder / "secret.json")):
        db = sqlite3.connect(world.folder / "a/registry.sqlite")
        with db:
            db.execute("UPDATE file SET path = ?", (path,))
        db.close()
        with pytest.raises((IntegrityError, TrustError), match=r"secret.json"):
            world.reader("a").get("conf", visit=1)


def test_a_symbolic_link_in_a_strangers_repository_does_not_leave_the_root(world: World) -> None:
    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=1)
    secret = world.folder / "secret.json"
    place = world.folder / "a/conf/1.json"
    secret.write_bytes(place.read_bytes())
    place.unlink()
    place.symlink_to(secret)
    with pytest.raises(TrustError, match=r"secret.json.*trust_paths"):
        world.reader("a").get("conf", visit=1)
    assert world.reader("a", trust_paths=[world.folder]).get("conf", visit=1) == {"n": 1}
