"""Policies for `fuzz.py`: good ones altered, made-up ones whose types refer to each other at random, and bombs."""

# ruff: noqa: E501 - what is asked is easier to see in one line each
from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

from fuzz_cases import NASTY, mutated, template, text, value

PROJECT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```yaml[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r'"""\n?((?:[^"]*\n)?(?:datasets|keys):.*?)"""', re.DOTALL)
_TYPES = ("a", "b", "c:s", "c:t", "d", "e.wcs:s", "e:s", "f(a)", "g(f)")
_OPTIONS = (
    "python", "storage", "template", "keys", "parts", "idFrom", "each", "metadata", "extends", "base", "composite", "assembler",
    "disassembler", "standardize", "readOnly", "derived", "partOf", "dataId", "persistable", "level", "tables", "include", "aliases",
    "hdu", "row", "rows", "column", "read", "convert", "datasetType", "inputOnly", "subset", "lazy", "dataIds", "optional", "setter", "getter",
)  # fmt: skip


def policies() -> list[str]:
    """Return the policies that the documentation and the tests hold."""
    found: dict[str, None] = {}
    for file in sorted((PROJECT / "docs").rglob("*.md")):
        found |= dict.fromkeys(_FENCE.findall(file.read_text("utf-8")))
    for file in sorted((PROJECT / "tests").rglob("*.yaml")):
        found[file.read_text("utf-8")] = None
    for file in sorted((PROJECT / "tests").rglob("*.py")):
        found |= dict.fromkeys(_QUOTED.findall(file.read_text("utf-8")))
    return list(found)


def policy(r: Random, corpus: list[str]) -> Any:
    """Return a policy: a good one altered, one put together, or a bomb."""
    pick = r.random()
    if pick < 0.3:
        return _altered_lines(r, r.choice(corpus))
    if pick < 0.45:
        return mutated(
            r,
            r.choice(corpus),
            (
                *NASTY,
                "&a ",
                "*a",
                "<<: *a",
                "!!python/object:os.system",
                "? ",
                "- ",
                ": ",
                "{",
                "}",
                "[",
                "]",
                "|",
                ">",
            ),
        )
    if pick < 0.65:
        return _altered_tree(r, r.choice(corpus))
    if pick < 0.9:
        made = _built(r)
        return made if r.random() < 0.5 else flow(made)
    return _bomb(r)


def _altered_lines(r: Random, given: str) -> str:
    lines = given.splitlines()
    for _ in range(r.choice((1, 2, 5))):
        if not lines:
            break
        at, other = r.randrange(len(lines)), r.randrange(len(lines))
        what = r.randrange(6)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines.insert(other, lines[at])
        elif what == 2:
            lines[at], lines[other] = lines[other], lines[at]
        elif what == 3:
            lines[at] = " " * r.randrange(6) + lines[at].lstrip()
        else:
            words = re.findall(r"[\w.:]+", lines[at]) or [""]
            theirs = re.findall(r"[\w.:{}/-]+", r.choice(lines)) or [text(r, 3)]
            lines[at] = lines[at].replace(r.choice(words), r.choice(theirs) if what == 4 else _scalar(r), 1)
    return "\n".join(lines)


def _scalar(r: Random) -> str:
    return r.choice(
        ("~", "null", "true", "no", "0", "-1", "010", "0o7", "1e999", ".nan", ".inf", "''", "[]", "{}", "[a, {b: c}]", "{a: {b: {c: []}}}",
         "*undefined", "&x y", "!!binary aGk=", "!!python/name:os.system ''", "!local x", "9" * 3000, "os.system", "builtins.eval",
         "__import__", "a.__class__.__bases__", "..", "'%(x)d'", "'{x}'", "x" * 5000, "2001-01-01", "0x" + "f" * 500)
    )  # fmt: skip


def _altered_tree(r: Random, given: str) -> Any:
    import yaml

    try:
        tree = yaml.safe_load(given)
    except yaml.YAMLError:
        return given
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, inner in list(node.items() if isinstance(node, dict) else enumerate(node)):
            places.append((node, key))
            if isinstance(inner, dict | list):
                walk(inner)

    if isinstance(tree, dict | list):
        walk(tree)
    for _ in range(r.choice((1, 2, 4))):
        if not places:
            break
        node, key = r.choice(places)
        other, its = r.choice(places)
        what = r.randrange(5)
        try:
            if what == 0:
                node[key] = other[its]
            elif what == 1:
                node[key] = (
                    value(r)
                    if r.random() < 0.5
                    else r.choice((None, [], {}, "", 0, True, [None], {"": ""}, {None: None}))
                )
            elif what == 2:
                node[r.choice(_OPTIONS)] = other[its]
            elif what == 3:
                del node[key]
            else:
                node[r.choice((text(r, 3), *_TYPES))] = node.pop(key)
        except (TypeError, KeyError, IndexError, RuntimeError, AttributeError):
            continue
    return tree


def _built(r: Random) -> dict[str, Any]:
    """Return a policy whose types refer to each other at random, in rings too."""
    names = list(_TYPES[: r.randrange(2, len(_TYPES) + 1)])
    plain = [n.partition("(")[0] for n in names]
    references = [*plain, *(f"{n}.{c}" for n in plain for c in ("x", "wcs", "y")), "e.wcs:s.x.y", "nothing"]

    def component() -> Any:
        if r.random() < 0.5:
            return r.choice(references)
        made: dict[str, Any] = {"datasetType": r.choice(references)}
        for option, values in (
            ("inputOnly", (True, False)), ("optional", (True,)), ("subset", (True,)), ("lazy", (True,)), ("setter", ("setX", "__init__", "__class__", "set_x", "x.y")),
            ("getter", ("getX", "__reduce__", "__dict__")), ("dataId", ({"v": 1}, {"s": "{t}"}, {"v": "{v.__class__}"}, {"q": None})),
            ("dataIds", ("x", "wcs", "precursors", {"precursorsOf": "x"}, {"component": "x", "cards": "IN*", "match": "{v:d}-{s}"})),
        ):  # fmt: skip
            if r.random() < 0.15:
                made[option] = r.choice(values)
        return made

    datasets: dict[str, Any] = {}
    for each in names:
        kind = r.random()
        made: dict[str, Any]
        if kind < 0.4:
            made = {
                "storage": r.choice(("Json", "FitsExposure", "Parquet", "Fits", "Npy", "Pickle", "Nothing")),
                "template": r.choice(("x/{v:d}.json", "{s}/{v:d}.json", "{v}.x", template(r))),
            }
            if r.random() < 0.3:
                made["python"] = r.choice(
                    ("dict", "bunter.Exposure", "os.system", "builtins.eval", "astropy.wcs.WCS", "numpy.ndarray")
                )
            if r.random() < 0.3:
                made["parts"] = {
                    w: r.choice(
                        (
                            {"hdu": 1},
                            {"hdu": "{s}"},
                            {"row": {"a": "{s}"}},
                            {"column": "x"},
                            {"convert": "os.system"},
                            {"convert": {"bits": {"A": 0}}},
                            {},
                        )
                    )
                    for w in r.sample(("x", "wcs", "y", "metadata"), 2)
                }
            if r.random() < 0.2:
                made["each"] = r.choice(
                    (
                        {"hdu": "s"},
                        {"columns": {"a": "v"}},
                        {"s": ["g", "r"]},
                        {"v": list(range(2000))},
                        {"columns": {}},
                    )
                )
        elif kind < 0.8:
            made = {
                "composite": {
                    w: component()
                    for w in r.sample(("x", "y", "wcs", "z", "photoCalib", "photo_calib"), r.randrange(0, 4))
                }
            }
            if r.random() < 0.5:
                made["base"] = r.choice(references)
            if r.random() < 0.3:
                made["derived"] = {
                    w: {"from": [r.choice(("x", "y", "p", "q"))], "with": "bunter.exposure.bbox"} for w in ("p", "q")
                }
            if r.random() < 0.3:
                made["assembler"] = r.choice(
                    (
                        "generic",
                        "concat_rows",
                        "join_columns(v)",
                        "join_columns(" + "v," * 500 + ")",
                        "os.system",
                        "bunter.trust.Importer",
                    )
                )
        elif kind < 0.95:
            made = {"partOf": r.choice(references)}
            if r.random() < 0.3:
                made["dataId"] = r.choice(({"v": 3}, {"s": "a"}, {"s": "../.."}, {"v": "x"}))
        else:
            made = {"extends": r.choice(plain)}
        if r.random() < 0.1:
            made["extends"] = r.choice(plain)
        if r.random() < 0.1:
            made[r.choice(_OPTIONS)] = r.choice((None, [], {}, text(r, 3), 3, ["v"], {"x": "a"}))
        datasets[each] = made
    found: dict[str, Any] = {"datasets": datasets}
    if r.random() < 0.3:
        found["aliases"] = {n.partition(":")[0]: r.choice(references) for n in r.sample(plain, 1)}
    if r.random() < 0.3:
        found["keys"] = r.choice(
            ({"v": "int", "s": "str"}, {"v": "str"}, {"v": "complex"}, {"class": "int"}, [], {"é": "int"})
        )
    if r.random() < 0.2:
        found["implied"] = r.choice(({"s": ["v"]}, {"s": ["s"]}, {"s": ["t"], "t": ["s"]}, {"v": []}))
    if r.random() < 0.1:
        found["include"] = r.choice(
            (
                ["other.yaml"],
                ["ring.yaml"],
                ["/etc/passwd"],
                ["../../../../../etc/hostname"],
                "ring.yaml",
                [""],
                ["\0"],
                ["."],
                ["/dev/zero"],
                ["link.yaml"],
            )
        )
    return found


def flow(tree: Any) -> str:
    """Return a tree as YAML in one line."""
    import json

    return json.dumps(tree, default=lambda odd: type(odd).__name__, ensure_ascii=False)


def _bomb(r: Random) -> str:
    many = r.choice((3, 8, 30, 100))
    size = r.choice((100, 5000, 60_000))
    bombs = (
        lambda: "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, many)),
        lambda: "datasets: &d\n  a: *d\n",
        lambda: "datasets: &d {a: {composite: {x: *d}}}\n",
        lambda: "datasets: " + "{a: " * size + "1" + "}" * size,
        lambda: "datasets: " + "[" * size,
        lambda: "- " * size,
        lambda: "? " * size,
        lambda: "datasets:\n" + "\n".join("  a: {storage: Json, template: 'x/{v:d}'}" for _ in range(size // 10)),
        lambda: "datasets:\n" + "\n".join(f"  t{i}: {{storage: Json, template: 'x{i}/{{v:d}}.json'}}" for i in range(size // 30)),
        lambda: "datasets:\n  t0: {storage: Json, template: 'x/{v:d}'}\n" + "\n".join(f"  t{i}: {{composite: {{x: t{i - 1}, y: t{i - 1}}}}}" for i in range(1, many)),
        lambda: "datasets:\n  t0: {storage: Json, template: 'x/{v:d}'}\n" + "\n".join(f"  t{i}: {{base: t{i - 1}, composite: {{x{i}: t0}}}}" for i in range(1, many)),
        lambda: "datasets:\n  t0: {storage: Json, template: 'x/{v:d}'}\n" + "\n".join(f"  t{i}: {{extends: t{i - 1}}}" for i in range(1, size // 10)),
        lambda: "datasets:\n  t0: {storage: Json, template: 'x/{v:d}'}\n" + "\n".join(f"  t{i}: {{partOf: t{i - 1}}}" for i in range(1, many)),
        lambda: "datasets:\n  a: {composite: {" + ", ".join(f"x{i}: b" for i in range(size // 10)) + "}}\n  b: {storage: Json, template: 'x/{v:d}'}",
        lambda: "datasets: {a: &m {storage: Json}, b: {<<: *m, template: 'x/{v:d}'}}",
        lambda: f"datasets: {{a: {r.choice(('!!python/object:os.system x', '!!python/object/apply:os.system [id]', '!!set {a}', '!x y', '!!timestamp 2001-01-01'))}}}",
        lambda: "%YAML 9.9\n---\n%TAG ! tag:x\n---\ndatasets: {}\n",
        lambda: "--- {}\n" * (size // 5),
        lambda: "x" * (size * 20),
        lambda: "datasets: {a: \"" + "\\x00" * 50 + "\"}",
        lambda: f"keys: {{{', '.join(f'k{i}: int' for i in range(size // 20))}}}",
        lambda: "implied: {" + ", ".join(f"k{i}: [k{i + 1}]" for i in range(many)) + "}",
        lambda: f"datasets: {{a: {{storage: Json, template: 'x/{{v:d}}', keys: [{', '.join(['v'] * size)}]}}}}",
        lambda: f"datasets: {{a: {{storage: Json, template: 'x/{{s}}', idFrom: {{s: {{card: X, match: '{'{_}a' * 60}{{s}}'}}}}}}}}",
        lambda: "\ufeff" * 3 + "datasets: {}",
        lambda: "datasets: {a: {composite: {" + "photoCalib: b, photo_calib: b" + "}}}",
        lambda: "aliases: {a: b, b: a}\ndatasets: {a: {storage: Json, template: 'x/{v:d}'}}",
    )  # fmt: skip
    return r.choice(bombs)()
