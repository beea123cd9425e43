"""Figures that lay the model over SPICE. Each function takes Axes and returns them.

One look everywhere: SPICE is a broad grey line or open marker, the model a thin coloured one on top, residuals below.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from calibration.fit_rram import Sweep
from calibration.recording import Recording
from devices.card import RRAMCard
from devices.errors import InputError
from devices.files import refuse_folder
from devices.rram import Levels, RRAMParameters, conductance
from devices.units import format_si
from devices.waveform import Waveform

SPICE_COLOUR = "#9aa0a6"
MODEL_COLOUR = "#0b6e99"
SECOND_COLOUR = "#d1495b"
THIRD_COLOUR = "#6a994e"
FORMATS = ("png", "pdf", "svg")
matplotlib.rcdefaults()  # a matplotlibrc of the user's may ask for LaTeX, or for colours that say something else
matplotlib.rcParams.update(
    {
        "font.size": 13,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "figure.dpi": 110,
        "savefig.dpi": 130,
    }
)


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (9.6, 5.4), **kwargs: Any) -> Figure:
    """A figure in the project's style; its axes are ``figure.axes``."""
    figure, _ = plt.subplots(rows, columns, figsize=size, layout="constrained", **kwargs)
    return figure


def figure_format(path: Path) -> str:
    """The format that the suffix of `path` names. Raises `InputError` for any other than those of `FORMATS`."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"{path}: a figure's name ends in one of {', '.join(f'.{name}' for name in FORMATS)}")
    refuse_folder(path)
    return kind


def save(figure: Figure, path: Path, metadata: dict[str, str] | None = None) -> Path:
    """Write `figure` in the format of the suffix, whole or not at all, and close it; `metadata` are texts for a PNG.

    Raises `InputError` for a suffix that names no format.
    """
    kind = figure_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, format=kind, metadata=metadata)
    part.replace(path)
    plt.close(figure)
    return path


def overlay(axes: Axes, spice: Waveform, model: Waveform, signal: str, label: str, unit: str) -> Axes:
    """One signal of SPICE (grey) and of the model (blue) against time."""
    axes.plot(spice.time_s, spice[signal], color=SPICE_COLOUR, lw=3.5, label="ngspice", solid_capstyle="round")
    axes.plot(model.time_s, model[signal], color=MODEL_COLOUR, lw=1.4, label="FeLIF model")
    axes.set_ylabel(f"{label} ({unit})" if unit else label)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    return axes


def residual(axes: Axes, spice: Waveform, model: Waveform, signal: str, label: str, limit: float) -> Axes:
    """Model minus SPICE against time, clipped to +-`limit` so that a late spike does not hide the rest."""
    times = model.time_s
    difference = model[signal] - spice.resampled(times)[signal]
    axes.axhline(0.0, color="black", lw=0.7)
    axes.plot(times, np.clip(difference, -limit, limit), color=SECOND_COLOUR, lw=1.0)
    axes.set_ylim(-1.05 * limit, 1.05 * limit)
    axes.set_ylabel(label)
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    return axes


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
    axes.plot(model_currents_a, model_rates_hz, color=MODEL_COLOUR, lw=1.8, label="FeLIF model")
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


def conductance_against_current(axes: Axes, card: RRAMCard, sweep: Sweep, held_out: Sweep | None = None) -> Axes:
    """Read conductance against programming current, one colour for each of the paper's three geometries."""
    parameters = RRAMParameters.from_card(card)
    span = card.envelope["i_prog"]
    currents = np.geomspace(span.min, span.max, 200)
    colours = (MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR)
    for (length_nm, radius_nm), colour in zip(((0.40, 45.0), (0.36, 49.0), (0.44, 41.0)), colours, strict=True):
        length_m, radius_m = length_nm * 1e-9, radius_nm * 1e-9
        g = np.asarray(conductance(currents, length_m, radius_m, parameters))
        label = f"$l$ = {length_nm:.2f} nm, $r$ = {radius_nm:.0f} nm"
        axes.plot(currents, g, color=colour, lw=1.6, label=label)
        for data, face in ((sweep, colour), (held_out, "white")):
            if data is not None:
                mine = np.isclose(data.length_m, length_m, atol=0.0) & np.isclose(data.radius_m, radius_m, atol=0.0)
                axes.plot(data.i_prog_a[mine], data.g_s[mine], "o", ms=7, mfc=face, mec=colour, mew=1.6)
    axes.plot([], [], "o", color=SPICE_COLOUR, ms=7, label="ngspice, fitted")
    axes.plot([], [], "o", mfc="white", mec=SPICE_COLOUR, ms=7, mew=1.6, label="ngspice, held out")
    axes.plot([], [], color=SPICE_COLOUR, lw=1.6, label="filament model")
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.yaxis.set_major_formatter(EngFormatter("S"))
    axes.set_xlabel("programming current")
    axes.set_ylabel(f"conductance at +{parameters.read_voltage:g} V")
    axes.legend(fontsize=11)
    return axes


def relative_residual(axes: Axes, card: RRAMCard, sweep: Sweep, face: str | None = None) -> Axes:
    """(model - SPICE) / SPICE of the conductance, in per cent, against programming current."""
    parameters = RRAMParameters.from_card(card)
    error = np.asarray(conductance(sweep.i_prog_a, sweep.length_m, sweep.radius_m, parameters)) / sweep.g_s - 1.0
    axes.axhline(0.0, color="black", lw=0.7)
    axes.plot(sweep.i_prog_a, 100 * error, "o", ms=6, mfc=face or SPICE_COLOUR, mec="#5f6368", mew=1.2)
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.set_xlabel("programming current")
    axes.set_ylabel("model $-$ SPICE (%)")
    return axes


def programming_levels(axes: Axes, levels: Levels) -> Axes:
    """The programmable levels: conductance against programming current, as a staircase of markers."""
    axes.plot(levels.i_prog_a, levels.conductance_s, "s", color=MODEL_COLOUR, ms=8)
    for number, (current, g) in enumerate(zip(levels.i_prog_a, levels.conductance_s, strict=True)):
        axes.annotate(
            f"{number}: {format_si(current, 'A', 3)}", (current, g), xytext=(9, -4), textcoords="offset points"
        )
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.yaxis.set_major_formatter(EngFormatter("S"))
    axes.set_xlabel("programming current")
    axes.set_ylabel("level conductance")
    return axes
