"""Committing: what was prepared becomes visible together, and races are decided by the registry."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from .comparing import same_as_stored
from .context import Context
from .errors import BunterError, ConflictError, DatasetExistsError, DatasetNotFoundError, RepositoryError
from .files.local import LocalDraft
from .locate import Found
from .plan import Leaf
from .registry.interface import Changes, DatasetTaken, NewDataset, NotRestored, PathTaken, Pin, Record
from .repository import Overlay, Repository
from .values import dataclass, field, replace

T = TypeVar("T")

_CHANCES = 100
"""How often a put may be overtaken by others that change what it refers to."""


class Overtaken(Exception):  # noqa: N818 - a signal between rooms, never shown to users
    """Somebody else has changed what a put found when it began: it has to look again.

    Attributes
    ----------
    error : DatasetExistsError
        What to say where that is not possible.
    """

    def __init__(self, error: DatasetExistsError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class Staged:
    """What a put has prepared: files that are there, rows that are not visible yet.

    Attributes
    ----------
    values : dict
        UUID of a new dataset -> (leaf, object, stripped components), to compare with a winner.
    moved : list of str
        Files elsewhere that were copied and are to go once their datasets are visible.
    may_be_visible : bool
        The registry may know the files: they are kept, whatever happens.
    checks : list of callable
        Raise if what was found in the output when the put began is not so any more; called while nobody else writes.
    """

    changes: Changes = field(default_factory=Changes)
    drafts: list[LocalDraft] = field(default_factory=list)
    values: dict[UUID, tuple[Leaf, Any, list[str]]] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    checks: list[Callable[[], None]] = field(default_factory=list)
    may_be_visible: bool = False

    def relies_on(self, found: Found) -> None:
        """Note that a dataset of the output is referred to: it has to be there still at the commit."""
        record, registry = found.record, found.repository.registry

        def check() -> None:
            now = registry.by_uuid(record.type, record.uuid, record.part)
            if now is None or (record.live and not now.live):
                raise Overtaken(
                    ConflictError(
                        f"{record.type} {record.data_id} (UUID {record.uuid}), which is referred to here, was replaced "
                        f"or deleted in {found.repository.root} by somebody else meanwhile; nothing was written. "
                        "Try again"
                    )
                )

        self.checks.append(check)

    def new(self, uuid: UUID) -> NewDataset | None:
        """Return the new dataset of a UUID; None if it was there before, or somebody else's is."""
        return next((new for new in self.changes.datasets if new.uuid == uuid), None)

    def pins(self) -> dict[UUID, list[Pin]]:
        """Return the pins of the new composites."""
        return {new.uuid: list(new.pins) for new in self.changes.datasets if new.pins is not None}

    def settle(self) -> None:
        """Keep every file that was prepared, now that all is visible."""
        for draft in self.drafts:
            draft.settle()
        for path in self.moved:
            try:
                os.unlink(path)
            except OSError as error:
                warnings.warn(
                    f"{path} was copied, and its datasets are recorded, but it could not be removed: {error.strerror}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def drop(self) -> None:
        """Remove every file that was prepared, unless the registry may know it."""
        if self.may_be_visible:
            return
        for draft in self.drafts:
            draft.drop()
        self.drafts.clear()


def commit(context: Context, all_staged: Sequence[Staged]) -> dict[UUID, UUID]:
    """Make staged changes visible in the output in one short transaction; return which gave way to which.

    Raises
    ------
    DatasetExistsError
        If somebody else was first, with other content.
    """
    try:
        return attempt(context, all_staged)
    except Overtaken as overtaken:
        raise overtaken.error from None


def attempt(context: Context, all_staged: Sequence[Staged]) -> dict[UUID, UUID]:
    """Do the same for a put that can begin again.

    Raises
    ------
    Overtaken
        If somebody else was first.
    """
    output = context.need_output()
    # What was put in a transaction is made durable at its end.
    output.files.sync()
    given_way: dict[UUID, UUID] = {}
    while True:
        if not any(staged.changes for staged in all_staged):
            return given_way
        try:
            _apply(output, all_staged)
            break
        except PathTaken as taken:
            _next_mark(context, all_staged, taken.path)
        except NotRestored as lost:
            raise _not_restored(output, lost) from None
        except DatasetTaken as taken:
            given_way[taken.new.uuid] = _give_way(context, all_staged, taken.new, taken.existing)
    if not isinstance(output, Overlay):
        for staged in all_staged:
            staged.settle()
    return given_way


def until_first(work: Callable[[], T]) -> T:
    """Do what others can overtake, again and again until they do not; return what it returns.

    Raises
    ------
    DatasetExistsError
        If they always do.
    """
    for _ in range(_CHANCES):
        try:
            return work()
        except Overtaken as overtaken:
            error = overtaken.error
    raise error


def content_of(pins: Sequence[Pin]) -> set[tuple[object, ...]]:
    """Return what has to be the same in two composites that are the same."""
    return {(p.component, p.member, p.uuid, p.part) for p in pins}


def _check(all_staged: Sequence[Staged]) -> None:
    for staged in all_staged:
        for check in staged.checks:
            check()


def _not_restored(output: Repository, lost: NotRestored) -> BunterError:
    if lost.existing is None:
        return DatasetNotFoundError(
            f"{lost.type} with UUID {lost.uuid} was purged from the trash of {output.root} meanwhile; nothing was "
            "changed",
            [output.root],
        )
    return DatasetExistsError(
        f"{lost.type} {lost.existing.data_id} exists in {output.root} (UUID {lost.existing.uuid}); the one in the "
        f"trash (UUID {lost.uuid}) was not restored. To let them change places say replace=True"
    )


def _apply(output: Repository, all_staged: Sequence[Staged]) -> None:
    """Hand everything to the registry; from then on files are kept unless it is certain that nothing was recorded."""
    # Set before, since an interrupt may come at any moment after the commit.
    for staged in all_staged:
        staged.may_be_visible = True
    try:
        output.registry.apply(_joined([staged.changes for staged in all_staged]), partial(_check, all_staged))
    except BaseException:
        if not output.registry.in_doubt():
            for staged in all_staged:
                staged.may_be_visible = False
        raise


def _joined(all_changes: Sequence[Changes]) -> list[Changes]:
    """Return the same changes, those that follow each other as one where that makes no difference: it takes less time.

    So it is with files that are new and replace nothing: nothing pins what comes after it, and whichever of the facts
    and pins is looked at first, the others are what they were.
    """
    found: list[Changes] = []
    own: Changes | None = None
    for changes in all_changes:
        if not _is_plain(changes):
            found.append(changes)
            own = None
        elif own is None or any(own.implied.get(fact, value) != value for fact, value in changes.implied.items()):
            own = Changes(list(changes.datasets), dict(changes.implied), repins=list(changes.repins))
            found.append(own)
        else:
            own.datasets += changes.datasets
            own.implied.update(changes.implied)
            own.repins += changes.repins
    return found


def _is_plain(changes: Changes) -> bool:
    if changes.trashed or changes.restored or changes.regions or changes.checked:
        return False
    return all(new.pins is None and new.live and not new.replaces for new in changes.datasets)


def show(context: Context, staged: Staged) -> bool:
    """Show what is staged inside the open transaction; tell whether there is one."""
    while True:
        try:
            return context.show(staged.changes)
        except PathTaken as taken:
            _next_mark(context, [staged], taken.path)


def path_taken(context: Context, path: str) -> bool:
    """Tell whether the output, or an open transaction, knows a path."""
    return any(repository.registry.path_taken(path) for repository in context.nearest_output())


def _next_mark(context: Context, all_staged: Sequence[Staged], path: str) -> None:
    output = context.need_output()
    for staged in all_staged:
        for new in staged.changes.datasets:
            if new.file is not None and new.file.owned and new.file.path == path:
                for draft in staged.drafts:
                    if draft.published == path:
                        moved = draft.publish(partial(path_taken, context))
                        output.files.sync()
                        new.file = replace(new.file, path=moved)
                        return
    raise RepositoryError(f"the path {path} is taken by another dataset of {output.root}")


def _give_way(context: Context, all_staged: Sequence[Staged], new: NewDataset, existing: Record) -> UUID:
    """Compare with the winner of a race; reference it if it is the same."""
    output = context.need_output()
    winner = Found(output, existing)
    if new.file is None:
        recorded = output.registry.pins(existing.type, existing.uuid)
        same = content_of(recorded) == content_of(new.pins or ())
    elif (
        existing.file is not None
        and existing.writing == new.writing
        and existing.file.checksum is not None
        and existing.file.checksum == new.file.checksum
    ):
        same = True
    else:
        staged_value = next((s.values[new.uuid] for s in all_staged if new.uuid in s.values), None)
        same = staged_value is not None and same_as_stored(
            context.opener, staged_value[1], staged_value[0], winner, staged_value[2]
        )
    if not same:
        raise Overtaken(
            DatasetExistsError(
                f"{new.type} {new.data_id} was put into {output.root} by somebody else meanwhile, with other content "
                f"(UUID {existing.uuid}); nothing of this put was kept"
            )
        )
    for staged in all_staged:
        if new in staged.changes.datasets:
            staged.changes.datasets.remove(new)
            if new.file is not None:
                for draft in staged.drafts:
                    if draft.published == new.file.path:
                        draft.drop()
        staged.changes.repins = [r for r in staged.changes.repins if r[2] != new.uuid]
        for other in staged.changes.datasets:
            if other.pins is not None:
                other.pins = [replace(p, uuid=existing.uuid) if p.uuid == new.uuid else p for p in other.pins]
    return existing.uuid
