"""The front door."""

from __future__ import annotations

from typing import Any

from .definitions.model import CompositeType, PartOfType, StoredType
from .errors import RepositoryError
from .reads import Reads
from .writes import Writes


class Butler(Reads, Writes):
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

    def __enter__(self) -> Butler:
        return self

    def __reduce__(self) -> Any:
        if getattr(self._local, "transaction", None) is not None:
            raise RepositoryError("a Butler inside a transaction cannot be pickled")
        return _reopen, (self._arguments,)

    def dataset_types(self) -> list[str]:
        """Return the names of all dataset types."""
        return sorted(self._current().definitions.types)

    def definition(self, name: str) -> StoredType | CompositeType | PartOfType:
        """Return the definition of a dataset type."""
        context = self._current()
        full_name, _ = context.resolve(name, None, {})
        return context.definitions.find(full_name)

    def key_types(self) -> dict[str, str]:
        """Return the type of every data ID key that is defined: ``int``, ``str`` or ``float``."""
        return dict(self._current().definitions.key_types)

    def repositories(self) -> list[str]:
        """Return the roots of the repositories that are searched, nearest first."""
        return [repository.root for repository in self._context.chain.order]

    def aliases(self) -> dict[str, str]:
        """Return the aliases and what they stand for."""
        return dict(self._current().definitions.aliases)


def _reopen(arguments: dict[str, Any]) -> Butler:
    return Butler(**arguments)
