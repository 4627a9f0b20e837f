"""The peer's works on small JSON files; runs in the peer's environment."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from guest import Works
from lsst.daf.butler import Butler, Config, DatasetType
from measure import often

VISIT, CCD = 7, 3
CAMERA = "Cam"
CONFIG = """
storageClasses:
  SmallJson: {pytype: dict}
  Triple:
    pytype: types.SimpleNamespace
    components: {one: SmallJson, two: SmallJson, three: SmallJson}
datastore:
  composites: {disassembled: {Triple: true}}
  formatters:
    SmallJson: lsst.daf.butler.formatters.json.JsonFormatter
    Triple: lsst.daf.butler.formatters.json.JsonFormatter
"""


def repository(root: str, types: dict[str, str], visits: int, ccds: int) -> Butler:
    """Make a repository with dimension records of visits and detectors, and dataset types of them."""
    Butler.makeRepo(root, config=Config.fromString(CONFIG))
    butler = Butler.from_config(root, writeable=True, run="run")
    registry = butler.registry
    registry.insertDimensionData("instrument", {"name": CAMERA, "detector_max": ccds, "visit_max": visits})
    registry.insertDimensionData("physical_filter", {"instrument": CAMERA, "name": "r", "band": "r"})
    registry.insertDimensionData("day_obs", {"instrument": CAMERA, "id": 20200101})
    registry.insertDimensionData(
        "detector", *({"instrument": CAMERA, "id": i, "full_name": f"C{i:03d}"} for i in range(ccds))
    )
    registry.insertDimensionData(
        "visit",
        *(
            {"instrument": CAMERA, "id": i, "name": f"v{i}", "physical_filter": "r", "day_obs": 20200101}
            for i in range(visits)
        ),
    )
    for name, storage in types.items():
        registry.registerDatasetType(
            DatasetType(name, ("instrument", "visit", "detector"), storage, universe=butler.dimensions)
        )
    return butler


def make(works: Works, root: str, datasets: list[Any], composites: list[Any]) -> None:
    """Put what Bunter has put, and offer the gets of it."""
    visits, ccds = 1 + max(each[0] for each in datasets), 1 + max(each[1] for each in datasets)
    writer = repository(root, {"summary": "SmallJson", "triple": "Triple"}, visits, ccds)
    with writer.transaction():
        for visit, ccd, value in datasets:
            writer.put(value, "summary", instrument=CAMERA, visit=visit, detector=ccd)
        for visit, ccd, value in composites:
            writer.put(SimpleNamespace(**value), "triple", instrument=CAMERA, visit=visit, detector=ccd)
    writer.close()
    butler = Butler.from_config(root, collections="run")
    data_id = {"instrument": CAMERA, "visit": VISIT, "detector": CCD}
    reference = butler.find_dataset("summary", **data_id, datastore_records=True)
    works["get summary"] = often(lambda: butler.get("summary", **data_id))
    works["get by reference"] = often(lambda: butler.get(reference))
    works["get triple.two"] = often(lambda: butler.get("triple.two", **data_id))
    works["get triple"] = often(lambda: butler.get("triple", **data_id))
    works["open"] = often(lambda: Butler.from_config(root).close())


def make_puts(works: Works, root: str, value: dict[str, Any], whole: dict[str, Any]) -> None:
    """Offer puts into a repository of their own."""
    visits = 20_000
    butler = repository(root, {"summary": "SmallJson", "alone": "SmallJson", "triple": "Triple"}, visits, 1)
    number = {name: itertools.count() for name in ("summary", "alone", "triple")}

    def put(name: str, obj: Any) -> None:
        butler.put(obj, name, instrument=CAMERA, visit=next(number[name]), detector=0)

    def together(count: int) -> None:
        with butler.transaction():
            for _ in range(count):
                put("summary", value)

    works["put together"] = together
    works["put alone"] = often(lambda: put("alone", value))
    works["put triple"] = often(lambda: put("triple", SimpleNamespace(**whole)))


def registry_bytes(works: Works, root: str, count: int) -> float:
    """Return the bytes that a dataset takes in the registry, by putting some and then more."""
    butler = repository(root, {"summary": "SmallJson"}, 2 * count, 1)
    path = Path(root) / "gen3.sqlite3"
    sizes = []
    for start in (0, count):
        with butler.transaction():
            for visit in range(start, start + count):
                butler.put({"visit": visit}, "summary", instrument=CAMERA, visit=visit, detector=0)
        sizes.append(used(path))
    butler.close()
    shutil.rmtree(root)
    return (sizes[1] - sizes[0]) / count


def used(path: str | os.PathLike[str]) -> int:
    """Return the bytes of the pages of a database that hold something."""
    db = sqlite3.connect(path)
    size, pages, free = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    db.close()
    return int(size * (pages - free))
