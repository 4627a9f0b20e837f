"""The calls of a Butler that write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .definitions.model import StoredType
from .errors import (
    AssemblyError,
    DatasetNameError,
    RepositoryError,
)
from .locate import Found
from .names import DatasetName
from .refs import DatasetRef
from .registry.interface import Changes
from .repository import Opened
from .session import Session, one_of
from .words import listing, shown

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path
    from uuid import UUID

    from .copying import Copied
    from .purging import Purged
    from .reading import Progress
    from .registry.interface import Pin, Precursor
    from .session import Transaction
    from .trash import Trashed

# What only one of the calls needs is imported there: most processes read.


class Writes(Session):
    """Put, ingest, delete and copy datasets, and define what they are."""

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
        from .putting import put

        context = self._current()
        context.need_output()
        full_name, full_id = self._resolve(context, name, data_id, dataId, keys, strict=True)
        made_from: Sequence[Precursor] = ()
        if type(precursors) is not tuple or precursors:
            from .tracing import precursors_of

            made_from = precursors_of(context, precursors)
        options = {
            "replace": replace, "self_contained": self_contained, "check": check,
            "discard": frozenset((discard,) if isinstance(discard, str) else discard),
            "precursors": made_from, "producer": self._producer,
        }  # fmt: skip
        this, type_, own_id, uuid = put(context, obj, full_name, full_id, options)
        transaction: Transaction | None = getattr(self._local, "transaction", None)
        if transaction is not None:
            transaction.staged.append(this.staged)
        found = this.found(type_, uuid)
        if found is None:
            raise RepositoryError(
                f"{type_} {own_id} was put, but another process has removed it from the registry since"
            )
        pins: dict[UUID, list[Pin]] = {}
        if found.record.file is None:
            from .tracing import pins_now

            pins = pins_now(context, found, this.staged.pins())
        # What a transaction put will be the output's: the overlay is gone by then.
        lasting = Found(context.need_output(), found.record)
        return DatasetRef(self, DatasetName.parse(type_), own_id, lasting, pins)

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
        from .committing import Staged
        from .deleting import stage_delete

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
        transaction: Transaction | None = getattr(self._local, "transaction", None)
        if transaction is None:
            output.registry.apply([staged.changes], in_use)
            return
        transaction.overlay.registry.apply([staged.changes])
        transaction.context.chain.hidden.add(uuid)
        staged.checks.append(in_use)
        transaction.staged.append(staged)

    def restore(
        self,
        ref_or_name: DatasetRef | Trashed | str,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        uuid: UUID | str | None = None,
        replace: bool = False,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> DatasetRef:
        """Bring a dataset back from the trash of the output repository: the newest one of a name and a data ID.

        Composites of the repository that are made of it are made of this one from now on, as after a put by its own
        name. A composite comes back with the components that it had.

        Parameters
        ----------
        ref_or_name : DatasetRef, Trashed or str
            The dataset; a reference is of one with a UUID.
        uuid : UUID or str, optional
            This one instead of the newest.
        replace : bool
            A live one of that name and data ID goes to the trash in its stead.

        Raises
        ------
        DatasetNotFoundError
            If it is not in the trash; says what is there.
        DatasetExistsError
            If there is a live one, and `replace` is false.
        IntegrityError
            If its file is not there, or has another size; nothing is changed.
        """
        from .committing import commit
        from .tracing import pins_now
        from .trash import find_trashed, meant, name_of, of_reference, stage_restore

        context = self._current()
        output = context.need_output()
        if isinstance(ref_or_name, str):
            name, asked = ref_or_name, meant(context, ref_or_name, one_of(data_id, dataId), keys)
        else:
            name, asked, uuid = of_reference(ref_or_name)
        record = find_trashed(context, name, asked, uuid)
        staged = stage_restore(context, record, replaces=replace)
        transaction: Transaction | None = getattr(self._local, "transaction", None)
        if transaction is None:
            commit(context, [staged])
        else:
            transaction.staged.append(staged)
        for repository in context.nearest_output():
            live = repository.registry.by_uuid(record.type, record.uuid, record.part)
            if live is not None:
                pins = pins_now(context, Found(repository, live))
                return DatasetRef(self, name_of(live), live.data_id, Found(output, live), pins)
        raise RepositoryError(f"{record.type} {record.data_id} was restored, but another process has purged it since")

    def purge(
        self,
        name: str | None = None,
        /,
        data_id: Mapping[str, Any] | None = None,
        *,
        older_than: timedelta | float | str | None = None,
        force: bool = False,
        dry_run: bool = False,
        dataId: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Purged:
        """Forget what is in the trash of the output repository for good, and remove the files nobody needs any more.

        What composites of the repository are made of is kept, and listed in the result; composites that are in the
        trash, and do not go now, count too. Whether composites of *other* repositories are made of it (of children
        of this one) is not known here: look at those first. Files that were ingested in place stay.

        Parameters
        ----------
        name : str, optional
            ``type[:stage]``; only datasets of this type.
        data_id : mapping, optional
            Only datasets whose data IDs agree with these keys and values; more as keywords.
        older_than : timedelta, seconds or str, optional
            Only what has been in the trash for so long: ``"30d"`` (s, m, h, d, w).
        force : bool
            What composites are made of goes, too: a get of them is an error then.
        dry_run : bool
            Change nothing, and return what would happen.

        Returns
        -------
        Purged
            How many datasets, files and bytes are gone, and what is kept.

        Raises
        ------
        RepositoryError
            Inside a transaction, or if a file cannot be removed.
        """
        from .purging import purge, seconds_of
        from .trash import meant

        context = self._current()
        context.need_output()
        asked = meant(context, name, one_of(data_id, dataId), keys)
        seconds = None if older_than is None else seconds_of(older_than)
        return purge(self, context, asked, seconds, force=force, dry_run=dry_run)

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
            ``headers`` records where the parts are, ``full`` their checksums too, as always for files that are
            copied or moved.
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
        from .ingesting import Ingest

        context = self._current()
        context.need_output()
        full_name, standard = context.resolve(name, one_of(data_id, dataId), keys)
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
        transaction: Transaction | None = getattr(self._local, "transaction", None)
        if transaction is not None:
            transaction.staged.append(ingest.staged)
        own_name = DatasetName.parse(definition.name)
        return [DatasetRef(self, own_name, own_id, None) for _, own_id, _ in results]

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
        from .copying import Copy
        from .subset import wanted

        context = self._current()
        asked = wanted(
            context, names, one_of(data_id, dataId), keys,
            where=where, mode=mode, parents=parents, progress=progress,
        )  # fmt: skip
        opened = Opened(durable=self._arguments["durability"] == "full", trust_paths=self._arguments["trust_paths"])
        try:
            return Copy(context, self._starts, opened, root, asked).run()
        finally:
            opened.close()

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
            How many polygons the table has; the same again changes nothing.

        Raises
        ------
        ParameterError
            If a column is missing, or a row holds no polygon.
        DataIdError
            If a key is not defined, or a value is wrong.
        DatasetExistsError
            If there is another polygon already, and `replace` is false.
        """
        from .committing import Staged
        from .overlapping import new_regions

        context = self._current()
        output = context.need_output()
        regions = new_regions(context, [keys] if isinstance(keys, str) else list(keys), table, corners, replace)
        staged = Staged(Changes(regions=[regions]))
        transaction: Transaction | None = getattr(self._local, "transaction", None)
        if transaction is None:
            output.registry.apply([staged.changes])
        else:
            transaction.overlay.registry.apply([staged.changes])
            transaction.staged.append(staged)
        return len(regions.rows)

    def define(self, policy: Mapping[str, Any] | str | Path) -> None:
        """Add definitions to the output repository; a name that exists may change its storage and template only."""
        output = self._current().need_output()
        if getattr(self._local, "transaction", None) is not None:
            raise RepositoryError("definitions cannot be undone: define before the transaction, not inside it")
        self._opening.define(output, policy)
        self._context = self._make_context()

    def alias(self, name: str, target: str) -> None:
        """Let a bare name stand for another in users' calls: ``alias("calexp", "calexp:jointcal")``."""
        for word in (name, target):
            if not isinstance(word, str):
                raise DatasetNameError(f"a dataset name is a string, not {type(word).__name__}: {shown(word)}")
        self.define({"aliases": {name: target}})
