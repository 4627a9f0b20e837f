"""What one writes by hand with polars; runs in an environment that has it."""

from __future__ import annotations

import polars
from guest import Works
from measure import often


def offer(works: Works, paths: list[str], columns: list[str]) -> list[int]:
    """Offer a scan of Parquet files; return the shape of what it gives."""
    works["scan"] = often(lambda: polars.scan_parquet(paths).select(columns).collect())
    return list(polars.scan_parquet(paths).select(columns).collect().shape)
