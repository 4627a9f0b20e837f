"""Tables that are printed without rich are those that rich prints; whoever stops reading is left alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunter import Butler, RepositoryArgs
from bunter.cli import show

WORDS = st.text(" !#'()+,-./09:;=?A[\\]^_`abz{|}~\"<>", max_size=12)
CELLS = st.one_of(st.none(), st.integers(), WORDS, st.sampled_from(["[bold]x[/]", "[/]", ":smile:", "a" * 90]))
HEADS = st.text("ABC D", min_size=1, max_size=9)


def printed(columns: Any, rows: Any, by_rich: bool) -> str:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            patch.delenv(name, raising=False)
        if by_rich:
            patch.setattr(show, "_plain_table", lambda *_: None)
        show.table(columns, rows)
    return out.getvalue()


@settings(max_examples=100, deadline=None)
@given(st.lists(HEADS, min_size=1, max_size=4).flatmap(
    lambda heads: st.tuples(st.just(heads), st.lists(st.tuples(*[CELLS] * len(heads)), max_size=5))
))  # fmt: skip
def test_a_table_is_the_one_of_rich(case: tuple[list[str], list[tuple[Any, ...]]]) -> None:
    assert printed(*case, by_rich=False) == printed(*case, by_rich=True)


@pytest.mark.parametrize("text", ["zwölf", "表", "a\tb", "two\nlines", "\x1b[1m", "x" * 20_000])
def test_what_only_rich_can_lay_out(text: str) -> None:
    assert show._plain_table(["A", "B"], [[text, "b"]]) is None
    assert printed(["A", "B"], [(text, "b")], by_rich=False) == printed(["A", "B"], [(text, "b")], by_rich=True)


def test_colours_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    with redirect_stdout(out):
        show.table(["A"], [("b",)])
    assert "\x1b[" in out.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    policy = "keys: {v: int}\ndatasets: {note: {python: dict, storage: Json, template: 'note-{v:d}.json'}}"
    with Butler(outputs=RepositoryArgs(tmp_path / "r", policy=policy), durability="fast") as butler:
        for v in range(3):
            butler.put({"v": v}, "note", v=v)
    return tmp_path / "r"


def started(root: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    code = f"import sys; sys.argv = {['bunter', *words, '-r', str(root)]!r}; from bunter.cli import main; main()"
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    return subprocess.Popen([sys.executable, "-c", code], text=True, stderr=subprocess.PIPE, env=plain, **options)


@pytest.mark.parametrize("words", [("ls", "note"), ("ls", "note", "--json"), ("types",)])
def test_a_reader_that_stops(root: Path, words: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = started(root, *words, stdout=theirs)
    os.close(theirs)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said == ""


def test_a_list_in_a_pipe_is_plain(root: Path) -> None:
    out, said = (process := started(root, "ls", "note", stdout=subprocess.PIPE)).communicate(timeout=60)
    assert process.returncode == 0
    assert said == "3 datasets\n"
    lines = out.splitlines()
    assert lines[0].split() == ["V", "REPOSITORY", "FILE"]
    assert [line.split() for line in lines[1:]] == [[str(v), str(root), str(root / f"note-{v}.json")] for v in range(3)]
