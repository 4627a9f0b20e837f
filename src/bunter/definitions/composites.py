"""Reading composites, their components, and parts under names of their own."""

from __future__ import annotations

from typing import Any

from ..names import plain_component
from ..words import did_you_mean
from .model import ComponentDefinition, CompositeType, DerivedDefinition, PartOfType, Place
from .nodes import Node
from .options import Items, OptionReader, is_word
from .reader import Draft

_COMPONENT = (
    "datasetType",
    "inputOnly",
    "subset",
    "lazy",
    "dataId",
    "dataIds",
    "optional",
    "setter",
    "getter",
)


class CompositeReader(OptionReader):
    """Reads types that are made of others."""

    def _composite(self, draft: Draft) -> CompositeType:
        options = draft.options
        derived = self._derived(options)
        components: dict[str, ComponentDefinition] = {}
        taken = {plain_component(name): name for name, found in derived.items() if not found.is_operation}
        for name, (key, node) in self._components_of(options, "composite").items():
            if name in derived and not derived[name].is_operation:
                self.faults.add(key.place, f"{name!r} and {name!r} are one component; name it once")
            elif self._component_name(name, key.place, taken):
                component = self._component(name, key.place, node)
                if component is not None:
                    components[name] = component
        own_keys = self._key_list(options) or ()
        if "base" not in options and options["composite"][1].value in (None, {}):
            self.faults.add(options["composite"][1].place, f"the composite {draft.name!r} has no components")
        return CompositeType(
            name=draft.name,
            python=self._dotted(options, "python"),
            base=self._name(options, "base"),
            components=components,
            assembler=self._function(options, "assembler"),
            disassembler=self._function(options, "disassembler", ("generic",)),
            standardize=self._function(options, "standardize", ()),
            read_only=self._bool(options, "readOnly"),
            derived=derived,
            own_keys=own_keys,
            place=draft.place,
            trusted=draft.trusted,
        )

    def _component(self, name: str, place: Place, node: Node) -> ComponentDefinition | None:
        if isinstance(node.value, str):
            target = self._parsed_name(node)
            return ComponentDefinition(name, target, place=node.place) if target is not None else None
        if not isinstance(node.value, dict):
            self.faults.add(
                node.place, f"a component is the name of a dataset type or {{datasetType: ...}}; found {node.what}"
            )
            return None
        options = node.value
        lacking = "datasetType" not in options
        for option, (key, _) in options.items():
            if option not in _COMPONENT:
                near = "; did you mean 'datasetType'?" if lacking else did_you_mean(option, _COMPONENT)
                self.faults.add(key.place, f"unknown option {option!r} of a component{near}")
        target = self._name(options, "datasetType")
        if lacking and all(option in _COMPONENT for option in options):
            self.faults.add(node.place, f"the component {name!r} lacks 'datasetType'")
        subset, lazy, data_ids = self._bool(options, "subset"), self._bool(options, "lazy"), self._data_ids(options)
        if lazy and not subset and data_ids is None:
            self.faults.add(options["lazy"][0].place, "'lazy' goes with 'subset' or 'dataIds'")
        if subset and data_ids is not None:
            self.faults.add(options["subset"][0].place, "'subset' and 'dataIds' of one component: say one of them")
        component = ComponentDefinition(
            name=name,
            dataset_type=target or "",
            input_only=self._bool(options, "inputOnly"),
            subset=subset,
            lazy=lazy,
            data_id=self._data_id(options),
            data_ids=data_ids,
            optional=self._bool(options, "optional"),
            setter=self._word(options, "setter"),
            getter=self._word(options, "getter"),
            place=node.place,
        )
        return component if target is not None else None

    def _data_ids(self, options: Items) -> Any:
        if "dataIds" not in options:
            return None
        node = options["dataIds"][1]
        plain = node.plain()
        if is_word(plain):
            return plain
        if isinstance(node.value, dict):
            if set(plain) == {"precursorsOf"} and isinstance(plain["precursorsOf"], str):
                return plain
            if set(plain) == {"component", "cards", "match"} and all(type(v) is str for v in plain.values()):
                return plain if self._template(node.value, "match") is not None else None
            near = [
                f"{word!r}{did_you_mean(word, ('precursorsOf', 'component', 'cards', 'match'))}"
                for word in node.value
                if word not in ("precursorsOf", "component", "cards", "match")
            ]
            if near:
                self.faults.add(node.place, f"unknown option of 'dataIds': {', '.join(near)}")
                return None
        self.faults.add(
            node.place,
            "'dataIds' is the name of a component, 'precursors', {precursorsOf: coadd} or "
            f'{{component: metadata, cards: "INPUT*", match: "{{run:d}}"}}; found {node.what}',
        )
        return None

    def _derived(self, options: Items) -> dict[str, DerivedDefinition]:
        found: dict[str, DerivedDefinition] = {}
        taken: dict[str, str] = {}
        for name, (key, node) in self._components_of(options, "derived").items():
            if not self._component_name(name, key.place, taken):
                continue
            if not isinstance(node.value, dict) or not {"from", "with"} <= set(node.value):
                self.faults.add(node.place, f"'derived' takes {{from: [image], with: package.f}}; found {node.what}")
                continue
            for option, (option_key, _) in node.value.items():
                if option not in ("from", "with"):
                    near = did_you_mean(option, ("from", "with"))
                    self.faults.add(option_key.place, f"unknown option {option!r} of a derived component{near}")
            function = self._function(node.value, "with", ())
            sources = node.value["from"][1]
            inputs = [n.value for n in sources.value] if isinstance(sources.value, list) else [sources.value]
            words = tuple(word for word in inputs if isinstance(word, str) and is_word(word))
            if len(words) != len(inputs):
                self.faults.add(sources.place, f"'from' is a list of components; found {sources.what}")
            elif function is not None:
                found[name] = DerivedDefinition(name, words, function)
        return found

    def _part_of(self, draft: Draft) -> PartOfType | None:
        target = self._name(draft.options, "partOf")
        if target is None:
            return None
        return PartOfType(draft.name, target, self._data_id(draft.options), draft.place)
