"""The tests that every assembler, and the disassembler that goes with it, has to pass."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ..assembly import Assembler, Disassembler, assemble, take_apart
from ..components import match_component
from ..definitions.model import ComponentDefinition, CompositeType
from .refusals import refusal

__all__ = ["AssemblerTests"]


class AssemblerTests:
    """What every pair of assembler and disassembler has to do; inherit it and say what to test."""

    # --- what a subclass says ------------------------------------------------------------------------------

    def assembler(self) -> Assembler | None:
        """Return the assembler; None is the generic one."""
        return None

    def disassembler(self) -> Disassembler | None:
        """Return the disassembler; None is the generic one."""
        return None

    def class_obj(self) -> Any:
        """Return the Python type of the composite."""
        raise NotImplementedError

    def examples(self) -> Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Return data IDs, each with all components of one object; their names are the same in all examples."""
        raise NotImplementedError

    def optional(self) -> Sequence[str]:
        """Return the names of components that may be absent."""
        return []

    def whole_types(self) -> Mapping[str, Any]:
        """Return the Python types of those components that are whole objects of their own."""
        return {}

    def read_only(self) -> bool:
        """Tell whether there is an assembler alone, so that nothing is taken apart."""
        return False

    def same(self, a: Any, b: Any) -> bool:
        """Tell whether two components are equal."""
        from ..formats.equality import same_values

        return same_values(a, b)

    # --- for the tests -------------------------------------------------------------------------------------

    def _definitions(self) -> dict[str, ComponentDefinition]:
        names = self.examples()[0][1]
        return {name: ComponentDefinition(name, f"example_{name}", optional=name in self.optional()) for name in names}

    def _assembled(self, data_id: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
        composite = CompositeType("example")
        return assemble(
            composite, self._definitions(), data_id, components, self.class_obj(), self.assembler(), trusted=True
        )

    def _apart(self, data_id: Mapping[str, Any], obj: Any) -> dict[str, Any]:
        composite = CompositeType("example")
        return take_apart(
            composite, self._definitions(), data_id, obj, self.disassembler(), self.whole_types(), trusted=True
        )

    def _check(self, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        for name, value in expected.items():
            if value is None:
                assert found.get(name) is None, f"{name} was absent and is {found[name]!r:.200} now"
            else:
                assert name in found, f"{name} was lost"
                assert self.same(value, found[name]), f"{name} was {value!r:.200} and is {found[name]!r:.200} now"

    # --- the tests -----------------------------------------------------------------------------------------

    def test_assembles_its_type(self) -> None:
        """What is built is of the composite's type."""
        for data_id, components in self.examples():
            built = self._assembled(data_id, copy.deepcopy(dict(components)))
            if isinstance(self.class_obj(), type):
                assert isinstance(built, self.class_obj())

    def test_components_come_back(self) -> None:
        """Taking apart gives what was assembled, all of it, and again the same."""
        if self.read_only():
            return
        for data_id, components in self.examples():
            built = self._assembled(data_id, copy.deepcopy(dict(components)))
            for _ in range(2):
                self._check(components, self._apart(data_id, built))

    def test_components_are_left_alone(self) -> None:
        """Assembling changes neither the components nor the data ID."""
        for data_id, components in self.examples():
            given, given_id = copy.deepcopy(dict(components)), dict(data_id)
            self._assembled(given_id, given)
            assert given_id == dict(data_id)
            assert list(given) == list(components)
            if not self.whole_types():
                self._check(components, given)

    def test_absent_components(self) -> None:
        """An absent one arrives as None, and comes back as None or not at all; the others do not care."""
        for name in self.optional():
            for data_id, components in self.examples():
                built = self._assembled(data_id, {**copy.deepcopy(dict(components)), name: None})
                if not self.read_only():
                    self._check({**components, name: None}, self._apart(data_id, built))

    def test_only_components_come_back(self) -> None:
        """A disassembler hands over no names that the composite does not have."""
        if self.read_only():
            return
        for data_id, components in self.examples():
            built = self._assembled(data_id, copy.deepcopy(dict(components)))
            for name in self._apart(data_id, built):
                assert match_component(name, components) == name

    def test_other_types_are_refused(self) -> None:
        """Taking apart something else is an error, not an empty object."""
        if not self.read_only():
            refusal(Exception, self._taken_whole, object())

    def _taken_whole(self, obj: object) -> None:
        parts = self._apart(self.examples()[0][0], obj)
        needed = [name for name in self._definitions() if name not in self.optional()]
        lacking = [name for name in needed if parts.get(name) is None]
        if lacking:
            raise LookupError(f"a put would say that {lacking} are lacking")
