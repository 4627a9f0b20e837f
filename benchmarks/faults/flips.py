"""Flipped bits, swapped, truncated and replaced files: every storage, found by a get of the whole and by a check.

Run with ``python benchmarks/faults/flips.py [--n 10000] [--seed 1] [--only WORD ...]``; with the defaults it takes
about a minute. Exit code 1 if anything was not found, or not said well.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("BUNTER_PICKLE", "1")

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.wcs import WCS

import bunter
from bunter import Butler, IntegrityError, RepositoryArgs, TrustError
from bunter.verifying import verify
from bunter.verifying.contents import Looker

POLICY = """
keys: {visit: int, ccd: str}
datasets:
  Csv: {python: astropy.table.Table, storage: Csv, template: "{visit:d}.csv"}
  Ecsv: {python: astropy.table.Table, storage: Ecsv, template: "{visit:d}.ecsv"}
  FitsExposure: {python: bunter.Exposure, storage: FitsExposure, template: "exposures/{visit:d}.fits"}
  large FitsExposure: {python: bunter.Exposure, storage: FitsExposure, template: "large/{visit:d}.fits"}
  FitsImage: {python: numpy.ndarray, storage: FitsImage, template: "images/{visit:d}.fits"}
  large FitsImage: {python: numpy.ndarray, storage: FitsImage, template: "large-images/{visit:d}.fits"}
  FitsPart: {python: bunter.Background, storage: FitsPart, template: "backgrounds/{visit:d}.fits"}
  FitsTable: {python: astropy.table.QTable, storage: FitsTable, template: "tables/{visit:d}.fits"}
  FitsWcs: {python: astropy.wcs.WCS, storage: FitsWcs, template: "wcs/{visit:d}.fits"}
  Json: {python: dict, storage: Json, template: "{visit:d}.json"}
  Npy: {python: numpy.ndarray, storage: Npy, template: "{visit:d}.npy"}
  Parquet: {python: astropy.table.QTable, storage: Parquet, template: "{visit:d}.parquet"}
  large Parquet: {python: astropy.table.QTable, storage: Parquet, template: "large/{visit:d}.parquet"}
  Pickle: {python: dict, storage: Pickle, template: "{visit:d}.pickle"}
  PsfEx: {python: bunter.PsfExPsf, storage: PsfEx, template: "psfex/{visit:d}.psf"}
  Yaml: {python: dict, storage: Yaml, template: "{visit:d}.yaml"}

  part.image: {python: numpy.ndarray, storage: FitsImage, template: "parts/image/{visit:d}.fits"}
  part.mask: {python: bunter.Mask, storage: FitsPart, template: "parts/mask/{visit:d}.fits"}
  part.psf: {python: bunter.Psf, storage: FitsPart, template: "parts/psf/{visit:d}.fits"}
  part.wcs: {python: astropy.wcs.WCS, storage: FitsWcs, template: "parts/wcs/{visit:d}.fits"}
  composite:
    python: bunter.Exposure
    composite: {image: part.image, mask: part.mask, psf: part.psf, wcs: part.wcs}

  foreign Fits:
    python: bunter.Exposure
    storage: Fits
    template: "foreign/{visit:d}.fits"
    parts: {image: {hdu: SCI}, mask: {hdu: DQ}, variance: {hdu: VAR}, metadata: {hdu: 0}}
  tiles Fits:
    python: bunter.Exposure
    storage: Fits
    template: "tiles/{visit:d}.fits.fz"
    parts: {image: {hdu: SCI}, mask: {hdu: DQ}, variance: {hdu: VAR}, metadata: {hdu: 0}}
  gzip Fits:
    python: bunter.Exposure
    storage: Fits
    template: "gzip/{visit:d}.fits.gz"
    parts: {image: {hdu: SCI}, mask: {hdu: DQ}}
  gzip Ecsv: {python: astropy.table.Table, storage: Ecsv, template: "gzip/{visit:d}.ecsv.gz"}
"""

ADVICE = ("put the right file back", "trust_paths")
VISITS = (1, 2)


# --- what is stored ------------------------------------------------------------------------------------------


def a_wcs(chance: np.random.Generator) -> WCS:
    """Return a WCS with SIP coefficients."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
    wcs.wcs.crval = chance.uniform(0, 80, 2)
    wcs.wcs.crpix = 20, 30
    wcs.wcs.cd = np.diag(chance.uniform(1e-5, 2e-5, 2))
    a = np.zeros((3, 3))
    a[2, 0] = 1e-6
    from astropy.wcs import Sip

    wcs.sip = Sip(a, a, None, None, wcs.wcs.crpix)
    return wcs


def an_exposure(chance: np.random.Generator, side: int) -> bunter.Exposure:
    """Return an exposure with all components."""
    return bunter.Exposure(
        chance.random((side, side + 1)).astype("f4"),
        mask=bunter.Mask(chance.integers(0, 8, (side, side + 1)).astype("i4"), {"BAD": 0, "odd name": 1, "SAT": 2}),
        variance=chance.random((side, side + 1)).astype("f4"),
        wcs=a_wcs(chance),
        photo_calib=bunter.PhotoCalib(float(chance.uniform(1, 9)), 0.01),
        psf=bunter.ImagePsf(chance.random((11, 11))),
        background=a_background(chance),
        visit_info=bunter.VisitInfo(exposure_time=float(chance.uniform(1, 9))),
        detector=3,
        filter="r",
        metadata={"OBSERVER": "Harriet", "SEEING": float(chance.random()), "COMMENT": "nobody reads a comment"},
    )


def a_background(chance: np.random.Generator) -> bunter.Background:
    """Return a background of a spline."""
    return bunter.Background([bunter.SplineLayer(chance.random((6, 5)), np.arange(5) * 10.0, np.arange(6) * 10.0)])


def a_table(chance: np.random.Generator, rows: int = 40) -> Table:
    """Return a table without units."""
    names = np.array([f"star{number:03}" for number in range(rows)])
    return Table({"id": chance.integers(100, 1000, rows), "flux": chance.integers(100, 1000, rows) / 64, "name": names})


def a_full_table(chance: np.random.Generator, rows: int) -> QTable:
    """Return a table with units, masked values and a mixin column."""
    table = QTable(a_table(chance, rows))
    table["length"] = chance.random(rows) * units.m
    table["some"] = MaskedColumn(chance.random(rows), mask=np.arange(rows) % 3 == 0)
    table["flux"].description = "what came in"
    table.meta["note"] = "with a note"
    return table


def a_psfex(chance: np.random.Generator) -> bunter.PsfExPsf:
    """Return a model of degree 1."""
    return bunter.PsfExPsf(chance.random((3, 9, 9)).astype("f4"), 1, 10.0, 20.0, 30.0, 40.0, 0.7)


def values(chance: np.random.Generator) -> dict[str, Any]:
    """Return plain values that take the same room each time."""
    return {"seeing": int(chance.integers(1000, 10000)), "list": [1, 2.5, "three"], "nested": {"a": None, "b": True}}


def make_all(chance: np.random.Generator) -> dict[str, Any]:
    """Return an object of each type that is put."""
    part = an_exposure(chance, 30)
    return {
        "Csv": a_table(chance),
        "Ecsv": a_table(chance),
        "FitsExposure": an_exposure(chance, 40),
        "large FitsExposure": an_exposure(chance, 200),
        "FitsImage": chance.integers(0, 60000, (30, 20)).astype("u2"),
        "large FitsImage": chance.random((200, 201)),
        "FitsPart": a_background(chance),
        "FitsTable": a_full_table(chance, 30),
        "FitsWcs": a_wcs(chance),
        "Json": values(chance),
        "Npy": chance.random((20, 20)),
        "Parquet": a_full_table(chance, 30),
        "large Parquet": a_full_table(chance, 40_000),
        "Pickle": values(chance),
        "PsfEx": a_psfex(chance),
        "Yaml": values(chance),
        "composite": bunter.Exposure(part.image, mask=part.mask, psf=part.psf, wcs=part.wcs),
    }


def write_foreign(folder: Path, visit: int, chance: np.random.Generator) -> dict[str, tuple[Path, str]]:
    """Write files as other programs do; return for each type the file and how it is to be ingested."""
    first = fits.PrimaryHDU(header=fits.Header([("OBSERVER", "Harriet", "a comment"), ("SEEING", 1.5)]))
    planes = {
        "SCI": chance.random((120, 130)).astype("f4"),
        "DQ": chance.integers(0, 4, (120, 130)).astype("i2"),
        "VAR": chance.random((120, 130)).astype("f4"),
    }
    plain = [fits.ImageHDU(plane, name=name) for name, plane in planes.items()]
    tiles = [
        fits.CompImageHDU(p, name=n, compression_type="RICE_1", quantize_level=8, quantize_method=1, dither_seed=visit)
        for n, p in planes.items()
    ]
    ends = {"foreign Fits": "fits", "tiles Fits": "fits.fz", "gzip Fits": "fits.gz", "gzip Ecsv": "ecsv.gz"}
    files = {name: folder / name.split()[0] / f"{visit}.{end}" for name, end in ends.items()}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([first, *plain]).writeto(files["foreign Fits"])
    fits.HDUList([first, *tiles]).writeto(files["tiles Fits"])
    fits.HDUList([first, *plain[:2]]).writeto(files["gzip Fits"])
    a_table(chance).write(folder / "table.ecsv", overwrite=True)
    files["gzip Ecsv"].write_bytes(gzip.compress((folder / "table.ecsv").read_bytes(), mtime=0))
    modes = {"foreign Fits": "direct", "tiles Fits": "copy", "gzip Fits": "hardlink", "gzip Ecsv": "symlink"}
    return {name: (path, modes[name]) for name, path in files.items()}


@dataclass
class Case:
    """Two datasets of one type and their files.

    Attributes
    ----------
    leaves : list of (visit, type, data ID, path)
        The files, and the datasets that are stored in them.
    """

    name: str
    leaves: list[tuple[int, str, Mapping[str, Any], Path]] = field(default_factory=list)


def build(folder: Path, seed: int, only: Iterable[str] = ()) -> tuple[Butler, list[Case]]:
    """Make a repository with two datasets of every type; return a Butler and the cases."""
    chance = np.random.default_rng(seed)
    policy = POLICY
    butler = Butler(outputs=RepositoryArgs(folder / "repo", policy=_named(policy)), durability="fast")
    names: dict[str, None] = {}
    for visit in VISITS:
        for name, obj in make_all(chance).items():
            names[name] = None
            butler.put(obj, _plain(name), visit=visit)
        for name, (path, mode) in write_foreign(folder / "incoming", visit, chance).items():
            names[name] = None
            butler.ingest(_plain(name), path, mode=mode, scan="full", visit=visit)
    cases = []
    for name in names:
        if only and not any(word in name for word in only):
            continue
        case = Case(name)
        for visit in VISITS:
            parts = ("part.image", "part.mask", "part.psf", "part.wcs") if name == "composite" else (_plain(name),)
            for part in parts:
                path = Path(os.path.realpath(butler.uri(part, visit=visit)))
                case.leaves.append((visit, part, {"visit": visit}, path))
        cases.append(case)
    return butler, cases


def _plain(name: str) -> str:
    return name.replace(" ", "_")


def _named(policy: str) -> str:
    """Return the policy with names of types that have no blanks."""
    for word in ("large", "foreign", "tiles", "gzip"):
        policy = policy.replace(f"  {word} ", f"  {word}_")
    return policy


# --- what is done to it --------------------------------------------------------------------------------------


@dataclass
class Row:
    """What was done to the files of one type, and what of it was found."""

    name: str
    kind: str
    tries: int = 0
    by_get: int = 0
    by_check: int = 0
    faults: list[str] = field(default_factory=list)


def look(butler: Butler, case: Case, leaf: tuple[int, str, Mapping[str, Any], Path], row: Row, what: str) -> None:
    """Read the dataset that a file belongs to, and check the file; note what is not found, or not said well."""
    visit, type_, data_id, path = leaf
    row.tries += 1
    try:
        butler.get(_plain(case.name), visit=visit)
    except (IntegrityError, TrustError) as error:
        row.by_get += 1
        text = str(error)
        if not (f"{type_} {data_id}" in text and path.name in text and any(word in text for word in ADVICE)):
            row.faults.append(f"{what}: said badly: {text}")
    except Exception as error:
        row.faults.append(f"{what}: {type(error).__name__}: {error}")
    else:
        row.faults.append(f"{what}: not found by a get")
    if is_found(butler, type_, data_id):
        row.by_check += 1
    else:
        row.faults.append(f"{what}: not found by a check")


def is_found(butler: Butler, type_: str, data_id: Mapping[str, Any]) -> bool:
    """Tell whether a look at the file of a dataset finds that it is damaged: the look of `bunter verify --read`."""
    repository = butler._opened.open(butler.repositories()[0])
    record = repository.registry.find(type_, data_id)
    seen = Looker(repository).look(record.file, read=True)
    return bool(seen.kind) or seen.outside


def is_reported(butler: Butler, path: Path) -> bool:
    """Tell whether `verify` of the whole repository reports a file."""
    report = verify(butler.repositories()[0], read=True)
    return not report.ok and any(path.name in str(finding) for finding in report.findings)


def flip(butler: Butler, case: Case, number: int, chance: np.random.Generator) -> Row:
    """Flip single bits, each put right again."""
    row = Row(case.name, "flipped bits")
    sizes = np.array([leaf[3].stat().st_size for leaf in case.leaves], float)
    # Each file as often as its size says, but for a quarter of the flips: small files have to have their share.
    weights = 0.75 * sizes / sizes.sum() + 0.25 / len(sizes)
    opened = [os.open(leaf[3], os.O_RDWR) for leaf in case.leaves]
    try:
        for turn in range(number):
            at = int(chance.choice(len(sizes), p=weights))
            size = int(sizes[at])
            # A third in the first or last kilobytes, where headers and footers are.
            edge = min(size, 6000)
            offset = int(chance.integers(size) if turn % 3 else chance.integers(edge) - edge * int(chance.integers(2)))
            offset %= size
            byte = os.pread(opened[at], 1, offset)
            bit = int(chance.integers(8))
            os.pwrite(opened[at], bytes([byte[0] ^ 1 << bit]), offset)
            what = f"{case.leaves[at][3].name}, byte {offset}, bit {bit}"
            try:
                look(butler, case, case.leaves[at], row, what)
                if not turn and not is_reported(butler, case.leaves[at][3]):
                    row.faults.append(f"{what}: not in the report of verify")
            finally:
                os.pwrite(opened[at], byte, offset)
    finally:
        for fd in opened:
            os.close(fd)
    return row


def swap(butler: Butler, case: Case) -> list[Row]:
    """Swap the files of two datasets, most of which are of one size."""
    same_size, others = Row(case.name, "swapped, of a size"), Row(case.name, "swapped, others")
    half = len(case.leaves) // 2
    for one, other in zip(case.leaves[:half], case.leaves[half:], strict=True):
        first, second = one[3].read_bytes(), other[3].read_bytes()
        row = same_size if len(first) == len(second) else others
        _in_place(one[3], second)
        _in_place(other[3], first)
        try:
            look(butler, case, one, row, "swapped")
            look(butler, case, other, row, "swapped")
        finally:
            _in_place(one[3], first)
            _in_place(other[3], second)
    return [same_size, others]


def cut(butler: Butler, case: Case, number: int, chance: np.random.Generator) -> Row:
    """Cut files short, and let them grow."""
    row = Row(case.name, "cut or grown")
    for leaf in case.leaves:
        content = leaf[3].read_bytes()
        size = len(content)
        lengths = [0, 1, size // 2, size - 1, *map(int, chance.integers(0, size, number))]
        for length in lengths:
            os.truncate(leaf[3], length)
            try:
                look(butler, case, leaf, row, f"cut to {length} of {size} bytes")
            finally:
                _in_place(leaf[3], content)
        for more in (b"\0", b" " * 2880, content):
            _in_place(leaf[3], content + more)
            try:
                look(butler, case, leaf, row, f"{len(more)} bytes more")
            finally:
                _in_place(leaf[3], content)
    return row


def replace(butler: Butler, case: Case, outside: Path) -> Row:
    """Remove files, and put folders, pipes and links in their place."""
    row = Row(case.name, "replaced by others")
    for leaf in case.leaves:
        path = leaf[3]
        kept = path.with_name(path.name + ".kept")
        link = outside / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_bytes(path.read_bytes())
        for what, make in (
            ("removed", lambda _: None),
            ("a folder", os.mkdir),
            ("a pipe", os.mkfifo),
            ("a link to outside", lambda place, link=link: os.symlink(link, place)),
            ("a link to nothing", lambda place: os.symlink("nowhere", place)),
            ("a link to itself", lambda place: os.symlink(os.path.basename(place), place)),
        ):
            os.rename(path, kept)
            make(path)
            try:
                look(butler, case, leaf, row, what)
            finally:
                if os.path.lexists(path):
                    (os.rmdir if path.is_dir() and not path.is_symlink() else os.unlink)(path)
                os.rename(kept, path)
    return row


def _in_place(path: Path, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.truncate(len(content))
        file.write(content)


def all_well(butler: Butler, cases: Sequence[Case]) -> list[str]:
    """Read everything; return what cannot be read although it was put right again."""
    faults = []
    for case in cases:
        for visit in VISITS:
            try:
                butler.get(_plain(case.name), visit=visit)
            except Exception as error:
                faults.append(f"{case.name} {visit}: {type(error).__name__}: {error}")
        faults += [f"{case.name}: found what is not damaged" for leaf in case.leaves if is_found(butler, *leaf[1:3])]
    return faults


def show(rows: Sequence[Row]) -> None:
    """Print a line for each type: of each kind of damage how many there were, found by a get, found by a check."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    names = list(dict.fromkeys(row.name for row in rows))
    print(f"{'damaged, found by a get, by a check':20}")
    print(f"{'':20}" + "".join(f"{kind:>22}" for kind in kinds))
    for name in (*names, "all"):
        cells = []
        for kind in kinds:
            these = [row for row in rows if row.kind == kind and name in (row.name, "all")]
            counts = (sum(getattr(row, what) for row in these) for what in ("tries", "by_get", "by_check"))
            cells.append(" ".join(f"{count:6}" for count in counts))
        print(f"{name:20}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> int:
    """Flip, swap, cut, replace; print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="flipped bits, shared by all types")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=(), help="words in the names of types")
    options = parser.parse_args()
    began = time.perf_counter()
    chance = np.random.default_rng(options.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        butler, cases = build(Path(folder), options.seed, options.only)
        with butler:
            faults = all_well(butler, cases)
            for number, case in enumerate(cases):
                share = options.n * (number + 1) // len(cases) - options.n * number // len(cases)
                rows.append(flip(butler, case, share, chance))
                rows += swap(butler, case)
                rows.append(cut(butler, case, 5, chance))
                rows.append(replace(butler, case, Path(folder) / "elsewhere"))
            faults += all_well(butler, cases)
    show(rows)
    faults += [f"{row.name}, {row.kind}: {fault}" for row in rows for fault in row.faults]
    print(f"\n{len(faults)} faults; {time.perf_counter() - began:.0f} s")
    for fault in faults[:20]:
        print(" ", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
