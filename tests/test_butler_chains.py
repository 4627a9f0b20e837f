"""Chains of repositories: which one wins, recorded parents, moved trees, children that redefine (design 4 and 6)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bunter import (
    AmbiguousDatasetError,
    Butler,
    DatasetNotFoundError,
    DatasetTypeNotFoundError,
    DefinitionError,
    ParameterError,
    RepositoryArgs,
    RepositoryError,
)
from tests.core_support import FRAMES, ID, TRACT_ID, World, frame, making_world

CONF = 'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}}'
TWO = """
datasets:
  conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}
  sky: {python: dict, storage: Json, template: "sky/{visit:d}.json"}
  both: {composite: {conf: conf, sky: sky}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


# Which repository wins


def test_the_nearest_wins_for_each_leaf_on_its_own(world: World) -> None:
    a = world.butler("a", TWO)
    a.put({"in": "a"}, "conf", visit=1)
    a.put({"in": "a"}, "sky", visit=1)
    b = world.butler("b", inputs="a")
    b.put({"in": "b"}, "sky", visit=1)
    c = world.butler("c", inputs="b")
    assert c.get("both", visit=1) == {"conf": {"in": "a"}, "sky": {"in": "b"}}
    c.put({"in": "c"}, "conf", visit=1)
    assert c.get("both", visit=1) == {"conf": {"in": "c"}, "sky": {"in": "b"}}
    assert a.get("both", visit=1) == {"conf": {"in": "a"}, "sky": {"in": "a"}}


def diamond(world: World) -> Butler:
    """Make top <- left, top <- right, (left, right) <- bottom."""
    world.butler("top", CONF)
    world.butler("left", inputs="top")
    world.butler("right", inputs="top")
    return world.butler("bottom", inputs=["left", "right"])


def test_in_a_diamond_no_repository_comes_before_one_that_descends_from_it(world: World) -> None:
    bottom = diamond(world)
    assert [Path(root).name for root in bottom.repositories()] == ["bottom", "left", "right", "top"]
    world.butler("top").put({"in": "top"}, "conf", visit=1)
    assert bottom.get("conf", visit=1) == {"in": "top"}
    # Right descends from top: it masks top although left, which comes first, inherits from top too.
    world.butler("right").put({"in": "right"}, "conf", visit=1)
    assert bottom.get("conf", visit=1) == {"in": "right"}


def test_a_parent_that_is_also_a_grandparent_comes_last(world: World) -> None:
    world.butler("a", CONF)
    world.butler("b", inputs="a")
    c = world.butler("c", inputs=["a", "b"])
    assert [Path(root).name for root in c.repositories()] == ["c", "b", "a"]
    world.butler("a").put({"in": "a"}, "conf", visit=1)
    world.butler("b").put({"in": "b"}, "conf", visit=1)
    assert c.get("conf", visit=1) == {"in": "b"}


def test_two_repositories_that_disagree_are_an_error_naming_both(world: World) -> None:
    bottom = diamond(world)
    world.butler("left").put({"in": "left"}, "conf", visit=1)
    world.butler("right").put({"in": "right"}, "conf", visit=1)
    assert not bottom.exists("conf", visit=1)
    for call in (bottom.get, bottom.uri, bottom.defer):
        with pytest.raises(AmbiguousDatasetError) as caught:
            call("conf", visit=1)
        for word in ("conf {'visit': 1}", str(world.folder / "left"), str(world.folder / "right"), "on_conflict"):
            assert word in str(caught.value)
    # Put the right one into an output that has both as parents.
    bottom.put({"in": "bottom"}, "conf", visit=1)
    assert bottom.get("conf", visit=1) == {"in": "bottom"}


def test_equal_content_agrees(world: World) -> None:
    bottom = diamond(world)
    world.butler("left").put({"a": 1, "b": 2}, "conf", visit=1)
    world.butler("right").put({"b": 2, "a": 1}, "conf", visit=1)
    assert bottom.get("conf", visit=1) == {"a": 1, "b": 2}


def test_first_takes_the_first(world: World) -> None:
    diamond(world)
    world.butler("left").put({"in": "left"}, "conf", visit=1)
    world.butler("right").put({"in": "right"}, "conf", visit=1)
    assert world.butler("bottom", on_conflict="first").get("conf", visit=1) == {"in": "left"}
    assert world.reader("right", "left", on_conflict="first").get("conf", visit=1) == {"in": "right"}
    with pytest.raises(ParameterError, match=r"'frist'.*did you mean 'first'"):
        world.reader("left", on_conflict="frist")


def test_plan_never_raises_for_what_is_ambiguous(world: World) -> None:
    bottom = diamond(world)
    world.butler("left").put({"in": "left"}, "conf", visit=1)
    world.butler("right").put({"in": "right"}, "conf", visit=1)
    text = str(bottom.plan("conf", visit=1))
    assert "AMBIGUOUS" in text
    assert str(world.folder / "right") in text
    assert not bottom.plan("conf", visit=1).complete


def test_a_composite_can_be_put_with_the_right_one_of_two_that_disagree(world: World) -> None:
    world.butler("top", TWO)
    for name in ("left", "right"):
        world.butler(name, inputs="top").put({"in": name}, "conf", visit=1)
    world.butler("left").put({"n": 1}, "sky", visit=1)
    bottom = world.butler("bottom", inputs=["left", "right"])
    bottom.put({"conf": {"in": "right"}, "sky": {"n": 1}}, "both", visit=1)
    assert bottom.get("both", visit=1) == {"conf": {"in": "right"}, "sky": {"n": 1}}
    assert world.files("bottom") == ["conf/1.json"]


def test_several_inputs_without_an_output(world: World) -> None:
    world.butler("a", CONF).put({"in": "a"}, "conf", visit=1)
    world.butler("b", CONF).put({"in": "b"}, "conf", visit=2)
    both = world.reader("a", "b")
    assert both.get("conf", visit=1) == {"in": "a"}
    assert both.get("conf", visit=2) == {"in": "b"}
    assert both.query("conf").count() == 2


def test_composites_put_in_two_unrelated_repositories_must_agree(world: World) -> None:
    world.butler("top", TWO)
    for name in ("left", "right"):
        world.butler(name, inputs="top").put({"conf": {"n": 1}, "sky": {"n": 1}}, "both", visit=1)
    bottom = world.butler("bottom", inputs=["left", "right"])
    assert bottom.get("both", visit=1) == {"conf": {"n": 1}, "sky": {"n": 1}}
    world.butler("right").put({"conf": {"n": 1}, "sky": {"n": 2}}, "both", visit=1, replace=True)
    with pytest.raises(AmbiguousDatasetError, match="sky"):
        bottom.get("both", visit=1)
    assert bottom.get("both.conf", visit=1) == {"n": 1}


def test_a_get_in_one_repository_does_not_look_into_its_children(world: World) -> None:
    world.butler("a", CONF)
    world.butler("b", inputs="a").put({"n": 1}, "conf", visit=1)
    with pytest.raises(DatasetNotFoundError) as caught:
        world.reader("a").get("conf", visit=1)
    assert caught.value.searched == (str(world.folder / "a"),)


# Parents


def test_a_child_finds_its_parents_and_their_definitions_by_itself(world: World) -> None:
    world.butler("a", CONF).put({"n": 1}, "conf", visit=1)
    world.butler("b", inputs="a")
    assert world.reader("b").get("conf", visit=1) == {"n": 1}
    assert world.butler("b").get("conf", visit=1) == {"n": 1}
    assert world.butler("b", inputs="a").dataset_types() == ["conf"]


def test_an_existing_output_must_be_given_its_recorded_parents_or_none(world: World) -> None:
    world.butler("a", CONF)
    world.butler("other", CONF)
    world.butler("b", inputs="a")
    with pytest.raises(RepositoryError, match=r"b exists and has other parents.*/a.*/other"):
        world.butler("b", inputs="other")
    with pytest.raises(RepositoryError, match="other parents"):
        world.butler("b", inputs=["a", "other"])
    with pytest.raises(RepositoryError, match="other parents"):
        world.butler("a", inputs="other")


def test_a_tree_of_repositories_that_is_moved_together_still_works(world: World) -> None:
    here = World(world.folder / "here")
    (world.folder / "here").mkdir()
    here.butler("a", FRAMES).put(frame(), "calexp:sfm", ID)
    b = here.butler("deep/b", inputs="a")
    b.put(frame(wcs={"n": 1}, photo_calib={"n": 1}), "calexp:jointcal", TRACT_ID)
    here.close()
    shutil.move(world.folder / "here", world.folder / "there")
    moved = world.reader("there/deep/b")
    assert moved.get("calexp:jointcal", TRACT_ID) == frame(wcs={"n": 1}, photo_calib={"n": 1})
    assert moved.repositories()[1] == str(world.folder / "there/a")


def test_a_child_that_is_moved_alone_finds_its_parent_where_it_was(world: World) -> None:
    world.butler("a", CONF).put({"n": 1}, "conf", visit=1)
    world.butler("b", inputs="a")
    world.close()
    (world.folder / "elsewhere").mkdir()
    shutil.move(world.folder / "b", world.folder / "elsewhere/b")
    assert world.reader("elsewhere/b").get("conf", visit=1) == {"n": 1}


def test_a_parent_that_is_gone_says_where_it_was(world: World) -> None:
    world.butler("a", CONF)
    world.butler("b", inputs="a")
    world.close()
    shutil.rmtree(world.folder / "a")
    with pytest.raises(RepositoryError) as caught:
        world.reader("b")
    for word in (str(world.folder / "a"), str(world.folder / "b"), "cannot be reached", "bunter.yaml"):
        assert word in str(caught.value)


def test_another_repository_in_the_place_of_the_parent_is_not_taken_for_it(world: World) -> None:
    world.butler("a", CONF)
    world.butler("b", inputs="a")
    world.close()
    shutil.rmtree(world.folder / "a")
    world.butler("a", CONF)
    with pytest.raises(RepositoryError, match="another repository"):
        world.reader("b")


def test_a_repository_that_is_its_own_ancestor_is_refused(world: World) -> None:
    world.butler("a", CONF)
    world.butler("b", inputs="a")
    world.close()
    a, b = (world.folder / name / "bunter.yaml" for name in "ab")
    (id_,) = re.findall(r"^id: (.*)$", b.read_text(), re.MULTILINE)
    a.write_text(a.read_text() + f"parents:\n- {{path: ../b, id: {id_}}}\n")
    with pytest.raises(RepositoryError, match="its own ancestor"):
        world.reader("b")


def test_two_copies_of_one_repository_are_refused(world: World) -> None:
    world.butler("a", CONF)
    world.close()
    shutil.copytree(world.folder / "a", world.folder / "copy")
    with pytest.raises(RepositoryError, match=r"copies of one repository"):
        world.reader("a", "copy")


# What cannot be opened


def test_what_is_no_repository_says_why(world: World) -> None:
    with pytest.raises(RepositoryError, match="no such folder"):
        world.reader("nowhere")
    (world.folder / "empty").mkdir()
    with pytest.raises(RepositoryError, match=r"not a repository.*bunter.yaml"):
        world.reader("empty")
    (world.folder / "full").mkdir()
    (world.folder / "full/mine.txt").write_text("mine")
    with pytest.raises(RepositoryError, match="neither empty nor a repository"):
        world.butler("full", CONF)
    assert os.listdir(world.folder / "full") == ["mine.txt"]


def test_an_empty_folder_can_become_an_output(world: World) -> None:
    (world.folder / "empty").mkdir()
    world.butler("empty", CONF).put({}, "conf", visit=1)


def test_a_newer_layout_is_refused(world: World) -> None:
    world.butler("a", CONF)
    world.close()
    place = world.folder / "a/bunter.yaml"
    place.write_text(re.sub(r"layout: \d+", "layout: 99", place.read_text()))
    with pytest.raises(RepositoryError, match=r"layout 99.*newer Bunter"):
        world.reader("a")


@pytest.mark.parametrize(
    "text", ["", "layout: x", "layout: 1\nid: no-uuid\n", "[1, 2", "layout: 1\nid: 3\nparents: 7\n"]
)
def test_a_damaged_description_is_a_repository_error(world: World, text: str) -> None:
    world.butler("a", CONF)
    world.close()
    (world.folder / "a/bunter.yaml").write_text(text)
    with pytest.raises(RepositoryError, match="damaged"):
        world.reader("a")


def test_a_damaged_registry_is_a_repository_error(world: World) -> None:
    world.butler("a", CONF)
    world.close()
    for file in (world.folder / "a").glob("registry.sqlite*"):
        file.unlink()
    (world.folder / "a/registry.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(RepositoryError, match=r"registry.sqlite.*not a (database|registry)"):
        world.reader("a").get("conf", visit=1)


def test_a_registry_that_is_gone_is_a_repository_error(world: World) -> None:
    world.butler("a", CONF)
    world.close()
    for file in (world.folder / "a").glob("registry.sqlite*"):
        file.unlink()
    with pytest.raises(RepositoryError, match="registry"):
        world.reader("a")
    with pytest.raises(RepositoryError, match="registry"):
        world.butler("a")


def test_a_read_only_repository_can_be_read_and_not_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.butler("a", CONF).put({"n": 1}, "conf", visit=1)
    world.close()
    real = os.access
    root = str(world.folder / "a")

    def refuse(path: str, mode: int) -> bool:
        # Root may write everywhere, so the folder's own bits would prove nothing.
        return False if mode == os.W_OK and os.fspath(path).startswith(root) else real(path, mode)

    monkeypatch.setattr(os, "access", refuse)
    assert world.reader("a").get("conf", visit=1) == {"n": 1}
    with pytest.raises(RepositoryError, match="read-only"):
        world.butler("a")
    assert world.butler("b", inputs="a").get("conf", visit=1) == {"n": 1}


def test_no_repository_at_all_says_how_it_is_done() -> None:
    with pytest.raises(RepositoryError, match="inputs="):
        Butler()


def test_a_root_and_inputs_or_two_outputs_are_refused(world: World) -> None:
    world.butler("a", CONF)
    root = world.folder / "a"
    with pytest.raises(RepositoryError, match="either"):
        Butler(root, inputs=root)
    with pytest.raises(RepositoryError, match="one repository, not 2"):
        Butler(outputs=[world.folder / "b", world.folder / "c"])
    assert not (world.folder / "b").exists()


def test_repositories_are_given_in_every_way(world: World) -> None:
    world.butler("a", CONF).put({"n": 1}, "conf", visit=1)
    root = world.folder / "a"
    for given in (root, str(root), root.as_uri(), {"root": root}, {"root": root, "mode": "r"}, RepositoryArgs(root)):
        butler = world.keep(Butler(given))
        assert butler.get("conf", visit=1) == {"n": 1}
        assert world.keep(Butler(inputs=[given])).get("conf", visit=1) == {"n": 1}
    with pytest.raises(RepositoryError, match=r"'rot'.*did you mean 'root'"):
        Butler({"rot": root})
    with pytest.raises(RepositoryError, match="s3"):
        Butler("s3://bucket/repo")
    with pytest.raises(ParameterError, match="'x'"):
        RepositoryArgs(root, mode="x")
    with pytest.raises(RepositoryError, match="int"):
        Butler(7)  # type: ignore[arg-type]


def test_a_policy_belongs_to_an_output(world: World) -> None:
    with pytest.raises(RepositoryError, match="outputs="):
        Butler(RepositoryArgs(world.folder / "new", policy=CONF))
    assert not (world.folder / "new").exists()


def test_a_root_with_odd_characters(world: World) -> None:
    name = "odd % name # ä?"
    butler = world.butler(name, CONF)
    butler.put({"n": 1}, "conf", visit=1)
    world.close()
    assert world.reader(name).get("conf", visit=1) == {"n": 1}
    child = world.butler("child of " + name, inputs=name)
    assert child.get("conf", visit=1) == {"n": 1}


def test_the_relative_path_of_a_root_does_not_depend_on_the_current_folder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.butler("a", CONF)
    monkeypatch.chdir(world.folder)
    butler = world.keep(Butler(inputs="a", outputs="b", durability="fast"))
    monkeypatch.chdir("/")
    butler.put({"n": 1}, "conf", visit=1)
    assert world.reader("b").get("conf", visit=1) == {"n": 1}


# Children and changes


def test_parents_definitions_are_read_live(world: World) -> None:
    parent = world.butler("a", CONF)
    child = world.butler("b", inputs="a")
    with pytest.raises(DatasetTypeNotFoundError):
        child.exists("sky", visit=1)
    parent.define('datasets: {sky: {python: dict, storage: Json, template: "sky/{visit:d}.json"}}')
    assert not child.exists("sky", visit=1)
    child.put({"n": 1}, "sky", visit=1)
    assert child.get("sky", visit=1) == {"n": 1}


def test_a_child_may_change_storage_and_template(world: World) -> None:
    parent = world.butler("a", CONF)
    parent.put({"n": 1}, "conf", visit=1)
    changed = 'datasets: {conf: {python: dict, storage: Yaml, template: "yaml/{visit:d}.yaml"}}'
    child = world.butler("b", changed, inputs="a")
    # What was written is read as it was written.
    assert child.get("conf", visit=1) == {"n": 1}
    child.put({"n": 2}, "conf", visit=2)
    assert world.files("b") == ["yaml/2.yaml"]
    assert child.get("conf", visit=2) == {"n": 2}
    parent.put({"n": 3}, "conf", visit=3)
    assert world.files("a") == ["conf/1.json", "conf/3.json"]


def test_a_child_may_not_change_keys_or_kind(world: World) -> None:
    world.butler("a", TWO)
    for policy in (
        'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}-{ccd}.json"}}',
        "datasets: {conf: {composite: {sky: sky}}}",
        'datasets: {both: {python: dict, storage: Json, template: "both/{visit:d}.json"}}',
    ):
        with pytest.raises(DefinitionError, match="use a new stage"):
            world.butler("b", policy, inputs="a")
        assert not (world.folder / "b").exists()


def test_unrelated_parents_that_define_a_name_differently_are_an_error_on_use(world: World) -> None:
    world.butler("a", TWO)
    other = CONF.replace("Json", "Yaml")
    world.butler("b", other).put({"n": 1}, "conf", visit=1)
    child = world.butler("c", inputs=["a", "b"])
    child.put({"n": 1}, "sky", visit=1)
    with pytest.raises(DefinitionError, match=r"'conf' is defined differently in two parents"):
        child.get("conf", visit=1)
    settled = world.butler("d", CONF, inputs=["a", "b"])
    assert settled.get("conf", visit=1) == {"n": 1}


def test_a_diamond_whose_one_side_redefines_takes_the_newer_definition(world: World) -> None:
    world.butler("top", CONF)
    world.butler("left", inputs="top")
    world.butler("right", CONF.replace("Json", "Yaml").replace("json", "yaml"), inputs="top")
    bottom = world.butler("bottom", inputs=["left", "right"])
    bottom.put({"n": 1}, "conf", visit=1)
    assert world.files("bottom") == ["conf/1.yaml"]


def test_the_output_may_be_among_the_inputs(world: World) -> None:
    world.butler("a", CONF).put({"n": 1}, "conf", visit=1)
    world.close()
    both = world.butler("a", inputs="a")
    assert both.get("conf", visit=1) == {"n": 1}
    both.put({"n": 2}, "conf", visit=2)
    assert both.repositories() == [str(world.folder / "a")]


def test_a_butler_is_a_context_manager(world: World) -> None:
    with Butler(outputs=RepositoryArgs(world.folder / "a", policy=CONF), durability="fast") as butler:
        butler.put({"n": 1}, "conf", visit=1)
    with Butler(world.folder / "a") as reader:
        assert reader.get("conf", visit=1) == {"n": 1}
