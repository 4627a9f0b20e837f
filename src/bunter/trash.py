"""The trash: what is in it, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .committing import Staged
from .components import match_component
from .context import Context
from .dataid import DataId, KeyValue
from .definitions.model import PartOfType, StoredType
from .errors import (
    AssemblyError,
    DataIdError,
    DatasetExistsError,
    DatasetNotFoundError,
    IntegrityError,
    ParameterError,
)
from .locate import Found
from .names import DatasetName
from .refs import DatasetRef
from .registry.interface import Changes, NewDataset, Pin, Record
from .repository import Overlay, Repository
from .tracing import pins_now
from .values import dataclass, field, replace
from .words import listing, shown

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True, repr=False)
class Trashed:
    """A dataset that is in the trash.

    Attributes
    ----------
    name : str
        The dataset type; of a part dataset, with the part.
    data_id : DataId
        The full data ID.
    uuid : UUID
        By which pins find it.
    trashed_at : datetime or None
        When it went there, UTC; None if that is not known.
    size : int or None
        Bytes of its file; None for a composite.
    uri : str or None
        Where its file is; None for a composite.
    """

    name: str
    data_id: DataId
    uuid: UUID
    trashed_at: datetime | None
    size: int | None
    uri: str | None
    _session: Session = field(compare=False)
    _found: Found = field(compare=False)

    @property
    def ref(self) -> DatasetRef:
        """A reference to this very dataset."""
        context = self._session._current()
        return DatasetRef(
            self._session, DatasetName.parse(self.name), self.data_id, self._found, pins_now(context, self._found)
        )

    def get(self, component: str | None = None, **options: Any) -> Any:
        """Read it, or one of its components; options as of `Butler.get`."""
        return self.ref.get(component, **options)

    def __repr__(self) -> str:
        since = "" if self.trashed_at is None else f" since {self.trashed_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"<Trashed {self.name} {self.data_id}{since}, UUID {self.uuid}>"


# What is in it


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the trash a call is about.

    Attributes
    ----------
    type : str or None
        Canonical name of a stored dataset or a composite; None for all.
    part : str
        A part dataset of it.
    data_id : mapping
        What the data IDs have to agree with.
    """

    type: str | None
    part: str
    data_id: Mapping[str, KeyValue]


def meant(context: Context, name: str | None, data_id: Mapping[str, Any] | None, keys: Mapping[str, Any]) -> Wanted:
    """Return what a user's name and partial data ID mean.

    Raises
    ------
    DataIdError
        If the type does not have a key.
    """
    if name is None:
        return Wanted(None, "", context.data_id(data_id, keys))
    full_name, standard = context.resolve(name, data_id, keys)
    return Wanted(*target(context, full_name), context.complete(full_name, standard, strict=True))


def target(context: Context, name: DatasetName) -> tuple[str, str]:
    """Return the type, and the part of it, whose datasets a name stands for."""
    definition, rest = context.definitions.resolve(name)
    if isinstance(definition, PartOfType):
        whole = DatasetName.parse(definition.target)
        return target(context, whole.with_component(whole.component + rest))
    if not rest:
        return definition.name, ""
    if isinstance(definition, StoredType):
        return definition.name, match_component(rest[0], context.opener.declared(definition)) or rest[0]
    components = context.planner.components(definition.name)
    chosen = match_component(rest[0], components)
    if chosen is None:
        raise AssemblyError(f"{str(name)!r} is no dataset of its own: {definition.name!r} has {listing(components)}")
    inner = DatasetName.parse(components[chosen].dataset_type)
    return target(context, inner.with_component(inner.component + rest[1:]))


def in_trash(context: Context, repository: Repository, asked: Wanted, before: int | None = None) -> Iterator[Record]:
    """Walk over what is in the trash of a repository, each type's newest first, as an open transaction sees it."""
    types = repository.registry.types()
    first = context.chain.order[0]
    overlay = first if isinstance(first, Overlay) and repository in first.parents else None
    if overlay is not None:
        types |= overlay.registry.types()
    for type_ in types if asked.type is None else [asked.type]:
        keys = types.get(type_)
        if keys is None or (asked.type is None and not set(asked.data_id) <= set(keys)):
            continue
        found: Iterable[Record] = repository.registry.trashed(type_, asked.data_id, before)
        if overlay is not None:
            found = _with_overlay(context, overlay, repository, type_, asked, found)
        yield from (record for record in found if not asked.part or record.part == asked.part)


def _with_overlay(
    context: Context, overlay: Overlay, repository: Repository, type_: str, asked: Wanted, found: Iterable[Record]
) -> Iterator[Record]:
    """Walk over what a transaction has put into the trash, then over what is there and has not come back in it."""
    yield from overlay.registry.trashed(type_, asked.data_id)
    for uuid in context.chain.hidden:
        record = repository.registry.by_uuid(type_, uuid)
        if record is None or not record.live or overlay.registry.by_uuid(type_, uuid) is not None:
            continue
        if all(record.data_id.get(key) == value for key, value in asked.data_id.items() if key in record.data_id):
            yield replace(record, live=False)
    for record in found:
        if overlay.registry.by_uuid(type_, record.uuid, record.part) is None:
            yield record


def trashed(session: Session, repository: Repository, record: Record) -> Trashed:
    """Return a record of the trash as users see it."""
    file = record.file
    return Trashed(
        str(name_of(record)),
        record.data_id,
        record.uuid,
        _moment(record.trashed_at),
        None if file is None else file.size,
        None if file is None else repository.files.uri(file.path),
        session,
        Found(repository, record),
    )


def _moment(microseconds: int | None) -> datetime | None:
    try:
        return None if not microseconds else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return None


# What comes back


def of_reference(given: DatasetRef | Trashed) -> tuple[str, Wanted, UUID]:
    """Return the name of what a reference is of, and what of the trash that is.

    Raises
    ------
    DatasetNotFoundError
        If it is of a composite that was never put.
    """
    if isinstance(given, Trashed):
        given = given.ref
    if not isinstance(given, DatasetRef):
        raise ParameterError(f"restore takes a name, a DatasetRef or a Trashed, not a {type(given).__name__}")
    found = given._find()
    if given._lost is not None:
        return given._lost.type, Wanted(given._lost.type, "", given._lost.data_id), given._lost.uuid or UUID(int=0)
    if found is None:
        raise DatasetNotFoundError(f"{given.name} {given.data_id} was never put as such: there is nothing to restore")
    record = found.record
    return str(name_of(record)), Wanted(record.type, record.part, record.data_id), record.uuid


def name_of(record: Record) -> DatasetName:
    """Return the name of a dataset; of a part dataset that of the part."""
    name = DatasetName.parse(record.type)
    return name.with_component((*name.component, record.part)) if record.part else name


def find_trashed(context: Context, name: str, asked: Wanted, given: UUID | str | None) -> Record:
    """Return the dataset that is to come back: the newest one, or that with a UUID; that one may be live again.

    Raises
    ------
    DatasetNotFoundError
        If it is not in the trash of the output; says what is.
    """
    output = context.need_output()
    uuid = _uuid(given)
    there: dict[DataId, Record] = {}
    for record in in_trash(context, output, asked):
        if uuid is None or record.uuid == uuid:
            there.setdefault(record.data_id, record)
    if there and uuid is None and not _is_full(asked, next(iter(there))):
        raise DataIdError(
            f"{name!r} with {DataId(asked.data_id)} does not say which: in the trash of {output.root} there are "
            f"{listing(there)}"
        )
    if there:
        return next(iter(there.values()))
    if uuid is not None and asked.type is not None:
        for repository in context.nearest_output():
            live = repository.registry.by_uuid(asked.type, uuid)
            if live is not None and live.live:
                return live
    everything = in_trash(context, output, Wanted(asked.type, asked.part, {}))
    others = dict.fromkeys(record.data_id for record in everything)
    which = f" with UUID {uuid}" if uuid is not None else ""
    raise DatasetNotFoundError(
        f"there is no {name} {DataId(asked.data_id)}{which} in the trash of {output.root}: it was never there, it came "
        f"back, or it was purged. Of {name} there are in the trash: {listing(others)}",
        [output.root],
    )


def _uuid(given: UUID | str | None) -> UUID | None:
    try:
        return given if given is None or isinstance(given, UUID) else UUID(given)
    except (ValueError, AttributeError, TypeError):
        raise ParameterError(f"uuid={shown(given)} is no UUID") from None


def _is_full(asked: Wanted, data_id: DataId) -> bool:
    return all(key in asked.data_id for key in data_id)


def stage_restore(context: Context, record: Record, *, replaces: bool) -> Staged:
    """Prepare that a dataset comes back; what would be broken then is an error, and changes nothing.

    Raises
    ------
    DatasetExistsError
        If a live one has its place, unless it `replaces` that.
    IntegrityError
        If its file is not what was recorded.
    DatasetNotFoundError
        If a composite is made of something that was purged.
    """
    output = context.need_output()
    existing = _in_its_place(context, record)
    if existing is not None and not replaces:
        raise DatasetExistsError(
            f"{record.type} {record.data_id} exists in {output.root} (UUID {existing.uuid}); the one in the trash "
            f"(UUID {record.uuid}) was not restored. To let them change places say replace=True"
        )
    same = Wanted(record.type, "", record.data_id)
    rows = [row for row in in_trash(context, output, same) if row.uuid == record.uuid]
    for row in rows:
        _check_file(output, row)
        _check_pins(context, row)
    changes = Changes(restored=[(record.type, record.uuid, replaces)])
    if any(not row.part for row in rows):
        changes.repins.append((record.type, record.data_id, record.uuid))
    first = context.chain.order[0]
    if isinstance(first, Overlay) and rows:
        _show(context, first, rows, existing, changes)
    return Staged(changes, checks=[partial(_check_pins, context, row) for row in rows if row.file is None])


def _in_its_place(context: Context, record: Record) -> Record | None:
    locator = context.locator("nearest")
    for repository in context.nearest_output():
        existing = locator.direct(repository, record.type, record.data_id, record.part)
        if existing is not None and existing.uuid != record.uuid:
            return existing
    return None


def _check_file(output: Repository, record: Record) -> None:
    if record.file is None:
        return
    source = output.open_file(record.file)
    try:
        source.read_range(0, 0)
    except IntegrityError as error:
        raise IntegrityError(f"{record.type} {record.data_id} stays in the trash: {error}") from error
    finally:
        source.close()


def _check_pins(context: Context, record: Record) -> None:
    """Refuse to bring back a composite that could not be read."""
    waiting, seen = [record], set()
    while waiting:
        here = waiting.pop()
        for pin in _pins(context, here):
            if pin.uuid is None or pin.uuid in seen:
                continue
            seen.add(pin.uuid)
            there = _anywhere(context, pin)
            if there is None:
                raise DatasetNotFoundError(
                    f"{record.type} {record.data_id} stays in the trash: its {pin.component!r}, {pin.type} with UUID "
                    f"{pin.uuid}, was purged; it was at {pin.place or 'a place that was not recorded'}",
                    [repository.root for repository in context.chain.order],
                )
            waiting.append(there)


def _pins(context: Context, record: Record) -> list[Pin]:
    for repository in context.chain.order if record.file is None else ():
        if repository.registry.by_uuid(record.type, record.uuid) is not None:
            return repository.registry.pins(record.type, record.uuid)
    return []


def _anywhere(context: Context, pin: Pin) -> Record | None:
    if pin.uuid is not None:
        for repository in context.chain.order:
            record = repository.registry.by_uuid(pin.type, pin.uuid, pin.part)
            if record is not None:
                return record
    return None


def _show(context: Context, overlay: Overlay, rows: Sequence[Record], existing: Record | None, done: Changes) -> None:
    """Let the open transaction see what will have come back at its end."""
    changes = Changes(repins=done.repins)
    if existing is not None:
        changes.trashed.append((existing.type, existing.uuid))
        context.chain.hidden.add(existing.uuid)
    first = rows[0]
    registry = context.need_output().registry
    there = registry.by_uuid(first.type, first.uuid, first.part)
    if overlay.registry.by_uuid(first.type, first.uuid, first.part) is not None:
        changes.restored.append((first.type, first.uuid, False))
    elif there is not None and not there.live:
        for row in rows:
            pins = [_with_data_id(context, pin) for pin in registry.pins(row.type, row.uuid)]
            kinds = {key: context.definitions.key_types[key] for key in row.data_id}
            changes.datasets.append(
                NewDataset(
                    row.type, kinds, row.data_id, row.uuid, row.file, row.writing, row.written_at, row.written_by,
                    part=row.part, pins=pins or None, precursors=registry.precursors(row.type, row.uuid),
                )
            )  # fmt: skip
    context.chain.hidden.discard(first.uuid)
    context.show(changes)


def _with_data_id(context: Context, pin: Pin) -> Pin:
    record = _anywhere(context, pin)
    return pin if record is None else replace(pin, data_id=record.data_id)
