"""Figures of the RRAM card: where devices end up on the eight levels, and how RESET depends on voltage."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from bruno_spice.calibration.presentation.style import (
    MODEL_COLOUR,
    SECOND_COLOUR,
    SPICE_COLOUR,
    THIRD_COLOUR,
    new_figure,
)
from bruno_spice.calibration.rram.calibrate import RRAMCalibration
from bruno_spice.calibration.rram.fit import SetSweep
from bruno_spice.calibration.rram.levels import midpoints, model_conductances
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.rram.filament import RRAMParameters, conductance
from bruno_spice.devices.rram.reset import ResetParameters, reset_conductance


def level_distributions(axes: Axes, calibration: RRAMCalibration, devices: int = 20_000) -> Axes:
    """Density of the conductances on each level: the filament model as an area, the SPICE devices as ticks below."""
    levels, filament = calibration.levels, RRAMParameters.from_card(calibration.card)
    g_s, _ = model_conductances(levels, filament, devices, np.random.default_rng(0))
    bins = np.arange(g_s.min() - 4e-6, g_s.max() + 4e-6, 2e-6)
    for n, (column, spice) in enumerate(zip(g_s.T, calibration.samples.g_s.T, strict=True)):
        density, edges = np.histogram(column, bins, density=True)
        axes.stairs(
            density * 1e-6, edges, fill=True, color=MODEL_COLOUR, alpha=0.75, label=None if n else "filament model"
        )
        label = None if n else f"ngspice, {spice.size} devices"
        axes.plot(spice, np.full(spice.size, -0.012), "|", color=SECOND_COLOUR, ms=10, label=label)
    for n, edge in enumerate(midpoints(levels)):
        axes.axvline(edge, color=SPICE_COLOUR, lw=1.0, ls="--", label=None if n else "read as the next level")
    axes.set_ylim(bottom=-0.025)
    axes.xaxis.set_major_formatter(EngFormatter("S"))
    axes.set_xlabel(f"conductance at +{filament.read_voltage:g} V, each device programmed to every level")
    axes.set_ylabel("share of devices per µS")
    axes.legend(fontsize=11)
    return axes


def reset_curve(axes: Axes, calibration: RRAMCalibration) -> Axes:
    """Conductance after RESET against voltage, from the states of the RESET sweep: SPICE as markers over the model."""
    reset = ResetParameters.from_card(calibration.card)
    filament, sweep = reset.filament, calibration.data.reset
    mean = np.isclose(sweep.length_m, filament.length_mean, rtol=1e-6, atol=0) & np.isclose(
        sweep.radius_m, filament.radius_mean, rtol=1e-6, atol=0
    )
    voltages = np.linspace(sweep.v_reset_v.min(), sweep.v_reset_v.max(), 300)
    states = np.unique(sweep.g_before_s[mean].round(9))
    colours = (MODEL_COLOUR, SECOND_COLOUR, THIRD_COLOUR)
    for state, colour, size in zip(states, colours, (11, 8, 5), strict=False):
        mine = mean & np.isclose(sweep.g_before_s, state, rtol=1e-3, atol=0)
        g_s = reset_conductance(state, voltages, filament.length_mean, filament.radius_mean, reset)
        axes.plot(voltages, g_s, color=colour, lw=1.6, label=f"from {state * 1e6:.0f} µS")
        axes.plot(sweep.v_reset_v[mine], sweep.g_s[mine], "o", ms=size, mfc=colour, mec=colour)
    axes.plot([], [], "o", color=SPICE_COLOUR, ms=7, label="ngspice")
    axes.plot([], [], color=SPICE_COLOUR, lw=1.6, label="RESET model")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(EngFormatter("V"))
    axes.yaxis.set_major_locator(FixedLocator([1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter("S"))
    axes.set_xlabel("RESET voltage")
    axes.set_ylabel(f"conductance at +{filament.read_voltage:g} V")
    axes.legend(fontsize=11)
    return axes


def rram_figure(calibration: RRAMCalibration) -> Figure:
    """Levels above, RESET below."""
    figure = new_figure(2, 1, size=(10.5, 8.6))
    level_distributions(figure.axes[0], calibration)
    reset_curve(figure.axes[1], calibration)
    overlap = calibration.card.levels.overlap if calibration.card.levels else None
    if overlap is not None:
        figure.axes[0].set_title(
            f"overlap of adjacent levels: {100 * overlap.spice:.2g} % of {overlap.pairs} pairs in SPICE, "
            f"{100 * overlap.model:.2g} % in the model",
            fontsize=12,
        )
    return figure


def conductance_against_current(axes: Axes, card: RRAMCard, sweep: SetSweep, held_out: SetSweep | None = None) -> Axes:
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


def relative_residual(axes: Axes, card: RRAMCard, sweep: SetSweep, face: str | None = None) -> Axes:
    """(model - SPICE) / SPICE of the conductance, in per cent, against programming current."""
    parameters = RRAMParameters.from_card(card)
    error = np.asarray(conductance(sweep.i_prog_a, sweep.length_m, sweep.radius_m, parameters)) / sweep.g_s - 1.0
    axes.axhline(0.0, color="black", lw=0.7)
    axes.plot(sweep.i_prog_a, 100 * error, "o", ms=6, mfc=face or SPICE_COLOUR, mec="#5f6368", mew=1.2)
    axes.xaxis.set_major_formatter(EngFormatter("A"))
    axes.set_xlabel("programming current")
    axes.set_ylabel("model $-$ SPICE (%)")
    return axes
