"""Every error that Bunter raises on purpose.

::

    BunterError
    ├ DatasetNameError  DataIdError  DefinitionError  ParameterError   (each + ValueError)
    ├ NotFoundError                                                    (+ LookupError)
    │  ├ DatasetTypeNotFoundError  ComponentNotFoundError  DatasetNotFoundError
    ├ AmbiguousDatasetError      two repositories disagree
    ├ DatasetExistsError         other content is there already
    │  └ ConflictError           a shared component that differs
    ├ InUseError                 others are made of it
    ├ RepositoryError            not a repository, wrong version, read-only, unreachable parent
    ├ IntegrityError             checksum, truncated, missing file
    ├ FormatError                wraps the cause
    │  ├ FormatMemoryError       (+ MemoryError)
    │  └ FormatUnavailableError  (+ ImportError)
    ├ AssemblyError              a part missing, or about to be lost
    └ TrustError                 a name or a folder that the user did not trust

A message says what was asked, where Bunter looked, what there is, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class BunterError(Exception):
    """Base of all errors that Bunter raises on purpose."""


class DatasetNameError(BunterError, ValueError):
    """A dataset name that cannot be read, or that does not say enough."""


class DataIdError(BunterError, ValueError):
    """A data ID that is incomplete, contradictory, wrongly typed or unsafe."""


class DefinitionError(BunterError, ValueError):
    """Definitions (a policy) that are malformed or contradict each other."""


class ParameterError(BunterError, ValueError):
    """A read parameter that is unknown, or a value that does not fit the data."""


class NotFoundError(BunterError, LookupError):
    """Base of the errors about something that is not there."""


class DatasetTypeNotFoundError(NotFoundError):
    """No dataset type of that name, or of that stage, is defined."""


class ComponentNotFoundError(NotFoundError):
    """The dataset type has no component of that name."""


class DatasetNotFoundError(NotFoundError):
    """No dataset is recorded under that name and data ID.

    Attributes
    ----------
    searched : tuple of str
        The repositories that were searched, nearest first.
    """

    def __init__(self, message: str, searched: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.searched = tuple(searched)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.args[0], self.searched)


class AmbiguousDatasetError(BunterError):
    """Two repositories, neither made from the other, hold different datasets for one leaf."""


class DatasetExistsError(BunterError):
    """A put or an ingest would overwrite a dataset that has other content."""


class ConflictError(DatasetExistsError):
    """A component that others share differs from the one that is stored."""


class InUseError(BunterError):
    """Other datasets are made of the one that was to be deleted."""


class RepositoryError(BunterError):
    """Not a repository, a layout of another version, read-only, or a parent that cannot be reached."""


class IntegrityError(BunterError):
    """A stored file is missing, short, or not what was written."""


class FormatError(BunterError):
    """A file that its format cannot read, or an object that it cannot write."""


class FormatMemoryError(FormatError, MemoryError):
    """A file that takes more memory to read than there is, or asks for more than one of its size may."""


class FormatUnavailableError(FormatError, ImportError):
    """A format whose library is not installed; the message names the extra to install."""


class AssemblyError(BunterError):
    """A composite lacks a part, or a put would lose one."""


class TrustError(BunterError):
    """Something asked for code or files that the user did not trust."""
