"""The commands about the trash: delete, trash, restore, purge."""

from __future__ import annotations

import sys
from typing import Any

import click

from . import show
from .options import data_id_argument, described, json_flag, name_argument, open_butler, parsed, repository

_maybe_name = click.argument("name", required=False)


@click.command()
@name_argument
@data_id_argument
@click.option("--force", is_flag=True, help="Even if others are made of it; they read it from the trash.")
@repository
@json_flag
def delete(
    name: str, data_id: tuple[str, ...], force: bool, repo: str, trust_paths: tuple[str, ...], as_json: bool
) -> None:
    """Move the dataset NAME with KEY=VALUE to the trash."""
    with open_butler(repo, trust_paths, write=True) as butler:
        asked = parsed(butler, data_id)
        butler.delete(name, asked, force=force)
    if as_json:
        show.as_json({"name": name, "data_id": asked})
    else:
        click.echo(f"{name} {_words(asked)} is in the trash of {repo}")


@click.command()
@_maybe_name
@data_id_argument
@repository
@json_flag
def trash(name: str | None, data_id: tuple[str, ...], repo: str, trust_paths: tuple[str, ...], as_json: bool) -> None:
    """List what is in the trash of a repository, newest first: all of it, or datasets NAME with KEY=VALUE."""
    with open_butler(repo, trust_paths) as butler:
        found = [_of(item) for item in butler.trashed(*_asked(butler, name, data_id))]
    if as_json:
        show.as_json(found)
        return
    rows = [
        (row["name"], _words(row["data_id"]), (row["trashed_at"] or "")[:19], row["size"], row["uuid"]) for row in found
    ]
    show.table(("NAME", "DATA ID", "TRASHED AT (UTC)", "BYTES", "UUID"), rows)
    click.echo(_count(len(found)), err=True)


@click.command()
@name_argument
@data_id_argument
@click.option("--uuid", help="This one instead of the newest.")
@click.option("--replace", is_flag=True, help="Put the one that is there now into the trash in its stead.")
@repository
@json_flag
def restore(
    name: str,
    data_id: tuple[str, ...],
    uuid: str | None,
    replace: bool,
    repo: str,
    trust_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Bring the dataset NAME with KEY=VALUE back from the trash: the newest that is there."""
    with open_butler(repo, trust_paths, write=True) as butler:
        found = described(butler.restore(name, parsed(butler, data_id), uuid=uuid, replace=replace))
    if as_json:
        show.as_json(found)
    else:
        click.echo(f"{found['name']} {_words(found['data_id'])} is back: UUID {found['uuid']}")


@click.command()
@_maybe_name
@data_id_argument
@click.option("--older-than", metavar="TIME", help="Only what has been there for so long: 30d, 12h, 2w.")
@click.option("--force", is_flag=True, help="Even what composites of the repository are made of.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@repository
@json_flag
def purge(
    name: str | None,
    data_id: tuple[str, ...],
    older_than: str | None,
    force: bool,
    dry_run: bool,
    yes: bool,
    repo: str,
    trust_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Forget what is in the trash for good, and remove its files: all of it, or datasets NAME with KEY=VALUE.

    What composites of the repository are made of stays, unless --force says otherwise. Whether those of its children
    are made of it is not known here.
    """
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("what is purged is gone for good, and nobody is there to ask: say --yes or --dry-run")
    with open_butler(repo, trust_paths, write=True) as butler:
        what = _asked(butler, name, data_id)
        options: dict[str, Any] = {"older_than": older_than, "force": force}
        if not (yes or dry_run):
            plan = butler.purge(*what, dry_run=True, **options)
            click.confirm(f"{_count(plan.datasets)} and {plan.bytes} bytes go for good. Purge?", abort=True, err=True)
        done = butler.purge(*what, dry_run=dry_run, **options)
    if as_json:
        kept = [
            {**_of(kept.dataset), "pinned_by": [{"name": ref.name, "data_id": ref.data_id} for ref in kept.pinned_by]}
            for kept in done.kept
        ]
        show.as_json({**{key: getattr(done, key) for key in ("datasets", "files", "bytes", "dry_run")}, "kept": kept})
        return
    would = "would be " if done.dry_run else ""
    files = f"{done.files} {'file' if done.files == 1 else 'files'}"
    click.echo(f"{repo}: {_count(done.datasets)} {would}purged, {files} removed, {done.bytes} bytes freed")
    for left in done.kept:
        click.echo(f"kept: {left}")


def _asked(butler: Any, name: str | None, data_id: tuple[str, ...]) -> tuple[str | None, dict[str, Any]]:
    if name is not None and "=" in name:
        # Without a name the first word is a part of the data ID.
        return None, parsed(butler, (name, *data_id))
    return name, parsed(butler, data_id)


def _of(item: Any) -> dict[str, Any]:
    return {
        "name": item.name,
        "data_id": dict(item.data_id),
        "uuid": str(item.uuid),
        "trashed_at": None if item.trashed_at is None else item.trashed_at.isoformat(),
        "size": item.size,
        "uri": item.uri,
    }


def _words(data_id: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in data_id.items())


def _count(number: int) -> str:
    return f"{number} {'dataset' if number == 1 else 'datasets'}"
