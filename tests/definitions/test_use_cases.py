"""Every YAML snippet of the use cases, its typing slips mended, loads and means what its text says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bunter.definitions import CompositeType, Definitions, PartOfType, StoredType, load
from bunter.errors import DefinitionError
from bunter.names import DatasetName

FOLDER = Path(__file__).parent / "usecases"
FIELD = {"run", "camcol", "filter", "field"}
SDSS = {"run": 94, "camcol": 1, "filter": "g", "field": 131}


def read(name: str) -> Definitions:
    return load(FOLDER / name)


def stored(definitions: Definitions, name: str) -> StoredType:
    found = definitions.find(name)
    assert isinstance(found, StoredType)
    return found


def composite(definitions: Definitions, name: str) -> CompositeType:
    found = definitions.find(name)
    assert isinstance(found, CompositeType)
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_loads_and_its_text_loads_again(path: Path) -> None:
    definitions = load(path)
    again = load(definitions.to_yaml())
    assert again.updated(definitions) is again
    assert definitions.updated(again) is definitions


def test_case_1() -> None:
    definitions = read("01_jointcal.yaml")
    calexp = stored(definitions, "calexp")
    assert calexp.storage == "FitsExposure"
    assert calexp.python == "lsst.afw.image.ExposureF"
    assert calexp.template is not None
    assert calexp.template.format(SDSS) == "sci-results/94/1/g/calexp/calexp-000094-g1-0131.fits"
    # The same template as that of calexp: they come from the same persisted dataset.
    for name, part in (("calexp_wcs", "wcs"), ("calexp_calib", "photo_calib")):
        found = definitions.find(name)
        assert isinstance(found, PartOfType)
        assert found.target == f"calexp.{part}"
    assert stored(definitions, "jointcal_wcs").storage == "FitsWcs"
    assert stored(definitions, "jointcal_calib").storage == "FitsPart"
    joint = composite(definitions, "jointcalexp")
    assert {name: c.input_only for name, c in joint.components.items()} == {
        "calexp": True,
        "wcs": False,
        "calib": False,
    }
    assert set(definitions.keys_of("jointcalexp")) == FIELD | {"tract"}
    assert set(definitions.keys_of("jointcalexp.wcs")) == FIELD | {"tract"}
    assert set(definitions.keys_of("jointcalexp.calexp")) == set(definitions.keys_of("calexp_wcs")) == FIELD


def test_case_1_with_stages() -> None:
    definitions = read("01_stages.yaml")
    assert set(composite(definitions, "calexp: jointcal").components) == {"wcs", "calib"}
    assert definitions.stages("calexp") == ("sfm", "jointcal")
    assert definitions.unalias("calexp.psf") == DatasetName.parse("calexp:jointcal.psf")
    assert set(definitions.keys_of("calexp:jointcal")) == {"visit", "ccd", "tract"}
    assert set(definitions.keys_of("calexp:jointcal.psf")) == {"visit", "ccd"}


def test_case_2() -> None:
    definitions = read("02_components.yaml")
    assert stored(definitions, "calexp_psf").storage == "FitsPart"
    components = composite(definitions, "calexp").components
    assert {name: c.dataset_type for name, c in components.items()} == {"psf": "calexp_psf", "calib": "calib_psf"}
    assert set(definitions.keys_of("calexp.psf")) == FIELD
    assert stored(read("02_whole.yaml"), "calexp").storage == "FitsExposure"


def test_case_3() -> None:
    definitions = read("03_extended_icsrc.yaml")
    assert stored(definitions, "icSrc").storage == "FitsTable"
    assert list(composite(definitions, "extended_icSrc").components) == ["icSrc", "wcs", "calib"]
    # The file that includes the other stands in front of it.
    container = composite(read("03_container.yaml"), "extended_icSrc")
    assert container.python == "lsst.afw.table.SourceCatalogWithInfo"
    assert container.assembler is None


def test_case_3_with_its_slip() -> None:
    text = (FOLDER / "03_extended_icsrc.yaml").read_text()
    with pytest.raises(DefinitionError) as caught:
        load(text.replace('datasetType: "wcs"', 'datasettype: "wcs"').replace('datasetType: "calib"', 'calib: "calib"'))
    lines = str(caught.value).split("\n")
    assert len(lines) == 2
    assert all("did you mean 'datasetType'?" in line for line in lines)


def test_case_4() -> None:
    definitions = read("04_background.yaml")
    assert stored(definitions, "calexpBackground").storage == "FitsPart"
    assert not composite(definitions, "coadd_detection").components["exposure"].input_only
    assert composite(definitions, "coadd_postdetect").components["exposure"].input_only


def test_case_5() -> None:
    definitions = read("05_object_table.yaml")
    catalog = composite(definitions, "srccat_bg")
    assert (catalog.assembler, catalog.disassembler) == ("lsst.mypackage.srccat_bg_assembler", None)
    definitions = read("05_inheritance.yaml")
    green, whole = stored(definitions, "srccat_green"), stored(definitions, "srccat")
    assert (green.python, green.storage) == (whole.python, whole.storage)
    assert green.template is not None
    assert green.template.format(SDSS) == "sci-results/94/1/g/icSrc/icSrc-000094-g1-0131.fits"
    assert green.template != whole.template


def test_case_6() -> None:
    definitions = read("06_aggregate.yaml")
    assert composite(definitions, "deepCoadd_src_aggregate").components["deepCoaddSrc"].subset
    assert definitions.keys_of("deepCoadd_src_aggregate") == ()
    assert set(definitions.constraint_keys_of("deepCoadd_src_aggregate")) == {"filter", "tract", "patch"}
