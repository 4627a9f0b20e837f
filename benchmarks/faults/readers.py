"""Readers during replaces: every get gives the old dataset or the new one, whole, and never an error.

Run with ``python benchmarks/faults/readers.py [--n 10000] [--full 300]``: `n` replaces with durability "fast", then
`full` with "full". Exit code 1 if a get failed, mixed two states, or went back in time.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from together import Processes, Table

from bunter import Butler, DatasetRef, RepositoryArgs

POLICY = """
datasets:
  note: {python: dict, storage: Json, template: "notes/{visit:d}.json"}
  image: {python: numpy.ndarray, storage: Npy, template: "images/{visit:d}.npy"}
  wcs: {python: dict, storage: Json, template: "wcs/{visit:d}.json"}
  pair: {composite: {image: image, wcs: wcs}}
"""

WHOLE, TOGETHER, ALONE = 0, 1, 2
"""Visits: the pair is replaced; its parts are replaced in one transaction; one part is replaced by its own name."""


def image(n: int) -> Any:
    return np.full((16, 16), n)


def wcs(n: int) -> dict[str, Any]:
    return {"n": n, "again": [n] * 20}


def number_in(value: Any) -> int | None:
    """Return the counter that a value was made with, None if it is not that of one put."""
    if isinstance(value, Mapping) and "image" in value:
        first, second = number_in(value["image"]), number_in(value["wcs"])
        return first if first == second else None
    if isinstance(value, Mapping):
        found = {value["n"], *value["again"]}
    else:
        found = set(np.asarray(value).ravel().tolist())
    return int(found.pop()) if len(found) == 1 else None


def write(root: str, count: int, durability: str) -> Counter[str]:
    """Replace everything `count` times, in turn."""
    told: Counter[str] = Counter()
    refs: list[tuple[int, DatasetRef]] = []
    chance = random.Random(1)
    with Butler(outputs=root, durability=durability) as butler:
        start = butler.get("note", visit=0)["n"]
        for n in range(start + 1, start + 1 + count // 4):
            refs.append((n, butler.put(wcs(n), "note", visit=0, replace=True)))
            refs.append((n, butler.put({"image": image(n), "wcs": wcs(n)}, "pair", visit=WHOLE, replace=True)))
            with butler.transaction():
                butler.put(image(n), "image", visit=TOGETHER, replace=True)
                butler.put(wcs(n), "wcs", visit=TOGETHER, replace=True)
            butler.put(wcs(n), "wcs", visit=ALONE, replace=True)
            told["replaces"] += 4
            # What a put returned keeps to that put, whatever was replaced since.
            then, ref = chance.choice(refs)
            told["gets"] += 1
            told["mixed"] += number_in(ref.get()) != then
    return told


class Reader:
    """Counts what gets give."""

    def __init__(self, butler: Butler) -> None:
        self.butler = butler
        self.told: Counter[str] = Counter()
        self._newest: dict[Any, int] = {}

    def look(self, what: Any, get: Callable[[], Any]) -> None:
        """Get once; `what` is the same for gets that must not go back in time."""
        self.told["gets"] += 1
        try:
            value = get()
        except Exception as error:
            self.told["failed"] += 1
            print(f"    {what}: {type(error).__name__}: {error}", file=sys.stderr)
            return
        if what == ("pair", ALONE):
            # Only its WCS is replaced.
            number = number_in(value["wcs"]) if number_in(value["image"]) == 0 else None
        else:
            number = number_in(value)
        if number is None:
            self.told["mixed"] += 1
            print(f"    {what}: mixed: {value}", file=sys.stderr)
            return
        self.told["back in time"] += number < self._newest.get(what, 0)
        self._newest[what] = number

    def all(self) -> None:
        """Get everything once."""
        get = self.butler.get
        self.look("note", lambda: get("note", visit=0))
        for visit in (WHOLE, TOGETHER, ALONE):
            self.look(("pair", visit), lambda visit=visit: get("pair", visit=visit))
            self.look(("wcs", visit), lambda visit=visit: get("pair.wcs", visit=visit))

    def query(self) -> None:
        """Get what a query finds, while it is replaced; both of a pair through one reference, too."""
        for ref in self.butler.query("pair"):
            self.look(("pair", ref.data_id["visit"]), ref.get)
        for ref in self.butler.query("wcs", where="visit < 3"):
            self.look(("wcs", ref.data_id["visit"]), ref.get)

    def deferred(self) -> None:
        """Get what was asked for before."""
        deferred = self.butler.defer("pair", visit=WHOLE)
        self.look("deferred", deferred.get)


def read(root: str, how: str) -> Counter[str]:
    """Read until the writer is done."""
    done = Path(root + ".done").exists
    told: Counter[str] = Counter()
    while how == "opening" and not done():
        with Butler(root) as butler:
            reader = Reader(butler)
            reader.all()
            told += reader.told
    with Butler(root, share=how == "share") as butler:
        readers = [Reader(butler) for _ in range(3 if how == "threads" else 1)]

        def work(reader: Reader) -> None:
            while not done():
                {"query": reader.query, "deferred": reader.deferred}.get(how, reader.all)()
                # So that the writer gets on, too.
                time.sleep(0.002)

        threads = [threading.Thread(target=work, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for reader in readers:
        told += reader.told
    return told


ROLES = ("writer", "plain", "share", "query", "deferred", "threads", "opening")


def play(index: int, gate: Any, root: str, count: int, durability: str) -> Counter[str]:
    gate.wait()
    if index:
        # The writer goes first: it is replaces that are counted.
        os.nice(10)
        return read(root, ROLES[index])
    try:
        return write(root, count, durability)
    finally:
        Path(root + ".done").touch()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="replaces without waiting for the disk")
    parser.add_argument("--full", type=int, default=300, help="replaces that wait for it")
    options = parser.parse_args()
    wrong = ["failed", "mixed", "back in time"]
    table = Table(["replaces", "gets", *wrong], must_be_zero=wrong)
    with tempfile.TemporaryDirectory() as folder, Processes(len(ROLES)) as processes:
        root = str(Path(folder) / "repository")
        with Butler(outputs=RepositoryArgs(root, policy=POLICY), durability="fast") as butler:
            butler.put(wcs(0), "note", visit=0)
            for visit in (WHOLE, TOGETHER, ALONE):
                butler.put({"image": image(0), "wcs": wcs(0)}, "pair", visit=visit)
        for count, durability in ((options.n, "fast"), (options.full, "full")):
            if count:
                answers = processes.run(play, root, count, durability)
                Path(root + ".done").unlink()
                for role, told in zip(ROLES, answers, strict=True):
                    counts = {name: told[name] for name in ("gets", *wrong)}
                    replaces = {"replaces": told["replaces"]} if role == "writer" else {}
                    counts = {name.replace(" ", "_"): value for name, value in {**counts, **replaces}.items()}
                    table.row(f"{role}, {durability}", **counts)
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
