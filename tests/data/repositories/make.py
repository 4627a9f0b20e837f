"""Make the stored repositories of today's layout: ``python make.py FOLDER`` leaves a tree to be packed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from bunter import Butler, Exposure, RepositoryArgs

POLICY = """
keys: {visit: int, ccd: str, mjd: float}
datasets:
  weather: {python: dict, storage: Json, template: "weather/{visit:d}.json"}
  zeropoint: {python: float, storage: Json, template: "zp/{visit:d}-{ccd}.json"}
  tide: {python: dict, storage: Json, template: "tides/{mjd}.json"}
  raw: {python: dict, storage: Json, template: "raw/{visit:d}.json"}
  picture: {python: bunter.Exposure, storage: FitsExposure, template: "pictures/{visit:d}.fits"}
  frame:
    composite: {weather: {datasetType: weather, inputOnly: true}, zeropoint: zeropoint}
"""


def make(root: Path) -> None:
    """Make a parent and a child with every kind of row: live, replaced, deleted, pinned, in place, with precursors."""
    base = Butler(outputs=RepositoryArgs(root / "base", policy=POLICY))
    base.put({"seeing": 1.1}, "weather", visit=1)
    base.put({"seeing": 1.2}, "weather", visit=2)
    base.put({"height": 2.5}, "tide", mjd=59000.5)
    child = Butler(inputs=root / "base", outputs=root / "child")
    child.put({"weather": None, "zeropoint": 25.0}, "frame", visit=1, ccd="N3", discard=["weather"])
    base.put({"seeing": 0.9}, "weather", visit=1, replace=True)
    child.put(25.1, "zeropoint", visit=2, ccd="S\u00e4/4")
    child.put(25.2, "zeropoint", visit=2, ccd="S\u00e4/4", replace=True)
    child.delete("zeropoint", visit=2, ccd="S\u00e4/4")
    made = root / "child" / "made"
    made.mkdir()
    (made / "7.json").write_text(json.dumps({"raw": 7}))
    child.ingest("raw", [made / "7.json"], data_id={"visit": 7})
    child.put({"seeing": 2.0}, "weather", visit=9, precursors=[child.query("raw").first()])
    child.alias("sky", "weather")
    child.put(Exposure(np.arange(20, dtype="f4").reshape(4, 5), variance=np.ones((4, 5), "f4")), "picture", visit=1)
    child.put({"weather": None, "zeropoint": 26.0}, "frame", visit=2, ccd="N5", discard=["weather"])
    child.put({"weather": None, "zeropoint": 27.0}, "frame", visit=2, ccd="N7", discard=["weather"])
    child.put(27.5, "zeropoint", visit=2, ccd="N7", replace=True)
    child.close()
    base.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
