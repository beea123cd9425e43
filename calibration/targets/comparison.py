"""Two cards side by side: what the devices do, curve over curve, and by how much their parameters differ.

latency          time to the first spike at a constant current, from rest
rate             of the spikes that follow
levels           conductances that drawn devices have after writing, of each evenly spaced level
relaxation       mean shift and spread of a level so long after writing, rms over the levels that were measured
in stderr        (B - A) / sqrt(stderr_A^2 + stderr_B^2)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from bruno_spice.calibration.cards.catalogue import alike, changes, tables_too
from bruno_spice.calibration.cards.simulated import latency_and_interval, span_of, spike_charge_of
from bruno_spice.calibration.circuits.stimuli import network_like
from bruno_spice.calibration.presentation.page import PlotlyFigure, Section, Table
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR
from bruno_spice.calibration.rram.levels import model_conductances
from bruno_spice.calibration.rram.measured import drawn_s
from bruno_spice.calibration.targets.report import layout
from bruno_spice.devices.cards.base import Card, NeuronCard
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.reading import short
from bruno_spice.devices.rram.filament import RRAMParameters, conductance, current_range, levels
from bruno_spice.devices.rram.measured import MeasuredCell
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform, match_spikes

Array = NDArray[np.float64]
COLOURS = (MODEL_COLOUR, SECOND_COLOUR)
POINTS, TRACE_POINTS = 25, 1500
SPIKES = 2.5
"""A transient lasts for so many charges of a spike."""
DEVICES, BINS, BITS = 4000, 160, 3
Pair = tuple[str, str]


def card_sections(first: Card, second: Card, names: Pair = ("A", "B")) -> list[Section]:
    """Curves and parameters of two cards of one model. Raises `InputError` for different models."""
    said = difference(first, second)
    sections: list[Section] = []
    if isinstance(first, NeuronCard) and isinstance(second, NeuronCard):
        sections += _neurons(first, second, names)
    elif isinstance(first, RRAMCard) and isinstance(second, RRAMCard):
        sections += _filaments(first, second, names)
    elif isinstance(first, MeasuredCard) and isinstance(second, MeasuredCard):
        sections += _measured(first, second, names)
    doubts = [
        f"{name} is not to be believed: {card.doubt}. " for name, card in _both(first, second, names) if card.doubt
    ]
    parameters = Section(
        "Parameters", "".join(doubts) + f"{said[0].upper()}{said[1:]}.", tables=[_parameters(first, second, names)]
    )
    return [*sections, parameters, Section("Provenance", tables=[_origins(first, second, names)])]


def difference(first: Card, second: Card) -> str:
    """How many parameters differ, and which of them by most of their standard errors, in a line."""
    found = changes(first, second)
    known = sorted((c for c in found if c.sigmas is not None), key=lambda c: -abs(c.sigmas or 0.0))
    most = f", {known[0].name} by most: {known[0].sigmas:+.2g} standard errors" if known else ""
    if not found:
        return alike(first, second)
    return f"{len(found)} of {len(first.parameters)} parameters differ{most}{tables_too(first, second)}"


def _both(first: Card, second: Card, names: Pair) -> list[tuple[str, Any]]:
    return [(names[0], first), (names[1], second)]


def _neurons(first: NeuronCard, second: NeuronCard, names: Pair) -> list[Section]:
    low, high = (span_of(card) for card in (first, second))
    span = min(low[0], high[0]), max(low[1], high[1])
    currents_a = np.geomspace(*span, POINTS)
    both = [(name, NeuronParameters.from_card(card)) for name, card in _both(first, second, names)]
    curve = make_subplots(1, 2, horizontal_spacing=0.12)
    for (name, x), colour in zip(both, COLOURS, strict=True):
        seen = np.array([latency_and_interval(x, current) for current in currents_a])
        for column, values in enumerate((seen[:, 0], 1.0 / seen[:, 1]), 1):
            curve.add_trace(_line(currents_a, values, colour, name, column == 1), 1, column)
    curve.update_xaxes(title_text="constant current", **_decades(currents_a, "A"))
    for column, (title, unit) in enumerate((("first spike", "s"), ("rate of those after it", "Hz")), 1):
        shown = np.concatenate([trace.y for trace in curve.data[column - 1 :: 2]]).astype(float)
        curve.update_yaxes(title_text=title, col=column, **_decades(shown, unit))
    curve.update_layout(title="Latency and rate against current", **layout())
    traces = [_transient(both, Stimulus.dc(i), None) for i in _three(span)]
    stimulus, end_s = network_like(1, 60, (-0.15 * span[1], span[1]))
    network, table = _network(both, stimulus, end_s, names)
    return [
        Section(
            "What the neurons do",
            "Both cards under the same constant currents, over the range that either was fitted to. No point where a "
            "neuron stays silent for five times as long as its charge would need.",
            plotly=[PlotlyFigure(curve, low=True)],
            tables=[_latencies(both, _three(span))],
        ),
        Section("Membranes", "From rest; drag to zoom.", plotly=[*traces, network], tables=[table]),
    ]


def _three(span: tuple[float, float]) -> list[float]:
    """Three currents within `span`, to two digits."""
    low, high = np.log(span)
    return [float(f"{np.exp(low + share * (high - low)):.2g}") for share in (0.2, 0.55, 0.9)]


def _latencies(both: Sequence[tuple[str, NeuronParameters]], currents_a: Sequence[float]) -> Table:
    rows = []
    for current in currents_a:
        (first_a, then_a), (first_b, then_b) = (latency_and_interval(x, current) for _, x in both)
        rows.append(
            [format_si(current, "A")]
            + [_time(each) for each in (first_a, first_b)]
            + [_percent(first_a, first_b)]
            + [_time(each) for each in (then_a, then_b)]
            + [_percent(then_a, then_b)]
        )
    a, b = (name for name, _ in both)
    return Table(
        "First spike and the interval after it",
        ["current", f"first spike, {a}", b, "difference", f"interval, {a}", f"{b} ", "difference"],
        rows,
    )


def _time(value_s: float) -> str:
    return format_si(value_s, "s") if np.isfinite(value_s) else "silent"


def _percent(first: float, second: float) -> str:
    return f"{100 * (second / first - 1):+.2f} %" if np.isfinite(first) and np.isfinite(second) and first else "–"


def _transient(both: Sequence[tuple[str, NeuronParameters]], stimulus: Stimulus, end_s: float | None) -> PlotlyFigure:
    """Membrane and polarization of both under `stimulus`, the difference of the membranes below."""
    if end_s is None:
        current = float(stimulus.i_syn_a[-1])
        end_s = max(SPIKES * spike_charge_of(x) / current + 2 * x.t_refractory for _, x in both)
    waves = [(name, _wave(x, stimulus, end_s)) for name, x in both]
    figure = make_subplots(3, 1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.5, 0.2, 0.3])
    for (name, wave), colour in zip(waves, COLOURS, strict=True):
        figure.add_trace(_line(1e3 * wave.time_s, wave["v_mem_v"], colour, name, True), 1, 1)
        figure.add_trace(_line(1e3 * wave.time_s, wave["polarization"], colour, name, False), 3, 1)
    difference = waves[1][1]["v_mem_v"] - waves[0][1]["v_mem_v"]
    figure.add_trace(_line(1e3 * waves[0][1].time_s, difference, "#5f6368", "difference", True), 2, 1)
    figure.update_yaxes(title_text="V (V)", row=1)
    figure.update_yaxes(title_text="Δ (V)", nticks=4, row=2)
    figure.update_yaxes(title_text="P/Ps", row=3)
    figure.update_xaxes(title_text="time (ms)", row=3)
    what = f"{format_si(float(stimulus.i_syn_a[-1]), 'A')} constant" if stimulus.time_s.size == 2 else stimulus.name
    figure.update_layout(title=what, **layout())
    return PlotlyFigure(figure)


def _wave(x: NeuronParameters, stimulus: Stimulus, end_s: float) -> Waveform:
    return simulate(x, stimulus, end_s, dt_s=end_s / TRACE_POINTS)


def _network(
    both: Sequence[tuple[str, NeuronParameters]], stimulus: Stimulus, end_s: float, names: Pair
) -> tuple[PlotlyFigure, Table]:
    """Network-like input: the membranes, and how many spikes the two have in common."""
    one, other = (simulate(x, stimulus, end_s).spike_times_s for _, x in both)
    shared = len(match_spikes(one, other))
    rows = [[str(one.size), str(other.size), str(shared)]]
    table = Table(
        "Network-like input: a new current each millisecond", [f"spikes, {names[0]}", names[1], "within 1 ms"], rows
    )
    return _transient(both, stimulus, end_s), table


def _line(x: Array, y: Array, colour: str, name: str, legend: bool) -> go.Scatter:
    shown = [float(f"{value:.6g}") if np.isfinite(value) else None for value in np.asarray(y)]
    where = [float(f"{value:.6g}") for value in np.asarray(x)]
    line = {"color": colour, "width": 1.8, "dash": "dash" if colour == COLOURS[1] else "solid"}
    return go.Scatter(x=where, y=shown, mode="lines", line=line, name=name, legendgroup=name, showlegend=legend)


def _decades(values: Array, unit: str) -> dict[str, Any]:
    """A logarithmic axis over `values`, with numbers at 1 of each decade or, over few decades, at 1, 2 and 5."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {"type": "log"}
    low, high = np.floor(np.log10(known.min())), np.ceil(np.log10(known.max()))
    steps = (1.0,) if high - low > 2 else (1.0, 2.0, 5.0)
    at = [step * 10.0**n for n in np.arange(low, high + 1) for step in steps]
    return {"type": "log", "tickvals": at, "ticktext": [format_si(each, unit) for each in at]}


def _filaments(first: RRAMCard, second: RRAMCard, names: Pair) -> list[Section]:
    curve, histogram = go.Figure(), go.Figure()
    for (name, card), colour in zip(_both(first, second, names), COLOURS, strict=True):
        x = RRAMParameters.from_card(card)
        i_prog_a = np.geomspace(*current_range(card), 80)
        g_s = np.asarray(conductance(i_prog_a, x.length_mean, x.radius_mean, x))
        curve.add_trace(_line(i_prog_a, 1e6 * g_s, colour, name, True))
        g_s, _ = model_conductances(levels(card, BITS), x, DEVICES, np.random.default_rng(0))
        histogram.add_trace(_histogram(g_s, colour, name))
    ranges_a = np.array([current_range(card) for card in (first, second)])
    curve.update_xaxes(title_text="programming current", **_decades(ranges_a, "A"))
    return _rram_sections(curve, histogram, "mean device after a SET")


def _measured(first: MeasuredCard, second: MeasuredCard, names: Pair) -> list[Section]:
    curve, histogram = go.Figure(), go.Figure()
    knobs = set()
    for (name, card), colour in zip(_both(first, second, names), COLOURS, strict=True):
        cell = MeasuredCell(card)
        if card.set_curve is not None:
            knobs.add("word-line voltage (V)" if card.set_curve.knob == "v_word_line_v" else "programming current (A)")
            curve.add_trace(
                _line(np.array(card.set_curve.setting), 1e6 * np.array(card.set_curve.median_s), colour, name, True)
            )
        levels_s = np.linspace(*cell.g_range_s, 2**BITS)
        histogram.add_trace(_histogram(drawn_s(cell, levels_s, 0.0, DEVICES, np.random.default_rng(0)), colour, name))
    curve.update_xaxes(title_text=" or ".join(sorted(knobs)) or "setting", exponentformat="SI")
    sections = _rram_sections(curve if knobs else None, histogram, "median of a SET")
    if first.relaxation or second.relaxation:
        sections.append(_relaxations(first, second, names))
    return sections


def _relaxations(first: MeasuredCard, second: MeasuredCard, names: Pair) -> Section:
    figure, unknown = make_subplots(1, 2, horizontal_spacing=0.12), []
    for (name, card), colour in zip(_both(first, second, names), COLOURS, strict=True):
        if (known := card.relaxation) is None:
            unknown.append(f"How {name} changes with time was not measured.")
            continue
        for column, rows in enumerate(
            (np.mean(known.shift_s, axis=1), np.sqrt(np.mean(np.square(known.spread_s), 1))), 1
        ):
            figure.add_trace(_line(np.array(known.time_s), 1e6 * rows, colour, name, column == 1), 1, column)
    times_s = np.concatenate([card.relaxation.time_s for card in (first, second) if card.relaxation])
    figure.update_xaxes(title_text="time since writing", **_decades(times_s, "s"))
    for column, what in enumerate(("mean shift", "spread"), 1):
        figure.update_yaxes(title_text=f"{what} (µS)", col=column)
    figure.update_layout(title="Relaxation: a level after writing", **layout())
    said = "Over the levels that were measured, each card's own."
    return Section("What time does to them", " ".join([said, *unknown]), plotly=[PlotlyFigure(figure, low=True)])


def _rram_sections(curve: go.Figure | None, histogram: go.Figure, what: str) -> list[Section]:
    histogram.update_xaxes(title_text="conductance (µS)")
    histogram.update_yaxes(title_text="devices")
    histogram.update_layout(
        title=f"{2**BITS} evenly spaced levels, {DEVICES:,} drawn devices", barmode="overlay", **layout()
    )
    figures = [PlotlyFigure(histogram, low=True)]
    if curve is not None:
        curve.update_yaxes(title_text="conductance (µS)")
        curve.update_layout(title=f"Programming: {what}", **layout())
        figures.insert(0, PlotlyFigure(curve, low=True))
    return [Section("What the cells do", "Each card over its own range.", plotly=figures)]


def _histogram(g_s: Array, colour: str, name: str) -> go.Bar:
    counts, edges = np.histogram(1e6 * g_s, BINS)
    return go.Bar(x=(0.5 * (edges[1:] + edges[:-1])).round(4), y=counts, marker_color=colour, opacity=0.6, name=name,
                  width=float(edges[1] - edges[0]), marker_line_width=0)  # fmt: skip


def _parameters(first: Card, second: Card, names: Pair) -> Table:
    """Every parameter of both, those that differ first, the furthest in standard errors on top."""
    found = {change.name: change for change in changes(first, second)}
    different = sorted(found.values(), key=lambda each: -abs(each.sigmas or 0.0))
    rows = []
    for c in different:
        relative = "–" if c.relative is None else f"{100 * c.relative:+.3g} %"
        sigmas = "–" if c.sigmas is None else f"{c.sigmas:+.2g}"
        rows.append([c.name, c.unit, _number(c.first), _number(c.second), relative, sigmas])
    rows += [
        [name, each.unit, _number(each.value), _number(each.value), "0 %", "–"]
        for name, each in first.parameters.items()
        if name not in found
    ]
    return Table("Those that differ first", ["parameter", "unit", *names, "difference", "in stderr"], rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _origins(first: Card, second: Card, names: Pair) -> Table:
    origins = [card.provenance for card in (first, second)]
    fields = {"netlist": "netlist", "sha256": "SHA-256", "simulator": "simulator", "command": "command", "date": "date"}
    rows = [[said, *(short(getattr(each, field) or "–", 48) for each in origins)] for field, said in fields.items()]
    return Table("Where the cards come from", ["", *names], rows)
