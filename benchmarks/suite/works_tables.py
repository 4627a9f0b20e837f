"""An aggregate of many Parquet files, a few columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from bench import Row, Run, row
from measure import clocked, often

from bunter import Butler, RepositoryArgs

POLICY = """
keys: {tract: int, patch: int}
datasets:
  object: {python: pyarrow.Table, storage: Parquet, template: "object/{tract:d}/object-{tract:d}-{patch:d}.parquet"}
  objects:
    python: pyarrow.Table
    composite: {object: {datasetType: object, subset: true}}
    assembler: concat_rows
"""
FILES, COLUMNS = 50, 20
WANTED = ["id", "flux_03", "flux_11"]


@dataclass
class Tables:
    """A repository of tables, and their files."""

    butler: Butler
    paths: list[str]
    rows: int


def tables_world(run: Run) -> Tables:
    """Put 50 tables of 20,000 rows (quick: 2,000) and 20 columns."""
    rows = 2_000 if run.size == "quick" else 20_000
    butler = Butler(outputs=RepositoryArgs(run.place("tables") / "repository", policy=POLICY), durability="fast")
    run.ending.callback(butler.close)
    chance = np.random.default_rng(1)
    with butler.transaction():
        for patch in range(FILES):
            columns = {"id": np.arange(rows, dtype="i8") + patch * rows}
            columns |= {f"flux_{n:02d}": chance.normal(100, 10, rows).astype("f4") for n in range(COLUMNS - 1)}
            butler.put(pa.table(columns), "object", tract=0, patch=patch)
    return Tables(butler, [butler.uri("object", tract=0, patch=patch) for patch in range(FILES)], rows)


@row("aggregate", "aggregate of 50 Parquet files, 3 columns of 20")
def aggregate(row: Row) -> None:
    world = row.run.world(tables_world)
    polars = row.run.guest("polars")
    if polars is not None:
        found = polars.call("tools_polars", "offer", paths=world.paths, columns=WANTED)
        assert found == [world.rows * FILES, len(WANTED)]
    peer = row.run.guest("peer")
    if peer is not None:
        peer.call("peer_tables", "make", root=str(row.run.folder / "peer-tables"), paths=world.paths, columns=WANTED)

    def ours() -> Any:
        return world.butler.get("objects", tract=0, parameters={"columns": WANTED})

    def pyarrow() -> Any:
        return ds.dataset(world.paths).to_table(columns=WANTED)

    assert ours().select(WANTED).equals(pyarrow())
    row.ours = ours
    row.compare(
        {
            "bunter": clocked(often(ours)),
            "peer": peer and peer.timer("aggregate"),
            "pyarrow": clocked(often(pyarrow)),
            "floor": polars and polars.timer("scan"),
        }
    )
    row.sizes = f"{FILES} files of {world.rows:,} rows; CPU of all threads"
    if polars is not None:
        row.over_floor(1.3)
    row.notes.append("floor: polars.scan_parquet; the peer has no aggregates: its tables are got one by one and joined")
