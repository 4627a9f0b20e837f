"""Committing: what was prepared becomes visible together, and races are decided by the registry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from .comparing import same_as_stored
from .context import Context
from .errors import DatasetExistsError, RepositoryError
from .files.local import LocalDraft
from .locate import Found
from .plan import Leaf
from .registry.interface import Changes, DatasetTaken, NewDataset, PathTaken, Record
from .repository import Repository


@dataclass(slots=True)
class Staged:
    """What a put has prepared: files that are there, rows that are not visible yet.

    Attributes
    ----------
    values : dict
        UUID of a new dataset -> (leaf, object, stripped components), to compare with a winner.
    moved : list of str
        Files elsewhere that were copied and are to go once their datasets are visible.
    """

    changes: Changes = field(default_factory=Changes)
    drafts: list[LocalDraft] = field(default_factory=list)
    values: dict[UUID, tuple[Leaf, Any, list[str]]] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)

    def drop(self) -> None:
        """Remove every file that was prepared."""
        for draft in self.drafts:
            draft.drop()
        self.drafts.clear()


def commit(context: Context, all_staged: Sequence[Staged]) -> dict[UUID, UUID]:
    """Make staged changes visible in the output in one short transaction."""
    output = context.need_output()
    given_way: dict[UUID, UUID] = {}
    while True:
        all_changes = [staged.changes for staged in all_staged]
        if not any(all_changes):
            return given_way
        try:
            output.registry.apply(all_changes)
            break
        except PathTaken as taken:
            _next_mark(output, all_staged, taken.path)
        except DatasetTaken as taken:
            given_way[taken.new.uuid] = _give_way(context, all_staged, taken.new, taken.existing)
    for staged in all_staged:
        for path in staged.moved:
            os.unlink(path)
    return given_way


def _next_mark(output: Repository, all_staged: Sequence[Staged], path: str) -> None:
    for staged in all_staged:
        for new in staged.changes.datasets:
            if new.file is not None and new.file.owned and new.file.path == path:
                for draft in staged.drafts:
                    if draft.published == path:
                        moved = draft.publish(output.registry.path_taken)
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
        same = {(p.component, p.member, p.uuid, p.part) for p in recorded} == {
            (p.component, p.member, p.uuid, p.part) for p in new.pins or ()
        }
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
        raise DatasetExistsError(
            f"{new.type} {new.data_id} was put into {output.root} by somebody else meanwhile, with other content "
            f"(UUID {existing.uuid}); nothing of this put was kept"
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
