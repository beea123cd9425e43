"""The calibration report: one HTML page with SPICE over model, residuals, parameters, correlations and provenance.

Each target brings its own sections; what they share is here.
"""

from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go

from bruno_spice.calibration.presentation.page import PlotlyFigure, Section, Table, write_page
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.calibration.targets.target import Calibration
from bruno_spice.devices.cards.base import Card

NUMBERED_CELLS = 10
"""A correlation matrix of more parameters shows colours only; its numbers would be too small to read."""


def write_report(folder: Path, done: Mapping[str, Calibration]) -> Path:
    """Write ``calibration.html`` and ``figures/*.png`` of calibrations by target in `folder`; return its path."""
    targets = {name: TARGETS.find(name) for name in done}
    sections = []
    for name, target in targets.items():
        sections += target.sections(done[name], target.figures(folder / "figures", done[name]))
    sections.append(Section("Provenance", tables=[_provenance(each.card) for each in done.values()]))
    origin = next(iter(done.values())).card.provenance
    models = " and ".join(target.model for target in targets.values())
    lead = f"{models}, fitted to {origin.simulator} on {origin.date}."
    return write_page(folder / "calibration.html", "Calibration: SPICE against model", lead, sections)


def layout() -> dict[str, object]:
    """How every zoomable figure is laid out."""
    return {
        "template": "plotly_white",
        "margin": {"l": 80, "r": 20, "t": 80, "b": 50},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        "font": {"size": 13},
    }


def correlation(card: Card) -> PlotlyFigure:
    """The correlation of the fitted parameters of `card`, as colours."""
    names, matrix = card.correlation()
    few = len(names) <= NUMBERED_CELLS
    heat = go.Heatmap(
        x=names,
        y=names,
        z=matrix.round(3),
        zmin=-1,
        zmax=1,
        colorscale="RdBu",
        texttemplate="%{z:.2f}" if few else None,
        textfont={"size": 12},
        hovertemplate="%{y} and %{x}: %{z:.2f}<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_layout(title="Correlation of the fitted parameters", **layout())
    figure.update_yaxes(autorange="reversed", automargin=True, dtick=1)
    figure.update_xaxes(automargin=True, dtick=1, tickangle=40 if few else 90)
    return PlotlyFigure(figure, low=few)


def parameter_table(card: Card) -> Table:
    """Value, standard errors, bounds and source of every parameter."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.5g}"

    rows = [
        [
            name,
            number(p.value),
            number(p.stderr),
            number(p.stderr_curvature),
            p.unit,
            f"{number(p.min)} … {number(p.max)}" if p.vary else "fixed",
            p.source,
        ]
        for name, p in card.parameters.items()
    ]
    return Table(
        f"Parameters of the {card.model} card",
        ["parameter", "value", "stderr", "of the curvature", "unit", "bounds", "source"],
        rows,
    )


def _provenance(card: Card) -> Table:
    p = card.provenance
    fields = {
        "netlist": p.netlist,
        "SHA-256": p.sha256,
        "simulator": p.simulator,
        "command": p.command,
        "date": p.date,
    }
    overrides = {f".param {name}": f"{value:g}" for name, value in p.overrides.items()}
    return Table(f"{card.model} card", ["", ""], [[key, value] for key, value in (fields | overrides).items()])
