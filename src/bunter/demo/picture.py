"""A picture of the residuals before and after a fit, over the image."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from astropy.table import Table

from ..errors import FormatUnavailableError


def draw(path: str | PathLike[str], image: Any, before: Table, after: Table, title: str) -> None:
    """Write a PNG: residual vectors over the image before and after, and both as points.

    Parameters
    ----------
    path : path
        Of the new PNG file.
    image : array, shape (ny, nx)
        Drawn between its 1st and 99th percentile.
    before, after : astropy.table.Table
        ``x``, ``y`` (pixels), ``east``, ``north`` (arcsec), as `bunter.demo.fit.residuals` gives them.
    title : str
        Of the picture.

    Raises
    ------
    FormatUnavailableError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FormatUnavailableError(
            "the demo's picture needs matplotlib, which is not installed; pip install 'bunter[demo]'"
        ) from error

    step = max(1, min(np.shape(image)) // 512)
    shown = np.asarray(image)[::step, ::step]
    low, high = np.nanpercentile(shown, [1, 99])
    longest = max(float(np.max(np.hypot(before["east"], before["north"]))), 1e-3) if len(before) else 1.0
    ny, nx = np.shape(image)

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 0.9])
    for axis, found, word in zip(axes, (before, after), ("before", "after"), strict=False):
        axis.imshow(shown, origin="lower", cmap="gray_r", vmin=low, vmax=high, extent=(-0.5, nx - 0.5, -0.5, ny - 0.5))
        arrows = axis.quiver(
            found["x"], found["y"], found["east"], found["north"],
            angles="uv", scale_units="width", scale=9 * longest, color="#d1495b" if word == "before" else "#00798c",
        )  # fmt: skip
        axis.quiverkey(arrows, 0.84, 1.04, longest, f"{longest:.2g} arcsec", labelpos="E", coordinates="axes")
        axis.set(title=f"{word} ({len(found)} stars)", xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
        axis.set(xlabel="x (pixel)", ylabel="y (pixel)")
    points = axes[2]
    points.axhline(0, color="0.8", zorder=0)
    points.axvline(0, color="0.8", zorder=0)
    points.plot(before["east"], before["north"], ".", color="#d1495b", label="before")
    points.plot(after["east"], after["north"], ".", color="#00798c", label="after")
    points.set(title="against the truth", xlabel="east (arcsec)", ylabel="north (arcsec)", aspect="equal")
    points.legend(loc="best")
    figure.suptitle(title)
    figure.savefig(str(path), format="png")
