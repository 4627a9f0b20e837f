"""What the command prints: tables for people, JSON for machines; rich is loaded only here, and only where it shows."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 10_000
_GAP = "  "
_AS_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Environment variables that make rich take a pipe for a terminal."""


def console(stderr: bool = False) -> Console:
    """Return a console; into a pipe it prints lines as long as they are."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDEST, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with a heading."""
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    plain = (
        None
        if sys.stdout.isatty() or any(os.environ.get(name) for name in _AS_TERMINAL)
        else _plain_table(columns, texts)
    )
    if plain is not None:
        click.echo(plain)
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in texts:
        shown.add_row(*map(Text, row))
    console().print(shown, markup=False)


def as_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, ensure_ascii=False, default=_plain, indent=2))


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give a function to be called with (done, total) that moves a bar on stderr; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return what rich makes of a table where there is neither colour nor an edge; None if it takes rich to tell."""
    lines = [columns, *rows]
    if not columns or not all(text.isascii() and text.isprintable() for line in lines for text in line):
        return None
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if sum(widths) + len(_GAP) * len(widths) > _WIDEST:
        return None
    return "\n".join(
        [_GAP.join([text.ljust(width) for text, width in zip(line, widths, strict=True)]) for line in lines]
    )


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does."""
    if isinstance(value, Mapping):
        return dict(value)
    for attribute in ("to_dict", "tolist"):
        method = getattr(value, attribute, None)
        if callable(method):
            return method()
    return str(value)
