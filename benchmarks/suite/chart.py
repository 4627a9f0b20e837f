"""The results as a chart: how many times the floor each takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report import by_hand, measure

COLOURS = {"bunter": "#1f5fa8", "by hand": "#8a8a8a", "peer": "#c8553d"}


def draw(results: dict[str, Any], path: Path) -> bool:
    """Draw the rows that have a floor; return False where there is no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    # The same results give the same file, with text that can be read and searched.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bunter", "font.size": 9})
    from matplotlib import pyplot

    rows = [row for row in results["rows"] if measure(row, "floor") and measure(row, "bunter")]
    figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(rows) + 1.3), layout="constrained")
    for y, row in enumerate(reversed(rows)):
        floor = measure(row, "floor")
        assert floor is not None
        tool = by_hand(row)
        for label, name in (("by hand", tool), ("peer", "peer"), ("bunter", "bunter")):
            found = measure(row, name) if name else None
            if found is not None:
                axes.plot(found[0] / floor[0], y, "o", color=COLOURS[label], markersize=7 if label == "bunter" else 6)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row["work"] for row in reversed(rows)])
    axes.set_xlabel("times the floor (CPU; wall for durable puts and threads)")
    axes.grid(axis="x", which="major", linewidth=0.4)
    for label, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=label if label != "peer" else "lsst-daf-butler")
    axes.legend(loc="upper center", bbox_to_anchor=(0.3, 1.08), ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return True
