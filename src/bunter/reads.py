"""The calls of a Butler that read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .choices import check_choice
from .dataid import DataId
from .errors import (
    AssemblyError,
    DatasetNotFoundError,
    IntegrityError,
    RepositoryError,
)
from .locate import RESOLVES, Located, LocatedBranch, LocatedNode, Resolve, lacking, located_leaves
from .reading import Reader, check_complete
from .refs import DatasetRef, DeferredDataset, Query
from .session import Session, one_of

if TYPE_CHECKING:
    from .plan_view import Plan
    from .reading import Progress
    from .scanning import Scan
    from .trash import Trashed
    from .verifying import Report


class Reads(Session):
    """Read datasets, say where they are, find them."""

    def get(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        as_type: Any = None,
        share: bool | None = None,
        resolve: Resolve = "pinned",
        progress: Progress | None = None,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Any:
        """Read a dataset or a component of one.

        Parameters
        ----------
        name : str
            ``type[:stage][.component]``.
        data_id : mapping, optional
            Keys and values; more as keywords.
        parameters : mapping, optional
            ``{"bbox": (slice(y0, y1), slice(x0, x1))}`` (half-open, zero-based array coordinates),
            ``{"columns": [...]}``.
        as_type : type, optional
            Convert what is read. ``pyarrow.dataset.Dataset`` reads nothing yet: of Parquet files, one or all members
            of an aggregate, to be scanned by columns and rows.
        share : bool, optional
            Hand out frozen objects that were loaded before; default as the Butler was made.
        resolve : {"pinned", "nearest", "exact"}
            ``nearest`` ignores pins, ``exact`` takes them even where a nearer repository masks them.
        progress : callable, optional
            Called with (done, total) files.

        Raises
        ------
        DatasetNotFoundError
            Names what is missing, and where it was looked for.
        DataIdError, DatasetNameError, DatasetTypeNotFoundError, ComponentNotFoundError, ParameterError
            For what was asked wrongly.
        AmbiguousDatasetError
            If two repositories disagree.
        IntegrityError, FormatError
            If a file is not what was written.
        """
        check_choice("resolve", resolve, RESOLVES)
        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        branch = context.expand(full_name, full_id)
        located = context.locate(branch, resolve)
        while True:
            try:
                return self._read(located, full_name, full_id, parameters, as_type, share, progress)
            except IntegrityError:
                # What was replaced since it was located may have been purged, too.
                before, located = located, context.locate(branch, resolve)
                if _uuids(located) == _uuids(before):
                    raise

    def exists(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> bool:
        """Tell whether `get` would succeed, as far as the registries know.

        Raises
        ------
        DataIdError
            If the data ID is incomplete.
        """
        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        located = context.locate(context.expand(full_name, full_id))
        return not any(True for _ in lacking(located))

    def plan(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        resolve: Resolve = "pinned",
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Plan:
        """Say where every part of a get would come from, missing ones too; print it for a tree.

        With ``parameters={"columns": [...]}`` it says which columns would be read of which tables; for that, the
        headers of tables that are joined are looked at.
        """
        from .plan_view import Plan

        check_choice("resolve", resolve, RESOLVES)
        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        located = context.locate(context.expand(full_name, full_id), resolve)
        reader = Reader(self._opener, None, parameters or {}, self._deferred)
        choice = reader.choice(located, f"{full_name} {DataId(full_id)}") if (parameters or {}).get("columns") else None
        return Plan(str(full_name), context.own_data_id(full_name, full_id), located, self._opener, choice)

    def defer(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> DeferredDataset:
        """Return a dataset that is read when it is asked for; it must exist."""
        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        located = context.locate(context.expand(full_name, full_id))
        check_complete(located, str(full_name), full_id)
        return DeferredDataset(self._ref(context, full_name, full_id, located))

    def scan(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        as_type: Any = None,
        progress: Progress | None = None,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Scan:
        """Go through a table that may be larger than memory, one member of the aggregate at a time.

        Parameters
        ----------
        name : str
            An aggregate (of `concat_rows`), a list component of tables, or any one table.
        columns : list of str, optional
            Read only these.
        where : str, optional
            A condition that rows have to meet, over their columns: ``"mag < 20 and flag = 0"``. Members of which the
            data ID alone says that none does (``concat_rows(patch)``) are not read.
        as_type : type, optional
            Convert each table.
        progress : callable, optional
            Called with (done, total) members.

        Returns
        -------
        Scan
            Iterates over (data ID, table); ``to_table()``, ``to_reader()`` (a `pyarrow.RecordBatchReader`).

        Raises
        ------
        DatasetNotFoundError
            Names every member that is missing.
        """
        from .scanning import Members, Scan

        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        located = context.locate(context.expand(full_name, full_id))
        text = f"{full_name} {DataId(full_id)}"

        def read(branch: LocatedBranch, member: Mapping[str, Any], wanted: Sequence[str] | None) -> Any:
            parameters = {} if wanted is None else {"columns": wanted}
            return Reader(self._opener, None, parameters, self._deferred).read(branch, str(full_name), member)

        parts = Members(located, str(full_name), full_id, self._opener)
        return Scan(text, parts, read, columns=columns, where=where, as_type=as_type, progress=progress)

    def uri(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> str:
        """Return where the file of a stored dataset, or of a part of one, is.

        Raises
        ------
        AssemblyError
            For a composite, which has no file of its own.
        """
        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        located = context.locate(context.expand(full_name, full_id))
        while isinstance(located, LocatedNode) and located.node.take:
            located = located.branches[located.node.take]
        if not isinstance(located, Located):
            raise AssemblyError(
                f"{str(full_name)!r} is made of several files: print(butler.plan({str(full_name)!r}, ...)) names them"
            )
        check_complete(located, str(full_name), full_id)
        if located.found is None or located.found.record.file is None:
            raise DatasetNotFoundError(f"{full_name} {DataId(full_id)} is absent", located.searched)
        return located.found.repository.files.uri(located.found.record.file.path)

    def query(
        self,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        where: str | None = None,
        region: Any = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Query:
        """Find the datasets of a name.

        Parameters
        ----------
        name : str
            ``type[:stage][.component]``; of a composite, the data IDs whose required leaves all resolve.
        data_id : mapping, optional
            Constraints; more as keywords.
        where : str, optional
            An expression over keys: ``"tract = 0 and filter in ('g', 'r')"``.
        region : Region, str, tuple or dict, optional
            A `bunter.sky.Circle`, `Box` or `Polygon` (degrees, ICRS), or what `bunter.sky.region` makes one of: only
            datasets whose footprints overlap it, else whose tracts and patches do (`add_regions`).
        order_by : str or list of str, optional
            Keys; a leading ``-`` means descending. Then in key order.
        limit : int, optional
            At most so many.
        """
        from .searching import search

        context = self._current()
        full_name, standard = context.resolve(name, one_of(data_id, dataId), keys)
        return Query(self, full_name, search(context, full_name, standard, where, order_by, limit, region))

    def trashed(
        self,
        name: str | None = None,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> list[Trashed]:
        """Return what is in the trash of the output, or of the repository that was opened read-only; newest first.

        Each has ``name``, ``data_id``, ``uuid``, ``trashed_at``, ``size``, ``uri``, ``ref``, and can be read with
        ``get()``. Inside a transaction, what it has deleted and replaced is there, too.

        Parameters
        ----------
        name : str, optional
            ``type[:stage]``; only datasets of this type.
        data_id : mapping, optional
            Only datasets whose data IDs agree with these keys and values; more as keywords.
        """
        from .trash import in_trash, meant, trashed

        context = self._current()
        asked = meant(context, name, one_of(data_id, dataId), keys)
        places = list(self._starts) if context.output is None else [context.output]
        found = [trashed(self, place, record) for place in places for record in in_trash(context, place, asked)]
        # Of what went in one transaction each place's order stays; what has no time yet is of an open one.
        return sorted(found, key=lambda item: -math.inf if item.trashed_at is None else -item.trashed_at.timestamp())

    def made_from(
        self,
        ref_or_name: DatasetRef | str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        deep: bool = False,
        components: bool = True,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> list[DatasetRef]:
        """Return what a dataset was made from, in whichever of the repositories it is.

        First the precursors that its put was given, then, of a composite, the datasets that its put wrote and
        referenced. The references keep to the very datasets (by UUID), whatever has replaced them since; one that is
        in no repository that is searched raises at ``get()`` and says where it was.

        Parameters
        ----------
        ref_or_name : DatasetRef or str
            The dataset.
        deep : bool
            Also what these were made from, and so on; nearest first.
        components : bool
            False: precursors alone.
        """
        return self._traced(ref_or_name, one_of(data_id, dataId), keys, False, deep, components)

    def used_in(
        self,
        ref_or_name: DatasetRef | str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        deep: bool = False,
        components: bool = True,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> list[DatasetRef]:
        """Return the datasets that were made from a dataset, as far as the repositories that are searched know.

        Those that name it as a precursor, then the composites whose put pinned it. A repository knows what was put
        into it: open the child to see what became of the parents' datasets there.

        Parameters
        ----------
        ref_or_name : DatasetRef or str
            The dataset.
        deep : bool
            Also what these were used in, and so on.
        components : bool
            False: as a precursor alone.
        """
        return self._traced(ref_or_name, one_of(data_id, dataId), keys, True, deep, components)

    def verify(
        self,
        *,
        read: bool = False,
        sample: float | int | None = None,
        repair: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Verify the output repository, or the one that was opened for reading: registry, links, pins and files.

        Of the parents only what is pinned is looked at: verify each by itself. Others may read and write meanwhile.
        For a repository that cannot be opened any more, there is the function `bunter.verify`.

        Parameters
        ----------
        read : bool
            Read all files, and compare their checksums. Without it, files are compared by their sizes.
        sample : float or int, optional
            Read only so many, chosen at random: a fraction up to 1.0, or a number of files.
        repair : bool
            Put right what can be put right without guessing: remove what writers that were killed have left, record
            the checksums that ingest left out (of files that are read), build damaged indices anew.
        workers : int, optional
            Threads; as many as there are cores, at most 8.
        progress : callable, optional
            Called with (done, total) files.

        Returns
        -------
        Report
            ``.ok``, ``.findings``, ``.counts``; prints as a table.

        Raises
        ------
        RepositoryError
            If several repositories were opened for reading, or `repair` and there is no output.
        """
        from .verifying import verify

        output = self._output
        if output is None:
            if repair:
                raise RepositoryError(
                    "a repair writes, and this Butler only reads: open the repository with Butler(outputs=...)"
                )
            if len(self._starts) > 1:
                raise RepositoryError(
                    "verify looks at one repository: open one of "
                    f"{', '.join(start.root for start in self._starts)} by itself"
                )
        return verify(
            (output or self._starts[0]).root, read=read, sample=sample, repair=repair, workers=workers,
            progress=progress, trust_paths=self._arguments["trust_paths"],
        )  # fmt: skip

    def _traced(
        self,
        start: DatasetRef | str,
        data_id: Mapping[str, Any] | None,
        keys: Mapping[str, Any],
        forwards: bool,
        deep: bool,
        components: bool,
    ) -> list[DatasetRef]:
        from .tracing import trace

        context = self._current()
        if isinstance(start, DatasetRef):
            return trace(self, context, start, forwards=forwards, deep=deep, components=components)
        full_name, full_id = self._resolve(context, start, data_id, None, keys)
        located = context.locate(context.expand(full_name, full_id))
        check_complete(located, str(full_name), full_id)
        return trace(self, context, (full_name, located), forwards=forwards, deep=deep, components=components)


def _uuids(located: LocatedBranch) -> list[UUID | None]:
    return [None if leaf.found is None else leaf.found.record.uuid for leaf in located_leaves(located)]
