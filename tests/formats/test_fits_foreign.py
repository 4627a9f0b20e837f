"""Fits: parts of files that Bunter did not write, wherever a definition says that they lie."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from bunter.definitions.model import Each, PartDefinition
from bunter.errors import FormatError, IntegrityError, ParameterError, TrustError
from bunter.exposure import Background, Exposure, Mask, Metadata, Psf, PsfExPsf, SourceCatalog, VisitInfo, same_wcs
from bunter.formats.fits_foreign import Fits
from bunter.formats.interface import About
from bunter.testing import FileSource
from bunter.trust import Importer

FORMAT = Fits()
FIND = Importer().find


def part(name="data", **fields):
    return PartDefinition(name, **fields)


def about(*parts, data_id=None, find=FIND, **more):
    return About(name="raw 1", parts={p.name: p for p in parts}, data_id=data_id or {}, find=find, **more)


def read(source, *parts, parameters=None, **more):
    return FORMAT.read(source, about(*parts, **more), parameters or {})


def wcs_header():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 10, 20
    wcs.wcs.cdelt = -1e-4, 1e-4
    return wcs.to_header()


@pytest.fixture
def mosaic(tmp_path):
    """A file with an image, mask and weight for each of two CCDs, and tables with a row for each."""
    primary = fits.PrimaryHDU()
    primary.header.update({"EXPNUM": 7, "EXPTIME": 30.0, "FILTER": "g DECam", "OBJECT": "primary", "MAGZERO": 25.0})
    hdus = [primary]
    for number, ccd in enumerate(("N1", "N2"), 1):
        image = fits.ImageHDU(np.full((6, 8), number, "f4"), wcs_header(), name=ccd)
        image.header.update({"CCDNUM": number, "OBJECT": ccd, "GAIN": 4.0 / 3})
        mask = fits.ImageHDU(np.arange(48).reshape(6, 8).astype("i2"), name=f"{ccd}M")
        weight = fits.ImageHDU(np.array([[0, 4, -1, np.nan, 2, 1, 1, 1]] * 6, "f4"), name="WHT", ver=number)
        hdus += [image, mask, weight]
    catalog = fits.BinTableHDU.from_columns(
        [
            fits.Column("ccdname", "4A", array=np.array(["N1 ", "N2", "N2"])),
            fits.Column("expnum", "J", array=[7, 7, 8]),
            fits.Column("zero", "D", array=[25.0, 26.0, 27.0]),
            fits.Column("grid", "3E", array=np.arange(9.0).reshape(3, 3)),
        ],
        name="CCDS",
    )
    path = tmp_path / "mosaic.fits"
    fits.HDUList([*hdus, catalog]).writeto(path)
    return FileSource(path)


@pytest.mark.parametrize(
    ("hdu", "value"),
    [("N2", 2), ("n1", 1), (1, 1), ("{ccd}", 2), (["N2", 1], 2), (4, 2), (-4, 2), ({"band": {"g": "N1", "r": 4}}, 2)],
)
def test_which_hdu(mosaic, hdu, value):
    found = read(mosaic, part(hdu=hdu), data_id={"ccd": "N2", "band": "r"})
    assert found[0, 0] == value


def test_hdu_by_version_and_by_formatted_field(mosaic):
    weight = read(mosaic, part(hdu=["WHT", 2]))
    assert weight.shape == (6, 8)
    assert read(mosaic, part(hdu="N{ccdnum:d}"), data_id={"ccdnum": 2})[0, 0] == 2
    assert read(mosaic, part(hdu={"visit": {"12": 1, "13": 4}}), data_id={"visit": 13})[0, 0] == 2


@pytest.mark.parametrize(
    ("hdu", "word"),
    [
        ("N3", r"no HDU 'N3'; it has: .*1 N1 \(image\)"),
        (77, "no HDU 77"),
        ("{cdc}", "needs the key 'cdc'; did you mean 'ccd'"),
        ({"band": {"g": 1}}, "no hdu is defined for band='r'; there is: g"),
        ({"filter": {"g": 1}}, "no hdu is defined for filter=None"),
        ("{ccd.__class__}", "no HDU"),
        ("{ccd:>99999999}", "no HDU"),
    ],
)
def test_hdus_that_are_not_there(mosaic, hdu, word):
    with pytest.raises(FormatError, match=word):
        read(mosaic, part(hdu=hdu), data_id={"ccd": "N1", "band": "r"})


def test_duplicate_names(tmp_path):
    path = tmp_path / "twice.fits"
    images = [fits.ImageHDU(np.full((2, 2), n), name="SCI") for n in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    assert read(FileSource(path), part(hdu="SCI"))[0, 0] == 1
    assert read(FileSource(path), part(hdu=2))[0, 0] == 2


def test_defaults_of_read(mosaic):
    parts = [part(name, hdu="N2") for name in ("image", "wcs", "metadata")]
    found = FORMAT.read_parts(mosaic, {p.name: {} for p in parts}, about(*parts))
    assert found["image"].dtype == np.float32
    assert isinstance(found["wcs"], WCS)
    metadata = found["metadata"]
    assert isinstance(metadata, Metadata)
    assert metadata["EXPTIME"] == 30.0
    assert metadata["OBJECT"] == "N2"
    assert metadata["GAIN"] == 4.0 / 3
    assert not {"MAGZERO", "CRVAL1", "NAXIS", "EXTNAME"} & set(metadata)
    primary = read(mosaic, part("metadata"))
    assert primary["OBJECT"] == "primary"
    assert "CCDNUM" not in primary


def test_read_and_python(mosaic):
    assert read(mosaic, part("sky", hdu="N1", read="wcs")).wcs.crval.tolist() == [10, 20]
    header = read(mosaic, part("h", hdu="N1", read="header", python="astropy.io.fits.Header"))
    assert isinstance(header, fits.Header)
    assert header["CCDNUM"] == 1
    assert header["EXPNUM"] == 7
    assert type(read(mosaic, part("h", hdu="N1", read="header", python="dict"))) is dict
    assert isinstance(read(mosaic, part(hdu="N1M", python="bunter.Mask")), Mask)
    assert isinstance(read(mosaic, part(hdu="CCDS", python="bunter.SourceCatalog")), SourceCatalog)
    assert isinstance(read(mosaic, part(python="astropy.table.Table")), Table)
    assert isinstance(read(mosaic, part(hdu="CCDS", python="numpy.ndarray")), np.ndarray)
    with pytest.raises(FormatError, match="reads as a ndarray, not as a PhotoCalib; say how with convert"):
        read(mosaic, part(hdu="N1", python="bunter.PhotoCalib"))
    with pytest.raises(TrustError):
        read(mosaic, part(hdu="N1", python="mypackage.Thing"))
    with pytest.raises(FormatError, match="did you mean 'header'"):
        read(mosaic, part(hdu="N1", read="heder"))


def test_rows_and_columns(mosaic):
    chosen = {"ccdname": "{ccd}", "expnum": "{visit}"}
    ids = {"ccd": "N2", "visit": 8}
    row = read(mosaic, part(hdu="CCDS", row=chosen), data_id=ids)
    assert row["zero"] == 27.0
    assert row["grid"].tolist() == [6, 7, 8]
    assert type(row["expnum"]) is int
    assert read(mosaic, part(hdu="CCDS", row=chosen, column="zero"), data_id=ids) == 27.0
    assert read(mosaic, part(hdu="CCDS", row=chosen, column="ZERO", python="float"), data_id=ids) == 27.0
    rows = read(mosaic, part(hdu="CCDS", rows={"ccdname": "N2"}))
    assert isinstance(rows, Table)
    assert rows["zero"].tolist() == [26.0, 27.0]
    assert read(mosaic, part(hdu="CCDS", column="zero")).tolist() == [25.0, 26.0, 27.0]
    assert read(mosaic, part(hdu="CCDS", rows={"expnum": 7}, column="zero")).tolist() == [25.0, 26.0]
    one = read(mosaic, part(row=chosen, python="astropy.table.Table"), data_id=ids)
    assert len(one) == 1


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"row": {"ccdname": "N2"}}, "2 rows"),
        ({"row": {"ccdname": "N9"}}, "has nothing for the part 'data'"),
        ({"row": {"ccdnam": "N9"}}, "did you mean 'ccdname'"),
        ({"column": "zeor"}, "did you mean 'zero'"),
        ({"row": {"expnum": "x"}}, "has nothing"),
        ({"hdu": "N1", "row": {"a": 1}}, "neither rows nor columns"),
        ({"hdu": 0}, "without pixels"),
    ],
)
def test_rows_that_are_not_there(mosaic, fields, word):
    with pytest.raises(FormatError, match=word):
        read(mosaic, part(**({"hdu": "CCDS"} | fields)))


def test_optional_parts_are_none(mosaic):
    parts = [part("image", hdu="N1"), part("mask", hdu="NOPE"), part("zero", hdu="CCDS", row={"ccdname": "N9"})]
    whole = FORMAT.read(mosaic, about(*parts), {})
    assert whole["mask"] is None
    assert whole["zero"] is None
    assert FORMAT.read_parts(mosaic, {"mask": {}}, about(*parts)) == {"mask": None}
    with pytest.raises(FormatError, match="no HDU"):
        FORMAT.read(mosaic, about(part("image", hdu="NOPE"), part("mask", hdu="N1M")), {})
    with pytest.raises(FormatError, match="has no part 'maks'; did you mean 'mask'"):
        FORMAT.read_parts(mosaic, {"maks": {}}, about(*parts))


def test_an_exposure_of_parts(mosaic):
    parts = [
        part("image", hdu="{ccd}"),
        part("mask", hdu="{ccd}M", convert={"bits": {"BAD": 0, "SAT": 1}}),
        part("variance", hdu=["WHT", 1], convert="inverse_variance"),
        part("wcs", hdu="{ccd}"),
        part("metadata", hdu="{ccd}"),
        part("visitInfo", hdu="{ccd}", convert={"visit_info": {"visit": "EXPNUM", "exposure_time": "EXPTIME"}}),
    ]
    exposure = FORMAT.read(mosaic, about(*parts, data_id={"ccd": "N1"}, python=Exposure), {})
    assert type(exposure) is Exposure
    assert exposure.visit_info == VisitInfo(visit=7, exposure_time=30.0)
    assert exposure.mask.plane("SAT")[0, 2]
    box = (slice(1, 3), slice(2, 8))
    cutout = FORMAT.read(mosaic, about(*parts, data_id={"ccd": "N1"}, python=Exposure), {"bbox": box})
    assert cutout == exposure.cutout(box)


def test_conversions_of_pixels(mosaic):
    variance = read(mosaic, part(hdu=["WHT", 1], convert="inverse_variance"))
    np.testing.assert_array_equal(variance[0, :5], np.array([np.inf, 0.25, np.inf, np.nan, 0.5], "f4"))
    assert variance.dtype == np.float32
    mask = read(mosaic, part(hdu="N1M", convert={"codes": {"BAD": 1, "CR": [5, 7]}}))
    assert mask.plane("BAD").sum() == 1
    assert mask.plane("CR").sum() == 2
    box = (slice(0, 1), slice(5, 8))
    cut = read(mosaic, part(hdu="N1M", convert={"codes": {"CR": [5, 7]}}), parameters={"bbox": box})
    assert cut.plane("CR").tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"hdu": "N1", "convert": "inverse_varianc"}, "did you mean 'inverse_variance'"),
        ({"hdu": "CCDS", "convert": "inverse_variance"}, "it takes an image"),
        ({"hdu": "N1", "convert": "bits"}, "it needs a mapping"),
        ({"hdu": ["WHT", 1], "convert": {"bits": {"A": 0}}}, "holds integers"),
        ({"hdu": "N1M", "convert": {"bits": {"A": 99}}}, "bit 99"),
        ({"hdu": "CCDS", "convert": "splinesky"}, "3 rows"),
        ({"hdu": "CCDS", "row": {"zero": 25.0}, "convert": "splinesky"}, "lacks gridvals"),
        ({"hdu": "N1", "convert": {"visit_info": {"exposure": "EXPTIME"}}}, "exposure"),
    ],
)
def test_conversions_that_do_not_fit(mosaic, fields, word):
    with pytest.raises(FormatError, match=word):
        read(mosaic, part(**fields))


def test_conversion_by_a_function(mosaic):
    def double(value, header, data_id):
        assert isinstance(header, fits.Header)
        return value * 2 * header["CCDNUM"] * data_id["n"] + header["EXPNUM"]

    found = read(mosaic, part(hdu="N2", convert="mine.double"), data_id={"n": 10}, find={"mine.double": double}.get)
    assert found[0, 0] == 2 * 2 * 2 * 10 + 7

    def fail(value, header, data_id):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError) as caught:
        read(mosaic, part("image", hdu="N2", convert="mine.fail"), find={"mine.fail": fail}.get)
    assert "while converting the part 'image' of raw 1 by mine.fail" in caught.value.__notes__
    with pytest.raises(TrustError):
        read(mosaic, part(hdu="N2", convert="mine.double"))


def test_parameters(mosaic):
    image, table = part("image", hdu="N1"), part("cat", hdu="CCDS", python="astropy.table.Table")
    both = about(image, table, part("wcs", hdu="N1"), part("row", hdu="CCDS", row={"zero": 25.0}))
    assert FORMAT.part_parameters("image", both) == ("bbox", "columns")
    assert FORMAT.part_parameters("cat", both) == ("columns",)
    assert FORMAT.part_parameters("wcs", both) == ()
    assert FORMAT.part_parameters("row", both) == ()
    assert FORMAT.part_parameters("mask", about(part("mask", convert={"bits": {}}))) == ("bbox",)
    box = (slice(0, 2), slice(0, 3))
    found = FORMAT.read_parts(mosaic, {"image": {"bbox": box}, "cat": {"columns": ["zero"]}}, both)
    assert found["image"].shape == (2, 3)
    assert found["cat"].colnames == ["zero"]
    for parameters in ({"bbox": (slice(0, 99), slice(0, 3))}, {"columns": ["zero"]}, {"bboxx": box}):
        with pytest.raises(ParameterError):
            FORMAT.read_parts(mosaic, {"image": parameters}, both)
    with pytest.raises(ParameterError, match="no part"):
        read(mosaic, part("wcs", hdu="N1"), parameters={"bbox": box})


def test_bytes_of_parts(mosaic):
    parts = about(part("image", hdu="N2"), part("wcs", hdu="N2"), part("metadata", hdu="N2"), part("first"))
    layout = FORMAT.scan(mosaic, parts, False)
    for name in ("image", "wcs", "metadata"):
        fresh = FileSource(mosaic.name, layout)
        FORMAT.read_parts(fresh, {name: {}}, parts)
        assert fresh.bytes_read == sum(r.length for r in FORMAT.part_ranges(layout, name, parts))
    assert FORMAT.part_ranges(layout, "first", parts) is None
    assert FORMAT.part_ranges({}, "image", parts) is None


def test_full_scans_guard_parts(mosaic):
    parts = about(part("image", hdu="N2"), part("zero", hdu="CCDS", row={"zero": 25.0}))
    layout = FORMAT.scan(mosaic, parts, True)
    for name in parts.parts:
        place = FORMAT.part_ranges(layout, name, parts)[-1]
        with open(mosaic.name, "r+b") as file:
            file.seek(place.offset + place.length - 1)
            file.write(b"\x77")
        with pytest.raises(IntegrityError):
            FORMAT.read_parts(FileSource(mosaic.name, layout), {name: {}}, parts)


def test_without_parts_the_type_decides(mosaic):
    def whole(python):
        return FORMAT.read(mosaic, About(name="raw 1", python=python, find=FIND), {})

    assert whole(np.ndarray)[0, 0] == 1
    assert len(whole(Table)) == 3
    assert whole(WCS).wcs.crval.tolist() == [10, 20]
    assert whole(Metadata)["EXPNUM"] == 7
    assert whole(fits.Header)["EXPNUM"] == 7


def test_it_only_reads(tmp_path):
    assert not FORMAT.writes
    with pytest.raises(FormatError, match="only reads"):
        FORMAT.write(np.zeros(3), None, About())


def test_ingest_helpers(mosaic):
    parts = about(part("image", hdu="{ccd}"), part("ccds", hdu="CCDS"))
    assert FORMAT.cards(mosaic, about(part("image", hdu="N2")), ["EXPNUM", "OBJECT", "CCDNUM", "NOPE"]) == {
        "EXPNUM": 7,
        "OBJECT": "primary",
        "CCDNUM": 2,
    }
    each = Each("hdu", {"hdu": "ccd"})
    names = [member["ccd"] for member in FORMAT.members(mosaic, parts, each)]
    assert names == ["N1", "N1M", "WHT", "N2", "N2M"]
    assert FORMAT.members(mosaic, about(part("mask", hdu="{ccd}M")), each) == [{"ccd": "N1"}, {"ccd": "N2"}]
    each = Each("columns", {"expnum": "visit", "ccdname": "ccd"})
    members = FORMAT.members(mosaic, about(part("ccds", hdu="CCDS")), each)
    assert members == [{"visit": 7, "ccd": "N1"}, {"visit": 7, "ccd": "N2"}, {"visit": 8, "ccd": "N2"}]
    with pytest.raises(FormatError, match="did you mean 'ccdname'"):
        FORMAT.members(mosaic, about(part("ccds", hdu="CCDS")), Each("columns", {"ccdnam": "ccd"}))


def test_odd_headers(tmp_path):
    """What astropy warns about or refuses is read all the same, without a warning."""
    hdu = fits.PrimaryHDU(np.ones((3, 4), "f4"), wcs_header())
    path = tmp_path / "odd.fits"
    hdu.writeto(path)
    data = path.read_bytes()
    end = data.index(b"END" + b" " * 77)
    odd = [
        "SEEING  =                  NaN",
        "AIRMASS = 1.2.3",
        "NOVALUE =",
        "lower   = 5",
        "HIERARCH ESO OBS NAME = 'it''s'",
        "BAD KEY = 3",
        "LONG    = 'abc&'",
        "CONTINUE  'def'",
        "TWICE   = 1",
        "TWICE   = 2",
        "CTYPE1A = 'X'",
    ]
    block = b"".join(line.encode().ljust(80) for line in [*odd, "END"])
    path.write_bytes(data[:end] + block + data[end + len(block) :])
    source = FileSource(path)
    parts = about(part("image"), part("metadata"), part("wcs"))
    found = FORMAT.read_parts(source, {"image": {}, "metadata": {}, "wcs": {}}, parts)
    metadata = found["metadata"]
    assert metadata["SEEING"] == "nan"
    assert metadata["AIRMASS"] == "1.2.3"
    assert metadata["NOVALUE"] is None
    assert metadata["LOWER"] == 5
    assert metadata["ESO OBS NAME"] == "it's"
    assert metadata["LONG"] == "abcdef"
    assert metadata["TWICE"] == 1
    assert found["wcs"].wcs.crval.tolist() == [10, 20]


# --- the real things ---------------------------------------------------------------------------------------


def decam(shared_data, kind, visit="170329_044212", ccd="N3"):
    (path,) = shared_data.glob(f"decam/field_1867p255/testcase4/images/**/c4d_{visit}_{kind}_*.{ccd}.fits")
    return FileSource(path)


def test_decam_images(shared_data):
    source = decam(shared_data, "ooi")
    found = FORMAT.read(source, about(part("image", hdu="{ccd}"), part("wcs", hdu="{ccd}"), data_id={"ccd": "N3"}), {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(source.name) as hdus:
            np.testing.assert_array_equal(found["image"], hdus["N3"].data)
            assert same_wcs(found["wcs"], WCS(hdus["N3"].header))
    mask = read(decam(shared_data, "ood"), part("mask", hdu="N3", convert={"bits": {"BAD": 0}}))
    assert mask.shape == found["image"].shape
    variance = read(decam(shared_data, "oow"), part("variance", hdu="N3", convert="inverse_variance"))
    assert (variance > 0).all()


def test_decam_psf_and_sky(shared_data):
    folder = shared_data / "decam/field_1867p255/testcase4/calib"
    (path,) = folder.glob("**/c4d_170329_044212_ooi_g_ls9-N3-psfex.fits")
    assert isinstance(read(FileSource(path), part("psf", python="bunter.Psf")), PsfExPsf)
    one = FileSource(next(folder.glob("**/c4d_170329_044212_ooi_g_ls9-N3-splinesky.fits")))
    many = FileSource(next(folder.glob("**/c4d_170329_044212_ooi_g_ls9-splinesky.fits")))
    sky = read(one, part("background", convert="splinesky"), python=Background)
    row = part("background", hdu=1, row={"ccdname": "{ccd}"}, convert="splinesky")
    again = read(many, row, data_id={"ccd": "N3"})
    assert isinstance(sky, Background)
    assert abs(sky.image((50, 50)).mean() - again.image((50, 50)).mean()) < 5
    assert issubclass(type(read(FileSource(path), part("psf", python="bunter.Psf"))), Psf)


def test_decam_calibration(shared_data):
    source = FileSource(shared_data / "decam/field_1867p255/testcase4/survey-ccds-1.fits.gz")
    zero = part("zero", hdu=1, row={"expnum": "{visit}", "ccdname": "{ccd}"}, column="ccdzpt")
    assert 24 < read(source, zero, data_id={"visit": 634850, "ccd": "N3"}) < 26
    assert FORMAT.part_ranges(FORMAT.scan(source, about(zero), True), "zero", about(zero)) is None


def test_sdss(shared_data):
    frame = FileSource(shared_data / "sdss/run1000/frame-r-001000-1-0100.fits.bz2")
    parts = [part("image", hdu=0), part("sky", hdu=2, column="ALLSKY"), part("astrom", hdu=3, row={"FILTER": "r"})]
    found = FORMAT.read(frame, about(*parts), {})
    assert found["image"].shape == (100, 100)
    assert found["sky"].shape == (1, 192, 256)
    assert found["astrom"]["RUN"] == 1000
    field = FileSource(shared_data / "sdss/run1000/psField-001000-1-0100.fit")
    by_filter = part("psf", hdu={"filter": {band: n for n, band in enumerate("ugriz", 1)}})
    assert len(read(field, by_filter, data_id={"filter": "r"})) == 4

    def spans_to_mask(value, header, data_id):
        planes = np.zeros((1489, 2048), bool)
        for spans in value["s"]:
            for y, x1, x2 in np.asarray(spans).view("u1").reshape(-1, 6).copy().view(">u2").reshape(-1, 3):
                planes[y, x1 : x2 + 1] = True
        return Mask.from_planes({"INTERP": planes})

    masks = FileSource(shared_data / "sdss/run1000/fpM-001000-r1-0100.fit")
    mask = read(masks, part("mask", hdu=1, convert="mine.spans"), find={"mine.spans": spans_to_mask}.get)
    assert mask.plane("INTERP").sum() > 1000
