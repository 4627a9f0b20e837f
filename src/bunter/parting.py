"""Parts of datasets as datasets of their own: each in a file by itself, under the UUID of the whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from . import formats
from .committing import Staged
from .components import match_component
from .errors import DefinitionError, FormatError, IntegrityError, TrustError
from .files.interface import StoredFile
from .files.local import LocalDraft
from .formats.interface import About
from .locate import Found
from .reading import Opener, failing, read_parts
from .registry.interface import Writing
from .repository import Repository
from .storing import write_error

_COMPRESSIONS = (".gz", ".bz2", ".fz")
# What holds what the natural formats do not: arrays of any dtype, plain values.
_LAST_RESORTS = ("FitsTable", "Npy", "Json")


def write_parts(
    opener: Opener, found: Found, parts: Sequence[str], target: Repository, staged: Staged, path: str
) -> Iterator[tuple[str, StoredFile, Writing]]:
    """Write some parts of a stored dataset, each into a file of its own; yield part, file, and how it is written.

    A part that the file lacks is written too, as a null, so that it is known to be absent.

    Parameters
    ----------
    parts : sequence of str
        Names of parts.
    target : Repository
        Where the files go; they belong to `staged` until they are committed.
    path : str
        Where the whole would go.

    Raises
    ------
    IntegrityError
        If the whole is not what was written.
    FormatError
        If it cannot be read, or no format holds one of the parts so that the same is read back.
    """
    for part, value, python in _read(opener, found, parts):
        yield part, *_written(opener, found, part, value, python, target, staged, path)


def _read(opener: Opener, found: Found, parts: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Yield the name, the value and the dotted type of each part."""
    record = found.record
    assert record.file is not None
    format_, about = opener.about(record)
    known = format_.components(about)
    inside = {match_component(part, known) or part: part for part in parts}
    source = found.repository.open_file(record.file)
    try:
        with failing(about, format_, source):
            values = read_parts(format_, source, about, {name: {} for name in inside})
    except IntegrityError as error:
        raise IntegrityError(f"{error}; nothing was copied") from error
    finally:
        source.close()
    for name, part in inside.items():
        yield part, values[name], known.get(name, "")


def _written(
    opener: Opener, found: Found, part: str, value: Any, python: str, target: Repository, staged: Staged, path: str
) -> tuple[StoredFile, Writing]:
    record = found.record
    name = f"{record.type}.{part} {record.data_id}"
    whole = record.writing.storage if record.writing is not None else ""
    refused: list[str] = []
    for storage, type_ in _choices(whole, python, value):
        format_ = formats.find(storage)
        draft = target.files.draft(_path_of_part(path, part, format_.suffix))
        staged.drafts.append(draft)
        try:
            about = About(name, opener.type_of(type_), {}, record.data_id, part, opener.importer.find)
            file = _draft(format_, value, about, draft, target)
            with_file = target.files.open(file)
            try:
                back = format_.read(with_file, about, {})
            finally:
                with_file.close()
            if (value is None and back is None) or (back is not None and format_.equal(value, back, about)):
                return file, Writing(storage, type_, None, part)
            refused.append(f"{storage} reads back something else")
        except OSError as error:
            raise write_error(error, name, target) from error
        except (FormatError, DefinitionError, TrustError, TypeError, ValueError, AttributeError) as error:
            # What a format cannot hold it says in its own way: another one may.
            refused.append(f"{storage}: {error}")
        draft.drop()
        staged.drafts.remove(draft)
    raise FormatError(
        f"{name} cannot be stored by itself ({'; '.join(refused)}); copy the whole: add {record.type!r} to the names"
    )


def _draft(format_: formats.Format, value: Any, about: About, draft: LocalDraft, target: Repository) -> StoredFile:
    layout = format_.write(value, draft.stream, about)
    draft.finish()
    path = draft.publish(target.registry.path_taken)
    return StoredFile(path, True, draft.size, None, draft.checksum, layout)


def _choices(whole: str, python: str, value: Any) -> Iterator[tuple[str, str | None]]:
    """Yield the storages that may hold a part, with the type to remember, the natural ones first."""
    if value is None:
        yield "Json", None
        return
    module = type(value).__module__
    # Bunter's own types are remembered without the module that they live in.
    own = f"{'bunter' if module.split('.')[0] == 'bunter' else module}.{type(value).__qualname__}"
    types = list(dict.fromkeys(word for word in (python, own) if word))
    storages = dict.fromkeys(
        [
            *(["FitsPart"] if whole.startswith("Fits") else []),
            *(found for word in types if (found := formats.for_python(word)) is not None),
            *([whole] if whole and formats.find(whole).writes and not whole.startswith("Fits") else []),
            *_LAST_RESORTS,
        ]
    )
    for storage in storages:
        for word in types:
            yield storage, word


def _path_of_part(path: str, part: str, suffix: str) -> str:
    """Return the path of a part's file beside that of the whole.

    Examples
    --------
    >>> _path_of_part("sfm/1/calexp-N3.fits.fz", "photo_calib", ".fits")
    'sfm/1/calexp-N3.photo_calib.fits'
    """
    stem, ending = os.path.splitext(path)
    if ending.lower() in _COMPRESSIONS:
        stem = os.path.splitext(stem)[0]
    return f"{stem}.{part}{suffix}"
