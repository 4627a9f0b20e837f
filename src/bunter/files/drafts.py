"""How a file is called while it is written, and what a writer that was killed has left.

A draft is called ``.part~<writer>~<hash of its name to be>~<token>``. The file gets its own name as a second one, and
gives up the first once the registry knows it. So a file that the registry does not know is taken for Bunter's only
if it has a draft's name, too; and since the draft names the process that writes it, `leftovers` tells what is still
being written from what nobody will ever finish. Nothing has to be kept anywhere for that.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache

import xxhash

from ..values import dataclass

PATIENCE = 24 * 3600
"""Seconds after which a draft of a process that cannot be asked for, on another machine, counts as given up."""

_DRAFT = re.compile(r"\.part~(?P<writer>[0-9a-f]{8}-\d+-\d+)~(?P<name>[0-9a-f]{8})~[0-9a-f]{16}\Z")
_MARK = re.compile(r"~\d+")


def draft_name(name: str, *, exact: bool = False) -> str:
    """Return a name for the draft of a file that is to be called `name`.

    Parameters
    ----------
    exact : bool
        The file will not be called that with a mark: for drafts of files that may have names of the user's, too.
    """
    return f".part~{_writer(os.getpid())}~{_hash(_exact(name) if exact else name)}~{os.urandom(8).hex()}"


def is_draft(name: str) -> bool:
    """Tell whether a name is that of a draft.

    Examples
    --------
    >>> is_draft(draft_name("a.fits")), is_draft("a.fits")
    (True, False)
    """
    return _DRAFT.match(name) is not None


def _hash(name: str) -> str:
    return str(xxhash.xxh32_hexdigest(os.fsencode(name)))


def _exact(name: str) -> str:
    # No file is called that.
    return f"{name}/"


def _may_be(name: str, wanted: str) -> bool:
    """Tell whether a name has a hash, as it is or without a mark."""
    without = (name[: mark.start()] + name[mark.end() :] for mark in _MARK.finditer(name))
    return any(_hash(candidate) == wanted for candidate in (_exact(name), name, *without))


@lru_cache(maxsize=4)
def _writer(process: int) -> str:
    """Return what tells a process from every other: where its number counts, its number, when it began."""
    return f"{_here()}-{process}-{_began(process) or 0}"


@lru_cache(maxsize=1)
def _here() -> str:
    """Return a word for what numbers the processes: this machine since it started, or a container on it."""
    words = [os.uname().nodename]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        words.append(file.read())
    with contextlib.suppress(OSError):
        words.append(os.readlink("/proc/self/ns/pid"))
    return str(xxhash.xxh32_hexdigest("\n".join(words).encode()))


def _began(process: int) -> int | None:
    """Return when a process began, in clock ticks; 0 if that is not known; None if there is no such process."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, ValueError):
        return 0
    else:
        # One that was killed stays a zombie until its parent looks.
        return None if words[0] in "ZX" else int(words[19])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0


def _lives(writer: str, draft: str) -> bool:
    """Tell whether the writer of a draft lives, as far as can be known."""
    here, process, began = writer.split("-")
    if here == _here():
        now = _began(int(process))
        return now is not None and (now == int(began) or not now or began == "0")
    try:
        return time.time() - os.lstat(draft).st_ctime < PATIENCE
    except FileNotFoundError:
        return True


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a writer left: a draft, and the name that it may have got already.

    Attributes
    ----------
    draft : str
        Absolute path.
    published : str or None
        Absolute path of the same file under its own name.
    living : bool
        Whether the writer may still be at it.
    """

    draft: str
    published: str | None
    living: bool


def leftovers_in(folder: str, names: list[str]) -> Iterator[Leftover]:
    """Yield the drafts among the names in a folder.

    Parameters
    ----------
    folder : str
        Absolute path.
    names : list of str
        Of all that is in it.
    """
    drafts = [found for name in names if (found := _DRAFT.match(name))]
    if not drafts:
        return
    inodes: dict[int, list[str]] = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            inodes.setdefault(os.lstat(os.path.join(folder, name)).st_ino, []).append(name)
    for found in drafts:
        draft = os.path.join(folder, found.string)
        same = next((together for together in inodes.values() if found.string in together), [])
        published = next((name for name in same if _may_be(name, found["name"])), None)
        yield Leftover(
            draft, None if published is None else os.path.join(folder, published), _lives(found["writer"], draft)
        )
