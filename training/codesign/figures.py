"""Pictures of codesign. Each drawing function takes Axes and returns them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, SPICE_COLOUR, new_figure

MOST_CURVES = 5


def tornado(axes: Axes, table: dict[str, Any]) -> Axes:
    """Change of the score for +1 % of each parameter with its interval, the largest on top; red is worse."""
    rows = table["levers"][::-1]
    place = np.arange(len(rows))
    slopes = np.array([row["slope"] for row in rows])
    errors = np.abs(np.array([[row["slope_low"], row["slope_high"]] for row in rows]).T - slopes)
    worse = (slopes > 0) != table["higher_is_better"]
    axes.barh(place, slopes, 0.66, color=np.where(worse, SECOND_COLOUR, MODEL_COLOUR))
    axes.errorbar(slopes, place, xerr=errors, fmt="none", ecolor="black", elinewidth=1.2, capsize=3)
    axes.axvline(0.0, color="black", lw=0.8)
    axes.set_yticks(place, [row["name"] for row in rows])
    axes.set_xlabel(f"change of test {table['score']} for +1 % (red: worse)")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", visible=False)
    return axes


def curves(axes: Axes, table: dict[str, Any]) -> Axes:
    """What the largest levers cost against how far they are moved, and the cost that is allowed."""
    sign = -1.0 if table["higher_is_better"] else 1.0
    for row in table["levers"][:MOST_CURVES]:
        x, change = np.array(row["curve"]).T
        axes.plot(100.0 * x, sign * change, "o-", ms=3.5, lw=1.2, label=row["name"])
    axes.axhline(table["cost"], color=SPICE_COLOUR, ls="--", label=f"allowed: {table['cost']:g}")
    axes.axhline(0.0, color="black", lw=0.8)
    axes.set_xlabel("moved by (%)")
    axes.set_ylabel(f"test {table['score']}, worse by")
    axes.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return axes


def codesign_figure(table: dict[str, Any]) -> Figure:
    """The tornado beside the curves."""
    height = max(4.8, 1.6 + 0.42 * len(table["levers"]))
    figure = new_figure(1, 2, size=(13.2, height))
    tornado(figure.axes[0], table)
    curves(figure.axes[1], table)
    return figure
