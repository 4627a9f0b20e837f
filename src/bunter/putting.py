"""Putting: write what is new, reference what is not, record all of it together."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from . import __version__
from .assembly import members_of, parts_to_strip, stripped, take_apart
from .comparing import read_leaf, same_as_stored
from .components import match_component
from .context import Context
from .dataid import DataId, KeyValue, check_value
from .definitions.derive import outer_keys
from .definitions.model import ComponentDefinition, StoredType
from .errors import (
    AmbiguousDatasetError,
    AssemblyError,
    BunterError,
    ConflictError,
    DataIdError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    IntegrityError,
    RepositoryError,
)
from .files.interface import StoredFile
from .files.local import LocalDraft
from .formats import find as find_format
from .locate import Found, Located, LocatedBranch, LocatedList, LocatedNode, lacking
from .members import data_ids_of
from .names import DatasetName
from .plan import Absent, Branch, Gather, Leaf, Node
from .reading import check_complete, disassembler_of, writing_of
from .registry.interface import Changes, DatasetTaken, NewDataset, PathTaken, Pin, Precursor, Record
from .repository import Overlay, Repository
from .words import did_you_mean, listing


@dataclass(slots=True)
class Options:
    """How a put is meant.

    Attributes
    ----------
    discard : frozenset of str
        Components whose changes in memory may be lost: what is stored is kept.
    """

    replace: bool = False
    self_contained: bool = False
    check: bool = True
    discard: frozenset[str] = frozenset()
    precursors: Sequence[Precursor] = ()
    producer: str = ""


@dataclass(slots=True)
class Staged:
    """What a put has prepared: files that are there, rows that are not visible yet.

    Attributes
    ----------
    values : dict
        UUID of a new dataset -> (leaf, object, stripped components), to compare with a winner.
    """

    changes: Changes = field(default_factory=Changes)
    drafts: list[LocalDraft] = field(default_factory=list)
    values: dict[UUID, tuple[Leaf, Any, list[str]]] = field(default_factory=dict)

    def drop(self) -> None:
        """Remove every file that was prepared."""
        for draft in self.drafts:
            draft.drop()
        self.drafts.clear()


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one component: the dataset that holds it, or that it is absent."""

    type: str
    data_id: DataId
    uuid: UUID | None
    part: str
    place: str

    def pin(self, component: str, member: DataId | None = None) -> Pin:
        """Return the pin of it."""
        return Pin(component, member, self.type, self.data_id, self.uuid, self.part, self.place)


def place_of(found: Found) -> str:
    """Return where a dataset is, for messages of later."""
    path = found.record.file.path if found.record.file is not None else "composite"
    return f"{found.repository.root}: {path}"


@dataclass(frozen=True, slots=True)
class _Outer:
    """The composite, and the component of it, that a nested composite is put as."""

    node: Node
    component: str
    shared: bool


class Put:
    """One put: `leaf` or `node` stage it, `commit` makes it visible.

    Parameters
    ----------
    context : Context
        Of the Butler's call.
    options : Options
        How it is meant.
    """

    def __init__(self, context: Context, options: Options) -> None:
        self.context = context
        self.options = options
        self.output = context.need_output()
        self.staged = Staged()
        self._now = time.time_ns() // 1000
        self._by = f"bunter {__version__}" + (f"; {options.producer}" if options.producer else "")
        self._data_id: Mapping[str, KeyValue] = {}
        self._outer: list[_Outer] = []

    def stage(self, obj: Any, name: DatasetName, data_id: Mapping[str, KeyValue]) -> tuple[str, DataId, UUID]:
        """Stage an object under a name; return the type, the data ID and the UUID that it will have."""
        self._data_id = data_id
        _refuse_cutout(obj, name)
        branch = self.context.expand(name, data_id)
        self._note_implied(data_id)
        return self._target(obj, name, branch)

    def _target(self, obj: Any, name: DatasetName, branch: Branch) -> tuple[str, DataId, UUID]:
        if isinstance(branch, Leaf):
            if branch.part:
                raise AssemblyError(
                    f"{branch.name!r} is a part of stored {branch.stored.name!r} and cannot be put by itself: define "
                    f"a composite with base: {branch.stored.name} whose {branch.part!r} is a dataset of its own"
                )
            if DatasetName.parse(branch.stored.name) != _plain(name):
                self._refuse_part_of(name, branch)
            return self._put_leaf(obj, branch)
        if isinstance(branch, Node):
            if branch.derive:
                raise AssemblyError(f"{branch.composite.name}.{branch.derive} is derived: it is computed, never stored")
            if branch.take:
                component = branch.definitions[branch.take]
                if component.input_only or branch.composite.read_only:
                    raise AssemblyError(
                        f"{branch.composite.name}.{branch.take} is inputOnly: it is read from "
                        f"{component.dataset_type!r} and never written through {branch.composite.name!r}"
                    )
                if component.subset:
                    where = f"{branch.composite.name}.{branch.take}"
                    raise AssemblyError(f"{where} is a list: put its members by their names")
                return self._target(obj, DatasetName.parse(component.dataset_type), branch.branches[branch.take])
            if branch.composite.name != _plain(name).definition and str(_plain(name)) != branch.composite.name:
                self._refuse_part_of(name, branch)
            return self._put_node(obj, branch)
        raise AssemblyError(f"{str(name)!r} is a list of datasets: put its members by their names")

    def _refuse_part_of(self, name: DatasetName, branch: Branch) -> None:
        definition = self.context.definitions.types.get(str(_plain(name)))
        if definition is not None and not isinstance(definition, StoredType) and hasattr(definition, "target"):
            raise AssemblyError(
                f"{str(name)!r} is read-only: it is partOf {definition.target!r}; put that instead"
            )

    # Stored datasets

    def _exists(self, type_: str, data_id: DataId) -> Found | None:
        locator = self.context.locator("nearest")
        for repository in self.context.nearest_output():
            record = locator.direct(repository, type_, data_id)
            if record is not None:
                return Found(repository, record)
        return None

    def _put_leaf(self, obj: Any, leaf: Leaf) -> tuple[str, DataId, UUID]:
        existing = self._exists(leaf.stored.name, leaf.data_id)
        if existing is not None:
            if same_as_stored(self.context.opener, obj, leaf, existing, []):
                return leaf.stored.name, leaf.data_id, existing.record.uuid
            if not self.options.replace:
                raise self._exists_error(leaf.stored.name, existing)
        new = self._write(obj, leaf, [], replaces=existing is not None)
        new.precursors = self.options.precursors
        self.staged.changes.repins.append((leaf.stored.name, leaf.data_id, new.uuid))
        return leaf.stored.name, leaf.data_id, new.uuid

    def _exists_error(self, name: str, existing: Found) -> DatasetExistsError:
        return DatasetExistsError(
            f"{name} {existing.record.data_id} exists in {existing.repository.root} with other content "
            f"({place_of(existing)}, UUID {existing.record.uuid}); nothing was written. To replace it say replace=True"
        )

    def _write(self, value: Any, leaf: Leaf, strip: list[str], *, replaces: bool) -> NewDataset:
        stored = leaf.stored
        format_ = find_format(stored.storage)
        if not format_.writes or stored.path_fields or stored.template is None or stored.each is not None:
            why = f"{stored.storage} only reads" if not format_.writes else "its files are only ingested"
            raise AssemblyError(f"{stored.name!r} cannot be put: {why}. Define a type with another storage for it")
        if stored.template.text.endswith((".gz", ".bz2")):
            raise AssemblyError(
                f"{stored.name!r} cannot be put: its template ends in .gz or .bz2, which are only read; "
                "compressed files are ingested"
            )
        component = DatasetName.parse(stored.name).component
        about = self.context.opener.about_new(stored, leaf.data_id, component[-1] if component else None)
        path = stored.template.format(self._template_values(stored, leaf.data_id))
        draft = self.output.files.draft(path)
        self.staged.drafts.append(draft)
        try:
            layout = format_.write(stripped(value, strip) if strip else value, draft.stream, about)
            draft.finish()
            published = draft.publish(self._path_taken)
        except (BunterError, MemoryError):
            raise
        except OSError as error:
            raise _write_error(error, about.name, self.output) from error
        except Exception as error:
            raise FormatError(
                f"{about.name} cannot be written as {format_.name}: {type(error).__name__}: {error}"
            ) from error
        file = StoredFile(published, True, draft.size, None, draft.checksum, layout)
        new = NewDataset(
            stored.name,
            {key: self.context.definitions.key_types[key] for key in stored.keys},
            leaf.data_id,
            uuid4(),
            file,
            writing_of(stored, about.component),
            self._now,
            self._by,
            replaces=replaces,
        )
        self.staged.changes.datasets.append(new)
        self.staged.values[new.uuid] = leaf, value, strip
        return new

    def _path_taken(self, path: str) -> bool:
        return any(repository.registry.path_taken(path) for repository in self.context.nearest_output())

    def _template_values(self, stored: StoredType, data_id: DataId) -> dict[str, KeyValue]:
        assert stored.template is not None
        values = dict(data_id)
        for key in stored.template.fields:
            if key in values:
                continue
            if key in self._data_id:
                values[key] = self._data_id[key]
                continue
            given = {other: values[other] for other in self.context.definitions.implied.get(key, ())}
            known = self.context.implied_value(key, given) if given else None
            if known is None:
                raise DataIdError(
                    f"{stored.name} {data_id}: the file name needs {key!r}, which is implied by "
                    f"{listing(given)} but not known yet: give it in the data ID this once"
                )
            values[key] = known
        return values

    def _note_implied(self, data_id: Mapping[str, KeyValue]) -> None:
        for key, given in self.context.definitions.implied.items():
            if key in data_id and all(other in data_id for other in given):
                fact = key, tuple((other, data_id[other]) for other in given)
                self.staged.changes.implied[fact] = data_id[key]

    # Composites

    def _put_node(self, obj: Any, node: Node) -> tuple[str, DataId, UUID]:
        composite = node.composite
        if composite.read_only or (composite.assembler not in (None, "generic") and composite.disassembler is None):
            why = "readOnly" if composite.read_only else "it has an assembler but no disassembler"
            raise AssemblyError(f"{composite.name!r} is read-only: {why}")
        for name in self.options.discard:
            if match_component(name, node.definitions) is None:
                raise AssemblyError(
                    f"discard={name!r}: {composite.name!r} has no such component"
                    f"{did_you_mean(name, node.definitions)}; it has: {listing(node.definitions)}"
                )
        parts = take_apart(
            composite,
            node.definitions,
            node.data_id,
            obj,
            disassembler_of(composite, self.context.opener),
            {name: self._whole_type(branch) for name, branch in node.branches.items()},
            self.context.opener.importer.trusts_definition(composite.name),
        )
        present = self.context.locator("pinned").locate(node)
        nearest = self.context.locator("nearest").locate(node)
        assert isinstance(present, LocatedNode)
        assert isinstance(nearest, LocatedNode)
        pins: list[Pin] = []
        for name in node.branches:
            lacks = name not in parts or parts[name] is None
            pins += self._component(
                node, name, None if lacks else parts[name], present.branches[name], nearest.branches[name], parts
            )
        return self._record_composite(node, pins)

    def _discards(self, name: str) -> bool:
        return match_component(name, self.options.discard) is not None

    def _whole_type(self, branch: Branch) -> Any:
        if isinstance(branch, Leaf) and not branch.part:
            return self.context.opener.type_of(branch.stored.python)
        if isinstance(branch, Node) and not branch.take:
            return self.context.opener.type_of(branch.composite.python)
        return None

    def _component(
        self,
        node: Node,
        name: str,
        value: Any,
        present: LocatedBranch,
        nearest: LocatedBranch,
        parts: Mapping[str, Any],
    ) -> list[Pin]:
        component = node.definitions[name]
        branch = node.branches[name]
        choices = [nearest, present] if self.options.replace else [present, nearest]
        while isinstance(branch, Node) and branch.take:
            # A component of another composite: what counts is the leaf behind it.
            inner = branch.definitions[branch.take]
            component = replace(component, input_only=component.input_only or inner.input_only)
            choices = [c.branches[branch.take] if isinstance(c, LocatedNode) else c for c in choices]
            branch = branch.branches[branch.take]
        if isinstance(branch, Gather) and branch.source == "precursors" and self.options.precursors:
            choices = [self._from_precursors(branch), *choices]
        if value is None:
            return self._lacking(node, component, branch, choices)
        if isinstance(branch, Absent):
            raise DataIdError(
                f"{node.composite.name}: the component {name!r} is there, but the data ID lacks "
                f"{listing(branch.missing)}, which {branch.name!r} needs"
            )
        if isinstance(branch, Gather):
            return self._members(node, component, branch, value, choices)
        return self._one(node, component, branch, value, choices, name, None, parts)

    def _from_precursors(self, gather: Gather) -> LocatedList:
        """Locate the members of a list by the precursors that this very put is given."""
        located = []
        for data_id in data_ids_of(self.context.planner, gather, self.options.precursors):
            located.append((data_id, self.context.locate(self.context.planner.expand(gather.name, data_id))))
        return LocatedList(gather, located)

    def _lacking(
        self, node: Node, component: ComponentDefinition, branch: Branch, choices: list[LocatedBranch]
    ) -> list[Pin]:
        """Pin what an object does not hold: what get finds if the component is inputOnly, else that it is absent."""
        name = component.name
        if component.input_only:
            for choice in choices:
                if not any(True for _ in lacking(choice, optional=component.optional)):
                    return self._reference(name, choice)
            check_complete(choices[-1], f"{node.composite.name}.{name}", node.data_id)
        if not component.optional:
            raise AssemblyError(
                f"{node.composite.name} {node.data_id}: the object has no {name!r}, and the component is not optional; "
                "nothing was written"
            )
        if isinstance(branch, Leaf):
            return [Pin(name, None, branch.stored.name, branch.data_id, None, branch.part, "")]
        if isinstance(branch, Node):
            return [Pin(name, None, branch.composite.name, branch.data_id, None, "", "")]
        if isinstance(branch, Gather):
            return [Pin(name, None, str(branch.name), branch.constraints, None, "", "")]
        return []

    def _one(
        self,
        node: Node,
        component: ComponentDefinition,
        branch: Branch,
        value: Any,
        choices: list[LocatedBranch],
        path: str,
        member: DataId | None,
        parts: Mapping[str, Any],
    ) -> list[Pin]:
        name = component.name
        strip = parts_to_strip(value, name, [n for n in parts if n != name])
        leaf, found = _leaf_of(branch, choices)
        if leaf is None:
            assert isinstance(branch, Node)
            return self._nested(node, component, branch, value, choices, path, member)
        for choice in found:
            if same_as_stored(self.context.opener, value, leaf, choice, strip):
                return [self._referenced(leaf, choice).pin(path, member)]
        spared = self._discards(name) or not self.options.check
        if component.input_only or leaf.part:
            if not found:
                for choice in choices:
                    if isinstance(choice, Located) and choice.state == "ambiguous":
                        raise AmbiguousDatasetError(choice.note)
                raise DatasetNotFoundError(
                    f"{node.composite.name}.{name} is inputOnly and there is no {leaf.name} {leaf.data_id} to refer to"
                )
            if not spared:
                raise AssemblyError(
                    f"{node.composite.name} {node.data_id}: {name!r} differs from {leaf.name} {leaf.data_id} in "
                    f"{found[0].repository.root}, but is inputOnly: these {_what(value)} would be lost. Nothing was "
                    f"written. Put it under a name of its own, or keep what is stored with discard=[{name!r}]"
                )
            return [self._referenced(leaf, found[0]).pin(path, member)]
        return [self._write_component(node, component, leaf, value, strip).pin(path, member)]

    def _write_component(
        self, node: Node, component: ComponentDefinition, leaf: Leaf, value: Any, strip: list[str]
    ) -> Stored:
        name = component.name
        existing = self._exists(leaf.stored.name, leaf.data_id)
        if existing is not None:
            if self._discards(name):
                return self._referenced(leaf, existing)
            self._may_replace(node, name, leaf, value, existing)
        new = self._write(value, leaf, strip, replaces=existing is not None)
        assert new.file is not None
        return Stored(leaf.stored.name, leaf.data_id, new.uuid, "", f"{self.output.root}: {new.file.path}")

    def _may_replace(self, node: Node, name: str, leaf: Leaf, value: Any, existing: Found) -> None:
        """Refuse to replace a component that others share."""
        if self._is_shared(node, name, leaf.stored.keys) or any(outer.shared for outer in self._outer):
            stored = read_leaf(self.context.opener, leaf, existing)
            raise ConflictError(
                f"{node.composite.name} {node.data_id}: {name!r} is shared by all with {leaf.data_id} and differs from "
                f"what is stored in {existing.repository.root} ({place_of(existing)}). Stored: {stored!r:.400}. "
                f"Given: {value!r:.400}. Nothing was written. Keep the stored one with discard=[{name!r}], or replace "
                f"it by its own name: put(..., {leaf.stored.name!r}, replace=True)"
            )
        if not self.options.replace:
            raise self._exists_error(leaf.stored.name, existing)
        self._refuse_pinned(node, name, existing)

    def _is_shared(self, node: Node, name: str, keys: Sequence[str]) -> bool:
        """Tell whether a component is that of several data IDs of its composite."""
        own = outer_keys(keys, node.definitions[name].data_id)
        return any(key not in own for key in node.data_id)

    def _refuse_pinned(self, node: Node, name: str, existing: Found) -> None:
        """Refuse to replace a component that another put composite pins."""
        record = existing.record
        for repository in self.context.nearest_output():
            for holder in repository.registry.pinned_by(record.type, record.data_id, record.uuid):
                if holder.type != node.composite.name or holder.data_id != node.data_id:
                    raise ConflictError(
                        f"{node.composite.name} {node.data_id}: {name!r} ({record.type} {record.data_id}) is also "
                        f"part of {holder.type} {holder.data_id}, which was put in {repository.root}. Nothing was "
                        f"written. Replace it by its own name if that is meant: put(..., {record.type!r}, "
                        "replace=True)"
                    )

    def _nested(
        self,
        node: Node,
        component: ComponentDefinition,
        branch: Node,
        value: Any,
        choices: list[LocatedBranch],
        path: str,
        member: DataId | None,
    ) -> list[Pin]:
        """Put a composite that is a component, or compare it leaf by leaf if it is only read."""
        if component.input_only:
            for choice in choices:
                if not any(True for _ in lacking(choice)):
                    self._compare_nested(node, component, branch, value, choice)
                    return self._reference(path, choice, member)
            check_complete(choices[-1], f"{node.composite.name}.{component.name}", node.data_id)
        shared = self._is_shared(node, component.name, self.context.planner.keys(DatasetName.parse(branch.composite.name)))
        self._outer.append(_Outer(node, component.name, shared))
        type_, data_id, uuid = self._put_node(value, branch)
        self._outer.pop()
        return [Pin(path, member, type_, data_id, uuid, "", f"{self.output.root}: composite")]

    def _compare_nested(
        self, node: Node, component: ComponentDefinition, branch: Node, value: Any, choice: LocatedBranch
    ) -> None:
        if self._discards(component.name) or not self.options.check:
            return
        if not isinstance(choice, LocatedNode):
            return
        composite = branch.composite
        parts = take_apart(
            composite,
            branch.definitions,
            branch.data_id,
            value,
            disassembler_of(composite, self.context.opener),
            {name: self._whole_type(inner) for name, inner in branch.branches.items()},
            self.context.opener.importer.trusts_definition(composite.name),
        )
        siblings = [name for name in node.branches if name != component.name]
        ignored = {*parts_to_strip(value, component.name, siblings)}
        for name, inner in choice.branches.items():
            if name in ignored or parts.get(name) is None or not isinstance(inner, Located) or inner.found is None:
                continue
            assert isinstance(inner.leaf, Leaf)
            if not same_as_stored(self.context.opener, parts[name], inner.leaf, inner.found, []):
                raise AssemblyError(
                    f"{node.composite.name} {node.data_id}: {component.name}.{name} differs from {inner.leaf.name} "
                    f"{inner.leaf.data_id}, but {component.name!r} is inputOnly: these {_what(parts[name])} would be "
                    f"lost. Nothing was written. Keep what is stored with discard=[{component.name!r}]"
                )

    def _members(
        self, node: Node, component: ComponentDefinition, gather: Gather, value: Any, choices: list[LocatedBranch]
    ) -> list[Pin]:
        known: dict[DataId, list[LocatedBranch]] = {}
        for choice in choices:
            if isinstance(choice, LocatedList):
                for data_id, found in choice.members:
                    known.setdefault(data_id, []).append(found)
        pins: list[Pin] = []
        where = f"{node.composite.name}.{component.name}"
        for given, member in members_of(value, component.name):
            data_id, full = self._member_id(where, gather, given)
            if any(pin.member == data_id for pin in pins):
                raise AssemblyError(f"{where} holds {gather.name} {data_id} twice; nothing was written")
            branch = self.context.planner.expand(gather.name, full)
            located = known.get(data_id) or [self.context.locate(branch)]
            if member is None and gather.optional:
                pins.append(Pin(component.name, data_id, str(gather.name), data_id, None, "", ""))
                continue
            unopened = getattr(member, "is_deferred", False)
            if unopened:
                pins += self._reference(component.name, located[0], data_id)
            else:
                pins += self._one(node, component, branch, member, located, component.name, data_id, {})
        return pins or self._lacking(node, component, gather, choices)

    def _member_id(self, where: str, gather: Gather, given: DataId) -> tuple[DataId, dict[str, KeyValue]]:
        """Return the data ID of a list's member, and the same with what the list fixes."""
        known = self.context.definitions.key_types
        keys = self.context.planner.keys(gather.name)
        for key in given:
            if key not in keys:
                raise DataIdError(
                    f"{where}: {gather.name} has no key {key!r}{did_you_mean(key, keys)}; its keys are: {listing(keys)}"
                )
        full = {**gather.constraints, **{key: check_value(key, value, known[key]) for key, value in given.items()}}
        for key, value in {**gather.constraints, **gather.fixed}.items():
            if full.setdefault(key, value) != value:
                raise DataIdError(
                    f"{where}: the member {dict(given)} has {key}={full[key]!r}, the list has {key}={value!r}"
                )
        missing = [key for key in keys if key not in full]
        if missing:
            raise DataIdError(f"{where}: the member {dict(given)} needs also {listing(missing)}")
        return DataId({key: full[key] for key in keys}), full

    # References

    def _referenced(self, leaf: Leaf, found: Found) -> Stored:
        if self.options.self_contained and found.repository not in self.context.nearest_output():
            self._copy_here(found)
        return Stored(found.record.type, leaf.data_id, found.record.uuid, leaf.part, place_of(found))

    def _reference(self, path: str, choice: LocatedBranch, member: DataId | None = None) -> list[Pin]:
        """Pin what was located, a composite by itself if it was put, else leaf by leaf."""
        if isinstance(choice, Located):
            if choice.found is None or not isinstance(choice.leaf, Leaf):
                if isinstance(choice.leaf, Leaf):
                    leaf = choice.leaf
                    return [Pin(path, member, leaf.stored.name, leaf.data_id, None, leaf.part, "")]
                return []
            return [self._referenced(choice.leaf, choice.found).pin(path, member)]
        if isinstance(choice, LocatedList):
            return [pin for data_id, branch in choice.members for pin in self._reference(path, branch, data_id)]
        node = choice.node
        if node.take:
            return self._reference(path, choice.branches[node.take], member)
        if choice.put is not None:
            put = choice.put
            return [Pin(path, member, node.composite.name, node.data_id, put.record.uuid, "", place_of(put))]
        if member is not None:
            return [Pin(path, member, node.composite.name, node.data_id, None, "", "")]
        return [pin for name, inner in choice.branches.items() for pin in self._reference(f"{path}.{name}", inner)]

    def _copy_here(self, found: Found) -> None:
        """Copy a referenced file into the output, its UUID kept."""
        record = found.record
        if record.file is None or any(new.uuid == record.uuid for new in self.staged.changes.datasets):
            return
        source = found.repository.open_file(record.file)
        stored = self.context.definitions.types.get(record.type)
        name = record.file.path if record.file.owned else record.file.path.rsplit("/", 1)[-1]
        draft = self.output.files.draft(name)
        self.staged.drafts.append(draft)
        try:
            at, step = 0, 1 << 24
            while at < source.size:
                draft.stream.write(source.read_range(at, min(step, source.size - at)))
                at += step
            draft.finish()
            path = draft.publish(self._path_taken)
        except OSError as error:
            raise _write_error(error, f"{record.type} {record.data_id}", self.output) from error
        finally:
            source.close()
        if record.file.checksum is not None and draft.checksum != record.file.checksum:
            raise IntegrityError(f"{source.name} is not the file that was written (its checksum differs); not copied")
        kinds = self.context.definitions.key_types
        self.staged.changes.datasets.append(
            NewDataset(
                record.type,
                {key: kinds[key] for key in (stored.keys if isinstance(stored, StoredType) else record.data_id)},
                record.data_id,
                record.uuid,
                StoredFile(path, True, draft.size, None, draft.checksum, record.file.layout),
                record.writing,
                record.written_at,
                record.written_by,
                live=self._exists(record.type, record.data_id) is None,
            )
        )

    # The composite itself

    def _record_composite(self, node: Node, pins: list[Pin]) -> tuple[str, DataId, UUID]:
        composite = node.composite
        existing = self._exists(composite.name, node.data_id)
        replaces = False
        if existing is not None:
            if self._same_pins(existing, pins):
                return composite.name, node.data_id, existing.record.uuid
            outer = self._outer[-1] if self._outer else None
            if outer is not None and any(o.shared for o in self._outer):
                raise ConflictError(
                    f"{outer.node.composite.name} {outer.node.data_id}: {outer.component!r} is shared by all with "
                    f"{node.data_id} and differs from the {composite.name} in {existing.repository.root}. Nothing was "
                    f"written. Replace it by its own name if that is meant: put(..., {composite.name!r}, replace=True)"
                )
            if not self.options.replace:
                raise DatasetExistsError(
                    f"{composite.name} {node.data_id} exists in {existing.repository.root} with other components; "
                    "nothing was written. To replace it say replace=True"
                )
            if outer is not None:
                self._refuse_pinned(outer.node, outer.component, existing)
            replaces = True
        kinds = self.context.definitions.key_types
        new = NewDataset(
            composite.name,
            {key: kinds[key] for key in node.data_id},
            node.data_id,
            uuid4(),
            None,
            None,
            self._now,
            self._by,
            replaces=replaces,
            pins=pins,
            precursors=self.options.precursors,
        )
        self.staged.changes.datasets.append(new)
        if not self._outer:
            self.staged.changes.repins.append((composite.name, node.data_id, new.uuid))
        return composite.name, node.data_id, new.uuid

    def _same_pins(self, existing: Found, pins: Sequence[Pin]) -> bool:
        recorded = existing.repository.registry.pins(existing.record.type, existing.record.uuid)
        return {(p.component, p.member, p.uuid, p.part) for p in recorded} == {
            (p.component, p.member, p.uuid, p.part) for p in pins
        }

    # Commit

    def commit(self) -> dict[UUID, UUID]:
        """Make everything visible together; return which new UUIDs gave way to datasets that won a race."""
        self.output.files.sync()
        first = self.context.chain.order[0]
        if isinstance(first, Overlay):
            first.registry.apply([self.staged.changes])
            return {}
        return commit(self.context, [self.staged])


def commit(context: Context, all_staged: Sequence[Staged]) -> dict[UUID, UUID]:
    """Make staged changes visible in the output in one short transaction."""
    output = context.need_output()
    given_way: dict[UUID, UUID] = {}
    while True:
        all_changes = [staged.changes for staged in all_staged]
        if not any(all_changes):
            return given_way
        try:
            output.registry.apply(all_changes)
            return given_way
        except PathTaken as taken:
            _next_mark(output, all_staged, taken.path)
        except DatasetTaken as taken:
            given_way[taken.new.uuid] = _give_way(context, all_staged, taken.new, taken.existing)


def _next_mark(output: Repository, all_staged: Sequence[Staged], path: str) -> None:
    for staged in all_staged:
        for new in staged.changes.datasets:
            if new.file is not None and new.file.owned and new.file.path == path:
                for draft in staged.drafts:
                    if draft.published == path:
                        moved = draft.publish(output.registry.path_taken)
                        output.files.sync()
                        new.file = replace(new.file, path=moved)
                        return
    raise RepositoryError(f"the path {path} is taken by another dataset of {output.root}")


def _give_way(context: Context, all_staged: Sequence[Staged], new: NewDataset, existing: Record) -> UUID:
    """Compare with the winner of a race; reference it if it is the same."""
    output = context.need_output()
    winner = Found(output, existing)
    if new.file is None:
        recorded = output.registry.pins(existing.type, existing.uuid)
        same = {(p.component, p.member, p.uuid, p.part) for p in recorded} == {
            (p.component, p.member, p.uuid, p.part) for p in new.pins or ()
        }
    elif (
        existing.file is not None
        and existing.writing == new.writing
        and existing.file.checksum is not None
        and existing.file.checksum == new.file.checksum
    ):
        same = True
    else:
        staged_value = next((s.values[new.uuid] for s in all_staged if new.uuid in s.values), None)
        same = staged_value is not None and same_as_stored(
            context.opener, staged_value[1], staged_value[0], winner, staged_value[2]
        )
    if not same:
        raise DatasetExistsError(
            f"{new.type} {new.data_id} was put into {output.root} by somebody else meanwhile, with other content "
            f"(UUID {existing.uuid}); nothing of this put was kept"
        )
    for staged in all_staged:
        if new in staged.changes.datasets:
            staged.changes.datasets.remove(new)
            if new.file is not None:
                for draft in staged.drafts:
                    if draft.published == new.file.path:
                        draft.drop()
        staged.changes.repins = [r for r in staged.changes.repins if r[2] != new.uuid]
        for other in staged.changes.datasets:
            if other.pins is not None:
                other.pins = [replace(p, uuid=existing.uuid) if p.uuid == new.uuid else p for p in other.pins]
    return existing.uuid


def _leaf_of(branch: Branch, choices: list[LocatedBranch]) -> tuple[Leaf | None, list[Found]]:
    """Return the leaf that a branch comes down to and where it was found, if it is one leaf."""
    found: dict[UUID, Found] = {}
    for choice in choices:
        if isinstance(choice, Located) and choice.found is not None:
            found.setdefault(choice.found.record.uuid, choice.found)
    return (branch, list(found.values())) if isinstance(branch, Leaf) else (None, [])


def _plain(name: DatasetName) -> DatasetName:
    return name.with_stage(name.stage or None)


def _refuse_cutout(obj: Any, name: DatasetName) -> None:
    origin = getattr(obj, "origin", None)
    if isinstance(origin, tuple) and any(origin):
        raise AssemblyError(
            f"the object is a cutout (origin {origin}); {str(name)!r} holds whole frames. Nothing was written"
        )


def _what(value: Any) -> str:
    return "pixels" if hasattr(value, "shape") and hasattr(value, "dtype") else "values"


def _write_error(error: OSError, name: str, output: Repository) -> RepositoryError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RepositoryError(f"{name} was not written: the disk of {output.root} is full ({error.strerror})")
    return RepositoryError(f"{name} was not written into {output.root}: {error.strerror or error}")

