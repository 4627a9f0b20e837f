"""Reading what was located: each file opened once, each leaf read once, composites built bottom-up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from . import formats
from .assembly import Assembler, Disassembler, MemberList, assemble, built_in
from .cache import ComponentCache
from .components import match_component
from .dataid import DataId
from .definitions.model import CompositeType, PartDefinition, StoredType
from .errors import (
    AmbiguousDatasetError,
    AssemblyError,
    BunterError,
    DatasetNotFoundError,
    FormatError,
    FormatMemoryError,
    IntegrityError,
    ParameterError,
    TrustError,
)
from .formats.interface import About, Format
from .formats.sharing import freeze, share_components
from .locate import Found, Located, LocatedBranch, LocatedList, LocatedNode, is_absent, lacking
from .names import DatasetName
from .operations import Operations, compute
from .plan import Leaf
from .registry.interface import Record, Writing
from .trust import Importer
from .words import did_you_mean, listing

if TYPE_CHECKING:
    from .choosing import Choice
    from .files.interface import ClosableSource
    from .repository import Repository

_Key: TypeAlias = tuple[UUID, str]
_Wanted: TypeAlias = tuple[_Key, Leaf, Found]
_Datasets: TypeAlias = dict[UUID, list[_Wanted]]
"""What is wanted of the datasets of one file."""

_MOST_NAMES = 10_000

Progress = Callable[[int, int], None]
"""``(done, total)``"""


def writing_of(stored: StoredType, component: str | None) -> Writing:
    """Return what has to be remembered of a definition so that its datasets can be read for good."""
    parts = None
    if stored.parts:
        from dataclasses import asdict

        plain = {
            name: {k: v for k, v in asdict(part).items() if v is not None and k != "name"}
            for name, part in stored.parts.items()
        }
        parts = json.dumps(plain, ensure_ascii=False, sort_keys=False, separators=(",", ":"))
    return Writing(stored.storage, stored.python, parts, component)


class Opener:
    """Finds the format of a dataset and tells it what it needs to know.

    Parameters
    ----------
    importer : Importer
        Imports Python types as far as they are trusted.
    """

    def __init__(self, importer: Importer) -> None:
        self.importer = importer
        self._parts: dict[str, dict[str, PartDefinition]] = {}
        self._declared: dict[str, Mapping[str, str]] = {}
        self._column_names: dict[_Key, Sequence[str] | None] = {}
        self._part_names: dict[tuple[Writing | None, str], str] = {}

    def type_of(self, python: str | None) -> Any:
        """Import a Python type by its dotted name."""
        return None if python is None else self.importer.find(python)

    def parts(self, text: str | None) -> dict[str, PartDefinition]:
        """Return the part definitions that a record remembers."""
        if text is None:
            return {}
        known = self._parts.get(text)
        if known is None:
            known = self._parts[text] = {name: PartDefinition(name, **part) for name, part in json.loads(text).items()}
        return known

    def declared(self, stored: StoredType) -> Mapping[str, str]:
        """Return the components of a stored type."""
        known = self._declared.get(stored.name)
        if known is None or stored.parts:
            about = About(stored.name, None if stored.parts else self.type_of(stored.python), stored.parts)
            known = self._declared[stored.name] = formats.find(stored.storage).components(about)
        return known

    def about_new(self, stored: StoredType, data_id: Mapping[str, Any], component: str | None) -> About:
        """Describe a dataset that is to be written."""
        return About(
            f"{stored.name} {dict(data_id)}",
            self.type_of(stored.python),
            stored.parts,
            data_id,
            component,
            self.importer.find,
        )

    def about(self, record: Record) -> tuple[Format, About]:
        """Describe a dataset that was written."""
        how = record.writing
        if how is None:
            raise AssemblyError(f"{record.type!r} {record.data_id} is a composite, not a file")
        name = f"{record.type} {record.data_id}"
        parts = self.parts(how.parts)
        about = About(name, self.type_of(how.python), parts, record.data_id, how.component, self.importer.find)
        return formats.find(how.storage), about

    def part_in(self, format_: Format, about: About, leaf: Leaf, record: Record) -> str:
        """Return the name that a leaf's part has in the file, ``""`` for the whole."""
        if not leaf.part or record.part:
            return ""
        key = record.writing, leaf.part
        name = self._part_names.get(key)
        if name is None:
            if len(self._part_names) >= _MOST_NAMES:
                self._part_names.clear()
            name = self._part_names[key] = match_component(leaf.part, format_.components(about)) or leaf.part
        return name

    def column_names(self, leaf: Leaf, found: Found) -> Sequence[str] | None:
        """Return the names of the columns of a stored table, None if it is no table."""
        # Datasets are immutable: what was looked up once holds for good.
        key = found.record.uuid, leaf.part
        if key not in self._column_names:
            if len(self._column_names) >= _MOST_NAMES:
                self._column_names.clear()
            format_, about = self.about(found.record)
            source = open_stored(found)
            try:
                with failing(about, format_, source):
                    part = self.part_in(format_, about, leaf, found.record)
                    self._column_names[key] = format_.column_names(source, about, part)
            finally:
                source.close()
        return self._column_names[key]


def open_stored(found: Found) -> ClosableSource:
    """Open the file of a stored dataset; nothing is read yet.

    Raises
    ------
    TrustError, IntegrityError
        If its path leads where nothing may be read.
    """
    record = found.record
    assert record.file is not None
    try:
        return found.repository.open_file(record.file)
    except (TrustError, IntegrityError) as error:
        raise type(error)(f"{record.type} {record.data_id}: {error}") from error


class failing:  # noqa: N801 - used as a statement's word
    """Make errors of libraries errors of Bunter that name the dataset and its file."""

    __slots__ = ("_about", "_format", "_source")

    def __init__(self, about: About, format_: Format, source: ClosableSource) -> None:
        self._about, self._format, self._source = about, format_, source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception):
            self._raise(error)

    def _raise(self, error: Exception) -> None:
        about, source = self._about, self._source
        try:
            if isinstance(error, IntegrityError):
                raise error
            if isinstance(error, MemoryError):
                raise FormatMemoryError(
                    f"{about.name}: {source.name} takes more memory to read as {self._format.name} than there is: "
                    f"{error}"
                ) from error
            if not isinstance(error, BunterError) or isinstance(error, FormatError):
                # What makes no sense may be damaged, which is another matter.
                source.confirm()
            if isinstance(error, BunterError):
                return
            raise FormatError(
                f"{about.name}: {source.name} cannot be read as {self._format.name}: {type(error).__name__}: {error}"
            ) from error
        except IntegrityError as damage:
            if about.name not in str(damage):
                raise IntegrityError(f"{about.name}: {damage}") from damage
            if damage is not error:
                raise


def read_whole(format_: Format, source: ClosableSource, about: About, parameters: Mapping[str, Any]) -> Any:
    """Read a whole dataset, every byte of its file verified; or a selection of it."""
    if parameters and any(value is not None for value in parameters.values()):
        return format_.read(source, about, parameters)
    source.expect(lambda: format_.whole_ranges(source.layout, about))
    value = format_.read(source, about, parameters)
    source.confirm()
    return value


def read_parts(
    format_: Format, source: ClosableSource, about: About, wanted: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Read parts of a dataset, each by its own bytes if the format can do that."""
    if format_.reads_parts:
        return format_.read_parts(source, wanted, about)
    source.expect(lambda: format_.whole_ranges(source.layout, about))
    values = format_.read_parts(source, wanted, about)
    source.confirm()
    return values


class Reader:
    """Reads one located tree.

    Parameters
    ----------
    opener : Opener
        Formats and types.
    cache : ComponentCache or None
        Where frozen components are shared, if the user wants that.
    parameters : mapping
        The read parameters; each leaf gets those that it takes.
    defer : callable
        Makes what is handed out for a member of a lazy list.
    progress : callable, optional
        Called with (done, total) files.
    """

    def __init__(
        self,
        opener: Opener,
        cache: ComponentCache | None,
        parameters: Mapping[str, Any],
        defer: Callable[[DatasetName, DataId, LocatedBranch], Any],
        progress: Progress | None = None,
    ) -> None:
        self._opener = opener
        self._defer = defer
        self._cache = cache
        self._parameters = dict(parameters)
        self._values: dict[_Key, Any] = {}
        self._progress = progress
        self._choice: Choice | None = None

    def read(self, located: LocatedBranch, name: str | DatasetName, data_id: Mapping[str, Any]) -> Any:
        """Return the object that the tree stands for.

        Raises
        ------
        DatasetNotFoundError
            If leaves are missing; names all of them.
        """
        check_complete(located, name, data_id)
        wanted: dict[_Key, tuple[Leaf, Found]] = {}
        self._collect(located, wanted)
        self._check_parameters(wanted, name)
        if self._parameters.get("columns") is not None:
            self._choice = self.choice(located, f"{name} {DataId(data_id)}")
            wanted.clear()
            self._collect(located, wanted)
        self._read_leaves(wanted)
        return self._value(located)

    def _collect(self, branch: LocatedBranch, wanted: dict[_Key, tuple[Leaf, Found]]) -> None:
        if isinstance(branch, Located):
            if branch.found is not None and isinstance(branch.leaf, Leaf):
                wanted[branch.found.record.uuid, branch.leaf.part] = branch.leaf, branch.found
        elif isinstance(branch, LocatedNode):
            for name, inner in branch.branches.items():
                # Beside a list that is taken stands the component that holds its data IDs: it was read already.
                if branch.node.take in ("", name) and not self._is_skipped(inner):
                    self._collect(inner, wanted)
        elif not branch.lazy:
            for _, member in branch.members:
                if not branch.is_none(member):
                    self._collect(member, wanted)

    def choice(self, located: LocatedBranch, name: str) -> Choice:
        """Find out which columns of which tables are needed for those that are asked for."""
        from .choosing import Choice

        return Choice(
            located,
            self._parameters["columns"],
            name,
            lambda composite: assembler_of(composite, self._opener),
            lambda leaf, found: "columns" in self._takes(leaf, found),
            self._opener.column_names,
        )

    def _is_skipped(self, branch: LocatedBranch) -> bool:
        return self._choice is not None and self._choice.skips(branch)

    def _takes(self, leaf: Leaf, found: Found) -> tuple[str, ...]:
        format_, about = self._opener.about(found.record)
        part = self._opener.part_in(format_, about, leaf, found.record)
        return format_.part_parameters(part, about) if part else format_.whole_parameters(about)

    def _check_parameters(self, wanted: Mapping[_Key, tuple[Leaf, Found]], name: str | DatasetName) -> None:
        if not self._parameters:
            return
        known: dict[str, None] = {}
        for leaf, found in wanted.values():
            known |= dict.fromkeys(self._takes(leaf, found))
        for parameter in self._parameters:
            if parameter not in known:
                raise ParameterError(
                    f"{name}: unknown parameter {parameter!r}{did_you_mean(parameter, known)}; "
                    f"it takes: {listing(known)}"
                )

    def _read_leaves(self, wanted: Mapping[_Key, tuple[Leaf, Found]]) -> None:
        files: dict[tuple[Repository, str], _Datasets] = {}
        for key, (leaf, found) in wanted.items():
            if self._from_cache(key, found):
                continue
            file = found.record.file
            if file is None:
                raise AssemblyError(f"{found.record.type!r} {found.record.data_id} has no file")
            datasets = files.setdefault((found.repository, file.path), {})
            datasets.setdefault(key[0], []).append((key, leaf, found))
        for done, datasets in enumerate(files.values()):
            if self._progress is not None:
                self._progress(done, len(files))
            self._read_file(datasets)
        if self._progress is not None:
            self._progress(len(files), len(files))

    def _shared_key(self, key: _Key, found: Found) -> tuple[UUID, str, str]:
        how = found.record.writing
        return key[0], key[1], (how.python or "") if how is not None else ""

    def _from_cache(self, key: _Key, found: Found) -> bool:
        if self._cache is None or self._parameters:
            return False
        value = self._cache.get(self._shared_key(key, found))
        if value is None:
            return False
        self._values[key] = value
        return True

    def _read_file(self, datasets: _Datasets) -> None:
        source: ClosableSource | None = None
        try:
            for wanted in datasets.values():
                if source is None:
                    source = open_stored(wanted[0][2])
                self._read_dataset(source, wanted)
        finally:
            if source is not None:
                source.close()

    def _read_dataset(self, source: ClosableSource, wanted: Sequence[_Wanted]) -> None:
        record = wanted[0][2].record
        format_, about = self._opener.about(record)
        inside: dict[str, tuple[_Key, Found]] = {}
        with failing(about, format_, source):
            for key, leaf, found in wanted:
                part = self._opener.part_in(format_, about, leaf, record)
                if part:
                    inside[part] = key, found
                else:
                    only = self._only(key, format_.whole_parameters(about))
                    self._keep(key, found, read_whole(format_, source, about, only))
            if inside:
                asked = {
                    part: self._only(key, format_.part_parameters(part, about)) for part, (key, _) in inside.items()
                }
                for part, value in read_parts(format_, source, about, asked).items():
                    self._keep(*inside[part], value)

    def _only(self, key: _Key, names: tuple[str, ...]) -> dict[str, Any]:
        if not self._parameters:
            return {}
        only = {name: value for name, value in self._parameters.items() if name in names}
        if self._choice is not None and "columns" in only:
            columns = self._choice.read(key)
            only |= {"columns": columns} if columns is not None else {}
            if columns is None:
                del only["columns"]
        return only

    def _keep(self, key: _Key, found: Found, value: Any) -> None:
        if self._cache is not None and not self._parameters and value is not None:
            frozen = freeze(value)
            if frozen is not None:
                value = self._cache.put(self._shared_key(key, found), frozen)
            elif not key[1]:
                self._keep_components(key[0], found, value)
        self._values[key] = value

    def _keep_components(self, uuid: UUID, found: Found, whole: Any) -> None:
        """Let an exposure that was read whole share the components that can also be read by themselves."""
        cache = self._cache
        assert cache is not None
        format_, about = self._opener.about(found.record)
        known = format_.components(about)

        def keep(name: str, component: Any) -> Any:
            part = match_component(name, known)
            return component if part is None else cache.put(self._shared_key((uuid, part), found), component)

        share_components(whole, keep)

    def _value(self, branch: LocatedBranch) -> Any:
        if self._is_skipped(branch):
            return None
        if isinstance(branch, Located):
            if branch.found is None or not isinstance(branch.leaf, Leaf):
                return None
            value = self._values[branch.found.record.uuid, branch.leaf.part]
            return value if self._choice is None else self._choice.chosen(branch, value)
        if isinstance(branch, LocatedList):
            if branch.lazy:
                gather = branch.gather
                members = (
                    None
                    if branch.is_none(member)
                    else self._defer(gather.name, DataId({**gather.constraints, **d, **gather.fixed}), member)
                    for d, member in branch.members
                )
            else:
                members = (None if branch.is_none(member) else self._value(member) for _, member in branch.members)
            return MemberList(members, (d for d, _ in branch.members))
        node = branch.node
        if node.derive:
            return self._derived(branch)
        if node.take:
            return self._value(branch.branches[node.take])
        values = {
            name: None if name in node.optional and is_absent(inner) else self._value(inner)
            for name, inner in branch.branches.items()
        }
        composite = node.composite
        if composite.operations:
            find = self._opener.importer.find
            values = Operations(composite, node.data_id, find, self._origin() or (0, 0)).applied(values)
        built = assemble(
            composite,
            node.definitions,
            node.data_id,
            values,
            self._class_of(branch),
            assembler_of(composite, self._opener),
            self._origin(),
            self._opener.importer.trusts_definition(composite.name),
            self._choice.present(branch) if self._choice is not None else None,
        )
        if self._choice is not None:
            built = self._choice.chosen(branch, built)
        if composite.standardize is not None:
            standardize = self._opener.importer.find(composite.standardize)
            try:
                built = standardize(built, dict(node.data_id))
            except Exception as error:
                error.add_note(f"while standardizing {composite.name!r} {node.data_id!r}")
                raise
        return built

    def _class_of(self, branch: LocatedBranch) -> Any:
        """Return the Python type of a composite; without one, of a selection, that of its first table."""
        if isinstance(branch, LocatedNode):
            python = branch.node.composite.python
            first = next(iter(branch.branches.values()), None)
            # An assembler makes what its first component is, which may not have been read.
            if python is None and first is not None and self._is_skipped(first):
                return self._class_of(first)
            return self._opener.type_of(python)
        if isinstance(branch, LocatedList):
            return self._class_of(branch.members[0][1]) if branch.members else None
        if branch.found is None or branch.found.record.writing is None:
            return None
        return self._opener.type_of(branch.found.record.writing.python or "astropy.table.Table")

    def _derived(self, branch: LocatedNode) -> Any:
        """Compute a component from others."""
        composite = branch.node.composite
        derived = composite.derived[branch.node.derive]
        inputs = {name: self._value(inner) for name, inner in branch.branches.items()}
        named = {name: inputs[match_component(name, inputs) or name] for name in derived.inputs}
        if derived.is_operation and all(value is None for value in named.values()):
            return None
        find = self._opener.importer.find
        return compute(composite, derived, branch.node.data_id, named, find, self._origin() or (0, 0))

    def _origin(self) -> tuple[int, int] | None:
        bbox = self._parameters.get("bbox")
        if bbox is None:
            return None
        y, x = bbox
        return int(y.start or 0), int(x.start or 0)


def assembler_of(composite: CompositeType, opener: Opener) -> Assembler | None:
    """Return a composite's assembler, None for the generic one."""
    name = composite.assembler
    if name is None or name == "generic":
        return None
    found: Assembler | None = built_in(name)
    return found if found is not None else opener.importer.find(name)


def disassembler_of(composite: CompositeType, opener: Opener) -> Disassembler | None:
    """Return a composite's disassembler, None for the generic one."""
    name = composite.disassembler
    if name is None or name == "generic":
        return None
    found: Disassembler = opener.importer.find(name)
    return found


def check_complete(located: LocatedBranch, name: str | DatasetName, data_id: Mapping[str, Any]) -> None:
    """Raise `DatasetNotFoundError` if anything that is needed is missing; names all of it.

    Raises
    ------
    AmbiguousDatasetError
        If two repositories disagree about one.
    """
    missing = list(lacking(located))
    for _, branch in missing:
        if isinstance(branch, Located) and branch.state == "ambiguous":
            raise AmbiguousDatasetError(branch.note)
    if not missing:
        return
    lines: list[str] = []
    searched: tuple[str, ...] = ()
    for where, branch in missing:
        if isinstance(branch, Located):
            searched = branch.searched or searched
            leaf = branch.leaf
            what = f"{leaf.name} {leaf.data_id}" if isinstance(leaf, Leaf) else leaf.name
            lines.append(f"{where + ': ' if where else ''}{what}{' (' + branch.note + ')' if branch.note else ''}")
        elif isinstance(branch, LocatedList):
            searched = branch.searched or searched
            lines.append(f"{where + ': ' if where else ''}no {branch.gather.name} {branch.gather.constraints} at all")
    lines = list(dict.fromkeys(lines))
    shown = dict(data_id) if not isinstance(data_id, DataId) else data_id
    whole = f"{name} {shown}"
    detail = "; ".join(lines[:20]) + (f"; and {len(lines) - 20} more" if len(lines) > 20 else "")
    if len(lines) == 1 and lines[0].startswith(whole):
        message = f"there is no {lines[0]}"
    else:
        message = f"{whole} cannot be read, for want of {detail}"
    raise DatasetNotFoundError(f"{message}; searched: {', '.join(searched) or 'nothing'}", searched)
