"""What a registry records and what it can be asked; it sees plain values, never anybody's objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from ..dataid import DataId, KeyValue
from ..files.interface import StoredFile
from ..values import dataclass, field

Kinds = Mapping[str, str]
"""Key -> ``int``, ``str`` or ``float``."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How a dataset was written: what is needed to read it whatever the definitions say today."""

    storage: str
    python: str | None = None
    parts: str | None = None
    """Part definitions of a foreign file, JSON."""
    component: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One dataset as recorded; a put composite has no file.

    Attributes
    ----------
    type : str
        Canonical name of the dataset type.
    part : str
        ``""`` for a whole; the part's name for a part dataset (`Butler.copy_to`).
    live : bool
        False once it is in the trash.
    written_at : int
        Microseconds since 1970, UTC.
    trashed_at : int or None
        Microseconds since 1970, UTC, for what is in the trash, if it is known; later than all that went there before
        of its type, even if the clock was set back.
    """

    type: str
    data_id: DataId
    uuid: UUID
    part: str
    live: bool
    file: StoredFile | None
    writing: Writing | None
    written_at: int
    written_by: str
    trashed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """What one component of a put composite was.

    Attributes
    ----------
    component : str
        Dotted path in the composite.
    member : DataId or None
        The member's data ID, if the component is a list.
    type : str
        Canonical name of the pinned dataset's type.
    data_id : DataId
        Its data ID; only a hash of it is kept, so that pins read back have an empty one.
    uuid : UUID or None
        None: the component was absent (or, for a member, a composite that was never put).
    part : str
        The part of the dataset, ``""`` for the whole.
    place : str
        Where it was at the time: repository and path, for messages. ``""`` if a registry need not remember it, since
        the dataset is in the same one: its row says where.
    """

    component: str
    member: DataId | None
    type: str
    data_id: DataId
    uuid: UUID | None
    part: str
    place: str


@dataclass(frozen=True, slots=True)
class Precursor:
    """What a dataset was made from."""

    type: str
    data_id: DataId
    uuid: UUID | None
    place: str


@dataclass(slots=True)
class NewDataset:
    """A dataset to be recorded.

    Attributes
    ----------
    replaces : bool
        Whether a live dataset of that type and data ID goes to the trash in the same transaction.
    pins : sequence of Pin or None
        For a composite.
    metadata : mapping
        Values of header cards and path fields that can be used in ``where``.
    footprint : bytes or None
        Its outline on the sky, as `bunter.sky.outlines` packs it.
    """

    type: str
    kinds: Kinds
    data_id: DataId
    uuid: UUID
    file: StoredFile | None
    writing: Writing | None
    written_at: int
    written_by: str
    part: str = ""
    replaces: bool = False
    pins: Sequence[Pin] | None = None
    precursors: Sequence[Precursor] = ()
    live: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    footprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewRegions:
    """Polygons of values of keys (tracts, patches), to be recorded.

    Attributes
    ----------
    rows : sequence of (mapping, bytes)
        Values of exactly the keys, and their outline.
    replace : bool
        Whether they may take the place of others.
    """

    keys: tuple[str, ...]
    rows: Sequence[tuple[Mapping[str, KeyValue], bytes]]
    replace: bool = False


@dataclass(slots=True)
class Changes:
    """What one put, ingest, delete or transaction changes, all of it or nothing.

    Attributes
    ----------
    implied : dict
        ``(key, ((key, value), ...)) -> value``: facts such as the filter of a visit.
    trashed : list
        ``(type, uuid)`` of datasets that go to the trash.
    restored : list
        ``(type, uuid, replaces)`` of datasets that come back from the trash, after others went there. `replaces`:
        a live one of that type and data ID goes there in the same transaction.
    repins : list
        ``(type, data ID, uuid)`` of leaves that were put by their own names: composites of the repository
        that pin the same (type, data ID) pin these from now on.
    checked : list of StoredFile
        Recorded files with checksums that were not recorded with them; those that have one by now, or are of another
        size or time, are left as they are.
    """

    datasets: list[NewDataset] = field(default_factory=list)
    implied: dict[tuple[str, tuple[tuple[str, KeyValue], ...]], KeyValue] = field(default_factory=dict)
    trashed: list[tuple[str, UUID]] = field(default_factory=list)
    restored: list[tuple[str, UUID, bool]] = field(default_factory=list)
    repins: list[tuple[str, DataId, UUID]] = field(default_factory=list)
    regions: list[NewRegions] = field(default_factory=list)
    checked: list[StoredFile] = field(default_factory=list)

    def __bool__(self) -> bool:
        moved = self.trashed or self.restored or self.repins
        return bool(self.datasets or self.implied or moved or self.regions or self.checked)


class DatasetTaken(Exception):  # noqa: N818 - a signal between rooms, never shown to users
    """Another live dataset of that type and data ID is there already, or one of that very UUID.

    Attributes
    ----------
    existing : Record
        What is there; of the same UUID it can be in the trash.
    """

    def __init__(self, new: NewDataset, existing: Record) -> None:
        super().__init__(new.type, new.data_id)
        self.new = new
        self.existing = existing


class PathTaken(Exception):  # noqa: N818 - a signal between rooms, never shown to users
    """Another file has the path (or one that differs only in case)."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class NotRestored(Exception):  # noqa: N818 - a signal between rooms, never shown to users
    """A dataset cannot come back from the trash.

    Attributes
    ----------
    existing : Record or None
        The live dataset of its type and data ID; None if what was to come back is not there any more.
    """

    def __init__(self, type_: str, uuid: UUID, existing: Record | None) -> None:
        super().__init__(type_, uuid)
        self.type = type_
        self.uuid = uuid
        self.existing = existing


@dataclass(slots=True)
class Forgotten:
    """What a purge has done.

    Attributes
    ----------
    records : list of Record
        The datasets that are forgotten.
    kept : list of (Record, list of Record)
        Those that are not, since composites pin them, and these.
    files : list of StoredFile
        Owned files that nobody needs any more.
    """

    records: list[Record] = field(default_factory=list)
    kept: list[tuple[Record, list[Record]]] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)


class Registry(Protocol):
    """The registry of one repository."""

    def find(self, type_: str, data_id: Mapping[str, KeyValue], part: str = "") -> Record | None:
        """Return the live dataset of a type and a full data ID; a whole wins over a part dataset."""

    def by_uuid(self, type_: str, uuid: UUID, part: str = "") -> Record | None:
        """Return a dataset by its UUID, in the trash or not; a whole wins over a part dataset."""

    def select(
        self,
        type_: str,
        constraints: Mapping[str, KeyValue],
        where: tuple[str, Sequence[Any]] | None = None,
        order_by: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        part: str = "",
    ) -> list[Record]:
        """Return the live datasets that match, in key order or as `order_by` (key, descending) says.

        Part datasets count only if they are of `part`. Constraints on keys that the type does not have are ignored.
        `where` is SQL with ``?`` for the values.
        """

    def data_ids(
        self,
        type_: str,
        constraints: Mapping[str, KeyValue],
        where: tuple[str, Sequence[Any]] | None = None,
        part: str = "",
    ) -> list[tuple[KeyValue, ...]]:
        """Return the data IDs of the live datasets that match, as tuples in the order of `keys_of`, each once.

        Part datasets count only if they are of `part`.
        """

    def parts(self, type_: str) -> list[str]:
        """Return the parts of which there are live part datasets."""

    def metadata(self, type_: str, constraints: Mapping[str, KeyValue]) -> list[tuple[DataId, dict[str, Any]]]:
        """Return what is recorded of the headers of the live datasets that match."""

    def keys_of(self, type_: str) -> tuple[str, ...] | None:
        """Return the recorded keys of a type, None if nothing of that type was ever recorded."""

    def pins(self, type_: str, uuid: UUID, within: Collection[str] | None = None) -> list[Pin]:
        """Return the pins of a composite; if `within` is given, those of these components and of what they hold."""

    def pinned_by(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID | None) -> list[Record]:
        """Return the live composites that pin a dataset (any dataset of that type and data ID if `uuid` is None)."""

    def pinning(self, record: Record) -> list[Record]:
        """Return the composites, live or in the trash, that need this very dataset: they pin it, or a part of it.

        A part dataset is not needed for the other parts of its UUID.
        """

    def precursors(self, type_: str, uuid: UUID) -> list[Precursor]:
        """Return what a dataset was made from."""

    def used_in(self, type_: str, data_id: Mapping[str, KeyValue], uuid: UUID) -> list[Record]:
        """Return the live datasets that were made from a dataset."""

    def implied(self, key: str, by: Mapping[str, KeyValue]) -> KeyValue | None:
        """Return the value of an implied key, None if it is not known."""

    def implied_values(self, key: str) -> dict[tuple[KeyValue, ...], KeyValue]:
        """Return all facts known of an implied key, by the values that imply it (alphabetically by key)."""

    def overlapping(self, type_: str, region: Any) -> list[DataId]:
        """Return the live datasets of a type whose footprints overlap a region."""

    def has_footprints(self, type_: str) -> bool:
        """Tell whether any dataset of a type has a footprint."""

    def outline(self, type_: str, data_id: Mapping[str, KeyValue]) -> bytes | None:
        """Return the footprint of the live dataset of a type and a full data ID."""

    def regions_overlapping(self, keys: Sequence[str], region: Any) -> list[dict[str, KeyValue]]:
        """Return the values of keys whose polygons overlap a region."""

    def region_of(self, values: Mapping[str, KeyValue]) -> bytes | None:
        """Return the polygon recorded for values of keys, None if there is none."""

    def region_keys(self) -> list[tuple[str, ...]]:
        """Return the sets of keys for which there are polygons."""

    def path_taken(self, path: str) -> bool:
        """Tell whether a file has that path, or one of the repository's own has one that differs only in case."""

    def files_at(self, paths: Sequence[str]) -> dict[str, StoredFile]:
        """Return the recorded files at exactly these paths."""

    def datasets_of_file(self, path: str) -> list[Record]:
        """Return the datasets, live or not, that share a file."""

    def types(self) -> dict[str, tuple[str, ...]]:
        """Return every recorded type with its keys."""

    def counts(self) -> dict[str, int]:
        """Return how many live datasets each type has, part datasets not counted."""

    def begin_read(self) -> None:
        """See one state of the registry until `end_read`, whatever others commit meanwhile."""

    def end_read(self) -> None:
        """End what `begin_read` began."""

    def in_doubt(self) -> bool:
        """Tell whether this thread's last `apply`, which raised, may have been committed all the same."""

    def apply(self, all_changes: Sequence[Changes], check: Callable[[], None] | None = None) -> None:
        """Make all changes visible together, in order, after `check` (run inside the transaction) passed.

        Raises
        ------
        DatasetTaken, PathTaken
            If a unique key was taken meanwhile; nothing is changed.
        NotRestored
            If what is to come back from the trash is gone, or another is live in its place; nothing is changed.
        DataIdError
            If an implied fact contradicts a known one, or a type was recorded with other keys; nothing is changed.
        RepositoryError
            If the registry cannot be written; nothing is changed.
        """

    def everything(self) -> Iterator[Record]:
        """Walk over all datasets, live or not."""

    def trashed(self, type_: str, constraints: Mapping[str, KeyValue], before: int | None = None) -> list[Record]:
        """Return what is in the trash of a type and matches, newest first, part datasets too.

        Constraints on keys that the type does not have are ignored. `before`: only what was there by that time, in
        microseconds since 1970.
        """

    def purge(self, records: Iterable[Record], *, force: bool = False) -> Forgotten:
        """Forget datasets that are in the trash, in order; live ones stay, and those that others pin unless `force`.

        A composite that comes before what it pins keeps nothing.
        """

    def close(self) -> None:
        """Close every connection."""
