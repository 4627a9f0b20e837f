"""Copying some of the datasets of repositories into another, with all that they need; UUIDs are kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from .committing import Staged, commit
from .context import Context
from .definitions import Definitions, load
from .definitions.excerpt import excerpt, lacking_in
from .errors import BunterError, DatasetExistsError, IntegrityError, RepositoryError
from .files.interface import StoredFile
from .locate import Found
from .parting import write_parts
from .registry.interface import NewDataset, Record
from .repository import (
    DESCRIPTION,
    POLICY,
    REGISTRY,
    Chain,
    Opened,
    Overlay,
    Repository,
    is_repository,
    resolve_root,
)
from .storing import place_of, write_error
from .subset import Needed, Needs, Wanted, needs_of
from .values import dataclass

_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did.

    Attributes
    ----------
    root : str
        Of the repository that was copied to.
    datasets : int
        Datasets that are new there: files, put composites, part datasets.
    parts : int
        Those of them that are part datasets.
    present : int
        Datasets that were there already.
    files : int
        Files that were written or linked there.
    bytes : int
        Bytes that were written there, those of links not counted.
    """

    root: str
    datasets: int
    parts: int
    present: int
    files: int
    bytes: int


class Copy:
    """One copy into one repository; `run` does all of it or nothing.

    Parameters
    ----------
    context : Context
        Of the Butler's call: what is copied from.
    starts : sequence of Repository
        The Butler's repositories, which become the parents if that is asked for.
    opened : Opened
        Empty; opens the repository that is copied to.
    root : str or path
        Where that is, or will be.
    """

    def __init__(
        self,
        context: Context,
        starts: Sequence[Repository],
        opened: Opened,
        root: str | os.PathLike[str],
        asked: Wanted,
    ) -> None:
        if isinstance(context.chain.order[0], Overlay):
            raise RepositoryError("a transaction is open, and what it put can still be undone: copy after its end")
        self.context = context
        self.asked = asked
        self.root = resolve_root(root)
        self._starts = starts
        self._opened = opened
        self._check_root()
        self._staged = Staged()
        self._placed: dict[tuple[UUID, str], StoredFile] = {}
        self._folders: set[str] = set()
        self._undefine: Callable[[], None] | None = None
        self._written = 0
        self._done = 0
        self._total = 0

    def _check_root(self) -> None:
        for repository in self.context.chain.order:
            if self.root == repository.root:
                if repository in self._starts:
                    raise RepositoryError(f"{self.root} is the repository that is copied from: copy to another one")
            elif (self.root + os.sep).startswith(repository.root.rstrip(os.sep) + os.sep):
                raise RepositoryError(
                    f"{self.root} lies inside of {repository.root}, which is copied from: a repository has its folder "
                    "to itself"
                )

    def run(self) -> Copied:
        """Copy.

        Raises
        ------
        DatasetExistsError
            If the repository holds a different dataset under one of the names; lists all.
        IntegrityError
            If a file is not what was written.
        RepositoryError
            If the repository cannot be made or written, or has other parents.
        """
        needs = needs_of(self.context, self.asked)
        owns = [repository.own for repository in self.context.chain.order if repository.own is not None]
        policy = excerpt(self.context.definitions, owns, self.asked.names)
        is_new = not is_repository(self.root)
        made_folders = _missing_folders(self.root) if is_new else []
        target = self._make(policy) if is_new else self._open()
        try:
            present = self._stage(target, needs)
            target.files.sync()
            if self._folders:
                target.list_folders(self._folders)
            if not is_new:
                # The registry's lock: another process may be adding definitions, too.
                target.registry.apply([], lambda: self._define(target, policy))
            context = Context(
                Chain([target]), target.definitions, target, self.context.opener, first=self.context.first
            )
            commit(context, [self._staged])
        except BaseException as error:
            if is_new and not target.registry.types():
                # Nothing was recorded, nor will it be: the registry itself goes.
                self._staged.may_be_visible = False
            self._staged.drop()
            if is_new:
                _unmake(target, made_folders)
            elif self._undefine is not None and not self._staged.may_be_visible:
                try:
                    target.registry.apply([], self._undefine)
                except BunterError as problem:
                    error.add_note(f"The definitions that were added to {self.root} are still there: {problem}")
            raise
        new = self._staged.changes.datasets
        return Copied(
            self.root, len(new), sum(1 for dataset in new if dataset.part), present,
            len({dataset.file.path for dataset in new if dataset.file is not None and dataset.file.owned}),
            self._written,
        )  # fmt: skip

    # The repository

    def _make(self, policy: Mapping[str, Any]) -> Repository:
        if not self.asked.parents:
            return self._opened.make(self.root, (), load(policy))
        parents = [self._opened.open(start.root) for start in self._starts]
        return self._opened.make(self.root, parents, None)

    def _open(self) -> Repository:
        target = self._opened.open(self.root, writable=True)
        if self.asked.parents:
            recorded = [parent.id for parent in target.parents]
            if recorded != [start.id for start in self._starts]:
                names = ", ".join(parent.root for parent in target.parents) or "none"
                raise RepositoryError(
                    f"{self.root} exists and has other parents ({names}) than the repositories that are copied from "
                    f"({', '.join(start.root for start in self._starts)}); copy without parents=True, or to a new one"
                )
        return target

    def _define(self, target: Repository, policy: Mapping[str, Any]) -> None:
        if target.changed():
            target.read_definitions()
        rest = lacking_in(policy, target.definitions, self.root)
        if not rest:
            return
        new = load(rest, known=target.definitions)
        own = new if target.own is None else target.own.updated(new)
        Definitions.combine([parent.definitions for parent in target.parents], own)
        before = target.own
        self._undefine = lambda: _restore(target, before)
        target.define(own)

    # What goes there

    def _stage(self, target: Repository, needs: Needs) -> int:
        """Write files and rows that are not visible yet; return how many datasets are there already."""
        # With parents everything is there already, further away: only what is asked for is to be near.
        places = [target] if self.asked.parents else list(Chain([target]).order)
        wholes: list[Needed] = []
        parts: list[tuple[Needed, list[str]]] = []
        conflicts: list[str] = []
        present = 0
        for needed in needs:
            asked = [needed.found.record.part] if needed.whole else list(needed.parts)
            lacking = [part for part in asked if not _holds(places, needed, part, conflicts)]
            present += len(asked) - len(lacking)
            if lacking and needed.whole:
                wholes.append(needed)
            elif lacking:
                parts.append((needed, lacking))
        if conflicts:
            shown = "\n  ".join(conflicts[:50]) + (f"\n  and {len(conflicts) - 50} more" if len(conflicts) > 50 else "")
            raise DatasetExistsError(
                f"{self.root} holds {len(conflicts)} different datasets under the same names and data IDs; nothing was "
                f"copied:\n  {shown}"
            )
        self._total = len(wholes) + sum(len(lacking) for _, lacking in parts)
        for needed in wholes:
            self._whole(target, needed)
        for needed, lacking in parts:
            self._parts(target, needed, lacking)
        return present

    def _record(self, needed: Needed, part: str, file: StoredFile | None, changed: Any = None) -> None:
        """Record a dataset as it is recorded where it comes from, but for its file."""
        record, registry = needed.found.record, needed.found.repository.registry
        kinds = self.context.definitions.key_types
        cards = [metadata for _, metadata in registry.metadata(record.type, record.data_id)] if record.live else []
        self._staged.changes.datasets.append(
            NewDataset(
                record.type,
                {key: kinds[key] for key in record.data_id},
                record.data_id,
                record.uuid,
                file,
                record.writing if changed is None else changed,
                record.written_at,
                record.written_by,
                part=part,
                pins=needed.pins or None,
                precursors=registry.precursors(record.type, record.uuid),
                live=needed.live,
                metadata=cards[0] if cards else {},
                footprint=registry.outline(record.type, record.data_id) if record.live and not record.part else None,
            )
        )
        for key, given in self.context.definitions.implied.items():
            if all(other in record.data_id for other in given):
                value = self.context.implied_value(key, {other: record.data_id[other] for other in given})
                if value is not None:
                    self._staged.changes.implied[key, tuple((o, record.data_id[o]) for o in given)] = value
        self._done += 1
        if self.asked.progress is not None:
            self.asked.progress(self._done, self._total)

    def _whole(self, target: Repository, needed: Needed) -> None:
        record = needed.found.record
        file = None if record.file is None else self._place(target, needed.found, record.file)
        self._record(needed, record.part, file)

    def _parts(self, target: Repository, needed: Needed, parts: Sequence[str]) -> None:
        for part, file, writing in write_parts(
            self.context.opener, needed.found, parts, target, self._staged, _path_in(needed.found.record)
        ):
            self._written += file.size
            self._record(needed, part, file, writing)

    # Files

    def _place(self, target: Repository, found: Found, file: StoredFile) -> StoredFile:
        """Bring a file there; one that several datasets share, once."""
        key = found.repository.id, file.path
        if key not in self._placed:
            self._placed[key] = self._copy(target, found, file) if self.asked.mode == "copy" else self._link(
                target, found, file
            )  # fmt: skip
        return self._placed[key]

    def _copy(self, target: Repository, found: Found, file: StoredFile) -> StoredFile:
        name = _name(found.record)
        source = found.repository.open_file(file)
        draft = target.files.draft(_path_in(found.record))
        self._staged.drafts.append(draft)
        try:
            at, layout = 0, source.layout
            while at < source.size:
                draft.stream.write(source.read_range(at, min(_CHUNK, source.size - at)))
                at += _CHUNK
            draft.finish()
            if file.checksum is not None and draft.checksum != file.checksum:
                raise IntegrityError(f"{source.name} is not the file that was written (its checksum differs)")
            path = draft.publish(target.registry.path_taken)
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}; nothing was copied") from error
        except OSError as error:
            raise write_error(error, name, target) from error
        finally:
            source.close()
        self._written += draft.size
        return StoredFile(path, True, draft.size, None, draft.checksum, layout)

    def _link(self, target: Repository, found: Found, file: StoredFile) -> StoredFile:
        """Make a link to a file, or refer to it where it is; only its size is checked, reading checks the rest."""
        name = _name(found.record)
        source = found.repository.open_file(file)
        place = os.path.realpath(source.name)
        try:
            source.read_range(0, 0)
            layout = source.layout
            modified = os.stat(place).st_mtime_ns
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}; nothing was copied") from error
        except OSError as error:
            raise IntegrityError(f"{name}: the file {place} is gone ({error.strerror}); nothing was copied") from error
        finally:
            source.close()
        if self.asked.mode != "hardlink":
            self._folders.add(_folder_of(place, found.repository))
        if self.asked.mode == "reference":
            return StoredFile(place, False, file.size, modified, file.checksum, layout)
        draft = target.files.draft(_path_in(found.record))
        self._staged.drafts.append(draft)
        draft.link(place, symbolic=self.asked.mode == "symlink")
        path = draft.publish(target.registry.path_taken)
        return StoredFile(path, True, file.size, modified, file.checksum, layout)


def _holds(places: Sequence[Repository], needed: Needed, part: str, conflicts: list[str]) -> bool:
    """Tell whether a dataset is there already; note a different one that is there under its name and data ID."""
    target, record = places[0], needed.found.record
    if not needed.live:
        return any(place.registry.by_uuid(record.type, record.uuid, part) is not None for place in places)
    for other in dict.fromkeys(("", part, *target.registry.parts(record.type))):
        there = target.registry.find(record.type, record.data_id, other)
        if there is not None and there.uuid != record.uuid:
            conflicts.append(
                f"{record.type} {record.data_id}: UUID {there.uuid} there ({place_of(Found(target, there))}), "
                f"UUID {record.uuid} in what is copied ({place_of(needed.found)})"
            )
            return True
    for place in places:
        there = place.registry.find(record.type, record.data_id, part)
        if there is not None:
            return there.uuid == record.uuid
    trashed = target.registry.by_uuid(record.type, record.uuid, part)
    if trashed is not None and (trashed.part or not part):
        conflicts.append(
            f"{record.type} {record.data_id}: UUID {record.uuid} was deleted there and is in the trash: restore it"
        )
        return True
    return False


def _name(record: Record) -> str:
    part = f".{record.part}" if record.part else ""
    return f"{record.type}{part} {record.data_id}"


def _path_in(record: Record) -> str:
    """Return the path for a copy: the same, or for a file from outside of its repository one by its type."""
    assert record.file is not None
    path = record.file.path
    if not os.path.isabs(path):
        return path
    return str(PurePosixPath(record.type.replace(":", "/"), os.path.basename(path)))


def _folder_of(place: str, repository: Repository) -> str:
    """Return the folder to list for a file that stays in the place of another repository."""
    for folder in (repository.root, *map(os.path.realpath, repository.folders)):
        if place.startswith(folder.rstrip(os.sep) + os.sep):
            return folder
    return os.path.dirname(place)


def _missing_folders(root: str) -> list[str]:
    """Return the folders that have to be made for a root, innermost first."""
    missing = []
    while not os.path.exists(root):
        missing.append(root)
        root = os.path.dirname(root)
    return missing


def _unmake(target: Repository, folders: Sequence[str]) -> None:
    """Remove a repository that was made for this copy and holds nothing."""
    made_by_others = bool(target.registry.types())
    target.registry.close()
    if made_by_others:
        return
    # The description first: what is left if this fails is no repository.
    for name in (DESCRIPTION, POLICY, REGISTRY, *(f"{REGISTRY}-{more}" for more in ("wal", "shm", "journal"))):
        target.files.remove(name)
    for folder in folders:
        # Whoever put something else there meanwhile keeps it.
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _restore(target: Repository, own: Definitions | None) -> None:
    """Undo what was added to a repository's definitions, unless somebody has added more since."""
    if target.changed():
        return
    if own is not None:
        target.define(own)
    else:
        target.files.remove(POLICY)
