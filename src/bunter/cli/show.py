"""What the command prints: tables for people, JSON for machines; rich is loaded only here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False) -> Console:
    """Return a console; into a pipe it prints lines as long as they are."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 10_000, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with a heading."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
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


def _cell(value: Any) -> Any:
    from rich.text import Text

    return Text("" if value is None else str(value))


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does."""
    if isinstance(value, Mapping):
        return dict(value)
    for attribute in ("to_dict", "tolist"):
        method = getattr(value, attribute, None)
        if callable(method):
            return method()
    return str(value)
