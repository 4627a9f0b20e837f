"""What the commands share: which repository, a data ID from words, how a dataset is described."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from .. import Butler

F = TypeVar("F", bound=Callable[..., Any])


def repository(function: F) -> F:
    """Add the options that say which repository, and what of it to trust."""
    function = click.option(
        "--trust-path",
        "trust_paths",
        multiple=True,
        type=click.Path(),
        help="Read files under this folder outside the repository. Can be repeated.",
    )(function)
    return click.option(
        "--repo",
        "-r",
        default=".",
        envvar="BUNTER_REPO",
        show_default=True,
        show_envvar=True,
        help="Root of the repository.",
    )(function)


json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
name_argument = click.argument("name")
data_id_argument = click.argument("data_id", nargs=-1, metavar="[KEY=VALUE]...")


def open_butler(repo: str, trust_paths: Sequence[str], write: bool = False) -> Butler:
    """Return a Butler on a repository."""
    from .. import Butler

    options: dict[str, Any] = {"trust_paths": tuple(trust_paths)}
    return Butler(outputs=repo, **options) if write else Butler(repo, **options)


def parsed(butler: Butler, items: Sequence[str]) -> dict[str, Any]:
    """Read ``visit=1`` and ``ccd=N3`` with the types that the keys have."""
    if not items:
        return {}
    kinds = butler.key_types()
    found: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{item!r} is not a part of a data ID; write KEY=VALUE, for example visit=1 ccd=N3")
        if key in found:
            raise click.UsageError(f"{key} is given twice")
        found[key] = _value(key, text, kinds.get(key, ""))
    return found


def _value(key: str, text: str, kind: str) -> int | float | str:
    """Read one value; of a key that nobody knows (``stage``, a mistake) as text, for the Butler to judge."""
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError:
        wanted = "an integer" if kind == "int" else "a number"
        raise click.UsageError(f"{key}={text}: the key {key!r} takes {wanted}") from None


def described(ref: Any) -> dict[str, Any]:
    """Return what JSON says of a dataset."""
    return {
        "name": str(ref.name),
        "data_id": dict(ref.data_id),
        "uuid": None if ref.uuid is None else str(ref.uuid),
        "repository": None if ref.repository is None else str(ref.repository),
        "uri": None if ref.uri is None else str(ref.uri),
    }
