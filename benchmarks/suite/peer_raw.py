"""The peer's works on many files ingested in place; runs in the peer's environment."""

from __future__ import annotations

import itertools
import random
from typing import Any

from guest import Works
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef, FileDataset
from measure import clocked, often
from peer_small import CAMERA, repository

VISIT = 7


def make(works: Works, root: str, folder: str, visits: int, ccds: int) -> tuple[float, float]:
    """Ingest files and offer queries of them; return what the ingest took, from the paths on."""
    writer = repository(root, {"raw": "SmallJson"}, visits, ccds)
    kind = writer.get_dataset_type("raw")
    paths = [f"{folder}/raw/{visit}/raw-{visit}-{ccd}.json" for visit in range(visits) for ccd in range(ccds)]

    def dataset(path: str) -> FileDataset:
        _, visit, ccd = path.rpartition("/")[2].removesuffix(".json").split("-")
        data_id = DataCoordinate.standardize(
            instrument=CAMERA, visit=int(visit), detector=int(ccd), universe=writer.dimensions
        )
        return FileDataset(path, [DatasetRef(kind, data_id, "run")])

    def ingest(_: int) -> None:
        writer.ingest(*map(dataset, paths), transfer="direct", record_validation_info=False)

    took = clocked(ingest)(1)
    writer.close()
    butler = Butler.from_config(root, collections="run")
    chance = random.Random(1)
    ids = itertools.cycle([divmod(chance.randrange(visits * ccds), ccds) for _ in range(5000)])

    def lookup() -> Any:
        visit, ccd = next(ids)
        return butler.getURI("raw", instrument=CAMERA, visit=visit, detector=ccd)

    works[f"query visit {visits}"] = often(lambda: butler.query_datasets("raw", instrument=CAMERA, visit=VISIT))
    works[f"query all {visits}"] = often(lambda: butler.query_datasets("raw", limit=None))
    works[f"lookup {visits}"] = often(lookup)
    return took
