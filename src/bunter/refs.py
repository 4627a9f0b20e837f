"""References to datasets: what queries give and puts return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .dataid import DataId
from .errors import DatasetNotFoundError
from .registry.interface import Pin, Precursor, Record

if TYPE_CHECKING:
    from .locate import Found
    from .names import DatasetName
    from .querying import Rows
    from .session import Session


class DatasetRef:
    """One dataset: its name, its data ID, and where it is.

    Attributes
    ----------
    name : str
        The dotted name that was asked for.
    data_id : DataId
        The full data ID.
    """

    def __init__(
        self,
        butler: Session,
        name: DatasetName,
        data_id: DataId,
        found: Found | None = None,
        pins: dict[UUID, list[Pin]] | None = None,
        lost: Precursor | None = None,
    ) -> None:
        self._butler = butler
        self._name = name
        self.name = str(name)
        self.data_id = data_id
        self._found = found
        self._looked = found is not None or lost is not None
        # What was recorded of a dataset that is in no repository that is searched.
        self._lost = lost
        # What a put wrote and referenced: its reference keeps to that, whatever is repinned later.
        self._pins = pins

    def _find(self) -> Found | None:
        if not self._looked:
            self._found = self._butler._nearest(self._name, self.data_id)
            self._looked = True
        return self._found

    @property
    def uuid(self) -> UUID | None:
        """The dataset's UUID; None for a composite that was never put."""
        found = self._find()
        if self._lost is not None:
            return self._lost.uuid
        return None if found is None else found.record.uuid

    @property
    def repository(self) -> str | None:
        """The root of the repository that holds it; of a composite that was never put, that of its nearest leaf."""
        found = self._find()
        if self._lost is not None:
            return None
        return self._butler._repository_of(self._name, self.data_id) if found is None else found.repository.root

    @property
    def uri(self) -> str | None:
        """Where its file is; None for a composite."""
        found = self._find()
        if found is None or found.record.file is None:
            return None
        return found.repository.files.uri(found.record.file.path)

    @property
    def precursors(self) -> list[Precursor]:
        """What it was made from, as recorded at put."""
        found = self._find()
        holder = None if found is None else self._butler._holder(found)
        if holder is None:
            return []
        return holder.repository.registry.precursors(holder.record.type, holder.record.uuid)

    def get(self, component: str | None = None, **options: Any) -> Any:
        """Read it, or one of its components; options as of `Butler.get`.

        The reference that a put returned keeps to the UUIDs of that put for good.
        """
        if self._lost is not None:
            raise DatasetNotFoundError(
                f"{self.name} {self.data_id} with UUID {self._lost.uuid} is in none of the repositories that are "
                f"searched; it was at {self._lost.place or 'a place that was not recorded'}"
            )
        name = self._name
        if component is not None:
            name = name.with_component((*name.component, *component.split(".")))
        return self._butler._get_ref(self, name, options)

    def __reduce__(self) -> tuple[Any, ...]:
        found = None if self._found is None else (self._found.repository.id, self._found.record)
        return _restored, (self._butler, self._name, self.data_id, found, self._pins)

    def __repr__(self) -> str:
        return f"<DatasetRef {self.name} {self.data_id}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DatasetRef):
            return NotImplemented
        return self.name == other.name and self.data_id == other.data_id and self.uuid == other.uuid

    def __hash__(self) -> int:
        return hash((self.name, self.data_id))


def _restored(
    butler: Session,
    name: DatasetName,
    data_id: DataId,
    found: tuple[UUID, Record] | None,
    pins: dict[UUID, list[Pin]] | None,
) -> DatasetRef:
    """Return a reference that was pickled, on the Butler that was pickled with it."""
    return DatasetRef(butler, name, data_id, None if found is None else butler._found_again(*found), pins)


class DeferredDataset:
    """A dataset that is read when it is asked for.

    Attributes
    ----------
    ref : DatasetRef
        What will be read.
    """

    is_deferred = True

    def __init__(self, ref: DatasetRef) -> None:
        self.ref = ref

    def get(self, component: str | None = None, **options: Any) -> Any:
        """Read it, or one of its components; options as of `Butler.get`."""
        return self.ref.get(component, **options)

    def stands_for(self, name: DatasetName, data_id: Mapping[str, Any]) -> bool:
        """Tell whether it is the dataset of a name and a data ID."""
        return self.ref._name == name and all(self.ref.data_id.get(key) == value for key, value in data_id.items())

    def __repr__(self) -> str:
        return f"<DeferredDataset {self.ref.name} {self.ref.data_id}>"


class Query:
    """The datasets that a query found, in key order.

    Iterate over it for `DatasetRef`; the data IDs are known at once, the rest when asked for.
    """

    def __init__(self, butler: Session, name: DatasetName, rows: Rows) -> None:
        self._butler = butler
        self._name = name
        self._rows = rows

    def __iter__(self) -> Iterator[DatasetRef]:
        keys = self._rows.keys
        for row in self._rows.rows:
            yield DatasetRef(self._butler, self._name, DataId(zip(keys, row, strict=True)))

    def __len__(self) -> int:
        return len(self._rows.rows)

    def count(self) -> int:
        """Return how many there are."""
        return len(self)

    def first(self) -> DatasetRef | None:
        """Return the first, or None."""
        return next(iter(self), None)

    @property
    def data_ids(self) -> list[DataId]:
        """The data IDs, in order."""
        return self._rows.data_ids()

    def to_table(self) -> Any:
        """Return an `astropy.table.Table` with a column a key."""
        from astropy.table import Table
        from numpy import array

        # An aggregate without keys of its own has the data ID that was asked for.
        keys = self._rows.keys if self._rows.rows else self._butler.keys(str(self._name))
        columns = zip(*self._rows.rows, strict=True) if self._rows.rows else [() for _ in keys]
        # Of a list the Table would look at every value: it may be masked, or a quantity.
        return Table({key: array(column) for key, column in zip(keys, columns, strict=True)}, copy=False)

    def __repr__(self) -> str:
        return f"<Query of {self._name}: {len(self)} datasets>"
