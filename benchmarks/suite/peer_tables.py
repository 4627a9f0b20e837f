"""The peer's work on tables; runs in the peer's environment."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from guest import Works
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef, FileDataset
from measure import often
from peer_small import CAMERA, repository


def make(works: Works, root: str, paths: list[str], columns: list[str]) -> None:
    """Ingest the tables, and offer to get some columns of all of them."""
    writer = repository(root, {"object": "ArrowTable"}, 1, len(paths))
    kind = writer.get_dataset_type("object")
    files = []
    for patch, path in enumerate(paths):
        data_id = DataCoordinate.standardize(instrument=CAMERA, visit=0, detector=patch, universe=writer.dimensions)
        files.append(FileDataset(path, [DatasetRef(kind, data_id, "run")]))
    writer.ingest(*files, transfer="direct")
    writer.close()
    butler = Butler.from_config(root, collections="run")

    def aggregate() -> Any:
        refs = sorted(butler.query_datasets("object", limit=None), key=lambda ref: ref.dataId["detector"])
        return pa.concat_tables([butler.get(ref, parameters={"columns": columns}) for ref in refs])

    works["aggregate"] = often(aggregate)
