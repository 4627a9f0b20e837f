"""Operations, and whole objects as components, as far as definitions tell."""

from __future__ import annotations

import pytest

from bunter import DefinitionError
from bunter.definitions import load
from bunter.definitions.derive import components_of, effective
from bunter.definitions.model import CompositeType, StoredType

COADD = """
datasets:
  coadd: {python: bunter.Exposure, storage: FitsExposure, template: "c/{patch:d}.fits"}
  bg: {python: bunter.Background, storage: FitsPart, template: "bg/{patch:d}-{run:d}.fits"}
  det: {python: bunter.Mask, storage: FitsPart, template: "det/{patch:d}-{run:d}.fits"}
  detected:
    base: coadd
    composite: {background: bg, DETECTED: det}
    derived:
      image: {from: [image, background], with: a.f}
      mask: {from: [mask, DETECTED], with: a.g}
      size: {from: [image], with: a.size}
  later: {base: detected}
"""


def declared(stored: StoredType) -> dict[str, str]:
    return dict.fromkeys(("image", "mask", "background", "psf"), "")


def composite(policy: str, name: str) -> CompositeType:
    found = load(policy).find(name)
    assert isinstance(found, CompositeType)
    return found


def test_what_is_made_from_the_component_of_its_own_name_is_an_operation() -> None:
    found = composite(COADD, "detected")
    assert set(found.operations) == {"image", "mask"}
    assert set(found.computed) == {"size"}
    operation = found.operation("Image")
    assert operation is not None
    assert operation.function == "a.f"
    assert found.operation("size") is None
    assert list(components_of(load(COADD), "detected", declared)) == ["image", "mask", "background", "psf", "DETECTED"]


def test_operations_are_not_inherited() -> None:
    definitions = load(COADD)
    assert set(effective(definitions, "later").derived) == {"size"}
    components = components_of(definitions, "later", declared)
    assert components["image"].dataset_type == "detected.image"
    assert {name for name, c in components.items() if c.spent} == {"image", "mask", "background", "DETECTED"}
    assert definitions.keys_of("later") == ("patch", "run")


def test_an_operation_on_a_component_that_is_written() -> None:
    policy = """
datasets:
  img: {python: numpy.ndarray, storage: FitsImage, template: "i/{patch:d}.fits"}
  bg: {python: bunter.Background, storage: FitsPart, template: "bg/{patch:d}.fits"}
  one: {composite: {image: img, background: bg}, derived: {image: {from: [image, background], with: a.f}}}
"""
    assert set(composite(policy, "one").operations) == {"image"}
    with pytest.raises(DefinitionError, match="'image' and 'image' are one component; name it once"):
        load(policy.replace("[image, background]", "[background]"))


def test_an_operation_on_a_component_that_is_written_under_its_name() -> None:
    policy = """
datasets:
  coadd: {python: bunter.Exposure, storage: FitsExposure, template: "c/{patch:d}.fits"}
  coadd.image:x: {python: numpy.ndarray, storage: FitsImage, template: "i/{patch:d}.fits"}
  coadd:x: {base: coadd, derived: {image: {from: [image, psf], with: a.f}}}
"""
    assert composite(policy, "coadd:x").components["image"].dataset_type == "coadd:x.image"
    with pytest.raises(DefinitionError, match="'image' of 'coadd:x' is derived; it cannot be defined too"):
        load(policy.replace("[image, psf]", "[psf]"))


def test_what_is_computed_from_each_other() -> None:
    policy = COADD.replace("[image, background]", "[image, mask]").replace("[mask, DETECTED]", "[mask, image]")
    with pytest.raises(DefinitionError, match="'detected' computes image, mask from each other"):
        load(policy)


WHOLE = """
datasets:
  ccd: {python: lsst.afw.image.ExposureF, storage: FitsExposure, template: "c/{visit:d}-{ccd}.fits"}
  info: {python: bunter.VisitInfo, storage: Json, template: "v/{visit:d}.json"}
  calexp: {python: bunter.Exposure, composite: {exposure: ccd, visitInfo: info}}
  fit: {base: calexp}
  pair: {composite: {psf: calexp.psf, facts: fit.visit_info}}
  two: {python: bunter.Exposure, composite: {a: ccd, b: ccd}}
  other: {python: bunter.Mask, composite: {a: ccd}}
"""


def test_names_lead_through_a_whole_object() -> None:
    definitions = load(WHOLE)
    assert definitions.keys_of("calexp.psf") == ("visit", "ccd")
    assert definitions.keys_of("fit.psf") == ("visit", "ccd")
    assert definitions.keys_of("calexp.visit_info") == ("visit",)
    assert definitions.keys_of("pair") == ("visit", "ccd")
    for name in ("two", "other"):
        with pytest.raises(DefinitionError, match=f"'{name}' has no component 'psf'"):
            load(WHOLE + f"  wrong: {{composite: {{psf: {name}.psf}}}}\n")
