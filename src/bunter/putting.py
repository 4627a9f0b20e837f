"""Putting: write what is new, reference what is not, record all of it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from .assembly import members_of, parts_to_strip
from .committing import attempt, content_of, show, until_first
from .comparing import check_file, read_leaf, same_as_stored
from .components import match_component
from .context import Context
from .dataid import DataId, KeyValue, check_value
from .definitions.derive import outer_keys
from .definitions.model import ComponentDefinition, StoredType
from .differing import first_difference, is_read_only
from .errors import (
    AmbiguousDatasetError,
    AssemblyError,
    ConflictError,
    DataIdError,
    DatasetNotFoundError,
    IntegrityError,
)
from .formats.equality import same_values
from .locate import Found, Located, LocatedBranch, LocatedList, LocatedNode, lacking
from .members import data_ids_in, data_ids_of
from .names import DatasetName
from .picking import complete, has_pins, is_as_put, leaf_of
from .plan import Absent, Branch, Gather, Leaf, Node, source_component
from .reading import check_complete
from .registry.interface import NewDataset, Pin
from .sky.objects import footprint_of
from .storing import Options, Stored, Storer, place_of
from .taking import Taken, refuse_cutout, what
from .values import dataclass, replace
from .words import did_you_mean, listing


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
        self.store = Storer(context, options)
        self.output = self.store.output
        self.staged = self.store.staged
        self._outer: list[_Outer] = []

    def stage(self, obj: Any, name: DatasetName, data_id: Mapping[str, KeyValue]) -> tuple[str, DataId, UUID]:
        """Stage an object under a name; return the type, the data ID and the UUID that it will have."""
        self.store.data_id = data_id
        refuse_cutout(obj, name)
        branch = self.context.expand(name, data_id)
        self.store.note_implied(data_id)
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
            raise AssemblyError(f"{str(name)!r} is read-only: it is partOf {definition.target!r}; put that instead")

    # Stored datasets

    def _put_leaf(self, obj: Any, leaf: Leaf) -> tuple[str, DataId, UUID]:
        existing = self.store.exists(leaf.stored.name, leaf.data_id)
        if existing is not None:
            if self._is_same(obj, leaf, existing):
                return leaf.stored.name, leaf.data_id, existing.record.uuid
            if not self.options.replace:
                raise self.store.exists_error(leaf.stored.name, existing)
        new = self.store.write(obj, leaf, [], replaces=existing is not None)
        new.precursors = self.options.precursors
        self.staged.changes.repins.append((leaf.stored.name, leaf.data_id, new.uuid))
        return leaf.stored.name, leaf.data_id, new.uuid

    def _is_same(self, obj: Any, leaf: Leaf, existing: Found) -> bool:
        if not self.options.replace:
            return same_as_stored(self.context.opener, obj, leaf, existing, [])
        try:
            same = same_as_stored(self.context.opener, obj, leaf, existing, [])
            if same:
                check_file(existing)
        except IntegrityError:
            # A damaged file is mended by replacing it.
            return False
        return same

    # Composites

    def _put_node(self, obj: Any, node: Node) -> tuple[str, DataId, UUID]:
        composite = node.composite
        if is_read_only(composite):
            why = "readOnly" if composite.read_only else "it has an assembler but no disassembler"
            raise AssemblyError(f"{composite.name!r} is read-only: {why}")
        for name in self.options.discard if not self._outer else ():
            if match_component(name, node.definitions) is None:
                raise AssemblyError(
                    f"discard={name!r}: {composite.name!r} has no such component"
                    f"{did_you_mean(name, node.definitions)}; it has: {listing(node.definitions)}"
                )
        present = self.store.locator("pinned").locate(node)
        assert isinstance(present, LocatedNode)
        located = [present]
        if has_pins(present):
            nearest = self.store.locator("nearest").locate(node)
            assert isinstance(nearest, LocatedNode)
            located.insert(0 if self.options.replace else 1, nearest)
        taken = Taken(self.context.opener, node, obj, located)
        pins: list[Pin] = []
        of: dict[tuple[str, DataId, str], UUID] = {}
        for name in node.branches:
            added = self._component(node, name, taken)
            for pin in added:
                if pin.uuid is not None and of.setdefault((pin.type, pin.data_id, pin.part), pin.uuid) != pin.uuid:
                    raise _twins(node, name, f"{pin.type} {pin.data_id}")
            pins += added
        return self._record_composite(node, pins, footprint_of(taken.parts))

    def _discards(self, name: str) -> bool:
        return match_component(name, self.options.discard) is not None

    def _component(self, node: Node, name: str, taken: Taken) -> list[Pin]:
        component = node.definitions[name]
        branch = node.branches[name]
        value = taken.parts.get(name)
        choices = taken.choices(name)
        while isinstance(branch, Node) and branch.take:
            # A component of another composite: what counts is the leaf behind it.
            inner = branch.definitions[branch.take]
            component = replace(component, input_only=component.input_only or inner.input_only)
            choices = [c.branches[branch.take] if isinstance(c, LocatedNode) else c for c in choices]
            branch = branch.branches[branch.take]
        listed = self._listed(node, branch, taken) if isinstance(branch, Gather) else None
        if listed is not None:
            # What is left out is what is listed now, not what was listed before.
            choices = [listed, *choices] if value is not None else [listed]
        if value is None:
            return self._lacking(node, component, branch, choices)
        if isinstance(branch, Absent):
            raise DataIdError(
                f"{node.composite.name}: the component {name!r} is there, but the data ID lacks "
                f"{listing(branch.missing)}, which {branch.name!r} needs"
            )
        if isinstance(branch, Gather):
            pins = self._members(node, component, branch, value, choices)
            self._check_listed(node, component, branch, pins, listed)
            return pins
        if taken.is_made(name):
            return self._computed(node, component, branch, value, choices, taken)
        return self._one(node, component, branch, value, choices, name, None, taken.parts)

    def _computed(
        self,
        node: Node,
        component: ComponentDefinition,
        branch: Branch,
        value: Any,
        choices: list[LocatedBranch],
        taken: Taken,
    ) -> list[Pin]:
        """Put a component that an operation makes of what is stored, or that is computed from others."""
        name = component.name
        operation = taken.operation(name)
        input_only = component.input_only or operation is None
        spared = self._discards(name) or not self.options.check
        found = [choice for choice in choices if not any(True for _ in lacking(choice, optional=name in node.optional))]
        if input_only and not found:
            check_complete(choices[-1], f"{node.composite.name}.{name}", node.data_id)
        made: list[Any] = []
        for choice in found:
            if input_only and spared:
                return self._reference(name, choice)
            made.append(taken.made(name, choice))
            if same_values(made[-1], value):
                return self._reference(name, choice)
        if operation is None or component.input_only:
            raise taken.lost(name, made[0])
        if name not in taken.before:
            raise AssemblyError(
                f"{node.composite.name} {node.data_id}: {name!r} is made by {operation.function}, which does not say "
                f"how that is undone, so it is not known what to write. Give the function an 'undo', or let {name!r} "
                "be inputOnly"
            )
        return self._one(node, component, branch, taken.before[name], choices, name, None, taken.parts)

    def _listed(self, node: Node, gather: Gather, taken: Taken) -> LocatedList | None:
        """Locate the members that this very put lists: by its precursors, or by the component that it hands over."""
        source = gather.source
        if source == "precursors":
            if not self.options.precursors:
                return None
            data_ids = data_ids_of(self.context.planner, gather, self.options.precursors)
        else:
            named = source_component(source)
            name = match_component(named, node.branches) if named is not None else None
            value = taken.parts.get(name) if name is not None else None
            if value is None or (isinstance(source, Mapping) and "precursorsOf" in source):
                return None
            data_ids = data_ids_in(self.context.planner, gather, value, f"{node.composite.name}.{name}")
        members: list[tuple[DataId, LocatedBranch]] = []
        for data_id in data_ids:
            full = {**gather.constraints, **data_id, **gather.fixed}
            members.append((data_id, self.context.locate(self.context.planner.expand(gather.name, full))))
        return LocatedList(gather, members)

    def _check_listed(
        self, node: Node, component: ComponentDefinition, gather: Gather, pins: list[Pin], listed: LocatedList | None
    ) -> None:
        """Refuse members that are not those of the table, or header, that is put with them."""
        if listed is None or self._discards(component.name):
            return
        given = {pin.member for pin in pins if pin.member is not None}
        wanted = {data_id for data_id, _ in listed.members}
        if given != wanted:
            raise AssemblyError(
                f"{node.composite.name} {node.data_id}: the members of {component.name!r} are not those that "
                f"{gather.source!r} lists; lacking: {listing(d for d in wanted if d not in given)}; extra: "
                f"{listing(d for d in given if d not in wanted)}. Nothing was written. Leave {component.name!r} out "
                "(None), and what is listed is referenced"
            )

    def _lacking(
        self, node: Node, component: ComponentDefinition, branch: Branch, choices: list[LocatedBranch]
    ) -> list[Pin]:
        """Pin what an object does not hold: what get finds if the component is inputOnly, else that it is absent."""
        name = component.name
        if component.input_only:
            for choice in complete(choices, component.optional):
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
        leaf, found = leaf_of(branch, choices)
        if leaf is None:
            assert isinstance(branch, Node)
            return self._nested(node, component, branch, value, choices, path, member)
        for choice in found:
            if same_as_stored(self.context.opener, value, leaf, choice, strip):
                return [self.store.referenced(leaf, choice).pin(path, member)]
        spared = self._discards(name) or not self.options.check
        if component.input_only or leaf.part:
            if not found:
                for other in choices:
                    if isinstance(other, Located) and other.state == "ambiguous":
                        raise AmbiguousDatasetError(other.note)
                raise DatasetNotFoundError(
                    f"{node.composite.name}.{name} is inputOnly and there is no {leaf.name} {leaf.data_id} to refer to"
                )
            if not spared:
                raise AssemblyError(
                    f"{node.composite.name} {node.data_id}: {name!r} differs from {leaf.name} {leaf.data_id} in "
                    f"{found[0].repository.root}, but is inputOnly: these {what(value)} would be lost. Nothing was "
                    f"written. Put it under a name of its own, or keep what is stored with discard=[{name!r}]"
                )
            return [self.store.referenced(leaf, found[0]).pin(path, member)]
        return [self._write_component(node, component, leaf, value, strip, found).pin(path, member)]

    def _write_component(
        self,
        node: Node,
        component: ComponentDefinition,
        leaf: Leaf,
        value: Any,
        strip: list[str],
        compared: Sequence[Found],
    ) -> Stored:
        name = component.name
        twin = self.store.twin(leaf.stored.name, leaf.data_id)
        if twin is not None:
            self.store.publish()
            written = self.store.found(twin)
            if not same_as_stored(self.context.opener, value, leaf, written, strip):
                raise _twins(node, name, f"{leaf.name} {leaf.data_id}")
            return Stored(leaf.stored.name, leaf.data_id, twin.uuid, leaf.part, place_of(written))
        existing = self.store.exists(leaf.stored.name, leaf.data_id)
        if existing is not None:
            # Somebody else may have put it since the components were located.
            known = any(existing.record.uuid == other.record.uuid for other in compared)
            if self._discards(name) or (
                not known and same_as_stored(self.context.opener, value, leaf, existing, strip)
            ):
                return self.store.referenced(leaf, existing)
            self._may_replace(node, name, leaf, value, existing)
        new = self.store.write(value, leaf, strip, replaces=existing is not None)
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
            raise self.store.exists_error(leaf.stored.name, existing)
        self.store.refuse_pinned(node.composite.name, node.data_id, name, existing)

    def _is_shared(self, node: Node, name: str, keys: Sequence[str]) -> bool:
        """Tell whether a component is that of several data IDs of its composite."""
        own = outer_keys(keys, node.definitions[name].data_id)
        return any(key not in own for key in node.data_id)

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
        whole = complete(choices, False)
        if whole and self._discards(component.name):
            return self._reference(path, whole[0], member)
        if component.input_only and not self.options.check and whole:
            return self._reference(path, whole[0], member)
        siblings = [name for name in node.branches if name != component.name]
        strip = parts_to_strip(value, component.name, siblings)
        differences = []
        for choice in whole:
            if component.input_only or (isinstance(choice, LocatedNode) and choice.put is not None):
                difference = first_difference(self.context.opener, value, choice, strip)
                if difference is None:
                    return self._reference(path, choice, member)
                differences.append(difference)
        if component.input_only:
            check_complete(choices[-1], f"{node.composite.name}.{component.name}", node.data_id)
            first = differences[0]
            raise AssemblyError(
                f"{node.composite.name} {node.data_id}: {component.name}{first.where} differs from {first.stored}, but "
                f"{component.name!r} is inputOnly: these {first.what} would be lost. Nothing was written. Keep what is "
                f"stored with discard=[{component.name!r}]"
            )
        keys = self.context.planner.keys(DatasetName.parse(branch.composite.name))
        shared = self._is_shared(node, component.name, keys)
        self._outer.append(_Outer(node, component.name, shared))
        type_, data_id, uuid = self._put_node(value, branch)
        self._outer.pop()
        return [Pin(path, member, type_, data_id, uuid, "", f"{self.output.root}: composite")]

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
            if unopened and member.stands_for(gather.name, data_id):
                check_complete(located[0], f"{where}: {gather.name}", data_id)
                pins += self._reference(component.name, located[0], data_id)
                continue
            # What was not opened but goes by another name is put under this one.
            held = member.get() if unopened else member
            pins += self._one(node, component, branch, held, located, component.name, data_id, {})
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

    def _reference(self, path: str, choice: LocatedBranch, member: DataId | None = None) -> list[Pin]:
        """Pin what was located: a composite by itself if it is as it was put, else leaf by leaf."""
        if isinstance(choice, Located):
            if choice.found is None or not isinstance(choice.leaf, Leaf):
                if isinstance(choice.leaf, Leaf):
                    leaf = choice.leaf
                    return [Pin(path, member, leaf.stored.name, leaf.data_id, None, leaf.part, "")]
                return []
            return [self.store.referenced(choice.leaf, choice.found).pin(path, member)]
        if isinstance(choice, LocatedList):
            return [pin for data_id, branch in choice.members for pin in self._reference(path, branch, data_id)]
        node = choice.node
        if node.take:
            return self._reference(path, choice.branches[node.take], member)
        put = choice.put
        # What is computed from components of a put composite is pinned by these.
        by_itself = not node.derive and not self.options.self_contained and put is not None and is_as_put(choice)
        if put is not None and (member is not None or by_itself):
            self.store.relies_on(put)
            return [Pin(path, member, node.composite.name, node.data_id, put.record.uuid, "", place_of(put))]
        if member is not None:
            return [Pin(path, member, node.composite.name, node.data_id, None, "", "")]
        return [pin for name, inner in choice.branches.items() for pin in self._reference(f"{path}.{name}", inner)]

    # The composite itself

    def _place_wcs(self, node: Node, pins: list[Pin], footprint: bytes | None) -> None:
        """Let a WCS that was written here lie where the image does, of which it does not know the shape."""
        written = {pin.uuid for pin in pins if pin.component == "wcs" and pin.data_id == node.data_id}
        for new in self.staged.changes.datasets:
            if new.uuid in written and new.footprint is None:
                new.footprint = footprint

    def _record_composite(self, node: Node, pins: list[Pin], footprint: bytes | None) -> tuple[str, DataId, UUID]:
        composite = node.composite
        existing = self.store.exists(composite.name, node.data_id)
        replaces = False
        twin = self.store.twin(composite.name, node.data_id)
        if twin is not None:
            if content_of(twin.pins or ()) != content_of(pins):
                raise _twins(self._outer[-1].node, self._outer[-1].component, f"{composite.name} {node.data_id}")
            return composite.name, node.data_id, twin.uuid
        if existing is not None:
            recorded = existing.repository.registry.pins(existing.record.type, existing.record.uuid)
            if content_of(recorded) == content_of(pins):
                return composite.name, node.data_id, existing.record.uuid
            outer = self._outer[-1] if self._outer else None
            if outer is not None and any(o.shared for o in self._outer):
                raise ConflictError(
                    f"{outer.node.composite.name} {outer.node.data_id}: {outer.component!r} is shared by all with "
                    f"{node.data_id} and differs from the {composite.name} in {existing.repository.root}. Nothing was "
                    f"written. Replace it by its own name if that is meant: put(..., {composite.name!r}, replace=True)"
                )
            if not self.options.replace:
                raise self.store.exists_error(composite.name, existing)
            if outer is not None:
                self.store.refuse_pinned(outer.node.composite.name, outer.node.data_id, outer.component, existing)
            replaces = True
        kinds = self.context.definitions.key_types
        new = NewDataset(
            composite.name,
            {key: kinds[key] for key in node.data_id},
            node.data_id,
            uuid4(),
            None,
            None,
            self.store.now,
            self.store.by,
            replaces=replaces,
            pins=pins,
            precursors=self.options.precursors,
            footprint=footprint,
        )
        self._place_wcs(node, pins, footprint)
        self.staged.changes.datasets.append(new)
        if not self._outer:
            self.staged.changes.repins.append((composite.name, node.data_id, new.uuid))
        return composite.name, node.data_id, new.uuid

    # Commit

    def found(self, type_: str, uuid: UUID) -> Found | None:
        """Return what this put has written, or found to be there, under a UUID."""
        if (new := self.staged.new(uuid)) is not None:
            return self.store.found(new)
        for repository in self.context.nearest_output():
            record = repository.registry.by_uuid(type_, uuid)
            if record is not None:
                return Found(repository, record)
        return None

    def commit(self) -> dict[UUID, UUID]:
        """Make everything visible together; return which new UUIDs gave way to datasets that won a race.

        Raises
        ------
        Overtaken
            If somebody else was first: `stage` has to look again.
        """
        self.store.publish()
        return {} if show(self.context, self.staged) else attempt(self.context, [self.staged])


def put(
    context: Context, obj: Any, name: DatasetName, data_id: Mapping[str, KeyValue], options: Mapping[str, Any]
) -> tuple[Put, str, DataId, UUID]:
    """Put an object; return how, and the type, the data ID and the UUID that it has now."""

    def once() -> tuple[Put, str, DataId, UUID]:
        this = Put(context, Options(**options))
        try:
            type_, own_id, uuid = this.stage(obj, name, data_id)
            given_way = this.commit()
        except BaseException:
            this.staged.drop()
            raise
        return this, type_, own_id, given_way.get(uuid, uuid)

    return until_first(once)


def _twins(node: Node, name: str, dataset: str) -> ConflictError:
    return ConflictError(
        f"{node.composite.name} {node.data_id}: {name!r} and another component are one dataset, {dataset}, but differ. "
        "Nothing was written"
    )


def _plain(name: DatasetName) -> DatasetName:
    return name if name.stage != "" else name.with_stage(None)
