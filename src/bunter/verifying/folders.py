"""What lies in a repository's root: leftovers of writers that were killed, and files that nobody knows."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from ..errors import BunterError
from ..files.drafts import Leftover, is_draft, leftovers_in
from ..repository import _OWN_FILES, DESCRIPTION, POLICY, REGISTRY
from ..repository import _inside as inside
from .examined import Examined
from .report import Report

_TEMPORARY = re.compile(rf"(?:{re.escape(DESCRIPTION)}|{re.escape(POLICY)})\.part~[0-9a-f]{{16}}\Z")
_OWN = frozenset({DESCRIPTION, *_OWN_FILES})
_MOMENTS = 0.05, 0.2, 0.5
"""Seconds that a process which is just tidying up after itself may need; the later ones where somebody is at work."""
_AT_WORK = 10
"""Seconds after a write to the registry in which somebody is at work."""
_WRITING = 60
"""Seconds after which a temporary file of a few lines is not being written any more."""
_YOURS = "no dataset has it: it is your own, or another program's; Bunter leaves it alone"
_EARLIER = "no dataset has it: an earlier Bunter may have left it; if none is at work any more, remove it yourself"
_TOGETHER = 100
"""Leftovers that are removed in one transaction."""


@dataclass(slots=True)
class _Folder:
    """A folder as it was seen.

    Attributes
    ----------
    path : str
        Relative to the root, POSIX, with a slash at its end unless it is the root.
    """

    path: str
    names: list[str]


@dataclass(slots=True)
class _Walk:
    """What a walk has found.

    Attributes
    ----------
    dead : list of Leftover
        What writers that do not live any more have left.
    aliases : list of (str, str)
        Links to folders of the root: under which path they are, and to which they lead.
    """

    dead: list[Leftover] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)


class Folders:
    """Checks what lies in the root of one repository.

    Parameters
    ----------
    examined : Examined
        Whose root.
    report : Report
        Takes what is found.
    repair : bool
        Remove what writers that were killed have left.
    """

    def __init__(self, examined: Examined, report: Report, *, repair: bool) -> None:
        self._examined = examined
        self._audit = examined.audit
        self._root = examined.root
        self._report = report
        self._repair = repair

    def check(self) -> None:
        """Walk over all folders of the root, links not followed, other repositories in it left out."""
        walk = _Walk()
        unknown: dict[str, dict[str, tuple[int, int]]] = {}
        for folder in self._folders(walk):
            strange = self._unknown(folder, walk)
            if strange:
                unknown[folder.path] = self._identities(folder.path, strange)
        self._temporary()
        for moment in _MOMENTS:
            if unknown and (moment == _MOMENTS[0] or self._is_busy()):
                # Whoever drops a file or publishes one does so within a moment.
                time.sleep(moment)
                looks = ((path, self._unknown_still(path, before, walk)) for path, before in unknown.items())
                unknown = {path: still for path, still in looks if still}
        for path, still in unknown.items():
            self._report_unknown(path, still)
        if self._repair and walk.dead and self._examined.sound:
            self._remove(walk)
        else:
            for leftover in walk.dead:
                if os.path.lexists(leftover.draft):
                    self._left(leftover, repaired=False)

    # Looking

    def _folders(self, walk: _Walk) -> Iterator[_Folder]:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            seen = self._seen(path, waiting, walk)
            if seen is not None:
                yield seen

    def _seen(self, path: str, waiting: list[str], walk: _Walk) -> _Folder | None:
        names, inner = [], []
        place = os.path.join(self._root, path)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        inner.append(f"{path}{entry.name}/")
                        continue
                    if entry.is_symlink() and os.path.isdir(entry.path):
                        target = os.path.realpath(entry.path)
                        if inside(target, self._root):
                            walk.aliases.append((path + entry.name, os.path.relpath(target, self._root)))
                        continue
                    names.append(entry.name)
        except FileNotFoundError:
            # It was tidied away.
            return None
        except OSError as error:
            self._report.add(
                "cannot be read",
                "warning",
                f"what is in the folder was not looked at: {error.strerror}",
                path=path or ".",
            )
            return None
        if path and DESCRIPTION in names:
            # Another repository, to be verified by itself.
            return None
        waiting += inner
        return _Folder(path, names)

    def _unknown(self, folder: _Folder, walk: _Walk) -> set[str]:
        """Return the names in a folder that nobody knows; note the leftovers in it."""
        names = [name for name in folder.names if folder.path or not (name in _OWN or _TEMPORARY.match(name))]
        strange = self._strange(folder.path, names)
        if not strange:
            return set()
        for leftover in self._leftovers(folder.path, folder.names):
            strange.discard(os.path.basename(leftover.draft))
            if leftover.published is not None:
                strange.discard(os.path.basename(leftover.published))
            if leftover.living:
                self._report.add(
                    "draft being written",
                    "note",
                    "a process is writing it, or may be",
                    path=os.path.relpath(leftover.draft, self._root),
                )
            else:
                walk.dead.append(leftover)
        return {name for name in strange if not is_draft(name)}

    def _strange(self, path: str, names: list[str]) -> set[str]:
        known = self._audit.known([path + name for name in names])
        return {name for name in names if path + name not in known}

    def _leftovers(self, path: str, names: list[str]) -> list[Leftover]:
        folder = os.path.join(self._root, path).rstrip(os.sep)
        return list(leftovers_in(folder, names))

    def _identities(self, path: str, names: set[str]) -> dict[str, tuple[int, int]]:
        """Return by what a file can be told from another that has its name later."""
        found = {}
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(self._root, path, name))
                found[name] = status.st_ino, status.st_ctime_ns
        return found

    def _is_busy(self) -> bool:
        """Tell whether the registry was written to just now."""
        times = [0.0]
        for name in (REGISTRY, f"{REGISTRY}-wal"):
            with contextlib.suppress(OSError):
                times.append(os.stat(os.path.join(self._root, name)).st_mtime)
        return time.time() - max(times) < _AT_WORK

    def _unknown_still(
        self, path: str, before: Mapping[str, tuple[int, int]], walk: _Walk
    ) -> dict[str, tuple[int, int]]:
        """Return the files that are there still, the same ones, and still unknown."""
        try:
            there = os.listdir(os.path.join(self._root, path))
        except OSError:
            return {}
        # Of a name that is in use again, the new file is somebody's at work.
        now = self._identities(path, before.keys() & set(there))
        strange = self._strange(path, [name for name, identity in now.items() if identity == before[name]])
        if not strange:
            return {}
        for leftover in self._leftovers(path, there):
            if leftover.published is not None:
                strange.discard(os.path.basename(leftover.published))
        # What was published then has been recorded by the time that its draft is gone.
        strange = self._strange(path, sorted(strange))
        # Some are recorded under the names of links to their folders.
        known = {n for n in strange if walk.aliases and self._audit.known(list(self._paths(path + n, walk)))}
        return {name: now[name] for name in strange - known}

    def _report_unknown(self, path: str, names: Iterable[str]) -> None:
        for name in sorted(names):
            self._report.counts["unknown_files"] += 1
            self._report.add(
                "unknown file",
                "note",
                _EARLIER if name.startswith(".part~") else _YOURS,
                path=path + name,
            )

    # What was left

    def _left(self, leftover: Leftover, *, repaired: bool, what: str = "") -> None:
        self._report.counts["leftovers"] += 1
        published = leftover.published
        also = "" if published is None else f", and gave it the name {os.path.relpath(published, self._root)} already"
        if not what:
            what = "it was removed" if repaired else "repair=True removes what no dataset needs"
        self._report.add(
            "leftover",
            "warning",
            f"a process that was killed has left it{also}; {what}",
            path=os.path.relpath(leftover.draft, self._root),
            repaired=repaired,
        )

    def _remove(self, walk: _Walk) -> None:
        for start in range(0, len(walk.dead), _TOGETHER):
            some = walk.dead[start : start + _TOGETHER]
            if not self._locked(partial(self._remove_all, some, walk)):
                return

    def _locked(self, work: Callable[[], None]) -> bool:
        """Do something within the registry's lock: what it knows then it knows for as long as that takes."""
        try:
            self._examined.registry.apply([], work)
        except BunterError as error:
            self._report.add("not repaired", "error", f"{error}")
            return False
        return True

    def _remove_all(self, some: list[Leftover], walk: _Walk) -> None:
        for found in some:
            folder = os.path.dirname(found.draft)
            try:
                # As it is now: the writer may have come back to life, or been tidied up after.
                again = {leftover.draft: leftover for leftover in leftovers_in(folder, os.listdir(folder))}
                leftover = again.get(found.draft)
                if leftover is None or leftover.living:
                    continue
                what = "it was removed"
                if leftover.published is not None:
                    paths = self._paths(os.path.relpath(leftover.published, self._root).replace(os.sep, "/"), walk)
                    if any(self._examined.registry.path_taken(path) for path in paths):
                        what = "the dataset is recorded, so that only the name of the draft was removed"
                    else:
                        os.unlink(leftover.published)
                        what = "both were removed"
                os.unlink(leftover.draft)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._left(found, repaired=False, what=f"it cannot be removed: {error.strerror}")
                continue
            self._left(leftover, repaired=True, what=what)
            self._tidy(folder)

    @staticmethod
    def _paths(path: str, walk: _Walk) -> set[str]:
        """Return all paths below the root under which a file can be recorded: through links to its folder, too."""
        found = {path}
        waiting = list(found)
        while waiting and len(found) < 1000:
            path = waiting.pop()
            for link, target in walk.aliases:
                if target == "." or path.startswith(f"{target}/"):
                    other = f"{link}/{path if target == '.' else path[len(target) + 1 :]}"
                    if other not in found and len(other) < 4096:
                        found.add(other)
                        waiting.append(other)
        return found

    def _tidy(self, folder: str) -> None:
        """Remove a folder that held nothing but what was left, and those above it that hold nothing but it."""
        with contextlib.suppress(OSError):
            while folder != self._root:
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    # Temporary files of the description and the policy

    def _temporary(self) -> None:
        if self._repair and self._temporary_names():
            # Whoever writes these holds the registry's lock, so that nobody does while we hold it.
            self._locked(self._remove_temporary)
            return
        for name in self._temporary_names():
            try:
                age = time.time() - os.lstat(os.path.join(self._root, name)).st_mtime
            except FileNotFoundError:
                continue
            if age > _WRITING:
                self._left_temporary(name, repaired=False)
            else:
                self._report.add(
                    "draft being written", "note", "a process is writing it, or was killed just now", path=name
                )

    def _temporary_names(self) -> list[str]:
        return sorted(name for name in os.listdir(self._root) if _TEMPORARY.match(name))

    def _remove_temporary(self) -> None:
        for name in self._temporary_names():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._root, name))
                self._left_temporary(name, repaired=True)

    def _left_temporary(self, name: str, *, repaired: bool) -> None:
        self._report.counts["leftovers"] += 1
        what = "it was removed" if repaired else "repair=True removes it"
        self._report.add(
            "leftover", "warning", f"a process that was killed has left it; {what}", path=name, repaired=repaired
        )
