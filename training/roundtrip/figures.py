"""Pictures of a validation: SPICE grey, torch and the card's equations blue, what differs red."""

from collections.abc import Sequence

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
    overlay,
    residual,
)
from bruno_spice.training.roundtrip.compare import Trial, match_trial
from bruno_spice.training.roundtrip.verdict import NeuronRow

VERDICT_COLOURS = {"ok": THIRD_COLOUR, "explained": "#e0a030", "flagged": SECOND_COLOUR}
MARK_V = 2.85
RESIDUAL_V = 0.5


def raster(axes: Axes, trials: Sequence[Trial], labels: Sequence[str]) -> Axes:
    """A line for each neuron: torch's spikes above SPICE's, those without a partner in red."""
    for line, trial in enumerate(trials):
        matching = match_trial(trial)
        lonely_torch, lonely_spice = matching.lonely()
        for times, lonely, offset, colour in (
            (matching.torch_s, lonely_torch, 0.19, MODEL_COLOUR),
            (matching.spice_s, lonely_spice, -0.19, SPICE_COLOUR),
        ):
            axes.vlines(times, line + offset - 0.17, line + offset + 0.17, color=colour, lw=1.6)
            if lonely.size:
                axes.vlines(lonely, line + offset - 0.17, line + offset + 0.17, color=SECOND_COLOUR, lw=2.2)
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_ylabel("neuron")
    axes.set_xlabel("time")
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    for colour, label in ((MODEL_COLOUR, "torch"), (SPICE_COLOUR, "ngspice"), (SECOND_COLOUR, "without a partner")):
        axes.plot([], [], color=colour, lw=2.5, label=label)
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    return axes


def raster_figure(trials: dict[int, list[Trial]]) -> Figure:
    """The raster of every neuron on the piece with the most spikes that lack a partner."""
    lonely: dict[int, int] = {}
    for trial in (trial for of_neuron in trials.values() for trial in of_neuron):
        lonely[trial.piece] = lonely.get(trial.piece, 0) + sum(times.size for times in match_trial(trial).lonely())
    piece = max(lonely, key=lambda piece: lonely[piece])
    shown = {neuron: trial for neuron, of_neuron in trials.items() for trial in of_neuron if trial.piece == piece}
    figure = new_figure(size=(12.8, 1.6 + 0.32 * len(shown)))
    raster(figure.axes[0], list(shown.values()), [str(neuron) for neuron in shown])
    figure.axes[0].set_title(f"spikes on test piece {piece}", loc="left")
    return figure


def matched_bars(axes: Axes, rows: Sequence[NeuronRow]) -> Axes:
    """Share of found spikes of each neuron, coloured by verdict, its rate written on it."""
    places = range(len(rows))
    colours = [VERDICT_COLOURS[row.verdict] for row in rows]
    axes.bar(places, [100 * (row.matched_fraction or 0.0) for row in rows], color=colours, width=0.75)
    for place, row in zip(places, rows, strict=True):
        label = f"{row.rate_hz:.0f} Hz" if row.rate_hz else "silent"
        if row.decks_failed:
            label += f", {row.decks_failed} of {row.decks} decks failed"
        colour = "black" if row.matched_fraction is None else "white"
        axes.annotate(label, (place, 2), rotation=90, ha="center", va="bottom", fontsize="x-small", color=colour)
    axes.set_xticks(places, [str(row.neuron) for row in rows], rotation=90, fontsize="small")
    axes.set_ylim(0, 103)
    axes.set_xlabel("neuron, slowest first, silent ones last")
    axes.set_ylabel("spikes found in SPICE (%)")
    axes.grid(visible=False, axis="x")
    for verdict, colour in VERDICT_COLOURS.items():
        axes.bar([0], [0], color=colour, label=verdict)
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    return axes


def bars_figure(rows: Sequence[NeuronRow]) -> Figure:
    """`matched_bars` with a title."""
    figure = new_figure(size=(12.8, 4.8))
    matched_bars(figure.axes[0], rows)
    figure.axes[0].set_title("within 1 ms of torch's", loc="left")
    return figure


def voltage_figure(trial: Trial, title: str) -> Figure:
    """One neuron on one piece: current, membrane of SPICE, of the card's equations and of torch, and the residual."""
    figure = new_figure(
        4, 1, size=(12.8, 8.2), sharex=True, gridspec_kw={"height_ratios": [0.9, 2.2, 0.9, 1.3], "hspace": 0.06}
    )
    current, voltage, below, polarization = figure.axes
    current.plot(trial.spice.time_s, trial.spice["i_syn_a"], color="black", lw=1.1)
    current.yaxis.set_major_formatter(EngFormatter("A"))
    current.set_ylabel("$I_{syn}$")
    overlay(voltage, trial.spice, trial.model, "v_mem_v", "$V_{mem}$", "V")
    ends_s = np.arange(1, trial.torch.counts.size + 1) * 1e-3
    voltage.plot(ends_s, trial.torch.voltage_v, ".", color=MODEL_COLOUR, ms=5, label="torch, each ms")
    matching = match_trial(trial)
    lonely_torch, lonely_spice = matching.lonely()
    for times, lonely, marker, colour in (
        (matching.spice_s, lonely_spice, "v", SPICE_COLOUR),
        (matching.torch_s, lonely_torch, "|", MODEL_COLOUR),
    ):
        voltage.plot(times, np.full(times.size, MARK_V), marker, color=colour, ms=9, mew=2)
        voltage.plot(lonely, np.full(lonely.size, MARK_V), marker, color=SECOND_COLOUR, ms=9, mew=2)
    voltage.set_ylim(-0.25, 3.0)
    voltage.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize="small")
    residual(below, trial.spice, trial.model, "v_mem_v", "model $-$\nSPICE (V)", RESIDUAL_V)
    overlay(polarization, trial.spice, trial.model, "polarization", "$P/P_s$", "")
    polarization.set_xlabel("time")
    figure.suptitle(title, fontsize=14)
    figure.align_ylabels()
    return figure


def crossbar_figure(trials: Sequence[Trial], neurons: Sequence[int]) -> Figure:
    """A row of panels for each neuron of the crossbar deck: its current and its membrane."""
    figure = new_figure(2, len(trials), size=(12.8, 5.4), sharex=True, sharey="row", squeeze=False)
    for column, (trial, neuron) in enumerate(zip(trials, neurons, strict=True)):
        current, voltage = figure.axes[column], figure.axes[len(trials) + column]
        current.plot(trial.spice.time_s, trial.spice["i_syn_a"], color=SPICE_COLOUR, lw=3.5, label="ngspice")
        time_s = trial.model.time_s
        current.plot(time_s, trial.stimulus.at(time_s), color=MODEL_COLOUR, lw=1.2, label="torch")
        current.yaxis.set_major_formatter(EngFormatter("A"))
        current.set_title(f"neuron {neuron}", loc="left")
        overlay(voltage, trial.spice, trial.model, "v_mem_v", "", "")
        voltage.set_xlabel("time")
        if column == 0:
            current.set_ylabel("current of the mirrors")
            voltage.set_ylabel("$V_{mem}$ (V)")
            current.legend(fontsize="small")
    return figure
