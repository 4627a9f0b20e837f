"""`Definitions`: the dataset types that a repository knows, its own and its parents'; and how they are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import DatasetNameError, DatasetTypeNotFoundError, DefinitionError
from ..names import DatasetName
from ..values import dataclass, field, fields, replace
from ..words import did_you_mean, listing
from . import derive
from .combine import Merge, same_type
from .model import ComponentDefinition, CompositeType, DatasetType, Place

if TYPE_CHECKING:
    from .link import DeclaredByName
    from .reader import Draft


_DEEPEST = 32


@dataclass(frozen=True, slots=True, eq=False)
class Definitions:
    """Dataset types, aliases, and the keys that they use; immutable.

    Attributes
    ----------
    types : mapping
        Canonical name -> dataset type.
    aliases : mapping
        Bare name -> canonical name.
    key_types : mapping
        Key -> ``"int"``, ``"str"`` or ``"float"``.
    implied : mapping
        Implied key -> the keys that imply it.
    """

    types: Mapping[str, DatasetType] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    key_types: Mapping[str, str] = field(default_factory=dict)
    implied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _drafts: Mapping[str, Draft] = field(default_factory=dict, repr=False)
    _texts: tuple[str, ...] = field(default=(), repr=False)
    # What unrelated parents disagree about: ``type x``, ``alias x``, ``key x`` -> the message when it is used.
    _conflicts: Mapping[str, str] = field(default_factory=dict, repr=False)
    # The definitions that each definition stands in front of, in the repositories that this one descends from.
    _masked: Mapping[str, tuple[DatasetType, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, dict):
                object.__setattr__(self, item.name, MappingProxyType(value))

    def __reduce__(self) -> tuple[Any, ...]:
        values = (getattr(self, item.name) for item in fields(self))
        return Definitions, tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in values)

    def stages(self, type_: str) -> tuple[str, ...]:
        """Return the stages with which a dataset type is defined, in order of definition."""
        names = (DatasetName.parse(name) for name in self.types)
        return tuple(dict.fromkeys(name.stage for name in names if name.type == type_ and name.stage))

    def find(self, name: str | DatasetName) -> DatasetType:
        """Return the dataset type of a name: the definition under the whole of it, else under most of its components.

        Aliases are not applied.

        Raises
        ------
        DatasetNameError
            For a bare name that exists only with stages.
        DatasetTypeNotFoundError
            If there is no such type, or not of that stage.
        DefinitionError
            If unrelated parents define it differently.
        """
        return self.resolve(name)[0]

    def resolve(self, name: str | DatasetName) -> tuple[DatasetType, tuple[str, ...]]:
        """Return what `find` returns, and the components of the name that the definition's own name does not hold."""
        parsed = DatasetName.parse(name)
        components = parsed.component
        if len(components) > _DEEPEST:
            # What is a part of itself gets longer at each turn.
            raise DatasetNameError(f"'{str(parsed)[:80]}...' names components more than {_DEEPEST} deep")
        for n in range(len(components), -1, -1):
            written = ".".join((parsed.definition, *components[:n]))
            found = self.types.get(written)
            if found is not None:
                self._check_conflicts(written, found)
                return found, components[n:]
        raise self._not_found(parsed)

    def unalias(self, name: str | DatasetName) -> DatasetName:
        """Return the name that a bare name stands for; names with a stage (``"calexp:"`` too) stay as they are.

        Raises
        ------
        DefinitionError
            If unrelated parents define the alias differently.
        """
        parsed = DatasetName.parse(name)
        if parsed.stage is not None or parsed.type not in self.aliases:
            return parsed
        conflict = self._conflicts.get(f"alias {parsed.type}")
        if conflict is not None:
            raise DefinitionError(conflict)
        return derive.extended(self.aliases[parsed.type], parsed.component)

    def disputed(self, name: str) -> bool:
        """Tell whether unrelated parents define a dataset type differently."""
        return f"type {name}" in self._conflicts

    def settled(self) -> Definitions:
        """Return these definitions with the first parent's wherever parents disagree, for comparisons."""
        return replace(self, _conflicts={}) if self._conflicts else self

    def _check_conflicts(self, name: str, found: DatasetType) -> None:
        if not self._conflicts:
            return
        used = (f"type {name}", *(f"key {key}" for key in getattr(found, "keys", ())))
        for item in used:
            if item in self._conflicts:
                raise DefinitionError(self._conflicts[item])

    def _not_found(self, name: DatasetName) -> Exception:
        stages = self.stages(name.type)
        if stages and not name.stage:
            spelled = listing(str(name.with_stage(stage)) for stage in stages)
            return DatasetNameError(f"{str(name)!r} exists only with stages: {spelled}; say which, or define an alias")
        if stages or name.type in self.types:
            near = did_you_mean(name.stage or "", stages)
            there = listing(stages) if stages else "none; leave the stage out"
            return DatasetTypeNotFoundError(f"there is no stage {name.stage!r} of {name.type!r}{near}; stages: {there}")
        types = list(dict.fromkeys(DatasetName.parse(known).type for known in self.types))
        near = did_you_mean(name.type, types)
        if not types:
            return DatasetTypeNotFoundError(f"there is no dataset type {name.type!r}: none is defined here")
        return DatasetTypeNotFoundError(f"there is no dataset type {name.type!r}{near}; there are: {listing(types)}")

    def keys_of(self, name: str | DatasetName) -> tuple[str, ...]:
        """Return the keys that a full data ID of `name` has; see `derive.keys_of`."""
        return derive.keys_of(self, name)

    def constraint_keys_of(self, name: str | DatasetName) -> tuple[str, ...]:
        """Return the keys that a data ID of `name` may have beyond those; see `derive.constraint_keys_of`."""
        return derive.constraint_keys_of(self, name)

    def components_of(self, name: str, declared: derive.Declared) -> dict[str, ComponentDefinition]:
        """Return the components of a composite, its base's included; see `derive.components_of`."""
        return derive.components_of(self, name, declared)

    def effective(self, name: str) -> CompositeType:
        """Return a composite with what it takes from its base; see `derive.effective`."""
        return derive.effective(self, name)

    @staticmethod
    def combine(parents: Sequence[Definitions], own: Definitions | None) -> Definitions:
        """Return the definitions of a repository: its parents', in front of which stand its own.

        What parents define differently is an error when it is used, unless one of them stands in front of the
        other's definition itself, or the repository has a definition of its own.
        """
        types = Merge[DatasetType]("type", "dataset type", same_type)
        aliases = Merge[str]("alias", "alias", str.__eq__)
        key_types = Merge[str]("key", "key", str.__eq__, settles=False)
        implied = Merge[tuple[str, ...]]("key", "implied key", tuple.__eq__, settles=False)
        drafts: dict[str, Draft] = {}
        for parent in parents:
            types.parent(parent.types, parent._conflicts, parent._masked)
            aliases.parent(parent.aliases, parent._conflicts, {})
            key_types.parent(parent.key_types, parent._conflicts, {})
            implied.parent(parent.implied, parent._conflicts, {})
            drafts = {**parent._drafts, **drafts}
        if own is not None:
            types.own(own.types)
            aliases.own(own.aliases)
            key_types.own(own.key_types)
            implied.own(own.implied)
            drafts |= own._drafts
        return Definitions(
            types.found,
            aliases.found,
            key_types.found,
            implied.found,
            drafts,
            own._texts if own is not None else (),
            {**types.conflicts, **aliases.conflicts, **key_types.conflicts, **implied.conflicts},
            {name: tuple(behind) for name, behind in types.masked.items()},
        )

    def updated(self, new: Definitions) -> Definitions:
        """Return these definitions with newer ones in front: what ``define`` does to an existing repository.

        The text of both is kept. If `new` says nothing new, the result is this very object.

        Raises
        ------
        DefinitionError
            If `new` changes the keys of a type, or whether it is stored or composite.
        """
        if (
            all(name in self.types and same_type(self.types[name], found) for name, found in new.types.items())
            and new.aliases.items() <= self.aliases.items()
            and new.key_types.items() <= self.key_types.items()
            and all(self.implied.get(key) == given for key, given in new.implied.items())
        ):
            return self
        from .link import changed
        from .nodes import Faults

        faults = Faults()
        both = Definitions(
            {**self.types, **new.types},
            {**self.aliases, **new.aliases},
            {**self.key_types, **new.key_types},
            {**self.implied, **new.implied},
            {**self._drafts, **new._drafts},
            (*self._texts, *new._texts),
        )
        for key, kind in new.key_types.items():
            if self.key_types.get(key, kind) != kind:
                faults.add(
                    Place("policy"), f"the key {key!r} is {self.key_types[key]} already; it cannot become {kind}"
                )
        for name, found in new.types.items():
            if name in self.types:
                what = changed(self, self.types[name], both, found)
                if what:
                    faults.add(found.place, f"{name!r} is defined already{what}; use a new stage")
        faults.raise_if_any()
        return both

    def alias(self, name: str, target: str, *, known: Definitions | None = None) -> Definitions:
        """Return these definitions with one more alias.

        Parameters
        ----------
        name : str
            A bare name.
        target : str
            What it stands for from now on; defined here or in `known`.

        Raises
        ------
        DefinitionError
            If `name` is not bare or `target` is not defined.
        """
        context = self if known is None else Definitions.combine([known], self)
        return self.updated(load({"aliases": {name: target}}, known=context, trusted=True))

    def to_yaml(self) -> str:
        """Return the policy as text: what the users wrote, word for word, with includes inlined before it.

        Of combined definitions: those of the repository itself. Policies that came one after the other
        are documents of one file, in which a later one stands in front of an earlier one.
        """
        from .reader import join_texts

        return join_texts(self._texts)


def load(
    source: Mapping[str, Any] | str | Path,
    *,
    known: Definitions | None = None,
    trusted: bool = False,
    base_dir: str | Path | None = None,
    declared: DeclaredByName | None = None,
) -> Definitions:
    """Read and check a policy.

    Parameters
    ----------
    source : mapping, str or Path
        A dict (classes and functions in it become their dotted names), a path, or YAML text.
    known : Definitions, optional
        What is defined already (by parents): names may refer to it.
    trusted : bool
        Whether the user gave the policy in code. The types are marked so, and includes may lie anywhere.
    base_dir : str or Path, optional
        Where relative includes of a dict or a text start; the folder of the file, or the current one.
    declared : callable, optional
        Returns the components of a Python type by its dotted name; asked only where templates repeat.
        By default those of Bunter's own types are known.

    Returns
    -------
    Definitions
        Those of the policy alone, without what is in `known`.

    Raises
    ------
    DefinitionError
        With a line ``file:line:column: what was found`` for every fault.

    Examples
    --------
    >>> policy = load("datasets: {src: {python: astropy.table.Table, template: 'src/{visit:d}.fits'}}")
    >>> policy.find("src").storage, policy.key_types["visit"]
    ('FitsTable', 'int')
    """
    # Whoever only needs the model (a format, say) does not pay for the reader of policies.
    from .build import Builder
    from .link import Linker, declared_by_bunter
    from .nodes import Faults
    from .reader import PolicyReader, expand

    known = known if known is not None else Definitions()
    faults = Faults()
    policy = PolicyReader(faults, trusted=trusted).read(source, base_dir)
    drafts = expand(policy.drafts, known._drafts, faults)
    own_implied = {key: given for key, (given, _) in policy.implied.items()}
    implied = {**known.implied, **own_implied}
    builder = Builder(policy, implied, known.key_types, faults)
    own: dict[str, DatasetType] = {}
    for draft in drafts.values():
        found = builder.build(draft)
        if found is not None:
            own[draft.name] = found

    def context(types: dict[str, DatasetType]) -> Definitions:
        conflicts = {k: v for k, v in known._conflicts.items() if k.removeprefix("type ") not in types}
        return Definitions({**known.types, **types}, implied=implied, _conflicts=conflicts)

    Linker(own, drafts, known, builder, declared or declared_by_bunter, context).link()
    faults.raise_if_any()
    return Definitions(
        own,
        {name: target for name, (target, _) in policy.aliases.items()},
        {key: builder.kinds[key][0] if key in builder.kinds else "str" for key in builder.used},
        own_implied,
        drafts,
        tuple(policy.texts),
    )
