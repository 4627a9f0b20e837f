"""A repository that may be damaged: opened as far as that goes, with what is wrong reported instead of raised."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from ..definitions import Definitions, load
from ..definitions.model import StoredType
from ..errors import BunterError, DefinitionError, RepositoryError
from ..files.local import LocalFiles
from ..registry.auditing import Audit
from ..registry.sqlite import SqliteRegistry
from ..repository import (
    DESCRIPTION,
    POLICY,
    REGISTRY,
    Chain,
    Opened,
    Repository,
    _are_mine,
    _check_own_files,
    _read_description,
    is_repository,
)
from ..words import listing
from .report import Report


class Examined(Repository):
    """One repository and those of its parents that can be opened.

    Attributes
    ----------
    audit : Audit
        Of its registry.
    chain : tuple of Repository
        Itself and what it builds on, in the order in which they are searched.
    whole : bool
        Whether all parents are there.
    sound : bool
        Whether the registry can be believed when it says that it does not know a file.
    """

    def __init__(
        self, root: str, description: Mapping[str, Any], registry: SqliteRegistry, *, trust_paths: tuple[str, ...]
    ) -> None:
        self.root = root
        self.id = UUID(description["id"])
        self.parents = ()
        self.folders = tuple(description.get("folders") or ())
        self.writable = registry.writable
        self._folders_trusted = _are_mine(description)
        self.trust_paths = trust_paths
        self.files = LocalFiles(root)
        self.files.trusted_folders = trust_paths
        self.registry = registry
        self.audit = Audit(registry)
        self.own = None
        self.definitions = Definitions.combine([], None)
        self.chain: tuple[Repository, ...] = (self,)
        self.whole = True
        self.sound = True


def examine(
    root: str, opened: Opened, report: Report, *, repair: bool, trust_paths: tuple[str, ...]
) -> Examined | None:
    """Open a repository as far as that goes; None if its registry cannot be opened.

    Raises
    ------
    RepositoryError
        If it is no repository, of a newer layout, or its description cannot be read; or if it cannot be repaired
        because it is read-only.
    """
    description = _read_description(root)
    _check_own_files(root)
    if repair and not os.access(root, os.W_OK):
        raise RepositoryError(f"{root} is read-only: it can be verified, but not repaired")
    parents, whole = _parents(root, description, opened, report)
    report.parents = tuple(parent.root for parent in parents)
    try:
        registry = SqliteRegistry(os.path.join(root, REGISTRY), writable=repair)
    except BunterError as error:
        report.add(
            "registry damaged",
            "error",
            f"{error}. Without it nobody knows which datasets there are: restore it from a copy",
            path=REGISTRY,
        )
        return None
    found = Examined(root, description, registry, trust_paths=trust_paths)
    found.parents, found.whole = parents, whole
    try:
        found.chain = Chain([found]).order
    except RepositoryError as error:
        found.chain, found.whole = (found, *parents), False
        report.add("parent unreadable", "error", str(error), path=DESCRIPTION)
    return found


def _parents(
    root: str, description: Mapping[str, Any], opened: Opened, report: Report
) -> tuple[tuple[Repository, ...], bool]:
    """Open the parents that are there, each by itself; tell whether these are all."""
    found: list[Repository] = []
    parents = description.get("parents") or []
    for parent in parents:
        places = [os.path.realpath(os.path.join(root, parent["path"]))]
        if isinstance(parent.get("absolute"), str):
            places.append(parent["absolute"])
        places = list(dict.fromkeys(places))
        there = [place for place in places if is_repository(place)]
        kind = "parent unreachable"
        message = (
            f"there is no repository at {' or '.join(places)}: move it back to where it was in relation to {root}, or "
            f"correct the path in {os.path.join(root, DESCRIPTION)}"
        )
        for place in there:
            try:
                its = _read_description(place)["id"]
                if its == parent["id"]:
                    found.append(opened.open(place))
                    kind = ""
                    break
                kind = "another repository"
                message = (
                    f"{place} is another repository than the parent was (its ID is {its}, not {parent['id']}): put the "
                    f"right one there, or correct the path in {os.path.join(root, DESCRIPTION)}"
                )
            except BunterError as error:
                kind, message = "parent unreadable", f"{error}. Run 'bunter verify {place}'"
        if kind:
            report.add(kind, "error", message, path=parent["path"])
    return tuple(found), len(found) == len(parents)


def check_definitions(examined: Examined, report: Report) -> None:
    """Read the policy; say which of the recorded types it does not define as they are recorded."""
    inherited = [parent.definitions for parent in examined.parents]
    path = Path(examined.root, POLICY)
    try:
        known = Definitions.combine(inherited, None)
        examined.own = load(path, known=known if inherited else None) if path.exists() else None
        examined.definitions = Definitions.combine(inherited, examined.own)
    except (DefinitionError, RepositoryError) as error:
        if examined.whole:
            report.add("policy unreadable", "error", f"{error}", path=POLICY)
        # Without a parent its types are unknown: that is told already.
        return
    except OSError as error:
        report.add("policy unreadable", "error", f"{path} cannot be read: {error.strerror}", path=POLICY)
        return
    for name, keys in examined.registry.types().items():
        definition = examined.definitions.types.get(name)
        if definition is None and examined.whole:
            number = examined.audit.rows_of(name)
            report.add(
                "type not defined",
                "note",
                f"{name!r} has {number} datasets, but is not defined any more: by name they are not found, nor by "
                "composites; define it again, as it was, to read them",
            )
        elif isinstance(definition, StoredType) and set(definition.keys) != set(keys):
            report.add(
                "keys differ",
                "error",
                f"{name!r} is recorded with the keys {listing(keys)}, but is defined with "
                f"{listing(definition.keys)}: the keys of a type cannot change; correct {path}, or give the new "
                "definition another stage",
                path=POLICY,
            )
