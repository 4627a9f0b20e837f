"""The repositories on which writers are killed, what is done to them, and the checks of what is left.

A `Case` is a folder of a repository with datasets of every kind (`repo`), a second one (`other`), and files of a user
(`incoming`). `OPERATIONS` names what can be done to it. `Case.check` tells what an operation that was cut off has
left: what can be seen must be all that was there before, or all that there is afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import signal
import sqlite3
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The traced stretch is to have one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from bunter import Butler, DatasetNotFoundError, Exposure, Mask, RepositoryArgs

POLICY = """
keys: {visit: int, ccd: str}
datasets:
  note: {python: dict, storage: Json, template: "notes/{visit:d}.json"}
  info: {python: dict, storage: Json, template: "info/{visit:d}.json"}
  image: {python: list, storage: Json, template: "images/{visit:d}/{ccd}.json"}
  calib: {python: dict, storage: Json, template: "calibs/{visit:d}/{ccd}.json"}
  exp: {composite: {image: image, calib: calib, info: info}}
  block: {python: numpy.ndarray, storage: Npy, template: "blocks/{visit:d}.npy"}
  calexp: {python: bunter.Exposure, storage: FitsExposure, template: "calexps/{visit:d}.fits"}
  raw: {python: dict, storage: Json, template: "raw/{visit:d}.json"}
"""

# What a repository keeps of its own.
OWN = {"bunter.yaml", "policy.yaml", "registry.sqlite"} | {
    f"registry.sqlite-{what}" for what in ("wal", "shm", "journal")
}

State = dict[str, str]
"""``repository: dataset data ID`` -> a hash of its content as it is read back."""


def block(seed: int) -> np.ndarray:
    """Return 1 MB of noise."""
    return np.random.default_rng(seed).random((256, 512))


def an_exposure(seed: int) -> Exposure:
    """Return an exposure of 1 MB."""
    random = np.random.default_rng(seed)
    shape = (300, 300)
    image, variance = (random.random(shape, dtype="f4") for _ in range(2))
    return Exposure(image, mask=Mask((image < 0.1).astype("i4"), {"BAD": 0}), variance=variance, filter="r")


def an_exp(visit: int, n: int = 0) -> dict[str, Any]:
    """Return a composite of three parts; all of a visit have one `info`."""
    return {"image": [n, visit], "calib": {"zero": 25 + n}, "info": {"visit": visit, "airmass": 1.5}}


def digest(value: Any) -> str:
    """Return a hash of an object's content, bit for bit."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Exposure):
            for plane in (value.image, value.mask.array, value.variance, value.filter):
                add(plane)
        elif isinstance(value, np.ndarray):
            found.update(f"{value.dtype} {value.shape}".encode())
            found.update(np.ascontiguousarray(value).tobytes())
        else:
            found.update(json.dumps(value, sort_keys=True).encode())

    add(value)
    return found.hexdigest()[:16]


def state(root: Path, **options: Any) -> State:
    """Return all that can be seen in a repository; raise if anything seen cannot be read, or contradicts itself."""
    seen: State = {}
    if not (root / "bunter.yaml").exists():
        return seen
    with Butler(root, **options) as butler:
        for name in butler.dataset_types():
            for ref in butler.query(name):
                if not butler.exists(name, ref.data_id):
                    raise AssertionError(f"{name} {ref.data_id} is found by a query, but does not exist")
                what = "free" if ref.uuid is None else "put"
                seen[f"{root.name}: {name} {ref.data_id}"] = f"{what} {digest(butler.get(name, ref.data_id))}"
    return seen


def stored(root: Path) -> dict[str, bool]:
    """Return the paths that a registry names, and whether it owns these files."""
    if not (root / "registry.sqlite").exists():
        return {}
    connection = sqlite3.connect(root / "registry.sqlite")
    try:
        return {path: bool(owned) for path, owned in connection.execute("SELECT path, owned FROM file")}
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return {}
        raise
    finally:
        connection.close()


def unknown_files(root: Path) -> list[str]:
    """Return the files of a repository that neither its registry names nor Bunter keeps for itself."""
    known = stored(root)
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return sorted(path for path in found if path not in known and path not in OWN)


def unexplained_files(root: Path) -> list[str]:
    """Return those of them that are not drafts, nor have a draft's name beside them."""
    drafts: dict[str, set[int]] = {}
    unknown = unknown_files(root)
    for path in unknown:
        if is_draft(path):
            drafts.setdefault(os.path.dirname(path), set()).add((root / path).lstat().st_ino)
    return [
        path
        for path in unknown
        if not is_draft(path) and (root / path).lstat().st_ino not in drafts.get(os.path.dirname(path), ())
    ]


def is_draft(path: str) -> bool:
    """Tell whether a file is being written, or was."""
    return ".part~" in os.path.basename(path)


def empty_folders(root: Path) -> list[str]:
    """Return the folders of a repository with nothing in them."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir() and not any(path.iterdir()))


@contextlib.contextmanager
def scratch(folder: str | None = None) -> Iterator[Path]:
    """Make a folder to work in, and remove it.

    In memory if there is room: what is killed loses nothing of what it wrote, on any file system, and what a power cut
    loses is reckoned from the calls.
    """
    memory = "/dev/shm"
    if folder is None and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30:
        folder = memory
    with tempfile.TemporaryDirectory(dir=folder) as made:
        # Whoever only reads has to come here, too.
        os.chmod(made, 0o755)
        yield Path(made).resolve()


# Processes


class LostError(Exception):
    """A child ended without an answer."""


def in_child(work: Callable[..., Any], *arguments: Any, as_nobody: bool = False, seconds: int = 120) -> Any:
    """Call a function in a forked child, and return what it returns or raise what it raises, as text.

    Parameters
    ----------
    as_nobody : bool
        Give up root's rights first, if we have them.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        # Libraries may keep threads; the children use none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            signal.alarm(seconds)
            try:
                if as_nobody and os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                answer = True, work(*arguments)
            except BaseException as error:
                import traceback

                answer = False, "".join(traceback.format_exception(error))
            data = memoryview(pickle.dumps(answer))
            while data:
                data = data[os.write(writing, data) :]
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    if not data:
        raise LostError("a child did not answer")
    # Our own child wrote this.
    fine, answer = pickle.loads(data)
    if not fine:
        raise AssertionError(answer)
    return answer


# Cases


class Case:
    """A folder of repositories that can be put back as it was.

    Parameters
    ----------
    folder : Path
        Must exist, and be empty.
    durability : str
        Of the Butlers that write.
    """

    def __init__(self, folder: Path, durability: str = "full") -> None:
        self.folder = folder.resolve()
        self.durability = durability
        self.place = self.folder / "case"
        self.repo, self.other, self.incoming = (self.place / name for name in ("repo", "other", "incoming"))
        self.new = self.place / "new"
        self._pristine = self.folder / "pristine"
        os.environ["BUNTER_CONFIG"] = str(self.folder / "configuration")
        self.place.mkdir()
        # Not in a child: what it imports need not be imported again by each of them, nor be readable by nobody.
        self._fill()
        shutil.copytree(self.place, self._pristine, symlinks=True)
        self.before = self._seen()
        self.bytes_before = self.file_hashes()

    def butler(self, **options: Any) -> Butler:
        """Return a Butler that writes."""
        return Butler(outputs=self.repo, durability=self.durability, **options)

    def _fill(self) -> None:
        for visit in (10, 11):
            write_json(self.incoming / f"raw/{visit}.json", {"raw": visit})
        write_json(self.incoming / "raw/0.json", {"raw": 0})
        write_json(self.incoming / "raw/1.json", {"raw": 1})
        write_json(self.incoming / "again/raw/1.json", {"raw": "another"})
        with Butler(outputs=RepositoryArgs(self.repo, policy=POLICY), durability="fast") as butler:
            for visit in range(3):
                butler.put({"n": visit}, "note", visit=visit)
            butler.put(an_exp(1), "exp", visit=1, ccd="a")
            butler.put(an_exp(2), "exp", visit=2, ccd="a")
            butler.put(block(0), "block", visit=0)
            butler.put(an_exposure(0), "calexp", visit=0)
            butler.ingest("raw", self.incoming / "raw/0.json")
            butler.ingest("raw", self.incoming / "raw/1.json", mode="copy")
            butler.put({"n": "deleted"}, "note", visit=7)
            butler.delete("note", visit=7)
            butler.put({"n": "first"}, "note", visit=8)
            butler.put({"n": "second"}, "note", visit=8, replace=True)
        with Butler(outputs=RepositoryArgs(self.other, policy=POLICY), durability="fast") as butler:
            butler.put({"n": "other"}, "note", visit=50)

    def restore(self) -> None:
        """Put everything back."""
        shutil.rmtree(self.place)
        shutil.copytree(self._pristine, self.place, symlinks=True)

    def _seen(self) -> State:
        trusted = [self.incoming]
        return {k: v for root in self.roots() for k, v in state(root, trust_paths=trusted).items()}

    def roots(self) -> list[Path]:
        """Return the folders of the repositories that are there."""
        return [root for root in (self.repo, self.other, self.new) if root.exists()]

    def seen(self, *, read_only: bool = False) -> State:
        """Return all that can be seen, by a process of its own.

        Parameters
        ----------
        read_only : bool
            By one that cannot write there.
        """
        if not read_only or not others_reach(self.place):
            found: State = in_child(self._seen)
            return found
        with contextlib.ExitStack() as stack:
            for root in self.roots():
                stack.enter_context(not_writable(root))
            return dict(in_child(self._seen, as_nobody=True))

    def file_hashes(self) -> dict[str, str]:
        """Return the hash of every file that a registry names, and of the user's own."""
        return {
            str(root / path): hashlib.sha256((root / path).read_bytes()).hexdigest()
            for root in self.roots()
            for path in stored(root)
            if (root / path).exists()
        }

    def user_files(self) -> dict[str, bytes]:
        """Return the user's own files."""
        return {str(path): path.read_bytes() for path in sorted(self.incoming.rglob("*.json"))}


@contextlib.contextmanager
def not_writable(root: Path) -> Iterator[None]:
    """Let nobody write into a folder, as far as the owner can be kept from it."""
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    modes = [(folder, stat.S_IMODE(folder.stat().st_mode)) for folder in folders]
    for folder, _ in modes:
        folder.chmod(0o555)
    try:
        yield
    finally:
        for folder, mode in modes:
            folder.chmod(mode)


def others_reach(folder: Path) -> bool:
    """Tell whether whoever gives up root's rights can still come to a folder."""
    return os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in folder.parents)


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file as another program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


# What is done


@dataclass(frozen=True)
class Operation:
    """Something that is done to a case.

    Attributes
    ----------
    work : callable
        Does it, with a Butler that is open.
    again : callable or None
        Does it after it may have been done; the same if None.
    moves : bool
        Whether files of the user's may go.
    """

    name: str
    work: Callable[[Case, Butler], Any]
    again: Callable[[Case, Butler], Any] | None = None
    moves: bool = False

    def redo(self, case: Case) -> None:
        """Do it again, done or not."""
        with case.butler() as butler:
            (self.again or self.work)(case, butler)


def _transaction(case: Case, butler: Butler) -> None:
    with butler.transaction():
        for visit in range(20, 24):
            butler.put({"n": visit}, "note", visit=visit, replace=True)
        butler.put(an_exp(20), "exp", visit=20, ccd="a", replace=True)
        butler.put({"n": "new"}, "note", visit=1, replace=True)
        if butler.exists("note", visit=2):
            butler.delete("note", visit=2)
        butler.ingest("raw", case.incoming / "raw/10.json", mode="copy")


def _delete(name: str, **keys: Any) -> Callable[[Case, Butler], None]:
    def work(case: Case, butler: Butler) -> None:
        butler.delete(name, **keys)

    return work


def _delete_again(name: str, **keys: Any) -> Callable[[Case, Butler], None]:
    def work(case: Case, butler: Butler) -> None:
        with contextlib.suppress(DatasetNotFoundError):
            butler.delete(name, **keys)

    return work


def _ingest(mode: str) -> Operation:
    def work(case: Case, butler: Butler) -> None:
        butler.ingest("raw", [case.incoming / f"raw/{visit}.json" for visit in (10, 11)], mode=mode)

    def again(case: Case, butler: Butler) -> None:
        for visit in (10, 11):
            path = case.incoming / f"raw/{visit}.json"
            if not butler.exists("raw", visit=visit) or path.exists():
                butler.ingest("raw", path, mode=mode)

    return Operation(f"ingest, {mode}", work, again, moves=mode == "move")


def _put(value: Callable[[], Any], name: str, **options: Any) -> Callable[[Case, Butler], None]:
    def work(case: Case, butler: Butler) -> None:
        butler.put(value(), name, **options)

    return work


def _define(case: Case, butler: Butler) -> None:
    butler.define({"datasets": {"late": {"python": "dict", "storage": "Json", "template": "late/{visit:d}.json"}}})


def _make(case: Case, butler: Butler) -> None:
    with Butler(outputs=RepositoryArgs(case.new, policy=POLICY), durability=case.durability) as made:
        made.put({"n": 1}, "note", visit=1)


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("put, small", _put(lambda: {"n": 3}, "note", visit=3)),
        Operation("put, composite", _put(lambda: an_exp(1, 1), "exp", visit=1, ccd="b")),
        Operation("put, exposure", _put(lambda: an_exposure(1), "calexp", visit=1)),
        Operation("replace, small", _put(lambda: {"n": "new"}, "note", visit=1, replace=True)),
        Operation("replace, composite", _put(lambda: an_exp(1, 2), "exp", visit=1, ccd="a", replace=True)),
        Operation("replace, exposure", _put(lambda: an_exposure(2), "calexp", visit=0, replace=True)),
        Operation("delete", _delete("note", visit=2), _delete_again("note", visit=2)),
        Operation("delete, composite", _delete("exp", visit=2, ccd="a"), _delete_again("exp", visit=2, ccd="a")),
        Operation("transaction", _transaction),
        *(_ingest(mode) for mode in ("direct", "copy", "move", "hardlink", "symlink")),
        Operation(
            "ingest, replace",
            lambda case, butler: butler.ingest(
                "raw", case.incoming / "again/raw/1.json", mode="copy", on_exists="replace"
            ),
        ),
        Operation("copy_to, new", lambda case, butler: butler.copy_to(case.new, ["exp", "block"])),
        Operation("copy_to, existing", lambda case, butler: butler.copy_to(case.other, ["exp", "raw"])),
        Operation(
            "copy_to, hard links", lambda case, butler: butler.copy_to(case.other, ["exp", "raw"], mode="hardlink")
        ),
        Operation("define", _define),
        Operation("new repository", _make),
    )
}  # fmt: skip


def _restore(case: Case, butler: Butler) -> None:
    if not butler.exists("note", visit=7):
        butler.restore("note", visit=7)


def _purge(case: Case, butler: Butler) -> None:
    butler.purge()


if hasattr(Butler, "restore"):
    OPERATIONS["restore"] = Operation("restore", _restore)
if hasattr(Butler, "purge"):
    OPERATIONS["purge"] = Operation("purge", _purge)

DRAFTS_OF_DESCRIPTIONS = ("bunter.yaml.part~", "policy.yaml.part~")


# What is left


@dataclass
class Faults:
    """What was found wrong, by kind, and where."""

    counts: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def add(self, kind: str, text: str) -> None:
        """Count one."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.told.append(f"{kind}: {text}")

    def __bool__(self) -> bool:
        return bool(self.counts)


KINDS = ("lost", "damaged", "half", "refused", "again", "leftovers")


def repair(root: Path) -> list[str]:
    """Let Bunter remove what is left over; return what is wrong with the repository all the same."""
    if not (root / "bunter.yaml").exists():
        return []
    with Butler(outputs=root) as butler:
        report = butler.verify(repair=True)
    return [
        f"{finding.kind}: {finding.message}"
        for finding in report.findings
        if not finding.repaired and finding.severity != "note"
    ]


def recovers(
    case: Case,
    operation: Operation,
    after: State,
    faults: Faults,
    where: str,
    *,
    acknowledged: bool,
    error: bool = False,
    read_only: bool = True,
) -> str:
    """Check all that must hold after an operation was cut off; return ``before`` or ``after``.

    Parameters
    ----------
    after : dict
        What can be seen once it is done.
    acknowledged : bool
        Whether the operation returned before it was cut off.
    error : bool
        Whether it raised instead: nothing may have happened then.
    read_only : bool
        Look at it as somebody who cannot write there, too.
    """
    found = ""
    users = case.user_files()
    for apart in (True, False) if read_only else (False,):
        who = "read-only" if apart else "for reading"
        try:
            seen = case.seen(read_only=apart)
        except AssertionError as problem:
            kind = "half" if "AssertionError" in str(problem) else "refused"
            faults.add(kind, f"{where}, {who}: {str(problem)[-600:]}")
            return "refused"
        if seen == after:
            found = "after" if after != case.before else found or "both"
        elif seen == case.before:
            found = "before"
        else:
            untouched = {k: v for k, v in case.before.items() if after.get(k) == v}
            damaged = {k for k, v in untouched.items() if seen.get(k) != v}
            faults.add("damaged" if damaged else "half", f"{where}, {who}: {difference(seen, case.before, after)}")
            return "damaged" if damaged else "half"
    if acknowledged and found == "before":
        faults.add("lost", f"{where}: it was acknowledged, but is not there")
    if error and found == "after":
        faults.add("half", f"{where}: it raised an error, but is there")
    for path, hashed in case.bytes_before.items():
        if os.path.exists(path):
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != hashed:
                faults.add("damaged", f"{where}: the file {path} changed")
        elif operation.name not in ("purge", "ingest, move"):
            faults.add("damaged", f"{where}: the file {path} is gone")
    for root in case.roots():
        for path in unexplained_files(root):
            if not os.path.basename(path).startswith(DRAFTS_OF_DESCRIPTIONS):
                faults.add("leftovers", f"{where}: nothing tells that {path} is a leftover")
    for kind, text in in_child(_again_and_tidy, case, operation):
        faults.add(kind, f"{where}: {text[-1500:]}")
    try:
        if (seen := case.seen()) != after:
            faults.add("again", f"{where}: done again and tidied up: {difference(seen, case.before, after)}")
    except AssertionError as problem:
        faults.add("again", f"{where}: done again and tidied up: {str(problem)[-600:]}")
    if not operation.moves and case.user_files() != users:
        faults.add("damaged", f"{where}: the user's own files changed")
    return found


def _again_and_tidy(case: Case, operation: Operation) -> list[tuple[str, str]]:
    wrong = []
    try:
        operation.redo(case)
    except Exception as problem:
        wrong.append(("again", f"{type(problem).__name__}: {problem}"))
    # What an operation does not touch is looked at by the others.
    for root in case.roots() if "copy_to" in operation.name or case.new.exists() else [case.repo]:
        try:
            wrong += [("leftovers", f"after the repair: {text}") for text in repair(root)]
        except Exception as problem:
            wrong.append(("leftovers", f"{type(problem).__name__}: {problem}"))
        if left := unknown_files(root):
            wrong.append(("leftovers", f"after the repair there is still {left}"))
    return wrong


def difference(seen: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Tell what differs from both."""
    odd = [
        f"{key} {'changed' if key in before or key in after else 'appeared'}"
        for key, value in seen.items()
        if value not in (before.get(key), after.get(key))
    ]
    odd += [f"{key} is gone" for key in before if key in after and key not in seen]
    half = [
        f"{key} is {'new' if seen.get(key) == after.get(key) else 'old'}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    return "; ".join(odd or half)
