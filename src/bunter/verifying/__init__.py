"""Verification: whether a repository is what it was, and what of it can be put right without guessing.

`verify` runs the checks one after the other; each has a module: what opens (`examined`), the recorded files
(`recorded`, `contents`), what lies in the root (`folders`), pins and precursors (`links`). It goes on while others read
and write: nothing is locked while files are looked at, and what looks wrong is compared with the registry once more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable

from ..errors import BunterError, ParameterError
from ..repository import REGISTRY, Opened, resolve_root
from .examined import Examined, check_definitions, examine
from .folders import Folders
from .links import Links
from .recorded import Progress, RecordedFiles
from .report import Affected, Finding, Report

__all__ = ["Affected", "Finding", "Report", "verify"]

_MOST_WORKERS = 8


def verify(
    root: str | os.PathLike[str],
    *,
    read: bool = False,
    sample: float | int | None = None,
    repair: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    trust_paths: Iterable[str | os.PathLike[str]] = (),
) -> Report:
    """Verify a repository, also one that is too damaged to be opened by a Butler.

    Parameters
    ----------
    root : str or path
        The repository. Of its parents only what it pins is looked at.
    read : bool
        Read all files, and compare their checksums. Without it, files are compared by their sizes.
    sample : float or int, optional
        Read only so many, chosen at random: a fraction up to 1.0, or a number of files.
    repair : bool
        Put right what can be put right without guessing: remove what writers that were killed have left, record the
        checksums that ingest left out (of files that are read), build damaged indices anew.
    workers : int, optional
        Threads; as many as there are cores, at most 8.
    progress : callable, optional
        Called with (done, total) files.
    trust_paths : iterable of path
        Folders outside of the root whose files may be looked at.

    Returns
    -------
    Report
        ``.ok``, ``.findings``, ``.counts``; prints as a table.

    Raises
    ------
    RepositoryError
        If it is no repository, or cannot be written and is to be repaired.
    ParameterError
        For an impossible `sample` or number of workers.
    """
    if workers is None:
        workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ParameterError(f"workers={workers!r}: the number of threads is 1 or more")
    _check_sample(sample)
    folders = (trust_paths,) if isinstance(trust_paths, str | os.PathLike) else tuple(trust_paths)
    trusted = tuple(os.path.realpath(path) for path in folders)
    place = resolve_root(root)
    report = Report(place)
    opened = Opened(trust_paths=trusted)
    try:
        examined = examine(place, opened, report, repair=repair, trust_paths=trusted)
        if examined is not None:
            try:
                _check(examined, report, read, sample, repair, workers, progress)
            finally:
                examined.registry.close()
    finally:
        opened.close()
    report.sort()
    return report


def _check(
    examined: Examined,
    report: Report,
    read: bool,
    sample: float | int | None,
    repair: bool,
    workers: int,
    progress: Progress | None,
) -> None:
    def step(check: Callable[[], None]) -> None:
        # One part of a damaged registry is no reason to be silent about the others.
        try:
            check()
        except BunterError as error:
            examined.sound = False
            report.add("registry damaged", "error", f"{error}. Restore it from a copy", path=REGISTRY)

    step(lambda: _check_registry(examined, report, repair=repair))
    step(lambda: check_definitions(examined, report))
    links = Links(examined, report)
    step(links.check_precursors)
    step(links.check_pins)

    def check_files() -> None:
        live, trashed, total = examined.audit.counts()
        report.counts.update(datasets=live, trashed=trashed)
        files = RecordedFiles(examined, report, repair=repair)
        files.check(total=total, read=_wanted(total, read, sample), workers=workers, progress=progress)

    step(check_files)
    step(Folders(examined, report, repair=repair).check)


def _check_sample(sample: float | int | None) -> None:
    if sample is None:
        return
    if isinstance(sample, float) and 0 < sample <= 1:
        return
    if isinstance(sample, int) and not isinstance(sample, bool) and sample >= 1:
        return
    raise ParameterError(f"sample={sample!r}: give a fraction above 0.0 and up to 1.0, or a number of files")


def _wanted(total: int, read: bool, sample: float | int | None) -> int:
    if sample is None:
        return total if read else 0
    return math.ceil(sample * total) if isinstance(sample, float) else min(sample, total)


def _check_registry(examined: Examined, report: Report, *, repair: bool) -> None:
    audit = examined.audit
    damage = audit.damage()
    if damage:
        told = "; ".join(damage[:5]) + (f"; and {len(damage) - 5} more" if len(damage) > 5 else "")
        if not audit.only_indices(damage):
            examined.sound = False
            report.add(
                "registry damaged",
                "error",
                f"SQLite says: {told}. Restore it from a copy, or save with SQLite's .recover what there is",
                path=REGISTRY,
            )
        else:
            why = audit.rebuild_indices() if repair else "repair=True builds them anew"
            examined.sound = not why
            report.add(
                "index damaged",
                "error",
                f"SQLite says: {told}; " + (why or "the indices were built anew"),
                path=REGISTRY,
                repaired=not why,
            )
    for told in audit.contradictions():
        report.add("registry damaged", "error", f"{told}. Restore the registry from a copy", path=REGISTRY)
    for path in audit.nobodys_files():
        report.add("file of nobody", "warning", "it is recorded, but no dataset has it", path=path)
