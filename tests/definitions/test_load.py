"""What a policy says, read from YAML, files and dicts."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bunter.definitions import (
    CardMatch,
    CompositeType,
    Definitions,
    Each,
    PartDefinition,
    PartOfType,
    StoredType,
    load,
)
from bunter.definitions.gen2 import PYTHON_TYPES, bunter_name
from bunter.errors import DatasetNameError, DatasetTypeNotFoundError, DefinitionError
from bunter.names import DatasetName
from bunter.templates import Template

POLICY = """\
# A policy with a comment.
keys: {visit: int, ccd: str, tract: int, filter: str}
implied: {filter: [visit]}
datasets:
  calexp:sfm:
    python: bunter.Exposure
    storage: FitsExposure
    template: "sfm/%(visit)d/calexp-%(visit)d-%(ccd)s.fits"
  calexp.wcs:jointcal: {python: astropy.wcs.WCS, storage: FitsWcs, template: "jc/{tract:d}/wcs-{visit:d}-{ccd}.fits"}
  calexp.photoCalib:jointcal: {python: bunter.PhotoCalib, template: "jc/{tract:d}/pc-{visit:d}-{ccd}.fits"}
  calexp:jointcal:
    base: calexp:sfm
    composite:
      wcs: calexp.wcs:jointcal
      photoCalib: {datasetType: calexp.photoCalib:jointcal}
  calexp_wcs: {partOf: calexp:sfm.wcs}
  srccat: {python: bunter.SourceCatalog, template: "{filter}/{tract:d}.fits"}
  srccat_blue: {partOf: srccat, dataId: {filter: b}}
  srccat_green(srccat): {template: "g/{tract:d}.fits"}
  srccat_red: {extends: srccat, template: "r/{tract:d}.fits"}
aliases: {calexp: calexp:jointcal}
"""


class Thing:
    """A user's class, for policies given as dicts."""

    class Inner:
        """One more."""


def assemble(data_id: object, components: object, cls: object) -> object:
    return None


def stored(definitions: Definitions, name: str) -> StoredType:
    found = definitions.find(name)
    assert isinstance(found, StoredType)
    return found


def one(options: str, **more: Any) -> StoredType:
    return stored(load(f"datasets:\n  a: {options}\n", **more), "a")


def test_the_example_of_the_policy_page() -> None:
    d = load(POLICY)
    assert d.to_yaml() == POLICY
    assert dict(d.key_types) == {"visit": "int", "ccd": "str", "tract": "int", "filter": "str"}
    assert dict(d.implied) == {"filter": ("visit",)}
    sfm = stored(d, "calexp:sfm")
    assert (sfm.storage, sfm.python, sfm.keys) == ("FitsExposure", "bunter.Exposure", ("visit", "ccd"))
    assert str(sfm.place) == "policy:5:3"
    joint = d.find("calexp:jointcal")
    assert isinstance(joint, CompositeType)
    assert joint.base == "calexp:sfm"
    assert {c.name: c.dataset_type for c in joint.components.values()} == {
        "wcs": "calexp:jointcal.wcs",
        "photoCalib": "calexp:jointcal.photoCalib",
    }
    assert stored(d, "calexp.photoCalib:jointcal").storage == "FitsPart"
    blue = d.find("srccat_blue")
    assert isinstance(blue, PartOfType)
    assert (blue.target, blue.data_id) == ("srccat", {"filter": "b"})
    assert stored(d, "srccat_green").python == "bunter.SourceCatalog"
    assert stored(d, "srccat_red").template == Template("r/{tract:d}.fits")


def test_names_are_found() -> None:
    d = load(POLICY)
    assert d.stages("calexp") == ("sfm", "jointcal")
    assert d.stages("srccat") == ()
    assert d.resolve("calexp:jointcal.psf.x") == (d.types["calexp:jointcal"], ("psf", "x"))
    assert d.resolve("calexp.wcs:jointcal") == (d.types["calexp:jointcal.wcs"], ())
    assert d.find(DatasetName.parse("srccat")) is d.types["srccat"]
    with pytest.raises(DatasetNameError, match="exists only with stages: calexp:sfm, calexp:jointcal"):
        d.find("calexp")
    with pytest.raises(DatasetNameError, match=r"calexp:jointcal\.wcs"):
        d.find("calexp:.wcs")
    with pytest.raises(DatasetTypeNotFoundError, match=r"no stage 'jontcal' of 'calexp'; did you mean 'jointcal'\?"):
        d.find("calexp:jontcal")
    with pytest.raises(DatasetTypeNotFoundError, match="leave the stage out"):
        d.find("srccat:sfm")
    with pytest.raises(DatasetTypeNotFoundError, match=r"'srcat'; did you mean 'srccat'\?"):
        d.find("srcat")
    with pytest.raises(DatasetTypeNotFoundError, match="none is defined"):
        Definitions().find("x")


def test_aliases_are_of_bare_names() -> None:
    d = load(POLICY)
    assert str(d.unalias("calexp")) == "calexp:jointcal"
    assert str(d.unalias("calexp.psf")) == "calexp:jointcal.psf"
    assert str(d.unalias("calexp:sfm")) == "calexp:sfm"
    assert d.unalias("calexp:").stage == ""
    assert str(d.unalias("srccat")) == "srccat"


def test_definitions_are_immutable_and_pickle() -> None:
    d = load(POLICY)
    with pytest.raises(TypeError):
        d.types["x"] = d.types["srccat"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        d.types = {}  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(d))
    assert dict(again.types) == dict(d.types)
    assert again.to_yaml() == POLICY


def test_yaml_is_read_by_the_core_schema() -> None:
    d = load(
        "keys: {on: str, n: int}\n"
        "datasets: {no: {storage: Json, template: '{on}/{n}.json', each: {n: [010, 0o10, 0x10]}}}\n"
    )
    found = stored(d, "no")
    assert found.each == Each("values", {"n": (10, 8, 16)})
    assert found.keys == ("on", "n")
    assert dict(d.key_types) == {"on": "str", "n": "int"}


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    for source in (tmp_path / "p.yaml", str(tmp_path / "p.yaml"), POLICY):
        assert len(load(source).types) == 9
    assert str(load(tmp_path / "p.yaml").find("srccat").place) == f"{tmp_path / 'p.yaml'}:17:3"
    for empty in ("", "\n", "# nothing\n", "datasets:\n", {}):
        assert dict(load(empty).types) == {}
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfdatasets: {}\n")
    assert dict(load(tmp_path / "bom.yaml").types) == {}


def test_dicts_hold_classes_and_functions() -> None:
    d = load(
        {
            "keys": {"visit": int},
            "datasets": {
                "a": {"python": Thing, "storage": "Json", "template": "a/{visit:d}.json"},
                "i": {"python": Thing.Inner, "storage": "Json", "template": "i/{visit:d}.json"},
                "d": {"python": dict, "template": "d/{visit:d}.json"},
                "c": {"python": Thing, "composite": {"a": "a", "d": {"datasetType": "d"}}, "assembler": assemble},
            },
        },
        trusted=True,
    )
    assert stored(d, "a").python == f"{__name__}.Thing"
    assert stored(d, "i").python == f"{__name__}.Thing.Inner"
    assert stored(d, "d").storage == "Json"
    assert stored(d, "a").trusted
    composite = d.find("c")
    assert isinstance(composite, CompositeType)
    assert composite.assembler == f"{__name__}.assemble"
    again = load(d.to_yaml())
    assert again.updated(d) is again
    assert not stored(again, "a").trusted


def test_dicts_are_stored_as_yaml_that_reads_back() -> None:
    odd = {"no": "yes", "010": "0o17", "1e5": "~", "x": "1:30", "é": "0x1", "t": "true", "n": "null", "d": "2015-04-11"}
    rows = {f"c{i}": value for i, value in enumerate([*odd, *odd.values(), 3, 1.5, "", " x", "a: b", "#", "{ccd}"])}
    source = {"datasets": {"a": {"template": "x/{ccd}", "parts": {"p": {"row": rows}}}}}
    d = load(source)
    assert d.updated(load(d.to_yaml())) is d
    assert stored(load(d.to_yaml()), "a").parts["p"].row == rows


def test_keys_of_stored_types() -> None:
    found = one("{storage: Json, template: '{date}/{visit:d}-{ccd}.json', keys: [visit, ccd]}")
    assert (found.keys, found.path_fields) == (("visit", "ccd"), ("date",))
    found = one(
        "{storage: Fits, template: 'x/{visit:d}.fits',"
        " parts: {image: {hdu: '{ccd}'}, psf: {hdu: {filter: {u: 1}}, row: {name: '{amp:d}'}}}}"
    )
    assert set(found.keys) == {"visit", "ccd", "filter", "amp"}
    found = one("{python: dict, template: '{_}.json', idFrom: {visit: EXPNUM}, each: {hdu: ccd}}")
    assert set(found.keys) == {"visit", "ccd"}
    assert one("{python: dict, keys: [visit]}").template is None
    assert one("{python: dict, template: skymap.json}").keys == ()


def test_implied_keys_are_no_identity() -> None:
    d = load(
        "implied: {filter: [visit]}\ndatasets:\n"
        "  a: {python: dict, template: '{visit:d}-{filter}.json'}\n"
        "  b: {python: dict, template: 'b/{filter}.json'}\n"
        "  c: {python: dict, template: '{visit:d}-{filter}-{x}.json', keys: [visit, filter]}\n"
    )
    assert (stored(d, "a").keys, stored(d, "a").path_fields) == (("visit",), ())
    assert stored(d, "b").keys == ("filter",)
    assert (stored(d, "c").keys, stored(d, "c").path_fields) == (("visit",), ("x",))
    assert d.key_types["filter"] == "str"


def test_key_types() -> None:
    d = load(
        "keys: {ccd: int}\ndatasets:\n"
        "  a: {python: dict, template: '{visit}/{ccd}/{night}.json'}\n"
        "  b: {python: dict, template: 'b/{visit:d}-{seeing:.2f}.json'}\n"
        "  c: {python: dict, template: '{night:d}.json', keys: []}\n"
    )
    assert dict(d.key_types) == {"ccd": "int", "visit": "int", "night": "str", "seeing": "float"}


def test_storage_resolves_by_the_python_type() -> None:
    assert (
        one("{python: lsst.afw.table.SourceCatalog, storage: FitsCatalogStorage, template: x}").storage == "FitsTable"
    )
    assert one("{python: lsst.afw.image.ExposureF, storage: BoostStorage, template: x}").storage == "FitsExposure"
    assert one("{python: numpy.ndarray, template: x}").storage == "FitsImage"
    assert one("{template: x, parts: {image: {}}}").storage == "Fits"
    assert one("{template: x, storage: PsfEx, parts: {image: {}}}").storage == "PsfEx"
    with pytest.raises(DefinitionError, match=r"'FitsStorage' says nothing for lsst\.x\.Y"):
        one("{python: lsst.x.Y, storage: FitsStorage, template: x}")


def test_gen2_types() -> None:
    from bunter import formats

    for name, own in PYTHON_TYPES.items():
        assert formats.for_python(own), name
    assert bunter_name("lsst.afw.image.exposure.ExposureF") == "bunter.Exposure"
    assert bunter_name("lsst.afw.image.Unknown") == "lsst.afw.image.Unknown"
    assert bunter_name("my.ExposureF") == "my.ExposureF"


def test_parts() -> None:
    found = one(
        "{template: '{visit:d}.fits', parts: {"
        " image: {hdu: '{ccd}'}, mask: {hdu: [DQ, 2], convert: {bits: {BAD: 0, SAT: 1}}},"
        " variance: {hdu: 3, convert: inverse_variance}, psf: {hdu: {filter: {u: 1, g: 2}}},"
        " zp: {row: {expnum: '{visit}', ccdname: '{ccd}'}, column: ccdzpt}, rows: {rows: {a: 1}, convert: my.f},"
        " wcs: {hdu: 0, read: wcs, python: astropy.wcs.WCS},"
        " codes: {convert: {codes: {BAD: 1}}}, visit_info: {convert: {visit_info: {exposure_time: EXPTIME}}}}}"
    )
    assert found.parts["image"] == PartDefinition("image", hdu="{ccd}")
    assert found.parts["mask"] == PartDefinition("mask", hdu=("DQ", 2), convert={"bits": {"BAD": 0, "SAT": 1}})
    assert found.parts["variance"] == PartDefinition("variance", hdu=3, convert="inverse_variance")
    assert found.parts["psf"].hdu == {"filter": {"u": 1, "g": 2}}
    assert found.parts["zp"] == PartDefinition("zp", row={"expnum": "{visit}", "ccdname": "{ccd}"}, column="ccdzpt")
    assert found.parts["rows"] == PartDefinition("rows", rows={"a": 1}, convert="my.f")
    assert found.parts["wcs"] == PartDefinition("wcs", hdu=0, read="wcs", python="astropy.wcs.WCS")
    assert found.parts["visit_info"].convert == {"visit_info": {"exposure_time": "EXPTIME"}}


def test_id_from_each_and_metadata() -> None:
    found = one(
        "{storage: Fits, template: '{_}.fits', keys: [visit, filter],"
        " idFrom: {visit: EXPNUM, filter: {card: FILTER, match: '{filter} DECam {_}'}},"
        " each: {columns: {expnum: visit}}, metadata: {date: DATE-OBS}}"
    )
    assert found.id_from == {"visit": CardMatch("EXPNUM"), "filter": CardMatch("FILTER", "{filter} DECam {_}")}
    assert found.each == Each("columns", {"expnum": "visit"})
    assert found.metadata == {"date": "DATE-OBS"}
    assert one("{storage: Fits, template: x, each: {hdu: ccd}}").each == Each("hdu", {"hdu": "ccd"})


def test_components_take_all_options() -> None:
    d = load(
        "datasets:\n"
        "  src: {python: bunter.SourceCatalog, template: '{visit:d}/{ccd}.fits'}\n"
        "  links: {python: astropy.table.Table, template: 'l/{tract:d}.fits'}\n"
        "  coadd:\n"
        "    python: my.Coadd\n"
        "    readOnly: true\n"
        "    keys: [patch]\n"
        "    assembler: concat_rows\n"
        "    disassembler: my.take_apart\n"
        "    standardize: my.standardize\n"
        "    derived: {bbox: {from: [table], with: my.bbox}, area: {from: bbox, with: my.area}}\n"
        "    composite:\n"
        "      table: links\n"
        "      all: {datasetType: src, subset: true, lazy: true, setter: setAll, getter: getAll}\n"
        "      ref: {datasetType: src, dataId: {visit: '{ref_visit}', ccd: N3}, optional: true}\n"
        "      inputs: {datasetType: src, dataIds: table, inputOnly: true}\n"
        "      before: {datasetType: src, dataIds: precursors}\n"
        "      of: {datasetType: src, dataIds: {precursorsOf: coadd}}\n"
        "      cards: {datasetType: src, dataIds: {component: table, cards: 'INPUT*', match: '{visit:d}-{ccd}'}}\n"
    )
    coadd = d.find("coadd")
    assert isinstance(coadd, CompositeType)
    c = coadd.components
    assert (coadd.read_only, coadd.own_keys, coadd.assembler) == (True, ("patch",), "concat_rows")
    assert (coadd.disassembler, coadd.standardize) == ("my.take_apart", "my.standardize")
    assert coadd.derived["bbox"].inputs == ("table",)
    assert (c["all"].subset, c["all"].lazy, c["all"].setter, c["all"].getter) == (True, True, "setAll", "getAll")
    assert (c["ref"].data_id, c["ref"].optional) == ({"visit": "{ref_visit}", "ccd": "N3"}, True)
    assert (c["inputs"].data_ids, c["inputs"].input_only) == ("table", True)
    assert c["before"].data_ids == "precursors"
    assert c["of"].data_ids == {"precursorsOf": "coadd"}
    assert c["cards"].data_ids == {"component": "table", "cards": "INPUT*", "match": "{visit:d}-{ccd}"}
    assert d.key_types["ref_visit"] == "int"
    assert d.keys_of("coadd") == ("tract", "patch")
    assert set(d.constraint_keys_of("coadd")) == {"visit", "ccd", "ref_visit"}


def test_includes_are_inlined(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text("# the base\ndatasets: {a: {python: dict, template: a}}\n")
    (tmp_path / "more.yaml").write_text("include: sub/base.yaml\ndatasets: {b: {extends: a, template: b}}\n")
    own = "# mine\ninclude:\n  - more.yaml   # all of it\n  - sub/base.yaml\n"
    own += "keys: {visit: int}\ndatasets:\n  a: {python: list, template: c}\n"
    (tmp_path / "p.yaml").write_text(own)
    d = load(tmp_path / "p.yaml")
    assert stored(d, "a").python == "list"
    assert stored(d, "b").python == "list"
    text = d.to_yaml()
    for comment in ("# the base", "# mine", "# all of it"):
        assert comment in text
    again = load(text)
    assert again.updated(d) is again
    for flow in (
        "{include: more.yaml, keys: {visit: int}}",
        "include: [more.yaml,\n  sub/base.yaml\n ]\nkeys: {visit: int}\n",
    ):
        d = load(flow, base_dir=tmp_path)
        again = load(d.to_yaml())
        assert again.updated(d) is again
        assert set(again.types) == {"a", "b"}
    assert set(load({"include": ["more.yaml"]}, base_dir=tmp_path).types) == {"a", "b"}
    text = load({"include": ["more.yaml"], "keys": {"visit": "int"}}, base_dir=tmp_path).to_yaml()
    assert set(load(text).types) == {"a", "b"}


def test_later_documents_stand_in_front() -> None:
    d = load("datasets: {a: {python: dict, template: x}}\n---\ndatasets: {a: {python: dict, template: y}}\n")
    assert stored(d, "a").template == Template("y")
    assert load(d.to_yaml()).updated(d).types.keys() == {"a"}


def test_importing_definitions_imports_nothing_heavy() -> None:
    code = (
        "import sys, bunter.definitions as d; d.load('datasets: {a: {python: dict, template: x}}');"
        "print([m for m in ('numpy', 'astropy', 'pyarrow', 'pydantic', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import sys, bunter.definitions.model; print('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
