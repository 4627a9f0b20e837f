"""What every call of a Butler stands on: its repositories, its transaction, names and data IDs made full."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from .cache import ComponentCache
from .choices import check_choice
from .context import Context
from .dataid import DataId, KeyValue
from .definitions import Definitions
from .errors import (
    DataIdError,
    ParameterError,
    RepositoryError,
)
from .locate import RESOLVES, Found, Located, LocatedBranch, LocatedNode, located_leaves
from .names import DatasetName
from .opening import Opening, RepositoryArgs, arguments_of
from .reading import Opener, Reader
from .refs import DatasetRef, DeferredDataset
from .registry.interface import Record
from .repository import Chain, Opened, Overlay, Repository, is_repository, resolve_root
from .trust import Importer
from .values import dataclass, replace
from .words import did_you_mean, listing

if TYPE_CHECKING:
    from .committing import Staged
    from .reading import Progress


@dataclass
class Transaction:
    """What a thread has put and nobody else sees yet."""

    overlay: Overlay
    staged: list[Staged]
    context: Context


class Session:
    """The repositories of one Butler, open, and what its calls share; see `Butler` for the arguments."""

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
        if root is not None and (inputs is not None or outputs is not None):
            raise RepositoryError("give either one repository, read-only, or inputs= and outputs=")
        sources = arguments_of(root if root is not None else inputs)
        targets = arguments_of(outputs)
        if len(targets) > 1:
            raise RepositoryError(f"outputs= takes one repository, not {len(targets)}")
        if not sources and not targets:
            raise RepositoryError("Butler needs a repository: Butler('path'), or inputs= and outputs=")
        # Wherever this is unpickled, the same folders are meant.
        sources, targets = ([replace(a, root=resolve_root(a.root)) for a in given] for given in (sources, targets))
        self._arguments: dict[str, Any] = {
            "inputs": sources or None, "outputs": targets[0] if targets else None, "share": share, "trust": trust,
            "trust_paths": tuple(map(os.path.abspath, trust_paths)), "on_conflict": on_conflict,
            "durability": durability, "producer": producer,
        }  # fmt: skip
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
        try:
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
        except BaseException:
            self._opened.close()
            raise

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
        transaction: Transaction | None = getattr(self._local, "transaction", None)
        if transaction is not None:
            return transaction.context
        changed = [start for start in self._starts if start.changed()]
        if changed:
            for repository in reversed(self._context.chain.order):
                repository.read_definitions()
            self._context = self._make_context()
        return self._context

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the repositories."""
        self._opened.close()

    def __repr__(self) -> str:
        roots = ", ".join(repository.root for repository in self._context.chain.order)
        return f"<Butler on {roots}{'' if self._output is not None else ' (read-only)'}>"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
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
        transaction = Transaction(overlay, [], self._make_context(overlay))
        self._local.transaction = transaction
        try:
            yield self
            self._local.transaction = None
            from .committing import commit

            commit(context, transaction.staged)
        except BaseException:
            for staged in transaction.staged:
                staged.drop()
            raise
        finally:
            self._local.transaction = None
            overlay.registry.close()

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
        full_name, standard = context.resolve(name, one_of(data_id, other), keys)
        return full_name, context.complete(full_name, standard, strict=strict)

    def _ref(
        self, context: Context, name: DatasetName, full_id: Mapping[str, KeyValue], located: LocatedBranch
    ) -> DatasetRef:
        while isinstance(located, LocatedNode) and located.node.take:
            located = located.branches[located.node.take]
        found = located.put if isinstance(located, LocatedNode) else getattr(located, "found", None)
        return DatasetRef(self, name, context.own_data_id(name, full_id), found)

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
        if as_type is not None and _is_dataset(as_type):
            from .scanning import Members, dataset_of

            if parameters:
                raise ParameterError("a pyarrow Dataset is told columns when it is scanned: leave out parameters=")
            return dataset_of(Members(located, str(name), data_id, self._opener), f"{name} {DataId(data_id)}")
        sharing = self._share if share is None else share
        reader = Reader(self._opener, self._cache if sharing else None, parameters or {}, self._deferred, progress)
        obj = reader.read(located, name, data_id)
        if as_type is None:
            return obj
        from .formats.convert import convert

        return convert(obj, as_type)

    def _deferred(self, name: DatasetName, data_id: DataId, located: LocatedBranch) -> DeferredDataset:
        context = self._current()
        ref = self._ref(context, name, data_id, located)
        if ref._found is not None:
            from .tracing import pins_now

            # What was located is what will be read, whatever is replaced until then.
            ref._pins = pins_now(context, ref._found)
        return DeferredDataset(ref)

    def _get_ref(self, ref: DatasetRef, name: DatasetName, options: Mapping[str, Any]) -> Any:
        known = ("parameters", "as_type", "share", "resolve", "progress")
        for option in options:
            if option not in known:
                raise ParameterError(
                    f"unknown option {option!r}{did_you_mean(option, known)}; get takes: {listing(known)}"
                )
        resolve = options.get("resolve", "pinned")
        check_choice("resolve", resolve, RESOLVES)
        context = self._current()
        data_id = context.complete(name, ref.data_id)
        branch = context.expand(name, data_id)
        if ref._pins is not None and ref._found is not None and "resolve" not in options:
            from .tracing import as_put

            located = as_put(context, branch, ref._found, ref._pins)
        else:
            located = context.locate(branch, resolve)
        chosen = (options.get(option) for option in ("parameters", "as_type", "share", "progress"))
        return self._read(located, name, data_id, *chosen)

    def _holder(self, found: Found) -> Found | None:
        from .tracing import holder

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

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the keys that a full data ID of `name` has."""
        context = self._current()
        full_name, _ = context.resolve(name, None, {})
        return context.planner.keys(full_name)


def one_of(data_id: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the data ID, under whichever of its two spellings it was given."""
    if data_id is not None and other is not None:
        raise DataIdError("data_id and dataId are two spellings of one argument: give one of them")
    return data_id if data_id is not None else other


def _is_dataset(as_type: Any) -> bool:
    # Whoever has the class has imported its module.
    dataset = getattr(sys.modules.get("pyarrow.dataset"), "Dataset", None)
    return isinstance(as_type, type) and dataset is not None and issubclass(as_type, dataset)
