"""A FeCAP fit as pictures: each record over the model, what is left, and the records that were predicted."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from bruno_spice.calibration.fecap.fit import FittedRecord
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, SPICE_COLOUR, new_figure

UNITS = {"charge": ("µC/cm²", 100.0), "current": ("A/cm²", 1e-4)}
MOST_COLUMNS = 4
Mask = NDArray[np.bool_]


def fecap_figure(record: FittedRecord, title: str) -> Figure:
    """One record: measured over fitted against time and against voltage, residuals, samples that were set apart."""
    measured = record.measured
    unit, scale = UNITS[measured.kind]
    figure = new_figure(2, 2, size=(12.0, 6.6), sharex="col", gridspec_kw={"height_ratios": [2.4, 1.0]})
    marks: Mapping[str, tuple[Mask, str]] = {"clipped": (measured.clipped, "s"), "outlier": (record.outliers, "x")}
    for column, x in enumerate((measured.time_s, measured.voltage_v)):
        top, bottom = figure.axes[column], figure.axes[2 + column]
        top.plot(x, scale * measured.response, color=SPICE_COLOUR, lw=3.5, label="measured", solid_capstyle="round")
        top.plot(x, scale * record.model, color=MODEL_COLOUR, lw=1.3, label="ngspice, fitted")
        bottom.axhline(0.0, color="black", lw=0.7)
        left = np.where(record.used, scale * (record.model - measured.response), np.nan)
        bottom.plot(x, left, ".", color=SECOND_COLOUR, ms=3)
        for label, (marked, marker) in marks.items():
            if marked.any():
                top.plot(x[marked], scale * measured.response[marked], marker, color=SECOND_COLOUR, ms=6, label=label)
        bottom.set_xlabel("time" if column == 0 else "voltage")
        bottom.xaxis.set_major_formatter(EngFormatter("s" if column == 0 else "V"))
        top.set_ylabel(f"{measured.kind} ({unit})")
        bottom.set_ylabel(f"fit $-$ measured\n({unit})")
    figure.axes[0].legend(loc="best", fontsize=10)
    figure.suptitle(title, fontsize=14)
    figure.align_ylabels()
    return figure


def records_figure(records: Sequence[FittedRecord], names: Sequence[str], what: str, title: str) -> Figure:
    """A column for each record: measured over the model against the voltage, and the difference in % of the span.

    Pulses are drawn against time. `what` says in the legend what the model is: fitted or predicted.
    """
    columns = min(len(records), MOST_COLUMNS)
    rows = -(-len(records) // columns)
    ratios = [2.4, 1.0] * rows
    figure = new_figure(
        2 * rows,
        columns,
        size=(max(6.4, 4.0 * columns), 5.6 * rows),
        squeeze=False,
        gridspec_kw={"height_ratios": ratios},
    )
    grid = np.array(figure.axes).reshape(2 * rows, columns)
    for n, (record, name) in enumerate(zip(records, names, strict=True)):
        top, bottom = grid[2 * (n // columns), n % columns], grid[2 * (n // columns) + 1, n % columns]
        measured = record.measured
        unit, scale = UNITS[measured.kind]
        loop = np.count_nonzero(np.diff(np.sign(np.diff(measured.drive_v)))) <= measured.time_s.size // 20
        x, axis = (measured.voltage_v, "voltage (V)") if loop else (measured.time_s, "time (s)")
        top.plot(x, scale * measured.response, color=SPICE_COLOUR, lw=3.5, label="measured", solid_capstyle="round")
        top.plot(x, scale * record.model, color=MODEL_COLOUR, lw=1.3, label=f"ngspice, {what}")
        bottom.axhline(0.0, color="black", lw=0.7)
        left = np.where(record.used, 100 * (record.model - measured.response) / measured.span, np.nan)
        bottom.plot(x, left, ".", color=SECOND_COLOUR, ms=3)
        top.set_title(f"{name}\nrms {100 * record.rms_of_span:.2f} %", fontsize=10)
        bottom.set_xlabel(axis)
        if n % columns == 0:
            top.set_ylabel(f"{measured.kind} ({unit})")
            bottom.set_ylabel("left (%)")
    for axes in grid.ravel()[:]:
        axes.set_visible(axes.has_data())
    grid[0, 0].legend(loc="best", fontsize=9)
    figure.suptitle(title, fontsize=13, wrap=True)
    return figure
