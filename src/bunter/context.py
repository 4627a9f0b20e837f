"""What the calls of one Butler share: the chain it searches, what names mean, how data IDs are completed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from .comparing import same_records
from .dataid import DataId, KeyValue, check_value
from .definitions import Definitions
from .errors import DataIdError, DatasetNameError, RepositoryError
from .locate import Found, LocatedBranch, Locator, Resolve, lacking
from .members import listed_data_ids
from .names import DatasetName
from .plan import Branch, Gather, MissingKeysError, Node, Planner, standard_data_id
from .querying import Finder
from .reading import Opener, Reader
from .registry.interface import Changes
from .repository import Chain, Overlay, Repository
from .words import did_you_mean, listing, shown

_MOST_ASKED = 4096


class Context:
    """Everything that one call needs to know.

    Parameters
    ----------
    chain : Chain
        The repositories that are searched, an overlay of a transaction first.
    definitions : Definitions
        What names mean here.
    output : Repository or None
        Where puts go.
    opener : Opener
        Formats and types.
    first : bool
        Take the first where two repositories disagree.
    """

    def __init__(
        self, chain: Chain, definitions: Definitions, output: Repository | None, opener: Opener, *, first: bool
    ) -> None:
        self.chain = chain
        self.definitions = definitions
        self.output = output
        self.opener = opener
        self.first = first
        self.planner = Planner(definitions, opener.declared)
        self.finder = Finder(chain, self.planner, self.is_whole)
        self._repinned: dict[tuple[str, DataId], UUID] = {}
        self._asked: dict[tuple[str, tuple[str, ...]], tuple[DatasetName, tuple[tuple[str, str], ...]]] = {}

    def locator(self, resolve: Resolve = "pinned", beside: Locator | None = None) -> Locator:
        """Return a locator for one call; one `beside` another of that call knows what that has looked up."""
        locator = Locator(self.chain, self.planner, self.finder.members, self._listed, self.same, self.first, resolve)
        locator.repinned = self._repinned
        if beside is not None:
            locator._direct = beside._direct
        return locator

    def _listed(
        self, gather: Gather, node: Node, branches: dict[str, LocatedBranch], put: Found | None
    ) -> list[DataId]:
        def read(located: LocatedBranch) -> Any:
            return Reader(self.opener, None, {}, lambda name, *_: name).read(located, node.composite.name, node.data_id)

        return listed_data_ids(self.planner, read, gather, node, branches, put)

    def same(self, a: Found, b: Found) -> bool:
        """Tell whether two stored datasets hold the same content."""
        return same_records(self.opener, a, b)

    def is_whole(self, name: DatasetName, data_id: Mapping[str, KeyValue]) -> bool:
        """Tell whether a dataset can be read in full, as far as the registries know."""
        return not any(True for _ in lacking(self.locate(self.planner.expand(name, data_id))))

    def locate(self, branch: Branch, resolve: Resolve = "pinned") -> LocatedBranch:
        """Locate a tree."""
        return self.locator(resolve).locate(branch)

    def need_output(self) -> Repository:
        """Return the output repository.

        Raises
        ------
        RepositoryError
            If there is none.
        """
        if self.output is None:
            raise RepositoryError(
                "this Butler is read-only: open it with outputs= to write, for example "
                "Butler(inputs=..., outputs='my_output')"
            )
        return self.output

    def nearest_output(self) -> list[Repository]:
        """Return where *exists* is decided: the output, and before it what a transaction has put."""
        output = self.need_output()
        first = self.chain.order[0]
        return [first, output] if isinstance(first, Overlay) else [output]

    def show(self, changes: Changes) -> bool:
        """Show changes inside the open transaction; tell whether there is one."""
        first = self.chain.order[0]
        if not isinstance(first, Overlay):
            return False
        for new in changes.datasets:
            if new.replaces:
                # The one that is replaced must not show again if the new one is deleted.
                old = first.parents[0].registry.find(new.type, new.data_id, new.part)
                self.chain.hidden |= {old.uuid} if old is not None else set()
        first.registry.apply([changes])
        self._repinned.update({(type_, data_id): uuid for type_, data_id, uuid in changes.repins})
        return True

    # Names and data IDs

    def resolve(
        self, name: str | DatasetName, data_id: Mapping[str, Any] | None, keys: Mapping[str, Any]
    ) -> tuple[DatasetName, dict[str, KeyValue]]:
        """Return the full name and the standard data ID of a user's call: stage taken from the data ID, alias applied.

        Raises
        ------
        DatasetNameError, DataIdError
            If the two contradict each other or themselves.
        DatasetTypeNotFoundError
            If there is no such name.
        """
        given = _merged(data_id, keys)
        # A name with the same keys means the same, whatever their values; but a stage is told by a value.
        asked = (name, tuple(given)) if type(name) is str and not ("stage" in given or "version" in given) else None
        known = self._asked.get(asked) if asked is not None else None
        if known is not None:
            full_name, kinds = known
            values = zip(kinds, given.values(), strict=True)
            return full_name, {key: check_value(key, value, kind) for (key, kind), value in values}
        parsed = self._named(DatasetName.parse(name), name, given)
        # Before the data ID: its stage may be what knows the key.
        self.definitions.find(parsed)
        standard = standard_data_id(self.definitions, given)
        if asked is not None:
            if len(self._asked) >= _MOST_ASKED:
                self._asked.clear()
            self._asked[asked] = parsed, tuple((key, self.definitions.key_types[key]) for key in standard)
        return parsed, standard

    def _named(self, parsed: DatasetName, name: object, given: dict[str, Any]) -> DatasetName:
        """Return the full name of what was asked for; a stage is taken out of the data ID."""
        stage = self._stage_from(parsed, given)
        if stage is not None:
            if parsed.stage is not None and parsed.stage != stage:
                raise DataIdError(f"the name {str(name)!r} says stage {parsed.stage!r}, the data ID says {stage!r}")
            return parsed.with_stage(stage)
        return self.definitions.unalias(parsed) if parsed.stage is None else parsed

    def data_id(self, data_id: Mapping[str, Any] | None, keys: Mapping[str, Any]) -> dict[str, KeyValue]:
        """Return the standard data ID of a user's call that names no dataset."""
        return standard_data_id(self.definitions, _merged(data_id, keys))

    def _stage_from(self, name: DatasetName, given: dict[str, Any]) -> str | None:
        stage: str | None = None
        for word in ("stage", "version"):
            if word not in given or self._has_key(name.type, word):
                continue
            value = given.pop(word)
            if value is None:
                continue
            if not isinstance(value, str):
                raise DataIdError(f"{word}={shown(value)}: a stage is a string")
            if stage is not None and stage != value:
                raise DataIdError(f"the data ID gives the stage twice: {stage!r} and {value!r}")
            stage = value
        if stage:
            stage = stage.strip()
            # Checked as a name is, since it becomes one.
            if DatasetName.parse(f"{name.type}:{stage}").component:
                raise DatasetNameError(f"{stage!r} is not a stage: components belong into the name")
        return stage

    def _has_key(self, type_: str, key: str) -> bool:
        if key not in self.definitions.key_types:
            return False
        return any(
            DatasetName.parse(other).type == type_ and key in self.planner.all_keys(DatasetName.parse(other))
            for other in self.definitions.types
        )

    def complete(
        self, name: DatasetName, data_id: Mapping[str, KeyValue], *, strict: bool = False
    ) -> dict[str, KeyValue]:
        """Fill in implied keys; check those that are given, and that no key is one too many if `strict`.

        Raises
        ------
        DataIdError
            If an implied key contradicts what the repositories know, or (`strict`) the type does not have a key.
        """
        full = dict(data_id)
        implied = self.definitions.implied
        needed = self.planner.all_keys(name) if implied or strict else ()
        for key, given in implied.items():
            if (key in full or key in needed) and all(other in full for other in given):
                known = self.implied_value(key, {other: full[other] for other in given})
                if known is None:
                    continue
                if full.setdefault(key, known) != known:
                    what = ", ".join(f"{other}={full[other]!r}" for other in given)
                    raise DataIdError(f"{key}={full[key]!r} contradicts the registry: {what} has {key}={known!r}")
        if strict:
            extra = [key for key in data_id if key not in needed and key not in implied]
            if extra:
                allowed = self._path_keys(name)
                extra = [key for key in extra if key not in allowed]
            if extra:
                raise DataIdError(
                    f"{str(name)!r} has no key {extra[0]!r}{did_you_mean(extra[0], needed)}; its keys are: "
                    f"{listing(needed)}"
                )
        return full

    def own_data_id(self, name: DatasetName, data_id: Mapping[str, KeyValue]) -> DataId:
        """Return the keys that count for a name; for a component those of its composite too, which choose its pins."""
        wanted = {*self.planner.all_keys(name), *self._path_keys(name)}
        return DataId({key: value for key, value in data_id.items() if key in wanted})

    def _path_keys(self, name: DatasetName) -> tuple[str, ...]:
        # For a dotted name the keys of the composite count as known.
        return self.planner.all_keys(name.with_component(())) if name.component and self._defined(name) else ()

    def _defined(self, name: DatasetName) -> bool:
        return name.definition in self.definitions.types

    def implied_value(self, key: str, given: Mapping[str, KeyValue]) -> KeyValue | None:
        """Return what the nearest repository knows of an implied key."""
        for repository in self.chain.order:
            value = repository.registry.implied(key, given)
            if value is not None:
                return value
        return None

    def expand(self, name: DatasetName, data_id: Mapping[str, KeyValue]) -> Branch:
        """Return the tree of a name; a missing key is reported with the values that there are."""
        try:
            return self.planner.expand(name, data_id)
        except MissingKeysError as error:
            raise self.missing(name, data_id, error.missing) from None

    def missing(self, name: DatasetName, data_id: Mapping[str, KeyValue], keys: tuple[str, ...]) -> DataIdError:
        """Return the error for an incomplete data ID: which keys, and the values that there are."""
        try:
            relation = self.finder.relation(name, data_id).where(data_id)
        except MissingKeysError:
            relation = None
        lines = []
        for key in keys:
            if relation is not None and key in relation.keys:
                at = relation.keys.index(key)
                values = sorted({row[at] for row in relation.rows}, key=lambda value: (str(type(value)), value))
                what = f"there are {listing(values)}" if values else "there are no datasets that agree with the rest"
            else:
                what = "its values are not known before it is given"
            lines.append(f"{key!r} ({what})")
        return DataIdError(f"{str(name)!r} with {DataId(data_id)} needs also: {'; '.join(lines)}")


def _merged(data_id: Mapping[str, Any] | None, keys: Mapping[str, Any]) -> dict[str, Any]:
    if data_id is not None and not isinstance(data_id, Mapping):
        raise DataIdError(f"a data ID is a mapping of keys to values, not a {type(data_id).__name__}: {shown(data_id)}")
    given = dict(data_id or {})
    for key, value in keys.items():
        if key in given and _differ(given[key], value):
            raise DataIdError(f"{key} is given twice: {shown(given[key])} in the data ID, {shown(value)} as a keyword")
        given[key] = value
    return given


def _differ(a: object, b: object) -> bool:
    try:
        return bool(a != b)
    except Exception:
        # An array, say: nothing that could be a value.
        return True
