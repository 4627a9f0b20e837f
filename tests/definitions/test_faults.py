"""Everything that is wrong with a policy is said at once, with its place and the nearest right word."""

# ruff: noqa: E501

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter.definitions import load
from bunter.errors import DefinitionError

HERE = Path(__file__).parent
SRC = "  src: {python: astropy.table.Table, template: 'src/{visit:d}.fits'}\n"


def faults(source: Any, **options: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(source, **options)
    return str(caught.value).split("\n")


def test_five_mistakes_are_five_faults() -> None:
    path = HERE / "five-mistakes.yaml"
    found = faults(path)
    assert [line.removeprefix(str(path)) for line in found] == [
        ":4:5: unknown option 'pyton'; did you mean 'python'?",
        found[1].removeprefix(str(path)),
        ":6:15: the key 'vist' is not listed in 'keys'; did you mean 'visit'? (if not, list it there)",
        ":9:11: there is no stage 'smf' of 'calexp'; did you mean 'sfm'?; stages: sfm, jointcal",
        ":11:13: unknown option 'datasettype' of a component; did you mean 'datasetType'?",
    ]
    assert found[1].startswith(f"{path}:5:14: unknown storage 'FitsExposur'; did you mean 'FitsExposure'?")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("datasets: [a]\n", ["1:11: 'datasets' is a mapping; found a list"]),
        ("dataset: {}\n", ["1:1: unknown section 'dataset'; did you mean 'datasets'?"]),
        ("- a\n", ["1:1: a policy is a mapping"]),
        ("datasets:\n  a: 3\n", ["2:6: a dataset type is a mapping of options; found 3"]),
        ("datasets:\n  a b: {}\n", ["2:3: 'a b' is not a dataset name"]),
        ("datasets:\n  a: {template: 'x'}\n", ["2:3: 'a' lacks a 'storage'"]),
        ("datasets:\n  a: {python: dict}\n", ["2:3: 'a' lacks a 'template'"]),
        ("datasets:\n  a: {python: my.Thing, template: x}\n", ["2:3: there is no usual storage for my.Thing"]),
        ("datasets:\n  a: {python: 'x y', storage: Json, template: x}\n", ["2:15: 'python' is a dotted Python name"]),
        ("datasets:\n  a: {storage: Json, template: {visit:d}}\n", ["2:32: 'template' is text; found a mapping"]),
        ("datasets:\n  a: {storage: Json, template: ../x}\n", ["2:32: the template '../x' holds '..'"]),
        ("datasets:\n  a: {storage: Json, template: x, keys: visit}\n", ["2:41: 'keys' of a dataset type is a list"]),
        ("datasets:\n  a: {storage: Json, template: x, keys: [visit:d]}\n", ["2:42: a data ID key is a word"]),
        ("keys: {visit: integer}\n", ["1:15: a key is one of int, str, float; found 'integer'; did you mean 'int'?"]),
        ("keys: {visit:d: int}\n", ["1:8: a data ID key is a word"]),
        ("implied: {filter: []}\n", ["1:19: 'implied' takes lists"]),
        ("implied: {filter: filter}\n", ["1:19"[:2]]),
        ("aliases: {a:b: c}\n", ["1:11: an alias is a bare name"]),
        ("aliases: {a: nothing}\n", ["1:14: there is no dataset type 'nothing'"]),
        (f"datasets:\n{SRC}aliases: {{s: srcc}}\n", ["3:14: there is no dataset type 'srcc'; did you mean 'src'?"]),
        (f"datasets:\n{SRC}  b: {{partOf: src, dataId: {{vist: 3}}}}\n", ["3:3: 'dataId': 'src' has no key 'vist'"]),
        (f"datasets:\n{SRC}  b: {{partOf: src, dataId: {{visit: x}}}}\n", ["3:3: visit='x'"]),
        (f"datasets:\n{SRC}  b: {{partOf: src, dataId: {{visit: '{{a}}-b'}}}}\n", ["3:36: '{a}-b': a reference"]),
        (f"datasets:\n{SRC}  b: {{partOf: src, dataId: {{visit: {{a}}}}}}\n", ["3:36: 'dataId' takes values"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: src}}, template: y}}\n", ["3:28: 'template' beside 'composite'"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: src}}, parts: {{}}}}\n", ["3:28: 'parts' does not go with 'composite'"]),
        (f"datasets:\n{SRC}  b: {{composite: {{}}}}\n", ["3:18: the composite 'b' has no components"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: {{inputOnly: yes}}}}}}\n", ["lacks 'datasetType'", "'inputOnly' is true"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: {{datasetType: src, lazy: true}}}}}}\n", ["'lazy' goes with"]),
        (f"datasets:\n{SRC}  b: {{composite: {{xY: src, x_y: src}}}}\n", ["3:28: 'x_y' and 'xY' are one component"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: src}}, assembler: generik}}\n", ["3:39: 'assembler' is a dotted name"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: src}}, derived: {{y: {{from: z, with: a.f}}}}}}\n", ["component 'z'"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: {{datasetType: src, dataIds: tabel}}}}}}\n", ["names 'tabel'"]),
        (f"datasets:\n{SRC}  b: {{composite: {{x: {{datasetType: src, dataIds: {{of: a}}}}}}}}\n", ["of 'dataIds': 'of'"]),
        (f"datasets:\n{SRC}  b: {{base: src.x}}\n", ["3:13: 'src.x' is a part of a dataset"]),
        (f"datasets:\n{SRC}  b(nothing): {{}}\n", ["3:3: 'b' extends 'nothing'"]),
        (f"datasets:\n{SRC}  b(src): {{extends: c}}\n", ["3:21: 'b(src)' already extends 'src'"]),
        (f"datasets:\n{SRC}  src.x: {{storage: Json, template: x}}\n", ["3:3: 'src' is not a composite"]),
        ("datasets:\n  a(b): {}\n  b(a): {}\n", ["extend each other"]),
        ("datasets:\n  a: {partOf: b}\n  b: {partOf: a}\n", ["2:3: these are made of each other: a -> b -> a"]),
        ("datasets:\n  a: {composite: {x: a}}\n", ["2:3: these are made of each other: a -> a"]),
        ("datasets:\n  a: {base: b}\n  b: {composite: {x: a.x}}\n", ["made of each other"]),
        ("datasets:\n  a: {base: b}\n  b: {composite: {x: a.y}}\n", ["'b' has no component 'y'"]),
        (f"datasets:\n{SRC}  b: {{storage: Fits, template: x, each: {{visit: [a]}}}}\n", ["3:41: visit='a'"]),
        ("include: nothing.yaml\n", ["1:10: the file 'nothing.yaml' cannot be read"]),
        ("include: [3]\n", ["1:11: 'include' is a list of paths"]),
        ("datasets:\n  a: {storage: Json, template: '{v:d}'}\n  b: {storage: Json, template: 'b{v:s}'}\n", ["3:32: the key 'v'"]),
        ("datasets: {a: {storage: Json, template: x, tables: a, tables: b}}\n", ["1:55: the key 'tables' stands here twice"]),
        ("datasets:\n  a.b:s: {storage: Json, template: x}\n  a:s.b: {storage: Json, template: x}\n", ["defined twice"]),
        ("datasets:\n\ta: 1\n", ["2:1: not YAML"]),
        ("a: {b\n", ["not YAML"]),
        ("a: !!str 3\n", ["1:4: the tag"]),
        ("<<: {a: b}\n", ["1:1: unknown section '<<'"]),
    ],
)  # fmt: skip
def test_each_fault(text: str, places: list[str]) -> None:
    found = faults(text)
    for place in places:
        assert any(place in line for line in found), found
    assert all(line.startswith("policy:") for line in found)


def test_one_mistake_is_one_fault() -> None:
    for text in (
        "datasets:\n  a: {storage: Jsonn, template: x}\n  b: {partOf: a}\n  c: {composite: {x: b}}\n",
        "datasets:\n  a: {partOf: 3}\n  b: {composite: {x: a.y}}\naliases: {z: a}\n",
        "datasets:\n  a: {storage: Json, template: /x}\n  b(a): {}\n",
    ):
        assert len(faults(text)) == 1


@pytest.mark.parametrize(
    "part",
    [
        "{hdu: true}",
        "{hdu: -1}",
        "{hdu: [1, 2]}",
        "{hdu: {ccd}}",
        "{hdu: '{ccd'}",
        "{hdu: '{_}'}",
        "{row: 3}",
        "{row: {a: [1]}}",
        "{row: {a: 1}, rows: {a: 1}}",
        "{reed: data}",
        "{read: dat}",
        "{column: 3}",
        "{convert: inverse}",
        "{convert: {bit: {A: 1}}}",
        "{convert: {bits: {A: x}}}",
        "{convert: [a]}",
        "SCI",
    ],
)
def test_parts(part: str) -> None:
    found = faults(f"datasets:\n  a: {{template: x, parts: {{image: {part}}}}}\n")
    assert found[0].startswith("policy:2:")


@pytest.mark.parametrize(
    "option",
    [
        "idFrom: {visit: 3}",
        "idFrom: {visit: {match: '{visit:d}'}}",
        "idFrom: {visit: {card: A, match: '{vist:d}'}}",
        "idFrom: {visit: {card: A, mach: x}}",
        "idFrom: {'a b': A}",
        "each: ccd",
        "each: {hdu: [ccd]}",
        "each: {columns: {a: 3}}",
        "each: {filter: []}",
        "each: {hdu: ccd, filter: [u]}",
        "metadata: {date: 3}",
        "metadata: [a]",
        "storage: 3",
        "keys: [3]",
    ],
)
def test_options_of_stored_types(option: str) -> None:
    found = faults(f"datasets:\n  a: {{python: dict, template: x, {option}}}\n")
    assert len(found) == 1
    assert found[0].startswith("policy:2:")


def test_dicts_say_the_path_instead_of_the_line() -> None:
    found = faults({"datasets": {"calexp": {"pyton": "x", "storage": "Json", "template": "/x"}}, "keys": {"a": "b"}})
    assert [line.split(": ")[0] for line in found] == ["datasets.calexp.pyton", "datasets.calexp.template", "keys.a"]


def test_what_cannot_stand_in_a_dict() -> None:
    def local() -> None: ...

    for value in (object(), {1, 2}, b"x", local, lambda: None):
        assert any(line.startswith("datasets.a.python") for line in faults({"datasets": {"a": {"python": value}}}))
    looped: dict[str, Any] = {}
    looped["datasets"] = looped
    assert any("nested" in line for line in faults(looped))
    with pytest.raises(DefinitionError, match="a policy is a dict"):
        load(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "datasets: " + "[" * 50_000,
        "datasets: " + "{a: " * 50_000,
        "- " * 50_000,
        "datasets: &a [*a]\n",
        "datasets: &a {b: *a}\n",
        "a: *b\n",
        "x" * 1_100_000 + "\n",
        "a: [" + "1," * 200_000 + "]\n",
        "datasets: !!python/object/apply:os.system ['true']\n",
        "a: \x00\n",
        "a: \ud800\n",
        "? [a]\n: b\n",
        "%YAML 9.9\n---\na: 1\n",
    ],
    ids=range(14),
)
def test_hostile_text_is_refused_quickly(text: str) -> None:
    start = time.process_time()
    faults(text)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "link",
    ["{{partOf: a{0}}}", "{{partOf: a{0}.x}}", "{{base: a{0}}}", "{{composite: {{x: a{0}}}}}", "{{extends: a{0}}}"],
)
def test_chains_that_are_too_long(link: str) -> None:
    types = {f"a{i}": link.format(i - 1) for i in range(1, 3000)}
    lines = ["  a0: {python: dict, template: x}", *(f"  {name}: {options}" for name, options in types.items())]
    for order in (lines, lines[::-1]):
        start = time.process_time()
        assert any("deep" in line for line in faults("\n".join(["datasets:", *order])))
        assert time.process_time() - start < 10


def test_a_base_in_a_ring() -> None:
    found = faults("datasets:\n  a: {partOf: b}\n  b: {partOf: a}\n  c: {base: a}\n")
    assert len(found) == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in faults(tmp_path / "none.yaml")[0]
    assert "cannot be read" in faults(tmp_path)[0]
    (tmp_path / "polcy.yaml").write_text("{}")
    assert "did you mean 'polcy.yaml'?" in faults(str(tmp_path / "policy.yaml"))[0]
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    assert "UTF-8" in faults(tmp_path / "latin.yaml")[0]
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_100_000)
    assert "bytes" in faults(tmp_path / "large.yaml")[0]


def test_includes_that_go_round_or_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\n")
    (tmp_path / "b.yaml").write_text("include: [a.yaml]\n")
    assert "include each other: a.yaml -> b.yaml -> a.yaml" in faults(tmp_path / "a.yaml")[0]
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "p.yaml").write_text("include: ../q.yaml\n")
    (tmp_path / "q.yaml").write_text(f"datasets:\n{SRC}")
    assert "outside" in faults(inner / "p.yaml")[0]
    assert list(load(inner / "p.yaml", trusted=True).types) == ["src"]
    (inner / "link.yaml").symlink_to(tmp_path / "q.yaml")
    (inner / "r.yaml").write_text("include: link.yaml\n")
    assert "outside" in faults(inner / "r.yaml")[0]


def test_faults_in_included_files_name_those(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\ndatasets: {x: {}}\n")
    (tmp_path / "b.yaml").write_text("dataset: {}\n")
    found = faults(tmp_path / "a.yaml")
    assert any("a.yaml:2:12:" in line for line in found)
    assert any("b.yaml:1:1:" in line for line in found)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.sampled_from(["src", "a.b", "{visit:d}", "x", "Json"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["datasetType", "hdu", "ccd", "composite", "base", "partOf", "dataId", "parts", "each", "idFrom",
                 "template", "storage", "python", "keys", "derived", "from", "with", "match", "card", "subset"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "src", "a:s", "a.b:s", "b(a)", "3"]), values, max_size=4), values)
def test_any_dict_loads_or_is_a_definition_error(datasets: dict[str, Any], other: Any) -> None:
    for source in ({"datasets": datasets}, {"datasets": datasets, "keys": other, "aliases": other, "implied": other}):
        try:
            definitions = load(source)
        except DefinitionError:
            continue
        assert load(definitions.to_yaml()).updated(definitions).types.keys() == definitions.types.keys()


@settings(max_examples=100, deadline=None)
@given(st.text("abc:{}[]-,&*!|>'\"#%@\n ?~01.\t", max_size=60))
def test_any_text_loads_or_is_a_definition_error(text: str) -> None:
    try:
        load(text + "\n")
    except DefinitionError as error:
        assert str(error)  # noqa: PT017
