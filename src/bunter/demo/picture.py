"""A picture of the residuals before and after a fit, over the image."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from ..errors import FormatUnavailableError

if TYPE_CHECKING:
    from ..exposure import Exposure

_COLOURS = ("#d1495b", "#00798c")


def draw(path: str | PathLike[str], exposure: Exposure, before: Table, after: Table, title: str) -> None:
    """Write a PNG: residual vectors over the image before and after, and both as points.

    Parameters
    ----------
    path : path
        Of the new PNG file.
    exposure : bunter.Exposure
        Its image is drawn, averaged over blocks; its WCS turns the vectors into the directions of its pixels.
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

    shown, extent = _averaged(exposure.image)
    middle = float(np.nanmedian(shown))
    noise = 1.4826 * float(np.nanmedian(np.abs(shown - middle)))
    turn = np.linalg.inv(exposure.wcs.pixel_scale_matrix * 3600)
    longest = max((float(np.max(np.hypot(t["east"], t["north"]))) for t in (before, after) if len(t)), default=1.0)

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 0.9])
    for axis, found, word, colour in zip(axes, (before, after), ("before", "after"), _COLOURS, strict=False):
        axis.imshow(
            shown, origin="lower", cmap="gray_r", vmin=middle - 2 * noise, vmax=middle + 12 * noise, extent=extent
        )
        east, north = np.asarray(found["east"]), np.asarray(found["north"])
        along = turn @ np.vstack([east, north])
        # Every arrow as long as its residual, whatever the pixels' scale: the longest a ninth of the width.
        along *= np.hypot(east, north) / np.maximum(np.hypot(*along), 1e-300)
        arrows = axis.quiver(
            found["x"],
            found["y"],
            *along,
            angles="xy",
            scale_units="width",
            scale=9 * longest,
            color=colour,
            width=0.005,
        )
        axis.quiverkey(arrows, 0.62, 0.04, longest, f"{longest:.2g} arcsec", labelpos="E", coordinates="axes")
        rms = float(np.sqrt(np.mean(np.concatenate([east, north]) ** 2))) if len(found) else float("nan")
        axis.set(title=f"{word}: {rms:.3f} arcsec rms, {len(found)} stars", xlabel="x (pixel)", ylabel="y (pixel)")
        axis.set(xlim=extent[:2], ylim=extent[2:])
    points = axes[2]
    points.axhline(0, color="0.8", zorder=0)
    points.axvline(0, color="0.8", zorder=0)
    for found, word, colour in zip((before, after), ("before", "after"), _COLOURS, strict=True):
        points.plot(found["east"], found["north"], ".", color=colour, label=word)
    points.set(title="both, on the sky", xlabel="east (arcsec)", ylabel="north (arcsec)")
    points.set_aspect("equal", adjustable="datalim")
    points.invert_xaxis()
    points.legend(loc="best")
    figure.suptitle(title)
    figure.savefig(str(path), format="png")


def _averaged(image: Any) -> tuple[Any, tuple[float, float, float, float]]:
    """Average an image over blocks to about 512 pixels a side; faint stars stay, noise goes. With its extent."""
    step = max(1, min(np.shape(image)) // 512)
    ny, nx = (side // step for side in np.shape(image))
    blocks = np.asarray(image)[: ny * step, : nx * step].reshape(ny, step, nx, step)
    return blocks.mean(axis=(1, 3)), (-0.5, nx * step - 0.5, -0.5, ny * step - 0.5)
