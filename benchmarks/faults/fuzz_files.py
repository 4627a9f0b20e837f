"""Files that lie: absurd headers, bombs, and good files with some bytes changed, ingested and read with little memory.

Run with ``python benchmarks/faults/fuzz_files.py [--n 3000] [--seed 1] [--seconds-each 5]``. Every crafted file, and every batch
of changed ones, is read in a process of its own that may have 2 GB more than it begins with. Whatever is refused must
be refused with an error of Bunter; what is taken is taken. ``--case NAME`` reads one crafted file and shows its error.
"""

# ruff: noqa: E501 - what is asked is easier to see in one line each
from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import os
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fuzz import Found, peak
from fuzz_crafted import CRAFTED

_spawn = multiprocessing.get_context("spawn")
_MEMORY = 2 << 30
_PATIENCE = 400
STORAGES = (
    "FitsExposure",
    "FitsImage",
    "FitsTable",
    "FitsWcs",
    "PsfEx",
    "Parquet",
    "Ecsv",
    "Csv",
    "Json",
    "Yaml",
    "Npy",
    "Pickle",
    "Fits",
)
_PYTHON = {"FitsExposure": "bunter.Exposure", "FitsTable": "astropy.table.Table"}


def policy() -> dict[str, Any]:
    """Return a policy with a type for each storage."""
    made: dict[str, Any] = {}
    for storage in STORAGES:
        made[storage] = {"storage": storage, "template": f"{storage}/{{v:d}}.x"}
        if storage in _PYTHON:
            made[storage]["python"] = _PYTHON[storage]
    made["Fits"]["parts"] = {
        "image": {"hdu": 0},
        "table": {"hdu": 1, "read": "data"},
        "header": {"hdu": 0, "read": "header"},
        "wcs": {"hdu": 0},
    }
    return {"datasets": made}


def read(butler: Any, storage: str, path: str, number: int, found: Counter[str], inside: list[str]) -> None:
    """Ingest a file in every way and read what was taken, whole and in parts."""
    from bunter import BunterError

    for scan in ("none", "headers", "full"):
        v = number * 10 + len(scan)
        try:
            butler.ingest(storage, path, scan=scan, data_id={"v": v})
            inside.append(scan)
        except BunterError as error:
            found[f"{type(error).__name__}"] += 1
            continue
        names = [storage]
        names += [
            f"{storage}.{part}"
            for part in {
                "FitsExposure": ("image", "mask", "wcs", "psf", "metadata"),
                "Fits": ("image", "table", "header", "wcs"),
            }.get(storage, ())
        ]
        for name in names:
            for parameters in (None, {"bbox": (slice(0, 1), slice(0, 1))}, {"columns": ["a"]}):
                if parameters is not None and (scan != "headers" or name != storage):
                    continue
                try:
                    butler.get(name, v=v, parameters=parameters)
                    found["read"] += 1
                except BunterError as error:
                    found[f"{type(error).__name__}"] += 1


def _limited(memory: int) -> int:
    import pyarrow  # noqa: F401 - counts as what the process begins with

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + memory, size + memory))
    return peak()


def _crafted(name: str, answer: Any, raising: bool = False) -> None:
    from bunter import Butler, RepositoryArgs

    storage, make = CRAFTED[name]
    told: dict[str, Any] = {"found": Counter(), "inside": [], "error": None}
    with tempfile.TemporaryDirectory(prefix="bunter-fuzz-") as folder:
        os.environ["BUNTER_CONFIG"] = folder
        path = os.path.join(folder, "given")
        Path(path).write_bytes(make())
        told["stored"] = os.path.getsize(path)
        before = _warm(folder)
        limit = _limited(_MEMORY)
        start = time.process_time()
        with Butler(outputs=RepositoryArgs(os.path.join(folder, "root"), policy=policy()), durability="fast") as butler:
            try:
                read(butler, storage, path, 1, told["found"], told["inside"])
            except BaseException as error:
                if raising:
                    raise
                last = traceback.extract_tb(error.__traceback__)[-1]
                told["error"] = (
                    f"{type(error).__name__}: {str(error)[:200]} ({os.path.basename(last.filename)}:{last.lineno})"
                )
        told["took"] = time.process_time() - start
        told["memory"] = peak() - max(before, limit)
        if os.path.exists(os.path.join(tempfile.gettempdir(), "bunter-was-had")):
            told["error"] = "it ran what was in the file"
    answer.send(told)


def _warm(folder: str) -> int:
    """Import what reading needs, and give back what making the file took."""
    import gc

    import astropy.io.fits
    import astropy.table
    import astropy.wcs  # noqa: F401
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def good_files(folder: str) -> list[tuple[str, bytes]]:
    """Return small good files of every storage."""
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS

    from bunter import Butler, Exposure, RepositoryArgs
    from bunter.exposure import Mask

    rng = np.random.default_rng(1)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = [10, 20], [1e-4, 1e-4], [5, 5]
    image = rng.normal(size=(40, 30)).astype("f4")
    exposure = Exposure(
        image, mask=Mask(np.zeros((40, 30), "i4"), {"BAD": 0}), variance=np.ones((40, 30), "f4"), wcs=wcs
    )
    data = Table({"a": np.arange(20), "b": rng.normal(size=20), "c": ["x", "yy"] * 10, "d": rng.normal(size=(20, 3))})
    flat = Table({"a": np.arange(20), "b": rng.normal(size=20), "c": ["x", "yy"] * 10})
    objects = {
        "FitsExposure": exposure, "FitsImage": image, "FitsTable": data, "FitsWcs": wcs, "Parquet": data, "Ecsv": data, "Csv": flat,
        "Json": {"a": [1, 2.5, None, "x"], "b": {"c": True}}, "Yaml": {"a": [1, 2.5, None, "x"], "b": {"c": True}}, "Npy": image,
    }  # fmt: skip
    made: list[tuple[str, bytes]] = []
    with Butler(outputs=RepositoryArgs(os.path.join(folder, "good"), policy=policy()), durability="fast") as butler:
        for number, (storage, obj) in enumerate(objects.items()):
            butler.put(obj, storage, v=number)
            content = Path(butler.uri(storage, v=number)).read_bytes()
            made.append((storage, content))
            if storage not in ("Parquet", "Npy"):
                made.append((storage, gzip.compress(content)))
    for kind in ("RICE_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"):
        out = io.BytesIO()
        pixels = (np.abs(image) * 100).astype("i4") if kind == "PLIO_1" else image
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type=kind)]).writeto(out)
        made.append(("FitsImage", out.getvalue()))
    out = io.BytesIO()
    lists = np.empty(3, object)
    lists[:] = [np.arange(n, dtype="i4") for n in (1, 2, 3)]
    fits.HDUList(
        [
            fits.PrimaryHDU(image),
            fits.BinTableHDU.from_columns(
                [fits.Column("a", "PJ()", array=lists), fits.Column("b", "3X", array=np.ones((3, 3), bool))]
            ),
        ]
    ).writeto(out)
    made += [("FitsTable", out.getvalue()), ("Fits", out.getvalue())]
    return made


_NUMBERS = (
    b"-1",
    b"0",
    b"999",
    b"2147483648",
    b"9223372036854775808",
    b"1000000000000",
    b"1E400",
    b"NaN",
    b"'x'",
    b"T",
)
_WORDS = (
    b"NAXIS1",
    b"NAXIS2",
    b"NAXIS",
    b"BITPIX",
    b"PCOUNT",
    b"TFIELDS",
    b"TFORM1",
    b"TDIM4",
    b"ZNAXIS1",
    b"ZTILE1",
    b"ZBITPIX",
    b"BZERO",
    b"BSCALE",
    b"BLANK",
    b"THEAP",
    b"TNULL1",
    b"TZERO1",
    b"ZCMPTYPE",
    b"EXTEND",
    b"GCOUNT",
    b"CRVAL1",
    b"CTYPE1",
    b"CD1_1",
)


def changed(r: Random, data: bytes) -> bytes:
    """Return a file with some bytes other than they were."""
    made = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 5, 20))):
        what = r.randrange(7)
        at = r.randrange(len(made) + 1)
        if what == 0 and made:
            made[at % len(made)] ^= 1 << r.randrange(8)
        elif what == 1:
            del made[at:]
        elif what == 2:
            made[at:at] = bytes(r.randrange(256) for _ in range(r.choice((1, 4, 80))))
        elif what == 3:
            del made[at : at + r.choice((1, 8, 80, 2880))]
        elif what == 4:
            made[at : at + 4] = struct.pack(r.choice((">i", "<i")), r.choice((-1, 0, 1, 2**31 - 1, -(2**31), 65536)))
        else:
            word = r.choice(_WORDS)
            place = made.find(word.ljust(8) + b"=")
            if place >= 0:
                made[place + 10 : place + 30] = r.choice(_NUMBERS).rjust(20)[:20]
        if not made:
            break
    return bytes(made)


def _changed(numbers: range, seed: int, limit: float, now: Any, since: Any, answer: Any) -> None:
    import warnings

    from bunter import Butler, RepositoryArgs

    warnings.simplefilter("ignore")
    found = Found()
    with tempfile.TemporaryDirectory(prefix="bunter-fuzz-") as folder:
        os.environ["BUNTER_CONFIG"] = folder
        good = good_files(folder)
        before = max(_warm(folder), _limited(_MEMORY))
        path = os.path.join(folder, "given")
        with Butler(outputs=RepositoryArgs(os.path.join(folder, "root"), policy=policy()), durability="fast") as butler:
            for number in numbers:
                now.value, since.value = number, time.monotonic()
                r = Random(f"{seed} files {number}")
                storage, content = r.choice(good)
                data = (
                    changed(r, gzip.decompress(content))
                    if content[:2] == b"\x1f\x8b" and r.random() < 0.7
                    else changed(r, content)
                )
                if content[:2] == b"\x1f\x8b" and data[:2] != b"\x1f\x8b":
                    data = gzip.compress(data)
                Path(path).write_bytes(data)
                start = time.process_time()
                inside: list[str] = []
                told: Counter[str] = Counter()
                try:
                    read(butler, storage, path, number, told, inside)
                except BaseException as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    found.surprises.append(
                        f"{number} {storage}: {type(error).__name__}: {str(error)[:200]!r} ({os.path.basename(last.filename)}:{last.lineno})"
                    )
                took = time.process_time() - start
                found.cases += 1
                found.slowest = max(found.slowest, took)
                found.accepted += bool(told.pop("read", 0))
                found.refused += told
                if took > limit:
                    found.surprises.append(f"{number} {storage}: {took:.1f} seconds")
        found.memory = peak() - before
    answer.send(found)


def _run(work: Any, arguments: tuple[Any, ...]) -> tuple[Any, str]:
    now, since = _spawn.Value("q", -1, lock=False), _spawn.Value("d", time.monotonic(), lock=False)
    mine, theirs = _spawn.Pipe(duplex=False)
    shared = (now, since) if work is _changed else ()
    process = _spawn.Process(target=work, args=(*arguments, *shared, theirs))
    process.start()
    theirs.close()
    try:
        while not mine.poll(0.2):
            if time.monotonic() - since.value > _PATIENCE + (60 if now.value < 0 else 0):
                raise EOFError
        told = mine.recv()
        process.join()
    except EOFError:
        process.join(1)
        ended = "no answer" if process.is_alive() else f"the process ended with {process.exitcode}"
        process.kill()
        process.join()
        return None, f"{now.value}: {ended}"
    return told, ""


def main() -> int:
    """Run both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=3000, help="good files that are changed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-each", type=float, default=5.0)
    parser.add_argument("--case", help="one crafted file")
    parser.add_argument("--only", help="crafted files whose names hold this, or one of several with | between")
    options = parser.parse_args()
    if options.case:
        _crafted(options.case, argparse.Namespace(send=lambda told: print(json.dumps(told, indent=1))), raising=True)
        return 0
    start = time.perf_counter()
    surprises = []
    print(f"{'crafted file':<40} {'stored':>10} {'seconds':>8} {'memory':>8}  outcome")
    for name in CRAFTED:
        if options.only is not None and not any(word in name for word in options.only.split("|")):
            continue
        told, ended = _run(_crafted, (name,))
        if told is None:
            surprises.append(f"{name}: {ended}")
            print(f"{name:<40} {ended}")
            continue
        outcome = ", ".join(f"{key} {count}" for key, count in told["found"].most_common()) + (
            f" !! {told['error']}" if told["error"] else ""
        )
        print(
            f"{name:<40} {told['stored']:>10} {told['took']:>8.2f} {told['memory'] >> 20:>5} MB  {outcome}", flush=True
        )
        if told["error"]:
            surprises.append(f"{name}: {told['error']}")
        if told["took"] > 4 * options.seconds_each:
            surprises.append(f"{name}: {told['took']:.1f} seconds")
    total = Found()
    numbers = range(options.n)
    while numbers:
        some = numbers[:500]
        told, ended = _run(_changed, (some, options.seed, options.seconds_each))
        if told is None:
            total.surprises.append(ended)
            reached = int(ended.partition(":")[0])
            total.cases += max(reached - some.start + 1, 0)
            numbers = range(max(reached, some.start) + 1, numbers.stop)
            continue
        total.add(told)
        numbers = numbers[500:]
    by = ", ".join(f"{name} {number}" for name, number in total.refused.most_common())
    print(
        f"changed files: {total.cases} cases, {total.accepted} of them read in some way, slowest {total.slowest:.2f} s, memory {total.memory >> 20} MB, "
        f"{len(total.surprises)} surprises; refused: {by}"
    )
    surprises += total.surprises
    for line in surprises[:60]:
        print(line)
    print(f"seed {options.seed}, {time.perf_counter() - start:.0f} s, {len(surprises)} surprises")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
