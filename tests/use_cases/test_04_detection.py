"""Use case 4: a coadd before and after detection.

Detection changes the background and one plane of the mask, and nothing after it changes the coadd. Both states are
exposures; what they share is on disk once. First with operations that the policy declares, then with the container
class of the use case's authors.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunter import (
    AssemblyError,
    Background,
    Butler,
    ChebyshevLayer,
    DatasetNotFoundError,
    Exposure,
    GaussianPsf,
    Mask,
    PhotoCalib,
    RepositoryArgs,
)

from .counting import Counted

HERE = __name__
SHAPE = (768, 768)
PLANE = 4 * SHAPE[0] * SHAPE[1]
PATCH = {"tract": 0, "patch": "159,2", "filter": "r"}

COADD = """
datasets:
  coadd:
    python: bunter.Exposure
    storage: FitsExposure
    template: "coadd/{tract:d}/coadd-{patch}-{filter}.fits"
"""

DETECTION = """
datasets:
  coadd.background:detected:
    python: bunter.Background
    storage: FitsPart
    template: "detection/{tract:d}/background-{patch}-{filter}.fits"
  coadd.DETECTED:detected:
    python: bunter.Mask
    storage: FitsPart
    template: "detection/{tract:d}/DETECTED-{patch}-{filter}.fits"
  coadd:detected:
    base: coadd
    derived:
      image: {from: [image, background], with: bunter.exposure.subtract_background}
      mask: {from: [mask, DETECTED], with: bunter.exposure.merge_planes}
"""

CALIBRATION = """
datasets:
  coadd.photoCalib:calibrated:
    {python: bunter.PhotoCalib, storage: FitsPart, template: "calibration/{tract:d}/photoCalib-{patch}-{filter}.fits"}
  coadd:calibrated: {base: "coadd:detected"}
"""


def a_background(level: float = 1000.0, shape: tuple[int, int] = SHAPE) -> Background:
    return Background([ChebyshevLayer([[level, 3.0], [2.0, 0.1]], domain=shape)])


def a_coadd(shape: tuple[int, int] = SHAPE, **more: Any) -> Exposure:
    random = np.random.default_rng(4)
    return Exposure(
        (random.normal(0.0, 5.0, shape) + a_background(shape=shape).image(shape)).astype("f4"),
        mask=Mask((random.random(shape) > 0.99).astype("i4"), {"BAD": 0, "SAT": 1}),
        variance=np.full(shape, 25.0, "f4"),
        psf=GaussianPsf(2.0),
        filter="r",
        **more,
    )


def detect(exposure: Exposure, level: float = 1000.0) -> None:
    """What the detection task does: subtract a background, mark what is bright."""
    exposure.background = a_background(level, exposure.shape)
    exposure.image -= exposure.background.image(exposure.shape)
    exposure.mask.set_plane("DETECTED", exposure.image > 10.0)


def files_of(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*.fits")}


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first repository: a coadd before detection."""
    root = tmp_path_factory.mktemp("uc4") / "A"
    with Butler(outputs=RepositoryArgs(root, policy=COADD)) as butler:
        butler.put(a_coadd(), "coadd", PATCH)
    return root


@pytest.fixture
def detection(assembled: Path, tmp_path: Path) -> Butler:
    """The butler of the detection task, which writes the second."""
    return Butler(inputs=assembled, outputs=RepositoryArgs(tmp_path / "B", policy=DETECTION))


def put_detected(butler: Butler) -> Exposure:
    exposure = butler.get("coadd", PATCH)
    detect(exposure)
    butler.put(exposure, "coadd:detected", PATCH)
    return exposure


def test_detection_writes_the_background_and_one_plane(detection: Butler, assembled: Path, tmp_path: Path) -> None:
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in assembled.rglob("*.fits")}
    exposure = detection.get("coadd", PATCH)
    detect(exposure)
    detection.exists("coadd:detected", PATCH)
    with Counted() as io:
        detection.put(exposure, "coadd:detected", PATCH)
    written = files_of(tmp_path / "B")
    assert sorted(written) == [
        "detection/0/DETECTED-159,2-r.fits",
        "detection/0/background-159,2-r.fits",
    ]
    assert written["detection/0/background-159,2-r.fits"] < 10_000
    assert written["detection/0/DETECTED-159,2-r.fits"] < PLANE / 4 + 10_000, "a byte a pixel"
    assert io.written < sum(written.values()) + 400_000, "two files and the registry's pages"
    assert io.read < 2 * PLANE + 1_000_000, "image and mask are checked against what the operations make; no more"
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in assembled.rglob("*.fits")} == before


def test_both_states_can_be_had(detection: Butler) -> None:
    detected = put_detected(detection)
    got = detection.get("coadd:detected", PATCH)
    assert got == detected
    assert got.image.tobytes() == detected.image.tobytes(), "bit for bit"
    assert got.mask.bits == {"BAD": 0, "SAT": 1, "DETECTED": 2}
    assert abs(float(np.median(got.image))) < 0.1
    before = detection.get("coadd", PATCH)
    assert before == a_coadd()
    assert before.background is None
    assert "DETECTED" not in before.mask.bits


def test_components_are_what_the_object_has(detection: Butler, assembled: Path) -> None:
    detected = put_detected(detection)
    np.testing.assert_array_equal(detection.get("coadd:detected.image", PATCH), detected.image)
    assert detection.get("coadd:detected.mask", PATCH) == detected.mask
    assert detection.get("coadd:detected.background", PATCH) == detected.background
    plane = detection.get("coadd:detected.DETECTED", PATCH)
    assert dict(plane.bits) == {"DETECTED": 2}
    np.testing.assert_array_equal(plane.plane("DETECTED"), detected.mask.plane("DETECTED"))
    with Counted() as io:
        detection.get("coadd.DETECTED:detected", PATCH)
    assert PLANE / 4 < io.read < PLANE / 4 + 100_000, "one plane, of a byte a pixel"
    assert not io.data_files(assembled)


def test_a_get_reads_each_plane_once(detection: Butler, assembled: Path) -> None:
    put_detected(detection)
    detection.get("coadd:detected", PATCH)
    with Counted() as io:
        detection.get("coadd:detected", PATCH)
    planes = 3 * PLANE + PLANE // 4
    assert planes < io.read < planes + 200_000
    assert len(io.data_files(assembled.parent)) == 1
    with Counted() as io:
        detection.get("coadd:detected.psf", PATCH)
    assert io.read < 60_000


def test_a_cutout_has_the_background_of_its_place(detection: Butler) -> None:
    detected = put_detected(detection)
    bbox = (slice(100, 140), slice(700, 720))
    cutout = detection.get("coadd:detected", PATCH, parameters={"bbox": bbox})
    assert cutout == detected.cutout(bbox)
    assert cutout.origin == (100, 700)
    np.testing.assert_array_equal(
        detection.get("coadd:detected.image", PATCH, parameters={"bbox": bbox}), detected.image[bbox]
    )


def test_a_third_repository_changes_the_background_only(detection: Butler, tmp_path: Path) -> None:
    first = put_detected(detection)
    refined = Butler(inputs=tmp_path / "B", outputs=tmp_path / "C")
    exposure = refined.get("coadd:detected", PATCH)
    again = a_background(1000.5)
    exposure.image = refined.get("coadd.image", PATCH)
    exposure.image -= again.image(exposure.shape)
    exposure.background = again
    refined.put(exposure, "coadd:detected", PATCH)
    assert list(files_of(tmp_path / "C")) == ["detection/0/background-159,2-r.fits"]
    assert refined.get("coadd:detected", PATCH) == exposure
    assert refined.get("coadd:detected", PATCH, resolve="nearest") == exposure
    assert Butler(tmp_path / "B").get("coadd:detected", PATCH) == first, "the second repository says what it said"
    places = {leaf["component"]: leaf["repository_name"] for leaf in refined.plan("coadd:detected", PATCH).leaves()}
    assert (places["image"], places["DETECTED"], places["background"]) == ("A", "B", "C")


def test_a_background_put_by_its_name_masks_the_older(detection: Butler, tmp_path: Path) -> None:
    first = put_detected(detection)
    nearer = Butler(inputs=tmp_path / "B", outputs=tmp_path / "C")
    nearer.put(a_background(1001.0), "coadd.background:detected", PATCH)
    assert "masks what was pinned" in str(nearer.plan("coadd:detected", PATCH))
    image = nearer.get("coadd:detected.image", PATCH)
    np.testing.assert_allclose(image, first.image - 1.0, atol=1e-3)


def test_a_later_stage_builds_on_the_result(detection: Butler, tmp_path: Path) -> None:
    detected = put_detected(detection)
    later = Butler(inputs=tmp_path / "B", outputs=RepositoryArgs(tmp_path / "C", policy=CALIBRATION))
    exposure = later.get("coadd:detected", PATCH)
    exposure.photo_calib = PhotoCalib.from_zero_point(27.0)
    later.put(exposure, "coadd:calibrated", PATCH)
    assert list(files_of(tmp_path / "C")) == ["calibration/0/photoCalib-159,2-r.fits"]
    got = later.get("coadd:calibrated", PATCH)
    assert got == exposure
    np.testing.assert_array_equal(got.image, detected.image, "the background is subtracted once, not twice")
    assert later.exists("coadd:calibrated.image", PATCH)
    assert later.put(got, "coadd:calibrated", PATCH).uuid is not None, "the same again is a no-op"
    got.image[0, 0] += 1.0
    with pytest.raises(AssemblyError, match=r"'image' differs from coadd:detected\.image by up to 1 .* would be lost"):
        later.put(got, "coadd:calibrated", PATCH)


def test_the_result_can_be_taken_elsewhere(detection: Butler, tmp_path: Path) -> None:
    detected = put_detected(detection)
    later = Butler(inputs=tmp_path / "B", outputs=RepositoryArgs(tmp_path / "C", policy=CALIBRATION))
    exposure = later.get("coadd:detected", PATCH)
    exposure.photo_calib = PhotoCalib.from_zero_point(27.0)
    ref = later.put(exposure, "coadd:calibrated", PATCH)
    assert ref.get("mask") == detected.mask
    later.copy_to(tmp_path / "copy", "coadd:calibrated", PATCH)
    copy = Butler(tmp_path / "copy")
    assert copy.get("coadd:calibrated", PATCH) == exposure
    assert {leaf["repository_name"] for leaf in copy.plan("coadd:calibrated", PATCH).leaves()} == {"copy"}
    whole = Butler(inputs=tmp_path / "B", outputs=RepositoryArgs(tmp_path / "D", policy=CALIBRATION))
    whole.put(exposure, "coadd:calibrated", PATCH, self_contained=True)
    assert {leaf["repository_name"] for leaf in whole.plan("coadd:calibrated", PATCH).leaves()} == {"D"}


def test_a_plan_names_the_operations(detection: Butler) -> None:
    put_detected(detection)
    components = detection.plan("coadd:detected", PATCH).to_dict()["components"]
    assert components["mask"]["operation"] == "bunter.exposure.merge_planes(mask, DETECTED)"
    assert "operation" not in components["variance"]
    assert "then bunter.exposure.subtract_background(image, background)" in str(detection.plan("coadd:detected", PATCH))
    assert "derived (bunter.exposure.merge_planes)" in str(detection.plan("coadd:detected.mask", PATCH))


def test_what_the_operations_do_not_make_is_not_lost_silently(detection: Butler, tmp_path: Path) -> None:
    exposure = detection.get("coadd", PATCH)
    detect(exposure)
    exposure.image[7, 7] += 1.0
    with pytest.raises(AssemblyError, match=r"what bunter\.exposure\.subtract_background makes of coadd\.image"):
        detection.put(exposure, "coadd:detected", PATCH)
    exposure.image[7, 7] -= 1.0
    exposure.mask.set_plane("COSMIC_RAY", exposure.image > 20.0)
    with pytest.raises(AssemblyError, match=r"what bunter\.exposure\.merge_planes makes of coadd\.mask"):
        detection.put(exposure, "coadd:detected", PATCH)
    assert not files_of(tmp_path / "B"), "nothing was written"
    detection.put(exposure, "coadd:detected", PATCH, discard=["mask"])
    assert set(detection.get("coadd:detected.mask", PATCH).bits) == {"BAD", "SAT", "DETECTED"}


def test_a_subtraction_in_another_precision_is_told(detection: Butler) -> None:
    exposure = detection.get("coadd", PATCH)
    detect(exposure)
    exposure.image = detection.get("coadd.image", PATCH) - exposure.background.image(SHAPE)
    with pytest.raises(AssemblyError, match=r"by up to .* \(float32 and float64, \d+ of 589824 pixels\)"):
        detection.put(exposure, "coadd:detected", PATCH)


def test_an_object_without_the_plane_is_refused(detection: Butler) -> None:
    exposure = detection.get("coadd", PATCH)
    exposure.background = a_background()
    exposure.image -= exposure.background.image(SHAPE)
    with pytest.raises(AssemblyError, match="the object has no 'DETECTED'"):
        detection.put(exposure, "coadd:detected", PATCH)
    with pytest.raises(DatasetNotFoundError, match=r"coadd:detected\.DETECTED"):
        detection.get("coadd:detected", PATCH)
    with pytest.raises(AssemblyError, match="derived: it is computed, never stored"):
        detection.put(exposure.image, "coadd:detected.image", PATCH)


def test_the_plane_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    """Detection may also clear what an earlier one had set: the plane is replaced, not merged bit by bit."""
    with Butler(outputs=RepositoryArgs(tmp_path / "A", policy=COADD)) as first:
        old = a_coadd((32, 32))
        old.mask.set_plane("DETECTED", np.ones((32, 32), bool))
        first.put(old, "coadd", PATCH)
    second = Butler(inputs=tmp_path / "A", outputs=RepositoryArgs(tmp_path / "B", policy=DETECTION))
    exposure = put_detected(second)
    got = second.get("coadd:detected", PATCH)
    assert got == exposure
    assert not got.mask.plane("DETECTED").all()
    assert second.get("coadd.mask", PATCH).plane("DETECTED").all()


EXCHANGE = """
datasets:
  coadd.background:detected:
    {python: bunter.Background, storage: FitsPart, template: "bg/{tract:d}/{patch}-{filter}.fits"}
  coadd:detected:
    base: coadd
    composite:
      old_background: {datasetType: coadd.background, inputOnly: true}
    derived:
      image: {from: [image, old_background, background], with: bunter.exposure.exchange_background}
"""


def test_an_old_background_is_exchanged_for_a_new_one(tmp_path: Path) -> None:
    old, new = a_background(10.0, (32, 32)), a_background(12.0, (32, 32))
    with Butler(outputs=RepositoryArgs(tmp_path / "A", policy=COADD)) as first:
        first.put(a_coadd((32, 32), background=old), "coadd", PATCH)
    second = Butler(inputs=tmp_path / "A", outputs=RepositoryArgs(tmp_path / "B", policy=EXCHANGE))
    exposure = second.get("coadd", PATCH)
    exposure.image -= new.image((32, 32)) - old.image((32, 32))
    exposure.background = new
    second.put(exposure, "coadd:detected", PATCH)
    assert list(files_of(tmp_path / "B")) == ["bg/0/159,2-r.fits"]
    got = second.get("coadd:detected", PATCH)
    assert got == exposure
    np.testing.assert_allclose(got.image, a_coadd((32, 32)).image - 2.0, rtol=1e-6)
    assert second.get("coadd:detected.old_background", PATCH) == old


# The same with operations in a composite that writes its planes itself.

WRITTEN = """
datasets:
  img: {python: numpy.ndarray, storage: FitsImage, template: "image-{patch}.fits"}
  msk: {python: bunter.Mask, storage: FitsPart, template: "mask-{patch}.fits"}
  sky: {python: bunter.Background, storage: FitsPart, template: "background-{patch}.fits"}
  det: {python: bunter.Mask, storage: FitsPart, template: "detected-{patch}.fits"}
  exposure:
    python: bunter.Exposure
    composite: {image: img, mask: msk, background: sky, detected: {datasetType: det, optional: true}}
    derived:
      image: {from: [image, background], with: bunter.exposure.subtract_background}
      mask: {from: [mask, detected], with: bunter.exposure.merge_planes}
"""


def test_operations_are_undone_where_the_planes_are_written(tmp_path: Path) -> None:
    butler = Butler(outputs=RepositoryArgs(tmp_path / "A", policy=WRITTEN))
    exposure = Exposure(a_coadd((32, 32)).image, mask=a_coadd((32, 32)).mask)
    raw = exposure.image.copy()
    detect(exposure)
    ref = butler.put(exposure, "exposure", patch="a")
    np.testing.assert_array_equal(butler.get("img", patch="a"), raw, "the background was added again")
    assert set(butler.get("msk", patch="a").bits) == {"BAD", "SAT"}, "the plane was taken out"
    got = butler.get("exposure", patch="a")
    assert got == exposure
    assert butler.put(got, "exposure", patch="a").uuid == ref.uuid
    exposure.mask = a_coadd((32, 32)).mask
    butler.put(exposure, "exposure", patch="b")
    assert butler.get("exposure.detected", patch="a") is not None
    assert butler.get("exposure", patch="b").mask == exposure.mask, "an optional plane may be absent"


def halve(dataId: dict[str, Any], inputs: dict[str, Any]) -> Any:
    return inputs["image"] * np.float32(inputs["factor"])


def misspelt(dataId: dict[str, Any], inputs: dict[str, Any]) -> Any:
    return halve(dataId, inputs)


misspelt.undo = lambda dataId, value, inputs: {"imgae": value}  # type: ignore[attr-defined]

USERS = """
datasets:
  img: {{python: numpy.ndarray, storage: FitsImage, template: "image-{{patch}}.fits"}}
  factor: {{python: float, storage: Json, template: "factor-{{patch}}.json"}}
  scaled:
    composite: {{image: img, factor: factor}}
    derived: {{image: {{from: [image, factor], with: {here}.{function}}}}}
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [("halve", "does not say how that is undone"), ("misspelt", "'imgae', which is no input .*did you mean 'image'")],
)
def test_a_function_of_a_users_own(tmp_path: Path, function: str, message: str) -> None:
    policy = USERS.format(here=HERE, function=function)
    butler = Butler(outputs=RepositoryArgs(tmp_path / "A", policy=policy))
    image = np.ones((4, 5), "f4")
    butler.put(image, "img", patch="a")
    butler.put(0.5, "factor", patch="a")
    np.testing.assert_array_equal(butler.get("scaled.image", patch="a"), image / 2)
    np.testing.assert_array_equal(butler.get("scaled", patch="a")["image"], image / 2)
    with pytest.raises(AssemblyError, match=message):
        butler.put({"image": image, "factor": 0.25}, "scaled", patch="b")


# The container class of the use case's authors, verbatim but for the names of modules and slips of typing.


class ExposureWithBackground:
    def __init__(self) -> None:
        pass

    def setExposure(self, exposure: Any) -> None:
        self.exposure = exposure

    def getExposure(self) -> Any:
        return self.exposure

    def setBackground(self, background: Any) -> None:
        self.background = background

    def getBackground(self) -> Any:
        return self.background


def ExposureWithBackgroundAssembler(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    # The authors return the exposure; their disassembler wants the container.
    container = classObj()
    container.setExposure(componentDict["exposure"])
    container.setBackground(componentDict["background"])
    return container


def ExposureWithBackgroundDisassembler(obj: Any, dataId: Any, componentDict: Any) -> None:
    componentDict["exposure"] = obj.exposure
    componentDict["background"] = obj.background


def VerbatimAssembler(dataId: Any, componentDict: Any, classObj: Any) -> Any:
    exposure = componentDict["exposure"]
    exposure.setBackground(componentDict["background"])
    return exposure


CONTAINER = """
datasets: {
   calexpBackground: {
       template:
              "FOLDER/bkgd-calexp-%(run)06d-%(filter)s%(camcol)d-%(field)04d.fits",
       python: "lsst.afw.math.BackgroundList",
       persistable: "PurePythonClass",
       storage: "FitsCatalogStorage",
       tables: raw_skyTile
   },
   calexp: {
       template:
              "FOLDER/calexp-%(run)06d-%(filter)s%(camcol)d-%(field)04d.fits",
       python: "lsst.afw.image.ExposureF",
       persistable: "ExposureF",
       storage: "FitsStorage",
       level: "None",
       tables: raw_skyTile
   },
   coadd_detection: {
       python: "HERE.ExposureWithBackground",
       composite: {
           background: {datasetType: calexpBackground},
           exposure: {datasetType: calexp}
       },
       FUNCTIONS
   },
   coadd_postdetect: {
       python: "HERE.ExposureWithBackground",
       composite: {
           background: {datasetType: calexpBackground},
           exposure: {datasetType: calexp, inputOnly: True}
       },
       FUNCTIONS
   }
}
""".replace("HERE", HERE).replace("FOLDER", "sci-results/%(run)d/%(camcol)d/%(filter)s/calexp")
PAIR = f'assembler: "{HERE}.ExposureWithBackgroundAssembler", disassembler: "{HERE}.ExposureWithBackgroundDisassembler"'
FIELD = {"run": 94, "camcol": 3, "filter": "r", "field": 131}


@pytest.mark.parametrize("functions", ["", PAIR], ids=["generic", "assembler"])
def test_the_container_class_of_the_authors(tmp_path: Path, functions: str) -> None:
    policy = CONTAINER.replace("FUNCTIONS", functions)
    with Butler(outputs=RepositoryArgs(tmp_path / "A", policy=policy)) as first:
        before = ExposureWithBackground()
        before.setExposure(a_coadd((64, 64)))
        before.setBackground(a_background(1000.0, (64, 64)))
        first.put(before, "coadd_detection", FIELD)

    # A -> B: detection changes the exposure (its mask) and the background; both are written.
    second = Butler(inputs=tmp_path / "A", outputs=tmp_path / "B", trust=[HERE])
    exp = second.get("coadd_detection", dataId=FIELD)
    assert isinstance(exp, ExposureWithBackground)
    exp.getExposure().mask.set_plane("DETECTED", exp.getExposure().image > 1010.0)
    exp.setBackground(a_background(1000.1, (64, 64)))
    second.put(exp, "coadd_detection", dataId=FIELD)
    assert len(files_of(tmp_path / "B")) == 2

    # B -> C: only the background is written; the exposure is inputOnly.
    third = Butler(inputs=tmp_path / "B", outputs=tmp_path / "C", trust=[HERE])
    exp = third.get("coadd_postdetect", dataId=FIELD)
    assert exp.getExposure().mask.plane("DETECTED").any()
    exp.setBackground(a_background(1000.2, (64, 64)))
    third.put(exp, "coadd_postdetect", dataId=FIELD)
    assert list(files_of(tmp_path / "C")) == ["sci-results/94/3/r/calexp/bkgd-calexp-000094-r3-0131.fits"]
    final = third.get("coadd_postdetect", FIELD)
    assert final.getExposure() == exp.getExposure()
    assert final.getBackground() == a_background(1000.2, (64, 64))
    assert Butler(tmp_path / "A", trust=[HERE]).get("coadd_detection", FIELD).getExposure() == before.getExposure()

    exp.getExposure().image[3, 3] += 1.0
    with pytest.raises(AssemblyError, match="would be lost"):
        third.put(exp, "coadd_postdetect", FIELD, replace=True)


def test_the_slip_of_the_authors_is_told_where_it_happens(tmp_path: Path) -> None:
    functions = PAIR.replace(f"{HERE}.ExposureWithBackgroundAssembler", f"{HERE}.VerbatimAssembler")
    butler = Butler(outputs=RepositoryArgs(tmp_path / "A", policy=CONTAINER.replace("FUNCTIONS", functions)))
    butler.put(a_coadd((64, 64)), "calexp", FIELD)
    butler.put(a_background(1.0, (64, 64)), "calexpBackground", FIELD)
    got = butler.get("coadd_detection", FIELD)
    assert isinstance(got, Exposure)
    assert got.background == a_background(1.0, (64, 64))
    with pytest.raises(AttributeError) as caught:
        butler.put(got, "coadd_detection", FIELD)
    assert "while taking apart 'coadd_detection'" in caught.value.__notes__[0]


# Real images: DECam, sky not subtracted, with the sky splines of the Legacy Surveys.

DECAM = """
keys: {visit: int, ccd: str}
datasets:
  ooi:
    storage: Fits
    template: "c4d_{_}_{_}_ooi_{_}_{_}.{ccd}.fits"
    keys: [visit, ccd]
    idFrom: {visit: EXPNUM}
    parts: {image: {hdu: "{ccd}"}, wcs: {hdu: "{ccd}"}}
  ood:
    storage: Fits
    template: "c4d_{_}_{_}_ood_{_}_{_}.{ccd}.fits"
    keys: [visit, ccd]
    idFrom: {visit: EXPNUM}
    parts:
      mask:
        hdu: "{ccd}"
        convert: {codes: {BAD: 1, NO_DATA: 2, SAT: 3, BLEED: 4, CR: 5, LOW_WEIGHT: 6, TRANSIENT: 7, STREAK: 8}}
  splinesky:
    storage: Fits
    template: "c4d_{_}_{_}_ooi_{_}_{_}-{ccd}-splinesky.fits"
    keys: [visit, ccd]
    idFrom: {visit: EXPNUM}
    parts: {background: {hdu: 1, convert: splinesky}}
  calexp: {python: bunter.Exposure, composite: {image: ooi.image, mask: ood, wcs: ooi.wcs, background: splinesky}}
  calexp.DETECTED:detected: {python: bunter.Mask, storage: FitsPart, template: "{visit:d}/DETECTED-{ccd}.fits"}
  calexp:detected:
    base: calexp
    derived:
      image: {from: [image, background], with: bunter.exposure.subtract_background}
      mask: {from: [mask, DETECTED], with: bunter.exposure.merge_planes}
"""


def test_real_images_that_come_with_their_sky(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "decam" / "field_1867p255"
    butler = Butler(outputs=RepositoryArgs(tmp_path / "A", policy=DECAM), trust_paths=[shared_data])
    for name, pattern in (("ooi", "c4d_*_ooi_*.N3.fits"), ("ood", "c4d_*_ood_*.N3.fits")):
        butler.ingest(name, sorted(folder.rglob(pattern)))
    butler.ingest("splinesky", sorted(folder.rglob("c4d_*-N3-splinesky.fits")))
    data_ids = butler.query("calexp", limit=3).data_ids
    assert len(data_ids) == 3
    for data_id in data_ids:
        exposure = butler.get("calexp", data_id)
        sky = float(np.median(exposure.image))
        noise = 1.4826 * float(np.median(np.abs(exposure.image - sky)))
        exposure.image -= exposure.background.image(exposure.shape)
        assert sky > 10 * noise > 10 * abs(float(np.median(exposure.image))), "a sky that is gone"
        exposure.mask.set_plane("DETECTED", exposure.image > 5 * noise)
        butler.put(exposure, "calexp:detected", data_id)
        assert butler.get("calexp:detected", data_id) == exposure
    size = sum(files_of(tmp_path / "A").values())
    assert size < len(data_ids) * (exposure.image.size * 2 + 10_000), "planes of detections, and no image"
