"""Records as pictures, a panel each: charge over voltage where a record has both, else current over voltage or time."""

from collections.abc import Mapping
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.calibration.measured.record import Array, Column, Record
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR, new_figure
from bruno_spice.devices.reading import short

MOST_PANELS = 24
LONGEST_TITLE = 34
COLOURS = (MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR)
SHOWN = {"C/m2": (100.0, "µC/cm²"), "A/m2": (1e-4, "A/cm²")}
"""Units in which films are spoken of, and the factor from SI."""


def records_figure(records: Mapping[int, Record]) -> Figure:
    """One panel for each of at most `MOST_PANELS` records, by their numbers."""
    across = min(4, ceil(len(records) ** 0.5))
    down = ceil(len(records) / across)
    figure = new_figure(down, across, size=(max(6.4, 4.2 * across), max(4.4, 3.1 * down)), squeeze=False)
    for axes, (number, record) in zip(figure.axes, records.items(), strict=False):
        _panel(axes, record)
        axes.set_title(f"{number}: {_text(record.name or record.kind)}", fontsize=10)
    for axes in figure.axes[len(records) :]:
        axes.set_visible(False)
    return figure


def _panel(axes: Axes, record: Record) -> None:
    """Draw `record`: its first voltage or time below, what was measured above, the first column on top."""
    under = ("time", "voltage") if record.kind == "trace" else ("voltage", "time")
    x = next((found[0] for what in under if (found := record.of(what))), record.columns[0])
    kinds = ("charge density", "charge", "current density", "current", "voltage")
    above = next((found for what in kinds if (found := [each for each in record.of(what) if each is not x])), [])
    above = (above or [each for each in record.columns if each is not x])[: len(COLOURS)]
    for order, (each, colour) in enumerate(zip(above, COLOURS, strict=False)):
        axes.plot(_shown(x), _shown(each), color=colour, lw=1.2, label=_text(each.name), zorder=3 - 0.1 * order)
    axes.set_xlabel(_label(x, x.name), fontsize=10)
    if above:
        axes.set_ylabel(
            _label(above[0], above[0].name if len(above) == 1 else above[0].what if above[0].unit else "value"),
            fontsize=10,
        )
    for axis, column in ((axes.xaxis, x), (axes.yaxis, above[0] if above else x)):
        if column.unit not in (*SHOWN, "", "1"):
            axis.set_major_formatter(EngFormatter("", sep=""))
        axis.get_offset_text().set_fontsize(8)
    axes.tick_params(labelsize=9)
    if len(above) > 1:
        axes.legend(fontsize=8, loc="best" if record.points < 2000 else "upper right")


def _shown(column: Column) -> Array:
    return SHOWN.get(column.unit, (1.0, ""))[0] * column.values


def _label(column: Column, name: str) -> str:
    unit = SHOWN.get(column.unit, (1.0, column.unit))[1]
    return f"{_text(name)} ({unit})" if unit and unit != "1" else _text(name)


def _text(name: str) -> str:
    """`name` short, printable, and no formula."""
    return short(name, LONGEST_TITLE).replace("$", r"\$")
