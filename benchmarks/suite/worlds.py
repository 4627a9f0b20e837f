"""Repositories that several rows use, made once a run; the same values go to all who are compared."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from bench import Run
from measure import text_of

from bunter import Butler, RepositoryArgs

SMALL_POLICY = """
keys: {visit: int, ccd: int}
datasets:
  summary: {python: dict, storage: Json, template: "summary/{visit:d}/summary-{visit:d}-{ccd:d}.json"}
  one: {python: dict, storage: Json, template: "triple/{visit:d}/one-{visit:d}-{ccd:d}.json"}
  two: {python: dict, storage: Json, template: "triple/{visit:d}/two-{visit:d}-{ccd:d}.json"}
  three: {python: dict, storage: Json, template: "triple/{visit:d}/three-{visit:d}-{ccd:d}.json"}
  triple: {composite: {one: one, two: two, three: three}}
"""
PARTS = "one", "two", "three"
CCDS = 10


def small(visit: int, ccd: int, part: str = "summary") -> dict[str, Any]:
    """Return plain values of about 500 bytes."""
    place = random.Random(f"{visit} {ccd} {part}")
    values = {f"{part}_{number:02d}": round(place.uniform(0, 100), 6) for number in range(16)}
    return {"visit": visit, "ccd": ccd, "filter": "r", **values, "words": ["clear", "photometric"]}


def triple(visit: int, ccd: int) -> dict[str, Any]:
    """Return an object of three parts."""
    return {part: small(visit, ccd, part) for part in PARTS}


@dataclass
class Small:
    """A repository of small JSON files and composites of three of them."""

    root: Path
    butler: Butler
    ids: list[tuple[int, int]]


def small_world(run: Run) -> Small:
    """Put some hundred small datasets and composites."""
    visits = 20 if run.size == "quick" else 100
    ids = [(visit, ccd) for visit in range(visits) for ccd in range(CCDS)]
    root = run.place("small") / "repository"
    with Butler(outputs=RepositoryArgs(root, policy=SMALL_POLICY), durability="fast") as writer, writer.transaction():
        for visit, ccd in ids:
            writer.put(small(visit, ccd), "summary", visit=visit, ccd=ccd)
        for visit, ccd in ids[: len(ids) // 2]:
            writer.put(triple(visit, ccd), "triple", visit=visit, ccd=ccd)
    butler = Butler(root)
    run.ending.callback(butler.close)
    return Small(root, butler, ids)


def small_peer(run: Run) -> bool:
    """Let the peer put the same; tell whether there is a peer."""
    guest = run.guest("peer")
    if guest is None:
        return False
    world = run.world(small_world)
    datasets = [[visit, ccd, small(visit, ccd)] for visit, ccd in world.ids]
    composites = [[visit, ccd, triple(visit, ccd)] for visit, ccd in world.ids[: len(world.ids) // 2]]
    guest.call("peer_small", "make", root=str(peer_root(run)), datasets=datasets, composites=composites)
    return True


def peer_root(run: Run) -> Path:
    """Return where the peer's repository of small datasets is."""
    return Path(run.folder / "peer-small")


RAW_POLICY = """
keys: {visit: int, ccd: int}
datasets:
  raw: {python: dict, storage: Json, template: "raw/{visit:d}/raw-{visit:d}-{ccd:d}.json"}
"""
ROW_CCDS = 100


@dataclass
class Files:
    """Files that some telescope has left."""

    folder: Path
    paths: list[str]
    ids: list[tuple[int, int]]


def raw_files(run: Run) -> Files:
    """Write 1e5 (quick: 1e4) files, a hundred a visit."""
    visits = 100 if run.size == "quick" else 1000
    folder = run.place("telescope")
    paths, ids = [], []
    for visit in range(visits):
        inside = folder / "raw" / str(visit)
        inside.mkdir(parents=True)
        for ccd in range(ROW_CCDS):
            path = f"{inside}/raw-{visit}-{ccd}.json"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(descriptor, text_of({"visit": visit, "ccd": ccd}))
            os.close(descriptor)
            paths.append(path)
            ids.append((visit, ccd))
    return Files(folder, paths, ids)


REGISTRY_POLICY = """
keys: {visit: int, ccd: int}
datasets:
  calexp: {python: dict, storage: Json, template: "calexp/{visit:d}/calexp-{visit:d}-{ccd:d}.json"}
"""


def registry_world(run: Run, count: int, footprints: bool) -> Path:
    """Return the root of a repository whose registry knows `count` datasets, of whose files there are none."""
    from bunter.dataid import DataId
    from bunter.files.interface import StoredFile
    from bunter.registry.interface import Changes, NewDataset, Writing
    from bunter.registry.sqlite import SqliteRegistry
    from sky import outline, places

    root = run.place(f"registry-{count}") / "repository"
    Butler(outputs=RepositoryArgs(root, policy=REGISTRY_POLICY), durability="fast").close()
    registry = SqliteRegistry(str(root / "registry.sqlite"), create=True, durable=False)
    kinds, writing, chance = {"visit": "int", "ccd": "int"}, Writing("Json", "builtins.dict"), random.Random(1)
    where = places(count) if footprints else None
    batch: list[NewDataset] = []
    for number in range(count):
        visit, ccd = divmod(number, ROW_CCDS)
        path = f"calexp/{visit}/calexp-{visit}-{ccd}.json"
        batch.append(
            NewDataset(
                "calexp",
                kinds,
                DataId({"visit": visit, "ccd": ccd}),
                UUID(int=chance.getrandbits(128), version=4),
                StoredFile(path, True, 500, None, f"{chance.getrandbits(128):032x}", {}),
                writing,
                1_700_000_000_000_000 + number,
                "bunter",
                footprint=outline(*next(where)) if where is not None else None,
            )
        )
        if len(batch) == 20_000 or number == count - 1:
            registry.apply([Changes(datasets=batch)])
            batch = []
    registry.close()
    return root
