"""A plan as people and programs read it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bunter import Butler, Exposure, GaussianPsf, PhotoCalib, RepositoryArgs
from bunter.plan_view import human_size

POLICY = """
datasets:
  calexp:sfm: {python: bunter.Exposure, storage: FitsExposure, template: "sfm/{visit:d}/calexp-{ccd}.fits"}
  calexp.photoCalib:jointcal:
    {python: bunter.PhotoCalib, storage: Json, template: "jointcal/{tract:d}/{visit:d}-{ccd}.json"}
  calexp:jointcal:
    base: calexp:sfm
    derived: {bbox: {from: [image], with: bunter.exposure.bbox}}
  note: {python: dict, storage: Json, template: "note/{visit:d}.json"}
  night: {composite: {exposure: calexp:jointcal, note: {datasetType: note, optional: true}}}
  notes: {composite: {each: {datasetType: note, subset: true}}}
  only_note: {partOf: note}
"""
ID: dict[str, Any] = {"visit": 1, "ccd": "N1", "tract": 0}


@pytest.fixture
def butler(tmp_path):
    with Butler(outputs=RepositoryArgs(tmp_path / "night", policy=POLICY), durability="fast") as made:
        image = np.arange(600, dtype=np.float32).reshape(20, 30)
        exposure = Exposure(image, psf=GaussianPsf(2.0), photo_calib=PhotoCalib(2.0))
        made.put(exposure, "calexp:sfm", visit=1, ccd="N1")
        yield made


def leaves(plan):
    return {leaf["component"]: leaf for leaf in plan.leaves()}


# What is in it


def test_a_stored_dataset(butler, tmp_path):
    plan = butler.plan("calexp:sfm", ID)
    (leaf,) = plan.leaves()
    path = tmp_path / "night" / "sfm" / "1" / "calexp-N1.fits"
    assert plan.complete
    assert (plan.name, plan.data_id) == ("calexp:sfm", {"visit": 1, "ccd": "N1"})
    assert (leaf["dataset_type"], leaf["stage"], leaf["part"], leaf["state"]) == ("calexp:sfm", "sfm", None, "found")
    assert (leaf["repository"], leaf["repository_name"]) == (str(tmp_path / "night"), "night")
    assert (leaf["path"], leaf["uri"]) == ("sfm/1/calexp-N1.fits", str(path))
    assert (leaf["storage"], leaf["size"], leaf["bytes"]) == ("FitsExposure", path.stat().st_size, None)
    assert leaf["uuid"] == str(butler.query("calexp:sfm").first().uuid)


def test_the_bytes_of_a_part_are_all_that_is_read_of_the_file(butler, tmp_path):
    plan = butler.plan("calexp:sfm.psf", ID)
    (leaf,) = plan.leaves()
    assert leaf["part"] == "psf"
    assert leaf["bytes"]
    content = bytearray((tmp_path / "night" / leaf["path"]).read_bytes())
    for place in range(len(content)):
        if not any(offset <= place < offset + length for offset, length in leaf["bytes"]):
            content[place] = 0xAA
    (tmp_path / "night" / leaf["path"]).write_bytes(content)
    assert butler.get("calexp:sfm.psf", ID) == GaussianPsf(2.0)


def test_a_composite_shows_where_each_part_is(butler):
    butler.put(PhotoCalib(3.0), "calexp:jointcal.photoCalib", ID)
    plan = butler.plan("calexp:jointcal", ID)
    assert plan.complete
    found = leaves(plan)
    assert found["image"]["dataset_type"] == "calexp:sfm"
    calib = found["photo_calib"] if "photo_calib" in found else found["photoCalib"]
    assert (calib["dataset_type"], calib["data_id"]) == ("calexp:jointcal.photoCalib", ID)
    assert calib["path"] == "jointcal/0/1-N1.json"
    tree = plan.to_dict()
    assert (tree["composite"], tree["assembler"], tree["put"]) == ("calexp:jointcal", "generic", None)


def test_a_put_composite_says_so(butler):
    exposure = butler.get("calexp:sfm", ID)
    exposure.photo_calib = PhotoCalib(3.0)
    ref = butler.put(exposure, "calexp:jointcal", ID)
    plan = butler.plan("calexp:jointcal", ID)
    assert plan.to_dict()["put"] == str(ref.uuid)
    assert all(leaf["pinned"] for leaf in plan.leaves())
    assert "as it was put" in str(plan)
    assert not any(leaf["pinned"] for leaf in butler.plan("calexp:jointcal", ID, resolve="nearest").leaves())


def test_missing_parts_are_shown_not_raised(butler):
    plan = butler.plan("calexp:jointcal", ID)
    assert not plan.complete
    found = leaves(plan)
    missing = [leaf for leaf in found.values() if leaf["state"] == "missing"]
    assert [leaf["dataset_type"] for leaf in missing] == ["calexp:jointcal.photoCalib"]
    assert missing[0]["searched"] == butler.repositories()
    assert "MISSING (searched " in str(plan)


def test_optional_parts_that_are_not_there(butler):
    butler.put(PhotoCalib(3.0), "calexp:jointcal.photoCalib", ID)
    plan = butler.plan("night", ID)
    assert plan.complete
    assert leaves(plan)["note"]["state"] == "absent"
    assert "ABSENT" in str(plan)


def test_nested_composites(butler):
    plan = butler.plan("night", ID)
    assert "exposure.image" in leaves(plan)
    assert plan.to_dict()["components"]["exposure"]["composite"] == "calexp:jointcal"


def test_a_component_that_was_reached_through_a_composite(butler):
    tree = butler.plan("calexp:jointcal.psf", ID).to_dict()
    assert (tree["dataset_type"], tree["part"], tree["through"]) == ("calexp:sfm", "psf", "calexp:jointcal")


def test_computed_components_show_what_they_are_made_of(butler):
    plan = butler.plan("calexp:jointcal.bbox", ID)
    assert [leaf["component"] for leaf in plan.leaves()] == ["image"]
    assert "bunter.exposure.bbox" in str(plan)
    assert plan.to_dict()["with"] == "bunter.exposure.bbox"


def test_lists(butler):
    empty = butler.plan("notes")
    assert not empty.complete
    assert "(no members)" in str(empty)
    for visit in (10, 9):
        butler.put({"visit": visit}, "note", visit=visit)
    plan = butler.plan("notes")
    assert plan.complete
    assert [leaf["component"] for leaf in plan.leaves()] == ["each{'visit': 9}", "each{'visit': 10}"]
    assert "2 x note" in str(plan)


def test_another_name_for_a_dataset(butler):
    butler.put({"a": 1}, "note", visit=5)
    (leaf,) = butler.plan("only_note", visit=5).leaves()
    assert (leaf["dataset_type"], leaf["path"]) == ("note", "note/5.json")


# How it is said


@pytest.mark.parametrize(
    "name", ["calexp:sfm", "calexp:sfm.psf", "calexp:jointcal", "calexp:jointcal.bbox", "night", "notes"]
)
def test_plans_are_plain_values(butler, name):
    plan = butler.plan(name, ID)
    tree = plan.to_dict()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["complete"] is plan.complete
    assert tree["name"] == name
    assert repr(plan) == f"<Plan of {name} {plan.data_id}: {len(plan.leaves())} leaves>"


def test_the_tree_is_drawn(butler):
    butler.put({"a": 1}, "note", visit=1)
    lines = str(butler.plan("night", ID)).splitlines()
    assert lines[0] == (
        "night {'visit': 1, 'ccd': 'N1', 'tract': 0}  assembled (generic), never put as such: resolved afresh"
    )
    assert lines[1].startswith("├─ exposure  calexp:jointcal  assembled (generic)")
    assert all(line.startswith("│  ") for line in lines[2:-1])
    assert lines[-2].startswith("│  └─ ")
    size = butler.plan("note", ID).leaves()[0]["size"]
    assert lines[-1] == f"└─ note      note  night: note/1.json  whole file ({size} B)"
    # Names of one level are as wide as the longest, so that what follows them is in a column.
    assert len({line.index("calexp:") for line in lines[2:-1]}) == 1


def test_one_leaf_is_drawn_too(butler):
    lines = str(butler.plan("calexp:sfm.psf", ID)).splitlines()
    assert lines[0] == "calexp:sfm.psf {'visit': 1, 'ccd': 'N1'}"
    assert lines[1].startswith("└─ calexp:sfm.psf  night: sfm/1/calexp-N1.fits  bytes ")
    assert lines[1].rstrip(")").endswith("kB")


def test_sizes():
    sizes = [human_size(n) for n in (0, 999, 1000, 5760, 999_949, 999_950, 10**6, 64 * 10**6, 10**9, 10**12, 10**16)]
    assert sizes == [
        "0 B", "999 B", "1.0 kB", "5.8 kB", "999.9 kB", "1.0 MB", "1.0 MB", "64.0 MB", "1.0 GB", "1.0 TB", "10000.0 TB",
    ]  # fmt: skip
