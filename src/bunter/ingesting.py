"""Ingest: files that are there already become datasets, all of them or none."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from struct import iter_unpack
from typing import Any
from uuid import UUID, SafeUUID

from . import __version__, formats
from .choices import check_choice
from .committing import Staged, attempt, until_first
from .context import Context
from .dataid import DataId, KeyValue, check_value
from .definitions.model import StoredType
from .errors import (
    AssemblyError,
    BunterError,
    DataIdError,
    DatasetExistsError,
    FormatError,
    FormatMemoryError,
    IntegrityError,
    ParameterError,
)
from .files.interface import StoredFile
from .files.local import LocalDraft, checksum_of
from .files.sources import LocalSource
from .formats.interface import About, Format
from .incoming import Folders, Incoming, folders_of, listed_files
from .reading import writing_of
from .registry.interface import NewDataset, Record
from .storing import recorded_cards, write_error
from .templates import Template
from .values import replace
from .words import did_you_mean, listing

MODES = ("direct", "copy", "move", "hardlink", "symlink")
SCANS = ("none", "headers", "full")
ON_EXISTS = ("error", "skip", "replace")
Progress = Callable[[int, int], None]
_NOTHING: Mapping[str, Any] = {}
_VERSION_4 = 0x4 << 76 | 0x8 << 60
_RANDOM = ~(0xF << 76 | 0xC << 60)


class Ingest:
    """One ingest.

    Parameters
    ----------
    context : Context
        Of the Butler's call.
    stored : StoredType
        What the files are.
    """

    def __init__(
        self,
        context: Context,
        stored: StoredType,
        *,
        mode: str,
        scan: str,
        data_id: Mapping[str, KeyValue],
        template: str | None,
        on_exists: str,
        producer: str,
        progress: Progress | None,
    ) -> None:
        check_choice("mode", mode, MODES)
        check_choice("scan", scan, SCANS)
        check_choice("on_exists", on_exists, ON_EXISTS)
        self.context = context
        self.output = context.need_output()
        self.stored = stored
        self.mode = mode
        self.scan = scan
        self.on_exists = on_exists
        self.given = dict(data_id)
        self._implied = context.definitions.implied
        known = (*stored.keys, *stored.path_fields, *self._implied)
        for key in self.given:
            if key not in known:
                near = did_you_mean(key, known)
                raise DataIdError(f"{stored.name!r} has no key {key!r}{near}; its keys are: {listing(stored.keys)}")
        self.kinds = {**context.definitions.key_types}
        self.template = Template(template) if template is not None else stored.template
        if self.template is not None:
            for name, kind in self.template.kinds.items():
                self.kinds.setdefault(name, kind or "str")
        self._match = None if self.template is None else self.template.matcher(self.kinds)
        # Nothing in the file itself says what it is.
        self._path_is_all = not stored.id_from and stored.each is None
        # Integers that the template reads for integer keys need no second look.
        self._path_is_standard = self.template is not None and all(
            self.kinds[name] == "int" and kind in ("int", None) for name, kind in self.template.kinds.items()
        )
        self.format: Format = formats.find(stored.storage)
        self.producer = producer
        self.progress = progress
        self.staged = Staged()
        self._inside = self.output.root.rstrip(os.sep) + os.sep
        self._needs_place = mode != "direct"
        if self._needs_place and stored.template is None:
            raise ParameterError(f"mode={mode!r}: {stored.name!r} has no template, so no place for its files")

    def run(self, files: Any) -> list[tuple[str, DataId, Any]]:
        """Ingest files; return (type, data ID, UUID) of each dataset, old or new."""
        listed = listed_files(files)
        # Looked at while they were listed; whoever begins again looks again.
        seen = [listed]

        def once() -> list[tuple[str, DataId, Any]]:
            return self._run(seen.pop() if seen else [file.again() for file in listed])

        return until_first(once)

    def _run(self, found: list[Incoming]) -> list[tuple[str, DataId, Any]]:
        self.staged = Staged()
        self._identify(found)
        results: list[tuple[str, DataId, Any]] = []
        try:
            self._stage(found, results)
            if self.mode == "move":
                self.staged.moved = [file.path for file in found if file.stored is not None]
            self.output.files.sync()
            if self.staged.changes:
                self._list_folders(found)
                if not self.context.show(self.staged.changes):
                    given_way = attempt(self.context, [self.staged])
                    if given_way:
                        results = [(t, d, given_way.get(u, u)) for t, d, u in results]
        except BaseException:
            self.staged.drop()
            raise
        return results

    # What the files are

    def _identify(self, found: list[Incoming]) -> None:
        unmatched: list[str] = []
        folders = Folders()
        for number, file in enumerate(found):
            try:
                if file.size < 0:
                    file.look()
                folders.find(file)
            except (OSError, ValueError) as error:
                unmatched.append(f"{file.path} ({getattr(error, 'strerror', None) or error})")
                continue
            try:
                problem = self._identify_one(file)
            except DataIdError as error:
                problem = str(error)
            if problem is not None:
                unmatched.append(f"{file.path} ({problem})")
            if self.progress is not None and number % 100 == 0:
                self.progress(number, len(found))
        if unmatched:
            shown = "\n  ".join(unmatched[:50]) + (f"\n  and {len(unmatched) - 50} more" if len(unmatched) > 50 else "")
            raise DataIdError(
                f"{len(unmatched)} of {len(found)} files cannot be ingested as {self.stored.name!r}; "
                f"none was.\n  {shown}"
            )

    def _identify_one(self, file: Incoming) -> str | None:
        """Find a file's data IDs; return what is wrong with it, if anything is."""
        sources: list[tuple[str, Mapping[str, KeyValue]]] = []
        if self.given:
            sources.append(("the data ID given", self.given))
        if file.columns:
            columns = {key: value for key, value in file.columns.items() if key in self.kinds}
            sources.append(("the table", self._standard(columns)))
        matched, hint = None, ""
        if self._match is not None:
            try:
                matched = self._match(file.absolute)
                hint = "" if matched is not None else "its path does not match the template"
            except DataIdError as error:
                # Several readings: no fault if the data ID is known otherwise.
                hint = str(error)
            if matched is not None:
                sources.append(("the path", matched if self._path_is_standard else self._standard(matched)))
        if self._path_is_all:
            file.values = sources[0][1] if len(sources) == 1 else _merged(sources)
            return self._identified(file, file.values, hint)
        each: list[dict[str, KeyValue]] | None = None
        if self.stored.id_from or (self.stored.each is not None and self.stored.each.kind != "values"):
            with _opened(file, self.format) as source:
                about = self._about(file.path)
                if self.stored.id_from:
                    sources.append(("the header", self._from_cards(source, about)))
                if self.stored.each is not None and self.stored.each.kind != "values":
                    each = [self._standard(m) for m in self.format.members(source, about, self.stored.each)]
        if self.stored.each is not None and self.stored.each.kind == "values":
            (key, values), *_ = self.stored.each.names.items()
            each = [self._standard({key: value}) for value in values]
        file.values = merged = _merged(sources)
        if each is None:
            return self._identified(file, merged, hint)
        for member in each:
            if any(key in merged and merged[key] != value for key, value in member.items()):
                # A file of many datasets of which this call wants some.
                continue
            problem = self._identified(file, {**merged, **member}, hint)
            if problem is not None:
                return problem
        if not file.data_ids:
            return "it holds no dataset that agrees with the data ID"
        return None

    def _identified(self, file: Incoming, full: Mapping[str, KeyValue], hint: str) -> str | None:
        """Note a dataset of a file; return what is wrong with it, if anything is."""
        try:
            file.data_ids += (DataId({key: full[key] for key in self.stored.keys}),)
        except KeyError:
            missing = [key for key in self.stored.keys if key not in full]
            return "; ".join(part for part in (f"no value for {listing(missing)}", hint) if part)
        if self._implied:
            self._note_implied(full)
        return None

    def _standard(self, values: Mapping[str, Any]) -> dict[str, KeyValue]:
        standard: dict[str, KeyValue] = {}
        for key, value in values.items():
            kind = self.kinds.get(key, "str")
            plain = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
            if isinstance(plain, bytes):
                plain = plain.decode("ascii", "replace")
            if isinstance(plain, str) and kind != "str":
                plain = _number(key, plain.strip(), kind)
            elif isinstance(plain, str):
                plain = plain.strip()
            elif kind == "str" and isinstance(plain, int) and not isinstance(plain, bool) and plain.bit_length() < 65:
                plain = str(plain)
            elif kind == "int" and isinstance(plain, float) and plain.is_integer():
                plain = int(plain)
            standard[key] = check_value(key, plain, kind)
        return standard

    def _from_cards(self, source: LocalSource, about: About) -> dict[str, KeyValue]:
        wanted = {match.card for match in self.stored.id_from.values()}
        cards = self.format.cards(source, about, sorted(wanted))
        found: dict[str, Any] = {}
        for key, match in self.stored.id_from.items():
            if match.card not in cards:
                continue
            value = cards[match.card]
            if match.match is not None:
                read = Template(match.match).match(str(value).strip(), self.kinds)
                if read is None or key not in read:
                    raise DataIdError(
                        f"the card {match.card} = {value!r} does not match {match.match!r}, which should give {key!r}"
                    )
                value = read[key]
            found[key] = value
        return self._standard(found)

    def _note_implied(self, full: Mapping[str, KeyValue]) -> None:
        for key, given in self._implied.items():
            if key in full and all(other in full for other in given):
                fact = key, tuple((other, full[other]) for other in given)
                known = self.staged.changes.implied.setdefault(fact, full[key])
                if known != full[key]:
                    what = ", ".join(f"{other}={full[other]!r}" for other in given)
                    raise DataIdError(f"two files disagree: {what} has {key}={known!r} and {key}={full[key]!r}")

    def _about(self, path: str) -> About:
        return About(path, None, self.stored.parts, dict(self.given), None, self.context.opener.importer.find)

    # What becomes of them

    def _stage(self, found: list[Incoming], results: list[tuple[str, DataId, Any]]) -> None:
        now = time.time_ns() // 1000
        by = f"bunter {__version__}" + (f"; {self.producer}" if self.producer else "")
        component = self.stored.name.partition(".")[2].rpartition(".")[2] or None
        writing = writing_of(self.stored, component)
        kinds = {key: self.context.definitions.key_types[key] for key in self.stored.keys}
        nothing_yet = all(r.registry.keys_of(self.stored.name) is None for r in self.context.nearest_output())
        looks_inside, has_metadata = self.scan != "none", bool(self.stored.path_fields or self.stored.metadata)
        changes, uuids, name = (
            self.staged.changes,
            _new_uuids(sum(len(file.data_ids) for file in found)),
            self.stored.name,
        )
        staged_here: dict[tuple[KeyValue, ...], Incoming] = {}
        conflicts: list[str] = []
        for number, file in enumerate(found):
            for data_id in file.data_ids:
                existing = None if nothing_yet else self._existing(data_id)
                if existing is not None and self._unchanged(file, existing):
                    results.append((self.stored.name, data_id, existing.uuid))
                    continue
                values = tuple(data_id.values())
                twin = staged_here.get(values)
                if twin is not None:
                    if self.on_exists == "skip" or checksum_of(file.path) == checksum_of(twin.path):
                        continue
                    conflicts.append(f"{data_id} is in {twin.path} and, different, in {file.path}")
                    continue
                if existing is not None:
                    if self.on_exists == "skip":
                        results.append((self.stored.name, data_id, existing.uuid))
                        continue
                    if self.on_exists == "error":
                        conflicts.append(f"{data_id} ({file.path}) exists in {self.output.root} with other content")
                        continue
                uuid = next(uuids)
                new = NewDataset(
                    name, kinds, data_id, uuid, file.stored or self._stored_file(file), writing, now, by,
                    replaces=existing is not None,
                    metadata=self._metadata(file, data_id) if has_metadata else _NOTHING,
                    footprint=self._footprint(file, data_id) if looks_inside else None,
                )  # fmt: skip
                staged_here[values] = file
                result = name, data_id, uuid
                changes.datasets.append(new)
                changes.repins.append(result)
                results.append(result)
            if self.progress is not None and number % 20 == 0:
                self.progress(number, len(found))
        if conflicts:
            shown = "\n  ".join(conflicts[:50])
            raise DatasetExistsError(
                f"{len(conflicts)} datasets of {self.stored.name!r} would be overwritten; nothing was ingested. "
                f"Say on_exists='skip' or on_exists='replace'.\n  {shown}"
            )

    def _existing(self, data_id: DataId) -> Record | None:
        locator = self.context.locator("nearest")
        for repository in self.context.nearest_output():
            record = locator.direct(repository, self.stored.name, data_id)
            if record is not None:
                return record
        return None

    def _unchanged(self, file: Incoming, existing: Record) -> bool:
        known = existing.file
        if known is None or known.size != file.size:
            return False
        if self.mode == "direct" and not known.owned and known.path == self._direct_path(file):
            if known.modified == file.modified:
                return True
            return known.checksum is not None and known.checksum == checksum_of(file.path)
        mine = checksum_of(file.path)
        if known.checksum is not None:
            return mine == known.checksum
        with contextlib.closing(self.output.open_file(known)) as source:
            if _is_same_file(source.name, file.path):
                # A link: compared with itself it is always the same.
                return known.modified in (None, file.modified)
            return os.path.isfile(source.name) and mine == checksum_of(source.name)

    def _direct_path(self, file: Incoming) -> str:
        place = file.real
        if not place.startswith(self._inside):
            return place
        inside = place[len(self._inside) :]
        return place if inside.startswith("..") else inside.replace(os.sep, "/")

    def _metadata(self, file: Incoming, data_id: DataId) -> dict[str, Any]:
        """Return the path fields and, if headers are scanned, the cards that the definition wants recorded."""
        found: dict[str, Any] = {key: file.values[key] for key in self.stored.path_fields if key in file.values}
        if self.stored.metadata and self.scan != "none":
            about = replace(self._about(file.path), data_id=data_id)
            with _opened(file, self.format) as source:
                found |= recorded_cards(self.format, source, about, self.stored.metadata)
        return found

    def _footprint(self, file: Incoming, data_id: DataId) -> bytes | None:
        """Return where on the sky the pixels of a file lie; None without a WCS."""
        about = replace(self._about(file.path), data_id=data_id)
        with _opened(file, self.format) as source:
            try:
                found = self.format.pointing(source, about)
            except FormatError:
                # A WCS that makes no sense is no reason to refuse the pixels.
                return None
        if found is None:
            return None
        from .sky import footprint

        return footprint(*found)

    def _stored_file(self, file: Incoming) -> StoredFile:
        layout, checksum = {}, None
        # What is copied is read anyway, so its parts are hashed as well.
        hashed = self.scan == "full" or self.mode in ("copy", "move")
        if self.scan != "none":
            with _opened(file, self.format) as source:
                layout = self.format.scan(source, self._about(file.path), hashed)
            if self.scan == "full" and self.mode not in ("copy", "move"):
                checksum = checksum_of(file.path)
        if self._needs_place:
            file.stored = self._place(file, layout, checksum)
        else:
            path = self._direct_path(file)
            file.stored = StoredFile(path, False, file.size, file.modified, checksum, layout)
        if self.scan != "none" or self._needs_place:
            _check_still(file)
        return file.stored

    def _place(self, file: Incoming, layout: dict[str, Any], checksum: str | None) -> StoredFile:
        assert self.stored.template is not None
        missing = [name for name in self.stored.template.fields if name not in {**file.values, **file.data_ids[0]}]
        if missing:
            raise DataIdError(f"{file.path}: the template of {self.stored.name!r} needs {listing(missing)}")
        path = self.stored.template.format({**file.values, **file.data_ids[0]})
        draft = self.output.files.draft(path)
        self.staged.drafts.append(draft)
        try:
            _fill(draft, file.path, self.mode)
        except OSError as error:
            raise write_error(error, f"{self.stored.name} {file.data_ids[0]} ({file.path})", self.output) from error
        published = draft.publish(self._path_taken)
        if self.mode in ("copy", "move"):
            return StoredFile(published, True, draft.size, None, draft.checksum, layout)
        # Others may write to what is linked.
        return StoredFile(published, True, draft.size, file.modified, checksum, layout)

    def _path_taken(self, path: str) -> bool:
        return any(repository.registry.path_taken(path) for repository in self.context.nearest_output())

    def _list_folders(self, found: list[Incoming]) -> None:
        if self.mode not in ("direct", "symlink"):
            return
        self.output.list_folders(_topmost(folders_of(found)))


def _new_uuids(count: int) -> Iterator[UUID]:
    """Return random UUIDs, those of version 4, in the order in which an index takes them fastest."""
    drawn = iter_unpack(">QQ", os.urandom(16 * count))
    for number in sorted([(high << 64 | low) & _RANDOM | _VERSION_4 for high, low in drawn]):
        made = UUID.__new__(UUID)
        # As its own constructor does, which takes longer to check what it is given.
        object.__setattr__(made, "int", number)
        object.__setattr__(made, "is_safe", SafeUUID.unknown)
        yield made


def _topmost(folders: Iterable[str]) -> list[str]:
    """Return the folders that lie in none of the others."""
    top: list[str] = []
    for folder in sorted(folders):
        if not top or not (folder + os.sep).startswith(top[-1] + os.sep):
            top.append(folder)
    return top


def _merged(sources: list[tuple[str, Mapping[str, KeyValue]]]) -> dict[str, KeyValue]:
    """Return what several sources say of a file, if they agree."""
    merged: dict[str, KeyValue] = {}
    for where, values in sources:
        for key, value in values.items():
            if merged.setdefault(key, value) != value:
                origin = next(earlier for earlier, said in sources if key in said)
                raise DataIdError(f"{origin} says {key}={merged[key]!r}, {where} says {key}={value!r}")
    return merged


def _number(key: str, text: str, kind: str) -> KeyValue:
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        raise DataIdError(f"{key}={text!r}: the key {key!r} is a {kind}") from None


def _fill(draft: LocalDraft, path: str, mode: str) -> None:
    if mode in ("hardlink", "symlink"):
        draft.link(path, symbolic=mode == "symlink")
        return
    for block in _blocks(path):
        draft.stream.write(block)
    draft.finish()


def _blocks(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                yield block
    except OSError as error:
        raise AssemblyError(f"{path} cannot be read: {error.strerror}") from error


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _check_still(file: Incoming) -> None:
    """Refuse a file that was written to while it was looked at or copied."""
    try:
        now = os.stat(file.path)
    except OSError as error:
        raise IntegrityError(f"{file.path} is gone ({error.strerror}); nothing was ingested") from error
    if (now.st_size, now.st_mtime_ns) != (file.size, file.modified):
        raise IntegrityError(
            f"{file.path} was written to while it was ingested; nothing was ingested. "
            "Ingest it when whoever writes it is done"
        )


def _source(file: Incoming) -> LocalSource:
    return LocalSource(file.path, StoredFile(file.path, False, file.size, None, None, {}))


@contextlib.contextmanager
def _opened(file: Incoming, format_: Format) -> Iterator[LocalSource]:
    """Open a file to ingest for a format, whose libraries' errors become errors of Bunter."""
    source = _source(file)
    try:
        yield source
    except BunterError:
        raise
    except MemoryError as error:
        raise FormatMemoryError(
            f"{file.path} takes more memory to read as {format_.name} than there is: {error}"
        ) from error
    except Exception as error:
        raise FormatError(
            f"{file.path} is not a file of storage {format_.name}: {type(error).__name__}: {error}"
        ) from error
    finally:
        source.close()
