"""The command and the demo are users of the public API, nothing more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bunter

SOURCE = Path(bunter.__file__).parent
FILES = sorted([*SOURCE.glob("cli/*.py"), *SOURCE.glob("demo/*.py")])


def imported(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.level, node.module or "", alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_only_public_names(path: Path) -> None:
    rooms = {"errors", "exposure", *(["demo"] if path.parent.name == "cli" else [])}
    for level, module, name in imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (level == 0 and module.partition(".")[0] == "bunter"), module
        if level == 2 and not module:
            assert name in bunter.__all__, f"{path.name} imports {name}, which is not public"
        elif level >= 2:
            assert level == 2
            assert module in rooms, f"{path.name} reaches into bunter.{module}"


def test_there_are_files() -> None:
    assert len(FILES) > 8
