"""The machine and the versions that a run was made with; no names of hosts, users or places."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import sqlite3
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import Run
from hosts import HERE, versions

OURS = "bunter", "astropy", "numpy", "pyarrow", "PyYAML", "lsst-sphgeom", "xxhash", "click"


def about(run: Run) -> dict[str, Any]:
    """Return what has to be known to compare results with others."""
    ours: dict[str, str] = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in OURS:
        with contextlib.suppress(PackageNotFoundError):
            ours[name] = version(name)
    others = {name: dict(versions(guest.python, OTHERS[name]).items()) for name, guest in run.guests.items()}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "command": " ".join(["make bench", *_arguments()]),
        "size": run.size,
        "machine": _machine(run.folder),
        "versions": ours,
        "others": others,
        "skipped": run.skipped,
    }


OTHERS = {
    "peer": ("lsst-daf-butler", "lsst-resources", "SQLAlchemy", "pydantic", "pyarrow", "numpy"),
    "polars": ("polars",),
    "fitsio": ("fitsio", "numpy"),
}


def _arguments() -> list[str]:
    given = " ".join(sys.argv[1:])
    return [f'BENCH_ARGS="{given}"'] if given else []


def _machine(folder: Path) -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    memory = None
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with contextlib.suppress(ValueError, OSError):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": memory,
        "file_system": _file_system(folder),
        "load": load,
    }


def _file_system(folder: Path) -> str | None:
    """Return the kind of file system that a folder is on, as far as Linux says."""
    found = ("", "")
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, place, kind, *_ = line.split(" ")
            if folder.is_relative_to(place) and len(place) > len(found[0]):
                found = place, kind
    return found[1] or None


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
