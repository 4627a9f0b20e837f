"""Cutouts of compressed images: what astropy cuts out, bit by bit, for the bytes of the tiles alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from bunter.errors import FormatError
from bunter.formats.fits_file import FitsFile, quiet
from bunter.formats.fits_image import FitsImage
from bunter.formats.interface import About
from bunter.testing import FileSource

IMAGE = FitsImage()
SHAPE = 67, 93
BOXES = [
    (slice(0, 67), slice(0, 93)),
    (slice(30, 41), slice(20, 60)),
    (slice(66, 67), slice(92, 93)),
    (slice(0, 1), slice(5, 93)),
    (slice(16, 32), slice(0, 1)),
]


def source_of(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return described(path)


def described(path):
    return FileSource(path, IMAGE.scan(FileSource(path), About(), True))


def the_same(source):
    """Compare cutouts with those of astropy; for none of them is all of the image read."""
    for box in BOXES:
        with quiet(), fits.open(source.name) as file:
            wanted = np.array(file[1].section[box])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FitsFile, "data", lambda file, index: pytest.fail("all of the image is read"))
            found = IMAGE.read(source, About(), {"bbox": box})
        assert found.dtype == wanted.dtype.newbyteorder("=")
        assert found.tobytes() == wanted.astype(found.dtype).tobytes()
        assert found.flags.writeable


def integers(kind="i4", most=5000):
    return np.random.default_rng(2).integers(0, most, SHAPE).astype(kind)


def floats(kind="f4"):
    image = np.random.default_rng(3).normal(100, 5, SHAPE).astype(kind)
    image[3, 4:20] = np.nan
    image[::5] = 7.25
    image[10, ::3] = 0
    return image


TILES = [(1, 93), (16, 93), (16, 20), (67, 93), (30, 7)]


@pytest.mark.parametrize(
    ("method", "tile"),
    [(method, tile) for method in ("RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "NOCOMPRESS") for tile in TILES]
    + [("HCOMPRESS_1", tile) for tile in ((17, 31), (17, 93), (67, 93))],
)
def test_integers(tmp_path, method, tile):
    image = integers("i2" if method == "PLIO_1" else "i4")
    the_same(source_of(tmp_path / "a.fits", fits.CompImageHDU(image, compression_type=method, tile_shape=tile)))


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "u4", "i8"])
def test_types(tmp_path, kind):
    method = "GZIP_1" if kind == "i8" else "RICE_1"
    the_same(source_of(tmp_path / "a.fits", fits.CompImageHDU(integers(kind, 200), compression_type=method)))


@pytest.mark.parametrize("dither", [-1, 1, 2])
@pytest.mark.parametrize(
    ("method", "tile", "kind"),
    [
        ("RICE_1", (1, 93), "f4"),
        ("RICE_1", (16, 20), "f8"),
        ("GZIP_2", (16, 20), "f4"),
        ("GZIP_1", (9, 93), "f4"),
        ("HCOMPRESS_1", (17, 31), "f4"),
    ],
)
def test_quantized_floats(tmp_path, kind, method, dither, tile):
    # The random numbers of a tile depend on its number; of rows that are all the same, the floats themselves are kept.
    options = {"quantize_method": dither, "dither_seed": 9998, "quantize_level": 4.0}
    hdu = fits.CompImageHDU(floats(kind), compression_type=method, tile_shape=tile, **options)
    the_same(source_of(tmp_path / "a.fits", hdu))


@pytest.mark.parametrize("level", [0.0, 16.0])
def test_floats_as_they_are(tmp_path, level):
    hdu = fits.CompImageHDU(floats(), compression_type="GZIP_1", quantize_level=level)
    the_same(source_of(tmp_path / "a.fits", hdu))


def retabled(path, image, change, **options):
    """Write a compressed image whose columns, name: (form, array), were changed."""
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, **options)]).writeto(path)
    with fits.open(path, disable_image_compression=True, memmap=False) as file:
        columns = {column.name: (column.format, file[1].data[column.name]) for column in file[1].columns}
        columns["COMPRESSED_DATA"] = "QB()", lists(columns["COMPRESSED_DATA"][1], "u1")
        change(columns)
        table = fits.BinTableHDU.from_columns(
            [fits.Column(name, form, array=array) for name, (form, array) in columns.items()]
        )
        table.header.extend([card for card in file[1].header.cards if card.keyword.startswith("Z")])
        return source_of(path.with_suffix(".new"), table)


def lists(rows, kind):
    made = np.empty(len(rows), dtype=object)
    for number, row in enumerate(rows):
        made[number] = np.array(row, kind)
    return made


def test_tiles_that_are_not_compressed(tmp_path):
    image = np.random.default_rng(3).normal(100, 5, SHAPE).astype("f4")

    def change(columns):
        bare = [row % 3 == 0 for row in range(SHAPE[0])]
        packed = columns["COMPRESSED_DATA"][1]
        columns["COMPRESSED_DATA"] = "QB()", lists([[] if b else p for b, p in zip(bare, packed, strict=True)], "u1")
        columns["UNCOMPRESSED_DATA"] = "PE()", lists([p if b else [] for b, p in zip(bare, image, strict=True)], ">f4")
        columns.pop("GZIP_COMPRESSED_DATA", None)

    the_same(retabled(tmp_path / "a.fits", image, change, quantize_level=4.0))


def test_blanks_that_differ_from_tile_to_tile(tmp_path):
    image = integers()

    def change(columns):
        columns["ZBLANK"] = "J", image[:, 30]

    source = retabled(tmp_path / "a.fits", image, change)
    the_same(source)
    assert np.isnan(IMAGE.read(source, About(), {"bbox": BOXES[1]})[:, 10]).all()


@pytest.mark.parametrize(
    "cards", [{"BSCALE": 0.1, "BZERO": 1e3}, {"BLANK": 7}, {"ZBLANK": 7, "BLANK": 7}, {"BZERO": 9.0}]
)
def test_scales_and_blanks(tmp_path, cards):
    source_of(tmp_path / "a.fits", fits.CompImageHDU(integers("i2", 20)))
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as file:
        for keyword, value in cards.items():
            file[1].header[keyword] = value
        file.writeto(tmp_path / "b.fits")
    the_same(described(tmp_path / "b.fits"))


def test_the_bytes_of_the_tiles_and_no_more(tmp_path):
    image = np.random.default_rng(2).integers(0, 1 << 30, (1000, 1000)).astype("i4")
    for tile in ((1, 1000), (50, 50)):
        path = tmp_path / f"{tile[0]}.fits"
        layout = source_of(path, fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=tile)).layout
        source = FileSource(path, layout)
        box = slice(500, 550), slice(0, 150)
        np.testing.assert_array_equal(IMAGE.read(source, About(), {"bbox": box}), image[box])
        with fits.open(path, disable_image_compression=True) as file:
            tiles = file[1].data["COMPRESSED_DATA"]
            wanted = tiles[500:550] if tile[0] == 1 else tiles[200:203]
            size = sum(np.asarray(each).nbytes for each in wanted)
        assert size < source.bytes_read < 1.1 * size + 2 * 5760
        assert source.reads == 3


def changed(path, place, value):
    """Write over the descriptor of a tile."""
    data = bytearray(Path(path).read_bytes())
    with fits.open(path, disable_image_compression=True) as file:
        start = file[1].fileinfo()["datLoc"]
        length = file[1].header["NAXIS1"]
    at = start + place[0] * length + place[1]
    data[at : at + 4] = value.to_bytes(4, "big")
    path.with_suffix(".bad").write_bytes(data)
    return described(path.with_suffix(".bad"))


@pytest.mark.parametrize("value", [1 << 20, 0xFFFFFFFF, 0x7FFFFFFF])
@pytest.mark.parametrize("field", [0, 4])
def test_tiles_that_lie_outside(tmp_path, field, value):
    image = integers()
    source_of(tmp_path / "a.fits", fits.CompImageHDU(image, compression_type="RICE_1"))
    source = changed(tmp_path / "a.fits", (40, field), value)
    with pytest.raises(FormatError, match="lies outside of its data"):
        IMAGE.read(source, About(), {"bbox": BOXES[1]})
    elsewhere = slice(50, 60), slice(3, 9)
    np.testing.assert_array_equal(IMAGE.read(source, About(), {"bbox": elsewhere}), image[elsewhere])


@pytest.mark.parametrize(
    ("at", "piece"), [(0, b"x"), (2, bytes([127])), (5, bytes([31])), (2, b"\0\0\0\x1f\0\0\0\x11")]
)
def test_hcompress_tiles_of_another_shape(tmp_path, at, piece):
    """cfitsio would write beyond the memory that there is for a tile."""
    image = integers()
    hdu = fits.CompImageHDU(image, compression_type="HCOMPRESS_1", tile_shape=(17, 31))
    path = tmp_path / "a.fits"
    source_of(path, hdu)
    with fits.open(path, disable_image_compression=True) as file:
        header = file[1].header
        start = file[1].fileinfo()["datLoc"] + header["NAXIS1"] * header["NAXIS2"] + at
    data = bytearray(path.read_bytes())
    data[start : start + len(piece)] = piece
    path.write_bytes(data)
    for parameters in ({}, {"bbox": (slice(0, 4), slice(0, 9))}):
        with pytest.raises(FormatError, match=r"tile 0 is not one of HCOMPRESS of the shape \(17, 31\)"):
            IMAGE.read(described(path), About(), parameters)
    box = slice(20, 30), slice(0, 93)
    np.testing.assert_array_equal(IMAGE.read(described(path), About(), {"bbox": box}), image[box])


def test_tiles_that_share_their_bytes(tmp_path):
    image = integers()
    image[:] = image[0]
    source_of(tmp_path / "a.fits", fits.CompImageHDU(image, compression_type="RICE_1"))
    source = changed(tmp_path / "a.fits", (35, 4), 0)
    np.testing.assert_array_equal(IMAGE.read(source, About(), {"bbox": BOXES[1]}), image[BOXES[1]])


def test_a_tile_that_is_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setenv("BUNTER_LARGEST", "1M")
    lengths = [4 * SHAPE[1] if row != 40 else 1 << 21 for row in range(SHAPE[0])]

    def change(columns):
        columns["COMPRESSED_DATA"] = "QB()", lists([list(gzip.compress(bytes(n))) for n in lengths], "u1")

    source = retabled(tmp_path / "a.fits", integers(), change, compression_type="GZIP_1")
    for parameters in ({"bbox": BOXES[1]}, {}):
        with pytest.raises(FormatError, match="it is not decompressed"):
            IMAGE.read(source, About(), parameters)
    assert not IMAGE.read(source, About(), {"bbox": (slice(50, 60), slice(3, 9))}).any()


@pytest.mark.parametrize("cards", [{"TFORM1": "1PC(9)"}, {"TFORM1": "1QX(9)"}, {"ZDITHER0": "first"}])
def test_tables_that_are_left_to_astropy(tmp_path, cards):
    source_of(tmp_path / "a.fits", fits.CompImageHDU(integers(), compression_type="RICE_1"))
    data = (tmp_path / "a.fits").read_bytes()
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as file:
        header = file[1].header.copy()
        start = file[1].fileinfo()["hdrLoc"]
        end = file[1].fileinfo()["datLoc"]
    for keyword, value in cards.items():
        header[keyword] = value
    (tmp_path / "b.fits").write_bytes(data[:start] + header.tostring().encode() + data[end:])
    with pytest.raises(FormatError, match="HDU 1"):
        IMAGE.read(described(tmp_path / "b.fits"), About(), {"bbox": BOXES[1]})
