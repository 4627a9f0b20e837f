"""Exposures in FITS files: one part, all of it, an overlay, cutouts."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits
from bench import Row, row
from counting import counted
from measure import Timer, clocked, often
from walk import walk
from works_get import bare_select
from worlds_fits import ID, TRACT_ID, Exposures, Remembered, exposure_world

from bunter import Exposure, formats
from bunter.formats.interface import About


def fitsio(row: Row, work: str) -> Timer | None:
    """Return a work of fitsio, which is installed elsewhere."""
    world = row.run.world(exposure_world)
    guest = row.run.guest("fitsio")
    if guest is None:
        return None
    guest.call("tools_fitsio", "offer", path=world.path, packed=world.packed)
    return guest.timer(work)


def sizes(world: Exposures) -> str:
    ny, nx = world.shape
    return f"{ny} x {nx} pixels, {os.path.getsize(world.path) / 1e6:.0f} MB, PSF table of 40 kB"


def pread(path: str, offset: int, length: int) -> bytes:
    """Open a file and read some bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


@row("psf-bytes", "PSF table out of an exposure file, up to the bytes")
def psf_bytes(row: Row) -> None:
    world = row.run.world(exposure_world)
    offset, length = world.bytes_of("psf")
    select = bare_select(world.butler.repositories()[0], "calexp:sfm", ID)
    about = About("calexp:sfm", Exposure)
    format_ = formats.find("FitsExposure")
    source = Remembered(world.path, format_.write(world.exposure, io.BytesIO(), about))

    def ours() -> Any:
        return world.butler.get("calexp:sfm.psf", ID)

    def decoded() -> Any:
        return format_.read_parts(source, {"psf": {}}, about)["psf"]

    def astropy() -> Any:
        with fits.open(world.path) as file:
            return np.array(file["PSF"].data["A0"])

    def floor() -> Any:
        select()
        return pread(world.path, offset, length)

    assert ours() == decoded() == world.exposure.psf
    row.ours = ours
    found = row.compare(
        {
            "bunter": clocked(often(ours)),
            "bunter, decoding alone": clocked(often(decoded)),
            "astropy": clocked(often(astropy)),
            "fitsio": fitsio(row, "psf"),
            "floor": clocked(often(floor)),
        }
    )
    row.walk, row.sizes = walk(ours), sizes(world)
    row.at_most("CPU up to the bytes", found["bunter"].cpu - found["bunter, decoding alone"].cpu, 150e-6)
    row.notes.append(
        "the time of bunter is that of the whole get, to the PsfExPsf; up to the bytes is that less the decoding of "
        "the same bytes out of memory"
    )


STEP = 1 << 20


def planes_read(world: Exposures) -> Callable[[], Any]:
    """Return the floor of a whole exposure: reading the three planes, their bytes swapped while they are in the cache.

    One vectored read and ``byteswap(inplace=True)`` take up to twice that.
    """
    places = sorted(world.planes.values())
    kinds = [np.dtype(">f4"), np.dtype(">i4"), np.dtype(">f4")]

    def work() -> Any:
        planes = []
        descriptor = os.open(world.path, os.O_RDONLY)
        try:
            for (offset, length), kind in zip(places, kinds, strict=True):
                stored = np.empty(length // kind.itemsize, kind)
                native = stored.view(kind.newbyteorder())
                view = memoryview(stored.view("u1"))
                for at in range(0, length, STEP):
                    piece = view[at : at + STEP]
                    assert os.preadv(descriptor, [piece], offset + at) == len(piece)
                    part = slice(at // kind.itemsize, (at + STEP) // kind.itemsize)
                    np.copyto(native[part], stored[part])
                planes.append(native.reshape(world.shape))
        finally:
            os.close(descriptor)
        return planes

    return work


@row("exposure", "whole exposure, uncompressed")
def whole_exposure(row: Row) -> None:
    world = row.run.world(exposure_world)
    floor = planes_read(world)

    def ours() -> Any:
        return world.butler.get("calexp:sfm", ID)

    def unverified() -> Any:
        return world.unverified.get("calexp:sfm", ID)

    def astropy() -> Any:
        with fits.open(world.path, memmap=False) as file:
            planes = [file[name].data for name in ("IMAGE", "MASK", "VARIANCE")]
            return [plane.astype(plane.dtype.newbyteorder("=")) for plane in planes], file[0].header

    first = floor()
    got = ours()
    assert np.array_equal(first[0], got.image)
    assert np.array_equal(first[1], got.mask.array)
    assert np.array_equal(first[2], unverified().variance)
    del first, got
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "bunter, unverified": clocked(often(unverified)),
            "astropy": clocked(often(astropy)),
            "fitsio": fitsio(row, "whole"),
            "floor": clocked(often(floor)),
        }
    )
    row.sizes = sizes(world)
    row.over_floor(1.5)
    row.over_floor(1.3, "bunter, unverified")
    row.notes.append("unverified: ingested with scan='headers', so that no checksums are known")


@row("overlay", "overlay (calexp:jointcal) against its base alone")
def overlay(row: Row) -> None:
    world = row.run.world(exposure_world)
    butler = world.butler

    def ours() -> Any:
        return butler.get("calexp:jointcal", TRACT_ID)

    def base() -> Any:
        return butler.get("calexp:sfm", ID)

    def base_and_parts() -> Any:
        return base(), butler.get("calexp.wcs:jointcal", TRACT_ID), butler.get("calexp.photoCalib:jointcal", TRACT_ID)

    got = ours()
    assert got.wcs.wcs.crval[0] == 150.0001
    assert np.array_equal(got.image, world.exposure.image)
    del got
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "bunter, base alone": clocked(often(base)),
            "floor": clocked(often(base_and_parts)),
        }
    )
    row.sizes = sizes(world)
    row.at_most("time / base alone", row.chosen("bunter") / row.chosen("bunter, base alone"), 1.03, "x")
    over, alone = counted(ours), counted(base)
    row.values |= {"bytes read": (over.total, "B"), "bytes read of the base alone": (alone.total, "B")}
    opened, opened_alone = (len(read.data_files(butler.repositories()[0])) for read in (over, alone))
    row.values |= {"files opened": (opened, ""), "files opened for the base alone": (opened_alone, "")}
    row.at_most("bytes read / base alone", over.total / alone.total, 1.03, "x")
    overridden = sum(over.of(world.path, *world.bytes_of(part)) for part in ("wcs", "photo_calib"))
    row.at_most("bytes read of overridden parts", overridden, 0, "B")
    row.at_most("files opened beyond the base's", opened - opened_alone, 2, "")
    row.notes.append("floor: the base and the two parts, got one after the other")


BOX = slice(500, 600), slice(300, 400)


@row("cutout", "100 x 100 cutout from one plane")
def cutout(row: Row) -> None:
    world = row.run.world(exposure_world)
    offset, _ = world.planes["image"]
    parameters = {"bbox": BOX}

    def ours() -> Any:
        return world.butler.get("calexp:sfm.image", ID, parameters=parameters)

    def astropy() -> Any:
        with fits.open(world.path) as file:
            return file["IMAGE"].section[BOX].astype("f4")

    def floor() -> Any:
        plane = np.memmap(world.path, ">f4", "r", offset, world.shape)
        return plane[BOX].astype("f4")

    assert np.array_equal(ours(), floor())
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "astropy": clocked(often(astropy)),
            "fitsio": fitsio(row, "cutout"),
            "floor": clocked(often(floor)),
        }
    )
    row.walk, row.sizes = walk(ours), sizes(world)
    row.at_most("CPU", row.chosen("bunter"), 250e-6)


@row("cutout-packed", "100 x 100 cutout from a compressed image (RICE, tiles of a row)")
def cutout_packed(row: Row) -> None:
    world = row.run.world(exposure_world)
    parameters = {"bbox": BOX}

    def ours() -> Any:
        return world.butler.get("packed.image", visit=1, parameters=parameters)

    def astropy() -> Any:
        with fits.open(world.packed) as file:
            return file[1].section[BOX]

    assert np.array_equal(ours(), astropy())
    row.ours = ours
    row.compare(
        {"bunter": clocked(often(ours)), "astropy": clocked(often(astropy)), "fitsio": fitsio(row, "cutout packed")}
    )
    with fits.open(world.packed, disable_image_compression=True) as file:
        tiles = sum(np.asarray(tile).nbytes for tile in file[1].data["COMPRESSED_DATA"][BOX[0]])
    read = counted(ours)
    row.values |= {"bytes read": (read.total, "B"), "bytes of the tiles": (tiles, "B")}
    row.values["bytes of the file"] = (os.path.getsize(world.packed), "B")
    row.at_most("bytes read / bytes of the tiles needed", read.total / tiles, 1.5, "x")
    row.sizes = f"{world.shape[0]} x {world.shape[1]} pixels, {os.path.getsize(world.packed) / 1e6:.1f} MB"
    row.notes.append("bytes read are those of reads through os; beside the tiles, the rows that say where they are")
