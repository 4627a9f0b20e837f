"""Deleting: what goes to the trash, and who is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from .context import Context
from .dataid import DataId, KeyValue
from .errors import AssemblyError, DatasetNotFoundError, InUseError
from .names import DatasetName
from .plan import Branch, Leaf, Node
from .registry.interface import Record
from .words import listing


def stage_delete(
    context: Context, name: DatasetName, full_id: Mapping[str, KeyValue], wanted: UUID | None, *, force: bool
) -> tuple[str, UUID, Callable[[], None]]:
    """Return the type and UUID of what is to be deleted, and a check that nobody is made of it.

    Parameters
    ----------
    wanted : UUID or None
        The dataset must still be this one.

    Raises
    ------
    DatasetNotFoundError
        If the output repository does not hold it.
    """
    output = context.need_output()
    branch = context.expand(name, full_id)
    while isinstance(branch, Node) and branch.take:
        branch = branch.branches[branch.take]
    if isinstance(branch, Leaf) and not branch.part:
        type_, own_id = branch.stored.name, branch.data_id
    elif isinstance(branch, Node) and not branch.derive:
        type_, own_id = branch.composite.name, branch.data_id
    else:
        raise AssemblyError(f"{str(name)!r} is a part of a dataset and cannot be deleted by itself")
    record = _present(context, type_, own_id)
    if record is None:
        raise DatasetNotFoundError(
            f"{output.root} holds no {type_} {own_id}: {_why(context, branch, type_, own_id)}", [output.root]
        )
    if wanted is not None and wanted != record.uuid:
        raise DatasetNotFoundError(
            f"{type_} {own_id} with UUID {wanted} is not what {output.root} holds now (UUID {record.uuid})",
            [output.root],
        )

    def in_use() -> None:
        holders = [
            holder
            for repository in context.nearest_output()
            for holder in (
                *repository.registry.pinned_by(type_, own_id, record.uuid),
                *repository.registry.used_in(type_, own_id, record.uuid),
            )
            if holder.uuid not in context.chain.hidden and holder.uuid != record.uuid
        ]
        if holders and not force:
            named = listing(dict.fromkeys(f"{holder.type} {holder.data_id}" for holder in holders))
            raise InUseError(
                f"{type_} {own_id} is not deleted: {named} in {output.root} is made of it. Delete that first, or "
                "say force=True (it stays readable for them until the trash is purged)"
            )

    return type_, record.uuid, in_use


def _present(context: Context, type_: str, data_id: DataId) -> Record | None:
    """Return the live dataset of the output, or if there are only parts of it, one of these: they go together."""
    locator = context.locator("nearest")
    for repository in context.nearest_output():
        for part in ("", *repository.registry.parts(type_)):
            record = locator.direct(repository, type_, data_id, part)
            if record is not None:
                return record
    return None


def _why(context: Context, branch: Branch, type_: str, data_id: DataId) -> str:
    """Return why a dataset cannot be deleted that the output does not hold."""
    for repository in context.chain.beyond(context.need_output())[1:]:
        if repository.registry.find(type_, data_id) is not None:
            return (
                f"it is in the parent {repository.root}, and only datasets of the output can be deleted. To delete it "
                f"there, open that: Butler(outputs={repository.root!r})"
            )
    if isinstance(branch, Node):
        return "it was never put as such; its components have names of their own"
    return "only datasets of the output can be deleted"
