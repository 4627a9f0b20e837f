"""Storing one dataset: write what is new, or refer to what is there."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from . import __version__
from .assembly import stripped
from .committing import Staged
from .context import Context
from .dataid import DataId, KeyValue
from .definitions.model import StoredType
from .errors import (
    AssemblyError,
    BunterError,
    ConflictError,
    DataIdError,
    DatasetExistsError,
    FormatError,
    IntegrityError,
    RepositoryError,
)
from .files.interface import ClosableSource, StoredFile
from .files.local import LocalDraft
from .formats import find as find_format
from .formats.interface import About, Format
from .locate import Found, Locator, Resolve
from .names import DatasetName
from .plan import Leaf
from .reading import writing_of
from .registry.interface import NewDataset, Pin, Precursor, Record
from .repository import Repository
from .sky.objects import footprint_of
from .values import dataclass, replace
from .words import listing

_TOGETHER = 64
"""How many files of one put are open at once, waiting for the disk."""


@dataclass(slots=True)
class Options:
    """How a put is meant.

    Attributes
    ----------
    discard : frozenset of str
        Components whose changes in memory may be lost: what is stored is kept.
    """

    replace: bool = False
    self_contained: bool = False
    check: bool = True
    discard: frozenset[str] = frozenset()
    precursors: Sequence[Precursor] = ()
    producer: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one component: the dataset that holds it, or that it is absent."""

    type: str
    data_id: DataId
    uuid: UUID | None
    part: str
    place: str

    def pin(self, component: str, member: DataId | None = None) -> Pin:
        """Return the pin of it."""
        return Pin(component, member, self.type, self.data_id, self.uuid, self.part, self.place)


def place_of(found: Found) -> str:
    """Return where a dataset is, for messages of later."""
    path = found.record.file.path if found.record.file is not None else "composite"
    return f"{found.repository.root}: {path}"


def recorded_cards(
    format_: Format, source: ClosableSource, about: About, wanted: Mapping[str, str]
) -> dict[str, str | int | float | bool]:
    """Return what ``metadata`` of a definition takes from a file's header; cards that are lacking are left out."""
    if not wanted:
        return {}
    try:
        cards = format_.cards(source, about, sorted(set(wanted.values())))
    finally:
        source.close()
    found = {name: cards[card] for name, card in wanted.items() if card in cards}
    return {
        name: value.strip() if isinstance(value, str) else value
        for name, value in found.items()
        if isinstance(value, str | bool) or (isinstance(value, int | float) and value - value == 0)
    }


class Storer:
    """Writes and references stored datasets for one put.

    Parameters
    ----------
    context : Context
        Of the Butler's call.
    options : Options
        How it is meant.
    """

    def __init__(self, context: Context, options: Options) -> None:
        self.context = context
        self.options = options
        self.output = context.need_output()
        self.staged = Staged()
        self.data_id: Mapping[str, KeyValue] = {}
        self._locator = context.locator("nearest")
        self.now = time.time_ns() // 1000
        self.by = f"bunter {__version__}" + (f"; {options.producer}" if options.producer else "")
        self._unnamed: list[tuple[LocalDraft, NewDataset, str]] = []

    def exists(self, type_: str, data_id: DataId) -> Found | None:
        """Return the dataset of a type and data ID that the output holds, or a transaction of ours has put.

        What was looked up once in a put counts for all of it: whether it still holds, the commit tells.
        """
        for repository in self.context.nearest_output():
            record = self._locator.direct(repository, type_, data_id)
            if record is not None:
                return Found(repository, record)
        return None

    def locator(self, resolve: Resolve) -> Locator:
        """Return a locator that knows what was looked up."""
        return self.context.locator(resolve, self._locator)

    def twin(self, type_: str, data_id: DataId) -> NewDataset | None:
        """Return the dataset that this very put has written as another component already."""
        for new in self.staged.changes.datasets:
            if new.type == type_ and new.data_id == data_id and new.live and not new.part:
                return new
        return None

    def found(self, new: NewDataset) -> Found:
        """Return a dataset that is written, but not recorded yet, as if it were."""
        record = Record(
            new.type, new.data_id, new.uuid, "", True, new.file, new.writing, new.written_at, new.written_by
        )
        return Found(self.output, record)

    def exists_error(self, name: str, existing: Found) -> DatasetExistsError:
        """Return the error for a dataset that would be overwritten."""
        other = "components"
        if existing.record.file is not None:
            other = f"content ({place_of(existing)}, UUID {existing.record.uuid})"
        return DatasetExistsError(
            f"{name} {existing.record.data_id} exists in {existing.repository.root} with other {other}; nothing was "
            "written. To replace it say replace=True"
        )

    def write(self, value: Any, leaf: Leaf, strip: list[str], *, replaces: bool) -> NewDataset:
        """Write an object, without some of its components, into a file of its own; not visible yet."""
        stored = leaf.stored
        format_ = find_format(stored.storage)
        if not format_.writes or stored.path_fields or stored.template is None or stored.each is not None:
            why = f"{stored.storage} only reads" if not format_.writes else "its files are only ingested"
            raise AssemblyError(f"{stored.name!r} cannot be put: {why}. Define a type with another storage for it")
        if stored.template.text.endswith((".gz", ".bz2")):
            raise AssemblyError(
                f"{stored.name!r} cannot be put: its template ends in .gz or .bz2, which are only read; "
                "compressed files are ingested"
            )
        component = DatasetName.parse(stored.name).component
        about = self.context.opener.about_new(stored, leaf.data_id, component[-1] if component else None)
        path = stored.template.format(self._template_values(stored, leaf.data_id))
        draft = self.output.files.draft(path)
        self.staged.drafts.append(draft)
        try:
            layout = format_.write(stripped(value, strip) if strip else value, draft.stream, about)
            draft.end()
        except (BunterError, MemoryError):
            raise
        except OSError as error:
            raise write_error(error, about.name, self.output) from error
        except Exception as error:
            raise FormatError(
                f"{about.name} cannot be written as {format_.name}: {type(error).__name__}: {error}"
            ) from error
        new = NewDataset(
            stored.name,
            {key: self.context.definitions.key_types[key] for key in stored.keys},
            leaf.data_id,
            uuid4(),
            StoredFile(path, True, draft.size, None, draft.checksum, layout),
            writing_of(stored, about.component),
            self.now,
            self.by,
            replaces=replaces,
            footprint=footprint_of(value),
        )
        self._unnamed.append((draft, new, about.name))
        if len(self._unnamed) >= _TOGETHER:
            self.publish()
        if stored.metadata:
            new.metadata = recorded_cards(format_, self._open(new), about, stored.metadata)
        self.staged.changes.datasets.append(new)
        self.staged.values[new.uuid] = leaf, value, strip
        return new

    def publish(self) -> None:
        """Give every file that was written its name, once it is on disk: all of them are waited for together."""
        waiting, self._unnamed = self._unnamed, []
        for draft, _, _ in waiting if len(waiting) > 1 else ():
            draft.hasten()
        for draft, _, name in waiting:
            try:
                draft.finish()
            except OSError as error:
                raise write_error(error, name, self.output) from error
        for draft, new, _ in waiting:
            assert new.file is not None
            # What a transaction of ours has put is on disk, or else found out when this one is shown.
            path = draft.publish(self.output.registry.path_taken)
            if path != new.file.path:
                self._named(new, path)

    def _named(self, new: NewDataset, path: str) -> None:
        """Note that a file got another name than it was to have: another file has that."""
        assert new.file is not None
        new.file = replace(new.file, path=path)
        place = place_of(self.found(new))
        for other in self.staged.changes.datasets:
            if other.pins is not None and any(pin.uuid == new.uuid for pin in other.pins):
                other.pins = [replace(pin, place=place) if pin.uuid == new.uuid else pin for pin in other.pins]

    def _open(self, new: NewDataset) -> ClosableSource:
        self.publish()
        assert new.file is not None
        return self.output.files.open(new.file)

    def _template_values(self, stored: StoredType, data_id: DataId) -> dict[str, KeyValue]:
        assert stored.template is not None
        values = dict(data_id)
        for key in stored.template.fields:
            if key in values:
                continue
            if key in self.data_id:
                values[key] = self.data_id[key]
                continue
            given = {other: values[other] for other in self.context.definitions.implied.get(key, ())}
            known = self.context.implied_value(key, given) if given else None
            if known is None:
                raise DataIdError(
                    f"{stored.name} {data_id}: the file name needs {key!r}, which is implied by "
                    f"{listing(given)} but not known yet: give it in the data ID this once"
                )
            values[key] = known
        return values

    def note_implied(self, data_id: Mapping[str, KeyValue]) -> None:
        """Record the implied keys that a data ID gives."""
        for key, given in self.context.definitions.implied.items():
            if key in data_id and all(other in data_id for other in given):
                fact = key, tuple((other, data_id[other]) for other in given)
                self.staged.changes.implied[fact] = data_id[key]

    def refuse_pinned(self, composite: str, data_id: DataId, name: str, existing: Found) -> None:
        """Refuse to replace a component that another put composite pins, now or at the commit."""

        def check() -> None:
            record = existing.record
            for repository in self.context.nearest_output():
                for holder in repository.registry.pinned_by(record.type, record.data_id, record.uuid):
                    itself = holder.type == composite and holder.data_id == data_id
                    if not itself and holder.uuid not in self.context.chain.hidden:
                        raise ConflictError(
                            f"{composite} {data_id}: {name!r} ({record.type} {record.data_id}) is also part of "
                            f"{holder.type} {holder.data_id}, which was put in {repository.root}. Nothing was written. "
                            f"Replace it by its own name if that is meant: put(..., {record.type!r}, replace=True)"
                        )

        check()
        self.staged.checks.append(check)

    def relies_on(self, found: Found) -> None:
        """Note that a dataset is referred to; those of other repositories are not this one's to watch."""
        if found.repository is self.output:
            self.staged.relies_on(found)

    def referenced(self, leaf: Leaf, found: Found) -> Stored:
        """Refer to a dataset that is there; copy it first if the put is to be self-contained."""
        if self.options.self_contained and found.repository not in self.context.nearest_output():
            self._copy_here(found)
        self.relies_on(found)
        return Stored(found.record.type, leaf.data_id, found.record.uuid, leaf.part, place_of(found))

    def _copy_here(self, found: Found) -> None:
        """Copy a referenced file into the output, its UUID kept."""
        record, registry = found.record, found.repository.registry
        staged = self.staged.changes.datasets
        if record.file is None or any((new.uuid, new.part) == (record.uuid, record.part) for new in staged):
            return
        if self.output.registry.by_uuid(record.type, record.uuid, record.part) is not None:
            return
        source = found.repository.open_file(record.file)
        stored = self.context.definitions.types.get(record.type)
        name = record.file.path if record.file.owned else record.file.path.rsplit("/", 1)[-1]
        draft = self.output.files.draft(name)
        self.staged.drafts.append(draft)
        try:
            at, step = 0, 1 << 24
            layout = source.layout
            while at < source.size:
                draft.stream.write(source.read_range(at, min(step, source.size - at)))
                at += step
            draft.finish()
            if record.file.checksum is not None and draft.checksum != record.file.checksum:
                raise IntegrityError(f"{source.name} is not the file that was written (its checksum differs)")
            path = draft.publish(self.output.registry.path_taken)
        except IntegrityError as error:
            raise IntegrityError(f"{record.type} {record.data_id}: {error}; it was not copied") from error
        except OSError as error:
            raise write_error(error, f"{record.type} {record.data_id}", self.output) from error
        finally:
            source.close()
        kinds = self.context.definitions.key_types
        self.staged.changes.datasets.append(
            NewDataset(
                record.type,
                {key: kinds[key] for key in (stored.keys if isinstance(stored, StoredType) else record.data_id)},
                record.data_id,
                record.uuid,
                StoredFile(path, True, draft.size, None, draft.checksum, layout),
                record.writing,
                record.written_at,
                record.written_by,
                part=record.part,
                metadata=next((cards for _, cards in registry.metadata(record.type, record.data_id)), {}),
                footprint=registry.outline(record.type, record.data_id) if record.live and not record.part else None,
                live=self.exists(record.type, record.data_id) is None
                and self.twin(record.type, record.data_id) is None,
            )
        )


def write_error(error: OSError, name: str, output: Repository) -> RepositoryError:
    """Return what is said of a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RepositoryError(f"{name} was not written: the disk of {output.root} is full ({error.strerror})")
    return RepositoryError(f"{name} was not written into {output.root}: {error.strerror or error}")
