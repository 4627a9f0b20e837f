"""Imports run one way, and what is heavy is loaded when it is needed (design 8)."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bunter

SOURCE = Path(bunter.__file__).parent
ROOT = Path(__file__).parents[1]
HEAVY = {"astropy", "matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "rich", "scipy"}
LONGEST = 600

BOTTOM = {"errors", "values", "words"}
SHARED = BOTTOM | {"choices", "components", "dataid", "names", "templates"}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(["bunter", *parts]).removesuffix(".__init__")] = path
    return found


def rooms() -> set[str]:
    return {room_of(name) for name in modules()}


def room_of(name: str) -> str:
    """Return the file or folder right under ``bunter``; ``""`` for the package itself."""
    return name.split(".")[1] if "." in name else ""


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(node: ast.AST, inner: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Walk over the imports that are run, and whether they are run only when a function is called."""
    for child in ast.iter_child_nodes(node):
        if is_for_types(child):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inner
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(child, inner or function)


@cache
def imports(name: str) -> frozenset[tuple[str, bool]]:
    """Return the modules that a module imports, ours and others', and whether only inside of functions."""
    path = modules()[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for statement, inner in statements(ast.parse(path.read_text("utf-8"))):
        if isinstance(statement, ast.Import):
            found |= {(alias.name, inner) for alias in statement.names}
            continue
        base = statement.module or ""
        if statement.level:
            above = package[: len(package) - statement.level + 1]
            base = ".".join([*above, *([statement.module] if statement.module else [])])
        for alias in statement.names:
            full = f"{base}.{alias.name}"
            found.add((full if full in modules() else base, inner))
    return frozenset(found)


def own_imports(name: str) -> set[str]:
    return {found for found, _ in imports(name) if found.split(".")[0] == "bunter" and found != name}


def imports_of_room(room: str) -> dict[str, set[str]]:
    """Return what the modules of a room import of other rooms: module -> names without ``bunter.``."""
    found = {}
    for name in modules():
        if room_of(name) == room:
            others = {other.partition(".")[2] for other in own_imports(name) if room_of(other) != room}
            found[name] = others
    assert found, f"there is no room {room!r}"
    return found


# The rules


ONLY = {
    "errors": set(),
    "words": set(),
    "values": set(),
    "names": BOTTOM,
    "dataid": BOTTOM,
    "components": {"names", "values"},
    "matching": BOTTOM | {"dataid"},
    "templates": BOTTOM | {"dataid", "matching"},
    "where": BOTTOM | {"dataid"},
    "sky": SHARED,
    "exposure": SHARED,
    "files": SHARED | {"formats.interface"},
    # A registry sees plain values, and outlines on the sky as bytes.
    "registry": SHARED | {"files.interface", "sky.outlines"},
    "definitions": SHARED | {"formats", "where"},
    "formats": SHARED | {"definitions", "definitions.model", "exposure"},
    "trust": SHARED | {"definitions", "definitions.gen2", "definitions.model"},
    "cache": set(),
    "cli": {"", "errors", "demo"},
}


@pytest.mark.parametrize("room", sorted(ONLY))
def test_a_room_imports_only_what_lies_below(room):
    allowed = ONLY[room]
    for name, others in imports_of_room(room).items():
        wrong = {other for other in others if other not in allowed and other.split(".")[0] not in allowed - {"files"}}
        assert not wrong, f"{name} imports {sorted(wrong)}"


NEVER = {
    # names <- definitions <- plan <- assembly
    "definitions": {"plan", "assembly", "repository", "registry", "files"},
    "plan": {"assembly", "repository", "registry", "files", "formats", "exposure", "locate", "context"},
    "assembly": {"repository", "registry", "files", "locate", "context", "reading", "putting"},
    "formats": {"registry", "files", "repository", "plan", "assembly", "locate", "reading", "context"},
    "repository": {"formats", "exposure", "assembly", "locate", "reading", "context", "putting", "querying"},
    "locate": {"formats", "exposure", "files", "assembly", "reading", "context", "putting"},
    "querying": {"formats", "exposure", "files", "assembly", "reading", "context", "putting"},
    "reading": {"registry.sqlite", "context", "putting", "files.local"},
    "registry": {"exposure", "formats", "definitions", "plan"},
}


@pytest.mark.parametrize("room", sorted(NEVER))
def test_a_room_never_imports(room):
    for name, others in imports_of_room(room).items():
        wrong = {other for other in others if other in NEVER[room] or other.split(".")[0] in NEVER[room]}
        assert not wrong, f"{name} imports {sorted(wrong)}"


def test_nobody_imports_the_front_door():
    """Only the package hands it out, lazily; `cli` and `demo` know nothing but the package."""
    for name in modules():
        if room_of(name) not in ("", "butler"):
            assert "bunter.butler" not in own_imports(name), name


@pytest.mark.parametrize("room", ["cli", "demo", "testing"])
def test_nobody_imports_what_only_uses_bunter(room):
    users = {"demo": ("cli",)}.get(room, ())
    for name in modules():
        if room_of(name) not in (room, *users):
            assert room not in {room_of(other) for other in own_imports(name)}, name


def test_the_command_line_is_a_user_like_any_other():
    for name in modules():
        if room_of(name) == "cli":
            others = {other.split(".")[0] for other, _ in imports(name)} - set(sys.stdlib_module_names)
            assert others <= {"bunter", "click", "rich"}, name


def test_no_module_imports_itself_in_a_circle():
    """At the top of modules, that is; a function may import what imports its module."""
    graph = {
        name: {other for other, inner in imports(name) if not inner and other in modules() and other != name}
        for name in modules()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for other in sorted(graph[name]):
            visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


# What is heavy


LIGHT = sorted(
    name
    for name in modules()
    if room_of(name) not in ("exposure", "formats", "sky", "demo", "cli") or name.endswith((".interface", ".outlines"))
)


@pytest.mark.parametrize("name", [*LIGHT, "bunter.formats", "bunter.exposure", "bunter.sky", "bunter.cli"])
def test_heavy_libraries_wait_until_they_are_needed(name):
    early = {other.split(".")[0] for other, inner in imports(name) if not inner}
    assert not early & HEAVY


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import bunter",
        "import bunter.butler",
        "import bunter.cli",
        "import bunter.exposure",
        "import bunter.formats",
        "import bunter.testing",
        "from bunter import Butler, DataId, DatasetRef, RepositoryArgs, DatasetNotFoundError",
    ],
)
def test_what_an_import_loads(code):
    assert not loaded_after(code) & HEAVY


def test_plain_data_need_no_arrays(tmp_path):
    """A repository of JSON files is made, written and read without numpy or astropy."""
    policy = {"datasets": {"note": {"python": "dict", "storage": "Json", "template": "note-{visit:d}.json"}}}
    loaded = loaded_after(
        f"""
from bunter import Butler, RepositoryArgs
with Butler(outputs=RepositoryArgs({str(tmp_path / "new")!r}, policy={policy!r})) as butler:
    butler.put({{"a": 1}}, "note", visit=1)
    assert butler.get("note", visit=1) == {{"a": 1}}
    assert butler.exists("note", visit=1)
    str(butler.plan("note", visit=1))
"""
    )
    assert not loaded & (HEAVY - {"numpy"})


# The files


@pytest.mark.parametrize("name", sorted(modules()))
def test_modules_are_short_enough_to_be_read(name):
    lines = len(modules()[name].read_text("utf-8").splitlines())
    assert lines <= LONGEST, f"{name} has {lines} lines"


def test_every_module_says_what_it_is_for():
    for name, path in modules().items():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), name


def test_no_file_knows_the_machine_it_was_written_on():
    names = [f"/{folder}/" for folder in ("work", "root", "home")]
    for folder in ("src", "tests", "docs", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".yaml", ".toml", ".txt") and ".egg-info" not in str(path):
                text = path.read_text("utf-8", "replace")
                assert not [name for name in names if name in text], path
