"""A repository: a root, its definitions, its registry, its files, its parents; and chains of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from .definitions import Definitions, load
from .definitions.nodes import LARGEST, Faults, parse_yaml, read_regular
from .errors import DefinitionError, RepositoryError, TrustError
from .files.interface import StoredFile
from .files.local import LocalFiles, sync_folder
from .registry.sqlite import SqliteRegistry
from .trust import folders_are_mine, sign_folders

if TYPE_CHECKING:
    from .files.interface import ClosableSource

LAYOUT = 1
DESCRIPTION = "bunter.yaml"
POLICY = "policy.yaml"
REGISTRY = "registry.sqlite"
_OWN_FILES = frozenset({POLICY, REGISTRY, f"{REGISTRY}-wal", f"{REGISTRY}-shm", f"{REGISTRY}-journal"})

_HEADER = """\
# A Bunter repository. The definitions of its datasets are in policy.yaml, which you may edit;
# this file is kept by Bunter.
"""


class Repository:
    """One repository, open.

    Attributes
    ----------
    id : UUID
        Stamped when it was made; a copy has the same.
    parents : tuple of Repository
        In the order in which they were given.
    own : Definitions or None
        What its own policy defines.
    definitions : Definitions
        Its own and those that it inherits.
    """

    def __init__(
        self,
        root: str,
        id_: UUID,
        parents: tuple[Repository, ...],
        folders: tuple[str, ...],
        folders_trusted: bool,
        *,
        writable: bool,
        durable: bool,
    ) -> None:
        self.root = root
        self.id = id_
        self.parents = parents
        self.folders = folders
        self.writable = writable
        self._policy = os.path.join(root, POLICY)
        self._folders_trusted = folders_trusted
        self.trust_paths: tuple[str, ...] = ()
        self.files = LocalFiles(root, durable=durable)
        self.registry = SqliteRegistry(os.path.join(root, REGISTRY), writable=writable, durable=durable)
        self._policy_stamp: tuple[int, int, int] | None = None
        self.own: Definitions | None = None
        self.definitions: Definitions
        self.read_definitions()

    @property
    def name(self) -> str:
        """What messages and plans call it: the last folder of its root."""
        return os.path.basename(self.root) or self.root

    def __repr__(self) -> str:
        return f"<Repository {self.root}>"

    def read_definitions(self) -> None:
        """Read the policy, and those of the parents, as they are now."""
        stamp = _stamp(self._policy)
        inherited = [parent.definitions for parent in self.parents]
        own = None
        if stamp is not None:
            own = load(Path(self._policy), known=Definitions.combine(inherited, None) if inherited else None)
        self.definitions = Definitions.combine(inherited, own)
        self.own = own
        self._policy_stamp = stamp

    def changed(self) -> bool:
        """Tell whether a policy was edited since it was read.

        Raises
        ------
        RepositoryError
            If the repository is not there any more.
        """
        stamp = _stamp(self._policy)
        if stamp is None and not is_repository(self.root):
            raise RepositoryError(
                f"the repository {self.root} is gone: it was there when it was opened, and has no {DESCRIPTION} now. "
                "Nothing was written. Put it back to where it was, or open it where it is now"
            )
        if stamp != self._policy_stamp:
            return True
        return bool(self.parents) and any(parent.changed() for parent in self.parents)

    def define(self, definitions: Definitions) -> None:
        """Store definitions as the repository's own policy."""
        _write_whole(self._policy, definitions.to_yaml(), durable=self.files.durable)
        self.read_definitions()

    def make_writable(self) -> None:
        """Open the registry for writing, too."""
        if not self.writable:
            self.registry.close()
            self.registry = SqliteRegistry(self.registry.path, durable=self.files.durable)
            self.writable = True

    def open_file(self, file: StoredFile) -> ClosableSource:
        """Open a stored file; one outside the root only if its folder is listed and trusted.

        Raises
        ------
        TrustError
            If the file is outside, and the user did not say that its folder may be read.
        """
        place = self.files.absolute(file.path)
        if not self.files.lies_inside(place):
            self._check_outside(os.path.realpath(place))
        return self.files.open(file)

    def may_read(self, place: str) -> bool:
        """Tell whether a place, links in it resolved, is in the root or in a folder that the user trusts."""
        return (
            _inside(place, self.root)
            or self._user_trusts(place)
            or (self._folders_trusted and _inside_any(place, self.folders))
        )

    def _check_outside(self, place: str) -> None:
        if self.may_read(place):
            return
        raise TrustError(
            f"the repository {self.root} asks for the file {place}, which is outside of it. If you trust the "
            f"repository, open it with Butler(..., trust_paths=[{os.path.dirname(place)!r}])"
        )

    def _user_trusts(self, place: str) -> bool:
        return any(_inside(place, folder) for folder in self.trust_paths)

    def list_folders(self, folders: Iterable[str]) -> None:
        """List folders outside the root whose files were ingested in place.

        Raises
        ------
        TrustError
            If the repository lists folders that neither this user listed nor `trust_paths` covers.
        """
        added = {folder for folder in map(os.path.realpath, folders) if not _inside(folder, self.root)}
        if not added <= set(self.folders):
            # The registry's lock: another process may be listing folders, too.
            self.registry.apply([], lambda: self._add_folders(added))

    def _add_folders(self, added: Iterable[str]) -> None:
        description = _read_description(self.root)
        listed = tuple(description.get("folders") or ())
        if not _are_mine(description) and not all(self._user_trusts(os.path.realpath(folder)) for folder in listed):
            raise TrustError(
                f"the repository {self.root} lists folders that you did not list yourself: {', '.join(listed)}. "
                f"Open it with trust_paths={list(listed)!r} if they are right"
            )
        self.folders = (*listed, *sorted(set(added) - set(listed)))
        self._folders_trusted = True
        write_description(self.root, self.id, self.parents, self.folders, durable=self.files.durable)

    def close(self) -> None:
        """Close the registry and those of the parents."""
        self.registry.close()
        for parent in self.parents:
            parent.close()


class Overlay(Repository):
    """What a transaction has put and nobody else sees yet: nearer than its output, with the same files."""

    def __init__(self, output: Repository) -> None:
        from .registry.pending import PendingRegistry

        self.root = output.root
        self.id = uuid4()
        self.parents = (output,)
        self.folders = output.folders
        self.writable = True
        self._folders_trusted = output._folders_trusted
        self.trust_paths = output.trust_paths
        self.files = output.files
        self.registry = PendingRegistry()
        self.own = None
        self.definitions = output.definitions

    def open_file(self, file: StoredFile) -> ClosableSource:
        """Open a stored file as the output would."""
        return self.parents[0].open_file(file)

    def changed(self) -> bool:
        """Tell whether a policy was edited since it was read."""
        return self.parents[0].changed()


def _inside(place: str, folder: str) -> bool:
    """Tell whether a place is in a folder; links in both are resolved already."""
    return place == folder or place.startswith(folder.rstrip(os.sep) + os.sep)


def _inside_any(place: str, folders: Iterable[str]) -> bool:
    return any(_inside(place, os.path.realpath(folder)) for folder in folders)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _write_whole(path: str, text: str, *, durable: bool) -> None:
    temporary = f"{path}.part~{os.urandom(8).hex()}"
    try:
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        if durable:
            sync_folder(os.path.dirname(path))
    except OSError as error:
        raise RepositoryError(f"{path} cannot be written: {error.strerror}") from error


def write_description(
    root: str, id_: UUID, parents: Sequence[Repository], folders: Sequence[str], *, durable: bool
) -> None:
    """Write ``bunter.yaml``: layout, id, parents (relative, so that a tree can be moved), listed folders."""
    import yaml

    description: dict[str, Any] = {"layout": LAYOUT, "id": str(id_)}
    if parents:
        description["parents"] = [
            {
                "path": os.path.relpath(parent.root, root).replace(os.sep, "/"),
                "absolute": parent.root,
                "id": str(parent.id),
            }
            for parent in parents
        ]
    if folders:
        description["folders"] = list(folders)
        description["signature"] = sign_folders(str(id_), folders)
    text = _HEADER + yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    _write_whole(os.path.join(root, DESCRIPTION), text, durable=durable)


def _read_description(root: str) -> dict[str, Any]:
    path = os.path.join(root, DESCRIPTION)
    try:
        text = read_regular(path, LARGEST).decode()
    except FileNotFoundError:
        what = "there is no such folder" if not os.path.isdir(root) else f"it has no {DESCRIPTION}"
        raise RepositoryError(
            f"{root} is not a repository: {what}. Make one with Butler(outputs=RepositoryArgs(root, policy=...)) "
            "or 'bunter init'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} cannot be read: {error}") from error
    faults = Faults()
    documents = parse_yaml(text, path, faults)
    try:
        faults.raise_if_any()
        description: Any = documents[0].plain() if documents else None
        layout = description["layout"]
        if isinstance(layout, int) and layout > LAYOUT:
            raise RepositoryError(
                f"{root} has layout {layout}; this Bunter knows layouts up to {LAYOUT}: use a newer Bunter"
            )
        UUID(description["id"])
        well_formed = (
            isinstance(layout, int)
            and all(_is_place(p["path"]) and UUID(p["id"]) for p in description.get("parents") or [])
            and all(_is_place(p.get("absolute", "")) for p in description.get("parents") or [])
            and isinstance(description.get("folders") or [], list)
            and all(map(_is_place, description.get("folders") or []))
        )
    except (DefinitionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepositoryError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not well_formed:
        raise RepositoryError(f"{path} is damaged: it needs layout, id, parents")
    return dict(description)


def _is_place(path: object) -> bool:
    return isinstance(path, str) and "\0" not in path


def _are_mine(description: Mapping[str, Any]) -> bool:
    """Tell whether this user listed the folders that a repository lists, if it lists any."""
    folders = description.get("folders") or ()
    return not folders or folders_are_mine(description["id"], folders, str(description.get("signature") or ""))


def _check_own_files(root: str) -> None:
    """Refuse a repository whose own files are links to something outside of it, which would be read and written."""
    for name in (DESCRIPTION, *_OWN_FILES):
        place = os.path.join(root, name)
        if os.path.islink(place) and not _inside(os.path.realpath(place), root):
            raise TrustError(
                f"{place} is a link that leads to {os.path.realpath(place)}, outside of the repository: it was not "
                "opened. Put the file itself there"
            )


def is_repository(root: str) -> bool:
    """Tell whether a folder is a repository."""
    return os.path.isfile(os.path.join(root, DESCRIPTION))


def resolve_root(place: str | os.PathLike[str]) -> str:
    """Return the absolute folder for a path or a ``file:`` URI.

    Raises
    ------
    RepositoryError
        For other schemes.
    """
    text = os.fspath(place)
    scheme = re.match(r"(file):|([A-Za-z][A-Za-z0-9+.-]+)://", text)
    if scheme:
        if scheme.group(2):
            raise RepositoryError(
                f"{text}: repositories live in folders; this version reaches none at {scheme.group(2)!r}"
            )
        from urllib.parse import unquote, urlparse

        text = unquote(urlparse(text).path)
    return os.path.realpath(text)


def _recorded(path: str) -> bool:
    """Tell whether anything was ever recorded in a registry."""
    registry = SqliteRegistry(path, create=True)
    try:
        return bool(registry.types())
    finally:
        registry.close()


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Wait until no other process makes a repository of this folder; a killed one lets go by itself."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RepositoryError(f"the folder {folder} cannot be read: {error.strerror}") from error
    try:
        # Where a file system has no locks, two at once are told apart by what they leave.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Opened:
    """The repositories that one Butler has open, each once."""

    def __init__(self, *, durable: bool = True, trust_paths: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._durable = durable
        self._trust_paths = tuple(os.path.realpath(path) for path in trust_paths)
        self._by_root: dict[str, Repository] = {}
        self._opening: list[str] = []

    def open(self, root: str, *, writable: bool = False) -> Repository:
        """Open a repository and its parents.

        Raises
        ------
        RepositoryError
            If it is not one, is of a newer layout, is damaged, or a parent cannot be reached.
        """
        root = os.path.realpath(root)
        if root in self._opening:
            raise RepositoryError(f"{root} is its own ancestor: {' -> '.join([*self._opening, root])}")
        known = self._by_root.get(root)
        description = _read_description(root) if known is None else {}
        if writable and not os.access(root, os.W_OK):
            raise RepositoryError(f"{root} is read-only: it cannot be an output")
        if known is not None:
            if writable:
                known.make_writable()
            return known
        self._opening.append(root)
        try:
            _check_own_files(root)
            parents = tuple(self._open_parent(root, parent) for parent in description.get("parents") or [])
        finally:
            self._opening.pop()
        repository = Repository(
            root,
            UUID(description["id"]),
            parents,
            tuple(description.get("folders") or ()),
            _are_mine(description),
            writable=writable,
            durable=self._durable,
        )
        repository.trust_paths = repository.files.trusted_folders = self._trust_paths
        self._by_root[root] = repository
        return repository

    def _open_parent(self, child: str, parent: Mapping[str, Any]) -> Repository:
        places = [os.path.realpath(os.path.join(child, parent["path"]))]
        if isinstance(parent.get("absolute"), str):
            places.append(parent["absolute"])
        seen = []
        for place in dict.fromkeys(places):
            if not is_repository(place):
                seen.append(f"{place} is not a repository")
                continue
            if _read_description(place)["id"] != parent["id"]:
                seen.append(f"{place} is another repository")
                continue
            return self.open(place)
        raise RepositoryError(
            f"the parent {parent['path']} of {child} cannot be reached: {'; '.join(seen)}. Move it back to where "
            f"it was in relation to {child}, or correct the path in {os.path.join(child, DESCRIPTION)}"
        )

    def make(self, root: str, parents: Sequence[Repository], policy: Definitions | None) -> Repository:
        """Make a repository whose parents are `parents`; one that another process makes just now is opened.

        Raises
        ------
        RepositoryError
            If there is something else already, or it cannot be made.
        """
        root = os.path.realpath(root)
        try:
            os.makedirs(root, exist_ok=True)
        except OSError as error:
            raise RepositoryError(f"the folder {root} cannot be made: {error.strerror}") from error
        with _alone_in(root):
            if not is_repository(root):
                self._fill(root, parents, policy)
        made = self.open(root, writable=True)
        same_parents = [parent.id for parent in made.parents] == [parent.id for parent in parents]
        if not same_parents or (made.own and made.own.to_yaml()) != (policy and policy.to_yaml()):
            raise RepositoryError(
                f"{root} was made by another process meanwhile, with other parents or definitions; open it again"
            )
        return made

    def _fill(self, root: str, parents: Sequence[Repository], policy: Definitions | None) -> None:
        registry = os.path.join(root, REGISTRY)
        there = {name for name in os.listdir(root) if ".part~" not in name}
        if there and not (REGISTRY in there and there <= _OWN_FILES and not _recorded(registry)):
            # Whoever was killed while making one leaves an empty registry, which is no loss.
            raise RepositoryError(
                f"{root} is neither empty nor a repository (it has no {DESCRIPTION}): nothing was made of it"
            )
        SqliteRegistry(registry, create=True, durable=self._durable).close()
        if policy is not None:
            _write_whole(os.path.join(root, POLICY), policy.to_yaml(), durable=self._durable)
        # The description comes last: a folder without it is not a repository.
        write_description(root, uuid4(), parents, (), durable=self._durable)
        if self._durable:
            sync_folder(os.path.dirname(root))

    def close(self) -> None:
        """Close all."""
        for repository in self._by_root.values():
            repository.registry.close()


class Chain:
    """Repositories in the order in which they are searched.

    The output comes first, then its parents in order; each repository comes once and never before one that
    descends from it.
    """

    def __init__(self, starts: Sequence[Repository]) -> None:
        finished: list[Repository] = []
        seen: set[UUID] = set()

        def visit(repository: Repository) -> None:
            if repository.id in seen:
                same = next((r for r in finished if r.id == repository.id), repository)
                if same.root != repository.root:
                    raise RepositoryError(
                        f"{same.root} and {repository.root} are copies of one repository (id {repository.id}): open "
                        f"one of them, or give the copy an id of its own in its {DESCRIPTION}"
                    )
                return
            seen.add(repository.id)
            for parent in reversed(repository.parents):
                visit(parent)
            finished.append(repository)

        for start in reversed(starts):
            visit(start)
        self.order = tuple(reversed(finished))
        self.hidden: set[UUID] = set()
        """Datasets that a transaction of ours has deleted and the registry still shows."""
        self.ancestors: dict[UUID, frozenset[UUID]] = {}
        for repository in reversed(self.order):
            above: set[UUID] = set()
            for parent in repository.parents:
                above |= {parent.id} | self.ancestors[parent.id]
            self.ancestors[repository.id] = frozenset(above)
        self._beyond = {
            repository.id: tuple(r for r in self.order if r is repository or r.id in self.ancestors[repository.id])
            for repository in self.order
        }

    def beyond(self, repository: Repository) -> tuple[Repository, ...]:
        """Return a repository and its ancestors, nearest first."""
        return self._beyond[repository.id]

    def __iter__(self) -> Any:
        return iter(self.order)
