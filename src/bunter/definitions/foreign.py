"""Reading what a policy says of foreign files: parts, cards that give keys, many datasets in one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import DefinitionError
from ..templates import Template
from ..words import did_you_mean
from .model import CardMatch, Each, PartDefinition, Place
from .nodes import Node
from .options import Items, OptionReader, is_dotted

_PART = ("hdu", "row", "rows", "column", "read", "python", "convert")
_READ = ("data", "header", "wcs")
_CONVERSIONS = ("inverse_variance", "splinesky")
_CONVERSION_MAPPINGS = ("bits", "codes", "visit_info")


class ForeignReader(OptionReader):
    """Reads ``parts``, ``idFrom`` and ``each``."""

    def _parts(self, options: Items) -> dict[str, PartDefinition]:
        parts: dict[str, PartDefinition] = {}
        taken: dict[str, str] = {}
        for name, (key, node) in self._components_of(options, "parts").items():
            if not self._component_name(name, key.place, taken):
                continue
            if node.value is not None and not isinstance(node.value, dict):
                self.faults.add(node.place, f"a part is a mapping such as {{hdu: SCI}}; found {node.what}")
                continue
            inner = node.value or {}
            for option, (option_key, _) in inner.items():
                if option not in _PART:
                    self.faults.add(
                        option_key.place, f"unknown option {option!r} of a part{did_you_mean(option, _PART)}"
                    )
            if "row" in inner and "rows" in inner:
                self.faults.add(inner["rows"][0].place, "'row' and 'rows' of one part: say one of them")
            parts[name] = PartDefinition(
                name=name,
                hdu=self._hdu(inner),
                row=self._rows(inner, "row"),
                rows=self._rows(inner, "rows"),
                column=self._text(inner, "column"),
                read=self._choice(inner, "read", _READ),
                python=self._dotted(inner, "python"),
                convert=self._convert(inner),
            )
        return parts

    def _hdu(self, options: Items) -> Any:
        if "hdu" not in options:
            return None
        node = options["hdu"][1]
        value = node.value
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        plain = node.plain()
        if isinstance(value, list) and len(plain) == 2 and type(plain[0]) is str and type(plain[1]) is int:
            return (plain[0], plain[1])
        if isinstance(value, dict) and len(value) == 1:
            key, table = next(iter(plain.items()))
            if isinstance(table, dict) and all(type(hdu) in (int, str) for hdu in table.values()):
                return {str(key): table}
        self.faults.add(
            node.place, f"'hdu' is SCI, [SCI, 2], 1, \"{{ccd}}\" or {{filter: {{u: 1}}}}; found {node.what}"
        )
        return None

    def _rows(self, options: Items, name: str) -> dict[str, Any] | None:
        if name not in options:
            return None
        rows: dict[str, Any] = {}
        for column, (_, node) in self._items(options, name).items():
            if isinstance(node.value, str | int | float) and not isinstance(node.value, bool):
                rows[column] = node.value
            else:
                self.faults.add(node.place, f'{name!r} takes column values, {{ccdname: "{{ccd}}"}}; found {node.what}')
        return rows

    def _convert(self, options: Items) -> Any:
        if "convert" not in options:
            return None
        node = options["convert"][1]
        if isinstance(node.value, str):
            if node.value in _CONVERSIONS or is_dotted(node.value):
                return node.value
            near = did_you_mean(node.value, (*_CONVERSIONS, *_CONVERSION_MAPPINGS))
            self.faults.add(node.place, f"unknown conversion {node.what}{near}")
        elif isinstance(node.value, dict) and len(node.value) == 1:
            word, (key, inner) = next(iter(node.value.items()))
            plain = inner.plain()
            wanted = str if word == "visit_info" else int
            if word not in _CONVERSION_MAPPINGS:
                self.faults.add(key.place, f"unknown conversion {word!r}{did_you_mean(word, _CONVERSION_MAPPINGS)}")
            elif not isinstance(plain, dict) or not all(type(value) is wanted for value in plain.values()):
                self.faults.add(inner.place, f"{word!r} takes names and {wanted.__name__} values; found {inner.what}")
            else:
                return {word: {str(name): value for name, value in plain.items()}}
        else:
            self.faults.add(node.place, f"'convert' is a word or {{bits: {{...}}}}; found {node.what}")
        return None

    def _part_fields(self, options: Items) -> Iterable[tuple[str, tuple[str | None, Place]]]:
        """Yield the keys that the parts mention."""
        for _, part in self._items(options, "parts").values():
            for name, (_, node) in (part.value if isinstance(part.value, dict) else {}).items():
                if name == "hdu" and isinstance(node.value, dict):
                    yield from ((key, (None, node.place)) for key in node.value if self._is_key(key, node.place))
                elif name in ("hdu", "row", "rows"):
                    values = (
                        [node]
                        if name == "hdu"
                        else [n for _, n in node.value.values()]
                        if isinstance(node.value, dict)
                        else []
                    )
                    for value in values:
                        yield from self._text_fields(value)

    def _text_fields(self, node: Node) -> Iterable[tuple[str, tuple[str | None, Place]]]:
        if not isinstance(node.value, str) or not ("{" in node.value or "%(" in node.value):
            return
        try:
            template = Template(node.value)
        except DefinitionError as error:
            self.faults.add(node.place, str(error))
            return
        if template.ingest_only:
            self.faults.add(node.place, "'{_}' matches paths; it says nothing here")
        for key, kind in template.kinds.items():
            yield key, (kind, node.place)

    def _id_from(self, options: Items) -> dict[str, CardMatch]:
        found: dict[str, CardMatch] = {}
        for key, (key_node, node) in self._items(options, "idFrom").items():
            if not self._is_key(key, key_node.place):
                continue
            if isinstance(node.value, str):
                found[key] = CardMatch(node.value)
                continue
            if not isinstance(node.value, dict):
                self.faults.add(
                    node.place, f"'idFrom' takes a header card or {{card: FILTER, match: ...}}; found {node.what}"
                )
                continue
            for option, (option_key, _) in node.value.items():
                if option not in ("card", "match"):
                    near = did_you_mean(option, ("card", "match"))
                    self.faults.add(option_key.place, f"unknown option {option!r} of 'idFrom'{near}")
            card = self._text(node.value, "card")
            match = self._template(node.value, "match")
            if "card" not in node.value:
                self.faults.add(node.place, "'idFrom' lacks 'card'")
            if match is not None and key not in match.fields:
                self.faults.add(node.value["match"][1].place, f"{match.text!r} holds no '{{{key}}}'")
            if card is not None:
                found[key] = CardMatch(card, match.text if match is not None else None)
        return found

    def _each(self, options: Items) -> Each | None:
        if "each" not in options:
            return None
        node = options["each"][1]
        if isinstance(node.value, dict) and len(node.value) == 1:
            word, (key, inner) = next(iter(node.value.items()))
            plain = inner.plain()
            if word == "hdu" and isinstance(plain, str):
                if self._is_key(plain, inner.place):
                    return Each("hdu", {"hdu": plain})
                return None
            if word == "columns" and isinstance(plain, dict) and plain and all(type(v) is str for v in plain.values()):
                if all(self._is_key(value, inner.place) for value in plain.values()):
                    return Each("columns", {str(column): value for column, value in plain.items()})
                return None
            if (
                word not in ("hdu", "columns")
                and isinstance(plain, list)
                and plain
                and all(type(v) in (int, str) for v in plain)
            ):
                if self._is_key(word, key.place):
                    return Each("values", {word: tuple(plain)})
                return None
        self.faults.add(
            node.place,
            f"'each' is {{hdu: ccd}}, {{columns: {{expnum: visit}}}} or {{filter: [u, g]}}; found {node.what}",
        )
        return None

    def _other_fields(
        self, options: Items, id_from: Mapping[str, CardMatch], each: Each | None
    ) -> Iterable[tuple[str, tuple[str | None, Place]]]:
        """Yield the keys that ``each`` and ``idFrom`` give."""
        if each is not None:
            place = options["each"][1].place
            names = each.names if each.kind == "values" else each.names.values()
            yield from ((key, (None, place)) for key in names)
        for key, found in id_from.items():
            kinds = Template(found.match).kinds if found.match is not None else {}
            yield key, (kinds.get(key), options["idFrom"][1].place)
