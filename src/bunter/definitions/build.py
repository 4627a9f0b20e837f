"""From drafts to dataset types: every option read and checked by itself; how types go together is `link`'s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..words import did_you_mean, listing
from . import gen2
from .composites import CompositeReader
from .derive import without_implied
from .foreign import ForeignReader
from .model import DatasetType, PartDefinition, Place, StoredType
from .nodes import Faults
from .options import Items
from .reader import Draft, Policy

_STORED = ("python", "storage", "template", "keys", "parts", "idFrom", "each", "metadata")
_COMPOSITE = (
    "python",
    "base",
    "composite",
    "assembler",
    "disassembler",
    "standardize",
    "readOnly",
    "derived",
    "keys",
)
_PART_OF = ("partOf", "dataId")
_ALL = tuple(dict.fromkeys((*_STORED, *_COMPOSITE, *_PART_OF, "extends")))


class Builder(ForeignReader, CompositeReader):
    """Builds the dataset types of one policy.

    Parameters
    ----------
    policy : Policy
        What was read.
    implied : mapping
        Implied keys, those of other repositories included.
    key_types : mapping
        Key types that other repositories have settled.
    faults : Faults
        Takes whatever is wrong.

    Attributes
    ----------
    kinds : dict
        Key -> its type and where that was said, for the keys whose type somebody said.
    used : dict
        Every key in use -> where it was seen first.
    """

    def __init__(
        self,
        policy: Policy,
        implied: Mapping[str, tuple[str, ...]],
        key_types: Mapping[str, str],
        faults: Faults,
    ) -> None:
        self.policy = policy
        self.implied = implied
        super().__init__(faults)
        self.kinds: dict[str, tuple[str, Place]] = {}
        self.used: dict[str, Place] = {}
        for key, kind in key_types.items():
            self.kinds[key] = (kind, Place("the definitions that are there already"))
        for key, (kind, place) in policy.keys.items():
            self.kind(key, kind, place)
        for key, (given, place) in policy.implied.items():
            for word in (key, *given):
                self.used.setdefault(word, place)
        self._listed = tuple(dict.fromkeys((*policy.keys, *key_types))) if policy.keys else tuple(key_types)

    def build(self, draft: Draft) -> DatasetType | None:
        """Return the dataset type of a draft, or None if it is too faulty to be one."""
        options = draft.options
        if "partOf" in options:
            self._unknown(options, _PART_OF, "partOf", draft.place)
            return self._part_of(draft)
        if "composite" in options or "base" in options:
            self._unknown(options, _COMPOSITE, "composite", draft.place)
            composite = self._composite(draft)
            for key in composite.own_keys:
                self._listed_key(key, {}, options["keys"][1].place)
                self.kind(key, None, options["keys"][1].place)
            return composite
        self._unknown(options, _STORED, "a stored type", draft.place)
        return self._stored(draft)

    def kind(self, key: str, kind: str | None, place: Place) -> None:
        """Note that a key is used and, if `kind` says it, its type."""
        self.used.setdefault(key, place)
        if kind is None:
            return
        known = self.kinds.setdefault(key, (kind, place))
        if known[0] != kind:
            self.faults.add(place, f"the key {key!r} is {kind} here and {known[0]} in {known[1]}")

    def _unknown(self, options: Items, known: tuple[str, ...], kind: str, place: Place) -> None:
        for name, (key, _) in options.items():
            if name in known or name in gen2.IGNORED_OPTIONS or (name == "storage" and kind == "composite"):
                continue
            if name == "template" and kind == "composite":
                self.faults.add(key.place, "'template' beside 'composite': a composite has no file of its own")
            elif name in _ALL:
                beside = kind if kind == "a stored type" else repr(kind)
                self.faults.add(key.place, f"{name!r} does not go with {beside}")
            else:
                self.faults.add(key.place, f"unknown option {name!r}{did_you_mean(name, _ALL)}")

    def _stored(self, draft: Draft) -> StoredType | None:
        options = draft.options
        python = self._dotted(options, "python")
        parts = self._parts(options)
        template = self._template(options)
        id_from = self._id_from(options)
        each = self._each(options)
        explicit = self._key_list(options)
        metadata = self._mapping_of_text(options, "metadata")
        storage = self._storage(draft, python, parts)
        fields: dict[str, tuple[str | None, Place]] = {}
        if template is not None:
            place = options["template"][1].place
            fields |= {key: (kind, place) for key, kind in template.kinds.items()}
        for key, (kind, place) in (*self._part_fields(options), *self._other_fields(options, id_from, each)):
            before = fields.get(key, (None, place))
            if before[0] is None:
                fields[key] = (kind, before[1])
            elif kind is not None:
                self.kind(key, kind, place)
        if explicit is None and template is None and "template" not in options and not fields:
            self.faults.add(draft.place, f"{draft.name!r} lacks a 'template'; without one, say 'keys: [...]'")
        wanted = explicit if explicit is not None else tuple(fields)
        place = options["keys"][1].place if explicit is not None else draft.place
        keys = without_implied(wanted, self.implied)
        for key in (*keys, *(k for k in fields if self._is_implied(k, wanted))):
            kind, where = fields.get(key, (None, place))
            self._listed_key(key, fields, where)
            self.kind(key, kind, where)
        path_fields = tuple(k for k in fields if k not in keys and not self._is_implied(k, wanted))
        return StoredType(
            name=draft.name,
            storage=storage or "",
            python=python,
            template=template,
            keys=keys,
            path_fields=path_fields,
            parts=parts,
            id_from=id_from,
            each=each,
            metadata=metadata,
            place=draft.place,
            trusted=draft.trusted,
        )

    def _is_implied(self, key: str, keys: Iterable[str]) -> bool:
        return key in self.implied and all(other in keys for other in self.implied[key])

    def _listed_key(self, key: str, fields: Mapping[str, object], place: Place) -> None:
        """Report a key that looks like a misspelt one of those that the policy lists."""
        if key in self._listed or (not self._listed and not self.policy.keys):
            return
        from difflib import get_close_matches

        near = get_close_matches(key, self._listed, n=1, cutoff=0.8)
        if near and near[0] not in fields:
            self.faults.add(
                place, f"the key {key!r} is not listed in 'keys'; did you mean {near[0]!r}? (if not, list it there)"
            )

    def _storage(self, draft: Draft, python: str | None, parts: Mapping[str, PartDefinition]) -> str | None:
        from .. import formats

        given = self._text(draft.options, "storage")
        place = draft.options["storage"][1].place if "storage" in draft.options else draft.place
        if given is not None and not gen2.is_storage(given):
            if not formats.is_known(given):
                known = formats.names()
                self.faults.add(
                    place, f"unknown storage {given!r}{did_you_mean(given, known)}; there are: {listing(known, 30)}"
                )
            return given
        if "storage" in draft.options and given is None:
            return None
        if parts:
            return "Fits"
        if python is None and "python" not in draft.options:
            self.faults.add(place, f"{draft.name!r} lacks a 'storage' (or a 'python' type that has a usual one)")
            return None
        found = formats.for_python(gen2.bunter_name(python)) if python is not None else None
        if found is None and python is not None:
            what = f"the storage {given!r} says nothing for" if given else "there is no usual storage for"
            self.faults.add(place, f"{what} {python}; say 'storage', one of: {listing(formats.names(), 30)}")
        return found
