"""ingest: files that are there already become datasets, all of them or none (design 4, policy.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table

from bunter import (
    AssemblyError,
    Butler,
    DataIdError,
    DatasetExistsError,
    FormatError,
    IntegrityError,
    InUseError,
    ParameterError,
    RepositoryError,
    TrustError,
)
from tests.core_support import HERE, World, making_world, write_json

POLICY = """
datasets:
  conf: {python: dict, storage: Json, template: "conf/{visit:d}-{ccd}.json"}
  free: {python: dict, storage: Json, keys: [visit]}
  raw: {python: dict, storage: Json, template: "{night:d}/raw-{visit:d}.json", keys: [visit]}
  both: {composite: {conf: conf, raw: raw}}
  psf: {partOf: conf}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with making_world(tmp_path) as made:
        yield made


@pytest.fixture
def butler(world: World) -> Butler:
    return world.butler("a", POLICY)


def incoming(world: World, *visits: int, ccd: str = "N3", value: Any = None) -> list[Path]:
    """Make files that another program might have left."""
    return [
        write_json(world.folder / f"in/conf/{visit}-{ccd}.json", {"n": visit} if value is None else value)
        for visit in visits
    ]


def test_files_are_ingested_in_place_by_the_template_run_backwards(world: World, butler: Butler) -> None:
    files = incoming(world, 1, 2)
    before = [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files]
    refs = butler.ingest("conf", files)
    assert [ref.data_id for ref in refs] == [{"visit": 1, "ccd": "N3"}, {"visit": 2, "ccd": "N3"}]
    assert [ref.get() for ref in refs] == [{"n": 1}, {"n": 2}]
    assert refs[0].uri == str(files[0])
    assert refs[0].uuid is not None
    assert world.files("a") == []
    assert [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files] == before


@pytest.mark.parametrize("mode", ["copy", "move", "hardlink", "symlink"])
def test_every_mode_puts_the_file_into_its_place(world: World, butler: Butler, mode: str) -> None:
    (file,) = incoming(world, 1)
    (ref,) = butler.ingest("conf", file, mode=mode)
    place = world.folder / "a/conf/1-N3.json"
    assert ref.uri == str(place)
    assert ref.get() == {"n": 1}
    assert file.exists() == (mode != "move")
    assert place.is_symlink() == (mode == "symlink")
    if mode == "hardlink":
        assert place.samefile(file)
    if mode in ("copy", "move"):
        file.unlink(missing_ok=True)
        assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}


def test_an_unknown_mode_scan_or_on_exists_names_the_nearest(world: World, butler: Butler) -> None:
    (file,) = incoming(world, 1)
    for option, word in (("mode", "copi"), ("scan", "header"), ("on_exists", "skp")):
        with pytest.raises(ParameterError, match=f"'{word}'.*did you mean"):
            butler.ingest("conf", file, **{option: word})


@pytest.mark.parametrize("scan", ["none", "headers", "full"])
def test_scan_levels(world: World, butler: Butler, scan: str) -> None:
    (file,) = incoming(world, 1)
    butler.ingest("conf", file, scan=scan)
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}
    changed = file.read_bytes().replace(b"1", b"7")
    file.write_bytes(changed)
    if scan == "full":
        with pytest.raises(IntegrityError, match="checksum"):
            butler.get("conf", visit=1, ccd="N3")
    else:
        with pytest.raises(IntegrityError, match=r"conf .*1-N3.json was changed since it was ingested"):
            butler.get("conf", visit=1, ccd="N3")


def test_a_file_that_was_cut_short_since_is_an_integrity_error(world: World, butler: Butler) -> None:
    (file,) = incoming(world, 1)
    butler.ingest("conf", file)
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(IntegrityError, match="cut short or changed"):
        butler.get("conf", visit=1, ccd="N3")


# What is given


def test_globs_paths_and_lists(world: World, butler: Butler) -> None:
    files = incoming(world, 1, 2, 3, 4)
    assert len(butler.ingest("conf", str(world.folder / "in/conf/[12]-*.json"))) == 2
    assert len(butler.ingest("conf", [str(files[2]), files[3]])) == 2
    assert len(butler.ingest("conf", world.folder / "in/**/*.json")) == 4
    with pytest.raises(ParameterError, match="no file matches"):
        butler.ingest("conf", str(world.folder / "in/conf/9*.json"))
    with pytest.raises(ParameterError, match="folder"):
        butler.ingest("conf", world.folder / "in")
    with pytest.raises(ParameterError, match="int"):
        butler.ingest("conf", 7)
    assert butler.ingest("conf", []) == []


def test_relative_paths(world: World, butler: Butler, monkeypatch: pytest.MonkeyPatch) -> None:
    incoming(world, 1)
    monkeypatch.chdir(world.folder / "in/conf")
    butler.ingest("conf", "1-N3.json")
    monkeypatch.chdir("/")
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}


def test_a_path_with_magic_characters_that_exists_is_taken_literally(world: World, butler: Butler) -> None:
    file = write_json(world.folder / "in/odd[1].json", {"n": 1})
    butler.ingest("conf", file, visit=1, ccd="N3")
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda columns: Table(columns),
        lambda columns: pa.table(columns),
        lambda columns: pd.DataFrame(columns),
        lambda columns: columns,
        lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    ],
    ids=["astropy", "arrow", "pandas", "mapping", "rows"],
)
def test_the_data_ids_come_from_the_columns_of_a_table(world: World, butler: Butler, make: Any) -> None:
    files = [write_json(world.folder / f"in/{name}.json", {"n": name}) for name in "xy"]
    columns = {"path": [str(file) for file in files], "visit": [1, 2], "ccd": ["N3", "N4"], "seeing": [1.0, 2.0]}
    butler.ingest("conf", make(columns))
    assert butler.get("conf", visit=2, ccd="N4") == {"n": "y"}


def test_a_table_without_paths_says_so(butler: Butler) -> None:
    with pytest.raises(ParameterError, match=r"'path'.*visit"):
        butler.ingest("conf", Table({"visit": [1]}))


def test_columns_of_numbers_of_every_kind(world: World, butler: Butler) -> None:
    file = write_json(world.folder / "in/x.json", {})
    for number, column in enumerate((np.array([1], "i2"), np.array([2], ">i8"), np.array([3.0]), np.array(["4"]))):
        butler.ingest("conf", Table({"path": [str(file)], "visit": column, "ccd": np.array([b"N3"])}))
        assert butler.exists("conf", visit=number + 1, ccd="N3")
    with pytest.raises(DataIdError, match="visit"):
        butler.ingest("conf", Table({"path": [str(file)], "visit": [1.5], "ccd": ["N3"]}))


def test_the_data_id_is_given(world: World, butler: Butler) -> None:
    file = write_json(world.folder / "in/anything.json", {"n": 1})
    butler.ingest("conf", file, data_id={"visit": 1}, ccd="N3")
    butler.ingest("conf", file, dataId={"visit": 2, "ccd": "N3"})
    butler.ingest("free", file, visit=3)
    assert butler.get("conf", visit=2, ccd="N3") == butler.get("free", visit=3) == {"n": 1}
    with pytest.raises(DataIdError, match=r"'vist'.*did you mean 'visit'"):
        butler.ingest("conf", file, vist=1)
    with pytest.raises(DataIdError, match=r"'free' has no key 'ccd'"):
        butler.ingest("free", file, visit=4, ccd="N3")


def test_given_path_and_columns_together_fill_the_keys(world: World, butler: Butler) -> None:
    butler.define(
        """
        keys: {visit: int, ccd: str, tract: int}
        datasets: {three: {python: dict, storage: Json, template: "{visit:d}/{_}.json", keys: [visit, ccd, tract]}}
        """
    )
    file = write_json(world.folder / "in/5/whatever.json", {"n": 1})
    butler.ingest("three", Table({"path": [str(file)], "ccd": ["N3"]}), tract=7)
    assert butler.get("three", visit=5, ccd="N3", tract=7) == {"n": 1}


@pytest.mark.parametrize(
    ("table", "data_id", "words"),
    [
        ({}, {"visit": 9}, ["the data ID given says visit=9", "the path says visit=1"]),
        ({"visit": [9]}, {}, ["the table says visit=9", "the path says visit=1"]),
        ({"ccd": ["N3"]}, {"ccd": "N4"}, ["the data ID given says ccd='N4'", "the table says ccd='N3'"]),
    ],
)
def test_two_sources_that_disagree_are_an_error_naming_both(
    world: World, butler: Butler, table: dict[str, Any], data_id: dict[str, Any], words: list[str]
) -> None:
    (file,) = incoming(world, 1)
    with pytest.raises(DataIdError) as caught:
        butler.ingest("conf", {"path": [file], **table}, data_id=data_id)
    for word in (*words, str(file)):
        assert word in str(caught.value)


def test_another_template_may_be_given(world: World, butler: Butler) -> None:
    files = [write_json(world.folder / f"in/v{visit}_cN3_x.json", {"n": visit}) for visit in (1, 2)]
    butler.ingest("conf", files, template="v{visit:d}_c{ccd}_{_}.json")
    assert butler.get("conf", visit=2, ccd="N3") == {"n": 2}


def test_a_template_spans_whole_folders_only(world: World, butler: Butler) -> None:
    for place in ("xconf/1-N3.json", "conf/x/1-N3.json"):
        file = write_json(world.folder / "in" / place, {})
        with pytest.raises(DataIdError, match="does not match the template"):
            butler.ingest("conf", file)


def test_two_different_readings_of_a_path_are_an_error(world: World, butler: Butler) -> None:
    butler.define('datasets: {odd: {python: dict, storage: Json, template: "odd/{a}-{b}.json"}}')
    file = write_json(world.folder / "in/odd/x-y-z.json", {})
    with pytest.raises(DataIdError, match=r"x-y-z"):
        butler.ingest("odd", file)
    # A path need not match when the data ID is given in full.
    butler.ingest("odd", file, a="x-y", b="z")
    assert butler.get("odd", a="x-y", b="z") == {}


def test_path_fields_are_matched_and_recorded_but_are_no_identity(world: World, butler: Butler) -> None:
    file = write_json(world.folder / "in/20260101/raw-5.json", {"n": 5})
    butler.ingest("raw", file)
    assert butler.get("raw", visit=5) == {"n": 5}
    assert butler.keys("raw") == ("visit",)
    again = write_json(world.folder / "in/20260102/raw-5.json", {"n": 6})
    with pytest.raises(DatasetExistsError):
        butler.ingest("raw", again)
    butler.ingest("raw", write_json(world.folder / "in/20260103/raw-7.json", {"n": 7}), mode="copy")
    assert world.files("a") == ["20260103/raw-7.json"]


def test_a_type_without_a_template_has_no_place_for_files(world: World, butler: Butler) -> None:
    (file,) = incoming(world, 1)
    with pytest.raises(ParameterError, match="no template"):
        butler.ingest("free", file, visit=1, mode="copy")


# All or nothing


def test_files_that_match_nothing_are_listed_and_none_is_ingested(world: World, butler: Butler) -> None:
    good = incoming(world, 1, 2)
    bad = [write_json(world.folder / "in/conf/odd.json", {}), world.folder / "in/conf/3-N3.json"]
    other = write_json(world.folder / "in/conf/x-N3.json", {})
    with pytest.raises(DataIdError) as caught:
        butler.ingest("conf", [*good, *bad, other], mode="move")
    text = str(caught.value)
    assert "3 of 5 files" in text
    assert all(str(file) in text for file in (*bad, other))
    assert "No such file" in text
    assert butler.query("conf").count() == 0
    assert all(file.exists() for file in good)
    assert world.files("a") == []


def test_a_file_that_cannot_be_copied_loses_nothing(world: World, butler: Butler, monkeypatch: Any) -> None:
    files = incoming(world, 1, 2, 3)
    real = os.link
    calls = []

    def full(source: str, target: str, **options: Any) -> None:
        calls.append(target)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(Exception, match="No space left"):
        butler.ingest("conf", files, mode="move")
    monkeypatch.undo()
    assert all(file.exists() for file in files)
    assert butler.query("conf").count() == 0
    assert world.files("a") == []
    assert len(butler.ingest("conf", files, mode="move")) == 3


def test_a_file_of_another_format_is_refused(world: World, butler: Butler) -> None:
    good = incoming(world, 1)
    bad = world.folder / "in/conf/2-N3.json"
    bad.write_bytes(b"\x00\x01 not json")
    butler.define('datasets: {cube: {python: numpy.ndarray, storage: Npy, template: "conf/{visit:d}-{ccd}.json"}}')
    with pytest.raises(FormatError, match=r"2-N3.json"):
        butler.ingest("cube", bad)
    butler.ingest("conf", [*good, bad], scan="none")
    with pytest.raises(FormatError, match=r"2-N3.json"):
        butler.get("conf", visit=2, ccd="N3")
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}


# Again


@pytest.mark.parametrize("mode", ["direct", "copy", "hardlink", "symlink"])
def test_the_same_unchanged_file_again_is_a_no_op(world: World, butler: Butler, mode: str) -> None:
    files = incoming(world, 1, 2)
    first = butler.ingest("conf", files, mode=mode)
    before = world.files("a")
    again = butler.ingest("conf", files, mode=mode)
    assert [ref.uuid for ref in again] == [ref.uuid for ref in first]
    assert world.files("a") == before
    assert butler.query("conf").count() == 2


def test_more_files_with_those_that_are_there(world: World, butler: Butler) -> None:
    files = incoming(world, 1, 2)
    butler.ingest("conf", files[:1])
    assert len(butler.ingest("conf", files)) == 2
    assert butler.query("conf").count() == 2


def test_other_content_is_an_error_that_lists_the_data_ids(world: World, butler: Butler) -> None:
    butler.ingest("conf", incoming(world, 1, 2), mode="copy")
    files = incoming(world, 1, 2, 3, value={"n": "new"})
    with pytest.raises(DatasetExistsError) as caught:
        butler.ingest("conf", files, mode="copy")
    for word in ("2 datasets of 'conf'", "'visit': 1", "'visit': 2", "on_exists='skip'", str(files[0])):
        assert word in str(caught.value)
    assert not butler.exists("conf", visit=3, ccd="N3")
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}


def test_on_exists_skip_and_replace(world: World, butler: Butler) -> None:
    old = butler.ingest("conf", incoming(world, 1), mode="copy")[0]
    old_uuid = old.uuid
    files = incoming(world, 1, 2, value={"n": "new"})
    refs = butler.ingest("conf", files, mode="copy", on_exists="skip")
    assert refs[0].uuid == old_uuid
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}
    assert butler.get("conf", visit=2, ccd="N3") == {"n": "new"}
    butler.ingest("conf", files, mode="copy", on_exists="replace")
    assert butler.get("conf", visit=1, ccd="N3") == {"n": "new"}
    assert world.files("a") == ["conf/1-N3.json", "conf/1-N3~2.json", "conf/2-N3.json"]


def test_replace_repins_composites(world: World, butler: Butler) -> None:
    butler.ingest("raw", write_json(world.folder / "in/1/raw-1.json", {"n": 1}))
    butler.define("datasets: {pinned: {composite: {conf: conf, raw: {datasetType: raw, inputOnly: true}}}}")
    butler.put({"conf": {"n": 1}, "raw": None}, "pinned", visit=1, ccd="N3")
    butler.ingest("raw", write_json(world.folder / "in/2/raw-1.json", {"n": 2}), on_exists="replace")
    assert butler.get("pinned", visit=1, ccd="N3") == {"conf": {"n": 1}, "raw": {"n": 2}}


def test_a_file_that_was_changed_in_place_is_other_content(world: World, butler: Butler) -> None:
    (file,) = incoming(world, 1)
    butler.ingest("conf", file)
    file.write_text(json.dumps({"n": "changed"}))
    with pytest.raises(DatasetExistsError):
        butler.ingest("conf", file)
    butler.ingest("conf", file, on_exists="replace")
    assert butler.get("conf", visit=1, ccd="N3") == {"n": "changed"}
    assert butler.query("conf").count() == 1


def test_one_data_id_twice_in_one_call(world: World, butler: Butler) -> None:
    one = write_json(world.folder / "x/conf/1-N3.json", {"n": 1})
    same = write_json(world.folder / "y/conf/1-N3.json", {"n": 1})
    other = write_json(world.folder / "z/conf/1-N3.json", {"n": 2})
    with pytest.raises(DatasetExistsError) as caught:
        butler.ingest("conf", [one, other])
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)
    butler.ingest("conf", [one, same])
    assert butler.query("conf").count() == 1


def test_a_parents_dataset_is_masked(world: World, butler: Butler) -> None:
    butler.ingest("conf", incoming(world, 1), mode="copy")
    child = world.butler("b", inputs="a")
    child.ingest("conf", incoming(world, 1, value={"n": "new"}), mode="copy")
    assert child.get("conf", visit=1, ccd="N3") == {"n": "new"}
    assert butler.get("conf", visit=1, ccd="N3") == {"n": 1}


# Types that cannot be ingested


def test_only_stored_types_are_ingested(world: World, butler: Butler) -> None:
    (file,) = incoming(world, 1)
    for name in ("both", "both.conf", "psf", "conf.x"):
        with pytest.raises(AssemblyError, match=r"stored types: .*conf"):
            butler.ingest(name, file)


def test_a_component_with_a_name_of_its_own_is_ingested(world: World) -> None:
    butler = world.butler(
        "b",
        """
        datasets:
          base: {python: dict, storage: Json, template: "base/{visit:d}.json"}
          both.w:late: {python: dict, storage: Json, template: "w/{visit:d}.json"}
          both:late: {composite: {base: base}}
        """,
    )
    butler.put({}, "base", visit=1)
    butler.ingest("both.w:late", write_json(world.folder / "in/w/1.json", {"n": 1}))
    assert butler.get("both:late", visit=1) == {"base": {}, "w": {"n": 1}}


def test_a_read_only_butler_does_not_ingest(world: World, butler: Butler) -> None:
    with pytest.raises(RepositoryError, match="outputs="):
        world.reader("a").ingest("conf", incoming(world, 1))


# Trust in folders


def test_files_outside_the_root_are_read_where_the_user_made_the_repository(world: World, butler: Butler) -> None:
    butler.ingest("conf", incoming(world, 1))
    assert world.reader("a").get("conf", visit=1, ccd="N3") == {"n": 1}
    assert world.butler("b", inputs="a").get("conf", visit=1, ccd="N3") == {"n": 1}


def test_files_outside_the_root_of_a_stranger_are_read_only_from_trusted_folders(
    world: World, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    butler.ingest("conf", incoming(world, 1))
    # Somebody else: another configuration, so another key.
    monkeypatch.setenv("BUNTER_CONFIG", str(world.folder / "somebody-else"))
    with pytest.raises(TrustError) as caught:
        world.reader("a").get("conf", visit=1, ccd="N3")
    for word in (str(world.folder / "in/conf"), "trust_paths"):
        assert word in str(caught.value)
    trusting = world.reader("a", trust_paths=[world.folder / "in"])
    assert trusting.get("conf", visit=1, ccd="N3") == {"n": 1}
    other = world.reader("a", trust_paths=[world.folder / "elsewhere"])
    with pytest.raises(TrustError):
        other.get("conf", visit=1, ccd="N3")


def test_a_registry_that_names_a_file_of_the_system_is_not_believed(world: World, butler: Butler) -> None:
    import sqlite3

    butler.ingest("conf", incoming(world, 1))
    secret = world.folder / "secret.json"
    secret.write_text('{"n":1}')
    butler.close()
    with sqlite3.connect(world.folder / "a/registry.sqlite") as db:
        db.execute("UPDATE file SET path = ?, size = ?", (str(secret), secret.stat().st_size))
    db.close()
    with pytest.raises(TrustError, match=r"secret.json"):
        world.reader("a").get("conf", visit=1, ccd="N3")


# One file, many datasets


EACH = f"""
datasets:
  throughput:
    python: {HERE}.VisitFacts
    storage: Json
    template: "flat-{{ccd}}.json"
    each: {{filter: [u, g, r]}}
    keys: [ccd, filter]
"""


def test_each_by_values(world: World) -> None:
    butler = world.butler("b", EACH)
    file = write_json(world.folder / "in/flat-N3.json", {"visit": 1})
    refs = butler.ingest("throughput", file, mode="copy")
    assert [ref.data_id["filter"] for ref in refs] == ["u", "g", "r"]
    assert world.files("b") == ["flat-N3.json"]
    assert len({ref.uri for ref in refs}) == 1
    assert butler.get("throughput", ccd="N3", filter="g").visit == 1
    butler.ingest("throughput", file, mode="copy")
    assert butler.query("throughput").count() == 3
    # The file goes with the last of them.
    butler.delete("throughput", ccd="N3", filter="g")
    assert butler.get("throughput", ccd="N3", filter="r").visit == 1


def test_each_takes_a_constraint(world: World) -> None:
    butler = world.butler("b", EACH)
    file = write_json(world.folder / "in/flat-N3.json", {"visit": 1})
    butler.ingest("throughput", file, filter="r")
    assert butler.query("throughput").data_ids == [{"ccd": "N3", "filter": "r"}]
    with pytest.raises(DataIdError, match="agrees"):
        butler.ingest("throughput", file, filter="z")


def test_several_types_share_a_file(world: World) -> None:
    policy = """
    datasets:
      one: {python: dict, storage: Json, template: "x-{visit:d}.json"}
      two: {storage: Json, template: "x-{visit:d}.json"}
      mix: {composite: {one: one, two: {datasetType: two, inputOnly: true}}}
    """
    butler = world.butler("b", policy)
    file = write_json(world.folder / "in/x-1.json", {"n": 1})
    butler.ingest("one", file)
    butler.ingest("two", file)
    assert butler.uri("one", visit=1) == butler.uri("two", visit=1) == str(file)
    assert butler.get("mix", visit=1) == {"one": {"n": 1}, "two": {"n": 1}}
    butler.put({"one": {"n": 1}, "two": None}, "mix", visit=1)
    with pytest.raises(InUseError):
        butler.delete("two", visit=1)


# Implied keys


def test_implied_keys_are_learned_at_ingest(world: World) -> None:
    policy = """
    implied: {filter: [visit]}
    datasets: {image: {python: dict, storage: Json, template: "{filter}/{visit:d}-{ccd}.json"}}
    """
    butler = world.butler("b", policy)
    for ccd in ("a", "b"):
        write_json(world.folder / f"in/r/1-{ccd}.json", {"n": ccd})
    butler.ingest("image", world.folder / "in/r/*.json")
    assert butler.keys("image") == ("visit", "ccd")
    assert butler.query("image", where="filter = 'r'").count() == 2
    assert butler.query("image", filter="g").count() == 0
    wrong = write_json(world.folder / "in/g/1-c.json", {})
    with pytest.raises(DataIdError, match=r"filter='g'.*visit=1|visit=1 has filter='r'"):
        butler.ingest("image", wrong)
    write_json(world.folder / "in2/r/2-a.json", {})
    write_json(world.folder / "in2/g/2-b.json", {})
    with pytest.raises(DataIdError, match="two files disagree"):
        butler.ingest("image", world.folder / "in2/*/*.json")


def test_progress_is_told(world: World, butler: Butler) -> None:
    told: list[tuple[int, int]] = []
    butler.ingest("conf", incoming(world, 1, 2), progress=lambda done, total: told.append((done, total)))
    assert told
    assert all(total == 2 for _, total in told)
