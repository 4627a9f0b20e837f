"""Opening the repositories that a user names, making new ones, adding to their definitions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .choices import check_choice
from .definitions import Definitions, load
from .definitions.combine import same_type
from .definitions.model import StoredType
from .errors import RepositoryError
from .repository import Opened, Repository, is_repository, resolve_root
from .trust import Importer
from .values import dataclass
from .words import did_you_mean, listing


@dataclass(frozen=True)
class RepositoryArgs:
    """A repository, and how it is to be opened.

    Attributes
    ----------
    root : str or path
        Its folder.
    policy : dict, path, YAML text or None
        Definitions; stored in a new output repository.
    mode : {"r", "w", "rw"} or None
        Accepted as Gen2 had it.
    """

    root: str | os.PathLike[str]
    policy: Any = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.mode is not None:
            check_choice("mode", self.mode, ("r", "w", "rw"))


class Opening:
    """Opens repositories for one Butler.

    Parameters
    ----------
    opened : Opened
        Holds them, each once.
    importer : Importer
        Learns what the user vouches for: the policies that are passed in code.
    """

    def __init__(self, opened: Opened, importer: Importer) -> None:
        self.opened = opened
        self._importer = importer

    def input(self, given: RepositoryArgs) -> Repository:
        """Open a repository that is read."""
        root = resolve_root(given.root)
        if given.policy is not None and not is_repository(root):
            raise RepositoryError(
                f"{root} is not a repository; a policy is stored in a new *output* repository: "
                f"Butler(outputs=RepositoryArgs({os.fspath(given.root)!r}, policy=...))"
            )
        repository = self.opened.open(root)
        if given.policy is not None:
            self._same_policy(repository, given.policy)
        return repository

    def _same_policy(self, repository: Repository, policy: Any) -> None:
        """Take a policy given for an input as the user's word for what is stored; it may not differ."""
        given = load(policy, known=repository.definitions, trusted=True)
        for name, definition in given.types.items():
            stored = repository.definitions.types.get(name)
            if stored is None or not same_type(stored, definition):
                raise RepositoryError(
                    f"the policy given for {repository.root} defines {name!r} otherwise than the repository does; "
                    "an input is not changed: open it as outputs= to define more"
                )
        self._importer.vouch(given)

    def output(self, given: RepositoryArgs, parents: Sequence[Repository], *, given_parents: bool) -> Repository:
        """Open the repository that is written, or make it with `parents`."""
        root = resolve_root(given.root)
        if not is_repository(root):
            known = Definitions.combine([parent.definitions for parent in parents], None)
            own = None
            if given.policy is not None:
                own = load(given.policy, known=known if parents else None, trusted=True)
                Definitions.combine([parent.definitions for parent in parents], own)
                self._importer.vouch(own)
            return self.opened.make(root, parents, own)
        repository = self.opened.open(root, writable=True)
        recorded = [parent.id for parent in repository.parents]
        offered = [parent.id for parent in parents]
        if given_parents and offered != recorded and not (set(offered) <= {repository.id}):
            names = ", ".join(parent.root for parent in repository.parents) or "none"
            raise RepositoryError(
                f"{root} exists and has other parents ({names}) than the inputs given "
                f"({', '.join(parent.root for parent in parents)}); give those, or none"
            )
        if given.policy is not None:
            self.define(repository, given.policy)
        return repository

    def define(self, repository: Repository, policy: Any) -> None:
        """Add a policy to a repository's own.

        Raises
        ------
        DefinitionError, RepositoryError
            If it changes what cannot change.
        """
        # The registry's lock: another process may be adding definitions, too.
        repository.registry.apply([], lambda: self._define(repository, policy))

    def _define(self, repository: Repository, policy: Any) -> None:
        if repository.changed():
            repository.read_definitions()
        new = load(policy, known=repository.definitions, trusted=True)
        self._importer.vouch(new)
        own = repository.own
        updated = new if own is None else own.updated(new)
        Definitions.combine([parent.definitions for parent in repository.parents], updated)
        for name, keys in repository.registry.types().items():
            definition = updated.types.get(name)
            if isinstance(definition, StoredType) and set(definition.keys) != set(keys):
                raise RepositoryError(
                    f"{name!r} has datasets with the keys {listing(keys)}; its keys cannot become "
                    f"{listing(definition.keys)}: use a new stage"
                )
        if own is None or updated.to_yaml() != own.to_yaml():
            repository.define(updated)


def arguments_of(given: Any) -> list[RepositoryArgs]:
    """Return the repositories that a user named: one or a list of path, URI, dict, RepositoryArgs."""
    if given is None:
        return []
    if isinstance(given, RepositoryArgs):
        return [given]
    if isinstance(given, str | os.PathLike):
        return [RepositoryArgs(given)]
    if isinstance(given, Mapping):
        known = ("root", "policy", "mode")
        for key in given:
            if key not in known:
                raise RepositoryError(
                    f"a repository given as a dict takes {listing(known)}, not {key!r}{did_you_mean(str(key), known)}"
                )
        if "root" not in given:
            raise RepositoryError("a repository given as a dict needs 'root'")
        return [RepositoryArgs(**given)]
    if isinstance(given, Iterable):
        return [argument for item in given for argument in arguments_of(item)]
    raise RepositoryError(f"a repository is a path, a URI, a dict or RepositoryArgs, not a {type(given).__name__}")
