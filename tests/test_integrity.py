"""Damaged, swapped, cut and changed files are noticed when they are read, and said with dataset, file and advice."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.dataset
import pytest
from astropy.io import fits
from astropy.table import Table

from bunter import AssemblyError, Butler, DatasetExistsError, FormatError, IntegrityError, Mask
from tests.core_support import World, write_json

FAULTS = Path(__file__).parents[1] / "benchmarks" / "faults"

POLICY = """
keys: {visit: int, ccd: str}
datasets:
  conf: {python: dict, storage: Json, template: "conf/{visit:d}.json"}
  array: {python: numpy.ndarray, storage: Npy, template: "array/{visit:d}.npy"}
  table: {python: astropy.table.Table, storage: Parquet, template: "table/{visit:d}.parquet"}
  rows: {python: astropy.table.Table, storage: FitsTable, template: "rows/{visit:d}.fits"}
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexp/{visit:d}.fits"}
  pair: {composite: {conf: conf, table: table}}
  tables: {composite: {members: {datasetType: table, subset: true}}, assembler: concat_rows}
  raw:
    python: bunter.Exposure
    storage: Fits
    template: "raw/{visit:d}.fits"
    parts: {image: {hdu: SCI}, mask: {hdu: DQ}}
  ccd:
    python: numpy.ndarray
    storage: Fits
    template: "mosaic/{visit:d}.fits"
    keys: [visit, ccd]
    parts: {image: {hdu: "{ccd}", python: numpy.ndarray}}
    each: {hdu: ccd}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def butler(world: World) -> Butler:
    return world.butler("a", POLICY)


def damage(path: Path | str, offset: int, bit: int = 0) -> None:
    """Flip one bit, and leave the times as they were."""
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def later(path: Path | str, seconds: float = 1.5) -> None:
    """Make a file look as if it was written to later."""
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + int(seconds * 10**9)))


def exposure(seed: int = 1, side: int = 40) -> Any:
    from bunter import Exposure, ImagePsf

    chance = np.random.default_rng(seed)
    return Exposure(
        chance.random((side, side)).astype("f4"),
        mask=Mask(chance.integers(0, 4, (side, side)).astype("i4"), {"BAD": 0, "SAT": 1}),
        variance=chance.random((side, side)).astype("f4"),
        psf=ImagePsf(chance.random((5, 5))),
        metadata={"OBSERVER": "Harriet"},
    )


def mosaic(path: Path, seed: int = 1, side: int = 30, names: tuple[str, ...] = ("SCI", "DQ"), kind: str = "i4") -> Path:
    """Write a file of several images as another program does."""
    chance = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [fits.ImageHDU(chance.integers(0, 4, (side, side)).astype(kind), name=name) for name in names]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path, overwrite=True)
    return path


def data_of(path: Path | str, name: str) -> int:
    """Return where the data of an HDU begin."""
    with fits.open(path) as hdus:
        return int(hdus[name].fileinfo()["datLoc"])


def array_file(path: Path, array: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


# Every storage


def _flips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flips", FAULTS / "flips.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["flips"] = made
    try:
        spec.loader.exec_module(made)
    finally:
        del sys.modules["flips"]
    return made


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Butler, list[Any], Path]]:
    """All storages, as ``benchmarks/faults/flips.py`` makes them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("BUNTER_PICKLE", "1")
    patch.setenv("BUNTER_CONFIG", str(tmp_path_factory.mktemp("config")))
    folder = tmp_path_factory.mktemp("flips")
    flips = _flips()
    butler, cases = flips.build(folder, 5)
    yield flips, butler, cases, folder
    butler.close()
    patch.undo()


def test_every_storage_that_writes_is_among_them(stored: Any) -> None:
    from bunter import formats

    _, _, cases, _ = stored
    kinds = {leaf[1].split("_")[-1] for case in cases for leaf in case.leaves}
    writing = {name for name in formats._TABLE if formats.find(name).writes}
    assert writing <= kinds
    assert "Fits" in kinds


def test_single_flipped_bits_are_found(stored: Any) -> None:
    flips, butler, cases, _ = stored
    chance = np.random.default_rng(7)
    rows = [flips.flip(butler, case, 12, chance) for case in cases]
    assert [fault for row in rows for fault in row.faults] == []
    assert sum(row.by_get for row in rows) == sum(row.by_check for row in rows) == 12 * len(cases) > 250
    assert flips.all_well(butler, cases) == []


def test_swapped_cut_and_replaced_files_are_found(stored: Any) -> None:
    flips, butler, cases, folder = stored
    chance = np.random.default_rng(7)
    rows = []
    for case in cases:
        rows += [*flips.swap(butler, case), flips.cut(butler, case, 0, chance)]
        rows.append(flips.replace(butler, case, folder / "elsewhere"))
    assert [fault for row in rows for fault in row.faults] == []
    assert sum(row.by_get for row in rows if row.kind == "swapped, of a size") > 20
    assert flips.all_well(butler, cases) == []


# Parts


def test_a_component_is_read_if_it_is_sound_itself(world: World, butler: Butler) -> None:
    butler.put(exposure(), "calexp", visit=1)
    path = butler.uri("calexp", visit=1)
    damage(path, data_of(path, "IMAGE") + 100)
    assert butler.get("calexp.psf", visit=1) == exposure().psf
    assert np.array_equal(butler.get("calexp.variance", visit=1), exposure().variance)
    for name in ("calexp.image", "calexp"):
        with pytest.raises(IntegrityError, match=r"calexp \{'visit': 1\}: .*1\.fits.*put the right file back"):
            butler.get(name, visit=1)


@pytest.mark.parametrize("side", [40, 600])
def test_every_byte_of_a_small_or_large_exposure_counts(butler: Butler, side: int) -> None:
    """Headers that nobody needs, and the padding at the very end."""
    butler.put(exposure(side=side), "calexp", visit=1)
    path = butler.uri("calexp", visit=1)
    found = butler.get("calexp", visit=1)
    assert np.array_equal(found.image, exposure(side=side).image)
    assert found.psf == exposure(side=side).psf
    for offset in (data_of(path, "VARIANCE") - 1, data_of(path, "MASK") - 2000, os.path.getsize(path) - 1):
        damage(path, offset)
        with pytest.raises(IntegrityError, match="checksum"):
            butler.get("calexp", visit=1)
        damage(path, offset)
        butler.get("calexp", visit=1)


def test_arrays_of_one_get_do_not_share_memory(butler: Butler) -> None:
    """What was read at once is given away once; a second component of the same bytes has its own."""
    butler.put(exposure(), "calexp", visit=1)
    first = butler.get("calexp", visit=1)
    kept = first.variance.copy()
    first.image[:] = -1
    first.mask.array[:] = 0
    assert np.array_equal(first.variance, kept)
    assert np.array_equal(butler.get("calexp", visit=1).image, exposure().image)


@pytest.mark.parametrize("mode", ["direct", "copy"])
def test_of_a_file_of_many_datasets_only_ones_own_bytes_count(world: World, butler: Butler, mode: str) -> None:
    path = mosaic(world.folder / "in/mosaic/1.fits", names=("N1", "N2", "N3"), side=300)
    refs = butler.ingest("ccd", path, mode=mode, scan="full")
    assert len(refs) == 3
    place = butler.uri("ccd", visit=1, ccd="N2")
    damage(place, data_of(place, "N2") + 7)
    assert butler.get("ccd", visit=1, ccd="N1").shape == (300, 300)
    assert butler.get("ccd", visit=1, ccd="N3").shape == (300, 300)
    with pytest.raises(IntegrityError, match=r"ccd \{.*'N2'\}"):
        butler.get("ccd", visit=1, ccd="N2")


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_parts_of_copied_files_have_checksums(world: World, butler: Butler, mode: str) -> None:
    butler.ingest("raw", mosaic(world.folder / "in/raw/1.fits"), mode=mode)
    place = butler.uri("raw", visit=1)
    damage(place, data_of(place, "DQ") + 7)
    assert butler.get("raw.image", visit=1).shape == (30, 30)
    with pytest.raises(IntegrityError, match=r"raw \{'visit': 1\}"):
        butler.get("raw.mask", visit=1)


@pytest.mark.parametrize("scan", ["none", "headers", "full"])
def test_copied_files_are_verified_whole_whatever_was_scanned(world: World, butler: Butler, scan: str) -> None:
    butler.ingest("raw", mosaic(world.folder / "in/raw/1.fits", side=600), mode="copy", scan=scan)
    place = butler.uri("raw", visit=1)
    assert butler.get("raw", visit=1).image.shape == (600, 600)
    for offset in (data_of(place, "SCI") + 7, data_of(place, "DQ") - 3, os.path.getsize(place) - 1):
        damage(place, offset)
        with pytest.raises(IntegrityError, match=r"raw \{'visit': 1\}"):
            butler.get("raw", visit=1)
        damage(place, offset)


def test_what_cannot_be_read_for_damage_is_said_to_be_damaged(world: World, butler: Butler) -> None:
    """A header that makes no sense is no FITS file at first sight; that it was one is what counts."""
    butler.ingest("raw", mosaic(world.folder / "in/raw/1.fits"), mode="copy", scan="none")
    place = butler.uri("raw", visit=1)
    damage(place, 0)
    with pytest.raises(IntegrityError, match="checksum"):
        butler.get("raw.image", visit=1)
    damage(place, 0)
    butler.ingest("raw", mosaic(world.folder / "in/raw/2.fits", names=("OTHER",)), scan="none")
    with pytest.raises(FormatError, match="OTHER"):
        butler.get("raw", visit=2)


def test_a_damaged_table_is_not_handed_to_other_programs(world: World, butler: Butler) -> None:
    for visit in (1, 2):
        butler.put(Table({"a": [1.0, 2.0 * visit]}), "table", visit=visit)
    assert butler.get("tables", as_type=pyarrow.dataset.Dataset).count_rows() == 4
    path = butler.uri("table", visit=2)
    damage(path, os.path.getsize(path) - 20)
    for options in ({"as_type": pyarrow.dataset.Dataset}, {"parameters": {"columns": ["a"]}}):
        with pytest.raises(IntegrityError, match=r"table \{'visit': 2\}: .*2\.parquet"):
            butler.get("tables", **options)


# Mending


@pytest.mark.parametrize("name", ["conf", "calexp"])
def test_a_damaged_file_is_mended_by_putting_it_again(butler: Butler, name: str) -> None:
    obj = {"n": 1} if name == "conf" else exposure()
    old = butler.put(obj, name, visit=1)
    path = butler.uri(name, visit=1)
    damage(path, 3)
    with pytest.raises(IntegrityError, match="replace=True"):
        butler.get(name, visit=1)
    new = butler.put(obj, name, visit=1, replace=True)
    assert new.uuid != old.uuid
    found = butler.get(name, visit=1)
    assert found == obj if name == "conf" else np.array_equal(found.image, obj.image)
    assert butler.put(obj, name, visit=1, replace=True).uuid == new.uuid
    os.unlink(butler.uri(name, visit=1))
    assert butler.put(obj, name, visit=1, replace=True).uuid not in (new.uuid, old.uuid)
    butler.get(name, visit=1)


def test_other_content_is_no_match_for_what_is_damaged(butler: Butler) -> None:
    butler.put({"n": 1}, "conf", visit=1)
    damage(butler.uri("conf", visit=1), 3)
    with pytest.raises(IntegrityError, match=r"conf \{'visit': 1\}"):
        butler.put({"n": 2}, "conf", visit=1)
    butler.put({"n": 2}, "conf", visit=1, replace=True)
    assert butler.get("conf", visit=1) == {"n": 2}


# Files of others that change


@pytest.mark.parametrize("mode", ["direct", "symlink"])
@pytest.mark.parametrize("scan", ["none", "headers", "full"])
def test_a_file_that_was_written_to_since(world: World, butler: Butler, mode: str, scan: str) -> None:
    path = mosaic(world.folder / "in/raw/1.fits")
    butler.ingest("raw", path, mode=mode, scan=scan)
    image = butler.get("raw.image", visit=1)
    reads: list[dict[str, Any]] = [{}, {"parameters": {"bbox": (slice(0, 3), slice(0, 3))}}]
    later(path)
    for name in ("raw", "raw.image", "raw.mask"):
        for options in reads:
            if scan == "full":
                butler.get(name, visit=1, **options)
                continue
            words = r"raw \{'visit': 1\}: .*1\.fits was changed since it was ingested.*on_exists='replace'"
            with pytest.raises(IntegrityError, match=words):
                butler.get(name, visit=1, **options)
    damage(path, data_of(path, "SCI") + 3)
    later(path)
    for options in reads:
        with pytest.raises(IntegrityError, match=r"raw \{'visit': 1\}"):
            butler.get("raw.image", visit=1, **options)
    butler.ingest("raw", path, mode=mode, scan=scan, on_exists="replace")
    changed = butler.get("raw.image", visit=1)
    assert changed[0, 0] != image[0, 0]


def test_a_file_that_was_only_touched_is_read_if_its_bytes_are_known(world: World, butler: Butler) -> None:
    array = np.arange(900.0).reshape(30, 30)
    path = array_file(world.folder / "in/array/1.npy", array)
    butler.ingest("array", path, scan="full")
    later(path)
    assert np.array_equal(butler.get("array", visit=1), array)
    some = {"parameters": {"bbox": (slice(2, 3), slice(4, 6))}}
    assert np.array_equal(butler.get("array", visit=1, **some), array[2:3, 4:6])
    damage(path, 500)
    assert butler.get("array", visit=1, **some).shape == (1, 2), "a cutout of an untouched file is not verified"
    later(path)
    with pytest.raises(IntegrityError, match=r"array \{'visit': 1\}"):
        butler.get("array", visit=1, **some)


def test_selections_of_tables_that_were_written_to(world: World, butler: Butler) -> None:
    path = world.folder / "in/rows/1.fits"
    path.parent.mkdir(parents=True)
    Table({"a": [1, 2], "b": [3, 4]}).write(path)
    butler.ingest("rows", path)
    later(path)
    with pytest.raises(IntegrityError, match="was changed since it was ingested"):
        butler.get("rows", visit=1, parameters={"columns": ["a"]})


@pytest.mark.parametrize("unit", [1000, 10**9])
def test_times_of_archives_are_coarse(world: World, butler: Butler, unit: int) -> None:
    path = write_json(world.folder / "in/conf/1.json", {"n": 1})
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    butler.ingest("conf", path)
    os.utime(path, ns=(1, 1_700_000_000_123_456_789 // unit * unit))
    assert butler.get("conf", visit=1) == {"n": 1}
    os.utime(path, ns=(1, 1_700_000_001_000_000_000))
    with pytest.raises(IntegrityError, match="was changed since"):
        butler.get("conf", visit=1)


@pytest.mark.parametrize("scan", ["none", "headers", "full"])
def test_a_tree_that_was_copied_without_times(world: World, butler: Butler, scan: str) -> None:
    """Files that were ingested in place inside of the root have other times, and nothing is wrong with them."""
    path = mosaic(world.folder / "a/raw/1.fits")
    butler.ingest("raw", path, scan=scan)
    array = array_file(world.folder / "a/array/1.npy", np.ones((3, 4)))
    butler.ingest("array", array, scan=scan)
    hard = mosaic(world.folder / "in/raw/2.fits")
    butler.ingest("raw", hard, mode="hardlink", scan=scan)
    butler.put(exposure(), "calexp", visit=1)
    butler.close()
    shutil.copytree(world.folder / "a", world.folder / "b", copy_function=shutil.copyfile)
    for at in (world.folder / "b").rglob("*.*"):
        later(at)
    reader = world.reader("b")
    for visit in (1, 2):
        assert reader.get("raw", visit=visit).image.shape == (30, 30)
        assert reader.get("raw.mask", visit=visit, parameters={"bbox": (slice(0, 3), slice(0, 4))}).shape == (3, 4)
    assert reader.get("array", visit=1, parameters={"bbox": (slice(0, 1), slice(0, 1))}).shape == (1, 1)
    reader.get("calexp", visit=1)


def test_recorded_places_are_not_believed_of_a_file_that_was_written_to(world: World, butler: Butler) -> None:
    """Inside of the root too: parts are looked up where they are now, not where they were."""
    path = mosaic(world.folder / "a/raw/1.fits", side=30)
    butler.ingest("raw", path)
    size = path.stat().st_size
    mosaic(path, seed=2, names=("DQ", "SCI"))
    assert path.stat().st_size == size
    later(path)
    with fits.open(path) as hdus:
        assert np.array_equal(butler.get("raw.image", visit=1), hdus["SCI"].data)
        assert np.array_equal(butler.get("raw.mask", visit=1), hdus["DQ"].data)


def test_what_was_ingested_before_is_not_read_from_what_is_there_now(world: World, butler: Butler) -> None:
    path = write_json(world.folder / "in/conf/1.json", {"n": 1})
    old = butler.ingest("conf", path, scan="full")[0].uuid
    butler.put(Table({"a": [1.0]}), "table", visit=1)
    child = world.butler("b", inputs="a")
    child.put({"conf": butler.get("conf", visit=1), "table": butler.get("table", visit=1)}, "pair", visit=1)
    path.write_text(json.dumps({"n": 2}))
    later(path)
    with pytest.raises(IntegrityError):
        butler.get("conf", visit=1)
    with pytest.raises(DatasetExistsError):
        butler.ingest("conf", path)
    new = butler.ingest("conf", path, on_exists="replace")[0]
    assert new.get() == butler.get("conf", visit=1) == {"n": 2}, "the old checksum is not that of the new file"
    assert butler.ingest("conf", path)[0].uuid == new.uuid != old
    with pytest.raises(IntegrityError, match=r"conf \{'visit': 1\}: .*1\.json"):
        child.get("pair", visit=1)


def test_one_file_as_two_types_keeps_what_is_known_of_it(world: World, butler: Butler) -> None:
    butler.define("datasets: {again: {python: dict, storage: Json, template: 'conf/{visit:d}.json'}}")
    path = write_json(world.folder / "in/conf/1.json", {"n": 1})
    butler.ingest("conf", path, scan="full")
    butler.ingest("again", path)
    later(path)
    assert butler.get("conf", visit=1) == butler.get("again", visit=1) == {"n": 1}


def test_a_file_that_is_written_to_while_it_is_ingested_is_refused(world: World, butler: Butler) -> None:
    for mode in ("direct", "copy", "hardlink"):
        path = write_json(world.folder / f"in/{mode}/conf/1.json", {"n": 1})

        def write(done: int, total: int, path: Path = path) -> None:
            later(path)

        with pytest.raises(IntegrityError, match=r"1\.json was written to while it was ingested"):
            butler.ingest("conf", path, mode=mode, progress=write)
        assert not butler.exists("conf", visit=1)
    assert world.files("a") == []


# Copies


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink", "reference"])
def test_what_was_written_to_is_not_copied(world: World, butler: Butler, mode: str) -> None:
    path = write_json(world.folder / "in/conf/1.json", {"n": 1})
    butler.ingest("conf", path)
    assert butler.copy_to(world.folder / "b", ["conf"], mode=mode).datasets == 1
    later(path)
    with pytest.raises(IntegrityError, match=r"conf \{'visit': 1\}: .*1\.json was changed"):
        butler.copy_to(world.folder / "c", ["conf"], mode=mode)
    if mode not in ("copy", "hardlink"):
        with pytest.raises(IntegrityError, match="was changed"):
            Butler(world.folder / "b").get("conf", visit=1)


def test_a_self_contained_put_does_not_copy_what_is_damaged(world: World, butler: Butler) -> None:
    butler.put({"n": 1}, "conf", visit=1)
    butler.put(Table({"a": [1.0]}), "table", visit=1)
    pair = {"conf": butler.get("conf", visit=1), "table": butler.get("table", visit=1)}
    damage(butler.uri("conf", visit=1), 5)
    child = world.butler("b", inputs="a")
    with pytest.raises((IntegrityError, AssemblyError), match=r"conf \{'visit': 1\}"):
        child.put(pair, "pair", visit=1, self_contained=True)
    assert world.files("b") == []
