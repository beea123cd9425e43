"""The neuron as a target of calibration: its options, figures and part of the report."""

from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.drive import PROJECT_CHARGE_C, spike_charge_c
from bruno_spice.calibration.circuits.experiments import NETLISTS, NEURON_NETLIST, NeuronRun, simulate_neurons
from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.circuits.stimuli import CHARGE_PER_RECORDING_C, DEAD_TIME_PER_RECORDING_S
from bruno_spice.calibration.neuron.calibrate import NeuronCalibration, calibrate_neuron
from bruno_spice.calibration.neuron.figures import frequency_against_current, neuron_overlay
from bruno_spice.calibration.neuron.validation import NeuronComparison, model_of
from bruno_spice.calibration.presentation import style
from bruno_spice.calibration.presentation.page import Picture, PlotlyFigure, Section, Table
from bruno_spice.calibration.targets.report import correlation, layout, parameter_table
from bruno_spice.calibration.targets.target import Asked, Rows, Target, common, only, sampled
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.models import MODELS
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

TRACE_POINTS = 3000
MONTE_CARLO = 24
"""Devices that are sampled for the spread in the card, where a netlist says what varies."""


def options(asked: Asked) -> dict[str, Any]:
    """The keyword arguments of `calibrate_neuron` for what was `asked`."""
    found = common(asked) | only(asked, ["domains", "network_traces", "current_scale", "currents_a"])
    if asked.model is not None:
        model = MODELS.find(asked.model)
        if asked.domains is not None and not model.domain_parameters:
            raise InputError(f"--domains says nothing to {model.label}, whose film is one domain")
        found = {"netlist": NETLISTS / model.netlist} | found | {"model": model}
    if asked.groups is not None:
        found["overrides"] = {"groups": asked.groups, **found["overrides"]}
    declared = found.get("netlist", NEURON_NETLIST).with_suffix(".variation.yaml").exists()
    found["monte_carlo"] = asked.monte_carlo if asked.monte_carlo is not None else (MONTE_CARLO if declared else 0)
    return found


def summary(card: Any) -> str:
    """Fit and validation in one sentence."""
    rows = [row for row in card.validation["stimuli"] if not row["stimulus"].startswith("network-like")]
    network = card.validation["network_like"]
    matched = (
        f"; on {network['traces']} network-like traces {100 * network['matched_fraction']:.1f} % of the spikes "
        "within 1 ms"
    )
    return (
        f"{card.NEURON.label} with K = {card.domains}, fitted to {len(card.fit['stimuli'])} transients; on {len(rows)} "
        f"held-out stimuli intervals within {100 * max(row['interval_error_worst'] or 0.0 for row in rows):.1f} %, "
        f"voltage rms "
        f"{1e3 * max(row['voltage_rms_v'] for row in rows):.0f} mV at most"
        f"{matched if network['traces'] else ''}"
    )


def sections(neuron: NeuronCalibration, figures: dict[str, Path]) -> list[Section]:
    """SPICE over model, held-out stimuli, parameters, frequency."""
    parameters = NeuronParameters.from_card(neuron.card)
    return [
        Section(
            "Neuron: SPICE over model",
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
            plotly=[correlation(neuron.card)],
        ),
        Section("Neuron: frequency against current", images=[Picture(figures["frequency"], "f-I curve")]),
    ]


def write_figures(folder: Path, neuron: NeuronCalibration) -> dict[str, Path]:
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
            (model, style.MODEL_COLOUR, 1.5, "model"),
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
    figure.update_layout(title=recording.stimulus.name, **layout())
    return figure


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64], colour: str, width: float, name: str, showlegend: bool
) -> go.Scatter:
    line = {"color": colour, "width": width}
    return go.Scatter(x=x.round(5), y=y.round(5), line=line, name=name, legendgroup=name, showlegend=showlegend)


def comparison_table(comparisons: list[NeuronComparison], what: str = "Held out", whose: str = "SPICE") -> Table:
    """Figures of merit, a row a stimulus; `whose` are the spikes beside the model's."""

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
            "–" if c.polarization_rms is None else f"{c.polarization_rms:.3f} / {c.polarization_rms_all:.3f}",
        ]
        for c in comparisons
    ]
    header = [
        "stimulus",
        f"spikes {whose} / model",
        "first spike",
        "its error",
        "worst interval",
        "matched in 1 ms",
        "V rms / all",
        "P rms / all",
    ]
    return Table(what, header, rows)


def _domains_tried(card: Card) -> list[Table]:
    tried = card.fit["domains_tried"]
    errors = [f"{1e3 * t['voltage_rms_v']:.1f} mV" for t in tried]
    rows = [[str(t["domains"]), error, t["note"]] for t, error in zip(tried, errors, strict=True)]
    return [Table("Domains tried, on stimuli held out from the fit", ["domains", "V rms", ""], rows)] if tried else []


def _vary(devices: Any, currents_a: list[float], path: Path, overrides: dict[str, float], farm: Any) -> Rows:
    """A row a device and current: first spike, and the interval after it; empty where the neuron stays silent."""
    cases = [(label, values, i) for label, values in sampled(devices) for i in currents_a]
    own = path == NEURON_NETLIST and not overrides
    larger = 1.0 if own else max(spike_charge_c(path, overrides, farm) / PROJECT_CHARGE_C, 1.0)
    charge_c = CHARGE_PER_RECORDING_C * larger
    runs = [
        NeuronRun(Stimulus.dc(i), charge_c / i + DEAD_TIME_PER_RECORDING_S, overrides | values)
        for _, values, i in cases
    ]
    rows: Rows = []
    for (label, values, i), wave in zip(cases, simulate_neurons(runs, path, farm), strict=True):
        spikes = wave.spike_times_s
        rows.append(
            {"device": label, **values, "i_syn_a": i}
            | {"first_spike_s": float(spikes[0]) if spikes.size else None}
            | {"interval_s": float(spikes[1] - spikes[0]) if spikes.size > 1 else None}
        )
    return rows


NEURON = Target(
    model="FeLIF neuron",
    calibrate=calibrate_neuron,
    netlist=NEURON_NETLIST,
    deck=neuron_deck,
    accepts=frozenset({"groups", "domains", "network_traces", "model", "current_scale", "currents_a"}),
    options=options,
    summary=summary,
    figures=write_figures,
    sections=sections,
    vary=_vary,
    vary_currents="1n",
)
