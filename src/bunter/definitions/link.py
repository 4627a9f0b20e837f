"""How the dataset types of a policy go together: references, cycles, components under names of their own, key types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..components import match_component
from ..dataid import check_value
from ..errors import BunterError, DataIdError, DatasetNameError, DefinitionError, NotFoundError
from ..names import DatasetName
from ..values import replace
from ..words import did_you_mean, listing
from . import gen2
from .build import Builder
from .derive import constraint_keys_of, extended, find_component, find_whole, keys_of, renamed, whole
from .model import ComponentDefinition, CompositeType, DatasetType, PartOfType, Place, StoredType
from .nodes import Faults
from .reader import Draft

if TYPE_CHECKING:
    from .collection import Definitions

_DEEPEST = 20

DeclaredByName: TypeAlias = Callable[[str], Mapping[str, str]]
"""The components that a Python type, given by its dotted name, declares: name -> dotted type name."""


def declared_by_bunter(python: str) -> Mapping[str, str]:
    """Return the components that one of Bunter's own types declares; nothing for types of others."""
    name = gen2.bunter_name(python)
    module, _, rest = name.rpartition(".")
    if not name.startswith("bunter."):
        return {}
    from importlib import import_module

    from ..components import declared_components

    if module != "bunter" and not module.startswith("bunter.exposure"):
        raise DefinitionError(f"there is no type {name!r}: Bunter's own are in bunter.exposure")
    try:
        found = getattr(import_module(module), rest, None)
    except ModuleNotFoundError:
        raise DefinitionError(f"there is no type {name!r}: Bunter's own are in bunter.exposure") from None
    if not isinstance(found, type):
        types = [f"{module}.{word}" for word in dir(import_module(module)) if word[:1].isupper()]
        raise DefinitionError(f"there is no type {name!r}{did_you_mean(name, types)}")
    return declared_components(found)


class Linker:
    """Checks the types of one policy against each other and against those that are there already.

    Parameters
    ----------
    own : dict
        The types of the policy; replaced where they turn out to be parts or read-only.
    drafts : mapping
        What was written, the drafts that were too faulty to become types included.
    known : Definitions
        What is there already.
    builder : Builder
        Knows the key types.
    declared : callable
        Components of Python types; asked only if templates repeat.
    make : callable
        Makes the `Definitions` in whose context names are looked up.
    """

    def __init__(
        self,
        own: dict[str, DatasetType],
        drafts: Mapping[str, Draft],
        known: Definitions,
        builder: Builder,
        declared: DeclaredByName,
        make: Callable[[dict[str, DatasetType]], Definitions],
    ) -> None:
        self.own = own
        self.drafts = drafts
        self.known = known
        self.builder = builder
        self.faults: Faults = builder.faults
        self.declared = declared
        self.make = make

    def link(self) -> None:
        """Do all checks, in an order in which one fault does not cause more."""
        self._attach_components()
        self._repeated_templates()
        broken = self._references()
        cyclic = self._cycles(broken)
        self._read_only_parts(broken | cyclic)
        self._data_ids(broken | cyclic)
        if not self.faults:
            self._changes()

    @property
    def context(self) -> Definitions:
        """The definitions in which names are looked up, as they are now."""
        return self.make(self.own)

    def _attach_components(self) -> None:
        """Make definitions that were written under a component's name components of that composite."""
        for name, found in list(self.own.items()):
            parsed = DatasetName.parse(name)
            if not parsed.component:
                continue
            *outer, last = parsed.component
            composite_name = str(parsed.with_component(tuple(outer)))
            composite = self.own.get(composite_name, self.known.types.get(composite_name))
            if composite is None:
                continue
            if not isinstance(composite, CompositeType):
                self.faults.add(
                    found.place,
                    f"{composite_name!r} is not a composite, so {name!r} cannot be its component; "
                    "make it one, or choose another name",
                )
                continue
            component = find_component(composite, last)
            if component is not None and component.dataset_type != name:
                self.faults.add(
                    found.place,
                    f"{name!r} is by its name the component {last!r} of {composite_name!r}, "
                    f"which takes it from {component.dataset_type!r} ({component.place})",
                )
            elif component is None and match_component(last, composite.computed) is not None:
                self.faults.add(found.place, f"{last!r} of {composite_name!r} is derived; it cannot be defined too")
            elif component is None and composite_name not in self.own:
                self.faults.add(
                    found.place,
                    f"{name!r} would give {composite_name!r}, which is defined already, another component; "
                    "use a new stage",
                )
            elif component is None:
                added = ComponentDefinition(last, name, place=found.place)
                self.own[composite_name] = replace(composite, components={**composite.components, last: added})

    def _repeated_templates(self) -> None:
        """Make types that repeat a template parts of the type whose file it is."""
        everything = {**self.known.types, **self.own}
        wholes = [t for t in everything.values() if isinstance(t, StoredType) and t.template is not None]
        for name, stored in list(self.own.items()):
            if not isinstance(stored, StoredType) or stored.parts or stored.template is None or stored.python is None:
                continue
            python = gen2.bunter_name(stored.python)
            targets: list[str] = []
            for other in wholes:
                if other.name == name or other.template is None or not other.template.same_paths(stored.template):
                    continue
                if other.python is not None and gen2.bunter_name(other.python) == python and not other.parts:
                    continue
                targets += [
                    f"{other.name}.{part}"
                    for part, kind in self._components(other).items()
                    if kind and gen2.bunter_name(kind) == python
                ]
            if len(targets) > 1:
                self.faults.add(
                    stored.place,
                    f"{name!r} repeats the template of another type and could be any of {listing(targets)}; "
                    f"say which: partOf: {targets[0]}",
                )
            elif targets:
                self.own[name] = PartOfType(name, targets[0], {}, stored.place)

    def _components(self, stored: StoredType) -> Mapping[str, str]:
        if stored.parts:
            return {name: part.python or "" for name, part in stored.parts.items()}
        if stored.python is None:
            return {}
        try:
            return self.declared(stored.python)
        except DefinitionError as error:
            self.faults.add(stored.place, str(error))
            return {}

    def _references(self) -> set[str]:
        """Report names that lead nowhere; return the types that hold some."""
        context = self.context
        broken: set[str] = {name for name in self.drafts if name not in self.own}
        for found in self.own.values():
            for target, place in self._targets(found):
                if not self._leads_somewhere(context, target, place):
                    broken.add(found.name)
        for target, place in self.builder.policy.aliases.values():
            self._leads_somewhere(context, target, place)
        return self._with_users(broken)

    def _with_users(self, broken: set[str]) -> set[str]:
        """Return the types that are broken, and those that are made of them, however far."""
        users: dict[str, list[str]] = {}
        for found in self.own.values():
            for target, _ in self._targets(found):
                for prefix in _prefixes(DatasetName.parse(target)):
                    users.setdefault(prefix, []).append(found.name)
        waiting, all_of_them = list(broken), set(broken)
        while waiting:
            for user in users.get(waiting.pop(), ()):
                if user not in all_of_them:
                    all_of_them.add(user)
                    waiting.append(user)
        return all_of_them

    def _targets(self, found: DatasetType) -> Iterable[tuple[str, Place]]:
        if isinstance(found, PartOfType):
            yield found.target, self._place(found, "partOf")
        elif isinstance(found, CompositeType):
            if found.base is not None:
                yield found.base, self._place(found, "base")
            for component in found.components.values():
                yield component.dataset_type, component.place

    def _place(self, found: DatasetType, option: str) -> Place:
        options = self.drafts[found.name].options
        return options[option][1].place if option in options else found.place

    def _leads_somewhere(self, context: Definitions, target: str, place: Place) -> bool:
        parsed = DatasetName.parse(target)
        if any(prefix in self.drafts and prefix not in self.own for prefix in _prefixes(parsed)):
            # It is defined, but with faults that are reported already.
            return False
        lacking = self._lacking(context, parsed, frozenset())
        if lacking:
            self.faults.add(place, lacking)
        return not lacking

    def _base(self, context: Definitions, base: str, place: Place) -> None:
        try:
            whole(context, base)
        except RecursionError:
            self.faults.add(place, f"{base!r} is made of itself")
        except DefinitionError as error:
            self.faults.add(place, str(error))

    def _lacking(self, context: Definitions, name: DatasetName, seen: frozenset[str]) -> str:
        """Return what is wrong with a name that something is made of; rings are looked for later."""
        try:
            # As text, so that a name that grew too deep on the way is noticed.
            found, rest = context.resolve(str(name))
        except (NotFoundError, DatasetNameError, DefinitionError) as error:
            return str(error)
        if not rest or str(name) in seen or len(seen) > _DEEPEST:
            return ""
        seen |= {str(name)}
        if isinstance(found, PartOfType):
            return self._lacking(context, extended(found.target, rest), seen)
        known: Iterable[str] = ()
        if isinstance(found, CompositeType):
            component = find_component(found, rest[0])
            known = (*found.components, *found.derived)
            if component is not None:
                return self._lacking(context, extended(component.dataset_type, rest[1:]), seen)
            if found.base is not None and match_component(rest[0], found.derived) is None:
                return self._lacking(context, extended(found.base, rest), seen)
            inner = self._whole(context, found) if match_component(rest[0], found.derived) is None else None
            if inner is not None:
                return self._lacking(context, extended(inner.dataset_type, rest), seen)
        elif found.parts:
            known = found.parts
        else:
            # Only its Python type knows its components, and that is not imported to read a policy.
            return ""
        if match_component(rest[0], known) is not None:
            return ""
        return f"{found.name!r} has no component {rest[0]!r}{did_you_mean(rest[0], known)}; it has: {listing(known)}"

    def _whole(self, context: Definitions, composite: CompositeType) -> ComponentDefinition | None:
        try:
            return find_whole(context, composite, composite.components)
        except (BunterError, RecursionError):
            # What is wrong with the components' own names is reported where they are written.
            return None

    def _cycles(self, broken: set[str]) -> set[str]:
        """Report each ring of types that are made of each other; return all that are in one or lead to one."""
        context = self.context
        heights: dict[str, int | None] = {}
        bad: set[str] = set()

        def height(name: str, trail: tuple[str, ...]) -> int:
            """Return over how many others a name stands; beyond `_DEEPEST` for a ring."""
            known = heights.get(name)
            if known is not None:
                return known
            if name in heights:
                ring = trail[trail.index(name) :]
                self._fault_in((*ring, *trail), f"these are made of each other: {' -> '.join((*ring, name))}")
                return _DEEPEST + 1
            if len(trail) > _DEEPEST:
                self._fault_in(trail, f"made of others more than {_DEEPEST} deep")
                return _DEEPEST + 1
            heights[name] = None
            found = 1 + max(
                (height(inner, (*trail, name)) for inner in self._made_of(context, name, broken)), default=0
            )
            if found == _DEEPEST + 1:
                self._fault_in((name, *trail), f"made of others more than {_DEEPEST} deep")
            if found > _DEEPEST:
                bad.add(name)
            heights[name] = found
            return found

        for name in self.own:
            if name not in broken:
                height(name, ())
        return bad

    def _fault_in(self, names: tuple[str, ...], message: str) -> None:
        own = [prefix for name in names for prefix in _prefixes(DatasetName.parse(name)) if prefix in self.own]
        self.faults.add(self.own[own[0]].place if own else Place(names[0]), message)

    def _made_of(self, context: Definitions, name: str, broken: set[str]) -> list[str]:
        try:
            found, rest = context.resolve(name)
        except (NotFoundError, DatasetNameError, DefinitionError):
            # Reported already, as a name that leads nowhere.
            return []
        if found.name in broken or isinstance(found, StoredType):
            return []
        if isinstance(found, PartOfType):
            return [str(extended(found.target, rest))]
        if rest:
            component = find_component(found, rest[0])
            if component is not None:
                return [str(extended(component.dataset_type, rest[1:]))]
            return [str(extended(found.base, rest))] if found.base is not None else []
        return [*(c.dataset_type for c in found.components.values()), *([found.base] if found.base else [])]

    def _read_only_parts(self, bad: set[str]) -> None:
        """Components that name a part of a stored dataset are only read."""
        context = self.context
        for name, found in list(self.own.items()):
            if not isinstance(found, CompositeType) or name in bad:
                continue
            if found.base is not None:
                self._base(context, found.base, self._place(found, "base"))
            try:
                components = {
                    key: replace(c, input_only=True) if not c.input_only and _is_part(context, c.dataset_type) else c
                    for key, c in found.components.items()
                }
            except RecursionError:
                self.faults.add(found.place, f"{name!r} is made of itself")
                continue
            self.own[name] = replace(found, components=components)
            for component in components.values():
                self._source(found, component)

    def _source(self, composite: CompositeType, component: ComponentDefinition) -> None:
        """Check what ``dataIds`` and ``derived`` name, where no base adds components that are not known here."""
        source = component.data_ids
        named = source if isinstance(source, str) else source.get("component") if isinstance(source, dict) else None
        known = tuple(composite.components)
        if named is None or named == "precursors" or composite.base is not None:
            return
        if match_component(named, known) is None or named == component.name:
            near = did_you_mean(named, (*known, "precursors"))
            self.faults.add(component.place, f"'dataIds' names {named!r}, which is no other component{near}")

    def _data_ids(self, bad: set[str]) -> None:
        """Check ``dataId`` options, and derive the types of the keys that they name."""
        context = self.context
        for name, found in self.own.items():
            if name in bad:
                continue
            if isinstance(found, StoredType) and found.each is not None and found.each.kind == "values":
                for key, values in found.each.names.items():
                    self._values(key, values, self._place(found, "each"))
            uses: list[tuple[str, Mapping[str, Any], Place]] = []
            if isinstance(found, PartOfType):
                uses = [(found.target, found.data_id, found.place)]
            elif isinstance(found, CompositeType):
                uses = [(c.dataset_type, c.data_id, c.place) for c in found.components.values()]
                for derived in found.derived.values():
                    self._derived_inputs(found, derived.inputs)
                self._derived_rings(found)
            for target, data_id, place in uses:
                if data_id:
                    self._data_id(context, target, data_id, place)

    def _data_id(self, context: Definitions, target: str, data_id: Mapping[str, Any], place: Place) -> None:
        try:
            known = (*keys_of(context, target), *constraint_keys_of(context, target))
        except (BunterError, RecursionError):
            # A component that only its Python type knows is looked for when it is read; a ring that hangs on a name
            # which leads nowhere is reported there.
            return
        # A value for an implied key is checked against what is recorded when the data are read.
        implied = [key for key, given in context.implied.items() if all(other in known for other in given)]
        for key, value in data_id.items():
            if key not in known and key not in implied:
                near = did_you_mean(key, known)
                self.faults.add(place, f"'dataId': {target!r} has no key {key!r}{near}; it has: {listing(known)}")
                continue
            kind = self.builder.kinds.get(key, ("str", place))[0]
            other = renamed(value)
            if other is not None:
                self.builder.kind(other, kind, place)
                continue
            self._values(key, [value], place)

    def _values(self, key: str, values: Iterable[object], place: Place) -> None:
        kind = self.builder.kinds.get(key, ("str", place))[0]
        for value in values:
            try:
                check_value(key, value, kind)
            except DataIdError as error:
                self.faults.add(place, str(error))

    def _derived_inputs(self, composite: CompositeType, inputs: tuple[str, ...]) -> None:
        known = (*composite.components, *composite.derived)
        for word in inputs:
            if composite.base is None and match_component(word, known) is None:
                self.faults.add(
                    composite.place,
                    f"'derived': {composite.name!r} has no component {word!r}{did_you_mean(word, known)}",
                )

    def _derived_rings(self, composite: CompositeType) -> None:
        """Report derived components that are computed from each other."""
        made_of: dict[str, list[str]] = {}
        for name, derived in composite.derived.items():
            found = [match_component(word, composite.derived) for word in derived.inputs]
            made_of[name] = [other for other in found if other is not None and other != name]
        while free := [name for name, inputs in made_of.items() if not any(other in made_of for other in inputs)]:
            for name in free:
                del made_of[name]
        while ends := [name for name in made_of if not any(name in inputs for inputs in made_of.values())]:
            for name in ends:
                del made_of[name]
        if made_of:
            self.faults.add(
                composite.place, f"'derived': {composite.name!r} computes {listing(made_of)} from each other"
            )

    def _changes(self) -> None:
        """A definition that is there already keeps its keys, and stays what it is."""
        context = self.context
        for name, found in self.own.items():
            before = self.known.types.get(name)
            # Where parents disagree there is no one definition to keep to; the new one settles it.
            if before is not None and not self.known.disputed(name):
                what = changed(self.known, before, context, found)
                if what:
                    self.faults.add(found.place, f"{name!r} is defined already{what}; use a new stage")


def changed(known: Definitions, before: DatasetType, context: Definitions, after: DatasetType) -> str:
    """Return what a new definition changes that must stay, ``""`` if nothing."""
    kinds = {StoredType: "a stored type", CompositeType: "a composite", PartOfType: "a part of another"}
    if type(before) is not type(after):
        return f" as {kinds[type(before)]} ({before.place}), and is {kinds[type(after)]} here"
    old, new = keys_of(known.settled(), before.name), keys_of(context.settled(), after.name)
    if set(old) != set(new):
        return f" with the keys {listing(old)} ({before.place}), and has {listing(new)} here"
    return ""


def _prefixes(name: DatasetName) -> list[str]:
    """Return the names under which a name, or what it is a component of, may be defined."""
    return [str(name.with_component(name.component[:n])) for n in range(len(name.component), -1, -1)]


def _is_part(context: Definitions, name: str | DatasetName) -> bool:
    """Tell whether a name is that of a part of a stored dataset, which cannot be written by itself."""
    try:
        # As text, so that a name that grew too deep on the way is noticed.
        found, rest = context.resolve(str(name))
    except (NotFoundError, DatasetNameError, DefinitionError):
        # Reported already, as a name that leads nowhere.
        return False
    if isinstance(found, StoredType):
        return bool(rest)
    if isinstance(found, PartOfType):
        return _is_part(context, extended(found.target, rest))
    if not rest:
        return False
    component = find_component(found, rest[0])
    if component is None:
        # It comes from the base, and what comes from a base is only read.
        return True
    return component.input_only or _is_part(context, extended(component.dataset_type, rest[1:]))
