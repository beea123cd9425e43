"""The panels of a page as figures of Bokeh: SPICE broad and grey, the model thin and coloured, measured as dots."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import BoxAnnotation, BoxSelectTool, ColumnDataSource, HoverTool, Legend
from bokeh.plotting import figure

from bruno_spice.calibration.workbench.page import Drawing, Panel, Role

EMPTY: dict[str, list[float]] = {"x": [], "y": []}
LABELS: dict[Role, str] = {"measured": "measured", "spice": "SPICE", "model": "model", "left": "left",
    "a": "A", "b": "B", "c": "C", "d": "D"}  # fmt: skip
COLOURS: dict[bool, dict[str, str]] = {
    False: {"back": "#ffffff", "text": "#1f2328", "faint": "#8b949e", "grid": "#e4e7eb", "region": "#0b6e99",
            "measured": "#d1495b", "spice": "#9aa0a6", "model": "#0b6e99", "left": "#d1495b",
            "a": "#0b6e99", "b": "#d1495b", "c": "#6a994e", "d": "#b5651d"},
    True: {"back": "#14171b", "text": "#e6e8eb", "faint": "#6e7681", "grid": "#2b3138", "region": "#4cc2f1",
           "measured": "#ff8b94", "spice": "#8b949e", "model": "#4cc2f1", "left": "#ff8b94",
           "a": "#4cc2f1", "b": "#ff8b94", "c": "#a3d977", "d": "#f0b27a"},
}  # fmt: skip
"""By theme, dark or not."""
WIDTHS: dict[Role, float] = {
    "spice": 4.5,
    "measured": 0.0,
    "model": 1.8,
    "left": 1.2,
    "a": 1.8,
    "b": 1.8,
    "c": 1.8,
    "d": 1.8,
}
HEIGHT, LOW_HEIGHT = 340, 190
MOST_POINTS = 4000
"""Of a line; a longer one is thinned for the browser, and its source is tagged with how many become one."""


@dataclass(frozen=True)
class Shown:
    """What is drawn: `drawings`, the model's lines and the simulator's last, in `panels`."""

    panels: Sequence[Panel]
    drawings: tuple[Drawing, Drawing]
    region: tuple[float, float] | None
    waiting: bool
    """Whether the simulator's answer to what is shown is to come."""
    drawn: bool
    """Whether the window has its first figure: what else is made would keep it waiting."""

    def wanted(self, shown: Container[Panel]) -> list[Panel]:
        """The panels that hold a line, or are `shown` and will again; for a window without figures the first alone."""
        there = {panel for drawing in self.drawings for panel, _ in drawing.lines}
        found = [panel for panel in self.panels if panel.name in there or (self.waiting and panel in shown)]
        return found if self.drawn else found[:1]


class Plot:
    """One panel as a figure; its lines, by role, are what `show` has drawn."""

    def __init__(self, panel: Panel, dark: bool, along: "Plot | None" = None) -> None:
        """The figure of `panel`; it moves with the one of `along`, which has the same horizontal axis."""
        self.panel, self._colours = panel, COLOURS[dark]
        shared = {} if along is None else {"x_range": along.figure.x_range}
        tools: list[Any] = ["pan", "wheel_zoom", "box_zoom", "reset"]
        self.figure: Any = figure(
            title=panel.title,
            x_axis_label=panel.x,
            y_axis_label=panel.y,
            x_axis_type="log" if panel.log_x else "linear",
            y_axis_type="log" if panel.log_y else "linear",
            height=LOW_HEIGHT if panel.low else HEIGHT,
            sizing_mode="stretch_width",
            tools=tools,
            active_drag=None,
            name=panel.name,
            background_fill_color=None,
            outline_line_color=None,
            toolbar_location="right",
            **shared,
        )
        self.figure.toolbar.logo = None
        self.figure.toolbar.autohide = True
        self.lines: dict[Role, Any] = {}
        self.legend = Legend(
            orientation="horizontal", visible=not panel.low, padding=0, margin=2, spacing=14, border_line_color=None,
            background_fill_color=None, label_text_font_size="12px", click_policy="hide",
        )  # fmt: skip
        self.figure.add_layout(self.legend, "above")  # within, it would lie over what it names
        self.figure.add_tools(HoverTool(tooltips=[(panel.x, "$x{0.0000a}"), (panel.y, "$y{0.0000}")], mode="mouse"))
        self.region = BoxAnnotation(fill_color=self._colours["region"], fill_alpha=0.12, line_color=None, visible=False)
        self.figure.add_layout(self.region)
        if panel.region:
            select = BoxSelectTool(dimensions="width", persistent=False)
            self.figure.add_tools(select)
            self.figure.toolbar.active_drag = select
        self._colour()

    def _line(self, role: Role) -> Any:
        """The renderer of `role`, made when it is first drawn: each one costs a page that opens some milliseconds."""
        panel, colour = self.panel, self._colours[role]
        label = {**LABELS, **dict(panel.labels)}[role]
        source = ColumnDataSource(data=dict(EMPTY), name=f"{panel.name}-{role}")
        if role == "measured" or (panel.points and role == "spice"):
            size = 9 if panel.points else 5
            line = self.figure.scatter("x", "y", source=source, color=colour, size=size, alpha=0.75, legend_label=label)
        else:
            line = self.figure.line("x", "y", source=source, color=colour, width=WIDTHS[role], legend_label=label)
        line.nonselection_glyph = None  # a selected region is marked, not what lies outside it
        if role == "spice":
            line.level = "underlay"  # it comes after the model and lies below it
        return line

    def _colour(self) -> None:
        c, f = self._colours, self.figure
        f.border_fill_color = c["back"]
        f.title.text_color = c["text"]
        f.title.text_font_size = "14px"
        f.title.text_font_style = "normal"
        for axis in f.axis:
            axis.update(
                axis_label_text_color=c["text"], major_label_text_color=c["text"], axis_line_color=c["faint"],
                major_tick_line_color=c["faint"], minor_tick_line_color=None, axis_label_text_font_style="normal",
                axis_label_text_font_size="13px", major_label_text_font_size="12px",
            )  # fmt: skip
        for grid in f.grid:
            grid.grid_line_color = c["grid"]
        self.legend.label_text_color = c["text"]

    def show(self, drawings: Sequence[Drawing], number: str = "") -> None:
        """Draw what `drawings` have here; what they lack is taken away. The title says `number`.

        The title is set once, for a browser that is sent another lays out all of the figure; of lines Bokeh sends those
        that are others. Where there is nothing to draw the last lines are hidden: an axis without data is none.
        """
        self.figure.title.text = f"{self.panel.title} ({number})" if number else self.panel.title
        lines = {
            role: line for each in drawings for (panel, role), line in each.lines.items() if panel == self.panel.name
        }
        for role in WIDTHS:  # in the order in which they lie over one another
            if role in lines and role not in self.lines:
                self.lines[role] = self._line(role)
        for role, renderer in self.lines.items():
            renderer.visible = bool(lines)
            if not lines:
                continue
            x, y = lines.get(role, (np.empty(0), np.empty(0)))
            step = max(1, -(-x.size // MOST_POINTS))
            renderer.data_source.tags = [step]
            renderer.data_source.data = {"x": np.asarray(x[::step], float), "y": np.asarray(y[::step], float)}
        self._legend()

    def show_region(self, region: tuple[float, float] | None) -> None:
        """Mark the region of a fit, in SI units."""
        if not self.panel.region or region is None:
            self.region.visible = False
            return
        left, right = (each / self.panel.x_scale for each in region)
        self.region.update(left=left, right=right, visible=True)

    def _legend(self) -> None:
        """Only what is there is named."""
        for item in self.legend.items:
            item.visible = any(r.visible and len(r.data_source.data["x"]) > 0 for r in item.renderers)


def plots(panels: Sequence[Panel], dark: bool, shown: Sequence[Plot] = ()) -> list[Plot]:
    """The figures of `panels`, of which some are `shown` already; those with the same horizontal axis move together."""
    made: list[Plot] = []
    for panel in panels:
        same = next((plot for plot in shown if plot.panel == panel), None)
        along = next((plot for plot in (*shown, *made) if plot.panel.x == panel.x), None)
        made.append(same or Plot(panel, dark, along))
    return made
