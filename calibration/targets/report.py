"""The calibration report: one HTML page with SPICE over model, residuals, parameters, correlations and provenance."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.neuron.calibrate import NeuronCalibration
from bruno_spice.calibration.neuron.figures import frequency_against_current, neuron_overlay
from bruno_spice.calibration.neuron.validation import NeuronComparison, model_of
from bruno_spice.calibration.presentation import style
from bruno_spice.calibration.presentation.page import Picture, PlotlyFigure, Section, Table, write_page
from bruno_spice.calibration.rram.calibrate import RRAMCalibration
from bruno_spice.calibration.rram.figures import conductance_against_current, relative_residual, rram_figure
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform

TRACE_POINTS = 3000
NUMBERED_CELLS = 10
"""A correlation matrix of more parameters shows colours only; its numbers would be too small to read."""


def write_report(folder: Path, neuron: NeuronCalibration, rram: RRAMCalibration) -> Path:
    """Write ``calibration.html`` and ``figures/*.png`` under `folder`; return the page's path."""
    figures = write_figures(folder / "figures", neuron, rram)
    parameters = NeuronParameters.from_card(neuron.card)
    sections = [
        Section(
            "Neuron: SPICE over FeLIF",
            "Membrane voltage and polarization of the netlist (grey) and of the fitted compact model (blue); below "
            "each the difference. Drag to zoom, double-click to zoom out.",
            plotly=[PlotlyFigure(transient_figure(r, parameters)) for r in _shown(neuron)],
        ),
        Section(
            "Neuron: held-out stimuli",
            "None of these was used in the fit. Voltage and polarization are compared up to the first spike of either, "
            "and (all) over the whole trace but for the spikes and the dead time after them.",
            tables=[
                comparison_table(neuron.held_out_comparisons),
                comparison_table(neuron.fitted_comparisons, "Fitted"),
            ],
        ),
        Section(
            "Neuron: parameters",
            f"Polarization domains: {neuron.card.domains}, {neuron.card.fit['domains_chosen']}.",
            tables=[parameter_table(neuron.card), *_domains_tried(neuron.card)],
            plotly=[_correlation(neuron.card)],
        ),
        Section("Neuron: frequency against current", images=[Picture(figures["frequency"], "f-I curve")]),
        Section(
            "RRAM: conductance against programming current",
            f"Read at +{rram.card['read_voltage']:g} V after a SET from the high-resistive state. The curve gives the "
            "eight levels of three bits.",
            images=[
                Picture(figures["conductance"], "Conductance against programming current"),
                Picture(figures["levels"], "Distributions of the eight levels, and RESET"),
            ],
            tables=[parameter_table(rram.card), _rram_table(rram)],
            plotly=[_correlation(rram.card)],
        ),
        Section("Provenance", tables=[_provenance(neuron.card), _provenance(rram.card)]),
    ]
    lead = (
        f"FeLIF neuron and RRAM filament, fitted to ngspice {neuron.card.provenance.ngspice_version} "
        f"on {neuron.card.provenance.date}."
    )
    return write_page(folder / "calibration.html", "Calibration: SPICE against model", lead, sections)


def write_figures(folder: Path, neuron: NeuronCalibration, rram: RRAMCalibration) -> dict[str, Path]:
    """Write the PNG figures; return their paths by short name."""
    parameters = NeuronParameters.from_card(neuron.card)
    out = {}
    shown = {"neuron_308pA": (neuron.reference(), "fitted"), "neuron_held_out": (_shown(neuron)[-2], "held out")}
    for name, (recording, used) in shown.items():
        title = f"FeCAP neuron, {recording.stimulus.name} ({used})"
        figure = neuron_overlay(recording.spice, model_of(recording, parameters), title)
        out[name] = style.save(figure, folder / f"{name}.png")

    figure = style.new_figure()
    frequency_against_current(figure.axes[0], neuron.fitted, neuron.held_out, *neuron.model_frequency())
    out["frequency"] = style.save(figure, folder / "neuron_frequency.png")

    figure = style.new_figure(2, 1, size=(9.6, 7.6), sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    conductance_against_current(figure.axes[0], rram.card, rram.fitted, rram.held_out)
    figure.axes[0].set_xlabel("")
    relative_residual(figure.axes[1], rram.card, rram.fitted)
    relative_residual(figure.axes[1], rram.card, rram.held_out, face="white")
    figure.axes[1].set_xlabel("programming current")
    out["conductance"] = style.save(figure, folder / "rram_conductance.png")
    out["levels"] = style.save(rram_figure(rram), folder / "rram_levels.png")
    return out


def _shown(neuron: NeuronCalibration) -> list[Recording]:
    """The reference, one of each other held-out kind, and two of the many network-like traces."""
    network = [r for r in neuron.held_out if r.stimulus.name.startswith("network-like")]
    return [neuron.reference(), *(r for r in neuron.held_out if r not in network), *network[:2]]


def _thin(wave: Waveform, until_s: float) -> Waveform:
    return wave.resampled(np.linspace(0.0, until_s, TRACE_POINTS))


def transient_figure(recording: Recording, parameters: NeuronParameters) -> go.Figure:
    """Voltage and polarization of SPICE and model with residuals, zoomable together."""
    spice, model = (_thin(wave, recording.t_stop_s) for wave in (recording.spice, model_of(recording, parameters)))
    figure = make_subplots(4, 1, shared_xaxes=True, vertical_spacing=0.03, row_heights=[0.4, 0.12, 0.34, 0.14])
    time_ms = spice.time_s * 1e3
    for row, signal, limit in ((1, "v_mem_v", 0.25), (3, "polarization", 0.1)):
        for wave, colour, width, name in (
            (spice, style.SPICE_COLOUR, 4, "ngspice"),
            (model, style.MODEL_COLOUR, 1.5, "FeLIF"),
        ):
            trace = _line(time_ms, wave[signal], colour, width, name, showlegend=row == 1)
            figure.add_trace(trace, row, 1)
        difference = np.clip(model[signal] - spice[signal], -limit, limit)
        figure.add_trace(_line(time_ms, difference, style.SECOND_COLOUR, 1, "model − SPICE", row == 1), row + 1, 1)
    figure.update_yaxes(title_text="V (V)", row=1)
    figure.update_yaxes(title_text="Δ (V)", nticks=4, row=2)
    figure.update_yaxes(title_text="P/Ps", row=3)
    figure.update_yaxes(title_text="Δ", nticks=4, row=4)
    figure.update_xaxes(title_text="time (ms)", row=4)
    figure.update_layout(title=recording.stimulus.name, **_layout())
    return figure


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64], colour: str, width: float, name: str, showlegend: bool
) -> go.Scatter:
    line = {"color": colour, "width": width}
    return go.Scatter(x=x.round(5), y=y.round(5), line=line, name=name, legendgroup=name, showlegend=showlegend)


def _layout() -> dict[str, object]:
    return {
        "template": "plotly_white",
        "margin": {"l": 80, "r": 20, "t": 80, "b": 50},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        "font": {"size": 13},
    }


def _correlation(card: Card) -> PlotlyFigure:
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
    figure.update_layout(title="Correlation of the fitted parameters", **_layout())
    figure.update_yaxes(autorange="reversed", automargin=True, dtick=1)
    figure.update_xaxes(automargin=True, dtick=1, tickangle=40 if few else 90)
    return PlotlyFigure(figure, low=few)


def comparison_table(comparisons: list[NeuronComparison], what: str = "Held out") -> Table:
    """Figures of merit, a row a stimulus."""

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:+.2f} %"

    rows = [
        [
            c.stimulus,
            f"{c.spikes_spice} / {c.spikes_model}",
            "–" if c.first_spike_s is None else f"{1e3 * c.first_spike_s:.3f} ms",
            percent(c.first_spike_error),
            percent(c.interval_error_worst),
            f"{100 * c.matched_fraction:.0f} %",
            f"{1e3 * c.voltage_rms_v:.0f} / {1e3 * c.voltage_rms_all_v:.0f} mV",
            f"{c.polarization_rms:.3f} / {c.polarization_rms_all:.3f}",
        ]
        for c in comparisons
    ]
    header = [
        "stimulus",
        "spikes SPICE / model",
        "first spike",
        "its error",
        "worst interval",
        "matched in 1 ms",
        "V rms / all",
        "P rms / all",
    ]
    return Table(what, header, rows)


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


def _rram_table(rram: RRAMCalibration) -> Table:
    rows = [
        [str(n), format_si(g, "S"), format_si(i, "A")]
        for n, (g, i) in enumerate(zip(rram.levels.conductance_s, rram.levels.i_prog_a, strict=True))
    ]
    return Table("The eight levels of three bits (mean device)", ["level", "conductance", "programming current"], rows)


def _domains_tried(card: Card) -> list[Table]:
    tried = card.fit["domains_tried"]
    errors = [f"{1e3 * t['voltage_rms_v']:.1f} mV" for t in tried]
    rows = [[str(t["domains"]), error, t["note"]] for t, error in zip(tried, errors, strict=True)]
    return [Table("Domains tried, on stimuli held out from the fit", ["domains", "V rms", ""], rows)] if tried else []


def _provenance(card: Card) -> Table:
    p = card.provenance
    fields = {
        "netlist": p.netlist,
        "SHA-256": p.sha256,
        "ngspice": p.ngspice_version,
        "command": p.command,
        "date": p.date,
    }
    overrides = {f".param {name}": f"{value:g}" for name, value in p.overrides.items()}
    return Table(f"{card.model} card", ["", ""], [[key, value] for key, value in (fields | overrides).items()])
