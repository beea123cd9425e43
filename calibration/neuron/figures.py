"""Figures that lay a neuron's model over SPICE. Each function takes Axes and returns them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR, new_figure, overlay, residual
from bruno_spice.devices.waveform import Waveform


def neuron_overlay(spice: Waveform, model: Waveform, title: str) -> Figure:
    """Current, membrane voltage and polarization of SPICE and model, with residuals."""
    figure = new_figure(5, 1, size=(10.5, 8.6), sharex=True, gridspec_kw={"height_ratios": [0.8, 2.2, 0.9, 1.8, 0.9]})
    current, voltage, voltage_residual, polarization, polarization_residual = figure.axes
    current.plot(spice.time_s, spice["i_syn_a"], color="black", lw=1.2)
    current.yaxis.set_major_formatter(EngFormatter("A"))
    current.set_ylabel("$I_{syn}$")
    overlay(voltage, spice, model, "v_mem_v", "$V_{mem}$", "V")
    voltage.plot(
        spice.spike_times_s, np.full(spice.spike_times_s.size, 2.85), "v", color=SPICE_COLOUR, ms=9, clip_on=False
    )
    voltage.plot(model.spike_times_s, np.full(model.spike_times_s.size, 2.85), "|", color=MODEL_COLOUR, ms=9, mew=2)
    voltage.set_ylim(-0.25, 3.0)
    voltage.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    residual(voltage_residual, spice, model, "v_mem_v", "model $-$\nSPICE (V)", 0.25)
    overlay(polarization, spice, model, "polarization", "$P/P_s$", "")
    residual(polarization_residual, spice, model, "polarization", "model $-$\nSPICE", 0.1)
    polarization_residual.set_xlabel("time")
    figure.suptitle(title, fontsize=14)
    figure.align_ylabels()
    return figure


def frequency_against_current(
    axes: Axes,
    fitted: Sequence[Recording],
    held_out: Sequence[Recording],
    model_currents_a: NDArray[np.float64],
    model_rates_hz: NDArray[np.float64],
) -> Axes:
    """Spike frequency against DC current: SPICE as markers, the model as a line."""
    axes.plot(model_currents_a, model_rates_hz, color=MODEL_COLOUR, lw=1.8, label="model")
    for recordings, face, label in (
        (fitted, SPICE_COLOUR, "ngspice, fitted"),
        (held_out, "white", "ngspice, held out"),
    ):
        steady = [r for r in recordings if r.steady and r.spice.spike_times_s.size]
        points = [(r.stimulus.i_syn_a[-1], rate(r.spice)) for r in steady]
        axes.plot(*np.array(points).T, "o", ms=9, mfc=face, mec="#5f6368", mew=1.8, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.yaxis.set_major_formatter(EngFormatter("Hz"))
    axes.set_xlabel("synaptic current (DC)")
    axes.set_ylabel("spike frequency")
    axes.legend()
    return axes


def rate(wave: Waveform) -> float:
    """Spike frequency in Hz: from the mean interval, or from the first spike where there is only one."""
    spikes = wave.spike_times_s
    return float(1.0 / np.mean(np.diff(spikes)) if spikes.size > 1 else 1.0 / spikes[0])
