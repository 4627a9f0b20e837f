"""Files that are to be ingested: listed, looked at once each, and where they really lie."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from .dataid import DataId, KeyValue
from .errors import ParameterError
from .files.interface import StoredFile
from .words import listing, shown

_NOTHING: Mapping[str, Any] = {}


class Incoming:
    """One file to ingest and what is known of its datasets.

    Attributes
    ----------
    path : str
        As it was given.
    columns : mapping
        What a table says beside the path.
    size, modified : int
        As it was when it was looked at; -1 before.
    absolute, real : str
        What `os.path.abspath` and `os.path.realpath` make of the path; empty before it was found.
    is_link : bool
        Whether the path's last name is a symbolic link.
    data_ids : tuple of DataId
        Its datasets.
    values : mapping
        All values that are known of it.
    stored : StoredFile or None
        What is recorded of it.
    """

    __slots__ = ("absolute", "columns", "data_ids", "is_link", "modified", "path", "real", "size", "stored", "values")

    def __init__(self, path: str, columns: Mapping[str, Any] = _NOTHING) -> None:
        self.path = path
        self.columns = columns
        self.absolute = self.real = ""
        self.size = self.modified = -1
        self.is_link = False
        self.data_ids: tuple[DataId, ...] = ()
        self.values: Mapping[str, KeyValue] = _NOTHING
        self.stored: StoredFile | None = None

    def look(self) -> int:
        """Note size and time of the file, and return its mode; an `OSError` if it is not there."""
        status = os.lstat(self.path)
        if stat.S_ISLNK(status.st_mode):
            self.is_link = True
            status = os.stat(self.path)
        self.size, self.modified = status.st_size, status.st_mtime_ns
        return status.st_mode

    def again(self) -> Incoming:
        """Return the same file, of which nothing is known."""
        return Incoming(self.path, self.columns)


def listed_files(files: Any) -> list[Incoming]:
    """Return the files for paths, globs, or a table with a ``path`` column.

    Raises
    ------
    ParameterError
        If there is no path in what was given, or a glob matches nothing.
    """
    if isinstance(files, str | os.PathLike):
        return _named(os.fspath(files))
    if isinstance(files, Mapping):
        return _rows({str(name): list(column) for name, column in files.items()})
    if hasattr(files, "colnames"):
        return _rows({name: _plain_column(files[name]) for name in files.colnames})
    if hasattr(files, "to_pydict"):
        return _rows(files.to_pydict())
    if hasattr(files, "to_dict") and hasattr(files, "columns"):
        return _rows({str(name): list(files[name]) for name in files.columns})
    if isinstance(files, Iterable):
        found: list[Incoming] = []
        for item in files:
            if type(item) is str or isinstance(item, str | os.PathLike):
                found += _named(os.fspath(item))
            elif isinstance(item, Mapping) and "path" in item:
                found.append(Incoming(os.fspath(item["path"]), {k: v for k, v in item.items() if k != "path"}))
            else:
                raise ParameterError(f"files: {shown(item, 100)} is neither a path nor a row with a 'path'")
        return found
    raise ParameterError(f"files= takes paths, globs, or a table with a 'path' column, not a {type(files).__name__}")


def _plain_column(column: Any) -> list[Any]:
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def _rows(columns: Mapping[str, list[Any]]) -> list[Incoming]:
    if "path" not in columns:
        raise ParameterError(f"files: the table has no column 'path'; it has: {listing(columns)}")
    others = [name for name in columns if name != "path"]
    return [
        Incoming(os.fspath(path), {name: columns[name][row] for name in others})
        for row, path in enumerate(columns["path"])
    ]


def _named(path: str) -> list[Incoming]:
    """Return the file of a path, or those of a glob."""
    file = Incoming(path)
    try:
        mode = file.look()
    except (OSError, ValueError):
        if not glob.has_magic(path):
            # Said later, together with all others that cannot be ingested.
            return [file]
    else:
        if stat.S_ISDIR(mode):
            raise ParameterError(
                f"{path} is a folder: name its files, for example {os.path.join(path, '**', '*.fits')!r}"
            )
        return [file]
    found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
    if not found:
        raise ParameterError(f"no file matches {path!r}")
    return [Incoming(p) for p in found]


class Folders:
    """Where the folders of paths are; each is asked for once, since files come by the thousand."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def find(self, file: Incoming) -> None:
        """Note where a file that was looked at is."""
        path = file.path
        at = path.rfind("/") + 1
        folder, name = path[:at], path[at:]
        if name in _NO_NAMES:
            file.absolute, file.real = os.path.abspath(path), os.path.realpath(path)
            return
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = _prefix(os.path.abspath(folder)), _prefix(os.path.realpath(folder))
        absolute, real = known
        file.absolute = absolute + name
        if file.is_link:
            file.real = os.path.realpath(path)
        else:
            file.real = file.absolute if absolute == real else real + name


def folders_of(files: Iterable[Incoming]) -> set[str]:
    """Return the folders in which files that were found really are."""
    return {os.path.dirname(prefix) for prefix in {file.real[: file.real.rfind("/") + 1] for file in files}}


_NO_NAMES = frozenset(("", ".", ".."))


def _prefix(folder: str) -> str:
    return folder if folder.endswith("/") else folder + "/"
