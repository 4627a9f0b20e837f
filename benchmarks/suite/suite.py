"""Bunter beside its peer, what one writes by hand, and raw floors: ``make bench``.

``make bench BENCH_ARGS="--quick"`` or ``python benchmarks/suite/suite.py [--quick | --full] [--only PATTERN]``. All
that is compared is measured in turn in one run; what counts is CPU time unless a row says otherwise. Results are
kept in ``.bench/``.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import works_fits
import works_get
import works_put
import works_registry
import works_start
import works_tables
import works_threads
import works_wcs
from about import about
from bench import ROWS, Row, Run
from chart import draw
from hosts import cache
from profiles import costs
from report import printed, write_docs

WORKS = works_get, works_fits, works_wcs, works_put, works_registry, works_tables, works_threads, works_start


def measured(key: str, run: Run, profiled: bool) -> dict[str, Any]:
    """Measure one row; one that fails says why."""
    work, measure = ROWS[key]
    row = Row(key, work, run)
    started = time.perf_counter()
    failure = None
    try:
        measure(row)
    except Exception:
        failure = traceback.format_exc()
    row_time = time.perf_counter() - started
    found = {**row.to_dict(), "failure": failure, "took": row_time}
    if profiled and row.ours is not None and "bunter" in row.times:
        found["costs"] = costs(row.ours)
    return found


def main() -> int:
    """Measure and print; exit code 1 if a row failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes, about three minutes")
    size.add_argument("--full", action="store_true", help="also 1e7 datasets: about a quarter of an hour more, 5 GB")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="rows whose keys match: 'get-*', 'get-*,put-*'")
    parser.add_argument("--no-peer", action="store_true", help="nothing is installed: without what needs that")
    parser.add_argument("--profile", action="store_true", help="also what takes most of the time of each row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results are kept [.bench/results.json]")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of results that were kept, and stop")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="write kept results into docs/performance.md, and stop"
    )
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{key:20} {work}" for key, (work, _) in ROWS.items()))
        return 0
    if arguments.show or arguments.docs:
        results = json.loads((arguments.show or arguments.docs).read_text())
        if arguments.docs:
            write_docs(results)
        else:
            print(printed(results))
        return 0
    patterns = arguments.only.split(",")
    keys = [key for key in ROWS if any(fnmatch.fnmatch(key, pattern.strip()) for pattern in patterns)]
    if not keys:
        parser.error(f"no row matches {arguments.only!r}; there are: {', '.join(ROWS)}")
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache())).resolve()
    run = Run(folder, "quick" if arguments.quick else "full" if arguments.full else "usual")
    if arguments.no_peer:
        run.skipped = dict.fromkeys(("peer", "polars", "fitsio"), "not asked for")
    started = time.perf_counter()
    rows = []
    try:
        for key in keys:
            rows.append(measured(key, run, arguments.profile))
            print(f"{key:20} {rows[-1]['took']:6.1f} s{'  FAILED' if rows[-1]['failure'] else ''}", flush=True)
        results = {**about(run), "took": time.perf_counter() - started, "rows": rows}
    finally:
        run.ending.close()
        shutil.rmtree(folder, ignore_errors=True)
    place = arguments.json or cache() / "results.json"
    place.write_text(json.dumps(results, indent=1) + "\n")
    drawn = draw(results, place.with_suffix(".svg"))
    print(printed(results))
    print(f"kept in {place}" + (f" and {place.with_suffix('.svg').name}" if drawn else "; no chart without matplotlib"))
    failed = [row for row in rows if row["failure"]]
    for row in failed:
        print(f"\n{row['key']} failed:\n{row['failure']}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
