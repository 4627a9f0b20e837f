"""What a disk holds for sure at each moment of a traced run, and what it may hold after a power cut.

A file's content lasts from the moment that it is synced, and a name from the moment that its folder is; nothing else
is counted on. Three disks come back from a power cut: one that lost all that was not synced, one that kept every name
but only the synced content (as file systems do that write their journal first), and one that kept the names of one
half of the folders, and not of the other.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from tracer import NAME, SYNC, Call

LOST, NAMES, HALF = "all unsynced is lost", "names are kept", "names of every other folder are kept"


@dataclass(frozen=True)
class _Moment:
    # Folder -> name -> file, by their numbers; what lasts, and what is there.
    lasting: dict[int, dict[str, int]]
    present: dict[int, dict[str, int]]
    content: dict[int, bytes | str]


class Disk:
    """The files below a folder, watched during a traced run.

    Parameters
    ----------
    root : Path
        Everything in it counts as synced now.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = root.stat().st_ino
        self._held: dict[int, int] = {}
        self._folders: set[int] = set()
        self._lasting: dict[int, dict[str, int]] = {}
        self._content: dict[int, bytes | str] = {}
        self._times: dict[int, int] = {}
        for folder in self._walk():
            for name, number in self._names(folder).items():
                self._sync_file(folder / name, number)
        self._lasting = self._present()
        self.moments: list[_Moment] = []
        self._keep()

    def watch(self, call: Call) -> None:
        """Take note of a call that was done."""
        if call.result is not None and call.result >= 0:
            path = Path(call.path)
            if call.kind == SYNC and call.name in ("fsync", "fdatasync") and path.exists():
                if path.is_dir():
                    self._lasting[path.stat().st_ino] = self._names(path)
                else:
                    self._sync_file(path, path.stat().st_ino)
            elif call.kind == NAME:
                self._present()
        self._keep()

    def variants(self, number: int) -> list[str]:
        """Return the disks that differ at a moment."""
        moment = self.moments[number]
        same = all(moment.lasting.get(folder) == names for folder, names in moment.present.items())
        return [LOST] if same else [LOST, NAMES, HALF]

    def put_back(self, number: int, variant: str) -> None:
        """Make the folder what the disk holds if the power was cut after the call of that number."""
        moment = self.moments[number]
        shutil.rmtree(self.root)
        self._make(self.root, self._root, moment, variant, {})

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _keep(self) -> None:
        self.moments.append(_Moment(dict(self._lasting), self._present(), dict(self._content)))

    def _walk(self) -> list[Path]:
        return [Path(folder) for folder, _, _ in os.walk(self.root)]

    def _present(self) -> dict[int, dict[str, int]]:
        return {folder.stat().st_ino: self._names(folder) for folder in self._walk()}

    def _names(self, folder: Path) -> dict[str, int]:
        found = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                found[entry.name] = number = entry.inode()
                if number not in self._held:
                    # So that its number is not given to another file.
                    self._held[number] = os.open(entry.path, os.O_PATH | os.O_NOFOLLOW)
                    if entry.is_dir(follow_symlinks=False):
                        self._folders.add(number)
                    elif entry.is_symlink():
                        # It is nothing but its name.
                        self._content[number] = os.readlink(entry.path)
        return found

    def _sync_file(self, path: Path, number: int) -> None:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            self._content[number] = path.read_bytes()
            self._times[number] = status.st_mtime_ns

    def _make(self, place: Path, number: int, moment: _Moment, variant: str, made: dict[int, Path]) -> None:
        place.mkdir()
        keep = variant == NAMES or (variant == HALF and number % 2)
        names = moment.present.get(number, moment.lasting.get(number, {})) if keep else moment.lasting.get(number, {})
        for name, inner in names.items():
            if name.endswith("-shm"):
                # Memory that processes shared; there are none left.
                continue
            target = place / name
            content = moment.content.get(inner, b"")
            if inner in self._folders:
                self._make(target, inner, moment, variant, made)
            elif isinstance(content, str):
                target.symlink_to(content)
            elif inner in made:
                os.link(made[inner], target)
            else:
                target.write_bytes(content)
                if inner in self._times:
                    os.utime(target, ns=(self._times[inner], self._times[inner]))
                made[inner] = target
