"""The demo: a later stage replaces the WCS and the zero point of exposures, and no pixel is written again.

``bunter demo`` runs it; so does `run`. It uses Bunter as any user would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["run"]

_SMALLEST = 256
_LARGEST = 16384


def run(
    folder: str | PathLike[str],
    size: int = 2048,
    seed: int = 1,
    data: str | PathLike[str] | None = None,
    console: Console | None = None,
) -> Any:
    """Run the demo in a folder and tell what happens.

    Parameters
    ----------
    folder : path
        New or empty; two repositories and a picture are made in it.
    size : int
        Pixels along one side of a simulated CCD, 256 to 16384.
    seed : int
        Of the simulated sky and its noise.
    data : path, optional
        DECam files of the DESI Legacy Imaging Surveys (a folder of legacypipe's test cases) to run on instead.
    console : rich.console.Console, optional
        Where to print; the terminal if not given.

    Returns
    -------
    bunter.demo.story.Outcome or bunter.demo.decam.Outcome
        What was measured; ``to_dict()`` gives plain values.

    Raises
    ------
    ParameterError
        If the folder is not empty, the size is out of range or there are no such files in `data`.
    """
    if not _SMALLEST <= size <= _LARGEST:
        raise ParameterError(f"the size of a demo CCD is {_SMALLEST} to {_LARGEST} pixels, not {size}")
    place = Path(folder).expanduser().resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ParameterError(f"the demo needs a new or empty folder; {place} is not")
    source = None if data is None else Path(data).expanduser().resolve()
    if source is not None and not source.is_dir():
        raise ParameterError(f"--data: {source} is not a folder")
    with _offline():
        if source is not None:
            from .decam import decam_story

            return decam_story(place, source, console)
        from .story import simulated_story

        return simulated_story(place, size, seed, console)


@contextmanager
def _offline() -> Iterator[None]:
    """Astropy would fetch earth-orientation tables for some conversions of time; the demo needs none."""
    from astropy.utils import data, iers

    with iers.conf.set_temp("auto_download", False), data.conf.set_temp("allow_internet", False):
        yield
