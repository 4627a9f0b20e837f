"""The command that looks a repository over."""

from __future__ import annotations

import click

from . import show


def _sample(ctx: click.Context, param: click.Parameter, text: str | None) -> int | float | None:
    """Read a number of files (``100``), or a part of them (``0.1`` or ``10%``)."""
    if text is None:
        return None
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise click.BadParameter(f"{text}: write a number of files (100) or a part of them (0.1 or 10%)") from None


@click.command()
@click.argument("root", required=False, type=click.Path(), metavar="[REPO]")
@click.option("--read", is_flag=True, help="Read all files and compare their checksums.")
@click.option("--sample", callback=_sample, metavar="N", help="Read only so many, at random: 100, 0.1 or 10%.")
@click.option(
    "--repair",
    is_flag=True,
    help="Remove what killed processes have left, record checksums that are lacking (of files that are read), build "
    "damaged indices anew.",
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Threads. [default: as there are cores, at most 8]")
@click.option(
    "--trust-path",
    "trust_paths",
    multiple=True,
    type=click.Path(),
    help="Read files under this folder outside the repository. Can be repeated.",
)
@click.option(
    "--repo",
    "-r",
    default=".",
    envvar="BUNTER_REPO",
    show_default=True,
    show_envvar=True,
    help="Root of the repository, if REPO is not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(
    ctx: click.Context,
    root: str | None,
    read: bool,
    sample: int | float | None,
    repair: bool,
    jobs: int | None,
    trust_paths: tuple[str, ...],
    repo: str,
    as_json: bool,
) -> None:
    """Look a repository over: registry, parents, pins and files; exit code 1 if something is broken.

    The sizes of all files are compared, their contents with --read or --sample. Nothing is changed without --repair.
    """
    from .. import verify as verify_repository

    with show.counting(f"verifying {root or repo}") as progress:
        report = verify_repository(
            root or repo,
            read=read,
            sample=sample,
            repair=repair,
            workers=jobs,
            progress=progress,
            trust_paths=trust_paths,
        )
    if as_json:
        show.as_json(report.to_dict())
    else:
        if report.findings:
            show.table(("SEVERITY", "KIND", "DATASET", "PATH", "MESSAGE"), report.rows())
        click.echo(report.summary())
    ctx.exit(0 if report.ok else 1)
