"""Definitions of several repositories."""

from __future__ import annotations

from typing import Any

import pytest

from bunter.definitions import Definitions, StoredType, load
from bunter.errors import DefinitionError

A = "datasets: {a: {python: dict, template: 'a/{visit:d}.json'}}\n"
B = "datasets: {b: {composite: {x: a}}}\n"


def combined(*parents: Definitions, own: Any = None) -> Definitions:
    if own is not None:
        own = load(own, known=Definitions.combine(parents, None))
    return Definitions.combine(parents, own)


def template(definitions: Definitions, name: str = "a") -> str:
    found = definitions.find(name)
    assert isinstance(found, StoredType)
    return str(found.template)


def other(text: str = "other/{visit:d}.json") -> str:
    return f"datasets: {{a: {{python: dict, template: '{text}'}}}}\n"


def test_a_child_knows_its_parents_names() -> None:
    parent = load(A)
    child = combined(parent, own=B)
    assert set(child.types) == {"a", "b"}
    assert child.keys_of("b") == ("visit",)
    assert child.to_yaml() == B
    assert child.key_types["visit"] == "int"
    with pytest.raises(DefinitionError, match="no dataset type 'a'"):
        load(B)
    grown = combined(parent, own="datasets: {c(a): {template: 'c/{visit:d}.json'}}\n")
    assert template(grown, "c") == "c/{visit:d}.json"


def test_a_child_may_change_storage_and_template_only() -> None:
    parent = combined(load(A), own=B)
    assert template(combined(parent, own=other())) == "other/{visit:d}.json"
    assert combined(parent, own=A + "---\n" + A).keys_of("a") == ("visit",)
    for text, says in (
        (other("{visit:d}-{ccd}.json"), "with the keys visit .*and has visit, ccd here; use a new stage"),
        ("datasets: {a: {partOf: b.x}}\n", "made of each other"),
        ("datasets: {c: {python: dict, template: c}, b: {python: dict, template: '{visit:d}'}}\n", "as a composite"),
        ("datasets: {b.y: {python: dict, template: y}}\n", "would give 'b'"),
        ("datasets: {b.x: {python: dict, template: y}}\n", "by its name the component 'x'"),
        (other("{visit:s}.json"), "the key 'visit' is str here and int in"),
        ("keys: {visit: str}\n", "the key 'visit' is str here and int in"),
    ):
        with pytest.raises(DefinitionError, match=says):
            combined(parent, own=text)


def test_unrelated_parents_that_differ() -> None:
    one, two = load(A), load(other())
    both = combined(one, two)
    with pytest.raises(DefinitionError, match="'a' is defined differently in two parents"):
        both.find("a")
    with pytest.raises(DefinitionError, match="differently"):
        combined(both, own="datasets: {z: {python: dict, template: z}}\n").find("a")
    assert combined(one, load(A)).find("a") == one.find("a")
    # Only its use is an error, and the repository may settle it.
    assert combined(both, own="datasets: {z: {python: dict, template: z}}\n").keys_of("z") == ()
    assert template(combined(one, two, own=other("mine/{visit:d}.json"))) == "mine/{visit:d}.json"
    with pytest.raises(DefinitionError, match="differently"):
        combined(one, two, own="datasets: {c: {composite: {x: a}}}\n")


def test_a_parent_that_descends_from_the_other_stands_in_front() -> None:
    base = load(A)
    child = combined(base, own=other())
    for parents in ((base, child), (child, base)):
        assert template(combined(*parents)) == "other/{visit:d}.json"
    # What settled a conflict stays settled beside both of those who had it.
    settled = combined(load(A), load(other("x/{visit:d}.json")), own=other("mine/{visit:d}.json"))
    for parents in ((settled, base), (base, settled), (load(other("x/{visit:d}.json")), settled)):
        assert template(combined(*parents)) == "mine/{visit:d}.json"
    with pytest.raises(DefinitionError, match="differently"):
        combined(settled, load(other("new/{visit:d}.json"))).find("a")


def test_aliases_and_keys_of_unrelated_parents() -> None:
    one = load(
        "datasets: {c:x: {python: dict, template: '{k}'}, c:y: {python: dict, template: y}}\naliases: {c: c:x}\n"
    )
    two = load("datasets: {d: {python: dict, template: '{k:d}'}, e: {python: dict, template: e}}\naliases: {c: e}\n")
    both = combined(one, two)
    with pytest.raises(DefinitionError, match="alias 'c' is defined differently"):
        both.unalias("c")
    assert str(both.unalias("c:y")) == "c:y"
    with pytest.raises(DefinitionError, match="key 'k' is defined differently"):
        both.find("d")
    assert both.find("e") == two.find("e")
    assert str(combined(one, two, own="aliases: {c: c:y}\n").unalias("c")) == "c:y"


def test_define_adds_and_keeps_the_text() -> None:
    old = load("# mine\n" + A)
    assert old.updated(load(A)) is old
    new = old.updated(load("# more\n" + B, known=old))
    assert set(new.types) == {"a", "b"}
    assert new.to_yaml() == "# mine\n" + A + "---\n# more\n" + B
    assert load(new.to_yaml()).updated(new).to_yaml() == new.to_yaml()
    changed = old.updated(load(other()))
    assert template(changed) == template(load(changed.to_yaml())) == "other/{visit:d}.json"
    assert Definitions().updated(old).to_yaml() == old.to_yaml()


def test_define_keeps_keys_and_kinds() -> None:
    old = load(A)
    for text, says in (
        (other("{visit:d}-{ccd}.json"), "use a new stage"),
        ("datasets: {c: {python: dict, template: c}, a: {composite: {x: c}}}\n", "as a stored type"),
        ("keys: {visit: str}\n", "cannot become str"),
    ):
        with pytest.raises(DefinitionError, match=says):
            old.updated(load(text))


def test_alias() -> None:
    d = load("datasets: {c:x: {python: dict, template: x}}\n")
    aliased = d.alias("c", "c:x")
    assert str(aliased.unalias("c")) == "c:x"
    assert aliased.alias("c", "c:x") is aliased
    assert str(load(aliased.to_yaml()).unalias("c")) == "c:x"
    assert str(Definitions().alias("c", "c:x", known=d).unalias("c")) == "c:x"
    for name, target in (("c:x", "c:x"), ("c", "c:y"), ("c", "nothing"), ("a.b", "c:x")):
        with pytest.raises(DefinitionError):
            d.alias(name, target)
    # An alias may hide a type of its name, and be changed.
    both = d.updated(load("datasets: {c: {python: dict, template: c}}\n")).alias("c", "c:x")
    assert str(both.unalias("c")) == "c:x"
    assert str(both.unalias("c:").definition) == "c"


def test_text_with_directives_and_markers_stays_readable() -> None:
    first = load("%YAML 1.2\n---\n" + A)
    second = load("--- # second\ndatasets: {z: {python: dict, template: z}}")
    third = load("%YAML 1.2\n---\ndatasets: {y: {python: dict, template: y}}\n...\n")
    text = first.updated(second).updated(third).alias("q", "z").to_yaml()
    assert set(load(text).types) == {"a", "z", "y"}
