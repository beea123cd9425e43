"""Records as pictures, a panel each: charge over voltage where a record has both, else current over voltage or time."""

from collections.abc import Mapping
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.calibration.measured.record import Column, Record
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR, new_figure
from bruno_spice.devices.reading import printable, short

MOST_PANELS = 24
LONGEST_TITLE = 34
SHOWN = {"C/m2": (100.0, "µC/cm²"), "A/m2": (1e-4, "A/cm²")}
"""Units in which films are spoken of, and the factor from SI."""


def records_figure(records: Mapping[int, Record]) -> Figure:
    """One panel for each of at most `MOST_PANELS` records, by their numbers."""
    across = min(4, ceil(len(records) ** 0.5))
    down = ceil(len(records) / across)
    figure = new_figure(down, across, size=(max(6.4, 4.2 * across), max(4.4, 3.1 * down)), squeeze=False)
    for axes, (number, record) in zip(figure.axes, records.items(), strict=False):
        _panel(axes, record)
        axes.set_title(f"{number}: {short(record.name or record.kind, LONGEST_TITLE)}".replace("$", r"\$"), fontsize=10)
    for axes in figure.axes[len(records) :]:
        axes.set_visible(False)
    return figure


def _panel(axes: Axes, record: Record) -> None:
    """Draw `record`: its first voltage or time below, what was measured above."""
    x = next((found[0] for what in _under(record) if (found := record.of(what))), record.columns[0])
    kinds = ("charge density", "charge", "current density", "current", "voltage")
    above = next((found for what in kinds if (found := [c for c in record.of(what) if c is not x])), [])
    above = above or [each for each in record.columns if each is not x]
    for each, colour in zip(above[:3], (MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR), strict=False):
        axes.plot(_scaled(x), _scaled(each), color=colour, lw=1.2, label=short(each.name, 20).replace("$", r"\$"))
    axes.set_xlabel(_label(x), fontsize=10)
    axes.set_ylabel(_label(above[0]) if above else "", fontsize=10)
    for axis, column in ((axes.xaxis, x), (axes.yaxis, above[0] if above else x)):
        if column.unit and column.unit not in SHOWN:
            axis.set_major_formatter(EngFormatter("", sep=""))
    axes.tick_params(labelsize=9)
    if len(above) > 1:
        axes.legend(fontsize=8)


def _under(record: Record) -> tuple[str, ...]:
    """What a record is drawn over: pulses and traces over time, the rest over voltage."""
    return ("time", "voltage") if record.kind in ("pulses", "trace") else ("voltage", "time")


def _scaled(column: Column) -> object:
    return SHOWN.get(column.unit, (1.0, ""))[0] * column.values


def _label(column: Column) -> str:
    unit = SHOWN.get(column.unit, (1.0, column.unit))[1]
    return printable(f"{short(column.name, 24)} ({unit})" if unit and unit != "1" else short(column.name, 24)).replace(
        "$", r"\$"
    )
