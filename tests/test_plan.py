"""Names and data IDs become trees, without a repository, a file or anybody's classes."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from bunter.definitions import load
from bunter.errors import (
    ComponentNotFoundError,
    DataIdError,
    DatasetNameError,
    DatasetTypeNotFoundError,
)
from bunter.names import DatasetName
from bunter.plan import Absent, Gather, Leaf, MissingKeysError, Node, Planner, leaves, renamed, standard_data_id

POLICY = """
keys: {x: float}
implied: {filter: [visit]}
datasets:
  calexp:sfm: {python: mine.Exposure, storage: FitsExposure, template: "sfm/{visit:d}/{ccd}.fits"}
  calexp.wcs:jointcal: {python: mine.Wcs, storage: Json, template: "wcs/{tract:d}/{visit:d}/{ccd}.json"}
  calexp:jointcal:
    base: calexp:sfm
    composite:
      wcs: calexp.wcs:jointcal
  visitInfo: {python: mine.Info, storage: Json, template: "info/{visit:d}.json"}
  src: {python: mine.Table, storage: Json, template: "src/{visit:d}/{ccd}.json"}
  flat: {python: mine.Image, storage: Json, template: "flat/{filter}/{ccd}.json"}
  grid: {python: mine.Table, storage: Json, template: "grid/{x:.3f}.json"}
  full:
    python: mine.Full
    composite:
      exposure: calexp:jointcal
      info: visitInfo
      flat: {datasetType: flat, inputOnly: true}
      extra: {datasetType: grid, optional: true}
  pair:
    python: mine.Pair
    composite:
      now: src
      reference: {datasetType: src, dataId: {visit: "{ref_visit}"}}
      fixed: {datasetType: visitInfo, dataId: {visit: 7}}
  sources:
    python: mine.Sources
    keys: [visit]
    composite:
      each: {datasetType: src, subset: true}
  everything: {python: mine.Sources, composite: {each: {datasetType: src, subset: true, dataId: {ccd: N1}}}}
  coadd:
    python: mine.Coadd
    composite:
      image: {datasetType: visitInfo}
      inputs: {datasetType: src, dataIds: image, dataId: {visit: "{expnum}"}}
  sized:
    base: calexp:sfm
    derived: {shape: {from: [image], with: mine.shape}}
  short_wcs: {partOf: calexp:sfm.wcs}
  seven: {partOf: src, dataId: {visit: 7}}
"""
PARTS = {"image": "", "mask": "", "wcs": "", "psf": "", "photo_calib": ""}


@pytest.fixture(scope="module")
def planner():
    definitions = load(POLICY, trusted=True, declared=lambda python: {})
    return Planner(definitions, lambda stored: PARTS if stored.storage == "FitsExposure" else {})


def expand(planner, name, **data_id):
    return planner.expand(DatasetName.parse(name), data_id)


def keys(planner, name):
    return planner.keys(DatasetName.parse(name))


def drawn(branch):
    """Draw a tree as plain values."""
    if isinstance(branch, Leaf):
        return branch.name, dict(branch.data_id)
    if isinstance(branch, Absent):
        return branch.name, "absent", branch.missing
    if isinstance(branch, Gather):
        return str(branch.name), "all", dict(branch.constraints), dict(branch.fixed)
    return {name: drawn(inner) for name, inner in branch.branches.items()}


# Stored datasets


def test_a_stored_dataset_is_a_leaf_with_its_own_keys(planner):
    branch = expand(planner, "calexp:sfm", visit=1, ccd="N1", tract=5)
    assert isinstance(branch, Leaf)
    assert (branch.name, branch.part, dict(branch.data_id)) == ("calexp:sfm", "", {"visit": 1, "ccd": "N1"})


@pytest.mark.parametrize(
    ("name", "part"),
    [("calexp:sfm.wcs", "wcs"), ("calexp.wcs:sfm", "wcs"), ("calexp:sfm.photoCalib", "photo_calib")],
)
def test_a_part_is_a_leaf_too(planner, name, part):
    assert drawn(expand(planner, name, visit=1, ccd="N1")) == (f"calexp:sfm.{part}", {"visit": 1, "ccd": "N1"})


def test_the_order_of_keys_is_the_types_own(planner):
    branch = expand(planner, "calexp:sfm", ccd="N1", visit=1)
    assert list(branch.data_id) == ["visit", "ccd"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("calexp:sfm.wsc", "did you mean 'wcs'"),
        ("calexp:sfm.wcs.crval", "no components"),
        ("src.flux", "none that can be read by name"),
        ("calexp:jointcal.wsc", "did you mean 'wcs'"),
        ("full.exposure.wsc", "did you mean 'wcs'"),
        ("sized.shape.x", "is computed and has no components"),
    ],
)
def test_components_that_are_not_there(planner, name, words):
    with pytest.raises(ComponentNotFoundError, match=words):
        expand(planner, name, visit=1, ccd="N1", tract=1, filter="r")


@pytest.mark.parametrize(
    ("name", "error"),
    [("calexpp", DatasetTypeNotFoundError), ("calexp:jointcl", DatasetTypeNotFoundError), ("calexp", DatasetNameError)],
)
def test_types_that_are_not_there(planner, name, error):
    with pytest.raises(error):
        expand(planner, name, visit=1, ccd="N1")


# Missing keys


@pytest.mark.parametrize(
    ("name", "given", "missing"),
    [
        ("calexp:sfm", {"visit": 1}, ("ccd",)),
        ("calexp:sfm", {}, ("visit", "ccd")),
        ("calexp:jointcal", {"visit": 1, "ccd": "N1"}, ("tract",)),
        ("calexp:jointcal.wcs", {"visit": 1, "ccd": "N1"}, ("tract",)),
        ("pair", {"visit": 1, "ccd": "N1"}, ("ref_visit",)),
        ("pair.reference", {"ccd": "N1"}, ("ref_visit",)),
        ("seven", {}, ("ccd",)),
        ("sources", {}, ("visit",)),
    ],
)
def test_keys_that_are_missing(planner, name, given, missing):
    with pytest.raises(MissingKeysError) as caught:
        expand(planner, name, **given)
    assert set(caught.value.missing) == set(missing)
    assert all(key in str(caught.value) for key in missing)


def test_the_error_is_a_plain_one_elsewhere():
    back = pickle.loads(pickle.dumps(MissingKeysError("src", ["visit"])))
    assert type(back) is DataIdError
    assert "visit" in str(back)


def test_a_component_does_not_need_what_its_siblings_need(planner):
    branch = expand(planner, "calexp:jointcal.psf", visit=1, ccd="N1")
    assert isinstance(branch, Node)
    assert not branch.complete
    assert branch.take == "psf"
    assert drawn(branch) == {"psf": ("calexp:sfm.psf", {"visit": 1, "ccd": "N1"})}


# Composites


def test_a_base_gives_what_is_not_overridden(planner):
    branch = expand(planner, "calexp:jointcal", visit=1, ccd="N1", tract=2)
    one = {"visit": 1, "ccd": "N1"}
    assert drawn(branch) == {
        "image": ("calexp:sfm.image", one),
        "mask": ("calexp:sfm.mask", one),
        "wcs": ("calexp:jointcal.wcs", {"visit": 1, "ccd": "N1", "tract": 2}),
        "psf": ("calexp:sfm.psf", one),
        "photo_calib": ("calexp:sfm.photo_calib", one),
    }
    assert branch.complete
    assert branch.take == ""
    assert dict(branch.data_id) == {**one, "tract": 2}


def test_each_component_gets_the_keys_that_it_has(planner):
    branch = expand(planner, "full", visit=1, ccd="N1", tract=2, filter="r")
    tree = drawn(branch)
    assert tree["info"] == ("visitInfo", {"visit": 1})
    assert tree["flat"] == ("flat", {"filter": "r", "ccd": "N1"})
    assert tree["exposure"]["wcs"][0] == "calexp:jointcal.wcs"
    assert tree["extra"] == ("grid", "absent", ("x",))
    assert "x" not in branch.data_id
    more = expand(planner, "full", visit=1, ccd="N1", tract=2, filter="r", x=0.5)
    assert drawn(more)["extra"] == ("grid", {"x": 0.5})


def test_a_name_goes_as_deep_as_it_likes(planner):
    one = {"visit": 1, "ccd": "N1"}
    assert drawn(expand(planner, "full.exposure.psf", **one)) == {"exposure": {"psf": ("calexp:sfm.psf", one)}}
    wcs = expand(planner, "full.exposure.wcs", **one, tract=2)
    assert drawn(wcs) == {"exposure": {"wcs": ("calexp:jointcal.wcs", {**one, "tract": 2})}}


def test_a_component_is_the_same_walk_with_one_branch(planner):
    data_id = {"visit": 1, "ccd": "N1", "tract": 2, "filter": "r"}
    whole = expand(planner, "full", **data_id)
    for name in ("exposure", "info", "flat"):
        part = expand(planner, f"full.{name}", **data_id)
        assert part.branches[part.take] == whole.branches[name]


def test_a_definition_under_a_components_name_is_that_component(planner):
    data_id = {"visit": 1, "ccd": "N1", "tract": 2}
    for name in ("calexp:jointcal.wcs", "calexp.wcs:jointcal"):
        branch = expand(planner, name, **data_id)
        assert isinstance(branch, Node)
        assert branch.take == "wcs"
        assert drawn(branch) == {"wcs": ("calexp:jointcal.wcs", data_id)}


def test_renamed_and_fixed_keys(planner):
    tree = drawn(expand(planner, "pair", visit=1, ccd="N1", ref_visit=3))
    assert tree == {
        "now": ("src", {"visit": 1, "ccd": "N1"}),
        "reference": ("src", {"visit": 3, "ccd": "N1"}),
        "fixed": ("visitInfo", {"visit": 7}),
    }


def test_names_of_parts_and_types_with_fixed_keys(planner):
    assert drawn(expand(planner, "short_wcs", visit=1, ccd="N1")) == ("calexp:sfm.wcs", {"visit": 1, "ccd": "N1"})
    assert drawn(expand(planner, "seven", ccd="N1")) == ("src", {"visit": 7, "ccd": "N1"})
    assert drawn(expand(planner, "seven", ccd="N1", visit=1)) == ("src", {"visit": 7, "ccd": "N1"})


def test_computed_components_need_their_inputs(planner):
    branch = expand(planner, "sized.shape", visit=1, ccd="N1")
    assert (branch.derive, branch.take) == ("shape", "")
    assert drawn(branch) == {"image": ("calexp:sfm.image", {"visit": 1, "ccd": "N1"})}


def test_leaves(planner):
    branch = expand(planner, "full", visit=1, ccd="N1", tract=2, filter="r")
    names = [leaf.name for leaf in leaves(branch)]
    assert sorted(names) == [
        "calexp:jointcal.wcs", "calexp:sfm.image", "calexp:sfm.mask", "calexp:sfm.photo_calib", "calexp:sfm.psf",
        "flat", "visitInfo",
    ]  # fmt: skip
    assert list(leaves(expand(planner, "everything"))) == []


# Lists


def test_lists_are_left_to_the_repositories(planner):
    branch = expand(planner, "sources", visit=1)
    gather = branch.branches["each"]
    assert isinstance(gather, Gather)
    assert (str(gather.name), dict(gather.constraints), gather.source) == ("src", {"visit": 1}, None)
    assert dict(expand(planner, "sources", visit=1, ccd="N2").branches["each"].constraints) == {"visit": 1, "ccd": "N2"}
    fixed = expand(planner, "everything").branches["each"]
    assert (dict(fixed.constraints), dict(fixed.fixed)) == ({"ccd": "N1"}, {"ccd": "N1"})


def test_lists_whose_data_ids_are_elsewhere(planner):
    branch = expand(planner, "coadd", visit=1)
    gather = branch.branches["inputs"]
    assert (gather.source, dict(gather.renamed)) == ("image", {"visit": "expnum"})
    alone = expand(planner, "coadd.inputs", visit=1)
    assert list(alone.branches) == ["image", "inputs"]
    assert alone.take == "inputs"


# Keys


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("calexp:sfm", {"visit", "ccd"}),
        ("calexp:sfm.wcs", {"visit", "ccd"}),
        ("calexp:jointcal", {"visit", "ccd", "tract"}),
        ("calexp:jointcal.psf", {"visit", "ccd"}),
        ("calexp:jointcal.wcs", {"visit", "ccd", "tract"}),
        # A visit has one filter; the optional component's key is not needed.
        ("full", {"visit", "ccd", "tract"}),
        ("full.flat", {"filter", "ccd"}),
        ("pair", {"visit", "ccd", "ref_visit"}),
        ("pair.fixed", set()),
        ("sources", {"visit"}),
        ("everything", set()),
        ("coadd", {"visit"}),
        ("seven", {"ccd"}),
        ("sized.shape", {"visit", "ccd"}),
    ],
)
def test_the_keys_of_a_name(planner, name, expected):
    assert set(keys(planner, name)) == expected
    assert len(keys(planner, name)) == len(expected)


@pytest.mark.parametrize(
    ("name", "more"), [("full", {"x"}), ("sources", {"ccd"}), ("everything", {"visit"}), ("calexp:sfm", set())]
)
def test_keys_that_constrain(planner, name, more):
    assert more <= set(planner.all_keys(DatasetName.parse(name)))
    assert set(keys(planner, name)) <= set(planner.all_keys(DatasetName.parse(name)))


def test_optional_components(planner):
    # Of an exposure in a file of its own any part but the image may be absent.
    assert "image" not in planner.optional("calexp:jointcal")
    assert "extra" in planner.optional("full")
    assert planner.optional("pair") == frozenset()


# Data IDs


def test_a_data_id_is_brought_into_its_standard_form(planner):
    import numpy as np

    given = {"visit": np.int64(3), "ccd": "e\u0301", "x": 1, "filter": "r"}
    standard = standard_data_id(planner.definitions, given)
    assert standard == {"visit": 3, "ccd": "\xe9", "x": 1.0, "filter": "r"}
    assert [type(value) for value in standard.values()] == [int, str, float, str]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"vist": 1}, "did you mean 'visit'"),
        ({"nothing_like_it": 1}, "the keys are"),
        ({"replce": True}, "did you mean the option 'replace'"),
        ({"visit": "1"}, "is an int"),
        ({"visit": True}, "not a bool"),
        ({"visit": 2**63}, "64 bits"),
        ({"ccd": 3}, "is a str"),
        ({"ccd": "a\0"}, "control character"),
        ({"ccd": ""}, "empty"),
        ({"x": float("nan")}, "finite"),
        ({"a b": 1}, "a data ID key is a word"),
    ],
)
def test_data_ids_that_are_refused(planner, given, words):
    with pytest.raises(DataIdError, match=words):
        standard_data_id(planner.definitions, given)


def test_renamed():
    assert renamed("{ref_visit}") == "ref_visit"
    assert [renamed(value) for value in ("visit", "", 7, None, "{a", "a}")] == [None] * 6


def test_planning_reads_nothing(tmp_path):
    """No file is opened and nothing heavy imported once the definitions are there."""
    script = f"""
import sys
from bunter.definitions import load
from bunter.names import DatasetName
from bunter.plan import Planner
definitions = load({POLICY!r}, trusted=True, declared=lambda python: {{}})
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event in ("open", "sqlite3.connect") else None)
planner = Planner(definitions, lambda stored: {PARTS!r})
planner.expand(DatasetName.parse("full"), dict(visit=1, ccd="N1", tract=2, filter="r"))
assert opened == [], opened
assert not {{"numpy", "astropy", "sqlite3"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
