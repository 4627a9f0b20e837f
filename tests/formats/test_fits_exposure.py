"""FitsExposure: whole, in parts, in cutouts; by few bytes; also when compressed by others."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from bunter.errors import FormatError, IntegrityError, ParameterError
from bunter.exposure import (
    Background,
    ChebyshevLayer,
    Exposure,
    GaussianPsf,
    ImagePsf,
    Mask,
    PhotoCalib,
    PsfExPsf,
    SplineLayer,
    VisitInfo,
    same_wcs,
)
from bunter.files.interface import StoredFile
from bunter.files.sources import LocalSource
from bunter.formats.equality import same_values
from bunter.formats.fits_exposure import FitsExposure
from bunter.formats.interface import About
from bunter.reading import read_whole
from bunter.testing import FileSource, FormatTests, written

FORMAT = FitsExposure()
ABOUT = About(name="calexp {'visit': 1}", python=Exposure)
PARTS = tuple(Exposure.__bunter_components__)


def tan():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 10.684708333333333, 1 / 3
    wcs.wcs.crpix = 20.1234567890123, 1e3 / 70
    wcs.wcs.cd = np.array([[-7.3e-5 / 3, 1e-9 / 7], [2e-9 / 7, 7.3e-5 / 3]])
    wcs.wcs.set()
    return wcs


def full(ny=40, nx=30, kind="f4", **changes):
    chance = np.random.default_rng(ny)
    layers = [
        SplineLayer(chance.random((6, 5)), np.arange(5) * 10.0, np.arange(6) * 10.0),
        ChebyshevLayer(chance.random((2, 3)), ((0.0, 30.0), (0.0, 40.0))),
    ]
    parts = {
        "mask": Mask(chance.integers(0, 8, (ny, nx)).astype("i4"), {"BAD": 0, "DETECTED_NEGATIVE": 1, "odd näme=&": 2}),
        "variance": chance.random((ny, nx)).astype(kind),
        "wcs": tan(),
        "photo_calib": PhotoCalib(3.5 / 3, 0.01, spatial=layers[1]),
        "psf": PsfExPsf(chance.random((6, 25, 25)).astype("f4"), 2, 100, 200, 300, 400, 1.0, 4.4),
        "background": Background(layers),
        "visit_info": VisitInfo(visit=1, mjd=57000.12345678901, exposure_time=30.0, observer="Müller", airmass=1 / 3),
        "detector": {"name": "N3", "id": [1, 2.5, None, True]},
        "filter": "r",
        "metadata": {
            "EXPTIME": 30.123456789012345,
            "HISTORY": ["a", "  b"],
            "COMMENT": ["x"],
            "A LONG KEYWORD": "it's " * 60,
            "BUNIT": "adu",
            "NOTHING": None,
            "FLAG": True,
            "BUNTVER": 7,
            "N": 2**70,
            "Z": 1 + 2j,
        },
    }
    return Exposure(chance.normal(size=(ny, nx)).astype(kind), **(parts | changes))


class TestConformance(FormatTests):
    def format(self):
        return FORMAT

    def examples(self):
        nothing = Exposure(np.zeros((5, 4)))
        nothing.image[2, 2] = np.nan
        few = Exposure(np.ones((8, 9), "f4"), filter="g", psf=GaussianPsf(2.0, axis_ratio=0.5), detector=3)
        return [(full(), ABOUT), (nothing, About(name=ABOUT.name)), (few, ABOUT)]

    def refused(self):
        return [(thing, ABOUT) for thing in (np.zeros((3, 3)), None, {"image": np.zeros((3, 3))}, GaussianPsf(1.0))]

    def selections(self):
        box = (slice(1, 4), slice(2, 4))
        return [({"bbox": box}, lambda exposure: exposure.cutout(box))]

    def bad_parameters(self):
        return [{"bbox": (slice(0, 99), slice(0, 3))}, {"bbox": (slice(0, 3, 2), slice(0, 3))}, {"bbox": 3}]


def test_each_part_takes_its_own_bytes_only(tmp_path):
    exposure = full(400, 300)
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    sizes = {}
    for part in PARTS:
        fresh = FileSource(source.name, source.layout)
        value = FORMAT.read_parts(fresh, {part: {}}, ABOUT)[part]
        assert same_values(value, getattr(exposure, part)), part
        sizes[part] = fresh.bytes_read
    assert sizes["image"] == sizes["variance"] == 400 * 300 * 4
    assert sizes["mask"] == 400 * 300 * 4 + 2880
    for part in ("wcs", "visit_info", "detector", "filter", "metadata"):
        assert sizes[part] == 2880, part
    assert sizes["photo_calib"] < 6000
    assert sizes["psf"] == 2880 + 6 * 25 * 25 * 4


def test_spellings_and_absent_parts(tmp_path):
    source = written(FORMAT, Exposure(np.ones((3, 3)), photo_calib=PhotoCalib(2.0)), ABOUT, tmp_path)
    found = FORMAT.read_parts(source, {"photoCalib": {}, "calib": {}, "wcs": {}}, ABOUT)
    assert found == {"photoCalib": PhotoCalib(2.0), "calib": PhotoCalib(2.0), "wcs": None}
    assert FORMAT.part_ranges(source.layout, "wcs", ABOUT) == []
    with pytest.raises(FormatError, match="did you mean 'psf'"):
        FORMAT.read_parts(source, {"psff": {}}, ABOUT)


@pytest.mark.parametrize("layout", [True, False])
def test_cutouts_of_planes(tmp_path, layout):
    exposure = full(400, 300)
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    fresh = FileSource(source.name, source.layout if layout else {})
    box = (slice(100, 110), slice(20, 80))
    found = FORMAT.read_parts(fresh, {name: {"bbox": box} for name in ("image", "mask", "variance")}, ABOUT)
    np.testing.assert_array_equal(found["image"], exposure.image[box])
    np.testing.assert_array_equal(found["variance"], exposure.variance[box])
    assert found["mask"] == exposure.mask[box]
    if layout:
        assert fresh.bytes_read < 3 * (10 * 300 * 4 + 2 * 2880)
    with pytest.raises(ParameterError):
        FORMAT.read_parts(fresh, {"psf": {"bbox": box}}, ABOUT)


def test_a_cutout_of_floats_takes_its_rows_alone(tmp_path):
    exposure = full(400, 300)
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    image = {"image": {"bbox": (slice(100, 110), slice(20, 80))}}
    assert FORMAT.read_parts(source, image, ABOUT)["image"].flags.writeable
    assert source.bytes_read == (9 * 300 + 60) * 4
    for shape in ([400, 299], [200, 300], [400, 301]):
        lie = {**source.layout, "planes": {"image": ["f4", shape]}}
        with pytest.raises(FormatError, match="other pixels than were recorded"):
            FORMAT.read_parts(FileSource(source.name, lie), image, ABOUT)


def test_cutouts_of_a_wide_frame_leave_out_what_is_beside_them(tmp_path):
    image = np.random.default_rng(1).random((30, 9000)).astype("f4")
    stored = written(FORMAT, Exposure(image), ABOUT, tmp_path)
    file = StoredFile("a.fits", True, stored.size, None, stored.checksum, stored.layout)
    box = slice(10, 25), slice(8000, 8100)
    source = LocalSource(stored.name, file)
    before = bytes_read()
    np.testing.assert_array_equal(FORMAT.read_parts(source, {"image": {"bbox": box}}, ABOUT)["image"], image[box])
    assert bytes_read() - before < 15 * 400 + 1000
    source.close()


def test_cutouts_keep_their_origin(tmp_path):
    box, inner = (slice(5, 25), slice(10, 30)), (slice(2, 4), slice(3, 9))
    cutout = full().cutout(box)
    back = FORMAT.read(written(FORMAT, cutout, ABOUT, tmp_path), ABOUT, {})
    assert back == cutout
    assert back.origin == (5, 10)
    again = FORMAT.read(written(FORMAT, cutout, ABOUT, tmp_path), ABOUT, {"bbox": inner})
    assert again == cutout.cutout(inner)
    assert again.origin == (7, 13)


def test_flipped_bits_are_noticed_by_the_part_that_they_are_in(tmp_path):
    source = written(FORMAT, full(), ABOUT, tmp_path)
    data = bytearray(Path(source.name).read_bytes())
    for part in PARTS:
        for place in FORMAT.part_ranges(source.layout, part, ABOUT):
            for at in (place.offset, place.offset + place.length - 1):
                data[at] ^= 16
                Path(source.name).write_bytes(data)
                with pytest.raises(IntegrityError):
                    FORMAT.read_parts(FileSource(source.name, source.layout), {part: {}}, ABOUT)
                other = "filter" if part != "filter" else "image"
                FORMAT.read_parts(FileSource(source.name, source.layout), {other: {}}, ABOUT)
                data[at] ^= 16


def test_what_other_programs_see(tmp_path):
    exposure = full()
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    with fits.open(source.name) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["IMAGE"].data, exposure.image)
        np.testing.assert_array_equal(hdus["MASK"].data, exposure.mask.array)
        assert same_wcs(WCS(hdus["IMAGE"].header), exposure.wcs)
        assert hdus["MASK"].header["MP_BAD"] == 0
        assert hdus["MASK"].header["MP_DETECTED_NEGATIVE"] == 1
        assert hdus[0].header["EXPTIME"] == exposure.metadata["EXPTIME"]
        assert hdus["IMAGE"].header["BUNIT"] == "adu"
        assert "DATE" not in hdus[0].header


def test_is_stored(tmp_path):
    exposure = full()
    layout = written(FORMAT, exposure, ABOUT, tmp_path).layout
    assert FORMAT.is_stored(exposure, layout, None, ABOUT) is True
    for part in PARTS:
        assert FORMAT.is_stored(getattr(exposure, part), layout, part, ABOUT) is True, part
    other = full(wcs=None)
    other.image = other.image.copy()
    other.image[0, 0] += 1
    assert FORMAT.is_stored(other, layout, None, ABOUT) is None
    assert FORMAT.is_stored(other.image, layout, "image", ABOUT) is None
    assert FORMAT.is_stored(other.image.astype("f8"), layout, "image", ABOUT) is None
    assert FORMAT.is_stored(None, layout, "wcs", ABOUT) is None
    # The image is the same though the WCS, of which its header has a copy, is not.
    assert FORMAT.is_stored(full().image, layout, "image", ABOUT) is True
    assert FORMAT.is_stored(None, written(FORMAT, other, ABOUT, tmp_path).layout, "wcs", ABOUT) is True


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8"])
def test_masks_of_all_types(tmp_path, dtype):
    mask = Mask(np.arange(20).reshape(4, 5).astype(dtype), {"A": 0, "B": 4})
    back = FORMAT.read(written(FORMAT, Exposure(np.ones((4, 5)), mask=mask), ABOUT, tmp_path), ABOUT, {}).mask
    assert back == mask
    assert back.dtype == mask.dtype


def bytes_read():
    if not os.path.exists("/proc/self/io"):
        pytest.skip("nothing says how much was read")
    with open("/proc/self/io") as counts:
        return int(counts.readline().split()[1])


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8"])
def test_planes_are_read_once(tmp_path, kind, dtype):
    """As numbers, whatever their width, with all of the file verified; the same as by ranges of bytes."""
    chance = np.random.default_rng(1)
    mask = Mask(chance.integers(0, 100, (700, 600)).astype(dtype), {"A": 0, "B": 4})
    exposure = Exposure(chance.random((700, 600)).astype(kind), mask=mask, variance=chance.random((700, 600), "f4"))
    stored = written(FORMAT, exposure, ABOUT, tmp_path)
    assert FORMAT.read(stored, ABOUT, {}) == exposure
    file = StoredFile("a.fits", True, stored.size, None, stored.checksum, stored.layout)
    for plain in (False, True):
        source = LocalSource(stored.name, dataclasses.replace(file, checksum=None) if plain else file)
        before = bytes_read()
        back = read_whole(FORMAT, source, ABOUT, {})
        assert bytes_read() - before < stored.size + 1000
        source.close()
        assert back == exposure
        for array in (back.image, back.mask.array, back.variance):
            assert array.dtype.isnative
            assert array.flags.writeable
            assert array.flags.c_contiguous


@pytest.mark.parametrize("odd", ["u2", "i4"])
def test_a_plane_that_is_not_what_its_layout_says(tmp_path, odd):
    """Of a layout that was made for another file, or by others, nothing is believed but where the bytes are."""
    chance = np.random.default_rng(1)
    exposure = Exposure(chance.random((700, 600)), mask=Mask(chance.integers(0, 100, (700, 600)).astype(odd)))
    stored = written(FORMAT, exposure, ABOUT, tmp_path)
    for shape in ([600, 600], [350, 600], [0, 0]):
        layout = {**stored.layout, "planes": {**stored.layout["planes"], "image": ["f8", shape]}}
        wanted = FORMAT.whole_ranges(layout, ABOUT)
        file = StoredFile("a.fits", True, stored.size, None, stored.checksum, stored.layout)
        source = LocalSource(stored.name, file)
        source.expect(lambda wanted=wanted: wanted)
        assert FORMAT.read(source, ABOUT, {}) == exposure
        source.confirm()
        source.close()


@pytest.mark.parametrize("name", ["x", "MP_", "A" * 41, "a\nb", "é", "WITH SPACE", "A=B", "5", "-_", "lower"])
def test_odd_names_of_mask_planes(tmp_path, name):
    mask = Mask(np.ones((3, 3), "u1"), {name: 3, "BAD": 0})
    assert FORMAT.read(written(FORMAT, Exposure(np.ones((3, 3)), mask=mask), ABOUT, tmp_path), ABOUT, {}).mask == mask


@pytest.mark.parametrize("psf", [GaussianPsf(1.5), ImagePsf(np.arange(1.0, 26).reshape(5, 5))])
def test_kinds_of_psf(tmp_path, psf):
    back = FORMAT.read(written(FORMAT, Exposure(np.ones((3, 3)), psf=psf), ABOUT, tmp_path), ABOUT, {})
    assert back.psf == psf


def test_packed_by_others(tmp_path):
    """As fpack does it: images become compressed images, all else stays."""
    exposure = full(100, 200, variance=None)
    exposure.image = np.round(exposure.image * 100)
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    path = tmp_path / "packed.fits.fz"
    with fits.open(source.name) as hdus:
        packed = [
            fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0)
            if index and hdu.is_image and hdu.data is not None
            else hdu.copy()
            for index, hdu in enumerate(hdus)
        ]
        fits.HDUList(packed).writeto(path)
    for layout in ({}, FORMAT.scan(FileSource(path), ABOUT, True)):
        fresh = FileSource(path, layout)
        assert FORMAT.read(fresh, ABOUT, {}) == exposure
        box = (slice(3, 9), slice(100, 150))
        assert FORMAT.read(fresh, ABOUT, {"bbox": box}) == exposure.cutout(box)
        for part in PARTS:
            assert same_values(FORMAT.read_parts(fresh, {part: {}}, ABOUT)[part], getattr(exposure, part))


def test_gzipped_by_others(tmp_path):
    exposure = full()
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    path = tmp_path / "exposure.fits.gz"
    path.write_bytes(gzip.compress(Path(source.name).read_bytes()))
    layout = FORMAT.scan(FileSource(path), ABOUT, True)
    assert FORMAT.part_ranges(layout, "wcs", ABOUT) is None
    for fresh in (FileSource(path, layout), FileSource(path)):
        assert FORMAT.read(fresh, ABOUT, {}) == exposure
        assert same_wcs(FORMAT.read_parts(fresh, {"wcs": {}}, ABOUT)["wcs"], exposure.wcs)


def test_files_that_bunter_did_not_write(tmp_path):
    path = tmp_path / "foreign.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 3)), name="SCI")]).writeto(path)
    for call in (
        lambda: FORMAT.read(FileSource(path), ABOUT, {}),
        lambda: FORMAT.read_parts(FileSource(path), {"wcs": {}}, ABOUT),
        lambda: FORMAT.scan(FileSource(path), ABOUT, False),
    ):
        with pytest.raises(FormatError, match="storage: Fits and say under parts") as caught:
            call()
        assert "1 SCI (image)" in str(caught.value)


def test_files_of_a_newer_bunter(tmp_path):
    source = written(FORMAT, full(), ABOUT, tmp_path)
    data = Path(source.name).read_bytes()
    Path(source.name).write_bytes(data.replace(b"BUNTVER =                    1", b"BUNTVER =                   99"))
    with pytest.raises(FormatError, match="newer Bunter"):
        FORMAT.read(FileSource(source.name), ABOUT, {})


def test_ccddata(tmp_path):
    ccd = CCDData(np.ones((4, 5), "f4"), unit=units.adu, wcs=tan(), meta={"EXPTIME": 3.0})
    back = FORMAT.read(written(FORMAT, ccd, ABOUT, tmp_path), ABOUT, {})
    np.testing.assert_array_equal(back.image, ccd.data)
    assert same_wcs(back.wcs, ccd.wcs)
    assert isinstance(FORMAT.read(written(FORMAT, full(), ABOUT, tmp_path), About(python=CCDData), {}), CCDData)


@dataclasses.dataclass(eq=False)
class Theirs:
    """Somebody's own class."""

    image: np.ndarray
    wcs: object = None
    photoCalib: object = None  # noqa: N815
    aperture_sums: np.ndarray | None = None
    notes: dict | None = None


def test_classes_of_others(tmp_path):
    theirs = Theirs(np.ones((4, 5), "i2"), tan(), PhotoCalib(2.0), np.arange(3.0), {"a": [1, None]})
    about = About(python=Theirs)
    source = written(FORMAT, theirs, about, tmp_path)
    for fresh in (source, FileSource(source.name)):
        back = FORMAT.read(fresh, about, {})
        assert type(back) is Theirs
        assert same_values(back.image, theirs.image)
        assert back.photoCalib == theirs.photoCalib
        assert same_values(back.aperture_sums, theirs.aperture_sums)
        assert back.notes == theirs.notes
        found = FORMAT.read_parts(fresh, {"aperture_sums": {}, "photoCalib": {}}, about)
        assert same_values(found, {"aperture_sums": theirs.aperture_sums, "photoCalib": theirs.photoCalib})


def test_lookup_tables_of_the_wcs_follow_it(tmp_path):
    from astropy.utils.data import get_pkg_data_filename

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(get_pkg_data_filename("tests/data/dist_lookup.fits.gz", package="astropy.wcs")) as hdus:
            wcs = WCS(hdus[1].header, hdus)
    exposure = full(wcs=wcs)
    source = written(FORMAT, exposure, ABOUT, tmp_path)
    assert len(source.layout["parts"]["wcs"]) == 4
    for fresh in (source, FileSource(source.name)):
        assert same_wcs(FORMAT.read_parts(fresh, {"wcs": {}}, ABOUT)["wcs"], wcs)
        assert FORMAT.read(fresh, ABOUT, {}) == exposure


def test_large_planes_are_written_in_pieces():
    class Out(io.BytesIO):
        largest = 0

        def write(self, data):
            self.largest = max(self.largest, memoryview(data).nbytes)
            return super().write(data)

    out = Out()
    layout = FORMAT.write(Exposure(np.ones((2000, 1000), "f4")), out, ABOUT)
    assert out.largest <= 1 << 22
    assert len(str(layout)) < 700
