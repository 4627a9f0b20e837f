"""The commands. Each opens a Butler, asks it one thing and prints the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from . import show
from .options import data_id_argument, described, json_flag, name_argument, open_butler, parsed, repository
from .trash import delete, purge, restore, trash
from .verify import verify

_MISTAKE = 2


class _Command(click.Group):
    """A group that tells a user's mistake in one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from ..errors import BunterError

        try:
            return super().invoke(ctx)
        except BunterError as error:
            _fail(str(error))
        except BrokenPipeError:
            # Whoever reads has seen enough (`head`): click ends the process without a word.
            raise
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"bunter: {message}", err=True)
    raise SystemExit(_MISTAKE)


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bunter")
def bunter() -> None:
    """Bunter: a data butler for astronomy whose centre is the composite dataset.

    A dataset is named type[:stage][.component], for example calexp:jointcal.wcs, and chosen by a data ID,
    for example visit=1 ccd=N3.
    """


@bunter.command()
@click.argument("root", type=click.Path())
@click.option("--policy", "-p", type=click.Path(exists=True, dir_okay=False), help="Definitions (YAML) to store in it.")
@click.option("--parent", multiple=True, type=click.Path(), help="A repository that it builds on. Can be repeated.")
def init(root: str, policy: str | None, parent: tuple[str, ...]) -> None:
    """Make a repository at ROOT."""
    from .. import Butler, RepositoryArgs

    with Butler(inputs=list(parent) or None, outputs=RepositoryArgs(root, policy=policy)) as butler:
        count = len(list(butler.dataset_types()))
    click.echo(
        f"{root}: a repository with {count} dataset types" + (f", parents {', '.join(parent)}" if parent else "")
    )


@bunter.command()
@click.argument("policy", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--alias", "aliases", multiple=True, metavar="NAME=TARGET", help="Let a bare name mean another.")
@repository
def define(policy: str | None, aliases: tuple[str, ...], repo: str, trust_paths: tuple[str, ...]) -> None:
    """Add the definitions of a POLICY file (YAML), or aliases, to a repository."""
    if policy is None and not aliases:
        raise click.UsageError("nothing to define: give a policy file or --alias NAME=TARGET")
    with open_butler(repo, trust_paths, write=True) as butler:
        if policy is not None:
            butler.define(Path(policy))
        for text in aliases:
            name, _, target = text.partition("=")
            if not target:
                raise click.UsageError(f"--alias {text}: write NAME=TARGET, for example calexp=calexp:jointcal")
            butler.alias(name, target)
        click.echo(f"{repo}: {len(list(butler.dataset_types()))} dataset types")


@bunter.command()
@repository
@json_flag
def types(repo: str, trust_paths: tuple[str, ...], as_json: bool) -> None:
    """List the dataset types of a repository and its parents, with their keys."""
    with open_butler(repo, trust_paths) as butler:
        kinds = butler.key_types()
        found = {name: {key: kinds[key] for key in butler.keys(name)} for name in butler.dataset_types()}
        aliases = butler.aliases()
    if as_json:
        show.as_json({"types": found, "aliases": aliases})
    else:
        rows = [(name, ", ".join(f"{key}: {kind}" for key, kind in keys.items())) for name, keys in found.items()]
        show.table(("TYPE", "KEYS"), rows)
        for name, target in aliases.items():
            click.echo(f"{name} stands for {target}")


@bunter.command()
@name_argument
@click.argument("files", nargs=-1, required=True)
@click.option("--id", "data_id", multiple=True, metavar="KEY=VALUE", help="A key that all files have. Can be repeated.")
@click.option("--mode", type=click.Choice(["direct", "copy", "move", "hardlink", "symlink"]), default="direct",
              show_default=True, help="Leave the files in place, or bring them into the repository.")  # fmt: skip
@click.option("--scan", type=click.Choice(["none", "headers", "full"]), default="headers", show_default=True,
              help="What to read of each file; full records checksums.")  # fmt: skip
@click.option("--template", help="Path template to match instead of the definition's.")
@click.option("--on-exists", type=click.Choice(["error", "skip", "replace"]), default="error", show_default=True)
@repository
@json_flag
def ingest(
    name: str,
    files: tuple[str, ...],
    data_id: tuple[str, ...],
    mode: str,
    scan: str,
    template: str | None,
    on_exists: str,
    repo: str,
    trust_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Record FILES (paths or globs) as datasets NAME; all of them or none."""
    with open_butler(repo, trust_paths, write=True) as butler, show.counting(f"ingesting {name}") as progress:
        refs = butler.ingest(
            name,
            list(files),
            mode=mode,
            scan=scan,
            data_id=parsed(butler, data_id) or None,
            template=template,
            on_exists=on_exists,
            progress=progress,
        )
        found = [described(ref) for ref in refs]
    if as_json:
        show.as_json(found)
    else:
        click.echo(f"{name}: {len(found)} {'dataset' if len(found) == 1 else 'datasets'} in {repo}")


@bunter.command()
@name_argument
@data_id_argument
@click.option("--where", "-w", help="A condition, for example \"filter in ('g', 'r') and visit > 100\".")
@click.option(
    "--region", help="A place on the sky: 'circle RA DEC RADIUS', 'box RA0 RA1 DEC0 DEC1', 'polygon ...'; degrees."
)
@click.option("--order-by", help="Keys, separated by commas; -key sorts backwards.")
@click.option("--limit", type=click.IntRange(min=1))
@repository
@json_flag
def ls(
    name: str,
    data_id: tuple[str, ...],
    where: str | None,
    region: str | None,
    order_by: str | None,
    limit: int | None,
    repo: str,
    trust_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the datasets NAME whose data IDs agree with KEY=VALUE."""
    with open_butler(repo, trust_paths) as butler:
        order = order_by.split(",") if order_by else None
        query = butler.query(name, parsed(butler, data_id), where=where, region=region, order_by=order, limit=limit)
        found = [described(ref) for ref in query]
        keys = list(butler.keys(name))
    if as_json:
        show.as_json(found)
        return
    keys = [key for key in keys if any(key in row["data_id"] for row in found)] or keys
    rows = [[*(row["data_id"].get(key) for key in keys), row["repository"], row["uri"]] for row in found]
    show.table([*(key.upper() for key in keys), "REPOSITORY", "FILE"], rows)
    click.echo(f"{len(found)} {'dataset' if len(found) == 1 else 'datasets'}", err=True)


@bunter.command()
@name_argument
@data_id_argument
@repository
@json_flag
def plan(name: str, data_id: tuple[str, ...], repo: str, trust_paths: tuple[str, ...], as_json: bool) -> None:
    """Show where every part of a dataset would be read from."""
    with open_butler(repo, trust_paths) as butler:
        found = butler.plan(name, parsed(butler, data_id))
    if as_json:
        show.as_json(found.to_dict())
    else:
        click.echo(str(found))


@bunter.command()
@name_argument
@data_id_argument
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write; its suffix chooses the format.")
@click.option("--overwrite", is_flag=True, help="Write over a file that is there.")
@click.option("--bbox", metavar="Y0:Y1,X0:X1", help="Read only these pixels (zero-based, half-open).")
@click.option("--columns", metavar="NAME,...", help="Read only these columns.")
@repository
@json_flag
def get(
    name: str,
    data_id: tuple[str, ...],
    output: str | None,
    overwrite: bool,
    bbox: str | None,
    columns: str | None,
    repo: str,
    trust_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Get a dataset or a component: write it to a file (-o), or print it."""
    from .export import export

    if output is not None and Path(output).exists() and not overwrite:
        raise click.UsageError(f"{output} is there already; --overwrite replaces it")
    parameters: dict[str, Any] = {}
    if bbox is not None:
        parameters["bbox"] = _box(bbox)
    if columns is not None:
        parameters["columns"] = columns.split(",")
    with open_butler(repo, trust_paths) as butler, show.counting(f"getting {name}") as progress:
        found = butler.get(name, parsed(butler, data_id), parameters=parameters or None, progress=progress)
        if output is not None:
            export(found, Path(output))
    if output is not None:
        if as_json:
            show.as_json({"output": output, "bytes": Path(output).stat().st_size})
        else:
            click.echo(f"{output}: {Path(output).stat().st_size} bytes")
    elif as_json:
        show.as_json(found)
    else:
        click.echo(str(found))


@bunter.command()
@click.argument("root", type=click.Path())
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--id", "data_id", multiple=True, metavar="KEY=VALUE", help="Only these. Can be repeated.")
@click.option("--where", "-w", help="A condition, for example \"filter in ('g', 'r') and visit > 100\".")
@click.option("--mode", type=click.Choice(["copy", "hardlink", "symlink", "reference"]), default="copy",
              show_default=True, help="Copy the files, link to them, or refer to them where they are.")  # fmt: skip
@click.option("--parents", is_flag=True, help="Make the repository a parent of the new one; copy only what is asked.")
@repository
@json_flag
def copy(
    root: str,
    names: tuple[str, ...],
    data_id: tuple[str, ...],
    where: str | None,
    mode: str,
    parents: bool,
    repo: str,
    trust_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Copy datasets NAME, and all that they need, into the repository ROOT, new or not; all of them or none."""
    with open_butler(repo, trust_paths) as butler, show.counting(f"copying to {root}") as progress:
        copied = butler.copy_to(
            root,
            names,
            parsed(butler, data_id) or None,
            where=where,
            mode=mode,
            parents=parents,
            progress=progress,
        )
    if as_json:
        show.as_json(
            {
                "root": copied.root,
                "datasets": copied.datasets,
                "parts": copied.parts,
                "present": copied.present,
                "files": copied.files,
                "bytes": copied.bytes,
            }
        )
        return
    what = f"{copied.datasets} {'dataset' if copied.datasets == 1 else 'datasets'}"
    parts = f", {copied.parts} of them parts of others" if copied.parts else ""
    there = f"; {copied.present} were there already" if copied.present else ""
    click.echo(f"{root}: {what}{parts}, {copied.bytes} bytes written{there}")


@bunter.command()
@name_argument
@data_id_argument
@repository
@json_flag
@click.pass_context
def exists(
    ctx: click.Context, name: str, data_id: tuple[str, ...], repo: str, trust_paths: tuple[str, ...], as_json: bool
) -> None:
    """Tell whether a get would succeed; exit code 0 if so, 1 if not."""
    with open_butler(repo, trust_paths) as butler:
        found = butler.exists(name, parsed(butler, data_id))
    if as_json:
        show.as_json(found)
    else:
        click.echo("yes" if found else "no")
    ctx.exit(0 if found else 1)


@bunter.command()
@click.argument("folder", required=False, type=click.Path())
@click.option("--size", default=2048, show_default=True, help="Pixels along one side of a simulated CCD.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the simulated sky.")
@click.option("--data", type=click.Path(), help="Run on DECam files of the DESI Legacy Imaging Surveys in this folder.")
@json_flag
def demo(folder: str | None, size: int, seed: int, data: str | None, as_json: bool) -> None:
    """Show the main job: a later stage replaces WCS and zero point, and no pixel is written again.

    Works in FOLDER, which must be new or empty; without it, in a fresh folder that it names.
    """
    from tempfile import mkdtemp

    from ..demo import run

    outcome = run(folder or mkdtemp(prefix="bunter-demo-"), size, seed, data, show.console(stderr=as_json))
    if as_json:
        show.as_json(outcome.to_dict())


bunter.add_command(verify)


def _box(text: str) -> tuple[slice, slice]:
    try:
        y, x = ([int(number) for number in side.split(":")] for side in text.split(","))
        (y0, y1), (x0, x1) = y, x
    except ValueError:
        raise click.UsageError(f"--bbox {text}: write Y0:Y1,X0:X1, for example 10:60,20:80") from None
    return slice(y0, y1), slice(x0, x1)


for _command in (delete, trash, restore, purge):
    bunter.add_command(_command)
