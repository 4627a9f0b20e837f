"""How definitions go together: components by name, repeated templates, bases, keys."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bunter.definitions import CompositeType, Definitions, PartOfType, StoredType, load
from bunter.errors import ComponentNotFoundError, DefinitionError

DECLARED = {
    "my.Exposure": {
        "image": "numpy.ndarray",
        "mask": "my.Mask",
        "wcs": "my.Wcs",
        "psf": "my.Psf",
        "variance": "numpy.ndarray",
    },
    "my.Catalog": {"wcs": "my.Wcs", "photo_calib": "my.Calib"},
}


def declared_by_name(python: str) -> Mapping[str, str]:
    return DECLARED.get(python, {})


def declared(stored: StoredType) -> Mapping[str, str]:
    if stored.parts:
        return {name: part.python or "" for name, part in stored.parts.items()}
    return DECLARED.get(stored.python or "", {})


def read(text: str, known: Definitions | None = None) -> Definitions:
    return load(text, known=known, declared=declared_by_name)


SFM = """\
datasets:
  calexp:sfm: {python: my.Exposure, storage: Fits, template: 'sfm/{visit:d}-{ccd}.fits'}
  src:sfm: {python: my.Catalog, storage: Fits, template: 'src/{visit:d}-{ccd}.fits'}
  calexp.wcs:jointcal: {python: my.Wcs, storage: Fits, template: 'jc/{tract:d}/{visit:d}-{ccd}.fits'}
  calexp:jointcal:
    base: calexp:sfm
    composite: {psf: {datasetType: calexp:sfm.psf}}
    standardize: my.standardize
  calexp:third: {base: calexp:jointcal, composite: {mask: masks}, python: my.Other}
  masks: {python: my.Mask, storage: Fits, template: 'mask/{visit:d}-{ccd}-{version:d}.fits'}
  src:jointcal: {base: src:sfm, composite: {wcs: calexp:jointcal.wcs}}
"""


def test_a_definition_under_a_components_name_is_that_component() -> None:
    d = read(SFM)
    joint = d.find("calexp:jointcal")
    assert isinstance(joint, CompositeType)
    assert joint.components["wcs"].dataset_type == "calexp:jointcal.wcs"
    assert not joint.components["wcs"].input_only


def test_a_part_of_a_stored_dataset_is_only_read() -> None:
    d = read(SFM)
    joint = d.find("calexp:jointcal")
    assert isinstance(joint, CompositeType)
    assert joint.components["psf"].input_only
    d = read(SFM + "  x: {composite: {a: calexp:third.image, b: calexp:third.mask, c: part, d: calexp:third}}\n"
             "  part: {partOf: calexp:sfm.wcs}\n")  # fmt: skip
    x = d.find("x")
    assert isinstance(x, CompositeType)
    assert {name: c.input_only for name, c in x.components.items()} == {"a": True, "b": False, "c": True, "d": False}


def test_contradicting_names_of_components() -> None:
    with pytest.raises(
        DefinitionError, match="by its name the component 'wcs' of 'calexp:jointcal', which takes it from"
    ):
        read(SFM.replace("{psf: {datasetType: calexp:sfm.psf}}", "{wcs: calexp:sfm.wcs}"))
    with pytest.raises(DefinitionError, match="is derived"):
        read(SFM.replace("    standardize: my.standardize", "    derived: {wcs: {from: psf, with: my.f}}"))
    with pytest.raises(DefinitionError, match="is not a composite"):
        read(SFM + "  calexp.psf:sfm: {python: my.Psf, storage: Fits, template: 'p'}\n")


def test_a_component_may_be_defined_alone() -> None:
    d = read("datasets: {calexp.wcs:jointcal: {python: my.Wcs, storage: Fits, template: '{visit:d}.fits'}}\n")
    assert d.keys_of("calexp:jointcal.wcs") == ("visit",)
    assert d.stages("calexp") == ("jointcal",)


def test_components_of_a_base() -> None:
    d = read(SFM)
    joint = d.components_of("calexp:jointcal", declared)
    assert list(joint) == ["image", "mask", "wcs", "psf", "variance"]
    assert {name: c.dataset_type for name, c in joint.items()} == {
        "image": "calexp:sfm.image",
        "mask": "calexp:sfm.mask",
        "wcs": "calexp:jointcal.wcs",
        "psf": "calexp:sfm.psf",
        "variance": "calexp:sfm.variance",
    }
    assert joint["image"].input_only
    assert not joint["image"].optional
    assert joint["mask"].input_only
    assert joint["mask"].optional
    third = d.components_of("calexp:third", declared)
    assert third["wcs"].dataset_type == "calexp:jointcal.wcs"
    assert third["wcs"].input_only
    assert third["image"].dataset_type == "calexp:jointcal.image"
    assert not third["image"].optional
    assert third["mask"].dataset_type == "masks"
    with pytest.raises(DefinitionError, match="not a composite"):
        d.components_of("calexp:sfm", declared)


def test_components_in_another_spelling_replace_those_of_the_base() -> None:
    d = read(
        SFM + "  calibs: {python: my.Calib, storage: Fits, template: 'c/{visit:d}-{ccd}.fits'}\n"
        "  src:third: {base: src:sfm, composite: {photoCalib: calibs}}\n"
    )
    assert list(d.components_of("src:third", declared)) == ["wcs", "photoCalib"]


def test_what_a_composite_takes_from_its_base() -> None:
    d = read(SFM)
    assert d.effective("calexp:jointcal").python == "my.Exposure"
    third = d.effective("calexp:third")
    assert (third.python, third.standardize) == ("my.Other", "my.standardize")
    assert d.effective("src:jointcal").python == "my.Catalog"


def test_trust_is_not_lent_to_what_an_untrusted_base_names() -> None:
    parent = read(SFM)
    child = load("datasets: {calexp:mine: {base: calexp:jointcal}}\n", known=parent, trusted=True)
    both = Definitions.combine([parent], child)
    assert both.types["calexp:mine"].trusted  # type: ignore[union-attr]
    assert not both.effective("calexp:mine").trusted
    grown = load("datasets: {mine(calexp:third): {}}\n", known=parent, trusted=True)
    assert not grown.types["mine"].trusted  # type: ignore[union-attr]


def test_keys_of_composites() -> None:
    d = read(SFM)
    assert d.keys_of("calexp:jointcal") == ("visit", "ccd", "tract")
    assert d.keys_of("calexp:jointcal.image") == ("visit", "ccd")
    assert d.keys_of("calexp:jointcal.wcs") == ("tract", "visit", "ccd")
    assert d.keys_of("calexp:third") == ("visit", "ccd", "tract", "version")
    assert d.keys_of("calexp:third.wcs") == ("tract", "visit", "ccd")
    # All components of the base are optional in their file; the file is needed all the same.
    assert d.keys_of("src:jointcal") == ("visit", "ccd", "tract")
    with pytest.raises(ComponentNotFoundError, match="'x' has no component 'b'"):
        read(SFM + "  x: {composite: {a: masks}}\n").keys_of("x.b")


def test_fixed_renamed_shared_and_optional_keys() -> None:
    d = read(
        "implied: {filter: [visit]}\ndatasets:\n"
        "  cat: {python: dict, template: 'c/{filter}/{tract:d}.json'}\n"
        "  blue: {partOf: cat, dataId: {filter: b}}\n"
        "  info: {python: dict, template: 'i/{visit:d}-{filter}.json'}\n"
        "  image: {python: dict, template: 'm/{visit:d}-{ccd}.json'}\n"
        "  pair: {composite: {blue: blue, green: {datasetType: cat, dataId: {filter: g}}}}\n"
        "  one: {composite: {info: info, image: image}, keys: [run]}\n"
        "  diff: {composite: {image: image, ref: {datasetType: image, dataId: {visit: '{ref_visit}'}}}}\n"
        "  may: {composite: {image: image, cat: {datasetType: cat, optional: true}}}\n"
        "  all: {composite: {cats: {datasetType: cat, subset: true}}, keys: [tract]}\n"
        "  outer: {composite: {all: all, first: one.image}}\n"
    )
    assert d.keys_of("blue") == ("tract",)
    assert d.keys_of("pair") == ("tract",)
    assert d.keys_of("one") == ("visit", "ccd", "run")
    assert d.keys_of("diff") == ("visit", "ccd", "ref_visit")
    assert d.keys_of("diff.ref") == ("ref_visit", "ccd")
    assert (d.keys_of("may"), d.constraint_keys_of("may")) == (("visit", "ccd"), ("filter", "tract"))
    assert (d.keys_of("all"), d.constraint_keys_of("all")) == (("tract",), ("filter",))
    assert d.keys_of("all.cats") == ()
    assert d.constraint_keys_of("all.cats") == ("filter", "tract")
    assert d.keys_of("outer") == ("tract", "visit", "ccd")
    assert d.constraint_keys_of("outer") == ("filter",)


def test_repeated_templates_are_parts() -> None:
    text = (
        "datasets:\n"
        "  calexp: {python: my.Exposure, storage: Fits, template: 'c/{visit:d}.fits'}\n"
        "  calexp_wcs: {python: my.Wcs, storage: Fits, template: 'c/%(visit)d.fits'}\n"
        "  other: {python: my.Unrelated, storage: Fits, template: 'c/{visit:d}.fits'}\n"
        "  again: {python: my.Exposure, storage: Fits, template: 'c/{visit:d}.fits'}\n"
    )
    with pytest.raises(DefinitionError, match=r"any of calexp\.wcs, again\.wcs; say which: partOf: calexp\.wcs"):
        read(text)
    d = read(text.rsplit("\n", 2)[0] + "\n")
    found = d.find("calexp_wcs")
    assert isinstance(found, PartOfType)
    assert found.target == "calexp.wcs"
    assert isinstance(d.find("other"), StoredType)
    with pytest.raises(DefinitionError, match=r"could be any of calexp\.image, calexp\.variance"):
        read(text.replace("my.Unrelated", "numpy.ndarray").rsplit("\n", 2)[0] + "\n")
    child = read("datasets: {w: {python: my.Wcs, storage: Fits, template: 'c/{visit:d}.fits'}}\n", known=d)
    assert isinstance(child.find("w"), PartOfType)


def test_no_class_is_imported_where_no_template_repeats() -> None:
    def refuse(python: str) -> Mapping[str, str]:
        raise AssertionError(python)

    load(SFM, declared=refuse)


def test_bunters_own_types_say_their_components() -> None:
    d = load(
        "datasets:\n"
        "  calexp: {python: bunter.Exposure, template: 'c/{visit:d}.fits'}\n"
        "  psf: {python: bunter.Psf, template: 'c/{visit:d}.fits'}\n"
    )
    found = d.find("psf")
    assert isinstance(found, PartOfType)
    assert found.target == "calexp.psf"
    with pytest.raises(DefinitionError, match=r"no type 'bunter\.Exposur'; did you mean 'bunter"):
        load(
            "datasets:\n"
            "  calexp: {python: bunter.Exposur, storage: FitsExposure, template: 'c/{visit:d}.fits'}\n"
            "  psf: {python: bunter.Psf, template: 'c/{visit:d}.fits'}\n"
        )


def test_rings_that_only_look_like_rings() -> None:
    d = read(
        "datasets:\n"
        "  s: {python: dict, template: '{visit:d}.json'}\n"
        "  a: {composite: {x: s, y: b.x}}\n"
        "  b: {composite: {x: s, y: a.x}}\n"
    )
    assert d.keys_of("a") == ("visit",)
