"""FitsImage: all types there and back, scaled and compressed images of others, cutouts that read few bytes."""

from __future__ import annotations

import io
import tempfile
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bunter.errors import FormatError, IntegrityError, ParameterError
from bunter.formats.fits_image import FitsImage
from bunter.formats.interface import About
from bunter.testing import FileSource, FormatTests, written

IMAGE = FitsImage()
TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


class TestConformance(FormatTests):
    def format(self):
        return IMAGE

    def examples(self):
        chance = np.random.default_rng(0)
        about = About(name="bias 3", python=np.ndarray)
        image = chance.normal(size=(12, 9)).astype("f4")
        image[3, 4] = np.nan
        return [
            (image, about),
            (chance.integers(0, 60000, (9, 11)).astype("u2"), about),
            (chance.integers(-5, 5, (9, 11)), About()),
        ]

    def refused(self):
        about = About(name="bias 3")
        arrays = [
            np.zeros(3, dtype=complex),
            np.array(["a"]),
            np.ma.MaskedArray([1, 2]),
            np.zeros(2, dtype=[("a", int)]),
            np.array(1.0),
        ]
        return [(array, about) for array in [*arrays, [[1.0]], None]]

    def selections(self):
        return [({"bbox": (slice(2, 7), slice(1, 9))}, lambda image: image[2:7, 1:9])]

    def bad_parameters(self):
        return [
            {"bbox": box}
            for box in (
                (slice(0, 99), slice(0, 3)),
                (slice(-3, 3), slice(0, 3)),
                (slice(0, 4, 2), slice(0, 3)),
                (slice(3, 3), slice(0, 3)),
                slice(0, 3),
                (1, 2),
            )
        ]


@given(
    array=hnp.arrays(
        st.sampled_from([np.dtype(kind).newbyteorder(order) for kind in TYPES for order in "<>"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    )
)
@settings(max_examples=150, deadline=None)
def test_every_type_and_shape_comes_back(array):
    with tempfile.TemporaryDirectory() as folder:
        source = written(IMAGE, array, About(), folder)
        for again in (source, FileSource(source.name)):
            back = IMAGE.read(again, About(), {})
            assert back.dtype == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(back, array)
            assert back.flags.writeable
        if array.size:
            with fits.open(source.name) as hdus:
                hdus.verify("exception")
                np.testing.assert_array_equal(hdus[0].data, array)


def test_bits_of_floats_are_kept(tmp_path):
    pixels = np.array([0x7FC00001, 0xFF800000, 0x80000000, 0x00000001], dtype="u4").view("f4")
    back = IMAGE.read(written(IMAGE, pixels, About(), tmp_path), About(), {})
    assert back.tobytes() == pixels.tobytes()


def test_memory_layouts(tmp_path):
    base = np.arange(600, dtype="f8").reshape(20, 30)
    for view in (base.T, base[::2, ::-3], np.asfortranarray(base), base[5:5]):
        back = IMAGE.read(written(IMAGE, view, About(), tmp_path), About(), {})
        np.testing.assert_array_equal(back, view)


def test_bool_and_half_floats(tmp_path):
    assert IMAGE.read(written(IMAGE, np.array([[True, False]]), About(), tmp_path), About(), {}).dtype == np.uint8
    assert IMAGE.read(written(IMAGE, np.ones(3, "f2"), About(), tmp_path), About(), {}).dtype == np.float32


def test_large_arrays_are_written_in_pieces(tmp_path):
    class Out(io.BytesIO):
        largest = 0

        def write(self, data):
            self.largest = max(self.largest, memoryview(data).nbytes)
            return super().write(data)

    out = Out()
    image = np.arange(3_000_000, dtype="f4").reshape(3000, 1000)
    layout = IMAGE.write(image, out, About())
    assert out.largest <= 1 << 22
    assert out.getbuffer().nbytes == 2880 + -(-image.nbytes // 2880) * 2880
    assert IMAGE.is_stored(image, layout, None, About()) is True
    image[0, 0] = -1
    assert IMAGE.is_stored(image, layout, None, About()) is None


def test_a_cutout_reads_only_its_rows(tmp_path):
    image = np.arange(500_000, dtype="f4").reshape(500, 1000)
    source = written(IMAGE, image, About(), tmp_path)
    cutout = IMAGE.read(source, About(), {"bbox": (slice(100, 110), slice(990, 1000))})
    np.testing.assert_array_equal(cutout, image[100:110, 990:])
    assert source.bytes_read == 2880 + 9 * 4000 + 40


def test_cutouts_need_two_dimensions(tmp_path):
    source = written(IMAGE, np.zeros((3, 4, 5)), About(), tmp_path)
    with pytest.raises(ParameterError, match="two dimensions"):
        IMAGE.read(source, About(), {"bbox": (slice(0, 1), slice(0, 1))})


def test_flipped_bits_are_noticed(tmp_path):
    source = written(IMAGE, np.zeros((100, 100), "f4"), About(), tmp_path)
    with open(source.name, "r+b") as file:
        file.seek(2880 + 39_999)
        file.write(b"\1")
    with pytest.raises(IntegrityError):
        IMAGE.read(source, About(), {})


def foreign(tmp_path, *hdus, **options):
    path = tmp_path / "foreign.fits"
    fits.HDUList(list(hdus)).writeto(path, overwrite=True, **options)
    return FileSource(path)


@pytest.mark.parametrize(
    ("kind", "cards"),
    [
        ("i2", {"BSCALE": 0.5, "BZERO": 3}),
        ("i2", {"BLANK": 7}),
        ("i4", {"BSCALE": 1e-3, "BLANK": 3}),
        ("i4", {"BZERO": 2.0**31}),
        ("u1", {"BZERO": -128}),
        ("i2", {"BZERO": 32768, "BLANK": 5}),
        ("i8", {"BZERO": 2**63}),
        ("f4", {"BSCALE": 2.0, "BZERO": 1.0}),
        ("f4", {"BLANK": 3}),
        ("u1", {"BSCALE": 10}),
    ],
)
def test_scaled_images_are_what_astropy_makes_of_them(tmp_path, kind, cards):
    raw = np.arange(110).reshape(10, 11).astype(kind)
    hdu = fits.PrimaryHDU(raw)
    source = foreign(tmp_path, hdu)
    data = bytearray((tmp_path / "foreign.fits").read_bytes())
    end = data.index(b"END" + b" " * 77)
    extra = b"".join(str(fits.Card(key, value)).encode() for key, value in cards.items()) + b"END".ljust(80)
    data[end : end + len(extra)] = extra
    (tmp_path / "foreign.fits").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(source.name) as hdus:
            expected = np.array(hdus[0].data)
    box = (slice(2, 8), slice(3, 9))
    for found, wanted in (
        (IMAGE.read(source, About(), {}), expected),
        (IMAGE.read(source, About(), {"bbox": box}), expected[box]),
    ):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == expected.dtype.newbyteorder("=")


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_compressed_images(tmp_path, method):
    image = np.random.default_rng(2).integers(0, 5000, (200, 300)).astype("i4")
    hdu = fits.CompImageHDU(image, compression_type=method, tile_shape=(20, 300))
    source = foreign(tmp_path, fits.PrimaryHDU(), hdu)
    np.testing.assert_array_equal(IMAGE.read(source, About(), {}), image)
    box = (slice(100, 110), slice(20, 80))
    fresh = FileSource(source.name)
    found = IMAGE.read(fresh, About(), {"bbox": box})
    np.testing.assert_array_equal(found, image[box])
    assert found.dtype == np.int32
    assert found.dtype.isnative


def test_a_compressed_cutout_reads_only_its_tiles(tmp_path):
    image = np.random.default_rng(2).integers(0, 1 << 30, (1000, 1000)).astype("i4")
    source = foreign(tmp_path, fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="RICE_1"))
    layout = IMAGE.scan(source, About(), False)
    fresh = FileSource(source.name, layout)
    found = IMAGE.read(fresh, About(), {"bbox": (slice(500, 502), slice(0, 5))})
    np.testing.assert_array_equal(found, image[500:502, :5])
    assert fresh.bytes_read < source.size / 10


def test_compressed_floats_and_quantization(tmp_path):
    image = np.random.default_rng(3).normal(100, 5, (64, 64)).astype("f4")
    hdu = fits.CompImageHDU(image, compression_type="RICE_1", quantize_level=16, dither_seed=3)
    source = foreign(tmp_path, fits.PrimaryHDU(), hdu)
    with fits.open(source.name) as hdus:
        expected = np.array(hdus[1].data)
    np.testing.assert_array_equal(IMAGE.read(source, About(), {}), expected)


def test_a_compressed_image_that_lies_about_its_size(tmp_path):
    source = foreign(tmp_path, fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((10, 10), "i2")))
    data = (tmp_path / "foreign.fits").read_bytes()
    lie = data.replace(b"ZNAXIS2 =                   10", b"ZNAXIS2 =           9999999999")
    (tmp_path / "foreign.fits").write_bytes(lie)
    with pytest.raises(FormatError, match="rows: it is not decompressed"):
        IMAGE.read(source, About(), {})


def test_first_image_of_a_foreign_file(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    image = np.ones((3, 4), "f4")
    source = foreign(tmp_path, fits.PrimaryHDU(), table, fits.ImageHDU(image))
    np.testing.assert_array_equal(IMAGE.read(source, About(), {}), image)
    with pytest.raises(FormatError, match=r"holds no image.*1 \(table\)"):
        IMAGE.read(foreign(tmp_path, fits.PrimaryHDU(), table), About(name="flat"), {})


def test_ranges_are_those_of_the_image(tmp_path):
    source = written(IMAGE, np.zeros((100, 100), "f4"), About(), tmp_path)
    (place,) = IMAGE.part_ranges(source.layout, "", About())
    IMAGE.read(source, About(), {})
    assert (place.offset, place.length) == (0, 2880 + 40_000)
    assert source.bytes_read == place.length


def test_real_frames(shared_data):
    path = shared_data / "sdss/run1000/frame-r-001000-1-0100.fits.bz2"
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(IMAGE.read(FileSource(path), About(), {}), hdus[0].data)
