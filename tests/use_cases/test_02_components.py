"""Use case 2: a component by itself, however the exposure is stored.

One script asks for ``calexp.psf``. Whether the exposure is one FITS file, a file for each component, a file of
somebody else's or one of a format that can only be read whole is for the policy to know, and for the plan to say.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from bunter import (
    AssemblyError,
    Butler,
    ComponentNotFoundError,
    DefinitionError,
    Exposure,
    GaussianPsf,
    ImagePsf,
    Mask,
    PhotoCalib,
    RepositoryArgs,
)

from .counting import Counted

SHAPE = (1024, 1024)
PLANE = 4 * SHAPE[0] * SHAPE[1]
N3 = {"visit": 431608, "ccd": "N3"}
REGISTRY = 60_000
"""Bytes: more than one warm get reads of the registry's pages."""

ONE_FILE = """
keys: {visit: int, ccd: str}
datasets:
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexp-{visit:d}-{ccd}.fits"}
  calexp_wcs: {partOf: calexp.wcs}
"""

MANY_FILES = """
keys: {visit: int, ccd: str}
datasets:
  image: {python: numpy.ndarray, storage: FitsImage, template: "{visit:d}/{ccd}/image.fits"}
  mask: {python: bunter.Mask, storage: FitsPart, template: "{visit:d}/{ccd}/mask.fits"}
  variance: {python: numpy.ndarray, storage: Npy, template: "{visit:d}/{ccd}/variance.npy"}
  wcs: {python: astropy.wcs.WCS, storage: FitsWcs, template: "{visit:d}/{ccd}/wcs.fits"}
  calib: {python: bunter.PhotoCalib, storage: Json, template: "{visit:d}/{ccd}/calib.json"}
  psf: {python: bunter.Psf, storage: FitsPart, template: "{visit:d}/{ccd}/psf.fits"}
  calexp:
    python: bunter.Exposure
    composite: {image: image, mask: mask, variance: variance, wcs: wcs, photoCalib: calib, psf: psf}
"""

FOREIGN = f"""
keys: {{visit: int, ccd: str}}
datasets:
  calexp:
    python: bunter.Exposure
    storage: Fits
    template: "{{visit:d}}_{{ccd}}.fits"
    parts:
      image: {{hdu: SCI}}
      mask: {{hdu: DQ, convert: {{bits: {{BAD: 0, SAT: 1}}}}}}
      variance: {{hdu: VAR}}
      wcs: {{hdu: SCI}}
      photoCalib: {{hdu: SCI, read: header, convert: {__name__}.calib_of_header}}
      psf: {{hdu: PSF, convert: {__name__}.psf_of_image}}
  measured:
    base: calexp
    derived:
      bbox: {{from: [image], with: bunter.exposure.bbox}}
      corners: {{from: [wcs], with: bunter.exposure.corners}}
"""

PACKED = """
keys: {visit: int, ccd: str}
datasets:
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexp-{visit:d}-{ccd}.fits.gz"}
  optics: {composite: {psf: calexp.psf, wcs: calexp.wcs}}
"""

OWN_CLASS = f"""
keys: {{visit: int, ccd: str}}
datasets:
  calexp: {{python: {__name__}.Frame, storage: Json, template: "frame-{{visit:d}}-{{ccd}}.json"}}
  two: {{composite: {{psf: calexp.psf, calib: calexp.photoCalib}}}}
"""


def psf_of_image(value: Any, header: Any, dataId: Any) -> ImagePsf:
    return ImagePsf(np.asarray(value, float))


def calib_of_header(value: Any, header: Any, dataId: Any) -> PhotoCalib:
    return PhotoCalib.from_zero_point(header["MAGZERO"])


@dataclass
class Frame:
    """An object of a user's own, in a format that knows nothing of parts."""

    psf: GaussianPsf
    photo_calib: PhotoCalib
    names: list[str]


def an_exposure(psf: Any = None) -> Exposure:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [512.5, 512.5]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    random = np.random.default_rng(2)
    return Exposure(
        random.normal(100.0, 5.0, SHAPE).astype("f4"),
        mask=Mask((random.random(SHAPE) > 0.99).astype("i4"), {"BAD": 0, "SAT": 1}),
        variance=np.full(SHAPE, 25.0, "f4"),
        wcs=wcs,
        photo_calib=PhotoCalib.from_zero_point(27.0),
        psf=ImagePsf(GaussianPsf(2.0).image()) if psf is None else psf,
    )


def foreign_file(exposure: Exposure, path: Path) -> None:
    header = exposure.wcs.to_header()
    header["MAGZERO"] = 27.0
    assert exposure.mask is not None
    assert exposure.psf is not None
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(exposure.image, header, name="SCI"),
        fits.ImageHDU(exposure.mask.array, name="DQ"),
        fits.ImageHDU(exposure.variance, name="VAR"),
        fits.ImageHDU(exposure.psf.image(), name="PSF"),
    ]
    fits.HDUList(hdus).writeto(path)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same exposure, in four ways."""
    folder = tmp_path_factory.mktemp("uc2")
    exposure = an_exposure()
    for name, policy in ("one_file", ONE_FILE), ("many_files", MANY_FILES):
        with Butler(outputs=RepositoryArgs(folder / name, policy=policy), durability="fast") as butler:
            butler.put(exposure, "calexp", N3)
    foreign_file(exposure, folder / "431608_N3.fits")
    plain = folder / "one_file" / "calexp-431608-N3.fits"
    with open(plain, "rb") as source, gzip.open(folder / f"{plain.name}.gz", "wb", compresslevel=1) as packed:
        shutil.copyfileobj(source, packed)
    for name, policy, path in ("foreign", FOREIGN, "431608_N3.fits"), ("packed", PACKED, f"{plain.name}.gz"):
        with Butler(outputs=RepositoryArgs(folder / name, policy=policy), trust_paths=[folder]) as butler:
            butler.ingest("calexp", folder / path)
    return {name: folder / name for name in ("one_file", "many_files", "foreign", "packed")}


@pytest.fixture
def butlers(repositories: dict[str, Path]) -> Iterator[dict[str, Butler]]:
    folder = next(iter(repositories.values())).parent
    opened = {name: Butler(root, trust=[__name__], trust_paths=[folder]) for name, root in repositories.items()}
    yield opened
    for butler in opened.values():
        butler.close()


def test_the_same_answer_whichever_way_it_is_stored(butlers: dict[str, Butler]) -> None:
    expected = an_exposure()
    for name, butler in butlers.items():
        assert butler.get("calexp.psf", N3) == expected.psf, name
        assert butler.get("calexp.photoCalib", N3) == butler.get("calexp.photo_calib", N3) == expected.photo_calib, name
        assert butler.get("calexp.mask", N3) == expected.mask, name
        for plane in ("image", "variance"):
            found = butler.get(f"calexp.{plane}", N3)
            assert found.dtype == np.float32, name
            np.testing.assert_array_equal(found, getattr(expected, plane), err_msg=name)
        np.testing.assert_array_equal(
            butler.get("calexp.wcs", N3).all_pix2world([[0, 0], [700, 9]], 0),
            expected.wcs.all_pix2world([[0, 0], [700, 9]], 0),
        )
        whole = butler.get("calexp", N3)
        assert isinstance(whole, Exposure)
        assert whole.psf == butler.get("calexp.psf", N3), "the part is what the whole has"


@pytest.mark.parametrize("name", ["one_file", "many_files", "foreign"])
def test_a_component_is_one_small_read(butlers: dict[str, Butler], repositories: dict[str, Path], name: str) -> None:
    butler = butlers[name]
    butler.get("calexp.psf", N3)
    with Counted() as io:
        butler.get("calexp.psf", N3)
    assert io.read < REGISTRY + 14_400, f"of {3 * PLANE} bytes of pixels none is read"
    assert len(io.data_files(repositories[name].parent)) == 1, "one file is opened"
    (leaf,) = butler.plan("calexp.psf", N3).leaves()
    told = sum(length for _, length in leaf["bytes"]) if leaf["bytes"] else leaf["size"]
    assert told <= 14_400
    assert io.read <= told + REGISTRY, "the plan does not promise too little"


def test_a_format_without_parts_is_read_whole_and_once(
    butlers: dict[str, Butler], repositories: dict[str, Path]
) -> None:
    butler = butlers["packed"]
    (leaf,) = butler.plan("calexp.psf", N3).leaves()
    assert leaf["bytes"] is None
    assert f"whole file ({leaf['size'] / 1e6:.1f} MB)" in str(butler.plan("calexp.psf", N3)), "the price is said before"
    butler.get("optics", N3)
    for name in ("calexp.psf", "optics"):
        with Counted() as io:
            butler.get(name, N3)
        assert len(io.data_files(repositories["packed"].parent)) == 1, name
        assert leaf["size"] <= io.read < leaf["size"] + REGISTRY, f"{name}: the file is read once"


def test_a_class_of_ones_own_in_json(tmp_path: Path) -> None:
    """The second way of the source document: the object is made, and its getter asked."""
    with Butler(outputs=RepositoryArgs(tmp_path / "own", policy=OWN_CLASS), trust=[__name__]) as butler:
        butler.put(Frame(GaussianPsf(2.0), PhotoCalib.from_zero_point(27.0), ["x"] * 50_000), "calexp", N3)
        assert butler.get("calexp.psf", N3) == GaussianPsf(2.0)
        assert "whole file (200.2 kB)" in str(butler.plan("calexp.psf", N3))
        with Counted() as io:
            both = butler.get("two", N3)
        assert both == {"psf": GaussianPsf(2.0), "calib": PhotoCalib.from_zero_point(27.0)}
        assert len(io.data_files(tmp_path / "own")) == 1
        assert io.read < 200_200 + REGISTRY, "two components, one read"


def test_a_name_of_its_own(butlers: dict[str, Butler]) -> None:
    """May a script not ask for a dataset type "wcs"? It may, but whose WCS that is has to be said somewhere."""
    butler = butlers["one_file"]
    named, dotted = butler.get("calexp_wcs", N3), butler.get("calexp.wcs", N3)
    assert named.wcs.compare(dotted.wcs)
    with writing(butler) as output, pytest.raises(AssemblyError, match="is a part of stored 'calexp'"):
        output.put(named, "calexp_wcs", N3)


def writing(butler: Butler) -> Butler:
    """Open the repository of a reader for writing."""
    return Butler(outputs=butler.repositories()[0])


def test_the_storage_changes_in_a_child(repositories: dict[str, Path], tmp_path: Path) -> None:
    policy = 'datasets: {psf: {python: bunter.Psf, storage: Json, template: "models/psf-{visit:d}-{ccd}.json"}}'
    out = RepositoryArgs(tmp_path / "child", policy=policy)
    with Butler(inputs=repositories["many_files"], outputs=out) as child:
        child.put(an_exposure(GaussianPsf(2.5)), "calexp", visit=2, ccd="N3")
        assert (tmp_path / "child" / "models" / "psf-2-N3.json").exists()
        assert child.get("calexp.psf", visit=2, ccd="N3") == GaussianPsf(2.5)
        assert child.get("calexp.psf", N3) == an_exposure().psf, "the parent's are read as they were written"
        stored = [child.plan("calexp.psf", visit=visit, ccd="N3").leaves()[0]["storage"] for visit in (431608, 2)]
        assert stored == ["FitsPart", "Json"]


def test_from_one_file_to_many_is_a_new_stage(repositories: dict[str, Path], tmp_path: Path) -> None:
    psf = '  psf: {python: bunter.Psf, storage: Json, template: "{visit:d}/{ccd}/psf.json"}\n'
    same_name = f"datasets:\n{psf}  calexp: {{python: bunter.Exposure, composite: {{psf: psf}}}}\n"
    with pytest.raises(DefinitionError, match="use a new stage"):
        Butler(inputs=repositories["one_file"], outputs=RepositoryArgs(tmp_path / "wrong", policy=same_name))
    policy = f"datasets:\n{psf}  calexp:split: {{base: calexp, composite: {{psf: psf}}}}\n"
    policy += "aliases: {calexp: calexp:split}\n"
    out = RepositoryArgs(tmp_path / "split", policy=policy)
    with Butler(inputs=repositories["one_file"], outputs=out) as split:
        whole = split.get("calexp", N3, stage="")
        with Counted() as io:
            split.put(whole, "calexp", N3)
        assert io.written < 400_000, "the one component that is stored in its own way"
        assert split.get("calexp.psf", N3) == whole.psf
        assert split.get("calexp", N3) == whole
        assert split.plan("calexp.psf", N3).leaves()[0]["path"] == "431608/N3/psf.json"


def test_derived_components(butlers: dict[str, Butler]) -> None:
    butler = butlers["foreign"]
    assert butler.get("measured.bbox", N3) == (slice(0, 1024), slice(0, 1024))
    butler.get("measured.corners", N3)
    with Counted() as io:
        corners = butler.get("measured.corners", N3)
    assert io.read < REGISTRY, "the WCS of a FITS image knows how large it is"
    np.testing.assert_allclose(
        corners[[0, 2]], an_exposure().wcs.all_pix2world([[-0.5, -0.5], [1023.5, 1023.5]], 0), rtol=1e-12
    )
    told = {name: butler.plan(f"measured.{name}", N3).leaves() for name in ("bbox", "corners")}
    assert [leaf["part"] for leaves in told.values() for leaf in leaves] == ["image", "wcs"]
    assert "derived (bunter.exposure.bbox)" in str(butler.plan("measured.bbox", N3))
    assert told["bbox"][0]["bytes"][0][1] > PLANE > 100 * told["corners"][0]["bytes"][0][1], "the plan says the price"
    with writing(butler) as output, pytest.raises(AssemblyError, match="is derived: it is computed, never stored"):
        output.put(corners, "measured.corners", N3)


def test_mistakes_are_answered(butlers: dict[str, Butler]) -> None:
    for name, butler in butlers.items():
        with pytest.raises(ComponentNotFoundError, match="did you mean 'psf'") as caught:
            butler.get("calexp.pfs", N3)
        assert "image" in str(caught.value), name
    define = "cannot be put by itself: define a composite with base: calexp"
    with writing(butlers["one_file"]) as output, pytest.raises(AssemblyError, match=define):
        output.put(GaussianPsf(3.0), "calexp.psf", N3)


def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    """DECam: the PSF is in a file of PSFEx, the WCS in the header of the image; neither takes a pixel."""
    decam = shared_data / "decam" / "field_1867p255" / "testcase4"
    policy = files("bunter.demo").joinpath("decam.yaml").read_text("utf-8")
    found = {"ooi": "_ooi_*.N3.fits", "psfex": "-N3-psfex.fits"}
    with Butler(outputs=RepositoryArgs(tmp_path / "decam", policy=policy), trust_paths=[shared_data]) as butler:
        for name, mark in found.items():
            (ref,) = butler.ingest(name, str(decam / f"**/CP20170328/**/*{mark}"))
        data_id = ref.data_id
        psf = butler.get("calexp:cp.psf", data_id)
        with Counted() as io:
            butler.get("calexp:cp.psf", data_id)
        assert [Path(path).name for path in io.opened if path.endswith(".fits")] == [
            Path(butler.uri("psfex", data_id)).name
        ]
        assert 3 < psf.fwhm(125, 125) < 8, "pixels of 0.262 arcsec"
        wcs = butler.get("calexp:cp.wcs", data_id)
        with Counted() as io:
            butler.get("calexp:cp.wcs", data_id)
        assert io.read < REGISTRY < 4 * 250 * 250, "a header, no pixel"
        assert np.hypot(*(wcs.all_pix2world([[125, 125]], 0)[0] - [186.744, 25.462])) < 0.1
