"""define and alias: definitions in an output repository, and how they may change (policy.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bunter import Butler, DefinitionError, RepositoryError
from tests.core_support import HERE, Pair, World, assemble_pair, making_world, pair_policy

CONF = 'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}}'
SKY = 'datasets: {sky: {python: dict, storage: Json, template: "sky/{visit:d}.json"}}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


def policy_text(world: World, name: str) -> str:
    return (world.folder / name / "policy.yaml").read_text()


def test_a_policy_is_given_as_text_path_or_dict(world: World) -> None:
    place = world.folder / "conf.yaml"
    place.write_text(CONF)
    given: list[Any] = [
        CONF,
        place,
        str(place),
        {"datasets": {"conf": {"python": "dict", "storage": "Json", "template": "conf/{visit:d}.json"}}},
        {"datasets": {"conf": {"python": dict, "storage": "Json", "template": "conf/{visit:d}.json"}}},
    ]
    for number, policy in enumerate(given):
        butler = world.butler(f"r{number}", policy)
        butler.put({"n": 1}, "conf", visit=1)
        assert world.reader(f"r{number}").get("conf", visit=1) == {"n": 1}


def test_classes_and_functions_in_a_dict_are_trusted(world: World) -> None:
    policy: dict[str, Any] = {
        "datasets": {
            "wcs": {"python": dict, "storage": "Json", "template": "wcs/{visit:d}.json"},
            "calib": {"python": dict, "storage": "Json", "template": "calib/{visit:d}.json"},
            "pair": {"python": Pair, "composite": {"wcs": "wcs", "calib": "calib"}, "assembler": assemble_pair},
        }
    }
    butler = world.butler("a", policy, trust=[])
    butler.put({"n": 1}, "wcs", visit=1)
    butler.put({"z": 1}, "calib", visit=1)
    assert butler.get("pair", visit=1) == Pair({"n": 1}, {"z": 1})


def test_the_policy_is_in_the_repository_and_readable_by_a_person(world: World) -> None:
    world.butler("a", CONF + " # a comment\n")
    assert "conf/{visit:d}.json" in policy_text(world, "a")
    assert "# a comment" in policy_text(world, "a")


def test_the_policy_is_editable_by_a_person_and_read_live(world: World) -> None:
    butler = world.butler("a", CONF)
    place = world.folder / "a/policy.yaml"
    place.write_text(place.read_text() + "\naliases: {c: conf}\n")
    butler.put({"n": 1}, "c", visit=1)
    assert world.reader("a").get("c", visit=1) == {"n": 1}


def test_define_adds_and_the_same_again_is_a_no_op(world: World) -> None:
    butler = world.butler("a", CONF)
    butler.define(SKY)
    assert butler.dataset_types() == ["conf", "sky"]
    butler.put({"n": 1}, "sky", visit=1)
    before = policy_text(world, "a")
    butler.define(SKY)
    butler.define(CONF)
    assert policy_text(world, "a") == before
    assert world.reader("a").get("sky", visit=1) == {"n": 1}


def test_a_policy_given_to_an_existing_output_is_taken_in(world: World) -> None:
    world.butler("a", CONF)
    before = policy_text(world, "a")
    world.butler("a", CONF)
    assert policy_text(world, "a") == before
    assert world.butler("a", SKY).dataset_types() == ["conf", "sky"]
    assert world.reader("a").dataset_types() == ["conf", "sky"]


def test_storage_and_template_may_change_and_what_was_written_is_read_as_it_was(world: World) -> None:
    butler = world.butler("a", CONF)
    butler.put({"n": 1}, "conf", visit=1)
    butler.define('datasets: {conf: {python: dict, storage: Yaml, template: "new/{visit:d}.yaml"}}')
    butler.put({"n": 2}, "conf", visit=2)
    assert world.files("a") == ["conf/1.json", "new/2.yaml"]
    for visit in (1, 2):
        assert butler.get("conf", visit=visit) == world.reader("a").get("conf", visit=visit) == {"n": visit}
    # The same content in another storage is the same content.
    assert butler.put({"n": 1}, "conf", visit=1).uri == str(world.folder / "a/conf/1.json")


@pytest.mark.parametrize(
    "change",
    [
        'datasets: {conf: {python: dict, storage: Json, template: "conf/{visit:d}-{ccd}.json"}}',
        'datasets: {conf: {python: dict, storage: Json, template: "conf/all.json"}}',
        "datasets: {conf: {composite: {sky: sky}}}",
        "datasets: {conf: {partOf: sky}}",
    ],
)
def test_keys_and_kind_may_not_change(world: World, change: str) -> None:
    butler = world.butler("a", CONF)
    butler.define(SKY)
    before = policy_text(world, "a")
    with pytest.raises(DefinitionError, match="use a new stage"):
        butler.define(change)
    assert policy_text(world, "a") == before
    butler.put({"n": 1}, "conf", visit=1)


def test_the_type_of_a_key_may_not_change(world: World) -> None:
    butler = world.butler("a", CONF)
    with pytest.raises(DefinitionError, match="'visit'"):
        butler.define(SKY.replace("{visit:d}", "{visit}") + "\nkeys: {visit: str}")


def test_a_faulty_policy_reports_every_fault_and_makes_nothing(world: World) -> None:
    faulty = """
    datasets:
      conf: {python: dict, storge: Json, template: "conf/{visit:d}.json"}
      sky: {python: dict, storage: Jsn, template: "sky/{visit:d}.json"}
    """
    with pytest.raises(DefinitionError) as caught:
        world.butler("a", faulty)
    assert "storge" in str(caught.value)
    assert "did you mean 'Json'" in str(caught.value)
    assert not (world.folder / "a").exists()


def test_a_faulty_policy_in_the_repository_says_where(world: World) -> None:
    world.butler("a", CONF)
    world.close()
    (world.folder / "a/policy.yaml").write_text("datasets: {conf: {python: dict, storage: Jsn, template: x}}")
    with pytest.raises(DefinitionError, match=r"policy.yaml:1:\d+.*Jsn"):
        world.reader("a")


def test_a_repository_may_have_no_policy_of_its_own(world: World) -> None:
    empty = world.butler("a")
    assert empty.dataset_types() == []
    empty.define(CONF)
    empty.put({"n": 1}, "conf", visit=1)
    assert world.reader("a").get("conf", visit=1) == {"n": 1}


def test_a_read_only_butler_does_not_define(world: World) -> None:
    world.butler("a", CONF)
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").define(SKY)
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").alias("c", "conf")


def test_an_input_given_with_its_own_policy_is_checked(world: World) -> None:
    from bunter import RepositoryArgs

    world.butler("a", CONF)
    world.keep(Butler(RepositoryArgs(world.folder / "a", policy=CONF)))
    with pytest.raises(RepositoryError, match=r"'conf' otherwise"):
        Butler(RepositoryArgs(world.folder / "a", policy=CONF.replace("Json", "Yaml")))
    with pytest.raises(RepositoryError, match="'sky'"):
        Butler(RepositoryArgs(world.folder / "a", policy=SKY))


def test_aliases_may_move_on(world: World) -> None:
    policy = """
    datasets:
      calexp:sfm: {python: dict, storage: Json, template: "sfm/{visit:d}.json"}
      calexp:late: {python: dict, storage: Json, template: "late/{visit:d}.json"}
    """
    butler = world.butler("a", policy)
    butler.put({"n": "sfm"}, "calexp:sfm", visit=1)
    butler.put({"n": "late"}, "calexp:late", visit=1)
    butler.alias("calexp", "calexp:sfm")
    assert butler.get("calexp", visit=1) == {"n": "sfm"}
    butler.alias("calexp", "calexp:late")
    assert butler.get("calexp", visit=1) == {"n": "late"}
    child = world.butler("b", inputs="a")
    child.alias("calexp", "calexp:sfm")
    assert child.get("calexp", visit=1) == {"n": "sfm"}
    assert butler.get("calexp", visit=1) == {"n": "late"}
    with pytest.raises(DefinitionError, match=r"'lat'.*did you mean 'late'"):
        butler.alias("calexp", "calexp:lat")


def test_what_there_is(world: World) -> None:
    butler = world.butler("a", pair_policy("Pair"))
    assert butler.dataset_types() == ["calib", "pair", "wcs"]
    assert butler.keys("pair") == butler.keys("pair.wcs") == ("visit", "ccd")
    assert butler.repositories() == [str(world.folder / "a")]
    assert butler.key_types() == {"visit": "int", "ccd": "str"}
    assert butler.definition("pair").python == f"{HERE}.Pair"  # type: ignore[union-attr]


def test_include_is_taken_in(world: World) -> None:
    (world.folder / "more.yaml").write_text(SKY)
    (world.folder / "main.yaml").write_text("include: [more.yaml]\n" + CONF)
    butler = world.butler("a", world.folder / "main.yaml")
    (world.folder / "more.yaml").unlink()
    assert butler.dataset_types() == ["conf", "sky"]
    assert world.reader("a").dataset_types() == ["conf", "sky"]


def test_a_type_inherits(world: World) -> None:
    policy = """
    datasets:
      src: {python: dict, storage: Json, template: "src/{visit:d}.json"}
      src_blue(src): {template: "blue/{visit:d}.json"}
      src_red: {extends: src, template: "red/{visit:d}.json"}
    """
    butler = world.butler("a", policy)
    for name in ("src", "src_blue", "src_red"):
        butler.put({"n": name}, name, visit=1)
        assert butler.get(name, visit=1) == {"n": name}
    assert world.files("a") == ["blue/1.json", "red/1.json", "src/1.json"]


def test_definitions_are_not_added_inside_a_transaction(world: World) -> None:
    butler = world.butler("a", CONF)
    with butler.transaction():
        with pytest.raises(RepositoryError, match="inside"):
            butler.define(SKY)
        with pytest.raises(RepositoryError, match="inside"):
            butler.alias("c", "conf")
        butler.put({}, "conf", visit=1)
    assert butler.dataset_types() == ["conf"]
    assert butler.exists("conf", visit=1)
