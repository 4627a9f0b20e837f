"""The front door."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .cache import ComponentCache
from .choices import check_choice
from .committing import Staged, commit
from .context import Context
from .copying import Copied, Copy
from .dataid import DataId, KeyValue
from .definitions import Definitions
from .definitions.model import CompositeType, PartOfType, StoredType
from .deleting import stage_delete
from .errors import (
    AssemblyError,
    DataIdError,
    DatasetNotFoundError,
    ParameterError,
    RepositoryError,
)
from .ingesting import Ingest, Progress
from .locate import Found, Located, LocatedBranch, LocatedNode, Resolve, lacking, located_leaves
from .names import DatasetName
from .opening import Opening, RepositoryArgs, arguments_of
from .overlapping import record_regions
from .plan_view import Plan
from .putting import Put
from .reading import Opener, Reader, check_complete
from .refs import DatasetRef, DeferredDataset, Query
from .registry.interface import Changes, Record
from .repository import Chain, Opened, Overlay, Repository, is_repository, resolve_root
from .searching import search
from .storing import Options
from .subset import wanted
from .tracing import as_put, holder, pins_now, precursors_of, trace
from .trust import Importer
from .words import did_you_mean, listing

if TYPE_CHECKING:
    from .scanning import Scan

_RESOLVES = ("pinned", "nearest", "exact")


@dataclass
class _Transaction:
    overlay: Overlay
    staged: list[Staged]
    context: Context


class Butler:
    """Reads and writes datasets in repositories.

    Parameters
    ----------
    root : str, path or RepositoryArgs, optional
        One repository, read-only.
    inputs : one or a list of path, URI, dict, RepositoryArgs
        Repositories that are read.
    outputs : path, URI, dict or RepositoryArgs
        The repository that is written (and read first). It is made if it is not there, with the inputs as its
        parents; one that exists must be given its recorded parents or none.
    share : bool
        Hand out frozen objects that were loaded before.
    trust : iterable of str
        Packages that definitions may import from.
    trust_paths : iterable of path
        Folders outside of repositories from which files may be read.
    on_conflict : {"error", "first"}
        What to do when two repositories, neither made from the other, disagree.
    durability : {"full", "fast"}
        ``fast`` does not wait for the disk: a power cut can lose what was acknowledged.
    producer : str, optional
        What writes, recorded with every dataset (``"jointcal 1.2"``).

    Raises
    ------
    RepositoryError
        If a repository cannot be opened or made.
    DefinitionError
        If a policy is faulty; lists all faults.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | RepositoryArgs | Mapping[str, Any] | None = None,
        *,
        inputs: Any = None,
        outputs: Any = None,
        share: bool = False,
        trust: Iterable[str] = (),
        trust_paths: Iterable[str | os.PathLike[str]] = (),
        on_conflict: str = "error",
        durability: str = "full",
        producer: str | None = None,
    ) -> None:
        check_choice("on_conflict", on_conflict, ("error", "first"))
        check_choice("durability", durability, ("full", "fast"))
        trust = (trust,) if isinstance(trust, str) else tuple(trust)
        trust_paths = (trust_paths,) if isinstance(trust_paths, str | os.PathLike) else tuple(trust_paths)
        self._arguments = {
            "root": root, "inputs": inputs, "outputs": outputs, "share": share, "trust": trust,
            "trust_paths": trust_paths, "on_conflict": on_conflict, "durability": durability, "producer": producer,
        }  # fmt: skip
        if root is not None and (inputs is not None or outputs is not None):
            raise RepositoryError("give either one repository, read-only, or inputs= and outputs=")
        sources = arguments_of(root if root is not None else inputs)
        targets = arguments_of(outputs)
        if len(targets) > 1:
            raise RepositoryError(f"outputs= takes one repository, not {len(targets)}")
        if not sources and not targets:
            raise RepositoryError("Butler needs a repository: Butler('path'), or inputs= and outputs=")
        self._importer = Importer(trust)
        self._opened = Opened(durable=durability == "full", trust_paths=trust_paths)
        self._opening = Opening(self._opened, self._importer)
        self._opener = Opener(self._importer)
        self._share = share
        self._cache = ComponentCache()
        self._first = on_conflict == "first"
        self._producer = producer or ""
        self._local = threading.local()
        self._output: Repository | None = None
        if targets and is_repository(resolve_root(targets[0].root)):
            # First, since a repository that is an input too is opened once.
            self._opened.open(resolve_root(targets[0].root), writable=True)
        parents = [self._opening.input(source) for source in sources]
        starts = parents
        if targets:
            self._output = self._opening.output(targets[0], parents, given_parents=bool(sources))
            starts = [self._output]
        self._starts = starts
        self._context = self._make_context()

    def _make_context(self, overlay: Overlay | None = None) -> Context:
        starts: list[Repository] = [overlay] if overlay is not None else list(self._starts)
        chain = Chain(starts)
        if self._output is not None:
            definitions = self._output.definitions
        elif len(self._starts) == 1:
            definitions = self._starts[0].definitions
        else:
            definitions = Definitions.combine([start.definitions for start in self._starts], None)
        return Context(chain, definitions, self._output, self._opener, first=self._first)

    def _current(self) -> Context:
        transaction: _Transaction | None = getattr(self._local, "transaction", None)
        if transaction is not None:
            return transaction.context
        if any(start.changed() for start in self._starts):
            for repository in reversed(self._context.chain.order):
                repository.read_definitions()
            self._context = self._make_context()
        return self._context

    def __enter__(self) -> Butler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the repositories."""
        self._opened.close()

    def __reduce__(self) -> Any:
        if getattr(self._local, "transaction", None) is not None:
            raise RepositoryError("a Butler inside a transaction cannot be pickled")
        return _reopen, (self._arguments,)

    def __repr__(self) -> str:
        roots = ", ".join(repository.root for repository in self._context.chain.order)
        return f"<Butler on {roots}{'' if self._output is not None else ' (read-only)'}>"

    # Reading

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
        check_choice("resolve", resolve, _RESOLVES)
        context = self._current()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys)
        located = context.locate(context.expand(full_name, full_id), resolve)
        return self._read(located, full_name, full_id, parameters, as_type, share, progress)

    def _resolve(
        self,
        context: Context,
        name: str | DatasetName,
        data_id: Mapping[str, Any] | None,
        other: Mapping[str, Any] | None,
        keys: Mapping[str, Any],
        *,
        strict: bool = False,
    ) -> tuple[DatasetName, dict[str, KeyValue]]:
        full_name, standard = context.resolve(name, _one_of(data_id, other), keys)
        context.definitions.find(full_name)
        return full_name, context.complete(full_name, standard, strict=strict)

    def _read(
        self,
        located: LocatedBranch,
        name: DatasetName,
        data_id: Mapping[str, KeyValue],
        parameters: Mapping[str, Any] | None,
        as_type: Any,
        share: bool | None,
        progress: Progress | None = None,
    ) -> Any:
        if parameters is not None and not isinstance(parameters, Mapping):
            raise ParameterError(f"parameters= takes a mapping, not a {type(parameters).__name__}")
        if _is_dataset(as_type):
            from .scanning import Members, dataset_of

            if parameters:
                raise ParameterError("a pyarrow Dataset is told columns when it is scanned: leave out parameters=")
            return dataset_of(Members(located, str(name), data_id, self._opener), f"{name} {DataId(data_id)}")
        sharing = self._share if share is None else share
        reader = Reader(self._opener, self._cache if sharing else None, parameters or {}, self._deferred, progress)
        obj = reader.read(located, str(name), data_id)
        if as_type is None:
            return obj
        from .formats.convert import convert

        return convert(obj, as_type)

    def _deferred(self, name: DatasetName, data_id: DataId, located: LocatedBranch) -> DeferredDataset:
        return DeferredDataset(self._ref(self._current(), name, data_id, located))

    def _get_ref(self, ref: DatasetRef, name: DatasetName, options: Mapping[str, Any]) -> Any:
        known = ("parameters", "as_type", "share", "resolve", "progress")
        for option in options:
            if option not in known:
                raise ParameterError(
                    f"unknown option {option!r}{did_you_mean(option, known)}; get takes: {listing(known)}"
                )
        resolve = options.get("resolve", "pinned")
        check_choice("resolve", resolve, _RESOLVES)
        context = self._current()
        data_id = context.complete(name, ref.data_id)
        branch = context.expand(name, data_id)
        if ref._pins is not None and ref._found is not None and "resolve" not in options:
            located = as_put(context, branch, ref._found, ref._pins)
        else:
            located = context.locate(branch, resolve)
        chosen = (options.get(option) for option in ("parameters", "as_type", "share", "progress"))
        return self._read(located, name, data_id, *chosen)

    def _holder(self, found: Found) -> Found | None:
        return holder(self._current(), found)

    def _found_again(self, repository_id: UUID, record: Record) -> Found | None:
        for repository in self._current().chain.order:
            if repository.id == repository_id:
                return Found(repository, record)
        return None

    def _nearest(self, name: DatasetName, data_id: DataId) -> Found | None:
        context = self._current()
        branch = context.expand(name, context.complete(name, data_id))
        located = context.locate(branch)
        while isinstance(located, LocatedNode) and located.node.take:
            located = located.branches[located.node.take]
        if isinstance(located, LocatedNode):
            return None if located.node.derive else located.put
        return located.found if isinstance(located, Located) else None

    def _repository_of(self, name: DatasetName, data_id: DataId) -> str | None:
        context = self._current()
        located = context.locate(context.expand(name, context.complete(name, data_id)))
        order = list(context.chain.order)
        holders = [leaf.found.repository for leaf in located_leaves(located) if leaf.found is not None]
        return min(holders, key=order.index).root if holders else None

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
        check_choice("resolve", resolve, _RESOLVES)
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

    def _ref(
        self, context: Context, name: DatasetName, full_id: Mapping[str, KeyValue], located: LocatedBranch
    ) -> DatasetRef:
        while isinstance(located, LocatedNode) and located.node.take:
            located = located.branches[located.node.take]
        found = located.put if isinstance(located, LocatedNode) else getattr(located, "found", None)
        return DatasetRef(self, name, context.own_data_id(name, full_id), found)

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

    # Writing

    def put(
        self,
        obj: Any,
        name: str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
        self_contained: bool = False,
        check: bool = True,
        discard: Iterable[str] = (),
        precursors: Iterable[DatasetRef] = (),
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> DatasetRef:
        """Store an object in the output repository, all of it or nothing.

        Of a composite only what is new is written; a component that is the same as before is referenced.

        Parameters
        ----------
        obj : object
            What to store.
        name : str
            ``type[:stage][.component]``.
        data_id : mapping, optional
            Keys and values; more as keywords.
        replace : bool
            Replace a dataset that exists with other content; the old one goes to the trash.
        self_contained : bool
            Copy referenced files into the output too, their UUIDs kept.
        check : bool
            False: changes of inputOnly components are not looked for, and lost.
        discard : iterable of str
            Components whose changes may be lost: what is stored is kept.
        precursors : iterable of DatasetRef
            What the object was made from.

        Raises
        ------
        DatasetExistsError
            If other content is there and `replace` is false.
        ConflictError
            If a component that others share differs.
        AssemblyError
            If a component is lacking, would be lost, or cannot be written through this name.
        """
        context = self._current()
        context.need_output()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys, strict=True)
        options = Options(
            replace=replace,
            self_contained=self_contained,
            check=check,
            discard=frozenset((discard,) if isinstance(discard, str) else discard),
            precursors=precursors_of(context, precursors),
            producer=self._producer,
        )
        put = Put(context, options)
        try:
            type_, own_id, uuid = put.stage(obj, full_name, full_id)
            given_way = put.commit()
        except BaseException:
            put.staged.drop()
            raise
        transaction: _Transaction | None = getattr(self._local, "transaction", None)
        if transaction is not None:
            transaction.staged.append(put.staged)
        uuid = given_way.get(uuid, uuid)
        for repository in context.nearest_output():
            record = repository.registry.by_uuid(type_, uuid)
            if record is not None:
                found = Found(repository, record)
                pins = pins_now(context, found)
                # What a transaction put will be the output's: the overlay is gone by then.
                lasting = Found(context.need_output(), record)
                return DatasetRef(self, DatasetName.parse(type_), own_id, lasting, pins)
        raise RepositoryError(f"{type_} {own_id} was put, but another process has removed it from the registry since")

    def delete(
        self,
        ref_or_name: DatasetRef | str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> None:
        """Move a dataset of the output repository to the trash.

        Raises
        ------
        InUseError
            If others are made of it, unless `force`.
        DatasetNotFoundError
            If the output repository does not hold it.
        """
        context = self._current()
        output = context.need_output()
        if isinstance(ref_or_name, DatasetRef):
            name, full_id = DatasetName.parse(ref_or_name.name), dict(ref_or_name.data_id)
        else:
            name, full_id = self._resolve(context, ref_or_name, data_id, dataId, keys, strict=True)
        wanted = ref_or_name.uuid if isinstance(ref_or_name, DatasetRef) else None
        type_, uuid, in_use = stage_delete(context, name, full_id, wanted, force=force)
        staged = Staged(Changes(trashed=[(type_, uuid)]))
        in_use()
        transaction: _Transaction | None = getattr(self._local, "transaction", None)
        if transaction is None:
            output.registry.apply([staged.changes], in_use)
            return
        transaction.overlay.registry.apply([staged.changes])
        transaction.context.chain.hidden.add(uuid)
        transaction.staged.append(staged)

    def ingest(
        self,
        name: str,
        /,
        files: Any,
        *,
        mode: str = "direct",
        scan: str = "headers",
        data_id: Mapping[str, Any] | None = None,
        template: str | None = None,
        on_exists: str = "error",
        progress: Progress | None = None,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> list[DatasetRef]:
        """Make datasets of files that are there already, all of them or none.

        Parameters
        ----------
        name : str
            A stored dataset type.
        files : path, glob, list of them, or a table with a ``path`` column and key columns
            What to ingest.
        mode : {"direct", "copy", "move", "hardlink", "symlink"}
            ``direct`` leaves the files where they are.
        scan : {"none", "headers", "full"}
            ``headers`` records where the parts are, ``full`` their checksums too.
        data_id : mapping, optional
            What is the same for all of the files.
        template : str, optional
            Matched against the paths instead of the type's own.
        on_exists : {"error", "skip", "replace"}
            What to do with a data ID that has other content; the same unchanged file again is a no-op.
        progress : callable, optional
            Called with (done, total) files.

        Raises
        ------
        DataIdError
            Lists the files whose data IDs cannot be told.
        DatasetExistsError
            Lists the data IDs that have other content.
        """
        context = self._current()
        context.need_output()
        full_name, standard = context.resolve(name, _one_of(data_id, dataId), keys)
        definition = context.definitions.find(full_name)
        rest = full_name.component[len(DatasetName.parse(definition.name).component) :]
        if rest or not isinstance(definition, StoredType):
            what = "a part of a dataset" if rest else "not stored in a file of its own"
            stored = [n for n, d in context.definitions.types.items() if isinstance(d, StoredType)]
            raise AssemblyError(f"{str(full_name)!r} is {what}: ingest one of the stored types: {listing(stored)}")
        ingest = Ingest(
            context, definition, mode=mode, scan=scan, data_id=standard, template=template,
            on_exists=on_exists, producer=self._producer, progress=progress,
        )  # fmt: skip
        results = ingest.run(files)
        transaction: _Transaction | None = getattr(self._local, "transaction", None)
        if transaction is not None:
            transaction.staged.append(ingest.staged)
        return [DatasetRef(self, DatasetName.parse(type_), own_id, None) for type_, own_id, _ in results]

    def copy_to(
        self,
        root: str | os.PathLike[str],
        names: str | Iterable[str],
        data_id: Mapping[str, Any] | None = None,
        *,
        where: str | None = None,
        mode: str = "copy",
        parents: bool = False,
        progress: Progress | None = None,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Copied:
        """Copy some dataset types into another repository, with all that they need: all of it or nothing.

        UUIDs, pins, provenance and what is known of implied keys are kept, and the definitions go along. Where only
        some parts of a stored dataset are needed (``calexp:sfm.photoCalib`` by a catalog), each is stored by itself
        and found under the whole's name, and the whole is not copied; the base of a composite is copied whole. What
        is there already is left alone, so that the way back is the same call.

        Parameters
        ----------
        root : str or path
            A repository; it is made if it is not there.
        names : str or list of str
            Names of datasets or of components.
        data_id : mapping, optional
            Constraints; more as keywords. Each name takes the keys that it has.
        where : str, optional
            An expression over keys, as of `query`.
        mode : {"copy", "hardlink", "symlink", "reference"}
            What to do with the files: ``reference`` leaves them in place. Only copies are checked against their
            checksums; parts that are needed alone are written in any case.
        parents : bool
            Make this Butler's repositories the parents of the new one, and leave there what composites only read.
        progress : callable, optional
            Called with (done, total) datasets.

        Returns
        -------
        Copied
            How many datasets, files and bytes are new there.

        Raises
        ------
        DatasetNotFoundError
            If there is nothing that agrees with what is asked for, or something that it needs is missing.
        DatasetExistsError
            If the repository holds different datasets under the same names and data IDs; lists them.
        IntegrityError
            If a file is not what was written.
        DefinitionError, RepositoryError
            If the repository defines a type differently, has other parents, or cannot be made.
        """
        context = self._current()
        asked = wanted(
            context, names, _one_of(data_id, dataId), keys,
            where=where, mode=mode, parents=parents, progress=progress,
        )  # fmt: skip
        opened = Opened(
            durable=self._arguments["durability"] == "full", trust_paths=self._arguments["trust_paths"]
        )
        try:
            return Copy(context, self._starts, opened, root, asked).run()
        finally:
            opened.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Butler]:
        """Make all that is put, ingested and deleted inside visible together at the end, or undo it.

        Until then only this Butler in this thread sees it. One inside another belongs to the outer.

        Raises
        ------
        DatasetExistsError
            At the end, if another process put other content under one of the names meanwhile.
        """
        if getattr(self._local, "transaction", None) is not None:
            yield self
            return
        context = self._current()
        overlay = Overlay(context.need_output())
        transaction = _Transaction(overlay, [], self._make_context(overlay))
        self._local.transaction = transaction
        try:
            yield self
            self._local.transaction = None
            commit(context, transaction.staged)
        except BaseException:
            for staged in transaction.staged:
                staged.drop()
            raise
        finally:
            self._local.transaction = None
            overlay.registry.close()

    # Queries

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
        context = self._current()
        full_name, standard = context.resolve(name, _one_of(data_id, dataId), keys)
        context.definitions.find(full_name)
        data_ids = search(context, full_name, standard, where, order_by, limit, region)
        return Query(self, full_name, data_ids, {})

    # Provenance

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
        return self._traced(ref_or_name, _one_of(data_id, dataId), keys, False, deep, components)

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
        return self._traced(ref_or_name, _one_of(data_id, dataId), keys, True, deep, components)

    def _traced(
        self,
        start: DatasetRef | str,
        data_id: Mapping[str, Any] | None,
        keys: Mapping[str, Any],
        forwards: bool,
        deep: bool,
        components: bool,
    ) -> list[DatasetRef]:
        context = self._current()
        if isinstance(start, DatasetRef):
            return trace(self, context, start, forwards=forwards, deep=deep, components=components)
        full_name, full_id = self._resolve(context, start, data_id, None, keys)
        located = context.locate(context.expand(full_name, full_id))
        check_complete(located, str(full_name), full_id)
        return trace(self, context, (full_name, located), forwards=forwards, deep=deep, components=components)

    def add_regions(
        self,
        keys: str | Sequence[str],
        table: Any,
        *,
        corners: Sequence[tuple[str, str]] | None = None,
        replace: bool = False,
    ) -> int:
        """Record the polygons of tracts and patches in the output repository, for queries by `region`.

        Parameters
        ----------
        keys : str or list of str
            The keys that the polygons belong to (``["tract", "patch"]``); columns of the table.
        table : Table, DataFrame, mapping of columns, or list of rows
            One row a polygon; see `bunter.sky.region_rows` for the columns that say where it lies.
        corners : list of (str, str), optional
            The columns of right ascension and declination of each corner (degrees, ICRS).
        replace : bool
            Whether other polygons may take the place of recorded ones.

        Returns
        -------
        int
            How many were new or replaced; the same again changes nothing.

        Raises
        ------
        ParameterError
            If a column is missing, or a row holds no polygon.
        DataIdError
            If a key is not defined, or a value is wrong.
        DatasetExistsError
            If there is another polygon already, and `replace` is false.
        """
        context = self._current()
        output = context.need_output()
        return record_regions(context, output, [keys] if isinstance(keys, str) else list(keys), table, corners, replace)

    # What there is

    def dataset_types(self) -> list[str]:
        """Return the names of all dataset types."""
        return sorted(self._current().definitions.types)

    def definition(self, name: str) -> StoredType | CompositeType | PartOfType:
        """Return the definition of a dataset type."""
        context = self._current()
        full_name, _ = context.resolve(name, None, {})
        return context.definitions.find(full_name)

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the keys that a full data ID of `name` has."""
        context = self._current()
        full_name, _ = context.resolve(name, None, {})
        context.definitions.find(full_name)
        return context.planner.keys(full_name)

    def key_types(self) -> dict[str, str]:
        """Return the type of every data ID key that is defined: ``int``, ``str`` or ``float``."""
        return dict(self._current().definitions.key_types)

    def repositories(self) -> list[str]:
        """Return the roots of the repositories that are searched, nearest first."""
        return [repository.root for repository in self._context.chain.order]

    def aliases(self) -> dict[str, str]:
        """Return the aliases and what they stand for."""
        return dict(self._current().definitions.aliases)

    def define(self, policy: Mapping[str, Any] | str | Path) -> None:
        """Add definitions to the output repository; a name that exists may change its storage and template only."""
        output = self._current().need_output()
        if getattr(self._local, "transaction", None) is not None:
            raise RepositoryError("definitions cannot be undone: define before the transaction, not inside it")
        self._opening.define(output, policy)
        self._context = self._make_context()

    def alias(self, name: str, target: str) -> None:
        """Let a bare name stand for another in users' calls: ``alias("calexp", "calexp:jointcal")``."""
        self.define({"aliases": {name: target}})


def _reopen(arguments: dict[str, Any]) -> Butler:
    return Butler(**arguments)


def _is_dataset(as_type: Any) -> bool:
    # Whoever has the class has imported its module.
    dataset = getattr(sys.modules.get("pyarrow.dataset"), "Dataset", None)
    return isinstance(as_type, type) and dataset is not None and issubclass(as_type, dataset)


def _one_of(data_id: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if data_id is not None and other is not None:
        raise DataIdError("data_id and dataId are two spellings of one argument: give one of them")
    return data_id if data_id is not None else other
