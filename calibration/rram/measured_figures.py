"""Figures of a measured cell's card over what it was made of: SET curve, relaxation, overlap, read noise."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.calibration.presentation.style import (
    MODEL_COLOUR,
    SECOND_COLOUR,
    SPICE_COLOUR,
    THIRD_COLOUR,
    new_figure,
)
from bruno_spice.calibration.rram.distributions import Array
from bruno_spice.calibration.rram.measured import MeasuredFit, drawn_s
from bruno_spice.devices.rram.measured import MeasuredCell
from bruno_spice.devices.units import format_duration

SHOWN = 5
"""Levels whose relaxation is drawn."""
DRAWN = 4000
MOST_POINTS = 4000
COLOURS = (MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR, "#7b2d8b", "#e08e0b")


def measured_figure(found: MeasuredFit, reads: Array | None = None) -> Figure:
    """A panel for each thing that was measured."""
    card = found.card
    panels = []
    if card.set_curve is not None:
        panels.append(lambda axes: set_curve(axes, found))
    if card.verified is not None:
        panels += [lambda axes: relaxation(axes, found), lambda axes: misread(axes, found)]
    if card.read_noise is not None:
        panels.append(lambda axes: read_noise(axes, found))
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    figure = new_figure(rows, columns, size=(6.4 * columns, 4.8 * rows), squeeze=False)
    for axes, draw in zip(figure.axes, panels, strict=False):
        draw(axes)
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    return figure


def set_curve(axes: Axes, found: MeasuredFit) -> Axes:
    """Readings as points; of the card the median, and the band that holds nine tenths of the devices and writes."""
    curve = found.card.set_curve
    table = next(table for table in found.tables if table.kind == "set")
    assert curve is not None
    assert table.setting is not None
    some = np.random.default_rng(0).permutation(len(table.g_s))[:MOST_POINTS]
    axes.plot(table.setting[some], table.g_s[some], ".", color=SPICE_COLOUR, ms=2, label="measured", rasterized=True)
    scores, tables = np.array(curve.scores), np.array(curve.quantiles_s)
    low, middle, high = (np.array([np.interp(z, scores, row) for row in tables]) for z in (-1.645, 0.0, 1.645))
    axes.fill_between(curve.setting, low, high, color=MODEL_COLOUR, alpha=0.25, lw=0, label="card: 5 to 95 %")
    axes.plot(curve.setting, middle, color=MODEL_COLOUR, lw=1.8, label="card: median")
    unit = "V" if curve.knob == "v_word_line_v" else "A"
    axes.xaxis.set_major_formatter(EngFormatter(unit))
    axes.set_xlabel("word-line voltage" if unit == "V" else "programming current")
    return _conductance(axes, "conductance after one SET")


def relaxation(axes: Axes, found: MeasuredFit) -> Axes:
    """Conductance against time for some levels: mean and standard deviation, measured as bars, the card's as bands."""
    writes, cell = found.writes, MeasuredCell(found.card)
    assert writes is not None
    there = np.unique(writes.level_s)
    chosen = there[np.linspace(0, len(there) - 1, min(SHOWN, len(there))).round().astype(int)]
    at = np.append(writes.time_s[0] / 10, writes.time_s) if len(writes.time_s) else np.ones(1)
    fine = np.geomspace(at[0], at[-1], 25) if len(writes.time_s) else np.ones(1)
    rng = np.random.default_rng(0)
    for level_s, colour in zip(chosen, COLOURS, strict=False):
        mine = writes.level_s == level_s
        g_s = [writes.written_s[mine], *(row[mine][np.isfinite(row[mine])] for row in writes.g_s)]
        mean, sigma = (np.array([function(each) for each in g_s]) for function in (np.mean, np.std))
        axes.errorbar(at, mean, sigma, fmt="o", color=colour, ms=5, capsize=3)
        model = np.array([drawn_s(cell, np.array([level_s]), t if n else 0.0, DRAWN, rng) for n, t in enumerate(fine)])
        middle, band = model.mean(axis=(1, 2)), model.std(axis=(1, 2))
        axes.fill_between(fine, middle - band, middle + band, color=colour, alpha=0.2, lw=0)
        axes.plot(fine, middle, color=colour, lw=1.4)
    axes.errorbar([], [], [], fmt="o", color=SPICE_COLOUR, ms=5, capsize=3, label="measured")
    axes.fill_between([], [], [], color=SPICE_COLOUR, alpha=0.4, lw=0, label="card")
    axes.set_xscale("log")
    axes.set_xlim(at[0] / 3, at[-1] * 3)
    axes.set_xlabel("time since writing (s; the first: right after)")
    _conductance(axes, "conductance, mean and one sigma")
    axes.legend(fontsize=11, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return axes


def misread(axes: Axes, found: MeasuredFit) -> Axes:
    """Share of each evenly spaced level that is read as another one, by the card, a line a time."""
    cell = MeasuredCell(found.card)
    for at, colour in zip(found.card.overlap, COLOURS, strict=False):
        levels_s = np.linspace(*cell.g_range_s, len(at.by_level))
        when = format_duration(at.time_s) if at.time_s else "right after writing"
        axes.plot(levels_s, 100 * np.array(at.by_level), "o-", color=colour, ms=5, label=when)
    axes.xaxis.set_major_formatter(EngFormatter("S"))
    axes.set_xlabel("conductance of the level")
    axes.set_ylabel("read as another level (%)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=11, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return axes


def read_noise(axes: Axes, found: MeasuredFit) -> Axes:
    """Standard deviation of the reads of each cell, all of it and its fast part."""
    known = found.card.read_noise
    assert known is not None
    g_s = [cell.conductance_s for cell in known.cells]
    for values, label, colour, mark in (
        ([cell.sigma for cell in known.cells], "all reads", MODEL_COLOUR, "o-"),
        ([cell.fast_sigma for cell in known.cells], "new with each read", SECOND_COLOUR, "s:"),
    ):
        axes.plot(g_s, 100 * np.array(values), mark, color=colour, ms=6, label=label)
    slow = [cell for cell in known.cells if cell.jump_s is not None]
    axes.plot([cell.conductance_s for cell in slow], [100 * cell.sigma for cell in slow], "o", ms=12, mfc="none",
              mec="black", label="telegraph signal")  # fmt: skip
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(EngFormatter("S"))
    axes.set_xlabel("conductance of the cell")
    axes.set_ylabel("read noise, one sigma (%)")
    axes.legend(fontsize=11)
    return axes


def _conductance(axes: Axes, label: str) -> Axes:
    axes.yaxis.set_major_formatter(EngFormatter("S"))
    axes.set_ylabel(label)
    axes.legend(fontsize=11)
    return axes
